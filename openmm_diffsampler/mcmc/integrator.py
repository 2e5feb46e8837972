"""Diffusive Gibbs sampling as an OpenMM integrator: one step is one sweep."""

import gc
import logging

import openmm

from openmm_diffsampler.targets.bond_scale import BondScale
from openmm_diffsampler.targets.system_checks import require_samplable
from openmm_diffsampler.targets.units import require_temperature

from .integrator_steps import add_sweep
from .level_counts import COUNTS, with_acceptance
from .openmm_arguments import require_seed, require_timestep, scales_in_nm
from .sweep import Sweep, level_name

_log_level = logging.root.manager.disable
logging.disable(logging.WARNING)  # what openmmtools imports advertises other packages in warnings
try:
    from openmmtools.integrators import ThermostatedIntegrator
finally:
    logging.disable(_log_level)

__all__ = ["DiffusiveGibbsIntegrator"]


class DiffusiveGibbsIntegrator(ThermostatedIntegrator):
    r"""Diffusive Gibbs sampling (DiGS) for any OpenMM System: ``step(n)`` makes n sweeps.

    A sweep is that of :class:`~openmm_diffsampler.mcmc.sweep.Sweep`, with u = U/kT, momenta of the particles' masses
    and a Hamiltonian

    .. math:: H = U(x) + kT\,|x - \tilde x|^2/2s^2 + \tfrac12 \sum_i m_i v_i^2 .

    It leaves exp(−U/kT) invariant whatever the timestep. Velocities after a step are fresh draws from the
    Maxwell–Boltzmann distribution, so that reporters show the temperature. Simulation time advances by one timestep a
    sweep. Everything runs inside OpenMM, on every platform.

    The System must be free of constraints, virtual sites and barostats, which the first step checks; its
    ``CMMotionRemover`` does nothing here, particles of mass zero stay where they are. The energy is that of the
    integration force groups.

    Arguments:
        temperature: openmm Quantity.
        noise_scales: s of each level, a Quantity or nm: a number, or one number a particle (zero leaves it out).
        timestep: openmm Quantity, of the leapfrog steps; each trajectory draws its own within ±20%. It is cut to
            half a radian of the tether, ½ s √(m/kT), particle by particle.
        n_leapfrog: leapfrog steps of a trajectory, one evaluation of the forces each.
        n_denoising_steps: trajectories of a level.
        denoiser: ``"hmc"``, or ``"mala"`` for a single leapfrog step.
        seed: of the random numbers of each new context, from 1 on; 0 lets OpenMM draw one. A copy, and what is restored
            from XML, starts its numbers over: give it another seed by ``setRandomNumberSeed`` to go on.

    Raises:
        TypeError: a temperature or timestep without a unit.
        ValueError: settings out of range; in ``step()`` a System that cannot be sampled, or a start whose energy is not
            finite.

    References:
        Chen et al., Diffusive Gibbs Sampling, ICML 2024, arXiv:2402.03008.

    Example:
        >>> from openmm import app, unit
        >>> from openmm_diffsampler import DiffusiveGibbsIntegrator, load_system
        >>> molecule = load_system("alanine-dipeptide-vacuum")
        >>> integrator = DiffusiveGibbsIntegrator(300 * unit.kelvin, [5e-4] * unit.nanometer, 1 * unit.femtosecond)
        >>> simulation = app.Simulation(
        ...     molecule.topology, molecule.system, integrator, openmm.Platform.getPlatformByName("Reference")
        ... )
        >>> simulation.context.setPositions(molecule.positions)
        >>> simulation.step(20)
        >>> [level] = integrator.statistics()["levels"]
        >>> level["level"], level["guesses"], level["accepted_guesses"] > 0, level["nonfinite"]
        ('noise 0.0005', 20, True, 0)
    """

    # Class attribute: an integrator restored from XML has run no __init__.
    _is_checked = False

    def __init__(
        self, temperature, noise_scales, timestep, *, n_leapfrog=5, n_denoising_steps=1, denoiser="hmc", seed=0
    ):
        require_temperature(temperature)
        super().__init__(temperature, require_timestep(timestep))
        sweep = Sweep(scales_in_nm(noise_scales), n_leapfrog, n_denoising_steps, denoiser)
        self.setRandomNumberSeed(require_seed(seed))
        add_sweep(self, sweep)
        self.set_noise_scales(sweep.noise_scales)

    def step(self, steps):
        """Make `steps` sweeps.

        Raises:
            ValueError: at the first call, a System that cannot be sampled; at each, a start of infinite or NaN energy.
        """
        if not self._is_checked:
            context = self._context()
            self.check(context.getSystem())
            positions = context.getState(getPositions=True).getPositions(asNumpy=True)._value
            BondScale(context.getSystem()).require(positions)
        if steps < 1:
            return
        # Whatever happened since the last call, the first sweep evaluates the start; the others know it.
        try:
            super().step(1)
        except openmm.OpenMMException as error:
            if "nan" not in str(error).lower():
                raise
            raise ValueError(f"a coordinate at the start is NaN ({error})") from error
        if self.getGlobalVariableByName("digs_is_bad_start"):
            energy = self.getGlobalVariableByName("digs_energy")
            raise ValueError(f"the energy at the start is {energy} kJ/mol; minimise the structure first")
        if steps > 1:
            self.setGlobalVariableByName("digs_is_known", 1)
            try:
                super().step(steps - 1)
            finally:
                self.setGlobalVariableByName("digs_is_known", 0)

    def check(self, system, barostat=False):
        """Raise unless `system` can be sampled; after that, ``step`` trusts it.

        Arguments:
            system: openmm System.
            barostat: whether one is allowed. It does nothing here, which leaves the volume where it is.

        Raises:
            ValueError: constraints, virtual sites, a barostat, or noise scales for another number of particles.
        """
        require_samplable(system, barostat=barostat, massless=True)
        for scale in self.noise_scales:
            if not isinstance(scale, float) and len(scale) != system.getNumParticles():
                raise ValueError(
                    f"a noise level has {len(scale)} scales and the System {system.getNumParticles()} particles; give "
                    "one number, or one a particle"
                )
        self._is_checked = True

    def _context(self):
        # OpenMM gives an integrator no way to its context, but the context holds the integrator.
        for thing in gc.get_objects():
            if issubclass(type(thing), openmm.Context) and vars(thing).get("_integrator") is self:
                return thing
        raise ValueError("the integrator has no context; make one with openmm.Context(system, integrator)")

    def _is_by_particle(self):
        """Of each level, whether its scale is one number a particle."""
        by_particle = {self.getPerDofVariableName(i) for i in range(self.getNumPerDofVariables())}
        names = {self.getGlobalVariableName(i) for i in range(self.getNumGlobalVariables())}
        n_levels = sum(name.startswith("digs_guesses_") for name in names)
        return [f"digs_scale_{k}" in by_particle for k in range(n_levels)]

    @property
    def noise_scales(self):
        """s of each level in nm, from large to small: a number, or a tuple of one a particle."""
        scales = []
        for k, is_by_particle in enumerate(self._is_by_particle()):
            if is_by_particle:
                scales.append(tuple(s[0] for s in self.getPerDofVariableByName(f"digs_scale_{k}")))
            else:
                scales.append(self.getGlobalVariableByName(f"digs_scale_{k}"))
        return tuple(scales)

    def set_noise_scales(self, noise_scales):
        """Give each level another s.

        Arguments:
            noise_scales: as many as there are levels, in nm, each a number or one number a particle as before.
        """
        kinds = self._is_by_particle()
        scales = Sweep(scales_in_nm(noise_scales)).noise_scales
        if [isinstance(scale, tuple) for scale in scales] != kinds:
            raise ValueError(
                f"noise_scales are {noise_scales}; give {len(kinds)} levels, from large to small those by particle "
                f"where they were: {kinds}"
            )
        for k, scale in enumerate(scales):
            if isinstance(scale, float):
                self.setGlobalVariableByName(f"digs_scale_{k}", scale)
            else:
                self.setPerDofVariableByName(f"digs_scale_{k}", [openmm.Vec3(s, s, s) for s in scale])

    def statistics(self):
        """What was accepted since the start or the last :meth:`reset_statistics`.

        Returns:
            dict with "evaluations" of energy and forces and "levels", one dict a level with its counts of
            "guesses", "accepted_guesses", "trajectories", "accepted_trajectories" and "nonfinite" proposals, its
            "guess acceptance" and "HMC acceptance".
        """
        levels = []
        for k, scale in enumerate(self.noise_scales):
            counts = {what: int(self.getGlobalVariableByName(f"digs_{what}_{k}")) for what in COUNTS}
            levels.append(with_acceptance(level_name(scale), counts))
        return {"evaluations": int(self.getGlobalVariableByName("digs_n_evaluations")), "levels": levels}

    def reset_statistics(self):
        """Set every count to zero, as after equilibration."""
        self.setGlobalVariableByName("digs_n_evaluations", 0)
        for k in range(len(self._is_by_particle())):
            for what in COUNTS:
                self.setGlobalVariableByName(f"digs_{what}_{k}", 0)
