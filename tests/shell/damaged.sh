#!/usr/bin/env bash
# What the tests are told by files that may be damaged: each of their tools refuses such a file, with a sentence, and takes the
# same file undamaged. (sim/arguments does it for seeds, lab/check_test.py for each field of a history.)
# SK_BUILD is the build folder of the tests.
set -euo pipefail

tests=$(cd -- "$(dirname -- "$0")/.." && pwd)
build=${SK_BUILD:?the build folder}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# says CODE TEXT COMMAND...: its exit code is CODE, and it says TEXT.
says() {
    local expected=$1 text=$2 code=0 said
    shift 2
    said=$("$@" 2>&1 </dev/null) || code=$?
    if [ "$code" -ne "$expected" ] || [[ $said != *"$text"* ]]; then
        printf 'FAILED: %s: exit code %s, not %s, or it does not say "%s":\n%s\n' "$*" "$code" "$expected" "$text" "$said" >&2
        exit 1
    fi
}

# -- fuzz corpora: each change to a copy, and back ---------------------------------------------------------------------

corpus=$folder/corpus
whole() {
    rm -rf "$corpus"
    cp -r "$tests/fuzz/corpus" "$corpus"
}
damaged() { says 1 "$1" "$tests/fuzz/keep" --check "$corpus"; }

whole
says 0 'are whole' "$tests/fuzz/keep" --check "$corpus"
some=$(find "$corpus/row_fuzz" -type f | sort | sed -n 1p)
truncate -s -1 "$some"
damaged 'was changed'
whole
printf 'x' | dd of="$some" bs=1 conv=notrunc status=none
damaged 'was changed'
whole
rm "$some"
damaged 'is missing'
whole
printf 'x' >"$corpus/row_fuzz/another"
damaged 'is not in row_fuzz.sums'
whole
truncate -s -1 "$corpus/row_fuzz.sums"
damaged 'row_fuzz.sums:'
whole
sed -i '1d' "$corpus/row_fuzz.sums"
damaged 'is not in row_fuzz.sums'
whole
: >"$corpus/row_fuzz.sums"
damaged 'there are no inputs'
rm "$corpus/row_fuzz.sums"
damaged 'No such file'
whole
mkdir "$corpus/nothing_fuzz"
damaged 'of no fuzz target'

# The replay: a folder that is not there, one with nothing in it, an input that cannot be read.
if [ -x "$build/tests/row_fuzz" ] && ! "$build/tests/row_fuzz" -help=1 2>&1 | grep -q libFuzzer; then
    says 0 'inputs' "$build/tests/row_fuzz" "$tests/fuzz/corpus/row_fuzz"
    says 1 'no inputs' "$build/tests/row_fuzz" "$folder/none"
    mkdir "$folder/empty" "$folder/unreadable" "$folder/unreadable/is_a_folder"
    says 1 'no inputs' "$build/tests/row_fuzz" "$folder/empty"
    says 1 'cannot be read' "$build/tests/row_fuzz" "$folder/unreadable"
fi

# -- the laboratory's history: cut in the middle, between two lines and within one ------------------------------------------

cat >"$folder/record.py" <<'END'
import sys
sys.path.insert(0, sys.argv[1] + "/lab")
from check_test import endings, op
from history import Recorder
recorder = Recorder(sys.argv[2], 1, ["r1", "r2", "r3"])
for i in range(20):
    recorder.put(op("a", "r1", "add", 1 + i, 1.5 + i, reply=1 + i, key="n", by=1))
for record in endings({"n": "get 20"}, 100, {}):
    recorder.put(record)
recorder.seal()
END
history=$folder/history
python3 "$folder/record.py" "$tests" "$history"
says 0 'as promised' "$tests/lab/check.py" "$history"
head -n 12 "$history" >"$folder/cut"
says 2 'DAMAGED' "$tests/lab/check.py" "$folder/cut"
head -c 1000 "$history" >"$folder/cut"
says 2 'DAMAGED' "$tests/lab/check.py" "$folder/cut"
sed '7d' "$history" >"$folder/cut"
says 2 'DAMAGED' "$tests/lab/check.py" "$folder/cut"
sed 's/"by":1,/"by":2,/' "$history" >"$folder/cut"
says 2 'DAMAGED' "$tests/lab/check.py" "$folder/cut"
: >"$folder/cut"
says 2 'DAMAGED' "$tests/lab/check.py" "$folder/cut"
says 2 'DAMAGED' "$tests/lab/check.py" "$folder/none"

# -- the comparison with Redis: sequences that it printed, and the list of differences ----------------------------------------

# differs OLD NEW: the list with this text for that.
differs() {
    rm -rf "$folder/diff"
    cp -r "$tests/diff" "$folder/diff"
    grep -qF -- "$1" "$folder/diff/differences.py"
    python3 - "$folder/diff/differences.py" "$1" "$2" <<'END'
import sys
path, old, new = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    text = file.read()
with open(path, "w", encoding="utf-8") as file:
    file.write(text.replace(old, new, 1))
END
}
cat >"$folder/list.py" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import differences, grammar
differences.check(grammar.read_table(sys.argv[2]))
print("the list is sound")
END
list() { says "$1" "$2" python3 "$folder/list.py" "$folder/diff" "$SKERRYD"; }
differs 'RULES' 'RULES'
list 0 'the list is sound'
differs 'Rule("TTL PTTL' 'Rule("TTTL PTTL'
list 1 'no command TTTL'
differs 'Rule("CLIENT|HELP' 'Rule("CLIENT|HELPS'
list 1 'no command CLIENT|HELPS'
differs 'Rule("HGETALL HKEYS' 'Rule("", "why"), Rule("HGETALL HKEYS'
list 1 'no command'
differs 'same=ordered' ''
list 1 'that allows nothing'
differs 'b"wait": "it blocks' 'b"waits": "it blocks'
list 1 'TABLE: waits'
differs 'RULES = [' 'RULES = '
list 1 'SyntaxError'

if command -v redis-server >/dev/null; then
    for text in '' '0\n' '7 "GET" "a"\n' '0 "GET" "a\n' '0 GET a\n' '0 "GET" "\\x4"\n' 'x "GET"\n' '0 "SET" "a" "1"\n0 "GE'; do
        printf '%b' "$text" >"$folder/sequence"
        says 1 'commands.py: ' "$tests/diff/commands.py" --replay "$folder/sequence"
    done
    says 1 'No such file' "$tests/diff/commands.py" --replay "$folder/none"
fi

# -- what the tables are made of ------------------------------------------------------------------------------------------------

printf '<testsuite><testcase name="unit/a"' >"$folder/report.xml"
: >"$folder/log"
says 1 'ParseError' python3 "$tests/summary.py" "$folder/report.xml" "$folder/log"
says 1 'No such file' python3 "$tests/summary.py" "$folder/none" "$folder/log"
printf 'every damaged file was refused\n'
