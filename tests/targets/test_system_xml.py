"""Code in a System's XML: never run unless it is trusted."""

import os
import pickle
import signal
import threading

import openmm
import pytest

from openmm_diffsampler.targets import system_xml
from openmm_diffsampler.targets.system_files import read_molecule
from openmm_diffsampler.targets.system_xml import UntrustedCodeError, plain_xml, system_from_xml


def _system(*forces):
    system = openmm.System()
    for _ in range(2):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return openmm.XmlSerializer.serialize(system)


def _with_variable(force):
    collective = openmm.CustomCVForce("0*a")
    collective.addCollectiveVariable("a", force)
    return collective


def _spring():
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.1, 1000.0)
    return bond


class _Payload:
    """Unpickling it makes a file."""

    def __init__(self, proof):
        self.proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self.proof,)


def _python_force(proof):
    attributes = f'function="{pickle.dumps(_Payload(proof)).hex()}" name="x" usesPeriodic="0" version="2"'
    return f'<Force forceGroup="0" {attributes} type="PythonForce"><GlobalParameters/><Particles/></Force>'


def _inside(text, force):
    return text.replace("<Forces>", f"<Forces>{force}").replace("<Forces/>", f"<Forces>{force}</Forces>")


SPELLINGS = {
    "plain": lambda f: _inside(_system(), f),
    "the root": lambda f: f,
    "decimal reference": lambda f: _inside(_system(), f.replace("PythonForce", "Python&#70;orce")),
    "hexadecimal reference": lambda f: _inside(_system(), f.replace("PythonForce", "Python&#x46;orce")),
    "single quotes": lambda f: _inside(_system(), f.replace('"', "'")),
    "white space": lambda f: _inside(_system(), f.replace('type="', 'type = \n"')),
    "after a comment": lambda f: _inside(_system(), "<!-- <x> -->" + f),
    "another element": lambda f: _inside(_system(), f.replace("<Force ", "<Fork ").replace("</Force>", "</Fork>")),
    "an entity": lambda f: _inside(_system(), f.replace("PythonForce", "&p;")).replace(
        "?>", '?><!DOCTYPE x [<!ENTITY p "PythonForce">]>', 1
    ),
    "in a collective variable": lambda f: _in_variable(f),
    "in a variable of a variable": lambda f: _in_variable(_force_of(_in_variable(f))),
}


def _in_variable(force):
    text = _system(_with_variable(_spring()))
    start = text.index('<Force forceGroup="0" name="HarmonicBondForce"')
    return text[:start] + force + text[text.index("</Force>", start) + len("</Force>") :]


def _force_of(text):
    return text[text.index("<Force ") : text.rindex("</Force>") + len("</Force>")]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_python_force_is_refused_and_not_unpickled(spelling, tmp_path):
    proof = tmp_path / "proof"
    with pytest.raises(ValueError, match=r"trust=True|document type|not a System"):
        system_from_xml(SPELLINGS[spelling](_python_force(proof)))
    assert not proof.exists()


@pytest.mark.parametrize("spelling", ["plain", "in a collective variable"])
def test_a_python_force_that_gets_through_is_not_unpickled(spelling, tmp_path, monkeypatch):
    proof = tmp_path / "proof"
    monkeypatch.setattr(system_xml, "_require_known", lambda kind: None)
    with pytest.raises(UntrustedCodeError, match="pickled Python function"):
        system_from_xml(SPELLINGS[spelling](_python_force(proof)))
    assert not proof.exists()


def test_who_trusts_the_author_gets_the_force(tmp_path):
    proof = tmp_path / "proof"
    system_from_xml(SPELLINGS["plain"](_python_force(proof)), trust=True)
    assert proof.exists()


def test_the_folder_is_refused_with_its_name(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "system.xml").write_text(SPELLINGS["plain"](_python_force(proof)))
    atoms = [f"HETATM{i + 1:5d}  C{i + 1}  LIG A   1      {i:6.3f}   0.000   0.000\n" for i in range(2)]
    (tmp_path / "topology.pdb").write_text("".join(atoms))
    with pytest.raises(UntrustedCodeError, match=r"system\.xml holds a 'PythonForce'.*--trust"):
        read_molecule(tmp_path)
    assert not proof.exists()
    assert read_molecule(tmp_path, trust=True)[0].getNumForces() == 1 and proof.exists()


def test_forces_of_plugins_are_refused():
    text = _system(_spring()).replace('type="HarmonicBondForce"', 'type="TorchForce"')
    with pytest.raises(UntrustedCodeError, match="holds a 'TorchForce'"):
        system_from_xml(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a>" * 200_000 + "</a>" * 200_000, "nested more than 32 deep"),
        ("<System", "no well-formed XML"),
        ('<System type="System"><Particles>words</Particles></System>', "text 'words' between elements"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><System type="System"/>', "declares a document type"),
    ],
)
def test_what_is_no_system_is_refused_before_openmm_sees_it(text, message, monkeypatch):
    monkeypatch.setattr(openmm.XmlSerializer, "deserialize", lambda text: pytest.fail("openmm saw it"))
    with pytest.raises(ValueError, match=f"cannot be read by openmm .*{message}"):
        system_from_xml(text)


def test_every_force_of_openmm_comes_back_exactly():
    text = _system(_spring(), _with_variable(_spring()), openmm.MonteCarloBarostat(1.0, 300.0))
    assert openmm.XmlSerializer.serialize(system_from_xml(text)) == text


def test_other_threads_unpickle_meanwhile(monkeypatch):
    """Only what the reading thread unpickles is kept from it."""
    seen = []

    def deserialize(text):
        thread = threading.Thread(target=lambda: seen.append(pickle.loads(pickle.dumps({"a": 1}))))
        thread.start()
        thread.join()
        return openmm.System()

    monkeypatch.setattr(openmm.XmlSerializer, "deserialize", deserialize)
    system_from_xml(_system())
    assert seen == [{"a": 1}] and pickle.loads(pickle.dumps(2)) == 2


def test_attributes_are_written_such_that_they_come_back():
    nasty = plain_xml('<a b="&lt;&quot;&amp;&#10;é\'"/>')
    assert plain_xml(nasty) == nasty
    assert "&lt;" in nasty and "&amp;" in nasty


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this platform")
def test_a_fork_while_another_thread_reads_a_system():
    text, reading, done = _system(_spring()), threading.Event(), threading.Event()

    def read():
        with system_xml._no_unpickling():
            reading.set()
            done.wait()

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait()
    before = system_xml._replaced[0]
    child = os.fork()
    if not child:
        signal.alarm(20)
        system_xml.system_from_xml(text)
        os._exit(0 if pickle.loads is before else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert status == 0 and pickle.loads is before
