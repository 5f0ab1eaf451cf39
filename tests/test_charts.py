"""Charts and what is measured on them, against what is known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from transforms.functional import charts
from transforms.functional.slanted_edge import (
    MARGIN,
    SIDE,
    Edge,
    draw_edge,
    edge_distance,
    edge_spread,
    measure_edge,
    mtf50,
    transfer,
)


def gaussian_edge(sigma: float, orientation: str = "vertical") -> np.ndarray:
    """An edge blurred by a Gaussian and sampled at points, free of pixels and rounding."""
    return 0.2 + 0.6 * (0.5 + 0.5 * erf(edge_distance(orientation) / (sigma * math.sqrt(2))))


@pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
def test_the_mtf_of_a_gaussian_is_a_gaussian(sigma, orientation):
    curve = transfer(edge_spread(gaussian_edge(sigma, orientation), edge_distance(orientation)))
    frequency, modulation = curve.T
    expected = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    np.testing.assert_allclose(modulation, expected, rtol=0, atol=0.002)
    assert mtf50(curve) == pytest.approx(math.sqrt(math.log(2) / 2) / math.pi / sigma, rel=0.002)


@pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
@pytest.mark.parametrize("length", [7.0, 11.0])
def test_the_mtf50_of_motion_is_that_of_its_box_and_the_pixel(orientation, length):
    chart = draw_edge(Edge(orientation, length))
    measured = measure_edge(chart, chart, orientation).mtf50_before
    # A box of length L falls to one half at 0.6034 / L; splatting and the pixel widen it a little.
    assert 0.97 * 0.6034 / length < measured < 0.6034 / length


def test_the_mtf50_of_a_sharp_edge_is_that_of_the_pixel():
    chart = draw_edge(Edge("vertical"))
    assert measure_edge(chart, chart, "vertical").mtf50_after == pytest.approx(0.6034, rel=0.02)


def test_motion_along_an_edge_leaves_far_more_than_motion_across_it():
    across, along = (draw_edge(Edge("vertical", 11.0, way)) for way in ("across", "along"))
    response = measure_edge(across, along, "vertical")
    assert response.gain > 5


def test_both_orientations_show_the_same_edge():
    upright, lying = (draw_edge(Edge(way, 7.0)) for way in ("vertical", "horizontal"))
    np.testing.assert_array_equal(upright, lying.transpose(1, 0, 2))
    standing, flat = (
        measure_edge(chart, chart, way).mtf50_after
        for chart, way in ((upright, "vertical"), (lying, "horizontal"))
    )
    assert standing == pytest.approx(flat, rel=1e-12)


@given(st.integers(1, 40), st.integers(1, 40))
def test_overshoot_and_undershoot_are_shares_of_the_step(over, under):
    chart = draw_edge(Edge("vertical"))
    distance, answer = edge_distance("vertical"), chart.copy()
    answer[(distance > 2) & (distance < 4)] += np.uint8(over)
    answer[(distance < -2) & (distance > -4)] -= np.uint8(under)
    response = measure_edge(chart, answer, "vertical")
    assert response.overshoot_percent == pytest.approx(over / 1.3, abs=0.1)
    assert response.undershoot_percent == pytest.approx(under / 1.3, abs=0.1)


def test_an_answer_without_an_edge_has_no_resolution():
    chart = draw_edge(Edge("vertical"))
    response = measure_edge(chart, np.full_like(chart, 90), "vertical")
    assert (response.mtf50_after, response.gain, response.overshoot_percent) == (0, 0, 0)


def test_an_edge_along_the_grid_is_refused():
    distance = np.broadcast_to(np.arange(SIDE) - SIDE / 2, (SIDE, SIDE))
    with pytest.raises(ValueError, match="must be slanted, got 192 empty bins"):
        edge_spread(np.zeros((SIDE, SIDE)), distance)


def test_what_happens_in_the_margin_is_not_measured():
    chart = draw_edge(Edge("vertical", 7.0))
    broken = chart.copy()
    broken[:MARGIN], broken[:, -MARGIN:] = 0, 255
    assert measure_edge(chart, broken, "vertical") == measure_edge(chart, chart, "vertical")


ALL = {
    "ramp": charts.grey_ramp,
    "patches": charts.colour_patches,
    "star": charts.siemens_star,
    "noise": charts.white_noise,
    "seam": charts.seam_chart,
}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_chart_is_rgb_in_8_bits_and_the_same_on_every_call(name):
    chart = ALL[name]()
    assert chart.dtype == np.uint8
    assert chart.ndim == 3
    assert chart.shape[2] == 3
    np.testing.assert_array_equal(chart, ALL[name]())


def test_an_untouched_ramp_keeps_all_levels_in_order():
    ramp = charts.grey_ramp()
    assert charts.measure_ramp(ramp, ramp) == charts.Radiometry(0, 0, 0, 256, 0)


def test_truncating_shows_as_bias_and_merged_levels():
    ramp = charts.grey_ramp()
    measured = charts.measure_ramp(ramp, ramp // 2 * 2)
    assert (measured.bias_dn, measured.worst_bias_dn) == (-0.5, 1)
    assert (measured.levels, measured.falls) == (128, 0)


def test_clipping_and_disorder_are_counted():
    ramp = charts.grey_ramp()
    bright = np.clip(ramp.astype(int) + 10, 0, 255).astype(np.uint8)
    # Levels 245 to 254 of 1 to 254 arrive at 255.
    assert charts.measure_ramp(ramp, bright).clipped_share == pytest.approx(10 / 254)
    assert charts.measure_ramp(ramp, 255 - ramp).falls == 255


def test_only_what_differs_between_bands_is_a_shift_of_hue():
    chart = charts.colour_patches()
    assert charts.measure_colour_shift(chart, chart) == 0
    assert charts.measure_colour_shift(chart, chart + np.uint8(3)) == 0
    assert charts.measure_colour_shift(chart, chart + np.array([4, 0, 1], np.uint8)) == 4


@given(st.integers(2, 4))
def test_noise_gain_is_the_factor_of_the_deviation(factor):
    chart = charts.white_noise()
    answer = (128 + factor * (chart.astype(int) - 128)).astype(np.uint8)
    measured = charts.measure_noise(chart, answer)
    assert measured.gain == pytest.approx(factor)
    assert measured.bias_dn == pytest.approx((factor - 1) * (chart.mean() - 128))


def test_white_noise_has_its_deviation_and_no_neighbours_in_common():
    chart = charts.white_noise().astype(float) - 128
    # Rounding to whole levels adds the variance 1 / 12.
    assert chart.std() == pytest.approx(math.sqrt(25 + 1 / 12), rel=0.01)
    assert abs((chart[:, 1:] * chart[:, :-1]).mean()) < 0.3


@pytest.mark.parametrize("height", [charts.POINT, -charts.POINT])
def test_an_untouched_pixel_answers_in_full_and_spreads_nothing(height):
    answer, flat = charts.single_pixel(height), charts.single_pixel(0)
    assert charts.measure_point(height, answer, flat) == charts.Point(1, 0, 0)


def test_a_shift_of_grey_is_no_response_and_a_ghost_is_spread():
    flat = charts.single_pixel(0)
    shifted = charts.single_pixel(80) + np.uint8(5)
    assert charts.measure_point(80, shifted, flat + np.uint8(5)) == charts.Point(1, 0, 0)
    ghost = charts.single_pixel(80)
    ghost[128, 128 + 17] += np.uint8(40)
    assert charts.measure_point(80, ghost, flat) == charts.Point(1, 0.25, 17)


@pytest.mark.parametrize("frequency", [0.08, 0.1, 0.2])
def test_an_untouched_star_keeps_its_contrast_and_its_negative_reverses_it(frequency):
    star = charts.siemens_star()
    assert charts.measure_star(star, frequency) == pytest.approx(1, abs=0.01)
    assert charts.measure_star(255 - star, frequency) == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("frequency", [0.08, 0.1, 0.15])
def test_a_blurred_star_has_the_contrast_of_the_blurs_mtf(frequency):
    blurred = gaussian_filter(charts.siemens_star().astype(float), (1.5, 1.5, 0))
    expected = math.exp(-2 * (math.pi * 1.5 * frequency) ** 2)
    assert charts.measure_star(blurred, frequency) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("frequency", [0.05, 0.5])
def test_a_frequency_that_the_star_lacks_is_refused(frequency):
    with pytest.raises(ValueError, match="no ring of"):
        charts.measure_star(charts.siemens_star(), frequency)


@given(st.sampled_from([0, 1, 32, 160, 512]))
def test_cutting_and_joining_gives_the_picture_back(halo):
    chart = charts.seam_chart()
    joined = charts.join_tiles(charts.cut_tiles(chart, halo), halo)
    np.testing.assert_array_equal(joined, chart)
    assert charts.measure_seam(joined, chart) == charts.Seam(0, 1)


def test_a_seam_shows_in_levels_and_in_the_step():
    whole = np.full((4, 8, 3), 100, np.uint8)
    whole[:, 4:] = 110
    joined = whole.copy()
    joined[:, 4:] += np.uint8(20)
    assert charts.measure_seam(joined, whole) == charts.Seam(20, 3)
    assert charts.measure_seam(joined, np.full_like(whole, 100)).jump == math.inf


def test_a_halo_beyond_the_neighbour_is_refused():
    with pytest.raises(ValueError, match="halo must be 0 to 512 px, got 513"):
        charts.cut_tiles(charts.seam_chart(), 513)
