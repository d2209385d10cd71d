/* Cgroups: the program is in the groups whose directories were given, v1 or v2, in every shape; and a group with next to no
 * memory never harms the host. */
#include "support_ask.h"
#include "support_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* NULL is v2. */
static const char *const controllers[] = {"pids", "memory", "cpuacct", NULL};
enum { CONTROLLERS = sizeof controllers / sizeof controllers[0] };

/* With or without a pid namespace: the init joins before it clones the program, or the program by itself. */
static sbx_runner *shaped(uint32_t shape, uint64_t namespaces)
{
    sbx_runner *runner = sandbox(namespaces);
    set_shape(runner, shape);
    return runner;
}

static void check_place(const sbx_runner *runner, const struct sbx_launch *launch, const char *controller, const char *path)
{
    const struct outcome *outcome = ask(runner, launch, inside("files"), "read /proc/self/cgroup", NULL);
    if (!is_in_cgroup(answer(outcome, 0) + 3, controller, path)) {
        fail_msg("shape %s, %s: not in %s: %s", sbx_shape_name(outcome->shape), controller ? controller : "v2", path,
                 answer(outcome, 0));
    }
    /* Before its exec a child that shares the host's memory must not be where an OOM killer looks. */
    assert_int_not_equal(outcome->shape, SBX_SHAPE_DIRECT);
}

static void each_hierarchy_in_each_shape(void **state)
{
    (void)state;
    need_root();
    int tried = 0;
    for (size_t c = 0; c < CONTROLLERS; c++) {
        struct test_cgroup group, other;
        if (!make_cgroup(controllers[c], &group)) {
            print_message("no %s hierarchy here\n", controllers[c] ? controllers[c] : "v2");
            continue;
        }
        assert_true(make_cgroup(controllers[c], &other));
        tried++;
        for (size_t i = 0; i <= SHAPES; i++) {
            sbx_runner *runner = i < SHAPES ? shaped(shapes[i], 0) : shaped(SBX_SHAPE_INIT, SBX_NS_PID);
            assert_int_equal(sbx_set_cgroup_fd(runner, group.fd, NULL), 0);
            check_place(runner, NULL, controllers[c], group.name);
            struct sbx_launch launch = SBX_LAUNCH_INIT;
            launch.cgroup_fd = other.fd; /* this start's own */
            check_place(runner, &launch, controllers[c], other.name);
            assert_int_equal(sbx_set_cgroup_fd(runner, -1, NULL), 0);
            const struct outcome *outcome = ask(runner, NULL, inside("files"), "read /proc/self/cgroup", NULL);
            assert_null(strstr(outcome->output, "sbx-test"));
            sbx_runner_free(runner);
        }
        remove_cgroup(&group);
        remove_cgroup(&other);
    }
    if (tried == 0) {
        skip_because("no cgroup hierarchy is mounted");
    }
}

static void several_hierarchies_at_once(void **state)
{
    (void)state;
    need_root();
    struct test_cgroup groups[CONTROLLERS];
    bool made[CONTROLLERS];
    for (size_t c = 0; c < CONTROLLERS; c++) {
        made[c] = make_cgroup(controllers[c], &groups[c]);
    }
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = shaped(shapes[i], 0);
        for (size_t c = 0; c < CONTROLLERS; c++) {
            if (made[c]) {
                assert_int_equal(sbx_add_cgroup_fd(runner, groups[c].fd, NULL), 0);
            }
        }
        for (size_t c = 0; c < CONTROLLERS; c++) {
            if (made[c]) {
                check_place(runner, NULL, controllers[c], groups[c].name);
            }
        }
        sbx_runner_free(runner);
    }
    for (size_t c = 0; c < CONTROLLERS; c++) {
        if (made[c]) {
            remove_cgroup(&groups[c]);
        }
    }
}

