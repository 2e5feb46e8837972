"""Weighted trajectories on disk: frames in any format of mdtraj, and their weights beside them.

``aldp.dcd`` comes with ``aldp.weights.npz`` (weights, labels, and a fingerprint of the frames), ``aldp.topology.pdb``
and, on request, ``aldp.colvar`` for PLUMED.
"""

import hashlib
import importlib.util
import json
import os
import uuid
import zipfile
from pathlib import Path

import numpy as np
from openmm import unit

from openmm_diffsampler.targets.units import thermal_energy

__all__ = ["SUFFIXES", "load", "save"]

#: Formats of mdtraj that hold many frames, and .npz, which keeps full precision and needs no topology.
SUFFIXES = (".dcd", ".xtc", ".trr", ".nc", ".h5", ".pdb", ".cif", ".gro", ".mdcrd", ".xyz", ".npz")
_FIELDS = ("log_weights", "reduced_potential", "log_q", "chain", "draw")
#: In kJ/mol, for PLUMED to read as weight zero where the logarithm is −inf.
_ZERO_WEIGHT = -1e6


def save(wt, path, plumed=False, overwrite=True):
    """Write frames, weights and topology such that they can only be read back together.

    All files are written under temporary names and renamed at the end, the weights last; a save that is killed in
    between leaves a pair that :func:`load` refuses, never one that looks right.

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
    finals = {"frames": path, "topology": _beside(path, "topology.pdb"), "plumed": _beside(path, "colvar")}
    finals["weights"] = path if path.suffix == ".npz" else _beside(path, "weights.npz")
    wanted = (
        {"frames", "weights"} | ({"topology"} if wt.topology is not None else set()) | ({"plumed"} if plumed else set())
    )
    finals = {name: final for name, final in finals.items() if name in wanted}
    existing = [str(final) for final in finals.values() if final.exists()]
    if existing and not overwrite:
        raise FileExistsError(f"{', '.join(existing)} exist; choose another name or pass overwrite=True")

    token = uuid.uuid4().hex[:8]
    # The suffix stays last, since mdtraj goes by it.
    parts = {final: final.with_name(f".{token}.{final.name}") for final in finals.values()}
    try:
        if wt.topology is not None:
            trajectory = wt.trajectory
            first = trajectory[0]
            # Only its topology is read back, and an exploded draw does not fit the columns of a PDB file.
            first.xyz = first.xyz.clip(-90, 90)
            first.save_pdb(str(parts[finals["topology"]]))
        metadata = {"kind": wt.kind, "event_shape": list(wt.x.shape[1:]), "frames_file": path.name}
        metadata["has_topology"] = wt.topology is not None
        metadata["source_effective_sample_size"] = wt.source_effective_sample_size
        metadata["temperature"] = None if wt.temperature is None else wt.temperature.value_in_unit(unit.kelvin)
        arrays = {name: getattr(wt, name).numpy() for name in _FIELDS if getattr(wt, name) is not None}
        if path.suffix == ".npz":
            arrays["x"] = wt.x.numpy()
            frames = arrays["x"]
        else:
            frames = _write_and_read_back(trajectory, parts[path])
        metadata["fingerprint"] = _fingerprint(frames)
        with open(parts[finals["weights"]], "wb") as file:
            np.savez(file, metadata=np.array(json.dumps(metadata)), **arrays)
        if plumed:
            _write_colvar(parts[finals["plumed"]], wt)
        for final in dict.fromkeys(finals.values()):
            os.replace(parts[final], final)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return list(dict.fromkeys(finals.values()))


def load(path, topology=None):
    """Read frames and weights, and refuse a pair that was not written together.

    Arguments:
        path: the file of the frames.
        topology: mdtraj Topology or a file that has one; by default the ``.topology.pdb`` beside the frames.

    Returns:
        dict of the arguments of WeightedTrajectory.

    Raises:
        FileNotFoundError: the frames, weights or topology are missing.
        ValueError: a damaged weights file, weights of other frames, or a topology of another number of atoms.
    """
    path = Path(path)
    _require_supported(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.name.endswith(".weights.npz"):
        raise ValueError(f"{path.name} holds weights alone; load the file of the frames, which has the same stem")
    weights_path = path if path.suffix == ".npz" else _beside(path, "weights.npz")
    if not weights_path.exists():
        raise FileNotFoundError(
            f"{weights_path} does not exist, and {path.name} is not equally weighted data without it: copy both "
            f"files, or read the bare frames with mdtraj.load"
        )
    try:
        with np.load(weights_path, allow_pickle=False) as file:
            fields = dict(file)
        metadata = json.loads(str(fields.pop("metadata")))
        event_shape, fingerprint = tuple(metadata["event_shape"]), metadata["fingerprint"]
        frames = fields.pop("x") if path.suffix == ".npz" else None
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"{weights_path} is damaged or was not written by WeightedTrajectory.save: {error}") from error

    topology = _find_topology(path, topology) if metadata["has_topology"] or topology is not None else None
    if topology is not None and topology.n_atoms != event_shape[0]:
        raise ValueError(f"{path} has {event_shape[0]} atoms and the topology {topology.n_atoms}")
    if frames is None:
        frames = _read(path, topology)
    if _fingerprint(frames) != fingerprint:
        raise ValueError(
            f"{weights_path} does not belong to {path}: it was written with other frames, in {metadata['frames_file']}"
        )
    kelvin = metadata["temperature"]
    return {
        **fields,
        "x": frames[..., : event_shape[-1]],
        "kind": metadata["kind"],
        "topology": topology,
        "temperature": None if kelvin is None else kelvin * unit.kelvin,
        "source_effective_sample_size": metadata["source_effective_sample_size"],
    }


def _require_supported(path):
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} has suffix {path.suffix!r}; supported are {', '.join(SUFFIXES)}")
    if path.suffix == ".h5" and importlib.util.find_spec("tables") is None:
        raise ImportError(
            f"{path.name} needs the tables package: pip install openmm_diffsampler[h5], or use .dcd or .xtc"
        )


def _beside(path, ending):
    return path.with_name(f"{path.stem}.{ending}")


def _write_and_read_back(trajectory, path):
    """Coordinates as a reader will see them, that is, with the rounding of the format."""
    try:
        trajectory.save(str(path))
        frames = _read(path, trajectory.topology)
        # The .xtc writer drops or garbles what overflows, without an error.
        if frames.shape != trajectory.xyz.shape or not np.allclose(frames, trajectory.xyz, rtol=1e-4, atol=1e-3):
            raise ValueError("what was read back differs from what was written")
        return frames
    except ValueError as error:
        largest = np.abs(trajectory.xyz).max()
        raise ValueError(
            f"{path.suffix} cannot hold these coordinates, the largest of which is {largest:.4g} nm; "
            f".dcd, .nc and .npz have no such limit: {error}"
        ) from error


def _read(path, topology):
    """(n, n_atoms, 3) float32 in nm."""
    import mdtraj

    try:
        return mdtraj.load(str(path), **({} if path.suffix == ".h5" else {"top": topology})).xyz
    # The readers of mdtraj raise anything for a damaged file, a bare Exception included.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as {topology.n_atoms} atoms in {path.suffix} format: {error}"
        ) from error


def _fingerprint(frames):
    frames = np.ascontiguousarray(frames)
    return hashlib.sha256(f"{frames.shape} {frames.dtype}".encode() + frames.tobytes()).hexdigest()


def _find_topology(path, topology):
    import mdtraj

    if isinstance(topology, str | os.PathLike):
        return mdtraj.load_topology(str(topology))
    if topology is not None:
        return topology
    beside = _beside(path, "topology.pdb")
    if beside.exists():
        return mdtraj.load_topology(str(beside))
    raise FileNotFoundError(
        f"{beside} does not exist; pass topology=, an mdtraj Topology or the path of a file with one"
    )


def _write_colvar(path, wt):
    energy = thermal_energy(wt.temperature) * wt.log_weights.numpy()
    columns = [np.where(np.isneginf(e), _ZERO_WEIGHT, e) for e in (energy, energy - energy.max())]
    header = "! FIELDS time logweight_kJ logweight.bias"
    np.savetxt(path, np.column_stack([np.arange(len(wt)), *columns]), fmt="%.10g", header=header, comments="#")
