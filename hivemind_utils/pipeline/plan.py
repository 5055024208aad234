"""Say what notebook 04 would ask and what it would cost: ``python -m hivemind_utils.pipeline.plan --profile paper``.

Nothing is asked and nothing is written; it works offline.
"""

import argparse
import importlib.util
import os
import sys

import numpy as np
import pandas as pd

from hivemind_utils.demo import population as population_demo
from hivemind_utils.llm import batches, gguf_models, gguf_server, providers, store
from hivemind_utils.pipeline import notebooks, profiles
from hivemind_utils.pipeline import pilot as pilots
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import design, registry
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import files, reading

TOKENS_PER_CORE_S = 100  # of the model that `make setup-llama` brings; benchmarks/local_model.py
ASSUMED_PROMPTS, ASSUMED_CHARS = 100, 80  # where the prompts cannot be read: the released set has 100


def report(spec, pilot=None):
    """Text of a profile's plan: a table by model and decoding, totals, and what is missing before it can run.

    Parameters
    ----------
    spec : str
        A profile's name or path.
    pilot : str, optional
        Profile whose notebook 05 says what differences can be found; the same one by default.

    Returns
    -------
    str
    """
    profile = profiles.load_profile(spec)
    profiles.check_common(profile)
    values = profiles.resolve(profile, notebooks.inspect("04_generate"))
    answers = values["answers_path"]
    first = answers[0] if isinstance(answers, list) else answers
    if first is not None and not first.endswith((".yaml", ".yml")):
        return f"Profile {profile.name} imports responses from files: no model is asked."
    store_path = files.store_path("04", profile.name)
    frame, prices, missing, arms, gone = _simulated(first, values) if first else _asked(values)
    rates = {"limits": values["limits"], "prices": prices, "batch": values["batch"]}
    plan = design.cost_plan(frame, store_path, arms=arms, gone=gone, **rates)
    missing += [] if first else _lacking(frame[[r.model not in gone for r in frame["request"]]], plan, values)
    local = set(frame.loc[[gguf_models.is_gguf(request.model) for request in frame["request"]], "model"])
    finds = pilots.lines(plan, frame, pilot or profile.name)
    return "\n".join([_table(plan), "", *_totals(plan, store_path, values, local), *finds, *_missing(missing)])


def _simulated(path, values):
    population = population_demo.load_population(path)
    chosen = {name: values[name] for name in ("seed", "prompts", "models", "n_samples", "per_call")}
    return population_demo.population_cells(population, path, **chosen), {}, [], population["planted"].arms, {}


def _asked(values):
    missing = []
    try:
        prompts = response_prompts.read_prompts(values["prompts_path"], values["prompt_columns"])
    except Exception as error:  # offline, fsspec and the hub raise many classes
        missing.append(
            f"prompts: {values['prompts_path']} cannot be read here ({type(error).__name__}); the counts below assume "
            f"{ASSUMED_PROMPTS} prompts of {ASSUMED_CHARS} characters"
        )
        names = [f"{i:0{ASSUMED_CHARS}d}" for i in range(ASSUMED_PROMPTS)]
        prompts = pd.DataFrame({"prompt_id": names, "prompt": names, "prompt_kind": "original"})
    prompts = prompts.reindex(columns=response_prompts.PROMPT_COLUMNS)
    if values["prompts"] is not None:
        prompts = prompts[prompts["prompt_id"].isin(values["prompts"])]
    if values["categories_path"]:
        prompts, _ = response_prompts.join_categories(prompts, reading.read_any(values["categories_path"]))
    if values["draw_prompts"]:  # the notebook's own draw
        n = min(values["draw_prompts"], int((prompts["prompt_kind"] == "original").sum()))
        prompts = response_prompts.draw_prompts(prompts, n, np.random.default_rng(values["seed"]))
    arms = response_arms.read(values["arms"])
    options = {"per_call": values["per_call"], "api_bases": values["api_bases"], "arms": arms}
    options["aliases"] = values["aliases"]
    if paraphrasing := values["paraphrasing"]:
        n = min(paraphrasing.get("n_prompts", len(prompts)), len(prompts)) * paraphrasing.get("n", 4)
        names = [f"paraphrase {i:0{ASSUMED_CHARS - 12}d}" for i in range(n)]
        missing.append(
            f"paraphrases: {n} are written and checked first, which is not priced; their responses are counted below"
        )
        added = pd.DataFrame({"prompt_id": names, "prompt": names, "prompt_kind": "paraphrase"})
        prompts = pd.concat([prompts, added], ignore_index=True)
        options["n_paraphrase_samples"] = paraphrasing.get("n_samples", 20)
    models = registry.choose_models(registry.read_registry(values["models_path"]), values["models"])
    frame = design.cells(prompts, models, values["decodings"], values["n_samples"] or 50, **options)
    gone = registry.retired(frame, models)
    missing += [f"models: {ending}" for ending in _ending(models, gone)]
    return frame, registry.prices(models, values["prices"]), missing, arms, gone


