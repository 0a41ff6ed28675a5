#!/usr/bin/python3
"""Three real nodes: written here, read there; restarts, kill -9, a link out of service, strangers, wrong keys."""
import os
import signal
import socket
import sys
import threading

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, public_key, run_on, tests_of  # noqa: E402


def eventually(cluster, region, key, value):
    cluster.wait(lambda: cluster[region].client().get(key) == value, f"{key} is {value} in {region}")


def test_write_here_read_there(cluster):
    cluster["eu"].client().set("a", "1")
    eventually(cluster, "us", "a", b"1")
    eventually(cluster, "ap", "a", b"1")
    client = cluster["us"].client()
    client.set("b", "2")
    assert client.execute_command("WAIT", 2, int(WAIT_S * 1000)) == 2
    assert cluster["ap"].client().get("b") == b"2"


def test_pipeline_and_large_values(cluster):
    eu, us = cluster["eu"].client(), cluster["us"].client()
    pipe = eu.pipeline(transaction=False)
    for i in range(5000):
        pipe.set(f"p{i}", f"value {i}")
    assert pipe.execute() == [True] * 5000
    assert eu.mget([f"p{i}" for i in range(5000)]) == [f"value {i}".encode() for i in range(5000)]
    big = os.urandom(6 * 1024 * 1024)
    eu.set("big", big)
    assert eu.get("big") == big
    cluster.wait(lambda: us.get("big") == big, "a large value gets across")
    assert us.get("p4999") == b"value 4999"
    cluster.wait_converged()


def test_restart(cluster):
    cluster["us"].client().set("before", "restart")
    cluster["us"].restart()
    assert cluster["us"].client().get("before") == b"restart"
    assert "node.stopped" in cluster["us"].log()
    cluster.wait_links()
    cluster["us"].client().set("after", "restart")
    eventually(cluster, "ap", "after", b"restart")


def test_kill_under_load(cluster):
    """What was acknowledged is there after kill -9, and everywhere."""
    node, acknowledged = cluster["ap"], []

    def load(worker):
        client = node.client(retry=None)
        try:
            for i in range(1000000):
                client.set(f"load{worker}:{i}", i)
                acknowledged.append((f"load{worker}:{i}", i))
        except redis.RedisError:
            pass

    workers = [threading.Thread(target=load, args=(w,)) for w in range(4)]
    for worker in workers:
        worker.start()
    cluster.wait(lambda: len(acknowledged) > 500, "500 writes are acknowledged")
    node.kill()
    for worker in workers:
        worker.join()
    assert len(acknowledged) > 500
    cluster["eu"].client().set("meanwhile", "1")
    node.start()
    client = node.client()
    lost = [key for key, value in acknowledged if client.get(key) != str(value).encode()]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged writes are gone: {lost[:5]}"
    cluster.wait_links()
    eventually(cluster, "ap", "meanwhile", b"1")
    cluster.wait_converged()
    client = cluster["eu"].client()
    assert all(client.get(key) == str(value).encode() for key, value in acknowledged)


def test_link_out_of_service(cluster):
    eu, us = cluster["eu"].client(), cluster["us"].client()
    for peer in ("us", "ap"):
        assert eu.execute_command("REGION", "LINK", peer, "down")
    cluster.wait(lambda: cluster["eu"].links_up() == 0, "eu is alone")
    eu.incr("counter")
    us.incrby("counter", 10)
    eu.set("both", "eu")
    us.set("both", "us")
    assert us.get("counter") == b"10" and eu.get("counter") == b"1"
    info = cluster["eu"].info("replication")
    assert info["link_us"]["state"] == "out_of_service" and b"out_of_service" in eu.execute_command("REGION", "LIST")[1]
    assert "out_of_service" in [r["link"] for k, r in info.items() if k.startswith("region") and isinstance(r, dict)]
    for peer in ("us", "ap"):
        assert eu.execute_command("REGION", "LINK", peer, "up")
    cluster.wait_links()
    eventually(cluster, "eu", "counter", b"11")
    eventually(cluster, "ap", "counter", b"11")
    cluster.wait_converged()


