// What every kernel begins with. Before it stand: real, BITS, N (regions), R (runs of a block),
// Q (items of a thread), THREADS, PARTS (of a product's sum), STEPS (of each part), W_SHARED,
// M_SIZE and K_SIZE (of a tile of the weights: rows, steps of the sum).
//
// Written once for CUDA, where a thread has a region of a run (an item), or Q of them, and warps share
// the products, and for C++ on a host, where loops take the place of threads, and arrays that of
// registers.

#define ITEMS (N * R)
// What a lane has of a tile of the weights, of the values, and of the product.
#if BITS == 64
#define A_SIZE 1
#define B_SIZE 1
#define C_SIZE 2
#else
#define A_SIZE 8
#define B_SIZE 4
#define C_SIZE 4
#endif
#define M_TILES ((N + M_SIZE - 1) / M_SIZE)
#define K_STEPS (PARTS * STEPS)
#define N_TILES ((R + 7) / 8)
#define ROW (8 * N_TILES)
#define S_SIZE (K_STEPS * K_SIZE * ROW)
#define I_ROWS (M_TILES * M_SIZE)
#define TASKS (M_TILES * PARTS)

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define DEVICE __device__ __forceinline__
#define CONSTANT __constant__
#define BARRIER __syncthreads();
#define EACH_BLOCK { const int block = blockIdx.x;
// Threads beyond the last item do what its thread does, and write the same.
#define EACH_ITEM _Pragma("unroll") for (int q = 0; q < Q; ++q) { \
    const int place = threadIdx.x + q * THREADS, it = place < ITEMS ? place : ITEMS - 1; \
    const int j = it / R, r = it % R; (void)j; (void)r;
#define DONE }
#define KEPT(type, name) type name[Q];
#define V(name) name[q]
#define ONE_THREAD if (threadIdx.x == 0 && blockIdx.x == 0)
#define STRIDED(k, size) for (int k = threadIdx.x; k < (size); k += THREADS)
#define LANES 1
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#define EACH_LANE { const int lane = threadIdx.x & 31, L = 0;
#define UNROLL _Pragma("unroll")
#if TASKS <= THREADS / 32
#define EACH_TASK if (const int task = __shfl_sync(~0u, threadIdx.x / 32, 0); task < TASKS)
#else
#define EACH_TASK \
    for (int task = __shfl_sync(~0u, threadIdx.x / 32, 0); task < TASKS; task += THREADS / 32)
#endif
#else
#include <cmath>
#include <cstdint>
#include <cstring>
#include <cstdlib>
using namespace std;
#define KERNEL extern "C" void
#define DEVICE static inline
#define CONSTANT static
#define BARRIER
#define EACH_BLOCK for (int block = 0; block * R < runs; ++block) {
#define EACH_ITEM for (int it = 0; it < ITEMS; ++it) { const int j = it / R, r = it % R; \
    (void)j; (void)r;
#define DONE }
#define KEPT(type, name) static type name[ITEMS];
#define V(name) name[it]
#define ONE_THREAD if (block == 0)
#define STRIDED(k, size) for (int k = 0; k < (size); ++k)
#define LANES 32
#define EACH_LANE for (int lane = 0; lane < 32; ++lane) { const int L = lane;
#define UNROLL
#define EACH_TASK for (int task = 0; task < TASKS; ++task)
#endif

