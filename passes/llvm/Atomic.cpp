//===- Atomic.cpp - Atomic updates in one instruction ---------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Atomic.h"
#include "Memory.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include <optional>

using namespace llvm;
using namespace k2;

namespace {

/// An update: a load, an operation on what was loaded, a store of the result.
struct Update {
  LoadInst *Load;
  BinaryOperator *Change;
  StoreInst *Store;
  AtomicRMWInst::BinOp Op;
  Value *Operand; ///< Of the operation, beside what was loaded.
};

} // namespace

/// Whether \p F may hold more than atomic additions: those came with v3.
static bool hasAllAtomics(const Function &F) {
  StringRef CPU = F.getFnAttribute("target-cpu").getValueAsString();
  return CPU == "v3" || CPU == "v4";
}

static std::optional<AtomicRMWInst::BinOp> atomicOf(const BinaryOperator &Op) {
  switch (Op.getOpcode()) {
  case Instruction::Add:
    return AtomicRMWInst::Add;
  case Instruction::And:
    return AtomicRMWInst::And;
  case Instruction::Or:
    return AtomicRMWInst::Or;
  case Instruction::Xor:
    return AtomicRMWInst::Xor;
  default:
    return std::nullopt;
  }
}

/// Whether \p Access is relaxed, and of a width and alignment that atomic
/// instructions have.
template <typename Inst> static bool isRelaxed(Inst &Access) {
  Type *Ty = getLoadStoreType(&Access);
  return (Ty->isIntegerTy(32) || Ty->isIntegerTy(64)) &&
         Access.getOrdering() == AtomicOrdering::Monotonic &&
         Access.getSyncScopeID() == SyncScope::System && !Access.isVolatile() &&
         Access.getAlign().value() * 8 >= Ty->getIntegerBitWidth();
}

/// Whether nothing between two instructions of a block could tell when the
/// first one runs.
static bool nothingBetween(const Instruction &First, const Instruction &Last) {
  for (const Instruction *I = First.getNextNode(); I; I = I->getNextNode()) {
    if (I == &Last)
      return true;
    if (I->mayReadOrWriteMemory() || I->mayHaveSideEffects())
      return false;
  }
  return false; // in different blocks
}

static std::optional<Update> updateAt(StoreInst &Store) {
  auto *Change = dyn_cast<BinaryOperator>(Store.getValueOperand());
  if (!isRelaxed(Store) || !Change || !Change->hasOneUse())
    return std::nullopt;
  auto Op = atomicOf(*Change);
  if (!Op ||
      (*Op != AtomicRMWInst::Add && !hasAllAtomics(*Store.getFunction())))
    return std::nullopt;
  for (unsigned I : {0, 1}) {
    auto *Load = dyn_cast<LoadInst>(Change->getOperand(I));
    if (Load && Load->hasOneUse() && isRelaxed(*Load) &&
        Load->getPointerOperand() == Store.getPointerOperand() &&
        nothingBetween(*Load, Store))
      return Update{Load, Change, &Store, *Op, Change->getOperand(1 - I)};
  }
  return std::nullopt;
}

static void replace(const Update &U) {
  IRBuilder<> Builder(U.Store);
  Builder.CreateAtomicRMW(U.Op, U.Store->getPointerOperand(), U.Operand,
                          U.Store->getAlign(), AtomicOrdering::Monotonic);
  U.Store->eraseFromParent();
  U.Change->eraseFromParent();
  U.Load->eraseFromParent();
}

PreservedAnalyses AtomicPass::run(Function &F, FunctionAnalysisManager &) {
  if (!isOptimizable(F))
    return PreservedAnalyses::all();
  bool Changed = false;
  for (Instruction &I : make_early_inc_range(instructions(F))) {
    auto *Store = dyn_cast<StoreInst>(&I);
    // The verifier allows atomics neither on packets nor on the context.
    if (!Store || kindOfMemory(Store->getPointerOperand()) != MemoryKind::Plain)
      continue;
    if (auto Found = updateAt(*Store)) {
      replace(*Found);
      Changed = true;
    }
  }
  if (!Changed)
    return PreservedAnalyses::all();
  PreservedAnalyses PA;
  PA.preserveSet<CFGAnalyses>();
  return PA;
}
