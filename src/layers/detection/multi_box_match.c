/* Liu et al., SSD: Single Shot MultiBox Detector, section 2.2 "Matching strategy" and "Hard
 * negative mining"; HARD_EXAMPLE: Shrivastava et al., Training Region-based Object Detectors with
 * Online Hard Example Mining. */
#include "layers/detection/multi_box_match.h"

#include "base/memory.h"
#include "device/families/loss_math.h"

#include <float.h>
#include <limits.h>
#include <string.h>

enum {
    PER_PREDICTION = CAFFE__MULTI_BOX_LOSS_PARAMETER__MATCH_TYPE__PER_PREDICTION,
    NONE = CAFFE__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__NONE,
    MAX_NEGATIVE = CAFFE__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__MAX_NEGATIVE,
    HARD_EXAMPLE = CAFFE__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__HARD_EXAMPLE,
    SOFTMAX = CAFFE__MULTI_BOX_LOSS_PARAMETER__CONF_LOSS_TYPE__SOFTMAX,
    SMOOTH_L1 = CAFFE__MULTI_BOX_LOSS_PARAMETER__LOC_LOSS_TYPE__SMOOTH_L1,
    TRUTH_ROW = 8, /* image, label, instance, x1, y1, x2, y2, difficult */
    NO_IMAGE = -1, /* of a row that is to be passed over */
};

/* Overlaps below are none; SSD's limits. */
static const float least_overlap = 1e-6f, least_area = 1e-5f;

void qf_matching_release(qf_matching *m)
{
    qf_free(m->truths);
    qf_free(m->first_truth);
    qf_free(m->matches);
    qf_free(m->samples);
    qf_free(m->overlaps);
    qf_free(m->losses);
    qf_free(m->boxes);
    qf_free(m->candidates);
}

static qf_status no_memory(const qf_layer *layer)
{
    return qf_fail(layer->context, QF_E_MEMORY, "no memory to match boxes");
}

static qf_match *matches_of(qf_matching *m, int image, int slot)
{
    return m->matches + ((size_t)image * (size_t)m->slots + (size_t)slot) * m->priors.count;
}

const qf_match *qf_matching_of(const qf_matching *m, int image, int slot)
{
    return m->matches + ((size_t)image * (size_t)m->slots + (size_t)slot) * m->priors.count;
}

static size_t truth_count(const qf_matching *m, int image)
{
    return m->first_truth[image + 1] - m->first_truth[image];
}

const qf_truth *qf_matching_truth(const qf_matching *m, int image, int truth)
{
    return &m->truths[m->first_truth[image] + (size_t)truth];
}

static const float *offsets_of(const qf_matching *m, int image, int slot, size_t prior)
{
    return m->loc +
           (((size_t)image * m->priors.count + prior) * (size_t)m->slots + (size_t)slot) * 4;
}

/* ---- ground truth ---- */

static qf_status read_truth(const qf_layer *layer, const qf_matching *m, const float *row,
                            size_t at, qf_truth *out)
{
    const int background = (int)m->param->background_label_id;
    memcpy(&out->box, row + 3, sizeof out->box);
    if (!(row[0] >= 0 && row[0] < (float)m->images))
        return qf_fail(layer->context, QF_E_VALUE,
                       "row %zu of '%s' is of image %g, but the batch has %d", at,
                       layer->bottom[3]->name, (double)row[0], m->images);
    if (m->param->map_object_to_agnostic) {
        out->label = background + 1;
    } else {
        if (!(row[1] >= 0 && row[1] < (float)m->classes))
            return qf_fail(layer->context, QF_E_VALUE,
                           "row %zu of '%s' has label %g, but num_classes is %d", at,
                           layer->bottom[3]->name, (double)row[1], m->classes);
        out->label = (int)row[1];
    }
    if (out->label == background)
        return qf_fail(layer->context, QF_E_VALUE,
                       "row %zu of '%s' has the label of the background, %d", at,
                       layer->bottom[3]->name, background);
    if (!(out->box.x2 > out->box.x1 && out->box.y2 > out->box.y1))
        return qf_fail(layer->context, QF_E_VALUE, "row %zu of '%s' is a box without area", at,
                       layer->bottom[3]->name);
    return QF_OK;
}

