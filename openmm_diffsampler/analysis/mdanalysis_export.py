"""Weighted trajectories as MDAnalysis universes."""

import numpy as np

__all__ = ["to_mdanalysis"]


def to_mdanalysis(wt):
    """The frames in memory as an MDAnalysis Universe in Å, and their weights.

    MDAnalysis knows no weights: every average over frames has to be taken with those returned here, as in the example,
    or from the equally weighted frames of :meth:`WeightedTrajectory.resample`.

    Arguments:
        wt: a WeightedTrajectory with topology.

    Returns:
        (Universe with names, elements, masses, residues, segments and bonds; (n_frames,) weights with sum one).

    Raises:
        TypeError: there is no topology.
        ImportError: MDAnalysis is not installed.

    Example:
        >>> universe, weights = wt.to_mdanalysis()  # doctest: +SKIP
        >>> gyration = [universe.atoms.radius_of_gyration() for _ in universe.trajectory]  # doctest: +SKIP
        >>> wt.expectation(gyration)  # doctest: +SKIP
        Estimate(value=2.5, standard_error=0.01)
    """
    trajectory = wt.trajectory
    try:
        import MDAnalysis
        from MDAnalysis.coordinates.memory import MemoryReader
    except ImportError as error:
        raise ImportError(
            "MDAnalysis is not installed; pip install openmm_diffsampler[mdanalysis], or use wt.trajectory (mdtraj)"
        ) from error
    topology = trajectory.topology
    atoms, residues = list(topology.atoms), list(topology.residues)
    universe = MDAnalysis.Universe.empty(
        len(atoms),
        n_residues=len(residues),
        n_segments=topology.n_chains,
        atom_resindex=[atom.residue.index for atom in atoms],
        residue_segindex=[residue.chain.index for residue in residues],
    )
    elements = [atom.element.symbol if atom.element is not None else "" for atom in atoms]
    for attribute, values in {
        "names": [atom.name for atom in atoms],
        "types": elements,
        "elements": elements,
        "masses": [atom.element.mass if atom.element is not None else 0.0 for atom in atoms],
        "resnames": [residue.name for residue in residues],
        "resids": [residue.resSeq for residue in residues],
        "segids": [chain.chain_id or str(chain.index) for chain in topology.chains],
        "bonds": [(a.index, b.index) for a, b in topology.bonds],
    }.items():
        if len(values):
            universe.add_TopologyAttr(attribute, values)
    angstrom = np.ascontiguousarray(10 * trajectory.xyz, dtype=np.float32)
    universe.load_new(angstrom, format=MemoryReader, order="fac")
    return universe, wt.weights.numpy()
