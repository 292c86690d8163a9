"""^C of commands at moments that a real node does not hold: whoever is asked here is a node of
the test's own, which sends the signal before it answers."""
import os
import signal
import threading

import zmq

from files_share import Command
from harness import Lab, case, check, equal, finish

PARTIAL, INTERRUPTED = 8, 130
NUMBER = 7


class Stub:
    """Answers the requests of one command as a node does that has offered a file to bob.
    `at` is called with each request's method, and "follow" for a subscription, before that is
    answered; an answer is left out when it returns False."""

    def __init__(self, home, at):
        run = os.path.join(home, "run")
        os.makedirs(run, mode=0o700, exist_ok=True)
        context = zmq.Context.instance()
        self.at, self.asked = at, []
        self.api, self.events = context.socket(zmq.ROUTER), context.socket(zmq.XPUB)
        self.stop, self.stopped = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        for s in (self.api, self.events):
            s.linger = 0
        self.api.bind(f"ipc://{run}/api")
        self.events.bind(f"ipc://{run}/events")
        self.stop.bind("inproc://stop")
        self.stopped.connect("inproc://stop")
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.send(b"")
        self.thread.join()
        for s in (self.api, self.events, self.stop, self.stopped):
            s.close()

    @staticmethod
    def transfer():
        return {"v": 1, "n": NUMBER, "id": "00" * 16, "conversation": "bob", "from": "ann",
                "mine": True, "name": "x", "kind": "file", "size": 1, "state": "offered",
                "done": 0, "percent": 0}

    def result(self, method, params):
        if method == "send":
            return {"v": 1, "messages": [{"v": 1, "id": "00" * 16, "kind": "file", "state": "queued",
                                          "conversation": "bob", "file": self.transfer()}]}
        if method == "contacts":
            return {"v": 1, "contacts": [{"name": "bob", "online": True, "linked": True,
                                          "verified": True}]}
        equal(params.get("n"), NUMBER, method)
        return self.transfer()

    def serve(self):
        poller = zmq.Poller()
        for s in (self.api, self.events, self.stopped):
            poller.register(s, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self.stopped in ready:
                return
            if self.events in ready:
                topic = self.events.recv()
                if topic == b"\x01welcome" and self.asks("follow"):
                    self.events.send_multipart([b"welcome", b'{"v":1,"newest":0,"row":0}'])
            if self.api in ready:
                who, *_, data = self.api.recv_multipart()
                request = zmq.utils.jsonapi.loads(data)
                if self.asks(request["method"]):
                    answer = {"id": request["id"],
                              "result": self.result(request["method"], request["params"])}
                    self.api.send_multipart([who, zmq.utils.jsonapi.dumps(answer)])

    def asks(self, method):
        self.asked.append(method)
        return self.at(method, self.asked) is not False


def interrupted(lab, at, *args):
    """`linnet send bob -f FILE`, which gets ^C when at(method, asked) says so."""
    node = lab.node("ann")
    path = os.path.join(lab.dir, "x")
    with open(path, "w", encoding="ascii") as f:
        f.write("x")
    started, command = threading.Event(), []

    def signals(method, asked):
        started.wait()
        what = at(method, asked)
        if what is not None:
            command[0].process.send_signal(signal.SIGINT)
        return what

    with Stub(node.home, signals):
        command.append(Command(node, "send", "bob", "-f", path, *args))
        started.set()
        return command[0].end()


def main():
    with Lab() as lab:
        with case("^C as soon as it is offered: says so, how to take it back, exit 8"):
            # The first thing that the command does after the answer to `send`.
            def offered(_, asked):
                return True if "send" in asked[:-1] and asked[-2] == "send" else None

            for wait in ((), ("--wait", "delivered")):
                end = interrupted(lab, offered, *wait)
                equal(end.code, PARTIAL, end.err)
                check(f"linnet transfers cancel {NUMBER}" in end.err, end.err)
        with case("^C while the node looks at it: says that it may be offered, exit 130"):
            end = interrupted(lab, lambda method, _: False if method == "send" else None)
            equal(end.code, INTERRUPTED, end.err)
            check("linnet transfers" in end.err, end.err)
    finish()


main()
