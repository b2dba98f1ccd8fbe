"""Blobs, layers, nets and solvers over libqaffe: what pycaffe has in C++."""
import importlib
import time
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_void_p

import numpy as np
from google.protobuf import text_format  # scripts expect that importing caffe imports it

from qaffe import _library
from qaffe._library import Interruptible, call, check, compute, context, discard, library, path, turn
from .proto import caffe_pb2

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST

# ---- blobs ----


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


class _Handle:
    """A net, solver or blob of the library; destroyed with the last Python object that needs it."""

    def __init__(self, value, destroy):
        self.value, self._destroy = value, destroy

    def __del__(self):
        discard(self._destroy, self.value)


def _layer_blob(handle):
    """A blob in the hands of a Python layer, which may keep it longer than its net lives."""
    return Blob(handle, _Handle(library.qf_blob_retain(handle), library.qf_blob_release))


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
        self.append(_layer_blob(library.qf_layer_blob(self._layer, index)))


# ---- layers written in Python ----


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

    param_str, phase, name, type = "", TRAIN, "", "Python"

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


_python_layers = {}  # number → (layer object, its handle)
_next_python_layer = 1


def _bottoms(layer):
    return [_layer_blob(library.qf_layer_bottom(layer, i)) for i in range(library.qf_layer_bottom_count(layer))]


def _tops(layer):
    return [_layer_blob(library.qf_layer_top(layer, i)) for i in range(library.qf_layer_top_count(layer))]


def _run(work):
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
        _python_layers[_next_python_layer] = layer
        state[0] = _next_python_layer
        _next_python_layer += 1

    return _run(work)


def _layer_of(handle, state):
    layer = _python_layers[state]
    for index, blob in enumerate(layer.blobs):
        now = library.qf_layer_blob(handle, index)
        if now != blob._handle:  # nets have begun to share weights
            layer.blobs[index] = _layer_blob(now)
    return layer


def _reshape(_user, handle, state):
    return _run(lambda: _layer_of(handle, state).reshape(_bottoms(handle), _tops(handle)))


def _forward(_user, handle, state):
    return _run(lambda: _layer_of(handle, state).forward(_bottoms(handle), _tops(handle)))


def _backward(_user, handle, state):
    propagate = [library.qf_layer_propagates(handle, i) for i in range(library.qf_layer_bottom_count(handle))]
    return _run(lambda: _layer_of(handle, state).backward(_tops(handle), propagate, _bottoms(handle)))


def _destroy(_user, state):
    _python_layers.pop(state, None)


_functions = _library.PythonLayers(
    _library.PythonLayers.Setup(_setup), _library.PythonLayers.Call(_reshape),
    _library.PythonLayers.Call(_forward), _library.PythonLayers.Call(_backward),
    _library.PythonLayers.Destroy(_destroy))
library.qf_context_set_python_layers(context, byref(_functions), None)


# ---- nets ----


class NetLayer:
    """One layer of a net: name, type and parameter blobs."""

    def __init__(self, name, kind, blobs):
        self.name, self.type, self.blobs = name, kind, blobs


