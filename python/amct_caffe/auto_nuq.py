"""Non-uniform quantisation of as many layers as an evaluator allows.

The module is AMCT's in two ways: `from amct_caffe.auto_nuq import AutoNuqEvaluatorBase`, and, called,
`amct_caffe.auto_nuq(...)`.
"""
import os
import sys
import types
from ctypes import POINTER, byref

from qaffe._library import NuqEvaluator, NuqResult, call, context, hold, library

from ._arguments import checked, input_file, output_file, prefix

__all__ = ["AutoNuqEvaluatorBase", "auto_nuq"]


class AutoNuqEvaluatorBase:
    """What runs and judges models for auto_nuq: derive from it, and give it both methods.

    evaluate_batch_num, where an object has it, is the number of batches to judge a model by; else that is the
    configuration's batch_num.

    >>> from amct_caffe.auto_nuq import AutoNuqEvaluatorBase
    >>> class Evaluator(AutoNuqEvaluatorBase):
    ...     def eval_model(self, model_file, weights_file, batch_num):
    ...         net = caffe.Net(model_file, weights_file, caffe.TEST)
    ...         return sum(net.forward()['accuracy'] for _ in range(batch_num)) / batch_num
    ...     def is_satisfied(self, original_metric, new_metric):
    ...         return original_metric - new_metric < 0.01
    >>> Evaluator().is_satisfied(0.93, 0.925)
    True
    """

    def __init__(self, *_ignored):  # AMCT's sample hands itself over once more
        pass

    def eval_model(self, model_file, weights_file, batch_num):
        """Run a model in phase TEST for batch_num batches, and return how good it is: any object.

        It also runs the calibration model, which measures as it runs.
        """
        raise NotImplementedError("eval_model of the evaluator")

    def is_satisfied(self, original_metric, new_metric):
        """Is a model with new_metric good enough?"""
        raise NotImplementedError("is_satisfied of the evaluator")


class _Callbacks:
    """An evaluator as the library calls it. Metrics are kept here; the library has their numbers in a list."""

    def __init__(self, evaluator):
        self._evaluator, self._metrics = evaluator, []
        batches = getattr(evaluator, "evaluate_batch_num", 0)
        self.struct = NuqEvaluator(None, NuqEvaluator.Evaluate(self._evaluate), NuqEvaluator.Satisfied(self._satisfied),
                                   batches if isinstance(batches, int) and batches > 0 else 0)

    def _evaluate(self, _user, _context, model, weights, batches, out):
        try:
            metric = self._evaluator.eval_model(os.fsdecode(model), os.fsdecode(weights), batches)
            self._metrics.append(metric)
            out[0].object = len(self._metrics)
            out[0].number = float("nan")
            out[0].text = str(metric).encode()[:255]
            return 0
        except BaseException as exception:  # raised when the library is back
            return hold(exception)

    def _satisfied(self, _user, _context, original, other, out):
        try:
            out[0] = bool(self._evaluator.is_satisfied(*(self._metrics[metric[0].object - 1]
                                                         for metric in (original, other))))
            return 0
        except BaseException as exception:
            return hold(exception)


@checked(model_file=str, weights_file=str, nuq_evaluator=object, config_file=str, scale_offset_record_file=str,
         save_dir=str)
def auto_nuq(model_file, weights_file, nuq_evaluator, config_file, scale_offset_record_file, save_dir):
    """Quantise a net, non-uniformly in as many layers as the evaluator is satisfied with.

    config_file: what create_quant_config wrote of a .cfg with nuq_config. nuq_evaluator: an AutoNuqEvaluatorBase.
    save_dir: folder and beginning of the names of the models, <save_dir>_quant.json and <save_dir>_nuq_layers.json,
    which lists the layers. Those with fewest weights are quantised uniformly first; where none may be non-uniform the
    uniform model is saved. What the evaluator raises is raised; RuntimeError for an evaluator of another class, or
    where the configuration has no layer to search.

    >>> import amct_caffe as amct, qaffe.examples
    >>> model, weights = qaffe.examples.small_model()
    >>> amct.create_quant_config('config.json', model, weights)
    >>> amct.auto_nuq(model, weights, amct.auto_nuq.AutoNuqEvaluatorBase(), 'config.json', 'record.txt', 'results/nuq')
    Traceback (most recent call last):
    RuntimeError: No layer in config.json has wts_algo nuq_quantize, so there is nothing to search...
    """
    if not isinstance(nuq_evaluator, AutoNuqEvaluatorBase):
        raise RuntimeError("the model evaluator is not inherited from base class AutoNuqEvaluatorBase")
    callbacks, made = _Callbacks(nuq_evaluator), POINTER(NuqResult)()
    try:
        call(library.qf_auto_nuq, context, input_file(model_file), input_file(weights_file), input_file(config_file),
             output_file("scale_offset_record_file", scale_offset_record_file), prefix(save_dir), byref(callbacks.struct),
             byref(made))
    finally:
        library.qf_nuq_result_destroy(made)


class _CallableModule(types.ModuleType):
    def __call__(self, *arguments, **keywords):
        return auto_nuq(*arguments, **keywords)


sys.modules[__name__].__class__ = _CallableModule
