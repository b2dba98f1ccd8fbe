/* The two models of a quantised net (specification, section I): fake-quant, which simulates int8 in
 * float, and deploy, which holds the integers. */
#include "toolkit/export/export.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "model/quant_codes.h"
#include "quant/quant.h"
#include "toolkit/export/fold.h"
#include "toolkit/export/fusion_file.h"
#include "toolkit/export/signs.h"
#include "toolkit/toolkit.h"

#include <stdlib.h>
#include <string.h>

static const char MODULE[] = "Save";

typedef struct model_files {
    char *model, *weights;
} model_files;

/* ---- blobs ---- */

static qf_status vector_blob(qf_context *context, size_t count, Caffe__BlobProto **out)
{
    const int64_t dim = (int64_t)count;
    QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, out));
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &(*out)->shape));
    return qf_append(context, &(*out)->shape->n_dim, &(*out)->shape->dim, &dim, sizeof dim);
}

static float deq_scale(const qf_quantised *q, size_t c)
{
    return q->scale_d * q->scale[c];
}

/* deq_scale, shift_bit and offset_w as three float blobs. */
static qf_status fake_dequant_blobs(qf_context *context, const qf_quantised *q,
                                    Caffe__LayerParameter *layer)
{
    for (int k = 0; k < 3; k++) {
        Caffe__BlobProto *blob = NULL;
        qf_status status = vector_blob(context, q->scales, &blob);
        for (size_t c = 0; status == QF_OK && c < q->scales; c++) {
            float values[] = {deq_scale(q, c), q->shift ? (float)q->shift[c] : 0, 0};
            status = qf_append(context, &blob->n_data, &blob->data, &values[k], sizeof *values);
        }
        QF_TRY(qf_graph_give_blob(context, layer, blob, status));
    }
    return QF_OK;
}

static qf_status deploy_dequant_blobs(qf_context *context, const qf_quantised *q,
                                      Caffe__LayerParameter *layer)
{
    Caffe__BlobProto *blob = NULL;
    qf_status status = vector_blob(context, q->scales, &blob);
    for (size_t c = 0; status == QF_OK && c < q->scales; c++) {
        uint64_t word = qf_pack_dequant(deq_scale(q, c), q->shift ? q->shift[c] : 0, 0);
        status = qf_append(context, &blob->n_uint64_data, &blob->uint64_data, &word, sizeof word);
    }
    return qf_graph_give_blob(context, layer, blob, status);
}

/* Bias codes, in steps of the accumulator. */
static qf_status bias_code(qf_context *context, const qf_quantised *q, const Caffe__BlobProto *bias,
                           size_t c, int32_t *code)
{
    qf_status status =
        qf_bias_code(context, bias->data[c], q->scale_d, q->scale[q->scales > 1 ? c : 0], code);
    return qf_within(context, status, "layer %s, bias %zu", q->name, c);
}

/* Weights and bias as floats on the grids of their codes. AMCT leaves the bias as it is; then a
 * bias that lies between two codes makes the two models differ by one accumulator step now and
 * then. */
static qf_status fake_weights(qf_context *context, const qf_quantised *q,
                              Caffe__LayerParameter *layer)
{
    const Caffe__BlobProto *b = layer->n_blobs > 1 ? layer->blobs[1] : NULL;
    QF_TRY(qf_quantised_give_weights(context, q, layer));
    for (size_t c = 0; b && c < b->n_data; c++) {
        int32_t code;
        QF_TRY(bias_code(context, q, b, c, &code));
        b->data[c] = (float)code * deq_scale(q, q->scales > 1 ? c : 0);
    }
    return QF_OK;
}

static void drop_floats(Caffe__BlobProto *blob)
{
    free(blob->data);
    blob->data = NULL;
    blob->n_data = 0;
}

