/* A host that runs out of memory: the first, second, third, ... allocation of each call fails. The call says
 * -ENOMEM (or does without), frees what it had, changes nothing, and works the next time.
 *
 * This program brings its own malloc in front of the C library's, which counts what is alive. */
#include "support.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Sanitizers and valgrind put their own malloc here: two of them do not go together. */
#if defined(__SANITIZE_ADDRESS__)
#define OWN_MALLOC 0
#else
#define OWN_MALLOC 1
#endif

static atomic_long live;          /* allocations that were not freed */
static atomic_long countdown;     /* the allocation that makes it 0 fails; 0: none */
static atomic_long failed;        /* allocations that were made to fail */

#if OWN_MALLOC
/* The C library's own, under the names that it keeps for programs like this one. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static bool refuse(void)
{
    if (atomic_load(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1) {
        return false;
    }
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return true;
}

static void *counted(void *memory)
{
    atomic_fetch_add(&live, memory != NULL);
    return memory;
}

void *malloc(size_t size)
{
    return refuse() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return refuse() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *memory, size_t size)
{
    if (refuse()) {
        return NULL;
    }
    void *moved = __libc_realloc(memory, size);
    atomic_fetch_add(&live, (moved != NULL) - (memory != NULL && (moved != NULL || size == 0)));
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refuse() ? NULL : counted(__libc_memalign(alignment, size));
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = aligned_alloc(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

void free(void *memory)
{
    atomic_fetch_sub(&live, memory != NULL);
    __libc_free(memory);
}
#endif

/* One of the calls below; `n` is for call_setter. */
typedef int call_on_runner(int n, sbx_runner *runner, struct sbx_error *error);

static const char *const strings[] = {"/bin/some program", "second", "third", NULL};
static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

/* The n-th setter that keeps something; 1 when there are no more. */
static int call_setter(int n, sbx_runner *r, struct sbx_error *e)
{
    const int fds[] = {0, 1, 2, -1, 0};
    const uint64_t mask = 1;
    const uint32_t groups[] = {0, 100};
    const char *const lower[] = {"/usr", "/etc", "/var", NULL};

    switch (n) {
    case 0:
        return sbx_set_args(r, strings, e);
    case 1:
        return sbx_set_env(r, strings, e);
    case 2:
        return sbx_set_exec_path(r, "/some/path", e);
    case 3:
        return sbx_set_workdir(r, "/some/path", e);
    case 4:
        return sbx_set_fds(r, fds, 5, e);
    case 5:
        return sbx_map_fd(r, 0, 77, e);
    case 6:
        return sbx_add_rlimit(r, 1, 100, 100, e);
    case 7:
        return sbx_set_cpu_affinity(r, &mask, sizeof mask, e);
    case 8:
        return sbx_join_namespace(r, 0, SBX_NS_IPC, e);
    case 9:
        return sbx_set_time_offset(r, CLOCK_MONOTONIC, 1, 0, e);
    case 10:
        return sbx_add_uid_map(r, 100, 100000, 1, e);
    case 11:
        return sbx_add_gid_map(r, 100, 100000, 1, e);
    case 12:
        return sbx_set_credential(r, 0, 0, groups, 2, e);
    case 13:
        return sbx_set_hostname(r, "other", e);
    case 14:
        return sbx_set_domainname(r, "other", e);
    case 15:
        return sbx_set_cgroup_fd(r, 0, e);
    case 16:
        return sbx_add_cgroup_fd(r, 1, e);
    case 17:
        return sbx_set_pivot_root(r, "/some/root", 0, e);
    case 18:
        return sbx_add_mount(r, "tmpfs", "/m1", "tmpfs", 0, "size=1m", 0, e);
    case 19:
        return sbx_add_bind(r, "/usr", "/m2", 0, e);
    case 20:
        return sbx_add_tmpfs(r, "/m3", 0, 0, 0755, 0, e);
    case 21:
        return sbx_add_proc(r, "/m4", 0, e);
    case 22:
        return sbx_add_dev(r, "/m5", 0, e);
    case 23:
        return sbx_add_overlay(r, lower, "/upper", "/work", "/m6", 0, e);
    case 24:
        return sbx_add_symlink(r, "text", "/m7", 0, e);
    case 25:
        return sbx_add_file(r, "/m8", "contents", 8, 0644, 0, e);
    case 26:
        return sbx_add_dir(r, "/m9", 0755, 0, e);
    case 27:
        return sbx_add_mask(r, "/m10", 0, e);
    case 28:
        return sbx_add_landlock_path(r, "/m11", LANDLOCK_ACCESS_FS_EXECUTE, 0, e);
    case 29:
        return sbx_set_bpf(r, &allow, 1, SECCOMP_FILTER_FLAG_LOG, e);
    case 30:
        return sbx_add_bpf(r, &allow, 1, 0, e);
    default:
        return 1;
    }
}

static int call_clone(int n, sbx_runner *r, struct sbx_error *e)
{
    (void)n;
    sbx_runner *clone = (sbx_runner *)e; /* must become NULL on failure */
    const int result = sbx_runner_clone(r, &clone, e);
    assert_true(result == 0 || clone == NULL);
    sbx_runner_free(clone);
    return result;
}

static int call_describe(int n, sbx_runner *r, struct sbx_error *e)
{
    (void)n;
    char text[100];
    const int result = sbx_runner_describe(r, NULL, text, sizeof text, e);
    return result > 0 ? 0 : result;
}

