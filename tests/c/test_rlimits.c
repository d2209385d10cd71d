/* Resource limits: each is what the program sees, the one that fails is named, and none of them can break the
 * start itself. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define N_LIMITS 16

static sbx_runner *shaped(void **state, sbx_runner *runner)
{
    set_shape(runner, shape_of(state));
    return runner;
}

static void add(sbx_runner *runner, int resource, uint64_t soft, uint64_t hard)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_rlimit(runner, resource, soft, hard, &error), &error);
}

static void expect_limit(const struct outcome *outcome, int resource, uint64_t soft, uint64_t hard)
{
    char key[16];
    char wanted[64];
    snprintf(key, sizeof key, "rlimit.%d", resource);
    snprintf(wanted, sizeof wanted, "%llu:%llu", (unsigned long long)soft, (unsigned long long)hard);
    assert_string_equal(value(outcome, key), wanted);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* All at once, each to a value of its own, never above what this host has. */
static void each_is_seen(void **state)
{
    const uint64_t wanted[N_LIMITS] = {
        [RLIMIT_CPU] = 100,      [RLIMIT_FSIZE] = 1 << 20,  [RLIMIT_DATA] = 1 << 28,  [RLIMIT_STACK] = 1 << 21,
        [RLIMIT_CORE] = 5,       [RLIMIT_RSS] = 1 << 28,    [RLIMIT_NPROC] = 900,     [RLIMIT_NOFILE] = 40,
        [RLIMIT_MEMLOCK] = 4096, [RLIMIT_AS] = 1 << 29,     [RLIMIT_LOCKS] = 11,      [RLIMIT_SIGPENDING] = 12,
        [RLIMIT_MSGQUEUE] = 13,  [RLIMIT_NICE] = 3,         [RLIMIT_RTPRIO] = 4,      [RLIMIT_RTTIME] = 5000000,
    };
    uint64_t soft[N_LIMITS];
    uint64_t hard[N_LIMITS];
    sbx_runner *runner = shaped(state, runner_for("report", NULL));
    for (int resource = 0; resource < N_LIMITS; resource++) {
        struct rlimit host;
        assert_int_equal(getrlimit((__rlimit_resource_t)resource, &host), 0);
        soft[resource] = least(wanted[resource], host.rlim_max);
        hard[resource] = least(wanted[resource] + 1, host.rlim_max);
        add(runner, resource, soft[resource], hard[resource]);
    }
    const struct outcome *outcome = run_ok(runner, 0);
    for (int resource = 0; resource < N_LIMITS; resource++) {
        expect_limit(outcome, resource, soft[resource], hard[resource]);
    }
    sbx_runner_free(runner);
}

static void others_are_the_hosts(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("report", NULL));
    add(runner, RLIMIT_CORE, 0, 0);
    const struct outcome *outcome = run_ok(runner, 0);
    for (int resource = 0; resource < N_LIMITS; resource++) {
        struct rlimit host;
        assert_int_equal(getrlimit((__rlimit_resource_t)resource, &host), 0);
        if (resource == RLIMIT_CORE) {
            expect_limit(outcome, resource, 0, 0);
        } else {
            expect_limit(outcome, resource, host.rlim_cur, host.rlim_max);
        }
    }
    sbx_runner_free(runner);
}

/* The soft limit may go up to the hard one, by anybody; "unlimited" is a value like others. */
static void raising_the_soft_limit(void **state)
{
    struct rlimit host;
    assert_int_equal(getrlimit(RLIMIT_STACK, &host), 0);
    const struct rlimit lowered = {.rlim_cur = 1 << 20, .rlim_max = host.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_STACK, &lowered), 0);
    sbx_runner *runner = shaped(state, runner_for("report", NULL));
    add(runner, RLIMIT_STACK, host.rlim_max, host.rlim_max);
    const struct outcome *outcome = run(runner, NULL);
    assert_int_equal(setrlimit(RLIMIT_STACK, &host), 0);
    assert_ended(outcome, CLD_EXITED, 0);
    expect_limit(outcome, RLIMIT_STACK, host.rlim_max, host.rlim_max);
    sbx_runner_free(runner);
}

/* Nobody can have more files than fs.nr_open, root neither. */
static void the_failing_one_is_named(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("exit0", NULL));
    add(runner, RLIMIT_CORE, 0, 0);
    add(runner, RLIMIT_CPU, 5, 5);
    add(runner, RLIMIT_NOFILE, SBX_UNLIMITED, SBX_UNLIMITED);
    add(runner, RLIMIT_MSGQUEUE, 0, 0);
    const struct outcome *outcome = run(runner, NULL);
    assert_error(outcome->started, EPERM, &outcome->error);
    assert_string_equal(sbx_location_name(outcome->error.location), "rlimit");
    assert_int_equal(outcome->error.index, 2);
    assert_int_equal(outcome->error.blame, SBX_BLAME_HOST);
    sbx_runner_free(runner);
}

