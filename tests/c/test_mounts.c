/* File systems of the sandbox's own: tmpfs with its limits, proc, a minimal /dev, overlays, and mount(2) as it is. */
#include "support_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

#define MIB (UINT64_C(1) << 20)

static void tmpfs_has_its_limits(void **state)
{
    (void)state;
    mode_t old = umask(077);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_tmpfs(runner, "/small", MIB, 0, 01777, 0, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/few", 0, 10, 0700, SBX_MOUNT_NOEXEC, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/plain", 0, 0, 0755, 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "fill /small/x 4194304", "ok 1048576 ENOSPC", "capacity /small", "ok 1048576 *",
               "stat /small", "ok dir 1777 0 0 *", "many /few 100", "ok 9 ENOSPC", "capacity /few", "ok * 10", "stat /few",
               "ok dir 0700 0 0 *", "flags /small", "ok rw nosuid nodev", "flags /few", "ok rw nosuid nodev noexec",
               "fill /plain/x 4194304", "ok 4194304 all", "many /plain 100", "ok 100 all", NULL);
        sbx_runner_free(runner);
    }
    umask(old);
}

static void device_files_on_a_tmpfs_only_when_asked(void **state)
{
    (void)state;
    need_root(); /* mknod(2) of a device takes the initial user namespace */
    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(sbx_add_tmpfs(runner, "/plain", 0, 0, 0755, 0, NULL), 0);
    assert_int_equal(sbx_add_tmpfs(runner, "/devices", 0, 0, 0755, SBX_MOUNT_DEV, NULL), 0);
    expect(runner, NULL, "/inside/files", "mknod /plain/zero 1 5", "ok", "device /plain/zero", "EACCES", "mknod /devices/zero 1 5", "ok",
           "device /devices/zero", "ok read 64 zeros write 64", NULL);
    sbx_runner_free(runner);
}

static void proc_shows_the_sandbox_only(void **state)
{
    (void)state;
    for (int init = 0; init < 2; init++) {
        sbx_runner *runner = rooted_sandbox(SBX_NS_PID);
        assert_int_equal(sbx_set_init(runner, init, NULL), 0);
        assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "link /proc/self", init ? "ok 2" : "ok 1", text("stat /proc/%d", getpid()), "ENOENT",
               "stat /proc/3", "ENOENT", "flags /proc", "ok ro nosuid nodev noexec", "writable /proc/self/oom_score_adj", "EROFS",
               "writable /proc/sys/kernel/core_pattern", "EROFS", NULL);
        sbx_runner_free(runner);
    }
}

/* Control of the read-only default: uid 0 of the host may write there, with no capability at all. */
static void proc_may_be_writable(void **state)
{
    (void)state;
    need_root();
    sbx_runner *runner = rooted_sandbox(SBX_NS_PID);
    assert_int_equal(sbx_add_proc(runner, "/proc", SBX_MOUNT_WRITABLE, NULL), 0);
    assert_int_equal(sbx_set_caps(runner, 0, NULL), 0);
    expect(runner, NULL, "/inside/files", "flags /proc", "ok rw nosuid nodev noexec", "writable /proc/sys/kernel/core_pattern", "ok",
           NULL);
    sbx_runner_free(runner);
}

static void hidepid_hides_other_users_processes(void **state)
{
    (void)state;
    need_root();
    for (int hide = 0; hide < 2; hide++) {
        sbx_runner *runner = rooted_sandbox(SBX_NS_PID);
        assert_int_equal(sbx_add_proc(runner, "/proc", hide ? SBX_MOUNT_HIDEPID : 0, NULL), 0);
        assert_int_equal(sbx_set_credential(runner, 1234, 1234, NULL, 0, NULL), 0);
        /* Process 1 is the init, whose user is the host's. */
        expect(runner, NULL, "/inside/files", "stat /proc/1", hide ? "ENOENT" : "ok dir 0555 0 0 *", "stat /proc/self/status",
               "ok file *", NULL);
        sbx_runner_free(runner);
    }
}

static void dev_has_the_harmless_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_dev(runner, "/dev", 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "list /dev", "ok fd full null random stderr stdin stdout urandom zero", "device /dev/null",
               "ok read 0 write 64", "device /dev/zero", "ok read 64 zeros write 64", "device /dev/full", "ok read 64 zeros write ENOSPC",
               "device /dev/random", "ok read 64 write 64", "device /dev/urandom", "ok read 64 write 64", "stat /dev/null",
               "ok char 0666 * 1:3", "create /dev/x", "EROFS", "remove /dev/null", "E*", "pty", "ENOENT", NULL);
        sbx_runner_free(runner);
    }
}

