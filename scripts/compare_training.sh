#!/usr/bin/env bash
# Trains Caffe's cifar10_quick and cifar10_full with BVLC Caffe and with qaffe, on the same data from the same
# solver files, and prints accuracy and time of both.
#   scripts/compare_training.sh --caffe DIR --data DIR [options]
#     --caffe DIR     a built checkout of BVLC Caffe (build/tools/caffe, examples/cifar10)
#     --data DIR      train_lmdb and test_lmdb of CIFAR-10 (or cifar10_jpeg_train_lmdb, cifar10_jpeg_test_lmdb)
#     --qaffe FILE    the command to compare (build/release/qaffe)
#     --models LIST   default: quick,full
#     --seeds N       runs of each, seeds 1 ... N (3)
#     --shorten N     divide all iteration counts of the solvers by N (1: 5000 and 70000 iterations)
#     --threads N     threads of both (all cores)
#     --out DIR       logs and results.tsv; runs already there are kept, so a stopped comparison goes on (cifar-runs)
#     --speed N       no training to the end: N iterations of each, three times in turn, best of each; BVLC Caffe also
#                     with one thread, because OpenBLAS may be slower with more on small matrices
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; }
fail() { echo "compare_training.sh: $*" >&2 && exit 2; }

caffe='' data='' qaffe=$here/build/release/qaffe models=quick,full seeds=3 shorten=1 out=cifar-runs speed=0
threads=$(nproc)
while [ $# -gt 0 ]; do
    case "$1" in
    --help | -h) usage && exit ;;
    --caffe | --data | --qaffe | --models | --seeds | --shorten | --threads | --out | --speed)
        declare "${1#--}=${2:?$1 needs a value}" && shift 2 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
[ -x "$caffe/build/tools/caffe" ] || fail "--caffe '$caffe' has no build/tools/caffe"
[ -x "$qaffe" ] || fail "--qaffe '$qaffe' is no program"
caffe=$(realpath "$caffe") qaffe=$(realpath "$qaffe") data=$(realpath "$data")
mkdir -p "$out" && cd "$out"
export OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads

# Data of our own copy, because LMDB writes a lock file beside it; the mean of the training images.
for part in train test; do
    [ -d ${part}_lmdb ] && continue
    from=$data/${part}_lmdb
    [ -d "$from" ] || from=$data/cifar10_jpeg_${part}_lmdb
    [ -d "$from" ] || fail "no ${part}_lmdb in $data"
    cp -r "$from" ${part}_lmdb && chmod -R u+w ${part}_lmdb
done
[ -f mean.binaryproto ] || "$caffe/build/tools/compute_image_mean" train_lmdb mean.binaryproto 2>/dev/null
test_images=$("$caffe/build/tools/compute_image_mean" test_lmdb 2>&1 | sed -n 's/.*Processed \([0-9]*\) files.*/\1/p' | tail -1)

net() { # model, folder
    sed "s|examples/cifar10/mean.binaryproto|$PWD/mean.binaryproto|
         s|examples/cifar10/cifar10_\(.*\)_lmdb|$PWD/\1_lmdb|" \
        "$caffe/examples/cifar10/cifar10_$1_train_test.prototxt" >"$2/net.prototxt"
}

solver() { # solver file of Caffe, seed, folder; prints the iteration at which it ends
    local from=$caffe/examples/cifar10/$1 last
    last=$(($(sed -n 's/^max_iter: //p' "$from") / shorten))
    sed -e '/^\(net\|test_iter\|test_interval\|max_iter\|snapshot\|snapshot_format\|snapshot_prefix\|solver_mode\):/d' "$from" >"$3/$1"
    printf '%s\n' "net: '$3/net.prototxt'" "test_iter: $((test_images / 100))" "test_interval: $last" \
        "test_initialization: false" "max_iter: $last" "snapshot_prefix: '$3/state'" "solver_mode: CPU" \
        "random_seed: $2" >>"$3/$1"
    echo "$last"
}

solvers() { # the solver files of a model, in order
    (cd "$caffe/examples/cifar10" && ls "cifar10_$1_solver.prototxt" "cifar10_$1_solver_lr"*.prototxt)
}

train() { # implementation, program, model, seed
    local folder=$PWD/$1/$3/$4 state='' last begin=$SECONDS
    grep -qsP "^$3\t$1\t$4\t" results.tsv && return
    mkdir -p "$folder" && net "$3" "$folder"
    for file in $(solvers "$3"); do
        last=$(solver "$file" "$4" "$folder")
        "$2" train --solver "$folder/$file" ${state:+--snapshot "$state"} >"$folder/$file.log" 2>&1 ||
            fail "$1 failed: $folder/$file.log"
        state=$folder/state_iter_$last.solverstate
    done
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$3" "$1" "$4" "$last" $((SECONDS - begin)) \
        "$(sed -n 's/.*Test net output #[01]: accuracy = \([0-9.e-]*\).*/\1/p' "$folder/$file.log" | tail -1)" >>results.tsv
}

seconds() { # implementation, program, model, threads: wall time of the whole command for $speed iterations
    local -x OMP_NUM_THREADS=$4 OPENBLAS_NUM_THREADS=$4
    local folder=$PWD/speed/$1-$3 file=cifar10_$3_solver.prototxt
    mkdir -p "$folder" && net "$3" "$folder" && solver "$file" 1 "$folder" >/dev/null
    sed -i "s/^max_iter:.*/max_iter: $speed/; s/^test_interval:.*/test_interval: 100000/" "$folder/$file" && echo 'snapshot_after_train: false' >>"$folder/$file"
    local begin=$EPOCHREALTIME
    "$2" train --solver "$folder/$file" >"$folder/log" 2>&1 || fail "$1 failed: $folder/log"
    awk -v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN { print end - begin }'
}

for model in ${models//,/ }; do
    if [ "$speed" -gt 0 ]; then
        for _ in 1 2 3; do
            echo "$(seconds bvlc "$caffe/build/tools/caffe" "$model" 1)" \
                "$(seconds bvlc "$caffe/build/tools/caffe" "$model" "$threads")" \
                "$(seconds qaffe "$qaffe" "$model" "$threads")"
        done | awk -v model="$model" -v n="$speed" -v threads="$threads" '
            { for (i = 1; i <= 3; i++) if (NR == 1 || $i < best[i]) best[i] = $i }
            END { bvlc = best[1] < best[2] ? best[1] : best[2]
                  printf "cifar10_%s, %d iterations: BVLC Caffe %.2f s with 1 thread, %.2f s with %d; qaffe %.2f s with %d, ratio %.3f\n",
                         model, n, best[1], best[2], threads, best[3], threads, best[3] / bvlc }'
        continue
    fi
    for seed in $(seq "$seeds"); do
        train bvlc "$caffe/build/tools/caffe" "$model" "$seed"
        train qaffe "$qaffe" "$model" "$seed"
    done
done
[ "$speed" -gt 0 ] || awk -F'\t' '
    { key = $1 " " $2; n[key]++; sum[key] += $6; list[key] = list[key] sprintf(" %.2f", 100 * $6); last[key] = $4 }
    END { for (key in n) printf "cifar10_%s: %d iterations, accuracy %.2f (mean of%s)\n", key, last[key], 100 * sum[key] / n[key], list[key] }
' results.tsv | sort
