"""The demo: held-out scenes and real photographs, everything the embedded model makes of them, one picture.

python examples/demo.py [--model tiny] [--out out/demo]
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
SCENES = (0, 1, 4)
PHOTOS = Path(__file__).parent / "photos"
TRUTHS = {"depth": ".png", "normal": ".png", "semseg": ".png", "caption": ".txt", "det": ".json"}
ONE_LINE = "depth,normal,semseg,canny_edge,caption,det,sam_instance"


def run_generate(picture: Path, to: str, out: Path, model: str, truth: dict[str, Path]) -> Image.Image:
    """One call of the command line, as a user would type it; the picture it wrote."""
    command = ["anymodal", "generate", f"rgb={picture}", "--to", to, "--model", model, "--out", str(out)]
    for name, path in truth.items():
        command += ["--truth", f"{name}={path}"]
    print("$", " ".join(command), flush=True)
    subprocess.run([sys.executable, "-m", "anymodal.cli", *command[1:]], check=True)
    return Image.open(out / "grid.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args()
    data = options.out / "scenes"
    rows = []
    for index in SCENES:
        write(data, 1, HELD_OUT_SEED, start=index, workers=1, kinds=BASIC)
        name = f"{index:08d}"
        truth = {modality: data / modality / f"{name}{suffix}" for modality, suffix in TRUTHS.items()}
        to, out = "all" if index == SCENES[0] else ONE_LINE, options.out / f"scene-{index}"
        rows.append(run_generate(data / "rgb" / f"{name}.png", to, out, options.model, truth))
    for photo in sorted(PHOTOS.glob("*.jpg")):
        rows.append(run_generate(photo, ONE_LINE, options.out / photo.stem, options.model, {}))
    stacked(rows).save(options.out / "grid.png")
    print(f"look at {options.out / 'grid.png'} (held-out scenes with the truth below, then photographs)")


if __name__ == "__main__":
    main()
