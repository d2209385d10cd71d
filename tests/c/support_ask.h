/* Questions to a program inside a sandbox: see inside/answer.h for their form.
 *
 *     expect(runner, NULL, "/inside/files", "read /etc/motd", "ok hello", "write /etc/motd x", "EROFS", NULL);
 *
 * starts /inside/files with the two questions as its arguments and compares its two answers.
 */
#ifndef SBX_TEST_SUPPORT_ASK_H
#define SBX_TEST_SUPPORT_ASK_H

#include "support.h"

/* Starts `program` (a path inside the sandbox) and fails the test unless each question gets its answer, which is an
 * fnmatch(3) pattern. `launch` may be NULL. The list of pairs ends with NULL. Returns what became of the start. */
const struct outcome *expect(const sbx_runner *runner, const struct sbx_launch *launch, const char *program, ...)
    __attribute__((sentinel));

/* The same with the answers left to the caller. `answer` is one of them, without its newline; static until the next call
 * but seven. */
const struct outcome *ask(const sbx_runner *runner, const struct sbx_launch *launch, const char *program, ...)
    __attribute__((sentinel));
const char *answer(const struct outcome *outcome, size_t index);

/* Starts `program` with these questions and does not wait for its end: its answers come out of `*output`, a pipe that the
 * caller closes; `launch` may be NULL and must not map descriptors. sbx_process_free ends it. */
sbx_process *start_asking(const sbx_runner *runner, const struct sbx_launch *launch, int *output, const char *program, ...)
    __attribute__((sentinel));

/* The next line from a pipe, without its newline; fails the test after 20 s. Static until the next call but seven. */
const char *next_line(int fd);

/* True if nobody has the pipe's other end open any more, within this time; lines that come are thrown away. */
bool closed_within(int fd, int timeout_ms);

/* Fails the test unless sbx_start refuses with this errno at this location. Returns the error, for its index or message;
 * static until the next call. */
const struct sbx_error *expect_refusal(const sbx_runner *runner, const struct sbx_launch *launch, const char *location,
                                       int number);

/* A runner with these namespaces (set_namespaces adds a user namespace where there are no privileges). */
sbx_runner *sandbox(uint64_t namespaces);

/* The same with a mount namespace and a fresh tmpfs as its root, in which tests/c/inside is bound at /inside. */
sbx_runner *rooted_sandbox(uint64_t namespaces);

/* A program of tests/c/inside, copied to where every user can reach it; removed after the test. The name is static until the
 * next call but seven. */
const char *reachable_inside(const char *name);

/* Copies a file, with this mode. */
void copy_file(const char *from, const char *to, unsigned mode);

/* printf into a string that is static until the next call but 255. */
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Gives a test host that is root a mount namespace of its own, so that what its tests mount is seen by nobody else and
 * goes away with it. To be called at the beginning of main. */
void own_mounts(void);

/* What a child process of the test makes of it: `body` runs in a fork of the test host, where it may change its root,
 * its user or its namespaces. Fails the test when an assertion in it fails. */
void in_forked_host(void (*body)(void *), void *argument);

/* The same as a user without privileges: uid and gid 65534, no groups, no capabilities. For a test host that is not root
 * itself, `body` runs as it is. */
void in_unprivileged_host(void (*body)(void *), void *argument);

#endif
