"""What it costs to bring regions together: reconciles, new regions, and replication beside what RocksDB can write. Like measures.py,
whose tables these are.
"""
import os
import statistics
import subprocess
import tempfile
import time

import servers
from floor import floor
from measures import PAYLOAD, Table, count, first, peers_of, verdict, wait_same
from servers import Failed, Wire

CHANGED = 1000      # rows that differ, as the store grows
RING = "1gb"        # holds all that is written while a link is out of service: it goes live


# -- reconciles ---------------------------------------------------------------------------------------------------------


def reconciled(setting, rows, differ):
    """[(what, rows that differ, bytes, seconds, bytes of rows)] of a run of reconcile_bench."""
    with tempfile.TemporaryDirectory(dir=setting.folder) as folder:
        out = subprocess.run([os.path.join(setting.build, "reconcile_bench"), folder, str(rows), *map(str, differ)],
                             capture_output=True, text=True, timeout=7200)
    if out.returncode:
        raise Failed(f"reconcile_bench: {out.stderr.strip() or out.returncode}")
    lines = [line.split() for line in out.stdout.splitlines()]
    return [(what, int(d), int(size), float(seconds), int(pushed)) for what, d, size, seconds, pushed in lines]


def reconcile_row(table, rows, copied, what, differ, size, seconds, pushed):
    beside = {"recent": pushed, "random": copied}.get(what)
    ratio = size / beside if beside else 0
    target = []
    if what == "one":
        target = verdict(size, first("<=", 1024))
    elif what == "recent" and differ >= CHANGED:
        target = verdict(ratio, first("<=", 1.5))
    elif what == "random" and differ * 1000 <= rows:
        target = verdict(ratio, first("<=", 0.05))
    each = f"{size / differ:,.0f}" if what in ("recent", "random") else ""
    table.add(count(rows), count(differ) if each else "", what, count(size), each, f"{seconds:.2f}",
              f"{ratio:.3f}" if beside else "", *(target or ("", "")))


