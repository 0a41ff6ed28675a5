#!/usr/bin/python3
"""Three regions that write alone and agree later: what merges, what becomes siblings, what appears whole."""
import os
import subprocess
import sys
import threading
import time

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, run_on, tests_of  # noqa: E402
from load import fields, scaled  # noqa: E402


def clients(cluster):
    return [node.client() for node in cluster]


def everywhere(cluster, ask, expected):
    for node in cluster:
        got = ask(node.client())
        assert got == expected, f"{node.region}: {got}, not {expected}"


def refused(call, word):
    try:
        got = call()
    except redis.ResponseError as error:
        assert str(error).startswith(word), error
        return
    raise AssertionError(f"not refused with {word}: {got}")


def siblings(client, *args):
    reply = fields(client.execute_command("SIBLINGS", "GET", *args))
    return reply[b"context"], [fields(s) for s in reply[b"siblings"]]


def test_counters(cluster):
    eu, us, ap = clients(cluster)
    eu.set("n", 100)
    eu.set("f", "1.5")
    cluster.wait_converged()
    cluster.cut("ap")
    eu.incr("n")
    us.incrby("n", 10)
    us.decr("n")
    ap.incrby("n", 1000)
    ap.decrby("n", 300)
    eu.incrbyfloat("f", "0.25")
    ap.incrbyfloat("f", "2.5")
    for client in (eu, us, ap):  # never there before, and begun by all at the same time
        for _ in range(scaled(200)):
            client.incr("new")
    cluster.heal("ap")
    everywhere(cluster, lambda c: c.get("n"), b"810")
    everywhere(cluster, lambda c: float(c.get("f")), 4.25)
    everywhere(cluster, lambda c: c.get("new"), str(3 * scaled(200)).encode())


def test_counter_reset(cluster):
    """DEL and SET take away the increments they saw, and no other."""
    eu, us, ap = clients(cluster)
    eu.incrby("r", 5)
    us.incrby("r2", 5)
    cluster.wait_converged()
    cluster.cut("ap")
    eu.delete("r")
    ap.incrby("r", 7)
    us.set("r2", 100)
    ap.incrby("r2", 3)
    cluster.heal("ap")
    everywhere(cluster, lambda c: c.get("r"), b"7")
    everywhere(cluster, lambda c: c.get("r2"), b"103")


def test_sets_and_hashes(cluster):
    eu, us, ap = clients(cluster)
    eu.sadd("set", "kept", "gone", "again")
    eu.hset("hash", mapping={"kept": "1", "gone": "1", "updated": "1", "number": "10"})
    cluster.wait_converged()
    cluster.cut("ap")
    eu.sadd("set", *[f"eu{i}" for i in range(scaled(300))])
    ap.sadd("set", *[f"ap{i}" for i in range(scaled(300))])
    eu.srem("set", "gone", "again")
    ap.sadd("set", "again")  # add wins: it says so anew
    eu.hdel("hash", "gone", "updated")
    ap.hset("hash", "updated", "2")  # update wins
    eu.hset("hash", "of eu", "x")
    ap.hset("hash", "of ap", "y")
    eu.hincrby("hash", "number", 5)
    ap.hincrby("hash", "number", -1)
    us.delete("nothing")
    cluster.heal("ap")
    members = {b"kept", b"again"} | {f"{r}{i}".encode() for r in ("eu", "ap") for i in range(scaled(300))}
    everywhere(cluster, lambda c: c.smembers("set"), members)
    everywhere(cluster, lambda c: c.scard("set"), len(members))
    everywhere(cluster, lambda c: c.hgetall("hash"),
               {b"kept": b"1", b"updated": b"2", b"of eu": b"x", b"of ap": b"y", b"number": b"14"})
    everywhere(cluster, lambda c: c.hlen("hash"), 5)


def test_deleted_key_with_new_members(cluster):
    """DEL of a set removes what it saw; what another region added meanwhile stays. Deleted data never comes back."""
    eu, us, ap = clients(cluster)
    eu.sadd("del", *[f"old{i}" for i in range(50)])
    cluster.wait_converged()
    cluster.cut("ap")
    assert eu.delete("del") == 1
    ap.sadd("del", "new")
    cluster.heal("ap")
    everywhere(cluster, lambda c: c.smembers("del"), {b"new"})
    assert us.delete("del") == 1
    cluster.wait_converged()
    for node in cluster:
        node.restart()
    cluster.wait_links()
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.exists("del"), 0)


