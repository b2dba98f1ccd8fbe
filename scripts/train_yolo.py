#!/usr/bin/env python3
"""A small YOLOv3 from nothing to a deployed model: the drawn shapes of train_ssd.py, training with Yolov3's
losses on two maps, mean average precision of Yolov3DetectionOutput, quantisation-aware training, and the
comparison of fake-quant and deploy model integer by integer.

    scripts/train_yolo.py build/release            # 4 minutes on two cores
    scripts/train_yolo.py build/release --short    # 1 minute; asks for less (CTest runs it)

Exits with 0 where all that docs/detection.md promises held."""
import argparse
import os
import re
import tempfile

from train_ssd import CLASSES, SIDE, check, convolution, make_data, run

ANCHORS = [(20, 20), (26, 26), (32, 32), (38, 38)]
MAPS = {"yolo16": ([2, 3], 16), "yolo8": ([0, 1], 8)}  # anchors and pixels of a cell
BIASES = " ".join(f"biases: {side}" for anchor in ANCHORS for side in anchor)

DATA = """
layer {{ name: "data" type: "AnnotatedData" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ mean_value: 127.5 scale: 0.0078125 {transform}
    resize_param {{ prob: 1 resize_mode: WARP height: {side} width: {side} interp_mode: LINEAR }} }}
  data_param {{ source: "{phase_lower}_lmdb" batch_size: {batch} backend: LMDB }}
  annotated_data_param {{ label_map_file: "labelmap.prototxt" {yolo} }} }}
"""


def head(name, bottom):
    """The predictions of a map, and its loss."""
    anchors, cell = MAPS[name]
    mask = " ".join(f"mask: {anchor}" for anchor in anchors)
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {len(anchors) * (5 + len(CLASSES))} kernel_size: 1
    weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "{name}_loss" type: "Yolov3" bottom: "{name}" bottom: "label" top: "{name}_loss"
  include {{ phase: TRAIN }} loss_weight: 1
  yolov3_param {{ num_class: {len(CLASSES)} num: {len(anchors)} {mask} {BIASES} anchors_scale: {cell} thresh: 0.6
    coord_scale: 1 label_smooth_eps: 0 iou_thresh: 1 }} }}
"""


def yolo(batch, test_batch):
    """The net, of both phases."""
    masks = " ".join(f"mask: {anchor}" for anchors, _ in MAPS.values() for anchor in anchors)
    scales = " ".join(f"anchors_scale: {cell}" for _, cell in MAPS.values())
    maps = " ".join(f'bottom: "{name}"' for name in MAPS)
    return 'name: "small_yolo"\n' + "".join([
        DATA.format(phase="TRAIN", phase_lower="train", side=SIDE, batch=batch,
                    transform="mirror: true emit_constraint { emit_type: CENTER }",
                    yolo="yolo_data_type: 1 yolo_data_jitter: 0.2"),
        DATA.format(phase="TEST", phase_lower="test", side=SIDE, batch=test_batch, transform="", yolo=""),
        convolution("conv1", "data", 16, 2), convolution("conv2", "conv1", 32, 2),
        convolution("conv3", "conv2", 48, 2), convolution("conv4", "conv3", 64, 1),
        convolution("conv5", "conv4", 64, 2), head("yolo16", "conv5"), """
layer { name: "upsample" type: "UpsampleDarknet" bottom: "conv5" top: "upsample" upsample_darknet_param { stride: 2 } }
layer { name: "route" type: "Concat" bottom: "upsample" bottom: "conv4" top: "route" }
""", convolution("conv6", "route", 64, 1), head("yolo8", "conv6"), f"""
layer {{ name: "detection_out" type: "Yolov3DetectionOutput" {maps} top: "detection_out" include {{ phase: TEST }}
  yolov3_detection_output_param {{ num_classes: {len(CLASSES)} num_box: 2 {BIASES} {masks} {scales}
    mask_group_num: 2 confidence_threshold: 0.01 nms_threshold: 0.45 }} }}
layer {{ name: "detection_eval" type: "DetectionEvaluate" bottom: "detection_out" bottom: "label"
  top: "detection_eval" include {{ phase: TEST }}
  detection_evaluate_param {{ num_classes: {len(CLASSES) + 1} background_label_id: 0 overlap_threshold: 0.5
    evaluate_difficult_gt: false }} }}
"""])


SOLVER = """net: "yolo.prototxt"
test_iter: {tests} test_interval: {interval} test_initialization: false
base_lr: {rate} lr_policy: "multistep" gamma: 0.1 stepvalue: {step} momentum: 0.9 weight_decay: 0.0005
max_iter: {iterations} display: {interval} snapshot: {iterations} snapshot_prefix: "yolo" random_seed: 7
clip_gradients: 20 solver_mode: CPU type: "SGD" eval_type: "detection" ap_version: "11point"
"""


def work(build, short, folder):
    train, test, iterations, retrain = (600, 100, 500, 100) if short else (1500, 400, 2400, 500)
    batch, test_batch = 16, 20
    least, most_lost = (0.5, 0.05) if short else (0.85, 0.005)
    make_data(os.path.join(folder, "shapes"), train, test)
    os.replace(os.path.join(folder, "shapes/labelmap.prototxt"), os.path.join(folder, "labelmap.prototxt"))
    tools = os.path.join(build, "caffe-home/build/tools")
    for name in ("train", "test"):
        run(tools, ["create_annoset", "--anno-type=detection", "--label-type=xml",
                    "--label-map-file=labelmap.prototxt", "--check-label", "--encode-type=jpg", "--encoded",
                    "shapes", f"shapes/{name}.txt", f"{name}_lmdb"], cwd=folder)
    with open(os.path.join(folder, "yolo.prototxt"), "w", encoding="ascii") as out:
        out.write(yolo(batch, test_batch))
    with open(os.path.join(folder, "solver.prototxt"), "w", encoding="ascii") as out:
        out.write(SOLVER.format(tests=test // test_batch, interval=max(100, iterations // 6), rate=0.01,
                                step=iterations * 2 // 3, iterations=iterations))
    log = run(build, ["qaffe", "train", "--solver", "solver.prototxt"], cwd=folder)
    maps = [float(value) for value in re.findall(r"Test net output #0: detection_eval = (\S+)", log)]
    print("mAP while training:", " ".join(f"{value:.4f}" for value in maps))
    weights = f"yolo_iter_{iterations}.caffemodel"
    report = run(build, ["qaffe", "qat", "run", "--model", "yolo.prototxt", "--weights", weights, "--iterations",
                         str(retrain), "--base-lr", "0.0005", "--ap-version", "11point", "--seed", "1"], cwd=folder)
    print(report)
    verified = run(build, ["qaffe", "verify", "--model", "qat_results/model", "--iterations", "5"], cwd=folder)
    print(verified)
    check(report, verified, maps, least, most_lost)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build", help="the build folder, which has qaffe")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", help="work in this new folder and leave it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work(os.path.abspath(options.build), options.short, options.keep or folder)


if __name__ == "__main__":
    main()
