#!/usr/bin/env python3
"""Known answers for linnet's own constructions, written from their descriptions (the heads
of crypto/*.c) with hashlib, pyca/cryptography and PyNaCl, and none of linnet's code.

    linnet_kat.py > linnet_kat.json
"""
import hashlib
import hmac
import json

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey, X25519PublicKey)
from nacl import bindings as nacl

answers = {}


def raw(key):
    return key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)


def pub(sec):
    return raw(X25519PrivateKey.from_private_bytes(sec).public_key())


def dh(sec, public):
    return X25519PrivateKey.from_private_bytes(sec).exchange(
        X25519PublicKey.from_public_bytes(public))


def mac(key, data):
    return hmac.new(key, data, hashlib.blake2b).digest()


def hkdf(ck, ikm, n):
    temp, outs, last = mac(ck, ikm), [], b""
    for i in range(1, n + 1):
        last = mac(temp, last + bytes([i]))
        outs.append(last)
    return outs


def labelled(n, key, label, *parts):
    data = label.encode() + b"\0" + b"".join(parts)
    return hashlib.blake2b(data, digest_size=n, key=key or b"").digest()


def seq(start, n):
    return bytes((start + i) & 255 for i in range(n))


def show(name, value):
    answers[name] = value.hex() if isinstance(value, bytes) else value


def kdf():
    for n in (0, 20, 128, 129, 200):
        show(f"hmac{n}", mac(seq(0, n), b"what is signed"))
    for i, out in enumerate(hkdf(seq(0, 64), seq(64, 32), 3)):
        show(f"hkdf{i + 1}", out)
    show("hash", labelled(32, None, "linnet test v1", b"abc", b"", b"def"))
    show("hash16", labelled(16, seq(1, 32), "linnet test v1"))


def subkey(i):
    return hashlib.blake2b(b"", digest_size=32, key=seq(0, 32),
                           salt=i.to_bytes(8, "little") + bytes(8),
                           person=b"linnetv1" + bytes(8)).digest()


def safety_half(root):
    h = labelled(32, None, "linnet safety number v1", root)
    return " ".join("%05d" % (int.from_bytes(h[i * 5:i * 5 + 5], "big") % 100000)
                    for i in range(6))


def keys():
    signer = Ed25519PrivateKey.from_private_bytes(subkey(1))
    root = raw(signer.public_key())
    a, b, box = pub(seq(1, 32)), pub(seq(2, 32)), pub(seq(3, 32))
    show("root", root)
    show("self", subkey(2))
    show("public", a)
    show("device", labelled(32, None, "linnet device v1", root, a))
    show("self mac", labelled(16, subkey(2), "linnet self v1", seq(9, 32)))
    body = (b"d1:b32:" + box + b"1:ci5e1:ni1700000000e1:r32:" + root + b"1:s32:" + a +
            b"1:vi1ee")
    show("cert", body + signer.sign(b"linnet device cert v1\0" + body))
    t = hkdf(seq(0, 64), dh(seq(1, 32), b) + seq(4, 32) + seq(5, 32), 2)[0][:32]
    pair = labelled(32, t, "linnet pair root v1")
    show("pair", pair)
    for word, key, parts in (("pair", pair, (a, b)), ("invite", seq(7, 32), (root,)),
                             ("network", seq(9, 32), ()),
                             ("stranger", None, (seq(10, 16), seq(11, 32)))):
        if key is not None:
            show(word + " psk", labelled(32, key, f"linnet {word} psk v1", *parts))
        show(word + " tag", labelled(32, key, f"linnet {word} tag v1", *parts))
        for d in (0, 1):
            show(f"{word} mask{d}",
                 labelled(32, key, f"linnet {word} mask v1", *parts, bytes([d])))
    show("tag", hashlib.blake2b(b"\0message 1", digest_size=16, key=seq(8, 32)).digest())
    show("safety", " ".join(sorted([safety_half(root), safety_half(seq(0, 32))])))


def chain():
    secret = seq(0, 32)
    k = hashlib.blake2b(b"k", digest_size=32, key=secret).digest()
    show("chain1", hashlib.blake2b(b"c", digest_size=32, key=secret).digest())
    nonce = seq(100, 24)
    show("box", nonce + nacl.crypto_aead_xchacha20poly1305_ietf_encrypt(
        b"body", b"ad", nonce, k))
    eph, author, box, device = seq(11, 32), seq(12, 32), seq(13, 32), seq(14, 32)
    for name, pair in (("seal", b""), ("seal pair", seq(15, 32))):
        salt = labelled(64, None, "linnet chain seal v1", pub(eph), pub(author), pub(box),
                        device)
        key = hkdf(salt, dh(eph, pub(box)) + dh(author, pub(box)) + pair, 2)[0][:32]
        show(name, device[:8] + nacl.crypto_aead_xchacha20poly1305_ietf_encrypt(
            seq(16, 32), b"ad", bytes(24), key))


def keyfile():
    salt, nonce = seq(200, 16), seq(216, 24)
    head = b"linnet key\n" + bytes([1, 0]) + bytes(5) + salt + nonce
    key = labelled(32, None, "linnet key unprotected v1", salt)
    content = head + nacl.crypto_aead_xchacha20poly1305_ietf_encrypt(
        seq(0, 192), head, nonce, key)
    show("keyfile", content + hashlib.blake2b(content, digest_size=32).digest())


def tree(size, leaves):
    """The root over leaf hashes, and the last block hash (or nothing)."""
    blocks = [labelled(32, None, "linnet file block v1", *leaves[i:i + 1024])
              for i in range(0, len(leaves), 1024)]
    root = labelled(32, None, "linnet file root v1", size.to_bytes(8, "big"), *blocks)
    return root, b"".join(blocks[-1:])


def hashtree():
    leaf, counted = 1 << 20, bytes(range(251))
    for name, size in (("0", 0), ("1", 1), ("leaf-1", leaf - 1), ("leaf", leaf),
                       ("leaf+1", leaf + 1), ("3 leaves", 3 * leaf - 7)):
        data = (counted * (size // 251 + 1))[:size]
        leaves = [labelled(32, None, "linnet file leaf v1", data[i:i + leaf])
                  for i in range(0, size, leaf)]
        show(f"file {name}", tree(size, leaves)[0])
        if size == 1:
            show("file leaf of 1", leaves[0])
            show("file block of 1", tree(size, leaves)[1])
    for n in (1023, 1024, 1025, 2048, 2049):
        root, block = tree(n * leaf, [i.to_bytes(4, "big") * 8 for i in range(n)])
        show(f"file root {n}", root)
        show(f"file block {n}", block)


kdf()
keys()
chain()
keyfile()
hashtree()
print(json.dumps(answers, indent=0))
