"""caffe.Net and caffe.Blob."""
import gc
import resource
import threading
import time

import numpy as np
import pytest

import caffe
import qaffe.examples


@pytest.fixture
def net():
    caffe.set_random_seed(7)
    return caffe.Net(qaffe.examples.small_net(), caffe.TEST)


def test_names_and_shapes(net):
    assert list(net.blobs) == ["data", "conv", "ip", "prob"]
    assert net.inputs == ["data"] and net.outputs == ["prob"]
    assert net.blobs["conv"].data.shape == net.blobs["conv"].shape == (2, 4, 6, 6)
    assert [p.data.shape for p in net.params["conv"]] == [(4, 1, 3, 3), (4,)]
    assert (net.blobs["conv"].num, net.blobs["conv"].channels, net.blobs["ip"].width) == (2, 4, 1)
    assert net.layer_dict["relu"].type == "ReLU" and net.top_names["conv"] == ["conv"]
    assert net.bottom_names["relu"] == ["conv"] and len(net.layers) == 5
    assert net.blob_loss_weights["prob"] == 0


def test_forward_is_what_numpy_says(net):
    x = np.random.RandomState(0).rand(2, 1, 8, 8).astype(np.float32)
    prob = net.forward(data=x)["prob"]
    w, b = (p.data for p in net.params["conv"])
    conv = np.empty((2, 4, 6, 6))
    for row in range(6):
        for column in range(6):
            window = x[:, 0, row:row + 3, column:column + 3].reshape(2, 9)
            conv[:, :, row, column] = window @ w.reshape(4, 9).T + b
    ip = np.maximum(conv, 0).reshape(2, -1) @ net.params["ip"][0].data.T + net.params["ip"][1].data
    expected = np.exp(ip) / np.exp(ip).sum(1, keepdims=True)
    np.testing.assert_allclose(prob, expected, rtol=1e-5)


def test_views_stay_in_step(net):
    data, prob, weights = net.blobs["data"].data, net.blobs["prob"].data, net.params["ip"][0].data
    data[...] = 1
    net.forward()
    first = prob.copy()
    weights[...] = 0  # an array that was taken before the last forward
    net.forward()
    np.testing.assert_allclose(prob, 1 / 3, rtol=1e-6)
    assert not np.allclose(first, prob)
    net.blobs["conv"].data[...] = 5
    net.forward(start="ip")
    np.testing.assert_allclose(prob, 1 / 3, rtol=1e-6)


def test_arrays_outlive_their_net(net):
    prob = net.forward()["prob"]
    kept = prob.copy()
    del net
    gc.collect()
    np.testing.assert_array_equal(prob, kept)


def test_reshape(net):
    old = net.blobs["data"].data
    net.blobs["data"].reshape(5, 1, 8, 8)
    net.reshape()
    assert net.blobs["prob"].data.shape == (5, 3)
    old[...] = 3  # an array of the smaller blob: no longer part of the net, and harmless
    net.blobs["data"].data[...] = 1
    assert net.forward()["prob"].shape == (5, 3)
    with pytest.raises(ValueError, match="-1"):
        net.blobs["data"].reshape(-1, 1, 8, 8)


def test_backward():
    with open("train.prototxt", "w") as file:
        file.write(qaffe.examples._SMALL + "force_backward: true")
    net = caffe.Net("train.prototxt", caffe.TRAIN)
    x = np.random.RandomState(1).rand(2, 1, 8, 8).astype(np.float32)
    g = np.random.RandomState(2).rand(2, 3).astype(np.float32)
    net.forward(data=x)
    gradient = net.backward(prob=g)["data"].copy()
    step = np.zeros_like(x)
    step[1, 0, 3, 4] = 1e-2
    up = (net.forward(data=x + step)["prob"] * g).sum()
    down = (net.forward(data=x - step)["prob"] * g).sum()
    assert gradient[1, 0, 3, 4] == pytest.approx((up - down) / 2e-2, rel=2e-2, abs=1e-4)
    assert net.params["conv"][0].diff.any()
    net.clear_param_diffs()
    assert not net.params["conv"][0].diff.any()


