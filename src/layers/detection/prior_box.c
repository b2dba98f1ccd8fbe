/* PriorBox (SSD), PriorBoxClustered (OpenVINO): for each cell of a feature map the boxes that the
 * network adjusts, as shares of the image, and the variances of the adjustment. The values depend
 * on shapes alone. The types differ in how the boxes of a cell are given. */
#include "layers/layer.h"

#include "base/memory.h"

#include <limits.h>
#include <math.h>

typedef struct state {
    float *ratios; /* width / height; 1 comes first */
    size_t ratio_count, boxes_per_cell;
    float variance[4];
    int image[2];  /* height, width; 0: those of bottom 1 */
    float step[2]; /* pixels of the image from cell to cell; 0: image / map */
} state;

typedef Caffe__PriorBoxParameter prior_box_param;

QF_LAYER_PARAM_OF(prior_box_param, PRIOR_BOX_, PriorBox)

static qf_status not_positive(const qf_layer *layer, const char *field, double found)
{
    return qf_fail(layer->context, QF_E_VALUE, "prior_box_param: %s must be greater than 0, is %g",
                   field, found);
}

static qf_status check_sizes(const qf_layer *layer, const prior_box_param *p)
{
    if (p->n_min_size == 0)
        return qf_fail(layer->context, QF_E_FORMAT, "prior_box_param needs a min_size");
    if (p->n_max_size && p->n_max_size != p->n_min_size)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "prior_box_param has %zu max_size for %zu min_size; give one each or none",
                       p->n_max_size, p->n_min_size);
    for (size_t i = 0; i < p->n_min_size; i++) {
        if (!(p->min_size[i] > 0 && p->min_size[i] < (float)INT_MAX))
            return not_positive(layer, "min_size", (double)p->min_size[i]);
        if (p->n_max_size && !(p->max_size[i] > p->min_size[i] && p->max_size[i] < (float)INT_MAX))
            return qf_fail(layer->context, QF_E_VALUE,
                           "prior_box_param: max_size %g must be greater than min_size %g",
                           (double)p->max_size[i], (double)p->min_size[i]);
    }
    return QF_OK;
}

/* Of ratios that are the same to 6 digits the first counts. */
static qf_status collect_ratios(qf_layer *layer, const prior_box_param *p)
{
    state *s = layer->state;
    s->ratios = qf_alloc(1 + 2 * p->n_aspect_ratio, sizeof *s->ratios);
    if (!s->ratios)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for aspect ratios");
    s->ratios[s->ratio_count++] = 1;
    for (size_t i = 0; i < p->n_aspect_ratio; i++) {
        const float ratio = p->aspect_ratio[i];
        bool known = false;
        if (!(ratio > 0 && ratio < (float)INT_MAX))
            return not_positive(layer, "aspect_ratio", (double)ratio);
        for (size_t k = 0; k < s->ratio_count; k++)
            known |= fabsf(ratio - s->ratios[k]) < 1e-6f;
        if (known)
            continue;
        s->ratios[s->ratio_count++] = ratio;
        if (p->flip)
            s->ratios[s->ratio_count++] = 1 / ratio;
    }
    s->boxes_per_cell = s->ratio_count * p->n_min_size + p->n_max_size;
    return QF_OK;
}

static qf_status read_variance(qf_layer *layer, const prior_box_param *p)
{
    state *s = layer->state;
    if (p->n_variance > 1 && p->n_variance != 4)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "prior_box_param has %zu variances; give none, one or four", p->n_variance);
    for (size_t i = 0; i < 4; i++) {
        s->variance[i] = p->n_variance ? p->variance[p->n_variance == 4 ? i : 0] : 0.1f;
        if (!(s->variance[i] > 0))
            return not_positive(layer, "variance", (double)s->variance[i]);
    }
    return QF_OK;
}

static qf_status read_geometry(qf_layer *layer, const prior_box_param *p)
{
    state *s = layer->state;
    const bool image_pair = p->has_img_h || p->has_img_w,
               step_pair = p->has_step_h || p->has_step_w;
    if ((image_pair && p->has_img_size) || (step_pair && p->has_step))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "prior_box_param: give img_size or img_h and img_w, and step or step_h and "
                       "step_w, not both");
    if (image_pair || p->has_img_size) {
        const uint32_t size[] = {image_pair ? p->img_h : p->img_size,
                                 image_pair ? p->img_w : p->img_size};
        for (int i = 0; i < 2; i++) {
            if (size[i] == 0 || size[i] > INT_MAX)
                return not_positive(layer, "the size of the image", (double)size[i]);
            s->image[i] = (int)size[i];
        }
    }
    if (step_pair || p->has_step) {
        s->step[0] = step_pair ? p->step_h : p->step;
        s->step[1] = step_pair ? p->step_w : p->step;
        for (int i = 0; i < 2; i++)
            if (!(s->step[i] > 0))
                return not_positive(layer, "step", (double)s->step[i]);
    }
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    const prior_box_param *p = param_of(layer);
    QF_TRY(check_sizes(layer, p));
    QF_TRY(collect_ratios(layer, p));
    QF_TRY(read_variance(layer, p));
    return read_geometry(layer, p);
}

