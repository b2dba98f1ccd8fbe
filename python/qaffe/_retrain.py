"""The whole quantisation-aware training in one call, and what it shares with that without training."""
from __future__ import annotations

import html
import math
import os
from ctypes import POINTER, Structure, byref
from dataclasses import dataclass, field
from typing import Callable, Optional, Sequence

from ._equalise import equalise_choice
from ._library import (DIVERGENCE, ActionFunction, Interruptible, PlanFunction, ProgressFunction, QatOptions, QatResult, check,
                       context, hold, library, turn)
from ._limits import cut
from ._run_log import ProgressLine, RunLog

_BATCH_NORM = {"model": 0, "frozen": 1, "train": 2}
_KEEP = ("best", "last")
_DISTIL = {"off": 1, "on": 2, "auto": 3}
_MODELS = ("float", "calibrated", "fake-quant", "deploy")


@dataclass
class LayerResult:
    """One quantised layer. Ratios of signal to quantisation noise are in dB; NaN where they do not apply."""
    name: str
    type: str
    scale_d: float
    offset_d: int
    shift_min: int
    shift_max: int
    weight_sqnr: float
    input_sqnr: float
    weight_bits: int = 8  # 0: it has no weights
    activation_bits: int = 8  # of its input


@dataclass
class Score:
    """One value that the nets put out in a test, for each model; calibrated: fake quantisation before training, NaN
    where there is none."""
    name: str
    float_score: float
    calibrated_score: float
    fake_quant_score: float
    deploy_score: float


def _decibels(value: float) -> str:
    return "-" if math.isnan(value) else "exact" if math.isinf(value) else "%.1f" % value


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0])] + lines[1:])


def html_table(rows: Sequence[Sequence[str]], caption: str) -> str:
    """The first row is the head; names are escaped."""
    def row(cells, tag):
        return "<tr>%s</tr>" % "".join("<%s>%s</%s>" % (tag, html.escape(cell), tag) for cell in cells)
    return "<table><caption>%s</caption><thead>%s</thead><tbody>%s</tbody></table>" % (
        html.escape(caption), row(rows[0], "th"), "".join(row(cells, "td") for cells in rows[1:]))


@dataclass
class Validation:
    """What states of training were worth on items that are neither trained nor tested on: the output that was measured,
    1 in better where more of it is (-1: less), how many items, and the float net, the calibrated start, the best state, the last,
    and the average of all (NaN: there was none)."""
    name: str
    better: int
    items: int
    float_score: float
    calibrated_score: float
    best_score: float
    last_score: float
    average_score: float = math.nan


