#!/usr/bin/env bash
# Every script that a person runs, and the bench, which no other test starts, says how it is used and runs nothing.
set -euo pipefail

root=$(cd -- "$(dirname -- "$0")/../.." && pwd)
for script in deploy/demo tests/run tests/coverage tests/bench/run tests/bench/instructions tests/fuzz/keep tests/lab/run \
    tests/model/run tests/mutants/run; do
    said=$("$root/$script" --help </dev/null) || {
        printf '%s --help: exit code %s\n' "$script" "$?" >&2
        exit 1
    }
    [[ ${said,,} == *usage* ]] || {
        printf '%s --help does not say how it is used\n' "$script" >&2
        exit 1
    }
done
