#!/usr/bin/python3
"""Hashes and sets against Debian's redis-server: the same random commands to both, in RESP2 and RESP3; every reply must
be the same, type and bytes.

    hash_set_diff.py [--seed N] [--commands N]

What has no order in Redis is sorted first. Random members are checked for what they must be, a scan for what it returns
in the end; what SPOP took from one server is removed from the other. A difference prints the seed, the commands on the
same keys that led to it, and both replies.

Not asked, since skerry differs by design: sums of floats that are not exact (Redis rounds to a text after each
HINCRBYFLOAT, skerry adds the increments up), and negative counts above 2^20."""
import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster, free_port  # noqa: E402

BATCH = 40
EPOCH = 600  # commands between two clean slates


# -- RESP, as it is on the wire -----------------------------------------------------------------------------------

class Connection:
    """Replies are (type byte, value); arrays, sets and maps have a list of replies, maps of pairs."""

    def __init__(self, port, proto):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.file = self.socket.makefile("rb")
        self.send([[b"HELLO", b"%d" % proto]])
        assert self.read()[0] in "*%"

    def send(self, commands):
        out = bytearray()
        for args in commands:
            out += b"*%d\r\n" % len(args)
            for arg in args:
                out += b"$%d\r\n%s\r\n" % (len(arg), arg)
        self.socket.sendall(out)

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise AssertionError(f"the connection was closed: {line!r}")
        kind, rest = chr(line[0]), line[1:-2]
        if kind in "+-:,#_(":
            return kind, rest
        count = int(rest)
        if count < 0:
            return kind, None
        if kind in "$=":
            return kind, self.file.read(count + 2)[:-2]
        if kind == "%":
            return kind, [(self.read(), self.read()) for _ in range(count)]
        if kind in "*~>":
            return kind, [self.read() for _ in range(count)]
        raise AssertionError(f"not RESP: {line!r}")

    def ask(self, *args):
        self.send([args])
        return self.read()


class Server:
    def __init__(self, name, port):
        self.name = name
        self.connections = {proto: Connection(port, proto) for proto in (2, 3)}

    def ask(self, proto, args):
        return self.connections[proto].ask(*args)


def start_redis(folder):
    port = free_port()
    options = {"--port": str(port), "--save": "", "--bind": "127.0.0.1", "--dir": folder}
    process = subprocess.Popen(["redis-server", *[word for pair in options.items() for word in pair]],
                               stdout=subprocess.DEVNULL)
    until = time.monotonic() + WAIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


# -- what is asked ------------------------------------------------------------------------------------------------

HASHES, SETS, OTHERS = [b"h1", b"h2", b"h\0\xff3"], [b"s1", b"s2", b"s3", b"s\0\1"], [b"str", b"none"]
KEYS = HASHES + SETS + OTHERS
INT64 = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806", b"-9223372036854775807"]
NUMBERS = [b"0", b"1", b"-1", b"7", b"10", b"100", b"65536", b"2147483648"]
NOT_INTEGERS = [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"abc", b"9223372036854775808", b"1e3", b"0x10",
                b"\0", b"1\0", b"99999999999999999999999999"]
NOT_FLOATS = [b"", b" 1", b"1 ", b"abc", b"inf", b"-inf", b"nan", b"1.0.0", b"--1", b"1e", b"1e99999"]
UGLY = [b"", b" ", b"a b", b"\r\n", b"\0", b"\0\0", b"\xff\xfe", b"$5\r\nhello", b"*", b"[a-z]", b"\\",
        "é中".encode(), b"x" * 65, b"y" * 5000]
