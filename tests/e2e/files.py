"""Files and folders between two real nodes on one machine: what arrives and under which
name, who decides, pauses and takes back, what happens when either end is killed or the
source changes, and what the command line tells."""
import os
import shutil
import signal
import sqlite3

from files_share import (LEAF, Command, Pair, contents, digest, done, downloads, kept, listed,
                         make, moving, newest, no_parts, number, offer, parts, reaches, same, sent,
                         transfer, transfers, tree, verb)
from harness import (DONE, ERROR, NOBODY, REFUSED, TIMEOUT, UNKNOWN, USAGE, ApiError, Lab,
                     Skip, case, check, delivered, equal, finish, until)

INCOMPLETE, INTEGRITY = 8, 9
PAGE = 256  # transfers in one answer
ODD = 3 * LEAF + 12345
LONG = "long-" + "x" * 246 + ".txt"  # 255 bytes, the longest name there is


# ---- what arrives ----


def single(p):
    with case("a file of an odd size, and what the commands print"):
        path = p.make("odd.bin", ODD)
        send = Command(p.ann, "send", "bob", "-f", path, "--wait", "delivered")
        n = number(p.bob, newest(p.bob, "odd.bin", "offered"))
        equal(listed(p.down), [], "nothing is there before bob accepts")
        accepted = p.bob.ok("transfers", "accept", n)
        check(str(n) in accepted.out + accepted.err, accepted)
        send.end(DONE)
        equal(len(send.lines), 1, "one final line", send.lines)
        fields = send.lines[0].split("\t")
        equal(fields[1:], ["done", str(ODD), "odd.bin"], "it")
        same(path, p.got("odd.bin"))
        equal(listed(p.down), ["odd.bin"], "nothing else is left")
        t = reaches(p.bob, transfer(p.ann, n=int(fields[0]))["id"], "done")
        equal((t["path"], t["size"], t["done"], t["percent"], t["sealed"]),
              (p.got("odd.bin"), ODD, ODD, 100, True))
    with case("an empty file"):
        sent(p.ann, p.bob, p.make("empty", 0))
        equal(contents(p.got("empty")), b"")
    with case("sizes around those of leaves"):
        for size in (1, LEAF - 1, LEAF, LEAF + 1):
            path = p.make(f"size-{size}", size)
            sent(p.ann, p.bob, path)
            same(path, p.got(f"size-{size}"))
    with case("--json: offered, accepted, progress, done, in this order"):
        with p.slowly():
            send = Command(p.ann, "--json", "send", "bob", "-f",
                           p.make("steps.bin", 5 * LEAF), "--wait", "delivered")
            tid = newest(p.bob, "steps.bin", "offered")
            verb(p.bob, tid, "accept")
            send.end(DONE)
        steps = [o["what"] for o in send.json]
        equal([s for s in steps if s != "progress"], ["offered", "accepted", "done"])
        check("progress" in steps[2:-1], steps)
        for o in send.json:
            check(o["v"] == 1 and o["transfer"]["id"] == tid, o)
        have = [o["transfer"]["done"] for o in send.json]
        equal(have, sorted(have), "it only grows")
        equal((have[0], have[-1]), (0, 5 * LEAF))
    with case("the execute bit is kept, other bits are not"):
        sent(p.ann, p.bob, p.make("tool", 100, mode=0o4755))
        mode = os.stat(p.got("tool")).st_mode
        check(mode & 0o100 and not mode & 0o7000, oct(mode))
        sent(p.ann, p.bob, p.make("text", 100, mode=0o666))
        check(not os.stat(p.got("text")).st_mode & 0o111)


def folder_of(p):
    """A folder with all that is special, and what shall arrive of it."""
    top = p.path("holiday")
    wanted = {"empty": None, "deep": None}
    at = ""
    for i in range(5):
        at = os.path.join(at, f"{i}") if at else "deep/0"
        wanted[at] = None
    names = ["a.txt", "照片.jpg", "صورة.jpg", "🏖️ beach.mp4", LONG, f"{at}/end.bin", "two blanks  in",
             "-rf", "%s%n", ".hidden", "#'\"$(x)`;&"]
    for i, name in enumerate(names):
        make(os.path.join(top, name), 1000 * i)
        wanted[name] = digest(os.path.join(top, name))
    wanted["照片"] = None
    make(os.path.join(top, "照片/big.bin"), ODD)
    wanted["照片/big.bin"] = digest(os.path.join(top, "照片/big.bin"))
    make(os.path.join(top, "run.sh"), 50, mode=0o755)
    wanted["x run.sh"] = digest(os.path.join(top, "run.sh"))
    os.makedirs(os.path.join(top, "empty"))
    for name, target in (("link", "a.txt"), ("outside", "/etc/passwd"), ("up", ".."),
                         ("dangling", "nowhere"), ("deep/loop", ".")):
        os.symlink(target, os.path.join(top, name))
    os.mkfifo(os.path.join(top, "fifo"))
    for name, harmless in (("new\nline", "new_line"), ("bidi\u202egpj.exe", "bidi_gpj.exe"),
                           ("esc\x1b[2J", "esc_[2J"), ("back\\slash", "back_slash"),
                           ("CON", None), ("dot.", None)):
        make(os.path.join(top, name), 10)
        wanted[harmless or name] = digest(os.path.join(top, name))
    return top, wanted


