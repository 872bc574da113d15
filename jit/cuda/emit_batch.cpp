// A batch of vectors: loads first, so that many are in flight; then the rest, vector by vector.
#include <encore/core/error.h>
#include <encore/jit/cuda/generator.h>
#include <encore/jit/cuda/spell_instruction.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

namespace encore::jit::cuda {
namespace {

bool is_store(Opcode op) { return op == Opcode::store || op == Opcode::store_add; }

}  // namespace

std::string Generator::name(ValueId id) const {
  ValueId canonical = reuse_.canonical[id];
  ENCORE_ASSERT(!names_[canonical].empty());
  return names_[canonical];
}

/// The element that an access goes to, at the current positions.
std::string Generator::place_of(const Access& access) const {
  std::string sum;
  auto add = [&](const std::string& term) { sum += (sum.empty() ? "" : " + ") + term; };
  auto add_product = [&](const std::string& position, SizeId stride) {
    if (stride == none || position == "0") return;
    const Size& factor = kernel_.sizes[stride];
    if (factor.fixed && factor.value == 0) return;
    bool one = factor.fixed && factor.value == 1;
    add(one ? position : position + " * " + size(stride));
  };
  if (access.base != none && size(access.base) != "0") add(size(access.base));
  for (uint32_t axis = 0; axis < access.strides.size(); ++axis)
    add_product(position_[axis], access.strides[axis]);
  add_product("chunk", access.chunk_stride);
  if (access.offset != none)
    sum = (sum.empty() ? "" : "(i64)(" + sum + ") + ") + name(access.offset);
  return sum.empty() ? "0" : sum;
}

/// Is this the point of a row (of this launch's part of it) at which the row's own stores happen?
std::string Generator::first_inner() const {
  if (variant_.shape == Shape::rows || variant_.shape == Shape::split) return "t == 0";
  if (variant_.shape == Shape::columns) return "e == 0";
  std::string all;
  for (uint32_t axis : axes_between(Role::inner, Role::inner))
    if (position_[axis] != "0") all += (all.empty() ? "" : " && ") + position_[axis] + " == 0";
  return all;
}

/// When an access happens, "" for always. Inside `if (valid)` that is taken for granted.
std::string Generator::condition(const Access& access, bool row_store) const {
  std::string all = valid_;
  auto add = [&](const std::string& text) {
    if (!text.empty()) all += (all.empty() ? "" : " && ") + text;
  };
  if (row_store) add(first_inner());
  if (access.predicate != none) add(name(access.predicate));
  return all;
}

std::string Generator::load_of(ValueId id) const {
  const Access& access = kernel_.accesses[kernel_.instructions[id].aux];
  std::string load = fmt::format("widen(a{}[{}])", access.argument, place_of(access));
  std::string when = condition(access, false);
  return when.empty() ? load : fmt::format("{} ? {} : ({})0", when, load, type_name(dtype_of(id)));
}

/// Declares one value in the current scope.
void Generator::emit_value(ValueId id) {
  const Instruction& instruction = kernel_.instructions[id];
  std::string_view type = type_name(instruction.dtype);
  std::string text;
  switch (instruction.op) {
    case Opcode::constant:
      names_[id] = literal(instruction.dtype, instruction.bits);
      return;
    case Opcode::scalar:
      names_[id] = fmt::format("k{}", instruction.aux);
      return;
    case Opcode::size:
      names_[id] = fmt::format("((i64){})", size(instruction.aux));
      return;
    case Opcode::index:
      text = fmt::format("(i64)({})", position_[instruction.aux]);
      break;
    case Opcode::reduced:
      names_[id] = fmt::format("r{}", instruction.aux);
      return;
    case Opcode::load:
      text = load_of(id);
      break;
    default:
      text = spelling_.spell(instruction,
                             [this](ValueId value) { return names_[reuse_.canonical[value]]; });
  }
  out_.line("const {} v{} = {};", type, id, text);
  names_[id] = fmt::format("v{}", id);
}

/// A store of one element.
void Generator::emit_store(ValueId id) {
  const Instruction& instruction = kernel_.instructions[id];
  const Access& access = kernel_.accesses[instruction.aux];
  std::string when = condition(access, in_row_stage_);
  std::string at = fmt::format("a{}[{}]", access.argument, place_of(access));
  std::string stored(stored_type_name(kernel_.arguments[access.argument].dtype));
  std::string value = name(instruction.operands[0]);
  if (instruction.op == Opcode::store_add) {
    Instruction add{Opcode::add, instruction.dtype, {}, 0, 0};
    value = spell(add, instruction.dtype, "widen(" + at + ")", value, "");
  }
  out_.line("{}{} = Narrow<{}>::of({});", when.empty() ? "" : "if (" + when + ") ", at, stored,
            value);
}

void Generator::emit_vector_store(const Access& access, const std::string& from) {
  std::string when = condition(access, false);
  out_.line("{}store_vector<{}>(a{} + ({}), {});", when.empty() ? "" : "if (" + when + ") ",
            vector_, access.argument, place_of(access), from);
}

/// Loads whose place and predicate follow from positions and from values of outer scopes.
std::vector<ValueId> Generator::early_loads(const Batch& batch) const {
  std::vector<ValueId> loads;
  std::set<ValueId> late;
  std::set<uint32_t> stored;  // arguments, before the current instruction; store_add: anywhere
  for (const Instruction& instruction : kernel_.instructions)
    if (instruction.op == Opcode::store_add)
      stored.insert(kernel_.accesses[instruction.aux].argument);
  for (uint32_t stage : batch.stages) {
    if (kernel_.stages[stage].kind == StageKind::sweep && !has_inner()) continue;
    for (ValueId id : reuse_.computed[stage]) {
      const Instruction& instruction = kernel_.instructions[id];
      if (scope_of(id) < Scope::vector) continue;
      bool is_late = false;
      auto check = [&](ValueId value) {
        if (value == none) return;
        value = reuse_.canonical[value];
        is_late |= late.contains(value) || (reuse_.kept[value] && scope_of(value) >= Scope::vector);
      };
      for (ValueId operand : instruction.operands) check(operand);
      if (instruction.op == Opcode::load || is_store(instruction.op)) {
        const Access& access = kernel_.accesses[instruction.aux];
        check(access.offset);
        check(access.predicate);
        if (instruction.op == Opcode::load) {
          if (!is_late && !stored.contains(access.argument)) loads.push_back(id);
          is_late = true;  // for those that use it
        } else {
          stored.insert(access.argument);
        }
      }
      if (is_late) late.insert(id);
    }
  }
  return loads;
}

void Generator::emit_early_loads(const Batch& batch, const std::vector<ValueId>& loads) {
  // What places and predicates are made of.
  std::set<ValueId> needed;
  std::vector<ValueId> stack;
  auto need = [&](ValueId value) {
    if (value != none && scope_of(reuse_.canonical[value]) >= Scope::vector)
      stack.push_back(reuse_.canonical[value]);
  };
  for (ValueId id : loads) {
    need(kernel_.accesses[kernel_.instructions[id].aux].offset);
    need(kernel_.accesses[kernel_.instructions[id].aux].predicate);
  }
  while (!stack.empty()) {
    ValueId id = stack.back();
    stack.pop_back();
    if (!needed.insert(id).second) continue;
    for (ValueId operand : kernel_.instructions[id].operands) need(operand);
  }
  std::set<ValueId> all = needed;
  all.insert(loads.begin(), loads.end());
  for (ValueId id : loads)
    if (!reuse_.kept[id])
      out_.line("{} x{}[{}];", type_name(dtype_of(id)), id,
                batch.count * (scope_of(id) == Scope::element ? vector_ : 1));
  out_.line("_Pragma(\"unroll\")");
  out_.open("for (int u = 0; u < {}; ++u)", batch.count);
  std::string outside = valid_;
  batch.place();
  valid_ = batch.always_valid ? "" : "valid";
  auto names = names_;
  bool single_elements = false;
  for (ValueId id : all) {
    const Instruction& instruction = kernel_.instructions[id];
    bool vector = instruction.op == Opcode::load && is_vector_access(instruction.aux) &&
                  scope_of(id) == Scope::element;
    if (scope_of(id) == Scope::element && !vector) {
      single_elements = true;
      continue;
    }
    if (needed.contains(id)) {
      emit_value(id);
      continue;
    }
    if (!vector) {
      out_.line("x{}[u] = {};", id, load_of(id));
      continue;
    }
    const Access& access = kernel_.accesses[instruction.aux];
    std::string when = condition(access, false);
    out_.line("{}load_vector<{}>(a{} + ({}), x{} + u * {});",
              when.empty() ? "" : "if (" + when + ") ", vector_, access.argument, place_of(access),
              id, vector_);
    if (access.predicate != none)
      out_.line("else for (int c = 0; c < {}; ++c) x{}[u * {} + c] = 0;", vector_, id, vector_);
  }
  if (single_elements) {
    out_.line("_Pragma(\"unroll\")");
    out_.open("for (int c = 0; c < {}; ++c)", vector_);
    std::string last = position_[schedule_.vector_axis];
    position_[schedule_.vector_axis] = "(" + last + " + c)";
    for (ValueId id : all) {
      const Instruction& instruction = kernel_.instructions[id];
      if (scope_of(id) != Scope::element) continue;
      if (needed.contains(id))
        emit_value(id);
      else if (!is_vector_access(instruction.aux))
        out_.line("x{}[u * {} + c] = {};", id, vector_, load_of(id));
    }
    position_[schedule_.vector_axis] = last;
    out_.close();
  }
  names_ = names;
  valid_ = outside;
  out_.close();
}

void Generator::emit_batch(const Batch& batch) {
  std::vector<ValueId> loads = early_loads(batch);
  if (!loads.empty()) emit_early_loads(batch, loads);
  auto names = names_;
  std::string outside = valid_;
  out_.line("_Pragma(\"unroll\")");
  out_.open("for (int u = 0; u < {}; ++u)", batch.count);
  batch.place();
  auto in_array = [&](ValueId id) {
    names_[id] = scope_of(id) == Scope::element ? fmt::format("x{}[u * {} + c]", id, vector_)
                                                : fmt::format("x{}[u]", id);
  };
  for (ValueId id : loads) in_array(id);
  if (batch.kept)
    for (ValueId id = 0; id < reuse_.kept.size(); ++id) {
      const std::vector<ValueId>& mine = reuse_.computed[batch.stages[0]];
      if (reuse_.kept[id] && !std::binary_search(mine.begin(), mine.end(), id)) in_array(id);
    }
  // Lanes trade values, so all threads must stay together.
  bool together = schedule_.lanes;
  bool guarded = !batch.always_valid && !together;
  valid_ = together && !batch.always_valid ? "valid" : "";
  if (guarded) out_.open("if (valid)");
  for (uint32_t stage : batch.stages) emit_stage_of_vector(stage, batch.kept);
  if (guarded) out_.close();
  out_.close();
  valid_ = outside;
  names_ = names;
}

void Generator::keep(ValueId id) {
  if (!reuse_.kept[id]) return;
  out_.line("x{}[{}] = {};", id,
            scope_of(id) == Scope::element ? fmt::format("u * {} + c", vector_) : "u", names_[id]);
}

void Generator::emit_stage_of_vector(uint32_t stage, bool keeps) {
  const Stage& mine = kernel_.stages[stage];
  bool sweep = mine.kind == StageKind::sweep;
  if (sweep && !has_inner()) return;
  in_row_stage_ = !sweep;
  std::vector<ValueId> elements;
  for (ValueId id : reuse_.computed[stage]) {
    if (scope_of(id) == Scope::element) elements.push_back(id);
    if (scope_of(id) != Scope::vector || !names_[id].empty()) continue;
    if (is_store(kernel_.instructions[id].op)) continue;
    emit_value(id);
    if (keeps) keep(id);
  }
  bool feeds = mine.first_accumulator < mine.last_accumulator;
  if (!elements.empty() || (sweep && vector_ > 1 && feeds)) emit_elements(elements, stage, keeps);
  for (ValueId id : reuse_.computed[stage]) {
    const Instruction& instruction = kernel_.instructions[id];
    if (!is_store(instruction.op)) continue;
    if (scope_of(id) == Scope::vector)
      emit_store(id);
    else if (is_vector_access(instruction.aux) && instruction.op == Opcode::store)
      emit_vector_store(kernel_.accesses[instruction.aux], fmt::format("y{}", id));
  }
  if (!sweep || vector_ == 1)
    for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i)
      feed(i, Scope::vector);
  in_row_stage_ = false;
}

