"""Saved samplers: whole and of one training or refused, and limited in what they allocate."""

import json
import random
import shutil
import warnings

import pytest
import torch

from openmm_diffsampler import (
    IDEM,
    GaussianMixture,
    load_system,
)
from openmm_diffsampler._common.sealed_files import (
    DamagedFileError,
    UnsealedFileWarning,
    file_hash,
    read_tensors,
    sealed_json,
    write_tensors,
)
from openmm_diffsampler.samplers import load_pretrained, load_sampler
from openmm_diffsampler.samplers.allocation_limit import AllocationLimitError, limited_allocation
from openmm_diffsampler.samplers.sampler_files import pretrained_folder

FEW = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 4, "n_draws": 4}
FEW |= {"width": 8, "n_layers": 1, "n_levels": 10}
SHIPPED = [("gmm40", "idem"), ("gmm40", "dikl"), ("dw4", "edg"), ("mw32", "dikl")]


@pytest.fixture
def shipped(tmp_path):
    """A copy of weights that come with the package."""

    def copy(name="gmm40", method="idem"):
        return shutil.copytree(pretrained_folder(name, method), tmp_path / f"{name}-{method}")

    return copy


@pytest.mark.parametrize("name", ["model.safetensors", "sampler.json", "system/system.xml"])
def test_files_that_no_sampler_wrote_are_kept(tmp_path, name):
    sampler = load_pretrained("gmm40", "idem")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match=name.split("/")[0]):
        sampler.save(tmp_path / "out")
    assert mine.read_text() == "mine" and len(list((tmp_path / "out").rglob("*"))) == 1 + ("/" in name)
    for _ in range(2):  # a sampler's own may be replaced
        sampler.save(tmp_path / "new")
    other = tmp_path / "new" / name.replace("sampler.json", "model.safetensors")
    other.parent.mkdir(exist_ok=True)
    other.write_text("mine, put in place of the sampler's")
    with pytest.raises(FileExistsError):
        sampler.save(tmp_path / "new")
    sampler.save(tmp_path / "out", overwrite=True)
    assert len(load_sampler(tmp_path / "out").sample(5, seed=0)) == 5


def edited(folder, **changes):
    """Change entries of sampler.json, and seal it again."""
    path = folder / "sampler.json"
    entries = json.loads(path.read_text()) | changes
    del entries["sha256"]
    path.write_text(sealed_json(entries))


def with_state(folder, change):
    """Change tensors and numbers of the weights, and seal both files again."""
    path = folder / "model.safetensors"
    tensors, entries = read_tensors(path, file_hash(path))
    numbers = json.loads(entries["numbers"])
    change(tensors, numbers)
    write_tensors(path, tensors, entries | {"numbers": json.dumps(numbers)})
    edited(folder, files={path.name: file_hash(path)})


