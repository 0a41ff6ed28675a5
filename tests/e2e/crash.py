#!/usr/bin/python3
"""kill -9 under load: what was acknowledged is there afterwards, in every region, and the counters are exact."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import run_on, tests_of  # noqa: E402
from load import Writer, check, scaled  # noqa: E402


def acknowledged(writers):
    return sum(w.acknowledged for w in writers)


def load_until(cluster, writers, count):
    """Lets them write until `count` more operations are acknowledged."""
    goal = acknowledged(writers) + count

    def reached():
        for writer in writers:
            if writer.failure:
                raise writer.failure
        return acknowledged(writers) >= goal
    cluster.wait(reached, f"{count} more writes are acknowledged")


def begin(cluster, tag, depths=(1, 1, 16)):
    """Writers in every region; those of one region share what it can do."""
    writers = [Writer(node, f"{tag}:{node.region}{i}", depth) for node in cluster for i, depth in enumerate(depths)]
    for writer in writers:
        writer.start()
    return writers


def stop(writers):
    for writer in writers:
        writer.stop()


def start_again(node):
    since = time.monotonic()
    node.start()
    print(f"  {node.region} answers {(time.monotonic() - since) * 1000:.0f} ms after its start", flush=True)


def resume(writers, regions):
    for writer in writers:
        if writer.node.region in regions:
            writer.stop()
            writer.start()


def crash(cluster, tag, rounds):
    """`rounds`: which regions die at the same time, one after another."""
    for node in cluster:
        node.client().delete("count", "members", "hash")
    cluster.wait_converged()
    writers, dice = begin(cluster, tag), random.Random(tag)
    try:
        for regions in rounds:
            load_until(cluster, writers, scaled(dice.randrange(500, 2500)))
            for region in regions:
                cluster[region].process.kill()  # at the same time, as far as a signal can be
            for region in regions:
                cluster[region].kill()
            for writer in writers:
                if writer.node.region in regions:
                    writer.stop()
            for region in regions:
                start_again(cluster[region])
                client = cluster[region].client()
                for writer in writers:
                    if writer.node.region == region:  # at once, before any peer could give it back
                        lost = writer.missing(client)
                        assert not lost, f"{region} lost {len(lost)} acknowledged writes: {lost[:5]}"
            resume(writers, regions)
        load_until(cluster, writers, scaled(500))
    finally:
        stop(writers)
    cluster.wait_links()
    cluster.wait_converged()
    check(writers, cluster)
    print(f"  {acknowledged(writers)} acknowledged, counter {cluster['eu'].client().get('count').decode()}, "
          f"acknowledged {sum(w.counted for w in writers)}, sent {sum(w.sent for w in writers)}", flush=True)


def test_one_region(cluster):
    crash(cluster, "one", [["eu"], ["us"], ["eu"], ["ap"]])


def test_two_regions_at_once(cluster):
    crash(cluster, "two", [["eu", "us"], ["us", "ap"]])


def test_all_at_once(cluster):
    crash(cluster, "all", [["eu", "us", "ap"]])


def test_killed_while_starting(cluster):
    """A node that is killed again while it starts has lost nothing by it."""
    writers = begin(cluster, "starting")
    try:
        load_until(cluster, writers, scaled(1500))
    finally:
        node = cluster["eu"]
        node.kill()
        stop(writers)
    dice = random.Random(7)
    for _ in range(5):
        node.spawn()
        time.sleep(dice.random() * 0.08)  # anywhere in its start
        node.kill()
    start_again(node)
    cluster.wait_links()
    cluster.wait_converged()
    for writer in writers:
        lost = writer.missing(node.client())
        assert not lost, lost[:5]


def test_killed_alone(cluster):
    """What a region acknowledged while it was cut off survives its kill -9, and reaches the others later."""
    cluster.cut("ap")
    node, writers = cluster["ap"], [Writer(cluster["ap"], f"alone:{i}", 8) for i in range(3)]
    before = int(node.client().get("count") or 0)
    for writer in writers:
        writer.start()
    try:
        load_until(cluster, writers, scaled(2000))
        node.kill()
    finally:
        stop(writers)
    start_again(node)  # its own end of the links is in service again; the others' are not yet
    for writer in writers:
        assert not writer.missing(node.client())
    value = int(node.client().get("count")) - before
    assert sum(w.counted for w in writers) <= value <= sum(w.sent for w in writers), value
    cluster.heal("ap")
    for other in cluster:
        for writer in writers:
            assert not writer.missing(other.client()), other.region


def test_stopped_under_load(cluster):
    """SIGTERM: exit code 0, nothing acknowledged is missing, and there was no need to recover."""
    writers = begin(cluster, "stopped")
    try:
        for region in ("us", "eu"):
            load_until(cluster, writers, scaled(1000))
            code = cluster[region].stop()
            assert code == 0, (region, code, cluster[region].log_tail())
            start_again(cluster[region])
            resume(writers, [region])
        load_until(cluster, writers, scaled(300))
    finally:
        stop(writers)
    cluster.wait_links()
    cluster.wait_converged()
    for node in cluster:
        for writer in writers:
            lost = writer.missing(node.client())
            assert not lost, (node.region, lost[:5])


def run(durability, tests):
    run_on(["eu", "us", "ap"], tests, storage={"durability": durability, "interval_ms": 200})


def main():
    run("always", tests_of(globals()))
    for durability in ("interval", "os"):  # the process dies, the machine does not: nothing is lost there either
        run(durability, [test_one_region, test_all_at_once])
    print("all passed")


if __name__ == "__main__":
    main()
