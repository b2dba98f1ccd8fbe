/*
 * Lstm (junhyukoh's caffe-lstm, caffe_ocr): an LSTM over sequences of any length. Bottoms: x
 * (steps, sequences, …) or, of batch_size sequences, (steps · sequences, size); perhaps indicators,
 * 0 where a sequence begins. Top: (steps, sequences, num_output), or without the axis of sequences.
 * Without indicators each pass begins anew; with them the state goes on from pass to pass,
 * gradients do not. Parameters: of the input (4D, I), of the output before (4D, D), and a bias; the
 * gates are in, forget, out and change.
 */
#include "device/families/map_math.h"
#include "layers/layer.h"

#include <math.h>
#include <string.h>

enum { OF_INPUT, OF_BEFORE, OF_STEP, PRODUCTS };

typedef struct state {
    int axis; /* where an item of the input begins */
    size_t steps, count, depth;
    /* Of the input and of the outputs before in all steps; of the latter in one. */
    qf_inner_product_shape shape[PRODUCTS];
    qf_inner_product *product[PRODUCTS];
    qf_tensor *gates;   /* (steps, sequences, 4D): what the gates get */
    qf_tensor *slopes;  /* its gradient */
    qf_tensor *cells;   /* (steps, sequences, D) */
    qf_tensor *befores; /* the outputs of the steps before; 0 where a sequence begins */
    qf_tensor *step_output, *step_gates; /* of one step */
    qf_tensor *first_cell;               /* before the first step of the last pass */
    qf_blob *last_cell, *last_output;    /* behind the last step: what goes on */
} state;

QF_LAYER_PARAM_OF(lstm_param, LSTM, LSTM)

static qf_status find_sizes(qf_layer *layer)
{
    const Caffe__LSTMParameter *p = param_of(layer);
    const qf_shape *x = qf_blob_shape(layer->bottom[0]);
    state *s = layer->state;
    char text[256];
    s->axis = x->axes > 2 ? 2 : 1;
    s->count = x->axes > 2 ? (size_t)x->dim[1] : p->batch_size;
    if (x->axes < 2 || s->count == 0 || (size_t)x->dim[0] % (x->axes > 2 ? 1 : s->count))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must be steps x sequences x size, or with lstm_param.batch_size "
                       "(%u) sequences a multiple of that x size; it has shape %s",
                       layer->bottom[0]->name, p->batch_size, qf_shape_text(x, text, sizeof text));
    s->steps = (size_t)x->dim[0] / (x->axes > 2 ? 1 : s->count);
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__LSTMParameter *p = param_of(layer);
    const qf_shape *x = qf_blob_shape(layer->bottom[0]);
    qf_context *context = layer->context;
    state *s = layer->state;
    const int depth = (int)p->num_output;
    qf_tensor **tensors[] = {&s->gates,       &s->slopes,     &s->cells,     &s->befores,
                             &s->step_output, &s->step_gates, &s->first_cell};
    if (depth < 1 || depth > INT32_MAX / 4)
        return qf_fail(context, QF_E_VALUE, "lstm_param.num_output is %d, expected 1 or more",
                       depth);
    QF_TRY(find_sizes(layer));
    s->depth = (size_t)depth;
    const int inputs = (int)qf_shape_count_range(x, s->axis, x->axes);
    const qf_shape of_input = qf_shape_make(2, (int[]){4 * depth, inputs});
    const qf_shape of_before = qf_shape_make(2, (int[]){4 * depth, depth});
    const qf_shape bias = qf_shape_make(1, (int[]){4 * depth});
    s->shape[OF_INPUT] = (qf_inner_product_shape){.inputs = inputs, .outputs = 4 * depth};
    s->shape[OF_BEFORE] = s->shape[OF_STEP] =
        (qf_inner_product_shape){.inputs = depth, .outputs = 4 * depth};
    QF_TRY(qf_layer_add_param(layer, &of_input, p->weight_filler));
    QF_TRY(qf_layer_add_param(layer, &of_before, p->weight_filler));
    QF_TRY(qf_layer_add_param(layer, &bias, p->bias_filler));
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        QF_TRY(qf_tensor_create(context, tensors[i]));
    QF_TRY(qf_blob_create(context, "cell", &s->last_cell));
    return qf_blob_create(context, "output", &s->last_output);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    for (int i = 0; i < PRODUCTS; i++)
        layer->device->multiply->destroy(s->product[i]);
    qf_tensor_release(s->gates);
    qf_tensor_release(s->slopes);
    qf_tensor_release(s->cells);
    qf_tensor_release(s->befores);
    qf_tensor_release(s->step_output);
    qf_tensor_release(s->step_gates);
    qf_tensor_release(s->first_cell);
    qf_blob_release(s->last_cell);
    qf_blob_release(s->last_output);
}

