/* IFMR and HFMG (AMCT specification, G.7 and 10.3 of post-training quantisation): without a top,
 * they look at their bottoms in so many TEST passes, find the range of all these values, and leave
 * its factors in the record. How much memory that takes does not depend on how many passes. */
#include "layers/quantised/calibration.h"

#include "base/memory.h"
#include "layers/pending_records.h"
#include "layers/quantised/activation_record.h"

#include <math.h>
#include <string.h>

/* What both messages say. */
typedef struct settings {
    const char *algorithm, *doing; /* "IFMR", "ifmr" */
    uint32_t batch_num;
    bool with_offset;
    size_t object_count;
    char *const *object;
    const char *record;
} settings;

typedef struct state {
    settings settings;
    qf_ifmr_options options; /* of IFMR */
    bool *pools;             /* each object */
    const char **bottoms;    /* their names, as the model has them */
    const qf_layer *leader;  /* looks at the same values for the same range; or NULL */
    int calls;
    qf_ifmr_data ifmr;
    qf_ifmr_count *count; /* of the batch under way, while others may show it values; or NULL */
    qf_hfmg hfmg;         /* with bins while there is anything to do */
    float scale_d;
    int32_t offset_d;
    bool failed; /* a batch was refused, which may be in in part */
} state;

static bool is_hfmg(const qf_layer *layer)
{
    return layer->type == &qf_hfmg_layer;
}

/* ---- parameters ---- */

static int bits_of(const qf_layer *layer)
{
    return is_hfmg(layer) ? 8 : ((const state *)layer->state)->options.bits;
}

static settings ifmr_settings(const Caffe__IFMRParameter *p)
{
    return (settings){"IFMR",
                      "ifmr",
                      p->batch_num,
                      p->with_offset,
                      p->n_object_layer,
                      p->object_layer,
                      p->record_file_path};
}

static settings hfmg_settings(const Caffe__HFMGParameter *p)
{
    return (settings){"HFMG",
                      "hfmg",
                      p->batch_num,
                      p->with_offset,
                      p->n_object_layer,
                      p->object_layer,
                      p->record_file_path};
}

static qf_ifmr_options ifmr_options(const Caffe__IFMRParameter *p)
{
    return (qf_ifmr_options){.max_percentile = p->max_percentile,
                             .min_percentile = p->min_percentile,
                             .search_start = p->search_range_start,
                             .search_end = p->search_range_end,
                             .search_step = p->search_step,
                             .with_offset = p->with_offset,
                             .bits = (int)p->num_bits};
}

static qf_status check_settings(const qf_layer *layer, const settings *s)
{
    if (!s->object_count || !s->record)
        return qf_fail(layer->context, QF_E_FORMAT, "%s_param names no %s", s->doing,
                       s->record ? "object_layer" : "record_file_path");
    if (s->object_count > (size_t)layer->bottom_count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "%s_param names %zu layers, expected one for each of %d bottoms, whose "
                       "shape the record gets",
                       s->doing, s->object_count, layer->bottom_count);
    return QF_OK;
}

static qf_status check_bins(const qf_layer *layer, uint32_t bins)
{
    if (bins != 1024 && bins != 2048 && bins != 4096 && bins != 8192)
        return qf_fail(layer->context, QF_E_VALUE,
                       "num_of_bins %u must be in [1024, 2048, 4096, 8192]", bins);
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__LayerParameter *param = layer->param;
    state *s = layer->state;
    if (is_hfmg(layer) ? !param->hfmg_param : !param->ifmr_param)
        return qf_fail(layer->context, QF_E_FORMAT, "there is no %s_param",
                       is_hfmg(layer) ? "hfmg" : "ifmr");
    s->settings =
        is_hfmg(layer) ? hfmg_settings(param->hfmg_param) : ifmr_settings(param->ifmr_param);
    QF_TRY(check_settings(layer, &s->settings));
    s->pools = qf_alloc(s->settings.object_count, sizeof *s->pools);
    s->bottoms = qf_alloc((size_t)layer->bottom_count, sizeof *s->bottoms);
    if (!s->pools || !s->bottoms)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the layers of a range");
    if (is_hfmg(layer)) {
        const Caffe__HFMGParameter *p = param->hfmg_param;
        const uint32_t bins = p->has_num_of_bins ? p->num_of_bins : 4096;
        QF_TRY(check_bins(layer, bins));
        return qf_hfmg_begin(layer->context, bins, &s->hfmg);
    }
    const uint32_t bits = param->ifmr_param->num_bits;
    if (bits != 16 && (bits < 2 || bits > 8))
        return qf_fail(layer->context, QF_E_VALUE,
                       "ifmr_param.num_bits is %u, expected 2 to 8, or 16", bits);
    s->options = ifmr_options(param->ifmr_param);
    return qf_ifmr_check(layer->context, &s->options);
}

/* What the net calls a blob behind a Split begins with its name. */
static const char *name_in_model(const qf_layer *layer, const qf_neighbours *around, int index)
{
    const char *name = layer->bottom[index]->name;
    const qf_layer *from = around->producer(around->net, layer->bottom[index], layer);
    for (int t = 0; from && t < from->top_count; t++)
        if (strncmp(name, from->top[t]->name, strlen(from->top[t]->name)) == 0)
            return from->top[t]->name;
    return name;
}

