"""From code to a function in memory: optimised for this processor, kept on disk, loaded again without compiling."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from openmm_diffsampler._common.private_folder import NotPrivateError, PrivateFolder

__all__ = ["cache_folder", "load"]

_log = logging.getLogger(__name__)

#: What the optimiser is told; a part of what machine code is known by.
_OPTIONS = {
    "opt": 3,
    "speed_level": 2,
    "loop_vectorization": False,
    "slp_vectorization": False,
    "loop_unrolling": False,
}
#: Bytes of all kernels that are kept, and what their files are called.
_MOST, _NAMES = 500_000_000, "[0-9a-f]{32}"

_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 7, ctypes.c_int64)


def cache_folder() -> Path:
    """Where compiled kernels are kept: $OPENMM_DIFFSAMPLER_CACHE, or a folder of the user's cache directory."""
    given = os.environ.get("OPENMM_DIFFSAMPLER_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmm_diffsampler" / "kernels"


def _cache() -> PrivateFolder:
    return PrivateFolder(cache_folder(), _NAMES)


@cache
def _say(error: str, level: int) -> None:
    """Say once that kernels are not kept, and why."""
    _log.log(level, "compiled kernels are not kept, so that each process compiles them anew: %s", error)


def _not_kept(error: Exception) -> None:
    _say(str(error), logging.WARNING if isinstance(error, NotPrivateError) else logging.INFO)


@cache
def _version() -> str:
    try:
        return metadata.version("openmm_diffsampler")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def _machine() -> tuple[Any, str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        flags = [llvm.get_host_cpu_features().flatten()]
    except RuntimeError:  # a processor that LLVM cannot tell
        flags = []
    triple = llvm.get_process_triple()
    if triple.startswith("x86_64"):  # the vectors are as wide as they are, for the widest registers there are
        flags.append("-prefer-256-bit")
    if os.name == "nt":  # the loader links objects of this format without the runtime of a compiler
        triple += "-elf"
    flags = ",".join(filter(None, flags))
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=flags, opt=_OPTIONS["opt"], jit=True
    ), flags


def _compile(code: str, machine: Any) -> bytes:
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=_OPTIONS["speed_level"])
    for name in ("loop_vectorization", "slp_vectorization", "loop_unrolling"):
        setattr(options, name, _OPTIONS[name])
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


def _name(code: str, machine: Any, flags: str) -> str:
    """What machine code is known by: everything that it depends on."""
    llvm_version = ".".join(map(str, llvm.llvm_version_info))
    made_by = [_version(), llvmlite.__version__, llvm_version, llvm.get_host_cpu_name(), machine.triple, flags]
    identity = "\n".join([code, *made_by, repr(sorted(_OPTIONS.items()))])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _checksum(name: str, binary: bytes) -> bytes:
    """Of the content and of the name, so that no other kernel's file is taken for this one's."""
    return hashlib.sha256(name.encode() + binary).digest()


def _kept(name: str) -> bytes | None:
    """Machine code from the cache; None where there is none, or a damaged one, or the folder is not to be trusted."""
    try:
        if not cache_folder().exists():
            return None
        with _cache().opened() as folder:
            content = folder.read(name) or b""
    except (OSError, RuntimeError) as error:  # not private, not readable, or no home at all
        _not_kept(error)
        return None
    checksum, binary = content[:32], content[32:]
    return binary if checksum == _checksum(name, binary) else None


def _keep(name: str, binary: bytes) -> None:
    try:
        with _cache().opened() as folder:
            folder.write(name, _checksum(name, binary) + binary)
            folder.keep_below(_MOST)
    except (OSError, RuntimeError) as error:
        _not_kept(error)


def _object(code: str, machine: Any, flags: str) -> bytes:
    """Machine code, from the cache if it is there."""
    name = _name(code, machine, flags)
    binary = _kept(name)
    if binary is None:
        start = time.perf_counter()
        _log.info("compiling a kernel for this System")
        binary = _compile(code, machine)
        _log.info("compiled in %.1f s", time.perf_counter() - start)
        _keep(name, binary)
    return binary


def load(code: str, name: str) -> tuple[Any, Any]:
    """The function `name` of LLVM assembly `code`.

    Returns:
        A ctypes function of seven addresses and a whole number that lets other Python threads run, and the engine that
        owns its memory.
    """
    machine, flags = _machine()
    binary = _object(code, machine, flags)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(binary))
    engine.finalize_object()
    return _SIGNATURE(engine.get_function_address(name)), engine
