/* Pooling over NHWC: the innermost loops run over channels, threads over rows. Of codes without
 * going through floats, and, where nobody asks for places, without those. */
#include "device/cpu/cpu.h"
#include "device/cpu/pool/pooling_rows.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <omp.h>
#include <stdio.h>

/* What a choice depends on beside the shape. */
enum { HAS_CODES = 1, ASKS_PLACES = 2, WAYS = 4 };

/*
 * What MAX remembers for backward: for each output the place of its maximum inside the window,
 * row · kernel width + column, in a byte where the window is small enough. The largest number of
 * the type: the window had no value above -FLT_MAX.
 */
struct qf_pooling {
    qf_pooling_shape shape;
    bool wide; /* places are uint32_t, not uint8_t */
    void *place;
    const qf_implementation *chosen[WAYS];
};

typedef struct pool_call {
    qf_pooling *p;
    unsigned with; /* bits from HAS_CODES on */
    qf_tensor *x, *y, *mask;
} pool_call;

qf_status qf_pooling_create(qf_context *context, const qf_pooling_shape *shape, qf_pooling **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    (*out)->shape = *shape;
    (*out)->wide = (int64_t)shape->kernel[0] * shape->kernel[1] > UINT8_MAX;
    return QF_OK;
}

void qf_pooling_destroy(qf_pooling *p)
{
    if (!p)
        return;
    qf_free(p->place);
    qf_free(p);
}

/* Offsets of a row of an image's output and of its input. */
static size_t output_row(const qf_pooling_shape *s, int image, int row)
{
    return ((size_t)image * (size_t)s->out[0] + (size_t)row) * (size_t)s->out[1] *
           (size_t)s->channels;
}

static size_t input_row(const qf_pooling_shape *s, int image, int row)
{
    return ((size_t)image * (size_t)s->in[0] + (size_t)row) * (size_t)s->in[1] *
           (size_t)s->channels;
}

static bool is_large(const qf_pooling_shape *s)
{
    return qf_repays_threads(output_row(s, s->batch, 0) * (size_t)(s->kernel[0] * s->kernel[1]));
}

/* Arrays of one walk over all rows of the output, or of the input's gradient. */
typedef struct job {
    const qf_pooling *p;
    const void *x;
    void *y;
    float scale; /* of averages of codes, whose zero point this is */
    int zero;
    uint8_t *scratch; /* a row of the input for each thread */
    size_t scratch_size;
} job;

static void each_row(const job *j, int rows, void (*run)(const job *, int image, int row))
{
    const qf_pooling_shape *s = &j->p->shape;
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < rows; row++)
            run(j, image, row);
}

static qf_status open_floats(qf_context *context, qf_tensor *x, qf_tensor *y, job *j)
{
    QF_TRY(qf_tensor_read(context, x, QF_NHWC, &j->x));
    return qf_tensor_write(context, y, QF_NHWC, &j->y);
}

/* The code of the maximum is the maximum of the codes: nothing is rounded, nothing dequantised. */
static qf_status open_codes(qf_context *context, qf_tensor *x, qf_tensor *y, job *j)
{
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &j->x));
    QF_TRY(qf_tensor_write(context, y, QF_CODES, &j->y));
    y->code_scale = x->code_scale;
    y->code_zero = x->code_zero;
    return QF_OK;
}

/* ---- MAX ---- */

#define DEFINE_MAX(name, value)                                                                    \
    static void name(const job *j, int image, int row)                                             \
    {                                                                                              \
        const qf_pooling_shape *s = &j->p->shape;                                                  \
        const size_t at = output_row(s, image, row);                                               \
        const value *from = (const value *)j->x + input_row(s, image, 0);                          \
        value *to = (value *)j->y + at;                                                            \
        if (j->p->wide)                                                                            \
            qf_pool_##name##_row_wide(s, row, from, to, (uint32_t *)j->p->place + at);             \
        else                                                                                       \
            qf_pool_##name##_row(s, row, from, to, (uint8_t *)j->p->place + at);                   \
    }
DEFINE_MAX(max_floats, float)
DEFINE_MAX(max_codes, uint8_t)

static uint32_t place_at(const qf_pooling *p, size_t i)
{
    return p->wide ? ((const uint32_t *)p->place)[i] : ((const uint8_t *)p->place)[i];
}

static bool is_empty_place(const qf_pooling *p, uint32_t place)
{
    return place == (p->wide ? UINT32_MAX : UINT8_MAX);
}