/* The rows of each image together, in their order. */
static qf_status read_truths(qf_layer *layer, qf_matching *m)
{
    const size_t rows = qf_blob_count(layer->bottom[3]) / TRUTH_ROW, images = (size_t)m->images;
    const float *data;
    QF_TRY(qf_read(layer->context, layer->bottom[3]->data, QF_PLAIN, &data));
    if (!qf_grow(&m->truths, &m->truth_capacity, rows, sizeof *m->truths) ||
        !qf_grow(&m->first_truth, &m->first_capacity, images + 1, sizeof *m->first_truth))
        return no_memory(layer);
    size_t count = 0;
    for (size_t image = 0; image < images; image++) {
        m->first_truth[image] = count;
        for (size_t i = 0; i < rows; i++) {
            const float *row = data + i * TRUTH_ROW;
            const bool wanted = row[0] != NO_IMAGE && (m->param->use_difficult_gt || row[7] == 0);
            qf_truth truth;
            if (!wanted || (row[0] >= 0 && row[0] < (float)images && (size_t)row[0] != image))
                continue;
            QF_TRY(read_truth(layer, m, row, i, &truth));
            m->truths[count++] = truth;
        }
    }
    m->first_truth[images] = count;
    return QF_OK;
}

/* ---- matching ---- */

static bool crosses_border(const qf_box *box)
{
    return !(box->x1 >= 0 && box->y1 >= 0 && box->x2 >= 0 && box->y2 >= 0 && box->x1 <= 1 &&
             box->y1 <= 1 && box->x2 <= 1 && box->y2 <= 1);
}

/* Each truth, the best pair first, gets the one box that is its own; a box goes only once. */
static void match_best(const qf_matching *m, size_t truths, qf_match *match, bool *taken)
{
    for (;;) {
        const size_t none = m->priors.count;
        size_t best = none, best_truth = 0;
        float most = 0;
        for (size_t i = 0; i < m->priors.count; i++)
            for (size_t t = 0; match[i].truth == QF_UNMATCHED && t < truths; t++)
                if (!taken[t] && m->overlaps[i * truths + t] > most) {
                    most = m->overlaps[i * truths + t];
                    best = i;
                    best_truth = t;
                }
        if (best == none)
            return;
        match[best] = (qf_match){(int)best_truth, most};
        taken[best_truth] = true;
    }
}

/* `boxes` of one image against its truths of `label` (negative: all). */
static qf_status match_boxes(const qf_layer *layer, qf_matching *m, int image, int label,
                             const qf_box *boxes, qf_match *match)
{
    const size_t truths = truth_count(m, image), priors = m->priors.count;
    size_t cells;
    if (!qf_multiply(truths, priors, &cells) ||
        !qf_grow(&m->overlaps, &m->overlap_capacity, cells, sizeof *m->overlaps))
        return no_memory(layer);
    for (size_t i = 0; i < priors; i++) {
        match[i] = (qf_match){QF_UNMATCHED, 0};
        if (m->param->ignore_cross_boundary_bbox && crosses_border(&boxes[i]))
            match[i].truth = QF_IGNORED;
        for (size_t t = 0; t < truths; t++) {
            const qf_truth *truth = qf_matching_truth(m, image, (int)t);
            const bool counts =
                match[i].truth != QF_IGNORED && (label < 0 || truth->label == label);
            float overlap = counts ? qf_box_overlap(&boxes[i], &truth->box, QF_BOX_BORDERS) : 0;
            if (overlap <= least_overlap)
                overlap = 0;
            m->overlaps[i * truths + t] = overlap;
            match[i].overlap = fmaxf(match[i].overlap, overlap);
        }
    }
    bool *taken = qf_alloc(truths, sizeof *taken);
    if (!taken)
        return no_memory(layer);
    match_best(m, truths, match, taken);
    qf_free(taken);
    if ((int)m->param->match_type != PER_PREDICTION)
        return QF_OK;
    for (size_t i = 0; i < priors; i++) {
        if (match[i].truth != QF_UNMATCHED)
            continue;
        float most = 0;
        for (size_t t = 0; t < truths; t++) {
            const float overlap = m->overlaps[i * truths + t];
            if (overlap >= m->param->overlap_threshold && overlap > most) {
                most = overlap;
                match[i] = (qf_match){(int)t, overlap};
            }
        }
    }
    return QF_OK;
}

static void decode_boxes(qf_matching *m, int image, int slot)
{
    for (size_t i = 0; i < m->priors.count; i++) {
        qf_box offsets;
        memcpy(&offsets, offsets_of(m, image, slot, i), sizeof offsets);
        m->boxes[i] = qf_box_decode(&m->code, &m->priors, i, &offsets);
    }
}

static bool is_background_slot(const qf_matching *m, int slot)
{
    return m->slots > 1 && slot == (int)m->param->background_label_id;
}

