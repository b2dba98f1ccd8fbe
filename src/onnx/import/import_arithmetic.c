/*
 * Sums, differences, products, quotients, maxima: of blobs of one shape Eltwise; of a blob and one
 * number Power; of a blob and something that is broadcast along it Scale and Bias.
 */
#include "onnx/import/operators.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

#define ELTWISE(name) CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__##name

/* ---- blobs of one shape ---- */

static qf_status eltwise(qf_importer *im, const qf_import_blob *blobs, size_t count, int operation,
                         const float *factors, qf_import_blob *out)
{
    Caffe__LayerParameter *layer;
    const qf_shape shape = blobs[0].shape;
    QF_TRY(qf_import_add_layer(im, "Eltwise", "", &layer));
    for (size_t i = 0; i < count; i++)
        QF_TRY(qf_import_add_bottom(im, layer, &blobs[i]));
    QF_TRY(qf_import_add_top(im, layer, &shape, out));
    QF_TRY(
        qf_message_new(im->context, &caffe__eltwise_parameter__descriptor, &layer->eltwise_param));
    QF_SET(layer->eltwise_param, operation, operation);
    for (size_t i = 0; factors && i < count; i++)
        QF_TRY(qf_append(im->context, &layer->eltwise_param->n_coeff, &layer->eltwise_param->coeff,
                         &factors[i], sizeof *factors));
    return QF_OK;
}

/* The smaller is the negative of the larger of the negatives. */
static qf_status minimum(qf_importer *im, qf_import_blob blobs[2], qf_import_blob *out)
{
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_import_power(im, "negative", &blobs[i], 1, -1, 0, &blobs[i]));
    QF_TRY(eltwise(im, blobs, 2, ELTWISE(MAX), NULL, out));
    return qf_import_power(im, "negated", out, 1, -1, 0, out);
}

static qf_status alike(qf_importer *im, int operation, qf_import_blob blobs[2], qf_import_blob *out)
{
    static const float difference[] = {1, -1};
    switch (operation) {
    case QF_IMPORT_ADD:
        return eltwise(im, blobs, 2, ELTWISE(SUM), NULL, out);
    case QF_IMPORT_SUBTRACT:
        return eltwise(im, blobs, 2, ELTWISE(SUM), difference, out);
    case QF_IMPORT_MULTIPLY:
        return eltwise(im, blobs, 2, ELTWISE(PROD), NULL, out);
    case QF_IMPORT_DIVIDE:
        QF_TRY(qf_import_power(im, "reciprocal", &blobs[1], -1, 1, 0, &blobs[1]));
        return eltwise(im, blobs, 2, ELTWISE(PROD), NULL, out);
    case QF_IMPORT_MAXIMUM:
        return eltwise(im, blobs, 2, ELTWISE(MAX), NULL, out);
    default:
        return minimum(im, blobs, out);
    }
}

/* ---- one number ---- */

/* blob ∘ number, or number ∘ blob. */
static qf_status with_number(qf_importer *im, int operation, double number, bool number_first,
                             qf_import_blob *blob)
{
    switch (operation) {
    case QF_IMPORT_ADD:
        return qf_import_power(im, "", blob, 1, 1, number, blob);
    case QF_IMPORT_SUBTRACT:
        return number_first ? qf_import_power(im, "", blob, 1, -1, number, blob)
                            : qf_import_power(im, "", blob, 1, 1, -number, blob);
    case QF_IMPORT_MULTIPLY:
        return qf_import_power(im, "", blob, 1, number, 0, blob);
    default: /* a quotient; number / x is (x / number)^-1 */
        if (number == 0)
            return number_first ? qf_import_power(im, "", blob, 1, 0, 0, blob)
                                : qf_import_refuse(im, "it divides by 0");
        return number_first ? qf_import_power(im, "", blob, -1, 1 / number, 0, blob)
                            : qf_import_power(im, "", blob, 1, 1 / number, 0, blob);
    }
}

