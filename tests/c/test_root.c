/* The new root: a fresh tmpfs or an existing tree, entered by pivot_root(2) or chroot(2), sealed read-only, with the old
 * root out of reach and the host where it was. */
#include "support_ask.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

#define TMPFS "ok 1021994"

/* A tree to be a root: the programs in /inside, a file, an empty directory. */
static const char *make_rootfs(void)
{
    const char *root = make_scratch();
    assert_int_equal(mkdir(text("%s/inside", root), 0755), 0);
    copy_file(inside("files"), text("%s/inside/files", root), 0755);
    assert_int_equal(mkdir(text("%s/empty", root), 0777), 0);
    assert_int_equal(chmod(text("%s/empty", root), 0777), 0);
    write_file(text("%s/motd", root), "hello\n", 6, 0666);
    return root;
}

static sbx_runner *pivot_into(const char *root, uint32_t flags)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = sandbox(SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, root, flags, &error), &error);
    return runner;
}

static sbx_runner *chroot_into(const char *root, uint64_t namespaces)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = sandbox(namespaces);
    assert_ok(sbx_set_chroot(runner, root, &error), &error);
    return runner;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void a_fresh_root_has_only_what_was_put_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        const struct outcome *outcome = expect(runner, NULL, "/inside/files", "list /", "ok inside", "list /..", "ok inside",
                                               "cwd", "ok /", "fstype /", TMPFS, "flags /", "ok ro*", "create /x", "EROFS", "mkdir /x",
                                               "EROFS", NULL);
        assert_int_equal(outcome->shape, shapes[i]);
        sbx_runner_free(runner);
    }
}

static void a_writable_root_may_be_asked_for(void **state)
{
    (void)state;
    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(sbx_set_pivot_root(runner, NULL, SBX_ROOT_WRITABLE, NULL), 0);
    for (int twice = 0; twice < 2; twice++) { /* each start has a root of its own */
        expect(runner, NULL, "/inside/files", "create /x hello", "ok", "read /x", "ok hello", "mkdir /d", "ok", "list /",
               "ok d inside x", "create /inside/x", "EROFS", NULL);
    }
    sbx_runner_free(runner);
}

static void an_existing_root_is_sealed(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = pivot_into(root, 0);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, "/inside/files", "list /", "ok empty inside motd", "list /..", "ok empty inside motd", "read /motd",
               "ok hello", "cwd", "ok /", "write /motd bye", "EROFS", "create /empty/x", "EROFS", "remove /motd", "EROFS",
               "flags /", "ok ro nosuid nodev", NULL);
        sbx_runner_free(runner);
    }

    sbx_runner *writable = pivot_into(root, SBX_ROOT_WRITABLE);
    expect(writable, NULL, "/inside/files", "write /motd bye", "ok", "create /empty/x", "ok", "flags /",
           "ok rw nosuid nodev", NULL);
    sbx_runner_free(writable);
    assert_true(exists(text("%s/empty/x", root)));
}

/* A read-only remount of the root alone would leave these writable. */
static void what_is_mounted_in_it_is_sealed_too(void **state)
{
    (void)state;
    need_root();
    const char *root = make_rootfs();
    const char *sub = text("%s/empty", root);
    assert_int_equal(mount("tmpfs", sub, "tmpfs", 0, NULL), 0);
    assert_int_equal(mkdir(text("%s/deeper", sub), 0755), 0);
    assert_int_equal(mount("tmpfs", text("%s/deeper", sub), "tmpfs", 0, NULL), 0);
    write_file(text("%s/deeper/note", sub), "seen\n", 5, 0644);

    sbx_runner *sealed = pivot_into(root, 0);
    expect(sealed, NULL, "/inside/files", "read /empty/deeper/note", "ok seen", "create /empty/x", "EROFS",
           "write /empty/deeper/note x", "EROFS", NULL);
    sbx_runner_free(sealed);

    sbx_runner *writable = pivot_into(root, SBX_ROOT_WRITABLE); /* control: only the seal kept it from writing */
    expect(writable, NULL, "/inside/files", "create /empty/x", "ok", "write /empty/deeper/note x", "ok", NULL);
    sbx_runner_free(writable);

    /* And the host may still write there. */
    write_file(text("%s/deeper/note", sub), "mine\n", 5, 0644);
    assert_int_equal(umount2(text("%s/deeper", sub), 0), 0);
    assert_int_equal(umount2(sub, 0), 0);
}

static void chroot_needs_no_mount_namespace(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = chroot_into(root, 0);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, "/inside/files", "list /", "ok empty inside motd", "list /..", "ok empty inside motd", "cwd", "ok /",
               "read /../../motd", "ok hello", NULL);
        sbx_runner_free(runner);
    }
}

