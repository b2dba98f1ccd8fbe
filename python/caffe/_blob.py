"""Blobs: arrays of the library as NumPy sees them."""
from ctypes import byref, c_int, c_void_p

import numpy as np

from qaffe._library import call, compute, discard, library, turn


class _View:
    """Owner of one array: it stays valid, and in step with its blob, until the last array on it is gone,
    even if the net goes first."""

    def __init__(self, blob, diff):
        self._handle, address = c_void_p(), c_void_p()
        with turn:  # so that nobody reshapes in between
            call(library.qf_blob_view, blob._handle, diff, byref(self._handle), byref(address))
            self.__array_interface__ = {"version": 3, "typestr": "<f4", "shape": blob.shape,
                                        "data": (address.value, False)}

    def __del__(self):
        discard(library.qf_view_release, self._handle)


class Blob:
    """A named array of a net and its gradient.

    Shapes are Caffe's, (num, channels, height, width) for images. `data` and `diff` are float32 arrays in
    C order that can be written; what is written is seen by the next forward or backward.

    >>> import caffe, qaffe.examples
    >>> net = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    >>> net.blobs['data'].data[...] = 1
    >>> net.blobs['data'].shape
    (2, 1, 8, 8)
    """

    def __init__(self, handle, owner):
        self._handle, self._owner = handle, owner

    @property
    def data(self):
        """The value, as a writable array of the blob's shape."""
        return np.asarray(_View(self, False))

    @property
    def diff(self):
        """The gradient, as a writable array of the blob's shape."""
        return np.asarray(_View(self, True))

    @property
    def shape(self):
        """The dimensions, a tuple."""
        return tuple(library.qf_blob_dimension(self._handle, axis)
                     for axis in range(library.qf_blob_axes(self._handle)))

    @property
    def count(self):
        """Number of elements."""
        return library.qf_blob_count(self._handle)

    def _legacy(self, axis):
        shape = self.shape
        return shape[axis] if axis < len(shape) else 1

    num = property(lambda self: self._legacy(0), doc="Dimension 0, or 1 if there are fewer.")
    channels = property(lambda self: self._legacy(1), doc="Dimension 1, or 1 if there are fewer.")
    height = property(lambda self: self._legacy(2), doc="Dimension 2, or 1 if there are fewer.")
    width = property(lambda self: self._legacy(3), doc="Dimension 3, or 1 if there are fewer.")

    def reshape(self, *dimensions):
        """Change the shape; the net follows with its next forward or `net.reshape()`. ValueError if a
        dimension is negative or there are more than 32."""
        compute(library.qf_blob_reshape, self._handle, (c_int * len(dimensions))(*dimensions), len(dimensions))


class Handle:
    """A net, solver or blob of the library; destroyed with the last Python object that needs it."""

    def __init__(self, value, destroy):
        self.value, self._destroy = value, destroy

    def __del__(self):
        discard(self._destroy, self.value)


def layer_blob(handle):
    """A blob in the hands of a Python layer, which may keep it longer than its net lives."""
    return Blob(handle, Handle(library.qf_blob_retain(handle), library.qf_blob_release))


class BlobVec(list):
    """The parameters of a layer, a list of Blob. A Python layer adds to its own in setup().

    >>> import caffe, qaffe.examples
    >>> net = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    >>> [blob.shape for blob in net.params['ip']]
    [(3, 144), (3,)]
    """

    _layer = None

    def add_blob(self, *dimensions):
        """One more parameter of this shape, zero; only in setup() of a Python layer."""
        if self._layer is None:
            raise RuntimeError("add_blob is for setup() of a layer written in Python")
        call(library.qf_layer_add_blob, self._layer, (c_int * len(dimensions))(*dimensions), len(dimensions))
        index = library.qf_layer_blob_count(self._layer) - 1
        self.append(layer_blob(library.qf_layer_blob(self._layer, index)))
