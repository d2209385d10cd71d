/* The host is never changed, not even for a moment: while sandboxes of every kind start, another thread of the
 * host keeps looking at what a child that shares the host's memory or file system state could change. Root
 * and unprivileged hosts alike. */
#include "support.h"
#include "support_proc.h"
#include "support_recipes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* What the watching thread saw move. */
struct lookout {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint rounds;
    unsigned dumpable, uid_map_owner, oom_score_adj, cwd, root;
};

static void read_score(char *text, size_t size)
{
    int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
}

static bool same_file(const char *path, const struct stat *as)
{
    struct stat now;
    return stat(path, &now) == 0 && now.st_dev == as->st_dev && now.st_ino == as->st_ino;
}

static void *look_out(void *arg)
{
    struct lookout *seen = arg;
    int dumpable = prctl(PR_GET_DUMPABLE);
    char score[32];
    read_score(score, sizeof score);
    struct stat cwd, root, owner;
    stat(".", &cwd);
    stat("/", &root);
    stat("/proc/self/uid_map", &owner);
    while (!atomic_load(&seen->stop)) {
        seen->dumpable += prctl(PR_GET_DUMPABLE) != dumpable;
        char score_now[32];
        read_score(score_now, sizeof score_now);
        seen->oom_score_adj += strcmp(score, score_now) != 0;
        struct stat owner_now;
        seen->uid_map_owner += stat("/proc/self/uid_map", &owner_now) != 0 || owner_now.st_uid != owner.st_uid;
        seen->cwd += !same_file(".", &cwd);
        seen->root += !same_file("/", &root);
        atomic_fetch_add(&seen->rounds, 1);
    }
    return NULL;
}

static void wait_for_rounds(struct lookout *seen, unsigned more)
{
    unsigned rounds = atomic_load(&seen->rounds) + more;
    while (atomic_load(&seen->rounds) < rounds) {
        sched_yield();
    }
}

static void begin_lookout(struct lookout *seen)
{
    memset(seen, 0, sizeof *seen);
    require(pthread_create(&seen->thread, NULL, look_out, seen) == 0, "a thread");
    wait_for_rounds(seen, 3);
}

static void end_lookout(struct lookout *seen)
{
    wait_for_rounds(seen, 3); /* what moved for good is seen for certain */
    atomic_store(&seen->stop, true);
    pthread_join(seen->thread, NULL);
}

/* Starts the runner and waits for its end. What failed, if anything, is printed unless it is `expected`. */
static int start_once(const struct prepared *prepared, int expected)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    int result = sbx_start(prepared->runner, &prepared->launch, &process, &error);
    if (result == 0) {
        let_program_go(prepared, process);
        result = sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error);
        sbx_process_free(process);
    }
    if (result != expected) {
        fprintf(stderr, "%d at %s: %.255s\n", result, sbx_location_name(error.location), error.message);
    }
    return result;
}

static void check_nothing_moved(const struct lookout *seen, const char *name)
{
    if (seen->dumpable + seen->uid_map_owner + seen->oom_score_adj + seen->cwd + seen->root == 0) {
        return;
    }
    fail_msg("%s: of %u looks dumpable moved in %u, the owner of uid_map in %u, oom_score_adj in %u, cwd in %u, root in %u",
             name, atomic_load(&seen->rounds), seen->dumpable, seen->uid_map_owner, seen->oom_score_adj, seen->cwd, seen->root);
}

static void starts_of_every_kind_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_recipes; i++) {
        for (size_t shape = 0; shape < 3; shape++) {
            struct prepared prepared;
            if (!prepare(&recipes[i], all_shapes[shape], &prepared)) {
                continue;
            }
            struct lookout seen;
            begin_lookout(&seen);
            for (int n = 0; n < 5; n++) {
                assert_int_equal(start_once(&prepared, 0), 0);
            }
            end_lookout(&seen);
            drop(&prepared);
            check_nothing_moved(&seen, recipes[i].name);
        }
    }
}

