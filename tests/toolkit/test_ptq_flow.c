/* Calibration without training, from the configuration to the models, on a net that has every
 * pattern of folding; and what each step says to bad input. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/record.h"
#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

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
#define SHARED "param { name: 'shared' } param { name: 'shared_bias' } "

#define NET                                                                                        \
    "name: 'patterns'\n" DATA("TRAIN", "train_lmdb") DATA("TEST", "test_lmdb") CONVOLUTION(        \
        "c0", "x", "c0", "num_output: 4 kernel_size: 5 stride: 2") NORM("c0_bn", "c0", "c0_bn")    \
        SCALE("c0_sc", "c0_bn", "c0_bn") LAYER("c0_relu", "ReLU", "c0_bn", "c0_bn", "") NORM(      \
            "c1_bn", "c0_bn", "n1") SCALE("c1_sc", "n1", "n1")                                     \
            CONVOLUTION("c1", "n1", "c1", "num_output: 6 kernel_size: 3 bias_term: false") LAYER(  \
                "c1_relu", "ReLU", "c1", "c1",                                                     \
                "") CONVOLUTION("c2", "c1", "c2", "num_output: 6 kernel_size: 3 pad: 1 group: 2")  \
                NORM("c2_bn", "c2", "c2") NORM("c3_bn", "c2", "n3") SCALE("c3_sc", "n3", "n3")     \
                    CONVOLUTION("c3", "n3", "c3", "num_output: 4 kernel_size: 3 pad: 1") LAYER(    \
                        "d", "Deconvolution", "c3", "d",                                           \
                        "convolution_param { num_output: 4 kernel_size: 2 "                        \
                        "stride: 2 bias_term: false weight_filler { type: 'msra' } }")             \
                        NORM("d_bn", "d", "d") SCALE("d_sc", "d", "d") LAYER(                      \
                            "d_relu", "ReLU", "d", "d",                                            \
                            "") LAYER("pool", "Pooling", "d", "pool",                              \
                                      "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")      \
                            LAYER("s1", "Convolution", "pool", "s1",                               \
                                  SHARED "convolution_param { num_output: 4 "                      \
                                         "kernel_size: 3 pad: 1 weight_filler { type: 'msra' } }") \
                                LAYER("s2", "Convolution", "s1", "s2",                             \
                                      SHARED                                                       \
                                      "convolution_param { num_output: 4 "                         \
                                      "kernel_size: 3 pad: 1 weight_filler { type: 'msra' } }")    \
                                    CONVOLUTION("c4", "s2", "c4", "num_output: 4 kernel_size: 3")  \
                                        NORM("c4_bn", "c4", "c4") CONVOLUTION(                     \
                                            "c5", "c4", "c5", "num_output: 4 kernel_size: 1")      \
                                            NORM("c5_bn", "c5", "c5")                              \
                                                LAYER("ip", "InnerProduct", "c5", "ip",            \
                                                      "inner_product_param { num_output: 10 "      \
                                                      "weight_filler { type: 'xavier' } }")        \
                                                    NORM("ip_bn", "ip", "ip") SCALE(               \
                                                        "ip_sc", "ip",                             \
                                                        "ip") "layer { name: 'loss' type: "        \
                                                              "'SoftmaxWithLoss' bottom: 'ip' "    \
                                                              "bottom: 'label' top: 'loss' }"

#define CALIBRATION                                                                                \
    "batch_num: 2 skip_layers: 'c4' skip_fusion_layers: 'c5' "                                     \
    "override_layer_types { layer_type: 'InnerProduct' calibration_config { hfmg_quantize { "      \
    "num_of_bins: 1024 } } }"

/* ---- helpers ---- */

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

/* Fillers make weights; statistics and factors are set, so that each channel has its own. */
static void write_weights(const char *model, const char *weights)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        const bool norm = strcmp(qf_net_layer_type(net, l), "BatchNorm") == 0;
        if (!norm && strcmp(qf_net_layer_type(net, l), "Scale") != 0)
            continue;
        fill(qf_net_layer_param(net, l, 0), norm ? -0.2f : -1.2f, norm ? 0.3f : 1.4f);
        fill(qf_net_layer_param(net, l, 1), norm ? 0.4f : -0.3f, norm ? 1.8f : 0.2f);
        if (norm)
            fill(qf_net_layer_param(net, l, 2), 2, 2);
    }
    assert_ok(context, qf_net_save_weights(net, weights));
    qf_net_destroy(net);
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    qf_context_set_seed(context, 5);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 32, 32, 1));
    test_write_text(context, "net.prototxt", NET);
    test_write_text(context, "calibration.cfg", CALIBRATION);
    write_weights("net.prototxt", "net.caffemodel");
    qf_quant_options options = {.size = sizeof options};
    qf_quant_set_defaults(&options);
    options.config_definition = "calibration.cfg";
    assert_ok(context, qf_create_quant_config(context, "config.json", "net.prototxt",
                                              "net.caffemodel", &options));
    return 0;
}

