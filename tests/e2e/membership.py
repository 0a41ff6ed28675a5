#!/usr/bin/python3
"""Regions that are added, forgotten, added again and given new keys while the others run."""
import os
import re
import secrets
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import redis  # noqa: E402

from cluster import Cluster, Node, free_port, public_key  # noqa: E402


def ctl(node, *args, fails=False):
    """skerryctl at one node; its output, or with `fails` what it complains of."""
    tool = os.path.join(os.path.dirname(node.cluster.skerryd), "skerryctl")
    done = subprocess.run([tool, "-H", f"{node.host}:{node.port}", *args], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, (args, done.returncode, done.stdout, done.stderr)
    return done.stderr if fails else done.stdout


def add(at, node, key=None):
    nobody = f"127.0.0.1:{free_port()}"  # tried first, and in vain
    ctl(at, "region", "add", node.region, "--address", nobody, "--address", f"{node.link_host}:{node.link_port}",
        "--public-key", (key or node.public).hex())


def listed(node):
    """REGION LIST by region: a list of maps each, since several databases may have one name."""
    regions = {}
    for flat in node.client().execute_command("REGION", "LIST"):
        one = {k.decode(): v for k, v in zip(flat[::2], flat[1::2])}
        regions.setdefault(one["region"].decode(), []).append(one)
    return regions


def link(node, other):
    """The states of the link from a node to a region: one for each key that it is known by."""
    return sorted(one["link"].decode() for one in listed(node).get(other, []))


def note(node, other):
    return " ".join(one["note"].decode() for one in listed(node).get(other, []))


def write(node, prefix, count):
    for i in range(count):
        assert node.client().set(f"{prefix}{i}", f"{prefix}{i}")


def has(node, prefix, count):
    return all(node.client().mget([f"{prefix}{i}" for i in range(count)]))


def newcomer(cluster, region, knows):
    """A node that none of the others has in its configuration; it has those of `knows` in its own."""
    node = Node(cluster, region)
    everybody, cluster.nodes = cluster.nodes, {n.region: n for n in [*knows, node]}
    node.write_config()
    cluster.nodes = everybody
    cluster.nodes[region] = node
    return node


def test_add(cluster):
    """A fourth region is added at one; the others learn of it, dial it, and all hold the same."""
    eu, ap = cluster["eu"], cluster["ap"]
    write(eu, "before", 50)
    sa = newcomer(cluster, "sa", [eu])
    sa.spawn()
    cluster.wait(lambda: "is not among the peers" in eu.log(), "a region that nobody added is refused")
    add(eu, sa)
    sa.wait_ready()
    cluster.wait(lambda: has(sa, "before", 50), "what was written before reaches it")
    cluster.wait_links()
    write(sa, "mine", 20)
    write(ap, "theirs", 20)
    cluster.wait_converged()
    assert ap.client().set("counted", 1) and ap.client().wait(3, 10000) == 3
    assert "already" not in ctl(eu, "region", "list")


def replies(client, *command):
    try:
        return client.execute_command(*command)
    except redis.exceptions.BusyLoadingError as error:
        return f"LOADING {error}"


def test_join(cluster):
    """An empty node joins through one region while all of them write: -LOADING, then all that there is."""
    eu, us = cluster["eu"], cluster["us"]
    pipe = eu.client().pipeline(transaction=False)
    for i in range(20000):
        pipe.set(f"old{i}", os.urandom(100))
    pipe.execute()
    cluster.wait_converged()
    sa = newcomer(cluster, "sa", [eu])
    sa.write_config(join={"region": "eu"})  # and nobody else: it learns of the others
    cluster.nodes.pop("sa")
    lines = open(sa.config_path).read()
    with open(sa.config_path, "w") as f:
        f.write("\n".join(l for l in lines.split("\n") if not ('region: "us"' in l or 'region: "ap"' in l)))
    cluster.nodes["sa"] = sa
    sa.spawn()
    client = redis.Redis(host=sa.host, port=sa.port)
    cluster.wait(lambda: "LOADING" in str(replies(client, "GET", "old1")), "it refuses reads before it has a link")
    assert "LOADING" in str(replies(client, "SET", "k", "v")) and "no link to it yet" in str(replies(client, "DIGEST"))
    assert replies(client, "PING") and "joins through eu" in note(sa, "sa")
    assert client.info("persistence")["loading"] == 1
    add(us, sa)  # at another one than it joins through
    write(eu, "meanwhile", 50)
    cluster.wait(lambda: replies(client, "GET", "old1") == eu.client().get("old1"), "it has what there is")
    assert client.info("persistence")["loading"] == 0 and client.dbsize() >= 20000
    cluster.wait_links()
    write(sa, "mine", 20)
    cluster.wait_converged()
    assert "node.joined" in sa.log() and "bytes have come" not in note(sa, "sa")
    sa.restart()
    assert "node.join_ignored" in sa.log() and client.set("k", "v")
    cluster.wait_links()


def test_join_with_writes(cluster):
    """join.writes: accept. What is written before anything has come is merged like any other write."""
    eu = cluster["eu"]
    eu.client().incrby("count", 5)
    sa = newcomer(cluster, "sa", [eu])
    sa.write_config(join={"region": "eu", "writes": "accept"})
    sa.spawn()
    client = redis.Redis(host=sa.host, port=sa.port)
    cluster.wait(lambda: replies(client, "INCRBY", "count", 2) == 2, "it takes a write")
    assert "LOADING" in str(replies(client, "GET", "count"))
    add(eu, sa)
    cluster.wait(lambda: replies(client, "GET", "count") == b"7", "both count")
    cluster.wait_links()
    cluster.wait_converged()


def test_errors(cluster):
    """Clear refusals, and nothing changed by them."""
    eu, us = cluster["eu"], cluster["us"]
    key, before = us.public.hex(), listed(eu).keys()
    for args, said in [
        (["region", "add", "eu", "--address", "h:1", "--public-key", secrets.token_bytes(32).hex()], "itself"),
        (["region", "add", "us", "--address", "h:1", "--public-key", secrets.token_bytes(32).hex()], "another key"),
        (["region", "add", "new", "--address", "h:1", "--public-key", key], "the key of region us"),
        (["region", "add", "new", "--address", "h:1", "--public-key", eu.public.hex()], "the key of this node"),
        (["region", "add", "new", "--address", "h:1", "--public-key", "abc"], "not a public key"),
        (["region", "add", "new", "--address", "h", "--public-key", key], "not host:port"),
        (["region", "add", "New", "--address", "h:1", "--public-key", key], "not a region's name"),
        (["region", "add", "new", "--address", "h:1"], "needs"),
        (["region", "forget", "nobody"], "no region of that name"),
        (["region", "forget", "eu"], "itself"),
        (["region", "rekey", "nobody", "--public-key", secrets.token_bytes(32).hex()], "no region of that name"),
        (["region", "rekey", "us", "--public-key", key], "the key that it has"),
        (["region", "rekey", "us", "--public-key", secrets.token_bytes(32).hex(), "--keep", "soon"], "takes a time"),
    ]:
        assert said in ctl(eu, *args, fails=True), (args, said)
    assert listed(eu).keys() == before


def test_add_during_a_partition(cluster):
    """Added where two regions cannot be reached: they learn of it when they can, through whom they can."""
    eu, ap = cluster["eu"], cluster["ap"]
    cluster.cut("ap")
    sa = newcomer(cluster, "sa", [eu, cluster["us"]])
    add(eu, sa)
    sa.start()
    cluster.wait(lambda: sa.links_up() == 2, "it is linked with those that know it")
    write(sa, "new", 20)
    write(ap, "alone", 20)
    assert "sa" not in listed(ap)
    for other in (eu, cluster["us"]):
        other.client().execute_command("REGION", "LINK", "ap", "up")
        ap.client().execute_command("REGION", "LINK", other.region, "up")
    cluster.wait_links()
    cluster.wait_converged()
    assert has(ap, "new", 20) and has(sa, "alone", 20)


def test_two_of_one_name(cluster):
    """Two operators add two nodes as one region, on two sides: the same one counts everywhere, the other is told."""
    eu, us = cluster["eu"], cluster["us"]
    first, second = newcomer(cluster, "sa", [eu, us]), None
    cluster.nodes.pop("sa")
    os.rename(first.folder, first.folder + "-first")
    first.folder += "-first"
    second = newcomer(cluster, "sa", [eu, us])
    cluster.nodes.pop("sa")
    for path in ("key_path", "config_path", "log_path"):
        setattr(first, path, getattr(first, path).replace("/sa/", "/sa-first/"))
    with open(first.config_path) as f:
        text = f.read().replace("/sa/", "/sa-first/")
    with open(first.config_path, "w") as f:
        f.write(text)
    cluster.nodes.update({"sa1": first, "sa2": second})
    cluster.cut("eu")
    add(eu, first)
    add(us, second)
    for other in ("us", "ap"):
        eu.client().execute_command("REGION", "LINK", other, "up")
        cluster[other].client().execute_command("REGION", "LINK", "eu", "up")
    cluster.wait(lambda: all(len(link(n, "sa")) == 2 for n in (eu, us, cluster["ap"])), "all see both")
    first.start()
    second.start()
    cluster.wait(lambda: second.links_up() == 3, "the one that was added later is the region")
    cluster.wait(lambda: "two databases were added" in first.log(), "the other is told why not")
    assert link(eu, "sa") == ["refused", "up"] and "was added as region sa later" in note(eu, "sa"), listed(eu)
    assert f"sa (key {first.public.hex()}): another database" in ctl(eu, "region", "list")
    ctl(eu, "region", "forget", "sa", "--public-key", first.public.hex())
    cluster.wait(lambda: link(us, "sa") == ["forgotten", "up"], "and forgotten, it is out of the way")
    first.kill()
    cluster.wait_converged()


def forget_with_a_tail(cluster):
    """ap writes, only eu gets it, ap dies and is forgotten at us. Returns when both hold the same."""
    eu, us, ap = (cluster[r] for r in ("eu", "us", "ap"))
    for a, b in ((us, "ap"), (ap, "us"), (us, "eu"), (eu, "us")):
        a.client().execute_command("REGION", "LINK", b, "down")
    write(ap, "tail", 30)
    cluster.wait(lambda: has(eu, "tail", 30), "eu has what ap wrote")
    ap.kill()
    assert not us.client().exists("tail0")
    ctl(us, "region", "forget", "ap")
    for a, b in ((us, "eu"), (eu, "us")):
        a.client().execute_command("REGION", "LINK", b, "up")
    cluster.wait(lambda: has(us, "tail", 30), "what only one of the others had reaches the other")
    cluster.wait(lambda: link(eu, "ap") == ["forgotten"], "all know that it is forgotten")
    cluster.wait(lambda: all(listed(n)["ap"][0]["agreed"] == 1 for n in (eu, us)), "and agree on its history")


def history_is_gone(node):
    """Nothing is kept for anybody: the stable vector has caught up."""
    info = node.info("replication")
    return info["stable_vector"] == info["durable_vector"]


def test_forget(cluster):
    """A region that died: its last writes reach all, and nothing waits for it any more."""
    forget_with_a_tail(cluster)
    eu, us = cluster["eu"], cluster["us"]
    write(eu, "after", 10)
    cluster.wait(lambda: history_is_gone(eu) and history_is_gone(us), "nothing is kept for it")
    assert eu.client().set("k", "v") and eu.client().wait(1, 10000) == 1
    assert eu.info("replication")["regions"] == 2
    for node in (eu, us):  # asked alone, of those that are members
        assert ctl(node, "wait-converged", "--timeout", "10") == "converged\n"


def test_return(cluster):
    """A forgotten region is refused with the way back, and rejoins with what only it has; what was deleted stays so."""
    eu, us, ap = (cluster[r] for r in ("eu", "us", "ap"))
    eu.client().set("gone", "x")
    eu.client().incrby("count", 5)
    cluster.wait_converged()
    ap.client().incrby("count", 10)
    cluster.wait_converged()
    cluster.cut("ap")
    ctl(us, "region", "forget", "ap")
    cluster.wait(lambda: link(eu, "ap") == ["forgotten"], "all know that it is forgotten")
    ap.client().incrby("count", 100)  # nobody sees these two
    ap.client().set("mine", "y")
    eu.client().delete("gone", "count")
    cluster.wait(lambda: us.client().get("gone") is None, "us knows of the removal")
    write(eu, "later", 20)
    cluster.wait(lambda: history_is_gone(eu) and history_is_gone(us), "the removal is forgotten")
    for other in (eu, us):
        ap.client().execute_command("REGION", "LINK", other.region, "up")
    sentence = "this region was forgotten by eu: add it again there (skerryctl region add ap"
    cluster.wait(lambda: sentence in note(ap, "eu"), "it is told what to do")
    assert sentence in ap.log() and link(ap, "eu") == ["down"]
    assert "was forgotten" in eu.log()
    add(eu, ap)
    cluster.wait(lambda: ap.links_up() == 2, "it is linked again")
    cluster.wait_converged()
    for node in cluster:
        client = node.client()
        assert client.get("gone") is None, node.region
        assert client.get("mine") == b"y", node.region
        assert client.get("count") == b"100", (node.region, client.get("count"))
        assert has(node, "later", 20), node.region
    ap.client().set("once", "more")
    assert len(re.findall("ap-[0-9a-f]+:", str(ap.info("replication")["vector"]))) == 2, "it has a new incarnation"
    cluster.wait(lambda: all(history_is_gone(n) for n in cluster), "and holds nothing back")


def test_rekey(cluster):
    """A region gets a new key: with both for a while, then only with the new one."""
    eu, us, ap = (cluster[r] for r in ("eu", "us", "ap"))
    secret = secrets.token_bytes(32)
    ctl(eu, "region", "rekey", "ap", "--public-key", public_key(secret).hex(), "--keep", "1h")
    cluster.wait(lambda: "ap" in listed(us) and len(listed(us)["ap"]) == 2, "all know of it")
    cluster.wait_links()
    ap.restart()  # still with the old key
    cluster.wait_links()
    ap.set_key(secret)
    ap.restart()
    cluster.wait_links()
    write(ap, "rekeyed", 10)
    cluster.wait_converged()
    ctl(eu, "wait-converged")  # the old key, which is still listed, is nobody to wait for
    third = secrets.token_bytes(32)
    ctl(us, "region", "rekey", "ap", "--public-key", public_key(third).hex(), "--keep", "0")
    cluster.wait(lambda: all(n.links_up() == 1 for n in (eu, us)), "the old key is void at once")
    cluster.wait(lambda: "the time of the old one is over" in ap.log(), "and it is told")


def test_a_removed_key_is_out(cluster):
    """The link of a forgotten region is closed at once, wherever it is known, and stays so over restarts."""
    eu, us, ap = (cluster[r] for r in ("eu", "us", "ap"))
    ctl(eu, "region", "forget", "ap")
    cluster.wait(lambda: eu.links_up() == 1 and us.links_up() == 1 and ap.links_up() == 0, "its links are closed")
    eu.restart()
    us.restart()
    cluster.wait(lambda: eu.links_up() == 1 and us.links_up() == 1, "the two are linked again")
    cluster.wait(lambda: "was forgotten" in note(ap, "us"), "it is refused still")
    assert link(eu, "ap") == ["forgotten"] and ap.client().set("k", "v")


TESTS = [test_add, test_join, test_join_with_writes, test_errors, test_add_during_a_partition, test_two_of_one_name, test_forget, test_return, test_rekey,
         test_a_removed_key_is_out]


def main():
    for test in TESTS:
        if sys.argv[1:] and test.__name__ not in sys.argv[1:]:
            continue
        with Cluster(["eu", "us", "ap"]) as cluster:
            cluster.start()
            test(cluster)
        print(f"ok {test.__name__}", flush=True)


if __name__ == "__main__":
    main()
