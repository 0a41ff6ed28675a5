"""What RocksDB, the cipher and the network allow at best, and how near skerry comes to it; what a large store costs to start;
which threads the work is done on. Like measures.py, whose tables these are.
"""
import os
import re
import shutil
import statistics
import time

import servers
from measures import PAYLOAD, Table, count, first, later, median_run, redis_benchmark, restart_s, verdict
from servers import Failed, Skerry

ROW = 17 + 112      # bytes of a row in floor_bench
BATCH_MAX = 100000  # rows


def floor(setting, what, *arguments):
    """(operations a second, CPU µs each) of one run of floor_bench."""
    folder = [os.path.join(setting.folder, "floor")] if what in ("put", "get") else []
    if folder:
        servers.warm_memory()
    try:
        return setting.tool("floor_bench", what, *folder, f"seconds={max(1, int(setting.seconds // 3))}", *arguments)
    finally:
        shutil.rmtree(os.path.join(setting.folder, "floor"), ignore_errors=True)


def medians(runs):
    return [statistics.median(values) for values in zip(*runs)]


def store_writes(node):
    return node.info("persistence")["store_writes"]


def sets(setting, durability, say):
    """(operations a second, CPU µs each, rows a commit) of pipelined SETs of random keys on a node alone."""
    server = Skerry(setting.skerryd, durability)
    server.start()
    try:
        before = store_writes(server.node)
        run = redis_benchmark(server, ["SET", "key:__rand_int__", "x" * 100], setting.requests, 32, setting.keyspace)
        group = setting.requests / max(1, store_writes(server.node) - before)
        say(f"SET {durability}: {run.ops:,.0f}/s, {group:.0f} rows a commit")
        return run.ops, run.cpu_us, group
    except Failed as error:
        raise Failed(f"{error}\n{server.story()}") from error
    finally:
        server.stop()


def writes(setting, say):
    table = Table("Writes beside RocksDB alone", "durability", "rows a commit", "SET/s", "RocksDB, random rows, one by one",
                  "in equal batches", "ascending, equal batches", "SET over random, equal batches", "target", "",
                  "SET over ascending", "target", "", "CPU µs: SET / random batch / ascending",
                  note=f"SET: 32 in each of 50 pipelines, {count(setting.requests)} of {count(setting.keyspace)} random keys. RocksDB: "
                       "the same rows through the store's options, one thread, no network, no history, no log of ours; "
                       "synced under `always`. Medians of alternating rounds.")
    for durability in setting.durability:
        sync = f"sync={int(durability == 'always')}"
        ours, single, batch, ascending = [], [], [], []
        for _ in range(setting.rounds):
            ours.append(sets(setting, durability, say))
            rows = f"batch={max(1, min(BATCH_MAX, round(ours[-1][2])))}"
            keys = f"keys={setting.keyspace}"
            single.append(floor(setting, "put", keys, sync))
            batch.append(floor(setting, "put", keys, rows, sync))
            ascending.append(floor(setting, "put", keys, rows, "ascending=1", sync))
        ops, cpu, group = medians(ours)
        one, many, up = medians(single), medians(batch), medians(ascending)
        table.add(durability, f"{group:.0f}", count(ops), count(one[0]), count(many[0]), count(up[0]),
                  f"{ops / many[0]:.2f}", *verdict(ops / many[0], later(">=", 1.0)),
                  f"{ops / up[0]:.2f}", *verdict(ops / up[0], later(">=", 0.4)), f"{cpu:.2f} / {many[1]:.2f} / {up[1]:.2f}")
    return table


def gets(setting, memory):
    """Pipelined GETs of all keys on a node alone, which has `memory` bytes for its caches (None: the example's)."""
    server = Skerry(setting.skerryd, "interval")
    server.start()
    try:
        if memory:
            if server.node.stop() != 0:
                raise Failed(server.story())
            servers.configure(server.node, storage={"cache": f"{memory // 2 >> 20}mb", "row_cache": f"{memory // 2 >> 20}mb"})
            server.node.spawn()
            servers.wait_pong(server.port, server.node.process)
        setting.tool("load_bench", server.port, f"count={setting.keys}", "pipeline=32", f"keys={setting.keys}")
        servers.settled_cpu_s(server.pid)
        words = ["GET", "key:__rand_int__"]
        return median_run([redis_benchmark(server, words, setting.requests, 32, setting.keys) for _ in range(2)])
    except Failed as error:
        raise Failed(f"{error}\n{server.story()}") from error
    finally:
        server.stop()


