/* What the programs that run inside a sandbox share: each argument is one question ("read /etc/hostname"),
 * answered on one line of standard output, in order: "ok", "ok DETAIL", or the name of the errno. */
#ifndef ANSWER_H
#define ANSWER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 8

/* One kind of question: its first word, how many words follow it at least, and who answers. */
struct verb {
    const char *name;
    int words;
    void (*answer)(char **words);
};

/* One write(2) per line: nothing is lost or doubled when the program forks or is killed. */
static inline void say(const char *line)
{
    char text[9000];
    int length = snprintf(text, sizeof text, "%s\n", line);
    if (length >= (int)sizeof text) {
        length = sizeof text - 1;
    }
    if (write(1, text, (size_t)length) != length) {
        _exit(98);
    }
}

__attribute__((format(printf, 1, 2))) static inline void ok(const char *format, ...)
{
    char line[8192] = "ok ";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + 3, sizeof line - 3, format, arguments);
    va_end(arguments);
    if (line[3] == '\0') {
        line[2] = '\0';
    }
    for (char *c = line; *c; c++) {
        if (*c == '\n') {
            *c = c[1] ? ';' : '\0';
        }
    }
    say(line);
}

static inline void failed(void)
{
    const char *name = strerrorname_np(errno);
    say(name ? name : "errno without a name");
}

/* "ok" for 0 or more, else the errno. */
static inline void answer_result(long result)
{
    if (result < 0) {
        failed();
    } else {
        ok("%s", "");
    }
}

static inline void answer_one(const struct verb *verbs, char *question)
{
    char *words[MAX_WORDS + 1] = {0};
    int n = 0;
    for (char *word = strtok(question, " "); word && n < MAX_WORDS; word = strtok(NULL, " ")) {
        words[n++] = word;
    }
    for (const struct verb *verb = verbs; n && verb->name; verb++) {
        if (strcmp(verb->name, words[0]) != 0) {
            continue;
        }
        if (n - 1 < verb->words) {
            say("too few words");
            return;
        }
        verb->answer(words + 1);
        return;
    }
    say("unknown question");
}

/* "exit N" ends the program, "sleep SECONDS" takes its time; everything else is looked up. */
static inline int answer_all(const struct verb *verbs, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "exit ", 5) == 0) {
            return atoi(argv[i] + 5);
        }
        if (strncmp(argv[i], "sleep ", 6) == 0) {
            for (unsigned left = (unsigned)atoi(argv[i] + 6); left > 0;) {
                left = sleep(left);
            }
            continue;
        }
        answer_one(verbs, argv[i]);
    }
    return 0;
}

#endif
