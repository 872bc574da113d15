// Where tensors are made when no device is named.
#include <encore/encore.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

TEST(DefaultDevice, NamesAreReadAsWritten) {
  EXPECT_EQ(parse_device("cpu"), cpu);
  EXPECT_EQ(parse_device("cuda"), cuda(0));
  EXPECT_EQ(parse_device("cuda:3"), cuda(3));
  for (const char* wrong : {"gpu", "cuda:", "cuda:x", "cuda:1x", "cuda:300", "CPU", " cpu"})
    EXPECT_THROW(parse_device(wrong), Error) << wrong;
}

TEST(DefaultDevice, IsWhereFactoriesAndLayersMakeTensors) {
  Device device = default_device();
  EXPECT_EQ(zeros({2}).device(), device);
  EXPECT_EQ(arange(0, 5).device(), device);
  EXPECT_EQ(randn({3}).device(), device);
  EXPECT_EQ(from_vector<float>({1, 2}).device(), device);
  EXPECT_EQ(Linear(2, 3).parameters()[0].device(), device);
}

TEST(DefaultDevice, StaysWhenTheWantedOneDoesNotExist) {
  Device before = default_device();
  EXPECT_THROW(set_default_device(cuda(200)), Error);
  EXPECT_EQ(default_device(), before);
  set_default_device(cpu);
  EXPECT_EQ(zeros({2}).device(), cpu);
  set_default_device(before);
}

}  // namespace
}  // namespace encore
