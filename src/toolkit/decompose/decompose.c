/* AMCT's auto_decomposition: which layers of a net, the files, and what is said of it. */
#include "base/memory.h"
#include "base/output.h"
#include "base/rows.h"
#include "toolkit/decompose/split_layer.h"
#include "toolkit/toolkit.h"

#include <string.h>

static const char STEP[] = "auto_decomposition";

/* A layer of the net, as it was read. */
typedef struct candidate {
    char *name;
    const Caffe__LayerParameter *layer, *stored;
    qf_convolution_form form;
    qf_decompose_mode mode; /* QF_LEFT_WHOLE: no, or already done */
} candidate;

typedef struct work {
    qf_context *context;
    Caffe__NetParameter *net, *weights;
    candidate *candidates; /* one for each layer */
    size_t count;
    qf_decomposition *found;
    qf_action_function action;
    qf_progress_function progress;
    void *user;
} work;

/* ---- which layers ---- */

static const char *weights_name(const Caffe__LayerParameter *layer)
{
    const char *name = layer->n_param ? layer->param[0]->name : NULL;
    return name && *name ? name : NULL;
}

static bool has_param(const Caffe__LayerParameter *layer, const char *name)
{
    for (size_t i = 0; i < layer->n_param; i++)
        if (layer->param[i]->name && strcmp(layer->param[i]->name, name) == 0)
            return true;
    return false;
}

/* By a name of parameters, or because a net has the layer twice, for one phase each. */
static bool share_weights(const candidate *a, const candidate *b)
{
    const char *name = weights_name(a->layer);
    return strcmp(a->name, b->name) == 0 || (name && has_param(b->layer, name));
}

/* Do the two become the same kernels? Stride and padding are each one's own. */
static bool is_alike(const candidate *a, const candidate *b)
{
    const char *name = weights_name(a->layer), *other = weights_name(b->layer);
    if (a->mode != b->mode || a->form.outputs != b->form.outputs ||
        a->form.inputs != b->form.inputs ||
        memcmp(a->form.kernel, b->form.kernel, sizeof a->form.kernel) != 0 ||
        (name && (!other || strcmp(name, other) != 0)))
        return false;
    const Caffe__BlobProto *mine = a->stored->blobs[0], *theirs = b->stored->blobs[0];
    return mine == theirs || memcmp(mine->data, theirs->data, mine->n_data * sizeof(float)) == 0;
}

/* Leaves candidates whole that share with others; true: there was one, so that those which share
 * with it are to be looked at again. */
static bool drop_sharers(work *w)
{
    bool any = false;
    for (size_t i = 0; i < w->count; i++)
        for (size_t k = 0; k < w->count && w->candidates[i].mode != QF_LEFT_WHOLE; k++) {
            candidate *a = &w->candidates[i], *b = &w->candidates[k];
            if (i == k || !share_weights(a, b) || is_alike(a, b))
                continue;
            qf_amct_say(w->context, QF_WARNING, STEP,
                        "Layer %s is not decomposed: it shares its weights with layer %s, which "
                        "cannot be decomposed alike",
                        a->name, b->name);
            a->mode = QF_LEFT_WHOLE;
            any = true;
        }
    return any;
}

/* Is there a layer or blob of this name? */
static bool is_taken(const Caffe__NetParameter *net, const char *name)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (strcmp(net->layer[i]->name, name) == 0 || qf_layer_writes(net->layer[i], name))
            return true;
    return false;
}

static qf_status need_names(work *w, candidate *c)
{
    for (int part = 0; part < 2 && c->mode != QF_LEFT_WHOLE; part++) {
        char *name;
        QF_TRY(qf_split_name(w->context, c->name, part, &name));
        if (is_taken(w->net, name)) {
            qf_amct_say(w->context, QF_WARNING, STEP,
                        "Layer %s is not decomposed: the net has a layer or a blob %s already",
                        c->name, name);
            c->mode = QF_LEFT_WHOLE;
        }
        qf_free(name);
    }
    return QF_OK;
}