static qf_status init(const char *config, const char *record, qf_quant_graph **graph)
{
    return qf_quant_init(context, config, "net.prototxt", "net.caffemodel", record, graph);
}

static void prepare(const char *config)
{
    qf_quant_graph *graph;
    assert_ok(context, init(config, "record.txt", &graph));
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

static Caffe__NetParameter *read_net(const char *model, const char *weights)
{
    Caffe__NetParameter *net;
    assert_ok(context, model ? qf_net_param_read(context, model, &net)
                             : qf_net_param_read_binary(context, weights, &net));
    return net;
}

static const Caffe__LayerParameter *layer_of(const Caffe__NetParameter *net, const char *name)
{
    const int index = qf_graph_find(net, name);
    if (index == QF_NONE)
        fail_msg("there is no layer %s", name);
    return net->layer[index];
}

static bool has(const Caffe__NetParameter *net, const char *name)
{
    return qf_graph_find(net, name) != QF_NONE;
}

static bool measures(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "IFMR") || qf_layer_is(layer, "HFMG") ||
           qf_layer_is(layer, "SearchN");
}

/* The calibration model without what calibrates. */
static void write_quiet_model(const char *from, const char *to)
{
    Caffe__NetParameter *net = read_net(from, NULL);
    for (int i = (int)net->n_layer - 1; i >= 0; i--)
        if (measures(net->layer[i]))
            qf_graph_remove(net, i);
    assert_ok(context, qf_text_write(context, to, net, 0640));
    qf_message_free(net);
}

/* ---- the calibration model ---- */

static void only_what_may_be_folded_is(void **state)
{
    (void)state;
    static const char *const folded[] = {"c0_bn", "c0_sc", "c1_bn", "c1_sc", "c2_bn",
                                         "d_bn",  "d_sc",  "c4_bn", "ip_bn", "ip_sc"};
    static const char *const kept[] = {"c3_bn", "c3_sc", "c5_bn"};
    prepare("config.json");
    Caffe__NetParameter *net = read_net("cal.prototxt", NULL);
    for (size_t i = 0; i < sizeof folded / sizeof *folded; i++)
        assert_false(has(net, folded[i]));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(has(net, kept[i]));
    assert_string_equal(layer_of(net, "c1")->bottom[0], "c0_bn");
    assert_string_equal(layer_of(net, "c0")->top[0], "c0_bn");
    assert_false(layer_of(net, "c4")->n_param); /* folded, so its own */
    assert_true(layer_of(net, "s1")->n_param);
    qf_message_free(net);
}

static void what_measures_stands_beside_its_layer(void **state)
{
    (void)state;
    static const char *const layers[] = {"c0", "c1", "c2", "c3", "d", "pool", "s1", "s2", "c5"};
    prepare("config.json");
    Caffe__NetParameter *net = read_net("cal.prototxt", NULL);
    assert_int_equal(net->layer[0]->n_include, 0);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int at = qf_graph_find(net, layers[i]);
        const Caffe__LayerParameter *layer = net->layer[at], *range = net->layer[at - 1],
                                    *search = net->layer[at + 1];
        char *name = test_format("%s_ifmr_layer", layers[i]);
        assert_string_equal(range->name, name);
        assert_string_equal(range->type, "IFMR");
        assert_string_equal(range->bottom[0], layer->bottom[0]);
        assert_int_equal(range->n_top, 0);
        assert_int_equal(range->ifmr_param->batch_num, 2);
        assert_true(range->ifmr_param->with_offset);
        assert_string_equal(range->ifmr_param->object_layer[0], layers[i]);
        assert_string_equal(range->ifmr_param->record_file_path, "record.txt");
        qf_free(name);
        if (strcmp(layers[i], "pool") == 0)
            continue;
        assert_string_equal(search->type, "SearchN");
        assert_string_equal(search->bottom[0], layer->top[0]);
        assert_int_equal(search->search_n_param->batch_num, 2);
    }
    assert_false(has(net, "pool_search_n_layer"));
    assert_false(has(net, "c4_ifmr_layer"));
    const Caffe__LayerParameter *range = layer_of(net, "ip_hfmg_layer");
    assert_string_equal(range->type, "HFMG");
    assert_int_equal(range->hfmg_param->num_of_bins, 1024);
    assert_true(has(net, "ip_search_n_layer"));
    qf_message_free(net);
}

