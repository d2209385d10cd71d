/* A watched host thread. See support_watch.h. */
#include "support_watch.h"

#include "support.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_PROCESSES 32
#define TIMEOUT_NS (20 * UINT64_C(1000000000))

struct watched {
    void (*body)(void *);
    void *arg;
    atomic_int tid;
    atomic_int listener; /* -1: not there yet; below: -1 - errno */
};

struct counted {
    pid_t pid;
    int calls;
};

static void *watched_thread(void *arg)
{
    struct watched *watched = arg;
    struct sock_filter notify_all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
    struct sock_fprog program = {.len = 1, .filter = notify_all};

    atomic_store(&watched->tid, (int)syscall(SYS_gettid));
    if (!is_root() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        atomic_store(&watched->listener, -1 - errno);
        return NULL;
    }
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    /* From here on each call waits for the watcher: handing over the descriptor must not be one. */
    atomic_store(&watched->listener, fd < 0 ? -1 - errno : (int)fd);
    if (fd >= 0) {
        watched->body(watched->arg);
    }
    return NULL;
}

static struct counted *find_process(struct counted *processes, size_t *n, pid_t pid)
{
    for (size_t i = 0; i < *n; i++) {
        if (processes[i].pid == pid) {
            return &processes[i];
        }
    }
    if (*n == MAX_PROCESSES) {
        return NULL;
    }
    processes[*n] = (struct counted){.pid = pid};
    return &processes[(*n)++];
}

/* Answers one call. False: the listener is of no use any more. */
static bool answer_call(int listener, struct counted *processes, size_t *n, watch_func watcher, void *arg)
{
    struct seccomp_notif request = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) {
        return errno == ENOENT || errno == EINTR; /* the caller was killed meanwhile */
    }
    struct counted *process = find_process(processes, n, (pid_t)request.pid);
    if (process == NULL) {
        return false;
    }
    struct watched_call call = {
        .process = (int)(process - processes),
        .number = process->calls++,
        .nr = request.data.nr,
        .pid = (pid_t)request.pid,
        .name = syscall_name(request.data.nr),
    };
    for (size_t i = 0; i < 6; i++) {
        call.args[i] = request.data.args[i];
    }
    int error = watcher(&call, arg);
    struct seccomp_notif_resp response = {
        .id = request.id,
        .error = -error,
        .flags = error == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0,
    };
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 || errno == ENOENT;
}

void watch(void (*body)(void *), void *body_arg, watch_func watcher, void *watch_arg)
{
    struct watched watched = {.body = body, .arg = body_arg};
    atomic_init(&watched.listener, -1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watched_thread, &watched), 0);
    int listener;
    while ((listener = atomic_load(&watched.listener)) == -1) {
        sleep_ms(0);
    }
    if (listener < -1) {
        pthread_join(thread, NULL);
        fail_msg("no listener: %s", strerror(-1 - listener));
    }

    struct counted processes[MAX_PROCESSES] = {{.pid = atomic_load(&watched.tid)}};
    size_t n = 1;
    uint64_t deadline = now_ns() + TIMEOUT_NS;
    struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
    bool good = true;
    while (good && now_ns() < deadline) {
        int ready = poll(&poll_fd, 1, 1000);
        if (ready == 1 && (poll_fd.revents & POLLIN) != 0) {
            good = answer_call(listener, processes, &n, watcher, watch_arg);
        } else if (ready == 1) {
            break; /* POLLHUP: nobody is left */
        }
    }
    bool ended = poll_fd.revents == POLLHUP;
    close(listener); /* what still runs gets ENOSYS for each call from now on */
    if (!ended) {
        fail_msg("the watched thread or its processes did not end");
    }
    pthread_join(thread, NULL);
}

void need_watch(void)
{
    struct seccomp_notif_sizes sizes;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) {
        skip_because("this kernel has no seccomp notifications");
    }
}

bool watched_string(const struct watched_call *call, uint64_t address, char *buffer, size_t size)
{
    /* Up to the end of the page first: the next one may not be there. */
    size_t length = 4096 - address % 4096;
    for (size_t done = 0; done < size; length = size - done) {
        length = length < size - done ? length : size - done;
        struct iovec local = {.iov_base = buffer + done, .iov_len = length};
        struct iovec remote = {.iov_base = (void *)(uintptr_t)(address + done), .iov_len = length};
        if (process_vm_readv(call->pid, &local, 1, &remote, 1, 0) != (ssize_t)length) {
            return false;
        }
        if (memchr(buffer + done, '\0', length) != NULL) {
            return true;
        }
        done += length;
    }
    buffer[size - 1] = '\0'; /* a longer one is cut */
    return true;
}
