"""Names of systems, which become names of folders and titles."""

from __future__ import annotations

from .quoting import shown

__all__ = ["as_name", "require_name"]

_LONGEST = 100
_SEPARATORS = "/\\"


def require_name(name: object, where: str) -> str:
    """Return `name` if a folder can be called so without leaving the folder that it is made in.

    Arguments:
        name: the text.
        where: what the error calls it.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty or longer than 100 characters, begins with a dot, or has a slash, a backslash or a
            character that cannot be printed.

    Example:
        >>> require_name("alanine-dipeptide", "name")
        'alanine-dipeptide'
        >>> require_name("../elsewhere", "name")
        Traceback (most recent call last):
        ValueError: name is '../elsewhere'; a name has up to 100 printable characters, no / or \\, and no dot in front
    """
    if not isinstance(name, str):
        raise TypeError(f"{where} is {shown(name)}; give text")
    if not _is_name(name):
        raise ValueError(
            f"{where} is {shown(name)}; a name has up to {_LONGEST} printable characters, no / or \\, and no dot in "
            "front"
        )
    return name


def _is_name(text: str) -> bool:
    is_bounded = len(text.strip()) > 0 and len(text) <= _LONGEST
    return is_bounded and text.isprintable() and text[0] != "." and not set(text) & set(_SEPARATORS)


def as_name(text: str) -> str:
    """A name made of any text, such as that of a folder.

    Example:
        >>> as_name("my molecule"), as_name(".hidden\\\\x"), as_name("")
        ('my molecule', '_hidden_x', 'system')
    """
    clean = "".join("_" if c in _SEPARATORS or not c.isprintable() else c for c in text[:_LONGEST])
    clean = f"_{clean[1:]}" if clean.startswith(".") else clean
    return clean if _is_name(clean) else "system"
