/* SearchN: the shift N that brings accumulators into 16 bits, searched while testing
 * (specification, G.3). Stands behind the layer and whatever will be folded into it. In training it
 * keeps sums of squared errors only; in a calibration model, where the accumulators' step is known
 * in the last batch, the largest values until then. So memory does not depend on batch_num. */
#include "layers/quantised/search_n.h"

#include "base/memory.h"
#include "layers/pending_records.h"
#include "layers/quantised/calibration.h"
#include "layers/quantised/search_factors.h"

typedef struct state {
    qf_search_target *targets; /* one for each layer_name */
    qf_shift_errors *errors;   /* of each channel */
    qf_search_factors factors;
    bool common;             /* one shift for all channels */
    int calls;               /* in the running search */
    uint64_t version;        /* of all factors when the search began */
    qf_shift_search *search; /* of the batch under way; or NULL */
    /* In a calibration model of several batches; else NULL. */
    qf_shift_tail *tails; /* of each channel */
    qf_shift_rows rows;
} state;

static const Caffe__SearchNParameter *param_of(const qf_layer *layer)
{
    static const Caffe__SearchNParameter all_defaults = CAFFE__SEARCH_NPARAMETER__INIT;
    return layer->param->search_n_param ? layer->param->search_n_param : &all_defaults;
}

static qf_status connect(qf_layer *layer, const qf_neighbours *around)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    s->targets = qf_alloc(p->n_layer_name, sizeof *s->targets);
    if (!s->targets)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the layers of a search");
    for (size_t i = 0; i < p->n_layer_name; i++)
        s->targets[i] = qf_search_target_of(layer, around, p->layer_name[i]);
    return QF_OK;
}

/* ---- a search begins ---- */

/* Room for what it finds of each channel. */
static qf_status make_room(qf_layer *layer, bool gathers)
{
    state *s = layer->state;
    const size_t channels = qf_tensor_extent(qf_blob_shape(layer->bottom[0])).channels;
    s->calls = 0;
    s->rows = (qf_shift_rows){0, 0};
    qf_free(s->errors);
    qf_free(s->tails);
    s->errors = qf_alloc(channels, sizeof *s->errors);
    s->tails = gathers ? qf_alloc(channels, sizeof *s->tails) : NULL;
    if (!s->errors || (gathers && !s->tails))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the search of shifts");
    return qf_search_factors_resize(layer->context, &s->factors, channels);
}

/* A 1 x 1 output has too few values for a search of its own in each channel. */
static void settle_channels(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    s->common = s->factors.scales != s->factors.channels ||
                (shape->axes == 4 && qf_tensor_extent(shape).inner == 1);
}

static qf_status start_search(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    QF_TRY(make_room(layer, false));
    for (size_t i = 0; i < p->n_layer_name; i++) {
        QF_TRY(qf_search_target_check(layer, &s->targets[i], p->layer_name[i]));
        QF_TRY(qf_search_factors_train(layer, &s->targets[i], i == 0, &s->factors));
    }
    QF_TRY(qf_search_factors_check(layer->context, &s->factors));
    settle_channels(layer);
    return QF_OK;
}

/* Of a calibration model: the weights' scales are there. */
static qf_status start_calibration(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    QF_TRY(make_room(layer, qf_search_n_batches(layer) > 1));
    for (size_t i = 0; i < p->n_layer_name; i++) {
        QF_TRY(qf_search_target_check(layer, &s->targets[i], p->layer_name[i]));
        QF_TRY(qf_search_factors_read_weights(layer, p->record_file_path, p->layer_name[i], i == 0,
                                              &s->factors));
    }
    settle_channels(layer);
    return QF_OK;
}

/* Now that the scale of the input is known. */
static qf_status find_steps(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    for (size_t i = 0; i < p->n_layer_name; i++)
        QF_TRY(qf_search_factors_read_steps(layer, p->record_file_path, p->layer_name[i], i == 0,
                                            &s->factors));
    return qf_search_factors_check(layer->context, &s->factors);
}

/* ---- and ends ---- */

static void list_names(const qf_layer *layer, qf_buffer *out)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    for (size_t i = 0; i < p->n_layer_name; i++)
        qf_buffer_print(out, "%s%s", i ? " " : "", p->layer_name[i]);
}

static qf_status record_shifts(qf_layer *layer, qf_record *record, const int *shift)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    for (size_t i = 0; i < p->n_layer_name; i++) {
        qf_record_entry *entry;
        QF_TRY(qf_record_find_or_add(layer->context, record, p->layer_name[i], &entry));
        QF_TRY(qf_record_set_scales(layer->context, entry, s->factors.scale_w, s->factors.scales));
        QF_TRY(qf_record_set_shifts(layer->context, entry, shift, s->factors.scales));
        if (s->factors.weight_bits) {
            entry->has_num_bits_w = s->factors.weight_bits != 8;
            entry->num_bits_w = (uint32_t)s->factors.weight_bits;
        }
    }
    return QF_OK;
}

/* The errors of all batches, where only those of the last one were summed. */
static void extend_errors(state *s)
{
    for (size_t c = 0; s->tails && c < s->factors.channels; c++)
        qf_shift_errors_of_all(&s->tails[c], s->rows, s->factors.deq[c], &s->errors[c]);
    qf_free(s->tails);
    s->tails = NULL;
}

