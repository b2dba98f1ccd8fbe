"""Nets and weights that are no files."""
from __future__ import annotations

from ctypes import byref, c_size_t, c_void_p, string_at
from typing import Optional, Sequence, Union

from ._library import compute, library


def net_from_text(text: Union[str, bytes], phase: int, *, level: int = 0, stages: Optional[Sequence[str]] = None,
                  weights: Optional[bytes] = None):
    """A caffe.Net of the text of a .prototxt, such as str(net_spec.to_proto()); weights: what weights_bytes() gave, or
    the bytes of a .caffemodel. ValueError, naming the line or the layer, if it makes no sense.

    >>> import caffe, qaffe
    >>> text = "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }"
    >>> qaffe.net_from_text(text, caffe.TEST).blobs['x'].data.shape
    (2,)
    """
    from caffe import Net  # which is built on this package
    text = text.encode() if isinstance(text, str) else bytes(text)
    net = Net.__new__(Net)
    net._make(library.qf_net_create_from_memory, [text, len(text)], int(phase), level, stages)
    if weights is not None:
        load_weights(net, weights)
    return net


def load_weights(net, weights: bytes) -> None:
    """Copy parameters from the bytes of a .caffemodel, as caffe.Net.copy_from() does from a file. ValueError if they are
    damaged or a shape differs; then nothing has changed.

    >>> import caffe, qaffe, qaffe.examples
    >>> net = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    >>> qaffe.load_weights(net, qaffe.weights_bytes(net)[:-1])
    Traceback (most recent call last):
    ValueError: weights in memory: ...
    """
    weights = bytes(weights)
    compute(library.qf_net_load_weights_from_memory, net._value, weights, len(weights))


def weights_bytes(net) -> bytes:
    """The parameters of a caffe.Net as the bytes of a .caffemodel.

    >>> import caffe, qaffe, qaffe.examples
    >>> net = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    >>> other = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    >>> qaffe.load_weights(other, qaffe.weights_bytes(net))
    >>> name = next(iter(net.params))
    >>> bool((net.params[name][0].data == other.params[name][0].data).all())
    True
    """
    made, size = c_void_p(), c_size_t()
    try:
        compute(library.qf_net_save_weights_to_memory, net._value, byref(made), byref(size))
        return string_at(made, size.value)
    finally:
        library.qf_memory_release(made)