class _Net:
    """What Net is built on; caffe.pycaffe adds the methods that scripts use."""

    @classmethod
    def _from_solver(cls, value, solver):
        net = cls.__new__(cls)
        net._attach(value, solver)
        return net

    def _create(self, network_file, phase, level=0, stages=None, weights=None):
        net = c_void_p()
        stages = [stage.encode() for stage in stages or []]
        compute(library.qf_net_create, context, path(network_file), phase, level,
                (c_char_p * len(stages))(*stages), len(stages), byref(net))
        handle = _Handle(net, library.qf_net_destroy)
        self._attach(net, handle)
        if weights is not None:
            self.copy_from(weights)

    def _attach(self, value, keep):
        self._value, self._keep = value, keep
        self.name = library.qf_net_name(value).decode()
        blobs = range(library.qf_net_blob_count(value))
        layers = range(library.qf_net_layer_count(value))
        self._blob_names = [library.qf_net_blob_name(value, i).decode() for i in blobs]
        self._blobs = BlobVec(Blob(library.qf_net_blob_at(value, i), keep) for i in blobs)
        self._blob_loss_weights = [library.qf_net_loss_weight(value, i) for i in blobs]
        self._layer_names = [library.qf_net_layer_name(value, i).decode() for i in layers]
        self._inputs = [library.qf_net_input(value, i) for i in range(library.qf_net_input_count(value))]
        self._outputs = [library.qf_net_output(value, i) for i in range(library.qf_net_output_count(value))]
        self._layer_params = [BlobVec(Blob(library.qf_net_layer_param(value, i, k), keep)
                                      for k in range(library.qf_net_layer_param_count(value, i))) for i in layers]
        self.layers = [self._layer(i) for i in layers]

    def _layer(self, index):
        """A layer as scripts see it: one written in Python is the object itself."""
        python_layer = library.qf_net_layer_python_state(self._value, index)
        if python_layer is not None:
            return _python_layers[python_layer]
        kind = library.qf_net_layer_type(self._value, index).decode()
        return NetLayer(self._layer_names[index], kind, self._layer_params[index])

    def _bottom_ids(self, layer):
        return [library.qf_net_layer_bottom(self._value, layer, i)
                for i in range(library.qf_net_layer_bottom_count(self._value, layer))]

    def _top_ids(self, layer):
        return [library.qf_net_layer_top(self._value, layer, i)
                for i in range(library.qf_net_layer_top_count(self._value, layer))]

    def _forward(self, first, last):
        loss = c_float()
        compute(library.qf_net_forward_range, self._value, first, last, byref(loss))
        return loss.value

    def _backward(self, first, last):
        compute(library.qf_net_backward_range, self._value, first, last)

    def reshape(self):
        """Give all blobs the shapes that follow from the inputs' shapes."""
        compute(library.qf_net_reshape, self._value)

    def copy_from(self, weights):
        """Copy parameters from a .caffemodel (or .h5) into the layers of the same names. OSError if it
        cannot be read, ValueError if it is damaged or a shape differs; then nothing has changed."""
        compute(library.qf_net_load_weights, self._value, path(weights))

    def share_with(self, other):
        """Use the parameters of the layers of the same names in `other` from now on."""
        compute(library.qf_net_share_weights, self._value, other._value)
        self._shared = getattr(self, "_shared", []) + [other._keep]
        for index, params in enumerate(self._layer_params):
            for k, blob in enumerate(params):
                blob._handle = library.qf_net_layer_param(self._value, index, k)

    def save(self, filename):
        """Write the parameters to a .caffemodel."""
        compute(library.qf_net_save_weights, self._value, path(filename))

    def save_hdf5(self, filename, write_diff=False):
        """Write the parameters, and with write_diff their gradients, to an HDF5 file as Caffe's."""
        compute(library.qf_net_save_weights_hdf5, self._value, path(filename), write_diff)

    def load_hdf5(self, filename):
        """Read what save_hdf5() of ours or Caffe's wrote; the name ends in .h5."""
        self.copy_from(filename)

    def clear_param_diffs(self):
        """Set the gradients of all parameters to zero."""
        with turn:
            check(library.qf_views_take(context))
            library.qf_net_clear_param_diffs(self._value)
            check(library.qf_views_show(context))


# ---- solvers ----


class SolverParam:
    """The settings of a solver, as attributes; setting one takes effect at once."""

    def __init__(self, solver):
        message = caffe_pb2.SolverParameter()
        with turn:
            text = library.qf_solver_settings(solver._value)
        if text is None:
            raise MemoryError("no memory for a solver's settings")
        text_format.Merge(text.decode(), message)
        object.__setattr__(self, "_solver", solver)
        object.__setattr__(self, "_message", message)

    def __getattr__(self, name):
        return getattr(self._message, name)

    def __setattr__(self, name, value):
        setattr(self._message, name, value)
        call(library.qf_solver_change_settings, self._solver._value, str(self._message).encode())

    def __str__(self):
        return str(self._message)