/* As floats: within half a step of the folded ones; and each a whole number of steps. */
static void weights_lie_on_their_grid(void **state)
{
    (void)state;
    qf_record *record;
    prepare("config.json");
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    Caffe__NetParameter *net = read_net(NULL, "cal.caffemodel");
    assert_int_equal(record->n_record, 10);
    for (size_t i = 0; i < record->n_record; i++) {
        const qf_record_entry *entry = record->record[i]->value;
        const Caffe__LayerParameter *layer = layer_of(net, record->record[i]->key);
        assert_int_equal(entry->n_scale_w, entry->n_offset_w);
        assert_false(entry->has_scale_d || entry->n_shift_bit);
        if (strcmp(layer->name, "pool") == 0) {
            assert_int_equal(entry->n_scale_w, 1);
            assert_true(entry->scale_w[0] == 1);
            continue;
        }
        const bool transposed = strcmp(layer->name, "d") == 0;
        const size_t count = layer->blobs[0]->n_data;
        const size_t inner = transposed ? 4 : count / entry->n_scale_w;
        assert_int_equal(entry->n_scale_w, strcmp(layer->name, "ip") == 0 ? 1
                                           : layer->convolution_param
                                               ? layer->convolution_param->num_output
                                               : 0);
        for (size_t k = 0; k < count; k++) {
            const float steps =
                layer->blobs[0]->data[k] / entry->scale_w[k / inner % entry->n_scale_w];
            assert_true(fabsf(steps - roundf(steps)) < 1e-3f);
            assert_true(fabsf(steps) < 128.5f);
        }
    }
    qf_message_free(net);
    qf_message_free(record);
}

/* With the layers that calibrate taken out it computes what the float net does, but for what eight
 * bits lose of weights. */
static void it_computes_what_the_float_net_does(void **state)
{
    (void)state;
    size_t count, same;
    prepare("config.json");
    float *before = outputs("net.prototxt", "net.caffemodel", &count);
    write_quiet_model("cal.prototxt", "quiet.prototxt");
    float *after = outputs("quiet.prototxt", "cal.caffemodel", &same);
    assert_int_equal(count, same);
    const double lost = difference(before, after, count);
    if (lost > 0.05 || lost == 0)
        fail_msg("differs by %g", lost);
    qf_free(before);
    qf_free(after);
}

/* ---- the models ---- */

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
static void fill_record(const char *path, bool shifts)
{
    qf_net *net;
    qf_record *record;
    write_quiet_model("cal.prototxt", "quiet.prototxt");
    Caffe__NetParameter *model = read_net("quiet.prototxt", NULL);
    assert_ok(context, qf_net_create(context, "quiet.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "cal.caffemodel"));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    for (size_t i = 0; i < record->n_record; i++)
        give_factors(net, layer_of(model, record->record[i]->key), shifts,
                     record->record[i]->value);
    assert_ok(context, qf_record_write(context, path, record));
    qf_message_free(record);
    qf_message_free(model);
    qf_net_destroy(net);
}

static void verify(const char *prefix)
{
    qf_verification *found;
    assert_ok(context, qf_verify(context, prefix, NULL, 2, NULL, NULL, NULL, &found));
    assert_int_equal(found->differing, 0);
    assert_true(found->compared > 1000);
    qf_verification_destroy(found);
}

static void the_models_agree(void **state)
{
    (void)state;
    size_t count, same;
    qf_quant_graph *graph;
    assert_ok(context, init("config.json", "record.txt", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    fill_record("record.txt", true);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "out/m"));
    qf_quant_graph_destroy(graph);
    verify("out/m");
    float *before = outputs("net.prototxt", "net.caffemodel", &count);
    float *after = outputs("out/m_deploy_model.prototxt", "out/m_deploy_weights.caffemodel", &same);
    assert_int_equal(count, same);
    const double lost = difference(before, after, count);
    if (lost > 0.2 || lost == 0)
        fail_msg("differs by %g", lost);
    qf_free(before);
    qf_free(after);
    assert_true(test_file_has(context, "out/m_quant.json",
                              "\"c1_bn\",\n                    \"c1_sc\",\n"
                              "                    \"c1\"\n"));
}

/* ---- factors from somebody else ---- */

/* A record as convert_model wants it, or with shifts of 0, as calibration may leave it. */
static void rewrite_record(const char *from, const char *to, bool given, bool skip_fusion)
{
    static const int none[16];
    qf_record *record;
    assert_ok(context, qf_record_read(context, from, &record));
    for (size_t i = 0; i < record->n_record; i++) {
        qf_record_entry *entry = record->record[i]->value;
        const bool pool = strcmp(record->record[i]->key, "pool") == 0;
        assert_ok(context,
                  qf_record_set_shifts(context, entry, none, given || pool ? 0 : entry->n_scale_w));
        if (given && pool)
            entry->n_scale_w = entry->n_offset_w = 0;
        entry->has_skip_fusion = entry->skip_fusion = given && skip_fusion;
    }
    if (given &&
        skip_fusion) { /* an entry without factors: the layer stays float, with its BatchNorm */
        qf_record_entry *entry;
        assert_ok(context, qf_record_find_or_add(context, record, "c4", &entry));
        entry->has_skip_fusion = entry->skip_fusion = true;
    }
    assert_ok(context, qf_record_write(context, to, record));
    qf_message_free(record);
}

static void assert_same_files(const char *first, const char *second)
{
    qf_buffer a = {0}, b = {0};
    assert_ok(context, qf_file_read(context, first, &a));
    assert_ok(context, qf_file_read(context, second, &b));
    if (a.size != b.size || memcmp(a.data, b.data, a.size) != 0)
        fail_msg("%s and %s are not the same", first, second);
    qf_buffer_release(&a);
    qf_buffer_release(&b);
}

static void edit_config(const char *to, const char *from, const char *into)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, "config.json", &file));
    qf_buffer_append(&file, "", 1);
    char *text = test_replace(file.data, from, into);
    assert_string_not_equal(text, file.data);
    test_write_text(context, to, text);
    qf_free(text);
    qf_buffer_release(&file);
}

