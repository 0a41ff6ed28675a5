#!/usr/bin/python3
"""skerryd against Debian's redis-server: sequences spoken from skerryd's own command table, with ugly values, pipelined
over RESP2 and RESP3 connections; every reply must be the same, type and bytes, but for differences.py.

    commands.py [--seed N] [--commands N]     so many commands, a clean slate every 1,500 or so
    commands.py --replay FILE                 a sequence as it was printed

Ends with 1 at the first difference: the sequence that shows it is made as short as it gets and printed, a command a
line, words quoted as redis-cli takes them, the number of the connection before it; the whole of it goes to a file for
--replay. README.md says more."""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(os.path.dirname(HERE), "e2e"))
import grammar  # noqa: E402
import raw  # noqa: E402
from cluster import Cluster, free_port  # noqa: E402
from compare import PROTOCOLS, Connection, Difference, Sequence, compare_tables  # noqa: E402
from compare import is_alone, show, wait_for, witness  # noqa: E402
from differences import TIMES, check, is_asked  # noqa: E402
from values import FLOAT_FIELDS, FLOAT_KEYS, KEYS, UNKNOWN, Values  # noqa: E402

LENGTH = 1500     # commands between two clean slates
SHRINK_S = 60
RAW = 1000         # pieces of raw bytes
WEIGHTS = {"SET": 4, "HSET": 4, "SADD": 5, "MULTI": 3, "WATCH": 2, "FLUSHALL": 0.03, "FLUSHDB": 0.03, "KEYS": 0.3,
           "SCAN": 0.2,
           "RANDOMKEY": 0.2, "DBSIZE": 0.1, "COMMAND": 0.02, "COMMAND DOCS": 0.02, "COMMAND LIST": 0.05, "INFO": 0.05,
           "QUIT": 0.02,
           "HSCAN": 0.3, "SSCAN": 0.3, "SPOP": 0.5, "DEL": 0.7, "UNLINK": 0.5, "INCRBYFLOAT": 2, "HINCRBYFLOAT": 2,
           "EXPIRE": 2}
GROUPS = {"the connection": 0.2, "the server": 0.2}
MULTI_OVER = 0.2  # chance that a command inside MULTI is its end


# -- sequences --------------------------------------------------------------------------------------------------------

class Maker:
    """One sequence from one seed."""

    def __init__(self, seed, commands):
        self.rng = random.Random(seed)
        self.values = Values(self.rng)
        self.commands = commands
        self.weights = [WEIGHTS.get(repr(c), GROUPS.get(c.group, 1)) for c in commands]
        self.in_multi = [False] * len(PROTOCOLS)
        self.watched = set()

    def spoken(self):
        """A command as the table has it, now and then with a word too few or too many."""
        command = self.rng.choices(self.commands, self.weights)[0]
        args = command.words() + grammar.speak(command.syntax, self.rng, lambda name: self.values.of(command, name))
        chance = self.rng.random()
        if chance < 0.01 and len(args) > 1:
            args.pop()
        elif chance < 0.02:
            args.append(self.values.make_value(command))
        if self.rng.random() < 0.1:
            args[0] = args[0].lower()
        return self.mended(args)

    def mended(self, args):
        """What a syntax cannot say: counts that are right, homes for fractions, sums that a hash or key can show."""
        name = args[0].upper()
        if name == b"SINTERCARD" and len(args) > 2 and self.rng.random() < 0.85:
            limit = next((i for i, word in enumerate(args) if word.upper() == b"LIMIT"), len(args))
            args[1] = b"%d" % (limit - 2)
        if name == b"HINCRBYFLOAT" and len(args) == 4 and self.rng.random() < 0.5:
            args[2] = self.rng.choice(FLOAT_FIELDS)
        if name == b"INCRBYFLOAT" and len(args) == 3 and self.rng.random() < 0.5:
            args[1] = self.rng.choice(FLOAT_KEYS)
        if name == b"SADD" and len(args) > 2 and args[1] in self.watched:
            args[2:] = [self.values.unused()
                        for _ in args[2:]]  # COMMANDS.md: a write of what is there is still a write
        return args

    def command(self, connection):
        if self.in_multi[connection] and self.rng.random() < MULTI_OVER:
            return [self.rng.choice([b"EXEC", b"EXEC", b"EXEC", b"DISCARD"])]
        if self.rng.random() < 0.01:
            return [self.rng.choice(UNKNOWN), *[self.values.make_value(None) for _ in range(self.rng.randint(0, 3))]]
        while True:
            args = self.spoken()
            name = args[0].upper()
            if not is_asked(args) or (name == b"SMOVE" and self.watched & set(args[2:3])):
                continue
            # Where nothing is, a value whose time has passed is no change in skerry, and breaks no watch.
            if name == b"SET" and self.watched & set(args[1:2]) and {b"EXAT", b"PXAT"} & {word.upper() for word in args}:
                continue
            apart = is_alone(args) or witness(args) or name in (b"HELLO", b"RESET", b"DBSIZE")
            if self.in_multi[connection] and apart:
                continue
            return args

    def note(self, connection, args):
        name = args[0].upper()
        if name == b"MULTI" and len(args) == 1:
            self.in_multi[connection] = True
        if name in (b"EXEC", b"DISCARD", b"RESET", b"QUIT") and len(args) == 1:
            self.in_multi[connection] = False
        if name == b"WATCH":
            self.watched |= set(args[1:])

    def items(self):
        connection = 0
        made = [(0, [b"HSET", b"h1", b"a", b"1"]), (0, [b"SADD", b"s1", b"m1"]), (0, [b"SET", b"a", b"x"])]
        while len(made) < LENGTH:
            if self.rng.random() < 0.08:
                connection = self.rng.randrange(len(PROTOCOLS))
            args = self.command(connection)
            self.note(connection, args)
            made.append((connection, args))
        for at, _ in enumerate(PROTOCOLS):
            made.append((at, [b"DISCARD"]))
        for key in KEYS:
            made += [(1, [name, key]) for name in (b"TYPE", b"GET", b"STRLEN", b"HGETALL", b"HLEN", b"SMEMBERS",
                                                   b"SCARD", *TIMES)]
        return made, self.values.absolute_ms


