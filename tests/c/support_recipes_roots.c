/* The recipes with a root of their own. See support_recipes.h. */
#include "support_recipes.h"

#include "support_ask.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct sbx_error error = SBX_ERROR_INIT;

/* Every kind of mount, in a fresh root. */
static void add_mounts(struct prepared *prepared)
{
    sbx_runner *runner = prepared->runner;
    const char *scratch = make_scratch();
    char lower[2][128];
    const char *const lowers[] = {lower[0], lower[1], NULL};
    for (int i = 0; i < 2; i++) {
        snprintf(lower[i], sizeof lower[i], "%s/lower%d", scratch, i);
        assert_int_equal(mkdir(lower[i], 0755), 0);
    }
    static const char *const argv[] = {"/bin/exit0", NULL};
    assert_ok(sbx_set_args(runner, argv, &error), &error);
    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    assert_ok(sbx_add_bind(runner, inside("exit0"), "/bin/exit0", 0, &error), &error);
    assert_ok(sbx_add_bind(runner, scratch, "/work/scratch", SBX_MOUNT_WRITABLE, &error), &error);
    assert_ok(sbx_add_bind(runner, "/no-such-path-for-sbx", "/missing", SBX_MOUNT_OPTIONAL, &error), &error);
    assert_ok(sbx_add_tmpfs(runner, "/tmp", 1 << 20, 64, 01777, 0, &error), &error);
    assert_ok(sbx_add_proc(runner, "/proc", 0, &error), &error);
    assert_ok(sbx_add_dev(runner, "/dev", SBX_MOUNT_DEVPTS, &error), &error);
    assert_ok(sbx_add_overlay(runner, lowers, NULL, NULL, "/merged", 0, &error), &error);
    assert_ok(sbx_add_symlink(runner, "/bin/exit0", "/link", 0, &error), &error);
    assert_ok(sbx_add_file(runner, "/etc/motd", "hello\n", 6, 0644, 0, &error), &error);
    assert_ok(sbx_add_dir(runner, "/empty", 0700, 0, &error), &error);
    assert_ok(sbx_add_mask(runner, "/proc/version", 0, &error), &error);
    assert_ok(sbx_add_mask(runner, "/proc/sys", 0, &error), &error);
    assert_ok(sbx_add_mount(runner, "raw", "/raw", "tmpfs", MS_NOSUID, "size=64k", 0, &error), &error);
    int box = keep_fd(prepared, open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC));
    prepared->bind = (struct sbx_launch_bind){.fd = box, .target = "/box", .flags = SBX_MOUNT_WRITABLE};
    prepared->launch.binds = &prepared->bind;
    prepared->launch.n_binds = 1;
}

void make_container(struct prepared *prepared)
{
    sbx_runner *runner = prepared->runner;
    set_namespaces(runner, SBX_NS_USER | SBX_NS_PID | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS | SBX_NS_CGROUP);
    assert_ok(sbx_set_hostname(runner, "box", &error), &error);
    assert_ok(sbx_set_domainname(runner, "example", &error), &error);
    assert_ok(sbx_set_loopback(runner, true, &error), &error);
    add_mounts(prepared);
    assert_ok(sbx_set_workdir(runner, "/tmp", &error), &error);
    assert_ok(sbx_set_caps(runner, 0, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, &error), &error);
    add_restrictions(runner, "/");
}

/* Ids that are not the host's, so that even making the root needs one that is mapped. */
void make_mapped_ids(struct prepared *prepared)
{
    static const char *const argv[] = {"/bin/exit0", NULL};
    static const uint32_t groups[] = {1001};
    sbx_runner *runner = prepared->runner;
    assert_ok(sbx_set_namespaces(runner, SBX_NS_USER | SBX_NS_MNT, &error), &error);
    assert_ok(sbx_add_uid_map(runner, 1000, 100000, 2, &error), &error);
    assert_ok(sbx_add_gid_map(runner, 1000, 100000, 2, &error), &error);
    assert_ok(sbx_set_setgroups(runner, true, &error), &error);
    assert_ok(sbx_set_credential(runner, 1000, 1000, groups, 1, &error), &error);
    assert_ok(sbx_set_args(runner, argv, &error), &error);
    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    assert_ok(sbx_add_bind(runner, reachable_inside("exit0"), "/bin/exit0", 0, &error), &error);
    assert_ok(sbx_add_file(runner, "/etc/motd", "hello\n", 6, 0644, 0, &error), &error);
}

/* A prepared tree with the program in it. */
static const char *make_rootfs(struct prepared *prepared)
{
    const char *path = make_scratch();
    copy_file(inside("exit0"), text("%s/exit0", path), 0755);
    static const char *const argv[] = {"/exit0", NULL};
    assert_ok(sbx_set_args(prepared->runner, argv, &error), &error);
    return path;
}

void make_existing_root(struct prepared *prepared)
{
    set_namespaces(prepared->runner, SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(prepared->runner, make_rootfs(prepared), 0, &error), &error);
}

void make_chroot(struct prepared *prepared)
{
    if (!is_root()) {
        set_namespaces(prepared->runner, SBX_NS_MNT);
    }
    assert_ok(sbx_set_chroot(prepared->runner, make_rootfs(prepared), &error), &error);
}

void make_fresh_chroot(struct prepared *prepared)
{
    static const char *const argv[] = {"/bin/exit0", NULL};
    set_namespaces(prepared->runner, SBX_NS_MNT);
    assert_ok(sbx_set_chroot(prepared->runner, NULL, &error), &error);
    assert_ok(sbx_add_bind(prepared->runner, inside("exit0"), "/bin/exit0", 0, &error), &error);
    assert_ok(sbx_set_args(prepared->runner, argv, &error), &error);
}
