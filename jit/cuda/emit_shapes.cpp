// How a function of each shape walks its points.
#include <encore/jit/cuda/generator.h>
#include <encore/jit/cuda/spell_instruction.h>

namespace encore::jit::cuda {

void Generator::emit_points() {
  std::string index = index_type();
  int64_t points = 1;
  for (const Axis& axis : kernel_.axes) {
    const Size& extent = kernel_.sizes[axis.extent];
    bool skipped = axis.role == Role::inner && !has_inner();
    points = !extent.fixed || points < 0 ? -1 : points * (skipped ? 1 : extent.value);
  }
  int64_t block = int64_t(variant_.team) * variant_.unroll * vector_;
  bool whole = points >= 0 && points % block == 0;
  std::string total = product(Role::outer) + " * " + product(Role::row);
  if (has_inner()) total += " * " + product(Role::inner);
  out_.line("const {} total = ({}) / {}, first = ({})block * {} + t;", index, total, vector_, index,
            variant_.team * variant_.unroll);
  Batch batch{.count = variant_.unroll, .always_valid = whole};
  for (uint32_t s = 0; s < kernel_.stages.size(); ++s)
    if (kernel_.stages[s].kind != StageKind::setup) batch.stages.push_back(s);
  batch.place = [&, whole] {
    out_.line("const {} g = first + u * {};", index_type(), variant_.team);
    if (!whole) out_.line("const bool valid = g < total;");
    decode(fmt::format("g * {}", vector_), Role::outer, has_inner() ? Role::inner : Role::row);
  };
  emit_batch(batch);
}

/// Opens the loops of a unit of rows: an outer point's chunk, or with serial rows all its chunks.
void Generator::begin_columns() {
  std::string index = index_type();
  out_.line("const {} rows = {};", index, product(Role::row));
  std::string chunk_rows = "rows";
  if (kernel_.rows_per_chunk != none) chunk_rows = size(kernel_.rows_per_chunk);
  bool chunks = kernel_.rows_per_chunk != none;
  out_.line("const {} chunks = {};", index,
            chunks ? fmt::format("rows ? (rows + {} - 1) / {} : 1", chunk_rows, chunk_rows) : "1");
  if (variant_.owners > 1)
    out_.line("const {} outer = unit / {}, owner = unit % {};", index, variant_.owners,
              variant_.owners);
  else if (schedule_.serial)
    out_.line("const {} outer = unit;", index);
  else
    out_.line("const {} outer = part(unit, chunks), chunk = rest(unit, chunks);", index);
  decode("outer", Role::outer, Role::outer);
  if (schedule_.serial)
    out_.open("for ({} chunk = 0; chunk < chunks; ++chunk)", index);
  else
    out_.open("");
  out_.line("const {} begin = chunk * {}, end = ({})smaller_of(begin + {}, rows);", index,
            chunk_rows, index, chunk_rows);
  uint32_t number = 0;
  for (const Stage& stage : kernel_.stages) {
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
      if (!kernel_.accumulators[i].column) continue;
      bool sweep = stage.kind == StageKind::sweep;
      if (sweep && !has_inner()) continue;
      if (!sweep) {
        out_.line("{} c{} = {};", total_type(i), i, identity(i));
      } else if (column_in_registers(true)) {
        uint32_t count = vector_ * (variant_.shape == Shape::rows ? slots_ : 1);
        out_.line("{} c{}[{}];", total_type(i), i, count);
        out_.line("_Pragma(\"unroll\") for (int c = 0; c < {}; ++c) c{}[c] = {};", count, i,
                  identity(i));
      } else {
        out_.line("{}* const c{} = ({}*)(p.scratch + w[1] + 8 * ({} * ({}ll * ({}) + {}ll)));",
                  total_type(i), i, total_type(i), "(u64)inner", kernel_.accumulators.size(),
                  variant_.any_width ? "(i64)unit * teams + team" : "unit", number++);
        out_.open("for ({} k = t; k * {} < inner; k += {})", index, vector_, width());
        out_.line("for (int c = 0; c < {}; ++c) c{}[k * {} + c] = {};", vector_, i, vector_,
                  identity(i));
        out_.close();
        // Where runs start anew at lane 0, other threads take these columns.
        if (schedule_.lanes || orders_singles()) out_.line("{}", team_barrier());
      }
    }
  }
}

