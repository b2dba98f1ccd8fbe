/* Adaptive rounding of one layer (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
 * Quantization", 2020): a weight's code is floor(w / s) + h(v), h rises from 0 to 1, v learns by
 * Adam, and a regulariser pushes h to its ends. Positions are drawn from a seed of this file's own,
 * so that the same net and data always give the same codes. */
#include "toolkit/ptq/ada_round.h"

#include "base/memory.h"
#include "device/device.h"
#include "quant/quant_math.h"

#include <math.h>
#include <string.h>

enum {
    BATCH = 256, /* positions of an iteration */
    STEP = 16,   /* iterations between two words to the caller */
    SEED = 1,
    JUDGING = 4, /* one of so many positions judges */
};

/* The rectified sigmoid: from a little below 0 to a little above 1, so that both are reached. */
static const float low_end = -0.1f, high_end = 1.1f;
static const float rate = 0.1f, beta_first = 20, beta_last = 2;
static const double warm_up = 0.2; /* share of the iterations without the regulariser */
static const float pull = 30;      /* of the regulariser, beside errors in units of `factor` */
/* A weight this near to a code keeps it, with the v of it; the largest, of which the scale was
 * made, is one. */
static const float near = 1e-3f, settled = 20;

enum { X, W, Y, DY, DW, V, FLOOR, GRADIENT, MEAN, SQUARE, TENSORS };

typedef struct learner {
    qf_context *context;
    const qf_rounding_problem *p;
    size_t weights, outputs, learning; /* all of them; positions that do not judge */
    qf_tensor *tensor[TENSORS];
    qf_inner_product *product; /* of a layer without groups */
    float *step;               /* of each output */
    size_t *picked;            /* BATCH positions */
    float *factor;             /* of each output's squared error, see measure_rounding */
    double *error[2];          /* of each output: nearest, learned */
    qf_random random;
} learner;

/* ---- weights ---- */

static float scale_of(const learner *l, size_t weight)
{
    return l->p->scale[l->p->scales > 1 ? weight / l->p->inputs : 0];
}

static int8_t nearest_code(const learner *l, size_t i)
{
    return (int8_t)qf_arq_code(l->p->weight[i], scale_of(l, i), l->p->bits);
}

/* The v whose h is what floor leaves; weights beyond the codes, or on one, have no choice. */
static float begin_weight(const learner *l, size_t i, float *floor)
{
    const float half = (float)(1 << (l->p->bits - 1)), steps = l->p->weight[i] / scale_of(l, i);
    const float code = (float)nearest_code(l, i);
    *floor = code;
    if (steps <= -half || steps >= half - 1 || fabsf(steps - code) < near)
        return -settled;
    *floor = floorf(steps);
    return -logf((high_end - low_end) / (steps - *floor - low_end) - 1);
}

/* beta 0: without the regulariser. */
static qf_soft_rounding rounding_of(const learner *l, float beta)
{
    return (qf_soft_rounding){.channels = l->outputs,
                              .inner = l->p->inputs,
                              .step = l->step,
                              .low = low_end,
                              .high = high_end,
                              .pull = pull,
                              .beta = beta};
}

/* ---- products ---- */

static qf_status fill_input(learner *l)
{
    const qf_rounding_problem *p = l->p;
    float *x;
    QF_TRY(qf_write(l->context, l->tensor[X], QF_PLAIN, &x));
    for (size_t g = 0; g < p->groups; g++)
        for (size_t b = 0; b < BATCH; b++)
            memcpy(x + (g * BATCH + b) * p->inputs,
                   p->input + (g * p->room + l->picked[b]) * p->inputs, p->inputs * sizeof *x);
    return QF_OK;
}

/* y of all groups: (groups, BATCH, outputs). */
static qf_status multiply(learner *l)
{
    const qf_rounding_problem *p = l->p;
    const qf_multiply_family *family = qf_device_of(l->context)->multiply;
    qf_tensor *const *t = l->tensor;
    if (l->product)
        return family->forward(l->context, l->product, t[X], t[W], NULL, t[Y]);
    const qf_batched_product product = {p->groups,
                                        BATCH,
                                        p->inputs,
                                        p->outputs,
                                        {p->inputs, 1, BATCH * p->inputs},
                                        {1, p->inputs, p->outputs * p->inputs},
                                        {p->outputs, 1, BATCH * p->outputs}};
    qf_tensor_set_zero(t[Y]);
    return family->batched(l->context, &product, t[X], t[W], t[Y]);
}

