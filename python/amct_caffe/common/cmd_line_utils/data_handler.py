"""Batches for calibration from files of raw numbers."""
import os

import numpy as np

__all__ = ["load_data", "load_bin_data"]

_TYPES = ("float64", "float32", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "bool")


def _check_type(name):
    if name not in _TYPES:
        raise TypeError("Unsupported data type[%s]!" % name)


def load_bin_data(data_file_name, data_types, data_shapes):
    """The array of one file: numbers of one type, of a shape. TypeError for an unknown type, ValueError for a file of
    another size.

    >>> import numpy as np
    >>> from amct_caffe.common.cmd_line_utils.data_handler import load_bin_data
    >>> np.arange(4, dtype="int8").tofile("batch.bin")
    >>> load_bin_data("batch.bin", "int8", [2, 2]).tolist()
    [[0, 1], [2, 3]]
    """
    _check_type(data_types)
    kind = np.dtype(data_types)
    size, needed = os.path.getsize(data_file_name), int(np.prod(data_shapes)) * kind.itemsize
    if size != needed:
        raise ValueError("'%s' has %d bytes, but a batch of %s of the shape %s has %d"
                         % (data_file_name, size, data_types, list(data_shapes), needed))
    return np.fromfile(data_file_name, kind).reshape(data_shapes)


def _files(folder):
    """The batches of a folder: its .bin files, or all files where none is called so."""
    names = sorted(os.listdir(folder))
    return [os.path.join(folder, name) for name in [n for n in names if n.endswith(".bin")] or names]


def load_data(inputs, data_paths, data_types, num=None):
    """Batches, one after the other: each a dict of arrays by input's name, as caffe.Net.forward takes them.

    inputs: shapes by name. data_paths, data_types: a folder and a type for each of them. num: how many batches; all
    without it. RuntimeError if a folder has fewer, TypeError for an unknown type.

    >>> import numpy as np, os
    >>> from amct_caffe.common.cmd_line_utils.data_handler import load_data
    >>> os.makedirs("batches")
    >>> for i in range(3):
    ...     np.full(4, i, "float32").tofile("batches/%d.bin" % i)
    >>> [float(batch["data"].sum()) for batch in load_data({"data": [1, 4]}, ["batches"], ["float32"], 2)]
    [0.0, 4.0]
    """
    sources = []
    for (name, shape), folder, kind in zip(inputs.items(), data_paths, data_types):
        _check_type(kind)
        files = _files(folder)
        if num is None:
            num = len(files)
        if len(files) < num:
            raise RuntimeError("The number of given data batches is not enough to run calibration with the given "
                               "batch_num. Total batches found: %d, but trying to load: %d." % (len(files), num))
        sources.append((name, shape, kind, files))
    return ({name: load_bin_data(files[i], kind, shape) for name, shape, kind, files in sources}
            for i in range(num or 0))
