#!/usr/bin/env python3
"""noise_peer.py NOISE-PEER: the program against itself and against another implementation.

The other one is written here from the specification, with hashlib and pyca/cryptography;
without that package its part is skipped, visibly.
"""
import hashlib
import hmac
import os
import socket
import struct
import subprocess
import sys

try:
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey, X25519PublicKey)
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
except ImportError:
    X25519PrivateKey = None

PEER = sys.argv[1]
TIMEOUT_S = 30

# Pre-messages of each side, then the messages; only what is needed here.
PATTERNS = {
    "NN": ("", "", ["e", "e ee"]),
    "NK": ("", "s", ["e es", "e ee"]),
    "XX": ("", "", ["e", "e ee s es", "s se"]),
    "IK": ("", "s", ["e es s ss", "e ee se"]),
    "KKpsk0": ("s", "s", ["psk e es ss", "e ee se"]),
    "XXpsk0": ("", "", ["psk e", "e ee s es", "s se"]),
    "XXpsk0+psk3": ("", "", ["psk e", "e ee s es", "s se psk"]),
    "X1X1": ("", "", ["e", "e ee s", "es s", "se"]),
}


def blake(data):
    return hashlib.blake2b(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.blake2b).digest()


def hkdf(ck, ikm, n):
    temp, outs, last = mac(ck, ikm), [], b""
    for i in range(1, n + 1):
        last = mac(temp, last + bytes([i]))
        outs.append(last)
    return outs


def public(sec):
    key = X25519PrivateKey.from_private_bytes(sec).public_key()
    return key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)


def dh(sec, pub):
    return X25519PrivateKey.from_private_bytes(sec).exchange(
        X25519PublicKey.from_public_bytes(pub))


class Cipher:
    def __init__(self, key=None):
        self.key, self.n = key, 0

    def nonce(self):
        self.n += 1
        return bytes(4) + struct.pack("<Q", self.n - 1)

    def encrypt(self, ad, data):
        return ChaCha20Poly1305(self.key).encrypt(self.nonce(), data, ad) if self.key else data

    def decrypt(self, ad, data):
        return ChaCha20Poly1305(self.key).decrypt(self.nonce(), data, ad) if self.key else data


class Handshake:
    def __init__(self, pattern, initiator, s, rs=None, psks=(), prologue=b""):
        pre_i, pre_r, self.messages = PATTERNS[pattern]
        self.initiator, self.s, self.rs = initiator, s, rs
        self.psks, self.has_psk = list(psks), bool(psks)
        self.e, self.re = os.urandom(32), None
        self.h = f"Noise_{pattern}_25519_ChaChaPoly_BLAKE2b".encode().ljust(64, b"\0")
        self.ck, self.cipher = self.h, Cipher()
        self.mix_hash(prologue)
        for pre, ours in ((pre_i, initiator), (pre_r, not initiator)):
            if pre:
                self.mix_hash(public(s) if ours else rs)

    def mix_hash(self, data):
        self.h = blake(self.h + data)

    def mix_key(self, ikm):
        self.ck, k = hkdf(self.ck, ikm, 2)
        self.cipher = Cipher(k[:32])

    def common(self, token):
        if token == "psk":
            self.ck, th, k = hkdf(self.ck, self.psks.pop(0), 3)
            self.mix_hash(th)
            self.cipher = Cipher(k[:32])
        else:
            ours, theirs = token if self.initiator else token[::-1]
            self.mix_key(dh(self.e if ours == "e" else self.s,
                            self.re if theirs == "e" else self.rs))

    def ephemeral(self, pub):
        self.mix_hash(pub)
        if self.has_psk:
            self.mix_key(pub)

    def write(self, tokens):
        out = b""
        for t in tokens.split():
            if t == "e":
                out += public(self.e)
                self.ephemeral(public(self.e))
            elif t == "s":
                c = self.cipher.encrypt(self.h, public(self.s))
                self.mix_hash(c)
                out += c
            else:
                self.common(t)
        c = self.cipher.encrypt(self.h, b"payload")
        self.mix_hash(c)
        return out + c

    def read(self, tokens, msg):
        for t in tokens.split():
            if t == "e":
                self.re, msg = msg[:32], msg[32:]
                self.ephemeral(self.re)
            elif t == "s":
                n = 48 if self.cipher.key else 32
                c, msg = msg[:n], msg[n:]
                self.rs = self.cipher.decrypt(self.h, c)
                self.mix_hash(c)
            else:
                self.common(t)
        self.cipher.decrypt(self.h, msg)
        self.mix_hash(msg)

    def split(self):
        a, b = (Cipher(k[:32]) for k in hkdf(self.ck, b"", 2))
        return (a, b) if self.initiator else (b, a)


