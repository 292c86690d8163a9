#!/usr/bin/env python3
"""Known answers for blinded keys, written from the head of crypto/blind.c and RFC 8032, RFC
8439 and draft-irtf-cfrg-xchacha alone: nothing but hashlib, and none of linnet's code.

    blind_kat.py > blind_kat.json
"""
import hashlib
import json
import struct

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
answers = {}


# ---- Ed25519, RFC 8032 section 5.1 and 6 (extended coordinates) ----

def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def mul(s, p):
    q = (0, 1, 1, 0)
    while s > 0:
        if s & 1:
            q = add(q, p)
        p = add(p, p)
        s >>= 1
    return q


def recover_x(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0
    return P - x if (x & 1) != sign else x


def point(x, y):
    return x, y, 1, x * y % P


BY = 4 * pow(5, P - 2, P) % P
B = point(recover_x(BY, 0), BY)


def compress(p):
    z = pow(p[2], P - 2, P)
    x, y = p[0] * z % P, p[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decompress(b):
    y = int.from_bytes(b, "little")
    return point(recover_x(y & (1 << 255) - 1, y >> 255), y & (1 << 255) - 1)


def clamped(seed):
    a = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return a & (1 << 254) - 8 | 1 << 254


def verify(pub, msg, sig):
    s = int.from_bytes(sig[32:], "little")
    h = int.from_bytes(hashlib.sha512(sig[:32] + pub + msg).digest(), "little") % L
    right = add(decompress(sig[:32]), mul(h, decompress(pub)))
    return s < L and compress(mul(s, B)) == compress(right)


# ---- XChaCha20-Poly1305 ----

def rotl(v, n):
    return (v << n | v >> 32 - n) & 0xffffffff


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xffffffff
        s[z] = rotl(s[z] ^ s[x], n)


def rounds(state):
    s = list(state)
    for _ in range(10):
        for i in range(4):
            quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return s


def state(key, tail):
    return struct.unpack("<16I", b"expand 32-byte k" + key + tail)


def chacha(key, counter, nonce, data):
    out = b""
    for i in range(0, len(data), 64):
        s = state(key, struct.pack("<I", counter + i // 64) + nonce)
        stream = struct.pack("<16I", *((x + y) & 0xffffffff for x, y in zip(s, rounds(s))))
        out += bytes(x ^ y for x, y in zip(data[i:i + 64], stream))
    return out


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    acc = 0
    for i in range(0, len(data), 16):
        acc = (acc + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((acc + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def pad16(data):
    return data + bytes(-len(data) % 16)


def xaead(key, nonce, data, ad):
    s = rounds(state(key, nonce[:16]))
    sub, n = struct.pack("<8I", *s[:4], *s[12:]), bytes(4) + nonce[16:]
    text = chacha(sub, 1, n, data)
    mac = pad16(ad) + pad16(text) + struct.pack("<QQ", len(ad), len(text))
    return text + poly1305(chacha(sub, 0, n, bytes(32)), mac)


# ---- the construction ----

def labelled(n, key, label, *parts):
    data = label.encode() + b"\0" + b"".join(parts)
    return hashlib.blake2b(data, digest_size=n, key=key).digest()


def seq(start, n):
    return bytes((start + i) & 255 for i in range(n))


def be64(n):
    return n.to_bytes(8, "big")


def scalar(wide):
    return int.from_bytes(wide, "little") % L


def show(name, value):
    answers[name] = value.hex() if isinstance(value, bytes) else value


def sign(a, pub, prefix, msg, fresh):
    r = scalar(labelled(64, prefix, "linnet blind nonce v1", msg, fresh))
    big_r = compress(mul(r, B))
    s = (r + scalar(hashlib.sha512(big_r + pub + msg).digest()) * a) % L
    sig = big_r + s.to_bytes(32, "little")
    assert verify(pub, msg, sig)
    return sig


def offset(secret):
    return int.from_bytes(labelled(16, secret, "linnet blind offset v1")[:8], "little") % 43200


def value(key, pub, number, content):
    plain = len(content).to_bytes(2, "big") + content
    nonce = seq(70, 24)
    return nonce + xaead(key, nonce, plain + bytes(680 - len(plain)), pub + be64(number))


def whereabouts():
    p, seed = seq(1, 32), seq(40, 32)
    a = clamped(seed)
    big_a = compress(mul(a, B))
    show("A", big_a)
    show("offset", offset(p))
    for e in (0, 41667, 41668):
        h = scalar(labelled(64, p, "linnet blind factor v1", big_a, be64(e)))
        pub = compress(mul(h, decompress(big_a)))
        assert pub == compress(mul(h * a % L, B))
        show(f"pub {e}", pub)
        prefix = labelled(32, seed, "linnet blind prefix v1", pub)
        show(f"sig {e}", sign(h * a % L, pub, prefix, b"a message", seq(90, 32)))
        key = labelled(32, p, "linnet whereabouts key v1", be64(e))
        show(f"value {e}", value(key, pub, 1700000000, b"content"))
    show("relay", labelled(16, p, "linnet relay tag v1", seq(5, 32)))


def slot(name, key, label, *parts):
    seed = labelled(32, key, label + " v1", *parts)
    a = clamped(seed)
    pub = compress(mul(a, B))
    show(name, pub)
    prefix = labelled(32, seed, "linnet blind prefix v1", pub)
    show(name + " sig", sign(a, pub, prefix, b"a message", seq(90, 32)))


def slots():
    secret, device, e = seq(2, 32), seq(3, 32), be64(41667)
    slot("pair slot", secret, "linnet pair slot", device, e)
    show("pair slot key", labelled(32, secret, "linnet pair slot key v1", device, e))
    for word in ("slot", "knock"):
        slot(f"invite {word}", secret, f"linnet invite {word}", e)
        show(f"invite {word} key", labelled(32, secret, f"linnet invite {word} key v1", e))
    for i in range(4):
        slot(f"knock {i}", secret, "linnet knock slot", e, bytes([i]))
    show("knock key", labelled(32, secret, "linnet knock key v1", seq(3, 32), seq(4, 32)))


def known():
    """What others published: RFC 8032 7.1 test 2, draft-irtf-cfrg-xchacha-03 A.3.1."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    assert compress(mul(clamped(seed), B)).hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    assert verify(compress(mul(clamped(seed), B)), b"\x72", bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"))
    text = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
            b"the future, sunscreen would be it.")
    ad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    assert xaead(seq(0x80, 32), seq(0x40, 24), text, ad)[-16:].hex() == (
        "c0875924c1c7987947deafd8780acf49")


known()
whereabouts()
slots()
print(json.dumps(answers, indent=0))
