#!/usr/bin/python3
"""What client libraries and tools do: pipelines, optimistic locking, scans, thousands of connections, redis-cli,
redis-benchmark, RESP3, WAIT and sessions that move between regions."""
import fcntl
import os
import pty
import re
import resource
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, run_on, tests_of  # noqa: E402
from load import fields, scaled  # noqa: E402


class Raw:
    """A RESP connection that shows what is on the wire: a second opinion beside the library's."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.stream = self.socket.makefile("rb")

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def reply(self):
        line = self.stream.readline()
        assert line.endswith(b"\r\n"), line
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-(":
            return line[:-2] if kind == b"-" else rest
        if kind == b":":
            return int(rest)
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind == b"_" or (kind in b"$*" and rest == b"-1"):
            return None
        if kind in b"$=":
            data = self.stream.read(int(rest) + 2)
            assert data.endswith(b"\r\n")
            return data[4:-2] if kind == b"=" else data[:-2]
        if kind in b"*>":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"~":
            return {"set": [self.reply() for _ in range(int(rest))]}
        assert kind == b"%", line
        return {self.hashable(self.reply()): self.reply() for _ in range(int(rest))}

    @staticmethod
    def hashable(value):
        return value if not isinstance(value, (list, dict)) else repr(value)

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def close(self):
        self.stream.close()
        self.socket.close()


def cli(node, *args, text=None):
    done = subprocess.run(["redis-cli", "-p", str(node.port), *args], input=text, capture_output=True, text=True,
                          timeout=WAIT_S)
    assert done.returncode == 0, (args, done)
    return done.stdout


def test_pipeline(cluster):
    """10,000 commands at once, answered in order."""
    client, count = cluster["eu"].client(), 10000
    pipe = client.pipeline(transaction=False)
    for i in range(count):
        if i % 4 == 0:
            pipe.set(f"pipe:{i}", i)
        elif i % 4 == 1:
            pipe.get(f"pipe:{i - 1}")
        elif i % 4 == 2:
            pipe.incr("pipe:count")
        else:
            pipe.execute_command("NOSUCH", i)
    got = pipe.execute(raise_on_error=False)
    for i in range(count):
        if i % 4 == 3:
            assert isinstance(got[i], redis.ResponseError) and "unknown command" in str(got[i]), got[i]
        else:
            assert got[i] == (True, str(i - 1).encode(), i // 4 + 1)[i % 4], (i, got[i])
    us = cluster["us"].client()
    cluster.wait(lambda: us.get("pipe:count") == str(count // 4).encode(), "the pipeline's effect is in us")


def test_watch(cluster):
    """Optimistic locking: many workers, no lost update."""
    node, rounds, retries = cluster["eu"], scaled(60), []
    node.client().set("locked", 0)

    def work():
        client = node.client()
        for _ in range(rounds):
            while True:
                with client.pipeline() as pipe:
                    try:
                        pipe.watch("locked")
                        value = int(pipe.get("locked"))
                        pipe.multi()
                        pipe.set("locked", value + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        retries.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert node.client().get("locked") == str(4 * rounds).encode(), (node.client().get("locked"), len(retries))


def test_watch_sees_other_regions(cluster):
    """A write that arrives from another region breaks a WATCH like one made here."""
    eu, us = cluster["eu"].client(), cluster["us"].client()
    eu.set("far", 1)
    cluster.wait(lambda: us.get("far") == b"1", "us has it")
    with us.pipeline() as pipe:
        pipe.watch("far")
        eu.set("far", 2)
        cluster.wait(lambda: us.get("far") == b"2", "us has the second value")
        pipe.multi()
        pipe.set("far", 3)
        try:
            pipe.execute()
            raise AssertionError("the transaction ran on what it had not seen")
        except redis.WatchError:
            pass
    assert us.get("far") == b"2"


def test_scan(cluster):
    """Complete over 20,000 keys while others come and go; HSCAN and SSCAN too."""
    client, count = cluster["ap"].client(), 20000
    for at in range(0, count, 2000):
        client.mset({f"scan:{i}": "x" for i in range(at, at + 2000)})
    stop = threading.Event()

    def disturb():
        other, i = cluster["ap"].client(), 0
        while not stop.is_set():
            i += 1
            other.set(f"come:{i % 500}", i)
            other.delete(f"come:{(i + 250) % 500}")

    worker = threading.Thread(target=disturb)
    worker.start()
    try:
        wanted = {f"scan:{i}".encode() for i in range(count)}
        assert set(client.scan_iter(match="scan:*", count=500)) == wanted
        seen, cursor, rounds = set(), 0, 0
        while True:
            cursor, keys = client.scan(cursor, count=1000)
            seen.update(keys)
            rounds += 1
            if cursor == 0:
                break
        assert wanted <= seen and rounds > 10
    finally:
        stop.set()
        worker.join()
    client.sadd("scan set", *range(3000))
    client.hset("scan hash", mapping={i: i for i in range(3000)})
    assert {int(m) for m in client.sscan_iter("scan set", count=50)} == set(range(3000))
    assert len(dict(client.hscan_iter("scan hash", count=50))) == 3000
    assert client.dbsize() >= count
    assert set(client.scan_iter(_type="set")) == {b"scan set"}


def test_resp3(cluster):
    raw = Raw(cluster["eu"].port)
    hello = raw.ask("HELLO", 3)
    assert isinstance(hello, dict) and hello[b"proto"] == 3 and hello[b"server"], hello
    raw.ask("DEL", "r3", "r3s", "n")
    raw.ask("HSET", "r3", "a", 1, "b", 2)
    assert raw.ask("HGETALL", "r3") == {b"a": b"1", b"b": b"2"}
    raw.ask("SADD", "r3s", "x")
    assert raw.ask("SMEMBERS", "r3s") == {"set": [b"x"]}
    assert raw.ask("GET", "none") is None
    assert raw.ask("INCRBYFLOAT", "n", "1.5") == b"1.5"
    assert raw.ask("CONFIG", "GET", "maxclients") == {b"maxclients": b"10000"}
    assert b"redis_version" in raw.ask("INFO", "server") or b"skerry" in raw.ask("INFO", "server")
    found = raw.ask("SIBLINGS", "GET", "r3s")
    assert isinstance(found, dict) and found[b"siblings"][0][b"type"] == b"set", found
    raw.send("MULTI")
    for i in range(3000):
        raw.send("HGETALL", "r3")
    raw.send("EXEC")
    assert raw.reply() == b"OK" and {raw.reply() for _ in range(3000)} == {b"QUEUED"}
    assert raw.reply() == [{b"a": b"1", b"b": b"2"}] * 3000
    for i in range(10000):
        raw.send("PING", i)
    for i in range(10000):
        assert raw.reply() == str(i).encode()
    assert isinstance(raw.ask("HELLO", 2), list)
    assert isinstance(raw.ask("HGETALL", "r3"), list)
    assert raw.ask("HELLO", 4).startswith(b"-NOPROTO")
    assert raw.ask("RESET") == b"RESET"
    raw.close()


def test_client_commands(cluster):
    raw = Raw(cluster["eu"].port)
    number = raw.ask("CLIENT", "ID")
    assert raw.ask("CLIENT", "SETNAME", "tester") == b"OK" and raw.ask("CLIENT", "GETNAME") == b"tester"
    assert raw.ask("CLIENT", "SETNAME", "has space").startswith(b"-ERR")
    assert raw.ask("CLIENT", "SETINFO", "LIB-NAME", "mine") == b"OK"
    assert raw.ask("CLIENT", "NO-EVICT", "on") == raw.ask("CLIENT", "NO-TOUCH", "off") == b"OK"
    info = raw.ask("CLIENT", "INFO").decode()
    assert f"id={number} " in info and "name=tester" in info and "lib-name=mine" in info, info
    others = cluster["eu"].client().client_list()
    assert [c for c in others if c["name"] == "tester" and c["id"] == str(number)], others
    assert raw.ask("SELECT", 0) == b"OK" and raw.ask("SELECT", 1).startswith(b"-ERR")
    assert raw.ask("ECHO", "hi") == b"hi"
    assert raw.ask("QUIT") == b"OK" and raw.stream.read() == b""
    raw.close()


def test_many_connections(cluster):
    """1,000 idle ones: everybody is served, and they cost little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4000, hard), hard))
    node = cluster["us"]
    before, held = node.info("memory")["used_memory_rss"], []
    try:
        for i in range(1000):
            held.append(Raw(node.port))
        for i, raw in enumerate(held):
            raw.send("INCR", "visits")
        assert sorted(raw.reply() for raw in held) == list(range(1, 1001))
        assert node.info("clients")["connected_clients"] >= 1000
        assert node.info("memory")["used_memory_rss"] - before < 64 << 20
        for raw in held[::7]:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # gone without a word
            raw.close()
        assert held[1].ask("PING") == b"PONG"
    finally:
        for raw in held:
            raw.close()
    cluster.wait(lambda: node.info("clients")["connected_clients"] < 10, "the connections are gone")


