/* ROIAlign (He et al., Mask R-CNN, section 3): each region cut into pooled_h × pooled_w bins, the
 * mean of points spread evenly over each bin. MS-CNN's layer of this name, with a
 * roi_pooling_param, takes the values at the corners of the bins. */
#include "layers/pooling/regions.h"

enum { MOST_SAMPLES = 1000 };

static qf_status setup_corners(qf_layer *layer)
{
    const Caffe__ROIPoolingParameter *p = layer->param->roi_pooling_param;
    qf_region_pooling *pooling = &((qf_regions_state *)layer->state)->pooling;
    if (p->pooled_h < 1 || p->pooled_w < 1 || p->pooled_h >= INT32_MAX || p->pooled_w >= INT32_MAX)
        return qf_fail(layer->context, QF_E_VALUE,
                       "roi_pooling_param of ROIAlign needs pooled_h and pooled_w of at least 1, "
                       "found %u and %u",
                       p->pooled_h, p->pooled_w);
    *pooling = (qf_region_pooling){.kind = QF_REGION_POINTS,
                                   .at_corners = true,
                                   .pooled = {(int)p->pooled_h + 1, (int)p->pooled_w + 1},
                                   .scale = {p->spatial_scale, p->spatial_scale},
                                   .pad = p->pad_ratio};
    QF_TRY(qf_regions_check_pad(layer, p->pad_ratio));
    return qf_regions_check_scale(layer, p->spatial_scale, "roi_pooling_param");
}

static qf_status setup(qf_layer *layer)
{
    if (layer->param->roi_pooling_param && !layer->param->roi_align_param)
        return setup_corners(layer);
    const Caffe__ROIAlignParameter *p = QF_LAYER_PARAM(layer, roi_align_param, ROIALIGN_, ROIAlign);
    qf_region_pooling *pooling = &((qf_regions_state *)layer->state)->pooling;
    if (p->pooled_h < 1 || p->pooled_w < 1 || p->pooled_h > INT32_MAX || p->pooled_w > INT32_MAX)
        return qf_fail(layer->context, QF_E_VALUE,
                       "roi_align_param needs pooled_h and pooled_w of at least 1, found %u and %u",
                       p->pooled_h, p->pooled_w);
    if (p->sampling_ratio > MOST_SAMPLES)
        return qf_fail(layer->context, QF_E_VALUE, "roi_align_param: sampling_ratio %d is above %d",
                       p->sampling_ratio, MOST_SAMPLES);
    if (p->roi_end_mode != 0 && p->roi_end_mode != 1)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "roi_align_param: roi_end_mode must be 0 or 1, is %d", p->roi_end_mode);
    *pooling = (qf_region_pooling){.kind = QF_REGION_POINTS,
                                   .pooled = {(int)p->pooled_h, (int)p->pooled_w},
                                   .scale = {p->spatial_scale, p->spatial_scale},
                                   .samples = p->sampling_ratio > 0 ? p->sampling_ratio : 0,
                                   .end_inside = p->roi_end_mode == 1};
    return qf_regions_check_scale(layer, p->spatial_scale, "roi_align_param");
}

const qf_layer_type qf_roi_align_layer = {
    .name = "ROIAlign",
    QF_REGIONS_TYPE,
    QF_BOTTOMS(2, 2),
    .no_gradient_bottoms = 1u << 1,
    .setup = setup,
    .reshape = qf_regions_reshape,
};
