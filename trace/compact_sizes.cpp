#include <encore/trace/compact_sizes.h>

namespace encore::trace {
namespace {

using jit::Kernel;
using jit::none;

class Compactor {
 public:
  explicit Compactor(Kernel& kernel)
      : kernel_(kernel), renamed_(kernel.sizes.size(), none), seen_(kernel.accesses.size()) {}

  void run() {
    for (jit::Axis& axis : kernel_.axes) rename(axis.extent);
    rename(kernel_.rows_per_chunk);
    for (jit::Instruction& instruction : kernel_.instructions) {
      if (instruction.op == Opcode::size) rename(instruction.aux);
      if (instruction.op == Opcode::load || instruction.op == Opcode::store ||
          instruction.op == Opcode::store_add)
        visit(instruction.aux);
    }
    for (const jit::Accumulator& accumulator : kernel_.accumulators)
      if (accumulator.access != none) visit(accumulator.access);
    drop_unused_accesses();
    kernel_.sizes = std::move(kept_);
  }

 private:
  void rename(jit::SizeId& id) {
    if (id == none) return;
    if (renamed_[id] == none) {
      renamed_[id] = jit::SizeId(kept_.size());
      kept_.push_back(kernel_.sizes[id]);
    }
    id = renamed_[id];
  }

  void visit(uint32_t id) {
    if (seen_[id]) return;
    seen_[id] = true;
    jit::Access& access = kernel_.accesses[id];
    rename_factor(access.base);
    for (jit::SizeId& stride : access.strides) rename_factor(stride);
    rename_factor(access.chunk_stride);
  }

  /// A fixed 0 is no size: the kernel's text has none either, and whoever has the text has the
  /// table.
  void rename_factor(jit::SizeId& id) {
    if (id != none && kernel_.sizes[id].fixed && kernel_.sizes[id].value == 0) id = none;
    rename(id);
  }

  /// Dead accesses would keep sizes that no longer exist.
  void drop_unused_accesses() {
    std::vector<uint32_t> places(kernel_.accesses.size(), none);
    std::vector<jit::Access> used;
    for (uint32_t id = 0; id < kernel_.accesses.size(); ++id) {
      if (!seen_[id]) continue;
      places[id] = uint32_t(used.size());
      used.push_back(std::move(kernel_.accesses[id]));
    }
    kernel_.accesses = std::move(used);
    for (jit::Instruction& instruction : kernel_.instructions)
      if (instruction.op == Opcode::load || instruction.op == Opcode::store ||
          instruction.op == Opcode::store_add)
        instruction.aux = places[instruction.aux];
    for (jit::Accumulator& accumulator : kernel_.accumulators)
      if (accumulator.access != none) accumulator.access = places[accumulator.access];
  }

  Kernel& kernel_;
  std::vector<jit::SizeId> renamed_;
  std::vector<bool> seen_;
  std::vector<jit::Size> kept_;
};

}  // namespace

void compact_sizes(Kernel& kernel) { Compactor(kernel).run(); }

}  // namespace encore::trace
