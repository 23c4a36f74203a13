// Functions of single numbers and rows between the linear layers of a decoder, sixteen lanes at a time.
#pragma once
#include <cmath>

#include "vector.h"

template <class T> static inline Floats widen_all(const T* p) {
    Floats x;
    for (int i = 0; i < LANES; i++) x[i] = widen(p[i]);
    return x;
}
template <> inline Floats widen_all<float>(const float* p) { return load(p); }
#if defined(__AVX512F__)
template <> inline Floats widen_all<bf16>(const bf16* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return (Floats)_mm512_slli_epi32(wide, 16);
}
#endif

template <class T> static inline Floats rounded(Floats x) {
    T narrowed[LANES];
    store_narrow(narrowed, x);
    return widen_all(narrowed);
}
template <> inline Floats rounded<float>(Floats x) { return x; }

constexpr float LOG2_E = 1.44269504f;

static inline Floats magnitude(Floats x) { return x < 0 ? -x : x; }

// x / (1 + e^-z)
static inline Floats times_sigmoid(Floats x, Floats z) {
    const Floats small = exp2_of(magnitude(z) * -LOG2_E);  // e^-|z|
    return x * (z < 0 ? small : all(1.0f)) / (1.0f + small);
}

static inline Floats tanh_of(Floats x) {
    const Floats small = exp2_of(magnitude(x) * (-2 * LOG2_E));
    const Floats t = (1.0f - small) / (1.0f + small);
    return x < 0 ? -t : t;
}

// Abramowitz and Stegun 7.1.26; absolute error 1.5e-7.
static inline Floats erf_of(Floats x) {
    const Floats size = magnitude(x), t = 1.0f / (1.0f + 0.3275911f * size);
    Floats p = all(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const Floats y = 1.0f - p * t * exp2_of(size * size * -LOG2_E);
    return x < 0 ? -y : y;
}

enum class Activation : int32_t { silu, gelu, gelu_tanh, relu, relu_squared, quick_gelu };

template <Activation KIND> static inline Floats activated(Floats x) {
    switch (KIND) {
        case Activation::silu: return times_sigmoid(x, x);
        case Activation::gelu: return 0.5f * x * (1.0f + erf_of(x * 0.70710678f));
        case Activation::gelu_tanh: return times_sigmoid(x, 1.59576912f * (x + 0.044715f * x * x * x));
        case Activation::relu: return larger(x, Floats{});
        case Activation::relu_squared: return larger(x, Floats{}) * larger(x, Floats{});
        case Activation::quick_gelu: return times_sigmoid(x, 1.702f * x);
    }
    return x;
}

enum class NormKind : int32_t { none, rms, layer };

// y = x / rms(x) * weight, or (x - mean) / deviation * weight + bias.
struct Norm {
    const float* weight;
    const float* bias;  // or null
    float epsilon;
    NormKind kind;
};

// Puts the mean of x and 1 / its deviation (or root mean square) into `mean` and `factor`; size is a multiple of 16.
static inline void moments(const Norm& norm, const float* x, int size, float& mean, float& factor) {
    Floats total = {};
    mean = 0;
    if (norm.kind == NormKind::layer) {
        for (int i = 0; i < size; i += LANES) total += load(x + i);
        mean = sum(total) / size;
        total = Floats{};
    }
    for (int i = 0; i < size; i += LANES) {
        const Floats v = load(x + i) - mean;
        total += v * v;
    }
    factor = 1.0f / std::sqrt(sum(total) / size + norm.epsilon);
}

// A row of floats to a row of T; size is a multiple of 16. Without a norm it is copied.
template <class T> static inline void normalize(const Norm& norm, const float* x, T* y, int size) {
    if (norm.kind == NormKind::none) {
        for (int i = 0; i < size; i += LANES) store_narrow(y + i, load(x + i));
        return;
    }
    float mean, factor;
    moments(norm, x, size, mean, factor);
    for (int i = 0; i < size; i += LANES) {
        const Floats v = (load(x + i) - mean) * factor * load(norm.weight + i);
        store_narrow(y + i, norm.bias ? v + load(norm.bias + i) : v);
    }
}
