#!/bin/sh
# `qaffe qat prepare` and `qat export` that are killed (kill -9) at a random moment over the outputs of an earlier step
# leave each file whole, old or new, and in the order in which they are renamed: the record empties last; and no checksum
# (--checksum) that is not that of its file.
#   scripts/kill_outputs.sh [KILLS]        default 100; QAFFE=path of the command, SEED=number
set -eu
set -- 100 kill-outputs "$@"
. "$(dirname "$0")/killing.sh"

"$qaffe" digits --out . --train 200 --test 40 >/dev/null
cat >net.prototxt <<'END'
name: "digits"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "train_lmdb" batch_size: 20 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
END
cat >solver.prototxt <<'END'
net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2 snapshot: 2 snapshot_prefix: "float" random_seed: 1
END
"$qaffe" train --solver solver.prototxt >/dev/null 2>&1
"$qaffe" qat config --model net.prototxt --weights float_iter_2.caffemodel --out config.json >/dev/null 2>&1

# Each step writes to $1/; its files follow in the order in which they get their names.
prepare() {
  exec "$qaffe" qat prepare --checksum --model net.prototxt --weights float_iter_2.caffemodel --config config.json \
    --out-model "$1/model" --out-weights "$1/weights" --record "$1/record" >/dev/null 2>&1
}
prepare_files="weights model record"
export_() {
  exec "$qaffe" qat export --checksum --model qat/model --weights qat/weights --record qat/record --out "$1/" >/dev/null 2>&1
}
export__files="_quant.json fake_quant_weights.caffemodel fake_quant_model.prototxt deploy_weights.caffemodel deploy_model.prototxt"

mkdir qat
(prepare qat)
"$qaffe" test --model qat/model --weights qat/weights --iterations 2 >/dev/null 2>&1

# The step left alone, and how long that takes (in milliseconds).
for step in prepare export_; do
  mkdir out # the model names its record's folder
  start=$(date +%s%N)
  ($step out)
  eval "duration_$step=$((($(date +%s%N) - start) * 5 / 4000000))"
  mv out "whole_$step"
done

good=0 untouched=0 complete=0 between=0
while [ $round -lt "$kills" ]; do
  round=$((round + 1))
  [ $((round % 2)) = 0 ] && step=export_ || step=prepare
  eval "files=\$${step}_files duration=\$duration_$step"
  mkdir out
  for file in $files; do
    echo old >"out/$file"
    (cd out && sha256sum "$file" >"$file.sha256")
  done
  ($step out) &
  victim=$!
  kill_within $victim "$duration" || true
  states=""
  for file in $files; do
    if cmp -s "out/$file" "whole_$step/$file"; then
      states=${states}n
    elif [ "$(cat "out/$file")" = old ]; then
      states=${states}o
    else
      states=${states}!
    fi
  done
  for file in out/*.sha256; do
    [ ! -e "$file" ] || (cd out && sha256sum -c --status "${file#out/}") || states=$states!
  done
  case $states in
  *!* | *on*) echo "round $round ($step, killed after $pause ms): $files are $states" ;;
  *) good=$((good + 1)) ;;
  esac
  case $states in
  *n*o*) between=$((between + 1)) ;;
  *n*) complete=$((complete + 1)) ;;
  *) untouched=$((untouched + 1)) ;;
  esac
  rm -rf out
done
echo "$kills steps killed (seed $seed): $good left whole files in their order; $untouched had replaced nothing yet," \
  "$complete everything, $between were met between two renames"
[ $good = "$kills" ]
