"""Bencode (BEP 3), written for the suite alone: an oracle must not share code with what it judges."""


def encode(value):
    if isinstance(value, bool):
        raise TypeError("bencode has no booleans")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        raw = {k.encode() if isinstance(k, str) else k: v for k, v in value.items()}
        return b"d" + b"".join(encode(k) + encode(raw[k]) for k in sorted(raw)) + b"e"
    raise TypeError(f"bencode has no {type(value).__name__}")


def decode(data):
    """The one value that `data` holds; strings stay bytes."""
    value, end = _value(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes after the end")
    return value


def _value(data, at):
    lead = data[at : at + 1]
    if lead == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if lead == b"l":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = _value(data, at)
            items.append(item)
        return items, at + 1
    if lead == b"d":
        pairs, at = {}, at + 1
        while data[at : at + 1] != b"e":
            key, at = _value(data, at)
            pairs[key], at = _value(data, at)
        return pairs, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    if end > len(data):
        raise ValueError("string runs past the end")
    return data[colon + 1 : end], end
