"""The record of a run: what every client asked, what it was answered, and when. JSON lines, sealed at the end.

The first line says what was run, the last one seals the file: how many lines stand before it, and the SHA-256 of their
bytes. A file that was cut short, or in which a byte was changed, is an error (`Damaged`), never a pass.

    {"type": "run", "version": 1, "seed": 7, "regions": ["r1", "r2", "r3"]}
    {"type": "op", "session": "r1.0/3", "region": "r1", "op": "add", "key": "n:1", "by": 4,
     "begin": 1.204, "end": 1.371, "outcome": "ok", "reply": 12}
    {"type": "fault", "begin": 2.0, "what": "kill r2"}
    {"type": "loss", "region": "r3", "since": 1.1, "begin": 2.4}
    {"type": "final", "region": "r1", "digest": "...", "vector": "..."}
    {"type": "end", "lines": 3, "sha256": "..."}

Times are seconds on one monotonic clock, that of the machine on which all clients run, and no two are the same.
`outcome` is

    ok       the answer came, and is in `reply`
    failed   an error came: the request had no effect
    unknown  no answer came, or an error that leaves it open: it had an effect or not, at any time after `begin`

A loss is a region that was set back: of what it had acknowledged before `begin`, when its old process was already dead,
it keeps for sure what was answered before `since`: that is in the backup which it was restored from; 0 is an empty disk.
The rest may be gone if no other region had it.

A session is one client's run of requests in one region, one after another. It goes on over lost connections, for what a
region has acknowledged it keeps. A client that moves to another region begins a new session there, which knows of the
old one only what `after` brings. What clients do:

    op        fields besides             reply
    read      key                        [values, ...]: the siblings; several lists, if one value was written in several
                                         places by each transaction: all were read in one transaction
    write     key, value, base           what `read` would have, read in the same transaction. `base`: values that are
              value null: a deletion     replaced whatever the reply (SIBLINGS RESOLVE with the context of a read), or
                                         null: all that its region has
              blind: true                null: nothing was read, and what was replaced is not known
    get       key                        the counter
    add       key, by (> 0)              the counter, after it
    members   key                        [elements, ...]
    sadd      key, element               how many were added
    srem      key, element               how many were removed
    ledger    key                        [[elements, ...], count]: a set and a counter, of which each transaction adds
    ladd      key, element                 one element to the one and 1 to the other
    token     name                       SESSION TOKEN: all that the session knows, under this name
    after     name                       SESSION AFTER: from here on the session knows that too
    wait      key, count                 WAIT, right after the session's write to `key`: how many other regions have it
    all       -                          the region is known to have converged: the session knows everything

Values and elements are strings that are written once: whoever reads one knows which request wrote it. Only elements may
be added again."""

import hashlib
import json
import threading
import time

VERSION = 1
OUTCOMES = ("ok", "failed", "unknown")


class Damaged(Exception):
    """The file is not a whole history."""


class Recorder:
    """Appends lines from many threads; requests are written when they end, so begin times are not in order."""

    def __init__(self, path, seed, regions):
        self.file = open(path, "wb")
        self.lock = threading.Lock()
        self.lines, self.sum = 0, hashlib.sha256()
        self.zero, self.last_us = time.monotonic(), 0
        self.lives = dict.fromkeys(regions, 0)  # how often each was set back
        self.put({"type": "run", "version": VERSION, "seed": seed, "regions": regions})

    def now(self):
        """The time, never the same twice: what was before what is never in doubt."""
        with self.lock:
            self.last_us = max(int((time.monotonic() - self.zero) * 1e6), self.last_us + 1)
            return self.last_us / 1e6

    def put(self, record):
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self.lock:
            self.file.write(line)
            self.sum.update(line)
            self.lines += 1

    def loss(self, region, since):
        """A region whose process has just ended is set back; from here on no session of it goes on."""
        self.lives[region] += 1
        self.put({"type": "loss", "region": region, "since": since, "begin": self.now()})

    def seal(self):
        self.put_seal({"type": "end", "lines": self.lines, "sha256": self.sum.hexdigest()})
        self.file.close()

    def put_seal(self, record):
        self.file.write(json.dumps(record).encode() + b"\n")


# -- reading: everything is looked at, nothing is guessed ------------------------------------------------------------

def _is_time(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value):
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _is_copies(value):
    return isinstance(value, list) and bool(value) and all(_is_texts(v) for v in value)


def _is_ledger(value):
    return isinstance(value, list) and len(value) == 2 and _is_texts(value[0]) and _is_count(value[1])


def _is_text(value):
    return isinstance(value, str)


