"""The classifiers whose accuracy scripts/accuracy.py and scripts/ptq_accuracy.py measure, and their images.

prepare() lays a net out in a folder of its own, so that qaffe and every peer read the same weights and the same pixels:

    train_test.prototxt   Data layers with whole paths; what `qaffe qat run --model` takes
    net.prototxt          the same between an Input layer and the scores
    weights.caffemodel, weights.npz, float.onnx, solver.prototxt
    train.npy, train_labels.npy, test.npy, test_labels.npy   bytes, images x channels x rows x columns
    images.json           what a Data layer makes of them: mean, scale, crop, mirror; batch; learning rate of the float solver

Training and calibration read the training images only, tests the test images only.
"""
import collections
import gzip
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess

import lmdb
import numpy
import PIL.Image
from google.protobuf import text_format

import caffe
import qaffe
from caffe.proto import caffe_pb2

# `seen`: training images that are shown when a net is retrained, by default as many as a few epochs have
Case = collections.namedtuple("Case", "name model weights solver train test seen")

DIGITS, FASHION = ("mnist/mnist_train_20k_lmdb", "mnist/mnist_test_lmdb"), ("fashion_train", "fashion_test")
# Made here, all as red, green, blue. Few images to train on are the harder case, many to test on the more telling one
FEW, ALL = ("cifar10/cifar10_train_lmdb", "cifar10_test"), ("cifar10_train", "cifar10_test")
MORE = "cifar10_more"  # to test on: FEW's, and 10,000 of JPEG besides, on which no program trains here
IMAGENET = ("imagenet-samples/imagenet_1000_lmdb", "imagenet_val")
RESNET20 = ("resnet20_cifar10/train_test.local.prototxt", "resnet20_cifar10/ResNet_20.caffemodel",
            "resnet20_cifar10/solver.prototxt")


def cases():
    """Paths are relative to the data folder, or to the work folder where there is none in the data folder."""
    quick = Case("cifar10_quick", "cifar10_quick/train_test.local.prototxt",
                 "cifar10_quick/cifar10_quick_iter_5000.caffemodel", "cifar10_quick/solver.prototxt", *FEW, 8000)
    full = Case("cifar10_full", "cifar10_full/train_test.local.prototxt", "cifar10_full/cifar10_full_iter_70000.caffemodel",
                "cifar10_full/solver.prototxt", *FEW, 8000)
    yield Case("mnist", "lenet/train_test.local.prototxt", "lenet/lenet_iter_10000.caffemodel", "lenet/solver.prototxt",
               *DIGITS, 10000)
    yield Case("fashion", "fashion/float.prototxt", "fashion/float.caffemodel", "fashion/float_solver.prototxt", *FASHION,
               10000)
    yield quick
    yield full
    yield Case("resnet20", *RESNET20, *FEW, 8000)
    for name in ("depthwise", "depthwise_unequal"):
        yield Case(name, name + "/float.prototxt", name + "/float.caffemodel", "depthwise/float_solver.prototxt",
                   *FASHION, 10000)
    yield Case("squeezenet", "squeezenet_v1.1/train_val.local.prototxt", "squeezenet_v1.1/squeezenet_v1.1.caffemodel",
               "squeezenet_v1.1/solver.prototxt", *IMAGENET, 1000)
    yield quick._replace(name="cifar10_quick_more", test=MORE)
    yield full._replace(name="cifar10_full_more", test=MORE)
    yield Case("resnet20_14000", *RESNET20, *ALL, 14000)  # 4 bits need more images; none of the test set's


# ---- images ----

def write_lmdb(path, datums):
    """Whole or not at all: a folder that is there needs not be made again."""
    making = path + ".making"
    shutil.rmtree(making, ignore_errors=True)
    with lmdb.open(making, map_size=1 << 30) as store, store.begin(write=True) as new:
        for i, datum in enumerate(datums):
            new.put(b"%08d" % i, datum.SerializeToString())
    os.remove(os.path.join(making, "lock.mdb"))
    os.rename(making, path)


