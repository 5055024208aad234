"""The demo population: simulated models and people whose behaviour is planted, and therefore known.

A population is a readable YAML (``data/demo/population.yaml``). A response is written by a small grammar: pick an idea,
pick one of the prompt's sentence frames, fill its slots. Every pick is a softmax of planted logits, sharpened by the
model, flattened by the temperature, and truncated by top-p and min-p exactly as a language model's tokens are.
"""

import functools
import re
from bisect import bisect_right
from collections import namedtuple

import numpy as np
import pandas as pd
import yaml

from hivemind_utils.demo import arms as demo_arms
from hivemind_utils.demo import provider
from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import sampler
from hivemind_utils.responses import arm_cells, design, paraphrases
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import files, ids, parquet, reading


def simulated(faults=0.0):
    """Let the demo population respond where a study names its file; see `design.collect_cells`.

    Parameters
    ----------
    faults : float
        Share of calls (0 to 1) that fail once, to show how they are tried again.

    Returns
    -------
    callable
        Serves the population's models, writes what is planted to ``truth/``, and gives the `design.Plan`: models are
        asked like real ones, responses of people are given.
    """

    def plan(study, path, chosen, calls, asking):
        population, seed = load_population(path), asking["seed"]
        chosen = {name: chosen[name] for name in ("prompts", "models", "n_samples")}
        asked = population_cells(population, path, seed=seed, per_call=calls["per_call"], **chosen)
        serve_models(population, asked, seed=seed, faults=faults)
        drawn, truth = draw_responses(population, seed=seed, **chosen)
        parquet.write_truth(truth, study.profile)
        given = drawn[drawn["model"] == "people"]  # people are not asked through an interface
        return design.Plan(
            source="simulated",
            origin=path.name,
            cells=asked,
            given=given,
            models=models_frame(population),
            prompts=None,
            human=sorted(set(given["model"])),
            asking=asking | {"prices": None},
            paraphrases=paraphrases.none(),
            problems=[],
            arms=population["planted"].arms,
        )

    return plan


def population_cells(population, path, *, seed, prompts=None, models=None, n_samples=None, per_call=50):
    """Lay out what is asked of the simulated models of the demo population; parameters as in `cells`.

    The population's text and the seed stand in the place of a server's address, so that answers of another population,
    or another seed, are other responses.
    """
    server = f"population:{ids.text_id(files.resolve(path).read_text(encoding='utf-8'))}/{seed}"
    rows = []
    for cell in cells(population, prompts=prompts, models=models, n_samples=n_samples):
        prompt = _prompt_of(cell)
        if cell.decoding != "none":
            asked = request_llm.requests(
                f"{sampler.SIMULATED}/{cell.speaker['model']}", cell.prompt["text"],
                population["decodings"][cell.decoding]["truncation"], cell.n, per_call=per_call, api_base=server,
            )  # fmt: skip
            name, decoding = cell.speaker["model"], cell.decoding
            rows += [(*prompt, name, response_arms.DEFAULT, decoding, request) for request in asked]
    planted, first = population["planted"], next(iter(population["decodings"]))
    truncation = population["decodings"][first]["truncation"]
    for cell in arms_cells(population, prompts=prompts, models=models, n_samples=n_samples):
        prompt = response_prompts.PROMPT(*_prompt_of(cell))
        asked = arm_cells.requests(
            planted.arms[cell.condition], prompt, f"{sampler.SIMULATED}/{cell.speaker['model']}", truncation, cell.n,
            per_call=per_call, api_base=server,
        )  # fmt: skip
        rows += [(*prompt, cell.speaker["model"], cell.condition, first, request) for request in asked]
    frame = pd.DataFrame(rows, columns=design.CELL_COLUMNS)
    return arm_cells.mixed(frame) if planted.arms else frame


def _prompt_of(cell):
    """Columns of `PROMPT_COLUMNS` of a cell's prompt."""
    return tuple(cell.prompt.get(name) for name in ("prompt_id", "text", *response_prompts.PROMPT_COLUMNS[2:]))


SLOT = re.compile(r"\{([^{}]*)\}")


REFUSAL = "I'm sorry, but I can't help with that request."


