// Can a program outside the tree find, link and run an installed Encore that was moved?
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

namespace fs = std::filesystem;

const char* const project = R"(
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(encore 0.1 REQUIRED)
add_executable(consumer consumer.cpp)
target_link_libraries(consumer PRIVATE encore::encore)
)";

const char* const program = R"(
#include <encore/encore.h>
int main() {
  encore::Tensor x = encore::from_vector<float>({1, 2, 3});
  return encore::sum(x * 2 + 1).item<float>() == 15 ? 0 : 1;
}
)";

class Install : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    fs::create_directories(root_ / "consumer");
  }
  void TearDown() override { fs::remove_all(root_); }
  void run(const std::string& command) {
    ASSERT_EQ(std::system((command + " > /dev/null").c_str()), 0) << command;
  }
  fs::path root_ = testing::TempDir() + "encore_install_" + std::to_string(getpid());
};

TEST_F(Install, AMovedPrefixIsFoundAndRuns) {
  const std::string root = root_.string();
  run(fmt::format("cmake --install '{}' --strip --prefix '{}/first'", ENCORE_BINARY_DIR, root));
  fs::rename(root_ / "first", root_ / "moved");
  std::ofstream(root_ / "consumer/CMakeLists.txt") << project;
  std::ofstream(root_ / "consumer/consumer.cpp") << program;
  run(
      fmt::format("cmake -S '{0}/consumer' -B '{0}/build' -G Ninja -DCMAKE_PREFIX_PATH='{0}/moved' "
                  "-DCMAKE_CXX_COMPILER='{1}'",
                  root, ENCORE_CXX_COMPILER));
  run(fmt::format("cmake --build '{}/build'", root));
  run(fmt::format("'{}/build/consumer'", root));
  run(fmt::format("'{}/moved/bin/encore-dump' --help", root));

  uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root_ / "moved")) {
    if (entry.is_regular_file() && !entry.is_symlink()) bytes += entry.file_size();
  }
  EXPECT_LE(bytes, uintmax_t(120) << 20);
}

#ifdef ENCORE_LIBRARY
TEST(Library, ShowsNoNameButItsOwn) {
  const std::string others =
      fmt::format("nm -D --defined-only '{}' | grep -E ' [A-Za-z] ' | grep -Ev '6encore|encore_'",
                  ENCORE_LIBRARY);
  EXPECT_NE(std::system(others.c_str()), 0) << "the names above leave the library";
  const std::string needed = fmt::format("ldd '{}' | grep -iE 'llvm|asmjit|cuda'", ENCORE_LIBRARY);
  EXPECT_NE(std::system(needed.c_str()), 0) << "the libraries above must not be needed";
}
#endif

}  // namespace
