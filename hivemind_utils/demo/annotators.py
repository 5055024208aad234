"""Simulated annotators and scorers whose behaviour is planted: latent quality, taste groups, severity, noise.

One annotator sees a response as quality + taste of his or her group + severity + noise, and picks the nearest of five
values. What is planted is known, so that tests can say whether a verdict is right.
"""

import functools

import numpy as np

from hivemind_utils.demo import provider
from hivemind_utils.llm import providers
from hivemind_utils.metrics import agreement
from hivemind_utils.metrics.contested import contested_set
from hivemind_utils.tables import files, ids, reading

CUTS = (-1.8, -1.0, -0.2, 0.8)  # where a perceived quality becomes 2, 3, 4, 5: 4 is the most common label


def draw_quality(n_prompts, n_items, rng, *, prompt_sd=0.4):
    """Latent quality of every response, standard deviation 1, with part of it shared by the responses of a prompt.

    Heavy-tailed and skewed to bad responses: Tukey fences of the means then keep about as many items as the paper
    prints.

    Returns
    -------
    quality : ndarray of float, shape (n_prompts * n_items,)
    groups : ndarray of int, shape (n_prompts * n_items,)
        Prompt of every response.
    """
    groups = np.repeat(np.arange(n_prompts), n_items)
    own = rng.standard_t(5, size=len(groups)) * np.sqrt(3 / 5) - rng.exponential(size=len(groups))
    shared = prompt_sd * rng.normal(size=n_prompts)
    return shared[groups] + np.sqrt(1 - prompt_sd**2) * (own + 1) / np.sqrt(2), groups


def draw_perceived(
    quality,
    n_annotators,
    rng,
    *,
    groups=None,
    spread=0.55,
    noise=0.9,
    severity_sd=0.3,
    taste_sd=0.3,
    n_tastes=2,
    divided=0.0,
):
    """What every annotator sees, before it becomes a label.

    Parameters
    ----------
    quality : ndarray of float, shape (n_items,)
    n_annotators : int
    rng : numpy.random.Generator
    spread : float
        What one standard deviation of quality is worth to an annotator.
    noise, severity_sd : float
        Standard deviations of what an annotator adds to one label, and to all of them.
    taste_sd : float
        Mean size of an item's divisiveness: how far the taste groups stand apart on it; it varies between items.
    n_tastes : int
        Taste groups; annotators belong to them in turn.
    divided : float
        Share of items on which the taste groups stand far apart: people split into camps.
    groups : ndarray of int, shape (n_items,), optional
        Every prompt has annotators of its own (a form); None: the same annotators label all items.

    Returns
    -------
    ndarray of float, shape (n_items, n_annotators)
    """
    form = np.zeros(len(quality), int) if groups is None else groups
    severity = severity_sd * rng.normal(size=(form.max() + 1, n_annotators))[form]
    taste = _tastes(len(quality), n_annotators, rng, taste_sd, n_tastes, divided)
    return spread * quality[:, None] + taste + severity + noise * rng.normal(size=severity.shape)


def _tastes(n_items, n_annotators, rng, taste_sd, n_tastes, divided):
    """What taste adds to every label: a contrast between groups, of a size of its own for every item."""
    divisiveness = taste_sd * rng.exponential(size=n_items)
    tastes = rng.normal(size=(n_items, n_tastes))
    tastes -= tastes.mean(1, keepdims=True)
    if divided > 0:
        camps = rng.random(n_items) < divided
        tastes[camps] = 2.0 * np.sign(tastes[camps]) / divisiveness[camps, None]
    return (divisiveness[:, None] * tastes)[:, np.arange(n_annotators) % n_tastes]


def ratings(perceived, cuts=CUTS):
    """Labels 1 to 5 of what annotators perceive."""
    return 1.0 + np.searchsorted(cuts, perceived)


def score(signal, strength, rng):
    """A scorer: `strength` parts of the standardised signal, the rest noise; standard deviation 1.

    Parameters
    ----------
    signal : ndarray of float, shape (n_items,)
    strength : float
        Correlation of the score with the signal, -1 to 1.
    rng : numpy.random.Generator
    """
    signal = (signal - signal.mean()) / signal.std()
    return strength * signal + np.sqrt(1 - strength**2) * rng.normal(size=len(signal))


def blind_on(scores, where, rng):
    """The same scorer without any signal on some items: its scores there are shuffled among themselves."""
    blind = scores.copy()
    blind[where] = rng.permutation(scores[where])
    return blind


