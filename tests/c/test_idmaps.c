/* Identity: the maps of a user namespace, setgroups(2) in it, and who the program is; what the kernel refuses is named. */
#include "support_ask.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* A runner with a user namespace without maps. */
static sbx_runner *user_namespace(void)
{
    sbx_runner *runner = sbx_runner_new();
    assert_non_null(runner);
    assert_int_equal(sbx_set_namespaces(runner, SBX_NS_USER, NULL), 0);
    return runner;
}

static void map_uid(sbx_runner *runner, uint32_t inner, uint32_t outer, uint32_t count)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_uid_map(runner, inner, outer, count, &error), &error);
}

static void map_gid(sbx_runner *runner, uint32_t inner, uint32_t outer, uint32_t count)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_gid_map(runner, inner, outer, count, &error), &error);
}

static void become(sbx_runner *runner, uint32_t uid, uint32_t gid, const uint32_t *groups, size_t n)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_credential(runner, uid, gid, groups, n, &error), &error);
}

/* A line of /proc/PID/status. */
static const char *status_line(int pid, const char *key)
{
    FILE *file = fopen(text("/proc/%d/status", pid), "re");
    assert_non_null(file);
    char line[512];
    const char *found = "";
    while (*found == '\0' && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            found = text("%s", line);
        }
    }
    fclose(file);
    return found;
}

static void several_ranges(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const char *files = reachable_inside("files");
    sbx_runner *runner = user_namespace();
    map_uid(runner, 0, 100000, 1000);
    map_uid(runner, 1000, 200000, 1);
    map_uid(runner, 65534, 300000, 2);
    map_gid(runner, 500, 100500, 10);
    map_gid(runner, 0, 100000, 1);
    become(runner, 0, 0, NULL, 0);
    for (size_t i = 0; i < SHAPES; i++) {
        set_shape(runner, shapes[i]);
        expect(runner, NULL, files, "read /proc/self/uid_map",
               "ok * 0 * 100000 * 1000; * 1000 * 200000 * 1; * 65534 * 300000 * 2", "read /proc/self/gid_map",
               "ok * 500 * 100500 * 10; * 0 * 100000 * 1", NULL);
    }
    sbx_runner_free(runner);
}

static void the_most_ranges_there_can_be(void **state)
{
    (void)state;
    need_root();
    need_userns();
    sbx_runner *runner = user_namespace();
    for (uint32_t i = 0; i < 340; i++) {
        map_uid(runner, i, 1000 + i, 1);
        map_gid(runner, i, 1000 + i, 1);
    }
    assert_int_equal(sbx_add_uid_map(runner, 500, 5000, 1, NULL), -EINVAL);
    become(runner, 339, 338, NULL, 0);
    expect(runner, NULL, reachable_inside("self"), "ids", "ok 339 339 339 338 338 338", NULL);
    sbx_runner_free(runner);
}

/* The file takes less than a page of text, whatever the number of lines: nobody but the kernel can say so. */
static void a_map_that_the_kernel_refuses_is_named(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const char *argv[] = {reachable_inside("exit0"), NULL};
    for (int gid = 0; gid < 2; gid++) {
        sbx_runner *runner = user_namespace();
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        map_uid(runner, 0, 100000, 1);
        map_gid(runner, 0, 100000, 1);
        become(runner, 0, 0, NULL, 0);
        for (uint32_t i = 1; i < 340; i++) {
            int (*add)(sbx_runner *, uint32_t, uint32_t, uint32_t, struct sbx_error *) = gid ? sbx_add_gid_map : sbx_add_uid_map;
            assert_int_equal(add(runner, 1000000000 + i, 2000000000 + i, 1, NULL), 0);
        }
        for (size_t i = 0; i < SHAPES; i++) {
            set_shape(runner, shapes[i]);
            expect_refusal(runner, NULL, gid ? "gid_map" : "uid_map", EINVAL);
        }
        sbx_runner_free(runner);
    }
}

static void single_map_without_privileges(void *path)
{
    static const uint32_t inner[] = {0, 1000};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < SHAPES; k++) {
            sbx_runner *runner = user_namespace();
            map_uid(runner, inner[i], geteuid(), 1);
            map_gid(runner, inner[i], getegid(), 1);
            set_shape(runner, shapes[k]);
            const uint32_t id = inner[i];
            expect(runner, NULL, path, "ids", text("ok %u %u %u %u %u %u", id, id, id, id, id, id), NULL);
            sbx_runner_free(runner);
        }
    }
}

static void an_unprivileged_host_maps_itself(void **state)
{
    (void)state;
    need_userns();
    in_unprivileged_host(single_map_without_privileges, (void *)reachable_inside("self"));
}

