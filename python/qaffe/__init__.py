"""qaffe in Python: what neither `caffe` nor `amct_caffe` has."""
from ._library import version as __version__
