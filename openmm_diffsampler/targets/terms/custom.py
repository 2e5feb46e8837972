"""OpenMM's custom forces as terms: their expressions are parsed, differentiated and compiled by sympy."""

import numpy as np
import sympy

from .expressions import ExpressionError, parse_expression, symbol
from .program import compile_program
from .table import VARIABLES, BodyTerm, ComputedValue, EnergyContribution, GBTerm
from .tabulated import read_tabulated_functions

__all__ = ["CUSTOM_TRANSLATORS", "body_term", "gb_term", "global_parameters", "no_cutoff"]

_N_ATOMS = {"distance": 2, "angle": 3, "torsion": 4, "position": 1}


def body_term(geometry, atoms, expression, names, parameters, *, source, functions=None, constants=None):
    """Build a :class:`BodyTerm` from an energy expression in OpenMM's language.

    Arguments:
        geometry: see :class:`BodyTerm`.
        atoms: (n_terms, n_atoms) indices.
        expression: energy in kJ/mol, as text or already read.
        names, parameters: parameter names and their (n_terms, n_names) values.
        source: name of the OpenMM force.
        functions, constants: see :func:`~.expressions.parse_expression`.
    """
    variables = VARIABLES[geometry]
    energy = expression
    if isinstance(expression, str):
        energy = parse_expression(expression, [*variables, *names], functions, constants)
    derivatives = [energy.diff(symbol(v)) for v in variables]
    if geometry == "distance":
        derivatives = [per_distance(derivatives[0])]
    atoms = np.asarray(atoms, dtype=np.int64).reshape(-1, _N_ATOMS[geometry])
    columns = np.asarray(parameters, dtype=float).reshape(len(atoms), len(names)).T
    program = compile_program([energy, *derivatives], variables, names)
    return BodyTerm(geometry, atoms, program, dict(zip(names, np.ascontiguousarray(columns), strict=True)), source)


def per_distance(derivative):
    """(dE/dr)/r with r cancelled term by term, which matters for speed: even powers need no root."""
    return sympy.Add(*[part / symbol("r") for part in sympy.Add.make_args(sympy.factor_terms(derivative))])


def _suffixed(names, ends=(1, 2)):
    return [f"{name}{k}" for k in ends for name in names]


def gb_term(values, energies, parameters, constants, *, source, exclusions=(), functions=None):
    """Build a :class:`GBTerm` from expressions in OpenMM's language.

    Arguments:
        values: (name, kind, expression) of each computed value, kind one of ``"single"``, ``"pair"`` (all pairs) and
            ``"pair without exclusions"``.
        energies: (kind, expression) of each energy term.
        parameters: name → (n_atoms,) values.
        constants, functions: see :func:`~.expressions.parse_expression`.
        exclusions: atom pairs left out of terms of kind ``"pair without exclusions"``.
    """
    names, known = list(parameters), []

    def stage(kind, expression):
        """Whether it is a pair stage, whether exclusions count, the program, and the earlier values it depends on."""
        pair = kind != "single"
        ends = (1, 2) if pair else ("",)
        variables, own = _suffixed(known, ends), _suffixed(names, ends)
        distance = ["r"] if pair else []
        energy = parse_expression(expression, [*distance, *variables, *own], functions, constants)
        depends_on = [name for name in known if any(energy.has(symbol(f"{name}{k}")) for k in ends)]
        slopes = [per_distance(energy.diff(symbol("r")))] if pair else []
        slopes += [energy.diff(symbol(name)) for name in _suffixed(depends_on, ends)]
        program = compile_program([energy, *slopes], [*distance, *variables], own)
        return pair, kind == "pair without exclusions", program, tuple(depends_on)

    computed = []
    for name, kind, expression in values:
        if kind != "single" and known:
            raise ExpressionError(f"computed value {name!r} sums over pairs, which only the first one may do")
        computed.append(ComputedValue(name, *stage(kind, expression)))
        known.append(name)
    contributions = [EnergyContribution(*stage(kind, expression)) for kind, expression in energies]
    exclusions = np.asarray(exclusions, dtype=np.int64).reshape(-1, 2)
    parameters = {name: np.asarray(column, dtype=float) for name, column in parameters.items()}
    return GBTerm(tuple(computed), tuple(contributions), parameters, exclusions, source)


def no_cutoff(force):
    """Why the non-bonded method of `force` is unsupported, or None."""
    if force.getNonbondedMethod() != type(force).NoCutoff:
        return f"{type(force).__name__} uses a cutoff or periodic images (supported: NoCutoff)"
    return None


def global_parameters(force):
    """Global parameters at their default values."""
    return {
        force.getGlobalParameterName(i): force.getGlobalParameterDefaultValue(i)
        for i in range(force.getNumGlobalParameters())
    }


