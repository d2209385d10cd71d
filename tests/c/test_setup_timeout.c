/* A start that hangs ends at setup_timeout_ns, at the location "setup_timeout", and leaves no process. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_NS (200 * UINT64_C(1000000))

/* Whom the sync function stops: nobody ever lets him go on. */
enum victim { PROGRAM, ITS_PARENT };

struct stopped {
    enum victim victim;
    pid_t program;
    pid_t parent;
};

static int stop_child(int pid, int pidfd, void *arg)
{
    (void)pidfd;
    struct stopped *stopped = arg;
    stopped->program = pid;
    stopped->parent = (pid_t)status_first(pid, "PPid");
    pid_t victim = stopped->victim == PROGRAM ? stopped->program : stopped->parent;
    if (victim == getpid() || victim <= 1) {
        return -EPROTO;
    }
    kill(victim, SIGSTOP);
    return 0;
}

static void check_timeout(uint32_t shape, uint64_t namespaces, enum victim victim)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = runner_for("act", "say", "ran", NULL);
    set_shape(runner, shape);
    if (namespaces != 0) {
        set_namespaces(runner, namespaces);
    }
    assert_ok(sbx_set_sync_func(runner, stop_child, &error), &error);
    struct stopped stopped = {.victim = victim};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.setup_timeout_ns = TIMEOUT_NS;
    launch.sync_arg = &stopped;

    uint64_t begin = now_ns();
    const struct outcome *outcome = run(runner, &launch);
    uint64_t took = now_ns() - begin;
    assert_error(outcome->started, ETIMEDOUT, &outcome->error);
    assert_string_equal(sbx_location_name(outcome->error.location), "setup_timeout");
    assert_string_equal(outcome->output, "");
    assert_in_range(took, TIMEOUT_NS, TIMEOUT_NS + 2000 * UINT64_C(1000000));
    assert_true(wait_for_state(stopped.program, 0));
    assert_true(stopped.parent == getpid() || wait_for_state(stopped.parent, 0));
    sbx_runner_free(runner);
}

static void a_stopped_program_times_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        check_timeout(all_shapes[i], 0, PROGRAM);
    }
    check_timeout(SBX_SHAPE_INIT, SBX_NS_PID, PROGRAM);
}

static void a_stopped_init_times_out(void **state)
{
    (void)state;
    check_timeout(SBX_SHAPE_INIT, SBX_NS_PID, ITS_PARENT);
}

/* Without a pid namespace between them a program may stop its own init: there the host keeps telling it to go on. */
static void an_init_that_can_be_stopped_from_inside_goes_on(void **state)
{
    (void)state;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = runner_for("act", "say", "ran", NULL);
    set_shape(runner, SBX_SHAPE_INIT);
    assert_ok(sbx_set_sync_func(runner, stop_child, &error), &error);
    struct stopped stopped = {.victim = ITS_PARENT};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.sync_arg = &stopped;
    const struct outcome *outcome = run(runner, &launch);
    assert_ended(outcome, CLD_EXITED, 0);
    assert_string_equal(outcome->output, "ran\n");
    sbx_runner_free(runner);
}

static int slow_visit(int pid, int pidfd, void *arg)
{
    (void)pid;
    (void)pidfd;
    (void)arg;
    sleep_ms(2 * TIMEOUT_NS / 1000000);
    return 0;
}

/* What the clock measures is the child's setup: the time inside the caller's function is the caller's own. */
static void a_slow_function_does_not_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *runner = runner_for("exit0", NULL);
        set_shape(runner, all_shapes[i]);
        assert_ok(sbx_set_sync_func(runner, slow_visit, &error), &error);
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.setup_timeout_ns = TIMEOUT_NS;
        assert_ended(run(runner, &launch), CLD_EXITED, 0);
        sbx_runner_free(runner);
    }
}

/* Whatever moment the time is over at: it is over, or the program runs, and nothing is left. */
static void any_timeout_is_a_clean_one(void **state)
{
    (void)state;
    unsigned late = 0;
    unsigned in_time = 0;
    for (unsigned n = 0; n < 300; n++) {
        sbx_runner *runner = runner_for("exit0", NULL);
        set_shape(runner, all_shapes[n % 3]);
        if (n % 9 == 2 && (is_root() || have_userns())) {
            set_namespaces(runner, SBX_NS_PID | SBX_NS_MNT);
        }
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.setup_timeout_ns = 1 + n / 3 * UINT64_C(15000); /* up to 1.5 ms */
        const struct outcome *outcome = run(runner, &launch);
        if (outcome->started == 0) {
            assert_ended(outcome, CLD_EXITED, 0);
            in_time++;
        } else {
            assert_error(outcome->started, ETIMEDOUT, &outcome->error);
            assert_string_equal(sbx_location_name(outcome->error.location), "setup_timeout");
            late++;
        }
        sbx_runner_free(runner);
        assert_true(no_child_left());
    }
    print_message("%u too late, %u in time\n", late, in_time);
    assert_true(late > 0);
}