def raw(pixels, label):
    """Rows x columns x channels of bytes as a Datum."""
    return caffe_pb2.Datum(channels=pixels.shape[2], height=pixels.shape[0], width=pixels.shape[1], label=int(label),
                           data=pixels.transpose(2, 0, 1).tobytes())


def red_green_blue(path):
    """The encoded images of an LMDB as raw ones."""
    for datum in datums_of(path):
        yield raw(numpy.asarray(PIL.Image.open(io.BytesIO(datum.data)).convert("RGB")), datum.label)


def listed(file, folder):
    for line in pathlib.Path(file).read_text().splitlines():
        name, label = line.rsplit(None, 1)
        yield caffe_pb2.Datum(encoded=True, label=int(label), data=pathlib.Path(folder, name).read_bytes())


def idx(prefix):
    """MNIST's files: PREFIX-images-idx3-ubyte.gz and PREFIX-labels-idx1-ubyte.gz."""
    with gzip.open(prefix + "-labels-idx1-ubyte.gz") as file:
        labels = numpy.frombuffer(file.read()[8:], numpy.uint8)
    with gzip.open(prefix + "-images-idx3-ubyte.gz") as file:
        images = numpy.frombuffer(file.read()[16:], numpy.uint8).reshape(len(labels), 28, 28, 1)
    return map(raw, images, labels)


def datums_of(path):
    with lmdb.open(path, readonly=True, lock=False) as store, store.begin() as old:
        for _, value in old.cursor():
            yield caffe_pb2.Datum.FromString(value)


def pixels_of(datum):
    """As a Data layer reads a Datum: encoded images become blue, green, red."""
    if datum.encoded:
        return numpy.asarray(PIL.Image.open(io.BytesIO(datum.data)).convert("RGB"))[:, :, ::-1].transpose(2, 0, 1)
    return numpy.frombuffer(datum.data, numpy.uint8).reshape(datum.channels, datum.height, datum.width)


def items(path):
    with lmdb.open(path, readonly=True, lock=False) as store:
        return store.stat()["entries"]


def cifar10(data, kind):
    """The images without loss, and those that were JPEG."""
    yield from datums_of("%s/cifar10/cifar10_%s_lmdb" % (data, kind))
    yield from red_green_blue("%s/cifar10/cifar10_jpeg_%s_lmdb" % (data, kind))


def make_lmdbs(data, work):
    """Those that the data folder has in another form only."""
    made = {"fashion_train": lambda: idx(data + "/fashion-mnist/train"),
            "fashion_test": lambda: idx(data + "/fashion-mnist/t10k"),
            "cifar10_train": lambda: shuffled(cifar10(data, "train")), "cifar10_test": lambda: cifar10(data, "test"),
            "cifar10_more": lambda: itertools.chain(
                cifar10(data, "test"), red_green_blue(data + "/cifar10/cifar10_jpeg_train_lmdb")),
            "imagenet_val": lambda: listed(data + "/imagenet-val/val.txt", data + "/imagenet-val/images")}
    for name, datums in made.items():
        path = os.path.join(work, name)
        if not os.path.isdir(path):
            write_lmdb(path, datums())


def shuffled(datums):
    datums = list(datums)
    return [datums[i] for i in numpy.random.RandomState(1).permutation(len(datums))]


# ---- nets ----

def read_net(path):
    return text_format.Parse(pathlib.Path(path).read_text(), caffe_pb2.NetParameter())


def data_layer(net, phase):
    return next(layer for layer in net.layer if layer.type in ("Data", "ImageData")
                and (not layer.include or layer.include[0].phase == phase))


def score_and_label(net):
    layer = next(layer for layer in net.layer if layer.type in ("Accuracy", "SoftmaxWithLoss"))
    return layer.bottom[0], layer.bottom[1]


