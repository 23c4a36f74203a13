// What stands between the linear layers of a decoder: norms and gates, one pass over memory each.
//
// Numbers are rounded where a model in the same dtype rounds them, so that results are those of its own code.
#include <cmath>

#include "vector.h"

namespace {

template <class T> Floats widen_all(const T* p) {
    Floats x;
    for (int i = 0; i < LANES; i++) x[i] = widen(p[i]);
    return x;
}
template <> Floats widen_all<float>(const float* p) { return load(p); }
#if defined(__AVX512F__)
template <> Floats widen_all<bf16>(const bf16* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return (Floats)_mm512_slli_epi32(wide, 16);
}
#endif

template <class T> Floats rounded(Floats x) {
    T narrowed[LANES];
    store_narrow(narrowed, x);
    return widen_all(narrowed);
}
template <> Floats rounded<float>(Floats x) { return x; }

// y = round(x / rms(x)) * weight, row by row; `size` is a multiple of 16.
template <class T>
void rms_norm(const T* x, const T* weight, T* y, long rows, int size, float epsilon, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long row = 0; row < rows; row++) {
        const T* in = x + row * size;
        Floats squares = {};
        for (int i = 0; i < size; i += LANES) {
            const Floats v = widen_all(in + i);
            squares += v * v;
        }
        const float factor = 1.0f / std::sqrt(sum(squares) / size + epsilon);
        for (int i = 0; i < size; i += LANES)
            store_narrow(y + row * size + i, rounded<T>(widen_all(in + i) * factor) * widen_all(weight + i));
    }
}

// y = round(silu(gate)) * up, where x holds [gate, up] of `size` each, a multiple of 16.
template <class T> void gate(const T* x, T* y, long rows, int size, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long row = 0; row < rows; row++) {
        const T* in = x + row * 2 * size;
        for (int i = 0; i < size; i += LANES) {
            const Floats g = widen_all(in + i), up = widen_all(in + size + i);
            const Floats small = exp2_of((g < 0 ? g : -g) * 1.44269504f);  // e^-|g|
            const Floats silu = g * (g < 0 ? small : all(1.0f)) / (1.0f + small);
            store_narrow(y + row * size + i, rounded<T>(silu) * up);
        }
    }
}

}  // namespace

extern "C" void rms_norm_bf16(const bf16* x, const bf16* weight, bf16* y, long rows, int size, float epsilon,
                              int threads) {
    rms_norm(x, weight, y, rows, size, epsilon, threads);
}
extern "C" void rms_norm_float(const float* x, const float* weight, float* y, long rows, int size, float epsilon,
                               int threads) {
    rms_norm(x, weight, y, rows, size, epsilon, threads);
}
extern "C" void gate_bf16(const bf16* x, bf16* y, long rows, int size, int threads) { gate(x, y, rows, size, threads); }
extern "C" void gate_float(const float* x, float* y, long rows, int size, int threads) {
    gate(x, y, rows, size, threads);
}
