#!/usr/bin/python3
"""Judges a recorded run by the record alone: `check.py HISTORY`. Shares no code with the store.

What is written in history.py was observed; this asks whether a store that keeps skerry's promises can have answered so.
Every request is given what its session *knows* when it begins: which requests, of any session, its region must have.
A session knows its own acknowledged requests; what it reads teaches it of the writer, and of all that the writer knew
(causal delivery); SESSION AFTER teaches what the token's session knew; a WAIT answered for all regions teaches all;
and after convergence the last reads know everything. One rule for each type then covers read-your-writes, monotonic
reads, causality, WAIT, and, with everything known, lost updates:

  registers  (strings, hash fields, groups that a transaction writes together) Values read were written, by then, by
             a request that did not fail. A known value is there, unless a write that saw it replaced it and is itself
             there, or replaced likewise (1). No value is there that a known write replaced (2). All places that
             a transaction writes show the same (3).
  counters   known increments <= total <= all begun that did not fail; never below a known earlier answer.
  sets       A known add is there, unless a removal could have seen it. An element is not there if every add of it was
             surely seen by a known removal. A reply of SADD and SREM says whether it was there before.
  ledgers    A set and a counter that grow in the same transaction are read in one: equally many.
  the end    Each key was read in each region, the same everywhere; digests and vectors are equal.

A region that was set back (restored from a backup, or begun anew on an empty disk) has lost what it had answered since,
where no other region had it: by then another had read it, or a WAIT for all had been answered. Such requests count as
if nobody had answered them, and what its sessions knew ends with its life; those of the next one know what the backup had.
All that was not lost is judged as ever.

A request without an answer may have had its effect at any time after it began. What such a write replaced is unknown;
yet it explains the absence of a value only where it shows itself, or is known to have been replaced, for it cannot have
replaced anything and left no trace. Deletions leave none and explain what they can.

Exit code: 0 all right, 1 the history breaks a promise, 2 the file is no whole history or proves nothing."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from history import Damaged, read_history  # noqa: E402

FOREVER = float("inf")
SHOWN_MAX = 10   # violations that are printed
STORY_MAX = 24   # requests in the story of one
WRITES = ("write", "add", "sadd", "srem", "ladd")
PROVES = ("read", "write", "get", "add", "members", "sadd", "srem", "ledger", "ladd", "token", "after", "wait", "all")


class Knowledge:
    """Acknowledged requests by session, each session up to a position, and single ones that got no answer but showed
    an effect."""

    __slots__ = ("upto", "extra")

    def __init__(self, upto=None, extra=frozenset()):
        self.upto, self.extra = upto or {}, extra

    def __contains__(self, op):
        if op["outcome"] == "ok":
            return op["at"] < self.upto.get(op["session"], 0)
        return op["number"] in self.extra

    def covers(self, other):
        return other.extra <= self.extra and all(self.upto.get(s, 0) >= at for s, at in other.upto.items())

    def join(self, other):
        """The union; neither is changed, and self comes back where it has all."""
        if other is self or self.covers(other):
            return self
        upto = dict(self.upto)
        for session, at in other.upto.items():
            if at > upto.get(session, 0):
                upto[session] = at
        return Knowledge(upto, self.extra | other.extra)

    def plus(self, op):
        """With this one request, which showed its effect, and what its session knew then."""
        if op in self:
            return self
        new = self.join(op["after"] or op["before"])
        if op["outcome"] != "ok":
            return Knowledge(new.upto, new.extra | {op["number"]})
        return Knowledge({**new.upto, op["session"]: max(op["at"] + 1, new.upto.get(op["session"], 0))}, new.extra)


class Violation(Exception):
    """A promise that the history breaks: what, and the value or element that it is about."""

    def __init__(self, what, about=None):
        super().__init__(what)
        self.about = about


def was_there(write, op):
    """Had the region of `op` surely this one when it began, because it had acknowledged it itself?"""
    return write["outcome"] == "ok" and write["region"] == op["region"] and write["end"] <= op["begin"] < write["lost_at"]


def end_of(op):
    """When its effect was there at the latest."""
    return op["end"] if op["outcome"] == "ok" else FOREVER


class Register:
    """All writes to one string, one hash field, or one group of places."""

    def __init__(self):
        self.writes, self.by_value, self.blind = [], {}, []
        self.killers = {}   # value -> writes that are known to have replaced it
        self.vanishing = []  # deletions: nothing shows whether they have arrived

    def add(self, op):
        self.writes.append(op)
        if op["value"] is None:
            self.vanishing.append(op)
        elif self.by_value.setdefault(op["value"], op) is not op:
            raise Damaged(f"line {op['number']}: value {op['value']} was written before: nobody could tell them apart")
        if op["blind"]:
            self.blind.append(op)
        for value in self.seen(op) or ():
            self.killers.setdefault(value, []).append(op)

    @staticmethod
    def seen(op):
        """The values that it replaced, or None where that is not known."""
        if op["base"] is not None:
            return op["base"]
        return op["reply"][0] if op["outcome"] == "ok" and not op["blind"] else None

    def replaced(self, got, until):
        """Values that may be gone at a time when `got` is what shows; None: any may."""
        gone, arrived = set(), [self.by_value[v] for v in got]
        arrived += [op for op in self.vanishing if op["begin"] <= until]
        while arrived:
            op = arrived.pop()
            values = self.seen(op)
            if values is None and op["outcome"] != "ok":
                return None
            if values is None:  # blind: whatever its region had
                values = [w["value"] for w in self.writes if w["begin"] <= op["end"] and w["value"] and w is not op]
            new = [v for v in values if v not in gone and v in self.by_value]
            gone.update(new)
            arrived += [self.by_value[v] for v in new]
        return gone

    def check(self, op, copies, known):
        """(1), (2) and (3) of what `op` read; returns the writers of what was there."""
        got = set(copies[0])
        if any(set(copy) != got or len(copy) != len(got) for copy in copies):
            raise Violation(f"a transaction shows in parts: {copies}")
        for value in got:
            self.check_origin(op, value, known)
        gone = self.replaced(got, op["end"])
        for write in reversed(self.writes):  # the last one tells most: what is lost has perhaps replaced others
            value = write["value"]
            if value is not None and value not in got and write in known and gone is not None and value not in gone:
                raise Violation(f"{value} is not there, and nothing that saw it has replaced it", value)
        return [self.by_value[v] for v in got]

    def check_origin(self, op, value, known):
        write = self.by_value.get(value)
        if write is None or write["begin"] > op["end"]:
            raise Violation(f"{value} was never written here, or only later", value)
        if write["outcome"] == "failed":
            raise Violation(f"{value} is there, and its write had failed", value)
        for killer in self.killers.get(value, ()):
            if killer in known:
                raise Violation(f"{value} is there again: line {killer['number']} replaced it", value)
        for killer in self.blind:
            if killer in known and (write in killer["before"] or was_there(write, killer)) and killer is not write:
                raise Violation(f"{value} is there again: line {killer['number']} wrote over it", value)


class Counter:
    """All increments of one number, and all answers that told it."""

    def __init__(self):
        self.adds, self.answers = [], []

    def check(self, op, total, known, adds=None):
        adds = self.adds if adds is None else adds
        least = sum(a["by"] for a in adds if a in known or a is op)
        most = sum(a["by"] for a in adds if a["outcome"] != "failed" and a["begin"] <= op["end"])
        if not least <= total <= most:
            raise Violation(f"the total is {total}; {least} to {most} were added")
        before = total - (op["by"] if op["op"] == "add" else 0)
        for answer in self.answers:
            if answer in known and before < answer["reply"]:
                raise Violation(f"the total is {total}; line {answer['number']} had told {answer['reply']}")


class Elements:
    """All adds and removals of one set, by element."""

    def __init__(self):
        self.adds, self.removals = {}, {}

    def add(self, op):
        kind = self.removals if op["op"] == "srem" else self.adds
        kind.setdefault(op["element"], []).append(op)

    def check_present(self, op, element, known):
        """`op` saw it."""
        adds = [a for a in self.adds.get(element, ()) if a["begin"] <= op["end"] and a is not op]
        if all(a["outcome"] == "failed" for a in adds):
            raise Violation(f"{element} is there; it was never added, or that failed, or it was later", element)
        removals = [r for r in self.removals.get(element, ()) if r in known and r is not op]
        if removals and all(any(self.surely_saw(r, a) for r in removals) for a in adds if a["outcome"] != "failed"):
            raise Violation(f"{element} is there again: line {removals[-1]['number']} removed it", element)

    def surely_saw(self, removal, add):
        if add in removal["before"] or was_there(add, removal):
            return True
        adds = self.adds[add["element"]]
        return removal["reply"] == 1 and removal["outcome"] == "ok" and \
            all(a is add or a["begin"] > removal["end"] for a in adds)

    def check_absent(self, op, element, known):
        """`op` did not see it."""
        for add in self.adds.get(element, ()):
            if add in known and add is not op and not any(
                    r["begin"] <= op["end"] and end_of(r) >= add["begin"] and r["outcome"] != "failed" and
                    (r["outcome"] == "unknown" or r["reply"] > 0)
                    for r in self.removals.get(element, ()) if r is not op):
                raise Violation(f"{element} is not there; line {add['number']} added it, and no removal can have seen "
                                "that", element)

    def check(self, op, got, known):
        if len(set(got)) != len(got):
            raise Violation(f"an element is there twice: {sorted(got)}")
        there = set(got)
        for element in there:
            self.check_present(op, element, known)
        for element in self.adds:
            if element not in there:
                self.check_absent(op, element, known)

    def writers(self, elements):
        """Of elements that were added once: who reads them knows that add."""
        return [self.adds[e][0] for e in elements if len(self.adds.get(e, ())) == 1]


class Checker:
    def __init__(self, run, ops, finals, losses):
        self.run, self.ops, self.finals = run, ops, finals
        self.losses = sorted(losses, key=lambda loss: loss["begin"])
        self.regions = run["regions"]
        self.registers, self.counters, self.sets = {}, {}, {}
        self.sessions, self.tokens = {}, {}
        self.begun = {}                # region -> what each of its sessions knows: by a WAIT, or by what it was restored from
        self.everything = None         # what is not lost; known once all clients have ended
        self.uncertain = 0             # acknowledged requests that may be lost
        self.last = {}                 # session -> its last request that ended
        self.violations = []
        self.checked = {}
        self.final_sessions = set()
        self.final_reads = {}          # key -> {region: what was read there at the end}
        self.index()

    def index(self):
        """Which requests there are of each key, and their places in their sessions. Lines stand in order of their ends,
        so that within a session they are in its order."""
        positions = {}
        for op in self.ops:
            lives = [loss for loss in self.losses if loss["region"] == op["region"] and loss["begin"] <= op["begin"]]
            if lives:
                op["session"] += f"#{len(lives)}"  # another life of its region
            op["lost_at"] = min((loss["begin"] for loss in self.losses if loss["region"] == op["region"] and
                                 op["begin"] < loss["begin"] and op["end"] > loss["since"]), default=FOREVER)
            session = op["session"]
            op["at"] = positions[session] = positions.get(session, -1) + 1
            op["before"] = op["after"] = None
            kind, key = op["op"], op.get("key")
            if kind == "write":
                self.registers.setdefault(key, Register()).add(op)
            elif kind == "read":
                self.registers.setdefault(key, Register())
            elif kind in ("add", "get"):
                counter = self.counters.setdefault(key, Counter())
                if kind == "add":
                    counter.adds.append(op)
                if op["outcome"] == "ok":
                    counter.answers.append(op)
            elif kind in ("sadd", "srem", "ladd"):
                self.sets.setdefault(key, Elements()).add(op)
            elif kind in ("members", "ledger"):
                self.sets.setdefault(key, Elements())

    # -- one request after another, in the order of time -------------------------------------------------------------

    def check(self):
        """All rules; violations are collected in self.violations as (op or None, text, about)."""
        events = [(op["begin"], 0, op["number"], op) for op in self.ops]
        events += [(op["end"], 1, op["number"], op) for op in self.ops]
        events += [(loss["begin"], 2, loss["number"], loss) for loss in self.losses]
        for _, sort, _, event in sorted(events, key=lambda e: e[:3]):
            if sort == 2:
                self.begun[event["region"]] = self.at(event["region"], event["since"])
            elif sort == 0:
                known = self.sessions.get(event["session"], Knowledge()).join(self.begun.get(event["region"], Knowledge()))
                event["before"] = self.sessions[event["session"]] = known
            elif event["outcome"] == "ok":
                self.end(event)
        self.check_end()
        return not self.violations

    def at(self, region, moment):
        """What a region had at that moment: all that its sessions knew then."""
        last = {}
        for op in self.ops:
            if op["region"] == region and op["after"] and op["end"] <= moment < op["lost_at"]:
                last[op["session"]] = op
        return self.join_of(op["after"] for op in last.values())

    def not_lost(self):
        """What is somewhere for good: what some session knew in a region that was not set back behind that."""
        last = {op["session"]: op for op in self.ops if op["after"] and op["lost_at"] == FOREVER}
        return self.join_of([*(op["after"] for op in last.values()), *self.begun.values()])

    @staticmethod
    def join_of(many):
        known = Knowledge()
        for one in many:
            known = known.join(one)
        return known

    def end(self, op):
        """An answer: it is judged by what was known when the request began, and teaches."""
        known = self.sessions[op["session"]]
        rule = getattr(self, "end_" + op["op"])
        try:
            writers = rule(op, op["before"]) or ()
        except Violation as violation:
            self.violations.append((op, str(violation), violation.about))
            writers = ()
        self.checked[op["op"]] = self.checked.get(op["op"], 0) + 1
        for writer in writers:
            known = known.plus(writer)
        if op["op"] == "after":
            known = known.join(self.tokens[op["name"]])
        elif op["op"] == "all":
            if self.everything is None:
                self.everything = self.not_lost()
                self.uncertain = sum(o["outcome"] == "ok" and o["op"] in WRITES and o not in self.everything
                                     for o in self.ops)
            known = known.join(self.everything)
        known = Knowledge({**known.upto, op["session"]: op["at"] + 1}, known.extra)
        op["after"] = self.sessions[op["session"]] = known
        self.last[op["session"]] = op

    def note_final(self, op, value):
        if op["session"] in self.final_sessions:
            self.final_reads.setdefault(op["key"], {}).setdefault(op["region"], []).append(value)

    def end_read(self, op, known):
        self.note_final(op, sorted(op["reply"][0]))
        return self.registers[op["key"]].check(op, op["reply"], known)

    def end_write(self, op, known):
        if op["base"] is None and not op["blind"]:
            return self.registers[op["key"]].check(op, op["reply"], known)
        return []

    def end_get(self, op, known):
        self.note_final(op, op["reply"])
        self.counters[op["key"]].check(op, op["reply"], known)

    def end_add(self, op, known):
        self.counters[op["key"]].check(op, op["reply"], known)

    def end_members(self, op, known):
        self.note_final(op, sorted(op["reply"]))
        elements = self.sets[op["key"]]
        elements.check(op, op["reply"], known)
        return elements.writers(op["reply"])

    def end_sadd(self, op, known):
        if op["reply"] not in (0, 1):
            raise Violation(f"SADD of one element added {op['reply']}", op["element"])
        if op["reply"] == 0:
            self.sets[op["key"]].check_present(op, op["element"], known)
        else:
            self.sets[op["key"]].check_absent(op, op["element"], known)

    def end_srem(self, op, known):
        if op["reply"] not in (0, 1):
            raise Violation(f"SREM of one element removed {op['reply']}", op["element"])
        if op["reply"] == 1:
            self.sets[op["key"]].check_present(op, op["element"], known)
        else:
            self.sets[op["key"]].check_absent(op, op["element"], known)

    def end_ledger(self, op, known):
        self.note_final(op, sorted(op["reply"][0]))
        members, count = op["reply"]
        if len(members) != count:
            raise Violation(f"a transaction shows in parts: {len(members)} elements and a count of {count}")
        elements = self.sets[op["key"]]
        elements.check(op, members, known)
        return elements.writers(members)

    def end_ladd(self, op, known):
        members, count = op["reply"]
        if op["element"] not in members:
            raise Violation(f"{op['element']} was added, and the same transaction did not see it", op["element"])
        if len(members) != count:
            raise Violation(f"a transaction shows in parts: {len(members)} elements and a count of {count}")
        elements = self.sets[op["key"]]
        others = [e for e in members if e != op["element"]]
        elements.check(op, others, known)
        return elements.writers(others)

    def end_token(self, op, known):
        self.tokens[op["name"]] = known

    def end_after(self, op, known):
        if op["name"] not in self.tokens:
            raise Damaged(f"line {op['number']}: nobody had taken the token {op['name']}")

    def end_wait(self, op, known):
        before = self.last.get(op["session"])
        if not before or before.get("key") != op["key"] or before["at"] != op["at"] - 1:
            raise Damaged(f"line {op['number']}: WAIT without a write of {op['key']} before it")
        if not 0 <= op["reply"] < len(self.regions):
            raise Violation(f"WAIT counts {op['reply']} other regions of {len(self.regions)}")
        if op["reply"] == len(self.regions) - 1:
            for region in self.regions:
                self.learn(region, before, op)

    def learn(self, region, write, wait):
        """A region had the write, unless that was its former life, of which the others may not yet have heard that it ended."""
        if not any(loss["region"] == region and write["begin"] < loss["begin"] <= wait["end"] for loss in self.losses):
            self.begun[region] = self.begun.get(region, Knowledge()).join(write["after"])

    def end_all(self, op, known):
        self.final_sessions.add(op["session"])

    # -- the end -----------------------------------------------------------------------------------------------------

    def check_end(self):
        digests = {f["region"]: (f["digest"], f["vector"]) for f in self.finals}
        missing = [r for r in self.regions if r not in digests]
        if missing:
            raise Damaged(f"no digest of {', '.join(missing)}: the run did not come to its end")
        if len(set(digests.values())) > 1:
            self.violations.append((None, f"the regions have not converged: {digests}", None))
        keys = set(self.registers) | set(self.counters) | set(self.sets)
        if not keys:
            raise Damaged("nothing was asked: this proves nothing")
        for key in sorted(keys):
            reads = self.final_reads.get(key, {})
            missing = [r for r in self.regions if r not in reads]
            if missing:
                raise Damaged(f"{key} was not read at the end in {', '.join(missing)}")
            if any(value != reads[self.regions[0]][0] for values in reads.values() for value in values):
                self.violations.append((None, f"{key} differs: {reads}", None))

    # -- telling -----------------------------------------------------------------------------------------------------

    def story(self, op, about):
        """The requests that led to a violation, in the order of their begin."""
        def mentions(other):
            texts = [other.get("value"), other.get("element"), *(other.get("base") or ())]
            return about in texts or about in str(other["reply"])
        same = [o for o in self.ops if o.get("key") == op["key"] and o["begin"] <= op["end"]]
        told = [o for o in same if about is None or mentions(o) or o is op]
        told.sort(key=lambda o: o["begin"])
        if len(told) > STORY_MAX:
            told = told[:STORY_MAX // 2] + told[-STORY_MAX // 2:]
        return [tell(o) for o in told]

    def report(self):
        for op, text, about in self.violations[:SHOWN_MAX]:
            print(f"BROKEN: {text}" if op is None else f"BROKEN at line {op['number']}, {op['key']}: {text}")
            if op is not None:
                print("\n".join("    " + line for line in self.story(op, about)))
        if len(self.violations) > SHOWN_MAX:
            print(f"... and {len(self.violations) - SHOWN_MAX} more")
        outcomes = {o: sum(op["outcome"] == o for op in self.ops) for o in ("ok", "failed", "unknown")}
        siblings = sum(len(op["reply"][0]) > 1 for op in self.ops if op["op"] == "read" and op["outcome"] == "ok")
        print(f"{len(self.ops)} requests: {outcomes['ok']} answered, {outcomes['failed']} refused, "
              f"{outcomes['unknown']} without an answer; {siblings} reads saw siblings")
        if self.losses:
            print(f"{len(self.losses)} times a region was set back: {self.uncertain} acknowledged writes that nobody else was "
                  "seen to have may be lost")
        print("checked: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.checked.items())))


def tell(op):
    """One request as a line for people."""
    what = {k: v for k, v in op.items() if k in ("key", "value", "base", "by", "element", "name") and v is not None}
    reply = str(op["reply"])
    reply = reply if len(reply) <= 160 else reply[:160] + "..."
    return f"{op['begin']:10.4f} {op['end']:10.4f}  {op['session']:<10} {op['op']:<7} {what} -> {op['outcome']} " \
           f"{reply} (line {op['number']})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("history")
    options = parser.parse_args()
    try:
        checker = Checker(*read_history(options.history))
        good = checker.check()
    except (Damaged, OSError) as error:
        print(f"DAMAGED: {options.history}: {error}")
        return 2
    checker.report()
    print("the history is as promised" if good else f"{len(checker.violations)} promises broken")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
