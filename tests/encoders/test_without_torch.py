"""Without PyTorch, which is optional, CNN14 is passed over by ``auto`` and refused by name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from earmark import encoders
from earmark.encoders.background_fetch import require_prepared
from earmark.encoders.weights.custom_checkpoint import is_validated
from earmark.errors import MissingExtraError
from earmark.settings import Settings

pytestmark = pytest.mark.slow

YAMNET = "yamnet+logmel"


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_encoders", {})
    monkeypatch.setattr(
        "earmark.extras.find_spec", lambda module: None if module == "torch" else find_spec(module)
    )
    monkeypatch.setattr("earmark.encoders.weights.yamnet_weights.find_model", lambda _: Path("yamnet.onnx"))
    monkeypatch.setattr("earmark.encoders.weights.yamnet_weights.fetch_model", lambda _: Path("yamnet.onnx"))
    monkeypatch.setattr(
        "earmark.encoders.weights.cnn14_weights.download",
        lambda *_: pytest.fail("fetched weights that cannot be used"),
    )


@pytest.mark.parametrize("own_checkpoint", [False, True])
def test_auto_takes_the_next_encoder(own_checkpoint: bool, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(b"a checkpoint")
    settings = settings.model_copy(
        update={"encoder": "auto", "cnn14_checkpoint": tmp_path / "own.pth" if own_checkpoint else None}
    )
    assert encoders.choose_encoder(settings) == YAMNET
    assert encoders.encoder_identity(settings).startswith("yamnet.logmel-")
    assert is_validated(settings)
    require_prepared(settings)  # raises where something is still to be fetched


def test_cnn14_by_name_is_refused(settings: Settings) -> None:
    settings = settings.model_copy(update={"encoder": "cnn14"})
    for refused in (encoders.get_encoder, encoders.encoder_identity):
        with pytest.raises(MissingExtraError, match="torch"):
            refused(settings)
