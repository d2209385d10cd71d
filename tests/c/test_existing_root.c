/* An existing tree as the root: what is hidden in it, what is put over it, and that it is the same for the next start. */
#include "support_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* A tree of the host with files to hide and to put others over. */
static const char *make_rootfs(void)
{
    const char *root = make_scratch();
    const char *const directories[] = {"inside", "etc", "etc/secrets", "tmp"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(mkdir(text("%s/%s", root, directories[i]), 0755), 0);
    }
    copy_file(inside("files"), text("%s/inside/files", root), 0755);
    write_file(text("%s/etc/shadow", root), "secret\n", 7, 0644);
    write_file(text("%s/etc/secrets/key", root), "secret\n", 7, 0644);
    return root;
}

static sbx_runner *pivot_into(const char *root)
{
    sbx_runner *runner = sandbox(SBX_NS_MNT);
    assert_int_equal(sbx_set_pivot_root(runner, root, 0, NULL), 0);
    return runner;
}

static void masks_hide_files_and_directories(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = pivot_into(root);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, "/inside/files", "read /etc/shadow", "ok secret", "read /etc/secrets/key", "ok secret", NULL); /* control */
        assert_int_equal(sbx_add_mask(runner, "/etc/shadow", 0, NULL), 0);
        assert_int_equal(sbx_add_mask(runner, "/etc/secrets", 0, NULL), 0);
        const struct outcome *outcome = ask(runner, NULL, "/inside/files", "read /etc/shadow", "list /etc/secrets",
                                            "read /etc/secrets/key", "create /etc/secrets/x", NULL);
        assert_null(strstr(outcome->output, "secret"));
        assert_string_equal(answer(outcome, 1), "ok");
        assert_string_equal(answer(outcome, 2), "ENOENT");
        assert_string_equal(answer(outcome, 3), "EROFS");
        sbx_runner_free(runner);
    }
}

static void a_mask_of_nothing_is_named_or_skipped(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *argv[] = {"/inside/files", NULL};
    for (int optional = 0; optional < 2; optional++) {
        sbx_runner *runner = pivot_into(root);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        assert_int_equal(sbx_add_mask(runner, "/etc/missing", optional ? SBX_MOUNT_OPTIONAL : 0, NULL), 0);
        assert_int_equal(sbx_add_mask(runner, "/etc/shadow", 0, NULL), 0);
        if (optional) {
            const struct outcome *outcome = ask(runner, NULL, "/inside/files", "read /etc/shadow", NULL);
            assert_null(strstr(outcome->output, "secret"));
            assert_int_equal(outcome->unenforced, SBX_UNENFORCED_MOUNT);
        } else {
            assert_int_equal(expect_refusal(runner, NULL, "mount_target", ENOENT)->index, 0);
        }
        sbx_runner_free(runner);
    }
}

/* Each start finds the tree as the first one did, and the host keeps its files. */
static void files_in_an_existing_tree(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = pivot_into(root);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_file(runner, "/etc/shadow", "mine\n", 5, 0600, 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/etc/new", "made\n", 5, 0640, 0, NULL), 0);
        assert_int_equal(sbx_add_tmpfs(runner, "/tmp", 0, 0, 01777, 0, NULL), 0);
        assert_int_equal(sbx_add_file(runner, "/tmp/script", "x", 1, 0755, 0, NULL), 0);
        for (int twice = 0; twice < 2; twice++) {
            expect(runner, NULL, "/inside/files", "read /etc/shadow", "ok mine", "read /etc/new", "ok made", "stat /etc/new",
                   "ok file 0640 0 0 5", "append /etc/shadow x", "EROFS", "append /etc/new x", "EROFS", "stat /tmp/script",
                   "ok file 0755 0 0 1", NULL);
        }
        sbx_runner_free(runner);
    }
    char shadow[16] = "";
    FILE *file = fopen(text("%s/etc/shadow", root), "re");
    assert_non_null(fgets(shadow, sizeof shadow, file));
    fclose(file);
    assert_string_equal(shadow, "secret\n");
    struct stat made;
    if (stat(text("%s/etc/new", root), &made) == 0) {
        assert_int_equal(made.st_size, 0); /* at most a place to mount on */
    }
}

static void a_directory_where_a_file_is(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *argv[] = {"/inside/files", NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = pivot_into(root);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_dir(runner, "/etc/secrets", 0755, 0, NULL), 0); /* is there: as good as made */
        run_ok(runner, 0);
        assert_int_equal(sbx_add_dir(runner, "/etc/shadow", 0755, 0, NULL), 0);
        assert_int_equal(expect_refusal(runner, NULL, "mount_target", ENOTDIR)->index, 1);
        sbx_runner_free(runner);
    }
}

