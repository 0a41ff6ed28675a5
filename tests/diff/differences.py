"""The one list of what may differ between skerry and Redis, each with its reason. Everything else must be the same,
type and bytes.

A Rule is about some commands. `same` says whether two replies count as the same although they are not; `not_asked`
keeps a command from being asked where nothing could be compared. What Redis itself answers in another way another time
(random members, scans, SPOP) is checked in compare.py."""
import values

WAIT_S = 60  # how far the clocks of two servers may be apart that were asked one after the other
TIMES = {b"TTL": 1, b"PTTL": 1000, b"EXPIRETIME": 1, b"PEXPIRETIME": 1000}  # units in a second


class Rule:
    def __init__(self, names, why, same=None, not_asked=None):
        self.names = frozenset(word.encode() for word in names.split())  # "CLIENT ID" is written CLIENT|ID
        self.why, self.same, self.not_asked = why, same, not_asked

    def concerns(self, args):
        return bool(self.names & {b"*", args[0].upper(), b"|".join(args[:2]).upper()})


def ordered(args, ours, theirs):
    def normal(reply):
        kind, value = reply
        if kind == "*" and args[0].upper() == b"HGETALL":
            value = list(zip(value[::2], value[1::2]))
        return kind, sorted(value, key=repr)
    return all(r[0] in "*~%" and r[1] is not None for r in (ours, theirs)) and normal(ours) == normal(theirs)


def same_time(args, ours, theirs):
    if ours[0] != ":" or theirs[0] != ":" or int(ours[1]) < 0 or int(theirs[1]) < 0:
        return False
    return abs(int(ours[1]) - int(theirs[1])) <= WAIT_S * TIMES[args[0].upper()]


def same_kind(args, ours, theirs):
    del args
    return ours[0] == theirs[0] and ours[0] != "-" and (ours[1] is None) == (theirs[1] is None)


def starts(text, length=None):
    def same(args, ours, theirs):
        del args
        return ours[0] == theirs[0] == "-" and all(r[1].startswith(text) for r in (ours, theirs)) and \
            (length is None or ours[1][:length] == theirs[1][:length])
    return same


def whole(word):
    try:
        return int(word)
    except ValueError:
        return 0


def inexact(args):
    """An addition of reals where a sum may not be exact, or to a key or field that then holds one."""
    field = args[0].upper() == b"HINCRBYFLOAT"
    if len(args) != 3 + field:
        return False
    at_home = args[2] in values.FLOAT_FIELDS if field else args[1] in values.FLOAT_KEYS
    good = (values.EXACT if at_home else [b"3", b"-0", b"0", b"1e3"]) + values.NOT_FLOATS
    return args[-1] not in good


def fraction_home(args):
    """A value that is not exact for a key or field whose reals are added up."""
    good = set(values.EXACT + values.NOT_FLOATS)
    name, rest = args[0].upper(), args[1:]
    if name in (b"HSET", b"HMSET", b"HSETNX"):
        pairs = zip(args[2::2], args[3::2])
        return any(f in values.FLOAT_FIELDS and v not in good for f, v in pairs)
    if name in (b"MSET", b"MSETNX"):
        return any(k in values.FLOAT_KEYS and v not in good for k, v in zip(rest[::2], rest[1::2]))
    if name in (b"COPY", b"RENAME", b"RENAMENX"):
        return any(k in values.FLOAT_KEYS for k in rest)
    value = -1 if name in (b"SETEX", b"PSETEX") else 2
    return len(args) > 2 and args[1] in values.FLOAT_KEYS and args[value] not in good


TABLE = {b"wait": "it blocks, as Redis 7.2 says too"}  # commands whose COMMAND INFO may differ, and why