def test_siblings(cluster):
    eu, us, ap = clients(cluster)
    eu.set("title", "draft")
    cluster.wait_converged()
    cluster.cut("ap")
    before = int(time.time() * 1000)
    us.set("title", "of us")
    ap.set("title", "of ap")
    after = int(time.time() * 1000)
    cluster.wait(lambda: eu.get("title") == b"of us", "eu has the value of us")
    cluster.heal("ap")
    for client in (eu, us, ap):
        refused(lambda: client.get("title"), "CONFLICT")
        refused(lambda: client.append("title", "x"), "CONFLICT")
        refused(lambda: client.strlen("title"), "CONFLICT")
        refused(lambda: client.getset("title", "x"), "CONFLICT")
        assert client.exists("title") == 1 and client.type("title") == b"string"
        context, found = siblings(client, "title")
        assert sorted((s[b"region"], s[b"value"]) for s in found) == [(b"ap", b"of ap"), (b"us", b"of us")], found
        assert all(before <= s[b"time_ms"] <= after + 1 for s in found), (before, found, after)
        assert client.execute_command("SIBLINGS", "COUNT") == 1
    words = subprocess.run(["redis-cli", "-p", str(cluster["eu"].port), "GET", "title"], capture_output=True,
                           text=True, timeout=WAIT_S).stdout
    assert words.startswith("CONFLICT") and "SIBLINGS" in words, words
    listed = eu.execute_command("SIBLINGS", "LIST")
    assert [fields(k)[b"key"] for k in listed[1]] == [b"title"], listed
    assert ap.execute_command("SIBLINGS", "RESOLVE", "title", context, "of both") == 1
    assert ap.get("title") == b"of both"
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.get("title"), b"of both")
    everywhere(cluster, lambda c: c.execute_command("SIBLINGS", "COUNT"), 0)
    # The same context again covers nothing of what has been written since: the resolution stays, beside a new value.
    assert ap.execute_command("SIBLINGS", "RESOLVE", "title", context, "late") == 2
    refused(lambda: ap.get("title"), "CONFLICT")
    ap.set("title", "overwritten")  # a plain write replaces everything that the node has
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.get("title"), b"overwritten")


def test_resolved_twice(cluster):
    """Two regions resolve one conflict at the same time: two siblings again, never a loss."""
    eu, us, ap = clients(cluster)
    cluster.cut("ap")
    us.set("twice", "1")
    ap.set("twice", "2")
    cluster.heal("ap")
    (context_us, _), (context_ap, _) = siblings(us, "twice"), siblings(ap, "twice")
    cluster.cut("ap")
    assert us.execute_command("SIBLINGS", "RESOLVE", "twice", context_us, "by us") == 1
    assert ap.execute_command("SIBLINGS", "RESOLVE", "twice", context_ap, "by ap") == 1
    cluster.heal("ap")
    everywhere(cluster, lambda c: sorted(s[b"value"] for s in siblings(c, "twice")[1]), [b"by ap", b"by us"])
    context, _ = siblings(eu, "twice")
    assert eu.execute_command("SIBLINGS", "RESOLVE", "twice", context, "once") == 1
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.get("twice"), b"once")


def test_types_and_fields(cluster):
    eu, us, ap = clients(cluster)
    cluster.cut("ap")
    eu.hset("profile", mapping={"name": "one", "of eu": "1"})
    ap.hset("profile", mapping={"name": "two", "of ap": "1"})
    eu.set("mixed", "text")
    ap.sadd("mixed", "member")
    cluster.heal("ap")
    for client in (eu, us, ap):
        refused(lambda: client.hget("profile", "name"), "CONFLICT")
        assert client.hget("profile", "of eu") == client.hget("profile", "of ap") == b"1"
        refused(lambda: client.get("mixed"), "CONFLICT")
        refused(lambda: client.smembers("mixed"), "CONFLICT")
    context, found = siblings(us, "profile", "FIELD", "name")
    assert sorted(s[b"value"] for s in found) == [b"one", b"two"]
    assert us.execute_command("SIBLINGS", "RESOLVE", "profile", context, "three", "FIELD", "name") == 1
    context, found = siblings(us, "mixed")
    assert sorted(s[b"type"] for s in found) == [b"set", b"string"]
    assert us.execute_command("SIBLINGS", "RESOLVE", "mixed", context, "KEEP", "set") == 1
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.hget("profile", "name"), b"three")
    everywhere(cluster, lambda c: c.smembers("mixed"), {b"member"})
    everywhere(cluster, lambda c: c.execute_command("SIBLINGS", "COUNT"), 0)


def test_policy_newest(cluster):
    eu, us, ap = clients(cluster)
    eu.execute_command("POLICY", "SET", "cache:", "newest")
    cluster.wait(lambda: all(c.execute_command("POLICY", "GET", "cache:x") == b"newest" for c in clients(cluster)),
                 "the policy reaches every region")
    cluster.cut("ap")
    ap.set("cache:k", "older")
    time.sleep(0.005)  # for the clock to move on: later is then later by every clock of this machine
    us.set("cache:k", "newer")
    ap.set("plain:k", "1")
    us.set("plain:k", "2")
    cluster.heal("ap")
    everywhere(cluster, lambda c: c.get("cache:k"), b"newer")
    everywhere(cluster, lambda c: len(siblings(c, "cache:k")[1]), 2)  # nothing is lost by it
    assert eu.append("cache:k", "!") == 6
    refused(lambda: eu.get("plain:k"), "CONFLICT")
    eu.execute_command("POLICY", "SET", "plain:", "newest")
    assert eu.get("plain:k") == b"2"
    eu.execute_command("POLICY", "SET", "plain:", "siblings")
    refused(lambda: eu.get("plain:k"), "CONFLICT")
    eu.set("plain:k", "3")
    cluster.wait_converged()
    everywhere(cluster, lambda c: c.mget("cache:k", "plain:k"), [b"newer!", b"3"])


