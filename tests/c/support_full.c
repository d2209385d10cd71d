/* The runner with everything in it. See support.h. */
#include "support.h"

#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void add_program(sbx_runner *runner)
{
    static const char *const argv[] = {"exit0", "0", NULL};
    static const char *const envp[] = {"LANG=C", "EMPTY=", NULL};
    struct sbx_error error = SBX_ERROR_INIT;

    assert_ok(sbx_set_args(runner, argv, &error), &error);
    assert_ok(sbx_set_env(runner, envp, &error), &error);
    assert_ok(sbx_set_exec_path(runner, "/inside/exit0", &error), &error);
    assert_ok(sbx_set_workdir(runner, "/tmp", &error), &error);
    assert_ok(sbx_map_fd(runner, 2, 2, &error), &error);
    assert_ok(sbx_map_fd(runner, -1, 0, &error), &error);
}

static void add_process(sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    assert_int_equal(sched_getaffinity(0, sizeof cpus, &cpus), 0);

    assert_ok(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_NOFILE, 16, 32, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_CPU, 10, 20, &error), &error);
    assert_ok(sbx_set_umask(runner, 027, &error), &error);
    assert_ok(sbx_set_cpu_affinity(runner, &cpus, sizeof cpus, &error), &error);
    assert_ok(sbx_set_nice(runner, 5, &error), &error);
    assert_ok(sbx_set_scheduler(runner, SCHED_BATCH, 0, &error), &error);
    assert_ok(sbx_set_pdeathsig(runner, 9, &error), &error);
    assert_ok(sbx_set_setsid(runner, true, &error), &error);
    assert_ok(sbx_set_no_aslr(runner, true, &error), &error);
}

static void add_identity(sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;

    assert_ok(sbx_set_namespaces(runner, SBX_NS_USER | SBX_NS_PID | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS |
                                             SBX_NS_CGROUP | SBX_NS_TIME, &error), &error);
    assert_ok(sbx_add_uid_map(runner, 0, geteuid(), 1, &error), &error);
    assert_ok(sbx_add_gid_map(runner, 0, getegid(), 1, &error), &error);
    assert_ok(sbx_set_setgroups(runner, false, &error), &error);
    assert_ok(sbx_set_credential(runner, 0, 0, NULL, 0, &error), &error);
    assert_ok(sbx_set_time_offset(runner, CLOCK_BOOTTIME, 1000, 5, &error), &error);
    assert_ok(sbx_set_hostname(runner, "sandbox", &error), &error);
    assert_ok(sbx_set_domainname(runner, "example", &error), &error);
    assert_ok(sbx_set_loopback(runner, true, &error), &error);
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_caps(runner, 0, &error), &error);
}

static void add_mounts(sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;
    char directory[4096];
    strcpy(directory, inside("exit0"));
    *strrchr(directory, '/') = '\0';

    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    assert_ok(sbx_add_bind(runner, directory, "/inside", 0, &error), &error);
    assert_ok(sbx_add_tmpfs(runner, "/tmp", 1 << 20, 64, 01777, 0, &error), &error);
    assert_ok(sbx_add_file(runner, "/etc/motd", "hello\n", 6, 0644, 0, &error), &error);
    assert_ok(sbx_add_symlink(runner, "motd", "/etc/link", 0, &error), &error);
    assert_ok(sbx_add_dir(runner, "/empty", 0700, 0, &error), &error);
    assert_ok(sbx_add_dev(runner, "/dev", 0, &error), &error);
    assert_ok(sbx_add_mask(runner, "/inside/args", 0, &error), &error);
}

static void add_restrictions(sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const uint64_t access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;

    assert_ok(sbx_set_landlock(runner, access, 0, 0, SBX_LANDLOCK_BEST_EFFORT, &error), &error);
    assert_ok(sbx_add_landlock_path(runner, "/inside", LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE, 0, &error), &error);
    assert_ok(sbx_add_bpf(runner, &allow, 1, 0, &error), &error);
}

sbx_runner *full_runner(void)
{
    sbx_runner *runner = sbx_runner_new();
    assert_non_null(runner);
    add_program(runner);
    add_process(runner);
    add_identity(runner);
    add_mounts(runner);
    add_restrictions(runner);
    return runner;
}
