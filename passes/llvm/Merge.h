//===- Merge.h - Adjacent accesses in one -----------------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Joins accesses of one block to adjacent bytes: loads whose values are put
/// together by shifts and ors, and stores of constants, of what adjacent loads
/// gave, or of parts of one value.
///
/// Packets and map values are accessed at any address, the stack only where the
/// whole is aligned; see Memory.h. Constants on the stack are left alone, for
/// one of them may be the key by which the verifier knows an array's element.
///
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_MERGE_H
#define K2_PASSES_LLVM_MERGE_H

#include "llvm/IR/PassManager.h"

namespace k2 {

class MergePass : public llvm::PassInfoMixin<MergePass> {
public:
  llvm::PreservedAnalyses run(llvm::Function &F,
                              llvm::FunctionAnalysisManager &FAM);
};

} // namespace k2

#endif // K2_PASSES_LLVM_MERGE_H
