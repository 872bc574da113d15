#include <encore/core/error.h>
#include <encore/jit/cpu/contraction_pack.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#if !defined(__clang__)
// GCC 12's own headers leave the unused source of a masked shuffle uninitialized.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace encore::jit {

void Steps::append(int64_t extent, int64_t stride) {
  if (extent == 1) return;
  if (count_ && strides_[count_ - 1] == extent * stride) {
    extents_[count_ - 1] *= extent;
    strides_[count_ - 1] = stride;
    return;
  }
  ENCORE_ASSERT(count_ < max_axes);
  extents_[count_] = extent;
  strides_[count_++] = stride;
}

int64_t Steps::offset(int64_t position) const {
  if (count_ == 1) return position * strides_[0];
  int64_t offset = 0;
  for (int i = count_; i-- > 0;) {
    if (i == 0) return offset + position * strides_[0];
    offset += position % extents_[i] * strides_[i];
    position /= extents_[i];
  }
  return offset;
}

bool Operand::along_depth() const {
  if (evaluator.evaluate) return evaluator.along_depth;
  return depth_stride() == element && line_stride() != element;
}

namespace {

template <class Element>
void copy_elements(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride,
                   int64_t count) {
  constexpr int64_t size = sizeof(Element);
  if (to_stride == size && from_stride == size) {
    std::memcpy(to, from, size_t(count) * size);
    return;
  }
  for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, size);
}

// Positions [begin, begin + count) as runs along the last axis: visit(offset, index, count), the
// index counted from `begin`.
template <class Visit>
void for_each_run(const Steps& steps, int64_t begin, int64_t count, Visit visit) {
  for (int64_t i = 0; i < count;) {
    const int64_t run = std::min(steps.run(begin + i), count - i);
    visit(steps.offset(begin + i), i, run);
    i += run;
  }
}

template <class Element>
void copy_block(const Operand& operand, const OperandBlock& block) {
  const bool along = operand.along_depth();
  const Steps& line_steps = along ? operand.lines : operand.depth;
  const Steps& element_steps = along ? operand.depth : operand.lines;
  const int64_t line = along ? block.position : block.depth;
  const int64_t lines = along ? block.count : block.depths;
  const int64_t begin = along ? block.depth : block.position;
  const int64_t count = along ? block.depths : block.count;
  constexpr int64_t size = sizeof(Element);
  const std::byte* base = operand.base + operand.outer.offset(block.outer);
  for (int64_t i = 0; i < lines; ++i) {
    auto* to = static_cast<std::byte*>(block.to) + i * block.stride * size;
    const std::byte* from = base + line_steps.offset(line + i);
    for_each_run(element_steps, begin, count, [&](int64_t offset, int64_t index, int64_t run) {
      copy_elements<Element>(to + index * size, size, from + offset, element_steps.stride(size),
                             run);
    });
  }
}

// Blocks are transposed in registers, which needs every loop below unrolled.
#if defined(__clang__)
#define ENCORE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ENCORE_UNROLL _Pragma("GCC unroll 16")
#endif

constexpr int64_t prefetch_bytes = 512;

/// A block of `lines` x `depths`, at most as many as a vector has lanes; strides in bytes. Missing
/// lines repeat the last one; missing depths are neither read nor written.
struct Block {
  const std::byte* from;
  int64_t from_stride;
  int lines, depths;
  std::byte* to;
  int64_t to_stride;

  /// Also asks for what a later block will read.
  const std::byte* line(int i) const {
    const std::byte* line = from + std::min(i, lines - 1) * from_stride;
    _mm_prefetch(reinterpret_cast<const char*>(line) + prefetch_bytes, _MM_HINT_T1);
    return line;
  }
  std::byte* row(int i) const { return to + i * to_stride; }
};

__attribute__((target("avx512f"))) void transpose_16x16(const Block& block) {
  __m512 r[16], t[16];
  const auto mask = __mmask16((1u << block.depths) - 1);
  ENCORE_UNROLL for (int i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_ps(mask, block.line(i));
  ENCORE_UNROLL for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  ENCORE_UNROLL for (int i = 0; i < 8; ++i) {
    const int first = i / 2 * 4 + i % 2;
    const __m512d low = _mm512_castps_pd(t[first]), high = _mm512_castps_pd(t[first + 2]);
    r[2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
    r[2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
  }
  // r[4 * i + c] holds column c of each 4 x 4 block of rows 4 * i and on: now gather the blocks.
  ENCORE_UNROLL for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
    const __m512 d = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
    const __m512 e = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_f32x4(a, d, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(a, d, 0xdd);
    t[4 + c] = _mm512_shuffle_f32x4(b, e, 0x88);
    t[12 + c] = _mm512_shuffle_f32x4(b, e, 0xdd);
  }
  ENCORE_UNROLL for (int i = 0; i < 16; ++i) if (i < block.depths)
      _mm512_storeu_ps(block.row(i), t[i]);
}

__attribute__((target("avx512f"))) void transpose_8x8_wide(const Block& block) {
  __m512d r[8], t[8];
  const auto mask = __mmask8((1u << block.depths) - 1);
  ENCORE_UNROLL for (int i = 0; i < 8; ++i) r[i] = _mm512_maskz_loadu_pd(mask, block.line(i));
  ENCORE_UNROLL for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
  }
  ENCORE_UNROLL for (int c = 0; c < 2; ++c) {
    const __m512d a = _mm512_shuffle_f64x2(t[c], t[2 + c], 0x88);
    const __m512d b = _mm512_shuffle_f64x2(t[c], t[2 + c], 0xdd);
    const __m512d d = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0x88);
    const __m512d e = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0xdd);
    r[c] = _mm512_shuffle_f64x2(a, d, 0x88);
    r[4 + c] = _mm512_shuffle_f64x2(a, d, 0xdd);
    r[2 + c] = _mm512_shuffle_f64x2(b, e, 0x88);
    r[6 + c] = _mm512_shuffle_f64x2(b, e, 0xdd);
  }
  ENCORE_UNROLL for (int i = 0; i < 8; ++i) if (i < block.depths)
      _mm512_storeu_pd(block.row(i), r[i]);
}