FIELDS = [b"a", b"b", b"c", b"d", b"e", b"n1", b"n2"] + UGLY
FLOAT_FIELDS = [b"f1", b"f2"]  # the only ones with fractions: their sums are exact
FLOATS = [b"0.5", b"-0.25", b"3", b"1e3", b"-7.75", b"0", b"-0", b"0x10", b"1024.125", b".5", b"5.", b"1E2", b"+2"]
PATTERNS = [b"*", b"a*", b"?", b"[a-c]", b"*1", b"\\*", b"", b"[^a]", b"m1?", b"\xff*", b"[", b"x*x"]
UNORDERED = {b"HGETALL", b"HKEYS", b"HVALS", b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF"}


class Maker:
    def __init__(self, rng):
        self.rng = rng

    def some(self, pool, most=5):
        return [self.rng.choice(pool) for _ in range(self.rng.randint(1, most))]

    def key(self, pool):
        return self.rng.choice(pool if self.rng.random() < 0.95 else KEYS)

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

    def integer(self):
        return self.rng.choice(NUMBERS * 3 + INT64 + NOT_INTEGERS)

    def value(self):
        return self.rng.choice(NUMBERS + INT64 + NOT_INTEGERS + NOT_FLOATS + UGLY)

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

    def options(self):
        words = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            words += self.rng.choice([[b"MATCH", self.rng.choice(PATTERNS)], [b"TYPE", b"string"], [b"MATCH"],
                                      [b"COUNT", self.rng.choice([b"1", b"5", b"1000"])],
                                      [b"count", self.rng.choice([b"0", b"-1", b"x"])]])
        return words

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
            lambda: [b"HSCAN", self.hash(), b"0", *self.options()],
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
            lambda: [b"SSCAN", self.set(), b"0", *self.options()],
            lambda: [b"SADD", self.set(), *[b"m%d" % i for i in range(r.choice([20, 600]))]],
            lambda: [b"DEL", r.choice(KEYS)], lambda: [b"TYPE", r.choice(KEYS)], lambda: [b"EXISTS", r.choice(KEYS)],
            lambda: [b"EXPIRE", r.choice(KEYS), b"1000000"], lambda: [b"TTL", r.choice(KEYS)],
            lambda: [b"PERSIST", r.choice(KEYS)], lambda: [b"SET", b"str", self.value()],
        ])()

    def next(self):
        args = self.command()
        chance = self.rng.random()
        if chance < 0.01 and len(args) > 1:
            args.pop()
        elif chance < 0.02:
            args.append(self.value())
        elif chance < 0.05:
            args[0] = args[0].lower()
        if args[0].upper() in (b"SRANDMEMBER", b"HRANDFIELD") and len(args) == 3 and args[2] == b"-9223372036854775807":
            args[2] = b"-2"  # Redis would answer for ever
        return args


# -- comparing ----------------------------------------------------------------------------------------------------

def normal(args, reply):
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


class Difference(Exception):
    pass


class Comparison:
    def __init__(self, skerry, redis, rng):
        self.skerry, self.redis, self.rng = skerry, redis, rng
        self.history = []
        self.asked = 0

    def differ(self, args, ours, theirs, why="the replies differ"):
        related = [h for h in self.history if set(h[1][1:]) & set(args[1:]) & set(KEYS)]
        raise Difference(f"{why}\n" + "\n".join(f"  RESP{proto} {show(a)}" for proto, a in related[-60:]) +
                         f"\n  => {show(args)}\n  skerry: {ours!r}\n  redis:  {theirs!r}")

    def same(self, args, ours, theirs):
        if normal(args, ours) != normal(args, theirs):
            self.differ(args, ours, theirs)

    def both(self, proto, args):
        return self.skerry.ask(proto, args), self.redis.ask(proto, args)

    def pipeline(self, proto, batch):
        if not batch:
            return
        for server in (self.skerry, self.redis):
            server.connections[proto].send(batch)
        for args in batch:
            ours, theirs = (s.connections[proto].read() for s in (self.skerry, self.redis))
            self.history.append((proto, args))
            self.same(args, ours, theirs)
            self.asked += 1

    def one(self, proto, args):
        """A command whose reply is not the same each time."""
        self.history.append((proto, args))
        self.asked += 1
        name = args[0].upper()
        if name in (b"HSCAN", b"SSCAN"):
            return self.scan(proto, args)
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

    def scan(self, proto, args):
        got = []
        for server in (self.skerry, self.redis):
            elements, asked = [], list(args)
            while True:
                reply = server.ask(proto, asked)
                if reply[0] != "*":
                    got.append(reply)
                    break
                elements += [e[1] for e in reply[1][1][1]]
                asked[2] = reply[1][0][1]
                if asked[2] == b"0":
                    step = 2 if asked[0].upper() == b"HSCAN" else 1
                    groups = list(zip(*[iter(elements)] * step))
                    if server is self.skerry and len(set(groups)) != len(groups):
                        self.differ(args, elements, None, "an element twice, without any change meanwhile")
                    got.append(sorted(set(groups)))
                    break
        if got[0] != got[1]:
            self.differ(args, *got)

    def transaction(self, proto, batch):
        self.pipeline(proto, [[b"MULTI"]])
        for args in batch:
            self.pipeline(proto, [args])
        ours, theirs = self.both(proto, [b"EXEC"])
        self.history.append((proto, [b"EXEC"]))
        if ours[0] != "*" or theirs[0] != "*":
            return self.same([b"EXEC"], ours, theirs)
        for args, a, b in zip(batch, ours[1], theirs[1]):
            self.same(args, a, b)

    def clean(self):
        self.pipeline(2, [[b"DEL", *KEYS], [b"SET", b"str", b"x"]])
        self.history.clear()

    def everything(self):
        for key in KEYS:
            self.pipeline(3, [[b"TYPE", key], [b"TTL", key]])
            self.pipeline(3, [[b"HGETALL", key], [b"SMEMBERS", key], [b"HLEN", key], [b"SCARD", key]])

    def run(self, commands):
        maker = Maker(self.rng)
        until_clean = 0
        while self.asked < commands:
            if self.asked >= until_clean:
                self.everything()
                self.clean()
                until_clean = self.asked + EPOCH
            proto = self.rng.choice([2, 3])
            batch = []
            for _ in range(self.rng.randint(1, BATCH)):
                args = maker.next()
                if args[0].upper() in (b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"HSCAN", b"SSCAN"):
                    self.pipeline(proto, batch)
                    batch = []
                    self.one(proto, args)
                else:
                    batch.append(args)
            if self.rng.random() < 0.2 and batch:
                self.transaction(proto, batch[:5])
            else:
                self.pipeline(proto, batch)
        self.everything()


