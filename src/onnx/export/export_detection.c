/* SSD: boxes as constants, and their decoding and suppression in standard nodes. */
#include "onnx/export/export_layers.h"

#include <float.h>

/* The boxes depend on shapes alone. */
void qf_onnx_prior_box(qf_onnx_export *e)
{
    const float *values = NULL;
    const qf_shape *shape = qf_onnx_top_shape(e, 0);
    const int64_t dims[] = {shape->dim[0], shape->dim[1], shape->dim[2]};
    if (e->maker->status == QF_OK)
        e->maker->status = qf_layer_forward(e->layer);
    if (e->maker->status == QF_OK)
        e->maker->status = qf_read(e->context, e->layer->top[0]->data, QF_PLAIN, &values);
    if (e->maker->status == QF_OK)
        qf_onnx_set_top(e, 0, qf_floats(e->maker, "boxes", values, dims, 3));
}

/* ---- DetectionOutput ---- */

/* Columns `from` to `to` of the last axis. */
static const char *columns(qf_onnx_export *e, const char *x, int axis, int64_t from, int64_t to)
{
    return qf_onnx_slice(e, x, &from, &to, (int64_t[]){axis}, 1);
}

static const char *binary(qf_onnx_export *e, const char *op_type, const char *a, const char *b)
{
    return qf_binary(e->maker, op_type, a, b);
}

static const char *join(qf_onnx_export *e, const char *const *parts, size_t count, int axis)
{
    return qf_node(e->maker, "Concat", parts, count, QF_ATTRIBUTES(QF_INT("axis", axis)));
}

typedef struct priors {
    const char *box, *variance; /* (boxes, 4) each */
    int64_t count;
} priors;

static priors read_priors(qf_onnx_export *e)
{
    priors p = {.count = (int64_t)qf_blob_count(e->layer->bottom[2]) / 8};
    const int64_t dims[] = {p.count, 4};
    const char *x = qf_onnx_bottom(e, 2);
    p.box = qf_onnx_reshape(e, columns(e, x, 1, 0, 1), dims, 2);
    p.variance = qf_onnx_reshape(e, columns(e, x, 1, 1, 2), dims, 2);
    return p;
}

/* Offsets (images, boxes, 4) → corners, as qf_box_decode(). */
static const char *decode(qf_onnx_export *e, const Caffe__DetectionOutputParameter *p,
                          const priors *from, const char *offsets)
{
    const char *low = columns(e, from->box, 1, 0, 2), *high = columns(e, from->box, 1, 2, 4);
    const char *size = binary(e, "Sub", high, low);
    if (!p->variance_encoded_in_target)
        offsets = binary(e, "Mul", offsets, from->variance);
    if (p->code_type != CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CENTER_SIZE) {
        if (p->code_type != CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CORNER)
            offsets = binary(e, "Mul", offsets, join(e, (const char *[]){size, size}, 2, 1));
        return binary(e, "Add", from->box, offsets);
    }
    const char *half = qf_scalar(e->maker, 0.5f);
    const char *middle = binary(e, "Mul", binary(e, "Add", low, high), half);
    const char *centre =
        binary(e, "Add", binary(e, "Mul", columns(e, offsets, 2, 0, 2), size), middle);
    const char *extent = qf_unary(e->maker, "Exp", columns(e, offsets, 2, 2, 4));
    const char *reach = binary(e, "Mul", binary(e, "Mul", extent, size), half);
    return join(e,
                (const char *[]){binary(e, "Sub", centre, reach), binary(e, "Add", centre, reach)},
                2, 2);
}

/* (image, class, box) of what is left; the background's scores are out of reach. */
static const char *suppress(qf_onnx_export *e, const Caffe__DetectionOutputParameter *p,
                            const char *boxes, const char *scores, int64_t count)
{
    const Caffe__NonMaximumSuppressionParameter defaults =
        CAFFE__NON_MAXIMUM_SUPPRESSION_PARAMETER__INIT;
    const Caffe__NonMaximumSuppressionParameter *nms = p->nms_param ? p->nms_param : &defaults;
    const float lowest = p->has_confidence_threshold ? p->confidence_threshold : -FLT_MAX / 4;
    const int64_t most =
        nms->has_top_k && nms->top_k >= 0 && nms->top_k < count ? nms->top_k : count;
    if (p->background_label_id >= 0 && p->background_label_id < (int)p->num_classes) {
        const int64_t at[] = {p->background_label_id, 0};
        const char *hidden =
            qf_floats(e->maker, "hidden", &(float){-FLT_MAX / 2}, (int64_t[]){1, 1, 1}, 3);
        const char *row = qf_node(
            e->maker, "Expand",
            QF_INPUTS(hidden, qf_unary(e->maker, "Shape", columns(e, scores, 1, at[0], at[0] + 1))),
            QF_NO_ATTRIBUTES);
        const char *parts[3] = {columns(e, scores, 1, 0, at[0]), row,
                                columns(e, scores, 1, at[0] + 1, INT32_MAX)};
        scores = join(e, parts + (at[0] == 0), 3 - (size_t)(at[0] == 0), 1);
    }
    return qf_node(e->maker, "NonMaxSuppression",
                   QF_INPUTS(boxes, scores, qf_integer(e->maker, most),
                             qf_floats(e->maker, "overlap", &nms->nms_threshold, (int64_t[]){1}, 1),
                             qf_floats(e->maker, "threshold", &lowest, (int64_t[]){1}, 1)),
                   QF_NO_ATTRIBUTES);
}