void Generator::end_columns() {
  for (const Stage& stage : kernel_.stages)
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      if (kernel_.accumulators[i].column) end_column(i, stage.kind == StageKind::sweep);
  out_.close();
}

/// A chunk's totals leave: added up over the block's teams, where there are several.
void Generator::end_column(uint32_t i, bool from_sweep) {
  if (from_sweep && !has_inner()) return;
  const Accumulator& accumulator = kernel_.accumulators[i];
  const Access& access = kernel_.accesses[accumulator.access];
  std::string index = index_type();
  bool rows = variant_.shape == Shape::rows;
  uint32_t team = variant_.team, teams = variant_.teams;
  std::string active = team_count();
  const std::string meet =
      variant_.any_width ? "width_barrier(width * teams, -1);" : "__syncthreads();";
  std::string_view op = combiner(accumulator.reduce, true);
  std::string stored(stored_type_name(kernel_.arguments[access.argument].dtype));
  auto store = [&](const std::string& value) {
    out_.line("a{}[{}] = Narrow<{}>::of({});", access.argument, place_of(access), stored, value);
  };
  if (!from_sweep) {
    if (has_teams()) {
      out_.line("{}", meet);
      out_.line("if (t == 0) gathered[team] = packed(c{});", i);
      out_.line("{}", meet);
    }
    out_.open("if (threadIdx.x == 0{})", rows ? "" : " && tile == 0");
    if (has_teams()) {
      out_.line("c{} = unpacked<{}>(gathered[0]);", i, total_type(i));
      out_.line("for (int r = 1; r < {}; ++r) c{} = {}::of(c{}, unpacked<{}>(gathered[r]));",
                active, i, op, i, total_type(i));
    }
    store(fmt::format("c{}", i));
    out_.close();
    return;
  }
  if (!column_in_registers(true) && variant_.any_width) {
    out_.line("{}", meet);
    out_.open("");
    out_.line("const u64 each = (u64)inner * {}, parts = (u64)c{} - each * team;",
              8 * kernel_.accumulators.size(), i);
    out_.open("for ({} e = threadIdx.x; e < inner; e += width * teams)", index);
    out_.line("{} total = (({}*)parts)[e];", total_type(i), total_type(i));
    out_.line(
        "for (int r = 1; r < teams; ++r) total = {}::of(total, (({}*)(parts + each * r))[e]);", op,
        total_type(i));
    decode("e", Role::inner, Role::inner);
    store("total");
    out_.close();
    out_.close();
    out_.line("{}", meet);
    return;
  }
  if (!column_in_registers(true)) {
    if (schedule_.lanes) out_.line("{}", team_barrier());
    out_.open("for ({} k = t; k * {} < inner; k += {})", index, vector_, team);
    out_.open("for (int c = 0; c < {}; ++c)", vector_);
    out_.line("const {} e = k * {} + c;", index, vector_);
    decode("e", Role::inner, Role::inner);
    store(fmt::format("c{}[e]", i));
    out_.close();
    out_.close();
    return;
  }
  uint32_t slots = rows ? slots_ : 1, width = team * vector_;
  std::string first = rows ? fmt::format("k * {}", width) : fmt::format("tile * {}", width);
  out_.line("_Pragma(\"unroll\")");
  out_.open("for (int k = 0; k < {}; ++k)", slots);
  if (teams > 1) {
    out_.line("__syncthreads();");
    out_.line(
        "_Pragma(\"unroll\") for (int c = 0; c < {}; ++c) gathered[threadIdx.x * {} + c] = "
        "packed(c{}[k * {} + c]);",
        vector_, vector_, i, vector_);
    out_.line("__syncthreads();");
    out_.open("for (int j = threadIdx.x; j < {}; j += {})", width, variant_.threads());
    out_.line("{} total = unpacked<{}>(gathered[j]);", total_type(i), total_type(i));
    out_.line(
        "for (int r = 1; r < {}; ++r) total = {}::of(total, unpacked<{}>(gathered[r * {} + j]));",
        active, op, total_type(i), width);
    out_.line("const {} e = {} + j;", index, first);
    out_.open("if (e < inner)");
    decode("e", Role::inner, Role::inner);
    store("total");
  } else {
    if (schedule_.lanes && rows) {
      out_.line("const {} stop = {};", index, row_steps());
      place_inner("k");
      out_.open("if (valid)");
    } else {
      out_.line("const {} e = {} + t * {};", index, first, vector_);
      out_.open("if (e < inner)");
      decode("e", Role::inner, Role::inner);
    }
    if (is_vector_access(accumulator.access)) {
      out_.line("store_vector<{}>(a{} + ({}), c{} + k * {});", vector_, access.argument,
                place_of(access), i, vector_);
      out_.open("");
    } else {
      out_.line("_Pragma(\"unroll\")");
      out_.open("for (int c = 0; c < {}; ++c)", vector_);
      std::string last = schedule_.vector_axis == none ? "" : position_[schedule_.vector_axis];
      if (schedule_.vector_axis != none && vector_ > 1)
        position_[schedule_.vector_axis] = "(" + last + " + c)";
      store(fmt::format("c{}[k * {} + c]", i, vector_));
      if (schedule_.vector_axis != none) position_[schedule_.vector_axis] = last;
    }
  }
  out_.close();
  out_.close();
  out_.close();
}

