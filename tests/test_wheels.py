"""As a user would: wheels of the core and of a plugin, installed beside each other, away from the source tree."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from environments import Environment, build_wheel

from anymodal.plugins.template import write_plugin

ROOT = Path(__file__).parent.parent
DESIGNED = {
    "pyproject.toml": """
[project]
name = "anymodal-thermal"
version = "0.1"
dependencies = ["anymodal"]

[project.entry-points.anymodal]
thermal = "anymodal_thermal:Thermal"
""",
    "anymodal_thermal.py": '''
from anymodal import ImageModality


class Thermal(ImageModality):
    """Long-wave infrared, kelvin."""
    channels, low, high = 1, 233.0, 393.0
''',
}
TRAIN = """
import sys
import numpy as np, torch
import anymodal as am
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.model import ModelConfig, Transformer
from anymodal.tokens import collate
from anymodal.tokenizers.tokenizer import VQTokenizer

torch.manual_seed(0)
assert "site-packages" in am.__file__, am.__file__
name, rng = sys.argv[1], np.random.default_rng(0)
settings = {"size": 16, "patch": 8, "codebook": 16, "latent": 4}
members = [am.registry().modality(n)(**settings) for n in ("rgb", name)]
net = {"dim": 16, "depth": 1, "heads": 2}
for member in members:
    member.tokenizer = VQTokenizer(member.tokenizer_config(net, net)).eval()
together = am.ModalitySet(members)
mine = together[name]
value = mine.postprocess(rng.uniform(-1, 1, (mine.channels, 16, 16)).astype(np.float32))
sample = {"rgb": rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), name: value}
model = am.AnyModel(together, ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2))
tokens = model.tokenize(sample)
ways = tuple(Component({a: 1.0}, {b: 1.0}) for a, b in ((name, "rgb"), ("rgb", name)))
masker = Masker(together.layout, MaskingConfig(input_tokens=4, target_tokens=4, components=ways))
optimizer = torch.optim.AdamW(model.transformer.parameters(), 3e-3)
losses = []
model.transformer.train()
for step in range(20):
    losses_by_stream = model.transformer(collate([masker(tokens, rng, step % 2) for _ in range(4)], together.layout))
    loss = sum(losses_by_stream.values())
    optimizer.zero_grad(), loss.backward(), optimizer.step()
    losses.append(float(loss.detach()))
model.transformer.eval()
assert np.mean(losses[-4:]) < np.mean(losses[:4]), losses
assert model.generate({"rgb": sample["rgb"]}, name)[name].shape == value.shape
assert model.generate({name: value}, "rgb")["rgb"].shape == (16, 16, 3)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> tuple[Path, Path]:
    """Wheels of the core and of the plugin of photographs."""
    out = tmp_path_factory.mktemp("wheels")
    return build_wheel(ROOT, out), build_wheel(ROOT / "plugins" / "anymodal-rgb", out)


def thermal(folder: Path) -> Path:
    """The smallest plugin, as the design prints it."""
    project = folder / "anymodal-thermal"
    project.mkdir()
    for name, text in DESIGNED.items():
        (project / name).write_text(text.lstrip())
    assert sum(len(text.strip().splitlines()) for text in DESIGNED.values()) == 13
    return project


def generated(folder: Path) -> Path:
    return write_plugin("height_map", "image", folder)


@pytest.mark.parametrize(("make", "name"), [(thermal, "thermal"), (generated, "height_map")], ids=["thermal", "new"])
def test_a_plugin_works_beside_the_core(core, tmp_path, make, name):
    environment = Environment(tmp_path)
    environment.install(*core, build_wheel(make(tmp_path), tmp_path))
    rows = json.loads(environment.run("anymodal", "modalities", "--json"))["modalities"]
    assert [(row["name"], row["family"], row["status"]) for row in rows] == [
        *sorted([(name, "image", "installed"), ("rgb", "pixels", "installed")])
    ]
    checked = json.loads(environment.run("anymodal", "plugin", "check", name, "--json"))
    assert checked["failed"] == 0 and checked["passed"] > 30
    environment.run("python", "-c", TRAIN, name)
    out = environment.run("anymodal", "plugin", "new", "odd", "--family", "text", "--out", str(tmp_path / "new"))
    assert "anymodal_odd.py" in out


def test_the_doctor_is_content(core, tmp_path):
    environment = Environment(tmp_path)
    environment.install(*core)
    assert json.loads(environment.run("anymodal", "doctor", "--json"))["problems"] == []


@pytest.mark.parametrize(
    ("name", "most", "written"),
    [("height_map", 25, "height_map.png"), ("spectrogram", 40, "spectrogram.npy")],
    ids=["height_map", "spectrogram"],
)
def test_the_tutorial_plugins_train(core, tmp_path, name, most, written):
    """The commands of their README, in their order; one with photographs, one of signals alone."""
    example = ROOT / "examples" / f"anymodal-{name.replace('_', '-')}"
    assert len((example / f"anymodal_{name}.py").read_text().splitlines()) <= most
    work = tmp_path / "work"
    shutil.copytree(example, work, ignore=shutil.ignore_patterns("__pycache__", "build"))
    environment = Environment(tmp_path)
    environment.install(*core, build_wheel(work, tmp_path))
    environment.folder = work
    (commands,) = re.findall(r"```bash\n(python .*?)```", (example / "README.md").read_text(), re.DOTALL)
    for line in commands.splitlines():
        environment.run(*shlex.split(line))
    assert (work / "out" / written).is_file()
