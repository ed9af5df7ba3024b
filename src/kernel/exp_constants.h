// Constants that every tier must share to give the same bits. Private to this room.
#pragma once

namespace genesis::kernel {

// exp(x) = 2^n exp(r), r = x - n ln 2 in two parts, |r| <= ln(2) / 2, by the minimax polynomial of
// Cephes' expf.c (netlib.org/cephes, single precision, S. Moshier).
inline constexpr float kLog2E = 1.44269504088896341F;
inline constexpr float kLn2High = 0.693359375F;
inline constexpr float kLn2Low = -2.12194440e-4F;
inline constexpr float kExpP0 = 1.9875691500e-4F;
inline constexpr float kExpP1 = 1.3981999507e-3F;
inline constexpr float kExpP2 = 8.3334519073e-3F;
inline constexpr float kExpP3 = 4.1665795894e-2F;
inline constexpr float kExpP4 = 1.6666665459e-1F;
inline constexpr float kExpP5 = 5.0000001201e-1F;
inline constexpr float kExpLowest = -87.0F;  // keeps 2^n a normal number
inline constexpr float kExpHighest = 88.0F;

// Below this an activation group is zero: 127 / max would overflow towards infinity.
inline constexpr float kTinyMagnitude = 1e-30F;

}  // namespace genesis::kernel
