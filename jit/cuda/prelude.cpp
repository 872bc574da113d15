#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/prelude.h>

namespace encore::jit::cuda {
namespace {

constexpr const char* types = R"(
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
)";

constexpr const char* device = R"(
#define INLINE __device__ __forceinline__
INLINE u16 half_bits(f32 a) { u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(a)); return r; }
INLINE f32 from_half_bits(u16 a) { f32 r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(a)); return r; }
INLINE u16 brain_bits(f32 a) {
  u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(0.0f), "f"(a)); return (u16)r;
}
// 1 / a rounded once, a in [2^-126, 2^126].
INLINE f32 reciprocal_near(f32 a) {
  f32 r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
  return __fmaf_rn(__fmaf_rn(-a, r, 1.0f), r, r);
}
INLINE f32 max_or_nan(f32 a, f32 b) {
  f32 r; asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r;
}
INLINE f32 min_or_nan(f32 a, f32 b) {
  f32 r; asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r;
}
template <int team, int teams>
INLINE void team_barrier() {
  if (team <= 32)
    __syncwarp();
  else if (teams == 1)
    __syncthreads();
  else
    asm volatile("bar.sync %0, %1;" ::"r"(1 + (int)threadIdx.x / team), "n"(team) : "memory");
}
// Among `width` neighbouring threads, a power of two, which have the number `team`.
INLINE void width_barrier(int width, int team) {
  if (width <= 32)
    __syncwarp();
  else
    asm volatile("bar.sync %0, %1;" ::"r"(1 + team), "r"(width) : "memory");
}
)";

// Stored types are structs, so that overloads tell f16 and bf16 apart.
constexpr const char* memory = R"(
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
struct b8 { u8 bits; };
INLINE f32 float_of(u32 bits) { return __uint_as_float(bits); }
INLINE f64 double_of(u64 bits) { return __longlong_as_double((i64)bits); }
INLINE u32 bits_of(f32 a) { return __float_as_uint(a); }
INLINE u64 bits_of(f64 a) { return (u64)__double_as_longlong(a); }
INLINE f32 widen(f16 a) { return from_half_bits(a.bits); }
INLINE f32 widen(bf16 a) { return float_of((u32)a.bits << 16); }
INLINE bool widen(b8 a) { return a.bits != 0; }
template <class T>
INLINE T widen(T a) { return a; }
template <class S>
struct Narrow {
  template <class T>
  static INLINE S of(T a) { return (S)a; }
};
template <>
struct Narrow<f16> { static INLINE f16 of(f32 a) { return f16{half_bits(a)}; } };
template <>
struct Narrow<bf16> { static INLINE bf16 of(f32 a) { return bf16{brain_bits(a)}; } };
template <>
struct Narrow<b8> { static INLINE b8 of(bool a) { return b8{(u8)a}; } };
INLINE f32 through_half(f32 a) { return from_half_bits(half_bits(a)); }
INLINE f32 through_brain(f32 a) { return float_of((u32)brain_bits(a) << 16); }

