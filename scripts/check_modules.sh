#!/usr/bin/env bash
# The ladder: a folder of src/ may include only itself and those before it, in the order of
# CMakeLists.txt (so layers never include the net's headers). The net knows layers by their type's table
# and their stages: it includes headers of src/layers itself, never of a layer's folder. No two files have
# one name. A .c file begins with a comment that says what it is for. src/quant is the definition of
# quantisation: the loops over tensors are their devices'. And nobody above src/device uses OpenMP.
set -euo pipefail
cd "$(dirname "$0")/.."
read -r -a modules <<<"$(sed -n 's/^set(modules \(.*\))$/\1/p' CMakeLists.txt) cli"
failed=0
for ((i = 0; i < ${#modules[@]}; i++)); do
    for later in "${modules[@]:i+1}"; do
        if grep -rnE "#include \"$later/" "src/${modules[i]}"; then
            echo "src/${modules[i]} must not know src/$later" >&2
            failed=1
        fi
    done
done
if grep -rnE '#include "layers/[^"/]+/' src/net; then
    echo "src/net must not know single layers: let them say it as a stage (src/layers/stage.h)" >&2
    failed=1
fi
twice=$(find src -name '*.[ch]' -printf '%f\n' | sort | uniq -d)
if [ -n "$twice" ]; then
    echo "names of several files in src/: $twice" >&2
    failed=1
fi
while read -r file; do
    if [[ $(head -n 1 "$file") != '/*'* ]]; then
        echo "$file: does not begin with a comment that says what it is for" >&2
        failed=1
    fi
done < <(find src -name '*.c' -o -name '*.cc')
if grep -rnE '#pragma omp|_Pragma\("omp|QF_CLONES' src/quant; then
    echo "src/quant defines values one by one: loops belong to src/device" >&2
    failed=1
fi
above=$(sed 's/.* device //' <<<"${modules[*]}")
if (cd src && grep -rnE '#pragma omp|_Pragma\("omp|include <omp\.h>' $above); then
    echo "nobody above src/device shares out loops: an operation of a device does (docs/adding-a-device.md)" >&2
    failed=1
fi
exit $failed
