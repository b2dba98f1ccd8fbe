/* A net with a layer of every type goes through config, prepare and export: what is quantised is,
 * and all else is written as it was, parameters, weights and all. A new type is to be listed here.
 */
#include "harness/harness.h"
#include "nn/net.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BOTTOMS_MAX = 4 };

typedef enum kind {
    FLOAT,     /* stays as it is */
    QUANTISED, /* does not */
    /* Stays as it is and reads what the test does not have: in the net, but in no pass. */
    ASLEEP,
    OF_THE_FLOW, /* AMCT's own: a net that has it is already prepared, so it is not in this one */
} kind;

/* Bottoms: a shape, filled from −1 to 1; "2 3 = 1", filled with 1; or "@x", the first top of layer
 * x. */
static const struct row {
    const char *type, *bottoms[BOTTOMS_MAX], *param;
    int tops;
    kind kind;
} rows[] = {
#define IMAGES "2 4 6 6"
#define NOTHING                                                                                    \
    {                                                                                              \
        NULL                                                                                       \
    }
    {"AbsVal", {IMAGES}, "", 1, FLOAT},
    {"Accuracy", {"2 5", "2 = 1"}, "accuracy_param { top_k: 2 }", 1, FLOAT},
    {"ActivationQAT", NOTHING, "", 0, OF_THE_FLOW},
    {"AntiQuant", NOTHING, "", 0, OF_THE_FLOW},
    {"ArgMax", {IMAGES}, "argmax_param { axis: 1 top_k: 2 }", 1, FLOAT},
    {"Axpy", {"2 4 1 1", IMAGES, IMAGES}, "", 1, FLOAT},
    {"BatchMatMul", {"2 3 4", "2 5 4"}, "batch_matmul_param { adj_x2: true }", 1, FLOAT},
    {"BatchNorm", {IMAGES}, "batch_norm_param { eps: 0.01 }", 1, FLOAT},
    {"BatchReindex", {IMAGES, "3 = 1"}, "", 1, FLOAT},
    {"Bias", {IMAGES}, "bias_param { filler { value: 2 } }", 1, FLOAT},
    {"BNLL", {IMAGES}, "", 1, FLOAT},
    {"Clip", {IMAGES}, "clip_param { min: -0.5 max: 0.5 }", 1, FLOAT},
    {"Concat", {IMAGES, "2 3 6 6"}, "concat_param { axis: 1 }", 1, FLOAT},
    {"ContrastiveLoss", {"2 4", "2 4", "2 = 1"}, "contrastive_loss_param { margin: 2 }", 1, FLOAT},
    {"Convolution", {IMAGES}, "convolution_param { num_output: 3 kernel_size: 3 }", 1, QUANTISED},
    {"Convolution", {"2 4 6"}, "convolution_param { num_output: 3 kernel_size: 3 }", 1, FLOAT},
    {"CReLU", {IMAGES}, "crelu_param { negative_slope: 0.25 }", 1, FLOAT},
    {"Crop", {IMAGES, "2 4 3 3"}, "crop_param { offset: 1 }", 1, FLOAT},
    {"Data", NOTHING, "data_param { source: 'somewhere' batch_size: 2 }", 2, ASLEEP},
    {"DeQuant", NOTHING, "", 0, OF_THE_FLOW},
    {"Deconvolution", {IMAGES}, "convolution_param { num_output: 3 kernel_size: 2 }", 1, QUANTISED},
    {"Deconvolution",
     {IMAGES},
     "convolution_param { num_output: 4 kernel_size: 2 group: 2 }",
     1,
     FLOAT},
    {"DepthwiseConvolution",
     {IMAGES},
     "convolution_param { num_output: 4 kernel_size: 3 group: 4 }",
     1,
     FLOAT},
    {"DetectionOutput",
     {"2 48", "2 36", "@PriorBox"},
     "detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 5 nms_param { "
     "nms_threshold: 0.4 top_k: 9 } save_output_param { output_format: 'VOC' resize_param { prob: "
     "1 "
     "interp_mode: LINEAR } } }",
     1,
     FLOAT},
    {"Dropout", {IMAGES}, "dropout_param { dropout_ratio: 0.3 }", 1, FLOAT},
    {"DummyData", NOTHING, "dummy_data_param { shape { dim: 2 } }", 1, FLOAT},
    {"Eltwise", {IMAGES, IMAGES}, "eltwise_param { operation: MAX }", 1, FLOAT},
    {"ELU", {IMAGES}, "elu_param { alpha: 0.5 }", 1, FLOAT},
    {"Embed", {"2 3 = 1"}, "embed_param { input_dim: 4 num_output: 3 }", 1, FLOAT},
    {"EuclideanLoss", {"2 4", "2 4"}, "", 1, FLOAT},
    {"Exp", {IMAGES}, "exp_param { base: 2 }", 1, FLOAT},
    {"Filter", {"2 4", "2 = 1"}, "", 1, FLOAT},
    {"Flatten", {IMAGES}, "flatten_param { end_axis: 2 }", 1, FLOAT},
    {"HDF5Data", NOTHING, "hdf5_data_param { source: 'list' batch_size: 2 }", 1, ASLEEP},
    {"HDF5Output", {"2 3", "2 3"}, "hdf5_output_param { file_name: 'x.h5' }", 0, ASLEEP},
    {"HingeLoss", {"2 4", "2 = 1"}, "hinge_loss_param { norm: L2 }", 1, FLOAT},
    {"Hswish", {IMAGES}, "", 1, FLOAT},
    {"Im2col", {IMAGES}, "convolution_param { kernel_size: 2 }", 1, FLOAT},
    {"ImageData", NOTHING, "image_data_param { source: 'list' batch_size: 2 }", 2, ASLEEP},
    {"InfogainLoss", {"2 4", "2 = 1", "4 4"}, "", 1, FLOAT},
    {"InnerProduct", {IMAGES}, "inner_product_param { num_output: 3 }", 1, QUANTISED},
    {"InnerProduct", {IMAGES}, "inner_product_param { num_output: 3 transpose: true }", 1, FLOAT},
    {"Input", NOTHING, "input_param { shape { dim: 2 dim: 3 } }", 1, FLOAT},
    {"Interp", {IMAGES}, "interp_param { height: 9 width: 8 }", 1, FLOAT},
    {"Log", {"2 3 = 2"}, "log_param { base: 2 }", 1, FLOAT},
    {"LRN", {IMAGES}, "lrn_param { local_size: 3 alpha: 0.2 }", 1, FLOAT},
    {"LSTM", {"3 2 4", "3 2 = 1"}, "recurrent_param { num_output: 3 }", 1, FLOAT},
    {"LSTMUnit", {"1 2 3", "1 2 12", "1 2 = 1"}, "", 2, FLOAT},
    {"MatMul", {"2 3 4", "5 4"}, "matmul_param { transpose_b: true }", 1, FLOAT},
    {"MatMul", {"2 3 4"}, "matmul_param { blob_shape: 4 blob_shape: 2 }", 1, FLOAT},
    {"MemoryData", NOTHING, "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 }", 2,
     ASLEEP},
    {"MultiBoxLoss",
     {"2 48", "2 36", "@PriorBox", "1 1 2 8 = -1"},
     "multibox_loss_param { num_classes: 3 mining_type: HARD_EXAMPLE nms_param { eta: 0.5 } }",
     1,
     FLOAT},
    {"MultinomialLogisticLoss", {"2 4 = 0.25", "2 = 1"}, "", 1, FLOAT},
    {"MVN", {IMAGES}, "mvn_param { across_channels: true }", 1, FLOAT},
    {"Normalize",
     {IMAGES},
     "norm_param { across_spatial: false channel_shared: false scale_filler { value: 20 } }",
     1,
     FLOAT},
    {"Parameter", NOTHING, "parameter_param { shape { dim: 2 } }", 1, FLOAT},
    {"PassThrough",
     {IMAGES},
     "pass_through_param { block_height: 2 block_width: 3 num_output: 24 }",
     1,
     FLOAT},
    {"Permute", {IMAGES}, "permute_param { order: 0 order: 2 order: 3 order: 1 }", 1, FLOAT},
    {"PReLU", {IMAGES}, "prelu_param { channel_shared: true }", 1, FLOAT},
    {"Pooling", {IMAGES}, "pooling_param { pool: AVE kernel_size: 2 stride: 2 }", 1, QUANTISED},
    {"Pooling", {IMAGES}, "pooling_param { pool: MAX kernel_size: 2 stride: 2 }", 2, FLOAT},
    {"Pooling", {IMAGES}, "pooling_param { pool: AVE global_pooling: true }", 1, FLOAT},
    {"Power", {IMAGES}, "power_param { power: 2 shift: 2 }", 1, FLOAT},
    {"PriorBox",
     {"2 4 2 2", "2 3 20 20"},
     "prior_box_param { min_size: 4 max_size: 8 aspect_ratio: 2 flip: false variance: 0.1 }",
     1,
     FLOAT},
    {"Proposal",
     {"2 2 3 3", "2 4 3 3", "1 3 = 40"},
     "proposal_param { ratio: 1 scale: 1 nms_thresh: 0.6 post_nms_topn: 3 }",
     2,
     FLOAT},
    {"PSROIPooling",
     {IMAGES, "2 5 = 1"},
     "psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 0.5 }",
     1,
     FLOAT},
    {"Python", NOTHING, "python_param { module: 'm' layer: 'L' param_str: '{}' }", 1, ASLEEP},
    {"Quant", NOTHING, "", 0, OF_THE_FLOW},
    {"Reduction", {IMAGES}, "reduction_param { operation: MEAN axis: 1 }", 1, FLOAT},
    {"ReLU", {IMAGES}, "relu_param { negative_slope: 0.1 }", 1, FLOAT},
    {"ReLU6", {IMAGES}, "", 1, FLOAT},
    {"Reorg", {IMAGES}, "reorg_param { stride: 2 reverse: true }", 1, FLOAT},
    {"Reshape", {IMAGES}, "reshape_param { shape { dim: 0 dim: -1 } }", 1, FLOAT},
    {"Reverse", {IMAGES}, "reverse_param { axis: 2 axis: -1 }", 1, FLOAT},
    {"RNN", {"3 2 4", "3 2 = 1"}, "recurrent_param { num_output: 3 }", 1, FLOAT},
    {"ROIAlign",
     {IMAGES, "2 5 = 1"},
     "roi_align_param { pooled_h: 2 pooled_w: 3 sampling_ratio: 2 roi_end_mode: 1 }",
     1,
     FLOAT},
    {"ROIPooling",
     {IMAGES, "2 5 = 1"},
     "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 spatial_scale_w: 0.25 }",
     1,
     FLOAT},
    {"Scale", {IMAGES}, "scale_param { bias_term: true filler { value: 2 } }", 1, FLOAT},
    {"SearchN", NOTHING, "", 0, OF_THE_FLOW},
    {"ShuffleChannel", {IMAGES}, "shuffle_channel_param { group: 2 }", 1, FLOAT},
    {"Sigmoid", {IMAGES}, "", 1, FLOAT},
    {"SigmoidCrossEntropyLoss", {"2 4", "2 4 = 1"}, "", 1, FLOAT},
    {"Silence", {IMAGES}, "", 0, FLOAT},
    {"Slice", {IMAGES}, "slice_param { slice_point: 1 }", 2, FLOAT},
    {"SmoothL1Loss", {"2 4", "2 4", "2 4", "2 4"}, "smooth_l1_loss_param { sigma: 3 }", 1, FLOAT},
    {"Softmax", {IMAGES}, "softmax_param { axis: 2 }", 1, FLOAT},
    {"SoftmaxWithLoss", {"2 4", "2 = 1"}, "loss_param { normalization: FULL }", 1, FLOAT},
    {"Split", {IMAGES}, "", 2, FLOAT},
    {"SPP", {IMAGES}, "spp_param { pyramid_height: 2 }", 1, FLOAT},
    {"Swish", {IMAGES}, "swish_param { beta: 2 }", 1, FLOAT},
    {"TanH", {IMAGES}, "", 1, FLOAT},
    {"Threshold", {IMAGES}, "threshold_param { threshold: 0.5 }", 1, FLOAT},
    {"Tile", {IMAGES}, "tile_param { tiles: 2 }", 1, FLOAT},
    {"Upsample", {IMAGES}, "upsample_param { scale: 2 }", 1, FLOAT},
    {"Upsample",
     {"2 4 3 3", "2 4 3 3 = 5"},
     "upsample_param { upsample_h: 6 upsample_w: 6 }",
     1,
     FLOAT},
    {"WeightQAT", NOTHING, "", 0, OF_THE_FLOW},
    {"WindowData", NOTHING, "window_data_param { source: 'windows' batch_size: 2 }", 2, ASLEEP},
};
enum { ROWS = sizeof rows / sizeof *rows };

