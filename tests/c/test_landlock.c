/* Landlock: what is handled is denied unless a rule allows it, for paths, TCP ports, signals and abstract sockets; what
 * this kernel lacks is an error, or reported when best effort was asked for. */
#include "support_ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of later headers than some systems have. */
enum {
    NET_BIND_TCP = 1 << 0,         /* ABI 4 */
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_SOCKET = 1 << 0, /* ABI 6 */
    SCOPE_SIGNAL = 1 << 1,
};

static const uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE;
static const uint64_t writing = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void need_abi(int least)
{
    if (sbx_landlock_abi() < least) {
        skip_because(text("this kernel's Landlock ABI is %d, the test needs %d", sbx_landlock_abi(), least));
    }
}

static void handle(sbx_runner *runner, uint64_t fs, uint64_t net, uint64_t scoped)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_landlock(runner, fs, net, scoped, 0, &error), &error);
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
}

static void allow(sbx_runner *runner, const char *path, uint64_t access)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_landlock_path(runner, path, access, 0, &error), &error);
}

static void the_abi_is_the_kernels(void **state)
{
    (void)state;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    assert_int_equal(sbx_landlock_abi(), abi < 0 ? 0 : abi);
}

static void only_allowed_paths_are_reached(void **state)
{
    (void)state;
    need_abi(1);
    const char *open_dir = make_scratch();
    const char *closed_dir = make_scratch();
    chmod(open_dir, 0777);
    write_file(text("%s/note", open_dir), "hello\n", 6, 0666);
    write_file(text("%s/note", closed_dir), "secret\n", 7, 0666);
    const char *read_open = text("read %s/note", open_dir), *read_closed = text("read %s/note", closed_dir);
    const char *write_open = text("append %s/note x", open_dir), *make_open = text("create %s/new", open_dir);
    const char *remove_open = text("remove %s/new", open_dir);

    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("files"), read_closed, "ok secret", make_open, "ok", remove_open, "ok", NULL); /* control */

        handle(runner, reading | writing, 0, 0);
        allow(runner, inside("files"), LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE);
        allow(runner, open_dir, reading);
        expect(runner, NULL, inside("files"), read_open, "ok hello*", read_closed, "EACCES", write_open, "EACCES", make_open,
               "EACCES", text("list %s", closed_dir), "EACCES", NULL);
        allow(runner, open_dir, writing);
        expect(runner, NULL, inside("files"), write_open, "ok", make_open, "ok", remove_open, "ok", read_closed, "EACCES", NULL);
        sbx_runner_free(runner);
    }
}

/* The rules' paths are those of the new root: the same path outside is another directory. */
static void paths_are_looked_up_inside(void **state)
{
    (void)state;
    need_abi(1);
    const char *first = make_scratch();
    const char *second = make_scratch();
    write_file(text("%s/note", first), "first\n", 6, 0644);
    write_file(text("%s/note", second), "second\n", 7, 0644);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = rooted_sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_add_bind(runner, second, first, 0, NULL), 0);
        assert_int_equal(sbx_add_bind(runner, first, "/other", 0, NULL), 0);
        handle(runner, reading, 0, 0);
        allow(runner, "/inside", reading);
        allow(runner, first, reading);
        expect(runner, NULL, "/inside/files", text("read %s/note", first), "ok second", "read /other/note", "EACCES", NULL);
        sbx_runner_free(runner);
    }
}

static void a_program_that_may_not_be_executed_is_named(void **state)
{
    (void)state;
    need_abi(1);
    const char *argv[] = {inside("exit0"), NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        set_shape(runner, shapes[i]);
        handle(runner, LANDLOCK_ACCESS_FS_EXECUTE, 0, 0);
        expect_refusal(runner, NULL, "exec", EACCES);
        sbx_runner_free(runner);
    }
}

static void a_missing_path_is_named_or_skipped(void **state)
{
    (void)state;
    need_abi(1);
    const char *argv[] = {inside("exit0"), NULL};
    sbx_runner *runner = sbx_runner_new();
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    handle(runner, reading, 0, 0);
    allow(runner, inside("exit0"), LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE);
    assert_int_equal(sbx_add_landlock_path(runner, "/missing/optional", reading, SBX_MOUNT_OPTIONAL, NULL), 0);
    assert_int_equal(run_ok(runner, 0)->unenforced, SBX_UNENFORCED_MOUNT);
    allow(runner, "/missing/needed", reading);
    assert_int_equal(expect_refusal(runner, NULL, "landlock_rule", ENOENT)->index, 2);
    sbx_runner_free(runner);
}

static void a_rule_for_what_is_not_handled_is_refused(void **state)
{
    (void)state;
    const char *argv[] = {inside("exit0"), NULL};
    sbx_runner *runner = sbx_runner_new();
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    handle(runner, LANDLOCK_ACCESS_FS_READ_FILE, 0, 0);
    allow(runner, "/", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
    const struct sbx_error *error = expect_refusal(runner, NULL, "argument", EINVAL);
    assert_non_null(strstr(error->message, "landlock_path"));
    sbx_runner_free(runner);

    runner = sbx_runner_new();
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    handle(runner, LANDLOCK_ACCESS_FS_WRITE_FILE, 0, 0);
    assert_int_equal(sbx_add_landlock_port(runner, 80, NET_BIND_TCP, NULL), 0);
    error = expect_refusal(runner, NULL, "argument", EINVAL);
    assert_non_null(strstr(error->message, "landlock_port"));
    sbx_runner_free(runner);
}

/* A listening socket on 127.0.0.1; its port. */
static int listen_tcp(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void only_allowed_ports_are_used(void **state)
{
    (void)state;
    need_abi(4);
    int open_port, closed_port, free_port;
    int first = listen_tcp(&open_port), second = listen_tcp(&closed_port);
    close(listen_tcp(&free_port));
    const char *connect_open = text("connect %d", open_port), *connect_closed = text("connect %d", closed_port);
    const char *bind_free = text("bind %d", free_port);

    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("net"), connect_open, "ok", connect_closed, "ok", bind_free, "ok", NULL); /* control */

        handle(runner, 0, NET_BIND_TCP | NET_CONNECT_TCP, 0);
        assert_int_equal(sbx_add_landlock_port(runner, (uint16_t)open_port, NET_CONNECT_TCP, NULL), 0);
        expect(runner, NULL, inside("net"), connect_open, "ok", connect_closed, "EACCES", bind_free, "EACCES", NULL);
        assert_int_equal(sbx_add_landlock_port(runner, (uint16_t)free_port, NET_BIND_TCP, NULL), 0);
        expect(runner, NULL, inside("net"), bind_free, "ok", connect_closed, "EACCES", NULL);
        sbx_runner_free(runner);
    }
    close(first);
    close(second);
}

