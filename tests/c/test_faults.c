/* Every step of a start fails in turn. For each system call that the processes of a start make before the program
 * runs, and for each that the host makes meanwhile, one start in which exactly that call fails: the error names the
 * step that the description names, with its index and errno; no process, zombie, descriptor or mount is left; and the
 * next start works. In all three shapes, for runners that together use every feature. */
#include "support_plan.h"

#include "support_proc.h"
#include "support_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAULT EUCLEAN /* no step gives or expects it by itself */
#define MAX_LOCATION 256
#define NEXT_START 10 /* after so many faults a whole start; each faulty one proves it up to the next step anyway */
#define SETUP_TIMEOUT_NS (5 * UINT64_C(1000000000))

static struct plan plan;
static struct record records[MAX_RECORDS];
static bool covered[MAX_LOCATION];

/* What was failed before, in any recipe: recipes share most of their steps, and each is failed once in each shape. */
#define MAX_FAILED 4096
static char failed[MAX_FAILED][200];
static size_t n_failed;
static unsigned n_faults;

/* Locations that no failing system call leads to, and which test shows them. */
static const struct { const char *name, *why; } elsewhere[] = {
    {"none", "not an error"},
    {"argument", "found before anything is started: test_setters, test_contradictions"},
    {"memory", "the host's allocations: test_oom_malloc"},
    {"died_in_setup", "the child is killed: test_sync"},
    {"setup_timeout", "the child hangs: test_setup_timeout"},
    {"sync_func", "the caller's own error: test_sync"},
    {"wait", "of sbx_process_wait: test_wait, test_other_reapers"},
    {"kill", "of sbx_process_kill: test_wait"},
    {"maps", "a wait on a futex word; the host's failure is uid_map, gid_map, setgroups_file or time_offsets"},
};

static const char *explained(const char *name)
{
    for (size_t n = 0; n < sizeof elsewhere / sizeof elsewhere[0]; n++) {
        if (strcmp(elsewhere[n].name, name) == 0) {
            return elsewhere[n].why;
        }
    }
    return NULL;
}

/* What a fault at this call has to lead to. */
enum outcome_kind { IGNORED, FAILS_HERE, FAILS_SOMEHOW, SKIPS_AN_ENTRY, HOST_FAULT, DIES, NOT_INJECTED };

/* Of the embedded program's own calls gettid cannot fail, a close closes whatever it says, and a host that dies is
 * noticed in another way too when the parent-death signal cannot be taken back. */
static enum outcome_kind expected_of_own_call(const struct plan_line *line)
{
    if (strcmp(line->name, "gettid") == 0 || strcmp(line->name, "close") == 0) {
        return NOT_INJECTED;
    }
    return strcmp(line->name, "prctl") == 0 ? IGNORED : FAILS_HERE;
}

static enum outcome_kind expected_of(const struct record *record)
{
    const struct plan_line *line = record->line;
    if (line == NULL) {
        return NOT_INJECTED; /* the program's own, or an init's while the program runs */
    }
    if (record->round > 0 && record->round < line->repeat - 1) {
        return NOT_INJECTED; /* of a repeated call the first and the last will do */
    }
    switch (line->kind) {
    case OWN_CALL:
        return expected_of_own_call(line);
    case ASKS:
    case TELLS:
        return strcmp(record->name, "futex") == 0 ? NOT_INJECTED : FAILS_SOMEHOW;
    default:
        return line->caught == -1 ? SKIPS_AN_ENTRY : FAILS_HERE;
    }
}

/* The calls of the host that can fail in real life. Waits, closes and questions about itself cannot. */
static bool host_call_can_fail(const struct record *record)
{
    static const char *const calls[] = {"clone", "clone3", "memfd_create", "write", "pwrite64", "ftruncate", "socketpair", "mmap",
                                        "openat", "pidfd_open", "pidfd_getfd", "sendmsg", "ptrace", "fcntl", "mprotect"};
    for (size_t n = 0; n < sizeof calls / sizeof calls[0]; n++) {
        if (strcmp(record->name, calls[n]) == 0) {
            return record->in_start;
        }
    }
    return false;
}

/* A new file for the embedded program, a memfd without the newest flag, cgroup.procs in place of tasks, and cgroups that
 * are written to where clone3 is missing. */
static bool host_has_another_way(const struct record *record)
{
    return strcmp(record->name, "fcntl") == 0 || strcmp(record->name, "memfd_create") == 0 ||
           strcmp(record->name, "clone3") == 0 || strcmp(record->text[1], "tasks") == 0;
}

static void describe_fault(const struct recipe *recipe, const struct record *record, const struct trial *trial)
{
    const struct plan_line *line = record->line;
    print_error("\"%s\", %s: process %d, %s number %d, (%s)", recipe->name, plan.shape, record->process, record->name,
                record->occurrence, line == NULL ? record->text[1] : line->args[0]);
    if (line != NULL) {
        print_error(" at %s step %d, %s[%d]", line->list, line->step, line->location, line->index);
    }
    const struct sbx_error *error = &trial->error;
    print_error(" fails with errno %d:\n  start %d, wait %d, error %d at %s[%d]: %s\n", trial->fault.error, trial->started,
                trial->waited, error->err, sbx_location_name(error->location), error->index, error->message);
}

