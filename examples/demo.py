"""The demo: what the embedded model makes of pictures and words, on one sheet, with the commands that make it.

python examples/demo.py [--model tiny] [--out out/demo]

OUT/grid.png has all of it; the README shows OUT/everything.webp, its first part, and OUT/more.webp, its last. The model
has not seen the rendered scenes.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from anymodal_scenes import BASIC, write
from PIL import Image
from poster import ACCENT, EDGE, QUIET, WIDTH, Panel, page, poster

import anymodal as am
from anymodal.data import open_values
from anymodal.data.jobs.model_source import ModelSource
from anymodal.retrieval import Index, Request, index_dataset

HELD_OUT_SEED, SCENE, SEARCHED = 1_000_003, 3, 48
PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
ROWS = (
    ("rgb", "depth", "normal", "semseg", "canny_edge", "sam_edge"),
    ("caption", "det", "sam_instance", "human_poses", "color_palette", "metadata_image"),
    ("clip", "dinov2", "imagebind", "dinov2_global", "imagebind_global", "metadata_semantic"),
)
KEY = ("above: made", "from this picture alone", "", "below: the truth")
TEACHERS = ("clip", "dinov2", "imagebind", "dinov2_global", "imagebind_global")
CAPTIONS = (
    "a red couch in a room with a wooden floor",
    "an orange tent on the snow",
    "a potted plant in a room",
    "a red bus on a road in the city",
)
CHAINED = "an orange tent on the snow"
WANTED = "a pink couch in a room"
SEEDS = range(4)


def say(what: str, *commands: str) -> None:
    """Tell what a panel is and how to make it."""
    lines = [what, *(f"$ anymodal {command}" for command in commands)]
    print("\n".join(lines), flush=True)


def truths(model: am.AnyModel, data: Path, number: int) -> dict[str, Any]:
    """The true values of a scene: the renderer's, what follows from them, and what the teachers of features see."""
    sample = open_values(data, model.modalities).read(number)
    for name in TEACHERS:
        sample[name] = am.registry().labeler(f"tiny_{name}")().label([sample])[0]
    return sample


def everything(model: am.AnyModel, data: Path) -> tuple[Panel, Panel]:
    """One picture to all 21 modalities, the truth below each: those of pictures and things, and the others."""
    picture = data / "rgb" / f"{SCENE:08d}.png"
    say(
        "One picture to every other modality that the model writes (t5_caption is one that it only reads):",
        f"generate rgb={picture} --to all --out OUT",
    )
    truth = truths(model, data, SCENE)
    made = dict(model.generate({"rgb": picture}, "all"))
    upper, lower = Panel(WIDTH - 2 * EDGE), Panel(WIDTH - 2 * EDGE)
    upper.heading("One picture in, every modality out", "each made from the picture alone, and the truth below it")
    side = upper.side(len(ROWS[0]))

    def drawn(name: str, values: dict[str, Any]) -> Image.Image | None:
        return model.modalities[name].show_over(values[name], truth["rgb"], side) if name in values else None

    for panel, names in zip((upper, upper, lower), ROWS, strict=True):
        panel.tiles([drawn(name, {"rgb": truth["rgb"], **made}) for name in names], [titled(name) for name in names])
        panel.tiles([page(KEY, side) if name == "rgb" else drawn(name, truth) for name in names])
    for name in ("metadata_geometric", "web_text"):
        spoken = [told(values[name]) for values in (made, truth) if name in values]
        lower.words(f"{name}:  {'   |   truth: '.join(spoken)}", QUIET)
    return upper, lower


def titled(name: str) -> str:
    return "rgb, the input" if name == "rgb" else name


def told(value: Any) -> str:
    """A value in words."""
    if isinstance(value, str):
        return value
    return ", ".join(f"{key.replace('_', ' ')} {number:.3g}" for key, number in value.items())


def words_to_pictures(model: am.AnyModel, width: int) -> Panel:
    """Each caption with each seed."""
    say(
        "Words to pictures, four captions with four seeds:",
        *(f'generate caption="{caption}" --to rgb --seed {SEEDS[-1]} --out OUT' for caption in CAPTIONS),
    )
    panel = Panel(width)
    panel.heading("Words to pictures", "four seeds each")
    inputs = [{"caption": caption} for caption in CAPTIONS for _ in SEEDS]
    made = model.generate_batch(inputs, "rgb", seed=[*SEEDS] * len(CAPTIONS))
    for k, caption in enumerate(CAPTIONS):
        panel.words(f"“{caption}”", ACCENT)
        panel.tiles([shown(model, "rgb", out["rgb"]) for out in made[k * len(SEEDS) : (k + 1) * len(SEEDS)]])
    return panel


