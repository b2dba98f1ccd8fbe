/* Fillers: constant, uniform, gaussian, xavier, msra and the others of Caffe. */
#include "base/nearest.h"
#include "tensor/blob.h"

#include <math.h>
#include <string.h>

typedef struct filling {
    qf_random *random;
    const Caffe__FillerParameter *filler;
    const qf_shape *shape;
    float *values;
    size_t count;
} filling;

static float fan(const filling *fill)
{
    const qf_shape *shape = fill->shape;
    size_t fan_in = shape->axes > 0 && shape->dim[0] ? fill->count / (size_t)shape->dim[0] : 1;
    size_t fan_out =
        shape->axes > 1 && shape->dim[1] ? fill->count / (size_t)shape->dim[1] : fill->count;
    switch (fill->filler->variance_norm) {
    case CAFFE__FILLER_PARAMETER__VARIANCE_NORM__AVERAGE:
        return (float)(fan_in + fan_out) / 2;
    case CAFFE__FILLER_PARAMETER__VARIANCE_NORM__FAN_OUT:
        return (float)fan_out;
    default:
        return (float)fan_in;
    }
}

static void uniform(const filling *fill, float low, float high)
{
    for (size_t i = 0; i < fill->count; i++)
        fill->values[i] = qf_random_uniform(fill->random, low, high);
}

static void gaussian(const filling *fill, float mean, float deviation)
{
    for (size_t i = 0; i < fill->count; i++)
        fill->values[i] = qf_random_gaussian(fill->random, mean, deviation);
}

static void fill_constant(const filling *fill)
{
    for (size_t i = 0; i < fill->count; i++)
        fill->values[i] = fill->filler->value;
}

static void fill_uniform(const filling *fill)
{
    uniform(fill, fill->filler->min, fill->filler->max);
}

static void fill_gaussian(const filling *fill)
{
    gaussian(fill, fill->filler->mean, fill->filler->std);
    if (fill->filler->sparse < 0)
        return;
    /* On average `sparse` weights that are not zero for each output. */
    double probability = (double)fill->filler->sparse / fill->shape->dim[0];
    for (size_t i = 0; i < fill->count; i++)
        if (!qf_random_bernoulli(fill->random, probability))
            fill->values[i] = 0;
}

static void fill_positive_unitball(const filling *fill)
{
    uniform(fill, 0, 1);
    size_t rows = (size_t)fill->shape->dim[0], length = fill->count / rows;
    for (size_t row = 0; row < rows; row++) {
        float *values = fill->values + row * length, sum = 0;
        for (size_t i = 0; i < length; i++)
            sum += values[i];
        for (size_t i = 0; i < length; i++)
            values[i] /= sum;
    }
}

/* Directions of no preference (NormFace): each row of length 1. */
static void fill_gaussian_unitball(const filling *fill)
{
    gaussian(fill, 0, 1);
    const size_t rows = (size_t)fill->shape->dim[0], length = fill->count / rows;
    for (size_t row = 0; row < rows; row++) {
        float *values = fill->values + row * length;
        double sum = 0;
        for (size_t i = 0; i < length; i++)
            sum += (double)values[i] * (double)values[i];
        for (size_t i = 0; sum > 0 && i < length; i++)
            values[i] /= (float)sqrt(sum);
    }
}

/* Glorot and Bengio (2010). */
static void fill_xavier(const filling *fill)
{
    float limit = sqrtf(3.0f / fan(fill));
    uniform(fill, -limit, limit);
}

/* He et al. (2015). */
static void fill_msra(const filling *fill)
{
    gaussian(fill, 0, sqrtf(2.0f / fan(fill)));
}

/* Interpolation weights for an upsampling Deconvolution. */
static void fill_bilinear(const filling *fill)
{
    int width = fill->shape->dim[3];
    double factor = ceil(width / 2.0), centre = (width - 1) / (2 * factor);
    for (size_t i = 0; i < fill->count; i++) {
        double x = (double)(i % (size_t)width), y = (double)(i / (size_t)width % (size_t)width);
        fill->values[i] =
            (float)((1 - fabs(x / factor - centre)) * (1 - fabs(y / factor - centre)));
    }
}

static const struct {
    const char *name;
    int axes; /* that the blob must have at least */
    bool may_be_sparse;
    void (*fill)(const filling *fill);
} fillers[] = {
    {"constant", 0, false, fill_constant},
    {"gaussian", 0, true, fill_gaussian},
    {"gaussian_unitball", 1, false, fill_gaussian_unitball},
    {"positive_unitball", 1, false, fill_positive_unitball},
    {"uniform", 0, false, fill_uniform},
    {"xavier", 1, false, fill_xavier},
    {"msra", 1, false, fill_msra},
    {"bilinear", 4, false, fill_bilinear},
};

static const char *filler_name(int index)
{
    return (size_t)index < sizeof fillers / sizeof *fillers ? fillers[index].name : NULL;
}

qf_status qf_fill(qf_blob *blob, const Caffe__FillerParameter *filler)
{
    char near[64];
    qf_context *context = blob->context;
    if (!filler || (strcmp(filler->type, "constant") == 0 && filler->value == 0)) {
        qf_tensor_set_zero(blob->data);
        return QF_OK;
    }
    filling fill = {&context->random, filler, qf_blob_shape(blob), NULL, qf_blob_count(blob)};
    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        if (strcmp(fillers[i].name, filler->type) != 0)
            continue;
        if (filler->sparse != -1 && !fillers[i].may_be_sparse)
            return qf_fail(context, QF_E_ARGUMENT,
                           "the filler '%s' cannot be sparse; only "
                           "'gaussian' can",
                           filler->type);
        const qf_shape *shape = fill.shape;
        if (shape->axes < fillers[i].axes || (fillers[i].fill == fill_bilinear &&
                                              (shape->axes != 4 || shape->dim[2] != shape->dim[3])))
            return qf_fail(context, QF_E_SHAPE, "the filler '%s' needs a blob with %s",
                           filler->type,
                           fillers[i].axes == 4 ? "four axes and a square kernel" : "an axis");
        QF_TRY(qf_write(context, blob->data, QF_PLAIN, &fill.values));
        if (fill.count)
            fillers[i].fill(&fill);
        return QF_OK;
    }
    return qf_fail(context, QF_E_ARGUMENT, "unknown filler type '%s'; the nearest are %s",
                   filler->type, qf_nearest_three(near, sizeof near, filler->type, filler_name));
}
