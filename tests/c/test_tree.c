/* The processes of a sandbox: none outlives it, none reaches the host, and a program behind the init lives and dies as it
 * would outside. */
#include "support_ask.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static sbx_runner *behind_init(bool pid_namespace)
{
    sbx_runner *runner = pid_namespace ? sandbox(SBX_NS_PID) : sbx_runner_new();
    assert_non_null(runner);
    assert_int_equal(sbx_set_init(runner, true, NULL), 0);
    return runner;
}

/* The daemon has left its session, ignores signals, and holds the pipe that the host reads. */
static void daemons_die_with_the_program(void **state)
{
    (void)state;
    for (int pid_namespace = 0; pid_namespace < 2; pid_namespace++) {
        sbx_runner *runner = behind_init(pid_namespace);
        int output;
        sbx_process *process =
            start_asking(runner, NULL, &output, inside("tree"), "daemon 1000", "daemon 1000", "daemon 1000", "exit 7", NULL);
        struct sbx_status status = SBX_STATUS_INIT;
        struct sbx_error error = SBX_ERROR_INIT;
        assert_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error);
        assert_int_equal(status.code, CLD_EXITED);
        assert_int_equal(status.status, 7);
        /* Without a further call: the init ends the rest as soon as the program has ended. */
        assert_true(readable(sbx_process_tree_fd(process), 10000));
        assert_string_not_equal(next_line(output), "");
        assert_true(closed_within(output, 10000));
        close(output);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

/* Control: with nobody to end it, the daemon goes on. The wait is about the program, not about who has its output open. */
static void daemons_survive_without_the_init(void **state)
{
    (void)state;
    sbx_runner *runner = sbx_runner_new();
    int output;
    sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "daemon 1000", NULL);
    assert_int_equal(sbx_process_wait(process, READ_TIMEOUT_NS, NULL, NULL), 0);
    assert_int_equal(sbx_process_shape(process), SBX_SHAPE_DIRECT);
    int daemon = atoi(next_line(output) + 3);
    assert_true(daemon > 1);
    sbx_process_free(process);
    assert_false(closed_within(output, 200));
    assert_int_equal(kill(daemon, SIGKILL), 0);
    assert_true(closed_within(output, 10000));
    close(output);
    sbx_runner_free(runner);
}

static void freeing_ends_the_whole_tree(void **state)
{
    (void)state;
    for (int pid_namespace = 0; pid_namespace < 2; pid_namespace++) {
        for (int kill_first = 0; kill_first < 2; kill_first++) {
            sbx_runner *runner = behind_init(pid_namespace);
            int output;
            sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "daemon 1000", "sleep 1000", NULL);
            next_line(output);
            if (kill_first) {
                assert_int_equal(sbx_process_kill_tree(process, NULL), 0);
                assert_true(readable(sbx_process_tree_fd(process), 10000));
                assert_true(closed_within(output, 10000));
            }
            sbx_process_free(process);
            assert_true(closed_within(output, 0) || closed_within(output, 100));
            close(output);
            sbx_runner_free(runner);
        }
    }
}

/* inside/tree checks that it is in another pid namespace first. */
static void killing_everything_inside_spares_host_and_init(void **state)
{
    (void)state;
    char host[64] = "";
    assert_true(readlink("/proc/self/ns/pid", host, sizeof host - 1) > 0);
    sbx_runner *runner = behind_init(true);
    const struct outcome *outcome =
        ask(runner, NULL, inside("tree"), "daemon 1000", text("kill-all %s", host), "kill 1 9", "kill 1 15", "pid", "exit 5", NULL);
    assert_string_equal(answer(outcome, 1), "ok"); /* the daemon was there to be killed */
    assert_string_not_equal(answer(outcome, 4), "ok 1");
    assert_int_equal(outcome->status.code, CLD_EXITED);
    assert_int_equal(outcome->status.status, 5);
    sbx_runner_free(runner);
}

