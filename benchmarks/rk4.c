/* RK4 of the paper's network, written by hand for one model: the floor to measure against.
   Usage: rk4 REGIONS STEPS RUNS; prints microseconds per step and run. REAL is set when compiled. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef REAL
#define REAL double
#endif

static int n;
static REAL *weights, *restrict buffers[4]; /* state, stage, slope, sum: 6 x n each */

static void field(const REAL *restrict s, REAL *restrict d, REAL coupling, REAL i_ext_e) {
    const REAL pi = (REAL)M_PI, tau = 8, inv = (REAL)1 / 8;
    const REAL *re = s, *ve = s + n, *se = s + 2 * n, *ri = s + 3 * n, *vi = s + 4 * n, *si = s + 5 * n;
    for (int j = 0; j < n; j++) {
        const REAL *row = weights + (size_t)j * n;
        REAL c = 0;
        for (int k = 0; k < n; k++) c += row[k] * se[k];
        d[n + j] = coupling * c;
    }
    for (int j = 0; j < n; j++) {
        REAL c = d[n + j], xe = pi * tau * re[j], xi = pi * tau * ri[j];
        d[j] = (1 / (pi * tau) + 2 * re[j] * ve[j]) * inv;
        d[n + j] = (ve[j] * ve[j] - xe * xe - 5 + i_ext_e + tau * (5 * se[j] + c - 13 * si[j])) * inv;
        d[2 * n + j] = re[j] - se[j];
        d[3 * n + j] = (1 / (pi * tau) + 2 * ri[j] * vi[j]) * inv;
        d[4 * n + j] = (vi[j] * vi[j] - xi * xi - 5 + tau * (13 * se[j] + c - 5 * si[j])) * inv;
        d[5 * n + j] = (ri[j] - si[j]) * (REAL)0.2;
    }
}

int main(int argc, char **argv) {
    n = atoi(argv[1]);
    int steps = atoi(argv[2]), runs = argc > 3 ? atoi(argv[3]) : 1, m = 6 * n;
    REAL h = (REAL)0.01;
    weights = aligned_alloc(64, ((size_t)n * n * sizeof(REAL) + 63) / 64 * 64);
    for (int b = 0; b < 4; b++) buffers[b] = aligned_alloc(64, ((size_t)m * sizeof(REAL) + 63) / 64 * 64);
    REAL *restrict y = buffers[0], *restrict u = buffers[1], *restrict k = buffers[2], *restrict a = buffers[3];
    for (int i = 0; i < n; i++) {
        REAL total = 0;
        for (int j = 0; j < n; j++) total += weights[(size_t)i * n + j] = exp(2.0 * rand() / RAND_MAX);
        for (int j = 0; j < n; j++) weights[(size_t)i * n + j] /= total;
    }
    struct timespec begin, end;
    double check = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int r = 0; r < runs; r++) {
        for (int i = 0; i < m; i++) y[i] = (REAL)(0.05 + 0.05 * rand() / RAND_MAX);
        for (int s = 0; s < steps; s++) {
            field(y, k, 5, 13);
            for (int i = 0; i < m; i++) { a[i] = y[i] + h / 6 * k[i]; u[i] = y[i] + h / 2 * k[i]; }
            field(u, k, 5, 13);
            for (int i = 0; i < m; i++) { a[i] += h / 3 * k[i]; u[i] = y[i] + h / 2 * k[i]; }
            field(u, k, 5, 13);
            for (int i = 0; i < m; i++) { a[i] += h / 3 * k[i]; u[i] = y[i] + h * k[i]; }
            field(u, k, 5, 13);
            for (int i = 0; i < m; i++) y[i] = a[i] + h / 6 * k[i];
        }
        check += y[n];
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double us = (end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) * 1e-3;
    printf("%.6f %g\n", us / ((double)steps * runs), check);
    return 0;
}
