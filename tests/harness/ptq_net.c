/* The net of the tests of calibration, and what a test asks of its models. */
#include "harness/ptq_net.h"

#include "harness/command.h"
#include "harness/fixture.h"
#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>

/* ---- the net ---- */

#define DATA(phase, source)                                                                        \
    "layer { name: 'data' type: 'Data' top: 'x' top: 'label' include { phase: " phase              \
    " } data_param { source: '" source                                                             \
    "' backend: LMDB batch_size: 8 } transform_param { scale: 0.00390625 } }\n"
#define LAYER(name, type, from, to, more)                                                          \
    "layer { name: '" name "' type: '" type "' bottom: '" from "' top: '" to "' " more " }\n"
#define CONVOLUTION(name, from, to, more)                                                          \
    LAYER(name, "Convolution", from, to,                                                           \
          "convolution_param { weight_filler { type: 'msra' } " more " }")
#define NORM(name, from, to) LAYER(name, "BatchNorm", from, to, "")
#define SCALE(name, from, to) LAYER(name, "Scale", from, to, "scale_param { bias_term: true }")
#define RELU(name, blob) LAYER(name, "ReLU", blob, blob, "")
#define SHARING(name, from, to)                                                                    \
    CONVOLUTION(name, from, to,                                                                    \
                "num_output: 4 kernel_size: 3 pad: 1 } param { name: 'shared' } "                  \
                "param { name: 'shared_bias' ")

static const char *const layers[] = {
    "name: 'patterns'",
    DATA("TRAIN", "train_lmdb"),
    DATA("TEST", "test_lmdb"),
    CONVOLUTION("c0", "x", "c0", "num_output: 4 kernel_size: 5 stride: 2"),
    /* For training only: listed in the configuration, and in nobody's way. */
    "layer { name: 'aux' type: 'Convolution' bottom: 'c0' top: 'aux' include { phase: TRAIN } "
    "convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: 'msra' } } }",
    "layer { name: 'quiet' type: 'Silence' bottom: 'aux' include { phase: TRAIN } }",
    NORM("c0_bn", "c0", "c0_bn"),
    SCALE("c0_sc", "c0_bn", "c0_bn"),
    RELU("c0_relu", "c0_bn"),
    /* In front of a convolution without padding. */
    NORM("c1_bn", "c0_bn", "n1"),
    SCALE("c1_sc", "n1", "n1"),
    CONVOLUTION("c1", "n1", "c1", "num_output: 6 kernel_size: 3 bias_term: false"),
    RELU("c1_relu", "c1"),
    CONVOLUTION("c2", "c1", "c2", "num_output: 6 kernel_size: 3 pad: 1 group: 2"),
    NORM("c2_bn", "c2", "c2"),
    /* And with padding: to be left alone. */
    NORM("c3_bn", "c2", "n3"),
    SCALE("c3_sc", "n3", "n3"),
    CONVOLUTION("c3", "n3", "c3", "num_output: 4 kernel_size: 3 pad: 1"),
    LAYER("d", "Deconvolution", "c3", "d",
          "convolution_param { num_output: 4 kernel_size: 2 stride: 2 bias_term: false "
          "weight_filler { type: 'msra' } }"),
    NORM("d_bn", "d", "d"),
    SCALE("d_sc", "d", "d"),
    RELU("d_relu", "d"),
    LAYER("pool", "Pooling", "d", "pool", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }"),
    SHARING("s1", "pool", "s1"),
    SHARING("s2", "s1", "s2"),
    /* Skipped, but folded into; and quantised, but not folded into. */
    CONVOLUTION("c4", "s2", "c4", "num_output: 4 kernel_size: 3"),
    NORM("c4_bn", "c4", "c4"),
    CONVOLUTION("c5", "c4", "c5", "num_output: 4 kernel_size: 1"),
    NORM("c5_bn", "c5", "c5"),
    LAYER("ip", "InnerProduct", "c5", "ip",
          "inner_product_param { num_output: 10 weight_filler { type: 'xavier' } }"),
    NORM("ip_bn", "ip", "ip"),
    SCALE("ip_sc", "ip", "ip"),
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }",
};

static void write_model(const char *path)
{
    qf_buffer text = {0};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        qf_buffer_print(&text, "%s\n", layers[i]);
    test_write_text(context, path, qf_buffer_text(&text));
    qf_buffer_release(&text);
}

