/* A description, parsed, and compared with what the kernel saw. See support_plan.h. */
#include "support_plan.h"

#include "support_proc.h"
#include "support_watch.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parsing ---- */

/* The number after `word`, or `missing`. */
static int number_after(const char *line, const char *word, int missing)
{
    const char *found = strstr(line, word);
    return found == NULL ? missing : atoi(found + strlen(word));
}

/* The number that stands before `words`, or 0. */
static int number_before(const char *line, const char *words)
{
    const char *end = strstr(line, words);
    const char *begin = end;
    while (begin != NULL && begin > line && isdigit((unsigned char)begin[-1])) {
        begin--;
    }
    return begin == end ? 0 : atoi(begin);
}

/* Splits "name(a, "b, c", d)" and gives what follows the closing parenthesis; NULL: that is not what it is. */
static const char *parse_call(const char *text, struct plan_line *line)
{
    size_t length = strcspn(text, "( ");
    if (text[length] != '(' || length == 0 || length >= sizeof line->name) {
        return NULL;
    }
    memcpy(line->name, text, length);
    const char *at = text + length + 1;
    while (*at != ')') {
        if (line->n_args == 6) {
            return NULL;
        }
        char *arg = line->args[line->n_args++];
        size_t used = 0;
        bool quoted = false;
        for (; *at != '\0' && (quoted || (*at != ',' && *at != ')')); at++) {
            quoted = *at == '"' && (used == 0 || at[-1] != '\\') ? !quoted : quoted;
            if (used + 1 < sizeof line->args[0]) {
                arg[used++] = *at;
            }
        }
        if (*at == '\0') {
            return NULL;
        }
        at += strspn(at, ", ");
        if (used > 2 && strcmp(arg + used - 2, "..") == 0) {
            arg[used - 2] = '\0';
            line->repeat_arg = line->n_args - 1;
        }
    }
    return at + 1;
}

static bool parse_line(const char *text, struct plan_line *line)
{
    *line = (struct plan_line){.index = -1, .repeat = 1, .repeat_arg = -1};
    int begin = 0;
    if (sscanf(text, "%7s %31s %n", line->list, line->location, &begin) != 2 || begin == 0) {
        return false;
    }
    char *bracket = strchr(line->location, '[');
    if (bracket != NULL) {
        line->index = atoi(bracket + 1);
        *bracket = '\0';
    }
    const char *rest = text + begin;
    if (strncmp(rest, "[handshake]", 11) == 0) {
        line->kind = strstr(rest, "and wait") != NULL ? ASKS : TELLS;
        return true;
    }
    if (strncmp(rest, "[go on at step ", 15) == 0) {
        line->kind = JUMPS;
        line->target = atoi(rest + 15);
        return true;
    }
    if (rest[0] == '[') {
        line->kind = STAYS;
    } else if ((rest = parse_call(rest, line)) == NULL) {
        return false;
    }
    if (strncmp(rest, " x", 2) == 0) {
        line->repeat = atoi(rest + 2);
    }
    if (strcmp(line->location, "init_plan") == 0 || strcmp(line->location, "spawn") == 0) {
        line->kind = OWN_CALL;
    }
    const char *on = strstr(rest, "[on errno");
    if (on != NULL) {
        line->caught = on[9] == ':' ? -1 : atoi(on + 10);
        line->target = number_after(on, "go on at step ", 0);
    }
    line->tolerated = number_before(rest, " is fine]");
    line->retried = number_before(rest, " is tried again]");
    return true;
}

void parse_plan(const struct prepared *prepared, struct plan *plan)
{
    char *text = describe(prepared->runner, &prepared->launch);
    memset(plan, 0, sizeof *plan);
    int steps[3] = {0};
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "shape ", 6) == 0) {
            snprintf(plan->shape, sizeof plan->shape, "%.7s", line + 6);
            continue;
        }
        if (strncmp(line, "host ", 5) == 0) {
            continue;
        }
        struct plan_line *parsed = &plan->lines[plan->n_lines++];
        if (plan->n_lines == MAX_LINES || !parse_line(line, parsed)) {
            fail_msg("this line of the description is not understood (or there are too many):\n%s", line);
        }
        int *step = &steps[parsed->list[0] == 'e' ? 0 : parsed->list[0] == 'i' ? 1 : 2];
        parsed->step = parsed->kind == OWN_CALL ? -1 : (*step)++;
    }
    test_free(text);
}