static void a_hosts_process_cannot_be_signalled(void **state)
{
    (void)state;
    need_abi(6);
    pid_t victim = fork();
    assert_true(victim >= 0);
    if (victim == 0) {
        for (;;) {
            pause();
        }
    }
    const char *signal_it = text("kill %d %d", victim, SIGCONT);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("net"), signal_it, "ok", NULL); /* control */
        handle(runner, 0, 0, SCOPE_SIGNAL);
        expect(runner, NULL, inside("net"), signal_it, "EPERM", NULL);
        sbx_runner_free(runner);
    }
    kill(victim, SIGKILL);
    assert_int_equal(waitpid(victim, NULL, 0), victim);
}

static void a_hosts_abstract_socket_cannot_be_reached(void **state)
{
    (void)state;
    need_abi(6);
    const char *name = text("sbx-test-%d", getpid());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name, strlen(name));
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(server, 8), 0);
    const char *reach = text("abstract %s", name);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("net"), reach, "ok", NULL); /* control */
        handle(runner, 0, 0, SCOPE_ABSTRACT_SOCKET);
        expect(runner, NULL, inside("net"), reach, "EPERM", NULL);
        sbx_runner_free(runner);
    }
    close(server);
}

static void restrict_without_no_new_privs(void *program)
{
    const char *argv[] = {program, NULL};
    sbx_runner *runner = sbx_runner_new();
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    handle(runner, writing, 0, 0);
    run_ok(runner, 0);
    assert_int_equal(sbx_set_no_new_privs(runner, false, NULL), 0);
    const struct outcome *outcome = run(runner, NULL);
    assert_true(outcome->started == -EPERM || outcome->started == -EINVAL);
    sbx_runner_free(runner);
}

static void an_unprivileged_host_needs_no_new_privs(void **state)
{
    (void)state;
    need_abi(1);
    in_unprivileged_host(restrict_without_no_new_privs, (void *)reachable_inside("exit0"));
}

/* A kernel without Landlock, by a filter on the test host. It comes before anything has asked for the ABI. */
static void without_landlock(void *unused)
{
    (void)unused;
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = 4, .filter = instructions};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
    assert_int_equal(sbx_landlock_abi(), 0);

    const char *argv[] = {inside("exit0"), NULL};
    sbx_runner *runner = sbx_runner_new();
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    handle(runner, reading, 0, 0);
    allow(runner, "/", reading);
    expect_refusal(runner, NULL, "landlock_ruleset", EOPNOTSUPP);
    assert_int_equal(sbx_set_landlock(runner, reading, 0, 0, SBX_LANDLOCK_BEST_EFFORT, NULL), 0);
    assert_int_equal(run_ok(runner, 0)->unenforced, SBX_UNENFORCED_LANDLOCK);
    sbx_runner_free(runner);
}

static void what_the_kernel_lacks_is_never_skipped_silently(void **state)
{
    (void)state;
    in_forked_host(without_landlock, NULL);
}

static void best_effort_enforces_what_there_is(void **state)
{
    (void)state;
    need_abi(1);
    const char *closed_dir = make_scratch();
    write_file(text("%s/note", closed_dir), "secret\n", 7, 0644);
    sbx_runner *runner = sbx_runner_new();
    handle(runner, LANDLOCK_ACCESS_FS_READ_FILE, 0, 0);
    assert_int_equal(sbx_set_landlock(runner, LANDLOCK_ACCESS_FS_READ_FILE, 0, 0, SBX_LANDLOCK_BEST_EFFORT, NULL), 0);
    allow(runner, inside("files"), LANDLOCK_ACCESS_FS_READ_FILE);
    const struct outcome *outcome = expect(runner, NULL, inside("files"), text("read %s/note", closed_dir), "EACCES", NULL);
    assert_int_equal(outcome->unenforced, 0);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(what_the_kernel_lacks_is_never_skipped_silently),
        host_test(the_abi_is_the_kernels),
        host_test(only_allowed_paths_are_reached),
        host_test(paths_are_looked_up_inside),
        host_test(a_program_that_may_not_be_executed_is_named),
        host_test(a_missing_path_is_named_or_skipped),
        host_test(a_rule_for_what_is_not_handled_is_refused),
        host_test(only_allowed_ports_are_used),
        host_test(a_hosts_process_cannot_be_signalled),
        host_test(a_hosts_abstract_socket_cannot_be_reached),
        host_test(an_unprivileged_host_needs_no_new_privs),
        host_test(best_effort_enforces_what_there_is),
    };
    return cmocka_run_group_tests_name("landlock", tests, NULL, NULL);
}
