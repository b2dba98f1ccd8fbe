"""Quantisation without training: calibration of a float net, and models of factors that were found elsewhere."""
import ctypes

from qaffe._library import call, context, discard, library

from ._arguments import checked, input_file, output_file, prefix, save_type as number_of
from .common.auto_calibration import AccuracyBasedAutoCalibrationBase


class Graph:
    """A float net that is being quantised: what init gives, to be passed on as it is.

    >>> import amct_caffe as amct, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights)
    >>> isinstance(amct.init('config.json', model, weights, 'record.txt'), amct.Graph)
    True
    """

    def __init__(self, handle):
        self._handle = handle

    def __del__(self):
        discard(library.qf_quant_graph_destroy, self._handle)


Graph.__module__ = "amct_caffe"


def _call(function, *arguments):
    """AMCT raises TypeError for values of the wrong type in a configuration."""
    try:
        call(function, context, *arguments)
    except ValueError as error:
        if str(error).startswith("Type of "):
            raise TypeError(str(error)) from None
        raise


@checked(config_file=str, model_file=str, weights_file=str, scale_offset_record_file=str)
def init(config_file, model_file, weights_file, scale_offset_record_file):
    """Begin a quantisation without training: read configuration, model and weights, and empty the record.

    config_file: what create_quant_config wrote. model_file, weights_file: the float net. scale_offset_record_file:
    the record of factors, created or emptied (with a warning). Returns a Graph for quantize_model and save_model.
    TypeError, ValueError and OSError for what is wrong with the configuration and the files; RuntimeError where it
    quantises no layer.

    >>> import amct_caffe as amct, os, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights)
    >>> graph = amct.init('config.json', model, weights, 'record.txt')
    >>> os.path.getsize('record.txt')
    0
    """
    record = output_file("scale_offset_record_file", scale_offset_record_file)
    handle = ctypes.c_void_p()
    _call(library.qf_quant_init, input_file(config_file), input_file(model_file), input_file(weights_file), record,
          ctypes.byref(handle))
    return Graph(handle)


@checked(graph=Graph, modified_model_file=str, modified_weights_file=str)
def quantize_model(graph, modified_model_file, modified_weights_file):
    """Write the calibration model and its weights.

    BatchNorm and Scale are folded, weights are quantised, and for each quantised layer there are layers that measure its
    input and its sums. Run the model's TEST phase for at least batch_num batches afterwards: that fills the record.

    >>> import amct_caffe as amct, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights)
    >>> graph = amct.init('config.json', model, weights, 'record.txt')
    >>> amct.quantize_model(graph, 'calibration.prototxt', 'calibration.caffemodel')
    >>> 'conv_ifmr_layer' in open('calibration.prototxt').read()
    True
    """
    _call(library.qf_quantize_model, graph._handle, output_file("modified_model_file", modified_model_file),
          output_file("modified_weights_file", modified_weights_file))


@checked(graph=Graph, save_type=str, save_path=str)
def save_model(graph, save_type, save_path):
    """Write the fake-quant and deploy models of a net that has been calibrated.

    save_type: 'Fakequant', 'Deploy' or 'Both'. save_path: folder and beginning of the names:
    <save_path>_fake_quant_model.prototxt, _fake_quant_weights.caffemodel, _deploy_model.prototxt,
    _deploy_weights.caffemodel, _quant.json. RuntimeError if the record lacks a layer's factors.

    >>> import amct_caffe as amct, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights)
    >>> graph = amct.init('config.json', model, weights, 'record.txt')
    >>> amct.quantize_model(graph, 'calibration.prototxt', 'calibration.caffemodel')
    >>> amct.save_model(graph, 'Both', 'results/model')  # the calibration model has not run
    Traceback (most recent call last):
    RuntimeError: Cannot find scale_d of layer 'conv' in record file
    """
    _call(library.qf_save_model, graph._handle, number_of(save_type), prefix(save_path))


@checked(model_file=str, weights_file=str, scale_offset_record_file=str, save_path=str)
def convert_model(model_file, weights_file, scale_offset_record_file, save_path):
    """Write both models of a float net and a record of factors that were found elsewhere.

    The record has scale_d, offset_d, scale_w and offset_w, and no shift_bit; layers that it does not name stay float.
    BatchNorm and Scale behind a Convolution or Deconvolution are folded, unless its entry says skip_fusion. RuntimeError
    and ValueError where record and model do not fit, or the model is quantised already.

    >>> import amct_caffe as amct, os, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> with open('factors.txt', 'w') as record:
    ...     _ = record.write('record { key: "ip" value { scale_d: 0.01 offset_d: -128 scale_w: 0.02 offset_w: 0 } }')
    >>> amct.convert_model(model, weights, 'factors.txt', 'results/converted')
    >>> os.path.exists('results/converted_deploy_model.prototxt')
    True
    """
    _call(library.qf_convert_model, input_file(model_file), input_file(weights_file),
          input_file(scale_offset_record_file), prefix(save_path))


@checked(model_file=str, weights_file=str, model_evaluator=object, config_file=str, record_file=str, save_dir=str,
         strategy=object, sensitivity=object)
def accuracy_based_auto_calibration(model_file, weights_file, model_evaluator, config_file, record_file, save_dir,
                                    strategy='BinarySearch', sensitivity='CosineSimilarity'):
    """Quantise a net by calibration; where that costs too much, find the layers that have to stay float.

    model_evaluator: an instance of a class derived from amct_caffe.common.auto_calibration.AutoCalibrationEvaluatorBase,
    which calibrates and judges models. config_file: what create_quant_config wrote; it is not changed. record_file: the
    record to write. save_dir: folder and beginning of the names of the models. strategy, sensitivity: as named, or
    instances of classes of your own (AutoCalibrationStrategyBase, SensitivityBase).

    Models, record and accuracy_based_auto_calibration_final_config.json appear at the end, together; what was tried is in
    amct_log/accuracy_based_auto_calibration_record.json. Called again after an interruption, it goes on where it was.
    RuntimeError for objects of other classes and a configuration that is not there, ValueError for a metric_eval() that
    does not accept the original itself; what the evaluator raises comes through.

    >>> import amct_caffe as amct, caffe, os, qaffe.examples
    >>> from amct_caffe.common.auto_calibration import AutoCalibrationEvaluatorBase
    >>> class Evaluator(AutoCalibrationEvaluatorBase):
    ...     def calibration(self, model_file, weights_file):
    ...         net = caffe.Net(model_file, weights_file, caffe.TEST)
    ...         net.blobs['data'].data[...] = 1
    ...         net.forward()
    ...     def evaluate(self, model_file, weights_file):
    ...         return 0.5  # how good this model is
    ...     def metric_eval(self, original_metric, new_metric):
    ...         return original_metric - new_metric < 0.01, original_metric - new_metric
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights)
    >>> amct.accuracy_based_auto_calibration(model, weights, Evaluator(), 'config.json', 'record.txt', 'results/model')
    >>> os.path.exists('results/model_deploy_model.prototxt')
    True
    """
    AccuracyBasedAutoCalibrationBase(record_file, config_file, save_dir, model_evaluator, strategy, sensitivity).run(
        input_file(model_file), input_file(weights_file))
