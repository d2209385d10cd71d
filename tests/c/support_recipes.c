/* Runners that together use every feature of a start. See support_recipes.h. */
#include "support_recipes.h"

#include "support_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534u
#define FS_EXECUTE_WRITE_READ_FILE_READ_DIR 0xfu /* LANDLOCK_ACCESS_FS_*: the first four */
#define NET_BIND_CONNECT 3u                      /* LANDLOCK_ACCESS_NET_* of ABI 4 */
#define SCOPE_ALL 3u                             /* LANDLOCK_SCOPE_* of ABI 6 */

static struct sbx_error error = SBX_ERROR_INIT;

int keep_fd(struct prepared *prepared, int fd)
{
    assert_true(fd >= 0 && prepared->n_fds < sizeof prepared->fds / sizeof prepared->fds[0]);
    prepared->fds[prepared->n_fds++] = fd;
    return fd;
}

static void make_plain(struct prepared *prepared)
{
    (void)prepared;
}

static void make_attributes(struct prepared *prepared)
{
    sbx_runner *runner = prepared->runner;
    static const char *const env[] = {"A=1", "B=2", NULL};
    cpu_set_t cpus;
    assert_int_equal(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    assert_ok(sbx_set_env(runner, env, &error), &error);
    assert_ok(sbx_set_workdir(runner, "/tmp", &error), &error);
    assert_ok(sbx_set_umask(runner, 027, &error), &error);
    assert_ok(sbx_set_cpu_affinity(runner, &cpus, sizeof cpus, &error), &error);
    assert_ok(sbx_set_nice(runner, 5, &error), &error);
    assert_ok(sbx_set_scheduler(runner, SCHED_BATCH, 0, &error), &error);
    assert_ok(sbx_set_no_aslr(runner, true, &error), &error);
    assert_ok(sbx_set_pdeathsig(runner, SIGKILL, &error), &error);
    assert_ok(sbx_set_setsid(runner, true, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_CORE, 0, 0, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_NOFILE, 64, 64, &error), &error);
    assert_ok(sbx_add_rlimit(runner, RLIMIT_NPROC, 100, 100, &error), &error);
}

/* Entries of the map in a ring, one number closed, one kept; and the launch replaces one. */
static void make_fd_map(struct prepared *prepared)
{
    int a = keep_fd(prepared, open("/dev/null", O_RDWR | O_CLOEXEC));
    int b = keep_fd(prepared, open("/dev/zero", O_RDWR | O_CLOEXEC));
    assert_ok(sbx_map_fd(prepared->runner, a, b, &error), &error);
    assert_ok(sbx_map_fd(prepared->runner, b, a, &error), &error);
    assert_ok(sbx_map_fd(prepared->runner, a, 0, &error), &error);
    assert_ok(sbx_map_fd(prepared->runner, -1, 1, &error), &error);
    assert_ok(sbx_map_fd(prepared->runner, a, 40, &error), &error);
    prepared->map = (struct sbx_fd_map){.fd = b, .child_fd = 40};
    prepared->launch.fds = &prepared->map;
    prepared->launch.n_fds = 1;
}

static void make_exec_fd(struct prepared *prepared)
{
    int fd = keep_fd(prepared, open(inside("exit0"), O_PATH | O_CLOEXEC));
    assert_ok(sbx_set_exec_fd(prepared->runner, fd, &error), &error);
}

void add_restrictions(sbx_runner *runner, const char *path)
{
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    int abi = sbx_landlock_abi();
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_bpf(runner, allow, 1, 0, &error), &error);
    assert_ok(sbx_add_bpf(runner, allow, 1, 0, &error), &error);
    if (abi < 1) {
        return;
    }
    assert_ok(sbx_set_landlock(runner, FS_EXECUTE_WRITE_READ_FILE_READ_DIR, abi >= 4 ? NET_BIND_CONNECT : 0,
                               abi >= 6 ? SCOPE_ALL : 0, 0, &error), &error);
    assert_ok(sbx_add_landlock_path(runner, path, FS_EXECUTE_WRITE_READ_FILE_READ_DIR, 0, &error), &error);
    assert_ok(sbx_add_landlock_path(runner, "/no-such-path-for-sbx", 1, SBX_MOUNT_OPTIONAL, &error), &error);
    if (abi >= 4) {
        assert_ok(sbx_add_landlock_port(runner, 80, NET_BIND_CONNECT, &error), &error);
    }
}

