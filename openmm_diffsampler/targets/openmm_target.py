"""The Boltzmann density of an OpenMM System as a target for torch samplers."""

import copy
import logging
import time
import warnings

import numpy as np
import openmm
import torch
from openmm import unit

from openmm_diffsampler._common.quoting import shortened

from .backends.kernel import KernelBackend, KernelTooLargeError
from .backends.openmm_backend import OpenMMBackend, fastest_platform, require_picklable
from .backends.preparation import Preparation, announce_long_preparation
from .backends.timing import calls_per_second
from .backends.torch_backend import TorchBackend
from .base import Target
from .bond_scale import BondScale
from .normalisability import warn_of_free_fragments
from .positions import positions_array
from .system_checks import generic_positions, require_samplable
from .system_hash import parameter_hash
from .terms.translate import UnsupportedForceError, translate_system
from .topology_order import require_same_order
from .units import require_temperature, thermal_energy

__all__ = ["BACKENDS", "BackendMismatchError", "OpenMMTarget"]

_log = logging.getLogger(__name__)

BACKENDS = ("auto", "kernel", "torch", "openmm")

#: Up to this many atoms the closed forms are the faster backend everywhere it was measured.
_SMALL = 200
#: Relative rounding of energies in double and in single precision.
_DOUBLE, _SINGLE = 1e-9, 1e-5


class BackendMismatchError(RuntimeError):
    """A backend disagrees with OpenMM's Reference platform about energies or forces of this System."""