static qf_status deploy_weights(qf_context *context, const qf_quantised *q,
                                Caffe__LayerParameter *layer)
{
    Caffe__BlobProto *w = layer->blobs[0], *b = layer->n_blobs > 1 ? layer->blobs[1] : NULL;
    w->int8_data.data = malloc(q->code_count + 1);
    if (!w->int8_data.data)
        return qf_fail(context, QF_E_MEMORY, "no memory for codes");
    memcpy(w->int8_data.data, q->codes, q->code_count);
    w->int8_data.len = q->code_count;
    w->has_int8_data = true;
    drop_floats(w);
    for (size_t c = 0; b && c < b->n_data; c++) {
        int32_t code;
        QF_TRY(bias_code(context, q, b, c, &code));
        QF_TRY(qf_append(context, &b->n_int32_data, &b->int32_data, &code, sizeof code));
    }
    if (b)
        drop_floats(b);
    return QF_OK;
}

/* ---- layers ---- */

/* The factors of a Quant layer. */
typedef struct quant_factors {
    float scale;
    int32_t offset;
    int bits;
    bool says_bits; /* AMCT's format has no field for them, nor needs one where nothing is clipped
                       below */
} quant_factors;

static quant_factors factors_of(const Caffe__NetParameter *net, int index, const qf_quantised *q,
                                bool deploy)
{
    const bool from_zero = q->offset_d == -(1 << (q->data_bits - 1));
    const bool unaided = q->data_bits < 8 && from_zero &&
                         qf_graph_is_never_negative(net, net->layer[index]->bottom[0], index);
    return (quant_factors){.scale = 1 / q->scale_d,
                           .offset = q->offset_d + qf_code_lift(q->data_bits),
                           .bits = q->data_bits,
                           .says_bits = q->data_bits != 8 && !(deploy && unaided)};
}

/* A Quant layer before `index` that reads the same tensor and has the same factors. */
static Caffe__LayerParameter *find_quant(const Caffe__NetParameter *net, int index,
                                         const char *bottom, const quant_factors *factors)
{
    for (int i = index - 1; i >= 0; i--) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (qf_layer_is(layer, "Quant") && strcmp(layer->bottom[0], bottom) == 0 &&
            layer->quant_param->scale == factors->scale &&
            layer->quant_param->num_bits == (factors->says_bits ? (uint32_t)factors->bits : 8) &&
            qf_quant_codes_read(layer->quant_param).offset_d == factors->offset)
            return layer;
        if (qf_layer_writes(layer, bottom))
            break;
    }
    return NULL;
}

static qf_status set_quant(qf_context *context, const qf_quantised *q, const quant_factors *factors,
                           Caffe__LayerParameter *layer)
{
    QF_TRY(qf_message_new(context, &caffe__quant_parameter__descriptor, &layer->quant_param));
    Caffe__QuantParameter *p = layer->quant_param;
    p->has_with_offset = p->with_offset = true;
    p->has_scale = true;
    p->scale = factors->scale;
    p->has_num_bits = factors->says_bits;
    p->num_bits = factors->says_bits ? (uint32_t)factors->bits : 8;
    p->offset.len = qf_offset_bytes(factors->bits);
    p->offset.data = malloc(p->offset.len);
    if (!p->offset.data)
        return qf_fail(context, QF_E_MEMORY, "no memory for an offset");
    for (size_t i = 0; i < p->offset.len; i++)
        p->offset.data[i] = (uint8_t)((uint32_t)factors->offset >> 8 * i);
    p->has_offset = true;
    return qf_set_string(context, &p->object_layer, q->name);
}

static qf_status insert_quant(qf_context *context, Caffe__NetParameter *net, const qf_quantised *q,
                              bool deploy, int *index)
{
    Caffe__LayerParameter *layer = net->layer[*index], *quant;
    const quant_factors factors = factors_of(net, *index, q, deploy);
    quant = find_quant(net, *index, layer->bottom[0], &factors);
    if (quant)
        return qf_set_string(context, &layer->bottom[0], quant->top[0]);
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s_0_quant_layer", q->name);
    qf_status status = qf_buffer_whole(context, &name);
    if (status == QF_OK)
        status = qf_graph_new_layer(context, qf_buffer_text(&name), "Quant", layer->bottom[0],
                                    qf_buffer_text(&name), &quant);
    if (status == QF_OK)
        status = set_quant(context, q, &factors, quant);
    if (status == QF_OK)
        status = qf_set_string(context, &layer->bottom[0], qf_buffer_text(&name));
    if (status == QF_OK)
        status = qf_graph_insert(context, net, *index, quant);
    if (status != QF_OK)
        qf_message_free(quant);
    else
        (*index)++;
    qf_buffer_release(&name);
    return status;
}

