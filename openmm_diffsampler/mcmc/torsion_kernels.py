"""Noise on blocks of torsions, in internal coordinates: guesses over any barrier, one evaluation each."""

import math

import torch

from .adaptation import StepSize
from .kernels import Kernel
from .metropolis import metropolis
from .state import evaluate
from .torsion_density import TorsionDensity, far
from .trial_shares import TrialShares

__all__ = ["LearnedTorsionKernel", "TorsionNoiseKernel"]

#: Noise beyond which a torsion is uniform to 1 part in 250 (its wrapped normal), so that more changes nothing.
_WIDEST = 2.5


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

    Everything beyond a torsion moves as a rigid body. Which blocks are tried, and how often, is learned in warm-up too
    (:class:`~openmm_diffsampler.mcmc.trial_shares.TrialShares`).

    Arguments:
        blocks: list of tuples of one to three torsion columns.
        n_trials: guesses a call, or None to learn how many.
        n_others: evaluations of the other moves of a sweep.
        ease: column → factor, of torsions that may lag behind.
        orders: column → n, of torsions that a turn by 2π/n leaves the same, such as 2 of a phenyl ring: such turns
            achieve nothing. 1 where there is none.
    """

    def __init__(self, blocks, n_trials=None, *, n_others=6, ease=None, orders=None, name="learned torsions"):
        super().__init__(name)
        self.blocks, self.n_trials = tuple(map(tuple, blocks)), n_trials
        self.densities = [TorsionDensity(len(block)) for block in self.blocks]
        self.shares = TrialShares(self.blocks, n_trials, n_others, ease)
        self.adaptive = [*self.densities, self.shares]
        self._orders = orders or {}

    def _order(self, column):
        return self._orders.get(column, 1)

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        for _ in range(self.shares.n_trials):
            which = self.shares.draw(generator)
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
                turn = (new - old) * torch.tensor([self._order(k) for k in columns]).to(old)
                self.shares.update(which, (accepted[:, None] * far(turn)).mean(0).tolist())
            state = state.where(accepted, guess)
        if adapt:
            angles = state.x * target.widths
            for block, density in zip(self.blocks, self.densities, strict=True):
                density.update(angles[:, list(block)])
            self.shares.settle(self._ideal_jumps())
        return state

    def _ideal_jumps(self):
        """dict of column → how far independent draws would be apart, by what the densities have seen."""
        return {
            block[0]: density.ideal_jump(self._order(block[0]))
            for block, density in zip(self.blocks, self.densities, strict=True)
            if len(block) == 1
        }

    def acceptance_by_block(self):
        """dict of block → acceptance, and the share of the guesses that it gets."""
        return {
            block: (self.part_acceptance(str(k)), share)
            for k, (block, share) in enumerate(zip(self.blocks, self.shares.values.tolist(), strict=True))
        }
