/* Inside a sandbox: processes that outlive, orphan, kill and are killed. */
#include "answer.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

static void sleep_seconds(int seconds)
{
    struct timespec left = {.tv_sec = seconds};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

/* daemon SECONDS: double fork and a session of its own; the daemon keeps every descriptor, ignores what a terminal or
 * a parent could send, and answers with its pid. */
static void do_daemon(char **words)
{
    int ready[2];
    if (pipe(ready) < 0) {
        failed();
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork() != 0) {
            _exit(0);
        }
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        pid_t self = getpid();
        if (write(ready[1], &self, sizeof self) != sizeof self) {
            _exit(1);
        }
        close(ready[0]);
        close(ready[1]);
        sleep_seconds(atoi(words[0]));
        _exit(0);
    }
    pid_t daemon = 0;
    waitpid(child, NULL, 0);
    close(ready[1]);
    if (read(ready[0], &daemon, sizeof daemon) == sizeof daemon) {
        ok("%d", daemon);
    } else {
        failed();
    }
    close(ready[0]);
}

/* orphans N: grandchildren that end after their parent; all of them have ended when this is answered. Somebody else has
 * to reap them. */
static void do_orphans(char **words)
{
    int ended[2];
    if (pipe(ended) < 0) {
        failed();
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        for (int i = atoi(words[0]); i > 0; i--) {
            if (fork() == 0) {
                struct timespec moment = {.tv_nsec = 2000000};
                nanosleep(&moment, NULL);
                _exit(0);
            }
        }
        _exit(0);
    }
    close(ended[1]);
    waitpid(child, NULL, 0);
    char nothing;
    answer_result(read(ended[0], &nothing, 1));
    close(ended[0]);
}

/* Which process becomes the parent of an orphan. */
static void do_orphans_parent(char **words)
{
    (void)words;
    int pids[2];
    if (pipe(pids) < 0) {
        failed();
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        pid_t before = getpid();
        if (fork() == 0) {
            while (getppid() == before) {
                sched_yield();
            }
            pid_t parent = getppid();
            _exit(write(pids[1], &parent, sizeof parent) != sizeof parent);
        }
        _exit(0);
    }
    pid_t parent = 0;
    waitpid(child, NULL, 0);
    if (read(pids[0], &parent, sizeof parent) == sizeof parent) {
        ok("%d", parent);
    } else {
        failed();
    }
    close(pids[0]);
    close(pids[1]);
}

/* kill-all HOST: SIGKILL to every process there is, unless this is the pid namespace of the test host, whose name
 * (pid:[...]) is HOST: a test that goes wrong must not end the machine. */
static void do_kill_all(char **words)
{
    char name[64] = "";
    if (readlink("/proc/self/ns/pid", name, sizeof name - 1) <= 0 || strcmp(name, words[0]) == 0) {
        say("this is the host's pid namespace");
        return;
    }
    answer_result(kill(-1, SIGKILL));
}

static void do_kill(char **words)
{
    answer_result(kill(atoi(words[0]), atoi(words[1])));
}

/* kill-parent SIGNAL: the parent as this process sees it */
static void do_kill_parent(char **words)
{
    answer_result(kill(getppid(), atoi(words[0])));
}

static void do_raise(char **words)
{
    answer_result(raise(atoi(words[0])));
}

/* Asks to be traced by its parent: from here on each signal stops it, and the parent sees a stop. */
static void do_traceme(char **words)
{
    (void)words;
    answer_result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static void do_abort(char **words)
{
    (void)words;
    abort();
}

static void do_pid(char **words)
{
    (void)words;
    ok("%d", getpid());
}

/* wait: for a child that this process never had */
static void do_wait(char **words)
{
    (void)words;
    answer_result(waitpid(-1, NULL, WNOHANG));
}

/* close FD */
static void do_close(char **words)
{
    answer_result(close(atoi(words[0])));
}

int main(int argc, char **argv)
{
    static const struct verb verbs[] = {
        {"daemon", 1, do_daemon}, {"orphans", 1, do_orphans}, {"orphans-parent", 0, do_orphans_parent},
        {"kill-all", 1, do_kill_all}, {"kill", 2, do_kill},   {"raise", 1, do_raise},
        {"abort", 0, do_abort},   {"pid", 0, do_pid},         {"wait", 0, do_wait},     {"close", 1, do_close},
        {"kill-parent", 1, do_kill_parent}, {"traceme", 0, do_traceme}, {NULL, 0, NULL},
    };
    return answer_all(verbs, argc, argv);
}
