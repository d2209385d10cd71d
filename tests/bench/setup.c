/* The sandboxes that are measured, described once for the library and for the floors. */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the bench's filter needs this architecture's AUDIT_ARCH_ constant"
#endif

/* A judge's usual refusals. With the five instructions around them the filter has its 60. */
static const unsigned refused[] = {
    SYS_acct, SYS_add_key, SYS_adjtimex, SYS_bpf, SYS_chroot, SYS_clock_adjtime, SYS_clock_settime, SYS_delete_module,
    SYS_fanotify_init, SYS_fanotify_mark, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick,
    SYS_init_module, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, SYS_kcmp, SYS_kexec_load, SYS_keyctl,
    SYS_lookup_dcookie, SYS_mbind, SYS_migrate_pages, SYS_mount, SYS_move_mount, SYS_move_pages, SYS_name_to_handle_at,
    SYS_nfsservctl, SYS_open_by_handle_at, SYS_open_tree, SYS_perf_event_open, SYS_personality, SYS_pidfd_getfd,
    SYS_pidfd_open, SYS_pivot_root, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_quotactl, SYS_reboot,
    SYS_request_key, SYS_set_mempolicy, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_socket,
    SYS_swapoff, SYS_swapon, SYS_syslog, SYS_umount2, SYS_unshare, SYS_userfaultfd,
};

_Static_assert(sizeof(refused) / sizeof(refused[0]) + 5 == BENCH_FILTER_LENGTH, "the filter has 60 instructions");

struct bench_setup setup = {
    .rlimits = {
        { RLIMIT_CPU, { 10, 11 } },
        { RLIMIT_FSIZE, { 64 << 20, 64 << 20 } },
        { RLIMIT_DATA, { 512 << 20, 512 << 20 } },
        { RLIMIT_STACK, { 64 << 20, 64 << 20 } },
        { RLIMIT_CORE, { 0, 0 } },
        { RLIMIT_NOFILE, { 64, 64 } },
    },
    .binds = {
        { "/usr", "/usr" },
        { "/lib", "/lib" },
        { "/bin", "/bin" },
        { setup.program_dir, "/box" },
    },
};

static void filter_init(struct sock_filter *out)
{
    const size_t n = sizeof(refused) / sizeof(refused[0]);
    size_t at = 0;

    out[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    out[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, (unsigned char)(n + 2));
    out[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < n; i++)
        out[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], (unsigned char)(n - i), 0);
    out[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    out[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
}

/* Unless told otherwise, the started program lies beside the bench, in inside/. */
void setup_init(const char *program)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length <= 0)
        die("readlink /proc/self/exe");
    self[length] = '\0';
    if (program == NULL) {
        strcpy(strrchr(self, '/') + 1, "");
        if (strlen(self) + sizeof("inside/exit0") > sizeof(self)) {
            errno = ENAMETOOLONG;
            die(self);
        }
        program = strcat(self, "inside/exit0");
    }
    if (realpath(program, setup.program) == NULL || access(setup.program, X_OK) != 0)
        die(program);

    const char *name = strrchr(setup.program, '/') + 1;
    snprintf(setup.program_dir, sizeof(setup.program_dir), "%.*s", (int)(name - 1 - setup.program), setup.program);
    snprintf(setup.program_inside, sizeof(setup.program_inside), "/box/%s", name);
    filter_init(setup.filter);
}
