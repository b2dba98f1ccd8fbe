/* Nodes that make, move and take apart elements that are known. */
#include "onnx/import/operators.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static qf_status need_input(qf_importer *im, const qf_import_value **out)
{
    *out = qf_import_input(im, 0);
    return *out ? QF_OK : qf_import_damaged(im, "input 0 is missing");
}

/* ---- made ---- */

qf_status qf_import_fold_constant(qf_importer *im, int detail)
{
    (void)detail;
    const Onnx__Attribute *a = im->node->n_attribute ? im->node->attribute[0] : NULL;
    qf_import_value *value;
    int64_t *integers;
    float *floats;
    if (!a || !a->name)
        return qf_import_damaged(im, "it has no value");
    const qf_shape row = {1, {(int)(a->n_floats + a->n_ints)}}, none = {0};
    const bool is_list = strcmp(a->name, "value_floats") == 0 || strcmp(a->name, "value_ints") == 0;
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (strcmp(a->name, "value") == 0 && a->t) {
        value->tensor = a->t;
        return QF_OK;
    }
    if (is_list && (a->n_floats + a->n_ints > INT32_MAX || (a->n_floats && a->n_ints)))
        return qf_import_damaged(im, "its list is too long");
    if (strcmp(a->name, "value_float") == 0 || strcmp(a->name, "value_floats") == 0) {
        QF_TRY(qf_import_make_floats(im, value, is_list ? &row : &none, &floats));
        memcpy(floats, is_list ? a->floats : &a->f, (is_list ? a->n_floats : 1) * sizeof *floats);
        return QF_OK;
    }
    if (strcmp(a->name, "value_int") == 0 || strcmp(a->name, "value_ints") == 0) {
        QF_TRY(qf_import_make_integers(im, value, is_list ? &row : &none, &integers));
        memcpy(integers, is_list ? a->ints : &a->i, (is_list ? a->n_ints : 1) * sizeof *integers);
        return QF_OK;
    }
    return qf_import_refuse(im, "its value (%s) is no tensor of numbers", a->name);
}

qf_status qf_import_fold_constant_of_shape(qf_importer *im, int detail)
{
    (void)detail;
    const Onnx__Attribute *a = qf_import_attribute(im, "value");
    qf_import_value *value, one = {.tensor = a ? a->t : NULL};
    qf_import_list dims;
    qf_shape shape;
    int64_t *integers;
    float *floats;
    QF_TRY(qf_import_list_of(im, "", 0, &dims));
    QF_TRY(qf_import_shape(im, dims.values, dims.count, &shape));
    qf_status status = qf_import_load(im, &one);
    if (status == QF_OK)
        status = qf_import_new_value(im, im->node->output[0], &value);
    const bool given =
        status == QF_OK && (one.floats || one.integers) && qf_shape_count(&one.shape);
    if (status == QF_OK && given && one.integers) {
        status = qf_import_make_integers(im, value, &shape, &integers);
        for (size_t i = 0; status == QF_OK && i < qf_shape_count(&shape); i++)
            integers[i] = one.integers[0];
    } else if (status == QF_OK) {
        status = qf_import_make_floats(im, value, &shape, &floats);
        for (size_t i = 0; status == QF_OK && given && i < qf_shape_count(&shape); i++)
            floats[i] = one.floats[0];
    }
    qf_free(one.owned);
    return status;
}

qf_status qf_import_fold_range(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *first = qf_import_input(im, 0);
    qf_import_value *value;
    double from, to, step;
    int64_t *integers;
    float *floats;
    QF_TRY(qf_import_scalar(im, 0, 0, &from));
    QF_TRY(qf_import_scalar(im, 1, 0, &to));
    QF_TRY(qf_import_scalar(im, 2, 1, &step));
    const double exact = (to - from) / step;
    if (!first || !(exact < INT32_MAX) || fabs(from) > 0x1p62 || fabs(to) > 0x1p62)
        return qf_import_damaged(im, "it counts from %g to %g by %g", from, to, step);
    int64_t count = exact > 0 ? (int64_t)exact : 0;
    count += count < exact;
    qf_shape shape;
    QF_TRY(qf_import_shape(im, &count, 1, &shape));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (first->integers) {
        QF_TRY(qf_import_make_integers(im, value, &shape, &integers));
        for (int64_t i = 0; i < count; i++)
            integers[i] = (int64_t)(from + (double)i * step);
        return QF_OK;
    }
    QF_TRY(qf_import_make_floats(im, value, &shape, &floats));
    for (int64_t i = 0; i < count; i++)
        floats[i] = (float)(from + (double)i * step);
    return QF_OK;
}

