#!/usr/bin/env python3
"""Adds up what meson's test logs say: count.py FAILED_BUILDS TESTLOG.json...

Each case of a Criterion program counts, each other test counts as one. A program that
fails without saying which case did (a leak, a time-out, a crash at the end) is one
failure more. Prints "N passed, N failed[, N skipped]"; exit status 0 when something
passed and nothing failed.
"""
import json
import re
import sys

CASE = re.compile(r"^(ok|not ok)\b(.*)$", re.M)
GOOD = {"OK", "EXPECTEDFAIL"}


def count(test):
    """(passed, failed, skipped, names of what failed) of one test."""
    cases = CASE.findall(test.get("stdout") or "")
    result, name = test["result"], test["name"]
    if not cases:
        if result == "SKIP":
            return 0, 0, 1, []
        return (1, 0, 0, []) if result in GOOD else (0, 1, 0, [f"{name}: {result}"])
    skipped = sum("# SKIP" in rest.upper() for _, rest in cases)
    bad = [f"{name}: {rest.strip(' -')}" for word, rest in cases if word == "not ok"]
    passed = len(cases) - skipped - len(bad)
    if result not in GOOD and not bad:
        bad.append(f"{name}: {result}")
    return passed, len(bad), skipped, bad


def main(args):
    passed, failed, skipped = 0, int(args[0]), 0
    if failed:
        print(f"FAILED: {failed} of the builds")
    for path in args[1:]:
        try:
            with open(path, encoding="utf-8") as f:
                tests = [json.loads(line) for line in f if line.strip()]
        except OSError as e:
            print(f"FAILED: no test log: {e}")
            failed += 1
            continue
        for test in tests:
            p, n, s, names = count(test)
            passed, failed, skipped = passed + p, failed + n, skipped + s
            for name in names:
                print(f"FAILED: {name}")
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{tail}")
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
