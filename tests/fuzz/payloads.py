"""Folders that try to run code: each payload leaves a file behind if it does."""

from __future__ import annotations

import io
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openmm

from .seals import reseal, unseal

__all__ = ["payloads"]


class _Touch:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[list[str]]]:
        return subprocess.call, (["touch", str(self.proof)],)


def _python_force(proof: Path) -> str:
    return (
        f'<Force forceGroup="0" function="{pickle.dumps(_Touch(proof)).hex()}" name="x" type="PythonForce" '
        'usesPeriodic="0" version="2"><GlobalParameters/><Particles/></Force>'
    )


def _in_a_variable(force: str) -> str:
    """The force inside a CustomCVForce."""
    outer, system = openmm.CustomCVForce("0*a"), openmm.System()
    outer.addCollectiveVariable("a", openmm.HarmonicBondForce())
    system.addForce(outer)
    text = openmm.XmlSerializer.serialize(system)
    whole = text[text.index("<Force ") : text.rindex("</Force>") + len("</Force>")]
    start = whole.index("<Force ", 1) if "<Force " in whole[1:] else whole.index("<CollectiveVariable ")
    inner = whole[start:]
    name = inner[1 : inner.index(" ")]
    end = inner.index(f"</{name}>") + len(name) + 3
    put = force if name == "Force" else f'<CollectiveVariable name="a">{force}</CollectiveVariable>'
    return whole[:start] + put + inner[end:]


def _in_xml(force: str) -> dict[str, Callable[[str], str]]:
    def inside(other: str) -> Callable[[str], str]:
        return lambda xml: xml.replace("<Forces>", f"<Forces>{other}")

    return {
        "plain": inside(force),
        "at the end": lambda xml: xml.replace("</Forces>", f"{force}</Forces>"),
        "the root": lambda _: force,
        "decimal reference": inside(force.replace("PythonForce", "Python&#70;orce")),
        "hexadecimal reference": inside(force.replace("PythonForce", "Python&#x46;orce")),
        "another reference": inside(force.replace("PythonForce", "&#x0050;ythonForce")),
        "single quotes": inside(force.replace('"', "'")),
        "line end": inside(force.replace('type="PythonForce"', 'type = \n"PythonForce"')),
        "comment before": inside(f"<!-- <x> -->{force}"),
        "in CDATA and out": inside(f"<![CDATA[ </Forces> ]]>{force}"),
        "entity": lambda xml: inside(force.replace("PythonForce", "&p;"))(
            xml.replace("?>", '?><!DOCTYPE x [<!ENTITY p "PythonForce">]>', 1)
        ),
        "second attribute": inside(force.replace("type=", 'type="HarmonicBondForce" type=')),
        "another name of the element": inside(force.replace("<Force ", "<force ").replace("</Force>", "</force>")),
        "in a variable": inside(_in_a_variable(force)),
        "second list of forces": lambda xml: xml.replace("</System>", f"<Forces>{force}</Forces></System>"),
        "second root": lambda xml: f"{xml}{force}",
        "byte-order mark": lambda xml: "\ufeff" + inside(force)(xml),
        "another encoding in the header": lambda xml: inside(force)(xml).replace("?>", ' encoding="utf-7"?>', 1),
        "upper case": inside(force.replace("function=", "FUNCTION=")),
        "an integrator": lambda _: force.replace("<Force ", "<Integrator ").replace("</Force>", "</Integrator>"),
    }


def _in_yaml(proof: Path) -> dict[str, str]:
    call = f"['touch', '{proof}']"
    return {
        "apply": f"temperature: !!python/object/apply:subprocess.call [{call}]",
        "new": f"temperature: !!python/object/new:subprocess.Popen [{call}]",
        "long tag": f"temperature: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch {proof}']",
        "as a key": f"? !!python/object/apply:os.system ['touch {proof}']\n: 1",
        "a module": "temperature: !!python/module:os.system",
        "parameters": f"density: mw32\nparameters: !!python/object/apply:os.system ['touch {proof}']",
    }


def _expressions(proof: Path) -> list[str]:
    call = f"__import__('os').system('touch {proof}')"
    return [
        call,
        f"eval(&quot;{call}&quot;)",
        f"r*0+{call}",
        f"r;r={call}",
        f"(lambda: {call})()",
        f"[{call} for x in [1]][0]",
        f"r.__class__.__base__.__subclasses__();{call}",
        f"exec('import os; os.system(&quot;touch {proof}&quot;)')",
        f"sqrt({call})",
        f"sqrt.__globals__['__builtins__']['eval'](&quot;{call}&quot;)",
        f"@{call}",
    ]


def _pickled_array(proof: Path) -> bytes:
    out = io.BytesIO()
    array = np.empty(1, dtype=object)
    array[0] = _Touch(proof)
    np.lib.format.write_array(out, array, allow_pickle=True)
    return out.getvalue()


def _pickled_npz(content: bytes, name: str, proof: Path) -> bytes:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays: dict[str, np.ndarray] = dict(file)
    arrays[name] = np.array([_Touch(proof)], dtype=object)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def payloads(suffixes: set[str], proof: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Descriptions and functions that put a payload into a copy of a folder that has files of these suffixes."""

    def write(suffix: str, change: Callable[[bytes], bytes], sealing: Callable[[Path], None]):
        def apply(copy: Path) -> None:
            sealing(copy)
            path = next(p for p in sorted(copy.rglob(f"*{suffix}")))
            path.write_bytes(change(path.read_bytes()))
            sealing(copy)

        return apply

    if ".xml" in suffixes:
        for name, edit in _in_xml(_python_force(proof)).items():
            for sealing in (unseal, reseal):
                change = lambda content, edit=edit: edit(content.decode()).encode()  # noqa: E731
                yield f"PythonForce, {name}, {sealing.__name__}ed", write(".xml", change, sealing)
        for number, text in enumerate(_expressions(proof)):
            swap = lambda content, text=text: _with_expression(content.decode(), text).encode()  # noqa: E731
            yield f"code in an expression, {number}", write(".xml", swap, reseal)
    if ".yaml" in suffixes:
        for name, text in _in_yaml(proof).items():
            yield f"YAML, {name}", write(".yaml", lambda _, text=text: text.encode(), unseal)
    if ".npz" in suffixes:
        for name in ("metadata", "log_weights", "x", "unknown"):
            change = lambda content, name=name: _pickled_npz(content, name, proof)  # noqa: E731
            yield f"pickle in {name}", write(".npz", change, unseal)
    pickled = pickle.dumps(_Touch(proof))
    for suffix in suffixes & {".npz", ".safetensors", ".json", ".nc", ".dcd"}:
        yield f"a pickle for a {suffix}", write(suffix, lambda _: pickled, unseal)
        yield f"an array of objects for a {suffix}", write(suffix, lambda _: _pickled_array(proof), unseal)


def _with_expression(xml: str, expression: str) -> str:
    start = xml.index('energy="') + len('energy="')
    return xml[:start] + expression + xml[xml.index('"', start) :]
