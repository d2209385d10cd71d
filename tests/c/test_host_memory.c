/* The host's memory stays its own: a secret in its heap and in its environment is not to be had from inside,
 * neither through process 1 of the sandbox nor, by whoever lives in a user namespace, through a later start
 * that joins it. Each with the naive way as its control. */
#include "support.h"
#include "support_ask.h"
#include "support_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET_LENGTH 32
#define MASK 0x5a

static char *secret;                            /* on the heap */
static char masked[2 * SECRET_LENGTH + 1];      /* what the hunter is told */
static char address[32];

static int plant_secret(void **state)
{
    (void)state;
    secret = strdup(getenv("SBX_TEST_SECRET"));
    if (secret == NULL || strlen(secret) != SECRET_LENGTH) {
        return -1;
    }
    for (size_t i = 0; i < SECRET_LENGTH; i++) {
        snprintf(masked + 2 * i, 3, "%02x", (unsigned)(secret[i] ^ MASK));
    }
    snprintf(address, sizeof address, "%lx", (unsigned long)(uintptr_t)secret);
    return 0;
}

static int dig_up_secret(void **state)
{
    (void)state;
    free(secret);
    return 0;
}

/* The environment that /proc shows is the one a program was started with: a secret in there needs an exec. */
static void exec_with_secret(char **argv)
{
    unsigned char random[SECRET_LENGTH];
    char word[SECRET_LENGTH + 1] = "";
    if (getenv("SBX_TEST_SECRET") != NULL || getrandom(random, sizeof random, 0) != sizeof random) {
        return;
    }
    for (size_t i = 0; i < SECRET_LENGTH; i++) {
        word[i] = (char)('a' + random[i] % 26);
    }
    setenv("SBX_TEST_SECRET", word, 1);
    execv("/proc/self/exe", argv);
}

/* ---- through process 1 ---- */

static void process_one_tells_nothing(void **state)
{
    (void)state;
    for (int all_caps = 0; all_caps < 2; all_caps++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *runner = rooted_sandbox(SBX_NS_PID | SBX_NS_MNT);
        assert_ok(sbx_add_proc(runner, "/proc", 0, &error), &error);
        if (!all_caps) {
            assert_ok(sbx_set_caps(runner, 0, &error), &error);
        }
        const struct outcome *outcome = ask(runner, NULL, "/inside/hunt", "all", masked, NULL);
        assert_ended(outcome, CLD_EXITED, 0);
        assert_int_equal(outcome->shape, SBX_SHAPE_INIT);
        assert_string_equal(strchr(outcome->output, '\n'), "\n"); /* process 1 and nobody else */
        if (all_caps) {
            /* It may look, and finds a program of a few kilobytes with an empty environment. */
            assert_null(strstr(outcome->output, "found"));
            assert_non_null(strstr(outcome->output, "pid 1 "));
        } else {
            assert_string_equal(outcome->output, "pid 1 environ denied memory denied\n");
        }
        sbx_runner_free(runner);
    }
}

static void write_map(const char *path, unsigned id)
{
    char text_line[64];
    int length = snprintf(text_line, sizeof text_line, "0 %u 1", id);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    require(fd >= 0 && write(fd, text_line, (size_t)length) == length, path);
    close(fd);
}

