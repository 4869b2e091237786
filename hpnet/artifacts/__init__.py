"""The files that stages exchange: a dataclass for each, checked on construction, saved and loaded in its module."""
