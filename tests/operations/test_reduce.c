/* Rows of reductions: sums over leading and trailing axes, softmax along an axis, and losses. */
#include "device/families/classes.h"
#include "operations/rows.h"

typedef struct shape {
    const char *name;
    int axes, size[5];
} shape;

static const shape shapes[] = {
    {"single", 4, {1, 1, 1, 1}},
    {"one-axis", 1, {17}},
    {"two-axes", 2, {65, 33}},
    {"three-axes", 3, {3, 5, 7}},
    {"five-axes", 5, {2, 7, 2, 3, 2}},
    {"many-rows", 4, {4, 5, 67, 61}},
    {"many-channels", 4, {2, 9001, 1, 3}},
    {"no-channels", 4, {2, 0, 3, 3}},
    {"no-images", 4, {0, 6, 3, 3}},
    {"no-pixels", 4, {2, 6, 0, 3}},
};

static void draw(void *to)
{
    *(shape *)to = (shape){"random",
                           rows_between(1, 5),
                           {rows_between(1, 9), rows_between(1, 140), rows_between(1, 12),
                            rows_between(1, 12), rows_between(1, 3)}};
}

static int some_axis(const shape *s)
{
    return rows_between(0, s->axes - 1);
}

/* Serial sums in float of so many terms: half a unit in the last place for each. */
static double rounding_of(size_t terms)
{
    return (double)(terms + 16) * 0x1p-24;
}

/* Begins with numbers that are added to. */
static void outer_sums(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int axis = some_axis(s);
    qf_tensor *x = rows_tensor(s->axes, s->size);
    qf_tensor *sums = rows_tensor(s->axes - axis, s->size + axis);
    const qf_reduce_family *reference = qf_reference.reduce;
    rows_fill(x);
    rows_fill(sums);
    qf_tensor *expected = rows_copy(sums), *magnitude = rows_absolute(sums), *mine = rows_copy(x);
    rows_expect_begin();
    assert_ok(context, reference->outer_sums(context, x, axis, expected));
    assert_ok(context, reference->outer_sums(context, rows_absolute(x), axis, magnitude));
    rows_expect_end();
    rows_input(mine);
    rows_output(sums, ROWS_FLOATS);
    assert_ok(context, device->reduce->outer_sums(context, mine, axis, sums));
    rows_check();
    rows_compare(device, sums, expected, magnitude,
                 rounding_of(qf_shape_count_range(&x->shape, 0, axis)), "sums");
}

static const qf_reduction reductions[] = {QF_SUM, QF_ABSOLUTE_SUM, QF_SQUARED_SUM};

/* No square is negative, nor an absolute value: those sums are their own magnitudes. */
static void inner_sums(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int axis = some_axis(s);
    const float factor = qf_random_gaussian(&context->random, 0, 2);
    qf_tensor *x = rows_tensor(s->axes, s->size), *y = rows_tensor(axis, s->size);
    qf_tensor *expected = rows_like(y), *magnitude = rows_like(y);
    const qf_reduce_family *reference = qf_reference.reduce;
    rows_fill(x);
    qf_tensor *mine = rows_copy(x);
    for (size_t i = 0; i < ROWS_COUNT(reductions); i++) {
        const qf_reduction r = reductions[i];
        rows_expect_begin();
        assert_ok(context, reference->inner_sums(context, r, factor, x, axis, expected));
        assert_ok(context, reference->inner_sums(context, r, fabsf(factor), rows_absolute(x), axis,
                                                 magnitude));
        rows_expect_end();
        rows_input(mine);
        rows_output(y, ROWS_FLOATS);
        assert_ok(context, device->reduce->inner_sums(context, r, factor, mine, axis, y));
        rows_check();
        rows_compare(device, y, expected, magnitude, 4 * 0x1p-24, "sums"); /* of doubles */
    }
}

/* No sums, so the same bits everywhere; 0 has no sign. */
static void inner_sums_backward(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int axis = some_axis(s);
    const float factor = qf_random_gaussian(&context->random, 0, 2);
    qf_tensor *x = rows_tensor(s->axes, s->size), *dx = rows_like(x), *expected = rows_like(x);
    qf_tensor *dy = rows_tensor(axis, s->size);
    rows_fill_special(x);
    rows_fill(dy);
    qf_tensor *mine = rows_copy(x);
    for (size_t i = 0; i < ROWS_COUNT(reductions); i++) {
        rows_expect_begin();
        assert_ok(context, qf_reference.reduce->inner_sums_backward(context, reductions[i], factor,
                                                                    x, dy, axis, expected));
        rows_expect_end();
        rows_input(mine);
        rows_input(dy);
        rows_output(dx, ROWS_FLOATS);
        assert_ok(context, device->reduce->inner_sums_backward(context, reductions[i], factor, mine,
                                                               dy, axis, dx));
        rows_check();
        rows_compare(device, dx, expected, NULL, 0, "gradient");
    }
}

