/* seccomp filters: they hold for the program, several are stacked, and being the last step before the exec they break
 * nothing of the start; an exec that fails behind a filter which denies everything is reported all the same. */
#include "support_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define LOAD_ARCH BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch))
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))

/* One call gets an action, the rest is allowed. */
static void add_filter(sbx_runner *runner, uint32_t number, uint32_t action)
{
    const struct sock_filter filter[] = {LOAD_NUMBER, SKIP_UNLESS(number, 1), RETURN(action), RETURN(SECCOMP_RET_ALLOW)};
    struct sbx_error error = SBX_ERROR_INIT;
    assert_ok(sbx_add_bpf(runner, filter, 4, 0, &error), &error);
}

static sbx_runner *with_no_new_privs(uint32_t shape)
{
    sbx_runner *runner = sbx_runner_new();
    assert_non_null(runner);
    assert_int_equal(sbx_set_no_new_privs(runner, true, NULL), 0);
    set_shape(runner, shape);
    return runner;
}

static const char *call(long number)
{
    return text("syscall %ld", number);
}

static void a_denied_call_fails_with_its_errno(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = with_no_new_privs(shapes[i]);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "ok", NULL); /* control */
        add_filter(runner, SYS_getppid, SECCOMP_RET_ERRNO | EXDEV);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "EXDEV", call(SYS_getuid), "ok", NULL);
        sbx_runner_free(runner);
    }
}

static void a_forbidden_call_kills(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = with_no_new_privs(shapes[i]);
        add_filter(runner, SYS_getppid, SECCOMP_RET_KILL_PROCESS);
        const struct outcome *outcome = ask(runner, NULL, inside("self"), "no_new_privs", call(SYS_getppid), NULL);
        assert_int_not_equal(outcome->status.code, CLD_EXITED);
        assert_int_equal(outcome->status.status, SIGSYS);
        assert_string_equal(outcome->output, "ok 1\n");
        sbx_runner_free(runner);
    }
}

/* Each filter holds; where two have an errno for the same call, the kernel takes that of the one loaded last. */
static void filters_are_stacked(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = with_no_new_privs(shapes[i]);
        add_filter(runner, SYS_getppid, SECCOMP_RET_ERRNO | EXDEV);
        add_filter(runner, SYS_getuid, SECCOMP_RET_ERRNO | ENODEV);
        add_filter(runner, SYS_getppid, SECCOMP_RET_ERRNO | EISDIR);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "EISDIR", call(SYS_getuid), "ENODEV", call(SYS_getgid), "ok",
               NULL);
        const struct outcome *outcome = ask(runner, NULL, inside("files"), "read /proc/self/status", NULL);
        assert_non_null(strstr(outcome->output, "Seccomp_filters:\t3;"));

        /* sbx_set_bpf replaces all of them, or takes them away. */
        const struct sock_filter one[] = {LOAD_NUMBER, SKIP_UNLESS(SYS_getgid, 1), RETURN(SECCOMP_RET_ERRNO | ENODEV),
                                          RETURN(SECCOMP_RET_ALLOW)};
        assert_int_equal(sbx_set_bpf(runner, one, 4, 0, NULL), 0);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "ok", call(SYS_getgid), "ENODEV", NULL);
        assert_int_equal(sbx_set_bpf(runner, NULL, 0, 0, NULL), 0);
        expect(runner, NULL, inside("self"), call(SYS_getgid), "ok", NULL);
        sbx_runner_free(runner);
    }
}

/* A path is started with execve(2): filters of the strict kind know nothing else. */
static void a_filter_that_knows_only_execve(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = with_no_new_privs(shapes[i]);
        add_filter(runner, SYS_execveat, SECCOMP_RET_KILL_PROCESS);
        const char *argv[] = {"name", "no_new_privs", NULL};
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        assert_int_equal(sbx_set_exec_path(runner, inside("self"), NULL), 0);
        assert_string_equal(run_ok(runner, 0)->output, "ok 1\n");

        /* Control: a program given as a descriptor needs execveat(2), and the filter has its way. */
        int fd = open(inside("self"), O_RDONLY | O_CLOEXEC);
        struct sbx_launch launch = SBX_LAUNCH_INIT;
        launch.exec_fd = fd;
        const struct outcome *outcome = run(runner, &launch);
        assert_true(outcome->started != 0 || outcome->status.status == SIGSYS);
        assert_int_equal(outcome->length, 0);
        close(fd);
        sbx_runner_free(runner);
    }
}

