"""Two fresh homes on lo: from nothing to a conversation, and what bad input gets."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import zmq

from harness import (DONE, ERROR, HERE, IDENTITY, LINNET, NOBODY, NO_NODE, REFUSED, TIMEOUT,
                     UNKNOWN, USAGE, Api, ApiError, Lab, Skip, case, check, delivered, equal,
                     exactly_once, finish, free_port, invite, pair, until)

HEX = re.compile(r"^[0-9a-f]+$")
MESSAGE = {"v", "id", "conversation", "from", "device", "time_ms", "kind", "text", "reply_to",
           "state", "mine"}
CONTACT = {"v", "name", "root", "online", "verified", "blocked", "conflict", "unread"}


def has(row, fields):
    check(fields <= set(row), "missing:", fields - set(row), row)
    equal(row["v"], 1, "version of the format")


def homes(ann):
    with case("a fresh home asks nothing and says that the key is unprotected"):
        status = ann.json("status")[0]
        has(status, {"v", "running", "api", "events", "protected", "pid", "port", "root"})
        equal((status["running"], status["protected"]), (True, False))
        equal(status["pid"], ann.process.pid)
        check("NOT" in ann.ok("status").out or "not" in ann.ok("status").out)
        equal(os.stat(ann.home).st_mode & 0o77, 0, "others' rights in the home")
        equal(os.stat(os.path.join(ann.home, "key")).st_mode & 0o777, 0o600)
    with case("id"):
        row = ann.json("id")[0]
        has(row, {"v", "name", "root", "device"})
        equal((row["name"], len(row["root"])), ("ann", 64))
        check(HEX.match(row["root"]) and row["root"] in ann.ok("id").out)
    with case("without a node a command ends with 3"):
        nobody = ann.lab.node("nobody")
        for command in (["contacts"], ["send", "x", "y"], ["stop"], ["id"]):
            nobody.fails(NO_NODE, *command)


def meeting(ann, bob):
    with case("a code is one line of letters and digits"):
        code = invite(ann)
        check(re.fullmatch(r"linnet1[02-9ac-hj-np-z]{50,193}", code), code)
    with case("two pair"):
        pair(ann, bob)
        for node, other in ((ann, bob), (bob, ann)):
            row = until(lambda n=node, o=other: next(
                (c for c in n.json("contacts") if c["name"] == o.name and c["online"]), None),
                "online")
            has(row, CONTACT)
            equal((row["verified"], row["blocked"], row["conflict"]), (False, False, False))
            check(other.name in node.ok("contacts").out)
    with case("the safety number is the same at both ends"):
        a, b = ann.json("verify", "bob")[0], bob.json("verify", "ann")[0]
        equal(a["number"], b["number"])
        equal(len(a["number"].replace(" ", "")), 60)
        equal(a["verified"], False)
        check(a["number"] in " ".join(ann.ok("verify", "bob").out.split()))
        equal(ann.json("verify", "bob", "--yes")[0]["verified"], True)
        check(ann.contact("bob")["verified"] and not bob.contact("ann")["verified"])
    with case("invites are listed and revoked"):
        n = ann.json("invite")[0]["n"]
        rows = {r["n"]: r["state"] for r in ann.json("invite", "ls")}
        equal(rows[n], "open")
        check("used" in rows.values(), rows)
        ann.ok("invite", "revoke", n)
        rows = {r["n"]: r["state"] for r in ann.json("invite", "ls")}
        equal(rows[n], "revoked")


def talking(ann, bob):
    with case("a message is delivered, received once, and read"):
        row = ann.json("send", "bob", "hello bob", "--wait", "delivered")[0]
        has(row, MESSAGE)
        equal((row["text"], row["state"], row["mine"], row["from"], row["conversation"]),
              ("hello bob", "delivered", True, "ann", "bob"))
        check(len(row["id"]) == 32 and HEX.match(row["id"]))
        got = bob.json("recv")
        equal([(m["text"], m["from"], m["mine"]) for m in got], [("hello bob", "ann", False)])
        has(got[0], MESSAGE)
        equal(got[0]["id"], row["id"])
        equal(bob.ok("recv").out, "", "a second recv")
        equal(ann.export("bob")[-1]["state"], "delivered")
        equal(bob.contact("ann")["unread"], 1, "recv does not move the read mark")
        bob.ok("read", "ann")
        equal(bob.contact("ann")["unread"], 0)
        until(lambda: ann.export("bob")[-1]["state"] == "read", "read at the author's")
    with case("--wait read ends when it is read"):
        waiting = ann.popen("--no-start", "send", "bob", "do you read?", "--wait", "read",
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: "do you read?" in bob.texts("ann"), "arrives")
        equal(waiting.poll(), None)
        bob.ok("read", "ann")
        equal(waiting.wait(30), DONE)
        ann.lab.children.remove(waiting)
        ann.fails(TIMEOUT, "send", "bob", "and this?", "--wait", "read", "--timeout", "1s")
    with case("a reply, standard input, every kind of character"):
        parent = ann.export("bob")[0]["id"]
        row = bob.json("send", "ann", "to your first", "--reply", parent[:8])[0]
        equal(row["reply_to"], parent)
        text = "one\ntwo\tthree \u2713 \U0001f426 \u4f60\u597d"
        bob.ok("send", "ann", "-", "--wait", "delivered", stdin=text)
        equal(ann.texts("bob")[-2:], ["to your first", text])
        last = ann.ok("history", "bob", "-n", "1").lines
        equal(len(last), 1, "one message a line")
        check("one\\ntwo" in last[0], last)
    with case("what is shown is not obeyed"):
        text = "\x1b[31mred\x07 \u202eevil\u2066"
        bob.ok("send", "ann", "-", "--wait", "delivered", stdin=text)
        for command in (["history", "bob"], ["recv"], ["export", "bob", "--format", "md"]):
            out = ann.ok(*command).out
            check("\x1b" not in out and "\x07" not in out and "\u202e" not in out, command)
        equal(ann.texts("bob")[-1], text, "the text itself is kept")
    with case("32 KiB of text, and not a byte more"):
        text = "x" * 32768
        bob.ok("send", "ann", "-", "--wait", "delivered", stdin=text)
        equal(ann.texts("bob")[-1], text)
        bob.fails(USAGE, "send", "ann", "-", stdin=text + "x")
    with case("history, since, -n and export agree at both ends"):
        a, b = ann.export("bob"), bob.export("ann")
        equal([m["id"] for m in a], [m["id"] for m in b])
        equal([m["text"] for m in a], [m["text"] for m in b])
        for m in a:
            has(m, MESSAGE)
        equal([m["id"] for m in ann.json("history", "bob", "-n", "3")],
              [m["id"] for m in a[-3:]])
        equal(len(ann.ok("history", "bob", "-n", "3").lines), 3)
        check(ann.ok("export", "bob", "--format", "md").out.count("hello bob") == 1)
        equal(ann.ok("history", "bob", "--since", "0m").out, "")
    with case("recv -f prints what arrives"):
        bob.ok("recv")
        follow = bob.popen("--no-start", "--json", "recv", "-f", "--from", "ann",
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for i in range(3):
            delivered(ann, "bob", f"live {i}")
        rows = [json.loads(follow.stdout.readline()) for _ in range(3)]
        equal([r["text"] for r in rows], ["live 0", "live 1", "live 2"])
        follow.send_signal(signal.SIGINT)
        check(follow.wait(20) in (0, 130), follow.returncode)
        follow.stdout.close()
        bob.lab.children.remove(follow)
    with case("who is offline gets it later"):
        bob.stop()
        until(lambda: not ann.contact("bob")["online"], "offline is seen")
        ann.fails(NOBODY, "send", "bob", "while you were away", "--wait", "delivered",
                  "--timeout", "1s")
        check(ann.export("bob")[-1]["state"] in ("queued", "sent"), ann.export("bob")[-1])
        bob.start()
        until(lambda: "while you were away" in bob.texts("ann"), "arrives")
        until(lambda: ann.export("bob")[-1]["state"] == "delivered", "says so")


def since(node, n):
    """What `linnet events --since N` prints before it waits for more."""
    newest = node.json("status")[0]["newest"]
    process = node.popen("--no-start", "--json", "events", "--since", n,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    rows = []
    while not rows or rows[-1].get("n") is None or rows[-1]["n"] < newest:
        rows.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    check(process.wait(20) in (0, 130), process.returncode)
    process.stdout.close()
    node.lab.children.remove(process)
    return rows


def events(ann, bob):
    with case("events are told once, and numbered"):
        sub = ann.events("message", "state", "contact")
        row = ann.json("send", "bob", "an event")[0]
        message = sub.wait("message", lambda e: e["id"] == row["id"])
        has(message, MESSAGE | {"n"})
        check(message["n"] > sub.welcome["newest"], message, sub.welcome)
        sub.wait("state", lambda e: e["id"] == row["id"] and e["state"] == "delivered")
        sub.close()
        rows = since(ann, sub.welcome["newest"])
        numbers = [e["n"] for e in rows if e.get("n") is not None]
        equal(numbers, sorted(set(numbers)), "numbers grow")
        check(message["n"] in numbers)
        check(message["id"] in [e["id"] for e in rows if e["topic"] == "message"])
        told = [e["n"] for e in ann.told(sub.welcome["newest"])]
        equal(told[:len(numbers)], numbers, "the API's")
    with case("presence comes and goes"):
        sub = ann.events("presence")
        bob.stop()
        sub.wait("presence", lambda e: e["name"] == "bob" and not e["online"])
        bob.start()
        sub.wait("presence", lambda e: e["name"] == "bob" and e["online"])
        sub.close()


def refusals(ann, bob, carol):
    with case("a mistyped code ends with 2"):
        code = invite(ann)
        for i in (0, 7, len(code) // 2, len(code) - 1):
            wrong = code[:i] + ("q" if code[i] != "q" else "p") + code[i + 1:]
            carol.fails(USAGE, "add", wrong)
        carol.fails(USAGE, "add", code[:-1])
        carol.fails(USAGE, "add", "nonsense")
        carol.fails(USAGE, "add", "-", stdin="")
    with case("one's own code does not work"):
        check(ann.run("add", code).code in (ERROR, USAGE))
    with case("a code with blanks around it, and in capitals, works"):
        equal(carol.ok("add", "-", stdin=f"  {code.upper()} \n").lines, ["ann"])
        check(ann.contact("carol"))
    with case("a code that was used ends with 7, and so does a revoked one"):
        bob.fails(REFUSED, "add", code)
        row = ann.json("invite")[0]
        ann.ok("invite", "revoke", row["n"])
        carol.fails(REFUSED, "add", row["code"])
    with case("an expired code ends with 7"):
        code = invite(ann, "--expires", "1s")
        time.sleep(1.2)  # the clock is what is tested
        bob.fails(REFUSED, "add", code)
    with case("nobody there ends with 6, and it goes on trying"):
        code = invite(ann)
        ann.stop()
        dave = ann.lab.node("dave").start()
        dave.fails(NOBODY, "add", code, timeout=60)
        ann.start()
        until(lambda: dave.contact("ann"), "pairs later")
        until(lambda: ann.contact("dave"), "at both ends")
        delivered(dave, "ann", "found you after all")
        dave.stop()
    with case("unknown names end with 4"):
        for command in (["send", "nobody", "x"], ["history", "nobody"], ["read", "nobody"],
                        ["verify", "nobody"], ["contact", "block", "nobody"],
                        ["contact", "rename", "nobody", "x"], ["export", "nobody"],
                        ["recv", "--from", "nobody"]):
            ann.fails(UNKNOWN, *command)
        check("bob" in ann.fails(UNKNOWN, "send", "bobb", "x").err, "no name is proposed")
    with case("the first digits of a root are a name, too"):
        root = ann.contact("bob")["root"]
        ann.ok("send", root[:8], "by your root", "--wait", "delivered")
        ann.fails(UNKNOWN, "send", root[:7], "x")
    with case("text that is empty or not UTF-8 ends with 2"):
        ann.fails(USAGE, "send", "bob", "")
        ann.fails(USAGE, "send", "bob", "-", stdin=b"")
        ann.fails(USAGE, "send", "bob", b"\xff\xfe")
        ann.fails(USAGE, "send", "bob", "-", stdin=b"caf\xe9")
        ann.fails(USAGE, "send", "bob", "-", stdin=b"\xed\xa0\x80")
        ann.fails(USAGE, "send", "bob", "-", stdin=b"a\0b")
        ann.fails(USAGE, "send", "bob")
    with case("names of one's own are checked"):
        ann.fails(USAGE, "contact", "rename", "bob", "")
        ann.fails(USAGE, "contact", "rename", "bob", "a\nb")
        check(ann.run("contact", "rename", "bob", "carol").code in (ERROR, USAGE))
        ann.ok("contact", "rename", "bob", "Robert")
        check(ann.contact("Robert"))
        ann.ok("contact", "rename", "Robert", "bob")
    with case("usage: unknown commands and options end with 2, --help with 0"):
        ann.fails(USAGE, "sned", "bob", "x")
        ann.fails(USAGE, "send", "bob", "x", "--wiat", "read")
        ann.fails(USAGE, "send", "bob", "x", "--wait", "never")
        ann.fails(USAGE, "invite", "--expires", "soon")
        ann.fails(USAGE, "invite", "revoke", "x")
        for command in ("send", "add", "invite", "daemon", "recv", "export"):
            check(ann.ok(command, "--help").out.count("linnet") > 0)
    with case("what is not there yet says so, and ends with 1"):
        for command in (["chat"], ["group", "create", "x"], ["hook", "ls"],
                        ["backup", "create", "x"], ["doctor"]):
            ann.fails(ERROR, *command)


def people(ann, bob):
    with case("a blocked contact is cut off, until unblocked"):
        delivered(bob, "ann", "before")
        ann.ok("contact", "block", "bob")
        check(ann.contact("bob")["blocked"])
        before = ann.texts("bob")
        bob.run("send", "ann", "while blocked", "--wait", "delivered", "--timeout", "2s")
        equal(ann.texts("bob"), before)
        check(ann.run("send", "bob", "x").code != DONE, "one writes to a blocked contact")
        ann.ok("contact", "unblock", "bob")
        until(lambda: "while blocked" in ann.texts("bob"), "arrives later")
        delivered(ann, "bob", "welcome back")
    with case("a second ann is told apart, and both are marked"):
        other = bob.lab.node("ann").start()
        code = invite(other)
        equal(bob.ok("add", code).lines, ["ann-2"])
        check(bob.contact("ann")["conflict"] and bob.contact("ann-2")["conflict"])
        bob.fails(IDENTITY, "send", "ann", "who are you?")
        bob.ok("verify", "ann", "--yes")
        delivered(bob, "ann", "it is you")
        bob.fails(IDENTITY, "send", "ann-2", "and you?")
        code = invite(other)
        equal(bob.ok("add", code, "--as", "annie").lines, ["annie"])
        delivered(bob, "annie", "so you are annie")
        other.stop()
    with case("removed, and met again: the conversation is kept"):
        before = bob.texts("ann")
        bob.ok("contact", "remove", "ann")
        bob.fails(UNKNOWN, "send", "ann", "x")
        equal(bob.ok("add", invite(ann)).lines, ["ann"])
        # annie calls herself ann, too: which one is meant has to be said again.
        bob.fails(IDENTITY, "send", "ann", "x")
        bob.ok("verify", "ann", "--yes")
        delivered(bob, "ann", "here again")
        delivered(ann, "bob", "so I see")
        equal(bob.texts("ann"), [*before, "here again", "so I see"])


def homes_and_ports(ann, bob):
    with case("a second node on the same home is refused"):
        twin = ann.lab.node("ann", home=ann.home)
        twin.refuses()
        ann.alive()
    with case("a port that is taken: an error when asked for, else another one"):
        check(ann.status["port"] != bob.status["port"])
        taken, port = free_port()
        taken.listen()
        eve = ann.lab.node("eve")
        check(str(port) in eve.refuses("--port", port))
        taken.close()
        eve.start("--port", port)
        equal(eve.status["port"], port)
        eve.stop()
        eve.refuses("--port", 99999)


def hostile(ann):
    with case("garbage on the API gets an error, and nothing else happens"):
        api = Api(ann.status["api"])
        for frames in ([b""], [b"\xff\xfe\x00"], [b"{"], [b"[]"], [b"null"], [b"7"],
                       [b'{"id":1}'], [b'{"id":1,"method":7}'], [b'{"method":"send"}'],
                       [b'{"id":1,"method":"send","params":[]}'],
                       [b'{"id":1,"method":"no.such"}'], [b'"' * 1000], [b"[" * 100000],
                       [b'{"id":{},"method":"id"}'], [b"", b"", b""], [b"a", b"b", b"c"],
                       [b'{"id":1,"method":"send","params":{"to":"bob","text":7}}']):
            api.socket.send_multipart(frames)
        answers = 0
        while api.socket.poll(1000 if answers >= 12 else 20000):
            answer = json.loads(api.socket.recv_multipart()[-1])
            check("error" in answer, answer)
            check(isinstance(answer["error"]["code"], int), answer)
            answers += 1
        check(answers >= 12, answers, "answers")
        equal(api.call("id")["name"], "ann", "the same client afterwards")
        api.close()
        # One that is too long costs the client its connection, with what is under way.
        api = Api(ann.status["api"])
        api.socket.send(b'{"id":1,"method":"status"}' + b" " * 300000)
        api.close()
        ann.alive()
    with case("methods refuse wrong parameters"):
        for method, params in (("send", {}), ("send", {"to": "bob"}),
                               ("history", {"name": "bob", "limit": -1}),
                               ("history", {"name": "bob", "limit": "x"}),
                               ("add", {"code": 1}), ("events.since", {"n": "x"}),
                               ("recv", {"limit": 1e99}), ("invite", {"expires_s": -5}),
                               ("invite", {"addr": ["nonsense"]}),
                               ("config.set", {"key": "no-such", "value": "x"})):
            try:
                ann.api.call(method, **params)
            except ApiError as e:
                check(e.code in (USAGE, UNKNOWN), method, params, e)
            else:
                raise AssertionError(f"{method} takes {params}")
    with case("a client that floods, and one that never reads, harm nobody"):
        flood = zmq.Context.instance().socket(zmq.DEALER)
        flood.linger, flood.sndhwm, flood.rcvhwm = 0, 100000, 1
        flood.connect(ann.status["api"])
        deaf = zmq.Context.instance().socket(zmq.SUB)
        deaf.linger, deaf.rcvhwm = 0, 1
        deaf.connect(ann.status["events"])
        deaf.subscribe("")
        for i in range(30000):
            flood.send_json({"id": i, "method": "contacts"})
        start = time.monotonic()
        delivered(ann, "bob", "past the flood", timeout=60)
        check(time.monotonic() - start < 60)
        for i in range(2000):
            ann.api.send("send", to="bob", text=f"flood {i}")
        for i in range(2000):
            check("result" in ann.api.answer())
        flood.close()
        deaf.close()
        ann.alive()
    with case("half-open connections do not keep a contact out"):
        address = ("127.0.0.1", ann.status["port"])
        crowd = []
        for _ in range(400):
            try:
                crowd.append(socket.create_connection(address, timeout=5))
            except OSError:
                break
        check(len(crowd) > 100, len(crowd))
        bob = next(n for n in ann.lab.nodes if n.name == "bob")
        bob.kill()
        bob.start()
        delivered(bob, "ann", "through the crowd", timeout=60)
        for s in crowd:
            s.close()
    with case("a prober gets no byte back"):
        for data in (b"", b"\0" * 192, os.urandom(192), b"GET / HTTP/1.0\r\n\r\n" * 20):
            with socket.create_connection(address, timeout=20) as s:
                s.sendall(data)
                try:
                    equal(s.recv(1), b"", "for", data[:20])
                except (ConnectionResetError, socket.timeout):
                    pass
        ann.alive()


def bot(ann, bob):
    with case("an echo bot of thirty lines answers"):
        path = os.path.join(HERE, "echo_bot.py")
        with open(path, encoding="utf-8") as f:
            check(len(f.readlines()) <= 30)
        bob.ok("recv")
        delivered(ann, "bob", "waiting for the bot")
        process = subprocess.Popen([sys.executable, path, bob.home], stdout=subprocess.DEVNULL,
                                   env={**bob.lab.env, "LINNET": LINNET})
        bob.lab.children.append(process)
        sub = ann.events("message")
        texts = [f"echo {i}" for i in range(50)]
        for text in texts:
            ann.api.call("send", to="bob", text=text)
        for text in ["waiting for the bot", *texts]:
            equal(sub.wait("message", lambda e: not e["mine"])["text"], text)
        sub.close()
        process.kill()
        process.wait()
        bob.lab.children.remove(process)


def main():
    with Lab() as lab:
        ann, bob, carol = (lab.node(name).start() for name in ("ann", "bob", "carol"))
        homes(ann)
        meeting(ann, bob)
        talking(ann, bob)
        events(ann, bob)
        refusals(ann, bob, carol)
        people(ann, bob)
        homes_and_ports(ann, bob)
        bot(ann, bob)
        hostile(ann)
        with case("a clock set back or to 2099"):
            raise Skip("covered by the simulation: the machine's clock is not ours to set")
        with case("after all that both histories agree"):
            until(lambda: ann.texts("bob") == bob.texts("ann"), "they agree")
            texts = [t for t in ann.texts("bob") if t.startswith("flood ")]
            exactly_once(bob, "ann", [f"flood {i}" for i in range(2000)])
            equal(len(texts), 2000)
        with case("stop ends a node with 0 and leaves no sockets"):
            for node in (ann, bob, carol):
                node.stop()
                for endpoint in (node.status["api"], node.status["events"]):
                    check(not os.path.exists(endpoint.removeprefix("ipc://")), endpoint)
    finish()


main()
