/* The exec itself, in each shape: how the program ends is told exactly, argv and environment arrive byte for
 * byte, the program may be an open file, and an exec that fails says so from sbx_start. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static sbx_runner *shaped(void **state, const char *name)
{
    sbx_runner *runner = runner_for(name, NULL);
    set_shape(runner, shape_of(state));
    return runner;
}

static void exit_codes(void **state)
{
    sbx_runner *runner = shaped(state, "exit0");
    for (int code = 0; code < 256; code++) {
        char text[16];
        snprintf(text, sizeof text, "%d", code);
        const char *const argv[] = {inside("exit0"), text, NULL};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.argv = argv;
        const struct outcome *outcome = run(runner, &launch);
        assert_ended(outcome, CLD_EXITED, code);
        assert_int_equal(outcome->shape, shape_of(state));
    }
    sbx_runner_free(runner);
}

/* Signals whose default is to end the process: all but those that are ignored or stop it. */
static void signals(void **state)
{
    sbx_runner *runner = shaped(state, "act");
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, &error), &error);
    for (int signal = 1; signal <= 64; signal++) {
        if (signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGWINCH || signal == SIGSTOP ||
            signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
            continue;
        }
        char text[16];
        snprintf(text, sizeof text, "%d", signal);
        const char *const argv[] = {inside("act"), "raise", text, NULL};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.argv = argv;
        const struct outcome *outcome = run(runner, &launch);
        /* A core of no bytes may or may not be called one. */
        assert_ended(outcome, outcome->status.code == CLD_DUMPED ? CLD_DUMPED : CLD_KILLED, signal);
    }
    sbx_runner_free(runner);
}

static void expect_strings(const char *output, const char *label, const char *const *strings, const char **end)
{
    for (; *strings != NULL; strings++) {
        char *line = test_malloc(strlen(*strings) + 64);
        sprintf(line, "%s %zu:%s\n", label, strlen(*strings), *strings);
        if (strncmp(output, line, strlen(line)) != 0) {
            fail_msg("wanted %s, got %.200s", line, output);
        }
        output += strlen(line);
        test_free(line);
    }
    *end = output;
}

static void argv_and_environment(void **state)
{
    sbx_runner *runner = shaped(state, "args");
    char bytes[256];
    for (int i = 0; i < 255; i++) {
        bytes[i] = (char)(i + 1);
    }
    bytes[255] = '\0';
    char *big = test_malloc(60001);
    memset(big, 'b', 60000);
    big[60000] = '\0';
    const char *const argv[] = {"any name", "", "two\nlines", bytes, "", big, "last", NULL};
    const char *const envp[] = {"A=1", "A=2", "no equals sign", "=", "", bytes, NULL};
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_args(runner, argv, &error), &error);
    assert_ok(sbx_set_env(runner, envp, &error), &error);
    assert_ok(sbx_set_exec_path(runner, inside("args"), &error), &error);

    const struct outcome *outcome = run_ok(runner, 0);
    const char *rest = outcome->output;
    assert_int_equal(strncmp(rest, "argc 7\n", 7), 0);
    expect_strings(rest + 7, "argv", argv, &rest);
    expect_strings(rest, "env", envp, &rest);
    assert_string_equal(rest, "");
    test_free(big);
    sbx_runner_free(runner);
}

/* A setter keeps nothing of the caller's. */
static void inputs_are_copied(void **state)
{
    sbx_runner *runner = shaped(state, "args");
    char path[4096];
    char arg[] = "argument";
    char env[] = "A=environment";
    strcpy(path, inside("args"));
    const char *argv[] = {arg, NULL};
    const char *envp[] = {env, NULL};
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_args(runner, argv, &error), &error);
    assert_ok(sbx_set_env(runner, envp, &error), &error);
    assert_ok(sbx_set_exec_path(runner, path, &error), &error);
    memset(path, 'z', strlen(path));
    memset(arg, 'z', strlen(arg));
    memset(env, 'z', strlen(env));
    argv[0] = NULL;
    envp[0] = NULL;
    assert_string_equal(run_ok(runner, 0)->output, "argc 1\nargv 8:argument\nenv 13:A=environment\n");
    sbx_runner_free(runner);
}

static void environment_is_empty_by_default(void **state)
{
    sbx_runner *runner = shaped(state, "args");
    const struct outcome *outcome = run_ok(runner, 0);
    assert_null(strstr(outcome->output, "\nenv "));

    const char *const envp[] = {"FROM=launch", NULL};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.envp = envp;
    outcome = run(runner, &launch);
    assert_ended(outcome, CLD_EXITED, 0);
    assert_non_null(strstr(outcome->output, "\nenv 11:FROM=launch\n"));
    sbx_runner_free(runner);
}

