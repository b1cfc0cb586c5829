import cv2
import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask import grid as grid_lib
from mmdiffmask.data.records import frames
from preprocessing.boxes import patch_groups
from preprocessing.media import decode

GRIDS = [(12, 20), (12, 24), (16, 16), (18, 32), (6, 10)]


def test_whole_jpegs_decode():
    image = raw_trees.picture(3)
    decoded = frames.decode_jpeg(raw_trees.jpeg(image))
    assert np.abs(decoded.astype(int) - image).mean() < 4


def test_no_cut_jpeg_passes():
    data = raw_trees.jpeg(raw_trees.picture(3))
    for length in [0, 1, 2, 10, len(data) // 4, len(data) // 2, len(data) - 2]:
        with pytest.raises(ValueError, match=r"picture"):
            frames.decode_jpeg(data[:length])
    with pytest.raises(ValueError, match="no picture"):
        frames.decode_jpeg(b"something else" * 9)


def test_the_size_is_known_without_decoding(monkeypatch):
    sizes = [(160, 90), (7, 301)]
    pictures = [raw_trees.picture(i, *size) for i, size in enumerate(sizes)]
    plain = [raw_trees.jpeg(image) for image in pictures]
    turned = [raw_trees.turned_jpeg(image) for image in pictures]
    bgr = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in pictures]
    png = [cv2.imencode(".png", image)[1].tobytes() for image in bgr]
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    plain += [cv2.imencode(".jpg", image, options)[1].tobytes() for image in bgr]
    for data in (*plain, *turned, *png):
        height, width = frames.decode_jpeg(data).shape[:2]
        assert frames.size_px(data) == (width, height)
    for data in (b"", b"something else" * 9, plain[0][:30]):
        with pytest.raises(ValueError, match="picture"):
            frames.size_px(data)
    monkeypatch.setattr(frames.cv2, "imdecode", None)
    assert [frames.size_px(data) for data in plain] == 2 * sizes


@pytest.mark.parametrize(("rows", "cols"), GRIDS)
@pytest.mark.parametrize("size", [(160, 90), (120, 160), (1000, 600)])
def test_boxes_and_pictures_take_the_same_way(rows, cols, size):
    """The painted red box, found again in the fitted picture, is the fitted box."""
    grid = grid_lib.PatchGrid(rows, cols)
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    box = np.array([0.2 * width, 0.3 * height, 0.7 * width, 0.9 * height]).astype(int)
    image[box[1] : box[3], box[0] : box[2]] = raw_trees.RED
    frame = decode.Frame(0.0, image)
    source = np.array([frame.source_size_px], np.int32)
    stored = np.array([frame.stored_size_px], np.int32)
    boxes = raw_trees.find_red([image])
    np.testing.assert_array_equal(boxes.xyxy_px[0], box)
    fitted = frames.fitted_boxes(grid, boxes, source, stored)
    kept, share = patch_groups.on_grid(grid, boxes, source, stored)

    fit = grid_lib.fit_frame(grid, *frame.stored_size_px)
    shown = grid_lib.fit_image(grid, fit, frames.decode_jpeg(frame.jpeg))
    is_red = shown[..., 0] - shown[..., 1] > 0.35
    rows_px, cols_px = np.nonzero(is_red)
    seen = [cols_px.min(), rows_px.min(), cols_px.max() + 1, rows_px.max() + 1]
    np.testing.assert_allclose(fitted[0], seen, atol=1.01)
    by_patch = grid_lib.to_patches(grid, np.repeat(is_red[..., None], 3, 2) * 1.0)
    tolerance = 2.2 / grid.patch_px  # a pixel at two sides
    assert len(kept) == 1
    np.testing.assert_allclose(share[0], by_patch.mean(1), atol=tolerance)


def test_boxes_beyond_the_picture_are_dropped():
    grid = grid_lib.PatchGrid(6, 10)
    boxes = raw_trees.find_red([raw_trees.picture(0), raw_trees.picture(1)])
    outside = boxes.xyxy_px.copy()
    outside[0] += 500
    moved = type(boxes)(**{**vars(boxes), "xyxy_px": outside})
    size = np.array([[160, 90], [160, 90]], np.int32)
    kept, share = patch_groups.on_grid(grid, moved, size, size)
    assert kept.frame.tolist() == [1]
    assert share.shape == (1, 60)
    assert share.dtype == np.float16


def test_no_boxes():
    size = np.zeros((2, 2), np.int32)
    grid = grid_lib.PatchGrid(6, 10)
    kept, share = patch_groups.on_grid(grid, patch_groups.no_boxes(), size, size)
    assert len(kept) == 0
    assert share.shape == (0, 60)