def reads(setting, say):
    table = Table("Reads beside RocksDB alone", "data", "GET/s", "RocksDB, point reads", "ratio", "target", "",
                  "CPU µs GET / point read",
                  note=f"GET: 32 in each of 50 pipelines, random ones of {count(setting.keys)} keys; RocksDB: one thread, same rows, as "
                       "much memory for its block cache. What no cache has comes from the system's page cache.")
    small = max(16 << 20, setting.keys * ROW // 10)
    for what, memory, target in (("fits the caches", None, 0.8), ("ten times the caches", small, 0.7)):
        ours, bare = [], []
        for _ in range(setting.rounds):
            run = gets(setting, memory)
            ours.append((run.ops, run.cpu_us))
            bare.append(floor(setting, "get", f"keys={setting.keys}", f"cache={memory or 512 << 20}"))
            say(f"GET, {what}: {ours[-1][0]:,.0f}/s, RocksDB {bare[-1][0]:,.0f}/s")
        (ops, cpu), (base, base_cpu) = medians(ours), medians(bare)
        table.add(what, count(ops), count(base), f"{ops / base:.2f}", *verdict(ops / base, later(">=", target)),
                  f"{cpu:.2f} / {base_cpu:.2f}")
    return table


def channel(setting, say):
    say("cipher and loopback")
    table = Table("The cipher and the network alone", "frame, bytes", "seal and open, frames/s", "MB/s", "µs CPU",
                  "loopback and back, frames/s", "µs CPU",
                  note="ChaCha20-Poly1305 of libsodium, one thread; loopback TCP through libuv, 32 frames on the way, both ends in one "
                       "process. A replicated SET of 16 + 100 bytes is some 130 bytes of a frame.")
    for size in (130, 1400, 16384, 65000):
        cipher, echo = floor(setting, "aead", f"bytes={size}"), floor(setting, "echo", f"bytes={size}")
        table.add(count(size), count(cipher[0]), f"{cipher[0] * size / 1e6:.0f}", f"{cipher[1]:.2f}", count(echo[0]), f"{echo[1]:.2f}")
    return table


def beside_the_floor(setting, say):
    yield writes(setting, say)
    yield reads(setting, say)
    yield channel(setting, say)


# -- a large store ------------------------------------------------------------------------------------------------------


def large(setting, say):
    """Ten times the keys: what a start costs, and that memory does not grow with the data."""
    keys = setting.keys * 10
    table = Table(f"A store of {count(keys)} keys", "what", "value", "target", "")
    server = Skerry(setting.skerryd, "interval")
    server.start()
    try:
        say(f"loading {count(keys)} keys")
        setting.tool("load_bench", server.port, f"count={keys}", "pipeline=32", f"keys={keys}")
        servers.settled_cpu_s(server.pid, 120)
        resident = servers.resident_bytes(server.pid)
        allowed = server.node.info("memory")["memory_max_configured"]
        table.add("data, MB", f"{keys * PAYLOAD / 1e6:.0f}", "", "")
        table.add("resident over what the configuration allows", f"{resident / allowed:.2f}", *verdict(resident / allowed, first("<=", 1)))
        clean = restart_s(server.node, kill=False)
        table.add("start after a clean stop, s", f"{clean:.3f}", *verdict(clean, later("<=", 1)))
        for share in (100, 10):
            setting.tool("load_bench", server.port, f"count={setting.keys * 10 // share}", "pipeline=32", f"keys={keys}", "random=1")
            log = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in
                      os.walk(os.path.join(server.node.folder, "data", "db", "log")) for name in names)
            table.add(f"start after kill -9 under {count(keys // share)} SETs, {log >> 20} MiB of log, s",
                      f"{restart_s(server.node, kill=True):.3f}", "", "")
            servers.settled_cpu_s(server.pid)
    finally:
        server.stop()
    yield table


# -- threads ------------------------------------------------------------------------------------------------------------


def thread_seconds(pid):
    """{name: CPU seconds} of a process's threads; RocksDB's and libuv's own are summed."""
    spent = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as file:
            name, fields = re.match(r"\d+ \((.*)\) (.*)", file.read()).groups()
        fields = fields.split()
        name = "loop" if int(task) == pid else name if name.startswith("sk-") else "RocksDB and others"
        spent[name] = spent.get(name, 0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def threads(setting, say):
    """One thread executes commands: how much of a write it does itself, and how busy it is when clients want all there is."""
    names = ["loop", "sk-commit", "sk-place", "RocksDB and others"]
    table = Table("Where the work is done (`always`)", "command", "ops/s", "loop busy", *(f"{name}, µs/op" for name in names),
                  note="CPU time of each thread, 32 in each of 50 pipelines. What the loop leaves to others runs on the second core, "
                       "which the clients need too.")
    server = Skerry(setting.skerryd, "always")
    server.start()
    try:
        for words in (["SET", "key:__rand_int__", "x" * 100], ["GET", "key:__rand_int__"], ["INCR", "counter:__rand_int__"],
                      ["HSET", "myhash", "element:__rand_int__", "x" * 100], ["SADD", "myset", "element:__rand_int__"]):
            before, began = thread_seconds(server.pid), time.monotonic()
            run = redis_benchmark(server, words, setting.requests, 32, setting.keyspace)
            took = setting.requests / run.ops
            after = thread_seconds(server.pid)
            spent = {name: after.get(name, 0) - before.get(name, 0) for name in names}
            say(f"{words[0]}: loop {spent['loop'] / took:.0%} of {took:.1f} s ({time.monotonic() - began:.1f} s in all)")
            table.add(words[0], count(run.ops), f"{spent['loop'] / took:.0%}",
                      *(f"{spent[name] / setting.requests * 1e6:.2f}" for name in names))
    finally:
        server.stop()
    yield table


SECTIONS = {"floor": beside_the_floor, "large": large, "threads": threads}