static bool same_options(const state *a, const state *b)
{
    const qf_ifmr_options *p = &a->options, *q = &b->options;
    return a->settings.batch_num == b->settings.batch_num &&
           a->settings.with_offset == b->settings.with_offset && a->hfmg.bins == b->hfmg.bins &&
           p->max_percentile == q->max_percentile && p->min_percentile == q->min_percentile &&
           p->search_start == q->search_start && p->search_end == q->search_end &&
           p->search_step == q->search_step && p->bits == q->bits;
}

/* An earlier layer of the type that reads the same value, through the same Split, and is asked the
 * same: nobody needs to look twice. */
static const qf_layer *find_leader(const qf_layer *layer, const qf_neighbours *around)
{
    const qf_blob *blob = layer->bottom[0];
    const qf_layer *from = around->producer(around->net, blob, layer), *other;
    for (int i = 0; from && layer->bottom_count == 1; i++) {
        other = around->at(around->net, i);
        if (!other || other == layer)
            break;
        if (other->type == layer->type && other->bottom_count == 1 &&
            other->bottom[0]->data == blob->data &&
            around->producer(around->net, other->bottom[0], other) == from &&
            same_options(other->state, layer->state))
            return other;
    }
    return NULL;
}

static qf_status connect(qf_layer *layer, const qf_neighbours *around)
{
    state *s = layer->state;
    s->leader = find_leader(layer, around);
    if (s->leader)
        qf_hfmg_release(&s->hfmg);
    for (int b = 0; b < layer->bottom_count; b++)
        s->bottoms[b] = name_in_model(layer, around, b);
    for (size_t i = 0; i < s->settings.object_count; i++) {
        const qf_layer *object = around->find(around->net, s->settings.object[i]);
        s->pools[i] = object && strcmp(object->type->name, "Pooling") == 0;
    }
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->sweep->count_destroy(s->count);
    qf_ifmr_data_release(&s->ifmr);
    qf_hfmg_release(&s->hfmg);
    qf_free(s->pools);
    qf_free((void *)s->bottoms);
}

/* ---- looking ---- */

qf_calibration_progress qf_find_range_progress(const qf_layer *layer)
{
    const state *s = layer->state;
    return (qf_calibration_progress){s->calls,
                                     s->settings.batch_num ? (int)s->settings.batch_num : 1};
}

/* All bottoms; a single batch of one is not kept, but searched as it is. */
static bool looks_once(const qf_layer *layer)
{
    return layer->bottom_count == 1 && qf_find_range_progress(layer).wanted == 1;
}

/* Values that are to be counted may be counted where they are made. */
static qf_status prepare(qf_layer *layer)
{
    state *s = layer->state;
    const qf_calibration_progress now = qf_find_range_progress(layer);
    layer->device->sweep->count_destroy(s->count); /* of a pass that failed */
    s->count = NULL;
    if (is_hfmg(layer) || layer->phase != QF_TEST || s->failed || now.seen >= now.wanted ||
        s->leader || layer->bottom_count != 1 || looks_once(layer) ||
        qf_ifmr_data_keeps(&s->ifmr, qf_blob_count(layer->bottom[0])))
        return QF_OK;
    QF_TRY(qf_ifmr_data_need_bins(layer->context, &s->ifmr));
    return layer->device->sweep->count_begin(layer->context, &s->ifmr, &s->count);
}

static void stage(qf_layer *layer, qf_stage *out)
{
    if (layer->bottom_count != 1 || ((const state *)layer->state)->leader)
        return;
    out->kind = QF_STAGE_COUNT;
    out->count = ((const state *)layer->state)->count;
}

/* By itself it looks when the pass is concluded, at whatever form of the values is there. */
static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->sweep->count_destroy(s->count);
    s->count = NULL;
    return QF_OK;
}

/* What somebody else has shown it is in; which value is not finite, if one is. */
static qf_status end_count(qf_layer *layer)
{
    state *s = layer->state;
    qf_ifmr_count *count = s->count;
    const float *values;
    s->count = NULL;
    if (layer->device->sweep->count_end(count))
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_NHWC, &values));
    for (size_t i = 0;; i++)
        if (!isfinite(values[i]))
            return qf_within(layer->context, qf_ifmr_not_finite(layer->context, i, values[i]),
                             "blob '%s'", s->bottoms[0]);
}

static qf_status add_ifmr(qf_layer *layer)
{
    state *s = layer->state;
    if (s->count)
        return end_count(layer);
    for (int b = 0; b < layer->bottom_count && !looks_once(layer); b++)
        QF_TRY(qf_within(
            layer->context,
            layer->device->quantise->ifmr_add(layer->context, &s->ifmr, layer->bottom[b]->data),
            "blob '%s'", s->bottoms[b]));
    return QF_OK;
}

