#include <encore/core/error.h>
#include <encore/jit/cpu/contraction_blocks.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace encore::jit {
namespace {

constexpr int64_t line_bytes = 64;
constexpr int64_t finisher_tile_bytes = 16 << 10;
constexpr int64_t widest_total = 8;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// A distance between rows that spreads them over all cache sets.
int64_t spread_stride(int64_t bytes) {
  const int64_t lines = ceil_div(std::max<int64_t>(bytes, 1), line_bytes);
  return (lines | 1) * line_bytes;
}

// Memory for packed operands and tiles, kept by each thread.
class Scratch {
 public:
  std::byte* at_least(size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      size_ = 0;
      const size_t rounded = (bytes + 4095) / 4096 * 4096;
      data_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, rounded)));
      if (!data_) throw OutOfMemory(rounded, 0, {});
      size_ = rounded;
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

struct Interval {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Part `index` of `parts` nearly equal ones of `total` units of `grain`, clipped to `limit`.
Interval part(int64_t limit, int64_t grain, int64_t parts, int64_t index) {
  const int64_t units = ceil_div(limit, grain);
  return {std::min(limit, units * index / parts * grain),
          std::min(limit, units * (index + 1) / parts * grain)};
}

MicroTile tile_of(const Product& product, const Plan& plan, int64_t rows, int64_t vectors,
                  int64_t columns) {
  const int64_t lanes = product.lanes(), tail = columns % lanes;
  const bool along_depth =
      plan.packs_a ? product.a.along_depth() : product.a.depth_stride() == product.element();
  return {.isa = product.isa,
          .dtype = product.dtype,
          .rows = uint8_t(rows),
          .vectors = uint8_t(vectors),
          .a_order = along_depth ? AOrder::depth_contiguous : AOrder::row_contiguous,
          .masked = tail != 0,
          .half_tail = tail && product.isa == Isa::avx512 && tail <= lanes / 2};
}

// Columns that share packed rows of B.
struct Panel {
  int64_t column, columns, vectors;
  const std::byte* b;  // its first row
  int64_t b_depth;
  std::byte* packed;
  bool to_copy;  // the first tile of rows copies B from where it is to `packed`
};

class UnitRunner {
 public:
  UnitRunner(const Product& product, const Plan& plan, int64_t unit)
      : product_(product), plan_(plan), element_(product.element()), lanes_(product.lanes()) {
    rows_ = part(product.rows, std::max<int64_t>(product.sink.rows_per_chunk, 1), plan.row_units,
                 unit % plan.row_units);
    unit /= plan.row_units;
    columns_ = part(product.columns, lanes_, plan.column_units, unit % plan.column_units);
    outer_ = unit / plan.column_units;
    direct_ = product.stores_directly();
    whole_depth_ = product.depth <= plan.depth_block;
    copies_b_ = plan.packs_b && product.b.is_strided() && product.b.line_stride() == element_;
    single_row_block_ = std::min(rows_.size(), plan.row_group) <= plan.row_block;
    lay_out_scratch();
  }

  void run() {
    for (int64_t c = columns_.begin; c < columns_.end; c += plan_.column_block) {
      block_columns_ = {c, std::min(columns_.end, c + plan_.column_block)};
      for (int64_t r = rows_.begin; r < rows_.end; r += plan_.row_group)
        run_row_group({r, std::min(rows_.end, r + plan_.row_group)});
    }
  }

 private:
  void lay_out_scratch() {
    const int64_t depth = std::min(plan_.depth_block, std::max<int64_t>(product_.depth, 1));
    const int64_t panel_width = plan_.tile_vectors * lanes_;
    const int64_t kept_columns =
        single_row_block_ ? panel_width
                          : std::min(plan_.column_block, round_up(columns_.size(), lanes_));
    const int64_t block_rows = std::min(plan_.row_block, rows_.size());
    const int64_t group_rows = std::min(plan_.row_group, rows_.size());
    int64_t bytes = 0;
    auto reserve = [&](bool wanted, int64_t size) {
      const int64_t at = bytes;
      if (wanted) bytes += round_up(size, line_bytes) + line_bytes;
      return at;
    };
    a_along_depth_ = product_.a.along_depth();
    a_stride_ = spread_stride((a_along_depth_ ? depth : block_rows) * element_);
    b_line_stride_ = spread_stride(depth * element_);
    tile_row_limit_ =
        std::max<int64_t>(plan_.tile_rows, finisher_tile_bytes / (panel_width * element_) /
                                               plan_.tile_rows * plan_.tile_rows);
    partial_stride_ = spread_stride(std::min(plan_.column_block, columns_.size()) * element_);
    const int64_t a = reserve(plan_.packs_a, a_stride_ * (a_along_depth_ ? block_rows : depth));
    const int64_t b = reserve(plan_.packs_b, kept_columns * depth * element_);
    const int64_t lines = reserve(plan_.packs_b && !copies_b_, panel_width * b_line_stride_);
    const int64_t sums = reserve(!direct_, whole_depth_ ? tile_row_limit_ * panel_width * element_
                                                        : group_rows * partial_stride_);
    const int64_t totals =
        reserve(true, widest_total * product_.sink.column_accumulators * columns_.size());
    thread_local Scratch scratch;
    std::byte* base = scratch.at_least(size_t(bytes));
    packed_a_ = base + a;
    packed_b_ = base + b;
    b_lines_ = base + lines;
    sums_ = base + sums;
    totals_ = base + totals;
  }