class Solver:
    """Trains a net as a solver.prototxt says. Log lines are Caffe's, on stderr; Ctrl-C stops.

    `net` is the training net, `test_nets` those of the TEST phase, which share its parameters. OSError if a
    file cannot be read, ValueError if it makes no sense or the loss becomes NaN.

    >>> import caffe, qaffe.examples
    >>> solver = caffe.SGDSolver(qaffe.examples.small_solver())
    >>> solver.step(2)
    >>> solver.iter, round(solver.lr, 3)
    (2, 0.01)
    >>> solver.param.base_lr = 0.02
    >>> round(solver.lr, 3)
    0.02
    """

    _type = None  # of the file
    _net_class = None  # set by pycaffe

    def __init__(self, solver_file):
        value = c_void_p()
        kind = self._type.encode() if self._type else None
        compute(library.qf_solver_create_as, context, path(solver_file), kind, byref(value))
        self._value, self._keep = value, _Handle(value, library.qf_solver_destroy)
        self.net = self._net_class._from_solver(library.qf_solver_net(value), self._keep)
        self.test_nets = [
            self._net_class._from_solver(library.qf_solver_test_net(value, i), self._keep)
            for i in range(library.qf_solver_test_net_count(value))]
        self._callbacks, self._interrupt = [], Interruptible()
        self._action = _library.ActionFunction(lambda _user: 2 if self._interrupt.wanted else 0)
        self._iteration = _library.IterationFunction(self._on_iteration)
        library.qf_solver_set_callbacks(value, self._action, _library.ProgressFunction(), None)

    def _on_iteration(self, _user, gradients_ready):
        def work():
            for on_start, on_gradients_ready in self._callbacks:
                (on_gradients_ready if gradients_ready else on_start)()

        return _run(work)

    def _train(self, function, *arguments):
        """Ctrl-C stops between iterations instead of waiting for the end."""
        with Interruptible() as self._interrupt:
            compute(function, self._value, *arguments)

    iter = property(lambda self: library.qf_solver_iteration(self._value), doc="Iterations done.")
    lr = property(lambda self: library.qf_solver_learning_rate(self._value), doc="Learning rate now.")
    param = property(SolverParam, doc="The settings; see SolverParam.")

    def step(self, iterations):
        """Train this many iterations. ValueError, with the layer's name, if the loss becomes NaN."""
        self._train(library.qf_solver_step, iterations)

    def solve(self, resume_file=None):
        """Train to max_iter, with tests and snapshots; first restore a .solverstate if one is given."""
        if resume_file:
            self.restore(resume_file)
        self._train(library.qf_solver_solve)

    def restore(self, solverstate):
        """Go on from a snapshot."""
        compute(library.qf_solver_restore, self._value, path(solverstate))

    def snapshot(self):
        """Write <snapshot_prefix>_iter_<N>.caffemodel and .solverstate."""
        compute(library.qf_solver_snapshot, self._value)

    def apply_update(self):
        """Change the parameters by their gradients, at this iteration's rate."""
        compute(library.qf_solver_apply_update, self._value)

    def share_weights(self, net):
        """Let another net use the parameters of the training net."""
        net.share_with(self.net)

    def add_callback(self, on_start, on_gradients_ready):
        """Call on_start() before each iteration and on_gradients_ready() before its update."""
        self._callbacks.append((on_start, on_gradients_ready))
        library.qf_solver_set_iteration_callback(self._value, self._iteration, None)


def _solver_class(kind):
    return type(kind + "Solver", (Solver,), {
        "_type": kind, "__doc__": """A solver of type %s, whatever the file says. Methods and errors: see Solver.

    >>> import caffe, qaffe.examples
    >>> solver = caffe.%sSolver(qaffe.examples.small_solver())
    >>> solver.step(1)
    >>> solver.iter
    1
    """ % (kind, kind)})


SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver = map(
    _solver_class, ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])


def get_solver(solver_file):
    """The solver that a solver.prototxt describes, of the type it names. Errors: see Solver.

    >>> import caffe, qaffe.examples
    >>> caffe.get_solver(qaffe.examples.small_solver()).param.type
    'SGD'
    """
    return Solver(solver_file)


# ---- the rest of the module ----

_state = {"solver_count": 1, "solver_rank": 0, "multiprocess": False}


