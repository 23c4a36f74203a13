// Sixteen-lane vectors in GCC's vector extension: one source for AVX-512, AVX2 and plain machines.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

constexpr int LANES = 16;

using bf16 = uint16_t;
using Floats = float __attribute__((vector_size(64), aligned(4), may_alias));
using Ints = int32_t __attribute__((vector_size(64), aligned(4), may_alias));

static inline Floats load(const float* p) { return *reinterpret_cast<const Floats*>(p); }
static inline void store(float* p, Floats x) { *reinterpret_cast<Floats*>(p) = x; }
static inline Floats all(float x) { return Floats{} + x; }
static inline Floats choose(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }
static inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

static inline Ints lane_numbers() { return Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

static inline Floats swapped(Floats x, int distance) {
    Ints order = lane_numbers() ^ distance;
    return __builtin_shuffle(x, order);
}

// a * b + c, rounded once where the machine can, wherever it stands.
static inline Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}

static inline float largest(Floats x) {
    for (int distance = 8; distance; distance /= 2) x = larger(x, swapped(x, distance));
    return x[0];
}

// Whether a number of x is above `bound`.
static inline bool any_above(Floats x, float bound) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(bound), _CMP_GT_OQ) != 0;
#else
    return largest(x) > bound;
#endif
}

static inline float sum(Floats x) {
    for (int distance = 8; distance; distance /= 2) x += swapped(x, distance);
    return x[0];
}

// 2^x for x <= 0; 0 below -127. The polynomial is 2^f on [-1/2, 1/2], relative error 2e-7.
static inline Floats exp2_of(Floats x) {
    x = larger(all(-127.0f), x);  // x where it is NaN
    const Floats shifted = x + 12582912.0f;  // 1.5 * 2^23: the fraction is rounded away
    const Floats f = x - (shifted - 12582912.0f);
    Floats p = all(1.5403530e-4f);
    p = p * f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    const Ints exponent = ((Ints)shifted << 23) + 0x3f800000;
    return p * (Floats)exponent;
}

// The same for what is rounded to bf16: relative error 1e-4, a twentieth of that rounding's.
static inline Floats rough_exp2_of(Floats x) {
    x = larger(all(-127.0f), x);  // x where it is NaN
    const Floats shifted = x + 12582912.0f;
    const Floats f = x - (shifted - 12582912.0f);
    Floats p = all(5.5008929e-2f);
    p = multiply_add(p, f, all(2.4221098e-1f));
    p = multiply_add(p, f, all(6.9328290e-1f));
    p = multiply_add(p, f, all(1.0f));
    return (Floats)((Ints)p + ((Ints)shifted << 23));
}

static inline float widen(bf16 x) {
    const uint32_t bits = uint32_t(x) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
static inline float widen(float x) { return x; }

// To the nearest, ties to even; NaN stays NaN.
static inline bf16 narrow(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return bf16((bits >> 16) | 0x40);
    return bf16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <class T> static inline T from_float(float x);
template <> inline float from_float<float>(float x) { return x; }
template <> inline bf16 from_float<bf16>(float x) { return narrow(x); }

// acc + the products of 16 pairs of bf16 with the pair at `pair`.
static inline Floats dot_pairs(Floats acc, Ints pairs, const bf16* pair) {
#if defined(__AVX512BF16__)
    int32_t both;
    std::memcpy(&both, pair, 4);
    return (Floats)_mm512_dpbf16_ps((__m512)acc, (__m512bh)(__m512i)pairs, (__m512bh)_mm512_set1_epi32(both));
#else
    const Floats even = (Floats)(pairs << 16), odd = (Floats)(pairs & Ints{} + int32_t(0xffff0000));
    return acc + even * widen(pair[0]) + odd * widen(pair[1]);
#endif
}

// 16 floats to 16 bf16.
static inline void store_narrow(bf16* p, Floats x) {
#if defined(__AVX512BF16__)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh((__m512)x));
#else
    for (int i = 0; i < LANES; i++) p[i] = narrow(x[i]);
#endif
}
static inline void store_narrow(float* p, Floats x) { store(p, x); }

// 32 floats to 32 bf16.
static inline void store_narrow(bf16* p, Floats x, Floats y) {
#if defined(__AVX512BF16__)
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x));
#else
    store_narrow(p, x);
    store_narrow(p + LANES, y);
#endif
}
static inline void store_narrow(float* p, Floats x, Floats y) {
    store(p, x);
    store(p + LANES, y);
}

static inline const char* instructions() {
#if defined(__AVX512BF16__)
    return "AVX-512-BF16";
#elif defined(__AVX512F__)
    return "AVX-512";
#elif defined(__AVX2__)
    return "AVX2";
#else
    return "plain C++";
#endif
}
