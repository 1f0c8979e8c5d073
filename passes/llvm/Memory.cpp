//===- Memory.cpp - What BPF pointers lead to -----------------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Memory.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/BinaryFormat/Dwarf.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/Function.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsBPF.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Operator.h"
#include "llvm/TargetParser/Triple.h"
#include <optional>

using namespace llvm;
using namespace k2;

namespace {

/// Numbers of helpers that return memory, from linux/bpf.h.
enum Helper : uint64_t {
  MapLookupElem = 1,
  GetLocalStorage = 81,
  SkStorageGet = 107,
  RingbufReserve = 131,
  InodeStorageGet = 145,
  TaskStorageGet = 156,
  MapLookupPercpuElem = 195,
  CgrpStorageGet = 210,
};

/// Numbers of map types whose lookups return values, and not sockets or maps.
constexpr uint64_t ValueMaps[] = {
    1,  // BPF_MAP_TYPE_HASH
    2,  // BPF_MAP_TYPE_ARRAY
    5,  // BPF_MAP_TYPE_PERCPU_HASH
    6,  // BPF_MAP_TYPE_PERCPU_ARRAY
    9,  // BPF_MAP_TYPE_LRU_HASH
    10, // BPF_MAP_TYPE_LRU_PERCPU_HASH
    11, // BPF_MAP_TYPE_LPM_TRIE
};

/// A kind, or nothing where a value says nothing: null, poison, cycles.
using Origin = std::optional<MemoryKind>;

/// Finds where pointers come from.
class Tracer {
public:
  Origin pointer(const Value *V);

private:
  Origin integer(const Value *V);
  Origin call(const CallBase &Call);
  using Trace = Origin (Tracer::*)(const Value *);
  Origin phi(const PHINode &Phi, Trace Follow);

  /// What phis say; nothing while that is being found out.
  DenseMap<const Value *, Origin> Phis;
};

} // namespace

/// The number of the helper that is called, which is the address as which C has
/// it; 0 for other calls.
static uint64_t helperOf(const CallBase &Call) {
  const auto *Address = dyn_cast<ConstantExpr>(Call.getCalledOperand());
  if (!Address || Address->getOpcode() != Instruction::IntToPtr)
    return 0;
  const auto *Number = dyn_cast<ConstantInt>(Address->getOperand(0));
  return Number ? Number->getLimitedValue() : 0;
}

/// The N that libbpf's __uint(name, N) says, as `int (*name)[N]`.
static uint64_t numberOf(const DIDerivedType &Member) {
  const auto *Pointer = dyn_cast_or_null<DIDerivedType>(Member.getBaseType());
  const auto *Array = dyn_cast_or_null<DICompositeType>(
      Pointer ? Pointer->getBaseType() : nullptr);
  if (!Array || Array->getTag() != dwarf::DW_TAG_array_type ||
      Array->getElements().size() != 1)
    return 0;
  const auto *Range = dyn_cast<DISubrange>(Array->getElements()[0]);
  const auto *Count =
      Range ? dyn_cast_if_present<ConstantInt *>(Range->getCount()) : nullptr;
  return Count ? Count->getLimitedValue() : 0;
}

/// The type of the map that \p Global defines, which only debug information
/// tells; 0 if it does not.
static uint64_t mapTypeOf(const GlobalVariable &Global) {
  SmallVector<DIGlobalVariableExpression *, 1> Infos;
  Global.getDebugInfo(Infos);
  for (const auto *Info : Infos) {
    const auto *Struct =
        dyn_cast_or_null<DICompositeType>(Info->getVariable()->getType());
    if (!Struct)
      continue;
    for (const DINode *Element : Struct->getElements())
      if (const auto *Member = dyn_cast<DIDerivedType>(Element))
        if (Member->getName() == "type")
          return numberOf(*Member);
  }
  return 0;
}

/// The kind of what a lookup in \p Map returns.
static MemoryKind kindOfLookup(const Value *Map) {
  const auto *Global = dyn_cast<GlobalVariable>(Map->stripPointerCasts());
  return Global && is_contained(ValueMaps, mapTypeOf(*Global))
             ? MemoryKind::Plain
             : MemoryKind::Unknown;
}

/// Global data is the value of a map that loaders make of it. Maps themselves
/// and what the kernel defines are none.
static MemoryKind kindOfGlobal(const GlobalVariable &Global) {
  if (Global.isDeclaration() || Global.isThreadLocal() ||
      Global.getSection().starts_with(".maps") ||
      Global.getSection().starts_with("maps"))
    return MemoryKind::Unknown;
  return MemoryKind::Plain;
}

static MemoryKind kindOfArgument(const Argument &A) {
  if (A.getArgNo() == 0 && !A.getParent()->hasLocalLinkage())
    return MemoryKind::Context;
  return MemoryKind::Unknown;
}

