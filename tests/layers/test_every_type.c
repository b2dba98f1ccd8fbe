/* A net with a layer of every type goes through config, prepare and export: what is quantised is,
 * and all else is written as it was, parameters, weights and all. */
#include "harness/every_type.h"
#include "harness/fixture.h"
#include "net/net.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the net ---- */

static const test_type *row_named(const char *name)
{
    const test_type *found = NULL;
    for (const test_type *row = test_types; row < test_types + test_type_count; row++) {
        char *its = test_type_name(row);
        found = strcmp(its, name) == 0 ? row : found;
        qf_free(its);
    }
    return found;
}

static void print_row(qf_buffer *out, const test_type *row, bool reads_others)
{
    bool reads = false;
    for (int b = 0; b < TEST_TYPE_BOTTOMS_MAX && row->bottoms[b]; b++)
        reads |= row->bottoms[b][0] == '@';
    if (row->kind == TEST_OF_THE_FLOW || reads != reads_others)
        return;
    char *name = test_type_name(row);
    for (int b = 0; b < TEST_TYPE_BOTTOMS_MAX && row->bottoms[b]; b++)
        if (row->bottoms[b][0] != '@')
            test_print_bottom(out, name, b, row->bottoms[b]);
    qf_buffer_print(out, "layer { name: '%s' type: '%s' %s", name, row->type, row->param);
    for (int b = 0; b < TEST_TYPE_BOTTOMS_MAX && row->bottoms[b]; b++) {
        if (row->bottoms[b][0] == '@')
            qf_buffer_print(out, " bottom: '%s_out0'", row->bottoms[b] + 1);
        else
            qf_buffer_print(out, " bottom: '%s_in%d'", name, b);
    }
    for (int t = 0; t < row->tops; t++)
        qf_buffer_print(out, " top: '%s_out%d'", name, t);
    qf_buffer_print(out, row->kind == TEST_ASLEEP ? " include { stage: 'never' } }\n" : " }\n");
    qf_free(name);
}

static void write_net(const char *path)
{
    qf_buffer text = {0};
    qf_buffer_print(&text, "name: 'every type'\n");
    for (int second = 0; second < 2; second++)
        for (const test_type *row = test_types; row < test_types + test_type_count; row++)
            print_row(&text, row, second);
    assert_ok(context, qf_file_write(context, path, qf_buffer_text(&text), text.size, 0640));
    qf_buffer_release(&text);
}

/* Builds a net, takes the weights, runs some passes, writes the weights. */
static void run(const char *model, qf_phase phase, const char *weights, const char *trained)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, model, phase, 0, NULL, 0, &net));
    if (weights)
        assert_ok(context, qf_net_load_weights(net, weights));
    for (int pass = 0; pass < 3; pass++)
        assert_ok(context, qf_net_forward(net, NULL));
    if (trained)
        assert_ok(context, qf_net_save_weights(net, trained));
    qf_net_destroy(net);
}

/* ---- comparing ---- */

static const Caffe__LayerParameter *find(const Caffe__NetParameter *net, const char *name)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (strcmp(net->layer[i]->name, name) == 0)
            return net->layer[i];
    return NULL;
}

static bool same(const void *a, const void *b)
{
    const size_t size = protobuf_c_message_get_packed_size(a);
    uint8_t *bytes[2] = {qf_alloc(size, 1), qf_alloc(size, 1)};
    bool equal = size == protobuf_c_message_get_packed_size(b);
    if (equal) {
        protobuf_c_message_pack(a, bytes[0]);
        protobuf_c_message_pack(b, bytes[1]);
        equal = memcmp(bytes[0], bytes[1], size) == 0;
    }
    qf_free(bytes[0]);
    qf_free(bytes[1]);
    return equal;
}

/* Is each layer that should be in `path` the one in `original`? Layers that are asleep are in
 * models for training only: exported models hold what a TEST pass runs. */
static void compare(const char *original, const char *path, bool exported)
{
    Caffe__NetParameter *before, *after;
    assert_ok(context, qf_net_param_read(context, original, &before));
    assert_ok(context, qf_net_param_read(context, path, &after));
    for (size_t i = 0; i < before->n_layer; i++) {
        const Caffe__LayerParameter *layer = before->layer[i], *now = find(after, layer->name);
        const test_type *row = row_named(layer->name);
        if (row && row->kind == TEST_ASLEEP && exported) {
            assert_null(now);
            continue;
        }
        if (!now)
            fail_msg("%s has no layer %s", path, layer->name);
        if (row && row->kind == TEST_QUANTISED ? same(layer, now) : !same(layer, now))
            fail_msg("%s: the layer %s is %s", path, layer->name,
                     row && row->kind == TEST_QUANTISED ? "untouched" : "not what it was");
    }
    qf_message_free(before);
    qf_message_free(after);
}

