/* Public functions where an allocation fails: a status and a sentence of memory, nothing of ours
 * that stays allocated, no file that is not complete; or success, with the result that it has where
 * nothing fails. What is tried is in faults/trials_*.c; a function of the header that no trial
 * calls is an error. The commands: scripts/alloc_failures.py. */
#include "base/output.h"
#include "faults/allocations.h"
#include "faults/trials.h"
#include "faults/trials_inputs.h"
#include "public_functions.h"

#include "qaffe/qaffe.h"

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- which functions were called while allocations were counted ---- */

static const char *const functions[] = {PUBLIC_FUNCTIONS};
static bool called[sizeof functions / sizeof *functions];
static bool counting;

void trial_notes(int call)
{
    called[call] |= counting;
}

/* ---- what a trial left in out/ ---- */

static double left_bytes;
static char left_partial[256];

/* LevelDB's own log names files with the time of day. */
static int look_at(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    if (kind == FTW_F && strncmp(path + walk->base, "LOG", 3) != 0)
        left_bytes += (double)info->st_size + 1;
    if (strstr(path, ".partial"))
        snprintf(left_partial, sizeof left_partial, "%s", path);
    return 0;
}

static double look_at_files(void)
{
    left_bytes = 0;
    left_partial[0] = '\0';
    nftw("out", look_at, 16, FTW_PHYS);
    return left_bytes;
}

static void empty_the_folder(void)
{
    test_remove_directory("out");
    assert_int_equal(mkdir("out", 0755), 0);
}

/* ---- trying ---- */

typedef struct outcome {
    qf_status status;
    double result, files;
    size_t allocations, memory;
    char sentence[256];
} outcome;

static outcome try_once(const trial *trial, size_t number)
{
    outcome o = {.result = 0};
    char *spare = test_format("libgomp libdnnl libhdf5 %s", trial->spare ? trial->spare : "");
    qf_context *context = test_context();
    empty_the_folder();
    qf_context_set_threads(context, 2);
    fault_begin(&(fault_plan){.number = number, .spare = spare});
    counting = true;
    o.status = trial->run(context, &o.result);
    counting = false;
    o.allocations = fault_end(NULL);
    o.files = look_at_files();
    snprintf(o.sentence, sizeof o.sentence, "%s", qf_error_text(context));
    qf_context_destroy(context);
    qf_free(spare);
    o.memory = qf_memory_used();
    return o;
}

/* What is wrong with an outcome, as a line; where nothing fails it is `whole`. */
static void judge(const trial *trial, const outcome *o, const outcome *whole, qf_buffer *wrong)
{
    const bool same =
        o->result == whole->result && (trial->loose_files || o->files == whole->files);
    if (left_partial[0])
        qf_buffer_print(wrong, "%s is left behind\n", left_partial);
    else if (o->status != QF_OK && !strstr(o->sentence, "memory"))
        qf_buffer_print(wrong, "status %s, \"%s\"\n", qf_status_name(o->status), o->sentence);
    else if (o->status == QF_OK && !same)
        qf_buffer_print(wrong,
                        "success with the result %.17g and %g bytes of files, not %.17g and %g\n",
                        o->result, o->files, whole->result, whole->files);
    else if (o->memory != whole->memory)
        qf_buffer_print(wrong, "%zu bytes are not given back\n", o->memory - whole->memory);
}

static void try_all(const trial *trial, qf_buffer *wrong)
{
    (void)try_once(trial, 0); /* code is generated, caches are filled */
    const outcome whole = try_once(trial, 0);
    const size_t all = whole.allocations;
    const size_t runs = trial->places ? (size_t)trial->places : TRIAL_PLACES;
    size_t failed = 0;
    qf_buffer line = {0};
    if (whole.status != QF_OK)
        qf_buffer_print(&line, "%s, where nothing fails: %s\n", trial->name, whole.sentence);
    for (size_t i = 0; i < runs && i < all && !line.size; i++) {
        const size_t number = runs < all ? 1 + i * all / runs : i + 1;
        const outcome o = try_once(trial, number);
        qf_buffer found = {0};
        failed += o.status != QF_OK;
        judge(trial, &o, &whole, &found);
        if (found.size)
            qf_buffer_print(&line, "%s, allocation %zu of %zu: %s", trial->name, number, all,
                            qf_buffer_text(&found));
        qf_buffer_release(&found);
    }
    if (!line.size && !failed)
        qf_buffer_print(&line, "%s: none of %zu failing allocations was noticed\n", trial->name,
                        all);
    if (!line.size && try_once(trial, 0).status != QF_OK)
        qf_buffer_print(&line, "%s fails afterwards, too\n", trial->name);
    qf_buffer_append(wrong, line.data, line.size);
    qf_buffer_release(&line);
}

static void try_table(const trial *trials)
{
    qf_buffer wrong = {0};
    for (; trials->name; trials++)
        try_all(trials, &wrong);
    if (wrong.size)
        fail_msg("%s", qf_buffer_text(&wrong));
    qf_buffer_release(&wrong);
}

static void contexts(void **state)
{
    (void)state;
    try_table(trials_of_contexts);
}

static void nets(void **state)
{
    (void)state;
    try_table(trials_of_nets);
}

static void solvers(void **state)
{
    (void)state;
    try_table(trials_of_solvers);
}

static void data_sets(void **state)
{
    (void)state;
    try_table(trials_of_data);
}

static void the_flow(void **state)
{
    (void)state;
    try_table(trials_of_flow);
}

static void the_flow_without_training(void **state)
{
    (void)state;
    try_table(trials_of_calibration);
}

/* Nothing is completed behind this: it is tried at the end, once. */
static void abandoned_outputs(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_output output;
    empty_the_folder();
    assert_ok(context, qf_output_open(context, "out/file", false, 0644, &output));
    (void)look_at_files();
    assert_true(left_partial[0] != '\0');
    fault_begin(&(fault_plan){.number = 1, .all_after = true});
    qf_abandon_outputs();
    fault_end(NULL);
    called[CALL_qf_abandon_outputs] = true;
    (void)look_at_files();
    assert_string_equal(left_partial, "");
}

static void every_public_function(void **state)
{
    qf_buffer missing = {0};
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!called[i])
            qf_buffer_print(&missing, "%s has no row in tests/faults/trials_*.c\n", functions[i]);
    if (missing.size)
        fail_msg("%s", qf_buffer_text(&missing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts),          cmocka_unit_test(nets),
        cmocka_unit_test(solvers),           cmocka_unit_test(data_sets),
        cmocka_unit_test(the_flow),          cmocka_unit_test(the_flow_without_training),
        cmocka_unit_test(abandoned_outputs), cmocka_unit_test(every_public_function),
    };
    return cmocka_run_group_tests(tests, trials_start, trials_stop);
}