static qf_status insert_dequant(qf_context *context, Caffe__NetParameter *net,
                                const qf_quantised *q, int index, bool deploy)
{
    const char *blob = net->layer[index]->top[0];
    Caffe__LayerParameter *dequant = NULL;
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s_dequant_layer", q->name);
    qf_status status = qf_buffer_whole(context, &name);
    if (status == QF_OK)
        status =
            qf_graph_new_layer(context, qf_buffer_text(&name), "DeQuant", blob, blob, &dequant);
    qf_buffer_release(&name);
    if (status == QF_OK)
        status = qf_message_new(context, &caffe__de_quant_parameter__descriptor,
                                &dequant->dequant_param);
    if (status == QF_OK) {
        dequant->dequant_param->has_channel_wise = true;
        dequant->dequant_param->channel_wise = q->scales > 1;
        status = qf_set_string(context, &dequant->dequant_param->object_layer, q->name);
    }
    if (status == QF_OK)
        status = deploy ? deploy_dequant_blobs(context, q, dequant)
                        : fake_dequant_blobs(context, q, dequant);
    if (status == QF_OK)
        status = qf_graph_insert(context, net, index + 1, dequant);
    if (status != QF_OK)
        qf_message_free(dequant);
    return status;
}

static qf_status build(qf_context *context, const qf_quantised_net *r, bool deploy,
                       Caffe__NetParameter **out)
{
    QF_TRY(qf_message_copy(context, r->net, out));
    for (size_t i = 0; i < r->count; i++) {
        const qf_quantised *q = &r->layers[i];
        int index = qf_graph_find(*out, q->name);
        QF_TRY(qf_graph_name_apart(context, *out, index)); /* its bottom is going to be another */
        QF_TRY(insert_quant(context, *out, q, deploy, &index));
        Caffe__LayerParameter *layer = (*out)->layer[index];
        qf_fold_unshare(layer);
        if (q->has_weights)
            QF_TRY(deploy ? deploy_weights(context, q, layer) : fake_weights(context, q, layer));
        QF_TRY(insert_dequant(context, *out, q, index, deploy));
        qf_amct_say(context, QF_DEBUG, MODULE, "Do layer: [%s] %s quantise success!", q->name,
                    deploy ? "deploy" : "fake");
    }
    for (size_t i = 0; i < (*out)->n_layer; i++)
        qf_graph_drop_rules((*out)->layer[i]);
    qf_message_free((*out)->state);
    (*out)->state = NULL;
    return QF_OK;
}

/* ---- files ---- */

