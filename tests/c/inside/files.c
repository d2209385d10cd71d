/* Inside a sandbox: what do files, directories and mounts look like, and what may be done to them? */
#include "answer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static void answer_open(int fd)
{
    answer_result(fd);
    if (fd >= 0) {
        close(fd);
    }
}

static void read_fd(int fd)
{
    char text[4096];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) {
        failed();
    } else {
        text[n] = '\0';
        ok("%s", text);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void do_read(char **words)
{
    read_fd(open(words[0], O_RDONLY | O_CLOEXEC));
}

/* openat FD PATH: reads what PATH is below a descriptor that the program was given. */
static void do_openat(char **words)
{
    read_fd(openat(atoi(words[0]), words[1], O_RDONLY | O_CLOEXEC));
}

static void write_text(int fd, const char *text)
{
    if (fd < 0) {
        failed();
        return;
    }
    answer_result(write(fd, text, strlen(text)));
    close(fd);
}

static void do_write(char **words)
{
    write_text(open(words[0], O_WRONLY | O_TRUNC | O_CLOEXEC), words[1]);
}

static void do_append(char **words)
{
    write_text(open(words[0], O_WRONLY | O_APPEND | O_CLOEXEC), words[1]);
}

static void do_create(char **words)
{
    write_text(open(words[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), words[1] ? words[1] : "");
}

/* Only the right to write, nothing is written. */
static void do_writable(char **words)
{
    answer_open(open(words[0], O_WRONLY | O_CLOEXEC));
}

static void do_mkdir(char **words)
{
    answer_result(mkdir(words[0], 0777));
}

static void do_remove(char **words)
{
    answer_result(remove(words[0]));
}

static void do_mknod(char **words)
{
    answer_result(mknod(words[0], S_IFCHR | 0666, makedev((unsigned)atoi(words[1]), (unsigned)atoi(words[2]))));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* chmod PATH MODE */
static void do_chmod(char **words)
{
    answer_result(chmod(words[0], (mode_t)strtol(words[1], NULL, 8)));
}

/* fchmod FD MODE */
static void do_fchmod(char **words)
{
    answer_result(fchmod(atoi(words[0]), (mode_t)strtol(words[1], NULL, 8)));
}

static void do_list(char **words)
{
    DIR *dir = opendir(words[0]);
    if (!dir) {
        failed();
        return;
    }
    static char names[128][64];
    size_t n = 0;
    for (struct dirent *entry; n < 128 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(names[n++], sizeof names[0], "%.63s", entry->d_name);
        }
    }
    closedir(dir);
    qsort(names, n, sizeof names[0], by_name);
    char line[8192] = "";
    for (size_t i = 0; i < n; i++) {
        strcat(line, i ? " " : "");
        strcat(line, names[i]);
    }
    ok("%s", line);
}

/* TYPE MODE UID GID SIZE, or for devices TYPE MODE UID GID MAJOR:MINOR */
static void do_stat(char **words)
{
    struct stat s;
    if (lstat(words[0], &s) < 0) {
        failed();
        return;
    }
    const char *type = S_ISREG(s.st_mode) ? "file"
                     : S_ISDIR(s.st_mode) ? "dir"
                     : S_ISLNK(s.st_mode) ? "link"
                     : S_ISCHR(s.st_mode) ? "char"
                                          : "other";
    if (S_ISCHR(s.st_mode)) {
        ok("%s %04o %u %u %u:%u", type, s.st_mode & 07777, s.st_uid, s.st_gid, major(s.st_rdev), minor(s.st_rdev));
    } else {
        ok("%s %04o %u %u %lld", type, s.st_mode & 07777, s.st_uid, s.st_gid, (long long)s.st_size);
    }
}

static void do_link(char **words)
{
    char text[4096];
    ssize_t n = readlink(words[0], text, sizeof text - 1);
    if (n < 0) {
        failed();
        return;
    }
    text[n] = '\0';
    ok("%s", text);
}

static void do_cwd(char **words)
{
    (void)words;
    char path[4096];
    if (!getcwd(path, sizeof path)) {
        failed();
    } else {
        ok("%s", path);
    }
}

static void do_chdir(char **words)
{
    answer_result(chdir(words[0]));
}

/* The mount's flags, in a fixed order: ro nosuid nodev noexec */
static void do_flags(char **words)
{
    struct statvfs v;
    if (statvfs(words[0], &v) < 0) {
        failed();
    } else {
        ok("%s%s%s%s", v.f_flag & ST_RDONLY ? "ro" : "rw", v.f_flag & ST_NOSUID ? " nosuid" : "",
           v.f_flag & ST_NODEV ? " nodev" : "", v.f_flag & ST_NOEXEC ? " noexec" : "");
    }
}

/* Size in bytes and in inodes. */
static void do_capacity(char **words)
{
    struct statvfs v;
    if (statvfs(words[0], &v) < 0) {
        failed();
    } else {
        ok("%llu %llu", (unsigned long long)v.f_blocks * v.f_frsize, (unsigned long long)v.f_files);
    }
}

static void do_fstype(char **words)
{
    struct statfs s;
    if (statfs(words[0], &s) < 0) {
        failed();
    } else {
        ok("%lx", (unsigned long)s.f_type);
    }
}

/* fill PATH BYTES: how much could be written, and what ended it */
static void do_fill(char **words)
{
    static char block[65536];
    memset(block, 'x', sizeof block);
    long long wanted = atoll(words[1]), done = 0;
    int fd = open(words[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        failed();
        return;
    }
    while (done < wanted) {
        ssize_t n = write(fd, block, sizeof block);
        if (n < 0) {
            break;
        }
        done += n;
    }
    ok("%lld %s", done, done < wanted ? strerrorname_np(errno) : "all");
    close(fd);
}

/* many DIR N: how many empty files could be made, and what ended it */
static void do_many(char **words)
{
    int wanted = atoi(words[1]), done = 0;
    for (; done < wanted; done++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", words[0], done);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0) {
            break;
        }
        close(fd);
    }
    ok("%d %s", done, done < wanted ? strerrorname_np(errno) : "all");
}

/* device PATH: what one read and one write of 64 bytes give, and whether the bytes read were all zero */
static void do_device(char **words)
{
    char bytes[64];
    memset(bytes, 1, sizeof bytes);
    int fd = open(words[0], O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        failed();
        return;
    }
    ssize_t got = read(fd, bytes, sizeof bytes);
    bool zero = got > 0;
    for (ssize_t i = 0; i < got; i++) {
        zero = zero && bytes[i] == 0;
    }
    ssize_t put = write(fd, bytes, sizeof bytes);
    ok("read %zd%s write %s", got, zero ? " zeros" : "", put < 0 ? strerrorname_np(errno) : "64");
    close(fd);
}

/* A pseudo terminal: from /dev/ptmx, its other end below /dev/pts */
static void do_pty(char **words)
{
    (void)words;
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64] = "";
    if (master < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0) {
        failed();
        return;
    }
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) {
        failed();
    } else {
        ok("%s", name);
    }
    close(slave);
    close(master);
}