def load_world(path):
    """Read a planted study, such as ``data/demo/people.yaml``.

    Raises
    ------
    ValueError
        If a block is missing or a scorer's strength is no correlation.
    """
    import yaml

    with open(files.resolve(path), encoding="utf-8") as file:
        world = yaml.safe_load(file)
    for block in ("n_prompts", "n_responses", "n_pairs", "n_pool", "n_annotators", "people", "scorers", "words"):
        if block not in world:
            raise ValueError(f"The planted study must have a `{block}` block, but it has {sorted(world)}.")
    world["scorers"] = [reading.current_names(scorer, "scorer_type") for scorer in world["scorers"]]
    for scorer in [*world["scorers"], *world.get("judges", [])]:
        if not -1 <= scorer["strength"] <= 1:
            raise ValueError(f"The strength of {scorer} must be a correlation, -1 to 1.")
    return world


def simulate(path, seed):
    """Draw the planted study of a file, and let its judges be asked.

    Parameters
    ----------
    path : path-like
        See `load_world`.
    seed : int

    Returns
    -------
    dict of str to pandas.DataFrame
        See `draw_study`.
    """
    return _simulated(str(path), seed)


@functools.lru_cache(maxsize=1)
def _simulated(path, seed):
    world = load_world(path)
    drawn = draw_study(world, seed)
    serve_judges(world, seed, drawn["truth"])
    return drawn


def draw_study(world, seed):
    """Draw the texts, the labels and the scores of a planted study.

    Parameters
    ----------
    world : dict
        From `load_world`.
    seed : int

    Returns
    -------
    dict of str to pandas.DataFrame
        ``absolute`` and ``pairs`` have the columns of the released sets; ``scores`` (prompt, response, scorer,
        scorer_type, score) those of an import file; ``pool`` (prompt, response) holds all responses of a prompt;
        ``truth`` (prompt, response, quality, blind_where) is for tests.
    """
    import pandas as pd

    rng = np.random.default_rng([seed, 8])
    quality, groups = draw_quality(world["n_prompts"], world["n_responses"], rng)
    prompts, texts, pool = _texts(world, rng)
    typical = _standard(_typicality(texts, pool, groups))
    length = _standard(np.log([len(text) for text in texts]))
    parts = world.get("quality", {})
    added = parts.get("typical", 0) * typical + parts.get("length", 0) * length
    quality = _standard(quality + added)
    n_annotators, people = world["n_annotators"], world["people"]
    perceived = draw_perceived(quality, n_annotators, rng, groups=groups, **people)
    labels = ratings(perceived)
    left, right = _pairs(groups, world["n_pairs"], rng)
    better = np.searchsorted([-1.2, -0.35, 0.35, 1.2], _pair_perceived(quality, left, right, n_annotators, people, rng))
    absent = {"absolute": rng.random(labels.shape), "pairs": rng.random(better.shape)}
    prompt_of = np.array(prompts, dtype=object)[groups]
    texts = np.array(texts, dtype=object)
    entropy = agreement.entropy_bits(agreement.label_counts(labels, [1, 2, 3, 4, 5]))
    contested = contested_set(entropy).mask

    def listed(values, kind):
        gone = absent[kind] < world.get("missing", 0)
        return [
            [None if g else int(v) for v, g in zip(row, out, strict=True)]
            for row, out in zip(values, gone, strict=True)
        ]

    return {
        "absolute": pd.DataFrame(
            {"user_query": prompt_of, "response": texts, "human_labels": listed(labels, "absolute"), "form_id": groups}
        ),
        "pairs": pd.DataFrame(
            {
                "user_query": prompt_of[left], "response_1": texts[left], "response_2": texts[right],
                "human_labels": listed(better - 2, "pairs"), "form_id": groups[left],
            }
        ),
        "scores": _scores(world, prompt_of, texts, quality, typical, contested, groups, rng),
        "pool": pd.DataFrame(
            [(prompt, text) for prompt, answers in zip(prompts, pool, strict=True) for text in answers],
            columns=["prompt", "response"],
        ),
        "truth": pd.DataFrame({"prompt": prompt_of, "response": texts, "quality": quality, "blind_where": contested}),
    }  # fmt: skip


def serve_judges(world, seed, truth):
    """Let the world's judges be asked as ``simulated/<name>``: they read the request and reply in JSON.

    Parameters
    ----------
    world : dict
        From `load_world`.
    seed : int
    truth : pandas.DataFrame
        From `draw_study`.

    Returns
    -------
    list of str
        Names of the models.
    """
    quality = dict(zip(truth["response"], truth["quality"], strict=True))
    judges = world.get("judges", [])
    for judge in judges:
        provider.serve(judge["model"].removeprefix(providers.PREFIX), _responder(judge, quality, seed))
    return [judge["model"] for judge in judges]


