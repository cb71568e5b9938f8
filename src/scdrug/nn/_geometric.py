"""What is used of torch-geometric; it compiles functions when imported, of which newer versions of torch warn the user."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.*")
    from torch_geometric.nn import (
        GATv2Conv,
        GINConv,
        GINEConv,
        MessagePassing,
        SimpleConv,
        global_add_pool,
        global_max_pool,
        global_mean_pool,
    )
    from torch_geometric.nn.conv.gcn_conv import gcn_norm
    from torch_geometric.utils import subgraph, to_torch_csr_tensor

__all__ = [
    "GATv2Conv",
    "GINConv",
    "GINEConv",
    "MessagePassing",
    "SimpleConv",
    "gcn_norm",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "subgraph",
    "to_torch_csr_tensor",
]