/* ---- watching ---- */

#define MAX_PROCESSES 8
#define MAX_NR 1024

struct watching {
    struct trial *trial;
    struct record *records;
    size_t n_records;
    atomic_bool in_start;
    uint16_t calls[MAX_PROCESSES][MAX_NR];
};

static void start_wait_free(void *arg)
{
    struct watching *watching = arg;
    struct trial *trial = watching->trial;
    sbx_process *process = NULL;
    atomic_store(&watching->in_start, true);
    trial->started = sbx_start(trial->prepared->runner, &trial->prepared->launch, &process, &trial->error);
    atomic_store(&watching->in_start, false);
    if (trial->started == 0) {
        let_program_go(trial->prepared, process);
        trial->waited = sbx_process_wait(process, READ_TIMEOUT_NS, &trial->status, &trial->error);
        trial->shape = sbx_process_shape(process);
        trial->unenforced = sbx_process_unenforced(process);
    }
    sbx_process_free(process);
}

static int see_call(const struct watched_call *call, void *arg)
{
    struct watching *watching = arg;
    const struct fault *fault = &watching->trial->fault;
    bool in_start = atomic_load(&watching->in_start);
    if (call->process >= MAX_PROCESSES || call->nr < 0 || call->nr >= MAX_NR) {
        return 0;
    }
    int occurrence = watching->calls[call->process][call->nr]++;
    if (watching->records != NULL && watching->n_records < MAX_RECORDS) {
        struct record *record = &watching->records[watching->n_records++];
        *record = (struct record){
            .process = call->process, .nr = call->nr, .occurrence = occurrence, .in_start = in_start, .name = call->name};
        for (size_t i = 0; i < 6; i++) {
            record->args[i] = call->args[i];
            record->readable[i] = call->args[i] > 4096 && watched_string(call, call->args[i], record->text[i], MAX_TEXT);
        }
    }
    bool now = fault->error != 0 && !watching->trial->hit && call->process == fault->process && call->nr == fault->nr &&
               occurrence == fault->occurrence;
    watching->trial->hit = watching->trial->hit || now;
    if (now && fault->error == KILL_CALLER) {
        kill(call->pid, SIGKILL);
        return 0;
    }
    return now ? fault->error : 0;
}

void try_start(struct trial *trial, struct record *records, size_t *n_records)
{
    static struct watching watching;
    memset(&watching, 0, sizeof watching);
    watching.trial = trial;
    watching.records = records;
    trial->error.size = sizeof trial->error;
    trial->status.size = sizeof trial->status;
    watch(start_wait_free, &watching, see_call, &watching);
    if (n_records != NULL) {
        *n_records = watching.n_records;
    }
}

/* ---- matching ---- */

/* One process's calls against the lines of the lists it walks. */
struct match {
    const struct plan_line *lines[MAX_LINES];
    size_t n_lines;
    struct record *records[MAX_RECORDS];
    size_t n_records;
    size_t furthest_line, furthest_record;
};

static bool same_argument(const char *wanted, const struct record *record, int n, int counted)
{
    if (wanted[0] == '%' || wanted[0] == '{' || wanted[0] == '&') {
        return true; /* known only at run time */
    }
    if (wanted[0] == '"') {
        size_t length = strlen(wanted + 1);
        length -= length > 0 && wanted[length] == '"';
        length = length < MAX_TEXT - 1 ? length : MAX_TEXT - 1;
        return !record->readable[n] || strncmp(record->text[n], wanted + 1, length) == 0;
    }
    int64_t value = strcmp(wanted, "AT_FDCWD") == 0 ? AT_FDCWD : strtoll(wanted, NULL, 0);
    return (uint64_t)value + (uint64_t)counted == record->args[n];
}

static bool same_call(const struct plan_line *line, const struct record *record, int round)
{
    if (strcmp(line->name, record->name) != 0) {
        return false;
    }
    for (int n = 0; line->kind == CALL && n < line->n_args; n++) {
        if (!same_argument(line->args[n], record, n, n == line->repeat_arg ? round : 0)) {
            return false;
        }
    }
    return true;
}

