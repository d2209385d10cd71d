/* Hosts of other kinds: forked without exec, with the library loaded twice or unloaded, with a cancelled thread,
 * with a thread of a small stack. Nothing in the library belongs to the process as a whole. */
#include "support.h"
#include "support_ask.h"
#include "support_proc.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void start_and_wait(const sbx_runner *runner)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    require_ok(sbx_start(runner, NULL, &process, &error), &error, "sbx_start");
    require_ok(sbx_process_wait(process, READ_TIMEOUT_NS, &status, &error), &error, "sbx_process_wait");
    require(status.code == CLD_EXITED && status.status == 3, "the program ended as it should");
    sbx_process_free(process);
}

/* ---- forks ---- */

struct generations {
    sbx_runner *runners[3];
    int left;
};

static int fork_and_start(void *arg)
{
    struct generations *host = arg;
    for (size_t i = 0; i < 3; i++) {
        start_and_wait(host->runners[i]);
    }
    if (--host->left == 0) {
        return 0;
    }
    int code = forked_host(fork_and_start, host, 20);
    for (size_t i = 0; i < 3; i++) {
        start_and_wait(host->runners[i]); /* the parent still can */
    }
    return code;
}

static void a_forked_host_starts_sandboxes(void **state)
{
    (void)state;
    struct generations host = {.left = 4};
    for (size_t i = 0; i < 3; i++) {
        host.runners[i] = runner_for("exit0", "3", NULL);
        set_shape(host.runners[i], all_shapes[i]);
        start_and_wait(host.runners[i]);
    }
    assert_int_equal(forked_host(fork_and_start, &host, 60), 0);
    for (size_t i = 0; i < 3; i++) {
        start_and_wait(host.runners[i]);
        sbx_runner_free(host.runners[i]);
    }
}

/* Servers that become daemons close descriptors they do not know, among them whatever the library may keep. */
static int closing_host(void *arg)
{
    struct generations *host = arg;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 3; i++) {
            start_and_wait(host->runners[i]);
        }
        require(close_range(3, UINT_MAX, 0) == 0, "close_range");
    }
    /* The numbers that were the library's are somebody else's now. */
    for (int n = 0; n < 8; n++) {
        require(dup(2) >= 3, "dup");
    }
    for (size_t i = 0; i < 3; i++) {
        start_and_wait(host->runners[i]);
    }
    for (int fd = 3; fd < 11; fd++) {
        require(is_open(fd), "the host's own descriptors stay open");
    }
    return 0;
}

static void a_host_may_close_every_descriptor(void **state)
{
    (void)state;
    struct generations host = {.left = 0};
    for (size_t i = 0; i < 3; i++) {
        host.runners[i] = runner_for("exit0", "3", NULL);
        set_shape(host.runners[i], all_shapes[i]);
    }
    assert_int_equal(forked_host(closing_host, &host, 20), 0);
    for (size_t i = 0; i < 3; i++) {
        sbx_runner_free(host.runners[i]);
    }
}

/* ---- a second copy, loaded and unloaded ---- */

/* The functions of a copy of the library. */
struct copy {
    void *handle;
    sbx_runner *(*runner_new)(void);
    void (*runner_free)(sbx_runner *);
    int (*set_args)(sbx_runner *, const char *const *, struct sbx_error *);
    int (*set_init)(sbx_runner *, bool, struct sbx_error *);
    int (*start)(const sbx_runner *, const struct sbx_launch *, sbx_process **, struct sbx_error *);
    int (*wait)(sbx_process *, uint64_t, struct sbx_status *, struct sbx_error *);
    void (*process_free)(sbx_process *);
};

/* ISO C has no cast between the two kinds of pointer; POSIX has one representation for both. */
static void find_function(void *handle, const char *name, void *function)
{
    void *found = dlsym(handle, name);
    require(found != NULL, name);
    memcpy(function, &found, sizeof found);
}

