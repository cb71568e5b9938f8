"""YAML files of people, read within limits: aliases in aliases make gigabytes of a few hundred bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .._validate import examples

#: Far more than any benchmark needs.
_MOST_BYTES, _MOST_NODES = 60_000, 50_000
#: The scanner takes seconds for so many brackets before it gives up.
_DEEP = re.compile(r"(?:[\[{]\s*){50}")


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    ValueError
        If it is no YAML, is too large with all aliases written out, refers to itself, or names a key twice.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes, and a configuration at most {_MOST_BYTES:,}. Is it another file?"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if _DEEP.search(text):
            raise RecursionError
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_nodes(node, path)
        return None if node is None else loader.construct_document(node)
    except _TooMuch:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply for a configuration.") from error


class _TooMuch(ValueError):
    """A file that is YAML, but no configuration."""


def _check_nodes(root: yaml.Node | None, path: Path) -> None:
    """Count nodes with all aliases written out, before anything is made of them."""
    counted: dict[int, int] = {}
    begun: set[int] = set()
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting[-1]
        children = _children(node)
        if id(node) not in begun:
            begun.add(id(node))
            _check_keys_once(node, path)
            if any(id(child) in begun and id(child) not in counted for child in children):
                raise _TooMuch(f"{path} refers to itself: an alias (*) stands inside of what it names.")
            waiting += [child for child in children if id(child) not in counted]
            continue
        waiting.pop()
        if id(node) not in counted:
            counted[id(node)] = 1 + sum(counted[id(child)] for child in children)
            if counted[id(node)] > _MOST_NODES:
                raise _TooMuch(
                    f"{path} has more than {_MOST_NODES:,} entries once its aliases (*) are written out, which no benchmark "
                    "needs. Write it without aliases of aliases."
                )


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_keys_once(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else ()
        if twice:
            line = node.start_mark.line + 1
            raise _TooMuch(
                f"{path} names {examples(sorted(twice))} twice in the entry of line {line}. Keep one of them."
            )
