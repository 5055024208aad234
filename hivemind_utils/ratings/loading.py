"""Human annotations as notebooks 08 and 09 need them: checked labels, described items, arrays for the statistics."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.metrics import agreement
from hivemind_utils.metrics.contested import contested_set
from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.tables import files, parquet, reading, wording
from hivemind_utils.tables.schema import empty
from hivemind_utils.tables.study import NothingToMeasureError
from hivemind_utils.tables.wording import counted

ITEM_NAMES = {"absolute": "ratings", "pairs": "pairs"}
_TABLES = {"absolute": "08_ratings", "pairs": "08_pairs"}


@dataclass(frozen=True)
class Source:
    """Where the annotations of one type of item come from, and how to read them.

    Attributes
    ----------
    item_type : {"absolute", "pairs"}
    path : str, Path, list of them, or None
        Files, patterns or folders, or the address of a data set. A .yaml is a planted study, which is drawn.
    scale : list
        Values of a label in order, or names of categories.
    level : {"nominal", "ordinal", "interval"}
        How far labels may be compared.
    columns, where, label_columns
        See `labels.read`.
    values : dict
        What stands in the file to the value it means.
    encoding : str
    """

    item_type: str
    path: object
    scale: list
    level: str = "interval"
    columns: dict = field(default_factory=dict)
    where: dict = field(default_factory=dict)
    label_columns: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    encoding: str | None = None

    @property
    def paths(self):
        """The paths as text."""
        return [str(p) for p in files.as_list(self.path)]

    @property
    def is_simulated(self):
        """Whether the path is a planted study."""
        return is_simulated(self.path)

    def read(self):
        """Read the files: one row per label."""
        return rating_labels.read(
            files.addresses(self.paths), columns=self.columns, where=self.where, label_columns=self.label_columns,
            encoding=self.encoding,
        )  # fmt: skip


@dataclass(frozen=True)
class AnnotatedItems:
    """Items of one type, ratings of a response or pairs of responses, with all labels.

    Attributes
    ----------
    item_type : {"absolute", "pairs"}
    table : pandas.DataFrame
        Rows of ``08_items``.
    values : ndarray of float, shape (n_items, n_slots)
        Labels; NaN where missing.
    persons : ndarray of int, shape (n_items, n_slots), or None
        Number of the annotator behind every place; None where somebody is unknown.
    names : list of str
        Name of every annotator.
    scale : list
    level : {"nominal", "ordinal", "interval"}
    """

    item_type: str
    table: pd.DataFrame
    values: np.ndarray
    persons: np.ndarray | None
    names: list
    scale: list
    level: str

    def __len__(self):
        """Return the number of items."""
        return len(self.table)

    @property
    def is_pairs(self):
        """Whether the items are pairs of responses."""
        return self.item_type == "pairs"

    @property
    def numbers(self):
        """Values of the scale as numbers."""
        return rating_labels.numbers(self.scale)

    @cached_property
    def counts(self):
        """Annotations per value of the scale, shape (n_items, n_values)."""
        return agreement.label_counts(self.values, self.numbers)

    @cached_property
    def means(self):
        """Human mean of every item."""
        return self.table["mean"].to_numpy(float)

    @cached_property
    def prompts(self):
        """Number of every item's prompt, from 0, in order of first appearance."""
        return pd.factorize(self.table["prompt_id"])[0]

    @property
    def n_prompts(self):
        """Number of prompts."""
        return int(self.prompts.max()) + 1

    @cached_property
    def contested(self):
        """The items of highest entropy, about a third of all; see `contested.contested_set`."""
        return contested_set(self.table["entropy_bits"])

    def where(self, keep):
        """Return the items that a boolean array keeps."""
        keep = np.asarray(keep)
        persons = None if self.persons is None else self.persons[keep]
        table = self.table[keep].reset_index(drop=True)
        return AnnotatedItems(self.item_type, table, self.values[keep], persons, self.names, self.scale, self.level)


