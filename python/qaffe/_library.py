"""libqaffe through its public header (qaffe/qaffe.h): loading, signatures, errors, the log.

The packages caffe, amct_caffe and qaffe call the C functions only through this module.
"""
import collections
import ctypes
import datetime
import os
import signal
import sys
import threading
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_bool, c_char_p, c_double, c_float, c_int,
                    c_int64, c_size_t, c_uint64, c_void_p)


def _load():
    here = os.path.dirname(os.path.abspath(__file__))
    names = ["libqaffe.so", "libqaffe.so.0"]  # in the build tree, in a wheel
    candidates = [os.environ.get("QAFFE_LIBRARY")] + [os.path.join(here, name) for name in names] + names[::-1]
    failures = []
    for candidate in filter(None, candidates):
        if os.path.isabs(candidate) and not os.path.exists(candidate):
            continue
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            failures.append(str(error))
    raise ImportError("libqaffe.so cannot be loaded; set QAFFE_LIBRARY to its path (%s)" % "; ".join(failures))


library = _load()

# ---- signatures ----

LogFunction = CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_int, c_char_p)
ActionFunction = CFUNCTYPE(c_int, c_void_p)
IterationFunction = CFUNCTYPE(c_int, c_void_p, c_bool)
PlanFunction = CFUNCTYPE(None, c_void_p, c_void_p)


class Progress(Structure):
    c_name = b"qf_progress"
    _fields_ = [("testing", c_bool), ("iteration", c_int), ("total", c_int), ("loss", c_float),
                ("learning_rate", c_float), ("items_per_second", c_double), ("data_wait", c_double), ("what", c_char_p)]


ProgressFunction = CFUNCTYPE(None, c_void_p, POINTER(Progress))


class Options(Structure):
    """A struct that callers make, which begins with its size."""

    def __init__(self, *values):
        super().__init__(ctypes.sizeof(self), *values)


class PythonLayers(Options):
    c_name = b"qf_python_layers"
    Setup = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(c_void_p))
    Call = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)
    Destroy = CFUNCTYPE(None, c_void_p, c_void_p)
    Has = CFUNCTYPE(c_bool, c_void_p, c_char_p, c_char_p)
    _fields_ = [("size", c_size_t), ("setup", Setup), ("reshape", Call), ("forward", Call), ("backward", Call),
                ("destroy", Destroy), ("has", Has)]


class QatOptions(Options):
    c_name = b"qf_qat_options"
    _fields_ = [("size", c_size_t), ("model", c_char_p), ("weights", c_char_p), ("train_data", c_char_p),
                ("test_data", c_char_p), ("config_definition", c_char_p), ("save_path", c_char_p), ("iterations", c_int),
                ("batch_size", c_int), ("test_iterations", c_int), ("base_lr", c_double), ("momentum", c_double),
                ("weight_decay", c_double), ("scale", c_double), ("mean_file", c_char_p),
                ("mean_values", c_char_p), ("batch_norm", c_int), ("freeze_batch_norm_after", c_int),
                ("on_divergence", c_int), ("show_plan", PlanFunction), ("calibrated_record", c_char_p),
                ("weight_bits", c_int), ("activation_bits", c_int), ("edge_bits", c_int),
                ("validation_data", c_char_p), ("hold_back", c_double), ("keep", c_int), ("patience", c_int),
                ("resume", c_bool), ("equalise", c_int), ("ranges", c_char_p),
                ("distil", c_int), ("no_labels", c_int), ("distil_temperature", c_double),
                ("distil_weight", c_double), ("distil_blobs", c_char_p),
                ("re_estimate_batch_norm", c_int), ("batch_num", c_int),
                ("float_solver", c_char_p), ("epochs", c_int), ("show_training", c_void_p),
                ("average", c_int)]