/* ---- softmax ---- */

static void check_softmax(const qf_device *device, const shape *s, bool in_place)
{
    const int axis = some_axis(s);
    qf_tensor *x = rows_tensor(s->axes, s->size), *expected = rows_like(x);
    rows_fill(x);
    qf_tensor *mine = rows_copy(x), *y = in_place ? mine : rows_like(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.reduce->softmax(context, x, axis, expected));
    rows_expect_end();
    if (!in_place)
        rows_input(mine);
    rows_output(y, ROWS_FLOATS);
    assert_ok(context, device->reduce->softmax(context, mine, axis, y));
    rows_check();
    rows_compare(device, y, expected, rows_absolute(expected), rounding_of((size_t)s->size[axis]),
                 "probabilities");
}

static void softmax(const qf_device *device, const void *of)
{
    check_softmax(device, of, false);
}

static void softmax_in_place(const qf_device *device, const void *of)
{
    check_softmax(device, of, true);
}

static qf_tensor *negative(qf_tensor *tensor)
{
    qf_tensor *result = rows_copy(tensor);
    float *values;
    assert_ok(context, qf_update(context, result, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = -values[i];
    return result;
}

/* The terms are (|dy| + Σ |dy| · y) · y: what comes out, but for its sign, of −y. */
static void check_softmax_backward(const qf_device *device, const shape *s, bool in_place)
{
    const int axis = some_axis(s);
    qf_tensor *x = rows_tensor(s->axes, s->size), *dy = rows_like(x), *y = rows_like(x);
    qf_tensor *expected = rows_like(x), *terms = rows_like(x);
    const qf_reduce_family *reference = qf_reference.reduce;
    rows_fill(x);
    rows_fill(dy);
    qf_tensor *mine = rows_copy(dy), *dx = in_place ? mine : rows_like(x);
    rows_expect_begin();
    assert_ok(context, reference->softmax(context, x, axis, y));
    assert_ok(context, reference->softmax_backward(context, y, dy, axis, expected));
    assert_ok(context,
              reference->softmax_backward(context, negative(y), rows_absolute(dy), axis, terms));
    rows_expect_end();
    rows_input(y);
    if (!in_place)
        rows_input(mine);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context, device->reduce->softmax_backward(context, y, mine, axis, dx));
    rows_check();
    rows_compare(device, dx, expected, rows_absolute(terms), rounding_of((size_t)s->size[axis]),
                 "gradient");
}

static void softmax_backward(const qf_device *device, const void *of)
{
    check_softmax_backward(device, of, false);
}

static void softmax_backward_in_place(const qf_device *device, const void *of)
{
    check_softmax_backward(device, of, true);
}

/* Some labels are ignored; those need be no class. */
static qf_tensor *labels_for(const qf_classes *c, qf_ignored_label ignored)
{
    const int items = (int)qf_classes_items(c);
    qf_tensor *labels = rows_tensor(1, &items);
    float *values;
    assert_ok(context, qf_write(context, labels, QF_PLAIN, &values));
    for (int i = 0; i < items; i++)
        values[i] = ignored.given && rows_chance(0.2) ? (float)ignored.label
                                                      : (float)rows_between(0, (int)c->classes - 1);
    return labels;
}

/* An axis with labels; −1 where that has no classes, so that no label can be one. */
static qf_labelling some_labelling(const shape *s)
{
    const int axis = some_axis(s);
    const bool ignores = rows_chance(0.5);
    const int ignored = rows_chance(0.5) ? -1 : 255;
    return (qf_labelling){.axis = s->size[axis] ? axis : -1, .ignored = {ignores, ignored}};
}

/* Of the classes, for the loss; NULL: all count as 1. */
static qf_tensor *some_weights(const qf_classes *c)
{
    const int classes = (int)c->classes;
    float *values;
    if (rows_chance(0.5))
        return NULL;
    qf_tensor *weights = rows_tensor(1, &classes);
    assert_ok(context, qf_write(context, weights, QF_PLAIN, &values));
    for (int k = 0; k < classes; k++)
        values[k] = qf_random_uniform(&context->random, 0, 1);
    return weights;
}

/* Each item's loss has the rounding of its probability, relative to 1, and its own. */
static qf_tensor *loss_magnitude(qf_tensor *loss, size_t items, float divisor)
{
    qf_tensor *magnitude = rows_copy(loss);
    float *value;
    assert_ok(context, qf_update(context, magnitude, QF_PLAIN, &value));
    value[0] += (float)items / divisor;
    return magnitude;
}

static void softmax_loss(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_labelling l = some_labelling(s);
    const float divisor = qf_random_uniform(&context->random, 1, 100);
    if (l.axis < 0)
        return;
    qf_tensor *x = rows_tensor(s->axes, s->size), *probability = rows_like(x);
    qf_tensor *expected = rows_like(x), *loss = rows_tensor(0, NULL), *sum = rows_like(loss);
    const qf_classes c = qf_classes_along(&x->shape, l.axis);
    qf_tensor *labels = labels_for(&c, l.ignored);
    l.weights = some_weights(&c);
    rows_fill(x);
    qf_tensor *mine = rows_copy(x);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.reduce->softmax_loss(context, &l, x, labels, divisor, expected, sum));
    rows_expect_end();
    rows_input(mine);
    rows_input(labels);
    if (l.weights)
        rows_input(l.weights);
    rows_output(probability, ROWS_FLOATS);
    rows_output(loss, ROWS_FLOATS);
    assert_ok(context,
              device->reduce->softmax_loss(context, &l, mine, labels, divisor, probability, loss));
    rows_check();
    const double rounding = rounding_of(c.classes);
    rows_compare(device, probability, expected, rows_absolute(expected), rounding, "probabilities");
    rows_compare(device, loss, sum, loss_magnitude(sum, qf_classes_items(&c), divisor), rounding,
                 "loss");
}