/* Also for a program that has another identity by then and lives in a user namespace. */
static void without_any_right_of_its_own(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const char *files = reachable_inside("files");
    for (size_t c = 0; c < CONTROLLERS; c++) {
        struct test_cgroup group;
        if (!make_cgroup(controllers[c], &group)) {
            continue;
        }
        for (size_t i = 0; i < SHAPES; i++) {
            for (int user = 0; user < 2; user++) {
                sbx_runner *runner = sbx_runner_new();
                if (user) {
                    assert_int_equal(sbx_set_namespaces(runner, SBX_NS_USER, NULL), 0);
                    assert_int_equal(sbx_add_uid_map(runner, 0, 100000, 2000, NULL), 0);
                    assert_int_equal(sbx_add_gid_map(runner, 0, 100000, 2000, NULL), 0);
                }
                assert_int_equal(sbx_set_credential(runner, 1000, 1000, NULL, 0, NULL), 0);
                assert_int_equal(sbx_set_cgroup_fd(runner, group.fd, NULL), 0);
                set_shape(runner, shapes[i]);
                const struct outcome *outcome = ask(runner, NULL, files, "read /proc/self/cgroup", NULL);
                assert_true(is_in_cgroup(answer(outcome, 0) + 3, controllers[c], group.name));
                sbx_runner_free(runner);
            }
        }
        remove_cgroup(&group);
    }
}

/* The namespace's root is the group that was joined. */
static void a_cgroup_namespace_begins_where_the_program_is(void **state)
{
    (void)state;
    need_root();
    for (size_t c = 0; c < CONTROLLERS; c++) {
        struct test_cgroup group;
        if (!make_cgroup(controllers[c], &group)) {
            continue;
        }
        for (size_t i = 0; i < SHAPES; i++) {
            sbx_runner *runner = shaped(shapes[i], SBX_NS_CGROUP);
            assert_int_equal(sbx_set_cgroup_fd(runner, group.fd, NULL), 0);
            assert_int_equal(sbx_set_unshare_cgroup_after_sync(runner, true, NULL), 0);
            check_place(runner, NULL, controllers[c], "/");
            sbx_runner_free(runner);
        }
        remove_cgroup(&group);
    }
}

/* The host moves the program while it waits in the sync function: what go-sandbox's callers do. */
static int move_into(int pid, int pidfd, void *group)
{
    (void)pidfd;
    return -write_cgroup(group, "cgroup.procs", text("%d", pid));
}

static void a_cgroup_namespace_is_made_after_the_sync_function(void **state)
{
    (void)state;
    need_root();
    for (size_t c = 0; c < CONTROLLERS; c++) {
        struct test_cgroup group;
        if (!make_cgroup(controllers[c], &group)) {
            continue;
        }
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.sync_arg = &group;
        for (size_t i = 0; i < SHAPES; i++) {
            for (int late = 0; late < 2; late++) {
                sbx_runner *runner = shaped(shapes[i], SBX_NS_CGROUP);
                assert_int_equal(sbx_set_sync_func(runner, move_into, NULL), 0);
                assert_int_equal(sbx_set_unshare_cgroup_after_sync(runner, late, NULL), 0);
                const struct outcome *outcome = ask(runner, &launch, inside("files"), "read /proc/self/cgroup", NULL);
                /* Control: a namespace that was made before has its root where the host is. */
                assert_int_equal(is_in_cgroup(answer(outcome, 0) + 3, controllers[c], "/"), late);
                sbx_runner_free(runner);
            }
        }
        remove_cgroup(&group);
    }
}

static void what_is_no_cgroup_is_named(void **state)
{
    (void)state;
    const char *argv[] = {inside("exit0"), NULL};
    const int fds[] = {open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), open("/dev/null", O_RDONLY | O_CLOEXEC)};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < SHAPES; i++) {
            sbx_runner *runner = sbx_runner_new();
            assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
            set_shape(runner, shapes[i]);
            struct sbx_error error = SBX_ERROR_INIT;
            int result = sbx_set_cgroup_fd(runner, fds[k], &error);
            if (result == 0) {
                result = run(runner, NULL)->started;
                error = run(runner, NULL)->error;
            }
            assert_int_not_equal(result, 0);
            assert_error(result, error.err, &error);
            assert_non_null(strstr(error.message, "cgroup"));
            sbx_runner_free(runner);
        }
        close(fds[k]);
    }
}

