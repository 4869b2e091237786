"""The ray caster: compiled kernels that turn rows of :mod:`.primitives` into pixels. No scene knowledge here.

Rays are affine in the sample's column i and row j, which covers a perspective camera (one origin) and the parallel rays
of a shadow map alike: origin = rays[0] + i rays[1] + j rays[2], direction = rays[3] + i rays[4] + j rays[5] (6, 3).
Depth is the ray parameter t; a camera's directions are scaled so that t is the distance along the viewing axis.
``projection`` (3, 4) takes world points back to (i w, j w, w), w = 1 for parallel rays. Colours are linear light.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

from . import primitives as p
from .primitives import BALL, BOX, DRUM, LIMB, QUAD

P = ParamSpec("P")
R = TypeVar("R")

FAR = 1e9
"""Depth of nothing. Finite, since the kernels are compiled with fast maths."""
NEAR = 0.05

AMBIENT, GROUND, KEY, TOWARDS, ACROSS, UP = 0, 1, 2, 3, 4, 5
"""Rows of a light (6, 3): colour from above, colour from below, colour of the lamp, unit vector towards it, and the two
unit vectors that span its shadow map."""


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiles a function: single-threaded, without the interpreter lock, cached on disk."""
    compiled: Any = numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")(function)
    return cast("Callable[P, R]", compiled)


