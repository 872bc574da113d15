#include <encore/jit/cpu/contraction_blocks.h>

#include <algorithm>

namespace encore::jit {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Sizes of the caches that blocks are cut for; conservative for current server cores.
constexpr int64_t l1_way_bytes = 4096;
constexpr int64_t a_block_bytes = 384 << 10;
constexpr int64_t b_block_bytes = 4 << 20;
constexpr int64_t depth_block_bytes = 4096;
constexpr int64_t single_use_bytes = 64 << 10;
constexpr int64_t partial_sum_bytes = 4 << 20;

// Cycles that a register tile spends on one contracted point: its multiplications, of which at
// least eight hide their own latency, and a part of its loads.
double tile_cycles(int64_t rows, int64_t vectors) {
  return double(std::max<int64_t>(rows * vectors, 8)) + 0.15 * double(rows + vectors);
}

// The same for n parts of `total` that differ by at most one.
template <class Cost>
double even_parts(int64_t total, int64_t parts, Cost cost) {
  const int64_t base = total / parts, longer = total % parts;
  return double(longer) * (longer ? cost(base + 1) : 0) + double(parts - longer) * cost(base);
}

struct TileChoice {
  int64_t rows = 1, vectors = 1;
  double cycles = 0;  // per contracted point, over the whole rectangle
};

bool reads_a_in_place(const Product& product) {
  return product.a.is_strided() && (product.a.depth_stride() == product.element() ||
                                    product.a.line_stride() == product.element());
}

// Rows of A that can be read side by side before they push each other out of the first-level cache,
// as rows do whose distance is a multiple of large powers of two.
int64_t rows_side_by_side(const Product& product) {
  const int64_t distance = product.a.line_stride();
  if (!reads_a_in_place(product) || product.a.depth_stride() != product.element() || !distance)
    return max_tile_rows;
  return 6 * std::max<int64_t>(1, l1_way_bytes / (distance & -distance));
}

TileChoice choose_tile(const Product& product, int64_t rows, int64_t vectors) {
  const int64_t limit = rows_side_by_side(product);
  // Lines of B that are transposed together are as many streams through memory.
  const int64_t widest = !product.b.along_depth() ? max_tile_vectors : rows < 4 ? 2 : 4;
  TileChoice best;
  for (int64_t v = 1; v <= std::min(widest, vectors); ++v) {
    const int64_t most = std::min<int64_t>(most_tile_rows(product.isa, int(v)), limit);
    if (most < 1) break;
    const int64_t panels = ceil_div(vectors, v), tiles = ceil_div(rows, most);
    const double cycles = even_parts(vectors, panels, [&](int64_t width) {
      return even_parts(rows, tiles, [&](int64_t height) { return tile_cycles(height, width); });
    });
    if (best.cycles == 0 || cycles < best.cycles)
      best = {ceil_div(rows, tiles), ceil_div(vectors, panels), cycles};
  }
  return best;
}

bool reads_b_in_place(const Product& product) {
  return product.b.is_strided() && product.b.line_stride() == product.element();
}

// Rows that one register tile may be cut from.
int64_t rows_together(const Product& product, int64_t rows) {
  const int64_t chunk = product.sink.rows_per_chunk;
  return chunk ? std::min(chunk, rows) : rows;
}

struct Split {
  int64_t rows, columns;  // units
};

// The slowest unit's cycles per contracted point, packing of B included.
double unit_cycles(const Product& product, Split split) {
  const int64_t chunk = std::max<int64_t>(product.sink.rows_per_chunk, 1);
  const int64_t rows =
      std::min(product.rows, ceil_div(ceil_div(product.rows, chunk), split.rows) * chunk);
  const int64_t vectors = ceil_div(ceil_div(product.columns, product.lanes()), split.columns);
  const int64_t together = rows_together(product, rows);
  const double packing = reads_b_in_place(product) ? 1.0 : 4.0;
  return choose_tile(product, together, vectors).cycles * double(rows) / double(together) +
         packing * double(vectors);
}

Split choose_split(const Product& product, int64_t threads) {
  Split best{1, 1};
  if (threads == 1 || product.outers % threads == 0 || product.outers >= 4 * threads) return best;
  const int64_t most_rows =
      ceil_div(product.rows, std::max<int64_t>(product.sink.rows_per_chunk, 1));
  const int64_t most_columns = ceil_div(product.columns, product.lanes());
  double least = 0;
  for (int64_t rows = 1; rows <= std::min(threads, most_rows); ++rows) {
    const int64_t columns = threads / rows;
    if (rows < most_rows && columns == threads / (rows + 1)) continue;  // that cuts finer
    const Split split{rows, std::min(columns, most_columns)};
    const double cycles = unit_cycles(product, split);
    if (least == 0 || cycles < least) {
      least = cycles;
      best = split;
    }
  }
  return best;
}

}  // namespace

double estimated_cycles(const Product& product) {
  return double(product.outers) * double(product.depth + 8) * unit_cycles(product, {1, 1});
}

Plan plan_product(const Product& product, int64_t threads) {
  Plan plan;
  const Split split = choose_split(product, threads);
  const int64_t chunk = std::max<int64_t>(product.sink.rows_per_chunk, 1);
  plan.threads = threads;
  plan.row_units = split.rows;
  plan.column_units = split.columns;
  const int64_t rows =
      std::min(product.rows, ceil_div(ceil_div(product.rows, chunk), plan.row_units) * chunk);
  const int64_t vectors = ceil_div(ceil_div(product.columns, product.lanes()), plan.column_units);
  const TileChoice tile = choose_tile(product, rows_together(product, rows), vectors);
  plan.tile_rows = tile.rows;
  plan.tile_vectors = tile.vectors;

  const int64_t element = product.element();
  plan.packs_a = !reads_a_in_place(product);
  plan.packs_b = !reads_b_in_place(product) || ceil_div(rows, tile.rows) >= 4;
  int64_t most_depth = depth_block_bytes / element;
  // A panel that only one row of tiles reads stays in the first-level cache.
  const bool single_use = plan.packs_b && rows <= tile.rows;
  if (single_use)
    most_depth =
        std::max<int64_t>(32, single_use_bytes / (tile.vectors * vector_bytes(product.isa)));
  const int64_t depth_blocks = std::max<int64_t>(1, ceil_div(product.depth, most_depth));
  plan.depth_block = std::max<int64_t>(4, round_up(ceil_div(product.depth, depth_blocks), 4));
  const int64_t depth_bytes =
      std::min(plan.depth_block, std::max<int64_t>(product.depth, 1)) * element;
  const int64_t most_rows =
      std::max(2 * tile.rows, a_block_bytes / depth_bytes / tile.rows * tile.rows);
  plan.row_block = round_up(ceil_div(rows, ceil_div(rows, most_rows)), tile.rows);
  const int64_t width = tile.vectors * product.lanes();
  const bool keeps_partial_sums = depth_blocks > 1 && !product.stores_directly();
  plan.column_block = round_up(vectors * product.lanes(), width);
  if (plan.row_block < rows || keeps_partial_sums)
    plan.column_block =
        std::min(plan.column_block, std::max(width, b_block_bytes / depth_bytes / width * width));
  if (single_use && product.stores_directly()) plan.column_block = width;  // long runs of memory
  plan.row_group = rows;
  if (keeps_partial_sums)
    plan.row_group =
        std::min(rows, round_up(partial_sum_bytes / (plan.column_block * element), plan.row_block));
  return plan;
}

}  // namespace encore::jit
