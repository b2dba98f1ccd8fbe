/* Single layers, in float and quantised, as nets of their own. */
#include "toolkit/auto/layer_sensitivity.h"

#include "base/amct_log.h"
#include "base/file.h"
#include "base/memory.h"
#include "layers/quantised/dump_data.h"
#include "net/net.h"
#include "toolkit/auto/rollback.h"
#include "toolkit/prepare/graph.h"

#include <string.h>
#include <unistd.h>

enum { NAME_PART = 160 }; /* bytes of a layer's name in the names of files */

static qf_status cosine(void *user, qf_context *context, const float *original, const float *other,
                        size_t count, double *out)
{
    (void)user;
    (void)context;
    *out = qf_cosine_similarity(original, other, count);
    return QF_OK;
}

const qf_sensitivity qf_cosine_sensitivity = {
    .size = sizeof(qf_sensitivity), .compare = cosine, .name = "CosineSimilarity"};

/* ---- samples ---- */

char *qf_sample_prefix(const char *folder, const char *layer, size_t index)
{
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/", folder);
    for (size_t i = 0; layer[i] && i < NAME_PART; i++)
        if (layer[i] == '/')
            qf_buffer_print(&path, "%%2F");
        else
            qf_buffer_append(&path, &layer[i], 1);
    qf_buffer_print(&path, "_activation_%zu", index);
    if (path.failed)
        qf_buffer_release(&path);
    return path.data;
}

/* In front of the layer, as what measures its range is. */
static qf_status insert_one(qf_context *context, const qf_sample_wish *wish, size_t index,
                            Caffe__NetParameter *net)
{
    const int at = qf_graph_find(net, wish->layers[index]);
    Caffe__LayerParameter *made = NULL;
    qf_buffer name = {0};
    if (at == QF_NONE)
        return qf_fail(context, QF_E_MISMATCH, "the calibration model has no layer '%s'",
                       wish->layers[index]);
    char *prefix = qf_sample_prefix(wish->folder, wish->layers[index], index);
    qf_buffer_print(&name, "%s_dump_layer", wish->layers[index]);
    qf_status status = name.failed || !prefix
                           ? qf_fail(context, QF_E_MEMORY, "no memory for the name of a layer")
                           : qf_graph_new_layer(context, name.data, "DumpData",
                                                net->layer[at]->bottom[0], NULL, &made);
    if (status == QF_OK)
        status = qf_message_new(context, &caffe__dump_data_parameter__descriptor,
                                &made->dump_data_param);
    if (status == QF_OK) {
        made->dump_data_param->has_batch_num = made->dump_data_param->has_max_bytes = true;
        made->dump_data_param->batch_num = (uint32_t)wish->batches;
        made->dump_data_param->max_bytes = wish->bytes;
        status = qf_set_string(context, &made->dump_data_param->file_prefix, prefix);
    }
    if (status == QF_OK)
        status = qf_graph_insert(context, net, at, made);
    if (status != QF_OK)
        qf_message_free(made);
    qf_buffer_release(&name);
    qf_free(prefix);
    return status;
}

qf_status qf_sample_insert(qf_context *context, const qf_sample_wish *wish, const char *model_file)
{
    Caffe__NetParameter *net;
    QF_TRY(qf_net_param_read(context, model_file, &net));
    qf_status status = QF_OK;
    for (size_t i = 0; i < wish->count && status == QF_OK; i++)
        status = insert_one(context, wish, i, net);
    if (status == QF_OK)
        status = qf_text_write(context, model_file, net, 0640);
    qf_message_free(net);
    return status;
}

/* ---- a layer as a net ---- */

/* A layer with the Quant in front of it and the DeQuant behind it, where it has them. */
typedef struct part {
    qf_net *net;
    qf_blob *in, *out;
} part;

static qf_status append_copy(qf_context *context, const Caffe__LayerParameter *layer,
                             Caffe__NetParameter *to)
{
    Caffe__LayerParameter *copy;
    QF_TRY(qf_message_copy(context, layer, &copy));
    qf_graph_drop_rules(copy);
    qf_status status = qf_graph_insert(context, to, (int)to->n_layer, copy);
    if (status != QF_OK)
        qf_message_free(copy);
    return status;
}

static qf_status append_input(qf_context *context, const char *blob, const qf_shape *shape,
                              Caffe__NetParameter *to)
{
    Caffe__LayerParameter *layer;
    Caffe__BlobShape *dims = NULL;
    QF_TRY(qf_graph_new_layer(context, "sample", "Input", NULL, blob, &layer));
    qf_status status =
        qf_message_new(context, &caffe__input_parameter__descriptor, &layer->input_param);
    if (status == QF_OK)
        status = qf_message_new(context, &caffe__blob_shape__descriptor, &dims);
    for (int i = 0; i < shape->axes && status == QF_OK; i++) {
        const int64_t dim = shape->dim[i];
        status = qf_append(context, &dims->n_dim, &dims->dim, &dim, sizeof dim);
    }
    if (status == QF_OK)
        status = qf_append(context, &layer->input_param->n_shape, &layer->input_param->shape, &dims,
                           sizeof dims);
    if (status != QF_OK)
        qf_message_free(dims);
    else
        status = qf_graph_insert(context, to, 0, layer);
    if (status != QF_OK)
        qf_message_free(layer);
    return status;
}

static bool is_type(const Caffe__NetParameter *net, int index, const char *type)
{
    return index != QF_NONE && qf_layer_is(net->layer[index], type);
}

