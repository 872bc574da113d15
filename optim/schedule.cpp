#include <encore/optim/schedule.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

namespace encore {
namespace {

double half_cosine(double from, double to, double share) {
  return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * share));
}

void check_steps(const char* what, int64_t steps, Location where) {
  if (steps < 1) throw Error(fmt::format("{}: {} steps", what, steps), where, "give 1 or more");
}

/// low -> high -> last over the two phases of one cycle.
Schedule cycle(OneCycle options, double low, double high, double last, Location where) {
  check_steps("one_cycle", options.steps, where);
  double peak = options.warmup_share * double(options.steps) - 1;
  double end = double(options.steps) - 1;
  return [=](int64_t step) {
    if (step > options.steps)
      throw Error(fmt::format("one_cycle: step {} of a cycle of {} steps", step, options.steps),
                  where, "give .steps = epochs * batches an epoch");
    step = std::min(step, options.steps - 1);  // after the last step nobody uses the rate any more
    if (double(step) <= peak) return half_cosine(low, high, double(step) / peak);
    return half_cosine(high, last, (double(step) - peak) / (end - peak));
  };
}

}  // namespace

Schedule step_decay(StepDecay o, std::source_location at) {
  check_steps("step_decay", o.every, at);
  return [o](int64_t step) { return o.base * std::pow(o.gamma, double(step / o.every)); };
}

Schedule cosine_annealing(CosineAnnealing o, std::source_location at) {
  check_steps("cosine_annealing", o.steps, at);
  return
      [o](int64_t step) { return half_cosine(o.base, o.minimum, double(step) / double(o.steps)); };
}

Schedule linear_warmup(LinearWarmup o, std::source_location at) {
  check_steps("linear_warmup", o.steps, at);
  return [o](int64_t step) {
    double share = double(std::min(step, o.steps)) / double(o.steps);
    return o.base * (o.start_factor + (o.end_factor - o.start_factor) * share);
  };
}

Schedule one_cycle(OneCycle o, std::source_location at) {
  double initial = o.maximum / o.initial_divisor;
  return cycle(o, initial, o.maximum, initial / o.final_divisor, at);
}

Schedule one_cycle_momentum(OneCycle o, std::source_location at) {
  return cycle(o, o.high_momentum, o.low_momentum, o.high_momentum, at);
}

Schedule sequence(Schedule first, int64_t steps, Schedule second) {
  return [=](int64_t step) { return step < steps ? first(step) : second(step - steps); };
}

Scheduler::Scheduler(Optimizer& optimizer, Schedule rate, Schedule momentum)
    : optimizer_(optimizer), rate_(std::move(rate)), momentum_(std::move(momentum)) {
  apply();
}

void Scheduler::step() {
  ++steps_;
  apply();
}

void Scheduler::apply() {
  optimizer_.set_learning_rate(rate_(steps_));
  if (momentum_) optimizer_.set_momentum(momentum_(steps_));
}

}  // namespace encore