/* ---- another shape ---- */

static size_t same(const void *user, size_t i)
{
    (void)user;
    return i;
}

#define FOLD_SHAPE(name, find)                                                                     \
    qf_status qf_import_fold_##name(qf_importer *im, int detail)                                   \
    {                                                                                              \
        (void)detail;                                                                              \
        const qf_import_value *x;                                                                  \
        qf_shape shape;                                                                            \
        QF_TRY(need_input(im, &x));                                                                \
        QF_TRY(find(im, &x->shape, &shape));                                                       \
        return qf_import_pick(im, 0, x, &shape, same, NULL);                                       \
    }

FOLD_SHAPE(reshape, qf_import_target_shape)
FOLD_SHAPE(squeeze, qf_import_squeezed_shape)
FOLD_SHAPE(unsqueeze, qf_import_unsqueezed_shape)

/* ---- another order, a part ---- */

/* Element i of a shape is `offset` and a step along each axis. */
typedef struct walk {
    qf_shape shape;
    ptrdiff_t offset, step[QF_MAX_AXES];
} walk;

static size_t walked(const void *user, size_t i)
{
    const walk *w = user;
    ptrdiff_t at = w->offset;
    for (int axis = w->shape.axes - 1; axis >= 0; axis--) {
        at += (ptrdiff_t)(i % (size_t)w->shape.dim[axis]) * w->step[axis];
        i /= (size_t)w->shape.dim[axis];
    }
    return (size_t)at;
}

static ptrdiff_t stride_of(const qf_shape *shape, int axis)
{
    return (ptrdiff_t)qf_shape_count_range(shape, axis + 1, shape->axes);
}

qf_status qf_import_fold_transpose(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x;
    int order[QF_MAX_AXES];
    walk w = {0};
    QF_TRY(need_input(im, &x));
    QF_TRY(qf_import_order(im, x->shape.axes, order));
    w.shape.axes = x->shape.axes;
    for (int i = 0; i < x->shape.axes; i++) {
        w.shape.dim[i] = x->shape.dim[order[i]];
        w.step[i] = stride_of(&x->shape, order[i]);
    }
    return qf_import_pick(im, 0, x, &w.shape, walked, &w);
}

qf_status qf_import_fold_slice(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x;
    qf_import_range ranges[QF_MAX_AXES];
    walk w = {0};
    QF_TRY(need_input(im, &x));
    QF_TRY(qf_import_ranges(im, &x->shape, ranges));
    w.shape.axes = x->shape.axes;
    for (int i = 0; i < x->shape.axes; i++) {
        const ptrdiff_t stride = stride_of(&x->shape, i);
        w.shape.dim[i] = ranges[i].count;
        w.offset += ranges[i].from * stride;
        w.step[i] = ranges[i].step * stride;
    }
    return qf_import_pick(im, 0, x, &w.shape, walked, &w);
}

qf_status qf_import_fold_split(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x;
    int axis, size;
    walk w = {0};
    QF_TRY(need_input(im, &x));
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 0), x->shape.axes, &axis));
    w.shape = x->shape;
    for (int i = 0; i < x->shape.axes; i++)
        w.step[i] = stride_of(&x->shape, i);
    for (size_t i = 0; i < im->node->n_output; i++) {
        QF_TRY(qf_import_part(im, x->shape.dim[axis], i, &size));
        w.shape.dim[axis] = size;
        if (w.offset + size * w.step[axis] > x->shape.dim[axis] * w.step[axis])
            return qf_import_damaged(im, "its parts are more than axis %d has", axis);
        QF_TRY(qf_import_pick(im, i, x, &w.shape, walked, &w));
        w.offset += size * w.step[axis];
    }
    return QF_OK;
}