/* Caffe's second top: the flat index inside the channel's image, -1 where there is none. */
static qf_status write_mask(qf_context *context, const qf_pooling *p, qf_tensor *mask)
{
    const qf_pooling_shape *s = &p->shape;
    float *values;
    size_t i = 0;
    QF_TRY(qf_write(context, mask, QF_NHWC, &values));
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++)
            for (int column = 0; column < s->out[1]; column++)
                for (int c = 0; c < s->channels; c++, i++) {
                    const int place = (int)place_at(p, i);
                    const int h = row * s->stride[0] - s->pad[0] + place / s->kernel[1],
                              v = column * s->stride[1] - s->pad[1] + place % s->kernel[1];
                    values[i] = is_empty_place(p, place_at(p, i)) ? -1 : (float)(h * s->in[1] + v);
                }
    return QF_OK;
}

/* The last window may start beyond the image (a stride larger than the kernel): no code stands for
 * its maximum, -FLT_MAX. */
static bool has_empty_window(const qf_pooling_shape *s)
{
    for (int i = 0; i < 2; i++)
        if ((s->out[i] - 1) * s->stride[i] - s->pad[i] >= s->in[i])
            return true;
    return false;
}

static qf_status make_places(qf_context *context, qf_pooling *p, size_t count)
{
    if (!p->place)
        p->place = qf_alloc_raw(count, p->wide ? sizeof(uint32_t) : sizeof(uint8_t));
    return p->place ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for pooling");
}

static void codes_alone(const job *j, int image, int row)
{
    const qf_pooling_shape *s = &j->p->shape;
    qf_pool_codes_alone_row(s, row, (const uint8_t *)j->x + input_row(s, image, 0),
                            j->scratch + (size_t)omp_get_thread_num() * j->scratch_size,
                            (uint8_t *)j->y + output_row(s, image, row));
}

static void floats_alone(const job *j, int image, int row)
{
    const qf_pooling_shape *s = &j->p->shape;
    qf_pool_floats_alone_row(s, row, (const float *)j->x + input_row(s, image, 0),
                             (float *)j->y + output_row(s, image, row));
}

/* ---- AVE ---- */

static void average_floats(const job *j, int image, int row)
{
    const qf_pooling_shape *s = &j->p->shape;
    qf_pool_average_row(s, row, (const float *)j->x + input_row(s, image, 0),
                        (float *)j->y + output_row(s, image, row));
}

static void average_codes(const job *j, int image, int row)
{
    const qf_pooling_shape *s = &j->p->shape;
    qf_pool_average_row_codes(s, row, (const uint8_t *)j->x + input_row(s, image, 0), j->zero,
                              j->scale, (float *)j->y + output_row(s, image, row));
}

qf_status qf_pooling_forward_integer(qf_context *context, qf_pooling *p, qf_tensor *x, float scale,
                                     qf_tensor *y)
{
    job j = {.p = p, .scale = scale, .zero = x->code_zero};
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &j.x));
    QF_TRY(qf_tensor_write(context, y, QF_NHWC, &j.y));
    each_row(&j, p->shape.out[0], average_codes);
    return QF_OK;
}

/* ---- the ways forward ---- */

static const char *refuses_codes(const pool_call *call)
{
    return call->p->shape.average      ? "an average"
           : !(call->with & HAS_CODES) ? "no codes"
           : has_empty_window(&call->p->shape)
               ? "a window without a pixel, whose maximum has no code"
               : NULL;
}

static qf_status accepts_codes_alone(qf_context *context, const void *of, const char **no)
{
    const pool_call *call = of;
    (void)context;
    *no = call->with & ASKS_PLACES ? "places are asked for" : refuses_codes(call);
    return QF_OK;
}

static qf_status accepts_codes(qf_context *context, const void *of, const char **no)
{
    (void)context;
    *no = refuses_codes(of);
    return QF_OK;
}

static qf_status run_codes_alone(qf_context *context, const void *of)
{
    const pool_call *call = of;
    const qf_pooling_shape *s = &call->p->shape;
    const size_t width = (size_t)s->in[1] * (size_t)s->channels;
    job j = {.p = call->p, .scratch_size = (width + 63) / 64 * 64};
    QF_TRY(open_codes(context, call->x, call->y, &j));
    qf_array *scratch = qf_array_take(context, (size_t)omp_get_max_threads() * j.scratch_size);
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    j.scratch = scratch->bytes;
    each_row(&j, s->out[0], codes_alone);
    qf_array_release(scratch);
    return QF_OK;
}

