"""The arguments of `amct_caffe calibration`: what they are, and which do not go together, in AMCT's words."""
import argparse
import os

from qaffe import _library

__all__ = ["CalibrationArguments", "process_data_shape"]

PROGRAM = "amct_caffe calibration"


def process_data_shape(text):
    """The shapes of inputs by name: "name:n,c,h,w;name2:n,c". A name may have colons itself.

    >>> from amct_caffe.common.cmd_line_utils.arguments_handler import process_data_shape
    >>> process_data_shape("data:1,3,224,224;im_info:1,3")
    {'data': [1, 3, 224, 224], 'im_info': [1, 3]}
    >>> process_data_shape("1,3,224,224")
    Traceback (most recent call last):
    ValueError: Invalid input_shape. Input name and shapes of each input node should be ':' split...
    """
    shapes = {}
    for one in text.split(";"):
        name, colon, dimensions = one.rpartition(":")
        if not colon:
            raise ValueError("Invalid input_shape. Input name and shapes of each input node should be ':' split. "
                             "E.g.: input_name1:n1,c1,h1,w1 or input_name2:0:n1,c1,h1,w1")
        shapes[name] = [int(dimension) for dimension in dimensions.split(",")]
    return shapes


def _paths(text):
    return [os.path.realpath(path) for path in text.split(";")]


def _words(text):
    return text.split(";")


# option: (what argparse wants to know, what --help says)
_OPTIONS = {
    "--model": ({"required": True, "type": os.path.realpath, "metavar": "FILE"}, "the model, a .prototxt"),
    "--weights": ({"required": True, "type": os.path.realpath, "metavar": "FILE"}, "its weights, a .caffemodel"),
    "--save_path": ({"required": True, "type": os.path.realpath, "metavar": "PREFIX"},
                    "folder and beginning of the names of the quantised models"),
    "--input_shape": ({"metavar": "NAME:N,C,H,W"}, "the shape of a batch of each input, ';' between inputs"),
    "--data_dir": ({"type": _paths, "metavar": "FOLDER"},
                   "a folder of .bin files for each input, ';' between them; a file is a batch, in the order of names"),
    "--data_types": ({"type": _words, "metavar": "TYPE"},
                     "what the files hold, ';' between inputs: float64, float32, float16, int8 to int64, uint8 to "
                     "uint64, bool"),
    "--evaluator": ({"type": os.path.realpath, "metavar": "FILE"},
                    "a Python file with an instance of a class derived from AutoCalibrationEvaluatorBase, whose "
                    "calibration() runs the batches; instead of --input_shape, --data_dir and --data_types"),
    "--calibration_config": ({"type": os.path.realpath, "metavar": "FILE"},
                             "a simplified configuration, .cfg; instead of --batch_num"),
    "--batch_num": ({"type": int, "metavar": "N"}, "how many batches measure the ranges; 1 without it"),
    "--gpu_id": ({"type": int, "metavar": "N"}, "the GPU to compute on; the CPU without it"),
}


_DESCRIPTION = ("Quantise a Caffe model without retraining it: measure the ranges of layers' inputs on some batches, and write "
                "PREFIX_fake_quant_model.prototxt, PREFIX_deploy_model.prototxt, their weights, and PREFIX_quant.json.")
_EXAMPLE = ("Example: amct_caffe calibration --model net.prototxt --weights net.caffemodel --save_path results/net "
            "--input_shape 'data:32,3,224,224' --data_dir batches --data_types float32 --batch_num 4")


def calibration_parser():
    parser = argparse.ArgumentParser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EXAMPLE)
    for name, (settings, text) in _OPTIONS.items():
        parser.add_argument(name, help=text, **settings)
    return parser


class CalibrationArguments:
    """The arguments of `amct_caffe calibration` as attributes of their names, checked.

    SystemExit for what argparse refuses, ValueError for what does not fit together.

    >>> from amct_caffe.common.cmd_line_utils.arguments_handler import CalibrationArguments
    >>> given = CalibrationArguments(["--model=/m.prototxt", "--weights=/m.caffemodel", "--save_path=/results/m",
    ...                               "--input_shape=data:1,3,8,8", "--data_dir=/a", "--data_types=float32",
    ...                               "--batch_num=2"])
    >>> given.input_shape, given.data_dir, given.batch_num
    ({'data': [1, 3, 8, 8]}, ['/a'], 2)
    """

    def __init__(self, argv):
        vars(self).update(vars(calibration_parser().parse_args(argv)))
        if self.input_shape is not None:
            self.input_shape = process_data_shape(self.input_shape)
        self._check_numbers()
        if self.evaluator is None:
            self._check_data()
        else:
            self._check_no_data()
        self._choose_batch_num()

    def _check_numbers(self):
        for number in (self.batch_num, self.gpu_id):
            if number is not None and number < 0:
                raise ValueError("Invalid batch_num %d was given, please check." % number)

    def _data(self):
        return {"input_shape": self.input_shape, "data_dir": self.data_dir, "data_types": self.data_types}

    def _check_data(self):
        for name, value in self._data().items():
            if value is None:
                raise ValueError("'--%s' is required when '--evaluator' option is not given." % name)
        if len({len(value) for value in self._data().values()}) > 1:
            raise ValueError("The number of arguments for '--input_shape', '--data_dir' and '--data_types' must be "
                             "the same!")

    def _check_no_data(self):
        for name, value in self._data().items():
            if value is not None:
                raise ValueError("'--%s'%s not required when '--evaluator' option is given."
                                 % (name, "" if name == "data_types" else " is"))  # as AMCT says it

    def _choose_batch_num(self):
        if self.batch_num is not None and self.calibration_config is not None:
            raise ValueError("batch num and calibration config are exclusive, only one can be configured.")
        if self.batch_num is None and self.calibration_config is None:
            _library.say("WARNING", "Arguments",
                         "both batch num and config file are not set, set to default value: 1")
        if self.batch_num is None:
            self.batch_num = 1
