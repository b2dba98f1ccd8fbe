/* Putting images into batches, the order of an epoch, and closing a source. */
#include "data/sources/data_source.h"

#include "base/memory.h"

#include <string.h>

void qf_data_source_close(qf_data_source *source)
{
    if (source->type)
        source->type->destroy(source->state);
    *source = (qf_data_source){0};
}

qf_status qf_data_source_shape(qf_context *context, const qf_transform *transform, qf_image *first,
                               qf_data_source *out)
{
    qf_random random;
    qf_random_seed(&random, 0); /* of no consequence: sizes are not drawn */
    qf_status status = qf_transform_prepare(context, transform, &random, first);
    if (status == QF_OK)
        status = qf_transform_shape(context, transform, first, &out->height, &out->width);
    out->channels = first->channels;
    qf_image_release(first);
    return status;
}

qf_status qf_data_source_opened(qf_status status, const qf_data_source *made, qf_data_source *out)
{
    if (status == QF_OK)
        *out = *made;
    else
        made->type->destroy(made->state);
    return status;
}

qf_status qf_batch_place(qf_context *context, qf_batch *batch, int index, int channels, int height,
                         int width, float **out)
{
    const size_t size = (size_t)height * (size_t)width * (size_t)channels;
    size_t all;
    if (index == 0) {
        batch->box_count = 0;
        batch->channels = channels;
        batch->height = height;
        batch->width = width;
    } else if (channels != batch->channels || height != batch->height || width != batch->width) {
        return qf_fail(
            context, QF_E_SHAPE,
            "an image is of %d x %d x %d, others of the batch of %d x %d x %d (channels x "
            "height x width); use crop_size, resize them, or batch_size 1",
            channels, height, width, batch->channels, batch->height, batch->width);
    }
    if (!qf_multiply(size, (size_t)batch->size, &all))
        all = SIZE_MAX;
    QF_TRY(qf_check_limit(context, QF_LIMIT_TENSOR_ELEMENTS, all, "a batch of %d images has",
                          batch->size));
    if (!qf_grow(&batch->images, &batch->image_capacity, all, sizeof(float)))
        return qf_fail(context, QF_E_MEMORY, "no memory for a batch of %d images", batch->size);
    *out = batch->images + (size_t)index * size;
    return QF_OK;
}

qf_status qf_batch_add_image(qf_context *context, qf_batch *batch, int index,
                             const qf_transform *transform, qf_image *image, qf_random *random)
{
    qf_placement place;
    QF_TRY(qf_transform_prepare(context, transform, random, image));
    return qf_batch_write_image(context, batch, index, transform, image, random, &place);
}

qf_status qf_batch_write_image(qf_context *context, qf_batch *batch, int index,
                               const qf_transform *transform, const qf_image *image,
                               qf_random *random, qf_placement *place)
{
    int height, width;
    float *pixels = NULL;
    QF_TRY(qf_transform_shape(context, transform, image, &height, &width));
    QF_TRY(qf_batch_place(context, batch, index, image->channels, height, width, &pixels));
    *place = qf_transform_place(transform, image, random);
    qf_transform_write(transform, image, place, pixels);
    batch->labels[index] = (float)image->label;
    return QF_OK;
}

qf_status qf_batch_add_boxes(qf_context *context, qf_batch *batch, int index,
                             const qf_annotated *item)
{
    const size_t count = batch->box_count + item->count;
    if (!qf_grow(&batch->boxes, &batch->box_capacity, count * QF_BOX_ROW, sizeof *batch->boxes))
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu boxes", count);
    for (size_t i = 0; i < item->count; i++) {
        const qf_annotation *a = &item->annotations[i];
        const float row[QF_BOX_ROW] = {(float)index, (float)a->label, (float)a->instance,
                                       a->box.x1,    a->box.y1,       a->box.x2,
                                       a->box.y2,    a->difficult};
        memcpy(batch->boxes + batch->box_count++ * QF_BOX_ROW, row, sizeof row);
    }
    return QF_OK;
}

void qf_epoch_order(const qf_random *shuffle, uint64_t epoch, size_t *order, size_t count)
{
    qf_random random = *shuffle;
    qf_random_seed(&random, qf_random_next(&random) + epoch);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count; i > 1; i--) {
        const size_t other = qf_random_below(&random, (uint32_t)i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}
