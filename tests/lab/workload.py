"""Clients of the laboratory: each sends one request after another and records what it asked and what it was answered.

Nothing is retried: a request whose answer did not come has an unknown outcome, and that is what the record says. So the
connection is the laboratory's own (RESP2, a socket, nothing else); client libraries repeat requests on their own.

Names of keys carry an epoch, so that the history of one key stays short however long a run is: `text:4:1` is key 1 of
epoch 4. Values and elements are unique: they are their session and a number."""

import random
import socket
import threading
import time
import zlib

ANSWER_S = 2.0        # how long an answer is awaited before its outcome is unknown
AWAY_S = 0.1          # between two attempts to connect
EPOCH_S = 15.0
KEYS = 3              # of each kind in an epoch
ELEMENTS = 8          # that are added and removed by everybody, over and over
PADDING_MAX = 8192
# The one error that leaves open whether the request had an effect, as it says itself: a commit failed half way.
IN_DOUBT = "MISCONF the write could not be stored"
BASES_KEPT = 4        # contexts that a client remembers, to resolve with an old one


class NoAnswer(Exception):
    """The connection broke, or time was up."""


class Refused(Exception):
    """An error came as the answer."""


class Connection:
    def __init__(self, address, timeout_s=ANSWER_S):
        self.address, self.timeout_s = address, timeout_s
        self.socket, self.rest = None, b""

    def call(self, *arguments):
        """One request and its answer. Raises NoAnswer, Refused."""
        if not self.connect():
            raise NoAnswer("nobody takes the connection")
        return self.calls([arguments])[0]

    def connect(self):
        """Whether there is a connection now."""
        try:
            if not self.socket:
                self.socket, self.rest = socket.create_connection(self.address, self.timeout_s), b""
        except OSError:
            return False
        return True

    def calls(self, requests):
        """Several at once, over an open connection; all answers are read, then the first error is raised."""
        try:
            until = time.monotonic() + self.timeout_s
            self.socket.settimeout(self.timeout_s)
            self.socket.sendall(b"".join(map(packed, requests)))
            answers = [self.answer(until) for _ in requests]
        except OSError as error:
            self.close()
            raise NoAnswer(str(error) or type(error).__name__) from None
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return answers

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def more(self, until):
        left = until - time.monotonic()
        if left <= 0:
            raise OSError("no answer in time")
        self.socket.settimeout(left)
        data = self.socket.recv(65536)
        if not data:
            raise OSError("closed by the node")
        self.rest += data

    def line(self, until):
        while b"\r\n" not in self.rest:
            self.more(until)
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def answer(self, until):
        line = self.line(until)
        kind, text = line[:1], line[1:].decode()
        if kind == b"+":
            return text
        if kind == b"-":
            return Refused(text)
        if kind == b":":
            return int(text)
        if kind == b"$" and int(text) < 0 or kind == b"*" and int(text) < 0:
            return None
        if kind == b"$":
            while len(self.rest) < int(text) + 2:
                self.more(until)
            value, self.rest = self.rest[:int(text)], self.rest[int(text) + 2:]
            return value.decode()
        if kind == b"*":
            return [self.answer(until) for _ in range(int(text))]
        raise AssertionError(f"no RESP: {line!r}")


