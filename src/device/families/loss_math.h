/* The formulas of losses, for one value each: plain functions that C and CUDA compile alike. */
#ifndef QF_DEVICE_FAMILIES_LOSS_MATH_H
#define QF_DEVICE_FAMILIES_LOSS_MATH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Items with this label count nothing; `given` false: all count. */
typedef struct qf_ignored_label {
    bool given;
    int label;
} qf_ignored_label;

/* Labels are cut to integers before they are compared. */
static inline bool qf_label_is_ignored(qf_ignored_label ignored, float label)
{
    return ignored.given && label >= (float)INT32_MIN && label < 0x1p31f &&
           (int)label == ignored.label;
}

/* Caffe's kLOG_THRESHOLD: what the logarithms of its older losses see at least. */
#define QF_LEAST_PROBABILITY 1e-20f

/* −log p, of `least` at least, so that a probability of 0 has a loss. */
static inline float qf_negative_log(float p, float least)
{
    return -logf(p > least || isnan(p) ? p : least);
}

#endif
