"""Edits, reactions and redactions of two real nodes: online and offline, with a node that
is killed in the middle; what people see, what programs are told, and that a redacted text
is in neither database afterwards."""
import contextlib
import glob
import json
import os
import queue
import subprocess
import threading

from harness import (ERROR, SLOW, UNKNOWN, USAGE, WAIT_S, Lab, case, check, delivered, equal,
                     finish, pair, until)

SECRET = "the treasure lies under the ninth birch"


def message(node, name, text=None, mid=None):
    """A message of the conversation by its text or id; None."""
    for m in node.export(name):
        if (text is not None and m["text"] == text) or (mid is not None and m["id"] == mid):
            return m
    return None


def send(node, to, text):
    return node.json("send", to, text)[0]["id"]


def reactions(node, name, mid):
    m = message(node, name, mid=mid)
    return [(r["from"], r["emoji"]) for r in m["reactions"]] if m else None


def both_see(ann, bob, mid, condition, *what):
    for node, name in ((ann, "bob"), (bob, "ann")):
        until(lambda n=node, c=name: condition(message(n, c, mid=mid) or {}), *what,
              f"at {node.name}'s")


def online(ann, bob):
    events = bob.events("message", "state")
    with case("an edit is seen at both ends, and told"):
        mid = send(ann, "bob", "Lunch at noon?")
        events.wait("message", lambda e: e["id"] == mid)
        m = ann.json("edit", mid[:8], "Lunch at one?")[0]
        check(m["id"] == mid and m["text"] == "Lunch at one?" and m["edited"] > 0, m)
        e = events.wait("state", lambda e: e["what"] == "edited")
        check(e["id"] == mid and e["text"] == "Lunch at one?" and e["from"] == "ann", e)
        check(e["conversation"] == "ann" and not e["mine"] and e["edited"] == m["edited"], e)
        both_see(ann, bob, mid, lambda m: m.get("text") == "Lunch at one?" and m["edited"])
        line = next(x for x in bob.ok("history", "ann").lines if mid[:8] in x)
        check(line.endswith("\tLunch at one?") and ",edited\t" in line, line)
    with case("one reaction each: a second replaces the first, and it can be taken back"):
        bob.ok("react", mid[:8], "👍")
        e = events.wait("state", lambda e: e["what"] == "reaction")
        check(e["mine"] and e["emoji"] == "👍" and e["id"] == mid, e)
        bob.ok("react", mid[:8], "❤️")
        ann.ok("react", mid[:8], "x")
        wanted = {("bob", "❤️"), ("ann", "x")}
        for node, name in ((ann, "bob"), (bob, "ann")):
            until(lambda n=node, c=name: set(reactions(n, c, mid)) == wanted, "two reactions")
        bob.ok("react", mid[:8], "--remove")
        until(lambda: reactions(ann, "bob", mid) == [("ann", "x")], "one reaction")
        e = events.wait("state", lambda e: e["what"] == "reaction" and e["emoji"] is None)
        check(e["mine"], e)
    with case("a redaction takes it away at both ends, and is final"):
        gone = send(ann, "bob", SECRET)
        events.wait("message", lambda e: e["id"] == gone)
        bob.ok("react", gone[:8], "!")
        until(lambda: reactions(ann, "bob", gone) == [("bob", "!")], "the reaction")
        m = ann.json("redact", gone[:8])[0]
        check(m["redacted"] and m["text"] == "" and m["reactions"] == [], m)
        events.wait("state", lambda e: e["what"] == "redacted" and e["id"] == gone)
        both_see(ann, bob, gone,
                 lambda m: m.get("redacted") and m["text"] == "" and not m["reactions"])
        ann.fails(ERROR, "redact", gone[:8])
        ann.fails(ERROR, "edit", gone[:8], "again")
        bob.fails(ERROR, "react", gone[:8], "!")
    with case("old events tell what is so now"):
        told = [e for e in bob.told() if e["topic"] == "state" and e["what"] != "state"]
        edited = [e for e in told if e["what"] == "edited" and e["id"] == mid]
        equal([e["text"] for e in edited], ["Lunch at one?"])
        check(any(e["what"] == "redacted" and e["id"] == gone for e in told), told)
        check(SECRET not in json.dumps(bob.told()), "a redacted text is told")
    events.close()
    return mid


def refusals(ann, bob, mid):
    with case("what cannot be is said"):
        theirs = send(bob, "ann", "mine alone")
        until(lambda: message(ann, "bob", mid=theirs), "it arrives")
        ann.fails(USAGE, "edit", theirs[:8], "yours")
        ann.fails(USAGE, "redact", theirs[:8])
        ann.fails(UNKNOWN, "edit", "00000000", "x")
        ann.fails(UNKNOWN, "react", "00000000", "x")
        ann.fails(USAGE, "redact", "1234")
        ann.fails(USAGE, "edit", mid[:8], "")
        ann.fails(USAGE, "edit", mid[:8], "-", stdin="x" * 32769)
        ann.fails(USAGE, "react", mid[:8], "two")
        ann.fails(USAGE, "react", mid[:8], "\u202e")
        ann.fails(USAGE, "react", mid[:8])
        ann.fails(USAGE, "react", mid[:8], "x", "--remove")
        equal(message(bob, "ann", text="mine alone")["edited"], None)
    with case("an edit from standard input; to the same text nothing changes"):
        ann.ok("edit", mid[:8], "-", stdin="two\nlines\n")
        first = message(ann, "bob", mid=mid)
        equal(first["text"], "two\nlines")
        ann.ok("edit", mid[:8], "two\nlines")
        equal(message(ann, "bob", mid=mid)["edited"], first["edited"])


