// Linear layers on prepacked weights: y[M][N] = x[M][K] W^T + b, for the few rows of a decode step and for chunks.
#include <algorithm>

#include "linear.h"

namespace {

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

template <class Y> void write(Y* y, Floats x, int count) {
    if (count >= LANES) {
        store_narrow(y, x);
        return;
    }
    for (int i = 0; i < count; i++) y[i] = from_float<Y>(x[i]);
}

template <int ROWS, class T, class Y>
void tile(const T* x, long x_stride, const T* panel, const float* bias, Y* y, long width, long size, int outputs) {
    Floats sums[ROWS][2];
    const T* rows[ROWS];
    for (int m = 0; m < ROWS; m++) {
        rows[m] = x + m * x_stride;
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

// Rows of any number times one panel: `outputs` of its 32.
template <class T, class Y>
void rows_of(const T* x, long x_stride, const T* panel, const float* bias, Y* y, long width, int rows, long size,
             int outputs) {
    int m = 0;
    for (; m + TILE_ROWS <= rows; m += TILE_ROWS)
        tile<TILE_ROWS>(x + m * x_stride, x_stride, panel, bias, y + m * width, width, size, outputs);
    x += m * x_stride;
    y += m * width;
    switch (rows - m) {
        case 11: tile<11>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 10: tile<10>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 9: tile<9>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 8: tile<8>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 7: tile<7>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 6: tile<6>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 5: tile<5>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 4: tile<4>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 3: tile<3>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 2: tile<2>(x, x_stride, panel, bias, y, width, size, outputs); break;
        case 1: tile<1>(x, x_stride, panel, bias, y, width, size, outputs); break;
    }
}

// The panels [first, last) of a layer, in blocks of rows.
template <class T>
void panels_part(const T* x, const T* packed, const float* bias, T* y, int rows, int width, int size, int first,
                 int last) {
    for (int row = 0; row < rows; row += ROW_BLOCK)
        for (int p = first; p < last; p++)
            rows_of(x + long(row) * size, size, packed + long(p) * size * PANEL, bias ? bias + p * PANEL : nullptr,
                    y + long(row) * width + p * PANEL, width, std::min(ROW_BLOCK, rows - row), size,
                    std::min(PANEL, width - p * PANEL));
}

template <class T>
void linear(const T* x, const T* packed, const float* bias, T* y, int rows, int width, int size, int threads) {
    const int panels = (width + PANEL - 1) / PANEL;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int thread = 0; thread < threads; thread++)
        panels_part(x, packed, bias, y, rows, width, size, int(long(panels) * thread / threads),
                    int(long(panels) * (thread + 1) / threads));
}

}  // namespace

template <class T>
void linear_block(const Linear& linear, const T* x, long x_stride, int rows, int first_panel, int panels, float* y,
                  long y_stride) {
    for (int p = first_panel; p < first_panel + panels; p++)
        rows_of(x, x_stride, static_cast<const T*>(linear.packed) + long(p) * linear.inputs * PANEL,
                linear.bias ? linear.bias + p * PANEL : nullptr, y + long(p - first_panel) * PANEL, y_stride, rows,
                linear.inputs, PANEL);
}

template void linear_block<bf16>(const Linear&, const bf16*, long, int, int, int, float*, long);
template void linear_block<float>(const Linear&, const float*, long, int, int, int, float*, long);

extern "C" void linear_bf16(const bf16* x, const bf16* packed, const float* bias, bf16* y, int rows, int width,
                            int size, int threads) {
    linear(x, packed, bias, y, rows, width, size, threads);
}

extern "C" void linear_float(const float* x, const float* packed, const float* bias, float* y, int rows, int width,
                             int size, int threads) {
    linear(x, packed, bias, y, rows, width, size, threads);
}
