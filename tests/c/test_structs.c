/* Structs that may grow: a short one is zero-extended, a long one is taken while its unknown tail is zero
 * and is -E2BIG otherwise, and nothing beyond `size` is read or written. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

/* A place for `size` bytes right before memory that cannot be touched. */
static void *at_the_edge(size_t size)
{
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
    return pages + PAGE - size;
}

static void leave_the_edge(void *place)
{
    uintptr_t page = (uintptr_t)place & ~(uintptr_t)(PAGE - 1);
    assert_int_equal(munmap((void *)page, 2 * PAGE), 0);
}

static void expect_exit(const sbx_runner *runner, const struct sbx_launch *launch, int code)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, launch, &process, &error), &error);
    assert_ok(sbx_process_wait(process, SBX_INFINITE, &status, &error), &error);
    sbx_process_free(process);
    assert_int_equal(status.code, CLD_EXITED);
    assert_int_equal(status.status, code);
}

static void expect_refusal(const sbx_runner *runner, const struct sbx_launch *launch, int number_wanted)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    char text[16];
    assert_error(sbx_start(runner, launch, &process, &error), number_wanted, &error);
    assert_null(process);
    assert_non_null(strstr(error.message, "launch"));
    assert_error(sbx_runner_describe(runner, launch, text, sizeof text, &error), number_wanted, &error);
}

static void launches_of_no_version(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", NULL);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    for (size_t size = 0; size < sizeof(size_t); size++) {
        launch.size = size;
        expect_refusal(runner, &launch, EINVAL);
    }
    /* Neither does a length that cuts a field in two. */
    launch.size = offsetof(struct sbx_launch, envp) + 3;
    expect_refusal(runner, &launch, EINVAL);
    sbx_runner_free(runner);
}

/* Every length from a header without `argv` to the whole: fields that are cut off count as not given, also
 * those whose "not given" is -1. */
static void short_launches(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", "3", NULL);
    const char *const argv[] = {inside("exit0"), "4", NULL};
    struct sbx_launch full = SBX_LAUNCH_INIT;
    full.argv = argv;
    const size_t has_argv = offsetof(struct sbx_launch, argv) + sizeof full.argv;

    const size_t sizes[] = {
        sizeof(size_t),
        has_argv,
        offsetof(struct sbx_launch, exec_path),
        offsetof(struct sbx_launch, exec_fd),
        offsetof(struct sbx_launch, fds),
        offsetof(struct sbx_launch, n_fds),
        offsetof(struct sbx_launch, binds),
        offsetof(struct sbx_launch, sync_arg),
        offsetof(struct sbx_launch, setup_timeout_ns),
        sizeof full,
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct sbx_launch *cut = at_the_edge(sizes[i]);
        full.size = sizes[i];
        memcpy((void *)cut, &full, sizes[i]);
        expect_exit(runner, cut, sizes[i] < has_argv ? 3 : 4);
        leave_the_edge(cut);
    }
    sbx_runner_free(runner);
}

static void long_launches(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", "3", NULL);
    for (size_t tail = 1; tail <= 1024; tail = tail * 2 + 1) {
        const struct sbx_launch init = SBX_LAUNCH_INIT;
        const size_t size = sizeof init + tail;
        struct sbx_launch *longer = test_calloc(1, size);
        memcpy((void *)longer, &init, sizeof init);
        longer->size = size;
        expect_exit(runner, longer, 3);

        for (size_t at = sizeof init; at < size; at += tail > 16 ? tail / 3 : 1) {
            ((char *)longer)[at] = 1;
            expect_refusal(runner, longer, E2BIG);
            ((char *)longer)[at] = 0;
        }
        test_free(longer);
    }
    sbx_runner_free(runner);
}

/* No struct is longer than a page: more is a caller's mistake, not something to read to its end. */
static void endless_launch(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", NULL);
    struct sbx_launch *launch = at_the_edge(sizeof *launch);
    const struct sbx_launch init = SBX_LAUNCH_INIT;
    memcpy((void *)launch, &init, sizeof init);
    launch->size = SIZE_MAX;
    expect_refusal(runner, launch, E2BIG);
    leave_the_edge(launch);
    sbx_runner_free(runner);
}

static void launch_fields_are_checked(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", NULL);
    const char *const none[] = {NULL};
    const struct sbx_fd_map twice[] = {{0, 5}, {0, 5}};
    const struct sbx_fd_map closed[] = {{0, 5}, {19000, 6}};
    const struct sbx_launch init = SBX_LAUNCH_INIT;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;

    struct sbx_launch launch = init;
    launch.argv = none;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "args"));

    launch = init;
    launch.exec_path = "";
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "exec_path"));

    launch = init;
    launch.exec_fd = 19000;
    assert_error(sbx_start(runner, &launch, &process, &error), EBADF, &error);
    assert_non_null(strstr(error.message, "exec_fd"));

    launch = init;
    launch.cgroup_fd = -7;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "cgroup_fd"));

    launch = init;
    launch.n_fds = 2;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "fds"));
    launch.fds = twice;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_int_equal(error.index, 1);
    launch.fds = closed;
    assert_error(sbx_start(runner, &launch, &process, &error), EBADF, &error);
    assert_int_equal(error.index, 1);
    launch.n_fds = SIZE_MAX;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);

    launch = init;
    launch.n_binds = 1;
    const struct sbx_launch_bind nowhere = {.fd = 0, .target = NULL, .flags = 0};
    launch.binds = &nowhere;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "binds"));
    launch.binds = NULL;
    assert_error(sbx_start(runner, &launch, &process, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "binds"));
    assert_null(process);
    sbx_runner_free(runner);
}

