"""Bytes as no client library sends them: inline commands with every kind of quoting, headers that are wrong. Each piece
goes down a connection of its own on both servers, an ECHO behind it; what comes back until its answer or the end of the
connection must be the same, byte for byte.

No inline command has a zero byte: Redis looks for the line's end up to there and waits for ever, skerry reads on."""
import socket

END = b"*2\r\n$4\r\nECHO\r\n$5\r\nENDED\r\n"
ENDED = b"$5\r\nENDED\r\n"
WAIT_S = 5
WORDS = [b"PING", b"ping", b"GET", b"SET", b"ECHO", b"inline", b"a", b"", b"x y", b"\\x41", b"\\n\\r\\t\\b\\a", b"\\\\",
         b"\\q", b"\\x4", b"\\xzz", b"it's", b'say \\"hi\\"', b"\xff\xfe", b"1", b"%s", b"\\'", b"\xc3\xa9"]
ENDS = [b"\r\n", b"\r\n", b"\n", b"\r\r\n", b" \r\n", b"\t\r\n"]
HEADERS = [b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"*abc\r\n", b"*\r\n", b"* 1\r\n", b"*+1\r\n", b"*01\r\n",
           b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*1.5\r\n", b"*1\r\n+PING\r\n", b"*1\r\n:4\r\n",
           b"*1\r\n*1\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-5\r\n", b"*1\r\n$abc\r\n", b"*1\r\n$\r\n",
           b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$999999999999\r\n",
           b"*1\r\n$4.0\r\nPING\r\n", b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"*1\r\n$0\r\n\r\n",
           b"*2\r\n$3\r\nGET\r\n$-1\r\n", b"+PING\r\n", b"$4\r\nPING\r\n", b":1\r\n", b"\r\n", b"\n", b"\r\n\r\n",
           b"   \r\n", b"*1\r\n\r\n"]


def line(rng):
    words = []
    for _ in range(rng.randint(0, 4)):
        word = rng.choice(WORDS)
        words.append(rng.choice([b"%s", b"%s", b'"%s"', b"'%s'", b'"%s', b"'%s", b'"%s"x', b"x'%s'"]) % word)
    return rng.choice([b"", b" ", b"\t"]) + rng.choice([b" ", b" ", b"  ", b"\t"]).join(words) + rng.choice(ENDS)


def piece(rng):
    return b"".join(rng.choice(HEADERS) if rng.random() < 0.4 else line(rng) for _ in range(rng.randint(1, 3)))


def answer(port, data):
    """What comes back, and how it ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        try:
            connection.sendall(data + END)
            while not got.endswith(ENDED):
                some = connection.recv(1 << 16)
                if not some:
                    return got, "closed"
                got += some
        except TimeoutError:
            return got, "waits"
        except ConnectionError:
            return got, "closed"
    return got, "goes on"


def differs(ports, data):
    ours, theirs = (answer(port, data) for port in ports)
    return None if ours == theirs else (ours, theirs)


def compare(ports, rng, count):
    """None, or (the shortest piece found, skerry's answer, Redis' answer)."""
    for _ in range(count):
        data = piece(rng)
        found = differs(ports, data)
        if not found:
            continue
        step = len(data) // 2
        while step:  # shorter, as long as they differ
            at = 0
            while at < len(data):
                shorter = data[:at] + data[at + step:]
                again = differs(ports, shorter)
                if again:
                    data, found = shorter, again
                else:
                    at += step
            step //= 2
        return data, *found
    return None
