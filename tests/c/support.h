/* What the C tests share: running a runner and capturing what its program says, and the check that a
 * test leaves its host as it found it.
 *
 * A test program is `int main(void)` with a table of cmocka tests made by host_test(): before each
 * test the host's state is written down (open fds, children, mounts, cwd, umask, signals, limits, ...),
 * and after it the state must be the same.
 */
#ifndef SBX_TEST_SUPPORT_H
#define SBX_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sbx.h>

/* A test that fails when it leaves the host changed. */
#define host_test(function) cmocka_unit_test_setup_teardown(function, host_before, host_after)

/* The two halves of host_test. A test that needs a setup of its own calls them from there. */
int host_before(void **state);
int host_after(void **state);

/* A host_test once for each shape of process tree; the test asks shape_of(state) which. */
#define in_each_shape(function)                                                                     \
    {#function ".direct", function, host_before, host_after, &every_shape[SBX_SHAPE_DIRECT]},     \
    {#function ".staged", function, host_before, host_after, &every_shape[SBX_SHAPE_STAGED]},     \
    {#function ".init", function, host_before, host_after, &every_shape[SBX_SHAPE_INIT]}
extern uint32_t every_shape[3];
uint32_t shape_of(void **state);

/* Fails the test, with the library's words, unless `result` is 0. */
#define assert_ok(result, error) check_ok((result), (error), #result, __FILE__, __LINE__)
void check_ok(int result, const struct sbx_error *error, const char *call, const char *file, int line);

/* Fails the test unless `result` is -`number` and the error says the same, with a location and a message. */
#define assert_error(result, number, error) check_error((result), (number), (error), #result, __FILE__, __LINE__)
void check_error(int result, int number, const struct sbx_error *error, const char *call, const char *file, int line);

/* Skips the test. The only good reason is that the kernel, or this user's rights, lack what the test is about. */
void skip_because(const char *reason) __attribute__((noreturn));
bool is_root(void);
bool have_userns(void);        /* this user can make a user namespace and has capabilities in it */
bool has_capability(int capability); /* effective; CAP_* of linux/capability.h */
void need_root(void);          /* skips otherwise */
void need_userns(void);        /* skips otherwise */
bool under_valgrind(void);     /* the library is the one built for valgrind: see tests/c/valgrind.list */

/* The absolute path of a program from tests/c/inside; static until the next call but three. */
const char *inside(const char *name);

/* A runner for the program `name` of tests/c/inside with further arguments, the list ended by NULL. */
sbx_runner *runner_for(const char *name, ...) __attribute__((sentinel));

/* sbx_set_namespaces. Without privileges a user namespace is added, with the caller as root in it; the
 * test is skipped where that is not possible. */
void set_namespaces(sbx_runner *runner, uint64_t flags);

/* A runner with every kind of setting, which can be started: exit0 in all namespaces but an existing one,
 * below a fresh root, with limits, mounts, Landlock and a filter. */
sbx_runner *full_runner(void);

/* Asks for one of SBX_SHAPE_*: direct needs nothing. */
void set_shape(sbx_runner *runner, uint32_t shape);

/* What became of a start. */
struct outcome {
    int started;                /* sbx_start: 0 or negative errno */
    int waited;                 /* sbx_process_wait: 0 or negative errno; 1 if it was not called */
    struct sbx_error error;     /* of the one that failed */
    struct sbx_status status;
    uint32_t shape;
    uint64_t unenforced;
    bool dies_with_host;
    size_t length;
    char output[512 * 1024];    /* what was written to stdout and stderr, NUL-terminated */
};

/* Starts, collects stdout and stderr (unless the launch maps 1 or 2), waits, frees. `launch` may be NULL.
 * The result is in memory of its own that the next call uses again; `copy_outcome` keeps one. */
const struct outcome *run(const sbx_runner *runner, const struct sbx_launch *launch);
struct outcome *copy_outcome(const struct outcome *outcome); /* test_free() it */

/* run() of a program that must start and end by exit(code). */
const struct outcome *run_ok(const sbx_runner *runner, int code);

/* Fails the test unless the program started and ended this way (CLD_EXITED and its exit code, CLD_KILLED and its signal). */
#define assert_ended(outcome, code, status) check_ended((outcome), (code), (status), __FILE__, __LINE__)
void check_ended(const struct outcome *outcome, int code, int status, const char *file, int line);

/* The value of a `key=value` line of inside/report. Missing: the test fails. Static until the next call but seven. */
const char *value(const struct outcome *outcome, const char *key);
long long number(const struct outcome *outcome, const char *key); /* decimal, 0x... or 0... */
bool has_value(const struct outcome *outcome, const char *key);

/* The text of sbx_runner_describe; test_free() it. */
char *describe(const sbx_runner *runner, const struct sbx_launch *launch);

#define READ_TIMEOUT_NS (20 * UINT64_C(1000000000))

/* Descriptors, files, time. All descriptors are close-on-exec. */
void make_pipe(int fds[2]);                              /* [0] reads, [1] writes */
size_t read_to_end(int fd, char *buffer, size_t size);   /* until EOF; fails the test after 20 s; NUL-terminates */
bool readable(int fd, int timeout_ms);
bool is_open(int fd);
int count_fds(void);
uint64_t now_ns(void);                                   /* CLOCK_MONOTONIC */
void sleep_ms(unsigned ms);
const char *make_scratch(void);                          /* a fresh directory below TMPDIR or /tmp, mode 0755; removed by host_after */
void write_file(const char *path, const void *data, size_t size, unsigned mode);
void remove_tree(const char *path);
void remove_scratch(void);                               /* what host_after does */
bool process_exists(int pid);                            /* also true for a zombie */
char process_state(int pid);                             /* R, S, D, T, t, Z, ...; 0 if there is none */

#endif
