#!/usr/bin/env python3
"""People nearby, on one network of netlab: seeing each other, asking, accepting, denying,
blocking, a flood of false names, and the live code."""
import subprocess
import sys
import time

from harness import (DONE, IDENTITY, NOBODY, UNKNOWN, USAGE, Lab, case, check, delivered, equal,
                     finish, namespaces, until)

FLOOD = """
import os, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
def beacon(name, cert, flags=1, nonce=None):
    name = name.encode()
    return (b"linnet" + bytes([1, flags]) + (nonce or os.urandom(16)) + struct.pack(">H", 7679)
            + bytes([0, len(name)]) + cert + name.ljust(64, b"\\0") + bytes(4))
end = time.monotonic() + float(sys.argv[2])
n = 0
while time.monotonic() < end:
    for name in (f"fake {n}", "bob", "\\u0430nn", "evil\\x1b[2J", "x\\u202ey"):
        s.sendto(beacon(name, os.urandom(32)), ("239.255.76.78", 7678))
    n += 1
    time.sleep(0.001)
print(n)
"""


def people(node):
    return {p["name"]: p for p in node.json("nearby")}


def sees(node, name):
    return until(lambda: people(node).get(name), f"{node.name} sees {name}")


def requests(node):
    return node.json("requests")


def main():
    namespaces("people nearby", "ip", "nft")
    with Lab() as lab:
        lab.up("lan", 4)
        ann, bob, eve = (lab.node(name, host=f"h{i}").start()
                         for i, name in enumerate(("ann", "bob", "eve"), 1))

        with case("nobody is visible who did not say so"):
            equal(people(ann), {})
            equal(ann.json("status")[0]["visible"], False)

        with case("who becomes visible is seen at once, by all, also by who is not"):
            watcher = ann.popen("--no-start", "nearby", "--watch", stdout=subprocess.PIPE, text=True)
            said = bob.ok("visible", "on").err
            check('"bob"' in said and "everyone on this network" in said, said)
            seen = sees(ann, "bob")
            line = watcher.stdout.readline()
            check(line.startswith("+") and "\tbob\t" in line, line)
            bob.ok("visible", "off")
            check(watcher.stdout.readline().startswith("-"), "and goes at once")
            watcher.kill()
            watcher.wait()
            lab.children.remove(watcher)
            equal(people(ann), {})
            check(seen["hash"] and seen["contact"] is None)

        with case("two see each other, one asks with a line, the other accepts, they talk"):
            bob.ok("visible", "on")
            ann.ok("visible", "on")
            number = sees(ann, "bob")["number"]
            sees(bob, "ann")
            events = bob.events("request")
            asking = ann.popen("--no-start", "add", number, "--message", "Ann from upstairs",
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            event = events.wait("request", lambda e: e.get("what") == "received")
            equal((event["name"], event["text"]), ("ann", "Ann from upstairs"))
            equal(bob.contact("ann"), None, "no contact before bob says so")
            until(lambda: ann.contact("bob"), "stored as asked")
            equal(ann.contact("bob")["asked"], True)
            queued = ann.json("send", "bob", "may I?")[0]
            equal(queued["state"], "queued")
            equal(bob.json("recv"), [])
            equal(bob.ok("requests", "accept", requests(bob)[0]["number"]).lines, ["ann"])
            out, err = asking.communicate(timeout=30)
            lab.children.remove(asking)
            equal((asking.returncode, out.strip()), (DONE, "bob"), err)
            until(lambda: bob.texts("ann") == ["may I?"], "what waited arrives")
            delivered(bob, "ann", "welcome")
            delivered(ann, "bob", "thanks")
            equal(requests(bob), [])
            equal(ann.contact("bob")["asked"], False)
            events.close()

        with case("both restart between asking and accepting"):
            sees(eve, "bob")
            equal(eve.run("add", "bob").code, NOBODY)
            bob.kill().start()
            eve.kill().start()
            equal([r["name"] for r in requests(bob)], ["eve"])
            equal(bob.json("status")[0]["requests"], 1)
            equal(eve.contact("bob")["asked"], True)
            bob.ok("requests", "accept", requests(bob)[0]["number"])
            delivered(bob, "eve", "hello eve")
            delivered(eve, "bob", "hello bob")

        with case("the live code is the same at both ends"):
            other = bob.popen("--no-start", "verify", "ann", "--code", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            mine = ann.ok("verify", "bob", "--code").lines
            theirs, err = other.communicate(timeout=60)
            lab.children.remove(other)
            equal(other.returncode, DONE, err)
            equal(mine, theirs.split("\n")[:1])
            digits = mine[0].replace(" ", "")
            check(len(digits) == 7 and digits.isdigit(), mine)

        dan = lab.node("dan", host="h4").start()
        with case("denied: forgotten, and the asker learns nothing"):
            ann.ok("visible", "on")
            sees(dan, "ann")
            equal(dan.run("add", "ann").code, NOBODY)
            ann.ok("requests", "deny", requests(ann)[0]["number"])
            equal(requests(ann), [])
            equal(ann.contact("dan"), None)
            equal(dan.contact("ann")["asked"], True)
            equal(dan.run("add", "ann").code, NOBODY)
            equal(requests(ann), [], "not again within the hour")

        with case("blocked for good, listed, and undone"):
            bob.ok("visible", "on")
            sees(dan, "bob")
            equal(dan.run("add", "bob").code, NOBODY)
            number = requests(bob)[0]["number"]
            bob.ok("requests", "deny", number, "--block")
            equal([r["name"] for r in bob.json("requests", "--blocked")], ["dan"])
            equal(dan.run("add", "bob").code, NOBODY)
            equal(requests(bob), [])
            bob.ok("contact", "unblock", "dan")
            equal(bob.json("requests", "--blocked"), [])
            equal(dan.run("add", "bob").code, NOBODY)
            equal([r["name"] for r in requests(bob)], ["dan"])

        with case("what is wrong is said"):
            bob.fails(UNKNOWN, "requests", "accept", 777)
            bob.fails(USAGE, "requests", "accept", "x")
            bob.fails(USAGE, "add", "nobody-of-that-name")
            bob.fails(UNKNOWN, "add", 77777)
            dan.fails(USAGE, "add", "bob", "--message", "two\nlines")

        with case("a flood of false names: those who are there stay, hostile ones are not shown"):
            prefix = eve.prefix
            before = set(people(ann))
            flood = subprocess.Popen([*prefix, sys.executable, "-c", FLOOD, "192.168.50.13", "8"],
                                     stdout=subprocess.PIPE, text=True)
            lab.children.append(flood)
            until(lambda: any(n.startswith("fake") for n in people(ann)), "the flood is heard")
            delivered(bob, "ann", "through the flood", timeout=10)
            listed = ann.json("nearby")
            check(len(listed) < 40, len(listed), "entries")
            check(not any(set("\x1b\u202e") & set(p["name"]) for p in listed))
            check(before <= {p["name"] for p in listed}, "who was there is still there")
            for p in listed:
                if p["name"] == "bob" and p["contact"] is None:
                    equal(p["like"], "bob")
            flood.communicate(timeout=60)
            lab.children.remove(flood)
            ann.alive()
            until(lambda: not any(n.startswith("fake") for n in people(ann)), "and forgotten",
                  timeout=90)

        with case("a name like a contact's: marked, and in conflict only when accepted"):
            fake = lab.node("b\u043eb", host="h3").start()
            ann.ok("visible", "on")
            sees(fake, "ann")
            equal(fake.run("add", "ann").code, NOBODY)
            asked = [r for r in requests(ann) if r["name"] == "b\u043eb"][0]
            equal(asked["like"], "bob")
            equal(ann.contact("bob")["conflict"], False)
            ann.ok("requests", "accept", asked["number"])
            equal(ann.contact("bob")["conflict"], True)
            ann.fails(IDENTITY, "send", "bob", "secret")
            ann.ok("verify", "bob", "--yes")
            delivered(ann, "bob", "to the right one")
            fake.stop()
    finish()


main()
