/* The record of quantisation factors (AMCT specification, section H): a text file with one entry a
 * layer, written by layers while a net runs and read by the exporter. */
#ifndef QF_MODEL_RECORD_H
#define QF_MODEL_RECORD_H

#include "model/model.h"

typedef Amct__ScaleOffsetRecord qf_record;
typedef Amct__SingleLayerRecord qf_record_entry;

/* An empty file is an empty record; a missing one is an error. Of two values of a key the later one
 * counts. */
qf_status qf_record_read(qf_context *context, const char *path, qf_record **out);
qf_status qf_record_write(qf_context *context, const char *path, const qf_record *record);
qf_record_entry *qf_record_find(const qf_record *record, const char *layer); /* NULL: none */
qf_status qf_record_find_or_add(qf_context *context, qf_record *record, const char *layer,
                                qf_record_entry **out);

/* What is set in `from` replaces what `into` has. */
qf_status qf_record_merge(qf_context *context, qf_record *into, const qf_record *from);

/* Replace a list of an entry. */
qf_status qf_record_set_scales(qf_context *context, qf_record_entry *entry, const float *scale,
                               size_t count); /* offset_w becomes zeros of the same number */
qf_status qf_record_set_shifts(qf_context *context, qf_record_entry *entry, const int *shift,
                               size_t count); /* 0: none */

/* ---- do a record's numbers make sense (record_check.c)? Sentences are AMCT's. ---- */

/* Who wrote it, and so what is in it: a user, factors without shifts, and nothing else;
 * calibration, shifts for all weights; training, shifts where a TEST phase came to the end of its
 * search. */
typedef enum qf_record_stage {
    QF_RECORD_GIVEN,
    QF_RECORD_CALIBRATED,
    QF_RECORD_RETRAINED
} qf_record_stage;

typedef struct qf_record_layer {
    const char *name;
    bool quantisable;
    size_t outputs; /* channels, of which each may have a scale; 0: no weights */
} qf_record_layer;

qf_status qf_record_check(qf_context *context, const qf_record_layer *layer,
                          const qf_record_entry *entry, qf_record_stage stage);
/* Says nothing: to be passed over. */
bool qf_record_is_empty(const qf_record_entry *entry);
/* Reads a record that belongs to the model of these layers, and checks every entry. */
qf_status qf_record_read_for(qf_context *context, const char *path, const char *model,
                             const qf_record_layer *layers, size_t count, qf_record_stage stage,
                             qf_record **out);

#endif