static void foreign_maps_without_privileges(void *path)
{
    const char *argv[] = {path, NULL};
    sbx_runner *foreign = user_namespace();
    assert_int_equal(sbx_set_args(foreign, argv, NULL), 0);
    map_uid(foreign, 0, geteuid() + 1, 1);
    map_gid(foreign, 0, getegid(), 1);
    become(foreign, 0, 0, NULL, 0);
    expect_refusal(foreign, NULL, "uid_map", EPERM);
    sbx_runner_free(foreign);

    sbx_runner *foreign_gid = user_namespace();
    assert_int_equal(sbx_set_args(foreign_gid, argv, NULL), 0);
    map_uid(foreign_gid, 0, geteuid(), 1);
    map_gid(foreign_gid, 0, getegid() + 1, 1);
    become(foreign_gid, 0, 0, NULL, 0);
    expect_refusal(foreign_gid, NULL, "gid_map", EPERM);
    sbx_runner_free(foreign_gid);

    sbx_runner *several = user_namespace();
    assert_int_equal(sbx_set_args(several, argv, NULL), 0);
    map_uid(several, 0, geteuid(), 1);
    map_uid(several, 1, 100000, 10);
    map_gid(several, 0, getegid(), 1);
    expect_refusal(several, NULL, "uid_map", EPERM);
    sbx_runner_free(several);

    /* The kernel lets an unprivileged user write a gid map only after setgroups(2) is denied. */
    sbx_runner *groups = user_namespace();
    assert_int_equal(sbx_set_args(groups, argv, NULL), 0);
    map_uid(groups, 0, geteuid(), 1);
    map_gid(groups, 0, getegid(), 1);
    assert_int_equal(sbx_set_setgroups(groups, true, NULL), 0);
    expect_refusal(groups, NULL, "gid_map", EPERM);
    assert_int_equal(sbx_set_setgroups(groups, false, NULL), 0);
    run_ok(groups, 0);
    sbx_runner_free(groups);
}

static void what_an_unprivileged_host_may_not_map_is_named(void **state)
{
    (void)state;
    need_userns();
    in_unprivileged_host(foreign_maps_without_privileges, (void *)reachable_inside("exit0"));
}

/* Not the host's user in disguise: it may do whatever files and sysctls let that user do. */
static void a_map_without_the_hosts_user_never_runs_as_it(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const char *tree = reachable_inside("tree");
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = user_namespace();
        map_uid(runner, 0, 100000, 1);
        map_gid(runner, 0, 100000, 1);
        set_shape(runner, shapes[i]);
        const char *argv[] = {tree, NULL};
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        const struct sbx_error *error = expect_refusal(runner, NULL, "argument", EINVAL);
        assert_non_null(strstr(error->message, "credential"));
        become(runner, 0, 0, NULL, 0);
        run_ok(runner, 0);
        sbx_runner_free(runner);
    }
}

static void setgroups_is_denied_or_allowed(void **state)
{
    (void)state;
    need_userns();
    sbx_runner *denied = sandbox(SBX_NS_USER);
    assert_int_equal(sbx_set_setgroups(denied, false, NULL), 0);
    expect(denied, NULL, inside("files"), "read /proc/self/setgroups", "ok deny", NULL);
    expect(denied, NULL, inside("self"), "setgroups", "EPERM", NULL);
    sbx_runner_free(denied);

    need_root();
    sbx_runner *allowed = sandbox(SBX_NS_USER);
    assert_int_equal(sbx_set_setgroups(allowed, true, NULL), 0);
    expect(allowed, NULL, inside("files"), "read /proc/self/setgroups", "ok allow", NULL);
    expect(allowed, NULL, inside("self"), "setgroups", "ok", NULL);
    sbx_runner_free(allowed);
}

static void the_program_is_who_it_should_be(void **state)
{
    (void)state;
    need_root();
    const char *self = reachable_inside("self");
    const uint32_t groups[] = {21, 22, 23};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        become(runner, 1234, 5678, groups, 3);
        set_shape(runner, shapes[i]);
        const struct outcome *outcome = expect(runner, NULL, self, "ids", "ok 1234 1234 1234 5678 5678 5678", "groups",
                                               "ok 21 22 23", "setuid 0", "EPERM", NULL);
        /* Another identity is never taken on in the host's memory. */
        assert_int_not_equal(outcome->shape, SBX_SHAPE_DIRECT);
        sbx_runner_free(runner);
    }
}

