"""Which bonds are double or locked, and what that keeps; orders of symmetric rotors."""

import math
import os
import subprocess
import sys

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.coordinates import InternalTarget, rotor_orders
from openmm_diffsampler.coordinates.axes import crowded_axes
from openmm_diffsampler.coordinates.double_bonds import double_bonds
from openmm_diffsampler.coordinates.graph import refined_colours

from .molecules import topology


def with_hydrogens(elements, bonds, hydrogens):
    """Elements with so many hydrogens on each, and all bonds."""
    elements, bonds = list(elements), list(bonds)
    for atom, count in enumerate(hydrogens):
        for _ in range(count):
            bonds.append((atom, len(elements)))
            elements.append("H")
    return topology((elements, bonds))


def chain(elements, hydrogens, branches=()):
    """Atoms in a line, and further (element, atom that it is on) with no hydrogens."""
    bonds = [(k, k + 1) for k in range(len(elements) - 1)] + [
        (atom, len(elements) + k) for k, (_, atom) in enumerate(branches)
    ]
    return with_hydrogens([*elements, *(e for e, _ in branches)], bonds, hydrogens)


RING = [(k, (k + 1) % 6) for k in range(6)]
BIPHENYL = [*RING, *((a + 6, b + 6) for a, b in RING), (0, 6)]

KINDS = {
    "oxime": (chain("CCNO", (3, 1, 0, 1)), {(1, 2)}),
    "hydrazone": (chain("CCNN", (3, 1, 0, 2)), {(1, 2)}),
    "azo": (chain("CNNC", (3, 0, 0, 3)), {(1, 2)}),
    "2-butene": (chain("CCCC", (3, 1, 1, 3)), {(1, 2)}),
    "amide": (chain("CCNC", (3, 0, 1, 3), [("O", 1)]), set()),
    "ester": (chain("CCOC", (3, 0, 0, 3), [("O", 1)]), set()),
    "urea": (chain("NCN", (2, 0, 2), [("O", 1)]), set()),
    "carbamate": (chain("NCOC", (2, 0, 0, 3), [("O", 1)]), set()),
    "enamine": (chain("CCN", (2, 1, 2)), {(0, 1)}),
    "butadiene": (chain("CCCC", (2, 1, 1, 2)), {(0, 1), (2, 3)}),
    "acrolein": (chain("CCCO", (2, 1, 1, 0)), {(0, 1)}),
    "guanidinium": (chain("NCN", (2, 0, 2), [("N", 1)]), set()),
    "biphenyl": (with_hydrogens("C" * 12, BIPHENYL, [0, 1, 1, 1, 1, 1] * 2), set()),
    "styrene": (with_hydrogens("C" * 8, [*RING, (0, 6), (6, 7)], [0, 1, 1, 1, 1, 1, 1, 2]), {(6, 7)}),
}


@pytest.mark.parametrize("name", KINDS)
def test_double_bonds_from_the_topology(name):
    built, expected = KINDS[name]
    assert double_bonds(built) == {frozenset(bond) for bond in expected}


def test_axes_are_looked_at_where_they_are_crowded():
    ortho = [(1, 12), (5, 13), (7, 14), (11, 15)]
    crowded = topology(("C" * 12 + "F" * 4, BIPHENYL + ortho))
    assert crowded_axes(crowded) == [(0, 6)]
    assert not crowded_axes(KINDS["biphenyl"][0])
    assert not crowded_axes(topology(("C" * 12 + "F", BIPHENYL + ortho[:1])))


