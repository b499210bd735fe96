"""The figures of models and results: what they show, and that names which users gave are text."""

import io
import os

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import vaezoo
from vaezoo.builder import build
from vaezoo.core.errors import VaezooError
from vaezoo.evaluation.picture_arrays import Pictures
from vaezoo.reports.drawing import charts, grids
from vaezoo.reports.drawing.folder import draw_figures
from vaezoo.reports.drawing.style import png_of
from vaezoo.runner.store import Store

HOSTILE = "a|b $x_1$ <script> \x1b[31m 漢 100 %"


@pytest.fixture(scope="module")
def model_and_data():
    data = vaezoo.load_dataset("digits-binary")
    return build("vae", data, latent=3, hidden=(5,)), data


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(png_of(figure))).convert("RGB"))


def texts(figure):
    return [each.get_text() for each in figure.findobj(lambda part: hasattr(part, "get_text")) if each.get_text()]


def test_every_figure_of_a_model(model_and_data):
    model, data = model_and_data
    x = data.test.x[:20]
    for figure in (
        vaezoo.figures.samples(model, n=16),
        vaezoo.figures.reconstructions(model, x),
        vaezoo.figures.interpolations(model, x[:4]),
        vaezoo.figures.traversal(model, x, dims=[1]),
        vaezoo.figures.latent_map(model, data),
    ):
        assert isinstance(figure, Figure)
        assert png_of(figure) == png_of(figure)
    assert "z[1]" in texts(vaezoo.figures.traversal(model, x, dims=[1]))
    with pytest.raises(VaezooError, match="dims must be of the 3 latent dimensions, got 7"):
        vaezoo.figures.traversal(model, x, dims=[7])
    with pytest.raises(VaezooError, match="an interpolation needs 2 images or more, got 1"):
        vaezoo.figures.interpolations(model, x[:1])
    coded = build("vq-vae", data, latent=4, hidden=(5,))
    with pytest.raises(VaezooError, match="this model has discrete codes or draws its images pixel by pixel"):
        vaezoo.figures.interpolations(coded, x)
    counts = vaezoo.load_dataset("simulated-counts")
    with pytest.raises(VaezooError, match="this is no model of images, its data are counts"):
        vaezoo.figures.samples(build("count-vae", counts, latent=3, hidden=(5,)))


def test_an_image_is_shown_as_it_is():
    """Each pixel is enlarged to a square; images stand in rows with white between them."""
    images = np.random.default_rng(0).integers(0, 255, (3, 4, 4, 3), dtype=np.uint8)
    shown = pixels(grids.samples(images))
    scale = grids.scale_of(images)
    row = grids.mosaic(images[None], scale)
    assert row.shape == (4 * scale, 3 * 4 * scale + 2 * grids.GAP, 3)
    top = shown.shape[0] - grids.MARGIN - row.shape[0]
    found = shown[top : top + row.shape[0], grids.MARGIN : grids.MARGIN + row.shape[1]]
    assert np.array_equal(found, row)
    assert np.array_equal(found[::scale, : 4 * scale : scale], images[0])


def history(labels, epochs=4, seeds=2):
    rows = [
        (label, "vae", "digits", seed, epoch, -100.0, -90.0 - 10 / epoch - seed, float(epoch))
        for label in labels
        for seed in range(seeds)
        for epoch in range(1, epochs + 1)
    ]
    columns = ["label", "variant", "dataset", "seed", "epoch", "objective", "validation_iwll", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def test_curves_are_means_with_a_band_of_the_seeds():
    found = history(["one", "two"])
    found.loc[found["epoch"] == 2, "validation_iwll"] = np.nan  # an epoch without validation
    figure = vaezoo.figures.curves(found)
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["one", "two"]
    np.testing.assert_allclose(left.lines[0].get_xdata(), [1, 3, 4])
    np.testing.assert_allclose(left.lines[0].get_ydata(), [-100.5, -90.5 - 10 / 3, -93.0])
    band = left.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == -101.0
    assert right.get_xlabel() == "seconds of training"
    with pytest.raises(VaezooError, match="the history has no epoch with a validation iwll"):
        vaezoo.figures.curves(found[found["epoch"] == 2])


def test_the_pareto_front():
    assert charts.pareto([(1, 5), (2, 4), (2, 3), (3, 1), (0, 5), (3, 1)]) == [0, 1, 3, 5]
    frame = pd.DataFrame(
        {
            "label": ["fast", "fast", "good", "worse", "untimed"],
            "iwll": [-95.0, -94.0, -90.0, -96.0, -80.0],
            "train_images_per_second": [2e4, 2e4, 1e3, 1e4, np.nan],
        }
    )
    axes = vaezoo.figures.quality_speed(frame).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(1e3, -90.0), (2e4, -94.5)])
    assert {text.get_text() for text in axes.texts} == {"fast", "good", "worse"}
    with pytest.raises(VaezooError, match="no row has both an iwll and train images/s"):
        vaezoo.figures.quality_speed(frame.iloc[4:])