__attribute__((target("avx2"))) void transpose_8x8(const Block& block) {
  __m256 r[8], t[8];
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(block.depths),
                                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  ENCORE_UNROLL for (int i = 0; i < 8; ++i) r[i] =
      _mm256_maskload_ps(reinterpret_cast<const float*>(block.line(i)), mask);
  ENCORE_UNROLL for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  ENCORE_UNROLL for (int i = 0; i < 4; ++i) {
    const int first = i / 2 * 4 + i % 2;
    r[2 * i] = _mm256_shuffle_ps(t[first], t[first + 2], 0x44);
    r[2 * i + 1] = _mm256_shuffle_ps(t[first], t[first + 2], 0xee);
  }
  ENCORE_UNROLL for (int c = 0; c < 4; ++c) {
    t[c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x20);
    t[4 + c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x31);
  }
  ENCORE_UNROLL for (int i = 0; i < 8; ++i) if (i < block.depths)
      _mm256_storeu_ps(reinterpret_cast<float*>(block.row(i)), t[i]);
}

__attribute__((target("avx2"))) void transpose_4x4(const Block& block) {
  __m256d r[4], t[4];
  const __m256i mask =
      _mm256_cmpgt_epi64(_mm256_set1_epi64x(block.depths), _mm256_setr_epi64x(0, 1, 2, 3));
  ENCORE_UNROLL for (int i = 0; i < 4; ++i) r[i] =
      _mm256_maskload_pd(reinterpret_cast<const double*>(block.line(i)), mask);
  ENCORE_UNROLL for (int i = 0; i < 2; ++i) {
    t[2 * i] = _mm256_unpacklo_pd(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_pd(r[2 * i], r[2 * i + 1]);
  }
  ENCORE_UNROLL for (int c = 0; c < 2; ++c) {
    r[c] = _mm256_permute2f128_pd(t[c], t[2 + c], 0x20);
    r[2 + c] = _mm256_permute2f128_pd(t[c], t[2 + c], 0x31);
  }
  ENCORE_UNROLL for (int i = 0; i < 4; ++i) if (i < block.depths)
      _mm256_storeu_pd(reinterpret_cast<double*>(block.row(i)), r[i]);
}

template <class Element>
void scatter_line(const Steps& steps, std::byte* to, int64_t begin, int64_t count,
                  const std::byte* from) {
  constexpr int64_t size = sizeof(Element);
  for_each_run(steps, begin, count, [&](int64_t offset, int64_t index, int64_t run) {
    copy_elements<Element>(to + offset, steps.stride(size), from + index * size, size, run);
  });
}

}  // namespace

void scatter(int64_t element, const Steps& steps, std::byte* to, int64_t begin, int64_t count,
             const std::byte* from) {
  if (element == 4)
    scatter_line<uint32_t>(steps, to, begin, count, from);
  else
    scatter_line<uint64_t>(steps, to, begin, count, from);
}

void fill(const Operand& operand, const OperandBlock& block) {
  if (operand.evaluator.evaluate) {
    const Segment& segment = *operand.segment;
    operand.evaluator.evaluate(segment.arguments, segment.sizes, segment.scalars, &block);
  } else if (operand.element == 4) {
    copy_block<uint32_t>(operand, block);
  } else {
    copy_block<uint64_t>(operand, block);
  }
}

void transpose(Isa isa, int64_t element, const std::byte* from, int64_t from_stride, int64_t lines,
               int64_t depths, std::byte* to, int64_t to_stride) {
  const int edge = int(vector_bytes(isa) / element);
  const auto transpose_block = isa == Isa::avx512
                                   ? (element == 4 ? transpose_16x16 : transpose_8x8_wide)
                                   : (element == 4 ? transpose_8x8 : transpose_4x4);
  for (int64_t j = 0; j < lines; j += edge)
    for (int64_t k = 0; k < depths; k += edge)
      transpose_block({from + j * from_stride + k * element, from_stride,
                       int(std::min<int64_t>(edge, lines - j)),
                       int(std::min<int64_t>(edge, depths - k)), to + k * to_stride + j * element,
                       to_stride});
}

}  // namespace encore::jit