/* No sums, so the same bits everywhere. */
static void softmax_loss_backward(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_labelling l = some_labelling(s);
    const float scale = qf_random_gaussian(&context->random, 0, 1);
    if (l.axis < 0)
        return;
    qf_tensor *probability = rows_tensor(s->axes, s->size), *dx = rows_like(probability);
    qf_tensor *expected = rows_like(probability);
    const qf_classes c = qf_classes_along(&probability->shape, l.axis);
    qf_tensor *labels = labels_for(&c, l.ignored);
    l.weights = some_weights(&c);
    rows_fill(probability);
    qf_tensor *mine = rows_copy(probability);
    rows_expect_begin();
    assert_ok(context, qf_reference.reduce->softmax_loss_backward(context, &l, probability, labels,
                                                                  scale, expected));
    rows_expect_end();
    rows_input(mine);
    rows_input(labels);
    if (l.weights)
        rows_input(l.weights);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context, device->reduce->softmax_loss_backward(context, &l, mine, labels, scale, dx));
    rows_check();
    rows_compare(device, dx, expected, NULL, 0, "gradient");
}

/* A loss near its least is a small difference of terms about as large as their logarithms. */
static void divergence(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int axis = some_axis(s);
    const float divisor = qf_random_uniform(&context->random, 1, 100);
    const qf_softened soft = {axis, qf_random_uniform(&context->random, 0.5f, 8)};
    if (!s->size[axis])
        return;
    qf_tensor *x = rows_tensor(s->axes, s->size), *teacher = rows_like(x);
    qf_tensor *difference = rows_like(x), *expected = rows_like(x);
    qf_tensor *loss = rows_tensor(0, NULL), *sum = rows_like(loss);
    const qf_classes c = qf_classes_along(&x->shape, axis);
    rows_fill(x);
    rows_fill(teacher);
    qf_tensor *mine = rows_copy(x), *its = rows_copy(teacher);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.reduce->divergence(context, &soft, x, teacher, divisor, expected, sum));
    rows_expect_end();
    rows_input(mine);
    rows_input(its);
    rows_output(difference, ROWS_FLOATS);
    rows_output(loss, ROWS_FLOATS);
    assert_ok(context,
              device->reduce->divergence(context, &soft, mine, its, divisor, difference, loss));
    rows_check();
    const double rounding = rounding_of(c.classes);
    qf_tensor *ones = rows_like(x);
    float *one;
    assert_ok(context, qf_write(context, ones, QF_PLAIN, &one));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        one[i] = 1; /* differences of probabilities */
    rows_compare(device, difference, expected, ones, rounding, "differences");
    rows_compare(
        device, loss, sum,
        loss_magnitude(sum, qf_classes_items(&c),
                       divisor / (soft.temperature * soft.temperature + soft.temperature * 16)),
        rounding, "loss");
}

/* Scores of few different numbers: the label's equals others often. */
static void label_ranks(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_labelling l = some_labelling(s);
    if (l.axis < 0)
        return;
    qf_tensor *x = rows_tensor(s->axes, s->size);
    const qf_classes c = qf_classes_along(&x->shape, l.axis);
    qf_tensor *labels = labels_for(&c, l.ignored);
    qf_tensor *ranks = rows_like(labels), *expected = rows_like(labels);
    rows_fill_special(x);
    qf_tensor *mine = rows_copy(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.reduce->label_ranks(context, &l, x, labels, expected));
    rows_expect_end();
    rows_input(mine);
    rows_input(labels);
    rows_output(ranks, ROWS_FLOATS);
    assert_ok(context, device->reduce->label_ranks(context, &l, mine, labels, ranks));
    rows_check();
    rows_compare(device, ranks, expected, NULL, 0, "ranks");
}

