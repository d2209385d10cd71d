/* Binds: files and directories of the host, by path or by descriptor; read-only with everything mounted below them unless
 * asked otherwise, and never with fewer restrictions than they have outside. */
#include "support_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void add_bind(sbx_runner *runner, const char *source, const char *target, uint32_t flags)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_bind(runner, source, target, flags, &error), &error);
}

/* A directory with a file and a program that everybody may read, write and execute. */
static const char *make_box(void)
{
    const char *box = make_scratch();
    assert_int_equal(chmod(box, 0777), 0);
    write_file(text("%s/note", box), "hello\n", 6, 0666);
    copy_file(inside("exit0"), text("%s/exit0", box), 0777);
    return box;
}

static void read_only_unless_asked(void **state)
{
    (void)state;
    const char *box = make_box();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        add_bind(runner, box, "/ro", 0);
        add_bind(runner, box, "/rw", SBX_MOUNT_WRITABLE);
        add_bind(runner, text("%s/note", box), "/etc/ro", 0);
        add_bind(runner, text("%s/note", box), "/etc/rw", SBX_MOUNT_WRITABLE);
        expect(runner, NULL, "/inside/files", "read /ro/note", "ok hello", "append /ro/note x", "EROFS", "create /ro/new", "EROFS",
               "remove /ro/note", "EROFS", "flags /ro", "ok ro nosuid nodev", "read /etc/ro", "ok hello", "append /etc/ro x",
               "EROFS", "create /rw/new hi", "ok", "remove /rw/new", "ok", "flags /rw", "ok rw nosuid nodev", "append /etc/rw x",
               "ok", "read /ro/note", "ok hello*x", "write /rw/note hello", "ok", NULL);
        sbx_runner_free(runner);
    }
    /* What was written inside is the host's file. */
    char note[16] = "";
    int fd = open(text("%s/note", box), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, note, sizeof note), 5);
    close(fd);
    assert_string_equal(note, "hello");
}

static void programs_run_unless_forbidden(void **state)
{
    (void)state;
    const char *box = make_box();
    sbx_runner *runner = rooted_sandbox(0);
    add_bind(runner, box, "/exec", 0);
    add_bind(runner, box, "/noexec", SBX_MOUNT_NOEXEC);
    expect(runner, NULL, "/inside/files", "run /exec/exit0", "ok exit 0", "flags /noexec", "ok ro nosuid nodev noexec", NULL);
    const struct outcome *outcome = ask(runner, NULL, "/inside/files", "run /noexec/exit0", NULL);
    assert_string_equal(answer(outcome, 0), "EACCES");
    sbx_runner_free(runner);
}

static void setuid_bits_and_devices_only_when_asked(void **state)
{
    (void)state;
    need_root();
    const char *box = make_box();
    sbx_runner *runner = rooted_sandbox(0);
    add_bind(runner, box, "/plain", 0);
    add_bind(runner, box, "/both", SBX_MOUNT_SUID | SBX_MOUNT_DEV);
    add_bind(runner, "/dev/null", "/null", SBX_MOUNT_WRITABLE);
    add_bind(runner, "/dev/null", "/device", SBX_MOUNT_WRITABLE | SBX_MOUNT_DEV);
    expect(runner, NULL, "/inside/files", "flags /plain", "ok ro nosuid nodev", "flags /both", "ok ro", "device /null", "EACCES",
           "device /device", "ok read 0 write 64", NULL);
    sbx_runner_free(runner);
}

