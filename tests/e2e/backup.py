#!/usr/bin/python3
"""Backups of real nodes: made while clients write, shared, verified, damaged, purged; one region restored, and all of them
from backups of different age."""
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster, tests_of  # noqa: E402
from load import fields, scaled  # noqa: E402

PROGRAM = os.environ.get("SKERRYCTL") or "build/skerryctl"
OK, NO, USAGE, FAILED = 0, 1, 2, 3


def ctl(*args, node=None, code=OK):
    """The standard output of skerryctl; its exit code must be the one given, and an error one line or more."""
    host = ["-H", f"127.0.0.1:{node.port}"] if node else []
    done = subprocess.run([PROGRAM, *host, *args], capture_output=True, text=True, timeout=4 * WAIT_S, check=False)
    assert done.returncode == code, f"{args}: {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    assert bool(done.stderr) == (code in (USAGE, FAILED)), f"{args}: {done.stderr}"
    return done.stdout if code == OK else done.stderr


def ask(*args, **options):
    return json.loads(ctl("--json", *args, **options))


def backups(node):
    return os.path.join(node.cluster.folder, "backups", node.region)


def data(node):
    return os.path.join(node.folder, "data")


def incarnations(node):
    return re.findall(r"ready .*?incarnation=\"?([0-9a-f]{16})", node.log())


def restore(node, number):
    """The disk is lost, and that backup put in its place."""
    if node.process.poll() is None:
        node.kill()
    shutil.rmtree(data(node))
    ctl("restore", backups(node), data(node), str(number))


class Load:
    """Writes pairs in transactions, from one connection after the other, and remembers what was acknowledged."""

    def __init__(self, node, name):
        self.node, self.name, self.written = node, name, 0
        self.stopping = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        client = self.node.client()
        try:
            while not self.stopping.is_set():
                pipe = client.pipeline(transaction=True)
                number = self.written + 1
                pipe.set(f"{self.name}:a", number)
                pipe.hset(f"{self.name}:b", "f", number)
                pipe.set(f"{self.name}:{number % 3000}", os.urandom(200))
                pipe.incr(f"{self.name}:count")
                pipe.execute()
                self.written = number
        except redis.RedisError as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stopping.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        if kind is None and self.failure:
            raise self.failure


def test_backup_under_load(cluster):
    """Each backup is of one moment, with everything that was acknowledged before it was asked for; later ones share."""
    eu = cluster["eu"]
    assert eu.info("persistence")["backup_last_status"] == "none" and eu.info("persistence")["backup_last_ended_ms"] == 0
    pipe = eu.client().pipeline(transaction=False)
    for i in range(scaled(20000)):
        pipe.set(f"ballast {i}", os.urandom(300))
    pipe.execute()
    made = []
    with Load(eu, "load") as load:
        for _ in range(4):
            before = load.written
            made.append(ask("backup", backups(eu), node=eu))
            cluster.wait(lambda: load.written > before + 20, "clients go on writing")
            made[-1]["at_least"], made[-1]["at_most"] = before, load.written
    assert [m["number"] for m in made] == [1, 2, 3, 4] and all(m["state"] == "done" for m in made), made
    listed = ask("backups", backups(eu))["backups"]
    assert [b["number"] for b in listed] == [1, 2, 3, 4] and all(b["region"] == "eu" for b in listed), listed
    assert [b["bytes"] for b in listed] == [m["bytes"] for m in made]
    info = eu.info("persistence")
    assert info["backup_in_progress"] == 0 and info["backup_last_status"] == "ok" and info["backup_last_ended_ms"] > 0
    # An idle store: all tables are there already.
    assert ask("backup", node=eu)["directory"] == backups(eu)
    cluster.wait(lambda: ask("backup", backups(eu), node=eu)["copied_bytes"] < 100_000, "nothing is new")
    for one in made:
        assert ask("verify", backups(eu), str(one["number"]))["rows"] > 0
    with Cluster(["eu"], storage={"backup_dir": "/tmp"}) as other:
        node = other["eu"]
        for one in made:
            ctl("restore", backups(eu), data(node), str(one["number"]))
            node.start()
            client = node.client()
            a, b = int(client.get("load:a")), int(client.hget("load:b", "f"))
            assert one["at_least"] <= a <= one["at_most"], (one, a)
            assert a == b == int(client.get("load:count")), "a transaction was torn"
            assert client.exists(*[f"ballast {i}" for i in range(scaled(20000))]) == scaled(20000)
            assert node.stop() == 0
            shutil.rmtree(data(node))


