#include <encore/core/error.h>
#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/contraction_wgmma.h>
#include <encore/jit/cuda/contraction_writer.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

constexpr uint32_t tile_alignment = 1024, box_lines = 64, box_bytes = 128;

Role line_role(bool a) { return a ? Role::row : Role::inner; }

/// The only axis of a role; `none` where there are others.
uint32_t only_axis(const Kernel& kernel, Role role) {
  uint32_t found = none;
  for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis) {
    if (kernel.axes[axis].role != role) continue;
    if (found != none) return none;
    found = axis;
  }
  return found;
}

/// The axes of an operand's tensor, the one whose elements lie side by side first.
std::vector<uint32_t> tensor_axes(const Kernel& kernel, bool a) {
  std::vector<uint32_t> axes = {only_axis(kernel, Role::contracted),
                                only_axis(kernel, line_role(a))};
  if (!runs_along_depth(kernel, a)) std::swap(axes[0], axes[1]);
  const Access& access = *plain_load(kernel, a);
  for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis)
    if (kernel.axes[axis].role == Role::outer && access.strides[axis] != none) axes.push_back(axis);
  return axes;
}

bool operand_allows_boxes(const Kernel& kernel, Multiplier multiplier, bool a) {
  ContractionPlan plan;
  plan.multiplier = multiplier;
  if (!is_copied(kernel, plan, a)) return false;
  // Only 16-bit elements may have their lines side by side.
  if (multiplier == Multiplier::tf32 && !runs_along_depth(kernel, a)) return false;
  const uint32_t line = only_axis(kernel, line_role(a)),
                 depth = only_axis(kernel, Role::contracted);
  const Access& access = *plain_load(kernel, a);
  return line != none && depth != none && access.strides[line] != none &&
         access.strides[depth] != none && access.chunk_stride == none &&
         tensor_axes(kernel, a).size() <= TensorMap::most_axes;
}

TensorMap tensor_map(const Kernel& kernel, const ContractionPlan& plan, const Segment& segment,
                     bool a) {
  const Access& access = *plain_load(kernel, a);
  const uint32_t element = uint32_t(size_of(element_dtype(kernel, plan)));
  const bool along_depth = runs_along_depth(kernel, a);
  TensorMap map{.dtype = element_dtype(kernel, plan)};
  map.address = static_cast<const std::byte*>(segment.arguments[access.argument]) +
                (access.base == none ? 0 : segment.sizes[access.base] * int64_t(element));
  for (uint32_t axis : tensor_axes(kernel, a)) {
    const uint32_t i = map.axes++;
    map.extents[i] = uint64_t(segment.sizes[kernel.axes[axis].extent]);
    // Of one element nothing is a step apart.
    map.strides[i] =
        map.extents[i] == 1 ? 16 : uint64_t(segment.sizes[access.strides[axis]]) * element;
    map.box[i] = 1;
  }
  map.box[0] = box_bytes / element;
  map.box[1] = along_depth ? (a ? plan.rows : plan.columns) : plan.depths;
  return map;
}

}  // namespace

bool allows_boxes(const Kernel& kernel, const Target& target, Multiplier multiplier) {
  const bool multiplies = multiplier == Multiplier::tf32 || multiplier == Multiplier::bf16 ||
                          multiplier == Multiplier::f16;
  return target.wgmma && target.compute_capability == 90 && multiplies &&
         operand_allows_boxes(kernel, multiplier, true) &&
         operand_allows_boxes(kernel, multiplier, false);
}

bool sizes_allow_boxes(const Kernel& kernel, const int64_t* sizes) {
  constexpr int64_t longest_stride = int64_t(1) << 40, most_points = int64_t(1) << 31;
  for (bool a : {true, false}) {
    const Access& access = *plain_load(kernel, a);
    const int64_t element = int64_t(size_of(stored_dtype(kernel, a)));
    if (access.base != none && sizes[access.base] * element % 16 != 0) return false;
    const std::vector<uint32_t> axes = tensor_axes(kernel, a);
    for (size_t i = 0; i < axes.size(); ++i) {
      const int64_t extent = sizes[kernel.axes[axes[i]].extent];
      const int64_t stride = sizes[access.strides[axes[i]]] * element;
      if (extent < 1 || extent >= most_points) return false;
      if (i > 0 && extent > 1 && (stride <= 0 || stride >= longest_stride || stride % 16 != 0))
        return false;
    }
  }
  return true;
}

