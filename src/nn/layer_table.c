#include "nn/layer.h"

#include <string.h>

/* One row a type; alphabetical, because the list is shown to users. */
#define QF_LAYERS(X)                                                                               \
    X(accuracy)                                                                                    \
    X(activation_qat)                                                                              \
    X(anti_quant)                                                                                  \
    X(arg_max)                                                                                     \
    X(batch_norm)                                                                                  \
    X(bias)                                                                                        \
    X(concat)                                                                                      \
    X(convolution)                                                                                 \
    X(data)                                                                                        \
    X(de_quant)                                                                                    \
    X(deconvolution)                                                                               \
    X(depthwise_convolution)                                                                       \
    X(dropout)                                                                                     \
    X(dummy_data)                                                                                  \
    X(elu)                                                                                         \
    X(eltwise)                                                                                     \
    X(euclidean_loss)                                                                              \
    X(flatten)                                                                                     \
    X(hdf5_data)                                                                                   \
    X(inner_product)                                                                               \
    X(input)                                                                                       \
    X(lrn)                                                                                         \
    X(memory_data)                                                                                 \
    X(p_relu)                                                                                      \
    X(pooling)                                                                                     \
    X(power)                                                                                       \
    X(python)                                                                                      \
    X(quant)                                                                                       \
    X(relu)                                                                                        \
    X(reshape)                                                                                     \
    X(scale)                                                                                       \
    X(search_n)                                                                                    \
    X(sigmoid)                                                                                     \
    X(silence)                                                                                     \
    X(slice)                                                                                       \
    X(softmax)                                                                                     \
    X(softmax_with_loss)                                                                           \
    X(split)                                                                                       \
    X(tan_h)                                                                                       \
    X(weight_qat)

#define X(stem) extern const qf_layer_type qf_##stem##_layer;
QF_LAYERS(X)
#undef X

const qf_layer_type *const qf_layer_types[] = {
#define X(stem) &qf_##stem##_layer,
    QF_LAYERS(X)
#undef X
        NULL,
};

const qf_layer_type *qf_layer_type_find(const char *name)
{
    for (const qf_layer_type *const *type = qf_layer_types; *type; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

const char *qf_layer_type_name(int index)
{
    for (int i = 0; i <= index; i++)
        if (!qf_layer_types[i])
            return NULL;
    return index < 0 ? NULL : qf_layer_types[index]->name;
}
