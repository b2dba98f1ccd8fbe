#!/usr/bin/env python3
"""A small SSD from nothing to a deployed model, as one would train one on VOC: drawn shapes with VOC's
annotations, create_annoset, training with AnnotatedData and MultiBoxLoss, mean average precision,
quantisation-aware training, and the comparison of fake-quant and deploy model integer by integer.

    scripts/train_ssd.py build/release            # 4 minutes on two cores
    scripts/train_ssd.py build/release --short    # 1 minute; asks for less (CTest runs it)

Exits with 0 where all that docs/detection.md promises held."""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw

CLASSES = ["circle", "square", "triangle"]
SIDE = 96


def draw_image(path, annotation, rng):
    """Up to three shapes that do not overlap much, on noise; some are marked difficult, being small."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.randrange(60) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, grey = rng.randrange(SIDE), rng.randrange(SIDE), rng.randrange(120)
        draw.rectangle([x, y, x + rng.randrange(6), y + rng.randrange(6)], fill=(grey, grey, grey))
    objects = []
    for _ in range(rng.randrange(1, 4)):
        size = rng.randrange(14, 44)
        left, top = rng.randrange(SIDE - size), rng.randrange(SIDE - size)
        box = (left, top, left + size, top + size)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for _, b in objects):
            continue
        name = rng.choice(CLASSES)
        colour = tuple(rng.randrange(70, 256) for _ in range(3))
        if name == "circle":
            draw.ellipse([left, top, left + size - 1, top + size - 1], fill=colour)
        elif name == "square":
            draw.rectangle([left, top, left + size - 1, top + size - 1], fill=colour)
        else:
            draw.polygon([(left, top + size - 1), (left + size - 1, top + size - 1), (left + size / 2, top)],
                         fill=colour)
        objects.append((name, box))
    image.save(path, quality=95)
    with open(annotation, "w", encoding="ascii") as out:
        out.write(f"<annotation><filename>{os.path.basename(path)}</filename><size><width>{SIDE}</width>"
                  f"<height>{SIDE}</height><depth>3</depth></size>")
        for name, box in objects:
            difficult = int(box[2] - box[0] < 17)
            out.write(f"<object><name>{name}</name><pose>Frontal</pose><truncated>0</truncated>"
                      f"<difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
                      f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>")
        out.write("</annotation>\n")


def make_data(folder, train, test):
    """VOC's folders, lists and a label map."""
    rng = random.Random(1)
    for name in ("JPEGImages", "Annotations"):
        os.makedirs(os.path.join(folder, name))
    for name, count in (("train", train), ("test", test)):
        with open(os.path.join(folder, name + ".txt"), "w", encoding="ascii") as lines:
            for i in range(count):
                image, annotation = f"JPEGImages/{name}{i:05}.jpg", f"Annotations/{name}{i:05}.xml"
                draw_image(os.path.join(folder, image), os.path.join(folder, annotation), rng)
                lines.write(f"{image} {annotation}\n")
    with open(os.path.join(folder, "labelmap.prototxt"), "w", encoding="ascii") as out:
        for label, name in enumerate(["none_of_the_above", *CLASSES]):
            out.write(f'item {{ name: "{name}" label: {label} display_name: "{name}" }}\n')


DATA = """
layer {{ name: "data" type: "AnnotatedData" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ mean_value: 127.5 scale: 0.0078125 {transform}
    resize_param {{ prob: 1 resize_mode: WARP height: {side} width: {side} interp_mode: LINEAR {more} }} }}
  data_param {{ source: "{phase_lower}_lmdb" batch_size: {batch} backend: LMDB }}
  annotated_data_param {{ label_map_file: "labelmap.prototxt" {sampler} }} }}
"""
AUGMENT = """mirror: true
    distort_param { brightness_prob: 0.5 brightness_delta: 20 contrast_prob: 0.5 contrast_lower: 0.8
      contrast_upper: 1.2 hue_prob: 0.5 hue_delta: 18 saturation_prob: 0.5 saturation_lower: 0.7
      saturation_upper: 1.3 random_order_prob: 0.2 }
    expand_param { prob: 0.3 max_expand_ratio: 1.5 }
    emit_constraint { emit_type: CENTER }"""
SAMPLER = """
    batch_sampler { max_sample: 1 max_trials: 1 }
    batch_sampler { sampler { min_scale: 0.6 max_scale: 1 min_aspect_ratio: 0.7 max_aspect_ratio: 1.4 }
      sample_constraint { min_object_coverage: 0.9 } max_sample: 1 max_trials: 20 }"""