def reconcile(setting, say):
    """What reconciles cost as the store grows, and as the difference does. The helper holds both regions (reconcile_bench.c)."""
    header = ("rows", "rows that differ", "what", "bytes", "bytes for each", "seconds", "ratio", "target", "")
    grows = Table("Reconcile: the store grows, the difference does not", *header,
                  note="Two regions in one process over RocksDB, values of 100 bytes, both ways counted. `copy`: all of it. `one`: nothing "
                       "differs but a number. `recent`: overwritten, and forgotten; the ratio is to the bytes of those rows. "
                       "`random`: removed, and forgotten; the ratio is to a full copy.")
    differs = Table("Reconcile: the difference grows, the store does not", *header, note="Likewise.")
    changed = min(CHANGED, setting.keys // 20)
    for rows in [setting.keys // 10, setting.keys] + [setting.keys * 10] * setting.large:
        more = [changed * 10 ** n for n in range(-1, 3) if 10 <= changed * 10 ** n <= rows // 10] if rows == setting.keys else [changed]
        found = reconciled(setting, rows, more)
        copied = found[0][2]
        for what, differ, size, seconds, pushed in found:
            say(f"{rows} rows, {differ} differ: {what}: {size} bytes, {seconds} s")
            if what in ("copy", "one") or differ == changed:
                reconcile_row(grows, rows, copied, what, differ, size, seconds, pushed)
            if rows == setting.keys and what in ("recent", "random"):
                reconcile_row(differs, rows, copied, what, differ, size, seconds, pushed)
    yield grows
    yield differs


# -- a new region -------------------------------------------------------------------------------------------------------


def newcomer(cluster, region, through):
    """A node that is not started, joins through another, and is a region from now on."""
    node = servers.cluster.Node(cluster, region)
    cluster.nodes[region] = node
    settings = {name: dict(fields) for name, fields in servers.EXAMPLE.items()}
    node.write_config(**settings, join={"region": through.region})
    through.client().execute_command("REGION", "ADD", region, node.public.hex(), f"127.0.0.1:{node.link_port}")
    return node


def join(setting, keys, table, say):
    with servers.regions(setting.skerryd, ["eu"]) as cluster:
        cluster.start()
        eu = cluster["eu"]
        setting.tool("load_bench", eu.port, f"count={keys}", "pipeline=32", f"keys={keys}")
        servers.settled_cpu_s(eu.process.pid, 120)
        us = newcomer(cluster, "us", eu)
        wire, cpu = Wire([eu, us], from_nothing=True), servers.cpu_s(eu.process.pid)
        began = time.monotonic()
        us.spawn()
        cluster.wait(lambda: us.client().info("persistence")["loading"] == 0, "the new region is complete", 3600)
        seconds = time.monotonic() - began
        carried, _ = wire.carried()
        cpu = servers.cpu_s(eu.process.pid) - cpu, servers.cpu_s(us.process.pid)
        if us.client().dbsize() != keys:
            raise Failed(f"the new region has {us.client().dbsize()} keys, not {keys}")
        say(f"join: {keys} keys in {seconds:.1f} s")
        table.add(count(keys), f"{seconds:.2f}", count(keys / seconds), f"{keys * PAYLOAD / seconds / 1e6:.1f}",
                  f"{carried / keys:.1f}", f"{cpu[0] / keys * 1e6:.2f}", f"{cpu[1] / keys * 1e6:.2f}")


def bootstrap(setting, say):
    table = Table("A new region joins", "keys", "seconds until it answers reads", "rows/s", "MB/s of keys and values", "bytes on the wire per row",
                  "CPU µs per row: sender", "newcomer",
                  note="From the start of the process with an empty folder; 16 + 100 bytes, random values, `always`, both nodes on this machine.")
    for keys in (setting.keys // 10, setting.keys):
        join(setting, keys, table, say)
    yield table


# -- throughput ---------------------------------------------------------------------------------------------------------


def rows_a_commit(node, before, keys):
    return max(1, keys / max(1, node.info("persistence")["store_writes"] - before))


def replay(setting, durability, say):
    """(rows/s that a region applies of what another wrote while it was away, rows a commit there)."""
    keys = setting.keys
    with servers.regions(setting.skerryd, ["eu", "us"], durability, ring_max=RING) as cluster:
        cluster.start()
        eu, us = cluster["eu"], cluster["us"]
        eu.client().execute_command("REGION", "LINK", "us", "down")
        cluster.wait(lambda: eu.links_up() == 0, "the link is down")
        setting.tool("load_bench", eu.port, f"count={keys}", "pipeline=32")
        servers.settled_cpu_s(eu.process.pid)
        before, transfers = us.info("persistence")["store_writes"], peers_of(eu)[0]["transfers_out"]
        began = time.monotonic()
        eu.client().execute_command("REGION", "LINK", "us", "up")
        wait_same(cluster, eu)
        seconds = time.monotonic() - began
        if peers_of(eu)[0]["transfers_out"] != transfers:
            raise Failed("it went as a transfer, not live: the ring is too small for so many keys")
        say(f"replay, {durability}: {keys / seconds:,.0f} rows/s")
        return keys / seconds, rows_a_commit(us, before, keys)


def follow(setting, durability, say):
    """(SETs a second that clients get out of a region while another follows, until it has all; rows a commit there)."""
    with servers.regions(setting.skerryd, ["eu", "us"], durability) as cluster:
        cluster.start()
        eu, us = cluster["eu"], cluster["us"]
        before, began = us.info("persistence")["store_writes"], time.monotonic()
        setting.tool("load_bench", eu.port, f"count={setting.keys}", "pipeline=32")
        wait_same(cluster, eu)
        ops = setting.keys / (time.monotonic() - began)
        say(f"follow, {durability}: {ops:,.0f} rows/s")
        return ops, rows_a_commit(us, before, setting.keys)


def throughput(setting, say):
    table = Table("Replication beside what RocksDB can write", "durability", "what", "rows/s", "rows a commit", "RocksDB, equal batches",
                  "ratio",
                  note=f"{count(setting.keys)} SETs of different keys, 16 + 100 bytes. `replay`: written while the link was out of service, "
                       "then applied by the other region from the first one's memory. `follow`: as fast as 50 pipelines of 32 get "
                       "them in, until the other region has them too: clients, writer and receiver share this machine. RocksDB: random "
                       "rows through the store's options, one thread, no history. Medians of alternating rounds.")
    for durability in setting.durability:
        for what, measure in (("replay", replay), ("follow", follow)):
            ours, bare = [], []
            for _ in range(setting.rounds):
                ours.append(measure(setting, durability, say))
                bare.append(floor(setting, "put", f"keys={setting.keyspace}", f"batch={min(100000, round(ours[-1][1]))}",
                                  f"sync={int(durability == 'always')}")[0])
            ops, group = (statistics.median(values) for values in zip(*ours))
            base = statistics.median(bare)
            table.add(durability, what, count(ops), f"{group:.0f}", count(base), f"{ops / base:.2f}")
    yield table


SECTIONS = {"reconcile": reconcile, "bootstrap": bootstrap, "throughput": throughput}
