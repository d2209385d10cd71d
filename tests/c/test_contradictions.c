/* Settings that are good alone and make no sense together: sbx_runner_describe and sbx_start both refuse
 * them with -EINVAL and a message that names the setting, and nothing is started. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void accept(int result)
{
    assert_int_equal(result, 0);
}

static void no_args(sbx_runner *r)
{
    accept(sbx_set_exec_path(r, inside("exit0"), NULL));
}

static void path_and_fd(sbx_runner *r)
{
    accept(sbx_set_exec_path(r, inside("exit0"), NULL));
    accept(sbx_set_exec_fd(r, 0, NULL));
}

static void offset_without_time(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_UTS, NULL));
    accept(sbx_set_time_offset(r, CLOCK_MONOTONIC, 5, 0, NULL));
}

static void hostname_without_uts(sbx_runner *r)
{
    accept(sbx_set_hostname(r, "name", NULL));
}

static void domainname_without_uts(sbx_runner *r)
{
    accept(sbx_set_domainname(r, "name", NULL));
}

static void loopback_without_net(sbx_runner *r)
{
    accept(sbx_set_loopback(r, true, NULL));
}

static void bind_without_mnt(sbx_runner *r)
{
    accept(sbx_add_bind(r, "/", "/m", 0, NULL));
}

static void raw_mount_without_mnt(sbx_runner *r)
{
    accept(sbx_add_mount(r, "tmpfs", "/tmp", "tmpfs", 0, NULL, 0, NULL));
}

static void pivot_without_mnt(sbx_runner *r)
{
    accept(sbx_set_pivot_root(r, NULL, 0, NULL));
}

static void fresh_chroot_without_mnt(sbx_runner *r)
{
    accept(sbx_set_chroot(r, NULL, NULL));
}

/* Without a root of its own these would be made on the host. */
static void file_without_root(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_MNT, NULL));
    accept(sbx_add_file(r, "/etc/made-by-the-test", "x", 1, 0644, 0, NULL));
}

static void dir_without_root(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_MNT, NULL));
    accept(sbx_add_dir(r, "/made-by-the-test", 0755, 0, NULL));
}

static void symlink_without_root(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_MNT, NULL));
    accept(sbx_add_symlink(r, "x", "/made-by-the-test", 0, NULL));
}

static void uid_map_without_user(sbx_runner *r)
{
    accept(sbx_add_uid_map(r, 0, 0, 1, NULL));
}

static void gid_map_without_user(sbx_runner *r)
{
    accept(sbx_add_gid_map(r, 0, 0, 1, NULL));
}

static void setgroups_without_user(sbx_runner *r)
{
    accept(sbx_set_setgroups(r, false, NULL));
}

static void uid_not_mapped(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_USER, NULL));
    accept(sbx_add_uid_map(r, 0, geteuid(), 1, NULL));
    accept(sbx_add_gid_map(r, 0, getegid(), 1, NULL));
    accept(sbx_set_credential(r, 5, 0, NULL, 0, NULL));
}

static void gid_not_mapped(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_USER, NULL));
    accept(sbx_add_uid_map(r, 0, geteuid(), 1, NULL));
    accept(sbx_add_gid_map(r, 0, getegid(), 1, NULL));
    accept(sbx_set_credential(r, 0, 5, NULL, 0, NULL));
}

static void groups_without_setgroups(sbx_runner *r)
{
    const uint32_t groups[] = {0};
    accept(sbx_set_namespaces(r, SBX_NS_USER, NULL));
    accept(sbx_add_uid_map(r, 0, geteuid(), 1, NULL));
    accept(sbx_add_gid_map(r, 0, getegid(), 1, NULL));
    accept(sbx_set_setgroups(r, false, NULL));
    accept(sbx_set_credential(r, 0, 0, groups, 1, NULL));
}

static void cgroup_unshare_without_namespace(sbx_runner *r)
{
    accept(sbx_set_unshare_cgroup_after_sync(r, true, NULL));
}

static void same_namespace_new_and_joined(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_NET, NULL));
    accept(sbx_join_namespace(r, 0, SBX_NS_NET, NULL));
}

