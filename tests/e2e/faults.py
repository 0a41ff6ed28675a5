#!/usr/bin/env python3
"""The n-th write of a node to a socket, or to its disk, fails or is short, for n = 1, 2, 3 ... until the same requests need
fewer: the node answers with an error or closes the connection, goes on by itself, and has what it acknowledged, as has
the other region. (tests/fault/calls.h says which calls are counted.)"""
import errno
import mmap
import os
import re
import signal
import struct
import subprocess
import sys

import redis

from cluster import Cluster, Node, tests_of
from load import PART

DISK, SOCKET = 1, 2
CONTROL = struct.Struct("=IiQQQQ")  # fault_control in tests/fault/calls.h
LIBRARY = os.path.join(os.environ.get("SK_BUILD", "build"), "tests", "libfault_calls.so")
ROUND = 12  # requests that write, in each run


class FaultyNode(Node):
    def __init__(self, cluster, region):
        super().__init__(cluster, region)
        path = os.path.join(self.folder, "faults")
        with open(path, "wb") as f:
            f.write(bytes(CONTROL.size))
        with open(path, "r+b") as f:
            self.control = mmap.mmap(f.fileno(), CONTROL.size)
        asan = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
        self.environment = dict(os.environ, LD_PRELOAD=LIBRARY, SK_FAULT_CONTROL=path, ASAN_OPTIONS=asan)
        self.ended = 0

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.log_begin = log.tell()
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=self.environment)

    def arm(self, kind, error, first, length=1):
        self.control[:] = CONTROL.pack(kind, error, first, length, 0, 0)

    def disarm(self):
        """Calls that were counted, and those that failed."""
        counted, failed = CONTROL.unpack(self.control[:])[4:]
        self.control[:] = bytes(CONTROL.size)
        return counted, failed

    def alive(self):
        """As its supervisor would: started again if it has ended, which only an assertion of RocksDB may do to it."""
        if self.process.poll() is not None:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                log.seek(self.log_begin)
                last = log.read().rstrip().rpartition("\n")[2]
            assert self.process.returncode == -signal.SIGABRT and is_rocksdbs(last), \
                f"{self.region} ended with {self.process.returncode}\n{self.log_tail()}"
            self.ended += 1
            self.start()


def is_rocksdbs(line):
    """As an assertion in RocksDB says it; ours say otherwise, and so do exceptions, malloc and the sanitizers."""
    return re.search(r": .*\brocksdb::.*: Assertion `", line) is not None


class History:
    """What was asked for, by key: acknowledged, or perhaps."""

    def __init__(self, name):
        self.name, self.values, self.perhaps, self.number = name, {}, {}, 0
        self.refused = self.broken = 0

    def write(self, client):
        self.number += 1
        key, value = f"{self.name} {self.number % 5}", f"{self.number} " * (1 + self.number % 3 * 3000)
        try:
            client.set(key, value)
            if self.number % 4 == 0:
                client.wait(1, 200)  # the other region has it, too: the link's writes are among those counted
        except redis.ResponseError as error:
            assert str(error).startswith("MISCONF"), error
            self.refused += 1
            if "read before you try again" in str(error):  # else nothing of it was done
                self.perhaps.setdefault(key, []).append(value)
        except (redis.ConnectionError, redis.TimeoutError):
            self.perhaps.setdefault(key, []).append(value)
            self.broken += 1
        else:
            self.values[key] = value
            self.perhaps.pop(key, None)

    def check(self, node):
        for key in sorted(self.values | self.perhaps):
            got = node.client().get(key)
            got = got and got.decode()
            may = [self.values.get(key)] + self.perhaps.get(key, [])
            assert got in may, f"{node.region}: {key} is {got and got[:20]}, should be one of {[v and v[:20] for v in may]}"

    def settle(self, node):
        """What was perhaps there is there now, or it is not."""
        for key in self.perhaps:
            got = node.client().get(key)
            if got is not None:
                self.values[key] = got.decode()
        self.perhaps = {}


def writes(node):
    """The node takes writes."""
    try:
        return node.client(retry=None).set("probe", "x")
    except (redis.ConnectionError, redis.TimeoutError):
        node.alive()
        return False


def sweep(cluster, kind, error, length=1):
    node, other = cluster["eu"], cluster["us"]
    step = PART[1] - (PART[1] > 1 and PART[1] % 2 == 0)  # odd: writes and syncs take turns
    history, runs, first = History(f"{kind} {error}"), 0, 1 + PART[0] % step - step
    while True:
        first += step
        node.arm(kind, error, first, length)
        client = node.client(retry=None, retry_on_timeout=False)
        for _ in range(ROUND):
            history.write(client)
        counted, failed = node.disarm()
        cluster.wait(lambda: writes(node), f"{node.region} takes writes after call {first} failed")
        cluster.wait_links()
        cluster.wait_converged()
        history.check(node)
        history.check(other)
        history.settle(node)
        if counted < first:
            break
        runs += failed > 0
    what = os.strerror(error) if error else "short"
    print(f"  {what}: {runs} calls; {history.refused} writes refused, {history.broken} connections lost, "
          f"ended by RocksDB {node.ended}", flush=True)
    assert runs >= ROUND // step, "the sweep did not reach the calls"
    return history


def test_a_write_to_a_socket_fails(cluster):
    history = sweep(cluster, SOCKET, errno.ECONNRESET)
    assert history.broken > 0 and history.refused == 0


def test_a_write_to_a_socket_is_short(cluster):
    history = sweep(cluster, SOCKET, 0)
    assert history.broken == 0 and history.refused == 0


def test_a_call_on_the_disk_fails(cluster):
    assert sweep(cluster, DISK, errno.EIO).refused > 0


def test_the_disk_is_full_for_a_while(cluster):
    assert sweep(cluster, DISK, errno.ENOSPC, 3).refused > 0


def test_a_write_to_the_disk_is_short(cluster):
    sweep(cluster, DISK, 0)


def test_only_rocksdb_may_abort(cluster):
    assert is_rocksdbs("skerryd: ./file/some.h:3: rocksdb::Status rocksdb::A::B(): Assertion `x' failed.")
    assert not is_rocksdbs("/skerry/storage/rocksdb.c:3: this must hold and does not: x")
    assert not is_rocksdbs("terminate called after throwing an instance of 'std::system_error'")


def main():
    if not os.path.exists(LIBRARY):
        sys.exit(f"{LIBRARY} is not there: build it, or say in SK_BUILD where the build is")
    with Cluster(["eu", "us"], node_type=FaultyNode) as cluster:
        cluster.start()
        for test in tests_of(globals()):
            print(test.__name__, flush=True)
            test(cluster)
        for node in cluster:
            assert node.stop() == 0, node.log_tail()


if __name__ == "__main__":
    main()
