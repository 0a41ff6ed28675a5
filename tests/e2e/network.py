#!/usr/bin/python3
"""Networks as they are: names that move, regions behind NAT."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Node  # noqa: E402

NAME = "us.skerry.test"
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


def main():
    if can_have_own_hosts():
        test_a_name_that_moves()
    else:
        say("a name that moves: NOT TESTED, this machine gives no mount namespace")
    test_behind_nat()


if __name__ == "__main__":
    main()