def folders(p):
    with case("several files and a folder in one send"):
        top, wanted = folder_of(p)
        one, two = p.make("one.txt", 1), p.make("日本.bin", ODD)
        got = p.ann.ok("send", "bob", "for you", "-f", one, "-f", two, "-f", top,
                       "--wait", "sent", "--json").json
        tids = [newest(p.bob, name, "offered") for name in ("one.txt", "日本.bin", "holiday")]
        check(len(got) >= 3, got)
        for tid in tids:
            verb(p.bob, tid, "accept")
        for tid in tids:
            t = done(p.ann, p.bob, tid, timeout=60)
        same(one, p.got("one.txt"))
        same(two, p.got("日本.bin"))
        equal((t["kind"], t["path"]), ("folder", p.got("holiday")))
        have = tree(p.got("holiday"))
        odd = {k: have.pop(k) for k in list(have) if k not in wanted}
        for name in ("CON", "dot."):  # names that some systems do not know: nearly the same
            equal(list(odd.values()).count(wanted.pop(name)), 1, name, odd)
        equal(len(odd), 2, odd)
        check(not any(k.upper() == "CON" or k.endswith(".") for k in odd), odd)
        equal(have, wanted)
        files = sum(v is not None for v in wanted.values()) + 2
        folders_ = sum(v is None for v in wanted.values())
        equal(t["files"], files + folders_, "entries")
        check("for you" in p.bob.texts("ann"))
    with case("an empty folder, and one with one empty file"):
        for name in ("nothing", "hardly"):
            os.mkdir(p.path(name))
        make(p.path("hardly/any"), 0)
        for name in ("nothing", "hardly"):
            sent(p.ann, p.bob, p.path(name))
            equal(tree(p.got(name)), tree(p.path(name)))
    with case("a file whose own name is harmful gets a harmless one"):
        for i, (name, harmless) in enumerate((("a\nb", "a_b"), ("c\u202ed", "c_d"),
                                              ("e\x1b[31m", "e_[31m"))):
            path = p.make(name, 10 + i)
            t = sent(p.ann, p.bob, path)
            equal((t["name"], t["path"]), (harmless, p.got(harmless)))
            same(path, p.got(harmless))
        check("\x1b" not in p.bob.ok("transfers").out)
    with case("a name of 255 bytes, of its own and with --name"):
        path = p.make(LONG, 10)
        sent(p.ann, p.bob, path)
        same(path, p.got(LONG))
        sent(p.ann, p.bob, path, name="short")
        same(path, p.got("short"))


def clashes(p):
    with case("a name that is taken: nothing is overwritten"):
        for i, names in enumerate((("plan.odt", "plan (1).odt", "plan (2).odt"),
                                   ("a.tar.gz", "a (1).tar.gz", "a (2).tar.gz"),
                                   (".rc", ".rc (1)", ".rc (2)"))):
            for k, name in enumerate(names):
                path = p.make(names[0], 100 + k, seed=f"{i} {k}")
                equal(sent(p.ann, p.bob, path)["path"], p.got(name))
                same(path, p.got(name))
            equal(os.path.getsize(p.got(names[0])), 100, "the first is as it was")
    with case("folders, too; and a name that is taken only while it comes"):
        os.mkdir(p.path("photos"))
        make(p.path("photos/1"), 10)
        for name in ("photos", "photos (1)"):
            equal(sent(p.ann, p.bob, p.path("photos"))["path"], p.got(name))
        with p.slowly():
            tid = p.begun("late.bin", ODD, LEAF)
            with open(p.got("late.bin"), "w", encoding="ascii") as f:
                f.write("mine")
            equal(done(p.ann, p.bob, tid)["path"], p.got("late (1).bin"))
        equal(contents(p.got("late.bin")), b"mine")
        same(p.path("late.bin"), p.got("late (1).bin"))
    with case("two of the same name at the same time"):
        a, b = p.make("x/twin", ODD), p.make("y/twin", ODD)
        tids = offer(p.ann, "bob", a, b)
        for tid in tids:
            verb(p.bob, tid, "accept")
        paths = [done(p.ann, p.bob, tid)["path"] for tid in tids]
        equal(sorted(paths), [p.got("twin"), p.got("twin (1)")])
        for source, path in zip((a, b), paths):
            same(source, path)


# ---- who decides ----


