#!/usr/bin/env python3
"""A small Faster R-CNN from annotations to int8, all by commands: draws squares, discs and triangles with VOC's annotations,
makes databases of them, trains examples/faster_rcnn, calibrates and retrains it, deploys it, and prints the mAP of each model.

    PYTHONPATH=build/release/python scripts/faster_rcnn_shapes.py [--quick] [--into FOLDER] [--build build/release]

Takes a few minutes. The exit code is 1 where the deployed model's mAP is more than 0.5 percentage points below the
float model's, or an integer differs. --quick: a fraction of the images and iterations, for tests; then the mAP only has to be
above chance.
"""
import argparse
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")

import numpy

EXAMPLE = pathlib.Path(__file__).resolve().parent.parent / "examples" / "faster_rcnn"
CLASSES = ("square", "disc", "triangle")
SIZE = 96
DEVIATIONS = numpy.array([0.1, 0.1, 0.2, 0.2])  # ProposalTargetLayer's, by which offsets were divided

# ---- images ----


def draw_shape(image, kind, left, top, size, colour):
    row, column = numpy.mgrid[0:SIZE, 0:SIZE]
    x, y = (column - left + 0.5) / size, (row - top + 0.5) / size
    inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    if kind == "disc":
        inside &= (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
    elif kind == "triangle":
        inside &= abs(x - 0.5) <= y / 2
    image[inside] = colour


def draw(random):
    """An image and its objects: (class, x1, y1, x2, y2), pixels counted from 1 as VOC does."""
    image = numpy.full((SIZE, SIZE, 3), random.integers(0, 256, 3)) + random.normal(0, 12, (SIZE, SIZE, 3))
    objects = []
    for _ in range(random.integers(1, 4)):
        size = int(random.integers(16, 42))
        left, top = (int(v) for v in random.integers(0, SIZE - size, 2))
        if any(left < x2 + 2 and x1 < left + size + 2 and top < y2 + 2 and y1 < top + size + 2 for _, x1, y1, x2, y2 in objects):
            continue
        kind = CLASSES[random.integers(3)]
        colour = random.integers(0, 256, 3)
        while abs(colour - image.mean((0, 1))).max() < 60:
            colour = random.integers(0, 256, 3)
        draw_shape(image, kind, left, top, size, colour)
        objects.append((kind, left + 1, top + 1, left + size, top + size))
    return image.clip(0, 255).astype(numpy.uint8), objects


def write_bmp(path, image):
    pixels = image[::-1].tobytes()  # rows from below; SIZE * 3 is a multiple of 4
    path.write_bytes(b"BM" + struct.pack("<IIIIiiHHIIiiII", 54 + len(pixels), 0, 54, 40, SIZE, SIZE, 1, 24, 0,
                                         len(pixels), 0, 0, 0, 0) + pixels)


def write_xml(path, objects):
    described = "".join("<object><name>%s</name><difficult>0</difficult><bndbox><xmin>%d</xmin><ymin>%d</ymin><xmax>%d</xmax>"
                        "<ymax>%d</ymax></bndbox></object>" % o for o in objects)
    path.write_text("<annotation><size><width>%d</width><height>%d</height><depth>3</depth></size>%s</annotation>"
                    % (SIZE, SIZE, described))


def write_label_map(path):
    items = [("none_of_the_above", 0, "background")] + [(name, i + 1, name) for i, name in enumerate(CLASSES)]
    path.write_text("".join('item { name: "%s" label: %d display_name: "%s" }\n' % item for item in items))


def make_set(folder, name, count, random, create_annoset):
    """Images, annotations and <name>_lmdb; the objects of each image."""
    truth = []
    (folder / name).mkdir()
    with open(folder / (name + ".txt"), "w") as listing:
        for i in range(count):
            image, objects = draw(random)
            write_bmp(folder / name / ("%05d.bmp" % i), image)
            write_xml(folder / name / ("%05d.xml" % i), objects)
            listing.write("%s/%05d.bmp %s/%05d.xml\n" % (name, i, name, i))
            truth.append(objects)
    create_annoset(folder, name)
    return truth


# ---- commands ----


def run(folder, *command):
    done = subprocess.run([str(word) for word in command], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit("%s ended with %d:\n%s" % (" ".join(map(str, command)), done.returncode, done.stdout[-4000:]))
    return done.stdout


def annoset_of(build):
    """What makes a database of a listing, by SSD's program."""
    return lambda folder, name: run(folder, build / "caffe-home/build/tools/create_annoset", "--anno_type=detection",
                                    "--label_type=xml", "--label_map_file=labels.prototxt", "--encode_type=png", "--encoded", ".",
                                    name + ".txt", name + "_lmdb")


# ---- what a model finds, and how good that is ----


def decode(rois, offsets):
    width, height = rois[:, 2] - rois[:, 0] + 1, rois[:, 3] - rois[:, 1] + 1
    x, y = rois[:, 0] + width / 2 + offsets[:, 0] * width, rois[:, 1] + height / 2 + offsets[:, 1] * height
    w, h = numpy.exp(offsets[:, 2]) * width / 2, numpy.exp(offsets[:, 3]) * height / 2
    return numpy.stack([x - w, y - h, x + w - 1, y + h - 1], 1).clip(0, SIZE - 1)


def overlaps(box, boxes):
    w = numpy.minimum(box[2], boxes[:, 2]) - numpy.maximum(box[0], boxes[:, 0]) + 1
    h = numpy.minimum(box[3], boxes[:, 3]) - numpy.maximum(box[1], boxes[:, 1]) + 1
    both = w.clip(0) * h.clip(0)
    area = lambda b: (b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1)
    return both / (area(box) + area(boxes) - both)


def suppress(boxes, scores, threshold=0.3):
    kept = []
    for i in numpy.argsort(-scores, kind="stable"):
        if not kept or overlaps(boxes[i], boxes[kept]).max() <= threshold:
            kept.append(i)
    return kept


def detect(model, weights, count):
    """For each class: (score, image, box) of all that a model finds on its TEST data."""
    import caffe
    net = caffe.Net(str(model), str(weights), caffe.TEST)
    found = [[] for _ in CLASSES]
    for image in range(count):
        net.forward()
        rois, probability = net.blobs["rois"].data[:, 1:5].copy(), net.blobs["cls_prob"].data.copy()
        offsets = net.blobs["bbox_pred"].data.reshape(len(rois), -1, 4) * DEVIATIONS
        for c in range(1, 1 + len(CLASSES)):
            boxes = decode(rois, offsets[:, c])
            found[c - 1] += [(probability[i, c], image, boxes[i]) for i in suppress(boxes, probability[:, c])
                             if probability[i, c] > 0.01]
    return found


def average_precision(found, truth):
    """VOC's, by all points of the curve, at an overlap of 0.5; truth: the boxes of each image."""
    taken = [numpy.zeros(len(boxes), bool) for boxes in truth]
    hits = []
    for _, image, box in sorted(found, key=lambda f: -f[0]):
        both = overlaps(box, truth[image]) if len(truth[image]) else numpy.zeros(0)
        best = int(both.argmax()) if len(both) else -1
        hit = best >= 0 and both[best] >= 0.5 and not taken[image][best]
        if hit:
            taken[image][best] = True
        hits.append(hit)
    right = numpy.cumsum(hits)
    recall = right / max(sum(map(len, truth)), 1)
    precision = right / numpy.arange(1, len(hits) + 1)
    envelope = numpy.maximum.accumulate(precision[::-1])[::-1]
    return float(numpy.sum(numpy.diff(recall, prepend=0) * envelope))


def mean_average_precision(model, weights, truth):
    found = detect(model, weights, len(truth))
    return 100 * numpy.mean([average_precision(found[c], [numpy.array([[x1 - 1, y1 - 1, x2 - 1, y2 - 1] for kind, x1, y1, x2, y2 in
                                                                      objects if kind == name]).reshape(-1, 4) for objects in truth])
                             for c, name in enumerate(CLASSES)])


# ---- the whole ----


def work(folder, build, quick, create_annoset):
    random = numpy.random.default_rng(1)
    images, tests, iterations, retraining = (300, 30, 800, 20) if quick else (2000, 300, 4500, 1500)
    write_label_map(folder / "labels.prototxt")
    make_set(folder, "train", images, random, create_annoset)
    truth = make_set(folder, "test", tests, random, create_annoset)
    for name in "train_test.prototxt", "int8.cfg":
        shutil.copyfile(EXAMPLE / name, folder / name)
    solver = (EXAMPLE / "solver.prototxt").read_text()
    if quick:
        solver = re.sub(r"(max_iter|snapshot): \d+", r"\1: %d" % iterations, re.sub(r"test_iter: \d+", "test_iter: 30", solver))
    (folder / "solver.prototxt").write_text(solver)
    qaffe = build / "qaffe"
    run(folder, qaffe, "train", "--solver", "solver.prototxt")
    weights = "float_iter_%d.caffemodel" % iterations
    model = "--model", "train_test.prototxt", "--weights", weights, "--seed", "1"
    run(folder, qaffe, "ptq", "run", *model, "--batch-num", 32 if not quick else 8, "--out", "ptq/shapes")
    report = run(folder, qaffe, "qat", "run", *model, "--from-ptq", "ptq/shapes_record.txt", "--config-definition", "int8.cfg",
                 "--iterations", retraining, "--base-lr", "0.0003", "--out", "int8/shapes")
    print(re.search(r"^Verified: .*$", report, re.M).group())
    os.chdir(folder)
    results = {}
    exported = "%s_model.prototxt", "%s_weights.caffemodel"
    for name, *files in (("float", "train_test.prototxt", weights),
                         ("calibrated", *(e % "ptq/shapes_deploy" for e in exported)),
                         ("fake-quant", *(e % "int8/shapes_fake_quant" for e in exported)),
                         ("deploy", *(e % "int8/shapes_deploy" for e in exported))):
        results[name] = mean_average_precision(*files, truth)
        print("%-10s mAP %.2f" % (name, results[name]))
    same = " 0 differ" in report
    good = results["deploy"] > 10 if quick else results["deploy"] >= results["float"] - 0.5
    return 0 if same and good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--into", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    given = parser.parse_args()
    build = given.build.resolve()
    if given.into:
        given.into.mkdir(parents=True)
        return work(given.into.resolve(), build, given.quick, annoset_of(build))
    with tempfile.TemporaryDirectory() as folder:
        return work(pathlib.Path(folder), build, given.quick, annoset_of(build))


if __name__ == "__main__":
    sys.exit(main())
