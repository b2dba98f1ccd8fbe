#!/usr/bin/env bash
# Run the fuzz targets one after another, each for the given number of seconds, with clang's libFuzzer, ASan and UBSan.
#   scripts/fuzz.sh 600              all of them
#   scripts/fuzz.sh 60 fuzz_datum    some of them
# Prints runs, coverage and findings of each; inputs that fail lie in build/fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?how many seconds each?}
shift
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz >/dev/null
build=$PWD/build/fuzz/fuzz
findings=$PWD/build/fuzz/findings
mkdir -p "$findings"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(cd "$build" && ls -d fuzz_* | grep -v '\.'))
failed=0
for target in "${targets[@]}"; do
    corpus=$(mktemp -d)
    (cd "$corpus" && TMPDIR=${TMPDIR:-/dev/shm} "$build/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="$findings/$target-" "$corpus" "$build/seeds/$target") >"$findings/$target.log" 2>&1 || failed=1
    awk -v target="$target" '
        /cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") coverage = $(i + 1) }
        /stat::number_of_executed_units/ { runs = $2 }
        /ERROR|runtime error|SUMMARY/ && !finding { finding = $0 }
        END { printf "%-18s %9d runs  coverage %5d  %s\n", target, runs, coverage, finding ? finding : "no finding" }
    ' "$findings/$target.log"
    rm -rf "$corpus"
done
exit $failed
