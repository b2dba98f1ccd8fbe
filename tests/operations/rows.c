/* Runs rows, and what stands around an operation: guards beside its outputs, copies of its inputs.
 */
#include "operations/rows.h"
#include "operations/rows_forcing.h"

#include <float.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Devices whose families are compared with the reference; it is one itself, for its threads. */
static const qf_device *const devices[] = {&qf_cpu, &qf_reference};

enum {
    GUARD = 256,
    GUARD_BYTE = 0xa5,
    UNWRITTEN_BYTE = 0xff,
    MOST_TENSORS = 96,
    SEVERAL_THREADS = 3
};

/* ---- rows ---- */

typedef struct row {
    char name[160];
    const rows_family *family;
    const rows_operation *operation;
    const qf_device *device;
    const char *implementation; /* NULL: what the device chooses */
    bool ran, lacks;            /* afterwards: it did; it wants another processor */
    const void *shape;          /* NULL: drawn */
    uint64_t shape_seed, seed;
} row;

static uint64_t program_seed(void)
{
    const char *asked = getenv("QAFFE_SEED");
    return asked && *asked ? strtoull(asked, NULL, 10) : 1;
}

/* FNV-1a, so that a row has the same numbers whatever runs beside it. */
static uint64_t hash(uint64_t seed, const void *bytes, size_t n)
{
    uint64_t result = 14695981039346656037u ^ seed;
    for (size_t i = 0; i < n; i++)
        result = (result ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return result;
}

static void release_tensors(void);

static void *drawn; /* the shape of a row that has none */

static void run_row(void **state)
{
    row *r = *state;
    if (r->implementation)
        rows_force(r->operation->list, r->implementation);
    drawn = qf_alloc(1, r->family->shape_size);
    assert_non_null(drawn);
    const int threads[] = {1, SEVERAL_THREADS};
    /* The reference's turn is on one thread anyway. */
    for (size_t i = r->device == &qf_reference ? 1 : 0; i < ROWS_COUNT(threads); i++) {
        qf_context_set_threads(context, threads[i]);
        qf_random_seed(&context->random, r->shape_seed);
        if (!r->shape)
            r->family->draw(drawn);
        qf_random_seed(&context->random, r->seed);
        r->operation->check(r->device, r->shape ? r->shape : drawn);
        release_tensors();
    }
    r->ran = rows_forced_ran();
    r->lacks = rows_forced_lacks();
    if (r->implementation && !r->ran)
        skip();
}

/* A pattern for names. */
static const char *wanted_rows(int argc, char **argv)
{
    const char *asked = argc > 1 ? argv[1] : getenv("QAFFE_ROW");
    static char pattern[256];
    snprintf(pattern, sizeof pattern, "%s*", asked ? asked : "");
    return pattern;
}

typedef struct row_list {
    row *rows;
    size_t count, capacity;
} row_list;

/* `i`: of the device's implementations; -1: what it chooses. */
static void add_row(row_list *to, const row *like, const char *wanted,
                    const qf_implementations *list, int i)
{
    if (to->count == to->capacity) {
        to->capacity = 2 * to->capacity + 256;
        to->rows = realloc(to->rows, to->capacity * sizeof *to->rows);
        assert_non_null(to->rows);
    }
    row *r = &to->rows[to->count];
    *r = *like;
    r->implementation = i < 0 ? NULL : list->entry[i].name;
    const size_t length = strlen(r->name);
    snprintf(r->name + length, sizeof r->name - length, "/%s%s%s", r->device->name,
             r->implementation ? ":" : "", r->implementation ? r->implementation : "");
    to->count += fnmatch(wanted, r->name, 0) == 0;
}

/* Adds the wanted rows of one shape. */
static void add_rows(const rows_family *f, const char *shape_name, const void *shape,
                     const char *wanted, row_list *to)
{
    const uint64_t seed = program_seed();
    for (size_t o = 0; o < f->operation_count; o++) {
        row like = {.family = f, .operation = &f->operations[o], .shape = shape};
        snprintf(like.name, sizeof like.name, "%s/%s/%s", f->name, shape_name,
                 f->operations[o].name);
        like.seed = hash(seed, like.name, strlen(like.name)); /* the same for all that run it */
        like.shape_seed = hash(seed, shape_name, strlen(shape_name));
        for (size_t d = 0; d < ROWS_COUNT(devices); d++) {
            const qf_implementations *list = rows_list_of(devices[d], like.operation->list);
            like.device = devices[d];
            for (int i = -1; i < (list ? list->count : 0); i++)
                add_row(to, &like, wanted, list, i);
        }
    }
}

/* An implementation that runs in no row is tested by none: a mistake in the rows or in its
 * `accepts`, unless the processor lacks what it needs. */
static bool all_ran(const row_list *list)
{
    bool all = true;
    for (size_t i = 0; i < list->count; i++) {
        const row *r = &list->rows[i];
        bool ran = !r->implementation, first = true;
        for (size_t k = 0; k < list->count && !ran; k++) {
            const row *other = &list->rows[k];
            if (!other->implementation || strcmp(other->implementation, r->implementation) != 0 ||
                strcmp(other->operation->list, r->operation->list) != 0)
                continue;
            ran = other->ran || other->lacks;
            first &= k >= i;
        }
        if (!ran && first)
            printf("%s of %s accepts no row, and does not say that the processor lacks anything\n",
                   r->implementation, r->operation->list);
        all &= ran;
    }
    return all;
}

static int start_row(void **state);
static int end_row(void **state);

int rows_run(const rows_family *f, int argc, char **argv)
{
    const char *wanted = wanted_rows(argc, argv);
    row_list list = {0};
    for (size_t i = 0; i < f->shape_count; i++) {
        const void *shape = (const char *)f->shapes + i * f->shape_size;
        add_rows(f, *(const char *const *)shape, shape, wanted, &list);
    }
    for (size_t i = 0; i < f->drawn; i++) {
        char name[32];
        snprintf(name, sizeof name, "random%zu", i + 1);
        add_rows(f, name, NULL, wanted, &list);
    }
    row *rows = list.rows;
    const size_t count = list.count;
    struct CMUnitTest *tests = calloc(count + 1, sizeof *tests);
    if (!tests)
        return EXIT_FAILURE;
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){rows[i].name, run_row, start_row, end_row, &rows[i]};
    printf("seed %llu: QAFFE_SEED=%llu repeats it, QAFFE_ROW=NAME runs rows whose names begin so\n",
           (unsigned long long)program_seed(), (unsigned long long)program_seed());
    if (!count)
        printf("no row is named %s\n", wanted);
    const bool passed =
        count && _cmocka_run_group_tests(f->name, tests, count, test_start, test_stop) == 0 &&
        (strcmp(wanted, "*") != 0 || all_ran(&list));
    free(tests);
    free(rows);
    return passed ? EXIT_SUCCESS : EXIT_FAILURE; /* an exit status does not count up to 256 */
}

