/* The search of automatic calibration, and its built-in strategy. */
#include "toolkit/auto/auto_search.h"

#include "base/memory.h"
#include "toolkit/auto/auto_log.h"

#include <string.h>

/* ---- the built-in strategy ---- */

static qf_status initialize(void *user, qf_context *context, size_t layers,
                            const char *const *names, const double *sensitivity)
{
    qf_binary_search *s = user;
    (void)names;
    qf_free(s->order);
    s->order = qf_alloc(layers, sizeof *s->order);
    if (!s->order)
        return qf_fail(context, QF_E_MEMORY, "no memory to put layers in order");
    qf_rollback_order(sensitivity, layers, s->order);
    qf_rollback_begin(&s->rollback, layers, false);
    s->begun = false;
    return QF_OK;
}

static qf_status update(void *user, qf_context *context, bool satisfied, double difference,
                        bool *stop, size_t *order, bool *quantised)
{
    qf_binary_search *s = user;
    size_t k;
    (void)context;
    (void)difference;
    if (s->begun) /* the first result is that of all layers quantised, which has missed */
        qf_rollback_tell(&s->rollback, satisfied);
    s->begun = true;
    const bool more = qf_rollback_next(&s->rollback, &k);
    if (!more)
        k = s->rollback.best;
    *stop = !more || s->rollback.repeats;
    for (size_t i = 0; i < s->rollback.layers; i++) {
        order[i] = s->order[i];
        quantised[s->order[i]] = i >= k;
    }
    return QF_OK;
}

void qf_binary_search_begin(qf_binary_search *search)
{
    *search = (qf_binary_search){.strategy = {.size = sizeof search->strategy,
                                              .user = search,
                                              .initialize = initialize,
                                              .update = update}};
}

void qf_binary_search_release(qf_binary_search *search)
{
    qf_free(search->order);
    search->order = NULL;
}

/* ---- the search ---- */

/* What the strategy wants next, in a new record. */
static qf_status ask(qf_auto_search *s, bool *stop, qf_auto_record **out)
{
    qf_auto_history *history = s->history;
    QF_TRY(qf_auto_history_add(s->context, history, out));
    const qf_auto_record *last = &history->records[history->count - 2];
    memcpy((*out)->order, last->order, history->layers * sizeof *last->order);
    memcpy((*out)->quantised, last->quantised, history->layers * sizeof *last->quantised);
    return s->strategy->update(s->strategy->user, s->context, last->satisfied, last->difference,
                               stop, (*out)->order, (*out)->quantised);
}

static void keep_together(const qf_auto_search *s, qf_auto_record *record)
{
    const size_t layers = s->partner ? s->history->layers : 0;
    for (size_t i = 0; i < layers; i++)
        if (!record->quantised[i])
            record->quantised[s->partner[i]] = false;
    for (size_t i = 0; i < layers; i++)
        if (!record->quantised[s->partner[i]])
            record->quantised[i] = false;
}

static bool repeats_last(const qf_auto_history *history)
{
    const qf_auto_record *record = &history->records[history->count - 1];
    return memcmp(record[0].quantised, record[-1].quantised,
                  history->layers * sizeof *record->quantised) == 0;
}

/* The strategy is content with what was tried last. */
static void drop_last(qf_auto_history *history)
{
    qf_auto_record *last = &history->records[--history->count];
    qf_free(last->order);
    qf_free(last->quantised);
    *last = (qf_auto_record){0};
}

qf_status qf_auto_search_run(qf_auto_search *s)
{
    qf_auto_history *history = s->history;
    QF_TRY(s->strategy->initialize(s->strategy->user, s->context, history->layers, history->names,
                                   s->sensitivity));
    for (int step = 1;; step++) {
        qf_auto_record *record;
        bool stop = false;
        QF_TRY(ask(s, &stop, &record));
        keep_together(s, record);
        if (stop && repeats_last(history)) {
            drop_last(history);
            break;
        }
        if (qf_auto_float_layers(record, history->layers) == history->layers) {
            record->satisfied = true; /* else there would have been no search */
            record->difference = s->original_difference;
            s->all_float = true;
            break;
        }
        QF_TRY(s->attempt(s->user, history->count - 1, record));
        qf_auto_log_step(s->context, history, step, record);
        if (stop)
            break;
    }
    return QF_OK;
}
