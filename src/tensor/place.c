/* Where arrays lie, the way from one place to the other, and who may touch them when. */
#include "tensor/place.h"

#include "base/memory.h"

#include <string.h>

struct qf_opened {
    void *bytes;
    size_t size;
    bool writes;
};

qf_place qf_place_of(const qf_context *context)
{
    return context->memory && !context->opened.on_host ? QF_PLACE_DEVICE : QF_PLACE_HOST;
}

void qf_host_enter(qf_context *context)
{
    context->opened.on_host++;
}

void qf_host_leave(qf_context **context)
{
    (*context)->opened.on_host--;
}

/* ---- operations of the device ---- */

void qf_device_enter(qf_context *context)
{
    context->opened.depth++;
}

void qf_device_leave(qf_context **context)
{
    qf_context *c = *context;
    if (--c->opened.depth > 0)
        return;
    for (size_t i = 0; i < c->opened.count; i++)
        c->memory->close(c->opened.arrays[i].bytes, c->opened.arrays[i].size);
    c->opened.count = 0;
}

qf_status qf_place_open(qf_context *context, const qf_array *array, bool writes)
{
    if (!context->memory || !context->memory->open)
        return QF_OK;
    if (!context->opened.depth) /* nobody would close it */
        return qf_fail(context, QF_E_ARGUMENT,
                       "an array of the device was asked for outside its operations");
    struct qf_opened *found = context->opened.arrays, *end = found + context->opened.count;
    while (found < end && found->bytes != array->bytes)
        found++;
    if (found < end && (found->writes || !writes))
        return QF_OK;
    if (found == end) {
        if (!qf_grow(&context->opened.arrays, &context->opened.capacity, context->opened.count + 1,
                     sizeof *context->opened.arrays))
            return qf_fail(context, QF_E_MEMORY, "no memory to open an array of the device");
        found = &context->opened.arrays[context->opened.count++];
    }
    *found = (struct qf_opened){array->bytes, array->capacity, writes};
    context->memory->open(array->bytes, array->capacity, writes);
    return QF_OK;
}

/* ---- copies ---- */

static qf_status run_copy(qf_context *context, qf_array *to, qf_place to_place,
                          const qf_array *from, qf_place from_place, size_t size)
{
    const qf_memory *memory = context->memory;
    if (from_place == QF_PLACE_DEVICE)
        QF_TRY(qf_place_open(context, from, false));
    if (to_place == QF_PLACE_DEVICE)
        QF_TRY(qf_place_open(context, to, true));
    if (to_place == from_place)
        return memory->copy(context, to->bytes, from->bytes, size);
    if (to_place == QF_PLACE_DEVICE) {
        context->transfers.uploads++;
        context->transfers.uploaded += size;
        return memory->upload(context, to->bytes, from->bytes, size);
    }
    context->transfers.downloads++;
    context->transfers.downloaded += size;
    return memory->download(context, to->bytes, from->bytes, size);
}

qf_status qf_place_copy(qf_context *context, qf_array *to, qf_place to_place, const qf_array *from,
                        qf_place from_place, size_t size)
{
    if (to_place == QF_PLACE_HOST && from_place == QF_PLACE_HOST) {
        memcpy(to->bytes, from->bytes, size);
        return QF_OK;
    }
    QF_ON_DEVICE(context);
    return run_copy(context, to, to_place, from, from_place, size);
}

qf_status qf_place_clear(qf_context *context, qf_array *array, qf_place place, size_t size)
{
    if (place == QF_PLACE_HOST) {
        memset(array->bytes, 0, size);
        return QF_OK;
    }
    QF_ON_DEVICE(context);
    QF_TRY(qf_place_open(context, array, true));
    return context->memory->clear(context, array->bytes, size);
}
