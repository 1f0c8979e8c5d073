//===- Widen.cpp - Packed accesses at full width --------------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Widen.h"
#include "Memory.h"
#include "llvm/IR/DataLayout.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/Transforms/Utils/Local.h"

using namespace llvm;
using namespace k2;

/// The width in bytes of what \p I loads or stores in one piece; 0 for what the
/// backend takes apart at any alignment.
static uint64_t widthOf(Instruction &I, const DataLayout &DL) {
  Type *Ty = getLoadStoreType(&I);
  if (!Ty->isIntegerTy() && !Ty->isPointerTy())
    return 0;
  uint64_t Bits = DL.getTypeSizeInBits(Ty);
  return Bits == 16 || Bits == 32 || Bits == 64 ? Bits / 8 : 0;
}

/// Whether \p I is a load or store that is less aligned than it is wide.
static bool isUnderAligned(Instruction &I, const DataLayout &DL) {
  return isa<LoadInst, StoreInst>(I) &&
         getLoadStoreAlignment(&I).value() < widthOf(I, DL);
}

static bool isSimple(Instruction &I) {
  if (auto *Load = dyn_cast<LoadInst>(&I))
    return Load->isSimple();
  return cast<StoreInst>(I).isSimple();
}

/// Says that one side of a block of \p Size bytes is aligned, or aligns it if
/// it is in the frame. Returns the new alignment.
static Align alignmentOf(Value *Pointer, MaybeAlign Now, uint64_t Size,
                         const DataLayout &DL) {
  Align Wanted(bit_floor(std::min<uint64_t>(Size, Word)));
  Align Is = Now.valueOrOne();
  if (Is >= Wanted)
    return Is;
  MemoryKind Kind = kindOfMemory(Pointer);
  if (allowsMisaligned(Kind))
    return Wanted;
  if (Kind == MemoryKind::Stack)
    return std::max(Is, getOrEnforceKnownAlignment(Pointer, Wanted, DL));
  return Is;
}

static bool widenBlock(MemIntrinsic &Block, const DataLayout &DL) {
  const auto *Size = dyn_cast<ConstantInt>(Block.getLength());
  if (!Size || Size->isZero() || Block.isVolatile())
    return false;
  uint64_t Bytes = Size->getZExtValue();
  Align Dest = alignmentOf(Block.getDest(), Block.getDestAlign(), Bytes, DL);
  bool Changed = Dest != Block.getDestAlign().valueOrOne();
  Block.setDestAlignment(Dest);
  if (auto *Copy = dyn_cast<MemTransferInst>(&Block)) {
    Align Source =
        alignmentOf(Copy->getSource(), Copy->getSourceAlign(), Bytes, DL);
    Changed |= Source != Copy->getSourceAlign().valueOrOne();
    Copy->setSourceAlignment(Source);
  }
  return Changed;
}

static bool widenAccess(Instruction &I, const DataLayout &DL) {
  if (!isUnderAligned(I, DL) || !isSimple(I) ||
      !allowsMisaligned(kindOfMemory(getLoadStorePointerOperand(&I))))
    return false;
  Align Full(widthOf(I, DL));
  if (auto *Load = dyn_cast<LoadInst>(&I))
    Load->setAlignment(Full);
  else
    cast<StoreInst>(I).setAlignment(Full);
  return true;
}

PreservedAnalyses WidenPass::run(Function &F, FunctionAnalysisManager &) {
  if (!isOptimizable(F))
    return PreservedAnalyses::all();
  bool Changed = false;
  const DataLayout &DL = F.getDataLayout();
  for (Instruction &I : instructions(F))
    if (auto *Block = dyn_cast<MemIntrinsic>(&I))
      Changed |= widenBlock(*Block, DL);
    else
      Changed |= widenAccess(I, DL);
  if (!Changed)
    return PreservedAnalyses::all();
  PreservedAnalyses PA;
  PA.preserveSet<CFGAnalyses>();
  return PA;
}
