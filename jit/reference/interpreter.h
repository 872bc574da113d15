// The backend that every other one is compared with: it executes the kernel IR itself.
#pragma once
#include <encore/jit/backend.h>

namespace encore::jit {

Backend& interpreter();

}  // namespace encore::jit
