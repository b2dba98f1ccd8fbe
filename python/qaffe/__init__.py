"""qaffe in Python: what neither `caffe` nor `amct_caffe` has. The whole flow is one call: retrain()."""
from ._library import version as __version__
from ._limits import keep_unknown_fields, limits, set_limit
from ._retrain import LayerResult, Result, retrain

__all__ = ["LayerResult", "Result", "keep_unknown_fields", "limits", "retrain", "set_limit", "__version__"]
