/* How alike two boxes are to YOLO, and darknet's gradient of that, in double. */
#ifndef QF_TESTS_YOLO_LIKENESS_H
#define QF_TESTS_YOLO_LIKENESS_H

#include "layers/detection/yolo.h"

typedef struct box {
    double x, y, w, h;
} box;

double test_iou(box a, box b);
double test_likeness(qf_yolo_likeness of, box a, box b);
/* By x, y, w or h of `a`; darknet's: see qf_yolo_compare(). */
double test_darknet_slope(qf_yolo_likeness of, box a, box b, int number);

#endif
