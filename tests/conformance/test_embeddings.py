"""Vectors and scores: the openai client, huggingface_hub and plain HTTP against upstreams that speak
OpenAI or TEI."""

import json

import openai
import pytest
from harness.gateway import make_config, paid
from harness.process import wait_until
from huggingface_hub import InferenceClient

TEXTS = ["a small fleet", "日本", "noon"]


@pytest.fixture(scope="module")
def ups(binaries, tmp_path_factory):
    """{dialect: (gateway, mock)}"""
    from harness.gateway import Gateway
    from harness.mock import Mock

    folder = tmp_path_factory.mktemp("embed")
    started = {}
    for dialect in ("openai", "tei"):
        mock = Mock(folder, dialect).start()
        url = mock.url if dialect == "tei" else mock.url + "/v1"
        chat = paid(mock, name="chat", model="chat-model")
        endpoint = paid(mock, name="embed", model="vec-model") | {"dialect": dialect, "url": url}
        config = make_config([chat, endpoint])
        started[dialect] = Gateway(folder / f"home-{dialect}", config).start(), mock
    yield started
    for gateway, mock in started.values():
        gateway.check_end()
        mock.kill()


@pytest.fixture(params=["openai", "tei"])
def up(ups, request):
    return ups[request.param]


def client_of(gateway):
    return openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0, timeout=60)


def post(gateway, path, body):
    status, headers, text = gateway.http("POST", path, body)
    return status, json.loads(text), headers


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openai_vectors(up, encoding):
    gateway, mock = up
    client = client_of(gateway)
    plain = client.embeddings.create(model="embed", input=TEXTS)
    asked = client.embeddings.create(model="embed", input=TEXTS, encoding_format=encoding)
    assert len(plain.data) == 3 and [d.index for d in plain.data] == [0, 1, 2]
    assert len({str(d.embedding) for d in plain.data}) == 3
    assert asked.usage.prompt_tokens == mock.settle()[-1]["prompt_tokens"]
    if encoding == "float":
        for a, b in zip(plain.data, asked.data, strict=True):
            assert a.embedding == pytest.approx(b.embedding, abs=1e-6)


def test_all_dialects_tell_the_same_vectors(ups):
    told = []
    for gateway, _ in ups.values():
        client = client_of(gateway)
        told.append([d.embedding for d in client.embeddings.create(model="embed", input=TEXTS).data])
        status, vectors, headers = post(gateway, "/embed", {"inputs": TEXTS})
        assert status == 200 and int(headers["x-compute-tokens"]) > 0
        told.append(vectors)
    for vectors in told[1:]:
        for a, b in zip(told[0], vectors, strict=True):
            assert a == pytest.approx(b, abs=1e-6)


def test_one_text_and_token_ids(up):
    gateway, _ = up
    client = client_of(gateway)
    assert len(client.embeddings.create(model="embed", input="one").data) == 1
    assert len(client.embeddings.create(model="embed", input=[[1, 2], [3]]).data) == 2


def test_scores_come_from_tei_only(ups):
    gateway, mock = ups["tei"]
    status, ranks, _ = post(gateway, "/rerank", {"query": "q", "texts": TEXTS, "return_text": True})
    assert status == 200
    assert sorted(rank["index"] for rank in ranks) == [0, 1, 2]
    ranks.sort(key=lambda rank: -rank["score"])  # this upstream tells them in another order
    body = {"model": "embed", "return_documents": True, "query": "q", "documents": TEXTS, "top_n": 2}
    status, reranked, _ = post(gateway, "/v1/rerank", body)
    assert status == 200
    best = reranked["results"]
    assert [r["index"] for r in best] == [r["index"] for r in ranks[:2]]
    assert best[0]["document"]["text"] == TEXTS[best[0]["index"]]
    status, labels, _ = post(gateway, "/predict", {"inputs": [["one"], ["two", "three"]]})
    assert status == 200 and len(labels) == 2
    inputs = {"source_sentence": "s", "sentences": TEXTS}
    status, scores, _ = post(gateway, "/similarity", {"inputs": inputs})
    assert status == 200 and len(scores) == 3
    other, _ = ups["openai"]
    assert post(other, "/rerank", {"query": "q", "texts": TEXTS})[0] == 422, "it has vectors only"


def test_huggingface_hub(up):
    gateway, _ = up
    hub = InferenceClient(timeout=60)
    vectors = hub.feature_extraction("one two", model=gateway.url + "/embed")
    assert vectors.shape == (1, 8)


def test_limits_and_errors(ups):
    gateway, _ = ups["tei"]
    status, error, _ = post(gateway, "/embed", {"inputs": ["x"] * 33})
    assert (status, error["error_type"]) == (413, "validation")
    assert "batch size 33 > maximum allowed batch size 32" in error["error"]
    assert post(gateway, "/embed", {"inputs": []})[:2] == (
        400,
        {"error": "Input validation error: 'inputs' cannot be empty", "error_type": "empty"},
    )
    assert post(gateway, "/embed", {})[0] == 422
    assert post(gateway, "/embed_all", {"inputs": "x"})[0] == 404
    with pytest.raises(openai.BadRequestError) as error:
        client_of(gateway).embeddings.create(model="embed", input=["x"] * 2049)
    assert error.value.param == "input"


def test_the_ledger_books_them(ups):
    gateway, mock = ups["tei"]
    post(gateway, "/embed", {"inputs": TEXTS})
    line = mock.settle()[-1]
    request = line["attempt"].split("/")[0]

    # Acknowledged rows reach the database in groups, a few hundredths of a second later.
    def booked():
        return request in json.dumps(gateway.cli_json("ledger", "ls", "--limit", "0"))

    wait_until(booked, 20, "the request is booked")


def test_a_chat_model_makes_no_vectors(local_gateway):
    with pytest.raises(openai.BadRequestError) as error:
        client_of(local_gateway).embeddings.create(model="auto", input="x")
    assert error.value.code == "unsupported"
