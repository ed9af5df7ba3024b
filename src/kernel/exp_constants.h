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

// tanh(x) below kTanhSmall by Cephes' tanhf.c (same source), above it by 1 - 2 / (exp(2x) + 1).
inline constexpr float kTanhSmall = 0.625F;
inline constexpr float kTanhP0 = -5.70498872745e-3F;
inline constexpr float kTanhP1 = 2.06390887954e-2F;
inline constexpr float kTanhP2 = -5.37397155531e-2F;
inline constexpr float kTanhP3 = 1.33314422036e-1F;
inline constexpr float kTanhP4 = -3.33332819422e-1F;

// GELU's tanh form, 0.5 x (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel,
// arXiv 1606.08415), equals x / (1 + exp(-2u)).
inline constexpr float kGeluCubic = 0.044715F;
inline constexpr float kGeluSlope = -1.5957691216057308F;  // -2 sqrt(2 / pi)

// Below this an activation group is zero: 127 / max would overflow towards infinity.
inline constexpr float kTinyMagnitude = 1e-30F;

}  // namespace genesis::kernel
