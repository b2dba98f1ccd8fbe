/* ROIPooling (Fast R-CNN): each region cut into pooled_h × pooled_w bins, the largest value of each
 * bin; 0 where a bin holds nothing. With pad_ratio (MS-CNN) regions are larger on each side. */
#include "layers/pooling/regions.h"

static qf_status setup(qf_layer *layer)
{
    const Caffe__ROIPoolingParameter *p =
        QF_LAYER_PARAM(layer, roi_pooling_param, ROIPOOLING_, ROIPooling);
    qf_region_pooling *pooling = &((qf_regions_state *)layer->state)->pooling;
    if (p->pooled_h < 1 || p->pooled_w < 1 || p->pooled_h > INT32_MAX || p->pooled_w > INT32_MAX)
        return qf_fail(
            layer->context, QF_E_VALUE,
            "roi_pooling_param needs pooled_h and pooled_w of at least 1, found %u and %u",
            p->pooled_h, p->pooled_w);
    *pooling = (qf_region_pooling){
        .kind = QF_REGION_MAX,
        .pooled = {(int)p->pooled_h, (int)p->pooled_w},
        .scale = {p->has_spatial_scale_h ? p->spatial_scale_h : p->spatial_scale,
                  p->has_spatial_scale_w ? p->spatial_scale_w : p->spatial_scale},
        .pad = p->pad_ratio};
    QF_TRY(qf_regions_check_pad(layer, p->pad_ratio));
    QF_TRY(qf_regions_check_scale(layer, pooling->scale[0], "roi_pooling_param"));
    return qf_regions_check_scale(layer, pooling->scale[1], "roi_pooling_param");
}

const qf_layer_type qf_roi_pooling_layer = {
    .name = "ROIPooling",
    QF_REGIONS_TYPE,
    QF_BOTTOMS(2, 3), /* Ascend: the number of regions, which the second bottom shows anyway */
    .no_gradient_bottoms = 1u << 1 | 1u << 2,
    .setup = setup,
    .reshape = qf_regions_reshape,
};
