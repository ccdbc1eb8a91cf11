"""Small transfers: their tasks and configurations, how they are run, and what is read of them."""

from pathlib import Path

import anymodal as am
from anymodal.config import structure
from anymodal.training.log import read_log
from anymodal.transfer import TransferConfig

SIZE = 32
TASKS_BY_NAME = {
    "classes": {"name": "classification"},
    "semseg": {"name": "dense", "to": "semseg"},
    "normal": {"name": "dense", "to": "normal", "settings": {"size": SIZE}},
    "boxes": {"name": "boxes"},
    "boxes3d": {"name": "boxes3d"},
}


def config(world: Path, named: str, **changed) -> dict:
    training = {"steps": 4, "batch_size": 4, "lr": 1e-2, "schedule": "constant", "precision": "float32", "log_every": 1}
    return {
        "model": str(world / "model"),
        "inputs": ["rgb"],
        "task": TASKS_BY_NAME[named],
        "data": str(world / "scenes"),
        "held_out": {"path": str(world / "held"), "every": 4},
        "training": training | changed.pop("training", {}),
        **changed,
    }


def run(world: Path, out: Path, named: str, resume: bool = False, **changed):
    return am.train_transfer(structure(config(world, named, **changed), TransferConfig, "here"), out, resume=resume)


def losses(out: Path) -> list[float]:
    return [record["loss"] for record in read_log(out / "log.jsonl")]


def picture(world: Path, number: int = 12) -> dict:
    return {"rgb": world / "held" / "rgb" / f"{number:08d}.png"}