/* However little room there is for an error, what fits is written, the text ends with a NUL, and the bytes
 * after `size` are the caller's. */
static void errors_of_every_size(void **state)
{
    (void)state;
    const size_t first_char = offsetof(struct sbx_error, message);
    for (size_t size = sizeof(size_t); size <= sizeof(struct sbx_error); size++) {
        struct sbx_error error;
        memset(&error, 0xaa, sizeof error);
        error.size = size;
        assert_int_equal(sbx_set_umask(NULL, 0, &error), -EINVAL);
        assert_int_equal(error.size, size);
        if (size >= offsetof(struct sbx_error, err) + sizeof error.err) {
            assert_int_equal(error.err, EINVAL);
        }
        if (size >= offsetof(struct sbx_error, blame) + sizeof error.blame) {
            assert_int_equal(error.location, 1);
            assert_int_equal(error.index, -1);
            assert_int_equal(error.blame, SBX_BLAME_CALLER);
        }
        if (size > first_char) {
            assert_non_null(memchr(error.message, '\0', size - first_char));
        }
        for (size_t at = size; at < sizeof error; at++) {
            assert_int_equal(((unsigned char *)&error)[at], 0xaa);
        }
    }
}

static void error_of_size_0_is_whole(void **state)
{
    (void)state;
    struct sbx_error error;
    memset(&error, 0xaa, sizeof error);
    error.size = 0;
    assert_int_equal(sbx_set_umask(NULL, 0, &error), -EINVAL);
    assert_int_equal(error.err, EINVAL);
    assert_non_null(memchr(error.message, '\0', sizeof error.message));
    assert_true(strlen(error.message) > 0);
}

static void longer_error(void **state)
{
    (void)state;
    struct {
        struct sbx_error error;
        char later_field[64];
    } newer;
    memset(&newer, 0xaa, sizeof newer);
    newer.error.size = sizeof newer;
    assert_int_equal(sbx_set_umask(NULL, 0, &newer.error), -EINVAL);
    assert_int_equal(newer.error.err, EINVAL);
    assert_int_equal(newer.error.size, sizeof newer);
    /* A field this library does not know is either left alone or told to be nothing. */
    for (size_t i = 0; i < sizeof newer.later_field; i++) {
        assert_true(newer.later_field[i] == 0 || (unsigned char)newer.later_field[i] == 0xaa);
    }
}

/* A length between two fields is no struct of any version. */
static bool ends_a_field_of_status(size_t size)
{
    const size_t head = offsetof(struct sbx_status, code);
    const size_t longs = offsetof(struct sbx_status, user_ns);
    const size_t ints = offsetof(struct sbx_status, has_usage);
    return size >= head && (size - head) % (size < longs || size > ints ? 4 : 8) == 0;
}

static void statuses_of_every_size(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", "7", NULL);
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);

    struct sbx_status status;
    for (size_t size = 0; size <= sizeof status; size++) {
        memset(&status, 0xaa, sizeof status);
        status.size = size;
        if (!ends_a_field_of_status(size)) {
            assert_error(sbx_process_wait(process, SBX_INFINITE, &status, &error), EINVAL, &error);
            assert_non_null(strstr(error.message, "status"));
            for (size_t at = sizeof status.size; at < sizeof status; at++) {
                assert_int_equal(((unsigned char *)&status)[at], 0xaa);
            }
            continue;
        }
        assert_ok(sbx_process_wait(process, SBX_INFINITE, &status, &error), &error);
        assert_int_equal(status.size, size);
        if (size >= offsetof(struct sbx_status, status) + sizeof status.status) {
            assert_int_equal(status.code, CLD_EXITED);
            assert_int_equal(status.status, 7);
        }
        if (size >= offsetof(struct sbx_status, has_usage) + sizeof status.has_usage) {
            assert_int_equal(status.has_usage, 1);
        }
        for (size_t at = size; at < sizeof status; at++) {
            assert_int_equal(((unsigned char *)&status)[at], 0xaa);
        }
    }
    /* Who does not want the status says so. */
    assert_ok(sbx_process_wait(process, SBX_INFINITE, NULL, &error), &error);
    sbx_process_free(process);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(launches_of_no_version),
        host_test(short_launches),
        host_test(long_launches),
        host_test(endless_launch),
        host_test(launch_fields_are_checked),
        host_test(errors_of_every_size),
        host_test(error_of_size_0_is_whole),
        host_test(longer_error),
        host_test(statuses_of_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