static void do_mount_tmpfs(char **words)
{
    answer_result(mount("tmpfs", words[0], "tmpfs", 0, NULL));
}

static void do_remount_rw(char **words)
{
    answer_result(mount(NULL, words[0], NULL, MS_REMOUNT | MS_BIND, NULL));
}

static void do_umount(char **words)
{
    answer_result(umount2(words[0], MNT_DETACH));
}

static void do_chroot(char **words)
{
    answer_result(chroot(words[0]));
}

/* run PATH QUESTION: a program with one argument ('+' stands for a space), and how it ended; its own answers come first */
static void do_run(char **words)
{
    char question[256] = "";
    if (words[1]) {
        snprintf(question, sizeof question, "%s", words[1]);
    }
    for (char *c = question; *c; c++) {
        if (*c == '+') {
            *c = ' ';
        }
    }
    pid_t pid = fork();
    if (pid == 0) {
        execl(words[0], words[0], words[1] ? question : NULL, (char *)NULL);
        failed();
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        failed();
    } else if (WIFSIGNALED(status)) {
        ok("signal %d", WTERMSIG(status));
    } else {
        ok("exit %d", WEXITSTATUS(status));
    }
}

/* The descriptors that are open. */
static void do_fds(char **words)
{
    (void)words;
    char line[1024] = "";
    for (int fd = 0; fd < 2048 && strlen(line) < sizeof line - 16; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            sprintf(line + strlen(line), "%s%d", fd ? " " : "", fd);
        }
    }
    ok("%s", line);
}

int main(int argc, char **argv)
{
    static const struct verb verbs[] = {
        {"read", 1, do_read},         {"openat", 2, do_openat},     {"write", 2, do_write},
        {"append", 2, do_append},     {"create", 1, do_create},     {"writable", 1, do_writable},
        {"mkdir", 1, do_mkdir},       {"remove", 1, do_remove},     {"mknod", 3, do_mknod},
        {"list", 1, do_list},         {"stat", 1, do_stat},         {"link", 1, do_link},
        {"cwd", 0, do_cwd},           {"chdir", 1, do_chdir},       {"flags", 1, do_flags},
        {"capacity", 1, do_capacity}, {"fstype", 1, do_fstype},     {"fill", 2, do_fill},
        {"many", 2, do_many},         {"device", 1, do_device},     {"pty", 0, do_pty},
        {"tmpfs", 1, do_mount_tmpfs}, {"rw", 1, do_remount_rw},     {"umount", 1, do_umount},
        {"chroot", 1, do_chroot},     {"run", 1, do_run},           {"fds", 0, do_fds},
        {"chmod", 2, do_chmod},       {"fchmod", 2, do_fchmod},
        {NULL, 0, NULL},
    };
    return answer_all(verbs, argc, argv);
}