def deciding(p):
    with case("declined: the sender is told, exit 7, and nothing was written"):
        before = listed(p.down)
        send = Command(p.ann, "send", "bob", "-f", p.make("no.bin", ODD), "--wait", "delivered")
        n = number(p.bob, newest(p.bob, "no.bin", "offered"))
        p.bob.ok("transfers", "decline", n)
        send.end(REFUSED)
        check("declined" in send.err, send.err)
        equal(send.lines[0].split("\t")[1], "declined")
        equal(listed(p.down), before)
        check(p.bob.run("transfers", "accept", n).code != DONE, "it is final")
    with case("into another folder, and under another name"):
        other = os.path.join(p.lab.dir, "other")
        os.mkdir(other)
        path = p.make("away.bin", 1000)
        for where, at in ((other, f"{other}/away.bin"), (f"{other}/new.bin",) * 2,
                          (f"{other}/new.bin", f"{other}/new (1).bin")):
            tid = offer(p.ann, "bob", path)[0]
            verb(p.bob, tid, "accept", path=where)
            equal(done(p.ann, p.bob, tid)["path"], at)
            same(path, at)
    with case("a place that is not there is no loss: it waits, and can be taken elsewhere"):
        tid = offer(p.ann, "bob", path)[0]
        nowhere = os.path.join(p.lab.dir, "nowhere")
        verb(p.bob, tid, "accept", path=f"{nowhere}/x.bin")
        t = reaches(p.bob, tid, "stuck")
        check(nowhere in t["reason"], t)
        os.mkdir(nowhere)
        done(p.ann, p.bob, tid)
        same(path, f"{nowhere}/x.bin")


def configured(p, **values):
    for key, value in values.items():
        p.bob.ok("config", "set", key, value)


def by_itself(p):
    def decided(name, size, accepted):
        path = p.make(name, size)
        tid = offer(p.ann, "bob", path)[0]
        if accepted:
            done(p.ann, p.bob, tid)
            same(path, p.got(name))
            return
        # Whatever came after it has been looked at, so it was left alone.
        delivered(p.ann, "bob", f"after {name}")
        equal(transfer(p.bob, tid)["state"], "offered", name)
        verb(p.bob, tid, "decline")
        reaches(p.ann, tid, "declined")

    with case("accept = contacts, up to accept_max"):
        configured(p, accept="contacts", accept_max=LEAF)
        decided("max", LEAF, True)
        decided("above", LEAF + 1, False)
        configured(p, accept_max="2M")
        decided("within", LEAF + 1, True)
    with case("accept = verified"):
        configured(p, accept="verified")
        decided("unverified", 10, False)
        p.bob.ok("verify", "ann", "--yes")
        decided("verified", 10, True)
    with case("a quota of what is accepted by itself in a day"):
        now = LEAF + LEAF + 1 + 10
        configured(p, accept="contacts", accept_quota=now + 1000)
        decided("quota 1", 600, True)
        decided("quota 2", 600, False)
        decided("quota 3", 400, True)
        decided("quota 4", 1, False)
        p.bob.kill()
        p.bob.start()
        decided("quota 5", 1, False)
        configured(p, accept_quota="none")
        decided("quota 6", 600, True)
    with case("what holds for one contact instead"):
        p.bob.api.call("contact.files", name="ann", mode="ask")
        decided("ask", 10, False)
        p.bob.api.call("contact.files", name="ann", mode="always", max=100)
        configured(p, accept="ask")
        decided("always", 100, True)
        decided("too large", 101, False)
        rule = p.bob.api.call("contact.files", name="ann")
        equal((rule["mode"], rule["max"], rule["quota"]), ("always", 100, None))
        shown = p.bob.ok("contact", "files", "ann")
        check("without asking" in shown.out, shown)
        p.bob.fails(UNKNOWN, "contact", "files", "nobody")
        p.bob.kill()
        p.bob.start()
        decided("always, after a restart", 100, True)
        p.bob.api.call("contact.files", name="ann", mode="default", max=None, quota=None)
        decided("asked again", 100, False)
    with case("mode never declines by itself"):
        p.bob.api.call("contact.files", name="ann", mode="never")
        tid = offer(p.ann, "bob", p.make("never", 10))[0]
        reaches(p.ann, tid, "declined")
        p.bob.api.call("contact.files", name="ann", mode="default")


# ---- in the middle ----