static void chroot_with_mounts(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    sbx_runner *runner = chroot_into(root, SBX_NS_MNT);
    assert_int_equal(sbx_add_tmpfs(runner, "/empty", 0, 0, 0755, 0, NULL), 0);
    expect(runner, NULL, "/inside/files", "list /", "ok empty inside motd", "list /..", "ok empty inside motd", "cwd", "ok /",
           "fstype /empty", TMPFS, "create /empty/x", "ok", NULL);
    sbx_runner_free(runner);
    assert_false(exists(text("%s/empty/x", root)));
}

static void chroot_to_a_fresh_root(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = chroot_into(NULL, SBX_NS_MNT);
        assert_int_equal(sbx_add_bind(runner, inside("."), "/inside", 0, NULL), 0);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, "/inside/files", "list /", "ok inside", "list /..", "ok inside", "cwd", "ok /", "fstype /",
               TMPFS, NULL);
        sbx_runner_free(runner);
    }
}

/* The classic way out of a chroot(2): with CAP_SYS_CHROOT, move the root below the working directory and climb. */
static const struct outcome *climb(const sbx_runner *runner)
{
    return ask(runner, NULL, "/inside/files", "chdir /", "chroot /empty", "chdir ../../../../../../../..", "list .", NULL);
}

static void the_old_root_is_out_of_reach(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    sbx_runner *pivoted = pivot_into(root, 0);
    const struct outcome *outcome = climb(pivoted);
    assert_string_equal(answer(outcome, 1), "ok");
    assert_string_equal(answer(outcome, 3), "ok empty inside motd");
    sbx_runner_free(pivoted);

    sbx_runner *chrooted = chroot_into(root, 0); /* control: chroot(2) is no jail for who keeps this capability */
    outcome = climb(chrooted);
    assert_string_equal(answer(outcome, 1), "ok");
    assert_non_null(strstr(answer(outcome, 3), "proc"));
    assert_non_null(strstr(answer(outcome, 3), "tmp"));
    sbx_runner_free(chrooted);
}

/* Not even as a mount that no path leads to. */
static void no_mount_of_the_host_is_left(void **state)
{
    (void)state;
    sbx_runner *runner = rooted_sandbox(SBX_NS_PID);
    assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0);
    const struct outcome *outcome = ask(runner, NULL, "/inside/files", "read /proc/self/mountinfo", NULL);
    const char *mounts = answer(outcome, 0);
    size_t lines = 1;
    for (const char *c = mounts; *c != '\0'; c++) {
        lines += *c == ';';
    }
    if (lines != 3 || strstr(mounts, " / / ") == NULL || strstr(mounts, " /inside ") == NULL || strstr(mounts, " /proc ") == NULL) {
        fail_msg("not just the root, /inside and /proc: %s", mounts);
    }
    sbx_runner_free(runner);
}

static char *host_mounts(void)
{
    char *mounts = test_calloc(1, 65536);
    FILE *file = fopen("/proc/self/mountinfo", "re");
    assert_non_null(file);
    size_t length = fread(mounts, 1, 65535, file);
    assert_in_range(length, 1, 65534);
    fclose(file);
    return mounts;
}

/* A shared mount of the host hands on what is mounted below it, unless the sandbox made itself private first. */
static void mounts_do_not_spread_to_the_host(void **state)
{
    (void)state;
    need_root();
    const char *shared = make_scratch();
    assert_int_equal(mount("tmpfs", shared, "tmpfs", 0, "mode=0777"), 0);
    assert_int_equal(mount(NULL, shared, NULL, MS_SHARED, NULL), 0);
    assert_int_equal(mkdir(text("%s/point", shared), 0777), 0);
    char *before = host_mounts();

    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_bind(runner, shared, "/shared", SBX_MOUNT_WRITABLE, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/shared/point", 0, 0, 0755, 0, NULL), 0);
        int output;
        sbx_process *process =
            start_asking(runner, NULL, &output, "/inside/files", "create /shared/point/x", "sleep 1000", NULL);
        assert_string_equal(next_line(output), "ok");
        char *during = host_mounts();
        assert_string_equal(during, before);
        assert_false(exists(text("%s/point/x", shared)));
        test_free(during);
        close(output);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
    test_free(before);
    assert_int_equal(umount2(shared, 0), 0);
}

static void host_in_a_container(void *argument)
{
    const char *place = argument;
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("/", place, NULL, MS_BIND | MS_REC, NULL), 0);
    assert_int_equal(chdir(place), 0);
    assert_int_equal(syscall(SYS_pivot_root, ".", "."), 0);
    assert_int_equal(umount2(".", MNT_DETACH), 0);
    assert_int_equal(chdir("/"), 0);

    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(SBX_NS_IPC);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, "/inside/files", "list /", "ok inside", "list /..", "ok inside", "create /x", "EROFS", NULL);
        sbx_runner_free(runner);
    }
}