RULES = [
    # -- where Redis has no order, or its own chance, either
    Rule("HGETALL HKEYS HVALS SMEMBERS SINTER SUNION SDIFF KEYS",
         "Redis gives members and keys in the order of its hash table, skerry in that of their bytes", same=ordered),
    Rule("TTL PTTL EXPIRETIME PEXPIRETIME",
         "a relative deadline counts from when each server was asked; absolute ones are compared in compare.py",
         same=same_time),
    # -- what tells of the server itself
    Rule("TIME CLIENT|ID CLIENT|INFO CLIENT|LIST INFO",
         "tells of the server or of now: only the type is compared",
         same=same_kind),
    Rule("COMMAND COMMAND|COUNT COMMAND|LIST COMMAND|DOCS COMMAND|INFO",
         "Redis has commands that skerry has not; the rows of those that both have are compared by compare_tables",
         same=same_kind),
    Rule("CLIENT|HELP COMMAND|HELP CONFIG|HELP", "the subcommands differ", same=same_kind),
    Rule("HELLO", "it names the server, its version and the connection's id", same=same_kind),
    Rule("CONFIG|GET", "the fields are skerry's own", same=same_kind),
    Rule("CONFIG|SET CONFIG|RESETSTAT", "it would change the two servers in different ways",
         not_asked=lambda args: True),
    # -- other words for the same
    Rule("*", "the setting that limits a string has another name",
         same=starts(b"ERR string exceeds maximum allowed size")),
    Rule("EXPIRE PEXPIRE EXPIREAT PEXPIREAT",
         "Redis repeats the whole of an option that it does not know, skerry its beginning",
         same=starts(b"ERR Unsupported option", 100)),
    # -- not the same, by design (COMMANDS.md, "Where skerry differs")
    Rule("INCRBYFLOAT HINCRBYFLOAT",
         "sums of reals: Redis rounds to a text after each, skerry adds increments up; asked where every sum is exact",
         not_asked=inexact),
    Rule("SET SETNX GETSET SETEX PSETEX MSET MSETNX APPEND SETRANGE INCRBY DECRBY HSET HMSET HSETNX COPY RENAME "
         "RENAMENX",
         "the same: nothing inexact comes to where reals are added", not_asked=fraction_home),
    Rule("SETRANGE", "a string may be 64 MB in skerry, 512 MB in Redis",
         not_asked=lambda args: len(args) > 2 and 70000 < whole(args[2]) < 1 << 30),
    Rule("HRANDFIELD SRANDMEMBER", "at most 1048576 elements with repeats, where Redis would answer for ever",
         not_asked=lambda args: len(args) > 2 and -1 << 63 < whole(args[2]) < -10000),
    Rule("EXPIREAT EXPIRE PEXPIRE PEXPIREAT SETEX PSETEX SET GETEX",
         "deadlines above 2^63 - 1000 ms: Redis' rounding to seconds overflows",
         not_asked=lambda args: any(whole(a) >= (1 << 63) - 1000 for a in args[2:]) and b"PX" in
         args[0].upper() + b"".join(args[3:]).upper()),
    Rule("COMMAND|GETKEYS", "Redis reads a count of keys as an int, up to what is no digit, skerry as a whole number",
         not_asked=lambda args: args[2:3] and args[2].upper() == b"SINTERCARD" and args[3:] and
         args[3] not in (b"0", b"1", b"2", b"3", b"-1")),
    Rule("WAIT", "it would wait for ever on both", not_asked=lambda args: len(args) > 2 and whole(args[2]) == 0 and
         whole(args[1]) > 0),
]


def check(commands):
    """The list is about commands that there are, each rule does something, and says why. Otherwise ValueError."""
    names = {"*"} | {"|".join(command.name[:length]) for command in commands for length in (1, 2)}
    for rule in RULES:
        missing = sorted(name.decode() for name in rule.names if name.decode() not in names)
        if missing or not rule.names:
            raise ValueError(f"differences.py: no command {', '.join(missing)}: {rule.why}")
        if not rule.why or not (rule.same or rule.not_asked):
            raise ValueError(f"differences.py: a rule about {sorted(rule.names)} without a reason, or that allows nothing")
    for name, why in TABLE.items():
        if name.decode().upper() not in names or not why:
            raise ValueError(f"differences.py: TABLE: {name.decode()}: no such command, or no reason")


def is_asked(args):
    return not any(rule.not_asked and rule.concerns(args) and rule.not_asked(args) for rule in RULES)


def is_same(args, ours, theirs):
    return ours == theirs or any(rule.same and rule.concerns(args) and rule.same(args, ours, theirs) for rule in RULES)
