/* The float net, folded as its fake-quant net is, and the latter: made, fed and run together. */
#include "toolkit/report/net_pair.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/file_type.h"
#include "toolkit/export/fold.h"
#include "toolkit/export/quantised.h"
#include "toolkit/run/run.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

/* ---- making them ---- */

/* No layer writes over its bottom from here on. */
static qf_status name_apart(qf_context *context, Caffe__NetParameter *net)
{
    for (int i = 0; i < (int)net->n_layer; i++)
        QF_TRY(qf_graph_name_apart(context, net, i));
    return QF_OK;
}

static qf_status feed(qf_context *context, const qf_pair_files *files, const char *model,
                      Caffe__NetParameter *net)
{
    if (files->judged && qf_net_wants_feeding(net))
        QF_TRY(qf_run_judge(context, model, net));
    return qf_feed_net(context, files->data, model, files->judged ? "label" : NULL, net);
}

/* The TEST phase of a model, fed, with no layer in place if `apart`. */
static qf_status read_fed(qf_context *context, const qf_pair_files *files, const char *model,
                          bool apart, Caffe__NetParameter **out)
{
    QF_TRY(qf_test_phase_read(context, model, out));
    qf_status status = feed(context, files, model, *out);
    if (status == QF_OK && apart)
        status = name_apart(context, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

/* Folds what the fake-quant net does not have any more. */
static qf_status fold_as(qf_context *context, const qf_net *fake, Caffe__NetParameter *net)
{
    static const struct {
        qf_fold (*find)(const Caffe__NetParameter *net, int index);
        qf_status (*fold)(qf_context *, Caffe__NetParameter *net, int index, qf_fold);
    } patterns[] = {
        {qf_graph_fold_front, qf_fold_front},
        {qf_graph_fold, qf_fold_behind},
        {qf_graph_fold_product, qf_fold_behind},
    };
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++)
        for (int i = 0; i < (int)net->n_layer; i++) {
            const qf_fold fold = patterns[k].find(net, i);
            if (fold.batch_norm == QF_NONE ||
                qf_net_find_layer(fake, net->layer[fold.batch_norm]->name))
                continue;
            char *name = qf_strdup(net->layer[i]->name); /* what stood before it is gone then */
            qf_status status = name ? patterns[k].fold(context, net, i, fold)
                                    : qf_fail(context, QF_E_MEMORY, "no memory for a name");
            i = name ? qf_graph_find(net, name) : i;
            qf_free(name);
            QF_TRY(status);
        }
    return QF_OK;
}

/* A retrained net holds the codes' values where its layers look for weights; what was learned lies
 * in the WeightQAT layers beside them. */
static void take_masters(const Caffe__NetParameter *stored, Caffe__NetParameter *weights)
{
    static const char ending[] = "_weight_qat";
    char name[512];
    for (size_t i = 0; i < stored->n_layer; i++) {
        const Caffe__LayerParameter *qat = stored->layer[i];
        const size_t length = qat->name ? strlen(qat->name) : 0, tail = strlen(ending);
        if (!qf_layer_is(qat, "WeightQAT") || qat->n_blobs < 2 || length <= tail)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(length - tail), qat->name);
        Caffe__LayerParameter *layer = qf_find_layer(weights, name);
        if (layer && layer->n_blobs && layer->blobs[0]->n_data == qat->blobs[1]->n_data)
            memcpy(layer->blobs[0]->data, qat->blobs[1]->data,
                   qat->blobs[1]->n_data * sizeof *qat->blobs[1]->data);
    }
}

/* The float net's weights, whatever the file's format. */
static qf_status read_weights(qf_context *context, const char *file, qf_net *net,
                              Caffe__NetParameter **out)
{
    Caffe__NetParameter *stored = NULL;
    QF_TRY(qf_net_to_proto(net, false, out));
    if (qf_file_type_of(file) == QF_FILE_WEIGHTS) {
        QF_TRY(qf_net_param_read_binary(context, file, &stored));
        take_masters(stored, *out);
    }
    qf_message_free(stored);
    return QF_OK;
}

