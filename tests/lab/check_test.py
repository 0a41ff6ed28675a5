#!/usr/bin/python3
"""Tests of the checker: small histories, for every rule ones that are right and ones that are not, and damaged files.

A history is written as lines of a story, in the order of time, one second each:

    told("a r1 write k v1 <",            session a, in r1, writes v1 to k; what it replaced was nothing
         "b r2 read k = v1 v2",          session b reads siblings
         "a r1 add n 5 = 5",             answered 5
         "a r1 add n 5 ?", "... !",      without an answer; refused
         "loss r1 2.7")                  r1 is set back to a backup of that time; 0: to an empty disk

Before the end every story gets what every run ends with: reads of everything in every region. `final` says what they
find, by key, and for one region something else if that is what a test is about."""

import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import history  # noqa: E402
from check import Checker  # noqa: E402
from history import Damaged, Recorder, read_history  # noqa: E402
from workload import bare, padded  # noqa: E402

REGIONS = ["r1", "r2", "r3"]


def op(session, region, kind, begin, end, outcome="ok", reply=None, **fields):
    return {"type": "op", "session": session, "region": region, "op": kind, **fields, "begin": begin, "end": end,
            "outcome": outcome, "reply": reply}


def parse(line, begin, end):
    """One line of a story."""
    words = line.split()
    outcome = {"?": "unknown", "!": "failed"}.get(words[-1], "ok")
    words = words if outcome == "ok" else words[:-1]
    session, region, kind, *rest = words
    left, right = (rest[:rest.index("=")], rest[rest.index("=") + 1:]) if "=" in rest else (rest, [])
    number = int(right[0]) if right and right[0].isdigit() else None
    fields, reply = {}, None
    if kind == "read":
        fields, reply = {"key": left[0]}, copies(right)
    elif kind == "write":    # write k v < seen...
        fields, reply = {"key": left[0], "value": left[1], "base": None, "blind": False}, copies(left[3:])
    elif kind == "remove":   # remove k < seen...
        fields, reply = {"key": left[0], "value": None, "base": None, "blind": False}, copies(left[2:])
        kind = "write"
    elif kind == "resolve":  # resolve k v < base...
        fields = {"key": left[0], "value": left[1], "base": left[3:], "blind": False}
        kind = "write"
    elif kind == "blind":
        fields = {"key": left[0], "value": left[1], "base": None, "blind": True}
        kind = "write"
    elif kind in ("add", "get"):
        fields, reply = {"key": left[0]}, number
        if kind == "add":
            fields["by"] = int(left[1])
    elif kind == "members":
        fields, reply = {"key": left[0]}, right
    elif kind in ("sadd", "srem"):
        fields, reply = {"key": left[0], "element": left[1]}, number
    elif kind in ("ledger", "ladd"):  # ledger k = COUNT elements...
        fields, reply = {"key": left[0]}, [right[1:], number]
        if kind == "ladd":
            fields["element"] = left[1]
    elif kind in ("token", "after"):
        fields = {"name": left[0]}
    elif kind == "wait":
        fields, reply = {"key": left[0]}, number
    else:
        raise AssertionError(line)
    return op(session, region, kind, begin, end, outcome, reply if outcome == "ok" else outcome, **fields)


def copies(words):
    """`v1 v2 | v1 v2`: the values in each place."""
    return [part.split() for part in " ".join(words).split("|")]


def endings(final, at, digests):
    records = []
    for region in REGIONS:
        session = f"end.{region}"
        records.append(op(session, region, "all", at, at + 0.5))
        for number, (key, found) in enumerate(final.items(), 1):
            found = found.get(region, found.get("")) if isinstance(found, dict) else found
            kind, _, rest = found.partition(" ")
            records.append(parse(f"{session} {region} {kind} {key} = {rest}", at + number, at + number + 0.5))
        records.append({"type": "final", "region": region, "digest": digests.get(region, "d"), "vector": "v"})
    return records


