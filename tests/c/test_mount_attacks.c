/* Hostile roots: symbolic links where mount points have to be, and a process that swaps them while starts run. Whatever
 * becomes of the start, nothing is made or mounted outside of the new root. The attack behind CVE-2021-30465 and its kin. */
#include "support_ask.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

/* What must not be touched: a directory of the host with one file in it. */
static const char *make_victim(void)
{
    const char *victim = make_scratch();
    assert_int_equal(chmod(victim, 0777), 0);
    write_file(text("%s/precious", victim), "mine\n", 5, 0666);
    return victim;
}

static void check_victim(const char *victim, const char *after)
{
    DIR *dir = opendir(victim);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "precious") != 0) {
            fail_msg("%s: %s was made in a directory of the host", after, entry->d_name);
        }
    }
    closedir(dir);
    struct stat precious;
    assert_int_equal(stat(text("%s/precious", victim), &precious), 0);
    assert_int_equal(precious.st_size, 5);
}

static void make_directories(const char *path)
{
    char made[512];
    snprintf(made, sizeof made, "%s", path);
    for (char *slash = made + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        if (mkdir(made, 0755) != 0) {
            assert_int_equal(errno, EEXIST);
        }
    }
    if (mkdir(made, 0755) != 0) {
        assert_int_equal(errno, EEXIST);
    }
}

/* A root with the programs, an empty /proc, and /box as a link with this text. Where `inner` is set, the path of the victim
 * exists inside as well: there the link leads to an ordinary directory. */
static const char *make_hostile(const char *link, const char *inner)
{
    const char *root = make_scratch();
    make_directories(text("%s/inside", root));
    copy_file(inside("files"), text("%s/inside/files", root), 0755);
    make_directories(text("%s/proc", root));
    make_directories(text("%s/dir", root));
    assert_int_equal(symlink(link, text("%s/box", root)), 0);
    assert_int_equal(symlink(link, text("%s/dir/box", root)), 0);
    if (inner != NULL) {
        make_directories(text("%s%s", root, inner));
        write_file(text("%s%s/precious", root, inner), "inner\n", 6, 0644);
    }
    return root;
}

/* Everything that can be put into a root. */
struct entry {
    const char *name;
    int (*add)(sbx_runner *runner, const char *source, const char *target);
};

static int bind_directory(sbx_runner *runner, const char *source, const char *target)
{
    return sbx_add_bind(runner, source, target, SBX_MOUNT_WRITABLE, NULL);
}

static int bind_file(sbx_runner *runner, const char *source, const char *target)
{
    return sbx_add_bind(runner, text("%s/file", source), target, 0, NULL);
}

static int raw_bind(sbx_runner *runner, const char *source, const char *target)
{
    return sbx_add_mount(runner, source, target, NULL, MS_BIND, NULL, 0, NULL);
}

static int raw_tmpfs(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_mount(runner, "none", target, "tmpfs", 0, NULL, 0, NULL);
}

static int tmpfs(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_tmpfs(runner, target, 0, 0, 0755, 0, NULL);
}

static int dev(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_dev(runner, target, SBX_MOUNT_DEVPTS, NULL);
}

static int proc(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_proc(runner, target, 0, NULL);
}

static int overlay(sbx_runner *runner, const char *source, const char *target)
{
    const char *lower[] = {text("%s/a", source), text("%s/b", source), NULL};
    return sbx_add_overlay(runner, lower, NULL, NULL, target, 0, NULL);
}

static int link_to(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_symlink(runner, "x", target, 0, NULL);
}

static int file(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_file(runner, target, "bad\n", 4, 0666, 0, NULL);
}

static int dir(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_dir(runner, target, 0777, 0, NULL);
}

static int mask(sbx_runner *runner, const char *source, const char *target)
{
    (void)source;
    return sbx_add_mask(runner, target, 0, NULL);
}

static const struct entry entries[] = {
    {"bind of a directory", bind_directory},
    {"bind of a file", bind_file},
    {"raw bind", raw_bind},
    {"raw tmpfs", raw_tmpfs},
    {"tmpfs", tmpfs},
    {"dev", dev},
    {"proc", proc},
    {"overlay", overlay},
    {"symlink", link_to},
    {"file", file},
    {"dir", dir},
    {"mask", mask},
};
enum { ENTRIES = sizeof entries / sizeof entries[0] };

