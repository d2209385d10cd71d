/*
 * bench: what a start costs, against a floor. One line per row, tab-separated: name, ours_us, floor_us, ratio, n.
 *
 * The ratio is the figure, times are noise. How it is taken: measure.c. What each side does: ours.c, floor_*.c.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB ((size_t)1 << 30)
#define QUICK_PAIRS 4

/* A network namespace is destroyed 13 to 71 ms after its last process was waited for, under a lock that making one needs. */
#define NET_SETTLE_US 75000
#define SETTLE_US 500

static const struct row rows[] = {
    { "plain", "exit(0), against posix_spawn",
      &ours_plain, &floor_posix_spawn, 0, 0, 1.10, 1000, SETTLE_US },
    { "plain_1g", "the same from a host with 1 GiB, against the library in a host without",
      &ours_plain, &ours_plain, GIB, 0, 1.15, 600, SETTLE_US },
    { "userns_sync_1g", "user namespace, maps, sync function; from a host with 1 GiB, against one without",
      &ours_userns_sync, &ours_userns_sync, GIB, 0, 1.15, 600, SETTLE_US },
    { "filter_rlimits", "60-instruction filter, no_new_privs, 6 rlimits, against vfork and the same calls",
      &ours_filter_rlimits, &floor_filter_rlimits, 0, 0, 1.15, 1000, SETTLE_US },
    { "full", "7 namespaces, maps, pivot_root, 4 binds, proc, against the same calls; direct",
      &ours_full, &floor_full, 0, 0, 1.15, 300, NET_SETTLE_US },
    { "full_staged", "full, through the embedded program", &ours_full_staged, &floor_full, 0, 0, 0, 300, NET_SETTLE_US },
    { "full_init", "full, under the embedded init", &ours_full_init, &floor_full, 0, 0, 0, 300, NET_SETTLE_US },
    { "fork_1g", "plain, against fork and exec, both from a host with 1 GiB",
      &ours_plain, &floor_fork, GIB, GIB, 0, 60, SETTLE_US },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

_Noreturn void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static _Noreturn void usage(int status)
{
    FILE *out = status == 0 ? stdout : stderr;

    fprintf(out, "usage: bench [--row NAME]... [--pairs N] [--quick] [--gate] [--spread] [--null] [--program FILE]\n"
                 "  --quick   %d pairs of each row: does it run at all\n"
                 "  --gate    exit 1 when a ratio is over its limit\n"
                 "  --spread  also the quartiles of both sides, on a line that starts with #\n"
                 "  --null    the floor against itself: what noise alone makes of a ratio\n"
                 "  --program start this static program, which exits with 0, in place of inside/exit0\n\n", QUICK_PAIRS);
    for (size_t i = 0; i < ROWS; i++) {
        fprintf(out, "  %-15s %s", rows[i].name, rows[i].what);
        if (rows[i].limit > 0)
            fprintf(out, "; limit %.2f", rows[i].limit);
        fputc('\n', out);
    }
    exit(status);
}

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static void print(const struct row *row, const struct figure *f, bool spread)
{
    printf("%s\t%.1f\t%.1f\t%.3f\t%d\n", row->name, f->ours_us, f->floor_us, f->ratio, f->pairs);
    if (spread)
        printf("# %s quartiles: ours %.1f %.1f, floor %.1f %.1f\n", row->name, f->ours_quartile[0], f->ours_quartile[1],
               f->floor_quartile[0], f->floor_quartile[1]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "row", required_argument, NULL, 'r' }, { "pairs", required_argument, NULL, 'n' },
        { "quick", no_argument, NULL, 'q' },     { "gate", no_argument, NULL, 'g' },
        { "spread", no_argument, NULL, 's' },    { "null", no_argument, NULL, '0' },
        { "program", required_argument, NULL, 'p' }, { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    bool selected[ROWS] = { false }, any = false, gate = false, spread = false, null = false;
    const char *program = NULL;
    int pairs = 0, over = 0, option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'r': {
            const struct row *row = find(optarg);
            if (row == NULL)
                usage(2);
            selected[row - rows] = any = true;
            break;
        }
        case 'n': {
            char *end;
            long n = strtol(optarg, &end, 10);
            if (*end != '\0' || n < 1 || n > 1000000)
                usage(2);
            pairs = (int)n;
            break;
        }
        case 'q': pairs = QUICK_PAIRS; break;
        case 'g': gate = true; break;
        case 's': spread = true; break;
        case 'p': program = optarg; break;
        case '0': null = true; break;
        case 'h': usage(0);
        default: usage(2);
        }
    }
    if (optind != argc)
        usage(2);

    setup_init(program);
    puts("# name\tours_us\tfloor_us\tratio\tn");
    fflush(stdout);
    for (size_t i = 0; i < ROWS; i++) {
        if (any && !selected[i])
            continue;
        struct row row = rows[i];
        if (null) {
            row.ours = row.floor;
            row.ours_heap = row.floor_heap;
        }
        struct figure f = measure(&row, pairs > 0 ? pairs : row.pairs);
        print(&row, &f, spread);
        if (row.limit > 0 && f.ratio > row.limit) {
            over++;
            if (gate)
                fprintf(stderr, "bench: %s: %.3f is over its limit of %.2f\n", row.name, f.ratio, row.limit);
        }
    }
    return gate && over > 0 ? 1 : 0;
}
