#!/usr/bin/python3
"""What is wrong from outside: requests, strangers, configurations, data directories, a full disk, a clock that jumps.
Each has its clear error, and nobody else notices."""
import errno
import glob
import hashlib
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

import redis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import WAIT_S, Cluster, run_on, tests_of  # noqa: E402
from load import Writer  # noqa: E402

FAKETIME = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or [""])[0]


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def answers(port, *pieces):
    """Sends the pieces, one by one, and no more; returns everything that comes until the other side closes."""
    got = b""
    with connect(port) as s:
        try:
            for piece in pieces:
                s.sendall(piece)
            s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                got += chunk
        except ConnectionError:
            pass
    return got


def refused(port, request, text):
    """The request is answered with this error, and the connection is closed by the node."""
    with connect(port) as s:
        got = b""
        try:
            s.sendall(request)
            while chunk := s.recv(65536):  # we leave our side open: it is the node that must close
                got += chunk
        except ConnectionError:
            pass
    assert text in got, f"{request[:60]}: {got[:200]}"


# -- requests -------------------------------------------------------------------------------------------------------


def test_malformed_requests(cluster):
    eu = cluster["eu"]
    witness = eu.client()
    for request, text in ((b"*1000000000\r\n", b"-ERR Protocol error: invalid multibulk length"),
                          (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length"),
                          (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length"),
                          (b"*1\r\n!4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '!'"),
                          (b"*1\r\n$-5\r\nPING\r\n", b"-ERR Protocol error: invalid bulk length"),
                          (b"*1\r\n$abc\r\nPING\r\n", b"-ERR Protocol error: invalid bulk length"),
                          (b"*2\r\n$3\r\nGET\r\n$4294967296\r\n", b"-ERR Protocol error: invalid bulk length"),
                          (b"*2\r\n$3\r\nGET\r\n$33554433\r\n", b"-ERR Protocol error: invalid bulk length"),
                          (b"SET a \"unbalanced\r\n", b"-ERR Protocol error: unbalanced quotes in request"),
                          (b"x" * 70000, b"-ERR Protocol error: too big inline request"),
                          (b"*" + b"1" * 70000, b"-ERR Protocol error"),
                          (b"PING\r\n*1\r\n$x\r\n", b"+PONG\r\n-ERR Protocol error: invalid bulk length")):
        refused(eu.port, request, text)
        assert witness.ping()
    assert answers(eu.port, b"\r\n\r\n*0\r\n*-1\r\nPING\r\n") == b"+PONG\r\n"
    assert answers(eu.port, b"*2\r\n$4\r\nECHO\r\n$5\r\nhel") == b""  # half a request, then nothing
    assert answers(eu.port, *[bytes([b]) for b in b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"]) == b"$2\r\nhi\r\n"
    for request in (b"GET\r\n", b"SET a\r\n", b"NOSUCH a b\r\n", b"SIBLINGS NOSUCH\r\n", b"EXPIRE a b\r\n",
                    b"SIBLINGS RESOLVE a b c d e f\r\n", b"REGION LINK nobody down\r\n", b"CONFIG SET nosuch 1\r\n",
                    b"POLICY SET a b\r\n", b"HELLO 99\r\n", b"SCAN x\r\n", b"COMMAND DOCS nosuch extra\r\n"):
        got = answers(eu.port, request, b"PING\r\n")
        assert got.endswith(b"+PONG\r\n"), (request, got)


def test_limits(cluster):
    """As many arguments and bytes as are allowed, and one more; what is claimed costs nothing before it comes."""
    eu = cluster["eu"]
    client, before = eu.client(), eu.info("memory")["used_memory_rss"]
    held = []
    for _ in range(100):  # each claims 32 MB, and sends a few bytes
        s = connect(eu.port)
        s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$33554432\r\nabc")
        held.append(s)
    for _ in range(100):
        s = connect(eu.port)
        s.sendall(b"*1048576\r\n$3\r\nDEL\r\n")
        held.append(s)
    assert client.ping()
    assert eu.info("memory")["used_memory_rss"] - before < 64 << 20
    for s in held:
        s.close()
    assert client.execute_command("DEL", *[f"k{i}" for i in range(100000)]) == 0
    big = b"v" * (32 << 20)
    client.set("big", big)
    assert client.strlen("big") == len(big)
    try:
        client.append("big", "x")
        client.get("big")  # if a value may grow beyond what a request can bring, it must be readable
    except redis.ResponseError as error:
        assert "limit" in str(error) or "maximum" in str(error), error
    client.delete("big")


def test_slow_connections(cluster):
    """Many that send a byte now and then, at both ports: the others are served, the links stay."""
    eu = cluster["eu"]
    slow = [connect(port) for _ in range(150) for port in (eu.port, eu.link_port)]
    client, links = eu.client(), eu.links_up()
    assert links == 1
    for byte in b"*3\r\n$3\r\nSET":
        for s in slow:
            try:
                s.sendall(bytes([byte]))
            except ConnectionError:
                pass  # strangers at the replication port are dropped when there are many
        assert client.set("among", "slow ones")
    assert eu.links_up() == 1
    cluster["us"].client().set("still", "replicated")
    cluster.wait(lambda: client.get("still") == b"replicated", "the link works")
    for s in slow:
        s.close()


# -- strangers at the replication port --------------------------------------------------------------------------------


def frame(body):
    return struct.pack(">H", len(body)) + body


def preamble(cluster="test", source="us", target="eu", version=None, magic=b"SKRY"):
    mark = hashlib.blake2b(cluster.encode(), digest_size=32).digest()[:8]
    names = b"".join(bytes([len(n)]) + n.encode() for n in (source, target))
    return frame(magic + bytes([PROTOCOL if version is None else version]) + mark + b"\0" + names)


PROTOCOL = 4


def test_strangers(cluster):
    eu = cluster["eu"]
    noise = frame(os.urandom(96))
    for pieces, said in (((frame(b"\0" * 30), ), b""),
                         ((b"\xff\xff" + b"x" * 5000, ), b""),
                         ((b"\0\0" * 1000, ), b""),
                         ((os.urandom(3000), ), b""),
                         ((preamble(magic=b"SKRX"), noise), b""),
                         ((preamble(version=PROTOCOL + 7), noise), b"\0\2\1\5"),
                         ((preamble(cluster="other"), noise), b"\0\2\1\10"),
                         ((preamble(target="us"), noise), b"\0\2\1\10"),
                         ((preamble(source="nobody"), noise), b"\0\2\1\10"),
                         ((preamble(source="A" * 200), noise), b""),
                         ((preamble(), frame(b"")), b""),
                         ((preamble(), frame(b"short")), b""),
                         ((preamble(), noise), b"\0\2\1\7"),
                         ((preamble(), b"\xff"), b"")):
        got = answers(eu.link_port, *pieces)
        assert got == said, (pieces, got)
    assert "link.refused" in eu.log()
    assert eu.links_up() == 1 and eu.client().ping()


def test_replayed_handshake(cluster):
    """A recorded first message, sent again, opens nothing: the answer to it is of use to the key's owner only."""
    eu, us = cluster["eu"], cluster["us"]
    assert us.stop() == 0
    recorded = b""
    with socket.socket() as listener:  # in the place of us: what eu says when it calls
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", us.link_port))
        listener.listen()
        listener.settimeout(WAIT_S)
        s, _ = listener.accept()
        s.settimeout(WAIT_S)
        while len(recorded) < 100:
            chunk = s.recv(4096)
            assert chunk
            recorded += chunk
        s.close()
    us.start()
    cluster.wait_links()
    for _ in range(3):
        with connect(us.link_port) as s:
            s.sendall(recorded)
            s.sendall(os.urandom(500))  # whatever follows is sealed with a key that the replayer does not have
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert us.links_up() == 1 and eu.links_up() == 1
    eu.client().set("after", "replay")
    cluster.wait(lambda: us.client().get("after") == b"replay", "the link is the old one, and works")


def test_other_cluster(cluster):
    us = cluster["us"]
    assert us.stop() == 0
    shutil.move(os.path.join(us.folder, "data"), os.path.join(us.folder, "data.aside"))
    config = open(us.config_path).read()
    with open(us.config_path, "w") as f:
        f.write(config.replace('cluster: "test"', 'cluster: "elsewhere"'))
    us.start()
    cluster.wait(lambda: "compare address, cluster and peers of both" in us.log(), "us says why it has no link")
    assert us.links_up() == 0 and cluster["eu"].links_up() == 0
    assert us.stop() == 0
    shutil.rmtree(os.path.join(us.folder, "data"))
    shutil.move(os.path.join(us.folder, "data.aside"), os.path.join(us.folder, "data"))
    us.write_config()
    us.start()
    cluster.wait_links()


# -- configurations and data directories ------------------------------------------------------------------------------


def check_config(cluster, text, **env):
    path = os.path.join(cluster.folder, "checked.yaml")
    with open(path, "w") as f:
        f.write(text)
    done = subprocess.run([cluster.skerryd, "--check-config", path], capture_output=True, text=True, timeout=WAIT_S,
                          env={**os.environ, **env})
    return done.returncode, done.stdout + done.stderr


def test_configurations(cluster):
    good = open(cluster["eu"].config_path).read()
    assert check_config(cluster, good)[0] == 0
    lines = good.count("\n")
    for more, line, words in (("bogus: 1\n", lines + 1, "bogus: unknown field"),
                              ("log:\n  level: loud\n", lines + 2, "log.level"),
                              ("limits:\n  transaction_max: -1\n", lines + 2, "limits.transaction_max"),
                              ("limits:\n  transaction_max: 1tb\n", lines + 2, "limits.transaction_max"),
                              ("log:\n\n\n  format: xml\n", lines + 4, "log.format"),
                              ("log: [1\n", None, ""),
                              ("region: us\n", lines + 1, "region"),
                              ("log: &a {level: *a}\n", None, "")):
        code, said = check_config(cluster, good + more)
        assert code == 3 and words in said and (line is None or f":{line}: " in said), (more, code, said)
    for change in ((f'region: "eu"', 'region: "EU!"'), ("port: ", "port: 9"), ("public_key: \"", "public_key: \"zz")):
        code, said = check_config(cluster, good.replace(*change))
        assert code == 3 and re.search(r":\d+: ", said), (change, code, said)
    for text in ("", "\0\0\0", "- a\n- b\n", "{" * 10000, "a: " * 1000, "\xff\xfe", "x" * 1000000):
        code, said = check_config(cluster, text)
        assert code == 3 and 0 < len(said) < 2000, (text[:20], code, said[:300])
    code, said = check_config(cluster, good, SKERRY_LISTEN_PORT="70000")
    assert code == 3 and "SKERRY_LISTEN_PORT" in said, said
    code, said = check_config(cluster, good.replace("listen:\n", "listen:\n  address: 0.0.0.0\n"))
    assert code == 3 and "password_hash" in said and "allow_public_without_password" in said, said
    code, said = check_config(cluster, good.replace("listen:\n", "listen:\n  address: 0.0.0.0\n"),
                              SKERRY_LISTEN_ALLOW_PUBLIC_WITHOUT_PASSWORD="true")
    assert code == 0, said
    done = subprocess.run([cluster.skerryd, "--check-config", "/nowhere.yaml"], capture_output=True, text=True)
    assert done.returncode == 3 and "/nowhere.yaml" in done.stderr
    assert subprocess.run([cluster.skerryd, "--nosuch"], capture_output=True).returncode == 2


def exits(node, expected, words):
    before = len(node.log())
    node.spawn()
    code = node.process.wait(timeout=WAIT_S)
    said = node.log()[before:]
    assert code == expected and words in said, (code, said)
    assert "Assertion" not in said and "Sanitizer" not in said, said


def test_data_directories(cluster):
    eu, us = cluster["eu"], cluster["us"]
    us.client().set("safe", "here")
    assert us.stop() == 0
    data = os.path.join(us.folder, "data")
    path = os.path.join(data, "SKERRY")
    identity = open(path, "rb").read()
    for text, words in ((b"skerry\nformat 999\n", "newer skerry"), (b"skerry\nformat x\n", "does not tell the format"),
                        (b"something else\n", "not one of skerry"), (b"sker", "cut off"),
                        (b"skerry\nformat 99999999999999999999\n", ""), (b"", ""), (os.urandom(5000), "")):
        with open(path, "wb") as f:
            f.write(text)
        exits(us, 4, words)
        assert open(path, "rb").read() == text  # left as it was
    with open(path, "wb") as f:
        f.write(identity)
    config = open(us.config_path).read()
    with open(us.config_path, "w") as f:
        f.write(config.replace(data, os.path.join(eu.folder, "data")))
    exits(us, 4, "another process has it open")
    assert eu.stop() == 0
    exits(us, 4, "belongs to region eu")
    with open(us.config_path, "w") as f:
        f.write(config.replace(data, os.path.join(us.folder, "log")))
    exits(us, 4, "is not a directory")
    assert "let the node's user own it" in us.log_tail(1), us.log_tail(1)  # and not: restore a backup
    with open(us.config_path, "w") as f:
        f.write(config.replace('"test"', '"other"'))
    exits(us, 4, "cluster test")
    with open(us.config_path, "w") as f:
        f.write(config.replace(eu.public.hex(), us.public.hex()))
    exits(us, 3, "the public_key of eu in peers is this node's own")
    us.write_config()
    eu.start()
    current = os.path.join(data, "db", "CURRENT")
    os.rename(current, current + ".aside")
    exits(us, 4, "CURRENT")
    os.rename(current + ".aside", current)
    with open(current) as f:
        manifest = os.path.join(data, "db", f.read().strip())
    whole = open(manifest, "rb").read()
    with open(manifest, "wb") as f:
        f.write(os.urandom(len(whole)))
    exits(us, 4, "")
    with open(manifest, "wb") as f:
        f.write(whole)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", us.port))
        taken.listen()
        exits(us, 1, f"127.0.0.1:{us.port}")
    us.start()
    assert us.client().get("safe") == b"here"
    cluster.wait_links()
    cluster.wait_converged()


# -- passwords --------------------------------------------------------------------------------------------------------


def test_no_password_configured(cluster):
    got = answers(cluster["eu"].port, b"AUTH x\r\nPING\r\n")
    assert got.startswith(b"-ERR AUTH <password> called without any password configured") and b"+PONG" in got, got


def memory_peak_mb(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) // 1024


def guesses(node):
    """Many wrong passwords at once: who is logged in is served, one check's memory is taken and not many, what a guess
    is followed by waits its turn, and a guesser that leaves is not missed."""
    before = memory_peak_mb(node)
    guessers = [connect(node.port) for _ in range(24)]
    for guesser in guessers:
        guesser.sendall(b"AUTH guess\r\nPING\r\nAUTH default guess\r\nECHO x\r\n")
    assert answers(node.port, b"AUTH right\r\nSET c d\r\nGET c\r\n") == b"+OK\r\n+OK\r\n$1\r\nd\r\n"
    left, kept = guessers[:8], guessers[8:]
    assert len(select.select(kept, [], [], 0)[0]) < len(kept), "every guess was answered before others were served"
    for guesser in left:  # a reset, not an end of what is sent: one of them while its password is being checked
        guesser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        guesser.close()
    wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    first = b"-NOAUTH Authentication required.\r\n"
    for guesser in kept:
        guesser.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda s=guesser: s.recv(65536), b""))
        assert got == 2 * (wrong + first), got
        guesser.close()
    assert memory_peak_mb(node) - before < 24 * 64 // 2, "the checks ran side by side"
    both = b"HELLO 3 AUTH default right AUTH default guess\r\n"
    assert answers(node.port, both) == wrong
    queued = b"AUTH right\r\nMULTI\r\nAUTH guess\r\nAUTH right\r\nEXEC\r\n"
    got = answers(node.port, queued)
    assert got.endswith(b"*2\r\n-ERR a password that is not known yet cannot be checked inside MULTI\r\n+OK\r\n"), got


def test_passwords(cluster):
    made = subprocess.run([cluster.skerryd, "--hash-password"], input="right\n", capture_output=True, text=True)
    assert made.returncode == 0 and made.stdout.startswith("$argon2id$"), made
    with Cluster(["solo"], listen={"password_hash": f"'{made.stdout.strip()}'"}) as own:
        solo = own["solo"]
        solo.spawn()
        own.wait(lambda: answers(solo.port, b"AUTH right\r\n") == b"+OK\r\n", "solo lets the right password in")
        port = solo.port
        for request in (b"PING\r\n", b"GET a\r\n", b"SET a b\r\n", b"INFO\r\n", b"MULTI\r\n", b"CONFIG GET *\r\n",
                        b"DIGEST\r\n", b"REGION LIST\r\n", b"COMMAND\r\n", b"CLIENT LIST\r\n", b"FLUSHALL\r\n"):
            assert answers(port, request).startswith(b"-NOAUTH"), request
        assert answers(port, b"AUTH wrong\r\nGET a\r\n").startswith(b"-WRONGPASS")
        assert answers(port, b"AUTH wrong\r\nGET a\r\n").endswith(b"-NOAUTH Authentication required.\r\n")
        assert answers(port, b"AUTH somebody right\r\n").startswith(b"-WRONGPASS")
        assert answers(port, b"AUTH default right\r\nSET a b\r\nGET a\r\n") == b"+OK\r\n+OK\r\n$1\r\nb\r\n"
        assert answers(port, b"HELLO 3\r\n").startswith(b"-NOAUTH HELLO must be called")
        assert answers(port, b"HELLO 3 AUTH default wrong\r\nGET a\r\n").startswith(b"-WRONGPASS")
        assert answers(port, b"HELLO 3 AUTH default right\r\nPING\r\n").startswith(b"%")
        assert answers(port, b"AUTH right\r\nRESET\r\nGET a\r\n").endswith(b"-NOAUTH Authentication required.\r\n")
        refused(port, b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length")
        refused(port, b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length")
        assert solo.client(password="right").get("a") == b"b"
        guesses(solo)
        for options in ({}, {"password": "wrong"}):
            try:
                solo.client(**options).get("a")
                raise AssertionError("let in")
            except redis.RedisError as error:
                assert "Authentication required" in str(error) or "WRONGPASS" in str(error), error
        env = {**os.environ, "REDISCLI_AUTH": "right"}
        done = subprocess.run(["redis-cli", "-p", str(port), "GET", "a"], capture_output=True, text=True, env=env)
        assert done.stdout == "b\n", done
        assert "right" not in solo.log() and "argon2" not in solo.log()
        assert b"argon2" not in answers(port, b"AUTH right\r\nCONFIG GET *\r\n")
        assert solo.stop() == 0


# -- a full disk ------------------------------------------------------------------------------------------------------


def mount(path, size):
    os.makedirs(path)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True, text=True)
    return done.returncode == 0


def fill(folder, ballast, leave=1 << 20):
    """Leaves so many bytes of the folder's file system; fewer where a node took some meanwhile."""
    block = bytes(1 << 16)
    with open(ballast, "wb", buffering=0) as f:
        while True:
            space = os.statvfs(folder)
            if space.f_bavail * space.f_frsize < leave + len(block):
                return
            try:
                f.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return


def start_with(own, node, data, ballast, mb):
    """Starts a node that was killed where so much room is left: it serves reads (None), or says why not, with the exit code
    that has whoever started it try again (1): there may be room then."""
    fill(data, ballast, mb << 20)
    logged = len(node.log())
    node.spawn()

    def decided():
        try:
            return node.process.poll() is not None or node.client().ping()
        except redis.RedisError:
            return False
    own.wait(decided, f"with {mb} MB it starts, or does not")
    code = node.process.poll()
    if code is None:
        assert node.client().get("before") == b"full"
        node.kill()
    else:
        said = node.log()[logged:]
        assert code == 1 and "the disk is full" in said and "make room" in said, f"{mb} MB: {code}\n{said}"
    os.unlink(ballast)
    return code


def full_disk(own, data):
    eu, us = own["eu"], own["us"]
    own.start()
    client = eu.client()
    assert client.set("before", "full")
    writers = [Writer(eu, f"full{i}", 4) for i in range(2)]
    ballast = os.path.join(data, "ballast")
    for round_ in range(2):
        fill(data, ballast)
        blob, count, seen = os.urandom(20000).hex(), 0, None
        while seen is None:
            count += 1
            assert count < 2000, "a full disk is not noticed"
            for writer in writers:
                try:
                    writer.once(client)
                    client.set(f"blob{count % 200}", blob)
                except redis.ResponseError as error:
                    seen = error
                except redis.ConnectionError:
                    pass  # the reply that could not be given was the last one of its connection
        assert str(seen).startswith("MISCONF"), seen
        client = eu.client()  # whose held replies were lost was disconnected
        for _ in range(20):
            assert client.get("before") == b"full" and client.ping()
        us.client().incr("meanwhile")
        assert not [lost for w in writers for lost in w.missing(client)], "an acknowledged write cannot be read"
        os.unlink(ballast)

        def writes_again():
            client.set("after", round_)
            return True
        own.wait(writes_again, "writes are taken when there is room again")
        own.wait(lambda: eu.client().get("meanwhile") == str(round_ + 1).encode(), "replication catches up")
        own.wait_converged()
        for node in own:
            for writer in writers:
                lost = writer.missing(node.client())
                assert not lost, f"{node.region} lost {len(lost)} acknowledged writes: {lost[:3]}"
    eu.kill()
    starts = [start_with(own, eu, data, ballast, mb) for mb in (1, 4, 16, 32)]
    assert starts[0] == 1, "with nothing at all it starts"
    eu.start()
    assert not [lost for w in writers for lost in w.missing(eu.client())]
    eu.write_config(storage={"min_free": "1gb"})
    eu.restart()
    client = eu.client()

    def refuses():
        try:
            client.set("low", "space")
        except redis.ResponseError as error:
            assert str(error).startswith("MISCONF") and "min_free" in str(error), error
            return True
        return False
    own.wait(refuses, "writes are refused below min_free")
    assert client.get("before") == b"full"
    client.delete("before")  # what makes room is let through
    us.client().set("goes", "on")  # what others write is taken in: it is refused to clients, not to regions
    own.wait(lambda: eu.client().get("goes") == b"on", "replication goes on below min_free")
    eu.write_config(storage={"min_free": "0"})
    eu.restart()
    assert eu.client().set("low", "space")
    own.wait_links()
    own.wait_converged()
    for node in own:
        assert node.stop() == 0, node.log_tail()


def test_full_disk(_):
    own = Cluster(["eu", "us"])
    data = os.path.join(own["eu"].folder, "data")
    with own:
        if not mount(data, "96m"):
            print("  skipped: a small file system cannot be mounted here (it needs root)", flush=True)
            return
        try:
            full_disk(own, data)
        finally:
            for node in own.running():
                node.kill()
            subprocess.run(["umount", data], check=True)


# -- clocks -----------------------------------------------------------------------------------------------------------


def clock_jumps(own, set_clock):
    eu, us = own["eu"].client(), own["us"].client()
    for offset in ("+10d", "-3d", "+0d", "-2h", "+40d", "+0d"):
        set_clock(offset)
        tag = f"clock{offset}"
        assert eu.set(tag, "of eu")
        own.wait(lambda: us.get(tag) == b"of eu", f"{tag} reaches us")
        assert us.set(tag, "of us, later")  # caused by the other: no clock, however far ahead, may stand in its way
        own.wait(lambda: eu.get(tag) == b"of us, later", f"the later write of {tag} is seen in eu")
        assert eu.set(tag, "of eu again") and eu.get(tag) == b"of eu again"
        own.wait(lambda: us.get(tag) == b"of eu again", f"{tag} goes on")
        assert eu.incrby("clock count", 3) and us.incrby("clock count", 4)
        assert eu.set("short", "1", ex=1000) and 990 < eu.ttl("short") <= 1000, eu.ttl("short")
        assert eu.set("blink", "1", px=30)
        own.wait(lambda: not eu.exists("blink"), "what expires in 30 ms expires")
        assert own["eu"].links_up() == 1
    own.wait(lambda: eu.get("clock count") == us.get("clock count") == b"42", "the counter is exact")
    own.cut("us")
    set_clock("+5d")
    eu.set("siblings", "fast")
    us.set("siblings", "slow")
    us.set("known", "us")
    own.heal("us")
    for client in (eu, us):
        assert len(client.execute_command("SIBLINGS", "GET", "siblings")[3]) == 2
    us.execute_command("POLICY", "SET", "siblings", "newest")
    own.wait_converged()
    assert eu.get("siblings") == us.get("siblings") == b"fast"  # by the clocks; the same everywhere
    assert us.set("siblings", "resolved")
    own.wait(lambda: eu.get("siblings") == b"resolved", "a later write takes the place of both")
    eu.set("expires", "1", ex=3600)
    set_clock("+6d")
    own.wait(lambda: not eu.exists("expires"), "a deadline that the clock has jumped over has passed")
    set_clock("+0d")
    own.wait_converged()


def clock_alarms(own, set_clock):
    """A clock ten days ahead: said on both sides, held back where it is, and over when it is set right."""
    eu, us, day = own["eu"].client(), own["us"].client(), 86400000

    def offset():
        return dict(zip(*[iter(us.execute_command("REGION", "LAG")[0])] * 2))[b"clock_offset_ms"]

    eu.set("before", "1")
    set_clock("+10d")
    own.wait(lambda: offset() > 9 * day, "us measures the clock of eu")
    own.wait(lambda: own["us"].info("replication")["clock_alarms"] == 1, "us raises the alarm")
    own.wait(lambda: own["eu"].info("replication")["clock_ahead_ms"] > 9 * day, "eu sees that it is ahead itself")
    assert own["eu"].info("replication")["clock_held_back_ms"] > 9 * day
    for node, event in (("us", "clock.differs"), ("eu", "clock.differs"), ("eu", "clock.ahead")):
        own.wait(lambda: event in own[node].log(), f"{node} logs {event}")
    own.cut("us")
    eu.set("stamped", "by eu")
    us.set("stamped", "by us")
    own.heal("us")
    times = [int(sibling[-1]) for sibling in us.execute_command("SIBLINGS", "GET", "stamped")[3]]
    assert len(times) == 2 and all(abs(t - time.time() * 1000) < 200000 for t in times), (times, time.time())
    set_clock("+0d")
    own.wait(lambda: own["us"].info("replication")["clock_alarms"] == 0, "the alarm of us is over")
    own.wait(lambda: "clock.right_again" in own["eu"].log(), "eu says that its clock is right again")
    assert "clock.agrees" in own["us"].log()
    assert own["us"].info("replication")["clock_alarms_total"] >= 1
    assert us.config_set("replication.clock_alarm", "0")


def test_clock(_):
    if not os.path.exists(FAKETIME):
        print("  skipped: the package faketime is not installed", flush=True)
        return
    if os.environ.get("TSAN_OPTIONS"):
        print("  skipped: libfaketime waits for conditions behind ThreadSanitizer's back", flush=True)
        return
    with Cluster(["eu", "us"]) as own:
        clock = os.path.join(own.folder, "clock")
        faked = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": "1",
                 "FAKETIME_DONT_FAKE_MONOTONIC": "1", "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}

        def set_clock(offset):
            with open(clock + ".new", "w") as f:
                f.write(offset + "\n")
            os.rename(clock + ".new", clock)

        set_clock("+0d")
        saved = dict(os.environ)
        os.environ.update(faked)
        try:
            own["eu"].spawn()
        finally:
            os.environ.clear()
            os.environ.update(saved)
        own["us"].spawn()
        for node in own:
            node.wait_ready()
        own.wait_links()
        set_clock("+10d")
        here = own["eu"].client().time()[0]
        assert here > time.time() + 9 * 86400, "the clock of eu does not jump: this test tests nothing"
        clock_jumps(own, set_clock)
        clock_alarms(own, set_clock)
        for node in own:
            assert node.stop() == 0, node.log_tail()


def main():
    run_on(["eu", "us"], tests_of(globals()))
    print("all passed")


if __name__ == "__main__":
    main()
