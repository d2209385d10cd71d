/* The state of the test host, written down before and after each test. See support.h. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct text {
    size_t length;
    char bytes[512 * 1024];
};

static struct text before;
static struct text after;

static void __attribute__((format(printf, 2, 3))) append(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(text->bytes + text->length, sizeof text->bytes - text->length, format, args);
    va_end(args);
    if (wanted < 0 || (size_t)wanted >= sizeof text->bytes - text->length) {
        fail_msg("the host's state is too long to write down");
    }
    text->length += (size_t)wanted;
}

/* One line per descriptor. The library keeps one for as long as it is loaded: its embedded program. */
static void append_fds(struct text *text)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        fail_msg("/proc/self/fd: %s", strerror(errno));
        return;
    }
    bool embedded_seen = false;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir)) {
            continue;
        }
        char target[256];
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        if (!embedded_seen && strncmp(target, "/memfd:sbx-init", 15) == 0) {
            embedded_seen = true;
            continue;
        }
        append(text, "fd %s -> %s flags %d\n", entry->d_name, target, fcntl(atoi(entry->d_name), F_GETFD));
    }
    closedir(dir);
}

static void append_file(struct text *text, const char *path)
{
    static char buffer[32 * 1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        append(text, "%s: %s\n", path, strerror(errno));
        return;
    }
    size_t length = 0;
    for (ssize_t n; length < sizeof buffer - 1 && (n = read(fd, buffer + length, sizeof buffer - 1 - length)) > 0;) {
        length += (size_t)n;
    }
    close(fd);
    buffer[length] = '\0';
    append(text, "%s: %s\n", path, buffer);
}

static void append_signals(struct text *text)
{
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        struct sigaction action;
        if (sigaction(signal, NULL, &action) != 0) {
            continue;
        }
        if (action.sa_handler != SIG_DFL || sigismember(&mask, signal) == 1) {
            append(text, "signal %d: %s, %s\n", signal,
                   action.sa_handler == SIG_IGN ? "ignored" : action.sa_handler == SIG_DFL ? "default" : "handled",
                   sigismember(&mask, signal) == 1 ? "blocked" : "open");
        }
    }
}

static void append_children(struct text *text)
{
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL) == 0) {
        append(text, "children: pid %d code %d\n", (int)info.si_pid, info.si_code);
        return;
    }
    append(text, "children: %s\n", errno == ECHILD ? "none" : strerror(errno));
}

static void write_down(struct text *text)
{
    text->length = 0;
    text->bytes[0] = '\0';

    append_fds(text);
    append_children(text);
    append_signals(text);
    append_file(text, "/proc/self/mountinfo");
    append_file(text, "/proc/self/oom_score_adj");

    char cwd[4096];
    append(text, "cwd %s\n", getcwd(cwd, sizeof cwd) != NULL ? cwd : strerror(errno));
    struct stat root;
    if (stat("/", &root) == 0) {
        append(text, "root %llu:%llu\n", (unsigned long long)root.st_dev, (unsigned long long)root.st_ino);
    }
    mode_t mask = umask(0);
    umask(mask);
    append(text, "umask %03o\n", (unsigned)mask);
    append(text, "dumpable %d, no_new_privs %d, subreaper ", prctl(PR_GET_DUMPABLE), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    int subreaper = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    append(text, "%d\n", subreaper);
    append(text, "uid %d/%d, gid %d/%d, sid %d, pgid %d\n", (int)getuid(), (int)geteuid(), (int)getgid(), (int)getegid(),
           (int)getsid(0), (int)getpgrp());
    append(text, "personality %x, nice %d, policy %d\n", (unsigned)personality(0xffffffff), getpriority(PRIO_PROCESS, 0),
           sched_getscheduler(0));
    for (int resource = 0; resource < 16; resource++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)resource, &limit) == 0) {
            append(text, "rlimit %d %llx %llx\n", resource, (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
        }
    }
}

static bool has_line(const struct text *text, const char *line, size_t length)
{
    for (const char *at = text->bytes; *at != '\0'; at += strcspn(at, "\n") + 1) {
        if (strncmp(at, line, length) == 0 && at[length] == '\n') {
            return true;
        }
    }
    return false;
}

/* Prints the first lines of one text that the other one lacks. */
static void print_lines(const char *sign, const struct text *of, const struct text *lacking)
{
    int left = 20;
    for (const char *line = of->bytes; *line != '\0'; line += strcspn(line, "\n") + 1) {
        if (!has_line(lacking, line, strcspn(line, "\n")) && left-- > 0) {
            print_error("%s %.*s\n", sign, (int)strcspn(line, "\n"), line);
        }
    }
}

int host_before(void **state)
{
    (void)state;
    write_down(&before);
    return 0;
}

int host_after(void **state)
{
    (void)state;
    remove_scratch();
    write_down(&after);
    if (strcmp(before.bytes, after.bytes) != 0) {
        print_error("the host is not as it was before the test (-) but after it (+):\n");
        print_lines("-", &before, &after);
        print_lines("+", &after, &before);
        return 1;
    }
    return 0;
}
