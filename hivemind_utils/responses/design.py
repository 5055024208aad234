"""What a study asks: its prompts, the models of the registry, the decodings, and the cells these make.

A *cell* is (prompt, model, condition, decoding); a frame of cells has one row per request of the sampler. The condition
is the arm: ``default`` where a prompt is asked as it is.
"""

from dataclasses import dataclass, field

import pandas as pd
from scipy import stats

from hivemind_utils.llm import batches, checks, cost, gguf_models, probes, sampler
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import arm_cells, gathering, registry
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import paraphrases as response_paraphrases
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import files, reading
from hivemind_utils.tables.wording import counted, listed

_MOST = 0.9  # of texts that look like repeated rows
_BY_CHANCE = {True: 0.001, False: 0.02}  # how often draws may look so: of short answers, of longer texts
MOST_OF_PARAPHRASE = 20  # responses to a paraphrase, unless `paraphrasing` says how many


CELL_COLUMNS = [*response_prompts.PROMPT_COLUMNS, "model", "condition", "decoding", "request"]


@dataclass(frozen=True)
class Plan:
    """Who is asked what, and which responses are there without asking.

    Attributes
    ----------
    source, origin : str
        Where the responses come from: one of `schema.SOURCES`, and the files or services in words.
    cells : pandas.DataFrame
        Columns `CELL_COLUMNS`, one row per request; no rows where nobody is asked.
    given : pandas.DataFrame
        Responses that are there already, as `table.tabulate` takes them.
    models, prompts : pandas.DataFrame or None
        Facts about models and prompts.
    human : list of str
        Names in `model` that stand for people.
    asking : dict
        How cells are asked: the options of `sampler.run`.
    paraphrases : pandas.DataFrame
        Table ``04_paraphrases``.
    problems : list of str
        What is missing already, and why.
    arms : dict of str to arms.Arm
        By condition.
    retired : dict of str to str
        Models that are gone, by litellm id, and their last day; see `retired`.
    """

    source: str
    origin: str
    cells: pd.DataFrame
    given: pd.DataFrame
    models: pd.DataFrame | None
    prompts: pd.DataFrame | None
    human: list
    asking: dict
    paraphrases: pd.DataFrame
    problems: list
    arms: dict = field(default_factory=dict)
    retired: dict = field(default_factory=dict)

    def describe(self):
        """Say in a sentence who is asked what."""
        n_cells = len(self.cells[["prompt_id", "model", "condition", "decoding"]].drop_duplicates())
        sizes = arm_cells.sizes(self.cells, self.arms, chains=True)
        asked = sum(size * request.n for size, request in zip(sizes, self.cells["request"], strict=True))
        sentence = (
            f"Source: {self.source} ({self.origin}). {counted(asked, 'response')} asked of "
            f"{counted(self.cells['model'].nunique(), 'model')} in {counted(n_cells, 'cell')}; "
            f"{len(self.given):,} given"
        )
        if len(self.paraphrases):
            accepted = self.paraphrases["same_meaning"].fillna(False).sum()
            sentence += f"; {accepted} of {len(self.paraphrases)} paraphrases accepted"
        return "; ".join([sentence, *self.problems])


def collect_cells(study, paths, *, chosen, layout, facts, calls, asking, paraphrasing=None, simulated=None):
    """Lay out who is asked what, from whatever source the responses of a study come.

    Parameters
    ----------
    study : Study
    paths : path-like, list of them, or None
        Files of responses; a YAML file is a population to simulate; None: models are asked.
    chosen : dict
        What is kept: prompts, models, n_samples; and draw_prompts, where models are asked.
    layout : dict
        How files of responses are read: columns, constants, encoding, human.
    facts : dict
        Facts about models and prompts: models_path, prompts_path, prompt_columns, categories_path.
    calls : dict
        What a model is asked: decodings, per_call, api_bases, arms.
    asking : dict
        How it is asked: budget_usd, limits, prices, seed, batch.
    paraphrasing : dict, optional
        Options of `paraphrases.write`, and n_samples.
    simulated : callable, optional
        ``simulated(study, path, chosen, calls, asking)`` gives the plan of a population's file.

    Returns
    -------
    Plan
    """
    found = answer_files(paths)
    asking = asking | {"store_path": files.store_path(study.number, study.profile)}
    if not found:
        return _asked(study, chosen, facts, calls, asking, paraphrasing)
    if found[0].suffix in (".yaml", ".yml"):
        if simulated is None:
            raise ValueError(f"{found[0].name} is a population to simulate, but nobody simulates it: pass `simulated`.")
        return simulated(study, found[0], chosen, calls, asking)
    return _imported(found, chosen, layout, facts, calls, asking)


