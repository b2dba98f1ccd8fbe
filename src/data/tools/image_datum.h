/* An image file as a datum, as convert_imageset and convert_annoset store it. */
#ifndef QF_DATA_TOOLS_IMAGE_DATUM_H
#define QF_DATA_TOOLS_IMAGE_DATUM_H

#include "base/buffer.h"
#include "base/random.h"
#include "data/images/image.h"
#include "model/caffe.pb-c.h"

typedef struct qf_image_storage {
    const char *encode_type; /* "jpg" or "png"; NULL: pixels, or as `encoded` says */
    bool encoded;            /* files of the type they have */
    bool gray;
    int resize_height, resize_width; /* both above 0: resize, unless one of the next two is given */
    int min_dim, max_dim; /* above 0: grow until the shorter side is so long; shrink until the
                             longer one is; the aspect stays */
} qf_image_storage;

qf_status qf_image_storage_check(qf_context *context, const qf_image_storage *storage);

/* What a datum of a file needs: its bytes lie in `file` or `bytes`. */
typedef struct qf_image_datum {
    Caffe__Datum datum;
    qf_buffer file, bytes;
    int height, width; /* of the image in the file */
} qf_image_datum;

/* Decoded, resized where asked, and encoded where there is a type. Release it also after a failure.
 */
qf_status qf_image_datum_make(qf_context *context, const qf_image_storage *storage,
                              const char *path, qf_image_datum *out);
void qf_image_datum_release(qf_image_datum *made);

/* Swaps elements of `size` bytes (at most 64) anyhow. */
void qf_shuffle(void *items, size_t count, size_t size, qf_random *random);

#endif