static const char *make_source(void)
{
    const char *source = make_scratch();
    make_directories(text("%s/a", source));
    make_directories(text("%s/b", source));
    write_file(text("%s/file", source), "x", 1, 0644);
    return source;
}

/* The hostile tree as the root. */
static sbx_runner *as_root(const char *tree)
{
    sbx_runner *runner = sandbox(SBX_NS_MNT | SBX_NS_PID);
    assert_int_equal(sbx_set_pivot_root(runner, tree, SBX_ROOT_WRITABLE, NULL), 0);
    return runner;
}

/* The hostile tree as a directory in a fresh root: what the program of an earlier run has left in its /job. */
static sbx_runner *as_job(const char *tree)
{
    sbx_runner *runner = rooted_sandbox(SBX_NS_PID);
    assert_int_equal(sbx_add_bind(runner, tree, "/job", SBX_MOUNT_WRITABLE, NULL), 0);
    return runner;
}

/* Starts with one entry at `target`, and if `deeper` is set some more beneath it; the result does not matter. */
static void attack(sbx_runner *(*make)(const char *tree), const char *tree, const char *victim, const char *source,
                   const char *target, const char *deeper)
{
    const char *argv[] = {"/inside/files", NULL};
    for (size_t i = 0; i < ENTRIES; i++) {
        sbx_runner *runner = make(tree);
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        assert_int_equal(sbx_add_proc(runner, "/proc", 0, NULL), 0); /* for links through /proc/self/root */
        if (entries[i].add(runner, source, target) == 0) {
            if (deeper != NULL) {
                assert_int_equal(sbx_add_dir(runner, text("%s/dir", deeper), 0755, 0, NULL), 0);
                assert_int_equal(sbx_add_file(runner, text("%s/file", deeper), "bad\n", 4, 0666, 0, NULL), 0);
                assert_int_equal(sbx_add_bind(runner, text("%s/file", source), text("%s/precious", deeper), 0, NULL), 0);
            }
            run(runner, NULL);
            check_victim(victim, text("%s at %s", entries[i].name, target));
        }
        sbx_runner_free(runner);
    }
}

static void links_at_and_above_targets(void **state)
{
    (void)state;
    const char *victim = make_victim();
    const char *source = make_source();
    const char *links[] = {
        text("%s", victim),
        text("../../../../../../../..%s", victim),
        text("/proc/self/root%s", victim),
        text("/proc/1/root%s", victim),
        text("/proc/self/cwd/../../../../../..%s", victim),
    };
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        char link[256];
        snprintf(link, sizeof link, "%s", links[i]);
        const char *root = make_hostile(link, NULL);
        attack(as_root, root, victim, source, "/box", NULL);
        attack(as_root, root, victim, source, "/box/precious", NULL);
        attack(as_root, root, victim, source, "/box/new", NULL);
        attack(as_root, root, victim, source, "/dir/box/deep/er", NULL);
        attack(as_job, root, victim, source, "/job/box", "/job/box/more");
        attack(as_job, root, victim, source, "/job/box/precious", NULL);
        attack(as_job, root, victim, source, "/job/dir/box/new", "/job/dir/box");
    }
}

/* The link leads to a directory that exists inside too: the mount lands there, and what comes after it follows it there. */
static void links_to_what_exists_on_both_sides(void **state)
{
    (void)state;
    const char *victim = make_victim();
    const char *source = make_source();
    const char *root = make_hostile(victim, victim);
    attack(as_root, root, victim, source, "/box", "/box");
    attack(as_root, root, victim, source, "/dir/box", "/dir/box/more");
    attack(as_root, root, victim, source, "/box/sub", "/box/sub");

    sbx_runner *runner = sandbox(SBX_NS_MNT);
    assert_int_equal(sbx_set_pivot_root(runner, root, 0, NULL), 0);
    assert_int_equal(sbx_add_tmpfs(runner, "/box", 0, 0, 0755, 0, NULL), 0);
    assert_int_equal(sbx_add_dir(runner, "/box/made", 0755, 0, NULL), 0);
    assert_int_equal(sbx_add_bind(runner, make_source(), "/box/bound", 0, NULL), 0);
    expect(runner, NULL, "/inside/files", text("list %s", victim), "ok bound made", "list /box/bound", "ok a b file", NULL);
    sbx_runner_free(runner);
    check_victim(victim, "tmpfs with entries");
}