def test_expiry(cluster):
    """Concurrent deadlines: the later one wins, PERSIST wins over both; expiring takes away only what was seen."""
    eu, us, ap = clients(cluster)
    for key in ("e1", "e2", "e3"):
        eu.set(key, "v")
    eu.sadd("e4", "old")
    cluster.wait_converged()
    cluster.cut("ap")
    eu.expire("e1", 1000)
    ap.expire("e1", 5000)
    eu.expire("e2", 1000)
    ap.expire("e2", 2000)
    ap.persist("e2")
    eu.pexpire("e3", 1)
    ap.pexpire("e3", 2)
    eu.pexpire("e4", 1)
    cluster.wait(lambda: not eu.exists("e3") and not us.exists("e3") and not ap.exists("e3"), "e3 is gone everywhere")
    cluster.wait(lambda: not eu.exists("e4"), "e4 is gone in eu")
    ap.sadd("e4", "new")
    cluster.heal("ap")
    for client in (eu, us, ap):
        assert 4900 < client.ttl("e1") <= 5000, client.ttl("e1")
        assert client.ttl("e2") == -1
        assert not client.exists("e3")
    everywhere(cluster, lambda c: c.execute_command("EXPIRETIME", "e1"), eu.execute_command("EXPIRETIME", "e1"))


def test_transactions_merge(cluster):
    eu, us, ap = clients(cluster)
    cluster.cut("ap")
    for client, name in ((us, "us"), (ap, "ap")):
        for i in range(scaled(100)):
            pipe = client.pipeline(transaction=True)
            pipe.incrby("txn:sum", 2)
            pipe.sadd("txn:log", f"{name}{i}")
            pipe.hincrby("txn:hash", name, 1)
            assert pipe.execute()[1] == 1
    cluster.heal("ap")
    count = scaled(100)
    everywhere(cluster, lambda c: (c.get("txn:sum"), c.scard("txn:log"), c.hgetall("txn:hash")),
               (str(4 * count).encode(), 2 * count, {b"us": str(count).encode(), b"ap": str(count).encode()}))


def test_transaction_appears_whole(cluster):
    """While MULTI writes two keys in one region, no reader in another ever sees one without the other."""
    stop, seen, broken = threading.Event(), set(), []

    def read(node):
        client = node.client()
        while not stop.is_set():
            one, two = client.mget("pair:1", "pair:2")
            seen.add(one)
            if one != two:
                broken.append((node.region, one, two))
            first = client.get("pair:first")  # written after `late` by each transaction, and read before it
            late = client.get("pair:late")
            if int(late or 0) < int(first or 0):
                broken.append((node.region, "late", first, late))

    readers = [threading.Thread(target=read, args=(cluster[r],)) for r in ("us", "ap")]
    for reader in readers:
        reader.start()
    eu, rounds = cluster["eu"].client(), scaled(3000)
    try:
        for i in range(1, rounds + 1):
            pipe = eu.pipeline(transaction=True)
            pipe.set("pair:late", i)
            pipe.set("pair:1", i)
            pipe.set("pair:first", i)
            pipe.set("pair:2", i)
            pipe.execute()
            if i in (rounds // 3, 2 * rounds // 3):  # catching up must not show parts either
                cluster["us"].client().execute_command("REGION", "LINK", "eu", "down" if i < rounds // 2 else "up")
        cluster.wait_links()
        cluster.wait_converged()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not broken, broken[:5]
    assert len(seen) > 10, f"the readers saw {len(seen)} states: too few to say anything"
    everywhere(cluster, lambda c: c.mget("pair:1", "pair:2"), [str(rounds).encode()] * 2)


def test_all_alone(cluster):
    """No region needs another for its own reads and writes; afterwards three siblings, and every digest equal."""
    for region in ("eu", "us", "ap"):
        for other in cluster:
            if other.region != region:
                cluster[region].client().execute_command("REGION", "LINK", other.region, "down")
    cluster.wait(lambda: all(n.links_up() == 0 for n in cluster), "all are alone")
    for client, name in zip(clients(cluster), ("eu", "us", "ap")):
        client.set("three", name)
        client.incrby("alone", 7)
        client.sadd("loners", name)
    for node in cluster:
        node.restart()  # a link out of service is so until the node is started again
    cluster.wait_links()
    cluster.wait_converged()
    everywhere(cluster, lambda c: sorted(s[b"value"] for s in siblings(c, "three")[1]), [b"ap", b"eu", b"us"])
    everywhere(cluster, lambda c: c.get("alone"), b"21")
    everywhere(cluster, lambda c: c.smembers("loners"), {b"ap", b"eu", b"us"})
    digests = {fields(n.digest())[b"digest"] for n in cluster}
    assert len(digests) == 1 and len(digests.pop()) == 32


def main():
    run_on(["eu", "us", "ap"], tests_of(globals()))
    print("all passed")


if __name__ == "__main__":
    main()
