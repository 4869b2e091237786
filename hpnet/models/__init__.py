"""The networks, one file each. Topology networks are built by name: :func:`hpnet.models.build.build`.

A new one is a file and an entry in :data:`TOPOLOGY_NETWORKS`.
"""

from __future__ import annotations

TOPOLOGY_NETWORKS: dict[str, str] = {
    "ctrgcn": "hpnet.models.ctrgcn:CTRGCN",
    "gcn": "hpnet.models.gcn:GCN",
    "mixformer": "hpnet.models.mixformer:MixFormer",
    "stgcn": "hpnet.models.stgcn:STGCN",
    "tdgcn": "hpnet.models.tdgcn:TDGCN",
    "transformer": "hpnet.models.transformer:Transformer",
}
"""Networks for any features of joints."""

FITTED_NETWORKS: dict[str, str] = {"linear": "hpnet.models.linear:Linear"}
"""Networks for any features of joints that are fitted as a whole (:data:`hpnet.train.FITTERS`), not by steps."""

AUTO = ("linear", "ctrgcn")
"""What ``graph.model: auto`` compares."""

HEATMAP_NETWORKS: dict[str, str] = {
    "heatmap_volume": "hpnet.models.heatmaps:HeatmapVolume",
    "heatmap_evolution": "hpnet.models.heatmaps:HeatmapEvolution",
}
"""Networks that draw heatmaps of 2-D keypoints (x, y, score): Table X's baselines."""

FUSIONS: dict[str, str] = {
    "trmm": "hpnet.models.trmm:trmm",
    "film": "hpnet.models.trmm:film",
    "cross_attention": "hpnet.models.trmm:cross_attention",
    "none": "hpnet.models.trmm:none",
}
"""How the multimodal stream joins pooled features and text: functions (text_dim, condition_dim, num_joints, refine) ->
module, or None for the text as it is."""
