// Is a Parameter the one mutable cell: used like a tensor, assigned like a variable?
#include <encore/autograd/backward.h>
#include <encore/lazy/contraction.h>
#include <encore/lazy/create.h>
#include <gmock/gmock.h>

namespace encore {
namespace {

using testing::ElementsAre;

TEST(Parameter, UseRecordsAVariableThatNamesTheCell) {
  Parameter p(full({3}, 2.0), "p");
  Tensor used = p;
  EXPECT_EQ(used.node()->op, OpId::variable);
  EXPECT_TRUE(used.requires_grad());
  EXPECT_EQ(used.node()->cell.lock(), p.cell());
  EXPECT_EQ(used.node()->inputs[0], p.value().node());
  EXPECT_FALSE(p.value().requires_grad());
}

TEST(Parameter, UseIsMarkedWithTheLineOfTheOp) {
  Parameter p(full({3}, 2.0));
  Tensor y = p * 2.0;
  int line = __LINE__ - 1;
  EXPECT_EQ(y.node()->inputs[0]->op, OpId::variable);
  EXPECT_EQ(int(y.node()->inputs[0]->location.line), line);
}

TEST(Parameter, IsAnOperandOnEitherSideAndOfAnyFunction) {
  Parameter p(full({2, 2}, 3.0)), q(full({2, 2}, 4.0));
  EXPECT_TRUE((p * 2.0).requires_grad());
  EXPECT_TRUE((2.0 * p).requires_grad());
  EXPECT_THAT((p * q).to_vector<float>(), ElementsAre(12, 12, 12, 12));
  EXPECT_THAT(matmul(p, q).to_vector<float>(), ElementsAre(24, 24, 24, 24));
  EXPECT_THAT(p.tensor().sum().to_vector<float>(), ElementsAre(12));
}

TEST(Parameter, InsideNoGradItsUseIsItsValue) {
  Parameter p(full({3}, 2.0));
  NoGrad off;
  EXPECT_EQ(p.tensor().node(), p.value().node());
}

TEST(Parameter, OfIntegersHasNoGradient) {
  Parameter p(full({3}, 2, {.dtype = i32}));
  EXPECT_FALSE(p.tensor().requires_grad());
}

TEST(Parameter, AssignmentDetachesAndEarlierUsesKeepTheOldValue) {
  Parameter p(full({2}, 1.0));
  auto cell = p.cell();
  Tensor before = p * 10.0;
  p = p * 5.0;
  EXPECT_EQ(p.cell(), cell);
  EXPECT_FALSE(p.value().requires_grad());
  EXPECT_THAT(before.to_vector<float>(), ElementsAre(10, 10));
  EXPECT_THAT(p.value().to_vector<float>(), ElementsAre(5, 5));
}

TEST(Parameter, CopyHasItsOwnCellMoveKeepsIt) {
  Parameter p(full({2}, 1.0), "weight");
  backward((p * 3.0).sum());
  Parameter copy(p);
  EXPECT_NE(copy.cell(), p.cell());
  EXPECT_EQ(copy.name(), "weight");
  EXPECT_FALSE(copy.grad().defined());
  copy = full({2}, 7.0);
  EXPECT_THAT(p.value().to_vector<float>(), ElementsAre(1, 1));

  auto cell = p.cell();
  Parameter moved(std::move(p));
  EXPECT_EQ(moved.cell(), cell);
  EXPECT_THAT(moved.grad().to_vector<float>(), ElementsAre(3, 3));
}

TEST(Parameter, CopyAssignmentFillsTheExistingCell) {
  Parameter p(full({2}, 1.0)), q(full({2}, 2.0));
  ParameterRef held = p;
  p = q;
  EXPECT_TRUE(held == p);
  EXPECT_FALSE(p == q);
  EXPECT_THAT(held.value().to_vector<float>(), ElementsAre(2, 2));
}

TEST(Parameter, RefSharesTheCell) {
  Parameter p(full({2}, 1.0));
  ParameterRef ref = p, again = ref;
  again.set_value(full({2}, 4.0));
  EXPECT_THAT(p.value().to_vector<float>(), ElementsAre(4, 4));
}

TEST(Parameter, EmptyOneThrowsAtTheLineThatUsesIt) {
  Parameter p;
  try {
    Tensor y = p * 2.0;
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(int(error.where().line), __LINE__ - 3);
  }
}

TEST(Parameter, MayDieBeforeItsUses) {
  Tensor loss;
  {
    Parameter p(full({2}, 1.0));
    loss = (p * 3.0).sum();
  }
  backward(loss);
  EXPECT_FLOAT_EQ(loss.item<float>(), 6);
}

}  // namespace
}  // namespace encore
