/* Which descriptors the program has: 0, 1 and 2 are /dev/null unless they are mapped, the map is exact under
 * any permutation, and everything else is closed, whatever the host and its threads have open. */
#include "support_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void defaults(void **state)
{
    const struct outcome *outcome = report_fds(shape_of(state), NULL, 0);
    expect_fds(outcome, "0,1,2,300");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++) {
        char key[16];
        snprintf(key, sizeof key, "fd.%d", fd);
        /* The device matters, not how it was opened: reading and writing both work, or the stream's own way does. */
        char wanted[64];
        struct stat status;
        assert_int_equal(fstat(null, &status), 0);
        snprintf(wanted, sizeof wanted, "%llx:%llu ", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
        assert_int_equal(strncmp(value(outcome, key), wanted, strlen(wanted)), 0);
        assert_non_null(strstr(value(outcome, key), "cloexec 0"));
    }
    close(null);
}

static void minus_one_is_closed(void **state)
{
    const struct sbx_fd_map map[] = {{-1, 0}, {-1, 2}, {-1, 9}};
    expect_fds(report_fds(shape_of(state), map, 3), "1,300");
    const struct sbx_fd_map none[] = {{-1, 0}, {-1, 1}, {-1, 2}};
    expect_fds(report_fds(shape_of(state), none, 3), "300");
}

static bool next_permutation(int *p, int n)
{
    int i = n - 2;
    while (i >= 0 && p[i] > p[i + 1]) {
        i--;
    }
    if (i < 0) {
        return false;
    }
    int j = n - 1;
    while (p[j] < p[i]) {
        j--;
    }
    int swap = p[i];
    p[i] = p[j];
    p[j] = swap;
    for (int a = i + 1, b = n - 1; a < b; a++, b--) {
        swap = p[a];
        p[a] = p[b];
        p[b] = swap;
    }
    return true;
}

static void every_permutation_of_five(void **state)
{
    const int first = 20;
    open_files(first, 5);
    int p[5] = {0, 1, 2, 3, 4};
    int count = 0;
    do {
        struct sbx_fd_map map[5];
        for (int i = 0; i < 5; i++) {
            map[i] = (struct sbx_fd_map){.fd = first + p[i], .child_fd = first + i};
        }
        const struct outcome *outcome = report_fds(shape_of(state), map, 5);
        expect_fds(outcome, "0,1,2,20,21,22,23,24,300");
        for (int i = 0; i < 5; i++) {
            expect_same_fd(outcome, first + i, first + p[i]);
        }
        count++;
    } while (next_permutation(p, 5));
    assert_int_equal(count, 120);
    close_files(first, 5);
}

/* The host's own standard streams change places, and one of them comes back in a higher one. */
static void streams_in_a_ring(void **state)
{
    for (int fd = 0; fd < 3; fd++) {
        assert_true(is_open(fd));
    }
    const struct sbx_fd_map map[] = {{1, 0}, {2, 1}, {0, 2}, {0, 3}};
    const struct outcome *outcome = report_fds(shape_of(state), map, 4);
    expect_fds(outcome, "0,1,2,3,300");
    expect_same_fd(outcome, 0, 1);
    expect_same_fd(outcome, 1, 2);
    expect_same_fd(outcome, 2, 0);
    expect_same_fd(outcome, 3, 0);
}

/* n -> n + 1 for a long run, upwards and downwards: each target is the next one's source. */
static void chains(void **state)
{
    const int first = 20;
    const int n = 40;
    open_files(first, n);
    for (int step = -1; step <= 1; step += 2) {
        struct sbx_fd_map map[40];
        for (int i = 0; i < n; i++) {
            map[i] = (struct sbx_fd_map){.fd = first + i, .child_fd = first + i + step};
        }
        const struct outcome *outcome = report_fds(shape_of(state), map, (size_t)n);
        assert_ended(outcome, CLD_EXITED, 0);
        for (int i = 0; i < n; i++) {
            expect_same_fd(outcome, first + i + step, first + i);
        }
    }
    close_files(first, n);
}

