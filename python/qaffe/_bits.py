"""Bits of each layer's weights and input, chosen by what they cost: choose_bits()."""
from __future__ import annotations

from ctypes import POINTER, Structure, byref, c_bool, c_char, c_char_p, c_double, c_int, c_size_t, c_uint64, c_void_p, pointer
from dataclasses import dataclass, field
from typing import Optional, Sequence

from ._library import ActionFunction, Options, ProgressFunction, QatOptions, _declare, check, context, library, path, turn
from ._report import _Work
from ._retrain import text


class BitsOptions(Options):
    c_name = b"qf_bits_options"
    _fields_ = [("size", c_size_t), ("net", POINTER(QatOptions)), ("activation_bits", c_int), ("batches", c_int),
                ("max_loss", c_double), ("max_bytes", c_uint64), ("max_share", c_double), ("budget", c_char_p)]


class RetrainConfigOptions(Options):
    c_name = b"qf_retrain_config_options"
    _fields_ = [("size", c_size_t), ("config_definition", c_char_p), ("weight_bits", c_int), ("activation_bits", c_int),
                ("edge_bits", c_int), ("ranges", c_char_p)]


class BitsLayerRow(Structure):
    c_name = b"qf_bits_layer"
    _fields_ = [("name", c_char * 128), ("type", c_char * 32), ("weights", c_uint64), ("bits", c_int), ("cost6", c_double),
                ("cost4", c_double), ("activation_bits", c_int), ("activation_cost6", c_double),
                ("activation_cost4", c_double), ("input_values", c_uint64)]


class BitsStepRow(Structure):
    c_name = b"qf_bits_row"
    _fields_ = [("change", c_char * 160), ("bytes", c_uint64), ("score", c_double), ("loss", c_double), ("pareto", c_bool),
                ("chosen", c_bool), ("input_bytes", c_uint64)]


class BitsResult(Structure):
    c_name = b"qf_bits_result"
    _fields_ = [("score_name", c_char * 128), ("better", c_int), ("batches", c_int), ("activation_bits", c_int),
                ("float_score", c_double), ("float_bytes", c_uint64), ("layers", c_size_t), ("rows", c_size_t),
                ("layer", POINTER(POINTER(BitsLayerRow))), ("row", POINTER(POINTER(BitsStepRow))),
                ("max_loss", c_double), ("max_bytes", c_uint64)]


_declare(library, {
    "qf_choose_bits": (c_int, [c_void_p, POINTER(BitsOptions), ActionFunction, ProgressFunction, c_void_p,
                               POINTER(POINTER(BitsResult))]),
    "qf_qat_set_defaults": (None, [POINTER(QatOptions)]),
    "qf_bits_result_destroy": (None, [POINTER(BitsResult)]),
    "qf_create_retrain_config": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, POINTER(RetrainConfigOptions)]),
    "qf_bits_write": (c_int, [c_void_p, POINTER(BitsResult), c_char_p]),
}, (BitsOptions, RetrainConfigOptions, BitsLayerRow, BitsStepRow, BitsResult))


@dataclass
class BitsLayer:
    """A layer's weights: their number, the bits chosen, and what 6 and 4 cost when only this layer has so few.

    The same of its input: input_values of one image, activation_bits; its costs are NaN where nothing was measured.
    """
    name: str
    type: str
    weights: int
    bits: int
    cost6: float
    cost4: float
    activation_bits: int = 8
    activation_cost6: float = float("nan")
    activation_cost4: float = float("nan")
    input_values: int = 0


@dataclass
class BitsStep:
    """One way to share out bits: what changed, the bytes of all weights, the score, the loss against float.

    input_bytes: of what the quantised layers read, for one image.
    """
    change: str
    bytes: int
    score: float
    loss: float
    pareto: bool
    chosen: bool
    input_bytes: int = 0


@dataclass
class Bits:
    """What choose_bits() found: layers in the net's order, steps from 8 bits everywhere to the fewest."""
    score_name: str
    float_score: float
    float_bytes: int
    layers: list[BitsLayer] = field(default_factory=list)
    steps: list[BitsStep] = field(default_factory=list)

    @property
    def chosen(self) -> BitsStep:
        """The step that keeps the limits."""
        return next(step for step in self.steps if step.chosen)

    def _rows(self) -> list[list[str]]:
        return [["KiB", "inputs", self.score_name, "loss", "step to", ""]] + [
            ["%.1f" % (step.bytes / 1024), "%.1f" % (step.input_bytes / 1024), "%.4f" % step.score, "%+.3f" % step.loss, step.change or "8 everywhere",
             "chosen" if step.chosen else "*" if step.pareto else ""] for step in self.steps]

    def __str__(self) -> str:
        from ._retrain import _table
        return "%s\n\n%s: float %.4f, %.1f KiB" % (_table(self._rows()), self.score_name, self.float_score, self.float_bytes / 1024)

    def _repr_html_(self) -> str:
        from ._retrain import html_table
        return html_table(self._rows(), "%s: float %.4f, %.1f KiB" % (self.score_name, self.float_score, self.float_bytes / 1024))


