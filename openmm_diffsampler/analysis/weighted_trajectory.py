"""Configurations and their weights, kept together."""

from functools import cached_property

import torch

from openmm_diffsampler._common.sealed_files import DamagedFileError
from openmm_diffsampler.targets.units import require_temperature

from . import estimates, free_energy, mdanalysis_export, trajectory_files
from .combining import chain_fields, joined_fields, resampled_rows
from .diagnostics import chains_as_array, effective_sample_size
from .dihedrals import in_space
from .estimates import Estimate
from .observables import default_observables
from .validation import chain_labels, configurations, frame_labels, log_weights_of, row_indices

__all__ = ["Estimate", "WeightedTrajectory"]

_PER_FRAME = ("x", "log_weights", "reduced_potential", "log_q", "chain", "draw")
_SHARED = ("kind", "topology", "temperature", "source_effective_sample_size")


class WeightedTrajectory:
    r"""Frames with weights, ⟨f⟩ = Σ w_i f(x_i) / Σ w_i, that slice, join, load and save as one.

    Three kinds: ``"importance"`` samples are independent and have weights; ``"mcmc"`` frames have equal weights and are
    correlated within their chains; ``"resampled"`` frames have equal weights and repeat (see :meth:`resample`).

    Arguments:
        x: (n, *event_shape) float tensor or array, nm for molecules; kept on the CPU. ``(n, n_atoms, 3 or 2)`` with
            a topology.
        log_weights: (n,) unnormalised natural logarithms; −inf is weight zero. All equal unless kind is "importance".
        kind: "importance", "mcmc" or "resampled".
        topology: mdtraj Topology, or None for densities without particles.
        reduced_potential: (n,) u(x) in kT, or None.
        log_q: (n,) log-density of the proposal, or None.
        chain, draw: (n,) integers, which chain each frame is from and its position there (by default one chain, in
            order). For resampled frames they tell the source frame. None for importance samples.
        temperature: openmm Quantity, or None for densities without one.
        source_effective_sample_size: for resampled frames, that of the trajectory they were drawn from.

    Raises:
        TypeError: `x` does not hold floats; a temperature without a unit.
        ValueError: lengths differ, NaN or infinite coordinates, NaN or +inf weights, all weights zero, unequal
            weights in a chain, or an atom count that is not that of the topology.

    Example:
        >>> import torch
        >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> wt = WeightedTrajectory(x, -0.5 * x[:, 0] ** 2, kind="importance")  # from N(0, 1) to N(0, 1/2)
        >>> wt
        <WeightedTrajectory: 1000 frames, importance weights; effective sample size 867 of 1000 (0.867)>
        >>> value, standard_error = wt.expectation(lambda x: x[:, 0] ** 2)
        >>> abs(value - 0.5) < 3 * standard_error
        True
        >>> wt[100:200].n_frames
        100
    """

    def __init__(
        self,
        x,
        log_weights,
        *,
        kind,
        topology=None,
        reduced_potential=None,
        log_q=None,
        chain=None,
        draw=None,
        temperature=None,
        source_effective_sample_size=None,
    ):
        if kind not in estimates.KINDS:
            raise ValueError(f"kind is {kind!r}; supported are {', '.join(map(repr, estimates.KINDS))}")
        self.kind = kind
        self.topology = topology
        self.temperature = None if temperature is None else require_temperature(temperature)
        self.x = configurations(x, topology)
        self.log_weights = log_weights_of(log_weights, len(self.x), equal=kind != "importance")
        self.reduced_potential = frame_labels("reduced_potential", reduced_potential, len(self.x))
        self.log_q = frame_labels("log_q", log_q, len(self.x))
        self.chain, self.draw = chain_labels(kind, chain, draw, len(self.x))
        if kind == "mcmc" and self.reduced_potential is not None and self.reduced_potential.isinf().any():
            raise ValueError("reduced_potential is infinite in a chain, where no such frame can occur")
        if (kind == "resampled") != (source_effective_sample_size is not None):
            raise ValueError("source_effective_sample_size is needed by kind 'resampled', and taken by no other")
        self.source_effective_sample_size = source_effective_sample_size

    @classmethod
    def from_chains(cls, x, *, topology=None, reduced_potential=None, temperature=None):
        """Frames of parallel chains, equally weighted and ordered chain by chain.

        Arguments:
            x: (n_draws, n_chains, *event_shape).
            topology, temperature: as for the class.
            reduced_potential: (n_draws, n_chains) in kT, or None.

        Example:
            >>> import torch
            >>> wt = WeightedTrajectory.from_chains(torch.arange(6.0).reshape(3, 2, 1))
            >>> wt.x.flatten().tolist(), wt.chain.tolist(), wt.draw.tolist()
            ([0.0, 2.0, 4.0, 1.0, 3.0, 5.0], [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])
        """
        return cls(**chain_fields(x, reduced_potential), topology=topology, temperature=temperature)

    @property
    def n_frames(self):
        """Number of frames, those of weight zero included."""
        return len(self.x)

    def __len__(self):
        return len(self.x)

    @property
    def weights(self):
        """(n,) float64, with sum one."""
        return self.log_weights.softmax(0)

    @property
    def trajectory(self):
        """A new mdtraj Trajectory of the frames in nm, with z = 0 for particles in two dimensions.

        Raises:
            TypeError: a density without particles, or one whose topology is not known.
        """
        if self.topology is None:
            raise TypeError("there is no topology, so no mdtraj trajectory; use .x for the coordinates")
        import mdtraj

        # A copy, since superposing or centring a mdtraj trajectory moves its atoms in place.
        return mdtraj.Trajectory(in_space(self.x).copy(), self.topology)

    def _replace(self, **changes):
        fields = {name: getattr(self, name) for name in (*_PER_FRAME, *_SHARED)} | changes
        return WeightedTrajectory(**fields)

    def _take(self, rows, **changes):
        taken = {name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in _PER_FRAME}
        return self._replace(**(taken | changes))

    def __getitem__(self, index):
        """Frames by int, slice, index array or boolean mask, with all that belongs to them."""
        return self._take(row_indices(index, len(self)))

    def __add__(self, other):
        return self.join([self, other]) if isinstance(other, WeightedTrajectory) else NotImplemented

    @classmethod
    def join(cls, parts):
        """One trajectory of several; chains of different parts stay distinct chains.

        Joined importance weights are right when all parts come from one proposal, with weights on one scale.

        Raises:
            ValueError: no parts, or parts that differ in kind, event shape, atoms, temperature or the fields present.
        """
        parts = list(parts)
        fields = joined_fields(parts)
        return parts[0]._replace(**fields)

    @cached_property
    def ess_by_observable(self):
        """dict of observable → autocorrelation ESS of the chains; for other kinds Kish's ESS under ``"weights"``."""
        if self.kind != "mcmc":
            return {"weights": float(1 / estimates.variance_weights(self).sum())}
        chains = {name: chains_as_array(f, self.chain, self.draw) for name, f in default_observables(self).items()}
        return {name: effective_sample_size(values) for name, values in chains.items()}

    @property
    def effective_sample_size(self):
        """Number of independent equally weighted draws that this is worth, in frames.

        Importance weights: (Σw)²/Σw². Chains: the smallest autocorrelation ESS over the default observables
        (:func:`~openmm_diffsampler.analysis.default_observables`). Resampled frames: repeated frames count once, and
        never more than the ESS of their source.
        """
        return min(self.ess_by_observable.values())

    @property
    def log_Z(self):  # noqa: N802
        """log of the mean weight, which estimates log ∫exp(−u(x))dx for weights exp(−u)/q. TypeError for chains."""
        return estimates.log_partition_function(self).value

    @property
    def log_Z_standard_error(self):  # noqa: N802
        """Standard error of :attr:`log_Z`, √(var(w)/n)/mean(w); NaN for a single frame. TypeError for chains."""
        return estimates.log_partition_function(self).standard_error

    def expectation(self, f) -> Estimate:
        """⟨f⟩ and its standard error, where f is a function of `x` or an array with one entry a frame.

        See :func:`openmm_diffsampler.analysis.estimates.expectation` for formulas and errors.

        Example:
            >>> import torch
            >>> wt = WeightedTrajectory(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 3.0]).log(), kind="importance")
            >>> wt.expectation([10, 20]).value
            20.0
        """
        return estimates.expectation(self, f)

    def resample(self, n, seed=0):
        """n equally weighted frames in proportion to the weights, for tools that know no weights.

        Systematic resampling: frame i appears ⌊nŵ_i⌋ or ⌈nŵ_i⌉ times, in the order of this trajectory; chains are
        thinned evenly. The result has kind "resampled" and remembers which frame each is a copy of, so that its ESS
        counts copies once and stays below that of this trajectory.

        Arguments:
            n: number of frames to draw, which may exceed the number here.
            seed: integer that fixes the draw.

        Example:
            >>> import torch
            >>> wt = WeightedTrajectory(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 3.0]).log(), kind="importance")
            >>> wt.resample(4, seed=0).x.flatten().tolist()
            [1.0, 1.0, 1.0, 1.0]
        """
        rows = resampled_rows(self.weights, n, seed)
        in_order = torch.arange(len(self))
        return self._take(
            rows,
            kind="resampled",
            log_weights=torch.zeros(n, dtype=torch.float64),
            chain=(torch.zeros_like(in_order) if self.chain is None else self.chain)[rows],
            draw=(in_order if self.draw is None else self.draw)[rows],
            source_effective_sample_size=self.effective_sample_size,
        )

    def free_energy_surface(self, a="phi", b="psi", bins=60, temperature=None):
        """Free energy over two torsions; see :func:`~openmm_diffsampler.analysis.free_energy_surface`."""
        return free_energy.free_energy_surface(self, a, b, bins=bins, temperature=temperature)

    def save(self, path, plumed=False, overwrite=True):
        """Write frames, weights and topology; see :func:`~openmm_diffsampler.analysis.trajectory_files.save`."""
        return trajectory_files.save(self, path, plumed=plumed, overwrite=overwrite)

    @classmethod
    def load(cls, path, topology=None):
        """Read what :meth:`save` wrote; see :func:`~openmm_diffsampler.analysis.trajectory_files.load`."""
        fields = trajectory_files.load(path, topology=topology)
        try:
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"{path} holds no weighted trajectory: {error}") from None

    to_mdanalysis = mdanalysis_export.to_mdanalysis
    describe = estimates.describe

    def __repr__(self):
        return f"<{type(self).__name__}: {self.describe()}>"
