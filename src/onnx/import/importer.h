/* What the parts of the import of ONNX models share. An importer walks over the nodes of a graph in
 * their order and keeps, for each name, what it stands for: elements that are known (initialisers
 * and what follows from them) or a blob of the Caffe net that grows meanwhile. All shapes are
 * known, since those of the inputs are. */
#ifndef QF_ONNX_IMPORT_IMPORTER_H
#define QF_ONNX_IMPORT_IMPORTER_H

#include "base/names.h"
#include "model/model.h"
#include "model/onnx.pb-c.h"
#include "model/record.h"
#include "tensor/tensor.h"

/* A blob of the net. */
typedef struct qf_import_blob {
    const char *name; /* the string of a layer's top */
    int layer;        /* which wrote it */
    qf_shape shape;
} qf_import_blob;

typedef struct qf_import_value {
    const char *name;
    int index;
    qf_shape shape;
    int readers; /* inputs of nodes and outputs of the graph */
    bool whole;  /* of a blob: whole numbers, as ArgMax gives them */
    /* A blob: its name, and the layer that wrote it, which may still be changed; QF_NO_LAYER: it
     * may not be. */
    const char *blob;
    int layer;
    /* Zeros around the images of the blob that the next convolution or pooling takes as its padding
     * (top, left, bottom, right). */
    bool padded;
    int pads[4];
    /* Or elements: of one kind, or still in a tensor of the model. */
    const Onnx__Tensor *tensor;
    const float *floats;
    const int64_t *integers;
    void *owned; /* what they lie in; NULL: the model */
    /* What QuantizeLinear and DequantizeLinear say; `scale` NULL: nothing. */
    const struct qf_import_value *scale, *zero; /* elements; zero NULL: 0 */
    int scale_axis;
    int code_type; /* Onnx__Tensor__DataType */
    bool is_codes; /* between the two nodes */
} qf_import_value;

enum { QF_NO_LAYER = -1 };

typedef struct qf_importer {
    qf_context *context;
    const Onnx__Model *model;
    int opset;
    Caffe__NetParameter *net; /* with weights */
    qf_record *record;        /* of layers whose ranges the model says */
    qf_import_value **values;
    size_t value_count, value_capacity;
    qf_names value_of;                /* name → index of values */
    qf_names readers_of;              /* name → how many inputs of nodes and outputs */
    qf_names layer_names, blob_names; /* that are taken */
    uint64_t bytes;                   /* of elements that were made */
    size_t unused_ranges;             /* of QuantizeLinear, that a record cannot hold */
    /* the node that is being read */
    const Onnx__Node *node;
    qf_import_value **inputs; /* NULL: left out */
    size_t input_count, input_capacity;
} qf_importer;

/* Converts the graph: im->net has all layers, im->record what is known of ranges. */
qf_status qf_import_graph(qf_importer *im, int batch, const char *shapes);
void qf_importer_release(qf_importer *im);

/* ---- values and their elements (import_value.c) ---- */

qf_import_value *qf_import_find(const qf_importer *im, const char *name); /* NULL: none */
/* A new value of that name; NULL, and the failure said: no memory, or the name has one. */
qf_status qf_import_new_value(qf_importer *im, const char *name, qf_import_value **out);
qf_status qf_import_count_reader(qf_importer *im, const char *name); /* before all nodes */
/* Output `output` of the node stands for the same as `value`. */
qf_status qf_import_alias(qf_importer *im, int output, qf_import_value *value);
/* dims as a shape; more axes or elements than are possible fail. */
qf_status qf_import_shape(qf_importer *im, const int64_t *dims, size_t count, qf_shape *out);
/* So many bytes more will be needed: may they be? */
qf_status qf_import_take_memory(qf_importer *im, size_t count, size_t size);
/* Zeroed elements, which belong to the value. */
qf_status qf_import_make_floats(qf_importer *im, qf_import_value *value, const qf_shape *shape,
                                float **out);
qf_status qf_import_make_integers(qf_importer *im, qf_import_value *value, const qf_shape *shape,
                                  int64_t **out);
/* Elements of a tensor of the model (import_tensor.c). */
qf_status qf_import_load(qf_importer *im, qf_import_value *value);

static inline bool qf_import_is_constant(const qf_import_value *value)
{
    return value->floats || value->integers;
}
static inline double qf_import_element(const qf_import_value *value, size_t i)
{
    return value->floats ? (double)value->floats[i] : (double)value->integers[i];
}

/* ---- the node at hand (import_node.c) ---- */

/* "node 'conv1' (Conv): …", QF_E_UNSUPPORTED: it cannot be said in Caffe. */
qf_status qf_import_refuse(qf_importer *im, const char *format, ...) QF_PRINTF(2, 3);
/* The same, QF_E_FORMAT: the model is wrong. */
qf_status qf_import_damaged(qf_importer *im, const char *format, ...) QF_PRINTF(2, 3);
const Onnx__Attribute *qf_import_attribute(const qf_importer *im,
                                           const char *name); /* NULL: none */
int64_t qf_import_int(const qf_importer *im, const char *name, int64_t fallback);
float qf_import_float(const qf_importer *im, const char *name, float fallback);
bool qf_import_says(const qf_importer *im, const char *name,
                    const char *word); /* a text attribute */