static bool failed_with(const struct trial *trial, int number)
{
    int result = trial->started != 0 ? trial->started : trial->waited; /* after a stop, wait tells */
    return result == -number && trial->error.err == number;
}

static bool is_as_expected(const struct trial *trial, const struct record *record, enum outcome_kind kind)
{
    const struct plan_line *line = record->line;
    bool succeeded = trial->started == 0 && trial->waited == 0 && trial->status.code == CLD_EXITED &&
                     trial->status.status == 0;
    switch (kind) {
    case IGNORED:
        return succeeded;
    case SKIPS_AN_ENTRY:
        return succeeded && (trial->unenforced & SBX_UNENFORCED_MOUNT) != 0;
    case FAILS_HERE:
        return failed_with(trial, trial->fault.error) && trial->error.index == line->index &&
               strcmp(sbx_location_name(trial->error.location), line->location) == 0;
    case HOST_FAULT:
        return (succeeded && host_has_another_way(record)) ||
               (trial->started < 0 && trial->error.location != 0 && trial->error.err == -trial->started);
    case DIES:
        /* Noticed at once, and never taken for the program's own end: only a program that had its exec, or its stop, may
         * be reported as killed. */
        return strcmp(sbx_location_name(trial->error.location), "setup_timeout") != 0 &&
               (succeeded || trial->started < 0 || trial->waited < 0 ||
                (trial->status.code == CLD_KILLED && trial->status.status == SIGKILL));
    default:
        return !succeeded && trial->error.err != 0 && trial->error.location != 0 && trial->error.message[0] != '\0';
    }
}

/* The library keeps the embedded program's file open, and makes it anew when a host has closed it: so do we, lest only
 * the very first start shows how it is made. */
static void forget_init_program(void)
{
    char path[64], target[64];
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        if (strncmp(target, "/memfd:sbx-init", 15) == 0) {
            close(fd);
        }
    }
}

static void check_nothing_left(const struct recipe *recipe, const struct record *record, const struct trial *trial,
                               int fds_before)
{
    bool no_child = no_child_left();
    forget_init_program();
    int fds = count_fds();
    if (no_child && fds == fds_before) {
        return;
    }
    describe_fault(recipe, record, trial);
    fail_msg("%s", no_child ? "a descriptor is left" : "a process or zombie is left");
}

static void check_next_start(const struct recipe *recipe, const struct record *record, struct prepared *prepared)
{
    struct trial next = {.prepared = prepared, .error = SBX_ERROR_INIT, .status = {.size = sizeof next.status}};
    sbx_process *process = NULL;
    next.started = sbx_start(prepared->runner, &prepared->launch, &process, &next.error);
    if (next.started == 0) {
        let_program_go(prepared, process);
        next.waited = sbx_process_wait(process, READ_TIMEOUT_NS, &next.status, &next.error);
        sbx_process_free(process);
    }
    if (next.started != 0 || next.waited != 0 || next.status.code != CLD_EXITED || next.status.status != 0) {
        describe_fault(recipe, record, &next);
        fail_msg("the next start, without a fault, does not work");
    }
}

static void try_fault(const struct recipe *recipe, struct prepared *prepared, const struct record *record, int number,
                      enum outcome_kind kind)
{
    forget_init_program();
    struct trial trial = {.prepared = prepared, .fault = {record->process, record->nr, record->occurrence, number}};
    int fds_before = count_fds();
    try_start(&trial, NULL, NULL);
    n_faults++;
    if (!trial.hit && (kind == HOST_FAULT || kind == DIES) && trial.started == 0) {
        return; /* hosts and inits wait in loops: this time it went round less often */
    }
    if (!trial.hit || !is_as_expected(&trial, record, kind)) {
        describe_fault(recipe, record, &trial);
        fail_msg("%s", trial.hit ? "that is not what such a fault has to lead to" : "the call did not happen this time");
    }
    check_nothing_left(recipe, record, &trial, fds_before);
    if (n_faults % NEXT_START == 0) {
        check_next_start(recipe, record, prepared);
    }
    if (trial.error.err != 0 && trial.error.location < MAX_LOCATION) {
        covered[trial.error.location] = true;
    }
}

/* True the first time for these words. */
static bool is_new(const char *words)
{
    for (size_t n = 0; n < n_failed; n++) {
        if (strcmp(failed[n], words) == 0) {
            return false;
        }
    }
    assert_true(n_failed < MAX_FAILED);
    snprintf(failed[n_failed++], sizeof failed[0], "%s", words);
    return true;
}

