"""How detectors are judged; docs/detection.md says more."""
from __future__ import annotations

from ._library import call, context, library


def set_ap_version(name: str) -> None:
    """How retrain() and quantise() make a mean average precision of what a DetectionEvaluate layer puts out:
    "Integral", as without this call, "MaxIntegral" (VOC 2010 to 2012) or "11point" (VOC 2007). A solver's ap_version
    decides in its own tests. ValueError for another name.

    >>> import qaffe
    >>> qaffe.set_ap_version("11point")
    >>> qaffe.set_ap_version("mAP")
    Traceback (most recent call last):
    ValueError: ap_version is 'mAP', expected 11point, MaxIntegral or Integral
    >>> qaffe.set_ap_version("Integral")
    """
    call(library.qf_context_set_ap_version, context, name.encode())
