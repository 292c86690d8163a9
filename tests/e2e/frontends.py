"""Several front ends on one node at once see the same state, and a slow, suspended or dead
one harms nobody."""
import contextlib
import json
import os
import select
import signal
import socket
import subprocess

import zmq

from harness import (Api, Lab, WAIT_S, SLOW, case, check, delivered, equal, namespaces, pair,
                     until, finish)

from frontends_follow import Follower, follows

INTERRUPTED = 130
QUERIES = 32  # of all clients, under way at once (docs/API.md)
WAITING = 4096  # requests that wait for an answer, of all clients
EVENTS_QUEUED = 32768  # for a client that does not read
CONNECTIONS = 1500  # per socket


def reading(ann, bob):
    with case("what waits goes to who asks first, what arrives to every follower"):
        for i in range(5):
            delivered(ann, "bob", f"before {i}")
        first = Follower(bob, "recv", "-f")
        first.wait(lambda lines: len(lines) >= 5, "what waits")
        equal(first.texts(), [f"before {i}" for i in range(5)])
        second = Follower(bob, "recv", "-f", "--from", "ann")
        follows(second, ann, "bob")
        texts = [f"both {i}" for i in range(50)]
        for text in texts:
            ann.api.call("send", to="bob", text=text)
        for f in (first, second):
            f.wait(lambda lines: lines[-1].get("text") == texts[-1], "the last one")
            equal([t for t in f.texts() if t.startswith("both")], texts)
        check(not any("before" in t for t in second.texts()), "printed twice")
        until(lambda: bob.api.call("recv", peek=True)["messages"] == [], "all is marked")
        for f in (first, second):
            equal(f.end(), INTERRUPTED)
        equal(bob.ok("recv").out, "", "nothing is left for a third")


def restarts(ann, bob):
    with case("followers go on after a restart and after kill -9: nothing lost or doubled"):
        n = bob.api.call("events.since", n=2 ** 62)["newest"]
        followers = [Follower(bob, "recv", "-f"), Follower(bob, "recv", "-f")]
        events = Follower(bob, "events", "--since", n)
        for f in followers:
            follows(f, ann, "bob")
        sent = []
        for how in (bob.stop, bob.kill, bob.stop):
            for i in range(10):
                sent.append(f"{how.__name__} {len(sent)}")
                ann.api.call("send", to="bob", text=sent[-1])
            how()
            for f in (*followers, events):
                f.hears("The node has ended")
            for i in range(10):  # wait for its return
                sent.append(f"away {len(sent)}")
                ann.api.call("send", to="bob", text=sent[-1])
            bob.start()
            delivered(ann, "bob", "back")
        sent.append("the end")
        delivered(ann, "bob", sent[-1])
        for f in followers:
            f.wait(lambda lines: lines[-1].get("text") == sent[-1], "the end")
            equal([t for t in f.texts() if t in set(sent)], sent)
            f.hears("runs again")
        last = bob.api.call("events.since", n=2 ** 62)["newest"]
        events.wait(lambda lines: max((e.get("n") or 0) for e in lines) >= last, "the last event")
        equal([e["n"] for e in events.lines if e.get("n")][:last - n],
              list(range(n + 1, last + 1)), "events, each once, in order")
        for f in (*followers, events):
            equal(f.end(), INTERRUPTED)
            check(f.process.returncode == INTERRUPTED)
        equal(bob.process.poll(), None)
    with case("a follower starts no node; one that ended is waited for"):
        follower = Follower(bob, "events", start=None)
        follows(follower, ann, "bob")
        bob.stop()
        follower.hears("Waiting until it runs again")
        check(bob.run("status").code == 3, "a node was started")
        equal(follower.end(), INTERRUPTED)
        bob.start()