/// What two values say that may both be the one in question.
static Origin join(Origin A, Origin B) {
  if (!A || !B)
    return A ? A : B;
  return *A == *B ? *A : MemoryKind::Unknown;
}

Origin Tracer::phi(const PHINode &Phi, Trace Follow) {
  auto [Known, IsNew] = Phis.try_emplace(&Phi);
  if (!IsNew)
    return Known->second;
  Origin All;
  for (const Value *V : Phi.incoming_values())
    All = join(All, (this->*Follow)(V));
  return Phis[&Phi] = All;
}

Origin Tracer::call(const CallBase &Call) {
  switch (helperOf(Call)) {
  case MapLookupElem:
  case MapLookupPercpuElem:
    return kindOfLookup(Call.getArgOperand(0));
  case GetLocalStorage:
  case SkStorageGet:
  case RingbufReserve:
  case InodeStorageGet:
  case TaskStorageGet:
  case CgrpStorageGet:
    return MemoryKind::Plain;
  }
  return MemoryKind::Unknown;
}

Origin Tracer::pointer(const Value *V) {
  while (const auto *GEP = dyn_cast<GEPOperator>(V))
    V = GEP->getPointerOperand();
  if (!V->getType()->isPointerTy() || V->getType()->getPointerAddressSpace())
    return MemoryKind::Unknown;
  if (isa<ConstantPointerNull, UndefValue>(V))
    return std::nullopt;
  if (isa<AllocaInst>(V))
    return MemoryKind::Stack;
  if (const auto *A = dyn_cast<Argument>(V))
    return kindOfArgument(*A);
  if (const auto *Global = dyn_cast<GlobalVariable>(V))
    return kindOfGlobal(*Global);
  if (const auto *Call = dyn_cast<CallBase>(V))
    return call(*Call);
  if (Operator::getOpcode(V) == Instruction::IntToPtr)
    return integer(cast<Operator>(V)->getOperand(0));
  if (const auto *Phi = dyn_cast<PHINode>(V))
    return phi(*Phi, &Tracer::pointer);
  if (const auto *Select = dyn_cast<SelectInst>(V))
    return join(pointer(Select->getTrueValue()),
                pointer(Select->getFalseValue()));
  if (const auto *Freeze = dyn_cast<FreezeInst>(V))
    return pointer(Freeze->getOperand(0));
  return MemoryKind::Unknown;
}

/// Whether \p V is 32 bits of an argument. Where such a word becomes a pointer,
/// it is one of the context's fields for packet data: the verifier lets
/// programs use no other word as one.
static bool isWordOfArgument(const Value *V) {
  const auto *Extended = dyn_cast<ZExtInst>(V);
  if (!Extended || !Extended->getSrcTy()->isIntegerTy(32))
    return false;
  const Value *Word = Extended->getOperand(0);
  if (const auto *Load = dyn_cast<LoadInst>(Word))
    return isInArgument(Load->getPointerOperand());
  const auto *Call = dyn_cast<IntrinsicInst>(Word);
  return Call &&
         Call->getIntrinsicID() == Intrinsic::bpf_getelementptr_and_load &&
         isInArgument(Call->getArgOperand(0));
}

Origin Tracer::integer(const Value *V) {
  if (isWordOfArgument(V))
    return MemoryKind::Packet;
  if (const auto *Zero = dyn_cast<ConstantInt>(V); Zero && Zero->isZero())
    return std::nullopt;
  if (Operator::getOpcode(V) == Instruction::PtrToInt)
    return pointer(cast<Operator>(V)->getOperand(0));
  if (const auto *Phi = dyn_cast<PHINode>(V))
    return phi(*Phi, &Tracer::integer);
  const auto *Add = dyn_cast<BinaryOperator>(V);
  if (!Add || Add->getOpcode() != Instruction::Add)
    return MemoryKind::Unknown;
  // A pointer plus a number; two pointers have no sum.
  Origin Left = integer(Add->getOperand(0));
  return Left == MemoryKind::Unknown ? integer(Add->getOperand(1)) : Left;
}

MemoryKind k2::kindOfMemory(const Value *Pointer) {
  return Tracer().pointer(Pointer).value_or(MemoryKind::Unknown);
}

bool k2::isInArgument(const Value *Pointer) {
  while (const auto *GEP = dyn_cast<GEPOperator>(Pointer))
    Pointer = GEP->getPointerOperand();
  return isa<Argument>(Pointer);
}

bool k2::isBPF(const Module &M) { return Triple(M.getTargetTriple()).isBPF(); }

bool k2::isOptimizable(const Function &F) {
  return !F.isDeclaration() && !F.hasOptNone() && isBPF(*F.getParent());
}
