#!/usr/bin/env python3
"""Refuses includes that point up or sideways, cycles, and files without a layer.

check_layers.py [ROOT]      check the tree at ROOT (default: the one this file is in)
check_layers.py --self-test prove on small trees that each kind of bad include is found

The rules are in layers.txt beside this file. Exit status 0 when there is nothing to say.
"""
import fnmatch
import os
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)
SEARCH = ("", "src")  # the compiler's -I, from the root
SKIP = re.compile(r"^(build|\.)")
PROTOCOL = 4  # the layer whose modules do not include each other
TESTS = 7


class Rules:
    def __init__(self, text):
        self.patterns = []  # (pattern, layer, module)
        self.sideways = set()
        self.reach = {}
        self.forbid = {}
        self.only = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split("#")[0].split()
            if words:
                self.add(words[0], words[1:], number)

    def add(self, verb, args, number):
        if verb == "layer" and len(args) >= 3:
            self.patterns += [(p, int(args[0]), args[1]) for p in args[2:]]
        elif verb == "sideways" and len(args) == 2:
            self.sideways.add(tuple(args))
        elif verb == "reach" and len(args) >= 2:
            self.reach[int(args[0])] = {int(a) for a in args}
        elif verb == "forbid" and len(args) >= 2:
            self.forbid.setdefault(int(args[0]), set()).update(args[1:])
        elif verb == "only" and len(args) >= 2:
            self.only[args[0]] = set(args[1:])
        else:
            raise SystemExit(f"layers.txt:{number}: not understood")

    def place(self, path):
        """(layer, module) of a file, or None."""
        for pattern, layer, module in self.patterns:
            # A pattern's folder is exact: * does not cross a slash.
            if os.path.dirname(pattern) == os.path.dirname(path) and fnmatch.fnmatch(
                os.path.basename(path), os.path.basename(pattern)
            ):
                name = os.path.splitext(os.path.basename(path))[0]
                return layer, name.split("_")[0] if module == "*" else module
        return None


def sources(root):
    for folder, dirs, files in os.walk(root):
        dirs[:] = sorted(d for d in dirs if not SKIP.match(d))
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), root)


def resolve(root, path, name):
    """The file that #include "name" in path means, or None."""
    for folder in (os.path.dirname(path),) + SEARCH:
        found = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(root, found)):
            return found
    return None


def cycles(graph):
    """Each cycle found by a depth-first walk, as a list of names."""
    done, path, out = set(), [], []

    def visit(node):
        if node in path:
            out.append(path[path.index(node) :] + [node])
            return
        if node in done:
            return
        path.append(node)
        for target in sorted(graph.get(node, ())):
            visit(target)
        path.pop()
        done.add(node)

    for node in sorted(graph):
        visit(node)
    return out


def judge_file(rules, path, target):
    """What is wrong with path including target, or None."""
    layer, module = rules.place(path)
    to_layer, to_module = rules.place(target)
    if to_layer > layer:
        return f"layer {layer} includes upward: {target} is in layer {to_layer}"
    if layer in rules.reach and to_layer not in rules.reach[layer]:
        return f"layer {layer} may not reach {target} in layer {to_layer}"
    if layer == to_layer == PROTOCOL and module != to_module:
        if not {(module, to_module), (module, "*")} & rules.sideways:
            return f"{module} includes {to_module} sideways: not declared in layers.txt"
    return None


def judge_system(rules, path, header):
    layer, module = rules.place(path)
    if header in rules.forbid.get(layer, ()):
        return f"layer {layer} may not include <{header}>"
    if header in rules.only and layer < TESTS and module not in rules.only[header]:
        return f"<{header}> belongs to {', '.join(sorted(rules.only[header]))}"
    return None


def check(root, rules):
    problems, files, modules = [], {}, {}
    paths = list(sources(root))
    for path in paths:
        if rules.place(path) is None:
            problems.append(f"{path}: no layer in layers.txt")
    for path in [p for p in paths if rules.place(p)]:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        for own, system in INCLUDE.findall(text):
            if system:
                wrong = judge_system(rules, path, system)
            else:
                target = resolve(root, path, own)
                if target is None:
                    wrong = f'"{own}" is not a file of ours'
                elif rules.place(target) is None:
                    continue  # told above
                else:
                    wrong = judge_file(rules, path, target)
                    files.setdefault(path, set()).add(target)
                    a, b = rules.place(path), rules.place(target)
                    if a != b and a[0] <= PROTOCOL:
                        modules.setdefault(a, set()).add(b)
            if wrong:
                problems.append(f"{path}: {wrong}")
    for cycle in cycles(files):
        problems.append("cycle of files: " + " -> ".join(cycle))
    for cycle in cycles(modules):
        names = [f"{layer}/{module}" for layer, module in cycle]
        problems.append("cycle of modules: " + " -> ".join(names))
    return problems


SELF_TEST = [
    # (what must be said, files)
    (None, {"src/wire.c": '#include "wire.h"\n#include "base/buf.h"', "src/wire.h": "",
            "src/base/buf.h": "#include <stdint.h>"}),
    (None, {"src/node.c": '#include "lan.h"', "src/lan.h": ""}),
    ("upward", {"src/base/buf.c": '#include "wire.h"', "src/wire.h": ""}),
    ("upward", {"crypto/keys.c": '#  include "dht/id.h"', "dht/id.h": ""}),
    ("sideways", {"src/lan.c": '#include "talk.h"', "src/talk.h": ""}),
    ("sideways", {"src/lan.c": '#include "node.h"', "src/node.h": ""}),
    ("no layer", {"src/surprise.c": ""}),
    ("no layer", {"src/base/deeper/x.c": ""}),
    ("not a file of ours", {"src/wire.c": '#include "missing.h"'}),
    ("cycle of files", {"src/base/a.h": '#include "base/b.h"',
                        "src/base/b.h": '#include "base/a.h"'}),
    ("cycle of modules", {"dht/a.c": '#include "dht/b.h"', "dht/a.h": "",
                          "dht/b.c": '#include "dht/a.h"', "dht/b.h": ""}),
    (None, {"dht/a.c": '#include "dht/a_b.h"', "dht/a.h": "",
            "dht/a_b.c": '#include "dht/a.h"', "dht/a_b.h": ""}),
    ("may not reach", {"cli/main.c": '#include "talk.h"', "src/talk.h": ""}),
    ("may not include <time.h>", {"src/talk.c": "#include <time.h>"}),
    ("<sqlite3.h> belongs to", {"src/app.c": "#include <sqlite3.h>"}),
]


def self_test(rules):
    failed = 0
    for expected, files in SELF_TEST:
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text + "\n")
            said = check(root, rules)
        good = not said if expected is None else any(expected in s for s in said)
        if not good:
            failed += 1
            print(f"expected {expected!r} of {sorted(files)}, got {said}")
    return failed


def main(args):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "layers.txt"), encoding="utf-8") as f:
        rules = Rules(f.read())
    if args == ["--self-test"]:
        return 1 if self_test(rules) else 0
    problems = check(args[0] if args else os.path.dirname(here), rules)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
