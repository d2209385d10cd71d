/* Setters of the sandbox (namespaces, identity, root, mounts, Landlock, seccomp, start control): what they
 * refuse, by which errno, with the setting's name in the message; and that a refusal leaves the runner as it was. */
#include "support_trial.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define CLOSED_FD 19000

static void namespaces(void **state)
{
    (void)state;
    refused(sbx_set_namespaces(trial, 1, &trial_error), EINVAL, "namespaces");
    refused(sbx_set_namespaces(trial, SBX_NS_USER | 0x100 /* CLONE_VM */, &trial_error), EINVAL, "namespaces");
    refused(sbx_set_namespaces(trial, UINT64_C(1) << 40, &trial_error), EINVAL, "namespaces");
    refused(sbx_set_namespaces(trial, UINT64_MAX, &trial_error), EINVAL, "namespaces");

    refused(sbx_join_namespace(trial, -1, SBX_NS_NET, &trial_error), EINVAL, "join_namespace");
    refused(sbx_join_namespace(trial, CLOSED_FD, SBX_NS_NET, &trial_error), EBADF, "join_namespace");
    refused(sbx_join_namespace(trial, 0, 0, &trial_error), EINVAL, "join_namespace");
    refused(sbx_join_namespace(trial, 0, SBX_NS_NET | SBX_NS_IPC, &trial_error), EINVAL, "join_namespace");
    refused(sbx_join_namespace(trial, 0, 0x100, &trial_error), EINVAL, "join_namespace");
}

static void time_offsets(void **state)
{
    (void)state;
    refused(sbx_set_time_offset(trial, CLOCK_REALTIME, 1, 0, &trial_error), EINVAL, "time_offset");
    refused(sbx_set_time_offset(trial, -1, 1, 0, &trial_error), EINVAL, "time_offset");
    refused(sbx_set_time_offset(trial, CLOCK_MONOTONIC, 1, 1000000000, &trial_error), EINVAL, "time_offset");
    refused(sbx_set_time_offset(trial, CLOCK_MONOTONIC, 1, -1, &trial_error), EINVAL, "time_offset");
    refused(sbx_set_time_offset(trial, CLOCK_MONOTONIC, INT64_MAX, 0, &trial_error), EINVAL, "time_offset");
    refused(sbx_set_time_offset(trial, CLOCK_MONOTONIC, INT64_MIN, 0, &trial_error), EINVAL, "time_offset");
}

static void id_maps(void **state)
{
    (void)state;
    refused(sbx_add_uid_map(trial, 10, 10, 0, &trial_error), EINVAL, "uid_map");
    refused(sbx_add_uid_map(trial, UINT32_MAX, 10, 1, &trial_error), EINVAL, "uid_map");
    refused(sbx_add_uid_map(trial, 10, UINT32_MAX, 1, &trial_error), EINVAL, "uid_map");
    refused(sbx_add_uid_map(trial, 10, 10, UINT32_MAX, &trial_error), EINVAL, "uid_map");
    refused(sbx_add_uid_map(trial, 0, 100000, 1, &trial_error), EINVAL, "uid_map");      /* 0 is mapped */
    refused(sbx_add_uid_map(trial, 5, geteuid(), 1, &trial_error), EINVAL, "uid_map");   /* so is the caller */
    refused(sbx_add_gid_map(trial, 10, 10, 0, &trial_error), EINVAL, "gid_map");
    refused(sbx_add_gid_map(trial, UINT32_MAX - 1, 10, 2, &trial_error), EINVAL, "gid_map");
    refused(sbx_add_gid_map(trial, 0, 100000, 5, &trial_error), EINVAL, "gid_map");
}

static void id_maps_have_340_entries(void **state)
{
    (void)state;
    for (uint32_t i = 1; i < 340; i++) {
        assert_ok(sbx_add_uid_map(trial, i, 1000000 + i, 1, &trial_error), &trial_error);
    }
    assert_error(sbx_add_uid_map(trial, 340, 1000340, 1, &trial_error), EINVAL, &trial_error);
    assert_non_null(strstr(trial_error.message, "uid_map"));
}