static qf_status make_plain(qf_context *context, const qf_pair_files *files,
                            const Caffe__NetParameter *weights, const qf_net *fake, qf_net **out)
{
    Caffe__NetParameter *param;
    QF_TRY(qf_test_phase_read(context, files->model, &param));
    qf_status status = qf_quantised_attach(context, param, weights);
    if (status == QF_OK)
        status = fold_as(context, fake, param);
    if (status == QF_OK)
        status = feed(context, files, files->model, param);
    if (status == QF_OK)
        status = name_apart(context, param);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    if (status == QF_OK)
        status = qf_net_copy_weights(*out, param);
    qf_message_free(param);
    return status;
}

static qf_status open_files(qf_context *context, const qf_pair_files *files, const char *model,
                            const char *weights, bool apart, Caffe__NetParameter **param,
                            qf_net **out)
{
    QF_TRY(read_fed(context, files, model, apart, param));
    QF_TRY(qf_net_create_from_param(context, *param, NULL, out));
    QF_TRY(qf_net_load_weights_file(*out, weights));
    return qf_net_require_weights(*out, weights);
}

static qf_status open_fake(qf_context *context, const qf_pair_files *files, qf_net **out)
{
    char *model = qf_toolkit_name(files->prefix, "fake_quant_model.prototxt");
    char *weights = qf_toolkit_name(files->prefix, "fake_quant_weights.caffemodel");
    Caffe__NetParameter *param = NULL;
    qf_status status;
    if (!model || !weights)
        status = qf_fail(context, QF_E_MEMORY, "no memory for file names");
    else if (!qf_file_exists(model))
        status =
            qf_fail(context, QF_E_IO,
                    "%s is missing: is %s the prefix that the command which quantised was given?",
                    model, files->prefix);
    else
        status = open_files(context, files, model, weights, true, &param, out);
    qf_message_free(param);
    qf_free(model);
    qf_free(weights);
    return status;
}

/* ---- partners ---- */

static int index_of(const qf_net *net, const qf_layer *layer)
{
    for (int i = 0; layer && i < net->layer_count; i++)
        if (net->layers[i] == layer)
            return i;
    return QF_NONE;
}

static bool find_unit(const qf_net_pair *pair, int dequant, qf_pair_unit *out)
{
    const Caffe__DeQuantParameter *p = pair->fake->layers[dequant]->param->dequant_param;
    const char *name = p ? p->object_layer : NULL;
    const qf_layer *object = name ? qf_net_find_layer(pair->fake, name) : NULL;
    const qf_layer *quant = object && object->bottom_count
                                ? qf_net_producer(pair->fake, object->bottom[0], object)
                                : NULL;
    *out = (qf_pair_unit){
        .plain = name ? index_of(pair->plain, qf_net_find_layer(pair->plain, name)) : QF_NONE,
        .quant = index_of(pair->fake, quant),
        .object = index_of(pair->fake, object),
        .dequant = dequant};
    return out->plain != QF_NONE && out->quant != QF_NONE &&
           strcmp(quant->type->name, "Quant") == 0 &&
           pair->plain->layers[out->plain]->bottom_count == 1;
}

static qf_status find_units(qf_net_pair *pair, const char *prefix)
{
    for (int i = 0; i < pair->fake->layer_count; i++) {
        qf_pair_unit unit;
        if (strcmp(pair->fake->layers[i]->type->name, "DeQuant") != 0)
            continue;
        if (!find_unit(pair, i, &unit))
            return qf_fail(pair->context, QF_E_MISMATCH,
                           "the models are not of one net: the layer in front of %s of the "
                           "fake-quant model is not in the float model",
                           pair->fake->layers[i]->name);
        if (!qf_grow(&pair->units, &pair->capacity, pair->count + 1, sizeof *pair->units))
            return qf_fail(pair->context, QF_E_MEMORY, "no memory for a list of layers");
        pair->units[pair->count++] = unit;
    }
    return pair->count ? QF_OK
                       : qf_fail(pair->context, QF_E_MISMATCH,
                                 "no layer of the models at %s is quantised", prefix);
}