static void host_with_groups(void *self)
{
    const gid_t groups[] = {31, 32};
    assert_int_equal(setgroups(2, groups), 0);

    sbx_runner *plain = sbx_runner_new();
    expect(plain, NULL, self, "groups", "ok 31 32", NULL); /* control */
    sbx_runner_free(plain);

    sbx_runner *runner = sbx_runner_new();
    become(runner, 1234, 5678, NULL, 0);
    expect(runner, NULL, self, "groups", "ok", NULL);
    sbx_runner_free(runner);

    gid_t now[8];
    assert_int_equal(getgroups(8, now), 2);
    assert_int_equal(now[0], 31);
    assert_int_equal(getuid(), 0);
}

static void the_hosts_groups_are_not_inherited(void **state)
{
    (void)state;
    need_root();
    in_forked_host(host_with_groups, (void *)reachable_inside("self"));
}

/* Where setgroups(2) is denied they stay, and the result says so. */
static void host_that_cannot_drop_groups(void *self)
{
    const gid_t groups[] = {31, 32};
    assert_int_equal(setgroups(2, groups), 0);
    assert_int_equal(setresgid(65534, 65534, 65534), 0);
    assert_int_equal(setresuid(65534, 65534, 65534), 0);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0); /* as for a host that its user started */
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = user_namespace();
        map_uid(runner, 1000, 65534, 1);
        map_gid(runner, 1000, 65534, 1);
        become(runner, 1000, 1000, NULL, 0);
        set_shape(runner, shapes[i]);
        const struct outcome *outcome = expect(runner, NULL, self, "groups", "ok 65534 65534", "ids", "ok 1000 *", NULL);
        assert_int_equal(outcome->unenforced, SBX_UNENFORCED_GROUPS);
        sbx_runner_free(runner);
    }
}

static void groups_that_cannot_be_dropped_are_reported(void **state)
{
    (void)state;
    need_root();
    need_userns();
    in_forked_host(host_that_cannot_drop_groups, (void *)reachable_inside("self"));
}

/* Ids are those of the program's own user namespace; the host sees the mapped ones. */
static void identity_in_a_user_namespace(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const uint32_t groups[] = {7, 8};
    const char *self = reachable_inside("self");
    const char *tree = reachable_inside("tree");
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = user_namespace();
        map_uid(runner, 0, 100000, 2000);
        map_gid(runner, 0, 300000, 2000);
        become(runner, 1000, 1001, groups, 2);
        set_shape(runner, shapes[i]);
        expect(runner, NULL, self, "ids", "ok 1000 1000 1000 1001 1001 1001", "groups", "ok 7 8", NULL);

        int output;
        sbx_process *process = start_asking(runner, NULL, &output, tree, "pid", "sleep 1000", NULL);
        next_line(output);
        int pid = sbx_process_pid(process);
        assert_string_equal(status_line(pid, "Uid:"), "Uid:\t101000\t101000\t101000\t101000\n");
        assert_string_equal(status_line(pid, "Gid:"), "Gid:\t301001\t301001\t301001\t301001\n");
        assert_string_equal(status_line(pid, "Groups:"), "Groups:\t300007 300008 \n");
        close(output);
        sbx_process_free(process);
        sbx_runner_free(runner);
    }
}

static void an_id_that_is_not_mapped_is_refused(void **state)
{
    (void)state;
    need_root();
    need_userns();
    const uint32_t inner = 5, outer = 50;
    const char *argv[] = {reachable_inside("exit0"), NULL};
    const struct {
        uint32_t uid, gid, group;
    } cases[] = {{outer, inner, inner}, {inner, outer, inner}, {inner, inner, outer}};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = user_namespace();
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        map_uid(runner, 0, 100000, 10);
        map_gid(runner, 0, 100000, 10);
        become(runner, cases[i].uid, cases[i].gid, &cases[i].group, 1);
        const struct sbx_error *error = expect_refusal(runner, NULL, "argument", EINVAL);
        assert_non_null(strstr(error->message, "credential"));
        become(runner, inner, inner, &inner, 1);
        run_ok(runner, 0);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(several_ranges),
        host_test(the_most_ranges_there_can_be),
        host_test(a_map_that_the_kernel_refuses_is_named),
        host_test(an_unprivileged_host_maps_itself),
        host_test(what_an_unprivileged_host_may_not_map_is_named),
        host_test(a_map_without_the_hosts_user_never_runs_as_it),
        host_test(setgroups_is_denied_or_allowed),
        host_test(the_program_is_who_it_should_be),
        host_test(the_hosts_groups_are_not_inherited),
        host_test(groups_that_cannot_be_dropped_are_reported),
        host_test(identity_in_a_user_namespace),
        host_test(an_id_that_is_not_mapped_is_refused),
    };
    return cmocka_run_group_tests_name("idmaps", tests, NULL, NULL);
}
