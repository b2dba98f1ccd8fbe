/* LSTM: c = cont f c_before + i g, h = o tanh(c), with the gates i, f, o, g from
 * W_hc (cont h_before) + W_xc x + b_c (+ W_xc_static x_static). */
#include "net/recurrent/recurrent.h"

static void write_step(qf_buffer *out, int t, const qf_recurrent_text *text)
{
    const int before = t - 1;
    qf_buffer_print(out,
                    "layer { name: 'transform_%d' type: 'InnerProduct' bottom: 'h_conted_%d' "
                    "top: 'W_hc_h_%d' param { name: 'W_hc' } inner_product_param { num_output: %d "
                    "axis: 2 bias_term: false weight_filler { %s } } }\n",
                    t, before, before, 4 * text->outputs, text->weights);
    qf_buffer_print(out,
                    "layer { name: 'gate_input_%d' type: 'Eltwise' bottom: 'W_hc_h_%d' "
                    "bottom: 'W_xc_x_%d'%s top: 'gate_input_%d' eltwise_param { operation: SUM } "
                    "}\n",
                    t, before, t, text->has_static ? " bottom: 'W_xc_x_static'" : "", t);
    qf_buffer_print(out,
                    "layer { name: 'unit_%d' type: 'LSTMUnit' bottom: 'c_%d' "
                    "bottom: 'gate_input_%d' bottom: 'cont_%d' top: 'c_%d' top: 'h_%d' }\n",
                    t, before, t, t, t, t);
}

static const qf_recurrence lstm = {
    .state_count = 2,
    .states = {"h", "c"},
    .output = "h",
    .gates = 4,
    .input = "xc",
    .input_bias = "b_c",
    .write_step = write_step,
};

static qf_status setup(qf_layer *layer)
{
    return qf_recurrent_setup(layer, &lstm);
}

const qf_layer_type qf_lstm_layer = {
    .name = "LSTM",
    QF_RECURRENT_TYPE,
    QF_BOTTOMS(2, 5),
    QF_TOPS(1, 3),
    .setup = setup,
};
