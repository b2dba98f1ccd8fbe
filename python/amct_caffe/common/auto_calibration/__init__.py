"""Automatic calibration: who evaluates, who searches, who says how sensitive layers are."""
from .accuracy_based_auto_calibration_base import AccuracyBasedAutoCalibrationBase
from .auto_calibration_evaluator_base import AutoCalibrationEvaluatorBase
from .auto_calibration_strategy_base import AutoCalibrationStrategyBase
from .binary_search_strategy import BinarySearchStrategy
from .cosine_similarity_sensitivity import CosineSimilaritySensitivity
from .sensitivity_base import MseSensitivity, SensitivityBase

__all__ = ["AccuracyBasedAutoCalibrationBase", "AutoCalibrationEvaluatorBase", "AutoCalibrationStrategyBase",
           "BinarySearchStrategy", "CosineSimilaritySensitivity", "MseSensitivity", "SensitivityBase"]
