import pytest

from hivemind_utils.demo import provider
from hivemind_utils.llm import providers


def echo(messages, *, n, seed, parameters):
    said = f"{messages[-1]['content']} {seed} {sorted(parameters.items())}"
    return [provider.Answer(f"{said} #{i}", "length" if i else "stop") for i in range(n)]


def refuse(messages, *, n, seed, parameters):
    raise provider.Failure(429, "too many questions")


@pytest.fixture(scope="module")
def litellm():
    provider.serve("echo-1", echo)
    provider.serve("refuse-1", refuse)
    import litellm

    return litellm


def ask(litellm, model="simulated/echo-1", **options):
    return litellm.completion(model, [{"role": "user", "content": "hello"}], **options)


def test_parameters_seed_and_n_reach_the_responder(litellm):
    reply = ask(litellm, n=2, seed=7, temperature=0.5, extra_body={"min_p": 0.1})
    first, second = reply.choices
    assert first.message.content == "hello 7 [('min_p', 0.1), ('temperature', 0.5)] #0"
    assert second.message.content.endswith("#1") and second.finish_reason == "length"
    assert reply.usage.prompt_tokens == 1 and reply.usage.completion_tokens > 2


def test_the_asynchronous_call_answers_alike(litellm):
    reply = providers.wait_for(litellm.acompletion("simulated/echo-1", [{"role": "user", "content": "hello"}], seed=7))
    assert reply.choices[0].message.content == ask(litellm, seed=7).choices[0].message.content


def test_a_failure_carries_its_status_and_message(litellm):
    with pytest.raises(Exception, match="too many questions") as caught:
        ask(litellm, "simulated/refuse-1")
    assert caught.value.status_code == 429


def test_an_unknown_model_names_those_there_are(litellm):
    with pytest.raises(Exception, match="echo-1") as caught:
        ask(litellm, "simulated/nobody")
    assert caught.value.status_code == 404


def test_a_mistake_in_a_responder_is_no_failure_that_may_pass(litellm):
    provider.serve("broken-1", lambda messages, *, n, seed, parameters: 1 / 0)
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        ask(litellm, "simulated/broken-1")
    assert caught.value.status_code == 400
