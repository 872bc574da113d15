#include <asmjit/asmjit.h>
#include <encore/core/error.h>
#include <encore/jit/cpu/jit_symbols.h>
#include <encore/jit/cpu/micro_kernel.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <mutex>

// AsmJit's own reference to stderr, renamed by the build.
extern "C" __attribute__((visibility("hidden"))) FILE* asmjit_stderr;
FILE* asmjit_stderr = stderr;

namespace encore::jit {
namespace {

namespace x86 = asmjit::x86;
using asmjit::Label;
using x86::Gp;
using x86::Mem;
using x86::Vec;

constexpr int depth_unroll = 4;
// Rows that one base register reaches: 0 and {1, 2, 4, 8}, {3, 6}, 5, 7 times the row stride.
constexpr int rows_per_base = 9;

int vector_registers(Isa isa) { return isa == Isa::avx512 ? 32 : 16; }

// With one vector a row, AVX-512 multiplies by A straight from memory.
bool broadcasts_in_place(const MicroTile& tile) {
  return tile.isa == Isa::avx512 && tile.vectors == 1;
}

bool reserves_mask_register(const MicroTile& tile) { return tile.masked && tile.isa == Isa::avx2; }

// Registers left for elements of A.
int spare_registers(const MicroTile& tile) {
  return vector_registers(tile.isa) - (tile.rows + 1) * tile.vectors - reserves_mask_register(tile);
}

class Generator {
 public:
  Generator(const MicroTile& tile, asmjit::CodeHolder* code)
      : tile_(tile),
        assembler_(code),
        width_(vector_bytes(tile.isa)),
        element_(int(size_of(tile.dtype))),
        spare_(spare_registers(tile)) {}

  void run() {
    auto& a = assembler_;
    for (const Gp& r : saved_) a.push(r);
    load_strides();
    if (tile_.masked) load_mask();
    const Label next_tile = a.newLabel();
    a.bind(next_tile);
    start_tile();
    multiply();
    store_sums();
    for (auto [pointer, step] : {std::pair{offsetof(MicroCall, a), offsetof(MicroCall, a_tile)},
                                 std::pair{offsetof(MicroCall, c), offsetof(MicroCall, c_tile)}}) {
      a.mov(count_, argument(step));
      a.add(argument(pointer), count_);
    }
    a.dec(argument(offsetof(MicroCall, tiles)));
    a.jnz(next_tile);
    a.vzeroupper();
    for (int i = int(saved_.size()); i-- > 0;) a.pop(saved_[i]);
    a.ret();
    if (reserves_mask_register(tile_)) embed_masks();
  }

 private:
  Mem argument(size_t offset) { return x86::qword_ptr(call_, int(offset)); }
  Vec vector(int i) {
    return tile_.isa == Isa::avx512 ? Vec(x86::zmm(uint32_t(i))) : Vec(x86::ymm(uint32_t(i)));
  }
  Vec sum(int row, int j) { return narrowed(vector(row * tile_.vectors + j), j); }
  Vec b_vector(int j) { return vector(tile_.rows * tile_.vectors + j); }
  Vec a_vector(int row) { return vector((tile_.rows + 1) * tile_.vectors + row % spare_); }
  Vec mask_vector() { return vector(15); }
  bool is_masked(int j) const { return tile_.masked && j == tile_.vectors - 1; }
  bool is_half(int j) const { return tile_.half_tail && is_masked(j); }
  // Processors that run a wide operation as two halves then save one.
  Vec narrowed(const Vec& wide, int j) const { return is_half(j) ? Vec(wide.ymm()) : wide; }
  int base_count() const {
    return tile_.a_order == AOrder::row_contiguous
               ? 1
               : (tile_.rows + rows_per_base - 1) / rows_per_base;
  }

  void load_strides() {
    auto& a = assembler_;
    const bool rows = tile_.a_order == AOrder::row_contiguous;
    a.mov(a1_, argument(rows ? offsetof(MicroCall, a_depth) : offsetof(MicroCall, a_row)));
    a.lea(a3_, x86::ptr(a1_, a1_, 1));
    a.lea(a5_, x86::ptr(a1_, a1_, 2));
    a.lea(a7_, x86::ptr(a3_, a1_, 2));
    a.mov(b1_, argument(offsetof(MicroCall, b_depth)));
    a.lea(b3_, x86::ptr(b1_, b1_, 1));
  }

