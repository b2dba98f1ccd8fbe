"""Nets and solvers over libqaffe, and all else that pycaffe has in C++ (blobs: _blob.py, layers written in Python: _layer.py)."""
import time
from ctypes import byref, c_char_p, c_float, c_void_p

from google.protobuf import text_format  # scripts expect that importing caffe imports it

from qaffe import _devices, _library
from qaffe._library import Interruptible, call, check, compute, context, library, path, turn
from ._blob import Blob, BlobVec, Handle
from ._layer import Layer, python_layers, run_python
from .proto import caffe_pb2

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST

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

    def _make(self, function, source, phase, level, stages):
        net = c_void_p()
        stages = [stage.encode() for stage in stages or []]
        compute(function, context, *source, phase, level, (c_char_p * len(stages))(*stages), len(stages), byref(net))
        handle = Handle(net, library.qf_net_destroy)
        self._attach(net, handle)

    def _create(self, network_file, phase, level=0, stages=None, weights=None):
        self._make(library.qf_net_create, [path(network_file)], phase, level, stages)
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
        self._named_blobs = {name: library.qf_net_blob_index(value, name.encode()) for name in self._blob_names}
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
            return python_layers[python_layer]
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
    file cannot be read, ValueError if it makes no sense or the training diverges, as far as `on_divergence` says so:
    'auto' (nets with layers that quantise stop; others warn, and stop where the loss is not finite), 'stop',
    'warn', 'ignore'.

    >>> import caffe, qaffe.examples
    >>> solver = caffe.SGDSolver(qaffe.examples.small_solver())
    >>> solver.step(2)
    >>> solver.iter, round(solver.lr, 3)
    (2, 0.01)
    >>> solver.on_divergence = 'warn'
    >>> solver.param.base_lr = 0.02
    >>> round(solver.lr, 3)
    0.02
    """

    _type = None  # of the file
    _net_class = None  # set by pycaffe
    _on_divergence = "auto"

    def __init__(self, solver_file):
        value = c_void_p()
        kind = self._type.encode() if self._type else None
        compute(library.qf_solver_create_as, context, path(solver_file), kind, byref(value))
        self._value, self._keep = value, Handle(value, library.qf_solver_destroy)
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

        return run_python(work)

    def _train(self, function, *arguments):
        """Ctrl-C stops between iterations instead of waiting for the end."""
        with Interruptible() as self._interrupt:
            compute(function, self._value, *arguments)

    iter = property(lambda self: library.qf_solver_iteration(self._value), doc="Iterations done.")
    lr = property(lambda self: library.qf_solver_learning_rate(self._value), doc="Learning rate now.")
    param = property(SolverParam, doc="The settings; see SolverParam.")

    @property
    def on_divergence(self):
        """What happens when the training diverges; see the class."""
        return self._on_divergence

    @on_divergence.setter
    def on_divergence(self, reaction):
        if reaction not in _library.DIVERGENCE:
            raise ValueError("on_divergence must be one of %s, but is '%s'" %
                             (", ".join(_library.DIVERGENCE), reaction))
        with turn:
            library.qf_solver_on_divergence(self._value, _library.DIVERGENCE.index(reaction))
        self._on_divergence = reaction

    def step(self, iterations):
        """Train this many iterations. ValueError if the training diverges: see on_divergence."""
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

_state = {"solver_count": 1, "solver_rank": 0, "multiprocess": False, "device": 0}


def set_mode_cpu():
    """Compute on the CPU: what is done without being asked.

    >>> import caffe
    >>> caffe.set_mode_cpu()
    """
    _devices.leave_gpu()


def set_mode_gpu():
    """Compute on the GPU that set_device() named. RuntimeError where there is none.

    >>> import caffe
    >>> caffe.set_mode_gpu()
    Traceback (most recent call last):
    RuntimeError: cuda:0: there is no GPU to compute on: this build of qaffe has code for the CPU only...
    """
    _devices.set_gpu(_state["device"])


def set_device(device):
    """The number of the GPU for set_mode_gpu().

    >>> import caffe
    >>> caffe.set_device(0)
    """
    _state["device"] = int(device)


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
