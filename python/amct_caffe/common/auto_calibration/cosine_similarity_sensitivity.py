"""AMCT's measure of sensitivity."""
import numpy as np

from .sensitivity_base import SensitivityBase


class CosineSimilaritySensitivity(SensitivityBase):
    """0.5 + 0.5 * cosine: 1 where both outputs have one direction, 0 where the opposite.

    >>> from amct_caffe.common.auto_calibration import CosineSimilaritySensitivity
    >>> import numpy as np
    >>> a = np.float32([1, -2])
    >>> compare = CosineSimilaritySensitivity().compare
    >>> [round(float(compare(a, other)), 6) for other in (a, -a, 0 * a)]
    [1.0, 0.0, 0.0]
    """

    def compare(self, data, other):
        data, other = np.float64(data).ravel(), np.float64(other).ravel()
        a, b = np.dot(data, data), np.dot(other, other)
        if a == 0:
            return 1.0
        return 0.0 if b == 0 else 0.5 + 0.5 * np.dot(data, other) / np.sqrt(a * b)