template <int bytes>
struct Packet;
template <>
struct Packet<2> { u16 word[1]; };
template <>
struct Packet<4> { u32 word[1]; };
template <>
struct alignas(8) Packet<8> { u32 word[2]; };
template <>
struct alignas(16) Packet<16> { u32 word[4]; };
template <int size>
struct Part;
template <>
struct Part<1> {
  template <class P>
  static INLINE u8 get(const P& p, int i) {
    constexpr int each = (int)sizeof p.word[0];
    return (u8)(p.word[i / each] >> 8 * (i % each));
  }
  template <class P>
  static INLINE void put(P& p, int i, u8 a) {
    constexpr int each = (int)sizeof p.word[0];
    p.word[i / each] |= (u32)a << 8 * (i % each);
  }
};
template <>
struct Part<2> {
  template <class P>
  static INLINE u16 get(const P& p, int i) { return (u16)(p.word[i / 2] >> 16 * (i % 2)); }
  template <class P>
  static INLINE void put(P& p, int i, u16 a) { p.word[i / 2] |= (u32)a << 16 * (i % 2); }
};
template <>
struct Part<4> {
  template <class P>
  static INLINE u32 get(const P& p, int i) { return p.word[i]; }
  template <class P>
  static INLINE void put(P& p, int i, u32 a) { p.word[i] = a; }
};
template <>
struct Part<8> {
  template <class P>
  static INLINE u64 get(const P& p, int i) { return p.word[2 * i] | (u64)p.word[2 * i + 1] << 32; }
  template <class P>
  static INLINE void put(P& p, int i, u64 a) {
    p.word[2 * i] = (u32)a, p.word[2 * i + 1] = (u32)(a >> 32);
  }
};
template <class S>
INLINE S stored(u64 bits) { return (S)bits; }
template <>
INLINE f32 stored<f32>(u64 bits) { return float_of((u32)bits); }
template <>
INLINE f64 stored<f64>(u64 bits) { return double_of(bits); }
template <>
INLINE f16 stored<f16>(u64 bits) { return f16{(u16)bits}; }
template <>
INLINE bf16 stored<bf16>(u64 bits) { return bf16{(u16)bits}; }
template <>
INLINE b8 stored<b8>(u64 bits) { return b8{(u8)bits}; }
template <class S>
INLINE S as_stored(u64 bits) { return stored<S>(bits); }
INLINE u64 raw(f32 a) { return bits_of(a); }
INLINE u64 raw(f64 a) { return bits_of(a); }
INLINE u64 raw(f16 a) { return a.bits; }
INLINE u64 raw(bf16 a) { return a.bits; }
INLINE u64 raw(b8 a) { return a.bits; }
template <class S>
INLINE u64 raw(S a) { return (u64)a; }

// n neighbours at once, in accesses of at most 16 bytes; `at` is aligned to them.
template <int n, class S, class T>
INLINE void load_vector(const S* at, T* to) {
  constexpr int bytes = n * sizeof(S) < 16 ? n * (int)sizeof(S) : 16;
  constexpr int each = bytes / (int)sizeof(S);
#pragma unroll
  for (int k = 0; k < n / each; ++k) {
    Packet<bytes> packet = ((const Packet<bytes>*)at)[k];
#pragma unroll
    for (int i = 0; i < each; ++i)
      to[k * each + i] = (T)widen(stored<S>(Part<(int)sizeof(S)>::get(packet, i)));
  }
}
template <int n, class S, class T>
INLINE void store_vector(S* at, const T* from) {
  constexpr int bytes = n * sizeof(S) < 16 ? n * (int)sizeof(S) : 16;
  constexpr int each = bytes / (int)sizeof(S);
#pragma unroll
  for (int k = 0; k < n / each; ++k) {
    Packet<bytes> packet = {};
#pragma unroll
    for (int i = 0; i < each; ++i)
      Part<(int)sizeof(S)>::put(packet, i, raw(Narrow<S>::of(from[k * each + i])));
    ((Packet<bytes>*)at)[k] = packet;
  }
}
)";

constexpr const char* arithmetic = R"(
template <class T>
INLINE T divide(T a, T b) {
  if (b == 0) return 0;
  if ((T)-1 < (T)0 && b == (T)-1) return (T)(0 - (u64)a);
  return (T)(a / b);
}
template <class T>
INLINE T remainder_of(T a, T b) {
  if (b == 0) return a;
  if ((T)-1 < (T)0 && b == (T)-1) return 0;
  return (T)(a % b);
}
template <class T>
INLINE T shift_left(T a, T count) {
  return count >= 0 && (u64)count < 8 * sizeof(T) ? (T)((u64)a << (u64)count) : (T)0;
}
template <class T>
INLINE T shift_right(T a, T count) {
  if (count >= 0 && (u64)count < 8 * sizeof(T)) return (T)(a >> (int)count);
  return a < 0 ? (T)-1 : (T)0;
}
template <class T>
INLINE T smaller(T a, T b) { return a < b || a != a ? a : b; }
template <class T>
INLINE T larger(T a, T b) { return a > b || a != a ? a : b; }

