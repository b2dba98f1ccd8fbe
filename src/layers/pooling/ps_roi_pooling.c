/* PSROIPooling (R-FCN): each region cut into group_size² bins, the mean of each bin; every bin
 * looks at its own channels of the map. */
#include "layers/pooling/regions.h"

QF_LAYER_PARAM_OF(psroi_pooling_param, PSROIPOOLING_, PSROIPooling)

static qf_status setup(qf_layer *layer)
{
    const Caffe__PSROIPoolingParameter *p = param_of(layer);
    qf_region_pooling *pooling = &((qf_regions_state *)layer->state)->pooling;
    if (p->output_dim < 1 || p->group_size < 1 || p->group_size > 1 << 15)
        return qf_fail(
            layer->context, QF_E_VALUE,
            "psroi_pooling_param needs output_dim and group_size of at least 1, found %d "
            "and %d",
            p->output_dim, p->group_size);
    *pooling = (qf_region_pooling){.kind = QF_REGION_MEAN,
                                   .pooled = {p->group_size, p->group_size},
                                   .scale = {p->spatial_scale, p->spatial_scale}};
    return qf_regions_check_scale(layer, p->spatial_scale, "psroi_pooling_param");
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__PSROIPoolingParameter *p = param_of(layer);
    qf_region_pooling *pooling = &((qf_regions_state *)layer->state)->pooling;
    QF_TRY(qf_regions_map(layer));
    const int64_t channels = (int64_t)p->output_dim * p->group_size * p->group_size;
    if (pooling->channels != channels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %d channels, expected output_dim %d times group_size² %d",
                       layer->bottom[0]->name, pooling->channels, p->output_dim,
                       p->group_size * p->group_size);
    pooling->outputs = p->output_dim;
    return qf_regions_top(layer);
}

const qf_layer_type qf_ps_roi_pooling_layer = {
    .name = "PSROIPooling",
    QF_REGIONS_TYPE,
    QF_BOTTOMS(2, 2),
    .no_gradient_bottoms = 1u << 1,
    .setup = setup,
    .reshape = reshape,
};
