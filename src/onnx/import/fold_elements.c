/* Arithmetic on elements that are known: sizes that exporters compute in the graph, and weights
 * that they left in pieces. */
#include "onnx/import/operators.h"

#include <math.h>

/* Whole numbers wrap around, as they do in ONNX. */
static int64_t of_integers(int operation, int64_t a, int64_t b)
{
    const uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (operation) {
    case QF_IMPORT_ADD:
        return (int64_t)(x + y);
    case QF_IMPORT_SUBTRACT:
        return (int64_t)(x - y);
    case QF_IMPORT_MULTIPLY:
        return (int64_t)(x * y);
    case QF_IMPORT_DIVIDE: /* towards zero; by 0 and the one overflow are caught before */
        return a / b;
    case QF_IMPORT_MODULO:
        return a % b && (a < 0) != (b < 0) ? a % b + b : a % b;
    case QF_IMPORT_MAXIMUM:
        return a > b ? a : b;
    case QF_IMPORT_MINIMUM:
        return a < b ? a : b;
    case QF_IMPORT_AND:
        return a && b;
    case QF_IMPORT_OR:
        return a || b;
    default:
        return 0;
    }
}

/* In double precision, which rounds to the same float. */
static double of_floats(int operation, double a, double b)
{
    switch (operation) {
    case QF_IMPORT_ADD:
        return a + b;
    case QF_IMPORT_SUBTRACT:
        return a - b;
    case QF_IMPORT_MULTIPLY:
        return a * b;
    case QF_IMPORT_DIVIDE:
        return a / b;
    case QF_IMPORT_MAXIMUM:
        return fmax(a, b);
    case QF_IMPORT_MINIMUM:
        return fmin(a, b);
    case QF_IMPORT_RAISE:
        return pow(a, b);
    case QF_IMPORT_MODULO:
        return fmod(a, b);
    case QF_IMPORT_EQUAL:
        return a == b;
    case QF_IMPORT_GREATER:
        return a > b;
    case QF_IMPORT_LESS:
        return a < b;
    case QF_IMPORT_GREATER_OR_EQUAL:
        return a >= b;
    default:
        return a <= b;
    }
}

/* ---- broadcasting ---- */

static qf_status common_shape(qf_importer *im, const qf_shape *a, const qf_shape *b, qf_shape *out)
{
    int64_t dims[QF_MAX_AXES];
    const int axes = a->axes > b->axes ? a->axes : b->axes;
    for (int i = 0; i < axes; i++) {
        const int from_a = i - (axes - a->axes), from_b = i - (axes - b->axes);
        const int x = from_a < 0 ? 1 : a->dim[from_a], y = from_b < 0 ? 1 : b->dim[from_b];
        if (x != y && x != 1 && y != 1)
            return qf_import_damaged(im, "%d and %d elements do not fit each other", x, y);
        dims[i] = x == 1 ? y : x;
    }
    return qf_import_shape(im, dims, (size_t)axes, out);
}

/* Which element of `value` stands at index `i` of the common shape. */
static size_t source_of(const qf_shape *common, const qf_shape *value, size_t i)
{
    size_t at = 0, step = 1;
    for (int axis = common->axes - 1; axis >= 0; axis--) {
        const int own = axis - (common->axes - value->axes);
        const size_t index = i % (size_t)common->dim[axis];
        i /= (size_t)common->dim[axis];
        if (own < 0)
            break;
        at += value->dim[own] == 1 ? 0 : index * step;
        step *= (size_t)value->dim[own];
    }
    return at;
}

/* ---- two ---- */

static bool gives_truth(int operation)
{
    return operation >= QF_IMPORT_EQUAL && operation <= QF_IMPORT_OR;
}

static bool is_division(int operation)
{
    return operation == QF_IMPORT_DIVIDE || operation == QF_IMPORT_MODULO;
}

