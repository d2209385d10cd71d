/* A big host costs its sandboxes nothing: in the init shape the program's peak memory is its own, and in no
 * shape does the time of a start grow with the host's memory. */
#include "support.h"
#include "support_proc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)
#define STARTS 41

struct host {
    sbx_runner *runners[3];
};

static void make_runners(struct host *host)
{
    for (size_t i = 0; i < 3; i++) {
        host->runners[i] = runner_for("exit0", NULL);
        set_shape(host->runners[i], all_shapes[i]);
    }
}

static void free_runners(struct host *host)
{
    for (size_t i = 0; i < 3; i++) {
        sbx_runner_free(host->runners[i]);
    }
}

/* One GiB of touched memory, in small pages: huge ones make a fork cheap, and not every host has them. */
static void grow(void)
{
    char *memory = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED, "1 GiB");
    madvise(memory, GIB, MADV_NOHUGEPAGE);
    memset(memory, 1, GIB);
}

static struct sbx_status start_and_wait(const sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    require_ok(sbx_start(runner, NULL, &process, &error), &error, "sbx_start");
    require_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error, "sbx_process_wait");
    require(status.code == CLD_EXITED && status.status == 0, "it ended well");
    sbx_process_free(process);
    return status;
}

/* The fastest of many: what other programs of the machine add only makes single ones slower. */
static uint64_t fastest_ns(void (*once)(const void *), const void *arg)
{
    uint64_t best = UINT64_MAX;
    for (size_t i = 0; i < STARTS; i++) {
        uint64_t begin = now_ns();
        once(arg);
        uint64_t took = now_ns() - begin;
        best = took < best ? took : best;
    }
    return best;
}

static void one_start(const void *runner)
{
    start_and_wait(runner);
}

static void one_fork(const void *unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    require(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
}

static int big_host_measures(void *arg)
{
    struct host *host = arg;
    grow();
    uint64_t direct = start_and_wait(host->runners[0]).max_rss;
    uint64_t init = start_and_wait(host->runners[2]).max_rss;
    printf("max_rss under a host of 1 GiB: direct %llu, init %llu\n", (unsigned long long)direct, (unsigned long long)init);
    require(init > 0 && init < 4 << 20, "the init shape reports the program's own peak");
    /* The control: the kernel folds the memory that a child shared until its exec into the child's figure. */
    require(direct >= GIB, "the direct shape reports the host's");
    return 0;
}

static void the_peak_is_the_programs_own(void **state)
{
    (void)state;
    struct host host;
    make_runners(&host);
    assert_int_equal(forked_host(big_host_measures, &host, 30), 0);
    free_runners(&host);
}

static int growing_host_measures(void *arg)
{
    struct host *host = arg;
    uint64_t small[3], big[3];
    uint64_t small_fork = fastest_ns(one_fork, NULL);
    for (size_t i = 0; i < 3; i++) {
        small[i] = fastest_ns(one_start, host->runners[i]);
    }
    grow();
    uint64_t big_fork = fastest_ns(one_fork, NULL);
    printf("fork: %llu us, with 1 GiB %llu us\n", (unsigned long long)small_fork / 1000,
           (unsigned long long)big_fork / 1000);
    require(big_fork > small_fork + 4000000, "the time of a fork grows with the host");
    for (size_t i = 0; i < 3; i++) {
        big[i] = fastest_ns(one_start, host->runners[i]);
        printf("%s: %llu us, with 1 GiB %llu us\n", sbx_shape_name(all_shapes[i]), (unsigned long long)small[i] / 1000,
               (unsigned long long)big[i] / 1000);
        require(big[i] < small[i] + (big_fork - small_fork) / 8, "that of a start does not");
    }
    return 0;
}

static void the_time_is_flat(void **state)
{
    (void)state;
    struct host host;
    make_runners(&host);
    assert_int_equal(forked_host(growing_host_measures, &host, 60), 0);
    free_runners(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(the_peak_is_the_programs_own),
        host_test(the_time_is_flat),
    };
    return cmocka_run_group_tests_name("footprint", tests, NULL, NULL);
}
