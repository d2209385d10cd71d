/*
 * The floor of the full sandbox: the same system calls from a minimal C program. Seven namespaces at clone, maps
 * written by the parent while the child waits on a word of the shared memory, a tmpfs root with four read-only binds
 * and proc, pivot_root, root sealed read-only, exec, wait on a pidfd.
 *
 * The lean form of each: no signal handling, no descriptor closed, no timeout, no report of the step that failed, and
 * the parent does not wait for the exec, only for the end. Between clone and exec the child makes system calls and
 * nothing else: it runs in its parent's memory.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE (64 << 10)
#define NAMESPACES \
    (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static unsigned char *stack;
static atomic_uint maps_written;
static volatile int failed_step;

/* mount and mount_setattr: two calls where open_tree and move_mount would make it three, and one namespace less. */
static int bind_read_only(const struct bench_bind *bind)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
    const char *target = bind->target + 1;

    if (mkdir(target, 0755) != 0 || mount(bind->source, target, NULL, MS_BIND | MS_REC, NULL) != 0)
        return -1;
    return (int)syscall(SYS_mount_setattr, AT_FDCWD, target, AT_RECURSIVE, &attr, sizeof(attr));
}

static int child(void *unused)
{
    char *const argv[] = { setup.program_inside, NULL };
    char *const no_env[] = { NULL };

    (void)unused;
    while (atomic_load(&maps_written) == 0)
        syscall(SYS_futex, &maps_written, FUTEX_WAIT, 0, NULL, NULL, 0);

    failed_step = 1;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        _exit(126);
    failed_step = 2;    /* over /proc: a directory that every host has, and no bind's source lies in */
    if (mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0 || chdir("/proc") != 0)
        _exit(126);
    failed_step = 3;
    for (int i = 0; i < BENCH_BINDS; i++)
        if (bind_read_only(&setup.binds[i]) != 0)
            _exit(126);
    failed_step = 4;
    if (mkdir("proc", 0755) != 0 || mount("proc", "proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        _exit(126);
    failed_step = 5;
    if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        _exit(126);
    failed_step = 6;
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) != 0)
        _exit(126);
    failed_step = 7;
    execve(setup.program_inside, argv, no_env);
    _exit(127);
}

static void write_proc(pid_t pid, const char *file, const char *text, size_t length)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, length) != (ssize_t)length)
        die(path);
    close(fd);
}

static char uid_map[32], gid_map[32];

static void prepare(void)
{
    stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        die("mmap of a stack");
    snprintf(uid_map, sizeof(uid_map), "0 %u 1\n", (unsigned)geteuid());
    snprintf(gid_map, sizeof(gid_map), "0 %u 1\n", (unsigned)getegid());
}

static void start(void)
{
    siginfo_t end;
    int pidfd = -1;

    atomic_store(&maps_written, 0);
    failed_step = 0;
    pid_t pid = clone(child, stack + STACK_SIZE, CLONE_VM | CLONE_PIDFD | NAMESPACES | SIGCHLD, NULL, &pidfd);
    if (pid < 0)
        die("clone");
    write_proc(pid, "setgroups", "deny", 4);
    write_proc(pid, "uid_map", uid_map, strlen(uid_map));
    write_proc(pid, "gid_map", gid_map, strlen(gid_map));
    atomic_store(&maps_written, 1);
    syscall(SYS_futex, &maps_written, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);

    while (waitid(P_PIDFD, (id_t)pidfd, &end, WEXITED) != 0)
        if (errno != EINTR)
            die("waitid");
    close(pidfd);
    if (end.si_code != CLD_EXITED || end.si_status != 0) {
        fprintf(stderr, "bench: the full floor failed at step %d, code %d, status %d\n", failed_step, end.si_code,
                end.si_status);
        errno = ECHILD;
        die("a floor's program did not exit with 0");
    }
}

const struct side floor_full = { .prepare = prepare, .start = start };
