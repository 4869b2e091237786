"""``hpnet protocol``: clip names -> labels and splits."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("protocol")
@click.argument("name")
@click.option(
    "--names", type=click.Path(path_type=Path), required=True, help="Text file, one clip name a line; - for stdin."
)
@click.option("--out", type=click.Path(path_type=Path), help="CSV to write.  [default: standard output]")
@click.option("--classes", is_flag=True, help="Write the class list (label, name, prompt) instead.")
@click.option("--val-fraction", type=float, default=0.15, show_default=True, help="Training subjects held out.")
@click.option("--test-fraction", type=float, default=0.2, show_default=True, help="folder: videos of a class in test.")
@click.option("--seed", type=int, default=7, show_default=True, help="Decides who is held out.")
def command(
    name: str, names: Path, out: Path | None, classes: bool, val_fraction: float, test_fraction: float, seed: int
) -> None:
    """Label and split clips by their names, as CSV.

    NAME is a protocol: ntu60-xsub, ntu60-xview, ntu120-xsub, ntu120-xset, smarthome-cs, smarthome-cv1, smarthome-cv2,
    uav-human-v1, uav-human-v2, nw-ucla, mannequin-xsub, mannequin-xview, mannequin-xset or folder.
    """
    from hpnet.data.protocols import class_table, label_and_split

    if str(names) == "-":
        text = sys.stdin.read()
    elif names.is_file():
        text = names.read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(f"{names} is missing: it must hold one clip name a line")
    clips = [line.strip() for line in text.splitlines() if line.strip()]
    table = label_and_split(name, clips, val_fraction, seed, test_fraction)
    csv = (class_table(name, table) if classes else table).to_csv(index=False)
    if out is None:
        click.echo(csv, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(csv, encoding="utf-8")
        click.echo(", ".join(f"{split or 'left out'} {count}" for split, count in table.split.value_counts().items()))
