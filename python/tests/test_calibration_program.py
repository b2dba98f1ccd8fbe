"""The program `amct_caffe calibration`."""
import glob
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import caffe
import qaffe.examples

NAMES = ["m_deploy_model.prototxt", "m_deploy_weights.caffemodel", "m_fake_quant_model.prototxt",
         "m_fake_quant_weights.caffemodel", "m_quant.json"]
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


def test_batches(given):
    assert run(given + DATA + ["--batch_num=4"]) == (0, "")
    assert sorted(os.listdir("results")) == NAMES and not glob.glob("?????_*")
    batch = np.fromfile("batches/0.bin", "float32").reshape(5, 1, 8, 8)
    outputs = []
    for model, weights in ((given[1], given[3]), ("results/" + NAMES[2], "results/" + NAMES[3]),
                           ("results/" + NAMES[0], "results/" + NAMES[1])):
        net = caffe.Net(model, weights, caffe.TEST)
        net.blobs["data"].reshape(5, 1, 8, 8)
        outputs.append(net.forward(data=batch)["prob"].copy())
    assert 0 < np.abs(outputs[0] - outputs[1]).max() < 0.05 and (outputs[1] == outputs[2]).all()
    log = pathlib.Path("amct_log/amct_caffe.log").read_text()
    assert log.index("Generate config file") < log.index("[Calibration]: 1 of 4 batches") < log.index(
        "[Calibration]: 4 of 4 batches") < log.index("results/m_deploy_model.prototxt")


def test_the_screen_shows_the_steps(given):
    status, shown = run(given + DATA + ["--batch_num=1"], AMCT_LOG_LEVEL="INFO", GLOG_minloglevel="0")
    lines = shown.splitlines()
    assert status == 0 and all(" - INFO - [AMCT]:[" in line for line in lines)
    assert sum("[Calibration]: 1 of 1 batches" in line for line in lines) == 1


def test_a_configuration_says_how_many(given):
    pathlib.Path("q.cfg").write_text("batch_num: 3 skip_layers: 'ip'")
    assert run(given + DATA + ["--calibration_config", "q.cfg"], AMCT_LOG_LEVEL="DEBUG")[0] == 0
    kept, = glob.glob("?????_*")
    assert len(kept) == 20 and sorted(os.listdir(kept)) == [
        "modified_model.prototxt", "modified_weights.caffemodel", "quant_config.json", "record.txt"]
    assert "ip_0_quant_layer" not in pathlib.Path("results/" + NAMES[0]).read_text()


def test_too_few_batches(given):
    refused(given + DATA + ["--batch_num", "5"],
            "The number of given data batches is not enough to run calibration with the given batch_num. Total batches "
            "found: 4, but trying to load: 5.")


def test_no_batches(given):
    refused(given + DATA + ["--batch_num", "0"], "The batch_num must be greater than zero.")


def test_unknown_inputs(given):
    refused(given + ["--input_shape=x:5,1,8,8"] + DATA[2:] + ["--batch_num=1"],
            "--input_shape is for x, but the inputs of the model are data")


def test_data_that_cannot_be_measured(given):
    np.full((5, 1, 8, 8), np.nan, "float32").tofile("batches/0.bin")
    refused(given + DATA + ["--batch_num=1"], "Do IFMR calibration failed")


def test_folders_that_are_not_there(given):
    refused(given + DATA[:2] + ["--data_dir=nowhere"] + DATA[4:] + ["--batch_num=1"],
            "%s: No such file or directory" % os.path.realpath("nowhere"))


def test_a_gpu(given):
    refused(given + DATA + ["--batch_num=1", "--gpu_id=1"], "cuda:1: there is no GPU to compute on")


def test_a_wrong_command_line(given):
    assert run(given) == (2, "amct_caffe calibration: error: '--input_shape' is required when '--evaluator' option is "
                             "not given.\n")


def evaluator(text):
    pathlib.Path("mine.py").write_text(EVALUATOR + text)
    return ["--evaluator", "mine.py", "--batch_num", "1"]


def test_an_evaluator(given):
    np.zeros((2, 1, 8, 8), "float32").tofile("batches/0.bin")
    assert run(given + evaluator("anything = Mine()\nthe_same = anything\n")) == (0, "")
    assert sorted(os.listdir("results")) == NAMES


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


def test_an_evaluator_that_runs_no_batch(given):
    refused(given + evaluator("Mine.calibration = lambda *_: None\na = Mine()"),
            "Cannot find scale_d of layer 'conv' in record file")


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing(given, number, status):
    waiting = evaluator("Mine.calibration = lambda *_: (open('ready', 'w').close(), __import__('time').sleep(600))\n"
                        "a = Mine()")
    with subprocess.Popen([sys.executable, "-m", "amct_caffe", "calibration"] + given + waiting,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as program:
        while not os.path.exists("ready") and program.poll() is None:
            time.sleep(0.01)
        program.send_signal(number)
        assert program.wait() == status
    assert not os.path.exists("results") and not glob.glob("?????_*")


def test_other_words():
    def amct(*words):
        return subprocess.run([sys.executable, "-m", "amct_caffe", *words], capture_output=True, text=True,
                              env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))

    assert "calibration" in amct("--help").stdout and amct("--version").stdout == "amct_caffe %s\n" % qaffe.__version__
    none = amct()
    assert none.returncode == 2 and none.stderr.startswith("usage: amct_caffe calibration")