/* A source that is nosuid, nodev and noexec outside. */
static const char *make_restricted(void)
{
    const char *place = make_scratch();
    assert_int_equal(mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0777"), 0);
    copy_file(inside("exit0"), text("%s/exit0", place), 0777);
    return place;
}

/* The flags that permit more are about our own restrictions; the host's stay. */
static void bind_restricted(void *place)
{
    sbx_runner *runner = rooted_sandbox(0);
    add_bind(runner, place, "/plain", 0);
    add_bind(runner, place, "/rw", SBX_MOUNT_WRITABLE);
    add_bind(runner, place, "/all", SBX_MOUNT_WRITABLE | SBX_MOUNT_SUID | SBX_MOUNT_DEV);
    expect(runner, NULL, "/inside/files", "flags /plain", "ok ro nosuid nodev noexec", "flags /rw", "ok rw nosuid nodev noexec",
           "flags /all", "ok rw nosuid nodev noexec", "run /all/exit0", "EACCES", NULL);
    sbx_runner_free(runner);
}

static void restrictions_of_the_source_are_kept(void **state)
{
    (void)state;
    need_root();
    const char *place = make_restricted();
    bind_restricted((void *)place);
    in_unprivileged_host(bind_restricted, (void *)place); /* where the kernel has locked them */
    assert_int_equal(umount2(place, 0), 0);
}

/* The remount that everybody writes first makes only the topmost mount read-only. */
static void submounts_are_read_only_too(void **state)
{
    (void)state;
    need_root();
    const char *box = make_box();
    assert_int_equal(mkdir(text("%s/sub", box), 0777), 0);
    assert_int_equal(mount("tmpfs", text("%s/sub", box), "tmpfs", 0, "mode=0777"), 0);
    write_file(text("%s/sub/note", box), "deep\n", 5, 0666);

    sbx_runner *runner = rooted_sandbox(0);
    add_bind(runner, box, "/ro", 0);
    add_bind(runner, box, "/rw", SBX_MOUNT_WRITABLE); /* control: nothing else keeps it from writing */
    add_bind(runner, box, "/alone", SBX_MOUNT_NONRECURSIVE);
    expect(runner, NULL, "/inside/files", "read /ro/sub/note", "ok deep", "create /ro/sub/x", "EROFS", "append /ro/sub/note x", "EROFS",
           "flags /ro/sub", "ok ro nosuid nodev", "create /rw/sub/x", "ok", "flags /rw/sub", "ok rw nosuid nodev", "list /alone/sub",
           "ok", "list /ro/sub", "ok note x", NULL);
    sbx_runner_free(runner);

    /* And the host's own mounts have not changed. */
    write_file(text("%s/sub/note", box), "mine\n", 5, 0666);
    assert_int_equal(umount2(text("%s/sub", box), 0), 0);
}

static void a_missing_source_is_named(void **state)
{
    (void)state;
    const char *box = make_box();
    const char *argv[] = {"/inside/files", NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        set_shape(runner, shapes[i]);
        add_bind(runner, box, "/box", 0);
        add_bind(runner, text("%s/missing", box), "/missing", 0);
        const struct sbx_error *error = expect_refusal(runner, NULL, "mount_source", ENOENT);
        assert_int_equal(error->index, 2); /* /inside is the first */
        assert_int_equal(error->blame, SBX_BLAME_CALLER);
        sbx_runner_free(runner);
    }
}

static void an_optional_source_may_be_missing(void **state)
{
    (void)state;
    const char *box = make_box();
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        add_bind(runner, box, "/usr/lib/there", SBX_MOUNT_OPTIONAL);
        assert_int_equal(expect(runner, NULL, "/inside/files", "read /usr/lib/there/note", "ok hello", NULL)->unenforced, 0);

        add_bind(runner, text("%s/missing", box), "/opt/lib/a", SBX_MOUNT_OPTIONAL);
        add_bind(runner, box, "/opt/lib/b", 0); /* its directories are made for it, not for the one that was skipped */
        const struct outcome *outcome = expect(runner, NULL, "/inside/files", "list /opt/lib/b", "ok exit0 note", "read /opt/lib/a/note",
                                               "ENOENT", NULL);
        assert_int_equal(outcome->unenforced, SBX_UNENFORCED_MOUNT);
        sbx_runner_free(runner);
    }
}

/* A file never covers a directory, nor the other way round. */
static void a_target_of_the_wrong_kind_is_named(void **state)
{
    (void)state;
    const char *box = make_box();
    assert_int_equal(mkdir(text("%s/sub", box), 0755), 0);
    const char *argv[] = {"/inside/files", NULL};
    const char *const cases[][2] = {{text("%s/note", box), "/box/sub"}, {box, "/box/note"}};
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        add_bind(runner, box, "/box", 0);
        add_bind(runner, cases[i][0], cases[i][1], 0);
        assert_int_equal(expect_refusal(runner, NULL, "mount", EINVAL)->index, 2);
        sbx_runner_free(runner);
    }
}