@dataclass(frozen=True)
class Annotations:
    """Labels of ratings, of pairs, or of both.

    Attributes
    ----------
    labels : dict of str to pandas.DataFrame
        By type of item: ``08_ratings`` and ``08_pairs``.
    items : pandas.DataFrame
        Table ``08_items``.
    excluded : pandas.DataFrame
        Table ``08_excluded``; empty where annotations were read back.
    scales, levels : dict of str to list, and to str
        By type of item.
    pool : pandas.DataFrame or None
        ``prompt`` and ``response``: all responses from which a study can be designed.
    """

    labels: dict
    items: pd.DataFrame
    excluded: pd.DataFrame
    scales: dict
    levels: dict
    pool: pd.DataFrame | None = None

    @cached_property
    def by_type(self):
        """`AnnotatedItems` by type of item, ratings first."""
        found = {}
        for item_type in rating_labels.ITEM_TYPES:
            at = self.rows(item_type)
            if len(at):
                values, persons, names = rating_labels.matrix(self.labels[item_type], at)
                scale, level = self.scales[item_type], self.levels[item_type]
                found[item_type] = AnnotatedItems(item_type, at, values, persons, names, scale, level)
        return found

    def of(self, item_type):
        """`AnnotatedItems` of one type; None where there are none."""
        return self.by_type.get(item_type)

    def rows(self, item_type):
        """Rows of ``08_items`` of one type; none where there are no such items."""
        return self.items[self.items["items"] == item_type].reset_index(drop=True)

    @property
    def ordered_rows(self):
        """Rows of ``08_items`` of the first type whose labels have an order; none where no labels have one."""
        return self.items.head(0) if self.first is None else self.first.table

    @cached_property
    def ordered(self):
        """`AnnotatedItems` by type of item, those whose labels have an order and a mean."""
        return {item_type: items for item_type, items in self.by_type.items() if items.level != "nominal"}

    @property
    def first(self):
        """Ratings where there are any with an order, else pairs; None where there are none."""
        return next(iter(self.ordered.values()), None)

    def table(self, name):
        """Rows of ``08_ratings`` or ``08_pairs``; an empty table where there are none."""
        item_type = next(t for t, table in _TABLES.items() if table == name)
        return self.labels.get(item_type, empty(name))

    @property
    def counts(self):
        """Per type of item: items, labels used and excluded, annotators of an item; a frame to look at."""
        rows = {}
        for item_type, items in self.by_type.items():
            n = items.table["n"]
            rows[ITEM_NAMES[item_type]] = {
                "items": len(items), "prompts": items.n_prompts, "labels used": len(self.labels[item_type]),
                "labels excluded": int((self.excluded["items"] == item_type).sum()),
                "fewest per item": int(n.min()), "most per item": int(n.max()),
            }  # fmt: skip
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def contested(self):
        """Per type of item: the most contested items, and whether a verdict can rest on them; a frame to look at."""
        rows = {}
        for item_type, items in self.ordered.items():
            found = items.contested
            rows[ITEM_NAMES[item_type]] = {
                "items": len(items), "most contested": int(found.mask.sum()), "share": round(found.share, 3),
                "entropy of at least (bits)": round(found.threshold, 3), "no verdict because": found.reason or "–",
            }  # fmt: skip
        return pd.DataFrame.from_dict(rows, orient="index")

    def describe(self):
        """Say in a sentence what is here."""
        parts = [
            f"{len(items):,} {ITEM_NAMES[item_type]} of {counted(items.n_prompts, 'prompt')}"
            for item_type, items in self.by_type.items()
        ]
        return "; ".join(parts)


