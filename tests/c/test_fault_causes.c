/* What a caller gets wrong in real life, and where the error says it went wrong: the location, the entry of the list
 * that was to blame, the errno and whose move it is. The same in all three shapes, and the host is left clean. */
#include "support.h"
#include "support_ask.h"
#include "support_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct sbx_error error = SBX_ERROR_INIT;
static int borrowed = -1; /* a descriptor that a runner refers to; closed after its start */

/* A mistake: `make` builds it into a runner whose program is exit0. */
struct cause {
    const char *name;
    void (*make)(sbx_runner *runner);
    const char *location;
    int index;
    int number;
    uint32_t blame;
    enum { ANYONE, ROOT, NOT_ROOT, MOUNTS } who;
};

static void missing_program(sbx_runner *runner)
{
    assert_ok(sbx_set_exec_path(runner, "/no-such-path-for-sbx", &error), &error);
}

static void directory_as_program(sbx_runner *runner)
{
    assert_ok(sbx_set_exec_path(runner, "/", &error), &error);
}

static void missing_workdir(sbx_runner *runner)
{
    assert_ok(sbx_set_workdir(runner, "/no-such-path-for-sbx", &error), &error);
}

static void file_as_workdir(sbx_runner *runner)
{
    assert_ok(sbx_set_workdir(runner, "/dev/null", &error), &error);
}

static void too_many_files(sbx_runner *runner)
{
    assert_ok(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_NOFILE, 1 << 30, 1 << 30, &error), &error); /* above fs.nr_open */
    assert_ok(sbx_add_rlimit(runner, RLIMIT_CPU, 1, 1, &error), &error);
}

static void impossible_cpu(sbx_runner *runner)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(CPU_SETSIZE - 1, &cpus);
    assert_ok(sbx_set_cpu_affinity(runner, &cpus, sizeof cpus, &error), &error);
}

static void not_a_namespace(sbx_runner *runner)
{
    borrowed = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    assert_ok(sbx_join_namespace(runner, borrowed, SBX_NS_UTS, &error), &error);
    assert_ok(sbx_join_namespace(runner, borrowed, SBX_NS_IPC, &error), &error);
}

static void no_terminal(sbx_runner *runner)
{
    borrowed = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_ok(sbx_set_ctty(runner, borrowed, &error), &error);
}

/* Loads a byte, which other uses of BPF may. */
static void second_filter_is_not_for_seccomp(sbx_runner *runner)
{
    struct sock_filter good[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_filter bad[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_bpf(runner, good, 1, 0, &error), &error);
    assert_ok(sbx_add_bpf(runner, bad, 2, 0, &error), &error);
}

static void missing_landlock_path(sbx_runner *runner)
{
    if (sbx_landlock_abi() < 1) {
        skip_because("this kernel has no Landlock");
    }
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_landlock(runner, 1, 0, 0, 0, &error), &error);
    assert_ok(sbx_add_landlock_path(runner, "/", 1, 0, &error), &error);
    assert_ok(sbx_add_landlock_path(runner, "/no-such-path-for-sbx", 1, 0, &error), &error);
}

static void begin_root(sbx_runner *runner)
{
    set_namespaces(runner, SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    assert_ok(sbx_add_bind(runner, inside("exit0"), inside("exit0"), 0, &error), &error);
}

static void missing_source(sbx_runner *runner)
{
    begin_root(runner);
    assert_ok(sbx_add_bind(runner, "/no-such-path-for-sbx", "/a", 0, &error), &error);
}

static void unknown_file_system(sbx_runner *runner)
{
    begin_root(runner);
    assert_ok(sbx_add_tmpfs(runner, "/tmp", 0, 0, 0755, 0, &error), &error);
    assert_ok(sbx_add_mount(runner, "x", "/x", "nosuchfs", 0, NULL, 0, &error), &error);
}

static void missing_mask(sbx_runner *runner)
{
    begin_root(runner);
    assert_ok(sbx_add_mask(runner, "/nothing/here", 0, &error), &error);
}

static void other_link_in_the_way(sbx_runner *runner)
{
    const char *rootfs = make_scratch();
    assert_int_equal(symlink("other", text("%s/a", rootfs)), 0);
    set_namespaces(runner, SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, rootfs, SBX_ROOT_WRITABLE, &error), &error);
    assert_ok(sbx_add_dir(runner, "/b", 0755, 0, &error), &error);
    assert_ok(sbx_add_symlink(runner, "anything", "/a", 0, &error), &error);
}

static void missing_rootfs(sbx_runner *runner)
{
    set_namespaces(runner, SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, "/no-such-path-for-sbx", 0, &error), &error);
}

static void missing_chroot(sbx_runner *runner)
{
    assert_ok(sbx_set_chroot(runner, "/no-such-path-for-sbx", &error), &error);
}

