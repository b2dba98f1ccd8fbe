/* Precision and recall in whole numbers: nothing depends on how a threshold is rounded. */
#include "train/average_precision.h"

#include "base/memory.h"
#include "layers/detection/boxes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROW = 5, CLASSES_MAX = 1 << 20 };

static const char *const version_names[] = {
    [QF_AP_INTEGRAL] = "Integral", /* SSD's default */
    [QF_AP_MAX_INTEGRAL] = "MaxIntegral",
    [QF_AP_11_POINT] = "11point",
};

qf_status qf_ap_version_find(qf_context *context, const char *name, qf_ap_version *out)
{
    for (size_t i = 0; i < sizeof version_names / sizeof *version_names; i++)
        if (strcmp(name, version_names[i]) == 0) {
            *out = (qf_ap_version)i;
            return QF_OK;
        }
    return qf_fail(context, QF_E_VALUE,
                   "ap_version is '%s', expected 11point, MaxIntegral or Integral", name);
}

qf_status qf_context_set_ap_version(qf_context *context, const char *ap_version)
{
    qf_ap_version version = QF_AP_INTEGRAL;
    QF_TRY(qf_ap_version_find(context, ap_version, &version));
    context->ap_version = (int)version;
    return QF_OK;
}

/* ---- one class ---- */

static int by_falling_score(const void *a, const void *b)
{
    const qf_detection_score *x = a, *y = b;
    const int order = qf_scores_order(x->score, y->score);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static double precision(size_t right, size_t index)
{
    return (double)right / (double)(index + 1);
}

/* The precisions at which the recall reaches 0, 0.1 … 1, or goes beyond. */
static double eleven_points(const qf_detection_score *d, size_t count, size_t objects)
{
    double best[11] = {0}, sum = 0;
    size_t right = 0;
    for (size_t i = 0; i < count; i++) {
        right += d[i].right;
        for (size_t k = 0; k <= 10 && k * objects <= 10 * right; k++)
            best[k] = fmax(best[k], precision(right, i));
    }
    for (size_t k = 0; k <= 10; k++)
        sum += best[k];
    return sum / 11;
}

/* A step of recall for each right detection, as high as the precision there or, where `envelope`,
 * the best from there on. */
static double area(const qf_detection_score *d, size_t count, size_t objects, bool envelope)
{
    double sum = 0, best = 0;
    size_t right = 0;
    for (size_t i = 0; i < count; i++)
        right += d[i].right;
    for (size_t i = count; i-- > 0; right -= d[i].right) {
        const double here = precision(right, i);
        best = envelope ? fmax(best, here) : here;
        sum += d[i].right ? best : 0;
    }
    return sum / (double)objects;
}

double qf_average_precision(qf_detection_score *detections, size_t count, size_t objects,
                            qf_ap_version version)
{
    if (count == 0 || objects == 0)
        return 0;
    qsort(detections, count, sizeof *detections, by_falling_score);
    return version == QF_AP_11_POINT
               ? eleven_points(detections, count, objects)
               : area(detections, count, objects, version == QF_AP_MAX_INTEGRAL);
}

/* ---- all classes ---- */

static qf_status class_at(qf_context *context, const qf_blob *blob, float label, qf_detections *all,
                          struct qf_class_detections **out)
{
    if (!(label >= 0 && label < CLASSES_MAX))
        return qf_fail(context, QF_E_VALUE, "'%s' has a row of class %g", blob->name,
                       (double)label);
    const size_t index = (size_t)label;
    if (!qf_grow(&all->classes, &all->capacity, index + 1, sizeof *all->classes))
        return qf_fail(context, QF_E_MEMORY, "no memory for the detections of %zu classes",
                       index + 1);
    all->count = index + 1 > all->count ? index + 1 : all->count;
    *out = &all->classes[index];
    return QF_OK;
}

qf_status qf_detections_add(qf_context *context, const qf_blob *blob, const float *rows,
                            qf_detections *all)
{
    for (const float *row = rows; row < rows + qf_blob_count(blob); row += ROW) {
        struct qf_class_detections *c = NULL;
        QF_TRY(class_at(context, blob, row[1], all, &c));
        if (row[0] == -1) {
            c->known = true;
            c->objects += (size_t)fmaxf(row[2], 0);
            continue;
        }
        if (row[3] == 0 && row[4] == 0)
            continue; /* of a difficult object: it does not count */
        if (!qf_grow(&c->detections, &c->capacity, c->count + 1, sizeof *c->detections))
            return qf_fail(context, QF_E_MEMORY, "no memory for %zu detections", c->count + 1);
        c->detections[c->count] = (qf_detection_score){row[2], (int)c->count, row[3] != 0};
        c->count++;
    }
    return QF_OK;
}

void qf_detections_release(qf_detections *all)
{
    for (size_t i = 0; i < all->count; i++)
        qf_free(all->classes[i].detections);
    qf_free(all->classes);
    *all = (qf_detections){0};
}

double qf_detections_mean(qf_context *context, qf_detections *all, qf_ap_version version, bool each)
{
    double sum = 0;
    int known = 0;
    for (size_t i = 0; i < all->count; i++) {
        struct qf_class_detections *c = &all->classes[i];
        if (!c->known)
            continue;
        known++;
        if (c->count == 0) {
            qf_warning(context, "Missing true_pos for label: %zu", i);
            continue;
        }
        const double value = qf_average_precision(c->detections, c->count, c->objects, version);
        sum += value;
        if (each)
            qf_info(context, "class%zu: %g", i, value);
    }
    return known ? sum / known : 0;
}

/* ---- in a net ---- */

bool qf_net_evaluates_detections(const qf_net *net, const qf_blob *blob)
{
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        if (strcmp(layer->type->name, "DetectionEvaluate") == 0 && layer->top[0] == blob)
            return true;
    }
    return false;
}

bool qf_net_has_detections(const qf_net *net)
{
    for (int i = 0; i < net->output_count; i++)
        if (qf_net_evaluates_detections(net, net->blobs[net->outputs[i]]))
            return true;
    return false;
}