static const char *gather(qf_onnx_export *e, const char *x, const char *index, int axis)
{
    return qf_node(e->maker, "Gather", QF_INPUTS(x, index), QF_ATTRIBUTES(QF_INT("axis", axis)));
}

static const char *as_float(qf_onnx_export *e, const char *x)
{
    return qf_node(e->maker, "Cast", QF_INPUTS(x),
                   QF_ATTRIBUTES(QF_INT("to", ONNX__TENSOR__DATA_TYPE__FLOAT)));
}

/* The best rows, in the order that they had. */
static const char *keep_best(qf_onnx_export *e, const char *rows, const char *score, int64_t most)
{
    qf_graph_maker *m = e->maker;
    const char *best[2], *ordered[2];
    const char *count = binary(e, "Min", qf_unary(m, "Shape", score), qf_integer(m, most));
    qf_node_of_many(m, "TopK", QF_INPUTS(score, count), QF_NO_ATTRIBUTES, best, 2);
    qf_node_of_many(m, "TopK", QF_INPUTS(best[1], count), QF_ATTRIBUTES(QF_INT("largest", 0)),
                    ordered, 2);
    return gather(e, rows, ordered[0], 0);
}

void qf_onnx_detection_output(qf_onnx_export *e)
{
    const Caffe__DetectionOutputParameter *p =
        QF_LAYER_PARAM(e->layer, detection_output_param, DETECTION_OUTPUT_, DetectionOutput);
    qf_graph_maker *m = e->maker;
    const int64_t classes = p->num_classes;
    if (!p->share_location || (p->nms_param && p->nms_param->eta < 1) ||
        (p->keep_top_k >= 0 && qf_onnx_bottom_shape(e, 0)->dim[0] != 1)) {
        qf_onnx_refuse(e, !p->share_location ? "share_location is false"
                          : p->nms_param && p->nms_param->eta < 1
                              ? "eta is below 1, and NonMaxSuppression has one threshold"
                              : "with keep_top_k the model must have a batch of 1");
        return;
    }
    const priors from = read_priors(e);
    const char *offsets =
        qf_onnx_reshape(e, qf_onnx_bottom(e, 0), (int64_t[]){0, from.count, 4}, 3);
    const char *boxes = decode(e, p, &from, offsets);
    const char *by_box =
        qf_onnx_reshape(e, qf_onnx_bottom(e, 1), (int64_t[]){0, from.count, classes}, 3);
    const char *scores = qf_node(m, "Transpose", QF_INPUTS(by_box),
                                 QF_ATTRIBUTES(QF_INTS("perm", ((int64_t[]){0, 2, 1}), 3)));
    const char *found = suppress(e, p, boxes, scores, from.count);
    const char *score = binary(e, "GatherND", scores, found);
    const char *place = gather(e, found, qf_integers(m, (int64_t[]){0, 2}, 2), 1);
    const char *head = as_float(e, columns(e, found, 1, 0, 2));
    const char *parts[] = {head, qf_onnx_trailing_axes(e, score, 1, 1),
                           binary(e, "GatherND", boxes, place)};
    const char *rows = join(e, parts, 3, 1);
    if (p->keep_top_k >= 0)
        rows = keep_best(e, rows, score, p->keep_top_k);
    e->free_axes[e->layer->top[0]->index] |= 1u << 2; /* how many there are */
    qf_onnx_set_top(e, 0, qf_onnx_reshape(e, rows, (int64_t[]){1, 1, -1, 7}, 4));
}

/* ---- regions ---- */

void qf_onnx_roi_pooling(qf_onnx_export *e)
{
    const Caffe__ROIPoolingParameter *p =
        QF_LAYER_PARAM(e->layer, roi_pooling_param, ROIPOOLING_, ROIPooling);
    const qf_shape *top = qf_onnx_top_shape(e, 0);
    if (p->has_spatial_scale_h || p->has_spatial_scale_w) {
        qf_onnx_refuse(e, "MaxRoiPool has one spatial_scale for both axes");
        return;
    }
    qf_onnx_set_top(
        e, 0,
        qf_node(e->maker, "MaxRoiPool", QF_INPUTS(qf_onnx_bottom(e, 0), qf_onnx_bottom(e, 1)),
                QF_ATTRIBUTES(QF_INTS("pooled_shape", ((int64_t[]){top->dim[2], top->dim[3]}), 2),
                              QF_FLOAT("spatial_scale", p->spatial_scale))));
}
