"""Where scores come from: files, judges, models on this machine, endpoints. `collect` asks them all, one after another.

What can be checked is checked before anybody is asked. A scorer that fails or gives nothing usable is counted with its
reason, and the others go on. What a model computed is kept in a file of its own under ``data/<profile>/store``, so that
a run that stopped goes on.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from string import Template

import pandas as pd

from hivemind_utils.llm import completions, gguf_models, gguf_scores, labeling, local_models, providers
from hivemind_utils.ratings import judges as rating_judges
from hivemind_utils.ratings import scores
from hivemind_utils.ratings.loading import is_simulated, simulated
from hivemind_utils.tables import files, ids
from hivemind_utils.tables.study import NothingToMeasureError
from hivemind_utils.tables.wording import counted, listed

LM_KINDS = {"mean_logprob": "lm", "minus_perplexity": "lm perplexity"}  # headline; as published
JUDGE_OPTIONS = ("parameters", "api_base", "aliases", "limits", "prices", "max_repairs")
_PROBLEMS = ["scorer", "item_id", "reason"]
ASKED = ["scorer", "source", "n_asked", "n_scored", "failed", "why"]


@dataclass(frozen=True)
class Job:
    """One scorer, or one file, that is asked for scores.

    Attributes
    ----------
    name : str
    source : str
        How the scores come, as ``09_scores`` says it.
    run : callable
        Returns a frame for `scores.match`, and a frame of problems: scorer, item_id, reason.
    pairs_only : bool
        The scores belong to pairs, not to single responses.
    n_asked : int
        Responses, or pairs, that the scorer is asked about; 0 where nobody is asked.
    """

    name: str
    source: str
    run: Callable
    pairs_only: bool = False
    n_asked: int = 0


@dataclass(frozen=True)
class Request:
    """What sources need to know before they can be asked.

    Attributes
    ----------
    items : pandas.DataFrame
        Table ``08_items``.
    responses : pandas.DataFrame
        From `scores.responses`.
    folder : pathlib.Path
        Where scores and raw replies are kept.
    seed : int
    planted : dict
        The planted study; empty where there is none.
    """

    items: pd.DataFrame
    responses: pd.DataFrame
    folder: object
    seed: int
    planted: dict

    def needs_texts(self, name):
        """Refuse to ask a scorer where no item has a text."""
        if self.responses.empty:
            raise ValueError(f"{name} read responses, but no item has a text: name `response_1` in notebook 08.")


@dataclass(frozen=True)
class Files:
    """Scores that somebody computed; see `scores.read` for the parameters. A .yaml is a planted study."""

    path: object = None
    columns: dict = field(default_factory=dict)
    where: dict = field(default_factory=dict)
    score_columns: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    kinds: dict = field(default_factory=dict)

    def jobs(self, request):
        """Read the files, so that a wrong column is found before a model is asked."""
        if self.path is None:
            return []
        if is_simulated(self.path):
            long = scores.unroll(request.planted["scores"])
        else:
            long = scores.read(
                files.addresses(self.path), columns=self.columns, where=self.where,
                score_columns=self.score_columns, values=self.values, kinds=self.kinds,
            )  # fmt: skip
        name = listed([str(p).rsplit("/", 1)[-1] for p in files.as_list(self.path)])
        return [Job(name, "import", lambda: (long, _no_problems()))]


@dataclass(frozen=True)
class Judges:
    """Language models that grade responses, or compare the two of a pair.

    Attributes
    ----------
    models : list of str
        litellm ids, or ``simulated/<name>``.
    rubrics : list of str
        Keys of `judges.RUBRICS`, with ``prometheus:`` before it in that format; ``pairs`` compares.
    instructions : path-like
        Folder of the rubrics' texts, ``judge_<name>.txt``.
    n_prompts : int or None
        Prompts the judges see, the first by id; None: all.
    votes, probabilities
        See `judges.judge_responses`.
    options : dict
        Some of `JUDGE_OPTIONS`.
    budget_usd : float
    """

    models: list = field(default_factory=list)
    rubrics: list = field(default_factory=lambda: ["overall"])
    instructions: object = "data/reference/instructions"
    n_prompts: int | None = None
    votes: int = 1
    probabilities: bool = False
    options: dict = field(default_factory=dict)
    budget_usd: float = 0.0

    def jobs(self, request):
        """One job per judge and rubric, after checking rubrics, texts and options."""
        if not self.models or not self.rubrics:
            return []
        request.needs_texts("Judges")
        unknown = sorted(set(self.options) - set(JUDGE_OPTIONS))
        if unknown:
            raise ValueError(f"`judge_options` may hold {list(JUDGE_OPTIONS)}, but {unknown} was passed.")
        if self.votes < 1:
            raise ValueError(f"`judge_votes` must be at least 1, but {self.votes} was passed.")
        texts = {rubric: self._text(rubric) for rubric in self.rubrics}
        seen = sorted(request.items["prompt_id"].unique())[: self.n_prompts]
        options = {
            "store_path": request.folder / "09.sqlite", "budget_usd": self.budget_usd, "seed": request.seed,
            "progress": False, **self.options,
        }  # fmt: skip
        responses = request.responses[request.responses["prompt_id"].isin(seen)]
        is_pair = (request.items["items"] == "pairs") & request.items["prompt_id"].isin(seen)
        pairs = request.items[is_pair].dropna(subset=["response_1", "response_2"])
        return [
            self._job(model, rubric, text, pairs if rubric == "pairs" else responses, options)
            for model in self.models
            for rubric, text in texts.items()
            if rubric != "pairs" or len(pairs)
        ]

    def _text(self, rubric):
        name = rubric.removeprefix("prometheus:")
        known = [*sorted(rating_judges.RUBRICS), "pairs"]
        if name not in known or (rubric == "prometheus:pairs"):
            raise ValueError(f"A rubric must be one of {known}, but {rubric!r} was passed.")
        file = "pair" if name == "pairs" else "prometheus" if name != rubric else name
        return labeling.read_instructions(files.root() / self.instructions / f"judge_{file}.txt")

    def _job(self, model, rubric, text, asked, options):
        name = f"{model} ({rubric})"  # as its scores are named

        def run():
            if rubric == "pairs":
                found, labels = rating_judges.judge_pairs(asked, model, text, votes=self.votes, **options)
                return found, unlabelled(labels, name)
            if rubric.startswith("prometheus:"):
                known = {k: v for k, v in options.items() if k not in ("progress", "max_repairs")}
                criterion = rubric.removeprefix("prometheus:")
                return rating_judges.judge_prometheus(asked, model, criterion, text, **known)
            found, labels = rating_judges.judge_responses(
                asked, model, rubric, text, votes=self.votes, probabilities=self.probabilities, **options
            )
            return found, unlabelled(labels, name)

        return Job(name, "judge", run, pairs_only=rubric == "pairs", n_asked=len(asked))


@dataclass(frozen=True)
class LocalModels:
    """Models of the extra `local` on this machine: log-probabilities, and rewards.

    Attributes
    ----------
    language_models, reward_models : list of str
        Hub ids or folders. A language model makes two scorers; see `LM_KINDS`.
    device : str
    """

    language_models: list = field(default_factory=list)
    reward_models: list = field(default_factory=list)
    device: str = "cpu"

    def jobs(self, request):
        """One job per model, after checking that the extra is installed."""
        named = [*self.language_models, *self.reward_models]
        if not named:
            return []
        request.needs_texts("Models")
        of_hub = [name for name in named if not gguf_models.is_gguf(name)]
        lacking = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
        if of_hub and lacking:
            raise ValueError(f"{listed(of_hub)} need {listed(lacking)}: run `make setup-local`.")
        return [
            *(
                _gguf_job(name, request)
                if gguf_models.is_gguf(name)
                else self._job(name, "lm", LM_KINDS, self._language_model(name), request)
                for name in self.language_models
            ),
            *(self._job(n, "reward", {"reward": "reward"}, self._reward_model(n), request) for n in self.reward_models),
        ]

    def _job(self, name, kind, kinds, score, request):
        def run():
            return _long(name, _remembered(name, kind, request, score), kinds), _no_problems()

        return Job(name, "transformers", run)

    def _language_model(self, name):
        model = _once(lambda: local_models.load_language_model(name, device=self.device))
        return lambda prompts, texts: local_models.language_model_scores(*model(), prompts, texts)

    def _reward_model(self, name):
        model = _once(lambda: local_models.load_reward_model(name, device=self.device))
        return lambda prompts, texts: {"reward": local_models.reward_scores(*model(), prompts, texts)}


def _gguf_job(name, request):
    """Job of a model in a GGUF file: its server is started for the job and ended with it."""
    shown = gguf_models.display_name(name)

    def run():
        problems = []

        def ask(prompts, texts):
            values, failed = gguf_scores.scores(name, prompts, texts)
            problems.extend((shown, texts[row][:60], reason) for row, reason in failed.items())
            return values

        with gguf_models.running([name]):
            found = _remembered(gguf_models.identity(name), "lm", request, ask)
        return _long(shown, found, LM_KINDS), pd.DataFrame(problems, columns=_PROBLEMS).drop_duplicates()

    return Job(shown, "transformers", run)


@dataclass(frozen=True)
class Endpoints:
    """Endpoints that echo log-probabilities; see `completions`.

    Attributes
    ----------
    models : dict of str to str
        Name of the model to the address of its endpoint.
    template : str
        The conversation as the model expects it, with ``$prompt`` and ``$response``.
    """

    models: dict = field(default_factory=dict)
    template: str = "User: $prompt\n\nAssistant: $response"

    def jobs(self, request):
        """One job per endpoint, after checking the template and the addresses."""
        if not self.models:
            return []
        request.needs_texts("Endpoints")
        before, found, _ = self.template.partition("$response")
        if not found or "$prompt" not in before:
            raise ValueError("`completion_template` must hold $prompt, and $response after it.")
        wrong = [address for address in self.models.values() if not str(address).startswith(("http://", "https://"))]
        if wrong:
            raise ValueError(f"`completion_models` must name addresses that begin with http, but {wrong} was passed.")
        return [self._job(model, address, request) for model, address in self.models.items()]

    def _job(self, model, address, request):
        before, _, after = self.template.partition("$response")

        def run():
            problems = []

            def ask(prompts, texts):
                prefixes = [Template(before).substitute(prompt=prompt) for prompt in prompts]
                values, failed = completions.echo_scores(model, address, prefixes, texts, suffix=after)
                problems.extend((model, texts[row][:60], reason) for row, reason in failed.items())
                return values

            found = _remembered(f"{model} {address} {self.template}", "completions", request, ask)
            return _long(model, found, LM_KINDS), pd.DataFrame(problems, columns=_PROBLEMS).drop_duplicates()

        return Job(model, "completions", run)


@dataclass(frozen=True)
class Collected:
    """Scores of all scorers, and what is missing.

    Attributes
    ----------
    table : pandas.DataFrame
        Table ``09_scores``.
    excluded : pandas.DataFrame
        Table ``09_excluded``.
    position : dict of str to float
        Per judge of pairs: how far it prefers what comes first, mean over pairs in steps of its scale.
    asked : pandas.DataFrame
        Per scorer that was asked: scorer, source, n_asked (responses or pairs), n_scored, failed (share without a
        score), why (mostly; None where none failed).
    """

    table: pd.DataFrame
    excluded: pd.DataFrame
    position: dict
    asked: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=ASKED))

    @property
    def counts(self):
        """Scores per scorer: a frame to look at."""
        return self.table.groupby(["scorer_type", "scorer", "source"]).size().rename("items").to_frame()

    @property
    def reasons(self):
        """Excluded scores per scorer and reason: a frame to look at."""
        return self.excluded.groupby(["scorer", "reason"]).size().rename("scores").to_frame()


def collect(study, annotations, sources, *, simulate=None):
    """Collect the scores of every source; text length is always among the scorers.

    Parameters
    ----------
    study : Study
        Told that the run is partial where a scorer gives nothing.
    annotations : Annotations
    sources : sequence
        `Files`, `Judges`, `LocalModels`, `Endpoints`.
    simulate : callable, optional
        See `loading.load`.

    Returns
    -------
    Collected

    Raises
    ------
    ValueError, FileNotFoundError
        If a parameter is wrong, before anybody is asked; or if there is no score at all.
    NothingToMeasureError
        If there are scores, but each scorer's are the same for all items, such as those of one item.
    """
    paths = [source.path for source in sources if isinstance(source, Files)]
    planted = simulated(study, paths, simulate)
    items = annotations.items
    request = Request(items, scores.responses(items), study.folder / "store", study.seed, planted)
    jobs = [job for source in sources for job in source.jobs(request)]
    tables, excluded, position, asked = [scores.text_lengths(items)], [], {}, []
    for job in jobs:
        rows, problems = _attempt(job)
        excluded.append(problems)
        asked.append(_asked(job, rows, problems))
        of_job = items[items["items"] == "pairs"] if job.pairs_only else items
        found, left_out = scores.match(rows, of_job, job.source) if len(rows) else (rows, _no_problems())
        excluded.append(_explained(left_out, problems))
        if len(found):
            tables.append(found)
            if "position" in rows:
                position[job.name] = float(rows["position"].mean())
        else:
            excluded.append(_nothing(job, problems, left_out))
    table, constant = scores.usable(tables, items)
    excluded = pd.concat([part for part in (*excluded, constant) if len(part)] or [constant], ignore_index=True)
    excluded = excluded[_PROBLEMS].drop_duplicates(ignore_index=True)
    gave_nothing = excluded[excluded["item_id"] == "all"]
    if table.empty and items.groupby("items").size().max() == 1:
        raise NothingToMeasureError("Only one item was rated: there is no other to compare its score with.")
    if table.empty and set(gave_nothing["reason"]) == {scores.CONSTANT}:
        raise NothingToMeasureError("Every scorer gives all items the same score: none can follow people.")
    if table.empty:
        raise ValueError(f"There is no usable score. {_reasons(gave_nothing)}")
    if len(gave_nothing):
        study.partial(f"{counted(len(gave_nothing), 'scorer')} cannot be compared ({_reasons(gave_nothing)})")
    return Collected(table, excluded, position, pd.DataFrame([row for row in asked if row], columns=ASKED))


def _asked(job, rows, problems):
    """How often a scorer that was asked gave a score, and why not; None where nobody was asked."""
    if not job.n_asked:
        return None
    n_scored = min(int(rows["score"].notna().sum()), job.n_asked) if "score" in rows else 0
    reasons = problems["reason"].dropna()
    why = None if n_scored == job.n_asked else reasons.mode().iat[0] if len(reasons) else "no usable score"
    return job.name, job.source, job.n_asked, n_scored, 1 - n_scored / job.n_asked, why


def _attempt(job):
    """Scores and problems of a job; a failure is a problem of its own, so that the others go on."""
    try:
        return job.run()
    except Exception as error:  # whatever a model, a server or a file does wrong, it is this scorer's alone
        reason = providers.redact(f"failed: {type(error).__name__}: {error}".strip())[:300]
        return pd.DataFrame(), pd.DataFrame([(job.name, "all", reason)], columns=_PROBLEMS)


def _explained(left_out, problems):
    """Add the most common problem to the reasons of scorers without any usable score."""
    if problems.empty:
        return left_out
    commonest = problems["reason"].mode().iloc[0]
    nothing = left_out["item_id"] == "all"
    return left_out.assign(reason=left_out["reason"].where(~nothing, left_out["reason"] + f" ({commonest})"))


def _nothing(job, problems, left_out):
    """Say in one row why a job gave no usable score, unless it is said already."""
    known = pd.concat([problems, left_out])
    if (known["item_id"] == "all").any():
        return _no_problems()
    reason = known["reason"].mode().iloc[0] if len(known) else "no reply"
    return pd.DataFrame([(job.name, "all", f"no usable score: {reason}")], columns=_PROBLEMS)


def _reasons(gave_nothing):
    found = [f"{row.scorer}: {row.reason}" for row in gave_nothing.itertuples()]
    return listed(found) if found else "Set scores_path, judges, language_models, reward_models or completion_models."


def unlabelled(labels, scorer):
    """What a judge did not answer, or not validly, as rows of ``09_excluded``."""
    both = pd.concat([labels.failures[["item_id", "reason"]], labels.missing[["item_id", "reason"]]])
    return both.assign(scorer=scorer)[_PROBLEMS].drop_duplicates()


def _remembered(name, kind, request, score):
    """Scores of every response under one model, from its file or computed."""
    responses = request.responses
    prompts, texts = responses["prompt"].tolist(), responses["response"].tolist()
    slug = files.slug(name.replace("/", "--"))[:60]
    path = request.folder / f"09_{kind}_{slug}-{ids.text_id(name)[:6]}.parquet"

    def compute(rows):
        return score([prompts[row] for row in rows], [texts[row] for row in rows])

    found = scores.remember(path, responses["response_id"].tolist(), compute)
    return responses[["prompt_id", "response"]].join(found.reset_index(drop=True))


def _long(name, table, kinds):
    """Scores of a model as a frame for `scores.match`: a scorer per column."""
    parts = []
    for column, kind in kinds.items():
        scorer = f"{name} (whole conversation)" if kind == "lm perplexity" else name
        part = table[["prompt_id", "response"]].assign(scorer=scorer, scorer_type=kind, score=table[column])
        parts.append(part.assign(raw=part["score"].astype(str)))
    return pd.concat(parts, ignore_index=True)


def _no_problems():
    return pd.DataFrame(columns=_PROBLEMS)


def _once(make):
    """Call `make` at the first call, and give its result at every one."""
    made = []

    def get():
        if not made:
            made.append(make())
        return made[0]

    return get
