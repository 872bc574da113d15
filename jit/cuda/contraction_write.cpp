// Writes contractions as CUDA C: what is fixed comes from contraction_tiles.cpp, and here are the
// operands' programs, the walk over tiles and the epilogue.
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/contraction_device.h>
#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/spell_instruction.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace encore::jit::cuda {
namespace {

class FunctionWriter {
 public:
  FunctionWriter(const Kernel& kernel, const ContractionPlan& plan, const Target& target)
      : kernel_(kernel), contraction_(*kernel.contraction), plan_(plan), target_(target) {}

  /// The function's body, after the parameters' names are bound.
  std::string write() {
    write_stages(StageKind::setup);
    write_extents();
    write_place();
    write_types();
    write_operand(true);
    write_operand(false);
    write_totals();
    line("for (i64 first_row = row_begin; first_row < row_end; first_row += {}) {{", plan_.rows);
    if (loads_before_products()) write_element_loads("group");
    write_products();
    write_epilogue();
    line("{}", plan_.splits > 1 ? "contraction::meet_cluster();" : "__syncthreads();");
    line("}}");
    write_finish();
    return std::move(text_);
  }

 private:
  template <class... Parts>
  void line(fmt::format_string<Parts...> format, Parts&&... parts) {
    text_ += "  ";
    fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
    text_ += '\n';
  }

  std::string size(SizeId id) const {
    const Size& size = kernel_.sizes[id];
    return size.fixed ? fmt::format("{}ll", size.value) : fmt::format("s{}", id);
  }

  std::vector<uint32_t> axes_of(Role role) const {
    std::vector<uint32_t> axes;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (kernel_.axes[axis].role == role) axes.push_back(axis);
    return axes;
  }

  // --- indices and programs ---------------------------------------------------------------------

  std::string points(Role role) const {
    std::string product;
    for (uint32_t axis : axes_of(role))
      product += (product.empty() ? "" : " * ") + size(kernel_.axes[axis].extent);
    return product.empty() ? "1" : product;
  }

  /// Declares the indices of a role's axes from the number of the point among all of the role.
  void decompose(Role role, const std::string& number) {
    std::vector<uint32_t> axes = axes_of(role);
    if (axes.size() == 1) return line("const i64 i{} = {};", axes[0], number);
    std::string rest = number;
    while (!axes.empty()) {
      const uint32_t axis = axes.back();
      axes.pop_back();
      if (axes.empty()) return line("const i64 i{} = {};", axis, rest);
      const std::string extent = size(kernel_.axes[axis].extent);
      line("const i64 i{} = rest({}, {}), before_{} = part({}, {});", axis, rest, extent, axis,
           rest, extent);
      rest = fmt::format("before_{}", axis);
    }
  }

  void write_instructions(uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) write_instruction(i);
  }

  void write_instruction(uint32_t i) {
    const Instruction& instruction = kernel_.instructions[i];
    if (is_store(instruction.op)) return write_store(instruction);
    std::string value;
    switch (instruction.op) {
      case Opcode::load:
        value = spell_load(kernel_.accesses[instruction.aux], instruction.dtype);
        break;
      case Opcode::constant:
        value = literal(instruction.dtype, instruction.bits);
        break;
      case Opcode::scalar:
        value = fmt::format("c{}", instruction.aux);
        break;
      case Opcode::size:
        value = size(instruction.aux);
        break;
      case Opcode::index:
        value = fmt::format("i{}", instruction.aux);
        break;
      case Opcode::product:
        value = "product";
        break;
      default:
        value = spell_pure(instruction);
    }
    line("const {} v{} = {};", type_name(instruction.dtype), i, value);
  }

  std::string spell_pure(const Instruction& instruction) const {
    std::string names[3];
    for (int i = 0; i < operand_count(instruction.op); ++i)
      names[i] = fmt::format("v{}", instruction.operands[i]);
    return spell(instruction, kernel_.instructions[instruction.operands[0]].dtype, names[0],
                 names[1], names[2]);
  }

