"""The servers that are measured: started, watched, stopped. And what is asked of the operating system about them.

A server is anything with `name`, `port`, `pid` (None: another machine's), `start()`, `stop()` and `story()`, which says what
became of it when a measurement failed. Nodes of skerry come from tests/e2e/cluster.py, with the settings of
deploy/skerry.example.yaml.
"""
import mmap
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import cluster  # noqa: E402

# How Redis is asked for what our durability is called.
REDIS_FSYNC = {"always": "always", "interval": "everysec", "os": "no"}

# What the example configuration says; cluster.py has smaller ones, for tests.
EXAMPLE = {
    "replication": {"heartbeat_ms": 500},
    "storage": {"cache": "128mb", "row_cache": "320mb", "write_buffer": "256mb", "min_free": "64mb"},
}


class Failed(Exception):
    pass


def ask(port, *words, timeout=30):
    """One command, its answer as bytes up to what one read gives: for PING and the like."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        request = b"*%d\r\n" % len(words)
        for word in words:
            word = word.encode()
            request += b"$%d\r\n%s\r\n" % (len(word), word)
        connection.sendall(request)
        return connection.recv(65536)


def wait_pong(port, process, seconds=60):
    """Seconds (since now) until PING is answered; looks every half millisecond."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if process.poll() is not None:
            raise Failed(f"the server on port {port} ended with {process.returncode}")
        try:
            if ask(port, "PING").startswith(b"+PONG"):
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.0005)
    raise Failed(f"the server on port {port} does not answer")


# -- what the system knows of a process ---------------------------------------------------------------------------------


def cpu_s(pid):
    """CPU seconds of all its threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def how_it_is(process):
    try:
        return f"ended with {process.wait(timeout=1)}"
    except subprocess.TimeoutExpired:
        return "still runs"


def warm_memory(mib=2048):
    """Takes so much memory, at most a quarter of what is available, and gives it back: the machine below a virtual one takes
    back what is free, and has it again only after 5 ms for each 2 MiB. Who starts after a server that used less would pay for
    that, and not for what it does itself."""
    with open("/proc/meminfo") as file:
        available = int(re.search(r"MemAvailable:\s+(\d+) kB", file.read()).group(1)) * 1024
    size = min(mib << 20, available // 4 & -mmap.PAGESIZE)
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def settled_cpu_s(pid, patience_s=20):
    """The same, once it does next to nothing: what a load left to be done in the background is part of its cost. Some of it
    begins only when nothing has come for a fifth of a second (storage/placing.c)."""
    until, before, quiet = time.monotonic() + patience_s, cpu_s(pid), 0
    while quiet < 4 and time.monotonic() < until:
        time.sleep(0.1)
        now = cpu_s(pid)
        quiet = quiet + 1 if now - before < 0.005 else 0
        before = now
    return before


def written_bytes(pid):
    """Bytes that it gave to the disk, or will have when the kernel gets to it (proc(5), write_bytes less cancelled)."""
    with open(f"/proc/{pid}/io") as file:
        fields = dict(line.split(": ") for line in file)
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


def fdatasync_us(folder, times=200):
    """The median of a small append and fdatasync where the data lies: what `always` has to pay at least."""
    took = []
    path = os.path.join(folder, "fdatasync")
    with open(path, "wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 512)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    os.unlink(path)
    return statistics.median(took) * 1e6


# -- what goes over links -----------------------------------------------------------------------------------------------


def link_sockets(ports):
    """{(acceptor's port, dialler's port): (bytes both ways, segments both ways)} of established links, from the accepting end.

    TCP's own count of payload, so everything is in it: records, tags, handshakes, heartbeats, acknowledgements."""
    text = subprocess.run(["ss", "-tinHO", "state", "established"], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        ends = re.search(r"\S+:(\d+)\s+\S+:(\d+)\s", line)
        if not ends or int(ends.group(1)) not in ports:
            continue
        field = {name: int(value) for name, value in re.findall(r"\b([a-z_]+):(\d+)", line)}
        sent = field.get("bytes_sent", 0) - field.get("bytes_retrans", 0)
        found[int(ends.group(1)), int(ends.group(2))] = (sent + field.get("bytes_received", 0),
                                                         field.get("segs_out", 0) + field.get("segs_in", 0))
    return found


class Wire:
    """What the links of a cluster carry from the making of this object on."""

    def __init__(self, nodes, from_nothing=False):
        self.ports = {node.link_port for node in nodes}
        self.before = {} if from_nothing else link_sockets(self.ports)

    def carried(self):
        """(bytes, segments). With from_nothing, connections made since count from their first byte."""
        now = link_sockets(self.ports)
        if self.before and set(now) != set(self.before):
            raise Failed("a link was lost while its bytes were counted")
        old = [self.before.get(pair, (0, 0)) for pair in now]
        return (sum(n[0] for n in now.values()) - sum(o[0] for o in old),
                sum(n[1] for n in now.values()) - sum(o[1] for o in old))


# -- servers ------------------------------------------------------------------------------------------------------------


class Redis:
    name = "redis"

    def __init__(self, folder, durability):
        self.folder, self.durability = os.path.join(folder, "redis"), durability
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.port = cluster.free_port()
        # No RDB and no rewrites of the log: a fork in the middle would be paid by some rounds and not by others.
        arguments = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                     "--appendonly", "yes", "--appendfsync", REDIS_FSYNC[self.durability],
                     "--auto-aof-rewrite-percentage", "0", "--daemonize", "no"]
        warm_memory()
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_pong(self.port, self.process)

    def story(self):
        return f"redis: {how_it_is(self.process)}"

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Skerry:
    """A node alone."""
    name = "skerry"

    def __init__(self, skerryd, durability):
        self.skerryd, self.durability = skerryd, durability

    @property
    def pid(self):
        return self.node.process.pid

    def start(self):
        self.cluster = regions(self.skerryd, ["eu"], self.durability)
        self.node = self.cluster["eu"]
        self.node.spawn()
        wait_pong(self.node.port, self.node.process)
        self.port = self.node.port

    def story(self):
        return f"skerry: {how_it_is(self.node.process)}\n{self.node.log_tail(40)}"

    def stop(self):
        self.cluster.__exit__(None, None, None)


class Peer:
    """Any other RESP server, which runs already and holds nothing of value: it is written to."""

    def __init__(self, name, address):
        self.name = name
        self.host, self.port = address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1])
        self.pid = None

    def start(self):
        """Its process is looked for, to know its CPU time: one of this machine that runs under the number it says."""
        if self.host not in ("127.0.0.1", "localhost"):
            return
        said = re.search(rb"process_id:(\d+)", ask(self.port, "INFO", "server"))
        try:
            cpu_s(int(said.group(1)))
            self.pid = int(said.group(1))
        except (AttributeError, OSError):
            self.pid = None

    def story(self):
        return f"{self.name}: {self.host}:{self.port}"

    def stop(self):
        pass


def regions(skerryd, names, durability="always", **replication):
    """Nodes with the settings of the example configuration, to be started next. Use it with `with`."""
    warm_memory()
    settings = {name: dict(fields) for name, fields in EXAMPLE.items()}
    settings["storage"]["durability"] = durability
    settings["replication"].update(replication)
    return cluster.Cluster(names, skerryd=skerryd, name="bench", **settings)


def configure(node, **sections):
    """Changes single fields of a node's configuration; it counts from the next start."""
    merged = {name: {**node.settings.get(name, {}), **fields} for name, fields in sections.items()}
    node.write_config(**merged)
