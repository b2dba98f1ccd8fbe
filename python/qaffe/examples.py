"""A small net, its weights and data: for examples and tests; nothing is downloaded."""
from __future__ import annotations

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

_DECOMPOSABLE = """
name: 'decomposable'
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 2 dim: 12 dim: 12 } } }
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'
  convolution_param { num_output: 6 kernel_size: 8 weight_filler { type: 'xavier' } } }
"""

_LINE = """
layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 }
  data_filler { type: 'gaussian' } data_filler { type: 'constant' value: 1 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { num_output: 2
  weight_filler { type: 'gaussian' std: 0.1 } } }
layer { name: 'loss' type: 'EuclideanLoss' bottom: 'ip' bottom: 'y' top: 'loss' }
"""

_TRAIN = """
name: 'digits'
layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: TRAIN }
  transform_param { scale: 0.00390625 } data_param { source: '%(train)s' batch_size: 32 backend: LMDB } }
layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: TEST }
  transform_param { scale: 0.00390625 } data_param { source: '%(test)s' batch_size: 50 backend: LMDB } }
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'
  convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: 'xavier' } } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip'
  inner_product_param { num_output: 10 weight_filler { type: 'xavier' } } }
layer { name: 'accuracy' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'accuracy' include { phase: TEST } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }
"""

_SOLVER = """
net: '%(net)s' test_iter: 4 test_interval: %(iterations)d test_initialization: false
base_lr: 0.05 momentum: 0.9 lr_policy: 'fixed' max_iter: %(iterations)d snapshot: %(iterations)d
snapshot_prefix: '%(prefix)s' random_seed: 1 display: 50
"""


def _write(path: str, text: str) -> str:
    with open(path, "w") as file:
        file.write(text)
    return path


def small_net() -> str:
    """The path of a .prototxt: one convolution, one inner product, 3 classes; 2 images of 1 x 8 x 8."""
    return _write(os.path.join(tempfile.mkdtemp(), "small.prototxt"), _SMALL)


def _with_random_weights(model: str) -> tuple[str, str]:
    import caffe
    weights = model.replace(".prototxt", ".caffemodel")
    caffe.Net(model, caffe.TEST).save(weights)
    return model, weights


def small_model() -> tuple[str, str]:
    """small_net() with random weights: (.prototxt, .caffemodel)."""
    return _with_random_weights(small_net())


def decomposable_model() -> tuple[str, str]:
    """One convolution of 8 x 8, which auto_decomposition() makes two of: (.prototxt, .caffemodel)."""
    return _with_random_weights(_write(os.path.join(tempfile.mkdtemp(), "decomposable.prototxt"), _DECOMPOSABLE))


def _message(*fields) -> bytes:
    """A protobuf message of (number, value): numbers below 128, texts and messages below 128 bytes."""
    made = b""
    for number, value in fields:
        if isinstance(value, int):
            made += bytes([number << 3, value])
        else:
            value = value.encode() if isinstance(value, str) else value
            made += bytes([number << 3 | 2, len(value)]) + value
    return made


def onnx_model() -> str:
    """The path of an ONNX model: y = Relu(x · w + b), 3 values to 2, the batch open."""
    import struct
    sizes = [_message((1, _message((2, "N")))), _message((1, _message((1, 3))))]
    weights = [_message((1, 2), (1, 3), (2, 1), (8, "w"), (9, struct.pack("<6f", 1, 2, 3, 4, 5, 6))),
               _message((1, 2), (2, 1), (8, "b"), (9, struct.pack("<2f", -7, 7)))]
    nodes = [_message((1, "x"), (1, "w"), (1, "b"), (2, "p"), (3, "fc"), (4, "Gemm"),
                      (5, _message((1, "transB"), (3, 1)))),
             _message((1, "p"), (2, "y"), (3, "relu"), (4, "Relu"))]
    value = _message((1, "x"), (2, _message((1, _message((1, 1), (2, b"".join(sizes)))))))
    graph = _message(*[(1, node) for node in nodes], (2, "example"), *[(5, one) for one in weights], (11, value),
                     (12, _message((1, "y"))))
    name = os.path.join(tempfile.mkdtemp(), "example.onnx")
    with open(name, "wb") as file:
        file.write(_message((1, 8), (8, _message((2, 13)))) + bytes([7 << 3 | 2, len(graph) & 127 | 128, len(graph) >> 7]) + graph)
    return name


def small_solver() -> str:
    """The path of a solver.prototxt that trains a line through random points; it takes no snapshots."""
    folder = tempfile.mkdtemp()
    net = _write(os.path.join(folder, "net.prototxt"), _LINE)
    return _write(os.path.join(folder, "solver.prototxt"),
                  "net: '%s' base_lr: 0.01 lr_policy: 'fixed' max_iter: 10 snapshot_after_train: false" % net)


def write_solver(path: str, net: str, iterations: int, prefix: str) -> str:
    """Write a solver.prototxt that tests and takes its snapshot after the last iteration."""
    return _write(path, _SOLVER % {"net": net, "iterations": iterations, "prefix": prefix})


def digits(folder: str, iterations: int = 100) -> tuple[str, str]:
    """A trained classifier of drawn digits, with its data, in `folder`: (.prototxt, .caffemodel)."""
    import caffe
    from . import _library
    train, test = os.path.join(folder, "train_lmdb"), os.path.join(folder, "test_lmdb")
    _library.call(_library.library.qf_make_digits, _library.context, train.encode(), test.encode(), 2000, 200, 1)
    net = _write(os.path.join(folder, "digits.prototxt"), _TRAIN % {"train": train, "test": test})
    prefix = os.path.join(folder, "digits")
    caffe.SGDSolver(write_solver(os.path.join(folder, "solver.prototxt"), net, iterations, prefix)).solve()
    return net, "%s_iter_%d.caffemodel" % (prefix, iterations)
