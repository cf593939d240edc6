/* Lyapunov exponents of the paper's network, written by hand for one model: RK4 of the state and
   COUNT tangents, Gram and Schmidt every INTERVAL steps. The tangents lie along the last axis.
   Usage: lyapunov REGIONS COUNT STEPS INTERVAL; prints microseconds per step. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int n, k;
static double *weights, *drive;

/* s, d: 6 x n; t, e: 6 x n x k. */
static void field(const double *s, const double *t, double *d, double *e) {
    const double pi = M_PI, tau = 8, inv = 1.0 / 8, coupling = 5, i_ext_e = 13;
    const double *re = s, *ve = s + n, *se = s + 2 * n, *ri = s + 3 * n, *vi = s + 4 * n, *si = s + 5 * n;
    const size_t block = (size_t)n * k;
    for (int j = 0; j < n; j++) {
        const double *row = weights + (size_t)j * n;
        double c = 0, *restrict p = drive;
        memset(p, 0, k * sizeof(double));
        for (int m = 0; m < n; m++) {
            const double w = row[m], *restrict q = t + 2 * block + (size_t)m * k;
            c += w * se[m];
            for (int a = 0; a < k; a++) p[a] += w * q[a];
        }
        c *= coupling;
        double xe = pi * tau * re[j], xi = pi * tau * ri[j];
        d[j] = (1 / (pi * tau) + 2 * re[j] * ve[j]) * inv;
        d[n + j] = (ve[j] * ve[j] - xe * xe - 5 + i_ext_e + tau * (5 * se[j] + c - 13 * si[j])) * inv;
        d[2 * n + j] = re[j] - se[j];
        d[3 * n + j] = (1 / (pi * tau) + 2 * ri[j] * vi[j]) * inv;
        d[4 * n + j] = (vi[j] * vi[j] - xi * xi - 5 + tau * (13 * se[j] + c - 5 * si[j])) * inv;
        d[5 * n + j] = (ri[j] - si[j]) * 0.2;
        const double *restrict t0 = t + (size_t)j * k, *restrict t1 = t0 + block, *restrict t2 = t1 + block;
        const double *restrict t3 = t2 + block, *restrict t4 = t3 + block, *restrict t5 = t4 + block;
        double *restrict e0 = e + (size_t)j * k, *restrict e1 = e0 + block, *restrict e2 = e1 + block;
        double *restrict e3 = e2 + block, *restrict e4 = e3 + block, *restrict e5 = e4 + block;
        const double r = re[j], v = ve[j], u = 2 * (pi * tau) * (pi * tau) * re[j];
        const double r2 = ri[j], v2 = vi[j], u2 = 2 * (pi * tau) * (pi * tau) * ri[j];
        for (int a = 0; a < k; a++) {
            double from = coupling * p[a];
            e0[a] = 2 * (v * t0[a] + r * t1[a]) * inv;
            e1[a] = (2 * v * t1[a] - u * t0[a]) * inv + 5 * t2[a] + from - 13 * t5[a];
            e2[a] = t0[a] - t2[a];
            e3[a] = 2 * (v2 * t3[a] + r2 * t4[a]) * inv;
            e4[a] = (2 * v2 * t4[a] - u2 * t3[a]) * inv + 13 * t2[a] + from - 5 * t5[a];
            e5[a] = (t3[a] - t5[a]) * 0.2;
        }
    }
}

static void moved(size_t m, double *restrict out, const double *restrict y, double h, const double *restrict s) {
    for (size_t i = 0; i < m; i++) out[i] = y[i] + h * s[i];
}

int main(int argc, char **argv) {
    n = atoi(argv[1]), k = atoi(argv[2]);
    int steps = atoi(argv[3]), interval = atoi(argv[4]);
    double h = 0.02, total = 0;
    size_t small = 6 * n, large = small * k;
    /* state and tangents after each other: y, stage, slope, sum */
    double *b[4];
    for (int i = 0; i < 4; i++) b[i] = aligned_alloc(64, (small + large) * sizeof(double) / 64 * 64 + 64);
    weights = malloc((size_t)n * n * sizeof(double)), drive = aligned_alloc(64, (k + 8) / 8 * 64);
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) sum += weights[(size_t)i * n + j] = exp(2.0 * rand() / RAND_MAX);
        for (int j = 0; j < n; j++) weights[(size_t)i * n + j] /= sum;
    }
    double *y = b[0], *u = b[1], *s = b[2], *a = b[3];
    for (size_t i = 0; i < small; i++) y[i] = 0.05 + 0.05 * rand() / RAND_MAX;
    for (size_t i = small; i < small + large; i++) y[i] = (double)rand() / RAND_MAX - 0.5;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int step = 1; step <= steps; step++) {
        field(y, y + small, s, s + small);
        moved(small + large, a, y, h / 6, s), moved(small + large, u, y, h / 2, s);
        field(u, u + small, s, s + small);
        moved(small + large, a, a, h / 3, s), moved(small + large, u, y, h / 2, s);
        field(u, u + small, s, s + small);
        moved(small + large, a, a, h / 3, s), moved(small + large, u, y, h, s);
        field(u, u + small, s, s + small);
        moved(small + large, y, a, h / 6, s);
        if (step % interval) continue;
        double *x = y + small;
        for (int c = 0; c < k; c++) {
            double norm = 0;
            for (size_t i = 0; i < small; i++) norm += x[i * k + c] * x[i * k + c];
            total += log(norm = sqrt(norm));
            memset(drive, 0, k * sizeof(double));
            for (size_t i = 0; i < small; i++) {
                double *row = x + i * k, q = row[c] /= norm;
                for (int d = c + 1; d < k; d++) drive[d] += q * row[d];
            }
            for (size_t i = 0; i < small; i++) {
                double *row = x + i * k, q = row[c];
                for (int d = c + 1; d < k; d++) row[d] -= q * drive[d];
            }
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = end.tv_sec - begin.tv_sec + 1e-9 * (end.tv_nsec - begin.tv_nsec);
    printf("%g %g\n", seconds / steps * 1e6, total / (steps * h));
    return 0;
}
