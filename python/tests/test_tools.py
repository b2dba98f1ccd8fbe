"""net_spec, io, classifier, detector, draw, coord_map, limits."""
import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

import caffe
import qaffe.examples
from caffe import layers as L, params as P
from caffe.coord_map import coord_map_from_to, crop
from caffe.proto import caffe_pb2


def lenet():
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 1, 28, 28]), dict(dim=[2])], ntop=2)
    n.conv = L.Convolution(n.data, kernel_size=5, num_output=4, weight_filler=dict(type="xavier"))
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.relu = L.ReLU(n.pool, in_place=True)
    n.ip = L.InnerProduct(n.relu, num_output=10, param=[dict(lr_mult=1), dict(lr_mult=2)])
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    n.silence = L.Silence(n.ip, ntop=0)
    return n


def test_net_spec_makes_a_net_that_runs():
    net = lenet().to_proto()
    assert [layer.name for layer in net.layer] == ["data", "conv", "pool", "relu", "ip", "loss", "silence"]
    assert net.layer[3].top == net.layer[3].bottom == ["pool"] and net.layer[4].param[1].lr_mult == 2
    with open("n.prototxt", "w") as file:
        file.write(str(net))
    assert caffe.Net("n.prototxt", caffe.TRAIN).forward()["loss"] > 0


def test_net_spec_names_and_errors():
    top = L.ReLU(L.Input(shape=[dict(dim=[1])]))
    assert [layer.name for layer in top.to_proto().layer] == ["Input1", "ReLU1"]
    with pytest.raises(TypeError, match="not a Top"):
        L.ReLU("data")
    with pytest.raises(AttributeError):
        caffe.to_proto(L.Convolution(L.Input(), no_such_field=1))


def test_coordinates():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 100, 100]))
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=3, pad=0)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.up = L.Deconvolution(n.pool, num_output=1, kernel_size=4, stride=2, pad=0)
    assert coord_map_from_to(n.up, n.data) == (1, 1, 0)
    n.crop = crop(n.data, n.up)
    assert list(n.crop.fn.params["crop_param"]["offset"]) == [0]
    n.sides = L.Convolution(n.data, num_output=1, kernel_size=3, pad_t=2, pad_l=1, pad_r=4)
    axis, scale, shift = coord_map_from_to(n.sides, n.data)
    assert axis == 1 and np.all(scale == 1) and list(shift) == [-1, 0]
    other = L.Input()
    with pytest.raises(RuntimeError):
        coord_map_from_to(n.up, other)


def test_messages_and_arrays():
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    blob = caffe.io.array_to_blobproto(a, -a)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), a)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), -a)
    back = caffe.io.blobprotovector_str_to_arraylist(caffe.io.arraylist_to_blobprotovector_str([a, a[0]]))
    np.testing.assert_array_equal(back[1], a[0])
    for array in (a, a.astype(np.uint8)):
        datum = caffe.io.array_to_datum(array, 7)
        assert datum.label == 7
        np.testing.assert_array_equal(caffe.io.datum_to_array(datum), array)
    with pytest.raises(ValueError):
        caffe.io.array_to_datum(a[0])


def test_transformer_there_and_back():
    image = np.random.RandomState(0).rand(6, 5, 3).astype(np.float32)
    t = caffe.io.Transformer({"data": (1, 3, 6, 5)})
    t.set_transpose("data", (2, 0, 1))
    t.set_channel_swap("data", (2, 1, 0))
    t.set_raw_scale("data", 255)
    t.set_mean("data", np.array([104, 117, 123]))
    t.set_input_scale("data", 0.5)
    ready = t.preprocess("data", image)
    np.testing.assert_allclose(ready[0], (image[:, :, 2] * 255 - 104) * 0.5, rtol=1e-5)
    np.testing.assert_allclose(t.deprocess("data", ready), image, atol=1e-5)
    t.set_mean("data", np.full((3, 12, 10), 7.0))
    assert t.mean["data"].shape == (3, 6, 5) and (t.mean["data"] == 7).all()
    for wrong in (np.zeros(4), np.zeros((4, 6, 5))):
        with pytest.raises(ValueError, match="Mean channels"):
            t.set_mean("data", wrong)
    with pytest.raises(Exception, match="not one of the net inputs"):
        t.preprocess("image", image)


def test_images_are_resized_and_cropped():
    ramp = np.tile(np.arange(8, dtype=np.float32)[:, None, None], (1, 8, 3))
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (4, 8))[:, 0, 0], [0.5, 2.5, 4.5, 6.5])
    crops = caffe.io.oversample([ramp, ramp], (4, 4))
    assert crops.shape == (20, 4, 4, 3)
    assert crops[0, 0, 0, 0] == 0 and crops[2, 0, 0, 0] == 4 and crops[4, 0, 0, 0] == 2


