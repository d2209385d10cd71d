/* What else is put into a root: links, files, directories; their modes, their owners and their order. */
#include "support_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void modes_are_the_callers_not_the_umasks(void **state)
{
    (void)state;
    mode_t old = umask(077);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_file(runner, "/etc/passwd", "root:x:0\n", 9, 0644, 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/etc/script", "#!x", 3, 0755, 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/a/b/c/secret", "s", 1, 0400, 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/empty", NULL, 0, 0666, 0, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/tmp", 01777, 0, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/var/private", 0700, 0, NULL), 0);
        assert_int_equal(sbx_add_symlink(runner, "usr/bin", "/bin", 0, NULL), 0);
        assert_int_equal(sbx_add_symlink(runner, "/nowhere", "/etc/dangling", 0, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/x/y/z", 0, 0, 0755, 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "read /etc/passwd", "ok root:x:0", "stat /etc/passwd", "ok file 0644 0 0 9",
               "stat /etc/script", "ok file 0755 0 0 3", "stat /a/b/c/secret", "ok file 0400 0 0 1", "stat /empty", "ok file 0666 0 0 0",
               "stat /tmp", "ok dir 1777 0 0 *", "stat /var/private", "ok dir 0700 0 0 *", "link /bin", "ok usr/bin",
               "link /etc/dangling", "ok /nowhere", "read /etc/dangling", "ENOENT", "stat /etc", "ok dir 0755 0 0 *", "stat /a/b",
               "ok dir 0755 0 0 *", "stat /x/y", "ok dir 0755 0 0 *", "append /etc/passwd x", "EROFS", "create /tmp/x", "EROFS", NULL);
        sbx_runner_free(runner);
    }
    umask(old);
}

/* mkdir(2) and write(2) take them away without a word: refused rather than ignored. */
static void modes_without_setuid_and_setgid(void **state)
{
    (void)state;
    static const uint32_t modes[] = {04755, 02755, 06000, 010000};
    sbx_runner *runner = rooted_sandbox(0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        assert_error(sbx_add_dir(runner, "/dir", modes[i], 0, &error), EINVAL, &error);
        assert_error(sbx_add_file(runner, "/file", "x", 1, modes[i], 0, &error), EINVAL, &error);
    }
    expect(runner, NULL, "/inside/files", "list /", "ok inside", NULL);
    sbx_runner_free(runner);
}

static void the_programs_umask_is_the_hosts_again(void **state)
{
    (void)state;
    mode_t old = umask(027);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_tmpfs(runner, "/tmp", 0, 0, 0777, 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "create /tmp/x", "ok", "stat /tmp/x", "ok file 0640 *", NULL);
        sbx_runner_free(runner);
    }
    umask(old);
}

static void a_large_file(void **state)
{
    (void)state;
    enum { SIZE = 5000000 };
    char *data = test_malloc(SIZE);
    memset(data, 'x', SIZE);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_file(runner, "/large", data, SIZE, 0644, 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "stat /large", text("ok file 0644 0 0 %d", SIZE), NULL);
        sbx_runner_free(runner);
    }
    test_free(data);
}

/* Who is root outside may be nobody inside: a file system made in a user namespace takes only ids that are mapped there. */
static void in_a_user_namespace_without_the_hosts_user(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const char *files = reachable_inside("files");
    const char *closed = make_scratch();
    write_file(text("%s/note", closed), "hello\n", 6, 0644);
    assert_int_equal(chmod(closed, 0700), 0); /* a place that only root may enter, as source of a bind */
    for (uint32_t first = 0; first <= 1000; first += 1000) {
        for (size_t i = 0; i < SHAPES; i++) {
            sbx_runner *runner = sbx_runner_new();
            assert_int_equal(sbx_set_namespaces(runner, SBX_NS_USER | SBX_NS_MNT | SBX_NS_PID, NULL), 0);
            assert_int_equal(sbx_add_uid_map(runner, first, 100000, 1, NULL), 0);
            assert_int_equal(sbx_add_gid_map(runner, first, 100000, 1, NULL), 0);
            assert_int_equal(sbx_set_credential(runner, first, first, NULL, 0, NULL), 0);
            assert_int_equal(sbx_set_init(runner, shapes[i] == SBX_SHAPE_INIT, NULL), 0);
            set_shape(runner, shapes[i]);
            assert_int_equal(sbx_set_pivot_root(runner, NULL, 0, NULL), 0);
            assert_int_equal(sbx_add_bind(runner, files, "/inside/files", 0, NULL), 0);
            assert_int_equal(sbx_add_bind(runner, text("%s/note", closed), "/home/note", 0, NULL), 0);
            assert_int_equal(sbx_add_file(runner, "/etc/passwd", "x", 1, 0600, 0, NULL), 0);
            assert_int_equal(sbx_add_symlink(runner, "etc", "/link", 0, NULL), 0);
            assert_int_equal(sbx_add_tmpfs(runner, "/tmp", 0, 0, 0700, 0, NULL), 0);
            assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0);
            assert_int_equal(sbx_add_dev(runner, "/dev", SBX_MOUNT_DEVPTS, NULL), 0);
            const struct outcome *outcome = expect(
                runner, NULL, "/inside/files", "read /home/note", "ok hello", "read /link/passwd", "ok x", "stat /etc/passwd",
                text("ok file 0600 %u %u 1", first, first), "create /tmp/x", "ok", "stat /tmp/x", text("ok file * %u %u 0", first, first),
                "device /dev/null", "ok read 0 write 64", "pty", "ok /dev/pts/0", NULL);
            assert_int_equal(outcome->unenforced, 0);
            sbx_runner_free(runner);
        }
    }
}

