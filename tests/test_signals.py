"""Power spectra of signals whose answer is known."""

import numpy as np
import pytest

from ngnmm_jax.signals import power_spectrum


def test_sine_and_parseval():
    rate, t = 1000.0, np.arange(8000) / 1000.0
    signal = 3.0 + 2.0 * np.sin(2 * np.pi * 40.0 * t)
    spectrum = power_spectrum(signal, 1 / rate, segment=1.0)
    assert spectrum.peak_frequency == pytest.approx(40.0)
    resolution = spectrum.frequencies[1]
    assert resolution == pytest.approx(1.0)
    assert spectrum.power.sum() * resolution == pytest.approx(2.0, rel=1e-3)  # amplitude² / 2
    assert spectrum.decibels[40] == pytest.approx(10 * np.log10(spectrum.power[40]))


def test_white_noise_is_flat_and_channels_are_separate():
    noise = np.random.default_rng(0).normal(size=(60000, 3)) * [1.0, 2.0, 0.0]
    spectrum = power_spectrum(noise, 1e-3, segment=0.25)
    assert spectrum.power.shape == (126, 3)
    level = spectrum.power[5:-5].mean(axis=0)
    np.testing.assert_allclose(level, [2e-3, 8e-3, 0.0], rtol=0.05)
    assert (spectrum.decibels[:, 2] == -np.inf).all()


@pytest.mark.parametrize(
    ("signal", "interval", "segment", "words"),
    [
        (np.zeros(4), 1e-3, None, "at least 8 samples"),
        (np.full(100, np.nan), 1e-3, None, "`signal` must be finite"),
        (np.zeros(100), 0.0, None, "`sampling_interval` must be positive"),
        (np.zeros(100), 1e-3, 1.0, "`segment` must lie between"),
    ],
)
def test_what_is_refused(signal, interval, segment, words):
    with pytest.raises(ValueError, match=words):
        power_spectrum(signal, interval, segment=segment)
