"""The moves that a sweep is made of; each leaves the target invariant and counts what it accepts."""

import dataclasses
import time
from abc import ABC, abstractmethod
from math import inf, nan

import torch

from .adaptation import StepSize
from .hamiltonian import Tether, hamiltonian_step, normal
from .metropolis import metropolis
from .state import evaluate
from .sweep import STEP_ANGLE, level_name

__all__ = ["HamiltonianKernel", "Kernel", "NoiseKernel", "RotationKernel"]

#: Acceptance rates that step sizes are adapted to: optimal for MALA and HMC in high dimension.
OPTIMAL_ACCEPTANCE = {"mala": 0.574, "hmc": 0.8}


class Kernel(ABC):
    """A move of all chains; calling it takes a target, a state and a generator, and returns the new state.

    Attributes:
        name: what reports call it.
        counts: what is proposed → [sum of acceptance probabilities or acceptances, number of proposals].
        parts: the same for each of several parts of the kernel, by name.
        evaluations, seconds: spent since the last :meth:`reset`.
        step_size: the :class:`StepSize` that warm-up adapts, or None.
        adaptive: everything that warm-up adapts, with restart(), freeze(), state_dict() and load_state_dict().
    """

    step_size = None

    def __init__(self, name):
        self.name, self.adaptive = name, []
        self.reset()

    def reset(self):
        """Forget the counts, as after warm-up."""
        self.counts, self.parts, self.evaluations, self.seconds = {}, {}, 0, 0.0

    @abstractmethod
    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        """The new state, of chains that sample exp(−βu) for the inverse temperature β."""

    def __call__(self, target, state, generator, adapt=False, **options):
        evaluations, start = target.n_evaluations, time.perf_counter()
        state = self.move(target, state, generator, adapt, **options)
        self.seconds += time.perf_counter() - start
        self.evaluations += target.n_evaluations - evaluations
        return state

    def count(self, proposal, accepted, part=None):
        n_accepted = float(accepted.sum())
        for counts, name in ((self.counts, proposal), (self.parts, part)):
            if name is not None:
                total = counts.setdefault(name, [0.0, 0])
                total[0] += n_accepted
                total[1] += accepted.numel()

    def part_acceptance(self, part):
        """Acceptance rate of a part, NaN before its first proposal."""
        accepted, n = self.parts.get(part, (0.0, 0))
        return accepted / n if n else nan

    def statistics(self):
        """One row of the acceptance table."""
        rates = {f"{what} acceptance": accepted / n for what, (accepted, n) in self.counts.items()}
        step = {} if self.step_size is None else {"step size": self.step_size.value}
        return {"level": self.name, **rates, **step, "evaluations": self.evaluations, "seconds": self.seconds}

    def state_dict(self):
        """Everything a resumed run needs, as plain numbers."""
        own = {name: getattr(self, name) for name in ("counts", "parts", "evaluations", "seconds")}
        return own | {"adaptive": [part.state_dict() for part in self.adaptive]}

    def load_state_dict(self, state):
        for name in ("counts", "parts", "evaluations", "seconds"):
            setattr(self, name, state[name])
        for part, kept in zip(self.adaptive, state["adaptive"], strict=True):
            part.load_state_dict(kept)

    #: What changes while a kernel runs, and is no setting.
    _changing = ("evaluations", "seconds")

    def settings(self):
        """Plain values that tell this kernel from others; an interrupted run goes on only with the same ones."""
        plain = {k: v for k, v in vars(self).items() if isinstance(v, int | float | str | bool | tuple)}
        step = {} if self.step_size is None else {"initial step size": self.step_size.initial}
        return {k: v for k, v in plain.items() if k not in self._changing} | step


