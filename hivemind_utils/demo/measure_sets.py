"""Sets of responses whose ideas and form are known, written from the demo's grammar, on which measures are tried."""

from pathlib import PurePath

import pandas as pd

from hivemind_utils.demo import population as population_demo
from hivemind_utils.metrics import validity
from hivemind_utils.responses import validity as response_validity

MIN_FRAMES, SIZE = 3, 5  # frames of a prompt whose form can vary; responses in a set


def load(path, n_sets, rng):
    """Sets of responses of known content: written from a population's grammar, or read from a file of labelled sets.

    Parameters
    ----------
    path : str or path-like
        A population (YAML), or a file that `responses.validity.read_sets` reads.
    n_sets : int
        Sets of each kind and prompt that are written; a file is taken as it is.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        As `crossed` or `responses.validity.read_sets` return it.
    """
    if str(path).endswith((".yaml", ".yml")):
        return crossed(population_demo.load_population(path), n_sets, rng)
    return response_validity.read_sets(path)


def origin(path):
    """Source and origin of the sets, as `Study.apart` takes them."""
    if str(path).endswith((".yaml", ".yml")):
        return "written", f"sets of known content, from {PurePath(path).name}"
    return "imported", f"sets of labelled content: {PurePath(path).name}"


def crossed(population, n_sets, rng):
    """Write sets in which ideas are one or all different, and form is fixed or varied, crossed.

    Prompts take part whose form can vary (three frames or more) and that have five ideas in the frames all share.

    Parameters
    ----------
    population : dict
        From `population.load_population`.
    n_sets : int
        Sets of each of the four kinds, per prompt.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        One row per response: context (the prompt), set_id, ideas and form ("fixed" or "varied"), label (1: ideas
        varied), response.

    Raises
    ------
    ValueError
        If no prompt can take part, or `n_sets` is below 1.
    """
    if n_sets < 1:
        raise ValueError(f"Sets of known content must be 1 or more (`n_validity_sets`), but {n_sets} were asked for.")
    rows = []
    for prompt in population["prompts"]:
        ideas = [idea for idea in prompt["ideas"] if "frames" not in idea["own"] and not idea.get("only_people")]
        if prompt["prompt_kind"] != "original" or len(ideas) < SIZE or len(ideas[0]["frames"]) < MIN_FRAMES:
            continue
        rows += _sets(prompt["prompt_id"], ideas, n_sets, rng)
    if not rows:
        raise ValueError(
            f"Sets need a prompt with {MIN_FRAMES} frames and {SIZE} ideas without frames of their own, but the "
            "population has none: add one."
        )
    return pd.DataFrame(rows, columns=[*response_validity.SETS, "ideas", "form"])


def _sets(prompt_id, ideas, n_sets, rng):
    slots = {"frames": min(len(idea["frames"]) for idea in ideas)}
    slots |= {slot: min(len(idea["slots"][slot]) for idea in ideas) for slot in sorted(ideas[0]["slots"])}
    drawn = {slot: validity.crossed_sets(len(ideas), n, 1, n_sets, rng, SIZE) for slot, n in slots.items() if n > 1}
    chosen, rows = drawn["frames"][0], []
    for number in range(n_sets):
        for i, of_ideas in enumerate(("fixed", "varied")):
            for f, of_form in enumerate(("fixed", "varied")):
                set_id = f"{prompt_id}/{number}/ideas-{of_ideas}/form-{of_form}"
                for k, idea in enumerate(chosen[number, i, f]):
                    options = {slot: int(drawn[slot][1][number, i, f, k, 0]) if slot in drawn else 0 for slot in slots}
                    text = _write(ideas[idea], "frames", options)
                    rows.append((prompt_id, set_id, i, text, of_ideas, of_form))
    return rows


def _write(idea, slot, options):
    text = (idea["frames"] if slot == "frames" else idea["slots"][slot])[options[slot]]

    def fill(match):
        name = match.group(1)
        filled = _write(idea, name.lower(), options)
        return filled[0].upper() + filled[1:] if name[0].isupper() else filled

    return population_demo.SLOT.sub(fill, text)
