/* One submission: its source is compiled in one sandbox and run on each test of its problem in
 * another, until a test fails. The verdict comes from the kernel's figures, never from anything the
 * program said, apart from its answer. */
#define _GNU_SOURCE
#include "judge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void set_verdict(struct submission *submission, const char *verdict)
{
    snprintf(submission->verdict, sizeof submission->verdict, "%s", verdict);
}

/* The judge's own failure: no verdict about the program. */
static void give_up(struct submission *submission)
{
    set_verdict(submission, "judge error");
}

/* What a program wrote, at most `cap` bytes of it; its true size goes to *size. */
static int output_read(int fd, size_t cap, char **bytes, size_t *size, struct why *why)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return because(why, "fstat: %s", strerror(errno));
    const size_t kept = (size_t)info.st_size < cap ? (size_t)info.st_size : cap;
    char *buffer = malloc(kept + 1);
    if (buffer == NULL || pread(fd, buffer, kept, 0) != (ssize_t)kept) {
        because(why, "output: %s", strerror(errno));
        free(buffer);
        return -1;
    }
    buffer[kept] = '\0';
    *bytes = buffer;
    *size = (size_t)info.st_size;
    return 0;
}

/* Limits that were reached. The signal that came with it (SIGKILL, SIGXCPU, SIGXFSZ) is no proof: a
 * program can raise any of them by itself. NULL: none. */
static const char *limit_verdict(const struct limits *limits, const struct figures *figures,
                                 size_t output, struct why *why)
{
    if (figures->oom_kills > 0) {
        because(why, "killed at %" PRIu64 " MiB by its cgroup's limit", limits->memory / MIB);
        return "MLE";
    }
    if (figures->status.max_rss > limits->memory) {
        because(why, "resident set above %" PRIu64 " MiB", limits->memory / MIB);
        return "MLE";
    }
    if (output > limits->file_size) {
        because(why, "more than %" PRIu64 " KiB of output", limits->file_size / 1024);
        return "OLE";
    }
    const bool cpu = figures->cpu_ns > limits->cpu_ns;
    if (!cpu && !figures->timed_out)
        return NULL;
    const double seconds = (double)(cpu ? limits->cpu_ns : limits->wall_ns) / (double)SECOND;
    const int len = snprintf(why->text, sizeof why->text, "%s limit of %.1f s",
                             cpu ? "CPU" : "wall clock", seconds);
    if (figures->refused_forks > 0)
        snprintf(why->text + len, sizeof why->text - (size_t)len, ", %" PRIu64 " forks refused",
                 figures->refused_forks);
    return "TLE";
}

static void signal_verdict(int signal, struct submission *submission)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGILL, "SIGILL"},
        {SIGKILL, "SIGKILL"}, {SIGSEGV, "SIGSEGV"}, {SIGTERM, "SIGTERM"}, {SIGTRAP, "SIGTRAP"},
        {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"},
    };
    const size_t size = sizeof submission->verdict;
    snprintf(submission->verdict, size, "RE(signal %d)", signal);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == signal)
            snprintf(submission->verdict, size, "RE(%s)", names[i].name);
}

/* How the program ended by itself. True: well, with exit code 0. */
static bool ended_well(const struct sbx_status *status, struct submission *submission)
{
    if (status->code == CLD_EXITED && status->status == 0)
        return true;
    if (status->code == CLD_EXITED) {
        snprintf(submission->verdict, sizeof submission->verdict, "RE(exit %d)", status->status);
        return false;
    }
    /* The filter's kill looks like raise(SIGSYS) to waitid(2). A program that raises it itself gets
     * a verdict which is no better, so it does not matter here; where it does, the call has to be
     * notified or traced. */
    if (status->status == SIGSYS) {
        set_verdict(submission, "forbidden syscall");
        return false;
    }
    signal_verdict(status->status, submission);
    return false;
}

/* The first line of the compiler's messages that tells of an error. Its text is the contestant's as
 * much as the compiler's, and goes to a terminal: printable characters only. */