def controls(p):
    big = 6 * LEAF
    with case("paused and resumed by the receiver"):
        with p.slowly():
            tid = p.begun("pause.bin", big)
            p.bob.ok("transfers", "pause", number(p.bob, tid))
            equal(transfer(p.bob, tid)["state"], "paused")
            check("paused" in reaches(p.ann, tid, "held")["reason"])
            p.bob.kill()
            p.bob.start()
            equal(transfer(p.bob, tid)["state"], "paused", "over a restart")
            delivered(p.ann, "bob", "while it is paused")
            have = transfer(p.bob, tid)["done"]
            check(2 * LEAF <= have < big, have)
            p.bob.ok("transfers", "resume", number(p.bob, tid))
            done(p.ann, p.bob, tid)
        same(p.path("pause.bin"), p.got("pause.bin"))
    with case("paused and resumed by the sender"):
        with p.slowly():
            tid = p.begun("pause 2.bin", big)
            p.ann.ok("transfers", "pause", number(p.ann, tid))
            check("paused" in reaches(p.bob, tid, "held")["reason"])
            p.ann.kill()
            p.ann.start()
            equal(transfer(p.ann, tid)["state"], "paused", "over a restart")
            delivered(p.ann, "bob", "while it is paused by ann")
            equal(transfer(p.bob, tid)["state"], "held")
            p.ann.ok("transfers", "resume", number(p.ann, tid))
            done(p.ann, p.bob, tid)
        same(p.path("pause 2.bin"), p.got("pause 2.bin"))
    with case("given up by the receiver: the part goes, the sender is told"):
        with p.slowly():
            tid = p.begun("stop.bin", big)
            equal(parts(p.down), ["stop.bin.part"])
            p.bob.ok("transfers", "cancel", number(p.bob, tid))
            reaches(p.ann, tid, "stopped")
            equal(transfer(p.bob, tid)["state"], "stopped")
            no_parts(p)
            check("stop.bin" not in listed(p.down))
    with case("taken back by the sender: the receiver keeps nothing"):
        with p.slowly():
            tid = p.begun("back.bin", big)
            p.ann.ok("transfers", "cancel", number(p.ann, tid))
            reaches(p.bob, tid, "cancelled")
            no_parts(p)
            check("back.bin" not in listed(p.down))
    with case("an offer that nobody has decided on is taken back"):
        tid = offer(p.ann, "bob", p.path("back.bin"))[0]
        n = number(p.bob, tid)
        verb(p.ann, tid, "cancel")
        reaches(p.bob, tid, "cancelled")
        check(p.bob.run("transfers", "accept", n).code != DONE)
    with case("what has ended takes no more orders: a sentence"):
        n = number(p.ann, tid)
        for what in ("pause", "resume", "cancel"):
            p.ann.fails(p.ann.run("transfers", what, n).code or 99, "transfers", what, n)


def interrupted(p):
    with case("^C: paused, exit 8, a sentence how to go on; and it goes on"):
        with p.slowly():
            path = p.make("ctrl-c.bin", 6 * LEAF)
            send = Command(p.ann, "send", "bob", "-f", path, "--wait", "delivered")
            tid = newest(p.bob, "ctrl-c.bin", "offered")
            verb(p.bob, tid, "accept")
            moving(p.ann, tid, LEAF)
            send.process.send_signal(signal.SIGINT)
            send.end(INCOMPLETE)
            n = number(p.ann, tid)
            check(f"linnet transfers resume {n}" in send.err, send.err)
            equal(transfer(p.ann, tid)["state"], "paused")
            p.ann.ok("transfers", "resume", n)
        done(p.ann, p.bob, tid)
        same(path, p.got("ctrl-c.bin"))
    with case("^C at the receiver: paused, exit 8; the same command goes on"):
        with p.slowly():
            tid = offer(p.ann, "bob", p.make("ctrl-c 2.bin", 6 * LEAF))[0]
            n = number(p.bob, tid)
            recv = Command(p.bob, "recv", "--file", n)
            moving(p.bob, tid, LEAF)
            recv.process.send_signal(signal.SIGINT)
            recv.end(INCOMPLETE)
            check(f"linnet recv --file {n}" in recv.err, recv.err)
            equal(transfer(p.bob, tid)["state"], "paused")
            reaches(p.ann, tid, "held")
        check(p.got("ctrl-c 2.bin") in p.bob.ok("recv", "--file", n).out)
        same(p.path("ctrl-c 2.bin"), p.got("ctrl-c 2.bin"))
    with case("^C before anybody has accepted: the offer stays"):
        send = Command(p.ann, "--json", "send", "bob", "-f", path, "--wait", "delivered")
        check(b"offered" in send.process.stdout.readline(), "it follows")
        send.process.send_signal(signal.SIGINT)
        send.end(INCOMPLETE)
        check("transfers cancel" in send.err, send.err)
        tid = newest(p.bob, "ctrl-c.bin", "offered")
        equal(transfer(p.ann, tid)["state"], "offered")
        verb(p.bob, tid, "decline")
    with case("the sending command is killed: the node goes on without it"):
        with p.slowly():
            send = Command(p.ann, "send", "bob", "-f", p.make("alone.bin", ODD))
            tid = newest(p.bob, "alone.bin", "offered")
            verb(p.bob, tid, "accept")
            moving(p.bob, tid, LEAF)
            send.process.kill()
            send.end()
        done(p.ann, p.bob, tid)
        same(p.path("alone.bin"), p.got("alone.bin"))


