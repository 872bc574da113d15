#include <encore/jit/cuda/contraction_device.h>

namespace encore::jit::cuda {

// An operand's tile is LINES rows of a (or columns of b) times DEPTHS contracted points. All
// functions are called by the whole block together; nothing here synchronizes.
std::string_view contraction_tiles() {
  return R"cuda(
namespace contraction {

// Where an element of an operand's tile lies: its line's depths side by side, or its depth's lines.
template <int LINES, int DEPTHS, bool DEPTHS_TOGETHER, int PADDING> struct Layout {
  static constexpr bool depths_together = DEPTHS_TOGETHER;
  static constexpr int pitch = (DEPTHS_TOGETHER ? DEPTHS : LINES) + PADDING;
  static constexpr int elements = (DEPTHS_TOGETHER ? LINES : DEPTHS) * pitch;
  static __device__ int at(int line, int depth) {
    return DEPTHS_TOGETHER ? line * pitch + depth : depth * pitch + line;
  }
};

// Brings an operand's tiles into shared memory through registers. EVALUATE(line, depth) gives an
// element. Neighbouring threads take neighbouring depths (ALONG_DEPTH) or lines. Where a source
// says that there is nothing (beyond line_end or depth_end), zeros are written.
template <class Evaluate, class T, class Layout, int LINES, int DEPTHS, bool ALONG_DEPTH,
          int THREADS>
struct Evaluated {
  static constexpr int count = (LINES * DEPTHS + THREADS - 1) / THREADS;
  const Evaluate& evaluate;
  i64 first_line, line_end, depth_end;
  T values[count];

  static __device__ int number(int i) { return int(threadIdx.x) + i * THREADS; }
  static __device__ int line(int i) { return ALONG_DEPTH ? number(i) / DEPTHS : number(i) % LINES; }
  static __device__ int depth(int i) {
    return ALONG_DEPTH ? number(i) % DEPTHS : number(i) / LINES;
  }
  static __device__ bool exists(int i) {
    return LINES * DEPTHS % THREADS == 0 || number(i) < LINES * DEPTHS;
  }

  __device__ Evaluated(const Evaluate& evaluate, i64 first_line, i64 line_end, i64, i64 depth_end)
      : evaluate(evaluate), first_line(first_line), line_end(line_end), depth_end(depth_end) {}
  // Begins to bring the tile of the depths from `first_depth` on; `end` completes it.
  template <class Element> __device__ void begin(Element*, i64 first_depth) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const i64 l = first_line + line(i), d = first_depth + depth(i);
      values[i] = exists(i) && l < line_end && d < depth_end ? evaluate(l, d) : T(0);
    }
  }
  template <class Multiplier, class Element> __device__ void end(Element* tile) const {
#pragma unroll
    for (int i = 0; i < count; ++i)
      if (exists(i)) tile[Layout::at(line(i), depth(i))] = Multiplier::element(values[i]);
  }
};

template <class At, bool LINEAR> struct Locate {
  static constexpr bool linear = LINEAR;
  At at;
  bool aligned;
  i64 step;
};

// Copies an operand's tiles as they lie in memory, 16 bytes at a time where all such pieces are
// aligned. LOCATE.at(line, depth) points to an element; LOCATE.aligned says whether pieces that
// begin at multiples of 16 bytes from an aligned element are aligned; where LOCATE.linear, lines
// (or depths, where lines lie side by side) are LOCATE.step elements apart.
template <class Locate, class Element, class Layout, int LINES, int DEPTHS, int THREADS>
struct Copied {
  static constexpr bool along_depth = Layout::depths_together;
  static constexpr int piece = 16 / sizeof(Element);
  static constexpr int across = (along_depth ? DEPTHS : LINES) / piece;
  static constexpr int pieces = LINES * DEPTHS / piece;
  static constexpr int count = (pieces + THREADS - 1) / THREADS;
  static constexpr bool steps = Locate::linear && THREADS % across == 0;
  const Locate& locate;
  i64 first_line, depth_end;
  int lines;  // of the tile that exist
  bool aligned;

