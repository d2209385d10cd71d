/* Namespaces: each one asked for is new and no other is; existing ones are joined by fd; the program is process 1 of its
 * pid namespace only when asked. */
#include "support_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kind {
    uint64_t flag;
    const char *name; /* in /proc/PID/ns */
};

static const struct kind kinds[] = {
    {SBX_NS_MNT, "mnt"}, {SBX_NS_PID, "pid"},       {SBX_NS_NET, "net"},   {SBX_NS_IPC, "ipc"},
    {SBX_NS_UTS, "uts"}, {SBX_NS_CGROUP, "cgroup"}, {SBX_NS_USER, "user"}, {SBX_NS_TIME, "time"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static const uint64_t every_kind = SBX_NS_MNT | SBX_NS_PID | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS | SBX_NS_CGROUP |
                                   SBX_NS_USER | SBX_NS_TIME;

/* The name of a namespace, such as mnt:[4026531832]. */
static const char *namespace_of(int pid, const char *kind)
{
    char name[64];
    ssize_t length = readlink(text("/proc/%d/ns/%s", pid, kind), name, sizeof name);
    assert_true(length > 0);
    return text("%.*s", (int)length, name);
}

static const struct outcome *ask_all_kinds(const sbx_runner *runner)
{
    return ask(runner, NULL, inside("self"), "ns mnt", "ns pid", "ns net", "ns ipc", "ns uts", "ns cgroup", "ns user",
               "ns time", NULL);
}

/* Compares what a program sees with the host: new for the bits in `flags`, the host's for the rest. */
static void check_kinds(const struct outcome *outcome, uint64_t flags)
{
    for (size_t i = 0; i < KINDS; i++) {
        const char *host = text("ok %s", namespace_of(getpid(), kinds[i].name));
        bool is_new = strcmp(answer(outcome, i), host) != 0;
        if (is_new != ((flags & kinds[i].flag) != 0)) {
            fail_msg("%s, shape %s: inside %s, the host has %s", kinds[i].name, sbx_shape_name(outcome->shape),
                     answer(outcome, i), host);
        }
    }
}

/* The namespaces that set_namespaces adds by itself. */
static uint64_t implied(void)
{
    return is_root() ? 0 : SBX_NS_USER;
}

static void each_namespace_is_new_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        sbx_runner *runner = sandbox(kinds[i].flag);
        check_kinds(ask_all_kinds(runner), kinds[i].flag | implied());
        sbx_runner_free(runner);
    }
}

static void all_together_in_each_shape(void **state)
{
    (void)state;
    static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = sandbox(every_kind);
        if (shapes[i] != SBX_SHAPE_INIT) {
            assert_int_equal(sbx_set_init(runner, false, NULL), 0);
        }
        set_shape(runner, shapes[i]);
        const struct outcome *outcome = ask_all_kinds(runner);
        assert_int_equal(outcome->shape, shapes[i]);
        check_kinds(outcome, every_kind);
        sbx_runner_free(runner);
    }
}

static void none_is_new_unless_asked(void **state)
{
    (void)state;
    sbx_runner *runner = sbx_runner_new();
    check_kinds(ask_all_kinds(runner), 0);
    sbx_runner_free(runner);
}

/* A sandbox that stays, with namespaces to join. */
struct holder {
    sbx_runner *runner;
    sbx_process *process;
    int output;
    int fds[KINDS];
};

static struct holder start_holder(uint64_t flags)
{
    struct holder holder = {.runner = rooted_sandbox(flags)};
    assert_int_equal(sbx_set_hostname(holder.runner, "holder", NULL), 0);
    holder.process = start_asking(holder.runner, NULL, &holder.output, "/inside/tree", "pid", "sleep 1000", NULL);
    next_line(holder.output);
    for (size_t i = 0; i < KINDS; i++) {
        const char *path = text("/proc/%d/ns/%s", sbx_process_pid(holder.process), kinds[i].name);
        holder.fds[i] = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(holder.fds[i] >= 0);
    }
    return holder;
}

static void end_holder(struct holder *holder)
{
    for (size_t i = 0; i < KINDS; i++) {
        close(holder->fds[i]);
    }
    close(holder->output);
    sbx_process_free(holder->process);
    sbx_runner_free(holder->runner);
}

/* Joins what is in `flags` and sees, by the same path inside, the holder's namespaces there and the host's elsewhere. */
static void join_and_compare(const struct holder *holder, uint64_t flags)
{
    sbx_runner *runner = sbx_runner_new();
    struct sbx_error error = SBX_ERROR_INIT;
    for (size_t i = 0; i < KINDS; i++) {
        if (flags & kinds[i].flag) {
            assert_ok(sbx_join_namespace(runner, holder->fds[i], kinds[i].flag, &error), &error);
        }
    }
    const struct outcome *outcome = ask_all_kinds(runner);
    int pid = sbx_process_pid(holder->process);
    for (size_t i = 0; i < KINDS; i++) {
        int whose = flags & kinds[i].flag ? pid : getpid();
        assert_string_equal(answer(outcome, i), text("ok %s", namespace_of(whose, kinds[i].name)));
    }
    if (flags & (SBX_NS_USER | SBX_NS_PID)) {
        /* A process that shares the host's memory must not be where others can reach it. */
        assert_int_not_equal(outcome->shape, SBX_SHAPE_DIRECT);
    }
    sbx_runner_free(runner);
}

