"""The models of a calibrated net, step by step, corrected first: export_calibrated()."""
from __future__ import annotations

from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p, pointer
from typing import Optional, Sequence

from ._equalise import equalise_choice
from ._library import ActionFunction, DataOptions, Options, ProgressFunction, _declare, check, context, library
from ._report import _Work
from ._retrain import text

SAVE_TYPES = {"Fakequant": 1, "Deploy": 2, "Both": 3}


class CorrectionOptions(Options):
    c_name = b"qf_correction_options"
    _fields_ = [("size", c_size_t), ("model", c_char_p), ("weights", c_char_p), ("data", POINTER(DataOptions)),
                ("bias_correction", c_int), ("adaround", c_int), ("adaround_iterations", c_int)]


_declare(library, {
    "qf_quant_open_equalised": (c_int, [c_void_p] + [c_char_p] * 4 + [c_int, POINTER(c_void_p)]),
    "qf_save_corrected_model": (c_int, [c_void_p, c_void_p, c_int, c_char_p, POINTER(CorrectionOptions), ActionFunction,
                                        ProgressFunction, c_void_p]),
}, (CorrectionOptions,))


def export_calibrated(model: str, weights: str, config: str, record: str, save_path: str, *, save_type: str = "Both",
                      bias_correction: int = 0, adaround: bool = False, adaround_iterations: int = 1000,
                      data: Optional[str] = None, data_type: str = "float32", batch_size: int = 0, resize: int = 0,
                      scale: float = 1.0, mean_file: Optional[str] = None, mean_values: Sequence[float] = (),
                      equalise: str = "off") -> None:
    """Write the models of a net that amct_caffe's steps have calibrated: save_model() with the corrections of quantise().

    model, weights, config and record are those of the steps before. bias_correction, adaround, adaround_iterations, data and
    what prepares it: as for quantise(); give the data that calibrated. save_type: 'Both', 'Fakequant' or 'Deploy'; the
    fake-quant model is written on the way in any case. equalise: 'off', 'on' or 'auto', as `qaffe ptq prepare --equalise` had it.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> ptq, again = os.path.join(folder, 'ptq'), os.path.join(folder, 'again')
    >>> result = qaffe.quantise(model, weights, batch_num=2, save_path=ptq)
    >>> qaffe.export_calibrated(model, weights, ptq + '_config.json', ptq + '_record.txt', again, bias_correction=1)
    >>> os.path.exists(again + '_deploy_model.prototxt')
    True
    """
    if save_type not in SAVE_TYPES:
        raise ValueError("save_type must be one of %s, but is '%s'" % (", ".join(SAVE_TYPES), save_type))
    source = DataOptions(text(data), text(data_type), batch_size, resize, scale, text(mean_file),
                         text(",".join("%.9g" % value for value in mean_values) or None))
    options = CorrectionOptions(text(model), text(weights), pointer(source), bias_correction, adaround, adaround_iterations)
    graph = c_void_p()
    try:
        with _Work() as work:
            check(library.qf_quant_open_equalised(context, text(config), text(model), text(weights), text(record),
                                                  equalise_choice(equalise), byref(graph)))
            check(library.qf_save_corrected_model(context, graph, SAVE_TYPES[save_type], text(save_path), byref(options),
                                                  work.stop, work.show, None))
    finally:
        library.qf_quant_graph_destroy(graph)