static qf_status fill_integers(qf_importer *im, int operation, const qf_import_value *a,
                               const qf_import_value *b, const qf_shape *shape, int64_t *to)
{
    const bool compares =
        gives_truth(operation) && operation != QF_IMPORT_AND && operation != QF_IMPORT_OR;
    for (size_t i = 0, n = qf_shape_count(shape); i < n; i++) {
        const size_t from_a = source_of(shape, &a->shape, i),
                     from_b = source_of(shape, &b->shape, i);
        if (compares || operation == QF_IMPORT_RAISE) {
            const double value =
                of_floats(operation, qf_import_element(a, from_a), qf_import_element(b, from_b));
            if (!(fabs(value) < 0x1p63))
                return qf_import_damaged(im, "a power is too large");
            to[i] = (int64_t)value;
            continue;
        }
        if (is_division(operation) && (!b->integers[from_b] || b->integers[from_b] == -1)) {
            if (!b->integers[from_b])
                return qf_import_damaged(im, "it divides by 0");
            to[i] = operation == QF_IMPORT_DIVIDE
                        ? of_integers(QF_IMPORT_SUBTRACT, 0, a->integers[from_a])
                        : 0;
            continue;
        }
        to[i] = of_integers(operation, a->integers[from_a], b->integers[from_b]);
    }
    return QF_OK;
}

static void fill_floats(int operation, const qf_import_value *a, const qf_import_value *b,
                        const qf_shape *shape, float *to)
{
    for (size_t i = 0, n = qf_shape_count(shape); i < n; i++)
        to[i] = (float)of_floats(operation, qf_import_element(a, source_of(shape, &a->shape, i)),
                                 qf_import_element(b, source_of(shape, &b->shape, i)));
}

qf_status qf_import_fold_binary(qf_importer *im, int operation)
{
    const qf_import_value *a = qf_import_input(im, 0), *b = qf_import_input(im, 1);
    qf_import_value *value;
    qf_shape shape;
    int64_t *integers;
    float *floats;
    if (!a || !b)
        return qf_import_damaged(im, "it needs two inputs");
    if (im->input_count > 2)
        return qf_import_refuse(im, "all of its %zu inputs are known", im->input_count);
    if (!gives_truth(operation) && !a->integers != !b->integers)
        return qf_import_damaged(im, "its inputs differ in type");
    QF_TRY(common_shape(im, &a->shape, &b->shape, &shape));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (a->integers && b->integers) {
        QF_TRY(qf_import_make_integers(im, value, &shape, &integers));
        return fill_integers(im, operation, a, b, &shape, integers);
    }
    if (!gives_truth(operation)) {
        QF_TRY(qf_import_make_floats(im, value, &shape, &floats));
        fill_floats(operation, a, b, &shape, floats);
        return QF_OK;
    }
    if (operation == QF_IMPORT_AND || operation == QF_IMPORT_OR)
        return qf_import_damaged(im, "its inputs are floats");
    QF_TRY(qf_import_make_integers(im, value, &shape, &integers));
    for (size_t i = 0, n = qf_shape_count(&shape); i < n; i++)
        integers[i] = of_floats(operation, qf_import_element(a, source_of(&shape, &a->shape, i)),
                                qf_import_element(b, source_of(&shape, &b->shape, i))) != 0;
    return QF_OK;
}

/* ---- one ---- */

static double of_one(int operation, double x)
{
    switch (operation) {
    case QF_IMPORT_NEGATE:
        return -x;
    case QF_IMPORT_RECIPROCAL:
        return 1 / x;
    case QF_IMPORT_ROOT:
        return sqrt(x);
    case QF_IMPORT_ABSOLUTE:
        return fabs(x);
    case QF_IMPORT_FLOOR:
        return floor(x);
    case QF_IMPORT_CEILING:
        return ceil(x);
    case QF_IMPORT_NOT:
        return x == 0;
    case QF_IMPORT_EXPONENTIAL:
        return exp(x);
    default:
        return log(x);
    }
}

/* Of whole numbers; what has no whole number stays as it is. */
static int64_t of_one_integer(int operation, int64_t x)
{
    switch (operation) {
    case QF_IMPORT_NEGATE:
        return of_integers(QF_IMPORT_SUBTRACT, 0, x);
    case QF_IMPORT_ABSOLUTE:
        return x < 0 ? of_integers(QF_IMPORT_SUBTRACT, 0, x) : x;
    case QF_IMPORT_NOT:
        return !x;
    default:
        return x;
    }
}

qf_status qf_import_fold_unary(qf_importer *im, int operation)
{
    const qf_import_value *x = qf_import_input(im, 0);
    qf_import_value *value;
    int64_t *integers;
    float *floats;
    if (!x)
        return qf_import_damaged(im, "input 0 is missing");
    const size_t count = qf_shape_count(&x->shape);
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (x->integers) {
        QF_TRY(qf_import_make_integers(im, value, &x->shape, &integers));
        for (size_t i = 0; i < count; i++)
            integers[i] = of_one_integer(operation, x->integers[i]);
        return QF_OK;
    }
    QF_TRY(qf_import_make_floats(im, value, &x->shape, &floats));
    for (size_t i = 0; i < count; i++)
        floats[i] = (float)of_one(operation, x->floats[i]);
    return QF_OK;
}

