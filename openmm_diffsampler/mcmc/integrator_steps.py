"""A sweep of diffusive Gibbs sampling as the computation steps of an OpenMM CustomIntegrator.

Every variable has a prefix, since OpenMM refuses one that is also a context parameter. Levels, trajectories and
leapfrog steps are loops, and select() takes the place of branches: OpenMM looks ahead along every path through steps
that need forces or move particles, and each branch doubles their number.
"""

from .level_counts import COUNTS
from .sweep import STEP_ANGLE, STEP_SIZE_JITTER

__all__ = ["add_sweep"]

#: Energies (kJ/mol) beyond this count as not finite, and so does the kinetic energy of a poisoned trajectory.
_HUGE = 1e25
#: Velocity (nm/ps) that marks a trajectory that ran off: its kinetic energy is beyond _HUGE.
_POISON = 1e15
#: A particle faster than this (nm a leapfrog step), before or after it moves under the tether, has run off. The
#: reversed trajectory meets the same two velocities, so that rejecting it is exact.
_FARTHEST = 1e3

#: 1/s², and no tether where s = 0.
_INVERSE_SQUARE = "select(digs_scale, 1/digs_scale^2, 0)"


def _of_level(name, n_levels):
    """Expression that picks ``name_k`` for k = digs_level."""
    expression = f"{name}_{n_levels - 1}"
    for k in reversed(range(n_levels - 1)):
        expression = f"select(digs_level - {k}, {expression}, {name}_{k})"
    return expression


def _add_variables(integrator, sweep):
    for name in ("noised", "current", "current_force", "scale", "before_move", "step", "cosine", "drift"):
        integrator.addPerDofVariable(f"digs_{name}", 0)
    for k, scale in enumerate(sweep.noise_scales):
        add = integrator.addGlobalVariable if isinstance(scale, float) else integrator.addPerDofVariable
        add(f"digs_scale_{k}", 0)
        for what in COUNTS:
            integrator.addGlobalVariable(f"digs_{what}_{k}", 0)
    integrator.addGlobalVariable("digs_n_leapfrog", sweep.n_leapfrog)
    integrator.addGlobalVariable("digs_n_denoising_steps", sweep.n_denoising_steps)
    for name in (
        "is_known", "is_bad_start", "n_evaluations", "level", "trajectory", "leapfrog", "jittered_dt", "energy",
        "proposed", "sum", "before", "after", "is_finite", "is_accepted",
    ):  # fmt: skip
        integrator.addGlobalVariable(f"digs_{name}", 0)


def add_sweep(integrator, sweep):
    """Give `integrator` the variables and the steps of a :class:`~openmm_diffsampler.mcmc.sweep.Sweep`.

    The scales of the levels are left at zero.
    """
    _add_variables(integrator, sweep)
    n_levels = len(sweep.noise_scales)
    _add_start(integrator, n_levels)
    integrator.beginWhileBlock(f"digs_level < {n_levels}")
    integrator.addComputePerDof("digs_scale", _of_level("digs_scale", n_levels))
    _add_guess(integrator, n_levels)
    integrator.addComputeGlobal("digs_trajectory", "0")
    integrator.beginWhileBlock("digs_trajectory < digs_n_denoising_steps")
    _add_trajectory(integrator, n_levels)
    integrator.addComputeGlobal("digs_trajectory", "digs_trajectory + 1")
    integrator.endBlock()
    integrator.addComputeGlobal("digs_level", "digs_level + 1")
    integrator.endBlock()
    integrator.addComputePerDof("v", "sqrt(kT/m)*gaussian")


def _add_start(integrator, n_levels):
    """Energy and forces where the sweep starts, unless the sweep before it left them; no level if they are bad."""
    integrator.beginIfBlock("digs_is_known = 0")
    integrator.addComputePerDof("digs_current", "x")
    integrator.addComputePerDof("digs_current_force", "f")
    integrator.addComputeGlobal("digs_energy", "energy")
    integrator.addComputeGlobal("digs_is_bad_start", f"1 - step({_HUGE} - abs(digs_energy))")
    integrator.addComputeGlobal("digs_n_evaluations", "digs_n_evaluations + 1")
    integrator.endBlock()
    integrator.addComputeGlobal("digs_level", f"{n_levels}*digs_is_bad_start")


def _add_guess(integrator, n_levels):
    integrator.addComputePerDof("digs_noised", "x + digs_scale*gaussian")
    integrator.addComputePerDof("x", "digs_noised + digs_scale*gaussian")
    integrator.addComputeGlobal("digs_proposed", "energy")
    _add_decision(integrator, "digs_energy", "digs_proposed")
    _add_choice(integrator, "guesses", n_levels)
    integrator.addComputeGlobal("digs_n_evaluations", "digs_n_evaluations + 1")


