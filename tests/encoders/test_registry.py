"""Encoder registry: names, identities and version names, without loading anything."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from earmark.encoders import encoder_identity, registry
from earmark.encoders.cnn14 import Cnn14Encoder
from earmark.encoders.logmel import LogmelEncoder
from earmark.encoders.yamnet import YamnetEncoder
from earmark.errors import ConfigurationError
from earmark.features.store import frames_path
from earmark.settings import Settings

ROOT = Path(__file__).parents[2]
NAMES = {"cnn14": 527, "cnn14+logmel": 527, "yamnet": 521, "yamnet+logmel": 521, "logmel": 0}


@pytest.mark.parametrize("spec", registry.specs(), ids=registry.names())
def test_an_identity_leads_back_to_its_encoder(spec: registry.EncoderSpec, settings: Settings) -> None:
    identity = encoder_identity(settings.model_copy(update={"encoder": spec.name}))
    assert registry.spec_of(identity).name == spec.name
    assert frames_path("0" * 64, identity)
    assert registry.spec_of(f"{spec.name}-v7").name == spec.name
    assert spec.name == "birdnet" or len(registry.class_names(identity)) == NAMES[spec.name]
    assert not spec.class_list or spec.class_list.startswith("https") or Path(spec.class_list).is_file()
    assert registry.is_version_name(f"{spec.name}-v12")


def test_sample_rates_are_those_of_the_encoders() -> None:
    rates = {encoder.name: encoder.sample_rate for encoder in (Cnn14Encoder, YamnetEncoder, LogmelEncoder)}
    assert {spec.name: spec.sample_rate for spec in registry.specs() if spec.name in rates} == rates


@pytest.mark.parametrize("text", ["yamnet", "yamnet-v", "yamnet-v1b", "my-yamnet-v1", "vggish-v1", ""])
def test_other_names_are_not_ours(text: str) -> None:
    assert not registry.is_version_name(text)


def test_no_module_outside_the_registry_knows_an_encoder_by_name() -> None:
    package = Path(registry.__file__).parents[1]
    named = {
        (str(path.relative_to(package)), node.value)
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] != "encoders"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in registry.names()
    }
    # The help of a command names the default; extras have the names of the encoders that need them.
    assert named == {
        ("cli.py", "cnn14"),
        ("extras.py", "cnn14"),
        ("extras.py", "birdnet"),
    }


def test_unknown_encoders_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="yamnet"):
        registry.spec_of("vggish")
    with pytest.raises(ConfigurationError):
        registry.weights_of("logmel")
    with pytest.raises(ValidationError, match="yamnet"):
        Settings(_env_file=None, encoder="vggish")


def test_asking_for_names_and_identities_loads_no_engine(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from earmark.encoders import encoder_identity, registry\n"
        "from earmark.settings import Settings\n"
        "for name in registry.names():\n"
        "    found = encoder_identity(Settings(_env_file=None, data_dir=Path(sys.argv[1]), encoder=name))\n"
        "    registry.class_names(found)\n"
        "sys.exit(bool({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
