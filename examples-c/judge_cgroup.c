/* The judge's cgroups: a fresh one for each run, which limits the memory and the processes of the
 * whole tree, and counts what was refused or killed. Without the right to make one there are only
 * the limits on each single process (judge_sandbox.c).
 *
 * All are made inside one directory of the judge's own, at the top of the mounted hierarchy: in a
 * container that is the container's own group. */
#define _GNU_SOURCE
#include "judge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int write_at(int dir, const char *file, const char *text)
{
    const int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    const ssize_t n = write(fd, text, strlen(text));
    const int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

static int write_number(int dir, const char *file, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return write_at(dir, file, text);
}

/* The number after `key ` at the beginning of a line: cgroup event files of both versions. */
static uint64_t event_count(int dir, const char *file, const char *key)
{
    const int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char text[512];
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const size_t key_len = strlen(key);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ')
            return strtoull(line + key_len + 1, NULL, 10);
    return 0;
}

/* A group is busy for a moment after its last process has ended. */
static void directory_remove(const char *path)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; i < 200 && rmdir(path) < 0 && errno == EBUSY; i++)
        nanosleep(&pause, NULL);
}

static int directory_make(struct cgroups *cgroups, const char *mounted, struct why *why)
{
    char *dir = cgroups->dir[cgroups->n];
    snprintf(dir, sizeof cgroups->dir[0], "%s/sbx-judge-%d", mounted, getpid());
    if (mkdir(dir, 0755) < 0)
        return because(why, "%s: %s", dir, strerror(errno));
    cgroups->n++;
    return 0;
}

static int try_v1(struct cgroups *cgroups, struct why *why)
{
    if (directory_make(cgroups, "/sys/fs/cgroup/memory", why) == 0 &&
        directory_make(cgroups, "/sys/fs/cgroup/pids", why) == 0)
        return 0;
    cgroups_close(cgroups);
    return -1;
}

static int try_v2(struct cgroups *cgroups, struct why *why)
{
    if (directory_make(cgroups, "/sys/fs/cgroup", why) < 0)
        return -1;
    cgroups->v2 = true;
    /* This works where the controllers have been handed down to the judge's directory. It changes
     * nothing above: that would be the business of whoever runs this machine. */
    const int dir = open(cgroups->dir[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = dir < 0 ? -1 : write_at(dir, "cgroup.subtree_control", "+memory +pids");
    if (rc < 0)
        because(why, "%s: memory and pids controllers: %s", cgroups->dir[0], strerror(errno));
    if (dir >= 0)
        close(dir);
    if (rc < 0)
        cgroups_close(cgroups);
    return rc;
}

int cgroups_open(struct cgroups *cgroups, struct why *why)
{
    *cgroups = (struct cgroups){.n = 0};
    const bool v1 = access("/sys/fs/cgroup/memory/tasks", F_OK) == 0;
    return v1 ? try_v1(cgroups, why) : try_v2(cgroups, why);
}

void cgroups_close(struct cgroups *cgroups)
{
    for (unsigned i = 0; i < cgroups->n; i++)
        directory_remove(cgroups->dir[i]);
    cgroups->n = 0;
}

static int set_limits(const struct cgroups *cgroups, const struct group *group,
                      const struct limits *limits)
{
    const int memory = group->fd[0];
    const int pids = group->fd[group->n - 1];
    const char *max = cgroups->v2 ? "memory.max" : "memory.limit_in_bytes";
    const char *swap = cgroups->v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";
    /* v1 limits memory and swap together, v2 swap alone. Neither file is there without swap. */
    if (write_number(memory, max, limits->memory) < 0 ||
        (write_number(memory, swap, cgroups->v2 ? 0 : limits->memory) < 0 && errno != ENOENT))
        return -1;
    return write_number(pids, "pids.max", limits->processes);
}

int group_make(const struct cgroups *cgroups, const char *name, const struct limits *limits,
               struct group *group, struct why *why)
{
    *group = (struct group){.n = 0};
    for (unsigned i = 0; i < cgroups->n; i++) {
        char *dir = group->dir[i];
        const int len = snprintf(dir, sizeof group->dir[i], "%s/%s", cgroups->dir[i], name);
        if (len >= (int)sizeof group->dir[i] || mkdir(dir, 0755) < 0) {
            because(why, "cgroup %s: %s", dir, strerror(errno));
            group_remove(group);
            return -1;
        }
        group->fd[i] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        group->n = i + 1;
        if (group->fd[i] < 0) {
            because(why, "cgroup %s: %s", dir, strerror(errno));
            group_remove(group);
            return -1;
        }
    }
    if (group->n > 0 && set_limits(cgroups, group, limits) < 0) {
        because(why, "limits of cgroup %s: %s", group->dir[0], strerror(errno));
        group_remove(group);
        return -1;
    }
    return 0;
}

void group_read(const struct group *group, struct figures *figures)
{
    if (group->n == 0)
        return;
    /* v1 keeps the count in memory.oom_control, v2 in memory.events; the other file is missing. */
    const int memory = group->fd[0];
    figures->oom_kills = event_count(memory, "memory.events", "oom_kill") +
                         event_count(memory, "memory.oom_control", "oom_kill");
    figures->refused_forks = event_count(group->fd[group->n - 1], "pids.events", "max");
}

void group_remove(struct group *group)
{
    for (unsigned i = 0; i < group->n; i++) {
        if (group->fd[i] >= 0)
            close(group->fd[i]);
        directory_remove(group->dir[i]);
    }
    group->n = 0;
}