/* Who owns a device outside could change its mode from inside, with no capability at all, for every program of the machine. */
static void the_hosts_devices_cannot_be_changed(void **state)
{
    (void)state;
    const char *root = make_scratch();
    write_file(text("%s/masked", root), "x", 1, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_dev(runner, "/dev", SBX_MOUNT_DEVPTS, NULL), 0);
        assert_int_equal(sbx_add_bind(runner, root, "/box", 0, NULL), 0);
        assert_int_equal(sbx_add_mask(runner, "/box/masked", 0, NULL), 0);
        /* To the mode that they have: should it work, nothing is broken. */
        expect(runner, NULL, "/inside/files", "chmod /dev/null 666", "EROFS", "chmod /dev/full 666", "EROFS", "chmod /dev/urandom 666",
               "EROFS", "chmod /box/masked 666", "EROFS", "fchmod 0 666", "E*", "flags /dev/null", "ok ro nosuid noexec", NULL);
        sbx_runner_free(runner);
    }
}

static void dev_has_terminals_on_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_dev(runner, "/dev", SBX_MOUNT_DEVPTS, NULL), 0);
        /* The first one of an instance of its own, whatever terminals the host has. */
        expect(runner, NULL, "/inside/files", "list /dev/pts", "ok ptmx", "pty", "ok /dev/pts/0", NULL);
        sbx_runner_free(runner);
    }
}

/* Directories to lay over each other; the names have what separates options from each other. */
struct layers {
    const char *lower, *lowest, *upper, *work;
};

static struct layers make_layers(void)
{
    const char *place = make_scratch();
    struct layers layers = {text("%s/lower", place), text("%s/low:est,x\\y", place), text("%s/up,per:=", place),
                            text("%s/work", place)};
    const char *const directories[] = {layers.lower, layers.lowest, layers.upper, layers.work};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(mkdir(directories[i], 0755), 0);
    }
    write_file(text("%s/both", layers.lower), "upper one\n", 10, 0644);
    write_file(text("%s/both", layers.lowest), "lower one\n", 10, 0644);
    write_file(text("%s/only", layers.lowest), "deep\n", 5, 0644);
    return layers;
}

static void overlay_is_written_to_its_upper_directory(void **state)
{
    (void)state;
    struct layers layers = make_layers();
    const char *lower[] = {layers.lower, layers.lowest, NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_ok(sbx_add_overlay(runner, lower, layers.upper, layers.work, "/data", SBX_MOUNT_WRITABLE, &error), &error);
        expect(runner, NULL, "/inside/files", "fstype /data", "ok 794c7630", "read /data/both", "ok upper one", "read /data/only",
               i == 0 ? "ok deep" : "ok changed", "write /data/only changed", "ok", text("create /data/new%zu", i), "ok", "flags /data",
               "ok rw nosuid nodev", NULL);
        sbx_runner_free(runner);
        assert_int_equal(access(text("%s/new%zu", layers.upper, i), F_OK), 0);
        assert_int_equal(access(text("%s/new%zu", layers.lower, i), F_OK), -1);
    }
    struct stat only;
    assert_int_equal(stat(text("%s/only", layers.lowest), &only), 0);
    assert_int_equal(only.st_size, 5);
    rmdir(text("%s/work", layers.work)); /* overlayfs leaves it with mode 0 */
}

static void overlay_without_an_upper_directory_is_read_only(void **state)
{
    (void)state;
    struct layers layers = make_layers();
    const char *two[] = {layers.lower, layers.lowest, NULL}, *one[] = {layers.lower, NULL};
    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(sbx_add_overlay(runner, one, NULL, NULL, "/data", 0, NULL), -EINVAL);
    assert_int_equal(sbx_add_overlay(runner, two, NULL, NULL, "/data", 0, NULL), 0);
    /* Read-only it stays even with a directory to write to, unless asked otherwise. */
    assert_int_equal(sbx_add_overlay(runner, one, layers.upper, layers.work, "/ro", 0, NULL), 0);
    expect(runner, NULL, "/inside/files", "read /data/both", "ok upper one", "read /data/only", "ok deep", "create /data/new", "EROFS",
           "flags /data", "ok ro nosuid nodev", "create /ro/new", "EROFS", NULL);
    sbx_runner_free(runner);
    rmdir(text("%s/work", layers.work));
}

/* The kernel mounts it read-only where it cannot prepare the work directory, and calls that a success. */
static void writable_overlay_without_a_work_directory(void *layers_of_root)
{
    const struct layers *layers = layers_of_root;
    const char *lower[] = {layers->lower, NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        const char *argv[] = {"/inside/files", "create /data/new", NULL};
        sbx_runner *runner = rooted_sandbox(0);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_overlay(runner, lower, layers->upper, layers->work, "/data", SBX_MOUNT_WRITABLE, NULL), 0);
        expect_refusal(runner, NULL, "mount", EROFS);
        sbx_runner_free(runner);
    }
}

