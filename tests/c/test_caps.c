/* Capabilities: all five sets are exactly what was asked, what cannot be emptied is reported, and neither a set-user-id
 * program nor a program with file capabilities gives any back. */
#include "support_ask.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

#define BIT(cap) (UINT64_C(1) << (cap))

static void keep(sbx_runner *runner, uint64_t mask)
{
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_set_caps(runner, mask, &error), &error);
}

/* inheritable permitted effective bounding ambient, all the same */
static const char *five(uint64_t mask)
{
    unsigned long long m = mask;
    return text("ok %llx %llx %llx %llx %llx", m, m, m, m, m);
}

static void none_are_left(void **state)
{
    (void)state;
    const char *self = reachable_inside("self");
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sandbox(0);
        set_shape(runner, shapes[i]);
        /* Control: left alone, root (of its user namespace at least) has some. */
        assert_string_not_equal(answer(ask(runner, NULL, self, "caps", NULL), 0), five(0));

        keep(runner, 0);
        const struct outcome *outcome = expect(runner, NULL, self, "caps", five(0), "sethostname x", "EPERM", "raise 13", "EPERM",
                                               /* all locked: NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, KEEP_CAPS off */
                                               "securebits", "ok ef", NULL);
        assert_int_equal(outcome->unenforced, 0);
        sbx_runner_free(runner);
    }
}

/* Another program that uid 0 executes inside gets nothing back either. */
static void a_further_exec_gives_none_back(void **state)
{
    (void)state;
    const uint64_t masks[] = {0, BIT(CAP_CHOWN) | BIT(CAP_NET_RAW)};
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = sandbox(0);
        keep(runner, masks[i]);
        expect(runner, NULL, inside("files"), text("run %s caps", inside("self")), five(masks[i]), NULL);
        sbx_runner_free(runner);
    }
}

static void exactly_the_kept_ones_are_left(void **state)
{
    (void)state;
    const uint64_t masks[] = {BIT(CAP_CHOWN), BIT(CAP_NET_RAW) | BIT(CAP_SYS_ADMIN) | BIT(CAP_BPF)};
    for (size_t i = 0; i < SHAPES; i++) {
        for (size_t k = 0; k < 2; k++) {
            sbx_runner *runner = sandbox(0);
            keep(runner, masks[k]);
            set_shape(runner, shapes[i]);
            expect(runner, NULL, inside("self"), "caps", five(masks[k]), NULL);
            sbx_runner_free(runner);
        }
    }
}

/* A change of user away from 0 would empty them: the kept ones stay. */
static void they_are_kept_across_a_change_of_user(void **state)
{
    (void)state;
    need_root();
    const uint64_t mask = BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_NICE);
    const char *self = reachable_inside("self");
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        assert_int_equal(sbx_set_credential(runner, 1234, 1234, NULL, 0, NULL), 0);
        set_shape(runner, shapes[i]);
        keep(runner, mask);
        expect(runner, NULL, self, "caps", five(mask), "ids", "ok 1234 1234 1234 1234 1234 1234", NULL);
        keep(runner, 0);
        expect(runner, NULL, self, "caps", five(0), NULL);
        sbx_runner_free(runner);
    }
}

static void in_a_user_namespace_of_another_id(void **state)
{
    (void)state;
    need_userns();
    const char *self = reachable_inside("self");
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        assert_int_equal(sbx_set_namespaces(runner, SBX_NS_USER, NULL), 0);
        assert_int_equal(sbx_add_uid_map(runner, 1000, geteuid(), 1, NULL), 0);
        assert_int_equal(sbx_add_gid_map(runner, 1000, getegid(), 1, NULL), 0);
        set_shape(runner, shapes[i]);
        keep(runner, 0);
        assert_int_equal(expect(runner, NULL, self, "caps", five(0), NULL)->unenforced, 0);
        keep(runner, BIT(CAP_NET_ADMIN));
        expect(runner, NULL, self, "caps", five(BIT(CAP_NET_ADMIN)), "ids", "ok 1000 1000 1000 1000 1000 1000", NULL);
        sbx_runner_free(runner);
    }
}

/* Without CAP_SETPCAP nobody can empty the bounding set: the result says so. */
static void unprivileged_bounding_set(void *self)
{
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        keep(runner, 0);
        set_shape(runner, shapes[i]);
        const struct outcome *outcome = expect(runner, NULL, self, "caps", "ok 0 0 0 * 0", NULL);
        assert_string_not_equal(answer(outcome, 0), five(0));
        assert_int_equal(outcome->unenforced, SBX_UNENFORCED_BOUNDING_SET | SBX_UNENFORCED_SECUREBITS);
        sbx_runner_free(runner);
    }

    /* What it does not have it cannot keep. */
    const char *argv[] = {self, NULL};
    sbx_runner *runner = sbx_runner_new();
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    keep(runner, BIT(CAP_CHOWN));
    const struct outcome *outcome = run(runner, NULL);
    assert_true(outcome->started == -EPERM || outcome->started == -EINVAL);
    sbx_runner_free(runner);
}

static void what_cannot_be_emptied_is_reported(void **state)
{
    (void)state;
    in_unprivileged_host(unprivileged_bounding_set, (void *)reachable_inside("self"));
}

/* The same for root without CAP_SETPCAP, as container runtimes start it: an exec by uid 0 would give back what the bounding
 * set has, so the start is refused unless something else prevents that. */