static void compiler_message(char *messages, struct why *why)
{
    char *rest = NULL;
    const char *found = NULL;
    for (char *line = strtok_r(messages, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (found == NULL)
            found = line;
        if (strstr(line, "error: ") != NULL) {
            found = line;
            break;
        }
    }
    because(why, "%s", found != NULL ? found : "the compiler failed without a message");
    for (char *c = why->text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* 0: compiled. 1: a verdict was found. -1: the judge failed. */
static int compile(const struct worker *worker, int box, struct submission *submission)
{
    static const char *const gcc[] = {"/usr/bin/gcc", "-std=gnu11",   "-O2", "-static", "-o",
                                      "/box/program", "/box/main.c", "-lm", NULL};
    const struct judge *judge = worker->judge;
    const int messages = memfd_create("messages", MFD_CLOEXEC);
    if (messages < 0)
        return because(&submission->why, "memfd_create: %s", strerror(errno));
    char name[32];
    snprintf(name, sizeof name, "compile-%u", worker->number);
    const struct task task = {
        .sandbox = worker->compile,
        .limits = &judge->compile_limits,
        .cgroups = &judge->cgroups,
        .name = name,
        .argv = gcc,
        .box = box,
        .box_flags = SBX_MOUNT_WRITABLE | SBX_MOUNT_NOEXEC,
        .input = -1,
        .output = messages,
        .output_is = STDERR_FILENO,
    };
    struct figures figures;
    char *text = NULL;
    size_t size = 0;
    int rc = task_run(&task, &figures, &submission->why);
    if (rc == 0)
        rc = output_read(messages, judge->compile_limits.file_size, &text, &size, &submission->why);
    close(messages);
    if (rc < 0)
        return -1;
    struct why limit;
    if (limit_verdict(task.limits, &figures, size, &limit) != NULL) {
        set_verdict(submission, "CE");
        because(&submission->why, "compiler: %s", limit.text);
        rc = 1;
    } else if (figures.status.code != CLD_EXITED || figures.status.status != 0) {
        set_verdict(submission, "CE");
        compiler_message(text, &submission->why);
        rc = 1;
    }
    free(text);
    return rc;
}

/* One run on one test. 0: right answer. 1: a verdict was found. -1: the judge failed. */
static int run(const struct worker *worker, int box, int input, const char *want, size_t want_size,
               struct submission *submission)
{
    static const char *const program[] = {"/box/program", NULL};
    const struct judge *judge = worker->judge;
    const struct limits *limits = &judge->run_limits;
    const int output = memfd_create("output", MFD_CLOEXEC);
    if (output < 0)
        return because(&submission->why, "memfd_create: %s", strerror(errno));
    char name[32];
    snprintf(name, sizeof name, "run-%u", worker->number);
    const struct task task = {
        .sandbox = worker->run,
        .limits = limits,
        .cgroups = &judge->cgroups,
        .name = name,
        .argv = program,
        .box = box,
        .box_flags = 0,
        .input = input,
        .output = output,
        .output_is = STDOUT_FILENO,
    };
    struct figures figures;
    char *got = NULL;
    size_t got_size = 0;
    int rc = task_run(&task, &figures, &submission->why);
    if (rc == 0)
        rc = output_read(output, limits->file_size, &got, &got_size, &submission->why);
    close(output);
    if (rc < 0)
        return -1;

    if (figures.cpu_ns > submission->cpu_ns)
        submission->cpu_ns = figures.cpu_ns;
    if (figures.status.max_rss > submission->memory)
        submission->memory = figures.status.max_rss;
    const char *verdict = limit_verdict(limits, &figures, got_size, &submission->why);
    if (verdict != NULL) {
        set_verdict(submission, verdict);
        rc = 1;
    } else if (!ended_well(&figures.status, submission)) {
        rc = 1;
    } else if (!same_answer(got, got_size, want, want_size)) {
        set_verdict(submission, "WA");
        rc = 1;
    }
    free(got);
    return rc;
}

/* Test `number` of the problem, from 1. 0: right answer. 1: a verdict. -1: the judge failed. */
static int run_test(const struct worker *worker, int box, unsigned number,
                    struct submission *submission)
{
    struct why *why = &submission->why;
    char path[PATH_MAX];
    char *in = NULL;
    char *want = NULL;
    size_t in_size = 0;
    size_t want_size = 0;
    int rc = -1;
    snprintf(path, sizeof path, "%s/problems/%s/%u.in", worker->judge->examples,
             submission->problem, number);
    if (file_read(path, &in, &in_size, why) == 0) {
        snprintf(path, sizeof path, "%s/problems/%s/%u.out", worker->judge->examples,
                 submission->problem, number);
        const int input = sealed_input(in, in_size, why);
        if (input >= 0 && file_read(path, &want, &want_size, why) == 0)
            rc = run(worker, box, input, want, want_size, submission);
        if (input >= 0)
            close(input);
    }
    free(in);
    free(want);
    return rc;
}

static unsigned count_tests(const struct judge *judge, const char *problem)
{
    char path[PATH_MAX];
    for (unsigned n = 0;; n++) {
        snprintf(path, sizeof path, "%s/problems/%s/%u.in", judge->examples, problem, n + 1);
        if (access(path, F_OK) < 0)
            return n;
    }
}

/* A new box with the source in it, which the sandbox's user may write. Returns its descriptor. */
static int box_make(const struct worker *worker, const char *path, struct submission *submission)
{
    struct why *why = &submission->why;
    char file[PATH_MAX];
    char *source = NULL;
    size_t size = 0;
    snprintf(file, sizeof file, "%s/submissions/%s", worker->judge->examples, submission->file);
    if (file_read(file, &source, &size, why) < 0)
        return -1;
    snprintf(file, sizeof file, "%s/main.c", path);
    int rc = mkdir(path, 0700) < 0 ? because(why, "%s: %s", path, strerror(errno))
                                   : file_write(file, source, size, why);
    free(source);
    const uint32_t uid = sandbox_host_uid(worker);
    if (rc == 0 && geteuid() == 0 && chown(path, uid, uid) < 0)
        rc = because(why, "chown %s: %s", path, strerror(errno));
    const int box = rc == 0 ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (rc == 0 && box < 0)
        because(why, "%s: %s", path, strerror(errno));
    return box;
}

void submission_judge(const struct worker *worker, struct submission *submission)
{
    char path[sizeof worker->judge->work + 16];
    snprintf(path, sizeof path, "%s/box-%u", worker->judge->work, worker->number);
    submission->tests = count_tests(worker->judge, submission->problem);

    const int box = box_make(worker, path, submission);
    int rc = box < 0 ? -1 : compile(worker, box, submission);
    if (rc == 0 && submission->tests == 0)
        rc = because(&submission->why, "no tests for problem %s", submission->problem);
    while (rc == 0 && submission->passed < submission->tests) {
        rc = run_test(worker, box, submission->passed + 1, submission);
        if (rc == 0)
            submission->passed++;
    }
    if (rc == 0)
        set_verdict(submission, "AC");
    else if (rc < 0)
        give_up(submission);
    if (box >= 0)
        close(box);
    tree_remove(path);
}
