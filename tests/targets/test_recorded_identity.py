"""Runs of earlier versions, whose files name a System by a hash of its text, go on; those of another System do not."""

import hashlib
import json
import re

import openmm
import pytest

from openmm_diffsampler import HMC, load_system
from openmm_diffsampler._common.sealed_files import read_tensors, write_tensors
from openmm_diffsampler.targets.recorded_identity import with_hash_of_today


def old_hash(system, version="8.1.2"):
    text = re.sub(r'openmmVersion="[^"]*"', f'openmmVersion="{version}"', openmm.XmlSerializer.serialize(system))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_hash_of_the_text_is_known_and_that_of_another_text_is_not():
    target = load_system("alanine-dipeptide-vacuum").target(backend="torch")
    now = target.identity()
    assert with_hash_of_today(now | {"system": old_hash(target.system)}, target) == now
    other = now | {"system": "0" * 16}
    assert with_hash_of_today(other, target) == other
    for odd in (None, 5, {}, {"system": None}):
        assert with_hash_of_today(odd, target) == odd


def test_a_run_with_the_hash_of_the_text_goes_on(tmp_path):
    target = load_system("alanine-dipeptide-vacuum").target(backend="torch")

    def sample(n_draws):
        chains = HMC(target, step_size=0.001, n_leapfrog=2)
        return chains.sample(target.positions, n_draws, n_warmup=0, checkpoint=tmp_path)

    sample(2)
    for path in sorted(tmp_path.glob("block-*"))[:1]:
        tensors, entries = read_tensors(path)
        run = json.loads(entries["run"])
        run["settings"]["sampler"]["target"]["system"] = old_hash(target.system)
        write_tensors(path, tensors, entries | {"run": json.dumps(run)})
    (tmp_path / "block-00000001-00000002.safetensors").unlink()
    assert len(sample(2)) == 2
    (tmp_path / "block-00000001-00000002.safetensors").unlink()
    run["settings"]["sampler"]["target"]["system"] = "0" * 16
    write_tensors(path, tensors, entries | {"run": json.dumps(run)})
    with pytest.raises(ValueError, match="another sampler"):
        sample(2)