static void joined_pid_without_init(sbx_runner *r)
{
    accept(sbx_join_namespace(r, 0, SBX_NS_PID, NULL));
    accept(sbx_set_init(r, false, NULL));
}

static void stop_as_process_1(sbx_runner *r)
{
    accept(sbx_set_namespaces(r, SBX_NS_PID, NULL));
    accept(sbx_set_init(r, false, NULL));
    accept(sbx_set_stop_before_seccomp(r, true, NULL));
}

static void filter_without_right(sbx_runner *r)
{
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    accept(sbx_set_bpf(r, &allow, 1, 0, NULL));
    accept(sbx_set_caps(r, 0, NULL));
}

static void landlock_rules_without_landlock(sbx_runner *r)
{
    accept(sbx_add_landlock_path(r, "/", LANDLOCK_ACCESS_FS_EXECUTE, 0, NULL));
}

static void landlock_access_not_handled(sbx_runner *r)
{
    accept(sbx_set_no_new_privs(r, true, NULL));
    accept(sbx_set_landlock(r, LANDLOCK_ACCESS_FS_EXECUTE, 0, 0, 0, NULL));
    accept(sbx_add_landlock_path(r, "/", LANDLOCK_ACCESS_FS_READ_FILE, 0, NULL));
}

static void landlock_port_not_handled(sbx_runner *r)
{
    accept(sbx_set_no_new_privs(r, true, NULL));
    accept(sbx_set_landlock(r, LANDLOCK_ACCESS_FS_EXECUTE, 0, 0, 0, NULL));
    accept(sbx_add_landlock_port(r, 80, 1, NULL));
}

static const struct contradiction {
    const char *name;
    void (*configure)(sbx_runner *);
    const char *word;
    bool without_args;
} contradictions[] = {
    {"no args", no_args, "args", true},
    {"exec_path and exec_fd", path_and_fd, "exec_fd", false},
    {"time offset, no time namespace", offset_without_time, "time_offset", false},
    {"hostname, no uts namespace", hostname_without_uts, "hostname", false},
    {"domainname, no uts namespace", domainname_without_uts, "domainname", false},
    {"loopback, no net namespace", loopback_without_net, "loopback", false},
    {"bind, no mnt namespace", bind_without_mnt, "mount", false},
    {"raw mount, no mnt namespace", raw_mount_without_mnt, "mount", false},
    {"pivot_root, no mnt namespace", pivot_without_mnt, "pivot_root", false},
    {"fresh chroot, no mnt namespace", fresh_chroot_without_mnt, "chroot", false},
    {"file, no root", file_without_root, "root", false},
    {"dir, no root", dir_without_root, "root", false},
    {"symlink, no root", symlink_without_root, "root", false},
    {"uid map, no user namespace", uid_map_without_user, "uid_map", false},
    {"gid map, no user namespace", gid_map_without_user, "gid_map", false},
    {"setgroups, no user namespace", setgroups_without_user, "setgroups", false},
    {"uid not in the map", uid_not_mapped, "credential", false},
    {"gid not in the map", gid_not_mapped, "credential", false},
    {"groups, setgroups denied", groups_without_setgroups, "credential", false},
    {"late cgroup namespace that is not new", cgroup_unshare_without_namespace, "unshare_cgroup_after_sync", false},
    {"a namespace both new and joined", same_namespace_new_and_joined, "join_namespace", false},
    {"joined pid namespace, no init", joined_pid_without_init, "init", false},
    {"process 1 stops itself", stop_as_process_1, "stop_before_seccomp", false},
    {"filter, neither no_new_privs nor CAP_SYS_ADMIN", filter_without_right, "bpf", false},
    {"Landlock rules, no ruleset", landlock_rules_without_landlock, "landlock", false},
    {"Landlock path with an access not handled", landlock_access_not_handled, "landlock", false},
    {"Landlock port with an access not handled", landlock_port_not_handled, "landlock", false},
};