/* Are the weights of each layer that is not quantised the same? */
static void compare_weights(const char *original, const char *path)
{
    Caffe__NetParameter *before, *after;
    size_t compared = 0;
    assert_ok(context, qf_net_param_read_binary(context, original, &before));
    assert_ok(context, qf_net_param_read_binary(context, path, &after));
    for (size_t i = 0; i < before->n_layer; i++) {
        const Caffe__LayerParameter *layer = before->layer[i], *now = find(after, layer->name);
        const test_type *row = row_named(layer->name);
        if (!row || row->kind != TEST_FLOAT || layer->n_blobs == 0)
            continue;
        if (!now || now->n_blobs != layer->n_blobs)
            fail_msg("%s lacks weights of %s", path, layer->name);
        for (size_t k = 0; k < layer->n_blobs; k++, compared++)
            if (!same(layer->blobs[k], now->blobs[k]))
                fail_msg("%s: weights of %s changed", path, layer->name);
    }
    assert_true(compared > 20);
    qf_message_free(before);
    qf_message_free(after);
}

/* ---- tests ---- */

static void every_type_is_listed(void **state)
{
    (void)state;
    for (const qf_layer_type *const *type = qf_layer_types; *type; type++) {
        bool listed = false;
        for (const test_type *row = test_types; row < test_types + test_type_count; row++)
            listed |= strcmp(row->type, (*type)->name) == 0;
        if (!listed)
            fail_msg("list the type %s in tests/harness/every_type.c", (*type)->name);
    }
}

static void check_exported(const char *weights)
{
    compare("net.prototxt", "out_fake_quant_model.prototxt", true);
    compare("net.prototxt", "out_deploy_model.prototxt", true);
    compare_weights(weights, "out_fake_quant_weights.caffemodel");
    compare_weights(weights, "out_deploy_weights.caffemodel");
    run("out_fake_quant_model.prototxt", QF_TEST, "out_fake_quant_weights.caffemodel", NULL);
    run("out_deploy_model.prototxt", QF_TEST, "out_deploy_weights.caffemodel", NULL);
}

static void what_is_not_quantised_is_untouched(void **state)
{
    (void)state;
    write_net("net.prototxt");
    run("net.prototxt", QF_TRAIN, NULL, "net.caffemodel");
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "net.caffemodel", NULL));
    assert_ok(context, qf_create_quant_retrain_model(context, "net.prototxt", "net.caffemodel",
                                                     "config.json", "modified.prototxt",
                                                     "modified.caffemodel", "record.txt"));
    compare("net.prototxt", "modified.prototxt", false);
    compare_weights("net.caffemodel", "modified.caffemodel");

    run("modified.prototxt", QF_TRAIN, "modified.caffemodel", "trained.caffemodel");
    run("modified.prototxt", QF_TEST, "trained.caffemodel", NULL);
    assert_ok(context,
              qf_save_quant_retrain_model(context, "modified.prototxt", "trained.caffemodel",
                                          QF_SAVE_BOTH, "out", "record.txt", "config.json"));
    check_exported("trained.caffemodel");
}

/* The same without training. */
static void nor_by_calibration(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    write_net("net.prototxt");
    run("net.prototxt", QF_TRAIN, NULL, "net.caffemodel");
    assert_ok(context, qf_create_quant_config(context, "config.json", "net.prototxt",
                                              "net.caffemodel", NULL));
    assert_ok(context, qf_quant_init(context, "config.json", "net.prototxt", "net.caffemodel",
                                     "record.txt", &graph));
    assert_ok(context,
              qf_quantize_model(context, graph, "calibration.prototxt", "calibration.caffemodel"));
    compare_weights("net.caffemodel", "calibration.caffemodel");

    run("calibration.prototxt", QF_TEST, "calibration.caffemodel", NULL);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "out"));
    qf_quant_graph_destroy(graph);
    check_exported("net.caffemodel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_listed),
        cmocka_unit_test(what_is_not_quantised_is_untouched),
        cmocka_unit_test(nor_by_calibration),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
