"""Systems by name: the built-in ones under ``systems/`` and the user's own folders."""

import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from openmm import System, app, unit

from openmm_diffsampler._common.names import as_name

from .system_files import read_molecule
from .system_hash import parameter_hash
from .system_metadata import closest, read_metadata, require_whole
from .system_writer import save_system

__all__ = ["AnalyticSystem", "MolecularSystem", "list_systems", "load_system", "save_system"]

_PACKAGE = Path(__file__).resolve().parents[1]
#: Where the built-in folders are: in an installed wheel, and in a checkout or editable install.
_BUILT_IN = (_PACKAGE / "_systems", _PACKAGE.parent / "systems")


@dataclass(eq=False)
class MolecularSystem:
    """A System, its atoms, a starting configuration and a temperature; what :func:`load_system` returns for molecules.

    Arguments:
        name: how reports call it.
        system: openmm System.
        topology: openmm.app Topology.
        positions: Quantity in nm, (n_atoms, 3).
        temperature: Quantity.
        description: one line.
        length_unit: "nanometer", or "reduced" (1 reduced length = 1 nm, and 1 reduced energy = 1 kJ/mol).
        force_field, origin, rebuild: what the forces are, where they are from, the command that rebuilds the folder.
        built_in: name and parameters, by their hash, of the built-in system that this is or was made from.
    """

    name: str
    system: System = field(repr=False)
    topology: app.Topology
    positions: unit.Quantity = field(repr=False)
    temperature: unit.Quantity
    description: str = ""
    length_unit: str = "nanometer"
    force_field: str = ""
    origin: str = ""
    rebuild: str = ""
    built_in: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def preset_key(self) -> str | None:
        """Which settings samplers know it by: the name of a built-in system with these very forces, or None."""
        name, parameters = self.built_in or (None, None)
        return name if parameters == parameter_hash(self.system) else None

    @cached_property
    def mdtraj_topology(self):
        """The atoms and bonds as an mdtraj Topology."""
        import mdtraj

        return mdtraj.Topology.from_openmm(self.topology)

    def target(self, backend="auto", **kwargs):
        """The Boltzmann density at the temperature of the system, as an :class:`OpenMMTarget`; `kwargs` go to it."""
        from .openmm_target import OpenMMTarget

        target = OpenMMTarget(
            self.system,
            self.temperature,
            topology=self.topology,
            backend=backend,
            positions=self.positions,
            name=self.name,
            **kwargs,
        )
        target.preset_key = self.preset_key
        return target


@dataclass(eq=False)
class AnalyticSystem:
    """A density in closed form; what :func:`load_system` returns for a ``system.yaml`` with ``density:``.

    Arguments:
        name: how reports call it.
        density: one of :data:`openmm_diffsampler.targets.analytic.DENSITIES`.
        parameters: keyword arguments of the density.
        description, length_unit, origin, rebuild: as for :class:`MolecularSystem`.

    Example:
        >>> load_system("mw32").target().log_Z  # doctest: +ELLIPSIS
        164.69...
    """

    name: str
    density: str
    parameters: dict = field(default_factory=dict)
    description: str = ""
    length_unit: str = "nanometer"
    origin: str = ""
    rebuild: str = ""

    def target(self, **kwargs):
        """The density as a :class:`Target`; `kwargs` (``dtype``, ``device``) go to it."""
        from .analytic import DENSITIES

        return DENSITIES[self.density](**self.parameters, name=self.name, **kwargs)


def load_system(name_or_path: str | Path, *, trust: bool = False) -> "MolecularSystem | AnalyticSystem":
    """A built-in system by name, or your own from a folder.

    The folder holds ``topology.pdb``, ``system.xml`` and ``system.yaml``; :func:`save_system` writes one. A name
    without a separator that is not built in is looked for in the working directory.

    Arguments:
        name_or_path: a name from :func:`list_systems`, or the path of a folder.
        trust: run Python code that ``system.xml`` holds (a ``PythonForce``), and read forces of plug-ins. Without it
            such a folder is refused, and no code of its author's runs.

    Returns:
        :class:`MolecularSystem`, or :class:`AnalyticSystem` for a density in closed form.

    Raises:
        FileNotFoundError: no such system or folder, or a file is missing from it.
        UntrustedCodeError: the folder holds code; a ValueError.
        DamagedFileError: a file is not the one that was saved; a ValueError.
        ValueError: a file cannot be read, the files do not fit together, or ``system.yaml`` has wrong or missing
            entries.

    Warns:
        UnsealedFileWarning: the folder has no checksums, since it was written by hand or by an earlier version.

    Example:
        >>> system = load_system("lj13")
        >>> system.name, system.system.getNumParticles(), system.temperature
        ('lj13', 13, 120.27235504272605 K)
    """
    directory = _directory(name_or_path)
    metadata = read_metadata(directory)
    metadata.setdefault("name", as_name(directory.resolve().name))
    require_whole(directory, metadata.pop("files", {}))
    if "density" in metadata:
        return AnalyticSystem(**metadata)
    system, topology, positions = read_molecule(directory, trust)
    key = next((name for name, path in _built_in().items() if path.samefile(directory)), None)
    built_in = None if key is None else (key, parameter_hash(system))
    return MolecularSystem(system=system, topology=topology, positions=positions, built_in=built_in, **metadata)


def list_systems():
    """Names and one-line descriptions of the built-in systems, as a dict.

    Example:
        >>> list_systems()["gmm40"]
        '40 Gaussians in the plane, normalised and with exact samples'
    """
    return {name: read_metadata(path).get("description", "") for name, path in sorted(_built_in().items())}


def system_directory(name):
    """The folder of a built-in system."""
    built_in = _built_in()
    if name not in built_in:
        raise FileNotFoundError(
            f"there is no built-in system {name!r}{closest(name, built_in)}; built in are {', '.join(sorted(built_in))}"
        )
    return built_in[name]


def _built_in():
    """Folders of the built-in systems by name, those of a wheel before those of a checkout."""
    parent = next((parent for parent in _BUILT_IN if any(parent.glob("*/system.yaml"))), None)
    return {} if parent is None else {file.parent.name: file.parent for file in parent.glob("*/system.yaml")}


def _directory(name_or_path):
    if not isinstance(name_or_path, str | Path):
        raise TypeError(f"{name_or_path!r} is neither a name nor a path; list_systems() has the names")
    path = Path(name_or_path).expanduser()
    separators = {os.sep, "/"} | ({os.altsep} if os.altsep else set())
    is_path = isinstance(name_or_path, Path) or any(separator in name_or_path for separator in separators)
    built_in = _built_in()
    if not is_path and name_or_path in built_in:
        if (path / "system.yaml").exists() and not path.samefile(built_in[name_or_path]):
            warnings.warn(
                f"{name_or_path!r} is a built-in system and also a folder here; loaded the built-in one. "
                f"Write {os.path.join('.', name_or_path)!r} for the folder.",
                stacklevel=3,
            )
        return built_in[name_or_path]
    if path.is_dir() and str(name_or_path):
        return path
    if path.exists() and str(name_or_path):
        raise NotADirectoryError(f"{path} is a file; give the folder that holds topology.pdb, system.xml, system.yaml")
    if is_path:
        raise FileNotFoundError(f"there is no folder {path}; save_system writes one, list_systems() has built-in names")
    raise FileNotFoundError(
        f"there is no built-in system {name_or_path!r} and no such folder here{closest(name_or_path, built_in)}; "
        f"built in are {', '.join(sorted(built_in)) or 'none (the installation has lost its systems folder)'}"
    )
