"""The paper's tables as experiments: what each row is here, what has to run for it, running it, writing the table.

``paper`` and ``tables`` are data, ``fit`` makes a table the project's own, ``plan`` is arithmetic on ``dvc.yaml``,
``running`` works with DVC, ``writing`` turns scores into ``report/tables/tableN.csv``, ``.md`` and ``.html``.
"""