/* A link stays in an existing tree: the next start finds it, and is content with the same text only. */
static void links_in_an_existing_tree(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *const others[] = {"etc/shadowy", "etc/shado", "xtc/shadow", ""};
    const char *argv[] = {"/inside/files", NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = pivot_into(root);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_symlink(runner, "etc/shadow", "/link", 0, NULL), 0);
        expect(runner, NULL, "/inside/files", "link /link", "ok etc/shadow", "read /link", "ok secret", NULL);
        sbx_runner_free(runner);
        for (size_t k = 0; others[k][0] != '\0'; k++) {
            runner = pivot_into(root);
            set_shape(runner, shapes[i]);
            assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
            assert_int_equal(sbx_add_symlink(runner, others[k], "/link", 0, NULL), 0);
            expect_refusal(runner, NULL, "symlink", EEXIST);
            sbx_runner_free(runner);
        }
    }
}

/* ".." in the root stays in the root, for the targets as for the program: whatever is mounted for the time of the setup. */
static void links_with_too_many_dots(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    assert_int_equal(symlink("..", text("%s/up", root)), 0);
    assert_int_equal(symlink("../../etc", text("%s/config", root)), 0);
    for (int with_file = 0; with_file < 2; with_file++) {
        for (size_t i = 0; i < SHAPES; i++) {
            sbx_runner *runner = pivot_into(root);
            set_shape(runner, shapes[i]);
            if (with_file) {
                assert_int_equal(sbx_add_file(runner, "/tmp/first", "x", 1, 0644, 0, NULL), 0);
            }
            assert_int_equal(sbx_add_bind(runner, box, "/up/bound", 0, NULL), 0);
            assert_int_equal(sbx_add_tmpfs(runner, "/up/made", 0, 0, 0755, 0, NULL), 0);
            assert_int_equal(sbx_add_mask(runner, "/config/shadow", 0, NULL), 0);
            if (with_file) {
                assert_int_equal(sbx_add_file(runner, "/config/file", "y", 1, 0644, 0, NULL), 0);
            }
            expect(runner, NULL, "/inside/files", "read /bound/note", "ok hello", "create /made/x", "ok", "read /etc/shadow", "ok",
                   "read /etc/file", with_file ? "ok y" : "ENOENT", NULL);
            sbx_runner_free(runner);
        }
    }
}

/* What the files were made on is not there any more, not even as a mount that no path leads to. */
static void nothing_but_the_entries_is_mounted(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    assert_int_equal(mkdir(text("%s/proc", root), 0755), 0);
    sbx_runner *runner = sandbox(SBX_NS_MNT | SBX_NS_PID);
    assert_int_equal(sbx_set_pivot_root(runner, root, 0, NULL), 0);
    assert_int_equal(sbx_add_file(runner, "/etc/shadow", "mine\n", 5, 0600, 0, NULL), 0);
    assert_int_equal(sbx_add_file(runner, "/etc/new", "made\n", 5, 0640, 0, NULL), 0);
    assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0);
    /* A mount on top of the root is reached by "..", which looks for one where it cannot climb. */
    const struct outcome *outcome = expect(runner, NULL, "/inside/files", "read /proc/self/mountinfo", "ok *", "list /..",
                                           "ok etc inside proc tmp", "list /", "ok etc inside proc tmp", NULL);
    const char *mounts = answer(outcome, 0);
    size_t lines = 1;
    for (const char *c = mounts; *c != '\0'; c++) {
        lines += *c == ';';
    }
    if (lines != 4) { /* the root, two files, /proc */
        fail_msg("%s", mounts);
    }
    sbx_runner_free(runner);
}

static void missing_targets_in_an_existing_tree_are_made(void **state)
{
    (void)state;
    const char *root = make_rootfs();
    const char *box = make_scratch();
    write_file(text("%s/note", box), "hello\n", 6, 0644);
    sbx_runner *runner = pivot_into(root);
    assert_int_equal(sbx_add_bind(runner, box, "/deep/in/there", 0, NULL), 0);
    assert_int_equal(sbx_add_bind(runner, text("%s/note", box), "/deep/note", 0, NULL), 0);
    for (int twice = 0; twice < 2; twice++) {
        expect(runner, NULL, "/inside/files", "read /deep/in/there/note", "ok hello", "read /deep/note", "ok hello", "create /deep/x",
               "EROFS", NULL);
    }
    sbx_runner_free(runner);
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(masks_hide_files_and_directories),
        host_test(a_mask_of_nothing_is_named_or_skipped),
        host_test(files_in_an_existing_tree),
        host_test(a_directory_where_a_file_is),
        host_test(links_in_an_existing_tree),
        host_test(links_with_too_many_dots),
        host_test(nothing_but_the_entries_is_mounted),
        host_test(missing_targets_in_an_existing_tree_are_made),
    };
    return cmocka_run_group_tests_name("existing_root", tests, NULL, NULL);
}
