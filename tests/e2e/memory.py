"""Memory stays within what the configuration allows: a node with small settings under several times as much of writes,
reads and scans. What INFO calls memory_max_configured is the bound that an operator plans with, SK_BUDGET_PROCESS of
node/budget.h included: the highest resident size must stay below it, and there is no other allowance.

The address sanitizer keeps freed memory aside and adds zones around every piece, so that resident size says nothing of
ours: with it the test is skipped. SK_E2E_SCALE scales the number of writes."""
import os
import shutil
import subprocess
import sys

from cluster import Cluster
from load import scaled

MB = 1 << 20
SETTINGS = {
    "storage": {"cache": "8mb", "row_cache": "8mb", "write_buffer": "16mb", "min_free": "0"},
    "replication": {"ring_max": "4mb"},
}
KEYS, VALUE_BYTES = 300_000, 200


def highest(node):
    """VmHWM: the most that was resident since the start, in bytes."""
    with open(f"/proc/{node.process.pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def is_sanitized(node):
    with open(f"/proc/{node.process.pid}/maps") as f:
        return "libasan" in f.read()


def benchmark(node, *arguments):
    subprocess.run(["redis-benchmark", "-p", str(node.port), "-q", *map(str, arguments)], check=True,
                   stdout=subprocess.DEVNULL)


def export(node):
    """Reads one to its end; how many bytes it had."""
    client, length = node.client(), 0
    client.execute_command("EXPORT", "OPEN")
    while piece := client.execute_command("EXPORT", "READ"):
        length += len(piece)
    return length


def check(node, what):
    info = node.info("everything")
    parts = sum(info[f"memory_max_{part}"] for part in
                ("block_cache", "row_cache", "write_buffer", "ring", "held", "transfers", "links", "password", "process"))
    most, peak = info["memory_max_configured"], highest(node)
    print(f"{what}: at most {peak / MB:.0f} MB of {most / MB:.0f} MB, block cache {info['store_cache_bytes'] / MB:.0f}, "
          f"rows {info['store_row_cache_bytes'] / MB:.0f}, unplaced {info['store_unplaced_bytes'] / MB:.0f}, changes "
          f"{info['store_overlay_memory'] / MB:.0f}, memtables {info['store_memtable_bytes'] / MB:.0f}, "
          f"tables on disk {info['store_table_bytes'] / MB:.0f}", flush=True)
    assert most == parts, f"memory_max_configured is {most}, its parts come to {parts}"
    assert info["memory_max_block_cache"] == 8 * MB and info["memory_max_row_cache"] == 8 * MB
    assert info["memory_max_write_buffer"] == 16 * MB and info["memory_max_ring"] == 4 * MB
    assert info["store_row_cache_bytes"] <= 8 * MB
    assert peak <= most, f"{what}: {peak} bytes were resident, the configuration allows {most}"


def main():
    if not shutil.which("redis-benchmark"):
        sys.exit("redis-benchmark is not there")
    with Cluster(["eu"], **SETTINGS) as cluster:
        cluster.start()
        node = cluster["eu"]
        if is_sanitized(node):
            print("skipped: built with the address sanitizer")
            return
        count = scaled(3 * KEYS)
        benchmark(node, "-n", count, "-r", KEYS, "-d", VALUE_BYTES, "-P", 64, "-c", 20, "-t", "set")
        stored = node.client().dbsize() * VALUE_BYTES
        check(node, "strings")
        benchmark(node, "-n", count, "-r", KEYS, "-P", 64, "-c", 20, "-t", "get")
        check(node, "reads")
        benchmark(node, "-n", count // 3, "-r", KEYS, "-d", VALUE_BYTES, "-P", 64, "-c", 20, "hset", "hash:__rand_int__",
                  "f", "x" * VALUE_BYTES)
        assert sum(1 for _ in node.client().scan_iter(count=1000)) == node.client().dbsize()
        check(node, "hashes and a scan")
        benchmark(node, "-n", count // 60, "-r", KEYS, "-d", 16000, "-P", 4, "-c", 20, "-t", "set")
        check(node, "large values in the place of small ones")
        node.kill()
        node.start()
        check(node, "a replay")
        exported = export(node)
        check(node, f"an export of {exported / MB:.0f} MB")
        assert stored > 40 * MB or os.environ.get("SK_E2E_SCALE"), f"only {stored} bytes were stored: no test of a bound"


if __name__ == "__main__":
    main()
