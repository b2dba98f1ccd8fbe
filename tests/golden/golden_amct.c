/* Recorded results of the other functions of AMCT: calibration without retraining, and what goes
 * with it. A case of a kernel in the table needs no code. */
#include "golden/amct_kernels.h"
#include "harness/recorded_kernels.h"
#include "model/model.h"
#include "model/record.h"
#include "toolkit/auto/rollback.h"
#include "toolkit/config/ptq_config.h"
#include "toolkit/export/fold.h"
#include "toolkit/export/fusion_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- configurations ---- */

/* The recordings have a stub of a graph: names, types, and whether each can be quantised. Here it
 * is a net with such layers. */
static const struct {
    const char *type;
    bool quantisable;
    const char *settings; /* of the net */
    const char *blobs;    /* of the weights */
} stubs[] = {
    {"Convolution", true, "convolution_param { num_output: 3 kernel_size: 1 }",
     "blobs { shape { dim: 3 dim: 1 dim: 1 dim: 1 } data: 1 data: 2 data: 3 }"},
    {"Deconvolution", true, "convolution_param { num_output: 3 kernel_size: 1 }",
     "blobs { shape { dim: 1 dim: 3 dim: 1 dim: 1 } data: 1 data: 2 data: 3 }"},
    {"InnerProduct", true, "inner_product_param { num_output: 1 }",
     "blobs { shape { dim: 1 dim: 3 } data: 1 data: 2 data: 3 }"},
    {"Pooling", true, "pooling_param { pool: AVE kernel_size: 2 }", ""},
    {"Pooling", false, "pooling_param { pool: AVE global_pooling: true }", ""},
    {"ReLU", false, "", ""},
};
enum { STUBS = sizeof stubs / sizeof *stubs };

static void print_layer(const json_t *layer, bool with_blobs, qf_buffer *out)
{
    const char *name = json_string_value(json_array_get(layer, 0)),
               *type = json_string_value(json_array_get(layer, 1));
    const bool quantisable = json_is_true(json_array_get(layer, 2));
    int i = 0;
    while (i < STUBS && (strcmp(stubs[i].type, type) != 0 || stubs[i].quantisable != quantisable))
        i++;
    if (i == STUBS)
        fail_msg("no stub of a layer of type %s", type);
    qf_buffer_print(out, "layer { name: '%s' type: '%s' bottom: 'x' top: '%s' %s %s }\n", name,
                    type, name, stubs[i].settings, with_blobs ? stubs[i].blobs : "");
}

typedef struct stub {
    char *folder, *model, *weights, *config;
    Caffe__NetParameter *net, *blobs;
} stub;

static void parse(run *r, bool with_blobs, const char *path, Caffe__NetParameter **out)
{
    qf_buffer text = {0};
    const json_t *layer;
    size_t i;
    qf_buffer_print(&text, "layer { name: 'in' type: 'Input' top: 'x' }\n");
    json_array_foreach(param_of(r, "layers"), i, layer) print_layer(layer, with_blobs, &text);
    assert_ok(r->context, qf_text_parse(r->context, "stub", text.data, text.size,
                                        &caffe__net_parameter__descriptor, out));
    if (with_blobs)
        assert_ok(r->context, qf_wire_write(r->context, path, *out, 0640));
    else
        assert_ok(r->context, qf_file_write(r->context, path, text.data, text.size, 0640));
    qf_buffer_release(&text);
}

static stub make_stub(run *r)
{
    stub stub = {.folder = test_make_directory()};
    stub.model = test_format("%s/net.prototxt", stub.folder);
    stub.weights = test_format("%s/net.caffemodel", stub.folder);
    stub.config = test_format("%s/config.json", stub.folder);
    parse(r, false, stub.model, &stub.net);
    parse(r, true, stub.weights, &stub.blobs);
    return stub;
}

