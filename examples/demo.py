"""The demo: held-out scenes and real photographs, and what the embedded model makes of them.

python examples/demo.py [--model tiny] [--out out/demo]

OUT/scene-3/grid.png is the picture of the README: one scene, what the model says of it, and below it what is true.
OUT/grid.png has the others too, one of them with everything that the model can say.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from anymodal_scenes import BASIC, write
from PIL import Image

from anymodal.outputs import stacked

HELD_OUT_SEED = 1_000_003
SCENE, FEW = 3, "depth,normal,semseg,caption,det"
EVERYTHING = 0
SCENES = (SCENE, EVERYTHING, 1, 4)
PHOTOS = Path(__file__).parent / "photos"
TRUTHS = {"depth": ".png", "normal": ".png", "semseg": ".png", "caption": ".txt", "det": ".json"}
ONE_LINE = "depth,normal,semseg,canny_edge,caption,det,sam_instance"


def run_generate(picture: Path, to: str, out: Path, model: str, truth: dict[str, Path]) -> Image.Image:
    """One call of the command line, as a user would type it; the picture it wrote."""
    command = ["anymodal", "generate", f"rgb={picture}", "--to", to, "--model", model, "--out", str(out)]
    for name, path in truth.items():
        command += ["--truth", f"{name}={path}"]
    print("$", " ".join(command), flush=True)
    subprocess.run([sys.executable, "-m", "anymodal", *command[1:]], check=True)
    return Image.open(out / "grid.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args()
    print(
        f"{len(SCENES)} rendered scenes that {options.model} has not seen, then photographs; under a minute", flush=True
    )
    data = options.out / "scenes"
    rows = []
    for index in SCENES:
        write(data, 1, HELD_OUT_SEED, start=index, workers=1, kinds=BASIC)
        name = f"{index:08d}"
        truth = {modality: data / modality / f"{name}{suffix}" for modality, suffix in TRUTHS.items()}
        to, out = {SCENE: FEW, EVERYTHING: "all"}.get(index, ONE_LINE), options.out / f"scene-{index}"
        rows.append(run_generate(data / "rgb" / f"{name}.png", to, out, options.model, truth))
    for photo in sorted(PHOTOS.glob("*.jpg")):
        rows.append(run_generate(photo, ONE_LINE, options.out / photo.stem, options.model, {}))
    stacked(rows).save(options.out / "grid.png")
    print(f"look at {options.out / f'scene-{SCENE}' / 'grid.png'} (one scene, the truth below)")
    print(f"    and {options.out / 'grid.png'} (all of them)")


if __name__ == "__main__":
    main()
