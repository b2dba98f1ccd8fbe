/* What automatic calibration has tried, and with what result. Layers are those that are quantised
 * where nothing is rolled back, in the order of the net. */
#ifndef QF_TOOLKIT_AUTO_AUTO_HISTORY_H
#define QF_TOOLKIT_AUTO_AUTO_HISTORY_H

#include "base/context.h"

/* One configuration. */
typedef struct qf_auto_record {
    size_t *order;   /* indices of layers, as they are listed */
    bool *quantised; /* by the layer's index; false: it stays float */
    bool satisfied;
    double difference;
    qf_metric metric;
} qf_auto_record;

typedef struct qf_auto_history {
    size_t layers;
    const char *const *names; /* of the layers; borrowed */
    qf_auto_record *records;  /* the first is that of all layers quantised */
    size_t count, capacity;
} qf_auto_history;

/* A new record at the end: all layers quantised, in the net's order. */
qf_status qf_auto_history_add(qf_context *context, qf_auto_history *history, qf_auto_record **out);
void qf_auto_history_release(qf_auto_history *history);
size_t qf_auto_float_layers(const qf_auto_record *record, size_t layers);

#endif
