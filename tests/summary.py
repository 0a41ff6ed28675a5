"""What ctest ran, in a few lines: for each folder of tests a line of tests/run's table, with the numbers that the tests
print themselves (checks, seeds, commands compared).

    summary.py REPORT LOG      ctest's --output-junit file, and its LastTest.log, which has everything that was printed

A line has five fields, parted by tabs: name, seconds (summed: tests run at the same time), passed, failed, what."""
import re
import sys
import xml.etree.ElementTree as xml

GROUPS = {"unit": "unit tests", "prop": "properties", "fault": "fault sweeps", "fuzz": "fuzz corpora", "sim": "simulator, sanitized",
          "e2e": "end to end", "diff": "against redis-server", "lab": "laboratory", "model": "model checker",
          "shell": "scripts", "lint": "lint"}
# What a test prints, and what it counts: the numbers of all matches are added up.
CMOCKA = r"^\[=+\] (\d+) test\(s\) run"
NUMBERS = {"unit": [(CMOCKA, "tests")], "prop": [(CMOCKA, "properties")],
           "fault": [(r"^(\d+) calls: ", "calls that failed")],
           "sim": [(r"^(\d+) passed, \d+ failed$", "seeds"), (r"([\d.]+) simulated hours", "simulated hours")],
           "diff": [(r"^(\d+) commands compared", "commands compared")]}


def outputs(log):
    """What each test printed, by its name."""
    parts = re.split(r"^\d+/\d+ Testing: (.+)$", log, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def plain(number):
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def skips(case):
    """True if the test itself has said that this machine cannot do it: any other that has not run is missing."""
    skipped = case.find("skipped")
    return case.get("status") == "disabled" or skipped is not None and "SKIP_" in skipped.get("message", "")


def rows(report, printed):
    groups = {}
    for case in report.iter("testcase"):
        groups.setdefault(case.get("name").split("/")[0], []).append(case)
    for group in sorted(groups, key=lambda g: (list(GROUPS) + [g]).index(g)):
        cases = groups[group]
        ran = [case for case in cases if case.get("status") in ("run", "fail")]
        skipped = sum(skips(case) for case in cases if case not in ran)
        bad = [case.get("name") for case in cases if case.find("failure") is not None or case.get("status") == "fail" or
               case not in ran and not skips(case)]
        seconds = sum(float(case.get("time") or 0) for case in cases)
        text = "\n".join(printed.get(case.get("name"), "") for case in ran)
        what = [f"{len(ran)} programs"] if len(ran) > 1 else []
        for pattern, name in NUMBERS.get(group, []):
            found = [float(number) for number in re.findall(pattern, text, re.MULTILINE)]
            what += [f"{plain(sum(found))} {name}"] if found else []
        what += [f"{skipped} not run"] if skipped else []
        what += ["FAILED: " + ", ".join(bad)] if bad else []
        yield GROUPS.get(group, group), seconds, len(cases) - skipped - len(bad), len(bad), ", ".join(what) or "ok"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8", errors="replace") as file:
        printed = outputs(file.read())
    for name, seconds, passed, failed, what in rows(xml.parse(sys.argv[1]).getroot(), printed):
        print(name, round(seconds), passed, failed, what, sep="\t")


if __name__ == "__main__":
    main()
