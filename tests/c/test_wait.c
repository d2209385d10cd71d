/* A started process from the host's side: waiting (with a timeout, again, from several threads), its figures,
 * its names (pid, pidfd, tree fd), ending it and freeing it. */
#include "support.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define MIB UINT64_C(1048576)

/* Starts `runner` (and frees it) in the test's shape. */
static sbx_process *start(void **state, sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    set_shape(runner, shape_of(state));
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    assert_non_null(process);
    assert_int_equal(sbx_process_shape(process), shape_of(state));
    sbx_runner_free(runner);
    return process;
}

static struct sbx_status wait_for(sbx_process *process)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    assert_ok(sbx_process_wait(process, 20000 * MS, &status, &error), &error);
    return status;
}

static void timeouts(void **state)
{
    sbx_process *process = start(state, runner_for("act", "pause", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    const uint64_t timeouts_ms[] = {0, 1, 30};
    for (size_t i = 0; i < 3; i++) {
        const uint64_t begin = now_ns();
        assert_error(sbx_process_wait(process, timeouts_ms[i] * MS, &status, &error), ETIMEDOUT, &error);
        const uint64_t took = now_ns() - begin;
        assert_true(took >= timeouts_ms[i] * MS);
        assert_true(took < timeouts_ms[i] * MS + 2000 * MS);
    }
    assert_int_equal(sbx_process_wait(process, 0, NULL, NULL), -ETIMEDOUT);
    assert_ok(sbx_process_kill(process, SIGTERM, &error), &error);
    status = wait_for(process);
    assert_int_equal(status.code, CLD_KILLED);
    assert_int_equal(status.status, SIGTERM);
    sbx_process_free(process);
}

static volatile sig_atomic_t alarms;
static volatile sig_atomic_t strange_alarms;
static pid_t host_pid;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
    strange_alarms += getpid() != host_pid;
}

/* A host whose signals interrupt every system call: Go's runtime does so. No timeout ends early, no start fails,
 * and the handler runs in the host alone. */
static void signals_interrupt_nothing(void **state)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    struct sigaction former;
    const struct itimerval often = {.it_interval = {.tv_usec = 300}, .it_value = {.tv_usec = 300}};
    const struct itimerval never = {{0}, {0}};
    host_pid = getpid();
    alarms = 0;
    strange_alarms = 0;
    assert_int_equal(sigaction(SIGALRM, &action, &former), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);

    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    int started = 0;
    int early = 0;
    int ended = 0;
    for (int i = 0; i < 20; i++) {
        sbx_runner *runner = runner_for("act", "pause", NULL);
        set_shape(runner, shape_of(state));
        sbx_process *process = NULL;
        started += sbx_start(runner, NULL, &process, &error) == 0;
        const uint64_t begin = now_ns();
        const int timed_out = sbx_process_wait(process, 5 * MS, &status, &error);
        early += timed_out != -ETIMEDOUT || now_ns() - begin < 5 * MS;
        const int killed = sbx_process_kill(process, SIGTERM, &error);
        const int waited = sbx_process_wait(process, UINT64_MAX - 1, &status, &error);
        ended += killed == 0 && waited == 0 && status.code == CLD_KILLED && status.status == SIGTERM;
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &former, NULL), 0);
    assert_int_equal(started, 20);
    assert_int_equal(early, 0);
    assert_int_equal(ended, 20);
    assert_true(alarms > 20);
    assert_int_equal(strange_alarms, 0);
}

static void the_same_answer_each_time(void **state)
{
    sbx_process *process = start(state, runner_for("exit0", "42", NULL));
    const struct sbx_status first = wait_for(process);
    assert_int_equal(first.code, CLD_EXITED);
    assert_int_equal(first.status, 42);
    assert_int_equal(first.has_usage, 1);
    assert_int_equal(first.reserved, 0);
    for (int i = 0; i < 3; i++) {
        const struct sbx_status again = wait_for(process);
        assert_memory_equal(&again, &first, sizeof first);
        assert_int_equal(sbx_process_wait(process, 0, NULL, NULL), 0);
    }
    sbx_process_free(process);
}