static void remove_stub(stub *stub)
{
    test_remove_directory(stub->folder);
    qf_message_free(stub->net);
    qf_message_free(stub->blobs);
    qf_free(stub->folder);
    qf_free(stub->model);
    qf_free(stub->weights);
    qf_free(stub->config);
}

static qf_status ptq_config(run *r)
{
    stub stub = make_stub(r);
    char *definition = input_path(r, "cfg");
    const char *skip[16];
    const json_t *skipped = param_of(r, "skip_layers"), *name;
    size_t i;
    json_array_foreach(skipped, i, name) skip[i] = json_string_value(name);
    const qf_quant_options options = {.size = sizeof options,
                                      .skip_layers = skip,
                                      .skip_layer_count = json_array_size(skipped),
                                      .batch_num = (int)number(r, "batch_num"),
                                      .activation_offset = flag(r, "activation_offset"),
                                      .config_definition = definition};
    qf_status status =
        qf_create_quant_config(r->context, stub.config, stub.model, stub.weights, &options);
    if (status == QF_OK)
        give_file(r, "config_json", stub.config);
    else
        assert_int_not_equal(access(stub.config, F_OK), 0); /* nothing half done */
    remove_stub(&stub);
    qf_free(definition);
    return status;
}

/* Recorded is what remains: the layers that are enabled, with all of their settings. */
static void drop_disabled(qf_config *config)
{
    size_t kept = 0;
    for (size_t i = 0; i < config->count; i++) {
        if (config->layers[i].enabled)
            config->layers[kept++] = config->layers[i];
        else
            qf_free(config->layers[i].name);
    }
    config->count = kept;
}

static qf_status ptq_config_read(run *r)
{
    stub stub = make_stub(r);
    char *file = input_path(r, "config_json");
    qf_config config;
    stands_for(r, file, "FILE");
    /* The second method of weights is the recorded sibling's; Caffe's is this. */
    stands_for(r, "nuq_quantize", "ada_quantize");
    assert_ok(r->context, qf_ptq_defaults(r->context, stub.net, stub.blobs, &config));
    qf_status status = qf_ptq_read(r->context, stub.net, file, &config);
    if (status == QF_OK) {
        drop_disabled(&config);
        assert_ok(r->context, qf_ptq_write(r->context, &config, stub.config));
        give_file(r, "result_json", stub.config);
    }
    qf_config_release(&config);
    remove_stub(&stub);
    qf_free(file);
    return status;
}

/* ---- records ---- */

enum { MOST_LAYERS = 8 };

static size_t record_layers(const run *r, qf_record_layer *layers)
{
    const json_t *layer;
    size_t i;
    json_array_foreach(param_of(r, "layers"), i, layer)
    {
        const bool weights =
            strcmp(json_string_value(json_object_get(layer, "type")), "Pooling") != 0;
        assert_true(i < MOST_LAYERS);
        layers[i] = (qf_record_layer){
            .name = json_string_value(json_object_get(layer, "name")),
            .quantisable = json_is_true(json_object_get(layer, "quantisable")),
            .outputs =
                weights ? (size_t)json_integer_value(json_object_get(layer, "channels_out")) : 0,
        };
    }
    return json_array_size(param_of(r, "layers"));
}

/* The factors as the recorded code hands them on: a layer without weights has the neutral ones, no
 * shift is 0. */
static json_t *factors_of(const qf_record_entry *entry)
{
    json_t *scale = json_array(), *offset = json_array(), *shift = json_array();
    const size_t count = entry->n_scale_w ? entry->n_scale_w : 1;
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(scale, json_real(entry->n_scale_w ? (double)entry->scale_w[i] : 1));
        json_array_append_new(offset, json_integer(entry->n_offset_w ? entry->offset_w[i] : 0));
        json_array_append_new(shift, json_integer(entry->n_shift_bit ? entry->shift_bit[i] : 0));
    }
    return json_pack("{s:i, s:f, s:o, s:o, s:o}", "data_offset", (int)entry->offset_d, "data_scale",
                     (double)entry->scale_d, "weight_scale", scale, "weight_offset", offset,
                     "shift_n", shift);
}

