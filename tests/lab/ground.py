"""The ground on which the laboratory stands: namespaces, links, disks and clocks, and what of it this machine can give.

Everything happens inside of one set of namespaces for network, mounts and processes that is made for the run
(`confine`): when its first process ends, for whatever reason, the kernel takes down all other processes, mounts
and interfaces in it. There is nothing to clean up by hand and nothing that could be forgotten.

Inside, each region has a network namespace with two interfaces: `sea`, whose other end is a port of the hub (hub.c),
over which regions talk; and `shore`, over which its clients come, undisturbed: clients are near their region.
The network namespace of the run itself is where hub and clients live."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
from cluster import Cluster, Node, public_key  # noqa: E402

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
INSIDE = "SK_LAB_INSIDE"
DISK_MB = 160
RETENTION = "8kb"  # of history that is kept for a region that is away: some seconds' worth
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
TOOLS = ("unshare", "setpriv", "nsenter", "ip", "ethtool", "mount")


class NotHere(Exception):
    """This machine cannot do what is needed."""


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"{' '.join(command)}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


# -- confinement -----------------------------------------------------------------------------------------------------

def _unshare():
    """Everything in it dies with its first process, and that one with us, however we end."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["setpriv", "--pdeathsig", "KILL", "unshare", *rights, "--net", "--mount", "--pid", "--fork", "--kill-child",
            "--mount-proc", "--"]


def confine(arguments):
    """Runs this program again inside of new namespaces, and returns its exit code. Raises NotHere."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise NotHere(f"{', '.join(missing)}: not installed (deploy/packages.txt)")
    run(*_unshare(), "true")
    child = subprocess.Popen([*_unshare(), sys.executable, *arguments], env={**os.environ, INSIDE: "1"},
                             start_new_session=True)

    def pass_on(number, frame):
        os.killpg(child.pid, number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    return child.wait()


# -- what this machine has -------------------------------------------------------------------------------------------

def probe():
    """{what: None, or why it cannot be had}; inside of the confinement. Raises NotHere where nothing can be done."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")  # `ip netns` keeps its names there; they go with the mount
    run("ip", "link", "set", "lo", "up")
    run("ip", "netns", "add", "probe")
    run("ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1", "netns", "probe")
    found = {
        "cut": _why_not("ip", "netns", "exec", "probe", "nft", "add table inet lab"),
        "rate": _why_not("tc", "qdisc", "add", "dev", "probe0", "root", "tbf", "rate", "1mbit", "burst", "16kb",
                         "latency", "100ms"),
        "clock": None if glob.glob(FAKETIME) else "libfaketime is not installed (package faketime)",
    }
    found["oneway"] = found["isolate"] = found["behind"] = found["flip"] = found["cut"]
    run("ip", "link", "del", "probe0")
    run("ip", "netns", "del", "probe")
    return found


def _why_not(*command):
    try:
        run(*command)
    except (NotHere, FileNotFoundError) as error:
        return str(error)
    return None


# -- nodes -----------------------------------------------------------------------------------------------------------

