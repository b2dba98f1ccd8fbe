"""The library's automatic calibration, for amct_caffe."""
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_bool, c_char, c_char_p, c_double, c_float, c_int, c_size_t, \
    c_uint64, c_void_p

from ._library import Options, _declare, call, context, library


class Metric(Structure):
    c_name = b"qf_metric"
    _fields_ = [("object", c_void_p), ("number", c_double), ("text", c_char * 256)]


Calibrate = CFUNCTYPE(c_int, c_void_p, c_void_p, c_char_p, c_char_p)
Evaluate = CFUNCTYPE(c_int, c_void_p, c_void_p, c_char_p, c_char_p, POINTER(Metric))
Compare = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(Metric), POINTER(Metric), POINTER(c_bool), POINTER(c_double))
Initialize = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, POINTER(c_char_p), POINTER(c_double))
Update = CFUNCTYPE(c_int, c_void_p, c_void_p, c_bool, c_double, POINTER(c_bool), POINTER(c_size_t), POINTER(c_bool))
Judge = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(c_float), POINTER(c_float), c_size_t, POINTER(c_double))


class Evaluator(Options):
    c_name = b"qf_evaluator"
    _fields_ = [("size", c_size_t), ("user", c_void_p), ("calibrate", Calibrate), ("evaluate", Evaluate),
                ("compare", Compare), ("name", c_char_p)]


class Strategy(Options):
    c_name = b"qf_strategy"
    _fields_ = [("size", c_size_t), ("user", c_void_p), ("initialize", Initialize), ("update", Update),
                ("name", c_char_p)]


class Sensitivity(Options):
    c_name = b"qf_sensitivity"
    _fields_ = [("size", c_size_t), ("user", c_void_p), ("compare", Judge), ("name", c_char_p)]


class AutoOptions(Options):
    c_name = b"qf_auto_options"
    _fields_ = [("size", c_size_t), ("model_file", c_char_p), ("weights_file", c_char_p), ("config_file", c_char_p),
                ("record_file", c_char_p), ("save_path", c_char_p), ("evaluator", c_void_p), ("strategy", c_void_p),
                ("sensitivity", c_void_p), ("sample_bytes", c_uint64), ("sample_batches", c_int),
                ("test_iterations", c_int), ("max_loss", c_double), ("data", c_void_p),
                ("test_data", c_char_p)]


_declare(library, {"qf_auto_set_defaults": (None, [POINTER(AutoOptions)]),
         "qf_auto_calibrate": (c_int, [c_void_p, POINTER(AutoOptions), c_void_p, c_void_p, c_void_p, POINTER(c_void_p)]),
         "qf_auto_result_destroy": (None, [c_void_p])}, (Metric, Evaluator, Strategy, Sensitivity, AutoOptions))


def options(model, weights, config, record, save_path):
    """Defaults, and these files."""
    made = AutoOptions()
    library.qf_auto_set_defaults(byref(made))
    made.model_file, made.weights_file, made.config_file = model, weights, config
    made.record_file, made.save_path = record, save_path
    return made


def calibrate(wanted):
    """Run it; its callbacks hold what Python code raised."""
    result = c_void_p()
    try:
        call(library.qf_auto_calibrate, context, byref(wanted), None, None, None, byref(result))
    finally:
        library.qf_auto_result_destroy(result)
