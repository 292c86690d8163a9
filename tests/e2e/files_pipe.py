"""Standard input that is sent and standard output that is received into, whoever of both ends
is killed, and files that are received to a place."""
import io
import os
import signal
import subprocess
import tarfile

from files_share import (LEAF, Command, Pair, contents, done, kept, listed, make, moving, newest,
                         no_parts, number, offer, reaches, same, transfer, tree, verb)
from harness import DONE, ERROR, UNKNOWN, USAGE, Lab, case, check, equal, finish, until

PARTIAL, INTERRUPTED = 8, 130
ODD = 3 * LEAF + 12345


def killed_spools(p, data):
    """Commands that are killed while they send standard input; what they offered."""
    killed = []
    for state in ("offered", "active"):
        send = Command(p.ann, "send", "bob", "-f", "-", "--name", f"killed {state}",
                       stdin=subprocess.PIPE)
        tid = newest(p.bob, f"killed {state}", "offered")
        send.process.stdin.write(data[:LEAF + 1])
        send.process.stdin.flush()
        if state == "active":
            verb(p.bob, tid, "accept")
            moving(p.bob, tid, LEAF)
        send.process.kill()
        send.process.stdin = None
        send.end()
        killed.append(tid)
    return killed


def stuck_reader(p, **more):
    """All of it is there, and whoever is to read it out does not: its id and number, and the
    command, which has a pipe's worth of it at most."""
    tid = offer(p.ann, "bob", p.path("odd.bin"))[0]
    n = number(p.bob, tid)
    recv = Command(p.bob, "recv", "--file", n, "-o", "-", **more)
    done(p.ann, p.bob, tid)
    return tid, n, recv


def read_again(p, tid, n):
    """It was kept, can be read from the start, and is kept no longer then."""
    check(kept(p.bob, tid, p.ann), "it is kept")
    check(p.bob.ok("recv", "--file", n, "-o", "-").raw == contents(p.path("odd.bin")))
    until(lambda: not kept(p.bob, tid, p.ann), "it is kept no longer")
    p.bob.fails(ERROR, "recv", "--file", n, "-o", "-")


def slow_readers(p):
    whole = contents(p.path("odd.bin"))
    with case("^C while the reader is slow: exit 8, how to go on, and all is kept"):
        tid, n, recv = stuck_reader(p)
        recv.process.send_signal(signal.SIGINT)
        recv.end(PARTIAL)
        check(len(recv.out) < len(whole) and whole.startswith(recv.out), len(recv.out))
        check(f"linnet recv --file {n} -o -" in recv.err, recv.err)
        read_again(p, tid, n)
    with case("a command that is ended while the reader is slow loses nothing"):
        tid, n, recv = stuck_reader(p)
        recv.process.terminate()
        recv.end(-signal.SIGTERM)
        read_again(p, tid, n)
    with case("a reader that goes, a full disk: a sentence, exit 1, and all is kept"):
        tid, n, recv = stuck_reader(p)
        recv.process.stdout.close()
        recv.process.stdout = None
        recv.end(ERROR)
        check(f"linnet recv --file {n} -o -" in recv.err, recv.err)
        read_again(p, tid, n)
        tid = offer(p.ann, "bob", p.path("odd.bin"))[0]
        n = number(p.bob, tid)
        with open("/dev/full", "wb") as full:
            recv = Command(p.bob, "recv", "--file", n, "-o", "-", stdout=full).end(ERROR)
        check("No space left" in recv.err and f"linnet recv --file {n} -o -" in recv.err, recv.err)
        done(p.ann, p.bob, tid)
        read_again(p, tid, n)
    with case("read out by one command, it is not there for another that comes to it later"):
        tid, n, recv = stuck_reader(p)
        recv.process.kill()
        recv.end()
        first, second = (Command(p.bob, "recv", "--file", n, "-o", "-") for _ in range(2))
        codes = []
        for command in (first, second):
            command.end()
            codes.append(command.code)
            check(command.out == whole if command.code == DONE else command.err.strip(), command.err)
        check(DONE in codes and set(codes) <= {DONE, ERROR}, codes)
    with case("what was not read out is kept over the node's end, and read then"):
        tid, n, recv = stuck_reader(p)
        recv.process.kill()
        recv.end()
        p.bob.kill()
        p.bob.start()
        t = transfer(p.bob, n=n)
        equal((t["state"], t["percent"], t["prefix"]), ("done", 100, len(whole)))
        read_again(p, tid, n)
        p.bob.stop()
        p.bob.start()
        p.bob.fails(ERROR, "recv", "--file", n, "-o", "-")
        equal(kept(p.bob, tid, p.ann), [])