/// Do the sizes, all known, fill every round of every team? Then no element asks whether it exists,
/// and the rows of a round are computed side by side.
bool Generator::has_whole_columns() const {
  if (variant_.any_teams || kernel_.rows_per_chunk == none) return false;
  const Size& chunk = kernel_.sizes[kernel_.rows_per_chunk];
  const int64_t rows = fixed_points(kernel_, Role::row);
  const int64_t inner = has_inner() ? fixed_points(kernel_, Role::inner) : 1;
  return chunk.fixed && chunk.value > 0 && rows >= 0 && inner >= 0 && rows % chunk.value == 0 &&
         chunk.value % (int64_t(variant_.teams) * variant_.unroll) == 0 &&
         inner % (int64_t(variant_.team) * vector_) == 0;
}

void Generator::emit_columns() {
  std::string index = index_type();
  out_.line("const {} inner = {};", index, has_inner() ? product(Role::inner) : "1");
  out_.line("const {} unit = part(({})block, tiles), tile = rest(({})block, tiles);", index, index,
            index);
  begin_columns();
  out_.line("const {} e = (tile * {} + t) * {};", index, variant_.team, vector_);
  if (has_inner()) decode("e", Role::inner, Role::inner);
  if (variant_.owners > 1) {
    emit_owned_rows();
    return end_columns();
  }
  std::string teams = team_count();
  if (variant_.any_teams)
    out_.line("const {} start = team < teams ? begin + team : end;", index);
  else
    out_.line("const {} start = begin + team;", index);
  out_.open("for ({} r = start; r < end; r += {} * {})", index, teams, variant_.unroll);
  Batch batch{.count = variant_.unroll, .always_valid = has_whole_columns()};
  for (uint32_t s = 0; s < kernel_.stages.size(); ++s)
    if (kernel_.stages[s].kind != StageKind::setup) batch.stages.push_back(s);
  batch.place = [&] {
    out_.line("const {} row = r + u * {};", index_type(), teams);
    if (!batch.always_valid) out_.line("const bool valid = row < end && e < inner;");
    decode("row", Role::row, Role::row);
  };
  emit_batch(batch);
  out_.close();
  end_columns();
}