  void run_row_group(Interval rows) {
    group_ = rows;
    int64_t k = 0;
    do {
      depth_ = {k, std::min(product_.depth, k + plan_.depth_block)};
      for (int64_t r = rows.begin; r < rows.end; r += plan_.row_block)
        run_row_block({r, std::min(rows.end, r + plan_.row_block)});
      k = depth_.end;
    } while (k < product_.depth);
  }

  void run_row_block(Interval rows) {
    if (plan_.packs_a) pack_a(rows);
    const int64_t vectors = ceil_div(block_columns_.size(), lanes_);
    const int64_t panels = ceil_div(vectors, plan_.tile_vectors);
    int64_t first = 0;
    for (int64_t i = 0; i < panels; ++i) {
      const int64_t width = vectors / panels + (i < vectors % panels);
      const int64_t column = block_columns_.begin + first * lanes_;
      Panel panel = prepare_panel(column, std::min(block_columns_.end, column + width * lanes_),
                                  width, rows.begin == group_.begin);
      run_panel(rows, panel);
      first += width;
    }
  }

  void pack_a(Interval rows) {
    packed_rows_begin_ = rows.begin;
    fill(product_.a, {packed_a_, a_stride_ / element_, outer_, rows.begin, rows.size(),
                      depth_.begin, depth_.size()});
  }

  Panel prepare_panel(int64_t column, int64_t end, int64_t vectors, bool first_rows) {
    Panel panel{column, end - column, vectors, nullptr, 0, nullptr, false};
    if (plan_.packs_b) {
      const int64_t kept = single_row_block_ ? 0 : column - block_columns_.begin;
      panel.packed = packed_b_ + kept * depth_.size() * element_;
      panel.b_depth = vectors * lanes_ * element_;
      panel.b = panel.packed;
      if (first_rows && !copies_b_) pack_b(panel);
    }
    if (!plan_.packs_b || (copies_b_ && first_rows)) {
      panel.b = product_.b.at(outer_, column, depth_.begin);
      panel.b_depth = product_.b.depth_stride();
      panel.to_copy = plan_.packs_b;
    }
    return panel;
  }

  void pack_b(const Panel& panel) {
    const Operand& b = product_.b;
    const int64_t width = panel.vectors * lanes_;
    if (!b.along_depth()) {
      fill(b,
           {panel.packed, width, outer_, panel.column, panel.columns, depth_.begin, depth_.size()});
      return;
    }
    const std::byte* lines = b_lines_;
    int64_t stride = b_line_stride_;
    if (b.is_strided()) {
      lines = b.at(outer_, panel.column, depth_.begin);
      stride = b.line_stride();
    } else {
      fill(b, {b_lines_, stride / element_, outer_, panel.column, panel.columns, depth_.begin,
               depth_.size()});
    }
    transpose(product_.isa, element_, lines, stride, panel.columns, depth_.size(), panel.packed,
              width * element_);
  }

  // Runs a block of rows on one panel, in pieces that a finisher can take.
  void run_panel(Interval rows, Panel& panel) {
    if (direct_) {
      run_piece(rows, panel);
      return;
    }
    const int64_t chunk = product_.sink.rows_per_chunk;
    for (int64_t r = rows.begin; r < rows.end;) {
      int64_t end = std::min(rows.end, r + tile_row_limit_);
      if (chunk) end = std::min(end, (r / chunk + 1) * chunk);
      run_piece({r, end}, panel);
      if (depth_.end == product_.depth) finish({r, end}, panel);
      r = end;
    }
  }

  // Cuts rows into tiles of nearly equal height and multiplies them.
  void run_piece(Interval rows, Panel& panel) {
    const int64_t tiles = ceil_div(rows.size(), plan_.tile_rows);
    const int64_t height = rows.size() / tiles;
    int64_t higher = rows.size() % tiles, equal = tiles - higher, row = rows.begin;
    auto run = [&](int64_t rows_of_tile, int64_t count, bool copies) {
      if (count == 0) return;
      multiply(row, rows_of_tile, count, rows.begin, panel, copies);
      row += rows_of_tile * count;
    };
    if (panel.to_copy) {
      run(height + (higher > 0), 1, true);
      --(higher > 0 ? higher : equal);
      panel.to_copy = false;
      panel.b = panel.packed;
      panel.b_depth = panel.vectors * lanes_ * element_;
    }
    run(height + 1, higher, false);
    run(height, equal, false);
  }

