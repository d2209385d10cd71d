/*
 * What the files of the bench share: the two sides of a row, and how they are measured.
 *
 * A side starts one process, waits for it and reaps it; it leaves nothing behind. Both sides of a row start the same
 * program with the same protection; they differ in who makes the system calls, the library or a minimal C program
 * (the floor), or in how much memory the host holds.
 */
#ifndef BENCH_H
#define BENCH_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

struct side {
    void (*prepare)(void);      /* everything that a host does once; NULL: nothing */
    void (*start)(void);        /* the measured part: start, wait, reap */
};

struct row {
    const char *name;
    const char *what;           /* one line for --help */
    const struct side *ours, *floor;
    size_t ours_heap, floor_heap;   /* bytes that the host has touched: where there are any, each side has a process */
    double limit;               /* of the ratio; 0: for comparison only */
    int pairs;                  /* unless --pairs says otherwise */
    int settle_us;              /* pause before each start: what the kernel tears down late must be gone */
};

struct figure {
    double ours_us, floor_us;   /* medians */
    double ratio;
    double ours_quartile[2], floor_quartile[2];
    int pairs;
};

/* main.c: prints the reason with errno's text, and ends the bench. */
_Noreturn void die(const char *what);

/* measure.c */
struct figure measure(const struct row *row, int pairs);

/* setup.c: the one description of each sandbox that both sides read. */
#define BENCH_FILTER_LENGTH 60
#define BENCH_RLIMITS 6
#define BENCH_BINDS 4

struct bench_rlimit {
    int resource;
    struct rlimit value;
};

struct bench_bind {
    const char *source, *target;
};

struct bench_setup {
    char program[4096];         /* on the host */
    char program_dir[4096];     /* bound to /box in a new root */
    char program_inside[4096];  /* the program there */
    struct sock_filter filter[BENCH_FILTER_LENGTH];
    struct bench_rlimit rlimits[BENCH_RLIMITS];
    struct bench_bind binds[BENCH_BINDS];
};

extern struct bench_setup setup;
void setup_init(const char *program);

/* ours.c */
extern const struct side ours_plain, ours_userns_sync, ours_filter_rlimits, ours_full, ours_full_staged, ours_full_init;

/* floor_spawn.c */
extern const struct side floor_posix_spawn, floor_fork, floor_filter_rlimits;

/* floor_full.c */
extern const struct side floor_full;

#endif
