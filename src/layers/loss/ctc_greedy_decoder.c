/*
 * CTCGreedyDecoder: the best class of each step, repeated ones as one and blanks left out. Bottoms:
 * scores (steps, sequences, classes), then labels (sequences, length; caffe_ocr), or indicators
 * (steps, sequences) and perhaps labels (length, sequences). Tops: what was read (sequences,
 * steps), filled up with −1; with labels of the first kind instead the share of it that is right,
 * by edit distance, and of the sequences that are right; with those of the second kind the first of
 * the two, as the last top.
 */
#include "layers/layer.h"
#include "layers/loss/sequences.h"

#include "base/memory.h"

#include <string.h>

typedef struct state {
    qf_sequences sequences;
    int *labels, *found;
    size_t *row; /* of edit distances */
} state;

QF_LAYER_PARAM_OF(ctc_decoder_param, CTCDECODER_, CTCDecoder)

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->labels);
    qf_free(s->found);
    qf_free(s->row);
}

static bool has_rows(const qf_layer *layer)
{
    const qf_shape *scores = qf_blob_shape(layer->bottom[0]);
    const qf_shape *second = layer->bottom_count == 2 ? qf_blob_shape(layer->bottom[1]) : NULL;
    return second && scores->axes > 1 && second->axes > 0 && second->dim[0] == scores->dim[1];
}

static qf_status shape_tops(qf_layer *layer)
{
    const state *s = layer->state;
    const int steps = (int)s->sequences.steps, count = (int)s->sequences.count;
    const qf_shape read = qf_shape_make(4, (int[]){count, steps, 1, 1});
    const qf_shape one = qf_shape_make(4, (int[]){1, 1, 1, 1});
    const qf_shape two = qf_shape_make(4, (int[]){1, 2, 1, 1});
    if (s->sequences.layout == QF_SEQUENCES_ROWS)
        return qf_blob_reshape_to(layer->top[0], &two);
    QF_TRY(qf_blob_reshape_to(layer->top[0], &read));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], &one) : QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__CTCDecoderParameter *p = param_of(layer);
    state *s = layer->state;
    const bool rows = has_rows(layer);
    const qf_sequence_layout layout = rows                      ? QF_SEQUENCES_ROWS
                                      : layer->bottom_count > 1 ? QF_SEQUENCES_INDICATED
                                                                : QF_SEQUENCES_PLAIN;
    QF_TRY(qf_sequences_find(
        layer, layout, p->has_blank_index || layout != QF_SEQUENCES_INDICATED ? p->blank_index : -1,
        &s->sequences));
    if (layer->top_count > 1 && (rows || !s->sequences.labels))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "a second top of a CTCGreedyDecoder is the accuracy, which needs indicators "
                       "and labels as bottoms");
    destroy(layer);
    s->labels = qf_alloc(s->sequences.label_room + 1, sizeof *s->labels);
    s->found = qf_alloc(s->sequences.steps + 1, sizeof *s->found);
    s->row = qf_alloc(s->sequences.label_room + 1, sizeof *s->row);
    if (!s->labels || !s->found || !s->row)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu steps", s->sequences.steps);
    return shape_tops(layer);
}

static size_t best_of(const float *scores, size_t classes)
{
    size_t best = 0;
    for (size_t k = 1; k < classes; k++)
        if (scores[k] > scores[best])
            best = k;
    return best;
}

static size_t decode(const state *s, bool merge, const float *scores, size_t steps)
{
    const size_t stride = s->sequences.count * s->sequences.classes;
    size_t count = 0;
    int before = s->sequences.blank;
    for (size_t t = 0; t < steps; t++) {
        const int best = (int)best_of(scores + t * stride, s->sequences.classes);
        if (best != s->sequences.blank && !(merge && best == before))
            s->found[count++] = best;
        before = best;
    }
    return count;
}

/* Insertions, deletions and exchanges from one sequence to the other (Levenshtein). */
static size_t edit_distance(const state *s, size_t found, size_t labels)
{
    for (size_t j = 0; j <= labels; j++)
        s->row[j] = j;
    for (size_t i = 1; i <= found; i++) {
        size_t diagonal = s->row[0];
        s->row[0] = i;
        for (size_t j = 1; j <= labels; j++) {
            const size_t exchanged = diagonal + (s->found[i - 1] != s->labels[j - 1]);
            const size_t shorter = s->row[j - 1] < s->row[j] ? s->row[j - 1] : s->row[j];
            diagonal = s->row[j];
            s->row[j] = exchanged < shorter + 1 ? exchanged : shorter + 1;
        }
    }
    return s->row[labels];
}

typedef struct tally {
    double wrong; /* of each sequence the share that is wrong */
    size_t right; /* sequences */
} tally;

static qf_status compare(qf_layer *layer, size_t index, size_t found, tally *t)
{
    const state *s = layer->state;
    size_t labels;
    QF_TRY(qf_sequences_labels(layer, &s->sequences, index, s->labels, &labels));
    const size_t distance = edit_distance(s, found, labels);
    const size_t longer = found > labels ? found : labels;
    t->wrong += longer ? (double)distance / (double)longer : 0;
    t->right += distance == 0;
    return QF_OK;
}

static qf_status put_tally(qf_layer *layer, const tally *t)
{
    const state *s = layer->state;
    const double count = s->sequences.count ? (double)s->sequences.count : 1;
    const bool rows = s->sequences.layout == QF_SEQUENCES_ROWS;
    float *out;
    if (!rows && layer->top_count == 1)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[rows ? 0 : 1]->data, QF_PLAIN, &out));
    out[0] = (float)(1 - t->wrong / count);
    if (rows)
        out[1] = (float)((double)t->right / count);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *scores;
    float *out = NULL;
    tally t = {0};
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &scores));
    if (s->sequences.layout != QF_SEQUENCES_ROWS)
        QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &out));
    for (size_t i = 0; i < s->sequences.count; i++) {
        size_t steps;
        QF_TRY(qf_sequences_steps(layer, &s->sequences, i, &steps));
        const size_t found = decode(s, param_of(layer)->ctc_merge_repeated,
                                    scores + i * s->sequences.classes, steps);
        for (size_t step = 0; out && step < s->sequences.steps; step++)
            out[i * s->sequences.steps + step] = step < found ? (float)s->found[step] : -1;
        if (s->sequences.labels)
            QF_TRY(compare(layer, i, found, &t));
    }
    return put_tally(layer, &t);
}

const qf_layer_type qf_ctc_greedy_decoder_layer = {
    .name = "CTCGreedyDecoder",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 3),
    QF_TOPS(1, 2),
    .no_backward = true,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
