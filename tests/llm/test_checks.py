"""What a profile may say of requests: names and values, refused with name, expected and received."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.llm import checks, cost, sampler
from hivemind_utils.llm import request as request_llm
from hivemind_utils.ratings import scores
from hivemind_utils.responses import design
from hivemind_utils.responses import registry as reg

BAD_NUMBERS = [math.nan, math.inf, -math.inf, -1, -0.01, "4", "100", True, [1], {}, 1j]


@pytest.mark.parametrize("value", [*BAD_NUMBERS, None])
def test_a_budget_is_a_number_from_zero_on(value, tmp_path):
    with pytest.raises(ValueError, match=r"`budget_usd` must be a number from 0, but .* was given"):
        sampler.run([], tmp_path / "store.sqlite", budget_usd=value)
    assert not (tmp_path / "store.sqlite").exists(), "refused before anything is opened"


@pytest.mark.parametrize("value", [0, 0.0, 2, 2.5, np.float64(3), np.int64(3)])
def test_budgets_that_are_numbers_pass(value):
    assert checks.budget(value) == value


@pytest.mark.parametrize("value", [*BAD_NUMBERS, None])
@pytest.mark.parametrize("side", [0, 1])
def test_a_price_is_two_numbers_from_zero_on(value, side):
    pair = [1.0, 2.0]
    pair[side] = value
    with pytest.raises(ValueError, match=r"`prices: m: (input|output)` must be a number from 0"):
        checks.prices({"m": pair})


@pytest.mark.parametrize("value", [5, "1,2", [1], [1, 2, 3], None, {"input": 1}])
def test_a_price_is_a_pair(value):
    with pytest.raises(ValueError, match="`prices: m` must be two numbers"):
        checks.prices({"m": value})


@pytest.mark.parametrize("value", ["4", 2.5, None, 0, -1, True, math.nan, [4]])
def test_concurrency_is_a_whole_number(value):
    with pytest.raises(ValueError, match="`limits: default: concurrency` must be a whole number from 1"):
        cost.with_defaults({"default": {"concurrency": value}})


@pytest.mark.parametrize("value", ["60", 0, -1, True, math.nan, math.inf])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_rates_are_numbers_or_none(name, value):
    with pytest.raises(ValueError, match=f"`limits: openai: {name}` must be a number .* or null"):
        cost.with_defaults({"openai": {name: value}})
    assert cost.with_defaults({"openai": {name: None}})["openai"][name] is None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"opnai": {}}, "`limits` names 'opnai', which is not known. Did you mean 'openai'"),
        ({"defualt": {}}, "Did you mean 'default'"),
        ({"openai": {"concurency": 4}}, "`limits: openai` names 'concurency', .* Did you mean 'concurrency'"),
        ({"openai": {"rpm": 4}}, "The names are concurrency, requests_per_minute, tokens_per_minute"),
        ({"openai": 4}, "`limits: openai` must be a mapping"),
        ([4], "`limits` must be a mapping"),
    ],
)
def test_names_of_limits(limits, message):
    with pytest.raises(ValueError, match=message):
        cost.with_defaults(limits)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperture": 0.2}, "names 'temperture', which is not known. Did you mean 'temperature'"),
        ({"topp": 0.2}, "Did you mean 'top_p'"),
        ({"zzz": 5}, "The parameters are frequency_penalty"),
        ({"max_tokens": -5}, "max_tokens` must be a whole number from 1 to 1e.07, but -5 was given"),
        ({"max_tokens": "100"}, "max_tokens` must be a whole number .* but '100' was given"),
        ({"max_tokens": 0}, "max_tokens` must be"),
        ({"max_tokens": 2.5}, "max_tokens` must be"),
        ({"max_tokens": None}, "max_tokens` must be"),
        ({"max_completion_tokens": True}, "max_completion_tokens` must be"),
        ({"temperature": "hot"}, "temperature` must be a number from 0 to 5"),
        ({"temperature": math.nan}, "temperature` must be"),
        ({"top_p": 1.5}, "top_p` must be a number from 0 to 1"),
        ({"min_p": -0.1}, "min_p` must be"),
        ({"top_k": 2.5}, "top_k` must be a whole number"),
        ({"extra_body": {"max_tokens": 100000}}, "extra_body` may not hold 'max_tokens', but 100000 was given"),
        ({"extra_body": {"MaxTokens": 9}}, "may not hold"),
        ({"extra_body": {"max_new_tokens": 9}}, "may not hold"),
        ({"extra_body": {"max_output_tokens": 9}}, "may not hold"),
        ({"extra_body": {"num_predict": 9}}, "may not hold"),
        ({"extra_body": {"n": 9}}, "may not hold"),
        ({"extra_body": {"best_of": 9}}, "may not hold"),
        ({"extra_body": {"generationConfig": {"maxOutputTokens": 9}}}, "generationConfig` may not hold"),
        ({"extra_body": {"options": [{"num_predict": 9}]}}, "options` may not hold"),
        ({"reasoning": {"max_tokens": 9}}, "parameters: reasoning` may not hold 'max_tokens', but 9 was given"),
        ({"provider": {"n": 5, "order": ["a"]}}, "provider` may not hold 'n'"),
        ({"provider": [{"a": {"max_output_tokens": 5}}]}, "provider: a` may not hold"),
        ({"chat_template_kwargs": {"num_predict": 5}}, "chat_template_kwargs` may not hold"),
        ({"thinking": {"MaxTokens": 5}}, "thinking` may not hold"),
        ({"extra_body": {"model": "x"}}, "may not hold"),
        ({"extra_body": {"temperature": 1}}, "write it in the decoding"),
        ({"extra_body": 5}, "extra_body` must be a mapping"),
    ],
)
def test_parameters_of_a_request(parameters, message):
    with pytest.raises(ValueError, match=message):
        request_llm.Request("openai/m", "Hi", parameters)


def test_parameters_that_stay():
    body = {"guided_choice": ["a"], "options": {"seed_words": 2}}
    parameters = {"temperature": 1, "top_k": -1, "min_p": 0.1, "max_tokens": 5, "extra_body": body}
    assert request_llm.Request("openai/m", "Hi", parameters).parameters["extra_body"] == body


def test_names_inside_other_parameters_that_stay():
    schema = {"json_schema": {"schema": {"properties": {"n": {"type": "integer"}, "max_tokens": {"type": "integer"}}}}}
    parameters = {"response_format": schema, "reasoning": {"effort": "low"}, "provider": {"max_price": {"prompt": 1}},
                  "thinking": {"type": "enabled", "budget_tokens": 9}, "max_tokens": 20}  # fmt: skip
    assert request_llm.Request("openai/m", "Hi", parameters).parameters == parameters


@pytest.mark.parametrize(
    ("parameters", "most"),
    [({"max_tokens": 100, "max_completion_tokens": 10}, 100), ({"max_tokens": 10, "max_completion_tokens": 100}, 100),
     ({"max_tokens": 7}, 7), ({"max_completion_tokens": 8}, 8), ({}, request_llm.MAX_TOKENS)],
)  # fmt: skip
def test_the_larger_of_both_names_is_set_aside(parameters, most):
    assert request_llm.most_tokens(parameters) == most


PROMPTS = pd.DataFrame({"prompt_id": ["p"], "prompt": ["Hi"], "prompt_kind": ["original"]}).reindex(
    columns=design.response_prompts.PROMPT_COLUMNS
)
MODELS = pd.DataFrame({"model": ["Local"], "litellm_id": ["openai/my-local"], "price_in": [None], "price_out": [None]})
DECODINGS = {"d": {"max_tokens": 5}}


@pytest.mark.parametrize("name", ["my-local", "openai/my-locl", "local", "openai"])
def test_an_address_belongs_to_a_model_that_is_asked(name):
    with pytest.raises(ValueError, match=f"`api_bases` names '{name}', which is not known"):
        design.cells(PROMPTS, MODELS, DECODINGS, 2, api_bases={name: "http://127.0.0.1:1/v1"})
    with pytest.raises(ValueError, match="Did you mean 'openai/my-local'"):
        design.cells(PROMPTS, MODELS, DECODINGS, 2, api_bases={"my-local": "http://127.0.0.1:1/v1"})


def test_so_do_aliases():
    with pytest.raises(ValueError, match=r"`aliases` names 'my-local'.* Did you mean 'openai/my-local'"):
        design.cells(PROMPTS, MODELS, DECODINGS, 2, aliases={"my-local": ["x"]})


@pytest.mark.parametrize("address", ["127.0.0.1:80", 8000, None, "ftp://x/", "http://"])
def test_an_address_is_one(address):
    with pytest.raises(ValueError, match="`api_bases: Local` must be an address"):
        design.cells(PROMPTS, MODELS, DECODINGS, 2, api_bases={"Local": address})


@pytest.mark.parametrize(("name", "value"), [("per_call", 0), ("per_call", 2.5), ("per_call", "5")])
def test_counts_of_a_design(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a whole number from 1"):
        design.cells(PROMPTS, MODELS, DECODINGS, 2, **{name: value})


@pytest.mark.parametrize("decodings", [{}, None, {"d": {"temperture": 1}}, {"d": 5}, {"d": {"max_tokens": -1}}])
def test_decodings_of_a_design(decodings):
    with pytest.raises(ValueError, match="`decodings"):
        design.cells(PROMPTS, MODELS, decodings, 2)


def test_prices_know_both_names_and_refuse_a_misspelt_one():
    assert reg.prices(MODELS, {"Local": [1, 2]}) == {"openai/my-local": [1, 2]}
    assert reg.prices(MODELS, {"openai/my-local": [1, 2], "openai/gpt-4o": [3, 4]})["openai/gpt-4o"] == [
        3,
        4,
    ]
    with pytest.raises(ValueError, match=r"`prices` names 'openai/my-locall'.* Did you mean 'openai/my-local'"):
        reg.prices(MODELS, {"openai/my-locall": [1, 2]})
    both = {"openai/my-local": [1, 2], "openai/my-locall": [3, 4]}
    assert len(reg.prices(MODELS, both)) == 2, "the second is a writer's"
    writer = {"hosted_vllm/qqqqqqqqqq": [1, 2]}
    assert reg.prices(MODELS, writer, others=["hosted_vllm/qqqqqqqqqq"]) == {"hosted_vllm/qqqqqqqqqq": [1, 2]}


def test_kinds_of_scores_name_scorers_that_occur():
    frame = pd.DataFrame({"item_id": ["i"], "scorer": ["gpt-judge"], "score": [1]})
    assert scores.unroll(frame, kinds={"gpt-judge": "judge"})["scorer_type"].tolist() == ["judge"]
    with pytest.raises(ValueError, match=r"`scores_kinds` names 'gtp-judge'.* Did you mean 'gpt-judge'"):
        scores.unroll(frame, kinds={"gtp-judge": "judge"})


def test_a_suffix_is_the_nearest_name():
    known = SimpleNamespace(names=["openai/a-long-name", "anthropic/other"])
    assert checks.nearest("a-long-name", known.names) == "openai/a-long-name"
    assert checks.nearest("zzz", known.names) is None