#ifdef __CUDACC__
// To a unit in the last place, without what quotients do for subnormal numbers.
DEVICE float ng_inverse(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE double ng_inverse(double x) {
    double y;
    asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
    const double gap = fma(-x, y, 1.0);
    if (!(fabs(gap) < 0.5)) return y;  // of zero or infinity, of which the gap is NaN
    y = fma(y, gap, y);
    return fma(y, fma(-x, y, 1.0), y);
}
#else
DEVICE real ng_inverse(real x) { return (real)1 / x; }
#endif
// Of whole numbers, as XLA has them where C's are undefined.
template <class T> DEVICE T ng_div(T a, T b) {
    return b == 0 ? (T)-1 : (T)-1 < 0 && b == (T)-1 ? (T)(0ull - a) : (T)(a / b);
}
template <class T> DEVICE T ng_rem(T a, T b) {
    return b == 0 ? a : (T)-1 < 0 && b == (T)-1 ? (T)0 : (T)(a % b);
}
template <class T> DEVICE T ng_whole(real x) {
    const T least = (T)(1ull << (8 * sizeof(T) - 1));
    return x <= (real)least ? least : x >= -(real)least ? (T)~least : x != x ? (T)0 : (T)x;
}
DEVICE real ng_rsqrt(real x) { return (real)1 / sqrt(x); }
DEVICE real ng_logistic(real x) { return (real)1 / ((real)1 + exp(-x)); }

#ifdef __CUDACC__
DEVICE float ng_erf_inv(float x) { return erfinvf(x); }
DEVICE double ng_erf_inv(double x) { return erfinv(x); }
#else
DEVICE double ng_erf_inv(double x) {
    // Halley's method from Winitzki's approximation.
    if (x == 0 || fabs(x) >= 1) return fabs(x) > 1 ? NAN : x == 0 ? x : x * INFINITY;
    const double a = 0.147, l = log1p(-x * x), b = 2 / (M_PI * a) + l / 2;
    double y = copysign(sqrt(sqrt(b * b - l / a) - b), x);
    for (int k = 0; k < 4; ++k) {
        const double gap = fabs(x) > 0.5
            ? (x > 0 ? 1 : -1) * (1 - fabs(x) - erfc(fabs(y))) : erf(y) - x;
        const double slope = gap * sqrt(M_PI) / 2 * exp(y * y);
        y -= slope / (1 + y * slope);
    }
    return y;
}
DEVICE float ng_erf_inv(float x) { return (float)ng_erf_inv((double)x); }
#endif

// Threefry with 20 rounds, as JAX has it (Salmon et al., SC11, 2011).
DEVICE void ng_threefry(unsigned k0, unsigned k1, unsigned* x0, unsigned* x1) {
    const unsigned keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    const int turns[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    unsigned a = *x0 + k0, b = *x1 + k1;
    UNROLL
    for (int i = 0; i < 5; ++i) {
        UNROLL
        for (int q = 0; q < 4; ++q) {
            const int turn = turns[i % 2][q];
            a += b;
            b = (b << turn) | (b >> (32 - turn));
            b ^= a;
        }
        a += keys[(i + 1) % 3];
        b += keys[(i + 2) % 3] + (unsigned)(i + 1);
    }
    *x0 = a;
    *x1 = b;
}

// A standard normal number as `jax.random.normal` of `fold_in(key, number)` has it, region j's.
DEVICE real ng_normal(unsigned k0, unsigned k1, unsigned number, unsigned j) {
    unsigned a = 0, b = number;
    ng_threefry(k0, k1, &a, &b);
    unsigned high = 0, low = j;
    ng_threefry(a, b, &high, &low);
#if BITS == 64
    const unsigned long long bits = ((unsigned long long)high << 32 | low) >> 12 | 0x3FF0000000000000ull;
    const double least = -0.99999999999999988897769753748;
#else
    const unsigned bits = (high ^ low) >> 9 | 0x3F800000u;
    const float least = -0.999999940395355224609375f;
#endif
    real unit;
    memcpy(&unit, &bits, sizeof(real));
    real u = (unit - (real)1) * ((real)1 - least) + least;
    u = u > least ? u : least;
    return (real)1.41421356237309504880168872420969807857 * ng_erf_inv(u);
}

#ifdef NETWORKED
// The products of one tile: of its lanes' parts of A (weights) and B (values), to be added to C.
#if BITS == 64
DEVICE void ng_tile(real c[LANES][2], const real a[LANES][1], const real b[LANES][1]) {
#ifdef __CUDACC__
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+d"(c[0][0]), "+d"(c[0][1]) : "d"(a[0][0]), "d"(b[0][0]));
#else
    for (int lane = 0; lane < 32; ++lane)
        for (int q = 0; q < 2; ++q)
            for (int k = 0; k < 4; ++k)
                c[lane][q] += a[lane / 4 * 4 + k][0] * b[(lane % 4 * 2 + q) * 4 + k][0];
#endif
}
#else
// Numbers in two parts of 11 bits each: the first, rounded, and what is left. The tensor cores do not
// look at what is beyond 11 bits; NaN stays NaN in what is left.
DEVICE void ng_split(float* parts, int n, int apart) {
    for (int x = 0; x < n; ++x) {
        unsigned bits;
        float head, tail;
        memcpy(&bits, parts + x, 4);
        bits = (bits + 0x1000u) & 0xFFFFE000u;
        memcpy(&head, &bits, 4);
        tail = parts[x] - head;
#ifndef __CUDACC__
        memcpy(&bits, &tail, 4);
        bits &= 0xFFFFE000u;
        memcpy(&tail, &bits, 4);
#endif
        parts[x] = head;
        parts[apart + x] = tail;
    }
}
DEVICE void ng_part(real c[LANES][4], const real a[LANES][8], int i, const real b[LANES][4], int k) {
#ifdef __CUDACC__
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3])
        : "r"(__float_as_uint(a[0][i])), "r"(__float_as_uint(a[0][i + 1])),
          "r"(__float_as_uint(a[0][i + 2])), "r"(__float_as_uint(a[0][i + 3])),
          "r"(__float_as_uint(b[0][k])), "r"(__float_as_uint(b[0][k + 1])));
