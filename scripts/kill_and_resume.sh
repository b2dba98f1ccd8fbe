#!/bin/sh
# Training that is killed (kill -9) at a random moment and resumed from its last snapshot ends in the same
# weights, bit for bit, as training that was left alone; in both formats of snapshots.
#   scripts/kill_and_resume.sh [KILLS]        default 50; QAFFE=path of the command, SEED=number
set -eu
set -- 50 kill-and-resume "$@"
. "$(dirname "$0")/killing.sh"

"$qaffe" digits --out . --train 600 --test 100 >/dev/null

# Everything that has a memory of its own: crops and mirrors, dropout, statistics, an adaptive solver.
cat >net.prototxt <<'END'
name: "digits"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 24 mirror: true scale: 0.00390625 }
  data_param { source: "../train_lmdb" batch_size: 16 backend: LMDB } }
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
END

last=240
for format in BINARYPROTO HDF5; do
  cat >solver_$format.prototxt <<END
net: "../net.prototxt" type: "Adam" base_lr: 0.001 momentum: 0.9 momentum2: 0.999 lr_policy: "multistep"
gamma: 0.5 stepvalue: 90 stepvalue: 180 weight_decay: 0.0005 max_iter: $last display: 50
test_iter: 5 test_interval: 70 snapshot: 15 snapshot_prefix: "run" snapshot_format: $format random_seed: 1
END
done

train() { "$qaffe" train --threads 2 --solver "../solver_$1.prototxt" $2 >>log 2>&1; }

# The run that is left alone, in both formats, and how long it takes (in milliseconds).
for format in BINARYPROTO HDF5; do
  mkdir alone_$format
  cd alone_$format
  start=$(date +%s%N)
  train $format ""
  duration=$((($(date +%s%N) - start) / 1000000))
  cd ..
done

ending() { [ "$1" = HDF5 ] && echo .h5 || true; }

same=0 resumed=0 torn=0 late=0
while [ $round -lt "$kills" ]; do
  round=$((round + 1))
  [ $((round % 2)) = 0 ] && format=HDF5 || format=BINARYPROTO
  end=$(ending $format)
  mkdir round
  cd round
  "$qaffe" train --threads 2 --solver "../solver_$format.prototxt" >>log 2>&1 &
  victim=$!
  kill_within $victim "$duration" || late=$((late + 1))
  [ -n "$(find . -name '*.part*')" ] && torn=$((torn + 1))
  iteration=$(ls | sed -n "s/^run_iter_\([0-9]*\)\.solverstate$end\$/\1/p" | sort -n | tail -1)
  if [ -n "$iteration" ]; then
    resumed=$((resumed + 1))
    train $format "--snapshot run_iter_$iteration.solverstate$end"
  else
    train $format ""
  fi
  if cmp -s "run_iter_$last.caffemodel$end" "../alone_$format/run_iter_$last.caffemodel$end" &&
    cmp -s "run_iter_$last.solverstate$end" "../alone_$format/run_iter_$last.solverstate$end"; then
    same=$((same + 1))
  else
    echo "round $round ($format, killed after $pause ms, resumed from iteration ${iteration:-none}): the ends differ"
  fi
  cd ..
  rm -rf round
done

echo "$kills runs killed (seed $seed): $same end in the same bits; $resumed were resumed from a snapshot," \
  "$((kills - resumed)) had none yet, $late had already ended, $torn left a partial file behind"
[ $same = "$kills" ]