static qf_context *context;

/* ---- the net ---- */

static void print_bottom(qf_buffer *out, const char *layer, int index, const char *bottom)
{
    const char *value = strchr(bottom, '=');
    int used = 0, dim;
    qf_buffer_print(out,
                    "layer { name: '%s_in%d' type: 'DummyData' top: '%s_in%d' dummy_data_param "
                    "{ shape {",
                    layer, index, layer, index);
    for (const char *at = bottom; sscanf(at, "%d%n", &dim, &used) == 1; at += used)
        qf_buffer_print(out, " dim: %d", dim);
    if (value)
        qf_buffer_print(out, " } data_filler { value: %s } } }\n", value + 1);
    else
        qf_buffer_print(out, " } data_filler { type: 'uniform' min: -1 max: 1 } } }\n");
}

/* The layer of a type's first row bears its name, those behind it a number more. */
static char *name_of(const struct row *row)
{
    int earlier = 0;
    for (const struct row *r = rows; r < row; r++)
        earlier += strcmp(r->type, row->type) == 0;
    return earlier ? test_format("%s%d", row->type, earlier) : qf_strdup(row->type);
}

static const struct row *row_named(const char *name)
{
    const struct row *found = NULL;
    for (const struct row *row = rows; row < rows + ROWS; row++) {
        char *its = name_of(row);
        found = strcmp(its, name) == 0 ? row : found;
        qf_free(its);
    }
    return found;
}

