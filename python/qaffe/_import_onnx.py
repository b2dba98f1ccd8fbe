"""ONNX models as Caffe's nets."""
from __future__ import annotations

from ctypes import POINTER, byref
from typing import NamedTuple

from ._library import ImportOptions, OnnxImport as Imported, call, context, library, path, turn


class OnnxImport(NamedTuple):
    """What import_onnx() made."""
    model: str
    weights: str
    record: str  # "" where the model says no ranges
    operator_set: int
    nodes: int
    layers: int
    parameters: int
    ranges: int  # layers in the record
    lost_ranges: int  # layers whose ranges a record cannot hold


def import_onnx(model, prefix, batch: int = 1, shapes: dict | None = None) -> OnnxImport:
    """Make a Caffe net of an ONNX model: PREFIX.prototxt and PREFIX.caffemodel and, of a quantised model,
    PREFIX_record.txt for amct_caffe.convert_model(). Needs no onnx package.

    `batch`: items in a batch, where the model leaves that open. `shapes`: of inputs whose sizes it leaves open, or
    that are to have others, {"data": (1, 3, 224, 224)}. What Caffe cannot say raises, with the name of the node.

    >>> import qaffe
    >>> import qaffe.examples
    >>> made = qaffe.import_onnx(qaffe.examples.onnx_model(), "imported", batch=4)
    >>> made.layers, made.parameters, made.record
    (3, 8, '')
    >>> import caffe
    >>> caffe.Net(made.model, made.weights, caffe.TEST).blobs["y"].data.shape
    (4, 2)
    """
    options = ImportOptions()
    options.batch = batch
    if shapes:
        options.shapes = ",".join("%s=%s" % (name, "x".join(map(str, shape))) for name, shape in shapes.items()).encode()
    made = POINTER(Imported)()
    with turn:
        call(library.qf_import_onnx, context, path(model), path(prefix), byref(options), byref(made))
        found = made[0]
        prefix = path(prefix).decode()
        result = OnnxImport(prefix + ".prototxt", prefix + ".caffemodel", prefix + "_record.txt" if found.ranges else "",
                        found.operator_set, found.nodes, found.layers, found.parameters, found.ranges, found.lost_ranges)
        library.qf_onnx_import_destroy(made)
    return result