  std::string element(const Access& access) const {
    std::string sum;
    auto add = [&](const std::string& term) { sum += (sum.empty() ? "" : " + ") + term; };
    if (access.base != none) add(size(access.base));
    for (size_t axis = 0; axis < access.strides.size(); ++axis)
      if (access.strides[axis] != none)
        add(fmt::format("i{} * {}", axis, size(access.strides[axis])));
    if (access.chunk_stride != none) add("chunk * " + size(access.chunk_stride));
    if (access.offset != none) add(fmt::format("v{}", access.offset));
    return fmt::format("a{}[{}]", access.argument, sum.empty() ? "0" : sum);
  }

  std::string spell_load(const Access& access, DType dtype) const {
    const std::string value = fmt::format("widen({})", element(access));
    if (access.predicate == none) return value;
    return fmt::format("v{} ? {} : ({})0", access.predicate, value, type_name(dtype));
  }

  std::string stored(const Access& access, const std::string& value) const {
    return fmt::format("{} = Narrow<{}>::of({});", element(access),
                       stored_type_name(kernel_.arguments[access.argument].dtype), value);
  }

  void write_store(const Instruction& store) {
    const Access& access = kernel_.accesses[store.aux];
    const std::string condition =
        access.predicate == none ? "" : fmt::format("if (v{}) ", access.predicate);
    line("{}{}", condition, stored(access, fmt::format("v{}", store.operands[0])));
  }

  void write_stages(StageKind kind) {
    for (const Stage& stage : kernel_.stages)
      if (stage.kind == kind) write_instructions(stage.begin, stage.end);
  }

  void write_extents() {
    line("const i64 rows = {};", points(Role::row));
    line("const i64 columns = {};", points(Role::inner));
    line("const i64 depths = {};", points(Role::contracted));
    line("const i64 chunk_rows = {};", kernel_.rows_per_chunk == none
                                           ? std::to_string(plan_.rows)
                                           : size(kernel_.rows_per_chunk));
  }

  /// What brings the operand's tiles: `source_a` or `source_b`, made once a tile of products.
  void write_source(bool a) {
    const char name = a ? 'a' : 'b';
    const uint32_t lines = a ? plan_.rows : plan_.columns;
    std::string type;
    if (is_copied(kernel_, plan_, a))
      type = fmt::format("Copied<decltype(locate_{}), Multiplier::Element", name);
    else
      type = fmt::format("Evaluated<decltype(load_{}), {}", name, value_type());
    type += fmt::format(", Multiplier::Layout{}, {}, {}", a ? 'A' : 'B', lines, plan_.depths);
    if (!is_copied(kernel_, plan_, a)) type += runs_along_depth(kernel_, a) ? ", true" : ", false";
    line("contraction::{}, {}> source_{}({}_{}, {}, {}, depth_begin, depth_end);", type,
         plan_.threads(), name, is_copied(kernel_, plan_, a) ? "locate" : "load", name,
         a ? "first_row" : "first_column", a ? "row_end" : "columns");
  }

