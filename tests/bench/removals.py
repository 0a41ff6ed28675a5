"""What kept history costs at the start of a node: nothing, however much of it there is."""
import socket
import statistics
import time

import servers
from measures import Table, count, first, restart_s, verdict

IN_ONE = 1000  # keys removed by one DEL


def gone(number):
    return b"$16\r\ngone:%011d\r\n" % number


def in_lots(port, begin, end, word, of_key, answer):
    """One command for each thousand of the keys."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        answers = connection.makefile("rb")
        for at in range(begin, end, IN_ONE):
            words = b"".join(of_key(number) for number in range(at, at + IN_ONE))
            connection.sendall(b"*%d\r\n$%d\r\n%s\r\n%s" % (1 + words.count(b"$"), len(word), word, words))
            said = answers.readline()
            if said != answer:
                raise servers.Failed(f"{word} answered {said}")


def make_and_remove(node, count):
    """Keys are made, in their place on the disk, and all removed again."""
    in_lots(node.port, 0, count, b"MSET", lambda number: gone(number) + b"$1\r\nx\r\n", b"+OK\r\n")
    settle(node)
    in_lots(node.port, 0, count, b"DEL", gone, b":%d\r\n" % IN_ONE)
    settle(node)


def starts(node, rounds):
    """(CPU seconds, seconds) up to the first PONG, medians."""
    cpu, wall = [], []
    for _ in range(rounds):
        wall.append(restart_s(node, kill=False))
        cpu.append(servers.cpu_s(node.process.pid))
        servers.settled_cpu_s(node.process.pid)
    return statistics.median(cpu), statistics.median(wall)


def settle(node):
    """What was written is in its place, and compacted as far as that goes by itself."""
    time.sleep(1)
    servers.settled_cpu_s(node.process.pid, 300)


def retention(setting, say):
    """A region is away; the other removes ten times as many keys as it holds, and starts again and again."""
    keys, removed, rounds = setting.keys, setting.keys * 10, max(3, setting.rounds)
    table = Table(f"Start with kept removals ({count(keys)} live keys)", "what", "value", "target", "",
                  note="The other region is away and history has no cap. CPU time is of all threads, from the start of the "
                       "process to its first PONG; medians of clean restarts.")
    with servers.regions(setting.skerryd, ["eu", "us"], "interval", retention_bytes="0", retention_time="0") as both:
        eu = both["eu"]
        both.start()
        setting.tool("load_bench", eu.port, f"count={keys}", "pipeline=32", f"keys={keys}")
        both.wait(lambda: eu.info("replication")["history_bytes"] == 0, "eu has forgotten all history", 120)
        both["us"].stop()
        settle(eu)
        none = starts(eu, rounds)
        say(f"removing {count(removed)} keys")
        make_and_remove(eu, removed)
        table.add("history kept, MB", f"{eu.info('replication')['history_bytes'] / 1e6:.0f}", "", "")
        kept = starts(eu, rounds)
    table.add("without history: CPU, s", f"{none[0]:.3f}", "", "")
    table.add("without history: until PONG, s", f"{none[1]:.3f}", "", "")
    table.add(f"{count(removed)} removals kept: CPU, s", f"{kept[0]:.3f}", "", "")
    table.add(f"{count(removed)} removals kept: until PONG, s", f"{kept[1]:.3f}", "", "")
    table.add("CPU with removals over without", f"{kept[0] / none[0]:.2f}", *verdict(kept[0] / none[0], first("<=", 1.2)))
    yield table


SECTIONS = {"retention": retention}
