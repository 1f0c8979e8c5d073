//===- Pipeline.cpp - The passes by their names ---------------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Pipeline.h"
#include "Atomic.h"
#include "Merge.h"
#include "Widen.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

bool k2::addPass(StringRef Name, FunctionPassManager &FPM) {
  if (Name == "k2-atomic")
    FPM.addPass(AtomicPass());
  else if (Name == "k2-merge")
    FPM.addPass(MergePass());
  else if (Name == "k2-widen")
    FPM.addPass(WidenPass());
  else
    return false;
  return true;
}

void k2::addPasses(StringRef Names, FunctionPassManager &FPM) {
  for (StringRef Name : split(Names, ','))
    addPass(Name.trim(), FPM);
}