static void load_copy(struct copy *copy, const char *path)
{
    copy->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (copy->handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
    }
    require(copy->handle != NULL, "dlopen");
    find_function(copy->handle, "sbx_runner_new", &copy->runner_new);
    find_function(copy->handle, "sbx_runner_free", &copy->runner_free);
    find_function(copy->handle, "sbx_set_args", &copy->set_args);
    find_function(copy->handle, "sbx_set_init", &copy->set_init);
    find_function(copy->handle, "sbx_start", &copy->start);
    find_function(copy->handle, "sbx_process_wait", &copy->wait);
    find_function(copy->handle, "sbx_process_free", &copy->process_free);
}

static void use_copy(const struct copy *copy, const char *program, bool init)
{
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    const char *argv[] = {program, "4", NULL};
    sbx_process *process = NULL;
    sbx_runner *runner = copy->runner_new();
    require(runner != NULL, "a runner");
    require_ok(copy->set_args(runner, argv, &error), &error, "sbx_set_args");
    require_ok(copy->set_init(runner, init, &error), &error, "sbx_set_init");
    require_ok(copy->start(runner, NULL, &process, &error), &error, "sbx_start");
    require_ok(copy->wait(process, READ_TIMEOUT_NS, &status, &error), &error, "sbx_process_wait");
    require(status.code == CLD_EXITED && status.status == 4, "the program ended as it should");
    copy->process_free(process);
    copy->runner_free(runner);
}

static bool is_mapped(const char *path)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[4400];
    bool found = false;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        found = found || strstr(line, path) != NULL;
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return found;
}

static int load_and_unload(void *arg)
{
    struct copy copy;
    int fds = count_fds();
    for (int round = 0; round < 5; round++) {
        load_copy(&copy, arg);
        use_copy(&copy, inside("exit0"), round % 2 != 0);
        use_copy(&copy, inside("exit0"), round % 2 == 0);
        require(dlclose(copy.handle) == 0, "dlclose");
        require(!is_mapped(arg), "the copy is gone from memory");
        require(count_fds() == fds, "and left no descriptor");
    }
    return 0;
}

/* The path of the shared library; empty when the test is linked with the static one. */
static const char *library_path(void)
{
    static char path[4096];
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    char line[4400];
    while (path[0] == '\0' && fgets(line, sizeof line, maps) != NULL) {
        char *name = strchr(line, '/');
        if (name != NULL && strstr(name, "/libsbx.so") != NULL) {
            name[strcspn(name, "\n")] = '\0';
            snprintf(path, sizeof path, "%s", name);
        }
    }
    fclose(maps);
    return path;
}

static void a_second_copy_comes_and_goes(void **state)
{
    (void)state;
    const char *path = library_path();
    if (path[0] == '\0') {
        print_message("linked with the static library: there is no shared one to load again\n");
        return;
    }
    /* Another file is another library for the loader: this process then has two of them. */
    const char *copy = text("%s/copy.so", make_scratch());
    copy_file(path, copy, 0755);
    assert_int_equal(forked_host(load_and_unload, (void *)(uintptr_t)copy, 30), 0);
    assert_int_equal(load_and_unload((void *)(uintptr_t)copy), 0);
}

/* ---- threads ---- */

struct thread_case {
    const sbx_runner *runner;
    bool returned;
    sbx_process *process;
    int result;
};

static void *start_cancelled(void *arg)
{
    struct thread_case *cancelled = arg;
    struct sbx_error error = SBX_ERROR_INIT;
    pthread_cancel(pthread_self()); /* acts at the next point of cancellation, of which a start has many */
    cancelled->result = sbx_start(cancelled->runner, NULL, &cancelled->process, &error);
    cancelled->returned = true;
    pthread_testcancel();
    return NULL;
}

static void a_cancelled_thread_comes_back_from_a_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = runner_for("exit0", "3", NULL);
        set_shape(runner, all_shapes[i]);
        struct thread_case cancelled = {.runner = runner};
        pthread_t thread;
        void *result = NULL;
        assert_int_equal(pthread_create(&thread, NULL, start_cancelled, &cancelled), 0);
        pthread_join(thread, &result);
        assert_true(cancelled.returned);
        assert_int_equal(cancelled.result, 0);
        assert_ptr_equal(result, PTHREAD_CANCELED); /* and is still cancelled afterwards */
        sbx_process_free(cancelled.process);
        sbx_runner_free(runner);
    }
}

