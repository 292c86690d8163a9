"""The DHT through the program: a bare node that serves, four nodes that begin from it, what one
stores the others find, and what each remembers. All on lo, in scope lan."""
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time

from harness import (ERROR, LINNET, NOBODY, REFUSED, SLOW, TIMEOUT, USAGE, WAIT_S, ApiError, Lab,
                     case, check, equal, finish, until)

NOWHERE = "00" * 19 + "01"
NAMES = ("ann", "bob", "cy", "dee")
SEED = "07" * 32


class Serve:
    """`linnet dht serve` on a free port of lo."""

    def __init__(self, lab, *options):
        self.lab = lab
        self.process = subprocess.Popen(
            [LINNET, "--json", "dht", "serve", "--listen", "127.0.0.1:0", *options],
            env={**lab.env, "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lab.children.append(self.process)
        row = json.loads(self.process.stdout.readline())
        self.address, self.id = row["address"], row["id"]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=WAIT_S * SLOW)
        self.lab.children.remove(self.process)
        return self.process.returncode, err


def stats(node):
    return node.json("dht", "stats")[0]


def known(node):
    return stats(node)["ip4"]["nodes"]


def knows(node, least):
    until(lambda: known(node) >= least, f"{node.name} knows {least} nodes")


@contextlib.contextmanager
def seed(text):
    """A descriptor that holds it."""
    r, w = os.pipe()
    os.write(w, text if isinstance(text, bytes) else text.encode())
    os.close(w)
    try:
        yield r
    finally:
        os.close(r)


def put_mutable(node, value, *options, text=SEED, code=0):
    with seed(text) as fd:
        result = node.run("--json", "dht", "put", "--mutable", "--seed-fd", fd, *options, value,
                          pass_fds=(fd,))
    equal(result.code, code, result)
    return result.json[0] if code == 0 else result


def serving(lab):
    with case("a bare node says where it is, needs no home, ends on either signal"):
        for number in (signal.SIGINT, signal.SIGTERM):
            serve = Serve(lab)
            check(re.fullmatch(r"127\.0\.0\.1:\d+", serve.address), serve.address)
            check(re.fullmatch(r"[0-9a-f]{40}", serve.id), serve.id)
            equal(serve.end(number), (0, b""))
    with case("it answers who asks, from the address that was asked, and no junk"):
        serve = Serve(lab)
        port = int(serve.address.rpartition(":")[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", port))
            s.settimeout(WAIT_S * SLOW)
            for junk in (b"", b"d", b"de", b"\xff" * 1400, b"d" * 4000):
                s.send(junk)
            s.send(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
            got = s.recv(2048)
        check(got.startswith(b"d") and b"1:t2:aa" in got and bytes.fromhex(serve.id) in got, got)
        serve.end()
    with case("all answers together keep to --rate"):
        for options, some in (([], 0), (["--rate", "1"], 1)):
            serve = Serve(lab, *options)
            answers = 0
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.connect(("127.0.0.1", int(serve.address.rpartition(":")[2])))
                s.settimeout(1 if some else WAIT_S * SLOW)
                with contextlib.suppress(TimeoutError):
                    for _ in range(40):  # fewer than one address may ask at once
                        s.send(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
                        answers += s.recv(2048).startswith(b"d")
            check((answers == 40) != bool(some) and answers > 0, answers)
            serve.end()
    with case("a port that is taken, and options that are none"):
        serve = Serve(lab)
        for code, args in ((ERROR, ["--listen", serve.address]), (USAGE, ["--listen", "here"]),
                           (USAGE, ["--bootstrap", "127.0.0.1"]), (USAGE, ["--port", "5"]),
                           (USAGE, ["--rate", "fast"]), (USAGE, ["--rate", "0"]),
                           (USAGE, ["more"])):
            done = subprocess.run([LINNET, "dht", "serve", *args], env=lab.env, timeout=WAIT_S,
                                  capture_output=True, check=False)
            equal(done.returncode, code, args, done.stderr)
            check(done.stderr.strip(), "no sentence")
        serve.end()


def off(ann):
    with case("in scope lan there is no DHT without a bootstrap node"):
        equal(ann.json("status")[0]["dht"], None)
        equal(stats(ann)["on"], False)
        for args in (["get", NOWHERE], ["put", "x"], ["find", NOWHERE], ["peers", NOWHERE],
                     ["announce", NOWHERE], ["ping", "127.0.0.1:9"], ["ping", "localhost:9"]):
            ann.fails(NOBODY, "dht", *args)


def items(ann, bob, cy, dee):
    with case("an immutable item: any node finds what another has put"):
        value = "Hello \u4f60\u597d!"
        target = ann.ok("dht", "put", value).out.strip()
        bare = value.encode()
        equal(target, hashlib.sha1(b"%d:%s" % (len(bare), bare)).hexdigest())
        for node in (bob, cy, dee):
            equal(node.ok("dht", "get", target).out, value + "\n", node.name)
            row = node.json("dht", "get", target.upper())[0]
            equal((row["v"], row["value"], row["target"], row["mutable"]),
                  (1, value, target, False))
            equal(bytes.fromhex(row["bencoded"]), b"%d:%s" % (len(bare), bare))
    with case("any bytes, from standard input and as bencode"):
        blob = bytes(range(256))
        target = bob.ok("dht", "put", "-", stdin=blob + b"\n").out.strip()
        equal(ann.ok("dht", "get", target).raw, blob + b"\n")
        equal(ann.ok("dht", "get", "--hex", target).out.strip(), blob.hex())
        equal(ann.json("dht", "get", target)[0]["value"], None)
        target = bob.ok("dht", "put", "--bencoded", "d3:numi42ee").out.strip()
        equal(ann.ok("dht", "get", target).out, "d3:numi42ee\n")
        equal(ann.api.call("dht.put", hex="00ff")["target"],
              hashlib.sha1(b"2:\x00\xff").hexdigest())
    with case("what is too long, no bencode, or not there"):
        ok = ann.ok("dht", "put", "x" * 996).out.strip()
        equal(bob.ok("dht", "get", ok).out, "x" * 996 + "\n")
        for args in (["x" * 997], ["-"], ["--bencoded", "i-0e"], ["--bencoded", "d1:b0:1:a0:e"],
                     ["--bencoded", "i1ei2e"]):
            ann.fails(USAGE, "dht", "put", *args, stdin="y" * 5000)
        ann.fails(ERROR, "dht", "get", NOWHERE)
        ann.fails(ERROR, "dht", "get", "--key", "00" * 31 + "02")
        ann.fails(ERROR, "dht", "peers", NOWHERE)


def mutable_items(ann, bob, cy, dee):
    with case("a mutable item: seq, salt, and who reads it"):
        first = put_mutable(ann, "one")
        equal((first["seq"], first["mutable"]), (1, True))
        key = first["key"]
        for node in (bob, dee):
            equal(node.ok("dht", "get", "--key", key).out, "one\n")
        cy.fails(ERROR, "dht", "get", "--key", key, "--salt", "news")
        equal(put_mutable(cy, "salted", "--salt", "news")["key"], key)
        equal(bob.ok("dht", "get", "--key", key, "--salt", "news").out, "salted\n")
        second = put_mutable(bob, "two", text=bytes.fromhex(SEED))
        equal((second["seq"], second["key"]), (2, key), "from raw bytes")
        row = ann.json("dht", "get", "--key", key)[0]
        equal((row["value"], row["seq"], row["key"], row["target"]),
              ("two", 2, key, second["target"]))
        equal(put_mutable(dee, "nine", "--seq", "9", text=SEED + "\n")["seq"], 9)
        equal(ann.ok("dht", "get", "--key", key).out, "nine\n")
    with case("a lower seq and a wrong cas are refused, with the reason"):
        said = put_mutable(ann, "old", "--seq", "3", code=REFUSED).err
        check("higher seq 9" in said, said)
        check("cas" in put_mutable(ann, "new", "--seq", "10", "--cas", "7", code=REFUSED).err)
        equal(put_mutable(ann, "ten", "--seq", "10", "--cas", "9")["seq"], 10)
        equal(cy.ok("dht", "get", "--key", key).out, "ten\n")
    with case("where another value has that seq nothing is stored; the same one again is"):
        said = put_mutable(bob, "zehn", "--seq", "10", code=REFUSED).err
        check("another value has seq 10" in said, said)
        for node in (ann, dee):
            equal(node.ok("dht", "get", "--key", key).out, "ten\n")
        equal(put_mutable(dee, "ten", "--seq", "10")["seq"], 10)
    with case("a seed that is none, and options that do not fit"):
        for text in ("", "07" * 31, "0x" + "07" * 31, "07" * 33, "zz" * 32):
            put_mutable(ann, "x", text=text, code=USAGE)
        for args in (["--mutable", "x"], ["--seed-fd", "0", "x"], ["--salt", "s", "x"],
                     ["--seq", "1", "x"], ["--mutable", "--seed-fd", "x", "y"],
                     ["--mutable", "--seed-fd", "999", "y"]):
            ann.fails(USAGE, "dht", "put", *args)
        put_mutable(ann, "x", "--salt", "s" * 65, code=USAGE)
        put_mutable(ann, "x", "--seq", "-1", code=USAGE)
        ann.fails(USAGE, "dht", "get")
        ann.fails(USAGE, "dht", "get", NOWHERE, "--key", key)
        ann.fails(USAGE, "dht", "get", NOWHERE, "--salt", "s")
    with case("the API takes the same and says the same"):
        for params in ({}, {"target": "00"}, {"key": 5}, {"key": "00"},
                       {"key": key, "salt_hex": "0"}, {"key": key, "salt_hex": "00" * 65}):
            try:
                ann.api.call("dht.get", **params)
                check(False, params, "was taken")
            except ApiError as e:
                equal(e.code, USAGE, params)
        row = ann.api.call("dht.put", mutable=True, seed=SEED, salt_hex="00ff", value="bin")
        equal(bob.api.call("dht.get", key=key, salt_hex="00FF")["value"], "bin")
        equal(row["salt_hex"], "00ff")


def peers(ann, bob, cy, dee):
    with case("who announces is found, with its own port or another"):
        hash_ = hashlib.sha1(b"a torrent").hexdigest()
        equal(ann.json("dht", "announce", hash_, "--port", "1234")[0]["port"], 1234)
        equal(cy.ok("dht", "peers", hash_).lines, ["127.0.0.1:1234"])
        equal(bob.json("dht", "announce", hash_)[0]["port"], bob.status["port"])
        wanted = {"127.0.0.1:1234", f"127.0.0.1:{bob.status['port']}"}
        found = set(dee.json("dht", "peers", hash_)[0]["peers"])
        check(found <= wanted and found, found)
        for args in (["announce", hash_, "--port", "65536"], ["announce", "xyz"],
                     ["peers", hash_[1:]], ["find", hash_ + "00"]):
            ann.fails(USAGE, "dht", *args)


def looking(ann, bob, serve):
    with case("find and ping"):
        lines = ann.ok("dht", "find", serve.id).lines
        equal(lines[0], f"{serve.id} {serve.address}")
        check(all(re.fullmatch(r"[0-9a-f]{40} 127\.0\.0\.1:\d+", line) for line in lines), lines)
        row = ann.json("dht", "find", serve.id)[0]
        equal(row["nodes"][0], {"id": serve.id, "address": serve.address})
        check(row["answered"] >= 1 and row["asked"] >= row["answered"], row)
        check(re.fullmatch(rf"{serve.address} \d+ ms", ann.ok("dht", "ping", serve.address).out.strip()))
        equal(ann.json("dht", "ping", f"127.0.0.1:{bob.status['port']}")[0]["v"], 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            ann.fails(TIMEOUT, "dht", "ping", f"127.0.0.1:{silent.getsockname()[1]}")
        ann.fails(NOBODY, "dht", "ping", "192.0.2.1:6881")
        ann.fails(NOBODY, "dht", "ping", "localhost:6881")
        for to in ("127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ""):
            ann.fails(USAGE, "dht", "ping", to)
    with case("status and stats say how it is"):
        row = ann.json("status")[0]["dht"]
        equal(row["ready"], True)
        check(row["ip4"]["nodes"] >= 1 and len(row["ip4"]["id"]) == 40, row)
        check(re.search(r"(?m)^dht +[1-9]\d* nodes over IPv4", ann.ok("status").out))
        row = stats(ann)
        check(row["sent"] > 0 and row["received_bytes"] > 0 and row["on"], row)
        check("ready" in ann.ok("dht", "stats").out)


def remembering(lab, nodes, serve):
    ann, bob, cy, dee = nodes
    with case("a restart finds the network again without the node it began from"):
        target = bob.ok("dht", "put", "still there").out.strip()
        knows(ann, 3)
        ann.stop()
        serve.end()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            ann.options = ["--bootstrap", f"127.0.0.1:{silent.getsockname()[1]}"]
            ann.start()
            knows(ann, 2)
            equal(ann.ok("dht", "get", target).out, "still there\n")
    with case("what ends in the middle ends with 3, and the node stops at once"):
        dee.stop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            lonely = lab.node("lonely", options=["--bootstrap",
                                                 f"127.0.0.1:{silent.getsockname()[1]}"]).start()
            waiting = lonely.popen("--no-start", "dht", "get", NOWHERE, stderr=subprocess.PIPE)
            until(lambda: stats(lonely)["operations"] > 0, "the lookup waits")
            start = time.monotonic()
            lonely.stop()
            check(time.monotonic() - start < 10, "the stop waits for the lookup")
            _, err = waiting.communicate(timeout=WAIT_S * SLOW)
            lab.children.remove(waiting)
            equal(waiting.returncode, 3, err)


def settings(lab):
    with case("bootstrap as a setting; what cannot be one"):
        node = lab.node("eve")
        for bad in ("127.0.0.1", "here", "a:b", "127.0.0.1:0", "[::1]", "h:1," * 17 + "h:1"):
            node.fails(USAGE, "config", "set", "bootstrap", bad)
        node.ok("config", "set", "bootstrap", "127.0.0.1:9,[::1]:9")
        node.start()
        equal(stats(node)["on"], True)
        node.stop()
        for bad, word in (("192.0.2.1:6881", "private"), ("router.example:6881", "names")):
            check(word in node.refuses("--bootstrap", bad), bad)
        check("HOST:PORT" in node.refuses("--bootstrap", "127.0.0.1"))


def main():
    with Lab() as lab:
        serving(lab)
        alone = lab.node("alone").start()
        off(alone)
        alone.stop()
        serve = Serve(lab)
        nodes = []
        for name in NAMES: # each finds those before it
            nodes.append(lab.node(name, options=["--bootstrap", serve.address]).start())
            knows(nodes[-1], min(len(nodes), 2))
        items(*nodes)
        mutable_items(*nodes)
        peers(*nodes)
        looking(nodes[0], nodes[1], serve)
        remembering(lab, nodes, serve)
        settings(lab)
    finish()


main()
