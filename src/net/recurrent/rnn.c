/* RNN: h = tanh(W_hh (cont h_before) + W_xh x + b_h (+ W_xh_static x_static)),
 * o = tanh(W_ho h + b_o). */
#include "net/recurrent/recurrent.h"

static void write_step(qf_buffer *out, int t, const qf_recurrent_text *text)
{
    const int before = t - 1;
    qf_buffer_print(out,
                    "layer { name: 'W_hh_h_%d' type: 'InnerProduct' bottom: 'h_conted_%d' "
                    "top: 'W_hh_h_%d' param { name: 'W_hh' } inner_product_param { num_output: %d "
                    "axis: 2 bias_term: false weight_filler { %s } } }\n",
                    before, before, before, text->outputs, text->weights);
    qf_buffer_print(out,
                    "layer { name: 'h_input_sum_%d' type: 'Eltwise' bottom: 'W_hh_h_%d' "
                    "bottom: 'W_xh_x_%d'%s top: 'h_neuron_input_%d' "
                    "eltwise_param { operation: SUM } }\n",
                    t, before, t, text->has_static ? " bottom: 'W_xh_x_static'" : "", t);
    qf_buffer_print(out,
                    "layer { name: 'h_neuron_%d' type: 'TanH' bottom: 'h_neuron_input_%d' "
                    "top: 'h_%d' }\n",
                    t, t, t);
    qf_buffer_print(out,
                    "layer { name: 'W_ho_h_%d' type: 'InnerProduct' bottom: 'h_%d' "
                    "top: 'W_ho_h_%d' param { name: 'W_ho' } param { name: 'b_o' } "
                    "inner_product_param { num_output: %d axis: 2 weight_filler { %s } "
                    "bias_filler { %s } } }\n",
                    t, t, t, text->outputs, text->weights, text->bias);
    qf_buffer_print(out,
                    "layer { name: 'o_neuron_%d' type: 'TanH' bottom: 'W_ho_h_%d' top: 'o_%d' }\n",
                    t, t, t);
}

static const qf_recurrence rnn = {
    .state_count = 1,
    .states = {"h"},
    .output = "o",
    .gates = 1,
    .input = "xh",
    .input_bias = "b_h",
    .write_step = write_step,
};

static qf_status setup(qf_layer *layer)
{
    return qf_recurrent_setup(layer, &rnn);
}

const qf_layer_type qf_rnn_layer = {
    .name = "RNN",
    QF_RECURRENT_TYPE,
    QF_BOTTOMS(2, 4),
    QF_TOPS(1, 2),
    .setup = setup,
};
