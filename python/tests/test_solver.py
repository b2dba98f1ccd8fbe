"""Solvers, callbacks, Ctrl-C, layers in Python."""
import gc
import os
import signal
import threading

import numpy as np
import pytest

import caffe
import qaffe

NET = """
layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 }
  data_filler { type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 1 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { num_output: 2
  weight_filler { type: 'gaussian' std: 0.1 } } }
layer { name: 'loss' type: 'EuclideanLoss' bottom: 'ip' bottom: 'y' top: 'loss' }
"""


@pytest.fixture
def solver_file():
    with open("net.prototxt", "w") as file:
        file.write(NET)
    with open("solver.prototxt", "w") as file:
        file.write("net: 'net.prototxt' base_lr: 0.1 lr_policy: 'fixed' max_iter: 20 test_iter: 2 test_interval: 10 "
                   "snapshot_prefix: 's' snapshot_after_train: false random_seed: 1")
    return "solver.prototxt"


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_all_kinds_train(solver_file, kind):
    solver = getattr(caffe, kind + "Solver")(solver_file)
    before = solver.net.params["ip"][1].data.copy()
    solver.step(5)
    assert solver.iter == 5 and (solver.net.params["ip"][1].data != before).all()


def test_sgd_by_hand(solver_file):
    solver = caffe.get_solver(solver_file)
    weights = solver.net.params["ip"][0]
    weights.data[...] = 0
    weights.diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(weights.data, -0.1, rtol=1e-6)


def test_snapshot_and_restore(solver_file):
    solver = caffe.SGDSolver(solver_file)
    solver.step(3)
    solver.snapshot()
    solver.step(4)
    other = caffe.SGDSolver(solver_file)
    other.restore("s_iter_3.solverstate")
    assert other.iter == 3
    other.step(4)
    np.testing.assert_array_equal(solver.net.params["ip"][0].data, other.net.params["ip"][0].data)


def test_solve_tests_and_resumes(solver_file):
    solver = caffe.SGDSolver(solver_file)
    solver.step(3)
    solver.snapshot()
    caffe.SGDSolver(solver_file).solve("s_iter_3.solverstate")
    solver.solve()
    assert solver.iter == 20 and len(solver.test_nets) == 1
    shared = solver.test_nets[0].params["ip"][0].data
    solver.net.params["ip"][0].data[0, 0] = 9
    assert shared[0, 0] == 9


def test_settings(solver_file):
    solver = caffe.SGDSolver(solver_file)
    assert solver.param.max_iter == 20 and solver.lr == pytest.approx(0.1)
    solver.param.base_lr = 0.5
    assert solver.lr == pytest.approx(0.5) and solver.param.base_lr == pytest.approx(0.5)
    with pytest.raises(ValueError, match="iter_size"):
        solver.param.iter_size = 0
    assert solver.param.iter_size == 1


def test_callbacks(solver_file):
    solver, seen = caffe.SGDSolver(solver_file), []
    solver.add_callback(lambda: seen.append("start"), lambda: seen.append("ready"))
    solver.step(2)
    assert seen == ["start", "ready"] * 2

    def fail():
        raise KeyError("mine")

    solver.add_callback(fail, lambda: None)
    with pytest.raises(KeyError, match="mine"):
        solver.step(1)


def test_ctrl_c_stops_training(solver_file):
    solver = caffe.SGDSolver(solver_file)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        solver.step(100000000)
    assert 0 < solver.iter < 100000000
    solver.step(1)  # and it goes on


def test_ctrl_c_leaves_a_script_s_own_handler(solver_file):
    solver, seen = caffe.SGDSolver(solver_file), []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(solver.iter))
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        while not seen:
            solver.step(200)
    finally:
        signal.signal(signal.SIGINT, before)
    assert solver.iter % 200 == 0  # it was not stopped


def test_ctrl_c_stops_solve_and_retrain(solver_file, digits):
    with open(solver_file) as file, open("long.prototxt", "w") as long:
        long.write(file.read().replace("max_iter: 20", "max_iter: 100000000"))
    solver = caffe.SGDSolver("long.prototxt")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        solver.solve()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        qaffe.retrain(*digits, iterations=100000000, save_path="never/m")
    assert not os.path.exists("never/m_deploy_model.prototxt")


