from __future__ import annotations

import pytest

from scdrug import datasets, model
from scdrug.model._recommended import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_recommended_model_can_be_made_as_it_is_said(task: str) -> None:
    choice = model.recommended(task)
    assert choice.model in model.MODEL_CLASSES
    assert choice.why.endswith(".")
    params = choice.params | ({"pathways": "toy"} if task == "pathways" else {})
    made = type(choice)(choice.model, params, choice.why).create(datasets.toy())
    assert type(made).__name__ == choice.model
    assert choice.pretrained is None or choice.pretrained in model.list_models().index


def test_an_unknown_task_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="`task` must be one of 'cells', "):
        model.recommended("cell")