def biaryl(size):
    """Two flat six-rings with a repulsive atom on each of the four carbons beside the axis; `size` in nm."""
    ring = [(0.14 * math.cos(a), 0.14 * math.sin(a)) for a in (math.pi / 3 * k for k in range(6))]
    x = [(0.075 + 0.14 - u, v, 0.0) for u, v in ring] + [(-0.075 - 0.14 + u, 0.0, v) for u, v in ring]
    ortho = [(1, 12), (5, 13), (7, 14), (11, 15)]
    for carbon, _ in ortho:
        centre = 0.215 if carbon < 6 else -0.215
        x.append(tuple(c + 1.2 * (c - m) for c, m in zip(x[carbon], (centre, 0.0, 0.0), strict=True)))
    bonds = BIPHENYL + ortho
    built = topology(("C" * 12 + "F" * 4, bonds))
    system = openmm.System()
    for _ in x:
        system.addParticle(15.0)
    stretch, bend = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    flat = openmm.CustomTorsionForce("k*sin(theta)^2; k=60")
    near = openmm.CustomNonbondedForce("4*(s/r)^12; s=size")
    near.addGlobalParameter("size", size)
    for _ in x:
        near.addParticle([])
    place = torch.tensor(x, dtype=torch.float64)
    bonded = {i: {a + b - i for a, b in bonds if i in (a, b)} for i in range(16)}
    for a, b in bonds:
        stretch.addBond(a, b, float((place[a] - place[b]).norm()), 2e5)
        for i in bonded[a] - {b}:
            for j in bonded[b] - {a}:
                if (a, b) != (0, 6):
                    flat.addTorsion(i, a, b, j)
    for i, ends in bonded.items():
        for a in ends:
            for b in ends:
                if a < b:
                    bend.addAngle(a, i, b, 2 * math.pi / 3, 500.0)
    near.createExclusionsFromBonds(bonds, 3)
    for force in (stretch, bend, flat, near):
        system.addForce(force)
    target = OpenMMTarget(system, 300 * unit.kelvin, built, positions=place.numpy())
    return target, place


def test_locked_axes_are_held_on_their_side_and_others_turn():
    target, x = biaryl(0.3)
    internal = InternalTarget(target, x)
    internal.hold_isomers()
    (bond,) = internal.held_bonds
    assert bond.atoms == (0, 6) and str(bond).startswith("C0–C6 (axis, ")
    assert internal.held == [bond.column] and not internal.turning
    z = internal.coordinates.to_internal(internal.positions[None].double()).repeat(4, 1)
    start = z[0, bond.column].item()
    side = math.copysign(math.pi / 2, math.sin(start))
    z[:, bond.column] = torch.tensor([start, side + 1.5, side - 1.5, -side])
    kept = internal.is_kept(internal.coordinates.place(z), z)
    assert kept.tolist() == [True, True, True, False]
    small = InternalTarget(*biaryl(0.1))
    small.hold_isomers()
    assert not small.held and len(small.turning) == 1


def test_the_switch():
    target, x = biaryl(0.1)
    told = InternalTarget(target, x, isomers=[(6, 0)])
    told.hold_isomers()
    assert [str(bond) for bond in told.held_bonds] == ["C0–C6 (as told)"]
    target, x = biaryl(0.3)
    for options in ({"isomers": "free"}, {"chirality": "free"}):
        free = InternalTarget(target, x, **options)
        free.hold_isomers()
        assert not free.held
    both = InternalTarget(target, x, chirality="free", isomers="keep")
    both.hold_isomers()
    assert len(both.held) == 1
    wrong = InternalTarget(target, x, isomers=[(0, 1)])
    with pytest.raises(ValueError, match="no rotatable bond"):
        wrong.hold_isomers()
    with pytest.raises(ValueError, match="isomers is 'some'"):
        InternalTarget(target, x, isomers="some")


def test_rotor_orders_of_branches():
    butyl = with_hydrogens("CCCCCO", [(0, 1), (0, 2), (0, 3), (0, 4), (4, 5)], (0, 3, 3, 3, 2, 1))
    assert rotor_orders(butyl, [(1, 0, 4, 5), (4, 0, 1, 6)]) == [3, 3]
    phenyl = with_hydrogens("C" * 8, [*RING, (0, 6), (6, 7)], [0, 1, 1, 1, 1, 1, 2, 3])
    assert rotor_orders(phenyl, [(1, 0, 6, 7)]) == [2]
    toluene = with_hydrogens("C" * 7, [*RING, (0, 6)], [0, 1, 1, 1, 1, 1, 3])
    assert rotor_orders(toluene, [(1, 0, 6, 12)]) == [6]
    amine = chain("CNCC", (3, 0, 2, 3), [("C", 1)])
    assert rotor_orders(amine, [(0, 1, 2, 3)])[0] == 1


def test_colours_do_not_depend_on_the_hash_seed():
    """Here and in a process with a seed of its own."""
    code = (
        "from openmm_diffsampler import load_system; from openmm_diffsampler.coordinates.graph import refined_colours;"
        "print(refined_colours(load_system('alanine-dipeptide').mdtraj_topology))"
    )
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    call, environment = [sys.executable, "-c", code], os.environ | {"PYTHONHASHSEED": seed}
    there = subprocess.run(call, env=environment, capture_output=True, text=True).stdout
    assert there.strip() == str(refined_colours(load_system("alanine-dipeptide").mdtraj_topology))
