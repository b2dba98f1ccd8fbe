"""accuracy_based_auto_calibration: a net that needs layers in float, interruptions, classes of users."""
import json
import math
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import amct_caffe as amct
import caffe
from amct_caffe.common.auto_calibration import (AutoCalibrationEvaluatorBase, AutoCalibrationStrategyBase,
                                                BinarySearchStrategy, CosineSimilaritySensitivity, MseSensitivity,
                                                SensitivityBase)

LAYERS = 6
HARD = ("conv2", "conv5")  # one channel of their input is far larger than the others


def make_net(folder):
    """Convolutions in a row; in front of the hard ones a channel that hardly counts makes all others coarse."""
    lines = ["layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 4 dim: 8 dim: 6 dim: 6 } } }"]
    for i in range(LAYERS):
        lines.append("layer { name: 'conv%d' type: 'Convolution' bottom: '%s' top: 'conv%d' convolution_param { "
                     "num_output: 8 kernel_size: 1 bias_term: false } }" % (i, "conv%d" % (i - 1) if i else "data", i))
    model, weights = str(folder / "net.prototxt"), str(folder / "net.caffemodel")
    with open(model, "w") as file:
        file.write("\n".join(lines))
    net = caffe.Net(model, caffe.TEST)
    draw = np.random.RandomState(3)
    for i in range(LAYERS):
        values = np.linalg.qr(draw.randn(8, 8))[0]
        if "conv%d" % (i + 1) in HARD:
            values[7] *= 200
        if "conv%d" % i in HARD:
            values[:, 7] /= 200
        net.params["conv%d" % i][0].data[...] = values.reshape(8, 8, 1, 1)
    net.save(weights)
    config = str(folder / "config.json")
    amct.create_quant_config(config, model, weights)
    return model, weights, config


class Evaluator(AutoCalibrationEvaluatorBase):
    """By the angle between the outputs of the float model and of another."""

    def __init__(self, least=0.999):
        super().__init__()
        self.least, self.evaluations, self.expected = least, 0, None
        self.data = np.random.RandomState(5).randn(4, 8, 6, 6).astype(np.float32)

    def run(self, model, weights):
        net = caffe.Net(model, weights, caffe.TEST)
        net.blobs["data"].data[...] = self.data
        return net.forward()["conv%d" % (LAYERS - 1)].ravel().astype(float)

    def calibration(self, model_file, weights_file):
        self.run(model_file, weights_file)

    def evaluate(self, model_file, weights_file):
        self.evaluations += 1
        output = self.run(model_file, weights_file)
        if self.expected is None:
            self.expected = self.run(self.model, self.weights)
        return float(output @ self.expected / np.sqrt((output @ output) * (self.expected @ self.expected)))

    def metric_eval(self, original_metric, new_metric):
        return new_metric >= self.least, original_metric - new_metric


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_net(tmp_path)


def calibrate(net, evaluator, **more):
    model, weights, config = net
    evaluator.model, evaluator.weights = model, weights
    amct.accuracy_based_auto_calibration(model, weights, evaluator, config, "record.txt", "results/model", **more)


def floats(path="results/accuracy_based_auto_calibration_final_config.json"):
    with open(path) as file:
        return {name for name, value in json.load(file).items() if isinstance(value, dict) and not value["quant_enable"]}


def test_the_layers_that_need_it_stay_float(net):
    with open(net[2]) as file:
        before = file.read()
    evaluator = Evaluator()
    calibrate(net, evaluator)
    assert floats() == set(HARD)
    assert evaluator.evaluations <= 2 + math.floor(math.log2(LAYERS)) + 2
    with open(net[2]) as file:
        assert file.read() == before
    with open("results/accuracy_based_auto_calibration_ranking_information.json") as file:
        ranking = json.load(file)
    assert {name for name, _value in ranking[:2]} == set(HARD)
    assert sorted(os.listdir("results")) == sorted(
        ["accuracy_based_auto_calibration_final_config.json", "accuracy_based_auto_calibration_ranking_information.json",
         "model_deploy_model.prototxt", "model_deploy_weights.caffemodel", "model_fake_quant_model.prototxt",
         "model_fake_quant_weights.caffemodel", "model_quant.json"])
    assert evaluator.evaluate("results/model_fake_quant_model.prototxt",
                              "results/model_fake_quant_weights.caffemodel") >= 0.999
    with open("amct_log/accuracy_based_auto_calibration_record.json") as file:
        assert file.read().count("roll_back_config") == evaluator.evaluations - 2  # not the original, nor the one above


def test_no_search_where_all_may_be_quantised(net):
    evaluator = Evaluator(least=-1)
    calibrate(net, evaluator)
    assert evaluator.evaluations == 2 and floats() == set()