static void a_writable_overlay_is_writable_or_refused(void **state)
{
    (void)state;
    need_root();
    need_userns();
    struct layers layers = make_layers(); /* root's: the user who starts may not write into work */
    assert_int_equal(chmod(layers.upper, 0777), 0);
    in_unprivileged_host(writable_overlay_without_a_work_directory, &layers);
}

static void a_missing_layer_is_named(void **state)
{
    (void)state;
    struct layers layers = make_layers();
    const char *lower[] = {layers.lower, text("%s/missing", layers.lower), NULL};
    const char *argv[] = {"/inside/files", NULL};
    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    assert_int_equal(sbx_add_overlay(runner, lower, NULL, NULL, "/data", 0, NULL), 0);
    assert_int_equal(expect_refusal(runner, NULL, "mount", ENOENT)->index, 1);
    sbx_runner_free(runner);
}

static void mount_as_it_is(void **state)
{
    (void)state;
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_ok(sbx_add_mount(runner, "none", "/t", "tmpfs", MS_NOEXEC | MS_NOSUID, "size=65536,mode=0750", 0, &error), &error);
        assert_ok(sbx_add_mount(runner, box, "/box", NULL, MS_BIND | MS_RDONLY, NULL, 0, &error), &error);
        assert_ok(sbx_add_mount(runner, box, "/rw", NULL, MS_BIND | MS_REC, NULL, 0, &error), &error);
        expect(runner, NULL, "/inside/files", "flags /t", "ok rw nosuid noexec", "capacity /t", "ok 65536 *", "stat /t",
               "ok dir 0750 0 0 *", "read /box/note", "ok hello", "flags /box", "ok ro", "flags /rw", "ok rw", NULL);
        sbx_runner_free(runner);
    }
}

static void what_mount_refuses_is_named_or_skipped(void **state)
{
    (void)state;
    const char *argv[] = {"/inside/files", "list /", NULL};
    for (int optional = 0; optional < 2; optional++) {
        sbx_runner *runner = rooted_sandbox(0);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/first", 0755, 0, NULL), 0);
        assert_int_equal(
            sbx_add_mount(runner, "none", "/bad", "nosuchfs", 0, NULL, optional ? SBX_MOUNT_OPTIONAL : 0, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/last", 0755, 0, NULL), 0);
        if (optional) {
            const struct outcome *outcome = run_ok(runner, 0);
            assert_int_equal(outcome->unenforced, SBX_UNENFORCED_MOUNT);
            assert_non_null(strstr(outcome->output, "first"));
            assert_non_null(strstr(outcome->output, "last"));
        } else {
            assert_int_equal(expect_refusal(runner, NULL, "mount", ENODEV)->index, 2);
        }
        sbx_runner_free(runner);
    }
}

/* Mounts without a new root change what the program sees of the host's, and nothing else. */
static void without_a_new_root(void **state)
{
    (void)state;
    char cwd[4096];
    assert_non_null(getcwd(cwd, sizeof cwd));
    const char *place = make_scratch();
    write_file(text("%s/secret", place), "secret\n", 7, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sandbox(SBX_NS_MNT);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("files"), text("list %s", place), "ok secret", NULL); /* control */
        assert_int_equal(sbx_add_tmpfs(runner, place, 0, 0, 0755, 0, NULL), 0);
        expect(runner, NULL, inside("files"), text("list %s", place), "ok", "cwd", text("ok %s", cwd), NULL);
        sbx_runner_free(runner);
    }
    assert_int_equal(access(text("%s/secret", place), F_OK), 0);
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(tmpfs_has_its_limits),
        host_test(device_files_on_a_tmpfs_only_when_asked),
        host_test(proc_shows_the_sandbox_only),
        host_test(proc_may_be_writable),
        host_test(hidepid_hides_other_users_processes),
        host_test(dev_has_the_harmless_devices),
        host_test(the_hosts_devices_cannot_be_changed),
        host_test(dev_has_terminals_on_request),
        host_test(overlay_is_written_to_its_upper_directory),
        host_test(overlay_without_an_upper_directory_is_read_only),
        host_test(a_writable_overlay_is_writable_or_refused),
        host_test(a_missing_layer_is_named),
        host_test(mount_as_it_is),
        host_test(what_mount_refuses_is_named_or_skipped),
        host_test(without_a_new_root),
    };
    return cmocka_run_group_tests_name("mounts", tests, NULL, NULL);
}
