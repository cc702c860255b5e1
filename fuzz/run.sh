#!/usr/bin/env bash
# Fuzzes one target:              fuzz/run.sh TARGET [SECONDS | FILE...]
# or each of them for a moment:   fuzz/run.sh --short
#
# libFuzzer's instrumentation is a pass of LLVM, so a stable compiler has it; only the sanitizers
# of `cargo fuzz` need nightly, and without unsafe code there is little for them to find.
set -euo pipefail
cd "$(dirname "$0")"

host=$(rustc -vV | sed -n 's/^host: //p')
limits=(-timeout=10 -rss_limit_mb=1024 -max_len=65536 -dict=bencode.dict)
short_runs=3000 # and every seed

build() {
    # Naming the host keeps the flags away from build scripts, which have no fuzzer to link to.
    RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing" \
        cargo build --release --locked --target "$host" "$@"
}

if [[ ${1-} == --short ]]; then
    # Compiling takes most of the time, so it is done in a hurry, and aside: the other artifacts
    # are kept for long runs.
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz-short
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=none
    build --bins
    mkdir -p artifacts
    run() {
        local output
        mkdir -p "artifacts/$1" "$found/$1"
        output=$("$CARGO_TARGET_DIR/$host/release/$1" "${@:2}" -runs=$short_runs \
            -artifact_prefix="artifacts/$1/" "$found/$1" "seeds/$1" 2>&1) || {
            tail -n 40 <<<"$output"
            return 1
        }
        echo "$1: $(tail -n 1 <<<"$output")"
    }
    export -f run
    # Seeds are read, and what reaches further is not kept.
    found=$(mktemp -d)
    trap 'rm -rf "$found"' EXIT
    export host short_runs found
    for target in fuzz_targets/*.rs; do basename "$target" .rs; done |
        xargs -P "$(nproc)" -I{} bash -c 'run "$@"' - {} "${limits[@]}"
    exit
fi

if [[ $# -lt 1 || ! -f fuzz_targets/$1.rs ]]; then
    echo "usage: fuzz/run.sh TARGET [SECONDS | FILE...], or fuzz/run.sh --short; TARGET is one of:" >&2
    for target in fuzz_targets/*.rs; do echo "  $(basename "$target" .rs)" >&2; done
    exit 2
fi
target=$1
shift

build --bin "$target"
binary=${CARGO_TARGET_DIR:-target}/$host/release/$target

mkdir -p "corpus/$target" "artifacts/$target"
case ${1:-60} in
    *[!0-9]*) exec "$binary" "$@" ;;
esac
directories=("corpus/$target")
[[ -d seeds/$target ]] && directories+=("seeds/$target")
exec "$binary" "${limits[@]}" -max_total_time="${1:-60}" -artifact_prefix="artifacts/$target/" \
    "${directories[@]}"