static void root_without_setpcap(void *self)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    data[0].permitted &= ~(UINT32_C(1) << CAP_SETPCAP);
    data[0].effective &= ~(UINT32_C(1) << CAP_SETPCAP);
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
    for (size_t i = 0; i < SHAPES; i++) {
        const char *argv[] = {self, "caps", NULL};
        sbx_runner *runner = sbx_runner_new();
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        set_shape(runner, shapes[i]);
        keep(runner, 0);
        assert_int_not_equal(run(runner, NULL)->started, 0);

        assert_int_equal(sbx_set_no_new_privs(runner, true, NULL), 0);
        const struct outcome *outcome = expect(runner, NULL, self, "caps", "ok 0 0 0 * 0", NULL);
        assert_int_equal(outcome->unenforced, SBX_UNENFORCED_BOUNDING_SET | SBX_UNENFORCED_SECUREBITS);
        sbx_runner_free(runner);
    }
}

static void uid_0_regains_nothing_by_its_exec(void **state)
{
    (void)state;
    need_root();
    in_forked_host(root_without_setpcap, (void *)reachable_inside("self"));
}

/* A copy of inside/self that belongs to root and is set-user-id, or has CAP_NET_RAW as a file capability. */
static const char *make_helper(bool setuid)
{
    const char *path = reachable_inside("self");
    if (setuid) {
        assert_int_equal(chown(path, 0, 0), 0);
        assert_int_equal(chmod(path, 04755), 0);
        return path;
    }
    struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
    data.data[0].permitted = BIT(CAP_NET_RAW);
    assert_int_equal(setxattr(path, "security.capability", &data, XATTR_CAPS_SZ_2, 0), 0);
    return path;
}

/* What uid 1234 gets by executing the helper: its answers to "ids" and "caps" (permitted set only). */
static void check_helper(sbx_runner *runner, const char *program, const char *helper, bool gains)
{
    const struct outcome *outcome =
        ask(runner, NULL, program, text("run %s ids", helper), text("run %s caps", helper), NULL);
    bool gained = strcmp(answer(outcome, 0), "ok 1234 1234 1234 1234 1234 1234") != 0 || strncmp(answer(outcome, 2), "ok 0 0 0 ", 9) != 0;
    if (gained != gains) {
        fail_msg("%s: %s, %s", helper, answer(outcome, 0), answer(outcome, 2));
    }
}

static void no_new_privs_stops_setuid_and_file_capabilities(void **state)
{
    (void)state;
    need_root();
    const char *files = reachable_inside("files");
    for (int setuid = 0; setuid < 2; setuid++) {
        const char *helper = make_helper(setuid);
        for (size_t i = 0; i < SHAPES; i++) {
            sbx_runner *runner = sbx_runner_new();
            assert_int_equal(sbx_set_credential(runner, 1234, 1234, NULL, 0, NULL), 0);
            set_shape(runner, shapes[i]);
            check_helper(runner, files, helper, true); /* control */
            assert_int_equal(sbx_set_no_new_privs(runner, true, NULL), 0);
            check_helper(runner, files, helper, false);
            sbx_runner_free(runner);
        }
    }
}

static void an_empty_bounding_set_stops_file_capabilities(void **state)
{
    (void)state;
    need_root();
    const char *files = reachable_inside("files");
    const char *helper = make_helper(false);
    sbx_runner *runner = sbx_runner_new();
    assert_int_equal(sbx_set_credential(runner, 1234, 1234, NULL, 0, NULL), 0);
    keep(runner, 0);
    /* The effective bit in the file asks for what the bounding set forbids: the exec itself is refused. */
    expect(runner, NULL, files, text("run %s caps", helper), "EPERM", NULL);
    sbx_runner_free(runner);
}

static void nosuid_mounts_stop_setuid_and_file_capabilities(void **state)
{
    (void)state;
    need_root();
    for (int setuid = 0; setuid < 2; setuid++) {
        const char *helper = make_helper(setuid);
        const uint32_t flags[] = {0, SBX_MOUNT_SUID};
        for (size_t i = 0; i < 2; i++) {
            sbx_runner *runner = rooted_sandbox(0);
            assert_int_equal(sbx_add_bind(runner, helper, "/helper", flags[i], NULL), 0);
            assert_int_equal(sbx_set_credential(runner, 1234, 1234, NULL, 0, NULL), 0);
            check_helper(runner, "/inside/files", "/helper", flags[i] == SBX_MOUNT_SUID);
            sbx_runner_free(runner);
        }
    }
}

static void no_new_privs_is_what_was_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sbx_runner_new();
        set_shape(runner, shapes[i]);
        expect(runner, NULL, inside("self"), "no_new_privs", "ok 0", NULL);
        assert_int_equal(sbx_set_no_new_privs(runner, true, NULL), 0);
        expect(runner, NULL, inside("self"), "no_new_privs", "ok 1", NULL);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    own_mounts();
    const struct CMUnitTest tests[] = {
        host_test(none_are_left),
        host_test(a_further_exec_gives_none_back),
        host_test(exactly_the_kept_ones_are_left),
        host_test(they_are_kept_across_a_change_of_user),
        host_test(in_a_user_namespace_of_another_id),
        host_test(what_cannot_be_emptied_is_reported),
        host_test(uid_0_regains_nothing_by_its_exec),
        host_test(no_new_privs_stops_setuid_and_file_capabilities),
        host_test(an_empty_bounding_set_stops_file_capabilities),
        host_test(nosuid_mounts_stop_setuid_and_file_capabilities),
        host_test(no_new_privs_is_what_was_asked),
    };
    return cmocka_run_group_tests_name("caps", tests, NULL, NULL);
}
