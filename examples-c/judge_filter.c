/* The judge's seccomp filter, made with libseccomp: which system calls end a program at once.
 *
 * A list of what is allowed would be stricter, but each language's runtime, and each new version of
 * the C library, needs another one. The namespaces, the empty set of capabilities and the limits
 * are what holds a program; the filter takes away parts of the kernel that no solution to a problem
 * needs, so that their bugs are out of reach. */
#define _GNU_SOURCE
#include "judge.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const forbidden[] = {
    /* talking to anybody */
    "socket", "socketpair",
    /* other processes' memory and descriptors */
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    /* namespaces; clone's flags are below */
    "unshare", "setns",
    /* mounts and roots */
    "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "mount_setattr",
    "fsopen", "fsconfig", "fsmount", "fspick", "name_to_handle_at", "open_by_handle_at", "quotactl",
    /* keys are not in any namespace */
    "add_key", "request_key", "keyctl",
    /* large interfaces, and io_uring does what the filter cannot see */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register",
    /* the machine */
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
    "swapon", "swapoff", "acct", "syslog",
};

/* Without CLONE_NEWTIME: in clone(2) its bit belongs to the exit signal's number. */
static const uint64_t new_namespaces[] = {
    CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID,
    CLONE_NEWNET,
};

static int add_rules(scmp_filter_ctx context)
{
    /* As a tree: a few comparisons for each call instead of one for each name. */
    int rc = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    /* int 0x80 and x32 numbers, which the rules for x86-64 do not cover, and their like. */
    if (rc == 0)
        rc = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    for (size_t i = 0; rc == 0 && i < sizeof forbidden / sizeof forbidden[0]; i++) {
        const int number = seccomp_syscall_resolve_name(forbidden[i]);
        /* A name that this libseccomp does not know would leave a hole: that is an error. */
        rc = number == __NR_SCMP_ERROR
                 ? -ENOSYS
                 : seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, number, 0);
    }
    for (size_t i = 0; rc == 0 && i < sizeof new_namespaces / sizeof new_namespaces[0]; i++)
        rc = seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, new_namespaces[i], new_namespaces[i]));
    /* clone3 has its flags in memory, where a filter cannot look. The C library then uses clone. */
    if (rc == 0)
        rc = seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

/* libseccomp writes the instructions to a file; they are read back from memory. */
static int instructions(scmp_filter_ctx context, struct sock_filter **filter, size_t *len)
{
    const int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = seccomp_export_bpf(context, fd);
    struct stat info;
    if (rc == 0 && fstat(fd, &info) < 0)
        rc = -errno;
    struct sock_filter *insns = rc == 0 ? malloc((size_t)info.st_size) : NULL;
    if (rc == 0 && insns == NULL)
        rc = -ENOMEM;
    if (rc == 0 && pread(fd, insns, (size_t)info.st_size, 0) != info.st_size)
        rc = -EIO;
    close(fd);
    if (rc < 0) {
        free(insns);
        return rc;
    }
    *filter = insns;
    *len = (size_t)info.st_size / sizeof *insns;
    return 0;
}

int filter_make(struct sock_filter **filter, size_t *len, struct why *why)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
    if (context == NULL)
        return because(why, "libseccomp: out of memory");
    int rc = add_rules(context);
    if (rc == 0)
        rc = instructions(context, filter, len);
    seccomp_release(context);
    if (rc == -ENOSYS)
        return because(why, "libseccomp is too old: it does not know all forbidden calls");
    return rc == 0 ? 0 : because(why, "libseccomp: %s", strerror(-rc));
}
