/* The sync function: called once, on the starting thread, when everything but the filter and the exec is done.
 * It learns the program's pid and pidfd; what it returns decides whether the program ever runs; and however long
 * it takes, other threads' starts go on. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What one call of the function saw, and what it shall do. */
struct visit {
    int calls;
    pid_t tid;
    pid_t pid;
    pid_t pidfd_pid;
    pid_t parent;
    long no_new_privs;
    long pid_inside;
    bool was_program;
    int kill_with;         /* a signal for the program, 0: none */
    bool kill_parent;      /* SIGKILL for the program's parent: the init */
    int answer;
};

static int visit(int pid, int pidfd, void *arg)
{
    struct visit *seen = arg;
    seen->calls++;
    seen->tid = (pid_t)syscall(SYS_gettid);
    seen->pid = pid;
    seen->pidfd_pid = pid_of_pidfd(pidfd);
    seen->parent = (pid_t)status_first(pid, "PPid");
    seen->no_new_privs = status_first(pid, "NoNewPrivs");
    seen->pid_inside = status_last(pid, "NSpid");
    seen->was_program = runs(pid, "act");
    if (seen->kill_with != 0) {
        syscall(SYS_pidfd_send_signal, pidfd, seen->kill_with, NULL, 0);
    }
    if (seen->kill_parent && seen->parent > 1 && seen->parent != getpid()) {
        kill(seen->parent, SIGKILL);
    }
    return seen->answer;
}

/* A runner whose program reads stdin until its end and then says that it ran. */
static sbx_runner *synced_runner(uint32_t shape)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = runner_for("act", "read", "0", "say", "ran", NULL);
    set_shape(runner, shape);
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_sync_func(runner, visit, &error), &error);
    return runner;
}

static void sees_the_program_before_its_exec(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = synced_runner(all_shapes[i]);
        struct sbx_error error = SBX_ERROR_INIT;
        int stdin_pipe[2];
        make_pipe(stdin_pipe);
        struct visit seen = {0};
        struct sbx_fd_map map = {.fd = stdin_pipe[0], .child_fd = 0};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.fds = &map;
        launch.n_fds = 1;
        launch.sync_arg = &seen;

        sbx_process *process = NULL;
        assert_ok(sbx_start(runner, &launch, &process, &error), &error);
        assert_int_equal(sbx_process_shape(process), all_shapes[i]);
        assert_int_equal(seen.calls, 1);
        assert_int_equal(seen.tid, syscall(SYS_gettid));
        assert_int_equal(seen.pid, sbx_process_pid(process));
        assert_int_equal(seen.pidfd_pid, seen.pid);
        assert_int_equal(pid_of_pidfd(sbx_process_pidfd(process)), seen.pid);
        assert_int_equal(seen.no_new_privs, 1);
        /* It waits on stdin: it is the program now, and was not when the function was called. */
        assert_true(soon_runs(seen.pid, "act"));
        assert_false(seen.was_program);
        assert_int_equal(seen.parent == getpid(), all_shapes[i] != SBX_SHAPE_INIT);

        close(stdin_pipe[0]);
        close(stdin_pipe[1]);
        struct sbx_status status = {.size = sizeof status};
        assert_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error);
        assert_int_equal(status.code, CLD_EXITED);
        assert_int_equal(status.status, 0);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static void with_a_pid_namespace_the_pid_is_the_hosts(void **state)
{
    (void)state;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = synced_runner(SBX_SHAPE_INIT);
    set_namespaces(runner, SBX_NS_PID);
    struct visit seen = {0};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.sync_arg = &seen;
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, &launch, &process, &error), &error);
    assert_int_equal(seen.pid, sbx_process_pid(process));
    assert_int_equal(seen.pidfd_pid, seen.pid);
    assert_true(seen.pid_inside > 1);
    assert_true(seen.pid_inside != seen.pid);
    sbx_process_free(process);
    sbx_runner_free(runner);
}

static void its_error_ends_the_start(void **state)
{
    (void)state;
    static const struct { int answer, result; } cases[] = {{-ECANCELED, -ECANCELED}, {-1, -1}, {-4000, -4000}};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = synced_runner(all_shapes[i]);
        for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
            struct visit seen = {.answer = cases[n].answer};
            struct sbx_launch launch = SBX_LAUNCH_INIT;
            launch.sync_arg = &seen;
            const struct outcome *outcome = run(runner, &launch);
            assert_error(outcome->started, -cases[n].result, &outcome->error);
            assert_string_equal(sbx_location_name(outcome->error.location), "sync_func");
            assert_int_equal(outcome->error.blame, SBX_BLAME_CALLER);
            assert_int_equal(seen.calls, 1);
            assert_false(process_exists(seen.pid));
            assert_string_equal(outcome->output, "");
        }
        /* The same runner still starts. */
        struct visit seen = {0};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = &seen;
        const struct outcome *outcome = run(runner, &launch);
        assert_ended(outcome, CLD_EXITED, 0);
        assert_string_equal(outcome->output, "ran\n");
        sbx_runner_free(runner);
    }
}

