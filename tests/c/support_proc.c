/* Processes as /proc shows them, and test hosts of their own. See support_proc.h. */
#include "support_proc.h"

#include "support.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

const uint32_t all_shapes[3] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};

/* A copy of the line that begins with KEY and a colon, without both. */
static bool find_line(const char *path, const char *key, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t length = strlen(key);
    bool found = false;
    while (!found && fgets(line, (int)size, file) != NULL) {
        found = strncmp(line, key, length) == 0 && line[length] == ':';
    }
    fclose(file);
    if (found) {
        memmove(line, line + length + 1, strlen(line + length + 1) + 1);
    }
    return found;
}

static long find_number(const char *path, const char *key, bool last)
{
    char line[512];
    if (!find_line(path, key, line, sizeof line)) {
        return -1;
    }
    long number = -1;
    char *rest = line;
    for (char *end; ; rest = end) {
        long next = strtol(rest, &end, 10);
        if (end == rest) {
            return number;
        }
        number = next;
        if (!last) {
            return number;
        }
    }
}

pid_t pid_of_pidfd(int pidfd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    return (pid_t)find_number(path, "Pid", false);
}

long status_first(pid_t pid, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return find_number(path, key, false);
}

long status_last(pid_t pid, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return find_number(path, key, true);
}

bool runs(pid_t pid, const char *name)
{
    char path[64];
    char exe[4096];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t length = readlink(path, exe, sizeof exe - 1);
    exe[length < 0 ? 0 : length] = '\0';
    const char *last = strrchr(exe, '/');
    return last != NULL && strcmp(last + 1, name) == 0;
}

bool soon_runs(pid_t pid, const char *name)
{
    for (int i = 0; i < 5000; i++) {
        if (runs(pid, name)) {
            return true;
        }
        sleep_ms(1);
    }
    return false;
}

bool wait_for_state(pid_t pid, char state)
{
    for (int i = 0; i < 5000; i++) {
        if (process_state(pid) == state) {
            return true;
        }
        sleep_ms(1);
    }
    return false;
}

bool no_child_left(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0 && errno == ECHILD;
}

void require(bool condition, const char *what)
{
    if (condition) {
        return;
    }
    int number = errno;
    fflush(stdout);
    fprintf(stderr, "not so: %s (errno now: %s)\n", what, strerror(number));
    _exit(1);
}

void require_ok(int result, const struct sbx_error *error, const char *what)
{
    if (result >= 0) {
        return;
    }
    fprintf(stderr, "%s = %d, at %s[%d]: %.255s\n", what, result, sbx_location_name(error->location), error->index,
            error->message);
    _exit(1);
}

int forked_host(int (*body)(void *), void *arg, unsigned seconds)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        return 127;
    }
    if (pid == 0) {
        int code = body(arg);
        fflush(NULL);
        _exit(code);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    if (poll(&poll_fd, 1, (int)seconds * 1000) != 1) {
        fprintf(stderr, "the forked host did not end within %u s\n", seconds);
        kill(pid, SIGKILL);
    }
    close(pidfd);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
