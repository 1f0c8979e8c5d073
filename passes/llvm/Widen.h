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
/// verifier wants that of the stack alone. So this pass lets accesses to packets
/// and to map values be what they are in the source.
///
/// A function whose memory is of these kinds alone gets the backend's feature
/// "allows-misaligned-mem-access" where there is one (LLVM 22). In others the
/// single accesses are said to be aligned. That is no truth about addresses, so
/// the pass is to run last, when all that reads it is the choice of instructions.
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