def changes(ann, bob):
    with case("what one front end does, the others see"):
        one, other = Api(ann.status["api"]), ann.events("message", "state", "contact")
        delivered(bob, "ann", "to be read")
        other.wait("message", lambda e: e["text"] == "to be read")
        check(one.call("contacts")["contacts"][0]["unread"] > 0)
        one.call("read", name="bob")
        event = other.wait("contact")
        equal((event["what"], event["name"], event["unread"]), ("unread", "bob", 0))
        equal(one.call("contacts")["contacts"][0]["unread"], 0)
        sent = one.call("send", to="bob", text="sent by one")
        event = other.wait("message")
        equal((event["id"], event["mine"], event["text"]), (sent["id"], True, "sent by one"))
        one.call("read", name="bob")  # nothing new: nothing to tell
        for method, params, now in (
                ("contact.rename", {"new": "robert"}, {"name": "robert"}),
                ("contact.block", {}, {"blocked": True}),
                ("contact.unblock", {}, {"blocked": False}),
                ("verify", {"confirm": True}, {"verified": True}),
                ("contact.rename", {"new": "bob"}, {"name": "bob"})):
            name = one.call("contacts")["contacts"][0]["name"]
            one.call(method, name=name, **params)
            event = other.wait("contact")
            equal(event["what"], "changed", method)
            row = next(c for c in one.call("contacts")["contacts"] if c["root"] == event["root"])
            equal({k: row[k] for k in now}, now, method)
        one.close()
        other.close()


def suspended(ann, bob):
    """Subscribers that do not read lose events, see that, and get them all the same."""
    with case("a suspended front end and one that never reads catch up; others notice nothing"):
        n = ann.api.call("events.since", n=2 ** 62)["newest"]
        asleep = Follower(ann, "events", "--since", n)
        good = ann.events("message", "state")
        ann.api.call("send", to="bob", text="awake")
        asleep.wait(lambda lines: lines, "it follows")
        asleep.process.send_signal(signal.SIGSTOP)
        deaf = zmq.Context.instance().socket(zmq.SUB)
        deaf.linger, deaf.rcvhwm = 0, 1
        deaf.connect(ann.status["events"])
        for topic in ("message", "state", "contact", "request", "node", "transfer", "welcome"):
            deaf.subscribe(topic)
        start = json.loads(deaf.recv_multipart()[1])["newest"]
        count, asked, answered = 0, 0, 0
        s = zmq.Context.instance().socket(zmq.DEALER)
        s.linger, s.rcvhwm = 0, 0
        s.connect(ann.status["api"])
        last = good.welcome["newest"]
        while count < EVENTS_QUEUED + 6000 or answered < asked:
            while count < EVENTS_QUEUED + 6000 and asked - answered < 256:
                s.send_json({"id": asked, "method": "send",
                             "params": {"to": "bob", "text": f"flow {asked}"}})
                asked += 1
            check(s.poll(WAIT_S * SLOW * 1000), "no answer")
            while s.poll(0):
                s.recv()
                answered += 1
            topic, event = good.next(0)
            while topic is not None:
                if topic != "welcome":  # others subscribe, too
                    equal(event["n"], last + 1, "a reader who keeps up misses nothing")
                    count, last = count + 1, event["n"]
                topic, event = good.next(0)
        s.close()
        good.close()
        got, gap = [], None
        while deaf.poll(500):
            topic, data = deaf.recv_multipart()
            if topic != b"welcome":
                got.append(json.loads(data)["n"])
        while gap is None:
            ann.api.call("send", to="bob", text="after the gap")
            check(deaf.poll(WAIT_S * SLOW * 1000), "no event")
            before = got[-1]
            got.append(json.loads(deaf.recv_multipart()[1])["n"])
            gap = before if got[-1] > before + 1 else None
        print(f"# {len(got)} of {got[-1] - start} events came, a gap after {gap}", flush=True)
        equal(got[:gap - start], list(range(start + 1, gap + 1)))
        told = [e["n"] for e in ann.told(gap)]
        equal(told, list(range(gap + 1, gap + 1 + len(told))))
        check(told[-1] >= got[-1])
        deaf.close()
        delivered(ann, "bob", "wake up")
        asleep.process.send_signal(signal.SIGCONT)
        last = ann.api.call("events.since", n=2 ** 62)["newest"]
        asleep.wait(lambda lines: (lines[-1].get("n") or 0) >= last, "all events", timeout=120)
        equal([e["n"] for e in asleep.lines if e.get("n")], list(range(n + 1, last + 1)))
        equal(asleep.end(), INTERRUPTED)


