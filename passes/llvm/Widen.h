//===- Widen.h - Packed accesses at full width ------------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The backend takes an access apart that is less aligned than it is wide: 32
/// bits of a packed header become four loads, three shifts and three ors. The
/// verifier wants that of the stack alone. So this pass lets accesses to
/// packets and to map values be what they are in the source.
///
/// Such an access is said to be aligned. That is no truth about addresses, so
/// the pass is to run last, when all that reads it is the choice of
/// instructions.
///
/// LLVM 22 has a feature of the target for that,
/// "allows-misaligned-mem-access". It knows no difference between kinds of
/// memory, and the BPF target takes it for whole modules only, whatever the
/// attributes of functions say. Since nearly all modules have something in the
/// frame, it is never all that it takes.
///
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_WIDEN_H
#define K2_PASSES_LLVM_WIDEN_H

#include "llvm/IR/PassManager.h"

namespace k2 {

class WidenPass : public llvm::PassInfoMixin<WidenPass> {
public:
  llvm::PreservedAnalyses run(llvm::Function &F,
                              llvm::FunctionAnalysisManager &FAM);
};

} // namespace k2

#endif // K2_PASSES_LLVM_WIDEN_H
