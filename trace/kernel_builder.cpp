#include <encore/core/settings.h>
#include <encore/jit/reference/evaluate.h>
#include <encore/trace/kernel_builder.h>

#include <algorithm>
#include <utility>

namespace encore::trace {

using jit::Access;
using jit::Instruction;
using jit::none;
using jit::Role;

namespace {

bool is_pure(Opcode op) { return op >= Opcode::add; }

}  // namespace

uint32_t KernelBuilder::add_axis(Role role, int64_t extent) {
  kernel_.axes.push_back({role, size_id(extent)});
  return uint32_t(kernel_.axes.size()) - 1;
}

uint32_t KernelBuilder::add_argument(DType dtype, jit::Use use) {
  kernel_.arguments.push_back({dtype, use});
  return uint32_t(kernel_.arguments.size()) - 1;
}

uint32_t KernelBuilder::add_scalar(DType dtype) {
  kernel_.scalars.push_back(dtype);
  return uint32_t(kernel_.scalars.size()) - 1;
}

jit::SizeId KernelBuilder::size_id(int64_t value) {
  kernel_.sizes.push_back({value, true});
  return jit::SizeId(kernel_.sizes.size()) - 1;
}

Value KernelBuilder::size(int64_t value) {
  if (value == 0 || value == 1) return constant(DType::i64, value);
  return emit(Opcode::size, DType::i64, {}, size_id(value));
}

Value KernelBuilder::emit(Opcode op, DType dtype, std::initializer_list<Value> operands,
                          uint32_t aux, uint64_t bits) {
  if (auto folded = fold(op, dtype, {operands.begin(), operands.size()}, aux)) return *folded;
  Instruction instruction{.op = op, .dtype = dtype, .aux = aux, .bits = bits};
  Level level = Level::setup;
  int place = 0;
  for (Value operand : operands) {
    instruction.operands[place++] = operand.id;
    level = std::max(level, instructions_[operand.id].level);
  }
  if (op == Opcode::index) {
    Role role = kernel_.axes[aux].role;
    level = role == Role::outer || role == Role::row ? Level::row : Level::sweep;
  }
  if (op == Opcode::load) level = access_level(aux);
  if (op == Opcode::reduced) level = Level::row;
  if (op == Opcode::product) level = Level::sweep;
  return append(instruction, level);
}

Value KernelBuilder::append(Instruction instruction, Level level) {
  Place place = open_operand_ == 1      ? in_operand_a
                : open_operand_ == 2    ? in_operand_b
                : level == Level::setup ? in_setup
                : level == Level::row   ? in_row
                                        : in_sweep;
  std::vector<uint64_t> key{
      uint64_t(instruction.op) | uint64_t(instruction.dtype) << 8 | uint64_t(place) << 16,
      instruction.bits, instruction.aux,
      uint64_t(instruction.operands[0]) | uint64_t(instruction.operands[1]) << 32,
      instruction.operands[2]};
  if (instruction.op == Opcode::size) key[2] = uint64_t(kernel_.sizes[instruction.aux].value);
  bool pure = instruction.op != Opcode::store && instruction.op != Opcode::store_add;
  auto& table = level == Level::sweep || open_operand_ ? known_in_sweep_ : known_;
  if (pure)
    if (auto found = table.find(key); found != table.end()) return found->second;
  Value value{uint32_t(instructions_.size()), instruction.dtype};
  instructions_.push_back({instruction, level, place, phase_});
  if (pure) table.emplace(std::move(key), value);
  return value;
}

std::optional<Value> KernelBuilder::fold(Opcode op, DType dtype, std::span<const Value> operands,
                                         uint32_t aux) {
  if (!is_pure(op) || operands.empty()) return {};
  uint64_t bits[3] = {};
  bool all_constant = true;
  for (size_t i = 0; i < operands.size(); ++i) {
    const Instruction& operand = instructions_[operands[i].id].instruction;
    all_constant &= operand.op == Opcode::constant;
    bits[i] = operand.bits;
  }
  auto is_constant = [&](size_t i, int64_t value) {
    const Instruction& operand = instructions_[operands[i].id].instruction;
    return operand.op == Opcode::constant && operand.bits == Scalar(value).bits_as(operand.dtype);
  };
  if (all_constant) {
    DType operand = op == Opcode::select ? operands[1].dtype : operands[0].dtype;
    if (auto function = jit::evaluation_of(op, dtype, operand, aux))
      return emit(Opcode::constant, dtype, {}, 0, function(bits[0], bits[1], bits[2]));
  }
  // Index arithmetic is full of these; all are exact.
  if (op == Opcode::mul && is_constant(0, 1)) return operands[1];
  if ((op == Opcode::mul || op == Opcode::div) && is_constant(1, 1)) return operands[0];
  if (is_integer(dtype)) {
    if (op == Opcode::add && is_constant(0, 0)) return operands[1];
    if ((op == Opcode::add || op == Opcode::sub) && is_constant(1, 0)) return operands[0];
    if (op == Opcode::mul && is_constant(0, 0)) return operands[0];
    if (op == Opcode::mul && is_constant(1, 0)) return operands[1];
  }
  if (op == Opcode::bit_and && dtype == DType::boolean) {
    if (is_constant(0, 1)) return operands[1];
    if (is_constant(1, 1)) return operands[0];
  }
  return {};
}

uint32_t KernelBuilder::add_access(uint32_t argument, int64_t base,
                                   std::span<const int64_t> strides, Value offset,
                                   Value predicate) {
  std::vector<uint64_t> key{argument, uint64_t(base), offset.id, predicate.id};
  for (int64_t stride : strides) key.push_back(uint64_t(stride));
  auto [place, is_new] = known_accesses_.try_emplace(key, uint32_t(kernel_.accesses.size()));
  if (!is_new) return place->second;
  Access access{.argument = argument, .offset = offset.id, .predicate = predicate.id};
  if (base != 0) access.base = size_id(base);
  for (int64_t stride : strides) access.strides.push_back(stride == 0 ? none : size_id(stride));
  kernel_.accesses.push_back(std::move(access));
  return place->second;
}

KernelBuilder::Level KernelBuilder::access_level(uint32_t id) const {
  const Access& access = kernel_.accesses[id];
  Level level = Level::setup;
  for (uint32_t dynamic : {access.offset, access.predicate})
    if (dynamic != none) level = std::max(level, instructions_[dynamic].level);
  for (size_t axis = 0; axis < access.strides.size(); ++axis) {
    if (access.strides[axis] == none) continue;
    Role role = kernel_.axes[axis].role;
    level = std::max(level, role == Role::outer || role == Role::row ? Level::row : Level::sweep);
  }
  return level;
}

Value KernelBuilder::load(uint32_t argument, int64_t base, std::span<const int64_t> strides,
                          Value offset, Value predicate) {
  uint32_t access = add_access(argument, base, strides, offset, predicate);
  return emit(Opcode::load, compute_dtype(kernel_.arguments[argument].dtype), {}, access);
}

void KernelBuilder::store(Opcode op, uint32_t argument, int64_t base,
                          std::span<const int64_t> strides, Value offset, Value predicate,
                          Value value) {
  uint32_t access = add_access(argument, base, strides, offset, predicate);
  Level level = std::max({Level::row, access_level(access), instructions_[value.id].level});
  append({.op = op, .dtype = value.dtype, .operands = {value.id, none, none}, .aux = access},
         level);
}

Value KernelBuilder::reduce_row(jit::Reduce reduce, DType dtype, Value value) {
  feeds_.push_back({{.reduce = reduce, .dtype = dtype, .value = value.id}, true, phase_});
  Value result{uint32_t(instructions_.size()), dtype};
  // Belongs to the next phase's row stage.
  instructions_.push_back(
      {{.op = Opcode::reduced, .dtype = dtype, .aux = uint32_t(feeds_.size()) - 1},
       Level::row,
       in_row,
       phase_ + 1});
  return result;
}

void KernelBuilder::reduce_column(jit::Reduce reduce, Value value, uint32_t argument,
                                  std::span<const int64_t> strides, int64_t chunk_stride) {
  Access access{.argument = argument};
  for (int64_t stride : strides) access.strides.push_back(stride == 0 ? none : size_id(stride));
  if (chunk_stride) access.chunk_stride = size_id(chunk_stride);
  kernel_.accesses.push_back(std::move(access));
  bool from_sweep = level(value) == Level::sweep;
  feeds_.push_back({{.reduce = reduce,
                     .dtype = value.dtype,
                     .value = value.id,
                     .column = true,
                     .access = uint32_t(kernel_.accesses.size()) - 1},
                    from_sweep,
                    phase_});
}

void KernelBuilder::set_rows_per_chunk(int64_t rows) { kernel_.rows_per_chunk = size_id(rows); }

void KernelBuilder::begin_phase() {
  if (!kernel_.stages.empty()) ++phase_;
  kernel_.stages.push_back({});  // counts phases; rewritten by finish
  known_in_sweep_.clear();
}

bool KernelBuilder::alive(Value value) const {
  const Entry& entry = instructions_[value.id];
  return entry.level != Level::sweep || entry.phase == phase_;
}

void KernelBuilder::begin_operand() {
  known_in_sweep_.clear();
  open_operand_ = kernel_.contraction ? 2 : 1;
}

void KernelBuilder::end_operand(bool is_a, Value value, DType dtype) {
  const bool rounds = dtype == DType::f32 && !settings().strict;
  if (is_a)
    kernel_.contraction = jit::Contraction{
        .dtype = dtype,
        .a = value.id,
        .precision = rounds ? settings().matmul_precision : MatmulPrecision::highest};
  else
    kernel_.contraction->b = value.id;
  open_operand_ = 0;
  known_in_sweep_.clear();
}

std::vector<bool> KernelBuilder::find_used() const {
  std::vector<bool> used(instructions_.size());
  auto need = [&](uint32_t id) {
    if (id != none) used[id] = true;
  };
  for (const Feed& feed : feeds_)
    if (feed.accumulator.column) need(feed.accumulator.value);
  if (kernel_.contraction) need(kernel_.contraction->a), need(kernel_.contraction->b);
  // Backwards: users come after what they use; a reduced value keeps its accumulator's value.
  for (uint32_t id = uint32_t(instructions_.size()); id-- > 0;) {
    const Instruction& instruction = instructions_[id].instruction;
    bool stores = instruction.op == Opcode::store || instruction.op == Opcode::store_add;
    if (!used[id] && !stores) continue;
    used[id] = true;
    for (uint32_t operand : instruction.operands) need(operand);
    if (instruction.op == Opcode::reduced) need(feeds_[instruction.aux].accumulator.value);
    if (instruction.op == Opcode::load || stores) {
      need(kernel_.accesses[instruction.aux].offset);
      need(kernel_.accesses[instruction.aux].predicate);
    }
  }
  return used;
}

void KernelBuilder::copy_instruction(uint32_t id) {
  Instruction copy = instructions_[id].instruction;
  for (uint32_t& operand : copy.operands)
    if (operand != none) operand = renamed_[operand];
  renamed_[id] = uint32_t(kernel_.instructions.size());
  kernel_.instructions.push_back(copy);
}

void KernelBuilder::write_operand(Place place, const std::vector<bool>& used, uint32_t& begin,
                                  uint32_t& end) {
  begin = uint32_t(kernel_.instructions.size());
  for (uint32_t id = 0; id < instructions_.size(); ++id)
    if (used[id] && instructions_[id].place == place) copy_instruction(id);
  end = uint32_t(kernel_.instructions.size());
}

void KernelBuilder::write_stage(jit::StageKind kind, uint32_t phase, Place place,
                                const std::vector<bool>& used) {
  jit::Stage stage{.kind = kind,
                   .begin = uint32_t(kernel_.instructions.size()),
                   .first_accumulator = uint32_t(kernel_.accumulators.size())};
  for (uint32_t id = 0; id < instructions_.size(); ++id) {
    const Entry& entry = instructions_[id];
    if (used[id] && entry.place == place && (place == in_setup || entry.phase == phase))
      copy_instruction(id);
  }
  stage.end = uint32_t(kernel_.instructions.size());
  for (Feed& feed : feeds_) {
    bool here = feed.phase == phase && feed.from_sweep == (place == in_sweep) && place != in_setup;
    if (!here || !used[feed.accumulator.value]) continue;
    feed.accumulator.value = renamed_[feed.accumulator.value];
    feed.accumulator.predicate = none;
    // Its final number, for the `reduced` that reads it.
    for (Entry& entry : instructions_)
      if (entry.instruction.op == Opcode::reduced && entry.phase == phase + 1 &&
          &feeds_[entry.instruction.aux] == &feed)
        entry.instruction.bits = kernel_.accumulators.size() + 1;
    kernel_.accumulators.push_back(feed.accumulator);
  }
  stage.last_accumulator = uint32_t(kernel_.accumulators.size());
  bool empty = stage.begin == stage.end && stage.first_accumulator == stage.last_accumulator;
  if (!empty) kernel_.stages.push_back(stage);
}

jit::Kernel KernelBuilder::finish() {
  std::vector<bool> used = find_used();
  kernel_.stages.clear();
  renamed_.assign(instructions_.size(), none);
  write_stage(jit::StageKind::setup, 0, in_setup, used);
  if (kernel_.contraction) {
    write_operand(in_operand_a, used, kernel_.contraction->a_begin, kernel_.contraction->a_end);
    write_operand(in_operand_b, used, kernel_.contraction->b_begin, kernel_.contraction->b_end);
    kernel_.contraction->a = renamed_[kernel_.contraction->a];
    kernel_.contraction->b = renamed_[kernel_.contraction->b];
  }
  for (uint32_t phase = 0; phase <= phase_ + 1; ++phase) {
    write_stage(jit::StageKind::row, phase, in_row, used);
    write_stage(jit::StageKind::sweep, phase, in_sweep, used);
  }
  for (Instruction& instruction : kernel_.instructions)
    if (instruction.op == Opcode::reduced)
      instruction.aux = uint32_t(std::exchange(instruction.bits, 0)) - 1;
  for (Access& access : kernel_.accesses) {
    if (access.offset != none) access.offset = renamed_[access.offset];
    if (access.predicate != none) access.predicate = renamed_[access.predicate];
  }
  return std::move(kernel_);
}

}  // namespace encore::trace
