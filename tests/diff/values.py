"""Values for the placeholders of the command table, most of them good, many ugly: empty, binary, very long, huge,
numbers in every spelling, the wrong type, lines that look like the protocol.

Deadlines are years away and hours apart from each other, so that none passes meanwhile and no condition (GT, LT) hangs
on when a server looked at its clock; or they are in the past."""

INT64 = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806", b"-9223372036854775807"]
INTEGERS = [b"0", b"1", b"-1", b"2", b"7", b"10", b"-10", b"100", b"65536", b"2147483648", b"-2147483649",
            b"4294967296"]
NOT_INTEGERS = [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"abc", b"9223372036854775808", b"-9223372036854775809",
                b"1e3", b"0x10", b"\0", b"1\0", b"99999999999999999999999999", b"--1", b"1_0", "١".encode()]
FLOATS = [b"0.5", b"-0.25", b"3", b"1e3", b"-7.75", b"0", b"-0", b"0x10", b"0x1p3", b"1024.125", b".5", b"5.", b"1E2",
          b"+2", b"1e-2", b"-1e0", b"00.5"]
EXACT = [f for f in FLOATS if f != b"1e-2"]
NOT_FLOATS = [b"", b" 1", b"1 ", b"abc", b"inf", b"-inf", b"+inf", b"infinity", b"INF", b"nan", b"NaN", b"-nan",
              b"nan(1)", b"1.0.0", b"--1", b"1e", b"e1", b"1e99999", b"-1e99999", b".", b"1,5", b"0x", b"1\0"]
UGLY = [b"", b" ", b"a b", b"\r\n", b"\n", b"\0", b"\0\0", b"\xff\xfe", b"$5\r\nhello", b"*1\r\n$4\r\nPING\r\n",
        b"+OK\r\n", b"*", b"[a-z]", b"\\", b"'", b'"', b"%s%n", "é中\N{GRINNING FACE}".encode(), b"x" * 44, b"y" * 45,
        b"x" * 65, b"y" * 5000]
LONG = [b"z" * 70000, b"\r\n" * 20000, b"9" * 400, b"-" + b"9" * 5000]
PATTERNS = [b"*", b"a*", b"?", b"[a-c]", b"*1", b"\\*", b"", b"[^a]", b"m1?", b"\xff*", b"[", b"x*x", b"[a-", b"[\\",
            b"h[^1]", b"**a", b"[z-a]", b"\\", b"h\\1", b"???"]
PATTERN_BYTES = b"**??[[]]^-\\!abchmsx123"
UNKNOWN = [b"NOSUCH", b"", b"get ", b"g\0t", b"\r\n", b"n" * 200, b"'", b"\xff", b"a\r\nb\nc", b"GETT", b"client|id"]

STRINGS, HASHES = [b"a", b"b", b"c1", b"k\0\xff", b"", b"x" * 300], [b"h1", b"h2", b"h\0\xff3"]
SETS, NONE = [b"s1", b"s2", b"s3", b"s\0\1"], [b"none"]
FLOAT_KEYS, FLOAT_FIELDS = [b"f1", b"f2"], [b"f1", b"f2"]  # the only ones that fractions are added to
KEYS = STRINGS + HASHES + SETS + NONE + FLOAT_KEYS
FIELDS = [b"a", b"b", b"c", b"d", b"e", b"n1", b"n2", b"", b" ", b"\r\n", b"\0", b"\xff\xfe", b"x" * 65, b"[a-z]"]
FAR_S, APART_S, APART_MOST = 4 * 10**9, 10**4, 90000
POOLS = {"strings and numbers": STRINGS, "hashes": HASHES, "sets": SETS}