def convolution(name, bottom, outputs, stride):
    """A convolution with BatchNorm, Scale and ReLU."""
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 stride: {stride} bias_term: false
    weight_filler {{ type: "msra" }} }} }}
layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}"
  batch_norm_param {{ moving_average_fraction: 0.95 }} }}
layer {{ name: "{name}_scale" type: "Scale" bottom: "{name}" top: "{name}" scale_param {{ bias_term: true }} }}
layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}
"""


def head(source, sizes, priors, step):
    """Locations, scores and priors of a feature map."""
    text = ""
    for kind, outputs in (("loc", 4 * priors), ("conf", (len(CLASSES) + 1) * priors)):
        name = f"{source}_mbox_{kind}"
        text += f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{source}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm"
  permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" }}
"""
    sizes = " ".join(f"min_size: {size}" for size in sizes)
    return text + f"""
layer {{ name: "{source}_priorbox" type: "PriorBox" bottom: "{source}" bottom: "data" top: "{source}_priorbox"
  prior_box_param {{ {sizes} clip: false step: {step} offset: 0.5
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }} }}
"""


def concat(name, ending, axis, sources):
    bottoms = " ".join(f'bottom: "{source}_{ending}"' for source in sources)
    return f'layer {{ name: "{name}" type: "Concat" {bottoms} top: "{name}" concat_param {{ axis: {axis} }} }}\n'


def ssd(batch, test_batch):
    """The net, of both phases."""
    count, sources = len(CLASSES) + 1, ["conv4", "conv5"]
    parts = [DATA.format(phase="TRAIN", phase_lower="train", side=SIDE, batch=batch, transform=AUGMENT,
                         more="interp_mode: AREA interp_mode: NEAREST", sampler=SAMPLER),
             DATA.format(phase="TEST", phase_lower="test", side=SIDE, batch=test_batch, transform="", more="",
                         sampler=""),
             convolution("conv1", "data", 16, 2), convolution("conv2", "conv1", 32, 2),
             convolution("conv3", "conv2", 48, 2), convolution("conv4", "conv3", 64, 1),
             convolution("conv5", "conv4", 64, 2),
             head("conv4", [20, 28], 2, 8), head("conv5", [30, 42], 2, 16),
             concat("mbox_loc", "mbox_loc_flat", 1, sources), concat("mbox_conf", "mbox_conf_flat", 1, sources),
             concat("mbox_priorbox", "priorbox", 2, sources), f"""
layer {{ name: "mbox_loss" type: "MultiBoxLoss" bottom: "mbox_loc" bottom: "mbox_conf" bottom: "mbox_priorbox"
  bottom: "label" top: "mbox_loss" include {{ phase: TRAIN }}
  propagate_down: true propagate_down: true propagate_down: false propagate_down: false
  loss_param {{ normalization: VALID }}
  multibox_loss_param {{ loc_loss_type: SMOOTH_L1 conf_loss_type: SOFTMAX loc_weight: 1 num_classes: {count}
    share_location: true match_type: PER_PREDICTION overlap_threshold: 0.5 use_prior_for_matching: true
    background_label_id: 0 use_difficult_gt: true neg_pos_ratio: 3 neg_overlap: 0.5 code_type: CENTER_SIZE
    mining_type: MAX_NEGATIVE }} }}
layer {{ name: "mbox_conf_reshape" type: "Reshape" bottom: "mbox_conf" top: "mbox_conf_reshape"
  include {{ phase: TEST }} reshape_param {{ shape {{ dim: 0 dim: -1 dim: {count} }} }} }}
layer {{ name: "mbox_conf_softmax" type: "Softmax" bottom: "mbox_conf_reshape" top: "mbox_conf_softmax"
  include {{ phase: TEST }} softmax_param {{ axis: 2 }} }}
layer {{ name: "mbox_conf_flatten" type: "Flatten" bottom: "mbox_conf_softmax" top: "mbox_conf_flatten"
  include {{ phase: TEST }} flatten_param {{ axis: 1 }} }}
layer {{ name: "detection_out" type: "DetectionOutput" bottom: "mbox_loc" bottom: "mbox_conf_flatten"
  bottom: "mbox_priorbox" top: "detection_out" include {{ phase: TEST }}
  detection_output_param {{ num_classes: {count} share_location: true background_label_id: 0
    nms_param {{ nms_threshold: 0.45 top_k: 100 }} code_type: CENTER_SIZE keep_top_k: 50
    confidence_threshold: 0.01 }} }}
layer {{ name: "detection_eval" type: "DetectionEvaluate" bottom: "detection_out" bottom: "label"
  top: "detection_eval" include {{ phase: TEST }}
  detection_evaluate_param {{ num_classes: {count} background_label_id: 0 overlap_threshold: 0.5
    evaluate_difficult_gt: false name_size_file: "test_name_size.txt" }} }}
"""]
    return 'name: "small_ssd"\n' + "".join(parts)


