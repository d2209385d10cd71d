/* Inside a sandbox: who is this process? Its ids, capabilities, namespaces, names and clocks. */
#include "answer.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

/* Real, effective, saved uid, then the same for the gid. */
static void do_ids(char **words)
{
    (void)words;
    uid_t r, e, s;
    gid_t rg, eg, sg;
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    ok("%u %u %u %u %u %u", r, e, s, rg, eg, sg);
}

static void do_groups(char **words)
{
    (void)words;
    gid_t groups[64];
    int n = getgroups(64, groups);
    char line[1024] = "";
    for (int i = 0; i < n; i++) {
        sprintf(line + strlen(line), "%s%u", i ? " " : "", groups[i]);
    }
    ok("%s", line);
}

/* The five sets: inheritable, permitted, effective, bounding, ambient. */
static void do_caps(char **words)
{
    (void)words;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) {
        failed();
        return;
    }
    unsigned long long bounding = 0, ambient = 0;
    for (int cap = 0; cap < 64; cap++) {
        bounding |= prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 ? 1ull << cap : 0;
        ambient |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1 ? 1ull << cap : 0;
    }
    ok("%llx %llx %llx %llx %llx", (unsigned long long)data[1].inheritable << 32 | data[0].inheritable,
       (unsigned long long)data[1].permitted << 32 | data[0].permitted,
       (unsigned long long)data[1].effective << 32 | data[0].effective, bounding, ambient);
}

static void do_no_new_privs(char **words)
{
    (void)words;
    ok("%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void do_securebits(char **words)
{
    (void)words;
    ok("%x", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
}

/* ns TYPE: the namespace's name, such as mnt:[4026531841]. */
static void do_ns(char **words)
{
    char path[64], name[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", words[0]);
    ssize_t n = readlink(path, name, sizeof name - 1);
    if (n < 0) {
        failed();
        return;
    }
    name[n] = '\0';
    ok("%s", name);
}

static void do_hostname(char **words)
{
    (void)words;
    char name[256];
    if (gethostname(name, sizeof name) < 0) {
        failed();
    } else {
        ok("%s", name);
    }
}

static void do_domainname(char **words)
{
    (void)words;
    char name[256];
    if (getdomainname(name, sizeof name) < 0) {
        failed();
    } else {
        ok("%s", name);
    }
}

/* clock monotonic, clock boottime: seconds */
static void do_clock(char **words)
{
    struct timespec now;
    if (clock_gettime(strcmp(words[0], "monotonic") == 0 ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, &now) < 0) {
        failed();
    } else {
        ok("%lld", (long long)now.tv_sec);
    }
}

static void do_pid(char **words)
{
    (void)words;
    ok("%d", getpid());
}

static void do_parent(char **words)
{
    (void)words;
    ok("%d", getppid());
}

static void do_setuid(char **words)
{
    answer_result(setresuid((uid_t)atoi(words[0]), (uid_t)atoi(words[0]), (uid_t)atoi(words[0])));
}

static void do_setgroups(char **words)
{
    (void)words;
    gid_t group = 0;
    answer_result(setgroups(1, &group));
}

static void do_sethostname(char **words)
{
    answer_result(sethostname(words[0], strlen(words[0])));
}

/* raise CAP: as an ambient capability */
static void do_raise(char **words)
{
    answer_result(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, atoi(words[0]), 0, 0));
}

/* syscall NUMBER ARG...: any system call, with numbers as arguments */
static void do_syscall(char **words)
{
    long numbers[7] = {0};
    for (int i = 0; i < 7 && words[i]; i++) {
        numbers[i] = strtol(words[i], NULL, 0);
    }
    answer_result(syscall(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]));
}

#if defined(__x86_64__)
/* int80 NUMBER: a system call without arguments by the 32-bit entry, which a filter without a check of the
 * architecture takes for a 64-bit one. */
static void do_int80(char **words)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(atol(words[0])), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory", "r8", "r9", "r10", "r11");
    errno = result < 0 ? (int)-result : 0;
    answer_result(result < 0 ? -1 : 0);
}
#else
static void do_int80(char **words)
{
    (void)words;
    say("no such entry");
}
#endif

int main(int argc, char **argv)
{
    static const struct verb verbs[] = {
        {"ids", 0, do_ids},
        {"groups", 0, do_groups},
        {"caps", 0, do_caps},
        {"no_new_privs", 0, do_no_new_privs},
        {"securebits", 0, do_securebits},
        {"ns", 1, do_ns},
        {"hostname", 0, do_hostname},
        {"domainname", 0, do_domainname},
        {"clock", 1, do_clock},
        {"pid", 0, do_pid},
        {"parent", 0, do_parent},
        {"setuid", 1, do_setuid},
        {"setgroups", 0, do_setgroups},
        {"sethostname", 1, do_sethostname},
        {"raise", 1, do_raise},
        {"syscall", 1, do_syscall},
        {"int80", 1, do_int80},
        {NULL, 0, NULL},
    };
    return answer_all(verbs, argc, argv);
}
