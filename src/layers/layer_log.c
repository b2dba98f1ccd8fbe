/* AMCT's logs of single layers (specification, J.4). */
#include "base/amct_log.h"
#include "layers/layer.h"

qf_status qf_layer_log_data(qf_layer *layer)
{
    if (!layer->context->log_layer_data || !layer->type->logs_data || layer->data_logged)
        return QF_OK;
    const float *values;
    const qf_shape *shape = qf_blob_shape(layer->top[0]);
    const size_t images = shape->axes > 0 && shape->dim[0] > 0 ? (size_t)shape->dim[0] : 1;
    layer->data_logged = true;
    QF_TRY(qf_read(layer->context, layer->top[0]->data, QF_PLAIN, &values));
    return qf_amct_log_values(layer->context, layer->name, "layer_log.c", layer->type->name,
                              __LINE__, values, qf_blob_count(layer->top[0]) / images);
}