class QuantOptions(Options):
    c_name = b"qf_quant_options"
    _fields_ = [("size", c_size_t), ("skip_layers", POINTER(c_char_p)), ("skip_layer_count", c_size_t),
                ("batch_num", c_int), ("activation_offset", c_bool), ("config_definition", c_char_p)]


class DataOptions(Options):
    c_name = b"qf_data_options"
    _fields_ = [("size", c_size_t), ("source", c_char_p), ("data_type", c_char_p), ("batch_size", c_int),
                ("resize", c_int), ("scale", c_double), ("mean_file", c_char_p), ("mean_values", c_char_p)]


class PtqOptions(Options):
    c_name = b"qf_ptq_options"
    _fields_ = [("size", c_size_t), ("model", c_char_p), ("weights", c_char_p), ("data", POINTER(DataOptions)),
                ("test_data", c_char_p), ("config", c_char_p), ("quantisation", POINTER(QuantOptions)),
                ("save_path", c_char_p), ("test_iterations", c_int), ("show_plan", PlanFunction),
                ("equalise", c_int), ("bias_correction", c_int),
                ("adaround", c_bool), ("adaround_iterations", c_int)]


class EqualisedRow(Structure):
    c_name = b"qf_equalised_row"
    _fields_ = [("writers", ctypes.c_char * 256), ("readers", ctypes.c_char * 256), ("channels", c_int),
                ("rescaled", c_int), ("spread_before", c_double), ("spread_after", c_double)]


class Equalisation(Structure):
    c_name = b"qf_equalisation"
    _fields_ = [("rows", c_size_t), ("row", POINTER(POINTER(EqualisedRow)))]


class QatRow(Structure):
    c_name = b"qf_qat_row"
    _fields_ = [("name", ctypes.c_char * 128), ("type", ctypes.c_char * 32), ("scale_d", c_float),
                ("offset_d", c_int), ("shift_min", c_int), ("shift_max", c_int), ("weight_sqnr", c_double),
                ("activation_sqnr", c_double), ("weight_bits", c_int), ("activation_bits", c_int)]


class Verification(Structure):
    c_name = b"qf_verification"
    _fields_ = [("compared", c_size_t), ("differing", c_size_t), ("layers", c_int),
                ("largest_distance", c_double), ("layer", ctypes.c_char * 128), ("batch", c_int),
                ("element", c_size_t), ("fake_quant", c_double), ("deploy", c_double)]


class QatScore(Structure):
    c_name = b"qf_qat_score"
    _fields_ = [("name", ctypes.c_char * 128), ("float_score", c_double), ("calibrated_score", c_double),
                ("fake_quant_score", c_double), ("deploy_score", c_double), ("better", c_int)]


class QatResult(Structure):
    c_name = b"qf_qat_result"
    _fields_ = [("score_name", ctypes.c_char * 128), ("float_score", c_double), ("calibrated_score", c_double),
                ("fake_quant_score", c_double), ("deploy_score", c_double), ("float_bytes", c_size_t), ("fake_quant_bytes", c_size_t),
                ("deploy_bytes", c_size_t), ("rows", c_int), ("row", POINTER(POINTER(QatRow))),
                ("verification", POINTER(Verification)), ("scores", c_int), ("score", POINTER(POINTER(QatScore))),
                ("test_items", c_uint64), ("test_batches", c_int), ("remark", ctypes.c_char * 512),
                ("validation_name", ctypes.c_char * 128), ("validation_better", c_int), ("validation_items", c_uint64),
                ("validation_float", c_double), ("validation_calibrated", c_double), ("validation_best", c_double),
                ("validation_last", c_double), ("kept_iteration", c_int), ("last_iteration", c_int),
                ("kept_reason", ctypes.c_char * 256),
                ("iterations", c_int), ("base_lr", c_double),
                ("validation_average", c_double), ("kept_average", c_int)]


class OddBlob(Structure):
    c_name = b"qf_odd_blob"
    _fields_ = [("name", ctypes.c_char * 320), ("values", c_uint64), ("nan", c_uint64), ("infinite", c_uint64),
                ("denormal", c_uint64), ("first", c_uint64)]


