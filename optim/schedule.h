// Learning rates as functions of the step number, with PyTorch's formulas
// (torch.optim.lr_scheduler). A number of steps below 1 throws.
//
//   Scheduler schedule(optimizer, cosine_annealing({.base = 0.1, .steps = 1000}));
//   for (…) { …; optimizer.step(); schedule.step(); }
#pragma once
#include <encore/optim/optimizer.h>

#include <functional>

namespace encore {

/// The rate at step 0, 1, 2 …
using Schedule = std::function<double(int64_t step)>;

struct StepDecay {
  double base = 0.1;
  int64_t every = 30;
  double gamma = 0.1;
};
/// base * gamma^floor(step / every)   (StepLR)
Schedule step_decay(StepDecay options, std::source_location at = std::source_location::current());

struct CosineAnnealing {
  double base = 0.1;
  int64_t steps = 100;
  double minimum = 0;
};
/// minimum + (base - minimum) * (1 + cos(pi * step / steps)) / 2   (CosineAnnealingLR, closed form)
Schedule cosine_annealing(CosineAnnealing options,
                          std::source_location at = std::source_location::current());

struct LinearWarmup {
  double base = 0.1;
  int64_t steps = 5;
  double start_factor = 1.0 / 3;
  double end_factor = 1;
};
/// base times a factor that grows linearly and then stays   (LinearLR)
Schedule linear_warmup(LinearWarmup options,
                       std::source_location at = std::source_location::current());

struct OneCycle {
  double maximum = 0.1;
  int64_t steps = 100;        // in all; the last rate stays for one more, later ones throw
  double warmup_share = 0.3;  // PyTorch's pct_start
  double initial_divisor = 25;
  double final_divisor = 1e4;
  double low_momentum = 0.85;
  double high_momentum = 0.95;
};
/// From maximum / initial_divisor up to maximum, then down to a final_divisor-th of where it began,
/// both along half a cosine   (OneCycleLR)
Schedule one_cycle(OneCycle options, std::source_location at = std::source_location::current());
/// The momentum that goes with it: high where the rate is low.
Schedule one_cycle_momentum(OneCycle options,
                            std::source_location at = std::source_location::current());

/// `first` for `steps` steps, then `second` from its step 0   (SequentialLR)
Schedule sequence(Schedule first, int64_t steps, Schedule second);

/// Sets an optimizer's rate (and momentum, if given a schedule for it) step by step; the optimizer
/// must outlive it.
class Scheduler {
 public:
  explicit Scheduler(Optimizer& optimizer, Schedule rate, Schedule momentum = {});
  /// Call it after the optimizer's step.
  void step();
  int64_t steps() const { return steps_; }

 private:
  void apply();
  Optimizer& optimizer_;
  Schedule rate_, momentum_;
  int64_t steps_ = 0;
};

}  // namespace encore
