/* Setters of the program, its descriptors and its process: what they refuse, by which errno, with the
 * setting's name in the message; and that a refusal leaves the runner as it was. */
#include "support_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CLOSED_FD 19000

static void args_are_needed(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    const char *const no_name[] = {"", "x", NULL};
    refused(sbx_set_args(trial, no_name, &trial_error), EINVAL, "args");
    refused(sbx_set_args(trial, NULL, &trial_error), EINVAL, "args");
    refused(sbx_set_args(trial, none, &trial_error), EINVAL, "args");
}

static void too_many_strings(void **state)
{
    (void)state;
    const size_t n = (1 << 20) + 1;
    const char **many = test_malloc((n + 1) * sizeof *many);
    for (size_t i = 0; i < n; i++) {
        many[i] = "";
    }
    many[n] = NULL;
    refused(sbx_set_args(trial, many, &trial_error), EINVAL, "args");
    refused(sbx_set_env(trial, many, &trial_error), EINVAL, "env");
    test_free(many);
}

static void environment_may_be_empty(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    assert_ok(sbx_set_env(trial, none, &trial_error), &trial_error);
    assert_ok(sbx_set_env(trial, NULL, &trial_error), &trial_error);
}

static void paths_of_the_program(void **state)
{
    (void)state;
    refused(sbx_set_exec_path(trial, "", &trial_error), EINVAL, "exec_path");
    refused(sbx_set_exec_path(trial, long_path(4096), &trial_error), EINVAL, "exec_path");
    refused(sbx_set_exec_path(trial, long_text(256), &trial_error), EINVAL, "exec_path");
    refused(sbx_set_workdir(trial, "", &trial_error), EINVAL, "workdir");
    refused(sbx_set_workdir(trial, long_path(4096), &trial_error), EINVAL, "workdir");
    refused(sbx_set_workdir(trial, "relative", &trial_error), EINVAL, "workdir");

    assert_ok(sbx_set_exec_path(trial, long_path(4095), &trial_error), &trial_error);
    assert_ok(sbx_set_exec_path(trial, long_text(255), &trial_error), &trial_error);
    assert_ok(sbx_set_workdir(trial, long_path(4095), &trial_error), &trial_error);
}

static void descriptor_of_the_program(void **state)
{
    (void)state;
    refused(sbx_set_exec_fd(trial, -2, &trial_error), EINVAL, "exec_fd");
    refused(sbx_set_exec_fd(trial, CLOSED_FD, &trial_error), EBADF, "exec_fd");
    refused(sbx_set_exec_fd(trial, INT32_MAX, &trial_error), EBADF, "exec_fd");
    assert_ok(sbx_set_exec_fd(trial, -1, &trial_error), &trial_error);
}

static void fd_lists(void **state)
{
    (void)state;
    const int closed[] = {0, CLOSED_FD};
    const int negative[] = {0, -2};
    refused(sbx_set_fds(trial, NULL, 1, &trial_error), EINVAL, "fds");
    refused(sbx_set_fds(trial, closed, 2, &trial_error), EBADF, "fds");
    assert_int_equal(trial_error.index, 1);
    refused(sbx_set_fds(trial, negative, 2, &trial_error), EINVAL, "fds");
    refused(sbx_set_fds(trial, closed, SIZE_MAX, &trial_error), EINVAL, "fds");
    refused(sbx_set_fds(trial, closed, SIZE_MAX / sizeof(int) + 1, &trial_error), EINVAL, "fds");

    assert_ok(sbx_set_fds(trial, NULL, 0, &trial_error), &trial_error);
}

static void fd_map_entries(void **state)
{
    (void)state;
    refused(sbx_map_fd(trial, CLOSED_FD, 3, &trial_error), EBADF, "fd");
    refused(sbx_map_fd(trial, -2, 3, &trial_error), EINVAL, "fd");
    refused(sbx_map_fd(trial, 1, -1, &trial_error), EINVAL, "fd");
    refused(sbx_map_fd(trial, 1, INT32_MIN, &trial_error), EINVAL, "fd");
    refused(sbx_map_fd(trial, 1, INT32_MAX, &trial_error), EINVAL, "fd");
    refused(sbx_map_fd(trial, 1, 2, &trial_error), EINVAL, "fd");
    refused(sbx_map_fd(trial, -1, 2, &trial_error), EINVAL, "fd");
}