/// What differs from element to element of a vector.
void Generator::emit_elements(const std::vector<ValueId>& ids, uint32_t stage, bool keeps) {
  auto whole = [&](ValueId id) {
    const Instruction& instruction = kernel_.instructions[id];
    return instruction.op == Opcode::store && is_vector_access(instruction.aux);
  };
  for (ValueId id : ids)
    if (whole(id)) out_.line("{} y{}[{}];", type_name(dtype_of(id)), id, vector_);
  out_.line("_Pragma(\"unroll\")");
  out_.open("for (int c = 0; c < {}; ++c)", vector_);
  auto names = names_;
  std::string last = position_[schedule_.vector_axis];
  position_[schedule_.vector_axis] = "(" + last + " + c)";
  for (ValueId id : ids) {
    const Instruction& instruction = kernel_.instructions[id];
    if (whole(id)) {
      out_.line("y{}[c] = {};", id, name(instruction.operands[0]));
    } else if (is_store(instruction.op)) {
      emit_store(id);
    } else if (names_[id].empty()) {
      emit_value(id);
      if (keeps) keep(id);
    }
  }
  const Stage& mine = kernel_.stages[stage];
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) feed(i, Scope::element);
  position_[schedule_.vector_axis] = last;
  names_ = names;
  out_.close();
}