static bool changes_nothing(int operation, double number, bool number_first)
{
    switch (operation) {
    case QF_IMPORT_ADD:
        return number == 0;
    case QF_IMPORT_SUBTRACT:
        return number == 0 && !number_first;
    case QF_IMPORT_MULTIPLY:
        return number == 1;
    default:
        return number == 1 && !number_first;
    }
}

/* ---- broadcasting ---- */

/* The axes of the larger that the smaller goes along: first to last; those before and behind are 1
 * in the smaller. */
typedef struct span {
    int first, last;
    bool fits; /* along all of them */
} span;

static int dim_of(const qf_shape *small, int axes, int axis)
{
    const int at = axis - (axes - small->axes);
    return at < 0 ? 1 : small->dim[at];
}

static bool is_broadcast(const qf_shape *large, const qf_shape *small)
{
    for (int i = 0; i < large->axes; i++) {
        const int dim = dim_of(small, large->axes, i);
        if (dim != 1 && dim != large->dim[i])
            return false;
    }
    return small->axes <= large->axes;
}

/* `from_batch`: a blob that has the batch's axis goes along that, too, so that the batch may
 * change. */
static span span_of(const qf_shape *large, const qf_shape *small, bool from_batch)
{
    span s = {large->axes, -1, true};
    for (int i = 0; i < large->axes; i++)
        if (dim_of(small, large->axes, i) != 1) {
            s.first = s.first < i ? s.first : i;
            s.last = i;
        }
    bool whole = from_batch && small->axes == large->axes && s.last >= 0;
    for (int i = 0; i < s.first && whole; i++)
        whole = small->dim[i] == large->dim[i];
    if (whole)
        s.first = 0;
    for (int i = s.first; i <= s.last; i++)
        s.fits = s.fits && dim_of(small, large->axes, i) == large->dim[i];
    return s;
}

/* Elements that are known, one for each of the span, changed for the operation. */
static qf_status expand(qf_importer *im, const qf_import_value *value, const qf_shape *large,
                        span s, int operation, float **out, qf_shape *shape)
{
    size_t step[QF_MAX_AXES], at = 1;
    shape->axes = 0;
    for (int i = s.first; i <= s.last; i++)
        shape->dim[shape->axes++] = large->dim[i];
    for (int i = s.last; i >= s.first; i--) {
        const int dim = dim_of(&value->shape, large->axes, i);
        step[i] = dim == 1 ? 0 : at;
        at *= (size_t)dim;
    }
    const size_t count = qf_shape_count(shape);
    QF_TRY(qf_import_take_memory(im, count, sizeof **out));
    *out = qf_alloc_raw(count, sizeof **out);
    if (!*out)
        return qf_fail(im->context, QF_E_MEMORY, "no memory for %zu values", count);
    for (size_t i = 0; i < count; i++) {
        size_t rest = i, from = 0;
        for (int axis = s.last; axis >= s.first; axis--) {
            from += rest % (size_t)large->dim[axis] * step[axis];
            rest /= (size_t)large->dim[axis];
        }
        const double x = qf_import_element(value, from);
        (*out)[i] = (float)(operation == QF_IMPORT_SUBTRACT ? -x
                            : operation == QF_IMPORT_DIVIDE ? 1 / x
                                                            : x);
    }
    return QF_OK;
}

static bool is_product(int operation)
{
    return operation == QF_IMPORT_MULTIPLY || operation == QF_IMPORT_DIVIDE;
}

