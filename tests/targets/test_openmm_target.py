"""OpenMMTarget: choice of backend, checks at construction, counting, isolation of bad rows, derivatives."""

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget
from openmm_diffsampler.targets import BackendMismatchError, UnsupportedForceError, openmm_target
from openmm_diffsampler.targets.backends.kernel import KernelBackend, KernelTooLargeError
from openmm_diffsampler.targets.backends.kernel import backend as kernel_backend

from .reference import particles, random_positions, reference

KELVIN = 300 * unit.kelvin
KT = 8.31446261815324e-3 * 300
X = torch.tensor([[[0.0, 0.0, 0.0], [0.2, 0.1, 0.0]]], dtype=torch.float64)

BACKENDS = (
    {"backend": "kernel"},
    {"backend": "kernel", "dtype": torch.float32},
    {"backend": "torch"},
    {"backend": "torch", "dtype": torch.float32},
    {"backend": "openmm", "platform": "Reference"},
    {"backend": "openmm", "platform": "CPU"},
    {"backend": "openmm", "platform": "CPU", "n_contexts": 1},
)


def bond(k=1000.0):
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.15, k)
    return force


def pair(*forces):
    return particles(2, *forces)


def centroid_bond():
    force = openmm.CustomCentroidBondForce(2, "50*(distance(g1,g2)-0.2)^2")
    force.addGroup([0])
    force.addGroup([1])
    force.addBond([0, 1])
    return force


def cutoff(method):
    force = openmm.NonbondedForce()
    for charge in (0.5, -0.5):
        force.addParticle(charge, 0.3, 0.5)
    force.setNonbondedMethod(method)
    return force


def start(molecule):
    return torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer), dtype=torch.float64)


def test_reduced_potential_is_energy_over_kt():
    target = OpenMMTarget(pair(bond()), KELVIN)
    r = 0.05**0.5
    u, score = target.reduced_potential_and_score(X)
    assert u.item() == pytest.approx(500 * (r - 0.15) ** 2 / KT)
    assert score[0, 1].tolist() == pytest.approx([-1000 * (r - 0.15) / r * c / KT for c in (0.2, 0.1, 0.0)])
    assert (target.backend, target.translation_invariant, target.n_degrees_of_freedom) == ("kernel", True, 3)


@pytest.mark.parametrize("options", BACKENDS, ids=str)
def test_backends_agree_with_openmm(options):
    molecule = load_system("alanine-dipeptide-vacuum")
    target = molecule.target(**options)
    kt = 8.31446261815324e-3 * molecule.temperature.value_in_unit(unit.kelvin)
    x = start(molecule) + random_positions(22, batch=5, scale=0.002)
    energy, forces = reference(molecule.system).energy_and_forces(x)
    u, score = target.reduced_potential_and_score(x)
    exact = options.get("dtype") != torch.float32 and options.get("platform") != "CPU"
    assert torch.allclose(u.double(), energy / kt, rtol=1e-12 if exact else 1e-4)
    assert (score - forces / kt).norm() <= (1e-12 if exact else 1e-4) * (forces / kt).norm()


def test_the_temperature_scales_the_reduced_potential():
    cold, hot = (OpenMMTarget(pair(bond()), t * unit.kelvin) for t in (100, 400))
    assert cold.reduced_potential(X).item() == pytest.approx(4 * hot.reduced_potential(X).item(), rel=1e-12)


def test_auto_takes_closed_forms_for_a_small_molecule_and_says_why():
    target = OpenMMTarget(pair(bond(), openmm.CMMotionRemover()), KELVIN)
    assert target.backend == "kernel" and "closed forms exist for every force" in target.backend_reason
    asked = OpenMMTarget(pair(bond()), KELVIN, backend="openmm", platform="Reference", n_contexts=2)
    assert asked.backend == "openmm" and asked.backend_reason == "as asked for (Reference platform, 2 contexts)"


def test_auto_takes_openmm_for_other_forces_and_says_why():
    target = OpenMMTarget(pair(centroid_bond()), KELVIN)
    assert target.backend == "openmm" and "CustomCentroidBondForce" in target.backend_reason
    expected = 50 * (0.05**0.5 - 0.2) ** 2 / KT
    assert target.reduced_potential(X).item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(UnsupportedForceError, match="CustomCentroidBondForce"):
        OpenMMTarget(pair(centroid_bond()), KELVIN, backend="torch")


@pytest.mark.parametrize("method", [openmm.NonbondedForce.CutoffPeriodic, openmm.NonbondedForce.CutoffNonPeriodic])
def test_cutoffs_go_to_openmm(method):
    system = pair(cutoff(method))
    target = OpenMMTarget(system, KELVIN, positions=X[0].numpy() * 2)
    assert target.backend == "openmm" and "cutoff or periodic" in target.backend_reason
    exact = reference(system).energy_and_forces(2 * X)
    assert target.reduced_potential(2 * X).item() == pytest.approx(exact[0].item() / KT, rel=1e-4)
    with pytest.raises(UnsupportedForceError, match="NonbondedForce uses a cutoff"):
        OpenMMTarget(system, KELVIN, backend="torch", positions=X[0].numpy() * 2)


