"""Values of unknown size, as errors may show them."""

from __future__ import annotations

import reprlib

__all__ = ["shortened", "shown"]

_MOST = 200

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 3, 120, 120, 60


def shown(value: object) -> str:
    """``repr`` of a value in 200 characters at most, however large or nested it is.

    Example:
        >>> shown({"a": [1, 2]})
        "{'a': [1, 2]}"
        >>> len(shown([["x" * 1000] * 1000] * 1000)) <= 200
        True
        >>> shown(10**10000)
        '<int with a very large number>'
    """
    try:
        return shortened(_short.repr(value))
    except ValueError:  # Python refuses to print whole numbers of thousands of digits
        return f"<{type(value).__name__} with a very large number>"


def shortened(text: object, most: int = _MOST) -> str:
    """The text in `most` characters at most, the middle left out of longer ones.

    Example:
        >>> shortened("x" * 1000, 11)
        'xxxx...xxxx'
    """
    text = str(text)
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
