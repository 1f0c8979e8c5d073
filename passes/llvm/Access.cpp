//===- Access.cpp - Loads and stores that may be joined -------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Access.h"
#include "llvm/Analysis/AliasAnalysis.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/DataLayout.h"
#include "llvm/Transforms/Utils/Local.h"

using namespace llvm;
using namespace k2;

/// How far apart in a block joined accesses may be, in instructions.
static constexpr unsigned MaxDistance = 128;

std::optional<Access> k2::accessOf(Instruction &Inst, const DataLayout &DL) {
  auto *Load = dyn_cast<LoadInst>(&Inst);
  auto *Store = dyn_cast<StoreInst>(&Inst);
  if (!(Load && Load->isSimple()) && !(Store && Store->isSimple()))
    return std::nullopt;
  Type *Ty = getLoadStoreType(&Inst);
  Value *Pointer = getLoadStorePointerOperand(&Inst);
  if (!Ty->isIntegerTy() || Pointer->getType()->getPointerAddressSpace())
    return std::nullopt;
  int64_t Bits = Ty->getIntegerBitWidth();
  if (Bits < 8 || Bits > 64 || !isPowerOf2_64(Bits))
    return std::nullopt;
  MemoryKind Kind = kindOfMemory(Pointer);
  if (!allowsMisaligned(Kind) && Kind != MemoryKind::Stack)
    return std::nullopt;
  APInt Offset(DL.getIndexTypeSizeInBits(Pointer->getType()), 0);
  Value *Base = Pointer->stripAndAccumulateConstantOffsets(
      DL, Offset, /*AllowNonInbounds=*/true);
  return Access{&Inst, Base, Offset.getSExtValue(), Bits / 8, Kind};
}

bool k2::isFollowedBy(const Access &A, const Access &Next) {
  return A.Base == Next.Base && A.Kind == Next.Kind &&
         Next.Offset - A.Offset == A.Size;
}

std::optional<Align> k2::alignmentAt(const Access &Lowest, int64_t Size,
                                     const DataLayout &DL) {
  Align Full(Size);
  if (allowsMisaligned(Lowest.Kind) ||
      getKnownAlignment(Lowest.pointer(), DL, Lowest.Inst) >= Full)
    return Full;
  return std::nullopt;
}

/// Whether \p I and \p A may not change places.
static bool isOrdered(const Instruction &I, const Access &A, AAResults &AA) {
  if (!I.mayReadOrWriteMemory())
    return !isGuaranteedToTransferExecutionToSuccessor(&I);
  if (isa<LoadInst, StoreInst>(I)) {
    if (I.isVolatile() || I.isAtomic())
      return true;
    MemoryKind Kind = kindOfMemory(getLoadStorePointerOperand(&I));
    if (isShared(Kind) && isShared(A.Kind))
      return true;
    if (Kind != A.Kind && Kind != MemoryKind::Unknown)
      return false;
  }
  if (!isGuaranteedToTransferExecutionToSuccessor(&I))
    return true;
  ModRefInfo Does = AA.getModRefInfo(&I, MemoryLocation::get(A.Inst));
  return isa<LoadInst>(A.Inst) ? isModSet(Does) : isModOrRefSet(Does);
}

bool k2::canMove(const Access &A, const Instruction &First,
                 const Instruction &Last, const Group &Joined, AAResults &AA) {
  unsigned Left = MaxDistance;
  for (const Instruction *I = First.getNextNode(); I; I = I->getNextNode()) {
    if (I == &Last)
      return true;
    if (!Left-- || (!Joined.contains(I) && isOrdered(*I, A, AA)))
      return false;
  }
  return false; // in different blocks
}