/* As process 1 of a pid namespace most of these would be ignored or look like something else. */
static void signals_end_the_program_as_they_should(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGKILL, SIGSEGV, SIGPIPE, SIGXCPU, SIGUSR1, SIGSYS, SIGHUP};
    for (int pid_namespace = 0; pid_namespace < 2; pid_namespace++) {
        sbx_runner *runner = behind_init(pid_namespace);
        assert_int_equal(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, NULL), 0);
        for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
            const struct outcome *outcome = ask(runner, NULL, inside("tree"), text("raise %d", signals[i]), NULL);
            assert_ended(outcome, CLD_KILLED, signals[i]);
        }
        assert_ended(ask(runner, NULL, inside("tree"), "abort", NULL), CLD_KILLED, SIGABRT);
        sbx_runner_free(runner);
    }
}

/* A stop that only a tracer sees is no end, and the program cannot make the init its tracer's fool. */
static void a_stop_is_not_taken_for_the_end(void **state)
{
    (void)state;
    for (int pid_namespace = 0; pid_namespace < 2; pid_namespace++) {
        sbx_runner *runner = behind_init(pid_namespace);
        int output;
        sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "traceme", "raise 10", "sleep 1000", NULL);
        next_line(output);
        struct sbx_status status = SBX_STATUS_INIT;
        assert_int_equal(sbx_process_wait(process, 200 * UINT64_C(1000000), &status, NULL), -ETIMEDOUT);
        assert_int_equal(sbx_process_kill(process, SIGKILL, NULL), 0);
        assert_int_equal(sbx_process_wait(process, READ_TIMEOUT_NS, &status, NULL), 0);
        assert_int_equal(status.code, CLD_KILLED);
        assert_int_equal(status.status, SIGKILL);
        close(output);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

/* Of the same user, and without a pid namespace between them, the program may stop the init. */
static void an_init_that_was_stopped_holds_nobody_up(void **state)
{
    (void)state;
    for (int sleeps = 0; sleeps < 2; sleeps++) {
        sbx_runner *runner = behind_init(false);
        int output;
        sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "pid", text("kill-parent %d", SIGSTOP), "pid",
                                            sleeps ? "sleep 1000" : "exit 4", NULL);
        next_line(output);
        assert_string_equal(next_line(output), "ok");
        struct sbx_status status = SBX_STATUS_INIT;
        if (!sleeps) {
            assert_int_equal(sbx_process_wait(process, READ_TIMEOUT_NS, &status, NULL), 0);
            assert_int_equal(status.code, CLD_EXITED);
            assert_int_equal(status.status, 4);
        }
        uint64_t before = now_ns();
        sbx_process_free(process);
        assert_true(now_ns() - before < 10 * UINT64_C(1000000000));
        assert_true(closed_within(output, 1000));
        close(output);
        sbx_runner_free(runner);
    }
}

static void kill_own_group(void *path)
{
    assert_int_equal(setpgid(0, 0), 0); /* should it go wrong, nobody else is in it */
    for (int init = 0; init < 2; init++) {
        sbx_runner *runner = sbx_runner_new();
        set_namespaces(runner, SBX_NS_USER | SBX_NS_PID);
        assert_int_equal(sbx_set_init(runner, init, NULL), 0);
        const struct outcome *outcome = ask(runner, NULL, path, "pid", "kill 0 0", "kill 0 9", "exit 3", NULL);
        /* Process 1 of a pid namespace cannot be killed from inside; any other ends itself. */
        assert_ended(outcome, init ? CLD_KILLED : CLD_EXITED, init ? SIGKILL : 3);
        sbx_runner_free(runner);
    }
}

/* A pid namespace does not cut a process group. */
static void its_process_group_is_not_the_hosts(void **state)
{
    (void)state;
    need_userns();
    in_unprivileged_host(kill_own_group, (void *)reachable_inside("tree"));
}

/* Control: what a program sees that is process 1 itself. */
static void process_1_is_not_ended_by_its_own_signals(void **state)
{
    (void)state;
    sbx_runner *runner = sandbox(SBX_NS_PID);
    assert_int_equal(sbx_set_init(runner, false, NULL), 0);
    assert_int_equal(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, NULL), 0);
    const struct outcome *outcome = ask(runner, NULL, inside("tree"), "pid", "raise 15", "raise 9", "exit 3", NULL);
    assert_string_equal(outcome->output, "ok 1\nok\nok\n");
    assert_ended(outcome, CLD_EXITED, 3);
    outcome = ask(runner, NULL, inside("tree"), "abort", NULL);
    assert_int_not_equal(outcome->status.status, SIGABRT);
    sbx_runner_free(runner);
}

