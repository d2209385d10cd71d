/* See support_trial.h. */
#include "support_trial.h"

#include <errno.h>
#include <string.h>

sbx_runner *trial;
struct sbx_error trial_error;
static char *as_before;

int trial_begin(void **state)
{
    host_before(state);
    memset(&trial_error, 0, sizeof trial_error);
    trial_error.size = sizeof trial_error;
    trial = full_runner();
    as_before = describe(trial, NULL);
    return 0;
}

int trial_end(void **state)
{
    test_free(as_before);
    sbx_runner_free(trial);
    return host_after(state);
}

void check_refused(int result, int number_wanted, const char *word, const char *call, const char *file, int line)
{
    check_error(result, number_wanted, &trial_error, call, file, line);
    if (strstr(trial_error.message, word) == NULL) {
        print_error("%s\n  the message does not say \"%s\": %s\n", call, word, trial_error.message);
        _fail(file, line);
    }
    if (trial_error.blame != (number_wanted == ENOMEM ? SBX_BLAME_TRANSIENT : SBX_BLAME_CALLER)) {
        print_error("%s\n  blames %s\n", call, sbx_blame_name(trial_error.blame));
        _fail(file, line);
    }
    char *now = describe(trial, NULL);
    if (strcmp(now, as_before) != 0) {
        print_error("%s\n  has changed the runner:\n--- before\n%s--- after\n%s", call, as_before, now);
        _fail(file, line);
    }
    test_free(now);
}

static char *next_buffer(void)
{
    static char buffers[4][8192];
    static unsigned next;
    return buffers[next++ % 4];
}

const char *long_text(size_t length)
{
    char *text = next_buffer();
    assert_true(length < 8192);
    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

const char *long_path(size_t length)
{
    char *text = next_buffer();
    assert_true(length < 8192);
    /* Each name is short: only the whole is too long. */
    for (size_t i = 0; i < length; i++) {
        text[i] = i % 100 == 0 ? '/' : 'x';
    }
    text[length] = '\0';
    return text;
}
