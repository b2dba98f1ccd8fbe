"""amct_caffe: the flow, its checks and its words."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import amct_caffe as amct
import caffe
import qaffe.examples


def test_the_flow(digits):
    model, weights = digits
    amct.set_cpu_mode()
    amct.create_quant_retrain_config("tmp/config.json", model, weights)
    assert list(json.load(open("tmp/config.json"))) == ["version", "conv", "ip"]
    amct.create_quant_retrain_model(model, weights, "tmp/config.json", "tmp/m.prototxt", "tmp/m.caffemodel",
                                    "tmp/record.txt")
    solver = caffe.SGDSolver(qaffe.examples.write_solver("solver.prototxt", "tmp/m.prototxt", 10, "tmp/qat"))
    solver.net.copy_from("tmp/m.caffemodel")
    solver.solve()
    amct.save_quant_retrain_model("tmp/m.prototxt", "tmp/qat_iter_10.caffemodel", "Both", "results/user")
    names = ["user_deploy_model.prototxt", "user_deploy_weights.caffemodel", "user_fake_quant_model.prototxt",
             "user_fake_quant_weights.caffemodel", "user_quant.json"]
    assert sorted(os.listdir("results")) == names
    scores = []
    for kind in ("fake_quant", "deploy"):
        net = caffe.Net("results/user_%s_model.prototxt" % kind, "results/user_%s_weights.caffemodel" % kind, caffe.TEST)
        scores.append(sum(net.forward()["accuracy"] for _ in range(4)) / 4)
    assert scores[0] == scores[1] > 0.5
    assert os.stat("results").st_mode & 0o777 == 0o750
    assert os.stat("results/user_deploy_model.prototxt").st_mode & 0o777 == 0o640


def test_types_are_checked():
    with pytest.raises(TypeError, match="Func create_quant_retrain_config argument config_file must be"):
        amct.create_quant_retrain_config(3, "m", "w")
    with pytest.raises(TypeError, match="argument save_type must be"):
        amct.save_quant_retrain_model("m", "w", None, "p")


def test_names_are_checked():
    model, weights = qaffe.examples.small_model()
    with pytest.raises(ValueError, match="empty string is an invalid value for"):
        amct.create_quant_retrain_config("", model, weights)
    with pytest.raises(ValueError, match="should be a file's name but a path"):
        amct.create_quant_retrain_config("folder/", model, weights)
    with pytest.raises(OSError, match="nobody.prototxt"):
        amct.create_quant_retrain_config("c.json", "nobody.prototxt", weights)
    with pytest.raises(ValueError, match="Fakequant, Deploy or Both"):
        amct.save_quant_retrain_model(model, weights, "both", "p")


def test_no_test_phase_says_so():
    model, weights = qaffe.examples.small_model()
    amct.create_quant_retrain_config("c.json", model, weights)
    amct.create_quant_retrain_model(model, weights, "c.json", "m.prototxt", "m.caffemodel", "r.txt")
    with pytest.raises(RuntimeError, match="Cannot find scale_d of layer 'conv' in record file"):
        amct.save_quant_retrain_model("m.prototxt", "m.caffemodel", "Both", "results/m", "r.txt")
    assert not os.path.exists("results")


def test_configuration_errors():
    model, weights = qaffe.examples.small_model()
    with open("c.json", "w") as file:
        file.write('{"version": 1, "nobody": {"retrain_enable": true}}')
    with pytest.raises(ValueError, match="Layer nobody does not exist in the graph"):
        amct.create_quant_retrain_model(model, weights, "c.json", "m.prototxt", "m.caffemodel", "r.txt")


def test_configuration_of_calibration():
    model, weights = qaffe.examples.small_model()
    step = "import amct_caffe; amct_caffe.create_quant_config('tmp/c.json', %r, %r, ['ip'], 3, activation_offset=False)"
    subprocess.run([sys.executable, "-c", step % (model, weights)], check=True)  # which begins a log of its own
    text = open("tmp/c.json").read()
    config = json.loads(text)
    assert list(config) == ["version", "batch_num", "activation_offset", "joint_quant", "do_fusion",
                            "skip_fusion_layers", "conv", "ip"]
    assert (config["batch_num"], config["activation_offset"]) == (3, False)
    assert config["conv"]["quant_enable"] and not config["ip"]["quant_enable"]
    assert config["conv"]["activation_quant_params"]["asymmetric"] is False
    assert text.startswith('{\n    "version":1,\n    "batch_num":3,') and text.endswith("\n}")
    log = open("amct_log/amct_caffe.log").read()
    path = os.path.realpath("tmp/c.json")
    assert "[Config]: Generate config file:%s success!" % path in log
    assert "[create_quant_config]: Create quant config file %s success." % path in log
    with open("q.cfg", "w") as file:
        file.write("batch_num: 2 skip_layers: 'conv' common_config : { hfmg_quantize : { num_of_bins : 1024 } }")
    amct.create_quant_config("tmp/c.json", model, weights, batch_num=7, config_defination="q.cfg")
    config = json.load(open("tmp/c.json"))
    assert config["batch_num"] == 2 and config["ip"]["activation_quant_params"] == {
        "act_algo": "hfmg", "asymmetric": True, "num_of_bins": 1024}


@pytest.mark.parametrize("arguments, error, words", [
    ({"skip_layers": "ip"}, TypeError,
     "Func create_quant_config argument skip_layers must be (<class 'list'>, <class 'NoneType'>)"),
    ({"batch_num": 1.0}, TypeError, "Func create_quant_config argument batch_num must be <class 'int'>"),
    ({"skip_layers": [3]}, TypeError, "must be a list of <class 'str'>"),
    ({"skip_layers": ["nobody"]}, ValueError, "Layer nobody does not exist in the graph."),
    ({"skip_layers": ["relu"]}, ValueError, "Layer relu does not support quantization."),
    ({"skip_layers": ["ip", "ip"]}, ValueError,
     "Please delete repeated items in skip_layers, repeated items are ['ip'] "),
    ({"skip_layers": ["ip", "conv"]}, ValueError, "Except skip_layers, no layer needs to quantize."),
    ({"batch_num": 0}, ValueError, "The batch_num must be greater than zero."),
    ({"batch_num": 2**40}, ValueError, "The batch_num must be at most"),
])
def test_bad_arguments_of_calibration(arguments, error, words):
    with pytest.raises(error) as raised:
        amct.create_quant_config("c.json", *qaffe.examples.small_model(), **arguments)
    assert words in str(raised.value) and not os.path.exists("c.json")


def test_gpu_mode_says_what_to_do():
    with pytest.raises(RuntimeError, match="no GPU to compute on"):
        amct.set_gpu_mode()


def test_retrain_in_one_call(digits, capfd):
    seen = []
    result = qaffe.retrain(*digits, iterations=10, base_lr=0.001, save_path="qat/m",
                           progress=lambda iteration, total, loss: seen.append(iteration))
    assert result.differing_integers == 0 and result.fake_quant_score == result.deploy_score > 0.5
    assert "weights dB" in str(result) and seen[-1] == 10
    assert result.scores[0].name == result.score_name and result.scores[0].deploy_score == result.deploy_score
    assert {row.name for row in result.scores} == {"accuracy", "loss"} and result.test_items > 0
    assert result.calibrated_score == result.scores[0].calibrated_score > 0.5 and "calibrated" in str(result)
    assert not result.remark or result.remark in str(result)
    assert result.validation.name == "accuracy" and result.validation.better == 1 and result.validation.items > 15
    assert result.validation.best_score >= result.validation.calibrated_score and result.last_iteration == 10
    assert result.kept_reason in str(result) and result.kept_reason in result._repr_html_() and "is exported" in result.kept_reason
    assert "Iteration" not in capfd.readouterr().err and "] Iteration 0 (" in open(result.log).read()
    with pytest.raises(OSError):  # and leaves the log of the last run
        qaffe.retrain("nobody.prototxt", digits[1], save_path="qat/m")
    assert "] Iteration 0 (" in open(result.log).read()

    def stop(iteration, total, loss):
        raise StopIteration("enough")

    with pytest.raises(StopIteration, match="enough"):
        qaffe.retrain(*digits, iterations=10, save_path="qat/n", progress=stop)
    with pytest.raises(ValueError, match="batch_norm"):
        qaffe.retrain(*digits, batch_norm="thaw")
    with pytest.raises(ValueError, match="distil must be one of off, on, auto"):
        qaffe.retrain(*digits, distil="maybe")
    with pytest.raises(ValueError, match="keep must be one of best, last"):
        qaffe.retrain(*digits, keep="first")


def test_retrain_goes_on(digits):
    whole = qaffe.retrain(*digits, iterations=20, base_lr=0.001, save_path="whole/m", patience=0)

    def stop(iteration, total, loss):
        if iteration == 15:
            raise StopIteration("enough")

    given = dict(iterations=20, base_lr=0.001, save_path="parts/m", patience=0)
    with pytest.raises(StopIteration, match="enough"):
        qaffe.retrain(*digits, progress=stop, **given)
    result = qaffe.retrain(*digits, resume=True, **given)
    assert result.last_iteration == whole.last_iteration == 20 and result.validation.items == whole.validation.items
    with pytest.raises(ValueError, match="was begun with base_lr 0.001, not with base_lr 0.002"):
        qaffe.retrain(*digits, resume=True, **dict(given, base_lr=0.002))
    last = qaffe.retrain(*digits, iterations=4, save_path="parts/m", keep="last")
    assert last.validation is None and last.kept_iteration == 4


def test_the_log_of_the_last_run_outlives_a_failure(folder):
    model, weights = qaffe.examples.small_model()
    step = "import amct_caffe; amct_caffe.create_quant_retrain_config('c.json', %r, %r)"
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))

    def run(model):
        subprocess.run([sys.executable, "-c", step % (model, weights)], stderr=subprocess.DEVNULL, env=environment)
        return open("amct_log/amct_caffe.log").read()

    begun = run(model)
    assert "2 layers can be quantised" in begun
    (folder / "bad.prototxt").write_text("layer { nme: 'x' }")
    assert run("bad.prototxt").startswith(begun)
    assert run("nobody.prototxt").startswith(begun)
    assert run(model).count("2 layers can be quantised") == 1


def test_the_arguments_of_calibration_are_checked():
    model, weights = qaffe.examples.small_model()
    amct.create_quant_config("c.json", model, weights)
    graph = amct.init("c.json", model, weights, "r.txt")
    for call, message in ((lambda: amct.init(1, model, weights, "r.txt"),
                           "Func init argument config_file must be <class 'str'>"),
                          (lambda: amct.quantize_model("graph", "m", "w"),
                           "Func quantize_model argument graph must be <class 'amct_caffe.Graph'>"),
                          (lambda: amct.save_model(graph, 3, "p"), "Func save_model argument save_type must be <class 'str'>"),
                          (lambda: amct.convert_model(model, weights, "r.txt", None),
                           "Func convert_model argument save_path must be <class 'str'>")):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == message
    with pytest.raises(ValueError, match="save_type must be Fakequant, Deploy or Both"):
        amct.save_model(graph, "Float", "p")
    with pytest.raises(OSError, match="the file 'nobody.txt' does not exist"):
        amct.convert_model(model, weights, "nobody.txt", "p")


def test_configurations_of_calibration_are_checked():
    model, weights = qaffe.examples.small_model()
    amct.create_quant_config("c.json", model, weights)
    good = open("c.json").read()

    def edited(old, new):
        assert old in good
        with open("edited.json", "w") as file:
            file.write(good.replace(old, new))
        return amct.init("edited.json", model, weights, "r.txt")

    with pytest.raises(TypeError, match="Type of do_fusion should be <class 'bool'>, but is <class 'int'>"):
        edited('"do_fusion":true', '"do_fusion":1')
    with pytest.raises(ValueError, match="The version must be 1."):
        edited('"version":1', '"version":2')
    with pytest.raises(RuntimeError, match="No quant enable layer in quant config file, please check the quant config file."):
        edited('"quant_enable":true', '"quant_enable":false')


def test_calibration(digits):
    model, weights = digits
    amct.create_quant_config("tmp/config.json", model, weights, batch_num=2)
    graph = amct.init("tmp/config.json", model, weights, "tmp/record.txt")
    amct.quantize_model(graph, "tmp/cal.prototxt", "tmp/cal.caffemodel")
    net = caffe.Net("tmp/cal.prototxt", "tmp/cal.caffemodel", caffe.TEST)
    net.forward()
    with pytest.raises(RuntimeError, match="Cannot find scale_d of layer 'conv' in record file"):
        amct.save_model(graph, "Both", "results/calibrated")  # one batch of two
    assert not os.path.exists("results/calibrated_quant.json")
    net.forward()
    found = open("tmp/record.txt").read()
    net.forward()  # changes nothing any more
    assert open("tmp/record.txt").read() == found
    amct.save_model(graph, "Both", "results/calibrated")
    scores = []
    for kind in ("fake_quant", "deploy"):
        net = caffe.Net("results/calibrated_%s_model.prototxt" % kind, "results/calibrated_%s_weights.caffemodel" % kind,
                        caffe.TEST)
        scores.append(sum(net.forward()["accuracy"] for _ in range(4)) / 4)
    net = caffe.Net(model, weights, caffe.TEST)
    assert scores[0] == scores[1] >= sum(net.forward()["accuracy"] for _ in range(4)) / 4 - 0.02


def test_calibrated_factors_become_models():
    model, weights = qaffe.examples.small_model()
    amct.create_quant_config("c.json", model, weights)
    graph = amct.init("c.json", model, weights, "r.txt")
    amct.quantize_model(graph, "cal.prototxt", "cal.caffemodel")
    record = open("r.txt").read()
    assert record.count("scale_w") == 5 and "scale_d" not in record
    with pytest.raises(RuntimeError, match="Cannot find scale_d of layer 'conv' in record file"):
        amct.save_model(graph, "Both", "results/m")
    with open("r.txt", "w") as file:
        for entry in record.split("record ")[1:]:
            file.write("record " + entry.replace("value {", "value { scale_d: 0.01 offset_d: -128" + " shift_bit: 3" *
                                                 entry.count("scale_w")))
    amct.save_model(graph, "Both", "results/m")
    outputs = []
    for kind in ("fake_quant", "deploy"):
        net = caffe.Net("results/m_%s_model.prototxt" % kind, "results/m_%s_weights.caffemodel" % kind, caffe.TEST)
        net.blobs["data"].data[...] = 0.5
        outputs.append(net.forward()["prob"].copy())
    assert (outputs[0] == outputs[1]).all()


def test_decomposition():
    from amct_caffe.tensor_decompose import auto_decomposition
    model, weights = qaffe.examples.decomposable_model()
    step = "from amct_caffe.tensor_decompose import auto_decomposition as a; a(%r, %r, 'tmp/m.prototxt', 'tmp/m.caffemodel')"
    subprocess.run([sys.executable, "-c", step % (model, weights)], check=True)
    assert "[auto_decomposition]: Decomposition conv ->['conv_0', 'conv_1']\n" in open("amct_log/amct_caffe.log").read()
    whole, thin = caffe.Net(model, weights, caffe.TEST), caffe.Net("tmp/m.prototxt", "tmp/m.caffemodel", caffe.TEST)
    values = np.random.RandomState(1).rand(*whole.blobs["data"].data.shape)
    for net in (whole, thin):
        net.blobs["data"].data[...] = values
    np.testing.assert_allclose(thin.forward()["conv"], whole.forward()["conv"], atol=1e-5)  # of full rank
    subprocess.run([sys.executable, "-c", step % qaffe.examples.small_model()], check=True)
    assert "No tensor meets decomposition conditions." in open("amct_log/amct_caffe.log").read()
    with pytest.raises(TypeError, match="Func auto_decomposition argument new_model_file must be <class 'str'>"):
        auto_decomposition(model, weights, None, "w")
    with pytest.raises(ValueError, match="is read and would be written over"):
        auto_decomposition(model, weights, "tmp/m.prototxt", weights)
    whole.params["conv"][0].data[0] = float("nan")
    whole.save("tmp/nan.caffemodel")
    with pytest.raises(ValueError, match=r"weight tensor contains invalid number\(inf or nan\)"):
        auto_decomposition(model, "tmp/nan.caffemodel", "tmp/m.prototxt", "tmp/m.caffemodel")
