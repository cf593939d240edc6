"""Roots of p(z) - s exp(-z τ) n(z) where the delay τ is long: found by their phases, and counted.

Let g = n / p, and q(z) = s g(z) exp(-z τ): roots have q = 1. With a long delay they lie on curves
near the imaginary axis, Re z about log|s g| / τ, one for each turn of the phase of q. On a line
Re z = x their phases are followed where |q| > 1, which is the case in few intervals; from where the
phase is a whole number of turns Newton's iteration finds log q(z) = 0. Beside these there are roots
at zeros of p right of the line, from which exp(-z τ) leaves nothing.

How many there are right of a line is known whatever the delay. By the argument principle it is the
number of zeros of p there, less the turns of 1 - q along the line. Where |q| < 1 the argument of
1 - q is its principal one; where |q| > 1 it follows that of -q, which is that of g less ω τ.

Source: Lichtner, Wolfrum and Yanchuk, SIAM J. Math. Anal. 43, 788 (2011): spectra of long delays.
"""

from typing import NamedTuple

import numpy as np

from ngnmm_jax.dynamics.gain_bounds import Fraction, Node, bounds, crossings

# Places in an interval, twice as many until phases between them differ by less than a part of a
# turn, so often; a number is one if it is so near to an integer.
_PLACES, _FINER, _TURN, _WHOLE = 256, 12, 1.0, 0.02
# A crossing is one within this, relative to all eigenvalues.
_NEAR = 1e-5
# Newton's iterations; roots nearer than this, in parts of 1 / τ, are one; corrections of roots.
_NEWTON, _SAME, _ROOT = 12, 1e-6, 1e-9
# Roots that a line is laid behind are so many more than asked for; places of the gain's size, in
# so many for each of them; how often the line is moved.
_MORE, _FOR_EACH, _MOVES = 3, 16, 8
# A delay is long that is so many of a node's fastest times.
_LONG = 40.0
# Turns of the phase at most.
_MOST = 200_000


def is_long(node: Node, delay: float) -> bool:
    """Whether a delay is long beside what a node does by itself."""
    return bool(delay * np.abs(node.rates).max() > _LONG)


class Found(NamedTuple):
    """Roots (root,) right of a line by falling real part, their last corrections, and whether these
    are all for certain.
    """

    values: np.ndarray
    errors: np.ndarray
    certified: bool