class History:
    """A file of records that goes away with the test."""

    def __init__(self, records, version=None):
        handle, self.path = tempfile.mkstemp(prefix="skerry-history-")
        os.close(handle)
        recorder = Recorder(self.path, 1, REGIONS)
        for record in records:
            recorder.put(record)
        recorder.seal()

    def __enter__(self):
        return self.path

    def __exit__(self, *error):
        os.unlink(self.path)


def judge(records):
    """The violations' texts."""
    with History(records) as path:
        checker = Checker(*read_history(path))
        assert checker.check() == (not checker.violations)
        return [text for _, text, _ in checker.violations]


def told(*lines, final, digests=None):
    """Each line takes a second; `from..to line` gives other times."""
    records = []
    for at, line in enumerate(lines, 1):
        if line.startswith("loss"):
            _, region, since = line.split()
            records.append({"type": "loss", "region": region, "since": float(since), "begin": float(at), "end": at})
            continue
        times, _, rest = line.partition(" ")
        begin, dots, end = times.partition("..")
        records.append(parse(rest, float(begin), float(end)) if dots else parse(line, at, at + 0.5))
    records.sort(key=lambda r: r["end"])
    return judge(records + endings(final, 1000, digests or {}))


class Test(unittest.TestCase):
    def good(self, *lines, **options):
        self.assertEqual(told(*lines, **options), [])

    def bad(self, words, *lines, **options):
        found = told(*lines, **options)
        self.assertTrue(any(words in text for text in found), f"{words!r} is not in {found}")


