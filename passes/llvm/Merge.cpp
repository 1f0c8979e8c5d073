//===- Merge.cpp - Adjacent accesses in one -------------------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Merge.h"
#include "Access.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Analysis/AliasAnalysis.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/PatternMatch.h"
#include "llvm/Transforms/Utils/Local.h"

using namespace llvm;
using namespace llvm::PatternMatch;
using namespace k2;

/// How deep the shifts and ors may be that put a number together.
static constexpr unsigned MaxDepth = 16;

namespace {

/// A loaded number within a larger one.
struct Part {
  Access From;
  uint64_t Shift; ///< In bits.
};

using Parts = SmallVector<Part, 8>;

/// Bits of a value that a store writes.
struct Slice {
  Value *Of;
  uint64_t Shift;
};

/// Joins what is adjacent in one function.
class Merger {
public:
  Merger(const DataLayout &DL, AAResults &AA) : DL(DL), AA(AA) {}

  bool mergeLoads(BasicBlock &BB);
  bool mergeStores(BasicBlock &BB);

private:
  bool collect(Value *V, const BasicBlock *BB, Parts &Found, unsigned Depth);
  bool joinParts(Instruction &Root);
  bool canLoadAtOnce(const Parts &All, const Instruction &First);
  bool mergePair(BasicBlock &BB);
  bool joinStores(const Access &First, const Access &Second);
  Value *joinValues(const Access &Low, const Access &High, Instruction &At);
  Value *joinConstants(Value *Low, Value *High);
  Value *joinLoads(Value *Low, Value *High);
  Value *joinSlices(Value *Low, Value *High, int64_t Size, Instruction &At);

  const DataLayout &DL;
  AAResults &AA;
};

} // namespace

/// A pointer to the offset \p To from the base of \p A, where \p A is made.
static Value *pointerFrom(IRBuilder<> &Builder, const Access &A, int64_t To) {
  if (A.Offset == To)
    return A.pointer();
  return Builder.CreatePtrAdd(A.pointer(), Builder.getInt64(To - A.Offset));
}

/// Takes \p V apart into loads of \p BB, shifted and put together by ors.
bool Merger::collect(Value *V, const BasicBlock *BB, Parts &Found,
                     unsigned Depth) {
  Value *Left, *Right;
  uint64_t Shift;
  size_t Before = Found.size();
  if (!Depth || Before > Word)
    return false;
  if (auto *Load = dyn_cast<LoadInst>(V)) {
    auto From = accessOf(*Load, DL);
    if (!From || Load->getParent() != BB || !Load->hasOneUse())
      return false;
    Found.push_back({*From, 0});
    return true;
  }
  if (Depth != MaxDepth && !V->hasOneUse())
    return false;
  if (match(V, m_Or(m_Value(Left), m_Value(Right))))
    return collect(Left, BB, Found, Depth - 1) &&
           collect(Right, BB, Found, Depth - 1);
  if (match(V, m_ZExt(m_Value(Left))))
    return collect(Left, BB, Found, Depth - 1);
  if (!match(V, m_Shl(m_Value(Left), m_ConstantInt(Shift))) ||
      !collect(Left, BB, Found, Depth - 1))
    return false;
  uint64_t Width = V->getType()->getIntegerBitWidth();
  for (Part &P : drop_begin(Found, Before)) {
    P.Shift += Shift;
    if (P.Shift + 8 * P.From.Size > Width)
      return false; // bits that get lost
  }
  return true;
}

/// Whether each part is where it would be in one load of all of them, in the
/// byte order \p BigEndian. They are in the order of their offsets.
static bool isOneNumber(const Parts &All, int64_t Size, bool BigEndian) {
  int64_t Start = All.front().From.Offset;
  return all_of(All, [&](const Part &P) {
    int64_t Before = P.From.Offset - Start;
    int64_t Behind = Size - Before - P.From.Size;
    return int64_t(P.Shift) == 8 * (BigEndian ? Behind : Before);
  });
}

bool Merger::canLoadAtOnce(const Parts &All, const Instruction &First) {
  Group Joined;
  for (const Part &P : All)
    Joined.insert(P.From.Inst);
  return all_of(All, [&](const Part &P) {
    return P.From.Inst == &First ||
           canMove(P.From, First, *P.From.Inst, Joined, AA);
  });
}