/* A step is told from others by its shape and its words; a call of the host by its name, its turn and its file. */
static bool was_failed(const struct record *record)
{
    const struct plan_line *line = record->line;
    char words[sizeof failed[0]];
    if (line == NULL) {
        const char *file = strrchr(record->text[1], '/');
        snprintf(words, sizeof words, "%s host %s %d %.60s", plan.shape, record->name, record->occurrence,
                 file != NULL ? file : record->text[1]);
    } else {
        snprintf(words, sizeof words, "%s %s %s %d %s %.40s %.40s %.40s %d", plan.shape, line->list, line->location, line->index,
                 record->name, line->args[0], line->args[1], line->args[2], record->round);
    }
    return !is_new(words);
}

static size_t record_start(const struct recipe *recipe, struct prepared *prepared)
{
    struct trial trial = {.prepared = prepared};
    size_t n = 0;
    forget_init_program();
    memset(records, 0, sizeof records);
    parse_plan(prepared, &plan);
    try_start(&trial, records, &n);
    assert_ok(trial.started, &trial.error);
    assert_ok(trial.waited, &trial.error);
    if (!match_plan(&plan, records, n)) {
        fail_msg("\"%s\", %s: the description is wrong (see test_order)", recipe->name, plan.shape);
    }
    return n;
}

/* `host`: the host's calls, else its children's. */
static void fail_each_call(bool host)
{
    need_watch();
    for (size_t i = 0; i < n_recipes * 3; i++) {
        const struct recipe *recipe = &recipes[i / 3];
        struct prepared prepared;
        if (!prepare(recipe, all_shapes[i % 3], &prepared)) {
            continue;
        }
        prepared.launch.setup_timeout_ns = SETUP_TIMEOUT_NS;
        size_t n_records = record_start(recipe, &prepared);
        if (strcmp(plan.shape, sbx_shape_name(all_shapes[i % 3])) != 0) {
            drop(&prepared); /* the recipe needs more than was asked for, and that shape has its turn */
            continue;
        }
        for (size_t n = 0; n < n_records; n++) {
            const struct record *record = &records[n];
            if (record->process == 0) {
                if (host && host_call_can_fail(record) && !was_failed(record)) {
                    try_fault(recipe, &prepared, record, FAULT, HOST_FAULT);
                }
                continue;
            }
            enum outcome_kind kind = expected_of(record);
            if (host || kind == NOT_INJECTED || was_failed(record)) {
                continue;
            }
            try_fault(recipe, &prepared, record, FAULT, kind);
            if (record->line->retried != 0) {
                try_fault(recipe, &prepared, record, record->line->retried, IGNORED); /* once: then it is tried again */
            }
        }
        check_next_start(recipe, &records[0], &prepared);
        drop(&prepared);
    }
}

static void every_step_of_the_children_fails_in_turn(void **state)
{
    (void)state;
    fail_each_call(false);
}

static void every_call_of_the_host_fails_in_turn(void **state)
{
    (void)state;
    fail_each_call(true);
}

/* Somebody else, the OOM killer for one, kills a process of the start at any of its calls. */
static void a_child_killed_at_any_call_is_noticed(void **state)
{
    (void)state;
    need_watch();
    static const char *const chosen[] = {"plain", "container", "synced", "traced", "stopped"};
    for (size_t i = 0; i < n_recipes * 3; i++) {
        const struct recipe *recipe = &recipes[i / 3];
        bool wanted = false;
        for (size_t n = 0; n < sizeof chosen / sizeof chosen[0]; n++) {
            wanted = wanted || strcmp(recipe->name, chosen[n]) == 0;
        }
        struct prepared prepared;
        if (!wanted || !prepare(recipe, all_shapes[i % 3], &prepared)) {
            continue;
        }
        prepared.launch.setup_timeout_ns = SETUP_TIMEOUT_NS;
        size_t n_records = record_start(recipe, &prepared);
        for (size_t n = 0; n < n_records; n++) {
            const struct record *record = &records[n];
            bool repeated = record->line != NULL && record->round > 0;
            /* In a container each death costs a mount namespace: every fourth call will do there. */
            bool left_out = strcmp(recipe->name, "container") == 0 && n % 4 != 0;
            if (record->process == 0 || !record->in_start || repeated || left_out || strcmp(record->name, "futex") == 0) {
                continue;
            }
            try_fault(recipe, &prepared, record, KILL_CALLER, DIES);
        }
        check_next_start(recipe, &records[0], &prepared);
        drop(&prepared);
    }
}

static void every_location_was_seen(void **state)
{
    (void)state;
    need_watch();
    if (!is_root()) {
        skip_because("some steps need root: without it not every location can be reached");
    }
    unsigned missing = 0;
    for (uint32_t location = 0; location < MAX_LOCATION; location++) {
        const char *name = sbx_location_name(location);
        if (strcmp(name, "unknown") != 0 && !covered[location] && explained(name) == NULL) {
            print_error("no fault led to the location %s (%u)\n", name, location);
            missing++;
        }
    }
    print_message("%u faults\n", n_faults);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(every_step_of_the_children_fails_in_turn),
        host_test(every_call_of_the_host_fails_in_turn),
        host_test(a_child_killed_at_any_call_is_noticed),
        host_test(every_location_was_seen),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
