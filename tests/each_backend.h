// Runs a piece of a test on every backend of this machine.
#pragma once
#include <encore/core/settings.h>
#include <encore/lazy/default_device.h>
#include <encore/trace/runtime.h>
#include <gtest/gtest.h>

namespace encore::testing {

/// Once through the interpreter of the kernel IR, which runs on the CPU, and once through compiled
/// code. Programs know their backend's code, so none is kept across the change.
template <class Act>
void on_each_backend(Act act) {
  Settings before = settings();
  for (const char* name : {"reference", ""}) {
    if (*name && default_device() != cpu) continue;
    SCOPED_TRACE(*name ? "interpreted" : "compiled");
    settings().backend = name;
    trace::runtime().clear_caches();
    act();
  }
  settings() = before;
  trace::runtime().clear_caches();
}

}  // namespace encore::testing
