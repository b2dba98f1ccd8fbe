/* The list of what automatic calibration has tried. */
#include "toolkit/auto/auto_history.h"

#include "base/memory.h"

qf_status qf_auto_history_add(qf_context *context, qf_auto_history *history, qf_auto_record **out)
{
    *out = NULL;
    qf_auto_record made = {.order = qf_alloc(history->layers, sizeof *made.order),
                           .quantised = qf_alloc(history->layers, sizeof *made.quantised)};
    if (!made.order || !made.quantised ||
        !qf_grow(&history->records, &history->capacity, history->count + 1,
                 sizeof *history->records)) {
        qf_free(made.order);
        qf_free(made.quantised);
        return qf_fail(context, QF_E_MEMORY, "no memory for what was tried");
    }
    for (size_t i = 0; i < history->layers; i++) {
        made.order[i] = i;
        made.quantised[i] = true;
    }
    *out = &history->records[history->count++];
    **out = made;
    return QF_OK;
}

void qf_auto_history_release(qf_auto_history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        qf_free(history->records[i].order);
        qf_free(history->records[i].quantised);
    }
    qf_free(history->records);
    history->records = NULL;
    history->count = history->capacity = 0;
}

size_t qf_auto_float_layers(const qf_auto_record *record, size_t layers)
{
    size_t count = 0;
    for (size_t i = 0; i < layers; i++)
        count += !record->quantised[i];
    return count;
}
