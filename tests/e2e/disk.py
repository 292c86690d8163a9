"""Homes on a small file system that fills up in the middle of a commit, and key files and
databases that are damaged, newer, locked or under another passphrase."""
import hashlib
import os
import shutil
import sqlite3
import subprocess

from frontends_follow import Follower
from harness import (ERROR, NO_NODE, Lab, case, check, delivered, equal, exactly_once, finish,
                     namespaces, pair, until)

SMALL = 16 << 20  # bytes of the file system
PIECE = 30000  # bytes of a long text


def fill(folder, leave):
    """A file that takes all space but `leave` bytes."""
    path = os.path.join(folder, "filler")
    free = os.statvfs(folder)
    with open(path, "wb") as f:
        f.write(b"\1" * max(0, free.f_bavail * free.f_frsize - leave))
    return path


def full(lab, ann):
    folder = os.path.join(lab.dir, "small")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], check=True)
    bob = lab.node("bob", home=os.path.join(folder, "bob")).start()
    said = []
    with case("they pair"):
        pair(ann, bob)
        delivered(bob, "ann", "first")
        delivered(ann, "bob", "answer")
    with case("a disk that fills up in a commit is told; the node lives"):
        filler = fill(folder, 500_000)
        for i in range(60):
            text = f"{i} ".ljust(PIECE, "x")
            result = bob.run("send", "ann", "-", stdin=text)
            if result.code != 0:
                break
            said.append(text)
        equal(result.code, ERROR, result)
        check(any(w in result.err.lower() for w in ("full", "space")), result)
        check(0 < len(said) < 60, len(said), "messages fitted")
        status = bob.json("status")[0]
        check(status["store"] != "ok" and status["store_error"], status)
        check(bob.process.poll() is None)
    with case("what others send while it is full is not claimed to be delivered"):
        ann.ok("send", "bob", "while your disk is full".ljust(PIECE, "."))
        late = ann.run("send", "bob", "-", "--wait", "delivered", "--timeout", "2s",
                       stdin="and this".ljust(PIECE, "."))
        check(late.code != 0, late)
        check(ann.export("bob")[-1]["state"] in ("queued", "sent"))
    with case("killed and started again on the full disk it says what is wrong, or runs"):
        bob.kill()
        bob.spawn()
        code = None

        def decided():
            nonlocal code
            code = bob.process.poll()
            return code is not None or bob.run("status").code == 0

        until(decided, "it decides")
        check(code is None or bob.said().strip())
        bob.kill()
    with case("the disk is freed: nothing was lost, everything goes on"):
        os.unlink(filler)
        bob.start()
        until(lambda: bob.json("status")[0]["store"] == "ok", "the store is well again")
        delivered(bob, "ann", "after", timeout=60)
        until(lambda: any(t.startswith("and this") for t in bob.texts("ann")), "arrives")
        exactly_once(bob, "ann", ["first", *said, "after"])
        exactly_once(ann, "bob", ["first", *said, "after"])
        until(lambda: ann.texts("bob") == bob.texts("ann"), "they agree")
    with case("the disk fills up and is freed while the node runs on"):
        filler = fill(folder, 200_000)
        for i in range(60):
            if bob.run("send", "ann", "-", stdin=f"b{i} ".ljust(PIECE, "y")).code != 0:
                break
        check(bob.json("status")[0]["store"] != "ok")
        ann.ok("send", "bob", "for who follows")
        follower = Follower(bob, "recv", "-f")
        follower.hears("Waiting until the node can go on")
        os.unlink(filler)
        until(lambda: bob.json("status")[0]["store"] == "ok", "by itself")
        delivered(bob, "ann", "by itself", timeout=60)
        follower.wait(lambda lines: "for who follows" in follower.texts(), "the follower goes on")
        equal(len(set(follower.texts())), len(follower.texts()), "nothing is doubled")
        follower.end()
        until(lambda: ann.texts("bob") == bob.texts("ann"), "they agree")
    bob.stop()
    return bob


def passphrase(node, old, new):
    """`linnet passphrase` with both on a descriptor; old None: there is none, new empty:
    there shall be none."""
    read, write = os.pipe()
    os.write(write, "".join(f"{p}\n" for p in (old, new) if p is not None).encode())
    os.close(write)
    result = node.run("passphrase", "--passphrase-fd", read, pass_fds=[read])
    os.close(read)
    return result


def with_passphrase(node, phrase, start):
    read, write = os.pipe()
    os.write(write, phrase.encode() + b"\n")
    os.close(write)
    try:
        return start("--passphrase-fd", read, pass_fds=[read])
    finally:
        os.close(read)


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def replace(path, data):
    with open(path, "wb") as f:
        f.write(data)


