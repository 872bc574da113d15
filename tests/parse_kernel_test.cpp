// Is a kernel that is read from its text the kernel that was printed, and is every other text
// refused with its place?
#include <encore/core/error.h>
#include <encore/jit/parse_kernel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "contraction_cases.h"
#include "instruction_kernels.h"
#include "kernel_maker.h"
#include "random_data.h"
#include "random_kernel.h"
#include "same_kernel.h"
#include "schedule_kernels.h"

namespace encore::jit {
namespace {

using ::testing::HasSubstr;

/// Empty where printing and reading gives the kernel back, from both of its texts.
std::string broken_round_trip(const Kernel& kernel) {
  const std::string text = to_text(kernel), described = describe(kernel);
  if (to_text(parse_kernel(text)) != text) return "its text is not the same again:\n" + text;
  const Kernel parsed = parse_kernel(described);
  if (describe(parsed) != described) return "its description is not the same again:\n" + described;
  const std::string difference = KernelComparison(kernel, parsed).difference();
  if (!difference.empty()) return difference + " differs:\n" + described;
  if (parsed.name != kernel.name) return "its name differs: " + parsed.name;
  return {};
}

/// The parsed kernel with the sizes that its table has where the original's are; a launch's sizes
/// come in the order of the table.
RandomKernel parsed_with_data(const RandomKernel& random) {
  RandomKernel result = random;
  result.kernel = parse_kernel(describe(random.kernel));
  for (LaunchData& data : result.segments) {
    std::vector<int64_t> sizes;
    for (size_t i = 0; i < result.kernel.sizes.size(); ++i) {
      const Size& size = result.kernel.sizes[i];
      sizes.push_back(size.fixed ? size.value : data.sizes[i]);
    }
    data.sizes = std::move(sizes);
  }
  return result;
}

std::string different_result(const RandomKernel& random) {
  return first_difference(random.kernel, run_reference(random),
                          run_reference(parsed_with_data(random)));
}

TEST(ParseKernel, RandomKernelsComeBack) {
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    const Kernel kernel = make_random_kernel(seed).kernel;
    ASSERT_EQ(broken_round_trip(kernel), "") << "seed " << seed;
  }
}

TEST(ParseKernel, ParsedRandomKernelsRunTheSame) {
  for (uint64_t seed = 0; seed < 1500; ++seed)
    ASSERT_EQ(different_result(make_random_kernel(seed, {.max_points = 400})), "") << seed;
}

TEST(ParseKernel, EveryInstructionComesBack) {
  for (const RandomKernel& random : instruction_kernels()) {
    ASSERT_EQ(broken_round_trip(random.kernel), "");
    ASSERT_EQ(different_result(random), "");
  }
}

TEST(ParseKernel, KernelsOfProgramsComeBack) {
  for (const RandomKernel& random : schedule_kernels()) {
    verify_kernel(parse_kernel(to_text(random.kernel)));
    ASSERT_EQ(broken_round_trip(random.kernel), "");
  }
  ASSERT_EQ(different_result(softmax_kernel(5, 33, false)), "");
  ASSERT_EQ(different_result(layer_norm_kernel(9, 31, 4, true)), "");
}

TEST(ParseKernel, ContractionsComeBack) {
  for (const ContractionCase& one : ContractionCases::make(true)) {
    verify_kernel(parse_kernel(to_text(one.random.kernel)));
    ASSERT_EQ(broken_round_trip(one.random.kernel), "") << one.name;
  }
  Kernel kernel = with_sizes_as_arguments(matmul_kernel(f32, 1, 7, 9, 20));
  kernel.variant = 3;
  ASSERT_EQ(broken_round_trip(kernel), "");
}

TEST(ParseKernel, EveryBitOfALiteralComesBack) {
  for (DType dtype : {f32, f64, u8, i16, i64, u64, boolean})
    for (uint64_t bits : edge_values(dtype)) {
      KernelMaker make;
      make.emit(Opcode::constant, dtype, {}, 0, bits);
      make.stage(StageKind::setup);
      const Kernel parsed = parse_kernel(to_text(make.kernel));
      EXPECT_EQ(parsed.instructions[0].bits, bits) << name_of(dtype);
    }
  for (uint64_t nan : {0x7fc00001u, 0xffc12345u, 0x7f800001u}) {
    KernelMaker make;
    make.emit(Opcode::constant, f32, {}, 0, nan);
    make.stage(StageKind::setup);
    EXPECT_EQ(parse_kernel(to_text(make.kernel)).instructions[0].bits, nan);
  }
}

// ---- Texts written by people
// ---------------------------------------------------------------------

constexpr const char* doubled = R"(kernel doubled
size s0 = 100

axis 0: inner s0
argument 0: read f32   # a comment
argument 1: write f32
sweep
  %0 = load f32 argument 0 [axis 0]
  %1 = add f32 %0 %0
  %2 = store f32 %1 argument 1 [axis 0]
)";