static void print_row(qf_buffer *out, const struct row *row, bool reads_others)
{
    bool reads = false;
    for (int b = 0; b < BOTTOMS_MAX && row->bottoms[b]; b++)
        reads |= row->bottoms[b][0] == '@';
    if (row->kind == OF_THE_FLOW || reads != reads_others)
        return;
    char *name = name_of(row);
    for (int b = 0; b < BOTTOMS_MAX && row->bottoms[b]; b++)
        if (row->bottoms[b][0] != '@')
            print_bottom(out, name, b, row->bottoms[b]);
    qf_buffer_print(out, "layer { name: '%s' type: '%s' %s", name, row->type, row->param);
    for (int b = 0; b < BOTTOMS_MAX && row->bottoms[b]; b++) {
        if (row->bottoms[b][0] == '@')
            qf_buffer_print(out, " bottom: '%s_out0'", row->bottoms[b] + 1);
        else
            qf_buffer_print(out, " bottom: '%s_in%d'", name, b);
    }
    for (int t = 0; t < row->tops; t++)
        qf_buffer_print(out, " top: '%s_out%d'", name, t);
    qf_buffer_print(out, row->kind == ASLEEP ? " include { stage: 'never' } }\n" : " }\n");
    qf_free(name);
}

static void write_net(const char *path)
{
    qf_buffer text = {0};
    qf_buffer_print(&text, "name: 'every type'\n");
    for (int second = 0; second < 2; second++)
        for (const struct row *row = rows; row < rows + ROWS; row++)
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
        const struct row *row = row_named(layer->name);
        if (row && row->kind == ASLEEP && exported) {
            assert_null(now);
            continue;
        }
        if (!now)
            fail_msg("%s has no layer %s", path, layer->name);
        if (row && row->kind == QUANTISED ? same(layer, now) : !same(layer, now))
            fail_msg("%s: the layer %s is %s", path, layer->name,
                     row && row->kind == QUANTISED ? "untouched" : "not what it was");
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
        const struct row *row = row_named(layer->name);
        if (!row || row->kind != FLOAT || layer->n_blobs == 0)
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
        for (const struct row *row = rows; row < rows + ROWS; row++)
            listed |= strcmp(row->type, (*type)->name) == 0;
        if (!listed)
            fail_msg("list the type %s in %s", (*type)->name, __FILE__);
    }
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
    compare("net.prototxt", "out_fake_quant_model.prototxt", true);
    compare("net.prototxt", "out_deploy_model.prototxt", true);
    compare_weights("trained.caffemodel", "out_fake_quant_weights.caffemodel");
    compare_weights("trained.caffemodel", "out_deploy_weights.caffemodel");
    run("out_fake_quant_model.prototxt", QF_TEST, "out_fake_quant_weights.caffemodel", NULL);
    run("out_deploy_model.prototxt", QF_TEST, "out_deploy_weights.caffemodel", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_listed),
        cmocka_unit_test(what_is_not_quantised_is_untouched),
    };
    context = test_context();
    char *folder = test_make_directory();
    if (chdir(folder) != 0)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("/") == 0)
        test_remove_directory(folder);
    qf_free(folder);
    qf_context_destroy(context);
    return failed;
}
