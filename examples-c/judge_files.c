/* The judge's files: reading and writing whole ones, sealed copies of inputs, comparing answers. */
#define _GNU_SOURCE
#include "judge.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int because(struct why *why, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(why->text, sizeof why->text, format, values);
    va_end(values);
    return -1;
}

int file_read(const char *path, char **bytes, size_t *size, struct why *why)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return because(why, "%s: %s", path, strerror(errno));
    struct stat info;
    char *buffer = NULL;
    ssize_t n = -1;
    if (fstat(fd, &info) == 0 && (buffer = malloc((size_t)info.st_size + 1)) != NULL)
        n = read(fd, buffer, (size_t)info.st_size);
    if (n < 0)
        because(why, "%s: %s", path, strerror(errno));
    close(fd);
    if (n < 0) {
        free(buffer);
        return -1;
    }
    buffer[n] = '\0';
    *bytes = buffer;
    *size = (size_t)n;
    return 0;
}

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(fd, bytes, size);
        if (n < 0)
            return -1;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

int file_write(const char *path, const char *bytes, size_t size, struct why *why)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return because(why, "%s: %s", path, strerror(errno));
    /* Readable by the sandbox's user, whatever the umask. */
    int rc = write_all(fd, bytes, size);
    if (rc == 0)
        rc = fchmod(fd, 0644);
    if (rc < 0)
        because(why, "%s: %s", path, strerror(errno));
    close(fd);
    return rc;
}

/* A program's input is never the problem's own file: who may read a file that belongs to his own
 * user can also fchmod() or lock it through the same descriptor. This copy is for one run. */
int sealed_input(const char *bytes, size_t size, struct why *why)
{
    const int fd = memfd_create("input", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return because(why, "memfd_create: %s", strerror(errno));
    if (write_all(fd, bytes, size) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        because(why, "memfd: %s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The next word: from *at, its length in the return value; 0 at the end. */
static size_t next_word(const char **at, const char *end)
{
    while (*at < end && is_space(**at))
        (*at)++;
    size_t len = 0;
    while (*at + len < end && !is_space((*at)[len]))
        len++;
    return len;
}

bool same_answer(const char *got, size_t got_size, const char *want, size_t want_size)
{
    const char *const got_end = got + got_size;
    const char *const want_end = want + want_size;
    for (;;) {
        const size_t got_len = next_word(&got, got_end);
        const size_t want_len = next_word(&want, want_end);
        if (got_len != want_len || memcmp(got, want, want_len) != 0)
            return false;
        if (want_len == 0)
            return true;
        got += got_len;
        want += want_len;
    }
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

/* Nothing of a sandbox runs any more when its box is removed, and FTW_PHYS follows no link. */
void tree_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
