"""Who says how alike a layer's outputs are, in float and quantised."""
import numpy as np


class SensitivityBase:
    """Derive from this for a measure of your own.

    >>> from amct_caffe.common.auto_calibration import SensitivityBase
    >>> class Largest(SensitivityBase):
    ...     def compare(self, data, other):
    ...         return -abs(data - other).max()
    >>> import numpy as np
    >>> float(Largest().compare(np.float32([1, 2]), np.float32([1, 4])))
    -2.0
    """

    larger_is_sensitive = False  # of a measure of errors

    def __init__(self):
        pass

    def compare(self, data, other):
        """A number from the outputs in float and quantised, two flat arrays; small is sensitive."""
        raise NotImplementedError


class MseSensitivity(SensitivityBase):
    """AMCT's measure by errors: the length of their difference over the number of values.

    The more, the more sensitive; rankings show it with a minus sign, so that the most sensitive layer stands first as
    for other measures. do_normalization: bring both to 0 ... 1 first.

    >>> from amct_caffe.common.auto_calibration import MseSensitivity
    >>> import numpy as np
    >>> float(MseSensitivity().compare(np.float32([1, 2]), np.float32([1, 4])))
    1.0
    """

    larger_is_sensitive = True

    def __init__(self, do_normalization=False):
        super().__init__()
        self.do_normalization = do_normalization

    @staticmethod
    def _normalised(data):
        low, high = data.min(), data.max()
        return (data - low) / (high - low + np.finfo(np.float32).eps)

    def compare(self, data, other):
        if self.do_normalization:
            data, other = self._normalised(data), self._normalised(other)
        return np.linalg.norm(data - other) / data.shape[0]
