//===- Atomic.h - Atomic updates in one instruction -------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Turns a relaxed atomic load, an operation and a relaxed atomic store to the
/// same place into one atomic operation. That nobody comes between is one of
/// the ways in which the three could have run, so no program can tell. Accesses
/// that the source does not call atomic stay as they are, as do volatile ones
/// and those with an order to keep.
///
/// The result is shorter and slower, and the only form of the three that clang
/// compiles below v4 at all.
///
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_ATOMIC_H
#define K2_PASSES_LLVM_ATOMIC_H

#include "llvm/IR/PassManager.h"

namespace k2 {

class AtomicPass : public llvm::PassInfoMixin<AtomicPass> {
public:
  llvm::PreservedAnalyses run(llvm::Function &F,
                              llvm::FunctionAnalysisManager &FAM);
};

} // namespace k2

#endif // K2_PASSES_LLVM_ATOMIC_H