def _imported(found, chosen, layout, facts, calls, asking):
    """Plan of a study whose responses are in files."""
    given = response_table.read(found, **{name: layout[name] for name in ("columns", "constants", "encoding")})
    kept = {name: chosen[name] for name in ("prompts", "models", "n_samples")}
    return Plan(
        source="imported",
        origin=", ".join(file.name for file in found),
        cells=no_cells(),
        given=response_table.select(given, **kept),
        models=response_table.read_facts(facts["models_path"], kind="model_kind"),
        prompts=_told_of_prompts(given, facts),
        human=layout["human"],
        asking=asking,
        paraphrases=response_paraphrases.none(),
        problems=[doubled] if (doubled := every_text_twice(given)) else [],
        arms=response_arms.read(calls.get("arms"), asked=False),
    )


def every_text_twice(given):
    """Say that nearly all texts of a model stand twice (or three times, ...) in their cells; None where they do not.

    Such rows are one response each with several scores or filters, and no independent draws.

    Parameters
    ----------
    given : pandas.DataFrame
        From `table.read`.

    Returns
    -------
    str or None

    Notes
    -----
    Case, white space and marks at the end do not make another text. A model is named where at least `_MOST` of its
    texts, in cells with two or more, stand a multiple of k times (k >= 2), and draws would hardly do so: of independent
    draws at most about one count in two is even (one in k a multiple of k), whatever the shares of the texts, and the
    last count of a cell follows from the others. Longer texts hardly repeat by chance, so less is asked of them. All
    texts of a cell alike says nothing: the model may always say that.
    """
    names = ["prompt_id", "prompt", "condition", "decoding"]
    cell = [name for name in names if name in given and given[name].notna().any()]
    if given.empty or not {"response", "model"} <= set(given) or not cell:
        return None
    rows = given[given["response"].notna()]
    texts = rows["response"].astype(str).str.casefold().str.split().str.join(" ").str.rstrip(".!?…")
    times = rows.groupby(["model", *cell, texts], dropna=False).size().rename("n").reset_index()
    times["cell"] = times.groupby(["model", *cell], dropna=False).ngroup()
    times = times[times.groupby("cell")["n"].transform("size") > 1]
    found = {model: doubled for model, own in times.groupby("model") if (doubled := _doubled(own))}
    if not found:
        return None
    said = listed(f"{model}: {share:.0%} of texts {k} times" for model, (k, share) in found.items())
    return (
        f"nearly all texts stand several times in their cells ({said}): these look like repeated rows (one per score "
        "or filter?), not like independent responses; keep one row per response"
    )


def _doubled(times):
    """How often texts stand in their cells, and the share of those that do; None where draws may be the reason."""
    is_short = times["response"].str.split().str.len().median() <= 3
    for k in sorted(set(times["n"]) - {1}, reverse=True):
        is_multiple = times["n"] % k == 0
        free = is_multiple.groupby(times["cell"]).sum().sub(1).clip(lower=0).sum()
        n_free = len(times) - times["cell"].nunique()
        if is_multiple.mean() >= _MOST and stats.binom.sf(free - 1, n_free, 1 / k) < _BY_CHANCE[is_short]:
            return k, float(is_multiple.mean())
    return None


