// Writes a kernel as LLVM IR: explicit vectors along one axis, with a masked tail.
//
// The value of an instruction is a vector where it differs along the vector axis and a scalar where
// it does not; scalars are computed before the loop. Nothing is left to LLVM's vectorizers, and no
// instruction carries a fast-math flag, so the bits are those of the interpreter.
//
// Threads: an Emitter belongs to one thread, as does its module.
#pragma once
#include <encore/jit/cpu/emit_arithmetic.h>
#include <encore/jit/cpu/range.h>
#include <encore/jit/cpu/traits.h>
#include <llvm/IR/Module.h>

#include <functional>
#include <set>
#include <string_view>
#include <vector>

namespace encore::jit {

inline constexpr const char* kernel_symbol = "encore_kernel";
inline constexpr const char* finisher_symbol = "encore_finish";
inline constexpr const char* operand_a_symbol = "encore_operand_a";
inline constexpr const char* operand_b_symbol = "encore_operand_b";

class Emitter {
 public:
  Emitter(const Kernel& kernel, Isa isa, llvm::Module& module);

  /// Defines `kernel_symbol`, a KernelFunction.
  void emit_kernel();
  /// Defines `finisher_symbol`, a TileFinisher (contraction_seam.h).
  void emit_finisher();
  /// Defines `operand_a_symbol` or `operand_b_symbol`, an operand's evaluator. Its lines run along
  /// the depth where `operand_runs_along_depth` says so.
  void emit_operand(bool a);

 private:
  /// What one evaluation of a piece of code covers: one point, or `count` points along the vector
  /// axis from `first` on, of which `mask` (null: all) are wanted.
  struct Lanes {
    int count = 1;
    llvm::Value* first = nullptr;
    llvm::Value* mask = nullptr;
  };
  /// Positions handed over by the caller, as Range has them.
  struct Bounds {
    llvm::Value *outer_begin, *outer_end, *row_begin, *row_end, *inner_begin, *inner_end, *chunk;
    llvm::Value *totals, *totals_stride, *kept, *kept_stride;
    llvm::Value* streaming = nullptr;
    // A finished tile of products: element (row - row_begin) * stride + (inner - inner_begin).
    llvm::Value* product = nullptr;
    llvm::Value* product_stride = nullptr;
  };
  struct Interval {
    llvm::Value *begin, *end;
  };
  /// One row accumulator of the running sweep.
  struct RowTotal {
    uint32_t accumulator;
    DType dtype;  // of the value
    int lanes;
    llvm::Value* values;   // memory of all lanes
    llvm::Value* indices;  // likewise, argmax and argmin only
  };
  /// A vector's worth of a row accumulator.
  struct Partial {
    llvm::Value* value = nullptr;
    llvm::Value* index = nullptr;
  };
  /// One evaluation of a sweep and what its row accumulators go on from.
  struct Vector {
    Lanes lanes;
    std::vector<Partial*> partials;
  };
  using Body = std::function<void(llvm::Value*)>;
  using RunBody = std::function<void(llvm::Value* begin, llvm::Value* end, llvm::Value* number)>;

  // emit_kernel.cpp: the function around the stages.
  llvm::Function* begin_function(const char* name, int parameters);
  void end_function();
  void load_arguments(llvm::Value* arguments, llvm::Value* sizes, llvm::Value* scalars);
  llvm::Value* field(llvm::Value* pointer, size_t offset, llvm::Type* type);
  void emit_points(const Bounds& bounds);
  void emit_row();
  void emit_row_stage(const Stage& stage);
  void begin_chunk();
  void end_chunk();
  void for_each_column_total(const std::function<void(const Accumulator&)>& visit);

  // emit_loops.cpp: control flow.
  void loop(llvm::Value* begin, llvm::Value* end, int64_t step, const Body& body);
  void guarded(llvm::Value* condition, const std::function<void()>& body);
  void for_each_point(Role role, llvm::Value* begin, llvm::Value* end, const Body& body);
  void for_each_run(Role role, llvm::Value* begin, llvm::Value* end, const RunBody& body);
  void decompose(llvm::Value* number, const std::vector<uint32_t>& axes);
  void advance(const std::vector<uint32_t>& axes);
  std::vector<uint32_t> axes_of(Role role) const;

  // emit_sweep.cpp: the vector loop.
  void emit_sweep(const Stage& stage);
  void emit_run(const Stage& stage, llvm::Value* begin, llvm::Value* end, llvm::Value* number);
  void emit_main_loops(const Stage& stage, llvm::Value* begin, llvm::Value* end);
  void emit_main_loop(const Stage& stage, llvm::Value* begin, llvm::Value* end, bool streaming);
  void emit_tail(const Stage& stage, llvm::Value* begin, llvm::Value* end);
  void emit_vector(const Stage& stage, const Lanes& lanes);
  void emit_round(const Stage& stage, const std::vector<Vector>& vectors);
  void emit_hoisted(uint32_t begin, uint32_t end);
  void vectorize_along(uint32_t axis);
  llvm::Value* tail_mask(llvm::Value* remaining);
  int choose_lanes(const Stage& stage) const;
  int unroll_of(const Stage& stage) const;

