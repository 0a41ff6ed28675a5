"""The two servers, the wire, and the comparison of one sequence: items in order, each a connection and a command.

Items that follow each other on one connection go out as one pipeline to both servers, then both are read. What Redis
itself would answer otherwise another time has a check of its own here: random members must be members (a `witness`,
asked right behind, says which there are), a scan must in the end have returned what there is, what SPOP took from
skerry is removed from Redis."""
import socket
import sys
import time

import values
from differences import TABLE, is_same

PROTOCOLS = (2, 3, 3)  # of the connections of a sequence
ALONE = {b"SPOP", b"SCAN", b"HSCAN", b"SSCAN", b"QUIT"}
PAIRED = {b"HSCAN"}
REPLY_S = 60


class Difference(Exception):
    def __init__(self, at, what, ours, theirs):
        super().__init__(what)
        self.at, self.what, self.ours, self.theirs = at, what, ours, theirs


# -- the wire ---------------------------------------------------------------------------------------------------------

def packed(commands):
    out = bytearray()
    for args in commands:
        out += b"*%d\r\n" % len(args)
        for arg in args:
            out += b"$%d\r\n%s\r\n" % (len(arg), arg)
    return out


class Connection:
    """Replies are (type byte, value); arrays, sets and maps have a list of replies, maps of pairs."""

    def __init__(self, port, proto):
        self.proto = proto
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)
        kind, value = self.ask(b"HELLO", b"%d" % proto)
        if kind not in "*%":
            raise OSError(f"HELLO {proto}: {value!r}")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        line = self.file.readline()
        if line[-2:] != b"\r\n":
            return "closed", line
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
        return "not RESP", line

    def ask(self, *args):
        self.send(packed([args]))
        return self.read()


def wait_for(port, seconds=30):
    until = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(7) == b"+PONG\r\n":
                    return
        except OSError:
            pass
        if time.monotonic() > until:
            raise OSError(f"nobody answers on port {port}")
        time.sleep(0.01)


# -- one sequence -----------------------------------------------------------------------------------------------------

def before(args):
    """What is asked first. What has expired is removed: until they remove it, the two count it in their own ways, and
    in skerry its removal would break a watch."""
    name = args[0].upper()
    keys = args[1:] if name == b"WATCH" else values.KEYS if name in (b"DBSIZE", b"RANDOMKEY") else []
    return [[b"GETEX", key] for key in keys]


def witness(args):
    """What is asked right behind, so that the reply can be judged."""
    name = args[0].upper()
    if name in (b"SRANDMEMBER", b"HRANDFIELD") and len(args) > 1:
        return [[b"SMEMBERS" if name[:1] == b"S" else b"HGETALL", args[1]]]
    return [[b"KEYS", b"*"]] if name == b"RANDOMKEY" else []


def members_of(reply, pairs=False):
    """Of a witness' reply: {member: None}, or {field: value}; None where it is no such key."""
    kind, value = reply
    if kind == "%" or (kind == "*" and pairs):  # RESP2: fields and values in turn
        return {field[1]: v[1] for field, v in (value if kind == "%" else zip(value[::2], value[1::2]))}
    return {m[1]: None for m in value} if kind in "*~" else None


def random_is_sound(args, reply, there):
    """Of one server: the members of a random reply are there, and as many and as different as asked for."""
    if there is None:
        return reply[0] == "-"
    if reply[0] in "$_":
        return not there if reply[1] in (None, b"") and b"" not in there else reply[1] in there
    if reply[0] == "-":
        return True
    got = [m[1] for m in reply[1]]
    if len(args) == 4:
        pairs = [(f[1], v[1]) for f, v in got] if got and isinstance(got[0], list) else list(zip(got[::2], got[1::2]))
        if any(there.get(field) != value for field, value in pairs):
            return False
        got = [field for field, _ in pairs]
    return set(got) <= set(there) and (int(args[2]) < 0 or len(set(got)) == len(got))


def same_shape(ours, theirs):
    if ours[0] == theirs[0] == "-":
        return ours == theirs
    if ours[0] != theirs[0] or (ours[1] is None) != (theirs[1] is None):
        return False
    return not isinstance(ours[1], list) or len(ours[1]) == len(theirs[1])


