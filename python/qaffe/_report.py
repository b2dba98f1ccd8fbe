"""What each layer of a quantised net loses, and why: report() and sensitivity()."""
from __future__ import annotations

import html
import json
import math
from ctypes import POINTER, Structure, byref, c_bool, c_char, c_char_p, c_double, c_int, c_size_t, c_void_p, pointer, string_at
from dataclasses import dataclass, field
from typing import Callable, Optional, Sequence

from ._library import ActionFunction, DataOptions, Interruptible, Options, ProgressFunction, _declare, check, context, hold, library, \
    turn
from ._retrain import text
from ._run_log import ProgressLine

_JSON, _TEXT, _HTML = range(3)


class SensitivityOptions(Options):
    c_name = b"qf_sensitivity_options"
    _fields_ = [("size", c_size_t), ("model", c_char_p), ("weights", c_char_p), ("retrained", c_char_p), ("prefix", c_char_p),
                ("data", POINTER(DataOptions)), ("test_data", c_char_p), ("max_loss", c_double), ("batches", c_int),
                ("alone_only", c_int)]


class SensitiveRow(Structure):
    c_name = b"qf_sensitive_layer"
    _fields_ = [("name", c_char * 128), ("type", c_char * 32), ("alone_score", c_double), ("alone_loss", c_double),
                ("float_score", c_double), ("float_gain", c_double), ("skip", c_bool)]


class SensitivityResult(Structure):
    c_name = b"qf_sensitivity_result"
    _fields_ = [("score_name", c_char * 128), ("better", c_int), ("batches", c_int), ("float_score", c_double),
                ("quantised_score", c_double), ("quantised_loss", c_double), ("layers", c_size_t),
                ("layer", POINTER(POINTER(SensitiveRow))), ("skipped", c_size_t)]


class ReportOptions(Options):
    c_name = b"qf_report_options"
    _fields_ = [("size", c_size_t), ("model", c_char_p), ("weights", c_char_p), ("retrained", c_char_p), ("prefix", c_char_p),
                ("data", POINTER(DataOptions)), ("test_data", c_char_p), ("log", c_char_p), ("result", c_void_p),
                ("sensitivity", POINTER(SensitivityResult)), ("batches", c_int), ("test_iterations", c_int)]


_declare(library, {
    "qf_measure_sensitivity": (c_int, [c_void_p, POINTER(SensitivityOptions), ActionFunction, ProgressFunction, c_void_p,
                                       POINTER(POINTER(SensitivityResult))]),
    "qf_sensitivity_result_destroy": (None, [POINTER(SensitivityResult)]),
    "qf_report_create": (c_int, [c_void_p, POINTER(ReportOptions), ActionFunction, ProgressFunction, c_void_p, POINTER(c_void_p)]),
    "qf_report_destroy": (None, [c_void_p]),
    "qf_report_render": (c_int, [c_void_p, c_void_p, c_int, POINTER(c_void_p), POINTER(c_size_t)]),
}, (SensitivityOptions, SensitiveRow, SensitivityResult, ReportOptions))


def _bars(names: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], label: str):
    """Bars side by side for each layer, by matplotlib."""
    import matplotlib.pyplot as pyplot
    _figure, axes = pyplot.subplots(figsize=(max(4, 1 + 0.5 * len(names)), 4))
    width = 0.8 / len(series)
    for k, (name, values) in enumerate(series):
        axes.bar([i + k * width for i in range(len(names))], [v if math.isfinite(v) else 0 for v in values], width, label=name)
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(names))], names, rotation=60)
    axes.set_ylabel(label)
    axes.legend()
    return axes