/// A warp looks at 32 rows at once and then takes, in order, those whose place is the owner's.
void Generator::emit_owned_rows() {
  out_.open("for ({} r = begin; r < end; r += 32)", index_type());
  out_.line("bool mine = false;");
  emit_owner();
  out_.line("for (u32 todo = __ballot_sync(~0u, mine); todo != 0; todo &= todo - 1) {{");
  out_.line("const {} row = r + __ffs((int)todo) - 1;", index_type());
  decode("row", Role::row, Role::row);
  Batch batch;
  for (uint32_t s = 0; s < kernel_.stages.size(); ++s)
    if (kernel_.stages[s].kind != StageKind::setup) batch.stages.push_back(s);
  batch.place = [&] { out_.line("const bool valid = e < inner;"); };
  emit_batch(batch);
  out_.line("}}");
  out_.close();
}

/// Sets `mine` for the row of this lane.
void Generator::emit_owner() {
  ValueId offset = none;
  for (const Instruction& instruction : kernel_.instructions)
    if (instruction.op == Opcode::store_add) offset = kernel_.accesses[instruction.aux].offset;
  std::vector<bool> needed(kernel_.instructions.size());
  needed[reuse_.canonical[offset]] = true;
  auto names = names_;
  out_.open("if (r + (i32)threadIdx.x % 32 < end)");
  out_.line("const {} row = r + (i32)threadIdx.x % 32;", index_type());
  decode("row", Role::row, Role::row);
  for (ValueId id = ValueId(needed.size()); id-- > 0;) {
    if (!needed[id]) continue;
    const Instruction& instruction = kernel_.instructions[id];
    auto need = [&](ValueId value) {
      if (value != none) needed[reuse_.canonical[value]] = true;
    };
    for (ValueId operand : instruction.operands) need(operand);
    if (instruction.op != Opcode::load) continue;
    need(kernel_.accesses[instruction.aux].offset);
    need(kernel_.accesses[instruction.aux].predicate);
  }
  for (ValueId id = 0; id < needed.size(); ++id)
    if (needed[id] && scope_of(id) != Scope::thread) emit_value(id);
  out_.line("mine = (i32)(((u64){} * 0x9e3779b97f4a7c15ull >> 40) % {}) == (i32)owner;",
            name(offset), variant_.owners);
  out_.close();
  names_ = names;
}

void Generator::emit_rows() {
  std::string index = index_type();
  out_.line("const {} inner = {};", index, product(Role::inner));
  out_.line("const {} unit = block;", index);
  if (schedule_.column_totals || schedule_.serial) {
    begin_columns();
    out_.open("for ({} r = begin; r < end; r += {})", index, team_count());
    if (has_teams()) {
      out_.line("const {} row = r + team;", index);
      out_.line("const bool live = row < end;");
    } else {
      out_.line("const {} row = r;", index);
    }
    valid_ = has_teams() ? "live" : "";
    decode("row", Role::row, Role::row);
    emit_row_of_team();
    out_.close();
    valid_.clear();
    end_columns();
    return;
  }
  int64_t rows = fixed_points(kernel_, Role::row), outer = fixed_points(kernel_, Role::outer);
  bool whole = !has_teams() || (!variant_.any_width && rows >= 0 && outer >= 0 &&
                                rows * outer % variant_.teams == 0);
  out_.line("const {} line = unit * {} + team;", index, team_count());
  if (!whole)
    out_.line("const bool live = line < {} * {};", product(Role::outer), product(Role::row));
  valid_ = whole ? "" : "live";
  decode("line", Role::outer, Role::row);
  emit_row_of_team();
}

void Generator::emit_row_of_team() {
  for (ValueId id = 0; id < reuse_.kept.size(); ++id)
    if (reuse_.kept[id])
      out_.line("{} x{}[{}];", type_name(dtype_of(id)), id,
                slots_ * (scope_of(id) == Scope::element ? vector_ : 1));
  for (uint32_t s = 0; s < kernel_.stages.size(); ++s) {
    if (kernel_.stages[s].kind == StageKind::row) emit_row_stage(s);
    if (kernel_.stages[s].kind == StageKind::sweep) emit_sweep(s);
  }
}

