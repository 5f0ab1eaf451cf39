"""The unsharp mask, against scikit-image and its own laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import textured
from skimage.filters import unsharp_mask as witness

from transforms.functional.sharpen import unsharp_mask


@pytest.mark.parametrize(("amount", "sigma"), [(1.0, 1.0), (0.5, 2.5), (2.0, 1.5)])
def test_it_agrees_with_scikit_image(amount, sigma):
    image = textured(60, 70, seed=1)
    wanted = witness(image / 255, radius=sigma, amount=amount, channel_axis=2) * 255
    found = unsharp_mask(image, amount=amount, sigma=sigma)
    assert np.abs(found - wanted).max() <= 0.501


@given(st.integers(0, 255), st.floats(0, 4), st.floats(0.3, 4))
def test_a_flat_picture_stays_flat(level, amount, sigma):
    flat = np.full((12, 9, 3), level, np.uint8)
    np.testing.assert_array_equal(unsharp_mask(flat, amount=amount, sigma=sigma), flat)


def test_amount_zero_is_the_identity():
    image = textured(40, 40, seed=2)
    np.testing.assert_array_equal(unsharp_mask(image, amount=0, sigma=1), image)


def test_an_edge_becomes_steeper():
    edge = np.zeros((20, 20, 3), np.uint8)
    edge[:, :9], edge[:, 9], edge[:, 10:] = 100, 125, 150
    sharper = unsharp_mask(edge, amount=1, sigma=1).astype(int)
    assert np.ptp(sharper[10, 8:11, 0]) > np.ptp(edge[10, 8:11, 0])


@pytest.mark.parametrize("wrong", [{"amount": -1, "sigma": 1}, {"amount": 1, "sigma": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="amount must be >= 0 and sigma > 0"):
        unsharp_mask(textured(8, 8, seed=0), **wrong)
