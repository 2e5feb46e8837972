"""Diffusive Gibbs sampling as an OpenMM integrator: one step is one sweep."""

import gc
import logging

import openmm
from openmm import unit

from openmm_diffsampler.targets.system_checks import require_samplable
from openmm_diffsampler.targets.units import require_temperature

from .sweep import STEP_ANGLE, STEP_SIZE_JITTER, Sweep, level_name

_log_level = logging.root.manager.disable
logging.disable(logging.WARNING)  # what openmmtools imports advertises other packages in warnings
try:
    from openmmtools.integrators import ThermostatedIntegrator
finally:
    logging.disable(_log_level)

__all__ = ["DiffusiveGibbsIntegrator"]

#: Energies (kJ/mol) beyond this count as not finite, and so does the kinetic energy of a poisoned trajectory.
_HUGE = 1e25
#: Velocity (nm/ps) that marks a trajectory that ran off: its kinetic energy is beyond _HUGE.
_POISON = 1e15
#: A particle faster than this (nm a leapfrog step), before or after it moves under the tether, has run off. The
#: reversed trajectory meets the same two velocities, so that rejecting it is exact.
_FARTHEST = 1e3


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
        if not sweep.noise_scales:
            raise ValueError("there is no noise level; give noise_scales, for example [0.001] * openmm.unit.nanometer")
        self.setRandomNumberSeed(require_seed(seed))
        self._add_variables(sweep)
        self._add_sweep(len(sweep.noise_scales))
        self.set_noise_scales(sweep.noise_scales)

    # Definition of the sweep. Every variable has a prefix, since OpenMM refuses one that is also a context parameter.

    def _add_variables(self, sweep):
        for name in ("noised", "current", "current_force", "scale", "before_move", "step", "cosine", "drift"):
            self.addPerDofVariable(f"digs_{name}", 0)
        for k, scale in enumerate(sweep.noise_scales):
            add = self.addGlobalVariable if isinstance(scale, float) else self.addPerDofVariable
            add(f"digs_scale_{k}", 0)
            for what in _COUNTS:
                self.addGlobalVariable(f"digs_{what}_{k}", 0)
        self.addGlobalVariable("digs_n_leapfrog", sweep.n_leapfrog)
        self.addGlobalVariable("digs_n_denoising_steps", sweep.n_denoising_steps)
        for name in (
            "is_known", "is_bad_start", "n_evaluations", "level", "trajectory", "leapfrog", "jittered_dt", "energy",
            "proposed", "sum", "before", "after", "is_finite", "is_accepted",
        ):  # fmt: skip
            self.addGlobalVariable(f"digs_{name}", 0)

    def _add_sweep(self, n_levels):
        self._add_start(n_levels)
        self.beginWhileBlock(f"digs_level < {n_levels}")
        self.addComputePerDof("digs_scale", _of_level("digs_scale", n_levels))
        self._add_guess(n_levels)
        self.addComputeGlobal("digs_trajectory", "0")
        self.beginWhileBlock("digs_trajectory < digs_n_denoising_steps")
        self._add_trajectory(n_levels)
        self.addComputeGlobal("digs_trajectory", "digs_trajectory + 1")
        self.endBlock()
        self.addComputeGlobal("digs_level", "digs_level + 1")
        self.endBlock()
        self.addComputePerDof("v", "sqrt(kT/m)*gaussian")

    def _add_start(self, n_levels):
        """Energy and forces where the sweep starts, unless the sweep before it left them; no level if they are bad."""
        self.beginIfBlock("digs_is_known = 0")
        self.addComputePerDof("digs_current", "x")
        self.addComputePerDof("digs_current_force", "f")
        self.addComputeGlobal("digs_energy", "energy")
        self.addComputeGlobal("digs_is_bad_start", f"1 - step({_HUGE} - abs(digs_energy))")
        self.addComputeGlobal("digs_n_evaluations", "digs_n_evaluations + 1")
        self.endBlock()
        self.addComputeGlobal("digs_level", f"{n_levels}*digs_is_bad_start")

    def _add_guess(self, n_levels):
        self.addComputePerDof("digs_noised", "x + digs_scale*gaussian")
        self.addComputePerDof("x", "digs_noised + digs_scale*gaussian")
        self.addComputeGlobal("digs_proposed", "energy")
        self._add_decision("digs_energy", "digs_proposed")
        self._add_choice("guesses", n_levels)
        self.addComputeGlobal("digs_n_evaluations", "digs_n_evaluations + 1")

    def _add_trajectory(self, n_levels):
        """Kicks by the forces of the System between exact motions under the tether.

        The tether turns (x − x̃, v/ω) by the angle hω, ω² = kT/ms²: x − x̃ → cos hω (x − x̃) + v sin hω / ω. A particle
        without tether drifts. A particle's own step is cut to STEP_ANGLE/ω; steps that differ from particle to particle
        are those of one trajectory with other masses.
        """
        hamiltonian = f"0.5*m*v^2 + 0.5*kT*(x - digs_noised)^2*{_INVERSE_SQUARE}"
        angle = "digs_step*sqrt(kT/m)/digs_scale"
        self.addComputeGlobal("digs_jittered_dt", f"dt*(1 + {STEP_SIZE_JITTER}*(2*uniform - 1))")
        longest = f"min(digs_jittered_dt, {STEP_ANGLE}*digs_scale*sqrt(m/kT))"
        self.addComputePerDof("digs_step", f"select(digs_scale, {longest}, digs_jittered_dt)")
        self.addComputePerDof("digs_cosine", f"select(digs_scale, cos({angle}), 1)")
        self.addComputePerDof("digs_drift", f"select(digs_scale, sin({angle})*digs_scale*sqrt(m/kT), digs_step)")
        self.addComputePerDof("v", "sqrt(kT/m)*gaussian")
        self.addComputeSum("digs_sum", hamiltonian)
        self.addComputeGlobal("digs_before", "digs_energy + digs_sum")
        self.addComputePerDof("v", "v + 0.5*digs_step*digs_current_force/m")
        self.addComputeGlobal("digs_leapfrog", "0")
        self.beginWhileBlock("digs_leapfrog < digs_n_leapfrog")
        # Neither a position nor a velocity ever becomes NaN: some platforms raise at NaN, and 0·NaN is NaN.
        near = f"step({_FARTHEST} - abs(digs_step*v))"
        turned = f"(digs_cosine*v - digs_drift*digs_before_move*kT/m*{_INVERSE_SQUARE})"
        moved = "digs_noised + digs_cosine*digs_before_move + digs_drift*v"
        self.addComputePerDof("digs_before_move", "x - digs_noised")
        self.addComputePerDof("x", f"select({near}, {moved}, x)")
        still_near = f"{near}*step({_FARTHEST} - abs(digs_step*{turned}))"
        self.addComputePerDof("v", f"select({still_near}, {turned} + digs_step*f/m, {_POISON})")
        self.addComputeGlobal("digs_leapfrog", "digs_leapfrog + 1")
        self.endBlock()
        self.addComputePerDof("v", "v - 0.5*digs_step*f/m")
        self.addComputeGlobal("digs_proposed", "energy")
        self.addComputeSum("digs_sum", hamiltonian)
        self.addComputeGlobal("digs_after", "digs_proposed + digs_sum")
        self._add_decision("digs_before", "digs_after")
        self._add_choice("trajectories", n_levels)
        self.addComputeGlobal("digs_n_evaluations", "digs_n_evaluations + digs_n_leapfrog")

    def _add_decision(self, before, after):
        """Metropolis: accept if −kT log(uniform) ≥ ΔE. A NaN makes step() zero."""
        self.addComputeGlobal("digs_is_finite", f"step({_HUGE} - abs({after}))")
        self.addComputeGlobal("digs_is_accepted", f"digs_is_finite*step(-kT*log(uniform) - ({after} - {before}))")

    def _add_choice(self, what, n_levels):
        """Keep the proposal or go back, and count; select() drops whatever is in the branch not taken."""
        self.addComputeGlobal("digs_energy", "select(digs_is_accepted, digs_proposed, digs_energy)")
        self.addComputePerDof("digs_current_force", "select(digs_is_accepted, f, digs_current_force)")
        self.addComputePerDof("x", "select(digs_is_accepted, x, digs_current)")
        self.addComputePerDof("digs_current", "x")
        for k in range(n_levels):
            self.beginIfBlock(f"digs_level = {k}")
            self.addComputeGlobal(f"digs_{what}_{k}", f"digs_{what}_{k} + 1")
            self.addComputeGlobal(f"digs_accepted_{what}_{k}", f"digs_accepted_{what}_{k} + digs_is_accepted")
            self.addComputeGlobal(f"digs_nonfinite_{k}", f"digs_nonfinite_{k} + 1 - digs_is_finite")
            self.endBlock()

    # Running

    def step(self, steps):
        """Make `steps` sweeps.

        Raises:
            ValueError: at the first call, a System that cannot be sampled; at each, a start of infinite or NaN energy.
        """
        if not self._is_checked:
            self.check(self._context().getSystem())
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
            counts = {what: int(self.getGlobalVariableByName(f"digs_{what}_{k}")) for what in _COUNTS}
            levels.append(with_acceptance(level_name(scale), counts))
        return {"evaluations": int(self.getGlobalVariableByName("digs_n_evaluations")), "levels": levels}

    def reset_statistics(self):
        """Set every count to zero, as after equilibration."""
        self.setGlobalVariableByName("digs_n_evaluations", 0)
        for k in range(len(self._is_by_particle())):
            for what in _COUNTS:
                self.setGlobalVariableByName(f"digs_{what}_{k}", 0)


