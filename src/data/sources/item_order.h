/* The items of a source in the order in which they come: as they are, or shuffled anew each epoch.
 */
#ifndef QF_DATA_SOURCES_ITEM_ORDER_H
#define QF_DATA_SOURCES_ITEM_ORDER_H

#include "data/sources/data_source.h"

typedef struct qf_item_order {
    size_t count, position;
    uint64_t epoch;
    size_t *order;     /* NULL: as they are */
    qf_random shuffle; /* what all orders are made from */
} qf_item_order;

/* At the first item of `count`, 1 or more. What orders are made from is drawn from `random`. */
qf_status qf_item_order_start(qf_context *context, size_t count, bool shuffle, qf_random *random,
                              qf_item_order *out);
void qf_item_order_release(qf_item_order *order);

/* Which item is at the present position. */
size_t qf_item_order_item(const qf_item_order *order);
void qf_item_order_advance(qf_item_order *order);

/* As a qf_data_source_type's. `source` is the name for a sentence. */
void qf_item_order_where(const qf_item_order *order, qf_data_state *out);
qf_status qf_item_order_go(qf_context *context, qf_item_order *order, const qf_data_state *to,
                           const char *source);

/* Members of a qf_data_source_type, for sources whose state begins with its qf_item_order. */
void qf_ordered_where(const void *state, qf_data_state *out);
qf_status qf_ordered_count(qf_context *context, void *state, uint64_t *out);
uint64_t qf_ordered_next_item(const void *state);
qf_status qf_ordered_skip(qf_context *context, void *state);
#define QF_ORDERED_MEMBERS                                                                         \
    .where = qf_ordered_where, .count = qf_ordered_count, .item = qf_ordered_next_item,            \
    .skip = qf_ordered_skip

#endif
