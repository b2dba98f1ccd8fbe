/* A prepared net with other bits in some layers, tested: what choosing bits tries. */
#ifndef QF_TOOLKIT_BITS_BITS_TRIAL_H
#define QF_TOOLKIT_BITS_BITS_TRIAL_H

#include "toolkit/bits/ladder.h"
#include "toolkit/config/config.h"

/* What quantises the input of a layer, or of several that read the same. */
typedef struct qf_bits_input {
    char quantiser[160]; /* the ActivationQAT layer, */
    char layer[128];     /* and the first that reads it */
    uint64_t values;     /* of one image */
    int bits;            /* as prepared */
} qf_bits_input;

/* A quantised layer with weights. */
typedef struct qf_bits_unit {
    char name[128], type[32];
    uint64_t weights;
    size_t input; /* which of the inputs it reads */
} qf_bits_unit;

/* Bits of each unit's weights and of each input. */
typedef struct qf_bits_shares {
    int *weights, *inputs;
} qf_bits_shares;

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
    /* TRAIN nets whose first batch has set the ranges: of each level that inputs may have, or one
     * with the inputs as they were prepared. */
    qf_net *ranged[QF_BITS_LEVELS];
    qf_bits_unit *units;
    size_t count;
    qf_bits_input *inputs;
    size_t input_count;
    uint64_t other_values; /* parameters that stay as they are */
} qf_bits_trial;

/* `activation_bits`: of inputs, as `qat run` gives them; 0: of any level. To be closed also after a
 * failure. */
qf_status qf_bits_trial_open(qf_context *context, const qf_qat_options *net, int activation_bits,
                             qf_bits_trial *out);
void qf_bits_trial_close(qf_bits_trial *trial);
/* Test over so many batches; `bits`: NULL, the float net. */
qf_status qf_bits_trial_test(const qf_bits_trial *trial, const qf_bits_shares *bits, int batches,
                             qf_bits_score *out);
/* What all parameters take, packed; NULL: as floats. */
uint64_t qf_bits_trial_bytes(const qf_bits_trial *trial, const int *weights);
/* What the quantised inputs of one image take, packed. */
uint64_t qf_bits_trial_input_bytes(const qf_bits_trial *trial, const int *inputs);

#endif
