#!/bin/sh
# `qaffe qat run` that is killed (kill -9) at random moments and resumed exports the same bytes as one that was left alone, the
# state that is kept included.
#   scripts/kill_and_resume_qat.sh [KILLS]        default 20; QAFFE=path of the command, SEED=number
set -eu
set -- 20 kill-and-resume-qat "$@"
. "$(dirname "$0")/killing.sh"

"$qaffe" digits --out . --train 600 --test 100 >/dev/null

# Everything that has a memory of its own: orders, crops and mirrors, dropout, statistics.
cat >net.prototxt <<'END'
name: "digits"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 24 mirror: true scale: 0.00390625 }
  data_param { source: "../train_lmdb" batch_size: 16 backend: LMDB shuffle: true } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 24 scale: 0.00390625 }
  data_param { source: "../test_lmdb" batch_size: 20 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: "msra" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
END
cat >solver.prototxt <<'END'
net: "../net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 60 snapshot_prefix: "float" random_seed: 1
END
mkdir float
(cd float && "$qaffe" train --solver ../solver.prototxt >log 2>&1)

common="qat run --threads 2 --seed 1 --model ../net.prototxt --weights ../float/float_iter_60.caffemodel --iterations 200 --out q/m"

# Runs left alone: with the defaults (calibrated start, distillation, test of rates, early end), and to the end with 4 bits.
alone() {
  mkdir "$1"
  cd "$1"
  start=$(date +%s%N)
  "$qaffe" $common $2 >>log 2>&1 || { tail -3 log; exit 1; }
  duration=$((($(date +%s%N) - start) / 1000000))
  cd ..
}
alone defaults ""
of_defaults=$duration
long="--base-lr 0.003 --weight-bits 4 --edge-bits 4 --patience 0"
alone long "$long"
of_long=$duration

same=0 resumed=0 late=0
while [ $round -lt "$kills" ]; do
  round=$((round + 1))
  mkdir round
  cd round
  if [ $((round % 2)) = 0 ]; then
    like=defaults arguments=$common duration=$of_defaults
  else
    like=long arguments="$common $long" duration=$of_long
  fi
  "$qaffe" $arguments >>log 2>&1 &
  if kill_within $! "$duration"; then
    [ ! -e q/m_progress.prototxt ] || resumed=$((resumed + 1))
    "$qaffe" $arguments --resume >>log 2>&1 || { tail -3 log; echo "round $round (SEED=$seed, killed after $pause ms)"; exit 1; }
  else
    late=$((late + 1))
  fi
  for file in $(ls "../$like/q" | grep -v -e run.log -e quant.json); do # they have times
    cmp "q/$file" "../$like/q/$file" || { echo "round $round (SEED=$seed, killed after $pause ms): $file differs"; exit 1; }
  done
  same=$((same + 1))
  cd ..
  rm -r round
done
grep -h 'is exported' defaults/log long/log
echo "$same of $kills runs ended in the same bytes; $resumed went on from a snapshot, $late had ended before the kill (SEED=$seed)"
