/* ActivationQAT: fake quantisation of activations with a learned clip range (specification, G.1).
 * The top holds only codes; whoever wants floats gets them dequantised. */
#include "base/memory.h"
#include "layers/layer.h"
#include "layers/pending_records.h"
#include "layers/quantised/activation_record.h"
#include "layers/quantised/range_learning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CLIP_MAX, CLIP_MIN };

/* A layer that reads the codes, as the record names it. */
typedef struct object {
    char *name;
    bool pools;
} object;

typedef struct state {
    object *objects;
    size_t object_count, object_capacity;
    qf_clip clip;
    qf_ulq factors;
    bool initialised; /* the clip range holds a measured or trained value */
    bool shapes_logged;
    bool unusable_warned;          /* of a range that an update left */
    qf_blob *valid;                /* clip.previous_…, for snapshots; 0, 0: none yet */
    uint64_t recorded_versions[2]; /* of the parameters when the record was last written */
    /* Of ranges that learn otherwise than AMCT's: what a pass sums for each end, and what gradients
     * were so far (qf_gradient_memory), for snapshots. */
    qf_tensor *sums[2];
    qf_blob *memory;
} state;

static const Caffe__RetrainDataQuantParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, retrain_data_quant_param, RETRAIN_DATA_QUANT_, RetrainDataQuant);
}

static int bits_of(const qf_layer *layer)
{
    return (int)param_of(layer)->num_bits;
}

static bool learns(const qf_layer *layer)
{
    return qf_range_learns(param_of(layer)->range_learning);
}

static qf_learned_range range_of(const qf_layer *layer)
{
    const state *s = layer->state;
    return (qf_learned_range){.max = s->clip.max,
                              .min = s->clip.min,
                              .bits = bits_of(layer),
                              .fixed_min = param_of(layer)->fixed_min};
}

static qf_ulq_terms terms_of(const qf_layer *layer)
{
    const qf_learned_range range = range_of(layer);
    return qf_range_terms(param_of(layer)->range_learning, &range);
}

static qf_status set_up_learning(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape single = qf_shape_make(1, (int[]){1}), pair = qf_shape_make(1, (int[]){2});
    if (!learns(layer))
        return QF_OK;
    for (int i = 0; i < 2; i++) {
        QF_TRY(qf_tensor_create(layer->context, &s->sums[i]));
        QF_TRY(qf_tensor_reshape(layer->context, s->sums[i], &single));
    }
    QF_TRY(qf_blob_create(layer->context, "memory", &s->memory));
    return qf_blob_reshape_to(s->memory, &pair);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__RetrainDataQuantParameter *p = param_of(layer);
    const qf_shape single = qf_shape_make(1, (int[]){1});
    const float initial[2] = {p->clip_max, p->fixed_min ? 0 : p->clip_min};
    if (!p->ifmr_init && !(initial[CLIP_MAX] > initial[CLIP_MIN]))
        return qf_fail(layer->context, QF_E_VALUE,
                       "clip_max %g must be greater than clip_min %g: an empty range cannot be "
                       "quantised",
                       (double)initial[CLIP_MAX], (double)initial[CLIP_MIN]);
    if (p->num_bits != QF_BITS_WIDE && (p->num_bits < QF_BITS_MIN || p->num_bits > QF_BITS_CODE))
        return qf_fail(layer->context, QF_E_VALUE,
                       "retrain_data_quant_param.num_bits is %u, expected %d to %d, or %d",
                       p->num_bits, QF_BITS_MIN, QF_BITS_CODE, QF_BITS_WIDE);
    for (int i = 0; i < 2; i++) {
        Caffe__FillerParameter filler = CAFFE__FILLER_PARAMETER__INIT;
        filler.has_value = true;
        filler.value = initial[i];
        QF_TRY(qf_layer_add_param(layer, &single, &filler));
    }
    state *s = layer->state;
    s->clip = (qf_clip){initial[0], initial[1], initial[0], initial[1]};
    QF_TRY(qf_blob_create(layer->context, "valid", &s->valid));
    const qf_shape pair = qf_shape_make(1, (int[]){2});
    QF_TRY(qf_blob_reshape_to(s->valid, &pair));
    return set_up_learning(layer);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    for (size_t i = 0; i < s->object_count; i++)
        qf_free(s->objects[i].name);
    qf_free(s->objects);
    qf_blob_release(s->valid);
    qf_blob_release(s->memory);
    for (int i = 0; i < 2; i++)
        qf_tensor_release(s->sums[i]);
}

