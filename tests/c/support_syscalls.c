/* Names of the system calls that a start, or the host around it, may make. */
#include "support_watch.h"

#include <sys/syscall.h>

static const struct {
    int nr;
    const char *name;
} names[] = {
    {SYS_add_key, "add_key"}, {SYS_brk, "brk"}, {SYS_capget, "capget"}, {SYS_capset, "capset"}, {SYS_chdir, "chdir"},
    {SYS_chroot, "chroot"}, {SYS_clock_gettime, "clock_gettime"}, {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_clone, "clone"}, {SYS_clone3, "clone3"}, {SYS_close, "close"}, {SYS_close_range, "close_range"},
    {SYS_dup, "dup"}, {SYS_dup3, "dup3"}, {SYS_epoll_create1, "epoll_create1"}, {SYS_epoll_ctl, "epoll_ctl"},
    {SYS_epoll_pwait, "epoll_pwait"}, {SYS_eventfd2, "eventfd2"}, {SYS_execve, "execve"}, {SYS_execveat, "execveat"},
    {SYS_exit, "exit"}, {SYS_exit_group, "exit_group"}, {SYS_faccessat, "faccessat"}, {SYS_faccessat2, "faccessat2"},
    {SYS_fchdir, "fchdir"}, {SYS_fchmod, "fchmod"}, {SYS_fchmodat, "fchmodat"}, {SYS_fchown, "fchown"},
    {SYS_fchownat, "fchownat"}, {SYS_fcntl, "fcntl"}, {SYS_fsconfig, "fsconfig"}, {SYS_fsmount, "fsmount"},
    {SYS_fsopen, "fsopen"}, {SYS_fspick, "fspick"}, {SYS_fstat, "fstat"}, {SYS_fstatfs, "fstatfs"},
    {SYS_ftruncate, "ftruncate"}, {SYS_futex, "futex"}, {SYS_get_robust_list, "get_robust_list"},
    {SYS_getcwd, "getcwd"}, {SYS_getdents64, "getdents64"}, {SYS_getegid, "getegid"}, {SYS_geteuid, "geteuid"},
    {SYS_getgid, "getgid"}, {SYS_getpgid, "getpgid"}, {SYS_getpid, "getpid"}, {SYS_getppid, "getppid"},
    {SYS_getpriority, "getpriority"}, {SYS_getrandom, "getrandom"}, {SYS_getrusage, "getrusage"},
    {SYS_getsid, "getsid"}, {SYS_gettid, "gettid"}, {SYS_getuid, "getuid"}, {SYS_ioctl, "ioctl"},
    {SYS_keyctl, "keyctl"}, {SYS_kill, "kill"}, {SYS_landlock_add_rule, "landlock_add_rule"},
    {SYS_landlock_create_ruleset, "landlock_create_ruleset"}, {SYS_landlock_restrict_self, "landlock_restrict_self"},
    {SYS_linkat, "linkat"}, {SYS_lseek, "lseek"}, {SYS_madvise, "madvise"}, {SYS_memfd_create, "memfd_create"},
    {SYS_mkdirat, "mkdirat"}, {SYS_mknodat, "mknodat"}, {SYS_mmap, "mmap"}, {SYS_mount, "mount"},
    {SYS_mount_setattr, "mount_setattr"}, {SYS_move_mount, "move_mount"}, {SYS_mprotect, "mprotect"},
    {SYS_mremap, "mremap"}, {SYS_munmap, "munmap"}, {SYS_nanosleep, "nanosleep"}, {SYS_newfstatat, "newfstatat"},
    {SYS_open_tree, "open_tree"}, {SYS_openat, "openat"}, {SYS_openat2, "openat2"}, {SYS_personality, "personality"},
    {SYS_pidfd_getfd, "pidfd_getfd"}, {SYS_pidfd_open, "pidfd_open"}, {SYS_pidfd_send_signal, "pidfd_send_signal"},
    {SYS_pipe2, "pipe2"}, {SYS_pivot_root, "pivot_root"}, {SYS_ppoll, "ppoll"}, {SYS_prctl, "prctl"},
    {SYS_pread64, "pread64"}, {SYS_prlimit64, "prlimit64"}, {SYS_process_vm_readv, "process_vm_readv"},
    {SYS_pselect6, "pselect6"}, {SYS_ptrace, "ptrace"}, {SYS_pwrite64, "pwrite64"}, {SYS_read, "read"},
    {SYS_readlinkat, "readlinkat"}, {SYS_readv, "readv"}, {SYS_recvfrom, "recvfrom"}, {SYS_recvmsg, "recvmsg"},
    {SYS_request_key, "request_key"}, {SYS_restart_syscall, "restart_syscall"}, {SYS_rseq, "rseq"},
    {SYS_rt_sigaction, "rt_sigaction"}, {SYS_rt_sigpending, "rt_sigpending"}, {SYS_rt_sigprocmask, "rt_sigprocmask"},
    {SYS_rt_sigreturn, "rt_sigreturn"}, {SYS_rt_sigsuspend, "rt_sigsuspend"},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait"}, {SYS_sched_getaffinity, "sched_getaffinity"},
    {SYS_sched_getattr, "sched_getattr"}, {SYS_sched_getparam, "sched_getparam"},
    {SYS_sched_getscheduler, "sched_getscheduler"}, {SYS_sched_setaffinity, "sched_setaffinity"},
    {SYS_sched_setattr, "sched_setattr"}, {SYS_sched_setparam, "sched_setparam"},
    {SYS_sched_setscheduler, "sched_setscheduler"}, {SYS_sched_yield, "sched_yield"}, {SYS_seccomp, "seccomp"},
    {SYS_sendmsg, "sendmsg"}, {SYS_sendto, "sendto"}, {SYS_set_robust_list, "set_robust_list"},
    {SYS_set_tid_address, "set_tid_address"}, {SYS_setdomainname, "setdomainname"}, {SYS_setfsgid, "setfsgid"},
    {SYS_setfsuid, "setfsuid"}, {SYS_setgroups, "setgroups"}, {SYS_sethostname, "sethostname"},
    {SYS_setitimer, "setitimer"}, {SYS_setns, "setns"}, {SYS_setpgid, "setpgid"}, {SYS_setpriority, "setpriority"},
    {SYS_setresgid, "setresgid"}, {SYS_setresuid, "setresuid"}, {SYS_setsid, "setsid"},
    {SYS_sigaltstack, "sigaltstack"}, {SYS_signalfd4, "signalfd4"}, {SYS_socket, "socket"},
    {SYS_socketpair, "socketpair"}, {SYS_statfs, "statfs"}, {SYS_statx, "statx"}, {SYS_symlinkat, "symlinkat"},
    {SYS_tgkill, "tgkill"}, {SYS_timerfd_create, "timerfd_create"}, {SYS_timerfd_settime, "timerfd_settime"},
    {SYS_umask, "umask"}, {SYS_umount2, "umount2"}, {SYS_uname, "uname"}, {SYS_unlinkat, "unlinkat"},
    {SYS_unshare, "unshare"}, {SYS_wait4, "wait4"}, {SYS_waitid, "waitid"}, {SYS_write, "write"},
    {SYS_writev, "writev"},
};

const char *syscall_name(int nr)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].nr == nr) {
            return names[i].name;
        }
    }
    return "?";
}
