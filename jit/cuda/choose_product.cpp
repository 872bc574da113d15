#include <encore/jit/cuda/choose_product.h>
#include <encore/jit/cuda/contraction.h>

namespace encore::jit::cuda {

uint32_t choose_product(const Kernel& kernel, const Target& target) {
  return contraction_variant(kernel, target);
}

}  // namespace encore::jit::cuda
