// Linear layers on prepacked weights: y[M][N] = x[M][K] W^T + b, for the few rows of a decode step and for chunks.
#include <algorithm>

#include "int8.h"
#include "linear.h"

namespace {

constexpr int ROW_BLOCK = 96;   // rows that stay in the L2 cache while panels pass by
constexpr int AHEAD = 3072;     // bytes that weights are asked for ahead

// How a step along the inputs is added for T numbers and weights W. `TILE` rows at most: their sums, two vectors each,
// and what the step needs fit into 32 registers.
template <class T, class W> struct Product;

// A place in some rows of x, as few enough numbers to stay in registers: a pointer for three rows, three distances.
template <class T> struct Cursor {
    const T* const* first;
    long distance[3];

    const T* row(int m) const { return first[m / 3] + distance[m % 3]; }
};

template <> struct Product<float, float> {
    static constexpr int STEP = 1, TILE = 12;
    template <int ROWS> void add(const float* panel, const Cursor<float>& x, Floats (*sums)[2]) const {
        const Floats low = load(panel), high = load(panel + LANES);
        for (int m = 0; m < ROWS; m++) {
            sums[m][0] += low * *x.row(m);
            sums[m][1] += high * *x.row(m);
        }
    }
};

template <> struct Product<bf16, bf16> {
    static constexpr int STEP = 2, TILE = 12;
    template <int ROWS> void add(const bf16* panel, const Cursor<bf16>& x, Floats (*sums)[2]) const {
        const Ints low = *reinterpret_cast<const Ints*>(panel), high = *reinterpret_cast<const Ints*>(panel + 2 * LANES);
        for (int m = 0; m < ROWS; m++) {
            sums[m][0] = dot_pairs(sums[m][0], low, x.row(m));
            sums[m][1] = dot_pairs(sums[m][1], high, x.row(m));
        }
    }
};

template <> struct Product<bf16, int8_t> {
    static constexpr int STEP = 2, TILE = 12;
    template <int ROWS> void add(const int8_t* panel, const Cursor<bf16>& x, Floats (*sums)[2]) const {
        Ints low, high;
        expand_.expand(panel, low, high);
        for (int m = 0; m < ROWS; m++) {
            sums[m][0] = dot_pairs(sums[m][0], low, x.row(m));
            sums[m][1] = dot_pairs(sums[m][1], high, x.row(m));
        }
    }
    Int8Expansion expand_;
};

template <> struct Product<float, int8_t> {
    static constexpr int STEP = 2, TILE = 8;
    template <int ROWS> void add(const int8_t* panel, const Cursor<float>& x, Floats (*sums)[2]) const {
        Ints pairs[2];
        expand_.expand(panel, pairs[0], pairs[1]);
        for (int half = 0; half < 2; half++) {
            const Floats even = (Floats)(pairs[half] << 16), odd = (Floats)(pairs[half] & Ints{} + int32_t(0xffff0000));
            for (int m = 0; m < ROWS; m++) {
                sums[m][half] += even * *x.row(m);
                sums[m][half] += odd * x.row(m)[1];
            }
        }
    }
    Int8Expansion expand_;
};

template <class Y> void write(Y* y, Floats x, int count) {
    if (count >= LANES) {
        store_narrow(y, x);
        return;
    }
    for (int i = 0; i < count; i++) y[i] = from_float<Y>(x[i]);
}

// A panel of weights W, and what belongs to its outputs.
template <class W> struct Panel {
    const W* weights;
    const float *scale, *bias;  // or null
};

// What a tile asks memory for while it computes: from `start`, `step` bytes further with each number of a row.
struct Ahead {
    const char* start;
    float step;
    unsigned bytes;  // at once
};

template <int ROWS, class T, class W, class Y>
void tile(const T* x, long x_stride, const Panel<W>& panel, Ahead ahead, Y* y, long width, long size, int outputs) {
    using Step = Product<T, W>;
    const Step product;
    Floats sums[ROWS][2] = {};
    const T* first[(ROWS + 2) / 3];
    for (int g = 0; g < (ROWS + 2) / 3; g++) first[g] = x + 3 * g * x_stride;
    const long advance = long(ahead.step * Step::STEP);
    for (long k = 0; k < size; k += Step::STEP) {
        for (unsigned line = 0; line < ahead.bytes; line += 64) __builtin_prefetch(ahead.start + line);
        ahead.start += advance;
        const Cursor<T> rows{first, {k, k + x_stride, k + 2 * x_stride}};
        product.template add<ROWS>(panel.weights + k * PANEL, rows, sums);
    }
    for (int half = 0; half < 2 && half * LANES < outputs; half++) {
        const Floats scale = panel.scale ? load(panel.scale + half * LANES) : all(1.0f);
        const Floats bias = panel.bias ? load(panel.bias + half * LANES) : Floats{};
        for (int m = 0; m < ROWS; m++)
            write(y + m * width + half * LANES, multiply_add(sums[m][half], scale, bias), outputs - half * LANES);
    }
}

// Rows of any number times one panel: `outputs` of its 32. Tiles are as equal as can be. One tile asks for its own
// weights some steps ahead; of several, each asks for its part of the next panel, so that memory is never idle.
template <class T, class W, class Y>
void rows_of(const T* x, long x_stride, const Panel<W>& panel, Y* y, long width, int rows, long size, int outputs) {
    constexpr int TILE = Product<T, W>::TILE;
    const int tiles = (rows + TILE - 1) / TILE;
    constexpr unsigned STEP_BYTES = Product<T, W>::STEP * PANEL * sizeof(W);
    const long bytes = size * PANEL * sizeof(W);
    const char* weights = reinterpret_cast<const char*>(panel.weights);
    for (int t = 0, count; t < tiles; t++, rows -= count, x += count * x_stride, y += count * width) {
        count = (rows + tiles - t - 1) / (tiles - t);
        const float step = float(PANEL * sizeof(W)) / tiles;
        const Ahead ahead = tiles == 1 ? Ahead{weights + AHEAD, step, STEP_BYTES}
                                       : Ahead{weights + bytes + bytes * t / tiles, step, 64};
        switch (count) {
            case 12: tile<std::min(12, TILE)>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 11: tile<std::min(11, TILE)>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 10: tile<std::min(10, TILE)>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 9: tile<std::min(9, TILE)>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 8: tile<8>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 7: tile<7>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 6: tile<6>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 5: tile<5>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 4: tile<4>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 3: tile<3>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 2: tile<2>(x, x_stride, panel, ahead, y, width, size, outputs); break;
            case 1: tile<1>(x, x_stride, panel, ahead, y, width, size, outputs); break;
        }
    }
}

template <class W> Panel<W> panel_of(const Linear& linear, int number) {
    return {static_cast<const W*>(linear.packed) + long(number) * linear.inputs * PANEL,
            linear.scale ? linear.scale + number * PANEL : nullptr, linear.bias ? linear.bias + number * PANEL : nullptr};
}

// The panels [first, last) of a layer, in blocks of rows; T numbers of each row from x, and results to y.
template <class T, class W>
void panels_part(const Linear& linear, const T* x, T* y, int rows, int first, int last) {
    const long size = linear.inputs, width = linear.outputs;
    for (int row = 0; row < rows; row += ROW_BLOCK)
        for (int p = first; p < last; p++)
            rows_of(x + row * size, size, panel_of<W>(linear, p), y + row * width + p * PANEL, width,
                    std::min(ROW_BLOCK, rows - row), size, int(std::min<long>(PANEL, width - p * PANEL)));
}

template <class T, class W> void run(const Linear& linear, const T* x, T* y, int rows, int threads) {
    const long panels = panels_of(linear);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int thread = 0; thread < threads; thread++)
        panels_part<T, W>(linear, x, y, rows, int(panels * thread / threads), int(panels * (thread + 1) / threads));
}

