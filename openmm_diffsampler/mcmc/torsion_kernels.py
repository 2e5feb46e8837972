"""Noise on blocks of torsions, in internal coordinates: guesses over any barrier, one evaluation each."""

import math

import torch

from .adaptation import StepSize
from .kernels import Kernel
from .metropolis import metropolis
from .state import evaluate
from .torsion_density import TorsionDensity

__all__ = ["LearnedTorsionKernel", "TorsionNoiseKernel"]

#: Noise beyond which a torsion is uniform to 1 part in 250 (its wrapped normal), so that more changes nothing.
_WIDEST = 2.5
#: Share of the guesses that goes to blocks however little they gain.
_FLOOR = 0.1


class TorsionNoiseKernel(Kernel):
    r"""Gaussian noise on a block of torsions, \tilde τ = τ + s ε, and the guess τ' = \tilde τ + s ε'.

    Torsions are lifted to the real line, so that nothing is wrapped and the guess is accepted with
    min(1, e^{−β(u' − u)}). Each trial draws one block, the same for all chains, and one of two levels: s so wide that
    the angle is uniform, which crosses any barrier, or an s of the block's own, which warm-up adapts to the wanted
    acceptance. Rotors are noised by random multiples of 2π/order besides, which rename equal atoms.

    Arguments:
        blocks: list of tuples of torsion columns of an :class:`~openmm_diffsampler.coordinates.InternalTarget`.
        n_trials: guesses a call.
        orders: of the rotor that each block of one torsion is (1 for none), or None.
        scale: s in radians where the adaptation of the narrow level starts.
        acceptance: what it is adapted to.
        wide: share of the guesses at the wide level.
    """

    def __init__(self, blocks, n_trials, orders=None, *, scale=1.0, acceptance=0.3, wide=0.5, name="torsion noise"):
        super().__init__(name)
        if not scale > 0:
            raise ValueError(f"torsion noise scale is {scale}; it must be positive")
        self.blocks, self.n_trials = tuple(map(tuple, blocks)), n_trials
        self.orders = tuple(orders or [1] * len(self.blocks))
        self.wide = wide
        self.scales = [StepSize(scale, acceptance, _WIDEST) for _ in self.blocks]
        self.adaptive = self.scales

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        options = {"generator": generator, "device": state.x.device}
        for _ in range(self.n_trials):
            which = int(torch.randint(len(self.blocks), (1,), **options))
            is_wide = bool(torch.rand(1, **options) < self.wide)
            columns, scale = list(self.blocks[which]), self.scales[which]
            noise = torch.randn(2, len(state), len(columns), dtype=state.x.dtype, **options).sum(0)
            noise *= _WIDEST if is_wide else scale.value
            if self.orders[which] > 1:
                turns = torch.randint(self.orders[which], noise.shape, **options).to(noise)
                noise += turns * (2 * math.pi / self.orders[which])
            y = state.x.clone()
            y[:, columns] += noise / target.widths[columns]
            guess = evaluate(target, y)
            accepted, probability = metropolis(inverse_temperature * (state.u - guess.u), generator)
            level = "wide guess" if is_wide else "guess"
            self.count(level, accepted, f"{level} {which}")
            if adapt and not is_wide:
                scale.update(float(probability.mean()))
            state = state.where(accepted, guess)
        return state

    def acceptance_by_block(self):
        """dict of block → acceptance at the narrow level, its s in radians, acceptance at the wide level."""
        return {
            block: (self.part_acceptance(f"guess {k}"), s.value, self.part_acceptance(f"wide guess {k}"))
            for k, (block, s) in enumerate(zip(self.blocks, self.scales, strict=True))
        }

    def statistics(self):
        row = super().statistics()
        scales = [s.value for s in self.scales]
        return row | {"level": f"{self.name} {min(scales):.2g}–{max(scales):.2g} rad"}


class LearnedTorsionKernel(Kernel):
    r"""Noise so wide that nothing is left of a block's torsions, and guesses from what they look like on their own.

    With noise s → ∞ the denoising posterior of the block is p itself; instead of a uniform angle, the guess is drawn
    from a :class:`~openmm_diffsampler.mcmc.torsion_density.TorsionDensity` q that warm-up has learned and then left
    alone, and accepted with

    .. math:: \min\Big(1, e^{-\beta(u' - u)}\, \frac{q(\tau)}{q(\tau')}\Big).

    Everything beyond a torsion moves as a rigid body. Blocks are tried in proportion to how far their accepted guesses
    went in warm-up, ⟨a·Σ(1 − cos Δτ)⟩, with a tenth of the guesses spread evenly.

    Arguments:
        blocks: list of tuples of one or two torsion columns.
        n_trials: guesses a call.
    """

    def __init__(self, blocks, n_trials, name="learned torsions"):
        super().__init__(name)
        self.blocks, self.n_trials = tuple(map(tuple, blocks)), n_trials
        self.densities = [TorsionDensity(len(block)) for block in self.blocks]
        self.gains = Gains(len(self.blocks))
        self.adaptive = [*self.densities, self.gains]

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        for _ in range(self.n_trials):
            which = self.gains.draw(generator)
            columns, density = list(self.blocks[which]), self.densities[which]
            old = state.x[:, columns] * target.widths[columns]
            new = density.sample(len(state), generator).to(old)
            y = state.x.clone()
            y[:, columns] = new / target.widths[columns]
            guess = evaluate(target, y)
            log_q = (density.log_density(old) - density.log_density(new)).to(guess.u)
            accepted, _ = metropolis(inverse_temperature * (state.u - guess.u) + log_q, generator)
            self.count("guess", accepted, str(which))
            if adapt:
                self.gains.update(which, float((accepted * (1 - (new - old).cos()).sum(1)).mean()))
            state = state.where(accepted, guess)
        if adapt:
            angles = state.x * target.widths
            for block, density in zip(self.blocks, self.densities, strict=True):
                density.update(angles[:, list(block)])
        return state

    def acceptance_by_block(self):
        """dict of block → acceptance, and the gain by which it is tried."""
        return {
            block: (self.part_acceptance(str(k)), gain)
            for k, (block, gain) in enumerate(zip(self.blocks, self.gains.values, strict=True))
        }


class Gains:
    """How far the guesses of each block go, averaged over recent ones, and a draw of a block in proportion."""

    def __init__(self, n_blocks):
        self.n_blocks = n_blocks
        self.restart()

    def restart(self):
        self.values, self.n_updates = [1.0] * self.n_blocks, [0] * self.n_blocks

    def freeze(self):
        """Values stay as they are."""

    def update(self, which, gain):
        self.n_updates[which] += 1
        self.values[which] += max(0.05, 1 / self.n_updates[which]) * (gain - self.values[which])

    def draw(self, generator):
        values = torch.tensor(self.values, dtype=torch.float64)
        weights = (1 - _FLOOR) * values / values.sum().clamp(min=1e-12) + _FLOOR / self.n_blocks
        spot = torch.rand(1, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        return min(int(torch.searchsorted(weights.cumsum(0), spot)), self.n_blocks - 1)

    def state_dict(self):
        return {"values": self.values, "n_updates": self.n_updates}

    def load_state_dict(self, state):
        self.values, self.n_updates = list(state["values"]), list(state["n_updates"])
