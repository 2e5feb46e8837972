"""From code to a function in memory: optimised for this processor, kept on disk, loaded again without compiling."""

import ctypes
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

__all__ = ["cache_folder", "load"]

_log = logging.getLogger(__name__)

_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 7, ctypes.c_int64)


def cache_folder():
    """Where compiled kernels are kept: $OPENMM_DIFFSAMPLER_CACHE, or a folder of the user's cache directory."""
    given = os.environ.get("OPENMM_DIFFSAMPLER_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmm_diffsampler" / "kernels"


def _machine():
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
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=flags, opt=3, jit=True), flags


def _compile(code, machine):
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


def _object(code, machine, flags):
    """Machine code, from the cache if it is there."""
    identity = "\n".join([code, llvm.get_host_cpu_name(), flags, llvmlite.__version__])
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    try:
        kept = (cache_folder() / name).read_bytes()
    except (OSError, RuntimeError):  # not there, not readable, or no home at all
        kept = b""
    checksum, binary = kept[:32], kept[32:]
    if checksum == hashlib.sha256(binary).digest():
        return binary
    start = time.perf_counter()
    _log.info("compiling a kernel for this System")
    binary = _compile(code, machine)
    _log.info("compiled in %.1f s", time.perf_counter() - start)
    try:
        _keep(binary, cache_folder(), name)
    except (OSError, RuntimeError) as error:  # compile each time
        _log.info("the kernel was not kept: %s", error)
    return binary


def _keep(binary, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as unfinished:
        unfinished.write(hashlib.sha256(binary).digest() + binary)
    os.replace(unfinished.name, folder / name)


def load(code, name):
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
