/* A judge, as a programming contest has one: compiles the submissions in a sandbox, runs them in a
 * stricter one on the tests of their problem, and prints a table of verdicts. Exits with 1 when a
 * verdict is not the expected one, with 2 when it could not work.
 *
 *     cc judge*.c $(pkg-config --cflags --libs sbx libseccomp) -pthread -o judge
 *     ./judge [the directory with submissions/, problems/ and submissions.txt]
 *
 * Works as root, then with a memory and a pids cgroup for each run where it can make them, and as
 * any user who may create user namespaces. judge.h says what the other files are. */
#define _GNU_SOURCE
#include "judge.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2

/* The submissions, taken one by one by the workers and printed in order by main. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t one_done;
    struct submission *list;
    bool *done;
    size_t n;
    size_t next;
};

struct thread {
    pthread_t id;
    struct worker worker;
    struct queue *queue;
};

/* Set by SIGINT and SIGTERM: no further submission is begun, and everything is tidied up. */
static atomic_bool stopping;

static void stop(int signal)
{
    (void)signal;
    atomic_store(&stopping, true);
}

static void *work(void *arg)
{
    struct thread *thread = arg;
    struct queue *queue = thread->queue;
    pthread_mutex_lock(&queue->lock);
    while (queue->next < queue->n) {
        const size_t mine = queue->next++;
        pthread_mutex_unlock(&queue->lock);
        if (!atomic_load(&stopping))
            submission_judge(&thread->worker, &queue->list[mine]);
        pthread_mutex_lock(&queue->lock);
        queue->done[mine] = true;
        pthread_cond_signal(&queue->one_done);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* Prints each row as soon as it and all before it are done. Returns how many were as expected. */
static size_t print_rows(struct queue *queue)
{
    size_t expected = 0;
    for (size_t i = 0; i < queue->n; i++) {
        pthread_mutex_lock(&queue->lock);
        while (!queue->done[i])
            pthread_cond_wait(&queue->one_done, &queue->lock);
        pthread_mutex_unlock(&queue->lock);
        if (atomic_load(&stopping))
            break;
        expected += table_row(&queue->list[i]);
    }
    return expected;
}

/* The first CPUs that this process may use, one for each worker. Returns how many workers. */
static unsigned choose_cpus(int *cpus)
{
    cpu_set_t allowed;
    unsigned n = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && n < WORKERS; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            cpus[n++] = cpu;
    return n;
}

static int worker_make(struct worker *worker, const struct judge *judge, unsigned number, int cpu,
                       struct why *why)
{
    *worker = (struct worker){.judge = judge, .number = number, .cpu = cpu};
    worker->compile = sandbox_for_compiler(worker, why);
    if (worker->compile != NULL)
        worker->run = sandbox_for_program(worker, why);
    return worker->run != NULL ? 0 : -1;
}

/* All submissions by all workers. Returns how many verdicts were as expected; -1: failed. */
static int judge_all(const struct judge *judge, struct submission *list, size_t n, struct why *why)
{
    int cpus[WORKERS];
    struct thread threads[WORKERS] = {0};
    struct queue queue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, list, NULL, n, 0};
    const unsigned workers = choose_cpus(cpus);
    unsigned running = 0;
    int rc = workers > 0 ? 0 : because(why, "sched_getaffinity: %s", strerror(errno));
    queue.done = calloc(n, sizeof *queue.done);
    if (queue.done == NULL)
        rc = because(why, "out of memory");
    for (unsigned i = 0; rc == 0 && i < workers; i++)
        rc = worker_make(&threads[i].worker, judge, i, cpus[i], why);
    if (rc == 0)
        table_header(judge, workers);
    for (; rc == 0 && running < workers; running++) {
        threads[running].queue = &queue;
        if (pthread_create(&threads[running].id, NULL, work, &threads[running]) != 0)
            break;
    }
    if (rc == 0)
        rc = running > 0 ? (int)print_rows(&queue) : because(why, "no thread can be started");
    for (unsigned i = 0; i < running; i++)
        pthread_join(threads[i].id, NULL);
    for (unsigned i = 0; i < workers; i++) {
        sbx_runner_free(threads[i].worker.compile);
        sbx_runner_free(threads[i].worker.run);
    }
    free(queue.done);
    return rc;
}

static int work_directory(struct judge *judge, struct why *why)
{
    const char *tmp = getenv("TMPDIR");
    const int len = snprintf(judge->work, sizeof judge->work, "%s/sbx-judge-XXXXXX",
                             tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (len >= (int)sizeof judge->work || mkdtemp(judge->work) == NULL)
        return because(why, "%s: %s", judge->work, strerror(errno));
    /* The sandboxes' users pass through it to the box that belongs to them. */
    return chmod(judge->work, 0711) == 0 ? 0 : because(why, "chmod: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct judge judge = {
        .examples = argc > 1 ? argv[1] : "examples-c",
        .compile_limits = {10 * SECOND, 20 * SECOND, 512 * MIB, 32 * MIB, 32},
        .run_limits = {1 * SECOND, 3 * SECOND, 64 * MIB, 64 * 1024, 16},
    };
    struct submission *list = NULL;
    struct why why = {""};
    struct timespec begin;
    struct timespec end;
    char path[PATH_MAX];
    size_t n = 0;

    const struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    snprintf(path, sizeof path, "%s/submissions.txt", judge.examples);
    int as_expected = -1;
    if (table_read(path, &list, &n, &why) == 0 &&
        filter_make(&judge.filter, &judge.filter_len, &why) == 0 &&
        work_directory(&judge, &why) == 0) {
        if (cgroups_open(&judge.cgroups, &why) < 0)
            printf("no cgroup: %s\n", why.text);
        as_expected = judge_all(&judge, list, n, &why);
        cgroups_close(&judge.cgroups);
        tree_remove(judge.work);
    }
    free(judge.filter);
    free(list);
    clock_gettime(CLOCK_MONOTONIC, &end);

    if (as_expected < 0) {
        fprintf(stderr, "judge: %s\n", why.text);
        return 2;
    }
    if (atomic_load(&stopping)) {
        fprintf(stderr, "judge: interrupted\n");
        return 2;
    }
    printf("\n%zu submissions, %d verdicts as expected, %.1f s\n", n, as_expected,
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return (size_t)as_expected == n ? 0 : 1;
}
