/* The public interface as programs of other versions meet it: options that begin with their size.
 */
#include "harness/command.h"
#include "harness/fixture.h"

#include <stdio.h>
#include <string.h>

static void the_version_is_that_of_the_header(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", QF_VERSION_MAJOR, QF_VERSION_MINOR, QF_VERSION_PATCH);
    assert_string_equal(qf_version(), text);
    assert_string_equal(qf_version(), QF_VERSION_STRING);
    assert_int_equal(qf_version_number(), QF_VERSION_NUMBER);
}

/* ---- options ---- */

#define SOLVER                                                                                     \
    "base_lr: 0.1 lr_policy: 'fixed' max_iter: 1 type: 'SGD' snapshot_after_train: false "         \
    "net_param { layer { name: 'in' type: 'DummyData' top: 'x' dummy_data_param { shape { dim: 2 " \
    "dim: 3 } } } layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' "                   \
    "inner_product_param { num_output: 2 } } layer { name: 'loss' type: 'EuclideanLoss' bottom: "  \
    "'y' bottom: 'y' top: 'loss' } }"

static qf_status make_solver(const void *options, qf_solver **out)
{
    test_write_text(context, "solver.prototxt", SOLVER);
    return qf_solver_create_with(context, "solver.prototxt", options, out);
}

static void a_size_that_was_not_set_is_told(void **state)
{
    (void)state;
    qf_solver *solver;
    qf_qat_result *result;
    qf_solver_options options = {0};
    assert_fails(context, make_solver(&options, &solver),
                 "qf_solver_options.size is 0: begin with `qf_solver_options options = {.size = "
                 "sizeof options};`");
    assert_null(solver);
    options.size = (size_t)-1;
    assert_fails(context, make_solver(&options, &solver), "qf_solver_options.size is ");
    assert_fails(context, qf_convert_imageset(context, "l", "", "d", &(qf_imageset_options){0}),
                 "qf_imageset_options.size is 0");
    assert_fails(context, qf_qat_run(context, &(qf_qat_options){0}, NULL, NULL, NULL, &result),
                 "qf_qat_options.size is 0");
    assert_fails(context, qf_context_set_python_layers(context, &(qf_python_layers){0}, NULL),
                 "qf_python_layers.size is 0");
    assert_ok(context, qf_context_set_python_layers(context, NULL, NULL));
}

/* What follows the fields of its time is not the program's to set. */
static void options_of_an_older_header_keep_the_defaults(void **state)
{
    (void)state;
    qf_solver *solver;
    qf_qat_result *result;
    qf_solver_options old = {.size = offsetof(qf_solver_options, weights), .type = "Adam"};
    old.weights = "a pointer to nowhere";
    assert_ok(context, make_solver(&old, &solver));
    assert_non_null(strstr(qf_solver_settings(solver), "type: \"Adam\""));
    qf_solver_destroy(solver);

    qf_qat_options options = {.size = offsetof(qf_qat_options, save_path), .base_lr = -1};
    qf_qat_set_defaults(&options);
    assert_true(options.base_lr == -1); /* beyond the size */
    options.model = "no.prototxt";
    options.weights = "no.caffemodel";
    assert_fails(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result), "no.prototxt");
    qf_qat_result_destroy(result);
}

static void options_of_a_newer_header_may_not_be_used(void **state)
{
    (void)state;
    struct {
        qf_solver_options known;
        const char *later;
    } options = {{.size = sizeof options, .type = "Adam"}, NULL};
    qf_solver *solver;
    assert_ok(context, make_solver(&options, &solver));
    qf_solver_destroy(solver);
    options.later = "set";
    assert_fails(context, make_solver(&options, &solver),
                 "qf_solver_options has fields that this library, version " QF_VERSION_STRING
                 ", does not know");
}

/* ---- structs that the library makes ---- */

static void sizes_can_be_asked(void **state)
{
    (void)state;
    assert_int_equal(qf_struct_size("qf_qat_result"), sizeof(qf_qat_result));
    assert_int_equal(qf_struct_size("qf_plan_row"), sizeof(qf_plan_row));
    assert_int_equal(qf_struct_size("qf_net"), 0); /* nobody's business */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_version_is_that_of_the_header),
        cmocka_unit_test(a_size_that_was_not_set_is_told),
        cmocka_unit_test(options_of_an_older_header_keep_the_defaults),
        cmocka_unit_test(options_of_a_newer_header_may_not_be_used),
        cmocka_unit_test(sizes_can_be_asked),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
