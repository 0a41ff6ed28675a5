"""What the differential runs against Debian's redis-server share (hash_set_diff.py, string_key_diff.py): both servers,
the wire, random arguments, and asking the same of both until they differ.

A run makes random commands (a Maker), sends each to both servers, in RESP2 or RESP3, alone, in a pipeline or in a
transaction, and wants the same reply, type and bytes. What is not the same each time (a random member, a scan) a run
checks in its own `one`. A difference prints the seed, the commands on the same keys that led to it, and both replies.
"""
import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from cluster import WAIT_S, Cluster, free_port

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
    options = {"--port": str(port), "--save": "", "--bind": "127.0.0.1", "--dir": folder,
               "--databases": "1"}
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

INT64 = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806", b"-9223372036854775807"]
NUMBERS = [b"0", b"1", b"-1", b"7", b"10", b"100", b"65536", b"2147483648"]
NOT_INTEGERS = [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"abc", b"9223372036854775808", b"1e3", b"0x10",
                b"\0", b"1\0", b"99999999999999999999999999"]
NOT_FLOATS = [b"", b" 1", b"1 ", b"abc", b"inf", b"-inf", b"nan", b"1.0.0", b"--1", b"1e", b"1e99999"]
UGLY = [b"", b" ", b"a b", b"\r\n", b"\0", b"\0\0", b"\xff\xfe", b"$5\r\nhello", b"*", b"[a-z]", b"\\",
        "é中".encode(), b"x" * 65, b"y" * 5000]
FLOATS = [b"", b" 1", b"1 ", b"abc", b"inf", b"-inf", b"nan", b"1.0.0", b"--1", b"1e", b"1e99999"]
UGLY = [b"", b" ", b"a b", b"\r\n", b"\0", b"\0\0", b"\xff\xfe", b"$5\r\nhello", b"*", b"[a-z]", b"\\",
        "é中".encode(), b"x" * 65, b"y" * 5000]
FIELDS = [b"a", b"b", b"c", b"d", b"e", b"n1", b"n2"] + UGLY
FLOAT_FIELDS = [b"f1", b"f2"]  # the only ones with fractions: their sums are exact
FLOATS = [b"0.5", b"-0.25", b"3", b"1e3", b"-7.75", b"0", b"-0", b"0x10", b"1024.125", b".5", b"5.", b"1E2", b"+2"]
PATTERNS = [b"*", b"a*", b"?", b"[a-c]", b"*1", b"\\*", b"", b"[^a]", b"m1?", b"\xff*", b"[", b"x*x"]


class Maker:
    """Makes commands: `command` is the run's own."""
    keys = []  # every key that may be touched

    def __init__(self, rng):
        self.rng = rng

    def some(self, pool, most=5):
        return [self.rng.choice(pool) for _ in range(self.rng.randint(1, most))]

    def key(self, pool):
        return self.rng.choice(pool if self.rng.random() < 0.95 else self.keys)

    def integer(self):
        return self.rng.choice(NUMBERS * 3 + INT64 + NOT_INTEGERS)

    def value(self):
        return self.rng.choice(NUMBERS + INT64 + NOT_INTEGERS + NOT_FLOATS + UGLY)

    def scan_options(self):
        words = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            words += self.rng.choice([[b"MATCH", self.rng.choice(PATTERNS)], [b"TYPE", b"string"], [b"MATCH"],
                                      [b"COUNT", self.rng.choice([b"1", b"5", b"1000"])],
                                      [b"count", self.rng.choice([b"0", b"-1", b"x"])]])
        return words

    def command(self):
        raise NotImplementedError

    def next(self):
        """A command, now and then with a word too few or too many, or with its name in small letters."""
        args = self.command()
        chance = self.rng.random()
        if chance < 0.01 and len(args) > 1:
            args.pop()
        elif chance < 0.02:
            args.append(self.value())
        elif chance < 0.05:
            args[0] = args[0].lower()
        return args


