"""Real nodes on free loopback ports, for end-to-end tests.

    with Cluster(["eu", "us", "ap"]) as cluster:
        cluster.start()
        cluster["eu"].client().set("k", "v")
        cluster.wait(lambda: cluster["us"].client().get("k") == b"v", "k reaches us")

Nothing here sleeps for a fixed time and hopes: `wait` asks until something holds, or fails with what was awaited and
the nodes' last log lines. SKERRYD says which binary; everything lives in one temporary folder, which is kept
when a test fails.
"""
import base64
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import redis

WAIT_S = float(os.environ.get("SK_E2E_WAIT_S", "30"))


# -- keys: X25519 (RFC 7748, section 5), independent of the code under test -----------------------------------------

P = 2**255 - 19


def public_key(secret):
    k = int.from_bytes(secret, "little")
    k = (k & ~7 & ~(1 << 255)) | (1 << 254)
    x1, x2, z2, x3, z3, swap = 9, 1, 0, 9, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = (x2 + z2) % P, (x2 - z2) % P, (x3 + z3) % P, (x3 - z3) % P
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = (aa - bb) % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


_given = set()


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    while True:
        port = random.randrange(10000, 30000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


class Node:
    host = link_host = "127.0.0.1"  # where clients and the other regions find it

    def __init__(self, cluster, region):
        self.cluster, self.region = cluster, region
        self.folder = os.path.join(cluster.folder, region)
        os.makedirs(self.folder)
        self.port, self.link_port = free_port(), free_port()
        self.process = None
        self.settings = {}
        self.log_path = os.path.join(self.folder, "log")
        self.key_path = os.path.join(self.folder, "node.key")
        self.set_key(secrets.token_bytes(32))

    def set_key(self, secret):
        """The key that it has from its next start on."""
        self.secret, self.public = secret, public_key(secret)
        with open(os.open(self.key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(base64.b64encode(secret).decode() + "\n")

    def write_config(self, **settings):
        """`settings`: {"listen": {"max_clients": 3}, ...} over what is written by default."""
        self.settings.update(settings)
        sections = {
            "listen": {"port": self.port},
            "replication": {"port": self.link_port, "key_file": self.key_path, "heartbeat_ms": 100},
            "storage": {"cache": "8mb", "write_buffer": "8mb", "min_free": "0"},
        }
        for name, fields in self.settings.items():
            sections.setdefault(name, {}).update(fields)
        peers = [n for n in self.cluster.nodes.values() if n is not self]
        lines = [f'region: "{self.region}"', f'cluster: "{self.cluster.name}"', f'data_dir: "{self.folder}/data"']
        if peers:
            lines.append("peers:")
        for peer in peers:
            lines.append(f'  - {{region: "{peer.region}", address: {json.dumps(self.addresses_of(peer))}, '
                         f'public_key: "{peer.public.hex()}"}}')
        for name, fields in sections.items():
            lines.append(f"{name}:")
            lines += [f"  {key}: {value}" for key, value in fields.items()]
        self.config_path = os.path.join(self.folder, "skerry.yaml")
        with open(self.config_path, "w") as f:
            f.write("\n".join(lines) + "\n")

    def addresses_of(self, peer):
        """Where this node looks for the other."""
        return [f"{peer.link_host}:{peer.link_port}"]

    def command(self):
        return [self.cluster.skerryd, "--config", self.config_path]

    def spawn(self):
        """Starts the process and waits for nothing."""
        assert self.process is None or self.process.poll() is not None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)

    def start(self):
        self.spawn()
        self.wait_ready()

    def wait_ready(self):
        self.cluster.wait(self.answers, f"{self.region} answers PING")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.region} exited with {self.process.returncode}\n{self.log_tail()}")
        try:
            return self.client().ping()
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            return False

    def client(self, **options):
        return redis.Redis(host=self.host, port=self.port, socket_timeout=WAIT_S, **options)

    def info(self, section="everything"):
        return self.client().info(section)

    def links_up(self):
        return self.info("replication")["links_up"]

    def digest(self):
        return self.client().execute_command("DIGEST")

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()

    def stop(self, number=signal.SIGTERM):
        """The clean way; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=WAIT_S)

    def restart(self):
        code = self.stop()
        assert code == 0, f"{self.region} stopped with {code}\n{self.log_tail()}"
        self.start()

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def log_tail(self, lines=15):
        return f"--- {self.log_path}\n" + "\n".join(self.log().splitlines()[-lines:])


class Cluster:
    def __init__(self, regions, skerryd=None, name="test", node_type=Node, **settings):
        self.skerryd = skerryd or os.environ.get("SKERRYD") or "build/skerryd"
        if not os.access(self.skerryd, os.X_OK):
            sys.exit(f"{self.skerryd} is not there: build it, or say where it is in SKERRYD")
        self.name = name
        self.folder = tempfile.mkdtemp(prefix="skerry-e2e-")
        self.nodes = {}
        for region in regions:
            self.nodes[region] = node_type(self, region)
        for node in self.nodes.values():
            node.write_config(**settings)

    def __getitem__(self, region):
        return self.nodes[region]

    def __iter__(self):
        return iter(self.nodes.values())

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for node in self:
            if node.process and node.process.poll() is None:
                node.kill()
        if kind is None:
            shutil.rmtree(self.folder)
        else:
            for node in self:
                if os.path.exists(node.log_path):
                    print(node.log_tail(40), file=sys.stderr)
            print(f"kept: {self.folder}", file=sys.stderr)

    def wait(self, holds, what, seconds=WAIT_S):
        """Asks until `holds()` is true; what it raises of redis' errors counts as false."""
        until, last = time.monotonic() + seconds, None
        while True:
            try:
                if holds():
                    return
                last = None
            except (redis.RedisError, OSError) as error:
                last = error
            if time.monotonic() > until:
                tails = "\n".join(n.log_tail() for n in self if os.path.exists(n.log_path))
                raise AssertionError(f"in {seconds} s not seen: {what} (last error: {last})\n{tails}")
            time.sleep(0.01)

    def start(self):
        for node in self:
            node.spawn()
        for node in self:
            node.wait_ready()
        self.wait_links()

    def running(self):
        return [n for n in self if n.process and n.process.poll() is None]

    def wait_links(self):
        """Every running node has a link with every other."""
        nodes = self.running()
        for node in nodes:
            self.wait(lambda: node.links_up() == len(nodes) - 1, f"all links of {node.region} are up")

    def wait_converged(self):
        """All running nodes have the same durable vector and the same digest."""
        def same():
            return len({str(n.info("replication")["durable_vector"]) for n in self.running()}) == 1 and \
                len({str(n.digest()) for n in self.running()}) == 1
        self.wait(same, "all regions hold the same")

    def link(self, region, state):
        """Both ends of each link of the region."""
        for other in self.running():
            if other.region != region:
                other.client().execute_command("REGION", "LINK", region, state)
                self[region].client().execute_command("REGION", "LINK", other.region, state)

    def cut(self, region):
        """Takes both ends of each link of the region out of service; returns when both sides know."""
        rest = [n for n in self.running() if n.region != region]
        self.link(region, "down")
        self.wait(lambda: self[region].links_up() == 0, f"{region} is alone")
        self.wait(lambda: all(n.links_up() == len(rest) - 1 for n in rest), f"the others are without {region}")

    def heal(self, region):
        """The links of `cut` again; returns when all regions hold the same."""
        self.link(region, "up")
        self.wait_links()
        self.wait_converged()


def tests_of(names):
    """A file's tests, from its globals(), in the order in which they stand there."""
    return [test for name, test in names.items() if name.startswith("test_")]


def run_on(regions, tests, **settings):
    """The tests one after another on one cluster, which then has to stop as it should."""
    with Cluster(regions, **settings) as cluster:
        cluster.start()
        for test in tests:
            print(*settings.get("storage", {}).values(), test.__name__, flush=True)
            test(cluster)
        cluster.wait_converged()
        for node in cluster.running():
            assert node.stop() == 0, node.log_tail()