def send(sock, msg):
    sock.sendall(struct.pack(">H", len(msg)) + msg)


def recv(sock):
    def exactly(n):
        data = b""
        while len(data) < n:
            more = sock.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data
    return exactly(struct.unpack(">H", exactly(2))[0])


def start(*args, **more):
    return subprocess.Popen([PEER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **more)


def listening(proc):
    line = proc.stdout.readline()
    assert line.startswith("listening: "), (line, proc.stderr.read())
    return line.split()[1]


def values(text):
    lines = [line.split(": ", 1) for line in text.splitlines() if ": " in line]
    one = {k: v for k, v in lines if k != "received"}
    return one, [v.strip() for k, v in lines if k == "received"]


def statics(pattern, keys):
    """Options of the initiator and the responder, with what each must know."""
    pre_i, pre_r, _ = PATTERNS[pattern]
    i, r = ["--static", keys[0][0].hex()], ["--static", keys[1][0].hex()]
    if pre_r:
        i += ["--remote-static", keys[1][1].hex()]
    if pre_i:
        r += ["--remote-static", keys[0][1].hex()]
    return i, r


def pairs(pattern, host="127.0.0.1"):
    """The program against itself, 300 messages echoed."""
    keys = ["aa" * 32, "bb" * 32]
    psks = [a for k in keys[:pattern.count("psk")] for a in ("--psk", k)]
    common = ["--pattern", pattern, "--prologue", "706f", *psks]
    server = start("--listen", f"{host}:0", "--echo", *common)
    client = start("--connect", listening(server), *common)
    sent = [os.urandom(n).hex() for n in (0, 1, 65519)] + [f"{i:04x}" for i in range(300)]
    out, err = client.communicate("\n".join(sent), timeout=TIMEOUT_S)
    one, got = values(out)
    sout, serr = server.communicate(timeout=TIMEOUT_S)
    assert client.returncode == 0 and server.returncode == 0, (pattern, err, serr)
    assert got == sent, pattern
    sone, _ = values(sout)
    assert one["handshake_hash"] == sone["handshake_hash"] and len(one["handshake_hash"]) == 128
    assert ("remote_static" in one) == (pattern != "NN"), pattern
    print(f"ok: {pattern} with itself on {host}, {len(got)} messages echoed")


def both_talk():
    """Without --echo on either side: lines of both arrive, ends are in order."""
    server = start("--listen", "127.0.0.1:0", "--pattern", "NN")
    client = start("--connect", listening(server), "--pattern", "NN")
    server.stdin.write("01\n02\n")
    server.stdin.close()
    server.stdin = None
    out, _ = client.communicate("0a\r\n0b", timeout=TIMEOUT_S)
    sout, _ = server.communicate(timeout=TIMEOUT_S)
    assert values(out)[1] == ["01", "02"] and values(sout)[1] == ["0a", "0b"], (out, sout)
    assert client.returncode == 0 and server.returncode == 0
    print("ok: both sides talk")


def refused(what, server_more, client_more):
    server = start("--listen", "127.0.0.1:0", "--echo", *server_more)
    client = start("--connect", listening(server), *client_more)
    out, err = client.communicate("00\n", timeout=TIMEOUT_S)
    sout, serr = server.communicate(timeout=TIMEOUT_S)
    assert client.returncode == 1 and server.returncode == 1, (what, out, err, sout, serr)
    assert "handshake failed" in serr and "handshake failed" in err, (what, err, serr)
    assert "handshake_hash" not in out and "handshake_hash" not in sout, what
    print(f"ok: {what} is refused")


def usage():
    for args in (["--pattern", "XX"], ["--listen", "127.0.0.1:0", "--pattern", "ZZ"],
                 ["--listen", "127.0.0.1:0", "--pattern", "KK"],
                 ["--listen", "127.0.0.1:0", "--pattern", "XXpsk0"],
                 ["--listen", "127.0.0.1:0", "--pattern", "XX", "--static", "00"],
                 ["--listen", "127.0.0.1:0", "--pattern", "XX", "--prologue", "0"]):
        got = subprocess.run([PEER, *args], capture_output=True, text=True, timeout=TIMEOUT_S)
        assert got.returncode == 2 and "noise-peer: " in got.stderr, (args, got)
    print("ok: wrong options")


def foreign(pattern, initiator):
    """The program against the implementation above, which takes one of the sides."""
    keys = [(k, public(k)) for k in (os.urandom(32), os.urandom(32))]
    ours, theirs = (0, 1) if initiator else (1, 0)
    psks = [os.urandom(32) for _ in range(pattern.count("psk"))]
    options = ["--pattern", pattern, "--prologue", "00ff", "--echo"]
    options += statics(pattern, keys)[theirs]
    options += [a for k in psks for a in ("--psk", k.hex())]
    pre = PATTERNS[pattern][theirs]
    hs = Handshake(pattern, initiator, keys[ours][0], keys[theirs][1] if pre else None, psks,
                   b"\x00\xff")
    if initiator:
        proc = start("--listen", "127.0.0.1:0", *options)
        host, port = listening(proc).rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT_S)
            proc = start("--connect", "127.0.0.1:%d" % server.getsockname()[1], *options)
            sock, _ = server.accept()
            sock.settimeout(TIMEOUT_S)
    with sock:
        for i, tokens in enumerate(hs.messages):
            if (i % 2 == 0) == initiator:
                send(sock, hs.write(tokens))
            else:
                hs.read(tokens, recv(sock))
        tx, rx = hs.split()
        for n in (0, 1, 1000, 65519):
            data = os.urandom(n)
            send(sock, tx.encrypt(b"", data))
            assert rx.decrypt(b"", recv(sock)) == data, pattern
        sock.shutdown(socket.SHUT_WR)
        out, err = proc.communicate(timeout=TIMEOUT_S)
    one, _ = values(out)
    assert proc.returncode == 0, err
    assert one["handshake_hash"] == hs.h.hex(), pattern
    sends = any("s" in m.split() for m in hs.messages[1 - initiator::2])
    want = keys[ours][1].hex() if PATTERNS[pattern][ours] or sends else None
    assert one.get("remote_static") == want, pattern
    print(f"ok: {pattern} with another implementation as "
          f"{'initiator' if initiator else 'responder'}")


