/* sbx_runner_describe: snprintf's rule for the buffer, and the steps in the order that is promised. That the
 * text is what a child really does is test_order.c. */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void length_and_ends(void **state)
{
    (void)state;
    sbx_runner *runner = full_runner();
    struct sbx_error error = SBX_ERROR_INIT;
    char *whole = describe(runner, NULL);
    const int length = (int)strlen(whole);
    assert_true(length > 100);

    char *buffer = test_malloc((size_t)length + 2);
    for (int size = 0; size <= length + 2; size += size < 70 || size > length - 70 ? 1 : 61) {
        memset(buffer, 0x55, (size_t)length + 2);
        assert_int_equal(sbx_runner_describe(runner, NULL, buffer, (size_t)size, &error), length);
        if (size > 0) {
            const size_t kept = (size_t)(size <= length ? size - 1 : length);
            assert_memory_equal(buffer, whole, kept);
            assert_int_equal(buffer[kept], '\0');
        }
        if (size < length + 2) {
            assert_int_equal(buffer[size], 0x55);
        }
    }
    test_free(buffer);
    test_free(whole);
    sbx_runner_free(runner);
}

static void same_text_each_time(void **state)
{
    (void)state;
    sbx_runner *runner = full_runner();
    char *one = describe(runner, NULL);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    char *two = describe(runner, &launch);
    assert_string_equal(one, two);
    test_free(two);
    if (!under_valgrind() && have_userns()) { /* a start does not change its runner */
        assert_ended(run(runner, NULL), CLD_EXITED, 0);
    }
    two = describe(runner, NULL);
    assert_string_equal(one, two);
    test_free(one);
    test_free(two);
    sbx_runner_free(runner);
}

static void launch_shows(void **state)
{
    (void)state;
    sbx_runner *runner = runner_for("exit0", NULL);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_path = "/some/other/program";
    char *text = describe(runner, &launch);
    assert_non_null(strstr(text, "/some/other/program"));
    test_free(text);
    sbx_runner_free(runner);
}

static void nothing_to_describe(void **state)
{
    (void)state;
    char text[16] = "untouched";
    sbx_runner *runner = sbx_runner_new();
    struct sbx_error error = SBX_ERROR_INIT;
    assert_error(sbx_runner_describe(runner, NULL, text, sizeof text, &error), EINVAL, &error);
    assert_non_null(strstr(error.message, "args"));
    assert_error(sbx_runner_describe(runner, NULL, NULL, 0, &error), EINVAL, &error);
    sbx_runner_free(runner);
}

/* Whether `word` is a word of its own in the line. */
static bool has_word(const char *line, size_t length, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= length; i++) {
        const bool begins = i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t';
        const bool ends = i + n == length || strchr(" \t[(", line[i + n]) != NULL;
        if (begins && ends && strncmp(line + i, word, n) == 0) {
            return true;
        }
    }
    return false;
}

/* Each of these steps appears, after the one before it. Best effort leaves Landlock out where there is none. */
static void check_order(const char *text, const char *const *steps)
{
    const char *line = text;
    for (; *steps != NULL; steps++) {
        if (sbx_landlock_abi() == 0 && strncmp(*steps, "landlock", 8) == 0) {
            continue;
        }
        for (;; line += strcspn(line, "\n") + 1) {
            if (*line == '\0') {
                fail_msg("%s is missing, or not in its place:\n%s", *steps, text);
            }
            if (has_word(line, strcspn(line, "\n"), *steps)) {
                break;
            }
            if (line[strcspn(line, "\n")] == '\0') {
                fail_msg("%s is missing, or not in its place:\n%s", *steps, text);
            }
        }
    }
}

static void steps_in_order(void **state)
{
    (void)state;
    const char *const order[] = {
        "pdeathsig", "host_gone", "signals", "unshare", "maps", "inherit_fds", "exec_init", "dumpable", "mount_private", "dev_null",
        "loopback", "hostname", "domainname", "root", "mount", "root_seal", "pivot_root", "spawn",
        "setsid", "close_range", "fd_map", "workdir", "umask", "cpu_affinity", "nice", "scheduler", "personality",
        "no_new_privs", "landlock_ruleset", "landlock_rule", "landlock_restrict", "sync", "rlimit", "capset", "sigmask",
        "seccomp", "exec", NULL,
    };
    sbx_runner *runner = full_runner();
    char *text = describe(runner, NULL);
    check_order(text, order);
    test_free(text);
    sbx_runner_free(runner);
}

static void shape_shows(void **state)
{
    (void)state;
    for (uint32_t shape = SBX_SHAPE_DIRECT; shape <= SBX_SHAPE_INIT; shape++) {
        sbx_runner *runner = runner_for("exit0", NULL);
        set_shape(runner, shape);
        char *text = describe(runner, NULL);
        const size_t first_line = strcspn(text, "\n");
        assert_true(has_word(text, first_line, sbx_shape_name(shape)));
        for (uint32_t other = SBX_SHAPE_DIRECT; other <= SBX_SHAPE_INIT; other++) {
            assert_true(other == shape || !has_word(text, first_line, sbx_shape_name(other)));
        }
        test_free(text);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(length_and_ends),
        host_test(same_text_each_time),
        host_test(launch_shows),
        host_test(nothing_to_describe),
        host_test(steps_in_order),
        host_test(shape_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