  void load_mask() {
    auto& a = assembler_;
    if (tile_.isa == Isa::avx512) {
      a.mov(count_, argument(offsetof(MicroCall, tail)));
      a.mov(c_.r32(), -1);
      a.bzhi(c_.r32(), c_.r32(), count_.r32());
      a.kmovw(x86::k1, c_.r32());
      return;
    }
    masks_ = a.newLabel();
    a.lea(c_, x86::ptr(masks_, 32));
    a.imul(count_, argument(offsetof(MicroCall, tail)), element_);
    a.sub(c_, count_);
    a.vmovups(mask_vector(), x86::ptr(c_));
  }

  void embed_masks() {
    auto& a = assembler_;
    a.align(asmjit::AlignMode::kData, 32);
    a.bind(masks_);
    for (const int64_t bits : {-1, 0})
      for (int i = 0; i < 4; ++i) a.embed(&bits, sizeof bits);
  }

  void load(const Vec& to, const Mem& from, bool masked) {
    auto& a = assembler_;
    if (!masked) {
      a.vmovups(to, from);
    } else if (tile_.isa == Isa::avx2) {
      is_f32() ? a.vmaskmovps(to, mask_vector(), from) : a.vmaskmovpd(to, mask_vector(), from);
    } else {
      is_f32() ? a.k(x86::k1).z().vmovups(to, from) : a.k(x86::k1).z().vmovupd(to, from);
    }
  }

  void store(const Mem& to, const Vec& from, bool masked) {
    auto& a = assembler_;
    if (!masked) {
      a.vmovups(to, from);
    } else if (tile_.isa == Isa::avx2) {
      is_f32() ? a.vmaskmovps(to, mask_vector(), from) : a.vmaskmovpd(to, mask_vector(), from);
    } else {
      is_f32() ? a.k(x86::k1).vmovups(to, from) : a.k(x86::k1).vmovupd(to, from);
    }
  }

  bool is_f32() const { return tile_.dtype == DType::f32; }

  // Pointers of this tile of rows, and its sums: zero, or what C holds.
  void start_tile() {
    auto& a = assembler_;
    const Label zero = a.newLabel(), ready = a.newLabel();
    a.mov(c_, argument(offsetof(MicroCall, c)));
    a.cmp(argument(offsetof(MicroCall, accumulate)), 0);
    a.jz(zero);
    a.mov(count_, argument(offsetof(MicroCall, c_row)));
    for (int i = 0; i < tile_.rows; ++i) {
      for (int j = 0; j < tile_.vectors; ++j)
        load(sum(i, j), x86::ptr(c_, j * width_), is_masked(j));
      a.add(c_, count_);
    }
    a.jmp(ready);
    a.bind(zero);
    for (int i = 0; i < tile_.rows * tile_.vectors; ++i) {
      if (tile_.isa == Isa::avx512)
        a.vpxord(vector(i), vector(i), vector(i));
      else
        a.vxorps(vector(i), vector(i), vector(i));
    }
    a.bind(ready);
    a.mov(bases_[0], argument(offsetof(MicroCall, a)));
    for (int i = 1; i < base_count(); ++i) {
      a.lea(bases_[i], x86::ptr(bases_[i - 1], a1_, 3));
      a.add(bases_[i], a1_);
    }
    a.mov(b_, argument(offsetof(MicroCall, b)));
    if (tile_.copies_b) a.mov(copy_, argument(offsetof(MicroCall, b_copy)));
    a.mov(count_, argument(offsetof(MicroCall, depth)));
  }

