"""The steps of `amct_caffe calibration`."""
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback

import amct_caffe as amct
import caffe
from qaffe import _library

from .arguments_handler import PROGRAM, CalibrationArguments
from .data_handler import load_data

_debugging = os.environ.get("AMCT_LOG_LEVEL", "").upper() == "DEBUG"


@contextlib.contextmanager
def _work_folder():
    """A folder for what lies between the steps; it is kept only to look for a mistake."""
    while True:
        folder = os.path.realpath("%05d_%s" % (random.randrange(100000), time.strftime("%Y%m%d%H%M%S")))
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o750)
            break
    try:
        yield folder
    finally:
        if not _debugging:
            shutil.rmtree(folder, ignore_errors=True)


def _step(function, *arguments, **options):
    """Call what takes long or logs: a signal's exception waits for its end, as it cannot pass through the library."""
    with _library.Interruptible():
        return function(*arguments, **options)


def _net_for(shapes, model, weights):
    """The calibration model, its inputs of the given shapes."""
    net = caffe.Net(model, weights, caffe.TEST)
    if set(shapes) != set(net.inputs):
        raise ValueError("--input_shape is for %s, but the inputs of the model are %s"
                         % (", ".join(shapes), ", ".join(net.inputs) or "none: its data layers feed it"))
    for name, shape in shapes.items():
        net.blobs[name].reshape(*shape)
    net.reshape()
    return net


def _run_batches(net, batches, count):
    """Say at most some ten times how far it is."""
    for done, batch in enumerate(batches, 1):
        _step(net.forward, **batch)
        if done == count or done % -(-count // 10) == 0:
            _step(_library.say, "INFO", "Calibration", "%d of %d batches" % (done, count))


def _run_evaluator(evaluator, path, model, weights):
    try:
        evaluator.calibration(model, weights)
    except Exception as error:
        inside = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = "line %d of " % inside[-1].lineno if inside else ""
        raise RuntimeError("calibration() of the evaluator fails in %s%s: %s: %s"
                           % (where, path, type(error).__name__, error)) from error


def calibrate(arguments):
    """Quantise what CalibrationArguments name."""
    if arguments.evaluator is not None:
        from .evaluator import load_evaluator
        evaluator = load_evaluator(arguments.evaluator)
    if arguments.gpu_id is not None:
        caffe.set_device(arguments.gpu_id)
        caffe.set_mode_gpu()
    with _work_folder() as folder:
        config, record, model, weights = (os.path.join(folder, name) for name in (
            "quant_config.json", "record.txt", "modified_model.prototxt", "modified_weights.caffemodel"))
        source = arguments.model, arguments.weights
        _step(amct.create_quant_config, config, *source, batch_num=arguments.batch_num,
              config_defination=arguments.calibration_config)
        with open(config) as file:
            batch_num = json.load(file)["batch_num"]
        if arguments.evaluator is None:  # before the work: are there enough?
            batches = load_data(arguments.input_shape, arguments.data_dir, arguments.data_types, batch_num)
        graph = _step(amct.init, config, *source, record)
        _step(amct.quantize_model, graph, model, weights)
        if arguments.evaluator is None:
            _run_batches(_step(_net_for, arguments.input_shape, model, weights), batches, batch_num)
        else:
            _run_evaluator(evaluator, arguments.evaluator, model, weights)
        _step(amct.save_model, graph, "Both", arguments.save_path)


def _sentence(error):
    if isinstance(error, OSError) and error.strerror and error.filename:
        return "%s: %s" % (os.fsdecode(error.filename), error.strerror)
    return str(error) or type(error).__name__


def _end(number, _frame):
    raise SystemExit(128 + number)  # through the work folder's removal


def main(argv):
    """Run the program; the exit status."""
    signal.signal(signal.SIGTERM, _end)
    _library.hide_nets()
    status = 2  # the command line was wrong
    try:
        arguments = CalibrationArguments(argv)
        status = 1
        calibrate(arguments)
        return 0
    except KeyboardInterrupt:
        print("%s: stopped" % PROGRAM, file=sys.stderr)
        return 128 + signal.SIGINT
    except (TypeError, ValueError, RuntimeError, OSError, MemoryError) as error:
        if _debugging:
            traceback.print_exc()
        print("%s: error: %s" % (PROGRAM, _sentence(error)), file=sys.stderr)
        return status
