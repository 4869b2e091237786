"""``hpnet doctor``."""

from __future__ import annotations

import json

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Check what is installed and what is missing; exit status 1 if something needed is missing."""
    from hpnet.project.doctor import examine

    checks = examine()
    if as_json:
        click.echo(json.dumps([check.to_json() for check in checks], indent=2))
    else:
        for check in checks:
            state = "ok" if check.ok else "FAIL" if check.needed else "warn"
            click.echo(f"{state:<4}  {check.name:<24} {check.found}")
            if not check.ok:
                click.echo(f"      {'':<24} -> {check.remedy}")
    if not all(check.ok for check in checks if check.needed):
        raise SystemExit(1)
