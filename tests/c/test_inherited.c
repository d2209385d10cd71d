/* What a child must not inherit: signals that the host ignores or blocks, and the host's real-time scheduling,
 * under which a start must come to its end even where host and child share one CPU. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGHUP, SIGINT, SIGCHLD, 34, 64};

/* A forked host that ignores these, blocks everything (the two signals of the C library too), and then tells by way
 * of `start` what a child of it is like. */
struct host {
    sbx_runner *runner;
    int out;
};

static void spoil_signals(void)
{
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        require(signal(ignored[i], SIG_IGN) != SIG_ERR, "ignore a signal");
    }
    uint64_t all = ~UINT64_C(0);
    require(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all) == 0, "block everything");
}

static void start_report(const struct host *host)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_fd_map map = {.fd = host->out, .child_fd = 1};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.fds = &map;
    launch.n_fds = 1;
    sbx_process *process = NULL;
    require_ok(sbx_start(host->runner, &launch, &process, &error), &error, "sbx_start");
    struct sbx_status status = {.size = sizeof status};
    require_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error, "sbx_process_wait");
    require(status.code == CLD_EXITED && status.status == 0, "the report ended well");
    sbx_process_free(process);
}

static int spoilt_host_starts(void *arg)
{
    spoil_signals();
    start_report(arg);
    uint64_t mask = 0;
    require(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof mask) == 0, "its own mask");
    uint64_t never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);
    require((mask | never) == ~UINT64_C(0), "the host's own mask is as it was");
    return 0;
}

static int spoilt_host_spawns(void *arg)
{
    const struct host *host = arg;
    char *argv[] = {"report", NULL};
    spoil_signals();
    require(dup2(host->out, 1) == 1, "stdout");
    pid_t pid;
    require(posix_spawn(&pid, inside("report"), NULL, NULL, argv, NULL) == 0, "posix_spawn");
    waitpid(pid, NULL, 0); /* fails: SIGCHLD is ignored; but waits all the same */
    return 0;
}

/* The report of a child of such a host, as if run() had collected it. */
static struct outcome *report_of(int (*body)(void *), uint32_t shape)
{
    struct outcome *outcome = test_calloc(1, sizeof *outcome);
    struct host host = {.runner = runner_for("report", NULL)};
    set_shape(host.runner, shape);
    int fds[2];
    make_pipe(fds);
    host.out = fds[1];
    assert_int_equal(forked_host(body, &host, 20), 0);
    close(fds[1]);
    outcome->length = read_to_end(fds[0], outcome->output, sizeof outcome->output);
    close(fds[0]);
    sbx_runner_free(host.runner);
    return outcome;
}

static void signals_are_default_and_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct outcome *outcome = report_of(spoilt_host_starts, all_shapes[i]);
        assert_string_equal(value(outcome, "sig_ignored"), "0x0");
        assert_string_equal(value(outcome, "sig_blocked"), "0x0");
        assert_string_equal(value(outcome, "sig_handled"), "0x0");
        test_free(outcome);
    }
}

static void posix_spawn_would_pass_them_on(void **state)
{
    (void)state;
    struct outcome *outcome = report_of(spoilt_host_spawns, SBX_SHAPE_DIRECT);
    unsigned long long ignored_there = strtoull(value(outcome, "sig_ignored"), NULL, 16);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        assert_true(ignored_there >> (ignored[i] - 1) & 1);
    }
    assert_string_not_equal(value(outcome, "sig_blocked"), "0x0");
    test_free(outcome);
}

/* ---- real time ---- */

static void become_realtime(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    struct sched_param param = {.sched_priority = 50};
    require(sched_setaffinity(0, sizeof one, &one) == 0, "one CPU");
    require(sched_setscheduler(0, SCHED_FIFO, &param) == 0, "SCHED_FIFO");
}

static int realtime_host_starts(void *arg)
{
    struct host silent = *(struct host *)arg;
    silent.out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    become_realtime();
    for (int n = 0; n < 20; n++) {
        start_report(&silent);
    }
    start_report(arg);
    require(sched_getscheduler(0) == SCHED_FIFO, "the host is real-time as before");
    return 0;
}

static int realtime_host_forks(void *arg)
{
    (void)arg;
    become_realtime();
    pid_t pid = fork();
    if (pid == 0) {
        _exit(sched_getscheduler(0));
    }
    int status = 0;
    require(waitpid(pid, &status, 0) == pid, "waitpid");
    return status == SCHED_FIFO << 8 ? 0 : 1;
}

static void a_realtime_host_on_one_cpu_starts_children(void **state)
{
    (void)state;
    struct sched_param param = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0) {
        skip_because("this user may not use SCHED_FIFO");
    }
    param.sched_priority = 0;
    assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &param), 0);

    assert_int_equal(forked_host(realtime_host_forks, NULL, 20), 0); /* the control: a fork inherits the policy */
    for (size_t i = 0; i < 3; i++) {
        struct outcome *outcome = report_of(realtime_host_starts, all_shapes[i]);
        assert_int_equal(number(outcome, "scheduler"), SCHED_OTHER);
        assert_int_equal(number(outcome, "priority"), 0);
        assert_string_equal(value(outcome, "cpus"), "0"); /* where it may run was not asked to change */
        test_free(outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(signals_are_default_and_open),
        host_test(posix_spawn_would_pass_them_on),
        host_test(a_realtime_host_on_one_cpu_starts_children),
    };
    return cmocka_run_group_tests_name("inherited", tests, NULL, NULL);
}