/* argv[0] is a path, relative to the work directory, and PATH is nobody's business. */
static void path_of_the_program(void **state)
{
    sbx_runner *runner = shaped(state, "exit0");
    char directory[4096];
    strcpy(directory, inside("exit0"));
    *strrchr(directory, '/') = '\0';
    const char *const relative[] = {"./exit0", "5", NULL};
    const char *const plain[] = {"sh", "-c", "exit 6", NULL};
    const char *const envp[] = {"PATH=/bin:/usr/bin", NULL};
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_workdir(runner, directory, &error), &error);
    assert_ok(sbx_set_env(runner, envp, &error), &error);

    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.argv = relative;
    assert_ended(run(runner, &launch), CLD_EXITED, 5);
    launch.argv = plain;
    assert_int_equal(run(runner, &launch)->started, -ENOENT);
    launch.exec_path = "/bin/sh";
    assert_ended(run(runner, &launch), CLD_EXITED, 6);
    sbx_runner_free(runner);
}

static int open_program(const char *name, int flags)
{
    int fd = open(inside(name), flags);
    assert_true(fd >= 0);
    return fd;
}

/* What report says about its descriptors: nothing of the program's own file. */
static void exec_fd(void **state)
{
    const int flags[] = {O_RDONLY | O_CLOEXEC, O_RDONLY, O_PATH | O_CLOEXEC};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        sbx_runner *runner = shaped(state, "no such program");
        struct sbx_error error = SBX_ERROR_INIT;
        int fd = open_program("report", flags[i]);
        assert_ok(sbx_set_exec_fd(runner, fd, &error), &error);
        for (int again = 0; again < 3; again++) {
            const struct outcome *outcome = run_ok(runner, 0);
            assert_string_equal(value(outcome, "fds"), "0,1,2");
        }
        close(fd);
        sbx_runner_free(runner);
    }
}

/* A program that lives in no directory. */
static void exec_memfd(void **state)
{
    sbx_runner *runner = shaped(state, "memory");
    int memory = memfd_create("program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int file = open_program("exit0", O_RDONLY | O_CLOEXEC);
    char buffer[65536];
    for (ssize_t n; (n = read(file, buffer, sizeof buffer)) > 0;) {
        assert_int_equal(write(memory, buffer, (size_t)n), n);
    }
    close(file);
    assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL), 0);
    const char *const argv[] = {"memory", "9", NULL};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.argv = argv;
    launch.exec_fd = memory;
    assert_ended(run(runner, &launch), CLD_EXITED, 9);
    assert_ended(run(runner, &launch), CLD_EXITED, 9);
    close(memory);
    sbx_runner_free(runner);
}

/* The program's descriptor has, in the host, each of the numbers that the map names in the child. */
static void exec_fd_collides_with_the_map(void **state)
{
    sbx_runner *runner = shaped(state, "report");
    int fd = open_program("report", O_RDONLY | O_CLOEXEC);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int child_fd = 0; child_fd < 12; child_fd += child_fd == 0 ? 3 : 1) {
        /* The harness may itself own the low numbers: only a free one can be taken. */
        int moved = child_fd;
        if (is_open(child_fd) && child_fd != fd) {
            moved = fcntl(fd, F_DUPFD_CLOEXEC, child_fd);
        } else if (child_fd != fd) {
            assert_int_equal(dup3(fd, child_fd, O_CLOEXEC), child_fd);
        }
        const struct sbx_fd_map map[] = {{null, 3}, {null, 4}, {null, 5}, {null, 6}, {moved, 7}, {null, moved > 7 ? moved : 8}};
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.exec_fd = moved;
        launch.fds = map;
        launch.n_fds = sizeof map / sizeof map[0];
        const struct outcome *outcome = run(runner, &launch);
        assert_ended(outcome, CLD_EXITED, 0);
        char fds[32];
        snprintf(fds, sizeof fds, "0,1,2,3,4,5,6,7,%d", moved > 7 ? moved : 8);
        assert_string_equal(value(outcome, "fds"), fds);
        if (moved != fd) {
            close(moved);
        }
    }
    close(null);
    close(fd);
    sbx_runner_free(runner);
}

