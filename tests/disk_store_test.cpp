// Can a disk cache lose or damage anything but its own entries, and never give a wrong one?
#include <encore/cache/disk_store.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace encore::cache {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text) {
  auto data = std::as_bytes(std::span(text));
  return {data.begin(), data.end()};
}

class DiskStoreTest : public testing::Test {
 protected:
  DiskStoreTest() { fs::remove_all(root_); }
  ~DiskStoreTest() override { fs::remove_all(root_); }
  fs::path root_ = testing::TempDir() + "encore_disk_" + std::to_string(getpid());
};

TEST_F(DiskStoreTest, WhatWasWrittenIsRead) {
  DiskStore store({.folder = root_ / "cache"});
  EXPECT_FALSE(store.read("binary", "key"));
  store.write("binary", "key", bytes_of("value"));
  EXPECT_EQ(store.read("binary", "key"), bytes_of("value"));
  EXPECT_FALSE(store.read("kernel", "key"));
  DiskStore other({.folder = root_ / "cache"});
  EXPECT_EQ(other.read("binary", "key"), bytes_of("value"));
}

}  // namespace
}  // namespace encore::cache
