//===- Access.h - Loads and stores that may be joined -----------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A load or store as bytes at a constant distance from a base, and whether it
/// may be done at another place of its block.
///
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_ACCESS_H
#define K2_PASSES_LLVM_ACCESS_H

#include "Memory.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/IR/Instructions.h"
#include <cstdint>
#include <optional>

namespace llvm {
class AAResults;
class DataLayout;
} // namespace llvm

namespace k2 {

/// A load or store of a whole number, neither volatile nor atomic.
struct Access {
  llvm::Instruction *Inst;
  llvm::Value *Base;
  int64_t Offset; ///< From the base, in bytes.
  int64_t Size;   ///< In bytes: 1, 2, 4 or 8.
  MemoryKind Kind;

  llvm::Value *pointer() const {
    return llvm::getLoadStorePointerOperand(Inst);
  }
};

/// What \p Inst accesses, if that may be joined with something.
std::optional<Access> accessOf(llvm::Instruction &Inst,
                               const llvm::DataLayout &DL);

/// Whether \p Next begins where \p A ends.
bool isFollowedBy(const Access &A, const Access &Next);

/// The alignment of an access of \p Size bytes that begins with \p Lowest, if
/// the verifier lets programs make it.
std::optional<llvm::Align> alignmentAt(const Access &Lowest, int64_t Size,
                                       const llvm::DataLayout &DL);

/// Accesses that become one.
using Group = llvm::SmallPtrSet<const llvm::Instruction *, 8>;

/// Whether nothing between \p First and \p Last, in one block, can tell that
/// \p A, one of the two, is made at the place of the other one. What is joined
/// with it as well does not count.
bool canMove(const Access &A, const llvm::Instruction &First,
             const llvm::Instruction &Last, const Group &Joined,
             llvm::AAResults &AA);

} // namespace k2

#endif // K2_PASSES_LLVM_ACCESS_H
