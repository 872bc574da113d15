// Builds kernels with a contraction, for tests and benchmarks of contractions.
#pragma once
#include <encore/jit/kernel.h>

#include <cstdint>
#include <vector>

namespace encore::jit {

/// Extents of the axes of each role.
struct ContractionShape {
  std::vector<int64_t> outer, rows, columns, depth;
};

class ContractionBuilder {
 public:
  explicit ContractionBuilder(DType dtype, const ContractionShape& shape) : dtype_(dtype) {
    kernel.name = "contraction";
    add_axes(Role::outer, shape.outer);
    add_axes(Role::row, shape.rows);
    add_axes(Role::inner, shape.columns);
    add_axes(Role::contracted, shape.depth);
  }

  SizeId size(int64_t value) {
    kernel.sizes.push_back({value, true});
    return SizeId(kernel.sizes.size() - 1);
  }

  uint32_t argument(DType dtype, Use use) {
    kernel.arguments.push_back({dtype, use});
    return uint32_t(kernel.arguments.size() - 1);
  }

  /// One stride per axis, in the order outer, rows, columns, depth.
  uint32_t access(uint32_t argument, const std::vector<int64_t>& strides, int64_t base = 0,
                  int64_t chunk_stride = 0) {
    Access access;
    access.argument = argument;
    if (base) access.base = size(base);
    for (int64_t stride : strides) access.strides.push_back(stride ? size(stride) : none);
    if (chunk_stride) access.chunk_stride = size(chunk_stride);
    kernel.accesses.push_back(access);
    return uint32_t(kernel.accesses.size() - 1);
  }

  ValueId emit(Opcode op, DType dtype, std::initializer_list<ValueId> operands = {},
               uint32_t aux = 0, uint64_t bits = 0) {
    Instruction instruction{op, dtype};
    int i = 0;
    for (ValueId operand : operands) instruction.operands[i++] = operand;
    instruction.aux = aux;
    instruction.bits = bits;
    kernel.instructions.push_back(instruction);
    return ValueId(kernel.instructions.size() - 1);
  }

  uint32_t here() const { return uint32_t(kernel.instructions.size()); }

  /// Operands that are one load each.
  void contract(uint32_t a, uint32_t b) {
    Contraction contraction{dtype_};
    contraction.a_begin = here();
    contraction.a = emit(Opcode::load, dtype_, {}, a);
    contraction.a_end = contraction.b_begin = here();
    contraction.b = emit(Opcode::load, dtype_, {}, b);
    contraction.b_end = here();
    kernel.contraction = contraction;
  }

  /// The sweep that begins here; end it with `end_sweep`.
  void begin_sweep() { sweep_begin_ = here(); }
  void end_sweep() {
    kernel.stages.push_back(
        {StageKind::sweep, sweep_begin_, here(), 0, uint32_t(kernel.accumulators.size())});
  }

  /// An epilogue that only stores.
  void store_product(uint32_t access) {
    begin_sweep();
    const ValueId product = emit(Opcode::product, dtype_);
    emit(Opcode::store, dtype_, {product}, access);
    end_sweep();
  }

  Kernel kernel;

 private:
  void add_axes(Role role, const std::vector<int64_t>& extents) {
    for (int64_t extent : extents) kernel.axes.push_back({role, size(extent)});
  }

  DType dtype_;
  uint32_t sweep_begin_ = 0;
};

/// C = A B with row-major operands, either of them stored transposed.
inline Kernel matmul_kernel(DType dtype, int64_t batch, int64_t m, int64_t n, int64_t k,
                            bool a_transposed = false, bool b_transposed = false) {
  ContractionBuilder builder(dtype, {{batch}, {m}, {n}, {k}});
  const uint32_t a = builder.argument(dtype, Use::read), b = builder.argument(dtype, Use::read),
                 c = builder.argument(dtype, Use::write);
  const uint32_t load_a = builder.access(a, a_transposed ? std::vector<int64_t>{m * k, 1, 0, m}
                                                         : std::vector<int64_t>{m * k, k, 0, 1});
  const uint32_t load_b = builder.access(b, b_transposed ? std::vector<int64_t>{n * k, 0, k, 1}
                                                         : std::vector<int64_t>{n * k, 0, 1, n});
  const uint32_t store = builder.access(c, {m * n, n, 1, 0});
  builder.contract(load_a, load_b);
  builder.store_product(store);
  return builder.kernel;
}

}  // namespace encore::jit
