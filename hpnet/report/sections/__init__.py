"""The sections of the page: each a Python file and its template, listed in :data:`hpnet.report.page.SECTIONS`."""
