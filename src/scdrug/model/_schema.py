"""What ``model.json`` holds: one declared schema, checked before anything is made from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from .._validate import examples

#: Format that is written, and those that are read. The first had no hashes.
FORMAT_VERSION = 2
READABLE = (1, 2)
#: More than any file needs; a longer one would only cost time.
_MOST_BYTES = 1 << 26
#: Layers of a network, for lists of widths; a longer list would take for ever to build.
MAX_LAYERS = 100

Name = Annotated[str, StringConstraints(pattern=r"\S")]
Count = Annotated[int, Field(ge=0, le=1 << 40)]
Size = Annotated[int, Field(ge=1, le=1 << 31)]
Widths = Annotated[list[Size], Field(max_length=MAX_LAYERS)]
_Item = TypeVar("_Item")
#: One for each of a known line and drug, a new line, a new drug, and both new.
Four = Annotated[list[_Item], Field(min_length=4, max_length=4)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of the file: no other fields, no other types, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Drugs(Part):
    """Table of drugs, column by column."""

    id: list[Name] = Field(min_length=1)
    name: list[str]
    smiles: list[str]
    pubchem_cid: list[str]
    targets: list[str]
    pathway: list[str]
    #: Lines that each drug was measured in; models of earlier versions do not say.
    n_lines: list[Count] | None = None
    #: How far a drug is to be trusted, see `EVIDENCE`.
    screen: list[str] | None = None
    n_shared: list[Count] | None = None
    screen_r: list[float | None] | None = None
    held_out_r: list[float | None] | None = None
    nci60_r: list[float | None] | None = None
    max_dose: list[float | None] | None = None

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        require_unique("drug ids", self.id)
        for column, values in self:
            if values is not None and len(values) != len(self.id):
                raise ValueError(f"`{column}` has {len(values)} entries, and there are {len(self.id)} drug ids")
        return self


class Response(Part):
    """What was measured."""

    measure: str
    unit: str
    #: As in the data contract: "lower is more sensitive" or "higher is more sensitive".
    direction: Annotated[str, StringConstraints(pattern=r"(?i)^(lower|higher)\b")]


class Reference(Part):
    """What a model keeps of its reference; see `ReferenceInfo`."""

    genes: list[Name] = Field(min_length=1)
    drugs: Drugs
    response: Response
    expression_scale: Name
    n_lines: Size

    @model_validator(mode="after")
    def _names_genes_once(self) -> Self:
        require_unique("gene names", self.genes)
        return self


class CalibrationInfo(Part):
    """What is not an array of `Calibration`."""

    level: float = Field(gt=0, lt=1)
    held_out: bool


class Notes(Part):
    """What a person should know of a model; further notes are free."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)

    name: str | None = None
    summary: str | None = None
    card: str = ""


class Registry(Part):
    """What scvi-tools registered; predictions do not depend on it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)

    setup_args: dict[str, Any]


class _File(Part):
    format: Literal[1, 2]
    class_: Name = Field(alias="class")
    #: Of the file of weights, and of this file without this entry.
    weights_sha256: str | None = None
    manifest_sha256: str | None = None

    @model_validator(mode="after")
    def _has_hashes(self) -> Self:
        if self.format > 1 and (self.weights_sha256 is None or self.manifest_sha256 is None):
            raise ValueError("`weights_sha256` or `manifest_sha256` is missing")
        return self


class Manifest(_File):
    """``model.json`` of a model. What `init` and `state` hold is the business of its class."""

    scdrug_version: str
    init: dict[str, Any]
    reference: Reference
    calibration: CalibrationInfo
    unseen_drugs: bool
    notes: Notes
    state: dict[str, Any]
    registry: Registry


class CoreManifest(_File):
    """``model.json`` of a pretrained core of CSG2A."""

    genes: list[Name] = Field(min_length=1)
    shape: dict[str, Any]
    summary: dict[str, Any]

    @model_validator(mode="after")
    def _names_genes_once(self) -> Self:
        require_unique("gene names", self.genes)
        return self


_SCHEMAS: dict[str, type[_File]] = {"CSG2ACore": CoreManifest}


class NoState(Part):
    """State of a model that keeps nothing beside its arrays."""


class LinesState(Part):
    """State of a model that knows its training lines by name."""

    lines: list[str]

    @model_validator(mode="after")
    def _names_lines_once(self) -> Self:
        require_unique("lines", self.lines)
        return self


class LabelsState(Part):
    """State of a classifier: table of labels, column by column, a row for each drug."""

    labels: dict[str, list[str | float | int | None]]


def require_unique(what: str, names: Sequence[str]) -> None:
    """Raise if a name stands twice."""
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise ValueError(f"{what} must be unique; found twice: {examples(dict.fromkeys(twice))}")


# ---------------------------------------------------------------------- reading


def parse_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, and say what is wrong with it.

    Raises
    ------
    ValueError
        If it is no JSON, is too large or too deep, or names a field twice.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, more than any model of scdrug needs.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_named_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}). Fetch or save the model again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object; found {type(content).__name__}. Fetch or save the model again.")
    return content


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        require_unique("fields", [name for name, _ in pairs])
    return found


def check_manifest(config: dict[str, Any], path: Path) -> None:
    """Raise unless the content of ``model.json`` has the declared form.

    Raises
    ------
    ValueError
        Naming file and field.
    """
    version = config.get("format")
    if version not in READABLE or isinstance(version, bool):
        raise ValueError(
            f"{path} was written in format {version!r}; this version of scdrug reads formats "
            f"{', '.join(map(str, READABLE))}. Install the version of scdrug that wrote it, or train again."
        )
    name = config.get("class")
    schema = _SCHEMAS.get(name, Manifest) if isinstance(name, str) else Manifest
    check_part(schema, config, path)


def check_part(schema: Any, value: Any, path: Path, field: str = "") -> Any:
    """Validate a part of the file.

    Raises
    ------
    ValueError
        Naming file and field.
    """
    try:
        return TypeAdapter(schema).validate_python(value)
    except ValidationError as error:
        first, *more = error.errors(include_url=False)
        steps = [field] * bool(field) + [str(step) for step in first["loc"]]
        place = f"`{'.'.join(steps)}` " if steps else ""
        what = first["msg"].removeprefix("Value error, ")
        found = "" if isinstance(first["input"], dict | list) else f" (found {_short(first['input'])})"
        also = f"; {len(more)} more faults" if more else ""
        raise ValueError(f"{path}: {place}{what[:1].lower()}{what[1:]}{found}{also}. {_ADVICE}") from error


_ADVICE = "Fetch or save the model again."


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 60 else text[:59] + "…"


@contextmanager
def blaming(path: Path, field: str) -> Iterator[None]:
    """Turn whatever goes wrong while a field is put to use into an error that names file and field."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(path.parent) in str(error):
            raise
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: `{field}` cannot be used ({text[0][:300]}). {_ADVICE}") from error


# ---------------------------------------------------------------------- hashes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_sha256(config: dict[str, Any]) -> str:
    """SHA-256 of the content of ``model.json`` without its own hash, whatever the layout of the file."""
    content = {name: value for name, value in config.items() if name != "manifest_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