void Generator::emit_row_stage(uint32_t stage) {
  in_row_stage_ = true;
  bool first_store = true;
  for (ValueId id : reuse_.computed[stage]) {
    if (scope_of(id) == Scope::thread) continue;
    Opcode op = kernel_.instructions[id].op;
    if (op != Opcode::store && op != Opcode::store_add) {
      emit_value(id);
      continue;
    }
    if (first_store && schedule_.shared_row) out_.line("{}", team_barrier());
    first_store = false;
    emit_store(id);
  }
  const Stage& mine = kernel_.stages[stage];
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) feed(i, Scope::row);
  in_row_stage_ = false;
}

/// Declares the element number `e` of a slot, whether it exists, and its positions.
void Generator::place_inner(const std::string& slot) {
  std::string index = index_type();
  uint32_t axis = schedule_.vector_axis;
  std::string live =
      variant_.shape == Shape::rows && has_teams() && valid_ == "live" ? "live && " : "";
  if (schedule_.lanes && axis != none) {
    std::string last = fixed_extent(axis);
    out_.line("const {} q = {}, in_run = rest(q, ({})(({} + 31) / 32)) * 32 + t;", index, slot,
              index, last);
    out_.line("const {} e = part(q, ({})(({} + 31) / 32)) * {} + in_run;", index, index, last,
              last);
    out_.line("const bool valid = {}q < stop && in_run < {};", live, last);
  } else {
    if (orders_singles())
      out_.line("const {} q = {}, e = ((q >> order) * {} + t << order) + (q & (1 << order) - 1);",
                index, slot, width());
    else
      out_.line("const {} e = (({}) * {} + t) * {};", index, slot, width(), vector_);
    out_.line("const bool valid = {}e < inner{};", live,
              variant_.shape == Shape::split ? fmt::format(" && {} < stop", slot) : "");
  }
  decode("e", Role::inner, Role::inner);
}

/// Vectors of a row for each thread of its team.
std::string Generator::row_steps() const {
  if (schedule_.lanes && schedule_.vector_axis != none) {
    std::string last = fixed_extent(schedule_.vector_axis);
    return fmt::format("inner / {} * (({} + 31) / 32)", last, last);
  }
  if (variant_.any_width && orders_singles())
    return "(inner + (width << order) - 1) / (width << order) << order";
  if (variant_.any_width)
    return fmt::format("(inner + width * {} - 1) / (width * {})", vector_, vector_);
  uint32_t width = variant_.team * vector_;
  return fmt::format("(inner + {}) / {}", width - 1, width);
}

void Generator::emit_sweep(uint32_t stage) {
  out_.line("// sweep");
  for (ValueId id : reuse_.computed[stage])
    if (has_inner() && scope_of(id) == Scope::row) emit_value(id);
  declare_totals(stage);
  if (has_inner()) {
    std::string index = index_type(), outside = valid_;
    out_.open("");
    std::string steps = row_steps();
    Batch batch{.stages = {stage}, .count = slots_, .kept = true};
    if (variant_.shape == Shape::rows && slots_) {
      int64_t points = fixed_points(kernel_, Role::inner);
      batch.always_valid = outside.empty() && !schedule_.lanes &&
                           points == int64_t(slots_) * variant_.team * vector_;
      if (schedule_.lanes) out_.line("const {} stop = {};", index, steps);
      batch.place = [this] { place_inner("u"); };
      emit_batch(batch);
    } else {
      batch.kept = false;
      batch.count = variant_.unroll;
      if (variant_.shape == Shape::split) {
        if (orders_singles())
          steps = fmt::format("((inner + ({0} << order) - 1) / ({0} << order))", variant_.team);
        const char* order = orders_singles() ? " << order" : "";
        out_.line("const {} each = (({}) + tiles - 1) / tiles, start = (tile * each){};", index,
                  steps, order);
        out_.line("const {} stop = (({})smaller_of(tile * each + each, {})){};", index, index,
                  steps, order);
      } else {
        out_.line("const {} start = 0, stop = {};", index, steps);
      }
      out_.open("for ({} k = start; k < stop; k += {})", index, variant_.unroll);
      batch.place = [this] { place_inner("k + u"); };
      emit_batch(batch);
      out_.close();
    }
    out_.close();
    valid_ = outside;
  }
  if (variant_.shape == Shape::split)
    emit_split_totals(stage);
  else
    finish_totals(stage);
}

