"""The question of notebook 09: does a scorer lose touch where people differ? Verdicts of kinds and of scorers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hivemind_utils.metrics import calibration, comparison, soft_labels, verdict
from hivemind_utils.metrics.resample import mean_of_known
from hivemind_utils.ratings.loading import ITEM_NAMES
from hivemind_utils.tables.wording import scorer_kind

BASELINES = ("text",)  # text length is a yardstick, not a scorer that could lose touch
COLUMNS = [
    "items", "level", "scorer", "scorer_type", "n", "share", "effective_size", "n_prompts", "rho_full", "rho_contested",
    "r", "e", "kept", "lower", "upper", "p_degrades", "p_holds_up", "expected", "null_lower", "null_upper",
    "verdict", "reason",
]  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """Comparisons of all scorers on the most contested items, and the verdicts of both Holm families.

    Attributes
    ----------
    scored : dict of str to Scored
        By type of item.
    comparisons : dict of str to Comparison
    families : dict of str to FamilyVerdicts
    """

    scored: dict
    comparisons: dict
    families: dict

    @property
    def table(self):
        """Table ``09_verdicts``: kinds first, then scorers, on every type of item."""
        parts = [part for item_type in self.scored for part in self._rows(item_type)]
        return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)

    def band(self, item_type, shown, *, of_kinds=False):
        """Where the correlation on contested items lies for a scorer that loses nothing, beside shown correlations.

        Below the band exactly where the verdict is "degrades".

        Parameters
        ----------
        item_type : str
        shown : ndarray of float, shape (n,)
            Correlations beside which the band is drawn, of the scorers or of the kinds in alphabetical order.
        of_kinds : bool

        Returns
        -------
        lower, expected, upper : ndarray of float, shape (n,)
        """
        family = self.families[item_type]
        compared = family.kind_comparison if of_kinds else self.comparisons[item_type]
        verdicts = family.kind_verdicts if of_kinds else family.scorer_verdicts
        return verdict.band(compared, p_degrades=verdicts.p_degrades, shown=shown)

    def _rows(self, item_type):
        scored, family = self.scored[item_type], self.families[item_type]
        compared, contested = self.comparisons[item_type], scored.items.contested
        full, inside = _correlations(scored)
        n = (contested.mask & ~np.isnan(scored.scores)).sum(1)
        facts = {"items": item_type, "share": contested.share}
        rows = _numbers(compared, family.scorer_verdicts, full, inside, self.band(item_type, inside))
        scorers = scored.scorers.assign(level="scorer", n=n, **facts, **rows)

        members = [_members(scored.kinds == kind, compared) for kind in family.kinds]
        full, inside = (np.array([mean_of_known(values[at]) for at in members]) for values in (full, inside))
        band = self.band(item_type, inside, of_kinds=True)
        rows = _numbers(family.kind_comparison, family.kind_verdicts, full, inside, band)
        names = {"scorer": family.kinds, "scorer_type": family.kinds, "level": "kind"}
        kinds = pd.DataFrame(names).assign(n=[int(n[at].max()) for at in members], **facts, **rows)
        return kinds[~kinds["scorer_type"].isin(BASELINES)], scorers


def judge(scored):
    """Judge all kinds of scorers, and their scorers, on all types of items.

    Parameters
    ----------
    scored : dict of str to Scored
        By type of item.

    Returns
    -------
    Judged
    """
    comparisons = {t: comparison.compare(s.prepared, s.items.contested) for t, s in scored.items()}
    kinds = {t: s.kinds for t, s in scored.items()}
    return Judged(scored, comparisons, verdict.family_verdicts(comparisons, kinds, left_out=BASELINES))


def _correlations(scored):
    """Spearman correlation on all and on the contested items; for pairs over both orders of every pair."""
    masks = np.stack([np.ones(len(scored.items)), scored.items.contested.mask.astype(float)])
    correlate = soft_labels.symmetric_spearman if scored.items.is_pairs else calibration.rank_correlations
    return correlate(scored.scores, scored.items.means, masks)


def _members(own, compared):
    """Scorers whose mean stands for a kind: the testable ones, else all."""
    return own & compared.testable if (own & compared.testable).any() else own


def _numbers(compared, verdicts, full, inside, band):
    found = verdict.tests(compared)
    lower, expected, upper = band
    bounds = [np.where(np.isfinite(bound), bound, np.nan) for bound in (found.kept_lower, found.kept_upper)]
    return {
        "effective_size": compared.effective_size,
        "n_prompts": compared.n_prompts,
        "rho_full": full,
        "rho_contested": inside,
        "r": compared.r[0],
        "e": compared.e[0],
        "kept": found.kept,
        "lower": bounds[0],
        "upper": bounds[1],
        "p_degrades": verdicts.p_degrades,
        "p_holds_up": verdicts.p_holds_up,
        "expected": expected,
        "null_lower": lower,
        "null_upper": upper,
        "verdict": verdicts.decision,
        "reason": verdicts.reason,
    }


def shown(verdicts, level="kind"):
    """Rows of ``09_verdicts`` of one level, the columns to look at."""
    columns = ["items", "scorer", "share", "kept", "lower", "upper", "p_degrades", "p_holds_up", "verdict", "reason"]
    return verdicts.loc[verdicts["level"] == level, columns].round(3)


def least_kept(verdicts, item_type):
    """Kind of scorers that keeps the smallest share of its correlation on contested items.

    Parameters
    ----------
    verdicts : pandas.DataFrame
        Table ``09_verdicts``.
    item_type : str

    Returns
    -------
    tuple of (str, float, float, float)
        What the number is, its value, and the bounds of its interval; NaN where no kind is testable.
    """
    at = verdicts[(verdicts["items"] == item_type) & (verdicts["level"] == "kind")]
    at = at[(at["verdict"] != verdict.NOT_TESTABLE) & at["kept"].notna()]
    if at.empty:
        return "share of the correlation kept on contested items", np.nan, np.nan, np.nan
    row = at.nsmallest(1, "kept").iloc[0]
    label = f"share of the correlation that {scorer_kind(row['scorer_type'])} keep on contested {ITEM_NAMES[item_type]}"
    return label, *(float(row[name]) for name in ("kept", "lower", "upper"))
