#!/usr/bin/env python3
"""Three small tasks from drawn data, each trained in about a minute: segmentation, text, faces.

    scripts/toy_tasks.py [--qaffe PROGRAM] [--out FOLDER] [--short] [segmentation] [text] [faces]

Segmentation (drawn shapes, DenseImageData and ImageSegData, SegAccuracy, weighted classes) and text (drawn strings of
digits, Lstm, CTC) are then quantised with and without retraining and verified; faces train with MarginInnerProduct and
CenterLoss. Fails unless each has learned and every model has the same integers. --short: fewer iterations."""
import argparse
import os
import re
import struct
import subprocess
import sys
import zlib

import numpy


def write_png(path, pixels, palette=None):
    """Grey (height, width), colour (height, width, 3), or numbers of a palette."""
    height, width = pixels.shape[:2]
    kind = 3 if palette is not None else 2 if pixels.ndim == 3 else 0

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(numpy.uint8).tobytes() for row in pixels)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)))
        if palette is not None:
            file.write(chunk(b"PLTE", bytes(palette)))
        file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def run(program, *arguments):
    """What the command says, on both outputs; stops where it fails."""
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(arguments)} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def train(program, iterations, rate):
    write("solver.prototxt", f"net: 'net.prototxt'\nbase_lr: {rate}\nlr_policy: 'step'\nstepsize: {iterations * 2 // 3}\n"
          f"gamma: 0.1\ntype: 'Adam'\nmomentum: 0.9\nmax_iter: {iterations}\ndisplay: 100\ntest_iter: 8\n"
          f"test_interval: {iterations}\ntest_initialization: false\nsnapshot_prefix: 'float'\nrandom_seed: 1\n")
    return run(program, "train", "--solver", "solver.prototxt", "--log-level", "info")


def outputs(log, name):
    """The values of an output in all tests of a log, one behind the other."""
    return [float(value) for value in re.findall(rf"Test net output #\d+: {name} = (\S+)", log)]


def quantise(program, iterations, short):
    """Both ways, each tested and verified by the command itself."""
    weights = f"float_iter_{iterations}.caffemodel"
    for name, arguments in (("qat", ["--iterations", "40" if short else "200"]), ("ptq", [])):
        text = run(program, name, "run", "--model", "net.prototxt", "--weights", weights, "--out", f"{name}/model", *arguments)
        print("\n".join("    " + line for line in text.splitlines()[-14:]))
        if not re.search(r"Verified: [\d,]+ integers .*, 0 differ;", text):
            sys.exit(f"{name} run says nothing of equal integers:\n{text[-2000:]}")


def convolution(name, bottom, outputs_, kernel, more=""):
    return (f"layer {{ name: '{name}' type: 'Convolution' bottom: '{bottom}' top: '{name}' convolution_param {{ num_output: {outputs_} "
            f"{kernel} weight_filler {{ type: 'msra' }} {more} }} }}\n"
            f"layer {{ name: '{name}_relu' type: 'ReLU' bottom: '{name}' top: '{name}' }}\n")


# ---- segmentation: circles, squares and crosses on a noisy ground; their rims are ignored ----

def draw_shapes(random, side=32):
    y, x = numpy.mgrid[:side, :side]
    image = random.integers(0, 70, (side, side, 3))
    labels = numpy.zeros((side, side), int)
    for _ in range(2):
        kind, size = random.integers(1, 4), random.integers(5, 9)
        down, across = numpy.abs(y - random.integers(6, side - 6)), numpy.abs(x - random.integers(6, side - 6))
        extent = [down ** 2 + across ** 2 - size ** 2, numpy.maximum(down, across) - size,
                  numpy.where(numpy.minimum(down, across) <= 2, numpy.maximum(down, across) - size, 1)][kind - 1]
        inside, rim = extent < 0, extent == 0
        image[inside] = random.integers(120, 255, 3) + random.integers(-30, 30, (inside.sum(), 3))
        labels[inside], labels[rim] = kind, 255
    return image.clip(0, 255), labels


