// The umbrella: everything that a program which trains a model reaches for.
#pragma once
#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/lazy/contraction.h>
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/random.h>
#include <encore/lazy/reduction.h>
#include <encore/lazy/tensor.h>
#include <encore/utils/dump.h>
