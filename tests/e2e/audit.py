#!/usr/bin/python3
"""Damage on the disk of a stopped node: any byte of any stored pair, rewritten with sound checksums of RocksDB's, and any
byte of any file. After the start it is found, and all regions hold the same again, or the node refuses to start, or to
start again, and says what to do. SK_E2E_SEED: which bytes."""
import json
import os
import random
import re
import shutil
import subprocess
import sys

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, tests_of  # noqa: E402
from load import scaled  # noqa: E402

TOOL = os.path.join(os.environ.get("SK_BUILD") or "build", "tests", "damage_tool")
SEED = int(os.environ.get("SK_E2E_SEED") or random.randrange(1 << 32))
choose = random.Random(SEED)


def database(node):
    return os.path.join(node.folder, "data", "db")


def tool(node, *args):
    done = subprocess.run([TOOL, database(node), *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def fill(cluster):
    """Something of everything, in two regions; and history that nobody may forget, as ap is away."""
    for region, at in (("eu", 0), ("us", 1)):
        pipe = cluster[region].client().pipeline(transaction=False)
        for i in range(at, 60, 2):
            pipe.set(f"string {i}", os.urandom(20).hex(), **({"ex": 100000} if i % 6 == 0 else {}))
            pipe.hset(f"hash {i % 5}", f"field {i}", i)
            pipe.sadd(f"set {i % 5}", i)
            pipe.incrby(f"count {i % 7}", i)
        pipe.execute()
    cluster.wait_converged()
    ap = cluster["ap"]
    if ap.process.poll() is None:
        assert ap.stop() == 0
    client = cluster["eu"].client()
    for i in range(20):
        client.set(f"string {i}", f"newer {i} {choose.random()}")
        client.delete(f"gone {i}")
        client.set(f"count {i % 7}", 0)
    cluster.wait_converged()


def comes_up(node):
    """False if it refuses to start; then it says what to do. It never ends by a signal."""
    node.spawn()
    while node.process.poll() is None:
        try:
            if node.client().ping():
                return True
        except (redis.ConnectionError, redis.TimeoutError):
            pass
    tail = node.log_tail(8)
    assert node.process.returncode > 0, f"it ended by signal {-node.process.returncode}\n{tail}"
    assert "join" in tail and "restore" in tail, f"it does not say what to do\n{tail}"
    return False


def persistence(node):
    return node.info("persistence")


def audit(node, *args, code=0, reply=True):
    """skerryctl region audit, which must end with that code (None: any)."""
    program = os.environ.get("SKERRYCTL") or "build/skerryctl"
    done = subprocess.run([program, "--json", "-H", f"127.0.0.1:{node.port}", "region", "audit", *args],
                          capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)["nodes"][0] if reply else None


def same(one, other):
    return one.digest()[1] == other.digest()[1] and str(one.digest()) == str(other.digest())


def keep(node):
    """Its data directory as it is now, to be put back."""
    kept = os.path.join(node.folder, "kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(os.path.join(node.folder, "data"), kept)
    return kept


def put_back(node, kept):
    shutil.rmtree(os.path.join(node.folder, "data"))
    shutil.copytree(kept, os.path.join(node.folder, "data"))


def all_equal(cluster, node, other, what):
    cluster.wait(lambda: persistence(node)["audit"] == "verified" and persistence(other)["audit"] == "verified" and
                 same(node, other), what)


def damaged_pair(cluster, family):
    """One byte of one pair of us. Says what came of it."""
    us, eu = cluster["us"], cluster["eu"]
    pairs = tool(us, "list", family)
    assert pairs, f"nothing in {family}"
    pair = choose.randrange(len(pairs))
    key_len, value_len = map(int, pairs[pair].split(" ")[:2])
    byte, xor = choose.randrange(key_len + value_len), choose.randrange(1, 256)
    what = f"seed {SEED}: {family}, pair {pair} of {len(pairs)} ({pairs[pair]}), byte {byte}, xor {xor}"
    tool(us, "flip", family, pair, byte, xor)
    if not comes_up(us):
        return "refused"
    try:
        all_equal(cluster, us, eu, what)
        said = persistence(us)
        found = said["audit_damaged_history"] + said["audit_mended"] + said["audit_repairs"]
        assert found > 0, f"nothing was found of it: {what}\n{said}"
        assert us.stop() == 0, us.log_tail()
    except AssertionError:
        print(what, file=sys.stderr)
        raise
    return "mended"


def test_any_byte_of_any_pair(cluster):
    """Of each family: the record is refused, or all is as it was, by itself or from the other region."""
    us = cluster["us"]
    fill(cluster)
    assert us.stop() == 0
    kept = keep(us)
    for family, outcome in (("default", "mended"), ("history", "mended"), ("derived", "mended"), ("meta", "refused")):
        for _ in range(scaled(4)):
            put_back(us, kept)
            came = damaged_pair(cluster, family)
            row_of_members = family == "default" and came == "refused"  # without it nobody knows who is a member
            assert came == outcome or row_of_members, f"seed {SEED}: {family}: {came}"
    put_back(us, kept)
    us.start()
    cluster["ap"].start()
    cluster.wait_links()
    cluster.wait_converged()


def test_what_a_damaged_history_hides_arrives(cluster):
    """ap was away: what eu has for it is found damaged at eu, and it gets everything all the same."""
    fill(cluster)
    us, eu, ap = cluster["us"], cluster["eu"], cluster["ap"]
    assert us.stop() == 0 and eu.stop() == 0
    for node in (us, eu):
        for pair in range(0, 6, 2):
            tool(node, "flip", "history", pair, 11, 0x40)
    ap.spawn()
    ap.wait_ready()
    eu.start()
    cluster.wait(lambda: same(ap, eu), "ap has what eu has")
    assert persistence(eu)["audit_damaged_history"] >= 3, persistence(eu)
    assert "audit.history_renewed" in eu.log()
    us.start()
    cluster.wait_links()
    cluster.wait_converged()


def test_rows_that_vanish(cluster):
    """Rows are gone from under their sums."""
    us, eu = cluster["us"], cluster["eu"]
    assert us.stop() == 0
    for _ in range(10):
        rows = [pair.split(" ")[2] for pair in tool(us, "list", "default")]
        strings = [i for i, key in enumerate(rows) if bytes.fromhex(key).startswith(b"kstring")]
        tool(us, "drop", "default", choose.choice(strings))
    assert comes_up(us)
    all_equal(cluster, us, eu, "what was lost has come back")
    said = audit(us)
    assert said["state"] == "verified" and not said["why"] and said["repairs"] > 0, said
    assert len(said["named"]) == 10 and all(row["state"] == "repaired" for row in said["named"]), said
    assert "audit.row_repaired" in us.log()
    audit(us, "start")
    cluster.wait(lambda: persistence(us)["audit"] == "verified", "it has looked anew")
    assert audit(us)["named"] == []
    assert "audit.damaged" in us.log()
    cluster.wait_links()


def rows(node):
    """All rows of a stopped node, key and what is stored, in their order."""
    return [tuple(map(bytes.fromhex, pair.split(" ")[2:])) for pair in tool(node, "list", "default")]


def damage_unseen(cluster, part, key):
    """us writes a row that no other region has seen, and loses one byte of it."""
    us = cluster["us"]
    value = os.urandom(20).hex().encode()
    cluster.cut("us")
    us.client().set(key, value)
    assert us.stop() == 0
    before = rows(us)
    at = [raw for raw, _ in before].index(b"k" + key.encode())
    raw, stored = before[at]
    assert stored.endswith(value) and all(node.client().get(key) != value for node in cluster.running())
    seq_bytes = (stored[0] >> 5) + 1  # crdt/row.c: of the dot, behind the byte that has its origin
    byte = {"value": len(raw) + len(stored) - len(value) + choose.randrange(len(value)),
            "dot": len(raw) + choose.randrange(1 + seq_bytes),
            "key": choose.randrange(len(raw))}[part]
    xor = choose.randrange(1, 256)
    what = f"seed {SEED}: {part} of {key}, byte {byte} of {len(raw)} and {len(stored)}, xor {xor}"
    tool(us, "flip", "default", at, byte, xor)
    assert rows(us) != before
    assert comes_up(us), what
    cluster.wait(lambda: persistence(us)["audit"] == "damaged", f"it is found: {what}")
    assert "do not add up" in audit(us, code=1)["why"], what
    cluster.link("us", "up")
    cluster.wait_links()
    for other in cluster.running():
        all_equal(cluster, us, other, what)
        assert other.client().get(key) == value, f"{what}: {other.region}"
    assert us.stop() == 0
    assert dict(rows(us))[raw] == stored, what
    us.start()
    cluster.wait_links()
    cluster.wait_converged()


def test_a_row_that_nobody_else_has_seen(cluster):
    """No region can bear it out, and it comes back byte for byte: what the sum of all rows lacks is its digest. One that is
    new, and one that others have as it was before."""
    cluster["eu"].client().set("known", "to all")
    cluster.wait_converged()
    for part in ("value", "dot", "key"):
        for key in (f"{part} unseen", "known"):
            damage_unseen(cluster, part, key)


def drift(node, *args):
    """A row of ours becomes another one, and all sums with it, as only a mistake of the program could do it."""
    done = subprocess.run([TOOL, os.path.join(node.folder, "data"), "drift", *args], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


def drifting(node, region):
    """The keys that this node says differ from that region's; None: it has not come to that."""
    said = audit(node, code=None)
    if said["state"] != "drift":
        return None
    return {row["key"]: row for row in said["named"] if row.get("region") == region}


def test_drift(cluster):
    """Both sides are sound, have seen the same, and have other rows: it is found within a minute, named on both sides, and
    stays as it is until somebody says who is right."""
    us, eu, ap = cluster["us"], cluster["eu"], cluster["ap"]
    if ap.process.poll() is not None:
        ap.start()
    for i in range(8):
        eu.client().set(f"drifts {i}", f"value {i}")
    cluster.wait_links()
    cluster.wait_converged()
    assert us.stop() == 0
    drift(us, "drifts 0", "another")
    drift(us, "drifts 1")
    drift(us, "drifts 2", "a third")
    drift(us, "drifts 3", "resolved")
    assert comes_up(us)
    wanted = {f"drifts {i}" for i in range(4)}
    for node, region in ((us, "eu"), (us, "ap"), (eu, "us"), (ap, "us")):
        cluster.wait(lambda: set(drifting(node, region) or ()) == wanted, f"{node.region} names what differs from {region}")
    named = drifting(us, "eu")
    assert named["drifts 1"]["ours"] == "none" and re.fullmatch("[0-9a-f]{16}: eu:[0-9]+", named["drifts 1"]["theirs"]), named
    assert drifting(eu, "ap") == {}, "eu and ap agree"
    assert us.client().get("drifts 0") == b"another" and eu.client().get("drifts 0") == b"value 0", "nobody guessed"
    for node in (us, eu):
        assert "audit.drift" in node.log() and "audit.row_differs" in node.log()
        assert persistence(node)["drift_rows"] >= 4, persistence(node)
    assert us.stop() == 0
    assert comes_up(us)
    assert set(drifting(us, "eu")) == wanted, "it is not forgotten"
    # a new write takes the place of both, in either region
    us.client().set("drifts 0", "written")
    eu.client().delete("drifts 2")
    cluster.wait(lambda: set(drifting(us, "eu") or ()) == {"drifts 1", "drifts 3"}, "what was written anew is alike")
    # somebody says
    for args, why in ((("drifts 9", "from", "eu"), "known to differ"), (("drifts 1", "from", "us"), "itself"),
                      (("drifts 1", "from", "xx"), "no region")):
        try:
            us.client().execute_command("region", "audit", "resolve", *args)
            assert False, args
        except redis.ResponseError as error:
            assert why in str(error), error
    audit(us, "resolve", "drifts 1", "from", "eu", reply=False)
    cluster.wait(lambda: us.client().get("drifts 1") == b"value 1", "eu's row")
    eu.client().execute_command("region", "audit", "resolve", "drifts 3", "from", "us")
    ap.client().execute_command("region", "audit", "resolve", "drifts 3", "from", "us")
    cluster.wait(lambda: eu.client().get("drifts 3") == b"resolved", "us's row")
    cluster.wait(lambda: all(persistence(node)["audit"] == "verified" for node in (us, eu, ap)), "no more drift")
    cluster.wait_converged()
    for node in (us, eu, ap):
        assert persistence(node)["drift_rows"] == 0 and audit(node)["state"] == "verified"
    for key, value in (("drifts 0", b"written"), ("drifts 1", b"value 1"), ("drifts 2", None), ("drifts 3", b"resolved")):
        assert [node.client().get(key) for node in (us, eu, ap)] == 3 * [value], key


def files(node):
    """What there is to be damaged."""
    found = []
    for folder, _, names in os.walk(os.path.join(node.folder, "data")):
        found += [os.path.join(folder, name) for name in names]
    skipped = ("LOCK", "skerry.lock")
    return sorted(path for path in found if os.path.getsize(path) and os.path.basename(path) not in skipped
                  and not os.path.basename(path).startswith("LOG"))


def flip_file(path):
    at = choose.randrange(os.path.getsize(path))
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ choose.randrange(1, 256)]))
    return at


def look_after(cluster, node, other, what):
    """It came up: everything it answers is right, or an error; and in the end all is equal, or it knows that it is not."""
    client, good = node.client(), other.client()
    cluster.wait(lambda: persistence(node)["audit"] != "scanning" or same(node, other), what)
    for i in range(0, 60, 3):
        try:
            assert client.get(f"string {i}") == good.get(f"string {i}"), f"a wrong answer: {what}, string {i}"
        except redis.ResponseError:
            pass
    try:
        cluster.wait(lambda: persistence(node)["audit"] == "verified" and same(node, other), what, 3)
        return "equal"
    except AssertionError:
        assert persistence(node)["audit"] == "damaged", f"{what}: {persistence(node)}"
        said = audit(node, code=1)
        assert said["state"] == "damaged" and said["why"], f"{what}: {said}"
        return "known"


def test_any_byte_of_any_file(cluster):
    """RocksDB's own checksums, and ours of the commit log and of the folder."""
    us, eu = cluster["us"], cluster["eu"]
    us.client().set("last", "word")
    cluster.wait_converged()
    us.kill()  # the commit log has something too
    kept, outcomes = keep(us), {}
    for _ in range(scaled(20)):
        put_back(us, kept)
        path = choose.choice(files(us))
        at = flip_file(path)
        what = f"seed {SEED}: {os.path.basename(path)} at {at}"
        came = look_after(cluster, us, eu, what) if comes_up(us) else "refused"
        if us.process.poll() is None:
            us.kill()
        if came == "known":  # it looks at everything before it starts again, and tells anew of what only some reads meet
            told = us.log().count("audit.damaged")
            assert told, what
            again = look_after(cluster, us, eu, what) if comes_up(us) else "refused"
            assert again != "known" or us.log().count("audit.damaged") > told, f"it is not told again: {what}"
            if us.process.poll() is None:
                us.kill()
        outcomes[came] = outcomes.get(came, 0) + 1
    print("  files:", outcomes)
    put_back(us, kept)
    us.start()
    cluster.wait_links()
    cluster.wait_converged()


def verify(node, code):
    """skerryctl verify of its data directory, which is left as it was (but for what a node that runs does). What it says."""
    program = os.environ.get("SKERRYCTL") or "build/skerryctl"
    folder = os.path.join(node.folder, "data")
    before = None if node.process.poll() is None else state_of(folder)
    done = subprocess.run([program, "--json", "verify", folder], capture_output=True, text=True, check=False)
    assert not before or state_of(folder) == before, "it changed something"
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert bool(done.stderr) == (code != 0), done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def state_of(folder):
    """Names, times and bytes of all there is."""
    found = {}
    for at, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(at, name)
            status = os.lstat(path)
            with open(path if name in names else os.devnull, "rb") as file:
                found[path] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, file.read())
    return found


