"""Files on a disk that fills up and is freed, symbolic links that somebody plants where
files will go, and sources that are not sent: the node's own home, pipes, sockets."""
import os
import shutil
import socket
import subprocess

from files_share import (LEAF, contents, done, listed, make, moving, number, offer, parts, reaches,
                         same, slow, transfer, tree, verb)
from harness import (ERROR, Lab, case, check, delivered, equal, finish, namespaces, pair, until)

SMALL = 64 << 20  # bytes of the small disk; a transfer leaves 16 MiB of it free


def fill(folder):
    """A file that takes all the space there is."""
    path = os.path.join(folder, "filler")
    with open(path, "wb") as f:
        try:
            while True:
                f.write(b"\1" * LEAF)
                f.flush()
        except OSError:
            pass
    return path


def crowded(lab, ann, bob, small):
    with case("a folder of more files than the disk has room for is not begun; room: it goes on"):
        source = os.path.join(lab.dir, "src", "many")
        for i in range(300):
            make(os.path.join(source, f"{i % 7}", f"{i}"), 3)
        subprocess.run(["mount", "-o", "remount,nr_inodes=1200", small], check=True)
        tid = offer(ann, "bob", source)[0]
        verb(bob, tid, "accept")
        t = reaches(bob, tid, "stuck")
        check("more files" in t["reason"] and t["done"] == 0, t)
        equal(parts(small), [])
        subprocess.run(["mount", "-o", "remount,nr_inodes=9000", small], check=True)
        done(ann, bob, tid, timeout=60)
        equal(tree(os.path.join(small, "many")), tree(source))


def mounted(lab, name, size):
    folder = os.path.join(lab.dir, name)
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    return folder


def full(lab, ann, bob, small):
    with case("the disk fills up in the middle: said at both ends; freed: it goes on by itself"):
        path = make(os.path.join(lab.dir, "src", "fill.bin"), 10 * LEAF + 1)
        slow(ann, 4 * LEAF)
        tid = offer(ann, "bob", path)[0]
        verb(bob, tid, "accept")
        moving(bob, tid, LEAF)
        filler = fill(small)
        t = reaches(bob, tid, "stuck")
        check("space" in t["reason"] and t["done"] < 10 * LEAF, t)
        check("full" in reaches(ann, tid, "held")["reason"])
        check("space" in bob.ok("transfers", "show", t["n"]).out)
        delivered(ann, "bob", "texts still pass")
        check("fill.bin" not in listed(small))
        os.unlink(filler)
        done(ann, bob, tid, timeout=60)
        same(path, os.path.join(small, "fill.bin"))
        os.unlink(os.path.join(small, "fill.bin"))
    with case("killed while it is full, freed while it is down"):
        path = make(os.path.join(lab.dir, "src", "again.bin"), 10 * LEAF + 1)
        tid = offer(ann, "bob", path)[0]
        verb(bob, tid, "accept")
        moving(bob, tid, LEAF)
        filler = fill(small)
        reaches(bob, tid, "stuck")
        bob.kill()
        bob.start()
        have = reaches(bob, tid, "stuck", "active")["done"]
        check(have >= LEAF, have)
        bob.kill()
        os.unlink(filler)
        bob.start()
        done(ann, bob, tid, timeout=60)
        same(path, os.path.join(small, "again.bin"))
    with case("what does not fit is not begun, and nothing is taken up for it"):
        path = make(os.path.join(lab.dir, "src", "large.bin"), 0)
        os.truncate(path, SMALL)
        tid = offer(ann, "bob", path)[0]
        verb(bob, tid, "accept")
        t = reaches(bob, tid, "stuck")
        check("too little" in t["reason"] and t["done"] == 0, t)
        equal(parts(small), [])
        subprocess.run(["mount", "-o", f"remount,size={3 * SMALL}", small], check=True)
        slow(ann, None)
        done(ann, bob, tid, timeout=60)
        same(path, os.path.join(small, "large.bin"))
        os.unlink(os.path.join(small, "large.bin"))


class Paused:
    """A transfer that is paused at bob's in the middle."""

    def __init__(self, ann, bob, path, least):
        self.ann, self.bob = ann, bob
        slow(ann, 6 * LEAF)
        self.tid = offer(ann, "bob", path)[0]
        verb(bob, self.tid, "accept")
        moving(bob, self.tid, least)
        verb(bob, self.tid, "pause")
        slow(ann, None)

    def goes_on(self, restart):
        """To an end, or until it is stuck, which a sentence explains; then it is given
        up."""
        if restart:
            self.bob.kill()
            self.bob.start()
        verb(self.bob, self.tid, "resume")
        t = reaches(self.bob, self.tid, "done", "stuck", "lost", "broken", "stopped")
        if t["state"] == "stuck":
            check(t["reason"], t)
            verb(self.bob, self.tid, "cancel")
        return t