def _asked(study, chosen, facts, calls, asking, paraphrasing):
    """Plan of a study that asks models; a sheet of its prompts for a human check is written next to the tables."""
    prompts = response_prompts.read_prompts(facts["prompts_path"], facts["prompt_columns"])
    if facts["categories_path"]:
        prompts, _ = response_prompts.join_categories(prompts, reading.read_any(facts["categories_path"]))
    if chosen["prompts"] is not None:
        prompts = prompts[prompts["prompt_id"].isin(chosen["prompts"])]
    if chosen["draw_prompts"] is not None:
        prompts = response_prompts.draw_prompts(prompts, chosen["draw_prompts"], study.rng)
    response_prompts.write_sheet(prompts, study.folder / "prompts_to_check.csv")
    models = registry.choose_models(registry.read_registry(facts["models_path"]), chosen["models"])
    asking = asking | {"prices": registry.prices(models, asking["prices"])}
    written, problems, asked = response_paraphrases.none(), [], prompts
    options = calls | {"arms": response_arms.read(calls.get("arms"))}
    if paraphrasing:
        options["n_paraphrase_samples"] = paraphrasing.get("n_samples", MOST_OF_PARAPHRASE)
        writing = {name: value for name, value in paraphrasing.items() if name != "n_samples"}
        at_once = {name: value for name, value in asking.items() if name != "batch"}
        written, problems = response_paraphrases.write(prompts, rng=study.rng, **writing, **at_once)
        asked = pd.concat([prompts, response_paraphrases.accepted(written, prompts)], ignore_index=True)
    if lacking := _without_paraphrases(asked, options["arms"]):
        problems = [*problems, lacking]
    laid_out = cells(asked, models, n_samples=chosen["n_samples"] or 50, **options)
    return Plan(
        source="sampled",
        origin=": ".join(filter(None, ["models asked through litellm", gguf_models.caption(models["litellm_id"])])),
        cells=laid_out,
        given=pd.DataFrame(),
        models=models,
        prompts=prompts.rename(columns={"prompt": "text"}),
        human=[],
        asking=asking,
        paraphrases=written,
        problems=problems,
        arms=options["arms"],
        retired=registry.retired(laid_out, models),
    )


def _told_of_prompts(given, facts):
    """Facts about the prompts of imported responses, with categories joined by text; None where nothing is told."""
    prompts = response_table.read_facts(facts["prompts_path"], facts["prompt_columns"])
    if not facts["categories_path"]:
        return prompts
    if prompts is None or "text" not in prompts:
        texts = given.reindex(columns=["prompt_id", "prompt"]).dropna(axis="columns", how="all")
        texts = texts.rename(columns={"prompt": "text"}).drop_duplicates()
        prompts = texts if prompts is None else prompts.merge(texts, on="prompt_id", how="left")
    named = prompts.reindex(columns=["text", "category"]).assign(prompt=lambda t: t["text"], prompt_kind="original")
    known, _ = response_prompts.join_categories(named, reading.read_any(facts["categories_path"]))
    return prompts.assign(category=known["category"])


def _without_paraphrases(prompts, arms):
    """Say which prompts an arm of other wordings cannot ask; None where it can ask all."""
    if not any("$paraphrase" in arm.user for arm in arms.values()):
        return None
    n = int((~_asked_by_arms(prompts)["prompt_id"].isin(_wordings(prompts).index)).sum())
    return f"{n} prompts have no paraphrase, so the arm that asks in other words lacks them" if n else None


def _wordings(prompts):
    """Paraphrases of every prompt that has some."""
    return prompts[prompts["prompt_kind"] == "paraphrase"].groupby("parent_id")["prompt"].agg(tuple)


def _asked_by_arms(prompts):
    return prompts[prompts["prompt_kind"].isin(["original", "closed"])]


def costs(plan):
    """Table ``04_plan``: what of a `Plan` is stored and missing, and what it would cost."""
    rates = {name: plan.asking.get(name) for name in ("limits", "prices", "batch")}
    return cost_plan(plan.cells, plan.asking["store_path"], arms=plan.arms, gone=plan.retired, **rates)