  // The element of A at (row, step), in units of its strides.
  Mem a_element(int row, int step) {
    if (tile_.a_order == AOrder::row_contiguous) {
      const int offset = row * element_;
      switch (step) {
        case 0:
          return x86::ptr(bases_[0], offset);
        case 1:
          return x86::ptr(bases_[0], a1_, 0, offset);
        case 2:
          return x86::ptr(bases_[0], a1_, 1, offset);
        default:
          return x86::ptr(bases_[0], a3_, 0, offset);
      }
    }
    const Gp& base = bases_[row / rows_per_base];
    const int offset = step * element_;
    switch (row % rows_per_base) {
      case 0:
        return x86::ptr(base, offset);
      case 1:
        return x86::ptr(base, a1_, 0, offset);
      case 2:
        return x86::ptr(base, a1_, 1, offset);
      case 3:
        return x86::ptr(base, a3_, 0, offset);
      case 4:
        return x86::ptr(base, a1_, 2, offset);
      case 5:
        return x86::ptr(base, a5_, 0, offset);
      case 6:
        return x86::ptr(base, a3_, 1, offset);
      case 7:
        return x86::ptr(base, a7_, 0, offset);
      default:
        return x86::ptr(base, a1_, 3, offset);
    }
  }

  Mem b_row(int step, int j) {
    const int offset = j * width_;
    switch (step) {
      case 0:
        return x86::ptr(b_, offset);
      case 1:
        return x86::ptr(b_, b1_, 0, offset);
      case 2:
        return x86::ptr(b_, b1_, 1, offset);
      default:
        return x86::ptr(b_, b3_, 0, offset);
    }
  }

  void multiply_one(int step) {
    auto& a = assembler_;
    for (int j = 0; j < tile_.vectors; ++j) {
      load(narrowed(b_vector(j), j), b_row(step, j), is_masked(j));
      if (tile_.copies_b)
        a.vmovups(x86::ptr(copy_, (step * tile_.vectors + j) * width_), b_vector(j));
    }
    for (int i = 0; i < tile_.rows; ++i) {
      Mem element = a_element(i, step);
      if (broadcasts_in_place(tile_)) {
        element.setBroadcast(broadcast_to(is_half(0) ? width_ / 2 : width_));
        fma(sum(i, 0), narrowed(b_vector(0), 0), element);
        continue;
      }
      is_f32() ? a.vbroadcastss(a_vector(i), element) : a.vbroadcastsd(a_vector(i), element);
      for (int j = 0; j < tile_.vectors; ++j)
        fma(sum(i, j), narrowed(b_vector(j), j), narrowed(a_vector(i), j));
    }
  }

  Mem::Broadcast broadcast_to(int bytes) const {
    switch (bytes / element_) {
      case 16:
        return Mem::Broadcast::k1To16;
      case 8:
        return Mem::Broadcast::k1To8;
      default:
        return Mem::Broadcast::k1To4;
    }
  }

  template <class Operand>
  void fma(const Vec& to, const Vec& x, const Operand& y) {
    is_f32() ? assembler_.vfmadd231ps(to, x, y) : assembler_.vfmadd231pd(to, x, y);
  }

  void advance(int steps) {
    auto& a = assembler_;
    if (tile_.a_order == AOrder::row_contiguous)
      a.lea(bases_[0], x86::ptr(bases_[0], a1_, steps == depth_unroll ? 2 : 0));
    else
      for (int i = 0; i < base_count(); ++i) a.add(bases_[i], steps * element_);
    a.lea(b_, x86::ptr(b_, b1_, steps == depth_unroll ? 2 : 0));
    if (tile_.copies_b) a.add(copy_, steps * tile_.vectors * width_);
  }

  void multiply() {
    auto& a = assembler_;
    const Label unrolled = a.newLabel(), rest = a.newLabel(), single = a.newLabel(),
                done = a.newLabel();
    a.sub(count_, depth_unroll);
    a.jl(rest);
    a.align(asmjit::AlignMode::kCode, 64);
    a.bind(unrolled);
    for (int step = 0; step < depth_unroll; ++step) multiply_one(step);
    advance(depth_unroll);
    a.sub(count_, depth_unroll);
    a.jge(unrolled);
    a.bind(rest);
    a.add(count_, depth_unroll);
    a.jz(done);
    a.bind(single);
    multiply_one(0);
    advance(1);
    a.dec(count_);
    a.jnz(single);
    a.bind(done);
  }

  void store_sums() {
    auto& a = assembler_;
    a.mov(c_, argument(offsetof(MicroCall, c)));
    a.mov(count_, argument(offsetof(MicroCall, c_row)));
    for (int i = 0; i < tile_.rows; ++i) {
      for (int j = 0; j < tile_.vectors; ++j)
        store(x86::ptr(c_, j * width_), sum(i, j), is_masked(j));
      a.add(c_, count_);
    }
  }