/* Is there such an attribute that says something else than what is taken where there is none? */
bool qf_import_says_other(const qf_importer *im, const char *name, const char *word);

typedef struct qf_import_list { /* of whole numbers; values NULL: not given */
    const int64_t *values;
    size_t count;
} qf_import_list;
/* By an attribute, or by input `index`, which later opsets have in its place (-1: never). It must
 * be known. */
qf_status qf_import_list_of(qf_importer *im, const char *attribute, int index, qf_import_list *out);
/* Attributes with one number for each of `count` axes: `fallback` where there is none. */
qf_status qf_import_sizes(qf_importer *im, const char *attribute, int count, int fallback,
                          int lowest, int *out);
/* An axis, which may count from the end, as one of `axes`. */
qf_status qf_import_axis(qf_importer *im, int64_t axis, int axes, int *out);
qf_import_value *qf_import_input(const qf_importer *im, size_t index); /* NULL: left out */
/* Input `index`, which must be given, and known: floats; its number of elements, or any (0). */
qf_status qf_import_floats(qf_importer *im, size_t index, size_t count, const float **out);
/* One number that is known; `fallback` where the input is left out. */
qf_status qf_import_scalar(qf_importer *im, size_t index, double fallback, double *out);

/* ---- layers (import_layer.c) ---- */

/* Sets an optional field of a message. */
#define QF_SET(message, field, value_) ((message)->has_##field = true, (message)->field = (value_))

/* Sets a text, which may be the default that all messages share. */
qf_status qf_import_set_text(qf_importer *im, char **field, const char *text);
/* Input `index` as a blob: elements that are known become a Parameter layer. */
qf_status qf_import_blob_input(qf_importer *im, size_t index, qf_import_blob *out);
/* A layer at the end of the net, named after the node and, where it is one of several, `tail`. */
qf_status qf_import_add_layer(qf_importer *im, const char *type, const char *tail,
                              Caffe__LayerParameter **out);
qf_status qf_import_add_bottom(qf_importer *im, Caffe__LayerParameter *layer,
                               const qf_import_blob *blob);
/* A top of the last layer, named as it or, if that is taken, with a number. */
qf_status qf_import_add_top(qf_importer *im, Caffe__LayerParameter *layer, const qf_shape *shape,
                            qf_import_blob *out);
/* A layer with one bottom and one top. `in` and `out` may be one. */
qf_status qf_import_chain(qf_importer *im, const char *type, const char *tail,
                          const qf_import_blob *in, const qf_shape *shape, qf_import_blob *out,
                          Caffe__LayerParameter **layer);
/* Weights of a layer, copied; NULL: zeros. */
qf_status qf_import_give(qf_importer *im, Caffe__LayerParameter *layer, const qf_shape *shape,
                         const float *values);
/* Output `index` of the node is this blob. */
qf_status qf_import_define(qf_importer *im, size_t index, const qf_import_blob *blob);
/* The layer that wrote a value, if nobody else reads it, so that it may be changed; NULL. */
Caffe__LayerParameter *qf_import_own_layer(const qf_importer *im, const qf_import_value *value,
                                           const char *type);

/* Layers that several operators come to. */
qf_status qf_import_reshape(qf_importer *im, const char *tail, const qf_import_blob *in,
                            const qf_shape *shape, qf_import_blob *out);
qf_status qf_import_permute(qf_importer *im, const char *tail, const qf_import_blob *in,
                            const int *order, qf_import_blob *out);
/* y = (shift + scale · x)^power (import_arithmetic.c) */
qf_status qf_import_power(qf_importer *im, const char *tail, const qf_import_blob *in, double power,
                          double scale, double shift, qf_import_blob *out);
/* Elements `from` to `to` of an axis. */
qf_status qf_import_cut(qf_importer *im, const char *tail, const qf_import_blob *in, int axis,
                        int from, int to, qf_import_blob *out);
qf_status qf_import_tile(qf_importer *im, const char *tail, const qf_import_blob *in, int axis,
                         int times, qf_import_blob *out);

/* Makes the layer of a padded value that nobody could take as padding of its own (import_pad.c). */
qf_status qf_import_add_padding(qf_importer *im, qf_import_value *value);
qf_status qf_import_blob_of(qf_importer *im, qf_import_value *value, qf_import_blob *out);

/* ---- what nodes become ---- */

typedef struct qf_import_operator {
    const char *type;
    /* Of inputs whose elements are all known; NULL: as the other. */
    qf_status (*fold)(qf_importer *im, int detail);
    qf_status (*convert)(qf_importer *im, int detail);
    int detail; /* for functions that serve several */
} qf_import_operator;

const qf_import_operator *qf_import_find_operator(const char *type); /* NULL: not known here */
const char *qf_import_operator_type(size_t index);                   /* NULL: there are no more */

/* ---- ranges (import_quantised.c) ---- */

/* The layer computes with input 0 and with weights that are input 1, whose outputs are along `axis`
 * of them (-1: it has none): notes what the model says of their ranges in the record. */
qf_status qf_import_note_ranges(qf_importer *im, Caffe__LayerParameter *layer, int axis);

/* ---- when all nodes are read (import_tidy.c) ---- */

/* Drops layers that nobody needs, lets the usual layers work in place, and gives the blobs that are
 * outputs the names that the model has for them. */
qf_status qf_import_tidy(qf_importer *im);

#endif
