/* Views: arrays for outsiders, brought into step by checksums. */
#include "tensor/view.h"

#include "base/memory.h"

#include <string.h>

struct qf_view {
    qf_context *context;
    qf_tensor *tensor; /* one reference held */
    float *values;     /* where the view is; the tensor's own array unless that has moved */
    uint64_t checksum;
    uint64_t version; /* of the tensor when the checksum was taken */
    qf_view *previous, *next;
};

/* Sixteen sums at a time, so that it runs as fast as memory is read. Each word is multiplied by an
 * odd number before the next is added: a change of one word always shows. */
static uint64_t checksum(const float *values, size_t count)
{
    enum { LANES = 16 };
    uint32_t lane[LANES] = {0};
    const size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        uint32_t words[LANES];
        memcpy(words, values + i, sizeof words);
#pragma omp simd
        for (int k = 0; k < LANES; k++)
            lane[k] = lane[k] * 2654435761u + words[k];
    }
    uint64_t sum = count;
    for (size_t i = whole; i < count; i++) {
        uint32_t word;
        memcpy(&word, values + i, sizeof word);
        sum = sum * 0x9e3779b97f4a7c15u + word;
    }
    for (int k = 0; k < LANES; k++)
        sum = sum * 0x9e3779b97f4a7c15u + lane[k];
    return sum;
}

static bool is_current(const qf_view *view)
{
    const qf_array *array = view->tensor->array[QF_PLACE_HOST][QF_PLAIN];
    return array && array->bytes == view->values;
}

static void remember(qf_view *view)
{
    view->checksum = checksum(view->values, qf_shape_count(&view->tensor->shape));
    view->version = view->tensor->version;
}

static qf_status take(qf_view *view)
{
    if (!is_current(view) || view->version != view->tensor->version)
        return QF_OK; /* nobody can have written since it last showed the value */
    if (checksum(view->values, qf_shape_count(&view->tensor->shape)) == view->checksum)
        return QF_OK;
    float *values;
    QF_TRY(qf_update(view->context, view->tensor, QF_PLAIN, &values));
    remember(view);
    return QF_OK;
}

static qf_status show(qf_view *view)
{
    const float *values;
    if (!is_current(view) || (view->version == view->tensor->version))
        return QF_OK;
    QF_TRY(qf_read(view->context, view->tensor, QF_PLAIN, &values));
    if (is_current(view)) /* else the blob has grown: the view keeps the old array */
        remember(view);
    return QF_OK;
}

qf_status qf_view_create(qf_context *context, qf_tensor *tensor, qf_view **out, float **values)
{
    const float *plain;
    *out = NULL;
    QF_TRY(qf_tensor_unshare(context, tensor, QF_PLAIN));
    QF_TRY(qf_read(context, tensor, QF_PLAIN, &plain));
    qf_view *view = qf_alloc(1, sizeof *view);
    if (!view)
        return qf_fail(context, QF_E_MEMORY, "no memory for a view of a blob");
    view->context = context;
    view->tensor = qf_tensor_retain(tensor);
    view->values = *values = tensor->array[QF_PLACE_HOST][QF_PLAIN]->bytes;
    tensor->views++;
    remember(view);
    view->next = context->views;
    if (view->next)
        view->next->previous = view;
    context->views = view;
    *out = view;
    return QF_OK;
}

void qf_view_release(qf_view *view)
{
    if (!view)
        return;
    take(view); /* what fails here fails again where it matters: at the next use of the blob */
    if (view->previous)
        view->previous->next = view->next;
    else
        view->context->views = view->next;
    if (view->next)
        view->next->previous = view->previous;
    view->tensor->views--;
    qf_tensor_release(view->tensor);
    qf_free(view);
}

qf_status qf_views_take(qf_context *context)
{
    for (qf_view *view = context->views; view; view = view->next)
        QF_TRY(take(view));
    return QF_OK;
}

qf_status qf_views_show(qf_context *context)
{
    for (qf_view *view = context->views; view; view = view->next)
        QF_TRY(show(view));
    return QF_OK;
}
