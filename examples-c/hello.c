/* Runs one program in a sandbox of its own and prints how it ended.
 *
 *     cc hello.c $(pkg-config --cflags --libs sbx) -o hello && ./hello /bin/echo hello
 *
 * Works as root and as any user who may create user namespaces. The program sees a fresh root with
 * the system directories read-only, its own processes, no network, no capability, no other user. */
#define _POSIX_C_SOURCE 200809L
#include <sbx.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *const hello[] = {"/bin/echo", "hello from the sandbox", NULL};
    const char *const *args = argc > 1 ? (const char *const *)&argv[1] : hello;
    const uint64_t namespaces = SBX_NS_USER | SBX_NS_PID | SBX_NS_MNT | SBX_NS_NET | SBX_NS_IPC |
                                SBX_NS_UTS | SBX_NS_CGROUP | SBX_NS_TIME;
    /* Whoever starts this is user 1000 inside. Root is not let in: 65534 stands in for it. */
    const uint32_t uid = geteuid() != 0 ? geteuid() : 65534;
    const uint32_t gid = geteuid() != 0 ? getegid() : 65534;

    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_status status = {.size = sizeof status};
    sbx_process *process = NULL;
    sbx_runner *runner = sbx_runner_new();
    if (runner == NULL || sbx_set_args(runner, args, &error) < 0 ||
        sbx_set_namespaces(runner, namespaces, &error) < 0 ||
        sbx_add_uid_map(runner, 1000, uid, 1, &error) < 0 ||
        sbx_add_gid_map(runner, 1000, gid, 1, &error) < 0 ||
        (geteuid() == 0 && sbx_set_credential(runner, 1000, 1000, NULL, 0, &error) < 0) ||
        sbx_set_pivot_root(runner, NULL, 0, &error) < 0 ||
        sbx_add_bind(runner, "/usr", "/usr", 0, &error) < 0 ||
        sbx_add_bind(runner, "/bin", "/bin", SBX_MOUNT_OPTIONAL, &error) < 0 ||
        sbx_add_bind(runner, "/lib", "/lib", SBX_MOUNT_OPTIONAL, &error) < 0 ||
        sbx_add_bind(runner, "/lib64", "/lib64", SBX_MOUNT_OPTIONAL, &error) < 0 ||
        sbx_add_proc(runner, "/proc", 0, &error) < 0 ||
        sbx_set_caps(runner, 0, &error) < 0 || sbx_set_no_new_privs(runner, true, &error) < 0 ||
        sbx_map_fd(runner, STDOUT_FILENO, STDOUT_FILENO, &error) < 0 ||
        sbx_map_fd(runner, STDERR_FILENO, STDERR_FILENO, &error) < 0 ||
        sbx_start(runner, NULL, &process, &error) < 0 ||
        sbx_process_wait(process, SBX_INFINITE, &status, &error) < 0) {
        fprintf(stderr, "hello: %s\n", runner != NULL ? error.message : "out of memory");
        sbx_process_free(process);
        sbx_runner_free(runner);
        return 1;
    }

    if (status.code == CLD_EXITED)
        printf("exit code %d", status.status);
    else
        printf("killed by signal %d (%s)", status.status, strsignal(status.status));
    printf(", %.1f ms of CPU, %.1f MiB\n", (double)(status.user_ns + status.system_ns) / 1e6,
           (double)status.max_rss / (1 << 20));
    sbx_process_free(process);
    sbx_runner_free(runner);
    return 0;
}
