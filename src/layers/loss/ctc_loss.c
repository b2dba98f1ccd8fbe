/*
 * CTCLoss, WarpCTCLoss: −log of the probability of each sequence's labels (layers/loss/ctc.h), the
 * mean over those sequences that have steps enough, or as loss_param.normalization says. Bottoms:
 * scores before softmax (steps, sequences, classes), and labels in one of the layouts of
 * layers/loss/sequences.h. warp-ctc's own gradient is that of the sum: normalization: NONE.
 */
#include "layers/loss/ctc.h"
#include "layers/loss/loss.h"
#include "layers/loss/sequences.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

typedef struct state {
    qf_sequences sequences;
    int *labels;
    double *work;
    size_t valid; /* sequences with steps enough in the last forward pass */
    bool warned;
} state;

QF_LAYER_PARAM_OF(ctc_loss_param, CTCLOSS_, CTCLoss)

static qf_status setup(qf_layer *layer)
{
    const Caffe__CTCLossParameter *p = param_of(layer);
    if (p->output_delay)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "ctc_loss_param.output_delay is %d, only 0 is known", p->output_delay);
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->labels);
    qf_free(s->work);
}

/* Where the blank is not given, it is the last class with the pull request's bottoms, and the first
 * with caffe_ocr's. */
static int blank_of(const qf_layer *layer)
{
    const Caffe__CTCLossParameter *p = param_of(layer);
    return p->has_blank_index || layer->bottom_count == 2 ? p->blank_index : -1;
}

static qf_status reshape(qf_layer *layer)
{
    static const qf_sequence_layout layouts[] = {QF_SEQUENCES_ROWS, QF_SEQUENCES_INDICATED,
                                                 QF_SEQUENCES_COUNTED};
    const qf_shape scalar = {0};
    state *s = layer->state;
    QF_TRY(
        qf_sequences_find(layer, layouts[layer->bottom_count - 2], blank_of(layer), &s->sequences));
    /* Those labels do not count the blank, and warp-ctc's comes first. */
    if (layer->bottom_count == 3 && strcmp(layer->type->name, "WarpCTCLoss") == 0 &&
        s->sequences.blank == 0)
        s->sequences.first_label = 1;
    destroy(layer);
    s->labels = qf_alloc(s->sequences.label_room + 1, sizeof *s->labels);
    s->work = qf_alloc(qf_ctc_work(s->sequences.steps, s->sequences.label_room), sizeof *s->work);
    if (!s->labels || !s->work)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu steps of %zu labels",
                       s->sequences.steps, s->sequences.label_room);
    return qf_blob_reshape_to(layer->top[0], &scalar);
}

static size_t without_repetitions(int *labels, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || labels[i] != labels[i - 1])
            labels[kept++] = labels[i];
    return kept;
}

/* With indicators, a sequence of no labels does not count at all. */
static qf_status read_sequence(qf_layer *layer, size_t index, qf_ctc *out)
{
    const Caffe__CTCLossParameter *p = param_of(layer);
    state *s = layer->state;
    const float *scores;
    size_t steps, count;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &scores));
    QF_TRY(qf_sequences_steps(layer, &s->sequences, index, &steps));
    QF_TRY(qf_sequences_labels(layer, &s->sequences, index, s->labels, &count));
    if (p->preprocess_collapse_repeated)
        count = without_repetitions(s->labels, count);
    *out = (qf_ctc){.scores = scores + index * s->sequences.classes,
                    .steps = steps,
                    .classes = s->sequences.classes,
                    .stride = s->sequences.count * s->sequences.classes,
                    .labels = s->labels,
                    .label_count = count,
                    .blank = s->sequences.blank,
                    .merge = p->ctc_merge_repeated};
    return QF_OK;
}

static bool counts(const state *s, const qf_ctc *ctc, double loss)
{
    return isfinite(loss) &&
           !(ctc->label_count == 0 && s->sequences.layout == QF_SEQUENCES_INDICATED);
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    const state *s = layer->state;
    (void)top, (void)index;
    const qf_loss_counts all = {
        .full = s->sequences.count, .valid = s->valid, .batch = s->sequences.count};
    return qf_loss_items(layer, CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__VALID, &all);
}

static float divisor(const qf_layer *layer)
{
    return qf_loss_divisor(mean_over(layer, 0, 0));
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    double sum = 0;
    float *loss;
    s->valid = 0;
    for (size_t i = 0; i < s->sequences.count; i++) {
        qf_ctc ctc;
        QF_TRY(read_sequence(layer, i, &ctc));
        const double its = qf_ctc_loss(&ctc, s->work);
        if (counts(s, &ctc, its)) {
            sum += its;
            s->valid++;
        } else if (!isfinite(its) && !s->warned) {
            qf_warning(layer->context,
                       "layer %s: sequence %zu has %zu labels, too many for its %zu steps; such "
                       "sequences do not count in the loss",
                       layer->name, i, ctc.label_count, ctc.steps);
            s->warned = true;
        }
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)divisor(layer));
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const float *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    memset(dx, 0, qf_blob_count(layer->bottom[0]) * sizeof *dx);
    for (size_t i = 0; i < s->sequences.count; i++) {
        qf_ctc ctc;
        QF_TRY(read_sequence(layer, i, &ctc));
        const double loss = qf_ctc_loss(&ctc, s->work);
        if (counts(s, &ctc, loss))
            qf_ctc_gradient(&ctc, s->work, loss, weight[0] / divisor(layer),
                            dx + i * s->sequences.classes);
    }
    return QF_OK;
}

#define CTC_TYPE                                                                                   \
    .state_size = sizeof(state), QF_BOTTOMS(2, 4), QF_TOPS(1, 1), .loss = true,                    \
    .no_gradient_bottoms = 1u << 1 | 1u << 2 | 1u << 3, .ignores_tops = true, .setup = setup,      \
    .reshape = reshape, .mean_over = mean_over, .forward = forward, .backward = backward,          \
    .destroy = destroy

const qf_layer_type qf_ctc_loss_layer = {.name = "CTCLoss", CTC_TYPE};
const qf_layer_type qf_warp_ctc_loss_layer = {.name = "WarpCTCLoss", CTC_TYPE};