  const MicroTile tile_;
  x86::Assembler assembler_;
  const int width_, element_, spare_;
  Label masks_;
  const Gp call_ = x86::rdi, b_ = x86::rsi, c_ = x86::rdx, count_ = x86::rcx, copy_ = x86::rax;
  const Gp bases_[4] = {x86::r8, x86::r9, x86::r10, x86::r11};
  const Gp a1_ = x86::rbx, a3_ = x86::rbp, a5_ = x86::r12, a7_ = x86::r13;
  const Gp b1_ = x86::r14, b3_ = x86::r15;
  const std::array<Gp, 6> saved_ = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14, x86::r15};
};

class ThrowingHandler : public asmjit::ErrorHandler {
  void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
    throw Error(std::string("a micro-kernel could not be assembled: ") + message, {});
  }
};

// Position in the table: the tile's fields, packed.
size_t slot_of(const MicroTile& tile) {
  size_t slot = tile.rows;
  slot = slot * 8 + (tile.vectors - 1);
  slot = slot * 2 + (tile.isa == Isa::avx512);
  slot = slot * 2 + (tile.dtype == DType::f64);
  slot = slot * 2 + size_t(tile.a_order);
  slot = slot * 2 + tile.masked;
  slot = slot * 2 + tile.half_tail;
  return slot * 2 + tile.copies_b;
}

struct Table {
  std::array<std::atomic<MicroKernel>, (max_tile_rows + 1) * max_tile_vectors * 64> kernels{};
  std::mutex mutex;  // held while generating
  asmjit::JitRuntime runtime;
};

// Never destroyed: code may run until the process ends.
Table& table() {
  static Table& table = *new Table;
  return table;
}

void announce_forever(const MicroTile& tile, MicroKernel kernel, size_t bytes) {
  std::unique_ptr<AnnouncedCode> announced =
      announce({{name_of(tile), reinterpret_cast<const void*>(kernel), bytes}});
  (void)announced.release();  // as the code itself
}

MicroKernel generate(const MicroTile& tile) {
  ENCORE_ASSERT(tile.rows >= 1 && tile.rows <= most_tile_rows(tile.isa, tile.vectors));
  std::lock_guard lock(table().mutex);
  std::atomic<MicroKernel>& slot = table().kernels[slot_of(tile)];
  if (MicroKernel known = slot.load(std::memory_order_relaxed)) return known;
  asmjit::CodeHolder code;
  ThrowingHandler handler;
  code.init(table().runtime.environment());
  code.setErrorHandler(&handler);
  Generator(tile, &code).run();
  ENCORE_ASSERT(!code.hasRelocEntries() && !code.hasUnresolvedLinks());
  MicroKernel kernel = nullptr;
  if (table().runtime.add(&kernel, &code) != asmjit::kErrorOk)
    throw Error("no executable memory for a micro-kernel", {});
  if (wants_symbols()) announce_forever(tile, kernel, code.codeSize());
  slot.store(kernel, std::memory_order_release);
  return kernel;
}

}  // namespace

int most_tile_rows(Isa isa, int vectors) {
  // Beside the sums: a row of B, then an element of A or a mask, each only where it is needed.
  const int others = isa == Isa::avx2 ? 2 : vectors > 1;
  return std::min(max_tile_rows, (vector_registers(isa) - others) / vectors - 1);
}

MicroKernel micro_kernel(const MicroTile& tile) {
  MicroKernel known = table().kernels[slot_of(tile)].load(std::memory_order_acquire);
  return known ? known : generate(tile);
}

std::string name_of(const MicroTile& tile) {
  return fmt::format("encore_micro_{}_{}x{}", name_of(tile.dtype), tile.rows, tile.vectors);
}

std::string assembly_of(const MicroTile& tile) {
  ENCORE_ASSERT(tile.rows >= 1 && tile.rows <= most_tile_rows(tile.isa, tile.vectors));
  asmjit::CodeHolder code;
  asmjit::StringLogger logger;
  ThrowingHandler handler;
  code.init(asmjit::Environment::host());
  code.setLogger(&logger);
  code.setErrorHandler(&handler);
  Generator(tile, &code).run();
  return std::string(logger.data(), logger.dataSize());
}

}  // namespace encore::jit