static void *start_in_thread(void *arg)
{
    start_and_wait(((struct thread_case *)arg)->runner);
    return NULL;
}

static void a_small_stack_is_enough(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 64 * 1024), 0);
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = runner_for("exit0", "3", NULL);
        set_shape(runner, all_shapes[i]);
        struct thread_case small = {.runner = runner};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, &attributes, start_in_thread, &small), 0);
        pthread_join(thread, NULL);
        sbx_runner_free(runner);
    }
    pthread_attr_destroy(&attributes);
}

/* A thread may start a sandbox and end: in Go any thread may. The sandbox lives as long as the process. */
static void *start_and_end(void *arg)
{
    struct thread_case *once = arg;
    struct sbx_error error = SBX_ERROR_INIT;
    once->result = sbx_start(once->runner, NULL, &once->process, &error);
    return NULL;
}

static void a_sandbox_outlives_the_thread_that_started_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = runner_for("act", "sleep", "100", "exit", "6", NULL);
        set_shape(runner, all_shapes[i]);
        struct thread_case once = {.runner = runner};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, start_and_end, &once), 0);
        pthread_join(thread, NULL);
        assert_int_equal(once.result, 0);
        struct sbx_error error = SBX_ERROR_INIT;
        struct sbx_status status = {.size = sizeof status};
        assert_ok(sbx_process_wait(once.process, READ_TIMEOUT_NS, &status, &error), &error);
        assert_int_equal(status.code, CLD_EXITED);
        assert_int_equal(status.status, 6);
        sbx_process_free(once.process);
        sbx_runner_free(runner);
    }
}

/* ---- signals ---- */

static volatile sig_atomic_t handled;
static volatile sig_atomic_t handled_in_child;
static pid_t host_pid;

static void count_signal(int signal)
{
    (void)signal;
    handled++;
    handled_in_child += getpid() != host_pid;
}

/* A Go host interrupts its threads a hundred times a second, profilers more often. No call of the library may take EINTR
 * for an answer, and no handler may run in a child that shares the host's memory. */
static int interrupted_host(void *arg)
{
    const struct generations *host = arg;
    struct sigaction action = {.sa_handler = count_signal}; /* without SA_RESTART */
    struct itimerval often = {.it_interval = {.tv_usec = 60}, .it_value = {.tv_usec = 60}};
    struct itimerval never = {.it_value = {.tv_usec = 0}};
    host_pid = getpid();
    require(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0, "a timer");
    for (int n = 0; n < 300; n++) {
        start_and_wait(host->runners[n % 3]);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%d signals\n", (int)handled);
    require(handled > 100, "there were signals");
    require(handled_in_child == 0, "no handler ran in a child");
    return 0;
}

static void signals_interrupt_nothing(void **state)
{
    (void)state;
    struct generations host = {.left = 0};
    for (size_t i = 0; i < 3; i++) {
        struct sbx_error error = SBX_ERROR_INIT;
        host.runners[i] = runner_for("exit0", "3", NULL);
        set_shape(host.runners[i], all_shapes[i]);
        if (is_root() || have_userns()) {
            assert_ok(sbx_set_namespaces(host.runners[i], SBX_NS_USER, &error), &error);
            assert_ok(sbx_add_uid_map(host.runners[i], 0, geteuid(), 1, &error), &error);
            assert_ok(sbx_add_gid_map(host.runners[i], 0, getegid(), 1, &error), &error);
        }
    }
    assert_int_equal(forked_host(interrupted_host, &host, 60), 0);
    for (size_t i = 0; i < 3; i++) {
        sbx_runner_free(host.runners[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(a_forked_host_starts_sandboxes),
        host_test(a_host_may_close_every_descriptor),
        host_test(a_second_copy_comes_and_goes),
        host_test(a_cancelled_thread_comes_back_from_a_start),
        host_test(a_small_stack_is_enough),
        host_test(a_sandbox_outlives_the_thread_that_started_it),
        host_test(signals_interrupt_nothing),
    };
    return cmocka_run_group_tests_name("embedding", tests, NULL, NULL);
}
