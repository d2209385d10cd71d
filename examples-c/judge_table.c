/* The judge's table: the list of submissions with the verdict that each is expected to get, and the
 * rows that are printed. */
#define _GNU_SOURCE
#include "judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line is `file problem verdict`; the verdict may contain spaces. */
static bool parse(const char *line, struct submission *submission)
{
    *submission = (struct submission){.tests = 0};
    return sscanf(line, "%63s %31s %31[^\n]", submission->file, submission->problem,
                  submission->expected) == 3;
}

int table_read(const char *path, struct submission **list, size_t *n, struct why *why)
{
    char *text = NULL;
    size_t size = 0;
    if (file_read(path, &text, &size, why) < 0)
        return -1;
    size_t lines = 1;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';

    struct submission *read = calloc(lines, sizeof *read);
    size_t count = 0;
    int rc = read != NULL ? 0 : because(why, "out of memory");
    for (char *line = strtok(text, "\n"); rc == 0 && line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] == '#')
            continue;
        if (!parse(line, &read[count++]))
            rc = because(why, "%s: not `file problem verdict`: %.60s", path, line);
    }
    free(text);
    if (rc < 0) {
        free(read);
        return -1;
    }
    *list = read;
    *n = count;
    return 0;
}

void table_header(const struct judge *judge, unsigned workers)
{
    const struct limits *limits = &judge->run_limits;
    printf("limits: %.1f s CPU, %.1f s wall clock, %d MiB, %d KiB of output, %d processes\n",
           (double)limits->cpu_ns / (double)SECOND, (double)limits->wall_ns / (double)SECOND,
           (int)(limits->memory / MIB), (int)(limits->file_size / 1024), (int)limits->processes);
    printf("memory and processes are limited by %s; %u at a time\n\n",
           judge->cgroups.n == 0 ? "rlimits and measured per process"
           : judge->cgroups.v2   ? "cgroup v2"
                                 : "cgroup v1",
           workers);
    printf("%-22s %-8s %-18s %5s %9s %10s\n", "submission", "problem", "verdict", "tests", "CPU",
           "memory");
}

bool table_row(const struct submission *submission)
{
    const bool expected = strcmp(submission->verdict, submission->expected) == 0;
    char tests[16];
    snprintf(tests, sizeof tests, "%u/%u", submission->passed, submission->tests);
    printf("%-22s %-8s %-18s %5s %6.0f ms %6.1f MiB%s%s\n", submission->file,
           submission->problem, submission->verdict, tests, (double)submission->cpu_ns / 1e6,
           (double)submission->memory / (double)MIB, submission->why.text[0] != '\0' ? "  " : "",
           submission->why.text);
    if (!expected)
        printf("%-31s ^ expected: %s\n", "", submission->expected);
    fflush(stdout);
    return expected;
}
