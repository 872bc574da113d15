#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/contraction_writer.h>
#include <encore/jit/cuda/schedule.h>
#include <encore/jit/cuda/spell_instruction.h>

namespace encore::jit::cuda {

int FunctionWriter::groups() const {
  const int threads = plan_.boxed ? plan_.down * 128 : int(plan_.threads());
  return adds_rows_in_order(kernel_, target_) ? 1 : threads / width();
}

void FunctionWriter::write_totals() {
  line("const int own_column = int(threadIdx.x) % {} + int(rank) * {};", width(), width());
  line("const int group = int(threadIdx.x) / {};", width());
  line("const i64 column = first_column + own_column;");
  decompose(Role::inner, "column");
  for (uint32_t i = 0; i < kernel_.accumulators.size(); ++i)
    line("{} t{} = {};", type_name(kernel_.accumulators[i].dtype), i,
         literal(kernel_.accumulators[i].dtype,
                 identity_bits(kernel_.accumulators[i].reduce, kernel_.accumulators[i].dtype)));
  write_column_loads();
  if (plan_.multiplier != Multiplier::split_tf32) return;
  line("auto multiply_alone = [&](i64 row, i64 column) {{");
  line("float sum = 0;");
  line("#pragma unroll 1");
  line("for (i64 depth = 0; depth < depths; ++depth)");
  line("  sum = __fmaf_rn(load_a(row, depth), load_b(column, depth), sum);");
  line("return sum;");
  line("}};");
}

int FunctionWriter::batch() const {
  const int rows = plan_.rows / groups();
  // Rows that need no checks are computed side by side; what is loaded for each takes registers.
  bool loads = false;
  for_early_loads(Early::element, [&](uint32_t) { loads = true; });
  if (plan_.boxed && !loads && has_whole_rows() && has_whole_columns() && rows % 8 == 0) return 8;
  return rows % 4 == 0 ? 4 : rows % 2 == 0 ? 2 : 1;
}

FunctionWriter::Early FunctionWriter::early_load(const Stage& stage, uint32_t id) const {
  const Instruction& load = kernel_.instructions[id];
  if (load.op != Opcode::load) return Early::no;
  const Access& access = kernel_.accesses[load.aux];
  if (access.offset != none || access.predicate != none) return Early::no;
  for (uint32_t i = 0; i < kernel_.instructions.size(); ++i) {
    const Instruction& other = kernel_.instructions[i];
    const bool before = i < id || i >= stage.end;
    if (is_store(other.op) && before && kernel_.accesses[other.aux].argument == access.argument)
      return Early::no;
  }
  for (uint32_t axis : axes_of(Role::row))
    if (access.strides[axis] != none) return Early::element;
  return kernel_.arguments[access.argument].use == Use::read ? Early::column : Early::element;
}

bool FunctionWriter::has_whole_rows() const {
  const int64_t rows = fixed_points(kernel_, Role::row);
  if (rows < 0 || rows % plan_.rows != 0) return false;
  if (kernel_.rows_per_chunk == none) return true;
  const Size& chunk = kernel_.sizes[kernel_.rows_per_chunk];
  return chunk.fixed && chunk.value > 0 && chunk.value % plan_.rows == 0;
}

bool FunctionWriter::has_whole_columns() const {
  const int64_t columns = fixed_points(kernel_, Role::inner);
  return columns > 0 && columns % plan_.columns == 0;  // a row stage runs without columns, too
}

std::string FunctionWriter::in_tile(const std::string& row) const {
  std::string all = has_whole_columns() ? "" : "column < columns";
  if (!has_whole_rows()) all += (all.empty() ? "" : " && ") + row + " < row_end";
  return all.empty() ? "true" : all;
}

void FunctionWriter::write_column_loads() {
  for_early_loads(Early::column, [&](uint32_t id) {
    const Instruction& load = kernel_.instructions[id];
    line("const {0} v{1} = column < columns ? {2} : ({0})0;", type_name(load.dtype), id,
         spell_load(kernel_.accesses[load.aux], load.dtype));
  });
}

void FunctionWriter::write_element_loads(const std::string& tile_row) {
  bool any = false;
  for_early_loads(Early::element, [&](uint32_t id) {
    line("{} early_{}[{}];", type_name(kernel_.instructions[id].dtype), id, batch());
    any = true;
  });
  if (!any) return;
  line("#pragma unroll");
  line("for (int u = 0; u < {}; ++u) {{", batch());
  line("const i64 row = first_row + {} + u * {};", tile_row, groups());
  line("if (group < {} && {}) {{", groups(), in_tile("row"));
  decompose(Role::row, "row");
  for_early_loads(Early::element, [&](uint32_t id) {
    const Instruction& load = kernel_.instructions[id];
    line("early_{}[u] = {};", id, spell_load(kernel_.accesses[load.aux], load.dtype));
  });
  line("}}");
  line("}}");
}

void FunctionWriter::write_epilogue() {
  line("if (group < {} && (column < columns || column == 0)) {{", groups());
  line("#pragma unroll 1");
  line("for (int base = group; base < {}; base += {}) {{", plan_.rows, groups() * batch());
  if (!has_whole_rows()) line("if (first_row + base >= row_end) break;");
  if (!loads_before_products()) write_element_loads("base");
  write_ready();
  line("#pragma unroll");
  line("for (int u = 0; u < {}; ++u) {{", batch());
  line("const int tile_row = base + u * {};", groups());
  line("const i64 row = first_row + tile_row;");
  line("if ({}) {{", has_whole_rows() ? "true" : "row < row_end");
  decompose(Role::row, "row");
  for (const Stage& stage : kernel_.stages) {
    if (stage.kind == StageKind::row) write_row_stage(stage);
    if (stage.kind == StageKind::sweep) write_sweep(stage);
  }
  line("}}");
  line("}}");
  line("}}");
  line("}}");
}

void FunctionWriter::write_ready() {
  const bool again = plan_.multiplier == Multiplier::split_tf32;
  line("{} ready[{}];", value_type(), batch());
  if (again) line("bool is_nan = false;");
  line("#pragma unroll");
  line("for (int u = 0; u < {}; ++u) {{", batch());
  line("const int tile_row = base + u * {};", groups());
  line("ready[u] = 0;");
  line("if ({}) {{", in_tile("first_row + tile_row"));
  const std::string place =
      fmt::format("products + tile_row * {} + own_column", product_pitch(plan_));
  if (plan_.splits == 1) {
    line("ready[u] = *({});", place);
  } else {
    line("#pragma unroll");
    line("for (unsigned from = 0; from < {}; ++from)", plan_.splits);
    line("  ready[u] += contraction::read_of_block({}, from);", place);
  }
  line("}}");
  if (again) line("is_nan |= ready[u] != ready[u];");
  line("}}");
  if (!again) return;
  // Rare, so its code is small: one place for all rows.
  line("if (is_nan)");
  line("#pragma unroll 1");
  line("for (int u = 0; u < {}; ++u) {{", batch());
  line("bool wanted = false;");
  line("#pragma unroll");
  line("for (int v = 0; v < {}; ++v) wanted |= v == u && ready[v] != ready[v];", batch());
  line("if (!wanted) continue;");
  line("const {} sum = multiply_alone(first_row + base + u * {}, column);", value_type(), groups());
  line("#pragma unroll");
  line("for (int v = 0; v < {}; ++v)", batch());
  line("  if (v == u) ready[v] = sum;");
  line("}}");
}

void FunctionWriter::write_row_stage(const Stage& stage) {
  for (uint32_t i = stage.begin; i < stage.end; ++i) {
    if (is_store(kernel_.instructions[i].op)) line("if (column == 0)");
    write_instruction(i);
  }
  if (stage.first_accumulator == stage.last_accumulator) return;
  line("if (column == 0) {{");
  feed(stage);
  line("}}");
}

void FunctionWriter::write_sweep(const Stage& stage) {
  line("if ({}) {{", has_whole_columns() ? "true" : "column < columns");
  line("const {} product = ready[u];", value_type());
  for (uint32_t i = stage.begin; i < stage.end; ++i) {
    const Early early = early_load(stage, i);
    if (early == Early::no) write_instruction(i);
    if (early == Early::element)
      line("const {} v{} = early_{}[u];", type_name(kernel_.instructions[i].dtype), i, i);
  }
  feed(stage);
  line("}}");
}

void FunctionWriter::feed(const Stage& stage) {
  for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    const std::string condition = accumulator.predicate == none
                                      ? std::string()
                                      : fmt::format("if (v{}) ", accumulator.predicate);
    line("{}t{} = {};", condition, i,
         combined(accumulator, fmt::format("t{}", i), fmt::format("v{}", accumulator.value)));
  }
}

