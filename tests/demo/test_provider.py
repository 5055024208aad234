import subprocess
import sys

import pytest

from hivemind_utils.demo import provider
from hivemind_utils.llm import providers, replies, transport


def echo(messages, *, n, seed, parameters):
    said = f"{messages[-1]['content']} {seed} {sorted(parameters.items())}"
    return [provider.Answer(f"{said} #{i}", "length" if i else "stop") for i in range(n)]


def refuse(messages, *, n, seed, parameters):
    raise provider.Failure(429, "too many questions")


@pytest.fixture(scope="module", autouse=True)
def models():
    provider.serve("echo-1", echo)
    provider.serve("refuse-1", refuse)


def ask(model="simulated/echo-1", **options):
    asked = {"model": model, "messages": [{"role": "user", "content": "hello"}], "timeout": 5, "drop_params": False}
    return providers.wait_for(providers.completion(asked | options))


def test_parameters_seed_and_n_reach_the_responder():
    reply = ask(n=2, seed=7, temperature=0.5, extra_body={"min_p": 0.1})
    first, second = reply.choices
    assert first.message.content == "hello 7 [('min_p', 0.1), ('temperature', 0.5)] #0"
    assert second.message.content.endswith("#1") and second.finish_reason == "length"
    usage = reply.model_dump()["usage"]
    assert usage["prompt_tokens"] == 1 and usage["completion_tokens"] > 2


def test_a_failure_carries_its_status_and_message():
    with pytest.raises(Exception, match="too many questions") as caught:
        ask("simulated/refuse-1")
    assert caught.value.status_code == 429


def test_an_unknown_model_names_those_there_are():
    with pytest.raises(Exception, match="echo-1") as caught:
        ask("simulated/nobody")
    assert caught.value.status_code == 404


def test_a_mistake_in_a_responder_is_no_failure_that_may_pass():
    provider.serve("broken-1", lambda messages, *, n, seed, parameters: 1 / 0)
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        ask("simulated/broken-1")
    assert caught.value.status_code == 400


def test_a_reply_is_heard_as_one_of_litellm_is(tmp_path):
    """The same answers through litellm's own provider for functions: the store and the sampler see no difference."""
    litellm = providers.litellm()
    from litellm.llms.custom_llm import CustomLLM
    from litellm.types.utils import Choices, Message, Usage

    class Same(CustomLLM):
        async def acompletion(self, model, messages, *args, model_response, optional_params, **kwargs):
            found = echo(messages, n=optional_params["n"], seed=optional_params["seed"], parameters={})
            model_response.choices = [
                Choices(index=i, finish_reason=a.finish_reason, message=Message(content=a.text, role="assistant"))
                for i, a in enumerate(found)
            ]
            model_response.model = model
            said = sum(len(answer.text.split()) for answer in found)
            model_response.usage = Usage(prompt_tokens=1, completion_tokens=said, total_tokens=1 + said)
            return model_response

    litellm.custom_provider_map.append({"provider": "twin", "custom_handler": Same()})
    litellm.utils.custom_llm_setup()
    theirs = providers.wait_for(litellm.acompletion("twin/echo-1", [{"role": "user", "content": "hello"}], n=3, seed=7))
    heard = [replies.heard(reply, transport.Exchange("any", None)) for reply in (ask(n=3, seed=7), theirs)]
    assert heard[0] == heard[1] and len(heard[0].choices) == 3


def test_simulated_models_are_asked_without_litellm(tmp_path):
    """Its import takes seconds, of which every notebook of the demo would wait."""
    code = (
        "import sys; from hivemind_utils.demo import provider; from hivemind_utils.llm import request, sampler;"
        "provider.serve('kind-1', lambda messages, **_: [provider.Answer('A yes.')]);"
        "asked = [request.Request('simulated/kind-1', 'hi', {'temperature': 1.0})];"
        f"done = sampler.run(asked, {str(tmp_path / 's.sqlite')!r}, progress=False);"
        "assert done.counts['added'].sum() == 1, done; print('litellm' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("False", 0), ran.stderr