def shown(model: am.AnyModel, name: str, value: Any) -> Image.Image:
    return model.modalities[name].show(value, 256)


def in_painting(model: am.AnyModel, panel: Panel, data: Path, out: Path) -> None:
    """A part of a picture stays, the rest is made anew."""
    picture, mask = data / "rgb" / f"{SCENE:08d}.png", out / "mask.png"
    side = model.modalities["rgb"].size
    kept = np.ones((side, side), np.uint8)
    kept[side * 3 // 8 :, side * 3 // 8 :] = 0
    Image.fromarray(kept * 255).save(mask)
    say(
        "In-painting: what a mask keeps stays, the rest is made anew:",
        f"generate rgb={picture} --to rgb --keep rgb={mask} --seed 0 --out OUT",
    )
    seeds = [0, 2]
    made = model.generate_batch([{"rgb": picture}] * 2, "rgb", seed=seeds, keep={"rgb": kept.astype(bool)})
    whole = np.asarray(Image.open(picture))
    cut = np.where(kept[..., None] > 0, whole, 232).astype(np.uint8)
    panel.heading("In-painting", "what is cut out is made anew: the person and a light go")
    panel.tiles([shown(model, "rgb", value) for value in (whole, cut, *(each["rgb"] for each in made))])


def chain(model: am.AnyModel, panel: Panel) -> None:
    """Each target is made from those before it too."""
    targets = ["rgb", "depth", "normal", "semseg"]
    say(
        "A chain: each modality from those before it, so that they fit each other:",
        f'generate caption="{CHAINED}" --to {",".join(targets)} --out OUT',
    )
    made = model.generate({"caption": CHAINED}, targets)
    panel.heading("A chain", f"“{CHAINED}”")
    panel.tiles([model.modalities[n].show_over(made[n], made["rgb"], 256) for n in targets], targets)


def retrieval(model: am.AnyModel, panel: Panel, data: Path, out: Path) -> None:
    """The scenes that are nearest to a caption."""
    say(
        f"Retrieval: the nearest of {SEARCHED} pictures to a caption, by vectors that the model predicts from both:",
        f"retrieve index {data} --by imagebind_global --from rgb --out {out / 'index'}",
        f'retrieve query {out / "index"} caption="{WANTED}" --top 4 --sheet hits.png',
    )
    shutil.rmtree(out / "index", ignore_errors=True)  # of an earlier demo, perhaps with other weights
    index_dataset(data, ModelSource(model.origin.model), Request("imagebind_global", ("rgb",)), out / "index")
    hits = Index(out / "index").query(model, {"caption": WANTED}, 4)
    pictures = [shown(model, "rgb", np.asarray(Image.open(data / "rgb" / f"{hit.name}.png"))) for hit in hits]
    panel.heading("Retrieval", f"“{WANTED}” among {SEARCHED} pictures")
    panel.tiles(pictures, [f"similarity {hit.score:.2f}" for hit in hits])


def photograph(model: am.AnyModel, panel: Panel) -> None:
    """What holds for photographs too, and what does not."""
    targets = ("color_palette", "canny_edge", "depth")
    say(
        f"{PHOTO.name} is a photograph: of such, tiny has learned colors and edges, and depth is a guess:",
        f"generate rgb={PHOTO} --to {','.join(targets)} --out OUT",
    )
    exact = model.accept({"rgb": PHOTO})
    made = model.generate({"rgb": PHOTO}, targets, chain=False)
    panel.heading("A photograph", "of such, tiny has learned colors and edges alone")
    panel.tiles(
        [shown(model, "rgb", exact["rgb"]), *(shown(model, name, made[name]) for name in targets)],
        ["the input", "palette", "edges", "depth: a guess"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args()
    data, out = options.out / "scenes", options.out
    model = am.load(options.model)
    write(data, SEARCHED, HELD_OUT_SEED, model.modalities["rgb"].size, workers=1, kinds=BASIC)
    half = (WIDTH - 4 * EDGE) // 2
    right = Panel(half)
    upper, lower = everything(model, data)
    rows = [[upper], [lower], [words_to_pictures(model, half), right]]
    in_painting(model, right, data, out)
    chain(model, right)
    retrieval(model, right, data, out)
    photograph(model, right)
    poster(rows).save(out / "grid.png")
    for name, row in (("everything", rows[0]), ("more", rows[-1])):
        poster([row]).save(out / f"{name}.webp", quality=90)
    say(f"look at {out / 'grid.png'}: all of it on one sheet")


if __name__ == "__main__":
    main()