@pytest.mark.parametrize(("name", "method"), SHIPPED)
def test_what_comes_with_the_package_loads_without_a_note(name, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_pretrained(name, method).method == method
        assert load_sampler(pretrained_folder(name, method)).target.name == name


@pytest.mark.parametrize("name", ["gmm40", "alanine-dipeptide-vacuum"])
def test_damaged_files_are_refused_by_name(name, shipped):
    """Flipped bits, bytes that are cut off, taken out or put in: none loads."""
    method = "idem" if name == "gmm40" else "boltzmann"
    target, folder, choose = load_system(name).target(), shipped(name, method), random.Random(0)
    for file in ("sampler.json", "model.safetensors"):
        whole = (folder / file).read_bytes()
        for trial in range(40):
            content, at = bytearray(whole), choose.randrange(len(whole))
            if trial % 4 == 0:
                content = content[:at]
            elif trial % 4 == 1:
                content[at:at] = bytes(choose.randrange(256) for _ in range(choose.randrange(1, 9)))
            elif trial % 4 == 2:
                del content[at : at + choose.randrange(1, 9)]
            else:
                content[at] ^= 1 << choose.randrange(8)
            (folder / file).write_bytes(content)
            try:  # white space alone changes nothing
                unchanged = file == "sampler.json" and json.loads(content) == json.loads(whole)
            except ValueError:
                unchanged = False
            if not unchanged:
                with pytest.raises(DamagedFileError, match=rf"{folder.name}.{file}"):
                    load_sampler(folder, target)
        (folder / file).write_bytes(whole)
    assert load_sampler(folder, target).record["n_steps"] > 0


def test_files_of_two_trainings_are_not_mixed(tmp_path):
    target = GaussianMixture([[0.0, 0.0]], scales=1.0)
    for seed in (0, 1):
        IDEM(target, seed=seed, **FEW).fit(1).save(tmp_path / str(seed))
    shutil.copy(tmp_path / "0" / "model.safetensors", tmp_path / "1")
    with pytest.raises(DamagedFileError, match=r"model.safetensors is damaged, or not the file that was written with"):
        load_sampler(tmp_path / "1", target)


def test_files_of_an_earlier_version_load_with_a_note(shipped):
    folder = shipped()
    entries = json.loads((folder / "sampler.json").read_text())
    old = {name: value for name, value in entries.items() if name not in ("sha256", "files", "system")}
    (folder / "sampler.json").write_text(json.dumps(old, indent=2) + "\n")
    with pytest.warns(UnsealedFileWarning, match=r"model\.safetensors is of an earlier version"):
        loaded = load_sampler(folder)
    assert torch.equal(loaded.sample(20, seed=3).x, load_pretrained("gmm40", "idem").sample(20, seed=3).x)


BAD = {
    "method": [None, 5, "", ["idem"]],
    "preset": [None, 5, "best"],
    "seed": ["0", 0.5, True, 10**30, None],
    "settings": [None, [], {"n_steps": [1]}, {"n_stepz": 1}, {"width": "8"}, {"target": 1}, {"self": 1}, {"width": 0}],
    "target": [None, "gmm40", {}, {"name": "gmm40"}, {"name": 5, "event shape": [2]}],
    "training": [None, {}, {"n_steps": 1, "n_evaluations": 1, "seconds": float("nan")}, {"n_steps": -1}],
    "files": [5, [], {"model.safetensors": 1}, {"model.safetensors": "0" * 64}],
    "system": [5, {}, {"topology": 1, "positions": True}, {"topology": True}],
    "format": [None, 2, True, "1", {}],
}


@pytest.mark.parametrize(("entry", "value"), [(k, v) for k, values in BAD.items() for v in values])
def test_entries_that_make_no_sense_are_refused(entry, value, shipped):
    folder = shipped()
    edited(folder, **{entry: value})
    with pytest.raises(ValueError, match="gmm40-idem") as caught:
        load_sampler(folder)
    assert len(str(caught.value)) < 1000


TEXTS = ["", "[]", "{", "[" * 200_000, '{"format": ' + "[" * 900 + "]" * 900 + "}", "9" * 9999]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text_that_is_no_description_is_refused(text, shipped):
    folder = shipped()
    (folder / "sampler.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"sampler\.json"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsealedFileWarning)
        load_sampler(folder)


@pytest.mark.parametrize("shape", [[32], [2, 1], [3], []])
def test_another_shape_is_refused(shape, shipped):
    folder = shipped()
    edited(folder, target={"name": "gmm40", "event shape": shape})
    with pytest.raises(ValueError, match="gmm40-idem was trained on 'gmm40' with another event shape"):
        load_sampler(folder)


@pytest.mark.parametrize("name", ["../../x", "/etc", ".hidden", "a/b", "\x07", "~", "a" * 200, "[/red]"])
def test_a_name_from_a_file_is_no_path(name, shipped, tmp_path):
    folder = shipped()
    target = json.loads((folder / "sampler.json").read_text())["target"]
    edited(folder, target=target | {"name": name})
    with pytest.raises((ValueError, FileNotFoundError), match="gmm40-idem") as caught:
        load_sampler(folder)
    assert "\x07" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("method", "name", "changes"),
    [
        ("idem", "gmm40", {"width": 16_384, "n_layers": 1}),
        ("idem", "gmm40", {"width": 10**9}),
        ("dikl", "gmm40", {"score_width": 16_384, "score_layers": 1}),
        ("dikl", "mw32", {"n_blocks": 250, "n_layers": 250, "width": 64}),
        ("edg", "dw4", {"n_leapfrog": 1000, "n_layers": 256, "width": 8}),
    ],
)
def test_crafted_sizes_are_refused_before_they_are_allocated(method, name, changes, shipped, monkeypatch):
    folder = shipped(name, method)
    edited(folder, settings=json.loads((folder / "sampler.json").read_text())["settings"] | changes)
    made = []
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda self: made.append(self.weight.numel()))
    with pytest.raises(DamagedFileError, match=r"sampler\.json holds settings that this version cannot use"):
        load_sampler(folder)
    assert 4 * sum(made) < 2 << 30