static qf_status open_plain(qf_context *context, const qf_pair_files *files, const char *file,
                            qf_net_pair *out)
{
    Caffe__NetParameter *weights = NULL;
    QF_TRY(open_files(context, files, files->model, file, false, &out->whole_param, &out->whole));
    qf_status status = read_weights(context, file, out->whole, &weights);
    if (status == QF_OK)
        status = make_plain(context, files, weights, out->fake, &out->plain);
    qf_message_free(weights);
    return status;
}

/* Layers are compared channel by channel, so as the quantised net was made of them. */
qf_status qf_net_pair_open(qf_context *context, const qf_pair_files *files, qf_net_pair *out)
{
    *out = (qf_net_pair){.context = context};
    QF_TRY(open_fake(context, files, &out->fake));
    QF_TRY(open_plain(context, files, files->retrained ? files->retrained : files->weights, out));
    return find_units(out, files->prefix);
}

void qf_net_pair_close(qf_net_pair *pair)
{
    qf_net_destroy(pair->whole);
    qf_message_free(pair->whole_param);
    qf_net_destroy(pair->plain);
    qf_net_destroy(pair->fake);
    qf_free(pair->units);
    *pair = (qf_net_pair){0};
}

/* ---- running them ---- */

/* Does it bring values into the net that no other layer made? Parameter's top is its weights. */
static bool is_source(const qf_layer *layer)
{
    return layer->bottom_count == 0 && layer->param_count == 0;
}

static qf_status hand_over(const qf_net_pair *pair, const qf_layer *to)
{
    const qf_layer *from = qf_net_find_layer(pair->plain, to->name);
    if (!from || from->top_count != to->top_count)
        return qf_fail(pair->context, QF_E_MISMATCH,
                       "the models are not of one net: layer %s of one is not in the other",
                       to->name);
    for (int t = 0; t < from->top_count; t++) {
        QF_TRY(qf_blob_reshape_like(to->top[t], from->top[t]));
        QF_TRY(qf_tensor_share(pair->context, to->top[t]->data, from->top[t]->data));
    }
    return QF_OK;
}

qf_status qf_pair_run_from(qf_net *net, int first)
{
    for (int i = first; i <= net->layer_count; i++) {
        if (i < net->layer_count && !is_source(net->layers[i]))
            continue;
        if (first < i)
            QF_TRY(qf_net_forward_range(net, first, i - 1, NULL));
        first = i + 1;
    }
    return QF_OK;
}

qf_status qf_net_pair_run_fake(const qf_net_pair *pair)
{
    for (int i = 0; i < pair->fake->layer_count; i++)
        if (is_source(pair->fake->layers[i]))
            QF_TRY(hand_over(pair, pair->fake->layers[i]));
    return qf_pair_run_from(pair->fake, 0);
}

qf_status qf_net_pair_next(qf_net_pair *pair)
{
    QF_TRY(qf_net_forward(pair->plain, NULL));
    return qf_net_pair_run_fake(pair);
}

qf_tensor *qf_pair_plain_input(const qf_net_pair *pair, const qf_pair_unit *unit)
{
    return pair->plain->layers[unit->plain]->bottom[0]->data;
}

qf_tensor *qf_pair_plain_output(const qf_net_pair *pair, const qf_pair_unit *unit)
{
    return pair->plain->layers[unit->plain]->top[0]->data;
}

qf_tensor *qf_pair_fake_input(const qf_net_pair *pair, const qf_pair_unit *unit)
{
    return pair->fake->layers[unit->quant]->bottom[0]->data;
}

qf_tensor *qf_pair_fake_output(const qf_net_pair *pair, const qf_pair_unit *unit)
{
    return pair->fake->layers[unit->dequant]->top[0]->data;
}

qf_status qf_pair_run_plain(const qf_net_pair *pair, const qf_pair_unit *unit)
{
    return qf_net_forward_range(pair->plain, unit->plain, unit->plain, NULL);
}

qf_status qf_pair_run_fake(const qf_net_pair *pair, const qf_pair_unit *unit)
{
    QF_TRY(qf_net_forward_range(pair->fake, unit->quant, unit->quant, NULL));
    QF_TRY(qf_net_forward_range(pair->fake, unit->object, unit->object, NULL));
    return qf_net_forward_range(pair->fake, unit->dequant, unit->dequant, NULL);
}