TEST(ParseKernel, HeadCommentsAndEmptyLinesAreNotInTheKey) {
  const Kernel kernel = parse_kernel(doubled);
  verify_kernel(kernel);
  EXPECT_EQ(kernel.name, "doubled");
  EXPECT_EQ(kernel.sizes[0].value, 100);
  EXPECT_FALSE(kernel.sizes[0].fixed);
  const Kernel plain = parse_kernel(to_text(kernel));
  EXPECT_EQ(plain.name, "");
  EXPECT_EQ(plain.sizes[0].value, untold_size);
  EXPECT_EQ(key_of(plain), key_of(kernel));
}

TEST(ParseKernel, ANameKeepsToItsLine) {
  Kernel kernel = parse_kernel(doubled);
  kernel.name = "two\nlines # and a mark";
  EXPECT_EQ(parse_kernel(describe(kernel)).name, "two_lines _ and a mark");
}

std::string refusal(std::string text, const std::string& wrong, const std::string& instead) {
  const size_t at = text.find(wrong);
  EXPECT_NE(at, std::string::npos) << wrong;
  text.replace(at, wrong.size(), instead);
  try {
    parse_kernel(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ParseKernel, ErrorsNamePlaceAndExpectation) {
  const struct {
    const char *wrong, *instead, *message;
  } cases[] = {
      {"inner s0", "inside s0", "line 4, column 9: expected a role: outer, row, inner or "},
      {"inner s0", "inner x",
       "line 4, column 15: expected a size: a number, or as in s3, found 'x'"},
      {"inner s0", "inner s70000", "expected a size below s65536, found 's70000'"},
      {"axis 0: inner", "axis 1: inner", "line 4, column 6: expected '0', found '1: inner s0'"},
      {"read f32", "read f31", "line 5, column 18: expected a dtype, found 'f31"},
      {"write f32", "write f32 x", "line 6, column 23: expected the end of the line, found 'x'"},
      {"argument 1 [", "argument 2 [",
       "expected one of the kernel's arguments, of which there are 2"},
      {"[axis 0]", "[axis 0 + axis 0]", "expected a term that is not in the sum yet"},
      {"[axis 0]", "[axis 0", "line 8, column 35: expected ']', found the end of the line"},
      {"%1 = add", "%3 = add", "line 9, column 3: expected %1, found '%3 = add f32 %0 %0'"},
      {"add f32 %0 %0", "add f32 %0", "expected a value, as in %3, found the end of the line"},
      {"add f32", "plus f32", "line 9, column 8: expected an instruction of lazy/instruction.h"},
      {"add f32 %0 %0", "constant f32 1.5", "expected bits, as in 0x3f, found '1.5'"},
      {"add f32 %0 %0", "constant f32 0x3f800000 (2)", "expected (1), which is what the bits say"},
      {"s0 = 100", "s0 = 99999999999999999999", "line 2, column 11: expected a value"},
      {"\nsweep", "\nswept",
       "line 7, column 1: expected an instruction, an accumulator or a stage"},
      {"%1 argument 1 [axis 0]\n", "%1 argument 1", "expected '[', found the end of the text"},
  };
  for (const auto& one : cases)
    EXPECT_THAT(refusal(doubled, one.wrong, one.instead), HasSubstr(one.message)) << one.instead;
  EXPECT_THAT(refusal(doubled, "read f32 ", "read f31 "),
              HasSubstr("argument 0: read f31   # a comment\n                   ^"));
}

// ---- Texts written by nobody
// ---------------------------------------------------------------------

/// Every text is refused by the parser or the verifier with an Error, or is a kernel's.
enum class Fate { refused, unverified, kernel };

Fate fate_of(const std::string& text) {
  Kernel kernel;
  try {
    kernel = parse_kernel(text);
  } catch (const Error&) {
    return Fate::refused;
  }
  EXPECT_EQ(to_text(parse_kernel(to_text(kernel))), to_text(kernel)) << text;
  try {
    verify_kernel(kernel);
  } catch (const Error&) {
    return Fate::unverified;
  }
  return Fate::kernel;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1);
    lines.push_back(text.substr(at, end + 1 - at));
    at = end + 1;
  }
  return lines;
}