#: What is counted for each level.
_COUNTS = ("guesses", "accepted_guesses", "trajectories", "accepted_trajectories", "nonfinite")

#: 1/s², and no tether where s = 0.
_INVERSE_SQUARE = "select(digs_scale, 1/digs_scale^2, 0)"


def _of_level(name, n_levels):
    """Expression that picks ``name_k`` for k = digs_level."""
    expression = f"{name}_{n_levels - 1}"
    for k in reversed(range(n_levels - 1)):
        expression = f"select(digs_level - {k}, {expression}, {name}_{k})"
    return expression


def with_acceptance(name, counts):
    """One row of the acceptance table: the counts of a level with its name and rates."""
    rates = {
        "guess acceptance": counts["accepted_guesses"] / max(counts["guesses"], 1),
        "HMC acceptance": counts["accepted_trajectories"] / max(counts["trajectories"], 1),
    }
    return {"level": name, **rates, **counts}


def add_counts(*rows):
    """Counts of one level, summed over rows that hold them; zeros for no row."""
    return {what: sum(row[what] for row in rows) for what in _COUNTS}


def scales_in_nm(noise_scales):
    """Noise scales as plain numbers, or arrays of one number a particle, in nm.

    Raises:
        TypeError: one number instead of a list of levels, or a unit that is no length.
    """
    if unit.is_quantity(noise_scales):
        noise_scales = _length(noise_scales)
    if not hasattr(noise_scales, "__len__"):
        raise TypeError(f"noise_scales is {noise_scales}; give a list of levels, for example [{noise_scales}]")
    return [_length(scale) for scale in noise_scales]


def _length(quantity):
    if not unit.is_quantity(quantity):
        return [_length(part) for part in quantity] if hasattr(quantity, "__len__") else quantity
    if not quantity.unit.is_compatible(unit.nanometer):
        raise TypeError(f"noise_scales are in {quantity.unit}, which is no length; give them in nanometers")
    return quantity.value_in_unit(unit.nanometer)


def require_timestep(timestep):
    """Return `timestep` if it is a positive, finite Quantity of time, and raise if it is not."""
    if not unit.is_quantity(timestep) or not timestep.unit.is_compatible(unit.picosecond):
        raise TypeError(f"timestep is {timestep!r}, which is no time; write for example 1 * openmm.unit.femtosecond")
    if not 0 < timestep.value_in_unit(unit.picosecond) < float("inf"):
        raise ValueError(f"timestep is {timestep}; it must be positive and finite")
    return timestep


def require_seed(seed):
    """Return `seed` if OpenMM takes it."""
    if isinstance(seed, bool) or seed != int(seed) or not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}; it must be a whole number from 0 to 2³¹ − 1")
    return int(seed)
