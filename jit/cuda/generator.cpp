#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/generator.h>
#include <encore/jit/cuda/spell_instruction.h>

#include <algorithm>

namespace encore::jit::cuda {

Generator::Generator(const Kernel& kernel, const Target& target, std::string symbol)
    : kernel_(kernel),
      target_(target),
      symbol_(std::move(symbol)),
      schedule_(make_schedule(kernel, target)),
      axes_(varying_axes(kernel)),
      inner_axes_(axes_with(kernel, Role::inner)),
      spelling_(kernel) {}

std::string Generator::run() {
  emit_parameters();
  for (uint32_t i = 0; i < schedule_.variants.size(); ++i) emit_function(i);
  return out_.take();
}

void Generator::emit_parameters() {
  uint32_t words = 2 + uint32_t(kernel_.arguments.size() + kernel_.scalars.size());
  for (const Size& size : kernel_.sizes) words += !size.fixed;
  out_.open("struct {}_Parameters", symbol_);
  out_.line("u32 segment_count, first_block[{}];", schedule_.capacity + 1);
  out_.line("u64 scratch, segment[{}][{}];", schedule_.capacity, words);
  out_.close(";");
}

void Generator::emit_function(uint32_t number) {
  variant_ = schedule_.variants[number];
  std::string bounds = std::to_string(variant_.threads());
  if (variant_.blocks) bounds += fmt::format(", {}", variant_.blocks);
  out_.open(
      "extern \"C\" __global__ void __launch_bounds__({}) {}(const __grid_constant__ "
      "{}_Parameters p)",
      bounds, function_symbol(symbol_, number), symbol_);
  emit_segment();
  if (schedule_.vector > 1 && schedule_.needs_single) {
    out_.open("if (w[0] & 1)");
    emit_body(schedule_.vector);
    out_.close();
    out_.open("else");
    emit_body(1);
    out_.close();
  } else {
    emit_body(schedule_.vector);
  }
  out_.close();
}

/// Which segment this block works on, and what that was launched with.
void Generator::emit_segment() {
  out_.line("u32 block = blockIdx.x;");
  if (schedule_.capacity > 1) {
    out_.line("const u32 s = segment_of(p.first_block, p.segment_count, block);");
    out_.line("block -= p.first_block[s];");
    out_.line("const u64* const w = p.segment[s];");
  } else {
    out_.line("const u64* const w = p.segment[0];");
  }
  uint32_t word = 2;
  for (size_t i = 0; i < kernel_.arguments.size(); ++i)
    out_.line("{}* const a{} = ({}*)w[{}];", stored_type_name(kernel_.arguments[i].dtype), i,
              stored_type_name(kernel_.arguments[i].dtype), word++);
  for (size_t i = 0; i < kernel_.sizes.size(); ++i)
    if (!kernel_.sizes[i].fixed) out_.line("const i64 s{} = (i64)w[{}];", i, word++);
  for (size_t i = 0; i < kernel_.scalars.size(); ++i)
    out_.line("const {} k{} = unpacked<{}>(w[{}]);", type_name(kernel_.scalars[i]), i,
              type_name(kernel_.scalars[i]), word++);
  if (variant_.any_width) out_.line("const i32 width = 1 << (int)(w[0] >> 1 & 15);");
  if (variant_.any_width || variant_.any_teams)
    out_.line("const i32 teams = (i32)(w[0] >> 8 & 65535);");
  out_.line("const i32 t = (i32)threadIdx.x % {}, team = (i32)threadIdx.x / {};", width(), width());
  if (variant_.any_width) out_.line("if (team >= teams) return;");
  if (variant_.any_width || variant_.shape == Shape::split)
    out_.line("const i32 order = (i32)(w[0] >> 5 & 3);");
  out_.line("const {} tiles = ({})(w[0] >> 32);", index_type(), index_type());
  uint32_t words = 0;
  for (const Stage& stage : kernel_.stages) {
    uint32_t mine = 0;
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      if (!kernel_.accumulators[i].column) mine += is_index_reduction(i) ? 2 : 1;
    words = std::max(words, mine);
  }
  if (words && variant_.any_width)
    out_.line("__shared__ u64 exchange[2][{}][{}];", words, variant_.team / 32);
  else if (words && variant_.team > 32)
    out_.line("__shared__ u64 exchange[2][{}][{}][{}];", variant_.teams, words, variant_.team / 32);
  if (words && variant_.team > 32) out_.line("int flip = 0;");
  if (schedule_.column_totals && variant_.any_width)
    out_.line("__shared__ u64 gathered[{}];", variant_.team);
  else if (schedule_.column_totals && variant_.teams > 1)
    out_.line("__shared__ u64 gathered[{}];", variant_.threads() * schedule_.vector);
}

std::string Generator::width() const {
  return variant_.any_width ? "width" : std::to_string(variant_.team);
}

std::string Generator::team_count() const {
  return variant_.any_width || variant_.any_teams ? "teams" : std::to_string(variant_.teams);
}

std::string Generator::team_barrier() const {
  if (variant_.any_width) return "width_barrier(width, team);";
  return fmt::format("team_barrier<{}, {}>();", variant_.team, variant_.teams);
}

void Generator::emit_body(uint32_t vector) {
  vector_ = vector;
  slots_ = variant_.slots * schedule_.vector / vector;
  uint32_t budget = 0, elements = slots_ * vector_;
  if (variant_.shape == Shape::rows && slots_) {
    uint32_t registers = std::min(65536 / variant_.threads(), 168u), taken = 40;
    for (const Accumulator& accumulator : kernel_.accumulators)
      if (accumulator.column) taken += elements * (size_of(accumulator.dtype) == 8 ? 2 : 1);
    budget = registers > taken ? registers - taken : 1;
  }
  reuse_ = find_reuse(kernel_, elements, budget);
  names_.assign(kernel_.instructions.size(), "");
  position_.assign(kernel_.axes.size(), "0");
  valid_.clear();
  find_scopes();
  emit_thread_values();
  switch (variant_.shape) {
    case Shape::points:
      return emit_points();
    case Shape::columns:
      return emit_columns();
    case Shape::rows:
      return emit_rows();
    case Shape::split:
      return emit_split();
  }
}

void Generator::find_scopes() {
  bool rows = variant_.shape == Shape::rows || variant_.shape == Shape::split;
  scopes_.assign(kernel_.instructions.size(), Scope::thread);
  uint64_t vector_bit = schedule_.vector_axis == none ? 0 : uint64_t(1) << schedule_.vector_axis;
  std::vector<StageKind> kinds(kernel_.instructions.size());
  for (const Stage& stage : kernel_.stages)
    for (uint32_t i = stage.begin; i < stage.end; ++i) kinds[i] = stage.kind;
  for (ValueId id = 0; id < scopes_.size(); ++id) {
    const Instruction& instruction = kernel_.instructions[id];
    Scope scope = Scope::thread;
    auto within = [&](ValueId value) {
      if (value != none) scope = std::max(scope, scopes_[value]);
    };
    for (ValueId operand : instruction.operands) within(operand);
    bool memory = instruction.op == Opcode::load || instruction.op == Opcode::store ||
                  instruction.op == Opcode::store_add;
    if (memory) {
      within(kernel_.accesses[instruction.aux].offset);
      within(kernel_.accesses[instruction.aux].predicate);
    }
    uint64_t axes = axes_[id];
    bool changes =
        memory && kernel_.arguments[kernel_.accesses[instruction.aux].argument].use != Use::read;
    if (axes || changes) scope = std::max(scope, rows ? Scope::row : Scope::vector);
    if (axes & inner_axes_) scope = std::max(scope, Scope::vector);
    if (vector_ > 1 && (axes & vector_bit)) scope = Scope::element;
    bool store = instruction.op == Opcode::store || instruction.op == Opcode::store_add;
    if (store && kinds[id] == StageKind::sweep) scope = std::max(scope, Scope::vector);
    if (kinds[id] == StageKind::setup) scope = Scope::thread;
    scopes_[id] = scope;
  }
}

void Generator::emit_thread_values() {
  for (uint32_t s = 0; s < kernel_.stages.size(); ++s) {
    if (kernel_.stages[s].kind == StageKind::sweep && !has_inner()) continue;
    for (ValueId id : reuse_.computed[s])
      if (scopes_[id] == Scope::thread) emit_value(id);
  }
}

std::string Generator::size(SizeId id) const {
  if (id == none) return "0";
  const Size& size = kernel_.sizes[id];
  if (!size.fixed) return fmt::format("s{}", id);
  return fmt::format("{}{}", size.value, schedule_.wide ? "ll" : "");
}

std::string Generator::fixed_extent(uint32_t axis) const {
  const Size& extent = kernel_.sizes[kernel_.axes[axis].extent];
  // What has no points is never walked, but its code must not divide by 0.
  return extent.fixed && extent.value == 0 ? "1" : size(kernel_.axes[axis].extent);
}

/// The points of a role; one where it has no axes.
std::string Generator::product(Role role) const {
  int64_t fixed = 1;
  std::string free;
  for (const Axis& axis : kernel_.axes) {
    if (axis.role != role) continue;
    const Size& extent = kernel_.sizes[axis.extent];
    if (extent.fixed)
      fixed *= extent.value;
    else
      free += " * " + size(axis.extent);
  }
  std::string first = fmt::format("{}{}", fixed, schedule_.wide ? "ll" : "");
  return free.empty() ? first : "(" + first + free + ")";
}

std::vector<uint32_t> Generator::axes_between(Role first, Role last) const {
  std::vector<uint32_t> axes;
  for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
    if (first <= kernel_.axes[axis].role && kernel_.axes[axis].role <= last) axes.push_back(axis);
  return axes;
}

/// Declares the positions on the axes of these roles from a linear number.
void Generator::decode(const std::string& number, Role first, Role last) {
  std::vector<uint32_t> axes;
  for (uint32_t axis : axes_between(first, last)) {
    const Size& extent = kernel_.sizes[kernel_.axes[axis].extent];
    position_[axis] = "0";
    if (!extent.fixed || extent.value > 1) axes.push_back(axis);
  }
  std::string rest = number;
  for (size_t i = axes.size(); i-- > 0;) {
    std::string name = fmt::format("p{}", axes[i]);
    position_[axes[i]] = name;
    if (i == 0) {
      out_.line("const {} {} = {};", index_type(), name, rest);
      break;
    }
    std::string extent = fixed_extent(axes[i]), quotient = fmt::format("n{}", axes[i]);
    out_.line("const {} {} = rest(({})({}), ({}){});", index_type(), name, index_type(), rest,
              index_type(), extent);
    out_.line("const {} {} = part(({})({}), ({}){});", index_type(), quotient, index_type(), rest,
              index_type(), extent);
    rest = quotient;
  }
}

std::string generate(const Kernel& kernel, const std::string& symbol, const Target& target) {
  if (kernel.contraction) return generate_contraction(kernel, symbol, target);
  return Generator(kernel, target, symbol).run();
}

std::string function_symbol(const std::string& symbol, uint32_t function) {
  return function == 0 ? symbol : fmt::format("{}_{}", symbol, function);
}

}  // namespace encore::jit::cuda