def test_strangers(cluster):
    """Garbage at both ports, half a handshake, a flood: refused, and the node goes on."""
    node = cluster["eu"]
    for port in (node.port, node.link_port):
        for junk in (b"\0" * 100, b"\xff\xff", os.urandom(2000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"*1000000000\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as s:
                try:
                    s.sendall(junk)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
                except ConnectionError:
                    pass
    idle = [socket.create_connection(("127.0.0.1", node.link_port), timeout=WAIT_S) for _ in range(100)]
    idle[0].settimeout(WAIT_S)
    assert idle[0].recv(1) == b""  # the oldest went, and not for its age
    assert "link.stranger_dropped" in node.log()
    for s in idle:
        s.close()
    assert node.client().ping()
    assert node.links_up() == 2


def test_half_closed_client(cluster):
    """A client that has sent all it has to say still gets its answers."""
    with socket.create_connection(("127.0.0.1", cluster["eu"].port), timeout=WAIT_S) as s:
        s.sendall(b"SET half closed\r\nGET half\r\nPING\r\n")
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := s.recv(4096):
            answer += chunk
    assert answer == b"+OK\r\n$6\r\nclosed\r\n+PONG\r\n", answer


def test_slow_reader(cluster):
    """A client that does not read is closed at the limit; the others do not notice."""
    eu = cluster["eu"].client()
    eu.set("mb", b"x" * 1024 * 1024)
    eu.config_set("listen.output_buffer_max", "4mb")
    with socket.create_connection(("127.0.0.1", cluster["eu"].port), timeout=WAIT_S) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for _ in range(4):
                s.sendall(b"MGET " + b"mb " * 60 + b"\r\n")  # one reply above the limit
            got = 0
            while chunk := s.recv(65536):
                got += len(chunk)
            assert got < 60 * 1024 * 1024
        except ConnectionError:
            pass
    assert eu.ping()
    with socket.create_connection(("127.0.0.1", cluster["eu"].port), timeout=WAIT_S) as s:
        s.sendall(b"GET mb\r\n" * 50)  # fifty replies that fit one by one: it is not read from until it reads
        want, got = 50 * (1024 * 1024 + len(b"$1048576\r\n\r\n")), 0
        while got < want:
            chunk = s.recv(1 << 20)
            assert chunk, f"closed after {got} of {want} bytes"
            got += len(chunk)
    eu.config_set("listen.output_buffer_max", "64mb")
    eu.delete("mb")


def test_config(cluster):
    eu = cluster["eu"].client()
    assert eu.config_get("save") == {"save": ""} and eu.config_get("appendonly") == {"appendonly": "yes"}
    assert eu.config_get("listen.port") == {"listen.port": str(cluster["eu"].port)}
    eu.config_set("maxclients", 3)
    held = [socket.create_connection(("127.0.0.1", cluster["eu"].port), timeout=WAIT_S) for _ in range(4)]
    assert held[-1].recv(100) == b"-ERR max number of clients reached\r\n"
    for s in held:
        s.close()
    eu.config_set("maxclients", 10000)
    try:
        eu.config_set("listen.port", 1)
        raise AssertionError("listen.port was changed")
    except redis.ResponseError:
        pass


def test_wrong_key(cluster):
    """A node with another key than its peers know gets no link, and both sides say why."""
    us = cluster["us"]
    assert us.stop() == 0
    right = open(us.key_path).read()
    other = os.urandom(32)
    with open(us.key_path, "w") as f:
        f.write(other.hex() + "\n")
    us.start()
    cluster.wait(lambda: "another public_key for us" in us.log(), "us says why it has no link")
    cluster.wait(lambda: public_key(other).hex() in cluster["eu"].log(), "eu says which key was offered")
    assert us.links_up() == 0
    assert us.stop() == 0
    with open(us.key_path, "w") as f:
        f.write(right)
    us.start()
    cluster.wait_links()


def test_refused_starts(cluster):
    """A locked directory, a used port, another region's directory, a readable key: exit codes and clear words."""
    eu, ap = cluster["eu"], cluster["ap"]

    def run(expected, text, **changes):
        saved, before = dict(ap.settings), ap.log()
        ap.write_config(**changes)
        ap.spawn()
        code = ap.process.wait(timeout=WAIT_S)
        ap.settings = saved
        ap.write_config()
        said = ap.log()[len(before):]
        assert code == expected and text in said, (code, said)

    ap.write_config()
    assert ap.stop() == 0
    run(1, f"127.0.0.1:{eu.port}", listen={"port": eu.port})
    run(1, f"127.0.0.1:{eu.link_port}", replication={"port": eu.link_port})
    os.chmod(ap.key_path, 0o644)
    run(3, "chmod 600")
    os.chmod(ap.key_path, 0o600)
    run(3, "listn: unknown field", listn={"port": 1})
    config = open(ap.config_path).read()
    for expected, text, folder in ((4, "", eu.folder),):  # eu runs: its directory is locked
        with open(ap.config_path, "w") as f:
            f.write(config.replace(f"{ap.folder}/data", f"{folder}/data"))
        before = ap.log()
        ap.spawn()
        assert ap.process.wait(timeout=WAIT_S) == expected, ap.log()[len(before):]
    assert eu.stop() == 0
    before = ap.log()
    ap.spawn()
    assert ap.process.wait(timeout=WAIT_S) == 4, ap.log()[len(before):]
    assert "region" in ap.log()[len(before):]
    eu.start()
    ap.write_config()
    ap.start()
    cluster.wait_links()


def test_stop_with_waiting_clients(cluster):
    """SIGTERM while clients write and wait: exit code 0, and what was acknowledged is there."""
    eu = cluster["eu"]
    acknowledged = []

    def load():
        client = eu.client(retry=None)
        try:
            for i in range(1000000):
                client.set(f"stop{i}", i)
                acknowledged.append(i)
        except redis.RedisError:
            pass

    worker = threading.Thread(target=load)
    worker.start()
    cluster.wait(lambda: len(acknowledged) > 100, "100 writes are acknowledged")
    code = eu.stop()
    worker.join()
    assert code == 0, code
    eu.start()
    client = eu.client()
    assert all(client.get(f"stop{i}") == str(i).encode() for i in acknowledged)
    cluster.wait_links()
    cluster.wait_converged()


def test_stop_with_a_client_that_does_not_read(cluster):
    """It is waited for, but not for ever; a second signal waits for nobody. What was acknowledged is there."""
    eu = cluster["eu"]
    value = b"x" * (16 << 20)
    eu.client().set("unread", value)
    for signals, code, event in ((1, 0, "node.stop_late"), (2, 1, "node.stop_now")):
        begin = len(eu.log())
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(WAIT_S)
            s.connect(("127.0.0.1", eu.port))
            s.sendall(b"GET unread\r\n")
            cluster.wait(lambda: eu.info("clients")["clients_unsent_bytes"] > 0, "a reply is unread")
            eu.client().set("last", event)
            if signals == 2:
                eu.process.send_signal(signal.SIGTERM)
                cluster.wait(lambda: "node.stopping" in eu.log()[begin:], "the node is stopping")
            got = eu.stop()
        assert got == code, got
        assert event in eu.log()[begin:], eu.log_tail()
        eu.start()
        assert eu.client().get("last") == event.encode() and eu.client().get("unread") == value
    eu.client().delete("unread")
    cluster.wait_links()
    cluster.wait_converged()


def main():
    run_on(["eu", "us", "ap"], tests_of(globals()))
    print("all passed")


if __name__ == "__main__":
    main()
