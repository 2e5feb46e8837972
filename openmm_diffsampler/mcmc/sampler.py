"""Batches of Markov chains: warm-up, draws, progress, checkpoints."""

import contextlib
import warnings
from typing import NamedTuple

import torch

from openmm_diffsampler._common.interrupts import deferred_interrupts
from openmm_diffsampler.analysis import WeightedTrajectory
from openmm_diffsampler.analysis.landscape import Landscape
from openmm_diffsampler.analysis.watched import watch
from openmm_diffsampler.targets.normalisability import UnnormalisableDensityWarning
from openmm_diffsampler.targets.positions import lengths_in_nm

from .checkpoint import Checkpoint
from .draws import Draws
from .goal import Goal, Watch
from .progress import progress_bar
from .state import ChainState, initial_state

__all__ = ["BatchedSampler"]

#: Frames of a chain that are kept at most of a run without a fixed end; draws of each after which a checkpoint is due.
_ROOM, _EVERY = 1000, 25
#: Draws of a chain below which nothing can be said of it.
_FEWEST_DRAWS = 4


class BatchedSampler:
    """Runs a sweep of kernels over many chains of one target.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        kernels: list of :class:`~openmm_diffsampler.mcmc.kernels.Kernel`, called in order; together one sweep.
        n_rungs: temperatures that the kernels keep chains at, the first of which is that of the draws.
    """

    def __init__(self, target, kernels, n_rungs=1):
        if not target.is_normalisable:
            warnings.warn(
                f"the density of {target.name} cannot be normalised, since nothing holds its parts together: chains "
                "drift apart for ever, and what they give depends on how long they run. Hold molecules together, for "
                "example by targets.with_restrained_fragments(system, 1.5 * unit.nanometer)",
                UnnormalisableDensityWarning,
                stacklevel=3,
            )
        self.target, self.kernels, self.n_rungs = target, list(kernels), n_rungs
        self.statistics, self.ended, self.stride = [], None, 1

    def sample(
        self,
        initial,
        n_draws=None,
        *,
        goal=None,
        n_chains=None,
        n_warmup=100,
        thinning=1,
        seed=0,
        checkpoint=None,
        checkpoint_every=None,
        progress=False,
    ):
        """Draw from the target with all chains side by side.

        Step sizes are adapted in the `n_warmup` sweeps that come first and whose states are not kept; then they are
        frozen, since chains that adapt for ever need not converge to the target.

        Arguments:
            initial: one configuration or one a chain; Quantity, array or tensor.
            n_draws: states kept of every chain; without it the run goes on until its goal is reached.
            goal: :class:`~openmm_diffsampler.mcmc.Goal` of such a run, the default one if None. It keeps at most 1,000
                states of every chain: where there are as many, every second one goes, and `thinning` doubles.
            n_chains: number of chains, if `initial` is one configuration.
            n_warmup: sweeps before the first draw.
            thinning: sweeps from draw to draw.
            seed: of all random numbers.
            checkpoint: folder to save progress in. If it holds an interrupted run of the same settings, that run goes
                on, exactly as if it had never stopped.
            checkpoint_every: draws from one checkpoint to the next; by default ten checkpoints a run of fixed length,
                and 25 draws.
            progress: show a progress bar.

        Returns:
            :class:`~openmm_diffsampler.analysis.WeightedTrajectory` of kind "mcmc", chain by chain. Acceptance rates,
            step sizes, evaluations and time after warm-up are in :attr:`statistics`, one dict a level; why a run with a
            goal ended is in :attr:`ended`, and how many times `thinning` its draws are apart in :attr:`stride`.

        Raises:
            ValueError: a start of the wrong shape or of infinite energy, counts below one, a checkpoint of other
                settings, or one that is damaged or lacks a block.
            FolderInUseError: another process or thread draws into the folder of the checkpoint.
            OSError: the checkpoint cannot be written; what it holds stays good.
            KeyboardInterrupt: after an interrupt; the message says what was kept.
        """
        if n_draws is not None and goal is not None:
            raise ValueError(f"n_draws is {n_draws} and there is a goal; give the length of the run or its goal")
        for name, value, least in (("n_draws", n_draws, 1), ("n_warmup", n_warmup, 0), ("thinning", thinning, 1)):
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        state = self._start(initial, n_chains).repeated(self.n_rungs)
        generator = torch.Generator(self.target.device).manual_seed(seed)
        self._reset()
        watched = None if n_draws is not None else Watch(goal or Goal())
        room = None if watched is None else _ROOM
        drawn, store = Draws(n_draws, room), None
        if checkpoint is not None:
            settings = {"n_warmup": n_warmup, "thinning": thinning, "seed": seed, "sampler": self.describe()}
            settings |= {"most draws": room}
            store = Checkpoint(checkpoint, settings, self._given(initial, n_chains), state.x, self.target)
        every = checkpoint_every or (_EVERY if n_draws is None else max(1, n_draws // 10))
        try:
            with contextlib.nullcontext() if store is None else store.held():
                self._run(state, drawn, generator, _Counts(n_warmup, thinning, every), store, watched, progress)
        except KeyboardInterrupt:
            kept = "nothing was kept, since no checkpoint was asked for" if store is None else store.kept()
            raise KeyboardInterrupt(
                f"stopped after {self._n_warmed:,} of {n_warmup:,} sweeps of the warm-up and {drawn.in_words()}; {kept}"
            ) from None
        self.stride = drawn.stride
        self.statistics = [kernel.statistics() for kernel in self.kernels if kernel.counts]
        return self._frames(drawn)

    def _run(self, state, drawn, generator, counts, store, watched, progress):
        """Sweep from the state, or from where a checkpoint left off, to the last draw.

        Raises:
            KeyboardInterrupt: an interrupt was heard; where there is a checkpoint, the sweep at hand is finished, and
                all of it is saved.
        """
        n_thinned = 0

        def template(saved):
            self._take_over(saved)
            tensors, numbers = self._saved(state, generator)
            return tensors, numbers | {"n_thinned": 0, "n_warmup_evaluations": 0}

        if store is not None:
            frame = (len(state) // self.n_rungs, *self._frames_of.event_shape)
            saved = store.load(drawn, template, torch.Size(frame))
            if saved is not None:
                with store.explaining():
                    state = self._restore(saved, generator)
                    n_thinned = saved[1].get("n_thinned", 0)
                    self._n_warmup_evaluations = saved[1].get("n_warmup_evaluations", 0)
                    counts.require_possible(self._n_warmed, n_thinned, drawn.stride)

        def save(n_thinned=0):
            tensors, numbers = self._saved(state, generator)
            more = {"n_thinned": n_thinned, "n_warmup_evaluations": self._n_warmup_evaluations}
            store.save(drawn, tensors, numbers | more)

        n_warmup, thinning, every = counts
        warmed = self._n_warmed
        done = warmed + drawn.reached * thinning + n_thinned
        total = None if drawn.n_draws is None else n_warmup + drawn.n_draws * thinning
        listen = contextlib.nullcontext(()) if store is None else deferred_interrupts()
        with listen as interrupted, progress_bar(self, total, done, watched, progress) as advance:
            for k in range(warmed, n_warmup):
                state = self._sweep(state, generator, adapt=True)
                self._n_warmed += 1
                advance(state)
                due = (k + 1) % max(1, n_warmup // 4) == 0
                if store is not None and (due or interrupted) and k + 1 < n_warmup:
                    save()
                if interrupted:
                    raise KeyboardInterrupt
            if len(drawn) == 0 and n_thinned == 0:
                self._finish_warmup()
            is_done = self._is_done(drawn, watched)  # what an earlier process saw last is looked at again
            while not is_done:
                while n_thinned < thinning * drawn.stride:
                    state = self._sweep(state, generator)
                    advance(state)
                    n_thinned += 1
                    if interrupted and n_thinned < thinning * drawn.stride:
                        if store.lacks(drawn):
                            save(n_thinned)
                        raise KeyboardInterrupt
                n_thinned = 0
                drawn.append(*self._kept(state, generator))
                is_done = self._is_done(drawn, watched)
                if store is not None and (len(drawn) % every == 0 or is_done or interrupted):
                    save()
                if interrupted:
                    raise KeyboardInterrupt

    def _is_done(self, drawn, watched):
        if watched is None:
            return len(drawn) == drawn.n_draws
        if len(drawn) < _FEWEST_DRAWS:
            return False
        is_reached = watched.is_due(drawn.reached, drawn.stride) and watched.is_reached(
            watch(self._frames(drawn), self.landscape)
        )
        evaluations = self.n_spent
        reason = "" if is_reached else watched.spent(evaluations)
        if is_reached or reason:
            self.ended = watched.ending(reason, evaluations)
        return is_reached or bool(reason)

    @property
    def n_spent(self):
        """Evaluations of the run so far, its warm-up included."""
        return self._n_warmup_evaluations + sum(kernel.evaluations for kernel in self.kernels)

    @property
    def landscape(self):
        """:class:`~openmm_diffsampler.analysis.landscape.Landscape`: what is known of the target before the run."""
        return Landscape()

    def _frames(self, drawn):
        return WeightedTrajectory.from_chains(
            drawn.x(),
            reduced_potential=drawn.u(),
            topology=self._frames_of.topology,
            temperature=self._frames_of.temperature,
        )

    def states(self, initial, *, n_chains=None, n_warmup=100, seed=0):
        """The states of all chains in the coordinates of :attr:`target`, sweep after sweep without end.

        Arguments:
            initial, n_chains, n_warmup, seed: as for :meth:`sample`.

        Yields:
            :class:`~openmm_diffsampler.mcmc.state.ChainState` of the chains at the first rung, after the warm-up.

        Example:
            >>> from openmm_diffsampler import HMC, ManyWell
            >>> states = HMC(ManyWell(1), step_size=0.1).states(torch.zeros(2), n_chains=4, n_warmup=5)
            >>> next(states).x.shape
            torch.Size([4, 2])
        """
        state = self._start(initial, n_chains).repeated(self.n_rungs)
        generator = torch.Generator(self.target.device).manual_seed(seed)
        self._reset()
        for _ in range(n_warmup):
            state = self._sweep(state, generator, adapt=True)
        self._finish_warmup()
        while True:
            state = self._sweep(state, generator)
            yield state.rows(slice(len(state) // self.n_rungs))

    @property
    def _frames_of(self):
        """The target whose coordinates frames are in."""
        return self.target

    def _start(self, initial, n_chains):
        """The state that chains start from, one row each."""
        return initial_state(self.target, initial, n_chains)

    def _given(self, initial, n_chains):
        """Positions as they were given, one a chain: the same on every machine, as what is made of them is not."""
        x = torch.as_tensor(lengths_in_nm(initial, "initial positions"), dtype=self._frames_of.dtype)
        return x.expand(n_chains or 1, *x.shape) if x.shape == self._frames_of.event_shape else x

    def _take_over(self, saved):
        """Take what was found out before the run from the tensors of a checkpoint."""

    def _kept(self, state, generator):
        """What is kept of a state: positions and reduced potentials of the chains at the first rung."""
        n = len(state) // self.n_rungs
        return state.x[:n], state.u[:n]

    def describe(self):
        """What the sampler does, as plain values: equal for equal samplers."""
        return {"target": self.target.identity(), "kernels": [kernel.settings() for kernel in self.kernels]}

    def _reset(self):
        self._n_warmed = self._n_warmup_evaluations = 0
        self.ended = None
        for kernel in self.kernels:
            kernel.reset()
            for part in kernel.adaptive:
                part.restart()

    def _finish_warmup(self):
        self._n_warmup_evaluations = self.n_spent
        for kernel in self.kernels:
            kernel.reset()
            for part in kernel.adaptive:
                part.freeze()

    def _sweep(self, state, generator, adapt=False):
        for kernel in self.kernels:
            state = kernel(self.target, state, generator, adapt)
        return state

    def _saved(self, state, generator):
        tensors = {"x": state.x, "u": state.u, "score": state.score, "generator": generator.get_state()}
        return tensors, {"kernels": [kernel.state_dict() for kernel in self.kernels], "n_warmed": self._n_warmed}

    def _restore(self, saved, generator):
        tensors, numbers = saved
        for kernel, kept in zip(self.kernels, numbers["kernels"], strict=True):
            kernel.load_state_dict(kept)
        self._n_warmed = numbers["n_warmed"]
        generator.set_state(tensors["generator"])
        return ChainState(*(tensors[name].to(self.target.device) for name in ("x", "u", "score")))


class _Counts(NamedTuple):
    """Sweeps of the warm-up, and from draw to draw; draws from one checkpoint to the next."""

    n_warmup: int
    thinning: int
    every: int

    def require_possible(self, n_warmed, n_thinned, stride):
        """Raise ValueError unless a run can be after so many sweeps of the warm-up and since the last draw."""
        if not (0 <= n_warmed <= self.n_warmup and 0 <= n_thinned < self.thinning * stride):
            raise ValueError(
                f"it is after {n_warmed} of {self.n_warmup} sweeps of the warm-up and {n_thinned} of "
                f"{self.thinning * stride} sweeps of a draw"
            )
