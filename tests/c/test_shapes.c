/* Which shape of process tree a start takes: direct where that is safe, staged or an init where a child that
 * shares the host's memory would be a danger, and more protection where the caller asks for it. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sbx_error error = SBX_ERROR_INIT;

/* Starts and frees the runner, and fails the test unless the start took this shape. describe says the same. */
static void expect(sbx_runner *runner, uint32_t shape)
{
    char *text = describe(runner, NULL);
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
    const struct outcome *outcome = run_ok(runner, 0);
    assert_string_equal(sbx_shape_name(outcome->shape), sbx_shape_name(shape));
    assert_non_null(strstr(line, sbx_shape_name(shape)));
    test_free(text);
    sbx_runner_free(runner);
}

static sbx_runner *plain(void)
{
    return runner_for("exit0", NULL);
}

static void plain_is_direct(void **state)
{
    (void)state;
    expect(plain(), SBX_SHAPE_DIRECT);
}

static void restrictions_are_direct(void **state)
{
    (void)state;
    sbx_runner *runner = plain();
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_add_rlimit(runner, 4, 0, 0, &error), &error);
    assert_ok(sbx_set_umask(runner, 077, &error), &error);
    assert_ok(sbx_set_setsid(runner, true, &error), &error);
    expect(runner, SBX_SHAPE_DIRECT);
}

static void new_namespaces_are_direct(void **state)
{
    (void)state;
    need_userns();
    sbx_runner *runner = plain();
    set_namespaces(runner, SBX_NS_USER | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS | SBX_NS_CGROUP);
    expect(runner, SBX_SHAPE_DIRECT);
}

static void new_pid_namespace_has_an_init(void **state)
{
    (void)state;
    sbx_runner *runner = plain();
    set_namespaces(runner, SBX_NS_PID);
    expect(runner, SBX_SHAPE_INIT);

    runner = plain();
    set_namespaces(runner, SBX_NS_PID);
    assert_ok(sbx_set_init(runner, false, &error), &error);
    expect(runner, SBX_SHAPE_DIRECT);

    runner = plain();
    set_namespaces(runner, SBX_NS_PID);
    assert_ok(sbx_set_init(runner, false, &error), &error);
    assert_ok(sbx_set_staged(runner, true, &error), &error);
    expect(runner, SBX_SHAPE_STAGED);
}

static void more_protection_on_request(void **state)
{
    (void)state;
    sbx_runner *runner = plain();
    assert_ok(sbx_set_staged(runner, true, &error), &error);
    expect(runner, SBX_SHAPE_STAGED);
    runner = plain();
    assert_ok(sbx_set_init(runner, true, &error), &error);
    expect(runner, SBX_SHAPE_INIT);
    runner = plain();
    assert_ok(sbx_set_staged(runner, true, &error), &error);
    assert_ok(sbx_set_init(runner, true, &error), &error);
    expect(runner, SBX_SHAPE_INIT);
    runner = plain();
    assert_ok(sbx_set_staged(runner, true, &error), &error);
    assert_ok(sbx_set_staged(runner, false, &error), &error);
    expect(runner, SBX_SHAPE_DIRECT);
}

static void another_user_is_staged(void **state)
{
    (void)state;
    need_root();
    const uint32_t ids[][2] = {{54321, 0}, {0, 54321}, {54321, 54321}};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = plain();
        int fd = open(inside("exit0"), O_RDONLY | O_CLOEXEC);
        assert_ok(sbx_set_exec_fd(runner, fd, &error), &error);
        assert_ok(sbx_set_credential(runner, ids[i][0], ids[i][1], NULL, 0, &error), &error);
        expect(runner, SBX_SHAPE_STAGED);
        close(fd);
    }
    /* The same ids again change nothing for the shared memory. */
    sbx_runner *runner = plain();
    assert_ok(sbx_set_credential(runner, geteuid(), getegid(), NULL, 0, &error), &error);
    expect(runner, SBX_SHAPE_DIRECT);
}

/* In a user namespace it is the id outside that counts. */
static void mapped_user(void **state)
{
    (void)state;
    need_userns();
    sbx_runner *runner = plain();
    assert_ok(sbx_set_namespaces(runner, SBX_NS_USER, &error), &error);
    assert_ok(sbx_add_uid_map(runner, 1000, geteuid(), 1, &error), &error);
    assert_ok(sbx_add_gid_map(runner, 1000, getegid(), 1, &error), &error);
    assert_ok(sbx_set_credential(runner, 1000, 1000, NULL, 0, &error), &error);
    expect(runner, SBX_SHAPE_DIRECT);

    if (!is_root()) {
        return;
    }
    runner = plain();
    int fd = open(inside("exit0"), O_RDONLY | O_CLOEXEC);
    assert_ok(sbx_set_exec_fd(runner, fd, &error), &error);
    assert_ok(sbx_set_namespaces(runner, SBX_NS_USER, &error), &error);
    assert_ok(sbx_add_uid_map(runner, 0, 54321, 1, &error), &error);
    assert_ok(sbx_add_gid_map(runner, 0, 54321, 1, &error), &error);
    assert_ok(sbx_set_credential(runner, 0, 0, NULL, 0, &error), &error);
    expect(runner, SBX_SHAPE_STAGED);
    close(fd);
}