bool has_boxes(const ContractionSchedule& schedule) {
  return std::any_of(schedule.plans.begin(), schedule.plans.end(),
                     [](const ContractionPlan& plan) { return plan.boxed; });
}

std::array<TensorMap, 2> tensor_maps(const Kernel& kernel, const ContractionPlan& plan,
                                     const Segment& segment) {
  const std::array<TensorMap, 2> maps = {tensor_map(kernel, plan, segment, true),
                                         tensor_map(kernel, plan, segment, false)};
  for (const TensorMap& map : maps)
    if (reinterpret_cast<uintptr_t>(map.address) % 16 != 0)
      throw Error("kernel '" + kernel.name + "' was given memory that is not aligned to 16 bytes",
                  {});
  return maps;
}

uint32_t boxed_stage_bytes(const ContractionPlan& plan) {
  return (uint32_t(plan.rows) + plan.columns) * box_bytes;
}

uint32_t barriers_at(const Kernel& kernel, const ContractionPlan& plan) {
  const uint32_t products = plan.rows * product_pitch(plan) * uint32_t(sizeof(float));
  const uint32_t totals = kernel.accumulators.empty() ? 0 : plan.threads() * 8;
  return std::max({plan.stages * boxed_stage_bytes(plan), products, totals});
}

uint32_t boxed_shared_bytes(const Kernel& kernel, const ContractionPlan& plan) {
  return tile_alignment + barriers_at(kernel, plan) + plan.stages * 2 * uint32_t(sizeof(uint64_t));
}

void FunctionWriter::write_boxed_types() {
  constexpr const char* dtypes[] = {"", "tf32", "", "bf16", "f16"};
  line("unsigned char* const shared = contraction::align_boxes(contraction::shared_memory());");
  line("{0}* const products = reinterpret_cast<{0}*>(shared);", value_type());
  line("typedef contraction::Warpgroups<contraction::Wgmma_{}_{}_{}{}, {}, {}> Multiplier;",
       dtypes[int(plan_.multiplier)], plan_.columns, int(runs_along_depth(kernel_, true)),
       int(runs_along_depth(kernel_, false)), plan_.rows, plan_.columns);
  line("u64* const barriers = reinterpret_cast<u64*>(shared + {});", barriers_at(kernel_, plan_));
  line("contraction::make_barriers<{}, Multiplier>(barriers);", plan_.stages);
  line("unsigned turn = 0;");
}

void FunctionWriter::write_boxes(bool a) {
  const bool along_depth = runs_along_depth(kernel_, a);
  const std::vector<uint32_t> axes = tensor_axes(kernel_, a);
  std::string outer;
  for (size_t i = 2; i < axes.size(); ++i) outer += fmt::format(", int(i{})", axes[i]);
  const char* first = a ? "first_row" : "first_column";
  line("auto load_{} = [&](unsigned char* to, i64 depth, u64* barrier) {{", a ? 'a' : 'b');
  if (along_depth) {
    line("contraction::load_box(to, &p.maps[{}], barrier, int(depth), int({}){});", a ? 0 : 1,
         first, outer);
  } else {
    line("#pragma unroll");
    line("for (int i = 0; i < {}; ++i)", (a ? plan_.rows : plan_.columns) / box_lines);
    line(
        "  contraction::load_box(to + i * Multiplier::box, &p.maps[{}], barrier, "
        "int({}) + i * {}, int(depth){});",
        a ? 0 : 1, first, box_lines, outer);
  }
  line("}};");
}

void FunctionWriter::write_boxed_products() {
  line("{{");
  line("Multiplier multiplier;");
  write_boxes(true);
  write_boxes(false);
  line(
      "contraction::multiply_boxes<{}>(multiplier, shared, barriers, turn, load_a, load_b, "
      "depth_begin, depth_end);",
      plan_.stages);
  line("if (Multiplier::multiplies()) multiplier.write(products, {});", product_pitch(plan_));
  line("}}");
}

}  // namespace encore::jit::cuda