/* Scale or Bias along the axes, with a factor that is known (one bottom) or not. */
static qf_status add_broadcast(qf_importer *im, int operation, const qf_import_blob *large,
                               const qf_import_blob *small, int axis, int axes, qf_import_blob *out,
                               Caffe__LayerParameter **layer)
{
    const bool scale = is_product(operation);
    const qf_shape shape = large->shape;
    QF_TRY(qf_import_add_layer(im, scale ? "Scale" : "Bias", "", layer));
    QF_TRY(qf_import_add_bottom(im, *layer, large));
    if (small)
        QF_TRY(qf_import_add_bottom(im, *layer, small));
    QF_TRY(qf_import_add_top(im, *layer, &shape, out));
    if (axis == 1 && axes == 1) /* as it is anyway */
        return QF_OK;
    if (scale) {
        QF_TRY(qf_message_new(im->context, &caffe__scale_parameter__descriptor,
                              &(*layer)->scale_param));
        QF_SET((*layer)->scale_param, axis, axis);
        if (!small)
            QF_SET((*layer)->scale_param, num_axes, axes);
        return QF_OK;
    }
    QF_TRY(qf_message_new(im->context, &caffe__bias_parameter__descriptor, &(*layer)->bias_param));
    QF_SET((*layer)->bias_param, axis, axis);
    if (!small)
        QF_SET((*layer)->bias_param, num_axes, axes);
    return QF_OK;
}

/* A Scale without a summand takes one that goes along the same axes. */
static bool takes_summand(const qf_importer *im, const qf_import_value *value,
                          const qf_shape *shape, int axis, Caffe__LayerParameter **scale)
{
    *scale = qf_import_own_layer(im, value, "Scale");
    if (!*scale || (*scale)->n_bottom != 1 || (*scale)->n_blobs != 1)
        return false;
    const Caffe__BlobShape *factor = (*scale)->blobs[0]->shape;
    bool same = factor->n_dim == (size_t)shape->axes &&
                ((*scale)->scale_param ? (*scale)->scale_param->axis : 1) == axis;
    for (int i = 0; same && i < shape->axes; i++)
        same = factor->dim[i] == shape->dim[i];
    return same;
}

static qf_status with_known(qf_importer *im, int operation, qf_import_value *value,
                            const qf_import_value *known, bool known_first)
{
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    float *values;
    qf_shape shape;
    const span s = span_of(&value->shape, &known->shape, false);
    QF_TRY(qf_import_blob_of(im, value, &blob));
    if (known_first && operation == QF_IMPORT_DIVIDE)
        QF_TRY(qf_import_power(im, "reciprocal", &blob, -1, 1, 0, &blob));
    if (known_first && operation == QF_IMPORT_SUBTRACT)
        QF_TRY(qf_import_power(im, "negative", &blob, 1, -1, 0, &blob));
    const int change = !known_first            ? operation
                       : is_product(operation) ? QF_IMPORT_MULTIPLY
                                               : QF_IMPORT_ADD;
    QF_TRY(expand(im, known, &blob.shape, s, change, &values, &shape));
    qf_status status;
    if (!is_product(operation) && !known_first &&
        takes_summand(im, value, &shape, s.first, &layer)) {
        status = layer->scale_param
                     ? QF_OK
                     : qf_message_new(im->context, &caffe__scale_parameter__descriptor,
                                      &layer->scale_param);
        if (status == QF_OK)
            QF_SET(layer->scale_param, bias_term, true);
        if (status == QF_OK)
            status = qf_import_give(im, layer, &shape, values);
        if (status == QF_OK)
            status = qf_import_alias(im, 0, value);
        qf_free(values);
        return status;
    }
    status = add_broadcast(im, operation, &blob, NULL, s.first, shape.axes, &blob, &layer);
    if (status == QF_OK)
        status = qf_import_give(im, layer, &shape, values);
    qf_free(values);
    return status == QF_OK ? qf_import_define(im, 0, &blob) : status;
}

/* Repeats the smaller along the axes of the span where it has one element. */
static qf_status fill_span(qf_importer *im, const qf_shape *large, span s, qf_import_blob *small)
{
    qf_shape shape = {0};
    for (int i = s.first; i <= s.last; i++)
        shape.dim[shape.axes++] = dim_of(&small->shape, large->axes, i);
    QF_TRY(qf_import_reshape(im, "factor", small, &shape, small));
    for (int i = 0; i < shape.axes; i++)
        if (shape.dim[i] != large->dim[s.first + i])
            QF_TRY(qf_import_tile(im, "factor", small, i, large->dim[s.first + i], small));
    return QF_OK;
}