class OpenMMTarget(Target):
    r"""p(x) ∝ exp(−E(x)/kT) for the potential energy E of an OpenMM System.

    At construction, energies and forces of the backend are compared with OpenMM's Reference platform on perturbed
    positions; disagreement raises.

    Arguments:
        system: openmm System without constraints, virtual sites, massless particles and barostat. Do not change it
            afterwards: a copy of the target, and a forked process, read it again.
        temperature: openmm Quantity.
        topology: openmm.app or mdtraj Topology of the atoms, with its bonds; trajectories need it.
        backend: ``"kernel"``: closed-form energies and forces, compiled for the CPU, for the forces listed in
            docs/supported-forces.md; second derivatives by differences of forces.
            ``"torch"``: the same in torch, on a CPU or GPU; second derivatives in closed form.
            ``"openmm"``: a pool of contexts, for every force; second derivatives by finite differences of forces.
            ``"auto"``: the faster one that supports the System; :attr:`backend` and :attr:`backend_reason` tell which
            and why.
        positions: a configuration, Quantity or nm, (n_atoms, 3), around which the backend is checked and timed, and
            which samplers that learn take stereocentres from; kept as :attr:`positions`. Without it one is made by
            minimisation from random positions, for the check alone.
        name: how reports call the density.
        dtype: precision of the evaluation. torch.float32 is about twice as fast in closed form.
        device: where backend "torch" evaluates, "cpu" or "cuda".
        platform, n_contexts, platform_properties: for backend "openmm": the platform (default: the fastest in a short
            trial), how many contexts share a batch (default: one a CPU core, fewer where each takes seconds to make;
            one on a GPU) and their properties. A System with a PythonForce or a force of a plugin, whose code may keep
            state, has one context.

    Raises:
        TypeError: `system` is no System, the temperature has no unit, or positions are a quantity of another library.
        ValueError: something in the System cannot be sampled here, an unknown backend, atom counts that differ, a
            topology in another order than the System, or positions that are not in nm.
        UnsupportedForceError: backend "kernel" or "torch" was asked for and a force has no closed form.
        BackendMismatchError: energies or forces differ from the Reference platform.

    Warns:
        UnnormalisableDensityWarning: nothing holds the molecules together; :attr:`is_normalisable` is False.
        MissingBondsWarning: a molecule of the System has no bonds in the topology.

    Example:
        >>> from openmm import unit
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> target = OpenMMTarget(molecule.system, molecule.temperature, positions=molecule.positions)
        >>> x = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer)).repeat(5, 1, 1)
        >>> u, score = target.reduced_potential_and_score(x)
        >>> u.shape, score.shape, target.n_evaluations, target.backend
        (torch.Size([5]), torch.Size([5, 22, 3]), 5, 'kernel')
    """

    def __init__(
        self,
        system,
        temperature,
        topology=None,
        backend="auto",
        *,
        positions=None,
        name="molecule",
        dtype=torch.float64,
        device="cpu",
        platform=None,
        n_contexts=None,
        platform_properties=None,
    ):
        require_samplable(system)
        if backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}; supported are {', '.join(map(repr, BACKENDS))}")
        n_atoms = system.getNumParticles()
        super().__init__((n_atoms, 3), name=name, dtype=dtype, device=device)
        self.temperature = require_temperature(temperature)
        self.system, self.topology = system, _mdtraj_topology(topology, system)
        self._beta = 1 / thermal_energy(temperature)
        is_long = announce_long_preparation(self.name, system)
        started = time.perf_counter()
        try:
            reference = OpenMMBackend(system, platform="Reference", n_contexts=1)
        except openmm.OpenMMException as error:
            raise ValueError(f"OpenMM cannot evaluate the System of {name}: {shortened(error)}") from error
        made = time.perf_counter()
        self._bond_scale = BondScale(system, self.topology)
        if positions is None:
            start = generic_positions(system, reference.contexts[0])
        else:
            start = positions_array(positions, n_atoms)
            self._bond_scale.require(start)
        self.positions = None if positions is None else torch.as_tensor(start)
        noise = np.random.default_rng(0).normal(scale=0.003, size=(4, n_atoms, 3))
        nearby = torch.as_tensor(start + noise)
        asked = time.perf_counter()
        exact = reference.energy_and_forces(nearby)
        taken = Preparation(made - started, (time.perf_counter() - asked) / len(nearby), is_long)
        if not all(t.isfinite().all() for t in exact):
            raise ValueError("the energy near the positions is not finite; give positions without overlapping atoms")
        self.translation_invariant = _is_translation_invariant(reference, nearby, exact)
        self._warn_of_unbonded_molecules(start)
        self._options = {"platform": platform, "n_contexts": n_contexts, "properties": platform_properties}
        self._choose(backend, nearby, reference, taken)
        self._compare(nearby, exact)
        u = lambda x: reference.energy_and_forces(torch.as_tensor(x))[0].numpy() * self._beta  # noqa: E731
        self.is_normalisable = warn_of_free_fragments(
            name, system, self.topology, start, u, translation_invariant=self.translation_invariant
        )
        _log.info("%s: backend %s, %s", name, self.backend, self.backend_reason)

    def identity(self):
        """As for every target, with the temperature, the backend and a hash of what the energy depends on."""
        kelvin = repr(float(self.temperature.value_in_unit(unit.kelvin))).removesuffix(".0")
        own = {"system": parameter_hash(self.system), "temperature": f"{kelvin} K", "backend": self.backend}
        return super().identity() | own

    def require_start(self, x: torch.Tensor) -> None:
        """Raise a ValueError where the bonds of configurations (n, n_atoms, 3) say that they are not in nm."""
        self._bond_scale.require(x.detach().cpu().numpy(), "initial positions")

    def _warn_of_unbonded_molecules(self, start: np.ndarray) -> None:
        from openmm_diffsampler import coordinates

        if self.topology is None:
            return
        missing = coordinates.missing_bonds(self.system, self.topology, start)
        if coordinates.unbonded_molecules(self.system, self.topology, missing):
            warnings.warn(
                f"the topology of {self.name} lacks {coordinates.how_to_add_bonds(self.topology, missing)}; without "
                "them no torsion is turned",
                coordinates.MissingBondsWarning,
                stacklevel=3,
            )

    def _choose(self, backend: str, nearby: torch.Tensor, reference: OpenMMBackend, taken: Preparation) -> None:
        """Set the evaluator, `backend` and `backend_reason`."""

        def by_openmm() -> OpenMMBackend:
            return self._openmm_backend(nearby[0].numpy(), reference, taken)

        self.backend, self.backend_reason = backend, "as asked for"
        if backend == "openmm":
            self._evaluator = by_openmm()
            self.backend_reason += f" ({self._pool_in_words()})"
            return
        try:
            chosen, self._evaluator, reason = self._closed_form(backend)
        except UnsupportedForceError as error:
            if backend != "auto":
                raise
            chosen, self._evaluator = "openmm", by_openmm()
            reason = f"since there are no closed forms: {error} ({self._pool_in_words()})"
        else:
            if backend == "auto" and self._n_atoms > _SMALL and self.device.type == "cpu":
                pool = by_openmm()
                many = nearby.to(self.dtype).repeat(taken.n_repeats(pool.n_contexts / len(nearby)), 1, 1)
                rates = [_rate(candidate, many) for candidate in (self._evaluator, pool)]
                reason = f"measured {rates[0]:.3g} evaluations/s in closed form and {rates[1]:.3g} by OpenMM"
                if rates[1] > rates[0]:
                    chosen, self._evaluator = "openmm", pool
                    reason += f" ({self._pool_in_words()})"
        if backend == "auto":
            self.backend, self.backend_reason = chosen, reason

    def _closed_form(self, backend):
        """Name, evaluator and reason of the closed forms: compiled on a CPU, in torch on other devices."""
        table = translate_system(self.system)
        if backend == "kernel" and self.device.type != "cpu":
            raise ValueError(f"backend 'kernel' runs on the CPU, not on {self.device}; use backend='torch' there")
        if backend != "torch" and self.device.type == "cpu":
            try:
                evaluator = KernelBackend(table, dtype=self.dtype, scale=self._beta)
                return "kernel", evaluator, "closed forms exist for every force and are compiled for this processor"
            except KernelTooLargeError as error:
                if backend == "kernel":
                    raise
                return "torch", TorchBackend(table, dtype=self.dtype), f"closed forms exist for every force; {error}"
        evaluator = TorchBackend(table, dtype=self.dtype, device=self.device)
        return "torch", evaluator, f"closed forms exist for every force, and torch runs them on {self.device}"

    def _pool_in_words(self):
        pool, kinds = self._evaluator, " and ".join(self._evaluator.foreign)
        if kinds:
            return f"{pool.platform} platform, one context, since the code of a {kinds} may keep state"
        return f"{pool.platform} platform, {pool.n_contexts} contexts"

    @property
    def _n_atoms(self):
        return self.event_shape[0]

    def _openmm_backend(self, positions: np.ndarray, reference: OpenMMBackend, taken: Preparation) -> OpenMMBackend:
        """A pool of contexts; `reference` itself where it is the pool that is wanted."""
        options = dict(self._options)
        if options["platform"] is None:
            _log.info("%s: trying OpenMM's platforms", self.name)
            options["platform"] = fastest_platform(self.system, positions, known=taken.known_rates())
        on_cpu = options["platform"] in ("Reference", "CPU")
        options["n_contexts"] = options["n_contexts"] or (taken.n_contexts() if on_cpu else 1)
        wanted = {"platform": "Reference", "n_contexts": 1, "properties": None}
        if options == wanted and (self.dtype, self.device) == (reference.dtype, reference.device):
            return reference
        if taken.context * options["n_contexts"] > 5:
            _log.warning(
                "%s: %d more contexts take about %.0f s",
                self.name,
                options["n_contexts"],
                taken.context * options["n_contexts"],
            )
        return OpenMMBackend(self.system, dtype=self.dtype, device=self.device, **options)

    def __reduce_ex__(self, protocol):
        require_picklable(self.system)
        return super().__reduce_ex__(protocol)

    def __copy__(self):
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __deepcopy__(self, memo):
        memo[id(self.system)] = self.system  # which does not change, and need not be one that OpenMM can write down
        copied = memo[id(self)] = type(self).__new__(type(self))
        vars(copied).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return copied

    def _compare(self, nearby, exact):
        result = self._evaluator.energy_and_forces(nearby.to(self.device, self.dtype))
        energy, forces = (t.double().cpu() * self._factor / self._beta for t in result)
        double = self.dtype == torch.float64 and getattr(self._evaluator, "step", 1e-6) < 1e-4
        tolerance = 1e-8 if double else 2e-3
        size = exact[1].flatten(1).norm(dim=1)
        by_force = (forces - exact[1]).flatten(1).norm(dim=1) / size.clamp(min=1e-3)
        by_energy = (energy - exact[0]).abs() / (exact[0].abs() + size).clamp(min=1e-3)
        for what, error in (("forces", by_force), ("energies", by_energy)):
            if not (error <= tolerance).all():
                raise BackendMismatchError(
                    f"{what} of backend {self.backend!r} differ from OpenMM's Reference platform by {error.max():.1e} "
                    f"(relative; {tolerance:.0e} is allowed); use backend='openmm' with platform='Reference'"
                )

    def _evaluate_guarded(self, x):
        return self._from_kernel(self._evaluator, x) if self.backend == "kernel" else super()._evaluate_guarded(x)

    def _evaluate(self, x):
        energy, forces = self._evaluator.energy_and_forces(x)
        return energy * self._factor, forces * self._factor

    def _score_vjp(self, x, v):
        return self._evaluator.force_vjp(x, v) * self._factor

    @property
    def _factor(self):
        """From what the evaluator gives to kT."""
        return 1.0 if self.backend == "kernel" else self._beta