static qf_status reshape_tensors(qf_layer *layer)
{
    state *s = layer->state;
    qf_context *context = layer->context;
    const int steps = (int)s->steps, count = (int)s->count, depth = (int)s->depth;
    const qf_shape gates = qf_shape_make(3, (int[]){steps, count, 4 * depth});
    const qf_shape outputs = qf_shape_make(3, (int[]){steps, count, depth});
    const qf_shape step_gates = qf_shape_make(2, (int[]){count, 4 * depth});
    const qf_shape step_output = qf_shape_make(2, (int[]){count, depth});
    QF_TRY(qf_tensor_reshape(context, s->gates, &gates));
    QF_TRY(qf_tensor_reshape(context, s->slopes, &gates));
    QF_TRY(qf_tensor_reshape(context, s->cells, &outputs));
    QF_TRY(qf_tensor_reshape(context, s->befores, &outputs));
    QF_TRY(qf_tensor_reshape(context, s->step_gates, &step_gates));
    QF_TRY(qf_tensor_reshape(context, s->step_output, &step_output));
    QF_TRY(qf_tensor_reshape(context, s->first_cell, &step_output));
    QF_TRY(qf_blob_reshape_to(s->last_cell, &step_output));
    return qf_blob_reshape_to(s->last_output, &step_output);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *x = qf_blob_shape(layer->bottom[0]);
    qf_shape top = *x;
    QF_TRY(find_sizes(layer));
    const size_t inputs = qf_shape_count_range(x, s->axis, x->axes);
    if (inputs != (size_t)s->shape[OF_INPUT].inputs)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the bottom has %zu values an item now, the weights are for %d", inputs,
                       s->shape[OF_INPUT].inputs);
    if (layer->bottom_count > 1 && qf_blob_count(layer->bottom[1]) != s->steps * s->count)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have an indicator for each of %zu steps of %zu sequences, it "
                       "has %zu",
                       layer->bottom[1]->name, s->steps, s->count, qf_blob_count(layer->bottom[1]));
    top.axes = s->axis + 1;
    top.dim[s->axis] = (int)s->depth;
    QF_TRY(qf_blob_reshape_to(layer->top[0], &top));
    QF_TRY(reshape_tensors(layer));
    s->shape[OF_INPUT].rows = s->shape[OF_BEFORE].rows = (int)(s->steps * s->count);
    s->shape[OF_STEP].rows = (int)s->count;
    for (int i = 0; i < PRODUCTS; i++) {
        layer->device->multiply->destroy(s->product[i]);
        s->product[i] = NULL;
        QF_TRY(layer->device->multiply->create(layer->context, &s->shape[i], &s->product[i]));
    }
    return QF_OK;
}

/* ---- forward ---- */

/* Whether row (step, sequence) goes on from the one before; `indicators` NULL: all but the first.
 */
static bool goes_on(const state *s, const float *indicators, size_t row)
{
    return indicators ? indicators[row] != 0 : row >= s->count;
}

static qf_status read_indicators(qf_layer *layer, const float **out)
{
    *out = NULL;
    return layer->bottom_count > 1 ? qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, out)
                                   : QF_OK;
}

/* The state before the first step: of the pass before, or 0. */
static qf_status begin(qf_layer *layer, const float **output)
{
    state *s = layer->state;
    if (layer->bottom_count == 1) {
        qf_tensor_set_zero(s->last_cell->data);
        qf_tensor_set_zero(s->last_output->data);
    }
    QF_TRY(qf_tensor_copy(layer->context, s->first_cell, s->last_cell->data));
    return qf_read(layer->context, s->last_output->data, QF_PLAIN, output);
}

