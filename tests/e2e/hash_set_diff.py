#!/usr/bin/python3
"""Hashes and sets against Debian's redis-server: the same random commands to both, in RESP2 and RESP3; every reply must
be the same, type and bytes.

    hash_set_diff.py [--seed N] [--commands N]

What has no order in Redis is sorted first. Random members are checked for what they must be, a scan for what it returns
in the end; what SPOP took from one server is removed from the other. A difference prints the seed, the commands on the
same keys that led to it, and both replies.

Not asked, since skerry differs by design: sums of floats that are not exact (Redis rounds to a text after each
HINCRBYFLOAT, skerry adds the increments up), and negative counts above 2^20."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import diff  # noqa: E402
from diff import FLOATS, INT64, NOT_FLOATS, NOT_INTEGERS, NUMBERS, UGLY  # noqa: E402

HASHES, SETS, OTHERS = [b"h1", b"h2", b"h\0\xff3"], [b"s1", b"s2", b"s3", b"s\0\1"], [b"str", b"none"]
KEYS = HASHES + SETS + OTHERS
FIELDS = [b"a", b"b", b"c", b"d", b"e", b"n1", b"n2"] + UGLY
FLOAT_FIELDS = [b"f1", b"f2"]  # the only ones with fractions: their sums are exact
UNORDERED = {b"HGETALL", b"HKEYS", b"HVALS", b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF"}
NAMES = b"""HSET HSETNX HMSET HGET HMGET HGETALL HKEYS HVALS HLEN HSTRLEN HEXISTS HDEL HINCRBY HINCRBYFLOAT
    HRANDFIELD HSCAN SADD SREM SISMEMBER SMISMEMBER SMEMBERS SCARD SPOP SRANDMEMBER SMOVE SINTER SINTERSTORE
    SINTERCARD SUNION SUNIONSTORE SDIFF SDIFFSTORE SSCAN""".split()


class Maker(diff.Maker):
    keys = KEYS

    def hash(self):
        return self.key(HASHES + [b"none"])

    def set(self):
        return self.key(SETS + [b"none"])

    def member(self):
        if self.rng.random() < 0.3:
            return b"m%d" % self.rng.randrange(40)
        return self.rng.choice(FIELDS + NUMBERS + INT64)

    def members(self):
        return [self.member() for _ in range(self.rng.randint(1, 6))]

    def pair(self):
        if self.rng.random() < 0.2:
            return [self.rng.choice(FLOAT_FIELDS), self.rng.choice(FLOATS + NOT_FLOATS)]
        return [self.rng.choice(FIELDS), self.value()]

    def pairs(self):
        return [word for _ in range(self.rng.randint(1, 4)) for word in self.pair()]

    def field(self):
        return self.rng.choice(FIELDS + FLOAT_FIELDS)

    def count(self):
        return self.rng.choice([b"0", b"1", b"2", b"3", b"10", b"1000", b"-1", b"-3", b"-20", b"x", b"", b"1.5",
                                b"-9223372036854775808", b"9223372036854775808"])

    def hincrbyfloat(self):
        if self.rng.random() < 0.6:
            return [b"HINCRBYFLOAT", self.hash(), self.rng.choice(FLOAT_FIELDS), self.rng.choice(FLOATS + NOT_FLOATS)]
        return [b"HINCRBYFLOAT", self.hash(), self.rng.choice(FIELDS),
                self.rng.choice([b"3", b"-7", b"1e3"] + NOT_FLOATS)]

    def sintercard(self):
        keys = [self.set() for _ in range(self.rng.randint(1, 3))]
        numkeys = b"%d" % len(keys) if self.rng.random() < 0.9 else self.rng.choice([b"0", b"-1", b"x", b"4", b"1"])
        limits = [[]] * 3 + [[b"LIMIT", n] for n in (b"0", b"1", b"2", b"-1", b"x")] + [[b"LIMIT"], [b"MAX", b"1"]]
        limit = self.rng.choice(limits)
        return [b"SINTERCARD", numkeys, *keys, *limit]

    def hrandfield(self):
        return [b"HRANDFIELD", self.hash(),
                *self.rng.choice([[], [self.count()], [self.count(), b"WITHVALUES"], [self.count(), b"VALUES"],
                                  [self.rng.choice(INT64), b"withvalues"]])]

    def command(self):
        r = self.rng
        return r.choice([
            lambda: [b"HSET", self.hash(), *self.pairs()], lambda: [b"HSET", self.hash(), *self.pairs()],
            lambda: [b"HMSET", self.hash(), *self.pairs()], lambda: [b"HSETNX", self.hash(), *self.pair()],
            lambda: [b"HGET", self.hash(), self.field()], lambda: [b"HGETALL", self.hash()],
            lambda: [b"HMGET", self.hash(), *self.some(FIELDS + FLOAT_FIELDS)], lambda: [b"HKEYS", self.hash()],
            lambda: [b"HVALS", self.hash()], lambda: [b"HLEN", self.hash()],
            lambda: [b"HSTRLEN", self.hash(), self.field()], lambda: [b"HEXISTS", self.hash(), self.field()],
            lambda: [b"HDEL", self.hash(), *self.some(FIELDS + FLOAT_FIELDS, 8)],
            lambda: [b"HINCRBY", self.hash(), r.choice(FIELDS), self.integer()],
            lambda: [b"HINCRBY", self.hash(), r.choice([b"n1", b"n2"] + FLOAT_FIELDS), r.choice(NUMBERS)],
            self.hincrbyfloat, self.hincrbyfloat, self.hrandfield,
            lambda: [b"HSCAN", self.hash(), b"0", *self.scan_options()],
            lambda: [b"HSCAN", self.hash(), r.choice([b"x", b" 0", b"0 ", b"99999999999999999999"])],
            lambda: [b"SADD", self.set(), *self.members()], lambda: [b"SADD", self.set(), *self.members()],
            lambda: [b"SADD", self.set(), *self.members()], lambda: [b"SREM", self.set(), *self.members()],
            lambda: [b"SISMEMBER", self.set(), self.member()], lambda: [b"SMISMEMBER", self.set(), *self.members()],
            lambda: [b"SMEMBERS", self.set()], lambda: [b"SCARD", self.set()],
            lambda: [b"SPOP", self.set(), *r.choice([[], [], [self.count()], [b"1", b"2"]])],
            lambda: [b"SRANDMEMBER", self.set(), *r.choice([[], [self.count()], [b"1", b"2"]])],
            lambda: [b"SMOVE", self.set(), self.set(), self.member()],
            lambda: [r.choice([b"SINTER", b"SUNION", b"SDIFF"]), *[self.set() for _ in range(r.randint(1, 3))]],
            lambda: [r.choice([b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE"]), self.key(SETS),
                     *[self.set() for _ in range(r.randint(1, 3))]],
            self.sintercard,
            lambda: [b"SSCAN", self.set(), b"0", *self.scan_options()],
            lambda: [b"SADD", self.set(), *[b"m%d" % i for i in range(r.choice([20, 600]))]],
            lambda: [b"DEL", r.choice(KEYS)], lambda: [b"TYPE", r.choice(KEYS)], lambda: [b"EXISTS", r.choice(KEYS)],
            lambda: [b"EXPIRE", r.choice(KEYS), b"1000000"], lambda: [b"TTL", r.choice(KEYS)],
            lambda: [b"PERSIST", r.choice(KEYS)], lambda: [b"SET", b"str", self.value()],
        ])()

    def next(self):
        args = super().next()
        if args[0].upper() in (b"SRANDMEMBER", b"HRANDFIELD") and len(args) == 3 and args[2] == b"-9223372036854775807":
            args[2] = b"-2"  # Redis would answer for ever
        return args


class Comparison(diff.Comparison):
    alone = frozenset([b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"HSCAN", b"SSCAN"])

    def normal(self, args, reply):
        """The reply with what has no order put in order; deadlines as there or not."""
        kind, value = reply
        name = args[0].upper()
        if name == b"TTL" and kind == ":" and int(value) > 0:
            return kind, b"some"
        if name not in UNORDERED or kind not in "*~%" or value is None:
            return reply
        if name == b"HGETALL" and kind == "*":
            value = list(zip(value[::2], value[1::2]))
        return kind, sorted(value, key=repr)

    def one(self, proto, args):
        """A command whose reply is not the same each time."""
        self.history.append((proto, args))
        self.asked += 1
        name = args[0].upper()
        if name in (b"HSCAN", b"SSCAN"):
            return self.scan(proto, args, step=2 if name == b"HSCAN" else 1)
        before = self.contents(args[1]) if len(args) > 1 else []
        if name == b"SPOP":
            return self.pop(proto, args, before)
        ours, theirs = self.both(proto, args)
        if ours[0] not in "*~" or theirs[0] not in "*~":
            if ours[0] != theirs[0] or ours[0] != "$" or (ours[1] is None) != (theirs[1] is None):
                self.same(args, ours, theirs)
            elif ours[1] is not None and ours[1] not in [b[0] for b in before]:
                self.differ(args, ours, theirs, "not a member")
            return
        self.members(proto, args, ours, theirs, before)

    def members(self, proto, args, ours, theirs, before):
        if (ours[0], len(ours[1])) != (theirs[0], len(theirs[1])):
            self.differ(args, ours, theirs)
        values = len(args) == 4
        if not values:
            got = [(m[1],) for m in ours[1]]
            before = [b[:1] for b in before]
        elif proto == 3:
            if any((o[0], len(o[1])) != ("*", 2) for o in ours[1]):
                self.differ(args, ours, theirs)
            got = [(o[1][0][1], o[1][1][1]) for o in ours[1]]
        else:
            got = [(f[1], v[1]) for f, v in zip(ours[1][::2], ours[1][1::2])]
        if not set(got) <= set(before):
            self.differ(args, ours, theirs, "not members")
        if int(args[2]) >= 0 and len(set(got)) != len(got):
            self.differ(args, ours, theirs, "twice the same")

    def contents(self, key):
        """Of the hash or set at Redis: (member, value) or (member,)."""
        kind = self.redis.ask(2, [b"TYPE", key])[1]
        if kind == b"set":
            return [(m[1],) for m in self.redis.ask(2, [b"SMEMBERS", key])[1]]
        if kind == b"hash":
            flat = [m[1] for m in self.redis.ask(2, [b"HGETALL", key])[1]]
            return list(zip(flat[::2], flat[1::2]))
        return []

    def pop(self, proto, args, before):
        ours = self.skerry.ask(proto, args)
        if ours[0] == "$" and ours[1] is not None:
            took = [ours[1]]
        elif ours[0] in "*~" and ours[1]:
            took = [m[1] for m in ours[1]]
        else:
            return self.same(args, ours, self.redis.ask(proto, args))
        wanted = 1 if len(args) == 2 else min(int(args[2]), len(before))
        if len(took) != wanted or len(set(took)) != wanted or not set(took) <= {b[0] for b in before}:
            self.differ(args, ours, before, "not so many different members")
        shape = "$" if len(args) == 2 else "*~"[proto == 3]
        if ours[0] != shape:
            self.differ(args, ours, shape, "another type of reply")
        self.same([b"SREM"], (":", b"%d" % wanted), self.redis.ask(proto, [b"SREM", args[1], *took]))

    def clean(self):
        self.pipeline(2, [[b"DEL", *KEYS], [b"SET", b"str", b"x"]])

    def everything(self):
        for key in KEYS:
            self.pipeline(3, [[b"TYPE", key], [b"TTL", key]])
            self.pipeline(3, [[b"HGETALL", key], [b"SMEMBERS", key], [b"HLEN", key], [b"SCARD", key]])


def main():
    return diff.run(__doc__, Maker, Comparison, NAMES)


if __name__ == "__main__":
    sys.exit(main())
