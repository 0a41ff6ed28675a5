#!/usr/bin/python3
"""skerryctl against two real nodes: what it prints, as text and as JSON, and its exit codes."""
import json
import os
import re
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster, free_port, run_on, tests_of  # noqa: E402

PROGRAM = os.environ.get("SKERRYCTL") or "build/skerryctl"
OK, NO, USAGE, FAILED = 0, 1, 2, 3


def run(*args, nodes=(), code=OK, **env):
    """The standard output; the exit code must be the one given."""
    hosts = [word for node in nodes for word in ("-H", f"127.0.0.1:{node.port}")]
    done = subprocess.run([PROGRAM, *hosts, *args], capture_output=True, text=True, timeout=2 * WAIT_S,
                          env={**os.environ, **env})
    assert done.returncode == code, f"{args}: {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    assert bool(done.stderr) == (code in (USAGE, FAILED)), f"{args}: {done.stderr}"
    return done.stdout


def ask(*args, **options):
    return json.loads(run("--json", *args, **options))


def test_arguments(cluster):
    eu = cluster["eu"]
    for args in [], ["foo"], ["siblings"], ["siblings", "get"], ["region", "link", "us"], ["status", "x"], ["--foo"], \
            ["-H", "a:b:c", "status"], ["-H", "a:0", "status"], \
            ["--timeout", "x", "status"], ["--timeout", "0", "status"], \
            ["siblings", "resolve", "k", "c"], ["siblings", "resolve", "k", "c", "v", "--keep", "set"], \
            ["--password-file", "/none", "status"]:
        run(*args, nodes=[eu], code=USAGE)
    run("siblings", "list", nodes=cluster, code=USAGE)
    commands, options = run("--help").split("\noptions:\n")
    assert "wait-converged" in commands
    unexplained = set(re.findall("--[a-z-]+", commands)) - set(re.findall("--[a-z-]+", options)) - {"--help"}
    assert not unexplained, unexplained
    assert "region audit" in options.split("take several")[0]
    assert "Exit code 1" in run("siblings", "get", "--help")
    assert run("--version").startswith("skerryctl ")


def test_no_connection(cluster):
    run("-H", f"127.0.0.1:{free_port()}", "status", code=FAILED)
    run("-H", f"127.0.0.1:{free_port()}", "wait-converged", "--timeout", "0.2", code=FAILED)
    run("region", "link", "nobody", "down", nodes=[cluster["eu"]], code=FAILED)


def test_no_answer(_):
    """A node that is stopped, or hangs: the system takes the connection, and nobody answers."""
    with socket.socket() as hangs:
        hangs.bind(("127.0.0.1", free_port()))
        hangs.listen()
        done = subprocess.run([PROGRAM, "-H", f"127.0.0.1:{hangs.getsockname()[1]}", "--timeout", "0.1", "status"],
                              capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == FAILED and "no answer came in time" in done.stderr, done


def test_export_into_no_file(cluster):
    """A pipe or a device is left what it is: the file would take its place."""
    pipe = os.path.join(cluster.folder, "pipe")
    os.mkfifo(pipe)
    run("export", pipe, nodes=[cluster["eu"]], code=FAILED)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode) and not os.path.exists(pipe + ".part")


def test_keygen(cluster):
    path = os.path.join(cluster.folder, "new.key")
    public = run("keygen", path).strip()
    assert len(bytes.fromhex(public)) == 32
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    run("keygen", path, code=FAILED)
    other = ask("keygen", path + "2")
    assert other["file"] == path + "2" and len(other["public_key"]) == 64 and other["public_key"] != public


