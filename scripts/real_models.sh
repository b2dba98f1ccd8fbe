#!/usr/bin/env bash
# The whole flow on real classification models: float accuracy against the published figure, a short
# retraining, and what int8 costs. Needs the data folder ($QAFFE_DATA, default ../shared/data).
#   scripts/real_models.sh [qaffe]      the command to use; default: build/release/qaffe
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
qaffe=$(realpath "${1:-$here/build/release/qaffe}")
data=${QAFFE_DATA:-$here/../shared/data}
[ -d "$data" ] || { echo "no data at $data: nothing to do" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$data"
failed=0

# name, expected float accuracy in percent, then the options of `qaffe qat run`
model() {
    local name=$1 expected=$2
    shift 2
    "$qaffe" qat run --out "$work/$name/q" --log-level warning --seed 1 "$@" >"$work/log" 2>&1 ||
        { cat "$work/log" && failed=1 && return; }
    awk -v name="$name" -v expected="$expected" '
        $1 == "float" && $NF == "KiB" { f = 100 * $2 } $1 == "fake-quant" { q = 100 * $2 }
        $1 == "deploy" { d = 100 * $2 } /^Verified/ { same = $7 }
        END {
            bad = (f - expected > 0.06 || expected - f > 0.06 || f - q > 1 || q != d || same + 0 != 0 || same == "")
            printf "%-22s expected %6.2f  float %6.2f  fake-quant %6.2f  deploy %6.2f  %s\n", name, expected, f, q, d,
                   bad ? "BAD" : "ok"
            exit bad
        }' <(sed 's/.*layers, \([0-9]*\) differ.*/Verified: x x x x x \1/' "$work/log") || { failed=1; }
}

# Caffe's 1000 images of a class each as training set; the validation images as test set.
"$qaffe" convert-images --list imagenet-val/val.txt --folder imagenet-val/images --out "$work/val_lmdb"

model lenet 99.14 --model lenet/train_test.local.prototxt --weights lenet/lenet_iter_10000.caffemodel --iterations 100
model lenet_v1layers 99.05 --model lenet/train_test.local.prototxt \
    --weights lenet/lenet_iter_10000_v1layers.caffemodel --iterations 100
model cifar10_quick 77.71 --model cifar10_quick/train_test.local.prototxt \
    --weights cifar10_quick/cifar10_quick_iter_5000.caffemodel --iterations 50 --base-lr 1e-5
model cifar10_full 83.57 --model cifar10_full/train_test.local.prototxt \
    --weights cifar10_full/cifar10_full_iter_70000.caffemodel --iterations 50 --base-lr 1e-5
model resnet20 94.00 --model resnet20_cifar10/train_test.local.prototxt \
    --weights resnet20_cifar10/ResNet_20.caffemodel --iterations 30 --base-lr 1e-5
model resnet56 93.14 --model resnet56_cifar10/train_test.local.prototxt \
    --weights resnet56_cifar10/ResNet_56.caffemodel --iterations 20 --base-lr 1e-6
model squeezenet_v1.1 71.80 --model squeezenet_v1.1/deploy.prototxt \
    --weights squeezenet_v1.1/squeezenet_v1.1.caffemodel --train-data imagenet-samples/imagenet_1000_lmdb \
    --test-data "$work/val_lmdb" --mean-value 104,117,123 --batch-size 20 --iterations 20 --base-lr 1e-5
exit $failed
