/* The kernel's own record of a start: every system call of one host thread, and of every process that it
 * starts, is shown to a watcher before it happens, and the watcher may let it fail.
 *
 * A seccomp filter on that thread notifies every call. Children inherit the filter, whatever they share with
 * their host and whatever they exec, and cannot tell that it is there. The watcher runs on the caller's
 * thread, which is not watched.
 */
#ifndef SBX_TEST_SUPPORT_WATCH_H
#define SBX_TEST_SUPPORT_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One system call, before it happens. */
struct watched_call {
    int process;       /* 0: the host's thread; 1, 2, ...: the processes in the order of their first call */
    int number;        /* how many calls this process made before */
    int nr;            /* SYS_* */
    uint64_t args[6];
    pid_t pid;
    const char *name;  /* "openat"; "?" when the table of support_watch.c lacks it */
};

/* 0: let it happen. An errno: it fails with that. Must not call cmocka. */
typedef int (*watch_func)(const struct watched_call *call, void *arg);

/* Runs body(body_arg) on a thread that is watched, until it and every process it started are gone. The body
 * must not call cmocka. Fails the test when that takes more than 20 seconds. */
void watch(void (*body)(void *), void *body_arg, watch_func watcher, void *watch_arg);

/* Skips the test where notifications or their "continue" are missing (Linux before 5.5). */
void need_watch(void);

/* Reads a string of the process that makes the call, cut to the size of the buffer; false: not readable. */
bool watched_string(const struct watched_call *call, uint64_t address, char *buffer, size_t size);

/* The name of a system call, "?" if the table lacks it. */
const char *syscall_name(int nr);

#endif
