/*
 * QuantizeLinear and DequantizeLinear. Between data they change nothing here, since Caffe's float
 * net does not round; what they say of ranges goes into a record, from which convert_model makes
 * the quantised models.
 */
#include "onnx/import/operators.h"

#include "base/memory.h"
#include "toolkit/config/support.h"

#include <math.h>

#define TYPE(name) ONNX__TENSOR__DATA_TYPE__##name

/* Scale and zero point of the node at hand. */
typedef struct codes {
    const qf_import_value *scale, *zero; /* zero NULL: 0 */
    size_t count;                        /* of scales */
    int axis;                            /* along which they go, if there are several */
} codes;

static qf_status read_codes(qf_importer *im, const qf_shape *shape, codes *out)
{
    const float *scales;
    *out = (codes){0};
    QF_TRY(qf_import_floats(im, 1, 0, &scales));
    out->scale = qf_import_input(im, 1);
    out->zero = qf_import_input(im, 2);
    out->count = qf_shape_count(&out->scale->shape);
    if (qf_import_int(im, "block_size", 0))
        return qf_import_refuse(im, "it has a scale for each block of elements");
    if (out->zero && (!out->zero->integers || qf_shape_count(&out->zero->shape) != out->count))
        return qf_import_refuse(im, "its zero points are not known, or others than its %zu scales",
                                out->count);
    for (size_t i = 0; i < out->count; i++)
        if (!(scales[i] > 0 && isfinite(scales[i])))
            return qf_import_damaged(im, "scale %zu is %g, expected a positive number", i,
                                     (double)scales[i]);
    if (out->count == 1)
        return QF_OK;
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 1), shape->axes, &out->axis));
    if ((size_t)shape->dim[out->axis] != out->count)
        return qf_import_damaged(im, "it has %zu scales, axis %d has %d elements", out->count,
                                 out->axis, shape->dim[out->axis]);
    return QF_OK;
}

static void keep(const codes *c, int code_type, qf_import_value *value)
{
    value->scale = c->scale;
    value->zero = c->zero;
    value->scale_axis = c->axis;
    value->code_type = code_type;
}

/* ---- elements that are known ---- */

static size_t scale_index(const codes *c, const qf_shape *shape, size_t i)
{
    if (c->count == 1)
        return 0;
    return i / qf_shape_count_range(shape, c->axis + 1, shape->axes) % c->count;
}

static double zero_at(const codes *c, size_t index)
{
    return c->zero ? (double)c->zero->integers[index] : 0;
}

qf_status qf_import_fold_dequantize(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x = qf_import_input(im, 0);
    qf_import_value *value;
    float *floats;
    codes c;
    if (!x || !x->integers)
        return qf_import_damaged(im, "its input has no codes");
    QF_TRY(read_codes(im, &x->shape, &c));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    QF_TRY(qf_import_make_floats(im, value, &x->shape, &floats));
    for (size_t i = 0, n = qf_shape_count(&x->shape); i < n; i++) {
        const size_t k = scale_index(&c, &x->shape, i);
        floats[i] = (float)((double)x->integers[i] - zero_at(&c, k)) * c.scale->floats[k];
    }
    keep(&c, x->code_type, value);
    return QF_OK;
}

/* Lowest and highest code; false: of a type that is not read here. */
static bool code_range(int type, double *lowest, double *highest)
{
    static const struct {
        int type;
        double lowest, highest;
    } ranges[] = {{TYPE(UINT8), 0, 255},        {TYPE(INT8), -128, 127}, {TYPE(UINT16), 0, 65535},
                  {TYPE(INT16), -32768, 32767}, {TYPE(UINT4), 0, 15},    {TYPE(INT4), -8, 7}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].type == type) {
            *lowest = ranges[i].lowest;
            *highest = ranges[i].highest;
            return true;
        }
    return false;
}

static int type_of_codes(const qf_importer *im, const codes *c)
{
    return c->zero ? c->zero->code_type : (int)qf_import_int(im, "output_dtype", TYPE(UINT8));
}

/* Weights that are quantised in the model, as training with fake quantisation leaves them. */
qf_status qf_import_fold_quantize(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x = qf_import_input(im, 0);
    qf_import_value *value;
    int64_t *integers;
    double lowest, highest;
    codes c;
    if (!x || !x->floats)
        return qf_import_damaged(im, "its input has no floats");
    QF_TRY(read_codes(im, &x->shape, &c));
    if (!code_range(type_of_codes(im, &c), &lowest, &highest))
        return qf_import_refuse(im, "its codes are of type %d", type_of_codes(im, &c));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    QF_TRY(qf_import_make_integers(im, value, &x->shape, &integers));
    for (size_t i = 0, n = qf_shape_count(&x->shape); i < n; i++) {
        const size_t k = scale_index(&c, &x->shape, i);
        const double code = nearbyint((double)(x->floats[i] / c.scale->floats[k])) + zero_at(&c, k);
        integers[i] = (int64_t)fmin(fmax(code, lowest), highest); /* NaN: lowest */
    }
    value->code_type = type_of_codes(im, &c);
    return QF_OK;
}

