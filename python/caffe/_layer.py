"""Layers written in Python, and how the library calls them."""
import importlib
import importlib.util
from ctypes import byref

from qaffe import _library
from qaffe._library import check, context, library
from ._blob import BlobVec, layer_blob
from .proto import caffe_pb2


class Layer:
    """Base of layers written in Python: `type: "Python"`, `python_param { module: 'm' layer: 'Class' }`.

    Override setup(bottom, top), reshape(bottom, top), forward(bottom, top) and
    backward(top, propagate_down, bottom); bottom and top are lists of Blob. `param_str`, `phase` and
    `blobs` are there from setup() on. An exception ends the running call and is raised from it.

    >>> import caffe
    >>> class Double(caffe.Layer):
    ...     def reshape(self, bottom, top):
    ...         top[0].reshape(*bottom[0].shape)
    ...     def forward(self, bottom, top):
    ...         top[0].data[...] = 2 * bottom[0].data
    ...     def backward(self, top, propagate_down, bottom):
    ...         bottom[0].diff[...] = 2 * top[0].diff
    >>> Double().blobs
    []
    """

    param_str, phase, name, type = "", caffe_pb2.TRAIN, "", "Python"

    param_str_ = property(lambda self: self.param_str, doc="The name that param_str had before Caffe 1.0.")

    def __init__(self, *_unused):
        self.blobs = BlobVec()

    def setup(self, bottom, top):
        """Called once, when the net is built."""

    def reshape(self, bottom, top):
        """Give the tops their shapes; called before each forward()."""

    def forward(self, bottom, top):
        """Compute the tops' data."""
        raise NotImplementedError("%s.forward" % type(self).__name__)

    def backward(self, top, propagate_down, bottom):
        """Compute the bottoms' diff, for those that propagate_down, a list of bool, names."""


python_layers = {}  # number → (layer object, its handle)
_next_python_layer = 1


def _bottoms(layer):
    return [layer_blob(library.qf_layer_bottom(layer, i)) for i in range(library.qf_layer_bottom_count(layer))]


def _tops(layer):
    return [layer_blob(library.qf_layer_top(layer, i)) for i in range(library.qf_layer_top_count(layer))]


def run_python(work):
    """Python code inside a C call: arrays in step before and after, exceptions kept for later."""
    try:
        check(library.qf_views_show(context))
        work()
        check(library.qf_views_take(context))
        return 0
    except BaseException as exception:  # it must not fall through C, not even KeyboardInterrupt
        return _library.hold(exception)


def _setup(_user, handle, state):
    def work():
        global _next_python_layer
        module = importlib.import_module(library.qf_layer_python_module(handle).decode())
        kind = getattr(module, library.qf_layer_python_class(handle).decode())
        layer = kind()
        if not hasattr(layer, "blobs"):  # an __init__ that did not call ours
            layer.blobs = BlobVec()
        layer.param_str = library.qf_layer_python_text(handle).decode()
        layer.phase = library.qf_layer_phase(handle)
        layer.name = library.qf_layer_name(handle).decode()
        layer.blobs._layer = handle
        layer.setup(_bottoms(handle), _tops(handle))
        layer.blobs._layer = None
        python_layers[_next_python_layer] = layer
        state[0] = _next_python_layer
        _next_python_layer += 1

    return run_python(work)


def _layer_of(handle, state):
    layer = python_layers[state]
    for index, blob in enumerate(layer.blobs):
        now = library.qf_layer_blob(handle, index)
        if now != blob._handle:  # nets have begun to share weights
            layer.blobs[index] = layer_blob(now)
    return layer


def _reshape(_user, handle, state):
    return run_python(lambda: _layer_of(handle, state).reshape(_bottoms(handle), _tops(handle)))


def _forward(_user, handle, state):
    return run_python(lambda: _layer_of(handle, state).forward(_bottoms(handle), _tops(handle)))


def _backward(_user, handle, state):
    propagate = [library.qf_layer_propagates(handle, i) for i in range(library.qf_layer_bottom_count(handle))]
    return run_python(lambda: _layer_of(handle, state).backward(_tops(handle), propagate, _bottoms(handle)))


def _destroy(_user, state):
    python_layers.pop(state, None)


def _has(_user, module, _kind):
    """Whether Python has the layer's module; where it has not, a built-in type may stand in."""
    try:
        return importlib.util.find_spec(module.decode()) is not None
    except ModuleNotFoundError:  # a package that it is in is not there
        return False
    except BaseException:  # what else is wrong with it, its import tells
        return True


_functions = _library.PythonLayers(
    _library.PythonLayers.Setup(_setup), _library.PythonLayers.Call(_reshape),
    _library.PythonLayers.Call(_forward), _library.PythonLayers.Call(_backward),
    _library.PythonLayers.Destroy(_destroy), _library.PythonLayers.Has(_has))
_library.check(library.qf_context_set_python_layers(context, byref(_functions), None))