  void multiply(int64_t row, int64_t height, int64_t tiles, int64_t piece_begin, const Panel& panel,
                bool copies) {
    MicroTile tile = tile_of(product_, plan_, height, panel.vectors, panel.columns);
    tile.copies_b = copies;
    MicroCall call;
    call.a_row = plan_.packs_a ? a_stride_ : product_.a.line_stride();
    call.a_depth = plan_.packs_a ? a_stride_ : product_.a.depth_stride();
    if (plan_.packs_a) {
      const int64_t r = row - packed_rows_begin_;
      call.a = packed_a_ + r * (a_along_depth_ ? a_stride_ : element_);
    } else {
      call.a = product_.a.at(outer_, row, depth_.begin);
    }
    call.a_tile = height * (tile.a_order == AOrder::depth_contiguous ? call.a_row : element_);
    call.b = panel.b;
    call.b_depth = panel.b_depth;
    call.c = sums_at(row, piece_begin, panel, &call.c_row);
    call.c_tile = height * call.c_row;
    call.tiles = tiles;
    call.depth = depth_.size();
    call.accumulate = depth_.begin != 0;
    call.tail = panel.columns % lanes_;
    call.b_copy = panel.packed;
    micro_kernel(tile)(&call);
  }

  std::byte* sums_at(int64_t row, int64_t piece_begin, const Panel& panel, int64_t* stride) const {
    const Sink& sink = product_.sink;
    if (direct_) {
      *stride = sink.rows.stride(element_);
      return sink.base + sink.outer.offset(outer_) + sink.rows.offset(row) +
             panel.column * element_;
    }
    if (whole_depth_) {
      *stride = panel.vectors * lanes_ * element_;
      return sums_ + (row - piece_begin) * *stride;
    }
    *stride = partial_stride_;
    return sums_ + (row - group_.begin) * partial_stride_ +
           (panel.column - block_columns_.begin) * element_;
  }

  void finish(Interval rows, const Panel& panel) {
    const Sink& sink = product_.sink;
    int64_t stride;
    const std::byte* sums = sums_at(rows.begin, rows.begin, panel, &stride);
    if (sink.finish) {
      const Tile tile{sums,
                      stride / element_,
                      outer_,
                      rows.begin,
                      rows.size(),
                      panel.column,
                      panel.columns,
                      totals_ + widest_total * (panel.column - columns_.begin),
                      widest_total * columns_.size()};
      sink.finish(sink.segment->arguments, sink.segment->sizes, sink.segment->scalars, &tile);
      return;
    }
    for (int64_t r = rows.begin; r < rows.end; ++r)
      scatter(element_, sink.columns, sink.base + sink.outer.offset(outer_) + sink.rows.offset(r),
              panel.column, panel.columns, sums + (r - rows.begin) * stride);
  }

  const Product& product_;
  const Plan& plan_;
  const int64_t element_, lanes_;
  int64_t outer_;
  Interval rows_, columns_;                 // of this unit
  Interval block_columns_, group_, depth_;  // of this block
  bool direct_, whole_depth_, copies_b_, single_row_block_, a_along_depth_;
  int64_t a_stride_, b_line_stride_, tile_row_limit_, partial_stride_;
  int64_t packed_rows_begin_ = 0;
  std::byte *packed_a_, *packed_b_, *b_lines_, *sums_, *totals_;
};

}  // namespace

int64_t unit_count(const Product& product, const Plan& plan) {
  return product.outers * plan.row_units * plan.column_units;
}

void run_unit(const Product& product, const Plan& plan, int64_t unit) {
  UnitRunner(product, plan, unit).run();
}

MicroTile main_tile(const Product& product, const Plan& plan) {
  const int64_t chunk = std::max<int64_t>(product.sink.rows_per_chunk, 1);
  const int64_t rows =
      std::min(part(product.rows, chunk, plan.row_units, 0).size(), plan.row_block);
  const int64_t tiles = ceil_div(rows, plan.tile_rows), higher = rows % tiles;
  const Interval unit = part(product.columns, product.lanes(), plan.column_units, 0);
  const int64_t columns = std::min(unit.size(), plan.column_block);
  const int64_t vectors = ceil_div(columns, product.lanes());
  const int64_t panels = ceil_div(vectors, plan.tile_vectors);
  return tile_of(product, plan, rows / tiles + (2 * higher > tiles), ceil_div(vectors, panels),
                 panels > 1 ? 0 : columns);  // the last panel alone may have a tail
}

void finish_empty(const Product& product) {
  const Sink& sink = product.sink;
  if (!sink.finish) return;
  const int64_t chunk = sink.rows_per_chunk ? sink.rows_per_chunk : product.rows;
  // A row scalar has a total even where there are no columns.
  const int64_t stride = widest_total * std::max<int64_t>(1, product.columns);
  std::unique_ptr<std::byte[]> totals(
      new std::byte[size_t(stride * std::max<int64_t>(1, sink.column_accumulators))]);
  for (int64_t outer = 0; outer < product.outers; ++outer) {
    int64_t row = 0;
    do {
      const int64_t rows = std::min(chunk, product.rows - row);
      const Tile tile{nullptr, product.columns, outer,        row,   rows,
                      0,       product.columns, totals.get(), stride};
      sink.finish(sink.segment->arguments, sink.segment->sizes, sink.segment->scalars, &tile);
      row += rows;
    } while (row < product.rows);
  }
}

}  // namespace encore::jit