def run(plan):
    """Ask what of a `Plan` is not stored yet.

    Returns
    -------
    sampler.Outcome
    """
    if plan.cells.empty:
        names = ["wanted", "stored", "added", "unsupported", "missing", "cost_usd"]
        return sampler.Outcome(pd.DataFrame(columns=names), 0.0, {}, {})
    return arm_cells.run(plan.cells, plan.arms, retired=plan.retired, **plan.asking)


def spent(outcome):
    """Say in a sentence what a run cost, and which decodings providers refused, or their servers ignore."""
    refused = "; ".join(f"{model}: {why}" for model, why in outcome.unsupported.items())
    refused = "; ".join(filter(None, [refused, outcome.dishonoured]))
    sentence = f"${outcome.cost_usd:,.4f} spent; {refused or 'no decoding was refused'}"
    sentence += f"; {counted(len(outcome.refused), 'request')} refused for themselves" if outcome.refused else ""
    return "; ".join(filter(None, [sentence, outcome.noted]))


def honoured(plan):
    """Say what servers make of the decodings they are asked for, as far as they were probed.

    Servers of models in GGUF files are, and servers on this machine whose calls cost nothing.

    Parameters
    ----------
    plan : Plan
        After `run`.

    Returns
    -------
    pandas.DataFrame
        One row per model and decoding: model, asked (JSON), how (the server was probed), honoured (fields, listed),
        ignored, unknown, added (settings that nobody asked for). Empty where nobody was probed.
    """
    rows = []
    for (model, asked), report in probes.known(plan.cells["request"], plan.asking["store_path"]).items():
        if report:
            fields = report["fields"]
            told = [", ".join(name for name in fields if fields[name] == verdict) for verdict in probes.VERDICTS]
            added = ", ".join(f"{name} {value}" for name, value in report["added"].items())
            rows.append((model, asked, report["source"], *told, added))
    columns = ["model", "asked", "how", *probes.VERDICTS, "added"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def honoured_says(found):
    """Say in a sentence what probes of servers found, from `honoured`; empty where nobody was probed."""
    if found.empty:
        return ""
    n, wrong = counted(len(found), "decoding"), found[found["ignored"].ne("") | found["added"].ne("")]
    if wrong.empty:
        return f"Servers on this machine were asked about {n}: each honours what was asked for, and adds nothing"
    said = [
        f"{row.model} "
        + " and ".join(filter(None, [row.ignored and f"ignores {row.ignored}", row.added and f"adds {row.added}"]))
        for row in wrong.itertuples()
    ]
    return f"Not the decoding that was asked for: the server of {listed(dict.fromkeys(said))}"


def gather(plan, outcome):
    """Collect the responses of a `Plan`: those stored by the sampler, then those given.

    Parameters
    ----------
    plan : Plan
    outcome : sampler.Outcome

    Returns
    -------
    pandas.DataFrame or gathering.Gathered
        One row per response, as `table.tabulate` takes them; of a large run, read a block at a time.

    Raises
    ------
    ValueError
        If there are none.
    """
    stored = gathering.Gathered(plan.cells, plan.asking["store_path"], plan.arms)
    large = plan.given.empty and stored.is_large
    found = stored if large else pd.concat([stored.whole(), plan.given], ignore_index=True)
    if stored.is_empty if large else found.empty:
        why = "; ".join(filter(None, [*plan.problems, outcome.partial])) or "the input has no rows"
        if waiting := batches.waiting(plan.asking["store_path"]):
            raise ValueError(f"There are no responses yet: {waiting}. Run again later to collect them. ({why})")
        raise ValueError(f"There are no responses yet. This was the plan: {why}. Set `budget_usd` to ask.")
    return found


def tables(plan, found, idea_scope=None):
    """Turn the responses of a plan into the tables of notebook 04.

    Parameters
    ----------
    plan : Plan
    found : pandas.DataFrame or gathering.Gathered
        From `gather`.
    idea_scope : sequence of str, optional
        Columns within which given ideas compare; see `table.tabulate`.

    Returns
    -------
    dict of str to (pandas.DataFrame or blocks.Blocks)

    Raises
    ------
    RuntimeError
        If an input row was neither kept nor excluded with a reason.
    """
    facts = {"human": plan.human, "idea_scope": idea_scope, "models": plan.models, "prompts": plan.prompts}
    if isinstance(found, pd.DataFrame):
        made = response_table.tabulate(found, **facts)
        made["04_provenance"] = gathering.provenance(made["04_responses"], found)
    else:
        made = gathering.tabulate(found, **facts)
    return made | {
        "04_plan": costs(plan),
        "04_arms": response_arms.table(plan.arms),
        "04_paraphrases": plan.paraphrases,
    }


def lacking(plan, outcome, coverage):
    """Say what a study lacks: prompts, responses that were asked for, cells without any; None where nothing.

    Parameters
    ----------
    plan : Plan
    outcome : sampler.Outcome
    coverage : pandas.DataFrame
        Table ``04_coverage``.
    """
    return "; ".join(filter(None, [*plan.problems, outcome.partial, response_table.missing_cells(coverage)])) or None


def answer_files(paths):
    """Files of responses that a parameter names, patterns and folders expanded; none where models are to be asked."""
    return [file for path in files.as_list(paths) for file in files.expand(files.root() / path)]


def no_cells():
    """Return a frame of cells for a study that asks nobody."""
    return pd.DataFrame(columns=CELL_COLUMNS)


def cells(
    prompts,
    models,
    decodings,
    n_samples,
    *,
    n_paraphrase_samples=None,
    per_call=1,
    api_bases=None,
    arms=None,
    aliases=None,
):
    """Lay out what is asked: every prompt of every model; paraphrases and closed prompts under the first decoding only.

    Arms are asked of original and closed prompts under the first decoding, and the arms of a prompt take turns.

    Parameters
    ----------
    prompts : DataFrame
        From `read_prompts`.
    models : DataFrame
        From `choose_models`; its column ``decodings``, where it has one, names those that a model is asked under,
        separated by spaces (empty: all). ``top_p=alone`` asks it under ``top_p`` with the parameters of ``alone``:
        for a provider that takes the same decoding in other words.
    decodings : dict of str to dict
        Name to parameters, such as ``{"top_p": {"temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}}``.
    n_samples, n_paraphrase_samples : int
        Responses to a prompt, and to a paraphrase: by default as many, and at most `MOST_OF_PARAPHRASE`.
    per_call : int
        Responses asked for in one call.
    api_bases : dict of str to str, optional
        Model (as published, or as litellm writes it) to the address of its server.
    aliases : dict of str to list of str, optional
        Model (by either name) to other names under which its server answers; see `served.is_asked`.
    arms : dict of str to arms.Arm, optional
        From `arms.read`; ``default`` is asked in any case. One that pools models is not asked.

    Returns
    -------
    DataFrame
        Columns `CELL_COLUMNS`, one row per request; of a chain, its first turns.
    """
    rows, arms = [], arms or {}
    others = [arm for arm in arms.values() if arm.name != response_arms.DEFAULT and not arm.pool]
    wordings = _wordings(prompts).to_dict() if others else {}
    names = [*dict.fromkeys([*models["model"].astype(str), *models["litellm_id"].astype(str)])]
    bases = checks.addresses("api_bases", api_bases, names)
    aliases = checks.mapping("aliases", aliases)
    checks.names("aliases", aliases, names, of="models asked")
    for name, others_ in aliases.items():
        if not isinstance(others_, list | tuple) or not all(isinstance(other, str) for other in others_):
            raise ValueError(f"`aliases: {name}` must be a list of names, but {others_!r} was given.")
    decodings = checks.mapping("decodings", decodings)
    if not decodings:
        raise ValueError("`decodings` must name at least one decoding, such as {top_p: {temperature: 1.0}}.")
    for name, parameters in decodings.items():
        checks.decoding(f"decodings: {name}", parameters, request_llm.KNOWN)
    for name, value in (("n_samples", n_samples), ("per_call", per_call)):
        checks.number(name, value, 1, whole=True)
    if n_paraphrase_samples is None:
        n_paraphrase_samples = min(n_samples, MOST_OF_PARAPHRASE)
    checks.number("n_samples of paraphrases", n_paraphrase_samples, 1, whole=True)
    for model in models.itertuples():
        base = bases.get(model.model, bases.get(model.litellm_id))
        also = tuple(aliases.get(model.model, aliases.get(model.litellm_id, ())))
        named = getattr(model, "decodings", None)
        own = named.split() if isinstance(named, str) and named.strip() else list(decodings)
        own = {entry.partition("=")[0]: entry.rpartition("=")[2] for entry in own}  # name to whose parameters
        if unknown := {*own, *own.values()} - set(decodings):
            raise ValueError(
                f"{model.model} is to be asked under {sorted(unknown)}, but the decodings are {list(decodings)}."
            )
        first = next(iter(own))
        for prompt in prompts[response_prompts.PROMPT_COLUMNS].itertuples(index=False):
            n = n_paraphrase_samples if prompt.prompt_kind == "paraphrase" else n_samples
            for name in list(own)[: None if prompt.prompt_kind == "original" else 1]:
                asked = request_llm.requests(
                    model.litellm_id,
                    prompt.prompt,
                    decodings[own[name]],
                    n,
                    per_call=per_call,
                    api_base=base,
                    aliases=also,
                )
                rows += [(*prompt, model.model, response_arms.DEFAULT, name, request) for request in asked]
            for arm in others if prompt.prompt_kind in ("original", "closed") else ():
                said = wordings.get(prompt.prompt_id, ())
                if "$paraphrase" in arm.user and not said:
                    continue
                if arm.rung and not (arm.decoding or {}).items() - decodings[own[first]].items():
                    continue  # the decoding of the study: asked already
                asked = arm_cells.requests(
                    arm, prompt, model.litellm_id, decodings[own[first]], n_samples, paraphrases=said,
                    per_call=per_call, api_base=base, aliases=also,
                )  # fmt: skip
                rows += [(*prompt, model.model, arm.name, first, request) for request in asked]
    frame = pd.DataFrame(rows, columns=CELL_COLUMNS)
    frame = arm_cells.mixed(frame) if others else frame
    cell = ["prompt_id", "model", "condition", "decoding"]
    named = frame[frame["condition"] == response_arms.DEFAULT]  # arms have numbers of their own
    named = named.assign(key=[request.key for request in named["request"]]).drop_duplicates(["key", *cell])
    if (twice := named.duplicated("key", keep=False)).any():
        same = named.loc[twice, cell].head(2).to_dict("records")
        raise ValueError(f"Two cells would ask the same and share their responses: {same}. Leave one out.")
    return frame


def cost_plan(frame, store_path, *, arms=None, limits=None, prices=None, gone=None, batch=False):
    """What is stored, missing, and would cost, by model, condition and decoding; see `cost.plan`.

    What is missing of a model in `gone` (from `retired`) is not asked and costs nothing; its row says since when.
    """
    arms, names, gone = arms or {}, ["model", "condition", "decoding"], gone or {}
    chains = arm_cells.is_chain(frame, arms)
    if chains.any():
        known = arm_cells.turns(frame, arms, store_path, guess="word " * request_llm.ASSUMED_TOKENS)
        frame = pd.concat([frame[~chains], known], ignore_index=True)
    groups = list(frame[names].itertuples(index=False, name=None))
    sizes = arm_cells.sizes(frame, arms)
    found = cost.plan(
        frame["request"], store_path, groups=groups, names=names, sizes=sizes, limits=limits, prices=prices,
        batch=batches.chosen(batch),
    )  # fmt: skip
    ids_of = {row.model: row.request.model for row in frame.drop_duplicates("model").itertuples()}
    found["retired"] = [gone.get(ids_of.get(model)) for model in found["model"]]
    nothing = ["calls", "tokens_in", "tokens_out", "cost_low", "cost_expected", "cost_high", "hours"]
    found.loc[found["retired"].notna(), nothing] = 0
    return found