class FileCheck(Structure):
    c_name = b"qf_file_check"
    _fields_ = [("has_checksum", c_bool), ("blobs", c_uint64), ("values", c_uint64), ("odd", c_size_t),
                ("odd_blob", POINTER(POINTER(OddBlob)))]


class OnnxOptions(Options):
    c_name = b"qf_onnx_options"
    _fields_ = [("size", c_size_t), ("opset", c_int), ("signed_activations", c_bool), ("keep_shift", c_bool),
                ("shapes", c_char_p), ("verify_batches", c_int), ("data", POINTER(DataOptions))]


class OnnxResult(Structure):
    c_name = b"qf_onnx_result"
    _fields_ = [("nodes", c_size_t), ("initialisers", c_size_t), ("quantised", c_size_t), ("free_batch", c_bool),
                ("batches", c_int), ("answers", c_uint64), ("differing_answers", c_uint64), ("codes", c_uint64),
                ("differing_codes", c_uint64)]


class DecomposedLayer(Structure):
    c_name = b"qf_decomposed_layer"
    _fields_ = [("name", ctypes.c_char * 128), ("kernel", c_int * 4), ("first", c_int * 4), ("last", c_int * 4),
                ("rank", c_int), ("estimated_rank", c_int), ("error", c_double)]


class Decomposition(Structure):
    c_name = b"qf_decomposition"
    _fields_ = [("layers", c_size_t), ("layer", POINTER(POINTER(DecomposedLayer)))]


class ImportOptions(Options):
    c_name = b"qf_import_options"
    _fields_ = [("size", c_size_t), ("shapes", c_char_p), ("batch", c_uint64)]


class OnnxImport(Structure):
    c_name = b"qf_onnx_import"
    _fields_ = [("name", ctypes.c_char * 128), ("operator_set", c_int), ("nodes", c_size_t), ("layers", c_size_t),
                ("parameters", c_uint64), ("ranges", c_size_t), ("lost_ranges", c_size_t)]


class Metric(Structure):
    c_name = b"qf_metric"
    _fields_ = [("object", c_void_p), ("number", c_double), ("text", ctypes.c_char * 256)]


class NuqEvaluator(Options):
    c_name = b"qf_nuq_evaluator"
    Evaluate = CFUNCTYPE(c_int, c_void_p, c_void_p, c_char_p, c_char_p, c_int, POINTER(Metric))
    Satisfied = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(Metric), POINTER(Metric), POINTER(c_bool))
    _fields_ = [("size", c_size_t), ("user", c_void_p), ("evaluate", Evaluate), ("is_satisfied", Satisfied),
                ("evaluate_batches", c_int)]


class NuqRow(Structure):
    c_name = b"qf_nuq_row"
    _fields_ = [("name", ctypes.c_char * 128), ("weights", c_uint64), ("non_uniform", c_bool)]


class NuqResult(Structure):
    c_name = b"qf_nuq_result"
    _fields_ = [("layers", c_size_t), ("layer", POINTER(POINTER(NuqRow))), ("metric", Metric), ("satisfied", c_bool),
                ("attempts", c_int)]


DIVERGENCE = ("auto", "stop", "warn", "ignore")  # qf_divergence

