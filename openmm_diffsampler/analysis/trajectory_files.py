"""Weighted trajectories on disk: frames in any format of mdtraj, and their weights beside them.

``aldp.dcd`` comes with ``aldp.weights.npz`` (weights, labels, the topology, and hashes of all of it and of the frames),
``aldp.topology.pdb`` for other programs and, on request, ``aldp.colvar`` for PLUMED.
"""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import unit

from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import DamagedFileError, file_hash
from openmm_diffsampler._common.topologies import mdtraj_topology, topology_entries
from openmm_diffsampler._common.whole_files import written_whole
from openmm_diffsampler.targets.units import thermal_energy

from .dihedrals import in_space
from .frame_files import fingerprint, read_frames, write_frames
from .pdb_topology import fitting_topology, ordered_topology
from .trajectory_archive import read_archive, write_archive
from .trajectory_fields import ARRAYS, checked_fields

if TYPE_CHECKING:
    import mdtraj

    from .weighted_trajectory import WeightedTrajectory

__all__ = ["SUFFIXES", "load", "save"]

#: Formats of mdtraj that hold many frames, and .npz, which keeps full precision and needs no topology.
SUFFIXES = (".dcd", ".xtc", ".trr", ".nc", ".h5", ".pdb", ".cif", ".gro", ".mdcrd", ".xyz", ".npz")
#: Formats whose topology can hold Python code, which mdtraj runs.
_UNSAFE = (".h5", ".hdf5", ".lh5")
#: In kJ/mol, for PLUMED to read as weight zero where the logarithm is −inf.
_ZERO_WEIGHT = -1e6


def save(
    wt: WeightedTrajectory, path: str | os.PathLike[str], plumed: bool = False, overwrite: bool = True
) -> list[Path]:
    """Write frames, weights and topology such that they can only be read back together.

    All files are written under temporary names and renamed at the end, the weights last; a save that is killed in
    between leaves a pair that :func:`load` refuses, never one that looks right. The weights file has the topology with
    every name and bond; names that a PDB file has no room for are shortened in the one beside.

    The COLVAR file has one line a frame with the fields ``time`` (frame number), ``logweight_kJ`` (kT·log w in kJ/mol)
    and ``logweight.bias`` (the same minus its maximum, so that exp(bias/kT) in PLUMED's REWEIGHT_BIAS cannot overflow).
    Weight zero is written as −1e6 kJ/mol. ``plumed driver --plumed plumed.dat --mf_dcd aldp.dcd`` makes a weighted
    histogram with this ``plumed.dat``, in which atoms count from 1 and TEMP is that of the trajectory::

        phi: TORSION ATOMS=5,7,9,15 NOPBC
        logweight: READ FILE=aldp.colvar VALUES=logweight.bias IGNORE_TIME
        w: REWEIGHT_BIAS TEMP=300 ARG=logweight.bias
        h: HISTOGRAM ARG=phi GRID_MIN=-pi GRID_MAX=pi GRID_BIN=60 KERNEL=DISCRETE LOGWEIGHTS=w
        DUMPGRID GRID=h FILE=phi.dat

    Arguments:
        wt: the WeightedTrajectory.
        path: where the frames go; the suffix chooses the format (:data:`SUFFIXES`). Densities without particles take
            ``.npz``. Text formats and .xtc round the coordinates, and all but .npz store single precision.
        plumed: also write the COLVAR file, which needs a temperature.
        overwrite: whether files of these names may be replaced.

    Returns:
        list of the paths written.

    Raises:
        ValueError: an unsupported suffix, coordinates too large for the format, or a COLVAR file without temperature.
        TypeError: a trajectory format for a density without particles.
        ImportError: .h5 without the `tables` package.
        FileExistsError: only with ``overwrite=False``.
        OSError: the files cannot be written, as on a full disk.
        Files that were there before stay as they are.

    Example:
        >>> import tempfile, torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> wt = WeightedTrajectory(torch.zeros(2, 1), torch.tensor([0.0, 1.0]), kind="importance")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path] = wt.save(f"{folder}/density.npz")
        ...     WeightedTrajectory.load(path).log_weights.tolist()
        [0.0, 1.0]
    """
    path = Path(path)
    _require_supported(path)
    if path.suffix != ".npz" and wt.topology is None:
        raise TypeError(f"there is no topology, so nothing to write to {path.name}; save densities as {path.stem}.npz")
    if plumed and wt.temperature is None:
        raise ValueError("a PLUMED file holds kT·log w in kJ/mol; this trajectory has no temperature")
    finals = _names(path, plumed, wt.topology is not None)
    existing = [str(final) for final in finals.values() if final.exists()]
    if existing and not overwrite:
        raise FileExistsError(f"{', '.join(existing)} exist; choose another name or pass overwrite=True")

    topology = None if wt.topology is None else ordered_topology(wt.topology)
    metadata, arrays = _contents(wt, topology)
    # Left in reverse order, such that the frames are renamed first and the weights last.
    with _errors_of(path), ExitStack() as stack:
        parts = {name: stack.enter_context(written_whole(final)) for name, final in reversed(finals.items())}
        if "frames" in parts:
            frames = write_frames(parts["frames"], wt.x, topology)
        else:
            frames = arrays["x"] = wt.x.numpy()
        if "topology" in parts:
            _write_pdb(parts["topology"], wt, topology)
        if "plumed" in parts:
            _write_colvar(parts["plumed"], wt)
        hashes = {f"{name}_hash": file_hash(parts[name]) if name in parts else None for name in ("frames", "topology")}
        metadata |= {"frames_file": path.name, "fingerprint": fingerprint(frames), **hashes}
        write_archive(parts["weights"], arrays, metadata)
        # A disk that turns out to be full only now has to do so before the first file is replaced.
        for part in parts.values():
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
    return list(finals.values())


