/* The edges of the fd map: a table that leaves the library no low number for descriptors of its own, the
 * highest number there is, thousands of entries, and entries that were closed since. */
#include "support_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* The child's numbers fill every low place, where the library would keep descriptors of its own. */
static void full_table(void **state)
{
    open_files(20, 1);
    struct sbx_fd_map map[280];
    for (int i = 0; i < 280; i++) {
        map[i] = (struct sbx_fd_map){.fd = 20, .child_fd = i};
    }
    const struct outcome *outcome = report_fds(shape_of(state), map, 280);
    assert_ended(outcome, CLD_EXITED, 0);
    expect_same_fd(outcome, 0, 20);
    expect_same_fd(outcome, 3, 20);
    expect_same_fd(outcome, 279, 20);
    close_files(20, 1);
}

static void highest_number(void **state)
{
    struct rlimit hosts;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &hosts), 0);
    const struct rlimit lowered = {.rlim_cur = 512, .rlim_max = hosts.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lowered), 0);

    /* The table cannot have this number: the entry is named by its index. */
    const struct sbx_fd_map beyond[] = {{2, 5}, {2, 512}};
    struct outcome *refused = copy_outcome(report_fds(shape_of(state), beyond, 2));

    /* One less is fine, although nothing fits above it. */
    const struct sbx_fd_map last[] = {{2, 511}};
    const struct outcome *outcome = report_fds(shape_of(state), last, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &hosts), 0);
    assert_int_equal(refused->error.err, -refused->started);
    assert_true(refused->started == -EBADF || refused->started == -EMFILE || refused->started == -EINVAL);
    assert_string_equal(sbx_location_name(refused->error.location), "fd_map");
    assert_int_equal(refused->error.index, 1);
    test_free(refused);
    expect_fds(outcome, "0,1,2,300,511");
    expect_same_fd(outcome, 511, 2);
}

/* The table is short and the host has nearly all of it in use, so that what the library needs for itself has
 * hardly a number left: the map is exact, or the start fails; nothing gets mixed up. */
static void crowded_table(void **state)
{
    struct rlimit hosts;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &hosts), 0);
    const struct rlimit lowered = {.rlim_cur = 512, .rlim_max = hosts.rlim_max};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int source = open("/dev/zero", O_RDWR | O_CLOEXEC);
    int exact = 0;
    for (int left = 3; left <= 30; left++) {
        bool ours[512] = {false};
        for (int fd = 3; fd < 509 - left; fd++) {
            ours[fd] = !is_open(fd);
            if (ours[fd]) {
                assert_int_equal(dup3(source, fd, O_CLOEXEC), fd);
            }
        }
        const struct sbx_fd_map map[] = {{source, 5}, {source, 511}, {source, 510}, {source, 509}};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &lowered), 0);
        const struct outcome *outcome = report_fds(shape_of(state), map, 4);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &hosts), 0);
        for (int fd = 3; fd < 512; fd++) {
            if (ours[fd]) {
                close(fd);
            }
        }

        if (outcome->started != 0) {
            assert_true(outcome->started == -EMFILE || outcome->started == -EINVAL);
        } else {
            exact++;
            expect_fds(outcome, "0,1,2,5,300,509,510,511");
            for (size_t i = 0; i < 4; i++) {
                expect_same_fd(outcome, map[i].child_fd, source);
            }
            for (int fd = 0; fd < 3; fd++) {
                expect_same_fd(outcome, fd, null);
            }
        }
    }
    assert_true(exact > 0);
    close(source);
    close(null);
}

static uint64_t cpu_time_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* A long chain costs no more than its length. */
static void many_entries(void **state)
{
    struct rlimit hosts;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &hosts), 0);
    const int first = 512;
    const int n = hosts.rlim_cur > 4200 ? 3600 : (int)hosts.rlim_cur - first - 2;
    for (int i = 0; i < n; i++) {
        assert_int_equal(dup3(2, first + i, O_CLOEXEC), first + i);
    }
    struct sbx_fd_map *map = test_calloc((size_t)n, sizeof *map);
    uint64_t took = 0;
    for (int step = -1; step <= 1; step += 2) {
        for (int i = 0; i < n; i++) {
            map[i] = (struct sbx_fd_map){.fd = first + i, .child_fd = first + i + step};
        }
        const uint64_t begin = cpu_time_ns();
        const struct outcome *outcome = report_fds(shape_of(state), map, (size_t)n);
        assert_ended(outcome, CLD_EXITED, 0);
        expect_same_fd(outcome, first + n - 1 + step, 2);
        took += cpu_time_ns() - begin;
    }
    test_free(map);
    close_files(first, n);
    assert_in_range(took, 0, UINT64_C(1000000000));
}

/* Starts and frees the runner, after `fd` was closed: the start must say EBADF there, and not take a descriptor of
 * the library's own that got the number. */
static void expect_closed(void **state, sbx_runner *runner, int fd, const char *location, int index)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    close(fd);
    set_shape(runner, shape_of(state));
    assert_error(sbx_start(runner, NULL, &process, &error), EBADF, &error);
    assert_string_equal(sbx_location_name(error.location), location);
    assert_int_equal(error.index, index);
    sbx_runner_free(runner);
}

static void closed_since(void **state)
{
    struct sbx_error error = SBX_ERROR_INIT;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sbx_runner *runner = runner_for("exit0", NULL);
    assert_ok(sbx_map_fd(runner, 0, 0, &error), &error);
    assert_ok(sbx_map_fd(runner, fd, 7, &error), &error);
    expect_closed(state, runner, fd, "fd_map", 1);

    fd = open(inside("exit0"), O_RDONLY | O_CLOEXEC);
    runner = runner_for("exit0", NULL);
    assert_ok(sbx_set_exec_fd(runner, fd, &error), &error);
    expect_closed(state, runner, fd, "exec", -1);

    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    runner = runner_for("exit0", NULL);
    assert_ok(sbx_set_ctty(runner, fd, &error), &error);
    expect_closed(state, runner, fd, "ctty", -1);

    fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    runner = runner_for("exit0", NULL);
    assert_ok(sbx_join_namespace(runner, fd, SBX_NS_NET, &error), &error);
    expect_closed(state, runner, fd, "join_namespace", 0);

    fd = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    runner = runner_for("exit0", NULL);
    assert_ok(sbx_set_cgroup_fd(runner, fd, &error), &error);
    expect_closed(state, runner, fd, "cgroup_open", 0);
}

/* What the launch replaces is not looked at. */
static void closed_and_replaced(void **state)
{
    struct sbx_error error = SBX_ERROR_INIT;
    int program = open(inside("exit0"), O_RDONLY | O_CLOEXEC);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sbx_runner *runner = runner_for("exit0", "5", NULL);
    set_shape(runner, shape_of(state));
    assert_ok(sbx_set_exec_fd(runner, program, &error), &error);
    assert_ok(sbx_map_fd(runner, input, 0, &error), &error);
    close(program);
    close(input);
    const struct sbx_fd_map map[] = {{-1, 0}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_path = inside("exit0");
    launch.fds = map;
    launch.n_fds = 1;
    assert_ended(run(runner, &launch), CLD_EXITED, 5);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(full_table),
        in_each_shape(highest_number),
        in_each_shape(crowded_table),
        in_each_shape(many_entries),
        in_each_shape(closed_since),
        in_each_shape(closed_and_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
