"""The evaluator that a user's Python file brings along."""
import importlib.util
import os
import sys

from amct_caffe.common.auto_calibration import AutoCalibrationEvaluatorBase


def load_evaluator(path):
    """The one instance of a class derived from AutoCalibrationEvaluatorBase among a file's global names.

    OSError if there is no such file, ValueError if it cannot be run, RuntimeError for no instance or several.

    >>> from amct_caffe.common.cmd_line_utils.evaluator import load_evaluator
    >>> with open("evaluator.py", "w") as file:
    ...     _ = file.write("from amct_caffe.common.auto_calibration import AutoCalibrationEvaluatorBase\\n"
    ...                    "mine = AutoCalibrationEvaluatorBase()\\n")
    >>> type(load_evaluator("evaluator.py")).__name__
    'AutoCalibrationEvaluatorBase'
    """
    if not os.path.isfile(path):
        raise OSError("the file '%s' does not exist" % path)
    sys.path.insert(0, os.path.dirname(path))  # modules beside it, as if it were run
    loader = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    if loader is None:
        raise ValueError("the evaluator '%s' is not a Python file: its name must end in .py" % path)
    module = importlib.util.module_from_spec(loader)
    sys.modules.setdefault(loader.name, module)  # where pickle and dataclasses look
    try:
        loader.loader.exec_module(module)
    except Exception as error:
        raise ValueError("the evaluator '%s' cannot be loaded: %s: %s" % (path, type(error).__name__, error)) from error
    found = {id(value): value for value in vars(module).values() if isinstance(value, AutoCalibrationEvaluatorBase)}
    if len(found) != 1:
        raise RuntimeError("'%s' must have one instance of a class derived from AutoCalibrationEvaluatorBase, but has %s"
                           % (path, len(found) or "none"))
    return next(iter(found.values()))
