/* A host that is killed at any moment of a start takes its sandboxes along: with the init and a pid namespace no
 * process is left. The direct shape promises less and says so; it is the control. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLS 200
#define RUNNING 3 /* sandboxes that are up while further ones start */

struct host {
    sbx_runner *runner;
    int kills;
    int ready;     /* a byte is written here when starts begin */
};

/* Starts sandboxes for ever: a few that stay, and then one after another. */
static _Noreturn void start_for_ever(const struct host *host)
{
    sbx_process *running[RUNNING] = {NULL};
    struct sbx_error error = SBX_ERROR_INIT;
    for (unsigned n = 0;; n++) {
        sbx_process **place = &running[n % RUNNING];
        sbx_process_free(*place);
        *place = NULL;
        if (n == 0) {
            require(write(host->ready, "x", 1) == 1, "a byte for the killer");
        }
        require_ok(sbx_start(host->runner, NULL, place, &error), &error, "sbx_start");
    }
}

/* Reaps everybody who became our child. How many are left after `ms`: they are killed then. */
static int survivors(unsigned ms)
{
    uint64_t deadline = now_ns() + ms * UINT64_C(1000000);
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);
        if (pid < 0 && errno == ECHILD) {
            return 0;
        }
        if (pid == 0 && now_ns() > deadline) {
            break;
        }
        if (pid == 0) {
            sleep_ms(1);
        }
    }
    int left = 0;
    siginfo_t info = {0};
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    int pid;
    while (children != NULL && fscanf(children, "%d", &pid) == 1) {
        kill(pid, SIGKILL);
        left++;
    }
    if (children != NULL) {
        fclose(children);
    }
    while (waitid(P_ALL, 0, &info, WEXITED | __WALL) == 0) {
    }
    return left;
}

/* Kills a fresh host after `delay_us` of starts. */
static int kill_a_host(sbx_runner *runner, unsigned delay_us)
{
    int fds[2];
    require(pipe(fds) == 0, "pipe");
    struct host host = {.runner = runner, .ready = fds[1]};
    pid_t pid = fork();
    require(pid >= 0, "fork");
    if (pid == 0) {
        start_for_ever(&host);
    }
    char byte;
    require(read(fds[0], &byte, 1) == 1, "the host begins");
    close(fds[0]);
    close(fds[1]);
    usleep(delay_us);
    kill(pid, SIGKILL);
    require(waitpid(pid, NULL, 0) == pid, "the host is dead");
    return survivors(5000);
}

static int kill_many(void *arg)
{
    struct sbx_error error = SBX_ERROR_INIT;
    const struct host *host = arg;
    sbx_runner *runner = host->runner;
    require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "subreaper");
    uint64_t begin = now_ns();
    sbx_process *process = NULL;
    require_ok(sbx_start(runner, NULL, &process, &error), &error, "sbx_start");
    require(sbx_process_dies_with_host(process), "it says that it dies with its host");
    unsigned start_us = (unsigned)((now_ns() - begin) / 1000);
    sbx_process_free(process);
    for (int n = 0; n < host->kills; n++) {
        /* The first start is cut anywhere, and for the longer delays a later one with others running. */
        int left = kill_a_host(runner, (unsigned)rand() % (4 * start_us + 1));
        require(left == 0, "nobody survives the host");
    }
    return 0;
}

static int kill_one(void *arg)
{
    require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "subreaper");
    return kill_a_host(arg, 50000) > 0 ? 0 : 1;
}

static void an_init_in_a_pid_namespace_dies_with_it(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("act", "ignore", "1", "ignore", "15", "pause", NULL);
    set_namespaces(runner, SBX_NS_PID);
    struct host host = {.runner = runner, .kills = KILLS};
    assert_int_equal(forked_host(kill_many, &host, 60), 0);
    sbx_runner_free(runner);
}

static void with_mounts_and_a_network_too(void **state)
{
    (void)state;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = runner_for("act", "daemon", "100000", "pause", NULL);
    set_namespaces(runner, SBX_NS_PID | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS);
    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    assert_ok(sbx_add_bind(runner, inside("act"), inside("act"), 0, &error), &error);
    assert_ok(sbx_add_proc(runner, "/proc", 0, &error), &error);
    struct host host = {.runner = runner, .kills = KILLS / 2};
    assert_int_equal(forked_host(kill_many, &host, 60), 0);
    sbx_runner_free(runner);
}

/* The control: a program of the direct shape outlives its host, and is seen. */
static void a_direct_program_survives(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("act", "pause", NULL);
    assert_int_equal(forked_host(kill_one, runner, 20), 0);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(an_init_in_a_pid_namespace_dies_with_it),
        host_test(with_mounts_and_a_network_too),
        host_test(a_direct_program_survives),
    };
    return cmocka_run_group_tests_name("killed_host", tests, NULL, NULL);
}
