// Linear layers on prepacked weights in parts: what a thread does, without a team of threads around it.
//
// Weights are packed in panels of 32 outputs, [N/32][K][32] for float, [N/32][K/2][32][2] for bf16, and for int8, whose
// numbers are a sign and a magnitude, [N/32][K/2][4][2][4][2]: outputs 0 to 3, 16 to 19, 4 to 7 and so on. They are padded
// with zeros: a panel is read once, in order, and every load feeds all rows of a register tile.
#pragma once
#include "vector.h"

constexpr int PANEL = 32;

enum class WeightKind : int32_t { float32, bfloat16, int8 };

struct Linear {
    const void* packed;
    const float* scale;  // of each output, padded to whole panels, or null
    const float* bias;   // padded to whole panels, or null
    int32_t outputs, inputs;  // inputs as packed: an even number but for float32
    WeightKind kind;
};

static inline int panels_of(const Linear& linear) { return (linear.outputs + PANEL - 1) / PANEL; }

// y[m][0 .. 32 * panels) = x[m] W^T + bias for `rows` rows and the panels from `first_panel`, in float32. The order in
// which products are added depends on neither rows nor panels.
template <class T>
void linear_block(const Linear& linear, const T* x, long x_stride, int rows, int first_panel, int panels, float* y,
                  long y_stride);

extern template void linear_block<bf16>(const Linear&, const bf16*, long, int, int, int, float*, long);
extern template void linear_block<float>(const Linear&, const float*, long, int, int, int, float*, long);