def _mdtraj_topology(topology, system):
    if topology is None:
        return None
    n_atoms = system.getNumParticles()
    import mdtraj

    if isinstance(topology, openmm.app.Topology):
        topology = mdtraj.Topology.from_openmm(topology)
    if not isinstance(topology, mdtraj.Topology):
        raise TypeError(f"topology is a {type(topology).__name__}; give an openmm.app or mdtraj Topology")
    if topology.n_atoms != n_atoms:
        raise ValueError(f"the topology has {topology.n_atoms} atoms and the System {n_atoms} particles")
    require_same_order(system, topology)
    return topology


def _is_translation_invariant(reference, nearby, exact):
    """Whether moving everything, a little or out of any container, leaves the energy as it is, to rounding.

    Potentials that are not OpenMM's own often calculate in single precision.
    """
    rounding = _SINGLE if reference.foreign else _DOUBLE
    shifts = torch.tensor([[0.31, -0.23, 0.17], [97.0, -61.0, 83.0]], dtype=torch.float64)
    moved = torch.stack([reference.energy_and_forces(nearby[:2] + shift)[0] for shift in shifts])
    scale = exact[0].abs() + exact[1].flatten(1).norm(dim=1) + 1e-3
    return bool(((moved - exact[0][:2]).abs() <= rounding * scale[:2]).all())


def _rate(backend, x):
    """Evaluations per second on the batch `x`."""
    return len(x) * calls_per_second(lambda: backend.energy_and_forces(x), 1.0)
