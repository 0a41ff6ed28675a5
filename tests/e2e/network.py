#!/usr/bin/python3
"""Networks as they are: names that move, regions behind NAT, slow links, compression, a peer that is stopped."""
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster, Node  # noqa: E402
from load import scaled  # noqa: E402
from memory import highest, is_sanitized  # noqa: E402

NAME = "us.skerry.test"
LARGE = 16 << 20  # beside what is configured: requests of 1 MB, replies, one value on its way to each peer
# In a mount namespace of its own a process can have an /etc/hosts of its own; what is exec'd keeps the process' number.
OWN_HOSTS = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "--", "/bin/sh", "-c",
             'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh"]


def say(text):
    print(text, flush=True)


class Caller(Node):
    """`eu` looks for `us` under a name; `us` does not know where `eu` is."""

    @property
    def hosts(self):
        return os.path.join(self.folder, "hosts")

    def addresses_of(self, peer):
        return [f"{NAME}:{peer.link_port}"] if self.region == "eu" else []

    def command(self):
        return [*OWN_HOSTS, self.hosts, *super().command()] if self.region == "eu" else super().command()

    def resolve(self, *addresses):
        with open(self.hosts, "w") as file:
            file.write("127.0.0.1 localhost\n" + "".join(f"{address} {NAME}\n" for address in addresses))


def can_have_own_hosts():
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*OWN_HOSTS, "/etc/hosts", "true"], capture_output=True).returncode == 0


def test_a_name_that_moves():
    """The name means nothing, then another machine, then the right one, then the node moves: each time it is found."""
    with Cluster(["eu", "us"], node_type=Caller) as cluster:
        eu, us = cluster["eu"], cluster["us"]
        eu.resolve()
        eu.spawn()
        us.start()
        eu.wait_ready()
        cluster.wait(lambda: "its address is not known" in eu.log(), "eu says that it cannot look the name up")
        assert eu.info("replication")["link_us"]["state"] in ("waiting", "dialing")
        assert us.info("replication")["link_eu"]["state"] == "awaited"
        eu.resolve("127.0.0.9")
        cluster.wait(lambda: "connection refused" in eu.log(), "eu says that nobody listens there")
        eu.resolve("127.0.0.9", "127.0.0.1")
        cluster.wait_links()
        for address in ("127.0.0.7", "::1"):
            assert us.stop() == 0
            us.write_config(replication={"address": f'"{address}"'})
            us.start()
            eu.resolve("127.0.0.9", address)
            cluster.wait_links()
            us.client().set("at", address)
            eu.client().set("back", address)
            cluster.wait(lambda: eu.client().get("at") == address.encode(), f"eu hears from us at {address}")
            cluster.wait(lambda: us.client().get("back") == address.encode(), f"us at {address} hears from eu")
        cluster.wait_converged()
    say("a name that moves: ok")


class Behind(Node):
    """`home` is behind NAT: it reaches the others, and they have no address of it."""

    def addresses_of(self, peer):
        return [] if peer.region == "home" else super().addresses_of(peer)


def test_behind_nat():
    """A node that can only dial gets everything and gives everything, also after it was away."""
    with Cluster(["eu", "us", "home"], node_type=Behind) as cluster:
        cluster.start()
        home, eu = cluster["home"], cluster["eu"]
        home.client().set("from", "home")
        eu.client().set("to", "home")
        cluster.wait_converged()
        assert cluster["us"].client().get("from") == b"home" and home.client().get("to") == b"home"
        assert eu.info("replication")["link_home"]["dialed_by"] == "home"
        home.kill()
        eu.client().set("while", "away")
        home.start()
        cluster.wait_links()
        cluster.wait_converged()
        assert home.client().get("while") == b"away"
    say("behind NAT: ok")


SMALL = {
    "storage": {"cache": "8mb", "row_cache": "8mb", "write_buffer": "16mb", "min_free": "0"},
    "replication": {"ring_max": "4mb", "heartbeat_ms": 200, "compress_min": 0},
}


