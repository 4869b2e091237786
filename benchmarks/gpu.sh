#!/usr/bin/env bash
# Measures what needs a GPU, in at most ten minutes, and writes the pages beside this file:
#     bash benchmarks/gpu.sh [VIDEOS]
# VIDEOS is a folder of videos; by default a few rendered ones of 1920 x 1080. CTRGCN=PATH/ctrgcn.py also compares with
# the file of CTR-GCN's authors. Each part has its own limit, and one that fails does not stop the others.
set -uo pipefail
cd "$(dirname "$0")/.."

python - <<'PY' || exit 1
import sys
import torch
if not torch.cuda.is_available():
    sys.exit(f"benchmarks/gpu.sh: torch {torch.__version__} sees no GPU here; nothing was measured")
PY

failed=0
part() { # seconds, command
    echo "== ${*:2}"
    timeout "$1" "${@:2}" || { echo "not measured: ${*:2}" >&2; failed=1; }
}

videos=${1:-}
if [ -z "$videos" ]; then
    videos=$(mktemp -d)
    trap 'rm -rf "$videos"' EXIT
    part 60 python - "$videos" <<'PY'
import multiprocessing
import shutil
import sys
from pathlib import Path

from hpnet.data.params import DataParams
from hpnet.mannequin.benchmark import plan, write_clip

folder = Path(sys.argv[1])
params = DataParams(width=1920, height=1080, frames=32)
with multiprocessing.Pool() as pool:
    pool.starmap(write_clip, [(spec, params, folder) for spec in plan(params)[:16]])
for file in sorted((folder / "videos").glob("*.mp4")):  # decoding a copy takes as long
    for number in range(1, 4):
        shutil.copy(file, file.with_name(f"{file.stem}-{number}.mp4"))
PY
    videos=$videos/videos
fi

on_device=(--on-device none --on-device crops)
python -c "import torchcodec.decoders" 2>/dev/null && on_device+=(--on-device decode)
part 210 hpnet bench extract --model hrnet-w48-simcc --weights random --videos "$videos" --clips 64 --max-frames 32 \
    --plain-frames 32 --device cuda --precision bfloat16 --rounds 2 "${on_device[@]}"
part 100 hpnet bench train --device cuda --rounds 3
[ -n "${CTRGCN:-}" ] && part 60 hpnet bench train --device cuda --rounds 3 --clips 64 --channels 3 --joints 25 --against "$CTRGCN"
part 170 hpnet bench train multimodal --device cuda --rounds 3 --checkpointing --texts --compile --more-clips 32
exit $failed