// 2^n, n in [-126, 127] or [-1022, 1023]: the low bits of n + 1.5 * 2^23 (2^52) are n's.
INLINE f32 power_of_two(f32 n) { return float_of((bits_of(n + 12582912.0f) << 23) + 0x3f800000u); }
INLINE f64 power_of_two(f64 n) {
  return double_of((bits_of(n + 6755399441055744.0) << 52) + 0x3ff0000000000000ull);
}
// Only the last of the three products can round: what an earlier one rounds, the last makes 0.
INLINE f32 scale_far(f32 a, f32 n) {
  n = fminf(fmaxf(n, -378.0f), 381.0f);
  f32 last = fminf(fmaxf(n, -126.0f), 127.0f), half = floorf((n - last) * 0.5f);
  return a * power_of_two(half) * power_of_two(n - last - half) * power_of_two(last);
}
INLINE f64 scale_far(f64 a, f64 n) {
  n = fmin(fmax(n, -2200.0), 2200.0);
  f64 last = fmin(fmax(n, -1022.0), 1023.0), half = floor((n - last) * 0.5);
  return a * power_of_two(half) * power_of_two(n - last - half) * power_of_two(last);
}
// Where n is known to be no NaN and to lie in [-126, 127], [-1022, 1023] or [-252, 254];
// `shifted` are the bits of n + 1.5 * 2^23.
INLINE u32 shifted_bits(f32 n) { return bits_of(n + 12582912.0f); }
INLINE f32 scale2_near(f32 a, u32 shifted) { return a * float_of((shifted << 23) + 0x3f800000u); }
INLINE f64 scale2_near(f64 a, f64 n) { return a * power_of_two(n); }
INLINE f32 scale2_middle(f32 a, u32 shifted) {
  i32 n = (i32)shifted, last = n < 0x4b400000 - 126 ? 0x4b400000 - 126 : n;
  last = last > 0x4b400000 + 127 ? 0x4b400000 + 127 : last;
  return a * float_of(((u32)(n - last) << 23) + 0x3f800000u) *
         float_of(((u32)last << 23) + 0x3f800000u);
}
// Where a lies in [0.25, 4] and n in [-180, 60] or [-240, 240]: the first product is exact.
INLINE f32 scale2_low(f32 a, u32 shifted) {
  return a * float_of((shifted << 23) + 0x5f800000u) * 0x1p-64f;
}
INLINE f32 scale2_halves(f32 a, u32 shifted) {
  u32 half = shifted >> 1;  // of what stands above n nothing is left after the shifts
  return a * float_of((half << 23) + 0x3f800000u) *
         float_of((shifted - half << 23) + 0x3f800000u);
}
INLINE f32 scale2(f32 a, f32 n) {
  if (fabsf(n) <= 126.0f) return a * power_of_two(n);
  return n != n ? n : scale_far(a, n);
}
INLINE f64 scale2(f64 a, f64 n) {
  if (fabs(n) <= 1022.0) return a * power_of_two(n);
  return n != n ? n : scale_far(a, n);
}

template <class T>
struct Saturate;
template <>
struct Saturate<i32> {
  static INLINE i32 of(f32 a) { return a != a ? 0 : __float2int_rz(a); }
  static INLINE i32 of(f64 a) { return a != a ? 0 : __double2int_rz(a); }
};
template <>
struct Saturate<u32> {
  static INLINE u32 of(f32 a) { return a != a ? 0 : __float2uint_rz(a); }
  static INLINE u32 of(f64 a) { return a != a ? 0 : __double2uint_rz(a); }
};
template <>
struct Saturate<i64> {
  static INLINE i64 of(f32 a) { return a != a ? 0 : __float2ll_rz(a); }
  static INLINE i64 of(f64 a) { return a != a ? 0 : __double2ll_rz(a); }
};
template <>
struct Saturate<u64> {
  static INLINE u64 of(f32 a) { return a != a ? 0 : __float2ull_rz(a); }
  static INLINE u64 of(f64 a) { return a != a ? 0 : __double2ull_rz(a); }
};
template <class T, int lowest, int highest>
struct SaturateSmall {
  template <class F>
  static INLINE T of(F a) {
    i32 wide = Saturate<i32>::of(a);
    return (T)(wide < lowest ? lowest : wide > highest ? highest : wide);
  }
};
template <>
struct Saturate<i8> : SaturateSmall<i8, -128, 127> {};
template <>
struct Saturate<u8> : SaturateSmall<u8, 0, 255> {};
template <>
struct Saturate<i16> : SaturateSmall<i16, -32768, 32767> {};
template <>
struct Saturate<u16> : SaturateSmall<u16, 0, 65535> {};

