"""Presence between real nodes: states, status texts, invisible, away by itself, typing and
live typing, over restarts and with several front ends."""
import time

from harness import (REFUSED, UNKNOWN, USAGE, ApiError, Lab, case, check, delivered, equal, finish,
                     namespaces, pair, until)


def shown(node, name):
    contact = node.contact(name)
    return contact["presence"], contact["status"]


def sees(node, name, presence, status=None):
    until(lambda: shown(node, name) == (presence, status), f"{node.name} sees {name} {presence}",
          shown(node, name))
    contact = node.contact(name)
    equal(contact["online"], presence != "offline")


def presence_of(name, what="presence", **members):
    """A condition on events."""
    return lambda e: (e["name"] == name and e["what"] == what and not e["mine"] and
                      all(e[k] == v for k, v in members.items()))


def quiet(events, condition, seconds):
    """No such event for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        topic, event = events.next(end - time.monotonic())
        check(topic != "presence" or not condition(event), "unexpected", event)


def linked(a, b):
    until(lambda: a.contact(b.name)["linked"] and b.contact(a.name)["linked"], "linked")


def refused(code, call, *args, **params):
    try:
        call(*args, **params)
    except ApiError as e:
        equal(e.code, code, args, params)
        return
    raise AssertionError(f"taken: {args} {params}")


def states(ann, bob):
    with case("states and status texts"):
        sees(ann, "bob", "online")
        told = ann.events("presence")
        result = bob.ok("away", "At", "lunch,", "back at one")
        equal(result.out, "")
        event = told.wait("presence", presence_of("bob"))
        equal((event["presence"], event["status"]), ("away", "At lunch, back at one"))
        sees(ann, "bob", "away", "At lunch, back at one")
        bob.ok("busy", "会議中")
        told.wait("presence", presence_of("bob", presence="busy", status="会議中"))
        line = ann.ok("contacts").lines[0].split("\t")
        equal((line[0], line[2], line[5]), ("bob", "busy", "会議中"))
        equal(bob.json("status")[0]["presence"], "busy")
        bob.ok("online")
        told.wait("presence", presence_of("bob", presence="online", status=None))
        equal(bob.json("away", "again")[0],
              {"v": 1, "presence": "away", "status": "again", "automatic": False})
        told.close()
    with case("what cannot be a status text"):
        for text in ("a\nb", "\x1b[2Jx", "x" * 257, "a\u202eb"):
            bob.fails(USAGE, "busy", text)
        refused(USAGE, bob.api.call, "busy", status=7)
        sees(ann, "bob", "away", "again")
    with case("all front ends of a node are told"):
        one, two = bob.events("presence"), bob.events("presence")
        bob.ok("busy", "both")
        for events in (one, two):
            event = events.wait("presence", lambda e: e["mine"])
            equal((event["presence"], event["status"], event["automatic"]), ("busy", "both", False))
            events.close()
    with case("a state outlives the node"):
        bob.stop()
        sees(ann, "bob", "offline")
        check(ann.contact("bob")["seen_ms"] > 0)
        bob.start()
        sees(ann, "bob", "busy", "both")
        bob.kill()
        bob.start()
        sees(ann, "bob", "busy", "both")
        bob.ok("online")


def invisible(ann, bob):
    with case("invisible is offline at once, and messages flow"):
        linked(ann, bob)
        told = ann.events("presence")
        bob.ok("invisible", "only for me")
        event = told.wait("presence", presence_of("bob", online=False))
        equal((event["presence"], event["status"]), ("offline", None))
        equal(bob.json("status")[0]["presence"], "invisible")
        equal(bob.json("status")[0]["status"], "only for me")
        delivered(ann, "bob", "anybody there?")
        delivered(bob, "ann", "not for everybody")
        sees(ann, "bob", "offline")
        check(not ann.contact("bob")["linked"])
    with case("invisible from the start of the node"):
        bob.stop()
        bob.start()
        delivered(bob, "ann", "back")  # ann hears no beacon: bob dials where she was
        delivered(ann, "bob", "who is that?")
        quiet(told, presence_of("bob", "presence", online=True), 3)
        told.close()
        sees(ann, "bob", "offline")
    with case("who is invisible is not visible to people nearby either"):
        bob.fails(1, "visible", "on")
        bob.ok("online")
        bob.ok("visible", "on", "--stay")
        bob.ok("invisible")
        check(not bob.json("status")[0]["visible"])
        bob.ok("online")
        check(bob.json("status")[0]["visible"])
        bob.ok("visible", "off")
        sees(ann, "bob", "online")


def automatic(ann, bob):
    with case("away by itself, and back"):
        told = ann.events("presence")
        bob.ok("online", "in the office")
        bob.ok("config", "set", "away_after", "1s")
        told.wait("presence", presence_of("bob", presence="away", status="in the office"))
        status = bob.json("status")[0]
        equal((status["presence"], status["automatic"]), ("away", True))
        bob.ok("contacts")  # a look is no activity
        bob.api.call("typing", to="ann", typing=False, active=False)
        sees(ann, "bob", "away", "in the office")
        bob.ok("config", "set", "away_after", "1h")
        told.wait("presence", presence_of("bob", presence="online"))
        bob.ok("busy")
        bob.ok("config", "set", "away_after", "100ms")
        told.wait("presence", presence_of("bob", presence="busy"))
        quiet(told, presence_of("bob", presence="away"), 1)
        bob.fails(USAGE, "config", "set", "away_after", "soon")
        bob.ok("config", "set", "away_after", "0")
        bob.ok("online")
        told.close()


def typing(ann, bob):
    with case("typing is shown and ends by itself"):
        linked(ann, bob)
        told = ann.events("presence")
        start = time.monotonic()
        bob.api.call("typing", to="ann", text="h")
        told.wait("presence", presence_of("bob", "typing", typing=True))
        check(ann.contact("bob")["typing"])
        told.wait("presence", presence_of("bob", "typing", typing=False))
        check(time.monotonic() - start > 4, "it ended too early")
        check(not ann.contact("bob")["typing"])
        bob.api.call("typing", to="ann", typing=True)
        told.wait("presence", presence_of("bob", "typing", typing=True))
        bob.ok("send", "ann", "done")
        told.wait("presence", presence_of("bob", "typing", typing=False), timeout=3)
        bob.api.call("typing", to="ann", typing=True)
        told.wait("presence", presence_of("bob", "typing", typing=True))
        bob.kill()
        told.wait("presence", presence_of("bob", "typing", typing=False))
        bob.start()
        linked(ann, bob)
        told.close()
    with case("typing to nobody"):
        refused(UNKNOWN, bob.api.call, "typing", to="nobody", text="x")
        refused(USAGE, bob.api.call, "typing", to="ann")
        refused(USAGE, bob.api.call, "typing", to="ann", text="x" * 32769)


def live(ann, bob, carol):
    with case("live typing of one side alone shows nothing"):
        told = ann.events("presence")
        result = bob.json("live", "ann", "on")[0]
        equal(result["live"], {"ours": True, "theirs": False})
        told.wait("presence", presence_of("bob", "live", live={"ours": False, "theirs": True}))
        equal(bob.api.call("typing", to="ann", text="secret"), {"live": False})
        told.wait("presence", presence_of("bob", "typing", typing=True))
        quiet(told, lambda e: e["what"] == "live" and e["text"], 1)
        equal(ann.contact("bob")["draft"], None)
        bob.api.call("typing", to="ann", text="")
    with case("live typing when both want it"):
        ann.ok("live", "bob", "on")
        told.wait("presence", presence_of("bob", "live", live={"ours": True, "theirs": True}))
        until(lambda: bob.contact("ann")["live"]["theirs"], "bob knows")
        others = carol.events("presence")
        for text in ("h", "he", "hel", "hell", "hello"):
            equal(bob.api.call("typing", to="ann", text=text), {"live": True})
        seen = [told.wait("presence", presence_of("bob", "live"))["text"]]
        while seen[-1] != "hello":
            seen.append(told.wait("presence", presence_of("bob", "live"))["text"])
        check(len(seen) <= 3, "coalesced", seen)
        equal(ann.contact("bob")["draft"], "hello")
        bob.ok("send", "ann", "hello, ann")
        told.wait("presence", presence_of("bob", "live", text=None), timeout=3)
        quiet(others, lambda e: e["what"] != "presence", 0.5)
        others.close()
    with case("the wish outlives the node; a draft does not"):
        bob.api.call("typing", to="ann", text="half a")
        told.wait("presence", presence_of("bob", "live", text="half a"))
        bob.stop()
        told.wait("presence", presence_of("bob", "live", text=None))
        bob.start()
        until(lambda: bob.contact("ann")["live"] == {"ours": True, "theirs": True}, "both")
        equal(ann.contact("bob")["draft"], None)
        ann.ok("live", "bob", "off")
        until(lambda: not bob.contact("ann")["live"]["theirs"], "off")
        equal(bob.api.call("typing", to="ann", text="more"), {"live": False})
        quiet(told, lambda e: e["what"] == "live" and e["text"], 0.5)
        told.close()
    with case("words of `live` that do not fit"):
        bob.fails(USAGE, "live", "ann", "maybe")
        bob.fails(USAGE, "live", "ann")
        bob.fails(UNKNOWN, "live", "nobody", "on")
        ann.ok("contact", "block", "bob")
        refused(REFUSED, ann.api.call, "typing", to="bob", text="x")
        ann.ok("contact", "unblock", "bob")


def main():
    namespaces("presence")
    with Lab() as lab:
        ann, bob, carol = (lab.node(name).start() for name in ("ann", "bob", "carol"))
        pair(ann, bob)
        pair(carol, bob)
        states(ann, bob)
        invisible(ann, bob)
        automatic(ann, bob)
        typing(ann, bob)
        live(ann, bob, carol)
    finish()


if __name__ == "__main__":
    main()
