"""The version of hpnet. It is in no stage's code, so that a new version alone makes nothing run again."""

__version__ = "0.2.0"
