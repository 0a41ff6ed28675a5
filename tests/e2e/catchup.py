#!/usr/bin/python3
"""A region that was away for longer than the live tier remembers, that lost its disk, or came back with an old copy."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import run_on, tests_of  # noqa: E402
from load import fields, scaled  # noqa: E402

REPLICATION = {"ring_max": "1mb", "transfer_window": "64kb"}


def fill(node, prefix, count, size):
    """`count` keys of `size` bytes, pipelined. Returns what was written."""
    client, written = node.client(), {}
    for at in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        for i in range(at, min(at + 1000, count)):
            written[f"{prefix}{i}"] = (f"{i}:" + os.urandom(size // 2).hex()).encode()
            pipe.set(f"{prefix}{i}", written[f"{prefix}{i}"])
        assert all(pipe.execute())
    return written


def holds(node, written):
    client, keys = node.client(), list(written)
    for at in range(0, len(keys), 1000):
        part = keys[at:at + 1000]
        for key, value in zip(part, client.mget(part)):
            assert value == written[key], f"{node.region}: {key} is {value and value[:20]}"


def peer(node, other):
    """What a node's INFO says of another region."""
    for name, value in node.info("replication").items():
        if re.fullmatch(r"region\d+", name) and value["name"] == other.region:
            return value
    raise AssertionError(f"{node.region} does not know {other.region}")


def transfers(cluster, to):
    return sum(peer(n, to)["transfers_out"] for n in cluster.running() if n is not to)


def incarnations(node):
    return re.findall(r"ready .*?incarnation=\"?([0-9a-f]{16})", node.log())


def own_vector(node):
    return str(node.info("replication")["durable_vector"])


def status_of(node):
    program = os.environ.get("SKERRYCTL") or "build/skerryctl"
    return subprocess.run([program, "-H", f"127.0.0.1:{node.port}", "status"], capture_output=True, text=True).stdout


def dead_links(cluster, region):
    """The others' ends of this region's links are out of service: it starts alone, and stays so."""
    for other in cluster.running():
        if other.region != region:
            other.client().execute_command("REGION", "LINK", region, "down")


def live_links(cluster, region):
    for other in cluster.running():
        if other.region != region:
            other.client().execute_command("REGION", "LINK", region, "up")
    cluster.wait_links()
    cluster.wait_converged()


def test_out_of_the_ring(cluster):
    """More was written than the ring holds: the catch-up tier brings it, each key once however often overwritten."""
    eu, us, ap = cluster
    cluster.cut("ap")
    before = transfers(cluster, ap)
    eu.client().sadd("set", "of eu")
    ap.client().sadd("set", "of ap")
    ap.client().set("alone", "1")
    eu.client().incrby("count", 5)
    ap.client().incrby("count", 7)
    for _ in range(3):
        written = fill(eu, "ring:", scaled(5000), 400)
    of_us = fill(us, "ring of us:", scaled(3000), 400)
    last = list(of_us)[-1]
    cluster.wait(lambda: eu.client().get(last) == of_us[last], "eu has what us wrote: it deletes only what it has seen")
    written.update(of_us)
    gone = [k for k in written if k.endswith("7")]
    eu.client().delete(*gone)
    for key in gone:
        written[key] = None
    cluster.heal("ap")
    assert transfers(cluster, ap) > before, "the live tier served it: this test tests nothing"
    for node in cluster:
        holds(node, written)
        assert node.client().smembers("set") == {b"of eu", b"of ap"} and node.client().get("count") == b"12"
        assert node.client().get("alone") == b"1"


def test_a_large_hash_that_has_come(cluster):
    """Whoever asks for it waits until all of it is in place; a write of another region to it comes after that."""
    eu, _, ap = cluster
    count, seen, client = scaled(50000), set(), ap.client()
    cluster.cut("ap")
    for at in range(0, count, 500):
        eu.client().hset("large", mapping={f"f{i}": "v" * 20 for i in range(at, min(at + 500, count))})
    cluster.link("ap", "up")

    def has_come():
        pipe = client.pipeline(transaction=False)
        pipe.hlen("large").hexists("large", f"f{count - 1}").ping()
        size, last, _ = pipe.execute()
        seen.add((size, last))
        return size
    cluster.wait(has_come, "it has come")
    assert seen <= {(0, False), (count, True)}, seen
    eu.client().hset("large", "later", "1")
    pipe = ap.client().pipeline(transaction=True)
    pipe.hset("large", "own", "1").hlen("large")
    assert pipe.execute()[1] in (count + 1, count + 2)
    cluster.wait_converged()
    assert ap.client().hlen("large") == eu.client().hlen("large") == count + 2


