"""AMCT's strategy."""
from collections import OrderedDict

from .auto_calibration_strategy_base import AutoCalibrationStrategyBase


class BinarySearchStrategy(AutoCalibrationStrategyBase):
    """The least number of most sensitive layers that have to stay float, by halving.

    >>> from amct_caffe.common.auto_calibration import BinarySearchStrategy
    >>> strategy = BinarySearchStrategy()
    >>> strategy.initialize({'a': 0.99, 'b': 0.9, 'c': 0.95})
    >>> strategy.update_quant_config((False, 0.3))['roll_back_config']
    OrderedDict([('b', False), ('c', False), ('a', True)])
    >>> strategy.update_quant_config((True, 0.0))['stop_flag']
    False
    """

    def __init__(self):
        super().__init__()
        self._order = []
        self._left = self._right = 0
        self._tried = None
        self._best = None

    def initialize(self, ranking_info):
        self._order = sorted(ranking_info, key=ranking_info.get)
        self._left, self._right = 0, len(self._order) - 1
        self._tried = self._best = None

    def _config(self, stop, floats):
        return {"stop_flag": stop,
                "roll_back_config": OrderedDict((name, i >= floats) for i, name in enumerate(self._order))}

    def update_quant_config(self, metric_eval):
        if self._tried is not None:
            if metric_eval[0]:
                self._best, self._right = self._tried, self._tried - 2
            else:
                self._left = self._tried
        if self._left > self._right:
            return self._config(True, len(self._order) if self._best is None else self._best)
        self._tried = (self._left + self._right) // 2 + 1
        return self._config(False, self._tried)
