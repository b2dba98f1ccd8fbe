/* Sets of recorded kernels: a folder with one cases.json (shared/golden/quant/README.md says what
 * is in it). A test names the kernels that it can run; all cases are walked, and what runs gives
 * arrays or texts by the names that the case has. */
#ifndef QF_TESTS_RECORDED_H
#define QF_TESTS_RECORDED_H

#include "harness/harness.h"

#include <jansson.h>

enum { RECORDED_OUTPUTS = 12, RECORDED_INPUTS = 12, RECORDED_PATHS = 4 };

/* A case being run, and what it has given so far. */
typedef struct run {
    qf_context *context;
    const char *folder; /* of the set */
    const json_t *test;
    struct {
        const char *name;
        double *values; /* NULL: a text */
        size_t count;
        char *text;
    } given[RECORDED_OUTPUTS];
    int given_count;
    test_array loaded[RECORDED_INPUTS];
    int loaded_count;
    struct { /* paths in sentences, and what the recording has in their place */
        char *path;
        const char *stands_for;
    } paths[RECORDED_PATHS];
    int path_count;
    qf_buffer failures;
} run;

typedef struct kernel {
    const char *name;
    qf_status (*run)(run *r);
    const char *elsewhere; /* recorded outputs that the library has in no such place; without run,
                              the test that runs these cases */
} kernel;

/* Runs every case of golden/<set> whose kernel is in the table and that `applies` (NULL: all do),
 * says which kernels are not, and fails the running test if a case failed. QAFFE_CASE=<part of an
 * id> picks some. */
void test_walk_kernels(const char *set, const kernel *kernels, size_t count,
                       bool (*applies)(const run *r));

/* ---- what a case has ---- */

test_array load(run *r, const json_t *entry); /* qf_free() its data */
test_array *input(run *r, const char *name);
bool has_input(const run *r, const char *name);
char *input_path(const run *r, const char *name); /* qf_free() it; NULL: there is no such input */
const json_t *param_of(const run *r, const char *name);
double number(const run *r, const char *name);
bool flag(const run *r, const char *name);

/* ---- what a kernel gives ---- */

double *give(run *r, const char *name, size_t count); /* zeros */
void give_floats(run *r, const char *name, const float *from, size_t count);
void give_ints(run *r, const char *name, const int32_t *from, size_t count);
void give_text(run *r, const char *name, const char *text);
void give_file(run *r, const char *name, const char *path);
/* A path that sentences may contain; the recording has the other word there. */
void stands_for(run *r, const char *path, const char *word);

#endif