static void existing_ones_are_joined(void **state)
{
    (void)state;
    need_root();
    struct holder holder = start_holder(SBX_NS_PID | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS | SBX_NS_CGROUP | SBX_NS_TIME);
    for (size_t i = 0; i < KINDS; i++) {
        if (kinds[i].flag != SBX_NS_MNT && kinds[i].flag != SBX_NS_USER) {
            join_and_compare(&holder, kinds[i].flag);
        }
    }
    join_and_compare(&holder, SBX_NS_PID | SBX_NS_NET | SBX_NS_IPC | SBX_NS_UTS | SBX_NS_CGROUP | SBX_NS_TIME);
    end_holder(&holder);
}

/* The user namespace is entered first: only in it are the others allowed. */
static void a_user_namespace_is_joined_with_the_rest(void **state)
{
    (void)state;
    need_userns();
    struct holder holder = start_holder(every_kind);
    join_and_compare(&holder, SBX_NS_USER);
    join_and_compare(&holder, SBX_NS_UTS | SBX_NS_USER | SBX_NS_PID | SBX_NS_NET | SBX_NS_IPC | SBX_NS_TIME);
    end_holder(&holder);
}

/* With the mount namespace comes its root: the program is looked up there, and the names are the holder's. */
static void a_joined_mount_namespace_brings_its_root(void **state)
{
    (void)state;
    need_userns();
    struct holder holder = start_holder(every_kind);
    sbx_runner *runner = sbx_runner_new();
    for (size_t i = 0; i < KINDS; i++) {
        assert_int_equal(sbx_join_namespace(runner, holder.fds[i], kinds[i].flag, NULL), 0);
    }
    expect(runner, NULL, "/inside/files", "list /", "ok inside", "cwd", "ok /", NULL);
    expect(runner, NULL, "/inside/self", "hostname", "ok holder", NULL);
    sbx_runner_free(runner);
    end_holder(&holder);
}

static void a_descriptor_of_the_wrong_kind_is_named(void **state)
{
    (void)state;
    int uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct {
        int fd;
        uint64_t type;
    } wrong[] = {{uts, SBX_NS_NET}, {null, SBX_NS_UTS}};
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = runner_for("exit0", NULL);
        /* Refused when it is set, or by the kernel at the start. */
        struct sbx_error error = SBX_ERROR_INIT;
        int result = sbx_join_namespace(runner, wrong[i].fd, wrong[i].type, &error);
        if (result != 0) {
            assert_error(result, EINVAL, &error);
        } else {
            assert_int_equal(expect_refusal(runner, NULL, "join_namespace", EINVAL)->index, 0);
        }
        sbx_runner_free(runner);
    }
    close(uts);
    close(null);
}

static void the_program_is_pid_1_only_when_asked(void **state)
{
    (void)state;
    sbx_runner *runner = sandbox(SBX_NS_PID);
    const struct outcome *outcome = ask(runner, NULL, inside("self"), "pid", "parent", NULL);
    assert_int_equal(outcome->shape, SBX_SHAPE_INIT);
    assert_true(outcome->dies_with_host);
    assert_string_not_equal(answer(outcome, 0), "ok 1");
    assert_string_equal(answer(outcome, 1), "ok 1");

    assert_int_equal(sbx_set_init(runner, false, NULL), 0);
    outcome = ask(runner, NULL, inside("self"), "pid", "parent", NULL);
    assert_int_not_equal(outcome->shape, SBX_SHAPE_INIT);
    assert_false(outcome->dies_with_host);
    assert_string_equal(answer(outcome, 0), "ok 1");
    assert_string_equal(answer(outcome, 1), "ok 0");
    sbx_runner_free(runner);
}

/* sbx_process_pid is the program's number for the host, in every shape. */
static void the_pid_is_the_hosts_view_of_the_program(void **state)
{
    (void)state;
    for (int init = 0; init < 2; init++) {
        for (int own = 0; own < 2; own++) {
            sbx_runner *runner = own ? sandbox(SBX_NS_PID) : sbx_runner_new();
            assert_int_equal(sbx_set_init(runner, init, NULL), 0);
            int output;
            sbx_process *process = start_asking(runner, NULL, &output, inside("tree"), "pid", "sleep 1000", NULL);
            int pid = sbx_process_pid(process);
            int inner = atoi(next_line(output) + 3);

            char line[256], wanted[64];
            if (own) {
                snprintf(wanted, sizeof wanted, "NSpid:\t%d\t%d\n", pid, inner);
            } else {
                snprintf(wanted, sizeof wanted, "NSpid:\t%d\n", pid);
                assert_int_equal(pid, inner);
            }
            FILE *status = fopen(text("/proc/%d/status", pid), "re");
            assert_non_null(status);
            while (fgets(line, sizeof line, status) != NULL && strncmp(line, "NSpid:", 6) != 0) {
            }
            fclose(status);
            assert_string_equal(line, wanted);
            close(output);
            sbx_process_free(process);
            sbx_runner_free(runner);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(each_namespace_is_new_alone),
        host_test(all_together_in_each_shape),
        host_test(none_is_new_unless_asked),
        host_test(existing_ones_are_joined),
        host_test(a_user_namespace_is_joined_with_the_rest),
        host_test(a_joined_mount_namespace_brings_its_root),
        host_test(a_descriptor_of_the_wrong_kind_is_named),
        host_test(the_program_is_pid_1_only_when_asked),
        host_test(the_pid_is_the_hosts_view_of_the_program),
    };
    return cmocka_run_group_tests_name("namespaces", tests, NULL, NULL);
}
