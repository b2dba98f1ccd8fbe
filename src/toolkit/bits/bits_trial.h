/* A prepared net with other bits in some layers, tested: what choosing bits tries. */
#ifndef QF_TOOLKIT_BITS_BITS_TRIAL_H
#define QF_TOOLKIT_BITS_BITS_TRIAL_H

#include "toolkit/config/config.h"

/* A quantised layer with weights. */
typedef struct qf_bits_unit {
    char name[128], type[32];
    uint64_t weights;
} qf_bits_unit;

/* What a test gave. */
typedef struct qf_bits_score {
    char name[128];
    int better;
    double value; /* of the output that matters most */
    double cost;  /* what is to be small: the loss where there is one, else −better · value */
} qf_bits_score;

typedef struct qf_bits_trial {
    qf_context *context;
    Caffe__NetParameter *plain, *prepared; /* prepared: 8 bits of weights everywhere */
    const char *weights_file;
    uint8_t *weights; /* of the prepared net, and their bytes */
    size_t weight_bytes;
    qf_net *ranged; /* a TRAIN net whose first batch has set the ranges */
    qf_bits_unit *units;
    size_t count;
    uint64_t other_values; /* parameters that stay as they are */
} qf_bits_trial;

/* To be closed also after a failure. */
qf_status qf_bits_trial_open(qf_context *context, const qf_qat_options *net, int activation_bits,
                             qf_bits_trial *out);
void qf_bits_trial_close(qf_bits_trial *trial);
/* Test over so many batches; `bits`: of each unit, or NULL, the float net. */
qf_status qf_bits_trial_test(const qf_bits_trial *trial, const int *bits, int batches,
                             qf_bits_score *out);
/* What all parameters take, packed; NULL: as floats. */
uint64_t qf_bits_trial_bytes(const qf_bits_trial *trial, const int *bits);

#endif