static void raising_a_hard_limit(void **state)
{
    struct rlimit host;
    assert_int_equal(getrlimit(RLIMIT_MSGQUEUE, &host), 0);
    sbx_runner *runner = shaped(state, runner_for("report", NULL));
    add(runner, RLIMIT_MSGQUEUE, 1, host.rlim_max + 1);
    const struct outcome *outcome = run(runner, NULL);
    if (has_capability(CAP_SYS_RESOURCE)) {
        assert_ended(outcome, CLD_EXITED, 0);
        expect_limit(outcome, RLIMIT_MSGQUEUE, 1, host.rlim_max + 1);
    } else {
        assert_error(outcome->started, EPERM, &outcome->error);
        assert_int_equal(outcome->error.index, 0);
    }
    sbx_runner_free(runner);
}

/* Fewer files than a start needs for itself. What was mapped stays open above the limit. */
static void few_files(void **state)
{
    for (uint64_t files = 0; files <= 4; files++) {
        sbx_runner *runner = shaped(state, runner_for("report", NULL));
        struct sbx_error error = SBX_ERROR_INIT;
        add(runner, RLIMIT_NOFILE, files, files);
        assert_ok(sbx_map_fd(runner, 2, 9, &error), &error);
        const struct outcome *outcome = run_ok(runner, 0);
        expect_limit(outcome, RLIMIT_NOFILE, files, files);
        assert_string_equal(value(outcome, "fds"), "0,1,2,9");
        sbx_runner_free(runner);
    }
}

/* The same with everything else that a sandbox may hold open meanwhile. */
static void few_files_in_a_full_sandbox(void **state)
{
    (void)state;
    if (!is_root()) {
        need_userns();
    }
    for (uint64_t files = 0; files <= 3; files++) {
        sbx_runner *runner = runner_for("report", NULL);
        struct sbx_error error = SBX_ERROR_INIT;
        set_namespaces(runner, SBX_NS_MNT | SBX_NS_PID | SBX_NS_NET | SBX_NS_UTS);
        assert_ok(sbx_set_pivot_root(runner, "/", 0, &error), &error);
        assert_ok(sbx_set_loopback(runner, true, &error), &error);
        assert_ok(sbx_set_workdir(runner, "/tmp", &error), &error);
        assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
        add(runner, RLIMIT_NOFILE, files, files);
        assert_string_equal(value(run_ok(runner, 0), "fds"), "0,1,2");
        sbx_runner_free(runner);
    }
}

/* Starts act, which forks, with this limit; root does so as a user who has nothing else, because the limit
 * does not bind root. */
static const struct outcome *fork_under(void **state, uint64_t processes)
{
    sbx_runner *runner = shaped(state, runner_for("act", "child", "0", NULL));
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    if (is_root()) {
        /* The directory may be closed to that user, so the program is an open file. Each shape has a user of its
         * own, since an orphan of the last run may still count. */
        struct sbx_error error = SBX_ERROR_INIT;
        assert_ok(sbx_set_credential(runner, 54321 + shape_of(state), 54321, NULL, 0, &error), &error);
        launch.exec_fd = open(inside("act"), O_RDONLY | O_CLOEXEC);
    }
    add(runner, RLIMIT_NPROC, processes, processes);
    const struct outcome *outcome = run(runner, &launch);
    if (launch.exec_fd >= 0) {
        close(launch.exec_fd);
    }
    sbx_runner_free(runner);
    return outcome;
}

/* No room for even one process: the start goes through, the program's own fork does not. */
static void few_processes(void **state)
{
    assert_ended(fork_under(state, 0), CLD_EXITED, 97); /* "fork failed" */
    assert_ended(fork_under(state, 1), CLD_EXITED, 97);
    struct rlimit host;
    assert_int_equal(getrlimit(RLIMIT_NPROC, &host), 0);
    assert_ended(fork_under(state, is_root() ? 2 : host.rlim_cur), CLD_EXITED, 0);
}

/* Limits that end programs do end this one, and no earlier than it runs. */
static void limits_bite(void **state)
{
    sbx_runner *runner = shaped(state, runner_for("act", "touch", "268435456", NULL));
    add(runner, RLIMIT_AS, 1 << 27, 1 << 27);
    assert_ended(run(runner, NULL), CLD_EXITED, 99); /* "mmap failed" */
    sbx_runner_free(runner);

    runner = shaped(state, runner_for("act", "spin", "5000", NULL));
    add(runner, RLIMIT_CPU, 1, 5);
    add(runner, RLIMIT_CORE, 0, 0);
    const struct outcome *outcome = run(runner, NULL);
    assert_ended(outcome, outcome->status.code == CLD_DUMPED ? CLD_DUMPED : CLD_KILLED, SIGXCPU);
    /* The kernel counts this limit in clock ticks, which are coarse on a busy machine; the figure is exact. */
    assert_in_range(outcome->status.user_ns + outcome->status.system_ns, UINT64_C(300000000), UINT64_C(2000000000));
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(each_is_seen),
        in_each_shape(others_are_the_hosts),
        in_each_shape(raising_the_soft_limit),
        in_each_shape(the_failing_one_is_named),
        in_each_shape(raising_a_hard_limit),
        in_each_shape(few_files),
        host_test(few_files_in_a_full_sandbox),
        in_each_shape(few_processes),
        in_each_shape(limits_bite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
