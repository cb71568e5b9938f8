"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def dense_block(
    n_in: int,
    n_out: int,
    *,
    activation: str | None = "relu",
    norm: str | None = None,
    dropout: float = 0.0,
    norm_first: bool = False,
    bias: bool = True,
) -> nn.Sequential:
    """Linear → activation → norm → dropout, or with `norm_first` Linear → norm → activation → dropout.

    Parameters
    ----------
    n_in, n_out
        Widths.
    activation
        ``"relu"``, ``"elu"``, ``"gelu"``, ``"leaky_relu"``, ``"sigmoid"``, ``"silu"``, ``"tanh"``, or `None`.
    norm
        ``"batch"``, ``"layer"``, or `None`.
    dropout
        Share of units that are dropped in training.
    norm_first
        Whether the norm stands before the activation.
    bias
        Whether the linear map has a bias.

    Returns
    -------
    The block: (..., n_in) → (..., n_out).

    Raises
    ------
    ValueError
        If the activation or the norm is unknown.

    Examples
    --------
    >>> from scdrug.nn import dense_block
    >>> [type(layer).__name__ for layer in dense_block(4, 2, norm="batch", dropout=0.1)]
    ['Linear', 'ReLU', 'BatchNorm1d', 'Dropout']
    """
    for name, value, known in (("activation", activation, _ACTIVATIONS), ("norm", norm, _NORMS)):
        if value is not None and value not in known:
            raise ValueError(
                f"`{name}` must be one of {', '.join(map(repr, sorted(known)))}, or None; found {value!r}."
            )
    tail: list[nn.Module] = []
    if activation is not None:
        tail.append(_ACTIVATIONS[activation]())
    if norm is not None:
        tail.insert(0 if norm_first else len(tail), _NORMS[norm](n_out))
    if dropout > 0:
        tail.append(nn.Dropout(dropout))
    return nn.Sequential(nn.Linear(n_in, n_out, bias=bias), *tail)


class MLP(nn.Module):
    """Hidden blocks of :func:`dense_block`, and a plain linear output layer.

    Parameters
    ----------
    n_in
        Width of the input.
    hidden
        Widths of the hidden layers; none makes a linear map.
    n_out
        Width of the output.
    activation, norm, dropout, norm_first
        See :func:`dense_block`. `dropout` may be one number, or one a hidden layer.
    input_dropout
        Share of inputs that are dropped in training.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import MLP
    >>> MLP(10, [8, 4], 2, dropout=0.1)(torch.zeros(3, 10)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        n_in: int,
        hidden: Sequence[int],
        n_out: int,
        *,
        activation: str | None = "relu",
        norm: str | None = None,
        dropout: float | Sequence[float] = 0.0,
        norm_first: bool = False,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [n_in, *hidden]
        shares = [float(dropout)] * len(hidden) if isinstance(dropout, int | float) else list(dropout)
        if len(shares) != len(hidden):
            raise ValueError(f"`dropout` needs one number, or {len(hidden)}, one a hidden layer; found {len(shares)}.")
        blocks: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout > 0 else []
        blocks += [
            dense_block(a, b, activation=activation, norm=norm, dropout=share, norm_first=norm_first)
            for a, b, share in zip(widths[:-1], widths[1:], shares, strict=True)
        ]
        self.hidden = nn.Sequential(*blocks)
        self.output = nn.Linear(widths[-1], n_out)
        self.n_in, self.n_out = n_in, n_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, n_in) to (rows, n_out)."""
        return self.output(self.hidden(x))


def detach_state(module: nn.Module) -> dict[str, Tensor]:
    """Deep copy of a module's state: later training steps do not change it.

    Parameters
    ----------
    module
        Any module.

    Returns
    -------
    Copies by name.
    """
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def relative_noise(x: Tensor, scale: float) -> Tensor:
    """Add Gaussian noise in proportion to each value: x + scale · x · N(0, 1).

    Parameters
    ----------
    x
        Any shape.
    scale
        Standard deviation of the noise relative to the value.

    Returns
    -------
    Noisy values; `x` itself for a scale of 0.
    """
    return x + scale * x * torch.randn_like(x) if scale > 0 else x