static qf_status multiply_back(learner *l)
{
    const qf_rounding_problem *p = l->p;
    const qf_multiply_family *family = qf_device_of(l->context)->multiply;
    qf_tensor *const *t = l->tensor;
    qf_tensor_set_zero(t[DW]);
    if (l->product)
        return family->backward_weights(l->context, l->product, t[X], t[DY], t[DW]);
    const qf_batched_product product = {p->groups,
                                        p->outputs,
                                        BATCH,
                                        p->inputs,
                                        {1, p->outputs, BATCH * p->outputs},
                                        {p->inputs, 1, BATCH * p->inputs},
                                        {p->inputs, 1, p->outputs * p->inputs}};
    return family->batched(l->context, &product, t[DY], t[X], t[DW]);
}

/* By how much output c of the picked position b is off: what ReLU hides is none. */
static float error_of(const learner *l, const float *y, size_t b, size_t c, bool *open)
{
    const qf_rounding_problem *p = l->p;
    float to = p->target[l->picked[b] * l->outputs + c];
    float from = y[(c / p->outputs * BATCH + b) * p->outputs + c % p->outputs];
    from += p->bias ? p->bias[c] : 0;
    *open = !p->rectified || from > 0;
    if (p->rectified) {
        to = to > 0 ? to : 0;
        from = from > 0 ? from : 0;
    }
    return from - to;
}

/* ---- errors over many positions ---- */

/* Positions first … of which `count` are new; the others repeat the last. */
static void pick_in_order(learner *l, size_t first, size_t count)
{
    for (size_t b = 0; b < BATCH; b++)
        l->picked[b] = first + (b < count ? b : count - 1);
}

/* To each output's sum: its squared errors with the weights in W over positions first … end. */
static qf_status add_errors(learner *l, size_t first, size_t end, double *sum)
{
    bool open;
    const float *y;
    for (; first < end; first += BATCH) {
        const size_t count = end - first < BATCH ? end - first : BATCH;
        pick_in_order(l, first, count);
        QF_TRY(fill_input(l));
        QF_TRY(multiply(l));
        QF_TRY(qf_read(l->context, l->tensor[Y], QF_PLAIN, &y));
        for (size_t b = 0; b < count; b++)
            for (size_t c = 0; c < l->outputs; c++) {
                const double error = (double)error_of(l, y, b, c, &open);
                sum[c] += error * error;
            }
    }
    return QF_OK;
}

/* What a position's output loses by nearest rounding, squared, is the unit of its errors, so that
 * one regulariser fits all layers and channels: an output's factor is its weights over that unit.
 * 0: nothing is lost, or nobody sees it. */
static qf_status measure_rounding(learner *l)
{
    const qf_rounding_problem *p = l->p;
    double *sum = l->error[0];
    float *w;
    const float *y;
    memset(sum, 0, l->outputs * sizeof *sum);
    QF_TRY(qf_write(l->context, l->tensor[W], QF_PLAIN, &w));
    for (size_t i = 0; i < l->weights; i++)
        w[i] = (float)nearest_code(l, i) * scale_of(l, i) - p->weight[i];
    for (size_t first = 0; first < l->learning; first += BATCH) {
        const size_t count = l->learning - first < BATCH ? l->learning - first : BATCH;
        pick_in_order(l, first, count);
        QF_TRY(fill_input(l));
        QF_TRY(multiply(l));
        QF_TRY(qf_read(l->context, l->tensor[Y], QF_PLAIN, &y));
        for (size_t c = 0; c < l->outputs; c++)
            for (size_t b = 0; b < count; b++) {
                const double lost =
                    (double)y[(c / p->outputs * BATCH + b) * p->outputs + c % p->outputs];
                sum[c] += lost * lost;
            }
    }
    for (size_t c = 0; c < l->outputs; c++) {
        const double factor = (double)p->inputs * (double)l->learning / sum[c];
        l->factor[c] = factor < 1e30 ? (float)factor : 0;
    }
    return QF_OK;
}

