/* The library's own names and numbers: its version, and the names of locations, blames and shapes. A
 * location's number never changes once it is released, so the whole table is repeated here. */
#include "support.h"

#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_CREATE_RULESET_VERSION
#define LANDLOCK_CREATE_RULESET_VERSION 1U
#endif

static void version_agrees_with_the_header(void **state)
{
    (void)state;
    assert_int_equal(sbx_version(), SBX_VERSION_MAJOR << 16 | SBX_VERSION_MINOR << 8 | SBX_VERSION_PATCH);

    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", (int)SBX_VERSION_MAJOR, (int)SBX_VERSION_MINOR, (int)SBX_VERSION_PATCH);
    assert_string_equal(sbx_version_string(), text);
}

static const struct location {
    uint32_t number;
    const char *name;
} locations[] = {
    {0, "none"},
    {1, "argument"},
    {2, "memory"},
    {3, "died_in_setup"},
    {4, "setup_timeout"},
    {10, "clone"},
    {11, "host_pidfd"},
    {12, "init_program"},
    {13, "channel"},
    {14, "uid_map"},
    {15, "gid_map"},
    {16, "setgroups_file"},
    {17, "time_offsets"},
    {18, "sync_func"},
    {19, "ptrace"},
    {20, "arena"},
    {21, "cgroup_open"},
    {22, "wait"},
    {23, "kill"},
    {30, "pdeathsig"},
    {31, "host_gone"},
    {32, "sched_reset"},
    {33, "signals"},
    {34, "join_namespace"},
    {35, "unshare"},
    {36, "maps"},
    {37, "ambient_raise"},
    {38, "inherit_fds"},
    {39, "exec_init"},
    {40, "init_plan"},
    {41, "dumpable"},
    {42, "subreaper"},
    {43, "spawn"},
    {44, "oom_score_adj"},
    {45, "session_keyring"},
    {46, "setsid"},
    {47, "ctty"},
    {48, "loopback"},
    {49, "hostname"},
    {50, "domainname"},
    {51, "dev_null"},
    {52, "umask"},
    {53, "mount_private"},
    {54, "root"},
    {55, "mount_source"},
    {56, "mount_target"},
    {57, "mount"},
    {58, "mount_attr"},
    {59, "symlink"},
    {60, "file"},
    {61, "mask"},
    {62, "root_seal"},
    {63, "pivot_root"},
    {64, "chroot"},
    {65, "chdir"},
    {66, "close_range"},
    {67, "fd_map"},
    {68, "workdir"},
    {69, "cpu_affinity"},
    {70, "nice"},
    {71, "scheduler"},
    {72, "personality"},
    {73, "cap_bounding"},
    {74, "keep_caps"},
    {75, "setgroups"},
    {76, "setgid"},
    {77, "setuid"},
    {78, "cap_raise"},
    {79, "no_new_privs"},
    {80, "landlock_ruleset"},
    {81, "landlock_rule"},
    {82, "landlock_restrict"},
    {83, "cgroup"},
    {84, "sync"},
    {85, "unshare_cgroup"},
    {86, "rlimit"},
    {87, "cap_ambient"},
    {88, "securebits"},
    {89, "capset"},
    {90, "stop"},
    {91, "sigmask"},
    {92, "seccomp"},
    {93, "exec"},
    {94, "fs_ids"},
    {95, "process_group"},
};

static const char *expected_location(uint32_t number_wanted)
{
    for (size_t i = 0; i < sizeof locations / sizeof locations[0]; i++) {
        if (locations[i].number == number_wanted) {
            return locations[i].name;
        }
    }
    return "unknown";
}

static void every_location_has_its_name(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_string_equal(sbx_location_name(i), expected_location(i));
    }
    assert_string_equal(sbx_location_name(UINT32_MAX), "unknown");
    assert_string_equal(sbx_location_name((uint32_t)INT32_MAX + 1), "unknown");
}

static void names_of_blames(void **state)
{
    (void)state;
    assert_string_equal(sbx_blame_name(SBX_BLAME_NONE), "none");
    assert_string_equal(sbx_blame_name(SBX_BLAME_CALLER), "caller");
    assert_string_equal(sbx_blame_name(SBX_BLAME_HOST), "host");
    assert_string_equal(sbx_blame_name(SBX_BLAME_PROGRAM), "program");
    assert_string_equal(sbx_blame_name(SBX_BLAME_TRANSIENT), "transient");
    assert_string_equal(sbx_blame_name(SBX_BLAME_TRANSIENT + 1), "unknown");
    assert_string_equal(sbx_blame_name(UINT32_MAX), "unknown");
}

static void names_of_shapes(void **state)
{
    (void)state;
    assert_string_equal(sbx_shape_name(SBX_SHAPE_DIRECT), "direct");
    assert_string_equal(sbx_shape_name(SBX_SHAPE_STAGED), "staged");
    assert_string_equal(sbx_shape_name(SBX_SHAPE_INIT), "init");
    assert_string_equal(sbx_shape_name(SBX_SHAPE_INIT + 1), "unknown");
    assert_string_equal(sbx_shape_name(UINT32_MAX), "unknown");
}

static void namespace_bits_are_the_kernels(void **state)
{
    (void)state;
    assert_int_equal(SBX_NS_TIME, 0x00000080);
    assert_int_equal(SBX_NS_MNT, 0x00020000);
    assert_int_equal(SBX_NS_CGROUP, 0x02000000);
    assert_int_equal(SBX_NS_UTS, 0x04000000);
    assert_int_equal(SBX_NS_IPC, 0x08000000);
    assert_int_equal(SBX_NS_USER, 0x10000000);
    assert_int_equal(SBX_NS_PID, 0x20000000);
    assert_int_equal(SBX_NS_NET, 0x40000000);
}

static void landlock_abi_is_the_kernels(void **state)
{
    (void)state;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    assert_int_equal(sbx_landlock_abi(), abi < 0 ? 0 : abi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(version_agrees_with_the_header),
        host_test(every_location_has_its_name),
        host_test(names_of_blames),
        host_test(names_of_shapes),
        host_test(namespace_bits_are_the_kernels),
        host_test(landlock_abi_is_the_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
