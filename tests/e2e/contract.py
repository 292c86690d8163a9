"""What programs rely on: the command line, its exit codes and output, where the local API
is, what events say, on a terminal and off it, and with clocks that are wrong. What pair.py
shows is not repeated here."""
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from harness import (COMMAND_S, DONE, ERROR, LINNET, NO_NODE, REFUSED, SLOW,
                     TIMEOUT, UNKNOWN, USAGE, Lab, Result, Skip, case, check, delivered, equal,
                     finish, invite, pair, until)

COMMANDS = ("daemon stop status id passphrase invite add contacts contact verify send read recv "
            "history export events config nearby visible requests edit react redact live search "
            "away busy online invisible transfers dht").split()
LATER = "chat doctor group hook backup".split()
VERBS = {"invite": ["ls", "revoke"], "config": ["get", "set", "path"],
         "contact": ["rename", "block", "unblock", "remove", "files"],
         "dht": ["ping", "find", "get", "put", "announce", "peers", "stats", "serve"],
         "transfers": ["show", "accept", "decline", "pause", "resume", "cancel", "limit"]}
INTERRUPTED = 130
MESSAGE = {"v", "id", "conversation", "from", "device", "time_ms", "kind", "text", "reply_to",
           "state", "mine"}


def cli(lab, *args, stdin=b"", env=None, cwd=None):
    """The program as it is typed: without --home, and it may start a node."""
    cmd = [LINNET, *(a if isinstance(a, bytes) else str(a) for a in args)]
    environ = {k: v for k, v in {**lab.env, **(env or {})}.items() if v is not None}
    done = subprocess.run(cmd, input=stdin, env=environ, cwd=cwd or lab.dir, check=False,
                          capture_output=True, timeout=COMMAND_S * SLOW)
    return Result(args, done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def ends(code, result, *words):
    """Ended with this code; when it failed, it said why."""
    equal(result.code, code, result)
    check(code == DONE or result.err.strip(), "no sentence", result)
    for word in words:
        check(word in result.err, f"{word!r} is not said:", result)
    return result


@contextlib.contextmanager
def home(lab, name):
    """A home on lo alone, in which no node runs afterwards."""
    path = os.path.join(lab.dir, name)
    os.makedirs(path, mode=0o700)
    with open(os.path.join(path, "config.ini"), "w", encoding="ascii") as f:
        f.write("interfaces = lo\nscope = lan\n")
    try:
        yield path
    finally:
        for runtime in (None, lab.dir):
            cli(lab, "--home", path, "stop", env={"XDG_RUNTIME_DIR": runtime})


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, lab, home_dir, *args, columns=80, env=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environ = {**lab.env, "TERM": "xterm", "HOME": lab.dir, **(env or {})}
        self.process = subprocess.Popen([LINNET, "--home", home_dir, *args], env=environ,
                                        stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        lab.children.append(self.process)
        self.lab, self.text = lab, ""
        os.close(slave)

    def more(self, end):
        """Reads what comes next; False at the end."""
        ready = select.select([self.master], [], [], max(0, end - time.monotonic()))[0]
        check(ready, "the terminal is silent after", repr(self.text))
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def answer(self, prompt, line):
        end = time.monotonic() + COMMAND_S * SLOW
        while prompt not in self.text:
            check(self.more(end), f"{prompt!r} is not asked:", repr(self.text))
        self.text = self.text.split(prompt, 1)[1]
        os.write(self.master, line.encode())
        return self

    def end(self):
        """Exit code and all that was shown."""
        end = time.monotonic() + COMMAND_S * SLOW
        while self.more(end):
            pass
        os.close(self.master)
        code = self.process.wait(COMMAND_S * SLOW)
        self.lab.children.remove(self.process)
        return code, self.text.replace("\r\n", "\n")


def width(line):
    """Columns, roughly: Chinese takes two."""
    return sum(2 if "\u2e80" <= c <= "\uffef" else 1 for c in line)


# ---- the command line ----


def helps(lab):
    with case("every command has help with examples, subcommands too"):
        for command in COMMANDS:
            out = ends(DONE, cli(lab, command, "--help")).out
            check(f"\n    linnet {command}" in out or f"| linnet {command}" in out, out)
            for verb in VERBS.get(command, []):
                check(f"linnet {command} " in ends(DONE, cli(lab, command, verb, "--help")).out)
        out = ends(DONE, cli(lab, "--help")).out
        for command in COMMANDS + LATER:
            check(re.search(rf"\b{command}\b", out), command, "is not in the help")
        check(max(map(len, out.splitlines())) <= 90)
    with case("what is not there yet is known, says so, and ends with 1"):
        for command in LATER:
            for args in ([], ["x", "--bar", "-z"]):
                ends(ERROR, cli(lab, command, *args), command, "not there yet")
            ends(DONE, cli(lab, command, "--help"))
    with case("what cannot be understood ends with 2 and proposes what was meant"):
        ends(USAGE, cli(lab, "stauts"), "linnet status")
        for args in (["send", "bob", "--name", "x"], ["send", "bob", "-f", "-"],
                     ["send", "bob", "-f", "a", "-f", "b", "--name", "c"],
                     ["send", "bob", "-f", "-", "-f", "b", "--name", "c"],
                     ["send", "bob", "-f", "a", "--reply", "1a2b3c4d"],
                     ["recv", "-o", "x"], ["recv", "--file", "x"], ["recv", "--file", "1", "-f"],
                     ["recv", "--file", "1", "-o", "-", "--json"],
                     ["transfers", "pause"], ["transfers", "frob", "1"], ["transfers", "show", "x"],
                     ["transfers", "pause", "1", "--all"], ["transfers", "pause", "1", "-o", "x"],
                     ["transfers", "accept", "1", "2"], ["transfers", "accept", "1", "-o", "-"],
                     ["transfers", "limit", "fast"], ["contact", "files", "bob", "--max", "much"],
                     ["contact", "block", "bob", "--max", "1"], ["dht", "frob"],
                     ["dht", "get"], ["dht", "put"], ["dht", "put", "x", "--mutable"],
                     ["dht", "put", "x", "--seq", "1"], ["dht", "find", "x", "--port", "1"],
                     ["dht", "announce", "x", "--port", "x"], ["dht", "serve", "x"]):
            ends(USAGE, cli(lab, *args), "Usage:")
        for args in (["--home"], ["--home", "", "id"], ["id", "x"], ["id", "--json=1"],
                     ["--frob"], ["send"], ["send", "bob"], ["send", "bob", "a", "b"],
                     ["send", "bob", "x", "--timeout", "5"], ["send", "bob", "-5"],
                     ["history", "bob", "-n", "0"], ["history", "bob", "--since", "2026-02-30"],
                     ["events", "--since", "x"], ["export", "--format", "xml"],
                     ["invite", "--expires", "1"], ["invite", "--expires", "9999d"],
                     ["invite", "revoke"], ["invite", "frob"], ["contact", "frob", "bob"],
                     ["contact", "rename", "bob"], ["config"], ["config", "set", "name"],
                     ["config", "get", "frob"], ["daemon", "--passphrase-fd", "x"],
                     ["daemon", "--port", "0"], ["daemon", "--port", "99999"],
                     ["daemon", "--scope", "moon"], ["daemon", "--name", ""],
                     ["daemon", "--peer", "host:99999"], ["daemon", "--peer", "a b"],
                     ["daemon", "--bootstrap", "host"], ["daemon", "--bootstrap", "1.2.3.4"],
                     ["daemon", "--bootstrap", "a:1,b:2"], ["dht"], [b"\xff"],
                     ["send", b"\xff", "x"]):
            ends(USAGE, cli(lab, *args))
        check(not os.path.exists(os.path.join(lab.dir, ".local")), "a home was made")


def global_options(lab):
    with home(lab, "here") as here, home(lab, "there") as there:
        with case("global options stand anywhere; --home goes before LINNET_HOME"):
            root = cli(lab, "--home", here, "--json", "id").json[0]["root"]
            for args, env in ((["id", "--json", "--home", here], {}),
                              (["--json", "id", f"--home={here}", "--no-start"], {}),
                              (["id", "--json", "--home", "here"], {}),
                              (["id", "--json"], {"LINNET_HOME": here}),
                              (["id", "--json", "--home", "here"], {"LINNET_HOME": there})):
                equal(ends(DONE, cli(lab, *args, env=env)).json[0]["root"], root, args)
            check(cli(lab, "id", "--json", env={"LINNET_HOME": there}).json[0]["root"] != root)
            link = os.path.join(lab.dir, "link")
            os.symlink("here", link)
            equal(cli(lab, "id", "--json", "--home", link).json[0]["root"], root, "by a link")
        with case("without a node: --no-start, status and stop end with 3"):
            ends(DONE, cli(lab, "--home", there, "stop"))
            for args in (["--no-start", "id"], ["--no-start", "status"], ["stop"]):
                ends(NO_NODE, cli(lab, "--home", there, *args))
            row = cli(lab, "--home", there, "--no-start", "--json", "status").json[0]
            equal((row["v"], row["running"]), (1, False))
            none = os.path.join(lab.dir, "none")
            ends(NO_NODE, cli(lab, "--home", none, "stop"))
            check(not os.path.exists(none), "stop has made a home")
        with case("settings are the same with and without a node"):
            rows = cli(lab, "--home", there, "--json", "config", "get").json
            equal({r["key"] for r in rows if r["v"] == 1},
                  {"name", "interfaces", "subnets", "peer", "bootstrap", "scope", "port", "log_level",
                   "away_after", "network", "network-secret-file", "accept", "accept_max",
                   "accept_quota", "downloads", "limit_rate"})
            ends(DONE, cli(lab, "--home", there, "id"))
            equal(cli(lab, "--home", there, "--json", "config", "get").json, rows)
            for key, value in (("port", "0"), ("scope", "moon"), ("peer", "a:b"), ("bootstrap", "a"), ("name", "a\nb"),
                               ("log_level", "loud"), ("subnets", "10.0.0.0/33"), ("frob", "x"),
                               ("network", "a\tb"), ("network-secret-file", "secret")):
                ends(USAGE, cli(lab, "--home", there, "config", "set", key, value))
            equal(cli(lab, "--home", there, "--json", "config", "get").json, rows)
            ends(DONE, cli(lab, "--home", there, "config", "set", "name", "\u738b\u5c0f\u660e"))
            equal(cli(lab, "--home", there, "config", "get", "name").out, "\u738b\u5c0f\u660e\n")
            equal(cli(lab, "--home", there, "id", "--json").json[0]["name"], "\u738b\u5c0f\u660e")
            path = cli(lab, "--home", there, "config", "path").out.strip()
            check("interfaces = lo" in open(path, encoding="utf-8").read())
        with case("to look at settings makes no home"):
            none = os.path.join(lab.dir, "not", "yet")
            equal(cli(lab, "--home", none, "config", "path").out.strip(),
                  os.path.join(none, "config.ini"))
            ends(DONE, cli(lab, "--home", none, "config", "get"))
            check(not os.path.exists(os.path.dirname(none)), "a home was made")


def starting(lab):
    with home(lab, "cold") as cold:
        with case("commands at once on a cold home start one node"):
            cmd = [LINNET, "--home", cold, "--json", "id"]
            crowd = [subprocess.Popen(cmd, env=lab.env, stdout=subprocess.PIPE) for _ in range(5)]
            lab.children.extend(crowd)
            roots = {json.loads(p.communicate(timeout=COMMAND_S * SLOW)[0])["root"] for p in crowd}
            for p in crowd:
                equal(p.returncode, DONE)
                lab.children.remove(p)
            equal(len(roots), 1)
        with case("kill -9 leaves sockets that are in nobody's way"):
            row = cli(lab, "--home", cold, "--json", "status").json[0]
            os.kill(row["pid"], signal.SIGKILL)
            until(lambda: not os.path.exists(f"/proc/{row['pid']}") or
                  open(f"/proc/{row['pid']}/stat", encoding="ascii").read().split()[2] == "Z")
            check(os.path.exists(row["api"].removeprefix("ipc://")))
            ends(NO_NODE, cli(lab, "--home", cold, "--no-start", "status"))
            equal(cli(lab, "--home", cold, "--json", "id").json[0]["root"], roots.pop())
    with case("a home that cannot be: a sentence, and 1 or 3"):
        file = os.path.join(lab.dir, "file")
        with open(file, "w", encoding="ascii"):
            pass
        for path in (file, os.path.join(file, "x"), "/proc/nope"):
            ends(ERROR, cli(lab, "--home", path, "id"), path)
            ends(NO_NODE, cli(lab, "--home", path, "stop"))
        for unset in (None, "", "relative"):
            ends(ERROR, cli(lab, "id", env={"HOME": unset}), "HOME")
            ends(DONE, cli(lab, "--help", env={"HOME": unset}))


def endpoints(lab):
    def where(path, runtime):
        row = cli(lab, "--home", path, "--json", "status", env={"XDG_RUNTIME_DIR": runtime}).json[0]
        folder = os.path.dirname(row["api"].removeprefix("ipc://"))
        equal((row["api"], row["events"]), (f"ipc://{folder}/api", f"ipc://{folder}/events"))
        equal(os.stat(folder).st_mode & 0o777, 0o700, "mode of the sockets' folder")
        ends(DONE, cli(lab, "--home", path, "stop", env={"XDG_RUNTIME_DIR": runtime}))
        check(not os.path.exists(folder), "sockets are left")
        return folder

    with home(lab, "mein H\u00f6me \u5bb6 $x") as odd, case("the sockets are where they should be"):
        equal(where(odd, None), os.path.join(odd, "run"))
        digest = hashlib.blake2b(os.path.realpath(odd).encode(), digest_size=32).hexdigest()[:8]
        equal(where(odd, lab.dir), os.path.join(lab.dir, "linnet", digest))
        equal(where(odd, "relative"), os.path.join(odd, "run"), "a variable that is no path")
    with home(lab, "d" * 100) as long, case("a path too long for a socket is told, not cut"):
        ends(ERROR, cli(lab, "--home", long, "id"), "XDG_RUNTIME_DIR")
        equal(sorted(os.listdir(long)), ["config.ini"])
        check(where(long, lab.dir).startswith(os.path.join(lab.dir, "linnet")))


# ---- meeting and names ----


def codes(lab, ann, bob):
    with case("a code in capitals or with blanks works, in mixed case it ends with 2"):
        code = invite(ann)
        for wrong in (code[:20] + code[20:].upper(), code.capitalize(), code + "q", "linnet1"):
            ends(USAGE, bob.run("add", wrong))
        equal(bob.ok("add", f" \n{code[:9]} {code[9:].upper()}\n".upper()).lines, ["ann"])
        equal(bob.ok("add", code).lines, ["ann"], "again by the same home: nothing new")
        equal(len(ann.json("contacts")), 1)
    with case("one code in two hands, or twice in one: one contact"):
        carol, dave = lab.node("carol").start(), lab.node("dave").start()
        code = invite(ann)
        crowd = [n.popen("--no-start", "add", code, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) for n in (carol, dave, carol, dave)]
        ended = [p.wait(COMMAND_S * SLOW) for p in crowd]
        for p in crowd:
            lab.children.remove(p)
        check(sorted(ended) == [DONE, DONE, REFUSED, REFUSED] and ended[0] == ended[2], ended)
        equal(len(ann.json("contacts")), 2)
        dave.stop()
        carol.stop()
    with case("two who invite each other at once are one contact at each end"):
        eve = lab.node("eve").start()
        crowd = [a.popen("--no-start", "add", invite(b), stdout=subprocess.PIPE)
                 for a, b in ((ann, eve), (eve, ann))]
        equal([p.communicate(timeout=COMMAND_S * SLOW)[0] for p in crowd], [b"eve\n", b"ann\n"])
        for p in crowd:
            lab.children.remove(p)
        delivered(ann, "eve", "hello")
        delivered(eve, "ann", "hello")
        equal(len(eve.json("contacts")), 1)
        eve.stop()


def names(lab, ann, bob):
    with case("names in every script are names; what acts on the terminal is none"):
        root = bob.contact("ann")["root"]
        for name in ("\u738b\u5c0f\u660e", "\u05e9\u05dc\u05d5\u05dd", "e\u0301", "-x", "--json",
                     "..", "\U0001f468\u200d\U0001f469\u200d\U0001f467", '"q"', "x" * 64):
            bob.ok("contact", "rename", "--", root[:8], name)
            row = bob.json("send", "--", name, f"to {name}")[0]
            equal((row["conversation"], bob.contact(name)["root"]), (name, root))
        for name in ("", "x" * 65, "a\tb", "\x1b[1m", "\u202eevil", "\u2066", "\u200b"):
            ends(USAGE, bob.run("contact", "rename", root[:8], name))
        bob.ok("contact", "rename", root[:8], "ann")
    with case("a name that is the beginning of another's root is ambiguous: 4"):
        other = lab.node("fay").start()
        pair(other, bob)
        bob.ok("contact", "rename", "fay", root[:8])
        ends(UNKNOWN, bob.run("send", root[:8], "who?"))
        bob.ok("send", root[:9], "you")
        bob.ok("contact", "rename", bob.contact(root[:8])["root"], "fay")
        other.stop()


# ---- output ----


def json_lines(ann, bob):
    with case("every command's JSON is lines of objects with v 1"):
        ident = delivered(ann, "bob", "shape").out.split()[0]
        for args in (["id"], ["status"], ["contacts"], ["invite"], ["invite", "ls"],
                     ["verify", "bob"], ["verify", "bob", "--yes"], ["read", "bob"],
                     ["contact", "rename", "bob", "bob2"], ["contact", "rename", "bob2", "bob"],
                     ["contact", "block", "bob"], ["contact", "unblock", "bob"], ["config", "get"],
                     ["config", "path"], ["config", "set", "log_level", "warn"],
                     ["send", "bob", "x", "--reply", ident], ["history", "bob"],
                     ["export", "bob", "--format", "jsonl"], ["add", invite(bob)],
                     ["invite", "revoke", ann.json("invite")[0]["n"]]):
            rows = ann.json(*args)
            check(rows, "nothing from", args)
            for row in rows:
                check(isinstance(row, dict) and row["v"] == 1, args, row)
        rows = bob.json("recv")
        check(rows and all(MESSAGE <= set(r) and r["v"] == 1 for r in rows))
        device = bob.json("id")[0]["device"]
        row = bob.json("send", "ann", "from this device")[0]
        check(device.startswith(row["device"]) and len(row["device"]) == 16)
    with case("off a terminal: tabs between columns, a message a line, no colour"):
        delivered(bob, "ann", "one\ntwo\tthree\\ \u738b")
        for line in (ann.ok("history", "bob", "-n1").lines[0], ann.ok("recv").lines[-1]):
            when, who, state, ident, text = line.split("\t")
            check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", when), when)
            equal((who, state, len(ident)), ("bob", "received", 8))
            equal(text, "one\\ntwo\\tthree\\\\ \u738b")
        equal(ann.ok("read", "bob").raw, b"")
        ident, state = ann.ok("send", "bob", "x").out.split()
        check(re.fullmatch("[0-9a-f]{8}", ident) and state == "queued")
    with case("text: blanks count, bytes are counted, NUL is refused and answered"):
        for text in ("   ", "\u3000", "\n\n"):
            equal(ann.json("send", "bob", text)[0]["text"], text)
        equal(ann.json("send", "bob", "-", stdin="two\n\n")[0]["text"], "two\n")
        equal(len(ann.json("send", "bob", "\u4f60" * 10922)[0]["text"]), 10922)
        ends(USAGE, ann.run("send", "bob", "\u4f60" * 10923))
        ann.ok("send", "bob", "-", stdin="\x01" * 32768)
        ends(USAGE, ann.run("send", "bob", "-", stdin="\n"))
        wanted = ann.api.send("send", to="bob", text="a\0b")
        answer = ann.api.answer()
        equal((answer["id"], answer["error"]["code"]), (wanted, USAGE))
    with case("an id is 8 to 32 digits of a message that is here"):
        parent = ann.export("bob")[0]["id"]
        for word in (parent[:8], parent[:9].upper(), parent):
            equal(ann.json("send", "bob", "re", "--reply", word)[0]["reply_to"], parent)
        for word in (parent[:7], parent + "0", "xyzxyzxy", ""):
            ends(USAGE, ann.run("send", "bob", "re", "--reply", word))
        ends(UNKNOWN, ann.run("send", "bob", "re", "--reply", "00000000"))


def waiting(ann, bob):
    with case("--wait for each word, and what a time-out says"):
        order = ["queued", "sent", "stored", "delivered", "read"]
        for word in order[1:4]:
            row = ann.json("send", "bob", f"wait {word}", "--wait", word)[0]
            check(order.index(row["state"]) >= order.index(word), row)
        row = ends(TIMEOUT, ann.run("--json", "send", "bob", "late", "--wait", "read", "--timeout",
                                    "200ms")).json[0]
        check(row["state"] != "read" and len(row["id"]) == 32, "the id is told all the same")
    with case("^C ends with 130, and the message stays"):
        process = ann.popen("--no-start", "send", "bob", "interrupted", "--wait", "read",
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: "interrupted" in bob.texts("ann"), "arrives")
        process.send_signal(signal.SIGINT)
        equal(process.wait(COMMAND_S * SLOW), INTERRUPTED)
        ann.lab.children.remove(process)
        follow = ann.popen("--no-start", "events", stdout=subprocess.PIPE)
        until(lambda: ann.ok("send", "bob", "seen by events") and
              select.select([follow.stdout], [], [], 0.2)[0], "events follows")
        ann.ok("send", "bob", "now it is certain to see one")
        while b"\tmessage\t" not in follow.stdout.readline():
            pass
        follow.send_signal(signal.SIGINT)
        equal(follow.wait(COMMAND_S * SLOW), INTERRUPTED)
        follow.stdout.close()
        ann.lab.children.remove(follow)


def receiving(ann, bob):
    with case("recv prints each message once, whoever asks, and only of whom is asked for"):
        bob.ok("recv")
        for i in range(3):
            delivered(ann, "bob", f"once {i}")
        ends(UNKNOWN, bob.run("recv", "--from", "nobody"))
        equal([m["text"] for m in bob.json("recv", "--from", "ann")],
              ["once 0", "once 1", "once 2"])
        equal(bob.ok("recv").out, "")
        delivered(ann, "bob", "not written out")
        with open("/dev/full", "wb") as full:
            process = bob.popen("--no-start", "recv", stdout=full, stderr=subprocess.DEVNULL)
            equal(process.wait(COMMAND_S * SLOW), ERROR, "a full disk behind stdout")
            bob.lab.children.remove(process)
        equal([m["text"] for m in bob.json("recv")], ["not written out"], "it is not lost")
    with case("several who follow with recv -f all see everything, once"):
        followers = []
        for options in (["-f"], ["--follow", "--from", "ann"], ["-f"]):
            p = bob.popen("--no-start", "--json", "recv", *options, stdout=subprocess.PIPE)
            followers.append(p)
            until(lambda out=p.stdout: delivered(ann, "bob", "are you there?") and
                  select.select([out], [], [], 0.2)[0], "it follows")
        texts = [f"follow {i}" for i in range(20)]
        for text in texts:
            ann.api.call("send", to="bob", text=text)
        for p in followers:
            got = []
            while texts[-1] not in got:
                got.append(json.loads(p.stdout.readline())["text"])
            equal([t for t in got if t in texts], texts)
            p.send_signal(signal.SIGINT)
            equal(p.wait(COMMAND_S * SLOW), INTERRUPTED)
            p.stdout.close()
            bob.lab.children.remove(p)
        equal(bob.ok("recv").out, "", "all is printed")
    with case("a reader who missed events asks for them, a page at a time"):
        before = ann.events("message")
        start = before.welcome["newest"]
        before.close()
        for i in range(300):
            ann.api.send("send", to="bob", text=f"gap {i}")
        for i in range(300):
            check("result" in ann.api.answer())
        after = ann.events("message", "state")
        texts, n = [], start
        while n < after.welcome["newest"]:
            page = ann.api.call("events.since", n=n, limit=100)["events"]
            check(0 < len(page) <= 100 and all(e["v"] == 1 and e["n"] > n for e in page))
            n = page[-1]["n"]
            texts += [e["text"] for e in page if e["topic"] == "message"]
        equal(texts, [f"gap {i}" for i in range(300)])
        row = ann.json("send", "bob", "no gap")[0]
        check(after.wait("message", lambda e: e["id"] == row["id"])["n"] > n)
        after.close()
    with case("events of a contact: topic, number, what, name, root"):
        sub = ann.events("contact", "request", "node", "presence")
        ann.ok("contact", "rename", "bob", "robert")
        event = sub.wait("contact", lambda e: e["what"] == "changed")
        equal((event["v"], event["name"], event["root"]), (1, "robert", ann.contact("robert")["root"]))
        check(event["n"] > sub.welcome["newest"])
        ann.ok("contact", "rename", "robert", "bob")
        gail = ann.lab.node("gail").start()
        gail.ok("add", invite(ann))
        equal(sub.wait("contact", lambda e: e["what"] == "added")["name"], "gail")
        equal(sub.wait("request")["what"], "invite_used")
        gail.stop()
        event = sub.wait("presence", lambda e: e["name"] == "gail" and not e["online"])
        equal(event["v"], 1)
        sub.close()


# ---- on a terminal ----


def terminal(lab, ann, bob):
    with case("on a terminal of 40 columns nothing is wider, nothing obeyed"):
        text = "a long line of words, \u738b\u5c0f\u660e says: \x1b[31mred \u202eevil\u2066 " * 4
        delivered(bob, "ann", text)
        delivered(ann, "bob", "mine " * 20)
        for args in (["history", "bob", "-n", "4"], ["contacts"], ["status"], ["invite"]):
            code, out = Terminal(lab, ann.home, *args, columns=40).end()
            equal(code, DONE, out)
            check("\x1b[31m" not in out and "\u202e" not in out and "\x07" not in out, args)
            if args[0] == "history":
                plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
                wide = [line for line in plain.splitlines() if width(line) > 40]
                check(not wide, wide)
                check("\\x1b" in plain and "\\u202e" in plain, "it is not shown either")
    with case("NO_COLOR and TERM=dumb are honoured"):
        check("\x1b[" in Terminal(lab, ann.home, "contacts").end()[1], "no colour at all")
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            for args in (["history", "bob"], ["contacts"], ["status"], ["id", "--qr"]):
                code, out = Terminal(lab, ann.home, *args, env=env).end()
                check(code == DONE and "\x1b" not in out, env, args, out)
    with home(lab, "locked") as locked, case("a passphrase by the terminal"):
        ends(DONE, cli(lab, "--home", locked, "id"))
        key = os.path.join(locked, "key")
        before = open(key, "rb").read()
        for args in (["passphrase"], ["passphrase", "--passphrase-fd", "77"],
                     ["passphrase", "--passphrase-fd", "0"]):
            check(cli(lab, "--home", locked, *args).code in (ERROR, USAGE), args)
        code, out = (Terminal(lab, locked, "passphrase").answer("none): ", "h\u00e4user\r")
                     .answer("again: ", "other\r").end())
        check(code == ERROR and "h\u00e4user" not in out, out)
        equal(open(key, "rb").read(), before, "the key has changed")
        code, out = (Terminal(lab, locked, "passphrase").answer("none): ", "h\u00e4user\r")
                     .answer("again: ", "h\u00e4user\r").end())
        check(code == DONE and "h\u00e4user" not in out, out)
        equal(cli(lab, "--home", locked, "--json", "status").json[0]["protected"], True)
        ends(DONE, cli(lab, "--home", locked, "stop"))
        after = open(key, "rb").read()
        ends(NO_NODE, cli(lab, "--home", locked, "id"), "passphrase")
        code, out = Terminal(lab, locked, "id").answer("key: ", "wrong\r").end()
        check(code == NO_NODE and "wrong" in out.lower(), out)
        code, out = Terminal(lab, locked, "id").answer("key: ", "\x03").end()
        equal(code, INTERRUPTED, out)
        equal(open(key, "rb").read(), after, "the key has changed")
        code, out = Terminal(lab, locked, "daemon").answer("home: ", "\x03").end()
        equal(code, INTERRUPTED, out)
        code, out = Terminal(lab, locked, "id").answer("key: ", "h\u00e4user\r").end()
        check(code == DONE and "root" in out and "h\u00e4user" not in out, out)


# ---- wrong clocks ----


def clock(node, when):
    """Starts the node under this clock (libfaketime), or under the true one."""
    if node.process is not None:
        node.stop()
    node.prefix = []
    if when:
        library = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)
        if library is None:
            raise Skip("libfaketime is not installed")
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        node.prefix = ["env", f"LD_PRELOAD={library}", f"ASAN_OPTIONS={asan.lstrip(':')}",
                       "FAKETIME_DONT_FAKE_MONOTONIC=1", f"FAKETIME={when}"]
    return node.start()


def clocks(lab):
    hal, ida = lab.node("hal").start(), lab.node("ida").start()
    with case("a code expires by the inviter's clock"):
        code = invite(hal, "--expires", "1h")
        clock(hal, "+2h")
        ends(REFUSED, ida.run("add", code))
        equal([i["state"] for i in hal.json("invite", "ls")], ["expired"])
        clock(hal, None)
    with case("clocks in 2099, in 2001 and back: everything arrives, in one order"):
        pair(hal, ida)
        texts = []
        for whose, when in ((hal, "@2099-01-01 00:00:00"), (hal, None),
                            (ida, "@2001-01-01 00:00:00"), (hal, "@2099-01-01 00:00:00"),
                            (ida, None), (hal, None)):
            clock(whose, when)
            for a, b in ((hal, "ida"), (ida, "hal")):
                texts.append(f"{a.name} {len(texts)}")
                delivered(a, b, texts[-1])
        equal(hal.texts("ida"), texts)
        equal(ida.texts("hal"), texts)
    with case("met while both clocks are wrong"):
        jim = lab.node("jim")
        clock(jim, "@2099-01-01 00:00:00")
        clock(ida, "@2001-01-01 00:00:00")
        pair(jim, ida)
        delivered(jim, "ida", "from 2099")
        clock(jim, None)
        clock(ida, None)
        delivered(ida, "jim", "from now")
        delivered(jim, "ida", "from now")
        jim.stop()


def main():
    with Lab() as lab:
        helps(lab)
        global_options(lab)
        starting(lab)
        endpoints(lab)
        ann, bob = (lab.node(name).start() for name in ("ann", "bob"))
        codes(lab, ann, bob)
        names(lab, ann, bob)
        json_lines(ann, bob)
        waiting(ann, bob)
        receiving(ann, bob)
        terminal(lab, ann, bob)
        clocks(lab)
    finish()


main()