/// The first of the loads in their block.
static const Access &firstOf(const Parts &All) {
  return llvm::min_element(All,
                           [](const Part &A, const Part &B) {
                             return A.From.Inst->comesBefore(B.From.Inst);
                           })
      ->From;
}

/// The size in bytes of what the parts cover without gaps, sorted by their
/// offsets; 0 if that is no width of a load.
static int64_t sizeOf(Parts &All) {
  llvm::sort(All, [](const Part &A, const Part &B) {
    return A.From.Offset < B.From.Offset;
  });
  int64_t Size = All.front().From.Size;
  for (size_t I = 1; I < All.size(); ++I) {
    if (!isFollowedBy(All[I - 1].From, All[I].From))
      return 0;
    Size += All[I].From.Size;
  }
  return Size <= Word && isPowerOf2_64(Size) ? Size : 0;
}

/// Makes one load of the number that \p Root puts together.
bool Merger::joinParts(Instruction &Root) {
  Parts All;
  if (!collect(&Root, Root.getParent(), All, MaxDepth) || All.size() < 2)
    return false;
  int64_t Size = sizeOf(All);
  if (!Size)
    return false;
  bool Swapped = isOneNumber(All, Size, !DL.isBigEndian()) &&
                 all_of(All, [](const Part &P) { return P.From.Size == 1; });
  if (!Swapped && !isOneNumber(All, Size, DL.isBigEndian()))
    return false;
  const Access &Lowest = All.front().From, &First = firstOf(All);
  auto Alignment = alignmentAt(Lowest, Size, DL);
  if (!Alignment || !canLoadAtOnce(All, *First.Inst))
    return false;

  IRBuilder<> Builder(First.Inst);
  Value *Number = Builder.CreateAlignedLoad(
      Builder.getIntNTy(8 * Size), pointerFrom(Builder, First, Lowest.Offset),
      *Alignment);
  if (Swapped)
    Number = Builder.CreateUnaryIntrinsic(Intrinsic::bswap, Number);
  Root.replaceAllUsesWith(Builder.CreateZExt(Number, Root.getType()));
  RecursivelyDeleteTriviallyDeadInstructions(&Root);
  return true;
}

bool Merger::mergeLoads(BasicBlock &BB) {
  bool Changed = false;
  // From the end: a number before the parts that it is put together from.
  SmallVector<WeakTrackingVH, 16> Ors;
  for (Instruction &I : reverse(BB))
    if (I.getOpcode() == Instruction::Or)
      Ors.push_back(&I);
  for (WeakTrackingVH &V : Ors)
    if (auto *Or = dyn_cast_or_null<BinaryOperator>(V))
      Changed |= joinParts(*Or);
  return Changed;
}

Value *Merger::joinConstants(Value *Low, Value *High) {
  auto *L = dyn_cast<ConstantInt>(Low), *H = dyn_cast<ConstantInt>(High);
  if (!L || !H)
    return nullptr;
  if (DL.isBigEndian())
    std::swap(L, H);
  return ConstantInt::get(Low->getContext(),
                          H->getValue().concat(L->getValue()));
}

/// One load of what two adjacent ones give.
Value *Merger::joinLoads(Value *Low, Value *High) {
  auto *L = dyn_cast<LoadInst>(Low), *H = dyn_cast<LoadInst>(High);
  if (!L || !H || L == H || !L->hasOneUse() || !H->hasOneUse() ||
      L->getParent() != H->getParent())
    return nullptr;
  auto From = accessOf(*L, DL), Next = accessOf(*H, DL);
  if (!From || !Next || !isFollowedBy(*From, *Next))
    return nullptr;
  auto Alignment = alignmentAt(*From, 2 * From->Size, DL);
  bool LowFirst = L->comesBefore(H);
  LoadInst *First = LowFirst ? L : H, *Last = LowFirst ? H : L;
  if (!Alignment ||
      !canMove(LowFirst ? *Next : *From, *First, *Last, Group(), AA))
    return nullptr;
  IRBuilder<> Builder(First);
  return Builder.CreateAlignedLoad(
      Builder.getIntNTy(16 * From->Size),
      pointerFrom(Builder, LowFirst ? *From : *Next, From->Offset), *Alignment);
}