def offline(ann, bob):
    with case("offline: what is queued can be changed, and arrives changed"):
        bob.stop()
        edited, gone = send(ann, "bob", "first words"), send(ann, "bob", SECRET + " too")
        ann.ok("edit", edited[:8], "better words")
        ann.ok("react", edited[:8], "y")
        ann.ok("redact", gone[:8])
        ann.ok("send", "bob", "after it")
        ann.kill().start()
        check(message(ann, "bob", mid=gone)["redacted"])
        bob.start()
        until(lambda: message(bob, "ann", text="after it"), "what came after a redacted entry")
        both_see(ann, bob, edited, lambda m: m.get("text") == "better words" and m["edited"]
                 and m["reactions"] == [{"from": "ann", "emoji": "y"}])
        m = message(bob, "ann", mid=gone)
        check(m is None or (m["redacted"] and m["text"] == ""), m)
        until(lambda: message(ann, "bob", text="after it")["state"] == "delivered", "delivered")
    with case("killed right after it said so: nothing is lost"):
        mid = send(ann, "bob", "before the kill")
        until(lambda: message(bob, "ann", mid=mid), "it arrives")
        bob.kill()
        ann.ok("edit", mid[:8], "after the kill")
        ann.kill().start()
        bob.start()
        bob.ok("react", mid[:8], "z")
        bob.kill().start()
        both_see(ann, bob, mid, lambda m: m.get("text") == "after the kill"
                 and m["reactions"] == [{"from": "bob", "emoji": "z"}])


class Lines:
    """What a command prints, line by line, as it comes."""

    def __init__(self, process):
        self.queue, self.first = queue.Queue(), None
        threading.Thread(target=self._read, args=[process.stdout], daemon=True).start()

    def _read(self, out):
        for line in out:
            self.queue.put(line.decode().rstrip("\n"))

    def some(self, timeout):
        """Whether a line has come, or comes in that time."""
        with contextlib.suppress(queue.Empty):
            self.first = self.first or self.queue.get(timeout=timeout)
        return self.first is not None

    def next(self):
        return self.queue.get(timeout=WAIT_S * SLOW)

    def until(self, word):
        """The first line with that word, from now on."""
        line = self.next()
        while word not in line:
            line = self.next()
        return line


def follows(ann, bob):
    with case("recv -f prints changes, a line each; with --json as JSON Lines"):
        delivered(ann, "bob", "settled")
        bob.ok("recv")
        plain, lines = (bob.popen("--no-start", *args, stdout=subprocess.PIPE)
                        for args in (("recv", "-f"), ("--json", "recv", "-f")))
        readers, n = [Lines(p) for p in (plain, lines)], 0
        # What one has printed before the other began is not printed by the other.
        while not all(r.some(1) for r in readers):
            send(ann, "bob", f"probe {n}")
            n += 1
        mids = [send(ann, "bob", "both follow")]
        line, e = (r.until("both follow") for r in readers)
        check(line.endswith("\tboth follow") and json.loads(e)["kind"] == "text", line)
        ann.ok("edit", mids[0][:8], "new\ntext")
        line, e = readers[0].next(), json.loads(readers[1].next())
        equal(line.rstrip("\n").split("\t")[1:], ["ann", "edited", mids[0][:8], "new\\ntext"])
        check(e["kind"] == "edited" and e["v"] == 1 and e["text"] == "new\ntext", e)
        ann.ok("react", mids[0][:8], "👍")
        line, e = readers[0].next(), json.loads(readers[1].next())
        equal(line.rstrip("\n").split("\t")[1:], ["ann", "reaction", mids[0][:8], "👍"])
        check(e["kind"] == "reaction" and e["emoji"] == "👍", e)
        ann.ok("redact", mids[0][:8])
        line, e = readers[0].next(), json.loads(readers[1].next())
        equal(line.rstrip("\n").split("\t")[1:], ["ann", "redacted", mids[0][:8], ""])
        equal(e["kind"], "redacted")
        for process in (plain, lines):
            process.kill()
            process.wait()
            bob.lab.children.remove(process)


def files(ann, bob):
    with case("a redacted text is in no database afterwards, nor in an export"):
        for node, name in ((ann, "bob"), (bob, "ann")):
            for form in ("jsonl", "md"):
                check(SECRET not in node.ok("export", name, "--format", form).out)
            node.stop()
            for path in glob.glob(os.path.join(node.home, "linnet.db*")):
                with open(path, "rb") as f:
                    check(SECRET.encode() not in f.read(), path, "has it")


with Lab() as lab:
    ann, bob = lab.node("ann").start(), lab.node("bob").start()
    pair(ann, bob)
    mid = online(ann, bob)
    refusals(ann, bob, mid)
    offline(ann, bob)
    follows(ann, bob)
    files(ann, bob)
finish()
