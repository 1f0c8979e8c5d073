//===- Pipeline.h - The passes by their names -------------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_PIPELINE_H
#define K2_PASSES_LLVM_PIPELINE_H

#include "llvm/IR/PassManager.h"

namespace k2 {

/// Adds the pass called \p Name. Returns whether there is one.
bool addPass(llvm::StringRef Name, llvm::FunctionPassManager &FPM);

/// Adds the passes that \p Names lists with commas between them. What is none
/// is left out; settings were checked before.
void addPasses(llvm::StringRef Names, llvm::FunctionPassManager &FPM);

} // namespace k2

#endif // K2_PASSES_LLVM_PIPELINE_H