def test_stopped_peer():
    """`ap` does not read, nor close: clients of `eu` and the link to `us` go on, `eu` keeps to its memory, and when `ap`
    wakes up it gets everything."""
    with Cluster(["eu", "us", "ap"], **SMALL) as cluster:
        cluster.start()
        eu, us, ap = (cluster[region] for region in ("eu", "us", "ap"))
        ap.process.send_signal(signal.SIGSTOP)
        total, value = scaled(80), os.urandom(1 << 20)
        client = eu.client()
        for i in range(total):  # much more than ring and windows hold; more than the sockets between them, too
            client.set(f"k{i}", value[i:] + value[:i])
            if i % 20 == 0:  # the others have it while `ap` has nothing: WAIT counts one region
                assert client.execute_command("WAIT", 1, int(WAIT_S * 1000)) == 1
                assert us.client().strlen(f"k{i}") == len(value)
                us.client().set("from us", i)
                cluster.wait(lambda: client.get("from us") == str(i).encode(), "eu hears from us")
        check_memory(eu, "with a peer that does not read")
        cluster.wait(lambda: eu.links_up() == 1, "eu notices that ap is gone")
        assert client.ping()
        ap.process.send_signal(signal.SIGCONT)
        cluster.wait_links()
        cluster.wait_converged()
        assert ap.client().strlen(f"k{total - 1}") == len(value)
        check_memory(eu, "after it woke up")
    say("a peer that is stopped: ok")


def check_memory(node, what):
    if is_sanitized(node):
        return
    most, peak = node.info("memory")["memory_max_configured"], highest(node)
    say(f"  {what}: at most {peak >> 20} MB of {most >> 20} MB")
    assert peak <= most + LARGE, f"{what}: {peak} bytes were resident, the configuration allows {most}"


def test_limited_link():
    """bytes_per_s can be set while a link is busy, slows that link alone, and can be taken away again."""
    with Cluster(["eu", "us", "ap"], replication={"compress_min": 0}) as cluster:
        cluster.start()
        eu, us, ap = (cluster[region] for region in ("eu", "us", "ap"))
        client = us.client()
        us.client().config_set("replication.bytes_per_s", "16kb")
        try:
            us.client().config_set("replication.bytes_per_s", "1kb")
            raise AssertionError("a link of 1 KB/s was accepted")
        except redis.ResponseError as error:
            assert "0, or 16kb to 16gb" in str(error), error
        client.set("large", os.urandom(1 << 20))
        eu.client().set("small", "1")
        cluster.wait(lambda: ap.client().get("small") == b"1", "eu and ap talk as before")
        assert eu.client().exists("large") == 0
        assert us.links_up() == 2
        us.client().config_set("replication.send_window", "64kb")
        assert us.client().info("replication")["link_eu"]["window"] == 64 << 10
        us.client().config_set("replication.send_window", "1mb")
        us.client().config_set("replication.bytes_per_s", "0")
        cluster.wait(lambda: eu.client().exists("large") == 1, "without a limit it goes at once")
        cluster.wait_converged()
    say("a limited link: ok")


def test_compression():
    """A node with compression talks to one without; values like JSON shrink between those with it; keys change meanwhile."""
    with Cluster(["eu", "us", "ap"], replication={"rekey_after": "1s"}) as cluster:
        cluster["ap"].write_config(replication={"compress_min": 0})
        cluster.start()
        client = cluster["eu"].client()
        pipe = client.pipeline(transaction=False)
        for i in range(2000):
            pipe.set(f"user:{i}", json.dumps({"id": secrets.token_hex(8), "name": f"name {i}", "email": f"n{i}@example.net",
                                              "verified": i % 3 == 0, "tags": ["one", "two"], "count": i * 7919 % 1000}))
        pipe.execute()
        cluster.wait_converged()
        link = client.info("replication")["link_us"]
        say(f"  {link['compressed_from']} bytes to {link['compressed_to']} for us")
        assert 0 < link["compressed_to"] < 0.4 * link["compressed_from"], link
        assert client.info("replication")["link_ap"]["compressed_from"] == 0
        assert cluster["ap"].info("replication")["link_eu"]["compressed_from"] == 0
        cluster.wait(lambda: client.info("replication")["link_us"]["rekeys"] > 1, "the key changes")
        client.set("after", "the key changed")
        cluster.wait_converged()
    say("compression: ok")


def main():
    if can_have_own_hosts():
        test_a_name_that_moves()
    else:
        say("a name that moves: NOT TESTED, this machine gives no mount namespace")
    test_behind_nat()
    test_compression()
    test_limited_link()
    test_stopped_peer()


if __name__ == "__main__":
    main()
