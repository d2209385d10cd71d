/* The text of sbx_runner_describe as data, the system calls of a real start as data, and the comparison of the two. */
#ifndef SBX_TEST_SUPPORT_PLAN_H
#define SBX_TEST_SUPPORT_PLAN_H

#include "support_recipes.h"

#include <stdbool.h>
#include <stdint.h>

#define MAX_LINES 1024
#define MAX_RECORDS 4096
#define MAX_TEXT 96

enum line_kind {
    CALL,         /* a system call with its arguments */
    OWN_CALL,     /* one that the embedded program makes by itself: its arguments are named, not given */
    ASKS,         /* a question to the host, and the wait for the answer */
    TELLS,        /* a word to the host */
    JUMPS,        /* goes on at another step */
    STAYS,        /* no system call */
};

/* One line of a description. */
struct plan_line {
    char list[8];              /* "entry", "init", "program" */
    int step;                  /* its number in its list; -1 for OWN_CALL */
    enum line_kind kind;
    char location[32];
    int index;                 /* -1: none */
    char name[32];             /* the system call */
    char args[6][160];
    int n_args;
    int repeat;
    int repeat_arg;            /* the argument that counts up, or -1 */
    int caught;                /* an errno that is no failure but goes on at `target`; -1: every errno; 0: none */
    int target;
    int tolerated;             /* an errno that is as good as success */
    int retried;               /* an errno that is tried again */
};

struct plan {
    char shape[8];
    struct plan_line lines[MAX_LINES];
    size_t n_lines;
};

/* One recorded system call. */
struct record {
    int process;
    int nr;
    int occurrence;            /* how many of the same number its process made before: waits come in varying numbers */
    bool in_start;             /* before sbx_start returned */
    const char *name;
    uint64_t args[6];
    char text[6][MAX_TEXT];    /* what the argument points to, if that is a readable string */
    bool readable[6];
    const struct plan_line *line;   /* filled by match_plan: its line, */
    int round;                      /* and of a repeated one the how-many-th time */
};

/* Parses what the runner's description says. Fails the test for a line that it does not understand. */
void parse_plan(const struct prepared *prepared, struct plan *plan);

/* Which call of which process is to fail, and how. */
struct fault {
    int process;
    int nr;
    int occurrence;
    int error;                     /* 0: none is to fail; KILL_CALLER: the process is killed at this call */
};
#define KILL_CALLER (-1)

/* What came of a watched start. */
struct trial {
    struct prepared *prepared;
    struct fault fault;
    bool hit;                      /* the fault happened */
    int started;                   /* sbx_start */
    int waited;                    /* sbx_process_wait, if it started */
    struct sbx_error error;
    struct sbx_status status;
    uint32_t shape;
    uint64_t unenforced;
};

/* Starts under the watch of support_watch.h, waits and frees. With `records` it writes down every call. */
void try_start(struct trial *trial, struct record *records, size_t *n_records);

/* True if the children's calls are those of the plan, in order. Gives each record its line. Prints where they part. */
bool match_plan(const struct plan *plan, struct record *records, size_t n_records);

#endif