/* A range that an update has made unusable goes back to the last valid one, which the next run
 * cannot know from the weights. */
static int carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX])
{
    const state *s = layer->state;
    blobs[0] = s->valid;
    blobs[1] = s->memory;
    return s->memory ? 2 : 1;
}

/* What the range goes back to when a net begins: what a snapshot says. Without one, the last update
 * may have pushed an end across zero: then zero. */
static qf_status begin_range(qf_layer *layer, const float clip[2])
{
    state *s = layer->state;
    const float *valid;
    QF_TRY(qf_read(layer->context, s->valid->data, QF_PLAIN, &valid));
    const bool known = valid[CLIP_MAX] > valid[CLIP_MIN];
    s->clip = (qf_clip){clip[CLIP_MAX], clip[CLIP_MIN],
                        known ? valid[CLIP_MAX] : fmaxf(clip[CLIP_MAX], 0),
                        known ? valid[CLIP_MIN] : fminf(clip[CLIP_MIN], 0)};
    return QF_OK;
}

static qf_status keep_valid(qf_layer *layer)
{
    const state *s = layer->state;
    float *valid;
    QF_TRY(qf_write(layer->context, s->valid->data, QF_PLAIN, &valid));
    valid[CLIP_MAX] = s->clip.previous_max;
    valid[CLIP_MIN] = s->clip.previous_min;
    return QF_OK;
}

static qf_status get_clip(qf_layer *layer, float clip[2])
{
    for (int i = 0; i < 2; i++) {
        const float *value;
        QF_TRY(qf_read(layer->context, layer->params[i].blob->data, QF_PLAIN, &value));
        clip[i] = value[0];
    }
    return QF_OK;
}

/* Writes only what differs, so that an unchanged range is no new version. */
static qf_status set_clip(qf_layer *layer, const float clip[2])
{
    float before[2];
    QF_TRY(get_clip(layer, before));
    for (int i = 0; i < 2; i++) {
        float *value;
        if (before[i] == clip[i])
            continue;
        QF_TRY(qf_write(layer->context, layer->params[i].blob->data, QF_PLAIN, &value));
        value[0] = clip[i];
    }
    return QF_OK;
}

/* The first range, from the first batch (IFMR). */
static qf_status measure(qf_layer *layer, float clip[2])
{
    const int bits = bits_of(layer), half = 1 << (bits - 1);
    qf_ifmr_options options = qf_ifmr_defaults;
    float scale;
    int32_t offset_d;
    options.bits = bits;
    QF_TRY(layer->device->quantise->first_range(layer->context, layer->bottom[0]->data, &options,
                                                &scale, &offset_d));
    clip[CLIP_MIN] = 0 - scale * (float)(offset_d + half); /* 0, not -0 */
    clip[CLIP_MAX] = scale * (float)(2 * half - 1) + clip[CLIP_MIN];
    qf_info(layer->context, "Layer %s: first clip range %g ... %g", layer->name,
            (double)clip[CLIP_MIN], (double)clip[CLIP_MAX]);
    return QF_OK;
}

/* Until somebody measured or trained the range, it is what the prototxt says. A net resumed from a
 * snapshot must not measure again. */
static bool must_measure(const qf_layer *layer, const float clip[2])
{
    const Caffe__RetrainDataQuantParameter *p = param_of(layer);
    const bool untouched = clip[CLIP_MAX] == p->clip_max &&
                           (clip[CLIP_MIN] == p->clip_min || (p->fixed_min && clip[CLIP_MIN] == 0));
    return !((const state *)layer->state)->initialised && p->ifmr_init &&
           (untouched || !(clip[CLIP_MAX] > clip[CLIP_MIN]));
}