def _responder(judge, quality, study_seed):
    import json
    import re

    def responder(messages, *, n, seed, parameters):
        request = messages[0]["content"]
        texts = re.findall(r"<response[_12]*>\n(.*?)\n</response[_12]*>", request, re.DOTALL)
        criteria = re.findall(r'"(\w+)": \{"score"', request)
        rng = ids.generator("judge", judge["model"], study_seed, *texts, seed or 0)
        answers = []
        for _ in range(n):
            noise = np.sqrt(1 - judge["strength"] ** 2) * rng.normal(size=(len(texts), len(criteria)))
            seen = judge["strength"] * np.array([quality[text] for text in texts])[:, None] + noise
            if len(texts) == 2:
                favour = seen[0] - seen[1] + judge.get("position", 0)
                scores = np.searchsorted([-1.2, -0.35, 0.35, 1.2], favour) - 2
            else:
                scores = 1 + np.searchsorted(CUTS, seen[0])
            content = {c: {"score": int(s), "reason": "planted"} for c, s in zip(criteria, scores, strict=True)}
            answers.append(provider.Answer(json.dumps(content)))
        return answers

    return responder


def _scores(world, prompt_of, texts, quality, typical, contested, groups, rng):
    import pandas as pd

    frames = []
    for scorer in world["scorers"]:
        slopes = np.exp(scorer.get("slope", 0) * rng.normal(size=groups.max() + 1))[groups]
        values = score(quality * slopes + scorer.get("typical", 0) * typical, scorer["strength"], rng)
        if scorer.get("blind"):
            values = blind_on(values, contested, rng)
        if "values" in scorer:  # a judge gives whole numbers
            values = 1.0 + np.searchsorted(np.quantile(values, [0.05, 0.2, 0.5, 0.85]), values)
        values[rng.random(len(values)) < scorer.get("missing", 0)] = np.nan
        name, kind = scorer["scorer"], scorer["scorer_type"]
        frames.append(
            pd.DataFrame({"prompt": prompt_of, "response": texts, "scorer": name, "scorer_type": kind, "score": values})
        )
    return pd.concat(frames, ignore_index=True)


def _texts(world, rng):
    """Prompts, rated responses, and the pool of every prompt, all texts different."""
    words = {name.rstrip("s"): [w.strip() for w in options.split("|")] for name, options in world["words"].items()}
    frames = [frame.strip() for frame in world["prompts"].split("|")]
    prompts, texts, pools, seen = [], [], [], set()
    while len(prompts) < world["n_prompts"]:
        prompt = frames[len(prompts) % len(frames)].format(**{name: rng.choice(words[name]) for name in words})
        if prompt not in prompts:
            prompts.append(prompt)
    for _ in prompts:
        leaning = {name: rng.dirichlet(np.full(len(options), 0.35)) for name, options in words.items()}
        pool = []
        while len(pool) < world["n_pool"]:
            clauses = [
                " ".join(rng.choice(words[name], p=leaning[name]) for name in ("subject", "verb", "object", "ending"))
                for _ in range(rng.integers(1, 5))
            ]
            text = f"{rng.choice(words['opening'])}: {', and '.join(clauses)}."
            if text not in seen:
                seen.add(text)
                pool.append(text)
        texts += pool[: world["n_responses"]]
        pools.append(pool)
    return prompts, texts, pools


def _typicality(texts, pools, groups):
    """Share of a response's words that the other responses of its prompt use, weighed by how often they do."""
    values = np.empty(len(texts))
    for i, text in enumerate(texts):
        others = [set(answer.split()) for answer in pools[groups[i]] if answer != text]
        values[i] = np.mean([np.mean([word in answer for word in text.split()]) for answer in others])
    return values


def _pairs(groups, n_pairs, rng):
    left, right = [], []
    for prompt in range(groups.max() + 1):
        rows = np.flatnonzero(groups == prompt)
        a, b = np.triu_indices(len(rows), 1)
        chosen = rng.choice(len(a), n_pairs, replace=False)
        swap = rng.random(n_pairs) < 0.5
        left += rows[np.where(swap, b[chosen], a[chosen])].tolist()
        right += rows[np.where(swap, a[chosen], b[chosen])].tolist()
    return np.array(left), np.array(right)


def _pair_perceived(quality, left, right, n_annotators, people, rng):
    names = ("taste_sd", "n_tastes", "divided")
    taste = _tastes(len(left), n_annotators, rng, *(people[name] for name in names))
    noise = people["noise"] * rng.normal(size=taste.shape)
    return (people["spread"] * (quality[left] - quality[right]))[:, None] + taste + noise


def _standard(values):
    values = np.asarray(values, float)
    return (values - values.mean()) / values.std()