static qf_status setup_clustered(qf_layer *layer)
{
    const prior_box_param *p = param_of(layer);
    state *s = layer->state;
    if (p->n_width == 0 || p->n_width != p->n_height)
        return qf_fail(
            layer->context, QF_E_FORMAT,
            "prior_box_param has %zu width and %zu height; a PriorBoxClustered needs one "
            "of each for every box of a cell",
            p->n_width, p->n_height);
    for (size_t i = 0; i < p->n_width; i++)
        if (!(p->width[i] > 0 && p->height[i] > 0 && isfinite(p->width[i] + p->height[i])))
            return qf_fail(layer->context, QF_E_VALUE,
                           "prior_box_param: box %zu of a cell is %g wide and %g high; expected "
                           "numbers greater than 0",
                           i, (double)p->width[i], (double)p->height[i]);
    s->boxes_per_cell = p->n_width;
    QF_TRY(read_variance(layer, p));
    return read_geometry(layer, p);
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->ratios);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    size_t count = 4 * s->boxes_per_cell;
    for (int b = 0; b < 2; b++) {
        const qf_shape *shape = qf_blob_shape(layer->bottom[b]);
        if (shape->axes != 4 || shape->dim[2] < 1 || shape->dim[3] < 1)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' must have 4 axes (num, channels, height, width) and a size",
                           layer->bottom[b]->name);
    }
    const qf_shape *map = qf_blob_shape(layer->bottom[0]);
    if (!qf_multiply(count, (size_t)map->dim[2], &count) ||
        !qf_multiply(count, (size_t)map->dim[3], &count) || count > INT_MAX)
        return qf_fail(layer->context, QF_E_SHAPE, "too many boxes for one blob");
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){3, {1, 2, (int)count}});
}

static float *put(float *out, float x, float y, double width, double height, const int image[2])
{
    *out++ = (float)(((double)x - width / 2) / image[1]);
    *out++ = (float)(((double)y - height / 2) / image[0]);
    *out++ = (float)(((double)x + width / 2) / image[1]);
    *out++ = (float)(((double)y + height / 2) / image[0]);
    return out;
}

/* The boxes of the cell around (x, y), in SSD's order. Like SSD, whole pixels of min_size and
 * max_size count: trained weights expect the boxes so. */
static float *put_cell(const qf_layer *layer, float *out, float x, float y, const int image[2])
{
    const prior_box_param *p = param_of(layer);
    const state *s = layer->state;
    for (size_t i = 0; i < p->n_min_size; i++) {
        const double size = (int)p->min_size[i];
        out = put(out, x, y, size, size, image);
        if (p->n_max_size) {
            const double mean = sqrt(size * (int)p->max_size[i]);
            out = put(out, x, y, (double)(float)mean, (double)(float)mean, image);
        }
        for (size_t r = 1; r < s->ratio_count; r++) {
            const double root = sqrt((double)s->ratios[r]);
            out = put(out, x, y, (double)(float)(size * root), (double)(float)(size / root), image);
        }
    }
    return out;
}

static float *put_clusters(const qf_layer *layer, float *out, float x, float y, const int image[2])
{
    const prior_box_param *p = param_of(layer);
    for (size_t i = 0; i < p->n_width; i++)
        out = put(out, x, y, (double)p->width[i], (double)p->height[i], image);
    return out;
}

typedef float *put_boxes(const qf_layer *layer, float *out, float x, float y, const int image[2]);

static qf_status put_all(qf_layer *layer, put_boxes *put_cell_boxes)
{
    const prior_box_param *p = param_of(layer);
    const state *s = layer->state;
    const qf_shape *map = qf_blob_shape(layer->bottom[0]);
    const size_t half = qf_blob_count(layer->top[0]) / 2;
    int image[2];
    float step[2], *boxes;
    for (int i = 0; i < 2; i++) {
        image[i] = s->image[0] ? s->image[i] : qf_blob_shape(layer->bottom[1])->dim[2 + i];
        step[i] = s->step[0] > 0 ? s->step[i] : (float)image[i] / (float)map->dim[2 + i];
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &boxes));
    float *out = boxes;
    for (int h = 0; h < map->dim[2]; h++)
        for (int w = 0; w < map->dim[3]; w++)
            out = put_cell_boxes(layer, out, ((float)w + p->offset) * step[1],
                                 ((float)h + p->offset) * step[0], image);
    for (size_t i = 0; p->clip && i < half; i++)
        boxes[i] = fminf(fmaxf(boxes[i], 0), 1);
    for (size_t i = 0; i < half; i++)
        boxes[half + i] = s->variance[i % 4];
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return put_all(layer, put_cell);
}

static qf_status forward_clustered(qf_layer *layer)
{
    return put_all(layer, put_clusters);
}

#define PRIOR_BOX(stem, type, make, run)                                                           \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type,                                                                              \
        .state_size = sizeof(state),                                                               \
        QF_BOTTOMS(2, 2),                                                                          \
        QF_TOPS(1, 1),                                                                             \
        .no_backward = true,                                                                       \
        .setup = make,                                                                             \
        .reshape = reshape,                                                                        \
        .forward = run,                                                                            \
        .destroy = destroy,                                                                        \
    }

PRIOR_BOX(prior_box, "PriorBox", setup, forward);
PRIOR_BOX(prior_box_clustered, "PriorBoxClustered", setup_clustered, forward_clustered);