def load_population(path):
    """Read, expand and validate a planted population.

    Options separated by ``|`` become lists; paraphrases receive the grammar and category of their parent.

    Parameters
    ----------
    path : str or path-like
        A YAML file with the blocks ``decodings``, ``grammar``, ``families``, ``models``, ``people`` and ``prompts``.

    Returns
    -------
    dict
        The same blocks; every prompt now carries ``prompt_kind``, ``parent_id``, ``category``, ``frames``, ``slots``
        and ``ideas``, each idea with its own ``frames`` and ``slots`` (lists of strings).

    Raises
    ------
    ValueError
        If a block is missing, an id is repeated, or a model, paraphrase, weight or slot refers to nothing.
    """
    with open(files.resolve(path), encoding="utf-8") as file:
        return expand_population(yaml.safe_load(file))


def expand_population(raw):
    """Expand and validate the parsed YAML of a population; see :func:`load_population`.

    Parameters
    ----------
    raw : dict
        The parsed YAML. Not modified.

    Returns
    -------
    dict
        The population the other functions of this module take.
    """
    for block in ("decodings", "grammar", "families", "models", "people", "prompts"):
        if not raw.get(block):
            raise ValueError(f"The population must have a `{block}` block, but it is missing or empty.")
    prompts = {}
    for prompt in (reading.current_names(prompt, "prompt_kind") for prompt in raw["prompts"]):
        prompt_id = prompt["prompt_id"]
        if prompt_id in prompts:
            raise ValueError(f"Prompt ids must be unique, but {prompt_id!r} is used twice.")
        prompts[prompt_id] = _expand_paraphrase(prompt, prompts) if prompt.get("parent_id") else _expand_prompt(prompt)
    names = [model["model"] for model in raw["models"]] + ["people"]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Model names must be unique (and not 'people'), but these are repeated: {repeated}.")
    for model in raw["models"]:
        if model["family"] not in raw["families"]:
            raise ValueError(
                f"The family of model {model['model']!r} must be one of {sorted(raw['families'])}, "
                f"but {model['family']!r} was given."
            )
        if not model["sharpness"] > 0:
            raise ValueError(f"The sharpness of model {model['model']!r} must be > 0, but is {model['sharpness']}.")
    for family, traits in raw["families"].items():
        for prompt_id, favours in traits.get("favours", {}).items():
            known = [idea["idea"] for idea in prompts[prompt_id]["ideas"]] if prompt_id in prompts else []
            if unknown := sorted(set(favours) - set(known)):
                raise ValueError(f"Family {family!r} favours {unknown} at {prompt_id!r}, whose ideas are {known}.")
    return raw | {"prompts": list(prompts.values()), "planted": demo_arms.planted(raw)}


def draw_responses(population, *, seed, prompts=None, models=None, n_samples=None, decodings=None):
    """Draw the responses of the population and the ideas behind them.

    One cell is (prompt, model, decoding). Its generator is seeded by a hash of ``seed`` and the cell's names, so a cell
    does not depend on which others are drawn, and more samples extend fewer.

    Parameters
    ----------
    population : dict
        From :func:`load_population`.
    seed : int
        Another seed draws other responses of the same population.
    prompts, models, decodings : collection of str, optional
        Names to draw; all where None. People are the model ``"people"``, their decoding is ``"none"``.
    n_samples : int, optional
        At most this many samples per cell.

    Returns
    -------
    answers : DataFrame
        One row per response: prompt_id, prompt, prompt_kind, parent_id, category, open_endedness (planted share of
        annotators who call it open, 0-1), model, decoding, sample_idx, response, finish_reason.
    truth : DataFrame
        One row per response: prompt_id, model, decoding, sample_idx, idea (missing for empty responses and refusals).
    """
    _check_names("decodings", decodings, [*population["decodings"], "none"])
    rows = []
    for cell in cells(population, prompts=prompts, models=models, n_samples=n_samples):
        if decodings is None or cell.decoding in decodings:
            rows += _draw_cell(population, cell.prompt, cell.speaker, cell.decoding, cell.n, seed)
    key = ["prompt_id", "model", "decoding", "sample_idx"]
    columns = ["prompt_id", "prompt", "prompt_kind", "parent_id", "category", "open_endedness", "model", "decoding"]
    frame = pd.DataFrame(rows, columns=[*columns, "sample_idx", "response", "finish_reason", "idea"])
    return frame.drop(columns="idea"), frame[[*key, "idea"]].copy()


Cell = namedtuple("Cell", "prompt speaker decoding n condition", defaults=(response_arms.DEFAULT,))


