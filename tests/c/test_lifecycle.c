/* Objects from their birth to their end: however often and in which order runners and processes are made,
 * started, failed and freed, no mapping, descriptor or process of theirs is left. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 60

static sbx_runner *shaped(void **state, sbx_runner *runner)
{
    set_shape(runner, shape_of(state));
    return runner;
}

/* The stack, the plan and the control block of a start are mappings of their own. */
static int count_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    assert_non_null(file);
    int lines = 0;
    for (int c; (c = fgetc(file)) != EOF;) {
        lines += c == '\n';
    }
    fclose(file);
    return lines;
}

static void check_round(void **state, int code)
{
    sbx_runner *runner = shaped(state, runner_for("exit0", "7", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    assert_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error);
    assert_int_equal(status.code, CLD_EXITED);
    assert_int_equal(status.status, code);
    sbx_process_free(process);
    sbx_runner_free(runner);
}

static void failing_round(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("no such program", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    assert_error(sbx_start(runner, NULL, &process, &error), ENOENT, &error);
    assert_null(process);
    sbx_runner_free(runner);
}

static void unwaited_round(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("act", "pause", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    sbx_runner_free(runner);
    sbx_process_free(process);
}

static void rounds_leave_nothing(void **state)
{
    int mappings = 0;
    for (int i = 0; i < ROUNDS; i++) {
        check_round(state, 7);
        failing_round(state);
        if (!under_valgrind()) { /* there a start lasts as long as its program */
            unwaited_round(state);
        }
        if (i == 4) {
            mappings = count_mappings(); /* the allocator has what it wants by now */
        }
    }
    assert_in_range(count_mappings(), 1, mappings + 3);
}

static void a_process_outlives_its_runner(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("act", "sleep", "50", "exit", "8", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    sbx_runner_free(runner);
    assert_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error);
    assert_int_equal(status.status, 8);
    sbx_process_free(process);
}

static void many_at_once(void **state)
{
    if (under_valgrind()) {
        skip_because("under valgrind a start lasts as long as its program");
    }
    sbx_runner *runner = shaped(state, runner_for("act", "read", "0", "exit", "9", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *processes[40];
    int input[2];
    make_pipe(input);
    const struct sbx_fd_map map[] = {{input[0], 0}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.fds = map;
    launch.n_fds = 1;
    const int n = sizeof processes / sizeof processes[0];
    for (int i = 0; i < n; i++) {
        assert_ok(sbx_start(runner, &launch, &processes[i], &error), &error);
        for (int other = 0; other < i; other++) {
            assert_int_not_equal(sbx_process_pid(processes[i]), sbx_process_pid(processes[other]));
        }
    }
    /* All of them wait for the end of the pipe: none may hold its other end open. */
    close(input[0]);
    close(input[1]);
    for (int i = n - 1; i >= 0; i--) {
        struct sbx_status status = {.size = sizeof status};
        assert_ok(sbx_process_wait(processes[i], READ_TIMEOUT_NS, &status, &error), &error);
        assert_int_equal(status.status, 9);
        sbx_process_free(processes[i]);
    }
    sbx_runner_free(runner);
}

static void *free_in_a_thread(void *process)
{
    sbx_process_free(process);
    return NULL;
}

static void freed_by_another_thread(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("exit0", NULL));
    for (int i = 0; i < 10; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_process *process = NULL;
        pthread_t thread;
        assert_ok(sbx_start(runner, NULL, &process, &error), &error);
        assert_int_equal(pthread_create(&thread, NULL, free_in_a_thread, process), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    sbx_runner_free(runner);
}

/* A clone starts like its original, also when that is gone. */
static void a_clone_starts(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("exit0", "7", NULL));
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *clone = NULL;
    assert_ok(sbx_runner_clone(runner, &clone, &error), &error);
    sbx_runner_free(runner);
    const struct outcome *outcome = run(clone, NULL);
    assert_ended(outcome, CLD_EXITED, 7);
    assert_int_equal(outcome->shape, shape_of(state));
    sbx_runner_free(clone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(rounds_leave_nothing),
        in_each_shape(a_process_outlives_its_runner),
        in_each_shape(many_at_once),
        in_each_shape(freed_by_another_thread),
        in_each_shape(a_clone_starts),
    };
    if (under_valgrind()) {
        cmocka_set_test_filter("*.direct"); /* the library made for it knows no other shape */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