static qf_status collect(qf_context *context, const Caffe__NetParameter *net, const char *name,
                         const qf_shape *shape, Caffe__NetParameter *to)
{
    const int at = qf_graph_find(net, name);
    int behind = QF_NONE;
    if (at == QF_NONE || net->layer[at]->n_bottom != 1 || net->layer[at]->n_top != 1)
        return qf_fail(context, QF_E_MISMATCH, "layer '%s' is not in both models", name);
    const Caffe__LayerParameter *layer = net->layer[at];
    const int before = qf_graph_producer(net, layer->bottom[0], at);
    const bool quant = is_type(net, before, "Quant");
    QF_TRY(append_input(context, (quant ? net->layer[before] : layer)->bottom[0], shape, to));
    if (quant)
        QF_TRY(append_copy(context, net->layer[before], to));
    QF_TRY(append_copy(context, layer, to));
    if (qf_graph_readers(net, at, layer->top[0], &behind, 1) && is_type(net, behind, "DeQuant"))
        QF_TRY(append_copy(context, net->layer[behind], to));
    return QF_OK;
}

static qf_status make_part(qf_context *context, const Caffe__NetParameter *from, const char *name,
                           const qf_shape *shape, part *out)
{
    const qf_random random = context->random; /* fillers draw, for nothing */
    Caffe__NetParameter *param;
    *out = (part){0};
    QF_TRY(qf_message_new(context, &caffe__net_parameter__descriptor, &param));
    qf_status status = collect(context, from, name, shape, param);
    if (status == QF_OK)
        status = qf_net_param_set_state(context, param, QF_TEST, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, &out->net);
    if (status == QF_OK)
        status = qf_net_copy_weights(out->net, param);
    if (status == QF_OK) {
        const qf_layer *first = out->net->layers[0],
                       *last = out->net->layers[out->net->layer_count - 1];
        out->in = first->top[0];
        out->out = last->top[0];
    }
    qf_message_free(param);
    context->random = random;
    return status;
}

static qf_status run_part(qf_context *context, const part *p, const qf_dump *sample,
                          const float **values)
{
    float *to;
    QF_TRY(qf_blob_reshape(p->in, sample->shape.dim, sample->shape.axes));
    QF_TRY(qf_write(context, p->in->data, QF_PLAIN, &to));
    memcpy(to, sample->values, qf_shape_count(&sample->shape) * sizeof *to);
    QF_TRY(qf_net_forward(p->net, NULL));
    return qf_read(context, p->out->data, QF_PLAIN, values);
}

/* ---- one layer ---- */

typedef struct pair {
    const char *layer;
    const Caffe__NetParameter *folded, *fake;
    part original, quantised; /* nets NULL: not made yet */
} pair;

static qf_status compare(qf_context *context, pair *p, const qf_dump *sample,
                         const qf_sensitivity *judge, double *out)
{
    const float *a, *b;
    if (!p->original.net) {
        QF_TRY(make_part(context, p->folded, p->layer, &sample->shape, &p->original));
        QF_TRY(make_part(context, p->fake, p->layer, &sample->shape, &p->quantised));
    }
    QF_TRY(run_part(context, &p->original, sample, &a));
    QF_TRY(run_part(context, &p->quantised, sample, &b));
    return judge->compare(judge->user, context, a, b, qf_blob_count(p->original.out), out);
}

static qf_status no_sample(qf_context *context, const char *layer)
{
    return qf_fail(context, QF_E_MISMATCH,
                   "no input of layer '%s' was seen during calibration; the evaluator has to run "
                   "the model that calibration() is given, in phase TEST",
                   layer);
}

/* The batch's value is added; false in *there: it was not sampled. */
static qf_status add_batch(qf_context *context, pair *p, const char *path,
                           const qf_sensitivity *judge, double *sum, bool *there)
{
    qf_dump sample = {0};
    double value = 0;
    *there = qf_file_exists(path);
    if (!*there)
        return QF_OK;
    qf_status status = qf_dump_read(context, path, &sample);
    if (status == QF_OK)
        status = compare(context, p, &sample, judge, &value);
    qf_dump_release(&sample);
    unlink(path);
    *sum += value;
    return status;
}

qf_status qf_layer_sensitivity(qf_context *context, const qf_sample_wish *wish, size_t index,
                               const Caffe__NetParameter *folded, const Caffe__NetParameter *fake,
                               const qf_sensitivity *judge, double *out)
{
    pair p = {.layer = wish->layers[index], .folded = folded, .fake = fake};
    double sum = 0;
    unsigned batches = 0;
    bool there = true;
    qf_status status = QF_OK;
    char *prefix = qf_sample_prefix(wish->folder, p.layer, index);
    if (!prefix)
        return qf_fail(context, QF_E_MEMORY, "no memory for a file name");
    while (status == QF_OK && there) {
        char *path = qf_dump_file(prefix, batches);
        status = path ? add_batch(context, &p, path, judge, &sum, &there)
                      : qf_fail(context, QF_E_MEMORY, "no memory for a file name");
        qf_free(path);
        batches += status == QF_OK && there;
    }
    qf_free(prefix);
    qf_net_destroy(p.original.net);
    qf_net_destroy(p.quantised.net);
    QF_TRY(status);
    if (!batches)
        return no_sample(context, p.layer);
    *out = sum / batches;
    return QF_OK;
}