def load(study, sources, *, released=False, pool_path=None, simulate=None):
    """Read annotations, check every label and describe every item.

    Parameters
    ----------
    study : Study
        Told where the data come from.
    sources : sequence of Source
        Those without a path are left out.
    released : bool
        Whether the labels were published by the study's authors.
    pool_path : path-like, optional
        All responses of the prompts; a .yaml takes those of the planted study.
    simulate : callable, optional
        ``simulate(path, seed)`` draws a planted study: a dict with the type of item, ``pool`` and ``truth``.

    Returns
    -------
    Annotations

    Raises
    ------
    ValueError
        If no source has a path, or no label of a source is left.
    """
    sources = [source for source in sources if source.path is not None]
    if not sources:
        raise ValueError("There are no annotations to read: set ratings_path or pairs_path.")
    drawn = simulated(study, [source.path for source in sources], simulate)
    labels, items, excluded = {}, [], []
    for source in sources:
        long = rating_labels.unroll(drawn[source.item_type]) if source.is_simulated else source.read()
        made, found, left_out = rating_labels.tabulate(long, source.item_type, source.scale, label_values=source.values)
        if len(made) + len(left_out) != len(long):
            raise AssertionError("Every label must be used or excluded with a reason.")
        values, _, _ = rating_labels.matrix(made, found)
        labels[source.item_type] = made
        items.append(rating_labels.describe(found, values, source.scale, source.level))
        excluded.append(left_out)
    scales = {s.item_type: _plain_scale(s.scale) for s in sources}
    levels = {s.item_type: s.level for s in sources}
    origin = ", ".join(sorted({Path(p).name for source in sources for p in source.paths}))
    kind = "simulated" if drawn else "released" if released else "imported"
    fewest = min(table["prompt_id"].nunique() for table in items)
    study.comes_from(kind, origin, scales=scales, levels=levels, prompts_note=wording.few_prompts(fewest))
    for left_out, made in zip(excluded, labels.values(), strict=True):
        study.partial(rating_labels.off_scale(left_out, len(made) + len(left_out)))
    if drawn:
        parquet.write_truth(drawn["truth"], study.profile, "people")
    items, excluded = (pd.concat(parts, ignore_index=True) for parts in (items, excluded))
    return Annotations(labels, items, excluded, scales, levels, read_pool(pool_path, drawn))


def _plain_scale(scale):
    """Scale with numbers as numbers, also where the profile has them in quotes."""
    values = rating_labels.numbers(scale)
    is_number = not any(isinstance(v, str) and np.isnan(reading.number(v)) for v in scale)
    return [int(v) if float(v).is_integer() else v for v in values] if is_number else list(scale)


def read(study, *, pool_path=None, simulate=None):
    """Read the annotations that notebook 08 wrote.

    Parameters
    ----------
    study : Study
    pool_path, simulate
        See `load`.

    Returns
    -------
    Annotations

    Raises
    ------
    NothingToMeasureError
        If no type of item has labels with an order: there is no human mean that a score could follow.
    """
    items = study.read("08_items")
    labels = {"absolute": study.read("08_ratings"), "pairs": study.read("08_pairs")}
    scales, levels = study.stamp["scales"], study.stamp["levels"]
    ordered = [item_type for item_type, level in levels.items() if level != "nominal"]
    items = items[items["items"].isin(ordered)].reset_index(drop=True)
    if items.empty:
        raise NothingToMeasureError("Labels are categories without an order: there is no mean a score could follow.")
    pool = read_pool(pool_path, simulated(study, [pool_path], simulate) if is_simulated(pool_path) else None)
    return Annotations(labels, items, empty("08_excluded"), scales, levels, pool)


def read_pool(path, drawn=None, encoding=None):
    """All responses to the prompts, from a file or a planted study; None without a path.

    Returns
    -------
    pandas.DataFrame or None
        ``prompt`` and ``response``.
    """
    if path is None:
        return None
    if is_simulated(path):
        return None if not drawn else drawn["pool"]
    pool = pd.concat([reading.read_any(p, encoding) for p in files.addresses(path)], ignore_index=True)
    return reading.with_texts(pool, ["prompt", "response"], Path(str(path)).name)


def simulated(study, paths, simulate):
    """The planted study among some paths, drawn with the notebook's seed; an empty dict where none is one."""
    planted = [p for path in paths for p in files.as_list(path) if is_simulated(p)]
    if not planted:
        return {}
    if simulate is None:
        raise ValueError(f"{planted[0]} is a planted study: pass `simulate`, which draws it.")
    return simulate(files.root() / planted[0], study.seed)


def is_simulated(path):
    """Whether a path, or one of several, is that of a planted study."""
    return any(str(p).endswith((".yaml", ".yml")) for p in files.as_list(path))