std::string FunctionWriter::combined(const Accumulator& accumulator, const std::string& a,
                                     const std::string& b) const {
  return fmt::format("{}::of({}, {})", combiner(accumulator.reduce, groups() == 1), a, b);
}

void FunctionWriter::write_finish() {
  for (const Stage& stage : kernel_.stages)
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      write_total(i, stage.kind == StageKind::sweep);
}

void FunctionWriter::write_total(uint32_t i, bool of_sweep) {
  const Accumulator& accumulator = kernel_.accumulators[i];
  const std::string_view type = type_name(accumulator.dtype);
  line("{{");
  if (groups() > 1) {
    line("{}* const totals = reinterpret_cast<{}*>(shared);", type, type);
    line("totals[threadIdx.x] = t{};", i);
    line("__syncthreads();");
  }
  line("if (group == 0 && {}) {{", of_sweep ? "column < columns" : "column == 0");
  if (groups() > 1) {
    line("for (int from = 1; from < {}; ++from) {{", groups());
    line("const {} other = totals[threadIdx.x + from * {}];", type, width());
    line("t{} = {};", i, combined(accumulator, fmt::format("t{}", i), "other"));
    line("}}");
  }
  line("{}", stored(kernel_.accesses[accumulator.access], fmt::format("t{}", i)));
  line("}}");
  if (groups() > 1) line("__syncthreads();");
  line("}}");
}

}  // namespace encore::jit::cuda