def choose_bits(model: str, weights: str, *, budget: Optional[str] = None, max_loss: Optional[float] = None, max_bytes: int = 0,
                activation_bits: int = 0, batches: int = 10, files: Sequence[str] = (), train_data: Optional[str] = None,
                test_data: Optional[str] = None, batch_size: int = 0, scale: float = 1.0, mean_file: Optional[str] = None,
                mean_values: Sequence[float] = ()) -> Bits:
    """Choose the bits of each layer's weights, 8, 6 or 4, and of its input: the smallest within a budget, before retraining.

    model, weights, train_data, test_data and what prepares pixels: as for retrain(). budget: what may be lost ("0.5": points of an
    accuracy, per cent of anything else), what all weights may take ("600K", "60%" of what they take with 8 bits), or both
    ("0.5,60%"). In place of it max_loss and max_bytes; max_loss None: 1, or anything where max_bytes limits all weights.
    activation_bits 0: inputs are chosen, too, behind the weights, where a loss is allowed; 4, 6, 8, 16: of all but the first and
    the last layer's. files are written: FILE.cfg for config_definition of retrain(), FILE.json, FILE.svg. Raises ValueError where
    no choice keeps the limits.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> found = qaffe.choose_bits(model, weights, budget='100', batches=1, files=[os.path.join(folder, 'bits.cfg')])
    >>> [(row.bits, row.activation_bits) for row in found.layers], found.chosen.bytes < found.float_bytes / 6
    ([(4, 4), (4, 4)], True)
    """
    if budget is not None and (max_loss is not None or max_bytes):
        raise ValueError("budget says what max_loss and max_bytes would; give it or them")
    net = QatOptions()
    library.qf_qat_set_defaults(byref(net))
    net.model, net.weights, net.train_data, net.test_data = text(model), text(weights), text(train_data), text(test_data)
    net.batch_size, net.scale, net.mean_file = batch_size, scale, text(mean_file)
    net.mean_values = text(",".join("%.9g" % value for value in mean_values) or None)
    if max_loss is None:
        max_loss = -1.0 if max_bytes else 1.0
    options = BitsOptions(pointer(net), activation_bits, batches, max_loss, max_bytes, 0.0, text(budget))
    made = POINTER(BitsResult)()
    try:
        with _Work() as work:
            check(library.qf_choose_bits(context, byref(options), work.stop, work.show, None, byref(made)))
            for file in files:
                check(library.qf_bits_write(context, made, text(file)))
            found = made[0]
            return Bits(
                found.score_name.decode(), found.float_score, found.float_bytes,
                [BitsLayer(row.name.decode(errors="replace"), row.type.decode(), row.weights, row.bits, row.cost6, row.cost4,
                           row.activation_bits, row.activation_cost6, row.activation_cost4, row.input_values)
                 for row in (found.layer[i][0] for i in range(found.layers))],
                [BitsStep(row.change.decode(errors="replace"), row.bytes, row.score, row.loss, row.pareto, row.chosen,
                          row.input_bytes)
                 for row in (found.row[i][0] for i in range(found.rows))])
    finally:
        library.qf_bits_result_destroy(made)


def create_retrain_config(config_file: str, model: str, weights: str, *, config_definition: Optional[str] = None,
                          weight_bits: int = 0, activation_bits: int = 0, edge_bits: int = 0,
                          ranges: Optional[str] = None) -> None:
    """Write the configuration (.json) of retraining step by step: amct_caffe.create_quant_retrain_config() with more settings.

    weight_bits (4, 6, 8), activation_bits (4, 6, 8, 16), edge_bits (of the first and the last layer) and ranges ('amct', 'lsq',
    'lsq+', 'pact', 'tqt', 'auto') are those of retrain(), for layers of which config_definition (.cfg) says nothing; 0 and None
    are AMCT's.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> config = os.path.join(folder, 'config.json')
    >>> qaffe.create_retrain_config(config, model, weights, weight_bits=4, edge_bits=6)
    >>> open(config).read().count('"num_bits":6')
    4
    """
    options = RetrainConfigOptions(text(config_definition), weight_bits, activation_bits, edge_bits, text(ranges))
    with turn:
        check(library.qf_create_retrain_config(context, path(config_file), path(model), path(weights), byref(options)))
