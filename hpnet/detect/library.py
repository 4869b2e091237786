"""ultralytics (AGPL-3.0): the only file that imports it."""

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch


@dataclass(frozen=True)
class Ultralytics:
    """The parts of ultralytics that are used here."""

    DetectionModel: Any
    DetectionLoss: Any
    non_max_suppression: Callable[..., list[torch.Tensor]]
    defaults: Any


@functools.cache
def ultralytics() -> Ultralytics:
    """Import ultralytics without network access, without installing packages, and without writing into the home folder.

    Raises:
        ModuleNotFoundError: ultralytics is missing.
        RuntimeError: ultralytics was imported earlier in this process with network or installing switched on.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise ModuleNotFoundError("the detector needs ultralytics: pip install ultralytics")
    wanted = {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "true",
    }
    if "ultralytics" not in sys.modules:
        os.environ.update(wanted)
        if "YOLO_CONFIG_DIR" not in os.environ:
            folder = tempfile.mkdtemp(prefix="hpnet-ultralytics-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ["YOLO_CONFIG_DIR"] = folder
    # Importing ultralytics sets OMP_NUM_THREADS=1, OpenCV's threads and numpy's printing for the whole process.
    threads, cv2_threads, printing = os.environ.get("OMP_NUM_THREADS"), cv2.getNumThreads(), np.get_printoptions()
    part = importlib.import_module
    utils = part("ultralytics.utils")
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)
    cv2.setNumThreads(cv2_threads)
    np.set_printoptions(**printing)
    if utils.ONLINE or utils.AUTOINSTALL:
        raise RuntimeError(
            "ultralytics was imported before hpnet and may use the network: set YOLO_OFFLINE=true and "
            "YOLO_AUTOINSTALL=false, or call hpnet.detect.library.ultralytics() first"
        )
    tasks = part("ultralytics.nn.tasks")
    return Ultralytics(
        DetectionModel=tasks.DetectionModel,
        DetectionLoss=part("ultralytics.utils.loss").v8DetectionLoss,
        non_max_suppression=part("ultralytics.utils.nms").non_max_suppression,
        defaults=utils.DEFAULT_CFG,
    )