class HamiltonianKernel(Kernel):
    """Hamiltonian Monte Carlo on the target, or on the denoising posterior of a noised configuration.

    Arguments:
        step_size: where adaptation starts.
        n_leapfrog: steps of one trajectory.
        n_steps: trajectories a call.
        largest_step: where adaptation ends.
    """

    def __init__(self, step_size, n_leapfrog, n_steps=1, name="HMC", largest_step=inf):
        super().__init__(name)
        if n_leapfrog < 1 or n_steps < 1:
            raise ValueError(f"n_leapfrog is {n_leapfrog} and the number of steps {n_steps}; both must be at least 1")
        self.n_leapfrog, self.n_steps = n_leapfrog, n_steps
        self.method = "hmc" if n_leapfrog > 1 else "mala"
        self.step_size = StepSize(step_size, OPTIMAL_ACCEPTANCE[self.method], largest_step)
        self.adaptive = [self.step_size]

    def move(self, target, state, generator, adapt, inverse_temperature=1.0, **options):
        for _ in range(self.n_steps):
            state, probability = hamiltonian_step(
                target,
                state,
                self.step_size.value,
                self.n_leapfrog,
                generator,
                inverse_temperature=inverse_temperature,
                **options,
            )
            self.count(self.method.upper(), probability)
            if adapt:
                self.step_size.update(float(probability.mean()))
        return state


class NoiseKernel(HamiltonianKernel):
    r"""One level of a :class:`~openmm_diffsampler.mcmc.sweep.Sweep`: noise, guess, Hamiltonian steps on p(x | x̃).

    Arguments:
        scale: s = σ/α of the noise N(αx, σ²), in the units of x: one number, or a tuple of one number a particle.
        correct_guess: take the Metropolis step of the guess; without it the guess always replaces x, as an
            uncorrected start of the denoising, and the weights of modes come out wrong.
        step_size, n_leapfrog, n_steps: of the Hamiltonian steps.
    """

    def __init__(self, scale, step_size, n_leapfrog, n_steps, correct_guess=True):
        # A step is cut to the scale; where every particle's is, a longer one means nothing.
        largest = scale if isinstance(scale, float) else max(scale) if all(scale) else inf
        super().__init__(step_size, n_leapfrog, n_steps, level_name(scale), STEP_ANGLE * largest)
        self.scale, self.correct_guess = scale, correct_guess

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        n, scale = len(state), self._scale(target)
        noised = state.x + scale * normal(target, n, generator, scale)
        guess = evaluate(target, noised + scale * normal(target, n, generator, scale))
        accepted, _ = metropolis(inverse_temperature * (state.u - guess.u), generator)
        if not self.correct_guess:
            accepted = guess.u.isfinite()
        self.count("guess", accepted)
        state = state.where(accepted, guess)
        state = super().move(target, state, generator, adapt, inverse_temperature, tether=Tether(noised, scale))
        # Noise by particle moves the centroid; energies and scores do not notice its going back.
        return state if isinstance(scale, float) else dataclasses.replace(state, x=target.project(state.x))

    def _scale(self, target):
        if isinstance(self.scale, float):
            return self.scale
        scale = torch.tensor(self.scale, dtype=target.dtype, device=target.device)
        return scale.reshape(-1, *(1 for _ in target.event_shape[1:]))


class RotationKernel(Kernel):
    r"""Noise shaped like a molecule: one rotatable bond a chain turns by √2·s·N(0, 1), its guess accepted as above.

    Noising a torsion by N(0, s²) and guessing back by N(0, s²) turns it by N(0, 2s²); everything beyond the bond moves
    as a rigid body, which has unit Jacobian, so that the Metropolis ratio is e^{u(x) − u(x')} alone.

    Arguments:
        rotations: a :class:`~openmm_diffsampler.coordinates.BondRotations`.
        scale: s in radians.
        n_trials: bonds tried a call, drawn at random; one evaluation each.
    """

    def __init__(self, rotations, scale, n_trials):
        super().__init__(f"torsion noise {scale:.3g} rad")
        if not scale > 0:
            raise ValueError(f"torsion noise scale is {scale}; it must be positive")
        self.rotations, self.scale, self.n_trials = rotations, scale, n_trials

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        options = {"generator": generator, "device": state.x.device}
        for _ in range(self.n_trials):
            bond = torch.randint(len(self.rotations), (len(state),), **options)
            angle = 2**0.5 * self.scale * torch.randn(len(state), dtype=state.x.dtype, **options)
            turned = evaluate(target, target.project(self.rotations.rotate(state.x, bond, angle)))
            accepted, _ = metropolis(inverse_temperature * (state.u - turned.u), generator)
            self.count("guess", accepted)
            state = state.where(accepted, turned)
        return state