static void *wait_in_a_thread(void *arg)
{
    struct sbx_status status = {.size = sizeof status};
    const int result = sbx_process_wait(arg, SBX_INFINITE, &status, NULL);
    return (void *)(intptr_t)(result == 0 && status.code == CLD_KILLED ? status.status : -1);
}

static void several_threads_wait(void **state)
{
    sbx_process *process = start(state, runner_for("act", "pause", NULL));
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_in_a_thread, process), 0);
    }
    sleep_ms(20);
    assert_int_equal(sbx_process_kill(process, SIGUSR1, NULL), 0);
    for (size_t i = 0; i < 8; i++) {
        void *signal = NULL;
        assert_int_equal(pthread_join(threads[i], &signal), 0);
        assert_int_equal((intptr_t)signal, SIGUSR1);
    }
    sbx_process_free(process);
}

static void kill_says_what_it_did(void **state)
{
    sbx_process *process = start(state, runner_for("act", "pause", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    assert_error(sbx_process_kill(process, 65, &error), EINVAL, &error);
    assert_error(sbx_process_kill(process, -1, &error), EINVAL, &error);
    assert_int_equal(sbx_process_wait(process, 0, NULL, NULL), -ETIMEDOUT);

    assert_ok(sbx_process_kill(process, SIGKILL, &error), &error);
    const struct sbx_status status = wait_for(process);
    assert_int_equal(status.code, CLD_KILLED);
    assert_int_equal(status.status, SIGKILL);
    assert_error(sbx_process_kill(process, SIGKILL, &error), ESRCH, &error);
    assert_ok(sbx_process_kill_tree(process, &error), &error);
    sbx_process_free(process);
}

/* Often, because the host's order and the program's end race each other on their ways to the init. */
static void kill_tree_ends_it(void **state)
{
    for (int i = 0; i < 100; i++) {
        sbx_process *process = start(state, runner_for("act", "pause", NULL));
        struct sbx_error error = SBX_ERROR_INIT;
        assert_ok(sbx_process_kill_tree(process, &error), &error);
        const struct sbx_status status = wait_for(process);
        assert_int_equal(status.code, CLD_KILLED);
        assert_int_equal(status.status, SIGKILL);
        assert_true(readable(sbx_process_tree_fd(process), 5000));
        assert_ok(sbx_process_kill_tree(process, &error), &error);
        sbx_process_free(process);
    }
}

static void free_ends_it(void **state)
{
    sbx_process *process = start(state, runner_for("act", "ignore", "15", "pause", NULL));
    const int pid = sbx_process_pid(process);
    assert_true(process_exists(pid));
    sbx_process_free(process);
    assert_false(process_exists(pid));
}

/* The pid and the pidfd are the program's own. */
static void names(void **state)
{
    sbx_process *process = start(state, runner_for("act", "pause", NULL));
    const int pid = sbx_process_pid(process);
    const int pidfd = sbx_process_pidfd(process);

    char path[64];
    char line[256];
    int named = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "Pid: %d", &named);
    }
    fclose(file);
    assert_int_equal(named, pid);

    /* The kernel sets the new name a moment after the exec can no longer fail. */
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    for (int tries = 0; tries < 1000; tries++) {
        file = fopen(path, "re");
        assert_non_null(file);
        assert_non_null(fgets(line, sizeof line, file));
        fclose(file);
        if (strcmp(line, "act\n") == 0) {
            break;
        }
        sleep_ms(1);
    }
    assert_string_equal(line, "act\n");

    assert_false(readable(pidfd, 0));
    assert_false(readable(sbx_process_tree_fd(process), 0));
    assert_int_equal(sbx_process_kill(process, SIGKILL, NULL), 0);
    assert_true(readable(pidfd, 5000));
    assert_true(readable(sbx_process_tree_fd(process), 5000));
    wait_for(process);
    assert_true(readable(sbx_process_tree_fd(process), 0));
    sbx_process_free(process);
}

/* Descriptors that the object hands out close themselves on exec and go with it. */
static void descriptors_of_the_object(void **state)
{
    const int before = count_fds();
    sbx_process *process = start(state, runner_for("exit0", NULL));
    assert_true(count_fds() > before);
    assert_true(is_open(sbx_process_pidfd(process)));
    assert_true(is_open(sbx_process_tree_fd(process)));
    sbx_process_free(process);
    assert_int_equal(count_fds(), before);
}

