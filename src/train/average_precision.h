/* Average precision of detections, as the development kits of PASCAL VOC define it, over the rows
 * that DetectionEvaluate layers put out. */
#ifndef QF_TRAIN_AVERAGE_PRECISION_H
#define QF_TRAIN_AVERAGE_PRECISION_H

#include "net/net.h"

/* The mean of the best precision at 11 recalls (VOC 2007), the area under the curve of the best
 * precision at each recall or beyond (VOC 2010 to 2012), the area under the curve itself. */
typedef enum qf_ap_version { QF_AP_INTEGRAL, QF_AP_MAX_INTEGRAL, QF_AP_11_POINT } qf_ap_version;

/* By SSD's names: "11point", "MaxIntegral", "Integral". */
qf_status qf_ap_version_find(qf_context *context, const char *name, qf_ap_version *out);

typedef struct qf_detection_score {
    float score;
    int order; /* among those of the same score */
    bool right;
} qf_detection_score;

/* Of one class, which the function sorts: the best first. 0 without objects. */
double qf_average_precision(qf_detection_score *detections, size_t count, size_t objects,
                            qf_ap_version version);

/* All classes of one blob, over batches. */
typedef struct qf_detections {
    struct qf_class_detections {
        size_t objects, count, capacity;
        qf_detection_score *detections;
        bool known; /* there is a row for the class itself */
    } * classes;
    size_t count, capacity;
} qf_detections;

/* The rows of a batch. */
qf_status qf_detections_add(qf_context *context, const qf_blob *blob, const float *rows,
                            qf_detections *all);
void qf_detections_release(qf_detections *all);
/* The mean over classes that have a row of their own; without detections a class has 0. Where
 * `each`, a log line for each class, as SSD's solver writes it. */
double qf_detections_mean(qf_context *context, qf_detections *all, qf_ap_version version,
                          bool each);

/* Is the blob what a DetectionEvaluate layer of the net puts out? */
bool qf_net_evaluates_detections(const qf_net *net, const qf_blob *blob);
/* Is there such an output? */
bool qf_net_has_detections(const qf_net *net);

#endif