def load(
    path: str | os.PathLike[str], topology: mdtraj.Topology | str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Read frames and weights, and refuse a pair that was not written together.

    Arguments:
        path: the file of the frames.
        topology: mdtraj Topology or a file that has one; by default that in the weights file. Earlier versions have it
            in the ``.topology.pdb`` beside the frames alone.

    Returns:
        dict of the arguments of WeightedTrajectory.

    Raises:
        FileNotFoundError: the frames or weights are missing, or the topology of a file of an earlier version.
        ValueError: a damaged file, weights of other frames, or a topology of another number of atoms.

    Warns:
        UserWarning: the ``.topology.pdb`` beside was changed, and does not count.
        UnsealedFileWarning: the weights file is of an earlier version, without a checksum.
    """
    path = Path(path)
    _require_supported(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist" if not path.exists() else f"{path} is no file")
    if path.name.endswith(".weights.npz"):
        raise ValueError(f"{path.name} holds weights alone; load the file of the frames, which has the same stem")
    weights_path = path if path.suffix == ".npz" else _beside(path, "weights.npz")
    if not weights_path.is_file():
        raise FileNotFoundError(
            f"{weights_path} does not exist, and {path.name} is not equally weighted data without it: copy both "
            f"files, or read the bare frames with mdtraj.load"
        )
    arrays, metadata = read_archive(weights_path)
    try:
        checked_fields(arrays, metadata, has_frames=path.suffix == ".npz")
        stored = arrays.pop("topology", None)
        own = None if stored is None else mdtraj_topology(json.loads(stored.tobytes()))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"{weights_path} is damaged or was not written by WeightedTrajectory.save: {shortened(error)}"
        ) from None

    event_shape = tuple(metadata["event_shape"])
    is_given = topology is not None
    if is_given:
        topology = _given(topology)
    elif metadata["has_topology"]:
        topology = _read_beside(path) if own is None else own
    if topology is not None and topology.n_atoms != event_shape[0]:
        raise ValueError(f"{path} has {event_shape[0]} atoms and the topology {topology.n_atoms}")
    if path.suffix == ".npz":
        frames = arrays.pop("x")
    else:
        is_known = metadata.get("frames_hash") is not None and metadata["frames_hash"] == file_hash(path)
        frames = read_frames(path, len(arrays["log_weights"]), topology, is_known)
    if fingerprint(frames) != metadata["fingerprint"]:
        raise DamagedFileError(
            f"{weights_path} does not belong to {path}: it was written with other frames, in "
            f"{shortened(metadata['frames_file'])}"
        )
    if not is_given and own is not None:
        _warn_of_changes(path, weights_path, metadata)
    kelvin = metadata["temperature"]
    return {
        **arrays,
        "x": frames[..., : event_shape[-1]],
        "kind": metadata["kind"],
        "topology": topology,
        "temperature": None if kelvin is None else kelvin * unit.kelvin,
        "source_effective_sample_size": metadata["source_effective_sample_size"],
    }


def _require_supported(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} has suffix {path.suffix!r}; supported are {', '.join(SUFFIXES)}")
    if path.suffix == ".h5" and importlib.util.find_spec("tables") is None:
        raise ImportError(
            f"{path.name} needs the tables package: pip install openmm_diffsampler[h5], or use .dcd or .xtc"
        )


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}.{ending}")


def _names(path: Path, plumed: bool, has_topology: bool) -> dict[str, Path]:
    """The files of a trajectory, in the order in which they take the place of older ones."""
    names = {} if path.suffix == ".npz" else {"frames": path}
    if has_topology:
        names["topology"] = _beside(path, "topology.pdb")
    if plumed:
        names["plumed"] = _beside(path, "colvar")
    return names | {"weights": path if path.suffix == ".npz" else _beside(path, "weights.npz")}


def _contents(wt: WeightedTrajectory, topology: mdtraj.Topology | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the weights file holds, but for what depends on the frames."""
    metadata = {
        "kind": wt.kind,
        "event_shape": list(wt.x.shape[1:]),
        "has_topology": topology is not None,
        "source_effective_sample_size": wt.source_effective_sample_size,
        "temperature": None if wt.temperature is None else float(wt.temperature.value_in_unit(unit.kelvin)),
    }
    arrays = {name: getattr(wt, name).numpy() for name in ARRAYS if getattr(wt, name) is not None}
    if topology is not None:
        text = json.dumps(topology_entries(topology), separators=(",", ":"))
        arrays["topology"] = np.frombuffer(text.encode(), dtype=np.uint8)
    return metadata, arrays


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Errors of the system with the name of the file that was asked for, not of a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_pdb(path: Path, wt: WeightedTrajectory, topology: mdtraj.Topology) -> None:
    """The first frame, for programs that read topologies from PDB files."""
    import mdtraj

    # An exploded draw does not fit the columns of a PDB file.
    first = in_space(wt.x[:1]).clip(-90, 90)
    mdtraj.Trajectory(first, fitting_topology(topology)).save_pdb(str(path))


def _given(topology: mdtraj.Topology | str | os.PathLike[str]) -> mdtraj.Topology:
    if not isinstance(topology, str | os.PathLike):
        return topology
    if Path(topology).suffix in _UNSAFE:
        raise ValueError(
            f"{topology} may hold Python code, which reading it runs; if you trust it, pass "
            f"mdtraj.load_topology({str(topology)!r})"
        )
    return _parsed(Path(topology))


def _read_beside(path: Path) -> mdtraj.Topology:
    beside = _beside(path, "topology.pdb")
    if beside.is_file():
        return _parsed(beside)
    raise FileNotFoundError(
        f"{beside} does not exist; pass topology=, an mdtraj Topology or the path of a file with one"
    )


def _parsed(path: Path) -> mdtraj.Topology:
    import mdtraj

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return mdtraj.load_topology(str(path))
    # The readers of mdtraj raise anything for a damaged file.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a topology ({type(error).__name__}: {shortened(error)})") from None


def _warn_of_changes(path: Path, weights_path: Path, metadata: dict[str, Any]) -> None:
    beside, known = _beside(path, "topology.pdb"), metadata.get("topology_hash")
    if known is not None and beside.is_file() and file_hash(beside) != known:
        warnings.warn(
            f"{beside} was changed after it was written, and is not read: the topology is the one in {weights_path}",
            stacklevel=4,
        )


def _write_colvar(path: Path, wt: WeightedTrajectory) -> None:
    energy = thermal_energy(wt.temperature) * wt.log_weights.numpy()
    columns = [np.where(np.isneginf(e), _ZERO_WEIGHT, e) for e in (energy, energy - energy.max())]
    header = "! FIELDS time logweight_kJ logweight.bias"
    np.savetxt(path, np.column_stack([np.arange(len(wt)), *columns]), fmt="%.10g", header=header, comments="#")