_P, _S, _I = c_void_p, c_char_p, c_int  # object, string, int
_STATUS = c_int
_SIGNATURES = {
    # name: (result, arguments)
    "qf_version": (_S, []),
    "qf_struct_size": (c_size_t, [_S]),
    "qf_status_name": (_S, [_I]),
    "qf_context_create": (_STATUS, [POINTER(_P)]),
    "qf_error_text": (_S, [_P]),
    "qf_context_set_log": (None, [_P, LogFunction, _P, _I]),
    "qf_context_open_amct_log": (_STATUS, [_P]),
    "qf_context_log_amct": (None, [_P, _I, _S, _S]),
    "qf_context_set_threads": (None, [_P, _I]),
    "qf_context_set_seed": (None, [_P, c_int64]),
    "qf_context_keep_unknown_fields": (None, [_P, c_bool]),
    "qf_context_set_until": (_STATUS, [_P, _S]),
    "qf_context_write_checksums": (None, [_P, c_bool]),
    "qf_auto_decomposition": (_STATUS, [_P, _S, _S, _S, _S, ActionFunction, ProgressFunction, _P,
                                        POINTER(POINTER(Decomposition))]),
    "qf_auto_nuq": (_STATUS, [_P, _S, _S, _S, _S, _S, POINTER(NuqEvaluator), POINTER(POINTER(NuqResult))]),
    "qf_nuq_result_destroy": (None, [POINTER(NuqResult)]),
    "qf_decomposition_destroy": (None, [POINTER(Decomposition)]),
    "qf_import_onnx": (_STATUS, [_P, _S, _S, POINTER(ImportOptions), POINTER(POINTER(OnnxImport))]),
    "qf_onnx_import_destroy": (None, [POINTER(OnnxImport)]),
    "qf_equalise_weights": (_STATUS, [_P, _S, _S, _S, POINTER(POINTER(Equalisation))]),
    "qf_equalisation_destroy": (None, [POINTER(Equalisation)]),
    "qf_check_file": (_STATUS, [_P, _S, POINTER(POINTER(FileCheck))]),
    "qf_file_check_destroy": (None, [POINTER(FileCheck)]),
    "qf_device_count": (_I, []),
    "qf_device_name": (_S, [_I]),
    "qf_device_description": (_S, [_I]),
    "qf_device_memory": (c_bool, [_I, POINTER(c_uint64), POINTER(c_uint64)]),
    "qf_context_set_ap_version": (_STATUS, [_P, _S]),
    "qf_context_set_device": (_STATUS, [_P, _S]),
    "qf_context_set_limit": (_STATUS, [_P, _S, c_uint64]),
    "qf_context_set_limits": (_STATUS, [_P, _S]),
    "qf_limit_describe": (_S, [_I, POINTER(c_uint64), POINTER(_S)]),
    "qf_context_set_python_layers": (_STATUS, [_P, POINTER(PythonLayers), _P]),
    "qf_context_fail": (None, [_P, _S]),
    "qf_blob_axes": (_I, [_P]),
    "qf_blob_dimension": (_I, [_P, _I]),
    "qf_blob_count": (c_size_t, [_P]),
    "qf_blob_reshape": (_STATUS, [_P, POINTER(_I), _I]),
    "qf_blob_view": (_STATUS, [_P, c_bool, POINTER(_P), POINTER(_P)]),
    "qf_blob_retain": (_P, [_P]),
    "qf_blob_release": (None, [_P]),
    "qf_view_release": (None, [_P]),
    "qf_views_take": (_STATUS, [_P]),
    "qf_views_show": (_STATUS, [_P]),
    "qf_layer_name": (_S, [_P]),
    "qf_layer_phase": (_I, [_P]),
    "qf_layer_python_module": (_S, [_P]),
    "qf_layer_python_class": (_S, [_P]),
    "qf_layer_python_text": (_S, [_P]),
    "qf_layer_bottom_count": (_I, [_P]),
    "qf_layer_bottom": (_P, [_P, _I]),
    "qf_layer_propagates": (c_bool, [_P, _I]),
    "qf_layer_top_count": (_I, [_P]),
    "qf_layer_top": (_P, [_P, _I]),
    "qf_layer_blob_count": (_I, [_P]),
    "qf_layer_blob": (_P, [_P, _I]),
    "qf_layer_add_blob": (_STATUS, [_P, POINTER(_I), _I]),
    "qf_net_create": (_STATUS, [_P, _S, _I, _I, POINTER(_S), c_size_t, POINTER(_P)]),
    "qf_net_create_from_memory": (_STATUS, [_P, _S, c_size_t, _I, _I, POINTER(_S), c_size_t, POINTER(_P)]),
    "qf_net_destroy": (None, [_P]),
    "qf_net_load_weights": (_STATUS, [_P, _S]),
    "qf_net_save_weights": (_STATUS, [_P, _S]),
    "qf_net_load_weights_from_memory": (_STATUS, [_P, _S, c_size_t]),
    "qf_net_save_weights_to_memory": (_STATUS, [_P, POINTER(_P), POINTER(c_size_t)]),
    "qf_memory_release": (None, [_P]),
    "qf_net_set_memory_data": (_STATUS, [_P, _P, _P, c_size_t]),
    "qf_net_save_weights_hdf5": (_STATUS, [_P, _S, c_bool]),
    "qf_net_share_weights": (_STATUS, [_P, _P]),
    "qf_net_reshape": (_STATUS, [_P]),
    "qf_net_forward_range": (_STATUS, [_P, _I, _I, POINTER(c_float)]),
    "qf_net_backward_range": (_STATUS, [_P, _I, _I]),
    "qf_net_clear_param_diffs": (None, [_P]),
    "qf_net_name": (_S, [_P]),
    "qf_net_layer_count": (_I, [_P]),
    "qf_net_layer_name": (_S, [_P, _I]),
    "qf_net_layer_type": (_S, [_P, _I]),
    "qf_net_layer_python_state": (_P, [_P, _I]),
    "qf_net_layer_param_count": (_I, [_P, _I]),
    "qf_net_layer_param": (_P, [_P, _I, _I]),
    "qf_net_layer_bottom_count": (_I, [_P, _I]),
    "qf_net_layer_bottom": (_I, [_P, _I, _I]),
    "qf_net_layer_top_count": (_I, [_P, _I]),
    "qf_net_layer_top": (_I, [_P, _I, _I]),
    "qf_net_blob_count": (_I, [_P]),
    "qf_net_blob_name": (_S, [_P, _I]),
    "qf_net_blob_at": (_P, [_P, _I]),
    "qf_net_blob_index": (_I, [_P, _S]),
    "qf_net_input_count": (_I, [_P]),
    "qf_net_input": (_I, [_P, _I]),
    "qf_net_output_count": (_I, [_P]),
    "qf_net_output": (_I, [_P, _I]),
    "qf_net_loss_weight": (c_float, [_P, _I]),
    "qf_layer_type_name": (_S, [_I]),
    "qf_solver_create": (_STATUS, [_P, _S, POINTER(_P)]),
    "qf_solver_create_as": (_STATUS, [_P, _S, _S, POINTER(_P)]),
    "qf_solver_destroy": (None, [_P]),
    "qf_solver_set_callbacks": (None, [_P, ActionFunction, ProgressFunction, _P]),
    "qf_solver_set_iteration_callback": (None, [_P, IterationFunction, _P]),
    "qf_solver_settings": (_S, [_P]),
    "qf_solver_change_settings": (_STATUS, [_P, _S]),
    "qf_solver_apply_update": (_STATUS, [_P]),
    "qf_solver_on_divergence": (None, [_P, _I]),
    "qf_solver_restore": (_STATUS, [_P, _S]),
    "qf_solver_snapshot": (_STATUS, [_P]),
    "qf_solver_solve": (_STATUS, [_P]),
    "qf_solver_step": (_STATUS, [_P, _I]),
    "qf_solver_net": (_P, [_P]),
    "qf_solver_test_net_count": (_I, [_P]),
    "qf_solver_test_net": (_P, [_P, _I]),
    "qf_solver_iteration": (_I, [_P]),
    "qf_solver_learning_rate": (c_float, [_P]),
    "qf_make_digits": (_STATUS, [_P, _S, _S, _I, _I, c_int64]),
    "qf_create_quant_retrain_config": (_STATUS, [_P] + [_S] * 4),
    "qf_create_quant_retrain_model": (_STATUS, [_P] + [_S] * 6),
    "qf_save_quant_retrain_model": (_STATUS, [_P, _S, _S, _I, _S, _S, _S]),
    "qf_create_quant_config": (_STATUS, [_P, _S, _S, _S, POINTER(QuantOptions)]),
    "qf_quant_init": (_STATUS, [_P] + [_S] * 4 + [POINTER(_P)]),
    "qf_quant_graph_destroy": (None, [_P]),
    "qf_quantize_model": (_STATUS, [_P, _P, _S, _S]),
    "qf_save_model": (_STATUS, [_P, _P, _I, _S]),
    "qf_convert_model": (_STATUS, [_P, _S, _S, _S, _S]),
    "qf_export_onnx": (_STATUS, [_P, _S, _S, _S, POINTER(OnnxOptions), ActionFunction, ProgressFunction, _P,
                                 POINTER(POINTER(OnnxResult))]),
    "qf_onnx_result_destroy": (None, [POINTER(OnnxResult)]),
    "qf_qat_run": (_STATUS, [_P, POINTER(QatOptions), ActionFunction, ProgressFunction, _P, POINTER(POINTER(QatResult))]),
    "qf_ptq_run": (_STATUS, [_P, POINTER(PtqOptions), ActionFunction, ProgressFunction, _P, POINTER(POINTER(QatResult))]),
    "qf_qat_result_destroy": (None, [POINTER(QatResult)]),
}
version = "0.1.0"  # of these bindings


