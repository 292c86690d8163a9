#!/usr/bin/env python3
"""Refuses long functions, long files and branches without braces.

check_functions.py [ROOT]      check the tree at ROOT (default: the one this file is in)
check_functions.py --self-test prove that each of them is found

Relies on clang-format's layout: a function's braces stand alone in the first column.
"""
import os
import re
import sys

FUNCTION_LINES = 70
FILE_LINES = 900
SKIP = re.compile(r"^(build|\.)")
# Comments, strings and characters; their line breaks stay, so that numbers are right.
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
BRANCH = re.compile(r"\b(if|for|while|else|do)\b")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def without_preprocessor(text):
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", blank, text, flags=re.M)


def after_parens(text, i):
    """The place behind the parenthesis that opens at or after i."""
    i = text.index("(", i)
    depth = 0
    while i < len(text):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        i += 1
        if depth == 0:
            return i
    return i


def braces(text):
    """Lines of branches whose body has no braces."""
    for match in BRANCH.finditer(text):
        word, i = match.group(1), match.end()
        if word in ("if", "for", "while"):
            try:
                i = after_parens(text, i)
            except ValueError:
                continue
        rest = text[i:].lstrip()
        if word == "while" and rest.startswith(";"):
            continue  # the end of do … while
        if word == "else" and re.match(r"if\b", rest):
            continue
        if not rest.startswith("{"):
            yield text.count("\n", 0, match.start()) + 1


def check(path, text):
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield f"{path}: {len(lines)} lines; at most {FILE_LINES}: split it by noun"
    code = without_preprocessor(NOISE.sub(blank, text))
    start = None
    for number, line in enumerate(code.splitlines(), 1):
        if line.rstrip() == "{":
            start = number
        elif line.rstrip() == "}" and start is not None:
            length = number - start + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{start}: a function of {length} lines; at most {FUNCTION_LINES}"
            start = None
    for number in braces(code):
        yield f"{path}:{number}: a branch without braces"


def self_test():
    body = "    f();\n"
    cases = [
        (0, "int f(void)\n{\n" + body * (FUNCTION_LINES - 2) + "}\n"),
        (1, "int f(void)\n{\n" + body * (FUNCTION_LINES - 1) + "}\n"),
        (0, "/* x */\n" * FILE_LINES),
        (1, "/* x */\n" * (FILE_LINES + 1)),
        (1, "void f(void)\n{\n    if (a(b))\n        c();\n}\n"),
        (1, "void f(void)\n{\n    if (a) {\n    } else\n        c();\n}\n"),
        (1, "void f(void)\n{\n    for (;;)\n        c();\n}\n"),
        (0, "void f(void)\n{\n    do {\n    } while (a); /* if (a) b(); */\n}\n"),
        (0, 'void f(void)\n{\n    if (a == \'"\') {\n        g("if (a) b();");\n    }\n}\n'),
        (0, "#define EACH(x) for (x = 0; x < 9; x++)\n"),
    ]
    wrong = [text for want, text in cases if len(list(check("x.c", text))) != want]
    for text in wrong:
        print("misjudged:\n" + text[:200])
    return 1 if wrong else 0


def main(args):
    if args == ["--self-test"]:
        return self_test()
    root = args[0] if args else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = 0
    for folder, dirs, files in os.walk(root):
        dirs[:] = sorted(d for d in dirs if not SKIP.match(d))
        for name in sorted(n for n in files if n.endswith((".c", ".h"))):
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as f:
                for problem in check(os.path.relpath(path, root), f.read()):
                    print(problem)
                    found = 1
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
