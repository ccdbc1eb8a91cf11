"""Write texts that belong to no picture, for the scenes of a folder: web_text.py DATA [COUNT].

A text is what an encyclopaedia might say of the place a scene shows and of one or two kinds of things in it: true of
them everywhere, so it tells what a picture is about and nothing of how it looks. Which kinds it speaks of is a fixed
function of the scene's record.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

from anymodal.durable import write_all

TOGETHER = 1000  # texts that are on disk before any has its name

GLOSSES = {
    "person": "people walk on two legs, talk and use tools.",
    "dog": "dogs are animals that live with people.",
    "chair": "chairs are furniture for one person to sit on.",
    "couch": "couches are soft furniture for several people to sit on.",
    "bed": "beds are furniture for sleeping.",
    "dining table": "tables are furniture with a flat top for meals.",
    "tv": "televisions show moving pictures from far away.",
    "potted plant": "plants in pots need water and light.",
    "vase": "vases are made of clay or glass and hold flowers.",
    "cup": "cups hold hot drinks.",
    "book": "books are made of paper and hold stories.",
    "car": "cars are vehicles with four wheels and a motor.",
    "bus": "buses are vehicles that carry many people.",
    "bench": "benches are long seats for several people outdoors.",
    "stop sign": "stop signs tell drivers to stop.",
    "traffic light": "traffic lights tell drivers when to stop and when to go.",
    "house": "houses are buildings where people live.",
    "umbrella": "umbrellas keep off rain and sun.",
    "tree": "trees are tall plants with a trunk of wood and many leaves.",
    "tent": "tents are houses made of cloth.",
    "sports ball": "balls are round and used in games.",
}
PLACES = {
    "room": "rooms have a floor and walls.",
    "grass": "meadows are land where grass grows.",
    "sand": "beaches are land of sand by the sea.",
    "road": "roads are made for vehicles.",
    "pavement": "cities are places where many people live.",
    "snow": "snow falls when it is cold.",
    "dirt": "fields are open land.",
}


def words() -> list[str]:
    """All words and punctuation marks of the texts."""
    return sorted(set(re.findall(r"\w+|[^\w\s]", " ".join([*GLOSSES.values(), *PLACES.values()]))))


def text(record: dict[str, object]) -> str:
    """The text for the record of a scene."""
    setting, things = record["setting"], record["objects"]
    draw = random.Random(int(record["index"]))
    place = PLACES["room" if setting["place"] == "room" else setting["ground"]]
    kinds = sorted({thing["kind"] for thing in things if thing["area"] > 0.02 and thing["kind"] in GLOSSES})
    draw.shuffle(kinds)
    sentences = [place, *(GLOSSES[kind] for kind in kinds[: draw.randint(1, 2)])]
    draw.shuffle(sentences)
    return " ".join(sentences)


def main() -> None:
    root, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    records = sorted((root / "scene").iterdir())[:count]
    for start in range(0, len(records), TOGETHER):
        paths = records[start : start + TOGETHER]
        texts = (f"{text(json.loads(path.read_text()))}\n" for path in paths)
        write_all((root / "web_text" / f"{p.stem}.txt", t.encode()) for p, t in zip(paths, texts, strict=True))


if __name__ == "__main__":
    main()
