/* Running a runner, and what became of it. See support.h. */
#include "support.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 64

/* ---- results ---- */

void check_ok(int result, const struct sbx_error *error, const char *call, const char *file, int line)
{
    if (result >= 0) {
        return;
    }
    print_error("%s\n  = %d (%s)\n", call, result, strerror(-result));
    if (error != NULL) {
        print_error("  at %s[%d]: %s\n", sbx_location_name(error->location), error->index, error->message);
    }
    _fail(file, line);
}

void check_error(int result, int number_wanted, const struct sbx_error *error, const char *call, const char *file, int line)
{
    bool same = result == -number_wanted;
    bool told = error == NULL || (error->err == number_wanted && error->location != 0 && error->blame != SBX_BLAME_NONE &&
                                  error->message[0] != '\0' && memchr(error->message, '\0', sizeof error->message) != NULL);
    if (same && told) {
        return;
    }
    print_error("%s\n  = %d, wanted %d (%s)\n", call, result, -number_wanted, strerror(number_wanted));
    if (error != NULL) {
        print_error("  err %d, location %u (%s), index %d, blame %u, message \"%.255s\"\n", error->err, error->location,
                    sbx_location_name(error->location), error->index, error->blame, error->message);
    }
    _fail(file, line);
}

void check_ended(const struct outcome *outcome, int code, int status, const char *file, int line)
{
    if (outcome->started == 0 && outcome->waited == 0 && outcome->status.code == code && outcome->status.status == status) {
        return;
    }
    print_error("start %d, wait %d, code %d, status %d; wanted code %d, status %d\n", outcome->started, outcome->waited,
                outcome->status.code, outcome->status.status, code, status);
    if (outcome->started != 0 || outcome->waited != 0) {
        print_error("  at %s[%d]: %s\n", sbx_location_name(outcome->error.location), outcome->error.index, outcome->error.message);
    }
    print_error("  output: %s\n", outcome->output);
    _fail(file, line);
}

/* ---- what this host can do ---- */

void skip_because(const char *reason)
{
    print_message("SKIP: %s\n", reason);
    skip();
    abort(); /* skip() does not return, but does not say so to the compiler */
}

bool is_root(void)
{
    return geteuid() == 0;
}

