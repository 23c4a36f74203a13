// Linear layers on prepacked weights: y[M][N] = x[M][K] W^T + b, for the few rows of a decode step and for chunks.
//
// Weights are packed in panels of 32 outputs, [N/32][K][32] for float and [N/32][K/2][32][2] for bf16, padded with
// zeros: a panel is read once, in order, and every load feeds all rows of a register tile.
#include <algorithm>

#include "vector.h"

namespace {

constexpr int PANEL = 32;
constexpr int TILE_ROWS = 12;   // 24 of 32 registers accumulate
constexpr int ROW_BLOCK = 96;   // rows that stay in the L2 cache while panels pass by
constexpr int AHEAD = 12;       // steps that weights are asked for ahead

template <class T> struct Weights;

template <> struct Weights<float> {
    static constexpr int STEP = 1;
    template <int ROWS>
    static void add(const float* panel, const float* const* x, int k, Floats (*sums)[2]) {
        const Floats low = load(panel), high = load(panel + LANES);
        for (int m = 0; m < ROWS; m++) {
            sums[m][0] += low * x[m][k];
            sums[m][1] += high * x[m][k];
        }
    }
};

template <> struct Weights<bf16> {
    static constexpr int STEP = 2;
    template <int ROWS>
    static void add(const bf16* panel, const bf16* const* x, int k, Floats (*sums)[2]) {
        const Ints low = *reinterpret_cast<const Ints*>(panel), high = *reinterpret_cast<const Ints*>(panel + 2 * LANES);
        for (int m = 0; m < ROWS; m++) {
            sums[m][0] = dot_pairs(sums[m][0], low, x[m] + k);
            sums[m][1] = dot_pairs(sums[m][1], high, x[m] + k);
        }
    }
};

template <class T> void write(T* y, Floats x, int count) {
    if (count >= LANES) {
        store_narrow(y, x);
        return;
    }
    for (int i = 0; i < count; i++) y[i] = from_float<T>(x[i]);
}

template <class T, int ROWS>
void tile(const T* x, const T* panel, const float* bias, T* y, long size, long width, int outputs) {
    Floats sums[ROWS][2];
    const T* rows[ROWS];
    for (int m = 0; m < ROWS; m++) {
        rows[m] = x + m * size;
        sums[m][0] = bias ? load(bias) : Floats{};
        sums[m][1] = bias ? load(bias + LANES) : Floats{};
    }
    for (long k = 0; k < size; k += Weights<T>::STEP) {
        const T* step = panel + k * PANEL;
        __builtin_prefetch(step + AHEAD * PANEL * Weights<T>::STEP);
        __builtin_prefetch(step + AHEAD * PANEL * Weights<T>::STEP + 64 / sizeof(T));
        Weights<T>::template add<ROWS>(step, rows, int(k), sums);
    }
    for (int m = 0; m < ROWS; m++) {
        write(y + m * width, sums[m][0], outputs);
        if (outputs > LANES) write(y + m * width + LANES, sums[m][1], outputs - LANES);
    }
}

template <class T>
void rows_of(const T* x, const T* panel, const float* bias, T* y, int rows, long size, long width, int outputs) {
    int m = 0;
    for (; m + TILE_ROWS <= rows; m += TILE_ROWS)
        tile<T, TILE_ROWS>(x + m * size, panel, bias, y + m * width, size, width, outputs);
    x += m * size;
    y += m * width;
    switch (rows - m) {
        case 11: tile<T, 11>(x, panel, bias, y, size, width, outputs); break;
        case 10: tile<T, 10>(x, panel, bias, y, size, width, outputs); break;
        case 9: tile<T, 9>(x, panel, bias, y, size, width, outputs); break;
        case 8: tile<T, 8>(x, panel, bias, y, size, width, outputs); break;
        case 7: tile<T, 7>(x, panel, bias, y, size, width, outputs); break;
        case 6: tile<T, 6>(x, panel, bias, y, size, width, outputs); break;
        case 5: tile<T, 5>(x, panel, bias, y, size, width, outputs); break;
        case 4: tile<T, 4>(x, panel, bias, y, size, width, outputs); break;
        case 3: tile<T, 3>(x, panel, bias, y, size, width, outputs); break;
        case 2: tile<T, 2>(x, panel, bias, y, size, width, outputs); break;
        case 1: tile<T, 1>(x, panel, bias, y, size, width, outputs); break;
    }
}

template <class T>
void linear(const T* x, const T* packed, const float* bias, T* y, int rows, int width, int size, int threads) {
    const int panels = (width + PANEL - 1) / PANEL;
#pragma omp parallel num_threads(threads)
    for (int first = 0; first < rows; first += ROW_BLOCK) {
        const int count = std::min(ROW_BLOCK, rows - first);
#pragma omp for schedule(static) nowait
        for (int p = 0; p < panels; p++)
            rows_of(x + long(first) * size, packed + long(p) * size * PANEL, bias ? bias + p * PANEL : nullptr,
                    y + long(first) * width + p * PANEL, count, size, width, std::min(PANEL, width - p * PANEL));
    }
}

}  // namespace

extern "C" void linear_bf16(const bf16* x, const bf16* packed, const float* bias, bf16* y, int rows, int width,
                            int size, int threads) {
    linear(x, packed, bias, y, rows, width, size, threads);
}

extern "C" void linear_float(const float* x, const float* packed, const float* bias, float* y, int rows, int width,
                             int size, int threads) {
    linear(x, packed, bias, y, rows, width, size, threads);
}
