#!/usr/bin/python3
"""The whole state as a stream: out of one node, into an empty one and into a running cluster; cut, damaged and interrupted."""
import os
import random
import subprocess
import sys

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster, tests_of  # noqa: E402
from load import fields, scaled  # noqa: E402

PROGRAM = os.environ.get("SKERRYCTL") or "build/skerryctl"
OK, FAILED = 0, 3


def ctl(node, *args, code=OK, stdin=None):
    """The standard output of skerryctl as bytes, or its errors."""
    done = subprocess.run([PROGRAM, "-H", f"127.0.0.1:{node.port}", *args], capture_output=True, input=stdin,
                          timeout=4 * WAIT_S, check=False)
    assert done.returncode == code, f"{args}: {done.returncode}, not {code}\n{done.stdout[:200]}{done.stderr.decode()}"
    return done.stdout if code == OK else done.stderr.decode()


def digest(node):
    return fields(node.digest())[b"digest"]


def siblings(node, key):
    return fields(node.client().execute_command("SIBLINGS", "GET", key))


def fill(cluster):
    """Every type, siblings, deadlines, counters of all regions, a policy, and things that were removed."""
    for node in cluster:
        pipe = node.client().pipeline(transaction=False)
        for i in range(scaled(3000)):
            pipe.set(f"{node.region} {i}", os.urandom(300))
        pipe.incrby("count", 10)
        pipe.sadd("set", node.region, "all")
        pipe.hset("hash", node.region, "1")
        pipe.set("short", "lived", px=10**9)
        pipe.execute()
    eu, us, ap = cluster
    cluster.wait_converged()
    cluster.cut("ap")
    eu.client().set("both", "of eu")
    ap.client().set("both", "of ap")
    cluster.heal("ap")
    eu.client().delete(*[f"us {i}" for i in range(0, 500)])
    us.client().srem("set", "all")
    eu.client().set("reset", "1")
    ap.client().execute_command("POLICY", "SET", "cache:", "newest")
    cluster.wait_converged()
    assert len(siblings(eu, "both")[b"siblings"]) == 2


def test_into_an_empty_node(cluster):
    """All of it is there: the same digest, and a context that was read elsewhere resolves here."""
    eu = cluster["eu"]
    stream = os.path.join(cluster.folder, "stream")
    eu.client().config_set("listen.output_buffer_max", "64kb")  # the least that there is
    ctl(eu, "export", stream)
    eu.client().config_set("listen.output_buffer_max", "64mb")
    context = siblings(eu, "both")[b"context"]
    with Cluster(["sa"], name=cluster.name) as other:
        other.start()
        sa = other["sa"]
        assert b"rows" in ctl(sa, "import", stream)
        assert digest(sa) == digest(eu) and sa.client().dbsize() == eu.client().dbsize()
        assert siblings(sa, "both")[b"context"] == context
        assert sa.client().execute_command("SIBLINGS", "RESOLVE", "both", context, "one") == 1
        assert sa.client().get("both") == b"one" and sa.client().get("count") == b"30"
        assert 0 < sa.client().pttl("short") <= 10**9
        sa.client().incrby("count", 5)
        sa.restart()
        assert sa.client().get("count") == b"35"
        # And back: what was done there is merged into the cluster.
        ctl(eu, "import", "-", stdin=ctl(sa, "export", "-"))
    cluster.wait_converged()
    for node in cluster:
        assert node.client().get("count") == b"35" and node.client().get("both") == b"one"


def test_merged_under_load(cluster):
    """Into one of three regions that are being written: nothing of either side is lost, and removals hold."""
    eu, us, ap = cluster
    eu.client().sadd("merged", "early", "late")
    cluster.wait_converged()
    stream = ctl(eu, "export", "-")
    us.client().srem("merged", "early")
    us.client().incrby("count", 100)
    before = int(us.client().get("count"))
    writers = [node.client() for node in cluster]
    for i in range(200):
        for client in writers:
            client.incr("count")
        if i == 100:
            ctl(ap, "import", "-", stdin=stream)
    cluster.wait_converged()
    for node in cluster:
        assert int(node.client().get("count")) == before + 600
        assert node.client().smembers("merged") == {b"late"}


def test_what_only_a_stream_has(cluster):
    """A region dies for good with writes that no other has; an export of it brings them to another."""
    eu, us, ap = cluster
    cluster.cut("ap")
    ap.client().incrby("count", 1000)
    ap.client().set("only ap", "1")
    stream = ctl(ap, "export", "-")
    before = int(eu.client().get("count"))
    ctl(eu, "import", "-", stdin=stream)
    cluster.wait(lambda: us.client().get("only ap") == b"1", "it goes on from there")
    assert int(us.client().get("count")) == before + 1000
    cluster.heal("ap")
    for node in cluster:
        assert int(node.client().get("count")) == before + 1000


def test_cut_or_damaged(cluster):
    """Whatever is done to a stream: it is refused, and nothing of it is applied."""
    eu = cluster["eu"]
    stream = ctl(eu, "export", "-")
    with Cluster(["sa"], name=cluster.name) as other:
        other.start()
        sa = other["sa"]
        sa.client().set("mine", "1")
        untouched = digest(sa)
        for _ in range(scaled(25)):
            at = random.randrange(len(stream))
            assert "nothing was applied" in ctl(sa, "import", "-", stdin=stream[:at], code=FAILED)
            flipped = stream[:at] + bytes([stream[at] ^ 1 << random.randrange(8)]) + stream[at + 1:]
            assert "nothing was applied" in ctl(sa, "import", "-", stdin=flipped, code=FAILED)
            assert digest(sa) == untouched and sa.client().dbsize() == 1
        assert "nothing was applied" in ctl(sa, "import", "-", stdin=stream + b"x", code=FAILED)
        with Cluster(["sa"], name="another") as strange:
            strange.start()
            assert "cluster" in ctl(strange["sa"], "import", "-", stdin=stream, code=FAILED)
        ctl(sa, "import", "-", stdin=stream)
        assert sa.client().get("count") == eu.client().get("count") and sa.client().get("mine") == b"1"


def test_killed_in_the_middle(cluster):
    """A node that dies, or a client that goes away, with most of an import staged: after that there is nothing of it."""
    eu = cluster["eu"]
    stream = ctl(eu, "export", "-")
    with Cluster(["sa"], name=cluster.name) as other:
        other.start()
        sa = other["sa"]
        sa.client().set("mine", "1")
        untouched = digest(sa)
        for end in "kill", "close":
            client = redis.Redis(host="127.0.0.1", port=sa.port)
            pool = client.connection_pool
            connection = pool.get_connection("IMPORT")
            for words in ("IMPORT", "OPEN"), ("IMPORT", "WRITE", stream[:-10]):
                connection.send_command(*words)
                assert connection.read_response() == b"OK"
            if end == "kill":
                sa.kill()
                sa.start()
            connection.disconnect()
            assert digest(sa) == untouched and sa.client().dbsize() == 1
        ctl(sa, "import", "-", stdin=stream)
        assert sa.client().get("count") == eu.client().get("count")


def main():
    with Cluster(["eu", "us", "ap"]) as cluster:
        cluster.start()
        fill(cluster)
        for test in tests_of(globals()):
            print(test.__name__, flush=True)
            test(cluster)
        for node in cluster:
            assert node.stop() == 0, node.log_tail()
    print("all passed")


if __name__ == "__main__":
    main()