bool has_capability(int capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    return (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

bool have_userns(void)
{
    static int known = -1;
    if (known >= 0) {
        return known == 1;
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* Some systems let the namespace be made and give no capability in it: a mount tells. */
        bool able = unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
        _exit(able ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    known = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return known == 1;
}

void need_root(void)
{
    if (!is_root()) {
        skip_because("needs root");
    }
}

void need_userns(void)
{
    if (!have_userns()) {
        skip_because("this user cannot make a user namespace");
    }
}

bool under_valgrind(void)
{
    return getenv("SBX_TEST_VALGRIND") != NULL;
}

/* ---- runners ---- */

uint32_t every_shape[3] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};

uint32_t shape_of(void **state)
{
    return *(const uint32_t *)*state;
}

const char *inside(const char *name)
{
    static char paths[4][4096];
    static unsigned next;
    char *path = paths[next++ % 4];

    const char *directory = getenv("SBX_TEST_INSIDE");
    if (directory != NULL && directory[0] != '\0') {
        snprintf(path, sizeof paths[0], "%s/%s", directory, name);
        return path;
    }
    char self[3000];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof paths[0], "%s/inside/%s", self, name);
    return path;
}

sbx_runner *runner_for(const char *name, ...)
{
    const char *argv[MAX_ARGS + 2] = {inside(name)};
    size_t n = 1;
    va_list args;
    va_start(args, name);
    for (const char *arg; n <= MAX_ARGS && (arg = va_arg(args, const char *)) != NULL;) {
        argv[n++] = arg;
    }
    va_end(args);

    sbx_runner *runner = sbx_runner_new();
    assert_non_null(runner);
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_args(runner, argv, &error), &error);
    return runner;
}

void set_namespaces(sbx_runner *runner, uint64_t flags)
{
    struct sbx_error error = SBX_ERROR_INIT;
    if (!is_root()) {
        need_userns();
        flags |= SBX_NS_USER;
    }
    assert_ok(sbx_set_namespaces(runner, flags, &error), &error);
    if ((flags & SBX_NS_USER) == 0) {
        return;
    }
    assert_ok(sbx_add_uid_map(runner, 0, geteuid(), 1, &error), &error);
    assert_ok(sbx_add_gid_map(runner, 0, getegid(), 1, &error), &error);
}

void set_shape(sbx_runner *runner, uint32_t shape)
{
    struct sbx_error error = SBX_ERROR_INIT;
    if (shape == SBX_SHAPE_STAGED) {
        assert_ok(sbx_set_staged(runner, true, &error), &error);
    }
    if (shape == SBX_SHAPE_INIT) {
        assert_ok(sbx_set_init(runner, true, &error), &error);
    }
}

static bool maps(const struct sbx_launch *launch, int child_fd)
{
    for (size_t i = 0; i < launch->n_fds; i++) {
        if (launch->fds[i].child_fd == child_fd) {
            return true;
        }
    }
    return false;
}

const struct outcome *run(const sbx_runner *runner, const struct sbx_launch *given)
{
    static struct outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.waited = 1;
    outcome.error.size = sizeof outcome.error;
    outcome.status.size = sizeof outcome.status;

    struct sbx_launch launch = SBX_LAUNCH_INIT;
    if (given != NULL) {
        launch = *given;
    }
    struct sbx_fd_map *fds = test_calloc(launch.n_fds + 2, sizeof *fds);
    size_t n = 0;
    for (; n < launch.n_fds; n++) {
        fds[n] = launch.fds[n];
    }
    int pipe_fds[2];
    make_pipe(pipe_fds);
    for (int child_fd = 1; child_fd <= 2; child_fd++) {
        if (!maps(&launch, child_fd)) {
            fds[n++] = (struct sbx_fd_map){.fd = pipe_fds[1], .child_fd = child_fd};
        }
    }
    launch.fds = fds;
    launch.n_fds = n;

    sbx_process *process = NULL;
    outcome.started = sbx_start(runner, &launch, &process, &outcome.error);
    close(pipe_fds[1]);
    if (outcome.started == 0) {
        assert_non_null(process);
        outcome.length = read_to_end(pipe_fds[0], outcome.output, sizeof outcome.output);
        outcome.waited = sbx_process_wait(process, READ_TIMEOUT_NS, &outcome.status, &outcome.error);
        outcome.shape = sbx_process_shape(process);
        outcome.unenforced = sbx_process_unenforced(process);
        outcome.dies_with_host = sbx_process_dies_with_host(process);
        sbx_process_free(process);
    } else {
        assert_null(process);
    }
    close(pipe_fds[0]);
    test_free(fds);
    return &outcome;
}

struct outcome *copy_outcome(const struct outcome *outcome)
{
    struct outcome *copy = test_malloc(sizeof *copy);
    *copy = *outcome;
    return copy;
}

const struct outcome *run_ok(const sbx_runner *runner, int code)
{
    const struct outcome *outcome = run(runner, NULL);
    assert_ended(outcome, CLD_EXITED, code);
    return outcome;
}

static const char *find_value(const struct outcome *outcome, const char *key, size_t *length)
{
    size_t key_length = strlen(key);
    for (const char *line = outcome->output; *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        if ((size_t)(end - line) > key_length && strncmp(line, key, key_length) == 0 && line[key_length] == '=') {
            *length = (size_t)(end - line) - key_length - 1;
            return line + key_length + 1;
        }
        line = *end == '\0' ? end : end + 1;
    }
    return NULL;
}

const char *value(const struct outcome *outcome, const char *key)
{
    static char values[8][4096];
    static unsigned next;
    char *copy = values[next++ % 8];

    size_t length = 0;
    const char *found = find_value(outcome, key, &length);
    if (found == NULL || length >= sizeof values[0]) {
        fail_msg("the report has no %s (or it is too long):\n%s", key, outcome->output);
        return "";
    }
    memcpy(copy, found, length);
    copy[length] = '\0';
    return copy;
}

long long number(const struct outcome *outcome, const char *key)
{
    const char *text = value(outcome, key);
    char *end = NULL;
    long long result = strtoll(text, &end, 0);
    if (end == text || *end != '\0') {
        fail_msg("%s is no number: %s", key, text);
    }
    return result;
}

bool has_value(const struct outcome *outcome, const char *key)
{
    size_t length = 0;
    return find_value(outcome, key, &length) != NULL;
}

char *describe(const sbx_runner *runner, const struct sbx_launch *launch)
{
    struct sbx_error error = SBX_ERROR_INIT;
    int length = sbx_runner_describe(runner, launch, NULL, 0, &error);
    assert_ok(length, &error);
    char *text = test_malloc((size_t)length + 1);
    assert_int_equal(sbx_runner_describe(runner, launch, text, (size_t)length + 1, &error), length);
    assert_int_equal(strlen(text), length);
    return text;
}
