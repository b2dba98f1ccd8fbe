/* What all forms of the report say in the same words. */
#ifndef QF_TOOLKIT_REPORT_WORDING_H
#define QF_TOOLKIT_REPORT_WORDING_H

#include "qaffe/qaffe.h"

/* How bad a ratio of signal to noise is, for bars and colours: 0 (60 dB or exact) … 1 (10 dB). */
double qf_badness(double decibels);
/* "40.6", "exact", "-". Texts are put into `out`, which is returned. */
const char *qf_decibels_text(double decibels, char *out, size_t size);
/* "4, 8": of weights and of the input; "-, 8" without weights. */
const char *qf_bits_text(const qf_report_layer *layer, char *out, size_t size);
const char *qf_score_text(double score, char *out, size_t size);
const char *qf_bytes_text(double bytes, char *out, size_t size);
const char *qf_speed_text(double images_per_second, char *out, size_t size);
/* "input", "weights", "N, bias": where most of the noise comes from. "-": there is none. */
const char *qf_main_cause(const qf_report_layer *layer, double *share);
void qf_shifts_of(const qf_report_layer *layer, int *least, int *most);
/* The least headroom of its channels in bits; NAN: none has any. */
double qf_least_headroom(const qf_report_layer *layer);

/* The models of a report, as they stand in a table. */
typedef struct qf_reported_model {
    const char *name;
    size_t bytes; /* 0: no file of its own */
    double speed; /* NAN: was not measured */
} qf_reported_model;
enum { QF_REPORTED_MODELS = 4 };
/* False: it was not made. */
bool qf_report_model(const qf_report *report, int model, qf_reported_model *out);
double qf_report_score(const qf_qat_score *score, int model);

#endif