static void credentials(void **state)
{
    (void)state;
    const uint32_t bad[] = {1, UINT32_MAX};
    uint32_t *many = test_calloc(65537, sizeof *many);
    refused(sbx_set_credential(trial, UINT32_MAX, 0, NULL, 0, &trial_error), EINVAL, "credential");
    refused(sbx_set_credential(trial, 0, UINT32_MAX, NULL, 0, &trial_error), EINVAL, "credential");
    refused(sbx_set_credential(trial, 0, 0, bad, 2, &trial_error), EINVAL, "credential");
    refused(sbx_set_credential(trial, 0, 0, NULL, 1, &trial_error), EINVAL, "credential");
    refused(sbx_set_credential(trial, 0, 0, many, 65537, &trial_error), EINVAL, "credential");
    refused(sbx_set_credential(trial, 0, 0, many, SIZE_MAX / 2, &trial_error), EINVAL, "credential");
    test_free(many);

    refused(sbx_set_caps(trial, UINT64_C(1) << 41, &trial_error), EINVAL, "caps");
    refused(sbx_set_caps(trial, UINT64_MAX, &trial_error), EINVAL, "caps");
}

static void names(void **state)
{
    (void)state;
    refused(sbx_set_hostname(trial, "", &trial_error), EINVAL, "hostname");
    refused(sbx_set_hostname(trial, long_text(65), &trial_error), EINVAL, "hostname");
    refused(sbx_set_domainname(trial, "", &trial_error), EINVAL, "domainname");
    refused(sbx_set_domainname(trial, long_text(65), &trial_error), EINVAL, "domainname");

    assert_ok(sbx_set_hostname(trial, long_text(64), &trial_error), &trial_error);
    assert_ok(sbx_set_hostname(trial, NULL, &trial_error), &trial_error);
}

static void cgroups(void **state)
{
    (void)state;
    refused(sbx_set_cgroup_fd(trial, -2, &trial_error), EINVAL, "cgroup");
    refused(sbx_set_cgroup_fd(trial, CLOSED_FD, &trial_error), EBADF, "cgroup");
    refused(sbx_add_cgroup_fd(trial, -1, &trial_error), EINVAL, "cgroup");
    refused(sbx_add_cgroup_fd(trial, CLOSED_FD, &trial_error), EBADF, "cgroup");
}

static void roots(void **state)
{
    (void)state;
    refused(sbx_set_pivot_root(trial, "", 0, &trial_error), EINVAL, "root");
    refused(sbx_set_pivot_root(trial, "relative", 0, &trial_error), EINVAL, "root");
    refused(sbx_set_pivot_root(trial, long_path(4096), 0, &trial_error), EINVAL, "root");
    refused(sbx_set_pivot_root(trial, NULL, 2, &trial_error), EINVAL, "root");
    refused(sbx_set_pivot_root(trial, NULL, UINT32_MAX, &trial_error), EINVAL, "root");
    refused(sbx_set_chroot(trial, NULL, &trial_error), EINVAL, "chroot"); /* pivot_root is set */
    refused(sbx_set_chroot(trial, "", &trial_error), EINVAL, "root");
    refused(sbx_set_chroot(trial, "relative", &trial_error), EINVAL, "root");
}