static bool take(struct match *match, size_t *record, const struct plan_line *line, const char *name)
{
    if (*record >= match->n_records || strcmp(match->records[*record]->name, name) != 0) {
        return false;
    }
    match->records[(*record)++]->line = line;
    return true;
}

/* Takes the calls of one line; false: they are others. */
static bool take_line(struct match *match, const struct plan_line *line, size_t *record)
{
    if (line->kind == STAYS || line->kind == JUMPS) {
        return true;
    }
    if (line->kind == ASKS || line->kind == TELLS) {
        /* By futex words where the child becomes the program, by messages where there is an init. */
        if (take(match, record, line, "futex")) {
            while (take(match, record, line, "futex")) {
            }
            return true;
        }
        return take(match, record, line, "sendmsg") && (line->kind == TELLS || take(match, record, line, "recvmsg"));
    }
    for (int round = 0; round < line->repeat; round++) {
        if (*record >= match->n_records || !same_call(line, match->records[*record], round)) {
            return false;
        }
        match->records[*record]->line = line;
        match->records[(*record)++]->round = round;
        if (line->retried == 0) {
            continue;
        }
        while (*record + 1 < match->n_records && strcmp(match->records[*record]->name, "nanosleep") == 0 &&
               same_call(line, match->records[*record + 1], round)) {
            *record += 2;
        }
    }
    return true;
}

static size_t find_step(const struct match *match, const char *list, int step)
{
    size_t n = 0;
    size_t after = 0;
    for (; n < match->n_lines; n++) {
        if (strcmp(match->lines[n]->list, list) == 0) {
            if (match->lines[n]->step == step) {
                return n;
            }
            after = n + 1;
        }
    }
    return after; /* after the list's last step */
}

/* What follows a caught errno is found by trying both ways: the record does not tell results. */
static bool match_from(struct match *match, size_t line, size_t record)
{
    while (line < match->n_lines) {
        const struct plan_line *current = match->lines[line];
        if (record >= match->furthest_record) {
            match->furthest_line = line;
            match->furthest_record = record;
        }
        if (!take_line(match, current, &record)) {
            return false;
        }
        if (current->kind == JUMPS) {
            line = find_step(match, current->list, current->target);
            continue;
        }
        if (current->caught != 0 && match_from(match, find_step(match, current->list, current->target), record)) {
            return true;
        }
        line++;
    }
    return true;
}

static void print_parting(const struct match *match)
{
    const struct plan_line *line = match->lines[match->furthest_line];
    print_error("described: %s step %d, %s: %s(", line->list, line->step, line->location, line->name);
    for (int n = 0; n < line->n_args; n++) {
        print_error("%s%s", n == 0 ? "" : ", ", line->args[n]);
    }
    print_error(")\nthe kernel saw, call %zu of the process:", match->furthest_record);
    for (size_t n = match->furthest_record; n < match->n_records && n < match->furthest_record + 3; n++) {
        const struct record *record = match->records[n];
        print_error(" %s(", record->name);
        for (int arg = 0; arg < 4; arg++) {
            print_error("%#llx%s%s, ", (unsigned long long)record->args[arg], record->readable[arg] ? " " : "", record->text[arg]);
        }
        print_error("...)");
    }
    print_error("\n");
}

bool match_plan(const struct plan *plan, struct record *records, size_t n_records)
{
    static struct match match;
    for (int process = 1; process <= 2; process++) {
        match.n_lines = match.n_records = match.furthest_line = match.furthest_record = 0;
        for (size_t n = 0; n < plan->n_lines; n++) {
            if ((plan->lines[n].list[0] == 'p') == (process == 2)) {
                match.lines[match.n_lines++] = &plan->lines[n];
            }
        }
        for (size_t n = 0; n < n_records; n++) {
            if (records[n].process == process) {
                match.records[match.n_records++] = &records[n];
            }
        }
        if (!match_from(&match, 0, 0)) {
            print_parting(&match);
            return false;
        }
    }
    return true;
}
