"""What goes wrong in a run: drawn from a seed before it begins, one after another and overlapping, healed at its end.

    cut      two regions do not hear each other            (nft)
    oneway   one region does not hear another, which does  (nft)
    isolate  one region hears nobody, and nobody it        (nft)
    delay    one direction takes up to 300 ms more, with jitter, so that packets overtake   (the hub)
    loss     both directions between two regions lose up to 15 % of the packets             (the hub)
    rate     what a region sends is squeezed through 64 to 512 kbit/s                       (tbf)
    kill     kill -9; the node comes back after a while
    pause    SIGSTOP, SIGCONT
    disk     the node's disk is full to the last byte      (a small tmpfs)
    clock    the wall clock jumps, up to ten years, or runs wrong                           (libfaketime)
    forget   a region is forgotten, writes on alone, and is added again                     (operators.py, as what follows)
    join     a region's disk is lost; a new database of that name, with a new key, joins
    rekey    a region gets a new key
    restore  a region is set back to a backup, the one that was made at the fault's beginning or an older one
    behind   a region hears nobody, nobody it, and for longer than the others keep history for it (ground.RETENTION)
    flip     a node stops; bytes of rows, history and index are others when it comes back  (e2e/damage_tool)

A node that ends without having been told to is a failure of the run; but for one that refuses to start on a full disk,
which is started again until it does."""

import heapq
import itertools
import random
import signal
import threading
import time

import operators

KINDS = ("cut", "oneway", "isolate", "delay", "loss", "rate", "kill", "pause", "disk", "clock", "forget", "join", "rekey",
         "restore", "behind", "flip")
CLOCKS = ("+3600", "-3600", "+315360000", "+0 x1.5", "-90 x0.5", "+45")
GAP_S = 2.5        # between two faults' beginnings, about
LASTS_S = (1.0, 8.0)
BEHIND_S = (8.0, 12.0)
TICK_S = 0.05
START_AGAIN_S = 0.5
ERRAND_S = 120     # until an operator's errand has succeeded on healed ground; far more than it takes


class Sea:
    """Delay and loss of each direction: what is there always, and what faults lay over it."""

    def __init__(self, hub, nodes, dice):
        self.hub, self.over = hub, []
        self.ways = [(a, b) for a in nodes for b in nodes if a is not b]
        self.base = {way: (dice.uniform(10, 150), dice.uniform(0, 5), dice.choice((0, 0, 0.002))) for way in self.ways}
        self.update()

    def update(self):
        for way in self.ways:
            layers = [self.base[way]] + [layer for ways, layer in self.over if way in ways]
            self.hub.link(*way, *(max(values) for values in zip(*layers)))

    def lay(self, ways, layer):
        entry = (ways, layer)
        self.over.append(entry)
        self.update()

        def lift():
            self.over.remove(entry)
            self.update()
        return lift


def schedule(seed, kinds, nodes, seconds):
    """[(begin, seconds it lasts, kind, its own seed)]: every kind at least once, whatever the length."""
    dice = random.Random(f"{seed}/faults")
    gap = min(GAP_S, 0.8 * seconds / len(kinds)) if kinds else seconds
    plan, at, bag = [], 0.0, []
    while kinds and at < 0.9 * seconds:
        bag = bag or dice.sample(kinds, len(kinds))
        kind = bag.pop()
        lasts = min(dice.uniform(*(BEHIND_S if kind == "behind" else LASTS_S)), seconds - at)
        plan.append((at, lasts, kind, dice.randrange(1 << 30)))
        at += gap * dice.uniform(0.7, 1.2)
    return plan