static int call_start(int n, sbx_runner *r, struct sbx_error *e)
{
    (void)n;
    const char *const envp[] = {"A=1", NULL};
    const struct sbx_fd_map fds[] = {{0, 9}, {1, 8}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.envp = envp;
    launch.fds = fds;
    launch.n_fds = 2;

    sbx_process *process = (sbx_process *)e; /* must become NULL on failure */
    const int result = sbx_start(r, &launch, &process, e);
    assert_true(result == 0 || process == NULL);
    sbx_process_free(process);
    return result;
}

/* Makes the first, second, ... allocation of the call fail until it succeeds; the number of failures. */
static long starve(const char *name, int number_of, call_on_runner *call, sbx_runner *runner)
{
    char *as_before = describe(runner, NULL);
    long failures = 0;
    for (long n = 1;; n++) {
        assert_true(n < 20000);
        struct sbx_error error = SBX_ERROR_INIT;
        const long live_before = atomic_load(&live);
        const long failed_before = atomic_load(&failed);
        atomic_store(&countdown, n);
        const int result = call(number_of, runner, &error);
        atomic_store(&countdown, 0);
        const bool hit = atomic_load(&failed) != failed_before;
        failures += hit;
        if (result == 0) {
            if (!hit) {
                break;
            }
            continue; /* it did without */
        }
        if (!hit || result != -ENOMEM || error.err != ENOMEM || error.blame != SBX_BLAME_TRANSIENT ||
            strcmp(sbx_location_name(error.location), "memory") != 0 || error.message[0] == '\0') {
            fail_msg("%s %d, allocation %ld: %d, at %s: %s", name, number_of, n, result, sbx_location_name(error.location), error.message);
        }
        if (atomic_load(&live) != live_before) {
            fail_msg("%s %d, allocation %ld: %ld blocks are left", name, number_of, n, atomic_load(&live) - live_before);
        }
        char *now = describe(runner, NULL);
        if (strcmp(now, as_before) != 0) {
            fail_msg("%s %d, allocation %ld: the runner has changed", name, number_of, n);
        }
        test_free(now);
    }
    test_free(as_before);
    return failures;
}

static void need_own_malloc(void)
{
    if (OWN_MALLOC == 0 || under_valgrind()) {
        skip_because("the sanitizer's malloc cannot be replaced");
    }
}

static void every_setter(void **state)
{
    (void)state;
    need_own_malloc();
    struct sbx_error error = SBX_ERROR_INIT;
    long failures = 0;
    for (int n = 0;; n++) {
        sbx_runner *runner = full_runner();
        if (call_setter(n, runner, &error) == 1) {
            sbx_runner_free(runner);
            break;
        }
        sbx_runner_free(runner);
        runner = full_runner();
        failures += starve("setter", n, call_setter, runner);
        sbx_runner_free(runner);
    }
    assert_true(failures > 40);
}

static void clone_and_describe(void **state)
{
    (void)state;
    need_own_malloc();
    sbx_runner *runner = full_runner();
    assert_true(starve("clone", 0, call_clone, runner) > 20);
    assert_true(starve("describe", 0, call_describe, runner) > 20);
    sbx_runner_free(runner);
}

static void new_runner(void **state)
{
    (void)state;
    need_own_malloc();
    atomic_store(&countdown, 1);
    sbx_runner *runner = sbx_runner_new();
    atomic_store(&countdown, 0);
    assert_null(runner);
}

static void start(uint32_t shape)
{
    need_own_malloc();
    sbx_runner *runner = runner_for("exit0", NULL);
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_bpf(runner, &allow, 1, 0, &error), &error);
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_add_rlimit(runner, 4, 0, 0, &error), &error);
    set_shape(runner, shape);
    assert_true(starve("start", 0, call_start, runner) > 5);
    sbx_runner_free(runner);
}

static void direct_start(void **state)
{
    (void)state;
    start(SBX_SHAPE_DIRECT);
}

static void staged_start(void **state)
{
    (void)state;
    start(SBX_SHAPE_STAGED);
}

static void init_start(void **state)
{
    (void)state;
    start(SBX_SHAPE_INIT);
}

static void start_of_everything(void **state)
{
    (void)state;
    need_own_malloc();
    need_userns();
    sbx_runner *runner = full_runner();
    assert_true(starve("full start", 0, call_start, runner) > 20);
    sbx_runner_free(runner);
}

/* What a process object does later needs no memory at all. */
static void a_running_process_needs_none(void **state)
{
    (void)state;
    need_own_malloc();
    sbx_runner *runner = runner_for("act", "pause", NULL);
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    assert_ok(sbx_start(runner, NULL, &process, &error), &error);
    atomic_store(&countdown, 1);
    const int timed_out = sbx_process_wait(process, 1000, &status, &error);
    const int killed = sbx_process_kill(process, SIGTERM, &error);
    const int waited = sbx_process_wait(process, SBX_INFINITE, &status, &error);
    const int tree = sbx_process_kill_tree(process, &error);
    sbx_process_free(process);
    const long left = atomic_exchange(&countdown, 0);
    assert_int_equal(timed_out, -ETIMEDOUT);
    assert_int_equal(killed, 0);
    assert_int_equal(waited, 0);
    assert_int_equal(tree, 0);
    assert_int_equal(left, 1);
    assert_int_equal(status.status, SIGTERM);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(every_setter),
        host_test(clone_and_describe),
        host_test(new_runner),
        host_test(direct_start),
        host_test(staged_start),
        host_test(init_start),
        host_test(start_of_everything),
        host_test(a_running_process_needs_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