def keys(lab):
    eve = lab.node("eve").start()
    root = eve.json("id")[0]["root"]
    eve.stop()
    path = os.path.join(eve.home, "key")
    good = contents(path)
    with case("a damaged key file: a clear error, the file untouched"):
        for data in (good[:-1] + bytes([good[-1] ^ 1]), good[:40] + b"\xff" + good[41:],
                     good[:20], b"", b"nonsense\n" * 20, good + b"x", b"\0" * 5000):
            replace(path, data)
            check("key" in eve.refuses().lower())
            equal(contents(path), data, "the file")
    with case("a key file newer than the program"):
        at = good.index(b"\n") + 1  # the version follows the first line
        data = good[:at] + b"\x63" + good[at + 1:-32]
        data += hashlib.blake2b(data, digest_size=32).digest()  # not damaged: newer
        replace(path, data)
        said = eve.refuses().lower()
        check("newer" in said or "version" in said, said)
        equal(contents(path), data, "the file")
    with case("no key in a home that has a database"):
        os.unlink(path)
        eve.refuses()
        check(not os.path.exists(path), "it must not begin anew beside an old history")
    with case("a passphrase is set, asked for, changed and taken away"):
        replace(path, good)
        eve.start()
        equal(passphrase(eve, None, "correct horse").code, 0)
        equal(eve.json("status")[0]["protected"], True)
        eve.stop()
        sealed = contents(path)
        check(sealed != good)
        wrong = with_passphrase(eve, "wrong horse", eve.refuses)
        check("passphrase" in wrong.lower(), wrong)
        eve.refuses()  # no passphrase, no terminal
        equal(contents(path), sealed, "the file")
        with_passphrase(eve, "correct horse", eve.start)
        equal(eve.json("id")[0]["root"], root)
        check(passphrase(eve, "wrong horse", "another").code != 0, "the old one is wrong")
        equal(contents(path), sealed, "the file")
        equal(passphrase(eve, "correct horse", "another").code, 0)
        eve.stop()
        with_passphrase(eve, "another", eve.start)
        equal(passphrase(eve, "another", "").code, 0)
        eve.stop()
        eve.start()
        equal(eve.json("id")[0]["root"], root)
        eve.stop()
    with case("a home with a passphrase and no terminal: a command ends with 3"):
        with_passphrase(eve.start(), "x", lambda *a, **k: None)
        equal(passphrase(eve, None, "x y z").code, 0)
        eve.stop()
        process = eve.popen("id", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, start_new_session=True)
        _, err = process.communicate(timeout=60)
        lab.children.remove(process)
        equal(process.returncode, NO_NODE, err)


def databases(lab, ann, bob):
    path = os.path.join(bob.home, "linnet.db")
    good = contents(path)
    with case("a database newer than the program is refused, untouched"):
        db = sqlite3.connect(path)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {version + 1}")
        db.close()
        data = contents(path)
        check("newer" in bob.refuses().lower())
        equal(contents(path), data, "the file")
        replace(path, good)
    with case("a corrupt database is refused with a sentence"):
        for data in (b"not a database\n" * 1000, good[:5000], b"\xff" * len(good)):
            replace(path, data)
            said = bob.refuses().lower()
            check("linnet.db" in said or "database" in said or "damaged" in said, said)
        replace(path, good)
    with case("a database that another program has locked"):
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        check(bob.refuses())
        db.execute("ROLLBACK")
        db.close()
    with case("and when all is well again, nothing is missing"):
        for name in ("linnet.db-wal", "linnet.db-shm"):
            if os.path.exists(os.path.join(bob.home, name)):
                os.unlink(os.path.join(bob.home, name))
        bob.start()
        until(lambda: ann.texts("bob") == bob.texts("ann"), "they agree")
        delivered(ann, "bob", "the end")
        bob.stop()
    with case("a home that cannot be written"):
        home = os.path.join(lab.dir, "small", "nowhere")
        replace(home, b"a file, not a folder")
        lost = lab.node("lost", home=home + "2")
        lost.home = home
        check(lost.refuses())
        shutil.rmtree(home + "2")


def main():
    namespaces("a small file system")
    with Lab() as lab:
        ann = lab.node("ann").start()
        bob = full(lab, ann)
        databases(lab, ann, bob)
        keys(lab)
        ann.stop()
        subprocess.run(["umount", os.path.join(lab.dir, "small")], check=True)
    finish()


main()