static void a_host_that_pivoted_itself(void **state)
{
    (void)state;
    need_root();
    in_forked_host(host_in_a_container, (void *)make_scratch());
}

/* Something lies on the host's own root, unseen by the host: it must not be taken for the old root, which has to go. A
 * start may be refused here, at its pivot_root; it may not leave the old root in reach. */
static void host_with_a_covered_root(void *unused)
{
    (void)unused;
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("none", "/", "tmpfs", 0, NULL), 0);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(SBX_NS_PID);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0);
        const char *argv[] = {"/inside/files", "list /", "list /..", NULL};
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        const struct outcome *outcome = run(runner, NULL);
        if (outcome->started == 0) {
            assert_string_equal(outcome->output, "ok inside proc\nok inside proc\n");
        } else {
            assert_string_equal(sbx_location_name(outcome->error.location), "pivot_root");
        }
        sbx_runner_free(runner);
    }
}

static void a_host_whose_root_is_covered(void **state)
{
    (void)state;
    need_root();
    in_forked_host(host_with_a_covered_root, NULL);
}

/* No /proc, and a root that is not a mount point: nothing can be mounted privately there, and pivot_root(2) cannot work;
 * chroot(2) can. */
static void host_in_a_chroot(void *argument)
{
    assert_int_equal(chroot(argument), 0);
    assert_int_equal(chdir("/"), 0);
    const char *argv[] = {"/inside/files", NULL};

    sbx_runner *pivoted = pivot_into("/", 0);
    assert_int_equal(sbx_set_args(pivoted, argv, NULL), 0);
    expect_refusal(pivoted, NULL, "mount_private", EINVAL);
    sbx_runner_free(pivoted);

    sbx_runner *chrooted = chroot_into("/below", 0);
    for (size_t i = 0; i < SHAPES; i++) {
        set_shape(chrooted, shapes[i]);
        expect(chrooted, NULL, "/inside/files", "list /", "ok inside", "cwd", "ok /", NULL);
    }
    sbx_runner_free(chrooted);
}

static void a_host_in_a_chroot(void **state)
{
    (void)state;
    need_root();
    const char *root = make_rootfs();
    assert_int_equal(mkdir(text("%s/dev", root), 0755), 0);
    assert_int_equal(mknod(text("%s/dev/null", root), S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(chmod(text("%s/dev/null", root), 0666), 0);
    assert_int_equal(mkdir(text("%s/below", root), 0755), 0);
    assert_int_equal(mkdir(text("%s/below/inside", root), 0755), 0);
    copy_file(inside("files"), text("%s/below/inside/files", root), 0755);
    in_forked_host(host_in_a_chroot, (void *)root);
}

/* The host's own root, as a view that cannot be changed. */
static void the_hosts_root_may_be_the_root(void **state)
{
    (void)state;
    const char *place = make_scratch();
    assert_int_equal(chmod(place, 0777), 0);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = pivot_into("/", 0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_tmpfs(runner, place, 0, 0, 0777, 0, NULL), 0);
        expect(runner, NULL, inside("files"), "create /etc/sbx-test", "EROFS", "create /../etc/sbx-test", "EROFS",
               text("create %s/x", place), "ok", text("list /..%s", place), "ok x", NULL);
        sbx_runner_free(runner);
    }
    assert_false(exists(text("%s/x", place)));
}

static void a_root_that_is_not_there_is_named(void **state)
{
    (void)state;
    const char *place = make_scratch();
    write_file(text("%s/file", place), "", 0, 0644);
    const struct {
        const char *path;
        int number;
    } cases[] = {{text("%s/missing", place), ENOENT}, {text("%s/file", place), EINVAL}};
    const char *argv[] = {"/inside/files", NULL};
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = pivot_into(cases[i].path, 0);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        for (size_t k = 0; k < SHAPES; k++) {
            set_shape(runner, shapes[k]);
            expect_refusal(runner, NULL, "root", cases[i].number);
        }
        sbx_runner_free(runner);
    }
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(a_fresh_root_has_only_what_was_put_there),
        host_test(a_writable_root_may_be_asked_for),
        host_test(an_existing_root_is_sealed),
        host_test(what_is_mounted_in_it_is_sealed_too),
        host_test(chroot_needs_no_mount_namespace),
        host_test(chroot_with_mounts),
        host_test(chroot_to_a_fresh_root),
        host_test(the_old_root_is_out_of_reach),
        host_test(no_mount_of_the_host_is_left),
        host_test(mounts_do_not_spread_to_the_host),
        host_test(a_host_that_pivoted_itself),
        host_test(a_host_whose_root_is_covered),
        host_test(a_host_in_a_chroot),
        host_test(the_hosts_root_may_be_the_root),
        host_test(a_root_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("root", tests, NULL, NULL);
}
