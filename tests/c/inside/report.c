/* report [FD]: everything a process can say about itself, one `key=value` a line, to FD (1 by default).
 * It opens nothing before it has listed its descriptors, and what needs /proc is left out where there is none. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static char buffer[1024 * 1024];
static size_t length;

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(buffer + length, sizeof buffer - length, format, args);
    va_end(args);
    if (wanted < 0 || (size_t)wanted >= sizeof buffer - length) {
        _exit(99);
    }
    length += (size_t)wanted;
}

static bool say_fd(int fd)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fstat(fd, &status) != 0) {
        return false;
    }
    int open_flags = fcntl(fd, F_GETFL);
    say("fd.%d=%llx:%llu mode %o access %d cloexec %d\n", fd, (unsigned long long)status.st_dev,
        (unsigned long long)status.st_ino, (unsigned)status.st_mode, open_flags & O_ACCMODE, (flags & FD_CLOEXEC) != 0);
    return true;
}

/* By trying each number: a list in /proc would need a descriptor of its own. */
static void report_fds(void)
{
    char list[64 * 1024] = "";
    size_t used = 0;
    for (int fd = 0; fd < 1 << 13 && used + 16 < sizeof list; fd++) {
        if (say_fd(fd)) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%d", used == 0 ? "" : ",", fd);
        }
    }
    say("fds=%s\n", list);
}

static void report_identity(void)
{
    uid_t uid, euid, suid;
    gid_t gid, egid, sgid;
    getresuid(&uid, &euid, &suid);
    getresgid(&gid, &egid, &sgid);
    say("uid=%u\neuid=%u\nsuid=%u\ngid=%u\negid=%u\nsgid=%u\n", uid, euid, suid, gid, egid, sgid);

    gid_t groups[1024];
    int n = getgroups(1024, groups);
    say("n_groups=%d\ngroups=", n);
    for (int i = 0; i < n; i++) {
        say("%s%u", i == 0 ? "" : ",", groups[i]);
    }
    say("\n");

    say("pid=%d\nppid=%d\npgid=%d\nsid=%d\ntty_sid=%d\ntty_pgid=%d\n", (int)getpid(), (int)getppid(), (int)getpgrp(),
        (int)getsid(0), (int)tcgetsid(0), (int)tcgetpgrp(0));
    say("secure=%lu\n", getauxval(AT_SECURE));
}

static void report_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) == 0) {
        say("cap_effective=0x%llx\n", (unsigned long long)data[1].effective << 32 | data[0].effective);
        say("cap_permitted=0x%llx\n", (unsigned long long)data[1].permitted << 32 | data[0].permitted);
        say("cap_inheritable=0x%llx\n", (unsigned long long)data[1].inheritable << 32 | data[0].inheritable);
    }
    unsigned long long bounding = 0;
    unsigned long long ambient = 0;
    for (int cap = 0; cap < 64; cap++) {
        bounding |= (unsigned long long)(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1) << cap;
        ambient |= (unsigned long long)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1) << cap;
    }
    say("cap_bounding=0x%llx\ncap_ambient=0x%llx\n", bounding, ambient);
    say("securebits=0x%x\nkeepcaps=%d\n", (unsigned)prctl(PR_GET_SECUREBITS), prctl(PR_GET_KEEPCAPS));
    say("no_new_privs=%d\nseccomp=%d\ndumpable=%d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_SECCOMP),
        prctl(PR_GET_DUMPABLE));
    int subreaper = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    int pdeathsig = -1;
    prctl(PR_GET_PDEATHSIG, &pdeathsig);
    say("subreaper=%d\npdeathsig=%d\n", subreaper, pdeathsig);
}

static void report_signals(void)
{
    /* The kernel's own structure, since the C library keeps two signals for itself; handler 0 is SIG_DFL, 1 SIG_IGN. */
    struct { uintptr_t handler; unsigned long flags; uintptr_t restorer; unsigned long long mask; } action;
    unsigned long long blocked = 0;
    unsigned long long ignored = 0;
    unsigned long long handled = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &blocked, 8);
    for (int signal = 1; signal <= 64; signal++) {
        if (syscall(SYS_rt_sigaction, signal, NULL, &action, 8) != 0) {
            continue;
        }
        ignored |= (unsigned long long)(action.handler == 1) << (signal - 1);
        handled |= (unsigned long long)(action.handler > 1) << (signal - 1);
    }
    say("sig_blocked=0x%llx\nsig_ignored=0x%llx\nsig_handled=0x%llx\n", blocked, ignored, handled);
}

static void report_process(void)
{
    for (int resource = 0; resource < 16; resource++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)resource, &limit) == 0) {
            say("rlimit.%d=%llu:%llu\n", resource, (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
        }
    }
    mode_t mask = umask(0);
    umask(mask);
    say("umask=0%o\npersonality=0x%x\nnice=%d\n", (unsigned)mask, (unsigned)personality(0xffffffff),
        getpriority(PRIO_PROCESS, 0));
    struct sched_param param = {0};
    sched_getparam(0, &param);
    say("scheduler=%d\npriority=%d\n", sched_getscheduler(0), param.sched_priority);

    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    say("cpus=");
    for (int cpu = 0, first = 1; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &cpus)) {
            say("%s%d", first ? "" : ",", cpu);
            first = 0;
        }
    }
    say("\n");

    char cwd[4096];
    say("cwd=%s\n", getcwd(cwd, sizeof cwd) != NULL ? cwd : strerror(errno));
    struct stat root;
    if (stat("/", &root) == 0) {
        say("root=%llx:%llu\n", (unsigned long long)root.st_dev, (unsigned long long)root.st_ino);
    }
    int on_stack = 0;
    say("address_stack=%p\naddress_brk=%p\naddress_vdso=0x%lx\n", (void *)&on_stack, sbrk(0), getauxval(AT_SYSINFO_EHDR));
    say("session_keyring=%ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));

    struct utsname names;
    uname(&names);
    say("hostname=%s\ndomainname=%s\n", names.nodename, names.domainname);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    say("monotonic=%lld\n", (long long)now.tv_sec);
    clock_gettime(CLOCK_BOOTTIME, &now);
    say("boottime=%lld\n", (long long)now.tv_sec);
}

static void report_proc(void)
{
    static const char *const kinds[] = {"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char path[64];
        char target[256];
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0) {
            say("ns.%s=%.*s\n", kinds[i], (int)n, target);
        }
    }
    static const char *const files[] = {"oom_score_adj", "comm", "cgroup", "status"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[64];
        char line[4096];
        snprintf(path, sizeof path, "/proc/self/%s", files[i]);
        FILE *file = fopen(path, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            say("%s=%s", files[i], line);
        }
        if (file != NULL) {
            fclose(file);
        }
    }
}

int main(int argc, char **argv)
{
    int fd = argc > 1 ? atoi(argv[1]) : 1;

    report_fds();
    report_identity();
    report_capabilities();
    report_signals();
    report_process();
    report_proc();
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, buffer + done, length - done);
        if (n <= 0) {
            return 98;
        }
        done += (size_t)n;
    }
    return 0;
}
