// Does the compiler still make the kernels that are written down in tests/golden/, and do these
// compute the same on every backend?
//
// After a change that is meant to change kernels, ENCORE_RENEW_GOLDENS=1 writes the files anew; the
// diff in version control then shows what the change does.
#include <encore/core/events.h>
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/parse_kernel.h>
#include <encore/jit/reference/interpreter.h>
#include <encore/utils/run_kernel_alone.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

namespace encore {
namespace {

namespace fs = std::filesystem;

const fs::path goldens = fs::path(ENCORE_SOURCE_DIR) / "tests" / "golden";

/// A leaf; its values are in no kernel.
Tensor leaf(const Shape& shape) {
  std::vector<float> values(size_t(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(std::sin(double(i)));
  return from_vector(values, shape);
}

Tensor indices(int64_t count, int64_t below) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(i * 7 % below);
  return from_vector(values);
}

void run_softmax() {
  Tensor y = softmax(leaf({6, 40}));
  eval(y);
}

void run_gelu_chain() {
  Tensor y = gelu(leaf({12, 50}) * leaf({12, 50}) + leaf({50})) + leaf({12, 50});
  eval(y);
}

void run_layer_norm() {
  Tensor x = variable(leaf({20, 48})), scale = variable(leaf({48})), shift = variable(leaf({48}));
  Tensor y = layer_norm(x, {48}, scale, shift);
  std::vector<Tensor> gradients = grad((y * leaf({20, 48})).sum(), {x, scale, shift});
  eval(y, gradients[0], gradients[1], gradients[2]);
}

void run_cross_entropy() {
  Tensor logits = variable(leaf({24, 10}));
  Tensor loss = cross_entropy(logits, indices(24, 10));
  Tensor gradient = grad(loss, {logits})[0];
  eval(loss, gradient);
}

void run_adamw() {
  Parameter a(leaf({6, 7})), b(leaf({6, 7})), c(leaf({6, 7}));
  AdamW optimizer({a, b, c});
  backward((a * leaf({6, 7}) + b * leaf({6, 7}) + c * leaf({6, 7})).sum());
  optimizer.step();
}

void run_linear_gelu() {
  Tensor y = gelu(linear(leaf({18, 24}), leaf({32, 24}), leaf({32})));
  eval(y);
}

void run_attention_scores() {
  Tensor scores = einsum("bqhd,bkhd->bhqk", {leaf({2, 5, 3, 8}), leaf({2, 9, 3, 8})}) * 0.5;
  eval(scores);
}

void run_embedding() {
  Tensor table = variable(leaf({11, 16}));
  Tensor rows = take(table, indices(14, 11)) * 2;
  Tensor gradient = grad(rows.sum(), {table})[0];
  eval(rows, gradient);
}

struct Program {
  const char* name;
  void (*run)();
};

const Program programs[] = {
    {"softmax", run_softmax},
    {"gelu_chain", run_gelu_chain},
    {"layer_norm", run_layer_norm},
    {"cross_entropy", run_cross_entropy},
    {"adamw", run_adamw},
    {"linear_gelu", run_linear_gelu},
    {"attention_scores", run_attention_scores},
    {"embedding", run_embedding},
};

/// The settings that kernels depend on are the usual ones while it lives.
class UsualSettings {
 public:
  UsualSettings() : before_(settings()) {
    settings().strict = settings().check_numerics = false;
    settings().fuse = true;
    settings().matmul_precision = MatmulPrecision::highest;
    settings().backend = "";
    set_default_device(cpu);
  }
  ~UsualSettings() { settings() = before_; }

 private:
  Settings before_;
};

std::vector<std::string> compiled_kernels(const Program& program) {
  std::vector<std::string> texts;
  const uint32_t listener = events::listen(
      [&](const Event& event) {
        if (event.name.starts_with("kernel:")) texts.emplace_back(event.text);
      },
      events::bit(EventKind::pass));
  program.run();
  events::ignore(listener);
  return texts;
}

std::string read(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// "softmax.0.txt", "softmax.1.txt" … as far as there are any.
std::vector<fs::path> files_of(const Program& program) {
  std::vector<fs::path> files;
  for (;;) {
    fs::path file =
        goldens / (std::string(program.name) + "." + std::to_string(files.size()) + ".txt");
    if (!fs::exists(file)) return files;
    files.push_back(file);
  }
}

void renew(const Program& program, const std::vector<std::string>& texts) {
  for (const fs::path& file : files_of(program)) fs::remove(file);
  fs::create_directories(goldens);
  for (size_t i = 0; i < texts.size(); ++i)
    std::ofstream(goldens / (std::string(program.name) + "." + std::to_string(i) + ".txt"))
        << texts[i];
}

/// As `diff -u` shows it.
std::string difference(const fs::path& golden, const std::string& text) {
  if (read(golden) == text) return {};
  const fs::path other = fs::path(::testing::TempDir()) / ("golden_" + std::to_string(getpid()));
  std::ofstream(other) << text;
  std::string shown;
  const std::string command =
      "diff -u --label golden --label now '" + golden.string() + "' '" + other.string() + "'";
  FILE* pipe = popen(command.c_str(), "r");
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) shown.append(part, size);
  pclose(pipe);
  fs::remove(other);
  return golden.filename().string() + " is another kernel now:\n" + shown;
}

class GoldenKernel : public ::testing::TestWithParam<Program> {};

TEST_P(GoldenKernel, IsWhatTheCompilerMakes) {
  UsualSettings guard;
  const std::vector<std::string> texts = compiled_kernels(GetParam());
  ASSERT_FALSE(texts.empty());
  if (std::getenv("ENCORE_RENEW_GOLDENS")) renew(GetParam(), texts);
  const std::vector<fs::path> files = files_of(GetParam());
  constexpr const char* advice =
      "\nIf this is meant, run this program with ENCORE_RENEW_GOLDENS=1 and read the diff.";
  EXPECT_EQ(files.size(), texts.size()) << "kernels of " << GetParam().name << advice;
  for (size_t i = 0; i < std::min(files.size(), texts.size()); ++i)
    if (std::string shown = difference(files[i], texts[i]); !shown.empty())
      ADD_FAILURE() << shown << advice;
}

// Floating inputs are normal numbers, indices lie inside what they index (KernelAlone). The CPU
// backend owes the interpreter's bits.
TEST_P(GoldenKernel, ComputesTheSameOnBothBackends) {
  for (const fs::path& file : files_of(GetParam())) {
    const jit::Kernel kernel = jit::parse_kernel(read(file));
    jit::verify_kernel(kernel);
    EXPECT_TRUE(read(file).ends_with(jit::describe(kernel))) << file;
    for (const jit::Kernel& form : {kernel, with_sizes_as_arguments(kernel)})
      for (uint64_t seed : {1, 2}) {
        for (jit::Backend* backend : {&jit::cpu_backend(), &jit::interpreter()}) {
          KernelAlone alone(form, *backend, seed);
          const KernelDifference difference = alone.check();
          EXPECT_EQ(difference.differing, 0) << file << " on " << backend->name();
          EXPECT_GT(difference.elements, 0);
        }
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Each, GoldenKernel, ::testing::ValuesIn(programs),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace encore
