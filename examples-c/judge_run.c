/* One program in its sandbox: started in a fresh cgroup, waited for, ended when its time is over,
 * and what the kernel measured meanwhile. No verdict yet: that is judge_submission.c. */
#define _GNU_SOURCE
#include "judge.h"

#include <errno.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static int start(const struct task *task, const struct group *group, sbx_process **process,
                 struct sbx_error *error)
{
    /* The sandbox's recipe is shared and const; the cgroup of this run goes into a copy. */
    sbx_runner *runner = NULL;
    int rc = sbx_runner_clone(task->sandbox, &runner, error);
    for (unsigned i = 0; rc == 0 && i < group->n; i++)
        rc = sbx_add_cgroup_fd(runner, group->fd[i], error);

    const struct sbx_fd_map fds[] = {{task->output, task->output_is}, {task->input, 0}};
    const struct sbx_launch_bind box = {
        .fd = task->box, .target = "/box", .flags = task->box_flags};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.argv = task->argv;
    launch.fds = fds;
    launch.n_fds = task->input >= 0 ? 2 : 1;
    launch.binds = &box;
    launch.n_binds = 1;
    if (rc == 0)
        rc = sbx_start(runner, &launch, process, error);
    sbx_runner_free(runner);
    return rc;
}

static int wait_for_end(sbx_process *process, const struct limits *limits, struct figures *figures,
                        struct sbx_error *error)
{
    int rc = sbx_process_wait(process, limits->wall_ns, &figures->status, error);
    if (rc != -ETIMEDOUT)
        return rc;
    figures->timed_out = true;
    rc = sbx_process_kill_tree(process, error);
    return rc < 0 ? rc : sbx_process_wait(process, SBX_INFINITE, &figures->status, error);
}

int task_run(const struct task *task, struct figures *figures, struct why *why)
{
    *figures = (struct figures){.status.size = sizeof figures->status};
    struct group group;
    if (group_make(task->cgroups, task->name, task->limits, &group, why) < 0)
        return -1;

    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    int rc = start(task, &group, &process, &error);
    if (rc == 0) {
        const uint64_t begin = now_ns();
        rc = wait_for_end(process, task->limits, figures, &error);
        figures->wall_ns = now_ns() - begin;
    }
    /* Whatever the program left running ends here; then the cgroup's counts are final. */
    sbx_process_free(process);
    group_read(&group, figures);
    group_remove(&group);
    if (rc < 0)
        return because(why, "%s: %s", task->argv[0], error.message);
    figures->cpu_ns = figures->status.user_ns + figures->status.system_ns;
    return 0;
}