def _add_trajectory(integrator, n_levels):
    """Kicks by the forces of the System between exact motions under the tether.

    The tether turns (x − x̃, v/ω) by the angle hω, ω² = kT/ms²: x − x̃ → cos hω (x − x̃) + v sin hω / ω. A particle
    without tether drifts. A particle's own step is cut to STEP_ANGLE/ω; steps that differ from particle to particle
    are those of one trajectory with other masses.
    """
    hamiltonian = f"0.5*m*v^2 + 0.5*kT*(x - digs_noised)^2*{_INVERSE_SQUARE}"
    angle = "digs_step*sqrt(kT/m)/digs_scale"
    integrator.addComputeGlobal("digs_jittered_dt", f"dt*(1 + {STEP_SIZE_JITTER}*(2*uniform - 1))")
    longest = f"min(digs_jittered_dt, {STEP_ANGLE}*digs_scale*sqrt(m/kT))"
    integrator.addComputePerDof("digs_step", f"select(digs_scale, {longest}, digs_jittered_dt)")
    integrator.addComputePerDof("digs_cosine", f"select(digs_scale, cos({angle}), 1)")
    integrator.addComputePerDof("digs_drift", f"select(digs_scale, sin({angle})*digs_scale*sqrt(m/kT), digs_step)")
    integrator.addComputePerDof("v", "sqrt(kT/m)*gaussian")
    integrator.addComputeSum("digs_sum", hamiltonian)
    integrator.addComputeGlobal("digs_before", "digs_energy + digs_sum")
    integrator.addComputePerDof("v", "v + 0.5*digs_step*digs_current_force/m")
    integrator.addComputeGlobal("digs_leapfrog", "0")
    integrator.beginWhileBlock("digs_leapfrog < digs_n_leapfrog")
    # Neither a position nor a velocity ever becomes NaN: some platforms raise at NaN, and 0·NaN is NaN.
    near = f"step({_FARTHEST} - abs(digs_step*v))"
    turned = f"(digs_cosine*v - digs_drift*digs_before_move*kT/m*{_INVERSE_SQUARE})"
    moved = "digs_noised + digs_cosine*digs_before_move + digs_drift*v"
    integrator.addComputePerDof("digs_before_move", "x - digs_noised")
    integrator.addComputePerDof("x", f"select({near}, {moved}, x)")
    still_near = f"{near}*step({_FARTHEST} - abs(digs_step*{turned}))"
    integrator.addComputePerDof("v", f"select({still_near}, {turned} + digs_step*f/m, {_POISON})")
    integrator.addComputeGlobal("digs_leapfrog", "digs_leapfrog + 1")
    integrator.endBlock()
    integrator.addComputePerDof("v", "v - 0.5*digs_step*f/m")
    integrator.addComputeGlobal("digs_proposed", "energy")
    integrator.addComputeSum("digs_sum", hamiltonian)
    integrator.addComputeGlobal("digs_after", "digs_proposed + digs_sum")
    _add_decision(integrator, "digs_before", "digs_after")
    _add_choice(integrator, "trajectories", n_levels)
    integrator.addComputeGlobal("digs_n_evaluations", "digs_n_evaluations + digs_n_leapfrog")


def _add_decision(integrator, before, after):
    """Metropolis: accept if −kT log(uniform) ≥ ΔE. A NaN makes step() zero."""
    integrator.addComputeGlobal("digs_is_finite", f"step({_HUGE} - abs({after}))")
    integrator.addComputeGlobal("digs_is_accepted", f"digs_is_finite*step(-kT*log(uniform) - ({after} - {before}))")


def _add_choice(integrator, what, n_levels):
    """Keep the proposal or go back, and count; select() drops whatever is in the branch not taken."""
    integrator.addComputeGlobal("digs_energy", "select(digs_is_accepted, digs_proposed, digs_energy)")
    integrator.addComputePerDof("digs_current_force", "select(digs_is_accepted, f, digs_current_force)")
    integrator.addComputePerDof("x", "select(digs_is_accepted, x, digs_current)")
    integrator.addComputePerDof("digs_current", "x")
    for k in range(n_levels):
        integrator.beginIfBlock(f"digs_level = {k}")
        integrator.addComputeGlobal(f"digs_{what}_{k}", f"digs_{what}_{k} + 1")
        integrator.addComputeGlobal(f"digs_accepted_{what}_{k}", f"digs_accepted_{what}_{k} + digs_is_accepted")
        integrator.addComputeGlobal(f"digs_nonfinite_{k}", f"digs_nonfinite_{k} + 1 - digs_is_finite")
        integrator.endBlock()