def cells(population, *, prompts=None, models=None, n_samples=None):
    """Lay out who answers what, how often: the cells that `draw_responses` draws.

    Parameters
    ----------
    population, prompts, models, n_samples
        As in :func:`draw_responses`.

    Returns
    -------
    list of Cell
        prompt and speaker (dicts of the population), decoding (name), n (responses).
    """
    speakers = [*population["models"], _people(population)]
    _check_names("prompts", prompts, [prompt["prompt_id"] for prompt in population["prompts"]])
    _check_names("models", models, [speaker["model"] for speaker in speakers])
    return [
        Cell(prompt, speaker, decoding, n if n_samples is None else min(n, n_samples))
        for prompt in population["prompts"]
        if prompts is None or prompt["prompt_id"] in prompts
        for speaker in speakers
        if models is None or speaker["model"] in models
        for decoding, n in _cells(population, prompt, speaker)
    ]


def arms_cells(population, *, prompts=None, models=None, n_samples=None):
    """Lay out which arms are asked besides, of whom, how often; parameters and return as `cells`."""
    planted, first = population["planted"], next(iter(population["decodings"]))
    arms = [arm for arm in planted.arms.values() if arm.name != response_arms.DEFAULT]
    speakers = [speaker for speaker in population["models"] if speaker["model"] in planted.models]
    laid_out = [
        Cell(prompt, speaker, first, planted.n_responses(arm, min(prompt["n_samples"], n_samples or 10**6)), arm.name)
        for prompt in population["prompts"]
        if prompt["prompt_kind"] != "paraphrase" and (prompts is None or prompt["prompt_id"] in prompts)
        for speaker in speakers
        if models is None or speaker["model"] in models
        for arm in arms
    ]
    return [cell for cell in laid_out if cell.n]


def draw_arms(population, *, seed, **chosen):
    """Draw what the arms bring: the frame of `draw_responses` with condition and idea (missing for what has none)."""
    rows = []
    for cell in arms_cells(population, **chosen):
        drawn = _draw_cell(population, cell.prompt, cell.speaker, cell.decoding, cell.n, seed, cell.condition)
        rows += [(*row, cell.condition) for row in drawn]
    columns = ["prompt_id", "prompt", "prompt_kind", "parent_id", "category", "open_endedness", "model", "decoding"]
    return pd.DataFrame(rows, columns=[*columns, "sample_idx", "response", "finish_reason", "idea", "condition"])


def serve_models(population, asked, *, seed, faults=0.0):
    """Let the population's models answer as ``simulated/<model>``, each cell as `draw_responses` draws it.

    A call's seed tells which answers of its cell are asked for, so that more responses extend fewer in whatever calls
    they come.

    Parameters
    ----------
    population : dict
        From :func:`load_population`.
    asked : DataFrame
        With the columns prompt_id, model, condition, decoding and request.
    seed : int
        Of the run, and of `draw_responses`.
    faults : float
        Share of calls (0 to 1) that fail once, with status 503 or 429, before they succeed.
    """
    prompts = {prompt["prompt_id"]: prompt for prompt in population["prompts"]}
    speakers = {speaker["model"]: speaker for speaker in population["models"]}
    for model, rows in asked.groupby("model"):
        first = {}
        for row in rows.itertuples():
            request = row.request
            offset = arm_cells.first_number(row.condition)
            for i in range(request.sample_idx, request.sample_idx + request.n):
                call = (request.messages[-1]["content"], request_llm.call_seed(seed, request.key, i))
                first[call] = (prompts[row.prompt_id], row.decoding, row.condition, i - offset)
        failing = {call for call in first if faults and ids.generator("faults", seed, model, *call).random() < faults}
        provider.serve(model, functools.partial(_respond, population, speakers[model], first, failing, draw_seed=seed))


def _respond(population, speaker, first, failing, messages, *, n, seed, parameters, draw_seed):
    call = (messages[-1]["content"], seed)
    if call not in first:
        raise provider.Failure(404, f"{speaker['model']} answers only what the run laid out with this seed")
    if call in failing:
        failing.remove(call)
        raise provider.Failure(503 if seed % 2 else 429, "a planned fault of the demo")
    prompt, decoding, condition, start = first[call]
    arm = population["planted"].arms.get(condition)
    k = arm.k if arm else 1
    drawn = _draw_cell(population, prompt, speaker, decoding, (start + n) * k, draw_seed, condition)[start * k :]
    if k == 1:
        return [provider.Answer(row[9], row[10]) for row in drawn]
    texts = [row[9] for row in drawn]
    return [provider.Answer(demo_arms.reply(arm, texts[i : i + k])) for i in range(0, len(texts), k)]