/* In the order in which AMCT writes and names them. */
static const struct kind {
    qf_save_type type;
    const char *name, *model, *weights;
    bool deploy;
} kinds[] = {
    {QF_SAVE_DEPLOY, "deploy", "deploy_model.prototxt", "deploy_weights.caffemodel", true},
    {QF_SAVE_FAKE_QUANT, "fake_quant", "fake_quant_model.prototxt", "fake_quant_weights.caffemodel",
     false},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static qf_status check_deployable(qf_context *context, const qf_quantised_net *quantised)
{
    const qf_quantised *wide = qf_quantised_wide(quantised);
    return wide ? qf_fail(context, QF_E_UNSUPPORTED,
                          "layer %s has an input of %d bits, which no deploy model can have: its "
                          "codes are int8; write the fake-quant model only (type Fakequant), or "
                          "give the layer 8 bits",
                          wide->name, wide->data_bits)
                : QF_OK;
}

/* All of a model, before anything is written. */
static qf_status make_model(qf_context *context, const qf_quantised_net *quantised,
                            const struct kind *kind, const char *save_path, model_files *files,
                            Caffe__NetParameter **net)
{
    if (kind->deploy)
        QF_TRY(check_deployable(context, quantised));
    files->model = qf_toolkit_name(save_path, kind->model);
    files->weights = qf_toolkit_name(save_path, kind->weights);
    if (!files->model || !files->weights)
        return qf_fail(context, QF_E_MEMORY, "no memory for file names");
    return build(context, quantised, kind->deploy, net);
}

static qf_status check_outputs(qf_context *context, const model_files *files, const char *fusion,
                               const char *const *inputs, int input_count)
{
    const char *outputs[2 * KINDS + 1];
    int count = 0;
    for (int i = 0; i < KINDS; i++) {
        if (!files[i].model)
            continue;
        outputs[count++] = files[i].model;
        outputs[count++] = files[i].weights;
    }
    outputs[count++] = fusion;
    return qf_toolkit_check_outputs(context, outputs, count, inputs, input_count);
}

static qf_status write_fusion(qf_context *context, const qf_quantised_net *quantised,
                              const Caffe__NetParameter *net, const char *path)
{
    qf_fusion_op *ops = qf_alloc(net->n_layer, sizeof *ops);
    if (!ops)
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    for (size_t i = 0; i < net->n_layer; i++)
        ops[i] = qf_fusion_of(quantised, net, (int)i);
    qf_status status = qf_fusion_write(context, net->name, ops, net->n_layer, path);
    qf_free(ops);
    return status;
}

static qf_status write_all(qf_context *context, const qf_quantised_net *quantised,
                           Caffe__NetParameter **nets, const model_files *files, const char *fusion)
{
    /* Both models have the same layers. */
    QF_TRY(write_fusion(context, quantised, nets[0] ? nets[0] : nets[1], fusion));
    for (int i = 0; i < KINDS; i++) {
        if (!nets[i])
            continue;
        QF_TRY(qf_toolkit_write_net(context, nets[i], files[i].model, files[i].weights));
    }
    return QF_OK;
}

static qf_status save_together(qf_context *context, const qf_quantised_net *quantised,
                               Caffe__NetParameter **nets, const model_files *files,
                               const char *fusion)
{
    const size_t mark = qf_outputs_begin(context);
    QF_TRY(qf_outputs_end(context, mark, write_all(context, quantised, nets, files, fusion)));
    for (int i = 0; i < KINDS; i++)
        if (nets[i])
            qf_toolkit_say_saved(context, files[i].model, files[i].weights);
    return QF_OK;
}

const qf_quantised *qf_quantised_wide(const qf_quantised_net *quantised)
{
    for (size_t i = 0; i < quantised->count; i++)
        if (quantised->layers[i].data_bits > 8)
            return &quantised->layers[i];
    return NULL;
}

qf_status qf_export_check_arguments(qf_context *context, qf_save_type save_type,
                                    const char *save_path)
{
    if (save_type < QF_SAVE_FAKE_QUANT || save_type > QF_SAVE_BOTH)
        return qf_fail(context, QF_E_ARGUMENT, "save_type must be Fakequant, Deploy or Both");
    if (!save_path || !*save_path)
        return qf_fail(context, QF_E_ARGUMENT, "an empty string is an invalid value for save_path");
    return QF_OK;
}

qf_status qf_export(qf_context *context, const qf_quantised_net *quantised, qf_save_type save_type,
                    const char *save_path, const char *const *inputs, int input_count)
{
    model_files files[KINDS] = {{0}};
    Caffe__NetParameter *nets[KINDS] = {NULL};
    char *fusion = qf_fusion_file(save_path);
    qf_status status = fusion ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for file names");
    for (int i = 0; i < KINDS && status == QF_OK; i++)
        if (save_type & kinds[i].type)
            status = make_model(context, quantised, &kinds[i], save_path, &files[i], &nets[i]);
    if (status == QF_OK)
        status = check_outputs(context, files, fusion, inputs, input_count);
    if (status == QF_OK)
        status = save_together(context, quantised, nets, files, fusion);
    for (int i = 0; i < KINDS; i++) {
        qf_message_free(nets[i]);
        qf_free(files[i].model);
        qf_free(files[i].weights);
    }
    qf_free(fusion);
    return status;
}