int rows_between(int low, int high)
{
    return low + (int)qf_random_below(&context->random, (uint32_t)(high - low + 1));
}

bool rows_chance(double probability)
{
    return qf_random_bernoulli(&context->random, probability);
}

/* ---- tensors ---- */

static qf_tensor *tensors[MOST_TENSORS];
static size_t tensor_count;

static const size_t form_size[QF_FORM_COUNT] = {
    [QF_PLAIN] = sizeof(float),         [QF_NHWC] = sizeof(float),
    [QF_CODES] = sizeof(uint8_t),       [QF_BF16] = sizeof(uint16_t),
    [QF_WEIGHT_CODES] = sizeof(int8_t), [QF_INTEGERS] = sizeof(int32_t),
    [QF_WORDS] = sizeof(uint64_t),
};

static size_t bytes_of(const qf_tensor *tensor, int form)
{
    return qf_shape_count(&tensor->shape) * form_size[form];
}

qf_tensor *rows_tensor(int axes, const int *dimensions)
{
    const qf_shape shape = qf_shape_make(axes, dimensions);
    assert_true(tensor_count < MOST_TENSORS);
    qf_tensor **tensor = &tensors[tensor_count];
    assert_ok(context, qf_tensor_create(context, tensor));
    tensor_count++;
    assert_ok(context, qf_tensor_reshape(context, *tensor, &shape));
    return *tensor;
}

qf_tensor *rows_like(const qf_tensor *tensor)
{
    return rows_tensor(tensor->shape.axes, tensor->shape.dim);
}

static void release_tensors(void)
{
    for (size_t i = 0; i < tensor_count; i++)
        qf_tensor_release(tensors[i]);
    tensor_count = 0;
}

static float *write_floats(qf_tensor *tensor)
{
    float *values;
    assert_ok(context, qf_write(context, tensor, rows_chance(0.5) ? QF_PLAIN : QF_NHWC, &values));
    return values;
}

void rows_fill(qf_tensor *tensor)
{
    float *values = write_floats(tensor);
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = qf_random_gaussian(&context->random, 0.1f, 1);
}

void rows_fill_special(qf_tensor *tensor)
{
    static const float special[] = {0,        -0.0f,    1,         -1,       FLT_MAX, -FLT_MAX,
                                    -FLT_MAX, -FLT_MAX, -INFINITY, INFINITY, NAN,     0.5f};
    float *values = write_floats(tensor);
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = special[rows_between(0, (int)ROWS_COUNT(special) - 1)];
}