static void controlling_terminal(void **state)
{
    (void)state;
    refused(sbx_set_ctty(trial, -2, &trial_error), EINVAL, "ctty");
    refused(sbx_set_ctty(trial, CLOSED_FD, &trial_error), EBADF, "ctty");
    assert_ok(sbx_set_ctty(trial, -1, &trial_error), &trial_error);
}

static void rlimits(void **state)
{
    (void)state;
    refused(sbx_add_rlimit(trial, -1, 1, 1, &trial_error), EINVAL, "rlimit");
    refused(sbx_add_rlimit(trial, 16, 1, 1, &trial_error), EINVAL, "rlimit");
    refused(sbx_add_rlimit(trial, INT32_MAX, 1, 1, &trial_error), EINVAL, "rlimit");
    refused(sbx_add_rlimit(trial, RLIMIT_FSIZE, 2, 1, &trial_error), EINVAL, "rlimit");
    refused(sbx_add_rlimit(trial, RLIMIT_FSIZE, SBX_UNLIMITED, 1, &trial_error), EINVAL, "rlimit");
    refused(sbx_add_rlimit(trial, RLIMIT_CORE, 0, 0, &trial_error), EINVAL, "rlimit"); /* the second time */
}

static void numbers_of_the_process(void **state)
{
    (void)state;
    refused(sbx_set_umask(trial, 01000, &trial_error), EINVAL, "umask");
    refused(sbx_set_umask(trial, UINT32_MAX, &trial_error), EINVAL, "umask");
    refused(sbx_set_nice(trial, 20, &trial_error), EINVAL, "nice");
    refused(sbx_set_nice(trial, -21, &trial_error), EINVAL, "nice");
    refused(sbx_set_nice(trial, INT32_MIN, &trial_error), EINVAL, "nice");
    refused(sbx_set_oom_score_adj(trial, 1001, &trial_error), EINVAL, "oom_score_adj");
    refused(sbx_set_oom_score_adj(trial, -1001, &trial_error), EINVAL, "oom_score_adj");
    refused(sbx_set_pdeathsig(trial, 65, &trial_error), EINVAL, "pdeathsig");
    refused(sbx_set_pdeathsig(trial, -1, &trial_error), EINVAL, "pdeathsig");

    assert_ok(sbx_set_umask(trial, 0777, &trial_error), &trial_error);
    assert_ok(sbx_set_nice(trial, -20, &trial_error), &trial_error);
    assert_ok(sbx_set_nice(trial, 19, &trial_error), &trial_error);
    assert_ok(sbx_set_oom_score_adj(trial, -1000, &trial_error), &trial_error);
    assert_ok(sbx_set_oom_score_adj(trial, 1000, &trial_error), &trial_error);
    assert_ok(sbx_set_pdeathsig(trial, 64, &trial_error), &trial_error);
    assert_ok(sbx_set_pdeathsig(trial, 0, &trial_error), &trial_error);
}

static void schedulers(void **state)
{
    (void)state;
    refused(sbx_set_scheduler(trial, SCHED_OTHER, 1, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, SCHED_BATCH, -1, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, SCHED_FIFO, 0, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, SCHED_RR, 100, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, 4, 0, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, 6 /* SCHED_DEADLINE */, 0, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, -1, 0, &trial_error), EINVAL, "scheduler");
    refused(sbx_set_scheduler(trial, SCHED_FIFO | 0x40000000 /* SCHED_RESET_ON_FORK */, 1, &trial_error), EINVAL, "scheduler");

    assert_ok(sbx_set_scheduler(trial, SCHED_RR, 99, &trial_error), &trial_error);
    assert_ok(sbx_set_scheduler(trial, SCHED_IDLE, 0, &trial_error), &trial_error);
}

static void cpu_masks(void **state)
{
    (void)state;
    cpu_set_t none;
    CPU_ZERO(&none);
    refused(sbx_set_cpu_affinity(trial, NULL, sizeof none, &trial_error), EINVAL, "cpu_affinity");
    refused(sbx_set_cpu_affinity(trial, &none, 0, &trial_error), EINVAL, "cpu_affinity");
    refused(sbx_set_cpu_affinity(trial, &none, sizeof none, &trial_error), EINVAL, "cpu_affinity");
    refused(sbx_set_cpu_affinity(trial, &none, SIZE_MAX, &trial_error), EINVAL, "cpu_affinity");
}

