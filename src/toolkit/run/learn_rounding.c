/* Adaptive rounding, layer by layer: positions are picked from the float and the fake-quant net,
 * codes learned of them (toolkit/ptq/ada_round.c), and put where both the running net and the next
 * export have them. */
#include "toolkit/run/learn_rounding.h"

#include "base/amct_log.h"
#include "base/clock.h"
#include "base/memory.h"
#include "toolkit/ptq/ada_round.h"
#include "toolkit/report/net_pair.h"
#include "toolkit/run/layer_samples.h"
#include "toolkit/toolkit.h"

#include <string.h>

enum { BATCHES = 64, FEWEST = 16 /* positions */, SEED = 1 };

typedef struct rounding {
    qf_context *context;
    qf_flow *flow;
    qf_quant_graph *graph;
    qf_net_pair pair;
    qf_random random;
    int batches, iterations;
    int done, layers;       /* layers that have been learned, of so many */
    double weights, of_all; /* weights of layers that have been learned, and of all */
    size_t now;             /* weights of the layer that learns */
    double start;
} rounding;

/* ---- layers ---- */

/* NULL: its weights are none, or none of ARQ's. */
static const qf_quantised *factors_of(const rounding *r, const qf_pair_unit *unit, size_t *index)
{
    const char *name = r->pair.fake->layers[unit->object]->name;
    const qf_config *config = &r->graph->config;
    for (size_t i = 0; i < config->count; i++) {
        const qf_layer_config *layer = &config->layers[i];
        *index = i;
        if (strcmp(layer->name, name) == 0)
            return layer->support.has_weights && layer->weight_method == QF_ARQ
                       ? qf_quantised_find(&r->graph->quantised, name)
                       : NULL;
    }
    return NULL;
}

/* The only reader of its output is ReLU, and what that lets through is all that counts. */
static bool is_rectified(const qf_net *net, int index)
{
    const qf_layer *reader = NULL;
    const qf_blob *top = net->layers[index]->top[0];
    int readers = 0;
    for (int i = index + 1; i < net->layer_count; i++)
        for (int b = 0; b < net->layers[i]->bottom_count; b++)
            if (net->layers[i]->bottom[b] == top) {
                reader = net->layers[i];
                readers++;
            }
    if (readers != 1 || strcmp(reader->type->name, "ReLU") != 0)
        return false;
    const Caffe__ReLUParameter *p = reader->param->relu_param;
    return !p || p->negative_slope == 0;
}

static void count_layers(rounding *r)
{
    size_t index;
    for (size_t i = 0; i < r->pair.count; i++) {
        const qf_quantised *q = factors_of(r, &r->pair.units[i], &index);
        r->layers += q != NULL;
        r->of_all += q ? (double)q->code_count : 0;
    }
}

/* ---- one of them ---- */

static qf_status go_on(const rounding *r)
{
    const qf_run_callbacks callbacks = qf_flow_callbacks(r->flow);
    return callbacks.action && callbacks.action(callbacks.user) == QF_STOP
               ? qf_fail(r->context, QF_E_STOPPED, "stopped while rounding was learned")
               : QF_OK;
}

/* The time of an iteration goes with the weights. */
static qf_status tell(void *user, int iterations)
{
    rounding *r = user;
    const qf_run_callbacks callbacks = qf_flow_callbacks(r->flow);
    const double done = r->weights + (double)r->now * iterations / r->iterations;
    if (callbacks.progress)
        callbacks.progress(
            callbacks.user,
            &(qf_progress){.testing = true,
                           .iteration = r->done * r->iterations + iterations,
                           .total = r->layers * r->iterations,
                           .seconds_left = (qf_seconds() - r->start) / done * (r->of_all - done)});
    return go_on(r);
}

static qf_status gather(rounding *r, const qf_pair_unit *unit, qf_layer_samples *samples)
{
    for (int b = 0; b < r->batches; b++) {
        QF_TRY(qf_net_pair_next(&r->pair));
        QF_TRY(qf_layer_samples_add(&r->pair, unit, &r->random, samples));
        QF_TRY(go_on(r));
    }
    return QF_OK;
}

/* The layer's weights in the order of the problem, which is the blob's but for a Deconvolution. */
typedef struct ordered {
    float *weight, *scale;
    int8_t *code;
} ordered;

static void release_ordered(ordered *o)
{
    qf_free(o->weight);
    qf_free(o->scale);
    qf_free(o->code);
}

static qf_status order(const rounding *r, const qf_layer_samples *s, const float *weight,
                       const qf_learned_codes *codes, ordered *out)
{
    const size_t outputs = s->groups * s->outputs;
    out->weight = qf_alloc_raw(codes->count, sizeof *out->weight);
    out->scale = qf_alloc_raw(outputs, sizeof *out->scale);
    out->code = qf_alloc_raw(codes->count, sizeof *out->code);
    if (!out->weight || !out->scale || !out->code)
        return qf_fail(r->context, QF_E_MEMORY, "no memory for %zu weights", codes->count);
    if (codes->count != outputs * s->inputs)
        return qf_fail(r->context, QF_E_MISMATCH, "the models are not of one net");
    for (size_t i = 0; i < codes->count; i++)
        out->weight[i] = weight[qf_layer_samples_place(s, i)];
    for (size_t c = 0; c < outputs; c++)
        out->scale[c] = codes->scale[c % codes->scales];
    return QF_OK;
}