# -- servers ----------------------------------------------------------------------------------------------------------

class Servers:
    def __init__(self, cluster, folder):
        self.node = cluster["eu"]
        self.port = free_port()
        options = {"--port": str(self.port), "--save": "", "--bind": "127.0.0.1", "--dir": folder, "--databases": "1"}
        self.redis = subprocess.Popen(["redis-server", *[word for pair in options.items() for word in pair]],
                                      stdout=subprocess.DEVNULL)
        wait_for(self.port)
        self.ports = (self.node.port, self.port)

    def alive(self):
        """A node that a sequence has killed is started again."""
        if self.node.process.poll() is not None:
            self.node.start()

    def knows(self, command):
        connection = Connection(self.port, 2)
        row = connection.ask(b"COMMAND", b"INFO", "|".join(command.name).lower().encode())[1][0]
        connection.close()
        return row[1] is not None


def difference(servers, items, absolute_ms):
    """What differs, or None; and how many commands were compared."""
    servers.alive()
    sequence = Sequence(servers.ports)
    try:
        sequence.run(items, absolute_ms)
        return None, sequence.compared
    except Difference as found:
        return found, sequence.compared
    except OSError as error:
        return Difference(len(items) - 1, f"a server does not answer: {error}", None, None), sequence.compared


# -- shrinking --------------------------------------------------------------------------------------------------------

