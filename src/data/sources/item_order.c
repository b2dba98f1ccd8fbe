/* Orders of items, shuffled at each epoch, and the way back to a place in one. */
#include "data/sources/item_order.h"

#include "base/memory.h"

static void shuffle(qf_item_order *order)
{
    if (order->order)
        qf_epoch_order(&order->shuffle, order->epoch, order->order, order->count);
}

qf_status qf_item_order_start(qf_context *context, size_t count, bool shuffled, qf_random *random,
                              qf_item_order *out)
{
    *out = (qf_item_order){.count = count};
    if (!shuffled)
        return QF_OK;
    out->shuffle = qf_random_fork(random);
    out->order = qf_alloc(count, sizeof *out->order);
    if (!out->order)
        return qf_fail(context, QF_E_MEMORY, "no memory to shuffle %zu items", count);
    shuffle(out);
    return QF_OK;
}

void qf_item_order_release(qf_item_order *order)
{
    qf_free(order->order);
    *order = (qf_item_order){0};
}

size_t qf_item_order_item(const qf_item_order *order)
{
    return order->order ? order->order[order->position] : order->position;
}

void qf_item_order_advance(qf_item_order *order)
{
    if (++order->position < order->count)
        return;
    order->position = 0;
    order->epoch++;
    shuffle(order);
}

void qf_item_order_where(const qf_item_order *order, qf_data_state *out)
{
    out->epoch = order->epoch;
    out->position = order->position;
    out->shuffle = order->shuffle;
}

qf_status qf_item_order_go(qf_context *context, qf_item_order *order, const qf_data_state *to,
                           const char *source)
{
    if (to->position >= order->count)
        return qf_fail(context, QF_E_MISMATCH, "%s has %zu items, but the run stood at item %llu",
                       source, order->count, (unsigned long long)to->position);
    order->position = (size_t)to->position;
    order->epoch = to->epoch;
    order->shuffle = to->shuffle;
    shuffle(order);
    return QF_OK;
}

/* ---- for states that begin with an order ---- */

void qf_ordered_where(const void *state, qf_data_state *out)
{
    qf_item_order_where(state, out);
}

qf_status qf_ordered_count(qf_context *context, void *state, uint64_t *out)
{
    (void)context;
    *out = ((const qf_item_order *)state)->count;
    return QF_OK;
}

uint64_t qf_ordered_next_item(const void *state)
{
    return qf_item_order_item(state);
}

qf_status qf_ordered_skip(qf_context *context, void *state)
{
    (void)context;
    qf_item_order_advance(state);
    return QF_OK;
}