def set_mode_cpu():
    """Compute on the CPU, as this build always does.

    >>> import caffe
    >>> caffe.set_mode_cpu()
    """


def set_mode_gpu():
    """RuntimeError: this build has no GPU code.

    >>> import caffe
    >>> caffe.set_mode_gpu()
    Traceback (most recent call last):
    RuntimeError: this build of qaffe has no GPU code; call caffe.set_mode_cpu()
    """
    raise RuntimeError("this build of qaffe has no GPU code; call caffe.set_mode_cpu()")


def set_device(device):
    """Accepted for scripts' sake; nothing is computed on a GPU.

    >>> import caffe
    >>> caffe.set_device(0)
    """


def set_random_seed(seed):
    """Make fillers, dropout and shuffling draw the same numbers in each run.

    >>> import caffe, qaffe.examples
    >>> def draw():
    ...     caffe.set_random_seed(1)
    ...     return caffe.Net(qaffe.examples.small_net(), caffe.TEST).params['ip'][0].data
    >>> (draw() == draw()).all().item()
    True
    """
    library.qf_context_set_seed(context, seed)


def solver_count():
    """How many solvers work together: what set_solver_count() said; qaffe uses one.

    >>> import caffe
    >>> caffe.solver_count()
    1
    """
    return _state["solver_count"]


def set_solver_count(count):
    """Remember a number of solvers, for scripts that ask for it again.

    >>> import caffe
    >>> caffe.set_solver_count(1)
    """
    _state["solver_count"] = count


def solver_rank():
    """Which of the solvers this is: what set_solver_rank() said.

    >>> import caffe
    >>> caffe.solver_rank()
    0
    """
    return _state["solver_rank"]


def set_solver_rank(rank):
    """Remember a rank, for scripts that ask for it again.

    >>> import caffe
    >>> caffe.set_solver_rank(0)
    """
    _state["solver_rank"] = rank


def set_multiprocess(value):
    """Accepted for scripts' sake: training in several processes needs NCCL.

    >>> import caffe
    >>> caffe.set_multiprocess(False)
    """
    _state["multiprocess"] = value


def has_nccl():
    """Can several GPUs train together?

    >>> import caffe
    >>> caffe.has_nccl()
    False
    """
    return False


def init_log(level=0, _directory=None):
    """Log from this level on: 0 info, 1 warning, 2 error; on stderr. GLOG_minloglevel does the same.

    >>> import caffe
    >>> caffe.init_log(2)
    """
    _library.set_log_level(min(level + 1, 3))


def log(message):
    """Write a line to stderr in the form of the library's.

    >>> import caffe
    >>> caffe.log('half way')
    """
    _library._write(None, 1, b"python", 0, message.encode())


def layer_type_list():
    """The layer types that a net can use, in alphabetical order.

    >>> import caffe
    >>> 'Convolution' in caffe.layer_type_list()
    True
    """
    names = []
    while (name := library.qf_layer_type_name(len(names))) is not None:
        names.append(name.decode())
    return names


class NCCL:
    """Several GPUs need a build with NCCL; as in Caffe's CPU build this only says so.

    >>> import caffe
    >>> caffe.NCCL.new_uid()
    Traceback (most recent call last):
    RuntimeError: this build of qaffe has no NCCL
    """

    def __init__(self, *_unused):
        raise RuntimeError("this build of qaffe has no NCCL")

    @staticmethod
    def new_uid():
        """RuntimeError."""
        raise RuntimeError("this build of qaffe has no NCCL")


class Timer:
    """A stopwatch in milliseconds.

    >>> import caffe
    >>> timer = caffe.Timer()
    >>> timer.start()
    >>> timer.stop()
    >>> timer.ms >= 0
    True
    """

    def __init__(self):
        self._start = self._stop = 0.0

    def start(self):
        """Start, or start again."""
        self._start = time.perf_counter()

    def stop(self):
        """Stop; `ms` keeps its value until the next start()."""
        self._stop = time.perf_counter()

    @property
    def ms(self):
        """Milliseconds from start to stop."""
        return 1000 * (self._stop - self._start)