#else
    for (int lane = 0; lane < 32; ++lane)
        for (int q = 0; q < 4; ++q)
            for (int m = 0; m < 8; ++m) {
                const int row = lane / 4 * 4 + m % 4, column = (lane % 4 * 2 + q % 2) * 4 + m % 4;
                c[lane][q] += a[row][i + q / 2 + m / 4 * 2] * b[column][k + m / 4];
            }
#endif
}
// Three products of the parts: that of both tails is below rounding.
DEVICE void ng_tile(real c[LANES][4], const real a[LANES][8], const real b[LANES][4]) {
    ng_part(c, a, 4, b, 0);
    ng_part(c, a, 0, b, 2);
    ng_part(c, a, 0, b, 0);
}
#endif

// A lane's part of A, and of B, in step k of a product: of tile m of rows, and n of columns.
DEVICE void ng_weights(real* a, const real* weights, int m, int k, int lane) {
#if BITS == 64
    a[0] = weights[(m * K_STEPS + k) * 32 + lane];
#else
    const real* from = weights + ((m * K_STEPS + k) * 32 + lane) * 4;
#ifdef __CUDACC__
    const float4 four = *(const float4*)from;
    a[0] = four.x; a[1] = four.y; a[2] = four.z; a[3] = four.w;
#else
    for (int x = 0; x < 4; ++x) a[x] = from[x];
#endif
    ng_split(a, 4, 4);
#endif
}
DEVICE void ng_values(real* b, const real* S, int k, int n, int lane) {
    const int at = (k * K_SIZE + lane % 4) * ROW + n * 8 + lane / 4;
#if BITS == 64
    b[0] = S[at];
#else
    for (int x = 0; x < 2; ++x) b[x] = S[at + 4 * ROW * x];
    ng_split(b, 2, 2);
#endif
}

// What all regions get: sums over k of weights (tiles, see `fragments`) and values S (k, run), in
// PARTS parts.
DEVICE void ng_product(const real* weights, const real* S, real* I) {
    EACH_TASK {
        const int m = task % M_TILES, part = task / M_TILES;
        real c[N_TILES][2][LANES][C_SIZE] = {};  // two sums, which do not wait for each other
        UNROLL
        for (int step = 0; step < STEPS; ++step) {
            const int k = part * STEPS + step;
            real a[LANES][A_SIZE];
            EACH_LANE ng_weights(a[L], weights, m, k, lane); }
            UNROLL
            for (int n = 0; n < N_TILES; ++n) {
                real b[LANES][B_SIZE];
                EACH_LANE ng_values(b[L], S, k, n, lane); }
                ng_tile(c[n][step % 2], a, b);
            }
        }
        UNROLL
        for (int n = 0; n < N_TILES; ++n) {
            EACH_LANE
                for (int x = 0; x < C_SIZE; ++x) {
                    const int row = m * M_SIZE + lane / 4 + x / 2 * 8;
                    I[(part * I_ROWS + row) * ROW + n * 8 + lane % 4 * 2 + x % 2] =
                        c[n][0][L][x] + c[n][1][L][x];
                }
            }
        }
    }
}

DEVICE real ng_received(const real* I, int j, int r) {
    real total = I[j * ROW + r];
    for (int part = 1; part < PARTS; ++part) total += I[(part * I_ROWS + j) * ROW + r];
    return total;
}
#define SEND(value) S[j * ROW + r] = value
#define RECEIVED ng_received(I, j, r)
#endif