static qf_status record_check(run *r)
{
    qf_record_layer layers[MOST_LAYERS];
    const size_t count = record_layers(r, layers);
    qf_record *record;
    char *path = input_path(r, "record");
    stands_for(r, path, "RECORD");
    qf_status status = qf_record_read_for(
        r->context, path, "MODEL", layers, count,
        flag(r, "shift_bit_allowed") ? QF_RECORD_CALIBRATED : QF_RECORD_GIVEN, &record);
    qf_free(path);
    QF_TRY(status);
    json_t *factors = json_object(), *skip = json_array();
    for (size_t i = 0; i < record->n_record; i++) {
        const qf_record_entry *entry = record->record[i]->value;
        if (qf_record_is_empty(entry))
            continue;
        json_object_set_new(factors, record->record[i]->key, factors_of(entry));
        if (entry->skip_fusion)
            json_array_append_new(skip, json_string(record->record[i]->key));
    }
    json_t *all = json_pack("{s:o, s:o}", "layers", factors, "skip_fusion_layers", skip);
    char *text = json_dumps(all, JSON_REAL_PRECISION(17));
    give_text(r, "parsed_json", text);
    free(text);
    json_decref(all);
    qf_message_free(record);
    return QF_OK;
}

/* ---- quant.json ---- */

enum { MOST_OPS = 16 };

static void set_names(const json_t *layer, qf_fusion_op *op)
{
    const json_t *more = json_array_get(layer, 3), *fused = json_object_get(more, "fused"), *name;
    size_t i;
    op->has_origin = json_is_true(json_object_get(more, "quantised")) || fused;
    if (op->has_origin && !fused)
        op->names[op->count++] = op->name;
    json_array_foreach((json_t *)fused, i, name) op->names[op->count++] = json_string_value(name);
}

static qf_status quant_json(run *r)
{
    qf_fusion_op ops[MOST_OPS] = {{0}};
    const json_t *layers = param_of(r, "layers"), *layer;
    const size_t count = json_array_size(layers);
    size_t i;
    assert_true(count <= MOST_OPS);
    json_array_foreach((json_t *)layers, i, layer)
    {
        ops[i].name = json_string_value(json_array_get(layer, 0));
        ops[i].type = json_string_value(json_array_get(layer, 1));
        if (strcmp(json_string_value(json_array_get(layer, 2)), "layer") == 0)
            set_names(layer, &ops[i]);
        else
            ops[i].has_origin = true;
    }
    json_array_foreach((json_t *)layers, i, layer) /* inserted ones have the names of theirs */
    {
        const char *of = json_string_value(json_array_get(layer, 3));
        for (size_t k = 0; of && k < count; k++)
            if (strcmp(ops[k].name, of) == 0) {
                memcpy(ops[i].names, ops[k].names, sizeof ops[i].names);
                ops[i].count = ops[k].count;
            }
    }
    char *folder = test_make_directory(),
         *prefix = test_format("%s/%s", folder, json_string_value(param_of(r, "prefix"))),
         *path = qf_fusion_file(prefix);
    assert_string_equal(strrchr(path, '/') + 1, json_string_value(param_of(r, "file_name")));
    qf_status status = qf_fusion_write(r->context, NULL, ops, count, path);
    if (status == QF_OK)
        give_file(r, "quant_json", path);
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(prefix);
    qf_free(path);
    return status;
}

/* ---- folding ---- */

static void give_blob(run *r, Caffe__NetParameter *net, const char *layer, const char *name)
{
    if (!has_input(r, name))
        return;
    const test_array *values = input(r, name);
    Caffe__LayerParameter *to = qf_find_layer(net, layer);
    Caffe__BlobProto *blob;
    assert_ok(r->context, qf_message_new(r->context, &caffe__blob_proto__descriptor, &blob));
    for (size_t i = 0; i < values->count; i++)
        assert_ok(r->context, qf_append(r->context, &blob->n_data, &blob->data,
                                        (float *)values->data + i, sizeof(float)));
    assert_ok(r->context, qf_append(r->context, &to->n_blobs, &to->blobs, &blob, sizeof(void *)));
}

