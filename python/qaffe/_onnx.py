"""Nets as ONNX models."""
from __future__ import annotations

from ctypes import POINTER, byref, pointer
from typing import NamedTuple, Optional, Sequence

from ._library import ActionFunction, DataOptions, OnnxOptions, OnnxResult, ProgressFunction
from ._library import check as raise_failure
from ._library import context, library, path, turn
from ._retrain import text


class OnnxExport(NamedTuple):
    """What export_onnx() wrote, and what the comparison found."""
    nodes: int
    initialisers: int
    quantised: int  # layers with int8 weights
    free_batch: bool  # the first axis of inputs may have any size
    batches: int  # that were compared; 0: none
    answers: int
    differing_answers: int
    codes: int
    differing_codes: int


def export_onnx(model: str, weights: Optional[str], out: str, *, opset: int = 17, activations: str = "u8",
                keep_shift: bool = False, shape: Optional[str] = None, verify: int = 0, data: Optional[str] = None,
                data_type: str = "float32", batch_size: int = 0, resize: int = 0, scale: float = 1.0,
                mean_file: Optional[str] = None, mean_values: Sequence[float] = ()) -> OnnxExport:
    """Write the TEST phase of a net as an ONNX model: float, or with QuantizeLinear and DequantizeLinear where it is
    a fake-quant or deploy model.

    weights None: model is the prefix of `qat run` or `ptq run`, whose deploy model is taken. activations: 'u8', the
    model's own codes, or 's8', symmetric, as TensorRT needs them. keep_shift: nodes for AMCT's shift to 16 bits. shape:
    'data=1x3x224x224', in place of what the model begins with. verify: so many batches of data (or the model's own) are
    compared with what the file means; data, data_type, batch_size, resize, scale, mean_file and mean_values are as in
    quantise(). RuntimeError names a layer that cannot be exported, its type and why.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> done = qaffe.export_onnx(model, weights, os.path.join(folder, 'digits.onnx'))
    >>> done.quantised, done.free_batch
    (0, True)
    >>> result = qaffe.quantise(model, weights, save_path=os.path.join(folder, 'ptq'))
    >>> done = qaffe.export_onnx(os.path.join(folder, 'ptq'), None, os.path.join(folder, 'int8.onnx'), verify=1)
    >>> done.quantised, done.batches, done.codes > done.differing_codes
    (2, 1, True)
    """
    if activations not in ("u8", "s8"):
        raise ValueError("activations is '%s', expected 'u8' or 's8'" % activations)
    means = ",".join("%.9g" % value for value in mean_values) or None
    source = DataOptions(text(data), text(data_type), batch_size, resize, scale, text(mean_file), text(means))
    options = OnnxOptions(opset, activations == "s8", keep_shift, text(shape), verify, pointer(source))
    made = POINTER(OnnxResult)()
    with turn:
        try:
            raise_failure(library.qf_export_onnx(context, path(model), text(weights), path(out), byref(options),
                                                 ActionFunction(), ProgressFunction(), None, byref(made)))
            found = made[0]
            return OnnxExport(*(getattr(found, name) for name in OnnxExport._fields))
        finally:
            library.qf_onnx_result_destroy(made)
