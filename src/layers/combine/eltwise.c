/* Eltwise: product, sum with coefficients, or maximum of bottoms of one shape. */
#include "layers/layer.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <string.h>

typedef struct state {
    int operation;
    float *coefficient; /* SUM: of each bottom */
    uint8_t *winner;    /* MAX: which bottom each value came from */
    size_t capacity;
    qf_form form;            /* of the last forward pass */
    qf_tensor *kept, *first; /* PROD in place: the first bottom as it was; what to read for it */
} state;

enum {
    PROD = CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__PROD,
    SUM = CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM,
    MAX = CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__MAX,
};

static const Caffe__EltwiseParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, eltwise_param, ELTWISE_, Eltwise);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__EltwiseParameter *p = param_of(layer);
    state *s = layer->state;
    s->operation = (int)p->operation;
    if (p->n_coeff && p->n_coeff != (size_t)layer->bottom_count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "eltwise_param has %zu coeff for %d bottoms; give one for each or none",
                       p->n_coeff, layer->bottom_count);
    if (p->n_coeff && s->operation != SUM)
        return qf_fail(layer->context, QF_E_FORMAT, "eltwise_param.coeff only goes with SUM");
    if (s->operation == MAX && layer->bottom_count > 255)
        return qf_fail(layer->context, QF_E_UNSUPPORTED, "MAX takes at most 255 bottoms");
    s->coefficient = qf_alloc((size_t)layer->bottom_count, sizeof(float));
    if (!s->coefficient)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for coefficients");
    for (int i = 0; i < layer->bottom_count; i++)
        s->coefficient[i] = p->n_coeff ? p->coeff[i] : 1;
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    char first[256], other[256];
    for (int i = 1; i < layer->bottom_count; i++)
        if (!qf_shape_equal(qf_blob_shape(layer->bottom[0]), qf_blob_shape(layer->bottom[i])))
            return qf_fail(layer->context, QF_E_SHAPE,
                           "the bottoms must have one shape: '%s' has %s, '%s' has %s",
                           layer->bottom[0]->name,
                           qf_shape_text(qf_blob_shape(layer->bottom[0]), first, sizeof first),
                           layer->bottom[i]->name,
                           qf_shape_text(qf_blob_shape(layer->bottom[i]), other, sizeof other));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[0]);
}

static void combine(const state *s, int index, const float *x, float *y, size_t n)
{
    const float c = s->coefficient[index];
    if (index == 0) {
        if (s->operation == MAX)
            memset(s->winner, 0, n);
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
        for (size_t i = 0; i < n; i++)
            y[i] = c * x[i];
    } else if (s->operation == SUM) {
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
        for (size_t i = 0; i < n; i++)
            y[i] += c * x[i];
    } else if (s->operation == PROD) {
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
        for (size_t i = 0; i < n; i++)
            y[i] *= x[i];
    } else { /* of the first two the second wins a tie, later ones must be greater (as Caffe) */
        for (size_t i = 0; i < n; i++)
            if (index == 1 ? !(y[i] > x[i]) : x[i] > y[i]) {
                y[i] = x[i];
                s->winner[i] = (uint8_t)index;
            }
    }
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    float *y;
    size_t n = qf_blob_count(layer->top[0]);
    s->first = layer->bottom[0]->data;
    if (s->operation == PROD)
        QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->first));
    s->form = qf_tensor_any_float(s->first);
    if (s->operation == MAX && !qf_grow(&s->winner, &s->capacity, n, 1))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a mask");
    const float *x;
    QF_TRY(qf_read(layer->context, s->first, s->form, &x)); /* before it is written in place */
    QF_TRY(qf_write(layer->context, layer->top[0]->data, s->form, &y));
    combine(s, 0, x, y, n);
    for (int b = 1; b < layer->bottom_count; b++) {
        QF_TRY(qf_read(layer->context, layer->bottom[b]->data, s->form, &x));
        combine(s, b, x, y, n);
    }
    return QF_OK;
}

static qf_tensor *bottom_of(const qf_layer *layer, int index)
{
    return index == 0 ? ((const state *)layer->state)->first : layer->bottom[index]->data;
}

/* dy times all other bottoms: right where a factor is zero, unlike y / x. */
static qf_status backward_product(qf_layer *layer, int index, const float *dy, float *dx, size_t n)
{
    const state *s = layer->state;
    bool stable = param_of(layer)->stable_prod_grad;
    const float *y, *x;
    if (!stable) {
        QF_TRY(qf_read(layer->context, layer->top[0]->data, s->form, &y));
        QF_TRY(qf_read(layer->context, bottom_of(layer, index), s->form, &x));
        for (size_t i = 0; i < n; i++)
            dx[i] = y[i] / x[i] * dy[i];
        return QF_OK;
    }
    if (dx != dy)
        memcpy(dx, dy, n * sizeof *dx);
    for (int b = 0; b < layer->bottom_count; b++) {
        if (b == index)
            continue;
        QF_TRY(qf_read(layer->context, bottom_of(layer, b), s->form, &x));
        for (size_t i = 0; i < n; i++)
            dx[i] *= x[i];
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *dy;
    size_t n = qf_blob_count(layer->top[0]);
    qf_form form = s->operation == SUM ? qf_tensor_any_float(layer->top[0]->diff) : s->form;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, form, &dy));
    for (int b = layer->bottom_count; b-- > 0;) { /* in place, dy becomes the first's */
        float *dx;
        if (!layer->propagate_down[b])
            continue;
        QF_TRY(qf_write(layer->context, layer->bottom[b]->diff, form, &dx));
        if (s->operation == PROD) {
            QF_TRY(backward_product(layer, b, dy, dx, n));
        } else if (s->operation == MAX) {
            for (size_t i = 0; i < n; i++)
                dx[i] = s->winner[i] == b ? dy[i] : 0;
        } else {
            const float c = s->coefficient[b];
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
            for (size_t i = 0; i < n; i++)
                dx[i] = c * dy[i];
        }
    }
    return QF_OK;
}

/* Only a product's gradient depends on its factors; MAX remembers who won. */
static bool ignores_values(const qf_layer *layer)
{
    return ((const state *)layer->state)->operation != PROD;
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->coefficient);
    qf_free(((state *)layer->state)->winner);
    qf_tensor_release(((state *)layer->state)->kept);
}

const qf_layer_type qf_eltwise_layer = {
    .name = "Eltwise",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = -1,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_values = ignores_values,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