def _ending(models, gone):
    """Say which models are gone, and which have a known end."""
    days = registry.last_days(models)
    names = dict(zip(models["litellm_id"], models["model"], strict=True))
    over = [f"{names[model]} ({day})" for model, day in gone.items()]
    if over:
        yield f"{len(over)} are retired and are not asked: {', '.join(over)}"
    soon = [f"{names[model]} ({day})" for model, day in sorted(days.items(), key=lambda pair: pair[1])]
    soon = [name for name in soon if name not in over]
    if soon:
        yield f"{len(soon)} will be retired: {', '.join(soon)}"


def _lacking(frame, plan, values):
    """What must be provided before the plan can run: keys, servers, prices, a budget."""
    litellm = providers.litellm()
    requests = frame.drop_duplicates("model").set_index("model")["request"]
    files = [request.model for request in requests if gguf_models.is_gguf(request.model)]
    requests = requests[[request.model not in files for request in requests]]
    keys, homeless = {}, []
    for model, request in requests.items():
        if request.model.startswith("hosted_vllm/") and not request.api_base:
            homeless.append(model)
            continue
        for name in litellm.validate_environment(model=request.model)["missing_keys"]:
            if not name.endswith("_API_BASE") and not os.environ.get(name):
                keys.setdefault(name, []).append(model)
    lines = [f"key: {name} is not set ({_few(models)})" for name, models in keys.items()]
    if homeless:
        lines.append(
            f"servers: give `api_bases`, or HOSTED_VLLM_API_BASE, for {_few(homeless)}; see docs/local-servers.md"
        )
    unpriced = plan.loc[plan["cost_expected"].isna(), "model"].unique().tolist()
    if unpriced:
        lines.append(f"prices: unknown for {_few(unpriced)}; without one a model is not asked: give `prices`")
    if files and importlib.util.find_spec("xllamacpp") is None:
        lines.append(f"set-up: llama.cpp for {_few(files)}: run `make setup-llama`")
    if not values["budget_usd"] and len(requests):
        lines.append("budget: `budget_usd` is 0, so a run plans only and asks nobody")
    return lines


def _few(names):
    return f"{', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _table(plan):
    shown = plan.assign(model=plan["model"].str.slice(-44), hours=plan["hours"].round(2))
    for name in ("cost_low", "cost_expected", "cost_high"):
        shown[name] = ["unknown" if pd.isna(usd) else f"${usd:,.2f}" for usd in plan[name]]
    shown["retired"] = [f"retired {day}" if isinstance(day, str) else "" for day in plan["retired"]]
    for name in ("tokens_in", "tokens_out"):
        shown[name] = [f"{n:,.0f}" for n in plan[name]]
    return (shown if plan["retired"].notna().any() else shown.drop(columns="retired")).to_string(index=False)


def _totals(plan, store_path, values, names_on_this_machine=()):
    known = plan.dropna(subset=["cost_expected"])
    unknown = plan.loc[plan["cost_expected"].isna(), "model"].nunique()  # under any decoding
    low, expected, high = known[["cost_low", "cost_expected", "cost_high"]].sum()
    lines = [
        f"{plan['wanted'].sum():,} responses of {plan['model'].nunique()} models: {plan['stored'].sum():,} stored, "
        f"{plan['unsupported'].sum():,} unsupported, {plan['missing'].sum():,} missing, in "
        f"{plan['calls'].sum():,} calls",
        f"cost: ${expected:,.2f} expected (${low:,.2f} to ${high:,.2f})"
        + (f", and {unknown} models of unknown price" if unknown else ""),
        f"spent so far: ${store.spent(store_path):,.2f}; budget: ${values['budget_usd']:,.2f}",
    ]
    lines += [f"batches: {waiting}"] if (waiting := batches.waiting(store_path)) else []
    lines += [f"time: at least {plan['hours'].max():,.1f} h at the given rates"] if plan["hours"].any() else []
    local = plan["model"].isin(names_on_this_machine)
    if plan.loc[local, "missing"].sum():
        cores = gguf_server.usable_cores()
        minutes = plan.loc[local, "tokens_out"].sum() / (TOKENS_PER_CORE_S * cores) / 60
        lines.append(
            f"time: some {minutes:,.0f} minutes for models in GGUF files on {cores} cores, if nothing else runs, at "
            f"{TOKENS_PER_CORE_S} tokens per second and core (measured with 135 million parameters in 4 bits; a model "
            "of ten times the size takes ten times as long)"
        )
    return lines


def _missing(lines):
    return ["", "missing before it can run:", *(f"- {line}" for line in lines)] if lines else []


def main(arguments=None):
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hivemind_utils.pipeline.plan", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="demo", help="a name in params/ or a path to a YAML file (default: demo)")
    parser.add_argument("--pilot", default=None, help="profile whose notebook 05 is the pilot (default: the same)")
    options = parser.parse_args(arguments)
    try:
        print(report(options.profile, options.pilot or None))
    except (notebooks.UserError, ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
