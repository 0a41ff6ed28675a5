#!/usr/bin/python3
"""hiredis_test.c against two real nodes. HIREDIS_TEST says which binary."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster  # noqa: E402


def main():
    program = os.environ.get("HIREDIS_TEST") or os.path.join(os.environ.get("SK_BUILD", "build"), "tests/hiredis_test")
    with Cluster(["eu", "us"]) as cluster:
        cluster.start()
        subprocess.run([program, str(cluster["eu"].port), str(cluster["us"].port)], check=True, timeout=4 * WAIT_S)
        cluster.wait_converged()
        for node in cluster:
            assert node.stop() == 0, node.log_tail()
    print("all passed")


if __name__ == "__main__":
    main()
