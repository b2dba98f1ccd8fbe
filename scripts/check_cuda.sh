#!/usr/bin/env bash
# Compiles for a GPU what C and CUDA share. Needs nvcc (QAFFE_NVCC names it) but no GPU; exit status
# 77 where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
for nvcc in "${QAFFE_NVCC:-nvcc}" /usr/local/cuda/bin/nvcc; do
    command -v "$nvcc" >/dev/null && break
done
if ! command -v "$nvcc" >/dev/null; then
    echo "skipped: no nvcc: set QAFFE_NVCC to see that a CUDA compiler takes the formulas that C and CUDA share"
    exit 77
fi
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for source in tests/cuda/*.cu; do
    "$nvcc" -x cu -c -fmad=false -Werror all-warnings -I src "$source" -o "$folder/object.o"
    echo "$source: compiled by $nvcc"
done