/// The bits of a wider value that \p V is.
static Slice sliceOf(Value *V) {
  Value *Of;
  uint64_t Shift;
  if (match(V, m_Trunc(m_LShr(m_Value(Of), m_ConstantInt(Shift)))))
    return {Of, Shift};
  if (match(V, m_Trunc(m_Value(Of))))
    return {Of, 0};
  return {V, 0};
}

Value *Merger::joinSlices(Value *Low, Value *High, int64_t Size,
                          Instruction &At) {
  Slice L = sliceOf(Low), H = sliceOf(High);
  if (DL.isBigEndian())
    std::swap(L, H);
  uint64_t Bits = 16 * Size, Width = L.Of->getType()->getIntegerBitWidth();
  if (L.Of != H.Of || L.Shift + 8 * Size != H.Shift || L.Shift + Bits > Width)
    return nullptr;
  IRBuilder<> Builder(&At);
  Value *Lowest = L.Shift ? Builder.CreateLShr(L.Of, L.Shift) : L.Of;
  return Builder.CreateTrunc(Lowest, Builder.getIntNTy(Bits));
}

/// What one store writes in the place of two, if that is known before \p At.
Value *Merger::joinValues(const Access &Low, const Access &High,
                          Instruction &At) {
  Value *L = cast<StoreInst>(Low.Inst)->getValueOperand();
  Value *H = cast<StoreInst>(High.Inst)->getValueOperand();
  if (isa<Constant>(L) || isa<Constant>(H))
    return Low.Kind == MemoryKind::Stack ? nullptr : joinConstants(L, H);
  if (Value *Loaded = joinLoads(L, H))
    return Loaded;
  return joinSlices(L, H, Low.Size, At);
}

/// Makes one store of two, the first of which comes first in the block.
bool Merger::joinStores(const Access &First, const Access &Second) {
  bool LowFirst = First.Offset < Second.Offset;
  const Access &Low = LowFirst ? First : Second;
  const Access &High = LowFirst ? Second : First;
  if (Low.Size == Word || Low.Size != High.Size || !isFollowedBy(Low, High))
    return false;
  auto Alignment = alignmentAt(Low, 2 * Low.Size, DL);
  if (!Alignment || !canMove(First, *First.Inst, *Second.Inst, Group(), AA))
    return false;
  Value *Both = joinValues(Low, High, *Second.Inst);
  if (!Both)
    return false;
  IRBuilder<> Builder(Second.Inst);
  Builder.CreateAlignedStore(Both, Low.pointer(), *Alignment);
  for (Instruction *Old : {First.Inst, Second.Inst}) {
    Value *Stored = cast<StoreInst>(Old)->getValueOperand();
    Old->eraseFromParent();
    RecursivelyDeleteTriviallyDeadInstructions(Stored);
  }
  return true;
}

/// Joins the first two stores that can be joined. Of several partners a store
/// has the one to begin with that keeps the whole aligned to its own size.
bool Merger::mergePair(BasicBlock &BB) {
  SmallVector<Access, 32> Stores;
  for (Instruction &I : BB)
    if (isa<StoreInst>(I))
      if (auto A = accessOf(I, DL))
        Stores.push_back(*A);
  for (bool Aligned : {true, false})
    for (size_t I = 0; I < Stores.size(); ++I)
      for (size_t J = I + 1; J < Stores.size(); ++J) {
        int64_t Low = std::min(Stores[I].Offset, Stores[J].Offset);
        if ((Low % (2 * Stores[I].Size) == 0) == Aligned &&
            joinStores(Stores[I], Stores[J]))
          return true;
      }
  return false;
}

bool Merger::mergeStores(BasicBlock &BB) {
  bool Changed = false;
  while (mergePair(BB))
    Changed = true;
  return Changed;
}

PreservedAnalyses MergePass::run(Function &F, FunctionAnalysisManager &FAM) {
  if (!isOptimizable(F))
    return PreservedAnalyses::all();
  bool Changed = false;
  Merger M(F.getDataLayout(), FAM.getResult<AAManager>(F));
  for (BasicBlock &BB : F) {
    Changed |= M.mergeLoads(BB);
    Changed |= M.mergeStores(BB);
  }
  if (!Changed)
    return PreservedAnalyses::all();
  PreservedAnalyses PA;
  PA.preserveSet<CFGAnalyses>();
  return PA;
}