def test_refusals(cluster):
    eu = cluster["eu"]
    assert "below it only" in ctl("backup", "/etc", node=eu, code=FAILED)
    assert "below it only" in ctl("backup", f"{backups(eu)}/../../x", node=eu, code=FAILED)
    assert "another process has it open" in ctl("restore", backups(eu), data(eu), code=FAILED)
    taken = os.path.join(cluster.folder, "taken")
    os.makedirs(taken)
    with open(os.path.join(taken, "letter"), "w") as file:
        file.write("dear")
    assert "not empty" in ctl("restore", backups(eu), taken, code=FAILED)
    assert "not a directory of backups" in ctl("backups", taken, code=FAILED)
    assert "no backup 99" in ctl("verify", backups(eu), "99", code=FAILED)
    for args in ["verify", backups(eu), "x"], ["purge", backups(eu)], ["purge", backups(eu), "--keep", "0"], ["restore", "x"]:
        ctl(*args, code=USAGE)
    with Cluster(["eu"]) as other:
        other.start()
        assert "storage.backup_dir" in ctl("backup", "x", node=other["eu"], code=FAILED)


def test_every_flipped_bit_is_found(cluster):
    """In whatever file of a backup: verify says so, and restore makes nothing of it."""
    eu = cluster["eu"]
    copy = os.path.join(cluster.folder, "copy")
    target = os.path.join(cluster.folder, "target")
    number = ask("backup", backups(eu), node=eu)["number"]
    shutil.copytree(backups(eu), copy)
    ctl("purge", copy, "--keep", "1")
    ctl("verify", copy)
    names = [f"files/{n}" for n in os.listdir(os.path.join(copy, "files"))] + [f"{number:06}.backup"]
    assert len(names) > 4
    for name in names:
        path = os.path.join(copy, name)
        with open(path, "rb") as file:
            good = file.read()
        if not good:
            continue
        at = random.randrange(len(good))
        with open(path, "wb") as file:
            file.write(good[:at] + bytes([good[at] ^ 1 << random.randrange(8)]) + good[at + 1:])
        ctl("verify", copy, code=FAILED)
        ctl("restore", copy, target, code=FAILED)
        assert not os.path.exists(os.path.join(target, "SKERRY"))
        with open(path, "wb") as file:
            file.write(good)
    ctl("verify", copy)


def test_killed_while_backing_up(cluster):
    """What was there stays good, nothing half made is listed, no checkpoint is left, and the next backup is made."""
    eu = cluster["eu"]
    before = ask("backups", backups(eu))["backups"]
    for _ in range(3):
        eu.client().set("killed", os.urandom(1 << 20))
        eu.client().execute_command("BACKUP", "CREATE")
        eu.kill()
        eu.start()
        assert not os.path.exists(os.path.join(data(eu), "checkpoint.tmp"))
        listed = ask("backups", backups(eu))["backups"]
        assert listed[:len(before)] == before and all("error" not in b for b in listed)
        before = listed
    number = ask("backup", node=eu)["number"]
    ctl("verify", backups(eu), str(number))
    assert not os.path.exists(os.path.join(backups(eu), "files", "copying.new"))
    cluster.wait_links()


def test_throttled(cluster):
    """At 1 KB/s it would take hours: it runs, says how far it has come, and ends soon after the limit is lifted."""
    eu = cluster["eu"]
    eu.client().set("throttled", os.urandom(6 << 20))
    eu.client().config_set("storage.backup_bytes_per_s", "1kb")
    eu.client().execute_command("BACKUP", "CREATE")

    def status():
        return fields(eu.client().execute_command("BACKUP", "STATUS"))
    cluster.wait(lambda: status()[b"copied_bytes"] > 0, "it copies")
    assert status()[b"state"] == b"running" and eu.client().set("meanwhile", "1")
    eu.client().config_set("storage.backup_bytes_per_s", "0")
    cluster.wait(lambda: status()[b"state"] == b"done", "it ends")
    ctl("verify", backups(eu), str(status()[b"number"]))


