/* Pad: zeros around images, which the convolution or pooling behind takes as its padding. */
#include "onnx/import/operators.h"

#include <string.h>

/* Before and behind, of each axis in turn. */
static qf_status say_paddings(qf_importer *im, const int64_t *pads, int axes, size_t *count,
                              uint32_t **paddings)
{
    for (int i = 0; i < axes; i++)
        for (int end = 0; end < 2; end++) {
            const uint32_t pad = (uint32_t)pads[i + end * axes];
            QF_TRY(qf_append(im->context, count, paddings, &pad, sizeof pad));
        }
    return QF_OK;
}

static qf_status add_pad(qf_importer *im, const char *tail, const int64_t *pads, double value,
                         const qf_shape *top, qf_import_blob *blob)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_import_chain(im, "Pad", tail, blob, top, blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__pad_parameter__descriptor, &layer->pad_param));
    if (value != 0)
        QF_SET(layer->pad_param, constant_values, (float)value);
    return say_paddings(im, pads, top->axes, &layer->pad_param->n_paddings,
                        &layer->pad_param->paddings);
}

qf_status qf_import_add_padding(qf_importer *im, qf_import_value *value)
{
    const int64_t pads[] = {0, 0, value->pads[0], value->pads[1],
                            0, 0, value->pads[2], value->pads[3]};
    qf_import_blob blob = {value->blob, QF_NO_LAYER, value->shape};
    QF_TRY(add_pad(im, "pad", pads, 0, &value->shape, &blob));
    value->blob = blob.name;
    value->padded = false;
    return QF_OK;
}

/* Values from inside. */
static qf_status mirror(qf_importer *im, const int64_t *pads, const qf_shape *top)
{
    Caffe__LayerParameter *layer;
    qf_import_blob blob;
    const bool reflects = qf_import_says(im, "mode", "reflect");
    if (!reflects && !qf_import_says(im, "mode", "edge"))
        return qf_import_refuse(im, "its mode is none of constant, reflect and edge");
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_chain(im, "MirrorPad", "", &blob, top, &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__mirror_pad_parameter__descriptor,
                          &layer->mirror_pad_param));
    QF_TRY(qf_import_set_text(im, &layer->mirror_pad_param->mode, reflects ? "REFLECT" : "EDGE"));
    QF_TRY(say_paddings(im, pads, top->axes, &layer->mirror_pad_param->n_paddings,
                        &layer->mirror_pad_param->paddings));
    return qf_import_define(im, 0, &blob);
}

/* Zeros around images wait for the convolution or pooling behind, whose padding they become. */
static qf_status pad_later(qf_importer *im, const int64_t *pads, const qf_shape *shape)
{
    qf_import_value *in = qf_import_input(im, 0), *out;
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_define(im, 0, &blob));
    out = qf_import_find(im, im->node->output[0]);
    if (!out)
        return QF_OK;
    out->layer = QF_NO_LAYER;
    out->shape = *shape;
    out->padded = true;
    for (int i = 0; i < 4; i++)
        out->pads[i] = (int)pads[i % 2 + 2 + (i / 2) * in->shape.axes];
    return QF_OK;
}

/* Negative padding cuts. */
static qf_status cut(qf_importer *im, const int64_t *pads, int axes)
{
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    for (int i = 0; i < axes; i++) {
        const int64_t from = -pads[i], to = blob.shape.dim[i] + pads[axes + i];
        if (from < 0 || to > blob.shape.dim[i] || from >= to)
            return qf_import_refuse(im, "it pads by %lld and %lld along axis %d",
                                    (long long)pads[i], (long long)pads[axes + i], i);
        QF_TRY(qf_import_cut(im, "", &blob, i, (int)from, (int)to, &blob));
    }
    return qf_import_define(im, 0, &blob);
}

static qf_status read_pads(qf_importer *im, int axes, int64_t *pads)
{
    qf_import_list given, chosen = {0};
    QF_TRY(qf_import_list_of(im, "pads", 1, &given));
    if (qf_import_input(im, 3))
        QF_TRY(qf_import_list_of(im, "", 3, &chosen));
    const size_t count = chosen.values ? chosen.count : (size_t)axes;
    if (given.count != 2 * count)
        return qf_import_damaged(im, "it has %zu paddings for %zu axes", given.count, count);
    memset(pads, 0, 2 * (size_t)axes * sizeof *pads);
    for (size_t i = 0; i < count; i++) {
        int axis = (int)i;
        if (chosen.values)
            QF_TRY(qf_import_axis(im, chosen.values[i], axes, &axis));
        for (int end = 0; end < 2; end++) {
            const int64_t pad = given.values[i + (size_t)end * count];
            if (pad < -INT32_MAX || pad > 1 << 20)
                return qf_import_refuse(im, "it pads by %lld", (long long)pad);
            pads[axis + end * axes] = pad;
        }
    }
    return QF_OK;
}

qf_status qf_import_pad(qf_importer *im, int detail)
{
    (void)detail;
    int64_t pads[2 * QF_MAX_AXES], dims[QF_MAX_AXES];
    bool adds = false, cuts = false, images = true;
    double value;
    qf_shape in, out;
    qf_import_blob blob;
    const qf_import_value *input = qf_import_input(im, 0);
    if (!input)
        return qf_import_damaged(im, "input 0 is missing");
    in = input->shape;
    QF_TRY(read_pads(im, in.axes, pads));
    QF_TRY(qf_import_scalar(im, 2, qf_import_float(im, "value", 0), &value));
    for (int i = 0; i < 2 * in.axes; i++) {
        adds = adds || pads[i] > 0;
        cuts = cuts || pads[i] < 0;
        images = images && (!pads[i] || i % in.axes >= 2);
    }
    if (!adds)
        return cuts ? cut(im, pads, in.axes) : qf_import_alias(im, 0, qf_import_input(im, 0));
    if (cuts)
        return qf_import_refuse(im, "it pads some axes and cuts others");
    for (int i = 0; i < in.axes; i++)
        dims[i] = in.dim[i] + pads[i] + pads[in.axes + i];
    QF_TRY(qf_import_shape(im, dims, (size_t)in.axes, &out));
    if (qf_import_says_other(im, "mode", "constant"))
        return mirror(im, pads, &out);
    if (in.axes == 4 && images && value == 0)
        return pad_later(im, pads, &out);
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(add_pad(im, "", pads, value, &out, &blob));
    return qf_import_define(im, 0, &blob);
}