/* Everything but the exec gets this action. */
static void allow_only_execve(sbx_runner *runner, uint32_t action)
{
    const struct sock_filter filter[] = {LOAD_NUMBER, SKIP_UNLESS(SYS_execve, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(action)};
    assert_int_equal(sbx_set_bpf(runner, filter, 4, 0, NULL), 0);
}

/* No write, no sendmsg, no futex, not even exit_group: the errno gets out all the same. */
static void an_exec_that_fails_behind_any_filter_is_reported(void **state)
{
    (void)state;
    static const uint32_t actions[] = {SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO | 0, SECCOMP_RET_KILL_PROCESS,
                                       SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP};
    const char *place = make_scratch();
    write_file(text("%s/plain", place), "no program", 10, 0644);
    write_file(text("%s/junk", place), "no program", 10, 0755);
    const struct {
        const char *path;
        int number;
    } programs[] = {{text("%s/missing", place), ENOENT}, {text("%s/plain", place), EACCES}, {text("%s/junk", place), ENOEXEC}};

    for (size_t i = 0; i < SHAPES; i++) {
        for (int namespaces = 0; namespaces < 2; namespaces++) {
            sbx_runner *runner = namespaces ? sandbox(SBX_NS_PID) : sbx_runner_new();
            assert_int_equal(sbx_set_no_new_privs(runner, true, NULL), 0);
            assert_int_equal(sbx_set_init(runner, false, NULL), 0);
            set_shape(runner, shapes[i]);
            for (size_t k = 0; k < sizeof actions / sizeof actions[0]; k++) {
                allow_only_execve(runner, actions[k]);
                for (size_t n = 0; n < 3; n++) {
                    const char *argv[] = {programs[n].path, NULL};
                    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
                    const struct sbx_error *error = expect_refusal(runner, NULL, "exec", programs[n].number);
                    assert_int_equal(error->blame, SBX_BLAME_PROGRAM);
                }
            }
            sbx_runner_free(runner);
        }
    }
}

static void the_longest_filter(void **state)
{
    (void)state;
    enum { MOST = 4096 };
    struct sock_filter *filter = test_calloc(MOST + 1, sizeof *filter);
    for (int i = 0; i <= MOST; i++) {
        filter[i] = (struct sock_filter)LOAD_NUMBER;
    }
    filter[MOST - 3] = (struct sock_filter)SKIP_UNLESS(SYS_getppid, 1);
    filter[MOST - 2] = (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EXDEV);
    filter[MOST - 1] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    filter[MOST] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = with_no_new_privs(shapes[i]);
        assert_int_equal(sbx_set_bpf(runner, filter, MOST, 0, NULL), 0);
        assert_int_equal(sbx_set_bpf(runner, filter, MOST + 1, 0, NULL), -EINVAL);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "EXDEV", NULL);
        sbx_runner_free(runner);
    }
    test_free(filter);
}

/* What no check of ours foresees the kernel refuses, and the step and the filter are named. */
static void a_filter_that_the_kernel_refuses_is_named(void **state)
{
    (void)state;
    const struct sock_filter good[] = {RETURN(SECCOMP_RET_ALLOW)};
    const struct sock_filter unknown[] = {{.code = 0xffff}, RETURN(SECCOMP_RET_ALLOW)};
    const struct sock_filter unaligned[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), RETURN(SECCOMP_RET_ALLOW)};
    const struct sock_filter *bad[] = {unknown, unaligned};
    const char *argv[] = {inside("exit0"), NULL};
    for (size_t i = 0; i < SHAPES; i++) {
        for (size_t k = 0; k < 2; k++) {
            sbx_runner *runner = with_no_new_privs(shapes[i]);
            assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
            assert_int_equal(sbx_set_bpf(runner, good, 1, 0, NULL), 0);
            run_ok(runner, 0);
            assert_int_equal(sbx_add_bpf(runner, bad[k], 2, 0, NULL), 0);
            assert_int_equal(expect_refusal(runner, NULL, "seccomp", EINVAL)->index, 1);
            sbx_runner_free(runner);
        }
    }
}

