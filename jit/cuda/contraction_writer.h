// Writes one function of a contraction: what is fixed comes from contraction_tiles.cpp; here are
// the operands' programs, the walk over tiles and the epilogue.
#pragma once
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/spell_in_range.h>
#include <encore/jit/cuda/spell_instruction.h>
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace encore::jit::cuda {

class FunctionWriter {
 public:
  FunctionWriter(const Kernel& kernel, const ContractionPlan& plan, const Target& target)
      : kernel_(kernel),
        contraction_(*kernel.contraction),
        plan_(plan),
        target_(target),
        spelling_(kernel) {}

  /// The function's body, after the parameters' names are bound.
  std::string write();

 private:
  template <class... Parts>
  void line(fmt::format_string<Parts...> format, Parts&&... parts) {
    text_ += "  ";
    fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
    text_ += '\n';
  }

  // contraction_write.cpp: indices and programs.
  std::string size(SizeId id) const;
  std::vector<uint32_t> axes_of(Role role) const;
  std::string points(Role role) const;
  /// Declares the indices of a role's axes from the number of the point among all of the role.
  void decompose(Role role, const std::string& number);
  void write_instructions(uint32_t begin, uint32_t end);
  void write_instruction(uint32_t i);
  std::string spell_pure(const Instruction& instruction) const;
  std::string element(const Access& access) const;
  std::string spell_load(const Access& access, DType dtype) const;
  std::string stored(const Access& access, const std::string& value) const;
  void write_store(const Instruction& store);
  void write_stages(StageKind kind);
  void write_extents();
  /// What brings the operand's tiles: `source_a` or `source_b`, made once a tile of products.
  void write_source(bool a);
  /// `locate_a` or `locate_b`, see contraction::Copied.
  void write_location(bool a);
  /// `load_a(row, depth)` or `load_b(column, depth)` at the block's outer point.
  void write_operand(bool a);
  std::string_view value_type() const { return type_name(contraction_.dtype); }

  // contraction_write.cpp: the walk over tiles.
  std::string multiplier() const;
  void write_types();
  /// Which tiles, and which part of the contracted points, are this block's.
  void write_place();
  void write_products();
  void write_copied_products();

  // contraction_wgmma.cpp: likewise by warpgroups.
  void write_boxed_types();
  /// `load_a(to, depth, barrier)` or `load_b`: sends for the boxes of a tile.
  void write_boxes(bool a);
  void write_boxed_products();

  // contraction_epilogue.cpp: the epilogue.
  /// Columns of the tile that this block finishes; with several splits each takes some.
  int width() const { return plan_.columns / plan_.splits; }
  int groups() const;
  void write_totals();
  /// Rows that a thread finishes in step, so that their loads are under way together.
  int batch() const;
  /// Then nothing that the epilogue loads has to wait for the products.
  bool loads_before_products() const { return batch() * groups() == plan_.rows; }
  enum class Early : uint8_t { no, column, element };
  /// Whether a load of the sweep may come before all else: its place is known, and no instruction
  /// before it writes there. `column`: it is the same in all rows.
  Early early_load(const Stage& stage, uint32_t id) const;
  template <class Do>
  void for_early_loads(Early kind, Do&& act) const {
    for (const Stage& stage : kernel_.stages) {
      if (stage.kind != StageKind::sweep) continue;
      for (uint32_t id = stage.begin; id < stage.end; ++id)
        if (early_load(stage, id) == kind) act(id);
    }
  }
  /// Do the sizes, all known, fill every tile? Then no element asks whether it exists, and the
  /// rows of a batch are computed side by side.
  bool has_whole_rows() const;
  bool has_whole_columns() const;
  /// Whether the thread's column and this row exist.
  std::string in_tile(const std::string& row) const;
  void write_column_loads();
  /// Into early_ID[batch], for the rows from `tile_row` on.
  void write_element_loads(const std::string& tile_row);
  void write_epilogue();
  /// ready[batch]: the products of the rows from `base` on.
  void write_ready();
  /// All columns may need its values; the first one stores and accumulates.
  void write_row_stage(const Stage& stage);
  void write_sweep(const Stage& stage);
  static bool is_store(Opcode op) { return op == Opcode::store || op == Opcode::store_add; }
  void feed(const Stage& stage);
  std::string combined(const Accumulator& accumulator, const std::string& a,
                       const std::string& b) const;
  /// The groups' totals are added in the groups' order and leave.
  void write_finish();
  void write_total(uint32_t i, bool of_sweep);

  const Kernel& kernel_;
  const Contraction& contraction_;
  const ContractionPlan& plan_;
  const Target& target_;
  RangedSpelling spelling_;
  std::string text_;
};

}  // namespace encore::jit::cuda
