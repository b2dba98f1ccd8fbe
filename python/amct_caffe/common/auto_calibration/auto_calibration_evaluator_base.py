"""Who runs and judges models."""


class AutoCalibrationEvaluatorBase:
    """Derive from this; accuracy_based_auto_calibration() calls the three methods.

    >>> from amct_caffe.common.auto_calibration import AutoCalibrationEvaluatorBase
    >>> class Evaluator(AutoCalibrationEvaluatorBase):
    ...     def metric_eval(self, original_metric, new_metric):
    ...         loss = original_metric - new_metric
    ...         return loss <= 0.01, loss
    >>> Evaluator().metric_eval(0.75, 0.5)
    (False, 0.25)
    """

    def __init__(self):
        pass

    def calibration(self, model_file, weights_file):
        """Run this model in phase TEST, for at least batch_num batches."""
        raise NotImplementedError

    def evaluate(self, model_file, weights_file):
        """The metric of a model, any object; its str() is logged. Of an int or a float an interrupted run remembers
        the original's."""
        raise NotImplementedError

    def metric_eval(self, original_metric, new_metric):
        """(whether the new metric is good enough, how far it is from the original): a bool and a number."""
        raise NotImplementedError