static qf_status finish_search(qf_layer *layer)
{
    state *s = layer->state;
    const size_t channels = s->factors.channels;
    int *shift = qf_alloc(channels, sizeof *shift);
    if (!shift)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for shifts");
    extend_errors(s);
    qf_shift_errors sum = {{0}};
    for (size_t c = 0; c < channels; c++)
        for (int n = 0; n < QF_SHIFT_MAX; n++)
            sum.error[n] += s->errors[c].error[n];
    for (size_t c = 0; c < channels; c++)
        shift[c] = qf_shift_best(s->common ? &sum : &s->errors[c]);
    qf_record *record = NULL;
    qf_status status = qf_pending_record_of(layer->context, layer->records,
                                            param_of(layer)->record_file_path, &record);
    if (status == QF_OK)
        status = record_shifts(layer, record, shift);
    qf_free(shift);
    return status;
}

/* ---- the layer ---- */

static qf_status setup(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    if (!p->n_layer_name)
        return qf_fail(layer->context, QF_E_FORMAT, "search_n_param names no layer (layer_name)");
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    return layer->top_count ? qf_layer_reshape_like_bottom(layer) : QF_OK;
}

int qf_search_n_batches(const qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    return p->has_batch_num && p->batch_num ? (int)p->batch_num : 1;
}

/* In place, the values just go on. */
static void stage(qf_layer *layer, qf_stage *out)
{
    if (layer->bottom_count != 1 || layer->top_count != 1 || layer->top[0] != layer->bottom[0])
        return;
    out->kind = QF_STAGE_SEARCH;
    out->search = ((const state *)layer->state)->search;
}

qf_calibration_progress qf_search_n_progress(const qf_layer *layer)
{
    return (qf_calibration_progress){((const state *)layer->state)->calls,
                                     qf_search_n_batches(layer)};
}

static qf_status prepare_training(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    QF_TRY(qf_search_target_check(layer, &s->targets[0], p->layer_name[0]));
    const uint64_t now = qf_search_target_version(&s->targets[0]);
    if (!s->errors || now != s->version) {
        QF_TRY(start_search(layer));
        s->version = now;
    }
    return s->calls < qf_search_n_batches(layer)
               ? layer->device->sweep->search_begin(layer->context, s->factors.deq, NULL,
                                                    s->factors.channels, &s->search)
               : QF_OK; /* done for these weights */
}

static qf_status prepare_calibration(qf_layer *layer)
{
    state *s = layer->state;
    const int batches = qf_search_n_batches(layer);
    const bool last = s->calls == batches - 1;
    if (layer->phase != QF_TEST || s->calls >= batches)
        return QF_OK;
    if (!s->factors.scale_w)
        QF_TRY(start_calibration(layer));
    if (last)
        QF_TRY(find_steps(layer));
    return layer->device->sweep->search_begin(layer->context, last ? s->factors.deq : NULL,
                                              s->tails, s->factors.channels, &s->search);
}

/* Begin one batch, unless the layer has seen all that it wants to. */
static qf_status prepare(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->sweep->search_destroy(s->search); /* of a pass that failed */
    s->search = NULL;
    if (!param_of(layer)->record_file_path)
        return qf_fail(layer->context, QF_E_FORMAT, "search_n_param has no record_file_path");
    return qf_search_target_is_trained(&s->targets[0]) ? prepare_training(layer)
                                                       : prepare_calibration(layer);
}

static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    const int batches = qf_search_n_batches(layer);
    if (!s->search)
        return QF_OK;
    layer->device->sweep->search_end(s->search, s->errors);
    s->search = NULL;
    s->rows.recent =
        s->factors.channels ? qf_blob_count(layer->bottom[0]) / s->factors.channels : 0;
    s->rows.all += s->rows.recent;
    s->calls++;
    qf_buffer names = {0};
    list_names(layer, &names);
    qf_info(layer->context,
            "Doing layer: [%s] search shift bits calibration, already store %d/%d data.",
            qf_buffer_text(&names), s->calls, batches);
    qf_status status = s->calls == batches ? finish_search(layer) : QF_OK;
    if (status == QF_OK && s->calls == batches)
        qf_info(layer->context, "Do layer: [%s] search shift bits calibration success!",
                qf_buffer_text(&names));
    qf_buffer_release(&names);
    return status;
}

/* A sweep with no other stage. */
static qf_status show_values(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t count = qf_blob_count(layer->bottom[0]), channels = s->factors.channels;
    const qf_sweep sweep = {
        .rows = channels ? count / channels : 0, .channels = channels, .search = s->search};
    return count ? layer->device->sweep->forward(layer->context, &sweep, layer->bottom[0]->data,
                                                 NULL, NULL, NULL)
                 : QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    if (((const state *)layer->state)->search)
        QF_TRY(show_values(layer));
    if (!layer->top_count || layer->top[0] == layer->bottom[0])
        return QF_OK;
    return qf_tensor_copy(layer->context, layer->top[0]->data, layer->bottom[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    if (!layer->top_count || layer->top[0] == layer->bottom[0] || !layer->propagate_down[0])
        return QF_OK;
    return qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->sweep->search_destroy(s->search);
    qf_free(s->targets);
    qf_free(s->errors);
    qf_free(s->tails);
    qf_search_factors_release(&s->factors);
}

/* It only looks. */
static bool keeps_signs(const qf_layer *layer)
{
    (void)layer;
    return true;
}

const qf_layer_type qf_search_n_layer = {
    .name = "SearchN",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, -1),
    QF_TOPS(0, 1),
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .keeps_signs = keeps_signs,
    .quantised = true,
    .setup = setup,
    .connect = connect,
    .reshape = reshape,
    .prepare = prepare,
    .forward = forward,
    .conclude = conclude,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
