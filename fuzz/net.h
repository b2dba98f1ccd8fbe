/* A small net that targets read files for: one convolution, one inner product, BatchNorm. */
#define FUZZ_NET                                                                                   \
    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label'"                              \
    "  dummy_data_param { shape { dim: 2 dim: 2 dim: 5 dim: 5 } shape { dim: 2 } } }"              \
    "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'"                          \
    "  convolution_param { num_output: 3 kernel_size: 3 } }"                                       \
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'conv' top: 'conv' }"                            \
    "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }"                               \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip'"                             \
    "  inner_product_param { num_output: 2 } }"                                                    \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' }"