static void make_restricted(struct prepared *prepared)
{
    add_restrictions(prepared->runner, "/");
}

static void make_time(struct prepared *prepared)
{
    set_namespaces(prepared->runner, SBX_NS_TIME);
    assert_ok(sbx_set_time_offset(prepared->runner, CLOCK_MONOTONIC, 1000, 5, &error), &error);
    assert_ok(sbx_set_time_offset(prepared->runner, CLOCK_BOOTTIME, 2000, 0, &error), &error);
}

static void make_credential(struct prepared *prepared)
{
    sbx_runner *runner = prepared->runner;
    static const uint32_t groups[] = {NOBODY, 7};
    assert_ok(sbx_set_exec_fd(runner, keep_fd(prepared, open(inside("exit0"), O_PATH | O_CLOEXEC)), &error), &error);
    assert_ok(sbx_set_credential(runner, NOBODY, NOBODY, groups, 2, &error), &error);
    assert_ok(sbx_set_caps(runner, 1 << 10, &error), &error);
    assert_ok(sbx_set_no_new_privs(runner, true, &error), &error);
    assert_ok(sbx_set_pdeathsig(runner, SIGTERM, &error), &error);
}

static void make_oom_score(struct prepared *prepared)
{
    assert_ok(sbx_set_oom_score_adj(prepared->runner, 500, &error), &error);
}

static void make_keyring(struct prepared *prepared)
{
    assert_ok(sbx_set_session_keyring(prepared->runner, true, &error), &error);
}

/* The caller's own namespaces are as good as any to be joined. */
static void make_joined(struct prepared *prepared)
{
    static const struct { const char *path; uint64_t type; } joined[] = {
        {"/proc/self/ns/uts", SBX_NS_UTS}, {"/proc/self/ns/ipc", SBX_NS_IPC}, {"/proc/self/ns/pid", SBX_NS_PID}};
    for (size_t i = 0; i < 3; i++) {
        int fd = keep_fd(prepared, open(joined[i].path, O_RDONLY | O_CLOEXEC));
        assert_ok(sbx_join_namespace(prepared->runner, fd, joined[i].type, &error), &error);
    }
}

static void write_proc(pid_t pid, const char *name, const char *line)
{
    int fd = open(text("/proc/%d/%s", (int)pid, name), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
    close(fd);
}

/* A user namespace with the caller as its root, kept alive by the descriptor alone. */
static int make_user_namespace(void)
{
    int ready[2];
    make_pipe(ready);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte = unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
        _exit(write(ready[1], &byte, 1) == 1 && pause() != 0 ? 0 : 1);
    }
    close(ready[1]);
    char byte = 'n';
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(ready[0]);
    write_proc(pid, "setgroups", "deny");
    write_proc(pid, "uid_map", text("0 %u 1", geteuid()));
    write_proc(pid, "gid_map", text("0 %u 1", getegid()));
    int fd = open(text("/proc/%d/ns/user", (int)pid), O_RDONLY | O_CLOEXEC);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return fd;
}

static void make_joined_user(struct prepared *prepared)
{
    int fd = keep_fd(prepared, make_user_namespace());
    assert_ok(sbx_join_namespace(prepared->runner, fd, SBX_NS_USER, &error), &error);
    assert_ok(sbx_set_namespaces(prepared->runner, SBX_NS_UTS | SBX_NS_MNT, &error), &error);
    assert_ok(sbx_set_hostname(prepared->runner, "joined", &error), &error);
    assert_ok(sbx_set_credential(prepared->runner, 0, 0, NULL, 0, &error), &error);
    assert_ok(sbx_set_caps(prepared->runner, 0, &error), &error);
}