/// Each function goes through the row stages again, takes the totals of earlier sweeps from scratch
/// memory and does one sweep's part.
void Generator::emit_split() {
  std::string index = index_type();
  out_.line("const {} inner = {};", index, product(Role::inner));
  out_.line("const {} line = part(({})block, tiles), tile = rest(({})block, tiles);", index, index,
            index);
  out_.line("const {} lines = {} * {};", index, product(Role::outer), product(Role::row));
  out_.line("u64* const totals = (u64*)(p.scratch + w[1]);");
  decode("line", Role::outer, Role::row);
  uint32_t step = 0;
  for (uint32_t s = 0; s < kernel_.stages.size() && step <= variant_.step; ++s) {
    if (kernel_.stages[s].kind == StageKind::row) {
      valid_ = step == variant_.step ? "tile == 0" : "false";
      std::vector<ValueId> all = reuse_.computed[s];
      if (step < variant_.step)
        std::erase_if(reuse_.computed[s],
                      [&](ValueId id) { return kernel_.instructions[id].op == Opcode::store; });
      std::string stores = valid_;
      valid_.clear();
      in_row_stage_ = true;
      for (ValueId id : reuse_.computed[s]) {
        if (scope_of(id) == Scope::thread) continue;
        bool store = kernel_.instructions[id].op == Opcode::store;
        valid_ = store ? stores : "";
        store ? emit_store(id) : emit_value(id);
      }
      in_row_stage_ = false;
      valid_.clear();
      reuse_.computed[s] = all;
    } else if (kernel_.stages[s].kind == StageKind::sweep) {
      if (step == variant_.step)
        emit_sweep(s);
      else
        read_split_totals(s);
      ++step;
    }
  }
}

namespace {

/// Words of scratch memory for each part of each row, before those of accumulator `i`.
uint32_t words_before(const Kernel& kernel, uint32_t i) {
  uint32_t words = 0;
  for (uint32_t j = 0; j < i; ++j) {
    Reduce reduce = kernel.accumulators[j].reduce;
    words += reduce == Reduce::argmax || reduce == Reduce::argmin ? 2 : 1;
  }
  return words;
}

}  // namespace

void Generator::emit_split_totals(uint32_t stage) {
  const Stage& mine = kernel_.stages[stage];
  if (mine.first_accumulator == mine.last_accumulator) return;
  finish_totals(stage);
  out_.open("if (t == 0)");
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) {
    std::string at =
        fmt::format("totals[(({} * lines) + line) * tiles + tile]", words_before(kernel_, i));
    if (!is_index_reduction(i)) {
      out_.line("{} = packed(a{}_);", at, i);
      continue;
    }
    out_.line("{} = packed(a{}_.value);", at, i);
    out_.line("totals[(({} * lines) + line) * tiles + tile] = (u64)a{}_.at;",
              words_before(kernel_, i) + 1, i);
  }
  out_.close();
}

void Generator::read_split_totals(uint32_t stage) {
  const Stage& mine = kernel_.stages[stage];
  if (mine.first_accumulator == mine.last_accumulator) return;
  declare_totals(stage);
  out_.open("for ({} k = t; k < tiles; k += {})", index_type(), variant_.team);
  for (uint32_t i = mine.first_accumulator; i < mine.last_accumulator; ++i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    std::string at =
        fmt::format("totals[(({} * lines) + line) * tiles + k]", words_before(kernel_, i));
    std::string_view type = type_name(dtype_of(accumulator.value));
    if (is_index_reduction(i))
      out_.line("a{}_.take(unpacked<{}>({}), (i64)totals[(({} * lines) + line) * tiles + k]);", i,
                type, at, words_before(kernel_, i) + 1);
    else
      out_.line("a{}_ = {}::of(a{}_, unpacked<{}>({}));", i, combiner(accumulator.reduce, false), i,
                type, at);
  }
  out_.close();
  finish_totals(stage);
}

}  // namespace encore::jit::cuda
