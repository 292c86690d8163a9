"""A changed identity: somebody began anew, or pretends to be somebody. Every front end says
so, nothing is sent to the name, and each way out of it works."""
import os

from harness import (IDENTITY, UNKNOWN, Lab, case, check, delivered, equal, finish, invite,
                     namespaces, pair, until)

from frontends_follow import Follower, follows


def again(lab, old):
    """Somebody of the same name and nothing else of the old one."""
    return lab.node(old.name).start()


def settled(ann, *names):
    for name in names:
        equal(ann.contact(name)["conflict"], False, name)
        equal(ann.contact(name)["rival"], None, name)


def forget(ann, *names):
    for name in names:
        if ann.contact(name):
            ann.ok("contact", "remove", name)


def loud(lab, ann, bob):
    """A new root under a known name, while messages wait for the old one."""
    with case("a new identity under a known name is told at every front end"):
        text = Follower(ann, "recv", "-f", json_lines=False)
        lines = Follower(ann, "recv", "-f")
        for f in (text, lines):
            follows(f, bob, "ann")
        events = ann.events("contact")
        start = events.welcome["newest"]
        bob.stop()
        for i in range(3):
            ann.ok("send", "bob", f"for the old one {i}")
        new = again(lab, bob)
        added = ann.run("add", invite(new))
        equal((added.code, added.lines), (0, ["bob-2"]))
        check("linnet verify bob-2" in added.err and "remove" in added.err, added)
        told = [events.wait("contact", lambda e: e["what"] == "conflict") for _ in range(2)]
        equal([(e["name"], e["other"]) for e in told], [("bob", "bob-2"), ("bob-2", None)])
        check(told[0]["root"] != told[1]["root"])
        equal([e["n"] for e in ann.told(start) if e.get("what") == "conflict"],
              [e["n"] for e in told], "they are durable")
        events.close()
        text.hears("bob and bob-2 claim the same name")
        lines.wait(lambda v: any(e.get("what") == "conflict" for e in v), "a line of JSON")
        for f in (text, lines):
            f.end()
        for name, rival in (("bob", "bob-2"), ("bob-2", "bob")):
            row = ann.contact(name)
            equal((row["conflict"], row["rival"]), (True, rival))
            sent = ann.fails(IDENTITY, "send", name, "who are you?")
            check("bob and bob-2" in sent.err and f"verify {name}" in sent.err, sent)
            check("claim the same name" in ann.ok("history", name).err)
            check("conflict" in ann.ok("verify", name).err or
                  "another identity" in ann.ok("verify", name).err)
        check(ann.ok("contacts").out.count("conflict") == 2)
        check("careful" in ann.ok("status").out)
        equal(ann.json("status")[0]["conflicts"], 2)
    with case("it is still so after a restart"):
        ann.stop()
        ann.start()
        ann.fails(IDENTITY, "send", "bob", "x")
        ann.fails(IDENTITY, "send", "bob-2", "x")
    with case("what was queued goes to the old identity, and to no other"):
        delivered(new, "ann", "I have nothing of yours")
        bob.start()
        until(lambda: "for the old one 2" in bob.texts("ann"), "the old one gets it")
        equal([t for t in bob.texts("ann") if "for the" in t],
              [f"for the old one {i}" for i in range(3)])
        check(not any("for the" in t for t in new.texts("ann")), "the new one got it")
        delivered(bob, "ann", "I am here, too")
    return new