/* `large` ∘ `small` or, where that comes first, `small` ∘ `large`. */
static qf_status broadcast(qf_importer *im, int operation, qf_import_blob *large,
                           qf_import_blob *small, bool small_first)
{
    Caffe__LayerParameter *layer;
    span s = span_of(&large->shape, &small->shape, true);
    if (s.last < 0) /* one element for all */
        s = (span){0, -1, true};
    qf_import_blob *second = small_first ? large : small; /* what is subtracted, or divides */
    if (operation == QF_IMPORT_SUBTRACT)
        QF_TRY(qf_import_power(im, "negative", second, 1, -1, 0, second));
    if (operation == QF_IMPORT_DIVIDE)
        QF_TRY(qf_import_power(im, "reciprocal", second, -1, 1, 0, second));
    QF_TRY(fill_span(im, &large->shape, s, small));
    QF_TRY(
        add_broadcast(im, operation, large, small, s.first, s.last - s.first + 1, large, &layer));
    return qf_import_define(im, 0, large);
}

/* Both as large as each other. */
static qf_status spread(qf_importer *im, const qf_shape *whole, qf_import_blob *blob)
{
    const span all = {0, whole->axes - 1, true};
    return qf_shape_equal(whole, &blob->shape) ? QF_OK : fill_span(im, whole, all, blob);
}

static qf_status both_spread(qf_importer *im, int operation, qf_import_blob blobs[2])
{
    const int axes =
        blobs[0].shape.axes > blobs[1].shape.axes ? blobs[0].shape.axes : blobs[1].shape.axes;
    qf_shape whole = {.axes = axes};
    for (int i = 0; i < axes; i++) {
        const int a = dim_of(&blobs[0].shape, axes, i), b = dim_of(&blobs[1].shape, axes, i);
        if (a != b && a != 1 && b != 1)
            return qf_import_damaged(im, "%d and %d elements along axis %d do not fit", a, b, i);
        whole.dim[i] = a > b ? a : b;
    }
    QF_TRY(spread(im, &whole, &blobs[0]));
    QF_TRY(spread(im, &whole, &blobs[1]));
    QF_TRY(alike(im, operation, blobs, &blobs[0]));
    return qf_import_define(im, 0, &blobs[0]);
}

static bool can_broadcast(int operation)
{
    return operation != QF_IMPORT_MAXIMUM && operation != QF_IMPORT_MINIMUM;
}

static qf_status of_blobs(qf_importer *im, int operation)
{
    qf_import_blob blobs[2];
    QF_TRY(qf_import_blob_input(im, 0, &blobs[0]));
    QF_TRY(qf_import_blob_input(im, 1, &blobs[1]));
    const qf_shape *a = &blobs[0].shape, *b = &blobs[1].shape;
    if (!qf_shape_equal(a, b) && can_broadcast(operation)) {
        if (is_broadcast(a, b))
            return broadcast(im, operation, &blobs[0], &blobs[1], false);
        if (is_broadcast(b, a))
            return broadcast(im, operation, &blobs[1], &blobs[0], true);
    }
    return both_spread(im, operation, blobs);
}

/* x · Sigmoid(x), of one blob, is what Caffe's forks call Swish. */
static bool is_swish(const qf_importer *im, const qf_import_value *x, const qf_import_value *factor)
{
    const Caffe__LayerParameter *layer = qf_import_own_layer(im, factor, "Sigmoid");
    return layer && x->blob && strcmp(layer->bottom[0], x->blob) == 0;
}

