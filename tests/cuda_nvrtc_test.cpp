// Is NVRTC found and used as the numbers demand, and do its errors say what was wrong?
#include <encore/core/error.h>
#include <encore/core/shared_library.h>
#include <encore/jit/cuda/nvrtc.h>
#include <gmock/gmock.h>

namespace encore::jit::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const char* const kernel_text = R"(
extern "C" __global__ void scale(const float* x, float* y, float a) {
  int i = threadIdx.x;
  y[i] = x[i] / a + x[i] * a;
})";

class NvrtcTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!nvrtc_is_available()) GTEST_SKIP() << "there is no NVRTC here (see ENCORE_CUDA_PATH)";
  }
};

TEST_F(NvrtcTest, ACubinIsMadeForTheCapabilityAskedFor) {
  for (int capability : {80, 90}) {
    std::vector<std::byte> cubin = compile_to_cubin(kernel_text, capability);
    ASSERT_GT(cubin.size(), 64u);
    EXPECT_EQ(char(cubin[1]), 'E');  // an ELF file
  }
  EXPECT_NE(compile_to_cubin(kernel_text, 80), compile_to_cubin(kernel_text, 90));
  EXPECT_EQ(compile_to_cubin(kernel_text, 90), compile_to_cubin(kernel_text, 90));
}

TEST_F(NvrtcTest, SideBySideProgramsAreCompiledAsEachAlone) {
  std::vector<std::string> sources;
  for (int i = 0; i < 5; ++i) {
    sources.push_back(kernel_text);
    sources.back().replace(sources.back().find("scale"), 5, "scale" + std::to_string(i));
  }
  const std::vector<std::vector<std::byte>> cubins = compile_to_cubins(sources, 90);
  ASSERT_EQ(cubins.size(), sources.size());
  for (size_t i = 0; i < sources.size(); ++i)
    EXPECT_EQ(cubins[i], compile_to_cubin(sources[i], 90));
  sources[3] = "broken";
  EXPECT_THROW(compile_to_cubins(sources, 90), Error);
  EXPECT_TRUE(compile_to_cubins({}, 90).empty());
}

TEST_F(NvrtcTest, ProductsAndSumsAreNotContractedAndDivisionIsRounded) {
  std::string ptx = compile_to_ptx(kernel_text, 90);
  EXPECT_THAT(ptx, Not(HasSubstr("fma.rn.f32")));
  EXPECT_THAT(ptx, HasSubstr("div.rn.f32"));
  EXPECT_THAT(ptx, HasSubstr("mul.rn.f32"));  // plain `mul` could be contracted by the assembler
  EXPECT_THAT(ptx, HasSubstr("scale"));
}

TEST_F(NvrtcTest, RefusedCodeComesWithTheLog) {
  try {
    compile_to_cubin("extern \"C\" __global__ void broken() { undeclared = 1; }", 90);
    FAIL() << "it compiled";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("undeclared"));
  }
}

TEST(SharedLibraryTest, SaysWhatWasLookedForWhere) {
  const std::string names[] = {"libnobody_has_this.so.7", "libnobody_has_this.so"};
  const std::string folders[] = {"/nowhere/at/all"};
  SharedLibrary none(names, folders);
  EXPECT_FALSE(none.is_open());
  EXPECT_EQ(none.find("anything"), nullptr);
  for (const std::string& part : {names[0], names[1], folders[0]})
    EXPECT_THAT(none.failure(), HasSubstr(part));
  const std::string second[] = {"libnobody_has_this.so", "libc.so.6"};
  SharedLibrary c(second, {});
  EXPECT_TRUE(c.is_open());
  EXPECT_EQ(c.name(), "libc.so.6");
  EXPECT_NE(c.find("malloc"), nullptr);
  EXPECT_EQ(c.find("no_such_symbol_at_all"), nullptr);
}

}  // namespace
}  // namespace encore::jit::cuda