@dataclass
class Report:
    """What report() found: print it, show it in a notebook, plot() it; `figures` has all that the JSON has (docs/report.md)."""
    figures: dict
    html: str = field(repr=False)
    text: str = field(repr=False)

    @property
    def layers(self) -> list[dict]:
        """Figures of the quantised layers, the one that loses most first."""
        return self.figures["layers"]

    @property
    def advice(self) -> list[dict]:
        """What to try: dictionaries of layer, finding and command."""
        return self.figures["advice"]

    def save(self, path: str) -> None:
        """Write the page, or, if the name ends in .json, the figures."""
        with open(path, "w", encoding="utf-8") as file:
            if path.endswith(".json"):
                json.dump(self.figures, file, indent=1)
            else:
                file.write(self.html)

    def plot(self):
        """Bars of the layers' ratios of signal to noise, alone and in all; needs matplotlib. Returns the axes."""
        def decibels(key):
            return [row[key] if isinstance(row[key], (int, float)) else math.nan for row in self.layers]
        return _bars([row["name"] for row in self.layers], [("output, alone", decibels("output_sqnr")),
                                                            ("output, all", decibels("output_sqnr_all"))],
                     "signal to quantisation noise (dB)")

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return '<iframe title="What int8 costs" style="width:100%%;height:44rem;border:0" sandbox="allow-scripts" srcdoc="%s">' \
            "</iframe>" % html.escape(self.html)


@dataclass
class SensitiveLayer:
    """What the net loses when only this layer is quantised, and gains when only it stays float (NaN: not tried)."""
    name: str
    type: str
    alone_score: float
    alone_loss: float
    float_score: float
    float_gain: float
    skip: bool


@dataclass
class Sensitivity:
    """What sensitivity() found: losses are points of an accuracy, per cent of anything else; the layer that costs most first."""
    score_name: str
    float_score: float
    quantised_score: float
    quantised_loss: float
    batches: int
    layers: list[SensitiveLayer] = field(default_factory=list)

    @property
    def skip_layers(self) -> list[str]:
        """Names of the layers to leave float, for quantise(skip_layers=...)."""
        return [row.name for row in self.layers if row.skip]

    def plot(self):
        """Bars of what each layer costs; needs matplotlib. Returns the axes."""
        return _bars([row.name for row in self.layers], [("quantised alone: loss", [row.alone_loss for row in self.layers]),
                                                         ("float alone: gain", [row.float_gain for row in self.layers])],
                     self.score_name)

    def _rows(self) -> list[list[str]]:
        return [["layer", "type", "quantised alone", "float alone", ""]] + [
            [row.name, row.type, "%+.3f" % row.alone_loss, "-" if math.isnan(row.float_gain) else "%+.3f" % row.float_gain,
             "skip" if row.skip else ""] for row in self.layers]

    def __str__(self) -> str:
        from ._retrain import _table
        return "%s\n\n%s: float %.4f, quantised %.4f" % (_table(self._rows()), self.score_name, self.float_score,
                                                         self.quantised_score)

    def _repr_html_(self) -> str:
        from ._retrain import html_table
        return html_table(self._rows(), "%s: float %.4f, quantised %.4f" % (self.score_name, self.float_score, self.quantised_score))


class _Work:
    """`with _Work() as work:` one long call of the library: progress on stderr, Ctrl-C, one thread at a time."""

    def __enter__(self):
        self._line, self._failed = ProgressLine(), []
        turn.acquire()
        self._interrupt = Interruptible()
        interrupt = self._interrupt.__enter__()
        self.stop = ActionFunction(lambda _user: 2 if self._failed or interrupt.wanted else 0)
        self.show = ProgressFunction(self._show)
        return self

    def _show(self, _user, now):
        try:
            self._line(now[0])
        except BaseException as exception:  # raised when the library is back
            self._failed.append(exception)
            hold(exception)

    def __exit__(self, *exception):
        try:
            return self._interrupt.__exit__(*exception)
        finally:
            turn.release()
            self._line.close()


def _data(source, data_type, batch_size, resize, scale, mean_file, mean_values) -> DataOptions:
    means = ",".join("%.9g" % value for value in mean_values) or None
    return DataOptions(text(source), text(data_type), batch_size, resize, scale, text(mean_file), text(means))


