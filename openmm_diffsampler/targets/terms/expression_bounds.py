"""Bounds of energy expressions: absurd ones keep parsers busy for ever, or end the process in OpenMM's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import openmm

from openmm_diffsampler._common.quoting import shortened

__all__ = ["ExpressionError", "depth", "require_readable", "require_readable_expressions", "row_lengths", "tokens"]

#: Characters of an expression, how deep it is nested, and its numbers, names and operators, those of definitions as
#: often as they are used. Force fields have a few hundred of these, nested less than twenty deep; AMOEBA's bends out of
#: a plane have 10,403.
_MOST_CHARACTERS, _DEEPEST, _MOST_TOKENS = 100_000, 100, 15_000
#: Terms of one sum and factors of one product. OpenMM takes 20 s for as many, and eight times that for twice as many.
_MOST_TERMS, _MOST_FACTORS = 1_000, 250
_READ = (
    f"up to {_MOST_CHARACTERS:,} characters, {_MOST_TOKENS:,} parts, {_MOST_TERMS:,} terms of a sum, {_MOST_FACTORS} "
    f"factors of a product and {_DEEPEST} levels are read"
)
#: Digits of a number: more than those that a float64 tells apart, and fewer than Python refuses to read.
_MOST_DIGITS = 400

_NUMBER = r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_TOKEN = re.compile(rf"\s*(?:{_NUMBER}|(?P<name>[A-Za-z_][A-Za-z_0-9]*)|(?P<op>[-+*/^(),]))", re.ASCII)


class ExpressionError(ValueError):
    """An expression that OpenMM would not accept, or that uses something this package does not support."""


def tokens(text: str) -> list[tuple[str, str]]:
    """Kinds (``number``, ``name``, ``op``) and texts of the parts of an expression without definitions.

    Raises:
        ExpressionError: a character that belongs to none of them, or a number of more than 400 digits.
    """
    position, found = 0, []
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = shortened(repr(text[position:].strip()))
            raise ExpressionError(f"cannot read {rest} in expression {shortened(repr(text))}")
        kind = match.lastgroup
        if kind == "number" and len(match.group(kind)) > _MOST_DIGITS:
            raise ExpressionError(f"a number has more than {_MOST_DIGITS} digits: {shortened(match.group(kind), 40)}")
        found.append((kind, match.group(kind)))
        position = match.end()
    return found


def depth(found: list[tuple[str, str]]) -> int:
    """How deep an expression is nested, of its tokens: in parentheses, signs and powers.

    Example:
        >>> depth(tokens("1 - 2*x")), depth(tokens("-(x + (y))")), depth(tokens("2^-x^2"))
        (0, 3, 3)
    """
    chains, deepest, nested, before = [0], 0, 0, "("
    for _, token in found:
        if token == "(":
            chains.append(0)
            nested += 1
        elif token == ")":
            if len(chains) > 1:
                nested -= 1 + chains.pop()
        elif token == "^" or (token == "-" and before in "(,+-*/^"):
            chains[-1] += 1
            nested += 1
        elif token in "+-*/,":
            nested -= chains[-1]
            chains[-1] = 0
        deepest, before = max(deepest, nested), token
    return deepest


def row_lengths(found: Sequence[str]) -> tuple[int, int]:
    """The most terms that a sum and the most factors that a product has, of the parts of an expression.

    Example:
        >>> row_lengths(list("a+b*(c*d*e-f)"))
        (2, 3)
    """
    most_terms, most_factors, rows, before = 1, 1, [(1, 1)], "("
    for token in found:
        terms, factors = rows[-1]
        if token == "(":
            rows.append((1, 1))
        elif token == ")":
            if len(rows) > 1:
                rows.pop()
        elif token == ",":
            rows[-1] = (1, 1)
        elif token in ("*", "/"):
            rows[-1] = (terms, factors + 1)
        elif token in ("+", "-") and before not in ("(", ",", "+", "-", "*", "/", "^"):
            rows[-1] = (terms + 1, 1)
        most_terms, most_factors, before = max(most_terms, rows[-1][0]), max(most_factors, rows[-1][1]), token
    return most_terms, most_factors


def require_readable_expressions(system: openmm.System) -> None:
    """Raise before OpenMM reads an expression of `system` that is too long or nested too deep for it.

    Its parser recurses as deep as an expression is nested, and puts a definition in wherever it is used.

    Raises:
        ExpressionError: naming the force.
    """
    for force in system.getForces():
        for name, text in _expressions(force):
            try:
                require_readable(text)
            except ExpressionError as error:
                raise ExpressionError(f"{name}: {error}") from None


def _expressions(force: openmm.Force) -> Iterator[tuple[str, str]]:
    """(kind of force, text) of all expressions in a force, and in those inside it."""
    kind = type(force).__name__
    if hasattr(force, "getEnergyFunction"):
        yield kind, force.getEnergyFunction()
    if hasattr(force, "getComputedValueParameters"):
        yield from ((kind, force.getComputedValueParameters(i)[1]) for i in range(force.getNumComputedValues()))
    if hasattr(force, "getEnergyTermParameters"):
        yield from ((kind, force.getEnergyTermParameters(i)[0]) for i in range(force.getNumEnergyTerms()))
    for count, get in (("getNumCollectiveVariables", "getCollectiveVariable"), ("getNumForces", "getForce")):
        if hasattr(force, count) and hasattr(force, get):
            for i in range(getattr(force, count)()):
                yield from _expressions(getattr(force, get)(i))


def require_readable(text: str) -> None:
    """Raise where an expression, its definitions put in, is too long or too deep; whether it is right is not asked.

    Raises:
        ExpressionError: saying which.

    Example:
        >>> require_readable("(" * 200 + "x" + ")" * 200)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        openmm_diffsampler.targets.terms.expression_bounds.ExpressionError: expression ... is nested 200 deep; ...
    """
    if len(text) > _MOST_CHARACTERS:
        raise ExpressionError(f"expression {shortened(repr(text), 60)} has {len(text):,} characters; {_READ}")
    parts = [_roughly(part) for part in text.split(";")]
    sizes, depths = {}, {}
    for part in reversed(parts):  # a definition sees those to its right
        is_definition = part[1:2] == ["="] and part is not parts[0]
        body = part[2:] if is_definition else part
        size = len(body) + sum(sizes.get(name, 0) for name in body)
        deep = depth([("", token) for token in body]) + max((1 + depths[n] for n in body if n in depths), default=0)
        _require_bounds(size, deep, text)
        _require_short_rows(body, text)
        if is_definition:
            sizes[part[0]], depths[part[0]] = size, deep


def _roughly(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_][A-Za-z_0-9]*|[0-9.]+(?:[eE][+-]?[0-9]+)?|\S", text)


def _require_bounds(size: int, deep: int, text: str) -> None:
    if size > _MOST_TOKENS:
        parts = shortened(f"{size:,}", 30)
        raise ExpressionError(f"expression {shortened(repr(text), 60)} has {parts} parts, definitions put in; {_READ}")
    if deep > _DEEPEST:
        raise ExpressionError(f"expression {shortened(repr(text), 60)} is nested {deep:,} deep; {_READ}")


def _require_short_rows(body: Sequence[str], text: str) -> None:
    terms, factors = row_lengths(body)
    if terms > _MOST_TERMS or factors > _MOST_FACTORS:
        what = f"a sum of {terms:,} terms" if terms > _MOST_TERMS else f"a product of {factors:,} factors"
        raise ExpressionError(f"expression {shortened(repr(text), 60)} has {what}; {_READ}")