static int open_own(const char *namespace)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", namespace);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void joined_namespaces(void **state)
{
    (void)state;
    need_root();
    const struct {
        const char *name;
        uint64_t type;
        uint32_t shape;
    } joins[] = {
        {"net", SBX_NS_NET, SBX_SHAPE_DIRECT},
        {"ipc", SBX_NS_IPC, SBX_SHAPE_DIRECT},
        {"uts", SBX_NS_UTS, SBX_SHAPE_DIRECT},
        {"mnt", SBX_NS_MNT, SBX_SHAPE_DIRECT},
        {"time", SBX_NS_TIME, SBX_SHAPE_STAGED},
        {"pid", SBX_NS_PID, SBX_SHAPE_INIT},
    };
    for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
        sbx_runner *runner = plain();
        int fd = open_own(joins[i].name);
        assert_ok(sbx_join_namespace(runner, fd, joins[i].type, &error), &error);
        expect(runner, joins[i].shape);
        close(fd);
    }
}

/* A user namespace with somebody in it: never with the host's memory. */
static void joined_user_namespace_is_staged(void **state)
{
    (void)state;
    need_userns();
    sbx_runner *resident_runner = runner_for("act", "pause", NULL);
    set_namespaces(resident_runner, SBX_NS_USER);
    sbx_process *resident = NULL;
    assert_ok(sbx_start(resident_runner, NULL, &resident, &error), &error);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", sbx_process_pid(resident));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);

    sbx_runner *runner = plain();
    assert_ok(sbx_join_namespace(runner, fd, SBX_NS_USER, &error), &error);
    expect(runner, SBX_SHAPE_STAGED);
    close(fd);
    sbx_process_free(resident);
    sbx_runner_free(resident_runner);
}

static void oom_score_is_staged(void **state)
{
    (void)state;
    sbx_runner *runner = plain();
    assert_ok(sbx_set_oom_score_adj(runner, 1000, &error), &error);
    expect(runner, SBX_SHAPE_STAGED);
}

static void cgroup_is_staged(void **state)
{
    (void)state;
    need_root();
    static const char *const parents[] = {"/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    char path[128];
    for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++) {
        snprintf(path, sizeof path, "%s/cgroup.procs", parents[i]);
        if (access(path, W_OK) != 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/sbx-test-%d", parents[i], (int)getpid());
        assert_int_equal(mkdir(path, 0755), 0);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        sbx_runner *runner = plain();
        assert_ok(sbx_set_cgroup_fd(runner, fd, &error), &error);
        expect(runner, SBX_SHAPE_STAGED);
        close(fd);
        assert_int_equal(rmdir(path), 0);
        return;
    }
    skip_because("no cgroup file system that can be written to");
}

/* The start returns before the exec. */
static void stop_is_staged(void **state)
{
    (void)state;
    sbx_runner *runner = plain();
    assert_ok(sbx_set_stop_before_seccomp(runner, true, &error), &error);
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    assert_int_equal(sbx_process_shape(process), SBX_SHAPE_STAGED);
    assert_int_equal(process_state(sbx_process_pid(process)), 'T');
    assert_ok(sbx_process_kill(process, SIGCONT, &error), &error);
    struct sbx_status status = {.size = sizeof status};
    assert_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error);
    assert_int_equal(status.code, CLD_EXITED);
    sbx_process_free(process);
    sbx_runner_free(runner);
}

static void tracer_is_staged(void **state)
{
    (void)state;
    sbx_runner *runner = plain();
    assert_ok(sbx_set_ptrace(runner, true, &error), &error);
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    assert_int_equal(sbx_process_shape(process), SBX_SHAPE_STAGED);
    sbx_process_free(process);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(plain_is_direct),
        host_test(restrictions_are_direct),
        host_test(new_namespaces_are_direct),
        host_test(new_pid_namespace_has_an_init),
        host_test(more_protection_on_request),
        host_test(another_user_is_staged),
        host_test(mapped_user),
        host_test(joined_namespaces),
        host_test(joined_user_namespace_is_staged),
        host_test(oom_score_is_staged),
        host_test(cgroup_is_staged),
        host_test(stop_is_staged),
        host_test(tracer_is_staged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