// ---- Accumulators ------------------------------------------------------------------------------

std::string Generator::total_type(uint32_t i) const {
  return std::string(type_name(dtype_of(kernel_.accumulators[i].value)));
}

std::string Generator::identity(uint32_t i) const {
  const Accumulator& accumulator = kernel_.accumulators[i];
  DType dtype = dtype_of(accumulator.value);
  return literal(dtype, identity_bits(accumulator.reduce, dtype));
}

bool Generator::needs_lanes(uint32_t i) const {
  return schedule_.lanes && !is_index_reduction(i) &&
         is_floating(dtype_of(kernel_.accumulators[i].value));
}

bool Generator::column_in_registers(bool from_sweep) const {
  return !from_sweep || variant_.shape == Shape::columns || slots_ > 0;
}

std::string Generator::column_element(uint32_t i, bool from_sweep) const {
  std::string element = vector_ > 1 ? " + c" : "";
  if (!from_sweep) return fmt::format("c{}", i);
  if (variant_.shape == Shape::columns) return fmt::format("c{}[{}]", i, vector_ > 1 ? "c" : "0");
  if (column_in_registers(true)) return fmt::format("c{}[u * {}{}]", i, vector_, element);
  return fmt::format("c{}[e{}]", i, element);
}

void Generator::feed(uint32_t i, Scope scope) {
  const Accumulator& accumulator = kernel_.accumulators[i];
  std::string value = name(accumulator.value), when = valid_;
  if (accumulator.predicate != none)
    when += (when.empty() ? "" : " && ") + name(accumulator.predicate);
  std::string guard = when.empty() ? "" : "if (" + when + ") ";
  std::string_view op = combiner(accumulator.reduce, accumulator.column);
  if (accumulator.column) {
    std::string to = column_element(i, !in_row_stage_);
    out_.line("{}{} = {}::of<{}>({}, {});", guard, to, op, total_type(i), to, value);
  } else if (is_index_reduction(i)) {
    out_.line("{}a{}_.take({}, (i64)e{});", guard, i, value, scope == Scope::element ? " + c" : "");
  } else if (needs_lanes(i)) {
    out_.line("feed_lane<{}>(a{}_, {}, {});", combiner(accumulator.reduce, true), i, value,
              when.empty() ? "true" : when);
  } else {
    out_.line("{}a{}_ = {}::of<{}>(a{}_, {});", guard, i, op, total_type(i), i, value);
  }
}