def dealer(node):
    s = zmq.Context.instance().socket(zmq.DEALER)
    s.linger, s.rcvhwm, s.sndhwm = 0, 0, 0
    s.connect(node.status["api"])
    return s


def greedy(ann):
    """Counted, not timed: how many answers others get while one waits for its own."""
    for method, params in (("history", {"name": "bob", "limit": 256}),
                           ("recv", {"after": 0, "limit": 256}),
                           ("export", {})):
        with case(f"who asks for much by `{method}` does not keep others waiting"):
            s, good = dealer(ann), Api(ann.status["api"])
            asked, answers, worst = 3000, 0, 0
            for i in range(asked):
                s.send_json({"id": i, "method": method, "params": params})
            check(s.poll(WAIT_S * SLOW * 1000))

            def drain():
                nonlocal answers
                while s.poll(0):
                    s.recv()
                    answers += 1

            for mine in (("status", {}), ("send", {"to": "bob", "text": "beside"}),
                         ("contacts", {}), ("recv", {"peek": True, "limit": 1})) * 3:
                drain()
                before = answers
                good.send(mine[0], **mine[1])
                while not good.socket.poll(0):
                    check(s.poll(WAIT_S * SLOW * 1000), "no answers")
                    drain()
                check("result" in good.answer())
                worst = max(worst, answers - before)
            check(answers < asked, "the flood was over too soon")
            print(f"# at most {worst} of {answers} answers to the other meanwhile", flush=True)
            check(worst <= 4 * QUERIES, "answers to the other meanwhile:", worst)
            s.close()
            good.close()


def dying(ann):
    with case("clients that end in the middle of requests leave nothing behind"):
        for _ in range(3 * WAITING // 100):
            s = dealer(ann)
            for i in range(100):
                s.send_json({"id": i, "method": "history", "params": {"name": "bob", "limit": 9}})
            s.send(b'{"id":1,"method":"sta', zmq.SNDMORE)  # the rest never comes
            s.close()
        ann.alive()
        for _ in range(5):
            process = ann.popen("--no-start", "export", stdout=subprocess.PIPE)
            select.select([process.stdout], [], [], WAIT_S)
            process.kill()
            process.wait()
            process.stdout.close()
            ann.lab.children.remove(process)
        delivered(ann, "bob", "after the dead")
    with case(f"{2 * CONNECTIONS} connections to the sockets"):
        fds = len(os.listdir(f"/proc/{ann.process.pid}/fd"))
        held = []
        with contextlib.ExitStack() as stack:
            for i in range(CONNECTIONS):
                for endpoint in (ann.status["api"], ann.status["events"]):
                    raw = stack.enter_context(socket.socket(socket.AF_UNIX))
                    raw.connect(endpoint.removeprefix("ipc://"))
                    if i % 2 == 0:
                        with contextlib.suppress(OSError):
                            raw.send(b"\xff" + bytes(8) + b"\x7f")
                    held.append(raw)
            delivered(ann, "bob", "beside so many")
            ann.alive()
        until(lambda: len(os.listdir(f"/proc/{ann.process.pid}/fd")) <= fds + 20,
              "descriptors are given back")
        ann.alive()


def main():
    namespaces("frontends")
    with Lab() as lab:
        ann, bob = lab.node("ann").start(), lab.node("bob").start()
        pair(ann, bob)
        reading(ann, bob)
        restarts(ann, bob)
        changes(ann, bob)
        suspended(ann, bob)
        greedy(ann)
        dying(ann)
    finish()


main()