def test_nan_names_the_layer(solver_file):
    with open("steep.prototxt", "w") as file:
        file.write("net: 'net.prototxt' base_lr: 1e30 lr_policy: 'fixed' max_iter: 20 snapshot_after_train: false")
    with pytest.raises(ValueError, match="diverged.*layer loss"):
        caffe.SGDSolver("steep.prototxt").step(20)


def test_divergence_is_a_choice(solver_file):
    with open("steep.prototxt", "w") as file:
        file.write("net: 'net.prototxt' base_lr: 1e30 lr_policy: 'fixed' max_iter: 20 snapshot_after_train: false")
    solver = caffe.SGDSolver("steep.prototxt")
    assert solver.on_divergence == "auto"
    solver.on_divergence = "ignore"
    solver.step(20)  # as Caffe does
    assert solver.iter == 20
    with pytest.raises(ValueError, match="must be one of auto, stop, warn, ignore, but is 'never'"):
        solver.on_divergence = "never"


# ---- layers in Python ----


class Tenfold(caffe.Layer):
    def setup(self, bottom, top):
        self.factor = float(self.param_str or 10)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.factor * top[0].diff


class WithParameter(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(2)
        self.blobs[0].data[...] = 3

    def reshape(self, bottom, top):
        top[0].reshape(2)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] = 7


class Broken(caffe.Layer):
    def forward(self, bottom, top):
        raise LookupError("broken on purpose")


def python_net(*layers):
    with open("python.prototxt", "w") as file:
        file.write("force_backward: true layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 2 "
                   "dim: 3 } } }")
        for name, kind, bottom, text in layers:
            file.write("layer { name: '%s' type: 'Python' %s top: '%s' python_param { module: '%s' layer: '%s' "
                       "param_str: '%s' } }" % (name, "bottom: '%s'" % bottom if bottom else "", name, __name__, kind,
                                                text))
    return caffe.Net("python.prototxt", caffe.TRAIN)


def test_python_layers_compute():
    net = python_net(("a", "Tenfold", "data", ""), ("b", "Tenfold", "a", "0.5"))
    net.blobs["data"].data[...] = 4
    assert (net.forward()["b"] == 20).all()
    net.blobs["b"].diff[...] = 1
    assert (net.backward()["data"] == 5).all()
    net.blobs["data"].reshape(6, 3)
    net.forward()
    assert net.blobs["b"].data.shape == (6, 3)


def test_python_layers_have_parameters():
    net = python_net(("p", "WithParameter", "", ""))
    assert (net.forward()["p"] == 3).all()
    net.backward()
    assert (net.params["p"][0].diff == 7).all()
    net.save("p.caffemodel")
    net.params["p"][0].data[...] = 0
    assert (net.forward()["p"] == 0).all()
    net.copy_from("p.caffemodel")
    assert (net.forward()["p"] == 3).all()


def test_python_layers_raise():
    net = python_net(("x", "Broken", "data", ""))
    with pytest.raises(LookupError, match="broken on purpose"):
        net.forward()
    with pytest.raises(AttributeError, match="NoSuchClass"):
        python_net(("x", "NoSuchClass", "data", ""))


def test_a_layer_in_python_is_the_object_itself():
    net = python_net(("a", "Tenfold", "data", "2"), ("p", "WithParameter", "", ""))
    layer = net.layer_dict["a"]
    assert isinstance(layer, Tenfold) and net.layers[1] is layer and layer.param_str_ == "2"
    net.blobs["data"].data[...] = 1
    layer.factor = 30
    assert (net.forward()["a"] == 30).all()
    other = python_net(("p", "WithParameter", "", ""))
    other.share_with(net)
    net.params["p"][0].data[...] = 8
    assert (other.forward()["p"] == 8).all()
    layer = net.layer_dict["p"]
    del net, other
    gc.collect()
    assert (layer.blobs[0].data == 8).all()  # it outlives its net


class Greedy(caffe.Layer):
    """Keeps what it is given."""
    kept = []

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = 5
        self.kept += [bottom[0], top[0]]


def test_blobs_kept_by_a_layer_outlive_the_net():
    net = python_net(("x", "Greedy", "data", ""))
    net.forward()
    del net
    gc.collect()
    assert Greedy.kept[1].data == 5 and Greedy.kept[0].data.shape == (2, 3)
    Greedy.kept.clear()