class Values:
    """One sequence's values."""

    def __init__(self, rng):
        self.rng = rng
        self.far_used, self.absolute_ms = set(), set()
        self.fresh = 0

    def of(self, command, name):
        """A value for the placeholder `name` of a command."""
        maker = getattr(self, "make_" + name.replace("-", "_"), self.make_value)
        return maker(command)

    def unused(self):
        self.fresh += 1
        return b"fresh%d" % self.fresh

    # -- keys, members, values

    def make_key(self, command):
        if command.name[0] in ("INCRBYFLOAT", "INCR", "GETSET", "SET") and self.rng.random() < 0.2:
            return self.rng.choice(FLOAT_KEYS)
        pool = POOLS.get(command.group, KEYS)
        return self.rng.choice(pool if self.rng.random() < 0.9 else POOLLESS if pool is STRINGS else KEYS)

    make_newkey = make_source = make_destination = make_key

    def make_value(self, command):
        del command
        if self.rng.random() < 0.005:
            return self.rng.choice(LONG)
        return self.rng.choice(INTEGERS + INT64 + NOT_INTEGERS + NOT_FLOATS + UGLY)

    make_message = make_value

    def make_field(self, command):
        return self.rng.choice(FIELDS + FLOAT_FIELDS) if command.name[0] != "HINCRBYFLOAT" else \
            self.rng.choice(FIELDS + 6 * FLOAT_FIELDS)

    def make_member(self, command):
        del command
        if self.rng.random() < 0.4:
            return b"m%d" % self.rng.randrange(40)
        return self.rng.choice(FIELDS + INTEGERS + INT64)

    # -- numbers

    def integer(self, good):
        if self.rng.random() < 0.85:
            return self.rng.choice(good)
        return self.rng.choice(INT64 + NOT_INTEGERS)

    def make_increment(self, command):
        if "FLOAT" in command.name[0]:
            return self.rng.choice(FLOATS + NOT_FLOATS)  # `exact` sees to the rest
        return self.integer(INTEGERS * 2 + INT64)

    make_decrement = make_increment

    def make_start(self, command):
        del command
        return self.integer([b"0", b"1", b"2", b"5", b"-1", b"-2", b"-3", b"100", b"-100"])

    make_end = make_start

    def make_offset(self, command):
        del command
        return self.integer([b"0", b"1", b"5", b"300", b"-1", b"8000"])

    def make_count(self, command):
        del command
        return self.rng.choice([b"0", b"1", b"2", b"3", b"5", b"10", b"1000", b"-1", b"-3", b"-20", b"x", b"", b"1.5",
                                b"+1",
                                b"9223372036854775808", *INT64])

    def make_limit(self, command):
        del command
        return self.integer([b"0", b"1", b"2", b"3", b"-1"])

    make_numkeys = make_limit
    make_numreplicas = make_limit
    make_destination_db = make_index = make_limit

    def make_timeout(self, command):
        del command
        return self.rng.choice([b"1", b"1", b"-1", b"x", b"", b"1.5", b"9223372036854775808"])

    def make_cursor(self, command):
        del command
        return self.rng.choice([b"0"] * 8 + [b"x", b" 0", b"0 ", b"", b"99999999999999999999"])

    def make_pattern(self, command):
        del command
        if self.rng.random() < 0.3:
            pattern = bytes(self.rng.choices(PATTERN_BYTES, k=self.rng.randint(1, 8)))
            if pattern.strip(b"*"):  # stars alone match an empty text in skerry
                return pattern
        return self.rng.choice(PATTERNS)

    def make_type(self, command):
        del command
        return self.rng.choice([b"string", b"hash", b"SET", b"zset", b"x", b""])

    def make_protover(self, command):
        del command
        return self.rng.choice([b"2", b"3", b"3", b"1", b"4", b"x", b"", b"02", b"9223372036854775808"])

    # -- times

    def far(self):
        """Seconds, such as no deadline of this sequence has."""
        while True:
            number = self.rng.randrange(1, APART_MOST)
            if number not in self.far_used:
                self.far_used.add(number)
                return number * APART_S

    def relative(self, unit):
        if self.rng.random() < 0.8:
            return b"%d" % (self.far() * unit)
        return self.rng.choice([b"0", b"-1", b"-100000"] + INT64 + NOT_TIMES)

    def absolute(self, unit):
        chance = self.rng.random()
        if chance < 0.7:
            ms = (FAR_S + self.far()) * 1000 + (self.rng.choice([0, 1, 499, 500, 501, 999]) if unit == 1000 else 0)
            self.absolute_ms.add(ms)
            return b"%d" % (ms if unit == 1000 else ms // 1000)
        if chance < 0.9:
            return self.rng.choice([b"0", b"1", b"-1", b"1000", b"1000000000", b"-9223372036854775808"])
        return self.rng.choice(NOT_TIMES + [b"9223372036854776", b"-9223372036854776"] if unit == 1 else NOT_TIMES)

    def make_seconds(self, command):
        del command
        return self.relative(1)

    def make_milliseconds(self, command):
        del command
        return self.relative(1000)

    def make_unix_time_seconds(self, command):
        del command
        return self.absolute(1)

    def make_unix_time_milliseconds(self, command):
        del command
        return self.absolute(1000)

    # -- the connection and the server

    def make_connection_name(self, command):
        del command
        return self.rng.choice([b"me", b"", b"a b", b"x\n", b"\xff", b"n" * 100])

    make_clientname = make_connection_name

    def make_command_name(self, command):
        del command
        return self.rng.choice([b"get", b"SET", b"nosuch", b"client|id", b"", b"mset"])

    def make_command(self, command):
        del command
        return self.rng.choice([b"get", b"MSET", b"SINTERCARD", b"nosuch", b"ping", b"sunionstore", b"copy",
                                b"command"])

    make_module_name = make_category = make_section = make_command_name


NOT_TIMES = [n for n in NOT_INTEGERS if n not in (b"01", b"+1", b"-0")]
POOLLESS = HASHES + SETS + NONE