def piped(p):
    data = os.urandom(ODD)
    killed = killed_spools(p, data)  # found out a while later
    with case("standard input to standard output"):
        send = Command(p.ann, "send", "bob", "-f", "-", "--name", "d.bin", "--wait", "delivered",
                       stdin=subprocess.PIPE)
        n = number(p.bob, newest(p.bob, "d.bin", "offered"))
        t = transfer(p.bob, n=n)
        equal((t["kind"], t["size"], t["percent"]), ("stream", None, None))
        recv = Command(p.bob, "recv", "--file", n, "-o", "-")
        send.process.stdin.write(data[:2 * LEAF])
        send.process.stdin.flush()
        moving(p.bob, t["id"], LEAF)  # it comes before its end is known
        send.end(DONE, data=data[2 * LEAF:])
        recv.end(DONE)
        check(recv.out == data, len(recv.out), "bytes, not", len(data))
        check("d.bin" not in listed(p.down))
        done(p.ann, p.bob, t["id"])
        for node in (p.ann, p.bob):
            until(lambda n=node: not kept(n, t["id"], p.ann if n is p.bob else None), node.name, "keeps nothing of it")
    with case("tar through"):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(p.path("odd.bin"), "folder/odd.bin")
            tar.add(p.path("odd.bin"), "odd.bin")
        send = Command(p.ann, "send", "bob", "-f", "-", "--name", "d.tar", stdin=subprocess.PIPE)
        n = number(p.bob, newest(p.bob, "d.tar", "offered"))
        into = os.path.join(p.lab.dir, "unpacked")
        os.mkdir(into)
        recv = Command(p.bob, "recv", "--file", n, "-o", "-")
        unpack = subprocess.Popen(["tar", "x", "-C", into], stdin=recv.process.stdout)
        recv.process.stdout.close()
        recv.process.stdout = None
        send.end(DONE, data=archive.getvalue())
        equal(unpack.wait(30), 0, "tar")
        recv.end(DONE)
        for name in ("odd.bin", "folder/odd.bin"):
            same(p.path("odd.bin"), os.path.join(into, name))
    with case("empty standard input, into a file"):
        send = Command(p.ann, "send", "bob", "-f", "-", "--name", "nil", stdin=subprocess.PIPE)
        n = number(p.bob, newest(p.bob, "nil", "offered"))
        send.process.stdin.close()
        send.process.stdin = None
        p.bob.ok("transfers", "accept", n)
        send.end(DONE)
        equal(contents(p.got("nil")), b"")
    with case("a file of known size is piped out, too"):
        tid = offer(p.ann, "bob", p.path("odd.bin"))[0]
        recv = p.bob.ok("recv", "--file", number(p.bob, tid), "-o", "-")
        check(recv.raw == contents(p.path("odd.bin")))
        done(p.ann, p.bob, tid)
    with case("whoever reads it ends too early: it is kept, and read again from the start"):
        tid = offer(p.ann, "bob", p.path("odd.bin"))[0]
        n = number(p.bob, tid)
        recv = Command(p.bob, "recv", "--file", n, "-o", "-")
        equal(recv.process.stdout.read(10), contents(p.path("odd.bin"))[:10])
        done(p.ann, p.bob, tid)
        recv.process.kill()
        recv.end()
        check(p.bob.ok("recv", "--file", n, "-o", "-").raw == contents(p.path("odd.bin")))
        until(lambda: not kept(p.bob, tid, p.ann), "it is kept no longer")
        p.bob.fails(ERROR, "recv", "--file", n, "-o", "-")
    slow_readers(p)
    with case("^C at the sender before the end: taken back, exit 130"):
        send = Command(p.ann, "send", "bob", "-f", "-", "--name", "cut.bin",
                       stdin=subprocess.PIPE)
        tid = newest(p.bob, "cut.bin", "offered")
        recv = Command(p.bob, "recv", "--file", number(p.bob, tid), "-o", "-")
        send.process.stdin.write(data[:2 * LEAF])
        send.process.stdin.flush()
        moving(p.bob, tid, LEAF)
        send.process.send_signal(signal.SIGINT)
        send.process.stdin = None
        send.end(INTERRUPTED)
        reaches(p.bob, tid, "cancelled")
        recv.end(ERROR)
        check(recv.err.strip(), "a sentence")
    with case("the sending node is killed while it spools: the offer is taken back"):
        send = Command(p.ann, "send", "bob", "-f", "-", "--name", "spool.bin",
                       stdin=subprocess.PIPE)
        tid = newest(p.bob, "spool.bin", "offered")
        p.ann.kill()
        send.process.stdin.close()
        send.process.stdin = None
        send.end()
        check(send.code != DONE and send.err.strip(), send.code, send.err)
        p.ann.start()
        reaches(p.bob, tid, "cancelled", timeout=40)
    with case("the sending commands that were killed: their offers are taken back"):
        for tid in killed:
            reaches(p.bob, tid, "cancelled", timeout=40)
        no_parts(p)