struct starved {
    const struct test_cgroup *group;
    const char *program;
    uint32_t shape;
    uint64_t namespaces;
};

/* A host with some memory of its own starts the program in a group that cannot hold it. */
static void start_starved(void *argument)
{
    const struct starved *starved = argument;
    size_t size = 64 << 20;
    char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(heap != MAP_FAILED);
    memset(heap, 1, size);

    const char *argv[] = {starved->program, NULL};
    sbx_runner *runner = shaped(starved->shape, starved->namespaces);
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    assert_int_equal(sbx_set_cgroup_fd(runner, starved->group->fd, NULL), 0);
    for (int i = 0; i < 3; i++) {
        sbx_process *process = NULL;
        struct sbx_error error = SBX_ERROR_INIT;
        int result = sbx_start(runner, NULL, &process, &error);
        if (result == 0) {
            struct sbx_status status = SBX_STATUS_INIT;
            result = sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error);
            assert_int_not_equal(result, -ETIMEDOUT);
            sbx_process_free(process);
        }
        if (result != 0) {
            assert_int_not_equal(error.location, 0);
        }
    }
    sbx_runner_free(runner);
    /* Nothing is left, and a start elsewhere works. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    runner = shaped(starved->shape, starved->namespaces);
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    run_ok(runner, 0);
    sbx_runner_free(runner);
    munmap(heap, size);
}

static const char *const limits[] = {"0", "4096", "65536"};

static void no_memory_never_harms_the_host(void **state)
{
    (void)state;
    need_root();
    for (size_t l = 0; l < 3; l++) {
        struct test_cgroup group;
        need_cgroup("memory", &group);
        assert_int_equal(write_cgroup(&group, "memory.limit_in_bytes", limits[l]), 0);
        for (size_t i = 0; i <= SHAPES; i++) {
            struct starved starved = {.group = &group,
                                      .program = inside("exit0"),
                                      .shape = i < SHAPES ? shapes[i] : SBX_SHAPE_INIT,
                                      .namespaces = i < SHAPES ? 0 : SBX_NS_PID};
            in_forked_host(start_starved, &starved);
        }
        remove_cgroup(&group);
    }
}

struct naive {
    int tasks;
    const char *program;
};

/* On a stack of its own, in the host's memory. */
static int naive_child(void *argument)
{
    const struct naive *naive = argument;
    char *argv[] = {(char *)naive->program, NULL};
    if (write(naive->tasks, "0", 1) != 1) {
        _exit(1);
    }
    execv(naive->program, argv);
    _exit(2);
}

/* Control: a child that shares the host's memory takes the host along. */
static void a_naive_start_is_fatal(void **state)
{
    (void)state;
    need_root();
    bool fatal = false;
    for (size_t l = 0; l < 3; l++) {
        struct test_cgroup group;
        need_cgroup("memory", &group);
        assert_int_equal(write_cgroup(&group, "memory.limit_in_bytes", limits[l]), 0);
        pid_t host = fork();
        assert_true(host >= 0);
        if (host == 0) {
            static char stack[65536] __attribute__((aligned(16)));
            struct naive naive = {.tasks = openat(group.fd, "tasks", O_WRONLY | O_CLOEXEC), .program = inside("exit0")};
            int child = clone(naive_child, stack + sizeof stack, CLONE_VM | SIGCHLD, &naive);
            _exit(child > 0 && waitpid(child, NULL, 0) == child ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(host, &status, 0), host);
        fatal = fatal || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        remove_cgroup(&group);
    }
    assert_true(fatal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cgroup_test(each_hierarchy_in_each_shape),
        cgroup_test(several_hierarchies_at_once),
        cgroup_test(without_any_right_of_its_own),
        cgroup_test(a_cgroup_namespace_begins_where_the_program_is),
        cgroup_test(a_cgroup_namespace_is_made_after_the_sync_function),
        cgroup_test(what_is_no_cgroup_is_named),
        cgroup_test(no_memory_never_harms_the_host),
        cgroup_test(a_naive_start_is_fatal),
    };
    return cmocka_run_group_tests_name("cgroups", tests, NULL, NULL);
}