/* Entries are put there in the order in which they were added: later ones into what earlier ones mounted. */
static void entries_nest_in_their_order(void **state)
{
    (void)state;
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_tmpfs(runner, "/home", 0, 0, 0755, 0, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/home/user/deep", 0755, 0, NULL), 0);
        assert_int_equal(sbx_add_bind(runner, box, "/home/user/box", 0, NULL), 0);
        assert_int_equal(sbx_add_bind(runner, text("%s/note", box), "/home/user/deep/note", 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/home/user/profile", "x", 1, 0644, 0, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/home/user/deep/tmp", 0, 0, 0755, 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "list /home/user", "ok box deep profile", "read /home/user/box/note", "ok hello",
               "list /home/user/deep", "ok note tmp", "read /home/user/deep/note", "ok hello", "create /home/x", "ok",
               "create /home/user/deep/tmp/x", "ok", "create /home/user/box/x", "EROFS", NULL);
        sbx_runner_free(runner);
    }
}

/* A link that the caller put there is followed inside, whatever its text leads to outside. */
static void targets_beneath_own_links(void **state)
{
    (void)state;
    const char *victim = make_scratch();
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_dir(runner, victim, 0755, 0, NULL), 0);
        assert_int_equal(sbx_add_symlink(runner, victim, "/link", 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/link/file", "x", 1, 0644, 0, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/link/dir/deep", 0755, 0, NULL), 0);
        assert_int_equal(sbx_add_bind(runner, box, "/link/box", 0, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/link/tmp", 0, 0, 0755, 0, NULL), 0);
        assert_int_equal(sbx_add_symlink(runner, "there", "/link/sym", 0, NULL), 0);
        expect(runner, NULL, "/inside/files", text("list %s", victim), "ok box dir file sym tmp", "read /link/box/note", "ok hello",
               "create /link/tmp/x", "ok", NULL);
        sbx_runner_free(runner);
        assert_int_equal(rmdir(victim), 0); /* it was and is empty */
        assert_int_equal(mkdir(victim, 0755), 0);
    }
}

/* An entry of its own directory, which nobody else may need. */
static void an_optional_file_makes_its_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_file(runner, "/a/b/c", "x", 1, 0644, SBX_MOUNT_OPTIONAL, NULL), 0);
        assert_int_equal(sbx_add_symlink(runner, "b/c", "/a/link", SBX_MOUNT_OPTIONAL, NULL), 0);
        assert_int_equal(sbx_add_dir(runner, "/d/e", 0700, SBX_MOUNT_OPTIONAL, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/a/d", "y", 1, 0644, 0, NULL), 0);
        const struct outcome *outcome = expect(runner, NULL, "/inside/files", "read /a/b/c", "ok x", "read /a/link", "ok x", "stat /d/e",
                                               "ok dir 0700 0 0 *", "read /a/d", "ok y", NULL);
        assert_int_equal(outcome->unenforced, 0);
        sbx_runner_free(runner);
    }
}

/* A directory of the host keeps its files, whatever is put over them inside. */
static void files_beneath_other_entries(void **state)
{
    (void)state;
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_bind(runner, box, "/ro", 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/ro/note", "other\n", 6, 0600, 0, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/maybe", 0, 0, 0755, SBX_MOUNT_OPTIONAL, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/maybe/file", "x", 1, 0644, 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "read /ro/note", "ok other", "stat /ro/note", "ok file 0600 0 0 6", "append /ro/note x",
               "EROFS", "read /maybe/file", "ok x", NULL);

        /* What cannot be made is an error, with its place in the list. */
        const char *argv[] = {"/inside/files", NULL};
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/ro/missing", "x", 1, 0644, 0, NULL), 0);
        assert_int_equal(expect_refusal(runner, NULL, "mount_target", EROFS)->index, 5);
        sbx_runner_free(runner);
    }
    struct stat note;
    assert_int_equal(stat(text("%s/note", box), &note), 0);
    assert_int_equal(note.st_mode & 07777, 0644);
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(modes_are_the_callers_not_the_umasks),
        host_test(modes_without_setuid_and_setgid),
        host_test(the_programs_umask_is_the_hosts_again),
        host_test(a_large_file),
        host_test(in_a_user_namespace_without_the_hosts_user),
        host_test(entries_nest_in_their_order),
        host_test(targets_beneath_own_links),
        host_test(an_optional_file_makes_its_directory),
        host_test(files_beneath_other_entries),
    };
    return cmocka_run_group_tests_name("root_entries", tests, NULL, NULL);
}
