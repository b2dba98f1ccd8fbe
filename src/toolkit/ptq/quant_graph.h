/* A float net on its way to int8 without training: what qf_quant_graph holds between the steps. */
#ifndef QF_TOOLKIT_PTQ_QUANT_GRAPH_H
#define QF_TOOLKIT_PTQ_QUANT_GRAPH_H

#include "toolkit/config/ptq_config.h"
#include "toolkit/export/quantised.h"

typedef enum qf_graph_file {
    QF_GRAPH_CONFIG,
    QF_GRAPH_MODEL,
    QF_GRAPH_WEIGHTS,
    QF_GRAPH_RECORD,
    QF_GRAPH_FILES
} qf_graph_file;

/* Codes of a layer's weights that were learned with these scales, in place of the nearest ones. */
typedef struct qf_learned_codes {
    int8_t *code; /* NULL: the nearest ones */
    float *scale;
    size_t count, scales;
} qf_learned_codes;

struct qf_quant_graph {
    char *file[QF_GRAPH_FILES];
    Caffe__NetParameter *model; /* as read: the configuration borrows from it */
    qf_config config;           /* enabled are layers of the TEST phase only */
    qf_quantised_net quantised; /* folded; its layers are those of the last export */
    qf_learned_codes *learned;  /* for each layer of the configuration; NULL: of none */
    qf_equalise equalise;       /* what was done to the weights before */
};

/* The layers of a model's TEST phase, in every phase from now on. */
qf_status qf_ptq_view(qf_context *context, Caffe__NetParameter *model, Caffe__NetParameter **out);
/* The same with their blobs. */
qf_status qf_ptq_take_net(qf_context *context, Caffe__NetParameter *model,
                          const Caffe__NetParameter *weights, Caffe__NetParameter **out);
/* Folds what the configuration lets it fold. Once: behind what was folded there may be another
 * BatchNorm, which stays. */
qf_status qf_ptq_fold(qf_context *context, const qf_config *config, qf_quantised_net *quantised);
/* A layer's factors as its entry of the record says; its codes, of the weights in `net`. */
qf_status qf_ptq_take_factors(qf_context *context, qf_quantised_net *quantised,
                              const Caffe__LayerParameter *layer, const qf_record_entry *entry);
/* Room for codes of layer `index` of the configuration, which begin as those of `from`. */
qf_status qf_quant_graph_learned(qf_context *context, qf_quant_graph *graph, size_t index,
                                 const qf_quantised *from);
/* Once calibration has filled the record: the layers of `quantised`, ready to be exported. */
qf_status qf_quant_graph_take(qf_context *context, qf_quant_graph *graph);
/* The same, exported, and nothing else: what lies beside the models is the caller's. */
qf_status qf_quant_graph_export(qf_context *context, qf_quant_graph *graph, qf_save_type save_type,
                                const char *save_path);
/* The file with the weights of a graph whose models are at `save_path`, where equalised ones are
 * left; those of an earlier run go. */
qf_status qf_quant_graph_weights(qf_context *context, const qf_quant_graph *graph,
                                 const char *save_path, char **out);
/* Reads the record of a model, whose net carries its blobs, and checks each entry. */
qf_status qf_ptq_read_record(qf_context *context, const char *record_file, const char *model_file,
                             const Caffe__NetParameter *net, qf_record_stage stage,
                             qf_record **out);

#endif
