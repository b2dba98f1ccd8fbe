"""Small nets and data that examples and tests use; nothing is downloaded."""
import os
import tempfile

_SMALL = """
name: 'small'
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 1 dim: 8 dim: 8 } } }
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'xavier' } } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip'
  inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } }
layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }
"""


def small_net():
    """The path of a .prototxt of a net with one convolution and one inner product, 3 classes."""
    path = os.path.join(tempfile.mkdtemp(), "small.prototxt")
    with open(path, "w") as file:
        file.write(_SMALL)
    return path