def test_scores(model, weights, images):
    """Scores and labels of the first `images` test images, a whole number of TEST batches, by a float or a deploy model."""
    net, (score, label) = caffe.Net(model, weights, caffe.TEST), score_and_label(read_net(model))
    scores, labels = [], []
    for _ in range(images // len(net.blobs[label].data)):
        net.forward()
        labels.append(net.blobs[label].data.copy())
        scores.append(net.blobs[score].data.reshape(len(labels[-1]), -1).copy())
    return numpy.concatenate(scores), numpy.concatenate(labels)


def with_data(net, sources, data):
    """The net with a Data layer over an LMDB for each phase in `sources`; mean files are looked for in `data`. A TEST phase
    is cut to its middle where training crops."""
    crop = max(layer.transform_param.crop_size for layer in net.layer)
    for phase, source in sources.items():
        layer = data_layer(net, phase)
        batch = layer.data_param.batch_size or layer.image_data_param.batch_size
        layer.ClearField("image_data_param")
        layer.type, layer.transform_param.crop_size = "Data", crop
        layer.data_param.source, layer.data_param.batch_size = source, batch
        layer.data_param.backend = caffe_pb2.DataParameter.LMDB
        if layer.transform_param.mean_file and not os.path.isabs(layer.transform_param.mean_file):
            layer.transform_param.mean_file = os.path.join(data, layer.transform_param.mean_file)
    return net


def without_data(net, shape):
    """An Input layer, and what computes scores."""
    data = data_layer(net, caffe_pb2.TEST)
    kept = [layer for layer in net.layer if layer.bottom and layer.type not in ("Accuracy", "SoftmaxWithLoss")
            and not any(rule.phase == caffe_pb2.TRAIN for rule in layer.include)]
    plain = caffe_pb2.NetParameter(name=net.name)
    begin = plain.layer.add(name="data", type="Input", top=[data.top[0]])
    begin.input_param.shape.add(dim=shape)
    for layer in kept:
        layer.ClearField("include")
        plain.layer.add().CopyFrom(layer)
    return plain


# ---- nets that are trained here ----

def train(program, folder, text, iterations, rate, batches_of_test):
    """Float weights for a net that has none, in folder/float.caffemodel; the same on every run with one thread."""
    pathlib.Path(folder, "float.prototxt").write_text(text)
    solver = ('net: "%s/float.prototxt" test_iter: %d test_interval: %d test_initialization: false base_lr: %g momentum: 0.9\n'
              'weight_decay: 0.0005 lr_policy: "poly" power: 1 display: 200 max_iter: %d snapshot_prefix: "%s/float"\n'
              'random_seed: 1\n'
              % (folder, batches_of_test, iterations, rate, iterations, folder))
    pathlib.Path(folder, "float_solver.prototxt").write_text(solver)
    with open(os.path.join(folder, "float.log"), "w") as log:
        subprocess.run([program, "train", "--solver", folder + "/float_solver.prototxt"], check=True, stderr=log, stdout=log,
                       env=dict(os.environ, OMP_NUM_THREADS="1"))
    os.replace("%s/float_iter_%d.caffemodel" % (folder, iterations), folder + "/float.caffemodel")


def depthwise_text(work, scale):
    """A small MobileNet for 28 x 28: depthwise and pointwise convolutions, each with BatchNorm, Scale and ReLU."""
    net = caffe_pb2.NetParameter(name="depthwise")
    for phase, source, batch in ((caffe_pb2.TRAIN, "fashion_train", 100), (caffe_pb2.TEST, "fashion_test", 100)):
        layer = net.layer.add(name="data", type="Data", top=["data", "label"])
        layer.include.add(phase=phase)
        layer.transform_param.scale = scale
        layer.data_param.source, layer.data_param.batch_size = os.path.join(work, source), batch
        layer.data_param.backend = caffe_pb2.DataParameter.LMDB

    def convolution(name, bottom, outputs, kernel, stride, group):
        layer = net.layer.add(name=name, type="Convolution", bottom=[bottom], top=[name])
        p = layer.convolution_param
        p.num_output, p.bias_term, p.group = outputs, False, group
        p.kernel_size.append(kernel)
        p.stride.append(stride)
        p.pad.append(kernel // 2)
        p.weight_filler.type = "msra"
        norm = net.layer.add(name=name + "/bn", type="BatchNorm", bottom=[name], top=[name])
        norm.batch_norm_param.moving_average_fraction = 0.95  # Caffe's 0.999 is behind in so short a training
        net.layer.add(name=name + "/scale", type="Scale", bottom=[name], top=[name]).scale_param.bias_term = True
        net.layer.add(name=name + "/relu", type="ReLU", bottom=[name], top=[name])
        return name

    top, inputs = convolution("conv1", "data", 16, 3, 1, 1), 16
    for i, (outputs, stride) in enumerate(((32, 2), (32, 1), (64, 2), (64, 1)), 2):
        top = convolution("conv%d/dw" % i, top, inputs, 3, stride, inputs)
        top, inputs = convolution("conv%d/sep" % i, top, outputs, 1, 1, 1), outputs
    pool = net.layer.add(name="pool", type="Pooling", bottom=[top], top=["pool"]).pooling_param
    pool.pool, pool.global_pooling = caffe_pb2.PoolingParameter.AVE, True
    dense = net.layer.add(name="fc", type="InnerProduct", bottom=["pool"], top=["fc"]).inner_product_param
    dense.num_output, dense.weight_filler.type = 10, "xavier"
    net.layer.add(name="accuracy", type="Accuracy", bottom=["fc", "label"], top=["accuracy"]).include.add(phase=caffe_pb2.TEST)
    net.layer.add(name="loss", type="SoftmaxWithLoss", bottom=["fc", "label"], top=["loss"])
    return text_format.MessageToString(net)


def unequal(source, folder, bits):
    """The same function with unequal channels: what each ReLU puts out is multiplied by 2^bits or 2^-bits, channel by channel
    and at random; the Scale before it does that, and the layers that read it undo it. Powers of two change no float result
    but for underflow."""
    os.makedirs(folder, exist_ok=True)
    description = read_net(source + "/float.prototxt")
    pathlib.Path(folder, "float.prototxt").write_text(text_format.MessageToString(description))
    net = caffe.Net(source + "/float.prototxt", source + "/float.caffemodel", caffe.TEST)
    draw, factor = numpy.random.RandomState(1), {}
    for layer in description.layer:
        bottom = layer.bottom[0] if layer.bottom else None
        if layer.type in ("Convolution", "InnerProduct") and bottom in factor:
            weights = net.params[layer.name][0].data
            by_input = factor[bottom] if layer.convolution_param.group <= 1 else None
            if by_input is None:  # depthwise: an input channel for each output
                weights /= factor[bottom].reshape(-1, 1, 1, 1)
            else:
                weights /= by_input.reshape([1, -1] + [1] * (weights.ndim - 2))
        elif layer.type == "ReLU":
            factor[bottom] = numpy.float32(2.0) ** draw.choice([-bits, bits], net.blobs[bottom].data.shape[1])
            for blob in net.params[layer.name.replace("relu", "scale")]:
                blob.data[...] *= factor[bottom]
        elif layer.type == "Pooling" and bottom in factor:
            factor[layer.top[0]] = factor[bottom]
    net.save(folder + "/float.caffemodel")


def make_fashion(program, data, work):
    folder = os.path.join(work, "fashion")
    os.makedirs(folder, exist_ok=True)
    lenet = with_data(read_net(data + "/lenet/train_test.local.prototxt"), {
        caffe_pb2.TRAIN: work + "/fashion_train", caffe_pb2.TEST: work + "/fashion_test"}, data)
    train(program, folder, text_format.MessageToString(lenet), 6000, 0.01, 100)


def make_depthwise(program, _data, work):
    folder = os.path.join(work, "depthwise")
    os.makedirs(folder, exist_ok=True)
    train(program, folder, depthwise_text(work, 1 / 256), 2400, 0.1, 100)


def make_unequal(program, data, work):
    make_net("depthwise", program, data, work)
    unequal(os.path.join(work, "depthwise"), os.path.join(work, "depthwise_unequal"), 4)


MAKERS = {"fashion": make_fashion, "depthwise": make_depthwise, "depthwise_unequal": make_unequal}


def make_net(name, program, data, work):
    """A net that has no weights in the data folder, trained in `work`; minutes, once."""
    if name in MAKERS and not os.path.exists("%s/%s/float.caffemodel" % (work, name)):
        MAKERS[name](program, data, work)


# ---- a net in a folder of its own ----

def find(name, data, work):
    return os.path.join(work if os.path.exists(os.path.join(work, name)) else data, name)


def solver_of(path, net, iterations):
    """The float solver over the net as it lies here: what qaffe's --float-solver reads."""
    solver = text_format.Parse(pathlib.Path(path).read_text(), caffe_pb2.SolverParameter())
    solver.net, solver.snapshot_prefix, solver.solver_mode = net, os.path.splitext(net)[0], caffe_pb2.SolverParameter.CPU
    solver.test_iter[:] = [iterations]
    return solver


def prepare(case, program, data, work):
    """The folder of a case, made if it is not there; `program` is qaffe."""
    folder = os.path.join(work, "nets", case.name)
    if os.path.exists(folder + "/images.json"):
        return folder
    make_lmdbs(data, work)
    make_net(case.name, program, data, work)
    os.makedirs(folder, exist_ok=True)
    train_lmdb, test_lmdb = find(case.train, data, work), find(case.test, data, work)
    net = with_data(read_net(find(case.model, data, work)), {caffe_pb2.TRAIN: train_lmdb, caffe_pb2.TEST: test_lmdb}, data)
    net_path, weights = folder + "/train_test.prototxt", folder + "/weights.caffemodel"
    pathlib.Path(net_path).write_text(text_format.MessageToString(net))
    shutil.copyfile(find(case.weights, data, work), weights)
    layer = data_layer(net, caffe_pb2.TRAIN)
    tests = items(test_lmdb)
    solver = solver_of(find(case.solver, data, work), net_path, tests // data_layer(net, caffe_pb2.TEST).data_param.batch_size)
    pathlib.Path(folder, "solver.prototxt").write_text(text_format.MessageToString(solver))

    for kind, path in (("train", train_lmdb), ("test", test_lmdb)):
        read = [(pixels_of(datum), datum.label) for datum in datums_of(path)]
        numpy.save("%s/%s.npy" % (folder, kind), numpy.stack([pixels for pixels, _ in read]))
        numpy.save("%s/%s_labels.npy" % (folder, kind), numpy.array([label for _, label in read]))
    transform = layer.transform_param
    mean = list(transform.mean_value) or [0]
    if transform.mean_file:
        blob = caffe_pb2.BlobProto.FromString(pathlib.Path(transform.mean_file).read_bytes())
        numpy.save(folder + "/mean.npy", numpy.array(blob.data, numpy.float32).reshape(blob.channels, blob.height, blob.width))
        mean = "mean.npy"

    trained = caffe.Net(net_path, weights, caffe.TEST)
    trained.forward()
    blob, (score, label) = data_layer(net, caffe_pb2.TEST).top[0], score_and_label(net)
    numpy.save(folder + "/probe.npy", trained.blobs[blob].data)
    numpy.save(folder + "/probe_scores.npy", trained.blobs[score].data.reshape(len(trained.blobs[label].data), -1))
    numpy.savez(folder + "/weights.npz", **{"%s:%d" % (name, i): values.data for name, blobs in trained.params.items()
                                            for i, values in enumerate(blobs)})
    scores, labels = test_scores(net_path, weights, tests)
    plain = without_data(net, list(trained.blobs[blob].data.shape))
    pathlib.Path(folder, "net.prototxt").write_text(text_format.MessageToString(plain))
    qaffe.export_onnx(folder + "/net.prototxt", weights, folder + "/float.onnx")
    pathlib.Path(folder, "images.json").write_text(json.dumps({
        "name": case.name, "seen": case.seen, "batch": layer.data_param.batch_size, "mean": mean, "scale": transform.scale,
        "crop": transform.crop_size, "mirror": transform.mirror, "rate": solver.base_lr / 100, "momentum": solver.momentum,
        "weight_decay": solver.weight_decay, "train": train_lmdb, "test": test_lmdb, "score": score,
        "test_batch": data_layer(net, caffe_pb2.TEST).data_param.batch_size, "test_images": tests,
        "float": 100 * float((scores.argmax(1) == labels).mean())}))
    return folder