def test_slow_readers(cluster):
    """Replies that nobody takes are bounded, in all of them together: the node stops reading from who does not read."""
    node = cluster["us"]
    client = node.client()
    client.set("mb", b"x" * (1 << 20))
    before, held = node.info("memory")["used_memory_rss"], []
    for _ in range(4):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.connect(("127.0.0.1", node.port))
        s.sendall(b"GET mb\r\n" * 300)  # 1.2 GB of replies, were they made
        held.append(s)
    cluster.wait(lambda: node.info("clients")["clients_unsent_bytes"] > 32 << 20, "replies wait to be taken")
    for _ in range(200):
        assert client.ping()
    clients = node.info("clients")
    assert clients["clients_unsent_bytes"] <= 4 * (64 << 20), clients
    assert node.info("memory")["used_memory_rss"] - before < 512 << 20
    held[0].settimeout(WAIT_S)
    got, want = 0, 300 * ((1 << 20) + len(b"$1048576\r\n\r\n"))
    while got < want:  # and whoever reads after all gets everything
        chunk = held[0].recv(1 << 20)
        assert chunk, f"closed after {got} of {want} bytes"
        got += len(chunk)
    for s in held:
        s.close()
    client.delete("mb")


def test_redis_cli(cluster):
    node = cluster["eu"]
    assert cli(node, "SET", "cli", "value").strip() == "OK" and cli(node, "GET", "cli").strip() == "value"
    assert cli(node, "-3", "HGETALL", "none").strip() in ("", "(empty hash)", "(empty array)")
    docs = cli(node, "command", "docs", "set")
    assert "summary" in docs and "string" in docs, docs
    assert "set" in cli(node, "COMMAND", "DOCS") and int(cli(node, "COMMAND", "COUNT")) > 90
    out = cli(node, text="SET a 1\nINCR a\nGET a\nMULTI\nINCR a\nEXEC\nTYPE a\n")
    assert out.split() == ["OK", "2", "2", "OK", "QUEUED", "3", "string"], out
    assert "redis-cli" not in cli(node, "--no-raw", "GET", "cli") and '"value"' in cli(node, "--no-raw", "GET", "cli")
    many = "".join(f"SET mass:{i} {i}\r\n" for i in range(5000))
    out = cli(node, "--pipe", text=many)
    assert "errors: 0, replies: 5000" in out, out
    assert len(cli(node, "--scan", "--pattern", "mass:*").split()) == 5000
    assert "keys" in cli(node, "--bigkeys").lower()


