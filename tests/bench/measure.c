/*
 * Measures one row: pairs of starts, ours and the floor in turn, medians of each side, and their ratio.
 *
 * Noise is handled by design rather than by statistics: the two starts of a pair follow one another, so that whatever
 * else the machine does falls on both; each pair swaps the order, so that going second costs both sides the same;
 * medians ignore the starts that an interrupt or a neighbour spoiled. Nothing is pinned to a CPU: a start hands work
 * to another task, where the scheduler puts that task is a part of the cost, and both sides are given the same choice.
 * (taskset makes a bench on one CPU, which is quieter.)
 *
 * What the started program does before its exit(0) is the same on both sides and draws the ratio towards 1. glibc's
 * start-up asks CPUID many times, which a virtual machine traps: on one where a start took 410 microseconds, 270 of
 * them were that start-up. --program with a program that has no libc shows the start alone.
 *
 * Sides whose hosts differ in memory cannot share a process. Each then has one of its own, which has touched its heap
 * before the first pair and waits for its turn on a pipe; the time is taken inside, around the start alone.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_PAIRS 5

static const char GO = 'g', END = 'e';

struct host {
    const struct side *side;
    pid_t pid;                  /* 0: in this process */
    int turn, result;           /* pipes of the other process */
};

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double timed_start(const struct side *side)
{
    double before = now_us();

    side->start();
    return now_us() - before;
}

/* Small pages: a heap of huge ones would have next to no page tables to copy, and hide what fork costs. */
static void touch_heap(size_t bytes)
{
    if (bytes == 0)
        return;
    unsigned char *heap = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (heap == MAP_FAILED)
        die("mmap of the heap");
    madvise(heap, bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < bytes; at += 4096)
        heap[at] = 1;
}

static _Noreturn void host_main(const struct side *side, size_t heap, int turn, int result)
{
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    touch_heap(heap);
    if (side->prepare != NULL)
        side->prepare();
    while (read(turn, &go, 1) == 1 && go == GO) {
        double us = timed_start(side);
        if (write(result, &us, sizeof(us)) != sizeof(us))
            die("write of a result");
    }
    _exit(0);
}

static struct host open_host(const struct side *side, size_t heap)
{
    struct host h = { .side = side };
    int turn[2], result[2];

    if (pipe2(turn, O_CLOEXEC) != 0 || pipe2(result, O_CLOEXEC) != 0)
        die("pipe2");
    h.pid = fork();
    if (h.pid < 0)
        die("fork of a host");
    if (h.pid == 0) {
        close(turn[1]);
        close(result[0]);
        host_main(side, heap, turn[0], result[1]);
    }
    close(turn[0]);
    close(result[1]);
    h.turn = turn[1];
    h.result = result[0];
    return h;
}

static struct host open_here(const struct side *side)
{
    if (side->prepare != NULL)
        side->prepare();
    return (struct host){ .side = side };
}

static void close_host(const struct host *h)
{
    if (h->pid == 0)
        return;
    if (write(h->turn, &END, 1) != 1)
        die("write of the end");
    close(h->turn);
    close(h->result);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static double one(const struct host *h, int settle_us)
{
    double us;

    if (settle_us > 0)
        usleep((useconds_t)settle_us);
    if (h->pid == 0)
        return timed_start(h->side);
    if (write(h->turn, &GO, 1) != 1)
        die("write of a turn");
    if (read(h->result, &us, sizeof(us)) != sizeof(us)) {
        errno = EPIPE;
        die("a host process ended");
    }
    return us;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of sorted values; between two neighbours where n is even. */
static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int below = (int)at;

    if (below + 1 >= n)
        return sorted[n - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

struct figure measure(const struct row *row, int pairs)
{
    const bool apart = row->ours_heap != 0 || row->floor_heap != 0;
    struct host ours = apart ? open_host(row->ours, row->ours_heap) : open_here(row->ours);
    struct host floor = apart ? open_host(row->floor, row->floor_heap) : open_here(row->floor);
    double *a = calloc((size_t)pairs, sizeof(*a)), *b = calloc((size_t)pairs, sizeof(*b));
    struct figure f = { .pairs = pairs };

    if (a == NULL || b == NULL)
        die("calloc");
    for (int i = -WARM_UP_PAIRS; i < pairs; i++) {
        double us[2];
        const int first = i & 1;

        us[first] = one(first ? &floor : &ours, row->settle_us);
        us[!first] = one(first ? &ours : &floor, row->settle_us);
        if (i < 0)
            continue;
        a[i] = us[0];
        b[i] = us[1];
    }
    close_host(&ours);
    close_host(&floor);

    qsort(a, (size_t)pairs, sizeof(*a), by_value);
    qsort(b, (size_t)pairs, sizeof(*b), by_value);
    f.ours_us = quantile(a, pairs, 0.5);
    f.floor_us = quantile(b, pairs, 0.5);
    f.ratio = f.ours_us / f.floor_us;
    for (int i = 0; i < 2; i++) {
        f.ours_quartile[i] = quantile(a, pairs, i == 0 ? 0.25 : 0.75);
        f.floor_quartile[i] = quantile(b, pairs, i == 0 ? 0.25 : 0.75);
    }
    free(a);
    free(b);
    return f;
}
