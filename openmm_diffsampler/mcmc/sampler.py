"""Batches of Markov chains: warm-up, draws, progress, checkpoints."""

import warnings

import torch

from openmm_diffsampler.analysis import WeightedTrajectory
from openmm_diffsampler.targets.free_fragments import UnnormalisableDensityWarning

from .checkpoint import Checkpoint
from .progress import progress_bar
from .state import ChainState, initial_state

__all__ = ["BatchedSampler"]


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
                "drift apart for ever, and what they give depends on how long they run. Hold molecules together by "
                "targets.with_container(...) or targets.with_distance_restraint(...), or use a periodic box",
                UnnormalisableDensityWarning,
                stacklevel=3,
            )
        self.target, self.kernels, self.n_rungs = target, list(kernels), n_rungs
        self.statistics = []

    def sample(
        self,
        initial,
        n_draws,
        *,
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
            n_draws: states kept of every chain.
            n_chains: number of chains, if `initial` is one configuration.
            n_warmup: sweeps before the first draw.
            thinning: sweeps from draw to draw.
            seed: of all random numbers.
            checkpoint: folder to save progress in. If it holds an interrupted run of the same settings, that run goes
                on, exactly as if it had never stopped.
            checkpoint_every: draws from one checkpoint to the next; by default ten checkpoints a run.
            progress: show a progress bar.

        Returns:
            :class:`~openmm_diffsampler.analysis.WeightedTrajectory` of kind "mcmc", chain by chain. Acceptance rates,
            step sizes, evaluations and time after warm-up are in :attr:`statistics`, one dict a level.

        Raises:
            ValueError: a start of the wrong shape or of infinite energy, counts below one, a checkpoint of other
                settings.
        """
        for name, value, least in (("n_draws", n_draws, 1), ("n_warmup", n_warmup, 0), ("thinning", thinning, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        state = self._start(initial, n_chains).repeated(self.n_rungs)
        generator = torch.Generator(self.target.device).manual_seed(seed)
        self._reset()
        drawn = _Draws(n_draws)
        store = None
        if checkpoint is not None:
            settings = {"n_warmup": n_warmup, "thinning": thinning, "seed": seed, "sampler": self.describe()}
            store = Checkpoint(checkpoint, settings, state.x)
            saved = store.load(drawn)
            if saved is not None:
                state = self._restore(saved, generator)
        warmed = self._n_warmed
        every = checkpoint_every or max(1, n_draws // 10)
        with progress_bar(self, n_warmup + n_draws * thinning, warmed + len(drawn) * thinning, progress) as advance:
            for k in range(warmed, n_warmup):
                state = self._sweep(state, generator, adapt=True)
                self._n_warmed += 1
                advance(state)
                if store is not None and (k + 1) % max(1, n_warmup // 4) == 0 and k + 1 < n_warmup:
                    store.save(drawn, *self._saved(state, generator))
            if len(drawn) == 0:
                self._finish_warmup()
            while len(drawn) < n_draws:
                for _ in range(thinning):
                    state = self._sweep(state, generator)
                    advance(state)
                drawn.append(*self._kept(state, generator))
                if store is not None and (len(drawn) % every == 0 or len(drawn) == n_draws):
                    store.save(drawn, *self._saved(state, generator))
        self.statistics = [kernel.statistics() for kernel in self.kernels]
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

    def _kept(self, state, generator):
        """What is kept of a state: positions and reduced potentials of the chains at the first rung."""
        n = len(state) // self.n_rungs
        return state.x[:n], state.u[:n]

    def describe(self):
        """What the sampler does, as plain values: equal for equal samplers."""
        return {"target": self.target.identity(), "kernels": [kernel.settings() for kernel in self.kernels]}

    def _reset(self):
        self._n_warmed = 0
        for kernel in self.kernels:
            kernel.reset()
            for part in kernel.adaptive:
                part.restart()

    def _finish_warmup(self):
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


class _Draws:
    """States kept so far, with those that no checkpoint holds yet."""

    def __init__(self, n_draws):
        self.n_draws, self.positions, self.energies = n_draws, [], []

    def __len__(self):
        return len(self.positions)

    def append(self, x, u):
        self.positions.append(x.cpu())
        self.energies.append(u.cpu())

    def x(self, start=0):
        return torch.stack(self.positions[start:])

    def u(self, start=0):
        return torch.stack(self.energies[start:])