def _declare(found, signatures, structures):
    """Tell ctypes what the library's functions take, or ImportError where it is too old for what is here."""
    def refuse(lack):
        found.qf_version.restype = c_char_p
        raise ImportError("%s, version %s, is older than these Python packages, version %s: %s; install both from one "
                          "version, or set QAFFE_LIBRARY" % (found._name, found.qf_version().decode(), version, lack))

    for name, (result, arguments) in signatures.items():
        function = getattr(found, name, None)
        if function is None:
            refuse("it has no %s()" % name)
        function.restype = result
        function.argtypes = arguments
    for structure in structures:
        size = found.qf_struct_size(structure.c_name)
        if size < ctypes.sizeof(structure):
            refuse("its %s has %d bytes, %d are needed" % (structure.c_name.decode(), size, ctypes.sizeof(structure)))


_declare(library, _SIGNATURES, (Progress, PythonLayers, QatOptions, QuantOptions, DataOptions, PtqOptions, QatRow, Verification,
                                QatScore, QatResult, OddBlob, FileCheck, OnnxOptions, OnnxResult, DecomposedLayer, Decomposition, Metric, NuqEvaluator,
                                NuqRow, NuqResult))

# ---- the one context of this process ----

_created = c_void_p()
if library.qf_context_create(byref(_created)) != 0:
    raise MemoryError("there is not enough memory to start")