static void cpu_time(void **state)
{
    sbx_process *process = start(state, runner_for("act", "spin", "120", NULL));
    struct sbx_status status = wait_for(process);
    assert_int_equal(status.has_usage, 1);
    assert_in_range(status.user_ns + status.system_ns, 110 * MS, 1000 * MS);
    sbx_process_free(process);

    /* Of children too, once they were waited for. */
    process = start(state, runner_for("act", "childspin", "120", NULL));
    status = wait_for(process);
    assert_in_range(status.user_ns + status.system_ns, 110 * MS, 1000 * MS);
    sbx_process_free(process);

    process = start(state, runner_for("act", "sleep", "120", NULL));
    status = wait_for(process);
    assert_in_range(status.user_ns + status.system_ns, 0, 60 * MS);
    assert_true(status.voluntary_switches >= 1);
    sbx_process_free(process);
}

static void memory(void **state)
{
    sbx_process *process = start(state, runner_for("act", "touch", "67108864", NULL));
    const struct sbx_status status = wait_for(process);
    /* Without an init the kernel counts what the host had at the start as well. */
    assert_in_range(status.max_rss, 64 * MIB, shape_of(state) == SBX_SHAPE_INIT ? 68 * MIB : SIZE_MAX);
    assert_true(status.minor_faults >= 32); /* huge pages may serve many at once */
    sbx_process_free(process);
}

static void daemons_hold_nothing_up(void **state)
{
    const uint64_t begin = now_ns();
    sbx_process *process = start(state, runner_for("act", "child", "5000", "exit", "4", NULL));
    const struct sbx_status status = wait_for(process);
    assert_int_equal(status.status, 4);
    if (shape_of(state) == SBX_SHAPE_INIT) {
        assert_true(readable(sbx_process_tree_fd(process), 2000)); /* the child is gone as well */
    }
    sbx_process_free(process);
    assert_true(now_ns() - begin < 4000 * MS);
}

static void no_process(void **state)
{
    (void)state;
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    assert_error(sbx_process_wait(NULL, 0, &status, &error), EINVAL, &error);
    assert_error(sbx_process_kill(NULL, SIGKILL, &error), EINVAL, &error);
    assert_error(sbx_process_kill_tree(NULL, &error), EINVAL, &error);
    assert_true(sbx_process_pid(NULL) < 0);
    assert_true(sbx_process_pidfd(NULL) < 0);
    assert_true(sbx_process_tree_fd(NULL) < 0);
    assert_false(sbx_process_dies_with_host(NULL));
    assert_true(sbx_process_unenforced(NULL) == UINT64_MAX);
    assert_int_equal(sbx_process_shape(NULL), UINT32_MAX);
    sbx_process_free(NULL);
}

/* Only an init with a pid namespace of its own takes everything along. */
static void what_dies_with_the_host(void **state)
{
    sbx_process *process = start(state, runner_for("exit0", NULL));
    assert_false(sbx_process_dies_with_host(process));
    sbx_process_free(process);

    sbx_runner *runner = runner_for("exit0", NULL);
    set_namespaces(runner, SBX_NS_PID);
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_init(runner, shape_of(state) == SBX_SHAPE_INIT, &error), &error);
    process = start(state, runner);
    assert_int_equal(sbx_process_dies_with_host(process), shape_of(state) == SBX_SHAPE_INIT);
    sbx_process_free(process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(timeouts),
        in_each_shape(signals_interrupt_nothing),
        in_each_shape(the_same_answer_each_time),
        in_each_shape(several_threads_wait),
        in_each_shape(kill_says_what_it_did),
        in_each_shape(kill_tree_ends_it),
        in_each_shape(free_ends_it),
        in_each_shape(names),
        in_each_shape(descriptors_of_the_object),
        in_each_shape(cpu_time),
        in_each_shape(memory),
        in_each_shape(daemons_hold_nothing_up),
        host_test(no_process),
        in_each_shape(what_dies_with_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
