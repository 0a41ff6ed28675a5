"""The measurements: each takes a Setting, and returns Tables. What they drive servers with is redis-benchmark, load_bench and
lag_bench; what they count with is the operating system (servers.py).
"""
import dataclasses
import math
import os
import re
import resource
import socket
import statistics
import subprocess
import time

import servers
from servers import Failed, Peer, Redis, Skerry, Wire

PAYLOAD = 16 + 100  # bytes of a SET's key and value
TCP_HEADERS = 52    # bytes: IPv4, TCP, timestamps
MIB = 1 << 20


@dataclasses.dataclass
class Setting:
    skerryd: str
    build: str              # where load_bench and the others are
    folder: str             # for data
    rounds: int
    requests: int           # of a pipelined run of redis-benchmark; a fifth of that unpipelined
    keyspace: int
    keys: int               # of the large data sets
    durability: list
    commands: list
    peers: list             # (name, host:port)
    hot_key: bool
    large: bool
    seconds: float          # of loads at a given rate
    probes: int

    def tool(self, name, *arguments, wait=True):
        command = [os.path.join(self.build, name), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return finish(process) if wait else process


def finish(process, seconds=1800):
    """The numbers that a helper prints."""
    out, error = process.communicate(timeout=seconds)
    if process.returncode:
        raise Failed(f"{process.args[0]}: {error.strip() or process.returncode}")
    return [float(word) for word in out.split()]


class Table:
    def __init__(self, title, *header, note=""):
        self.title, self.header, self.note, self.rows = title, header, note, []

    def add(self, *cells):
        self.rows.append([str(cell) for cell in cells])

    def markdown(self):
        lines = [f"### {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines += ["| " + " | ".join(row) + " |" for row in [self.header, ["---"] * len(self.header), *self.rows]]
        return "\n".join(lines) + "\n"


def verdict(value, *targets):
    """("at most 1.2, later 1.1", "ok, not yet") of targets like ("<=", 1.2, "")."""
    if not targets:
        return "", ""
    good = [value <= limit if sign == "<=" else value >= limit for sign, limit, _ in targets]
    words = [f"{when + ' ' if when else ''}{'≤' if sign == '<=' else '≥'} {limit:g}" for sign, limit, when in targets]
    return ", ".join(words), ", ".join("ok" if g else "not yet" for g in good)


def first(sign, limit):
    return (sign, limit, "")


def later(sign, limit):
    return (sign, limit, "later")


def count(number):
    return f"{number:,.0f}"


# -- beside other servers -----------------------------------------------------------------------------------------------

BENCHED = {  # as redis-benchmark's own tests have them
    "SET": ["SET", "key:{}", "VALUE"],
    "GET": ["GET", "key:{}"],
    "INCR": ["INCR", "counter:{}"],
    "HSET": ["HSET", "myhash", "element:{}", "VALUE"],
    "SADD": ["SADD", "myset", "element:{}"],
}
LATER = {("always", "SET", 1): 1.3}  # a group commit beside the loop has to beat a sync on it
VERSUS_TARGETS = {("SET", 32): 0.5, ("GET", 32): 0.5, ("SET", 1): 0.8, ("GET", 1): 0.8}


@dataclasses.dataclass
class Run:
    ops: float
    p50: float
    p99: float
    p999: float
    cpu_us: float


def redis_benchmark(server, words, requests, pipeline, keyspace):
    """One run: throughput and latencies in milliseconds, from the benchmark's own histogram."""
    host = getattr(server, "host", "127.0.0.1")
    command = ["redis-benchmark", "-h", host, "-p", str(server.port), "-c", "50", "-n", str(requests), "-P", str(pipeline),
               "-d", "100", "-r", str(keyspace), *words]
    before = servers.cpu_s(server.pid) if server.pid else 0
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=1800)
    cpu = servers.settled_cpu_s(server.pid) - before if server.pid else float("nan")
    text = done.stdout
    throughput = re.search(r"throughput summary: ([\d.]+)", text)
    if done.returncode or not throughput or "Error from server" in text + done.stderr:
        raise Failed(f"{' '.join(command)}: {(done.stderr or text)[-300:]}")
    shares = [(float(share), float(ms)) for share, ms in
              re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds", text.split("Cumulative distribution")[0], re.M)]
    p50, _, p99 = re.search(r"p50\s+p95\s+p99\s+max\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", text).groups()
    p999 = next(ms for share, ms in shares if share >= 99.9)
    return Run(float(throughput.group(1)), float(p50), float(p99), p999, cpu / requests * 1e6)


ONE_KEY = ("HSET", "SADD")  # have it anyway, and ten times the same field would not be a hash: they are run over again


def words_of(command, hot):
    words = BENCHED[command]
    where = "hot" if hot and command not in ONE_KEY else "__rand_int__"
    return [word.format(where) if word != "VALUE" else "x" * 100 for word in words]


def median_run(runs):
    return Run(*(statistics.median(getattr(run, field.name) for run in runs) for field in dataclasses.fields(Run)))


def versus_round(setting, durability, results, say):
    candidates = [Redis(setting.folder, durability), Skerry(setting.skerryd, durability)]
    for server in candidates + [Peer(*peer) for peer in setting.peers]:
        server.start()
        try:
            for hot in ([False, True] if setting.hot_key else [False]):
                for command in setting.commands:
                    for pipeline in (32, 1):
                        requests = setting.requests if pipeline > 1 else setting.requests // 5
                        run = redis_benchmark(server, words_of(command, hot), requests, pipeline, setting.keyspace)
                        results.setdefault((command, pipeline, hot), {}).setdefault(server.name, []).append(run)
                        say(f"{durability} {server.name} {command} P={pipeline}: {run.ops:,.0f}/s {run.cpu_us:.2f} us")
        except Failed as error:
            raise Failed(f"{error}\n{server.story()}") from error
        finally:
            server.stop()


def versus(setting, say):
    names = ["redis", "skerry"] + [name for name, _ in setting.peers]
    each = " / ".join(names)
    for durability in setting.durability:
        table = Table(f"Beside redis-server, durability `{durability}` (Redis: appendfsync {servers.REDIS_FSYNC[durability]})",
                      "command", "pipeline", f"ops/s {each}", "ratio", "target", "", f"p50 ms {each}", "p99 ms", "p99.9 ms",
                      "p99 ratio", "target", "",
                      f"CPU µs/op {each}", "CPU ratio",
                      note=f"{count(setting.requests)} requests ({count(setting.requests // 5)} unpipelined), 50 connections, "
                           f"100 bytes, keys out of {count(setting.keyspace)}; medians of {setting.rounds} alternating rounds. "
                           "CPU: all threads, until what was left to do in the background is done.")
        results = {}
        for _ in range(setting.rounds):
            versus_round(setting, durability, results, say)
        for (command, pipeline, hot), of in results.items():
            runs = [median_run(of[name]) for name in names]
            ours, base = runs[names.index("skerry")], runs[0]
            target = VERSUS_TARGETS.get((command, pipeline))
            goals = ([first(">=", target)] if target else []) + [later(">=", LATER.get((durability, command, pipeline), 1.0))]
            again = " over again" if command in ONE_KEY else " one key"
            table.add(command + (again if hot else ""), pipeline, " / ".join(count(r.ops) for r in runs),
                      f"{ours.ops / base.ops:.2f}", *verdict(ours.ops / base.ops, *goals),
                      *(" / ".join(f"{getattr(r, field):.2f}" for r in runs) for field in ("p50", "p99", "p999")),
                      f"{ours.p99 / base.p99:.2f}", *verdict(ours.p99 / base.p99, later("<=", 1.2)),
                      " / ".join(f"{r.cpu_us:.2f}" for r in runs), f"{ours.cpu_us / base.cpu_us:.2f}")
        yield table


# -- a large set --------------------------------------------------------------------------------------------------------


def sadd(setting, say):
    """New members into an empty set, and into one that has many already: medians over rounds, in turns."""
    table = Table("SADD to a large set", "pipeline", "empty set ops/s", f"set of {count(setting.keys)} ops/s", "ratio",
                  "target", "", "CPU µs/op empty / large", "CPU ratio",
                  note="New members, `always`, one node. The ratio of CPU time shows the same without the machine's noise.")
    server = Skerry(setting.skerryd, "always")
    server.start()
    try:
        client, loaded = server.node.client(), 0
        while loaded < setting.keys:
            step = min(10000, setting.keys - loaded)
            client.sadd("large", *(f"member:{i:012d}" for i in range(loaded, loaded + step)))
            loaded += step
        servers.settled_cpu_s(server.pid)
        number = 0
        for pipeline in (32, 1):
            runs = {"empty": [], "large": []}
            for _ in range(max(3, setting.rounds)):
                for which in runs:
                    number += 1
                    key = "large" if which == "large" else f"empty:{number}"
                    requests = max(setting.keys // 10, 1000)
                    words = ["SADD", key, f"{number}:__rand_int__"]
                    runs[which].append(redis_benchmark(server, words, requests, pipeline, 2 * 10 ** 9))
                    say(f"SADD {which} P={pipeline}: {runs[which][-1].ops:,.0f}/s")
            empty, large = median_run(runs["empty"]), median_run(runs["large"])
            ratio = large.ops / empty.ops
            table.add(pipeline, count(empty.ops), count(large.ops), f"{ratio:.2f}", *verdict(ratio, first(">=", 0.9)),
                      f"{empty.cpu_us:.2f} / {large.cpu_us:.2f}", f"{large.cpu_us / empty.cpu_us:.2f}")
    finally:
        server.stop()
    yield table


# -- between regions ----------------------------------------------------------------------------------------------------


def wait_same(cluster, writer):
    """Seconds until every other region has what the writer has, and the writer knows it."""
    began = time.monotonic()
    token = writer.client().execute_command("SESSION", "TOKEN").decode()
    for node in cluster:
        if node is not writer:
            servers.cluster.redis.Redis(port=node.port, socket_timeout=900).execute_command(
                "SESSION", "AFTER", token, "TIMEOUT", 900000)
    took = time.monotonic() - began
    cluster.wait(lambda: all(peer["lag"] == 0 for peer in peers_of(writer)), "the writer hears that all have it", 900)
    return took


def peers_of(node):
    info = node.info("replication")
    return [value for name, value in info.items() if re.fullmatch(r"region\d+", name)]


def on_the_wire(setting, cluster, writer, copies, table, what, targets, *load):
    """Runs a load of SETs, and adds what every link carried for each copy of each SET."""
    wire = Wire(list(cluster))
    cpu = {node.region: servers.cpu_s(node.process.pid) for node in cluster}
    sets, seconds, p50, p99, _ = setting.tool("load_bench", writer.port, *load)
    wait_same(cluster, writer)
    carried, segments = wire.carried()
    each = carried / sets / copies
    over = each / PAYLOAD - 1
    table.add(what, count(sets / seconds), f"{each:.1f}", f"{100 * over:.1f} %", *verdict(100 * over, *targets),
              f"{each + segments / 2 * TCP_HEADERS / sets / copies:.1f}", f"{p50 / 1000:.2f} / {p99 / 1000:.2f}")
    return {node.region: (servers.settled_cpu_s(node.process.pid) - cpu[node.region]) / sets * 1e6 for node in cluster}


def wire_table(setting):
    return Table("Bytes on the wire per replicated SET (16 + 100 bytes)", "load", "SET/s", "bytes", "over payload", "target %",
                 "", "with TCP/IP headers", "p50 / p99 ms of SET",
                 note="TCP's own count of what every link carried in both directions, for each SET and each region that got it: "
                      "records, tags, clocks, heartbeats, acknowledgements. `always`; values are random bytes.")


def lag_row(setting, table, writer, reader, what, targets, load=None, probes=None):
    process = setting.tool("load_bench", writer.port, *load, wait=False) if load else None
    try:
        if process:
            time.sleep(0.3)
        done, p50, p99, p999, top, trip = setting.tool("lag_bench", writer.port, reader.port, probes or setting.probes, 4000, 900)
    finally:
        if process:
            process.kill()
            process.communicate()
    table.add(what, count(done), *(f"{us / 1000:.2f}" for us in (p50, p99, p999, top)), *verdict(p99 / 1000, *targets),
              f"{trip:.0f}")


def lag_table():
    return Table("Replication lag: acknowledged here, readable there", "while", "probes", "p50 ms", "p99 ms", "p99.9 ms",
                 "max ms", "target p99", "", "a GET there, µs",
                 note="A client that asks until it has the value. Two regions on one machine, so the load's CPU is theirs too.")


def catch_up(setting, cluster, writer, reader, times, table, what):
    """A hundredth of the keys changes, each so many times, while the link is out of service."""
    changed = setting.keys // 100
    before = peers_of(writer)[0]["transfers_out"]
    client = writer.client()
    client.execute_command("REGION", "LINK", reader.region, "down")
    cluster.wait(lambda: writer.links_up() == 0 and not servers.link_sockets({writer.link_port, reader.link_port}),
                 "the link is down")
    for _ in range(times):
        setting.tool("load_bench", writer.port, f"count={changed}", "pipeline=32", f"from={setting.keys // 2}")
    wire = Wire([writer, reader], from_nothing=True)
    client.execute_command("REGION", "LINK", reader.region, "up")
    seconds = wait_same(cluster, writer)
    carried, _ = wire.carried()
    ratio = carried / (changed * PAYLOAD)
    tier = "rows from disk" if peers_of(writer)[0]["transfers_out"] > before else "live, from memory"
    table.add(what, tier, count(changed), count(carried), f"{ratio:.3f}", *verdict(ratio, first("<=", 1.25)), f"{seconds:.2f}")


def catch_up_table(setting):
    return Table(f"Catch-up after a partition ({count(setting.keys)} keys of 16 + 100 bytes)", "what happened", "how",
                 "keys changed", "bytes on the wire", "over what differs", "target", "", "seconds from LINK up to equal",
                 note="Both directions, handshake included. What differs: the changed keys and their values, once.")


def restart_s(node, kill):
    """Seconds from the start of the process to its first PONG."""
    if kill:
        node.kill()
    elif node.stop() != 0:
        raise Failed(f"{node.region} did not stop cleanly\n{node.log_tail()}")
    node.spawn()
    return servers.wait_pong(node.port, node.process)


def connection_bytes(node):
    """Resident bytes of one more idle connection that has been used once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = min(9000, hard - 100)
    before, held = servers.resident_bytes(node.process.pid), []
    for _ in range(many):
        held.append(socket.create_connection(("127.0.0.1", node.port)))
        held[-1].sendall(b"*1\r\n$4\r\nPING\r\n")
        held[-1].recv(16)
    after = servers.resident_bytes(node.process.pid)
    for connection in held:
        connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return (after - before) / many, many


def disk(setting, folder, keys, table):
    out = subprocess.run([os.path.join(setting.build, "disk_bench"), folder], capture_output=True, text=True)
    if out.returncode:
        raise Failed(out.stderr.strip())
    families = {line.split()[0]: [int(n) for n in line.split()[1:]] for line in out.stdout.splitlines()}
    rows, key_bytes, value_bytes, tables = families["row"]
    table.add("row: bytes beyond key and value, before compression", f"{(key_bytes + value_bytes) / rows - PAYLOAD:.2f}",
              *verdict((key_bytes + value_bytes) / rows - PAYLOAD, later("<=", 12)))
    others = {name: sum(n[1:3]) for name, n in families.items() if name != "row"}
    table.add("other families, bytes per key before compression",
              ", ".join(f"{name} {size / keys:.2f}" for name, size in others.items()), "", "")
    all_tables = sum(n[3] for n in families.values())
    used = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    table.add("tables after compaction, bytes per key (payload 116)", f"{all_tables / keys:.1f}", "", "")
    table.add("tables over payload", f"{all_tables / keys / PAYLOAD:.3f}", "", "")
    table.add("data directory after compaction, MiB", f"{used / MIB:.1f}", "", "")


def two_regions(setting, say):
    """Everything that needs two regions or a full node, in one cluster: loading takes longest."""
    wire, lag, catch = wire_table(setting), lag_table(), catch_up_table(setting)
    state = Table("Memory, start, disk", "what", "value", "target", "")
    cpu = Table("CPU time of replication, µs per SET", "load", "writer", "receivers", "writer over a lone node", "target", "",
                "receiver over writer", "target", "")
    keys, rate = setting.keys, int(1000 * setting.seconds)
    with servers.regions(setting.skerryd, ["eu", "us"]) as cluster:
        cluster.start()
        eu, us = cluster["eu"], cluster["us"]
        idle = servers.resident_bytes(eu.process.pid) / MIB
        state.add("resident idle, MiB", f"{idle:.1f}", *verdict(idle, later("<=", 30)))
        each, many = connection_bytes(us)
        state.add(f"resident per idle connection, KB ({count(many)} of them)", f"{each / 1000:.2f}",
                  *verdict(each / 1000, later("<=", 3)))
        say("lag")
        lag_row(setting, lag, eu, us, "idle", [])
        at_rate = ("rate=1000", "count=1000000000", "from=2000000", f"keys={keys}", "random=1")
        lag_row(setting, lag, eu, us, "1,000 SET/s", [later("<=", 20)], at_rate)
        say("wire")
        on_the_wire(setting, cluster, eu, 1, wire, "two regions, 1,000 SET/s", [first("<=", 30)],
                    "rate=1000", f"count={rate}", "from=2000000")
        on_the_wire(setting, cluster, eu, 1, wire, "two regions, saturation", [first("<=", 12)], f"count={keys}", "pipeline=32")
        loaded = servers.resident_bytes(eu.process.pid) / MIB
        state.add(f"resident after {count(keys)} SETs, MiB", f"{loaded:.1f}", "", "")
        saturating = ("pipeline=32", "count=1000000000", f"keys={keys}", "random=1")
        lag_row(setting, lag, eu, us, "saturation (32 in 50 pipelines)", [], saturating, max(50, setting.probes // 20))
        wait_same(cluster, eu)
        say("catch-up")
        catch_up(setting, cluster, eu, us, 1, catch, "each changed key written once")
        catch_up(setting, cluster, eu, us, 20, catch, "each written 20 times")
        servers.configure(eu, replication={"ring_max": "1mb"})
        start = restart_s(eu, kill=False)
        state.add(f"start after a clean stop, {count(keys)} keys, s", f"{start:.3f}", *verdict(start, later("<=", 1)))
        cluster.wait_links()
        times = max(20, math.ceil(4 * MIB / (keys // 100 * PAYLOAD)))  # more than the ring holds
        catch_up(setting, cluster, eu, us, times, catch, f"each written {times} times, ring_max 1 MB")
        say("memory, start, disk")
        setting.tool("load_bench", eu.port, f"count={keys // 10}", "pipeline=32", f"keys={keys}", "random=1")
        state.add(f"start after kill -9 under {count(keys // 10)} SETs more, s", f"{restart_s(eu, kill=True):.3f}", "", "")
        cluster.wait_links()
        wait_same(cluster, eu)
        for node in cluster:
            cluster.wait(lambda: node.info("replication")["stable_vector"] == node.info("replication")["vector"],
                         "everything is stable")
            cluster.wait(lambda: node.info("persistence")["audit"] == "verified", "history is kept until the rows were looked at")
        held = eu.client().dbsize()
        if eu.stop() != 0:
            raise Failed(f"eu did not stop cleanly\n{eu.log_tail()}")
        disk(setting, os.path.join(eu.folder, "data"), held, state)
    three_regions(setting, say, wire, cpu)
    yield from (wire, lag, catch, state, cpu)


def three_regions(setting, say, wire, cpu):
    say("three regions")
    load = (f"count={setting.keys}", "pipeline=32", f"keys={setting.keys}", "random=1")
    lone = Skerry(setting.skerryd, "always")
    lone.start()
    try:
        before = servers.cpu_s(lone.pid)
        sets = setting.tool("load_bench", lone.port, *load)[0]
        alone = (servers.settled_cpu_s(lone.pid) - before) / sets * 1e6
    finally:
        lone.stop()
    cpu.add("a lone node", f"{alone:.2f}", "", "", "", "", "", "", "")
    with servers.regions(setting.skerryd, ["eu", "us", "ap"]) as cluster:
        cluster.start()
        spent = on_the_wire(setting, cluster, cluster["eu"], 2, wire, "three regions, saturation", [first("<=", 12)], *load)
        writer, receivers = spent.pop("eu"), list(spent.values())
        worst = max(receivers) / writer
        cpu.add("three regions, saturation", f"{writer:.2f}", " / ".join(f"{us:.2f}" for us in receivers),
                f"{writer / alone:.2f}", *verdict(writer / alone, later("<=", 1.25)), f"{worst:.2f}",
                *verdict(worst, later("<=", 0.7)))
        on_the_wire(setting, cluster, cluster["eu"], 2, wire, "three regions, 1,000 SET/s", [first("<=", 30)], "rate=1000",
                    f"count={int(1000 * setting.seconds)}", "from=2000000")


def amplification(setting, say):
    """What the disk is given to write for what clients wrote."""
    table = Table("Bytes written to the disk per SET (16 + 100 bytes)", "load, random keys", "all", "over payload", "of it the log",
                  "tables and compaction", "rows placed per SET", "data directory, MiB",
                  note="A node alone, `interval`, 32 in a pipeline; the kernel's count of what the process gave to the disk, until "
                       "what was left to do in the background is done. The log has each SET once; a key written several times "
                       "between two runs is placed once; each compaction into the next level writes its rows again.")
    node = Skerry(setting.skerryd, "interval")
    node.start()
    try:
        for what, times in (("each key once", 1), ("each 5 times more", 5)):
            say(what)
            before, stats = servers.written_bytes(node.pid), node.node.info()
            sets = setting.tool("load_bench", node.port, f"count={setting.keys * times}", "pipeline=32", f"keys={setting.keys}",
                                *(["random=1"] if times > 1 else []))[0]
            servers.settled_cpu_s(node.pid)
            written, after = servers.written_bytes(node.pid) - before, node.node.info()
            grown = {name: (after[name] - stats[name]) / sets for name in ("store_bytes_written", "store_rows_placed")}
            used = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(os.path.join(node.node.folder, "data")) for name in names)
            log = grown["store_bytes_written"]
            table.add(f"{count(sets)}, {what}", f"{written / sets:.0f}", f"{written / sets / PAYLOAD:.2f}", f"{log:.0f}",
                      f"{written / sets - log:.0f}", f"{grown['store_rows_placed']:.2f}", f"{used / MIB:.0f}")
    finally:
        node.stop()
    yield table


SECTIONS = {"versus": versus, "sadd": sadd, "regions": two_regions, "disk": amplification}