def _is_any(value):
    return True


# op: ({field: check}, check of the reply when the outcome is ok)
SHAPES = {
    "read": ({"key": _is_text}, _is_copies),
    "write": ({"key": _is_text, "value": lambda v: v is None or _is_text(v),
               "base": lambda v: v is None or _is_texts(v), "blind": lambda v: isinstance(v, bool)}, _is_any),
    "get": ({"key": _is_text}, _is_count),
    "add": ({"key": _is_text, "by": lambda v: _is_count(v) and v > 0}, _is_count),
    "members": ({"key": _is_text}, _is_texts),
    "sadd": ({"key": _is_text, "element": _is_text}, _is_count),
    "srem": ({"key": _is_text, "element": _is_text}, _is_count),
    "ledger": ({"key": _is_text}, _is_ledger),
    "ladd": ({"key": _is_text, "element": _is_text}, _is_ledger),
    "token": ({"name": _is_text}, _is_any),
    "after": ({"name": _is_text}, _is_any),
    "wait": ({"key": _is_text}, _is_count),
    "all": ({}, _is_any),
}
OP_FIELDS = {"type", "session", "region", "op", "begin", "end", "outcome", "reply"}


def _check_write(record):
    if record["base"] is None and not record["blind"] and record["outcome"] == "ok" and not _is_copies(record["reply"]):
        return "a write's reply has to be what it replaced"
    if record["blind"] and record["base"] is not None:
        return "a blind write has no base"
    return None


def _wrong(record, regions):
    """Why a line is no op of a history, or None."""
    fields, is_reply = SHAPES.get(record.get("op"), (None, None))
    if fields is None:
        return f"there is no op {record.get('op')!r}"
    if set(record) != OP_FIELDS | set(fields):
        return f"the fields of {record['op']} are {sorted(OP_FIELDS | set(fields))}"
    for field, is_right in fields.items():
        if not is_right(record[field]):
            return f"{field} is {record[field]!r}"
    if not _is_text(record["session"]) or record["region"] not in regions:
        return "no such session or region"
    if not _is_time(record["begin"]) or not _is_time(record["end"]) or record["end"] < record["begin"]:
        return "its times are none"
    if record["outcome"] not in OUTCOMES:
        return f"no outcome {record['outcome']!r}"
    if record["outcome"] == "ok" and not is_reply(record["reply"]):
        return f"a reply {record['reply']!r}"
    return _check_write(record) if record["op"] == "write" else None


def _parse(line, number):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"line {number} is no JSON: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        raise Damaged(f"line {number} is no record")
    return record


def read_history(path):
    """(run, ops, finals, losses) of a sealed file; every record gets its line `number`. Raises Damaged, OSError."""
    with open(path, "rb") as file:
        data = file.read()
    if not data.endswith(b"\n"):
        raise Damaged("the last line is not whole")
    lines = data[:-1].split(b"\n")
    seal = _parse(lines[-1], len(lines))
    if seal.get("type") != "end" or seal.get("lines") != len(lines) - 1:
        raise Damaged("there is no seal at the end, or lines are missing")
    if seal.get("sha256") != hashlib.sha256(b"".join(line + b"\n" for line in lines[:-1])).hexdigest():
        raise Damaged("the seal does not fit: the file was changed")
    run, ops, finals, losses, last = None, [], [], [], {}
    for number, line in enumerate(lines[:-1], 1):
        record = _parse(line, number)
        record["number"] = number
        if number == 1:
            run = record
            if run["type"] != "run" or run.get("version") != VERSION or not _is_texts(run.get("regions")):
                raise Damaged("line 1 does not say what was run")
        elif record["type"] == "op":
            del record["number"]
            why = _wrong(record, run["regions"])
            if not why and record["begin"] <= last.get(record["session"], -1):
                why = "its session had not yet ended what it did before"
            if why:
                raise Damaged(f"line {number}: {why}")
            last[record["session"]] = record["end"]
            record["number"] = number
            ops.append(record)
        elif record["type"] == "final":
            if record.get("region") not in run["regions"] or not _is_text(record.get("digest")) or \
                    not _is_text(record.get("vector")):
                raise Damaged(f"line {number}: no digest of a region")
            finals.append(record)
        elif record["type"] == "loss":
            if record.get("region") not in run["regions"] or not _is_time(record.get("begin")) or \
                    not _is_time(record.get("since")) or record["since"] > record["begin"]:
                raise Damaged(f"line {number}: no loss of a region")
            losses.append(record)
        elif record["type"] != "fault":
            raise Damaged(f"line {number}: no type {record['type']!r}")
    return run, ops, finals, losses