static void failing_starts_change_nothing(void **state)
{
    (void)state;
    static const char *const nowhere[] = {"/no-such-path-for-sbx/program", NULL};
    for (size_t i = 0; i < n_recipes; i++) {
        for (size_t shape = 0; shape < 3; shape++) {
            struct prepared prepared;
            if (strcmp(recipes[i].name, "exec fd") == 0 || strcmp(recipes[i].name, "credential") == 0 ||
                !prepare(&recipes[i], all_shapes[shape], &prepared)) {
                continue; /* these two exec a descriptor, which cannot be missing */
            }
            prepared.launch.argv = nowhere;
            struct lookout seen;
            begin_lookout(&seen);
            for (int n = 0; n < 3; n++) {
                assert_int_equal(start_once(&prepared, -ENOENT), -ENOENT); /* of the start, or of wait after a stop */
            }
            end_lookout(&seen);
            drop(&prepared);
            check_nothing_moved(&seen, recipes[i].name);
        }
    }
}

/* The control: what a child that shares memory (and the file system state) does to its host, seen by the same lookout. */
static int harmful_child(void *arg)
{
    (void)arg;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        dprintf(fd, "777");
    }
    if (geteuid() == 0) {
        syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);
    }
    if (chdir("/proc") != 0) {
        return 1;
    }
    sleep_ms(20);
    return 0;
}

static int harmed_host(void *arg)
{
    (void)arg;
    bool root = geteuid() == 0;
    require(chdir("/") == 0, "a cwd");
    struct lookout seen;
    begin_lookout(&seen);
    static char stack[256 * 1024];
    pid_t pid = clone(harmful_child, stack + sizeof stack, CLONE_VM | CLONE_FS | SIGCHLD, NULL);
    require(pid > 0 && waitpid(pid, NULL, 0) == pid, "a child that shares memory");
    end_lookout(&seen);
    require(seen.oom_score_adj != 0, "the lookout sees oom_score_adj move");
    require(seen.cwd != 0, "the lookout sees the cwd move");
    require(!root || seen.dumpable != 0, "the lookout sees the dumpable flag move");
    return 0;
}

static void the_lookout_would_see_it(void **state)
{
    (void)state;
    assert_int_equal(forked_host(harmed_host, NULL, 20), 0);
}

/* An unprivileged host whose sandboxes map and take ids, made out of a root host. The whole of it is run again as an
 * unprivileged user anyway; this is for whoever runs the tests as root only. */
static int unprivileged_host(void *arg)
{
    const struct prepared *prepared = arg;
    require(syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) == 0, "another group");
    require(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0, "another user");
    require(prctl(PR_SET_DUMPABLE, 1) == 0, "dumpable again"); /* the change of ids took it away */
    struct lookout seen;
    begin_lookout(&seen);
    for (int n = 0; n < 10; n++) {
        require(start_once(prepared, 0) == 0, "the start works");
    }
    end_lookout(&seen);
    require(seen.dumpable + seen.uid_map_owner + seen.oom_score_adj + seen.cwd + seen.root == 0, "nothing moved");
    return 0;
}

static void an_unprivileged_host_stays_as_it_is(void **state)
{
    (void)state;
    need_root();
    for (size_t i = 0; i < 3; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        struct prepared prepared = {.launch = SBX_LAUNCH_INIT, .runner = runner_for("exit0", NULL)};
        prepared.fds[prepared.n_fds++] = open(inside("exit0"), O_PATH | O_CLOEXEC);
        set_shape(prepared.runner, all_shapes[i]);
        assert_ok(sbx_set_exec_fd(prepared.runner, prepared.fds[0], &error), &error);
        assert_ok(sbx_set_namespaces(prepared.runner, SBX_NS_USER, &error), &error);
        assert_ok(sbx_add_uid_map(prepared.runner, 1000, NOBODY, 1, &error), &error);
        assert_ok(sbx_add_gid_map(prepared.runner, 1000, NOBODY, 1, &error), &error);
        assert_ok(sbx_set_credential(prepared.runner, 1000, 1000, NULL, 0, &error), &error);
        assert_ok(sbx_set_oom_score_adj(prepared.runner, 900, &error), &error);
        int code = forked_host(unprivileged_host, &prepared, 20);
        drop(&prepared);
        assert_int_equal(code, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(starts_of_every_kind_change_nothing),
        host_test(failing_starts_change_nothing),
        host_test(the_lookout_would_see_it),
        host_test(an_unprivileged_host_stays_as_it_is),
    };
    return cmocka_run_group_tests_name("host_unchanged", tests, NULL, NULL);
}
