"""The clients that agents are built on, unmodified: litellm, langchain-openai, langchain-huggingface and
smolagents, against the gateway's own engine and against a mock upstream that calls tools."""

import os

import pytest
from harness.gateway import Gateway, make_config, paid
from harness.mock import Mock, answer

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no look-up on the network

QUESTION = "What is the capital of France? Answer in one sentence."
WORDS = 12
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks at a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["city", "n"],
        },
    },
}
CALL = {"city": "Oslo", "n": 2}


@pytest.fixture(scope="module")
def fleet(binaries, tmp_path_factory):
    """(gateway, mock): chat at an OpenAI upstream, vectors at a TEI."""
    folder = tmp_path_factory.mktemp("agents")
    with Mock(folder, "up", words=WORDS) as mock:
        vectors = paid(mock, name="embed", model="vec-model") | {"dialect": "tei", "url": mock.url}
        config = make_config([paid(mock, model="up-model"), vectors])
        with Gateway(folder / "home", config) as gateway:
            yield gateway, mock
        mock.kill()


@pytest.fixture
def up(fleet):
    fleet[1].reset()
    return fleet


class TestLiteLlm:
    """litellm as a library, by way of its OpenAI, Anthropic and Hugging Face adapters."""

    def ask(self, gateway, provider="openai", **more):
        import litellm

        base = gateway.base_url if provider == "openai" else gateway.url
        request = {
            "model": f"{provider}/auto",
            "messages": [{"role": "user", "content": QUESTION}],
            "api_base": base,
            "api_key": "none",
            "max_tokens": 40,
            "timeout": 60,
            "num_retries": 0,
        }
        return litellm.completion(**(request | more))

    @pytest.mark.parametrize("provider", ["openai", "anthropic"])
    def test_the_engine_answers(self, local_gateway, provider):
        whole = self.ask(local_gateway, provider, temperature=0)
        assert "Paris" in whole.choices[0].message.content
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage.completion_tokens > 2
        chunks = list(self.ask(local_gateway, provider, temperature=0, stream=True))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == whole.choices[0].message.content

    @pytest.mark.parametrize("provider", ["openai", "anthropic"])
    def test_tools(self, up, provider):
        import json

        gateway, mock = up
        mock.script({"fault": "answer", "calls": 2})
        message = self.ask(gateway, provider, tools=[TOOL]).choices[0].message
        assert [json.loads(call.function.arguments) for call in message.tool_calls] == [CALL, CALL]

    def test_embeddings(self, up):
        import litellm

        gateway, _ = up
        got = litellm.embedding(
            model="openai/embed", input=["a", "b"], api_base=gateway.base_url, api_key="none"
        )
        assert len(got.data) == 2 and len(got.data[0]["embedding"]) == 8


class TestLangChainOpenAi:
    def chat(self, gateway, **more):
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(
            model="auto",
            base_url=gateway.base_url,
            api_key="none",
            max_retries=0,
            timeout=60,
            stream_usage=True,
            **more,
        )

    @pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
    def test_the_engine_answers(self, local_gateway, responses):
        chat = self.chat(local_gateway, temperature=0, max_tokens=40, use_responses_api=responses)
        message = chat.invoke(QUESTION)
        assert "Paris" in message.text
        assert message.usage_metadata["output_tokens"] > 2
        streamed = None
        for chunk in chat.stream(QUESTION):
            streamed = chunk if streamed is None else streamed + chunk
        assert streamed.text == message.text
        assert streamed.usage_metadata["output_tokens"] == message.usage_metadata["output_tokens"]

    @pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
    def test_a_tool_loop(self, up, responses):
        from langchain_core.messages import HumanMessage, ToolMessage
        from langchain_core.tools import tool

        @tool
        def look(city: str, n: int) -> str:
            """Looks at a city"""
            return f"{city} {n}"

        gateway, mock = up
        mock.script({"fault": "answer", "calls": 2})
        chat = self.chat(gateway, use_responses_api=responses).bind_tools([look])
        first = chat.invoke([HumanMessage(QUESTION)])
        assert [call["args"] for call in first.tool_calls] == [CALL, CALL]
        results = [look.invoke(call) for call in first.tool_calls]
        assert all(isinstance(result, ToolMessage) for result in results)
        last = chat.invoke([HumanMessage(QUESTION), first, *results])
        assert last.text == answer(WORDS)

    def test_embeddings(self, up):
        from langchain_openai import OpenAIEmbeddings

        gateway, _ = up
        # check_embedding_ctx_length would look for OpenAI's own tokenizer on the network.
        vectors = OpenAIEmbeddings(
            model="embed",
            base_url=gateway.base_url,
            api_key="none",
            check_embedding_ctx_length=False,
        ).embed_documents(["a", "b"])
        assert len(vectors) == 2 and len(vectors[0]) == 8


