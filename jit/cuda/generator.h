// Writes the functions of one kernel.
//
// A function decodes its block's place, then walks points in *batches*: first all loads of a batch
// that depend on positions alone, then, vector by vector, everything else. Names of values live as
// long as the scope that declares them: the thread, a row, a vector of elements, an element.
#pragma once
#include <encore/jit/cuda/reuse.h>
#include <encore/jit/cuda/schedule.h>
#include <encore/jit/cuda/spell_in_range.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

namespace encore::jit::cuda {

/// Lines of text, indented by their depth.
class Text {
 public:
  template <class... Parts>
  void line(fmt::format_string<Parts...> format, Parts&&... parts) {
    text_.append(2 * depth_, ' ');
    fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
    text_ += '\n';
  }
  template <class... Parts>
  void open(fmt::format_string<Parts...> format, Parts&&... parts) {
    line("{} {{", fmt::format(format, std::forward<Parts>(parts)...));
    ++depth_;
  }
  void close(const char* after = "") {
    --depth_;
    line("}}{}", after);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  size_t depth_ = 0;
};

class Generator {
 public:
  Generator(const Kernel& kernel, const Target& target, std::string symbol);
  std::string run();

 private:
  enum class Scope : uint8_t { thread, row, vector, element };
  struct Batch {
    std::vector<uint32_t> stages;
    uint32_t count = 1;           // vectors
    std::function<void()> place;  // declares the positions of vector u, and `valid`
    bool always_valid = false;
    bool kept = false;  // values may be kept in arrays of the row
  };

  // generator.cpp: functions and what all shapes share.
  void emit_parameters();
  void emit_function(uint32_t number);
  void emit_segment();
  void emit_body(uint32_t vector);
  void find_scopes();
  void emit_thread_values();
  Scope scope_of(ValueId id) const { return scopes_[id]; }
  std::string size(SizeId id) const;
  std::string product(Role role) const;
  std::string fixed_extent(uint32_t axis) const;
  void decode(const std::string& number, Role first, Role last);
  std::vector<uint32_t> axes_between(Role first, Role last) const;
  std::string index_type() const { return schedule_.wide ? "i64" : "i32"; }
  bool has_inner() const { return fixed_points(kernel_, Role::inner) != 0; }

  // emit_shapes.cpp: how each shape walks.
  void emit_points();
  bool has_whole_columns() const;
  void emit_columns();
  void emit_rows();
  void emit_split();
  void emit_row_of_team();
  void emit_sweep(uint32_t stage);
  void emit_row_stage(uint32_t stage);
  void place_inner(const std::string& slot);
  std::string row_steps() const;
  std::string team_barrier() const;
  /// Threads that share a row, and teams of a block: numbers, or names of what a launch says.
  std::string width() const;
  std::string team_count() const;
  bool has_teams() const { return variant_.any_width || variant_.teams > 1; }
  /// Single elements are taken as if they came in vectors of 1 << order.
  bool orders_singles() const {
    return vector_ == 1 && schedule_.vector > 1 &&
           (variant_.any_width || variant_.shape == Shape::split);
  }
  void begin_columns();
  void end_columns();
  void emit_owned_rows();
  void emit_owner();
  void end_column(uint32_t accumulator, bool from_sweep);
  void emit_split_totals(uint32_t stage);
  void read_split_totals(uint32_t stage);

  // emit_batch.cpp: a batch of vectors.
  void emit_batch(const Batch& batch);
  std::vector<ValueId> early_loads(const Batch& batch) const;
  void emit_early_loads(const Batch& batch, const std::vector<ValueId>& loads);
  void emit_stage_of_vector(uint32_t stage, bool keeps);
  void emit_elements(const std::vector<ValueId>& ids, uint32_t stage, bool keeps);
  void emit_value(ValueId id);
  void emit_store(ValueId id);
  void emit_vector_store(const Access& access, const std::string& from);
  void keep(ValueId id);
  void feed(uint32_t accumulator, Scope scope);
  void declare_totals(uint32_t stage);
  void finish_totals(uint32_t stage);
  void finish_extreme(uint32_t accumulator, const std::string& buffer);
  std::string place_of(const Access& access) const;
  std::string load_of(ValueId id) const;
  std::string condition(const Access& access, bool row_store) const;
  std::string name(ValueId id) const;
  std::string first_inner() const;
  DType dtype_of(ValueId id) const { return kernel_.instructions[id].dtype; }
  bool is_vector_access(uint32_t access) const {
    return vector_ > 1 && schedule_.vector_access[access];
  }
  bool is_index_reduction(uint32_t accumulator) const {
    Reduce reduce = kernel_.accumulators[accumulator].reduce;
    return reduce == Reduce::argmax || reduce == Reduce::argmin;
  }
  bool needs_lanes(uint32_t accumulator) const;
  std::string total_type(uint32_t accumulator) const;
  std::string identity(uint32_t accumulator) const;
  bool column_in_registers(bool from_sweep) const;
  const Stage& stage_of_accumulator(uint32_t accumulator) const;
  std::string column_element(uint32_t accumulator, bool from_sweep) const;

  const Kernel& kernel_;
  Target target_;
  std::string symbol_;
  Schedule schedule_;
  std::vector<uint64_t> axes_;  // varying_axes
  uint64_t inner_axes_;
  RangedSpelling spelling_;
  Text out_;

  Variant variant_;
  uint32_t vector_ = 1, slots_ = 0;  // of the current body
  Reuse reuse_;
  std::vector<Scope> scopes_;
  std::vector<std::string> names_;     // by canonical value, in the current scope
  std::vector<std::string> position_;  // by axis
  std::string valid_;                  // "": always
  std::string slot_ = "u";             // of the current vector in arrays that a row keeps
  bool in_row_stage_ = false;
  uint32_t reducing_ = 0;  // most totals that one sweep shares
};

}  // namespace encore::jit::cuda