def show(args):
    return " ".join(repr(a)[1:] if len(a) < 80 else f"{a[:20]!r}…({len(a)})" for a in args[:12]) + \
        (f" …({len(args)} arguments)" if len(args) > 12 else "")


def compare_tables(skerry, redis):
    """Name, arity, flags, key positions and categories of every command, as COMMAND INFO has them. (A command whose
    keys have no fixed positions shows none; skerry does not name that with a flag besides.)"""
    names = b"""HSET HSETNX HMSET HGET HMGET HGETALL HKEYS HVALS HLEN HSTRLEN HEXISTS HDEL HINCRBY HINCRBYFLOAT
        HRANDFIELD HSCAN SADD SREM SISMEMBER SMISMEMBER SMEMBERS SCARD SPOP SRANDMEMBER SMOVE SINTER SINTERSTORE
        SINTERCARD SUNION SUNIONSTORE SDIFF SDIFFSTORE SSCAN""".split()
    for name in names:
        rows = []
        for server in (skerry, redis):
            row = server.ask(2, [b"COMMAND", b"INFO", name])[1][0][1]
            rows.append([sorted({w[1] for w in value} - {b"movablekeys"}) if isinstance(value, list) else value
                         for _, value in row[:7]])
        if rows[0] != rows[1]:
            raise Difference(f"COMMAND INFO {name.decode()}\n  skerry: {rows[0]}\n  redis:  {rows[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--commands", type=int, default=20000)
    options = parser.parse_args()
    if not shutil.which("redis-server"):
        sys.exit("redis-server is not there: install the package redis-server")
    print(f"hash_set_diff.py --seed {options.seed} --commands {options.commands}", flush=True)
    with tempfile.TemporaryDirectory(prefix="skerry-redis-") as folder, Cluster(["eu"]) as cluster:
        cluster.start()
        process, port = start_redis(folder)
        try:
            skerry, redis = Server("skerry", cluster["eu"].port), Server("redis", port)
            compare_tables(skerry, redis)
            comparison = Comparison(skerry, redis, random.Random(options.seed))
            comparison.run(options.commands)
            print(f"{comparison.asked} commands, no difference")
            code = 0
        except Difference as difference:
            print(f"seed {options.seed}: {difference}")
            code = 1
        finally:
            process.kill()
            process.wait()
        assert cluster["eu"].stop() == 0
    return code


if __name__ == "__main__":
    sys.exit(main())
