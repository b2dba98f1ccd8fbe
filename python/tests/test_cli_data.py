"""Data of `amct_caffe calibration`, and the log of its arguments."""
import os
import subprocess
import sys

import numpy as np
import pytest

from amct_caffe.common.cmd_line_utils.data_handler import load_bin_data, load_data


@pytest.fixture
def batches(folder):
    """Two inputs, three batches each; one folder has a file that is no batch."""
    for name in ("data", "info"):
        (folder / name).mkdir()
        for i in (10, 9, 2):
            np.full((2, 3), i, "uint8").tofile(folder / name / ("batch_%02d.bin" % i))
    (folder / "data" / "a_readme.txt").write_text("not a batch")
    return {"inputs": {"data": [2, 3], "info": [6]}, "data_paths": ["data", "info"], "data_types": ["uint8", "uint8"]}


def test_batches_come_in_the_order_of_names(batches):
    loaded = list(load_data(**batches))
    assert [int(batch["data"][0, 0]) for batch in loaded] == [2, 9, 10]
    assert loaded[0]["data"].shape == (2, 3) and loaded[0]["info"].shape == (6,)
    assert len(list(load_data(**batches, num=2))) == 2


def test_too_few_batches(batches):
    os.remove("info/batch_09.bin")
    with pytest.raises(RuntimeError) as raised:
        load_data(**batches, num=3)  # said at once, not with the third batch
    assert str(raised.value) == ("The number of given data batches is not enough to run calibration with the given "
                                 "batch_num. Total batches found: 2, but trying to load: 3.")


def test_other_names_count_where_none_ends_in_bin(folder):
    (folder / "raw").mkdir()
    np.zeros(4, "float32").tofile("raw/0.dat")
    assert len(list(load_data({"x": [4]}, ["raw"], ["float32"]))) == 1


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16",
                                  "uint32", "uint64", "bool"])
def test_types(kind):
    np.array([0, 1, 1, 0], kind).tofile("x.bin")
    array = load_bin_data("x.bin", kind, [4])
    assert array.dtype == kind and array.tolist() == [0, 1, 1, 0]


def test_what_does_not_fit_is_said():
    np.zeros(4, "float32").tofile("x.bin")
    with pytest.raises(TypeError, match=r"^Unsupported data type\[complex64\]!$"):
        load_bin_data("x.bin", "complex64", [2])
    with pytest.raises(ValueError, match=r"'x.bin' has 16 bytes, but a batch of float32 of the shape \[1, 5\] has 20"):
        load_bin_data("x.bin", "float32", [1, 5])


def test_warnings_are_in_the_log():
    step = ("from amct_caffe.common.cmd_line_utils.arguments_handler import CalibrationArguments; CalibrationArguments("
            "'--model m --weights w --save_path r/m --evaluator e.py'.split())")
    done = subprocess.run([sys.executable, "-c", step], check=True, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, AMCT_LOG_LEVEL="INFO", GLOG_minloglevel="0",
                                   PYTHONPATH=os.pathsep.join(sys.path)))
    assert done.stderr.endswith(" - WARNING - [AMCT]:[Arguments]: both batch num and config file are not set, set to "
                                "default value: 1\n")