static void foreign_ids(sbx_runner *runner)
{
    assert_ok(sbx_set_namespaces(runner, SBX_NS_USER, &error), &error);
    assert_ok(sbx_set_credential(runner, 0, 0, NULL, 0, &error), &error);
    assert_ok(sbx_add_uid_map(runner, 0, 4242, 1, &error), &error);
    assert_ok(sbx_add_gid_map(runner, 0, getegid(), 1, &error), &error);
}

static void better_priority(sbx_runner *runner)
{
    assert_ok(sbx_set_nice(runner, -20, &error), &error);
}

static void real_time(sbx_runner *runner)
{
    assert_ok(sbx_set_scheduler(runner, SCHED_FIFO, 1, &error), &error);
}

static void somebody_else(sbx_runner *runner)
{
    assert_ok(sbx_set_credential(runner, 4242, getegid(), NULL, 0, &error), &error);
}

static const struct cause causes[] = {
    {"missing program", missing_program, "exec", -1, ENOENT, SBX_BLAME_PROGRAM, ANYONE},
    {"directory as program", directory_as_program, "exec", -1, EACCES, SBX_BLAME_PROGRAM, ANYONE},
    {"missing workdir", missing_workdir, "workdir", -1, ENOENT, SBX_BLAME_CALLER, ANYONE},
    {"file as workdir", file_as_workdir, "workdir", -1, ENOTDIR, SBX_BLAME_CALLER, ANYONE},
    {"too many files", too_many_files, "rlimit", 1, EPERM, SBX_BLAME_HOST, ANYONE},
    {"impossible cpu", impossible_cpu, "cpu_affinity", -1, EINVAL, SBX_BLAME_CALLER, ANYONE},
    {"not a namespace", not_a_namespace, "join_namespace", 1, EINVAL, SBX_BLAME_CALLER, ROOT},
    {"no terminal", no_terminal, "ctty", -1, ENOTTY, SBX_BLAME_CALLER, ANYONE},
    {"second filter is not for seccomp", second_filter_is_not_for_seccomp, "seccomp", 1, EINVAL, SBX_BLAME_CALLER, ANYONE},
    {"missing Landlock path", missing_landlock_path, "landlock_rule", 1, ENOENT, SBX_BLAME_CALLER, ANYONE},
    {"missing source", missing_source, "mount_source", 1, ENOENT, SBX_BLAME_CALLER, MOUNTS},
    {"unknown file system", unknown_file_system, "mount", 2, ENODEV, SBX_BLAME_HOST, MOUNTS},
    {"missing mask", missing_mask, "mount_target", 1, ENOENT, SBX_BLAME_CALLER, MOUNTS},
    {"other link in the way", other_link_in_the_way, "symlink", 1, EEXIST, SBX_BLAME_CALLER, MOUNTS},
    {"missing rootfs", missing_rootfs, "root", -1, ENOENT, SBX_BLAME_CALLER, MOUNTS},
    {"missing chroot", missing_chroot, "chroot", -1, ENOENT, SBX_BLAME_CALLER, ROOT},
    {"foreign ids", foreign_ids, "uid_map", -1, EPERM, SBX_BLAME_HOST, NOT_ROOT},
    {"better priority", better_priority, "nice", -1, EACCES, SBX_BLAME_HOST, NOT_ROOT},
    {"real time", real_time, "scheduler", -1, EPERM, SBX_BLAME_HOST, NOT_ROOT},
    {"somebody else", somebody_else, "setuid", -1, EPERM, SBX_BLAME_HOST, NOT_ROOT},
};

static bool applies(const struct cause *cause)
{
    switch (cause->who) {
    case ROOT:
        return is_root();
    case NOT_ROOT:
        return !is_root() && (cause->make != foreign_ids || have_userns());
    case MOUNTS:
        return is_root() || have_userns();
    default:
        return true;
    }
}

static void mistakes_are_named(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof causes / sizeof causes[0] * 3; i++) {
        const struct cause *cause = &causes[i / 3];
        if (!applies(cause)) {
            continue;
        }
        sbx_runner *runner = runner_for("exit0", NULL);
        set_shape(runner, all_shapes[i % 3]);
        cause->make(runner);
        const struct outcome *outcome = run(runner, NULL);
        const struct sbx_error *got = &outcome->error;
        if (outcome->started != -cause->number || got->err != cause->number || got->index != cause->index ||
            got->blame != cause->blame || strcmp(sbx_location_name(got->location), cause->location) != 0) {
            print_error("%s, %s:\n  expected errno %d at %s[%d], blame %s\n", cause->name, sbx_shape_name(all_shapes[i % 3]),
                        cause->number, cause->location, cause->index, sbx_blame_name(cause->blame));
            print_error("  got %d, errno %d at %s[%d], blame %s: %s\n", outcome->started, got->err,
                        sbx_location_name(got->location), got->index, sbx_blame_name(got->blame), got->message);
            wrong++;
        }
        sbx_runner_free(runner);
        if (borrowed >= 0) {
            close(borrowed);
            borrowed = -1;
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(mistakes_are_named),
    };
    return cmocka_run_group_tests_name("fault_causes", tests, NULL, NULL);
}