class LabNode(Node):
    """A node in a network namespace, with a disk and a clock of its own. `clock` is what libfaketime is told."""

    def __init__(self, cluster, region):
        super().__init__(cluster, region)
        self.number = len(cluster.nodes)
        self.host, self.link_host = f"10.78.{self.number}.2", f"10.77.0.{self.number + 1}"
        self.disk = os.path.join(self.folder, "data")
        self.clock_path = os.path.join(self.folder, "clock")
        self.faketime = next(iter(glob.glob(FAKETIME)), None)
        self.ballast = os.path.join(self.disk, "ballast")
        self.running = False   # whether it is meant to
        self.starting = False  # since its start it has not yet taken a connection
        self.was_full = False  # its disk, at some time since its start
        self.backup_folder = os.path.join(self.folder, "backups")  # not on its disk
        self.backups = []      # (when it was asked for, its number)
        self.deaf_to, self.closed = set(), False
        os.makedirs(self.backup_folder)
        os.makedirs(self.disk)
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", f"lab-{region}", self.disk)
        self.set_clock("+0")
        self.make_interfaces()

    def make_interfaces(self):
        name, n = self.region, self.number
        run("ip", "netns", "add", name)
        self.inside("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", f"sea{n}", "type", "veth", "peer", "name", "sea", "netns", name)
        run("ip", "link", "add", f"shore{n}", "type", "veth", "peer", "name", "shore", "netns", name)
        self.inside("ip", "link", "set", "sea", "address", f"02:00:00:00:00:{n:02x}")
        self.inside("ip", "address", "add", f"{self.link_host}/24", "dev", "sea")
        self.inside("ip", "address", "add", f"{self.host}/24", "dev", "shore")
        run("ip", "address", "add", f"10.78.{n}.1/24", "dev", f"shore{n}")
        # Frames pass the hub one by one and whole: no checksums left to hardware that is not there, no giant segments.
        self.inside("ethtool", "-K", "sea", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        run("ethtool", "-K", f"sea{n}", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        for interface in ("sea", "shore"):
            self.inside("ip", "link", "set", interface, "up")
            run("ip", "link", "set", f"{interface}{n}", "up")

    def inside(self, *command, text=None):
        return run("ip", "netns", "exec", self.region, *command, text=text)

    def write_config(self, **settings):
        own = {
            "listen": {"address": self.host, "allow_public_without_password": "true"},
            "replication": {"address": self.link_host, "heartbeat_ms": 250, "retention_bytes": RETENTION},
            "storage": {"backup_dir": self.backup_folder,
                        "write_buffer": "1mb"},  # room that the store has taken beforehand is room on a full disk
        }
        for name, fields in settings.items():
            own.setdefault(name, {}).update(fields)
        super().write_config(**own)

    def command(self):
        # env, and not our own environment: only the node is to live by another clock.
        clock = ["env", *(f"{k}={v}" for k, v in self.clock_variables().items())] if self.faketime else []
        # Its folder is where it works: a core that it leaves is kept with its log.
        return ["nsenter", f"--net=/run/netns/{self.region}", f"--wd={self.folder}", *clock, *super().command()]

    def clock_variables(self):
        # A sanitizer's runtime wants to come first of all libraries.
        linked = subprocess.run(["ldd", self.cluster.skerryd], capture_output=True, text=True).stdout
        first = [line.split()[2] for line in linked.splitlines() if line.strip().startswith("libasan")]
        return {"LD_PRELOAD": ":".join(first + [self.faketime]), "FAKETIME_TIMESTAMP_FILE": self.clock_path,
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}

    def set_clock(self, text):
        """E.g. "+3600", "-20 x1.1"; at once, in a running node too."""
        with open(self.clock_path + ".new", "w") as file:
            file.write(text + "\n")
        os.rename(self.clock_path + ".new", self.clock_path)

    def spawn(self):
        self.starting, self.was_full = True, self.is_full
        super().spawn()

    def begin(self):
        self.spawn()
        self.running = True

    def end(self):
        self.running = False
        self.kill()

    def wipe(self):
        """An empty disk."""
        for name in os.listdir(self.disk):
            path = os.path.join(self.disk, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    @staticmethod
    def public_of(secret):
        return public_key(secret)

    def look_whether_begun(self):
        if self.starting and self.process.poll() is None:
            with socket.socket() as attempt:
                attempt.settimeout(0.1)
                self.starting = attempt.connect_ex((self.host, self.port)) != 0

    def fill_disk(self):
        """Takes all the room that is left."""
        self.was_full = True
        block = bytes(1 << 16)
        with open(self.ballast, "wb", buffering=0) as file:
            while True:
                try:
                    if file.write(block) < len(block):
                        break
                except OSError:
                    break

    def free_disk(self):
        if os.path.exists(self.ballast):
            os.unlink(self.ballast)

    @property
    def is_full(self):
        return os.path.exists(self.ballast)

    def cut(self, others):
        """Drops what comes from these regions, from now on; what goes there passes. Returns how many packets have been
        dropped since the last call."""
        self.deaf_to = others
        return self.filter()

    def close_shore(self, closed):
        """No client reaches it, or all do again. It goes on with the other regions."""
        self.closed = closed
        return self.filter()

    def filter(self):
        listed = self.inside("nft", "list", "ruleset").split()
        dropped = sum(int(listed[i + 1]) for i, word in enumerate(listed) if word == "packets")
        rules = "".join(f"add rule inet lab from_sea ip saddr {other.link_host} counter drop\n" for other in self.deaf_to)
        if self.closed:
            rules += "add rule inet lab from_sea iifname shore drop\n"
        self.inside("nft", "-f", "-", text="flush ruleset\nadd table inet lab\nadd chain inet lab from_sea "
                    "{ type filter hook input priority 0; }\n" + rules)
        return dropped

    def limit_rate(self, kbit):
        self.inside("tc", "qdisc", "replace", "dev", "sea", "root", "tbf", "rate", f"{kbit}kbit", "burst", "16kb",
                    "latency", "400ms")

    def unlimit_rate(self):
        subprocess.run(["ip", "netns", "exec", self.region, "tc", "qdisc", "del", "dev", "sea", "root"],
                       capture_output=True)

    def umount(self):
        subprocess.run(["umount", "-l", self.disk], capture_output=True)


class Hub:
    """The process between the regions; delays and losses are per direction."""

    def __init__(self, program, seed, nodes):
        self.nodes = list(nodes)
        self.process = subprocess.Popen([program, str(seed), *(f"sea{n.number}" for n in self.nodes)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def link(self, source, target, delay_ms, jitter_ms, loss):
        self.tell(f"link {source.number} {target.number} {int(delay_ms * 1000)} {int(jitter_ms * 1000)} "
                  f"{int(loss * 1e6)}")

    def stats(self):
        """{(from, to): (passed, lost, overflowed)}"""
        self.tell("stats")
        found = {}
        for line in iter(lambda: self.process.stdout.readline().strip(), "."):
            if not line:
                raise AssertionError("the hub has died")
            source, target, *counts = map(int, line.split())
            found[self.nodes[source].region, self.nodes[target].region] = tuple(counts)
        return found

    def stop(self):
        self.process.stdin.close()
        self.process.wait(5)


def make_cluster(regions, skerryd):
    """Nodes that are not yet started, each on its own ground."""
    return Cluster([f"r{i + 1}" for i in range(regions)], skerryd=skerryd, name="lab", node_type=LabNode)
