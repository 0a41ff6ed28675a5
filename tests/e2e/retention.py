#!/usr/bin/python3
"""A region that is away for longer than history is kept for it: warnings, the crossing, and how it comes back."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from catchup import fill, holds, peer  # noqa: E402
from cluster import run_on, tests_of  # noqa: E402

CAP = 200 * 1024


def history(node):
    return {name: value for name, value in node.info("replication").items() if name.startswith("history_")}


def said(node, event):
    """The log's lines of an event."""
    return [line for line in node.log().splitlines() if re.search(rf"\b{re.escape(event)}\b", line)]


def lag_of(node, region):
    for told in node.client().execute_command("REGION", "LAG"):
        fields = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2]))
        fields = {name.decode() if isinstance(name, bytes) else name: value for name, value in fields.items()}
        if fields["region"] in (region, region.encode()):
            return fields
    raise AssertionError(f"{node.region} does not know {region}")


def fill_up_to(cluster, node, percent, written, number):
    """Small lots until so much of the cap is used."""
    while history(node)["history_percent"] < percent:
        assert not said(node, "history.crossed"), node.log_tail()
        written.update(fill(node, f"{'key' * 10}:{number}:", 50, 300))
        number += 1
        cluster.wait(lambda: str(cluster["us"].info("replication")["durable_vector"]) ==
                     str(node.info("replication")["durable_vector"]), "us follows")
    return number


def test_warnings_come_before_the_crossing(cluster):
    eu, us, ap = cluster
    fill(eu, "gone", 200, 20)
    eu.client().sadd("set", "stays", "goes")
    eu.client().incrby("count", 10)
    cluster.wait_converged()
    cluster.wait(lambda: history(eu)["history_bytes"] == 0, "nothing is kept while all have all")
    cluster.cut("ap")
    cluster.alone = fill(ap, "alone", 100, 50)  # nobody else will have seen these, nor this
    ap.client().incrby("count", 7)
    ap.client().sadd("set", "late")
    ap.client().delete("gone0")
    assert ap.stop() == 0
    assert eu.client().delete(*[f"gone{i}" for i in range(1, 200)]) == 199
    assert eu.client().delete("count") == 1
    eu.client().srem("set", "goes")
    cluster.written, number = {}, 0
    for percent, lines in ((50, 1), (80, 2)):
        assert len(said(eu, "history.grows")) == lines - 1
        number = fill_up_to(cluster, eu, percent, cluster.written, number)
        cluster.wait(lambda: len(said(eu, "history.grows")) == lines, f"the warning at {percent} percent")
        line = said(eu, "history.grows")[-1]
        assert "WARN" in line.upper() and "held_by=ap" in line and re.search(r"since_s=\d+", line), line
        assert int(re.search(r"percent=(\d+)", line).group(1)) in range(percent, percent + 25), line
    now = history(eu)
    assert now["history_held_by"] == "ap" and now["history_laggards"] == 0 and now["history_bytes_max"] == CAP, now
    assert int(lag_of(eu, "ap")["history_bytes"]) > CAP // 2 and int(lag_of(eu, "us")["history_bytes"]) < CAP // 10
    cluster.written.update(fill(eu, f"{'key' * 10}:more:", 3000, 300))
    cluster.wait(lambda: said(eu, "history.crossed"), "the crossing", 60)  # not before all could have said what they have
    assert "region=ap" in said(eu, "history.crossed")[0]
    cluster.written.update(fill(eu, f"{'key' * 10}:after:", 3000, 300))
    cluster.wait(lambda: history(us)["history_laggards"] == 1, "us has crossed, too", 60)
    for node in (eu, us):
        cluster.wait(lambda: history(node)["history_bytes"] < CAP // 10, f"{node.region} keeps no history for ap")
        assert int(lag_of(node, "ap")["laggard"]) == 1 and int(peer(node, ap)["laggard"]) == 1
        assert len(said(node, "history.crossed")) == 1, said(node, "history.crossed")
    assert len(said(eu, "history.grows")) == 2


def test_a_start_goes_on_without_the_laggard(cluster):
    us = cluster["us"]
    us.restart()
    assert history(us)["history_laggards"] == 1
    assert "region=ap" in said(us, "history.not_kept")[0]
    cluster.wait(lambda: us.links_up() == 1, "us is linked again")
    cluster.written.update(fill(us, f"{'key' * 10}:us:", 1000, 300))
    cluster.wait(lambda: history(us)["history_bytes"] < CAP // 10, "us keeps no history for ap")


def test_it_comes_back(cluster):
    eu, us, ap = cluster
    ap.start()
    cluster.heal("ap")
    for node in cluster:
        client = node.client()
        holds(node, cluster.written)
        holds(node, cluster.alone)
        assert client.exists(*[f"gone{i}" for i in range(200)]) == 0, node.region
        assert client.smembers("set") == {b"stays", b"late"}, node.region
        assert int(client.get("count")) == 7, node.region  # the reset had not seen these
    for node in (eu, us):
        cluster.wait(lambda: history(node)["history_laggards"] == 0, f"ap counts again at {node.region}")
        cluster.wait(lambda: said(node, "history.kept_again"), "the log says so")
    assert not said(ap, "history.crossed")
    for node in cluster:
        cluster.wait(lambda: history(node)["history_bytes"] == 0, f"{node.region} has forgotten all")
    ap.client().incrby("count", 1)
    cluster.wait_converged()
    assert int(eu.client().get("count")) == 8


def test_time_is_a_cap_too(cluster):
    eu, ap = cluster["eu"], cluster["ap"]
    eu.client().config_set("replication.retention_bytes", "0")
    eu.client().config_set("replication.retention_time", "3s")
    cluster.cut("ap")
    fill(eu, "short", 10, 20)
    cluster.wait(lambda: history(eu)["history_laggards"] == 1, "eu waits for ap no more")
    line = said(eu, "history.crossed")[-1]
    assert int(re.search(r"since_s=(\d+)", line).group(1)) >= 3 and "age_max_s=3" in line, line
    cluster.heal("ap")
    cluster.wait(lambda: history(eu)["history_laggards"] == 0, "ap counts again")


def main():
    run_on(["eu", "us", "ap"], tests_of(globals()), name="retention",
           replication={"ring_max": "1mb", "retention_bytes": f"{CAP // 1024}kb"})


if __name__ == "__main__":
    main()
