/* Cgroups for tests. See support_cgroup.h. */
#include "support_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* True if the comma-separated list has this word. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length) {
        bool begins = at == list || at[-1] == ',';
        bool ends = strchr(",\n ", at[length]) != NULL;
        if (begins && ends) {
            return true;
        }
    }
    return false;
}

/* Where a hierarchy is mounted: /proc/self/mountinfo, fields 4 (root) and 5 (mount point), then after " - " the type, the
 * source and the options, which name v1's controllers. */
static bool find_hierarchy(const char *controller, char *mount_point, size_t size)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    assert_non_null(file);
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        char point[2048], type[64], options[1024];
        const char *rest = strstr(line, " - ");
        if (rest == NULL || sscanf(line, "%*s %*s %*s %*s %2047s", point) != 1 ||
            sscanf(rest, " - %63s %*s %1023s", type, options) != 2) {
            continue;
        }
        found = controller == NULL ? strcmp(type, "cgroup2") == 0 : strcmp(type, "cgroup") == 0 && has_word(options, controller);
        if (found) {
            snprintf(mount_point, size, "%s", point);
        }
    }
    fclose(file);
    return found;
}

/* The groups that are there, for a test that fails before it removes them. */
static char made[16][sizeof ((struct test_cgroup *)NULL)->path];

static void note(const char *path, const char *as)
{
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        if (strcmp(made[i], path) == 0) {
            snprintf(made[i], sizeof made[i], "%s", as);
            return;
        }
    }
    fail_msg("too many groups at once");
}

int cgroups_after(void **state)
{
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        if (made[i][0] != '\0' && rmdir(made[i]) == 0) {
            made[i][0] = '\0';
        }
    }
    return host_after(state);
}

bool make_cgroup(const char *controller, struct test_cgroup *group)
{
    static unsigned count;
    char mount_point[2048];
    group->fd = -1;
    if (!find_hierarchy(controller, mount_point, sizeof mount_point)) {
        return false;
    }
    snprintf(group->name, sizeof group->name, "/sbx-test-%d-%u", (int)getpid(), count++);
    snprintf(group->path, sizeof group->path, "%s%s", mount_point, group->name);
    if (mkdir(group->path, 0755) != 0) {
        return false;
    }
    note("", group->path);
    group->fd = open(group->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(group->fd >= 0);
    return true;
}

void need_cgroup(const char *controller, struct test_cgroup *group)
{
    if (!make_cgroup(controller, group)) {
        skip_because("no group can be made in this cgroup hierarchy");
    }
}

void remove_cgroup(struct test_cgroup *group)
{
    close(group->fd);
    /* A process that has been waited for may still be leaving. */
    for (int tries = 0; rmdir(group->path) != 0; tries++) {
        if (errno != EBUSY || tries == 500) {
            fail_msg("%s: %s", group->path, strerror(errno));
        }
        sleep_ms(10);
    }
    note(group->path, "");
}

int write_cgroup(const struct test_cgroup *group, const char *file, const char *value)
{
    int fd = openat(group->fd, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    ssize_t n = write(fd, value, strlen(value));
    int number = n < 0 ? errno : 0;
    close(fd);
    return number;
}

bool is_in_cgroup(const char *lines, const char *controller, const char *path)
{
    for (const char *line = lines; line != NULL && *line != '\0';) {
        const char *end = strchrnul(line, ';');
        const char *controllers = memchr(line, ':', (size_t)(end - line));
        const char *place = controllers == NULL ? NULL : memchr(controllers + 1, ':', (size_t)(end - controllers - 1));
        if (place != NULL) {
            char names[512], where[2048];
            snprintf(names, sizeof names, "%.*s", (int)(place - controllers - 1), controllers + 1);
            snprintf(where, sizeof where, "%.*s", (int)(end - place - 1), place + 1);
            bool same = controller == NULL ? names[0] == '\0' : has_word(names, controller);
            if (same) {
                return strcmp(where, path) == 0;
            }
        }
        line = *end == '\0' ? end : end + 1;
    }
    return false;
}