class TestLangChainHuggingFace:
    def test_the_engine_answers_as_tgi(self, local_gateway):
        from langchain_huggingface import ChatHuggingFace, HuggingFaceEndpoint

        llm = HuggingFaceEndpoint(
            endpoint_url=local_gateway.url,
            huggingfacehub_api_token="none",
            task="text-generation",
            max_new_tokens=24,
            seed=7,  # it always samples: its defaults set temperature, top_p and typical_p
            timeout=60,
        )
        prompt = "Once upon a time there was a little"
        whole = llm.invoke(prompt)
        assert len(whole) > 10
        assert "".join(llm.stream(prompt)) == whole
        chat = ChatHuggingFace(llm=llm, model_id="auto", max_tokens=40, temperature=0)
        assert "Paris" in chat.invoke(QUESTION).text

    def test_vectors_as_tei(self, up):
        from huggingface_hub import InferenceClient
        from langchain_huggingface import HuggingFaceEndpointEmbeddings

        gateway, _ = up
        embed = HuggingFaceEndpointEmbeddings()
        embed.client = InferenceClient(model=gateway.url + "/embed")
        vectors = embed.embed_documents(["a", "b"])
        assert len(vectors) == 2 and len(vectors[0]) == 8
        assert embed.embed_query("a") == pytest.approx(vectors[0])


class TestSmolAgents:
    @pytest.fixture
    def look(self):
        from smolagents import tool

        @tool
        def look(city: str, n: int) -> str:
            """Looks at a city.

            Args:
                city: Where to look.
                n: How often.
            """
            return f"{city} {n}"

        return look

    def run(self, model, look, mock):
        """One step that calls the tool, then the answer in words."""
        from smolagents import ToolCallingAgent

        mock.script({"fault": "answer", "calls": 1})
        agent = ToolCallingAgent(tools=[look], model=model, max_steps=1, verbosity_level=0)
        said = agent.run(QUESTION)
        steps = [step for step in agent.memory.steps if getattr(step, "tool_calls", None)]
        assert [call.arguments for call in steps[0].tool_calls] == [CALL]
        assert "Oslo 2" in str(steps[0].observations)
        assert said == answer(WORDS)

    def test_openai_model(self, up, look):
        from smolagents import OpenAIServerModel

        gateway, mock = up
        model = OpenAIServerModel(model_id="auto", api_base=gateway.base_url, api_key="none")
        self.run(model, look, mock)

    def test_inference_client_model(self, up, look):
        from smolagents import InferenceClientModel

        gateway, mock = up
        model = InferenceClientModel(model_id=gateway.base_url, token="none", timeout=60)
        self.run(model, look, mock)

    @pytest.mark.parametrize("provider", ["openai", "anthropic"])
    def test_litellm_model(self, up, look, provider):
        from smolagents import LiteLLMModel

        gateway, mock = up
        base = gateway.base_url if provider == "openai" else gateway.url
        model = LiteLLMModel(model_id=f"{provider}/auto", api_base=base, api_key="none")
        self.run(model, look, mock)
