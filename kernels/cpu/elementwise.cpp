// What stands between the linear layers of a decoder: norms and gates, one pass over memory each.
//
// Numbers are rounded where a model in the same dtype rounds them, so that results are those of its own code.
#include "elementwise.h"

namespace {

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
            store_narrow(y + row * size + i, rounded<T>(activated<Activation::silu>(g)) * up);
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
