/* The library's side of each row: a runner configured once, then one start, one wait and one free per turn. */
#include "bench.h"

#include <errno.h>
#include <sbx.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static sbx_runner *runner;

static void need(int result, const struct sbx_error *error)
{
    if (result >= 0)
        return;
    fprintf(stderr, "bench: libsbx: %s\n", error->message);
    exit(1);
}

static void start(void)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status end = SBX_STATUS_INIT;
    sbx_process *process;

    need(sbx_start(runner, NULL, &process, &error), &error);
    need(sbx_process_wait(process, SBX_INFINITE, &end, &error), &error);
    sbx_process_free(process);
    if (end.code != CLD_EXITED || end.status != 0) {
        errno = ECHILD;
        die("the library's program did not exit with 0");
    }
}

/* Descriptors 0, 1 and 2 are the host's, as the floors leave them. */
static void begin(const char *program)
{
    struct sbx_error error = SBX_ERROR_INIT;
    const char *const argv[] = { program, NULL };
    const int standard[] = { 0, 1, 2 };

    sbx_runner_free(runner);
    runner = sbx_runner_new();
    if (runner == NULL)
        die("sbx_runner_new");
    need(sbx_set_args(runner, argv, &error), &error);
    need(sbx_set_fds(runner, standard, 3, &error), &error);
}

static void prepare_plain(void)
{
    begin(setup.program);
}

static int accept_any(int pid, int pidfd, void *arg)
{
    (void)pid, (void)pidfd, (void)arg;
    return 0;
}

static void map_self(void)
{
    struct sbx_error error = SBX_ERROR_INIT;

    need(sbx_add_uid_map(runner, 0, geteuid(), 1, &error), &error);
    need(sbx_add_gid_map(runner, 0, getegid(), 1, &error), &error);
}

static void prepare_userns_sync(void)
{
    struct sbx_error error = SBX_ERROR_INIT;

    begin(setup.program);
    need(sbx_set_namespaces(runner, SBX_NS_USER, &error), &error);
    map_self();
    need(sbx_set_sync_func(runner, accept_any, &error), &error);
}

static void prepare_filter_rlimits(void)
{
    struct sbx_error error = SBX_ERROR_INIT;

    begin(setup.program);
    need(sbx_set_no_new_privs(runner, true, &error), &error);
    need(sbx_set_bpf(runner, setup.filter, BENCH_FILTER_LENGTH, 0, &error), &error);
    for (int i = 0; i < BENCH_RLIMITS; i++) {
        const struct bench_rlimit *r = &setup.rlimits[i];
        need(sbx_add_rlimit(runner, r->resource, r->value.rlim_cur, r->value.rlim_max, &error), &error);
    }
}

static void prepare_full_as(bool init, bool staged)
{
    struct sbx_error error = SBX_ERROR_INIT;
    const uint64_t namespaces = SBX_NS_USER | SBX_NS_PID | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS | SBX_NS_CGROUP;

    begin(setup.program_inside);
    need(sbx_set_namespaces(runner, namespaces, &error), &error);
    map_self();
    need(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    for (int i = 0; i < BENCH_BINDS; i++)
        need(sbx_add_bind(runner, setup.binds[i].source, setup.binds[i].target, 0, &error), &error);
    need(sbx_add_proc(runner, "/proc", 0, &error), &error);
    need(sbx_set_init(runner, init, &error), &error);
    need(sbx_set_staged(runner, staged, &error), &error);
}

static void prepare_full(void)
{
    prepare_full_as(false, false);
}

static void prepare_full_staged(void)
{
    prepare_full_as(false, true);
}

static void prepare_full_init(void)
{
    prepare_full_as(true, false);
}

const struct side ours_plain = { .prepare = prepare_plain, .start = start };
const struct side ours_userns_sync = { .prepare = prepare_userns_sync, .start = start };
const struct side ours_filter_rlimits = { .prepare = prepare_filter_rlimits, .start = start };
const struct side ours_full = { .prepare = prepare_full, .start = start };
const struct side ours_full_staged = { .prepare = prepare_full_staged, .start = start };
const struct side ours_full_init = { .prepare = prepare_full_init, .start = start };
