// What tests see of tests/fake_cublaslt.cpp, a libcublasLt.so.13 for the fake driver's memory.
#pragma once
#include <map>
#include <string>

namespace encore::fake_cublaslt {

/// It has three algorithms, which take the device three operations, one, and two. The fastest wants
/// a workspace eight times as large as the result, the others next to nothing.
struct Library {
  std::map<std::string, int> calls;     // by function
  std::map<std::string, int> failures;  // functions that shall fail, and with which status
  std::map<int, int> runs;              // products that were computed, by algorithm
};

}  // namespace encore::fake_cublaslt
