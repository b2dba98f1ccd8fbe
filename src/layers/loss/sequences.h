/*
 * Scores of sequences, (steps, sequences, classes), and the labels beside them, in the layouts of
 * the forks that compute CTC:
 *  - labels (sequences, length), ended by −1 or filled up by the blank (caffe_ocr);
 *  - indicators (steps, sequences), 0 where a sequence begins, and labels (length, sequences),
 * ended by −1 (the pull request for Caffe);
 *  - numbers of steps and of labels of each sequence, and labels (length, sequences).
 */
#ifndef QF_LAYERS_LOSS_SEQUENCES_H
#define QF_LAYERS_LOSS_SEQUENCES_H

#include "layers/layer.h"

typedef enum qf_sequence_layout {
    QF_SEQUENCES_PLAIN, /* no labels: all steps */
    QF_SEQUENCES_ROWS,
    QF_SEQUENCES_INDICATED,
    QF_SEQUENCES_COUNTED,
} qf_sequence_layout;

typedef struct qf_sequences {
    qf_sequence_layout layout;
    size_t steps, count, classes;
    int blank;
    int first_label;                      /* the class of label 0 */
    const qf_blob *lengths;               /* indicators, or numbers of steps; NULL: all steps */
    const qf_blob *label_counts, *labels; /* NULL: none */
    size_t label_room;                    /* of one sequence */
} qf_sequences;

/* Shapes of the bottoms; `blank` negative: the last class. */
qf_status qf_sequences_find(const qf_layer *layer, qf_sequence_layout layout, int blank,
                            qf_sequences *out);
/* How many steps sequence `index` has. */
qf_status qf_sequences_steps(const qf_layer *layer, const qf_sequences *s, size_t index,
                             size_t *steps);
/* Its labels, of which there is room for label_room. */
qf_status qf_sequences_labels(const qf_layer *layer, const qf_sequences *s, size_t index,
                              int *labels, size_t *count);

#endif