def test_load_image():
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)
    image_module.fromarray(pixels).save("i.png")
    np.testing.assert_allclose(caffe.io.load_image("i.png"), pixels / 255, atol=1e-6)
    assert caffe.io.load_image("i.png", color=False).shape == (5, 7, 1)


def test_classifier_and_detector():
    model, weights = qaffe.examples.small_model()
    images = [np.random.RandomState(i).rand(12, 10, 1).astype(np.float32) for i in range(3)]
    classifier = caffe.Classifier(model, weights, image_dims=(10, 10), mean=np.array([0.5]))
    for oversample in (True, False):
        prob = classifier.predict(images, oversample)
        assert prob.shape == (3, 3)
        np.testing.assert_allclose(prob.sum(1), 1, rtol=1e-5)
    detector = caffe.Detector(model, weights, mean=np.array([0.5]), context_pad=1)
    found = detector.detect_windows([(images[0], [(0, 0, 6, 6), (2, 3, 12, 10)])])
    assert [len(entry["prediction"]) for entry in found] == [3, 3]


def test_drawing():
    pytest.importorskip("pydot")
    from caffe import draw
    graph = draw.get_pydot_graph(lenet().to_proto(), "LR").to_string()
    assert "conv_Convolution" in graph and "ip_blob" in graph
    assert draw.get_pooling_types_dict()[3] == "AVE_EXC_PAD"


def test_layer_types():
    names = caffe.layer_type_list()
    assert set(names) >= {"Convolution", "Python", "ActivationQAT", "Data"}
    assert caffe_pb2.TEST == caffe.TEST == 1


def test_limits_can_be_set():
    import qaffe
    with open("net.prototxt", "w") as file:
        file.write("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 11 } } }")
    default, unit = qaffe.limits()["tensor_elements"]
    assert (default, unit) == (2**31 - 1, "elements")
    try:
        qaffe.set_limit("tensor_elements", 10)
        with pytest.raises(ValueError, match="11 elements; the limit tensor_elements is 10"):
            caffe.Net("net.prototxt", caffe.TEST)
        qaffe.set_limit("tensor_elements", 11)
        assert caffe.Net("net.prototxt", caffe.TEST).blobs["x"].data.shape == (11,)
    finally:
        qaffe.set_limit("tensor_elements", default)
    with pytest.raises(ValueError, match="there are file_bytes,"):
        qaffe.set_limit("elements", 1)
    for value in (0, -1, 2**31, 2**64):
        with pytest.raises(ValueError):
            qaffe.set_limit("tensor_elements", value)


def test_limits_come_from_the_environment():
    def run(limits):
        return subprocess.run([sys.executable, "-c", "import caffe; caffe.Net('net.prototxt', caffe.TEST)"],
                              env=dict(os.environ, QAFFE_LIMITS=limits), capture_output=True, text=True)

    with open("net.prototxt", "w") as file:
        file.write("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 11 } } }")
    assert run("").returncode == run("tensor_elements=11").returncode == 0
    assert "the limit tensor_elements is 10 " in run("tensor_elements=10").stderr
    assert "'tensor_elements' is not a limit" in run("tensor_elements").stderr


def test_bindings_are_of_the_librarys_version():
    from qaffe import _library
    assert _library.version == _library.library.qf_version().decode()

    class Grown(_library.Verification):
        _fields_ = [("new", ctypes.c_double)]
    with pytest.raises(ImportError, match=r"libqaffe\S*, version [0-9.]+, is older than these Python packages, version "
                       r"[0-9.]+: its qf_verification has \d+ bytes, \d+ are needed"):
        _library._declare(_library.library, {}, [Grown])
    with pytest.raises(ImportError, match=r"it has no qf_of_tomorrow\(\); install both from one version"):
        _library._declare(_library.library, {"qf_of_tomorrow": (None, [])}, [])


def test_a_program_of_an_older_header_keeps_the_defaults():
    from qaffe import _library
    options = _library.QatOptions()
    options.size = _library.QatOptions.save_path.offset
    _library.library.qf_qat_set_defaults(ctypes.byref(options))
    assert options.patience == 0
    options.size = ctypes.sizeof(options)
    _library.library.qf_qat_set_defaults(ctypes.byref(options))
    assert options.patience == 5 and options.save_path == b"qat_results/model"
