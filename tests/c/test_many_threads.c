/* 64 threads start 200 sandboxes each, in all shapes, kill, free or wait for them at random moments, while other
 * threads of the same host open and close descriptors without O_CLOEXEC. No child inherits anything, and nothing is
 * left: no process, no zombie, no descriptor, no mount. */
#include "support.h"
#include "support_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 64
#define STARTS 200

enum kind { DIRECT, STAGED, INIT, CONTAINER, MISSING, KINDS };

struct host {
    sbx_runner *runners[KINDS];
    atomic_bool stop_noise;
    atomic_uint ended[3];   /* by exit, by our kill, by failing to exec as they should */
    atomic_uint noise_rounds;
};

struct worker {
    struct host *host;
    unsigned seed;
    pthread_t thread;
};

static void wait_for(sbx_process *process, bool killed, struct host *host)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    require_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error, "sbx_process_wait");
    if (killed && status.code == CLD_KILLED && status.status == SIGKILL) {
        atomic_fetch_add(&host->ended[1], 1);
        return;
    }
    if (status.code == CLD_EXITED && status.status == 9) {
        require(false, "the child has no descriptor but 0, 1 and 2");
    }
    require(status.code == CLD_EXITED && status.status == 0, "the child ended by itself");
    atomic_fetch_add(&host->ended[0], 1);
}

static void start_one(struct worker *worker)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct host *host = worker->host;
    enum kind kind = (enum kind)(rand_r(&worker->seed) % KINDS);
    sbx_process *process = NULL;
    int result = sbx_start(host->runners[kind], NULL, &process, &error);
    if (kind == MISSING) {
        require(result == -ENOENT && process == NULL, "a missing program is ENOENT");
        atomic_fetch_add(&host->ended[2], 1);
        return;
    }
    require_ok(result, &error, "sbx_start");
    int what = rand_r(&worker->seed) % 5;
    if (what > 1) {
        usleep((useconds_t)(rand_r(&worker->seed) % 400));
    }
    if (what == 1 || what == 2) {
        sbx_process_kill(process, SIGKILL, NULL);
    }
    if (what == 3) {
        require_ok(sbx_process_kill_tree(process, &error), &error, "sbx_process_kill_tree");
    }
    if (what != 4) {
        wait_for(process, what != 0, host);
    }
    sbx_process_free(process); /* what == 4: it may well be running */
}

static void *work(void *arg)
{
    for (int n = 0; n < STARTS; n++) {
        start_one(arg);
    }
    return NULL;
}

/* Descriptors at low and high numbers that are never close-on-exec. */
static void *make_noise(void *arg)
{
    struct host *host = arg;
    while (!atomic_load(&host->stop_noise)) {
        int fds[2];
        require(pipe(fds) == 0, "pipe");
        int high = fcntl(fds[1], F_DUPFD, 700);
        require(high >= 700, "a high descriptor");
        sched_yield();
        close(high);
        close(fds[0]);
        close(fds[1]);
        atomic_fetch_add(&host->noise_rounds, 1);
    }
    return NULL;
}

/* The control: posix_spawn hands the planted descriptor on, and the program says so. */
static void check_planted(void)
{
    char *argv[] = {"only_stdio", NULL};
    pid_t pid;
    int status = 0;
    require(posix_spawn(&pid, inside("only_stdio"), NULL, NULL, argv, NULL) == 0, "posix_spawn");
    require(waitpid(pid, &status, 0) == pid, "waitpid");
    require(WIFEXITED(status) && WEXITSTATUS(status) == 9, "the program notices an inherited descriptor");
}

static int busy_host(void *arg)
{
    struct host *host = arg;
    /* Whatever is orphaned becomes this process's child, and is seen by the last check. */
    require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "subreaper");
    int planted = fcntl(0, F_DUPFD, 9);
    require(planted >= 0, "a planted descriptor");
    check_planted();
    struct worker first = {.host = host, .seed = 1};
    for (int n = 0; n < 50; n++) {
        start_one(&first); /* the embedded program's file stays open from its first use on */
    }
    int fds_before = count_fds();

    static struct worker workers[THREADS];
    pthread_t noise[2];
    for (size_t i = 0; i < 2; i++) {
        require(pthread_create(&noise[i], NULL, make_noise, host) == 0, "a thread");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.host = host, .seed = i + 1};
        require(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "a thread");
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    atomic_store(&host->stop_noise, true);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(noise[i], NULL);
    }

    printf("%u ended by themselves, %u killed, %u missing\n", atomic_load(&host->ended[0]), atomic_load(&host->ended[1]),
           atomic_load(&host->ended[2]));
    require(no_child_left(), "no process and no zombie is left");
    require(count_fds() == fds_before, "no descriptor is left");
    return 0;
}

static void sixty_four_threads_leave_nothing(void **state)
{
    (void)state;
    struct sbx_error error = SBX_ERROR_INIT;
    static struct host host;
    for (size_t i = 0; i < KINDS; i++) {
        host.runners[i] = runner_for(i == MISSING ? "there-is-no-such-program" : "only_stdio", NULL);
    }
    set_shape(host.runners[STAGED], SBX_SHAPE_STAGED);
    set_shape(host.runners[INIT], SBX_SHAPE_INIT);
    bool container = is_root() || have_userns();
    if (container) {
        set_namespaces(host.runners[CONTAINER], SBX_NS_PID | SBX_NS_MNT | SBX_NS_UTS | SBX_NS_IPC);
        assert_ok(sbx_set_pivot_root(host.runners[CONTAINER], NULL, 0, &error), &error);
        assert_ok(sbx_add_bind(host.runners[CONTAINER], inside("only_stdio"), inside("only_stdio"), 0, &error), &error);
    }
    int code = forked_host(busy_host, &host, 120);
    for (size_t i = 0; i < KINDS; i++) {
        sbx_runner_free(host.runners[i]);
    }
    assert_int_equal(code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(sixty_four_threads_leave_nothing),
    };
    return cmocka_run_group_tests_name("many_threads", tests, NULL, NULL);
}