def test_conflict(cluster):
    eu, us = cluster["eu"], cluster["us"]
    assert run("wait-converged", nodes=cluster) == "converged\n"
    run("region", "link", "us", "down", nodes=[eu])
    cluster.wait(lambda: us.links_up() == 0, "the link is down")
    assert "out_of_service" in run("status", nodes=[eu], code=NO)
    eu.client().set("k", "one")
    us.client().set("k", b"\xff\x00two")
    eu.client().hset("h", "f", "1")
    us.client().hset("h", "f", "2")
    eu.client().set("typed", "s")
    us.client().sadd("typed", "x")
    assert ask("wait-converged", "--timeout", "0.3", nodes=cluster, code=NO)["converged"] is False
    assert run("wait-converged", "--timeout", "0.3", nodes=[eu], code=NO) == "not converged\n"
    assert ask("region", "lag", nodes=[eu])["nodes"][0]["regions"][0]["it_lacks"] == 3
    run("region", "link", "us", "up", nodes=[eu])
    assert ask("wait-converged", nodes=cluster)["converged"] is True
    run("wait-converged", nodes=[us])

    status = ask("status", nodes=cluster)["nodes"]
    assert [node["conflicts"] for node in status] == [3, 3]
    assert status[0]["digest"] == status[1]["digest"] == ask("digest", nodes=[us])["nodes"][0]["digest"]
    assert status[0]["links_up"] is True and len(status[0]["regions"]) == 2
    assert {row["key"] for row in ask("siblings", "list", nodes=[us])} == {"k", "h", "typed"}
    assert run("siblings", "list", nodes=[us]).count("2 siblings") == 3

    found = ask("siblings", "get", "k", nodes=[eu])
    assert sorted(s["region"] for s in found["siblings"]) == ["eu", "us"]
    assert {"base64": "/wB0d28="} in [s["value"] for s in found["siblings"]]
    assert '"\\xff\\x00two"' in run("siblings", "get", "k", nodes=[eu])
    run("siblings", "get", "none", nodes=[eu], code=NO)
    assert run("siblings", "resolve", "k", found["context"], "both", nodes=[eu]) == "resolved\n"
    found = ask("siblings", "get", "h", "f", nodes=[eu])
    assert ask("siblings", "resolve", "h", found["context"], "3", "f", nodes=[eu])["resolved"] is True
    found = ask("siblings", "get", "typed", nodes=[eu])
    run("siblings", "resolve", "typed", found["context"], "--keep", "set", nodes=[eu])
    run("siblings", "resolve", "typed", "damaged", "--keep", "set", nodes=[eu], code=FAILED)
    run("wait-converged", nodes=cluster)
    assert us.client().get("k") == b"both" and us.client().hget("h", "f") == b"3"
    assert us.client().smembers("typed") == {b"x"}
    assert ask("siblings", "list", nodes=[us]) == []


def test_resolve_with_an_old_context(cluster):
    eu = cluster["eu"]
    eu.client().set("again", "1")
    context = ask("siblings", "get", "again", nodes=[eu])["context"]
    eu.client().set("again", "2")
    assert ask("siblings", "resolve", "again", context, "3", nodes=[eu], code=NO)["siblings"] == 2
    eu.client().delete("again")


def test_policy(cluster):
    eu = cluster["eu"]
    assert ask("policy", "list", nodes=[eu]) == []
    run("policy", "set", "cache:", "newest", nodes=[eu])
    assert ask("policy", "list", nodes=[eu]) == [{"prefix": "cache:", "policy": "newest"}]
    assert run("policy", "get", "cache:1", nodes=[eu]) == "newest\n"
    assert ask("policy", "get", "other", nodes=[eu]) == {"policy": "siblings"}
    run("policy", "set", "cache:", "latest", nodes=[eu], code=FAILED)


def test_password(cluster):
    hashed = subprocess.run([cluster.skerryd, "--hash-password"], input="secret\n", capture_output=True, text=True,
                            check=True).stdout.strip()
    path = os.path.join(cluster.folder, "password")
    with open(path, "w") as file:
        file.write("secret\nsecond line\n")
    with Cluster(["solo"], listen={"password_hash": f"'{hashed}'"}) as own:
        solo = own["solo"]
        solo.spawn()
        own.wait(lambda: solo.client(password="secret").ping(), "solo answers")
        run("digest", nodes=[solo], code=FAILED)
        run("digest", nodes=[solo], code=FAILED, SKERRYCTL_PASSWORD="wrong")
        run("digest", nodes=[solo], SKERRYCTL_PASSWORD="secret")
        run("--password-file", path, "digest", nodes=[solo], SKERRYCTL_PASSWORD="wrong")
        run("wait-converged", nodes=[solo], SKERRYCTL_PASSWORD="secret")
        assert solo.stop() == 0


def main():
    run_on(["eu", "us"], tests_of(globals()))
    print("all passed")


if __name__ == "__main__":
    main()
