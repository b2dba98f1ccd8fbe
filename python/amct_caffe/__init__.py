"""AMCT's Python interface for quantising Caffe nets, over libqaffe. With training:

    import amct_caffe as amct
    amct.create_quant_retrain_config(config, model, weights)
    amct.create_quant_retrain_model(model, weights, config, new_model, new_weights, record)
    ...train new_model with caffe; its TEST phase fills the record...
    amct.save_quant_retrain_model(new_model, retrained_weights, 'Both', 'results/user_model')

Without training, by calibration:

    amct.create_quant_config(config, model, weights, batch_num=2)
    graph = amct.init(config, model, weights, record)
    amct.quantize_model(graph, new_model, new_weights)
    ...run new_model with caffe.TEST for at least batch_num batches, which fills the record...
    amct.save_model(graph, 'Both', 'results/user_model')

convert_model makes the same files from factors that were found elsewhere. accuracy_based_auto_calibration does all of it
with an evaluator of yours, and leaves in float what would cost too much.

The first step whose arguments and files are good begins ./amct_log/amct_caffe.log anew; AMCT_LOG_FILE_LEVEL and
AMCT_LOG_LEVEL choose what it and the screen show.
"""
import ctypes

from qaffe import _devices, _library
from qaffe._library import call, context, library, version as __version__

from ._arguments import OPTIONAL as _OPTIONAL, checked as _checked, input_file as _input, output_file as _output
from ._arguments import prefix as _prefix, save_type as _save_type
from . import auto_nuq  # a module that can be called, as AMCT's function of this name
from ._post_training import (Graph, accuracy_based_auto_calibration, convert_model, init, quantize_model,
                             save_model)

__all__ = ["set_cpu_mode", "set_gpu_mode", "create_quant_retrain_config", "create_quant_retrain_model",
           "save_quant_retrain_model", "create_quant_config", "init", "quantize_model", "save_model", "convert_model",
           "auto_nuq", "accuracy_based_auto_calibration"]

call(library.qf_context_open_amct_log, context)

_remembered = {"record": None, "config": None}  # of the last create_quant_retrain_model


def set_cpu_mode():
    """Compute on the CPU: what is done without being asked.

    >>> import amct_caffe as amct
    >>> amct.set_cpu_mode()
    """
    _devices.leave_gpu()


def set_gpu_mode():
    """Compute on the GPU. RuntimeError where there is none.

    >>> import amct_caffe as amct
    >>> amct.set_gpu_mode()
    Traceback (most recent call last):
    RuntimeError: cuda:0: there is no GPU to compute on: this build of qaffe has code for the CPU only...
    """
    _devices.set_gpu(0)


@_checked(config_file=str, model_file=str, weights_file=str, config_defination=_OPTIONAL)
def create_quant_retrain_config(config_file, model_file, weights_file, config_defination=None):
    """Write the configuration (JSON) of every layer that can be quantised.

    config_file: the file to write. model_file, weights_file: the float net. config_defination: a simplified
    configuration (.cfg) to start from instead of the defaults. TypeError for arguments that are not str,
    OSError for files that are not there, ValueError for what cannot be quantised.

    >>> import amct_caffe as amct, json, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_retrain_config('config.json', model, weights)
    >>> sorted(json.load(open('config.json')))
    ['conv', 'ip', 'version']
    """
    definition = _input(config_defination) if config_defination is not None else None
    call(library.qf_create_quant_retrain_config, context, _output("config_file", config_file),
         _input(model_file), _input(weights_file), definition)


@_checked(model_file=str, weights_file=str, config_file=str, modified_model_file=str, modified_weights_file=str,
          scale_offset_record_file=str)
