"""Diffusive Gibbs sampling in internal coordinates against known torsion marginals; tests state the z they allow."""

import math
from functools import lru_cache

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from scipy.stats import kstest

from openmm_diffsampler import HMC, InternalDiffusiveGibbs, OpenMMTarget, load_system
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.mcmc.defaults import recommended_sampler
from openmm_diffsampler.mcmc.kernels import HamiltonianKernel, NoiseKernel
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.mcmc.torsion_kernels import LearnedTorsionKernel, TorsionNoiseKernel

from .torsion_chain import TorsionChain

CHAIN = TorsionChain(biases=(0.6, -0.4, 0.2))

#: Ways to sample it, all of which must cross barriers of 20 kT.
WAYS = {
    "default": {},
    "noise besides": {"n_learned_trials": 3, "n_trials": 4},
    "single torsions alone": {"n_learned_trials": 0, "n_trials": 8},
    "all torsions at once": {"n_learned_trials": 0, "n_trials": 0, "n_all_trials": 8},
    "every coordinate noised a little": {"noise_scales": [0.3, 0.1]},
    "in replica exchange": {"inverse_temperatures": [1.0, 0.6, 0.3]},
    "in replica exchange, reversible": {"inverse_temperatures": [1.0, 0.5], "swaps": "reversible"},
}


@lru_cache
def sampled(way):
    """Draws of chains that all start with every torsion at π."""
    sampler = InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, **WAYS[way])
    return sampler.sample(CHAIN.start, 40, n_chains=192, n_warmup=100, seed=1)


@pytest.mark.parametrize("way", WAYS)
def test_populations_of_torsions(way):
    """Shares of the wells by quadrature, 4 standard errors."""
    wt = sampled(way)
    assert wt.topology is CHAIN.target.topology and wt.temperature == CHAIN.target.temperature
    near = (CHAIN.torsions(wt.x).abs() < math.pi / 2).double()
    for column, bias in zip(near.T, CHAIN.bias_of(), strict=True):
        share, error = wt.expectation(column)
        assert error < 0.05 and abs(share - CHAIN.share(bias)) < 4 * error
    torch.testing.assert_close(CHAIN.target.reduced_potential(wt.x), wt.reduced_potential)


@pytest.mark.parametrize("way", ["default", "in replica exchange"])
def test_stiff_coordinates(way):
    """Equipartition of bonds and angles, with the Jacobian: means of exact draws, 4 standard errors."""
    wt = sampled(way)
    z = CHAIN.coordinates.to_internal(wt.x)
    exact = CHAIN.sample(200_000, torch.Generator().manual_seed(0))
    for k in range(CHAIN.coordinates.torsions.start):
        for power in (1, 2):
            centre = exact[:, k].mean()
            value, error = wt.expectation((z[:, k] - centre) ** power)
            ours = (exact[:, k] - centre) ** power
            assert abs(value - float(ours.mean())) < 4 * math.hypot(error, float(ours.std()) / 200_000**0.5)