  __device__ Copied(const Locate& locate, i64 first_line, i64 line_end, i64 first_depth,
                    i64 depth_end)
      : locate(locate), first_line(first_line), depth_end(depth_end),
        lines(int(line_end - first_line < LINES ? line_end - first_line : LINES)),
        aligned(locate.aligned && (u64)locate.at(first_line, first_depth) % 16 == 0) {}
  static __device__ int line(int number) {
    return along_depth ? number / across : number % across * piece;
  }
  static __device__ int depth(int number) {
    return along_depth ? number % across * piece : number / across;
  }
  __device__ void begin(Element* tile, i64 first_depth) {
    const int depths = int(depth_end - first_depth < DEPTHS ? depth_end - first_depth : DEPTHS);
    const Element* const first =
        locate.at(first_line + line(int(threadIdx.x)), first_depth + depth(int(threadIdx.x)));
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int number = int(threadIdx.x) + i * THREADS;
      if (pieces % THREADS != 0 && number >= pieces) return;
      const int l = line(number), d = depth(number);
      const int left = along_depth ? depths - d : lines - l;
      const int here = (along_depth ? l < lines : d < depths)
                           ? (left < 0 ? 0 : left < piece ? left : piece)
                           : 0;
      Element* const to = tile + Layout::at(l, d);
      const Element* const from = steps ? first + i * (THREADS / across) * locate.step
                                        : locate.at(first_line + l, first_depth + d);
      if (aligned)
        copy_16(to, from, here * int(sizeof(Element)));
      else
        for (int k = 0; k < piece; ++k) copy_one(to + k, from + (k < here ? k : 0), k < here);
    }
  }
  template <class Multiplier> __device__ void end(Element*) const {}
};

template <class T> __device__ T multiply_add(T a, T b, T c) {
  typedef unsigned long long word;
  return T(word(a) * word(b) + word(c));
}
template <> __device__ float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
template <> __device__ double multiply_add(double a, double b, double c) {
  return __fma_rn(a, b, c);
}

template <class T, int N> struct alignas(N * sizeof(T)) Vector { T values[N]; };

// Each thread multiplies ROWS x COLUMNS of the tile's points, each by one chain over ascending
// depths. Its points lie in groups of VECTOR side by side.
template <class T, int TILE_ROWS, int TILE_COLUMNS, int DEPTHS, int ROWS, int COLUMNS, int VECTOR>
struct Scalar {
  typedef T Element;
  typedef T Sum;
  typedef Layout<TILE_ROWS, DEPTHS, false, VECTOR> LayoutA;
  typedef Layout<TILE_COLUMNS, DEPTHS, false, VECTOR> LayoutB;
  static constexpr int depths = DEPTHS, threads_across = TILE_COLUMNS / COLUMNS;
  T sums[ROWS][COLUMNS];

  static __device__ T element(T value) { return value; }
  static __device__ int row(int i) {
    return i / VECTOR * (TILE_ROWS / ROWS * VECTOR) + int(threadIdx.x) / threads_across * VECTOR +
           i % VECTOR;
  }
  static __device__ int column(int j) {
    return j / VECTOR * (TILE_COLUMNS / COLUMNS * VECTOR) +
           int(threadIdx.x) % threads_across * VECTOR + j % VECTOR;
  }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) sums[i][j] = T(0);
  }
  __device__ void multiply(const T* tile_a, const T* tile_b) {
    typedef Vector<T, VECTOR> Group;
#pragma unroll
    for (int depth = 0; depth < DEPTHS; ++depth) {
      Group a[ROWS / VECTOR], b[COLUMNS / VECTOR];
#pragma unroll
      for (int i = 0; i < ROWS; i += VECTOR)
        a[i / VECTOR] = *reinterpret_cast<const Group*>(tile_a + LayoutA::at(row(i), depth));
#pragma unroll
      for (int j = 0; j < COLUMNS; j += VECTOR)
        b[j / VECTOR] = *reinterpret_cast<const Group*>(tile_b + LayoutB::at(column(j), depth));
#pragma unroll
      for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
          sums[i][j] = multiply_add(a[i / VECTOR].values[i % VECTOR],
                                    b[j / VECTOR].values[j % VECTOR], sums[i][j]);
    }
  }
  __device__ void write(T* tile, int pitch) const {
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) tile[row(i) * pitch + column(j)] = sums[i][j];
  }
};

