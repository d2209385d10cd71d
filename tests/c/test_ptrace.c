/* sbx_set_ptrace and sbx_set_stop_before_seccomp: sbx_start comes back while the program stands before its
 * filter. With ptrace the calling thread is its tracer and sees the filter's RET_TRACE; without, SIGCONT lets
 * it go. Either way an exec that fails later is what wait reports, and kill and free work at the stop. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACE_DATA 42

static const uint32_t stopping_shapes[2] = {SBX_SHAPE_STAGED, SBX_SHAPE_INIT};

/* getppid asks the tracer; without one it is ENOSYS. */
static void set_trace_filter(sbx_runner *runner)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | TRACE_DATA),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_bpf(runner, filter, sizeof filter / sizeof filter[0], 0, &error), &error);
}

enum stop { BY_TRACER, BY_SIGSTOP };

static sbx_runner *stopping_runner(uint32_t shape, enum stop stop, const char *program)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = runner_for(program, NULL);
    set_shape(runner, shape);
    if (stop == BY_TRACER) {
        assert_ok(sbx_set_ptrace(runner, true, &error), &error);
    } else {
        assert_ok(sbx_set_stop_before_seccomp(runner, true, &error), &error);
    }
    return runner;
}

static sbx_process *start(const sbx_runner *runner, const struct sbx_launch *launch)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, launch, &process, &error), &error);
    assert_non_null(process);
    return process;
}

static void check_exit(sbx_process *process, int code, int status)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status ended = {.size = sizeof ended};
    assert_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &ended, &error), &error);
    assert_int_equal(ended.code, code);
    assert_int_equal(ended.status, status);
}

/* The tracee's next stop or end, as waitpid gives it. */
static int next_event(pid_t pid)
{
    for (int i = 0; i < 10000; i++) {
        int status = 0;
        pid_t result = waitpid(pid, &status, __WALL | WNOHANG);
        if (result == pid) {
            return status;
        }
        assert_int_equal(result, 0);
        sleep_ms(1);
    }
    fail_msg("no event of the tracee within ten seconds");
    return -1;
}

static void trace(pid_t pid, long options)
{
    if (ptrace(PTRACE_SETOPTIONS, pid, 0, options) != 0) {
        fail_msg("PTRACE_SETOPTIONS at the stop: %s", strerror(errno));
    }
}

static void go_on(pid_t pid)
{
    if (ptrace(PTRACE_CONT, pid, 0, 0) != 0) {
        fail_msg("PTRACE_CONT: %s", strerror(errno));
    }
}

/* waitpid's status for a PTRACE_EVENT stop. */
static int event_stop(int event)
{
    return event << 16 | SIGTRAP << 8 | 0x7f;
}