/* ---- learning ---- */

static qf_status fill_gradient_of_output(learner *l)
{
    const qf_rounding_problem *p = l->p;
    const float *y;
    float *dy;
    QF_TRY(qf_read(l->context, l->tensor[Y], QF_PLAIN, &y));
    QF_TRY(qf_write(l->context, l->tensor[DY], QF_PLAIN, &dy));
    for (size_t b = 0; b < BATCH; b++)
        for (size_t c = 0; c < l->outputs; c++) {
            bool open;
            const float error = error_of(l, y, b, c, &open);
            dy[(c / p->outputs * BATCH + b) * p->outputs + c % p->outputs] =
                open ? 2 * error * l->factor[c] / BATCH : 0;
        }
    return QF_OK;
}

static qf_status iterate(learner *l, int iteration)
{
    const double done = (double)iteration / l->p->iterations;
    const float share = (float)((done - warm_up) / (1 - warm_up));
    const qf_soft_rounding rounding =
        rounding_of(l, share > 0 ? beta_first + (beta_last - beta_first) * share : 0);
    const qf_device *device = qf_device_of(l->context);
    qf_tensor *const *t = l->tensor;
    const qf_parameter_update update = {
        .value = t[V],
        .gradient = t[GRADIENT],
        .history = {t[MEAN], t[SQUARE]},
        .gradient_scale = 1,
        .rate = rate,
        .momentum = 0.9f,
        .momentum2 = 0.999f,
        .delta = 1e-8f,
        .iteration = iteration,
    };
    for (size_t b = 0; b < BATCH; b++)
        l->picked[b] = qf_random_below(&l->random, (uint32_t)l->learning);
    QF_TRY(device->quantise->soften(l->context, &rounding, t[V], t[FLOOR], t[W]));
    QF_TRY(fill_input(l));
    QF_TRY(multiply(l));
    QF_TRY(fill_gradient_of_output(l));
    QF_TRY(multiply_back(l));
    QF_TRY(device->quantise->soften_backward(l->context, &rounding, t[V], t[DW], t[GRADIENT]));
    return device->update->apply(l->context, QF_ADAM, &update, 1);
}

static qf_status learn(learner *l, qf_ada_round_step *step, void *user)
{
    float *v, *floor;
    QF_TRY(measure_rounding(l));
    QF_TRY(qf_write(l->context, l->tensor[V], QF_PLAIN, &v));
    QF_TRY(qf_write(l->context, l->tensor[FLOOR], QF_PLAIN, &floor));
    for (size_t i = 0; i < l->weights; i++)
        v[i] = begin_weight(l, i, &floor[i]);
    for (int i = 0; i < l->p->iterations; i++) {
        QF_TRY(iterate(l, i));
        if ((i + 1) % STEP == 0 || i + 1 == l->p->iterations)
            QF_TRY(step(user, i + 1));
    }
    return QF_OK;
}

/* ---- judging ---- */

static qf_status judge(learner *l, const int8_t *codes, double *error)
{
    float *w;
    memset(error, 0, l->outputs * sizeof *error);
    QF_TRY(qf_write(l->context, l->tensor[W], QF_PLAIN, &w));
    for (size_t i = 0; i < l->weights; i++)
        w[i] = (float)codes[i] * scale_of(l, i);
    return add_errors(l, l->learning, l->p->samples, error);
}