#if defined(__x86_64__)
/* The 32-bit entry has other numbers: 64 is getppid there and semget here. */
static void a_foreign_architecture_is_seen_by_the_filter(void **state)
{
    (void)state;
    enum { I386_GETPPID = 64 };
    sbx_runner *plain = sbx_runner_new();
    const struct outcome *outcome = ask(plain, NULL, inside("self"), text("int80 %d", I386_GETPPID), NULL);
    sbx_runner_free(plain);
    if (strcmp(outcome->output, "ok\n") != 0) {
        skip_because("this kernel has no 32-bit system calls");
    }

    sbx_runner *naive = with_no_new_privs(SBX_SHAPE_DIRECT); /* control: the same call by its other number passes */
    add_filter(naive, SYS_getppid, SECCOMP_RET_ERRNO | EXDEV);
    expect(naive, NULL, inside("self"), call(SYS_getppid), "EXDEV", text("int80 %d", I386_GETPPID), "ok", NULL);
    sbx_runner_free(naive);

    const struct sock_filter checked[] = {LOAD_ARCH,
                                          SKIP_UNLESS(AUDIT_ARCH_X86_64, 3),
                                          LOAD_NUMBER,
                                          SKIP_UNLESS(SYS_getppid, 2),
                                          RETURN(SECCOMP_RET_ERRNO | EXDEV),
                                          RETURN(SECCOMP_RET_KILL_PROCESS),
                                          RETURN(SECCOMP_RET_ALLOW)};
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = with_no_new_privs(shapes[i]);
        assert_int_equal(sbx_set_bpf(runner, checked, 7, 0, NULL), 0);
        outcome = ask(runner, NULL, inside("self"), call(SYS_getppid), text("int80 %d", I386_GETPPID), NULL);
        assert_string_equal(outcome->output, "EXDEV\n");
        assert_int_equal(outcome->status.status, SIGSYS);
        sbx_runner_free(runner);
    }
}
#endif

static void flags_are_taken(void **state)
{
    (void)state;
    const struct sock_filter filter[] = {LOAD_NUMBER, SKIP_UNLESS(SYS_getppid, 1), RETURN(SECCOMP_RET_ERRNO | EXDEV),
                                         RETURN(SECCOMP_RET_ALLOW)};
    const uint32_t flags[] = {SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                              SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = with_no_new_privs(SBX_SHAPE_DIRECT);
        assert_int_equal(sbx_set_bpf(runner, filter, 4, flags[i], NULL), 0);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "EXDEV", NULL);

        /* What they do cannot be seen from inside; that they are passed on can. */
        const char *argv[] = {inside("exit0"), NULL};
        assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
        char *plan = describe(runner, NULL);
        assert_non_null(strstr(plan, text("seccomp(1, %u,", flags[i])));
        test_free(plan);
        sbx_runner_free(runner);
    }
}

/* Who keeps CAP_SYS_ADMIN needs no no_new_privs. */
static void with_a_kept_capability(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        sbx_runner *runner = sandbox(0);
        set_shape(runner, shapes[i]);
        assert_int_equal(sbx_set_caps(runner, UINT64_C(1) << 21, NULL), 0);
        add_filter(runner, SYS_getppid, SECCOMP_RET_ERRNO | EXDEV);
        expect(runner, NULL, inside("self"), call(SYS_getppid), "EXDEV", "no_new_privs", "ok 0", "caps",
               "ok 200000 200000 200000 200000 200000", NULL);
        sbx_runner_free(runner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(a_denied_call_fails_with_its_errno),
        host_test(a_forbidden_call_kills),
        host_test(filters_are_stacked),
        host_test(a_filter_that_knows_only_execve),
        host_test(an_exec_that_fails_behind_any_filter_is_reported),
        host_test(the_longest_filter),
        host_test(a_filter_that_the_kernel_refuses_is_named),
#if defined(__x86_64__)
        host_test(a_foreign_architecture_is_seen_by_the_filter),
#endif
        host_test(flags_are_taken),
        host_test(with_a_kept_capability),
    };
    return cmocka_run_group_tests_name("seccomp", tests, NULL, NULL);
}
