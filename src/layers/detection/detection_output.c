/* DetectionOutput (SSD): decoded boxes of each class, without those that overlap a better one; one
 * row (image, label, score, x1, y1, x2, y2) a detection. DetectionOutputExtended
 * (training_toolbox_caffe), of two classes of which the first is the background, adds where the box
 * comes from: anchor, column and row of a map (num, height, width, anchors · 4). */
#include "layers/detection/boxes.h"
#include "layers/detection/save_detections.h"

#include "base/memory.h"
#include "data/sources/data_source.h"

#include <float.h>
#include <string.h>

enum { ROW = QF_DETECTION_NUMBERS, PLACE = 3 };

typedef struct state {
    size_t classes, loc_classes;
    int background; /* −1: no class is */
    qf_box_code code;
    float score_threshold, overlap_threshold, eta;
    int top_k, keep_top_k; /* −1: all */
    size_t row;            /* numbers of a row */
    qf_priors priors;      /* of the pass under way */
    qf_box *boxes;         /* of one image and location class */
    qf_candidate *candidates;
    size_t box_capacity, candidate_capacity;
    float *rows; /* of all images */
    size_t row_count, row_capacity;
    qf_detection_files *files; /* NULL: detections are put out as a blob only */
} state;

typedef Caffe__DetectionOutputParameter detection_output_param;

static qf_status setup(qf_layer *layer)
{
    const detection_output_param *p =
        QF_LAYER_PARAM(layer, detection_output_param, DETECTION_OUTPUT_, DetectionOutput);
    const Caffe__NonMaximumSuppressionParameter defaults =
        CAFFE__NON_MAXIMUM_SUPPRESSION_PARAMETER__INIT;
    const Caffe__NonMaximumSuppressionParameter *nms = p->nms_param ? p->nms_param : &defaults;
    state *s = layer->state;
    if (p->num_classes < 1)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "detection_output_param needs num_classes, with the background");
    if (!(nms->nms_threshold >= 0))
        return qf_fail(layer->context, QF_E_VALUE, "nms_threshold must be at least 0, is %g",
                       (double)nms->nms_threshold);
    if (!(nms->eta > 0 && nms->eta <= 1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "eta of nms_param must be above 0 and at most 1, is %g", (double)nms->eta);
    if (p->visualize)
        qf_warning(layer->context, "%s: detections are not drawn; visualize is ignored",
                   layer->name);
    s->classes = p->num_classes;
    s->loc_classes = p->share_location ? 1 : s->classes;
    s->background = p->background_label_id;
    s->code = (qf_box_code){(int)p->code_type, p->variance_encoded_in_target};
    s->score_threshold = p->has_confidence_threshold ? p->confidence_threshold : -FLT_MAX;
    s->overlap_threshold = nms->nms_threshold;
    s->eta = nms->eta;
    s->top_k = nms->has_top_k ? nms->top_k : -1;
    s->keep_top_k = p->keep_top_k;
    s->row = ROW;
    return qf_detection_files_open(layer, p->save_output_param, s->background, &s->files);
}

static qf_status setup_extended(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(setup(layer));
    if (s->classes != 2 || s->loc_classes != 1 || s->files)
        return qf_fail(layer->context, QF_E_VALUE,
                       "detection_output_param of DetectionOutputExtended needs num_classes 2, "
                       "share_location and no save_output_param");
    s->background = 0;
    s->row = ROW + PLACE;
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->boxes);
    qf_free(s->candidates);
    qf_free(s->rows);
    qf_detection_files_close(s->files);
}

static bool is_map(const qf_shape *loc, size_t priors)
{
    return loc->axes == 4 && loc->dim[3] >= 4 && loc->dim[3] % 4 == 0 &&
           qf_shape_count_range(loc, 1, 4) == 4 * priors;
}

/* How many rows there will be is known after the forward pass only. */
static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *loc = qf_blob_shape(layer->bottom[0]), *conf = qf_blob_shape(layer->bottom[1]);
    const size_t priors = qf_blob_count(layer->bottom[2]) / 8;
    if (!loc->axes || !conf->axes || loc->dim[0] != conf->dim[0])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' and '%s' must have the same number of images", layer->bottom[0]->name,
                       layer->bottom[1]->name);
    QF_TRY(qf_priors_check_predictions(layer, layer->bottom[0], priors, 4 * s->loc_classes,
                                       "locations"));
    QF_TRY(qf_priors_check_predictions(layer, layer->bottom[1], priors, s->classes, "scores"));
    if (s->row > ROW && !is_map(loc, priors))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must be of 4 axes (num, height, width, anchors · 4) with as many "
                       "boxes as there are priors, %zu",
                       layer->bottom[0]->name, priors);
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){4, {1, 1, 1, (int)s->row}});
}

static void decode(state *s, const float *loc, size_t loc_class)
{
    for (size_t i = 0; i < s->priors.count; i++) {
        qf_box offsets;
        memcpy(&offsets, loc + (i * s->loc_classes + loc_class) * 4, sizeof offsets);
        s->boxes[i] = qf_box_decode(&s->code, &s->priors, i, &offsets);
    }
}

static void put_place(const qf_layer *layer, int prior, float place[PLACE])
{
    const qf_shape *loc = qf_blob_shape(layer->bottom[0]);
    const int anchors = loc->dim[3] / 4;
    place[0] = (float)(prior % anchors);
    place[1] = (float)(prior / anchors % loc->dim[2]);
    place[2] = (float)(prior / anchors / loc->dim[2]);
}

