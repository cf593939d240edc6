"""Signals whose answer is known, and independent computations of the same quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.stats

from ngnmm_jax import signals as sg
from ngnmm_jax.fitting import losses

DT = 1e-3
T = np.arange(8000) * DT
NOISE = np.random.default_rng(0).normal(size=(8000, 4))
# What is short enough for many programs, which tests share: spectra of four channels, and of one.
SHORT = NOISE[:2000]


def test_sine_and_parseval():
    signal = 3.0 + 2.0 * np.sin(2 * np.pi * 40.0 * T)
    for options in ({}, {"method": "multitaper", "bandwidth": 2.0}):
        spectrum = sg.power_spectrum(signal, DT, **options)
        assert spectrum.peak_frequency == pytest.approx(40.0, abs=1.0)
        assert spectrum.band_power(30, 50) == pytest.approx(2.0, rel=1e-3)  # amplitude² / 2
    powers = spectrum.band_powers()
    assert powers["gamma"] == pytest.approx(2.0, rel=1e-3)
    assert powers["alpha"] < 1e-3
    assert spectrum.decibels[320] == pytest.approx(10 * np.log10(spectrum.power[320]))


def test_welch_is_scipys():
    spectrum = sg.power_spectrum(SHORT, DT, segment=0.5)
    frequencies, power = scipy.signal.welch(SHORT, 1 / DT, nperseg=500, detrend="constant", axis=0)
    np.testing.assert_allclose(spectrum.frequencies, frequencies, rtol=1e-12)
    np.testing.assert_allclose(spectrum.power, power, rtol=1e-10)


@pytest.mark.parametrize("n", [2000, 2001])
def test_multitaper_is_the_weighted_mean_of_periodograms(n):
    """SciPy's periodogram with each taper as its window, concentration ratios as weights."""
    signal = NOISE[:n]
    spectrum = sg.power_spectrum(signal, DT, method="multitaper", bandwidth=4.0)
    tapers, ratios = scipy.signal.windows.dpss(n, 2e-3 * n, int(4e-3 * n) - 1, return_ratios=True)
    total = sum(
        ratio * scipy.signal.periodogram(signal, 1 / DT, window=taper, axis=0)[1]
        for taper, ratio in zip(tapers, ratios, strict=True)
    )
    np.testing.assert_allclose(spectrum.power, total / ratios.sum(), rtol=1e-8, atol=1e-12)
    # White noise of variance one: 2 dt at every frequency.
    np.testing.assert_allclose(spectrum.power[10:-10].mean(axis=0), 2e-3, rtol=0.15)


def test_channels_are_separate_and_transformations_pass():
    scaled = SHORT * [1.0, 2.0, 0.0, 1.0]
    spectrum = sg.power_spectrum(scaled, DT)
    assert (spectrum.decibels[:, 2] == -np.inf).all()
    assert spectrum.status.shape == (4,)
    assert repr(spectrum).startswith("PowerSpectrum: all 4 OK")

    def beta(x):
        found = sg.power_spectrum(x, DT)
        return found.band_power(13, 30), found.power

    x, v = scaled[:, 1], SHORT[:, 0]
    slope, one = jax.jit(jax.grad(beta, has_aux=True))(x)
    np.testing.assert_allclose(one, spectrum.power[:, 1], rtol=1e-12)
    up, down = (float(beta(x + h * v)[0]) for h in (1e-4, -1e-4))
    assert np.asarray(slope) @ v == pytest.approx((up - down) / 2e-4)


def test_analytic_signal_is_hilberts():
    centred = NOISE - NOISE.mean(axis=0)
    np.testing.assert_allclose(
        sg.analytic_signal(NOISE, DT), scipy.signal.hilbert(centred, axis=0), atol=1e-12
    )


def test_envelope_and_phase_of_a_modulated_rhythm():
    modulation = 1 + 0.5 * np.cos(2 * np.pi * 3 * T)
    signal = modulation * np.cos(2 * np.pi * 50 * T) + np.sin(2 * np.pi * 10 * T)
    inside = slice(500, -500)
    strength = sg.envelope(signal, DT, (40, 60))
    np.testing.assert_allclose(strength[inside], modulation[inside], atol=1e-6)
    angle = np.unwrap(sg.phase(signal, DT, (40, 60)))[inside]
    np.testing.assert_allclose(np.diff(angle) / (2 * np.pi * DT), 50, atol=1e-3)
    slow = sg.band_pass(signal, DT, (8, 12))
    np.testing.assert_allclose(slow[inside], np.sin(2 * np.pi * 10 * T)[inside], atol=1e-6)


