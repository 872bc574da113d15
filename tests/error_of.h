// The error that a piece of a test throws.
#pragma once
#include <encore/core/error.h>
#include <gtest/gtest.h>

namespace encore::testing {

/// Fails the test when nothing is thrown.
template <class Act>
Error error_of(Act act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error("", {});
}

}  // namespace encore::testing
