"""What fit, sample, load and the samplers themselves are given: types, targets, order of calls."""

import warnings

import numpy as np
import pytest
import torch

from openmm_diffsampler import (
    EDG,
    IDEM,
    BoltzmannGenerator,
    DiKL,
    DoubleWell,
    GaussianMixture,
    LennardJones,
    ManyWell,
    gmm40,
    load_system,
)
from openmm_diffsampler.samplers import MissedModeWarning, load_sampler
from openmm_diffsampler.samplers.sampler_files import pretrained_folder

FEW = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 4, "n_draws": 4}
FEW |= {"width": 8, "n_layers": 1, "n_levels": 10}
SMALL = {
    IDEM: FEW,
    EDG: {"width": 8, "score_width": 8, "n_layers": 1, "score_layers": 1},
    DiKL: {"width": 8, "score_width": 8, "path_width": 8, "encoder_width": 8},
    BoltzmannGenerator: {"width": 8},
}


def hill():
    return GaussianMixture([[0.0, 0.0]], scales=1.0)


@pytest.fixture(params=SMALL, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def untrained(kind):
    return kind(hill(), **SMALL[kind])


def test_before_training(untrained, tmp_path):
    assert untrained.diagnosis().endswith(".")
    for weights in ("auto", *untrained.weight_kinds, None):
        with pytest.raises(RuntimeError, match=r"has not been trained; call fit\(\) first"):
            untrained.sample(3, weights)
    untrained.save(tmp_path)
    loaded = load_sampler(tmp_path, untrained.target)
    assert loaded.diagnosis().endswith(".") and loaded.record["n_steps"] == 0
    with pytest.raises(RuntimeError, match="has not been trained"):
        loaded.sample(3)
    for ours, theirs in zip(untrained.average.parameters(), loaded.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_sampler_that_was_loaded_says_that_nothing_is_known_of_its_training():
    for name, method in (("gmm40", "idem"), ("gmm40", "dikl"), ("alanine-dipeptide-vacuum", "boltzmann")):
        loaded = load_sampler(pretrained_folder(name, method))
        assert loaded.diagnosis().startswith("Nothing is known of its training")


CALLS = [
    (lambda sampler, **given: sampler.fit(**given), ("n_steps", "checkpoint_every", "metrics_every")),
    (lambda sampler, **given: sampler.sample(**({"n": 5} | given)), ("n", "batch_size", "seed")),
    (lambda sampler, **given: type(sampler)(sampler.target, **given), ("seed",)),
]
NUMBERS = [(call, name) for call, names in CALLS for name in names]


@pytest.mark.parametrize(("call", "name"), NUMBERS, ids=[name for _, name in NUMBERS])
def test_what_is_no_whole_number_is_refused_by_name(call, name, untrained):
    for value in ("5", 2.5, True, [5], float("nan"), np.float64(5.0), 1j):
        with pytest.raises(TypeError, match=f"^{name} is .*; it must be an integer$"):
            call(untrained, **{name: value})
    for value in (-(10**30), 10**5000) if name == "seed" else (0, -1, 10**30):
        with pytest.raises(ValueError, match=f"^{name} is .*; it must be at (least|most)"):
            call(untrained, **{name: value})
    assert untrained.record["n_steps"] == 0


def test_whole_numbers_of_numpy_pass():
    sampler = IDEM(hill(), seed=np.int64(3), **FEW)
    assert type(sampler.seed) is int
    sampler.fit(np.int32(2), metrics_every=np.int64(1))
    wt = sampler.sample(np.int64(4), seed=np.uint8(1), batch_size=np.int16(2), n_levels=np.int64(5))
    assert torch.equal(wt.x, sampler.sample(4, seed=1, batch_size=2, n_levels=5).x)


@pytest.mark.parametrize("name", ["checkpoint", "metrics"])
def test_a_folder_is_a_path(name, untrained):
    with pytest.raises(TypeError, match=f"^{name} is 5; give the path of a folder"):
        untrained.fit(1, **{name: 5})


@pytest.mark.parametrize("value", ["paths", 5, ["path"], np.zeros(3), True, ""])
def test_unknown_weights_are_refused(untrained, value):
    with pytest.raises(ValueError, match=r"^weights is .* supports 'auto'"):
        untrained.sample(5, value)


def test_options_of_sampling_are_bounded():
    sampler = IDEM(hill(), **FEW).fit(2)
    for value in (1, 10**12, 10**5000):
        with pytest.raises(ValueError, match=r"^n_levels is .*; it must be at (least|most)"):
            sampler.sample(5, n_levels=value)
    with pytest.raises(TypeError, match="unknown options"):
        sampler.sample(5, levels=None)


def test_options_that_are_none_leave_the_check_of_missed_modes():
    sampler = IDEM(hill(), **FEW).fit(2)
    sampler.held_out = torch.full((100,), 50.0, dtype=torch.float64)
    for given in (
        {},
        {"n_levels": None},
        {"weights": "path"},
        {"weights": "path", "n_levels": None},
        {"batch_size": 500},
    ):
        with pytest.warns(MissedModeWarning):
            sampler.sample(1000, seed=1, **given)
        assert sampler.diagnostics is not None
    for given in ({"n_levels": 12}, {"weights": None}, {"weights": "ode", "n_steps": 2}):
        with warnings.catch_warnings():
            warnings.simplefilter("error", MissedModeWarning)
            sampler.sample(1000, seed=1, **given)
        assert sampler.diagnostics is None


@pytest.mark.parametrize("target", ["gmm40", None, 5, load_system("lj13"), torch.zeros(3)], ids=type)
def test_what_is_no_target_is_refused(kind, target):
    with pytest.raises(TypeError, match=r"^target is a .*, not a Target; give"):
        kind(target)
    if target is not None:
        with pytest.raises(TypeError, match=r"^target is a .*, not a Target; give"):
            load_sampler(pretrained_folder("gmm40", "idem"), target)


@pytest.mark.parametrize(
    ("name", "method", "make"),
    [
        ("gmm40", "idem", lambda: load_system("lj13").target()),
        ("gmm40", "idem", DoubleWell),
        ("gmm40", "dikl", hill),
        ("lj13", "idem", gmm40),
        ("lj13", "edg", lambda: LennardJones(12)),
        ("mw32", "dikl", lambda: ManyWell(4)),
        ("dw4", "edg", lambda: load_system("alanine-dipeptide-vacuum").target()),
        ("alanine-dipeptide-vacuum", "boltzmann", lambda: load_system("alanine-dipeptide").target()),
        ("alanine-dipeptide-vacuum", "boltzmann", hill),
    ],
)
def test_another_target_is_refused_by_what_differs(name, method, make):
    with pytest.raises(ValueError, match=f"{method} was trained on '{name}' with another "):
        load_sampler(pretrained_folder(name, method), make())


def test_within_inference_mode():
    with torch.inference_mode():
        made_inside = IDEM(hill(), **FEW)
        with pytest.raises(RuntimeError, match=r"made within torch\.inference_mode\(\)"):
            made_inside.fit(1)
        loaded = load_sampler(pretrained_folder("gmm40", "idem"))
        assert loaded.sample(3, seed=1).x.shape == (3, 2)
    outside = IDEM(hill(), **FEW)
    with torch.inference_mode():
        assert outside.fit(1).record["n_steps"] == 1
