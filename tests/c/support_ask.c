/* Questions to a program inside a sandbox. See support_ask.h. */
#include "support_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_QUESTIONS 62

const char *text(const char *format, ...)
{
    static char texts[256][4096];
    static unsigned next;
    char *place = texts[next++ % 256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(place, sizeof texts[0], format, arguments);
    va_end(arguments);
    assert_in_range(length, 0, sizeof texts[0] - 1);
    return place;
}

/* The line with this index: its length, or -1. */
static int find_line(const char *output, size_t index, const char **line)
{
    for (; index > 0; index--) {
        output = strchr(output, '\n');
        if (output == NULL) {
            return -1;
        }
        output++;
    }
    *line = output;
    const char *end = strchr(output, '\n');
    return end == NULL ? -1 : (int)(end - output);
}

const char *answer(const struct outcome *outcome, size_t index)
{
    const char *line = NULL;
    int length = find_line(outcome->output, index, &line);
    if (length < 0) {
        fail_msg("there is no answer %zu: start %d, code %d, status %d, output:\n%s", index, outcome->started,
                 outcome->status.code, outcome->status.status, outcome->output);
        return "";
    }
    static char answers[8][8192];
    static unsigned next;
    char *place = answers[next++ % 8];
    assert_true(length < (int)sizeof answers[0]);
    memcpy(place, line, (size_t)length);
    place[length] = '\0';
    return place;
}

static const struct outcome *ask_all(const sbx_runner *runner, const struct sbx_launch *given, const char *const *argv)
{
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    if (given != NULL) {
        launch = *given;
    }
    launch.argv = argv;
    const struct outcome *outcome = run(runner, &launch);
    assert_ok(outcome->started, &outcome->error);
    assert_ok(outcome->waited, &outcome->error);
    return outcome;
}

const struct outcome *ask(const sbx_runner *runner, const struct sbx_launch *launch, const char *program, ...)
{
    const char *argv[MAX_QUESTIONS + 2] = {program};
    size_t n = 1;
    va_list questions;
    va_start(questions, program);
    for (const char *question; n <= MAX_QUESTIONS && (question = va_arg(questions, const char *)) != NULL;) {
        argv[n++] = question;
    }
    va_end(questions);
    return ask_all(runner, launch, argv);
}

const struct outcome *expect(const sbx_runner *runner, const struct sbx_launch *launch, const char *program, ...)
{
    const char *argv[MAX_QUESTIONS + 2] = {program};
    const char *wanted[MAX_QUESTIONS] = {NULL};
    size_t n = 0;
    va_list pairs;
    va_start(pairs, program);
    for (const char *question; n < MAX_QUESTIONS && (question = va_arg(pairs, const char *)) != NULL; n++) {
        argv[n + 1] = question;
        wanted[n] = va_arg(pairs, const char *);
    }
    va_end(pairs);

    const struct outcome *outcome = ask_all(runner, launch, argv);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        const char *line = NULL;
        int length = find_line(outcome->output, i, &line);
        char got[8192];
        snprintf(got, sizeof got, "%.*s", length < 0 ? 9 : length, length < 0 ? "no answer" : line);
        if (fnmatch(wanted[i], got, 0) != 0) {
            print_error("%s\n  answered: %s\n  expected: %s\n", argv[i + 1], got, wanted[i]);
            wrong++;
        }
    }
    if (wrong != 0) {
        fail_msg("%zu of %zu answers of %s are wrong (it ended with code %d, status %d)", wrong, n, program,
                 outcome->status.code, outcome->status.status);
    }
    return outcome;
}

sbx_process *start_asking(const sbx_runner *runner, const struct sbx_launch *given, int *output, const char *program, ...)
{
    const char *argv[MAX_QUESTIONS + 2] = {program};
    size_t n = 1;
    va_list questions;
    va_start(questions, program);
    for (const char *question; n <= MAX_QUESTIONS && (question = va_arg(questions, const char *)) != NULL;) {
        argv[n++] = question;
    }
    va_end(questions);

    int fds[2];
    make_pipe(fds);
    const struct sbx_fd_map map[] = {{.fd = fds[1], .child_fd = 1}, {.fd = fds[1], .child_fd = 2}};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    if (given != NULL) {
        launch = *given;
    }
    launch.argv = argv;
    launch.fds = map;
    launch.n_fds = 2;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    int result = sbx_start(runner, &launch, &process, &error);
    close(fds[1]);
    assert_ok(result, &error);
    *output = fds[0];
    return process;
}