/* The detections of one class of one image, best first, behind the rows that are there. */
static qf_status detect(qf_layer *layer, int image, size_t label, const float *scores)
{
    state *s = layer->state;
    size_t count = 0;
    for (size_t i = 0; i < s->priors.count; i++)
        if (scores[i * s->classes + label] > s->score_threshold)
            s->candidates[count++] = (qf_candidate){scores[i * s->classes + label], (int)i};
    qf_candidates_sort(s->candidates, count);
    if (s->top_k >= 0 && count > (size_t)s->top_k)
        count = (size_t)s->top_k;
    count = qf_boxes_suppress(s->boxes, s->candidates, count, QF_BOX_BORDERS, s->overlap_threshold,
                              s->eta, -1);
    if (!qf_grow(&s->rows, &s->row_capacity, (s->row_count + count) * s->row, sizeof *s->rows))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu detections",
                       s->row_count + count);
    for (size_t i = 0; i < count; i++, s->row_count++) {
        float *row = s->rows + s->row_count * s->row;
        row[0] = (float)image;
        row[1] = (float)label;
        row[2] = s->candidates[i].score;
        memcpy(row + 3, &s->boxes[s->candidates[i].index], sizeof(qf_box));
        if (s->row > ROW)
            put_place(layer, s->candidates[i].index, row + ROW);
    }
    return QF_OK;
}

/* Of the rows from `first` on, those of one image, only the best keep_top_k stay. */
static qf_status keep_best(qf_layer *layer, size_t first)
{
    state *s = layer->state;
    const size_t count = s->row_count - first, most = (size_t)s->keep_top_k;
    if (s->keep_top_k < 0 || count <= most)
        return QF_OK;
    float *rows = s->rows + first * s->row;
    bool *kept = qf_alloc(count, sizeof *kept);
    if (!kept || !qf_grow(&s->candidates, &s->candidate_capacity, count, sizeof *s->candidates)) {
        qf_free(kept);
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu detections", count);
    }
    for (size_t i = 0; i < count; i++)
        s->candidates[i] = (qf_candidate){rows[i * s->row + 2], (int)i};
    qf_candidates_sort(s->candidates, count);
    for (size_t i = 0; i < most; i++)
        kept[s->candidates[i].index] = true;
    s->row_count = first;
    for (size_t i = 0; i < count; i++)
        if (kept[i])
            memmove(s->rows + s->row_count++ * s->row, rows + i * s->row, s->row * sizeof *rows);
    qf_free(kept);
    return QF_OK;
}

static qf_status detect_image(qf_layer *layer, int image, const float *loc, const float *scores)
{
    state *s = layer->state;
    const size_t first = s->row_count;
    if (s->loc_classes == 1)
        decode(s, loc, 0);
    for (size_t label = 0; label < s->classes; label++) {
        if ((int)label == s->background)
            continue;
        if (s->loc_classes > 1)
            decode(s, loc, label);
        QF_TRY(detect(layer, image, label, scores));
    }
    return keep_best(layer, first);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const int images = qf_blob_shape(layer->bottom[0])->dim[0];
    const float *loc, *scores;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &loc));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &scores));
    QF_TRY(qf_priors_read(layer, layer->bottom[2], &s->code, &s->priors));
    const size_t priors = s->priors.count;
    if (!qf_grow(&s->boxes, &s->box_capacity, priors, sizeof *s->boxes) ||
        !qf_grow(&s->candidates, &s->candidate_capacity, priors, sizeof *s->candidates))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu boxes", priors);
    s->row_count = 0;
    for (int i = 0; i < images; i++)
        QF_TRY(detect_image(layer, i, loc + (size_t)i * priors * s->loc_classes * 4,
                            scores + (size_t)i * priors * s->classes));
    return qf_detections_put(layer, s->rows, s->row_count, s->row, images);
}

/* ---- files ---- */

static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->top[0]);
    const float *rows;
    if (!s->files)
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->data, QF_PLAIN, &rows));
    return qf_detection_files_add(layer, s->files, qf_blob_shape(layer->bottom[0])->dim[0], rows,
                                  (size_t)shape->dim[2]);
}

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    const state *s = layer->state;
    out->position = s->files ? qf_detection_files_position(s->files) : 0;
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    const state *s = layer->state;
    if (s->files)
        qf_detection_files_go(s->files, (size_t)to->position);
    return QF_OK;
}

static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    const state *s = layer->state;
    *items = s->files ? qf_detection_files_round(s->files) : 0;
    *batch = *items ? (int)*items : 1; /* never more batches than there are data */
    return QF_OK;
}

const qf_layer_type qf_detection_output_layer = {
    .name = "DetectionOutput",
    .state_size = sizeof(state),
    QF_BOTTOMS(3, 4), /* SSD draws into the fourth; here it goes unread */
    QF_TOPS(1, 1),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .conclude = conclude,
    .destroy = destroy,
    .data_state = data_state,
    .data_restore = data_restore,
    .data_round = data_round,
};

const qf_layer_type qf_detection_output_extended_layer = {
    .name = "DetectionOutputExtended",
    .state_size = sizeof(state),
    QF_BOTTOMS(3, 3),
    QF_TOPS(1, 1),
    .no_backward = true,
    .setup = setup_extended,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