static void converting_gives_the_same_models(void **state)
{
    (void)state;
    static const char *const tails[] = {"fake_quant_model.prototxt",
                                        "fake_quant_weights.caffemodel", "deploy_model.prototxt",
                                        "deploy_weights.caffemodel", "quant.json"};
    qf_quant_graph *graph;
    edit_config("unfolded.json", "\"do_fusion\":true", "\"do_fusion\":false");
    prepare("unfolded.json");
    fill_record("full.txt", true);
    rewrite_record("full.txt", "unshifted.txt", false, false);
    rewrite_record("full.txt", "given.txt", true, true);
    assert_ok(context, qf_quant_open(context, "unfolded.json", "net.prototxt", "net.caffemodel",
                                     "unshifted.txt", &graph));
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "saved/m"));
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_convert_model(context, "net.prototxt", "net.caffemodel", "given.txt",
                                        "converted/m"));
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char *saved = test_format("saved/m_%s", tails[i]);
        char *converted = test_format("converted/m_%s", tails[i]);
        assert_same_files(saved, converted);
        qf_free(saved);
        qf_free(converted);
    }
}

/* Scales are those of the weights in the file; folding changes both. */
static void converting_folds_behind_convolutions(void **state)
{
    (void)state;
    static const char *const folded[] = {"c0_bn", "c0_sc", "c2_bn", "d_bn", "d_sc", "c5_bn"};
    static const char *const kept[] = {"c1_bn", "c1_sc", "c3_bn", "ip_bn", "ip_sc"};
    size_t count, same;
    edit_config("unfolded.json", "\"do_fusion\":true", "\"do_fusion\":false");
    prepare("unfolded.json");
    fill_record("full.txt", true);
    rewrite_record("full.txt", "given.txt", true, false);
    assert_ok(context,
              qf_convert_model(context, "net.prototxt", "net.caffemodel", "given.txt", "folded/m"));
    Caffe__NetParameter *net = read_net("folded/m_deploy_model.prototxt", NULL);
    for (size_t i = 0; i < sizeof folded / sizeof *folded; i++)
        assert_false(has(net, folded[i]));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(has(net, kept[i]));
    qf_message_free(net);
    verify("folded/m");
    float *before = outputs("net.prototxt", "net.caffemodel", &count);
    float *after = outputs("folded/m_fake_quant_model.prototxt",
                           "folded/m_fake_quant_weights.caffemodel", &same);
    assert_int_equal(count, same);
    assert_true(difference(before, after, count) < 0.2);
    qf_free(before);
    qf_free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_may_be_folded_is),
        cmocka_unit_test(what_measures_stands_beside_its_layer),
        cmocka_unit_test(weights_lie_on_their_grid),
        cmocka_unit_test(it_computes_what_the_float_net_does),
        cmocka_unit_test(the_models_agree),
        cmocka_unit_test(converting_gives_the_same_models),
        cmocka_unit_test(converting_folds_behind_convolutions),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