class LongDelay:
    """The function, of one node and many strengths.

    **Arguments:**

    - `node`: one node, (1, variable, …).
    - `largest`: what is at least as large as the strengths.
    """

    def __init__(self, node: Node, largest: float, delay: float) -> None:
        self.node, self.delay = node, delay
        self.parts = Fraction(node, largest)
        self.rates = node.rates[0]
        self.size = float(np.abs(self.rates).max())

    def rightmost(self, strength: complex, count: int) -> Found:
        """So many rightmost roots, or more."""
        behind = (count + _MORE) * 2 * np.pi / self.delay
        found = Found(np.zeros(0, complex), np.zeros(0), False)
        for _ in range(_MOVES):
            line = self._line(strength, behind)
            found = self.right_of(strength, line)
            if found.values.size >= count:
                break
            behind *= 2
        return found

    def _line(self, strength: complex, measure: float) -> float:
        """Where |s g| exp(-x τ) is above one for frequencies of such a measure, about."""
        place = bounds(self.node, lambda x: np.full(1, abs(strength)), np.zeros(1))
        top = max(2 * float(place.top[0]), 2 * self.size)
        number = int(min(np.ceil(2 * top / measure * _FOR_EACH), 2_000_000))
        omega = (np.arange(number) + 0.5) / number * top
        p, n, _, _ = (part[:, 0] for part in self.parts(1j * omega[:, None]))
        with np.errstate(divide="ignore"):
            level = np.sort(np.log(np.abs(strength)) + np.log(np.abs(n)) - np.log(np.abs(p)))
        kept = max(1, int(number * measure / (2 * top)))
        line = float(level[-min(kept, number)]) / self.delay
        # Not through a rate of the node.
        while (np.abs(self.rates.real - line) < 1e-3 / self.delay).any():
            line -= 2.1e-3 / self.delay
        return line

    def alone(self, line: float) -> Found:
        """Of strength zero: the node's own."""
        z = self.rates[self.rates.real > line]
        return Found(z[np.argsort(-z.real)], np.zeros(z.size), True)

    def right_of(self, strength: complex, line: float) -> Found:
        """All roots right of a line."""
        many = int((self.rates.real > line).sum())
        guesses, turns = [self.rates[self.rates.real > line]], 0.0
        for begin, end in self._intervals(strength, line):
            omega, phase = self._phases(strength, line, begin, end)
            if omega.size < 2:
                return Found(np.zeros(0, complex), np.zeros(0), False)
            ends = self._ratio(strength, line + 1j * omega[[0, -1]])
            first, last = np.angle(1 - ends)
            turns += phase[-1] - phase[0] + 2 * (first - last)
            guesses.append(self._whole_turns(strength, line, omega, phase))
        number = many - turns / (2 * np.pi)
        values, errors = self._refined(strength, np.concatenate(guesses), line)
        sure = abs(number - round(number)) < _WHOLE and round(number) == values.size
        return Found(values, errors, bool(sure))

    def _ratio(self, strength: complex, z: np.ndarray) -> np.ndarray:
        """The values of q."""
        p, n, _, _ = (part[:, 0] for part in self.parts(z[:, None]))
        return strength * np.exp(-z * self.delay) * n / p

    def _intervals(self, strength: complex, line: float) -> list[tuple[float, float]]:
        """Where |q| > 1 on a line, by frequencies."""
        gain = np.full(1, min(abs(strength) * np.exp(-line * self.delay), 1e100))
        found = crossings(self.node, gain, np.full(1, line))[0]
        size = np.abs(np.append(found, self.rates)).max()
        at = np.unique(found.imag[np.abs(found.real - line) <= _NEAR * size])
        if at.size < 2:
            return []
        middles = (at[1:] + at[:-1]) / 2
        large = np.abs(self._ratio(strength, line + 1j * middles)) > 1
        intervals: list[tuple[float, float]] = []
        for k in np.flatnonzero(large):
            if intervals and intervals[-1][1] == at[k]:
                intervals[-1] = intervals[-1][0], float(at[k + 1])
            else:
                intervals.append((float(at[k]), float(at[k + 1])))
        return intervals

    def _phases(
        self, strength: complex, line: float, begin: float, end: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places in an interval, and the phase of q there, followed; none where it is not resolved.

        That of p follows from its zeros, that of n, which has none near by, from place to place.
        """
        turns = (end - begin) * self.delay / (2 * np.pi)
        if not turns < _MOST:
            return np.zeros(0), np.zeros(0)
        number = max(_PLACES, int(4 * turns))
        for _ in range(_FINER):
            omega = np.linspace(begin, end, number)
            _, n, _, _ = (part[:, 0] for part in self.parts(line + 1j * omega[:, None]))
            own = np.unwrap(np.angle(n))
            if np.abs(np.diff(own)).max() < _TURN:
                away = (omega[:, None] - self.rates.imag) / (line - self.rates.real)
                phase = own - np.arctan(away).sum(axis=1) - omega * self.delay
                # Up to whole turns, as q has it.
                first = np.angle(self._ratio(strength, np.array([line + 1j * begin])))[0]
                return omega, phase - phase[0] + first
            number *= 2
        return np.zeros(0), np.zeros(0)

    def _whole_turns(
        self, strength: complex, line: float, omega: np.ndarray, phase: np.ndarray
    ) -> np.ndarray:
        """Guesses of roots (root,): where the phase is a whole number of turns."""
        turns = np.floor(phase / (2 * np.pi))
        k = np.flatnonzero(np.diff(turns))
        target = 2 * np.pi * np.maximum(turns[k], turns[k + 1])
        part = (target - phase[k]) / (phase[k + 1] - phase[k])
        at = line + 1j * (omega[k] + part * (omega[k + 1] - omega[k]))
        with np.errstate(divide="ignore"):
            return at + np.log(np.abs(self._ratio(strength, at))) / self.delay

    def _refined(
        self, strength: complex, guesses: np.ndarray, line: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Different roots right of a line, and corrections, by falling real part."""
        z, error = guesses.astype(complex), np.full(guesses.size, np.inf)
        with np.errstate(all="ignore"):  # of guesses that are near no root
            for _ in range(_NEWTON):
                p, n, dp, dn = (part[:, 0] for part in self.parts(z[:, None]))
                passed = strength * np.exp(-z * self.delay)
                value, slope = p - passed * n, dp - passed * (dn - self.delay * n)
                plain = np.where(value == 0, 0, value / slope)
                ratio = passed * n / p
                by_phase = np.log(ratio) / (dn / n - dp / p - self.delay)
                # Where what has passed is about as large as p itself its phase is what counts.
                step = np.where(np.abs(np.log(np.abs(ratio))) < 1, by_phase, plain)
                error = np.where(np.isfinite(step), np.abs(step), np.inf)
                z = np.where(np.isfinite(step), z - step, z)
        good = (error <= _ROOT * self.size) & (z.real > line)
        z, error = z[good], error[good]
        order = np.lexsort((z.imag, -z.real))
        z, error = z[order], error[order]
        near = np.abs(z[:, None] - z[None]) < _SAME / self.delay if z.size < 2000 else None
        if near is None:  # neighbours by frequency
            by = np.argsort(z.imag)
            twice = np.abs(np.diff(z[by])) < _SAME / self.delay
            kept = np.ones(z.size, bool)
            kept[by[1:][twice]] = False
        else:
            kept = ~np.triu(near, 1).any(axis=0)
        return z[kept], error[kept]