class LostUpdates(Test):
    def test_overwritten_by_one_that_saw_it(self):
        self.good("a r1 write k v1 <", "a r1 write k v2 < v1", final={"k": "read v2"})

    def test_siblings(self):
        self.good("a r1 write k v1 <", "b r2 write k v2 <", final={"k": "read v1 v2"})

    def test_sibling_lost(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 write k v2 <", final={"k": "read v2"})

    def test_everything_lost(self):
        self.bad("v1 is not there", "a r1 write k v1 <", final={"k": "read"})

    def test_chain(self):
        self.good("a r1 write k v1 <", "b r1 write k v2 < v1", "c r1 write k v3 < v2", final={"k": "read v3"})

    def test_end_of_a_chain_lost(self):
        self.bad("v2 is not there", "a r1 write k v1 <", "b r1 write k v2 < v1", final={"k": "read"})

    def test_first_of_a_chain_shows_instead_of_its_end(self):
        self.bad("v1 is there again", "a r1 write k v1 <", "b r1 write k v2 < v1", final={"k": "read v1"})

    def test_resolved(self):
        self.good("a r1 write k v1 <", "b r2 write k v2 <", "a r1 resolve k v3 < v1 v2", final={"k": "read v3"})

    def test_resolve_takes_what_it_has_not_seen(self):
        self.bad("v2 is not there", "a r1 write k v1 <", "b r2 write k v2 <", "a r1 resolve k v3 < v1",
                 final={"k": "read v3"})

    def test_resolve_leaves_what_it_has_not_seen(self):
        self.good("a r1 write k v1 <", "b r2 write k v2 <", "a r1 resolve k v3 < v1", final={"k": "read v2 v3"})

    def test_resolved_value_comes_back(self):
        self.bad("v1 is there again", "a r1 write k v1 <", "a r1 resolve k v3 < v1", final={"k": "read v1 v3"})

    def test_removed(self):
        self.good("a r1 write k v1 <", "b r1 remove k < v1", final={"k": "read"})

    def test_removed_without_having_been_seen(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 remove k <", final={"k": "read"})

    def test_removed_comes_back(self):
        self.bad("v1 is there again", "a r1 write k v1 <", "b r1 remove k < v1", final={"k": "read v1"})

    def test_never_written(self):
        self.bad("never written", "a r1 write k v1 <", final={"k": "read v1 v9"})

    def test_read_before_it_is_written(self):
        self.bad("never written", "b r2 read k = v1", "a r1 write k v1 <", final={"k": "read v1"})

    def test_twice(self):
        self.bad("in parts", "a r1 write k v1 <", final={"k": "read v1 v1"})

    def test_failed_write(self):
        self.good("a r1 write k v1 < !", final={"k": "read"})
        self.bad("its write had failed", "a r1 write k v1 < !", final={"k": "read v1"})

    def test_blind_write_explains_what_went_before(self):
        self.good("a r1 blind k v1", "b r2 blind k v2", final={"k": "read v2"})
        self.good("a r1 blind k v1", "b r2 blind k v2", final={"k": "read v1 v2"})

    def test_blind_write_explains_nothing_later(self):
        self.bad("v2 is not there", "a r1 blind k v1", "b r2 blind k v2", final={"k": "read v1"})

    def test_blind_write_leaves_what_its_region_had(self):
        self.bad("v1 is there again", "a r1 blind k v1", "b r1 blind k v2", final={"k": "read v1 v2"})


class Unknown(Test):
    def test_may_be_there_or_not(self):
        for final in "read v1", "read":
            self.good("a r1 write k v1 < ?", final={"k": final})

    def test_may_have_overwritten_where_it_shows(self):
        self.good("a r1 write k v1 <", "b r2 write k v2 < ?", final={"k": "read v2"})
        self.good("a r1 write k v1 <", "b r2 write k v2 < ?", final={"k": "read v1 v2"})

    def test_explains_nothing_where_it_does_not_show(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 write k v2 < ?", final={"k": "read"})

    def test_shows_in_what_another_saw(self):
        self.good("a r1 write k v1 <", "b r1 write k v2 < ?", "c r1 write k v3 < v2", final={"k": "read v3"})

    def test_takes_effect_late(self):
        self.good("1..2 a r1 write k v1 < ?", "3..4 b r1 write k v2 <", "5..6 b r1 read k = v1", final={"k": "read v1"})

    def test_resolve_takes_only_what_it_saw(self):
        self.bad("v2 is not there", "a r1 write k v1 <", "b r2 write k v2 <", "a r1 resolve k v3 < v1 ?",
                 final={"k": "read v3"})

    def test_seen_once_it_stays(self):
        self.bad("v1 is not there", "a r1 write k v1 < ?", "b r2 read k = v1", "b r2 read k =", final={"k": "read v1"})

    def test_removal(self):
        self.good("a r1 write k v1 <", "b r2 remove k < ?", final={"k": "read"})
        self.good("a r1 write k v1 <", "b r2 remove k < ?", final={"k": "read v1"})


class Sessions(Test):
    def test_own_write_is_read(self):
        self.good("a r1 write k v1 <", "a r1 read k = v1", final={"k": "read v1"})
        self.bad("v1 is not there", "a r1 write k v1 <", "a r1 read k =", final={"k": "read v1"})

    def test_own_write_is_seen_by_own_write(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "a r1 write k v2 <", final={"k": "read v1 v2"})

    def test_others_writes_come_when_they_come(self):
        self.good("a r1 write k v1 <", "b r2 read k =", "b r2 read k = v1", final={"k": "read v1"})

    def test_reads_do_not_go_back(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 read k = v1", "b r2 read k =", final={"k": "read v1"})

    def test_overwritten_value_does_not_show_again(self):
        self.bad("v1 is there again", "a r1 write k v1 <", "a r1 write k v2 < v1", "b r2 read k = v2",
                 "b r2 read k = v1", final={"k": "read v2"})

    def test_no_effect_before_its_cause(self):
        self.good("a r1 write x v1 <", "a r1 write y v2 <", "b r2 read y = v2", "b r2 read x = v1",
                  final={"x": "read v1", "y": "read v2"})
        self.bad("v1 is not there", "a r1 write x v1 <", "a r1 write y v2 <", "b r2 read y = v2", "b r2 read x =",
                 final={"x": "read v1", "y": "read v2"})

    def test_cause_over_three_sessions(self):
        self.bad("v1 is not there", "a r1 write x v1 <", "b r2 read x = v1", "b r2 write y v2 <", "c r3 read y = v2",
                 "c r3 read x =", final={"x": "read v1", "y": "read v2"})

    def test_cause_over_types(self):
        self.bad("the total is 0", "a r1 add n 5 = 5", "a r1 sadd s e1 = 1", "b r2 members s = e1", "b r2 get n = 0",
                 final={"n": "get 5", "s": "members e1"})

    def test_move_with_a_token(self):
        self.good("a r1 write k v1 <", "a r1 token t", "b r2 after t", "b r2 read k = v1", final={"k": "read v1"})
        self.bad("v1 is not there", "a r1 write k v1 <", "a r1 token t", "b r2 after t", "b r2 read k =",
                 final={"k": "read v1"})

    def test_move_without_a_token(self):
        self.good("a r1 write k v1 <", "b r2 read k =", final={"k": "read v1"})

    def test_token_that_was_refused_or_not_answered(self):
        for mark in "?", "!":
            self.good("a r1 write k v1 <", "a r1 token t", f"b r2 after t {mark}", "b r2 read k =",
                      final={"k": "read v1"})

    def test_token_of_before(self):
        self.good("a r1 token t", "a r1 write k v1 <", "b r2 after t", "b r2 read k =", final={"k": "read v1"})

    def test_wait(self):
        self.good("a r1 write k v1 <", "a r1 wait k = 2", "b r2 read k = v1", final={"k": "read v1"})
        self.bad("v1 is not there", "a r1 write k v1 <", "a r1 wait k = 2", "b r2 read k =", final={"k": "read v1"})

    def test_wait_for_some(self):
        self.good("a r1 write k v1 <", "a r1 wait k = 1", "b r2 read k =", final={"k": "read v1"})

    def test_wait_that_ends_later(self):
        self.good("1..2 a r1 write k v1 <", "2.1..5 a r1 wait k = 2", "4..6 b r2 read k =", final={"k": "read v1"})

    def test_wait_for_more_than_there_are(self):
        self.bad("WAIT counts 3", "a r1 write k v1 <", "a r1 wait k = 3", final={"k": "read v1"})


class Counters(Test):
    def test_sum(self):
        self.good("a r1 add n 5 = 5", "b r2 add n 2 = 2", final={"n": "get 7"})
        self.bad("the total is 5; 7 to 7", "a r1 add n 5 = 5", "b r2 add n 2 = 2", final={"n": "get 5"})
        self.bad("the total is 8; 7 to 7", "a r1 add n 5 = 5", "b r2 add n 2 = 2", final={"n": "get 8"})

    def test_unknown(self):
        for total in 5, 7:
            self.good("a r1 add n 5 = 5", "b r2 add n 2 ?", final={"n": f"get {total}"})
        for total in 2, 8:
            self.bad(f"the total is {total}", "a r1 add n 5 = 5", "b r2 add n 2 ?", final={"n": f"get {total}"})

    def test_failed(self):
        self.good("a r1 add n 5 = 5", "b r2 add n 2 !", final={"n": "get 5"})
        self.bad("the total is 7; 5 to 5", "a r1 add n 5 = 5", "b r2 add n 2 !", final={"n": "get 7"})

    def test_twice(self):
        self.bad("the total is 10; 5 to 5", "a r1 add n 5 = 10", final={"n": "get 5"})

    def test_does_not_go_back(self):
        lines = "a r1 add n 5 = 5", "b r1 add n 2 = 7", "c r3 get n = 7"
        self.good(*lines, "c r3 get n = 7", final={"n": "get 7"})
        self.bad("had told 7", *lines, "c r3 get n = 5", final={"n": "get 7"})

    def test_own_increments_count(self):
        self.bad("the total is 0", "a r1 add n 5 = 5", "a r1 get n = 0", final={"n": "get 5"})

    def test_from_the_future(self):
        self.bad("the total is 5; 0 to 0", "b r2 get n = 5", "a r1 add n 5 = 5", final={"n": "get 5"})


class Sets(Test):
    def test_add(self):
        self.good("a r1 sadd s e = 1", final={"s": "members e"})
        self.bad("e is not there", "a r1 sadd s e = 1", final={"s": "members"})

    def test_removal_that_saw_it(self):
        self.good("a r1 sadd s e = 1", "b r1 srem s e = 1", final={"s": "members"})
        self.bad("e is there again", "a r1 sadd s e = 1", "b r1 srem s e = 1", final={"s": "members e"})

    def test_removal_that_was_before(self):
        self.bad("e is not there", "a r1 sadd s e = 1", "b r1 srem s e = 1", "c r1 sadd s e = 1",
                 final={"s": "members"})

    def test_removal_of_nothing_explains_nothing(self):
        self.bad("e is not there", "a r1 sadd s e = 1", "b r2 srem s e = 0", final={"s": "members"})

    def test_concurrent_add_wins(self):
        lines = "a r1 sadd s e = 1", "b r1 sadd s e = 0", "c r2 srem s e = 1"
        self.good(*lines, final={"s": "members e"})
        self.good(*lines, final={"s": "members"})

    def test_removal_elsewhere_after_having_seen_it(self):
        lines = "a r1 sadd s e = 1", "b r2 members s = e", "b r2 srem s e = 1"
        self.good(*lines, final={"s": "members"})
        self.bad("e is there again", *lines, final={"s": "members e"})

    def test_removal_after_all_adds_are_known(self):
        lines = "a r1 sadd s e = 1", "a r1 sadd s e = 0", "a r1 token t", "b r2 after t", "b r2 srem s e = 1"
        self.good(*lines, final={"s": "members"})
        self.bad("e is there again", *lines, final={"s": "members e"})

    def test_unknown(self):
        for final in "members", "members e":
            self.good("a r1 sadd s e ?", final={"s": final})
            self.good("a r1 sadd s e = 1", "b r2 srem s e ?", final={"s": final})

    def test_failed(self):
        self.bad("never added", "a r1 sadd s e !", final={"s": "members e"})
        self.bad("e is not there", "a r1 sadd s e = 1", "b r1 srem s e !", final={"s": "members"})

    def test_never_added(self):
        self.bad("never added", "a r1 sadd s e = 1", final={"s": "members e x"})
        self.bad("twice", "a r1 sadd s e = 1", final={"s": "members e e"})

    def test_replies(self):
        self.bad("never added", "a r1 sadd s e = 0", final={"s": "members e"})
        self.bad("e is not there", "a r1 sadd s e = 1", "a r1 sadd s e = 1", final={"s": "members e"})
        self.bad("never added", "a r1 srem s e = 1", final={"s": "members"})
        self.bad("e is not there", "a r1 sadd s e = 1", "a r1 srem s e = 0", final={"s": "members e"})
        self.bad("removed 2", "a r1 sadd s e = 1", "a r1 srem s e = 2", final={"s": "members"})

    def test_session(self):
        self.bad("e is not there", "a r1 sadd s e = 1", "a r1 members s =", final={"s": "members e"})
        self.bad("e is not there", "a r1 sadd s e = 1", "b r2 members s = e", "b r2 members s =",
                 final={"s": "members e"})


class Transactions(Test):
    def test_whole(self):
        self.good("a r1 write g v1 < |", "b r2 read g = v1 | v1", final={"g": "read v1 | v1"})

    def test_in_parts(self):
        self.bad("in parts", "a r1 write g v1 < |", "b r2 read g = v1 |", final={"g": "read v1 | v1"})
        self.bad("in parts", "a r1 write g v1 < |", "b r2 write g v2 < | v1", final={"g": "read v1 v2 | v1 v2"})

    def test_ledger(self):
        self.good("a r1 ladd l e1 = 1 e1", "b r2 ladd l e2 = 2 e1 e2", final={"l": "ledger 2 e1 e2"})
        self.bad("1 elements and a count of 2", "a r1 ladd l e1 = 1 e1", "b r2 ladd l e2 = 1 e2",
                 "c r3 ledger l = 2 e1", final={"l": "ledger 2 e1 e2"})
        self.bad("did not see it", "a r1 ladd l e1 = 0", final={"l": "ledger 1 e1"})
        self.bad("e1 is not there", "a r1 ladd l e1 = 1 e1", "b r2 ladd l e2 = 1 e2", final={"l": "ledger 1 e2"})
        self.bad("in parts", "a r1 ladd l e1 = 2 e1", final={"l": "ledger 1 e1"})


class SetBack(Test):
    def test_what_nobody_else_had_may_be_lost(self):
        for found in "read", "read v1":
            self.good("a r1 write k v1 <", "loss r1 0", final={"k": found})
        self.good("a r1 sadd s e = 1", "a r1 add n 5 = 5", "loss r1 0", final={"s": "members", "n": "get 0"})
        self.bad("v1 is not there", "a r1 write k v1 <", "loss r2 0", final={"k": "read"})

    def test_what_another_had_is_kept(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 read k = v1", "loss r1 0", final={"k": "read"})
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 read k = v1", "loss r1 0", "b r2 read k =",
                 final={"k": "read v1"})
        self.bad("v1 is not there", "a r1 write k v1 <", "a r1 wait k = 2", "loss r1 0", final={"k": "read"})
        self.good("a r1 write k v1 <", "a r1 wait k = 1", "loss r1 0", final={"k": "read"})

    def test_both_that_had_it_lose_it(self):
        self.good("a r1 write k v1 <", "b r2 read k = v1", "loss r1 0", "loss r2 0", final={"k": "read"})
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 read k = v1", "c r3 read k = v1", "loss r1 0", "loss r2 0",
                 final={"k": "read"})

    def test_what_the_backup_had_is_kept(self):
        self.bad("v1 is not there", "a r1 write k v1 <", "loss r1 1.7", final={"k": "read"})
        self.bad("v1 is not there", "a r1 write k v1 <", "loss r1 1.7", "c r1 read k =", final={"k": "read v1"})
        self.good("a r1 write k v1 <", "a r1 write k v2 < v1", "loss r1 1.7", "c r1 read k = v1", final={"k": "read v1"})
        self.good("a r1 write k v1 <", "a r1 write k v2 < v1", "loss r1 1.7", "c r1 read k = v1", final={"k": "read v2"})

    def test_an_older_backup_after_a_younger_one(self):
        lines = "a r1 write k v1 <", "loss r1 0", "a r1 write k v2 <", "loss r1 1.7"
        self.good(*lines, final={"k": "read v1"})
        self.good(*lines, final={"k": "read v1 v2"})
        self.bad("v1 is not there", *lines, final={"k": "read v2"})
        self.bad("v1 is not there", *lines, "c r1 read k =", final={"k": "read v1"})
        self.good("a r1 write k v1 <", "loss r1 0", "loss r1 2.5", "c r1 read k =", final={"k": "read"})

    def test_a_session_ends_with_the_life_of_its_region(self):
        self.good("a r1 write k v1 <", "b r2 read k = v1", "loss r1 0", "a r1 read k =", "a r1 read k = v1",
                  final={"k": "read v1"})
        self.bad("v1 is not there", "a r1 write k v1 <", "b r2 read k = v1", "loss r1 0", "a r1 read k = v1",
                 "a r1 read k =", final={"k": "read v1"})

    def test_who_waits_in_the_midst_of_it(self):
        lines = "a r1 write k v1 <", "loss r2 0"
        self.good(*lines, "a r1 wait k = 2", "b r2 read k =", final={"k": "read v1"})
        self.bad("v1 is not there", *lines, "a r1 wait k = 2", "b r3 read k =", final={"k": "read v1"})
        self.good("a r1 write k v1 <", "a r1 wait k = 2", "loss r2 0", "b r2 read k =", final={"k": "read v1"})
        self.bad("v1 is not there", "loss r2 0", "a r1 write k v1 <", "a r1 wait k = 2", "b r2 read k =",
                 final={"k": "read v1"})

    def test_what_was_lost_was_not_seen(self):
        lines = "a r1 write k v1 <", "b r2 read k = v1"
        self.good(*lines, "loss r1 0", "c r1 blind k v2", final={"k": "read v1 v2"})
        self.bad("v1 is there again", *lines, "c r1 blind k v2", final={"k": "read v1 v2"})
        self.bad("v1 is there again", *lines, "loss r1 1.7", "c r1 blind k v2", final={"k": "read v1 v2"})
        lines = "a r1 sadd s e = 1", "b r2 members s = e"
        self.good(*lines, "loss r1 0", "c r1 srem s e = 0", final={"s": "members e"})
        self.bad("e is there again", *lines, "loss r1 1.7", "c r1 srem s e = 1", final={"s": "members e"})

    def test_what_was_lost_does_not_excuse_others(self):
        self.bad("v9", "a r1 write k v1 <", "loss r1 0", final={"k": "read v9"})
        self.bad("k differs", "a r1 write k v1 <", "loss r1 0", final={"k": {"r3": "read v1", "": "read"}})
        self.bad("its write had failed", "a r1 write k v1 < !", "loss r1 0", final={"k": "read v1"})


class Convergence(Test):
    def test_digests(self):
        self.bad("have not converged", "a r1 add n 1 = 1", final={"n": "get 1"}, digests={"r2": "other"})

    def test_regions_differ(self):
        lines = "a r1 write k v1 < ?",
        self.bad("k differs", *lines, final={"k": {"r2": "read", "": "read v1"}})
        self.bad("n differs", "a r1 add n 1 ?", final={"n": {"r3": "get 1", "": "get 0"}})
        self.bad("s differs", "a r1 sadd s e ?", final={"s": {"r3": "members e", "": "members"}})
        self.bad("l differs", "a r1 ladd l e = 1 e ?", final={"l": {"r3": "ledger 1 e", "": "ledger 0"}})


def lines_of(path):
    with open(path, "rb") as file:
        return file.read().split(b"\n")[:-1]


class Files(unittest.TestCase):
    """A file that is not what a run has written is an error."""

    def setUp(self):
        self.records = [parse("a r1 write k v1 <", 1, 2), parse("a r1 add n 5 = 5", 3, 4),
                        *endings({"k": "read v1", "n": "get 5"}, 10, {})]

    def damaged(self, words, records):
        with self.assertRaisesRegex(Damaged, words):
            judge(records)

    def change(self, words, change):
        """Damaged after `change(bytes)`, without a new seal."""
        with History(self.records) as path:
            with open(path, "rb") as file:
                data = file.read()
            with open(path, "wb") as file:
                file.write(change(data))
            with self.assertRaisesRegex(Damaged, words):
                read_history(path)

    def test_as_it_was(self):
        self.assertEqual(judge(self.records), [])

    def test_any_byte_changed(self):
        with History(self.records) as path:
            with open(path, "rb") as file:
                data = file.read()
            for at in range(0, len(data), 7):
                with open(path, "wb") as file:
                    file.write(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
                with self.assertRaises(Damaged, msg=f"byte {at}"):
                    read_history(path)

    def test_cut_short(self):
        self.change("not whole", lambda data: data[:-1])
        self.change("no seal", lambda data: b"\n".join(data.split(b"\n")[:-3]) + b"\n")
        self.change("not whole", lambda data: b"")

    def test_line_taken_out(self):
        self.change("lines are missing", lambda data: b"\n".join(data.split(b"\n")[:2] + data.split(b"\n")[3:]))

    def test_answers_that_were_changed_and_sealed_again(self):
        for field, value in (("by", 4), ("reply", 6)):
            self.records[1][field] = value
            self.assertTrue(judge(self.records), (field, value))
            self.setUp()
        del self.records[1]
        self.assertTrue(judge(self.records))

    def test_fields(self):
        for field, value in (("begin", 9), ("begin", -1), ("begin", "1"), ("end", None), ("outcome", "perhaps"),
                             ("region", "r9"), ("session", 3), ("key", None), ("value", 7), ("blind", 0),
                             ("base", "v1"), ("reply", 5), ("reply", []), ("reply", [[1]]), ("op", "guess")):
            self.setUp()
            self.records[0][field] = value
            self.damaged("line 2", self.records)
        for by in 0, -5, True, "5":
            self.setUp()
            self.records[1]["by"] = by
            self.damaged("line 3", self.records)

    def test_replies(self):
        for reply in "5", True, None, [5], 5.0:
            self.setUp()
            self.records[1]["reply"] = reply
            self.damaged("line 3: a reply", self.records)

    def test_field_too_few_or_many(self):
        self.records[0]["more"] = 1
        self.damaged("the fields of write", self.records)
        del self.records[0]["more"], self.records[0]["key"]
        self.damaged("the fields of write", self.records)

    def test_other_lines(self):
        self.damaged("no type", [{"type": "rumour"}])
        for record in ["op"], 3, None, {}:
            self.damaged("no record", [record])

    def test_a_loss_that_cannot_be(self):
        for region, since, begin in ("r9", 1, 2), ("r1", 3, 2), ("r1", None, 2), ("r1", 1, "2"):
            self.damaged("no loss", [{"type": "loss", "region": region, "since": since, "begin": begin}])

    def test_session_at_two_places_at_a_time(self):
        self.records[1]["begin"] = 1.5
        self.damaged("had not yet ended", self.records)

    def test_value_written_twice(self):
        self.records.insert(1, parse("b r2 write k v1 <", 2, 3))
        self.damaged("written before", self.records)

    def test_token_from_nowhere(self):
        self.damaged("nobody had taken", [parse("b r2 after t", 2, 3), *self.records])

    def test_wait_without_a_write(self):
        self.damaged("WAIT without", [parse("b r2 wait k = 2", 2, 3), *self.records])

    def test_nothing_in_it(self):
        self.damaged("proves nothing", endings({}, 10, {}))

    def test_no_end(self):
        self.damaged("no digest of r1, r2, r3", self.records[:2])
        self.damaged("no digest of r3", self.records[:-1])

    def test_key_that_was_not_read_at_the_end(self):
        self.damaged("n was not read at the end in r1", [
            *self.records[:2], *endings({"k": "read v1"}, 10, {})])

    def test_no_json(self):
        with History([]) as path:
            first = lines_of(path)[0]
            with open(path, "wb") as file:
                file.write(first + b"\n" + b"[" * 100000 + b"\n")
            with self.assertRaises(Damaged):
                read_history(path)

    def test_another_version(self):
        history.VERSION, version = 99, history.VERSION
        with History(self.records) as path:
            history.VERSION = version
            with self.assertRaisesRegex(Damaged, "line 1"):
                read_history(path)

    def test_told_as_it_is_on_the_wire(self):
        for value in "a", "r1.0/3.17":
            self.assertEqual(bare(padded(value)), value)
        self.assertNotEqual(bare(padded("r1.0/3.17") + "~"), "r1.0/3.17")
        self.assertNotEqual(bare(padded("r1.0/3.17")[:-1]), "r1.0/3.17")

    def test_records_are_json_lines(self):
        with History(self.records) as path:
            self.assertTrue(all(isinstance(json.loads(line), dict) for line in lines_of(path)))


if __name__ == "__main__":
    unittest.main(verbosity=1)