/* Each target of a mount is checked alike, whatever is put there. */
static void check_target(const char *target)
{
    const char *const lower[] = {"/usr", "/etc", NULL};
    refused(sbx_add_bind(trial, "/", target, 0, &trial_error), EINVAL, "bind");
    refused(sbx_add_tmpfs(trial, target, 0, 0, 0755, 0, &trial_error), EINVAL, "tmpfs");
    refused(sbx_add_proc(trial, target, 0, &trial_error), EINVAL, "proc");
    refused(sbx_add_dev(trial, target, 0, &trial_error), EINVAL, "dev");
    refused(sbx_add_overlay(trial, lower, NULL, NULL, target, 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_symlink(trial, "x", target, 0, &trial_error), EINVAL, "symlink");
    refused(sbx_add_file(trial, target, "x", 1, 0644, 0, &trial_error), EINVAL, "file");
    refused(sbx_add_dir(trial, target, 0755, 0, &trial_error), EINVAL, "dir");
    refused(sbx_add_mask(trial, target, 0, &trial_error), EINVAL, "mask");
}

static void mount_targets(void **state)
{
    (void)state;
    check_target(NULL);
    check_target("");
    check_target("relative");
    check_target("/");
    check_target("/a/../b");
    check_target("/..");
    check_target(long_path(4096));
    char component[512] = "/";
    strcat(component, long_text(256));
    check_target(component);
    refused(sbx_add_mount(trial, "tmpfs", "relative", "tmpfs", 0, NULL, 0, &trial_error), EINVAL, "mount");
    refused(sbx_add_mount(trial, "tmpfs", NULL, "tmpfs", 0, NULL, 0, &trial_error), EINVAL, "mount");
    refused(sbx_add_mount(trial, "tmpfs", "/a/../b", "tmpfs", 0, NULL, 0, &trial_error), EINVAL, "mount");
}

/* full_runner() has a tmpfs on /tmp; however it is written, it is the same place. */
static void duplicate_targets(void **state)
{
    (void)state;
    refused(sbx_add_dir(trial, "/tmp", 0755, 0, &trial_error), EINVAL, "dir");
    refused(sbx_add_tmpfs(trial, "/tmp/", 0, 0, 0755, 0, &trial_error), EINVAL, "tmpfs");
    refused(sbx_add_bind(trial, "/", "//tmp", 0, &trial_error), EINVAL, "bind");
    refused(sbx_add_proc(trial, "/./tmp", 0, &trial_error), EINVAL, "proc");
}

static void mount_sources(void **state)
{
    (void)state;
    refused(sbx_add_bind(trial, NULL, "/m", 0, &trial_error), EINVAL, "bind");
    refused(sbx_add_bind(trial, "", "/m", 0, &trial_error), EINVAL, "bind");
    refused(sbx_add_bind(trial, "relative", "/m", 0, &trial_error), EINVAL, "bind");
    refused(sbx_add_bind(trial, long_path(4096), "/m", 0, &trial_error), EINVAL, "bind");
    refused(sbx_add_symlink(trial, NULL, "/m", 0, &trial_error), EINVAL, "symlink");
    refused(sbx_add_symlink(trial, "", "/m", 0, &trial_error), EINVAL, "symlink");
    refused(sbx_add_symlink(trial, long_path(4096), "/m", 0, &trial_error), EINVAL, "symlink");
    refused(sbx_add_file(trial, "/m", NULL, 1, 0644, 0, &trial_error), EINVAL, "file");
    refused(sbx_add_file(trial, "/m", "x", SIZE_MAX, 0644, 0, &trial_error), EINVAL, "file");
    refused(sbx_add_mount(trial, NULL, "/m", NULL, MS_BIND, NULL, 0, &trial_error), EINVAL, "mount");
    assert_ok(sbx_add_file(trial, "/m", NULL, 0, 0644, 0, &trial_error), &trial_error);
}

static void overlays(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    const char *const one[] = {"/usr", NULL};
    const char *const relative[] = {"usr", "/etc", NULL};
    const char *many[66];
    for (size_t i = 0; i < 65; i++) {
        many[i] = "/usr";
    }
    many[65] = NULL;
    refused(sbx_add_overlay(trial, NULL, "/u", "/w", "/m", 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_overlay(trial, none, "/u", "/w", "/m", 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_overlay(trial, one, NULL, NULL, "/m", 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_overlay(trial, one, "/u", NULL, "/m", 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_overlay(trial, one, NULL, "/w", "/m", 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_overlay(trial, relative, NULL, NULL, "/m", 0, &trial_error), EINVAL, "overlay");
    refused(sbx_add_overlay(trial, many, NULL, NULL, "/m", 0, &trial_error), EINVAL, "overlay");
    assert_ok(sbx_add_overlay(trial, one, "/u", "/w", "/m", 0, &trial_error), &trial_error);
}

static void mount_flags_and_modes(void **state)
{
    (void)state;
    refused(sbx_add_bind(trial, "/", "/m", 0x80000000u, &trial_error), EINVAL, "bind");
    refused(sbx_add_bind(trial, "/", "/m", SBX_MOUNT_HIDEPID, &trial_error), EINVAL, "bind");
    refused(sbx_add_bind(trial, "/", "/m", SBX_MOUNT_DEVPTS, &trial_error), EINVAL, "bind");
    refused(sbx_add_proc(trial, "/m", SBX_MOUNT_DEVPTS, &trial_error), EINVAL, "proc");
    refused(sbx_add_dev(trial, "/m", SBX_MOUNT_HIDEPID, &trial_error), EINVAL, "dev");
    refused(sbx_add_tmpfs(trial, "/m", 0, 0, 0755, SBX_MOUNT_NONRECURSIVE, &trial_error), EINVAL, "tmpfs");
    refused(sbx_add_symlink(trial, "x", "/m", SBX_MOUNT_WRITABLE, &trial_error), EINVAL, "symlink");
    refused(sbx_add_mask(trial, "/m", SBX_MOUNT_WRITABLE, &trial_error), EINVAL, "mask");
    refused(sbx_add_mount(trial, "tmpfs", "/m", "tmpfs", 0, NULL, SBX_MOUNT_WRITABLE, &trial_error), EINVAL, "mount");
    refused(sbx_add_mount(trial, NULL, "/m", NULL, MS_MOVE, NULL, 0, &trial_error), EINVAL, "mount");
    refused(sbx_add_mount(trial, NULL, "/m", NULL, MS_REMOUNT | MS_RDONLY, NULL, 0, &trial_error), EINVAL, "mount");
    refused(sbx_add_mount(trial, "tmpfs", "/m", "tmpfs", UINT64_C(1) << 32, NULL, 0, &trial_error), EINVAL, "mount");
    refused(sbx_add_mount(trial, "x", "/m", NULL, 0, NULL, 0, &trial_error), EINVAL, "mount");
    refused(sbx_add_tmpfs(trial, "/m", UINT64_MAX, 0, 0755, 0, &trial_error), EINVAL, "tmpfs");
    refused(sbx_add_tmpfs(trial, "/m", 0, UINT64_MAX, 0755, 0, &trial_error), EINVAL, "tmpfs");
    refused(sbx_add_tmpfs(trial, "/m", 0, 0, 010000, 0, &trial_error), EINVAL, "tmpfs");
    refused(sbx_add_file(trial, "/m", "x", 1, 010000, 0, &trial_error), EINVAL, "file");
    refused(sbx_add_dir(trial, "/m", UINT32_MAX, 0, &trial_error), EINVAL, "dir");
}

static void landlock(void **state)
{
    (void)state;
    refused(sbx_set_landlock(trial, UINT64_C(1) << 60, 0, 0, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_set_landlock(trial, 0, UINT64_C(1) << 60, 0, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_set_landlock(trial, 0, 0, UINT64_C(1) << 60, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_set_landlock(trial, 1, 0, 0, 2, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_path(trial, NULL, LANDLOCK_ACCESS_FS_EXECUTE, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_path(trial, "", LANDLOCK_ACCESS_FS_EXECUTE, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_path(trial, "relative", LANDLOCK_ACCESS_FS_EXECUTE, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_path(trial, "/x", 0, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_path(trial, "/x", UINT64_C(1) << 60, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_path(trial, "/x", 1, SBX_MOUNT_WRITABLE, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_port(trial, 80, 0, &trial_error), EINVAL, "landlock");
    refused(sbx_add_landlock_port(trial, 80, UINT64_C(1) << 60, &trial_error), EINVAL, "landlock");
}

static void filters(void **state)
{
    (void)state;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_filter no_return = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    const struct sock_filter jump_out[] = {BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_filter *many = test_malloc(4097 * sizeof *many);
    for (size_t i = 0; i < 4097; i++) {
        many[i] = allow;
    }
    int (*const set[])(sbx_runner *, const struct sock_filter *, size_t, uint32_t, struct sbx_error *) = {sbx_set_bpf, sbx_add_bpf};
    for (size_t i = 0; i < 2; i++) {
        refused(set[i](trial, NULL, 1, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, &allow, 0, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, many, 4097, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, many, SIZE_MAX, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, many, SIZE_MAX / sizeof *many + 2, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, &no_return, 1, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, jump_out, 2, 0, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, &allow, 1, SECCOMP_FILTER_FLAG_TSYNC, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, &allow, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER, &trial_error), EINVAL, "bpf");
        refused(set[i](trial, &allow, 1, 0x80000000u, &trial_error), EINVAL, "bpf");
    }
    assert_ok(sbx_add_bpf(trial, many, 4096, SECCOMP_FILTER_FLAG_LOG, &trial_error), &trial_error);
    assert_ok(sbx_set_bpf(trial, NULL, 0, 0, &trial_error), &trial_error);
    test_free(many);
}

static int sync_func(int pid, int pidfd, void *arg)
{
    (void)pid;
    (void)pidfd;
    (void)arg;
    return 0;
}

/* See test_setters.c. */
static void null_runner(struct sbx_error *e)
{
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const char *const lower[] = {"/usr", "/etc", NULL};
    char text[8];
    sbx_runner *runner = NULL;
    sbx_process *process = NULL;

    assert_int_equal(sbx_set_namespaces(NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_join_namespace(NULL, 0, SBX_NS_NET, e), -EINVAL);
    assert_int_equal(sbx_set_time_offset(NULL, CLOCK_MONOTONIC, 1, 0, e), -EINVAL);
    assert_int_equal(sbx_add_uid_map(NULL, 0, 0, 1, e), -EINVAL);
    assert_int_equal(sbx_add_gid_map(NULL, 0, 0, 1, e), -EINVAL);
    assert_int_equal(sbx_set_setgroups(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_credential(NULL, 0, 0, NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_set_no_new_privs(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_caps(NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_set_hostname(NULL, "x", e), -EINVAL);
    assert_int_equal(sbx_set_domainname(NULL, "x", e), -EINVAL);
    assert_int_equal(sbx_set_loopback(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_cgroup_fd(NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_add_cgroup_fd(NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_set_unshare_cgroup_after_sync(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_pivot_root(NULL, NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_set_chroot(NULL, "/", e), -EINVAL);
    assert_int_equal(sbx_add_mount(NULL, "tmpfs", "/m", "tmpfs", 0, NULL, 0, e), -EINVAL);
    assert_int_equal(sbx_add_bind(NULL, "/", "/m", 0, e), -EINVAL);
    assert_int_equal(sbx_add_tmpfs(NULL, "/m", 0, 0, 0755, 0, e), -EINVAL);
    assert_int_equal(sbx_add_proc(NULL, "/m", 0, e), -EINVAL);
    assert_int_equal(sbx_add_dev(NULL, "/m", 0, e), -EINVAL);
    assert_int_equal(sbx_add_overlay(NULL, lower, NULL, NULL, "/m", 0, e), -EINVAL);
    assert_int_equal(sbx_add_symlink(NULL, "x", "/m", 0, e), -EINVAL);
    assert_int_equal(sbx_add_file(NULL, "/m", "x", 1, 0644, 0, e), -EINVAL);
    assert_int_equal(sbx_add_dir(NULL, "/m", 0755, 0, e), -EINVAL);
    assert_int_equal(sbx_add_mask(NULL, "/m", 0, e), -EINVAL);
    assert_int_equal(sbx_set_landlock(NULL, 1, 0, 0, 0, e), -EINVAL);
    assert_int_equal(sbx_add_landlock_path(NULL, "/x", 1, 0, e), -EINVAL);
    assert_int_equal(sbx_add_landlock_port(NULL, 80, 1, e), -EINVAL);
    assert_int_equal(sbx_set_bpf(NULL, &allow, 1, 0, e), -EINVAL);
    assert_int_equal(sbx_add_bpf(NULL, &allow, 1, 0, e), -EINVAL);
    assert_int_equal(sbx_set_sync_func(NULL, sync_func, e), -EINVAL);
    assert_int_equal(sbx_set_ptrace(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_stop_before_seccomp(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_init(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_set_staged(NULL, true, e), -EINVAL);
    assert_int_equal(sbx_runner_describe(NULL, NULL, text, sizeof text, e), -EINVAL);
    assert_int_equal(sbx_runner_clone(NULL, &runner, e), -EINVAL);
    assert_null(runner);
    assert_int_equal(sbx_start(NULL, NULL, &process, e), -EINVAL);
    assert_null(process);
}

static void no_runner(void **state)
{
    (void)state;
    null_runner(NULL);
    struct sbx_error error = SBX_ERROR_INIT;
    null_runner(&error);
}

static void nowhere_to_put_the_result(void **state)
{
    (void)state;
    refused(sbx_runner_clone(trial, NULL, &trial_error), EINVAL, "out");
    refused(sbx_start(trial, NULL, NULL, &trial_error), EINVAL, "out");
    refused(sbx_runner_describe(trial, NULL, NULL, 10, &trial_error), EINVAL, "buf");
}

static void a_clone_is_equal_and_independent(void **state)
{
    (void)state;
    sbx_runner *clone = NULL;
    assert_ok(sbx_runner_clone(trial, &clone, &trial_error), &trial_error);
    assert_non_null(clone);
    char *one = describe(trial, NULL);
    char *two = describe(clone, NULL);
    assert_string_equal(one, two);
    test_free(two);

    assert_ok(sbx_set_hostname(clone, "another", &trial_error), &trial_error);
    assert_ok(sbx_add_dir(clone, "/more", 0755, 0, &trial_error), &trial_error);
    two = describe(trial, NULL);
    assert_string_equal(one, two);
    test_free(two);
    two = describe(clone, NULL);
    assert_string_not_equal(one, two);

    test_free(one);
    test_free(two);
    sbx_runner_free(clone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        trial_test(namespaces),
        trial_test(time_offsets),
        trial_test(id_maps),
        trial_test(id_maps_have_340_entries),
        trial_test(credentials),
        trial_test(names),
        trial_test(cgroups),
        trial_test(roots),
        trial_test(mount_targets),
        trial_test(duplicate_targets),
        trial_test(mount_sources),
        trial_test(overlays),
        trial_test(mount_flags_and_modes),
        trial_test(landlock),
        trial_test(filters),
        host_test(no_runner),
        trial_test(nowhere_to_put_the_result),
        trial_test(a_clone_is_equal_and_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