/* Adds to the gates of a step what the outputs before give; these are kept for backward. */
static qf_status add_before(qf_layer *layer, const float *indicators, size_t step,
                            const float *output, float *before, float *gates)
{
    state *s = layer->state;
    const size_t depth = s->depth;
    const float *product;
    float *rows;
    QF_TRY(qf_write(layer->context, s->step_output, QF_PLAIN, &rows));
    for (size_t n = 0; n < s->count; n++)
        if (goes_on(s, indicators, step * s->count + n))
            memcpy(rows + n * depth, output + n * depth, depth * sizeof *rows);
        else
            memset(rows + n * depth, 0, depth * sizeof *rows);
    memcpy(before, rows, s->count * depth * sizeof *before);
    QF_TRY(layer->device->multiply->forward(layer->context, s->product[OF_STEP], s->step_output,
                                            layer->params[1].blob->data, NULL, s->step_gates));
    QF_TRY(qf_read(layer->context, s->step_gates, QF_PLAIN, &product));
    for (size_t i = 0; i < s->count * 4 * depth; i++)
        gates[i] += product[i];
    return QF_OK;
}

static void run_cells(const state *s, const float *indicators, size_t step, const float *gates,
                      const float *cell_before, float *cell, float *output)
{
    for (size_t i = 0; i < s->count * s->depth; i++) {
        const size_t n = i / s->depth, d = i % s->depth;
        const qf_lstm_gates g = qf_lstm_gates_of(gates + n * 4 * s->depth, d, s->depth);
        const float continues = goes_on(s, indicators, step * s->count + n);
        cell[i] = qf_lstm_cell(g, continues, cell_before[i]);
        output[i] = qf_lstm_output(g, cell[i]);
    }
}

static qf_status keep_last(qf_layer *layer, qf_blob *blob, const float *values)
{
    float *out;
    QF_TRY(qf_write(layer->context, blob->data, QF_PLAIN, &out));
    memcpy(out, values, qf_blob_count(blob) * sizeof *out);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const size_t size = s->count * s->depth;
    const float *indicators, *output_before, *cell_before;
    float *gates, *cells, *befores, *y;
    QF_TRY(read_indicators(layer, &indicators));
    QF_TRY(begin(layer, &output_before));
    QF_TRY(layer->device->multiply->forward(layer->context, s->product[OF_INPUT],
                                            layer->bottom[0]->data, layer->params[0].blob->data,
                                            layer->params[2].blob->data, s->gates));
    QF_TRY(qf_update(layer->context, s->gates, QF_PLAIN, &gates));
    QF_TRY(qf_write(layer->context, s->cells, QF_PLAIN, &cells));
    QF_TRY(qf_write(layer->context, s->befores, QF_PLAIN, &befores));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    QF_TRY(qf_read(layer->context, s->first_cell, QF_PLAIN, &cell_before));
    for (size_t t = 0; t < s->steps; t++) {
        QF_TRY(add_before(layer, indicators, t, output_before, befores + t * size,
                          gates + t * 4 * size));
        run_cells(s, indicators, t, gates + t * 4 * size, cell_before, cells + t * size,
                  y + t * size);
        cell_before = cells + t * size;
        output_before = y + t * size;
    }
    return QF_OK;
}

/* Behind the pass, so that forward can be repeated. */
static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    const float *cells, *y;
    if (layer->bottom_count == 1 || s->steps == 0)
        return QF_OK;
    const size_t last = (s->steps - 1) * s->count * s->depth;
    QF_TRY(qf_read(layer->context, s->cells, QF_PLAIN, &cells));
    QF_TRY(qf_read(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    QF_TRY(keep_last(layer, s->last_cell, cells + last));
    return keep_last(layer, s->last_output, y + last);
}

static int carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX])
{
    const state *s = layer->state;
    if (layer->bottom_count == 1)
        return 0;
    blobs[0] = s->last_cell;
    blobs[1] = s->last_output;
    return 2;
}