/* ---- blobs ---- */

static qf_status pass_on(qf_importer *im, const codes *c, int code_type, bool is_codes)
{
    const qf_import_value *x = qf_import_input(im, 0);
    qf_import_value *value;
    const qf_import_blob blob = {x->blob, QF_NO_LAYER, x->shape};
    QF_TRY(qf_import_define(im, 0, &blob));
    value = qf_import_find(im, im->node->output[0]);
    if (value) {
        keep(c, code_type, value);
        value->is_codes = is_codes;
    }
    return QF_OK;
}

qf_status qf_import_quantize(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    codes c;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(read_codes(im, &blob.shape, &c));
    return pass_on(im, &c, type_of_codes(im, &c), true);
}

static bool same_elements(const qf_import_value *a, const qf_import_value *b)
{
    const size_t count = a ? qf_shape_count(&a->shape) : 0;
    if (!a || !b || qf_shape_count(&b->shape) != count)
        return !a && !b;
    for (size_t i = 0; i < count; i++)
        if (qf_import_element(a, i) != qf_import_element(b, i))
            return false;
    return true;
}

qf_status qf_import_dequantize(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *x = qf_import_input(im, 0);
    codes c;
    if (!x || !x->is_codes)
        return qf_import_refuse(im, "its input does not come from a QuantizeLinear");
    QF_TRY(read_codes(im, &x->shape, &c));
    if (!same_elements(c.scale, x->scale) || !same_elements(c.zero, x->zero))
        return qf_import_refuse(im, "its scale or zero point is not that of the QuantizeLinear");
    return pass_on(im, &c, x->code_type, false);
}

/* ---- the record ---- */

/* The zero point as AMCT has it, for codes from -128 to 127. */
static int signed_zero(const qf_import_value *value, size_t i)
{
    const int64_t zero = value->zero ? value->zero->integers[i] : 0;
    return (int)(value->code_type == TYPE(UINT8) ? zero - 128 : zero);
}

static bool has_bytes(const qf_import_value *value)
{
    return value->code_type == TYPE(UINT8) || value->code_type == TYPE(INT8);
}

/* Why a record cannot hold these; NULL: it can. */
static const char *data_reason(const qf_import_value *x)
{
    if (!has_bytes(x))
        return "codes of its input are not of 8 bits";
    if (qf_shape_count(&x->scale->shape) != 1)
        return "its input has a scale for each channel";
    return NULL;
}

static const char *weights_reason(const qf_support *support, const qf_import_value *w, int axis)
{
    if (!w->scale)
        return "its weights have no scale";
    if (!has_bytes(w))
        return "codes of its weights are not of 8 bits";
    const size_t count = qf_shape_count(&w->scale->shape);
    for (size_t i = 0; i < count; i++)
        if (signed_zero(w, i) != 0)
            return "codes of its weights are not symmetric";
    if (count != 1 && !support->channel_wise)
        return "AMCT has one scale for all of its weights, the model several";
    if (count != 1 && w->scale_axis != axis)
        return "scales of its weights do not go along its outputs";
    return NULL;
}

static const char *reason(const qf_importer *im, const Caffe__LayerParameter *layer, int axis)
{
    const qf_import_value *x = qf_import_input(im, 0), *w = qf_import_input(im, 1);
    const qf_support support = qf_layer_support(layer, layer);
    if (!support.supported)
        return support.reason ? support.reason : "AMCT does not quantise such layers";
    const char *why = data_reason(x);
    if (!why && axis >= 0 && qf_import_float(im, "alpha", 1) != 1)
        why = "alpha scales its weights";
    return why || axis < 0 ? why : weights_reason(&support, w, axis);
}

qf_status qf_import_note_ranges(qf_importer *im, Caffe__LayerParameter *layer, int axis)
{
    const qf_import_value *x = qf_import_input(im, 0), *w = qf_import_input(im, 1);
    qf_record_entry *entry;
    if (!x->scale)
        return QF_OK;
    const char *why = reason(im, layer, axis);
    if (why) {
        im->unused_ranges++;
        qf_info(im->context, "layer %s: its range is not in the record, since %s", layer->name,
                why);
        return QF_OK;
    }
    QF_TRY(qf_record_find_or_add(im->context, im->record, layer->name, &entry));
    QF_SET(entry, scale_d, x->scale->floats[0]);
    QF_SET(entry, offset_d, signed_zero(x, 0));
    return axis < 0 ? QF_OK
                    : qf_record_set_scales(im->context, entry, w->scale->floats,
                                           qf_shape_count(&w->scale->shape));
}
