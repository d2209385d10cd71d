/* See support_fds.h. */
#include "support_fds.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct outcome *report_fds(uint32_t shape, const struct sbx_fd_map *map, size_t n)
{
    static struct outcome outcome;
    int answer[2];
    make_pipe(answer);
    struct sbx_fd_map *all = test_calloc(n + 1, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        all[i] = map[i];
    }
    all[n] = (struct sbx_fd_map){.fd = answer[1], .child_fd = REPORT_FD};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.fds = all;
    launch.n_fds = n + 1;

    sbx_runner *runner = runner_for("report", "300", NULL);
    set_shape(runner, shape);
    sbx_process *process = NULL;
    memset(&outcome, 0, sizeof outcome);
    outcome.error.size = sizeof outcome.error;
    outcome.status.size = sizeof outcome.status;
    outcome.started = sbx_start(runner, &launch, &process, &outcome.error);
    close(answer[1]);
    if (outcome.started == 0) {
        outcome.length = read_to_end(answer[0], outcome.output, sizeof outcome.output);
        outcome.waited = sbx_process_wait(process, SBX_INFINITE, &outcome.status, &outcome.error);
        sbx_process_free(process);
    }
    close(answer[0]);
    test_free(all);
    sbx_runner_free(runner);
    return &outcome;
}

void expect_same_fd(const struct outcome *outcome, int child_fd, int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    char key[32];
    char wanted[128];
    snprintf(key, sizeof key, "fd.%d", child_fd);
    snprintf(wanted, sizeof wanted, "%llx:%llu mode %o access %d cloexec 0", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino, (unsigned)status.st_mode, fcntl(fd, F_GETFL) & O_ACCMODE);
    assert_string_equal(value(outcome, key), wanted);
}

void expect_fds(const struct outcome *outcome, const char *fds)
{
    assert_ended(outcome, CLD_EXITED, 0);
    assert_string_equal(value(outcome, "fds"), fds);
}

void open_files(int first, int n)
{
    for (int i = 0; i < n; i++) {
        char name[] = "/tmp/sbx-test-fd-XXXXXX";
        int fd = mkostemp(name, O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(unlink(name), 0);
        assert_false(is_open(first + i));
        assert_int_equal(dup3(fd, first + i, O_CLOEXEC), first + i);
        close(fd);
    }
}

void close_files(int first, int n)
{
    for (int i = 0; i < n; i++) {
        close(first + i);
    }
}