@dataclass
class Result:
    """What retrain() or quantise() found: print it, or plot() it in a notebook."""
    score_name: str
    float_score: float
    calibrated_score: float
    fake_quant_score: float
    deploy_score: float
    float_bytes: int
    fake_quant_bytes: int
    deploy_bytes: int
    differing_integers: int
    compared_integers: int
    save_path: str
    layers: list[LayerResult] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)  # all outputs of the net, the main one first
    test_items: int = 0  # that each model was tested on, each once; 0: a number of batches
    log: str = ""  # the file that has the whole log
    validation: Optional[Validation] = None  # None: nothing was measured during training
    kept_iteration: int = 0  # of the state of training that is exported; 0: the calibrated start
    last_iteration: int = 0  # at which training ended
    kept_reason: str = ""  # in a sentence
    remark: str = ""  # that training made the net worse than its calibrated start, or nothing was tested; what to do
    iterations: int = 0  # of training; 0: there was none
    base_lr: float = 0.0  # with which it began
    kept_average: bool = False  # what is exported is the average of the states up to kept_iteration

    @property
    def retrained(self) -> str:
        """The file of the weights that retrain() exported: of the state that was kept."""
        return "%s%sretrained_iter_%d.caffemodel" % (self.save_path, "" if self.save_path.endswith("/") else "_",
                                                     self.kept_iteration)

    def _layer_rows(self) -> list[list[str]]:
        layers = [["layer", "type", "bits", "scale_d", "offset_d", "shift N", "weights dB", "input dB"]]
        for row in self.layers:
            shift = "-" if row.shift_max == 0 else str(row.shift_min) if row.shift_min == row.shift_max \
                else "%d-%d" % (row.shift_min, row.shift_max)
            layers.append([row.name, row.type, "%s, %d" % (row.weight_bits or "-", row.activation_bits), "%.6g" % row.scale_d, str(row.offset_d), shift,
                           _decibels(row.weight_sqnr), _decibels(row.input_sqnr)])
        return layers

    def _model_rows(self) -> list[list[str]]:
        models = [["output", *_MODELS]]
        for row in self.scores:
            models.append([row.name] + ["%.4f" % score for score in (
                row.float_score, row.calibrated_score, row.fake_quant_score, row.deploy_score)])
        models.append(["weights file"] + ["%.1f KiB" % (size / 1024) if size else "-" for size in (
            self.float_bytes, 0, self.fake_quant_bytes, self.deploy_bytes)])
        if all(math.isnan(row.calibrated_score) for row in self.scores):  # without training there is no such model
            models = [row[:2] + row[3:] for row in models]
        return models

    def _state_rows(self) -> list[list[str]]:
        v = self.validation
        if not v:
            return []
        return [["state", "%s on %d held-back items" % (v.name, v.items)]] + [
            [name, "%.4f" % score] for name, score in (
                ("float", v.float_score), ("calibrated", v.calibrated_score), ("best", v.best_score), ("last", v.last_score),
                ("average", v.average_score)) if name != "average" or not math.isnan(score)]

    def _verified(self) -> str:
        return "Verified: %d integers, %d differ. Log: %s" % (self.compared_integers, self.differing_integers, self.log)

    def __str__(self) -> str:
        states = self._state_rows()
        parts = [_table(self._layer_rows()), _table(self._model_rows()), states and _table(states), self.kept_reason, self.remark,
                 self._verified()]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        states = self._state_rows()
        return "".join([html_table(self._model_rows(), "Models"), html_table(states, "States of training") if states else "",
                        html_table(self._layer_rows(), "Layers")] + [
                            "<p>%s</p>" % html.escape(text) for text in (self.kept_reason, self.remark, self._verified()) if text])

    def plot(self):
        """A bar chart of the layers' ratios of signal to noise; needs matplotlib. Returns the axes."""
        import matplotlib.pyplot as pyplot
        _figure, axes = pyplot.subplots(figsize=(1 + len(self.layers), 4))
        places = range(len(self.layers))
        for shift, name, values in ((-0.2, "weights", [row.weight_sqnr for row in self.layers]),
                                    (0.2, "input", [row.input_sqnr for row in self.layers])):
            axes.bar([p + shift for p in places], [v if math.isfinite(v) else 0 for v in values], 0.4, label=name)
        axes.set_xticks(list(places), [row.name for row in self.layers], rotation=60)
        axes.set_ylabel("signal to quantisation noise (dB)")
        axes.legend()
        return axes


def text(value: Optional[str]) -> Optional[bytes]:
    return None if value is None else os.fsencode(value)


def run(flow, options: Callable[[PlanFunction], Structure], save_path: str,
        progress: Optional[Callable[[int, int, float], None]], verbose: bool, until: Sequence[str]) -> Result:
    """A whole flow of the library, shown as it goes on; its log begins when the options' plan is shown."""
    log_path = save_path + ("run.log" if save_path.endswith("/") else "_run.log")
    log, line = RunLog(log_path, verbose), ProgressLine()
    given = options(PlanFunction(lambda _user, _plan: log.begin()))
    failed = []

    def show(_user, now):
        try:
            if not progress:
                line(now[0])
            elif not now[0].testing or now[0].what == b"calibrating" and flow is library.qf_ptq_run:
                progress(now[0].iteration, now[0].total, now[0].loss)
        except BaseException as exception:  # raised when the library is back
            failed.append(exception)
            hold(exception)

    made = POINTER(QatResult)()
    try:
        with cut(until), turn, log, Interruptible() as interrupt:
            stop = ActionFunction(lambda _user: 2 if failed or interrupt.wanted else 0)
            check(flow(context, byref(given), stop, ProgressFunction(show), None, byref(made)))
        return _result(made[0], save_path, log_path)
    finally:
        line.close()
        library.qf_qat_result_destroy(made)