def _custom_bonded(geometry, count, get, parameter_count, parameter_name):
    """Translator of a custom force whose rows are (atoms…, parameters)."""

    def translate(force, table):
        rows = [getattr(force, get)(i) for i in range(getattr(force, count)())]
        names = [getattr(force, parameter_name)(i) for i in range(getattr(force, parameter_count)())]
        atoms, parameters = [row[:-1] for row in rows], [row[-1] for row in rows]
        source = type(force).__name__
        expression, constants = force.getEnergyFunction(), global_parameters(force)
        return [body_term(geometry, atoms, expression, names, parameters, source=source, constants=constants)]

    return translate


def _per_particle(force):
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    rows = np.array([force.getParticleParameters(i) for i in range(force.getNumParticles())], dtype=float)
    return dict(zip(names, rows.reshape(force.getNumParticles(), len(names)).T, strict=True))


def _exclusions(force):
    return [force.getExclusionParticles(i) for i in range(force.getNumExclusions())]


def _interacting_pairs(force):
    """(n, 2) pairs of a CustomNonbondedForce after exclusions; one in several interaction groups counts in each."""
    n = force.getNumParticles()
    excluded = np.zeros((n, n), dtype=bool)
    for i, j in _exclusions(force):
        excluded[i, j] = excluded[j, i] = True
    groups = [force.getInteractionGroupParameters(k) for k in range(force.getNumInteractionGroups())]
    if not groups:
        return np.argwhere(np.triu(~excluded, 1))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for group in groups:
        inside = np.zeros((2, n), dtype=bool)
        for k in (0, 1):
            inside[k, list(group[k])] = True
        interacts = inside[0][:, None] & inside[1] & ~excluded
        interacts &= ~np.tril(interacts.T)  # of (i, j) and (j, i) only the first, and no atom with itself
        pairs.append(np.argwhere(interacts))
    return np.concatenate(pairs)


def _computed_values(force, names, functions, constants):
    """Computed values of a CustomNonbondedForce as expressions of the parameters of particle 1 and of particle 2."""
    definitions = {}
    for i in range(force.getNumComputedValues()):
        value, expression = force.getComputedValueParameters(i)
        parsed = parse_expression(expression, names, functions, constants)
        for k in (1, 2):
            own = {symbol(name): symbol(f"{name}{k}") for name in names}
            definitions[f"{value}{k}"] = parsed.subs(own, simultaneous=True)
    return definitions


def _custom_nonbonded(force, table):
    functions = read_tabulated_functions(force, table.tables)
    constants = global_parameters(force)
    particles = _per_particle(force)
    definitions = _computed_values(force, list(particles), functions, constants)
    names = _suffixed(particles)
    energy = parse_expression(force.getEnergyFunction(), ["r", *names, *definitions], functions, constants)
    energy = energy.subs({symbol(name): value for name, value in definitions.items()}, simultaneous=True)
    pairs = _interacting_pairs(force)
    columns = [column[pairs[:, k]] for k in (0, 1) for column in particles.values()]
    parameters = np.stack(columns, 1) if columns else np.empty((len(pairs), 0))
    return [body_term("distance", pairs, energy, names, parameters, source=type(force).__name__)]


def _custom_gb(force, table):
    kinds = {
        force.SingleParticle: "single",
        force.ParticlePair: "pair without exclusions",
        force.ParticlePairNoExclusions: "pair",
    }
    functions = read_tabulated_functions(force, table.tables)
    values, energies = [], []
    for i in range(force.getNumComputedValues()):
        name, expression, kind = force.getComputedValueParameters(i)
        values.append((name, kinds[kind], expression))
    for i in range(force.getNumEnergyTerms()):
        expression, kind = force.getEnergyTermParameters(i)
        energies.append((kinds[kind], expression))
    return [
        gb_term(
            values,
            energies,
            _per_particle(force),
            global_parameters(force),
            source=type(force).__name__,
            exclusions=_exclusions(force),
            functions=functions,
        )
    ]


def _bond_like(geometry, noun, row):
    names = (f"getNum{noun}s", f"get{noun}Parameters", f"getNumPer{row}Parameters", f"getPer{row}ParameterName")
    return _custom_bonded(geometry, *names)


#: Force class name → (check of the settings, translator); a check returns why they are unsupported, or None.
CUSTOM_TRANSLATORS = {
    "CustomBondForce": (None, _bond_like("distance", "Bond", "Bond")),
    "CustomAngleForce": (None, _bond_like("angle", "Angle", "Angle")),
    "CustomTorsionForce": (None, _bond_like("torsion", "Torsion", "Torsion")),
    "CustomExternalForce": (None, _bond_like("position", "Particle", "Particle")),
    "CustomNonbondedForce": (no_cutoff, _custom_nonbonded),
    "CustomGBForce": (no_cutoff, _custom_gb),
}