template <class T, class W>
void block(const Linear& linear, const T* x, long x_stride, int rows, int first_panel, int panels, float* y,
           long y_stride) {
    for (int p = 0; p < panels; p++)
        rows_of(x, x_stride, panel_of<W>(linear, first_panel + p), y + long(p) * PANEL, y_stride, rows, linear.inputs,
                PANEL);
}

}  // namespace

template <class T>
void linear_block(const Linear& linear, const T* x, long x_stride, int rows, int first_panel, int panels, float* y,
                  long y_stride) {
    if (linear.kind == WeightKind::int8)
        block<T, int8_t>(linear, x, x_stride, rows, first_panel, panels, y, y_stride);
    else
        block<T, T>(linear, x, x_stride, rows, first_panel, panels, y, y_stride);
}

template void linear_block<bf16>(const Linear&, const bf16*, long, int, int, int, float*, long);
template void linear_block<float>(const Linear&, const float*, long, int, int, int, float*, long);

// y[rows][outputs] = x[rows][inputs] W^T + bias.
extern "C" void linear_bf16(const Linear* linear, const bf16* x, bf16* y, int rows, int threads) {
    if (linear->kind == WeightKind::int8)
        run<bf16, int8_t>(*linear, x, y, rows, threads);
    else
        run<bf16, bf16>(*linear, x, y, rows, threads);
}

extern "C" void linear_float(const Linear* linear, const float* x, float* y, int rows, int threads) {
    if (linear->kind == WeightKind::int8)
        run<float, int8_t>(*linear, x, y, rows, threads);
    else
        run<float, float>(*linear, x, y, rows, threads);
}
