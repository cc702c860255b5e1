#!/usr/bin/env bash
# Fuzzes one target: fuzz/run.sh TARGET [SECONDS | FILE...]
#
# libFuzzer's instrumentation is a pass of LLVM, so a stable compiler has it; only the sanitizers
# of `cargo fuzz` need nightly, and without unsafe code there is little for them to find.
set -euo pipefail
cd "$(dirname "$0")"

if [[ $# -lt 1 || ! -f fuzz_targets/$1.rs ]]; then
    echo "usage: fuzz/run.sh TARGET [SECONDS | FILE...], where TARGET is one of:" >&2
    for target in fuzz_targets/*.rs; do echo "  $(basename "$target" .rs)" >&2; done
    exit 2
fi
target=$1
shift

host=$(rustc -vV | sed -n 's/^host: //p')
# Naming the host keeps the flags away from build scripts, which have no fuzzer to link to.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing" \
    cargo build --release --target "$host" --bin "$target"
binary=${CARGO_TARGET_DIR:-target}/$host/release/$target

mkdir -p "corpus/$target" "artifacts/$target"
case ${1:-60} in
    *[!0-9]*) exec "$binary" "$@" ;;
esac
directories=("corpus/$target")
[[ -d seeds/$target ]] && directories+=("seeds/$target")
exec "$binary" -max_total_time="${1:-60}" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
    -artifact_prefix="artifacts/$target/" -dict=bencode.dict "${directories[@]}"
