/* How often a layer's input has which value: bins that grow with what comes, so that memory does
 * not depend on how much that is. */
#ifndef QF_TOOLKIT_REPORT_INPUT_HISTOGRAM_H
#define QF_TOOLKIT_REPORT_INPUT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { QF_INPUT_BINS = 2048, QF_SHOWN_BINS = 64 };

typedef struct qf_input_histogram {
    double reach; /* the bins cover -reach … reach, a power of two; 0: nothing but zeros yet */
    double low, high;
    uint64_t count, zeros, below, above, odd; /* odd: NaN and infinite ones */
    uint64_t bin[QF_INPUT_BINS];
} qf_input_histogram;

/* Values below `low` and above `high` are counted as such, too. */
void qf_input_histogram_add(qf_input_histogram *h, const float *values, size_t count, double low,
                            double high);

/* The same in at most QF_SHOWN_BINS bins of one width, over what there was and `low` … `high`. */
typedef struct qf_shown_histogram {
    double low, high;
    size_t bins;
    uint64_t bin[QF_SHOWN_BINS];
} qf_shown_histogram;
void qf_input_histogram_show(const qf_input_histogram *h, double low, double high,
                             qf_shown_histogram *out);

#endif