// How numbers enter a tensor core. `depth`: contracted points of one instruction.
struct Tf32 {
  typedef float Element;
  static constexpr int depth = 8;
  static __device__ float element(float value) { return value; }
  // The tensor core cuts off 13 bits. So a little less than a unit of what stays is added before,
  // half of it on average: that keeps numbers of 11 bits, NaN and infinities as they are.
  static __device__ unsigned operand(unsigned bits) {
    return __float_as_uint(__fmul_rn(__uint_as_float(bits), 1.0f + 0x1.6p-12f));
  }
  static __device__ void step(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_tf32(sums, a, b);
  }
};
struct Brain {  // bf16
  typedef unsigned short Element;
  static constexpr int depth = 16;
  static __device__ unsigned short element(float value) { return brain_bits(value); }
  static __device__ unsigned operand(unsigned bits) { return bits; }
  static __device__ void step(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_bf16(sums, a, b);
  }
};
struct Half {  // f16
  typedef unsigned short Element;
  static constexpr int depth = 16;
  static __device__ unsigned short element(float value) { return half_bits(value); }
  static __device__ unsigned operand(unsigned bits) { return bits; }
  static __device__ void step(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_f16(sums, a, b);
  }
};
// f32 as a sum of two tf32; what is lost is of the order of 2^-21 of a product. Infinities and
// numbers next to overflow give NaN: whoever meets one computes that sum again.
struct SplitTf32 {
  typedef float Element;
  static constexpr int depth = 8;
  static __device__ float element(float value) { return value; }
};

// Products of fragments on tensor cores; WARPS_DOWN x WARPS_ACROSS warps share the tile.
template <class Kind, int TILE_ROWS, int TILE_COLUMNS, int DEPTHS, int WARPS_DOWN, int WARPS_ACROSS,
          bool A_DEPTHS_TOGETHER, bool B_DEPTHS_TOGETHER>
struct Tensor {
  typedef typename Kind::Element Element;
  typedef float Sum;
  static constexpr int word = 4 / sizeof(Element);  // elements of a register
  // These paddings keep the lanes of a fragment in different banks.
  typedef Layout<TILE_ROWS, DEPTHS, A_DEPTHS_TOGETHER, A_DEPTHS_TOGETHER ? 4 * word : 8> LayoutA;
  typedef Layout<TILE_COLUMNS, DEPTHS, B_DEPTHS_TOGETHER, B_DEPTHS_TOGETHER ? 4 * word : 8> LayoutB;
  static constexpr int rows = TILE_ROWS / WARPS_DOWN / 16;  // of instructions, in a warp
  static constexpr int columns = TILE_COLUMNS / WARPS_ACROSS / 8;
  static constexpr int depths = DEPTHS, step = Kind::depth;
  static_assert(rows * 16 * WARPS_DOWN == TILE_ROWS, "");
  static_assert(columns * 8 * WARPS_ACROSS == TILE_COLUMNS, "");
  float sums[rows][columns][4];