def segmentation(program, short):
    random = numpy.random.default_rng(1)
    palette = [(37 * i) % 256 for i in range(768)]  # any colours: their numbers are the labels
    for part, count in (("train", 300), ("test", 64)):
        lines = []
        for i in range(count):
            image, labels = draw_shapes(random)
            write_png(f"{part}{i}.png", image)
            write_png(f"{part}{i}_labels.png", labels, palette)
            lines.append(f"{part}{i}.png {part}{i}_labels.png\n")
        write(f"{part}.txt", "".join(lines))
    mean = "mean_value: 90 scale: 0.01"
    write("net.prototxt", f"""
layer {{ name: 'data' type: 'DenseImageData' top: 'data' top: 'label' include {{ phase: TRAIN }} transform_param {{ {mean} }}
  dense_image_data_param {{ source: 'train.txt' batch_size: 16 shuffle: true mirror: true crop_height: 28 crop_width: 28 }} }}
layer {{ name: 'data' type: 'ImageSegData' top: 'data' top: 'label' include {{ phase: TEST }} transform_param {{ {mean} }}
  image_data_param {{ source: 'test.txt' batch_size: 8 label_type: PIXEL }} }}
""" + convolution("conv1", "data", 16, "kernel_size: 3 pad: 1") + convolution("conv2", "conv1", 24, "kernel_size: 3 pad: 1 stride: 2")
          + convolution("conv3", "conv2", 32, "kernel_size: 3 pad: 2 dilation: 2") + convolution("conv4", "conv3", 32, "kernel_size: 3 pad: 1")
          + """
layer { name: 'up' type: 'Deconvolution' bottom: 'conv4' top: 'up' convolution_param { num_output: 16 kernel_size: 2 stride: 2 weight_filler { type: 'msra' } } }
layer { name: 'both' type: 'Concat' bottom: 'up' bottom: 'conv1' top: 'both' }
layer { name: 'score' type: 'Convolution' bottom: 'both' top: 'score' convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'score' bottom: 'label' top: 'loss' loss_param { ignore_label: 255
  weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 1 class_weighting: 1 class_weighting: 2 } }
layer { name: 'accuracy' type: 'SegAccuracy' bottom: 'score' bottom: 'label' top: 'accuracy' include { phase: TEST }
  seg_accuracy_param { ignore_label: 255 } }
""")
    iterations = 150 if short else 500
    log = train(program, iterations, 0.003)
    pixels, recall, union = outputs(log, "accuracy")[-3:]
    print(f"segmentation: right pixels {pixels:.3f}, mean recall {recall:.3f}, mean intersection over union {union:.3f}")
    if union < (0.6 if short else 0.8):
        sys.exit("segmentation has not learned")
    quantise(program, iterations, short)


# ---- text: strings of three to five digits ----

FONT = ["01110100011001110101110011000101110", "00100011000010000100001000010001110", "01110100010000100110010001000011111",
        "11110000010000101110000010000111110", "00010001100101010010111110001000010", "11111100001111000001000011000101110",
        "01110100001000011110100011000101110", "11111000010001000100010000100001000", "01110100011000101110100011000101110",
        "01110100011000101111000010000101110"]
STEPS, LABELS = 24, 5


def draw_text(random):
    image = random.uniform(0, 0.35, (12, 48))
    digits = random.integers(0, 10, random.integers(3, LABELS + 1))
    x = random.integers(1, 4)
    for digit in digits:
        glyph = numpy.array([int(c) for c in FONT[digit]]).reshape(7, 5)
        y = random.integers(1, 5)
        image[y:y + 7, x:x + 5] += glyph * random.uniform(0.5, 0.65)
        x += 5 + random.integers(2, 5)
    return image, numpy.pad(digits + 1, (0, LABELS - len(digits)), constant_values=0)  # class 0 is the blank


def text(program, short):
    random = numpy.random.default_rng(2)
    for part, files, batch in (("train", 60, 32), ("test", 8, 32)):
        for name in ("images", "labels"):
            os.makedirs(f"{part}_{name}", exist_ok=True)
        for i in range(files):
            drawn = [draw_text(random) for _ in range(batch)]
            numpy.array([d[0] for d in drawn], numpy.float32).tofile(f"{part}_images/{i:03}.bin")
            numpy.array([d[1] for d in drawn], numpy.float32).tofile(f"{part}_labels/{i:03}.bin")
    data = "".join(f"""
layer {{ name: 'data' type: 'RawData' top: 'data' top: 'label' include {{ phase: {part.upper()} }} raw_data_param {{
  source: '{part}_images' source: '{part}_labels' shape {{ dim: 32 dim: 1 dim: 12 dim: 48 }} shape {{ dim: 32 dim: {LABELS} }} }} }}
""" for part in ("train", "test"))
    write("net.prototxt", data + convolution("conv1", "data", 16, "kernel_size: 3 pad: 1") + """
layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1' pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
""" + convolution("conv2", "pool1", 32, "kernel_size: 3 pad: 1") + convolution("conv3", "conv2", 32, "kernel_h: 6 kernel_w: 3 pad_h: 0 pad_w: 1") + """
layer { name: 'steps' type: 'Transpose' bottom: 'conv3' top: 'steps' transpose_param { dim: 3 dim: 0 dim: 1 dim: 2 } }
layer { name: 'lstm' type: 'Lstm' bottom: 'steps' top: 'lstm' lstm_param { num_output: 32 weight_filler { type: 'xavier' } } }
layer { name: 'turned' type: 'Reverse' bottom: 'steps' top: 'turned' reverse_param { axis: 0 } }
layer { name: 'back' type: 'Lstm' bottom: 'turned' top: 'back' lstm_param { num_output: 32 weight_filler { type: 'xavier' } } }
layer { name: 'returned' type: 'Reverse' bottom: 'back' top: 'returned' reverse_param { axis: 0 } }
layer { name: 'both' type: 'Concat' bottom: 'lstm' bottom: 'returned' top: 'both' concat_param { axis: 2 } }
layer { name: 'score' type: 'InnerProduct' bottom: 'both' top: 'score' inner_product_param { num_output: 11 axis: 2 weight_filler { type: 'xavier' } } }
layer { name: 'loss' type: 'WarpCTCLoss' bottom: 'score' bottom: 'label' top: 'loss' }
layer { name: 'accuracy' type: 'CTCGreedyDecoder' bottom: 'score' bottom: 'label' top: 'accuracy' include { phase: TEST } }
""")
    iterations = 600 if short else 800
    log = train(program, iterations, 0.004)
    digits, lines = outputs(log, "accuracy")[-2:]
    print(f"text: right digits {digits:.3f} (by edit distance), right strings {lines:.3f}")
    if digits < (0.8 if short else 0.95):
        sys.exit("text has not learned")
    quantise(program, iterations, short)