static qf_status match_image(const qf_layer *layer, qf_matching *m, int image)
{
    for (int slot = 0; slot < m->slots; slot++) {
        qf_match *match = matches_of(m, image, slot);
        if (is_background_slot(m, slot) || truth_count(m, image) == 0) {
            for (size_t i = 0; i < m->priors.count; i++)
                match[i] = (qf_match){QF_UNMATCHED, 0};
        } else if (!m->param->use_prior_for_matching) {
            decode_boxes(m, image, slot);
            QF_TRY(match_boxes(layer, m, image, m->slots > 1 ? slot : -1, m->boxes, match));
        } else {
            QF_TRY(match_boxes(layer, m, image, -1, m->priors.box, match));
            for (size_t i = 0; m->slots > 1 && i < m->priors.count; i++)
                if (match[i].truth != QF_UNMATCHED &&
                    (match[i].truth == QF_IGNORED ||
                     qf_matching_truth(m, image, match[i].truth)->label != slot))
                    match[i].truth = QF_UNMATCHED;
        }
    }
    return QF_OK;
}

/* ---- losses of single priors ---- */

int qf_matching_label(const qf_matching *m, int image, size_t prior)
{
    for (int slot = 0; slot < m->slots; slot++) {
        const int truth = qf_matching_of(m, image, slot)[prior].truth;
        if (truth >= 0)
            return qf_matching_truth(m, image, truth)->label;
    }
    return (int)m->param->background_label_id;
}

void qf_matching_difference(const qf_matching *m, int image, int slot, size_t prior,
                            float difference[4])
{
    const qf_multi_box_param *p = m->param;
    const qf_match match = qf_matching_of(m, image, slot)[prior];
    const qf_box wanted =
        qf_box_encode(&m->code, &m->priors, prior, &qf_matching_truth(m, image, match.truth)->box);
    qf_box offsets, where = m->priors.box[prior];
    memcpy(&offsets, offsets_of(m, image, slot, prior), sizeof offsets);
    if (!p->use_prior_for_matching)
        where = qf_box_decode(&m->code, &m->priors, prior, &offsets);
    float variance[4], predicted[4], goal[4], border[4];
    memcpy(variance, &m->priors.variance[prior], sizeof variance);
    memcpy(predicted, &offsets, sizeof predicted);
    memcpy(goal, &wanted, sizeof goal);
    memcpy(border, &where, sizeof border);
    for (int k = 0; k < 4; k++) {
        difference[k] = predicted[k] - goal[k];
        if (m->code.variance_in_target)
            difference[k] /= variance[k];
        if (p->bp_inside && (border[k] < 0 || border[k] > 1)) /* nothing to learn out there */
            difference[k] = 0;
    }
}

float qf_matching_loc_loss(const qf_matching *m, const float difference[4])
{
    float sum = 0;
    for (int k = 0; k < 4; k++)
        sum += (int)m->param->loc_loss_type == SMOOTH_L1 ? qf_smooth_l1(difference[k], 1)
                                                         : 0.5f * difference[k] * difference[k];
    return sum;
}

static float softmax_loss(const float *scores, int classes, int label, float *gradient)
{
    float highest = scores[0];
    double sum = 0;
    for (int c = 1; c < classes; c++)
        highest = fmaxf(highest, scores[c]);
    for (int c = 0; c < classes; c++)
        sum += exp((double)(scores[c] - highest));
    for (int c = 0; gradient && c < classes; c++)
        gradient[c] =
            (float)(exp((double)(scores[c] - highest)) / sum) - (c == label ? 1.0f : 0.0f);
    const float probability = (float)(exp((double)(scores[label] - highest)) / sum);
    return -logf(probability > FLT_MIN || isnan(probability) ? probability : FLT_MIN);
}

static float logistic_loss(const float *scores, int classes, int label, float *gradient)
{
    float sum = 0;
    for (int c = 0; c < classes; c++) {
        const float x = scores[c], target = c == label ? 1.0f : 0.0f;
        sum += fmaxf(x, 0) - x * target + log1pf(expf(-fabsf(x)));
        if (gradient)
            gradient[c] = 1 / (1 + expf(-x)) - target;
    }
    return sum;
}

float qf_matching_conf_loss(const qf_matching *m, const float *scores, int label, bool chosen,
                            float *gradient)
{
    if ((int)m->param->conf_loss_type == SOFTMAX)
        return softmax_loss(scores, m->classes, label, gradient);
    return logistic_loss(scores, m->classes, chosen ? label : -1, gradient);
}

/* ---- mining ---- */

/* Loss of each prior of an image: scores, and places too where examples of all kinds are mined. */
static void compute_losses(qf_matching *m, int image)
{
    for (size_t i = 0; i < m->priors.count; i++) {
        const float *scores = m->conf + ((size_t)image * m->priors.count + i) * (size_t)m->classes;
        m->losses[i] = qf_matching_conf_loss(m, scores, qf_matching_label(m, image, i), true, NULL);
        if ((int)m->param->mining_type != HARD_EXAMPLE || qf_matching_of(m, image, 0)[i].truth < 0)
            continue;
        float difference[4];
        qf_matching_difference(m, image, 0, i, difference);
        m->losses[i] += qf_matching_loc_loss(m, difference);
    }
}