  template <class V> static __device__ Element element(V value) { return Kind::element(value); }
  static __device__ int lane() { return int(threadIdx.x) % 32; }
  static __device__ int first_row() {
    return int(threadIdx.x) / 32 % WARPS_DOWN * (TILE_ROWS / WARPS_DOWN);
  }
  static __device__ int first_column() {
    return int(threadIdx.x) / 32 / WARPS_DOWN * (TILE_COLUMNS / WARPS_ACROSS);
  }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) sums[i][j][k] = 0;
  }

  // The register of a fragment that holds (line, depth) and, of 16-bit elements, its successor in
  // depth.
  template <class Layout>
  static __device__ unsigned gather(const float* tile, int line, int depth) {
    return __float_as_uint(tile[Layout::at(line, depth)]);
  }
  template <class Layout>
  static __device__ unsigned gather(const unsigned short* tile, int line, int depth) {
    return unsigned(tile[Layout::at(line, depth)]) |
           unsigned(tile[Layout::at(line, depth + 1)]) << 16;
  }
  // 8 lines by 16 bytes of depth are one matrix of an `ldmatrix`.
  static constexpr bool loads_a = A_DEPTHS_TOGETHER || word == 2;
  static constexpr bool loads_b = (B_DEPTHS_TOGETHER || word == 2) && columns % 2 == 0;
  static __device__ void fragment_a(unsigned (&a)[4], const Element* tile, int line, int depth) {
    if (loads_a) {
      const int matrix = lane() / 8, place = lane() % 8, lines = matrix % 2 * 8;
      const int depths = matrix / 2 * 4 * word;
      load_matrices<!A_DEPTHS_TOGETHER>(
          a, tile + (A_DEPTHS_TOGETHER ? LayoutA::at(line + lines + place, depth + depths)
                                       : LayoutA::at(line + lines, depth + depths + place)));
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        a[k] = gather<LayoutA>(tile, line + lane() / 4 + k % 2 * 8,
                               depth + (lane() % 4 + k / 2 * 4) * word);
    }
  }
  static __device__ void fragments_b(unsigned (&b)[columns][2], const Element* tile, int line,
                                     int depth) {
    if (loads_b) {
      const int matrix = lane() / 8, place = lane() % 8, lines = matrix / 2 * 8;
      const int depths = matrix % 2 * 4 * word;
#pragma unroll
      for (int j = 0; j + 1 < columns; j += 2) {
        unsigned four[4];
        load_matrices<!B_DEPTHS_TOGETHER>(
            four, tile + (B_DEPTHS_TOGETHER
                              ? LayoutB::at(line + j * 8 + lines + place, depth + depths)
                              : LayoutB::at(line + j * 8 + lines, depth + depths + place)));
#pragma unroll
        for (int k = 0; k < 4; ++k) b[j + k / 2][k % 2] = four[k];
      }
    } else {
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 2; ++k)
          b[j][k] = gather<LayoutB>(tile, line + j * 8 + lane() / 4,
                                    depth + (lane() % 4 + k * 4) * word);
    }
  }

  __device__ void multiply(const Element* tile_a, const Element* tile_b) {
    multiply(tile_a, tile_b, Kind());
  }
  template <class Single>
  __device__ void multiply(const Element* tile_a, const Element* tile_b, Single) {
#pragma unroll
    for (int depth = 0; depth < DEPTHS; depth += step) {
      unsigned a[rows][4], b[columns][2];
      fragments_b(b, tile_b, first_column(), depth);
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 2; ++k) b[j][k] = Single::operand(b[j][k]);
#pragma unroll
      for (int i = 0; i < rows; ++i) {
        fragment_a(a[i], tile_a, first_row() + i * 16, depth);
#pragma unroll
        for (int k = 0; k < 4; ++k) a[i][k] = Single::operand(a[i][k]);
      }
#pragma unroll
      for (int i = 0; i < rows; ++i)
#pragma unroll
        for (int j = 0; j < columns; ++j) Single::step(sums[i][j], a[i], b[j]);
    }
  }
  // Tensor cores cut off what does not fit into a sum; so sums of one tile are made apart, small
  // products first, and added with rounding.
  __device__ void multiply(const Element* tile_a, const Element* tile_b, SplitTf32) {
    float parts[rows][columns][4] = {};
#pragma unroll
    for (int depth = 0; depth < DEPTHS; depth += step) {
      unsigned b[columns][2], high_b[columns][2], low_b[columns][2];
      fragments_b(b, tile_b, first_column(), depth);
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 2; ++k) split(high_b[j][k], low_b[j][k], b[j][k]);
#pragma unroll
      for (int i = 0; i < rows; ++i) {
        unsigned a[4], high_a[4], low_a[4];
        fragment_a(a, tile_a, first_row() + i * 16, depth);
#pragma unroll
        for (int k = 0; k < 4; ++k) split(high_a[k], low_a[k], a[k]);
#pragma unroll
        for (int j = 0; j < columns; ++j) multiply_tf32(parts[i][j], low_a, high_b[j]);
#pragma unroll
        for (int j = 0; j < columns; ++j) multiply_tf32(parts[i][j], high_a, low_b[j]);
#pragma unroll
        for (int j = 0; j < columns; ++j) multiply_tf32(parts[i][j], high_a, high_b[j]);
      }
    }
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) sums[i][j][k] = __fadd_rn(sums[i][j][k], parts[i][j][k]);
  }
  static __device__ void split(unsigned& high, unsigned& low, unsigned bits) {
    high = (bits + 0x1000u) & 0xffffe000u;
    low = __float_as_uint(__fsub_rn(__uint_as_float(bits), __uint_as_float(high)));
  }

  __device__ void write(float* tile, int pitch) const {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 4; k += 2) {
          const int row = first_row() + i * 16 + lane() / 4 + k / 2 * 8;
          const int column = first_column() + j * 8 + lane() % 4 * 2;
          Vector<float, 2> pair = {{sums[i][j][k], sums[i][j][k + 1]}};
          *reinterpret_cast<Vector<float, 2>*>(tile + row * pitch + column) = pair;
        }
  }
};

