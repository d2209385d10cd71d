/* Floors without a new namespace: posix_spawn, fork and exec, and a filter and limits set between vfork and exec. */
#include "bench.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const no_env[] = { NULL };

static void reap(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = ECHILD;
        die("a floor's program did not exit with 0");
    }
}

static void start_posix_spawn(void)
{
    char *const argv[] = { setup.program, NULL };
    pid_t pid;

    errno = posix_spawn(&pid, setup.program, NULL, NULL, argv, no_env);
    if (errno != 0)
        die("posix_spawn");
    reap(pid);
}

const struct side floor_posix_spawn = { .start = start_posix_spawn };

static void start_fork(void)
{
    char *const argv[] = { setup.program, NULL };
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        execve(setup.program, argv, no_env);
        _exit(127);
    }
    reap(pid);
}

const struct side floor_fork = { .start = start_fork };

/*
 * The leanest form there is: vfork, which shares the memory and lets the parent sleep until exec; no signal mask, no
 * descriptor closed, no report of a failed step.
 */
static void start_filter_rlimits(void)
{
    char *const argv[] = { setup.program, NULL };
    const struct sock_fprog filter = { BENCH_FILTER_LENGTH, setup.filter };
    pid_t pid = vfork();

    if (pid < 0)
        die("vfork");
    if (pid == 0) {
        for (int i = 0; i < BENCH_RLIMITS; i++)
            if (syscall(SYS_prlimit64, 0, setup.rlimits[i].resource, &setup.rlimits[i].value, NULL) != 0)
                _exit(126);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
            _exit(126);
        execve(setup.program, argv, no_env);
        _exit(127);
    }
    reap(pid);
}

const struct side floor_filter_rlimits = { .start = start_filter_rlimits };