/* ---- backward ---- */

/* One value's way back through a step: d_cell is that of the cell, and becomes that of the cell
 * before. */
static void unrun_cell(const state *s, const float *gates, size_t d, float continues, float before,
                       float cell, float d_output, float limit, float *d_cell, float *slopes)
{
    const qf_lstm_slopes slope = qf_lstm_gradient(qf_lstm_gates_of(gates, d, s->depth), continues,
                                                  before, cell, *d_cell, d_output);
    *d_cell = slope.before;
    qf_lstm_put(&slope, slopes, d, s->depth);
    for (size_t gate = 0; limit > 0 && gate < 4; gate++) {
        float *its = slopes + gate * s->depth + d;
        *its = fmaxf(-limit, fminf(limit, *its));
    }
}

/* Gradients of the gates in all steps, from the last to the first. */
static qf_status find_slopes(qf_layer *layer)
{
    state *s = layer->state;
    const size_t depth = s->depth, size = s->count * depth;
    const float limit = param_of(layer)->clipping_threshold;
    const float *indicators, *gates, *cells, *first, *dy, *passed = NULL;
    float *slopes, *d_cell, *step;
    QF_TRY(read_indicators(layer, &indicators));
    QF_TRY(qf_read(layer->context, s->gates, QF_PLAIN, &gates));
    QF_TRY(qf_read(layer->context, s->cells, QF_PLAIN, &cells));
    QF_TRY(qf_read(layer->context, s->first_cell, QF_PLAIN, &first));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_write(layer->context, s->slopes, QF_PLAIN, &slopes));
    qf_tensor_set_zero(s->last_cell->diff);
    QF_TRY(qf_update(layer->context, s->last_cell->diff, QF_PLAIN, &d_cell));
    for (size_t t = s->steps; t-- > 0;) {
        const float *before = t ? cells + (t - 1) * size : first;
        QF_TRY(qf_write(layer->context, s->step_gates, QF_PLAIN, &step));
        for (size_t i = 0; i < size; i++) {
            const size_t n = i / depth, row = t * s->count + n;
            unrun_cell(s, gates + row * 4 * depth, i % depth, goes_on(s, indicators, row),
                       before[i], cells[t * size + i], dy[t * size + i] + (passed ? passed[i] : 0),
                       limit, d_cell + i, slopes + row * 4 * depth);
        }
        memcpy(step, slopes + t * 4 * size, 4 * size * sizeof *step);
        for (size_t n = 0; n < s->count; n++)
            if (!goes_on(s, indicators, t * s->count + n))
                memset(step + n * 4 * depth, 0, 4 * depth * sizeof *step);
        QF_TRY(layer->device->multiply->backward_data(layer->context, s->product[OF_STEP],
                                                      s->step_gates, layer->params[1].blob->data,
                                                      s->step_output));
        QF_TRY(qf_read(layer->context, s->step_output, QF_PLAIN, &passed));
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_multiply_family *run = layer->device->multiply;
    QF_TRY(find_slopes(layer));
    if (layer->params[0].propagate)
        QF_TRY(run->backward_weights(layer->context, s->product[OF_INPUT], layer->bottom[0]->data,
                                     s->slopes, layer->params[0].blob->diff));
    if (layer->params[1].propagate)
        QF_TRY(run->backward_weights(layer->context, s->product[OF_BEFORE], s->befores, s->slopes,
                                     layer->params[1].blob->diff));
    if (layer->params[2].propagate)
        QF_TRY(layer->device->reduce->outer_sums(layer->context, s->slopes, 2,
                                                 layer->params[2].blob->diff));
    if (!layer->propagate_down[0])
        return QF_OK;
    return run->backward_data(layer->context, s->product[OF_INPUT], s->slopes,
                              layer->params[0].blob->data, layer->bottom[0]->diff);
}

const qf_layer_type qf_lstm_sequence_layer = {
    .name = "Lstm",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 2),
    QF_TOPS(1, 1),
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .carried = carried,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .conclude = conclude,
    .backward = backward,
    .destroy = destroy,
};