static qf_status choose(work *w)
{
    w->candidates = qf_alloc(w->net->n_layer, sizeof *w->candidates);
    if (!w->candidates)
        return qf_fail(w->context, QF_E_MEMORY, "no memory for %zu layers", w->net->n_layer);
    w->count = w->net->n_layer;
    for (size_t i = 0; i < w->count; i++) {
        candidate *c = &w->candidates[i];
        c->layer = w->net->layer[i];
        c->stored = qf_find_layer(w->weights, c->layer->name);
        c->name = qf_strdup(c->layer->name);
        if (!c->name)
            return qf_fail(w->context, QF_E_MEMORY, "no memory for a name");
        QF_TRY(qf_convolution_look(w->context, c->layer, c->stored, &c->form, &c->mode));
        QF_TRY(need_names(w, c));
    }
    while (drop_sharers(w))
        ;
    return QF_OK;
}

/* ---- rewriting ---- */

/* The two in the place of layer `at`, which is freed. */
static qf_status replace(qf_context *context, Caffe__NetParameter *net, int at,
                         Caffe__LayerParameter *parts[2])
{
    QF_TRY(qf_graph_insert(context, net, at + 1, parts[1]));
    Caffe__LayerParameter *whole = net->layer[at];
    net->layer[at] = parts[0];
    parts[0] = parts[1] = NULL;
    qf_message_free(whole);
    return QF_OK;
}

/* The kernels, and the bias, which only the last one has. */
static qf_status give_blobs(qf_context *context, const qf_factors *factors,
                            const Caffe__LayerParameter *stored, Caffe__LayerParameter *parts[2])
{
    const qf_kernel *kernels[] = {&factors->first, &factors->last};
    for (int part = 0; part < 2; part++) {
        Caffe__BlobProto *blob = NULL;
        const qf_status made =
            qf_blob_proto_new(context, kernels[part]->shape, 4, kernels[part]->values, &blob);
        QF_TRY(qf_graph_give_blob(context, parts[part], blob, made));
    }
    for (size_t i = 1; i < stored->n_blobs; i++) {
        Caffe__BlobProto *blob = NULL;
        const qf_status made = qf_message_copy(context, stored->blobs[i], &blob);
        QF_TRY(qf_graph_give_blob(context, parts[1], blob, made));
    }
    return QF_OK;
}

/* In the net, or in the weights: then with blobs. */
static qf_status split(work *w, Caffe__NetParameter *net, int at, const candidate *c,
                       const qf_factors *factors)
{
    Caffe__LayerParameter *parts[2], *whole = net->layer[at];
    qf_status status = qf_split_convolution(w->context, whole, &c->form, factors, parts);
    if (status == QF_OK && net == w->weights)
        status = give_blobs(w->context, factors, whole, parts);
    if (status == QF_OK)
        status = replace(w->context, net, at, parts);
    if (status != QF_OK) {
        qf_message_free(parts[0]);
        qf_message_free(parts[1]);
    }
    return status;
}

static qf_status report(work *w, const candidate *c, const qf_factors *factors)
{
    qf_decomposed_layer *row = qf_rows_add(&w->found->layer, &w->found->layers, sizeof *row);
    if (!row)
        return qf_fail(w->context, QF_E_MEMORY, "no memory for a result");
    snprintf(row->name, sizeof row->name, "%s", c->name);
    row->kernel[0] = c->form.outputs;
    row->kernel[1] = c->form.inputs;
    memcpy(row->kernel + 2, c->form.kernel, sizeof c->form.kernel);
    memcpy(row->first, factors->first.shape, sizeof row->first);
    memcpy(row->last, factors->last.shape, sizeof row->last);
    row->rank = (int)factors->rank;
    row->estimated_rank = (int)factors->estimate;
    row->error = qf_factors_error(factors);
    if (factors->estimate == 0)
        qf_amct_say(w->context, QF_WARNING, "EstimateRanks",
                    "estimate rank is 0, please check if pretrained weight is correct. (layer %s)",
                    c->name);
    qf_amct_say(w->context, QF_INFO, STEP, "Decomposition %s ->['%s_0', '%s_1']", c->name, c->name,
                c->name);
    return QF_OK;
}

