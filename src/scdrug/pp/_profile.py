"""What a harmonizer and a reliability score need to know of the bulk reference, without holding its lines."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

#: Points of the stored quantile functions.
N_QUANTILES = 501
#: Noise of a gene in a cohort's mean, in multiples of its variance over genes: offsets between platforms are shared by many genes,
#: so that their average says less than their number promises.
_ANCHOR_NOISE = 3.0
#: Share of the estimated deviation of a cohort that is believed: platforms also differ along directions in which lines do.
_ANCHOR_SHARE = 0.5
#: A cohort that shows the reference's mean profile at less than this share is not stretched further.
_MIN_DEPTH = 0.1
#: Leading directions that decide whether a profile is typical of the reference.
N_TYPICAL = 20
#: Share of the median standard deviation below which that of a gene is not believed when a cohort's level is judged: genes that
#: no line expresses differ between any two studies.
_LEAST_SD = 0.25
#: Least noise variance of a gene in standard units: cells are noisier than the lines that the factors were fitted on.
_MIN_NOISE = 0.1
#: Least deviation of a cohort from the reference mean, in standard deviations of the lines, that has a direction.
_MIN_DEVIATION = 0.01


@dataclass(frozen=True)
class ReferenceProfile:
    """Aggregate description of the expression of a bulk reference: a Gaussian factor model of its lines.

    Standardised expression of a line is  z = Lᵀ s + ε  with standard normal scores s, loadings L and independent
    noise ε. No line can be read back from it, so it may travel with a trained model.
    """

    #: Gene names, the panel (G).
    genes: np.ndarray
    #: Mean of each gene over lines (G).
    mean: np.ndarray
    #: Standard deviation of each gene over lines (G).
    sd: np.ndarray
    #: Mean sorted profile, as a quantile function at `N_QUANTILES` evenly spaced probabilities.
    quantiles: np.ndarray
    #: Leading principal directions of standardised expression times their standard deviation (K × G).
    loadings: np.ndarray
    #: Variance of a standardised gene that the loadings leave, averaged over genes.
    noise: float
    #: Median correlation over genes of a line with the mean profile.
    similarity: float
    #: Quantile function over lines of the distance that :meth:`distance` returns.
    distances: np.ndarray

    @classmethod
    def fit(cls, expression: np.ndarray, genes: Any, *, n_components: int = 200) -> ReferenceProfile:
        """Describe the rows of `expression`.

        Parameters
        ----------
        expression
            Lines × genes, on the reference's scale.
        genes
            Gene names.
        n_components
            Leading directions of variation to keep, at most one less than there are lines.
        """
        x = np.asarray(expression, dtype=np.float64)
        n_lines, n_genes = x.shape
        mean, sd = x.mean(axis=0), x.std(axis=0)
        sd = np.where(sd > 1e-6, sd, 1.0)
        z = (x - mean) / sd
        loadings = _principal_loadings(z, int(min(n_components, max(n_lines - 1, 1), n_genes)))
        grid = np.linspace(0, 1, N_QUANTILES)
        centred_mean = mean - mean.mean()
        deviations = x - x.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(deviations, axis=1) * np.linalg.norm(centred_mean)
        similarity = np.median((deviations @ centred_mean)[norms > 0] / norms[norms > 0]) if (norms > 0).any() else 0.0
        profile = cls(
            genes=np.asarray(genes, dtype=object),
            mean=mean.astype(np.float32),
            sd=sd.astype(np.float32),
            quantiles=np.interp(grid, (np.arange(n_genes) + 0.5) / n_genes, np.sort(x, axis=1).mean(axis=0)).astype(
                np.float32
            ),
            loadings=loadings.astype(np.float32),
            noise=float(max((z**2).mean() - (loadings**2).sum() / n_genes, _MIN_NOISE)),
            similarity=float(similarity),
            distances=np.zeros(N_QUANTILES, dtype=np.float32),
        )
        distances = profile.distance(profile.scores(x.astype(np.float32)))
        return replace(profile, distances=np.quantile(distances, grid).astype(np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the numeric content as named float32 arrays; the genes are stored elsewhere."""
        names = [field.name for field in fields(self) if field.name != "genes"]
        return {name: np.asarray(getattr(self, name), dtype=np.float32) for name in names}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], genes: Any) -> ReferenceProfile:
        """Rebuild what :meth:`to_arrays` returned."""
        values: dict[str, Any] = {key: np.asarray(value, dtype=np.float32) for key, value in arrays.items()}
        for key in ("noise", "similarity"):
            values[key] = float(values[key])
        return cls(genes=np.asarray(genes, dtype=object), **values)

    def score_weights(self, measured: np.ndarray | None = None) -> np.ndarray:
        """Map from standardised expression of the measured genes to posterior mean scores (measured × K)."""
        # cohorts of one experiment ask for the same genes again and again; the last answer is kept
        key = b"" if measured is None else np.asarray(measured).tobytes()
        kept: tuple[bytes, np.ndarray] | None = self.__dict__.get("_score_weights")
        if kept is not None and kept[0] == key:
            return kept[1]
        loadings = (self.loadings if measured is None else self.loadings[:, measured]).astype(np.float64)
        precision = loadings @ loadings.T / self.noise + np.eye(len(loadings))
        weights = np.linalg.solve(precision, loadings / self.noise).T.astype(np.float32)
        weights.flags.writeable = False
        self.__dict__["_score_weights"] = key, weights
        return weights

    def scores(self, expression: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
        """Posterior mean scores of profiles, in standard deviations of the lines (rows × K).

        Parameters
        ----------
        expression
            Rows × panel, on the reference's scale.
        measured
            Which genes of the panel to use (G, bool); all if omitted.
        """
        used = slice(None) if measured is None else measured
        weights = self.score_weights(measured) / self.sd[used, None]
        return expression[:, used] @ weights - self.mean[used] @ weights

    def distance(self, scores: np.ndarray) -> np.ndarray:
        """Mean squared score along the leading directions: about 1 for lines of the reference, larger outside."""
        return (scores[:, :N_TYPICAL] ** 2).mean(axis=1)

    def typicality(self, scores: np.ndarray) -> np.ndarray:
        """Share of reference lines that lie at least as far from the mean profile as each row does (rows)."""
        within = np.interp(self.distance(scores), self.distances, np.linspace(0, 1, len(self.distances)))
        return 1 - within

    def draw(self, n: int, *, seed: int) -> np.ndarray:
        """Draw profiles as lines of the reference may have them (n × genes, float32), from its factor model."""
        rng = np.random.default_rng(seed)
        factors = rng.normal(size=(n, len(self.loadings))) @ self.loadings
        noise = np.sqrt(self.noise) * rng.normal(size=(n, len(self.mean)))
        return (self.mean + self.sd * (factors + noise)).astype(np.float32)

    def departure(self, rows: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
        """How far samples are from the reference's scale, as a cohort.

        Parameters
        ----------
        rows
            Samples × measured genes.
        measured
            Which genes of the panel these are (G, bool).

        Returns
        -------
        Root mean square over genes of the distance between the cohort's mean and the reference's, in standard deviations of
        the lines: 1 for a line, less for several, 0.6-0.7 for harmonized cells. And the root mean square distance between the
        quantile functions of cohort and reference, in standard deviations of the reference's profile: below 0.1 for several
        lines, up to 0.4 for one.
        """
        sd = np.maximum(self.sd[measured], _LEAST_SD * np.median(self.sd))
        offset = (rows.mean(axis=0, dtype=np.float64) - self.mean[measured]) / sd
        grid = np.linspace(0, 1, 101)
        mean_profile = np.quantile(self.mean[measured], grid) - np.quantile(self.mean, grid)
        expected = np.interp(grid, np.linspace(0, 1, N_QUANTILES), self.quantiles) + mean_profile
        few = rows[np.linspace(0, len(rows) - 1, min(len(rows), 64)).astype(int)]
        found = np.quantile(few, grid, axis=1).mean(axis=1)
        distance = np.sqrt(((found - expected) ** 2).mean()) / max(float(expected.std()), 1e-6)
        return float(np.sqrt((offset**2).mean())), float(distance)

    def anchor(self, cohort_mean: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """Where a cohort lies among the reference's lines, estimated from its mean profile.

        Over genes, the mean profile of a cohort is  c = α + βμ + βσ(Lᵀs + ε),  with the reference's mean μ, standard deviations
        σ and loadings L, a depth β that is below 1 for shallow cells, and the offset ε between platforms. Scores s are standard normal,
        as those of one line are, and the offset is noise with a multiple of the variance that is found, since it is shared by many
        genes. The anchor is μ + σ Lᵀ ŝ / 2 with the posterior mean ŝ: half of it, because platforms also differ along the
        directions in which lines do. It needs no line of the reference, and fills the genes that the cohort lacks.

        Parameters
        ----------
        cohort_mean
            Mean transformed profile of the cohort (G); values of unmeasured genes are ignored.
        measured
            Which genes of the panel the cohort has (G, bool).

        Returns
        -------
        Profile on the reference's scale (G).
        """
        sd = np.maximum(self.sd, _LEAST_SD * np.median(self.sd)).astype(np.float64)
        unit = sd[measured]
        known = np.column_stack([np.ones(len(unit)), self.mean[measured]]) / unit[:, None]
        observed = cohort_mean[measured] / unit
        coefficients = np.linalg.lstsq(known, observed, rcond=None)[0]
        # a shallow cohort flattens all profiles towards their mean; only what the reference mean does not explain
        # says which lines the cohort resembles
        deviation = (observed - known @ coefficients) / max(coefficients[1], _MIN_DEPTH)
        variance = float((deviation**2).mean()) if len(unit) else 0.0
        # rounding errors have a direction too, but no cohort is so close to the mean of all lines
        if variance < _MIN_DEVIATION**2:
            return self.mean.copy()
        loadings, gram = self._anchor_loadings(measured, unit)
        noise = _ANCHOR_NOISE * variance
        precision = gram / noise + np.eye(len(loadings))
        scores = np.linalg.solve(precision, loadings @ deviation / noise)
        return (self.mean + _ANCHOR_SHARE * (scores @ self.loadings) * self.sd).astype(np.float32)

    def _anchor_loadings(self, measured: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loadings of the measured genes in the units of :meth:`anchor` (K × measured), and their products (K × K)."""
        # resamples of one cohort ask for the same genes a hundred times; the last answer is kept
        key = np.asarray(measured).tobytes()
        kept: tuple[bytes, tuple[np.ndarray, np.ndarray]] | None = self.__dict__.get("_anchor_products")
        if kept is None or kept[0] != key:
            loadings = self.loadings[:, measured] * (self.sd[measured] / unit)
            kept = key, (loadings, loadings @ loadings.T)
            self.__dict__["_anchor_products"] = kept
        return kept[1]


def _principal_loadings(z: np.ndarray, n_components: int) -> np.ndarray:
    """Leading principal directions times their standard deviation (K × G), through the smaller Gram matrix."""
    n_lines, n_genes = z.shape
    if n_genes <= n_lines:
        values, vectors = np.linalg.eigh(z.T @ z / n_lines)
        values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
        loadings = (vectors * np.sqrt(np.maximum(values, 0))).T
    else:
        _, vectors = np.linalg.eigh(z @ z.T / n_lines)
        loadings = vectors[:, ::-1][:, :n_components].T @ z / np.sqrt(n_lines)
    # eigenvectors have no sign of their own: let the largest entry be positive
    signs = np.sign(loadings[np.arange(len(loadings)), np.abs(loadings).argmax(axis=1)])
    return loadings * np.where(signs == 0, 1, signs)[:, None]