def test_kuramoto_order_and_metastability():
    same = np.repeat(T[:, None], 5, axis=1)
    np.testing.assert_allclose(sg.kuramoto_order(same), 1)
    splayed = same + 2 * np.pi * np.arange(5) / 5
    np.testing.assert_allclose(sg.kuramoto_order(splayed), 0, atol=1e-12)
    assert float(sg.metastability(same)) == pytest.approx(0, abs=1e-12)
    half = np.where((np.arange(8000) < 4000)[:, None], same, splayed)  # order 1, then 0
    assert float(sg.metastability(half)) == pytest.approx(0.5)


OF_ONE = {
    "welch": lambda x: sg.power_spectrum(x, DT).power,
    "multitaper": lambda x: sg.power_spectrum(x, DT, method="multitaper").power,
    "envelope": lambda x: sg.envelope(x, DT, (5, 9)),
    "index": lambda x: sg.modulation_index(sg.phase(x, DT, (5, 9)), sg.envelope(x, DT, (50, 90))),
    "locking": lambda x: sg.envelope_locking(x, DT, (5, 9), (50, 90)),
    "comodulogram": lambda x: sg.comodulogram(x, DT, [4, 8], [60, 80], surrogates=3).index,
}
OF_ALL = {
    "connectivity": sg.functional_connectivity,
    "dynamics": lambda x: sg.functional_connectivity_dynamics(x, DT, 0.2, step=0.2).matrix,
    "order": sg.kuramoto_order,
    "metastability": sg.metastability,
}


@pytest.mark.parametrize("name", [*OF_ONE, *OF_ALL])
def test_jit_vmap_grad(name):
    signals = jnp.asarray(SHORT)
    function = {**OF_ONE, **OF_ALL}[name]
    signal = signals[:, 1] if name in OF_ONE else signals
    direct = function(signal)

    def squared(x):
        value = function(x)
        return (value**2).sum(), value

    with_slope = jax.value_and_grad(squared, has_aux=True)
    if name in OF_ONE:
        every = jax.jit(jax.vmap(with_slope, in_axes=1))(signals)
        (_, value), slope = jax.tree.map(lambda some: np.asarray(some)[1], every)
    else:
        (_, value), slope = jax.jit(with_slope)(signal)
    np.testing.assert_allclose(value, direct, rtol=1e-10)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def tort(phases, amplitudes, bins):
    """By the paper's words."""
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    number = np.digitize((phases + np.pi) % (2 * np.pi) - np.pi, edges) - 1
    share = np.array([amplitudes[number == b].mean() for b in range(bins)])
    share = share / share.sum()
    return (np.log(bins) + (share * np.log(share)).sum()) / np.log(bins)


def test_modulation_index():
    phases = np.random.default_rng(1).uniform(-np.pi, np.pi, 2000)
    amplitudes = 1 + 0.7 * np.cos(phases) + 0.1 * np.random.default_rng(2).uniform(size=2000)
    for bins in (18, 10):
        value = sg.modulation_index(phases, amplitudes, bins=bins)
        assert float(value) == pytest.approx(tort(phases, amplitudes, bins), rel=1e-9)
    assert float(sg.modulation_index(phases, np.ones(2000))) == pytest.approx(0, abs=1e-12)
    spike = (np.abs(phases - 0.1) < 0.09).astype(float)  # all in one bin
    assert float(sg.modulation_index(phases, spike)) == pytest.approx(1)


def test_phase_locking():
    phases = np.random.default_rng(1).uniform(-np.pi, np.pi, 2000)
    assert float(sg.phase_locking_value(phases, phases + 1.0)) == pytest.approx(1)
    value = sg.phase_locking_value(phases, 2 * phases)
    assert float(value) == pytest.approx(abs(np.exp(1j * phases).mean()))
    signal = np.sin(2 * np.pi * 5 * T) * (1 + 0.5 * np.sin(2 * np.pi * 60 * T))
    signal += (1 + 0.8 * np.sin(2 * np.pi * 5 * T)) * np.sin(2 * np.pi * 60 * T)
    assert float(sg.envelope_locking(signal, DT, (4, 6), (45, 75))) > 0.99


