#!/usr/bin/env python3
"""One deploy net with random weights and random images, taken through the whole flow:

    scripts/public_net_flow.py [--build build/release] FILE.prototxt

qaffe time, qat config, qat prepare, two iterations of training from Python (what a net with inputs and no loss needs: the
batch, and a loss on its last layer with weights), qat export, verify. Prints one line of JSON: rc, and where it is not 0 the
command that failed and its last line; the integers that were compared; seconds of each step. scripts/public_nets.py runs it
on thousands of nets, each in a process of its own.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("AMCT_LOG_LEVEL", "ERROR")

WITH_WEIGHTS = ("Convolution", "InnerProduct", "Deconvolution", "ConvolutionDepthwise", "DepthwiseConvolution")
# Weights that are not random: what a trained layer might have there, blob by blob.
FIXED = {"BatchNorm": (0, 1, 1, 1, 0), "BN": (1, 0, 0, 1), "Scale": (1, 0.01), "Normalize": (20,), "PReLU": (0.25,)}
LOSS = """
layer { name: "trial_loss" type: "Reduction" bottom: "%s" top: "trial_loss" loss_weight: 0.0001 include { phase: TRAIN }
        reduction_param { operation: SUMSQ } }
"""
LOSS_V1 = LOSS.replace("layer {", "layers {").replace('"Reduction"', "REDUCTION")
SOLVER = """
net: "{0}/modified.prototxt" base_lr: 1e-6 lr_policy: "fixed" max_iter: 2 test_iter: 1 test_interval: 2
test_initialization: false snapshot_prefix: "{0}/trained" random_seed: 1 clip_gradients: 1
"""


# ---- what a net is fed with ----

def image(random, shape):
    """Coarse and fine noise of the size of a picture's values."""
    import numpy
    coarse = random.rand(*shape[:2], shape[2] // 16 + 1, shape[3] // 16 + 1)
    coarse = coarse.repeat(16, 2).repeat(16, 3)[:, :, :shape[2], :shape[3]]
    return (220 * coarse + 35 * random.rand(*shape) - 110).astype(numpy.float32)


def regions(random, shape, picture):
    """Boxes of a third of the picture: batch item 0, then the corners."""
    import numpy
    boxes = numpy.zeros(shape, numpy.float32).reshape(-1, 5)
    height, width = picture[2:]
    boxes[:, 1] = random.randint(0, max(1, width // 2), len(boxes))
    boxes[:, 2] = random.randint(0, max(1, height // 2), len(boxes))
    boxes[:, 3:] = boxes[:, 1:3] + (width // 3, height // 3)
    return boxes.reshape(shape)


def values(random, name, shape, shapes):
    import numpy
    picture = next((other for other in shapes.values() if len(other) == 4 and other[2] * other[3] > 1), shape)
    if len(shape) == 4 and shape[2] * shape[3] > 1:
        return image(random, shape)
    if "im_info" in name:
        out = numpy.ones(shape, numpy.float32)
        out.reshape(-1)[:3] = picture[2], picture[3], 1
        return out
    if "roi" in name and 5 in shape:
        return regions(random, shape, picture)
    if "cont" in name or "clip" in name or "indicator" in name:  # the first step of a sequence, and those that go on
        out = numpy.ones(shape, numpy.float32)
        out[0] = 0
        return out
    if "sentence" in name or "label" in name:
        return numpy.zeros(shape, numpy.float32)
    return random.randn(*shape)


def random_weights(random, net, gain):
    import numpy
    for name, blobs in net.params.items():
        layer = net.layers[list(net._layer_names).index(name)]
        for i, blob in enumerate(blobs):
            shape = blob.data.shape
            fixed = FIXED.get(layer.type, ())
            if i < len(fixed):
                blob.data[...] = fixed[i]
            elif len(shape) > 1:
                blob.data[...] = random.randn(*shape) * gain * numpy.sqrt(2 / max(1, numpy.prod(shape[1:])))
            else:
                blob.data[...] = random.randn(*shape) * 0.01


def measure_statistics(net):
    """BatchNorm's mean and variance are those of the batch, as if the net had been trained."""
    begin = 0
    for i, layer in enumerate(net.layers):
        if layer.type == "BatchNorm":
            if i > begin:
                net.forward(start=net._layer_names[begin], end=net._layer_names[i - 1])
            values = net.blobs[net.bottom_names[net._layer_names[i]][0]].data
            axes = tuple(axis for axis in range(values.ndim) if axis != 1)
            mean, variance = net.params[net._layer_names[i]][:2]
            mean.data[...] = values.mean(axes).reshape(mean.data.shape)
            variance.data[...] = values.var(axes).reshape(variance.data.shape)
            begin = i
    net.forward(start=net._layer_names[begin])


def make(path, folder):
    """Writes weights, the net with a loss for training, and a batch an input; gives --data of qaffe verify."""
    import caffe
    import numpy
    random = numpy.random.RandomState(1)
    net = caffe.Net(path, caffe.TEST)
    shapes = {name: list(net.blobs[name].data.shape) for name in net.inputs}
    for name, shape in shapes.items():
        batch = values(random, name, shape, shapes).astype("<f4")
        os.makedirs("%s/%s" % (folder, name))
        batch.tofile("%s/%s/0.bin" % (folder, name))
        net.blobs[name].data[...] = batch
    for gain in (1, 0.7, 0.5):  # many residual blocks whose norm is merged into weights grow beyond what a trained net's have
        random_weights(random, net, gain)
        measure_statistics(net)
        if all(abs(blob.data).max(initial=0) < 1e6 for blob in net.blobs.values()):
            break
    net.save(folder + "/weights.caffemodel")
    text = pathlib.Path(path).read_text(errors="replace")
    ends = [net.top_names[name][0] for name, layer in zip(net._layer_names, net.layers) if layer.type in WITH_WEIGHTS]
    loss = LOSS_V1 if re.search(r"\blayers\s*:?\s*\{", re.sub(r"#.*", "", text)) else LOSS
    pathlib.Path(folder, "net.prototxt").write_text(text + "".join(loss % end for end in ends[-1:]))
    if len(shapes) == 1:  # a net that makes its own data has none
        return "%s/%s" % (folder, net.inputs[0])
    return ",".join("%s=%s/%s" % (name, folder, name) for name in shapes)


def train(folder):
    import caffe
    import numpy
    pathlib.Path(folder, "solver.prototxt").write_text(SOLVER.format(folder))
    solver = caffe.SGDSolver(folder + "/solver.prototxt")
    solver.net.copy_from(folder + "/modified.caffemodel")
    test = solver.test_nets[0]
    test.share_with(solver.net)
    for net in (solver.net, test):
        for name in net.inputs:
            blob = net.blobs[name].data
            blob[...] = numpy.fromfile("%s/%s/0.bin" % (folder, name), "<f4").reshape(blob.shape)
    solver.step(2)
    test.forward()  # searches the shift factors
    solver.snapshot()


# ---- nets that take long ----

MOST = 30e9  # multiply-adds
SHAPES = re.compile(r"\b(?:input_)?shape\s*:?\s*\{[^{}]*\}|(?:input_dim\s*:\s*\d+\s*){4}")


def sizes_in(shape):
    return [int(size) for size in re.findall(r"dim\s*:\s*(-?\d+)", shape)]


def cut(text, share, side):
    """The inputs of a net cut to `share` of their images or regions; where there is one image only, to a part of its sides."""
    several = any(sizes_in(shape)[:1] > [1] for shape in SHAPES.findall(text))

    def smaller(match):
        sizes = sizes_in(match[0])
        if min(sizes, default=0) < 1:  # a Reshape's
            return match[0]
        sizes[0] = max(1, round(sizes[0] * share))
        if len(sizes) == 4 and not several:
            sizes[2:] = sizes[2] // side, sizes[3] // side
        left = iter(sizes)
        return re.sub(r"(dim\s*:\s*)\d+", lambda found: found[1] + str(next(left)), match[0])

    return SHAPES.sub(smaller, text)


def within_reason(path, multiply_adds, qaffe, folder, row):
    """The path of the net to run: where it has more than MOST multiply-adds, the same net for less, if that can be built."""
    if multiply_adds <= MOST:
        return path
    text, made = re.sub(r"#.*", "", pathlib.Path(path).read_text(errors="replace")), folder + "/cut.prototxt"
    for side in (4, 2) if multiply_adds > 8 * MOST else (2,):
        smaller = cut(text, MOST / multiply_adds, side)
        pathlib.Path(made).write_text(smaller)
        if smaller != text and not subprocess.run([qaffe, "inspect", "--model", made], capture_output=True).returncode:
            row["cut"] = True
            return made
    return path


# ---- the flow ----

class Failed(Exception):
    pass


def run(row, name, command):
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    row["seconds"][name] = round(time.monotonic() - begin, 1)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line and not line.startswith("Try `")]
        line = "ended by signal %d" % -done.returncode if done.returncode < 0 else lines[-1] if lines else ""
        row.update(rc=done.returncode, failed=name, line=line)
        raise Failed
    return done.stdout


def whole(path, multiply_adds, build, folder, row):
    qaffe, itself = str(build / "qaffe"), [sys.executable, __file__, "--build", str(build)]
    file = lambda name: folder + "/" + name
    path = within_reason(path, multiply_adds, qaffe, folder, row)
    data = run(row, "weights", itself + ["--part", "make", "--folder", folder, path]).strip()
    run(row, "time", [qaffe, "time", "--model", path, "--weights", file("weights.caffemodel"), "--iterations", "1",
                      "--phase", "TEST"])
    model = ["--model", file("net.prototxt"), "--weights", file("weights.caffemodel")]
    run(row, "qat config", [qaffe, "qat", "config", *model, "--out", file("config.json")])
    run(row, "qat prepare", [qaffe, "qat", "prepare", *model, "--config", file("config.json"), "--record", file("record.txt"),
                             "--out-model", file("modified.prototxt"), "--out-weights", file("modified.caffemodel")])
    run(row, "train", itself + ["--part", "train", "--folder", folder, path])
    run(row, "qat export", [qaffe, "qat", "export", "--model", file("modified.prototxt"), "--weights",
                            file("trained_iter_2.caffemodel"), "--record", file("record.txt"), "--out", file("int8")])
    screen = run(row, "verify", [qaffe, "verify", "--model", file("int8"), "--iterations", "1"] +
                 (["--data", data] if data else []))
    row.update(rc=0, line="", integers=int(re.search(r"Verified: (\d+) integers", screen)[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--multiply-adds", type=int, default=0, help="of the net; above 30 G its inputs are cut")
    parser.add_argument("--part", choices=("make", "train"), help=argparse.SUPPRESS)  # in a process that may crash
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(options.build.resolve() / "python"))
    if options.part == "make":
        print(make(options.net, options.folder))
    elif options.part == "train":
        train(options.folder)
    else:
        row = {"rc": 1, "line": "", "seconds": {}}
        with tempfile.TemporaryDirectory() as folder:
            try:
                whole(options.net, options.multiply_adds, options.build.resolve(), folder, row)
            except Failed:
                row["line"] = row["line"].replace(folder + "/", "")
        print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
