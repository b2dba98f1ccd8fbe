/* Caffe's Datum: its pixels as bytes or floats, decoded where it is encoded. */
#include "data/stores/datum.h"

#include "base/memory.h"
#include "model/model.h"

#include <math.h>

static qf_status take_raw(qf_context *context, const Caffe__Datum *datum, qf_image *out)
{
    if (datum->channels < 1 || datum->height < 1 || datum->width < 1)
        return qf_fail(context, QF_E_FORMAT,
                       "a datum of %d x %d x %d (channels x height x width) is not possible",
                       datum->channels, datum->height, datum->width);
    const size_t plane = (size_t)datum->width * (size_t)datum->height;
    size_t expected;
    if (!qf_multiply(plane, (size_t)datum->channels, &expected))
        expected = SIZE_MAX;
    QF_TRY(
        qf_check_limit(context, QF_LIMIT_DATUM_CHANNELS, (uint64_t)datum->channels, "a datum has"));
    QF_TRY(qf_check_limit(context, QF_LIMIT_DATUM_VALUES, expected, "a datum of %d x %d x %d has",
                          datum->channels, datum->height, datum->width));
    bool floats = datum->n_float_data > 0;
    size_t found = floats ? datum->n_float_data : datum->data.len;
    if (found != expected)
        return qf_fail(
            context, QF_E_FORMAT,
            "a datum of %d x %d x %d needs %zu values, found %zu (is it encoded, but not "
            "marked as such?)",
            datum->channels, datum->height, datum->width, expected, found);
    for (size_t i = 0; i < datum->n_float_data; i++)
        if (isnan(datum->float_data[i]))
            return qf_fail(context, QF_E_VALUE, "value %zu of a datum is NaN", i);
    out->channels = datum->channels;
    out->height = datum->height;
    out->width = datum->width;
    out->bytes = floats ? NULL : datum->data.data;
    out->floats = floats ? datum->float_data : NULL;
    out->channel_step = plane;
    out->row_step = (size_t)datum->width;
    out->pixel_step = 1;
    return QF_OK;
}

/* SSD's AnnotatedDatum begins with a Datum as a message; a Datum with a number. */
static qf_status name_annotated(qf_context *context, qf_status status, const void *bytes,
                                size_t size)
{
    enum { MESSAGE_1 = 1 << 3 | 2 };
    return status == QF_E_FORMAT && size && *(const uint8_t *)bytes == MESSAGE_1
               ? qf_fail(context, status,
                         "an annotated image, as SSD's layer AnnotatedData reads them, but a datum "
                         "of an image and one label is expected; convert_imageset makes those")
               : status;
}

qf_status qf_datum_take(qf_context *context, Caffe__Datum *datum, qf_color color, qf_image *out)
{
    *out = (qf_image){0};
    const qf_status status =
        datum->encoded ? qf_image_decode(context, datum->data.data, datum->data.len, color, out)
                       : take_raw(context, datum, out);
    out->message = datum;
    out->label = datum->label;
    if (status != QF_OK)
        qf_image_release(out);
    return status;
}

qf_status qf_datum_decode(qf_context *context, const void *bytes, size_t size, qf_color color,
                          qf_image *out)
{
    Caffe__Datum *datum;
    *out = (qf_image){0};
    qf_status status =
        qf_wire_parse(context, "datum", bytes, size, &caffe__datum__descriptor, &datum);
    QF_TRY(name_annotated(context, status, bytes, size));
    return qf_datum_take(context, datum, color, out);
}