TARGET = InternalTarget(CHAIN.target, CHAIN.start)
FIRST = CHAIN.coordinates.torsions.start
KERNELS = {
    "learned pair": lambda: LearnedTorsionKernel([(FIRST, FIRST + 1)], 1),
    "learned single": lambda: LearnedTorsionKernel([(FIRST,)], 1),
    "learned triple": lambda: LearnedTorsionKernel([(FIRST, FIRST + 1, FIRST + 2)], 6),
    "shared trials": lambda: LearnedTorsionKernel([(FIRST,), (FIRST + 1,), (FIRST, FIRST + 1)], 3),
    "noise on one": lambda: TorsionNoiseKernel([(FIRST,), (FIRST + 1,)], 1),
    "noise on a rotor": lambda: TorsionNoiseKernel([(FIRST,)], 1, [3], scale=0.3),
    "noise on all": lambda: TorsionNoiseKernel([range(FIRST, FIRST + 3)], 1),
    "noise on everything": lambda: NoiseKernel(0.2, 0.3, 2, 1),
    "noise on torsions, tethered": lambda: NoiseKernel(
        tuple(5.0 if k >= FIRST else 0.0 for k in range(len(TARGET.coordinates))), 0.3, 2, 1
    ),
    "Hamiltonian": lambda: HamiltonianKernel(0.5, 3),
}


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("name", KERNELS)
def test_detailed_balance(name, beta):
    """Between exact draws and where one call of a kernel takes them, as many go from A to B as from B to A (z < 4).

    A and B are wells of two torsions and halves of a bond; at β = 1/2 the draws are weighted by e^{u/2}, resampled.
    """
    generator, n = torch.Generator().manual_seed(3), 20_000
    before = evaluate(TARGET, CHAIN.sample(n if beta == 1 else 8 * n, generator) / TARGET.widths)
    kernel = KERNELS[name]()
    if isinstance(kernel, LearnedTorsionKernel):
        for density in kernel.densities:  # learned from something else than the target
            density.update(0.7 + torch.randn(1000, len(density.shape), generator=generator))
    if beta != 1:
        rows = torch.multinomial(((1 - beta) * before.u).softmax(0), n, replacement=True, generator=generator)
        before = before.rows(rows)
    after = kernel(TARGET, before, generator, inverse_temperature=beta)

    def cell(state):
        z = state.x * TARGET.widths
        wells = [(z[:, FIRST + k].cos() > 0).long() for k in (0, 1)]
        return 4 * wells[0] + 2 * wells[1] + (z[:, 0] > 0.15).long()

    flow = torch.zeros(8, 8, dtype=torch.float64)
    flow.index_put_((cell(before), cell(after)), torch.ones(n, dtype=torch.float64), accumulate=True)
    both = flow + flow.T
    # Copies of a resampled draw move independently, but their number is what e^{u/2} made it: a wider spread.
    spread = 1.0 if beta == 1 else 2.0
    assert both.fill_diagonal_(0).sum() > 100
    assert ((flow - flow.T).abs() < 4 * spread * (both + 10).sqrt()).all()


def test_statistics_and_counts():
    sampler = InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, n_learned_trials=4, n_trials=1)
    before = CHAIN.target.n_evaluations
    sampler.sample(CHAIN.start, 10, n_chains=8, n_warmup=5, seed=0)
    learned, noise, hmc = sampler.statistics
    assert (learned["level"], hmc["level"]) == ("learned torsions", "HMC") and noise["level"].startswith(
        "torsion noise"
    )
    assert sum(row["evaluations"] for row in sampler.statistics) == 10 * 8 * (4 + 1 + 6)
    assert CHAIN.target.n_evaluations - before == 8 + 8 + 15 * 8 * 11
    rates = sampler.kernels[1].acceptance_by_block()
    assert len(rates) == 3 and all(0 < s <= 2.5 for _, s, _ in rates.values())


@pytest.mark.parametrize("way", ["default", "in replica exchange"])
def test_resumed_run_is_the_same(tmp_path, way):
    def run(folder, n_draws):
        sampler = InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, **WAYS[way])
        return sampler.sample(CHAIN.start, n_draws, n_chains=6, n_warmup=9, seed=3, checkpoint=folder)

    whole = run(None, 12)
    run(tmp_path, 5)
    assert torch.equal(whole.x, run(tmp_path, 12).x)


def test_single_precision():
    """Torsions stay within a turn between sweeps, and populations within 4 standard errors."""
    single = OpenMMTarget(CHAIN.target.system, 300 * unit.kelvin, CHAIN.target.topology, dtype=torch.float32)
    sampler = InternalDiffusiveGibbs(single, CHAIN.start)
    seen, sweep = [], sampler._sweep

    def watched(state, *arguments, **options):
        seen.append(sampler.target.wrap(state.x) - state.x)
        return sweep(state, *arguments, **options)

    sampler._sweep = watched
    wt = sampler.sample(CHAIN.start, 40, n_chains=192, n_warmup=60, seed=5)
    assert max(float((d[:, FIRST:] / sampler.target.turn).abs().max()) for d in seen) < 20
    share, error = wt.expectation((CHAIN.torsions(wt.x.double())[:, 0].abs() < math.pi / 2).double())
    assert wt.x.dtype == torch.float32 and error < 0.04
    assert abs(share - CHAIN.share(CHAIN.bias_of()[0])) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize("way", ["default", "in replica exchange", "every coordinate noised a little"])