/* The candidates, worst loss first, without those that overlap a worse one. */
static size_t suppress(qf_matching *m, int image, size_t count)
{
    const Caffe__NonMaximumSuppressionParameter *nms = m->param->nms_param;
    const qf_box *boxes = m->priors.box;
    size_t large = 0;
    if (!m->param->use_prior_for_nms) {
        decode_boxes(m, image, 0);
        boxes = m->boxes;
    }
    if (nms->has_top_k && nms->top_k >= 0 && count > (size_t)nms->top_k)
        count = (size_t)nms->top_k;
    for (size_t i = 0; i < count; i++)
        if (qf_box_area(&boxes[m->candidates[i].index], QF_BOX_BORDERS) >= least_area)
            m->candidates[large++] = m->candidates[i];
    return qf_boxes_suppress(boxes, m->candidates, large, QF_BOX_BORDERS, nms->nms_threshold, 1,
                             -1);
}

/* Chooses the samples of an image; HARD_EXAMPLE drops matches that are not among them. Mining has
 * one slot. */
static void mine(qf_matching *m, int image)
{
    const qf_multi_box_param *p = m->param;
    const bool hard = (int)p->mining_type == HARD_EXAMPLE;
    qf_match *match = matches_of(m, image, 0);
    uint8_t *samples = m->samples + (size_t)image * m->priors.count;
    size_t count = 0, matched = 0;
    compute_losses(m, image);
    for (size_t i = 0; i < m->priors.count; i++) {
        matched += match[i].truth >= 0;
        if (hard || (match[i].truth == QF_UNMATCHED && match[i].overlap < p->neg_overlap))
            m->candidates[count++] = (qf_candidate){m->losses[i], (int)i};
    }
    size_t wanted = hard ? (size_t)p->sample_size
                         : (size_t)fmin((double)matched * (double)p->neg_pos_ratio, (double)count);
    qf_candidates_sort(m->candidates, count);
    if (p->nms_param && p->nms_param->nms_threshold > 0)
        count = suppress(m, image, count);
    if (wanted > count)
        wanted = count;
    for (size_t i = 0; i < wanted; i++)
        samples[m->candidates[i].index] = QF_NEGATIVE;
    for (size_t i = 0; i < m->priors.count; i++) {
        const bool chosen = samples[i] == QF_NEGATIVE;
        if (match[i].truth >= 0 && hard && !chosen)
            match[i].truth = QF_UNMATCHED;
        if (match[i].truth >= 0)
            samples[i] = QF_POSITIVE;
        else if (match[i].truth == QF_IGNORED)
            samples[i] = QF_NO_SAMPLE;
    }
}

static void sample_all(qf_matching *m, int image)
{
    for (size_t i = 0; i < m->priors.count; i++) {
        uint8_t *sample = &m->samples[(size_t)image * m->priors.count + i];
        *sample = QF_NEGATIVE;
        for (int slot = 0; slot < m->slots; slot++)
            if (qf_matching_of(m, image, slot)[i].truth >= 0)
                *sample = QF_POSITIVE;
    }
}

qf_status qf_matching_find(qf_layer *layer, qf_matching *m)
{
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &m->loc));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &m->conf));
    QF_TRY(qf_priors_read(layer, layer->bottom[2], &m->code, &m->priors));
    m->images = qf_blob_shape(layer->bottom[0])->dim[0];
    QF_TRY(read_truths(layer, m));
    const size_t priors = m->priors.count, cells = priors * (size_t)m->images;
    if (!qf_grow(&m->matches, &m->match_capacity, cells * (size_t)m->slots, sizeof *m->matches) ||
        !qf_grow(&m->samples, &m->sample_capacity, cells, 1) ||
        !qf_grow(&m->losses, &m->loss_capacity, priors, sizeof *m->losses) ||
        !qf_grow(&m->boxes, &m->box_capacity, priors, sizeof *m->boxes) ||
        !qf_grow(&m->candidates, &m->candidate_capacity, priors, sizeof *m->candidates))
        return no_memory(layer);
    memset(m->samples, QF_NO_SAMPLE, cells);
    for (int image = 0; image < m->images; image++) {
        QF_TRY(match_image(layer, m, image));
        if ((int)m->param->mining_type == NONE)
            sample_all(m, image);
        else if (truth_count(m, image)) /* nothing is mined from images without truths */
            mine(m, image);
    }
    m->match_count = 0;
    for (size_t i = 0; i < cells * (size_t)m->slots; i++)
        m->match_count += m->matches[i].truth >= 0;
    return QF_OK;
}