def test_verify_of_a_stopped_directory(cluster):
    """Whatever byte of whatever pair: it is named, and nothing is changed."""
    us = cluster["us"]
    fill(cluster)
    digest = us.digest()
    assert "another process has it open" in verify(us, 3)
    us.kill()
    found = verify(us, 0)  # what only the commit log has counts
    assert found["region"] == "us" and found["rows"] > 100 and found["digest"] in str(digest), (found, digest)
    us.start()
    cluster.wait_links()
    assert us.stop() == 0
    assert verify(us, 0)["digest"] == found["digest"]
    kept = keep(us)
    says = {"default": "row", "history": "damaged records of the history: 1", "derived": "indexes", "meta": 'the record "'}
    for family, word in says.items():
        for _ in range(scaled(4)):
            put_back(us, kept)
            pair = choose.randrange(len(tool(us, "list", family)))
            tool(us, "flip", family, pair, choose.randrange(5), choose.randrange(1, 256))
            said = verify(us, 3)
            assert word in said or "hashes and sets with another size" in said, f"seed {SEED}: {family} {pair}: {said}"
    put_back(us, kept)
    us.start()
    cluster["ap"].start()
    cluster.wait_links()
    cluster.wait_converged()


def test_verify_names_the_table(cluster):
    """The first block of each table."""
    us = cluster["us"]
    assert us.stop() == 0
    program = os.environ.get("SKERRYCTL") or "build/skerryctl"
    kept, tables = keep(us), [path for path in files(us) if path.endswith(".sst")]
    assert tables
    for path in tables:
        put_back(us, kept)
        with open(path, "r+b") as file:
            byte = file.read(1)[0]
            file.seek(0)
            file.write(bytes([byte ^ 0x10]))
        done = subprocess.run([program, "verify", os.path.join(us.folder, "data")], capture_output=True, text=True, check=False)
        assert done.returncode == 3 and os.path.basename(path) in done.stderr, (path, done)
    put_back(us, kept)
    us.start()
    cluster.wait_links()
    cluster.wait_converged()