#define CALIBRATION                                                                                \
    "batch_num: 2 skip_layers: 'c4' skip_fusion_layers: 'c5' "                                     \
    "override_layer_types { layer_type: 'InnerProduct' calibration_config { hfmg_quantize { "      \
    "num_of_bins: 1024 } } }"

static float varied(size_t i, float lowest, float highest)
{
    return lowest + (highest - lowest) * (float)(i * 7 % 11) / 10;
}

static void fill(qf_blob *blob, float lowest, float highest)
{
    float *values;
    assert_ok(context, qf_blob_mutable_data(blob, &values));
    for (size_t i = 0; i < qf_blob_count(blob); i++)
        values[i] = varied(i, lowest, highest);
}

/* One output of c0 and of c5 has no weights, only a bias, which their scales say nothing about. */
static void clear_channels(qf_net *net)
{
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        const char *name = qf_net_layer_name(net, l);
        float *weights, *bias;
        if (strcmp(name, "c0") != 0 && strcmp(name, "c5") != 0)
            continue;
        qf_blob *blob = qf_net_layer_param(net, l, 0);
        const size_t inner = qf_blob_count(blob) / (size_t)qf_blob_dimension(blob, 0);
        assert_ok(context, qf_blob_mutable_data(blob, &weights));
        assert_ok(context, qf_blob_mutable_data(qf_net_layer_param(net, l, 1), &bias));
        for (size_t i = 0; i < inner; i++)
            weights[2 * inner + i] = 0;
        bias[2] = 0.7f;
    }
}

/* Fillers make weights; statistics and factors are set, so that each channel has its own. */
static void write_weights(const char *model, const char *weights)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, model, QF_TRAIN, 0, NULL, 0, &net));
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        const bool norm = strcmp(qf_net_layer_type(net, l), "BatchNorm") == 0;
        if (!norm && strcmp(qf_net_layer_type(net, l), "Scale") != 0)
            continue;
        fill(qf_net_layer_param(net, l, 0), norm ? -0.2f : -1.2f, norm ? 0.3f : 1.4f);
        fill(qf_net_layer_param(net, l, 1), norm ? 0.4f : -0.3f, norm ? 1.8f : 0.2f);
        if (norm)
            fill(qf_net_layer_param(net, l, 2), 2, 2);
    }
    clear_channels(net);
    assert_ok(context, qf_net_save_weights(net, weights));
    qf_net_destroy(net);
}

int test_ptq_start(void **state)
{
    test_start_in_folder(state);
    qf_context_set_seed(context, 5);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 32, 32, 1));
    write_model("net.prototxt");
    test_write_text(context, "calibration.cfg", CALIBRATION);
    write_weights("net.prototxt", "net.caffemodel");
    qf_quant_options options = {.size = sizeof options};
    qf_quant_set_defaults(&options);
    options.config_definition = "calibration.cfg";
    assert_ok(context, qf_create_quant_config(context, "config.json", "net.prototxt",
                                              "net.caffemodel", &options));
    return 0;
}

/* ---- the steps ---- */

qf_status test_ptq_init(const char *config, const char *record, qf_quant_graph **graph)
{
    return qf_quant_init(context, config, "net.prototxt", "net.caffemodel", record, graph);
}

void test_ptq_prepare(const char *config)
{
    qf_quant_graph *graph;
    assert_ok(context, test_ptq_init(config, "record.txt", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    qf_quant_graph_destroy(graph);
}

/* The output of the test set's first batch. */
static float *outputs(const char *model, const char *weights, size_t *count)
{
    qf_net *net;
    const float *values;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, weights));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_blob *blob = qf_net_blob(net, "ip");
    assert_ok(context, qf_blob_data(blob, &values));
    *count = qf_blob_count(blob);
    float *copy = qf_alloc(*count, sizeof *copy);
    memcpy(copy, values, *count * sizeof *copy);
    qf_net_destroy(net);
    return copy;
}

static double difference(const float *a, const float *b, size_t count)
{
    double error = 0, signal = 0;
    for (size_t i = 0; i < count; i++) {
        error += (double)((a[i] - b[i]) * (a[i] - b[i]));
        signal += (double)(a[i] * a[i]);
    }
    return sqrt(error / signal);
}

