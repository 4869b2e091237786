"""Types of flat columns of Parquet files, by their names, so that a module that states them imports no library.

:mod:`hpnet.artifacts.parquet` has them as pyarrow's types, and those of lists.
"""

from __future__ import annotations

TEXT, WHOLE, NUMBER, TRUTH = "string", "int64", "double", "bool"