def absent(p):
    with case("nobody there: the offer waits, exit 6; it starts when they return"):
        p.bob.stop()
        path = p.make("wait.bin", ODD)
        send = p.ann.run("send", "bob", "-f", path, "--wait", "delivered", "--timeout", "2s")
        check(send.code == NOBODY and "offline" in send.err, send)
        p.ann.kill()
        p.ann.start()
        p.bob.start()
        tid = newest(p.bob, "wait.bin", "offered")
        p.ann.stop()
        verb(p.bob, tid, "accept")
        reaches(p.bob, tid, "waiting")
        p.bob.kill()
        p.bob.start()
        equal(transfer(p.bob, tid)["state"], "waiting")
        p.ann.start()
        done(p.ann, p.bob, tid)
        same(path, p.got("wait.bin"))
    with case("without --wait it is offered and the command ends"):
        p.bob.stop()
        send = p.ann.ok("send", "bob", "-f", path)
        equal(send.lines[0].split("\t")[1], "offered")
        p.bob.start()
        tid = newest(p.bob, "wait.bin", "offered")
        verb(p.bob, tid, "accept")
        equal(done(p.ann, p.bob, tid)["path"], p.got("wait (1).bin"))
    with case("there, and has not accepted: exit 10"):
        send = p.ann.run("send", "bob", "-f", path, "--wait", "delivered", "--timeout", "1s")
        check(send.code == TIMEOUT and "not accepted" in send.err, send)
        verb(p.bob, newest(p.bob, "wait.bin", "offered"), "decline")


