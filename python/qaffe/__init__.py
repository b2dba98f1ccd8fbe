"""qaffe in Python: what neither `caffe` nor `amct_caffe` has. The whole flow is one call: retrain(), or, without
training, quantise()."""
from ._bits import Bits, BitsLayer, BitsStep, choose_bits, create_retrain_config
from ._checks import Check, OddBlob, check, write_checksums
from ._detection import set_ap_version
from ._devices import Device, devices, set_device
from ._library import version as __version__
from ._equalise import Equalised, equalise
from ._export_calibrated import export_calibrated
from ._import_onnx import OnnxImport, import_onnx
from ._limits import keep_unknown_fields, limits, set_limit, set_until
from ._memory import load_weights, net_from_text, weights_bytes
from ._onnx import OnnxExport, export_onnx
from ._quantise import quantise
from ._report import Report, SensitiveLayer, Sensitivity, report, sensitivity
from ._retrain import LayerResult, Result, retrain

__all__ = ["Bits", "BitsLayer", "BitsStep", "Check", "Device", "Equalised", "LayerResult", "OddBlob", "OnnxExport", "OnnxImport",
           "Report", "Result", "SensitiveLayer", "Sensitivity", "check", "choose_bits", "create_retrain_config", "devices", "equalise", "export_calibrated", "export_onnx",
           "import_onnx", "keep_unknown_fields", "limits",
           "load_weights", "net_from_text", "quantise", "report", "retrain", "sensitivity", "set_ap_version",
           "set_device", "set_limit", "set_until", "weights_bytes", "write_checksums", "__version__"]