void Generator::declare_totals(uint32_t stage) {
  const Stage& mine = kernel_.stages[stage];
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    if (accumulator.column) continue;
    if (is_index_reduction(i))
      out_.line("Extreme<{}, {}> a{}_ = {{{}, -1}};", total_type(i),
                accumulator.reduce == Reduce::argmax, i, identity(i));
    else
      out_.line("{} a{}_ = {};", total_type(i), i, identity(i));
  }
}

/// The team's threads add up what each has found; all get the result as `r`.
void Generator::finish_totals(uint32_t stage) {
  const Stage& mine = kernel_.stages[stage];
  uint32_t team = variant_.team, word = 0;
  const bool any_width = variant_.any_width;
  auto buffer = [&](uint32_t n) {
    return any_width ? fmt::format("(exchange[flip][{}] + team * (width / 32))", n)
                     : fmt::format("exchange[flip][team][{}]", n);
  };
  auto share = [&](const std::string& value, uint32_t n) {
    if (any_width)
      out_.line("if (width > 32 && t % 32 == 0) {}[t / 32] = packed({});", buffer(n), value);
    else if (team > 32)
      out_.line("share<{}>({}, {});", team, value, buffer(n));
  };
  bool any = false;
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    if (accumulator.column) continue;
    any = true;
    std::string_view op = combiner(accumulator.reduce, needs_lanes(i));
    if (is_index_reduction(i)) {
      if (any_width)
        out_.line("extreme_any_in_warp(a{}_, width < 32 ? width : 32);", i);
      else
        out_.line("extreme_in_warp<{}>(a{}_);", std::min(team, 32u), i);
      share(fmt::format("a{}_.value", i), word);
      share(fmt::format("a{}_.at", i), word + 1);
      word += 2;
      continue;
    }
    if (needs_lanes(i))
      out_.line("a{}_ = reduce_lanes<{}>(a{}_);", i, op, i);
    else if (any_width)
      out_.line("a{}_ = reduce_any_in_warp<{}>(a{}_, width);", i, op, i);
    else
      out_.line("a{}_ = reduce_in_warp<{}, {}>(a{}_);", i, op, team, i);
    share(fmt::format("a{}_", i), word);
    ++word;
  }
  if (!any) return;
  if (team > 32) out_.line("{}", team_barrier());
  word = 0;
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    if (accumulator.column) continue;
    if (is_index_reduction(i)) {
      if (any_width)
        out_.line("extreme_any_shared(a{}_, width, {}, {});", i, buffer(word), buffer(word + 1));
      else if (team > 32)
        out_.line("extreme_shared<{}>(a{}_, {}, {});", team, i, buffer(word), buffer(word + 1));
      out_.line("const i64 r{} = a{}_.at < 0 ? 0 : a{}_.at;", i, i, i);
      word += 2;
      continue;
    }
    if (any_width)
      out_.line("a{}_ = reduce_any_shared<{}>(a{}_, width, {});", i,
                combiner(accumulator.reduce, false), i, buffer(word));
    else if (team > 32)
      out_.line("a{}_ = reduce_shared<{}, {}>(a{}_, {});", i, combiner(accumulator.reduce, false),
                team, i, buffer(word));
    out_.line("const {} r{} = a{}_;", total_type(i), i, i);
    ++word;
  }
  if (team > 32) out_.line("flip ^= 1;");
}

}  // namespace encore::jit::cuda
