"""Searching, histories by time and exports, in nodes that talk, die and come from an older
version."""
import json
import os
import pty
import signal
import sqlite3
import subprocess

from harness import (DONE, Lab, UNKNOWN, USAGE, case, check, delivered, equal, finish, pair,
                     until)

TESTS = os.environ.get("LINNET_TESTS") or os.path.join(os.path.dirname(__file__), "..")
BURST = 1500


def found(node, *words):
    return [m["text"] for m in node.json("search", *words)]


def words(ann, bob):
    said = ["Shall we meet at the CAFÉ?", "好，明天在北京见。", "Bring the old umbrella, Bob",
            "umbrellas (two) 🎉", "an old, old story"]
    for i, text in enumerate(said):
        delivered(*((ann, "bob") if i % 2 == 0 else (bob, "ann")), text)
    with case("words in any case, without accents, in any script, newest first"):
        for node in (ann, bob):
            equal(found(node, "cafe"), [said[0]])
            equal(found(node, "OLD"), [said[4], said[2]])
            equal(found(node, "北京"), [said[1]])
            equal(found(node, "京"), [said[1]])
            equal(found(node, "🎉"), [said[3]])
            equal(found(node, "umbrella"), [said[2]])
            equal(found(node, "umbrella*"), [said[3], said[2]])
            equal(found(node, "old", "-umbrella"), [said[4]])
            equal(found(node, "old", "bob"), [said[2]])
            equal(found(node, '"old bob"'), [])
            equal(found(node, '"old umbrella"'), [said[2]])
            equal(found(node, "nothing"), [])
    with case("people, conversations and times"):
        equal(found(ann, "from:me"), [said[4], said[2], said[0]])
        equal(found(ann, "from:ann", "old"), [said[4], said[2]])
        equal(found(ann, "from:bob"), [said[3], said[1]])
        equal(found(bob, "from:ann", "old"), [said[4], said[2]])
        equal(found(ann, 'in:"bob"', "cafe"), [said[0]])
        equal(found(ann, "after:1h", "cafe"), [said[0]])
        equal(found(ann, "before:1h", "cafe"), [])
        equal(found(ann, "cafe", "-after:yesterday"), [])
    with case("what is wrong is said, what is odd is text"):
        ann.fails(UNKNOWN, "search", "x", "from:nobody")
        ann.fails(UNKNOWN, "search", "in:nobody")
        for query in ("before:lunch", "after:2026-02-30", "!!", "-", '""', "a " * 40):
            ann.fails(USAGE, "search", query)
        ann.fails(USAGE, "search")
        ann.fails(USAGE, "search", "-n", "0", "x")
        for query in ('"x', "AND", "NOT (", "a:b", "^x", "{text}: x", "NEAR(a b", "x';--"):
            equal(ann.run("search", query).code, DONE, query)
    with case("places are told, and marked on a terminal"):
        m = ann.json("search", "cafe")[0]
        raw = m["text"].encode()
        equal([raw[a:b].decode() for a, b in m["matches"]], ["CAFÉ"])
        line = ann.ok("search", "cafe").lines[0].split("\t")
        equal(line[1:], ["bob", "ann", m["id"][:8], said[0]])
        check("\x1b[1;4mCAFÉ\x1b[0m" in on_terminal(ann, "search", "cafe"), "no marks")
        ann.lab.env["NO_COLOR"] = "1"
        try:
            plain = on_terminal(ann, "search", "cafe")
        finally:
            del ann.lab.env["NO_COLOR"]
        check("[CAFÉ]" in plain and "\x1b" not in plain, plain)


