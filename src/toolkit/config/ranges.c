/* Names of the ways in which ranges learn, and how fast. */
#include "toolkit/config/ranges.h"

#include "toolkit/config/bits.h"

#include <string.h>

/* `rate`, with 8 bits and with fewer, and `decay`: multipliers of the clip range. Steps of weights
 * learn at the weights' own rate, for which LSQ's scale was made. PACT's decay is part of the
 * method, and as strong as that of weights. docs/training.md says what the rates were chosen by. */
static const struct method {
    const char *name, *data, *weights;
    Caffe__RangeLearning of_weights;
    float rate, rate_of_few_bits, decay;
} methods[] = {
    [CAFFE__RANGE_LEARNING__AMCT] = {"amct", "ulq_quantize", "arq_retrain",
                                     CAFFE__RANGE_LEARNING__AMCT, 1, 1, 0},
    [CAFFE__RANGE_LEARNING__LSQ] = {"lsq", "lsq_quantize", "lsq_retrain",
                                    CAFFE__RANGE_LEARNING__LSQ, 0.5f, 0.1f, 0},
    [CAFFE__RANGE_LEARNING__LSQ_PLUS] = {"lsq+", "lsq_plus_quantize", NULL,
                                         CAFFE__RANGE_LEARNING__LSQ, 0.5f, 0.1f, 0},
    [CAFFE__RANGE_LEARNING__PACT] = {"pact", "pact_quantize", NULL, CAFFE__RANGE_LEARNING__AMCT, 10,
                                     10, 0.1f},
    [CAFFE__RANGE_LEARNING__TQT] = {"tqt", "tqt_quantize", "tqt_retrain",
                                    CAFFE__RANGE_LEARNING__TQT, 1, 1, 0},
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
                   "ranges cannot learn by '%.40s'; expected auto, amct, lsq, lsq+, pact or tqt",
                   name);
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
    return bits < 8 ? methods[method].rate_of_few_bits : methods[method].rate;
}

float qf_ranges_decay(Caffe__RangeLearning method)
{
    return methods[method].decay;
}

/* What learns AMCT's way so far learns this way. */
static void choose(Caffe__RangeLearning method, Caffe__RangeLearning *learning)
{
    if (*learning == CAFFE__RANGE_LEARNING__AMCT)
        *learning = method;
}

/* With few bits, where a range ends counts; with 8, all do the same within noise. */
static Caffe__RangeLearning by_bits(int said)
{
    return qf_bits(said) < 8 ? CAFFE__RANGE_LEARNING__LSQ : CAFFE__RANGE_LEARNING__AMCT;
}

qf_status qf_ranges_apply(qf_context *context, const char *name, qf_config *config)
{
    const bool automatic = strcmp(name, "auto") == 0;
    Caffe__RangeLearning method = CAFFE__RANGE_LEARNING__AMCT;
    if (!automatic)
        QF_TRY(qf_ranges_parse(context, name, &method));
    for (size_t i = 0; i < config->count; i++) {
        qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled)
            continue;
        choose(automatic ? by_bits(layer->activation_bits) : method, &layer->ranges);
        if (layer->support.has_weights)
            choose(automatic ? by_bits(layer->weight_bits) : qf_ranges_of_weights(method),
                   &layer->weight_ranges);
    }
    return QF_OK;
}