// Positions, where 64 bits are allowed for but seldom needed.
INLINE i64 part(i64 a, i64 b) {
  return ((u64)a | (u64)b) >> 32 ? (i64)((u64)a / (u64)b) : (i64)((u32)a / (u32)b);
}
INLINE i64 rest(i64 a, i64 b) {
  return ((u64)a | (u64)b) >> 32 ? (i64)((u64)a % (u64)b) : (i64)((u32)a % (u32)b);
}
INLINE i32 part(i32 a, i32 b) { return (i32)((u32)a / (u32)b); }
INLINE i32 rest(i32 a, i32 b) { return (i32)((u32)a % (u32)b); }
INLINE i64 smaller_of(i64 a, i64 b) { return a < b ? a : b; }
)";

constexpr const char* reductions = R"(
struct Sum { template <class T> static INLINE T of(T a, T b) { return (T)(a + b); } };
template <>
INLINE i32 Sum::of<i32>(i32 a, i32 b) { return (i32)((u32)a + (u32)b); }
template <>
INLINE i64 Sum::of<i64>(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
struct Product { template <class T> static INLINE T of(T a, T b) { return (T)(a * b); } };
template <>
INLINE i32 Product::of<i32>(i32 a, i32 b) { return (i32)((u32)a * (u32)b); }
template <>
INLINE i64 Product::of<i64>(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }
template <>
INLINE u16 Product::of<u16>(u16 a, u16 b) { return (u16)((u32)a * (u32)b); }
struct Smaller { template <class T> static INLINE T of(T a, T b) { return smaller(a, b); } };
struct Larger { template <class T> static INLINE T of(T a, T b) { return larger(a, b); } };
struct Any { template <class T> static INLINE T of(T a, T b) { return a || b; } };
struct All { template <class T> static INLINE T of(T a, T b) { return a && b; } };
// In any order: +0 is above -0.
struct Least { template <class T> static INLINE T of(T a, T b) { return smaller(a, b); } };
template <>
INLINE f32 Least::of<f32>(f32 a, f32 b) { return min_or_nan(a, b); }
struct Greatest { template <class T> static INLINE T of(T a, T b) { return larger(a, b); } };
template <>
INLINE f32 Greatest::of<f32>(f32 a, f32 b) { return max_or_nan(a, b); }

// The best value so far and where it was; at < 0: none yet.
template <class T, bool max>
struct Extreme {
  T value;
  i64 at;
  INLINE void take(T other, i64 where) {
    bool better = max ? other > value : other < value;
    bool nan = value != value, other_nan = other != other;
    bool first = where < at;
    bool wins = other_nan ? !nan || first : !nan && (better || (other == value && first));
    if (where >= 0 && (at < 0 || wins)) value = other, at = where;
  }
};

INLINE bool shuffled(bool a, int m) { return __shfl_xor_sync(~0u, (int)a, m); }
INLINE i8 shuffled(i8 a, int m) { return (i8)__shfl_xor_sync(~0u, (int)a, m); }
INLINE u8 shuffled(u8 a, int m) { return (u8)__shfl_xor_sync(~0u, (int)a, m); }
INLINE i16 shuffled(i16 a, int m) { return (i16)__shfl_xor_sync(~0u, (int)a, m); }
INLINE u16 shuffled(u16 a, int m) { return (u16)__shfl_xor_sync(~0u, (int)a, m); }
template <class T>
INLINE T shuffled(T a, int m) { return __shfl_xor_sync(~0u, a, m); }
template <class T>
INLINE u64 packed(T a) { return raw(a); }
INLINE u64 packed(bool a) { return a; }
template <class T>
INLINE T unpacked(u64 bits) { return stored<T>(bits); }

// All `team` threads give a value and get the total; `shared` has room for team / 32 words.
template <class Op, int team, class T>
INLINE T reduce_in_warp(T a) {
#pragma unroll
  for (int m = (team < 32 ? team : 32) / 2; m > 0; m /= 2) a = Op::of(a, shuffled(a, m));
  return a;
}
template <int team, class T>
INLINE void share(T a, u64* shared) {
  if (team > 32 && threadIdx.x % 32 == 0) shared[threadIdx.x % team / 32] = packed(a);
}
template <class Op, int team, class T>
INLINE T reduce_shared(T a, const u64* shared) {
  if (team <= 32) return a;
  constexpr int warps = team / 32 > 0 ? team / 32 : 1;
  if (warps <= 4) {
    a = unpacked<T>(shared[0]);
#pragma unroll
    for (int w = 1; w < warps; ++w) a = Op::of(a, unpacked<T>(shared[w]));
    return a;
  }
  a = unpacked<T>(shared[threadIdx.x % warps]);
#pragma unroll
  for (int m = warps / 2; m > 0; m /= 2) a = Op::of(a, shuffled(a, m));
  return a;
}
// Likewise among `width` threads, in the same order.
template <class Op, class T>
INLINE T reduce_any_in_warp(T a, int width) {
  for (int m = (width < 32 ? width : 32) / 2; m > 0; m /= 2) a = Op::of(a, shuffled(a, m));
  return a;
}
template <class Op, class T>
INLINE T reduce_any_shared(T a, int width, const u64* shared) {
  if (width <= 32) return a;
  int warps = width / 32;
  a = unpacked<T>(shared[warps <= 4 ? 0 : threadIdx.x % warps]);
  if (warps <= 4)
    for (int w = 1; w < warps; ++w) a = Op::of(a, unpacked<T>(shared[w]));
  else
    for (int m = warps / 2; m > 0; m /= 2) a = Op::of(a, shuffled(a, m));
  return a;
}
template <class T, bool max>
INLINE void extreme_any_in_warp(Extreme<T, max>& a, int width) {
  for (int m = width / 2; m > 0; m /= 2) {
    T value = shuffled(a.value, m);
    i64 at = shuffled(a.at, m);
    a.take(value, at);
  }
}
template <class T, bool max>
INLINE void extreme_any_shared(Extreme<T, max>& a, int width, const u64* values,
                               const u64* places) {
  if (width <= 32) return;
  int warps = width / 32, w = (int)threadIdx.x % warps;
  a.value = unpacked<T>(values[w]), a.at = (i64)places[w];
  extreme_any_in_warp(a, warps);
}
template <int span, class T, bool max>
INLINE void extreme_in_warp(Extreme<T, max>& a) {
#pragma unroll
  for (int m = span / 2; m > 0; m /= 2) {
    T value = shuffled(a.value, m);
    i64 at = shuffled(a.at, m);
    a.take(value, at);
  }
}
template <int team, class T, bool max>
INLINE void extreme_shared(Extreme<T, max>& a, const u64* values, const u64* places) {
  if (team <= 32) return;
  constexpr int warps = team / 32 > 0 ? team / 32 : 1;
  int w = (int)threadIdx.x % warps;
  a.value = unpacked<T>(values[w]), a.at = (i64)places[w];
  extreme_in_warp<warps>(a);
}

// The order that every backend can follow: lane j takes in lane j + h.
template <class T>
INLINE T from_lane(T a, int lane) { return __shfl_sync(~0u, a, lane); }
INLINE f32 down(f32 a, int h) { return __shfl_down_sync(~0u, a, h); }
INLINE f64 down(f64 a, int h) { return __shfl_down_sync(~0u, a, h); }
template <class Op, class T>
INLINE T reduce_lanes(T a) {
#pragma unroll
  for (int h = sizeof(T) == 8 ? 8 : 16; h > 0; h /= 2) a = Op::of(a, down(a, h));
  return from_lane(a, 0);
}
// 16 lanes: a step's first half of threads adds its own value, then that of 16 threads on.
template <class Op>
INLINE void feed_lane(f32& total, f32 a, bool counts) { if (counts) total = Op::of(total, a); }
template <class Op>
INLINE void feed_lane(f64& total, f64 a, bool counts) {
  f64 second = down(a, 16);
  bool second_counts = __shfl_down_sync(~0u, (int)counts, 16);
  if (counts) total = Op::of(total, a);
  if (second_counts) total = Op::of(total, second);
}

INLINE u32 segment_of(const u32* first_block, u32 count, u32 block) {
  u32 low = 0;
  while (count > 1) {
    u32 half = count / 2;
    if (first_block[low + half] <= block) low += half, count -= half;
    else count = half;
  }
  return low;
}
)";

}  // namespace

std::string device_prelude() { return std::string(types) + device; }

std::string portable_prelude() { return std::string(memory) + arithmetic + reductions; }

std::string prelude(const Target&) { return device_prelude() + portable_prelude(); }

}  // namespace encore::jit::cuda
