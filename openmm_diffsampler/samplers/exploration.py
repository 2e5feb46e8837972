"""Equilibrium configurations for a generator to learn from: Markov chains, at the speed of compiled energies."""

from typing import NamedTuple

import torch

from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.mcmc import HMC, InternalDiffusiveGibbs
from openmm_diffsampler.mcmc.annealing import annealed_chains
from openmm_diffsampler.mcmc.conformers import N_SEARCH

from .progress import sampling_progress

__all__ = ["Explored", "explore", "explore_for"]

#: Noise of a level, in thermal widths, for molecules in which nothing turns.
_NOISE = 0.5
#: Leapfrog steps of a trajectory on densities without particles.
_N_LEAPFROG = 10
#: Of the evaluations one in so many goes into the search for conformers, but no more than this has by default.
_SEARCHED = 10


class Explored(NamedTuple):
    """Configurations (n, *event_shape) in single precision, and their reduced potentials (n,) in double."""

    x: torch.Tensor
    u: torch.Tensor


def explore(target, n_evaluations, settings, seed, progress=False, interrupted=()):
    """Draws of Markov chains that `n_evaluations` pay for, warm-up included.

    A molecule in internal coordinates is explored by :class:`~openmm_diffsampler.mcmc.InternalDiffusiveGibbs`, which
    also measures the widths that the coordinates are counted in; anything else by Hamiltonian Monte Carlo from
    :func:`~openmm_diffsampler.mcmc.annealing.annealed_chains`, whose shares of modes then stay as they are until
    samples of the generator correct them. Particles that are all alike come in random order and orientation.

    Arguments:
        target: an :class:`~openmm_diffsampler.coordinates.InternalTarget`, whose widths are set here, or a density
            without molecules.
        n_evaluations: how many there are.
        settings: :class:`~openmm_diffsampler.samplers.BoltzmannSettings`.
        seed: of the chains.
        progress: show a progress bar.
        interrupted: something that is no longer empty when exploration has to stop.

    Raises:
        KeyboardInterrupt: it was interrupted.
        ValueError: fewer evaluations than the chains need to begin, particles without bonds that are not alike.
    """
    counter = target.cartesian if isinstance(target, InternalTarget) else target
    start = counter.n_evaluations
    if isinstance(target, InternalTarget):
        states = _molecule(target, settings, seed, n_evaluations // _SEARCHED)
    else:
        states = _density(target, settings, seed)
    drawn, shown = [], 0
    with sampling_progress(f"exploring {target.name}", n_evaluations, progress, unit="evaluations") as advance:
        for k, (x, u) in enumerate(states):
            if k % settings.thinning == settings.thinning - 1:
                drawn.append((x.float().cpu(), u.cpu()))
            spent = counter.n_evaluations - start
            advance(spent - shown)
            shown = spent
            if interrupted:
                raise KeyboardInterrupt("stopped while exploring, before the first step of training")
            if spent >= n_evaluations:
                break
    if not drawn:
        raise ValueError(
            f"{shown:,} evaluations went by before the first draw of {target.name}, and n_exploration allows "
            f"{n_evaluations:,}; give more, or fewer n_chains or n_warmup"
        )
    return Explored(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))


def explore_for(run, target):
    """:func:`explore`, by the part of the evaluations that falls to this process of a training run.

    Arguments:
        run: the :class:`~openmm_diffsampler.samplers.training.Training`.
        target: as of :func:`explore`.
    """
    settings, seed = run.sampler.settings, run.sampler.seed + 1_000_003 * run.rank
    return explore(target, run.share(settings.n_exploration), settings, seed, run.progress, run.interrupted)


def _molecule(target, settings, seed, n_search):
    everything = () if target.turning else (_NOISE,)  # where no torsion turns, noise on all coordinates at once
    sampler = InternalDiffusiveGibbs(
        target.cartesian,
        target.positions,
        chirality=target.chirality,
        isomers=target.isomers,
        noise_scales=everything,
        n_search=min(n_search, N_SEARCH),
    )
    target.set_widths(sampler.target.widths)
    for state in sampler.states(target.positions, n_chains=settings.n_chains, n_warmup=settings.n_warmup, seed=seed):
        yield target.wrap(state.x), state.u


def _density(target, settings, seed):
    generator = torch.Generator(target.device).manual_seed(seed)
    chains = annealed_chains(target, settings.n_chains, settings.scale, generator, n_final=10)
    sampler = HMC(target, step_size=chains.step_size, n_leapfrog=_N_LEAPFROG)
    if target.translation_invariant:
        _require_alike(target, chains.state, generator)
    for state in sampler.states(chains.state.x, n_warmup=settings.n_warmup, seed=seed):
        yield (_shuffled(state.x, generator) if target.translation_invariant else state.x), state.u


def _require_alike(target, state, generator):
    shuffled = target.reduced_potential(_shuffled(state.x, generator))
    if not torch.allclose(shuffled, state.u, rtol=1e-4, atol=1e-4):
        raise ValueError(f"the particles of {target.name} have no bonds and are not alike; give a topology with bonds")


def _shuffled(x, generator):
    """Particles that are all alike, in random order, turned and mirrored at random: as likely as before."""
    n, n_particles, dimensions = x.shape
    options = {"generator": generator, "dtype": x.dtype, "device": x.device}
    order = torch.rand(n, n_particles, **options).argsort(1)
    turn, triangle = torch.linalg.qr(torch.randn(n, dimensions, dimensions, **options))
    turn = turn * triangle.diagonal(dim1=1, dim2=2).sign()[:, None]
    return x.gather(1, order[:, :, None].expand_as(x)) @ turn
