/* Nets to measure with read their items in so many batches that differences of losses between two
 * states have a spread. */
#include "toolkit/run/keep.h"

#include "toolkit/sources/data_layer.h"

#include "train/test_set.h"

#include <string.h>

enum { BATCHES = 25, LEAST = 4 }; /* as many, but of no fewer items than that */

static void set_batch(Caffe__NetParameter *param, uint32_t batch)
{
    for (size_t i = 0; i < param->n_layer; i++) {
        Caffe__LayerParameter *layer = param->layer[i];
        if (layer->data_param)
            layer->data_param->batch_size = batch;
        if (layer->image_data_param)
            layer->image_data_param->batch_size = batch;
        if (layer->hdf5_data_param)
            layer->hdf5_data_param->batch_size = batch;
        if (layer->dense_image_data_param)
            layer->dense_image_data_param->batch_size = batch;
    }
}

/* Statistics of a batch are part of what BatchNorm computes in training. */
static bool looks_at_batches(const qf_net *net)
{
    for (int l = 0; net->phase == QF_TRAIN && l < net->layer_count; l++)
        if (strcmp(net->layers[l]->type->name, "BatchNorm") == 0)
            return true;
    return false;
}

qf_status qf_run_create_in_batches(qf_context *context, Caffe__NetParameter *param, qf_net *share,
                                   qf_net **out)
{
    const qf_random random = context->random;
    qf_net *smaller;
    qf_test_set set;
    QF_TRY(qf_net_create_from_param(context, param, share, out));
    QF_TRY(qf_test_set_find(*out, &set));
    const uint64_t batch = set.items / BATCHES > LEAST ? set.items / BATCHES : LEAST;
    if (!set.items || batch >= (uint64_t)set.batch || looks_at_batches(*out))
        return QF_OK;
    set_batch(param, (uint32_t)batch);
    context->random = random;
    const qf_status status = qf_net_create_from_param(context, param, share, &smaller);
    if (status == QF_OK) {
        qf_net_destroy(*out);
        *out = smaller;
    }
    return status == QF_E_MEMORY ? status : QF_OK; /* nets of one size of batch stay as they are */
}