def planted(lab, ann, bob, down):
    outside = os.path.join(lab.dir, "outside")
    os.mkdir(outside)
    victim = make(os.path.join(outside, "victim"), 5 * LEAF)
    before = tree(outside)
    source = make(os.path.join(lab.dir, "src", "plant.bin"), 5 * LEAF + 3)

    def untouched():
        equal(tree(outside), before, "what lies outside")

    with case("a symbolic link at the final name: neither followed nor replaced"):
        for i, target in enumerate((victim, outside, os.path.join(outside, "new"))):
            link = os.path.join(down, "plant.bin")
            p = Paused(ann, bob, source, 2 * LEAF)
            os.symlink(target, link)
            t = p.goes_on(restart=i == 0)
            equal((t["state"], t["path"]), ("done", os.path.join(down, "plant (1).bin")))
            same(source, t["path"])
            equal(os.readlink(link), target)
            untouched()
            os.unlink(link)
            os.unlink(t["path"])
    with case("a symbolic link at the final name, and at the part's, before it begins"):
        os.symlink(victim, os.path.join(down, "plant.bin"))
        os.symlink(victim, os.path.join(down, "plant (1).bin.part"))
        tid = offer(ann, "bob", source)[0]
        verb(bob, tid, "accept")
        path = done(ann, bob, tid)["path"]
        check(path in [os.path.join(down, f"plant ({i}).bin") for i in (1, 2)], path)
        same(source, path)
        untouched()
        for name in listed(down):
            os.unlink(os.path.join(down, name))
    with case("a symbolic link, a hard link or another file in place of the part"):
        part = os.path.join(down, "plant.bin.part")
        for kind in ("symbolic", "hard", "dangling", "fifo", "folder", "other"):
            for restart in (False, True):
                p = Paused(ann, bob, source, 2 * LEAF)
                os.unlink(part)
                {"symbolic": lambda: os.symlink(victim, part),
                 "hard": lambda: os.link(victim, part),
                 "dangling": lambda: os.symlink(os.path.join(outside, "new"), part),
                 "fifo": lambda: os.mkfifo(part), "folder": lambda: os.mkdir(part),
                 "other": lambda: shutil.copy(victim, part)}[kind]()
                t = p.goes_on(restart)
                untouched()
                if t["state"] == "done":
                    same(source, t["path"])
                for name in listed(down):
                    path = os.path.join(down, name)
                    check(name == "plant.bin.part" or t["state"] == "done", kind, name, t)
                    (os.rmdir if os.path.isdir(path) and not os.path.islink(path)
                     else os.unlink)(path)
    with case("a symbolic link in place of a folder or a file in a folder's part"):
        top = os.path.join(lab.dir, "src", "album")
        for i in range(6):
            make(os.path.join(top, f"{i}", "picture"), LEAF)
        for name, target in (("5", outside), ("5/picture", victim),
                             ("5/picture", os.path.join(outside, "new"))):
            for restart in (False, True):
                p = Paused(ann, bob, top, LEAF)
                at = os.path.join(down, "album.part", name)
                if os.path.isdir(at):
                    shutil.rmtree(at)
                elif os.path.exists(at):
                    os.unlink(at)
                os.symlink(target, at)
                t = p.goes_on(restart)
                untouched()
                check(t["state"] != "done" or tree(t["path"]) == tree(top), name, t)
                for left in [os.path.join(down, name) for name in listed(down)]:
                    (shutil.rmtree if os.path.isdir(left) else os.unlink)(left)
                untouched()
    with case("the download folder itself is a symbolic link: that is the user's"):
        real = os.path.join(lab.dir, "real")
        os.mkdir(real)
        os.rmdir(down)
        os.symlink(real, down)
        tid = offer(ann, "bob", source)[0]
        verb(bob, tid, "accept")
        done(ann, bob, tid)
        same(source, os.path.join(real, "plant.bin"))


def not_sent(lab, ann, bob):
    odd = os.path.join(lab.dir, "odd")
    os.mkdir(odd)

    def refused(path, *words):
        before = len(ann.api.call("transfers")["transfers"])
        result = ann.fails(ERROR, "send", "bob", "-f", path)
        for word in words:
            check(word in result.err, word, "in", result)
        equal(len(ann.api.call("transfers")["transfers"]), before)

    with case("the node's own home is not sent, nor what holds it or lies in it"):
        link = os.path.join(odd, "link")
        os.symlink(ann.home, link)
        for path in (ann.home, lab.dir, os.path.join(ann.home, "key"), link, f"{link}/key",
                     os.path.join(ann.home, "files", ".."), os.path.join(ann.home, "linnet.db")):
            refused(path, "home")
    with case("a pipe, a socket, a device: a sentence"):
        fifo, sock = os.path.join(odd, "fifo"), os.path.join(odd, "sock")
        os.mkfifo(fifo)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(sock)
            for path in (fifo, sock, "/dev/null"):
                refused(path, "neither a file nor a folder")
    with case("a folder of nothing but such is an empty folder"):
        os.unlink(os.path.join(odd, "link"))
        tid = offer(ann, "bob", odd)[0]
        number(bob, tid)
        equal((transfer(bob, tid)["files"], transfer(bob, tid)["size"]), (0, 0))
        verb(ann, tid, "cancel")
    with case("a symbolic link that is named itself is followed: the user means the file"):
        path = make(os.path.join(odd, "target"), 1000)
        os.symlink("target", os.path.join(odd, "named"))
        tid = offer(ann, "bob", os.path.join(odd, "named"))[0]
        verb(bob, tid, "accept")
        t = done(ann, bob, tid)
        equal(t["name"], "named")
        same(path, t["path"])
        equal(len(contents(t["path"])), 1000)


def main():
    namespaces("files on a small disk")
    with Lab() as lab:
        ann = lab.node("ann").start()
        small = mounted(lab, "small", SMALL)
        bob = lab.node("bob").start()
        pair(ann, bob)
        bob.ok("config", "set", "downloads", small)
        full(lab, ann, bob, small)
        crowded(lab, ann, bob, small)
        down = os.path.join(lab.dir, "down")
        bob.ok("config", "set", "downloads", down)
        planted(lab, ann, bob, down)
        not_sent(lab, ann, bob)
        until(lambda: not os.listdir(os.path.join(bob.home, "files")), "bob keeps nothing")
        ann.stop()
        bob.stop()
        subprocess.run(["umount", small], check=True)
    finish()


main()
