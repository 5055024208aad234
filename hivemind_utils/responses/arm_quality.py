"""Quality and ideas of arms' responses: from a column, files, judges, or people who labelled some of them."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hivemind_utils.llm import labeling
from hivemind_utils.metrics import interventions, quality
from hivemind_utils.ratings import judges as rating_judges
from hivemind_utils.ratings import scores as rating_scores
from hivemind_utils.responses import ideas as response_ideas
from hivemind_utils.tables import files
from hivemind_utils.tables.wording import counted, listed, lost

N_BAD = 4  # responses to another prompt that a judge grades, of every open-ended prompt


@dataclass(frozen=True)
class Graded:
    """Arms with the quality of their responses, and what is known of the scorer.

    Attributes
    ----------
    asked : interventions.Asked
        With ``quality`` and ``label`` filled in as far as there is any.
    scorers : list of str
        What the quality comes from; empty where there is none.
    is_ranked : bool
        Quality is a rank within the prompt, for the scores have no scale.
    reward_only : bool
        Every scorer is a reward model.
    known_bad : metrics.interventions.Contrast or None
        Quality of responses to other prompts minus that of plain asking.
    self_scored : list of int
        Arms that the scorer itself gave.
    n_unscored : int
        Usable responses without a score.
    problems : list of str
    judges : list of str
        How often each judge gave no valid grade, in a sentence.
    """

    asked: object
    scorers: list
    is_ranked: bool
    reward_only: bool
    known_bad: object
    self_scored: list
    n_unscored: int
    problems: list
    judges: list = dataclasses.field(default_factory=list)

    def describe(self):
        """Say in a sentence where quality comes from."""
        if not self.scorers:
            return "; ".join(["No response has a quality", *self.problems])
        kind = "ranks within prompts" if self.is_ranked else "0 to 1"
        sentence = (
            f"Quality ({kind}) from {listed(self.scorers)}; {counted(self.n_unscored, 'usable response')} without"
        )
        n = int(self.asked.table["label"].notna().sum())
        people = [f"people labelled {counted(n, 'response')}"] if n else []
        return "; ".join([sentence, *people, *self.problems])


def with_ideas(study, asked, judge=None, *, propose_path, assign_path, seed=0, budget_usd=0.0):
    """Fill in the idea of every response: as given with the data, else by a judge.

    Parameters
    ----------
    study : Study
    asked : interventions.Asked
    judge : str or None
        A litellm id.
    propose_path, assign_path : path-like
        The judge's instructions; see `ideas.judge`.
    seed : int
    budget_usd : float

    Returns
    -------
    interventions.Asked
    """
    given = study.read("04_ideas").set_index("response_id")["idea"]
    table = asked.table
    idea, counts = table["response_id"].map(given), None
    if idea.isna().all() and judge is not None:
        usable = table[table["usable"]]
        prompts = study.read("04_prompts").set_index("prompt_id")
        instructions = [labeling.read_instructions(path) for path in (propose_path, assign_path)]
        found, counts = response_ideas.judge(
            usable, prompts, judge, *instructions, files.store_path(study.number, study.profile), n_judged=None,
            seed=seed, budget_usd=budget_usd,
        )  # fmt: skip
        idea = table["response_id"].map(found.set_index("response_id")["idea"])
    asked = asked.with_columns(idea=idea.astype(object).where(idea.notna(), None))
    return dataclasses.replace(asked, judged=counts)


def unlabelled(asked):
    """Say for how many usable responses no idea is known; None where all have one, or nobody was to label any."""
    lacking = asked.table["usable"] & asked.table["idea"].isna()
    if not lacking.any() or (not asked.has("idea") and asked.judged is None):
        return None
    n = int(asked.table["usable"].sum())
    if not asked.has("idea"):
        return f"none of {n:,} usable responses has an idea, though a judge was asked; see why in the takeaways"
    return f"{int(lacking.sum()):,} of {n:,} usable responses have no idea; ideas are counted among the others"


def judges_say(graded):
    """Say how often judges of ideas and of quality gave nothing valid, one sentence each; empty without judges."""
    judged = graded.asked.judged
    ideas = [response_ideas.judge_says(judged, judged["model"], "judge")] if judged else []
    return [*ideas, *graded.judges]


def grade(
    study, asked, *, path=None, columns=None, scale=None, judges=(), instructions="", people_path=None,
    people_columns=(), people_scale=(1, 5), budget_usd=0.0, seed=0,
):  # fmt: skip
    """Fill in the quality of every response.

    Scores come from a file, else the column that came with the responses, else judges; human annotations stay apart.

    Parameters
    ----------
    study : Study
    asked : interventions.Asked
    path : path-like or list of them, optional
        Scores: see `ratings.scores.read`. Several scorers are averaged after scaling.
    columns : dict, optional
        Our name of a column to the file's.
    scale : sequence of two float, optional
        Lowest and highest score of the file or the column; None: scores have no scale, and their ranks count.
    judges : sequence of str
        litellm ids, or ``simulated/<name>``; they grade from 1 to 5.
    instructions : path-like
        What a judge is asked, with ``$prompt`` and ``$response``.
    people_path : path-like, optional
        Labels of people, for some responses.
    people_columns : sequence of str
        Its columns of labels.
    people_scale : sequence of two float
    budget_usd : float
    seed : int

    Returns
    -------
    Graded
    """
    table, problems, kinds, scorers, bad, said = asked.table, [], set(), [], None, []
    values = pd.Series(np.nan, index=table.index)
    if path is not None:
        long = rating_scores.read(path, columns=columns)
        scorers, kinds = sorted(long["scorer"].unique()), set(long["scorer_type"])
        values = _mean_of([_scaled(_matched(part, asked, study), table, scale) for _, part in long.groupby("scorer")])
        if values.isna().all():
            problems.append("no score of the file belongs to a response: check prompt and response")
    elif table["quality"].notna().any():
        scorers, values = ["the column `quality`"], _scaled(table["quality"].astype(float), table, scale)
    elif judges:
        graded = [_judged(study, asked, name, instructions, budget_usd, seed) for name in judges]
        scorers = [name for name, one in zip(judges, graded, strict=True) if one[0].notna().any()]
        said = [sentence for *_, sentence, _ in graded]
        problems += [sentence for *_, sentence, n_lost in graded if n_lost]
        values, bad, scale = _mean_of([one[0] for one in graded]), _mean_of([one[1] for one in graded]), (1, 5)
    label = pd.Series(np.nan, index=table.index)
    if people_path is not None:
        long = rating_scores.read(people_path, columns=columns, score_columns=list(people_columns))
        label = pd.Series(quality.scale_quality(_matched(long, asked, study), *people_scale), index=table.index)
    lacking = values.isna() & table["usable"] if values.notna().any() else pd.Series(False, index=table.index)
    if values.isna().all():
        scorers = []
    graded = asked.with_columns(quality=values.where(table["usable"]), label=label)
    return Graded(
        asked=graded,
        scorers=list(scorers),
        is_ranked=bool(scorers) and scale is None,
        reward_only=bool(scorers) and kinds == {"reward"},
        known_bad=_known_bad(graded, bad),
        self_scored=_self_scored(asked, scorers),
        n_unscored=int(lacking.sum()),
        problems=problems,
        judges=said,
    )


def powered(graded):
    """Change of quality of every arm from plain asking, where people labelled some responses; None where they did not.

    Prediction-powered: predictions of all responses, corrected by the labels.
    """
    table, asked = graded.asked.table, graded.asked
    if table["label"].notna().sum() < 2 or not graded.scorers or graded.is_ranked:
        return None
    keep = table["quality"].notna() & table["prompt_id"].isin(asked.prompts.loc[asked.open, "prompt_id"])
    keys = {
        key: i
        for i, key in enumerate(asked.arms[["model", "condition", "decoding"]].itertuples(index=False, name=None))
    }
    arm = [keys[key] for key in table[["model", "condition", "decoding"]].itertuples(index=False, name=None)]
    return interventions.powered_contrast(
        table.loc[keep, "quality"], table.loc[keep, "label"], table.loc[keep, "prompt_id"], np.array(arm)[keep],
        asked.arms["direct"],
    )  # fmt: skip


def _matched(long, asked, study):
    """Mean score of every response, by its id, or by its prompt and text."""
    table = asked.table
    if "item_id" in long:
        return table["response_id"].map(long.groupby("item_id")["score"].mean())
    if not {"response"} <= set(long) or not {"prompt", "prompt_id"} & set(long):
        raise ValueError("Scores need `item_id` (a response_id), or `response` with `prompt` or `prompt_id`.")
    prompts = study.read("04_prompts").set_index("prompt_id")["text"]
    by = table["prompt_id"] if "prompt_id" in long else table["prompt_id"].map(prompts)
    means = long.groupby(["prompt_id" if "prompt_id" in long else "prompt", "response"])["score"].mean()
    found = means.reindex(pd.MultiIndex.from_arrays([by, table["text"]]))
    return pd.Series(found.to_numpy(), index=table.index)


def _scaled(values, table, scale):
    if scale is None:
        return pd.Series(quality.rank_quality(values, table["prompt_id"]), index=table.index)
    return pd.Series(quality.scale_quality(values, *scale), index=table.index)


def _mean_of(columns):
    return pd.concat(columns, axis=1).mean(axis=1) if columns else None


def _judged(study, asked, judge, instructions, budget_usd, seed):
    """Grades of all usable responses and of known-bad ones (by prompt), 0 to 1; what is missing, and how many."""
    table, prompts = asked.table, study.read("04_prompts").set_index("prompt_id")["text"]
    own = table.loc[table["usable"], ["response_id", "prompt_id", "text"]].rename(columns={"text": "response"})
    bad = _of_other_prompts(asked)
    items = pd.concat([own, bad], ignore_index=True)
    items["prompt"] = items["prompt_id"].map(prompts)
    found, labels = rating_judges.judge_responses(
        items, judge, "overall", labeling.read_instructions(instructions), budget_usd=budget_usd, seed=seed,
        store_path=files.store_path(study.number, study.profile), progress=False,
    )  # fmt: skip
    means = found.groupby(["prompt_id", "response"])["score"].mean()
    score = means.reindex(pd.MultiIndex.from_frame(items[["prompt_id", "response"]])).to_numpy()
    q = pd.Series(quality.scale_quality(score), index=items["response_id"])
    n_lost = len(labels.failures) + len(labels.missing)
    said = lost(f"The judge {judge}", "valid grade", n_lost, len(items), labels.why)
    by_prompt = q.reindex(bad["response_id"]).groupby(bad["prompt_id"].to_numpy()).mean()
    return table["response_id"].map(q), by_prompt, said, n_lost


def _of_other_prompts(asked):
    """Responses to the next open-ended prompt, plainly asked, as if they were to this one."""
    opened, plain = asked.prompts.loc[asked.open, "prompt_id"].tolist(), np.flatnonzero(asked.arms["direct"] < 0)
    table, rows = asked.table, []
    names = set(asked.arms.loc[plain, "condition"])
    direct = table[table["usable"] & table["condition"].isin(names)]
    for i, prompt_id in enumerate(opened if len(opened) > 1 else []):
        other = direct[direct["prompt_id"] == opened[(i + 1) % len(opened)]].head(N_BAD)
        rows += [(f"bad {prompt_id} {k}", prompt_id, text) for k, text in enumerate(other["text"])]
    return pd.DataFrame(rows, columns=["response_id", "prompt_id", "response"])


def _known_bad(graded, bad):
    """Quality of responses to other prompts minus that of plain asking."""
    if bad is None or bad.notna().sum() == 0:
        return None
    table = graded.table
    plain = table[table["condition"].isin(graded.arms.loc[graded.arms["direct"] < 0, "condition"])]
    own = plain["quality"].fillna(0).groupby(plain["prompt_id"]).mean()
    return interventions.mean_contrast((bad - own).dropna().to_numpy())


def _self_scored(asked, scorers):
    """Arms given by a model that is a scorer, by the last part of its name."""
    judges = {name.split(" (")[0].rpartition("/")[2] for name in scorers}
    return [i for i, model in enumerate(asked.arms["model"]) if model.rpartition("/")[2] in judges]
