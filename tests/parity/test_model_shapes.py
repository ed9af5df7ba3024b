"""Every model of the mission maps to a description that the executor runs, by its published config.json alone.

Needs GENESIS_BIN_DIR (holding logits_probe). tests/parity/model_table.py prints what each of them needs.
"""

import pytest

from model_table import MODELS, need


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_published_shapes_are_accepted(model, tmp_path):
    told = need(model["config"], tmp_path)
    assert told["parameters"] == model["parameters"], "as the Hub counts them"
    assert told["max_context"] == model["config"]["max_position_embeddings"]
    assert told["bytes_4bit"] == pytest.approx(model["parameters"] * 0.625, rel=0.01)
    assert told["bytes_8bit"] == pytest.approx(model["parameters"] * 1.0625, rel=0.01)