def shrink(servers, items, found, absolute_ms):
    """The fewest items, and words of them, with which the last one still differs."""
    items = items[:found.at + 1]
    last, until = items[-1][1][0].upper(), time.monotonic() + SHRINK_S

    def shows(candidate):
        if time.monotonic() > until:
            return None
        got, _ = difference(servers, candidate, absolute_ms)
        return got if got and candidate[got.at][1][0].upper() == last else None

    step = max(1, len(items) // 2)
    while True:
        at, before = 0, len(items)
        while at < len(items):
            candidate = items[:at] + items[at + step:]
            got = shows(candidate) if candidate else None
            if got:
                items, found = candidate[:got.at + 1], got
            else:
                at += step
        if step == 1 and len(items) == before:
            break
        step = max(1, step // 2)
    for i in range(len(items)):  # the words of what is left, and short ones instead of long ones
        word = len(items[i][1]) - 1
        while word > 0:
            connection, args = items[i]
            for shorter in ([], [b"x"] if len(args[word]) > 8 else None):
                if shorter is None:
                    continue
                candidate = items[:i] + [(connection, args[:word] + shorter + args[word + 1:])] + items[i + 1:]
                got = shows(candidate)
                if got and got.at == len(candidate) - 1:
                    items, found = candidate, got
                    break
            word -= 1
    return items, found


# -- replays ----------------------------------------------------------------------------------------------------------

def written(items):
    """One item a line: the connection's number, and each word in quotes, as redis-cli reads them."""
    def quoted(word):
        return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word) + '"'
    return "".join(f"{connection} {' '.join(quoted(word) for word in args)}\n" for connection, args in items)


def read(path):
    items = []
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("#") or not line.strip():
                continue
            match = re.fullmatch(r'(\d) ((?:"(?:[^"\\]|\\x[0-9a-f]{2})*" ?)+)\n?', line)
            if not match or int(match[1]) >= len(PROTOCOLS):
                raise ValueError(f"{path}:{number}: not a command of a sequence: {line.strip()[:80]}")
            words = re.findall(r'"((?:[^"\\]|\\x[0-9a-f]{2})*)"', match[2])
            items.append((int(match[1]), [re.sub(r"\\x(..)", lambda m: chr(int(m[1], 16)), w).encode("latin-1")
                                          for w in words]))
    if not items:
        raise ValueError(f"{path}: no command in it")
    return items


def report(items, found):
    path = os.path.join(tempfile.mkdtemp(prefix="skerry-diff-"), "sequence")
    with open(path, "w", encoding="ascii") as file:
        file.write(written(items))
    print(f"a difference, after {len(items) - 1} commands (connection 0 speaks RESP2, 1 and 2 RESP3):")
    for connection, args in items:
        print(f"  {connection}  {show(args)}")
    for name, reply in (("skerry", found.ours), ("redis ", found.theirs)):
        print(f"  {name}: {str(reply)[:1000]}")
    print(f"  {found.what}")
    print(f"again: {sys.argv[0]} --replay {path}")


# -- the program ------------------------------------------------------------------------------------------------------

def compare_all(servers, options):
    table = grammar.read_table(servers.node.cluster.skerryd)
    check(table)
    commands = [command for command in table if servers.knows(command)]
    own = sorted(repr(command) for command in table if command not in commands)
    print(f"{len(commands)} commands of the table are asked; this Redis has not: {', '.join(own)}", flush=True)
    for wrong in compare_tables(servers.ports, commands):
        print(wrong)
        return 1
    unlike = raw.compare(servers.ports, random.Random(options.seed), RAW)
    if unlike:
        print(f"raw bytes, seed {options.seed}: {unlike[0]!r}\n  skerry: {unlike[1]}\n  redis:  {unlike[2]}")
        return 1
    compared, number, begin = 0, 0, time.monotonic()
    while compared < options.commands:
        items, absolute_ms = Maker(f"{options.seed}/{number}", commands).items()
        found, count = difference(servers, items, absolute_ms)
        compared += count
        number += 1
        if found:
            print(f"sequence {number} of seed {options.seed}: {found.what}", flush=True)
            report(*shrink(servers, items, found, absolute_ms))
            return 1
    print(f"{compared} commands compared in {number} sequences, {time.monotonic() - begin:.0f} s, no difference")
    return 0


def replay(servers, items):
    found, count = difference(servers, items, frozenset())
    if found:
        report(items[:found.at + 1], found)
        return 1
    print(f"{count} commands compared, no difference")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--commands", type=int, default=100000, metavar="N")
    parser.add_argument("--replay", metavar="FILE")
    options = parser.parse_args()
    if not shutil.which("redis-server"):
        sys.exit("redis-server is not there: install the package redis-server")
    try:
        items = read(options.replay) if options.replay else None
    except (OSError, ValueError) as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
    if not items:
        print(f"{os.path.basename(sys.argv[0])} --seed {options.seed} --commands {options.commands}", flush=True)
    with tempfile.TemporaryDirectory(prefix="skerry-redis-") as folder, \
            Cluster(["eu"], storage={"durability": "os"}) as cluster:
        cluster.start()
        servers = Servers(cluster, folder)
        try:
            code = replay(servers, items) if items else compare_all(servers, options)
        finally:
            servers.redis.kill()
            servers.redis.wait()
        if cluster["eu"].process.poll() is None and cluster["eu"].stop() != 0:
            print("skerryd did not stop as it should")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