def resolved(lab, ann, bob, new):
    with case("the old one is right: verify it, remove the other"):
        right = ann.ok("verify", "bob", "--yes")
        check("bob-2 still claims this name" in right.err, right)
        delivered(ann, "bob", "it is you")
        ann.fails(IDENTITY, "send", "bob-2", "x")
        ann.ok("contact", "remove", "bob-2")
        settled(ann, "bob")
        equal(ann.json("status")[0]["conflicts"], 0)
        check("claim" not in ann.ok("history", "bob").err)
    with case("the new one is right: verify it, remove the old one, rename"):
        equal(ann.ok("add", invite(new)).lines, ["bob-2"])
        ann.fails(IDENTITY, "send", "bob", "x")
        ann.ok("verify", "bob-2", "--yes")
        ann.ok("contact", "remove", "bob")
        ann.fails(UNKNOWN, "send", "bob", "x")
        ann.ok("contact", "rename", "bob-2", "bob")
        settled(ann, "bob")
        delivered(ann, "bob", "so you began anew")
        check("so you began anew" in new.texts("ann"))
    with case("the new one is right and gave a code: add --as, remove the old one"):
        newer = again(lab, new)
        ann.ok("add", invite(newer), "--as", "bob")
        delivered(ann, "bob", "anew again")
        check("anew again" in newer.texts("ann"))
        old = ann.fails(IDENTITY, "send", "bob-2", "x")
        check("bob-2" in old.err, old)
        ann.ok("contact", "remove", "bob-2")
        settled(ann, "bob")
    with case("two people of one name: another name tells them apart, both can be written to"):
        equal(ann.ok("add", invite(bob)).lines, ["bob-2"])
        ann.fails(IDENTITY, "send", "bob-2", "x")
        ann.ok("contact", "rename", "bob-2", "bob sales")
        settled(ann, "bob", "bob sales")
        check("linnet verify 'bob sales' --yes" in ann.ok("verify", "bob sales").err, "quotes")
        delivered(ann, "bob", "you are bob")
        delivered(ann, "bob sales", "and you sell")
        check("and you sell" in bob.texts("ann") and "you are bob" in newer.texts("ann"))
    with case("an impostor is blocked: the other one is meant"):
        forget(ann, "bob sales")
        settled(ann, "bob")
        other = again(lab, bob)
        ann.ok("add", invite(other))
        name = next(c["name"] for c in ann.json("contacts") if c["root"] == other.json("id")[0]["root"])
        ann.fails(IDENTITY, "send", "bob", "x")
        ann.ok("contact", "block", name)
        settled(ann, "bob")
        delivered(ann, "bob", "not that one")
        check(ann.contact(name)["conflict"], "a blocked one stays in conflict")
        ann.ok("contact", "unblock", name)
        ann.fails(IDENTITY, "send", name, "x")
        ann.ok("contact", "remove", name)
    return newer


def lookalikes(lab, ann, newer):
    with case("a name in other letters that looks like a contact's is marked, on add and after"):
        # A Cyrillic letter; a digit.
        for name, like in (("b\u043eb", "bob"), ("b0b", "bob")):
            node = lab.node(name).start()
            follower = Follower(ann, "recv", "-f", json_lines=False)
            follows(follower, newer, "ann")
            result = ann.run("add", invite(node))
            equal((result.code, result.lines), (0, [name]))
            check(f"looks like {like}" in result.err, result)
            equal(ann.contact(name)["like"], like)
            equal(ann.contact("bob")["like"], None, "not the one who was there")
            check("lookalike" in ann.ok("contacts").out)
            delivered(ann, name, "a name alone stops nothing")
            ann.ok("verify", name, "--yes")
            equal(ann.contact(name)["like"], None, "verified: we know")
            follower.hears(f"looks like {like}")
            follower.end()
            node.stop()
    with case("who renames himself to a contact's name keeps the one we know"):
        eve = lab.node("eve").start()
        pair(ann, eve)
        eve.ok("config", "set", "name", "bob")
        eve.stop()
        eve.name = "bob"
        eve.start()
        delivered(eve, "ann", "I am bob")
        until(lambda: ann.contact("eve")["announced"] == "bob", "the announced name")
        equal(ann.export("eve")[-1]["from"], "eve")
        equal(ann.contact("bob")["conflict"], False)


def member(lab, name):
    """A node in the office network, which pairs with the others by itself."""
    read, write = os.pipe()
    os.write(write, b"one secret for the office, of some length\n")
    os.close(write)
    node = lab.node(name).start("--network", "office", "--network-secret-fd", read,
                                pass_fds=[read])
    os.close(read)
    return node


def network(lab):
    with case("a second bob in the office network is marked, and nothing is sent to him"):
        ann, bob = member(lab, "ann"), member(lab, "bob")
        until(lambda: ann.contact("bob") and bob.contact("ann"), "they pair by themselves")
        delivered(ann, "bob", "one network")
        bob.stop()
        ann.ok("send", "bob", "for the old one")
        events = ann.events("contact")
        new = member(lab, "bob")
        event = events.wait("contact", lambda e: e["what"] == "conflict")
        equal((event["name"], event["other"]), ("bob", "bob-2"))
        events.close()
        for name in ("bob", "bob-2"):
            ann.fails(IDENTITY, "send", name, "who?")
        until(lambda: new.contact("ann"), "at both ends")
        delivered(new, "ann", "hello from the new one")
        check("for the old one" not in new.texts("ann"), "the new one got it")
        ann.ok("contact", "remove", "bob")
        settled(ann, "bob-2")
        delivered(ann, "bob-2", "the old one is gone for ever")


def main():
    namespaces("identity")
    with Lab() as lab:
        ann, bob = lab.node("ann").start(), lab.node("bob").start()
        pair(ann, bob)
        new = loud(lab, ann, bob)
        lookalikes(lab, ann, resolved(lab, ann, bob, new))
        ann.stop()
        bob.stop()
        network(lab)
    finish()


main()