def packed(arguments):
    parts = [str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


def of_map(reply):
    return dict(zip(reply[::2], reply[1::2]))


def padded(value):
    """As it is stored: a value is up to 8 kB long, so that disks fill and links are busy. Its text says how long."""
    return value + "~" * (zlib.crc32(value.encode()) % PADDING_MAX)


def bare(stored):
    """As it is recorded; what is not exactly as it was stored keeps all its bytes, and is nobody's value."""
    value = stored.rstrip("~")
    return value if padded(value) == stored else stored


def values(reply):
    """The values of one reply of SIBLINGS GET."""
    return [bare(of_map(sibling)["value"]) for sibling in of_map(reply)["siblings"]]


class Place:
    """Where a register's value stands: a string, or a field of a hash."""

    def __init__(self, name, field=None):
        self.name, self.field = name, field

    def get(self):
        return ("SIBLINGS", "GET", self.name) + (("FIELD", self.field) if self.field else ())

    def set(self, value):
        return ("HSET", self.name, self.field, padded(value)) if self.field else ("SET", self.name, padded(value))

    def remove(self):
        return ("HDEL", self.name, self.field) if self.field else ("DEL", self.name)

    def resolve(self, context, value):
        field = ("FIELD", self.field) if self.field else ()
        return ("SIBLINGS", "RESOLVE", self.name, context, padded(value), *field)


def places(key):
    """The places of a register by its name in the history."""
    kind = key.split(":")[0]
    if kind == "hash":
        return [Place(*key.split("/"))]
    if kind == "group":
        return [Place(key + ":one"), Place(key + ":two"), Place(key + ":rest", "three")]
    return [Place(key)]


class Session:
    """One client's requests in one region, recorded. What it returns is None where no answer came, or an error did."""

    def __init__(self, recorder, connection, region, name):
        self.recorder, self.connection, self.region, self.name = recorder, connection, region, name
        self.written = 0

    def unique(self):
        self.written += 1
        return f"{self.name}.{self.written}"

    def record(self, op, requests, reply_of, **fields):
        """Sends, and records one op; `reply_of` makes the recorded reply of the answers. What could not be sent is not
        recorded."""
        if not self.connection.connect():
            return None
        record = {"type": "op", "session": self.name, "region": self.region, "op": op, **fields,
                  "begin": self.recorder.now(), "end": 0, "outcome": "ok", "reply": None}
        answer = None
        try:
            answer = self.connection.calls(requests)
            record["end"] = self.recorder.now()
            record["reply"] = reply_of(answer)
        except Refused as error:
            outcome = "unknown" if str(error).startswith(IN_DOUBT) else "failed"
            record.update(outcome=outcome, reply=str(error), end=self.recorder.now())
            answer = None
        except NoAnswer as error:
            record.update(outcome="unknown", reply=str(error), end=self.recorder.now())
        self.recorder.put(record)
        return answer if record["outcome"] == "ok" else None

    def transaction(self, op, requests, reply_of, **fields):
        """The same with MULTI and EXEC around; `reply_of` is given the answers that EXEC has."""
        def whole(answers):
            for answer in answers[-1]:
                if isinstance(answer, Refused):
                    raise AssertionError(f"{requests}: {answer} inside of EXEC")
            return reply_of(answers[-1])
        answers = self.record(op, [("MULTI",), *requests, ("EXEC",)], whole, **fields)
        return answers and answers[-1]

    # -- registers

    def read(self, key):
        spots = places(key)
        if len(spots) > 1:
            return self.transaction("read", [p.get() for p in spots], lambda r: [values(x) for x in r], key=key)
        answers = self.record("read", [spots[0].get()], lambda r: [values(r[0])], key=key)
        return answers and (of_map(answers[0])["context"], values(answers[0]))

    def write(self, key):
        """Reads and writes in one transaction."""
        spots, value = places(key), self.unique()
        return self.transaction("write", [p.get() for p in spots] + [p.set(value) for p in spots],
                                lambda r: [values(x) for x in r[:len(spots)]], key=key, value=value, base=None,
                                blind=False)

    def remove(self, key):
        spots = places(key)
        return self.transaction("write", [p.get() for p in spots] + [p.remove() for p in spots],
                                lambda r: [values(x) for x in r[:len(spots)]], key=key, value=None, base=None,
                                blind=False)

    def overwrite(self, key):
        value = self.unique()
        return self.record("write", [places(key)[0].set(value)], lambda r: r[0], key=key, value=value, base=None,
                           blind=True)

    def resolve(self, key, context, base):
        value = self.unique()
        return self.record("write", [places(key)[0].resolve(context, value)], lambda r: r[0], key=key, value=value,
                           base=base, blind=False)

    # -- counters, sets, ledgers

    def get(self, key):
        request = ("HGET", *key.split("/")) if "/" in key else ("GET", key)
        return self.record("get", [request], lambda r: int(r[0] or 0), key=key)

    def add(self, key, by):
        request = ("HINCRBY", *key.split("/"), by) if "/" in key else ("INCRBY", key, by)
        return self.record("add", [request], lambda r: r[0], key=key, by=by)

    def members(self, key):
        answers = self.record("members", [("SMEMBERS", key)], lambda r: r[0], key=key)
        return answers and answers[0]

    def sadd(self, key, element):
        return self.record("sadd", [("SADD", key, element)], lambda r: r[0], key=key, element=element)

    def srem(self, key, element):
        return self.record("srem", [("SREM", key, element)], lambda r: r[0], key=key, element=element)

    def ledger(self, key):
        return self.transaction("ledger", [("SMEMBERS", key), ("GET", key + ":count")],
                                lambda r: [r[0], int(r[1] or 0)], key=key)

    def ladd(self, key):
        element = self.unique()
        requests = [("SADD", key, element), ("INCR", key + ":count"), ("SMEMBERS", key)]
        return self.transaction("ladd", requests, lambda r: [r[2], r[1]], key=key, element=element)

    # -- consistency that is asked for

    def token(self, name):
        answers = self.record("token", [("SESSION", "TOKEN")], lambda r: None, name=name)
        return answers and answers[0]

    def after(self, name, token, timeout_ms):
        return self.record("after", [("SESSION", "AFTER", token, "TIMEOUT", timeout_ms)], lambda r: None, name=name)

    def wait(self, key, regions, timeout_ms):
        return self.record("wait", [("WAIT", regions, timeout_ms)], lambda r: r[0], key=key)

    def everything(self):
        self.record("all", [("PING",)], lambda r: None)


class Tokens:
    """The last token of each client, for others to take."""

    def __init__(self):
        self.lock, self.kept, self.count = threading.Lock(), {}, 0

    def name(self):
        with self.lock:
            self.count += 1
            return f"t{self.count}"

    def put(self, client, name, token):
        with self.lock:
            self.kept[client] = (name, token)

    def any(self, dice):
        with self.lock:
            return dice.choice(list(self.kept.values())) if self.kept else None


class Client:
    """A thread that asks until it is told to stop, and moves between regions. `addresses`: of each region."""

    # what a client does next, how often in 100
    CHOICES = (("text", 22), ("hash", 16), ("group", 14), ("blind", 6), ("count", 14), ("set", 14), ("ledger", 8),
               ("token", 2), ("take", 2), ("move", 2))

    def __init__(self, recorder, addresses, region, name, seed, pause_s, tokens, touched):
        self.recorder, self.addresses, self.home, self.region, self.name = recorder, addresses, region, region, name
        self.dice, self.pause_s, self.tokens, self.touched = random.Random(f"{seed}/{name}"), pause_s, tokens, touched
        self.sessions, self.failure = 0, None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.begin_session(region)

    def begin_session(self, region):
        self.region, self.sessions, self.life = region, self.sessions + 1, self.recorder.lives[region]
        name = f"{self.name}/{self.sessions}"
        self.session = Session(self.recorder, Connection(self.addresses[region]), region, name)
        self.bases = {}  # key -> (context, values) of earlier reads

    def run(self):
        kinds, weights = zip(*self.CHOICES)
        try:
            while not self.stopping.wait(self.dice.random() * 2 * self.pause_s):
                if self.life != self.recorder.lives[self.region]:  # the region was set back: it is not who it was
                    self.session.connection.close()
                    self.begin_session(self.region)
                getattr(self, "do_" + self.dice.choices(kinds, weights)[0])()
                if not self.session.connection.socket:
                    self.stopping.wait(AWAY_S)
        except Exception as error:  # a bug of the laboratory, or an answer that no client can read: the run fails
            self.failure = error
        finally:
            self.session.connection.close()

    def key(self, kind):
        key = f"{kind}:{int(self.recorder.now() / EPOCH_S)}:{self.dice.randrange(KEYS)}"
        if kind in ("hash", "hcount"):
            key += f"/f{self.dice.randrange(2)}"
        self.touched.add(key)
        return key

    def do_text(self):
        self.do_register(self.key("text"))

    def do_hash(self):
        self.do_register(self.key("hash"))

    def do_register(self, key):
        chance = self.dice.random()
        if chance < 0.35:
            read = self.session.read(key)
            if read:
                self.bases[key] = read
                if len(self.bases) > BASES_KEPT:
                    self.bases.pop(next(iter(self.bases)))
        elif chance < 0.7 and self.bases:
            key = self.dice.choice(list(self.bases))  # perhaps an old one
            self.session.resolve(key, *self.bases.pop(key))
        elif chance < 0.95:
            if self.session.write(key) and self.dice.random() < 0.1:
                self.session.wait(key, len(self.addresses) - 1, 1000)
        else:
            self.session.remove(key)

    def do_group(self):
        key = self.key("group")
        if self.dice.random() < 0.5:
            self.session.read(key)
        elif self.session.write(key) and self.dice.random() < 0.1:
            self.session.wait(key, len(self.addresses) - 1, 1000)

    def do_blind(self):
        key = self.key("blind")
        if self.dice.random() < 0.5:
            self.session.read(key)
        else:
            self.session.overwrite(key)

    def do_count(self):
        key = self.key(self.dice.choice(("count", "hcount")))
        if self.dice.random() < 0.4:
            self.session.get(key)
        else:
            self.session.add(key, self.dice.randrange(1, 10))

    def do_set(self):
        key, chance = self.key("set"), self.dice.random()
        if chance < 0.3:
            self.session.sadd(key, self.session.unique())
        elif chance < 0.55:
            self.session.sadd(key, f"e{self.dice.randrange(ELEMENTS)}")
        elif chance < 0.75:
            self.session.members(key)
        else:
            there = self.session.members(key)
            if there:
                self.session.srem(key, self.dice.choice(sorted(there)))

    def do_ledger(self):
        key = self.key("ledger")
        if self.dice.random() < 0.5:
            self.session.ledger(key)
        else:
            self.session.ladd(key)

    def do_token(self):
        name = self.tokens.name()
        token = self.session.token(name)
        if token:
            self.tokens.put(self.name, name, token)

    def do_take(self):
        """Somebody else's token."""
        taken = self.tokens.any(self.dice)
        if taken:
            self.session.after(*taken, 500)

    def do_move(self):
        """To another region, with a token where one can be had."""
        name = self.tokens.name()
        token = self.session.token(name)
        self.session.connection.close()
        away = self.dice.choice([r for r in self.addresses if r != self.region])
        self.begin_session(self.home if self.region != self.home and self.dice.random() < 0.7 else away)
        if token:
            self.session.after(name, token, 1500)


class Touched:
    """Keys that were asked for, to be read at the end."""

    def __init__(self):
        self.lock, self.keys = threading.Lock(), set()

    def add(self, key):
        with self.lock:
            self.keys.add(key)

    def __iter__(self):
        with self.lock:
            return iter(sorted(self.keys))


def read_all(recorder, addresses, touched, timeout_s):
    """What every region has at the end; nothing else is asked meanwhile. Raises NoAnswer, Refused."""
    readers = {"count": Session.get, "hcount": Session.get, "set": Session.members, "ledger": Session.ledger}
    for region, address in addresses.items():
        session = Session(recorder, Connection(address, timeout_s), region, f"end.{region}")
        session.everything()
        for key in touched:
            if readers.get(key.split(":")[0], Session.read)(session, key) is None:
                raise NoAnswer(f"{region} does not answer for {key} at the end")
        recorder.put({"type": "final", "region": region, **of_map(session.connection.call("DIGEST"))})
        session.connection.close()