def test_calibration_over_40_seeds(way):
    """z-scores of the share of a well over 40 seeds are standard normal: Kolmogorov–Smirnov p > 0.01."""
    z = []
    for seed in range(1, 41):
        sampler = InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, **WAYS[way])
        wt = sampler.sample(CHAIN.start, 200, n_chains=32, n_warmup=100, seed=seed)
        share, error = wt.expectation((CHAIN.torsions(wt.x)[:, 0].abs() < math.pi / 2).double())
        z.append((share - CHAIN.share(CHAIN.bias_of()[0])) / error)
    z = np.array(z)
    print(f"{way}: mean {z.mean():.2f}, standard deviation {z.std(ddof=1):.2f}, p = {kstest(z, 'norm').pvalue:.3f}")
    assert kstest(z, "norm").pvalue > 0.01


def test_frames_are_turned_at_random():
    """Each component of a bond's direction has mean zero and mean square a third (4 standard errors)."""
    wt = InternalDiffusiveGibbs(CHAIN.target, CHAIN.start).sample(CHAIN.start, 40, n_chains=50, n_warmup=5, seed=6)
    direction = torch.nn.functional.normalize(wt.x[:, 1] - wt.x[:, 0], dim=1)
    assert (direction.mean(0).abs() < 4 / (3 * 2000) ** 0.5).all()
    assert ((direction**2).mean(0) - 1 / 3).abs().max() < 4 * (4 / 45 / 2000) ** 0.5


def test_double_bonds_stay_what_they_are():
    """A torsion with a barrier of 120 kT keeps its side, or is turned freely on request (4 standard errors)."""
    double = TorsionChain(biases=(0.5,), height=120.0)
    assert not InternalDiffusiveGibbs(double.target, double.start).rotatable
    sampler = InternalDiffusiveGibbs(double.target, double.start, noise_scales=[0.1])
    wt = sampler.sample(double.start, 20, n_chains=20, n_warmup=10, seed=7)
    assert not sampler.rotatable and (double.torsions(wt.x).cos() < 0).all()
    turned = double.coordinates.to_internal(double.start[None])
    turned[:, double.coordinates.torsions] += math.pi
    with pytest.raises(ValueError, match="other stereoisomers"):
        sampler.sample(double.coordinates.to_cartesian(turned), 1)
    free = InternalDiffusiveGibbs(double.target, double.start, chirality="free")
    wt = free.sample(double.start, 40, n_chains=192, n_warmup=60, seed=7)
    share, error = wt.expectation((double.torsions(wt.x)[:, 0].cos() > 0).double())
    assert error < 0.04 and abs(share - double.share(0.5)) < 4 * error


def test_atoms_in_a_line():
    """⟨1 + cos θ⟩ of a straight angle of constant k is kT/k: 4 standard errors."""
    system, topology = openmm.System(), CHAIN.target.topology
    bond, angle, constant = openmm.HarmonicBondForce(), openmm.CustomAngleForce("300*(1 + cos(theta))"), 300.0
    for k in range(6):
        system.addParticle(12)
        if k:
            bond.addBond(k - 1, k, 0.15, 30000.0)
        if k > 1:
            angle.addAngle(k - 2, k - 1, k, [])
    system.addForce(bond)
    system.addForce(angle)
    x = torch.zeros(6, 3, dtype=torch.float64)
    x[:, 0] = 0.15 * torch.arange(6)
    target = OpenMMTarget(system, 300 * unit.kelvin, topology, positions=x.numpy())
    wt = InternalDiffusiveGibbs(target, x).sample(x, 35, n_chains=192, n_warmup=60, seed=8)
    z = CHAIN.coordinates.to_internal(wt.x)
    value, error = wt.expectation(1 + z[:, CHAIN.coordinates.angles.start].cos())
    exact = 8.31446261815324e-3 * 300 / constant
    assert error < 0.05 * exact and abs(value - exact) < 4 * error


def test_rigid_molecules_get_hamiltonian_steps():
    """⟨u⟩ of bonds and angles alone, by parts: ⟨E⟩/kT of five atoms near 9/2 (4 standard errors and 5 %)."""
    target, x = tetrahedron()
    sampler = InternalDiffusiveGibbs(target, x)
    assert [type(kernel) for kernel in sampler.kernels] == [HamiltonianKernel]
    wt = sampler.sample(x, 100, n_chains=64, n_warmup=50, seed=9)
    value, error = wt.expectation(wt.reduced_potential)
    assert error < 0.1 and abs(value - 4.5) < 4 * error + 0.05 * 4.5


