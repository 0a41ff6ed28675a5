"""The command table as sentences: what `skerryd --commands` prints is read, and its syntax spoken at random.

Whatever the table gets is asked from then on without a change here: a placeholder that values.py does not know is given
any value at all."""
import re
import subprocess

ROW = re.compile(r"^\| `((?:[^`\\]|\\.)+)` \| .* \| ([^|]+) \| [^|]* \|$")
TOKEN = re.compile(r"\.\.\.|[\[\]|]|[^\s\[\]|]+")
REPEATS_MAX = 4


class Node:
    """kind: word (what the table has in capitals), value (a placeholder), seq, any (one of), maybe, many (or none)."""

    def __init__(self, kind, of):
        self.kind, self.of = kind, of

    def __repr__(self):
        return f"{self.kind}({self.of})"


def parse(text):
    tokens = TOKEN.findall(text)
    node = parse_any(tokens)
    if tokens:
        raise ValueError(f"a bracket too many in {text!r}")
    return node


def parse_any(tokens):
    choices = [parse_seq(tokens)]
    while tokens and tokens[0] == "|":
        tokens.pop(0)
        choices.append(parse_seq(tokens))
    return choices[0] if len(choices) == 1 else Node("any", choices)


def parse_seq(tokens):
    parts = []
    while tokens and tokens[0] not in ("]", "|"):
        token = tokens.pop(0)
        if token == "[":
            inside = parse_any(tokens)
            if not tokens or tokens.pop(0) != "]":
                raise ValueError("a bracket is not closed")
            parts.append(inside if inside.kind == "many" else Node("maybe", inside))
        elif token == "...":
            return Node("many", Node("seq", parts))
        else:
            parts.append(Node("word" if token.isupper() else "value", token))
    return Node("seq", parts)


class Command:
    def __init__(self, syntax, since, group):
        self.since, self.group = since, group
        words = syntax.split()
        self.name = words[:2 if words[0] in CONTAINERS and words[1:] and words[1].isupper() else 1]
        self.syntax = parse(" ".join(words[len(self.name):]))

    def words(self):
        return [name.encode() for name in self.name]

    def __repr__(self):
        return " ".join(self.name)


CONTAINERS = ("CLIENT", "COMMAND", "CONFIG", "POLICY", "REGION", "SESSION", "SIBLINGS")


def read_table(skerryd):
    """Every command that the program knows."""
    text = subprocess.run([skerryd, "--commands"], capture_output=True, text=True, check=True).stdout
    commands, group = [], ""
    for line in text.splitlines():
        row = ROW.match(line)
        if line.startswith("### "):
            group = line[4:].lower()
        elif row:
            syntax = row[1].replace("\\|", "|")
            if not syntax.endswith(" subcommand"):  # a container's own row
                commands.append(Command(syntax, row[2], group))
    if len(commands) < 50:
        raise ValueError(f"only {len(commands)} commands in what {skerryd} --commands prints: has the format changed?")
    return commands


def speak(node, rng, value):
    """Words for a syntax; `value(name)` gives one for a placeholder."""
    if node.kind == "word":
        return [rng.choice([node.of, node.of, node.of.lower()]).encode()]
    if node.kind == "value":
        return [value(node.of)]
    if node.kind == "any":
        return speak(rng.choice(node.of), rng, value)
    if node.kind == "maybe":
        times = rng.choice([0, 0, 0, 1, 1, 1, 1, 2]) if rng.random() < 0.3 else rng.randint(0, 1)
        return [word for _ in range(times) for word in speak(node.of, rng, value)]
    if node.kind == "many":
        times = 300 if rng.random() < 0.002 else rng.randint(0, REPEATS_MAX)
        return [word for _ in range(times) for word in speak(node.of, rng, value)]
    parts = list(node.of)
    first = next((i for i, part in enumerate(parts) if part.kind == "maybe"), len(parts))
    if rng.random() < 0.3:  # options stand in any order
        options = parts[first:]
        rng.shuffle(options)
        parts[first:] = options
    return [word for part in parts for word in speak(part, rng, value)]
