import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.core.geometry import (
    apply_affine,
    crop_affine,
    invert_affine,
    released_crop_affine,
    square_around,
    union_box,
)
from tests import golden

SIZE = (96, 128)


def test_tall_box_fills_the_height_after_padding():
    affine = crop_affine([[100, 50, 110, 150]], SIZE, box_scale=1.25)[0]
    scale = 128 / (100 * 1.25)
    assert affine[0, 0] == pytest.approx(scale)
    assert affine[1, 1] == pytest.approx(scale)
    # The padded box is 125 high: its upper edge, 37.5, lies on the crop's upper edge, half a pixel before pixel 0.
    np.testing.assert_allclose(apply_affine(affine, [[105, 37.5], [105, 162.5]]), [[47.5, -0.5], [47.5, 127.5]])


def test_wide_box_fills_the_width():
    affine = crop_affine([[0, 0, 200, 10]], SIZE, box_scale=1.0)[0]
    np.testing.assert_allclose(apply_affine(affine, [[0, 5], [200, 5]]), [[-0.5, 63.5], [95.5, 63.5]])


@settings(max_examples=40, deadline=None)
@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(0, 900), st.floats(0, 900), st.floats(0.5, 3))
def test_inverse_undoes_a_crop(x, y, w, h, scale):
    affine = crop_affine([[x, y, x + w, y + h]], SIZE, scale)
    points = np.array([[[0.0, 0.0], [95.0, 127.0], [x, y]]])
    np.testing.assert_allclose(apply_affine(invert_affine(affine), apply_affine(affine, points)), points, atol=1e-6)


def test_empty_box_still_gives_a_finite_crop():
    assert np.isfinite(crop_affine([[10, 10, 10, 10]], SIZE)).all()


def test_released_form_uses_the_frame_aspect_and_rounds():
    affine = released_crop_affine([[700.4, 199.6, 1200.2, 1000.3]], (1920, 1080), (192, 256))[0]
    # w = 500, h = 800, aspect 1080 / 1920: 500 against 800 * 0.5625 = 450, so the width stays.
    assert affine[0, 0] == pytest.approx(192 / (500 * 1.25))
    np.testing.assert_allclose(apply_affine(affine, [[950, 600]]), [[96, 128]])


def test_released_affines_to_the_number():
    released = golden.load("pooling")
    affines = released_crop_affine(released["box_xyxy_px"], (1920, 1080), (192, 256))
    np.testing.assert_allclose(affines, released["affine_frame_to_crop"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("boxes", [[1, 2, 3, 4], [[1, 2, 3]]])
def test_box_shape_is_checked(boxes):
    with pytest.raises(ValueError, match=r"expected \(N, 4\)"):
        crop_affine(boxes, SIZE)


def test_box_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="not finite"):
        crop_affine([[0, 0, np.nan, 5]], SIZE)


def test_no_boxes_give_no_crops():
    assert crop_affine(np.zeros((0, 4)), SIZE).shape == (0, 2, 3)
    assert released_crop_affine(np.zeros((0, 4)), (1920, 1080), (192, 256)).shape == (0, 2, 3)


def test_square_around_the_union() -> None:
    union = union_box(np.array([[10, 20, 30, 60], [25, 10, 50, 40]], np.float32))
    assert union.tolist() == [10, 10, 50, 60]
    assert square_around(union, padding=1.0) == (5.0, 10.0, 50.0)
    x, y, side = square_around(union, padding=1.2)
    assert side == pytest.approx(60)
    assert (x + side / 2, y + side / 2) == pytest.approx((30, 35))
