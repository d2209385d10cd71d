/* The working directory: looked up inside the new root, entered after the root change, and never outside of it. */
#include "support_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void set_workdir(sbx_runner *runner, const char *path)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_workdir(runner, path, &error), &error);
}

/* A tree with the programs, a directory, and links that stay inside and that lead out. */
static const char *make_rootfs(void)
{
    const char *root = make_scratch();
    assert_int_equal(mkdir(text("%s/inside", root), 0755), 0);
    copy_file(inside("files"), text("%s/inside/files", root), 0755);
    assert_int_equal(mkdir(text("%s/proc", root), 0755), 0);
    assert_int_equal(mkdir(text("%s/home", root), 0755), 0);
    assert_int_equal(mkdir(text("%s/home/box", root), 0755), 0);
    write_file(text("%s/home/file", root), "x", 1, 0644);
    assert_int_equal(symlink("home/box", text("%s/relative", root)), 0);
    assert_int_equal(symlink("/home/box", text("%s/absolute", root)), 0);
    /* Outside, /tmp and the tree's own place exist; inside they do not. */
    assert_int_equal(symlink("/tmp", text("%s/out", root)), 0);
    assert_int_equal(symlink("../../../../../../../../tmp", text("%s/home/out", root)), 0);
    assert_int_equal(symlink(root, text("%s/home/back", root)), 0);
    return root;
}

static void without_a_new_root_it_is_a_path_of_the_host(void **state)
{
    (void)state;
    char cwd[4096];
    assert_non_null(getcwd(cwd, sizeof cwd));
    const char *place = make_scratch();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("files"), "cwd", text("ok %s", cwd), NULL);
        set_workdir(runner, place);
        expect(runner, NULL, inside("files"), "cwd", text("ok %s", place), NULL);
        set_workdir(runner, NULL);
        expect(runner, NULL, inside("files"), "cwd", text("ok %s", cwd), NULL);
        sbx_runner_free(runner);
    }
}

static void with_a_new_root_it_is_a_path_inside(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    static const char *const paths[][2] = {
        {NULL, "ok /"}, {"/", "ok /"}, {"/home/box", "ok /home/box"}, {"/relative", "ok /home/box"}, {"/absolute", "ok /home/box"},
    };
    for (size_t i = 0; i < SHAPES; i++) {
        for (int kind = 0; kind < 2; kind++) {
            sbx_runner *runner = sandbox(kind ? SBX_NS_MNT : 0);
            assert_int_equal(kind ? sbx_set_pivot_root(runner, root, 0, NULL) : sbx_set_chroot(runner, root, NULL), 0);
            set_shape(runner, shapes[i]);
            for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
                set_workdir(runner, paths[k][0]);
                expect(runner, NULL, "/inside/files", "cwd", paths[k][1], NULL);
            }
            sbx_runner_free(runner);
        }
    }
}

static void it_may_be_what_was_put_there(void **state)
{
    (void)state;
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(sbx_add_bind(runner, box, "/home/box", 0, NULL), 0);
    set_workdir(runner, "/home/box");
    expect(runner, NULL, "/inside/files", "cwd", "ok /home/box", "read note", "ok hello", NULL);
    sbx_runner_free(runner);
}

static void what_is_no_directory_is_named(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *argv[] = {"/inside/files", NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sandbox(SBX_NS_MNT);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        assert_int_equal(sbx_set_pivot_root(runner, root, 0, NULL), 0);
        set_shape(runner, shapes[i]);
        set_workdir(runner, "/missing");
        expect_refusal(runner, NULL, "workdir", ENOENT);
        set_workdir(runner, "/home/file");
        expect_refusal(runner, NULL, "workdir", ENOTDIR);
        sbx_runner_free(runner);
    }
}

/* Links that lead out of the root outside lead nowhere inside. */
static void links_do_not_lead_out(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *argv[] = {"/inside/files", NULL};
    static const char *const links[] = {"/out", "/home/out", "/home/back"};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        for (int kind = 0; kind < 2; kind++) {
            sbx_runner *runner = sandbox(kind ? SBX_NS_MNT : 0);
            assert_int_equal(kind ? sbx_set_pivot_root(runner, root, 0, NULL) : sbx_set_chroot(runner, root, NULL), 0);
            assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
            set_workdir(runner, links[i]);
            expect_refusal(runner, NULL, "workdir", ENOENT);
            sbx_runner_free(runner);
        }
        /* Control: without the new root the same link is followed to a directory of the host. */
        assert_int_equal(access(text("%s%s/.", root, links[i]), F_OK), 0);
    }
}

/* A descriptor of a directory of the host, without close-on-exec, as runc left one open in CVE-2024-21626. */
static int plant(int number)
{
    int opened = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(opened >= 0);
    assert_int_equal(dup2(opened, number), number);
    close(opened);
    return number;
}

/* What a container runtime did: change the root, then the directory, then exec. */
static void naive_runtime(void *root)
{
    plant(9);
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount(root, root, NULL, MS_BIND | MS_REC, NULL), 0);
    assert_int_equal(mount("proc", text("%s/proc", (char *)root), "proc", 0, NULL), 0);
    assert_int_equal(chdir(root), 0);
    assert_int_equal(syscall(SYS_pivot_root, ".", "."), 0);
    assert_int_equal(umount2(".", MNT_DETACH), 0);
    assert_int_equal(chdir("/proc/self/fd/9"), 0);
    /* And is outside. */
    assert_int_equal(access("inside/files", F_OK), -1);
    assert_int_equal(access("etc/passwd", F_OK), 0);
}

static void a_planted_descriptor_is_no_way_out(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *argv[] = {"/inside/files", NULL};
    int planted = plant(9);
    static const char *const paths[] = {"/proc/self/fd/9", "/proc/self/fd/9/tmp", "/proc/self/fd/9/../tmp", "/proc/thread-self/fd/9"};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sandbox(SBX_NS_MNT | SBX_NS_PID);
        assert_int_equal(sbx_set_pivot_root(runner, root, 0, NULL), 0);
        assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        if (shapes[i] != SBX_SHAPE_INIT) {
            assert_int_equal(sbx_set_init(runner, false, NULL), 0);
        }
        set_shape(runner, shapes[i]);
        for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
            struct sbx_error error = SBX_ERROR_INIT;
            if (sbx_set_workdir(runner, paths[k], &error) != 0) {
                assert_int_equal(error.err, EINVAL); /* ".." may be refused at once */
                continue;
            }
            const struct outcome *outcome = run(runner, NULL);
            assert_int_not_equal(outcome->started, 0);
            assert_string_equal(sbx_location_name(outcome->error.location), "workdir");
        }
        set_workdir(runner, NULL);
        expect(runner, NULL, "/inside/files", "openat 9 etc/passwd", "EBADF", "fds", "ok 0 1 2", "cwd", "ok /", NULL);
        sbx_runner_free(runner);
    }
    close(planted);
}

static void a_naive_runtime_is_led_out(void **state)
{
    (void)state;
    need_root();
    in_forked_host(naive_runtime, (void *)make_rootfs());
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(without_a_new_root_it_is_a_path_of_the_host),
        host_test(with_a_new_root_it_is_a_path_inside),
        host_test(it_may_be_what_was_put_there),
        host_test(what_is_no_directory_is_named),
        host_test(links_do_not_lead_out),
        host_test(a_planted_descriptor_is_no_way_out),
        host_test(a_naive_runtime_is_led_out),
    };
    return cmocka_run_group_tests_name("workdir", tests, NULL, NULL);
}