static void by_descriptor_for_one_start(void **state)
{
    (void)state;
    const char *box = make_box();
    const int fds[] = {open(box, O_RDONLY | O_DIRECTORY | O_CLOEXEC), open(box, O_PATH | O_CLOEXEC),
                       open(text("%s/note", box), O_RDONLY | O_CLOEXEC)};
    const struct sbx_launch_bind binds[] = {{.fd = fds[0], .target = "/box"},
                                            {.fd = fds[1], .target = "/home/rw", .flags = SBX_MOUNT_WRITABLE},
                                            {.fd = fds[2], .target = "/etc/note", .flags = SBX_MOUNT_NOEXEC}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.binds = binds;
    launch.n_binds = 3;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        for (int twice = 0; twice < 2; twice++) {
            expect(runner, &launch, "/inside/files", "list /", "ok box etc home inside", "read /box/note", "ok hello", "create /box/x",
                   "EROFS", "create /home/rw/x", "ok", "remove /home/rw/x", "ok", "read /etc/note", "ok hello", "append /etc/note x",
                   "EROFS", "flags /etc/note", "ok ro nosuid nodev noexec", "fds", "ok 0 1 2", NULL);
        }
        expect(runner, NULL, "/inside/files", "list /", "ok inside", NULL); /* the runner is as it was */
        sbx_runner_free(runner);
    }
    for (size_t i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

/* The descriptor says what is meant: another directory that has taken its name since is not mounted. */
static void a_descriptor_whose_name_was_taken_is_refused(void **state)
{
    (void)state;
    const char *place = make_scratch();
    const char *name = text("%s/box", place), *aside = text("%s/aside", place);
    assert_int_equal(mkdir(name, 0755), 0);
    const struct sbx_launch_bind bind = {.fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .target = "/box"};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.binds = &bind;
    launch.n_binds = 1;

    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(rename(name, aside), 0); /* renamed only: it is found by its new name */
    write_file(text("%s/note", aside), "right\n", 6, 0644);
    expect(runner, &launch, "/inside/files", "read /box/note", "ok right", NULL);

    assert_int_equal(rename(aside, text("%s/gone", place)), 0);
    assert_int_equal(unlink(text("%s/gone/note", place)), 0);
    assert_int_equal(rmdir(text("%s/gone", place)), 0);
    const char *argv[] = {"/inside/files", NULL};
    launch.argv = argv;
    const struct outcome *outcome = run(runner, &launch);
    assert_int_not_equal(outcome->started, 0);
    close(bind.fd);
    sbx_runner_free(runner);
}

/* What is mounted for the sandbox is not part of it. */
static void the_hosts_root_is_the_hosts(void **state)
{
    (void)state;
    const char *note = text("%s/note", make_box());
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        add_bind(runner, "/", "/host", 0);
        expect(runner, NULL, "/inside/files", text("read /host%s", note), "ok hello", "create /host/etc/sbx-test", "EROFS",
               text("append /host%s x", note), "EROFS", "list /", "ok host inside", NULL);
        sbx_runner_free(runner);
    }
}

/* The same by its name, but something was mounted over it: the name leads elsewhere. */
static void a_descriptor_that_was_covered_is_refused(void **state)
{
    (void)state;
    need_root();
    const char *box = make_box();
    const struct sbx_launch_bind bind = {.fd = open(box, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .target = "/box"};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    const char *argv[] = {"/inside/files", NULL};
    launch.argv = argv;
    launch.binds = &bind;
    launch.n_binds = 1;
    sbx_runner *runner = rooted_sandbox(0);
    assert_int_equal(run(runner, &launch)->started, 0); /* control */
    assert_int_equal(mount("tmpfs", box, "tmpfs", 0, NULL), 0);
    for (size_t i = 0; i < SHAPES; i++) {
        set_shape(runner, shapes[i]);
        assert_int_equal(expect_refusal(runner, &launch, "mount_source", ESTALE)->index, 1);
    }
    assert_int_equal(umount2(box, 0), 0);
    close(bind.fd);
    sbx_runner_free(runner);
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(read_only_unless_asked),
        host_test(programs_run_unless_forbidden),
        host_test(setuid_bits_and_devices_only_when_asked),
        host_test(restrictions_of_the_source_are_kept),
        host_test(submounts_are_read_only_too),
        host_test(a_missing_source_is_named),
        host_test(an_optional_source_may_be_missing),
        host_test(a_target_of_the_wrong_kind_is_named),
        host_test(by_descriptor_for_one_start),
        host_test(a_descriptor_whose_name_was_taken_is_refused),
        host_test(the_hosts_root_is_the_hosts),
        host_test(a_descriptor_that_was_covered_is_refused),
    };
    return cmocka_run_group_tests_name("binds", tests, NULL, NULL);
}