static void the_tracer_sees_exec_and_filter(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = stopping_runner(stopping_shapes[i], BY_TRACER, "getppid");
        set_trace_filter(runner);
        sbx_process *process = start(runner, NULL);
        pid_t pid = sbx_process_pid(process);
        assert_int_equal(sbx_process_shape(process), stopping_shapes[i]);
        assert_int_equal(process_state(pid), 't');
        assert_int_equal(status_first(pid, "TracerPid"), syscall(SYS_gettid));
        assert_int_equal(status_first(pid, "Seccomp"), 0);

        trace(pid, PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL);
        go_on(pid);
        assert_int_equal(next_event(pid), event_stop(PTRACE_EVENT_EXEC));
        assert_true(runs(pid, "getppid"));
        assert_int_equal(status_first(pid, "Seccomp"), 2);
        go_on(pid);
        assert_int_equal(next_event(pid), event_stop(PTRACE_EVENT_SECCOMP));
        unsigned long data = 0;
        assert_int_equal(ptrace(PTRACE_GETEVENTMSG, pid, 0, &data), 0);
        assert_int_equal(data, TRACE_DATA);
        go_on(pid);
        assert_int_equal(next_event(pid), event_stop(PTRACE_EVENT_EXIT));
        assert_int_equal(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
        check_exit(process, CLD_EXITED, 0);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

/* The control of the test above: the same filter without a tracer. */
static void without_a_tracer_the_filter_refuses(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("getppid", NULL);
    set_trace_filter(runner);
    run_ok(runner, ENOSYS);
    sbx_runner_free(runner);
}

/* A tracer that waits for everything itself sees the end before the library does. */
static void a_tracer_may_reap_the_end_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = stopping_runner(stopping_shapes[i], BY_TRACER, "getppid");
        sbx_process *process = start(runner, NULL);
        pid_t pid = sbx_process_pid(process);
        go_on(pid);
        int status = next_event(pid);
        while (WIFSTOPPED(status)) {
            go_on(pid);
            status = next_event(pid);
        }
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        struct sbx_error error = SBX_ERROR_INIT;
        struct sbx_status ended = {.size = sizeof ended};
        int result = sbx_process_wait(process, READ_TIMEOUT_NS, &ended, &error);
        if (stopping_shapes[i] == SBX_SHAPE_INIT || result == 0) {
            assert_ok(result, &error);
            assert_int_equal(ended.code, CLD_EXITED);
            assert_int_equal(ended.status, 0);
        } else {
            assert_error(result, ECHILD, &error);
        }
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static void direct_is_never_traced(void **state)
{
    (void)state;
    static const enum stop stops[] = {BY_TRACER, BY_SIGSTOP};
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = stopping_runner(SBX_SHAPE_DIRECT, stops[i], "exit0");
        sbx_process *process = start(runner, NULL);
        assert_int_equal(sbx_process_shape(process), SBX_SHAPE_STAGED);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static void let_go(sbx_process *process, enum stop stop)
{
    if (stop == BY_TRACER) {
        assert_int_equal(ptrace(PTRACE_DETACH, sbx_process_pid(process), 0, 0), 0);
        return;
    }
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_process_kill(process, SIGCONT, &error), &error);
}

static void sigcont_lets_it_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = stopping_runner(stopping_shapes[i], BY_SIGSTOP, "getppid");
        set_trace_filter(runner);
        sbx_process *process = start(runner, NULL);
        pid_t pid = sbx_process_pid(process);
        assert_int_equal(sbx_process_shape(process), stopping_shapes[i]);
        assert_int_equal(process_state(pid), 'T');
        assert_int_equal(status_first(pid, "Seccomp"), 0);
        assert_int_equal(status_first(pid, "NoNewPrivs"), 1);

        struct sbx_error error = SBX_ERROR_INIT;
        struct sbx_status ended = {.size = sizeof ended};
        assert_error(sbx_process_wait(process, 20000000, &ended, &error), ETIMEDOUT, &error);
        assert_int_equal(process_state(pid), 'T');
        let_go(process, BY_SIGSTOP);
        check_exit(process, CLD_EXITED, ENOSYS);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static int note_visit(int pid, int pidfd, void *arg)
{
    (void)pidfd;
    *(char *)arg = process_state(pid);
    return 0;
}

/* Sync function first, then the stop; both kinds of stop together are one the tracer sees. */
static void every_combination_starts(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 32; n++) {
        struct sbx_error error = SBX_ERROR_INIT;
        bool synced = n & 1, traced = n & 2, stopped = n & 4, spaced = n & 16;
        uint32_t shape = stopping_shapes[n >> 3 & 1];
        if (!traced && !stopped) {
            continue;
        }
        sbx_runner *runner = runner_for("exit0", "3", NULL);
        set_shape(runner, shape);
        if (spaced) {
            set_namespaces(runner, shape == SBX_SHAPE_INIT ? SBX_NS_PID : SBX_NS_UTS);
        }
        assert_ok(sbx_set_ptrace(runner, traced, &error), &error);
        assert_ok(sbx_set_stop_before_seccomp(runner, stopped, &error), &error);
        assert_ok(sbx_set_sync_func(runner, synced ? note_visit : NULL, &error), &error);
        char seen = 0;
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = &seen;
        sbx_process *process = start(runner, &launch);
        assert_int_equal(seen != 0, synced);
        assert_true(seen != 'T' && seen != 't');
        pid_t pid = sbx_process_pid(process);
        assert_int_equal(process_state(pid), traced ? 't' : 'T');
        if (traced) {
            let_go(process, BY_TRACER);
        }
        if (stopped && process_state(pid) == 'T') {
            let_go(process, BY_SIGSTOP);
        }
        check_exit(process, CLD_EXITED, 3);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static void an_exec_that_fails_later_is_told_by_wait(void **state)
{
    (void)state;
    static const enum stop stops[] = {BY_TRACER, BY_SIGSTOP};
    for (size_t n = 0; n < 4; n++) {
        sbx_runner *runner = stopping_runner(stopping_shapes[n / 2], stops[n % 2], "there-is-no-such-program");
        sbx_process *process = start(runner, NULL);
        let_go(process, stops[n % 2]);
        for (int again = 0; again < 2; again++) {
            struct sbx_error error = SBX_ERROR_INIT;
            struct sbx_status ended = {.size = sizeof ended};
            assert_error(sbx_process_wait(process, READ_TIMEOUT_NS, &ended, &error), ENOENT, &error);
            assert_string_equal(sbx_location_name(error.location), "exec");
            assert_int_equal(error.blame, SBX_BLAME_PROGRAM);
        }
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static void kill_and_free_work_at_the_stop(void **state)
{
    (void)state;
    static const enum stop stops[] = {BY_TRACER, BY_SIGSTOP};
    for (size_t n = 0; n < 12; n++) {
        enum stop stop = stops[n % 2];
        sbx_runner *runner = stopping_runner(stopping_shapes[n / 2 % 2], stop, "exit0");
        sbx_process *process = start(runner, NULL);
        pid_t pid = sbx_process_pid(process);
        struct sbx_error error = SBX_ERROR_INIT;
        if (n / 4 == 1) {
            assert_ok(sbx_process_kill(process, SIGKILL, &error), &error);
            check_exit(process, CLD_KILLED, SIGKILL);
        }
        if (n / 4 == 2) {
            assert_ok(sbx_process_kill_tree(process, &error), &error);
            check_exit(process, CLD_KILLED, SIGKILL);
        }
        sbx_process_free(process);
        assert_false(process_exists(pid));
        sbx_runner_free(runner);
    }
}

struct tracer_thread {
    sbx_runner *runner;
    bool traced_by_itself;
    bool refused_to_others;
    sbx_process *process;
    pthread_barrier_t barrier;
};

static void *trace_in_thread(void *arg)
{
    struct tracer_thread *thread = arg;
    struct sbx_error error = SBX_ERROR_INIT;
    if (sbx_start(thread->runner, NULL, &thread->process, &error) == 0) {
        thread->traced_by_itself = status_first(sbx_process_pid(thread->process), "TracerPid") == syscall(SYS_gettid);
    }
    pthread_barrier_wait(&thread->barrier); /* the main thread tries */
    pthread_barrier_wait(&thread->barrier);
    if (thread->process != NULL) {
        ptrace(PTRACE_DETACH, sbx_process_pid(thread->process), 0, 0);
    }
    return NULL;
}

static void the_starting_thread_is_the_tracer(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tracer_thread thread = {.runner = stopping_runner(stopping_shapes[i], BY_TRACER, "exit0")};
        pthread_barrier_init(&thread.barrier, NULL, 2);
        pthread_t id;
        assert_int_equal(pthread_create(&id, NULL, trace_in_thread, &thread), 0);
        pthread_barrier_wait(&thread.barrier);
        if (thread.process != NULL) {
            thread.refused_to_others = ptrace(PTRACE_CONT, sbx_process_pid(thread.process), 0, 0) != 0 && errno == ESRCH;
        }
        pthread_barrier_wait(&thread.barrier);
        pthread_join(id, NULL);
        pthread_barrier_destroy(&thread.barrier);
        assert_non_null(thread.process);
        assert_true(thread.traced_by_itself);
        assert_true(thread.refused_to_others);
        check_exit(thread.process, CLD_EXITED, 0);
        sbx_process_free(thread.process);
        sbx_runner_free(thread.runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(the_tracer_sees_exec_and_filter),
        host_test(without_a_tracer_the_filter_refuses),
        host_test(a_tracer_may_reap_the_end_itself),
        host_test(direct_is_never_traced),
        host_test(sigcont_lets_it_go),
        host_test(every_combination_starts),
        host_test(an_exec_that_fails_later_is_told_by_wait),
        host_test(kill_and_free_work_at_the_stop),
        host_test(the_starting_thread_is_the_tracer),
    };
    return cmocka_run_group_tests_name("ptrace", tests, NULL, NULL);
}