// All products of a tile over [depth_begin, depth_end). While one pair of tiles is multiplied, the
// next STAGES - 1 are on their way. Ends with the tiles free for other use.
template <int STAGES, class Multiplier, class SourceA, class SourceB>
__device__ void multiply_tiles(Multiplier& multiplier, unsigned char* shared, SourceA& a,
                               SourceB& b, i64 depth_begin, i64 depth_end) {
  typedef typename Multiplier::Element Element;
  constexpr int tile_a = Multiplier::LayoutA::elements;
  constexpr int stage = tile_a + Multiplier::LayoutB::elements;
  constexpr int depths = Multiplier::depths;
  Element* const tiles = reinterpret_cast<Element*>(shared);
  multiplier.clear();
  int now = 0, next = 0;
  // The first STAGES - 1 turns only send for tiles.
#pragma unroll 1
  for (i64 depth = depth_begin - (STAGES - 1) * depths; depth < depth_end; depth += depths) {
    const bool arrived = depth >= depth_begin;
    if (arrived) {
      wait_for_copies<STAGES - 2>();
      __syncthreads();
    }
    const i64 coming = depth + (STAGES - 1) * depths;
    Element* const tile = tiles + next * stage;
    if (coming < depth_end) {
      a.begin(tile, coming);
      b.begin(tile + tile_a, coming);
    }
    close_copies();
    if (arrived) {
      multiplier.multiply(tiles + now * stage, tiles + now * stage + tile_a);
      now = now + 1 == STAGES ? 0 : now + 1;
    }
    if (coming < depth_end) {
      a.template end<Multiplier>(tile);
      b.template end<Multiplier>(tile + tile_a);
    }
    next = next + 1 == STAGES ? 0 : next + 1;
  }
  __syncthreads();
}

}  // namespace contraction
)cuda";
}

}  // namespace encore::jit::cuda