def idea_distribution(population, prompt_id, model, decoding="top_p"):
    """Probability of each idea of a prompt under a model and a decoding: the truth a draw is compared with.

    Parameters
    ----------
    population : dict
        From :func:`load_population`.
    prompt_id, model, decoding : str
        A planted model, not people: each person has an own distribution.

    Returns
    -------
    dict of str to float
        Idea to probability; truncated ideas have 0. Sums to 1.
    """
    prompts = {prompt["prompt_id"]: prompt for prompt in population["prompts"]}
    speakers = {speaker["model"]: speaker for speaker in population["models"]}
    for name, value, there in (("prompt_id", prompt_id, prompts), ("model", model, speakers)):
        if value not in there:
            raise ValueError(f"The value for `{name}` must be one of {list(there)}, but {value!r} was passed.")
    prompt, speaker = prompts[prompt_id], speakers[model]
    logits = _idea_logits(population, prompt, speaker) * speaker["sharpness"]
    probabilities = truncated_softmax(logits, **population["decodings"][decoding]["truncation"])
    return dict(zip((idea["idea"] for idea in prompt["ideas"]), probabilities.tolist(), strict=True))


def truncated_softmax(logits, *, temperature=1.0, top_p=1.0, min_p=0.0):
    """Softmax of ``logits / temperature``, truncated as decoders do and renormalised.

    Parameters
    ----------
    logits : array_like of float, shape (n_options,)
        ``-inf`` marks an option that is not available.
    temperature : float
        > 0; above 1 flattens.
    top_p : float
        Keep the smallest set of likeliest options whose mass is >= ``top_p`` (ties by index). 1 keeps all.
    min_p : float
        Keep options with p >= ``min_p`` * max p. 0 keeps all.

    Returns
    -------
    ndarray of float, shape (n_options,)
        Probabilities, at least one of them positive. Sums to 1.
    """
    scaled = np.asarray(logits, float) / temperature
    p = np.exp(scaled - scaled.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    keep = p >= min_p * p.max()
    if top_p < 1:
        keep[order[1:]] &= before[1:] < top_p
    p = np.where(keep, p, 0.0)
    return p / p.sum()


def models_frame(population):
    """What a reader of a model list would know: everything about the models but their planted sharpness.

    Parameters
    ----------
    population : dict
        From :func:`load_population`.

    Returns
    -------
    DataFrame
        One row per model, people last: model, family, vendor (every family has its own), parent (the base model of a
        tuned one), model_kind (model/human), size_b (10⁹ parameters), tuning
        (base/instruct), release_date, open_weights.
    """
    columns = ["model", "family", "vendor", "parent", "model_kind", "size_b", "tuning", "release_date", "open_weights"]
    bases = {model["model"] for model in population["models"] if model["tuning"] == "base"}
    frame = pd.DataFrame([*population["models"], _people(population)]).assign(
        model_kind=lambda frame: np.where(frame["model"] == "people", "human", "model"),
        release_date=lambda frame: pd.to_datetime(frame["release_date"]),
        open_weights=lambda frame: frame["open_weights"].astype("boolean"),
        vendor=lambda frame: frame["family"].mask(frame["model"] == "people"),
        parent=lambda frame: [
            base if (base := name.replace("-instruct", "-base")) in bases - {name} else None for name in frame["model"]
        ],
    )
    return frame[columns]


def planted_sharpness(population):
    """Sharpness of every model, people included: the factor its logits are multiplied by.

    Parameters
    ----------
    population : dict
        From :func:`load_population`.

    Returns
    -------
    dict of str to float
        Model name to sharpness, > 0.
    """
    return {speaker["model"]: speaker["sharpness"] for speaker in [*population["models"], _people(population)]}


def _check_names(name, asked, there):
    if unknown := sorted(set(asked or ()) - set(there)):
        raise ValueError(f"The values for `{name}` must be among {there}, but {unknown} was passed.")


def _options(value):
    """Split ``"a river | a current"`` into its options; lists pass."""
    options = value if isinstance(value, list) else str(value).split("|")
    return [" ".join(str(option).split()) for option in options]


def _grammar(block):
    return {name: _options(value) for name, value in (block.get("slots") or {}).items()}


def _expand_prompt(prompt):
    prompt_id = prompt["prompt_id"]
    kind = prompt.get("prompt_kind", "original")
    if kind not in (known := list(response_prompts.KINDS)):
        raise ValueError(f"`prompt_kind` of {prompt_id!r} must be one of {known}, but is {kind!r}.")
    if not prompt.get("ideas"):
        raise ValueError(f"Prompt {prompt_id!r} must have at least one idea, but has none.")
    shared = _grammar(prompt)
    ideas = []
    for idea in prompt["ideas"]:
        if not idea["weight"] > 0:
            raise ValueError(f"Idea {idea['idea']!r} of {prompt_id!r} must have a weight > 0, not {idea['weight']}.")
        frames = _options(idea.get("frames") or prompt["frames"])
        slots = shared | _grammar(idea)
        ideas.append(idea | {"frames": frames, "slots": slots, "own": set(_grammar(idea)) | ({"frames"} & set(idea))})
        for text in [*frames, *(option for options in slots.values() for option in options)]:
            for slot in SLOT.findall(text):
                if slot.lower() not in slots:
                    raise ValueError(
                        f"{text!r} ({prompt_id}, idea {idea['idea']!r}) uses the slot {slot!r}, "
                        f"but the slots there are {sorted(slots)}."
                    )
    if len({idea["idea"] for idea in ideas}) < len(ideas):
        raise ValueError(f"The ideas of prompt {prompt_id!r} must have different names.")
    return prompt | {"prompt_kind": kind, "parent_id": None, "ideas": ideas}


def _expand_paraphrase(prompt, prompts):
    prompt_id, parent_id = prompt["prompt_id"], prompt["parent_id"]
    if parent_id not in prompts:
        raise ValueError(f"Paraphrase {prompt_id!r} must follow its parent, but {parent_id!r} is not above it.")
    parent, weights = prompts[parent_id], prompt.get("weights", {})
    if unknown := sorted(set(weights) - {idea["idea"] for idea in parent["ideas"]}):
        raise ValueError(f"Paraphrase {prompt_id!r} weighs {unknown}, which are no ideas of {parent_id!r}.")
    ideas = [idea | {"weight": weights.get(idea["idea"], idea["weight"])} for idea in parent["ideas"]]
    return parent | prompt | {"prompt_kind": "paraphrase", "ideas": ideas}


def _people(population):
    unknown = {"size_b": np.nan, "tuning": None, "release_date": None, "open_weights": None}
    return unknown | population["people"] | {"model": "people", "family": "people"}


def _cells(population, prompt, speaker):
    """Decodings and sample counts of one speaker at one prompt."""
    if speaker["model"] == "people":
        return [("none", speaker["n_samples"])] if prompt["prompt_kind"] != "paraphrase" else []
    if prompt["prompt_kind"] == "paraphrase" and not speaker.get("paraphrased"):
        return []
    cells = []
    for name, decoding in population["decodings"].items():
        closed = decoding["needs_open_weights"] and not speaker["open_weights"]
        if closed or prompt["prompt_kind"] not in decoding["kinds"]:
            continue
        cells.append((name, min(prompt["n_samples"], decoding.get("max_samples", prompt["n_samples"]))))
    return cells


def _leaning(population, prompt, speaker, size, scale, *choice):
    """Shifts of the logits of one choice: what the family, the model and a rewording of the prompt prefer.

    They are planted, not drawn: their generators know no seed.
    """
    grammar, parent = population["grammar"], prompt["parent_id"] or prompt["prompt_id"]
    shift = grammar[f"family_{scale}_sd"] * ids.generator(speaker["family"], parent, *choice).standard_normal(size)
    shift += grammar[f"model_{scale}_sd"] * ids.generator(speaker["model"], parent, *choice).standard_normal(size)
    if prompt["parent_id"]:
        shift += grammar[f"rewording_{scale}_sd"] * ids.generator(prompt["prompt_id"], *choice).standard_normal(size)
    return shift


def _idea_logits(population, prompt, speaker):
    parent = prompt["parent_id"] or prompt["prompt_id"]
    favours = population["families"].get(speaker["family"], {}).get("favours", {}).get(parent, {})
    logits = np.full(len(prompt["ideas"]), -np.inf)
    for k, idea in enumerate(prompt["ideas"]):
        if speaker["model"] == "people" or not idea.get("only_people"):
            leaning = _leaning(population, prompt, speaker, 1, "idea", idea["idea"])[0]
            logits[k] = np.log(idea["weight"]) + favours.get(idea["idea"], 0.0) + leaning
    return logits


def _phrase_logits(population, prompt, speaker, idea, slot, n_options):
    scope = idea["idea"] if slot in idea["own"] else ""
    leaning = _leaning(population, prompt, speaker, n_options, "phrase", scope, slot)
    slope = prompt.get("phrase_slope", population["grammar"]["phrase_slope"])
    return leaning - slope * np.arange(n_options)


def _draw_cell(population, prompt, speaker, decoding, n, seed, condition=response_arms.DEFAULT):
    """Draw the first ``n`` responses of a cell as rows of the full table."""
    own = () if condition == response_arms.DEFAULT else (condition,)
    rng = ids.generator("answers", seed, prompt["prompt_id"], speaker["model"], decoding, *own)
    truncation = population["decodings"][decoding]["truncation"] if decoding != "none" else {}
    planted = population["planted"] if own else demo_arms.Planted()
    effect, truncation = planted.effect(condition), planted.decoding(condition, truncation)
    k = planted.arms[condition].k if own else 1
    bold = population["families"].get(speaker["family"], {}).get("bold", False)
    people = speaker["model"] == "people"
    thresholds = {}

    def pick(key, logits):
        """Index of one option; people differ from each other, so theirs are not remembered."""
        if key not in thresholds or people:
            scaled = logits() * speaker["sharpness"] / (effect.idea_heat if key[0] == "idea" else effect.phrase_heat)
            scaled = scaled + speaker["personal_sd"] * rng.standard_normal(scaled.size) if people else scaled
            p = truncated_softmax(scaled, **truncation)
            thresholds[key] = (np.cumsum(p).tolist(), int(np.flatnonzero(p)[-1]))
        cumulative, last = thresholds[key]
        return min(bisect_right(cumulative, rng.random()), last)

    def write(idea, slot):
        options = idea["frames"] if slot == "frames" else idea["slots"][slot]
        key = ("phrase", idea["idea"] if slot in idea["own"] else "", slot)
        chosen = pick(key, lambda: _phrase_logits(population, prompt, speaker, idea, slot, len(options)))
        chosen = 0 if effect.first_sentence and slot == "frames" else chosen
        return SLOT.sub(lambda match: fill(idea, match.group(1)), options[chosen])

    def fill(idea, name):
        text = write(idea, name.lower())
        text = text[0].upper() + text[1:] if name[0].isupper() else text
        return f"**{text}**" if bold and name.lower() == prompt.get("bold_slot") else text

    def pick_idea(said):
        """Idea of the next response: in a list that never repeats itself, of those not yet given."""

        def logits():
            found = _idea_logits(population, prompt, speaker)
            found[[k for k, idea in enumerate(prompt["ideas"]) if idea["idea"] in said]] = -np.inf
            return found if np.isfinite(found).any() else _idea_logits(population, prompt, speaker)

        said = tuple(sorted(set(said))) if effect.without_replacement else ()
        return prompt["ideas"][pick(("idea", *said), logits)]

    rows, said = [], []
    given = ("prompt_id", "text", "prompt_kind", "parent_id", "category", "open_endedness")
    for sample_idx in range(n):
        said = said if sample_idx % k else []
        idea = pick_idea(said)
        said = [*said, idea["idea"]]
        text, name, finish_reason = write(idea, "frames"), idea["idea"], "stop"
        if effect.off_topic and rng.random() < effect.off_topic:
            text, name = _off_topic(population, prompt, speaker, decoding, rng), None
        failure = rng.random()
        for kind, rate in speaker.get("failures", {}).items():
            if 0 <= failure < rate:
                text, name, finish_reason = _fail(kind, text, name)
            failure -= rate
        rows.append(
            (*(prompt[column] for column in given), speaker["model"], decoding, sample_idx, text, finish_reason, name)
        )
    return rows


def _off_topic(population, prompt, speaker, decoding, rng):
    """Response to another prompt."""
    prompts = [other for other in population["prompts"] if other["prompt_kind"] == "original"]
    others = [other for other in prompts if other["prompt_id"] != prompt["prompt_id"]]
    other = others[rng.integers(len(others))] if others else prompt
    return _draw_cell(population, other, speaker, decoding, 1, ("off topic", int(rng.integers(2**31))))[0][9]


def _fail(kind, text, idea):
    """Return the text, idea and finish_reason of a response that went wrong."""
    if kind == "length":
        words = text.split(" ")
        return " ".join(words[: max(1, len(words) // 2)]), idea, "length"
    return ("" if kind == "empty" else REFUSAL), None, "stop"
