"""Who says which layers to roll back to float."""


class AutoCalibrationStrategyBase:
    """Derive from this for a search of your own.

    >>> from amct_caffe.common.auto_calibration import AutoCalibrationStrategyBase
    >>> AutoCalibrationStrategyBase().update_quant_config((False, 0.5))
    Traceback (most recent call last):
    NotImplementedError
    """

    def __init__(self):
        pass

    def initialize(self, ranking_info):
        """ranking_info: {name of a layer: its sensitivity}; small is sensitive."""
        raise NotImplementedError

    def update_quant_config(self, metric_eval):
        """The next configuration, after the metric_eval of the last one (at first: of all layers quantised).

        Returns {'stop_flag': bool, 'roll_back_config': {name: whether the layer stays quantised}}. With stop_flag it is
        the final one, and is evaluated only if it is another than the last.
        """
        raise NotImplementedError
