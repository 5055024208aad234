"""Doors through which scores come in: judges, models on this machine, endpoints. Each also says what is missing.

What a model computed stays in a file of its own under ``data/<profile>/store``, so that a run that stopped goes on.
"""

from string import Template

import pandas as pd

from hivemind_utils.llm import completions, gguf_models, gguf_scores, local_models
from hivemind_utils.ratings import judges as rating_judges
from hivemind_utils.ratings import scores
from hivemind_utils.tables import files, ids

WHOLE = " (whole conversation)"
LM_KINDS = {"mean_logprob": "lm", "minus_perplexity": "lm perplexity"}  # headline; as published


def language_models(names, responses, folder, *, device="cpu"):
    """Log-probabilities under models on this machine, each loaded only if something is missing.

    Parameters
    ----------
    names : list of str
        Hub ids or folders (extra `local`), or ``gguf:...`` for a file (see `gguf_models`).
    responses : pandas.DataFrame
        From `scores.responses`.
    folder : Path
        Where scores are kept.
    device : str

    Returns
    -------
    pandas.DataFrame
        For `scores.match`; two scorers a model, see `LM_KINDS`.
    """
    why = {}

    def scorer_of(name):
        if gguf_models.is_gguf(name):
            return _with_reasons(lambda prompts, texts: gguf_scores.scores(name, prompts, texts), name, why)
        model = _once(lambda: local_models.load_language_model(name, device=device))
        return lambda prompts, texts: local_models.language_model_scores(*model(), prompts, texts)

    with gguf_models.running(names):
        found = [
            (_shown(name), _remembered(_kept_as(name), "lm", responses, folder, scorer_of(name))) for name in names
        ]
    return _because(_long(found, LM_KINDS), {_shown(name): reasons for name, reasons in why.items()})


def _shown(name):
    return gguf_models.display_name(name) if gguf_models.is_gguf(name) else name


def _kept_as(name):
    return gguf_models.identity(name) if gguf_models.is_gguf(name) else name


def _with_reasons(score, name, why):
    """A scorer that notes why a response has no score: `why` by name, then by the response's text."""

    def noted(prompts, texts):
        values, problems = score(prompts, texts)
        why.setdefault(name, {}).update({(prompts[row], texts[row]): reason for row, reason in problems.items()})
        return values

    return noted


def _because(frame, why):
    """The frame with the reason why a score is missing, in `why`."""
    if frame.empty:
        return frame
    rows = zip(frame["scorer"].str.removesuffix(WHOLE), frame["prompt"], frame["response"], strict=True)
    return frame.assign(why=[why.get(name, {}).get((prompt, text)) for name, prompt, text in rows])


def reward_models(names, responses, folder, *, device="cpu"):
    """Rewards from sequence classifiers of extra `local`; see `language_models`."""

    def scorer_of(name):
        model = _once(lambda: local_models.load_reward_model(name, device=device))
        return lambda prompts, texts: {"reward": local_models.reward_scores(*model(), prompts, texts)}

    found = [(name, _remembered(name, "reward", responses, folder, scorer_of(name))) for name in names]
    return _long(found, {"reward": "reward"})


def completion_endpoints(models, responses, folder, *, template):
    """Log-probabilities from endpoints that echo; see `completions`.

    Parameters
    ----------
    models : dict of str to str
        Name of the model to the address of its endpoint.
    responses, folder
        See `language_models`.
    template : str
        The conversation as the model expects it, with ``$prompt`` and ``$response``.

    Returns
    -------
    frame : pandas.DataFrame
    problems : pandas.DataFrame
        scorer, item_id, reason: calls that failed.
    """
    before, found, after = template.partition("$response")
    if not found or "$prompt" not in before:
        raise ValueError("The template must hold $prompt, and $response after it.")
    frames, why = [], {}
    for model, api_base in models.items():

        def ask(prompts, texts, model=model, api_base=api_base):
            prefixes = [Template(before).substitute(prompt=prompt) for prompt in prompts]
            return completions.echo_scores(model, api_base, prefixes, texts, suffix=after)

        ask = _with_reasons(ask, model, why)
        frames.append((model, _remembered(f"{model} {api_base} {template}", "completions", responses, folder, ask)))
    problems = [(model, text[:60], reason) for model, at in why.items() for (_, text), reason in at.items()]
    problems = pd.DataFrame(problems, columns=["scorer", "item_id", "reason"]).drop_duplicates()
    return _because(_long(frames, LM_KINDS), why), problems


def judges(models, rubrics, responses, instructions, *, votes=1, probabilities=False, **options):
    """Grades of every judge by every rubric.

    Parameters
    ----------
    models : list of str
    rubrics : list of str
        Keys of `judging.RUBRICS`; with ``prometheus:`` before it, in that format.
    responses : pandas.DataFrame
    instructions : dict of str to str
        Text per rubric, and of ``prometheus``.
    votes, probabilities, **options
        See `judging.judge_responses`.

    Returns
    -------
    frame : pandas.DataFrame
    excluded : pandas.DataFrame
        scorer, item_id, reason.
    """
    for rubric in rubrics:  # before anybody is asked
        if rubric.removeprefix("prometheus:") not in rating_judges.RUBRICS:
            raise ValueError(f"A rubric must be one of {sorted(rating_judges.RUBRICS)}, but {rubric!r} was passed.")
    frames, excluded = [], []
    for model in models:
        for rubric in rubrics:
            name = rubric.removeprefix("prometheus:")
            if name != rubric:
                text = instructions["prometheus"]
                known = {k: v for k, v in options.items() if k != "progress"}
                found, missing = rating_judges.judge_prometheus(responses, model, name, text, **known)
            else:
                found, labels = rating_judges.judge_responses(
                    responses, model, name, instructions[name], votes=votes, probabilities=probabilities, **options
                )
                missing = unlabelled(labels, f"{model} ({name})")
            frames.append(found)
            excluded.append(missing)
    return _concat(frames, rating_judges.COLUMNS), _concat(excluded, ["scorer", "item_id", "reason"])


def unlabelled(labels, scorer):
    """What a judge did not answer, or not validly, as rows of ``09_excluded``."""
    both = pd.concat([labels.failures[["item_id", "reason"]], labels.missing[["item_id", "reason"]]])
    return both.assign(scorer=scorer)[["scorer", "item_id", "reason"]].drop_duplicates(["scorer", "item_id", "reason"])


def _remembered(name, kind, responses, folder, score):
    """Scores of every response under one model, from its file or computed."""
    prompts, texts = responses["prompt"].tolist(), responses["response"].tolist()
    path = folder / f"09_{kind}_{files.slug(name.replace('/', '--'))[:60]}-{ids.text_id(name)[:6]}.parquet"

    def compute(rows):
        return score([prompts[row] for row in rows], [texts[row] for row in rows])

    found = scores.remember(path, responses["response_id"].tolist(), compute)
    return responses[["prompt_id", "prompt", "response"]].reset_index(drop=True).join(found.reset_index(drop=True))


def _long(found, kinds):
    frames = []
    for name, table in found:
        for column, kind in kinds.items():
            scorer = name if column in ("mean_logprob", "reward") else f"{name}{WHOLE}"
            part = table[["prompt_id", "prompt", "response"]].assign(scorer=scorer, kind=kind, score=table[column])
            frames.append(part.assign(raw=part["score"].astype(str)))
    return _concat(frames, ["prompt_id", "prompt", "response", "scorer", "kind", "score", "raw"])


def _concat(frames, columns):
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _once(make):
    """Call `make` at the first call, and give its result at every one."""
    made = []

    def get():
        if not made:
            made.append(make())
        return made[0]

    return get