/* The range to use now, made valid and stored in the parameters. */
static qf_status settle_range(qf_layer *layer, const float clip[2])
{
    state *s = layer->state;
    if (!s->initialised)
        QF_TRY(begin_range(layer, clip));
    s->initialised = true;
    s->clip.max = clip[CLIP_MAX];
    s->clip.min = clip[CLIP_MIN];
    if (qf_clip_check(&s->clip)) {
        qf_log(layer->context, s->unusable_warned ? QF_INFO : QF_WARNING, __FILE__, __LINE__,
               "Layer %s: clip range %g ... %g is not usable, going back to %g ... %g", layer->name,
               (double)clip[CLIP_MIN], (double)clip[CLIP_MAX], (double)s->clip.min,
               (double)s->clip.max);
        s->unusable_warned = true;
    }
    if (param_of(layer)->fixed_min)
        s->clip.min = 0;
    if (!(s->clip.max > s->clip.min))
        return qf_fail(layer->context, QF_E_VALUE,
                       "the clip range is empty: clip_max %g, clip_min %g (are all inputs zero?)",
                       (double)s->clip.max, (double)s->clip.min);
    s->factors = qf_ulq_factors(s->clip.max, s->clip.min, bits_of(layer));
    QF_TRY(keep_valid(layer));
    return set_clip(layer, (float[]){s->clip.max, s->clip.min});
}

/* A range that has to be measured first is forward's to settle, which has the values. */
static qf_status prepare(qf_layer *layer)
{
    float clip[2];
    QF_TRY(get_clip(layer, clip));
    if (isnan(clip[0]) || isnan(clip[1]))
        return qf_fail(layer->context, QF_E_VALUE,
                       "the clip range has become NaN: training diverged; use a smaller base_lr");
    return must_measure(layer, clip) ? QF_OK : settle_range(layer, clip);
}

/* ---- the record ---- */

/* object_layer joins names by '-'; a name may contain '-' itself, so the longest that exists wins.
 */
static const char *next_object(const qf_neighbours *around, const char *names, char *name,
                               size_t size)
{
    size_t length = strlen(names);
    for (size_t end = length; end > 0; end--) {
        if ((end != length && names[end] != '-') || end >= size)
            continue;
        memcpy(name, names, end);
        name[end] = '\0';
        if (around->find(around->net, name))
            return names + end + (names[end] == '-');
    }
    size_t first = strcspn(names, "-");
    snprintf(name, size, "%.*s", (int)first, names);
    return names + first + (names[first] == '-');
}

static qf_status connect(qf_layer *layer, const qf_neighbours *around)
{
    state *s = layer->state;
    const char *names = param_of(layer)->object_layer;
    char name[512];
    while (names && *names) {
        names = next_object(around, names, name, sizeof name);
        const qf_layer *found = around->find(around->net, name);
        if (!qf_grow(&s->objects, &s->object_capacity, s->object_count + 1, sizeof *s->objects) ||
            !(s->objects[s->object_count].name = qf_strdup(name)))
            return qf_fail(layer->context, QF_E_MEMORY, "no memory for a name");
        s->objects[s->object_count++].pools = found && strcmp(found->type->name, "Pooling") == 0;
    }
    return QF_OK;
}

static qf_status record_objects(qf_layer *layer, qf_record *record)
{
    const state *s = layer->state;
    for (size_t i = 0; i < s->object_count; i++)
        QF_TRY(qf_record_activation(layer->context, record, s->objects[i].name, s->objects[i].pools,
                                    s->factors.scale, qf_ulq_offset_d(s->factors),
                                    (int)param_of(layer)->num_bits,
                                    qf_blob_shape(layer->bottom[0])));
    return QF_OK;
}

/* Test passes leave the factors in the record, whenever they changed. */
static qf_status update_record(qf_layer *layer)
{
    const Caffe__RetrainDataQuantParameter *p = param_of(layer);
    state *s = layer->state;
    uint64_t now[2] = {layer->params[0].blob->data->version, layer->params[1].blob->data->version};
    if (layer->phase != QF_TEST || !p->record_file_path || !p->object_layer ||
        memcmp(now, s->recorded_versions, sizeof now) == 0)
        return QF_OK;
    qf_record *record;
    QF_TRY(qf_pending_record_of(layer->context, layer->records, p->record_file_path, &record));
    QF_TRY(record_objects(layer, record));
    if (!s->shapes_logged)
        qf_info(layer->context, "Do layer:\"%s\" activation retrain success!", p->object_layer);
    s->shapes_logged = true;
    memcpy(s->recorded_versions, now, sizeof now);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    if (!s->initialised) {
        float clip[2];
        QF_TRY(measure(layer, clip));
        QF_TRY(settle_range(layer, clip));
    }
    return layer->device->quantise->activations(layer->context, layer->bottom[0]->data, s->factors,
                                                layer->top[0]->data);
}