static void one_to_many(void **state)
{
    open_files(20, 1);
    const struct sbx_fd_map map[] = {{20, 0}, {20, 1}, {20, 2}, {20, 20}, {20, 21}, {20, 100}};
    const struct outcome *outcome = report_fds(shape_of(state), map, 6);
    expect_fds(outcome, "0,1,2,20,21,100,300");
    for (size_t i = 0; i < 6; i++) {
        expect_same_fd(outcome, map[i].child_fd, 20);
    }
    close_files(20, 1);
}

/* Descriptors that a careless library in the host has left open for everybody. */
static void planted_descriptors_are_closed(void **state)
{
    const int planted[] = {3, 9, 17, 600, 1000};
    bool ours[5] = {false};
    for (size_t i = 0; i < 5; i++) {
        ours[i] = !is_open(planted[i]);
        if (ours[i]) {
            assert_int_equal(dup2(2, planted[i]), planted[i]);
            assert_int_equal(fcntl(planted[i], F_GETFD), 0);
        }
    }
    expect_fds(report_fds(shape_of(state), NULL, 0), "0,1,2,300");
    for (size_t i = 0; i < 5; i++) {
        if (ours[i]) {
            close(planted[i]);
        }
    }
}

static atomic_bool stop_opening;

static void *keep_opening(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_opening)) {
        int fds[16];
        for (size_t i = 0; i < 16; i++) {
            fds[i] = open("/dev/zero", O_RDWR); /* without O_CLOEXEC */
        }
        for (size_t i = 0; i < 16; i++) {
            close(fds[i]);
        }
    }
    return NULL;
}

static void other_threads_open_meanwhile(void **state)
{
    pthread_t threads[3];
    atomic_store(&stop_opening, false);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, keep_opening, NULL), 0);
    }
    for (int i = 0; i < 100; i++) {
        expect_fds(report_fds(shape_of(state), NULL, 0), "0,1,2,300");
    }
    atomic_store(&stop_opening, true);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void launch_replaces_the_runners(void **state)
{
    open_files(20, 3);
    int answer[2];
    make_pipe(answer);
    sbx_runner *runner = runner_for("report", "300", NULL);
    set_shape(runner, shape_of(state));
    struct sbx_error error = SBX_ERROR_INIT;
    const int fds[] = {20, -1, 20, 20, 21};
    assert_ok(sbx_set_fds(runner, fds, 5, &error), &error);
    assert_ok(sbx_map_fd(runner, 21, 50, &error), &error);
    const struct sbx_fd_map map[] = {{22, 1}, {-1, 4}, {22, 50}, {answer[1], REPORT_FD}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.fds = map;
    launch.n_fds = 4;
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, &launch, &process, &error), &error);
    static struct outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.status.size = sizeof outcome.status;
    outcome.waited = sbx_process_wait(process, SBX_INFINITE, &outcome.status, &error);
    assert_ended(&outcome, CLD_EXITED, 0);
    close(answer[1]);
    read_to_end(answer[0], outcome.output, sizeof outcome.output);
    expect_fds(&outcome, "0,1,2,3,50,300");
    expect_same_fd(&outcome, 0, 20);
    expect_same_fd(&outcome, 1, 22);
    expect_same_fd(&outcome, 3, 20);
    expect_same_fd(&outcome, 50, 22);
    sbx_process_free(process);
    close(answer[0]);
    sbx_runner_free(runner);
    close_files(20, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(defaults),
        in_each_shape(minus_one_is_closed),
        in_each_shape(every_permutation_of_five),
        in_each_shape(streams_in_a_ring),
        in_each_shape(chains),
        in_each_shape(one_to_many),
        in_each_shape(planted_descriptors_are_closed),
        in_each_shape(other_threads_open_meanwhile),
        in_each_shape(launch_replaces_the_runners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
