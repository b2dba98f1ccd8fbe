/* The elements of an ONNX model's tensors: as floats, or, of whole numbers, as 64-bit integers. */
#include "onnx/import/importer.h"

#include "base/memory.h"

#include <string.h>

#define TYPE(name) ONNX__TENSOR__DATA_TYPE__##name

/* Half precision: 5 bits of exponent, 10 of the fraction. */
static float from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half >> 15) << 31, fraction = half & 0x3ff;
    const uint32_t exponent = (half >> 10) & 0x1f;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    const uint32_t bits =
        sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_bfloat16(uint16_t upper)
{
    const uint32_t bits = (uint32_t)upper << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One element in little-endian order. */
static uint64_t bits_at(const uint8_t *bytes, size_t size)
{
    uint64_t bits = 0;
    for (size_t i = size; i-- > 0;)
        bits = bits << 8 | bytes[i];
    return bits;
}

static float float_of_bits(int type, uint64_t bits)
{
    float single;
    double wide;
    const uint32_t low = (uint32_t)bits;
    switch (type) {
    case TYPE(FLOAT16):
        return from_half((uint16_t)bits);
    case TYPE(BFLOAT16):
        return from_bfloat16((uint16_t)bits);
    case TYPE(DOUBLE):
        memcpy(&wide, &bits, sizeof wide);
        return (float)wide;
    default:
        memcpy(&single, &low, sizeof single);
        return single;
    }
}

static int64_t integer_of_bits(size_t size, bool is_signed, uint64_t bits)
{
    const unsigned unused = (unsigned)(64 - 8 * size);
    return is_signed ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
}

/* The types that are read: bytes of an element in raw_data (0: half of one). */
static const struct {
    int type;
    size_t size;
    bool is_float, is_signed;
} types[] = {
    {TYPE(FLOAT), 4, true, true},    {TYPE(DOUBLE), 8, true, true},
    {TYPE(FLOAT16), 2, true, true},  {TYPE(BFLOAT16), 2, true, true},
    {TYPE(INT64), 8, false, true},   {TYPE(INT32), 4, false, true},
    {TYPE(INT16), 2, false, true},   {TYPE(INT8), 1, false, true},
    {TYPE(UINT64), 8, false, false}, {TYPE(UINT32), 4, false, false},
    {TYPE(UINT16), 2, false, false}, {TYPE(UINT8), 1, false, false},
    {TYPE(BOOL), 1, false, false},   {TYPE(INT4), 0, false, true},
    {TYPE(UINT4), 0, false, false},
};

typedef struct source { /* of a tensor's elements */
    const Onnx__Tensor *tensor;
    size_t size;
    bool is_float, is_signed;
    size_t have;
} source;

/* How many elements the array that the type lies in has, where it is not raw_data. */
static size_t listed(const source *s)
{
    switch (s->tensor->data_type) {
    case TYPE(FLOAT):
        return s->tensor->n_float_data;
    case TYPE(DOUBLE):
        return s->tensor->n_double_data;
    case TYPE(INT64):
        return s->tensor->n_int64_data;
    case TYPE(UINT32):
    case TYPE(UINT64):
        return s->tensor->n_uint64_data;
    default:
        return s->tensor->n_int32_data * (s->size ? 1 : 2);
    }
}

static uint64_t listed_bits(const source *s, size_t i)
{
    uint64_t bits;
    uint32_t single;
    switch (s->tensor->data_type) {
    case TYPE(FLOAT):
        memcpy(&single, &s->tensor->float_data[i], sizeof single);
        return single;
    case TYPE(DOUBLE):
        memcpy(&bits, &s->tensor->double_data[i], sizeof bits);
        return bits;
    case TYPE(INT64):
        return (uint64_t)s->tensor->int64_data[i];
    case TYPE(UINT32):
    case TYPE(UINT64):
        return s->tensor->uint64_data[i];
    default:
        return (uint32_t)s->tensor->int32_data[s->size ? i : i / 2];
    }
}

static uint64_t element_bits(const source *s, size_t i)
{
    const bool raw = s->tensor->has_raw_data;
    if (s->size)
        return raw ? bits_at(s->tensor->raw_data.data + i * s->size, s->size) : listed_bits(s, i);
    const uint64_t pair = raw ? s->tensor->raw_data.data[i / 2] : listed_bits(s, i);
    return (pair >> (i % 2 ? 4 : 0)) & 0xf;
}

static int64_t integer_at(const source *s, size_t i)
{
    const uint64_t bits = element_bits(s, i);
    if (s->size)
        return integer_of_bits(s->size, s->is_signed,
                               s->size < 8 ? bits & ((UINT64_C(1) << (8 * s->size)) - 1) : bits);
    return s->is_signed && bits > 7 ? (int64_t)bits - 16 : (int64_t)bits;
}

static qf_status look(qf_importer *im, const Onnx__Tensor *tensor, source *out)
{
    const char *name = tensor->name ? tensor->name : "";
    size_t i = 0;
    while (i < sizeof types / sizeof *types && types[i].type != tensor->data_type)
        i++;
    if (i == sizeof types / sizeof *types)
        return qf_fail(im->context, QF_E_UNSUPPORTED,
                       "tensor '%s' has elements of type %d, which are not read here", name,
                       tensor->data_type);
    if (tensor->data_location == ONNX__TENSOR__LOCATION__EXTERNAL && !tensor->has_raw_data)
        return qf_fail(im->context, QF_E_UNSUPPORTED,
                       "tensor '%s' lies in another file, which is read for initialisers only",
                       name);
    *out = (source){tensor, types[i].size, types[i].is_float, types[i].is_signed, 0};
    out->have = !tensor->has_raw_data ? listed(out)
                : out->size           ? tensor->raw_data.len / out->size
                                      : 2 * tensor->raw_data.len;
    return QF_OK;
}

static qf_status fill(qf_importer *im, qf_import_value *value, const source *s,
                      const qf_shape *shape)
{
    const size_t count = qf_shape_count(shape);
    float *floats;
    int64_t *integers;
    if (!s->is_float) {
        QF_TRY(qf_import_make_integers(im, value, shape, &integers));
        for (size_t i = 0; i < count; i++)
            integers[i] = integer_at(s, i);
        return QF_OK;
    }
    QF_TRY(qf_import_make_floats(im, value, shape, &floats));
    for (size_t i = 0; i < count; i++)
        floats[i] = float_of_bits(s->tensor->data_type, element_bits(s, i));
    return QF_OK;
}

/* Floats as they lie in the message; NULL: in another order than this machine's. */
static const float *in_place(const Onnx__Tensor *tensor)
{
    if (!tensor->has_raw_data)
        return tensor->float_data;
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? (const float *)tensor->raw_data.data : NULL;
}

qf_status qf_import_load(qf_importer *im, qf_import_value *value)
{
    const Onnx__Tensor *tensor = value->tensor;
    source s;
    qf_shape shape;
    if (!tensor)
        return QF_OK;
    value->tensor = NULL;
    QF_TRY(look(im, tensor, &s));
    QF_TRY(qf_within(im->context, qf_import_shape(im, tensor->dims, tensor->n_dims, &shape),
                     "tensor '%s'", tensor->name ? tensor->name : ""));
    if (s.have < qf_shape_count(&shape))
        return qf_fail(im->context, QF_E_FORMAT,
                       "tensor '%s' has %zu elements, its dimensions ask for %zu; fetch or write "
                       "the file again",
                       tensor->name ? tensor->name : "", s.have, qf_shape_count(&shape));
    value->code_type = tensor->data_type;
    if (tensor->data_type == TYPE(FLOAT) && (value->floats = in_place(tensor))) {
        value->shape = shape;
        return QF_OK;
    }
    return fill(im, value, &s, &shape);
}
