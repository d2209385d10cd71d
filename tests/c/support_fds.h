/* What the tests of descriptors share: a program that lists its own. */
#ifndef SBX_TEST_SUPPORT_FDS_H
#define SBX_TEST_SUPPORT_FDS_H

#include "support.h"

/* Where the program of report_fds() has the pipe for its answer. */
#define REPORT_FD 300

/* Starts inside/report in this shape with this map and nothing else on its standard streams. The outcome is in
 * memory that the next call uses again. */
const struct outcome *report_fds(uint32_t shape, const struct sbx_fd_map *map, size_t n);

/* Fails the test unless the program's `child_fd` is the host's `fd`. */
void expect_same_fd(const struct outcome *outcome, int child_fd, int fd);

/* Fails the test unless the program ended well and had just these descriptors, "0,1,2,300". */
void expect_fds(const struct outcome *outcome, const char *fds);

/* `n` files of their own at the numbers `first`, `first` + 1, ... */
void open_files(int first, int n);
void close_files(int first, int n);

#endif
