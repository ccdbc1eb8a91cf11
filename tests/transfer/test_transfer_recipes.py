"""The recipes of transfers are configurations that hold."""

from pathlib import Path

import pytest

from anymodal.config import load_config
from anymodal.transfer import TASKS, TransferConfig

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes" / "transfer").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_is_a_configuration(path):
    assert load_config(path, TransferConfig).model == "tiny"


def test_there_is_one_for_each_task():
    assert {load_config(path, TransferConfig).task.name for path in RECIPES} == set(TASKS)
