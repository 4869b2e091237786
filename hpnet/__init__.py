"""hpnet: human action recognition in video by heatmap pooling (HP-Net, TPAMI 2025)."""

__version__ = "0.1.0"
