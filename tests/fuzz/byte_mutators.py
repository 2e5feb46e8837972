"""Damage to bytes, whatever they mean: what disks, networks and broken copies do."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

__all__ = ["BYTE_MUTATORS", "damaged"]

ByteMutator = Callable[[bytes, Random], bytes]


def _stretch(content: bytes, rng: Random, longest: int = 64) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.randint(1, longest))


def _flip_bit(content: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _change_byte(content: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([(content[at] + rng.randint(1, 255)) % 256]) + content[at + 1 :]


def _change_digit(content: bytes, rng: Random) -> bytes:
    """Another digit for a digit: text that still parses."""
    places = [i for i in range(len(content)) if chr(content[i]).isdigit() and content[i] < 128]
    if not places:
        return _change_byte(content, rng)
    at = rng.choice(places)
    other = rng.choice([d for d in b"0123456789" if d != content[at]])
    return content[:at] + bytes([other]) + content[at + 1 :]


def _cut_off(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _insert(content: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.randint(1, 16)) + content[at:]


def _append(content: bytes, rng: Random) -> bytes:
    return content + rng.choice([b"\0", b"\n", b" ", content, rng.randbytes(rng.randint(1, 64))])


def _delete(content: bytes, rng: Random) -> bytes:
    start, end = _stretch(content, rng)
    return content[:start] + content[end:]


def _repeat(content: bytes, rng: Random) -> bytes:
    start, end = _stretch(content, rng)
    return content[:end] + content[start:end] + content[end:]


def _swap_blocks(content: bytes, rng: Random) -> bytes:
    size = min(rng.choice([1, 4, 8, 64, 512]), len(content) // 2)
    if size == 0:
        return _flip_bit(content, rng)
    one = rng.randrange(len(content) - 2 * size + 1)
    two = rng.randrange(one + size, len(content) - size + 1)
    return (
        content[:one]
        + content[two : two + size]
        + content[one + size : two]
        + content[one : one + size]
        + (content[two + size :])
    )


def _zeros(content: bytes, rng: Random) -> bytes:
    start, end = _stretch(content, rng, rng.choice([4, 64, 4096]))
    return content[:start] + bytes(end - start) + content[end:]


def _swap_lines(content: bytes, rng: Random) -> bytes:
    lines = content.split(b"\n")
    if len(lines) < 3:
        return _swap_blocks(content, rng)
    one, two = rng.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]
    return b"\n".join(lines)


def _drop_line(content: bytes, rng: Random) -> bytes:
    lines = content.split(b"\n")
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def _largest_count(content: bytes, rng: Random) -> bytes:
    """Four or eight bytes, in places where binary formats have counts, become a very large or negative number."""
    size = rng.choice([4, 8])
    at = min(4 * rng.randrange(1 + min(len(content), 512) // 4), max(0, len(content) - size))
    value = rng.choice([2**31 - 1, 2**31, 2**32 - 1, 2**28, 65536, 1])
    return content[:at] + value.to_bytes(size, rng.choice(["little", "big"])) + content[at + size :]


#: Name -> mutator of bytes that are not empty.
BYTE_MUTATORS: dict[str, ByteMutator] = {
    "flipped bit": _flip_bit,
    "changed byte": _change_byte,
    "changed digit": _change_digit,
    "cut off": _cut_off,
    "inserted bytes": _insert,
    "appended bytes": _append,
    "deleted bytes": _delete,
    "repeated bytes": _repeat,
    "swapped blocks": _swap_blocks,
    "zeros": _zeros,
    "swapped lines": _swap_lines,
    "dropped line": _drop_line,
    "large count": _largest_count,
}
#: Single flips and digits are the damage that parsers notice least.
_OFTEN = ("flipped bit", "changed digit")


def damaged(content: bytes, rng: Random) -> tuple[bytes, str]:
    """The content after one mutation, sometimes two or three, and what they were.

    Example:
        >>> damaged(b"0.5", Random(1))[0] != b"0.5"
        True
    """
    names = rng.choices([*BYTE_MUTATORS, *_OFTEN * 2], k=rng.choice([1, 1, 1, 1, 2, 3]))
    for name in names:
        content = BYTE_MUTATORS[name](content, rng) if content else rng.randbytes(8)
    return content, ", ".join(names)
