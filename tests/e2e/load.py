"""Writers that remember what was acknowledged: what the tests compare a region's answers with afterwards."""
import os
import random
import threading

import redis

SCALE = float(os.environ.get("SK_E2E_SCALE", "1"))


# Of what repeats itself for long only each N-th, from K on: tests/part.h.
PART = tuple(int(number) for number in os.environ.get("SK_PART", "0/1").split("/"))


def scaled(count):
    """A number of operations, for this machine and this build (SK_E2E_SCALE: 0.2 under sanitizers, say)."""
    return max(1, int(count * SCALE))


def fields(reply):
    """A map as RESP2 has it, a flat list, as a dictionary."""
    return dict(zip(reply[::2], reply[1::2]))


def vector(node):
    """{(region, incarnation as text): seq}, of what is durable."""
    text = node.info("replication")["durable_vector"]
    return text if isinstance(text, dict) else {"": text}


class Writer:
    """One connection's writes: strings, a counter, a set, a hash and transactions, of names of its own and shared."""

    def __init__(self, node, name, depth=1):
        self.node, self.name, self.depth = node, name, depth
        self.strings, self.members, self.hashed, self.pairs = {}, set(), {}, 0
        self.sent = self.counted = 0  # increments sent, and acknowledged
        self.acknowledged = 0         # operations
        self.round = 0
        self.random = random.Random(name)
        self.stopping = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.stopping.clear()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        """Waits until the thread is gone."""
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), f"{self.name} hangs"
        if self.failure:
            raise self.failure

    def run(self):
        try:
            client = self.node.client(retry=None, retry_on_timeout=False)
            while not self.stopping.is_set():
                self.once(client)
        except (redis.ConnectionError, redis.TimeoutError):
            pass  # the node was killed or stopped: what this test is about
        except redis.RedisError as error:
            self.failure = error

    def once(self, client):
        """One pipeline; each answer that arrives counts as an acknowledgement, in a cut one too."""
        pipe, done = [], []
        for _ in range(self.depth):
            n, self.round = self.round, self.round + 1
            key, amount = f"s:{self.name}:{n % 1000}", self.random.randrange(1, 5)
            kind = n % 5
            if kind == 0:
                pipe.append((("SET", key, n), lambda key=key, n=n: self.strings.__setitem__(key, n)))
            elif kind == 1:
                self.sent += amount
                pipe.append((("INCRBY", "count", amount), lambda amount=amount: self.count(amount)))
            elif kind == 2:
                member = f"{self.name}:{n}"
                pipe.append((("SADD", "members", member), lambda m=member: self.members.add(m)))
            elif kind == 3:
                field = f"{self.name}:{n % 500}"
                pipe.append((("HSET", "hash", field, n), lambda f=field, n=n: self.hashed.__setitem__(f, n)))
            else:
                one, two = f"x:{self.name}", f"y:{self.name}"
                for command in (("MULTI",), ("SET", one, n), ("SET", two, n)):
                    pipe.append((command, None))
                pipe.append((("EXEC",), lambda n=n: setattr(self, "pairs", n)))
        connection = client.connection_pool.get_connection("_")
        try:
            connection.send_packed_command(connection.pack_commands([command for command, _ in pipe]))
            for _, then in pipe:
                connection.read_response()
                if then:
                    then()
                    self.acknowledged += 1
        finally:
            client.connection_pool.release(connection)

    def count(self, amount):
        self.counted += amount

    def missing(self, client):
        """What is not there of all that was acknowledged; a later write that got no answer may be there instead."""
        def older(value, acknowledged):
            return value is None or int(value) < acknowledged
        lost = []
        keys = list(self.strings)
        for at in range(0, len(keys), 500):
            part = keys[at:at + 500]
            values = client.mget(part)
            lost += [(k, self.strings[k], v) for k, v in zip(part, values) if older(v, self.strings[k])]
        members = list(self.members)
        for at in range(0, len(members), 500):
            part = members[at:at + 500]
            lost += [("members", m) for m, there in zip(part, client.smismember("members", part)) if not there]
        if self.hashed:
            names = list(self.hashed)
            lost += [("hash", f, self.hashed[f], v) for f, v in zip(names, client.hmget("hash", names))
                     if older(v, self.hashed[f])]
        if self.pairs:
            one, two = client.mget(f"x:{self.name}", f"y:{self.name}")
            if older(one, self.pairs) or one != two:
                lost.append(("pair", self.pairs, one, two))
        return lost


def check(writers, nodes):
    """Every acknowledged write is in every one of these nodes, and the counter is exact."""
    low, high = sum(w.counted for w in writers), sum(w.sent for w in writers)
    for node in nodes:
        client = node.client()
        for writer in writers:
            lost = writer.missing(client)
            assert not lost, f"{node.region} lacks {len(lost)} acknowledged writes of {writer.name}: {lost[:5]}"
        value = int(client.get("count") or 0)
        assert low <= value <= high, f"{node.region}: the counter is {value}, acknowledged {low}, sent {high}"
