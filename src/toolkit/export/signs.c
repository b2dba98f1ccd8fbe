/* Which blobs hold no negative values: back through layers that keep the sign, to those that make
 * it. */
#include "toolkit/export/signs.h"

#include <string.h>

enum { MOST_LAYERS = 256 }; /* looked at: sums of sums have paths without number */

typedef enum sign { UNKNOWN, NOT_NEGATIVE, AS_BOTTOMS } sign;

/* A slope keeps the sign, unless it is negative itself. */
static sign of_relu(const Caffe__LayerParameter *layer)
{
    const float slope = layer->relu_param ? layer->relu_param->negative_slope : 0;
    return slope > 0 ? AS_BOTTOMS : NOT_NEGATIVE; /* a negative one turns negative values round */
}

static sign of_sum(const Caffe__LayerParameter *layer)
{
    const Caffe__EltwiseParameter *p = layer->eltwise_param;
    for (size_t i = 0; p && i < p->n_coeff; i++)
        if (!(p->coeff[i] >= 0))
            return UNKNOWN;
    return AS_BOTTOMS;
}

static const struct row {
    const char *type;
    sign sign;
    sign (*ask)(const Caffe__LayerParameter *layer); /* where it depends */
} rows[] = {
    {"ReLU", UNKNOWN, of_relu},           {"ReLU6", NOT_NEGATIVE, NULL},
    {"Sigmoid", NOT_NEGATIVE, NULL},      {"Softmax", NOT_NEGATIVE, NULL},
    {"AbsVal", NOT_NEGATIVE, NULL},       {"Pooling", AS_BOTTOMS, NULL},
    {"Concat", AS_BOTTOMS, NULL},         {"Dropout", AS_BOTTOMS, NULL},
    {"Flatten", AS_BOTTOMS, NULL},        {"Reshape", AS_BOTTOMS, NULL},
    {"Split", AS_BOTTOMS, NULL},          {"Slice", AS_BOTTOMS, NULL},
    {"ShuffleChannel", AS_BOTTOMS, NULL}, {"Eltwise", UNKNOWN, of_sum},
};

static sign sign_of(const Caffe__LayerParameter *layer)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (qf_layer_is(layer, rows[i].type))
            return rows[i].ask ? rows[i].ask(layer) : rows[i].sign;
    return UNKNOWN;
}

static bool never_negative(const Caffe__NetParameter *net, const char *blob, int before, int *left)
{
    const int from = qf_graph_producer(net, blob, before);
    const sign sign = from == QF_NONE || --*left < 0 ? UNKNOWN : sign_of(net->layer[from]);
    if (sign != AS_BOTTOMS)
        return sign == NOT_NEGATIVE;
    for (size_t b = 0; b < net->layer[from]->n_bottom; b++)
        if (!never_negative(net, net->layer[from]->bottom[b], from, left))
            return false;
    return net->layer[from]->n_bottom > 0;
}

bool qf_graph_is_never_negative(const Caffe__NetParameter *net, const char *blob, int before)
{
    int left = MOST_LAYERS;
    return never_negative(net, blob, before, &left);
}
