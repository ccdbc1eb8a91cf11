"""One value for one picture, whichever way it comes in; what would lose meaning is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from file_kinds import FILE_KINDS, png, table
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

import anymodal as am
from anymodal.crops import Crop

PERSON, CAR = (220, 20, 60), (0, 0, 142)  # how many datasets draw them
METERS = {"size": 64, "patch": 8, "scaling": "log", "low": 0.4, "high": 80.0}


def modality(name: str, **settings):
    return am.registry().modality(name)(**settings)


def ways(one, content: bytes, path: Path) -> list[np.ndarray]:
    """The value of a file by its path, as a picture, and as a picture that is loaded."""
    path.write_bytes(content)
    loaded = Image.open(io.BytesIO(content))
    return [one.accept(path), one.accept(str(path)), one.accept(Image.open(path)), one.accept(loaded)]


PICTURES = ["rgb", "depth", "normal", "semseg", "canny_edge", "sam_instance"]


def test_every_kind_of_file_is_read_or_refused_in_one_sentence(tmp_path):
    """Nothing but a ValueProblem, and a value of a picture has the same meaning whether it is read or accepted."""
    for name in am.modalities():
        one = modality(name)
        for file, make in FILE_KINDS.values():
            path = tmp_path / file
            path.write_bytes(make())
            try:
                one.read(path)
            except am.ValueProblem as error:
                assert file in str(error), (name, file)


def test_the_table_of_kinds_of_files(tmp_path):
    rows = {row[0]: dict(zip(PICTURES, row[1:], strict=True)) for row in table(PICTURES, tmp_path)}
    assert rows["gray PNG, 4 bits"]["semseg"] == "uint8 0..15" and rows["RGB PNG"]["semseg"] == "refused"
    assert rows["gray PNG, 8 bits"]["normal"] == rows["NPY, uint8 (16, 16)"]["depth"] == "refused"
    assert rows["gray PNG, 16 bits"]["depth"] == "float32 0..0.003891" and rows["RGB PNG"]["depth"] == "refused"
    assert {rows[kind]["rgb"][:5] for kind in rows if "PNG" in kind or "JPEG" in kind} == {"uint8"}


class TestSampleDepth:
    @settings(max_examples=20)
    @given(bits=st.sampled_from([1, 2, 4, 8]), seed=st.integers(0, 99))
    def test_ids_are_what_the_file_says(self, bits, seed, tmp_path_factory):
        ids = np.random.default_rng(seed).integers(0, min(2**bits, 133), (6, 8))
        for value in ways(modality("semseg"), png(ids, bits), tmp_path_factory.mktemp("ids") / "a.png"):
            assert np.array_equal(value, ids)

    @settings(max_examples=20)
    @given(bits=st.sampled_from([1, 2, 4, 8, 16]), seed=st.integers(0, 99))
    def test_numbers_reach_from_low_to_high_whatever_the_bits(self, bits, seed, tmp_path_factory):
        numbers = np.random.default_rng(seed).integers(0, 2**bits, (6, 8))
        for value in ways(am.image("heat", channels=1, low=10, high=20)(), png(numbers, bits),
                          tmp_path_factory.mktemp("heat") / "a.png"):  # fmt: skip
            assert np.allclose(value, 10 + 10 * numbers / (2**bits - 1), atol=1e-5)

    @pytest.mark.parametrize("ending", ["png", "tif"])
    def test_a_photograph_of_sixteen_bits_keeps_its_shades(self, ending, tmp_path):
        ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
        Image.fromarray(ramp).save(tmp_path / f"a.{ending}")
        value = modality("rgb").read(tmp_path / f"a.{ending}")
        assert np.abs(value[0].astype(int) - np.arange(256)[:, None]).max() <= 1

    def test_levels_of_a_pgm_are_ids(self, tmp_path):
        ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
        (tmp_path / "a.pgm").write_bytes(b"P5 4 3 20\n" + ids.tobytes())
        assert np.array_equal(modality("semseg").accept(tmp_path / "a.pgm"), ids)

    def test_bools_are_zero_and_one(self, tmp_path):
        mask = np.eye(8, dtype=bool)
        Image.fromarray(mask).save(tmp_path / "a.png")
        semseg = modality("semseg")
        assert np.array_equal(semseg.read(tmp_path / "a.png"), mask.astype(int))
        assert np.array_equal(semseg.accept(mask), mask.astype(int))
        alone = am.label_map("road", classes=["road"])()
        for value in (mask, Image.fromarray(mask), mask.astype(int)):
            with pytest.raises(am.ValueProblem, match=r"road has class ids 0\.\.0 and 255 for none, got 1"):
                alone.accept(value)
        assert alone.accept(np.zeros((2, 2), bool)).tolist() == [[0, 0], [0, 0]]

    def test_sixteen_bits_beside_alpha_are_refused(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(png(np.array([[[200, 65535], [1000, 65535]]]), 16, 4))
        with pytest.raises(am.ValueProblem, match=r"a\.png.*16 bits.*without alpha"):
            modality("depth").read(path)

    def test_whole_numbers_beyond_the_range_are_no_natural_values(self):
        depth, array = modality("depth", **METERS), np.full((64, 64), 1500, np.uint16)
        with pytest.raises(am.ValueProblem, match=r"0\.4 to 80, got whole numbers from 1500 to 1500.*fromarray"):
            depth.accept(array)
        assert np.allclose(depth.accept(Image.fromarray(array)), 1500 / 65535 * 80)
        assert np.array_equal(depth.accept(np.full((4, 4), 3)), np.full((4, 4), 3.0))
        assert np.array_equal(depth.accept(np.array([[0, 3]])), [[0.0, 3.0]])  # 0 is not measured
        with pytest.raises(am.ValueProblem, match="from 0 to 1"):
            depth.accept(np.eye(4, dtype=bool))

    @pytest.mark.parametrize("name", ["rgb", "normal"])
    def test_floats_are_no_colors(self, name, tmp_path):
        Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(am.ValueProblem, match=r"holds floats|one channel"):
            modality(name).read(tmp_path / "a.tif")


class TestColorsAreNoNumbers:
    @pytest.mark.parametrize("name", ["semseg", "depth", "sam_instance", "canny_edge"])
    def test_colors_are_refused(self, name, tmp_path):
        colors = np.zeros((8, 8, 3), np.uint8)
        colors[:, :4], colors[:, 4:] = PERSON, CAR
        for picture in (colors, np.dstack([colors, np.full((8, 8), 255, np.uint8)])):
            Image.fromarray(picture).save(tmp_path / "a.png")
            for value in (tmp_path / "a.png", Image.fromarray(picture)):
                with pytest.raises(am.ValueProblem, match="colors"):
                    modality(name).accept(value)

    def test_gray_in_three_equal_channels_stays(self, tmp_path):
        Image.fromarray(np.full((4, 4, 3), 51, np.uint8)).save(tmp_path / "a.png")
        assert np.allclose(modality("depth").read(tmp_path / "a.png"), 0.2)
        assert (modality("semseg").read(tmp_path / "a.png") == 51).all()

    @pytest.mark.parametrize("name", ["semseg", "sam_instance"])
    def test_lossy_files_hold_no_ids(self, name, tmp_path):
        ids = np.zeros((64, 64), np.uint8)
        ids[20:40, 10:50] = 17
        for ending in ("jpg", "webp"):
            Image.fromarray(ids).convert("L").save(tmp_path / f"a.{ending}")
            for value in (tmp_path / f"a.{ending}", Image.open(tmp_path / f"a.{ending}")):
                with pytest.raises(am.ValueProblem, match="compression"):
                    modality(name).accept(value)


class TestPhotographs:
    def test_pictures_stand_upright(self, tmp_path):
        upright = np.zeros((40, 20, 3), np.uint8)
        upright[:10] = 255
        exif = Image.Exif()
        exif[0x0112] = 6
        sideways = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
        sideways.save(tmp_path / "a.png", exif=exif)
        for value in ways(modality("rgb"), (tmp_path / "a.png").read_bytes(), tmp_path / "a.png"):
            assert np.array_equal(value, upright)

    def test_what_is_transparent_lies_over_white(self, tmp_path):
        drawing = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        ImageDraw.Draw(drawing).ellipse((10, 10, 50, 50), outline=(0, 0, 0, 255), width=4)
        hidden = np.array(drawing)
        hidden[hidden[..., 3] == 0, :3] = (255, 0, 0)
        values = [modality("rgb").accept(Image.fromarray(each)) for each in (np.array(drawing), hidden)]
        assert np.array_equal(*values) and {0, 255} <= set(np.unique(values[0]))

    def test_transparency_means_nothing_in_normals(self, tmp_path):
        half = np.full((4, 4, 4), 128, np.uint8)
        with pytest.raises(am.ValueProblem, match="transparent"):
            modality("normal").accept(Image.fromarray(half))

    def test_color_profiles_are_applied(self, tmp_path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        lab = Image.new("LAB", (4, 4), (128, 160, 100))
        lab.save(tmp_path / "a.tif", icc_profile=profile.tobytes())
        right = ImageCms.profileToProfile(lab, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert np.abs(modality("rgb").read(tmp_path / "a.tif").astype(int) - np.asarray(right)).max() <= 2

    def test_a_damaged_profile_is_passed_over(self, tmp_path):
        Image.new("RGB", (4, 4), (9, 8, 7)).save(tmp_path / "a.png", icc_profile=b"no profile")
        assert (modality("rgb").read(tmp_path / "a.png") == (9, 8, 7)).all()

    def test_long_texts_beside_the_pixels_do_not_matter(self, tmp_path):
        text = PngImagePlugin.PngInfo()
        text.add_text("workflow", "[1, 2, 3]" * 200_000, zip=True)
        Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "a.png", pnginfo=text)
        assert (modality("rgb").read(tmp_path / "a.png") == (200, 30, 30)).all()


class TestUnknown:
    def test_depth_that_was_not_measured_is_neither_near_nor_far(self, tmp_path):
        depth, hole = modality("depth", **METERS), np.full((64, 64), 10.0, np.float32)
        hole[:, 32:] = np.nan
        depth.write(hole, tmp_path / "a.png")
        again = depth.read(tmp_path / "a.png")
        assert not again[:, 32:].any() and not depth.measured(depth.accept(hole))[:, 32:].any()
        levels = {float(depth.preprocess(value)[0, 0, -1]) for value in (hole, again, depth.accept(hole))}
        assert len(levels) == 1 and -0.9 < levels.pop() < 0.9
        assert depth.score([np.ones((4, 4))], [np.zeros((4, 4))])["abs_rel"] == 0

    def test_holes_do_not_move_relative_depth(self):
        depth = modality("depth", size=64, patch=8)
        ramp = np.linspace(1, 10, 64, dtype=np.float32)[None].repeat(64, 0)
        holes = ramp.copy()
        holes[:16] = 0
        assert np.allclose(depth.preprocess(ramp)[0, 40], depth.preprocess(holes)[0, 40], atol=1e-5)

    def test_a_map_that_measured_nothing_is_fine(self):
        assert np.isfinite(modality("depth", **METERS).preprocess(np.zeros((64, 64)))).all()

    def test_black_is_no_surface(self, tmp_path):
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[:2] = (128, 128, 255)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        normal = modality("normal")
        value = normal.read(tmp_path / "a.png")
        assert not value[2:].any() and np.allclose(value[:2], (0, 0, 1), atol=0.01)
        assert normal.score([np.broadcast_to(np.float32([0, 0, 1]), (4, 4, 3))], [value])["mean_angle"] < 1

    @pytest.mark.parametrize("strange", [133, 187, 254, 300, -1])
    def test_ids_of_another_numbering_are_refused(self, strange):
        with pytest.raises(am.ValueProblem, match=f"0..132 and 255 for none, got {strange}"):
            modality("semseg").accept(np.full((4, 4), strange))


class TestInstances:
    LABELS = np.zeros((40, 60), np.uint8)
    LABELS[5:20, 5:30], LABELS[22:38, 30:58] = 1, 2

    def test_a_map_gives_the_same_instances_each_way(self, tmp_path):
        sam = modality("sam_instance")
        Image.fromarray(self.LABELS).save(tmp_path / "a.png")
        values = [tmp_path / "a.png", Image.open(tmp_path / "a.png"), self.LABELS, self.LABELS.tolist()]
        boxes = [sorted(i.box for i in sam.accept(value)) for value in values]
        assert len(boxes[0]) == 2 and all(each == boxes[0] for each in boxes)

    def test_negative_numbers_are_refused(self):
        with pytest.raises(am.ValueProblem, match="lowest of them -1"):
            modality("sam_instance").accept(self.LABELS.astype(np.int32) - 1)

    def test_work_is_bounded(self):
        noise = np.random.default_rng(0).permutation(4096).reshape(64, 64)
        triangle = {"outlines": [[[0.1, 0.1], [0.6, 0.1], [0.1, 0.6]]]}
        for value in (noise, {"instances": [triangle] * 1001}):
            with pytest.raises(am.ValueProblem, match="up to 1000 instances"):
                modality("sam_instance").accept(value)


class TestThinLines:
    @pytest.mark.parametrize("side", [64, 100, 800])
    def test_edges_survive_resizing(self, side):
        edges = np.zeros((side, side), np.uint8)
        edges[side // 3], edges[:, side // 2] = 255, 255
        cut = modality("canny_edge", size=32, patch=8).crop(edges, Crop()) > 127
        assert cut.sum(0).min() >= 1 and cut.sum(1).min() >= 1 and cut.sum() <= 2 * 32 + 2 * 32

    def test_a_crop_holds_the_edges_inside_it(self):
        edges = np.zeros((100, 100), np.uint8)
        edges[:, 10] = 255
        canny = modality("canny_edge", size=32, patch=8)
        assert not canny.crop(edges, Crop(0.5, 0, 0.5, 1)).any()
        assert canny.crop(edges, Crop(0, 0, 0.5, 1)).any()


@pytest.mark.parametrize("side", [64, 256, 512, 1024])
def test_palettes_see_the_whole_picture(side):
    picture = np.zeros((side, side, 3), np.uint8)
    picture[: side // 2], picture[side // 2 :] = (200, 30, 30), (30, 30, 200)
    picture[:, : max(1, side // 128)] = (30, 200, 30)
    found = modality("color_palette").derive({"rgb": picture}).tolist()
    assert len(found) == 3 and found[2] == [30, 200, 30]


def test_matrices_that_are_no_rotations_are_refused():
    poses, eye = modality("human_poses"), np.eye(3).tolist()
    for bad in (np.zeros((3, 3)).tolist(), np.diag([1, 1, -1]).tolist(), (np.eye(3) * 2).tolist()):
        smpl = {"global_orient": [[bad]], "body_pose": [[eye] * 23], "betas": [[0] * 10]}
        file = {"img_size": [9, 9], "bbox_xyxy": [[1, 1, 2, 2]], "pred_smpl_params": smpl, "pred_cam": [[1, 0, 0]]}
        with pytest.raises(am.ValueProblem, match="rotations"):
            poses.accept(file)


class TestBoxes:
    COCO = {
        "images": [{"id": 1, "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    }

    def boxes(self, **annotation):
        return modality("det").accept({**self.COCO, "annotations": [{"category_id": 3, "image_id": 1, **annotation}]})

    def test_boxes_over_the_edge_are_clipped(self):
        ((box,),) = [self.boxes(bbox=[600, -2, 50, 50])]
        assert box.corners == (600 / 640, 0, 1, 48 / 480)

    def test_crowds_and_other_pictures_are_left_out(self):
        assert self.boxes(bbox=[1, 2, 3, 4], iscrowd=1) == [] == self.boxes(bbox=[1, 2, 3, 4], image_id=7)
        assert len(self.boxes(bbox=[1, 2, 3, 4], iscrowd=0)) == 1

    def test_class_names_are_compared_without_case(self):
        det = modality("det")
        (truth,) = self.boxes(bbox=[10, 20, 30, 40])
        said = type(truth)(*truth.corners, "Car")
        assert det.score([[said]], [[truth]])["ap"] == 1

    @pytest.mark.parametrize("hits", [35, 41, 57, 95, 50])
    def test_average_precision_is_that_of_pycocotools_at_the_levels_of_recall(self, hits):
        (box,) = self.boxes(bbox=[10, 20, 300, 200])
        found = [[type(box)(*box.corners, "car", 0.9 - k * 0.001)] if k < hits else [] for k in range(100)]
        levels = np.count_nonzero(np.linspace(0, 1, 101) <= hits / 100)
        assert modality("det").score(found, [[box]] * 100)["ap"] == pytest.approx(levels / 101, abs=1e-9)