class Sequence:
    """A clean slate on both servers, and what happens on it. `run` raises Difference."""

    def __init__(self, ports):
        self.ports = ports
        self.pairs = []
        self.queued = {}
        self.compared = 0
        self.absolute_ms = frozenset()

    def open(self):
        for proto in PROTOCOLS:
            self.pairs.append([Connection(port, proto) for port in self.ports])
        ours, theirs = self.both(0, [b"FLUSHALL"])
        if (ours, theirs) != (("+", b"OK"), ("+", b"OK")):
            raise OSError(f"no clean slate: {ours} {theirs}")

    def close(self):
        for connection in sum(self.pairs, []):
            connection.close()
        self.pairs, self.queued = [], {}

    def both(self, at, args):
        for connection in self.pairs[at]:
            connection.send(packed([args]))
        return [connection.read() for connection in self.pairs[at]]

    def run(self, items, absolute_ms=frozenset()):
        self.absolute_ms = absolute_ms
        self.open()
        try:
            at = 0
            while at < len(items):
                end = at + 1
                while end < len(items) and items[end][0] == items[at][0] and end - at < 64 and \
                        not is_alone(items[at][1]) and not is_alone(items[end][1]):
                    end += 1
                if is_alone(items[at][1]):
                    self.one(at, *items[at])
                else:
                    self.pipeline(at, items[at][0], [args for _, args in items[at:end]])
                at = end
        finally:
            self.close()

    # -- pipelines

    def pipeline(self, at, connection, commands):
        proto = [[b"HELLO", b"%d" % PROTOCOLS[connection]]]  # stays what it is
        wire = [before(args) + [args] + (proto if args[0].upper() in (b"HELLO", b"RESET") else witness(args))
                for args in commands]
        data = packed(command for group in wire for command in group)
        for side in self.pairs[connection]:
            side.send(data)
        for i, (args, group) in enumerate(zip(commands, wire)):
            replies = [[side.read() for _ in group] for side in self.pairs[connection]]
            first = len(before(args))
            for j, asked in enumerate(group):
                ours, theirs = replies[0][j], replies[1][j]
                if j == first and witness(args) and (ours[0], theirs[0]) != ("+", "+"):
                    self.random(at + i, args, [r[first:] for r in replies])
                else:
                    self.compare(at + i, connection, asked, ours, theirs)
            self.compared += 1

    def compare(self, at, connection, args, ours, theirs):
        name = args[0].upper()
        queue = self.queued.setdefault(connection, [])
        if ours == theirs == ("+", b"QUEUED"):
            queue.append(args)
            return
        if name == b"EXEC" and ours[0] == theirs[0] == "*" and None not in (ours[1], theirs[1]) and \
                len(ours[1]) == len(theirs[1]) == len(queue):
            for inner, a, b in zip(queue, ours[1], theirs[1]):
                self.same(at, inner, a, b)
        else:
            self.same(at, args, ours, theirs)
        if name in (b"EXEC", b"DISCARD", b"RESET") or ours == ("+", b"OK") and name == b"MULTI":
            self.queued[connection] = []

    def same(self, at, args, ours, theirs):
        if not is_same(args, ours, theirs):
            raise Difference(at, show(args), ours, theirs)
        unit = {b"PEXPIRETIME": 1, b"EXPIRETIME": 1000}.get(args[0].upper())  # an absolute deadline, rounded
        if unit and theirs[0] == ":" and ours != theirs and \
                any((ms + unit // 2) // unit == int(theirs[1]) for ms in self.absolute_ms):
            raise Difference(at, show(args), ours, theirs)

    def random(self, at, args, replies):
        if not same_shape(replies[0][0], replies[1][0]):
            raise Difference(at, show(args), replies[0][0], replies[1][0])
        for reply, seen in replies:
            if not random_is_sound(args, reply, members_of(seen, args[0].upper() == b"HRANDFIELD")):
                raise Difference(at, show(args) + ": not what is there, or not as asked", reply, seen)

    # -- what goes alone

    def one(self, at, connection, args):
        self.compared += 1
        name = args[0].upper()
        if name == b"SPOP" and len(args) > 1:
            self.pop(at, connection, args)
        elif name == b"QUIT":
            self.same(at, args, *self.both(connection, args))
            ends = [side.read() for side in self.pairs[connection]]
            if ends[0] != ends[1]:
                raise Difference(at, show(args) + ": the connection afterwards", *ends)
            for side in self.pairs[connection]:
                side.close()
            self.pairs[connection] = [Connection(port, PROTOCOLS[connection]) for port in self.ports]
            self.queued[connection] = []
        elif name in ALONE:
            self.scan(at, connection, args)

    def pop(self, at, connection, args):
        skerry, redis = self.pairs[connection]
        there = members_of(redis.ask(b"SMEMBERS", args[1]))
        ours = skerry.ask(*args)
        took = [ours[1]] if ours[0] == "$" and ours[1] is not None else [m[1] for m in ours[1]
                                                                         or []] if ours[0] in "*~" else []
        if not took or there is None:
            theirs = redis.ask(*args)
            return self.same(at, args, ours, theirs)
        wanted = 1 if len(args) == 2 else min(int(args[2]), len(there))
        kind = "$" if len(args) == 2 else "~" if redis.proto == 3 else "*"
        if ours[0] != kind or len(took) != wanted or len(set(took)) != wanted or not set(took) <= set(there):
            raise Difference(at, show(args) + f": {wanted} different ones of these, as {kind}", ours, there)
        redis.ask(b"SREM", args[1], *took)

    def scan(self, at, connection, args):
        """From cursor 0 to the end on both: the same elements, and in skerry each once."""
        place = 1 if args[0].upper() == b"SCAN" else 2
        step = 2 if args[0].upper() in PAIRED else 1
        got = []
        for side in self.pairs[connection]:
            asked, groups = list(args), []
            while True:
                reply = side.ask(*asked)
                if reply[0] != "*" or len(asked) <= place:
                    groups = reply
                    break
                flat = [element[1] for element in reply[1][1][1]]
                groups += list(zip(*[iter(flat)] * step))
                asked[place] = reply[1][0][1]
                if asked[place] == b"0":
                    break
            got.append(groups)
        if isinstance(got[0], list) and len(set(got[0])) != len(got[0]):
            raise Difference(at, show(args) + ": an element twice", got[0], got[1])
        if [sorted(set(g)) if isinstance(g, list) else g for g in got[:1]] != \
                [sorted(set(g)) if isinstance(g, list) else g for g in got[1:]]:
            raise Difference(at, show(args), *got)


def is_alone(args):
    return args[0].upper() in ALONE


def show(args):
    def quoted(arg):
        text = "".join(chr(b) if 32 < b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in arg[:80])
        return f'"{text}"' + (f"...({len(arg)})" if len(arg) > 80 else "")
    return " ".join(quoted(arg) for arg in args[:20]) + (f" ...({len(args)} words)" if len(args) > 20 else "")


def compare_tables(ports, commands):
    """Name, arity, flags, key positions and categories of every command, as COMMAND INFO has them; but flags about the
    slow log and scripts, which skerry does not have. Returns what differs, a sentence each."""
    absent = {b"noscript", b"allow_busy", b"skip_slowlog"}
    wrong = []
    with_tables = [Connection(port, 2) for port in ports]
    for name in sorted({command.name[0].encode() for command in commands}):
        rows = []
        for connection in with_tables:
            row = connection.ask(b"COMMAND", b"INFO", name)[1][0][1]
            rows.append(row and [sorted({w[1] for w in value} - absent) if isinstance(value, list) else value
                                 for _, value in row[:7]])
        if rows[1] is not None and rows[0] != rows[1] and name.lower() not in TABLE:
            wrong.append(f"COMMAND INFO {name.decode()}\n  skerry: {rows[0]}\n  redis:  {rows[1]}")
    for connection in with_tables:
        connection.close()
    return wrong


if __name__ == "__main__":
    sys.exit("this is a part of commands.py")
