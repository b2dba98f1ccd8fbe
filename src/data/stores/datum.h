/* One stored sample: Caffe's Datum, raw or encoded. */
#ifndef QF_DATA_STORES_DATUM_H
#define QF_DATA_STORES_DATUM_H

#include "data/images/image.h"
#include "model/caffe.pb-c.h"

/* Parses and, where needed, decodes. Sizes are checked. */
qf_status qf_datum_decode(qf_context *context, const void *datum, size_t size, qf_color color,
                          qf_image *out);
/* The same of a message, which belongs to the image afterwards, or is freed after a failure. */
qf_status qf_datum_take(qf_context *context, Caffe__Datum *datum, qf_color color, qf_image *out);

#endif