def kills(p):
    with case("either end is killed again and again: what was verified stays, all is right"):
        size = 12 * LEAF + 77
        with p.slowly(4 * LEAF):
            tid = p.begun("kill.bin", size, LEAF)
            for i, victim in enumerate((p.ann, p.bob, p.bob, p.ann)):
                moving(p.bob, tid, (2 * i + 2) * LEAF)
                if victim is p.ann:
                    victim.kill().start()
                    continue
                p.ann.process.send_signal(signal.SIGSTOP)  # nothing comes meanwhile
                have = transfer(p.bob, tid)["done"]
                victim.kill().start()
                until(lambda n=have: transfer(p.bob, tid)["done"] >= n, "it is still there")
                p.ann.process.send_signal(signal.SIGCONT)
            done(p.ann, p.bob, tid, timeout=60)
        same(p.path("kill.bin"), p.got("kill.bin"))
        check(not parts(p.down), listed(p.down))
    with case("both at once, a folder"):
        top = p.path("many")
        for i in range(60):
            make(os.path.join(top, f"{i % 7}/{i}"), 60_000 + i)
        with p.slowly():
            tid = offer(p.ann, "bob", top)[0]
            verb(p.bob, tid, "accept")
            moving(p.bob, tid, LEAF)
            check("many" not in listed(p.down), "no final name before all is there")
            p.ann.kill()
            p.bob.kill()
            p.ann.start()
            p.bob.start()
            done(p.ann, p.bob, tid)
        equal(tree(p.got("many")), tree(top))
    with case("killed right after accepting, and right at the end"):
        for i in range(4):
            path = p.make(f"edge {i}", LEAF + i)
            tid = offer(p.ann, "bob", path)[0]
            verb(p.bob, tid, "accept")
            if i % 2:
                until(lambda t=tid: transfer(p.bob, t)["done"] > LEAF, "nearly", every=0.001)
            (p.ann, p.bob)[i // 2].kill()
            (p.ann, p.bob)[i // 2].start()
            done(p.ann, p.bob, tid)
            same(path, p.got(f"edge {i}"))
            check(not parts(p.down), parts(p.down))
    with case("killed right after accepting, then taken back: no part is left"):
        for i in range(4):
            tid = offer(p.ann, "bob", path)[0]
            verb(p.bob, tid, "accept")
            p.bob.kill()
            verb(p.ann, tid, "cancel")
            p.bob.start()
            reaches(p.bob, tid, "cancelled", "lost")  # told, or asked for in vain before
            no_parts(p)


def leaves_of(node, tid, author=None):
    """The file of hashes that the home holds of a transfer."""
    return os.path.join(node.home, "files",
                        next(n for n in kept(node, tid, author) if n.endswith(".leaves")))


def damaged(p):
    with case("what bob keeps of a part is damaged or lost: fetched again, the content is right"):
        for how in ("hash", "part", "no hashes", "copy"):
            name = f"damage {how}"
            with p.slowly():
                tid = p.begun(name, 5 * LEAF)
                verb(p.bob, tid, "pause")
            p.bob.stop()
            part, leaves = p.got(f"{name}.part"), leaves_of(p.bob, tid, p.ann)
            with open(leaves if how == "hash" else part, "r+b") as f:
                if how != "no hashes":
                    f.seek(3)
                    f.write(b"damage")
            if how == "copy":
                os.link(part, f"{part}.old")  # so that its inode is not used again
                shutil.copy(part, f"{part}.new")
                os.rename(f"{part}.new", part)
                os.unlink(f"{part}.old")
            elif how != "hash":
                os.unlink(leaves)
            p.bob.start()
            verb(p.bob, tid, "resume")
            done(p.ann, p.bob, tid)
            same(p.path(name), p.got(name))
    with case("what ann noted of a leaf is damaged: told at both ends, no file"):
        with p.slowly():
            send = Command(p.ann, "send", "bob", "-f", p.make("broken.bin", 12 * LEAF), "--wait",
                           "delivered")
            tid = newest(p.bob, "broken.bin", "offered")
            verb(p.bob, tid, "accept")
            moving(p.bob, tid, 2 * LEAF)
            verb(p.ann, tid, "pause")
            with open(leaves_of(p.ann, tid), "r+b") as f:
                f.write(b"damage")
            verb(p.ann, tid, "resume")
        # The sender finds out that a leaf is not what it has sealed, or the receiver.
        t = reaches(p.bob, tid, "changed", "broken")
        equal(reaches(p.ann, tid, "changed", "broken")["state"], t["state"])
        send.end(INTEGRITY if t["state"] == "broken" else ERROR)
        check(send.err.strip(), "a sentence")
        check("broken.bin" not in listed(p.down))
        no_parts(p)


def sources(p):
    def spoil(name, how):
        """Paused, changed, resumed: the receiver is told, no file is there."""
        with p.slowly():
            tid = p.begun(name, 5 * LEAF)
            verb(p.bob, tid, "pause")
            reaches(p.ann, tid, "held")
            how(p.path(name))
            verb(p.bob, tid, "resume")
            for node in (p.ann, p.bob):
                reaches(node, tid, "changed", "lost")
        check(name not in listed(p.down), listed(p.down))
        no_parts(p)
        return tid

    def touched(path):
        with open(path, "r+b") as f:
            f.seek(4 * LEAF)
            f.write(b"changed")

    with case("the source is changed in the middle"):
        spoil("changed.bin", touched)
    with case("the source is shortened in the middle"):
        spoil("shrunk.bin", lambda path: os.truncate(path, LEAF))
    with case("the source grows in the middle"):
        spoil("grown.bin", lambda path: os.truncate(path, 9 * LEAF))
    with case("the source is removed in the middle"):
        tid = spoil("removed.bin", os.unlink)
        shown = p.bob.ok("transfers", "show", number(p.bob, tid)).out
        check("changed" in shown or "lost" in shown, shown)
    with case("the source is replaced while the sender is down"):
        with p.slowly():
            tid = p.begun("swapped.bin", 5 * LEAF)
            p.ann.kill()
            os.unlink(p.path("swapped.bin"))
            p.make("swapped.bin", 5 * LEAF, seed="another")
            p.ann.start()
            for node in (p.ann, p.bob):
                reaches(node, tid, "changed", "lost")
        check("swapped.bin" not in listed(p.down))
    with case("what is not there is not offered"):
        p.ann.fails(ERROR, "send", "bob", "-f", p.path("missing"))
        try:
            offer(p.ann, "bob", p.path("missing"))
            check(False, "it was offered")
        except ApiError as e:
            check("missing" in str(e), e)


# ---- the command line ----


def usage(p):
    with case("mistakes: exit 2 or 4, a sentence, nothing offered"):
        path, before = p.path("odd.bin"), len(transfers(p.ann))
        for args in (["-f", path, "-f", path, "--name", "x"], ["-f", "-"],
                     ["-f", "-", "-f", path, "--name", "x"], ["-", "-f", "-", "--name", "x"],
                     ["--name", "x"], ["hello", "--name", "x"], ["-f", path, "--name", "a/b"],
                     ["-f", path, "--name", ".."], ["-f", path, "--name", ""],
                     ["-f", path, "--wait", "soon"]):
            p.ann.fails(USAGE, "send", "bob", *args)
        p.ann.fails(UNKNOWN, "send", "nobody", "-f", path)
        p.ann.fails(UNKNOWN, "transfers", "show", "9999")
        for what in ("accept", "decline", "pause", "resume", "cancel"):
            p.ann.fails(USAGE, "transfers", what)
            p.ann.fails(USAGE, "transfers", what, "x")
            p.ann.fails(UNKNOWN, "transfers", what, "9999")
        p.ann.fails(USAGE, "transfers", "frobnicate", "1")
        p.ann.fails(USAGE, "transfers", "limit", "fast")
        equal(len(transfers(p.ann)), before)
    with case("one of several cannot be read: what came before stays offered, and that is said"):
        result = p.ann.fails(ERROR, "send", "bob", "-f", path, "-f", p.path("missing"), "-f", path)
        equal(len(transfers(p.ann)), before + 1)
        check("missing" in result.err, result)
        verb(p.ann, transfers(p.ann)[-1]["id"], "cancel")
    with case("what may not be read, alone or in a folder: a sentence"):
        secret = p.make("locked/secret", 10, mode=0)
        if os.access(secret, os.R_OK):
            raise Skip("this user may read everything")
        for what in (secret, p.path("locked")):
            check("secret" in p.ann.fails(ERROR, "send", "bob", "-f", what).err)
    with case("without a node: exit 3"):
        lost = p.lab.node("lost")
        lost.fails(3, "transfers")
        lost.fails(3, "send", "bob", "-f", path)


def tables(p):
    with case("transfers: a line for programs each, and JSON; show"):
        with p.slowly():
            tid = p.begun("table\tx.bin", 20 * LEAF, LEAF)
            for node, way, who in ((p.ann, "out", "bob"), (p.bob, "in", "ann")):
                rows = [line.split("\t") for line in node.ok("transfers").lines]
                n = str(number(node, tid))
                row = next(r for r in rows if r[0] == n)
                equal(len(row), 10, row)
                equal(row[1], "active")
                equal((row[3], row[7], row[8], row[9]), (str(20 * LEAF), way, who, "table_x.bin"))
                shown = node.ok("transfers", "show", n).out
                for word in ("table_x.bin", who, "active", f"{20 * LEAF} bytes", "LAN"):
                    check(word in shown, word, "in", shown)
                t = node.json("transfers", "show", n)[0]
                equal((t["id"], t["route"], t["v"]), (tid, "LAN", 1))
                check(any(o["id"] == tid for o in node.json("transfers")))
        done(p.ann, p.bob, tid)
    with case("the limit of the rate: shown, taken away, kept over a restart, and obeyed"):
        p.ann.ok("transfers", "limit", "2M")
        shown = p.ann.ok("transfers", "limit")
        check("2" in shown.out, shown)
        p.ann.stop()
        p.ann.start()
        limit = p.ann.api.call("transfers")["limit"]
        check(2_000_000 <= limit <= 2 * LEAF, limit)
        tid = offer(p.ann, "bob", p.make("limited.bin", 4 * LEAF))[0]
        verb(p.bob, tid, "accept")
        t = done(p.ann, p.bob, tid)
        took = transfer(p.bob, tid)["ended_ms"] - transfer(p.bob, tid)["created_ms"]
        check(took >= 1500, "4 MiB at 2 MB/s took only", took, "ms")
        p.ann.ok("transfers", "limit", "0")
        equal(p.ann.api.call("transfers")["limit"], None)
        equal(t["state"], "done")
    with case("transfers that ended before the start are listed with --all, and can be shown"):
        p.bob.stop()
        p.bob.start()
        n = next(o["n"] for o in p.bob.json("transfers", "--all") if o["name"] == "odd.bin")
        check(n not in [o["n"] for o in p.bob.json("transfers")])
        t = p.bob.json("transfers", "show", n)[0]
        equal((t["state"], t["size"], t["path"]), ("done", ODD, p.got("odd.bin")))


def pages(node):
    """All transfers that the node knows, as they come."""
    out = [node.api.call("transfers", all=True)]
    while out[-1]["more"]:
        out.append(node.api.call("transfers", all=True, after=out[-1]["after"]))
    return [len(page["transfers"]) for page in out]


def full_page(p):
    with case("transfers --all: nothing comes behind a page that is just full"):
        p.bob.api.call("contact.files", name="ann", mode="never")
        path = p.make("tiny", 1)
        left = PAGE - sum(pages(p.ann)) % PAGE
        while left > 0:
            n = min(left, 64)
            p.ann.api.call("send", to="bob", files=n * [path])
            left -= n
        counts = pages(p.ann)
        check(set(counts) == {PAGE}, "pages of", counts)
        equal(len(p.ann.json("transfers", "--all")), sum(counts))
        p.bob.api.call("contact.files", name="ann", mode="default")


def messages(p):
    with case("an offer is a message: recv, history, search, export, events"):
        p.bob.run("recv")
        since = (p.bob.told() or [{"n": 0}])[-1]["n"]
        path = p.make("unicorn report.pdf", 5000)
        tid = offer(p.ann, "bob", path, text="look at this")[0]
        n = number(p.bob, tid)
        heard = p.bob.json("recv")
        equal([m["kind"] for m in heard], ["text", "file"])
        m = heard[1]
        mid = m["id"]
        equal(m["text"], "unicorn report.pdf")
        equal({k: m["file"][k] for k in ("n", "name", "kind", "size", "state")},
              {"n": n, "name": "unicorn report.pdf", "kind": "file", "size": 5000,
               "state": "offered"})
        check("unicorn report.pdf" in p.bob.ok("history", "ann", "-n", "1").out)
        found = p.bob.json("search", "unicorn")
        equal([f["id"] for f in found], [mid])
        exported = [e for e in p.bob.json("export", "ann") if e["id"] == mid]
        equal(exported[0]["kind"], "file")
        check("unicorn report.pdf" in p.ann.ok("export", "bob", "--format", "md").out)
        verb(p.bob, tid, "accept")
        done(p.ann, p.bob, tid)
        told = [e for e in p.bob.told(since) if e.get("transfer") == n]
        equal([e["what"] for e in told], ["offered", "accepted", "done"])
        check(all(e["name"] == "unicorn report.pdf" and e["contact"] == "ann" for e in told))
        equal(p.bob.json("history", "ann", "-n", "1")[0]["file"]["state"], "done")
    with case("a reaction to it; it cannot be edited"):
        p.bob.ok("react", mid[:8], "👍")
        until(lambda: p.ann.json("history", "bob", "-n", "1")[0]["reactions"], "the reaction")
        check(p.ann.run("edit", mid[:8], "another name").code not in (DONE, 99))
        equal(p.bob.json("history", "ann", "-n", "1")[0]["text"], "unicorn report.pdf")
    with case("redacted when all of it is there: the message goes, the file stays"):
        p.ann.ok("redact", mid[:8])
        until(lambda: p.bob.json("history", "ann", "-n", "1")[0].get("redacted"), "redacted")
        equal(p.bob.json("search", "unicorn"), [])
        same(path, p.got("unicorn report.pdf"))
        check("unicorn" not in p.bob.ok("export", "ann").out)
    with case("an offer that is redacted is taken back"):
        with p.slowly():
            open_, moving_ = offer(p.ann, "bob", path)[0], p.begun("secret.bin", 5 * LEAF)
            for tid in (open_, moving_):
                number(p.bob, tid)
                p.ann.ok("redact", tid[:8])
                reaches(p.bob, tid, "cancelled")
                reaches(p.ann, tid, "cancelled")
        no_parts(p)
        check("secret.bin" not in p.bob.ok("export", "ann").out)
    with case("progress is told, once a second at most, and is not kept"):
        events = p.bob.events("transfer")
        with p.slowly():
            tid = p.begun("told.bin", 5 * LEAF, LEAF)
            e = events.wait("transfer", lambda e: e["what"] == "progress" and
                            e["transfer"]["id"] == tid)
            equal(e["n"], None)
            events.wait("transfer", lambda e: e["what"] == "done")
        events.close()
        check(all(e.get("what") != "progress" for e in p.bob.told()))


def several(p):
    with case("many at once, both ways"):
        back = downloads(p.ann)
        out = [p.make(f"out-{i}", 300_000 + i) for i in range(10)]
        home = [p.make(f"home-{i}", 300_000 + i) for i in range(10)]
        there, here = offer(p.ann, "bob", *out), offer(p.bob, "ann", *home)
        for node, tids in ((p.bob, there), (p.ann, here)):
            for tid in tids:
                verb(node, tid, "accept")
        for tid in there:
            done(p.ann, p.bob, tid)
        for tid in here:
            done(p.bob, p.ann, tid)
        for path in out:
            same(path, p.got(os.path.basename(path)))
        for path in home:
            same(path, os.path.join(back, os.path.basename(path)))
    with case("a contact that is blocked neither gets nor sends files"):
        with p.slowly():
            tid = p.begun("blocked.bin", 6 * LEAF)
            p.bob.ok("contact", "block", "ann")
            no_parts(p)
            t = transfer(p.bob, tid)
            check(t is None or t["state"] == "stopped", t)
        check("blocked.bin" not in listed(p.down))
        p.bob.ok("contact", "unblock", "ann")
    with case("the homes hold nothing of what has ended"):
        for node in (p.ann, p.bob):
            for t in transfers(node):
                if t["state"] not in ("done", "declined", "stopped", "cancelled", "changed",
                                      "broken", "lost"):
                    verb(node, t["id"], "cancel")
            until(lambda n=node: not os.listdir(os.path.join(n.home, "files")), node.name,
                  "has cleaned up")
            node.stop()
            with sqlite3.connect(os.path.join(node.home, "linnet.db")) as db:
                equal(db.execute("SELECT count(*) FROM file_bits").fetchone()[0], 0, "file_bits")


def main():
    with Lab() as lab:
        p = Pair(lab)
        for part in (single, folders, clashes, deciding, controls, interrupted, absent, kills,
                     damaged, sources, usage, tables, messages, by_itself,
                     several):
            part(p)
    with Lab() as lab:
        full_page(Pair(lab))
    finish()


main()
