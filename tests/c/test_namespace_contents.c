/* What belongs to a new namespace: clock offsets, names, the loopback device; and what of the host's it shuts out. */
#include "support_ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Seconds of a clock of the host. */
static long long seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec;
}

static void check_clocks(const sbx_runner *runner, long long monotonic, long long boottime)
{
    const struct outcome *outcome = ask(runner, NULL, inside("self"), "clock monotonic", "clock boottime", NULL);
    long long off_monotonic = atoll(answer(outcome, 0) + 3) - seconds(CLOCK_MONOTONIC) - monotonic;
    long long off_boottime = atoll(answer(outcome, 1) + 3) - seconds(CLOCK_BOOTTIME) - boottime;
    assert_true(llabs(off_monotonic) <= 3);
    assert_true(llabs(off_boottime) <= 3);
}

static void clocks_have_their_offsets(void **state)
{
    (void)state;
    static const uint32_t shapes[] = {SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT};
    for (size_t i = 0; i < 3; i++) {
        sbx_runner *runner = sandbox(SBX_NS_TIME);
        set_shape(runner, shapes[i]);
        check_clocks(runner, 0, 0);
        assert_int_equal(sbx_set_time_offset(runner, CLOCK_MONOTONIC, 5000, 500000000, NULL), 0);
        assert_int_equal(sbx_set_time_offset(runner, CLOCK_BOOTTIME, 1000000, 0, NULL), 0);
        check_clocks(runner, 5000, 1000000);
        sbx_runner_free(runner);
    }
}

static void clocks_may_go_back(void **state)
{
    (void)state;
    long long back = seconds(CLOCK_MONOTONIC) / 2;
    sbx_runner *runner = sandbox(SBX_NS_TIME | SBX_NS_PID);
    assert_int_equal(sbx_set_time_offset(runner, CLOCK_MONOTONIC, -back, 0, NULL), 0);
    check_clocks(runner, -back, 0);
    sbx_runner_free(runner);
}

/* A clock that would be below zero: the kernel says ERANGE. */
static void an_impossible_offset_is_named(void **state)
{
    (void)state;
    sbx_runner *runner = sandbox(SBX_NS_TIME);
    const char *argv[] = {inside("exit0"), NULL};
    assert_int_equal(sbx_set_args(runner, argv, NULL), 0);
    assert_int_equal(sbx_set_time_offset(runner, CLOCK_MONOTONIC, -seconds(CLOCK_MONOTONIC) - 100000, 0, NULL), 0);
    expect_refusal(runner, NULL, "time_offsets", ERANGE);
    sbx_runner_free(runner);
}

static void names_are_set_inside_only(void **state)
{
    (void)state;
    char host[65] = "", domain[65] = "";
    assert_int_equal(gethostname(host, sizeof host), 0);
    assert_int_equal(getdomainname(domain, sizeof domain), 0);

    char longest[65];
    memset(longest, 'x', 64);
    longest[64] = '\0';
    sbx_runner *runner = sandbox(SBX_NS_UTS);
    assert_int_equal(sbx_set_hostname(runner, "sandbox", NULL), 0);
    assert_int_equal(sbx_set_domainname(runner, longest, NULL), 0);
    expect(runner, NULL, inside("self"), "hostname", "ok sandbox", "domainname", text("ok %s", longest), NULL);
    sbx_runner_free(runner);

    char now[65] = "";
    gethostname(now, sizeof now);
    assert_string_equal(now, host);
    getdomainname(now, sizeof now);
    assert_string_equal(now, domain);
}

static void loopback_is_up_when_asked(void **state)
{
    (void)state;
    sbx_runner *runner = sandbox(SBX_NS_NET);
    expect(runner, NULL, inside("net"), "interface lo", "ok down", "loopback", "ENETUNREACH", NULL);
    for (int staged = 0; staged < 2; staged++) {
        assert_int_equal(sbx_set_loopback(runner, true, NULL), 0);
        assert_int_equal(sbx_set_staged(runner, staged, NULL), 0);
        expect(runner, NULL, inside("net"), "interface lo", "ok up", "loopback", "ok", NULL);
    }
    sbx_runner_free(runner);
}

static void the_hosts_network_is_out_of_reach(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(server, 8), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&address, &length), 0);
    const char *connect_to_host = text("connect %d", ntohs(address.sin_port));

    sbx_runner *open_runner = sbx_runner_new();
    expect(open_runner, NULL, inside("net"), connect_to_host, "ok", NULL); /* control */
    sbx_runner_free(open_runner);

    sbx_runner *runner = sandbox(SBX_NS_NET);
    assert_int_equal(sbx_set_loopback(runner, true, NULL), 0);
    expect(runner, NULL, inside("net"), connect_to_host, "ECONNREFUSED", NULL);
    sbx_runner_free(runner);
    close(server);
}

static void the_hosts_message_queues_are_out_of_reach(void **state)
{
    (void)state;
    key_t key = 0x5b000000 + getpid();
    int queue = msgget(key, IPC_CREAT | IPC_EXCL | 0600);
    assert_true(queue >= 0);
    const char *get_queue = text("syscall %d %d 0", SYS_msgget, (int)key);

    sbx_runner *open_runner = sbx_runner_new();
    expect(open_runner, NULL, inside("self"), get_queue, "ok", NULL); /* control */
    sbx_runner_free(open_runner);

    sbx_runner *runner = sandbox(SBX_NS_IPC);
    expect(runner, NULL, inside("self"), get_queue, "ENOENT", NULL);
    sbx_runner_free(runner);
    msgctl(queue, IPC_RMID, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(clocks_have_their_offsets),
        host_test(clocks_may_go_back),
        host_test(an_impossible_offset_is_named),
        host_test(names_are_set_inside_only),
        host_test(loopback_is_up_when_asked),
        host_test(the_hosts_network_is_out_of_reach),
        host_test(the_hosts_message_queues_are_out_of_reach),
    };
    return cmocka_run_group_tests_name("namespace_contents", tests, NULL, NULL);
}