def test_missing_bonds_are_told():
    import mdtraj as md

    topology = md.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    atoms = [topology.add_atom(f"C{k}", md.element.carbon, residue) for k in range(6)]
    for k in (0, 1, 3, 4):
        topology.add_bond(atoms[k], atoms[k + 1])
    target = OpenMMTarget(CHAIN.target.system, 300 * unit.kelvin, topology, positions=CHAIN.start.numpy())
    with pytest.warns(UserWarning, match="lacks 1 bonds that the System has .MOL0-C2–MOL0-C3."):
        InternalDiffusiveGibbs(target, CHAIN.start, noise_scales=[0.1])


def tetrahedron():
    """CHFClBr without anything that tells its mirror images apart."""
    import mdtraj as md

    topology = md.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    names = ("carbon", "hydrogen", "fluorine", "chlorine", "bromine")
    atoms = [topology.add_atom(f"X{k}", getattr(md.element, name), residue) for k, name in enumerate(names)]
    system, bond, angle = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for k in range(5):
        system.addParticle(12)
        if k:
            topology.add_bond(atoms[0], atoms[k])
            bond.addBond(0, k, 0.15, 20000)
        for other in range(1, k):
            angle.addAngle(other, 0, k, math.acos(-1 / 3), 60)
    system.addForce(bond)
    system.addForce(angle)
    x = torch.tensor([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64) * 0.15 / 3**0.5
    return OpenMMTarget(system, 300 * unit.kelvin, topology, positions=x.numpy()), x


@pytest.mark.parametrize("chirality", ["keep", "free"])
def test_chirality(chirality):
    """Noise on the impropers mirrors the centre: never when it is kept, to equal shares when it is free (z < 4)."""
    target, x = tetrahedron()
    impropers = [8.0 if k >= 7 else 0.0 for k in range(9)]
    sampler = InternalDiffusiveGibbs(target, x, noise_scales=[impropers], chirality=chirality)
    wt = sampler.sample(x, 40, n_chains=250, n_warmup=50, seed=4)
    kept = sampler.target.handedness.is_kept(wt.x).double()
    if chirality == "keep":
        assert kept.all() and sampler.n_inverted > 100
    else:
        share, error = wt.expectation(kept)
        assert sampler.n_inverted == 0 and error < 0.05 and abs(share - 0.5) < 4 * error


def test_a_rigid_molecule_gets_hamiltonian_steps():
    """And has the mean energy of chains in Cartesian coordinates (4 combined standard errors)."""
    target, x = tetrahedron()
    sampler, why = recommended_sampler(target, x)
    assert why == "nothing turns or flips: Hamiltonian steps alone"
    assert [kernel.name for kernel in sampler.kernels] == ["HMC"]
    wt = sampler.sample(x, 100, n_chains=40, n_warmup=50, seed=8)
    other = HMC(target, step_size=0.005, n_leapfrog=5).sample(x, 200, n_chains=40, n_warmup=100, thinning=3, seed=9)
    (mean, error), (expected, spread) = (each.expectation(each.reduced_potential) for each in (wt, other))
    assert math.hypot(error, spread) < 0.1 and abs(mean - expected) < 4 * math.hypot(error, spread)


def test_what_cannot_be_sampled_is_refused():
    cluster = load_system("lj13")
    with pytest.raises(ValueError, match="0 bonds"):
        InternalDiffusiveGibbs(cluster.target(), cluster.positions)
    with pytest.raises(ValueError, match="chirality is 'both'"):
        InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, chirality="both")
    with pytest.raises(ValueError, match="noise scale"):
        InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, noise_scales=[-1.0])
    target, x = tetrahedron()
    sampler = InternalDiffusiveGibbs(target, x, noise_scales=[0.1])
    with pytest.raises(ValueError, match="other stereoisomers"):
        sampler.sample(torch.stack([x, -x]), 1)
    with pytest.raises(ValueError, match="flat in the positions"):
        InternalDiffusiveGibbs(target, x * torch.tensor([1.0, 1.0, 1e-3]), noise_scales=[0.1])
    with pytest.raises(ValueError, match="has 2 scales"):
        InternalDiffusiveGibbs(target, x, noise_scales=[[0.1, 0.1]])
    with pytest.raises(ValueError, match="n_trials is -1"):
        InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, n_trials=-1)
    with pytest.raises(ValueError, match="fall from 1"):
        InternalDiffusiveGibbs(CHAIN.target, CHAIN.start, inverse_temperatures=[1.0])
