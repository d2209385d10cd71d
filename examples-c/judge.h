/* The judge's parts and what they hand to each other.
 *
 *     judge.c             main: two workers take the submissions, the table grows row by row
 *     judge_table.c       the list of submissions with the expected verdicts; the printed table
 *     judge_submission.c  one submission: compile, run on each test, decide the verdict
 *     judge_run.c         one program in its sandbox, under limits, and the figures of its run
 *     judge_sandbox.c     the two sandboxes: one for the compiler, a stricter one for the program
 *     judge_filter.c      the system calls that end a program
 *     judge_cgroup.c      memory and process limits by cgroup, v1 or v2
 *     judge_files.c       reading, sealed copies, comparing answers
 *
 * Functions that can fail return 0, or -1 after writing the reason into `why`. */
#ifndef JUDGE_H
#define JUDGE_H

#include <limits.h>
#include <sbx.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIB (UINT64_C(1) << 20)
#define SECOND UINT64_C(1000000000)

/* A reason in words, for the table's last column or for an error. */
struct why {
    char text[160];
};

/* What one program may use. */
struct limits {
    uint64_t cpu_ns;     /* of the program and the children it waited for */
    uint64_t wall_ns;
    uint64_t memory;     /* bytes */
    uint64_t file_size;  /* bytes of output, and of any other file */
    uint64_t processes;  /* at the same time; a thread counts as one */
};

/* What the kernel said about one run. */
struct figures {
    struct sbx_status status;  /* how the program ended, and its usage */
    bool timed_out;            /* the wall clock limit passed and the judge ended it */
    uint64_t cpu_ns;
    uint64_t wall_ns;
    uint64_t oom_kills;        /* processes that its cgroup's memory limit killed */
    uint64_t refused_forks;    /* forks that its cgroup's process limit refused */
};

/* A line of submissions.txt, and what became of it. */
struct submission {
    char file[64];
    char problem[32];
    char expected[32];

    char verdict[32];
    struct why why;
    unsigned tests;         /* of the problem */
    unsigned passed;
    uint64_t cpu_ns;        /* the most that any test took */
    uint64_t memory;        /* likewise: peak resident set, bytes */
};

/* Where cgroups can be made: one directory (v2), or one for memory and one for pids (v1). */
struct cgroups {
    unsigned n;             /* 0: no cgroup can be made here */
    bool v2;
    char dir[2][PATH_MAX];
};

/* The cgroup of one run: as many directories as struct cgroups has. */
struct group {
    unsigned n;
    int fd[2];
    char dir[2][PATH_MAX];
};

/* What all workers share; const once they run. */
struct judge {
    const char *examples;        /* the directory with submissions/ and problems/ */
    char work[64];               /* a temporary directory with a box for each worker */
    struct limits compile_limits;
    struct limits run_limits;
    struct cgroups cgroups;
    struct sock_filter *filter;  /* for the kernel's seccomp(2) */
    size_t filter_len;
};

/* A thread that judges one submission after another, on a CPU and under a user id of its own. */
struct worker {
    const struct judge *judge;
    unsigned number;
    int cpu;
    sbx_runner *compile;  /* the two recipes; a run clones one and adds its cgroup */
    sbx_runner *run;
};

/* One program to be run. */
struct task {
    const sbx_runner *sandbox;
    const struct limits *limits;
    const struct cgroups *cgroups;
    const char *name;         /* of its cgroup */
    const char *const *argv;
    int box;                  /* the directory that is /box inside */
    uint32_t box_flags;       /* SBX_MOUNT_* */
    int input;                /* becomes fd 0; -1: /dev/null */
    int output;               /* becomes fd `output_is`, 1 or 2 */
    int output_is;
};

/* judge_table.c */
int table_read(const char *path, struct submission **list, size_t *n, struct why *why);
void table_header(const struct judge *judge, unsigned workers);
bool table_row(const struct submission *submission); /* true: the verdict is the expected one */

/* judge_submission.c */
void submission_judge(const struct worker *worker, struct submission *submission);

/* judge_run.c */
int task_run(const struct task *task, struct figures *figures, struct why *why);

/* judge_sandbox.c */
sbx_runner *sandbox_for_compiler(const struct worker *worker, struct why *why);
sbx_runner *sandbox_for_program(const struct worker *worker, struct why *why);
uint32_t sandbox_host_uid(const struct worker *worker);

/* judge_filter.c */
int filter_make(struct sock_filter **filter, size_t *len, struct why *why);

/* judge_cgroup.c */
int cgroups_open(struct cgroups *cgroups, struct why *why);
void cgroups_close(struct cgroups *cgroups);
int group_make(const struct cgroups *cgroups, const char *name, const struct limits *limits,
               struct group *group, struct why *why);
void group_read(const struct group *group, struct figures *figures);
void group_remove(struct group *group);

/* judge_files.c */
int because(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
int file_read(const char *path, char **bytes, size_t *size, struct why *why);
int file_write(const char *path, const char *bytes, size_t size, struct why *why);
int sealed_input(const char *bytes, size_t size, struct why *why);
bool same_answer(const char *got, size_t got_size, const char *want, size_t want_size);
void tree_remove(const char *path);

#endif