static void expect_exec_error(sbx_runner *runner, const char *path, int number_wanted, uint32_t blame)
{
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_path = path;
    const struct outcome *outcome = run(runner, &launch);
    if (outcome->started != -number_wanted || outcome->error.err != number_wanted || outcome->error.blame != blame ||
        strcmp(sbx_location_name(outcome->error.location), "exec") != 0) {
        fail_msg("%s: %d, at %s, blame %s: %s", path, outcome->started, sbx_location_name(outcome->error.location),
                 sbx_blame_name(outcome->error.blame), outcome->error.message);
    }
    assert_true(outcome->error.message[0] != '\0');
}

static const char *file_in(const char *directory, const char *name, const char *text, unsigned mode)
{
    static char paths[4][600];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    write_file(path, text, strlen(text), mode);
    return path;
}

static void programs_that_cannot_be(void **state)
{
    sbx_runner *runner = shaped(state, "exit0");
    const char *directory = make_scratch();
    char loop[600];
    char missing[600];
    snprintf(loop, sizeof loop, "%s/loop", directory);
    snprintf(missing, sizeof missing, "%s/missing", directory);
    assert_int_equal(symlink("loop", loop), 0);

    expect_exec_error(runner, missing, ENOENT, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, "no such program", ENOENT, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, directory, EACCES, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, file_in(directory, "plain", "text", 0644), EACCES, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, file_in(directory, "text", "text", 0755), ENOEXEC, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, file_in(directory, "empty", "", 0755), ENOEXEC, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, file_in(directory, "script", "#!/no such interpreter\n", 0755), ENOENT, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, file_in(directory, "elf", "\177ELF\2\1\1", 0755), ENOEXEC, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, loop, ELOOP, SBX_BLAME_PROGRAM);
    expect_exec_error(runner, "/dev/null/x", ENOTDIR, SBX_BLAME_PROGRAM);
    assert_ended(run(runner, NULL), CLD_EXITED, 0);
    sbx_runner_free(runner);
}

static void arguments_that_are_too_long(void **state)
{
    sbx_runner *runner = shaped(state, "exit0");
    char *big = test_malloc(200001);
    memset(big, 'b', 200000);
    big[200000] = '\0';
    const char *const argv[] = {inside("exit0"), big, NULL}; /* MAX_ARG_STRLEN is 128 KiB */
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_args(runner, argv, &error), &error);
    expect_exec_error(runner, inside("exit0"), E2BIG, SBX_BLAME_CALLER);
    test_free(big);
    sbx_runner_free(runner);
}

/* Somebody has the program open for writing: a compiler that is not quite done. */
static void busy_program(void **state)
{
    sbx_runner *runner = shaped(state, "exit0");
    const char *path = file_in(make_scratch(), "busy", "#!/bin/true\n", 0755);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    expect_exec_error(runner, path, ETXTBSY, SBX_BLAME_TRANSIENT);
    close(fd);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_path = path;
    assert_ended(run(runner, &launch), CLD_EXITED, 0);
    sbx_runner_free(runner);
}

static void script(void **state)
{
    sbx_runner *runner = shaped(state, "exit0");
    char line[4200];
    snprintf(line, sizeof line, "#!%s one argument\n", inside("args"));
    const char *path = file_in(make_scratch(), "script", line, 0755);
    const char *const argv[] = {"lost", "kept", NULL};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.argv = argv;
    launch.exec_path = path;
    const struct outcome *outcome = run(runner, &launch);
    assert_ended(outcome, CLD_EXITED, 0);
    char wanted[9000];
    snprintf(wanted, sizeof wanted, "argc 4\nargv %zu:%s\nargv 12:one argument\nargv %zu:%s\nargv 4:kept\n",
             strlen(inside("args")), inside("args"), strlen(path), path);
    assert_string_equal(outcome->output, wanted);

    /* As an open file the script has no name that its interpreter could open. */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    launch.exec_path = NULL;
    launch.exec_fd = fd;
    outcome = run(runner, &launch);
    assert_int_equal(outcome->started, -ENOENT);
    assert_string_equal(sbx_location_name(outcome->error.location), "exec");
    close(fd);
    sbx_runner_free(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(exit_codes),
        in_each_shape(signals),
        in_each_shape(argv_and_environment),
        in_each_shape(inputs_are_copied),
        in_each_shape(environment_is_empty_by_default),
        in_each_shape(path_of_the_program),
        in_each_shape(exec_fd),
        in_each_shape(exec_memfd),
        in_each_shape(exec_fd_collides_with_the_map),
        in_each_shape(programs_that_cannot_be),
        in_each_shape(arguments_that_are_too_long),
        in_each_shape(busy_program),
        in_each_shape(script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