static void check_refusal(const char *name, int result, const struct sbx_error *error, const char *word)
{
    if (result == -EINVAL && error->err == EINVAL && strcmp(sbx_location_name(error->location), "argument") == 0 &&
        error->blame == SBX_BLAME_CALLER && strstr(error->message, word) != NULL) {
        return;
    }
    fail_msg("%s: %d, %s: %s", name, result, sbx_location_name(error->location), error->message);
}

static void each_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof contradictions / sizeof contradictions[0]; i++) {
        const struct contradiction *c = &contradictions[i];
        sbx_runner *runner = c->without_args ? sbx_runner_new() : runner_for("exit0", NULL);
        c->configure(runner);

        struct sbx_error error = SBX_ERROR_INIT;
        char text[16];
        check_refusal(c->name, sbx_runner_describe(runner, NULL, text, sizeof text, &error), &error, c->word);

        sbx_process *process = (sbx_process *)&error; /* must become NULL */
        check_refusal(c->name, sbx_start(runner, NULL, &process, &error), &error, c->word);
        assert_null(process);
        sbx_runner_free(runner);
    }
}

static void launch_path_and_fd(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", NULL);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_path = inside("exit0");
    launch.exec_fd = 0;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    check_refusal("launch", sbx_start(runner, &launch, &process, &error), &error, "exec_fd");
    sbx_runner_free(runner);
}

/* One of the two in the launch takes the place of either in the runner. */
static void launch_replaces_the_program(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", "3", NULL);
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_exec_path(runner, "/no such program", &error), &error);
    int fd = open(inside("exit0"), O_RDONLY | O_CLOEXEC);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_fd = fd;
    assert_ended(run(runner, &launch), CLD_EXITED, 3);

    assert_ok(sbx_set_exec_path(runner, NULL, &error), &error);
    assert_ok(sbx_set_exec_fd(runner, 0, &error), &error); /* no program */
    launch.exec_fd = -1;
    launch.exec_path = inside("exit0");
    assert_ended(run(runner, &launch), CLD_EXITED, 3);
    close(fd);
    sbx_runner_free(runner);
}

static void launch_bind_on_a_taken_target(void **state)
{
    (void)state;
    sbx_runner *runner = full_runner();
    const struct sbx_launch_bind bind = {.fd = 0, .target = "/tmp/", .flags = 0};
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.binds = &bind;
    launch.n_binds = 1;
    struct sbx_error error = SBX_ERROR_INIT;
    sbx_process *process = NULL;
    check_refusal("binds", sbx_start(runner, &launch, &process, &error), &error, "binds");
    sbx_runner_free(runner);
}

/* Without a root of its own a sandbox mounts on what is there: a missing target would have to be made on the
 * host's file system, where it would stay. */
static void nothing_is_made_on_the_host(void **state)
{
    (void)state;
    if (under_valgrind()) {
        skip_because("the library for valgrind has no init");
    }
    char target[600];
    snprintf(target, sizeof target, "%s/missing", make_scratch());
    for (int kind = 0; kind < 3; kind++) {
        sbx_runner *runner = runner_for("exit0", NULL);
        set_namespaces(runner, SBX_NS_MNT | SBX_NS_PID);
        struct sbx_error error = SBX_ERROR_INIT;
        assert_ok(kind == 0   ? sbx_add_tmpfs(runner, target, 0, 0, 0755, 0, &error)
                  : kind == 1 ? sbx_add_bind(runner, "/etc", target, 0, &error)
                              : sbx_add_proc(runner, target, 0, &error), &error);
        sbx_process *process = NULL;
        assert_error(sbx_start(runner, NULL, &process, &error), ENOENT, &error);
        assert_string_equal(sbx_location_name(error.location), "mount_target");
        assert_int_equal(error.index, 0);
        assert_int_equal(access(target, F_OK), -1);

        /* On what exists they are mounted, for the program alone. */
        assert_int_equal(mkdir(target, 0755), 0);
        run_ok(runner, 0);
        assert_int_equal(rmdir(target), 0);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(each_is_refused),
        host_test(launch_path_and_fd),
        host_test(launch_replaces_the_program),
        host_test(launch_bind_on_a_taken_target),
        host_test(nothing_is_made_on_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
