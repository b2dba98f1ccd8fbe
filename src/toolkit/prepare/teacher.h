/* The float net as a teacher within the net that is trained: layers "teacher/<name>" that only the
 * TRAIN phase has, and losses between their outputs and the student's. */
#ifndef QF_TOOLKIT_PREPARE_TEACHER_H
#define QF_TOOLKIT_PREPARE_TEACHER_H

#include "toolkit/prepare/graph.h"

#define QF_TEACHER_PREFIX "teacher/"

/* What the student is to learn from the teacher. */
typedef struct qf_lesson {
    char *blob;       /* of the float net */
    char *reader;     /* the layer that reads it as scores; NULL: as it is at the end of the net */
    int bottom;       /* of the reader */
    int at, producer; /* indices in the TRAIN net: who reads it, or its end; who writes it */
    bool squared;     /* else scores of classes along the axis */
    int axis;
    float weight;               /* beside other lessons */
    Caffe__LossParameter *loss; /* how the reader normalises; NULL: it does not say */
} qf_lesson;

typedef struct qf_lessons {
    qf_lesson *list;
    size_t count, capacity;
    bool all_classify; /* no output among them but scores of classes */
} qf_lessons;

/* Of a net in its TRAIN phase: scores in front of Softmax and its losses, what other losses
 * compare, and, where there is neither, the outputs; then `blobs`, names with commas between (NULL:
 * none). Release it also after a failure. */
qf_status qf_lessons_find(qf_context *context, const Caffe__NetParameter *train, const char *blobs,
                          qf_lessons *out);
void qf_lessons_release(qf_lessons *lessons);

typedef struct qf_teacher {
    qf_lessons lessons;
    Caffe__NetParameter *layers;    /* with their weights; NULL: there is no teacher */
    Caffe__LayerParameter *silence; /* reads labels and tops that nobody wants; or has no bottom */
    float weight;                   /* of what it says; losses of labels have the rest */
    float temperature;
    bool no_labels;
} qf_teacher;

/* Its temperature and weight, with their defaults. */
qf_status qf_teacher_numbers(qf_context *context, const qf_retrain_options *options,
                             qf_teacher *out);
/* A row of a plan, where it is to teach. */
qf_status qf_teacher_plan(qf_context *context, const char *model_file,
                          const qf_retrain_options *options, qf_plan *plan);
/* From the float net, before anything is inserted into it. Release it also after a failure. */
qf_status qf_teacher_make(qf_context *context, const Caffe__NetParameter *net,
                          const Caffe__NetParameter *weights, const qf_retrain_options *options,
                          qf_teacher *out);
/* Into the net that is trained: the layers, the lessons, and what becomes of its labels. */
qf_status qf_teacher_insert(qf_context *context, const qf_teacher *teacher,
                            Caffe__NetParameter *net);
/* The stored layer of a teacher's; NULL: it has none of this name. */
const Caffe__LayerParameter *qf_teacher_weights(const qf_teacher *teacher, const char *name);
void qf_teacher_release(qf_teacher *teacher);

/* ---- parts (distil_labels.c) ---- */

/* The tops of sources that no layer with parameters sees become bottoms of `out`. */
qf_status qf_labels_list(qf_context *context, const Caffe__NetParameter *train,
                         Caffe__LayerParameter *out);
/* Fails where a layer computes from labels what the net is to learn. */
qf_status qf_labels_check(qf_context *context, const Caffe__NetParameter *train);
/* In TRAIN, losses count by this factor; without labels, all that reads labels is gone there. */
qf_status qf_labels_weigh(qf_context *context, Caffe__NetParameter *net, float factor,
                          bool no_labels);
bool qf_layer_feeds(const Caffe__LayerParameter *layer);
/* A loss, an accuracy or a sink: it looks at values, and others compute nothing on what it says. */
bool qf_layer_is_judge(const Caffe__LayerParameter *layer);
/* For each layer: do its values depend on parameters? */
void qf_layers_learned(const Caffe__NetParameter *net, bool *learned);
/* Is it a type that a solver minimises, or one that the model weighs so? */
bool qf_layer_is_loss(const Caffe__LayerParameter *layer);

/* *lacking, where it is 0: 1 if none of the images that the net trains on has a label. */
qf_status qf_distil_find_labels(qf_context *context, const Caffe__NetParameter *net, int *lacking);
/* Should the float net teach, as `options` says, and are there labels? What was left to the data
 * ("auto", no_labels) is settled in *options (distil_data.c). `choice`: what QF_DISTIL_DEFAULT
 * means here. */
qf_status qf_distil_settle(qf_context *context, const char *model_file, qf_distil choice,
                           qf_retrain_options *options);

#endif