def test_what_verify_calls_good_is_good(cluster):
    """A byte of any file: it is told, or it was none that matters, and the node starts and is as the others."""
    us, eu = cluster["us"], cluster["eu"]
    us.client().set("last", "but one")
    cluster.wait_converged()
    us.kill()
    kept, outcomes = keep(us), {"told": 0, "good": 0}
    program = os.environ.get("SKERRYCTL") or "build/skerryctl"
    for _ in range(scaled(12)):
        put_back(us, kept)
        path = choose.choice(files(us))
        what = f"seed {SEED}: {os.path.basename(path)} at {flip_file(path)}"
        done = subprocess.run([program, "verify", os.path.join(us.folder, "data")], capture_output=True, text=True, check=False)
        assert done.returncode in (0, 3) and bool(done.stderr) == (done.returncode == 3), (what, done)
        outcomes["told" if done.returncode else "good"] += 1
        if done.returncode == 0:
            assert comes_up(us), f"it was called good: {what}"
            cluster.wait(lambda: persistence(us)["audit"] == "verified" and same(us, eu), f"it was called good: {what}")
            us.kill()
    print("  verified:", outcomes)
    put_back(us, kept)
    us.start()
    cluster.wait_links()
    cluster.wait_converged()


def main():
    print(f"seed {SEED}")
    with Cluster(["eu", "us", "ap"]) as cluster:
        cluster.start()
        for test in tests_of(globals()):
            print(test.__name__, flush=True)
            test(cluster)
        for node in cluster.running():
            assert node.stop() == 0, node.log_tail()


if __name__ == "__main__":
    main()