def test_more_items_than_a_batch(net):
    x = np.random.RandomState(3).rand(5, 1, 8, 8).astype(np.float32)
    whole = net.forward_all(data=x)["prob"]
    assert whole.shape == (5, 3)
    one = net.forward(data=x[2:4])["prob"]
    np.testing.assert_allclose(whole[2:4], one, rtol=1e-6)


def test_inputs_are_checked(net):
    with pytest.raises(Exception, match="Input blob arguments do not match net inputs"):
        net.forward(image=np.zeros((2, 1, 8, 8)))
    with pytest.raises(Exception, match="not batch sized"):
        net.forward(data=np.zeros((3, 1, 8, 8)))
    with pytest.raises(ValueError, match="no layer 'nobody'"):
        net.forward(start="nobody")


def test_hooks_see_every_layer(net):
    seen = []
    net.before_forward(seen.append)
    net.after_forward(lambda index: seen.append(-index))
    net.forward()
    assert seen == [0, 0, 1, -1, 2, -2, 3, -3, 4, -4]


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5", "w.hdf5"])
def test_weights_as_files(net, name):
    hdf5 = name != "w.caffemodel"
    (net.save_hdf5 if hdf5 else net.save)(name)
    other = caffe.Net(qaffe.examples.small_net(), name, caffe.TEST)  # the old order of arguments
    np.testing.assert_array_equal(net.params["ip"][0].data, other.params["ip"][0].data)
    other.params["ip"][0].data[...] = 0
    (other.load_hdf5 if hdf5 else other.copy_from)(name)
    np.testing.assert_array_equal(net.params["ip"][0].data, other.params["ip"][0].data)