SOLVER = """net: "ssd.prototxt"
test_iter: {tests} test_interval: {interval} test_initialization: false
base_lr: {rate} lr_policy: "multistep" gamma: 0.1 stepvalue: {step} momentum: 0.9 weight_decay: 0.0005
max_iter: {iterations} display: {interval} snapshot: {iterations} snapshot_prefix: "ssd" random_seed: 7
solver_mode: CPU type: "SGD" eval_type: "detection" ap_version: "11point" show_per_class_result: true
"""


def run(home, words, **options):
    """Run a program in the folder; its output, or the end of everything."""
    print("$", " ".join(words), flush=True)
    done = subprocess.run([os.path.join(home, words[0]), *words[1:]], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        sys.exit(done.stdout + f"\n{words[0]} ended with {done.returncode}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build", help="the build folder, which has qaffe")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", help="work in this new folder and leave it")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    with tempfile.TemporaryDirectory() as folder:
        work(build, options.short, options.keep or folder)


def work(build, short, folder):
    train, test, iterations, retrain = (600, 100, 500, 100) if short else (1500, 400, 1800, 400)
    batch, test_batch = 16, 20
    least, most_lost = (0.6, 0.03) if short else (0.9, 0.005)
    make_data(os.path.join(folder, "shapes"), train, test)
    os.replace(os.path.join(folder, "shapes/labelmap.prototxt"), os.path.join(folder, "labelmap.prototxt"))
    tools = os.path.join(build, "caffe-home/build/tools")
    for name in ("train", "test"):
        run(tools, ["create_annoset", "--anno-type=detection", "--label-type=xml",
                    "--label-map-file=labelmap.prototxt", "--check-label", "--encode-type=jpg", "--encoded",
                    "shapes", f"shapes/{name}.txt", f"{name}_lmdb"], cwd=folder)
    run(tools, ["get_image_size", "shapes", "shapes/test.txt", "test_name_size.txt"], cwd=folder)
    with open(os.path.join(folder, "ssd.prototxt"), "w", encoding="ascii") as out:
        out.write(ssd(batch, test_batch))
    with open(os.path.join(folder, "solver.prototxt"), "w", encoding="ascii") as out:
        out.write(SOLVER.format(tests=test // test_batch, interval=max(100, iterations // 6), rate=0.02,
                                step=iterations * 2 // 3, iterations=iterations))
    log = run(build, ["qaffe", "train", "--solver", "solver.prototxt"], cwd=folder)
    maps = [float(value) for value in re.findall(r"Test net output #0: detection_eval = (\S+)", log)]
    print("mAP while training:", " ".join(f"{value:.4f}" for value in maps))
    weights = f"ssd_iter_{iterations}.caffemodel"
    print(run(build, ["qaffe", "test", "--model", "ssd.prototxt", "--weights", weights, "--log-level", "warning",
                      "--ap-version", "11point"], cwd=folder))
    report = run(build, ["qaffe", "qat", "run", "--model", "ssd.prototxt", "--weights", weights, "--iterations",
                         str(retrain), "--base-lr", "0.0005", "--train-data", "train_lmdb", "--test-data", "test_lmdb",
                         "--ap-version", "11point", "--seed", "1"], cwd=folder)
    print(report)
    verified = run(build, ["qaffe", "verify", "--model", "qat_results/model", "--iterations", "5"], cwd=folder)
    print(verified)
    check(report, verified, maps, least, most_lost)


def check(report, verified, maps, least, most_lost):
    """What this program is for."""
    scores = {kind: float(value) for kind, value in re.findall(r"^(float|deploy)\s+(\d\S*)", report, re.MULTILINE)}
    faults = []
    if not maps or maps[-1] < least:
        faults.append(f"the float net reached {maps[-1:]}, expected {least}")
    if len(scores) != 2 or scores["deploy"] < scores["float"] - most_lost:
        faults.append(f"mAP of float and deploy model: {scores}, expected a loss of at most {most_lost}")
    if not re.search(r"\b0 differ;", verified):
        faults.append("fake-quant and deploy model differ")
    for fault in faults:
        print("FAILED:", fault)
    if faults:
        sys.exit(1)
    print("all held")


if __name__ == "__main__":
    main()