@pytest.mark.parametrize("slower", ["kernel", "openmm"])
def test_for_large_systems_auto_measures(monkeypatch, slower):
    rates = {KernelBackend: 1.0 if slower == "kernel" else 2.0}
    monkeypatch.setattr(openmm_target, "_SMALL", 1)
    monkeypatch.setattr(openmm_target, "_rate", lambda backend, x: rates.get(type(backend), 1.5))
    target = OpenMMTarget(pair(bond()), KELVIN)
    assert target.backend != slower
    assert "evaluations/s in closed form and 1.5 by OpenMM" in target.backend_reason


def test_what_is_too_large_for_the_kernel_goes_to_torch(monkeypatch):
    molecule = load_system("alanine-dipeptide")
    monkeypatch.setattr(kernel_backend, "_LARGEST_WORKSPACE", 1000)
    target = molecule.target()
    assert target.backend == "torch" and "too many" in target.backend_reason
    with pytest.raises(KernelTooLargeError, match="22 atoms in a generalised Born term"):
        molecule.target(backend="kernel")
    assert load_system("lj13").target().backend == "kernel"


def test_configurations_are_counted():
    target = OpenMMTarget(pair(bond()), KELVIN)
    assert target.n_evaluations == 0
    x = X.repeat(5, 1, 1).requires_grad_()
    target.score(x).sum().backward()
    assert target.n_evaluations == 15  # five energies with forces, five second derivatives of two each
    target.reduced_potential(X)
    assert target.n_evaluations == 16


@pytest.mark.parametrize("backend", ["kernel", "torch", "openmm"])
@pytest.mark.parametrize("kind", ["Cartesian", "internal", "whitened"])
def test_a_product_of_the_hessian_is_two_evaluations_of_every_backend(backend, kind):
    molecule = load_system("alanine-dipeptide-vacuum")
    target = cartesian = molecule.target(backend=backend)
    x = molecule.positions._value[None].repeat(3, 0)
    x = torch.as_tensor(x)
    if kind != "Cartesian":
        target = InternalTarget(cartesian, molecule.positions)
        x = target.from_cartesian(x)
    if kind == "whitened":
        target = WhitenedTarget(target)
        x = target.from_internal(x)
    before = target.n_evaluations, cartesian.n_evaluations
    target.hessian_product(x, torch.ones_like(x))
    assert (target.n_evaluations, cartesian.n_evaluations) == (before[0] + 6, before[1] + 6)


def test_translation_invariance_is_found_out():
    external = openmm.CustomExternalForce("x^2")
    external.addParticle(0, [])
    target = OpenMMTarget(pair(bond(), external), KELVIN)
    assert not target.translation_invariant and target.n_degrees_of_freedom == 6
    assert load_system("alanine-dipeptide").target().translation_invariant


@pytest.mark.parametrize("options", BACKENDS, ids=str)
@pytest.mark.parametrize("name", ["alanine-dipeptide", "lj13"])
def test_bad_rows_stay_alone(name, options):
    molecule = load_system(name)
    target = molecule.target(**options)
    good = start(molecule) + random_positions(len(start(molecule)), batch=20, scale=0.002)
    x = good.clone()
    x[1, 3, 0], x[2, 0, 1] = torch.nan, torch.inf
    x[3, 4] = x[3, 9]
    x[9], x[12], x[17, :, 2] = torch.nan, 0.0, -torch.inf
    bad = [1, 2, 3, 9, 12, 17]
    fine = [k for k in range(20) if k not in bad]
    u, score, valid = target.reduced_potential_and_score(x, return_mask=True)
    assert (~valid).nonzero().flatten().tolist() == bad
    assert u[bad].isposinf().all() and (score[bad] == 0).all()
    alone = target.reduced_potential_and_score(good)
    assert torch.equal(u[fine], alone[0][fine]) and torch.equal(score[fine], alone[1][fine])
    direction = random_positions(good.shape[1], batch=20, scale=1.0, seed=9)
    pairs = [(target.score(y), y) for y in (x.clone().requires_grad_(), good.clone().requires_grad_())]
    products = [torch.autograd.grad(score, y, direction)[0] for score, y in pairs]
    assert torch.equal(products[0][fine], products[1][fine]) and not products[0][bad].any()


@pytest.mark.parametrize("backend", ["kernel", "torch", "openmm"])
def test_derivatives_of_energy_and_score(backend):
    target = OpenMMTarget(pair(bond(50.0)), KELVIN, backend=backend, platform="Reference")
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(target.reduced_potential, x, eps=1e-5, atol=1e-4)
    assert torch.autograd.gradcheck(target.score, x, eps=1e-5, atol=1e-4)
    (score,) = torch.autograd.grad(target.reduced_potential(x), x)
    assert torch.equal(score, -target.score(X))