struct dead_mount {
    const char *directory;
    sbx_runner *runners[3];
};

/* A FUSE file system whose server never answers stands for a network mount whose server is gone. It lives in this
 * forked host's own mount namespace and goes with it. */
static int host_with_dead_mount(void *arg)
{
    struct dead_mount *dead = arg;
    require(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "a mount namespace");
    int server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (server < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
        return 77;
    }
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0", server);
    require(server >= 0 && mount("dead", dead->directory, "fuse", 0, options) == 0, "mounting FUSE");

    for (size_t i = 0; i < 3; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.setup_timeout_ns = TIMEOUT_NS;
        sbx_process *process = NULL;
        uint64_t begin = now_ns();
        int result = sbx_start(dead->runners[i], &launch, &process, &error);
        uint64_t took = now_ns() - begin;
        require(result == -ETIMEDOUT, "the start ends with ETIMEDOUT");
        require(process == NULL, "there is no process");
        require(strcmp(sbx_location_name(error.location), "setup_timeout") == 0, "the location is setup_timeout");
        require(error.index >= 0, "the index names the step it was in");
        require(took >= TIMEOUT_NS && took < TIMEOUT_NS + 2000 * UINT64_C(1000000), "it took about as long as the timeout");
        require(no_child_left(), "no child is left");
    }
    return 0;
}

static void check_dead_mount(void (*use)(sbx_runner *runner, const char *path))
{
    need_root();
    struct dead_mount dead = {.directory = make_scratch()};
    char path[256];
    snprintf(path, sizeof path, "%s/below", dead.directory);
    for (size_t i = 0; i < 3; i++) {
        dead.runners[i] = runner_for("exit0", NULL);
        set_shape(dead.runners[i], all_shapes[i]);
        use(dead.runners[i], path);
    }
    int code = forked_host(host_with_dead_mount, &dead, 10);
    for (size_t i = 0; i < 3; i++) {
        sbx_runner_free(dead.runners[i]);
    }
    if (code == 77) {
        skip_because("this kernel has no FUSE, by which a hanging mount could be made");
    }
    assert_int_equal(code, 0);
}

static void use_as_workdir(sbx_runner *runner, const char *path)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_workdir(runner, path, &error), &error);
}

static void a_dead_workdir_times_out(void **state)
{
    (void)state;
    check_dead_mount(use_as_workdir);
}

static void use_as_program(sbx_runner *runner, const char *path)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_exec_path(runner, path, &error), &error);
}

static void a_dead_program_times_out(void **state)
{
    (void)state;
    check_dead_mount(use_as_program);
}

static void use_as_source(sbx_runner *runner, const char *path)
{
    struct sbx_error error = SBX_ERROR_INIT;
    set_namespaces(runner, SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    assert_ok(sbx_add_bind(runner, path, "/dead", 0, &error), &error);
}

/* The host must not look at a source itself: it is the one who keeps the time. */
static void a_dead_source_times_out(void **state)
{
    (void)state;
    check_dead_mount(use_as_source);
}

static void use_as_root(sbx_runner *runner, const char *path)
{
    struct sbx_error error = SBX_ERROR_INIT;
    set_namespaces(runner, SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, path, 0, &error), &error);
}

static void a_dead_root_times_out(void **state)
{
    (void)state;
    check_dead_mount(use_as_root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(a_stopped_program_times_out),
        host_test(a_stopped_init_times_out),
        host_test(an_init_that_can_be_stopped_from_inside_goes_on),
        host_test(a_slow_function_does_not_count),
        host_test(any_timeout_is_a_clean_one),
        host_test(a_dead_workdir_times_out),
        host_test(a_dead_program_times_out),
        host_test(a_dead_source_times_out),
        host_test(a_dead_root_times_out),
    };
    return cmocka_run_group_tests_name("setup_timeout", tests, NULL, NULL);
}