const char *next_line(int fd)
{
    static char lines[8][4096];
    static unsigned next;
    char *line = lines[next++ % 8];
    size_t length = 0;
    while (length < sizeof lines[0] - 1) {
        if (!readable(fd, 20000)) {
            fail_msg("no line within 20 s");
        }
        if (read(fd, line + length, 1) != 1) {
            fail_msg("the output ended in the middle of a line: %.*s", (int)length, line);
        }
        if (line[length] == '\n') {
            break;
        }
        length++;
    }
    line[length] = '\0';
    return line;
}

bool closed_within(int fd, int timeout_ms)
{
    uint64_t deadline = now_ns() + (uint64_t)timeout_ms * 1000000;
    for (uint64_t now; (now = now_ns()) < deadline;) {
        char rest[4096];
        if (readable(fd, (int)((deadline - now) / 1000000) + 1) && read(fd, rest, sizeof rest) == 0) {
            return true;
        }
    }
    return false;
}

const struct sbx_error *expect_refusal(const sbx_runner *runner, const struct sbx_launch *launch, const char *location,
                                       int number)
{
    static struct sbx_error error;
    const struct outcome *outcome = run(runner, launch);
    error = outcome->error;
    if (outcome->started == 0) {
        fail_msg("the start was not refused; expected %s: %s", location, strerror(number));
    }
    assert_error(outcome->started, number, &error);
    assert_string_equal(sbx_location_name(error.location), location);
    return &error;
}

sbx_runner *sandbox(uint64_t namespaces)
{
    sbx_runner *runner = sbx_runner_new();
    assert_non_null(runner);
    set_namespaces(runner, namespaces);
    return runner;
}

sbx_runner *rooted_sandbox(uint64_t namespaces)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = sandbox(namespaces | SBX_NS_MNT);
    assert_ok(sbx_set_pivot_root(runner, NULL, 0, &error), &error);
    const char *directory = text("%s", inside("."));
    assert_ok(sbx_add_bind(runner, directory, "/inside", 0, &error), &error);
    return runner;
}

void copy_file(const char *from, const char *to, unsigned mode)
{
    int source = open(from, O_RDONLY | O_CLOEXEC);
    int target = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(source >= 0 && target >= 0);
    ssize_t n;
    while ((n = sendfile(target, source, NULL, 1 << 20)) > 0) {
    }
    if (n < 0) {
        fail_msg("copying %s to %s: %s", from, to, strerror(errno));
    }
    assert_int_equal(fchmod(target, mode), 0);
    close(source);
    close(target);
}

const char *reachable_inside(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", make_scratch(), name);
    copy_file(inside(name), path, 0755);
    return path;
}

void own_mounts(void)
{
    if (is_root() && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)) {
        print_error("no mount namespace for the test host: %s\n", strerror(errno));
        _exit(1);
    }
}

void in_forked_host(void (*body)(void *), void *argument)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* A failed assertion must end this process, not jump back into the parent's list of tests. */
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        body(argument);
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("the forked host ended with status 0x%x", (unsigned)status);
    }
}

static void unprivileged(void *arguments)
{
    void **pair = arguments;
    void (*body)(void *) = *(void (**)(void *))pair[0];
    if (is_root()) {
        assert_int_equal(setgroups(0, NULL), 0);
        assert_int_equal(setresgid(65534, 65534, 65534), 0);
        assert_int_equal(setresuid(65534, 65534, 65534), 0);
        /* The change of user took this away, and with it the right to write a child's maps: a host that was started
         * by its user has it. */
        assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
    }
    body(pair[1]);
}

void in_unprivileged_host(void (*body)(void *), void *argument)
{
    void *pair[] = {&body, argument};
    in_forked_host(unprivileged, pair);
}
