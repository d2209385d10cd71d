/* What belongs to the program's process: umask, CPUs, nice value, scheduling policy, OOM score, address space
 * randomisation, parent-death signal, session, terminal, keyring. Each is seen from inside, beside what it is
 * when it is not set. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sbx_error error = SBX_ERROR_INIT;

static sbx_runner *reporter(void **state)
{
    sbx_runner *runner = runner_for("report", NULL);
    set_shape(runner, shape_of(state));
    return runner;
}

static const struct outcome *report(sbx_runner *runner)
{
    const struct outcome *outcome = run_ok(runner, 0);
    sbx_runner_free(runner);
    return outcome;
}

static void umasks(void **state)
{
    const mode_t hosts = umask(0);
    umask(hosts);
    assert_int_equal(number(report(reporter(state)), "umask"), hosts);
    const uint32_t masks[] = {0, 077, 0777};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = reporter(state);
        assert_ok(sbx_set_umask(runner, masks[i], &error), &error);
        assert_int_equal(number(report(runner), "umask"), masks[i]);
    }
}

static void cpus(void **state)
{
    cpu_set_t hosts;
    CPU_ZERO(&hosts);
    assert_int_equal(sched_getaffinity(0, sizeof hosts, &hosts), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &hosts)) {
            continue;
        }
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sbx_runner *runner = reporter(state);
        /* As few bytes as the CPU's number needs will do. */
        assert_ok(sbx_set_cpu_affinity(runner, &one, (size_t)cpu / 8 + 1, &error), &error);
        assert_int_equal(number(report(runner), "cpus"), cpu);
    }
    cpu_set_t absent;
    CPU_ZERO(&absent);
    CPU_SET(CPU_SETSIZE - 1, &absent);
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_set_cpu_affinity(runner, &absent, sizeof absent, &error), &error);
    const struct outcome *outcome = run(runner, NULL);
    assert_error(outcome->started, EINVAL, &outcome->error);
    assert_string_equal(sbx_location_name(outcome->error.location), "cpu_affinity");
    sbx_runner_free(runner);
}

static void nice_values(void **state)
{
    const int hosts = getpriority(PRIO_PROCESS, 0);
    assert_int_equal(number(report(reporter(state)), "nice"), hosts);
    const int values[] = {hosts + 1, 19};
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = reporter(state);
        assert_ok(sbx_set_nice(runner, values[i], &error), &error);
        assert_int_equal(number(report(runner), "nice"), values[i]);
    }
    /* Being less nice needs CAP_SYS_NICE, or RLIMIT_NICE. */
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_set_nice(runner, -10, &error), &error);
    const struct outcome *outcome = run(runner, NULL);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NICE, &limit), 0);
    if (has_capability(CAP_SYS_NICE) || limit.rlim_cur >= 30) {
        assert_ended(outcome, CLD_EXITED, 0);
        assert_int_equal(number(outcome, "nice"), -10);
    } else {
        assert_error(outcome->started, EACCES, &outcome->error);
        assert_string_equal(sbx_location_name(outcome->error.location), "nice");
    }
    sbx_runner_free(runner);
}

static void schedulers(void **state)
{
    assert_int_equal(number(report(reporter(state)), "scheduler"), SCHED_OTHER);
    const int policies[] = {SCHED_BATCH, SCHED_IDLE, SCHED_OTHER};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = reporter(state);
        assert_ok(sbx_set_scheduler(runner, policies[i], 0, &error), &error);
        assert_int_equal(number(report(runner), "scheduler"), policies[i]);
    }
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_set_scheduler(runner, SCHED_RR, 7, &error), &error);
    const struct outcome *outcome = run(runner, NULL);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_RTPRIO, &limit), 0);
    if (has_capability(CAP_SYS_NICE) || limit.rlim_cur >= 7) {
        assert_ended(outcome, CLD_EXITED, 0);
        assert_int_equal(number(outcome, "scheduler"), SCHED_RR);
        assert_int_equal(number(outcome, "priority"), 7);
    } else {
        assert_error(outcome->started, EPERM, &outcome->error);
        assert_string_equal(sbx_location_name(outcome->error.location), "scheduler");
    }
    sbx_runner_free(runner);
}

static int hosts_oom_score_adj(void)
{
    int adj = -1;
    FILE *file = fopen("/proc/self/oom_score_adj", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &adj), 1);
    fclose(file);
    return adj;
}

static void oom_scores(void **state)
{
    const int hosts = hosts_oom_score_adj();
    assert_int_equal(number(report(reporter(state)), "oom_score_adj"), hosts);
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_set_oom_score_adj(runner, 500, &error), &error);
    assert_int_equal(number(report(runner), "oom_score_adj"), 500);
    assert_int_equal(hosts_oom_score_adj(), hosts);

    runner = reporter(state);
    assert_ok(sbx_set_oom_score_adj(runner, -1000, &error), &error);
    const struct outcome *outcome = run(runner, NULL);
    if (has_capability(CAP_SYS_RESOURCE)) {
        assert_ended(outcome, CLD_EXITED, 0);
        assert_int_equal(number(outcome, "oom_score_adj"), -1000);
    } else {
        assert_error(outcome->started, EACCES, &outcome->error);
        assert_string_equal(sbx_location_name(outcome->error.location), "oom_score_adj");
    }
    assert_int_equal(hosts_oom_score_adj(), hosts);
    sbx_runner_free(runner);
}