def create_quant_retrain_model(model_file, weights_file, config_file, modified_model_file, modified_weights_file,
                               scale_offset_record_file):
    """Insert fake-quantisation layers: the model to train, its weights, and an empty record.

    The path of the record is kept in the model; the TEST phase of training fills it. Errors as
    create_quant_retrain_config.

    >>> import amct_caffe as amct, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_retrain_config('config.json', model, weights)
    >>> amct.create_quant_retrain_model(model, weights, 'config.json', 'new.prototxt', 'new.caffemodel',
    ...                                 'record.txt')
    >>> 'ActivationQAT' in open('new.prototxt').read()
    True
    """
    record = _output("scale_offset_record_file", scale_offset_record_file)
    config = _input(config_file)
    call(library.qf_create_quant_retrain_model, context, _input(model_file), _input(weights_file), config,
         _output("modified_model_file", modified_model_file),
         _output("modified_weights_file", modified_weights_file), record)
    _remembered.update(record=record, config=config)


@_checked(retrained_model_file=str, retrained_weights_file=str, save_type=str, save_path=str,
          scale_offset_record_file=_OPTIONAL, config_file=_OPTIONAL)
def save_quant_retrain_model(retrained_model_file, retrained_weights_file, save_type, save_path,
                             scale_offset_record_file=None, config_file=None):
    """Write the fake-quant and deploy models of a retrained net.

    save_type: 'Fakequant', 'Deploy' or 'Both'. save_path: folder and beginning of the names:
    <save_path>_fake_quant_model.prototxt, _fake_quant_weights.caffemodel, _deploy_model.prototxt,
    _deploy_weights.caffemodel. The record and the configuration may be left out after
    create_quant_retrain_model in the same process. RuntimeError if the record lacks a layer's factors: no
    TEST phase has run.

    >>> import amct_caffe as amct, qaffe.examples
    >>> amct.save_quant_retrain_model('no.prototxt', 'no.caffemodel', 'Float', 'results/model')
    Traceback (most recent call last):
    ValueError: save_type must be Fakequant, Deploy or Both, but is 'Float'
    """
    kind, beginning = _save_type(save_type), _prefix(save_path)
    record = _input(scale_offset_record_file) if scale_offset_record_file is not None else _remembered["record"]
    config = _input(config_file) if config_file is not None else _remembered["config"]
    if record is None:
        raise ValueError("scale_offset_record_file is needed: no create_quant_retrain_model in this process has "
                         "named one")
    call(library.qf_save_quant_retrain_model, context, _input(retrained_model_file),
         _input(retrained_weights_file), kind, beginning, record, config)


@_checked(config_file=str, model_file=str, weights_file=str, skip_layers=(list, type(None)), batch_num=int,
          activation_offset=bool, config_defination=_OPTIONAL)
def create_quant_config(config_file, model_file, weights_file, skip_layers=None, batch_num=1, activation_offset=True,
                        config_defination=None):
    """Write the configuration (JSON) of calibration without training.

    Every layer that can be quantised is listed, in the order of names; those of skip_layers with quant_enable false.
    batch_num: over how many batches ranges are measured. activation_offset: whether they may be asymmetric.
    config_defination: a simplified configuration (.cfg), which counts instead of these three. TypeError, OSError
    and ValueError as create_quant_retrain_config.

    >>> import amct_caffe as amct, json, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights, skip_layers=['ip'], batch_num=4)
    >>> config = json.load(open('config.json'))
    >>> config['batch_num'], config['conv']['quant_enable'], config['ip']['quant_enable']
    (4, True, False)
    """
    names = [] if skip_layers is None else skip_layers
    for name in names:
        if not isinstance(name, str):
            raise TypeError("Func create_quant_config argument skip_layers must be a list of %r" % str)
    skipped = (ctypes.c_char_p * len(names))(*(name.encode() for name in names))
    limit = 2**31 - 1  # more than may be asked for either way
    options = _library.QuantOptions(
        skipped, len(names), max(-limit, min(batch_num, limit)), activation_offset,
        _input(config_defination) if config_defination is not None else None)
    call(library.qf_create_quant_config, context, _output("config_file", config_file), _input(model_file),
         _input(weights_file), ctypes.byref(options))