static qf_status bn_fuse(run *r)
{
    const bool front = strcmp(json_string_value(param_of(r, "kind")), "bn_scale_conv") == 0;
    static const char *const order[2][3] = {{"conv", "bn", "scale"}, {"bn", "scale", "conv"}};
    Caffe__NetParameter *net;
    qf_buffer text = {0};
    for (int i = 0; i < 3; i++) {
        const char *name = order[front][i];
        qf_buffer_print(&text, "layer { name: '%s' bottom: '%s' top: '%s' ", name,
                        i ? order[front][i - 1] : "x", name);
        if (strcmp(name, "conv") == 0)
            qf_buffer_print(&text,
                            "type: 'Convolution' convolution_param { num_output: %zu "
                            "bias_term: %s } } ",
                            input(r, "w")->shape[0], has_input(r, "b") ? "true" : "false");
        else if (strcmp(name, "bn") == 0)
            qf_buffer_print(&text, "type: 'BatchNorm' batch_norm_param { eps: %.9g } } ",
                            number(r, "eps"));
        else
            qf_buffer_print(&text, "type: 'Scale' scale_param { bias_term: %s } } ",
                            has_input(r, "beta") ? "true" : "false");
    }
    assert_ok(r->context, qf_text_parse(r->context, "net", text.data, text.size,
                                        &caffe__net_parameter__descriptor, &net));
    qf_buffer_release(&text);
    static const char *const blobs[][2] = {{"conv", "w"},     {"conv", "b"},    {"bn", "mean_sum"},
                                           {"bn", "var_sum"}, {"bn", "factor"}, {"scale", "gamma"},
                                           {"scale", "beta"}};
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++)
        give_blob(r, net, blobs[i][0], blobs[i][1]);
    const int index = qf_graph_find(net, "conv");
    float *factors = NULL;
    size_t count;
    qf_status status =
        front ? qf_fold_front(r->context, net, index, qf_graph_fold_front(net, index))
              : qf_fold_into(r->context, net, index, qf_graph_fold(net, index), &factors, &count);
    assert_int_equal(net->n_layer, 1);
    const Caffe__LayerParameter *conv = net->layer[0];
    give_floats(r, "w_fused", conv->blobs[0]->data, conv->blobs[0]->n_data);
    give_floats(r, "b_fused", conv->blobs[1]->data, conv->blobs[1]->n_data);
    qf_free(factors);
    qf_message_free(net);
    return status;
}

/* ---- automatic calibration ---- */

static qf_status cosine_similarity(run *r)
{
    const test_array *a = input(r, "a"), *b = input(r, "b");
    *give(r, "similarity", 1) = qf_cosine_similarity(a->data, b->data, a->count);
    return QF_OK;
}

static const kernel kernels[] = {
    {"ifmr", recorded_ifmr, ""},
    {"hfmg", recorded_hfmg, ""},
    {"ptq_config", ptq_config, ""},
    {"ptq_config_read", ptq_config_read, ""},
    {"record_check", record_check, ""},
    {"quant_json", quant_json, ""},
    {"bn_fuse", bn_fuse, ""},
    {"cosine_similarity", cosine_similarity, ""},
    {"auto_calibration", amct_auto_calibration, ""},
    {"decompose_mode", recorded_decompose_mode, ""},
    {"decompose_rank", recorded_decompose_rank, ""},
    {"decompose_evbmf", recorded_decompose_evbmf, ""},
    {"decompose_weights", recorded_decompose_weights, ""},
    {"cli_arguments", NULL, "python/tests/test_cli_arguments.py"},
};

static void every_case(void **state)
{
    (void)state;
    test_walk_kernels("amct", kernels, sizeof kernels / sizeof *kernels, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