class Faults:
    """Runs a plan on a thread of its own. `failure` is set when a node ended by itself."""

    def __init__(self, nodes, sea, plan, recorder, tool):
        self.nodes, self.sea, self.recorder, self.tool = list(nodes), sea, recorder, tool
        self.errands = []
        self.lock = threading.RLock()
        self.queue = [(at, number, lasts, kind, seed) for number, (at, lasts, kind, seed) in enumerate(plan)]
        self.ending = []                  # heap of (time, number, what ends it)
        self.cuts = []                    # (who does not hear, whom)
        self.busy = set()                 # (node, "process" | "disk" | "clock" | "rate" | "member") that a fault has
        self.used, self.dropped, self.refused_starts = {}, 0, 0
        self.failure, self.healed = None, threading.Event()
        self.retry_at = {}
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.zero = time.monotonic()
        self.thread.start()

    def run(self):
        try:
            while not self.healed.wait(TICK_S):
                with self.lock:
                    self.tick(time.monotonic() - self.zero)
        except Exception as error:
            self.failure = self.failure or error

    def tick(self, now):
        while self.ending and self.ending[0][0] <= now:
            heapq.heappop(self.ending)[2]()
        while self.queue and self.queue[0][0] <= now:
            self.begin(now, *self.queue.pop(0)[1:])
        self.watch(now)

    def begin(self, now, number, lasts, kind, seed):
        begun = getattr(self, "begin_" + kind)(random.Random(seed))
        if begun is None:
            return  # whom it was to hit has another fault of this sort
        what, end = begun
        self.used[kind] = self.used.get(kind, 0) + 1
        self.say(f"{kind}: {what}, for {lasts:.1f} s")

        def over():
            end()
            self.say(f"{kind}: {what}: over")
        heapq.heappush(self.ending, (now + lasts, number, over))

    def say(self, what):
        self.recorder.put({"type": "fault", "begin": self.recorder.now(), "what": what})

    def heal(self):
        """Ends everything, and begins nothing more; nodes are watched, and started where they are not running."""
        with self.lock:
            self.queue.clear()
            while self.ending:
                heapq.heappop(self.ending)[2]()
        for errand in self.errands:
            errand.join(ERRAND_S)
            if errand.is_alive():
                self.failure = self.failure or AssertionError(f"an operator was refused for {ERRAND_S} s: {errand.last}")

    def stop(self):
        self.healed.set()
        self.thread.join(10)

    def watch(self, now):
        """A node that is meant to run and does not."""
        for node in self.nodes:
            node.look_whether_begun()
            if node.running and node.process.poll() is not None:
                self.ended(node, now)

    def ended(self, node, now):
        code = node.process.returncode
        if node not in self.retry_at:
            if code < 0 or not (node.starting and node.was_full):
                node.running = False
                raise AssertionError(f"{node.region} ended by itself ({code}): {node.log_tail()}")
            self.refused_starts += 1
            self.say(f"{node.region} did not start on a full disk ({code})")
            self.retry_at[node] = now + START_AGAIN_S
        elif now >= self.retry_at[node]:
            del self.retry_at[node]
            node.spawn()

    def take(self, node, what):
        """Reserves a part of a node; None if another fault has it, else what gives it back."""
        if (node, what) in self.busy:
            return None
        self.busy.add((node, what))
        return lambda: self.busy.discard((node, what))

    # -- the network: each returns what it hits, and what ends it

    def deaf(self, pairs):
        """For each (a, b): a does not hear b."""
        self.cuts += pairs
        self.recut()

        def end():
            for pair in pairs:
                self.cuts.remove(pair)
            self.recut()
        return end

    def recut(self):
        for node in self.nodes:
            self.dropped += node.cut({b for a, b in self.cuts if a is node})

    def begin_cut(self, dice):
        a, b = dice.sample(self.nodes, 2)
        return f"{a.region} and {b.region}", self.deaf([(a, b), (b, a)])

    def begin_oneway(self, dice):
        a, b = dice.sample(self.nodes, 2)
        return f"{a.region} does not hear {b.region}", self.deaf([(a, b)])

    def begin_isolate(self, dice):
        a = dice.choice(self.nodes)
        return a.region, self.deaf([pair for b in self.nodes if b is not a for pair in ((a, b), (b, a))])

    begin_behind = begin_isolate  # it lasts longer

    def begin_delay(self, dice):
        a, b = dice.sample(self.nodes, 2)
        delay, jitter = dice.uniform(100, 300), dice.uniform(5, 50)
        what = f"{a.region} to {b.region} {delay:.0f} ms, jitter {jitter:.0f} ms"
        return what, self.sea.lay([(a, b)], (delay, jitter, 0))

    def begin_loss(self, dice):
        a, b = dice.sample(self.nodes, 2)
        loss = dice.uniform(0.01, 0.15)
        return f"{a.region} and {b.region} {loss:.1%}", self.sea.lay([(a, b), (b, a)], (0, 0, loss))

    def begin_rate(self, dice):
        node, kbit = dice.choice(self.nodes), dice.choice((64, 128, 512))
        give_back = self.take(node, "rate")
        if not give_back:
            return None
        node.limit_rate(kbit)
        return f"{node.region} {kbit} kbit/s", lambda: (node.unlimit_rate(), give_back())

    # -- processes, disks, clocks

    def begin_kill(self, dice):
        node = dice.choice(self.nodes)
        give_back = self.take(node, "process")
        if not give_back:
            return None
        node.end()

        def end():
            node.begin()
            give_back()
        return node.region, end

    def begin_pause(self, dice):
        node = dice.choice(self.nodes)
        give_back = self.take(node, "process")
        if not give_back:
            return None
        node.process.send_signal(signal.SIGSTOP)
        return node.region, lambda: (node.process.send_signal(signal.SIGCONT), give_back())

    def begin_disk(self, dice):
        node = dice.choice(self.nodes)
        give_back = self.take(node, "disk")
        if not give_back:
            return None
        node.fill_disk()
        return node.region, lambda: (node.free_disk(), give_back())

    def begin_clock(self, dice):
        node, clock = dice.choice(self.nodes), dice.choice(CLOCKS)
        give_back = self.take(node, "clock")
        if not give_back:
            return None
        node.set_clock(clock)
        return f"{node.region} {clock}", lambda: (node.set_clock("+0"), give_back())

    # -- operators

    def errand(self, dice, body_of, *parts):
        """Some node, and another that is asked where it is about members; the node's parts are taken until all is done."""
        pairs = list(itertools.permutations(self.nodes, 2))
        for node, at in dice.sample(pairs, len(pairs)):
            wanted = [(node, part) for part in parts] + [(at, part) for part in parts if part == "member"]
            if not self.busy & set(wanted):
                break
        else:
            return None
        taken = [self.take(*each) for each in wanted]

        def give_all_back():
            with self.lock:
                for give_back in taken:
                    give_back()

        def failed(error):
            self.failure = self.failure or error
        errand = operators.Errand(body_of(node, at), give_all_back, failed)
        self.errands.append(errand)
        errand.start()
        return f"{node.region} at {at.region}" if "member" in parts else node.region, errand.over.set

    def begin_forget(self, dice):
        return self.errand(dice, lambda node, at: operators.forget(self.tool, node, at), "member")

    def begin_rekey(self, dice):
        secret = dice.randbytes(32)
        return self.errand(dice, lambda node, at: operators.rekey(self.tool, node, at, secret, self.lock), "member",
                           "process")

    def begin_join(self, dice):
        secret = dice.randbytes(32)

        def body(node, at):
            node.backups.clear()  # of a database that is no more
            return operators.replace(self.tool, node, at, secret, self.lock, self.recorder)
        return self.errand(dice, body, "member", "process", "disk")

    def begin_restore(self, dice):
        pick = dice.randrange(1 << 30)
        return self.errand(dice, lambda node, at: operators.restore(self.tool, node, pick, self.lock, self.recorder),
                           "process", "disk")

    def begin_flip(self, dice):
        seed = dice.randrange(1 << 30)
        return self.errand(dice, lambda node, at: operators.flip(self.tool, node, seed, self.lock, self.recorder,
                                                                 len(self.nodes) - 1), "process", "disk")