def _validation(result) -> Optional[Validation]:
    return Validation(result.validation_name.decode(), result.validation_better, result.validation_items, result.validation_float,
                      result.validation_calibrated, result.validation_best, result.validation_last,
                      result.validation_average) if result.validation_name else None


def _result(result, save_path: str, log_path: str) -> Result:
    compared = result.verification[0]
    return Result(
        result.score_name.decode(), result.float_score, result.calibrated_score, result.fake_quant_score,
        result.deploy_score,
        result.float_bytes, result.fake_quant_bytes, result.deploy_bytes, compared.differing,
        compared.compared, save_path,
        [LayerResult(row.name.decode(), row.type.decode(), row.scale_d, row.offset_d, row.shift_min,
                     row.shift_max, row.weight_sqnr, row.activation_sqnr, row.weight_bits, row.activation_bits)
         for row in (result.row[i][0] for i in range(result.rows))],
        [Score(row.name.decode(), row.float_score, row.calibrated_score, row.fake_quant_score, row.deploy_score)
         for row in (result.score[i][0] for i in range(result.scores))],
        result.test_items, log_path, _validation(result), result.kept_iteration, result.last_iteration,
        result.kept_reason.decode(), result.remark.decode(), result.iterations, result.base_lr,
        bool(result.kept_average))