  // emit_totals.cpp: accumulators.
  void reserve_row_total(uint32_t accumulator);
  void feed_row_total(const RowTotal& total, Partial& partial);
  void feed_column_total(uint32_t accumulator);
  Partial load_partial(const RowTotal& total, llvm::Value* lane);
  void store_partial(const RowTotal& total, llvm::Value* lane, const Partial& partial);
  llvm::Value* finish_row_total(const RowTotal& total);
  llvm::Value* total_pointer(const Accumulator& accumulator);
  llvm::Value* wanted_lanes(ValueId predicate);

  // emit_instruction.cpp: each instruction once.
  llvm::Value* emit_instruction(ValueId id);
  void emit_instructions(uint32_t begin, uint32_t end);

  // emit_access.cpp: loads and stores.
  enum class Pattern { uniform, contiguous, reversed, strided };
  Pattern pattern_of(const Access& access) const;
  llvm::Value* base_pointer(const Access& access);
  llvm::Value* base_pointer(ValueId id);
  llvm::Value* kept_row_pointer(int64_t number);
  llvm::Value* access_pointer(ValueId id);
  llvm::Value* element_pointers(const Access& access, llvm::Value* pointer);
  llvm::Value* access_mask(const Access& access);
  llvm::Value* load(ValueId id);
  void prefetch(ValueId id);
  void store(ValueId id, llvm::Value* value);
  void store(const Access& access, llvm::Value* pointer, llvm::Value* value);
  void store_add(ValueId id, llvm::Value* value);
  llvm::Value* load_from(llvm::Value* pointer, llvm::Type* type, llvm::Value* mask);
  void store_to(llvm::Value* pointer, llvm::Value* stored, llvm::Value* mask);
  void stream_to(llvm::Value* pointer, llvm::Value* stored);
  llvm::Value* wanted_or(llvm::Value* elsewhere, const Access& access, llvm::Value* pointer);
  llvm::Value* reversed(llvm::Value* vector);

  // emit_contraction.cpp
  llvm::Value* product();
  llvm::Value* product_from_tile();
  llvm::Value* product_by_loop();
  llvm::Value* contraction_operand(uint32_t begin, uint32_t end, ValueId result);
  void emit_lines(const Stage& program, bool a, Interval positions, Interval depths,
                  llvm::Value* to, llvm::Value* stride);

  llvm::Value* operand(ValueId id);
  llvm::Value* size(SizeId id);
  llvm::Value* extent(uint32_t axis) { return size(kernel_.axes[axis].extent); }
  llvm::Value* index_constant(int64_t value) { return ir_.getInt64(uint64_t(value)); }
  llvm::Value* lane_numbers(llvm::IntegerType* type);
  llvm::Value* reserve(llvm::Type* type, uint64_t count, const char* name);
  bool varies(ValueId id) const { return id != none && varying_[id]; }

  const Kernel& kernel_;
  Isa isa_;
  Traits traits_;
  llvm::Module& module_;
  llvm::IRBuilder<> ir_;
  Arithmetic math_;
  llvm::Function* function_ = nullptr;
  llvm::BasicBlock* reserved_ = nullptr;  // where stack memory is taken

  const std::set<ValueId> prefetches_;

  std::vector<llvm::Value*> arguments_, sizes_, scalars_;
  std::vector<llvm::Value*> position_;  // per axis, where it is known
  Bounds bounds_{};
  llvm::Value* zeros_ = nullptr;    // where unwanted scalar loads go
  llvm::Value* discard_ = nullptr;  // where unwanted scalar stores go

  std::vector<llvm::Value*> values_;    // per instruction
  std::vector<llvm::Value*> splats_;    // per instruction, valid in the current loop
  std::vector<llvm::Value*> pointers_;  // per load or store, valid in the current loop
  std::vector<bool> varying_;           // per instruction, along the vector axis
  uint32_t vector_axis_ = none;
  Lanes lanes_;
  int vector_lanes_ = 1;           // of the current loop
  std::function<void()> deliver_;  // if set, what every evaluation of the current loop ends with
  bool aligned_runs_ = false;      // a run of whole vectors is never cut inside a round
  bool streaming_ = false;
  llvm::Value* row_number_ = nullptr;
  llvm::Value* run_number_ = nullptr;  // the linear number of the run's point 0, were it there
  std::vector<RowTotal> row_totals_;
  std::vector<llvm::Value*> reduced_;  // per accumulator
};

}  // namespace encore::jit