def test_both_sides_out_of_the_ring(cluster):
    cluster.cut("us")
    written = fill(cluster["us"], "both:", scaled(4000), 500)
    written.update(fill(cluster["eu"], "both ", scaled(4000), 500))
    cluster.heal("us")
    for node in cluster:
        holds(node, written)


def limit_transfers(cluster, bytes_per_s, share):
    for node in cluster.running():
        node.client().config_set("replication.transfer_bytes_per_s", bytes_per_s)
        node.client().config_set("replication.transfer_share", share)


def test_throttled_while_it_runs(cluster):
    """At 16 KB/s it would take ten minutes: how far it has come is told, and it ends soon after the limits were lifted."""
    eu, us, ap = cluster
    cluster.cut("ap")
    written = fill(eu, "throttled:", 20000, 500)
    cluster.wait(lambda: us.client().get("throttled:19999"), "us has it too")
    limit_transfers(cluster, "16kb", 1)
    cluster.link("ap", "up")

    def receiving():
        lags = [fields(lag) for lag in ap.client().execute_command("REGION", "LAG")]
        return [lag for lag in lags if lag[b"transfer"] == b"receiving" and lag[b"transfer_rows_sent"] > 200]
    cluster.wait(receiving, "some of it has come")
    lag = receiving()[0]
    assert 0 <= lag[b"transfer_rows_done"] < lag[b"transfer_rows"], lag
    assert ap.client().get("throttled:19999") is None
    cluster.wait(lambda: receiving()[0][b"transfer_left_ms"] > 0, "it is told how long it will take")
    text = status_of(ap)
    assert re.search(r": receiving: \d+ of \d+ rows gone through, \d+ rows sent, about \d+ s left\n", text), text
    limit_transfers(cluster, "0", 100)
    cluster.heal("ap")
    holds(ap, written)
    assert all(lag[b"transfer"] == b"none" and lag[b"transfer_left_ms"] == -1
               for lag in (fields(found) for found in ap.client().execute_command("REGION", "LAG")))


def catch_up_cost(cluster, rounds):
    """ap is cut off while eu writes the same keys `rounds` times. Returns what went to ap over what differed, and by how
    many transfers."""
    eu, us, ap = cluster
    cluster.cut("ap")
    before, sent = transfers(cluster, ap), sum(peer(n, ap)["sent_bytes"] for n in (eu, us))
    for _ in range(rounds):
        written = fill(eu, f"{rounds} times:", scaled(2000), 400)
    cluster.heal("ap")
    sent = sum(peer(n, ap)["sent_bytes"] for n in (eu, us)) - sent
    holds(ap, written)
    differed = sum(len(key) + len(value) for key, value in written.items())
    print(f"  {differed >> 10} KB differed, {sent >> 10} KB went over the wire", flush=True)
    return sent / differed, transfers(cluster, ap) - before


def test_overwritten_in_the_ring(cluster):
    """The ring still holds all that a region lacks, most of it overwritten since: what differs is sent, not what was
    written."""
    cost, transfers_made = catch_up_cost(cluster, 20)
    assert transfers_made == 1 and cost < 1.25, (transfers_made, cost)
    cost, transfers_made = catch_up_cost(cluster, 1)
    assert transfers_made == 0 and cost < 1.25, (transfers_made, cost)


def in_transfer(cluster, receiver, sender, past):
    """Waits until the sender has sent so many bytes of a transfer that is still under way."""
    start = peer(sender, receiver)["transfer_bytes_out"]

    def seen():
        said = peer(sender, receiver)
        return said["transfer"] == "sending" and said["transfer_bytes_out"] - start > past
    cluster.wait(seen, f"{sender.region} is in the middle of a transfer")