/* One refusal through each function with a runner of NULL, with and without somebody to tell. */
static void null_runner(struct sbx_error *error)
{
    const char *const argv[] = {"x", NULL};
    const int fds[] = {0};
    const uint64_t mask = 1;

    assert_int_equal(sbx_set_args(NULL, argv, error), -EINVAL);
    assert_int_equal(sbx_set_env(NULL, argv, error), -EINVAL);
    assert_int_equal(sbx_set_exec_path(NULL, "/x", error), -EINVAL);
    assert_int_equal(sbx_set_exec_fd(NULL, 0, error), -EINVAL);
    assert_int_equal(sbx_set_workdir(NULL, "/", error), -EINVAL);
    assert_int_equal(sbx_set_fds(NULL, fds, 1, error), -EINVAL);
    assert_int_equal(sbx_map_fd(NULL, 0, 0, error), -EINVAL);
    assert_int_equal(sbx_set_ctty(NULL, 0, error), -EINVAL);
    assert_int_equal(sbx_add_rlimit(NULL, RLIMIT_CORE, 0, 0, error), -EINVAL);
    assert_int_equal(sbx_set_umask(NULL, 0, error), -EINVAL);
    assert_int_equal(sbx_set_cpu_affinity(NULL, &mask, sizeof mask, error), -EINVAL);
    assert_int_equal(sbx_set_nice(NULL, 0, error), -EINVAL);
    assert_int_equal(sbx_set_scheduler(NULL, SCHED_OTHER, 0, error), -EINVAL);
    assert_int_equal(sbx_set_oom_score_adj(NULL, 0, error), -EINVAL);
    assert_int_equal(sbx_set_no_aslr(NULL, true, error), -EINVAL);
    assert_int_equal(sbx_set_pdeathsig(NULL, 9, error), -EINVAL);
    assert_int_equal(sbx_set_setsid(NULL, true, error), -EINVAL);
    assert_int_equal(sbx_set_session_keyring(NULL, true, error), -EINVAL);
}

static void no_runner(void **state)
{
    (void)state;
    null_runner(NULL);
    struct sbx_error error = SBX_ERROR_INIT;
    null_runner(&error);
    assert_error(sbx_set_umask(NULL, 0, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "runner"));
}

/* A pointer to something else is told from a runner. */
static void not_a_runner(void **state)
{
    (void)state;
    struct sbx_error error = SBX_ERROR_INIT;
    uint64_t something_else[64] = {0};
    assert_error(sbx_set_umask((sbx_runner *)something_else, 022, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "runner"));

    sbx_runner *runner = sbx_runner_new();
    assert_error(sbx_process_kill((sbx_process *)runner, 9, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "process"));
    sbx_runner_free(runner);
}

static void error_is_optional_and_cleared(void **state)
{
    (void)state;
    assert_int_equal(sbx_set_umask(trial, 01000, NULL), -EINVAL);
    assert_int_equal(sbx_set_args(trial, NULL, NULL), -EINVAL);

    refused(sbx_set_umask(trial, 01000, &trial_error), EINVAL, "umask");
    assert_string_equal(sbx_location_name(trial_error.location), "argument");
    assert_int_equal(trial_error.index, -1);

    assert_int_equal(sbx_set_umask(trial, 022, &trial_error), 0);
    assert_int_equal(trial_error.err, 0);
    assert_int_equal(trial_error.location, 0);
    assert_int_equal(trial_error.blame, SBX_BLAME_NONE);
    assert_string_equal(trial_error.message, "");
}

static void free_of_nothing(void **state)
{
    (void)state;
    sbx_runner_free(NULL);
    sbx_process_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        trial_test(args_are_needed),
        trial_test(too_many_strings),
        trial_test(environment_may_be_empty),
        trial_test(paths_of_the_program),
        trial_test(descriptor_of_the_program),
        trial_test(fd_lists),
        trial_test(fd_map_entries),
        trial_test(controlling_terminal),
        trial_test(rlimits),
        trial_test(numbers_of_the_process),
        trial_test(schedulers),
        trial_test(cpu_masks),
        host_test(no_runner),
        host_test(not_a_runner),
        trial_test(error_is_optional_and_cleared),
        host_test(free_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