static qf_status accepts_floats_alone(qf_context *context, const void *of, const char **no)
{
    const pool_call *call = of;
    (void)context;
    *no = call->with & ASKS_PLACES ? "places are asked for"
          : call->with & HAS_CODES ? "codes stay codes"
          : call->p->shape.average ? "an average"
                                   : NULL;
    return QF_OK;
}

static qf_status run_floats_alone(qf_context *context, const void *of)
{
    const pool_call *call = of;
    job j = {.p = call->p};
    QF_TRY(open_floats(context, call->x, call->y, &j));
    each_row(&j, call->p->shape.out[0], floats_alone);
    return QF_OK;
}

static qf_status run_codes(qf_context *context, const void *of)
{
    const pool_call *call = of;
    job j = {.p = call->p};
    QF_TRY(make_places(context, call->p, qf_shape_count(&call->y->shape)));
    QF_TRY(open_codes(context, call->x, call->y, &j));
    each_row(&j, call->p->shape.out[0], max_codes);
    return call->mask ? write_mask(context, call->p, call->mask) : QF_OK;
}

static qf_status run_floats(qf_context *context, const void *of)
{
    const pool_call *call = of;
    const bool average = call->p->shape.average;
    job j = {.p = call->p};
    if (!average)
        QF_TRY(make_places(context, call->p, qf_shape_count(&call->y->shape)));
    QF_TRY(open_floats(context, call->x, call->y, &j));
    each_row(&j, call->p->shape.out[0], average ? average_floats : max_floats);
    return call->mask && !average ? write_mask(context, call->p, call->mask) : QF_OK;
}

/* "2x64x112x112 to 56x56, maxima, codes" */
static void describe(const void *of, char *text, size_t size)
{
    const pool_call *call = of;
    const qf_pooling_shape *s = &call->p->shape;
    snprintf(text, size, "%dx%dx%dx%d to %dx%d, %s%s%s", s->batch, s->channels, s->in[0], s->in[1],
             s->out[0], s->out[1], s->average ? "averages" : "maxima",
             call->with & HAS_CODES ? ", codes" : "",
             call->with & ASKS_PLACES ? ", with places" : "");
}

static const qf_implementation forward_list[] = {
    {"codes_alone", accepts_codes_alone, NULL, run_codes_alone},
    {"codes", accepts_codes, NULL, run_codes},
    {"floats_alone", accepts_floats_alone, NULL, run_floats_alone},
    {"floats", NULL, NULL, run_floats},
};

const qf_implementations qf_pool_forward_list = {"pool", "forward",
                                                 QF_IMPLEMENTATIONS(forward_list), describe};

qf_status qf_pooling_forward(qf_context *context, qf_pooling *p, qf_tensor *x, qf_tensor *y,
                             qf_tensor *mask, bool remember)
{
    const pool_call call = {.p = p,
                            .with = (qf_tensor_has(x, QF_CODES) ? HAS_CODES : 0) |
                                    (mask || remember ? ASKS_PLACES : 0),
                            .x = x,
                            .y = y,
                            .mask = mask};
    const qf_implementation **chosen = &p->chosen[call.with];
    QF_TRY(qf_choose(context, &qf_pool_forward_list, &call, chosen));
    return (*chosen)->run(context, &call);
}

/* ---- backward: each row of the input gathers what the windows above it have for it ---- */

static void gather_row(const job *j, int image, int h)
{
    const qf_pooling *p = j->p;
    const qf_pooling_shape *s = &p->shape;
    const float *dy = j->x;
    float *target = (float *)j->y + input_row(s, image, h);
    for (size_t i = 0, n = (size_t)s->in[1] * (size_t)s->channels; i < n; i++)
        target[i] = 0;
    const int below = h + s->pad[0] - s->kernel[0]; /* the last start of a window that ends above */
    const int first = below < 0 ? 0 : below / s->stride[0] + 1;
    for (int row = first; row < s->out[0] && row * s->stride[0] - s->pad[0] <= h; row++) {
        const size_t at = output_row(s, image, row);
        const int inside = h - (row * s->stride[0] - s->pad[0]);
        if (s->average)
            qf_pool_average_gradient(s, row, dy + at, target);
        else if (p->wide)
            qf_pool_max_gradient_wide(s, inside, (const uint32_t *)p->place + at, dy + at, target);
        else
            qf_pool_max_gradient(s, inside, (const uint8_t *)p->place + at, dy + at, target);
    }
}

qf_status qf_pooling_backward(qf_context *context, qf_pooling *p, qf_tensor *dy, qf_tensor *dx)
{
    job j = {.p = p};
    QF_TRY(open_floats(context, dy, dx, &j));
    each_row(&j, p->shape.in[0], gather_row);
    return QF_OK;
}
