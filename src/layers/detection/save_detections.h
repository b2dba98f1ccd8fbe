/* save_output_param of DetectionOutput (SSD): detections as files in the forms of VOC, COCO and
 * ILSVRC, written when so many images have been seen as the set has. */
#ifndef QF_LAYERS_DETECTION_SAVE_DETECTIONS_H
#define QF_LAYERS_DETECTION_SAVE_DETECTIONS_H

#include "layers/layer.h"

typedef struct qf_detection_files qf_detection_files;

/* *out is NULL where nothing is to be saved: no output_directory, or, which is warned of, no label
 * map or no names and sizes. `background`: the class that has no file. */
qf_status qf_detection_files_open(const qf_layer *layer, const Caffe__SaveOutputParameter *param,
                                  int background, qf_detection_files **out);
void qf_detection_files_close(qf_detection_files *files); /* NULL is a no-op */

/* A batch of so many images; a row is (image, label, score, x1, y1, x2, y2). */
qf_status qf_detection_files_add(const qf_layer *layer, qf_detection_files *files, int images,
                                 const float *rows, size_t row_count);
/* Which image of the set is next; going there forgets what has not been written. */
size_t qf_detection_files_position(const qf_detection_files *files);
void qf_detection_files_go(qf_detection_files *files, size_t position);
size_t qf_detection_files_round(const qf_detection_files *files); /* images of the set */

#endif
