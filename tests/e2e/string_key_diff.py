#!/usr/bin/python3
"""Strings, keys and transactions against Debian's redis-server: the same random commands to both, in RESP2 and RESP3;
every reply must be the same, type and bytes.

    string_key_diff.py [--seed N] [--commands N]

What has no order in Redis is sorted first; a random key is checked for being there, a scan for what it returns in the
end. Deadlines lie years apart, so that none passes meanwhile and the two clocks decide nothing: a relative one may
differ by what passed between the two servers, an absolute one may not differ at all, and seconds must be the rounded
milliseconds.

Not asked, since skerry differs by design: sums of floats that are not exact (Redis rounds to a text after each
INCRBYFLOAT, skerry adds the increments up); how long a string may be; a watched set that is given a member that it has
(skerry writes it anew, which is a change); deadlines above 2^63 - 1000 ms, where Redis' rounding overflows."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import diff  # noqa: E402
from diff import FLOATS, INT64, NOT_FLOATS, NOT_INTEGERS, NUMBERS, PATTERNS, UGLY, WAIT_S  # noqa: E402

STRINGS, OTHERS = [b"a", b"b", b"c1", b"k\0\xff", b"", b"x" * 300], [b"hash", b"set", b"none"]
FLOAT_KEYS = [b"f1", b"f2"]  # the only ones with fractions: their sums are exact
MOVED = STRINGS + OTHERS
KEYS = MOVED + FLOAT_KEYS
TIMES = {b"TTL": 1, b"PTTL": 1000, b"EXPIRETIME": 1, b"PEXPIRETIME": 1000}  # units in a second
FAR_S, APART_S = 4 * 10**9, 10**4  # absolute deadlines begin here; deadlines are this far from each other
UNKNOWN = [b"NOSUCH", b"", b"get ", b"g\0t", b"\r\n", b"n" * 200, b"'", b"\xff", b"a\r\nb\nc"]
NAMES = b"""APPEND DECR DECRBY GET GETDEL GETEX GETRANGE GETSET INCR INCRBY INCRBYFLOAT MGET MSET MSETNX PSETEX SET SETEX
    SETNX SETRANGE STRLEN SUBSTR COPY DEL EXISTS EXPIRE EXPIREAT EXPIRETIME KEYS PERSIST PEXPIRE PEXPIREAT PEXPIRETIME
    PTTL RANDOMKEY RENAME RENAMENX SCAN TOUCH TTL TYPE UNLINK DBSIZE MULTI EXEC DISCARD WATCH UNWATCH""".split()


class Maker(diff.Maker):
    keys = KEYS

    def __init__(self, rng):
        super().__init__(rng)
        self.used, self.absolute_ms = set(), set()

    def string(self):
        return self.rng.choice(STRINGS * 4 + OTHERS)

    def moved(self):
        return self.rng.choice(MOVED)

    def any(self):
        return self.rng.choice(KEYS)

    # -- times

    def far(self):
        """Seconds, such as no deadline of this run has."""
        while True:
            number = self.rng.randrange(1, 90000)
            if number not in self.used:
                self.used.add(number)
                return number * APART_S

    def relative(self, unit):
        if self.rng.random() < 0.8:
            return b"%d" % (self.far() * unit)
        return self.rng.choice([b"0", b"-1", b"-100000"] + INT64 + NOT_INTEGERS)

    def absolute(self, unit):
        chance = self.rng.random()
        if chance < 0.7:
            ms = (FAR_S + self.far()) * 1000 + (self.rng.choice([0, 1, 499, 500, 501, 999]) if unit == 1000 else 0)
            self.absolute_ms.add(ms)
            return b"%d" % (ms if unit == 1000 else ms // 1000)
        if chance < 0.9:
            return self.rng.choice([b"0", b"1", b"-1", b"1000", b"1000000000", b"-9223372036854775808"])
        return self.rng.choice(NOT_INTEGERS + [b"9223372036854776", b"-9223372036854776"] if unit == 1 else NOT_INTEGERS)

    def expire(self):
        name, unit, absolute = self.rng.choice([(b"EXPIRE", 1, False), (b"PEXPIRE", 1000, False), (b"EXPIREAT", 1, True),
                                                (b"PEXPIREAT", 1000, True)])
        when = self.absolute(unit) if absolute else self.relative(unit)
        options = [self.rng.choice([b"NX", b"XX", b"GT", b"LT", b"gt", b"lt", b"nx", b"xx"])
                   for _ in range(self.rng.choice([0, 0, 1, 1, 1, 2, 3]))]
        if self.rng.random() < 0.05:
            options.append(self.rng.choice([b"", b"X", b"PERSIST", b"\r\n", b"\xff"]))
        return [name, self.any(), when, *options]

    def expire_option(self):
        name, unit, absolute = self.rng.choice([(b"EX", 1, False), (b"PX", 1000, False), (b"EXAT", 1, True),
                                                (b"pxat", 1000, True)])
        return [name, self.absolute(unit) if absolute else self.relative(unit)]

    # -- commands

    def set(self):
        words = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2, 2, 3])):
            words += self.rng.choice([[b"NX"], [b"XX"], [b"GET"], [b"KEEPTTL"], [b"get"], self.expire_option(),
                                      self.expire_option(), [self.rng.choice([b"EX", b"PERSIST", b"", b"FOO"])]])
        return [b"SET", self.string(), self.value(), *words]

    def getex(self):
        words = self.rng.choice([[], [b"PERSIST"], self.expire_option(), self.expire_option(),
                                 self.expire_option() + [b"PERSIST"], self.expire_option() + self.expire_option(),
                                 [b"PERSIST", b"persist"], [b"KEEPTTL"], [b"EX"], [b"NX"], [b"GET"]])
        return [b"GETEX", self.string(), *words]

    def float_command(self):
        key, r = self.rng.choice(FLOAT_KEYS), self.rng
        return r.choice([[b"SET", key, r.choice(FLOATS)], [b"GETSET", key, r.choice(FLOATS)], [b"INCR", key],
                         [b"INCRBYFLOAT", key, r.choice(FLOATS)], [b"INCRBYFLOAT", key, r.choice(FLOATS)],
                         [b"INCRBYFLOAT", key, r.choice(NOT_FLOATS)], [b"DECRBY", key, b"7"], [b"GETDEL", key]])

    def range(self):
        return [self.rng.choice([b"0", b"1", b"2", b"5", b"-1", b"-2", b"-3", b"100", b"-100", b"x"] + INT64)
                for _ in range(2)]

    def pairs(self):
        return [word for _ in range(self.rng.randint(1, 4)) for word in (self.string(), self.value())]

    def copy(self):
        words = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            words += self.rng.choice([[b"REPLACE"], [b"replace"], [b"DB", b"0"],
                                      [b"DB", self.rng.choice([b"1", b"-1", b"x"] + INT64)], [b"DB"], [b"FOO"]])
        return [b"COPY", self.moved(), self.moved(), *words]

    def scan(self):
        return [b"SCAN", self.rng.choice([b"0"] * 6 + [b"x", b" 0", b"0 ", b"", b"99999999999999999999"]),
                *self.rng.choice([self.scan_options(), [b"TYPE", self.rng.choice([b"string", b"hash", b"SET", b"x"])]])]

    def command(self):
        r = self.rng
        return r.choice([
            self.set, self.set, self.set, self.getex, self.getex, self.float_command, self.expire, self.expire, self.copy,
            lambda: [b"GET", self.any()], lambda: [b"MGET", *self.some(KEYS)], lambda: [b"STRLEN", self.any()],
            lambda: [r.choice([b"GETRANGE", b"SUBSTR"]), self.any(), *self.range()],
            lambda: [b"SETRANGE", self.string(), r.choice([b"0", b"1", b"5", b"300", b"-1", b"x", INT64[0]]),
                     self.value()],
            lambda: [b"APPEND", self.string(), self.value()], lambda: [b"SETNX", self.string(), self.value()],
            lambda: [b"SETEX", self.string(), self.relative(1), self.value()],
            lambda: [b"PSETEX", self.string(), self.relative(1000), self.value()],
            lambda: [b"GETSET", self.string(), self.value()], lambda: [b"GETDEL", self.string()],
            lambda: [b"MSET", *self.pairs()], lambda: [b"MSETNX", *self.pairs()],
            lambda: [r.choice([b"INCR", b"DECR"]), self.string()],
            lambda: [r.choice([b"INCRBY", b"DECRBY"]), self.string(), self.integer()],
            lambda: [b"SET", self.string(), r.choice(NUMBERS + INT64)],
            lambda: [b"INCRBYFLOAT", self.string(), r.choice([b"3", b"-7", b"1e3"] + NOT_FLOATS)],
            lambda: [r.choice([b"DEL", b"UNLINK"]), *self.some(KEYS, 3)],
            lambda: [r.choice([b"EXISTS", b"TOUCH"]), *self.some(KEYS)], lambda: [b"TYPE", self.any()],
            lambda: [r.choice(sorted(TIMES)), self.any()], lambda: [r.choice(sorted(TIMES)), self.any()],
            lambda: [b"PERSIST", self.any()], lambda: [r.choice([b"RENAME", b"RENAMENX"]), self.moved(), self.moved()],
            self.scan, lambda: [b"KEYS", r.choice(PATTERNS)], lambda: [b"RANDOMKEY"],
            lambda: [b"HSET", r.choice(MOVED), b"f", b"1"], lambda: [b"SADD", r.choice(MOVED), b"m", b"n"],
            lambda: [b"WATCH", *self.some(KEYS, 3)], lambda: [b"WATCH", *self.some(KEYS, 3)], lambda: [b"MULTI"],
            lambda: [r.choice(UNKNOWN), *self.some(UGLY)] if r.random() < 0.5 else [r.choice(UNKNOWN)],
            lambda: r.choice([[b"PING"], [b"PING", b"x"], [b"ECHO", b"x"], [b"SELECT", self.integer()], [b"UNWATCH"]]),
        ])()

    def simple(self):
        """A command that may stand anywhere, with a reply that needs no second look."""
        return self.rng.choice([[b"SET", self.string(), self.value()], [b"GET", self.string()], [b"INCR", self.string()],
                                [b"DEL", self.moved()], [b"APPEND", self.string(), b""], [b"SETNX", self.string(), b"1"],
                                [b"PERSIST", self.moved()], [b"GETEX", self.string(), b"PERSIST"], [b"MULTI"],
                                [b"RENAME", self.moved(), self.moved()], [b"SETRANGE", self.string(), b"0", b""],
                                [b"MSETNX", self.string(), b"1", self.string(), b"2"], self.expire(), self.copy(),
                                [b"HSET", b"hash", b"f", self.value()], [b"SADD", b"set", b"%d" % self.far()],
                                [b"SREM", b"set", b"m"], [b"SELECT", b"0"], [b"INCRBY", self.string(), b"0"],
                                [b"TOUCH", self.moved()]])

    def block(self):
        """What may stand between MULTI and the end, in an order of its own."""
        odd = [[b"MULTI"], [b"EXEC"], [b"DISCARD"], [b"WATCH", b"a"], [b"UNWATCH"], [b"NOSUCH", b"x"], [b"GET"],
               [b"EXEC", b"x"], [b"MULTI", b"x"], [b"DISCARD", b"x"], [b"WATCH"], [b"SET", b"a", b"b", b"FOO"]]
        return [self.simple() if self.rng.random() < 0.7 else self.rng.choice(odd)
                for _ in range(self.rng.randint(0, 6))]


class Comparison(diff.Comparison):
    alone = frozenset([b"SCAN", b"RANDOMKEY", b"WATCH", b"MULTI"])

    def normal(self, args, reply):
        kind, value = reply
        if kind == "~" or kind == "*" and args[0].upper() == b"KEYS":
            return kind, sorted(value)
        if kind == "-" and value.startswith(b"ERR string exceeds maximum allowed size"):
            return kind, value.split(b" (")[0]  # the setting has another name
        if kind == "-" and value.startswith(b"ERR Unsupported option"):
            return kind, value[:100]  # Redis repeats whatever it was given, skerry its beginning
        return reply

    def same(self, args, ours, theirs):
        unit = TIMES.get(args[0].upper())
        if not unit or ours[0] != ":" or theirs[0] != ":" or int(ours[1]) < 0 or int(theirs[1]) < 0:
            return super().same(args, ours, theirs)
        ours_at, theirs_at = int(ours[1]), int(theirs[1])
        if abs(ours_at - theirs_at) > WAIT_S * unit:
            self.differ(args, ours, theirs)
        if args[0].upper() == b"PEXPIRETIME" and theirs_at in self.maker.absolute_ms and ours_at != theirs_at:
            self.differ(args, ours, theirs)

    def one(self, proto, args):
        name = args[0].upper()
        self.history.append((proto, args))
        self.asked += 1
        if name == b"SCAN" and len(args) > 1:
            self.scan(proto, args, at=1)
        elif name == b"RANDOMKEY" and len(args) == 1:
            self.random_key(proto, args)
        elif name == b"WATCH" and len(args) > 1:
            self.watch(proto, args)
        elif name == b"MULTI" and len(args) == 1:
            self.block(proto)
        else:
            self.same(args, *self.both(proto, args))

    def random_key(self, proto, args):
        ours, theirs = self.both(proto, args)
        there = [key[1] for key in self.redis.ask(2, [b"KEYS", b"*"])[1]]
        if (ours[1] is None) != (not there) or there and ours[1] not in there:
            self.differ(args, ours, there, "not a key")
        if ours[0] != theirs[0]:
            self.differ(args, ours, theirs)

    def watch(self, proto, args):
        """Something may happen to the watched keys, by this connection or another, before EXEC. What has expired is removed
        from both first: in skerry that would break the watch."""
        self.pipeline(proto, [[b"GETEX", key] for key in args[1:]])
        self.same(args, *self.both(proto, args))
        for _ in range(self.rng.randint(0, 3)):
            command = self.maker.simple()
            if command[0] != b"MULTI":
                self.pipeline(self.rng.choice([2, 3]), [command])
        self.pipeline(proto, [[b"MULTI"], [b"SET", b"a", b"watched"], [b"EXEC"]])

    def block(self, proto):
        self.pipeline(proto, [[b"MULTI"], *self.maker.block()])
        self.pipeline(proto, [self.rng.choice([[b"EXEC"], [b"DISCARD"]])])
        self.pipeline(proto, [[b"DISCARD"], [b"UNWATCH"]])  # whatever was left open

    def clean(self):
        self.pipeline(2, [[b"DEL", *KEYS], [b"DBSIZE"], [b"HSET", b"hash", b"f", b"1"], [b"SADD", b"set", b"m"]])

    def everything(self):
        for key in KEYS:
            self.pipeline(3, [[name, key] for name in (b"TYPE", b"GET", b"STRLEN", b"HGETALL", b"SMEMBERS", *TIMES)])
            self.rounding(key)

    def rounding(self, key):
        """Seconds are the rounded milliseconds: of the deadline on both, of what is left within one moment of skerry."""
        for server in (self.skerry, self.redis):
            ms, seconds = (int(server.ask(2, [name, key])[1]) for name in (b"PEXPIRETIME", b"EXPIRETIME"))
            if ms >= 0 and seconds != (ms + 500) // 1000:
                self.differ([b"EXPIRETIME", key], seconds, ms, f"not rounded by {server.name}")
        for args in ([b"MULTI"], [b"PTTL", key], [b"TTL", key]):
            self.skerry.ask(2, args)
        ms, seconds = (int(reply[1]) for reply in self.skerry.ask(2, [b"EXEC"])[1])
        if ms >= 0 and seconds != (ms + 500) // 1000:
            self.differ([b"TTL", key], seconds, ms, "not rounded")


def main():
    return diff.run(__doc__, Maker, Comparison, NAMES)


if __name__ == "__main__":
    sys.exit(main())