# ---- faces: eight identities, each a pattern of blobs, seen shifted and noisy ----

def faces(program, short):
    random = numpy.random.default_rng(3)
    patterns = random.uniform(60, 200, (8, 5, 5)).repeat(4, 1).repeat(4, 2)
    for part, count in (("train", 400), ("test", 128)):
        lines = []
        for i in range(count):
            who = i % 8
            image = numpy.roll(patterns[who], random.integers(-2, 3, 2), (0, 1)) + random.normal(0, 25, (20, 20))
            write_png(f"{part}{i}.png", image.clip(0, 255))
            lines.append(f"{part}{i}.png {who}\n")
        write(f"{part}.txt", "".join(lines))
    data = "".join(f"""
layer {{ name: 'data' type: 'ImageData' top: 'data' top: 'label' include {{ phase: {part.upper()} }} transform_param {{ mean_value: 128 scale: 0.01 }}
  image_data_param {{ source: '{part}.txt' batch_size: {batch} shuffle: {shuffle} is_color: false }} }}
""" for part, batch, shuffle in (("train", 32, "true"), ("test", 16, "false")))
    write("net.prototxt", data + convolution("conv1", "data", 12, "kernel_size: 3 stride: 2") + convolution("conv2", "conv1", 16, "kernel_size: 3 stride: 2") + """
layer { name: 'fc5' type: 'InnerProduct' bottom: 'conv2' top: 'fc5' inner_product_param { num_output: 16 weight_filler { type: 'xavier' } } }
layer { name: 'fc6' type: 'MarginInnerProduct' bottom: 'fc5' bottom: 'label' top: 'fc6' top: 'lambda' margin_inner_product_param {
  num_output: 8 type: QUADRUPLE weight_filler { type: 'xavier' } base: 1000 gamma: 0.12 power: 1 lambda_min: 5 } }
layer { name: 'softmax_loss' type: 'SoftmaxWithLoss' bottom: 'fc6' bottom: 'label' top: 'softmax_loss' }
layer { name: 'center_loss' type: 'CenterLoss' bottom: 'fc5' bottom: 'label' top: 'center_loss' loss_weight: 0.01 center_loss_param {
  num_output: 8 center_filler { type: 'xavier' } } }
layer { name: 'accuracy' type: 'Accuracy' bottom: 'fc6' bottom: 'label' top: 'accuracy' include { phase: TEST } }
""")
    log = train(program, 200 if short else 600, 0.003)
    right = outputs(log, "accuracy")[-1]
    print(f"faces: right identities {right:.3f}")
    if right < 0.9:
        sys.exit("faces have not learned")


TASKS = {"segmentation": segmentation, "text": text, "faces": faces}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qaffe", default="qaffe")
    parser.add_argument("--out", default="toy_tasks")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="segmentation, text or faces; all without one")
    options = parser.parse_args()
    program = os.path.abspath(options.qaffe) if os.path.exists(options.qaffe) else options.qaffe
    unknown = [task for task in options.tasks if task not in TASKS]
    if unknown:
        parser.error(f"there is no task {unknown[0]}")
    start = os.getcwd()
    for task in options.tasks or TASKS:
        folder = os.path.join(start, options.out, task)
        os.makedirs(folder, exist_ok=True)
        os.chdir(folder)
        TASKS[task](program, options.short)


if __name__ == "__main__":
    main()
