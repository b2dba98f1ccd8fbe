"""The whole quantisation without training in one call."""
from __future__ import annotations

from ctypes import c_char_p, pointer
from typing import Callable, Optional, Sequence

from ._equalise import equalise_choice
from ._library import DataOptions, PlanFunction, PtqOptions, QuantOptions, library
from ._retrain import Result, run, text


def quantise(model: str, weights: str, *, data: Optional[str] = None, test_data: Optional[str] = None,
             save_path: str = "ptq_results/model", config: Optional[str] = None,
             config_definition: Optional[str] = None, skip_layers: Sequence[str] = (), batch_num: int = 1,
             activation_offset: bool = True, data_type: str = "float32", batch_size: int = 0, resize: int = 0,
             scale: float = 1.0, mean_file: Optional[str] = None, mean_values: Sequence[float] = (),
             test_iterations: int = 0, equalise: str = "auto",
             bias_correction: int = 0, adaround: bool = False, adaround_iterations: int = 1000,
             until: Sequence[str] = (),
             progress: Optional[Callable[[int, int, float], None]] = None, verbose: bool = False) -> Result:
    """Configure, calibrate, export and test: a float Caffe net becomes fake-quant and deploy models, untrained.

    model, weights: the float net, with layers that read data or with Input. data: what ranges are measured on: an
    LMDB or LevelDB, a folder of images, a list of them, or a folder of .bin files of data_type, raw batches of the
    input's shape ('data=FOLDER,im_info=FOLDER' for several inputs); None: the model's own. test_data: labelled
    images; without it the model's own, and no test of a net with Input. Image files are resized to the mean image or
    the input, or to resize x resize, of which the net takes the middle; scale, mean_file and mean_values prepare
    pixels. config: a configuration (.json); without it one is made by config_definition (.cfg), or by skip_layers,
    batch_num and activation_offset. equalise: 'auto', 'on' or 'off', as equalise() does it.
    bias_correction: batches for each layer over which it is measured how far quantisation moves the means of channels, to be
    put right in biases. adaround: learn for each weight whether it is rounded up or down, from the batches that
    calibrate, over adaround_iterations of each layer. until: layers at which the models end (see set_until()).
    save_path: folder and beginning of all names.
    progress(iteration, total, loss) is called as it calibrates; without it a line on stderr says how far the work is.
    The whole log goes to <save_path>_run.log; warnings, or all of it if verbose, are shown as well.
    Raises OSError for files that cannot be read or written, ValueError for what makes no sense, RuntimeError where
    there are fewer batches than batch_num.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> digits = qaffe.examples.digits(folder)
    >>> result = qaffe.quantise(*digits, batch_num=2, save_path=os.path.join(folder, 'ptq'))
    >>> [row.name for row in result.layers], result.differing_integers
    (['conv', 'ip'], 0)
    >>> result.deploy_score > result.float_score - 0.05
    True
    >>> rounded = qaffe.quantise(*digits, batch_num=2, adaround=True, adaround_iterations=50,
    ...                          save_path=os.path.join(folder, 'rounded'))
    >>> rounded.deploy_score > result.float_score - 0.05, rounded.differing_integers
    (True, 0)
    >>> part = qaffe.quantise(*digits, until=['relu'], save_path=os.path.join(folder, 'part'))
    >>> [row.name for row in part.layers], part.differing_integers
    (['conv'], 0)
    """
    names = (c_char_p * len(skip_layers))(*[text(name) for name in skip_layers])
    means = ",".join("%.9g" % value for value in mean_values) or None
    source = DataOptions(text(data), text(data_type), batch_size, resize, scale, text(mean_file), text(means))
    settings = QuantOptions(names, len(skip_layers), batch_num, activation_offset, text(config_definition))

    def options(begin: PlanFunction) -> PtqOptions:
        made = PtqOptions(text(model), text(weights), pointer(source), text(test_data), text(config),
                          None if config else pointer(settings), text(save_path), test_iterations, begin)
        made.equalise = equalise_choice(equalise)
        made.bias_correction = bias_correction
        made.adaround = adaround
        made.adaround_iterations = adaround_iterations
        return made

    return run(library.qf_ptq_run, options, save_path, progress, verbose, until)