def test_redis_cli_on_a_terminal(cluster):
    """There it asks COMMAND DOCS for its hints and its help; an answer that it cannot read makes it abort."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", HISTFILE="/dev/null", REDISCLI_HISTFILE="/dev/null")
        os.execlp("redis-cli", "redis-cli", "-p", str(cluster["eu"].port))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    shown = b""

    def until(word):
        """Reads up to the next prompt after the word; what is typed before it asks may be thrown away."""
        nonlocal shown
        end = time.monotonic() + WAIT_S
        while not re.search(re.escape(word) + rb".*:\d+> $", re.sub(rb"\r?\x1b\[[0-9;]*[KCm]|\r$", b"", shown), re.S):
            ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
            assert ready, f"redis-cli does not show {word}: {shown[-2000:]}"
            shown += os.read(terminal, 65536)
        shown = b""

    def type_in(text, word):
        os.write(terminal, text)
        until(word)

    until(b"")
    type_in(b"PING\r", b"PONG")
    type_in(b"set hinted 1\r", b"OK")
    type_in(b"hset typed:h b c\r", b"(integer)")
    type_in(b"help getrange\r", b"summary")
    type_in(b"help siblings get\r", b"SIBLINGS GET")
    type_in(b"siblings get hinted\r", b"context")
    os.write(terminal, b"quit\r")
    ended = []
    cluster.wait(lambda: ended.append(os.waitpid(child, os.WNOHANG)) or ended[-1][0] == child, "redis-cli ends")
    os.close(terminal)
    assert ended[-1][1] == 0, ended[-1]


def test_redis_benchmark(cluster):
    node = cluster["eu"]
    for args in (["-t", "ping,set,get,incr,sadd,hset,spop,mset", "-n", str(scaled(2000)), "-r", "1000"],
                 ["-t", "set,get,incr", "-n", str(scaled(20000)), "-P", "32", "-r", "1000"],
                 ["-n", str(scaled(2000)), "-r", "1000", "HINCRBY", "bench", "__rand_int__", "1"]):
        done = subprocess.run(["redis-benchmark", "-p", str(node.port), "-c", "20", "-q", *args],
                              capture_output=True, text=True, timeout=4 * WAIT_S)
        assert done.returncode == 0 and "requests per second" in done.stdout, done
        assert "rror" not in done.stdout + done.stderr, done
    cluster.wait_converged()


def test_wait(cluster):
    eu = cluster["eu"].client()
    assert eu.execute_command("WAIT", 2, 0) == 2  # no write yet on this connection: nothing to wait for
    raw = Raw(cluster["eu"].port)
    for i in range(50):
        raw.ask("SET", "waited", i)
        assert raw.ask("WAIT", 2, int(WAIT_S * 1000)) == 2
        for region in ("us", "ap"):
            assert cluster[region].client().get("waited") == str(i).encode()
    cluster.cut("ap")
    raw.ask("SET", "waited", "x")
    assert raw.ask("WAIT", 1, int(WAIT_S * 1000)) == 1
    assert raw.ask("WAIT", 2, 50) == 1  # one region cannot have it: the truth after the timeout
    raw.send("WAIT", 2, 0)
    cluster.heal("ap")
    assert raw.reply() == 2
    raw.send("MULTI")
    raw.send("SET", "waited", "y")
    raw.send("WAIT", 2, 0)
    raw.send("EXEC")
    assert [raw.reply() for _ in range(3)] == [b"OK", b"QUEUED", b"QUEUED"] and isinstance(raw.reply()[1], int)
    assert raw.ask("WAIT", "x", 0).startswith(b"-ERR") and raw.ask("WAIT", 1, -1).startswith(b"-ERR")
    raw.close()


def test_session(cluster):
    """Read your writes, also after moving to another region."""
    eu, us = Raw(cluster["eu"].port), Raw(cluster["us"].port)
    for i in range(scaled(200)):
        eu.ask("SET", "moving", i)
        token = eu.ask("SESSION", "TOKEN")
        assert us.ask("SESSION", "AFTER", token, "TIMEOUT", int(WAIT_S * 1000)) == b"OK"
        assert us.ask("GET", "moving") == str(i).encode()
        us.ask("INCR", "hops")
        assert eu.ask("SESSION", "AFTER", us.ask("SESSION", "TOKEN"), "TIMEOUT", int(WAIT_S * 1000)) == b"OK"
        assert eu.ask("GET", "hops") == str(i + 1).encode()
    cluster.cut("us")
    eu.ask("SET", "moving", "on")
    token = eu.ask("SESSION", "TOKEN")
    assert us.ask("SESSION", "AFTER", token, "TIMEOUT", 0).startswith(b"-BEHIND")
    assert us.ask("SESSION", "AFTER", token, "TIMEOUT", 50).startswith(b"-BEHIND")
    us.send("SESSION", "AFTER", token, "TIMEOUT", int(WAIT_S * 1000))
    us.send("GET", "moving")  # pipelined behind it: it must not be answered before
    cluster.heal("us")
    assert us.reply() == b"OK" and us.reply() == b"on"
    for bad in ("", "x", token[:-3], token + b"A", "A" * 5000):
        assert us.ask("SESSION", "AFTER", bad).startswith(b"-"), bad
    eu.close()
    us.close()


def test_blocked_client_goes_away(cluster):
    """A client that waits for ever and hangs up leaves nothing behind."""
    node = cluster["eu"]
    cluster.cut("ap")
    raws = [Raw(node.port) for _ in range(20)]
    for raw in raws:
        raw.send("SET", "k", "v")
        raw.send("WAIT", 2, 0)
        assert raw.reply() == b"OK"
    cluster.wait(lambda: node.info("clients")["blocked_clients"] == 20, "they wait")
    for raw in raws:
        raw.close()
    cluster.wait(lambda: node.info("clients")["blocked_clients"] == 0, "nobody waits any more")
    cluster.heal("ap")


def test_info_and_commands(cluster):
    """Every command in the table is described well enough for the library, and answers a call without arguments."""
    client = cluster["eu"].client()
    table = client.command()
    assert len(table) > 90 and table["set"]["arity"] == -3 and "write" in table["set"]["flags"], table.get("set")
    raw = Raw(cluster["eu"].port)
    docs = fields(raw.ask("COMMAND", "DOCS"))
    assert set(docs) >= {name.encode() for name in table}
    assert raw.ask("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2") == [b"a", b"b"]
    for name in table:
        if name not in ("quit", "flushall", "flushdb"):
            raw.send(name)
            raw.reply()
    assert raw.ask("RESET") == b"RESET"
    raw.close()


def main():
    run_on(["eu", "us", "ap"], tests_of(globals()))
    print("all passed")


if __name__ == "__main__":
    main()