# -- comparing ----------------------------------------------------------------------------------------------------

class Difference(Exception):
    pass


class Comparison:
    """`alone`: names of the commands that `one` asks, since their replies are not the same each time."""
    alone = frozenset()

    def __init__(self, skerry, redis, maker):
        self.skerry, self.redis, self.maker, self.rng = skerry, redis, maker, maker.rng
        self.history = []
        self.asked = 0

    def normal(self, args, reply):
        """The reply with what may differ taken out."""
        return reply

    def one(self, proto, args):
        raise NotImplementedError

    def clean(self):
        """A clean slate on both."""
        raise NotImplementedError

    def everything(self):
        """Compares all that there is."""
        raise NotImplementedError

    def differ(self, args, ours, theirs, why="the replies differ"):
        touched = set(args[1:]) & set(self.maker.keys)
        related = [h for h in self.history if touched & set(h[1][1:]) or not touched]
        raise Difference(f"{why}\n" + "\n".join(f"  RESP{proto} {show(a)}" for proto, a in related[-60:]) +
                         f"\n  => {show(args)}\n  skerry: {ours!r}\n  redis:  {theirs!r}")

    def same(self, args, ours, theirs):
        if self.normal(args, ours) != self.normal(args, theirs):
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

    def scan(self, proto, args, at=2, step=1):
        """A whole scan on both: the cursor is argument `at`, elements come `step` at a time."""
        got = []
        for server in (self.skerry, self.redis):
            elements, asked = [], list(args)
            while True:
                reply = server.ask(proto, asked)
                if reply[0] != "*":
                    got.append(reply)
                    break
                elements += [e[1] for e in reply[1][1][1]]
                asked[at] = reply[1][0][1]
                if asked[at] == b"0":
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

    def run(self, commands):
        until_clean = 0
        while self.asked < commands:
            if self.asked >= until_clean:
                self.everything()
                self.clean()
                self.history.clear()
                until_clean = self.asked + EPOCH
            proto = self.rng.choice([2, 3])
            batch = []
            for _ in range(self.rng.randint(1, BATCH)):
                args = self.maker.next()
                if args[0].upper() in self.alone:
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


def compare_tables(skerry, redis, names):
    """Name, arity, flags, key positions and categories of every command, as COMMAND INFO has them; but flags about the
    slow log and scripts, which skerry does not have."""
    absent = {b"noscript", b"allow_busy", b"skip_slowlog"}
    for name in names:
        rows = []
        for server in (skerry, redis):
            row = server.ask(2, [b"COMMAND", b"INFO", name])[1][0][1]
            rows.append([sorted({w[1] for w in value} - absent) if isinstance(value, list) else value for _, value in row[:7]])
        if rows[0] != rows[1]:
            raise Difference(f"COMMAND INFO {name.decode()}\n  skerry: {rows[0]}\n  redis:  {rows[1]}")


def run(doc, maker, comparison, names):
    """The program: `maker` and `comparison` are the run's classes, `names` its commands. Returns the exit code."""
    program = os.path.basename(sys.argv[0])
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--commands", type=int, default=20000)
    options = parser.parse_args()
    if not shutil.which("redis-server"):
        sys.exit("redis-server is not there: install the package redis-server")
    print(f"{program} --seed {options.seed} --commands {options.commands}", flush=True)
    with tempfile.TemporaryDirectory(prefix="skerry-redis-") as folder, Cluster(["eu"]) as cluster:
        cluster.start()
        process, port = start_redis(folder)
        try:
            skerry, redis = Server("skerry", cluster["eu"].port), Server("redis", port)
            compare_tables(skerry, redis, names)
            compared = comparison(skerry, redis, maker(random.Random(options.seed)))
            compared.run(options.commands)
            print(f"{compared.asked} commands, no difference")
            code = 0
        except Difference as difference:
            print(f"seed {options.seed}: {difference}")
            code = 1
        finally:
            process.kill()
            process.wait()
        assert cluster["eu"].stop() == 0
    return code