@kernel
def _hit(shape, p0, p1, p2, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Ray parameter at which a local ray enters a shape, or FAR."""
    if shape == BALL:
        a = dx * dx + dy * dy + dz * dz
        b = ox * dx + oy * dy + oz * dz
        square = b * b - a * (ox * ox + oy * oy + oz * oz - 1.0)
        if square < 0.0:
            return FAR
        t = (-b - math.sqrt(square)) / a
        return t if t > 0.0 else FAR
    if shape == LIMB:
        best = FAR
        slope = (p0 - p1) / p2 if p2 > 1e-9 else 2.0
        dd = dx * dx + dy * dy + dz * dz
        if abs(slope) < 0.999:
            c2 = 1.0 - slope * slope
            q = p0 - slope * oz
            a = c2 * (dx * dx + dy * dy) - slope * slope * dz * dz
            b = c2 * (ox * dx + oy * dy) + q * slope * dz
            square = b * b - a * (c2 * (ox * ox + oy * oy) - q * q)
            if square < 0.0:
                return FAR
            if abs(a) > 1e-12:
                root = math.sqrt(square)
                for sign in (-1.0, 1.0):
                    t = (-b + sign * root) / a
                    z = oz + t * dz
                    if 0.0 < t < best and p0 * slope <= z <= p2 + p1 * slope:
                        best = t
        for end in range(2):
            radius = p0 if end == 0 else p1
            if abs(slope) >= 0.999 and (end == 0) != (p0 >= p1):
                continue
            z = oz - (0.0 if end == 0 else p2)
            b = ox * dx + oy * dy + z * dz
            square = b * b - dd * (ox * ox + oy * oy + z * z - radius * radius)
            if square >= 0.0:
                t = (-b - math.sqrt(square)) / dd
                if 0.0 < t < best:
                    best = t
        return best
    if shape == BOX:
        enter, leave = 0.0, FAR
        for axis in range(3):
            o = ox if axis == 0 else (oy if axis == 1 else oz)
            d = dx if axis == 0 else (dy if axis == 1 else dz)
            if abs(d) < 1e-12:
                if abs(o) > 1.0:
                    return FAR
                continue
            first, second = (-1.0 - o) / d, (1.0 - o) / d
            if first > second:
                first, second = second, first
            enter, leave = max(enter, first), min(leave, second)
            if enter > leave:
                return FAR
        return enter if enter > 0.0 else FAR
    if shape == QUAD:
        if dz >= -1e-12:
            return FAR
        t = -oz / dz
        if t > 0.0 and abs(ox + t * dx) <= 1.0 and abs(oy + t * dy) <= 1.0:
            return t
        return FAR
    best = FAR
    slope = (p1 - p0) / p2
    q = p0 + slope * oz
    a = dx * dx + dy * dy - slope * slope * dz * dz
    b = ox * dx + oy * dy - q * slope * dz
    square = b * b - a * (ox * ox + oy * oy - q * q)
    if square >= 0.0 and abs(a) > 1e-12:
        root = math.sqrt(square)
        for sign in (-1.0, 1.0):
            t = (-b + sign * root) / a
            if 0.0 < t < best and 0.0 <= oz + t * dz <= p2:
                best = t
    if abs(dz) > 1e-12:
        for end in range(2):
            radius = p0 if end == 0 else p1
            t = ((0.0 if end == 0 else p2) - oz) / dz
            x, y = ox + t * dx, oy + t * dy
            if 0.0 < t < best and x * x + y * y <= radius * radius:
                best = t
    return best


@kernel
def _normal(shape, p0, p1, p2, x, y, z):  # type: ignore[no-untyped-def]
    """Outward normal in local space, not of unit length."""
    if shape == BALL:
        return x, y, z
    if shape == BOX:
        if abs(x) >= abs(y) and abs(x) >= abs(z):
            return math.copysign(1.0, x), 0.0, 0.0
        if abs(y) >= abs(z):
            return 0.0, math.copysign(1.0, y), 0.0
        return 0.0, 0.0, math.copysign(1.0, z)
    if shape == QUAD:
        return 0.0, 0.0, 1.0
    if shape == LIMB:
        slope = (p0 - p1) / p2 if p2 > 1e-9 else 2.0
        if abs(slope) >= 0.999:
            return x, y, z - (0.0 if p0 >= p1 else p2)
        if z <= p0 * slope:
            return x, y, z
        if z >= p2 + p1 * slope:
            return x, y, z - p2
        c = math.sqrt(1.0 - slope * slope) / max(math.sqrt(x * x + y * y), 1e-9)
        return x * c, y * c, slope
    if z < 1e-4:
        return 0.0, 0.0, -1.0
    if z > p2 - 1e-4:
        return 0.0, 0.0, 1.0
    slope = (p1 - p0) / p2
    return x, y, -slope * (p0 + slope * z)


@kernel
def _hash(i, j, seed):  # type: ignore[no-untyped-def]
    """A number in [0, 1) that depends on two integers and a seed."""
    n = (i * 374761393 + j * 668265263 + seed * 362437) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 16)) * 668265263) & 0xFFFFFFFF
    return (n >> 8) / 16777216.0


@kernel
def _smooth(u, v, seed):  # type: ignore[no-untyped-def]
    """Value noise in [0, 1) with period 1."""
    i, j = math.floor(u), math.floor(v)
    a, b = u - i, v - j
    a, b = a * a * (3.0 - 2.0 * a), b * b * (3.0 - 2.0 * b)
    top = _hash(i, j, seed) * (1.0 - a) + _hash(i + 1, j, seed) * a
    low = _hash(i, j + 1, seed) * (1.0 - a) + _hash(i + 1, j + 1, seed) * a
    return top * (1.0 - b) + low * b


@kernel
def _albedo(row, x, y, z):  # type: ignore[no-untyped-def]
    """Colour of a primitive at a local point: its pattern in surface coordinates u, v (metres)."""
    pattern = int(row[p.PATTERN])
    r, g, b = row[p.COLOUR], row[p.COLOUR + 1], row[p.COLOUR + 2]
    if pattern == p.PLAIN:
        return r, g, b
    shape = int(row[p.SHAPE])
    p0, p1, p2 = row[p.PARAMS], row[p.PARAMS + 1], row[p.PARAMS + 2]
    offset = row[p.OFFSET]
    if shape in (LIMB, DRUM):
        u, v = math.atan2(y, x) * max(p0, p1), z + offset
    elif shape == BALL:
        u, v = math.atan2(y, x) * p0, z * p2 + offset
    elif shape == QUAD or (abs(z) >= abs(x) and abs(z) >= abs(y)):
        u, v = x * p0, y * p1
    elif abs(x) >= abs(y):
        u, v = y * p1, z * p2
    else:
        u, v = x * p0, z * p2
    seed = int(offset)
    pitch = row[p.PITCH]
    s, t = u / pitch, v / pitch
    i, j = math.floor(s), math.floor(t)
    s, t = s - i, t - j
    mix, bright = 0.0, 1.0
    if pattern == p.STRIPES:
        mix = 1.0 if t < 0.45 else 0.0
    elif pattern == p.CHECKS:
        mix = (0.5 if s < 0.5 else 0.0) + (0.5 if t < 0.5 else 0.0)
    elif pattern == p.WOOD:
        shift = _hash(j, 7, seed)
        along = u / (pitch * 9.0) + shift
        plank = math.floor(along)
        grain = _smooth(u / pitch * 1.5 + 31.0 * shift, v / pitch * 9.0, seed)
        bright = (0.8 + 0.35 * _hash(plank, j, seed)) * (0.88 + 0.24 * grain)
        if t < 0.035 or along - plank < 0.006:
            bright *= 0.6
        mix = 0.35 * grain
    elif pattern == p.TILES:
        bright = 0.94 + 0.1 * _hash(i, j, seed)
        if s < 0.03 or t < 0.03:
            mix = 1.0
        elif seed % 2 == 1 and (i + j) & 1:
            mix = 0.8
    elif pattern == p.WALLPAPER:
        mix = 0.55 if s < 0.5 else 0.0
        bright = 0.97 + 0.06 * _smooth(u * 2.0, v * 2.0, seed)
    elif pattern == p.CARPET:
        mix = 0.7 if (i + j) % 3 == 0 else 0.0
        bright = 0.85 + 0.3 * _hash(int(u * 160.0), int(v * 160.0), seed)
    elif pattern == p.BOOKS:
        shelf = math.floor(v / 0.31)
        height = v / 0.31 - shelf
        near = math.floor(u / pitch + 0.4 * _hash(i, shelf, seed))
        tall = 0.6 + 0.3 * _hash(near, shelf, seed)
        if height < 0.06:
            bright = 1.0
        elif height < tall and _hash(near, shelf, seed + 5) < 0.9:
            hue = 6.2832 * _hash(near, shelf, seed + 1)
            value = 0.08 + 0.5 * _hash(near, shelf, seed + 2)
            r = value * (0.6 + 0.4 * math.cos(hue))
            g = value * (0.6 + 0.4 * math.cos(hue - 2.1))
            b = value * (0.6 + 0.4 * math.cos(hue + 2.1))
            if 0.3 < height / tall < 0.38:
                bright = 1.6
        else:
            bright = 0.22
    elif pattern == p.POSTER:
        a, c = u / p0, v / p1 if shape == QUAD else v / p2
        mix = 0.5 + 0.5 * c
        for k in range(4):
            cx, cy = 1.4 * _hash(k, 1, seed) - 0.7, 1.4 * _hash(k, 2, seed) - 0.7
            size = 0.2 + 0.4 * _hash(k, 3, seed)
            inside = abs(a - cx) + abs(c - cy) if k % 2 else math.sqrt((a - cx) ** 2 + (c - cy) ** 2)
            if inside < size:
                hue = 6.2832 * _hash(k, 4, seed)
                mix = 0.15
                r = 0.35 + 0.35 * math.cos(hue)
                g = 0.35 + 0.35 * math.cos(hue - 2.1)
                b = 0.35 + 0.35 * math.cos(hue + 2.1)
        if max(abs(a), abs(c)) > 0.93:
            return 0.02, 0.02, 0.02
    elif pattern == p.SCREEN:
        mix = 0.9 if 0.3 < s < 0.75 and 0.3 < t < 0.75 and _hash(i, j, 3) < 0.6 else 0.0
    elif pattern == p.TEXT:
        mix = 0.75 if t < 0.45 and _hash(math.floor(u / pitch * 2.5), j, 9) < 0.82 else 0.0
    elif pattern == p.BRICK:
        half = 0.5 * (j & 1)
        wide = u / (pitch * 2.6) + half
        k = math.floor(wide)
        mix = 1.0 if t < 0.1 or wide - k < 0.045 else 0.0
        bright = 0.8 + 0.4 * _hash(k, j, seed)
    elif pattern == p.DOTS:
        mix = 1.0 if (s - 0.5) ** 2 + (t - 0.5) ** 2 < 0.07 else 0.0
    r = (r * (1.0 - mix) + row[p.SECOND] * mix) * bright
    g = (g * (1.0 - mix) + row[p.SECOND + 1] * mix) * bright
    b = (b * (1.0 - mix) + row[p.SECOND + 2] * mix) * bright
    return r, g, b


@kernel
def _surface(row, rays, light, i, j, t, out):  # type: ignore[no-untyped-def]
    """Light leaving a hit sample. out[:3]: what ambient light and glow give; out[3:6]: what the lamp adds when nothing
    is in its way; out[6:9]: the world point."""
    wx = rays[0, 0] + i * rays[1, 0] + j * rays[2, 0]
    wy = rays[0, 1] + i * rays[1, 1] + j * rays[2, 1]
    wz = rays[0, 2] + i * rays[1, 2] + j * rays[2, 2]
    dx = rays[3, 0] + i * rays[4, 0] + j * rays[5, 0]
    dy = rays[3, 1] + i * rays[4, 1] + j * rays[5, 1]
    dz = rays[3, 2] + i * rays[4, 2] + j * rays[5, 2]
    wx, wy, wz = wx + t * dx, wy + t * dy, wz + t * dz
    cx, cy, cz = wx - row[p.CENTRE], wy - row[p.CENTRE + 1], wz - row[p.CENTRE + 2]
    k = p.INVERSE
    lx = row[k] * cx + row[k + 1] * cy + row[k + 2] * cz
    ly = row[k + 3] * cx + row[k + 4] * cy + row[k + 5] * cz
    lz = row[k + 6] * cx + row[k + 7] * cy + row[k + 8] * cz
    mx, my, mz = _normal(int(row[p.SHAPE]), row[p.PARAMS], row[p.PARAMS + 1], row[p.PARAMS + 2], lx, ly, lz)
    nx = row[k] * mx + row[k + 3] * my + row[k + 6] * mz
    ny = row[k + 1] * mx + row[k + 4] * my + row[k + 7] * mz
    nz = row[k + 2] * mx + row[k + 5] * my + row[k + 8] * mz
    scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    r, g, b = _albedo(row, lx, ly, lz)
    scale = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
    facing = -(dx * nx + dy * ny + dz * nz) * scale
    sky = 0.5 + 0.5 * nz
    # A little of the ambient light comes from the camera's side, which rounds shapes where the lamp does not reach.
    rim = 0.72 + 0.28 * max(facing, 0.0)
    glow = row[p.GLOW]
    keep = 1.0 - glow
    out[0] = r * (keep * rim * (light[AMBIENT, 0] * sky + light[GROUND, 0] * (1.0 - sky)) + glow)
    out[1] = g * (keep * rim * (light[AMBIENT, 1] * sky + light[GROUND, 1] * (1.0 - sky)) + glow)
    out[2] = b * (keep * rim * (light[AMBIENT, 2] * sky + light[GROUND, 2] * (1.0 - sky)) + glow)
    lambert = light[TOWARDS, 0] * nx + light[TOWARDS, 1] * ny + light[TOWARDS, 2] * nz
    shine = 0.0
    if lambert > 0.0 and row[p.GLOSS] > 0.0:
        hx = light[TOWARDS, 0] - dx * scale
        hy = light[TOWARDS, 1] - dy * scale
        hz = light[TOWARDS, 2] - dz * scale
        half = (hx * nx + hy * ny + hz * nz) / math.sqrt(hx * hx + hy * hy + hz * hz)
        half = max(half, 0.0)
        half *= half
        half *= half
        half *= half
        half *= half
        shine = row[p.GLOSS] * half * half
    lambert = max(lambert, 0.0) * keep
    out[3] = (r * lambert + shine) * light[KEY, 0]
    out[4] = (g * lambert + shine) * light[KEY, 1]
    out[5] = (b * lambert + shine) * light[KEY, 2]
    out[6], out[7], out[8] = wx, wy, wz


@kernel
def _extent(row, projection, focal, parallel, width, height, out):  # type: ignore[no-untyped-def]
    """Columns and rows [i0, i1) x [j0, j1) of the samples that a primitive may touch, into out (4,)."""
    shape = int(row[p.SHAPE])
    p0, p1, p2 = row[p.PARAMS], row[p.PARAMS + 1], row[p.PARAMS + 2]
    out[0] = out[1] = out[2] = out[3] = 0
    low_i, low_j, high_i, high_j = FAR, FAR, -FAR, -FAR
    behind, ahead = False, False
    k = p.BASIS
    corners = 2 if shape == LIMB else 8
    wide = max(p0, p1)
    # Longest local axis: bounds how far a flattened limb's ends reach.
    stretch = 0.0
    if shape == LIMB:
        for axis in range(3):
            length = row[k + axis] ** 2 + row[k + 3 + axis] ** 2 + row[k + 6 + axis] ** 2
            stretch = max(stretch, length)
        stretch = math.sqrt(stretch)
    for corner in range(corners):
        radius = 0.0
        if shape == LIMB:
            x, y, z = 0.0, 0.0, p2 * corner
            radius = (p0 if corner == 0 else p1) * stretch
        else:
            x = 1.0 if corner & 1 else -1.0
            y = 1.0 if corner & 2 else -1.0
            z = 1.0 if corner & 4 else -1.0
            if shape == DRUM:
                x, y, z = x * wide, y * wide, p2 * (0.5 + 0.5 * z)
            elif shape == QUAD:
                z = 0.0
        wx = row[p.CENTRE] + row[k] * x + row[k + 1] * y + row[k + 2] * z
        wy = row[p.CENTRE + 1] + row[k + 3] * x + row[k + 4] * y + row[k + 5] * z
        wz = row[p.CENTRE + 2] + row[k + 6] * x + row[k + 7] * y + row[k + 8] * z
        w = projection[2, 0] * wx + projection[2, 1] * wy + projection[2, 2] * wz + projection[2, 3]
        closest = 1.0 if parallel else w - radius
        if closest < NEAR:
            behind = True
            ahead = ahead or w + radius > NEAR
            continue
        ahead = True
        ci = (projection[0, 0] * wx + projection[0, 1] * wy + projection[0, 2] * wz + projection[0, 3]) / w
        cj = (projection[1, 0] * wx + projection[1, 1] * wy + projection[1, 2] * wz + projection[1, 3]) / w
        # Towards the picture's edge a sphere's outline stretches; 1.25 covers a field of view of 100 degrees.
        reach = focal * radius * (1.0 if parallel else 1.25 / closest)
        low_i, high_i = min(low_i, ci - reach), max(high_i, ci + reach)
        low_j, high_j = min(low_j, cj - reach), max(high_j, cj + reach)
    if not ahead:
        return
    if behind:
        out[1], out[3] = width, height
        return
    if high_i < 0.0 or high_j < 0.0 or low_i > width or low_j > height:
        return
    out[0], out[1] = max(0, math.floor(low_i)), min(width, math.ceil(high_i) + 1)
    out[2], out[3] = max(0, math.floor(low_j)), min(height, math.ceil(high_j) + 1)


@kernel
def cast_rows(rows, rays, projection, focal, parallel, depth, ids, boxes):  # type: ignore[no-untyped-def]
    """Draws primitives into a z-buffer ``depth`` (H, W) and ``ids`` (H, W), the index of the row seen.

    ``boxes`` (M + 1, 4) grows by the samples [i0, j0, i1, j1] inclusive that the primitives of owners 0..M-1 touch,
    hidden or not; its last row, by those of all the primitives.
    """
    height, width = depth.shape
    span = np.zeros(4, np.int64)
    last = len(boxes) - 1
    for index in range(len(rows)):
        row = rows[index]
        if row[p.SHOWN] == 0.0:
            continue
        _extent(row, projection, focal, parallel, width, height, span)
        if span[0] >= span[1] or span[2] >= span[3]:
            continue
        shape = int(row[p.SHAPE])
        p0, p1, p2 = row[p.PARAMS], row[p.PARAMS + 1], row[p.PARAMS + 2]
        k = p.INVERSE
        local = np.zeros((6, 3))
        for a in range(6):
            for c in range(3):
                total = 0.0
                for e in range(3):
                    total += row[k + 3 * c + e] * (rays[a, e] - (row[p.CENTRE + e] if a == 0 else 0.0))
                local[a, c] = total
        low_i, low_j, high_i, high_j = width, height, -1, -1
        for j in range(span[2], span[3]):
            ox0, oy0, oz0 = local[0, 0] + j * local[2, 0], local[0, 1] + j * local[2, 1], local[0, 2] + j * local[2, 2]
            dx0, dy0, dz0 = local[3, 0] + j * local[5, 0], local[3, 1] + j * local[5, 1], local[3, 2] + j * local[5, 2]
            for i in range(span[0], span[1]):
                t = _hit(
                    shape, p0, p1, p2,
                    ox0 + i * local[1, 0], oy0 + i * local[1, 1], oz0 + i * local[1, 2],
                    dx0 + i * local[4, 0], dy0 + i * local[4, 1], dz0 + i * local[4, 2],
                )  # fmt: skip
                if t < FAR and t > NEAR:
                    low_i, high_i = min(low_i, i), max(high_i, i)
                    low_j, high_j = min(low_j, j), max(high_j, j)
                    if t < depth[j, i]:
                        depth[j, i] = t
                        ids[j, i] = index
        if high_i >= 0:
            owner = int(row[p.OWNER])
            for target in (last, owner if 0 <= owner < last else last):
                boxes[target, 0], boxes[target, 1] = min(boxes[target, 0], low_i), min(boxes[target, 1], low_j)
                boxes[target, 2], boxes[target, 3] = max(boxes[target, 2], high_i), max(boxes[target, 3], high_j)


@kernel
def _lit(shadow, radius, u, v, w, bias):  # type: ignore[no-untyped-def]
    """Share 0..1 of the lamp's light at a point: u, v across the shadow map and w towards the lamp, metres from its
    centre."""
    count = shadow.shape[0]
    pitch = 2.0 * radius / count
    x, y = u / pitch + 0.5 * count - 0.5, v / pitch + 0.5 * count - 0.5
    if not (0.0 <= x < count - 1.001 and 0.0 <= y < count - 1.001):
        return 1.0
    i, j = int(x), int(y)
    a, b = x - i, y - j
    limit = 2.0 * radius - w - bias
    s00 = 1.0 if shadow[j, i] >= limit else 0.0
    s01 = 1.0 if shadow[j, i + 1] >= limit else 0.0
    s10 = 1.0 if shadow[j + 1, i] >= limit else 0.0
    s11 = 1.0 if shadow[j + 1, i + 1] >= limit else 0.0
    return (s00 * (1.0 - a) + s01 * a) * (1.0 - b) + (s10 * (1.0 - a) + s11 * a) * b


@kernel
def shade(rows, rays, light, ids, depth, window, shadow, radius, origin, bias, ambient, direct, place):  # type: ignore[no-untyped-def]
    """Light of the samples that :func:`cast_rows` found.

    Args:
        rows, rays, ids, depth: as there, from a camera.
        light: (6, 3).
        window: (4,) first and last column and row of the samples to do: i0, j0, i1, j1, inclusive.
        shadow: (N, N) depth seen from the lamp (see :func:`shares`); radius, origin, bias as there.
        ambient, direct, place: (2 H, 2 W, 3) out: linear light that is there without the lamp, and from the lamp, and
            the point seen in metres along the light's ``ACROSS``, ``UP`` and ``TOWARDS``.
    """
    out = np.zeros(9)
    for j in range(window[1], window[3] + 1):
        for i in range(window[0], window[2] + 1):
            if ids[j, i] < 0:
                continue
            _surface(rows[ids[j, i]], rays, light, i, j, depth[j, i], out)
            u = out[6] * light[ACROSS, 0] + out[7] * light[ACROSS, 1] + out[8] * light[ACROSS, 2]
            v = out[6] * light[UP, 0] + out[7] * light[UP, 1] + out[8] * light[UP, 2]
            w = out[6] * light[TOWARDS, 0] + out[7] * light[TOWARDS, 1] + out[8] * light[TOWARDS, 2]
            share = _lit(shadow, radius, u - origin[0], v - origin[1], w - origin[2], bias)
            place[j, i, 0], place[j, i, 1], place[j, i, 2] = u, v, w
            for c in range(3):
                ambient[j, i, c] = out[c]
                direct[j, i, c] = share * out[3 + c]


@kernel
def shares(place, shadow, radius, origin, bias, out):  # type: ignore[no-untyped-def]
    """Share of the lamp's light that reaches each pixel.

    Args:
        place: (H, W, 3) points in the light's coordinates, metres.
        shadow: (N, N) distance of the nearest thing from a plane 2 ``radius`` before the map's centre, which spans
            ``origin`` +- ``radius``; 1 outside of it.
        origin: (3,) the map's centre in the light's coordinates.
        bias: metres by which a point must lie behind something to be in its shadow.
        out: (H, W) float32.
    """
    for j in range(place.shape[0]):
        for i in range(place.shape[1]):
            u, v = place[j, i, 0] - origin[0], place[j, i, 1] - origin[1]
            share = 1.0
            if abs(u) < radius and abs(v) < radius:
                share = _lit(shadow, radius, u, v, place[j, i, 2] - origin[2], bias)
            out[j, i] = share


@kernel
def develop(ambient, direct, share, ids, above, lamp, window, gain, grain, start, grain_scale, frame):  # type: ignore[no-untyped-def]
    """One finished frame (H, W, 3) uint8: the still picture (H, W, 3) ``ambient`` + ``share`` x ``direct``, over it the
    samples ``above`` + ``lamp`` (2 H, 2 W, 3) where ``ids`` are set within ``window``, exposure, display curve (gamma
    2) and sensor noise: ``grain`` (S,) normal deviates, S a power of two, from ``start`` on, times ``grain_scale``
    (display units 0..1)."""
    height, width = ambient.shape[:2]
    colour = np.zeros(3)
    for j in range(height):
        for i in range(width):
            keep = 1.0
            colour[0] = colour[1] = colour[2] = 0.0
            if window[0] <= 2 * i + 1 and 2 * i <= window[2] and window[1] <= 2 * j + 1 and 2 * j <= window[3]:
                for sample in range(4):
                    sj, si = 2 * j + (sample >> 1), 2 * i + (sample & 1)
                    if ids[sj, si] >= 0:
                        keep -= 0.25
                        for c in range(3):
                            colour[c] += 0.25 * (above[sj, si, c] + lamp[sj, si, c])
            for c in range(3):
                value = keep * (ambient[j, i, c] + share[j, i] * direct[j, i, c]) + colour[c]
                value = (
                    math.sqrt(gain * value) + grain_scale * grain[(start + (j * width + i) * 3 + c) & (len(grain) - 1)]
                )
                frame[j, i, c] = int(min(max(value, 0.0), 1.0) * 255.0 + 0.5)