void test_ptq_is_close(const char *model, const char *weights, double limit)
{
    size_t count, same;
    float *before = outputs("net.prototxt", "net.caffemodel", &count);
    float *after = outputs(model, weights, &same);
    assert_int_equal(count, same);
    const double lost = difference(before, after, count);
    if (!(lost <= limit) || lost == 0)
        fail_msg("%s differs by %g from the float net, at most %g is expected", model, lost, limit);
    qf_free(before);
    qf_free(after);
}

Caffe__NetParameter *test_ptq_net(const char *model, const char *weights)
{
    Caffe__NetParameter *net;
    assert_ok(context, model ? qf_net_param_read(context, model, &net)
                             : qf_net_param_read_binary(context, weights, &net));
    return net;
}

const Caffe__LayerParameter *test_ptq_layer(const Caffe__NetParameter *net, const char *name)
{
    const int index = qf_graph_find(net, name);
    if (index == QF_NONE)
        fail_msg("there is no layer %s", name);
    return net->layer[index];
}

bool test_ptq_has(const Caffe__NetParameter *net, const char *name)
{
    return qf_graph_find(net, name) != QF_NONE;
}

static bool measures(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "IFMR") || qf_layer_is(layer, "HFMG") ||
           qf_layer_is(layer, "SearchN");
}

/* The calibration model without what calibrates. */
void test_ptq_without_measuring(const char *from, const char *to)
{
    Caffe__NetParameter *net = test_ptq_net(from, NULL);
    for (int i = (int)net->n_layer - 1; i >= 0; i--)
        if (measures(net->layer[i]))
            qf_graph_remove(net, i);
    assert_ok(context, qf_text_write(context, to, net, 0640));
    qf_message_free(net);
}

/* ---- a record ---- */

static void limits_of(qf_net *net, const char *blob, float *low, float *high)
{
    const float *values;
    qf_blob *found = qf_net_blob(net, blob);
    assert_ok(context, qf_blob_data(found, &values));
    *low = *high = 0;
    for (size_t i = 0; i < qf_blob_count(found); i++) {
        *low = fminf(*low, values[i]);
        *high = fmaxf(*high, values[i]);
    }
}

static void give_factors(qf_net *net, const Caffe__LayerParameter *layer, bool shifts,
                         qf_record_entry *entry)
{
    int shift[16];
    float low, high, smallest = INFINITY;
    limits_of(net, layer->bottom[0], &low, &high);
    entry->has_scale_d = entry->has_offset_d = true;
    entry->scale_d = (high - low) / 255;
    entry->offset_d = (int)(-128 - roundf(low / entry->scale_d));
    limits_of(net, layer->top[0], &low, &high);
    for (size_t c = 0; c < entry->n_scale_w; c++)
        smallest = fminf(smallest, entry->scale_d * entry->scale_w[c]);
    for (size_t c = 0; c < entry->n_scale_w; c++) {
        shift[c] = 1 + (int)c % 2;
        while (fmaxf(high, -low) / smallest > (float)(32767 << shift[c]))
            shift[c]++;
    }
    if (shifts && !qf_layer_is(layer, "Pooling"))
        assert_ok(context, qf_record_set_shifts(context, entry, shift, entry->n_scale_w));
}

/* What calibration would leave, if its ranges were just those of the first batch. */
void test_ptq_fill_record(const char *path, bool shifts)
{
    qf_net *net;
    qf_record *record;
    test_ptq_without_measuring("cal.prototxt", "quiet.prototxt");
    Caffe__NetParameter *model = test_ptq_net("quiet.prototxt", NULL);
    assert_ok(context, qf_net_create(context, "quiet.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "cal.caffemodel"));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    for (size_t i = 0; i < record->n_record; i++)
        give_factors(net, test_ptq_layer(model, record->record[i]->key), shifts,
                     record->record[i]->value);
    assert_ok(context, qf_record_write(context, path, record));
    qf_message_free(record);
    qf_message_free(model);
    qf_net_destroy(net);
}

void test_ptq_verify(const char *prefix)
{
    qf_verification *found;
    assert_ok(context, qf_verify(context, prefix, NULL, 2, NULL, NULL, NULL, &found));
    assert_int_equal(found->differing, 0);
    assert_true(found->compared > 1000);
    qf_verification_destroy(found);
}