/* Swaps the directory /box and a link until it is killed. */
static pid_t start_swapping(const char *root)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (;;) {
            syscall(SYS_renameat2, fd, "box", fd, "swap", RENAME_EXCHANGE);
        }
    }
    return pid;
}

static void stop_swapping(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* /box is a directory, /swap a link to the victim. */
static const char *make_swappable(const char *victim)
{
    const char *root = make_scratch();
    make_directories(text("%s/inside", root));
    copy_file(inside("exit0"), text("%s/inside/exit0", root), 0755);
    make_directories(text("%s/box", root));
    assert_int_equal(symlink(victim, text("%s/swap", root)), 0);
    return root;
}

static void links_swapped_while_starts_run(void **state)
{
    (void)state;
    const char *victim = make_victim();
    const char *source = make_source();
    const char *root = make_swappable(victim);
    const char *argv[] = {"/inside/exit0", NULL};
    sbx_runner *runner = sandbox(SBX_NS_MNT);
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    assert_int_equal(sbx_set_pivot_root(runner, root, SBX_ROOT_WRITABLE, NULL), 0);
    assert_int_equal(sbx_add_bind(runner, source, "/box/bound", 0, NULL), 0);
    assert_int_equal(sbx_add_bind(runner, text("%s/file", source), "/box/precious", 0, NULL), 0);
    assert_int_equal(sbx_add_tmpfs(runner, "/box/tmp", 0, 0, 0755, 0, NULL), 0);
    assert_int_equal(sbx_add_dir(runner, "/box/tmp/dir", 0755, 0, NULL), 0);
    assert_int_equal(sbx_add_dir(runner, "/box/dir/deep", 0755, 0, NULL), 0);

    pid_t swapper = start_swapping(root);
    int started = 0, refused = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(sbx_set_staged(runner, i % 3 == 1, NULL), 0);
        assert_int_equal(sbx_set_init(runner, i % 3 == 2, NULL), 0);
        sbx_process *process = NULL;
        struct sbx_error error = SBX_ERROR_INIT;
        if (sbx_start(runner, NULL, &process, &error) == 0) {
            assert_int_equal(sbx_process_wait(process, READ_TIMEOUT_NS, NULL, NULL), 0);
            sbx_process_free(process);
            started++;
        } else {
            refused++;
        }
    }
    stop_swapping(swapper);
    check_victim(victim, "swapped links");
    print_message("%d starts, %d refused\n", started, refused);
    assert_true(started > 0 && refused > 0); /* else nothing was swapped at the right moment */
    sbx_runner_free(runner);
}

/* Control: what a runtime does that goes by path. */
static void naive_mounts_are_led_out(void **state)
{
    (void)state;
    const char *victim = make_victim();
    const char *root = make_hostile(victim, NULL);
    assert_int_equal(mkdir(text("%s/box/made", root), 0755), 0);
    assert_int_equal(rmdir(text("%s/made", victim)), 0); /* it is there */

    need_root();
    assert_int_equal(mount("none", text("%s/box", root), "tmpfs", 0, NULL), 0);
    assert_int_equal(access(text("%s/precious", victim), F_OK), -1); /* the tmpfs is on the victim */
    assert_int_equal(umount2(victim, 0), 0);
}

/* Control of the race: looking before making is not enough. */
static void naive_checks_lose_the_race(void **state)
{
    (void)state;
    const char *victim = make_victim();
    const char *root = make_swappable(victim);
    const char *box = text("%s/box", root), *made = text("%s/box/made", root), *outside = text("%s/made", victim);
    pid_t swapper = start_swapping(root);
    uint64_t deadline = now_ns() + 10 * UINT64_C(1000000000);
    bool led_out = false;
    while (!led_out && now_ns() < deadline) {
        struct stat status;
        if (lstat(box, &status) == 0 && S_ISDIR(status.st_mode)) {
            mkdir(made, 0755);
        }
        led_out = rmdir(outside) == 0;
    }
    stop_swapping(swapper);
    assert_true(led_out);
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(links_at_and_above_targets),
        host_test(links_to_what_exists_on_both_sides),
        host_test(links_swapped_while_starts_run),
        host_test(naive_mounts_are_led_out),
        host_test(naive_checks_lose_the_race),
    };
    return cmocka_run_group_tests_name("mount_attacks", tests, NULL, NULL);
}