static void orphans_come_to_the_init_and_are_reaped(void **state)
{
    (void)state;
    sbx_runner *runner = behind_init(true);
    expect(runner, NULL, inside("tree"), "orphans-parent", "ok 1", "orphans 40", "ok", "orphans 40", "ok", "orphans 40", "ok",
           "orphans 40", "ok", "orphans 40", "ok", "wait", "ECHILD", NULL);
    sbx_runner_free(runner);
}

/* The parent of a process, 0 if it is not there. */
static int parent_of(int pid)
{
    FILE *file = fopen(text("/proc/%d/stat", pid), "re");
    if (file == NULL) {
        return 0;
    }
    char line[512] = "";
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *rest = strrchr(line, ')'); /* the name before it may have anything in it */
    int parent = 0;
    return read && rest != NULL && sscanf(rest, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* Living or not. */
static int count_children(int parent)
{
    int children = 0;
    DIR *dir = opendir("/proc");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int pid = atoi(entry->d_name);
        children += pid > 0 && parent_of(pid) == parent;
    }
    closedir(dir);
    return children;
}

static void no_zombies_pile_up(void **state)
{
    (void)state;
    for (int pid_namespace = 0; pid_namespace < 2; pid_namespace++) {
        sbx_runner *runner = behind_init(pid_namespace);
        int output;
        sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "orphans 100", "sleep 1000", NULL);
        assert_string_equal(next_line(output), "ok");
        int init = parent_of(sbx_process_pid(process));
        assert_true(init > 0 && init != getpid());
        /* All of them are on their way out: in the end the program alone is left. */
        int children = count_children(init);
        for (int tries = 0; tries < 1000 && children > 1; tries++) {
            sleep_ms(10);
            children = count_children(init);
        }
        assert_int_equal(children, 1);
        close(output);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

/* An init without a pid namespace adopts what the program leaves behind, and the host adopts nothing. */
static void without_a_pid_namespace_nothing_comes_to_the_host(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* whatever escapes the init is our child now */
    sbx_runner *runner = behind_init(false);
    const struct outcome *outcome = ask(runner, NULL, inside("tree"), "orphans-parent", "daemon 1000", "orphans 20", NULL);
    assert_int_equal(outcome->shape, SBX_SHAPE_INIT);
    assert_false(outcome->dies_with_host);
    assert_string_not_equal(answer(outcome, 0), text("ok %d", getpid()));
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(errno, ECHILD);
    sbx_runner_free(runner);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void the_tree_is_gone_when_its_descriptor_says_so(void **state)
{
    (void)state;
    for (int pid_namespace = 0; pid_namespace < 2; pid_namespace++) {
        sbx_runner *runner = behind_init(pid_namespace);
        int output;
        sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "pid", "sleep 1000", NULL);
        next_line(output);
        assert_false(readable(sbx_process_tree_fd(process), 50));
        assert_false(readable(sbx_process_pidfd(process), 0));
        assert_int_equal(sbx_process_kill(process, SIGTERM, NULL), 0);
        struct sbx_status status = SBX_STATUS_INIT;
        assert_int_equal(sbx_process_wait(process, READ_TIMEOUT_NS, &status, NULL), 0);
        assert_int_equal(status.code, CLD_KILLED);
        assert_int_equal(status.status, SIGTERM);
        assert_true(readable(sbx_process_tree_fd(process), 10000));
        assert_int_equal(sbx_process_kill(process, SIGTERM, NULL), -ESRCH);
        assert_int_equal(sbx_process_kill_tree(process, NULL), 0);
        close(output);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(daemons_die_with_the_program),
        host_test(daemons_survive_without_the_init),
        host_test(freeing_ends_the_whole_tree),
        host_test(killing_everything_inside_spares_host_and_init),
        host_test(signals_end_the_program_as_they_should),
        host_test(a_stop_is_not_taken_for_the_end),
        host_test(an_init_that_was_stopped_holds_nobody_up),
        host_test(its_process_group_is_not_the_hosts),
        host_test(process_1_is_not_ended_by_its_own_signals),
        host_test(orphans_come_to_the_init_and_are_reaped),
        host_test(no_zombies_pile_up),
        host_test(without_a_pid_namespace_nothing_comes_to_the_host),
        host_test(the_tree_is_gone_when_its_descriptor_says_so),
    };
    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