def cut_transfer(cluster, tag, victim):
    """Two regions. The transfer is cut by kill -9 of one of them; it goes on where it was."""
    eu, us = cluster["eu"], cluster["us"]
    us.client().set(f"{tag} own", "kept")
    cluster.wait_converged()
    cluster.cut("us")
    count, size = scaled(16000), 1000
    written = fill(eu, f"{tag}:", count, size)
    held = us.client().dbsize()
    sent_before = peer(eu, us)["transfer_bytes_out"]
    for a, b in ((eu, us), (us, eu)):
        a.client().execute_command("REGION", "LINK", b.region, "up")
    in_transfer(cluster, us, eu, count * size // 3)
    if victim is us:
        us.kill()
        assert peer(eu, us)["lag"] > 0, "the transfer was over: this test tests nothing"
        us.start()
        assert us.client().get(f"{tag} own") == b"kept"
    else:
        eu.kill()
        assert us.client().dbsize() == held, "a part of a transfer is visible"
        assert us.client().set(f"{tag} while eu is away", "1")
        eu.start()
        sent_before = None
    written[f"{tag} during"] = b"the transfer"
    eu.client().set(f"{tag} during", "the transfer")
    cluster.wait_links()
    cluster.wait_converged()
    holds(us, written)
    assert eu.client().get(f"{tag} own") == b"kept"
    sent = peer(eu, us)["transfer_bytes_out"] - (sent_before or 0)
    print(f"  {count * size >> 20} MB differed, {sent >> 20} MB went over the wire"
          f"{'' if sent_before is not None else ' after the crash'}", flush=True)
    # A third had gone before. From the beginning again it would be 1.33 times all of it; afterwards, all of it.
    assert sent < count * size * (1.25 if sent_before is not None else 0.9), "it did not resume, but began again"


def test_receiver_dies(cluster):
    cut_transfer(cluster, "receiver", cluster["us"])


def test_sender_dies(cluster):
    cut_transfer(cluster, "sender", cluster["eu"])


def test_links_flap(cluster):
    """Cut and healed again and again while a transfer goes on and both sides write."""
    eu, us = cluster["eu"], cluster["us"]
    cluster.cut("us")
    written = fill(eu, "flap:", scaled(12000), 700)
    for i in range(6):
        for a, b in ((eu, us), (us, eu)):
            a.client().execute_command("REGION", "LINK", b.region, "up")
        cluster.wait(lambda: eu.links_up() == 1, "the link is up")
        start = peer(eu, us)["transfer_bytes_out"]
        cluster.wait(lambda: peer(eu, us)["transfer_bytes_out"] > start or peer(eu, us)["lag"] == 0,
                     "something is sent")
        eu.client().execute_command("REGION", "LINK", "us", "down")
        written[f"flap:{i}"] = b"again"
        eu.client().set(f"flap:{i}", "again")
        written[f"flap of us {i}"] = b"x"
        us.client().set(f"flap of us {i}", "x")
    cluster.heal("us")
    for node in cluster:
        holds(node, written)


def test_wiped(cluster):
    """The disk is gone: the region starts empty, as a new incarnation, and gets everything back, its own too."""
    eu, us, ap = cluster
    written = fill(us, "own:", scaled(3000), 300)
    us.client().incrby("wiped:count", 41)
    us.client().sadd("wiped:set", *range(50))
    us.client().delete("own:1")
    written["own:1"] = None
    cluster.wait_converged()
    us.kill()
    shutil.rmtree(os.path.join(us.folder, "data"))
    dead_links(cluster, "us")
    us.start()
    assert len(set(incarnations(us))) == len(incarnations(us)) >= 2, incarnations(us)
    assert us.client().dbsize() == 0
    us.client().incr("wiped:count")  # before it has heard of anything
    us.client().set("first", "write")
    live_links(cluster, "us")
    for node in cluster:
        holds(node, written)
        assert node.client().get("wiped:count") == b"42" and node.client().scard("wiped:set") == 50
        assert node.client().get("first") == b"write"


def restored(cluster, tag, restore):
    """A backup of `us` is taken, life goes on, the disk dies, `restore` brings the backup back."""
    eu, us, ap = cluster
    data, backup = os.path.join(us.folder, "data"), os.path.join(us.folder, f"backup {tag}")
    old = fill(us, f"{tag} old:", 300, 100)
    us.client().sadd(f"{tag} set", "a", "b")
    us.client().incrby(f"{tag} count", 10)
    cluster.wait_converged()
    assert us.stop() == 0
    shutil.copytree(data, backup)
    us.start()
    cluster.wait_links()
    new = fill(us, f"{tag} new:", 300, 100)
    us.client().incrby(f"{tag} count", 100)
    us.client().srem(f"{tag} set", "a")
    us.client().delete(*[f"{tag} old:{i}" for i in range(100)])
    eu.client().delete(*[f"{tag} old:{i}" for i in range(100, 200)])
    for i in range(200):
        old[f"{tag} old:{i}"] = None
    cluster.wait_converged()
    us.kill()
    restore(backup, data)
    dead_links(cluster, "us")
    known = incarnations(us)
    us.start()
    assert incarnations(us)[-1] not in known, "an old copy goes on with the old incarnation, and would reuse dots"
    # Alone with its old copy: what it writes now must not be taken for what it wrote after the backup.
    us.client().set(f"{tag} after", "kept")
    us.client().incrby(f"{tag} count", 1000)
    more = fill(us, f"{tag} more:", 600, 100)
    live_links(cluster, "us")
    for node in cluster:
        holds(node, {**old, **new, **more})
        assert node.client().get(f"{tag} count") == b"1110", node.client().get(f"{tag} count")
        assert node.client().smembers(f"{tag} set") == {b"b"} and node.client().get(f"{tag} after") == b"kept"


def test_restored_to_a_new_folder(cluster):
    def restore(backup, data):
        shutil.rmtree(data)
        shutil.copytree(backup, data)
    restored(cluster, "replaced", restore)


def test_restored_with_the_same_inodes(cluster):
    """A file system gives a number that has become free to the next file: it tells nothing."""
    def restore(backup, data):
        path = os.path.join(data, "SKERRY")
        number, spare = os.stat(path).st_ino, []
        shutil.rmtree(os.path.join(data, "db"))
        shutil.copytree(os.path.join(backup, "db"), os.path.join(data, "db"))
        os.unlink(path)
        for i in range(20000):  # until the number comes again, where it does
            spare.append(os.path.join(data, f"spare{i}"))
            with open(spare[-1], "w"):
                pass
            if os.stat(spare[-1]).st_ino == number:
                shutil.copyfile(os.path.join(backup, "SKERRY"), spare[-1])
                os.rename(spare.pop(), path)
                break
        else:
            print("  this file system did not give the number again", flush=True)
            shutil.copyfile(os.path.join(backup, "SKERRY"), path)
        for name in spare:
            os.unlink(name)
    restored(cluster, "renumbered", restore)


def test_restored_over_the_old_folder(cluster):
    """cp -r over what is there: the files of the folder itself stay the same ones."""
    def restore(backup, data):
        shutil.rmtree(os.path.join(data, "db"))
        shutil.copytree(backup, data, dirs_exist_ok=True)
    restored(cluster, "overwritten", restore)


def test_restored_database_alone(cluster):
    """Only db/ is brought back: the SKERRY file beside it was never touched."""
    def restore(backup, data):
        shutil.rmtree(os.path.join(data, "db"))
        shutil.copytree(os.path.join(backup, "db"), os.path.join(data, "db"))
    restored(cluster, "database", restore)


def test_restart_keeps_the_incarnation(cluster):
    """A stop or a crash of the process alone is no reason for another one."""
    us = cluster["us"]
    us.restart()  # what a restored copy has heard of itself may have moved it on since it said "ready"
    us.restart()
    us.kill()
    us.start()
    found = incarnations(us)[-3:]
    assert len(set(found)) == 1, found
    cluster.wait_links()
    cluster.wait_converged()


def test_digest(cluster):
    """After all this every region has the same state, and says so."""
    assert len({fields(n.digest())[b"digest"] for n in cluster}) == 1


def main():
    two = [test_receiver_dies, test_sender_dies, test_links_flap]
    in_the_ring = [test_overwritten_in_the_ring]
    run_on(["eu", "us"], two, replication=REPLICATION)
    run_on(["eu", "us", "ap"], in_the_ring)
    run_on(["eu", "us", "ap"], [t for t in tests_of(globals()) if t not in two + in_the_ring], replication=REPLICATION)
    print("all passed")


if __name__ == "__main__":
    main()
