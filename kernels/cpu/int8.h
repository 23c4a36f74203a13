// Weights of 8 bits: a sign and seven bits of magnitude, so that tables of 128 bytes give the halves of a bf16.
#pragma once
#include "vector.h"

#if defined(__AVX512VBMI__)

// The 64 bytes of a step, [4][2][4][2]: four outputs of the low half and four of the high half in turn, pairs each.
class Int8Expansion {
  public:
    Int8Expansion() {
        alignas(64) uint8_t upper[128], lower[128];
        for (int i = 0; i < 128; i++) {
            const bf16 number = narrow(float(i));
            upper[i] = uint8_t(number >> 8);
            lower[i] = uint8_t(number);
        }
        for (int i = 0; i < 2; i++) {
            upper_[i] = _mm512_load_si512(upper + 64 * i);
            lower_[i] = _mm512_load_si512(lower + 64 * i);
        }
    }

    void expand(const int8_t* step, Ints& low, Ints& high) const {
        const __m512i bytes = _mm512_loadu_si512(step);
        const __m512i upper = _mm512_permutex2var_epi8(upper_[0], bytes, upper_[1]);
        const __m512i lower = _mm512_permutex2var_epi8(lower_[0], bytes, lower_[1]);
        const __m512i with_sign = _mm512_ternarylogic_epi32(upper, bytes, _mm512_set1_epi8(-128), 0xf8);  // a | b & c
        low = (Ints)_mm512_unpacklo_epi8(lower, with_sign);
        high = (Ints)_mm512_unpackhi_epi8(lower, with_sign);
    }

  private:
    __m512i upper_[2], lower_[2];
};

#else

class Int8Expansion {
  public:
    void expand(const int8_t* step, Ints& low, Ints& high) const {
        for (int output = 0; output < LANES; output++) {
            const int8_t* at = step + output / 4 * 16 + output % 4 * 2;
            low[output] = pair_of(at);
            high[output] = pair_of(at + 8);
        }
    }

  private:
    static int32_t pair_of(const int8_t* at) { return int32_t(bits_of(at[0]) | bits_of(at[1]) << 16); }
    static uint32_t bits_of(int8_t byte) { return narrow(float(byte & 127)) | (uint32_t(byte) & 128) << 8; }
};

#endif