def test_weights_that_were_changed(net):
    qaffe.write_checksums()
    try:
        net.save("w.caffemodel")
    finally:
        qaffe.write_checksums(False)
    found = qaffe.check("w.caffemodel")
    assert found.ok and found.has_checksum and not found.odd
    assert found.values == sum(blob.data.size for blobs in net.params.values() for blob in blobs)
    content = bytearray(open("w.caffemodel", "rb").read())
    content[len(content) // 2] ^= 4
    open("w.caffemodel", "wb").write(content)
    with pytest.raises(RuntimeError, match="w.caffemodel does not agree with its checksum"):
        net.copy_from("w.caffemodel")
    found = qaffe.check("w.caffemodel")
    assert not found.ok and "delete w.caffemodel.sha256 if the change was meant" in found.reason
    net.params["ip"][0].data.flat[3] = np.nan
    net.save("w.caffemodel")  # the old checksum goes
    found = qaffe.check("w.caffemodel")
    assert not found.ok and not found.has_checksum
    assert [(blob.name, blob.nan, blob.first) for blob in found.odd] == [("layer ip, blob 0", 1, 3)]
    net.copy_from("w.caffemodel")  # as Caffe does
    with pytest.raises(ValueError, match="nothing to check"):
        open("text", "w").close()
        qaffe.check("text")


def test_shared_weights(net):
    other = caffe.Net(qaffe.examples.small_net(), caffe.TEST)
    other.share_with(net)
    net.params["ip"][0].data[0, 0] = 17
    assert other.params["ip"][0].data[0, 0] == 17


def test_errors_are_exceptions(net):
    with pytest.raises(OSError, match="missing.prototxt"):
        caffe.Net("missing.prototxt", caffe.TEST)
    with open("bad.prototxt", "w") as file:
        file.write("layer {\n  nane: 'x'\n}")
    with pytest.raises(ValueError, match="bad.prototxt:2:7.*did you mean .name"):
        caffe.Net("bad.prototxt", caffe.TEST)
    with open("bad.caffemodel", "wb") as file:
        file.write(b"\xff" * 40)
    with pytest.raises(ValueError, match="bad.caffemodel"):
        net.copy_from("bad.caffemodel")
    with open("bad.h5", "wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n" + b"\xff" * 40)
    with pytest.raises(ValueError, match="bad.h5"):
        net.load_hdf5("bad.h5")
    with pytest.raises(TypeError, match="phase"):
        caffe.Net(qaffe.examples.small_net())


def test_stages_and_levels():
    with open("staged.prototxt", "w") as file:
        file.write("layer { name: 'a' type: 'DummyData' top: 'a' dummy_data_param { shape { dim: 1 } } }"
                   "layer { name: 'b' type: 'ReLU' bottom: 'a' top: 'b' include { stage: 'B' } }"
                   "layer { name: 'c' type: 'ReLU' bottom: 'a' top: 'c' include { min_level: 2 } }")
    assert list(caffe.Net("staged.prototxt", caffe.TEST).blobs) == ["a"]
    assert list(caffe.Net("staged.prototxt", caffe.TEST, stages=["B"]).layer_dict)[-1] == "b"
    assert list(caffe.Net("staged.prototxt", caffe.TEST, level=2).layer_dict)[-1] == "c"


def test_nothing_leaks(net):
    def run(count):
        for _ in range(count):
            net.blobs["data"].data[0, 0, 0, 0] += 1
            net.forward()
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, the highest so far

    settled = run(300)
    assert run(2000) - settled < 512  # a lost array a turn would be more


def test_memory_data():
    with open("memory.prototxt", "w") as file:
        file.write("layer { name: 'm' type: 'MemoryData' top: 'data' top: 'label' memory_data_param { batch_size: 2 "
                   "channels: 1 height: 2 width: 3 } }")
    net = caffe.Net("memory.prototxt", caffe.TEST)
    data, labels = np.random.rand(4, 1, 2, 3), np.arange(4)
    with pytest.raises(ValueError, match="set_input_arrays"):
        net.forward()
    net.set_input_arrays(data, labels)
    for start in (0, 2, 0):
        out = net.forward()
        np.testing.assert_allclose(out["data"], data[start:start + 2], rtol=1e-6)
        assert list(out["label"].flat) == [start, start + 1]
    with pytest.raises(ValueError, match="batch_size"):
        net.set_input_arrays(data[:3], labels[:3])
    with pytest.raises(ValueError, match="shape"):
        net.set_input_arrays(data[:, :, :1], labels)


def test_all_ways_to_make_a_net(folder):
    model, weights = qaffe.examples.small_model()
    path = folder / "w.caffemodel"
    path.write_bytes(open(weights, "rb").read())
    nets = [caffe.Net(model, caffe.TEST, weights=weights), caffe.Net(model, weights, caffe.TEST),
            caffe.Net(model, str(path), phase=caffe.TEST), caffe.Net(model, path, caffe.TEST),
            caffe.Net(network_file=model, phase=caffe.TEST, level=0, stages=["x"], weights=weights),
            caffe.Net(model, caffe.TEST, 0, None, weights)]
    for net in nets:
        np.testing.assert_array_equal(net.params["ip"][0].data, nets[0].params["ip"][0].data)
    with pytest.raises(TypeError, match="phase"):
        caffe.Net(model, weights)


def test_parts_of_a_net(net):
    x = np.random.RandomState(5).rand(2, 1, 8, 8).astype(np.float32)
    whole = {name: array.copy() for name, array in net.forward(blobs=["conv", "ip"], data=x).items()}
    assert set(whole) == {"conv", "ip", "prob"}
    np.testing.assert_array_equal(net.forward(end="ip", data=x)["ip"], whole["ip"])
    net.blobs["ip"].data[...] = whole["ip"] + 1  # the same for all classes: softmax does not notice
    np.testing.assert_allclose(net.forward(start="prob")["prob"], whole["prob"], rtol=1e-5)
    assert list(net.forward(start="conv", end="relu")) == ["conv"]


def test_all_there_and_back():
    with open("train.prototxt", "w") as file:
        file.write(qaffe.examples._SMALL + "force_backward: true")
    net = caffe.Net("train.prototxt", caffe.TRAIN)
    x, g = np.random.rand(5, 1, 8, 8), np.random.rand(5, 3)
    outputs, gradients = net.forward_backward_all(blobs=["ip"], diffs=["conv"], data=x, prob=g)
    assert outputs["prob"].shape == (5, 3) and outputs["ip"].shape == (5, 3)
    assert gradients["data"].shape == (5, 1, 8, 8) and gradients["conv"].shape == (5, 4, 6, 6)
    net.forward(data=x[2:4])
    np.testing.assert_allclose(net.backward(prob=g[2:4])["data"], gradients["data"][2:4], rtol=1e-5)
    assert set(net.backward(start="ip", end="ip", diffs=["prob"])) == {"conv", "prob"}


def test_other_threads_run_during_a_call():
    with open("slow.prototxt", "w") as file:
        file.write("layer { name: 'd' type: 'Input' top: 'd' input_param { shape { dim: 8 dim: 64 dim: 64 dim: 64 } } }"
                   "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'c' convolution_param { num_output: 256 "
                   "kernel_size: 7 } }")
    net, turns, done = caffe.Net("slow.prototxt", caffe.TEST), [], threading.Event()

    def count():
        while not done.is_set():
            turns.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    start = time.perf_counter()
    net.forward()
    end = time.perf_counter()
    done.set()
    thread.join()
    during = [t for t in turns if start + 0.1 * (end - start) < t < end - 0.1 * (end - start)]
    assert len(during) >= 5, "only %d turns in %.0f ms" % (len(during), 1e3 * (end - start))


def test_threads_take_turns():
    nets = [caffe.Net(qaffe.examples.small_net(), caffe.TEST) for _ in range(3)]
    expected = [net.forward(data=np.ones((2, 1, 8, 8)))["prob"].copy() for net in nets]
    failed = []

    def work(net, prob):
        try:
            for _ in range(300):
                np.testing.assert_array_equal(net.forward(data=np.ones((2, 1, 8, 8)))["prob"], prob)
                with pytest.raises(ValueError, match="negative|-1"):
                    net.blobs["data"].reshape(-1, 1, 8, 8)
        except BaseException as exception:
            failed.append(exception)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(nets, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


IN_PLACE = """
force_backward: true
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 1 dim: 4 dim: 4 } } }
layer { name: "a" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 2 kernel_size: 1
        weight_filler { value: 1 } } }
layer { name: "b" type: "Pooling" bottom: "y" top: "y" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "c" type: "Python" bottom: "y" top: "y" python_param { module: "in_place" layer: "First" } }
layer { name: "d" type: "InnerProduct" bottom: "y" top: "y" inner_product_param { num_output: 3
        weight_filler { value: 0.5 } } }
"""


def test_in_place_whatever_the_type(tmp_path, monkeypatch):
    """A name stands for the last blob; a Python layer that changes a part finds the rest."""
    (tmp_path / "net.prototxt").write_text(IN_PLACE)
    (tmp_path / "in_place.py").write_text(
        "import caffe\n"
        "class First(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[0] = 0\n"
        "    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    assert list(net.blobs) == ["x", "y"] and net.outputs == ["y"]
    assert net.blobs["y"].shape == (2, 3) and net.blobs["x"].shape == (2, 1, 4, 4)
    x = np.random.RandomState(0).rand(2, 1, 4, 4).astype(np.float32)
    out = net.forward(x=x)["y"]
    pooled = x.reshape(2, 2, 2, 2, 2).max(axis=(2, 4))
    np.testing.assert_allclose(out[1], np.full(3, pooled[1].sum()), rtol=1e-5)  # 2 channels, times 0.5
    assert (out[0] == 0).all()
    np.testing.assert_array_equal(net.blobs["x"].data, x)
    net.backward(y=np.ones((2, 3), np.float32))
    assert np.count_nonzero(net.blobs["x"].diff) == 8  # where each window has its maximum


def test_nets_and_weights_in_memory():
    text = open(qaffe.examples.small_net()).read()
    net = qaffe.net_from_text(text, caffe.TEST)
    weights = qaffe.weights_bytes(net)
    other = qaffe.net_from_text(text.encode(), caffe.TEST, weights=weights)
    image = np.random.RandomState(1).rand(*net.blobs["data"].data.shape)
    assert np.array_equal(net.forward(data=image)["prob"], other.forward(data=image)["prob"])
    with pytest.raises(ValueError, match="^weights in memory: not a complete NetParameter"):
        qaffe.load_weights(net, weights[:-1])
    with pytest.raises(ValueError, match="^net in memory:1:1"):
        qaffe.net_from_text("}", caffe.TEST)
