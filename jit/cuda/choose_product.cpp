#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/cuda/choose_product.h>
#include <encore/jit/cuda/contraction.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

// Measured on an H200: what cuBLASLt's products reach, and what a call takes beside that.
constexpr double tf32_flops = 400e12, half_flops = 740e12, f32_flops = 50e12;
constexpr double call_seconds = 6e-6;
// What a kernel that reads the matrix again takes, beside moving it.
constexpr double epilogue_seconds = 3e-6, memory_bytes = 2.8e12;
// Instructions of single threads in a second, those apart that hide behind products.
constexpr double instruction_rate = 40e12;
// Less is neither worth opening the library nor above the errors of these formulas.
constexpr double least_flops = 2e8, least_gain = 0.95;

std::vector<int64_t> sizes_of(const Kernel& kernel) {
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  return sizes;
}

/// What is computed from each product: a generated kernel does it when its products are made and
/// little else is under way, a kernel that reads the matrix while it moves that.
double epilogue_arithmetic(const Kernel& kernel, double points) {
  int64_t instructions = 0;
  for (const Stage& stage : kernel.stages)
    if (stage.kind == StageKind::sweep) instructions += stage.end - stage.begin;
  return points * double(instructions) / instruction_rate;
}

double library_seconds(const CublasLtShape& shape, bool has_epilogue, double arithmetic) {
  const double peak = shape.dtype != DType::f32 ? half_flops
                      : shape.rounds            ? tf32_flops
                                                : f32_flops;
  const double matrix = double(shape.batch) * double(shape.m) * double(shape.n);
  const double moved = 2 * matrix * double(size_of(shape.result)) / memory_bytes;
  return call_seconds + shape.flops() / peak +
         (has_epilogue ? epilogue_seconds + std::max(moved, arithmetic) : 0);
}

enum class Wish : uint8_t { off, where_faster, always };

Wish wish() {
  const std::string& word = settings().cublaslt;
  if (word == "off") return Wish::off;
  if (word == "on") return Wish::where_faster;
  if (word == "always") return Wish::always;
  throw Error("ENCORE_CUBLASLT is '" + word + "'", {}, "it is on, off or always");
}

bool suits_library(const Kernel& kernel, const Target& target, LibraryProducts& library) {
  const Wish wanted = wish();
  if (wanted == Wish::off || target.strict) return false;
  const auto split = split_contraction(kernel);
  if (!split) return false;
  const auto shape = library_shape(kernel, *split, sizes_of(kernel).data());
  if (!shape) return false;
  if (wanted == Wish::where_faster) {
    if (shape->flops() < least_flops) return false;
    const double arithmetic =
        epilogue_arithmetic(kernel, double(shape->batch) * double(shape->m) * double(shape->n));
    const double generated = epilogue_seconds + planned_seconds(kernel, target) + arithmetic;
    if (library_seconds(*shape, split->epilogue.has_value(), arithmetic) > least_gain * generated)
      return false;
  }
  return library.can(*shape);
}

}  // namespace

uint32_t choose_product(const Kernel& kernel, const Target& target, LibraryProducts& library) {
  return suits_library(kernel, target, library) ? library_variant
                                                : contraction_variant(kernel, target);
}

std::optional<CublasLtShape> library_shape(const Kernel& kernel) {
  const auto split = split_contraction(kernel);
  if (!split) return {};
  return library_shape(kernel, *split, sizes_of(kernel).data());
}

}  // namespace encore::jit::cuda