static qf_status decide_ifmr(qf_layer *layer)
{
    state *s = layer->state;
    if (!looks_once(layer))
        return layer->device->quantise->ifmr_decide(layer->context, &s->ifmr, &s->options,
                                                    &s->scale_d, &s->offset_d);
    return qf_within(layer->context,
                     layer->device->quantise->first_range(layer->context, layer->bottom[0]->data,
                                                          &s->options, &s->scale_d, &s->offset_d),
                     "blob '%s'", s->bottoms[0]);
}

static qf_status add_hfmg(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor **values = qf_alloc((size_t)layer->bottom_count, sizeof *values);
    if (!values)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a list of blobs");
    for (int b = 0; b < layer->bottom_count; b++)
        values[b] = layer->bottom[b]->data;
    const qf_status status =
        layer->device->quantise->hfmg_add(layer->context, &s->hfmg, values, layer->bottom_count);
    qf_free(values);
    return qf_within(layer->context, status, "blob '%s'", s->bottoms[0]);
}

static qf_status decide_hfmg(qf_layer *layer)
{
    state *s = layer->state;
    if (!s->hfmg.begun)
        return qf_fail(layer->context, QF_E_VALUE, "there are no values to find a range for");
    return layer->device->quantise->hfmg_decide(layer->context, &s->hfmg, s->settings.with_offset,
                                                &s->scale_d, &s->offset_d);
}

/* ---- the record ---- */

static qf_status record_range(qf_layer *layer)
{
    state *s = layer->state;
    qf_record *record;
    QF_TRY(qf_process_scale(layer->context, &s->scale_d));
    QF_TRY(qf_pending_record_of(layer->context, layer->records, s->settings.record, &record));
    for (size_t i = 0; i < s->settings.object_count; i++) {
        QF_TRY(qf_record_activation(layer->context, record, s->settings.object[i], s->pools[i],
                                    s->scale_d, s->offset_d, bits_of(layer),
                                    qf_blob_shape(layer->bottom[i])));
        qf_info(layer->context, "Do layer:\"%s\" activation calibration success!",
                s->settings.object[i]);
    }
    return QF_OK;
}

static void list_objects(const settings *s, qf_buffer *out)
{
    for (size_t i = 0; i < s->object_count; i++)
        qf_buffer_print(out, "%s%s", i ? " " : "", s->object[i]);
}

static void log_progress(const qf_layer *layer)
{
    const state *s = layer->state;
    const qf_calibration_progress now = qf_find_range_progress(layer);
    qf_buffer names = {0};
    list_objects(&s->settings, &names);
    qf_info(layer->context, "Doing layer: \"%s\" calibration, already store %d/%d data.",
            qf_buffer_text(&names), now.seen, now.wanted);
    qf_buffer_release(&names);
    if (now.seen == now.wanted)
        qf_info(layer->context, "Start to do %s quant.", s->settings.doing);
}

static qf_status look(qf_layer *layer)
{
    QF_TRY(is_hfmg(layer) ? add_hfmg(layer) : add_ifmr(layer));
    ((state *)layer->state)->calls++;
    return QF_OK;
}

static qf_status decide(qf_layer *layer)
{
    state *s = layer->state;
    if (!s->leader)
        return is_hfmg(layer) ? decide_hfmg(layer) : decide_ifmr(layer);
    s->scale_d = ((const state *)s->leader->state)->scale_d;
    s->offset_d = ((const state *)s->leader->state)->offset_d;
    return QF_OK;
}

/* One more batch, which a leader has looked at. */
static qf_status go_on(qf_layer *layer)
{
    state *s = layer->state;
    if (!s->leader)
        QF_TRY(look(layer));
    else if (s->calls < ((const state *)s->leader->state)->calls)
        s->calls++;
    else /* only a part of the net runs, without the leader */
        return QF_OK;
    log_progress(layer);
    if (s->calls < qf_find_range_progress(layer).wanted)
        return QF_OK;
    QF_TRY(decide(layer));
    QF_TRY(record_range(layer));
    qf_ifmr_data_release(&s->ifmr);
    qf_hfmg_release(&s->hfmg);
    return QF_OK;
}

/* Layers behind one that refuses a batch do not see it, so none can go on counting. */
static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    const qf_calibration_progress now = qf_find_range_progress(layer);
    if (layer->phase != QF_TEST || now.seen >= now.wanted)
        return QF_OK;
    const qf_status status = s->failed
                                 ? qf_fail(layer->context, QF_E_VALUE,
                                           "a batch before this one was refused; make the net anew")
                                 : go_on(layer);
    s->failed = status != QF_OK;
    return qf_within(layer->context, status, "Do %s calibration failed", s->settings.algorithm);
}

static qf_status nothing(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

#define LOOKS                                                                                      \
    .state_size = sizeof(state), QF_BOTTOMS(1, -1), .no_backward = true, .setup = setup,           \
    .connect = connect, .reshape = nothing, .prepare = prepare, .forward = forward,                \
    .stage = stage, .conclude = conclude, .destroy = destroy

const qf_layer_type qf_ifmr_layer = {.name = "IFMR", LOOKS};
const qf_layer_type qf_hfmg_layer = {.name = "HFMG", LOOKS};
