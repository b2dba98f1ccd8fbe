/* Names of the ways in which ranges learn, and how fast. */
#include "toolkit/config/ranges.h"

#include <string.h>

/* Rates by measurement (docs/numerics.md); PACT's decay is part of the method. */
static const struct method {
    const char *name, *data, *weights;
    Caffe__RangeLearning of_weights;
    float rate, decay;
} methods[] = {
    [CAFFE__RANGE_LEARNING__AMCT] = {"amct", "ulq_quantize", "arq_retrain",
                                     CAFFE__RANGE_LEARNING__AMCT, 1, 0},
    [CAFFE__RANGE_LEARNING__LSQ] = {"lsq", "lsq_quantize", "lsq_retrain",
                                    CAFFE__RANGE_LEARNING__LSQ, 1, 0},
    [CAFFE__RANGE_LEARNING__LSQ_PLUS] = {"lsq+", "lsq_plus_quantize", NULL,
                                         CAFFE__RANGE_LEARNING__LSQ, 1, 0},
    [CAFFE__RANGE_LEARNING__PACT] = {"pact", "pact_quantize", NULL, CAFFE__RANGE_LEARNING__AMCT, 1,
                                     1},
    [CAFFE__RANGE_LEARNING__TQT] = {"tqt", "tqt_quantize", "tqt_retrain",
                                    CAFFE__RANGE_LEARNING__TQT, 1, 0},
};
enum { METHODS = sizeof methods / sizeof *methods };

qf_status qf_ranges_parse(qf_context *context, const char *name, Caffe__RangeLearning *out)
{
    for (int i = 0; i < METHODS; i++)
        if (strcmp(methods[i].name, name) == 0) {
            *out = (Caffe__RangeLearning)i;
            return QF_OK;
        }
    return qf_fail(context, QF_E_ARGUMENT,
                   "ranges cannot learn by '%.40s'; expected amct, lsq, lsq+, pact or tqt", name);
}

const char *qf_ranges_name(Caffe__RangeLearning method)
{
    return methods[method].name;
}

Caffe__RangeLearning qf_ranges_of_weights(Caffe__RangeLearning method)
{
    return methods[method].of_weights;
}

const char *qf_ranges_data_algorithm(Caffe__RangeLearning method)
{
    return methods[method].data;
}

const char *qf_ranges_weight_algorithm(Caffe__RangeLearning method)
{
    return methods[method].weights;
}

bool qf_ranges_find_data(const char *algorithm, Caffe__RangeLearning *out)
{
    for (int i = 0; i < METHODS; i++)
        if (strcmp(methods[i].data, algorithm) == 0) {
            *out = (Caffe__RangeLearning)i;
            return true;
        }
    return false;
}

bool qf_ranges_find_weights(const char *algorithm, Caffe__RangeLearning *out)
{
    for (int i = 0; i < METHODS; i++)
        if (methods[i].weights && strcmp(methods[i].weights, algorithm) == 0) {
            *out = (Caffe__RangeLearning)i;
            return true;
        }
    return false;
}

float qf_ranges_rate(Caffe__RangeLearning method, int bits)
{
    (void)bits;
    return methods[method].rate;
}

float qf_ranges_decay(Caffe__RangeLearning method)
{
    return methods[method].decay;
}

void qf_ranges_apply(Caffe__RangeLearning method, qf_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled)
            continue;
        if (layer->ranges == CAFFE__RANGE_LEARNING__AMCT)
            layer->ranges = method;
        if (layer->support.has_weights && layer->weight_ranges == CAFFE__RANGE_LEARNING__AMCT)
            layer->weight_ranges = qf_ranges_of_weights(method);
    }
}
