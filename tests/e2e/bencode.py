"""Bencode, of our messages and of others', who write keys in any order."""


class Raw(bytes):
    """Bytes that stand as they are."""


def bencode(v):
    if isinstance(v, Raw):
        return bytes(v)
    if isinstance(v, int):
        return b"i%de" % v
    if isinstance(v, str):
        v = v.encode()
    if isinstance(v, bytes):
        return b"%d:%s" % (len(v), v)
    if isinstance(v, (list, tuple)):
        return b"l" + b"".join(map(bencode, v)) + b"e"
    items = {k.encode() if isinstance(k, str) else k: x for k, x in v.items()}
    return b"d" + b"".join(bencode(k) + bencode(items[k]) for k in sorted(items)) + b"e"


def _value(p, at):
    """The value at that place, and where it ends; keys in any order."""
    kind = p[at:at + 1]
    if kind == b"i":
        end = p.index(b"e", at)
        return int(p[at + 1:end]), end + 1
    if kind == b"l":
        out, at = [], at + 1
        while p[at:at + 1] != b"e":
            item, at = _value(p, at)
            out.append(item)
        return out, at + 1
    if kind == b"d":
        out, at = {}, at + 1
        while p[at:at + 1] != b"e":
            key, at = _value(p, at)
            out[key], at = _value(p, at)
        return out, at + 1
    colon = p.index(b":", at)
    end = colon + 1 + int(p[at:colon])
    if end > len(p):
        raise ValueError("a string ends behind the end")
    return p[colon + 1:end], end


def bdecode(p):
    """One value and nothing behind it, canonical or not."""
    v, end = _value(p, 0)
    if end != len(p):
        raise ValueError("more follows")
    return v