def test_rows_that_were_not_measured_alike_are_not_on_the_front():
    alike = {"dataset": "d", "status": "ok", "seed": 0, "device": "cpu", "checksum": "a", "importance_samples": 10}
    rows = [
        {"label": "good", "iwll": -80.0, "train_images_per_second": 100.0, **alike},
        {"label": "fast", "iwll": -82.0, "train_images_per_second": 200.0, **alike},
        {"label": "other", "iwll": -70.0, "train_images_per_second": 9e3, **alike, "importance_samples": 1000},
        {"label": "gpu", "iwll": -70.0, "train_images_per_second": 9e3, **alike, "device": "gpu"},
    ]
    axes = vaezoo.figures.quality_speed(pd.DataFrame(rows)).axes[0]
    assert list(axes.lines[0].get_xdata()) == [100.0, 200.0]


def test_hostile_names_are_text():
    """No formula, no control character, and a character that the font lacks does not stop a figure."""
    frame = pd.DataFrame({"label": [HOSTILE], "iwll": [-1.0], "train_images_per_second": [10.0]})
    image = np.zeros((2, 4, 4, 1), np.uint8)
    for figure in (
        charts.curves(history([HOSTILE]), HOSTILE),
        charts.quality_speed(frame, HOSTILE),
        charts.latent_map(np.eye(2, dtype=np.float32), None, "z", HOSTILE),
        grids.samples(image, HOSTILE),
    ):
        png_of(figure)
        named = [text for text in texts(figure) if "script" in text]
        assert named
        assert all("$x_1$ <script>" in text and "\x1b" not in text for text in named)


def test_a_user_s_settings_of_matplotlib_change_nothing():
    import matplotlib

    image = np.zeros((2, 4, 4, 1), np.uint8)
    before = png_of(grids.samples(image)), png_of(charts.curves(history(["one"])))
    with matplotlib.rc_context({"font.size": 20, "savefig.bbox": "tight", "axes.facecolor": "black"}):
        assert (png_of(grids.samples(image)), png_of(charts.curves(history(["one"])))) == before
        assert matplotlib.rcParams["font.size"] == 20


def test_only_what_is_missing_or_has_changed_is_drawn(finished, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    paths = draw_figures(folder)
    assert {path.relative_to(folder / "figures").as_posix() for path in paths} == {
        *(f"digits-binary/{name}.png" for name in ("curves", "quality_speed")),
        *(
            f"{row}--digits-binary/{name}.png"
            for row in ("vae", "beta-vae")
            for name in ("samples", "reconstructions", "interpolations", "traversals", "latent")
        ),
    }
    content = {path: path.read_bytes() for path in paths}
    for path in paths:
        os.utime(path, (1, 1))
    lost = folder / "figures" / "vae--digits-binary" / "latent.png"
    lost.unlink()
    store = Store(folder)
    [stem] = [cell.stem for cell in store.plan().cells if (cell.label, cell.seed) == ("beta-vae", 0)]
    store.write_pictures(stem, Pictures(latent=np.eye(2, dtype=np.float32), latent_method="z"))
    draw_figures(folder)
    drawn = {path for path in paths if path.stat().st_mtime > 1}
    assert drawn == {lost, folder / "figures" / "beta-vae--digits-binary" / "latent.png"}
    assert lost.read_bytes() == content[lost]


def test_neither_torch_nor_pyplot_is_needed(finished, shell):
    code = """
import subprocess, sys
code = '''
import sys
from vaezoo.reports.drawing import charts, grids
from vaezoo.reports.pictures import stored_pictures
print([name for name in ("torch", "matplotlib.pyplot", "plotly") if name in sys.modules])
'''
print(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout, end="")
"""
    assert shell.python(code) == "[]\n"