def test_no_model_where_none_may_be_quantised(net):
    calibrate(net, Evaluator(least=-1))
    calibrate(net, Evaluator(least=1 - 1e-12))
    assert not [name for name in os.listdir("results") if "deploy" in name or "fake_quant" in name]


def test_classes_of_users(net):
    class Last(SensitivityBase):
        def compare(self, data, other):
            assert data.ndim == 1 and data.shape == other.shape
            return 0.0

    class AllAtOnce(AutoCalibrationStrategyBase):
        def initialize(self, ranking_info):
            assert list(ranking_info) == ["conv%d" % i for i in range(LAYERS)]

        def update_quant_config(self, metric_eval):
            assert metric_eval[0] is False
            return {"stop_flag": True, "roll_back_config": {name: False for name in HARD}}

    evaluator = Evaluator()
    calibrate(net, evaluator, strategy=AllAtOnce(), sensitivity=Last())
    assert evaluator.evaluations == 3 and floats() == set(HARD)
    calibrate(net, Evaluator(), sensitivity=MseSensitivity())
    assert set(HARD) <= floats()


def test_what_an_evaluator_raises_comes_through(net):
    class Broken(Evaluator):
        def __init__(self, method, calls):
            super().__init__()
            self.method, self.calls = method, calls

        def fail(self, method):
            self.calls -= self.method == method
            if self.calls < 0:
                raise KeyError("mine")

        def calibration(self, *files):
            self.fail("calibration")
            super().calibration(*files)

        def evaluate(self, *files):
            self.fail("evaluate")
            return super().evaluate(*files)

    for method, calls in (("calibration", 0), ("calibration", 1), ("evaluate", 0), ("evaluate", 1), ("evaluate", 2)):
        with pytest.raises(KeyError, match="mine"):
            calibrate(net, Broken(method, calls))
        left = os.listdir("results") if os.path.exists("results") else []
        assert set(left) <= {"accuracy_based_auto_calibration_state.json"}
        assert not os.path.exists("record.txt")
        shutil.rmtree("results")


def test_refusals(net):
    with pytest.raises(RuntimeError, match="strategy is not inherited from base class AutoCalibrationStrategyBase"):
        calibrate(net, Evaluator(), strategy="Linear")
    with pytest.raises(RuntimeError, match="sensitivity is not inherited from base class SensitivityBase"):
        calibrate(net, Evaluator(), sensitivity=3)
    with pytest.raises(RuntimeError, match="Can not find the config_file at "):
        calibrate((net[0], net[1], "none.json"), Evaluator())

    class Never(Evaluator):
        def metric_eval(self, original_metric, new_metric):
            return False, 0

    with pytest.raises(ValueError, match="Compare between original_accuracy and original_accuracy"):
        calibrate(net, Never())
    assert os.listdir("results") == []


def test_strategies_agree():
    for layers in range(1, 20):
        for least in range(1, layers + 1):
            strategy, tested, stop = BinarySearchStrategy(), [], False
            strategy.initialize({"l%02d" % i: i for i in range(layers)})
            answer = strategy.update_quant_config((False, 0))
            while True:
                k = sum(not value for value in answer["roll_back_config"].values())
                if answer["stop_flag"] or k == layers:
                    break
                tested.append(k)
                answer = strategy.update_quant_config((k >= least, 0))
            assert k == least and len(tested) <= math.floor(math.log2(layers)) + 1


KILLED = """
import os, signal, sys
sys.path.insert(0, %r)
import test_auto_calibration as tests
class Killed(tests.Evaluator):
    def evaluate(self, *files):
        if self.evaluations == %d:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(*files)
Killed.__module__, Killed.__qualname__ = tests.Evaluator.__module__, tests.Evaluator.__qualname__
tests.calibrate(%r, Killed())
"""


@pytest.mark.parametrize("evaluations", [1, 2, 3])
def test_killed_it_goes_on(net, evaluations):
    whole = Evaluator()
    calibrate(net, whole)
    with open("amct_log/accuracy_based_auto_calibration_record.json") as file:
        record = file.read()
    for name in os.listdir("results"):
        os.remove(os.path.join("results", name))
    script = KILLED % (os.path.dirname(os.path.abspath(__file__)), evaluations, net)
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == -signal.SIGKILL
    assert any(name.startswith("temp") for name in os.listdir("results"))
    rest = Evaluator()
    calibrate(net, rest)
    assert rest.evaluations == whole.evaluations - evaluations
    assert floats() == set(HARD)
    with open("amct_log/accuracy_based_auto_calibration_record.json") as file:
        assert file.read() == record
    assert not [name for name in os.listdir("results") if name.startswith("temp") or "state" in name]
