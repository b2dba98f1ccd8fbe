#!/usr/bin/env bash
# Installs a build into a folder, moves that folder, and uses what is there as its user would.
#   scripts/check_install.sh BUILD
set -euo pipefail
build=${1:?name a build folder}
sources=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
fail() {
    echo "check_install: $*" >&2
    exit 1
}
cmake --install "$build" --prefix "$place/first" >/dev/null
mv "$place/first" "$place/moved"
root=$place/moved
cd "$place"

# A program of one's own, by pkg-config alone and by CMake.
cat >user.c <<'EOF'
#include <qaffe/qaffe.h>
#include <stdio.h>
int main(void)
{
    return puts(qf_version()) < 0;
}
EOF
packages=$(dirname "$(find "$root" -name qaffe.pc)")
libraries=$(dirname "$packages")
PKG_CONFIG_LIBDIR=$packages pkg-config --cflags --libs qaffe >flags ||
    fail "pkg-config needs more than qaffe.pc"
read -ra flags <flags
cc user.c "${flags[@]}" -Wl,-rpath,"$libraries" -o user
[ "$(./user)" = "$("$root/bin/qaffe" version | cut -d' ' -f2)" ] || fail "versions differ"

# The examples, with what is installed, on digits that are drawn.
mkdir digits
for example in run finetune quantise calibrate memory; do
    cc -std=c17 -Wall -Wextra -Werror "$sources/examples/$example.c" "${flags[@]}" -Wl,-rpath,"$libraries" \
        -o "digits/$example" || fail "examples/$example.c"
done
(
    cd digits
    "$root/bin/qaffe" digits --out . --train 1500 --test 400 >said 2>&1 || fail "digits: $(cat said)"
    cp "$sources/examples/lenet/lenet_train_test.prototxt" .
    sed 's/^max_iter: .*/max_iter: 60/; s/^test_iter: .*/test_iter: 4/; s/^test_interval: .*/test_interval: 60/
        s/^snapshot: .*/snapshot: 60/' "$sources/examples/lenet/lenet_solver.prototxt" >solver60.prototxt
    ./finetune solver60.prototxt >said 2>&1 || fail "finetune: $(cat said)"
    grep -q '^trained to iteration 60' said || fail "finetune: $(cat said)"
    ./run lenet_train_test.prototxt lenet_iter_60.caffemodel ip2 >said 2>&1 || fail "run: $(cat said)"
    [ "$(grep -c '^[0-9]*: class [0-9],' said)" = 100 ] || fail "run: $(cat said)"
    [ "$(grep -o 'class [0-9]' said | sort -u | wc -l)" -ge 5 ] || fail "run finds few classes: $(cat said)"
    ./quantise lenet_train_test.prototxt lenet_iter_60.caffemodel 20 >said 2>&1 || fail "quantise: $(cat said)"
    grep -q '^verified: [1-9][0-9]* integers behind 8 layers, 0 differ' said || fail "quantise: $(cat said)"
    ./calibrate lenet_train_test.prototxt lenet_iter_60.caffemodel 2 >said 2>&1 || fail "calibrate: $(cat said)"
    grep -q '^verified: [1-9][0-9]* integers behind 8 layers, 0 differ' said || fail "calibrate: $(cat said)"
    [ "$(./memory 2>&1 | uniq -c | grep -c '^ *2 -\?[0-9.]* -\?[0-9.]*$')" = 1 ] || fail "memory: $(./memory 2>&1)"
)

# The commands under their names, and the folder for scripts that ask where Caffe is.
[ "$("$root/bin/caffe" --version)" = "$("$root/bin/qaffe" caffe --version)" ] || fail "bin/caffe"
! "$root/bin/amct_caffe" config 2>said || fail "bin/amct_caffe"
grep -q -- '--model FILE is missing' said || fail "bin/amct_caffe: $(cat said)"
home=$("$root/bin/qaffe" caffe-home)
[ "$home" = "$root/share/qaffe/caffe-home" ] || fail "caffe-home is $home"
"$home/build/tools/caffe" --version >/dev/null || fail "build/tools/caffe"
[ -e "$home/build/examples/mnist/convert_mnist_data.bin" ] || fail "build/examples"
python() { PYTHONPATH=$1 PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c "$2"; }
if [ -e "$home/python" ] && /usr/bin/python3 -c 'import numpy, google.protobuf' 2>/dev/null; then
    python "$home/python" 'import caffe, amct_caffe, qaffe' || fail "python of caffe-home"
    "$root/bin/amct_caffe" calibration --help >said || fail "bin/amct_caffe calibration"
    grep -q -- --input_shape said || fail "bin/amct_caffe calibration: $(cat said)"
    # A checkout of Caffe: its own python/caffe gives way, its folders stay; twice is as once.
    mkdir -p checkout/python/caffe/imagenet
    echo 'import caffe._caffe' >checkout/python/caffe/__init__.py
    touch checkout/python/caffe/imagenet/mean.npy
    "$root/bin/qaffe" caffe-home --into checkout >/dev/null
    "$root/bin/qaffe" caffe-home --into checkout >/dev/null
    python checkout/python 'import caffe; caffe.Net' || fail "python of a checkout"
    [ -e checkout/python/caffe/imagenet/mean.npy ] || fail "the checkout's folders"
    grep -q _caffe checkout/python/caffe.bvlc/__init__.py || fail "what the checkout had"
    checkout/build/tools/caffe --version >/dev/null || fail "build of a checkout"
fi
! "$root/bin/qaffe" caffe-home --into "$root" 2>said || fail "--into took a folder that is no checkout"
grep -q 'no python/caffe' said || fail "--into: $(cat said)"

# Completion: words, words of a group, options, choices; where the shell is installed.
share=$root/share
(
    # shellcheck source=/dev/null
    source "$share/bash-completion/completions/qaffe"
    offers() { # expected word, then the command line
        local expected=$1
        shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        _qaffe || true # some of its lists are empty
        [[ " ${COMPREPLY[*]} " = *" $expected "* ]] || fail "bash: $expected is not offered for $*"
    }
    offers train qaffe tr
    offers config qaffe qat co
    offers --solver qaffe train --so
    offers int8 qaffe train --compute in
    offers user.c qaffe inspect --check us
)
if command -v fish >/dev/null; then
    offers() {
        fish --no-config -c "source $share/fish/vendor_completions.d/qaffe.fish; complete -C '$2'" |
            cut -f1 | grep -qx -- "$1" || fail "fish: $1 is not offered for $2"
    }
    offers train 'qaffe tr'
    offers config 'qaffe qat co'
    offers --solver 'qaffe train --so'
    offers int8 'qaffe train --compute in'
    offers --solver 'caffe train --so'
    offers user.c 'qaffe inspect --check us'
else
    echo "check_install: skipped: fish is not installed"
fi
if command -v zsh >/dev/null; then
    zsh -n "$share/zsh/site-functions/_qaffe" || fail "zsh"
else
    echo "check_install: skipped: zsh is not installed"
fi
echo "check_install: all is well"
