"""A study's notebook in an empty project, and the demo's annotations and scores."""

from pathlib import Path

import numpy as np
import pytest

from hivemind_utils.demo import annotators
from hivemind_utils.ratings import loading, scores
from hivemind_utils.tables.study import Study

ROOT = Path(__file__).resolve().parents[2]
WORLD = ROOT / "data" / "demo" / "people.yaml"
ABSOLUTE = loading.Source("absolute", WORLD, [1, 2, 3, 4, 5])
PAIRS = loading.Source("pairs", WORLD, [-2, -1, 0, 1, 2])


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Notebook 09 of an empty project, which has the reference data."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reference").symlink_to(ROOT / "data" / "reference")
    monkeypatch.chdir(tmp_path)
    return Study("09", "mine")


class Planted:
    """Annotations and scores of the planted study, with a seed of its own."""

    def __init__(self, seed, sources=(ABSOLUTE, PAIRS)):
        self.drawn = annotators.draw_study(annotators.load_world(WORLD), seed)
        labels, items = {}, []
        for source in sources:
            made, found, _ = loading.rating_labels.tabulate(
                loading.rating_labels.unroll(self.drawn[source.item_type]), source.item_type, source.scale
            )
            values, _, _ = loading.rating_labels.matrix(made, found)
            labels[source.item_type] = made
            items.append(loading.rating_labels.describe(found, values, source.scale, source.level))
        self.annotations = loading.Annotations(
            labels, loading.pd.concat(items, ignore_index=True), loading.empty("08_excluded"),
            {source.item_type: source.scale for source in sources},
            {source.item_type: source.level for source in sources}, self.drawn["pool"],
        )  # fmt: skip
        self.table, _ = scores.match(scores.unroll(self.drawn["scores"]), self.annotations.items, "import")

    @property
    def scored(self):
        """Scores beside the annotations."""
        return scores.scored(self.annotations, self.table)


@pytest.fixture(scope="session")
def planted():
    """Call it with a seed for the planted study."""
    made = {}

    def draw(seed):
        if seed not in made:
            made[seed] = Planted(seed)
        return made[seed]

    return draw


@pytest.fixture
def rng():
    return np.random.default_rng(0)