qf_status qf_import_pick(qf_importer *im, size_t output, const qf_import_value *from,
                         const qf_shape *shape, size_t (*source)(const void *user, size_t i),
                         const void *user)
{
    qf_import_value *value;
    int64_t *integers;
    float *floats;
    const size_t count = qf_shape_count(shape);
    QF_TRY(qf_import_new_value(im, im->node->output[output], &value));
    value->code_type = from->code_type;
    if (from->integers) {
        QF_TRY(qf_import_make_integers(im, value, shape, &integers));
        for (size_t i = 0; i < count; i++)
            integers[i] = from->integers[source(user, i)];
        return QF_OK;
    }
    QF_TRY(qf_import_make_floats(im, value, shape, &floats));
    for (size_t i = 0; i < count; i++)
        floats[i] = from->floats[source(user, i)];
    return QF_OK;
}

typedef struct pair {
    const qf_shape *common, *own;
} pair;

static size_t broadcast_source(const void *user, size_t i)
{
    const pair *p = user;
    return source_of(p->common, p->own, i);
}

qf_status qf_import_fold_expand(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x = qf_import_input(im, 0);
    qf_shape shape;
    if (!x)
        return qf_import_damaged(im, "input 0 is missing");
    QF_TRY(qf_import_expanded_shape(im, &x->shape, &shape));
    return qf_import_pick(im, 0, x, &shape, broadcast_source, &(pair){&shape, &x->shape});
}

qf_status qf_import_fold_where(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *c = qf_import_input(im, 0), *a = qf_import_input(im, 1),
                          *b = qf_import_input(im, 2);
    qf_import_value *value;
    qf_shape shape;
    int64_t *integers;
    float *floats;
    if (!c || !a || !b || !c->integers || !a->integers != !b->integers)
        return qf_import_damaged(im, "it needs a condition and two inputs of one type");
    QF_TRY(common_shape(im, &a->shape, &b->shape, &shape));
    QF_TRY(common_shape(im, &c->shape, &shape, &shape));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (a->integers)
        QF_TRY(qf_import_make_integers(im, value, &shape, &integers));
    else
        QF_TRY(qf_import_make_floats(im, value, &shape, &floats));
    for (size_t i = 0, n = qf_shape_count(&shape); i < n; i++) {
        const qf_import_value *from = c->integers[source_of(&shape, &c->shape, i)] ? a : b;
        const size_t at = source_of(&shape, &from->shape, i);
        if (a->integers)
            integers[i] = from->integers[at];
        else
            floats[i] = from->floats[at];
    }
    return QF_OK;
}

qf_status qf_import_fold_cast(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x = qf_import_input(im, 0);
    const int64_t to = qf_import_int(im, "to", 0);
    qf_import_value *value;
    int64_t *integers;
    float *floats;
    if (!x)
        return qf_import_damaged(im, "input 0 is missing");
    const size_t count = qf_shape_count(&x->shape);
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    if (to == ONNX__TENSOR__DATA_TYPE__FLOAT || to == ONNX__TENSOR__DATA_TYPE__DOUBLE ||
        to == ONNX__TENSOR__DATA_TYPE__FLOAT16 || to == ONNX__TENSOR__DATA_TYPE__BFLOAT16) {
        QF_TRY(qf_import_make_floats(im, value, &x->shape, &floats));
        for (size_t i = 0; i < count; i++)
            floats[i] = (float)qf_import_element(x, i);
        return QF_OK;
    }
    QF_TRY(qf_import_make_integers(im, value, &x->shape, &integers));
    for (size_t i = 0; i < count; i++) {
        if (x->floats && !(fabsf(x->floats[i]) < 0x1p63f))
            return qf_import_refuse(im, "%g has no whole number", (double)x->floats[i]);
        integers[i] = x->integers ? x->integers[i] : (int64_t)x->floats[i];
        if (to == ONNX__TENSOR__DATA_TYPE__BOOL)
            integers[i] = qf_import_element(x, i) != 0;
    }
    return QF_OK;
}