/* All layers of the net that have this one's name, and its weights. */
static qf_status decompose_one(work *w, candidate *c)
{
    qf_factors factors;
    qf_status status =
        qf_decompose_weights(w->context, &c->form, c->mode, c->stored->blobs[0]->data, &factors);
    for (size_t i = 0; i < w->count && status == QF_OK; i++)
        if (strcmp(w->candidates[i].name, c->name) == 0) { /* in order: those before it are split */
            status = split(w, w->net, qf_graph_find(w->net, c->name), &w->candidates[i], &factors);
            w->candidates[i].mode = QF_LEFT_WHOLE;
        }
    if (status == QF_OK)
        status = split(w, w->weights, qf_graph_find(w->weights, c->name), c, &factors);
    if (status == QF_OK)
        status = report(w, c, &factors);
    qf_factors_release(&factors);
    return qf_within(w->context, status, "layer %s", c->name);
}

static qf_status decompose(work *w)
{
    int total = 0, done = 0;
    for (size_t i = 0; i < w->count; i++)
        total += w->candidates[i].mode != QF_LEFT_WHOLE;
    for (size_t i = 0; i < w->count; i++) {
        if (w->candidates[i].mode == QF_LEFT_WHOLE)
            continue;
        if (w->action && w->action(w->user) == QF_STOP)
            return qf_fail(w->context, QF_E_STOPPED, "stopped after %d of %d layers", done, total);
        QF_TRY(decompose_one(w, &w->candidates[i]));
        done++;
        if (w->progress)
            w->progress(w->user, &(qf_progress){.testing = true,
                                                .iteration = done,
                                                .total = total,
                                                .what = "decomposing"});
    }
    if (!done)
        qf_amct_say(w->context, QF_INFO, STEP, "No tensor meets decomposition conditions.");
    return QF_OK;
}

/* ---- the step ---- */

static qf_status run(work *w, const char *model_file, const char *weights_file,
                     const char *new_model_file, const char *new_weights_file)
{
    qf_context *context = w->context;
    const char *inputs[] = {model_file, weights_file};
    const char *outputs[] = {new_model_file, new_weights_file};
    QF_TRY(qf_toolkit_check_outputs(context, outputs, 2, inputs, 2));
    QF_TRY(qf_toolkit_read(context, model_file, weights_file, &w->net, &w->weights));
    QF_TRY(qf_toolkit_check_any_weights(context, w->net, w->weights, weights_file));
    qf_amct_begin(context);
    QF_TRY(choose(w));
    QF_TRY(decompose(w));
    const size_t mark = qf_outputs_begin(context);
    qf_status status = qf_wire_write(context, new_weights_file, w->weights, 0640);
    if (status == QF_OK)
        status = qf_text_write(context, new_model_file, w->net, 0640);
    return qf_outputs_end(context, mark, status);
}

qf_status qf_auto_decomposition(qf_context *context, const char *model_file,
                                const char *weights_file, const char *new_model_file,
                                const char *new_weights_file, qf_action_function action,
                                qf_progress_function progress, void *user, qf_decomposition **out)
{
    work w = {.context = context, .action = action, .progress = progress, .user = user};
    w.found = *out = qf_alloc(1, sizeof **out);
    if (!w.found)
        return qf_fail(context, QF_E_MEMORY, "no memory for a decomposition");
    const qf_status status = run(&w, model_file, weights_file, new_model_file, new_weights_file);
    if (status == QF_OK)
        qf_toolkit_say_saved(context, new_model_file, new_weights_file);
    for (size_t i = 0; i < w.count; i++)
        qf_free(w.candidates[i].name);
    qf_free(w.candidates);
    qf_message_free(w.net);
    qf_message_free(w.weights);
    return qf_amct_outcome(context, STEP, status);
}

void qf_decomposition_destroy(qf_decomposition *decomposition)
{
    if (!decomposition)
        return;
    qf_rows_free(decomposition->layer, decomposition->layers);
    qf_free(decomposition);
}
