/* act WORD...: does what the words say, from left to right, and then exits with 0:
 *   say TEXT      writes TEXT and a newline to stdout
 *   exit CODE     raise SIGNAL     abort     kill PID:SIGNAL
 *   sleep MS      pause            spin MS (of CPU time)      touch BYTES (of fresh memory)
 *   ignore SIGNAL                  close FD                   read FD (until its end)
 *   child MS      forks a child that sleeps and ends; it is not waited for
 *   childspin MS  forks a child that uses CPU time, and waits for it
 *   daemon MS     forks twice, the second in a session of its own, which sleeps holding every fd
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

static void spin_ms(long ms)
{
    struct timespec used;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    } while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < ms);
}

static void touch(size_t size)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        _exit(99);
    }
    for (size_t i = 0; i < size; i += 4096) {
        ((volatile char *)memory)[i] = 1;
    }
}

static void say(const char *text)
{
    char line[4096];
    int length = snprintf(line, sizeof line, "%s\n", text);
    if (write(1, line, (size_t)length) != length) {
        _exit(98);
    }
}

static pid_t checked_fork(void)
{
    pid_t pid = fork();
    if (pid < 0) {
        _exit(97);
    }
    return pid;
}

static void start_daemon(long ms)
{
    pid_t pid = checked_fork();
    if (pid > 0) {
        waitpid(pid, NULL, 0);
        return;
    }
    setsid();
    if (checked_fork() > 0) {
        _exit(0);
    }
    sleep_ms(ms);
    _exit(0);
}

static void act(const char *word, const char *arg)
{
    long n = strtol(arg, NULL, 0);

    if (strcmp(word, "say") == 0) {
        say(arg);
    } else if (strcmp(word, "exit") == 0) {
        _exit((int)n);
    } else if (strcmp(word, "raise") == 0) {
        kill(getpid(), (int)n); /* raise() keeps two signals for the C library */
    } else if (strcmp(word, "kill") == 0) {
        kill((pid_t)n, atoi(strchr(arg, ':') + 1));
    } else if (strcmp(word, "sleep") == 0) {
        sleep_ms(n);
    } else if (strcmp(word, "spin") == 0) {
        spin_ms(n);
    } else if (strcmp(word, "touch") == 0) {
        touch((size_t)n);
    } else if (strcmp(word, "ignore") == 0) {
        signal((int)n, SIG_IGN);
    } else if (strcmp(word, "close") == 0) {
        close((int)n);
    } else if (strcmp(word, "read") == 0) {
        char buffer[4096];
        while (read((int)n, buffer, sizeof buffer) > 0) {
        }
    } else if (strcmp(word, "child") == 0) {
        if (checked_fork() == 0) {
            sleep_ms(n);
            _exit(0);
        }
    } else if (strcmp(word, "childspin") == 0) {
        pid_t pid = checked_fork();
        if (pid == 0) {
            spin_ms(n);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    } else if (strcmp(word, "daemon") == 0) {
        start_daemon(n);
    } else {
        fprintf(stderr, "act: what is %s?\n", word);
        _exit(96);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "abort") == 0) {
            abort();
        }
        if (strcmp(argv[i], "pause") == 0) {
            for (;;) {
                pause();
            }
        }
        if (i + 1 == argc) {
            _exit(95);
        }
        act(argv[i], argv[i + 1]);
        i++;
    }
    return 0;
}
