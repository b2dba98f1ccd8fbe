#!/usr/bin/env bash
# The main job from nothing: install what is missing, build, train LeNet, quantise it, and show what int8 costs.
#   scripts/demo.sh                      digits that qaffe draws itself
#   scripts/demo.sh --mnist DIR          MNIST's four idx files (plain or .gz) in DIR
#   scripts/demo.sh --data TRAIN TEST    any two LMDBs of 28 x 28 grey images with labels 0 ... 9
# Everything is written to ./demo (or $DEMO).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
source "$here/scripts/install_packages.sh"
usage() { sed -n '2,6s/^# \{0,1\}//p' "$0"; }

train= test= mnist=
case "${1:-}" in
"") ;;
--mnist) mnist=$(realpath "${2:?--mnist needs a folder}") ;;
--data) train=$(realpath "${2:?--data needs two LMDBs}") test=$(realpath "${3:?--data needs two LMDBs}") ;;
--help | -h) usage && exit ;;
*) usage >&2 && exit 2 ;;
esac

install_missing "${packages[@]}"
demo=${DEMO:-demo}
mkdir -p "$demo"
build() {
    cmake -S "$here" --preset release -DQAFFE_TESTS=OFF >/dev/null && cmake --build "$here/build/release" --target qaffe
}
if [ -t 1 ]; then
    build # one line that tells how far it is
else
    echo "Building qaffe (the compiler's lines: $demo/build.log)"
    build >"$demo/build.log" 2>&1 || { tail -n 30 "$demo/build.log" >&2 && exit 1; }
fi
PATH="$here/build/release:$PATH"
cd "$demo"

find_idx() { # images or labels, train or t10k
    for file in "$mnist/$1-idx"*"-ubyte" "$mnist/$1-idx"*"-ubyte.gz"; do
        [ -f "$file" ] && echo "$file" && return
    done
    echo "no $1-idx*-ubyte[.gz] in $mnist" >&2 && return 1
}
if [ -n "$train" ]; then
    ln -sfn "$train" train_lmdb && ln -sfn "$test" test_lmdb
elif [ ! -e test_lmdb ]; then
    if [ -n "$mnist" ]; then
        qaffe convert-idx --images "$(find_idx train-images)" --labels "$(find_idx train-labels)" --out train_lmdb
        qaffe convert-idx --images "$(find_idx t10k-images)" --labels "$(find_idx t10k-labels)" --out test_lmdb
    else
        qaffe digits --out .
    fi
fi

cp "$here"/examples/lenet/*.prototxt .
echo && echo "1. Train LeNet in float"
qaffe train --solver lenet_solver.prototxt --log-level warning
echo && echo "2. Quantise it: configure, prepare, retrain, export, test"
qaffe qat run --model lenet_train_test.prototxt --weights lenet_iter_2000.caffemodel \
    --iterations 500 --out results/lenet
echo && echo "3. Or without retraining: calibrate, export, test"
qaffe ptq run --model lenet_train_test.prototxt --weights lenet_iter_2000.caffemodel \
    --data train_lmdb --batch-num 4 --out results/lenet_ptq
echo
echo "The same step by step: README.md, \"A quick tour\". Files: $PWD/results"