def retrain(model: str, weights: str, *, iterations: int = 0, save_path: str = "qat_results/model",
            train_data: Optional[str] = None, test_data: Optional[str] = None,
            config_definition: Optional[str] = None, batch_size: int = 0, test_iterations: int = 0,
            base_lr: float = 0, momentum: Optional[float] = None, weight_decay: Optional[float] = None, scale: float = 1.0,
            mean_file: Optional[str] = None, mean_values: Sequence[float] = (), batch_norm: str = "model",
            freeze_batch_norm_after: int = -1, on_divergence: str = "auto", from_ptq: Optional[str] = None,
            weight_bits: int = 0, activation_bits: int = 0, edge_bits: int = 0,
            validation_data: Optional[str] = None, hold_back: float = -1, keep: str = "best", patience: int = 5,
            resume: bool = False,
            equalise: str = "auto", re_estimate_batch_norm: int = 0,
            batch_num: int = 0,
            ranges: Optional[str] = None,
            distil: str = "auto", no_labels: bool = False, distil_temperature: float = 2.0,
            distil_weight: float = 0.5, distil_blobs: Sequence[str] = (),
            float_solver: Optional[str] = None, epochs: int = 0,
            average: bool = True,
            until: Sequence[str] = (), progress: Optional[Callable[[int, int, float], None]] = None,
            verbose: bool = False) -> Result:
    """Configure, prepare, train, export and test: a float Caffe net becomes fake-quant and deploy models.

    model, weights: the float net, one to train (with Data layers) or to deploy (with Input; then train_data and
    test_data are LMDBs, and scale, mean_file and mean_values prepare pixels). save_path: folder and beginning of
    all names. batch_norm: 'model', 'frozen' or 'train'. on_divergence: 'auto' (with keep 'best' what
    was best before is exported, else ValueError), 'stop' (ValueError), 'warn' or 'ignore'. from_ptq: a record of
    quantise(), where ranges begin instead of a calibration of the run's own. until: layers at which the
    exported models end (see set_until()). test_iterations: batches of each test; 0: every image once.
    weight_bits (4, 6, 8) and activation_bits (4, 6, 8, 16) are for layers of which config_definition says nothing,
    edge_bits for the first and the last of them; 0: 8. ranges: how ranges learn, 'amct', 'lsq', 'lsq+', 'pact'
    or 'tqt' (docs/numerics.md); None: AMCT's way with 8 bits, LSQ with fewer.
    keep: 'best', the state of training that is best on validation_data or, without it, on a share of the training data that
    is held back (hold_back; -1: a tenth, at most 2000 images; 0: none), the calibrated start among them; or 'last'.
    average: with 'best', averages of the weights along the training are candidates, too, and kept unless what is measured
    speaks against them.
    patience: measures in a row without a gain after which training ends; 0: never. resume: go on with the run of this
    save_path that was interrupted; begins anew where there is none.
    equalise: 'auto', 'on' or 'off', as equalise() does it. re_estimate_batch_norm: batches of training data over which
    statistics of BatchNorm are taken anew when training has ended, to be kept unless they are worse.
    batch_num: batches of training data over which the start is calibrated, as quantise() does it; 0: enough for 400 images.
    distil: 'on', 'off' or 'auto': learn from the float net's outputs, too (auto:
    classifiers that train on fewer than 5000 images, or without labels); distil_weight of that, the losses of labels
    have the rest; distil_blobs: to be learned besides the outputs. no_labels: nothing else trains.
    iterations: of training; 0: epochs times all training data, or, where that is 0 too, ten times, but 200 iterations at least and
    1000 at most. base_lr: the rate it begins with; 0: a hundredth of float_solver's, the solver (.prototxt) that trained the
    float net and whose rule, momentum and weight decay are used, or, without one, found by a short test on training data.
    progress(iteration, total, loss) is called as it trains; without it a line on stderr says how far the work is.
    The whole log goes to <save_path>_run.log; warnings, or all of it if verbose, are shown as well.
    Raises OSError for files that cannot be read or written, ValueError for what makes no sense.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> result = qaffe.retrain(*qaffe.examples.digits(folder), iterations=20, base_lr=0.001,
    ...                        save_path=os.path.join(folder, 'qat'))
    >>> [row.name for row in result.layers], result.differing_integers
    (['conv', 'ip'], 0)
    >>> result.deploy_bytes < result.float_bytes
    True
    """
    if batch_norm not in _BATCH_NORM:
        raise ValueError("batch_norm must be one of %s, but is '%s'" % (", ".join(_BATCH_NORM), batch_norm))

    if on_divergence not in DIVERGENCE:
        raise ValueError("on_divergence must be one of %s, but is '%s'" % (", ".join(DIVERGENCE), on_divergence))

    if keep not in _KEEP:
        raise ValueError("keep must be one of %s, but is '%s'" % (", ".join(_KEEP), keep))
    if distil not in _DISTIL:
        raise ValueError("distil must be one of %s, but is '%s'" % (", ".join(_DISTIL), distil))

    means = ",".join("%.9g" % value for value in mean_values) or None

    def options(begin: PlanFunction) -> QatOptions:
        made = QatOptions(
            text(model), text(weights), text(train_data), text(test_data), text(config_definition), text(save_path),
            iterations, batch_size, test_iterations, base_lr, -1 if momentum is None else momentum,
            -1 if weight_decay is None else weight_decay, scale, text(mean_file),
            text(means), _BATCH_NORM[batch_norm], freeze_batch_norm_after,
            DIVERGENCE.index(on_divergence), begin, text(from_ptq), weight_bits, activation_bits, edge_bits,
            text(validation_data), hold_back, _KEEP.index(keep), patience, resume)
        made.equalise = equalise_choice(equalise)
        made.ranges = text(ranges)
        made.distil, made.no_labels = _DISTIL[distil], no_labels
        made.distil_temperature, made.distil_weight = distil_temperature, distil_weight
        made.distil_blobs = text(",".join(distil_blobs) or None)
        made.re_estimate_batch_norm = re_estimate_batch_norm
        made.batch_num = batch_num
        made.float_solver, made.epochs = text(float_solver), epochs
        made.average = average
        return made

    return run(library.qf_qat_run, options, save_path, progress, verbose, until)
