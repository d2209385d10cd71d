/* Cgroups for tests: own groups of this test, below the root of a hierarchy that is mounted, removed at its end. */
#ifndef SBX_TEST_SUPPORT_CGROUP_H
#define SBX_TEST_SUPPORT_CGROUP_H

#include "support.h"

/* host_test for tests that make groups: those that a failed test left are removed. */
#define cgroup_test(function) cmocka_unit_test_setup_teardown(function, host_before, cgroups_after)
int cgroups_after(void **state);

struct test_cgroup {
    char path[4096]; /* the group's directory */
    char name[64];   /* how it ends in /proc/PID/cgroup: /sbx-test-PID-N */
    int fd;          /* of the directory */
};

/* Makes a group of the v1 hierarchy with this controller, or of v2 when it is NULL; false where that is not mounted, or may
 * not be done. */
bool make_cgroup(const char *controller, struct test_cgroup *group);
void need_cgroup(const char *controller, struct test_cgroup *group); /* skips the test otherwise */
void remove_cgroup(struct test_cgroup *group);

/* One of its files. The write's errno, or 0. */
int write_cgroup(const struct test_cgroup *group, const char *file, const char *value);

/* Whether a line of /proc/PID/cgroup, lines parted by ';' as inside/files answers, puts a process into this path. */
bool is_in_cgroup(const char *lines, const char *controller, const char *path);

#endif