context = _created

# ---- errors ----

_EXCEPTIONS = {
    "argument": ValueError,
    "memory": MemoryError,
    "io": OSError,
    "format": ValueError,
    "shape": ValueError,
    "value": ValueError,
    "unsupported": RuntimeError,
    "mismatch": RuntimeError,
    "stopped": RuntimeError,
}
_pending = []  # exceptions that Python code raised inside a callback


def hold(exception):
    """Keep an exception that cannot pass through C; the running call raises it when it is back."""
    _pending.append(exception)
    library.qf_context_fail(context, ("%s: %s" % (type(exception).__name__, exception)).encode())
    return 6  # QF_E_VALUE


def check(status):
    """Raise what Python code raised inside the call, or the fitting exception with the library's sentence."""
    if _pending:
        first = _pending[0]
        _pending.clear()
        raise first
    if status == 0:
        return
    name = library.qf_status_name(status).decode()
    raise _EXCEPTIONS.get(name, RuntimeError)(library.qf_error_text(context).decode(errors="replace"))


# ---- calls: one thread at a time ----

# ctypes lets other threads run during a call, but a context serves one thread at a time. The lock can be taken
# again by its thread: layers in Python use nets, too.
turn = threading.RLock()
_discarded = collections.deque()  # (destroy, object) that nobody needs any more


