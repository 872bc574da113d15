#include <encore/trace/orient_contraction.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace encore::trace {
namespace {

using jit::Kernel;
using jit::none;
using jit::Role;

bool may_turn(const Kernel& kernel) {
  if (!kernel.contraction || !kernel.accumulators.empty()) return false;
  return std::none_of(kernel.stages.begin(), kernel.stages.end(),
                      [](const jit::Stage& stage) { return stage.kind == jit::StageKind::row; });
}

bool is_contiguous(const Kernel& kernel, const jit::Access& access, Role role) {
  for (size_t axis = kernel.axes.size(); axis-- > 0;)
    if (kernel.axes[axis].role == role) return kernel.size(access.strides[axis]) == 1;
  return false;
}

/// Accesses of the epilogue that run along columns, less those that run along rows.
int votes_for_columns(const Kernel& kernel) {
  int votes = 0;
  for (const jit::Stage& stage : kernel.stages) {
    if (stage.kind != jit::StageKind::sweep) continue;
    for (uint32_t i = stage.begin; i < stage.end; ++i) {
      const jit::Instruction& instruction = kernel.instructions[i];
      if (instruction.op != Opcode::load && instruction.op != Opcode::store) continue;
      const jit::Access& access = kernel.accesses[instruction.aux];
      votes += is_contiguous(kernel, access, Role::inner);
      votes -= is_contiguous(kernel, access, Role::row);
    }
  }
  return votes;
}

/// Row axes take the role of inner ones and the other way round; within each the order stays.
void swap_axes(Kernel& kernel) {
  std::vector<uint32_t> from;  // new place -> old place
  for (Role role : {Role::outer, Role::inner, Role::row, Role::contracted})
    for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis)
      if (kernel.axes[axis].role == role) from.push_back(axis);
  auto permute = [&](auto& items) {
    auto old = items;
    for (size_t i = 0; i < from.size(); ++i) items[i] = old[from[i]];
  };
  permute(kernel.axes);
  for (jit::Access& access : kernel.accesses) permute(access.strides);
  for (jit::Axis& axis : kernel.axes) {
    if (axis.role == Role::row)
      axis.role = Role::inner;
    else if (axis.role == Role::inner)
      axis.role = Role::row;
  }
  for (jit::Instruction& instruction : kernel.instructions)
    if (instruction.op == Opcode::index)
      instruction.aux =
          uint32_t(std::find(from.begin(), from.end(), instruction.aux) - from.begin());
}

/// The program of b comes first and is a's from now on.
void swap_operands(Kernel& kernel) {
  jit::Contraction& c = *kernel.contraction;
  const uint32_t begin = c.a_begin, a_count = c.a_end - c.a_begin, b_count = c.b_end - c.b_begin;
  auto first = kernel.instructions.begin() + begin;
  std::rotate(first, first + a_count, first + a_count + b_count);
  auto renumber = [&](jit::ValueId& id) {
    if (id == none || id < begin || id >= begin + a_count + b_count) return;
    id = id < begin + a_count ? id + b_count : id - a_count;
  };
  for (jit::Instruction& instruction : kernel.instructions)
    for (jit::ValueId& operand : instruction.operands) renumber(operand);
  for (jit::Access& access : kernel.accesses) {
    renumber(access.offset);
    renumber(access.predicate);
  }
  renumber(c.a);
  renumber(c.b);
  std::swap(c.a, c.b);
  c.a_begin = begin;
  c.a_end = c.b_begin = begin + b_count;
  c.b_end = begin + a_count + b_count;
}

}  // namespace

void orient_contraction(Kernel& kernel) {
  if (!may_turn(kernel) || votes_for_columns(kernel) >= 0) return;
  if (kernel.contraction->a_end != kernel.contraction->b_begin) return;
  swap_axes(kernel);
  swap_operands(kernel);
}

}  // namespace encore::trace