  /// `locate_a` or `locate_b`, see contraction::Copied.
  void write_location(bool a) {
    const Access& access = *plain_load(kernel_, a);
    const char name = a ? 'a' : 'b';
    line("auto at_{} = [&](i64 line, i64 depth) {{", name);
    decompose(a ? Role::row : Role::inner, "line");
    decompose(Role::contracted, "depth");
    line("return reinterpret_cast<const Multiplier::Element*>(&{});", element(access));
    line("}};");
    const Role dense = runs_along_depth(kernel_, a) ? Role::contracted
                       : a                          ? Role::row
                                                    : Role::inner;
    const size_t piece = 16 / size_of(element_dtype(kernel_, plan_));
    std::string aligned = "true";
    for (size_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (kernel_.axes[axis].role != dense && kernel_.axes[axis].role != Role::outer &&
          access.strides[axis] != none)
        aligned += fmt::format(" && {} % {} == 0", size(access.strides[axis]), piece);
    std::vector<uint32_t> others;  // axes whose points are not side by side
    for (Role role : {a ? Role::row : Role::inner, Role::contracted})
      if (role != dense) others = axes_of(role);
    const SizeId step = others.size() == 1 ? access.strides[others[0]] : none;
    line("const contraction::Locate<decltype(at_{0}), {1}> locate_{0} = {{at_{0}, {2}, {3}}};",
         name, others.size() <= 1, aligned, step == none ? "0" : size(step));
  }

  /// `load_a(row, depth)` or `load_b(column, depth)` at the block's outer point.
  void write_operand(bool a) {
    if (is_copied(kernel_, plan_, a)) write_location(a);
    if (is_copied(kernel_, plan_, a) && plan_.multiplier != Multiplier::split_tf32) return;
    line("auto load_{} = [&](i64 line, i64 depth) -> {} {{", a ? 'a' : 'b', value_type());
    decompose(a ? Role::row : Role::inner, "line");
    decompose(Role::contracted, "depth");
    a ? write_instructions(contraction_.a_begin, contraction_.a_end)
      : write_instructions(contraction_.b_begin, contraction_.b_end);
    line("return v{};", a ? contraction_.a : contraction_.b);
    line("}};");
  }

  std::string_view value_type() const { return type_name(contraction_.dtype); }

  // --- the walk over tiles ----------------------------------------------------------------------

  std::string multiplier() const {
    const bool a = runs_along_depth(kernel_, true), b = runs_along_depth(kernel_, false);
    if (plan_.multiplier == Multiplier::fma) {
      const int vector = std::min(4, 16 / int(size_of(contraction_.dtype)));
      return fmt::format("contraction::Scalar<{}, {}, {}, {}, {}, {}, {}>", value_type(),
                         plan_.rows, plan_.columns, plan_.depths, plan_.rows / plan_.down,
                         plan_.columns / plan_.across, vector);
    }
    constexpr const char* kinds[] = {"", "Tf32", "SplitTf32", "Brain", "Half"};
    return fmt::format("contraction::Tensor<contraction::{}, {}, {}, {}, {}, {}, {}, {}>",
                       kinds[int(plan_.multiplier)], plan_.rows, plan_.columns, plan_.depths,
                       plan_.down, plan_.across, a, b);
  }

  void write_types() {
    line("unsigned char* const shared = contraction::shared_memory();");
    line("{}* const products = reinterpret_cast<{}*>(shared);", value_type(), value_type());
    line("typedef {} Multiplier;", multiplier());
  }

  /// Which tiles, and which part of the contracted points, are this block's.
  void write_place() {
    line("const unsigned rank = blockIdx.x % {};", plan_.splits);
    line("i64 unit = blockIdx.x / {};", plan_.splits);
    line("const i64 tiles_across = columns > {} ? (columns + {}) / {} : 1;", plan_.columns,
         plan_.columns - 1, plan_.columns);
    line("const i64 chunks = rows > chunk_rows ? (rows + chunk_rows - 1) / chunk_rows : 1;");
    line("const i64 first_column = unit % tiles_across * {};", plan_.columns);
    line("unit /= tiles_across;");
    line("const i64 chunk = unit % chunks;");
    line("const i64 outer = unit / chunks;");
    decompose(Role::outer, "outer");
    line("const i64 row_begin = chunk * chunk_rows;");
    line("const i64 row_end = rows < row_begin + chunk_rows ? rows : row_begin + chunk_rows;");
    // Parts of the depths begin at multiples of 32, whatever the tile.
    line("const i64 slice = ((depths + 31) / 32 + {}) / {} * 32;", plan_.splits - 1, plan_.splits);
    line("const i64 depth_begin = rank * slice;");
    line("const i64 depth_end = depths < depth_begin + slice ? depths : depth_begin + slice;");
  }

  void write_products() {
    line("{{");
    line("Multiplier multiplier;");
    write_source(true);
    write_source(false);
    line(
        "contraction::multiply_tiles<{}>(multiplier, shared, source_a, source_b, depth_begin, "
        "depth_end);",
        plan_.stages);
    line("multiplier.write(products, {});", product_pitch(plan_));
    line("}}");
    line("{}", plan_.splits > 1 ? "contraction::meet_cluster();" : "__syncthreads();");
  }

  // --- the epilogue -----------------------------------------------------------------------------

  /// Columns of the tile that this block finishes; with several splits each takes some.
  int width() const { return plan_.columns / plan_.splits; }
  int groups() const {
    return adds_rows_in_order(kernel_, target_) ? 1 : int(plan_.threads()) / width();
  }

  void write_totals() {
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
    line("for (i64 depth = 0; depth < depths; ++depth)");
    line("  sum = __fmaf_rn(load_a(row, depth), load_b(column, depth), sum);");
    line("return sum;");
    line("}};");
  }

  /// Rows that a thread finishes in step, so that their loads are under way together.
  int batch() const {
    const int rows = plan_.rows / groups();
    return rows % 4 == 0 ? 4 : rows % 2 == 0 ? 2 : 1;
  }
  /// Then nothing that the epilogue loads has to wait for the products.
  bool loads_before_products() const { return batch() * groups() == plan_.rows; }

  enum class Early : uint8_t { no, column, element };

  /// Whether a load of the sweep may come before all else: its place is known, and no instruction
  /// before it writes there. `column`: it is the same in all rows.
  Early early_load(const Stage& stage, uint32_t id) const {
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

  template <class Do>
  void for_early_loads(Early kind, Do&& act) const {
    for (const Stage& stage : kernel_.stages) {
      if (stage.kind != StageKind::sweep) continue;
      for (uint32_t id = stage.begin; id < stage.end; ++id)
        if (early_load(stage, id) == kind) act(id);
    }
  }

  void write_column_loads() {
    for_early_loads(Early::column, [&](uint32_t id) {
      const Instruction& load = kernel_.instructions[id];
      line("const {0} v{1} = column < columns ? {2} : ({0})0;", type_name(load.dtype), id,
           spell_load(kernel_.accesses[load.aux], load.dtype));
    });
  }

  /// Into early_ID[batch], for the rows from `tile_row` on.
  void write_element_loads(const std::string& tile_row) {
    bool any = false;
    for_early_loads(Early::element, [&](uint32_t id) {
      line("{} early_{}[{}];", type_name(kernel_.instructions[id].dtype), id, batch());
      any = true;
    });
    if (!any) return;
    line("#pragma unroll");
    line("for (int u = 0; u < {}; ++u) {{", batch());
    line("const i64 row = first_row + {} + u * {};", tile_row, groups());
    line("if (group < {} && column < columns && row < row_end) {{", groups());
    decompose(Role::row, "row");
    for_early_loads(Early::element, [&](uint32_t id) {
      const Instruction& load = kernel_.instructions[id];
      line("early_{}[u] = {};", id, spell_load(kernel_.accesses[load.aux], load.dtype));
    });
    line("}}");
    line("}}");
  }

  void write_epilogue() {
    line("if (group < {} && (column < columns || column == 0)) {{", groups());
    line("#pragma unroll 1");
    line("for (int base = group; base < {}; base += {}) {{", plan_.rows, groups() * batch());
    line("if (first_row + base >= row_end) break;");
    if (!loads_before_products()) write_element_loads("base");
    line("#pragma unroll");
    line("for (int u = 0; u < {}; ++u) {{", batch());
    line("const int tile_row = base + u * {};", groups());
    line("const i64 row = first_row + tile_row;");
    line("if (row < row_end) {{");
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

  /// All columns may need its values; the first one stores and accumulates.
  void write_row_stage(const Stage& stage) {
    for (uint32_t i = stage.begin; i < stage.end; ++i) {
      if (is_store(kernel_.instructions[i].op)) line("if (column == 0)");
      write_instruction(i);
    }
    if (stage.first_accumulator == stage.last_accumulator) return;
    line("if (column == 0) {{");
    feed(stage);
    line("}}");
  }

  void write_sweep(const Stage& stage) {
    line("if (column < columns) {{");
    line("{} product = products[tile_row * {} + own_column];", value_type(), product_pitch(plan_));
    if (plan_.splits > 1) {
      line("product = 0;");
      line("#pragma unroll");
      line("for (unsigned from = 0; from < {}; ++from)", plan_.splits);
      line("  product += contraction::read_of_block(products + tile_row * {} + own_column, from);",
           product_pitch(plan_));
    }
    if (plan_.multiplier == Multiplier::split_tf32)
      line("if (product != product) product = multiply_alone(row, column);");
    for (uint32_t i = stage.begin; i < stage.end; ++i) {
      const Early early = early_load(stage, i);
      if (early == Early::no) write_instruction(i);
      if (early == Early::element)
        line("const {} v{} = early_{}[u];", type_name(kernel_.instructions[i].dtype), i, i);
    }
    feed(stage);
    line("}}");
  }

  static bool is_store(Opcode op) { return op == Opcode::store || op == Opcode::store_add; }

  void feed(const Stage& stage) {
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
      const Accumulator& accumulator = kernel_.accumulators[i];
      const std::string condition = accumulator.predicate == none
                                        ? std::string()
                                        : fmt::format("if (v{}) ", accumulator.predicate);
      line("{}t{} = {};", condition, i,
           combined(accumulator, fmt::format("t{}", i), fmt::format("v{}", accumulator.value)));
    }
  }

  std::string combined(const Accumulator& accumulator, const std::string& a,
                       const std::string& b) const {
    return fmt::format("{}::of({}, {})", combiner(accumulator.reduce, groups() == 1), a, b);
  }

  /// The groups' totals are added in the groups' order and leave.
  void write_finish() {
    for (const Stage& stage : kernel_.stages)
      for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
        write_total(i, stage.kind == StageKind::sweep);
  }

  void write_total(uint32_t i, bool of_sweep) {
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

  const Kernel& kernel_;
  const Contraction& contraction_;
  const ContractionPlan& plan_;
  const Target& target_;
  std::string text_;
};

std::string guarded(std::string_view name, std::string_view text) {
  return fmt::format("\n#ifndef {0}\n#define {0}{1}#endif\n", name, text);
}

/// As geometry.h describes it, for one segment.
std::string spell_parameters(const Kernel& kernel, const std::string& symbol) {
  uint64_t words = 2 + kernel.arguments.size() + kernel.scalars.size();
  for (const Size& size : kernel.sizes) words += !size.fixed;
  return fmt::format(
      "struct {}_Parameters {{ u32 segment_count, first_block[2]; u64 scratch, segment[1][{}]; "
      "}};\n",
      symbol, words);
}

std::string spell_bindings(const Kernel& kernel) {
  std::string text;
  uint32_t word = 2;
  for (size_t i = 0; i < kernel.arguments.size(); ++i) {
    const std::string_view type = stored_type_name(kernel.arguments[i].dtype);
    const char* constant = kernel.arguments[i].use == Use::read ? "const " : "";
    text += fmt::format("  {}{}* const a{} = ({}{}*)p.segment[0][{}];\n", constant, type, i,
                        constant, type, word++);
  }
  for (size_t i = 0; i < kernel.sizes.size(); ++i)
    if (!kernel.sizes[i].fixed)
      text += fmt::format("  const i64 s{} = p.segment[0][{}];\n", i, word++);
  for (size_t i = 0; i < kernel.scalars.size(); ++i) {
    const std::string_view type = type_name(kernel.scalars[i]);
    text += fmt::format("  const {} c{} = stored<{}>(p.segment[0][{}]);\n", type, i, type, word++);
  }
  return text;
}

}  // namespace

std::string generate_contraction(const Kernel& kernel, const std::string& symbol,
                                 const Target& target) {
  return generate_contraction(kernel, symbol, target, schedule_contraction(kernel, target));
}

std::string generate_contraction(const Kernel& kernel, const std::string& symbol,
                                 const Target& target, const ContractionSchedule& schedule) {
  std::string text = guarded("ENCORE_CONTRACTION_INTRINSICS", contraction_intrinsics()) +
                     guarded("ENCORE_CONTRACTION_TILES", contraction_tiles()) +
                     spell_parameters(kernel, symbol);
  uint32_t function = 0;
  for (const ContractionPlan& plan : schedule.plans) {
    const std::string cluster =
        plan.splits > 1 ? fmt::format(" __cluster_dims__({}, 1, 1)", plan.splits) : "";
    text += fmt::format(
        "extern \"C\" __global__ void{} __launch_bounds__({}, {}) {}(const __grid_constant__ "
        "{}_Parameters p) {{\n",
        cluster, plan.threads(), plan.residents, function_symbol(symbol, function++), symbol);
    text += spell_bindings(kernel);
    text += FunctionWriter(kernel, plan, target).write();
    text += "}\n";
  }
  return text;
}

}  // namespace encore::jit::cuda
