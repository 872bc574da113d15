// Are tensors values? The cases that broke other libraries: views, writes, replays, edges.
#include <encore/encore.h>
#include <encore/tests/each_backend.h>
#include <gtest/gtest.h>

#include <cmath>

namespace encore {
namespace {

using testing::on_each_backend;
using Floats = std::vector<float>;

TEST(ValueSemantics, ReplaysOfASeriesOfStatesStay) {
  std::vector<Tensor> held;
  Tensor x = from_vector<float>({0, 0});
  for (int i = 0; i < 10; ++i) {
    x = x + 1.0;
    encore::sync();
    held.push_back(x);
  }
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(held[size_t(i)].to_vector<float>(), Floats(2, float(i + 1)));
}

TEST(ValueSemantics, TwiceTheSameExpressionOfARebindingHandle) {
  Tensor x = from_vector<double>({3});
  Tensor y = log(x);
  x = log(x);
  EXPECT_NEAR(y.item<double>(), 1.0986122886681098, 1e-15);
  x = log(x);
  EXPECT_NEAR(x.item<double>(), std::log(1.0986122886681098), 1e-15);
  EXPECT_NEAR(y.item<double>(), 1.0986122886681098, 1e-15);
}

TEST(ValueSemantics, AWriteIntoABroadcastChangesOneRowOfOneValue) {
  on_each_backend([] {
    Tensor x = from_vector<float>({1, 2});
    Tensor wide = x.expand({2, 2});
    Tensor before = wide;
    wide[{-1}] = from_vector<float>({7, 8});
    EXPECT_EQ(wide.to_vector<float>(), (Floats{1, 2, 7, 8}));
    EXPECT_EQ(before.to_vector<float>(), (Floats{1, 2, 1, 2}));
    EXPECT_EQ(x.to_vector<float>(), (Floats{1, 2}));
  });
}

TEST(ValueSemantics, AddingARepeatedIndexToItself) {
  on_each_backend([] {
    Tensor y = from_vector<float>({3, 5}), i = from_vector<int64_t>({0, 0});
    y[{i}] += y[{i}];
    EXPECT_EQ(y.to_vector<float>(), (Floats{6, 5}));
  });
}

TEST(ValueSemantics, AShiftedBufferFedBackTwentyTimes) {
  on_each_backend([] {
    Tensor buffer = zeros({4, 3});
    std::vector<Floats> expected(4, Floats(3, 0));
    for (int frame = 1; frame <= 20; ++frame) {
      Tensor next = full({1, 3}, float(frame)) + buffer[{Slice{0, 1}}] * 0.5;
      Floats row(3);
      for (size_t k = 0; k < 3; ++k) row[k] = float(frame) + expected[0][k] * 0.5f;
      buffer = concat({buffer[{Slice{1, {}}}], next});
      expected.erase(expected.begin());
      expected.push_back(row);
      if (frame % 5 == 0) eval(buffer);
    }
    Floats flat;
    for (const Floats& row : expected) flat.insert(flat.end(), row.begin(), row.end());
    EXPECT_EQ(buffer.to_vector<float>(), flat);
  });
}

TEST(ValueSemantics, ZeroSizedTensorsPassEveryKindOfOp) {
  on_each_backend([] {
    Parameter a(zeros({4, 0})), b(zeros({0, 4}));
    Tensor product = matmul(a, b);
    EXPECT_EQ(product.to_vector<float>(), Floats(16, 0));
    backward(product.sum());
    EXPECT_EQ(a.grad().shape(), (Shape{4, 0}));
    EXPECT_EQ(b.grad().shape(), (Shape{0, 4}));
    EXPECT_TRUE(a.grad().to_vector<float>().empty());
    Tensor e = zeros({0, 3});
    EXPECT_TRUE((exp(e) * 2.0 + e).to_vector<float>().empty());
    EXPECT_EQ(e.sum({0}).to_vector<float>(), Floats(3, 0));
    EXPECT_EQ(e.prod().item<float>(), 1);
    EXPECT_TRUE(e.sum({1}).to_vector<float>().empty());
    EXPECT_TRUE(softmax(e).to_vector<float>().empty());
    EXPECT_TRUE(e.transpose().reshape({3, 0}).flip().to_vector<float>().empty());
    EXPECT_EQ(concat({e, ones({1, 3})}).to_vector<float>(), Floats(3, 1));
    EXPECT_EQ(pad(e, {1, 0}, {1, 0}, 2).to_vector<float>(), Floats(6, 2));
    EXPECT_TRUE(take(ones({2, 2}), from_vector<int64_t>({}), 0).to_vector<float>().empty());
    EXPECT_EQ(index_add(ones({2}), from_vector<int64_t>({}), zeros({0}), 0).to_vector<float>(),
              Floats(2, 1));
  });
}

TEST(ValueSemantics, NumbersDoNotWidenADtypeWithinItsKind) {
  Tensor b = ones({2}, {.dtype = bf16}), i = ones({2}, {.dtype = i32});
  EXPECT_EQ((b * 0.5).dtype(), bf16);
  EXPECT_EQ((b * 2).dtype(), bf16);
  EXPECT_EQ((i * 2).dtype(), i32);
  EXPECT_EQ((i * 2.0).dtype(), f32);
  EXPECT_EQ(pow(2.5, i).dtype(), f32);
  EXPECT_EQ(pow(2.5, i + 1).to_vector<float>(), (Floats{6.25, 6.25}));
  EXPECT_EQ((b * 0.5).to_vector<float>(), (Floats{0.5, 0.5}));
}

TEST(ValueSemantics, RowMaximaThatBeginAtAnOddColumn) {
  on_each_backend([] {
    constexpr int64_t rows = 503, columns = 129;
    Tensor x = (iota({rows, 1}, 0) % 251).to(u8) + zeros({1, columns}, {.dtype = u8});
    eval(x);
    auto values = x[{Slice{}, Slice{7, {}}}].max({1}).to_vector<int32_t>();
    for (int64_t row = 0; row < rows; ++row) EXPECT_EQ(values[size_t(row)], row % 251);
  });
}

TEST(ValueSemantics, AStoredPartIsAValueOfItsOwn) {
  Tensor x = from_vector<float>({1, 2, 3, 4}, {2, 2});
  Tensor row = x[{0}];
  x[{0}] = 9.0;
  EXPECT_EQ(row.to_vector<float>(), (Floats{1, 2}));
  row += 1.0;
  EXPECT_EQ(x.to_vector<float>(), (Floats{9, 9, 3, 4}));
  Tensor flat = x.reshape({4});
  x *= 2.0;
  EXPECT_EQ(flat.to_vector<float>(), (Floats{9, 9, 3, 4}));
}

// One value a row, visited again for every row of the other operand, must not be read where it was
// already overwritten.
TEST(ValueSemantics, WhatIsReadAgainIsNotWrittenInPlace) {
  Tensor x = from_vector<float>({6, -8, -8, 9}, {4, 1, 1}) * 1.0;
  Tensor wide = from_vector<float>({1, 100, 2, 3}, {1, 2, 2});
  encore::sync();
  Tensor narrow = x * -7.0, both = maximum(wide, narrow);
  x = Tensor();
  encore::sync();
  EXPECT_EQ(narrow.to_vector<float>(), (Floats{-42, 56, 56, -63}));
  EXPECT_EQ(both.to_vector<float>(),
            (Floats{1, 100, 2, 3, 56, 100, 56, 56, 56, 100, 56, 56, 1, 100, 2, 3}));
}

TEST(ValueSemantics, ForeignMemoryIsReadInPlaceAndNeverWritten) {
  Floats memory = {1, 2, 3};
  {
    Tensor x = from_blob(memory.data(), f32, {3});
    for (int i = 0; i < 3; ++i) {
      x = x * 2.0;
      encore::sync();
    }
    EXPECT_EQ(x.to_vector<float>(), (Floats{8, 16, 24}));
  }
  EXPECT_EQ(memory, (Floats{1, 2, 3}));
}

}  // namespace
}  // namespace encore
