/* The net of tests of bits. */
#include "harness/bits_net.h"

#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"
#include "toolkit/prepare/graph.h"

static const char net_text[] =
    "layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 8 dim: 1 dim: 28 dim: "
    "28 } } }"
    "layer { name: 'c1' type: 'Convolution' bottom: 'data' top: 'c1' convolution_param { "
    "num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: 'msra' } } }"
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }"
    "layer { name: 'c2' type: 'Convolution' bottom: 'c1' top: 'c2' convolution_param { "
    "num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } }"
    "layer { name: 'c3' type: 'Convolution' bottom: 'c2' top: 'c3' convolution_param { "
    "num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } }"
    "layer { name: 'r3' type: 'ReLU' bottom: 'c3' top: 'c3' }"
    "layer { name: 'pool' type: 'Pooling' bottom: 'c3' top: 'pool' pooling_param { pool: AVE "
    "kernel_size: 2 stride: 2 } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip' inner_product_param { "
    "num_output: 10 weight_filler { type: 'xavier' } } }"
    "layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }";

int test_bits_start(void **state)
{
    qf_net *net;
    test_start_in_folder(state);
    qf_context_set_seed(context, 1);
    test_write_text(context, "net.prototxt", net_text);
    if (qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net) ||
        qf_net_save_weights(net, "net.caffemodel"))
        return -1;
    qf_net_destroy(net);
    return qf_make_digits(context, "train_lmdb", "test_lmdb", 64, 32, 1) == QF_OK ? 0 : -1;
}

char *test_bits_text(const char *name)
{
    qf_buffer text = {0};
    assert_ok(context, qf_file_read_text(context, name, &text));
    char *copy = qf_strdup(qf_buffer_text(&text));
    assert_non_null(copy);
    qf_buffer_release(&text);
    return copy;
}

qf_status test_bits_prepare(void)
{
    return qf_create_quant_retrain_model(context, "net.prototxt", "net.caffemodel", "config.json",
                                         "qat.prototxt", "qat.caffemodel", "record.txt");
}

/* What the quantisers in front of a layer have. */
void test_assert_bits(const char *layer, int weights, int activations)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read(context, "qat.prototxt", &net));
    const int at = qf_graph_find(net, layer);
    assert_true(at >= 0);
    const int weight_qat = qf_graph_producer(net, net->layer[at]->bottom[0], at);
    const Caffe__RetrainWeightQuantParameter *w =
        net->layer[weight_qat]->retrain_weight_quant_param;
    const int qat =
        w ? qf_graph_producer(net, net->layer[weight_qat]->bottom[0], weight_qat) : weight_qat;
    const Caffe__RetrainDataQuantParameter *d = net->layer[qat]->retrain_data_quant_param;
    assert_non_null(d);
    assert_int_equal(d->num_bits, activations);
    assert_int_equal(d->has_num_bits, activations != 8); /* AMCT's files stay as they are */
    if (w) {
        assert_int_equal(w->num_bits, weights);
        assert_int_equal(w->has_num_bits, weights != 8);
    }
    qf_message_free(net);
}