static void addresses(void **state)
{
    char stacks[6][64];
    for (size_t i = 0; i < 6; i++) {
        sbx_runner *runner = reporter(state);
        if (i < 3) {
            assert_ok(sbx_set_no_aslr(runner, true, &error), &error);
        }
        const struct outcome *outcome = report(runner);
        snprintf(stacks[i], sizeof stacks[i], "%s", value(outcome, "address_stack"));
        assert_int_equal(number(outcome, "personality"), i < 3 ? 0x0040000 : 0);
    }
    assert_string_equal(stacks[0], stacks[1]);
    assert_string_equal(stacks[0], stacks[2]);
    FILE *file = fopen("/proc/sys/kernel/randomize_va_space", "re");
    int randomize = 0;
    if (file != NULL) {
        assert_int_equal(fscanf(file, "%d", &randomize), 1);
        fclose(file);
    }
    if (randomize != 0) {
        assert_true(strcmp(stacks[3], stacks[4]) != 0 || strcmp(stacks[4], stacks[5]) != 0);
    }
}

static void parent_death_signals(void **state)
{
    /* An init that owns no pid namespace takes its program along this way. */
    const int by_default = shape_of(state) == SBX_SHAPE_INIT ? SIGKILL : 0;
    assert_int_equal(number(report(reporter(state)), "pdeathsig"), by_default);
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_set_pdeathsig(runner, SIGUSR2, &error), &error);
    assert_int_equal(number(report(runner), "pdeathsig"), SIGUSR2);

    if (!is_root()) {
        return;
    }
    /* A change of the user would clear it. */
    runner = reporter(state);
    assert_ok(sbx_set_pdeathsig(runner, SIGKILL, &error), &error);
    assert_ok(sbx_set_credential(runner, 54321, 54321, NULL, 0, &error), &error);
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    launch.exec_fd = open(inside("report"), O_RDONLY | O_CLOEXEC);
    const struct outcome *outcome = run(runner, &launch);
    assert_ended(outcome, CLD_EXITED, 0);
    assert_int_equal(number(outcome, "uid"), 54321);
    assert_int_equal(number(outcome, "pdeathsig"), SIGKILL);
    close(launch.exec_fd);
    sbx_runner_free(runner);
}

static void sessions(void **state)
{
    const struct outcome *outcome = report(reporter(state));
    assert_true(number(outcome, "sid") != number(outcome, "pid"));
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_set_setsid(runner, true, &error), &error);
    outcome = report(runner);
    assert_int_equal(number(outcome, "sid"), number(outcome, "pid"));
    assert_int_equal(number(outcome, "pgid"), number(outcome, "pid"));
    assert_int_equal(number(outcome, "tty_sid"), -1);
}

static void terminals(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) {
        skip_because("no pseudo terminals here");
    }
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);

    /* Mapped alone it is a terminal, but nobody's. */
    sbx_runner *runner = reporter(state);
    assert_ok(sbx_map_fd(runner, slave, 0, &error), &error);
    assert_int_equal(number(report(runner), "tty_sid"), -1);

    runner = reporter(state);
    assert_ok(sbx_map_fd(runner, slave, 0, &error), &error);
    assert_ok(sbx_set_ctty(runner, slave, &error), &error);
    const struct outcome *outcome = report(runner);
    assert_int_equal(number(outcome, "sid"), number(outcome, "pid"));
    assert_int_equal(number(outcome, "tty_sid"), number(outcome, "pid"));
    assert_int_equal(number(outcome, "tty_pgid"), number(outcome, "pid"));
    assert_string_equal(value(outcome, "fds"), "0,1,2");

    /* What is no terminal cannot be one. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    runner = reporter(state);
    assert_ok(sbx_set_ctty(runner, null, &error), &error);
    outcome = run(runner, NULL);
    assert_error(outcome->started, ENOTTY, &outcome->error);
    assert_string_equal(sbx_location_name(outcome->error.location), "ctty");
    sbx_runner_free(runner);
    close(null);
    close(slave);
    close(master);
}

static void keyrings(void **state)
{
    const long hosts = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    if (hosts < 0 && errno == ENOSYS) {
        skip_because("no keyrings in this kernel");
    }
    assert_int_equal(number(report(reporter(state)), "session_keyring"), hosts);
    long long own[2];
    for (size_t i = 0; i < 2; i++) {
        sbx_runner *runner = reporter(state);
        assert_ok(sbx_set_session_keyring(runner, true, &error), &error);
        own[i] = number(report(runner), "session_keyring");
        assert_true(own[i] > 0);
        assert_true(own[i] != hosts);
    }
    assert_true(own[0] != own[1]);
    assert_int_equal(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0), hosts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_each_shape(umasks),
        in_each_shape(cpus),
        in_each_shape(nice_values),
        in_each_shape(schedulers),
        in_each_shape(oom_scores),
        in_each_shape(addresses),
        in_each_shape(parent_death_signals),
        in_each_shape(sessions),
        in_each_shape(terminals),
        in_each_shape(keyrings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
