/* The paper's network with delays, written by hand for one model: the floor to measure against.
   A ring buffer remembers what regions sent; LANES runs advance in lock-step. POINTS, both set when
   compiled, says how the past is read:
     1  the nearest value, once a step, and Heun's method, as TVB has it: order one;
     2  straight lines, at the beginning, middle and end of a step, and RK4: order two;
     4  cubic polynomials, at the same times, and RK4: order four.
   Usage: delays FILE DT STEPS. FILE, all in doubles: regions, nodes, coupling, i_ext_e, weights,
   delays (to, from), state (variable, region), what was sent (region, node), the last one now.
   Prints microseconds per step and run, then the last state of a run. REAL is set when compiled. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef REAL
#define REAL double
#endif
#ifndef LANES
#define LANES 1
#endif
#ifndef POINTS
#define POINTS 1
#endif

/* What arrives is wanted at KINDS times a step. Vectors are of runs, or of the points of one run. */
#define KINDS (POINTS == 1 ? 1 : 2)
#define WIDE (LANES > 1 ? LANES : POINTS)
#if WIDE > 1
typedef REAL wide __attribute__((vector_size(WIDE * sizeof(REAL)), aligned(sizeof(REAL))));
#define PART(sum, i) (sum)[i]
#else
typedef REAL wide;
#define PART(sum, i) (sum)
#endif

static int n, edges, length;  /* length: of the ring, each value of which is kept twice */
static int *first, *place;    /* edges of a region; where in the ring its oldest values are: (edge, kind) */
static REAL *restrict factor; /* (edge, kind, point) */
static REAL *restrict ring;   /* (region, node, lane) */
static REAL *restrict y, *restrict u, *restrict k, *restrict a, *restrict arriving[3];
static REAL current;

static void *room(size_t count, size_t size) {
    size_t bytes = (count * size + 63) / 64 * 64;
    void *made = aligned_alloc(64, bytes);
    if (!made) exit(1);
    return memset(made, 0, bytes);
}

/* Where an edge reads for the middle and the end of a step, `late` steps from now, and its factors. */
static void prepare(double late, int edge, int from, double steps, double weight) {
    const double times[2] = {POINTS == 1 ? 0 : 0.5, 1};
    for (int kind = 0; kind < KINDS; kind++) {
        double back = steps - late - times[kind];
        int oldest = POINTS == 1 ? (int)rint(back) : (int)floor(back) + POINTS / 2;
        if (oldest > length - 1 || oldest < POINTS - 1) exit(2);
        for (int p = 0; p < POINTS; p++) {
            double at = oldest - back, part = weight;
            for (int q = 0; q < POINTS; q++)
                if (q != p) part *= (at - q) / (p - q);
            factor[((size_t)edge * KINDS + kind) * POINTS + p] = (REAL)part;
        }
        place[edge * KINDS + kind] = from * 2 * length + length - oldest;
    }
}

static void prepare_all(double late, double h, double coupling, const double *weights, const double *delays) {
    int edge = 0;
    for (int j = 0; j < n; j++) {
        first[j] = edge;
        for (int from = 0; from < n; from++) {
            size_t i = (size_t)j * n + from;
            if (weights[i] != 0) prepare(late, edge++, from, delays[i] / h, coupling * weights[i]);
        }
    }
    first[n] = edge;
}

/* What arrives: now is the ring's place of the newest value. */
static void gather(int now, REAL *restrict one, REAL *restrict two) {
    const REAL *restrict past = ring + (size_t)now * LANES;
    for (int j = 0; j < n; j++) {
        wide sum[KINDS];
        memset(sum, 0, sizeof sum);
        for (int e = first[j] * KINDS; e < first[j + 1] * KINDS; e += KINDS)
            for (int kind = 0; kind < KINDS; kind++) {
                const REAL *f = factor + (size_t)(e + kind) * POINTS, *from = past + (size_t)place[e + kind] * LANES;
#if LANES > 1
                for (int p = 0; p < POINTS; p++) sum[kind] += f[p] * *(const wide *)(from + p * LANES);
#else
                sum[kind] += *(const wide *)f * *(const wide *)from;
#endif
            }
        for (int kind = 0; kind < KINDS; kind++) {
            REAL *to = (kind ? two : one) + j * LANES;
            memset(to, 0, LANES * sizeof(REAL));
            for (int i = 0; i < WIDE; i++) to[LANES > 1 ? i : 0] += PART(sum[kind], i);
        }
    }
}