/* Process 1 as a fork of the host, as naive sandboxes have it: the hunter is its child. */
static int naive_init(void *arg)
{
    int out = *(int *)arg;
    unsigned uid = geteuid();
    unsigned gid = getegid();
    if (uid != 0) {
        require(unshare(CLONE_NEWUSER) == 0, "a user namespace");
        int fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
        require(fd >= 0 && write(fd, "deny", 4) == 4, "setgroups");
        close(fd);
        write_map("/proc/self/uid_map", uid);
        write_map("/proc/self/gid_map", gid);
    }
    require(unshare(CLONE_NEWPID | CLONE_NEWNS) == 0, "namespaces");
    pid_t init = fork();
    require(init >= 0, "fork");
    if (init == 0) {
        require(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
        require(mount("proc", "/proc", "proc", 0, NULL) == 0, "proc");
        pid_t hunter = fork();
        if (hunter == 0) {
            dup2(out, 1);
            execl(inside("hunt"), "hunt", "all", masked, (char *)NULL);
            _exit(127);
        }
        waitpid(hunter, NULL, 0);
        _exit(0);
    }
    return waitpid(init, NULL, 0) == init ? 0 : 1;
}

static void a_forked_init_would_tell_all(void **state)
{
    (void)state;
    if (!is_root()) {
        need_userns();
    }
    int fds[2];
    make_pipe(fds);
    assert_int_equal(forked_host(naive_init, &fds[1], 20), 0);
    close(fds[1]);
    char output[1024];
    read_to_end(fds[0], output, sizeof output);
    close(fds[0]);
    assert_string_equal(output, "pid 1 environ found memory found\n");
}

/* ---- through a start that joins a user namespace ---- */

struct hunter {
    sbx_runner *runner;
    sbx_process *process;
    int stdin_pipe[2];
    int stdout_pipe[2];
    int user_namespace;
};

/* A program that lives in a user namespace of its own, root in there, and looks at every process there is. */
static void begin_hunt(struct hunter *hunter)
{
    struct sbx_error error = SBX_ERROR_INIT;
    const char *program = reachable_inside("hunt");
    const char *argv[] = {program, "newcomers", masked, address, NULL};
    hunter->runner = sbx_runner_new();
    assert_non_null(hunter->runner);
    assert_ok(sbx_set_args(hunter->runner, argv, &error), &error);
    assert_ok(sbx_set_namespaces(hunter->runner, SBX_NS_USER, &error), &error);
    assert_ok(sbx_add_uid_map(hunter->runner, 0, is_root() ? 100000 : geteuid(), 1, &error), &error);
    assert_ok(sbx_add_gid_map(hunter->runner, 0, is_root() ? 100000 : getegid(), 1, &error), &error);
    assert_ok(sbx_set_credential(hunter->runner, 0, 0, NULL, 0, &error), &error);

    make_pipe(hunter->stdin_pipe);
    make_pipe(hunter->stdout_pipe);
    struct sbx_fd_map map[] = {{hunter->stdin_pipe[0], 0}, {hunter->stdout_pipe[1], 1}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.fds = map;
    launch.n_fds = 2;
    assert_ok(sbx_start(hunter->runner, &launch, &hunter->process, &error), &error);
    close(hunter->stdout_pipe[1]);
    assert_true(readable(hunter->stdout_pipe[0], 10000));
    hunter->user_namespace = open(text("/proc/%d/ns/user", sbx_process_pid(hunter->process)), O_RDONLY | O_CLOEXEC);
    assert_true(hunter->user_namespace >= 0);
}

/* What the hunter found: how often it reached into a memory at all, and how often the secret was in it. */
static void end_hunt(struct hunter *hunter, unsigned long *reached, unsigned long *found)
{
    char output[256];
    close(hunter->stdin_pipe[0]);
    close(hunter->stdin_pipe[1]);
    read_to_end(hunter->stdout_pipe[0], output, sizeof output);
    close(hunter->stdout_pipe[0]);
    close(hunter->user_namespace);
    sbx_process_free(hunter->process);
    sbx_runner_free(hunter->runner);
    assert_int_equal(sscanf(output, "ready\nreached %lu found %lu\n", reached, found), 2);
}

static int linger(int pid, int pidfd, void *arg)
{
    (void)pid;
    (void)pidfd;
    (void)arg;
    sleep_ms(5); /* with the child inside the joined namespace */
    return 0;
}

static void a_joined_user_namespace_sees_nothing(void **state)
{
    (void)state;
    if (!is_root()) {
        need_userns();
    }
    struct hunter hunter;
    begin_hunt(&hunter);
    for (size_t n = 0; n < 60; n++) {
        struct sbx_error error = SBX_ERROR_INIT;
        sbx_runner *runner = runner_for("exit0", NULL);
        int program = open(inside("exit0"), O_PATH | O_CLOEXEC); /* the joined ids may not search the way to it */
        set_shape(runner, all_shapes[n % 3]);
        assert_ok(sbx_set_exec_fd(runner, program, &error), &error);
        assert_ok(sbx_join_namespace(runner, hunter.user_namespace, SBX_NS_USER, &error), &error);
        assert_ok(sbx_set_credential(runner, 0, 0, NULL, 0, &error), &error);
        assert_ok(sbx_set_sync_func(runner, n % 2 ? linger : NULL, &error), &error);
        const struct outcome *outcome = run_ok(runner, 0);
        assert_true(outcome->shape != SBX_SHAPE_DIRECT);
        sbx_runner_free(runner);
        close(program);
    }
    unsigned long reached, found;
    end_hunt(&hunter, &reached, &found);
    assert_int_equal(found, 0);
    print_message("the hunter reached into %lu memories\n", reached);
}

static int naive_joiner(void *arg)
{
    if (setns(*(int *)arg, CLONE_NEWUSER) != 0) {
        return 1;
    }
    sleep_ms(100);
    return 0;
}

static void a_joiner_in_the_hosts_memory_would_be_read(void **state)
{
    (void)state;
    if (!is_root()) {
        need_userns();
    }
    struct hunter hunter;
    begin_hunt(&hunter);
    static char stack[256 * 1024];
    int status = -1;
    pid_t pid = clone(naive_joiner, stack + sizeof stack, CLONE_VM | SIGCHLD, &hunter.user_namespace);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    unsigned long reached, found;
    end_hunt(&hunter, &reached, &found);
    assert_true(reached > 0);
    assert_true(found > 0);
}

int main(int argc, char **argv)
{
    (void)argc;
    exec_with_secret(argv);
    const struct CMUnitTest tests[] = {
        host_test(process_one_tells_nothing),
        host_test(a_forked_init_would_tell_all),
        host_test(a_joined_user_namespace_sees_nothing),
        host_test(a_joiner_in_the_hosts_memory_would_be_read),
    };
    return cmocka_run_group_tests_name("host_memory", tests, plant_secret, dig_up_secret);
}