/* The better of both for each output; outputs do not depend on one another. */
static qf_status choose(learner *l, int8_t *codes, qf_ada_round_result *result)
{
    const float *v, *floor;
    for (size_t i = 0; i < l->weights; i++)
        codes[i] = nearest_code(l, i);
    QF_TRY(judge(l, codes, l->error[0]));
    QF_TRY(qf_read(l->context, l->tensor[V], QF_PLAIN, &v));
    QF_TRY(qf_read(l->context, l->tensor[FLOOR], QF_PLAIN, &floor));
    for (size_t i = 0; i < l->weights; i++)
        codes[i] = (int8_t)(floor[i] + (v[i] >= 0)); /* h(0) is the middle */
    QF_TRY(judge(l, codes, l->error[1]));
    const double positions = (double)(l->p->samples - l->learning);
    for (size_t c = 0; c < l->outputs; c++) {
        const bool better = l->error[1][c] < l->error[0][c];
        result->nearest += l->error[0][c] / positions;
        result->learned += l->error[better][c] / positions;
        for (size_t i = c * l->p->inputs; i < (c + 1) * l->p->inputs; i++) {
            const int8_t nearest = nearest_code(l, i);
            codes[i] = better ? codes[i] : nearest;
            result->moved += codes[i] != nearest;
        }
    }
    return QF_OK;
}

/* ---- room ---- */

static qf_status make_tensors(learner *l)
{
    const qf_rounding_problem *p = l->p;
    const size_t count[TENSORS] = {
        [X] = p->groups * BATCH * p->inputs,
        [W] = l->weights,
        [Y] = BATCH * l->outputs,
        [DY] = BATCH * l->outputs,
        [DW] = l->weights,
        [V] = l->weights,
        [FLOOR] = l->weights,
        [GRADIENT] = l->weights,
        [MEAN] = l->weights,
        [SQUARE] = l->weights,
    };
    for (int t = 0; t < TENSORS; t++) {
        if (count[t] > INT32_MAX)
            return qf_fail(l->context, QF_E_VALUE, "more than 2^31 values at a time");
        const int dim[] = {(int)count[t]};
        const qf_shape shape = qf_shape_make(1, dim);
        QF_TRY(qf_tensor_create(l->context, &l->tensor[t]));
        QF_TRY(qf_tensor_reshape(l->context, l->tensor[t], &shape));
    }
    return QF_OK;
}

static qf_status make_room(learner *l)
{
    const qf_rounding_problem *p = l->p;
    const qf_inner_product_shape shape = {BATCH, (int)p->inputs, (int)p->outputs, false};
    l->step = qf_alloc(l->outputs, sizeof *l->step);
    l->picked = qf_alloc(BATCH, sizeof *l->picked);
    l->factor = qf_alloc(l->outputs, sizeof *l->factor);
    for (int k = 0; k < 2; k++)
        l->error[k] = qf_alloc(l->outputs, sizeof *l->error[k]);
    if (!l->step || !l->picked || !l->factor || !l->error[0] || !l->error[1])
        return qf_fail(l->context, QF_E_MEMORY, "no memory to learn the rounding of %zu weights",
                       l->weights);
    for (size_t c = 0; c < l->outputs; c++)
        l->step[c] = scale_of(l, c * p->inputs);
    QF_TRY(make_tensors(l));
    return p->groups > 1
               ? QF_OK
               : qf_device_of(l->context)->multiply->create(l->context, &shape, &l->product);
}

static void release(learner *l)
{
    qf_device_of(l->context)->multiply->destroy(l->product);
    for (int t = 0; t < TENSORS; t++)
        qf_tensor_release(l->tensor[t]);
    qf_free(l->step);
    qf_free(l->picked);
    qf_free(l->factor);
    qf_free(l->error[0]);
    qf_free(l->error[1]);
}

qf_status qf_ada_round(qf_context *context, const qf_rounding_problem *problem,
                       qf_ada_round_step *step, void *user, int8_t *codes,
                       qf_ada_round_result *result)
{
    learner l = {.context = context,
                 .p = problem,
                 .weights = problem->groups * problem->outputs * problem->inputs,
                 .outputs = problem->groups * problem->outputs,
                 .learning = problem->samples - problem->samples / JUDGING};
    *result = (qf_ada_round_result){0};
    if (problem->samples < JUDGING)
        return qf_fail(context, QF_E_VALUE, "%zu positions are too few to learn rounding from",
                       problem->samples);
    qf_random_seed(&l.random, SEED);
    qf_status status = make_room(&l);
    if (status == QF_OK)
        status = learn(&l, step, user);
    if (status == QF_OK)
        status = choose(&l, codes, result);
    release(&l);
    return status;
}