/* The contract speaks of 0 and of negative errnos; a positive result must not pass for "go on", nor come out as one. */
static void a_positive_result_is_an_error_too(void **state)
{
    (void)state;
    sbx_runner *runner = synced_runner(SBX_SHAPE_DIRECT);
    static const int answers[] = {1, ECANCELED, 1 << 30, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct visit seen = {.answer = answers[i]};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = &seen;
        const struct outcome *outcome = run(runner, &launch);
        assert_true(outcome->started < 0);
        assert_int_equal(outcome->error.err, -outcome->started);
        assert_string_equal(sbx_location_name(outcome->error.location), "sync_func");
        assert_string_equal(outcome->output, "");
    }
    sbx_runner_free(runner);
}

static void a_program_killed_by_it_never_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = synced_runner(all_shapes[i]);
        struct visit seen = {.kill_with = SIGKILL};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = &seen;
        const struct outcome *outcome = run(runner, &launch);
        assert_true(outcome->started < 0);
        assert_string_equal(sbx_location_name(outcome->error.location), "died_in_setup");
        assert_string_equal(outcome->output, "");
        assert_false(process_exists(seen.pid));
        sbx_runner_free(runner);
    }
}

static volatile sig_atomic_t broken_pipes;

static void count_broken_pipe(int signal)
{
    (void)signal;
    broken_pipes++;
}

/* The host then talks to an init that is gone: an error, and no SIGPIPE for the host. */
static void an_init_killed_meanwhile_is_an_error(void **state)
{
    (void)state;
    struct sigaction old;
    struct sigaction count = {.sa_handler = count_broken_pipe};
    sigaction(SIGPIPE, &count, &old);
    broken_pipes = 0;
    for (int in_pid_namespace = 0; in_pid_namespace < 2; in_pid_namespace++) {
        sbx_runner *runner = synced_runner(SBX_SHAPE_INIT);
        if (in_pid_namespace) {
            set_namespaces(runner, SBX_NS_PID);
        }
        struct visit seen = {.kill_parent = true};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = &seen;
        const struct outcome *outcome = run(runner, &launch);
        assert_true(outcome->started < 0);
        assert_string_equal(outcome->output, "");
        assert_int_not_equal(seen.parent, getpid());
        assert_true(wait_for_state(seen.pid, 0));
        sbx_runner_free(runner);
    }
    sigaction(SIGPIPE, &old, NULL);
    assert_int_equal(broken_pipes, 0);
}

static int start_another(int pid, int pidfd, void *arg)
{
    (void)pid;
    (void)pidfd;
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    int result = sbx_start(arg, NULL, &process, &error);
    if (result == 0) {
        result = sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error);
    }
    sbx_process_free(process);
    return result != 0 || status.code != CLD_EXITED || status.status != 5 ? -EPROTO : 0;
}

static void it_may_start_another_program(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *outer = runner_for("exit0", NULL);
        sbx_runner *inner = runner_for("exit0", "5", NULL);
        set_shape(outer, all_shapes[i]);
        set_shape(inner, all_shapes[i]);
        assert_ok(sbx_set_sync_func(outer, start_another, &error), &error);
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = inner;
        assert_ended(run(outer, &launch), CLD_EXITED, 0);
        sbx_runner_free(outer);
        sbx_runner_free(inner);
    }
}

struct gate {
    const sbx_runner *runner;
    sem_t entered, leave;
    int result;
};

static int wait_at_gate(int pid, int pidfd, void *arg)
{
    (void)pid;
    (void)pidfd;
    struct gate *gate = arg;
    if (gate == NULL) {
        return 0;
    }
    sem_post(&gate->entered);
    while (sem_wait(&gate->leave) != 0) {
    }
    return 0;
}

static void *start_at_gate(void *arg)
{
    struct gate *gate = arg;
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.sync_arg = gate;
    sbx_process *process = NULL;
    gate->result = sbx_start(gate->runner, &launch, &process, &error);
    sbx_process_free(process);
    return NULL;
}

/* One thread stays in its function until another has done twenty starts of the same runner. */
static void a_slow_one_delays_nobody_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *runner = runner_for("exit0", NULL);
        set_shape(runner, all_shapes[i]);
        assert_ok(sbx_set_sync_func(runner, wait_at_gate, &error), &error);
        struct gate gate = {.runner = runner};
        sem_init(&gate.entered, 0, 0);
        sem_init(&gate.leave, 0, 0);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, start_at_gate, &gate), 0);
        while (sem_wait(&gate.entered) != 0) {
        }
        for (int n = 0; n < 20; n++) {
            run_ok(runner, 0);
        }
        sem_post(&gate.leave);
        pthread_join(thread, NULL);
        assert_int_equal(gate.result, 0);
        sem_destroy(&gate.entered);
        sem_destroy(&gate.leave);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(sees_the_program_before_its_exec),
        host_test(with_a_pid_namespace_the_pid_is_the_hosts),
        host_test(its_error_ends_the_start),
        host_test(a_positive_result_is_an_error_too),
        host_test(a_program_killed_by_it_never_runs),
        host_test(an_init_killed_meanwhile_is_an_error),
        host_test(it_may_start_another_program),
        host_test(a_slow_one_delays_nobody_else),
    };
    return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
