"""What operators do while everything else goes wrong: regions are forgotten and added again, begin anew on an empty disk,
get new keys, and are restored from backups.

An errand is a thread of its own, since much of it has to be tried until it succeeds: the node that is asked may be down,
cut off or restarting. It begins when its fault begins; what it does when the fault is over waits for `over`. Two errands
never have to do with the same nodes: who is asked is taken like who is meant.

At the end `settle` does what any operator would: looks whether all agree on who is a region, and says again what went
missing with a region that was set back."""

import json
import os
import random
import subprocess
import threading
import time

import workload

AGAIN_S = 0.3
ASK_S = 5
NO = 1  # skerryctl asked, and the answer is no


class Refusal(Exception):
    """skerryctl failed: what it said."""


class Tool:
    """skerryctl."""

    def __init__(self, program, damage=None):
        self.program, self.damage = program, damage

    def ask(self, node, *words):
        """A node is asked. Raises Refusal."""
        return self.run("-H", f"{node.host}:{node.port}", *words)

    def run(self, *words, inside=(), answers=(0,)):
        try:
            done = subprocess.run([*inside, self.program, *words], capture_output=True, text=True, timeout=4 * ASK_S)
        except subprocess.TimeoutExpired:
            raise Refusal(f"{words}: no answer") from None
        if done.returncode not in answers:
            raise Refusal(f"{words}: {done.stderr.strip()}")
        return done.stdout

    def add(self, at, node):
        self.ask(at, "region", "add", node.region, "--address", f"{node.link_host}:{node.link_port}", "--public-key",
                 node.public.hex())

    def add_anew(self, at, node):
        """It was forgotten; but who is asked may have been set back since, and know it by its old key again."""
        try:
            self.add(at, node)
        except Refusal as refusal:
            if "a member with another key" in str(refusal):
                self.ask(at, "region", "forget", node.region)
            raise

    def audit(self, node):
        """What a node says of its disk, asked from within its namespace."""
        inside = ("ip", "netns", "exec", node.region)
        said = self.run("--json", "-H", f"{node.host}:{node.port}", "region", "audit", inside=inside, answers=(0, NO))
        return json.loads(said)["nodes"][0]

    def regions(self, at):
        """What a node's REGION LIST says: a map for each key of each region."""
        return json.loads(self.ask(at, "--json", "region", "list"))["nodes"][0]["regions"]


class Errand(threading.Thread):
    """One thing that an operator does. `body(errand)` is a function; `give_back` is called when it has ended."""

    def __init__(self, body, give_back, failed):
        super().__init__(daemon=True)
        self.body, self.give_back, self.failed = body, give_back, failed
        self.over = threading.Event()
        self.begun = time.monotonic()

    def run(self):
        try:
            self.body(self)
        except Exception as error:
            self.failed(error)
        finally:
            self.give_back()

    def until(self, step, unless=None):
        """Tries a step until it is not refused, or was with those words: it has been done before."""
        while True:
            try:
                return step()
            except Refusal as refusal:
                if unless and unless in str(refusal):
                    return None
                self.last = str(refusal)
            time.sleep(AGAIN_S)


def forget(tool, node, at):
    """Forgotten, while it goes on by itself; then added again, with what it wrote."""
    def body(errand):
        errand.until(lambda: tool.ask(at, "region", "forget", node.region))
        errand.over.wait()
        errand.until(lambda: tool.add(at, node))
    return body


def rekey(tool, node, at, secret, processes):
    """A new key, good beside the old one until the node has it."""
    def body(errand):
        public = node.public_of(secret).hex()
        errand.until(lambda: tool.ask(at, "region", "rekey", node.region, "--public-key", public, "--keep", "1h"),
                     unless="the key that it has")
        errand.over.wait()
        with processes:
            node.end()
            node.set_key(secret)
            node.begin()
    return body


def replace(tool, node, at, secret, processes, recorder):
    """Its disk is lost. Under the same name a new database with a new key takes its place, and joins."""
    def body(errand):
        with processes:
            node.end()
        recorder.loss(node.region, 0)
        errand.until(lambda: tool.ask(at, "region", "forget", node.region))
        node.wipe()
        node.set_key(secret)
        errand.over.wait()
        errand.until(lambda: tool.add_anew(at, node))
        node.write_config(join={"region": at.region})
        with processes:
            node.begin()
        errand.until(lambda: complete(tool, node))
    return body


def complete(tool, node):
    """Raises Refusal while it joins."""
    note = " ".join(r["note"] for r in tool.regions(node) if r["link"] == "self")
    if "joins through" in note:
        raise Refusal(note)


