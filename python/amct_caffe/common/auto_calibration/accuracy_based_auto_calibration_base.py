"""From the classes of this package to the library's callbacks."""
import ctypes
import math
import os
from ctypes import POINTER, byref, cast

import numpy as np

from qaffe import _auto, _library

from .auto_calibration_evaluator_base import AutoCalibrationEvaluatorBase
from .auto_calibration_strategy_base import AutoCalibrationStrategyBase
from .binary_search_strategy import BinarySearchStrategy
from .cosine_similarity_sensitivity import CosineSimilaritySensitivity
from .sensitivity_base import SensitivityBase


def _named(thing, base, names, refusal):
    """An instance of `base`, or what its name stands for."""
    if isinstance(thing, str) and thing in names:
        return names[thing]()
    if not isinstance(thing, base):
        raise RuntimeError(refusal)
    return thing


def _title(thing):
    return ("%s.%s" % (type(thing).__module__, type(thing).__qualname__)).encode()


def _guarded(function):
    """What Python raises passes through the library unchanged."""

    def call(_user, _context, *arguments):
        try:
            function(*arguments)
            return 0
        except BaseException as exception:  # KeyboardInterrupt, too
            return _library.hold(exception)

    return call


class AccuracyBasedAutoCalibrationBase:
    """One accuracy_based_auto_calibration(), to be run once.

    >>> from amct_caffe.common.auto_calibration import AccuracyBasedAutoCalibrationBase
    >>> AccuracyBasedAutoCalibrationBase('record.txt', 'config.json', 'results/model', None)
    Traceback (most recent call last):
    RuntimeError: the model evaluator is not inherited from base class AutoCalibrationEvaluatorBase
    """

    def __init__(self, record_file, config_file, save_dir, evaluator, strategy="BinarySearch",
                 sensitivity="CosineSimilarity"):
        self.strategy = _named(strategy, AutoCalibrationStrategyBase, {"BinarySearch": BinarySearchStrategy},
                               "strategy is not inherited from base class AutoCalibrationStrategyBase")
        self.sensitivity = _named(sensitivity, SensitivityBase, {"CosineSimilarity": CosineSimilaritySensitivity},
                                  "sensitivity is not inherited from base class SensitivityBase")
        if not isinstance(evaluator, AutoCalibrationEvaluatorBase):
            raise RuntimeError("the model evaluator is not inherited from base class AutoCalibrationEvaluatorBase")
        self.evaluator = evaluator
        self.record_file, self.save_dir = os.path.realpath(record_file), os.path.realpath(save_dir)
        self.config_file = os.path.realpath(config_file)
        if not os.path.isfile(self.config_file):
            raise RuntimeError("Can not find the config_file at %s" % self.config_file)
        self._metrics = []  # objects that evaluate() gave; the library has their numbers, from 1
        self._names = []

    # ---- the evaluator ----

    def _calibrate(self, model, weights):
        self.evaluator.calibration(os.fsdecode(model), os.fsdecode(weights))

    def _evaluate(self, model, weights, out):
        metric = self.evaluator.evaluate(os.fsdecode(model), os.fsdecode(weights))
        self._metrics.append(metric)
        out[0].object = len(self._metrics)
        plain = isinstance(metric, (int, float)) and not isinstance(metric, bool)
        out[0].number = metric if plain else math.nan
        out[0].text = str(metric).encode()[:255]

    def _metric(self, metric):
        if metric.object:
            return self._metrics[metric.object - 1]
        text = metric.text.decode()  # remembered from an interrupted run
        return int(text) if text.lstrip("-").isdigit() else metric.number

    def _compare(self, original, other, satisfied, difference):
        good, loss = self.evaluator.metric_eval(self._metric(original[0]), self._metric(other[0]))
        satisfied[0], difference[0] = bool(good), float(loss)

    # ---- the strategy and the sensitivity ----

    def _initialize(self, layers, names, sensitivity):
        self._names = [names[i].decode() for i in range(layers)]
        self.strategy.initialize({name: sensitivity[i] for i, name in enumerate(self._names)})

    def _update(self, satisfied, difference, stop, order, quantised):
        answer = self.strategy.update_quant_config((satisfied, difference))
        stop[0] = bool(answer["stop_flag"])
        wanted = answer["roll_back_config"]
        unknown = [name for name in wanted if name not in self._names]
        if unknown:
            raise ValueError("roll_back_config has %r, which is no quantised layer" % unknown[0])
        listed = [self._names.index(name) for name in wanted]
        listed += [i for i in range(len(self._names)) if i not in listed]  # those keep what they have
        for place, layer in enumerate(listed):
            order[place] = layer
            if self._names[layer] in wanted:
                quantised[layer] = bool(wanted[self._names[layer]])

    def _sensitivity(self, original, other, count, out):
        arrays = [np.ctypeslib.as_array(pointer, (count,)).copy() for pointer in (original, other)]
        value = float(self.sensitivity.compare(*arrays))
        out[0] = -value if self.sensitivity.larger_is_sensitive else value

    def run(self, model_file, weights_file):
        """Quantise, search, write the results."""
        evaluator = _auto.Evaluator(None, _auto.Calibrate(_guarded(self._calibrate)),
                                    _auto.Evaluate(_guarded(self._evaluate)), _auto.Compare(_guarded(self._compare)),
                                    _title(self.evaluator))
        strategy = _auto.Strategy(None, _auto.Initialize(_guarded(self._initialize)),
                                  _auto.Update(_guarded(self._update)), _title(self.strategy))
        sensitivity = _auto.Sensitivity(None, _auto.Judge(_guarded(self._sensitivity)), _title(self.sensitivity))
        options = _auto.options(model_file, weights_file, os.fsencode(self.config_file),
                                os.fsencode(self.record_file), os.fsencode(self.save_dir))
        options.evaluator = cast(byref(evaluator), ctypes.c_void_p)
        options.strategy = cast(byref(strategy), ctypes.c_void_p)
        options.sensitivity = cast(byref(sensitivity), ctypes.c_void_p)
        _auto.calibrate(options)