static qf_status swish(qf_importer *im, size_t input)
{
    const qf_import_value *x = qf_import_input(im, input);
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, input, &blob));
    QF_TRY(qf_import_chain(im, "Swish", "", &blob, &x->shape, &blob, NULL));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_arithmetic(qf_importer *im, int operation)
{
    qf_import_value *a = qf_import_input(im, 0), *b = qf_import_input(im, 1);
    qf_import_blob blob;
    bool done = false;
    if (!a || !b)
        return qf_import_damaged(im, "it needs two inputs");
    if (operation == QF_IMPORT_MULTIPLY && (is_swish(im, a, b) || is_swish(im, b, a)))
        return swish(im, is_swish(im, a, b) ? 0 : 1);
    const bool known_first = qf_import_is_constant(a);
    qf_import_value *known = known_first ? a : qf_import_is_constant(b) ? b : NULL;
    qf_import_value *value = known_first ? b : a;
    if (!known || !can_broadcast(operation) || qf_import_is_constant(value) ||
        !is_broadcast(&value->shape, &known->shape) || !qf_shape_count(&known->shape))
        return of_blobs(im, operation);
    if (operation == QF_IMPORT_ADD) {
        QF_TRY(qf_import_give_bias(im, value, known, &done));
        if (done)
            return qf_import_alias(im, 0, value);
    }
    if (qf_shape_count(&known->shape) != 1)
        return with_known(im, operation, value, known, known_first);
    if (changes_nothing(operation, qf_import_element(known, 0), known_first))
        return qf_import_alias(im, 0, value);
    QF_TRY(qf_import_blob_of(im, value, &blob));
    QF_TRY(with_number(im, operation, qf_import_element(known, 0), known_first, &blob));
    return qf_import_define(im, 0, &blob);
}

/* Of any number of blobs. */
qf_status qf_import_sum(qf_importer *im, int operation)
{
    const size_t count = im->input_count;
    if (count == 2)
        return qf_import_arithmetic(im, operation);
    if (!count)
        return qf_import_damaged(im, "it has no inputs");
    qf_import_blob *blobs = qf_alloc(count, sizeof *blobs);
    if (!blobs)
        return qf_fail(im->context, QF_E_MEMORY, "no memory for %zu blobs", count);
    qf_status status = QF_OK;
    for (size_t i = 0; i < count && status == QF_OK; i++) {
        status = qf_import_blob_input(im, i, &blobs[i]);
        if (status == QF_OK && !qf_shape_equal(&blobs[i].shape, &blobs[0].shape))
            status = qf_import_refuse(im, "its inputs differ in shape");
    }
    if (status == QF_OK && count > 1)
        status = operation == QF_IMPORT_MINIMUM
                     ? qf_import_refuse(im, "Caffe has the minimum of two blobs only")
                     : eltwise(im, blobs, count,
                               operation == QF_IMPORT_ADD ? ELTWISE(SUM) : ELTWISE(MAX), NULL,
                               &blobs[0]);
    if (status == QF_OK)
        status = qf_import_define(im, 0, &blobs[0]);
    qf_free(blobs);
    return status;
}

qf_status qf_import_power(qf_importer *im, const char *tail, const qf_import_blob *in, double power,
                          double scale, double shift, qf_import_blob *out)
{
    Caffe__LayerParameter *layer;
    const qf_shape shape = in->shape;
    QF_TRY(qf_import_chain(im, "Power", tail, in, &shape, out, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__power_parameter__descriptor, &layer->power_param));
    Caffe__PowerParameter *p = layer->power_param;
    if (power != 1)
        QF_SET(p, power, (float)power);
    if (scale != 1)
        QF_SET(p, scale, (float)scale);
    if (shift != 0)
        QF_SET(p, shift, (float)shift);
    return QF_OK;
}

qf_status qf_import_raise(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    double exponent;
    if (!qf_import_input(im, 1))
        return qf_import_damaged(im, "it needs two inputs");
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_scalar(im, 1, 1, &exponent));
    QF_TRY(qf_import_power(im, "", &blob, exponent, 1, 0, &blob));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_fixed_power(qf_importer *im, int operation)
{
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_power(im, "", &blob,
                           operation == QF_IMPORT_ROOT         ? 0.5
                           : operation == QF_IMPORT_RECIPROCAL ? -1
                                                               : 1,
                           operation == QF_IMPORT_NEGATE ? -1 : 1, 0, &blob));
    return qf_import_define(im, 0, &blob);
}