def sensitivity(model: str, weights: str, prefix: str, *, retrained: Optional[str] = None, data: Optional[str] = None,
                test_data: Optional[str] = None, batches: int = 10, max_loss: float = 0.5, alone_only: bool = False,
                data_type: str = "float32", batch_size: int = 0, resize: int = 0, scale: float = 1.0,
                mean_file: Optional[str] = None, mean_values: Sequence[float] = ()) -> Sensitivity:
    """What each layer costs: the net with only that one quantised, and with only that one float.

    model, weights: the float net; prefix: of the models that quantise() or retrain() wrote (save_path); retrained: the result's, behind
    retrain(). Judged is the accuracy (points), else the loss, else the noise of the outputs (per cent).
    Layers are marked to be skipped until the net should lose no more than max_loss. data and what follows as for quantise().
    alone_only: half of the trials. Raises as quantise() does.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> result = qaffe.quantise(model, weights, save_path=os.path.join(folder, 'ptq'))
    >>> costs = qaffe.sensitivity(model, weights, result.save_path, batches=1)
    >>> sorted(row.name for row in costs.layers), costs.score_name
    (['conv', 'ip'], 'accuracy')
    """
    source = _data(data, data_type, batch_size, resize, scale, mean_file, mean_values)
    options = SensitivityOptions(text(model), text(weights), text(retrained), text(prefix), pointer(source), text(test_data),
                                 max_loss, batches, alone_only)
    made = POINTER(SensitivityResult)()
    try:
        with _Work() as work:
            check(library.qf_measure_sensitivity(context, byref(options), work.stop, work.show, None, byref(made)))
            found = made[0]
            return Sensitivity(found.score_name.decode(), found.float_score, found.quantised_score, found.quantised_loss,
                               found.batches,
                               [SensitiveLayer(row.name.decode(errors="replace"), row.type.decode(), row.alone_score, row.alone_loss,
                                               row.float_score, row.float_gain, row.skip)
                                for row in (found.layer[i][0] for i in range(found.layers))])
    finally:
        library.qf_sensitivity_result_destroy(made)


def _render(report, kind: int) -> str:
    made, size = c_void_p(), c_size_t()
    check(library.qf_report_render(context, report, kind, byref(made), byref(size)))
    try:
        return string_at(made, size.value).decode(errors="replace")
    finally:
        library.qf_memory_release(made)


def report(model: str, weights: str, prefix: str, *, retrained: Optional[str] = None, log: Optional[str] = None,
           data: Optional[str] = None, test_data: Optional[str] = None, batches: int = 4, test_iterations: int = 0,
           data_type: str = "float32", batch_size: int = 0, resize: int = 0, scale: float = 1.0,
           mean_file: Optional[str] = None, mean_values: Sequence[float] = ()) -> Report:
    """What each quantised layer loses, how much of that its input, its weights and its shift N make, and what to try.

    model, weights: the float net; prefix: of the models that quantise() or retrain() wrote (save_path). After retrain(): retrained
    and log are the result's; the log adds curves and learned ranges. Figures are of so many batches; test_iterations, data and what
    follows as for quantise(). Raises as quantise() does.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> result = qaffe.quantise(model, weights, save_path=os.path.join(folder, 'ptq'))
    >>> report = qaffe.report(model, weights, result.save_path, batches=1)
    >>> sorted(row['name'] for row in report.layers)
    ['conv', 'ip']
    >>> report.layers[0]['output_sqnr'] <= report.layers[1]['output_sqnr']
    True
    >>> report.save(os.path.join(folder, 'report.html'))
    """
    source = _data(data, data_type, batch_size, resize, scale, mean_file, mean_values)
    options = ReportOptions(text(model), text(weights), text(retrained), text(prefix), pointer(source), text(test_data), text(log),
                            None, None, batches, test_iterations)
    made = c_void_p()
    try:
        with _Work() as work:
            check(library.qf_report_create(context, byref(options), work.stop, work.show, None, byref(made)))
            return Report(json.loads(_render(made, _JSON)), _render(made, _HTML), _render(made, _TEXT))
    finally:
        library.qf_report_destroy(made)