/* ---- Gather and Concat ---- */

typedef struct gathering {
    size_t inner, whole, chosen; /* behind the axis, along it, how many indices */
    const int64_t *indices;
} gathering;

static size_t gathered(const void *user, size_t i)
{
    const gathering *g = user;
    const size_t behind = i % g->inner, at = i / g->inner % g->chosen;
    const int64_t index = g->indices[at] + (g->indices[at] < 0 ? (int64_t)g->whole : 0);
    return (i / g->inner / g->chosen * g->whole + (size_t)index) * g->inner + behind;
}

qf_status qf_import_fold_gather(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x, *which = qf_import_input(im, 1);
    int64_t dims[2 * QF_MAX_AXES];
    size_t count = 0;
    qf_shape shape;
    int axis;
    QF_TRY(need_input(im, &x));
    if (!which || !which->integers)
        return qf_import_damaged(im, "its indices must be whole numbers");
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 0), x->shape.axes, &axis));
    for (int i = 0; i < axis; i++)
        dims[count++] = x->shape.dim[i];
    for (int i = 0; i < which->shape.axes; i++)
        dims[count++] = which->shape.dim[i];
    for (int i = axis + 1; i < x->shape.axes; i++)
        dims[count++] = x->shape.dim[i];
    QF_TRY(qf_import_shape(im, dims, count, &shape));
    const int64_t whole = x->shape.dim[axis];
    for (size_t i = 0; i < qf_shape_count(&which->shape); i++)
        if (which->integers[i] < -whole || which->integers[i] >= whole)
            return qf_import_damaged(im, "index %lld is outside of axis %d",
                                     (long long)which->integers[i], axis);
    const gathering g = {(size_t)stride_of(&x->shape, axis), (size_t)whole,
                         qf_shape_count(&which->shape), which->integers};
    return qf_import_pick(im, 0, x, &shape, gathered, &g);
}

/* Runs of the inputs in turn. */
static void join(const qf_importer *im, int axis, const qf_shape *shape, size_t size, char *to)
{
    const size_t outer = qf_shape_count_range(shape, 0, axis);
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < im->input_count; i++) {
            const qf_import_value *x = im->inputs[i];
            const size_t run = qf_shape_count_range(&x->shape, axis, x->shape.axes) * size;
            const char *from = x->integers ? (const char *)x->integers : (const char *)x->floats;
            memcpy(to, from + o * run, run);
            to += run;
        }
}

qf_status qf_import_fold_concat(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *first;
    qf_import_value *value;
    int64_t dims[QF_MAX_AXES], *integers;
    float *floats;
    qf_shape shape;
    int axis;
    QF_TRY(need_input(im, &first));
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 1), first->shape.axes, &axis));
    for (int i = 0; i < first->shape.axes; i++)
        dims[i] = first->shape.dim[i];
    dims[axis] = 0;
    for (size_t i = 0; i < im->input_count; i++) {
        const qf_import_value *x = im->inputs[i];
        qf_shape rest = x ? x->shape : (qf_shape){0};
        if (rest.axes == first->shape.axes) {
            dims[axis] += rest.dim[axis];
            rest.dim[axis] = first->shape.dim[axis];
        }
        if (!x || !qf_shape_equal(&rest, &first->shape) || !x->integers != !first->integers)
            return qf_import_damaged(im, "its inputs do not fit each other");
    }
    QF_TRY(qf_import_shape(im, dims, (size_t)first->shape.axes, &shape));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (first->integers) {
        QF_TRY(qf_import_make_integers(im, value, &shape, &integers));
        join(im, axis, &shape, sizeof *integers, (char *)integers);
        return QF_OK;
    }
    QF_TRY(qf_import_make_floats(im, value, &shape, &floats));
    join(im, axis, &shape, sizeof *floats, (char *)floats);
    return QF_OK;
}
