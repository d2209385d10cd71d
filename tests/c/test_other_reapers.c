/* Hosts that reap behind the library's back: SIGCHLD ignored, SA_NOCLDWAIT, or a thread that loops on
 * waitpid(-1). In the init shape results are true all the same, usage included. In the others the kernel still
 * tells (PIDFD_GET_INFO, Linux 6.15), or it is ECHILD: never a guess. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define STARTS 10

enum habit { IGNORES_SIGCHLD, NO_ZOMBIES, WAITS_FOR_ANYBODY };

/* How a program ends, and what must be said about it. */
static const struct ending {
    const char *word, *arg;
    int code, status;
} endings[] = {
    {"exit", "0", CLD_EXITED, 0},
    {"exit", "7", CLD_EXITED, 7},
    {"exit", "255", CLD_EXITED, 255},
    {"raise", "9", CLD_KILLED, SIGKILL},
    {"raise", "31", CLD_KILLED, SIGSYS},
    {"spin", "30", CLD_EXITED, 0},
};
#define N_ENDINGS (sizeof endings / sizeof endings[0])

struct host {
    enum habit habit;
    uint32_t shape;
    sbx_runner *runners[N_ENDINGS];
    atomic_bool stop;
    atomic_uint stolen;
};

static bool kernel_remembers_exits(void)
{
    struct utsname names;
    int major = 0, minor = 0;
    bool known = uname(&names) == 0 && sscanf(names.release, "%d.%d", &major, &minor) == 2;
    return known && (major > 6 || (major == 6 && minor >= 15));
}

static void *wait_for_anybody(void *arg)
{
    struct host *host = arg;
    while (!atomic_load(&host->stop)) {
        if (waitpid(-1, NULL, __WALL) > 0) {
            atomic_fetch_add(&host->stolen, 1);
        } else {
            usleep(20);
        }
    }
    return NULL;
}

static void start_one(struct host *host, size_t n)
{
    struct sbx_error error = SBX_ERROR_INIT;
    const struct ending *ending = &endings[n];
    sbx_process *process = NULL;
    require_ok(sbx_start(host->runners[n], NULL, &process, &error), &error, "sbx_start");
    require(sbx_process_shape(process) == host->shape, "the shape");
    for (int again = 0; again < 2; again++) {
        struct sbx_status status = {.size = sizeof status};
        int result = sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error);
        if (result == -ECHILD && host->shape != SBX_SHAPE_INIT && !kernel_remembers_exits()) {
            require(error.err == ECHILD, "the error says ECHILD too");
            require(strcmp(sbx_location_name(error.location), "wait") == 0, "and of wait");
            continue;
        }
        require_ok(result, &error, "sbx_process_wait");
        if (status.code != ending->code || status.status != ending->status) {
            fprintf(stderr, "%s %s: code %d, status %d\n", ending->word, ending->arg, status.code, status.status);
            require(false, "the ending is the true one");
        }
        if (host->shape == SBX_SHAPE_INIT) {
            require(status.has_usage != 0 && status.max_rss > 0, "the usage is known");
            require(strcmp(ending->word, "spin") != 0 || status.user_ns + status.system_ns >= 25000000, "and true");
        } else if (status.has_usage == 0) {
            require(status.user_ns == 0 && status.system_ns == 0 && status.max_rss == 0, "an unknown usage is 0");
        }
    }
    sbx_process_free(process);
}

static int host_with_habit(void *arg)
{
    struct host *host = arg;
    pthread_t thread;
    struct sigaction action = {.sa_handler = host->habit == IGNORES_SIGCHLD ? SIG_IGN : SIG_DFL,
                               .sa_flags = host->habit == NO_ZOMBIES ? SA_NOCLDWAIT : 0};
    require(sigaction(SIGCHLD, &action, NULL) == 0, "sigaction");
    if (host->habit == WAITS_FOR_ANYBODY) {
        require(pthread_create(&thread, NULL, wait_for_anybody, host) == 0, "a thread");
    }
    for (size_t n = 0; n < STARTS * N_ENDINGS; n++) {
        start_one(host, n % N_ENDINGS);
    }
    if (host->habit == WAITS_FOR_ANYBODY) {
        atomic_store(&host->stop, true);
        pthread_join(thread, NULL);
        require(atomic_load(&host->stolen) > 0, "the other reaper was the first at least once");
    }
    return 0;
}

static void check_habit(enum habit habit)
{
    for (size_t i = 0; i < 3; i++) {
        struct host host = {.habit = habit, .shape = all_shapes[i]};
        for (size_t n = 0; n < N_ENDINGS; n++) {
            host.runners[n] = runner_for("act", endings[n].word, endings[n].arg, NULL);
            set_shape(host.runners[n], all_shapes[i]);
        }
        int code = forked_host(host_with_habit, &host, 60);
        for (size_t n = 0; n < N_ENDINGS; n++) {
            sbx_runner_free(host.runners[n]);
        }
        assert_int_equal(code, 0);
    }
}

static void sigchld_may_be_ignored(void **state)
{
    (void)state;
    check_habit(IGNORES_SIGCHLD);
}

static void zombies_may_be_refused(void **state)
{
    (void)state;
    check_habit(NO_ZOMBIES);
}

static void another_thread_may_reap_everything(void **state)
{
    (void)state;
    check_habit(WAITS_FOR_ANYBODY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(sigchld_may_be_ignored),
        host_test(zombies_may_be_refused),
        host_test(another_thread_may_reap_everything),
    };
    return cmocka_run_group_tests_name("other_reapers", tests, NULL, NULL);
}