def rhythm(seed, depth):
    """An irregular 6 Hz rhythm that modulates a 60 Hz one, and noise."""
    rng = np.random.default_rng(seed)
    slow = np.asarray(sg.band_pass(rng.normal(size=16000), DT, (5, 7)))
    slow = slow / slow.std()
    fast = np.sin(2 * np.pi * 60 * np.arange(16000) * DT)
    return slow + (1 + depth * np.tanh(slow)) * fast / 2 + 0.2 * rng.normal(size=16000)


SLOW, FAST = np.arange(3, 13, 1.5), np.arange(40, 130, 10.0)


@pytest.mark.parametrize("measure", ["modulation_index", "phase_locking"])
def test_comodulogram(measure):
    options = {"measure": measure, "surrogates": 99}
    found = sg.comodulogram(rhythm(0, 0.7), DT, SLOW, FAST, **options)
    assert found.significant
    slow, fast = found.peak
    assert slow == pytest.approx(6, abs=1.5)
    assert fast == pytest.approx(60, abs=20)
    assert float(found.p.min()) == pytest.approx(0.01)
    assert found.index.shape == found.p.shape == (7, 9)
    nothing = sg.comodulogram(rhythm(0, 0.0), DT, SLOW, FAST, **options)
    assert not nothing.significant
    assert float(nothing.p.min()) > 0.05


def test_comodulogram_is_tort_of_its_bands():
    found = sg.comodulogram(
        rhythm(0, 0.7), DT, [6.0], [60.0], phase_bandwidth=2, amplitude_bandwidth=24, surrogates=0
    )
    inside = slice(500, -500)
    phases = np.asarray(sg.phase(rhythm(0, 0.7), DT, (5, 7)))[inside]
    amplitudes = np.asarray(sg.envelope(rhythm(0, 0.7), DT, (48, 72)))[inside]
    assert float(found.index[0, 0]) == pytest.approx(tort(phases, amplitudes, 18), rel=1e-6)
    assert np.isnan(found.p).all()
    assert not found.significant
    assert found.ok  # without surrogates there is an index, and no p
    assert "6 and 60 Hz" in repr(found)


SLOW_CENTRES, FAST_CENTRES = np.arange(3.0, 13.0, 2.0), np.arange(40.0, 130.0, 15.0)


def shifted(signal, rng):
    """The usual test, by circular shifts: whether it calls the signal significant at 5 %."""
    inside = slice(500, -500)
    lags = [0, *rng.integers(300, 2700, 39)]
    phases = [np.asarray(sg.phase(signal, DT, (f - 1, f + 1)))[inside] for f in SLOW_CENTRES]
    fast = [np.asarray(sg.envelope(signal, DT, (f - 13, f + 13)))[inside] for f in FAST_CENTRES]
    rolled = np.stack([[np.roll(a, lag) for a in fast] for lag in lags])  # (lag, fast, time)
    every = []
    for angle in phases:
        member = np.floor(angle / (2 * np.pi) % 1.0 * 18) == np.arange(18)[:, None]
        share = rolled @ (member / member.sum(axis=1, keepdims=True)).T
        share = share / share.sum(axis=-1, keepdims=True)
        every.append(1 + (share * np.log(share)).sum(axis=-1) / np.log(18))
    every = np.stack(every, axis=1)
    z = ((every - every.mean(axis=0)) / every.std(axis=0)).max(axis=(1, 2))
    return (z >= z[0]).mean() <= 0.05


@pytest.mark.slow
def test_white_noise_is_seldom_called_significant():
    """At 5 % in some 5 of 100 cases; the usual circular shift does so far more often."""
    rng = np.random.default_rng(7)
    signals = rng.normal(size=(100, 4000))
    bands = {"phase_bandwidth": 2, "amplitude_bandwidth": 26, "surrogates": 39}
    ours = [
        sg.comodulogram(signal, DT, SLOW_CENTRES, FAST_CENTRES, **bands, seed=k).significant
        for k, signal in enumerate(signals)
    ]
    theirs = [shifted(signal, rng) for signal in signals]
    print("called significant:", np.mean(ours), "by circular shifts:", np.mean(theirs))
    assert np.mean(ours) <= 0.11  # of 100 with 5 % each, more in 1 case of 200
    assert np.mean(theirs) > 0.15


def test_functional_connectivity():
    mixed = SHORT @ np.random.default_rng(3).normal(size=(4, 4))
    np.testing.assert_allclose(sg.functional_connectivity(mixed), np.corrcoef(mixed.T), atol=1e-12)


