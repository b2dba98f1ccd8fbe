"""The program `amct_caffe calibration`."""
import glob
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import qaffe.examples

EVALUATOR = """
import caffe
from amct_caffe.common.auto_calibration import AutoCalibrationEvaluatorBase
from amct_caffe.common.cmd_line_utils.data_handler import load_data

class Mine(AutoCalibrationEvaluatorBase):
    def calibration(self, modified_model, modified_weights):
        net = caffe.Net(modified_model, modified_weights, caffe.TEST)
        for batch in load_data({"data": [2, 1, 8, 8]}, ["batches"], ["float32"], 1):
            net.forward(**batch)

"""


@pytest.fixture
def given(folder):
    """A net, weights and four batches of five images, where the net was written for two; the arguments for them."""
    model, weights = qaffe.examples.small_model()
    (folder / "batches").mkdir()
    for i in range(4):
        np.random.RandomState(i).randn(5, 1, 8, 8).astype("float32").tofile("batches/%d.bin" % i)
    return ["--model", model, "--weights", weights, "--save_path", "results/m"]


DATA = ["--input_shape", "data:5,1,8,8", "--data_dir", "batches", "--data_types", "float32"]


def run(arguments, **environment):
    done = subprocess.run([sys.executable, "-m", "amct_caffe", "calibration"] + arguments, stderr=subprocess.PIPE,
                          text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment})
    return done.returncode, done.stderr


def refused(arguments, words):
    status, said = run(arguments)
    assert status == 1 and said.startswith("amct_caffe calibration: error: ") and words in said and said.count("\n") == 1
    assert not os.path.exists("results") and not glob.glob("?????_*")


def test_too_few_batches(given):
    refused(given + DATA + ["--batch_num", "5"],
            "The number of given data batches is not enough to run calibration with the given batch_num. Total batches "
            "found: 4, but trying to load: 5.")


def test_no_batches(given):
    refused(given + DATA + ["--batch_num", "0"], "The batch_num must be greater than zero.")


def test_folders_that_are_not_there(given):
    refused(given + DATA[:2] + ["--data_dir=nowhere"] + DATA[4:] + ["--batch_num=1"],
            "%s: No such file or directory" % os.path.realpath("nowhere"))


def test_a_gpu(given):
    refused(given + DATA + ["--batch_num=1", "--gpu_id=1"], "cuda:1: there is no GPU to compute on")


def test_a_wrong_command_line(given):
    assert run(given) == (2, "amct_caffe calibration: error: '--input_shape' is required when '--evaluator' option is "
                             "not given.\n")


def evaluator(text):
    pytest.importorskip("amct_caffe.common.auto_calibration")
    pathlib.Path("mine.py").write_text(EVALUATOR + text)
    return ["--evaluator", "mine.py", "--batch_num", "1"]


@pytest.mark.parametrize("text, words", [
    ("", "'{}' must have one instance of a class derived from AutoCalibrationEvaluatorBase, but has none"),
    ("a, b = Mine(), Mine()",
     "'{}' must have one instance of a class derived from AutoCalibrationEvaluatorBase, but has 2"),
    ("a = 1 / 0", "the evaluator '{}' cannot be loaded: ZeroDivisionError: division by zero"),
    ("Mine.calibration = lambda *_: {}['top1']\na = Mine()",
     "calibration() of the evaluator fails in line 12 of {}: KeyError: 'top1'"),
])
def test_evaluators_that_do_not_work(given, text, words):
    refused(given + evaluator(text), words.replace("{}", os.path.realpath("mine.py")))


def test_other_words():
    def amct(*words):
        return subprocess.run([sys.executable, "-m", "amct_caffe", *words], capture_output=True, text=True,
                              env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))

    assert "calibration" in amct("--help").stdout and amct("--version").stdout == "amct_caffe %s\n" % qaffe.__version__
    none = amct()
    assert none.returncode == 2 and none.stderr.startswith("usage: amct_caffe calibration")
