"""Checkpoints of every method against its schema: the method's own are what it says, and nothing else is."""

import pytest
import torch

from openmm_diffsampler import EDG, IDEM, BoltzmannGenerator, DiKL, DoubleWell, GaussianMixture, load_system
from openmm_diffsampler._common.sealed_files import DamagedFileError
from openmm_diffsampler.samplers.run_checkpoints import RunCheckpoints
from openmm_diffsampler.samplers.schemas import (
    Choice,
    Entries,
    Maybe,
    Number,
    Numbers,
    Shape,
    Whole,
    like,
    require_schema,
)
from openmm_diffsampler.samplers.state_files import load_state, save_state
from openmm_diffsampler.samplers.training import Training
from tests.samplers import small_dikl, small_edg

EXPLORED = {"n_chains": 16, "n_warmup": 2, "width": 8, "n_layers": 1, "batch_size": 32, "n_refresh": 16}
REFRESHED = {"n_draws": 2, "buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "width": 8}
METHODS = {
    "idem": lambda target: IDEM(target, **REFRESHED),
    "boltzmann": lambda target: BoltzmannGenerator(target, n_exploration=60_000, scale=6.0, **EXPLORED),
    "dikl": lambda target: DiKL(target, posterior="kept", **small_dikl.FEW),
    "edg": lambda target: EDG(target, n_exploration=30_000, n_chains=16, n_warmup=2, **small_edg.FEW),
}
TARGETS = {
    "density": lambda: GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], scales=0.5),
    "molecule": lambda: load_system("alanine-dipeptide-vacuum").target(),
}


def loaded(sampler, folder):
    run = Training(sampler, 2, None, sampler.precision)
    sampler._set_up(run)
    return RunCheckpoints(folder, run).load()


@pytest.mark.parametrize(
    ("method", "kind"),
    [*((method, "density") for method in METHODS), ("boltzmann", "molecule"), ("edg", "molecule")],
)
def test_a_checkpoint_fits_and_no_part_can_be_left_out_or_be_another(tmp_path, method, kind):
    target = TARGETS[kind]()
    sampler = METHODS[method](target)
    sampler._finish = lambda run: None
    sampler.fit(2, checkpoint=tmp_path)
    assert loaded(METHODS[method](target), tmp_path) is not None
    (path,) = tmp_path.glob("step-*")
    whole, again = load_state(path), METHODS[method](target)
    own = whole["training"]["sampler"]
    for name in own:
        changes = [{name: "x"}, {name: [0.5]}]
        changes += [{}] if name != "log Z" else []  # which there is not before the first estimate
        for change in changes:
            rest = {key: value for key, value in own.items() if key != name}
            save_state(path, whole | {"training": whole["training"] | {"sampler": rest | change}})
            with pytest.raises(DamagedFileError, match="is damaged"):
                loaded(again, tmp_path)


def test_columns_of_particles_have_a_basis(tmp_path):
    sampler = METHODS["boltzmann"](DoubleWell())
    sampler.fit(2, checkpoint=tmp_path)
    assert loaded(METHODS["boltzmann"](DoubleWell()), tmp_path) is not None


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (Number(), [1, -0.5], [None, "1", True, float("nan"), float("inf"), [1.0]]),
        (Number(is_finite=False), [float("inf"), float("nan")], [None, True]),
        (Whole(1, 5), [1, 5], [0, 6, 2.0, True, "2"]),
        (Choice(("keep", "free")), ["keep"], ["other", None, 1]),
        (Numbers((2, 3)), [[2, 3]], [[3, 2], [2], (2, 3), [2.0, 3.0]]),
        (Numbers((0, 1), is_ordered=False), [[1, 0]], [[0, 0], [0, "1"]]),
        (Maybe(Whole()), [None, 3], ["3"]),
        (Entries(), [{}, {"a": 1}], [None, [1]]),
        ([Whole(), Maybe(Number())], [[1, None]], [[1], [None, 1], 5]),
        ({"a": Whole(), "b": Maybe(Whole())}, [{"a": 1}, {"a": 1, "b": None}], [{}, {"b": 1}, {"a": 1, "c": 1}, 3]),
        (Shape((2, "n", "n")), [torch.zeros(2, 3, 3)], [torch.zeros(2, 3, 4), torch.zeros(2, 3), 1.0]),
        (Shape((2, ...)), [torch.zeros(2), torch.zeros(2, 5)], [torch.zeros(3), torch.zeros(())]),
        (Shape((2,)), [torch.zeros(2).double()], [torch.zeros(2).long()]),
        (Shape((2,), None, 0.0), [torch.zeros(2)], [-torch.ones(2), torch.full((2,), torch.nan)]),
        (like({"x": torch.zeros(2)}), [{"x": torch.ones(2)}], [{"x": torch.ones(2).double()}, {"x": torch.ones(1)}]),
    ],
)
def test_what_a_schema_lets_through(schema, right, wrong):
    for value in right:
        require_schema(value, schema, "value")
    for value in wrong:
        with pytest.raises(ValueError, match=r"its value|it "):
            require_schema(value, schema, "value")
