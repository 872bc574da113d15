// Builds a kernel stage by stage: each instruction goes to the earliest stage that its operands
// allow.
//
// Equal instructions become one, pure ones of constants are folded (every instruction is exactly
// defined, so folding changes no bit), and what nothing uses is dropped. A kernel is a sequence of
// phases, each a row stage followed by a sweep. A value of a sweep is alive in its phase only;
// asking for it later computes it again.
#pragma once
#include <encore/jit/kernel.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace encore::trace {

class KernelBuilder final : public Builder {
 public:
  enum class Level : uint8_t { setup, row, sweep };

  Value emit(Opcode op, DType dtype, std::initializer_list<Value> operands, uint32_t aux = 0,
             uint64_t bits = 0) override;

  /// Axes are given in kernel order before any instruction.
  uint32_t add_axis(jit::Role role, int64_t extent);
  uint32_t add_argument(DType dtype, jit::Use use);
  uint32_t add_scalar(DType dtype);

  Value index(uint32_t axis) { return emit(Opcode::index, DType::i64, {}, axis); }
  /// An i64 that depends on extents: a size of the kernel, not a constant of its text.
  Value size(int64_t value);
  /// Strides are one per axis.
  Value load(uint32_t argument, int64_t base, std::span<const int64_t> strides, Value offset,
             Value predicate);
  void store(Opcode op, uint32_t argument, int64_t base, std::span<const int64_t> strides,
             Value offset, Value predicate, Value value);
  /// Returns the reduced value, alive from the next phase on.
  Value reduce_row(jit::Reduce reduce, DType dtype, Value value);
  void reduce_column(jit::Reduce reduce, Value value, uint32_t argument,
                     std::span<const int64_t> strides, int64_t chunk_stride);
  void set_rows_per_chunk(int64_t rows);

  void begin_phase();
  bool alive(Value value) const;
  Level level(Value value) const { return instructions_[value.id].level; }
  const jit::Instruction& instruction(Value value) const {
    return instructions_[value.id].instruction;
  }

  /// Operand programs of a contraction: while one is open, everything emitted belongs to it.
  void begin_operand();
  void end_operand(bool is_a, Value value, DType dtype);

  jit::Kernel finish();

 private:
  enum Place : uint8_t { in_setup, in_row, in_sweep, in_operand_a, in_operand_b };
  struct Entry {
    jit::Instruction instruction;
    Level level;
    Place place;
    uint32_t phase;
  };
  struct Feed {  // an accumulator and where it is fed
    jit::Accumulator accumulator;
    bool from_sweep;
    uint32_t phase;
  };

  Value append(jit::Instruction instruction, Level level);
  std::optional<Value> fold(Opcode op, DType dtype, std::span<const Value> operands, uint32_t aux);
  uint32_t add_access(uint32_t argument, int64_t base, std::span<const int64_t> strides,
                      Value offset, Value predicate);
  jit::SizeId size_id(int64_t value);
  Level access_level(uint32_t access) const;
  std::vector<bool> find_used() const;
  void write_stage(jit::StageKind kind, uint32_t phase, Place place, const std::vector<bool>& used);
  void write_operand(Place place, const std::vector<bool>& used, uint32_t& begin, uint32_t& end);
  void copy_instruction(uint32_t id);

  jit::Kernel kernel_;
  std::vector<Entry> instructions_;
  std::vector<Feed> feeds_;
  std::vector<uint32_t> renamed_;
  std::map<std::vector<uint64_t>, uint32_t> known_accesses_;
  std::map<std::vector<uint64_t>, Value> known_, known_in_sweep_;
  uint32_t phase_ = 0;
  int open_operand_ = 0;  // 0: none, 1: a, 2: b
};

}  // namespace encore::trace