def test_functional_connectivity_dynamics():
    """Two patterns in turn: alike within, unlike between; and entry by entry in NumPy."""
    first, second = (
        NOISE[:, :2] @ [[1, 1, 0, 0], [0, 0, 1, 1]],
        NOISE[:, :2]
        @ [
            [1, 0, 1, 0],
            [0, 1, 0, 1],
        ],
    )
    turn = (np.arange(8000) // 2000) % 2 == 0
    signal = np.where(turn[:, None], first, second) + 0.1 * NOISE
    found = sg.functional_connectivity_dynamics(signal, DT, 1.0, step=0.5)
    assert found.apart == 2
    np.testing.assert_allclose(found.times, (np.arange(0, 7001, 500) + 499.5) * DT)
    rows, columns = np.triu_indices(4, 1)
    each = np.array(
        [np.corrcoef(signal[k : k + 1000].T)[rows, columns] for k in range(0, 7001, 500)]
    )
    np.testing.assert_allclose(found.matrix, np.corrcoef(each), atol=1e-10)
    assert float(found.matrix[0, 2]) > 0.95
    assert float(found.matrix[0, 4]) < -0.3
    assert found.values.shape == (13 * 14 // 2,)


def test_connectivity_in_any_unit():
    """Powers of two change no bit; in 32 bits 1e-26 and 1e+20 are units like others."""
    signal = SHORT @ np.random.default_rng(3).normal(size=(4, 4))
    expected = np.corrcoef(signal.T)
    found = np.asarray(sg.functional_connectivity(signal))
    for power in (-600, -80, 80, 600):
        np.testing.assert_array_equal(sg.functional_connectivity(signal * 2.0**power), found)
    whole = np.rint(50 * signal).astype(int)
    np.testing.assert_allclose(sg.functional_connectivity(whole), np.corrcoef(whole.T), atol=1e-12)
    back = sg.functional_connectivity(np.asfortranarray(signal)[::-1])
    np.testing.assert_allclose(back, expected, atol=1e-12)
    with jax.enable_x64(False):
        for unit in (1e-26, 1.0, 1e20):
            small = np.float32(unit * signal)
            single = np.asarray(sg.functional_connectivity(small))
            assert single.dtype == np.float32
            np.testing.assert_allclose(single, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_rounding_is_no_signal(kind):
    """Of what is constant to rounding, in the precision in which it comes, nothing is told."""
    step = float(np.finfo(kind).eps)
    still = (0.1 * (1 + step * SHORT)).astype(kind)
    some = np.where(np.arange(4) == 2, still, SHORT).astype(kind)
    with pytest.raises(ValueError, match="constant in 0, 1, 2, 3"):
        sg.functional_connectivity(still)
    with pytest.raises(ValueError, match="constant in 2"):
        sg.functional_connectivity(some)
    assert np.isnan(jax.jit(sg.functional_connectivity)(some)[2]).all()
    with pytest.raises(ValueError, match=r"more than rounding in the band.* in region 2"):
        sg.phase(some, DT, (5, 9))
    with pytest.raises(ValueError, match="constant in 0"):
        sg.comodulogram(still[:, 0], DT, [4, 8], [60, 80], surrogates=3)
    peaks = np.asarray(sg.power_spectrum(some, DT).peak_frequency)
    assert np.isnan(peaks).tolist() == [False, False, True, False]
    multitaper = sg.power_spectrum(some, DT, method="multitaper")
    assert np.asarray(multitaper.power == 0).all(axis=0).tolist() == [False, False, True, False]


def test_windows_in_which_a_region_is_still():
    """They are NaN and said so; the others are what they were; distances leave NaN out."""
    signal = SHORT.copy()
    whole = sg.functional_connectivity_dynamics(signal, DT, 0.2, step=0.2)
    signal[800:1000, 1] = 0.1 * (1 + 1e-16 * NOISE[:200, 1])
    with pytest.warns(UserWarning, match="1 of 10 windows have no pattern.*region 1 is still"):
        found = sg.functional_connectivity_dynamics(signal, DT, 0.2, step=0.2)
    assert np.argwhere(np.asarray(found.still)).tolist() == [[4, 1]]
    assert repr(found).startswith("ConnectivityDynamics: 9 OK, 1 NOT_FINITE of 10")
    assert whole.ok
    others = np.arange(10) != 4
    matrix = np.asarray(found.matrix)
    assert np.isnan(matrix[4]).all()
    np.testing.assert_allclose(
        matrix[np.ix_(others, others)],
        np.asarray(whole.matrix)[np.ix_(others, others)],
        rtol=1e-12,
    )
    values = np.asarray(found.values)
    assert np.isnan(values).sum() == 9
    known = values[~np.isnan(values)]
    assert float(losses.fcd_distance(values, known, smooth=0)) == 0
    gap = scipy.stats.ks_2samp(known, np.asarray(whole.values)).statistic
    assert float(losses.fcd_distance(values, whole.values, smooth=0)) == pytest.approx(gap)
    smooth = [float(losses.fcd_distance(some, whole.values)) for some in (values, known)]
    assert smooth[0] == pytest.approx(smooth[1], rel=1e-9)
    with pytest.raises(ValueError, match="all of its 2 values are NaN"):
        losses.fcd_distance([np.nan, np.nan], known)
    with pytest.warns(UserWarning, match="all pairs are alike"):
        sg.functional_connectivity_dynamics(SHORT[:, [0, 0, 0, 0]], DT, 0.2, step=0.2)


def test_modulation_of_phases_that_are_not_all_there():
    """Constant amplitude has no modulation, over whatever phases; nor has none at all one."""
    half = np.linspace(0, 0.999 * np.pi, 2000)
    assert float(sg.modulation_index(half, np.full(2000, 3.0))) == pytest.approx(0, abs=1e-12)
    # Of 9 bins that hold phases, all amplitude in one.
    assert float(sg.modulation_index(half, (half < 0.3) * 1.0)) == pytest.approx(1)
    for phases, amplitudes, words in (
        (half, np.zeros(2000), "zero throughout"),
        (0 * half, half, "two bins at least"),
    ):
        with pytest.raises(ValueError, match=words):
            sg.modulation_index(phases, amplitudes)
        assert np.isnan(jax.jit(sg.modulation_index)(phases, amplitudes))
    weak = 1 + 1e-7 * np.cos(half)
    share = np.array([weak[np.floor(half / np.pi * 9) == b].mean() for b in range(9)])
    more = share / share.mean() - 1
    expected = (more**2 / 2).mean() / np.log(9)
    assert float(sg.modulation_index(half, weak)) == pytest.approx(expected, rel=1e-5)


def test_bands_without_anything_and_surrogates_that_are_alike():
    """Couplings of rounding are NaN, with a warning; equal surrogates make nothing significant."""
    signal = np.sin(2 * np.pi * 6 * T[:4000]) + np.sin(2 * np.pi * 60 * T[:4000])
    with pytest.warns(UserWarning, match="1 of 2 couplings are NaN"):
        found = sg.comodulogram(signal, DT, [6.0], [60.0, 150.0], surrogates=19, bins=4)
    assert np.isnan(found.index).tolist() == [[False, True]]
    assert found.peak == (6.0, 60.0)
    # The envelope is constant: all are zero to rounding.
    assert float(found.index[0, 0]) == pytest.approx(0, abs=1e-12)
    assert (float(found.z[0, 0]), float(found.p[0, 0])) == (0.0, 1.0)
    assert not found.significant


def test_bands_that_a_spectrum_does_not_have():
    """NaN among others; alone they are refused."""
    powers = sg.power_spectrum(SHORT, 0.004, segment=0.2).band_powers()
    lost = [name for name, power in powers.items() if np.isnan(power).all()]
    assert lost == ["delta", "high gamma"]


def test_units_and_steps_in_32_bits():
    """A sampling interval in 32 bits is the decimal that it stands for; bands too."""
    signal = SHORT
    step, band = np.float32(DT), (np.float32(4.1), np.float32(500.0))
    np.testing.assert_array_equal(
        sg.power_spectrum(signal, step).frequencies, sg.power_spectrum(signal, DT).frequencies
    )
    np.testing.assert_array_equal(
        sg.envelope(signal, step, band), sg.envelope(signal, DT, (4.1, 500.0))
    )
    with jax.enable_x64(False):
        plain, tiny = np.float32(signal), np.float32(1e-26 * signal)
        np.testing.assert_allclose(
            1e26 * np.asarray(sg.envelope(tiny, step, (4, 90))), sg.envelope(plain, step, (4, 90)),
            rtol=1e-3, atol=1e-5,
        )  # fmt: skip
        for unit in (1e-26, 1e20):
            with pytest.raises(ValueError, match="power that 32 bits hold"):
                sg.power_spectrum(np.float32(unit * signal), step)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sg.power_spectrum(np.zeros(4), DT), "at least 8 samples"),
        (lambda: sg.power_spectrum(np.full(100, np.nan), DT), "`signal` must be finite"),
        (lambda: sg.power_spectrum(T, 0.0), "`sampling_interval` must be positive"),
        (lambda: sg.power_spectrum(T, DT, segment=100.0), "`segment` must lie between"),
        (lambda: sg.power_spectrum(T, DT, method="welsh"), "did you mean 'welch'"),
        (lambda: sg.power_spectrum(T, DT, method="multitaper", segment=1.0), "`segment` must be"),
        (lambda: sg.power_spectrum(T, DT, bandwidth=1.0), "`bandwidth` must be given"),
        (
            lambda: sg.power_spectrum(T, DT, method="multitaper", bandwidth=1e-3),
            "`bandwidth` must lie",
        ),
        (lambda: sg.power_spectrum(T, DT).band_power(9, 3), "`band` must rise"),
        (lambda: sg.power_spectrum(T, DT).band_power(90, 600), "`band` must end at 500 Hz"),
        (lambda: sg.power_spectrum(T, DT).band_power(1.1, 1.2), "`band` must hold a multiple of"),
        (lambda: sg.power_spectrum(T, DT, segment=float("nan")), "`segment` must be finite"),
        (lambda: sg.power_spectrum(T[:8], DT, method="multitaper"), "at least 9 samples"),
        (lambda: sg.power_spectrum(1j * T, DT), "`signal` must be real"),
        (lambda: sg.power_spectrum(np.ma.masked_less(T, 1.0), DT), "some of it is masked"),
        (lambda: sg.envelope(T, DT, (4.01, 4.02)), "`band` must hold a multiple of 0.125 Hz"),
        (lambda: sg.envelope(T, DT, (60, 40)), "`band` must rise between 0 and 500 Hz"),
        (lambda: sg.envelope(T, DT, (40, 600)), "`band` must rise between 0 and 500 Hz"),
        (lambda: sg.kuramoto_order(T), "(time, region)"),
        (lambda: sg.modulation_index(T, T[1:]), "`amplitudes` must have shape"),
        (lambda: sg.modulation_index(T, -T), "`amplitudes` must not be negative"),
        (lambda: sg.modulation_index(T, T, bins=1), "`bins` must be at least 2"),
        (lambda: sg.functional_connectivity(np.ones((2000, 4))), "constant in 0, 1, 2"),
        (
            lambda: sg.functional_connectivity_dynamics(NOISE, DT, 9.0),
            "`window` must leave two windows",
        ),
        (lambda: sg.functional_connectivity_dynamics(NOISE[:, :2], DT, 1.0), "at least 3 regions"),
        (lambda: sg.comodulogram(NOISE, DT, [5.0], [60.0]), "`signal` must have axes"),
        (lambda: sg.comodulogram(T, DT, [5.0, 4.0], [60.0]), "`phase_frequencies` must rise"),
        (lambda: sg.comodulogram(T, DT, [5.0], [600.0]), "`amplitude_frequencies` must leave"),
        (lambda: sg.comodulogram(T[:1000], DT, [0.5], [60.0]), "`phase_frequencies` must leave"),
        (
            lambda: sg.comodulogram(T, DT, [5.0], [60.0], phase_bandwidth=0.4),
            "`signal` must last at least 10 s",
        ),
        (lambda: sg.comodulogram(T, DT, [5.0], [60.0], measure="mi"), "`measure` must be one of"),
        (lambda: sg.comodulogram(T, DT, [5.0], [60.0], surrogates=-1), "`surrogates` must"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        call()


def test_switching():
    """A telegraph signal with noise about its thresholds: shares, counts, dwell times."""
    up = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0])
    wobble = 0.2 * (-1.0) ** np.arange(12)
    signal = np.stack([up + wobble, np.zeros(12), np.ones(12), 0.5 + wobble], axis=1)
    found = sg.switching(signal, 0.5, 0.25, 0.75)
    np.testing.assert_array_equal(found.up[:, 0], up)
    np.testing.assert_allclose(found.share, [5 / 12, 0, 1, 0])
    np.testing.assert_array_equal(found.rises, [2, 0, 0, 0])
    np.testing.assert_array_equal(found.falls, [2, 0, 0, 0])
    np.testing.assert_allclose(found.dwell_up, [1.25, np.inf, np.inf, np.inf])
    np.testing.assert_allclose(found.dwell_down, [1.5, np.inf, np.inf, np.inf])
    one = sg.switching(signal[:, 3], 0.5, 0.5)  # one threshold counts each crossing
    assert int(one.rises) == 5
    with pytest.raises(ValueError, match="`high`"):
        sg.switching(signal, 0.5, 0.5, 0.1)