/* For the layers behind it, and for the next export. */
static qf_status give(const rounding *r, const qf_pair_unit *unit, const qf_layer_samples *s,
                      const ordered *o, qf_learned_codes *codes)
{
    float *w;
    QF_TRY(qf_write(r->context, r->pair.fake->layers[unit->object]->params[0].blob->data, QF_PLAIN,
                    &w));
    for (size_t i = 0; i < codes->count; i++) {
        const size_t at = qf_layer_samples_place(s, i);
        codes->code[at] = o->code[i];
        w[at] = (float)o->code[i] * o->scale[i / s->inputs];
    }
    return QF_OK;
}

static qf_status solve(rounding *r, const qf_pair_unit *unit, const qf_layer_samples *samples,
                       const qf_quantised *q, const ordered *o)
{
    const qf_layer *object = r->pair.fake->layers[unit->object];
    qf_rounding_problem problem = {
        .groups = samples->groups,
        .outputs = samples->outputs,
        .inputs = samples->inputs,
        .samples = samples->count,
        .room = samples->room,
        .input = samples->input,
        .target = samples->target,
        .rectified = is_rectified(r->pair.plain, unit->plain),
        .weight = o->weight,
        .scale = o->scale,
        .scales = samples->groups * samples->outputs,
        .bits = q->weight_bits,
        .iterations = r->iterations,
    };
    qf_ada_round_result result;
    if (object->param_count > 1)
        QF_TRY(qf_read(r->context, object->params[1].blob->data, QF_PLAIN, &problem.bias));
    QF_TRY(qf_ada_round(r->context, &problem, tell, r, o->code, &result));
    qf_amct_say(r->context, QF_INFO, "AdaRound",
                "Layer %s: squared error of an output position %.4g with the nearest codes, %.4g "
                "with those that were learned, %zu of %zu of which are others",
                q->name, result.nearest, result.learned, result.moved, q->code_count);
    return QF_OK;
}

static qf_status learn(rounding *r, const qf_pair_unit *unit, const qf_layer_samples *samples,
                       const qf_quantised *q, qf_learned_codes *codes)
{
    ordered o = {0};
    const float *weight = qf_find_layer(r->graph->quantised.net, q->name)->blobs[0]->data;
    qf_status status = order(r, samples, weight, codes, &o);
    if (status == QF_OK)
        status = solve(r, unit, samples, q, &o);
    if (status == QF_OK)
        status = give(r, unit, samples, &o, codes);
    release_ordered(&o);
    return status;
}

/* Positions of the layer, in `samples` if *enough. */
static qf_status sample(rounding *r, const qf_pair_unit *unit, qf_layer_samples *samples,
                        bool *enough)
{
    const qf_layer *object = r->pair.fake->layers[unit->object];
    QF_TRY(qf_layer_samples_open(r->context, object, r->batches, enough, samples));
    if (!*enough) {
        qf_amct_say(r->context, QF_INFO, "AdaRound", "Layer %s, %s, keeps the nearest codes",
                    object->name, object->type->name);
        return QF_OK;
    }
    QF_TRY(gather(r, unit, samples));
    *enough = samples->count >= FEWEST;
    if (!*enough)
        qf_amct_say(r->context, QF_WARNING, "AdaRound",
                    "Layer %s keeps the nearest codes: %d batches have %zu positions of its "
                    "output, at least %d are needed; calibrate with more images (--batch-num)",
                    object->name, r->batches, samples->count, FEWEST);
    return QF_OK;
}

static qf_status round_layer(rounding *r, const qf_pair_unit *unit)
{
    size_t index;
    bool enough = false;
    qf_layer_samples samples = {0};
    const qf_quantised *q = factors_of(r, unit, &index);
    if (!q)
        return QF_OK;
    r->now = q->code_count;
    qf_status status = sample(r, unit, &samples, &enough);
    if (status == QF_OK && enough)
        status = qf_quant_graph_learned(r->context, r->graph, index, q);
    if (status == QF_OK && enough)
        status = learn(r, unit, &samples, q, &r->graph->learned[index]);
    qf_layer_samples_close(&samples);
    r->weights += (double)r->now;
    r->done++;
    return qf_within(r->context, status, "layer %s", q->name);
}

qf_status qf_run_learn_rounding(qf_flow *flow, qf_quant_graph *graph, const char *model,
                                const char *weights, const qf_data_options *data, int iterations)
{
    const qf_random random = flow->context->random;
    const qf_pair_files files = {
        .model = model, .weights = weights, .prefix = flow->save_path, .data = data};
    const int batches = graph->config.batch_num;
    rounding r = {.context = flow->context,
                  .flow = flow,
                  .graph = graph,
                  .batches = batches < BATCHES ? batches : BATCHES,
                  .iterations = iterations,
                  .start = qf_seconds()};
    flow->stage = "learning roundings";
    qf_random_seed(&r.random, SEED);
    qf_status status = qf_quant_graph_export(r.context, graph, QF_SAVE_FAKE_QUANT, flow->save_path);
    if (status == QF_OK)
        status = qf_net_pair_open(r.context, &files, &r.pair);
    if (status == QF_OK) {
        qf_net_keep_blobs(r.pair.plain, true);
        qf_net_keep_blobs(r.pair.fake, true);
        count_layers(&r);
    }
    for (size_t i = 0; status == QF_OK && i < r.pair.count; i++)
        status = round_layer(&r, &r.pair.units[i]);
    qf_net_pair_close(&r.pair);
    flow->context->random = random;
    return status;
}