std::string mutated(Random& random, const std::string& text, const std::string& other) {
  static constexpr std::string_view letters = "0123456789%s[]+*=:()# \n-x\0\xff";
  std::string result = text;
  for (size_t edits = 1 + random.below(3); edits > 0 && !result.empty(); --edits) {
    const size_t at = random.below(result.size());
    std::vector<std::string> lines = lines_of(result), others = lines_of(other);
    switch (random.below(6)) {
      case 0:
        result[at] = letters[random.below(letters.size())];
        break;
      case 1:
        result.insert(at, 1, letters[random.below(letters.size())]);
        break;
      case 2:
        result.erase(at, 1 + random.below(4));
        break;
      case 3:
        result.resize(at);
        break;
      default: {  // lines change places, are doubled, come from another kernel
        std::string& line = lines[random.below(lines.size())];
        if (random.chance(50))
          std::swap(line, lines[random.below(lines.size())]);
        else
          line = random.pick(others);
        result.clear();
        for (const std::string& each : lines) result += each;
      }
    }
  }
  return result;
}

TEST(ParseKernel, MutatedTextsNeverCrash) {
  Random random(5);
  std::map<Fate, int> fates;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string text = describe(make_random_kernel(seed, {.max_points = 50}).kernel);
    const std::string other = to_text(make_random_kernel(seed + 1, {.max_points = 50}).kernel);
    for (int i = 0; i < 15; ++i) ++fates[fate_of(mutated(random, text, other))];
  }
  for (Fate fate : {Fate::refused, Fate::unverified, Fate::kernel}) EXPECT_GT(fates[fate], 100);
}

TEST(ParseKernel, TextsCutAnywhereNeverCrash) {
  const std::string text = describe(layer_norm_kernel(9, 31, 4, false).kernel);
  for (size_t length = 0; length < text.size(); ++length) fate_of(text.substr(0, length));
  EXPECT_EQ(fate_of(text), Fate::kernel);
}

TEST(ParseKernel, RandomBytesNeverCrash) {
  Random random(6);
  const std::vector<std::string> words = {"axis",
                                          "0",
                                          ":",
                                          "1:",
                                          "inner",
                                          "s0",
                                          "s65535",
                                          "argument",
                                          "read",
                                          "f32",
                                          "sweep",
                                          "\n",
                                          "\n",
                                          "%0",
                                          "%1",
                                          "=",
                                          "load",
                                          "[",
                                          "]",
                                          "+",
                                          "store",
                                          "add",
                                          "row",
                                          "if",
                                          "size",
                                          "kernel",
                                          "setup",
                                          "operand a",
                                          "product",
                                          "sum",
                                          "-9223372036854775808",
                                          "18446744073709551615",
                                          "0xffffffffffffffff",
                                          "4294967295"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (size_t length = random.below(60); text.size() < length;)
      text +=
          random.chance(50) ? random.pick(words) + ' ' : std::string(1, char(random.below(256)));
    fate_of(text);
  }
}

}  // namespace
}  // namespace encore::jit