static void field(const REAL *restrict s, const REAL *restrict c, REAL *restrict d) {
    const REAL pi = (REAL)M_PI, tau = 8, inv = (REAL)1 / 8;
    const int m = n * LANES;
    const REAL *re = s, *ve = s + m, *se = s + 2 * m, *ri = s + 3 * m, *vi = s + 4 * m, *si = s + 5 * m;
    for (int j = 0; j < m; j++) {
        REAL xe = pi * tau * re[j], xi = pi * tau * ri[j];
        d[j] = (1 / (pi * tau) + 2 * re[j] * ve[j]) * inv;
        d[m + j] = (ve[j] * ve[j] - xe * xe - 5 + current + tau * (5 * se[j] + c[j] - 13 * si[j])) * inv;
        d[2 * m + j] = re[j] - se[j];
        d[3 * m + j] = (1 / (pi * tau) + 2 * ri[j] * vi[j]) * inv;
        d[4 * m + j] = (vi[j] * vi[j] - xi * xi - 5 + tau * (13 * se[j] + c[j] - 5 * si[j])) * inv;
        d[5 * m + j] = (ri[j] - si[j]) * (REAL)0.2;
    }
}

static void remember(int now) {
    for (int j = 0; j < n; j++)
        for (int l = 0; l < LANES; l++) {
            REAL sent = y[(2 * n + j) * LANES + l], *at = ring + ((size_t)j * 2 * length + now) * LANES + l;
            at[0] = at[(size_t)length * LANES] = sent;
        }
}

static void advance(int *now, REAL h) {
    const int m = 6 * n * LANES;
    if (POINTS == 1) {
        gather(*now, arriving[0], NULL);
        field(y, arriving[0], k);
        for (int i = 0; i < m; i++) { a[i] = y[i] + h / 2 * k[i]; u[i] = y[i] + h * k[i]; }
        field(u, arriving[0], k);
        for (int i = 0; i < m; i++) y[i] = a[i] + h / 2 * k[i];
        *now = (*now + 1) % length;
        remember(*now);
        return;
    }
    REAL *restrict begin = arriving[0], *restrict middle = arriving[1], *restrict end = arriving[2];
    gather(*now, middle, end);
    field(y, begin, k);
    for (int i = 0; i < m; i++) { a[i] = y[i] + h / 6 * k[i]; u[i] = y[i] + h / 2 * k[i]; }
    field(u, middle, k);
    for (int i = 0; i < m; i++) { a[i] += h / 3 * k[i]; u[i] = y[i] + h / 2 * k[i]; }
    field(u, middle, k);
    for (int i = 0; i < m; i++) { a[i] += h / 3 * k[i]; u[i] = y[i] + h * k[i]; }
    field(u, end, k);
    for (int i = 0; i < m; i++) y[i] = a[i] + h / 6 * k[i];
    arriving[0] = end, arriving[2] = begin;
    *now = (*now + 1) % length;
    remember(*now);
}

int main(int argc, char **argv) {
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    double head[4], h = argc == 4 ? atof(argv[2]) : 0;
    if (!file || fread(head, sizeof(double), 4, file) != 4) return 1;
    int steps = atoi(argv[3]);
    n = (int)head[0], length = (int)head[1], current = (REAL)head[3];
    size_t square = (size_t)n * n, count = 2 * square + 6 * n + (size_t)n * length;
    double *given = room(count, sizeof(double));
    if (fread(given, sizeof(double), count, file) != count) return 1;
    double *weights = given, *delays = given + square, *state = delays + square, *sent = state + 6 * n;
    for (size_t i = 0; i < square; i++) edges += weights[i] != 0;
    first = room(n + 1, sizeof(int)), place = room((size_t)edges * KINDS, sizeof(int));
    factor = room((size_t)edges * KINDS * POINTS, sizeof(REAL));
    size_t values = (size_t)6 * n * LANES;
    y = room(values, sizeof(REAL)), u = room(values, sizeof(REAL));
    k = room(values, sizeof(REAL)), a = room(values, sizeof(REAL));
    for (int b = 0; b < 3; b++) arriving[b] = room((size_t)n * LANES, sizeof(REAL));
    ring = room((size_t)n * 2 * length * LANES, sizeof(REAL));
    for (int i = 0; i < 6 * n * LANES; i++) y[i] = (REAL)state[i / LANES];
    for (size_t i = 0; i < (size_t)n * 2 * length * LANES; i++) {
        size_t region = i / LANES / (2 * length), node = i / LANES % (2 * length) % length;
        ring[i] = (REAL)sent[region * length + node];
    }
    int now = length - 1;
    if (POINTS > 1) { /* what arrives at the very beginning: at the end of the step before */
        prepare_all(-1, h, head[2], weights, delays);
        gather(now, arriving[1], arriving[0]);
    }
    prepare_all(0, h, head[2], weights, delays);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int s = 0; s < steps; s++) advance(&now, (REAL)h);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double us = (end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) * 1e-3;
    printf("%.6f", us / ((double)steps * LANES));
    for (int i = 0; i < 6 * n; i++) printf(" %.17g", (double)y[i * LANES]);
    printf("\n");
    return 0;
}
