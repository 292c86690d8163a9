#!/usr/bin/env python3
"""Every label string of the sources stands in docs/PROTOCOL.md, and every one of its table in
the sources.

With --self-test: shows that a label that is missing on either side is found.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LITERAL = re.compile(r'"(linnet [a-z][a-z0-9 ]*)(?:\\n)?"')
ROW = re.compile(r"^\| `(linnet [^`]*)` \|", re.M)
PROTOCOL_CODE = ("crypto/*.c", "src/wire*.c", "src/link*.c", "src/contact*.c", "src/feed*.c",
                 "src/talk*.c", "src/lan*.c", "src/verify*.c")


def problems(code, page):
    used = {m for text in code for m in LITERAL.findall(text)}
    told = set(ROW.findall(page))
    for label in sorted(used):
        if label not in told and f"`{label}`" not in page and f"`{label}\\n`" not in page:
            yield f'"{label}" is not in docs/PROTOCOL.md, "Labels"'
    for label in sorted(told - used):
        yield f'"{label}" of docs/PROTOCOL.md is not in the sources'


def self_test():
    page = "| `linnet one` | x |\n| `linnet two` | x |\nalso `linnet key\\n`\n"
    good = ['a("linnet one"); b("linnet two"); c("linnet key\\n")']
    assert not list(problems(good, page))
    assert len(list(problems(good + ['d("linnet three v1")'], page))) == 1
    assert len(list(problems(['a("linnet one")'], page))) == 1
    return 0


def main():
    if "--self-test" in sys.argv[1:]:
        return self_test()
    code = [p.read_text() for pattern in PROTOCOL_CODE for p in sorted(ROOT.glob(pattern))]
    found = list(problems(code, (ROOT / "docs/PROTOCOL.md").read_text()))
    print("\n".join(found) or "all labels are documented")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
