#!/usr/bin/env bash
# Install what is missing, build, and run the tests: once optimised, on the host and on the paranoid device, once
# under ASan and UBSan.
#   scripts/test.sh            both
#   scripts/test.sh --fast     the optimised build only
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/install_packages.sh
install_missing "${packages[@]}" "${test_packages[@]}"

scripts/check_modules.sh

# Tests say "skipped: …" in a line of its own for what they could not do here.
say_what_was_skipped() {
    local skipped
    skipped=$(sed -n 's/^\(.*: \)\?skipped: /  - /p' build/*/Testing/Temporary/LastTest.log | sort -u)
    [ -n "$skipped" ] || return 0
    printf '\n%s\n' '======================== NOT EVERYTHING WAS TESTED ========================'
    printf '%s\n' "$skipped"
    printf '%s\n' '==========================================================================='
}

build_and_test() { # preset
    # Tests may be off from a demo in the same folder. The Python is that of the packages installed above.
    cmake --preset "$1" -DQAFFE_TESTS=ON -DPython3_EXECUTABLE=/usr/bin/python3 >/dev/null
    cmake --build --preset "$1"
    ctest --preset "$1" -j "$(nproc)" --output-on-failure --no-tests=error
}
build_and_test release
# Tests that name their device themselves, or compute nothing, say the same again there.
QAFFE_DEVICE=paranoid ctest --preset release -j "$(nproc)" --output-on-failure --no-tests=error -LE "fuzz|one-device"
if [ "${1:-}" != --fast ]; then
    build_and_test sanitize
fi
say_what_was_skipped