def back_up(tool, node, recorder):
    since = recorder.now()
    made = json.loads(tool.ask(node, "--json", "--timeout", "60", "backup"))
    node.backups.append((since, made["number"]))


def set_back(tool, node, pick, processes, recorder):
    """To one of the backups that there are."""
    with processes:
        node.end()
    since, number = node.backups[pick]
    recorder.loss(node.region, since)
    node.wipe()
    tool.run("restore", node.backup_folder, node.disk, str(number))
    with processes:
        node.begin()


def restore(tool, node, pick, processes, recorder):
    """A backup is made; later the node is set back to one of those that there are."""
    def body(errand):
        errand.until(lambda: back_up(tool, node, recorder))
        errand.over.wait()
        set_back(tool, node, pick % len(node.backups), processes, recorder)
    return body


FLIPPED = {"default": (b"k", b"h", b"m"), "history": None, "derived": None}  # of rows those of clients' keys
FLIPS = 3  # of each family


def flip(tool, node, seed, processes, recorder, others):
    """Its disk comes back with bytes that are not what was written, under sound checksums of the file's. What all others
    had before cannot be lost. Clients are kept from it until it has found out. The others mend it; or one of them has lost its
    disk meanwhile, and with it what bears out what this one has: then it says that nobody can, and is set back."""
    dice = random.Random(seed)

    def body(errand):
        def since_when():
            begun = recorder.now()
            connection = workload.Connection((node.host, node.port), timeout_s=ASK_S)
            try:
                connection.call("SET", "before the flip", begun)
                if connection.call("WAIT", others, 3000) < others:
                    raise Refusal("not everybody has what it has")
            except (workload.NoAnswer, workload.Refused) as error:
                raise Refusal(str(error)) from None
            finally:
                connection.close()
            return begun

        def say(what):
            recorder.put({"type": "fault", "begin": recorder.now(), "what": f"flip: {node.region} {what}"})

        def mended():
            said = tool.audit(node)
            if said["state"] == "verified":
                return said
            if "no other region could bear out" in said["why"] and losses_of_others(recorder, node) > losses:
                say(f"is set back: {said}")
                set_back(tool, node, -1, processes, recorder)
            raise Refusal(f"{node.region} is not sound: {said}")
        errand.until(lambda: back_up(tool, node, recorder))
        since, losses = errand.until(since_when), losses_of_others(recorder, node)
        with processes:
            node.close_shore(True)
            node.running = False
            code = node.stop()  # all is in its place then: a start replays nothing over what is damaged
        if code:
            raise AssertionError(f"{node.region} stopped with {code}: {node.log_tail()}")
        recorder.loss(node.region, since)
        for family, tables in FLIPPED.items():
            damage(tool, node, family, tables, dice)
        with processes:
            node.begin()
        say(f"is mended: {errand.until(mended)}")
        with processes:
            node.close_shore(False)
    return body


def losses_of_others(recorder, node):
    return sum(count for region, count in recorder.lives.items() if region != node.region)


def damage(tool, node, family, tables, dice):
    def run(*words):
        done = subprocess.run([tool.damage, os.path.join(node.disk, "db"), *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{words}: {done.stderr}")
        return done.stdout.splitlines()
    for _ in range(FLIPS):
        pairs = [(i, *line.split()) for i, line in enumerate(run("list", family))]
        pairs = [pair for pair in pairs if not tables or bytes.fromhex(pair[3]).startswith(tables)]
        if pairs:
            number, key_len, value_len = dice.choice(pairs)[:3]
            run("flip", family, number, dice.randrange(int(key_len), int(key_len) + int(value_len))
                if int(value_len) else dice.randrange(int(key_len)), dice.randrange(1, 256))


def settle(tool, nodes, give_up_s):
    """Until every node counts every other one as a region under the key that it has."""
    until, last = time.monotonic() + give_up_s, None
    while time.monotonic() < until:
        try:
            wrong = [(at, node, found) for at in nodes for node in nodes if node is not at
                     for found in [[r for r in tool.regions(at) if r["region"] == node.region]] if not counts(node, found)]
            for at in nodes:
                complete(tool, at)
            if not wrong:
                return
            last = [(at.region, node.region) for at, node, _ in wrong]
            for at, node, found in wrong[:1]:
                for other in found:
                    if other["link"] in MEMBER and other["public_key"] != node.public.hex():
                        tool.ask(at, "region", "forget", node.region, "--public-key", other["public_key"])
                tool.add(at, node)
        except Refusal as refusal:
            last = refusal
        time.sleep(AGAIN_S)
    raise AssertionError(f"the members are not settled: {last}")


MEMBER = ("up", "down", "out_of_service")


def counts(node, found):
    return [r["public_key"] for r in found if r["link"] in MEMBER] == [node.public.hex()]
