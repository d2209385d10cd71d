/* Descriptors, files, processes and time. See support.h. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void make_pipe(int fds[2])
{
    if (pipe2(fds, O_CLOEXEC) != 0) {
        fail_msg("pipe2: %s", strerror(errno));
    }
}

size_t read_to_end(int fd, char *buffer, size_t size)
{
    uint64_t deadline = now_ns() + READ_TIMEOUT_NS;
    size_t length = 0;
    char rest[4096];
    for (;;) {
        if (now_ns() > deadline || !readable(fd, (int)(READ_TIMEOUT_NS / 1000000))) {
            fail_msg("nobody closed the pipe; so far it said: %.*s", (int)length, buffer);
        }
        bool full = length == size - 1;
        ssize_t n = read(fd, full ? rest : buffer + length, full ? sizeof rest : size - 1 - length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        length += full ? 0 : (size_t)n;
    }
    buffer[length] = '\0';
    return length;
}

bool readable(int fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&poll_fd, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return ready == 1;
}

bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count - 1; /* the directory's own */
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static char scratch[8][512];
static size_t n_scratch;

const char *make_scratch(void)
{
    assert_true(n_scratch < sizeof scratch / sizeof scratch[0]);
    char *path = scratch[n_scratch];
    const char *directory = getenv("TMPDIR");
    snprintf(path, sizeof scratch[0], "%s/sbx-test-XXXXXX", directory != NULL ? directory : "/tmp");
    if (mkdtemp(path) == NULL || chmod(path, 0755) != 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    n_scratch++;
    return path;
}

void write_file(const char *path, const void *data, size_t size, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || fchmod(fd, mode) != 0 || close(fd) != 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void remove_tree(const char *path)
{
    /* FTW_MOUNT: what a test mounted there and forgot is never deleted through the mount. */
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0) {
        print_error("%s is left: %s\n", path, strerror(errno));
    }
}

void remove_scratch(void)
{
    while (n_scratch > 0) {
        remove_tree(scratch[--n_scratch]);
    }
}

char process_state(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    char line[512];
    char *state = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    fclose(file);
    return state != NULL && state[1] == ' ' ? state[2] : 0;
}

bool process_exists(int pid)
{
    return process_state(pid) != 0;
}