def test_the_limit_counts_before_it_allocates():
    with limited_allocation(1 << 20, n_tensors=50):
        torch.zeros(1000), torch.randn((10, 10)), torch.linspace(0, 1, 50), torch.full((3, 4), 1.0), torch.eye(5)
        for make in (
            lambda: torch.empty(10**12),
            lambda: torch.zeros((10**6, 10**6)),
            lambda: torch.randn(size=(10**12,)),
            lambda: torch.full((10**12,), 0.0),
            lambda: torch.eye(10**6),
            lambda: torch.linspace(0, 1, 10**12),
            lambda: torch.arange(10**12),
            lambda: torch.arange(0.0, 1e12),
        ):
            with pytest.raises(AllocationLimitError, match="more than 1 MiB or 50 tensors"):
                make()
    with limited_allocation(1 << 20, n_tensors=50), pytest.raises(AllocationLimitError):
        [torch.zeros(1) for _ in range(51)]
    assert torch.zeros(10**6).numel() == 10**6


def a_nan(tensors, numbers):
    key = next(key for key in tensors if key.startswith("model/") and tensors[key].numel() > 1)
    tensors[key].flatten()[0] = torch.nan


def set_tensor(key, make):
    return lambda tensors, numbers: tensors.update({key: make(tensors[key])})


def set_number(key, value):
    return lambda tensors, numbers: numbers.update({key: value})


PEPTIDE = "alanine-dipeptide-vacuum"
STATES = [
    ("gmm40", "idem", a_nan, "NaN or infinite"),
    (PEPTIDE, "boltzmann", set_tensor("sampling/held out", lambda x: x * torch.nan), "held out.*NaN"),
    (PEPTIDE, "boltzmann", set_tensor("sampling/held out", lambda x: x[:, None]), "held out has shape"),
    ("gmm40", "idem", set_tensor("sampling/tables/size", lambda x: x[:5]), "size has shape"),
    ("gmm40", "idem", set_tensor("sampling/tables/cost", lambda x: x[:1]), "1 levels"),
    ("gmm40", "idem", set_tensor("sampling/tables/cost", lambda x: x.long()), "real numbers"),
    ("gmm40", "idem", set_number("sampling/width", "wide"), "its width is 'wide'"),
    ("gmm40", "idem", set_number("sampling/width", 1e308), "its width is 1e"),
    ("gmm40", "idem", set_number("sampling/tables", 5), "is damaged"),
    ("gmm40", "idem", lambda t, n: n.pop("sampling/width"), "no width"),
    ("gmm40", "idem", lambda t, n: t.pop(next(k for k in t if k.startswith("model/"))), "other entries"),
    ("gmm40", "idem", lambda t, n: [t.pop(k) for k in list(t) if k.startswith("model/")], "no model"),
    ("gmm40", "dikl", set_number("sampling/step size", True), "step size is True"),
    ("gmm40", "dikl", lambda t, n: n.pop("sampling/step size"), "no step size"),
    ("dw4", "edg", set_number("sampling/step sizes", [0.1]), "step sizes"),
    ("dw4", "edg", set_number("sampling/step sizes", [0.1, "x"]), "step size"),
    ("dw4", "edg", set_number("sampling/half", 7), "half"),
    (PEPTIDE, "boltzmann", set_number("sampling/columns/order", [0, 0]), "order of columns"),
    (PEPTIDE, "boltzmann", set_number("sampling/columns/n_circular", 3), "another density"),
    (PEPTIDE, "boltzmann", set_number("sampling/columns/event_shape", [5]), "shape"),
    (PEPTIDE, "boltzmann", set_number("sampling/chirality", "left"), "chirality is 'left'"),
    (PEPTIDE, "boltzmann", set_tensor("sampling/widths", lambda x: -x), "widths are not positive"),
    (PEPTIDE, "boltzmann", set_tensor("sampling/positions", lambda x: x[1:]), "positions has shape"),
    (PEPTIDE, "boltzmann", set_tensor("sampling/columns/scale", lambda x: 0 * x), "no density"),
]


@pytest.mark.parametrize(("name", "method", "change", "match"), STATES)
def test_numbers_that_make_no_sense_are_refused(name, method, change, match, shipped):
    folder = shipped(name, method)
    with_state(folder, change)
    with pytest.raises(DamagedFileError, match=rf"{method}.model\.safetensors.*{match}"):
        load_sampler(folder)