static void make_terminal(struct prepared *prepared)
{
    int master = keep_fd(prepared, posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    assert_int_equal(unlockpt(master), 0);
    char name[64];
    assert_int_equal(ptsname_r(master, name, sizeof name), 0);
    int slave = keep_fd(prepared, open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    assert_ok(sbx_set_ctty(prepared->runner, slave, &error), &error);
}

/* A cgroup of its own below each of these, as far as they are there. */
static void make_cgroup(struct prepared *prepared)
{
    static const char *const parents[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"};
    for (size_t i = 0; i < 2; i++) {
        char *path = prepared->cgroups[prepared->n_cgroups];
        snprintf(path, sizeof prepared->cgroups[0], "%s/sbx-test-%d", parents[i], (int)getpid());
        if (mkdir(path, 0755) != 0) {
            continue;
        }
        prepared->n_cgroups++;
        int fd = keep_fd(prepared, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        assert_ok(sbx_add_cgroup_fd(prepared->runner, fd, &error), &error);
    }
    assert_ok(sbx_set_namespaces(prepared->runner, SBX_NS_CGROUP, &error), &error);
    assert_ok(sbx_set_unshare_cgroup_after_sync(prepared->runner, true, &error), &error);
}

static int go_on(int pid, int pidfd, void *arg)
{
    (void)pid;
    (void)pidfd;
    (void)arg;
    return 0;
}

static void make_synced(struct prepared *prepared)
{
    assert_ok(sbx_set_sync_func(prepared->runner, go_on, &error), &error);
}

/* Not a setting but a host: every start resets what a child would inherit. */
static void make_realtime_host(struct prepared *prepared)
{
    struct sched_param param = {.sched_priority = 1};
    prepared->realtime = true;
    assert_int_equal(sched_setscheduler(0, SCHED_FIFO, &param), 0);
}

static void make_traced(struct prepared *prepared)
{
    assert_ok(sbx_set_ptrace(prepared->runner, true, &error), &error);
    add_restrictions(prepared->runner, "/");
    prepared->traced = true;
}

static void make_stopped(struct prepared *prepared)
{
    assert_ok(sbx_set_stop_before_seccomp(prepared->runner, true, &error), &error);
    add_restrictions(prepared->runner, "/");
    prepared->stopped = true;
}

const struct recipe recipes[] = {
    {"plain", false, false, make_plain},
    {"attributes", false, false, make_attributes},
    {"fd map", false, false, make_fd_map},
    {"exec fd", false, false, make_exec_fd},
    {"restricted", false, false, make_restricted},
    {"container", false, true, make_container},
    {"mapped ids", true, false, make_mapped_ids},
    {"time", false, true, make_time},
    {"existing root", false, true, make_existing_root},
    {"chroot", false, true, make_chroot},
    {"fresh chroot", false, true, make_fresh_chroot},
    {"credential", true, false, make_credential},
    {"oom score", false, false, make_oom_score},
    {"keyring", false, false, make_keyring},
    {"joined", true, false, make_joined},
    {"joined user", false, true, make_joined_user},
    {"terminal", false, false, make_terminal},
    {"cgroup", true, false, make_cgroup},
    {"synced", false, false, make_synced},
    {"real-time host", true, false, make_realtime_host},
    {"traced", false, false, make_traced},
    {"stopped", false, false, make_stopped},
};
const size_t n_recipes = sizeof recipes / sizeof recipes[0];

bool prepare(const struct recipe *recipe, uint32_t shape, struct prepared *prepared)
{
    if ((recipe->needs_root && !is_root()) || (recipe->needs_userns && !is_root() && !have_userns())) {
        print_message("%s: left out, needs %s\n", recipe->name, recipe->needs_root ? "root" : "a user namespace");
        return false;
    }
    *prepared = (struct prepared){.launch = SBX_LAUNCH_INIT};
    prepared->runner = runner_for("exit0", NULL);
    set_shape(prepared->runner, shape);
    if (shape != SBX_SHAPE_INIT && recipe->make != make_joined) {
        assert_ok(sbx_set_init(prepared->runner, false, &error), &error);
    }
    recipe->make(prepared);
    return true;
}

void let_program_go(const struct prepared *prepared, sbx_process *process)
{
    if (prepared->traced) {
        ptrace(PTRACE_DETACH, sbx_process_pid(process), 0, 0);
    }
    if (prepared->stopped) {
        sbx_process_kill(process, SIGCONT, NULL);
    }
}

void drop(struct prepared *prepared)
{
    sbx_runner_free(prepared->runner);
    if (prepared->realtime) {
        struct sched_param param = {0};
        sched_setscheduler(0, SCHED_OTHER, &param);
    }
    while (prepared->n_fds > 0) {
        close(prepared->fds[--prepared->n_fds]);
    }
    while (prepared->n_cgroups > 0) {
        const char *path = prepared->cgroups[--prepared->n_cgroups];
        for (int tries = 0; rmdir(path) != 0 && errno == EBUSY && tries < 1000; tries++) {
            sleep_ms(1);
        }
    }
    remove_scratch();
}