/* Where the gradient of an end of the range is summed; NULL: nobody asks. */
static qf_tensor *sum_of(const qf_layer *layer, int end)
{
    qf_tensor *gradient = qf_layer_param_gradient(layer, end);
    return gradient && learns(layer) ? ((const state *)layer->state)->sums[end] : gradient;
}

static void stage(qf_layer *layer, qf_stage *out)
{
    const state *s = layer->state;
    if (bits_of(layer) > QF_BITS_CODE)
        return; /* values, no codes */
    out->kind = QF_STAGE_QUANTISE;
    out->quantise.known = s->initialised;
    out->quantise.regular =
        !s->initialised || qf_ulq_is_regular(s->factors, s->clip.max, s->clip.min);
    out->quantise.codes = s->factors;
    out->quantise.terms = terms_of(layer);
    for (int i = 0; i < 2; i++)
        out->quantise.d_clip[i] = sum_of(layer, i);
}

static qf_status backward(qf_layer *layer)
{
    qf_tensor *const d_clip[] = {sum_of(layer, CLIP_MAX), sum_of(layer, CLIP_MIN)};
    return layer->device->quantise->activations_backward(
        layer->context, layer->bottom[0]->data, layer->top[0]->diff, terms_of(layer),
        layer->propagate_down[0] ? layer->bottom[0]->diff : NULL, d_clip);
}

static qf_status take_sums(qf_layer *layer, double sums[2])
{
    const state *s = layer->state;
    for (int i = 0; i < 2; i++) {
        const float *sum;
        QF_TRY(qf_read(layer->context, s->sums[i], QF_PLAIN, &sum));
        sums[i] = (double)sum[0];
        qf_tensor_set_zero(s->sums[i]);
    }
    return QF_OK;
}

/* What the pass has summed becomes what the method gives the solver. */
static qf_status settle_gradients(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_learned_range range = range_of(layer);
    double sums[2];
    float gradient[2], *memory;
    if (!learns(layer) || (qf_tensor_is_zero(s->sums[0]) && qf_tensor_is_zero(s->sums[1])))
        return QF_OK;
    QF_TRY(take_sums(layer, sums));
    QF_TRY(qf_update(layer->context, s->memory->data, QF_PLAIN, &memory));
    qf_gradient_memory before = {memory[0], memory[1]};
    qf_range_gradient(param_of(layer)->range_learning, &range, sums, &before, gradient);
    memory[0] = before.square;
    memory[1] = before.count;
    for (int i = 0; i < 2; i++) {
        qf_tensor *const to = qf_layer_param_gradient(layer, i);
        float *value;
        if (!to)
            continue;
        QF_TRY(qf_update(layer->context, to, QF_PLAIN, &value));
        value[0] += gradient[i];
    }
    return QF_OK;
}

/* As it is in the parameters: an update may have left ends that no pass will use. */
static qf_status range(qf_layer *layer, double *out)
{
    float clip[2];
    QF_TRY(get_clip(layer, clip));
    const bool is_nan = isnan(clip[0]) || isnan(clip[1]); /* fmax() would pass over one */
    *out = is_nan ? (double)NAN : (double)fmaxf(fabsf(clip[0]), fabsf(clip[1]));
    return QF_OK;
}

const qf_layer_type qf_activation_qat_layer = {
    .name = "ActivationQAT",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .ignores_tops = true,
    .quantised = true,
    .range = range,
    .carried = carried,
    .setup = setup,
    .connect = connect,
    .reshape = qf_layer_reshape_like_bottom,
    .prepare = prepare,
    .forward = forward,
    .conclude = update_record,
    .stage = stage,
    .backward = backward,
    .settle_gradients = settle_gradients,
    .destroy = destroy,
};