def on_terminal(node, *args):
    master, slave = pty.openpty()
    child = node.popen("--no-start", *args, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        out += part
    os.close(master)
    equal(child.wait(30), 0)
    return out.decode()


def burst(ann, label):
    """Many texts; what was acknowledged."""
    wanted = {ann.api.send("send", to="bob", text=f"{label} {i} burst"): f"{label} {i} burst"
              for i in range(BURST)}
    said = []
    while wanted:
        answer = ann.api.answer()
        check("result" in answer, answer)
        said.append(wanted.pop(answer["id"]))
    return said


def many(ann, bob):
    with case("what was just said is found at once, page by page"):
        said = burst(ann, "first")
        equal(found(ann, "first", "burst"), said[::-1])
        equal(found(ann, "first", "burst", "-n", "300"), said[:-301:-1])
        page = ann.api.call("search", query="burst", limit=10)
        check(page["more"] and len(page["messages"]) == 10, page["more"])
        rest = ann.api.call("search", query="burst", after=page["after"])
        equal(rest["messages"][0]["text"], said[-11])
    with case("nothing is lost when the node dies before or while it indexes"):
        for round_ in range(3):
            said = burst(ann, f"round{round_}")
            ann.kill()
            ann.start()
            equal(found(ann, f"round{round_}"), said[::-1])
            equal(len(found(ann, "burst")), (2 + round_) * BURST)
    with case("the other has it all, too"):
        until(lambda: len(found(bob, "burst")) == 4 * BURST, "bob has all", timeout=60)


def histories(ann):
    everything = [m["text"] for m in ann.json("export", "bob")]
    with case("a history by number and by time"):
        for n in (1, 256, 257, 700, len(everything) + 5):
            equal([m["text"] for m in ann.json("history", "bob", "-n", n)], everything[-n:])
        equal([m["text"] for m in ann.json("history", "bob")], everything)
        for since in ("1h", "1d", "1w", "yesterday", "1970-01-02"):
            equal(len(ann.json("history", "bob", "--since", since)), len(everything), since)
        equal(ann.json("history", "bob", "--since", "2099-01-01"), [])
        equal(ann.json("history", "bob", "--since", "0s"), [])
        ann.fails(USAGE, "history", "bob", "--since", "noon")
    with case("exports: a line of JSON a message, or Markdown that marks nothing up"):
        text = "# *no* [heading](x)\n- <b>&amp;\n1. `one`\n    code\n___"
        delivered(ann, "bob", text)
        lines = ann.ok("export", "bob", "--format", "jsonl").out.splitlines()
        equal(len(lines), len(everything) + 1)
        equal(json.loads(lines[-1])["text"], text)
        md = ann.ok("export", "bob", "--format", "md").out
        check(md.startswith("# bob\n\n## "), md[:80])
        check(f"\n> \\# \\*no\\* \\[heading\\](x)  \n> \\- \\<b\\>\\&amp;  \n> 1\\. \\`one\\`  "
              "\n> &#32;   code  \n> \\_\\_\\_\n" in md, md[-400:])
        equal(md.count("\n## "), 1, "one day")


def ends(ann):
    with case("an export whose reader goes away ends by itself"):
        export = ann.popen("--no-start", "export", stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        check(export.stdout.readline(), "nothing came")
        export.stdout.close()
        export.stderr.read()
        check(export.wait(30) != 0, "it did not say so")
        check(ann.alive(), "the node died")
    with case("^C ends an export with 130"):
        export = ann.popen("--no-start", "export", stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        check(export.stdout.readline(), "nothing came")
        export.send_signal(signal.SIGINT)  # it is held by a pipe that is full
        equal(export.wait(30), 130)
        export.stdout.close()
        export.stderr.close()


def older(lab):
    with case("a home of schema 1 is found through, at once and after a restart"):
        node = lab.node("ann")
        with open(os.path.join(TESTS, "schema1/key.hex"), encoding="ascii") as f:
            key = bytes.fromhex("".join(f.read().split()))
        path = os.path.join(node.home, "key")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(key)
        db = sqlite3.connect(os.path.join(node.home, "linnet.db"))
        with open(os.path.join(TESTS, "schema1/linnet.sql"), encoding="utf-8") as f:
            db.executescript(f.read())
        db.close()
        os.chmod(os.path.join(node.home, "linnet.db"), 0o600)
        for _ in range(2):
            node.start()
            equal(found(node, "cafe"), ["Shall we meet at the Café?"])
            equal(found(node, "from:bob", "明天"), ["好，明天在北京见。"])
            equal(len(node.json("history", "bob")), 3)
            node.kill()


def main():
    with Lab() as lab:
        ann, bob = lab.node("ann").start(), lab.node("bob").start()
        with case("they pair"):
            pair(ann, bob)
        words(ann, bob)
        many(ann, bob)
        histories(ann)
        ends(ann)
        older(lab)
    finish()


main()
