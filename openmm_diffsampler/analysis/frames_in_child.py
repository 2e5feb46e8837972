"""Frames of files that may be damaged, read in a process of its own, which may crash, hang or eat memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from openmm_diffsampler._common.quoting import shortened

__all__ = ["read_in_child"]

#: Bytes of memory for Python and its libraries, and for each byte of the file, which parsers of text take many times.
_MEMORY, _MEMORY_OF_A_BYTE = 4 << 30, 40
#: Seconds for the start of Python, and for each byte of the file.
_SECONDS, _SECONDS_OF_A_BYTE = 60, 1e-5

#: What the process runs. It has no part of this package, whose import takes longer.
_CODE = """
import json, os, sys
path, shape, search, memory = json.loads(sys.argv[1])
sys.path[:] = search
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
import pickle
import numpy, mdtraj
def refuse(*args, **kwargs):
    raise pickle.UnpicklingError("the file holds Python objects")
pickle.loads = pickle.load = refuse
top = None
if not path.endswith(".h5"):
    top = mdtraj.Topology()
    chain = top.add_chain()
    for i in range(shape[1]):
        if i % 10_000 == 0:
            residue = top.add_residue("UNK", chain)
        top.add_atom(f"X{i}", mdtraj.element.virtual, residue)
try:
    xyz = mdtraj.load(path, **({} if top is None else {"top": top})).xyz
    if list(xyz.shape) != shape:
        raise ValueError(f"it holds frames of shape {xyz.shape}")
    answer = numpy.ascontiguousarray(xyz, dtype=numpy.float32)
except Exception as error:
    out.write(f"error: {type(error).__name__}: {error}"[:300].encode(errors="replace"))
else:
    out.write(b"frames")
    out.write(answer.data.cast("B"))
out.flush()
os._exit(0)
"""


def read_in_child(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """(n, n_atoms, 3) float32 in nm of a file in a format of mdtraj.

    Arguments:
        path: the file, in ASCII.
        shape: the one expected.

    Raises:
        ValueError: there are no such frames in it, or its parser crashed, hung or ran out of memory.
    """
    size = os.path.getsize(path)
    n_bytes = 4 * int(np.prod(shape, dtype=object))
    memory = _MEMORY + _MEMORY_OF_A_BYTE * size + 8 * n_bytes
    # Without the folder that Python was started in, where anybody's modules may lie.
    search = [folder for folder in sys.path if folder]
    arguments = json.dumps([str(path.absolute()), list(shape), search, memory])
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", _CODE, arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS + _SECONDS_OF_A_BYTE * size,
                env=os.environ | threads,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError("its parser did not end") from None
        output.seek(0)
        if (start := output.read(6)) != b"frames":
            reason = (start + output.read(300)).decode(errors="replace").removeprefix("error: ")
            raise ValueError(shortened(reason) if reason else f"its parser crashed with status {done.returncode}")
        frames = bytearray(n_bytes)
        if output.readinto(frames) != n_bytes or output.read(1):
            raise ValueError("its parser crashed")
    return np.frombuffer(frames, np.float32).reshape(shape)
