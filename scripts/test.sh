#!/usr/bin/env bash
# Install what is missing, build, and run the tests: once optimised, once under ASan and UBSan.
#   scripts/test.sh            both
#   scripts/test.sh --fast     the optimised build only
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/install_packages.sh
install_missing "${packages[@]}" "${test_packages[@]}"

scripts/check_modules.sh

build_and_test() { # preset
    # The Python of the packages installed above, whatever else is first in PATH.
    cmake --preset "$1" -DPython3_EXECUTABLE=/usr/bin/python3 >/dev/null
    cmake --build --preset "$1"
    ctest --preset "$1" --output-on-failure
}
build_and_test release
if [ "${1:-}" != --fast ]; then
    build_and_test sanitize
fi