static unsigned random_code(void)
{
    const unsigned draw = qf_random_below(&context->random, 512);
    return draw < 256 ? draw : draw < 384 ? 0 : 255;
}

void rows_fill_codes(qf_tensor *tensor, int zero)
{
    uint8_t *codes;
    assert_ok(context, qf_tensor_write(context, tensor, QF_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        codes[i] = (uint8_t)random_code();
    tensor->code_scale = 0.03f;
    tensor->code_zero = zero;
}

void rows_fill_weights(qf_tensor *tensor, int count, int axis)
{
    int8_t *codes;
    float *scale = qf_alloc((size_t)count, sizeof *scale);
    assert_ok(context, qf_tensor_write(context, tensor, QF_WEIGHT_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        codes[i] = (int8_t)((int)random_code() - 128);
    for (int i = 0; i < count; i++)
        scale[i] = qf_random_uniform(&context->random, 0.001f, 0.1f);
    assert_ok(context, qf_tensor_set_weight_scale(context, tensor, scale, count, axis));
    qf_free(scale);
}

void rows_fill_integers(qf_tensor *tensor)
{
    int32_t *values;
    assert_ok(context, qf_tensor_write(context, tensor, QF_INTEGERS, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = rows_between(-100000, 100000);
}

qf_tensor *rows_absolute(qf_tensor *tensor)
{
    const float *values;
    float *result;
    if (!tensor)
        return NULL;
    qf_tensor *absolute = rows_like(tensor);
    qf_tensor *floats = rows_copy(tensor); /* no form is added to the tensor itself */
    assert_ok(context, qf_read(context, floats, QF_PLAIN, &values));
    assert_ok(context, qf_write(context, absolute, QF_PLAIN, &result));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        result[i] = fabsf(values[i]);
    return absolute;
}

qf_tensor *rows_copy(qf_tensor *tensor)
{
    qf_tensor *copy = rows_like(tensor);
    assert_ok(context, qf_tensor_copy(context, copy, tensor));
    return copy;
}

/* ---- around an operation ---- */

typedef struct guard {
    qf_tensor *tensor;
    int form;
    qf_array *array;
    size_t capacity; /* with the guards */
} guard;

typedef struct input {
    const qf_tensor *tensor;
    unsigned forms;
    uint64_t sums[QF_FORM_COUNT];
} input;

static guard guards[MOST_TENSORS];
static input inputs[MOST_TENSORS];
static size_t guard_count, input_count;

static uint64_t sum_of(const qf_tensor *tensor, int form)
{
    return hash(0, tensor->array[QF_PLACE_HOST][form]->bytes, bytes_of(tensor, form));
}

void rows_input(qf_tensor *tensor)
{
    assert_true(input_count < MOST_TENSORS);
    input *i = &inputs[input_count++];
    *i = (input){.tensor = tensor, .forms = tensor->valid[QF_PLACE_HOST]};
    for (int form = 0; form < QF_FORM_COUNT; form++)
        if (tensor->valid[QF_PLACE_HOST] & 1u << form)
            i->sums[form] = sum_of(tensor, form);
}

/* The array begins behind the guard in front, until it is opened. */
static void guard_form(qf_tensor *tensor, int form)
{
    const size_t size = bytes_of(tensor, form);
    qf_array *array = qf_array_take(context, size + 2 * GUARD);
    assert_non_null(array);
    memset(array->bytes, GUARD_BYTE, array->capacity);
    char *inner = (char *)array->bytes + GUARD;
    if (tensor->valid[QF_PLACE_HOST] & 1u << form)
        memcpy(inner, tensor->array[QF_PLACE_HOST][form]->bytes, size);
    else
        memset(inner, UNWRITTEN_BYTE, size);
    qf_array_release(tensor->array[QF_PLACE_HOST][form]);
    tensor->array[QF_PLACE_HOST][form] = array;
    assert_true(guard_count < MOST_TENSORS);
    guards[guard_count++] = (guard){tensor, form, array, array->capacity};
    array->bytes = inner;
    array->capacity = size;
}

void rows_output(qf_tensor *tensor, unsigned forms)
{
    if (qf_layouts_agree(&tensor->shape) && forms & 1u << QF_NHWC)
        forms = (forms & ~(1u << QF_NHWC)) | 1u << QF_PLAIN;
    for (int form = 0; form < QF_FORM_COUNT; form++)
        if (forms & 1u << form)
            guard_form(tensor, form);
}

static void open_guards(void)
{
    for (size_t i = 0; i < guard_count; i++) {
        qf_array *array = guards[i].array;
        char *whole = (char *)array->bytes - GUARD;
        memmove(whole, array->bytes, array->capacity);
        array->bytes = whole;
        array->capacity = guards[i].capacity;
    }
    guard_count = 0;
}

static void assert_guard(const guard *g)
{
    const unsigned char *bytes = g->array->bytes;
    const size_t size = bytes_of(g->tensor, g->form), behind = g->capacity - GUARD;
    if (g->tensor->array[QF_PLACE_HOST][g->form] != g->array)
        fail_msg("the operation took another array for its output");
    for (size_t i = 1; i <= GUARD; i++)
        if (bytes[-(ptrdiff_t)i] != GUARD_BYTE)
            fail_msg("written %zu bytes in front of an output", i);
    for (size_t i = size; i < behind; i++)
        if (bytes[i] != GUARD_BYTE)
            fail_msg("written %zu bytes behind an output of %zu bytes", i - size + 1, size);
}

/* All that is valid of an output lies between guards. */
static void assert_guarded(const qf_tensor *tensor)
{
    unsigned guarded = 0;
    for (size_t i = 0; i < guard_count; i++)
        if (guards[i].tensor == tensor)
            guarded |= 1u << guards[i].form;
    if (!tensor->valid[QF_PLACE_HOST] || tensor->valid[QF_PLACE_HOST] & ~guarded)
        fail_msg("an output has forms %x, expected some of %x", tensor->valid[QF_PLACE_HOST],
                 guarded);
}

void rows_check(void)
{
    for (size_t i = 0; i < guard_count; i++) {
        assert_guard(&guards[i]);
        assert_guarded(guards[i].tensor);
    }
    open_guards();
    for (size_t i = 0; i < input_count; i++)
        for (int form = 0; form < QF_FORM_COUNT; form++)
            if (inputs[i].forms & 1u << form &&
                (!(inputs[i].tensor->valid[QF_PLACE_HOST] & 1u << form) ||
                 sum_of(inputs[i].tensor, form) != inputs[i].sums[form]))
                fail_msg("an input was written to (form %d)", form);
    input_count = 0;
}

static int threads_found;

void rows_expect_begin(void)
{
    threads_found = context->threads;
    qf_context_set_threads(context, 1);
}

void rows_expect_end(void)
{
    qf_context_set_threads(context, threads_found);
}

static int start_row(void **state)
{
    (void)state;
    context->compute = QF_COMPUTE_AUTO;
    context->backward = QF_BACKWARD_F32;
    return 0;
}

/* Also after a failure. */
static int end_row(void **state)
{
    (void)state;
    rows_stop_forcing();
    open_guards();
    input_count = 0;
    release_tensors();
    qf_free(drawn);
    drawn = NULL;
    return 0;
}

/* ---- comparing ---- */

static bool is_near(float found, float expected, double allowed)
{
    if (isnan(expected) || isnan(found))
        return isnan(expected) && isnan(found);
    return found == expected || fabs((double)found - (double)expected) <= allowed;
}

void rows_compare(const qf_device *device, qf_tensor *found, qf_tensor *expected,
                  qf_tensor *magnitude, double tolerance, const char *what)
{
    const float *a, *b, *terms = NULL;
    assert_ok(context, qf_read(context, found, QF_PLAIN, &a));
    assert_ok(context, qf_read(context, expected, QF_PLAIN, &b));
    if (magnitude && device != &qf_reference)
        assert_ok(context, qf_read(context, magnitude, QF_PLAIN, &terms));
    for (size_t i = 0; i < qf_shape_count(&expected->shape); i++)
        if (!is_near(a[i], b[i], terms ? tolerance * (double)terms[i] : 0))
            fail_msg("%s: element %zu is %.9g, expected %.9g (allowed %.2g)", what, i, (double)a[i],
                     (double)b[i], terms ? tolerance * (double)terms[i] : 0);
}

void rows_compare_form(qf_tensor *found, qf_tensor *expected, qf_form form, const char *what)
{
    const unsigned char *a, *b;
    const size_t size = form_size[form];
    if (!qf_tensor_has(found, form) || !qf_tensor_has(expected, form))
        fail_msg("%s: %s holds no form %d", what, qf_tensor_has(found, form) ? "expected" : "found",
                 (int)form);
    assert_ok(context, qf_tensor_read(context, found, form, &a));
    assert_ok(context, qf_tensor_read(context, expected, form, &b));
    for (size_t i = 0; i < qf_shape_count(&expected->shape); i++)
        if (memcmp(a + i * size, b + i * size, size) != 0)
            fail_msg("%s: element %zu differs (%d, expected %d)", what, i,
                     size == 4 ? ((const int32_t *)a)[i] : a[i],
                     size == 4 ? ((const int32_t *)b)[i] : b[i]);
    if (form == QF_CODES &&
        (found->code_scale != expected->code_scale || found->code_zero != expected->code_zero))
        fail_msg("%s: scale %g and zero point %d, expected %g and %d", what,
                 (double)found->code_scale, found->code_zero, (double)expected->code_scale,
                 expected->code_zero);
}
