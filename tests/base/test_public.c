/* The public interface as programs of other versions meet it, options that begin with their size,
 * and as careless ones do: indices that there are not. */
#include "harness/command.h"
#include "harness/fixture.h"

#include <limits.h>
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

/* ---- indices ---- */

static const int never[] = {-1, INT_MIN, INT_MAX, INT_MAX - 1};

/* Each number that is no index of `count` things. */
#define FOR_NO_INDEX(index, count)                                                                 \
    for (int turn_ = -1, index = (count);                                                          \
         turn_ < (int)(sizeof never / sizeof *never) && (turn_ < 0 || (index = never[turn_], 1));  \
         turn_++)

static void no_layer(qf_net *net, int layer)
{
    assert_null(qf_net_layer_name(net, layer));
    assert_null(qf_net_layer_type(net, layer));
    assert_null(qf_net_layer_python_state(net, layer));
    assert_null(qf_net_layer_param(net, layer, 0));
    assert_int_equal(qf_net_layer_param_count(net, layer), 0);
    assert_int_equal(qf_net_layer_bottom_count(net, layer), 0);
    assert_int_equal(qf_net_layer_bottom(net, layer, 0), -1);
    assert_int_equal(qf_net_layer_top_count(net, layer), 0);
    assert_int_equal(qf_net_layer_top(net, layer, 0), -1);
    assert_int_equal(qf_net_layer_ran_until(net, layer), layer);
    for (int backward = 0; backward < 2; backward++) {
        assert_true(qf_net_layer_seconds(net, layer, backward) == 0);
        assert_int_equal(qf_net_layer_uploaded(net, layer, backward), 0);
        assert_int_equal(qf_net_layer_downloaded(net, layer, backward), 0);
    }
    assert_fails(context, qf_net_forward_range(net, layer, layer, NULL), "layers 0 to 3");
    assert_fails(context, qf_net_backward_range(net, layer, layer), "layers 0 to 3");
}

static void no_blob(qf_net *net, int blob)
{
    assert_null(qf_net_blob_name(net, blob));
    assert_null(qf_net_blob_at(net, blob));
    assert_true(qf_net_loss_weight(net, blob) == 0);
}

static void nets_have_no_such_thing(void **state)
{
    (void)state;
    qf_solver *solver;
    qf_solver_options options = {.size = sizeof options};
    assert_ok(context, make_solver(&options, &solver));
    qf_net *net = qf_solver_net(solver);
    assert_int_equal(qf_net_layer_count(net), 4); /* a Split */
    FOR_NO_INDEX(i, qf_net_layer_count(net)) no_layer(net, i);
    FOR_NO_INDEX(i, qf_net_blob_count(net)) no_blob(net, i);
    FOR_NO_INDEX(i, qf_net_input_count(net)) assert_int_equal(qf_net_input(net, i), -1);
    FOR_NO_INDEX(i, qf_net_output_count(net)) assert_int_equal(qf_net_output(net, i), -1);
    FOR_NO_INDEX(i, qf_solver_test_net_count(solver)) assert_null(qf_solver_test_net(solver, i));
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        FOR_NO_INDEX(i, qf_net_layer_param_count(net, l))
        assert_null(qf_net_layer_param(net, l, i));
        FOR_NO_INDEX(i, qf_net_layer_bottom_count(net, l))
        assert_int_equal(qf_net_layer_bottom(net, l, i), -1);
        FOR_NO_INDEX(i, qf_net_layer_top_count(net, l))
        assert_int_equal(qf_net_layer_top(net, l, i), -1);
    }
    qf_blob *blob = qf_net_blob_at(net, 0);
    assert_int_equal(qf_blob_dimension(blob, 2), 1);
    assert_int_equal(qf_blob_dimension(blob, -3), 1);
    assert_int_equal(qf_blob_dimension(blob, INT_MAX), 1);
    assert_int_equal(qf_blob_dimension(blob, INT_MIN), 1);
    FOR_NO_INDEX(i, 33)
    assert_fails(context, qf_blob_reshape(blob, (const int[]){1}, i), "32 axes");
    qf_solver_destroy(solver);
}

static void lists_end(void **state)
{
    (void)state;
    uint64_t number, total;
    const char *unit;
    int types = 0, limits = 0;
    while (qf_layer_type_name(types))
        types++;
    while (qf_limit_describe(limits, &number, &unit))
        limits++;
    FOR_NO_INDEX(i, types) assert_null(qf_layer_type_name(i));
    FOR_NO_INDEX(i, limits) assert_null(qf_limit_describe(i, &number, &unit));
    FOR_NO_INDEX(i, qf_device_count())
    {
        assert_null(qf_device_name(i));
        assert_null(qf_device_description(i));
        assert_false(qf_device_memory(i, &number, &total));
    }
}

static void scores_end(void **state)
{
    (void)state;
    qf_scores *scores = NULL;
    qf_net *net;
    test_write_text(context, "net.prototxt",
                    "layer { name: 'in' type: 'DummyData' top: 'x' dummy_data_param { shape { dim: "
                    "2 } } }");
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_test(net, 1, NULL, NULL, NULL, &scores));
    assert_int_equal(qf_scores_count(scores), 2);
    FOR_NO_INDEX(i, qf_scores_count(scores))
    {
        assert_null(qf_scores_name(scores, i));
        assert_true(qf_scores_value(scores, i) == 0);
        assert_int_equal(qf_scores_better(scores, i), 0);
    }
    qf_scores_destroy(scores);
    qf_net_destroy(net);
}

/* What a layer of the user's asks about itself. */
static qf_status setup(void *user, qf_layer *layer, void **own)
{
    (void)own;
    FOR_NO_INDEX(i, qf_layer_bottom_count(layer))
    {
        assert_null(qf_layer_bottom(layer, i));
        assert_false(qf_layer_propagates(layer, i));
    }
    FOR_NO_INDEX(i, qf_layer_top_count(layer)) assert_null(qf_layer_top(layer, i));
    FOR_NO_INDEX(i, qf_layer_blob_count(layer)) assert_null(qf_layer_blob(layer, i));
    assert_fails(context, qf_layer_add_blob(layer, (const int[]){1}, INT_MAX), "32 axes");
    *(bool *)user = true;
    return QF_OK;
}

static qf_status reshape(void *user, qf_layer *layer, void *own)
{
    (void)user, (void)own;
    return qf_blob_reshape(qf_layer_top(layer, 0), (const int[]){2}, 1);
}

static void destroy(void *user, void *own)
{
    (void)user, (void)own;
}

static void layers_have_no_such_blob(void **state)
{
    (void)state;
    static const qf_python_layers layers = {sizeof layers, setup,   reshape, reshape,
                                            reshape,       destroy, NULL};
    qf_net *net;
    bool asked = false;
    test_write_text(context, "net.prototxt",
                    "layer { name: 'p' type: 'Python' top: 'x' python_param { module: 'm' layer: "
                    "'L' } }");
    assert_ok(context, qf_context_set_python_layers(context, &layers, &asked));
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_true(asked);
    qf_net_destroy(net);
    assert_ok(context, qf_context_set_python_layers(context, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_version_is_that_of_the_header),
        cmocka_unit_test(a_size_that_was_not_set_is_told),
        cmocka_unit_test(options_of_an_older_header_keep_the_defaults),
        cmocka_unit_test(options_of_a_newer_header_may_not_be_used),
        cmocka_unit_test(sizes_can_be_asked),
        cmocka_unit_test(nets_have_no_such_thing),
        cmocka_unit_test(lists_end),
        cmocka_unit_test(scores_end),
        cmocka_unit_test(layers_have_no_such_blob),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
