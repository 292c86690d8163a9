"""Nodes that are killed in the middle of bursts, and homes set back to an old copy:
everything that was acknowledged is there once and in order at both ends."""
import os
import random
import shutil
import subprocess

from harness import (Lab, case, check, delivered, equal, exactly_once, finish, pair, until)

BURST = 300


class Burst:
    """Sends texts through the API without waiting, and knows which were acknowledged."""

    def __init__(self, node, to, label, count=BURST):
        self.node, self.acked = node, []
        self.wanted = {node.api.send("send", to=to, text=f"{label} {i}"): f"{label} {i}"
                       for i in range(count)}

    def collect(self, least):
        """Answers, until at least so many were acknowledged."""
        while len(self.acked) < least:
            answer = self.node.api.answer()
            check("result" in answer, answer)
            self.acked.append(self.wanted.pop(answer["id"]))
        return self

    def rest(self):
        """What was answered before the node died."""
        while self.wanted and self.node.api.socket.poll(200):
            answer = self.node.api.socket.recv_json()
            if "result" in answer:
                self.acked.append(self.wanted.pop(answer["id"]))
        return self.acked


def settle(a, b):
    """Both have said all, and tell the same story: each text once."""

    def agree():
        left, right = a.export(b.name), b.export(a.name)
        return left and [m["id"] for m in left] == [m["id"] for m in right] and (
            all(m["state"] in ("delivered", "read") for m in left + right if m["mine"]))

    until(agree, f"{a.name} and {b.name} agree", timeout=60)
    texts = a.texts(b.name)
    equal(texts, b.texts(a.name))
    equal(len(texts), len(set(texts)), "each once")
    return texts


def kills(ann, bob, rng):
    for turn in range(3):
        with case(f"the author is killed in a burst ({turn})"):
            burst = Burst(ann, "bob", f"author {turn}").collect(rng.randrange(1, BURST))
            ann.kill()
            acked = burst.rest()
            ann.start()
            settle(ann, bob)
            exactly_once(bob, "ann", acked, "acknowledged")
        with case(f"the receiver is killed in a burst ({turn})"):
            burst = Burst(ann, "bob", f"receiver {turn}").collect(rng.randrange(1, BURST))
            bob.kill()
            burst.collect(BURST)
            bob.start()
            settle(ann, bob)
            exactly_once(bob, "ann", burst.acked)
        with case(f"both talk, both are killed ({turn})"):
            one = Burst(ann, "bob", f"one {turn}")
            two = Burst(bob, "ann", f"two {turn}")
            one.collect(rng.randrange(1, BURST))
            two.collect(rng.randrange(1, BURST))
            for node in rng.sample([ann, bob], 2):
                node.kill()
            said = [one.rest(), two.rest()]
            bob.start()
            ann.start()
            settle(ann, bob)
            for texts in said:
                exactly_once(ann, "bob", texts)
                exactly_once(bob, "ann", texts)


def often(ann, bob, rng):
    with case("a node that is killed again and again loses and doubles nothing"):
        said = []
        for i in range(8):
            said.append(f"again {i}")
            ann.ok("send", "bob", said[-1])
            victim = rng.choice([ann, bob])
            victim.kill()
            victim.spawn()
            victim.ready()
        settle(ann, bob)
        exactly_once(bob, "ann", said)


def pairing(lab, rng):
    with case("either end is killed while they pair: it still comes about"):
        for i in range(4):
            ann = lab.node("ann").start()
            bob = lab.node("bob").start()
            code = ann.ok("invite").lines[0]
            adding = bob.popen("--no-start", "add", code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            victim = (ann, bob)[i % 2]
            until(lambda n=victim: rng.random() < 0.2 or n.json("contacts"), "a moment",
                  timeout=20)
            victim.kill()
            victim.start()
            adding.kill()
            adding.wait()
            lab.children.remove(adding)
            bob.run("add", code)  # again, by hand: the command may have died too early
            until(lambda a=ann, b=bob: a.contact("bob") and b.contact("ann"), "they pair")
            delivered(ann, "bob", "it worked")
            delivered(bob, "ann", "so it did")
            ann.stop()
            bob.stop()


def copy(node, to):
    """The home as a backup has it; the node is not running."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(node.home, to, ignore=shutil.ignore_patterns("run", "lock"))


def set_back(node, old):
    node.kill()
    shutil.rmtree(node.home)
    shutil.copytree(old, node.home)
    node.start()


def backups(lab, ann, bob):
    for node, other in ((bob, ann), (ann, bob)):
        with case(f"{node.name}'s home is set back to an old copy"):
            old = os.path.join(lab.dir, f"old-{node.name}")
            node.stop()
            copy(node, old)
            node.start()
            label = f"after {node.name}'s copy"
            for i in range(10):
                delivered(node, other.name, f"{label} {i}")
                delivered(other, node.name, f"{label}, answer {i}")
            set_back(node, old)
            # It writes on before it has met anybody who knows better, and after.
            node.ok("send", other.name, f"{label}, written at once")
            other.ok("send", node.name, f"{label}, the other at once")
            delivered(other, node.name, f"{label}, the other later", timeout=60)
            delivered(node, other.name, f"{label}, written later", timeout=60)
            texts = settle(node, other)
            for i in range(10):
                equal(texts.count(f"{label} {i}"), 1)
                equal(texts.count(f"{label}, answer {i}"), 1)
            for what in ("written at once", "the other at once", "written later",
                         "the other later"):
                equal(texts.count(f"{label}, {what}"), 1)
    with case("a home that was set back is told, and goes on after a restart"):
        kinds = [e.get("what") for e in ann.told()]
        check("restored" in kinds, kinds[-20:])
        for node in (ann, bob):
            node.kill()
            node.start()
        delivered(ann, "bob", "still here")
        delivered(bob, "ann", "me too")
        settle(ann, bob)


def main():
    seed = int(os.environ.get("LINNET_E2E_SEED", random.randrange(1 << 32)))
    print(f"# seed {seed} (LINNET_E2E_SEED repeats it)", flush=True)
    rng = random.Random(seed)
    with Lab() as lab:
        ann, bob = lab.node("ann").start(), lab.node("bob").start()
        with case("they pair"):
            pair(ann, bob)
        kills(ann, bob, rng)
        often(ann, bob, rng)
        backups(lab, ann, bob)
        pairing(lab, rng)
    finish()


main()
