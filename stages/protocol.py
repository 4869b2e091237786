"""``hpnet protocol``: clip names -> labels and splits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

COLUMNS = ("clip_id", "label", "class_name", "split")


@click.command("protocol")
@click.argument("name")
@click.option(
    "--names", type=click.Path(path_type=Path), required=True, help="Text file, one clip name per line; - for stdin."
)
@click.option("--out", type=click.Path(path_type=Path), help="CSV to write.  [default: standard output]")
@click.option("--classes", is_flag=True, help="Write the class list (label, name, prompt, descriptions) instead.")
@click.option("--details", is_flag=True, help="Also write subject, camera, setup and repetition.")
@click.option("--keep-missing", is_flag=True, help="NTU: split the clips without Kinect skeletons too.")
@click.option(
    "--val-fraction",
    type=float,
    default=0.15,
    show_default=True,
    help="Share of training subjects held out for validation.",
)
@click.option(
    "--test-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="folder: share of the videos of a class in test.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the choice of held-out subjects.")
def command(
    name: str,
    names: Path,
    out: Path | None,
    classes: bool,
    details: bool,
    **division: Any,
) -> None:
    """Write labels and splits of clips, from their names, as CSV: clip_id, label, class_name, split.

    A clip with an action outside the protocol has label -1. A clip that the protocol leaves out has no split. NTU
    leaves out the clips without Kinect skeletons, as the published lists do.

    NAME is a protocol: ntu60-xsub, ntu60-xview, ntu120-xsub, ntu120-xset, smarthome-cs, smarthome-cv1, smarthome-cv2,
    uav-human-v1, uav-human-v2, nw-ucla, utd-mhad, sbu-fold1 to sbu-fold5, mannequin-xsub, mannequin-xview,
    mannequin-xset or folder.
    """
    from hpnet.data.protocols import class_table, label_and_split

    if str(names) == "-":
        content = sys.stdin.buffer.read()
    elif names.is_file():
        content = names.read_bytes()
    else:
        raise FileNotFoundError(f"{names} is missing or not a file: it must have one clip name per line")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{names} is not UTF-8 text ({error}): it must have one clip name per line") from None
    clips = [line.strip() for line in text.splitlines() if line.strip()]
    table = label_and_split(name, clips, **division)
    csv = (class_table(name, table) if classes else table[list(table.columns if details else COLUMNS)]).to_csv(
        index=False
    )
    if out is None:
        click.echo(csv, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(csv, encoding="utf-8")
        click.echo(", ".join(f"{split or 'left out'} {count}" for split, count in table.split.value_counts().items()))
