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

# isort: split
from openmmtools.mcmc import MCMCMove

__all__ = ["DiffusiveGibbsMove"]

#: Share of the time of an apply that may go to anything but sweeps.
_OVERHEAD = 0.04
#: Sweeps of the first applies, from which n_sweeps is chosen; contexts are made and kernels compiled in the first.
_TRIAL_SWEEPS, _N_TRIALS = 10, 3


class DiffusiveGibbsMove(MCMCMove):
    r"""Sweeps of a :class:`~openmm_diffsampler.mcmc.integrator.DiffusiveGibbsIntegrator`, for ``MCMCSampler``,
    ``SequenceMove``, ``WeightedMove`` and ``ReplicaExchangeSampler``.

    One apply leaves exp(−U/kT) of the thermodynamic state invariant, and ends with velocities drawn from the
    Maxwell–Boltzmann distribution, from which a Langevin move can go on. In a state with pressure the volume stays as
    it is: put a ``MonteCarloBarostatMove`` beside it.

    Arguments:
        noise_scales: s of each level, a Quantity or nm: a number, or one number a particle (zero leaves it out).
        timestep: openmm Quantity, of the leapfrog steps.
        n_sweeps: sweeps an apply. None chooses it in the first three applies, such that contexts, copies and Python
            take less than 5% of the time; the choice depends on the machine, so give a number where runs must repeat.
        n_leapfrog, n_denoising_steps, denoiser: as for the integrator.
        seed: of the random numbers of each new context, from 1 on; 0 lets OpenMM draw one. What a context gets depends
            also on the settings, the temperature, the sweeps made so far (so that a resumed run does not repeat itself)
            and the process.

    Raises:
        TypeError, ValueError: settings without unit or out of range; in ``apply`` a System that cannot be sampled, a
            start whose energy is not finite.

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
        self, noise_scales, timestep, n_sweeps=None, *, n_leapfrog=5, n_denoising_steps=1, denoiser="hmc", seed=0
    ):
        super().__init__()
        if n_sweeps is not None and (n_sweeps != int(n_sweeps) or n_sweeps < 1):
            raise ValueError(f"n_sweeps is {n_sweeps}; it must be a whole number of at least 1, or None")
        self.__setstate__(
            {
                "noise_scales": scales_in_nm(noise_scales),
                "timestep": require_timestep(timestep).value_in_unit(unit.picosecond),
                "n_leapfrog": n_leapfrog,
                "n_denoising_steps": n_denoising_steps,
                "denoiser": denoiser,
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
            "n_sweeps": self.n_sweeps,
            "seed": self.seed,
            "n_made": self._n_made,
            "statistics": self.statistics,
        }

    def __setstate__(self, state):
        self.sweep = Sweep(state["noise_scales"], state["n_leapfrog"], state["n_denoising_steps"], state["denoiser"])
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

        A dict with "sweeps", "evaluations", "seconds" in sweeps, "overhead_seconds" in everything else, and "levels":
        for each level its counts and rates, as of the integrator. What is assigned to it, as at a resume, is counted
        on from.
        """
        rows = zip(self.sweep.noise_scales, self._counts["levels"], strict=True)
        return self._counts | {"levels": [with_acceptance(level_name(scale), counts) for scale, counts in rows]}

    @statistics.setter
    def statistics(self, value):
        self.reset_statistics()
        self._add(value)

    def reset_statistics(self):
        """Set every count to zero."""
        levels = [add_counts() for _ in self.sweep.noise_scales]
        self._counts = {"sweeps": 0, "evaluations": 0, "seconds": 0.0, "overhead_seconds": 0.0, "levels": levels}

    def _add(self, more):
        ours = self._counts
        for what in ours.keys() - {"levels"}:
            ours[what] += more[what]
        ours["levels"] = [add_counts(*pair) for pair in zip(ours["levels"], more["levels"], strict=True)]

    # Running

    def apply(self, thermodynamic_state, sampler_state, context_cache=None):
        """Make the sweeps; `sampler_state` gets new positions, velocities and energy.

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
        n_sweeps = self.n_sweeps or _TRIAL_SWEEPS
        before = time.perf_counter()
        integrator.step(n_sweeps)
        seconds = time.perf_counter() - before
        sampler_state.update_from_context(context)
        overhead = time.perf_counter() - start - seconds
        made = integrator.statistics()
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
        if len(self._overheads) == _N_TRIALS:
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
