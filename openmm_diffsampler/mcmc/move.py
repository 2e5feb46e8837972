"""Diffusive Gibbs sampling as a move of openmmtools: sweeps at the temperature of a ThermodynamicState."""

import json
import time
import warnings
import zlib
from math import ceil, log2

import mpiplus
import numpy as np
from openmm import unit

from .integrator import DiffusiveGibbsIntegrator  # before openmmtools.mcmc: it keeps the import of openmmtools quiet
from .level_counts import add_counts, with_acceptance
from .openmm_arguments import require_seed, require_timestep, scales_in_nm
from .sweep import Sweep, level_name
from .torsion_trials import TorsionTrials, torsion_trials

# isort: split
from openmmtools.mcmc import MCMCMove

__all__ = ["DiffusiveGibbsMove"]

#: Share of the time of an apply that may go to anything but sweeps.
_OVERHEAD = 0.04
#: Sweeps of the first applies, from which n_sweeps is chosen; contexts are made and kernels compiled in the first.
_FIRST_SWEEPS, _N_FIRST = 10, 3


class DiffusiveGibbsMove(MCMCMove):
    r"""Sweeps of a :class:`~openmm_diffsampler.mcmc.integrator.DiffusiveGibbsIntegrator`, for ``MCMCSampler``,
    ``SequenceMove``, ``WeightedMove`` and ``ReplicaExchangeSampler``.

    With `torsion_scale` s, each sweep is followed by trials of noise on torsions: one rotatable bond turns by an
    angle from N(0, 2s²), everything beyond it as a rigid body, which has unit Jacobian and is accepted with

    .. math:: \min(1, e^{(U(x) - U(x'))/kT}) .

    One apply leaves exp(−U/kT) of the thermodynamic state invariant, and ends with velocities drawn from the
    Maxwell–Boltzmann distribution, from which a Langevin move can go on. In a state with pressure the volume stays as
    it is: put a ``MonteCarloBarostatMove`` beside it.

    Arguments:
        noise_scales: s of each level, a Quantity or nm: a number, or one number a particle (zero leaves it out).
        timestep: openmm Quantity, of the leapfrog steps.
        n_sweeps: sweeps an apply. None chooses it in the first three applies, such that contexts, copies and Python
            take less than 5% of the time; the choice depends on the machine, so give a number where runs must repeat.
        n_leapfrog, n_denoising_steps, denoiser: as for the integrator.
        topology: openmm.app or mdtraj Topology with bonds, of the whole System; for torsion noise.
        torsion_scale: s of the torsion noise, a Quantity or radians; None for none. Double bonds turn too.
        n_torsion_trials: rotations tried after each sweep, one energy each; those that would move a particle of mass
            zero are left out. By default one for each rotatable bond, but no more than the evaluations of a sweep.
        seed: of the random numbers of each new context, from 1 on; 0 lets OpenMM draw one. What a context gets depends
            also on the settings, the temperature, the sweeps made so far (so that a resumed run does not repeat itself)
            and the process.

    Raises:
        TypeError, ValueError: settings without unit or out of range, torsion noise without a topology or a rotatable
            bond; in ``apply`` a System that cannot be sampled or has other atoms than the topology, a start whose
            energy is not finite.

    References:
        Chen et al., Diffusive Gibbs Sampling, ICML 2024, arXiv:2402.03008.

    Example:
        >>> from openmm import Platform, unit
        >>> from openmm_diffsampler import DiffusiveGibbsMove, load_system
        >>> from openmmtools import cache, mcmc, states
        >>> molecule = load_system("alanine-dipeptide-vacuum")
        >>> move = DiffusiveGibbsMove([5e-4] * unit.nanometer, 1 * unit.femtosecond, n_sweeps=20)
        >>> sampler = mcmc.MCMCSampler(
        ...     states.ThermodynamicState(molecule.system, molecule.temperature),
        ...     states.SamplerState(molecule.positions),
        ...     mcmc.SequenceMove([move, mcmc.LangevinDynamicsMove(timestep=1 * unit.femtosecond, n_steps=20)]),
        ... )
        >>> sampler.run(2, cache.ContextCache(platform=Platform.getPlatformByName("Reference")))
        >>> move.statistics["sweeps"], move.statistics["levels"][0]["guesses"]
        (40, 40)
    """

    def __init__(
        self,
        noise_scales,
        timestep,
        n_sweeps=None,
        *,
        n_leapfrog=5,
        n_denoising_steps=1,
        denoiser="hmc",
        topology=None,
        torsion_scale=None,
        n_torsion_trials=None,
        seed=0,
    ):
        super().__init__()
        if n_sweeps is not None and (n_sweeps != int(n_sweeps) or n_sweeps < 1):
            raise ValueError(f"n_sweeps is {n_sweeps}; it must be a whole number of at least 1, or None")
        scales = scales_in_nm(noise_scales)
        n_evaluations = Sweep(scales, n_leapfrog, n_denoising_steps, denoiser).evaluations
        torsions = torsion_trials(topology, torsion_scale, n_torsion_trials, n_at_most=n_evaluations)
        self.__setstate__(
            {
                "noise_scales": scales,
                "timestep": require_timestep(timestep).value_in_unit(unit.picosecond),
                "n_leapfrog": n_leapfrog,
                "n_denoising_steps": n_denoising_steps,
                "denoiser": denoiser,
                "torsions": torsions and torsions.numbers(),
                "n_sweeps": None if n_sweeps is None else int(n_sweeps),
                "seed": require_seed(seed),
                "n_made": 0,
            }
        )

    def __getstate__(self):
        return {
            "noise_scales": [s if isinstance(s, float) else list(s) for s in self.sweep.noise_scales],
            "timestep": self.timestep.value_in_unit(unit.picosecond),
            "n_leapfrog": self.sweep.n_leapfrog,
            "n_denoising_steps": self.sweep.n_denoising_steps,
            "denoiser": self.sweep.denoiser,
            "torsions": self.torsions and self.torsions.numbers(),
            "n_sweeps": self.n_sweeps,
            "seed": self.seed,
            "n_made": self._n_made,
            "statistics": self.statistics,
        }

    def __setstate__(self, state):
        self.sweep = Sweep(state["noise_scales"], state["n_leapfrog"], state["n_denoising_steps"], state["denoiser"])
        torsions = state.get("torsions")  # files of earlier versions have none
        self.torsions = torsions and TorsionTrials(**torsions)
        self.timestep = state["timestep"] * unit.picosecond
        self.n_sweeps, self.seed, self._n_made = state["n_sweeps"], state["seed"], state["n_made"]
        self.reset_statistics()
        if "statistics" in state:
            self.statistics = state["statistics"]
        self._overheads = []

    # Statistics

    @property
    def statistics(self):
        """Everything accepted so far, as plain numbers.

        A dict with "sweeps", "evaluations", "seconds" in sweeps and trials, "overhead_seconds" in everything else, and
        "levels": for each level its counts and rates, as of the integrator; torsion noise comes last and has guesses
        alone. What is assigned to it, as at a resume, is counted on from.
        """
        names = [level_name(scale) for scale in self.sweep.noise_scales]
        levels = [with_acceptance(*row) for row in zip(names, self._counts["levels"], strict=False)]
        if self.torsions:
            levels.append(self.torsions.row(self._counts["levels"][-1]))
        return self._counts | {"levels": levels}

    @statistics.setter
    def statistics(self, value):
        self.reset_statistics()
        self._add(value)

    def reset_statistics(self):
        """Set every count to zero."""
        levels = [add_counts() for _ in self.sweep.noise_scales]
        if self.torsions:
            levels.append(self.torsions.no_counts())
        self._counts = {"sweeps": 0, "evaluations": 0, "seconds": 0.0, "overhead_seconds": 0.0, "levels": levels}

    def _add(self, more):
        ours = self._counts
        for what in ours.keys() - {"levels"}:
            ours[what] += more[what]
        ours["levels"] = [
            {what: counts[what] + row[what] for what in counts}
            for counts, row in zip(ours["levels"], more["levels"], strict=True)
        ]

    # Running

    def apply(self, thermodynamic_state, sampler_state, context_cache=None):
        """Make the sweeps and trials; `sampler_state` gets new positions, velocities and energy.

        Arguments:
            thermodynamic_state: openmmtools ThermodynamicState or CompoundThermodynamicState.
            sampler_state: openmmtools SamplerState.
            context_cache: openmmtools ContextCache; by default the global one.
        """
        start = time.perf_counter()
        cache = self._get_context_cache(context_cache)
        context, integrator = cache.get_context(thermodynamic_state, self._integrator(thermodynamic_state))
        if not integrator._is_checked:
            integrator.check(context.getSystem(), barostat=True)
            self._warn_of_pressure(thermodynamic_state)
        integrator.set_noise_scales(self.sweep.noise_scales)  # those by particle are not copied into a cached context
        sampler_state.apply_to_context(context, ignore_velocities=True)
        if self.torsions:
            self.torsions.prepare(context, self._seed(thermodynamic_state) if self.seed else None)
        n_sweeps = self.n_sweeps or _FIRST_SWEEPS
        before = time.perf_counter()
        if self.torsions:
            kt = thermodynamic_state.kT.value_in_unit(unit.kilojoule_per_mole)
            made = self.torsions.sweep(context, kt, n_sweeps)
        else:
            integrator.step(n_sweeps)
            made = integrator.statistics()
        seconds = time.perf_counter() - before
        sampler_state.update_from_context(context)
        overhead = time.perf_counter() - start - seconds
        made["evaluations"] += 1  # of the energy that the sampler state gets
        self._add(made | {"sweeps": n_sweeps, "seconds": seconds, "overhead_seconds": overhead})
        self._n_made += n_sweeps
        if self.n_sweeps is None:
            self._choose_n_sweeps(overhead, seconds / n_sweeps)

    def _integrator(self, thermodynamic_state):
        """A new one, with counts at zero; the cache copies its numbers into that of a compatible context."""
        return DiffusiveGibbsIntegrator(
            thermodynamic_state.temperature,
            self.sweep.noise_scales,
            self.timestep,
            n_leapfrog=self.sweep.n_leapfrog,
            n_denoising_steps=self.sweep.n_denoising_steps,
            denoiser=self.sweep.denoiser,
            seed=self._seed(thermodynamic_state) if self.seed else 0,
        )

    def _seed(self, thermodynamic_state):
        """Seed of a context made now: other than that of any context whose numbers this chain may have seen."""
        settings = json.dumps([self.sweep.noise_scales, self.sweep.evaluations, str(thermodynamic_state.temperature)])
        communicator = mpiplus.get_mpicomm()
        rank = communicator.rank if communicator else 0
        mixed = np.random.SeedSequence([self.seed, self._n_made, zlib.crc32(settings.encode()), rank])
        return int(mixed.generate_state(1)[0] % (2**31 - 1)) + 1

    def _choose_n_sweeps(self, overhead, seconds):
        self._overheads.append((overhead, seconds))
        if len(self._overheads) == _N_FIRST:
            least_overhead, least_seconds = (min(values) for values in zip(*self._overheads, strict=True))
            wanted = max(1, least_overhead / least_seconds * (1 - _OVERHEAD) / _OVERHEAD)
            self.n_sweeps = 2 ** ceil(log2(wanted))

    @staticmethod
    def _warn_of_pressure(thermodynamic_state):
        if getattr(thermodynamic_state, "pressure", None) is not None:
            warnings.warn(
                f"DiffusiveGibbsMove leaves the volume as it is, at a pressure of {thermodynamic_state.pressure}; "
                "sample it by a MonteCarloBarostatMove in the same SequenceMove",
                stacklevel=3,
            )