def to_path(p):
    with case("recv --file N -o PATH: a file, a folder's content, a place that is taken"):
        out = os.path.join(p.lab.dir, "out")
        os.mkdir(out)
        for name, at in ((out, f"{out}/odd.bin"), (f"{out}/renamed", f"{out}/renamed")):
            n = number(p.bob, offer(p.ann, "bob", p.path("odd.bin"))[0])
            result = p.bob.ok("recv", "--file", n, "-o", name)
            same(p.path("odd.bin"), at)
            check(at in result.out, result)
        n = number(p.bob, offer(p.ann, "bob", p.path("photos"))[0])
        p.bob.ok("recv", "--file", n, "-o", f"{out}/pictures")
        equal(tree(f"{out}/pictures"), tree(p.path("photos")))
        n = number(p.bob, offer(p.ann, "bob", p.path("photos"))[0])
        folder = p.bob.run("recv", "--file", n, "-o", "-")
        check(folder.code in (ERROR, USAGE) and folder.err.strip(), "a folder into a pipe", folder)
        verb(p.bob, transfer(p.bob, n=n)["id"], "decline")
    with case("recv --file: --json lines, and one that ended otherwise"):
        n = number(p.bob, offer(p.ann, "bob", p.path("odd.bin"))[0])
        steps = p.bob.json("recv", "--file", n, "-o", f"{out}/again")
        what = [o["what"] for o in steps if "what" in o and o["what"] != "progress"]
        equal(what[-1], "done", what)
        declined = offer(p.ann, "bob", p.path("odd.bin"))[0]
        n = number(p.bob, declined)
        verb(p.bob, declined, "decline")
        p.bob.fails(ERROR, "recv", "--file", n, "-o", f"{out}/declined")
        p.bob.fails(UNKNOWN, "recv", "--file", "9999", "-o", f"{out}/unknown")


def main():
    with Lab() as lab:
        p = Pair(lab)
        p.make("odd.bin", ODD)
        make(p.path("photos/deep/1"), 10)
        piped(p)
        to_path(p)
    finish()


main()