/* ---- losses of values ---- */

static qf_tensor *perhaps(qf_tensor *like)
{
    if (rows_chance(0.5))
        return NULL;
    qf_tensor *weights = rows_like(like);
    rows_fill(weights);
    return weights;
}

/* Of each kind; some targets are ignored. */
static qf_value_loss draw_loss(const shape *s, qf_loss_kind kind, qf_loss_operands *o)
{
    const bool labelled = kind >= QF_HINGE && s->axes > 1 && s->size[0];
    qf_value_loss loss = {kind,
                          qf_random_uniform(&context->random, 0.3f, 2),
                          {rows_chance(0.3), rows_between(-1, 2)},
                          0};
    *o = (qf_loss_operands){.x = rows_tensor(s->axes, s->size)};
    rows_fill(o->x);
    if (labelled && qf_shape_count(&o->x->shape)) {
        const qf_classes c = {QF_PLAIN, (size_t)s->size[0],
                              qf_shape_count(&o->x->shape) / (size_t)s->size[0], 1};
        loss.items = c.outer;
        o->target = labels_for(&c, loss.ignored);
    } else {
        o->target = rows_like(o->x);
        rows_fill(o->target);
    }
    if (kind == QF_SMOOTH_L1) {
        o->inside = perhaps(o->x);
        o->outside = perhaps(o->x);
    }
    return loss;
}

static void operands_are_inputs(const qf_loss_operands *o)
{
    qf_tensor *const tensors[] = {o->x, o->target, o->inside, o->outside};
    for (size_t i = 0; i < ROWS_COUNT(tensors); i++)
        if (tensors[i])
            rows_input(tensors[i]);
}

/* Terms are the same everywhere and sums are double; with weights outside they may have both signs,
 * so what they are allowed is that of the sum of their sizes. */
static void value_loss(const qf_device *device, const void *of)
{
    const qf_reduce_family *reference = qf_reference.reduce;
    for (qf_loss_kind kind = QF_SQUARED_DISTANCE; kind <= QF_LOG_LOSS; kind++) {
        qf_loss_operands o;
        const qf_value_loss s = draw_loss(of, kind, &o);
        const float divisor = qf_random_uniform(&context->random, 1, 100);
        qf_tensor *loss = rows_tensor(0, NULL), *expected = rows_like(loss);
        qf_tensor *magnitude = rows_like(loss);
        qf_loss_operands sizes = o;
        sizes.outside = rows_absolute(o.outside);
        rows_expect_begin();
        assert_ok(context, reference->value_loss(context, &s, &o, divisor, expected));
        assert_ok(context, reference->value_loss(context, &s, &sizes, divisor, magnitude));
        rows_expect_end();
        operands_are_inputs(&o);
        rows_output(loss, ROWS_FLOATS);
        assert_ok(context, device->reduce->value_loss(context, &s, &o, divisor, loss));
        rows_check();
        rows_compare(device, loss, expected, rows_absolute(magnitude), 2 * 0x1p-24, "loss");
    }
}

/* No sums, so the same bits everywhere. */
static void value_loss_backward(const qf_device *device, const void *of)
{
    for (qf_loss_kind kind = QF_SQUARED_DISTANCE; kind <= QF_LOG_LOSS; kind++) {
        qf_loss_operands o;
        const qf_value_loss s = draw_loss(of, kind, &o);
        const float scale = qf_random_gaussian(&context->random, 0, 1);
        qf_tensor *dx = rows_like(o.x), *expected = rows_like(o.x);
        rows_expect_begin();
        assert_ok(context,
                  qf_reference.reduce->value_loss_backward(context, &s, &o, scale, expected));
        rows_expect_end();
        operands_are_inputs(&o);
        rows_output(dx, ROWS_FLOATS);
        assert_ok(context, device->reduce->value_loss_backward(context, &s, &o, scale, dx));
        rows_check();
        rows_compare(device, dx, expected, NULL, 0, "gradient");
    }
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"outer-sums", NULL, outer_sums},
        {"inner-sums", NULL, inner_sums},
        {"inner-sums-backward", NULL, inner_sums_backward},
        {"softmax", NULL, softmax},
        {"softmax-in-place", NULL, softmax_in_place},
        {"softmax-backward", NULL, softmax_backward},
        {"softmax-backward-in-place", NULL, softmax_backward_in_place},
        {"softmax-loss", NULL, softmax_loss},
        {"softmax-loss-backward", NULL, softmax_loss_backward},
        {"divergence", NULL, divergence},
        {"label-ranks", NULL, label_ranks},
        {"value-loss", NULL, value_loss},
        {"value-loss-backward", NULL, value_loss_backward},
    };
    const rows_family family = {
        "reduce", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,     24};
    return rows_run(&family, argc, argv);
}
