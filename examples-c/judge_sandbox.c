/* The judge's two sandboxes.
 *
 * The compiler's: the system's /usr read-only, /proc, /dev, a small /tmp, and a writable /box.
 * The program's: /box, read-only, and nothing else. It is linked statically and needs no library.
 * Both have every namespace, no capability, no network, the filter, and an init in front of them,
 * so that the program is not pid 1 and all of it dies with the judge. */
#define _GNU_SOURCE
#include "judge.h"

#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* User and group inside. */
#define INSIDE_ID 1000
/* As root, each worker's programs run as a host user of their own: first of a range that belongs to
 * nobody. A real judge reserves such a range in /etc/subuid. */
#define FIRST_HOST_ID 100000

uint32_t sandbox_host_uid(const struct worker *worker)
{
    return geteuid() == 0 ? FIRST_HOST_ID + worker->number : geteuid();
}

/* No limit can be above the hard limit that the judge itself was given. */
static int limit(sbx_runner *runner, int resource, uint64_t value, struct sbx_error *error)
{
    struct rlimit own;
    if (getrlimit(resource, &own) == 0 && own.rlim_max < value)
        value = own.rlim_max;
    return sbx_add_rlimit(runner, resource, value, value, error);
}

static int set_limits(sbx_runner *runner, const struct limits *limits, bool cgroup,
                      struct sbx_error *error)
{
    /* In whole seconds, and the kernel's clock for it is coarse: one more than the limit, so that
     * the measured figure is beyond the limit by then and decides. */
    const uint64_t cpu_seconds = (limits->cpu_ns + SECOND - 1) / SECOND + 1;
    int rc = limit(runner, RLIMIT_CPU, cpu_seconds, error);
    /* One byte more than allowed: a file that reached it wanted more. */
    if (rc == 0)
        rc = limit(runner, RLIMIT_FSIZE, limits->file_size + 1, error);
    if (rc == 0)
        rc = limit(runner, RLIMIT_NOFILE, 64, error);
    /* Not 0: with 0 a core_pattern that names a program would still be served. */
    if (rc == 0)
        rc = limit(runner, RLIMIT_CORE, 1, error);
    if (rc < 0 || cgroup)
        return rc;
    /* Without a cgroup: each process's address space, which is not memory in use. It keeps the
     * machine safe; the verdict comes from the measured resident set, so there must be room for it
     * to grow beyond the limit. */
    rc = limit(runner, RLIMIT_AS, 2 * limits->memory, error);
    /* Counted per user and user namespace since Linux 5.14, per user of the whole host before. */
    if (rc == 0)
        rc = limit(runner, RLIMIT_NPROC, limits->processes, error);
    return rc;
}

/* One id inside, one outside. An unprivileged judge can map only its own user; root maps an id that
 * owns nothing, and the program takes it, so that the host's root is nobody inside. */
static int set_identity(sbx_runner *runner, const struct worker *worker, struct sbx_error *error)
{
    const uint32_t uid = sandbox_host_uid(worker);
    const uint32_t gid = geteuid() == 0 ? uid : getegid();
    int rc = sbx_add_uid_map(runner, INSIDE_ID, uid, 1, error);
    if (rc == 0)
        rc = sbx_add_gid_map(runner, INSIDE_ID, gid, 1, error);
    if (rc == 0 && geteuid() == 0)
        rc = sbx_set_credential(runner, INSIDE_ID, INSIDE_ID, NULL, 0, error);
    return rc;
}

/* What both have in common. */
static int set_base(sbx_runner *runner, const struct worker *worker, const struct limits *limits,
                    struct sbx_error *error)
{
    const struct judge *judge = worker->judge;
    const uint64_t namespaces = SBX_NS_USER | SBX_NS_PID | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC |
                                SBX_NS_UTS | SBX_NS_CGROUP | SBX_NS_TIME;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(worker->cpu, &cpus);

    int rc = sbx_set_namespaces(runner, namespaces, error);
    if (rc == 0)
        rc = set_identity(runner, worker, error);
    if (rc == 0)
        rc = sbx_set_pivot_root(runner, NULL, 0, error);
    if (rc == 0)
        rc = sbx_set_hostname(runner, "judge", error);
    if (rc == 0)
        rc = sbx_set_setsid(runner, true, error);
    /* One worker's fork bomb does not slow down the other's program. */
    if (rc == 0)
        rc = sbx_set_cpu_affinity(runner, &cpus, sizeof cpus, error);
    /* When the whole host runs out of memory, the program goes first. */
    if (rc == 0)
        rc = sbx_set_oom_score_adj(runner, 1000, error);
    if (rc == 0)
        rc = set_limits(runner, limits, judge->cgroups.n > 0, error);
    if (rc == 0)
        rc = sbx_set_caps(runner, 0, error);
    if (rc == 0)
        rc = sbx_set_no_new_privs(runner, true, error);
    if (rc == 0)
        rc = sbx_set_bpf(runner, judge->filter, judge->filter_len, 0, error);
    return rc;
}

/* A directory of the host, read-only, if this system has it. */
static int add_system(sbx_runner *runner, const char *path, struct sbx_error *error)
{
    return access(path, F_OK) < 0 ? 0 : sbx_add_bind(runner, path, path, 0, error);
}

static int set_compiler(sbx_runner *runner, struct sbx_error *error)
{
    static const char *const system[] = {"/usr", "/bin", "/lib", "/lib32", "/lib64",
                                         "/etc/alternatives", "/etc/ld.so.cache"};
    static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TMPDIR=/tmp", NULL};
    int rc = sbx_set_env(runner, env, error);
    for (size_t i = 0; rc == 0 && i < sizeof system / sizeof system[0]; i++)
        rc = add_system(runner, system[i], error);
    if (rc == 0)
        rc = sbx_add_proc(runner, "/proc", 0, error);
    if (rc == 0)
        rc = sbx_add_dev(runner, "/dev", 0, error);
    if (rc == 0)
        rc = sbx_add_tmpfs(runner, "/tmp", 64 * MIB, 1000, 01777, 0, error);
    return rc;
}

static sbx_runner *finished(sbx_runner *runner, int rc, const struct sbx_error *error,
                            struct why *why)
{
    if (rc == 0)
        return runner;
    because(why, "sandbox: %s", error->message);
    sbx_runner_free(runner);
    return NULL;
}

sbx_runner *sandbox_for_compiler(const struct worker *worker, struct why *why)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = sbx_runner_new();
    if (runner == NULL) {
        because(why, "out of memory");
        return NULL;
    }
    int rc = set_base(runner, worker, &worker->judge->compile_limits, &error);
    if (rc == 0)
        rc = set_compiler(runner, &error);
    return finished(runner, rc, &error, why);
}

sbx_runner *sandbox_for_program(const struct worker *worker, struct why *why)
{
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_runner *runner = sbx_runner_new();
    if (runner == NULL) {
        because(why, "out of memory");
        return NULL;
    }
    const int rc = set_base(runner, worker, &worker->judge->run_limits, &error);
    return finished(runner, rc, &error, why);
}
