"""The paper's tables as experiments: rows, planning, running, and writing the tables.

``paper`` and ``tables`` are data, ``fit`` adapts a table to the project, ``plan`` is arithmetic on ``dvc.yaml``,
``running`` works with DVC, ``writing`` turns scores into ``report/tables/tableN.csv``, ``.md`` and ``.html``.
"""
