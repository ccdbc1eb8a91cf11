"""Make the page of the app that needs no server: onnxruntime-web from npm, and the model `tiny` as graphs.

python docs/browser/build.py --out site/browser [--graphs FOLDER]
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import inspect
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from anymodal_depth import COLORS
from anymodal_scenes import render
from PIL import Image

import anymodal as am
from anymodal.export import export_onnx
from anymodal.families.labels import NONE
from anymodal.files import write_json
from anymodal.sampling.options import plain_options

HERE = Path(__file__).parent
PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = HERE.parents[1] / "plugins/anymodal-app/anymodal_app/page"
TAB = ("model.mjs", "sampling.mjs", "random.mjs", "values.mjs")
SCHEMES = {"grid": ("mean", "roar", "maskgit"), "sequence": ("autoregressive",)}  # that sampling.mjs has
MODALITIES = ("rgb", "depth", "semseg", "caption")
SCENES = ((7_000_000_001, 3), (7_000_000_001, 12), (7_000_000_001, 20), (7_000_000_001, 31))  # seeds of no training
UNUSED = ("tokenizers/*/encode-*.onnx", "tokenizers/rgb/*.onnx", "heads/rgb.onnx")


def build(out: Path, graphs: Path | None) -> int:
    """Write the page into a folder, with graphs that were exported before or new ones; the bytes of all files."""
    out.mkdir(parents=True, exist_ok=True)
    for source in (*PAGE.iterdir(), *(HERE / name for name in TAB)):
        shutil.copyfile(source, out / source.name)
    shutil.copyfile(HERE / "tab.mjs", out / "backend.mjs")
    write_runtime(out / "ort")
    write_model(out / "model", graphs)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def write_runtime(folder: Path) -> None:
    """The files of onnxruntime-web that the page runs, from npm's tarball."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        packed = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=place, check=True, capture_output=True, text=True
        )
        content = (Path(place) / packed.stdout.split()[-1]).read_bytes()
        found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        if found != INTEGRITY:
            raise SystemExit(f"{PACKAGE} has the integrity {found}, not {INTEGRITY}")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for name in RUNTIME:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())


def write_model(folder: Path, graphs: Path | None) -> None:
    """The graphs that the page asks, pictures to try, and what colors mean."""
    model = am.load("tiny", modalities=MODALITIES, device="cpu")
    if graphs is None:
        export_onnx(model, folder, "int8")
    else:
        shutil.copytree(graphs, folder, dirs_exist_ok=True)
    for path in (path for pattern in UNUSED for path in folder.glob(pattern)):
        path.unlink()
    semseg = model.modalities["semseg"]
    known = [NONE, *semseg.known]
    write_json(
        {
            "about": about(model, write_pictures(folder, model.modalities["rgb"].size)),
            "depth": [list(color) for color in COLORS],
            "semseg": [
                {"name": "none" if k == NONE else short(semseg.classes[k]), "color": list(semseg.color(k))}
                for k in known
            ],
        },
        folder / "page.json",
    )


def about(model: am.AnyModel, pictures: list[str]) -> dict[str, Any]:
    """What the page is told of the model and of this backend."""
    return {
        "model": "tiny",
        "description": "it runs in this tab, and nothing is sent anywhere. It was trained on rendered scenes of"
        f" {model.modalities['rgb'].size} pixels; of photographs it says what it can.",
        "modalities": [described(model, name) for name in MODALITIES],
        "can": dict.fromkeys(("keep", "weights", "uncertainty", "search"), False) | {"stream": True, "variants": True},
        "limits": {"upload_mb": 100, "side": 2048, "variants": 4, "text": 0, "steps": 64},
        "targets": [name for name in MODALITIES if name != "rgb"],
        "examples": [
            {"name": name.partition(".")[0], "inputs": {"rgb": {"url": f"model/{name}", "name": name}}}
            for name in pictures
        ],
        "links": [{"text": "anymodal", "url": "../"}, {"text": "How it got here", "url": "../how-to/export-to-onnx/"}],
    }


def described(model: am.AnyModel, name: str) -> dict[str, Any]:
    modality = model.modalities[name]
    kind = "picture" if modality.photographic else "text" if modality.is_text else "map"
    return {
        "name": name,
        "kind": kind,
        "input": name == "rgb",
        "target": name != "rgb",
        "photographic": modality.photographic,
        "description": (inspect.getdoc(type(modality)) or "").partition("\n")[0],
        "unit": modality.unit,
        "suffixes": list(modality.suffixes),
        "keep": False,
        "averages": False,
        "schemes": SCHEMES["sequence" if kind == "text" else "grid"],
        "defaults": {
            "grounded": plain_options(modality.tuned_sampling(True)),
            "free": plain_options(modality.tuned_sampling(False)),
        },
    }


def write_pictures(folder: Path, side: int) -> list[str]:
    """Rendered scenes of `side` pixels, which the model knows, and a photograph, which it does not."""
    names = []
    for number, (seed, index) in enumerate(SCENES):
        names.append(f"scene-{number}.png")
        Image.fromarray(render(seed, index, side).rgb).save(folder / names[-1])
    photograph = am.sample("coffee").convert("RGB")
    photograph.thumbnail((512, 512))
    photograph.save(folder / "photograph.jpg", quality=85)
    return [*names, "photograph.jpg"]


def short(name: str) -> str:
    return name.removesuffix("-merged").removesuffix("-other")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--graphs", type=Path, help="tiny as int8 graphs, if they are there already")
    given = parser.parse_args()
    size = build(given.out, given.graphs)
    sys.stdout.write(f"{given.out}: {size} bytes\n")
