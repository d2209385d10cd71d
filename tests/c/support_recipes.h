/* Runners that together use every feature of a start, for tests that look at all of them: the order of the
 * system calls, a fault at each of them, and what the host keeps through it all. */
#ifndef SBX_TEST_SUPPORT_RECIPES_H
#define SBX_TEST_SUPPORT_RECIPES_H

#include "support.h"

/* A runner, what its start needs, and what is to be closed and removed after it. */
struct prepared {
    sbx_runner *runner;
    struct sbx_launch launch;
    struct sbx_launch_bind bind;
    struct sbx_fd_map map;
    int fds[8];
    size_t n_fds;
    char cgroups[2][128];
    size_t n_cgroups;
    bool realtime;            /* the host's threads are, until drop() */
    bool traced, stopped;     /* the start returns at a stop: let_program_go */
};

struct recipe {
    const char *name;
    bool needs_root;
    bool needs_userns;             /* where the caller is not root */
    void (*make)(struct prepared *prepared);
};

extern const struct recipe recipes[];
extern const size_t n_recipes;

/* False: this host cannot (the reason is printed). The program is exit0, without arguments. */
bool prepare(const struct recipe *recipe, uint32_t shape, struct prepared *prepared);

/* Lets the program go on where the start left it at a stop. Does not call cmocka. */
void let_program_go(const struct prepared *prepared, sbx_process *process);

/* Frees the runner, closes its descriptors, removes its cgroups and scratch directories. */
void drop(struct prepared *prepared);

/* ---- between support_recipes.c and support_recipes_roots.c ---- */

/* A descriptor that drop() closes. */
int keep_fd(struct prepared *prepared, int fd);

/* no_new_privs, two filters, and Landlock with everything below `path` allowed. */
void add_restrictions(sbx_runner *runner, const char *path);

void make_container(struct prepared *prepared);
void make_mapped_ids(struct prepared *prepared);
void make_existing_root(struct prepared *prepared);
void make_chroot(struct prepared *prepared);
void make_fresh_chroot(struct prepared *prepared);

#endif
