/* A runner on trial: settings that must be refused, with a message that names them, and without a trace in
 * the runner. Each trial_test() starts with full_runner() as `trial` and the words of its description. */
#ifndef SBX_TEST_SUPPORT_TRIAL_H
#define SBX_TEST_SUPPORT_TRIAL_H

#include "support.h"

extern sbx_runner *trial;
extern struct sbx_error trial_error;

#define trial_test(function) cmocka_unit_test_setup_teardown(function, trial_begin, trial_end)
int trial_begin(void **state);
int trial_end(void **state);

/* Fails the test unless the call on `trial` returned -`number`, `trial_error` says so with `word` in its
 * message, and `trial` describes itself as before. */
#define refused(result, number, word) check_refused((result), (number), (word), #result, __FILE__, __LINE__)
void check_refused(int result, int number, const char *word, const char *call, const char *file, int line);

/* Text of this many 'x', after a slash or without. Static until the next call but three. */
const char *long_text(size_t length);
const char *long_path(size_t length);

#endif