def test_purge(cluster):
    eu = cluster["eu"]
    kept = [b["number"] for b in ask("backups", backups(eu))["backups"]][-2:]
    assert ask("purge", backups(eu), "--keep", "2")["removed"] > 0
    assert [b["number"] for b in ask("backups", backups(eu))["backups"]] == kept
    for number in kept:
        ctl("verify", backups(eu), str(number))
    assert ask("purge", backups(eu), "--keep", "2") == {"removed": 0, "bytes": 0}


def test_one_region_restored(cluster):
    """It takes a new incarnation on the same boot, learns what it has forgotten, and nothing deleted comes back."""
    eu, us, ap = cluster
    us.client().sadd("one set", "a", "b")
    us.client().incrby("one count", 10)
    us.client().set("one gone", "x")
    cluster.wait_converged()
    number = ask("backup", backups(us), node=us)["number"]
    us.client().incrby("one count", 100)
    eu.client().srem("one set", "a")
    eu.client().delete("one gone")
    cluster.wait_converged()
    restore(us, number)
    known = incarnations(us)
    us.start()
    assert incarnations(us)[-1] not in known
    us.client().incrby("one count", 1000)
    cluster.wait_links()
    cluster.wait_converged()
    for node in cluster:
        assert node.client().get("one count") == b"1110" and node.client().smembers("one set") == {b"b"}
        assert node.client().get("one gone") is None
    us.restart()  # what it has heard of itself may have moved it on since it said "ready"
    cluster.wait_links()
    cluster.wait_converged()
    us.restart()
    assert incarnations(us)[-1] == incarnations(us)[-2], "a restart of a restored one is no new life"
    cluster.wait_links()


def everywhere(cluster, what, expected):
    for node in cluster:
        assert what(node.client()) == expected, (node.region, what(node.client()), expected)


def test_all_regions_restored_from_different_ages(cluster):
    """Everything that any backup had is there, counters and resets come out right, and removals that a backup knew hold."""
    eu, us, ap = cluster
    for node in cluster:
        node.client().sadd("all set", node.region, "everybody")
        node.client().incrby("all count", 10)
        node.client().incrby("all reset", 10)
    cluster.wait_converged()
    eu.client().set("all in the oldest", "old")
    cluster.wait_converged()
    oldest = ask("backup", backups(eu), node=eu)["number"]
    # Both regions know of these removals; the oldest backup does not.
    us.client().srem("all set", "everybody")
    us.client().set("all reset", "0")
    us.client().delete("all in the oldest")
    cluster.wait_converged()
    cluster.cut("ap")  # what ap alone has is in its backup alone
    ap.client().incrby("all count", 100)
    ap.client().sadd("all set", "only ap")
    ap.client().incrby("all reset", 3)
    only_ap = ask("backup", backups(ap), node=ap)["number"]
    us.client().incrby("all count", 1000)
    us.client().hset("all hash", "f", "of us")
    cluster.wait(lambda: eu.client().hget("all hash", "f") == b"of us", "it reaches eu")
    newest = ask("backup", backups(us), node=us)["number"]
    us.client().incrby("all count", 100000)  # in no backup: this is lost
    eu.client().incrby("all count", 100000)
    for node in cluster:
        node.kill()
    for node, number in (eu, oldest), (us, newest), (ap, only_ap):
        restore(node, number)
    cluster.start()
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.get("all count"), b"1130")
    everywhere(cluster, lambda c: c.get("all reset"), b"3")
    everywhere(cluster, lambda c: c.smembers("all set"), {b"eu", b"us", b"ap", b"only ap"})
    everywhere(cluster, lambda c: c.hget("all hash", "f"), b"of us")
    everywhere(cluster, lambda c: c.get("all in the oldest"), None)
    for node in cluster:  # life goes on, and what is over is forgotten
        node.client().incrby("all count", 1)
        node.client().delete("all hash")
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.get("all count"), b"1133")
    assert len({fields(n.digest())[b"digest"] for n in cluster}) == 1


def main():
    with Cluster(["eu", "us", "ap"]) as cluster:
        os.makedirs(os.path.join(cluster.folder, "backups"))
        for node in cluster:
            node.write_config(storage={"backup_dir": backups(node)})
        cluster.start()
        for test in tests_of(globals()):
            print(test.__name__, flush=True)
            test(cluster)
        for node in cluster:
            assert node.stop() == 0, node.log_tail()
    print("all passed")


if __name__ == "__main__":
    main()
