/* A counting of values, which go into the bins as a sweep shows them. */
#include "device/reference/first_range.h"
#include "device/reference/sweep_stages.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* Behind qf_ifmr_count of this family. */
typedef struct count {
    qf_ifmr_data *data;
    bool finite;
    uint32_t bins[QF_IFMR_DATA_BINS];
} count;

qf_status qf_reference_count_begin(qf_context *context, qf_ifmr_data *data, qf_ifmr_count **out)
{
    count *c = qf_alloc(1, sizeof *c);
    *out = (qf_ifmr_count *)c;
    if (!c)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    c->data = data;
    c->finite = true;
    return QF_OK;
}

void qf_reference_count_add(qf_ifmr_count *of, const float *values, size_t n)
{
    count *c = (count *)of;
    for (size_t i = 0; i < n; i++)
        c->finite &= isfinite(values[i]) != 0;
    if (!c->finite)
        return;
    memset(c->bins, 0, sizeof c->bins);
    qf_reference_count_values(c->data, values, n, c->bins);
}

bool qf_reference_count_end(qf_ifmr_count *of)
{
    const bool finite = ((const count *)of)->finite;
    qf_reference_count_destroy(of);
    return finite;
}

void qf_reference_count_destroy(qf_ifmr_count *of)
{
    qf_free(of);
}