@pytest.mark.parametrize("backend", ["kernel", "torch", "openmm"])
def test_a_loss_on_the_score_of_a_molecule_has_the_right_gradient(backend):
    molecule = load_system("alanine-dipeptide")
    target = molecule.target(backend=backend, platform="Reference")

    def loss(x):
        u, score = target.reduced_potential_and_score(x)
        return (u + score.square().sum((1, 2)) / 1000).sum()

    x = (start(molecule) + random_positions(22, batch=2, scale=0.002)).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = random_positions(22, batch=2, scale=1.0, seed=8)
    with torch.no_grad():
        slope = (loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


def test_a_third_derivative_is_refused():
    target = OpenMMTarget(pair(bond()), KELVIN)
    x = X.clone().requires_grad_()
    (second,) = torch.autograd.grad(target.score(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice, not three times"):
        second.sum().backward()


def test_scores_come_back_in_the_precision_of_the_positions():
    target = OpenMMTarget(pair(bond()), KELVIN)
    u, score = target.reduced_potential_and_score(X.float())
    assert u.dtype == torch.float64 and score.dtype == torch.float32


def test_without_positions_a_start_is_found():
    target = OpenMMTarget(load_system("lj13").system, load_system("lj13").temperature)
    assert target.backend == "kernel" and target.reduced_potential(start(load_system("lj13"))[None]).isfinite()


def test_positions_may_have_a_unit():
    target = OpenMMTarget(pair(bond()), KELVIN, positions=[[0, 0, 0], [1.5, 0, 0]] * unit.angstrom)
    assert target.event_shape == (2, 3)


def test_a_start_of_infinite_energy_is_refused():
    with pytest.raises(ValueError, match="not finite; give positions without overlapping atoms"):
        OpenMMTarget(pair(cutoff(0)), KELVIN, positions=X[0].numpy() * 0 + 1e300)


@pytest.mark.parametrize("temperature", [300, 300.0, "300"])
def test_a_temperature_needs_a_unit(temperature):
    with pytest.raises(TypeError, match="without a unit"):
        OpenMMTarget(pair(bond()), temperature)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="backend is 'cuda'; supported are 'auto', 'kernel', 'torch', 'openmm'"):
        OpenMMTarget(pair(bond()), KELVIN, backend="cuda")
    with pytest.raises(ValueError, match="backend 'kernel' runs on the CPU, not on meta"):
        OpenMMTarget(pair(bond()), KELVIN, backend="kernel", device="meta")
    with pytest.raises(ValueError, match="topology has 22 atoms and the System 2"):
        OpenMMTarget(pair(bond()), KELVIN, load_system("alanine-dipeptide").topology)
    with pytest.raises(TypeError, match="topology is a str"):
        OpenMMTarget(pair(bond()), KELVIN, "alanine.pdb")
    with pytest.raises(ValueError, match="constraints=None"):
        constrained = pair(bond())
        constrained.addConstraint(0, 1, 0.1)
        OpenMMTarget(constrained, KELVIN)


def test_topologies_of_openmm_become_those_of_mdtraj():
    molecule = load_system("alanine-dipeptide")
    target = OpenMMTarget(molecule.system, KELVIN, molecule.topology, positions=molecule.positions)
    assert target.topology == molecule.mdtraj_topology
    assert OpenMMTarget(pair(bond()), KELVIN).topology is None


@pytest.mark.parametrize("factor", [1.0001, -1.0])
def test_parameters_that_are_translated_wrongly_raise(monkeypatch, factor):
    translate = openmm_target.translate_system

    def corrupted(system):
        table = translate(system)
        for term in table.terms:
            if term.source == "HarmonicBondForce":
                term.parameters["k"] *= factor
        return table

    monkeypatch.setattr(openmm_target, "translate_system", corrupted)
    with pytest.raises(BackendMismatchError, match=r"forces of backend 'kernel' differ.*Reference platform"):
        load_system("alanine-dipeptide").target()
    assert load_system("alanine-dipeptide").target(backend="openmm", platform="Reference").backend == "openmm"


def test_energies_that_are_off_by_a_constant_raise(monkeypatch):
    forgotten = openmm.CustomExternalForce("1")
    forgotten.addParticle(0, [])
    translate = openmm_target.translate_system
    monkeypatch.setattr(openmm_target, "translate_system", lambda system: translate(pair(bond())))
    with pytest.raises(BackendMismatchError, match="energies of backend 'kernel' differ"):
        OpenMMTarget(pair(bond(), forgotten), KELVIN)


def test_identity_tells_systems_apart():
    same = [OpenMMTarget(pair(bond()), KELVIN).identity() for _ in range(2)]
    assert same[0] == same[1]
    others = [OpenMMTarget(pair(bond(999.0)), KELVIN), OpenMMTarget(pair(bond()), 301 * unit.kelvin)]
    assert all(other.identity() != same[0] for other in others)


def test_a_system_that_openmm_cannot_evaluate_is_refused_by_name():
    force = openmm.CustomBondForce("nosuch(r)")
    force.addBond(0, 1, [])
    with pytest.raises(ValueError, match=r"OpenMM cannot evaluate the System of pair: .*nosuch"):
        OpenMMTarget(pair(force), KELVIN, name="pair")
