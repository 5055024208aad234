"""Simulated judges of ideas and of quality: they read a response by the demo's grammar, and the first sometimes errs.

The judge is asked like a real one. What it knows is the grammar of ``data/demo/population.yaml``: which
phrases belong to which idea. Its errors, and responses that do not fit the form, depend on the text alone.
"""

import json
import re

from hivemind_utils.demo import population as population_demo
from hivemind_utils.demo import provider
from hivemind_utils.llm import providers
from hivemind_utils.tables import ids

NAME = "ideas-by-marrowglass"  # an obviously invented labeller


GRADER = "grades-by-marrowglass"  # the same, as a judge of quality


ERROR_RATE = 0.1  # planted: share of the responses it gives another idea of the list


CLUMSY_RATE = 0.03  # planted: share of the questions first answered without the form asked for


def judge_to_ask(judge, source, population_path):
    """Say which judge may label: a simulated one is served, and labels simulated responses only.

    Parameters
    ----------
    judge : str or None
        A litellm id, or ``simulated/<name>``.
    source : str
        Where the responses come from, such as "simulated".
    population_path : path-like
        The population whose grammar the simulated judge knows.

    Returns
    -------
    str or None
        None: no judge labels.
    """
    if judge is None or not judge.startswith(providers.PREFIX):
        return judge
    if source != "simulated":
        return None
    return serve(population_demo.load_population(population_path), name=judge.removeprefix(providers.PREFIX))


def judges_to_ask(study, judge, graders, population_path):
    """Say which judge may label ideas, and which may grade, in a study; see `judge_to_ask` and `graders_to_ask`."""
    source = study.stamp["source"]
    return judge_to_ask(judge, source, population_path), graders_to_ask(graders, source, population_path)


def graders_to_ask(judges, source, population_path):
    """Say which judges of quality may grade; simulated ones are served, and grade simulated responses only.

    Parameters
    ----------
    judges : sequence of str
        litellm ids, or ``simulated/<name>``.
    source, population_path
        See `judge_to_ask`.

    Returns
    -------
    list of str
    """
    simulated = [name for name in judges if name.startswith(providers.PREFIX)]
    if simulated and source == "simulated":
        population = population_demo.load_population(population_path)
        for name in simulated:
            serve_grader(population, name.removeprefix(providers.PREFIX))
    return [name for name in judges if source == "simulated" or name not in simulated]


def serve_grader(population, name=GRADER):
    """Serve a judge of quality as ``simulated/<name>``: see `grade`; returns its name."""
    prompts = {prompt["text"]: prompt for prompt in population["prompts"]}
    readers = {text: reader(prompt) for text, prompt in prompts.items()}

    def respond(messages, *, n, seed, parameters):
        question = messages[0]["content"]
        asked, text = (
            re.search(rf"<{tag}>\n(.*?)\n</{tag}>", question, re.DOTALL).group(1) for tag in ("request", "response")
        )
        score = grade(prompts[asked], text, readers[asked])
        return [provider.Answer(json.dumps({"overall": {"score": score, "reason": "by the grammar"}}))] * n

    provider.serve(name, respond)
    return providers.PREFIX + name


def grade(prompt, text, read=None):
    """Planted quality of a response, 1 to 5: 5 in the first sentence of its prompt, 4 in others, 1 off the topic."""
    if (read or reader(prompt))(text) is None:
        return 1
    first = _pattern(prompt["ideas"][0]["frames"][0])
    return 5 if first.fullmatch(text.replace("**", "").casefold()) else 4


def serve(population, *, name=NAME, error_rate=ERROR_RATE, clumsy_rate=CLUMSY_RATE):
    """Serve the judge as ``simulated/<name>``.

    Parameters
    ----------
    population : dict
        From `simulate.load_population`.
    name : str
    error_rate, clumsy_rate : float
        0 to 1.

    Returns
    -------
    str
        The model's name, as requests have it.
    """
    readers = {prompt["text"]: reader(prompt) for prompt in population["prompts"]}

    def respond(messages, *, n, seed, parameters):
        question = messages[0]["content"]
        rng = ids.generator("judge", name, question)
        clumsy, errs = rng.random(2) < (clumsy_rate, error_rate)
        if clumsy and len(messages) == 1:
            return [provider.Answer("Hard to say; it rests on something.")] * n
        read = readers[re.search(r"<prompt>\n(.*?)\n</prompt>", question, re.DOTALL).group(1)]
        listed = re.search(r"<ideas>\n(.*)\n</ideas>", question, re.DOTALL)
        if listed is None:
            answers = re.search(r"<answers>\n(.*)\n</answers>", question, re.DOTALL).group(1).split("\n")
            found = [read(answer.removeprefix("- ")) for answer in answers]
            reply = {"ideas": sorted({idea for idea in found if idea}) or ["unclear"]}
        else:
            ideas = [line.split(". ", 1)[1] for line in listed.group(1).split("\n")]
            idea = read(re.search(r"<answer>\n(.*)\n</answer>", question, re.DOTALL).group(1))
            if errs and len(ideas) > 1:
                idea = rng.choice([other for other in ideas if other != idea])
            reply = {"idea": ideas.index(idea) + 1 if idea in ideas else 0}
        return [provider.Answer(json.dumps(reply))] * n

    provider.serve(name, respond)
    return providers.PREFIX + name


def reader(prompt):
    """Make a function that names the idea of a response to one prompt by the phrases in it.

    Parameters
    ----------
    prompt : dict
        Of an expanded population, with the phrases of its ideas.

    Returns
    -------
    callable
        Text to name of the idea whose own phrases cover most of it; None where there is none. The one idea of a
        closed-ended prompt has no phrases, and is known by its sentences.
    """
    patterns = {}
    for idea in prompt["ideas"]:
        options = [option for slot, texts in idea["slots"].items() if slot in idea["own"] for option in texts]
        options += idea["frames"] if "frames" in idea["own"] or prompt.get("prompt_kind") == "closed" else []
        patterns[idea["idea"]] = [_pattern(option) for option in sorted(options, key=len, reverse=True)]

    def read(text):
        plain = text.replace("**", "").casefold()
        covered = {
            name: sum(len(m.group()) for p in found if (m := p.search(plain))) for name, found in patterns.items()
        }
        best = max(covered, key=covered.get)
        return best if covered[best] > 0 else None

    return read


def _pattern(option):
    """Regular expression of a phrase, its slots open."""
    parts = population_demo.SLOT.split(option.casefold())
    return re.compile(".{1,40}?".join(re.escape(part) for part in parts[::2]))
