/* hunt MODE SECRET [ADDRESS]: looks for a secret in the memory of other processes. SECRET is in hexadecimal with
 * each byte xor 0x5a, so that the hunter itself never holds it in clear.
 *   hunt all SECRET           every process of /proc but itself, its environment and all its memory, once; prints
 *                             for each "pid N environ R memory R", R one of: denied, absent, found
 *   hunt newcomers SECRET A   says "ready", then reads the bytes at address A (hexadecimal) of every process again
 *                             and again until stdin ends; prints "reached N found M"
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MASK 0x5a
#define CHUNK (1 << 20)

static unsigned char secret[64];
static size_t secret_length;

static int is_secret(const unsigned char *at)
{
    for (size_t i = 0; i < secret_length; i++) {
        if ((at[i] ^ MASK) != secret[i]) {
            return 0;
        }
    }
    return 1;
}

static int holds_secret(const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i + secret_length <= length; i++) {
        if (is_secret(bytes + i)) {
            return 1;
        }
    }
    return 0;
}

static int open_file(const char *pid, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static const char *search_environ(const char *pid)
{
    static unsigned char bytes[256 * 1024];
    int fd = open_file(pid, "environ");
    if (fd < 0) {
        return "denied";
    }
    size_t length = 0;
    for (ssize_t n; length < sizeof bytes && (n = read(fd, bytes + length, sizeof bytes - length)) > 0;) {
        length += (size_t)n;
    }
    close(fd);
    return holds_secret(bytes, length) ? "found" : "absent";
}

static int search_range(int mem, unsigned long from, unsigned long to)
{
    static unsigned char bytes[CHUNK + 64];
    for (unsigned long at = from; at < to; at += CHUNK) {
        size_t wanted = to - at < sizeof bytes ? to - at : sizeof bytes;
        ssize_t n = pread(mem, bytes, wanted, (off_t)at);
        if (n > 0 && holds_secret(bytes, (size_t)n)) {
            return 1;
        }
    }
    return 0;
}

static const char *search_memory(const char *pid)
{
    int mem = open_file(pid, "mem");
    int maps_fd = open_file(pid, "maps");
    FILE *maps = maps_fd < 0 ? NULL : fdopen(maps_fd, "r");
    if (mem < 0 || maps == NULL) {
        close(mem);
        return "denied";
    }
    const char *result = "absent";
    char line[600];
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx r", &from, &to) == 2 && search_range(mem, from, to)) {
            result = "found";
        }
    }
    fclose(maps);
    close(mem);
    return result;
}

static int hunt_all(void)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid()) {
            printf("pid %s environ %s memory %s\n", entry->d_name, search_environ(entry->d_name), search_memory(entry->d_name));
        }
    }
    closedir(proc);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* 1: reached and there, 0: reached, -1: denied or gone. Not through /proc/PID/mem, whose owner may keep it closed where
 * the memory itself is open to whoever has CAP_SYS_PTRACE in the right namespace. */
static int look_into(pid_t pid, unsigned long address)
{
    unsigned char bytes[64];
    struct iovec local = {bytes, secret_length};
    struct iovec remote = {(void *)address, secret_length};
    ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (n < 0 && errno != EFAULT) {
        return -1;
    }
    return n == (ssize_t)secret_length && is_secret(bytes);
}

static int hunt_newcomers(unsigned long address)
{
    unsigned long reached = 0, found = 0;
    printf("ready\n");
    fflush(stdout);
    DIR *proc = opendir("/proc");
    struct pollfd end = {.fd = 0, .events = POLLIN};
    while (proc != NULL && poll(&end, 1, 0) == 0) {
        rewinddir(proc);
        for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
            if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == getpid()) {
                continue;
            }
            int result = look_into(atoi(entry->d_name), address);
            reached += result >= 0;
            found += result > 0;
        }
    }
    printf("reached %lu found %lu\n", reached, found);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 3 || strlen(argv[2]) / 2 > sizeof secret) {
        return 2;
    }
    secret_length = strlen(argv[2]) / 2;
    for (size_t i = 0; i < secret_length; i++) {
        unsigned byte = 0;
        sscanf(argv[2] + 2 * i, "%2x", &byte);
        secret[i] = (unsigned char)byte;
    }
    if (strcmp(argv[1], "all") == 0) {
        return hunt_all();
    }
    return argc > 3 ? hunt_newcomers(strtoul(argv[3], NULL, 16)) : 2;
}
