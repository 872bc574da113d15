// The umbrella: everything that a program which trains a model reaches for.
#pragma once
#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/families.h>
#include <encore/lazy/tensor.h>
#include <encore/utils/dump.h>