def _destroy_discarded():
    while _discarded:
        destroy, thing = _discarded.popleft()
        destroy(thing)


def discard(destroy, thing):
    """Destroy an object of the library, from any thread: now, or with the next call if somebody computes."""
    _discarded.append((destroy, thing))
    if turn.acquire(blocking=False):
        try:
            _destroy_discarded()
        finally:
            turn.release()


def call(function, *arguments):
    """Call a C function of the context that returns a status and touches no blobs."""
    with turn:
        _destroy_discarded()
        check(function(*arguments))


def compute(function, *arguments):
    """Call a C function that may read or write blobs: arrays in Python's hands are brought into step."""
    with turn:
        _destroy_discarded()
        check(library.qf_views_take(context))
        status = function(*arguments)
        shown = library.qf_views_show(context) if status == 0 else 0
        check(status)
        check(shown)


class Interruptible:
    """`with Interruptible() as interrupt:` around a long call: Ctrl-C cannot be raised inside the library, so the
    call's callbacks ask whether it is `interrupt.wanted`; what the handler of SIGINT, or one of SIGTERM that is
    written in Python, raised is raised at the end."""

    def __init__(self):
        self._before, self._raised = {}, None

    wanted = property(lambda self: self._raised is not None)

    def _note(self, number, frame):
        try:
            self._before[number](number, frame)
        except BaseException as exception:
            self._raised = exception

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(signal.getsignal(number)):
                    self._before[number] = signal.getsignal(number)
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_exception):
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._raised is not None:
            raise self._raised


def path(name):
    """A file name as the library takes it."""
    return os.fsencode(name)


# ---- the log ----

_LEVELS = "DIWE"


def log_line(level, file, line, text):
    """A message of the library as Caffe's log has it; AMCT's lines, which come without a file, are complete."""
    text = text.decode(errors="replace")
    if not file:
        return text
    now = datetime.datetime.now().strftime("%m%d %H:%M:%S.%f")
    return "%s%s %5d %s:%d] %s" % (_LEVELS[level], now, threading.get_native_id(), file.decode(), line, text)


_nets_are_shown = True


def hide_nets():
    """Leave out what Caffe tells of every net that is made: show AMCT's lines, warnings and errors."""
    global _nets_are_shown
    _nets_are_shown = False


def _write(_user, level, file, line, text):
    if file and level < 2 and not _nets_are_shown:
        return
    try:
        sys.stderr.write(log_line(level, file, line, text) + "\n")
    except KeyboardInterrupt as exception:  # raised when the library is back
        _pending.append(exception)
    except (OSError, ValueError, AttributeError):
        pass  # stderr is closed: nobody wants to know


_sink = LogFunction(_write)


_lowest = 1


def set_log_level(lowest):
    """0 debug, 1 info, 2 warning, 3 error."""
    global _lowest
    _lowest = lowest
    library.qf_context_set_log(context, _sink, None, lowest)


def log_level():
    """What set_log_level() was told."""
    return _lowest


def say(level, module, text):
    """A line of AMCT's log: level "INFO" or "WARNING", what speaks, the message."""
    with turn:
        library.qf_context_log_amct(context, {"INFO": 1, "WARNING": 2}[level], module.encode(), text.encode())


# glog's variable, which scripts set before they import caffe: 0 info, 1 warning, 2 and 3 error
_minimum = os.environ.get("GLOG_minloglevel", "0")
set_log_level(min(int(_minimum) + 1 if _minimum.isdigit() else 1, 3))