def garbage():
    """Bytes that are no handshake: an error and the end, in each case."""
    for data in (b"\x00\x00", b"\x00\x01x", b"\xff\xff" + bytes(65535), b"\x00\x30" + bytes(48)):
        proc = start("--listen", "127.0.0.1:0", "--pattern", "KKpsk0", "--remote-static",
                     "09" + "00" * 31, "--psk", "00" * 32, "--echo")
        host, port = listening(proc).rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as sock:
            sock.sendall(data)
            _, err = proc.communicate(timeout=TIMEOUT_S)
        assert proc.returncode == 1 and "handshake failed" in err, err
    print("ok: garbage is refused")


def main():
    for pattern in ("NN", "XX", "XXpsk0", "XXpsk0+psk3", "X1X1"):
        pairs(pattern)
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
        pairs("XX", "[::1]")
    both_talk()
    psk = ["--pattern", "XXpsk0", "--psk"]
    refused("a wrong psk", psk + ["aa" * 32], psk + ["ab" * 32])
    refused("another prologue", ["--pattern", "XXpsk3", "--psk", "aa" * 32, "--prologue", "00"],
            ["--pattern", "XXpsk3", "--psk", "aa" * 32, "--prologue", "01"])
    refused("another pattern", ["--pattern", "IX"], ["--pattern", "XX"])
    usage()
    garbage()
    if X25519PrivateKey is None:
        print("skipped: python3-cryptography is missing, no foreign implementation")
        return
    for pattern in PATTERNS:
        foreign(pattern, True)
        foreign(pattern, False)


if __name__ == "__main__":
    main()
