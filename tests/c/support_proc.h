/* What /proc says about processes, and test hosts of their own.
 *
 * Nothing here calls cmocka, so that all of it can be used on other threads, in forked hosts and in
 * callbacks of the library, where a failed assertion has nowhere to jump to.
 */
#ifndef SBX_TEST_SUPPORT_PROC_H
#define SBX_TEST_SUPPORT_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sbx_error;

/* The three shapes, for loops. */
extern const uint32_t all_shapes[3];

/* The pid that a pidfd names; -1: none (it has ended, or this is no pidfd). */
pid_t pid_of_pidfd(int pidfd);

/* A number from /proc/PID/status: the first after "KEY:", or the last one on that line. -1: there is none. */
long status_first(pid_t pid, const char *key);
long status_last(pid_t pid, const char *key);

/* True if the process runs this program of tests/c/inside (by /proc/PID/exe, if that can be read). */
bool runs(pid_t pid, const char *name);

/* The same, within five seconds: a start is over when the exec can fail no more, a moment before the link changes. */
bool soon_runs(pid_t pid, const char *name);

/* Waits until the process is in this state (R, S, T, t, ...), or gone if it is 0; false after five seconds. */
bool wait_for_state(pid_t pid, char state);

/* True if this process has no child, not even a zombie or a tracee. */
bool no_child_left(void);

/* For bodies of forked hosts and of threads: says what went wrong and ends the process with 1 (a thread takes its
 * process with it). */
void require(bool condition, const char *what);
void require_ok(int result, const struct sbx_error *error, const char *what);

/* Runs body(arg) in a fork of the test and gives what it returned as its exit code, or minus the signal that killed it.
 * It is killed after `seconds`: -SIGKILL. */
int forked_host(int (*body)(void *), void *arg, unsigned seconds);

#endif
