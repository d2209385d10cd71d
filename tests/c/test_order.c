/* What sbx_runner_describe lists is what happens: the system calls of every process of a start, as the kernel saw
 * them, are the described ones, with their arguments, in order, and nothing else; in all three shapes, for runners
 * that together use every feature. The waits of the handshake are marked in the description and compared as such. */
#include "support_plan.h"

#include "support_proc.h"
#include "support_watch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct plan plan;
static struct record records[MAX_RECORDS];

/* After the last described call the embedded program is an init: what it may do while the program runs. */
static bool is_life_of_an_init(const struct record *record)
{
    static const char *const calls[] = {"ppoll", "waitid", "sendmsg",  "recvmsg", "close", "close_range", "signalfd4",
                                        "read",  "pread64", "kill", "exit_group"};
    for (size_t n = 0; n < sizeof calls / sizeof calls[0]; n++) {
        if (strcmp(record->name, calls[n]) == 0) {
            return true;
        }
    }
    return false;
}

/* The host makes one child and no other; the init makes the program; and what follows the described calls is the
 * program itself or the life of an init. */
static void check_the_rest(const struct record *all, size_t n)
{
    unsigned host_clones = 0;
    bool after[3] = {false};
    bool is_init = strcmp(plan.shape, "init") == 0;
    for (size_t i = 0; i < n; i++) {
        const struct record *record = &all[i];
        assert_in_range(record->process, 0, is_init ? 2 : 1);
        if (record->process == 0) {
            /* A clone3 of nothing only asks whether there is one. */
            host_clones += strncmp(record->name, "clone", 5) == 0 && record->args[0] != 0;
            continue;
        }
        bool described = record->line != NULL;
        if (described && after[record->process]) {
            fail_msg("%s of process %d comes after calls that are not described", record->name, record->process);
        }
        after[record->process] = after[record->process] || !described;
        if (!described && is_init && record->process == 1 && !is_life_of_an_init(record)) {
            fail_msg("the init makes a system call that is not described: %s", record->name);
        }
    }
    assert_int_equal(host_clones, 1);
}

static bool check_recipe(const struct recipe *recipe, uint32_t shape)
{
    struct prepared prepared;
    if (!prepare(recipe, shape, &prepared)) {
        return true;
    }
    parse_plan(&prepared, &plan);
    struct trial trial = {.prepared = &prepared};
    size_t n = 0;
    memset(records, 0, sizeof records);
    try_start(&trial, records, &n);
    drop(&prepared);
    assert_ok(trial.started, &trial.error);
    assert_ok(trial.waited, &trial.error);
    assert_int_equal(trial.status.code, CLD_EXITED);
    assert_int_equal(trial.status.status, 0);
    assert_string_equal(plan.shape, sbx_shape_name(trial.shape));
    assert_true(n < MAX_RECORDS);
    if (!match_plan(&plan, records, n)) {
        print_error("\"%s\", %s: the kernel saw something else than is described\n\n", recipe->name, plan.shape);
        return false;
    }
    check_the_rest(records, n);
    print_message("%s, %s: %zu lines, %zu calls\n", recipe->name, plan.shape, plan.n_lines, n);
    return true;
}

static void what_is_described_is_what_happens(void **state)
{
    (void)state;
    need_watch();
    unsigned wrong = 0;
    for (size_t i = 0; i < n_recipes * 3; i++) {
        wrong += !check_recipe(&recipes[i / 3], all_shapes[i % 3]);
    }
    assert_int_equal(wrong, 0);
}

/* The control: a plan with two steps exchanged, one left out or one argument changed does not match. */
static void a_wrong_description_is_noticed(void **state)
{
    (void)state;
    need_watch();
    struct prepared prepared;
    assert_true(prepare(&recipes[1], SBX_SHAPE_DIRECT, &prepared));
    parse_plan(&prepared, &plan);
    struct trial trial = {.prepared = &prepared};
    size_t n = 0;
    try_start(&trial, records, &n);
    drop(&prepared);
    assert_true(match_plan(&plan, records, n));

    size_t umask_at = 0;
    while (umask_at < plan.n_lines && strcmp(plan.lines[umask_at].name, "umask") != 0) {
        umask_at++;
    }
    assert_true(umask_at + 1 < plan.n_lines);
    static struct plan wrong;
    wrong = plan;
    wrong.lines[umask_at] = plan.lines[umask_at + 1];
    wrong.lines[umask_at + 1] = plan.lines[umask_at];
    assert_false(match_plan(&wrong, records, n));
    wrong = plan;
    memmove(&wrong.lines[umask_at], &wrong.lines[umask_at + 1], (--wrong.n_lines - umask_at) * sizeof wrong.lines[0]);
    assert_false(match_plan(&wrong, records, n));
    wrong = plan;
    snprintf(wrong.lines[umask_at].args[0], sizeof wrong.lines[0].args[0], "28");
    assert_false(match_plan(&wrong, records, n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(what_is_described_is_what_happens),
        host_test(a_wrong_description_is_noticed),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
