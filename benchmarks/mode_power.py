"""How often a planted mode is called stable, by number of responses: writes ``data/reference/mode_power.csv``.

A third of the responses lie around one direction with a given mean cosine, the others around another with 0.35, in 384
dimensions, as an encoder of sentences places them. Sizes below `clustering.UMAP_FROM`, where linkage decides.
"""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import clustering, mode_evidence
from hivemind_utils.tables import files

SIZES, COSINES, N_STUDIES, DIMS, LOOSE = (16, 32, 64, 128, 256), (0.5, 0.6, 0.7, 0.8, 0.9), 40, 384, 0.35


def cone(n, cosine, rng):
    """Unit rows whose mean cosine with each other is about `cosine`."""
    centre, rows = rng.standard_normal(DIMS), rng.standard_normal((n, DIMS))
    centre /= np.linalg.norm(centre)
    rows -= np.outer(rows @ centre, centre)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.sqrt(cosine) * centre + np.sqrt(1 - cosine) * rows


def is_found(n, cosine, rng):
    """Whether the planted mode, or nearly all of it, is a stable mode."""
    inside = max(clustering.MIN_SIZE, n // 3)
    rows = np.vstack([cone(inside, cosine, rng), cone(n - inside, LOOSE, rng)])
    labels = clustering.find_modes(rows, rng)
    held = np.flatnonzero(mode_evidence.evidence(rows, labels, rng).supported)
    planted = np.arange(n) < inside
    return any((planted & (labels == k)).sum() >= 0.75 * (planted | (labels == k)).sum() for k in held)


def main():
    rows = []
    for n in SIZES:
        for cosine in COSINES:
            found = [is_found(n, cosine, np.random.default_rng([n, round(100 * cosine), k])) for k in range(N_STUDIES)]
            rows.append((n, cosine, N_STUDIES, np.mean(found)))
            print(*rows[-1], flush=True)
    table = pd.DataFrame(rows, columns=["n_responses", "mean_cosine", "n_studies", "power"])
    with files.atomic(files.root() / "data" / "reference" / "mode_power.csv") as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
