#include <encore/jit/cuda/contraction_device.h>
#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/contraction_wgmma.h>
#include <encore/jit/cuda/contraction_writer.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/spell_instruction.h>

#include <algorithm>

namespace encore::jit::cuda {

std::string FunctionWriter::write() {
  write_stages(StageKind::setup);
  write_extents();
  write_place();
  write_types();
  if (!plan_.boxed) write_operand(true), write_operand(false);
  write_totals();
  // A loop that runs once would have the compiler keep what does not change in registers.
  const bool once = kernel_.rows_per_chunk == none;
  if (once) {
    line("const i64 first_row = row_begin;");
    line("if (first_row < row_end) {{");
  } else {
    line("for (i64 first_row = row_begin; first_row < row_end; first_row += {}) {{", plan_.rows);
  }
  if (loads_before_products()) write_element_loads("group");
  write_products();
  write_epilogue();
  if (plan_.boxed && !once) line("contraction::give_to_boxes();");
  if (plan_.splits > 1)
    line("contraction::meet_cluster();");
  else if (!once || !kernel_.accumulators.empty())
    line("__syncthreads();");
  line("}}");
  write_finish();
  return std::move(text_);
}

std::string FunctionWriter::size(SizeId id) const {
  const Size& size = kernel_.sizes[id];
  return size.fixed ? fmt::format("{}ll", size.value) : fmt::format("s{}", id);
}

std::vector<uint32_t> FunctionWriter::axes_of(Role role) const {
  std::vector<uint32_t> axes;
  for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
    if (kernel_.axes[axis].role == role) axes.push_back(axis);
  return axes;
}

std::string FunctionWriter::points(Role role) const {
  std::string product;
  for (uint32_t axis : axes_of(role))
    product += (product.empty() ? "" : " * ") + size(kernel_.axes[axis].extent);
  return product.empty() ? "1" : product;
}

void FunctionWriter::decompose(Role role, const std::string& number) {
  std::vector<uint32_t> axes = axes_of(role);
  if (axes.size() == 1) return line("const i64 i{} = {};", axes[0], number);
  std::string rest = number;
  while (!axes.empty()) {
    const uint32_t axis = axes.back();
    axes.pop_back();
    if (axes.empty()) return line("const i64 i{} = {};", axis, rest);
    // Row stages run without columns, too; of an axis of no points every number is position 0.
    const Size& points = kernel_.sizes[kernel_.axes[axis].extent];
    const std::string extent = points.fixed
                                   ? fmt::format("{}ll", std::max<int64_t>(points.value, 1))
                                   : fmt::format("larger<i64>(s{}, 1)", kernel_.axes[axis].extent);
    line("const i64 i{} = rest({}, {}), before_{} = part({}, {});", axis, rest, extent, axis, rest,
         extent);
    rest = fmt::format("before_{}", axis);
  }
}

void FunctionWriter::write_instructions(uint32_t begin, uint32_t end) {
  for (uint32_t i = begin; i < end; ++i) write_instruction(i);
}

void FunctionWriter::write_instruction(uint32_t i) {
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

std::string FunctionWriter::spell_pure(const Instruction& instruction) const {
  return spelling_.spell(instruction, [](ValueId value) { return fmt::format("v{}", value); });
}

std::string FunctionWriter::element(const Access& access) const {
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

std::string FunctionWriter::spell_load(const Access& access, DType dtype) const {
  const std::string value = fmt::format("widen({})", element(access));
  if (access.predicate == none) return value;
  return fmt::format("v{} ? {} : ({})0", access.predicate, value, type_name(dtype));
}

std::string FunctionWriter::stored(const Access& access, const std::string& value) const {
  return fmt::format("{} = Narrow<{}>::of({});", element(access),
                     stored_type_name(kernel_.arguments[access.argument].dtype), value);
}

void FunctionWriter::write_store(const Instruction& store) {
  const Access& access = kernel_.accesses[store.aux];
  const std::string condition =
      access.predicate == none ? "" : fmt::format("if (v{}) ", access.predicate);
  line("{}{}", condition, stored(access, fmt::format("v{}", store.operands[0])));
}

void FunctionWriter::write_stages(StageKind kind) {
  for (const Stage& stage : kernel_.stages)
    if (stage.kind == kind) write_instructions(stage.begin, stage.end);
}

void FunctionWriter::write_extents() {
  line("const i64 rows = {};", points(Role::row));
  line("const i64 columns = {};", points(Role::inner));
  line("const i64 depths = {};", points(Role::contracted));
  line("const i64 chunk_rows = {};",
       kernel_.rows_per_chunk == none ? std::to_string(plan_.rows) : size(kernel_.rows_per_chunk));
}

void FunctionWriter::write_source(bool a) {
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

void FunctionWriter::write_location(bool a) {
  const Access& access = *plain_load(kernel_, a);
  const char name = a ? 'a' : 'b';
  line("auto at_{} = [&](i64 line, i64 depth) {{", name);
  decompose(a ? Role::row : Role::inner, "line");
  decompose(Role::contracted, "depth");
  line("return reinterpret_cast<const Multiplier::Element*>(&{});", element(access));
  line("}};");
  const Role dense = runs_along_depth(kernel_, a) ? Role::contracted : a ? Role::row : Role::inner;
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
  line("const contraction::Locate<decltype(at_{0}), {1}> locate_{0} = {{at_{0}, {2}, {3}}};", name,
       others.size() <= 1, aligned, step == none ? "0" : size(step));
}

void FunctionWriter::write_operand(bool a) {
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

std::string FunctionWriter::multiplier() const {
  const bool a = runs_along_depth(kernel_, true), b = runs_along_depth(kernel_, false);
  if (plan_.multiplier == Multiplier::fma) {
    const int vector = std::min(4, 16 / int(size_of(contraction_.dtype)));
    return fmt::format("contraction::Scalar<{}, {}, {}, {}, {}, {}, {}>", value_type(), plan_.rows,
                       plan_.columns, plan_.depths, plan_.rows / plan_.down,
                       plan_.columns / plan_.across, vector);
  }
  constexpr const char* kinds[] = {"", "Tf32", "SplitTf32", "Brain", "Half"};
  return fmt::format("contraction::Tensor<contraction::{}, {}, {}, {}, {}, {}, {}, {}>",
                     kinds[int(plan_.multiplier)], plan_.rows, plan_.columns, plan_.depths,
                     plan_.down, plan_.across, a, b);
}

void FunctionWriter::write_types() {
  if (plan_.boxed) return write_boxed_types();
  line("unsigned char* const shared = contraction::shared_memory();");
  line("{}* const products = reinterpret_cast<{}*>(shared);", value_type(), value_type());
  line("typedef {} Multiplier;", multiplier());
}

void FunctionWriter::write_place() {
  // Registers of functions with boxes are scarce, and a launch has fewer than 2^31 blocks.
  const char* number = plan_.boxed ? "unsigned" : "i64";
  line("const unsigned rank = blockIdx.x % {};", plan_.splits);
  line("{} unit = blockIdx.x / {};", number, plan_.splits);
  line("const {} tiles_across = columns > {} ? (columns + {}) / {} : 1;", number, plan_.columns,
       plan_.columns - 1, plan_.columns);
  line("const {} chunks = rows > chunk_rows ? (rows + chunk_rows - 1) / chunk_rows : 1;", number);
  line("const i64 first_column = {} * {};",
       plan_.boxed ? "i64(unit % tiles_across)" : "unit % tiles_across", plan_.columns);
  line("unit /= tiles_across;");
  line("const i64 chunk = unit % chunks;");
  line("const i64 outer = unit / chunks;");
  decompose(Role::outer, "outer");
  line("const i64 row_begin = chunk * chunk_rows;");
  line("const i64 row_end = rows < row_begin + chunk_rows ? rows : row_begin + chunk_rows;");
  // Parts of the depths begin at multiples of 32, whatever the tile; what boxes bring of other
  // parts would be multiplied, too.
  const int unit = plan_.boxed ? plan_.depths : 32;
  line("const i64 slice = ((depths + {}) / {} + {}) / {} * {};", unit - 1, unit, plan_.splits - 1,
       plan_.splits, unit);
  line("const i64 depth_begin = rank * slice;");
  line("const i64 depth_end = depths < depth_begin + slice ? depths : depth_begin + slice;");
}

void FunctionWriter::write_products() {
  if (plan_.boxed) {
    write_boxed_products();
  } else {
    write_copied_products();
  }
  line("{}", plan_.splits > 1 ? "contraction::meet_cluster();" : "__syncthreads();");
}

void FunctionWriter::write_copied_products() {
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
}

namespace {

std::string guarded(std::string_view name, std::string_view text) {
  return fmt::format("\n#ifndef {0}\n#define {0}{1}#endif\n", name, text);
}

/// As geometry.h describes it, for one segment.
std::string spell_parameters(const Kernel& kernel, const std::string& symbol, bool maps) {
  uint64_t words = 2 + kernel.arguments.size() + kernel.scalars.size();
  for (const Size& size : kernel.sizes) words += !size.fixed;
  return fmt::format(
      "struct {}_Parameters {{ u32 segment_count, first_block[2]; u64 scratch, segment[1][{}];{} "
      "}};\n",
      symbol, words, maps ? " contraction::TensorMap maps[2];" : "");
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
                     guarded("ENCORE_CONTRACTION_TILES", contraction_tiles());
  if (has_boxes(schedule))
    text += guarded("ENCORE_WGMMA_INTRINSICS", wgmma_intrinsics()) +
            guarded("ENCORE_WGMMA_TILES", wgmma_tiles());
  for (const ContractionPlan& plan : schedule.plans)
    if (plan.boxed)
      text +=
          wgmma_instruction(plan, runs_along_depth(kernel, true), runs_along_depth(kernel, false));
  text += spell_parameters(kernel, symbol, has_boxes(schedule));
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
