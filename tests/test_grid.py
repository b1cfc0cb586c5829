"""Laws of the patch grid: images and boxes go through one transform."""

import json

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import strategies as st

from mmdiffmask import grid

GRIDS = [(12, 20), (12, 24), (16, 16), (18, 32), (6, 10)]
quick = hypothesis.settings(max_examples=30, deadline=None, derandomize=True)


@st.composite
def pictures_with_box(draw):
    """A grid, a source frame and a box at least some patches' pixels wide in it."""
    patch_grid = grid.PatchGrid(*draw(st.sampled_from(GRIDS)))
    width, height = draw(st.integers(40, 500)), draw(st.integers(40, 500))
    fit = grid.fit_frame(patch_grid, width, height)
    least_x = int(2 * max(1.0, width / fit.width)) + 3
    least_y = int(2 * max(1.0, height / fit.height)) + 3
    x1 = draw(st.integers(0, width - least_x))
    y1 = draw(st.integers(0, height - least_y))
    x2 = draw(st.integers(x1 + least_x, width))
    y2 = draw(st.integers(y1 + least_y, height))
    return patch_grid, fit, (x1, y1, x2, y2)


def paint(fit, box):
    """A black frame with the box painted white."""
    image = np.zeros((fit.source_height, fit.source_width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


@quick
@hypothesis.given(pictures_with_box())
def test_painted_box_lies_where_the_box_transform_puts_it(case):
    patch_grid, fit, box = case
    fitted = grid.fit_image(patch_grid, fit, paint(fit, box))[..., 0]
    ys, xs = np.nonzero(fitted > 0.5)
    painted = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    moved = grid.fit_boxes(fit, np.array([box], float))[0]
    assert np.abs(painted - moved).max() <= 1.0


@quick
@hypothesis.given(pictures_with_box())
def test_covered_share_is_the_painted_part_of_each_patch(case):
    patch_grid, fit, box = case
    fitted = grid.fit_image(patch_grid, fit, paint(fit, box))
    counted = (grid.to_patches(patch_grid, fitted) > 0.5).mean(1)
    moved = grid.fit_boxes(fit, np.array([box], float))
    share = grid.covered_share(patch_grid, moved)[0]
    # Half a pixel off at each of the four edges of the box.
    assert np.abs(counted - share).max() <= 4 * 0.5 / patch_grid.patch_px + 1e-6
    assert np.isclose(share.sum() * 16**2, np.prod(moved[0, 2:] - moved[0, :2]), 1e-4)


@pytest.mark.parametrize("rows, cols", GRIDS)
def test_covered_share_of_whole_pixel_boxes_equals_counted_pixels(rows, cols):
    patch_grid = grid.PatchGrid(rows, cols)
    rng = np.random.default_rng(rows * cols)
    ends = np.sort(rng.integers(0, [patch_grid.width_px, patch_grid.height_px],
                                (20, 2, 2)), axis=1)  # fmt: skip
    boxes = np.concatenate([ends[:, 0], ends[:, 1]], 1).astype(float)
    share = grid.covered_share(patch_grid, boxes)
    for box, of_box in zip(boxes.astype(int), share, strict=True):
        image = np.zeros((patch_grid.height_px, patch_grid.width_px, 3), np.float32)
        image[box[1] : box[3], box[0] : box[2]] = 1
        counted = grid.to_patches(patch_grid, image).mean(1)
        np.testing.assert_allclose(of_box, counted, atol=1e-6)


@quick
@hypothesis.given(st.sampled_from(GRIDS), st.integers(1, 1500), st.integers(1, 1500))
def test_valid_patches_are_those_half_picture(shape, width, height):
    patch_grid = grid.PatchGrid(*shape)
    fit = grid.fit_frame(patch_grid, width, height)
    assert 1 <= fit.width <= patch_grid.width_px
    assert 1 <= fit.height <= patch_grid.height_px
    picture = np.zeros((patch_grid.height_px, patch_grid.width_px, 3), np.float32)
    picture[: fit.height, : fit.width] = 1
    expected = grid.to_patches(patch_grid, picture).mean(1) >= 0.5
    np.testing.assert_array_equal(grid.valid_patches(patch_grid, fit), expected)


def test_wide_frame_leaves_padding_below():
    patch_grid = grid.PatchGrid(12, 20)
    fit = grid.fit_frame(patch_grid, 1280, 480)  # scale 1/4: 320 x 120, 7.5 rows
    assert (fit.width, fit.height, fit.left, fit.top) == (320, 120, 0, 0)
    assert grid.valid_patches(patch_grid, fit).reshape(12, 20).sum(0).tolist() == (
        [8] * 20
    )
    white = np.full((480, 1280, 3), 255, np.uint8)
    fitted = grid.fit_image(patch_grid, fit, white)
    assert fitted[:120].min() == 1.0
    assert fitted[120:].max() == 0.0


@pytest.mark.parametrize("rows, cols", GRIDS)
def test_patches_are_row_major_and_cut_without_loss(rows, cols):
    patch_grid = grid.PatchGrid(rows, cols)
    image = np.random.default_rng(0).random(
        (patch_grid.height_px, patch_grid.width_px, 3), np.float32
    )
    patches = grid.to_patches(patch_grid, image)
    np.testing.assert_array_equal(raw_trees.from_patches(patch_grid, patches), image)
    np.testing.assert_array_equal(patches[1, :3], image[0, 16])
    np.testing.assert_array_equal(patches[cols, :3], image[16, 0])


def test_cells_are_two_by_two_blocks():
    cell = grid.cell_of_patch(grid.PatchGrid(4, 6)).reshape(4, 6)
    assert cell.tolist() == [
        [0, 0, 1, 1, 2, 2],
        [0, 0, 1, 1, 2, 2],
        [3, 3, 4, 4, 5, 5],
        [3, 3, 4, 4, 5, 5],
    ]


@pytest.mark.parametrize(
    "width, height, atol",
    [
        (768, 576, 4e-6),
        (640, 360, 4e-6),
        (1280, 720, 4e-6),
        # Enlarging white noise shows that the other computes its sample places in
        # float32 (ours in float64): nothing that a picture would show.
        (97, 211, 2e-5),
        (333, 40, 2e-5),
    ],
)
def test_resize_is_antialiased_linear(width, height, atol):
    patch_grid = grid.PatchGrid(12, 20)
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    fit = grid.fit_frame(patch_grid, width, height)
    ours = grid.fit_image(patch_grid, fit, image)[: fit.height, : fit.width]
    shape = (fit.height, fit.width, 3)
    pixels = jnp.asarray(image, jnp.float32) / 255
    theirs = jax.image.resize(pixels, shape, "linear", antialias=True)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_a_frame_of_the_grid_s_size_keeps_its_bytes():
    patch_grid = grid.PatchGrid(6, 10)
    image = np.random.default_rng(2).integers(0, 256, (90, 160, 3), np.uint8)
    fit = grid.fit_frame(patch_grid, 160, 90)
    placed = grid.place_image(patch_grid, fit, image)
    np.testing.assert_array_equal(placed[:90], image)
    assert fit.is_copy and not placed[90:].any()
    fitted = grid.fit_image(patch_grid, fit, image)
    np.testing.assert_array_equal(fitted, grid.unit_values(placed))
    assert not grid.fit_frame(patch_grid, 320, 180).is_copy


def test_bytes_have_the_same_values_on_the_host_and_in_a_compiled_step():
    """Also where a product or a sum follows that could be fused with the division."""
    pixels = np.arange(256, dtype=np.uint8)
    wanted = pixels.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(grid.unit_values(pixels), wanted)
    np.testing.assert_array_equal(jax.jit(grid.unit_values)(pixels), wanted)
    weight = np.random.default_rng(3).normal(size=(256, 5)).astype(np.float32)

    def embed(values):
        return grid.unit_values(values) @ weight + weight[:1]

    for part in (pixels[None], pixels.reshape(1, -1).repeat(40, 0)):
        values = grid.unit_values(part)
        np.testing.assert_array_equal(jax.jit(embed)(part), jax.jit(embed)(values))
    real = np.array([0.1, 0.7], np.float32)
    assert grid.unit_values(real) is real


def disjoint(boxes):
    """Rectangles that cover what the boxes cover, each point once."""
    xs, ys = np.unique(boxes[:, 0::2]), np.unique(boxes[:, 1::2])
    pieces = []
    for x1, x2 in zip(xs[:-1], xs[1:], strict=True):
        for y1, y2 in zip(ys[:-1], ys[1:], strict=True):
            inside = (boxes[:, 0] <= x1) & (boxes[:, 2] >= x2)
            inside &= (boxes[:, 1] <= y1) & (boxes[:, 3] >= y2)
            if inside.any():
                pieces.append((x1, y1, x2, y2))
    return np.array(pieces).reshape(-1, 4)


@pytest.mark.parametrize("kind", ["body", "face"])
def test_covered_share_of_labelled_pictures(shared, kind):
    truth = json.loads((shared / "media/ground_truth.json").read_text())["frames"]
    expected = np.load(shared / "media/patch_coverage.npz")[f"fit_topleft_{kind}"]
    patch_grid = grid.PatchGrid(12, 20)
    for frame, wanted in zip(truth, expected, strict=True):
        fit = grid.fit_frame(patch_grid, frame["width"], frame["height"])
        boxes = np.array(frame[kind], float).reshape(-1, 4)
        pieces = disjoint(grid.fit_boxes(fit, boxes))
        share = grid.covered_share(patch_grid, pieces).sum(0)
        np.testing.assert_allclose(share.reshape(12, 20), wanted, atol=1e-5)


def test_boxes_past_the_frame_are_clipped():
    fit = grid.fit_frame(grid.PatchGrid(12, 20), 640, 384)
    moved = grid.fit_boxes(fit, np.array([[-50.0, -10.0, 900.0, 500.0]]))
    assert moved.tolist() == [[0.0, 0.0, 320.0, 192.0]]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="multiples of the pooling"):
        grid.PatchGrid(5, 10)
    with pytest.raises(ValueError, match="no pixels"):
        grid.fit_frame(grid.PatchGrid(), 0, 5)
    fit = grid.fit_frame(grid.PatchGrid(), 64, 48)
    with pytest.raises(ValueError, match="64x48"):
        grid.fit_image(grid.PatchGrid(), fit, np.zeros((48, 63, 3), np.uint8))
