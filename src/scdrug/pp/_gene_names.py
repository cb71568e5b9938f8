"""Read gene names as files write them: with prefixes of genomes and modalities, two names in one, brackets, quotes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .._validate import examples
from ._gene_table import NO_NAMES, as_names, detect_gene_ids, gene_table

#: Names looked at to find out how they are written.
_N_SAMPLE = 1000
#: Share of names that must be known genes before what surrounds them is taken off.
_MIN_KNOWN = 0.3
#: Share of names that must carry the same separator, and share of these whose rest must be alike or ids.
_MIN_WITH, _MIN_ALIKE = 0.5, 0.8
#: Share of the names with one prefix that must be known without it; unnamed clones and pseudogenes are not.
_MIN_KNOWN_OF_TOKEN = 0.4
_QUOTES = "'\"`\u200b\ufeff \t"
#: What may stand between a gene and what was added to it, the clearest first: "-", "." and "_" also occur in symbols.
_SEPARATORS = tuple(map(re.compile, (r"\s*[(\[]", r"\|+", r":+", r"[;,/]+", r"\s+", r"_+", r"\.+", r"-+")))
_ENSEMBL = re.compile(r"ENSG\d{11}(?:\.\d+)?", re.IGNORECASE)
_ID = re.compile(r"ENS[A-Z]*[GTP]\d{6,}(?:\.\d+)?|\d+|[NX][MRP]_\d+(?:\.\d+)?|HGNC:?\d+|unknown|nan|na", re.IGNORECASE)
#: Names in lower case that no other species has: zebrafish and frog write `tp53` as well.
_ONLY_HUMAN = re.compile(r"hla-[a-z]|linc\d{5}|ensg\d{11}|mir\d+hg$|rp11-\d")

_OTHER_GENOME = (
    r"mm\d*|grcm\d+|m(?:us)?_?musculus|mouse|rn\d+|rat|rnor[\d.]*|mratbn[\d.]*|mmul_?[\d.]*|rhemac\d+|macaque|"
    r"sscrofa[\d.]*|susscr\d+|pig|galgal\d+|chicken|grcz\d+|danrer\d+|zebrafish|bdgp\d+|dm\d+|wbcel\d+|saccer\d+|"
    r"canfam\d+|oarv?\d+|bostau\d+|pantro\d+"
)
_OTHER_FEATURE = (
    r"adt|prot(?:ein)?|antibody|anti|abseq|ab|hto|hashtag\d*|cmo|atac|peaks?|crispr|[sg]g?rna|sg|guide|motif|regulon|"
    r"multiplex\w*|totalseq[-_]?[a-d]?|total[a-d]|pabo|meth(?:ylation)?|cnv|mut(?:ation)?|phospho"
)
_SPECIES_NAME = re.compile(rf"(?:{_OTHER_GENOME})[_:.|-]|ENS(?!G\d)[A-Z]{{3,6}}G\d{{6}}", re.IGNORECASE)
_FEATURE_NAME = re.compile(
    rf"(?:{_OTHER_FEATURE})[_:.|-]|"
    r"ERCC-\d{5}$|"
    r"(?:\w+:)?(?:chr\w+(?:\.\d+)?|\d\d?|[XYM]|(?:GL|KI|KZ|JH)\d{6}(?:\.\d+)?)[:_-]\d+[-_]\d+$",
    re.IGNORECASE,
)
_FEATURE_END = re.compile(rf"(?:[_:.| -](?:{_OTHER_FEATURE})|\([+-]\))$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class GeneNames:
    """Gene names as they were meant."""

    #: One a name; without what was taken off.
    names: list[str]
    #: What was taken off, in words; empty if nothing.
    stripped: str


def read_gene_names(names: Iterable[object], panel: Iterable[object] | None = None) -> GeneNames:
    """Take off what files add to gene names, if most names say unmistakably what that is.

    Prefixes and suffixes that are the same in most names (``GRCh38_TP53``, ``rna:TP53``, ``TP53-RNA``), a second name
    beside the first (``TP53_ENSG00000141510``, ``ENSG00000141510.12|TP53``, ``TP53 (7157)``), quotes, and lower case
    are found by trying which part of the names is a known gene. The answer does not depend on the order of names.

    Parameters
    ----------
    names
        Names as they stand in a file.
    panel
        Names known beside the bundled table of human genes.

    Returns
    -------
    The names, unchanged if they are mostly known as they are or if nothing makes them known.

    Examples
    --------
    >>> from scdrug.pp._gene_names import read_gene_names
    >>> read = read_gene_names(["TP53 (7157)", "EGFR (1956)", "ERBB2 (2064)"])
    >>> read.names, read.stripped
    (['TP53', 'EGFR', 'ERBB2'], "what follows a separator, such as ' (1956)'")
    """
    texts = as_names(names)
    own = frozenset() if panel is None else frozenset(as_names(panel)) - NO_NAMES
    sample = sample_names(texts)
    known = known_share(sample, own)
    taken_off: list[str] = []
    for _ in range(3):  # decorations can be nested: rna:GRCh38_TP53
        if known >= _MIN_WITH:
            break
        found = _best_form(sample, known, own) or _both_sides(sample, known, own)
        if found is None:
            break
        known, form = found
        read = [form.read(text) for text in texts]
        if len(set(read)) < _MIN_ALIKE * len(set(texts)):
            break  # several names of one gene: transcripts, guides, sites
        texts, sample = read, sample_names(read)
        taken_off.append(form.what)
    return GeneNames(texts, " and ".join(taken_off))


def sample_names(names: Sequence[str]) -> list[str]:
    """Some different names, evenly spaced in the alphabet, whatever their order."""
    distinct = sorted(set(names) - NO_NAMES)
    return distinct[:: max(len(distinct) // _N_SAMPLE, 1)]


def known_share(names: Sequence[str], own: AbstractSet[str] = frozenset()) -> float:
    """Share of names that are approved ones or ids of human genes, or in `own`; short synonyms are like any label."""
    if not names:
        return 0.0
    table = gene_table()
    numbers = [name for name in names if name.isdecimal()]
    entrez = len(numbers) == len(names) and detect_gene_ids(sorted(numbers, key=int)) == "entrez"
    return sum(
        name in own or table.lookup(name, entrez=entrez)[1] in ("symbol", "ensembl", "entrez") for name in names
    ) / len(names)


def is_other_species(name: str) -> bool:
    """Whether a name says that the gene is not human: ``mm10_Trp53``, ``ENSMUSG00000059552``."""
    return _SPECIES_NAME.match(name) is not None


def is_other_feature(name: str) -> bool:
    """Whether a name says that it is not of expression: ``ADT_CD3``, ``CD3_TotalSeqB``, ``chr1:100-200``."""
    return _FEATURE_NAME.match(name) is not None or _FEATURE_END.search(name) is not None


def looks_decorated(names: Sequence[str]) -> bool:
    """Whether most names hold a known symbol between other text."""
    sample = sample_names(names)
    table = gene_table()
    parts = (re.split(r"[\s()\[\]|:;,/_.-]+", name) for name in sample)
    hold = sum(len(of) > 1 and any(part in table.by_symbol for part in of) for of in parts)
    return hold > _MIN_WITH * len(sample)


# ------------------------------------------------------------------ how names can be written


@dataclass(frozen=True)
class _Form:
    """One way of writing names, and how to undo it."""

    what: str
    read: Callable[[str], str]


def _best_form(sample: list[str], known: float, own: AbstractSet[str]) -> tuple[float, _Form] | None:
    """The form that makes most names known, with their share."""
    best: tuple[float, _Form] | None = None
    for form in _forms(sample, own):
        share = known_share([form.read(name) for name in sample], own)
        if share >= max(_MIN_KNOWN, 2 * known) and (best is None or share > best[0] + 0.02):
            best = share, form
    return best


def _both_sides(sample: list[str], known: float, own: AbstractSet[str]) -> tuple[float, _Form] | None:
    """A prefix that all names share together with something after the gene: GRCh38_TP53_RNA."""
    for separator in _SEPARATORS:
        parts = [_split(name, separator, "first") for name in sample]
        heads = Counter(part[0] for part in parts if part is not None)
        head, count = heads.most_common(1)[0] if heads else ("", 0)
        if count < _MIN_ALIKE * len(sample):
            continue
        outer = _prefix(head, separator)
        inner = _best_form([outer.read(name) for name in sample], known, own)
        if inner is not None:
            share, form = inner
            return share, _Form(f"{outer.what} and {form.what}", _after(outer.read, form.read))
    return None


def _prefix(head: str, separator: re.Pattern[str]) -> _Form:
    return _Form(f"the prefix {head!r}", lambda name: _keep(name, separator, "first", 1, lambda token: token == head))


def _after(first: Callable[[str], str], second: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: second(first(name))


def _forms(sample: list[str], own: AbstractSet[str]) -> Iterator[_Form]:
    n = len(sample)
    if sum(name != name.strip(_QUOTES) for name in sample) > _MIN_WITH * n:
        yield _Form("quotes", lambda name: name.strip(_QUOTES))
    if sum(name == name.lower() for name in sample) > 0.9 * n and any(map(_ONLY_HUMAN.match, sample)):
        yield _Form("lower case", str.upper)
    if sum(re.fullmatch(r"X\d+", name) is not None for name in sample) > _MIN_WITH * n:
        yield _Form("the prefix 'X'", lambda name: name.removeprefix("X"))
    if sum(_ENSEMBL.search(name) is not None for name in sample) > _MIN_WITH * n:
        yield _Form("a second name beside Ensembl ids", lambda name: _of_pair(name, own))
    for separator in _SEPARATORS:
        if sum(separator.search(name) is not None for name in sample) < _MIN_WITH * n:
            continue
        for where in ("first", "last"):
            for keep in (1, 0):
                form = _around(sample, separator, where, keep, own)
                if form is not None:
                    yield form


def _of_pair(name: str, own: AbstractSet[str]) -> str:
    """The symbol or the Ensembl id of a name that holds both, whichever is known."""
    found = _ENSEMBL.search(name)
    if found is None:
        return name
    others = [part.strip("_.-") for part in re.split(r"[\s()\[\]|:;,/]+", name.replace(found.group(), "|"))]
    table = gene_table()
    for part in others:
        if part and (part in own or part in table.by_symbol):
            return part
    return found.group().upper()


def _split(name: str, separator: re.Pattern[str], where: str) -> tuple[str, str, str] | None:
    """Head, separator and tail at the first or last place of a separator."""
    name = name.rstrip("._-|: ") if where == "last" else name
    places = separator.finditer(name)
    found = next(places, None)
    if where == "last":
        *_, found = found, *places
    if found is None or not found.start() or found.end() == len(name):
        return None
    return name[: found.start()], found.group(), name[found.end() :]


def _around(
    sample: list[str], separator: re.Pattern[str], where: str, keep: int, own: AbstractSet[str]
) -> _Form | None:
    """Keep what stands before (`keep` 0) or after (1) a separator, if the rest is alike in most names or an id."""
    parts = [part for name in sample if (part := _split(name, separator, where)) is not None]
    if len(parts) < _MIN_WITH * len(sample):
        return None
    kept = [part[2 * keep] for part in parts]
    rest = [_bare(part[2 - 2 * keep]) for part in parts]
    tokens = {token for token, count in Counter(rest).items() if count >= 0.05 * len(rest)}
    if sum(token in tokens for token in rest) >= _MIN_ALIKE * len(rest):
        of_token = {
            token: known_share([name for name, other in zip(kept, rest) if other == token], own) for token in tokens
        }
        tokens = {token for token, share in of_token.items() if share >= _MIN_KNOWN_OF_TOKEN}
        if not tokens:
            return None
        shown = {"".join(part[:2] if keep else part[1:]) for part, token in zip(parts, rest) if token in tokens}
        form = _Form(
            f"the {'prefix' if keep else 'suffix'} {examples(sorted(shown), 3)}",
            lambda name: _keep(name, separator, where, keep, lambda token: token in tokens),
        )
    elif sum(_ID.fullmatch(token) is not None for token in rest) >= _MIN_ALIKE * len(rest):
        # numbers after "-", "." and "_" also count isoforms, guides and sites: only gene ids are something else
        if separator in _SEPARATORS[-3:] and not _agree(kept, rest):
            return None
        shown = "".join(parts[0][:2] if keep else parts[0][1:])
        form = _Form(
            f"what {'precedes' if keep else 'follows'} a separator, such as {shown!r}",
            lambda name: _keep(name, separator, where, keep, lambda token: _ID.fullmatch(token) is not None),
        )
    else:
        return None
    return form


def _bare(token: str) -> str:
    return token.strip(")]. ")


def _keep(name: str, separator: re.Pattern[str], where: str, keep: int, accept: Callable[[str], bool]) -> str:
    part = _split(name, separator, where)
    return part[2 * keep] if part is not None and accept(_bare(part[2 - 2 * keep])) else name


def _agree(symbols: list[str], ids: list[str]) -> bool:
    """Whether ids are those of the genes beside them."""
    table = gene_table()
    rows = [
        (table.lookup(symbol)[0], table.lookup(one, entrez=True)[0])
        for symbol, one in zip(symbols, ids)
        if not one.lower().startswith(("nm_", "nr_", "xm_", "enst", "ensp"))
    ]
    both = [a == b for a, b in rows if a >= 0]
    return len(rows) < len(ids) // 2 or (bool(both) and sum(both) >= _MIN_WITH * len(both))
