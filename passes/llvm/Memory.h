//===- Memory.h - What BPF pointers lead to ---------------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The kernel's verifier has its own rules for each kind of memory: misaligned
/// access to packets and map values is fine, to the stack it is refused, and
/// accesses to the context are to stay as they are. This tells kinds apart by
/// where a pointer comes from.
///
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_MEMORY_H
#define K2_PASSES_LLVM_MEMORY_H

#include <cstdint>

namespace llvm {
class Function;
class Module;
class Value;
} // namespace llvm

namespace k2 {

/// The widest access that there is, in bytes.
inline constexpr int64_t Word = 8;

/// What a pointer leads to. Different kinds of those that are known never
/// overlap.
enum class MemoryKind {
  Unknown, ///< Anything: arguments of subprograms, kernel objects, arenas.
  Stack,   ///< The program's own frame.
  Context, ///< What an entry point gets as its argument.
  Packet,  ///< Packet data.
  Plain,   ///< Map values, global data, records of ring buffers.
};

/// The kind of memory that \p Pointer leads to. Without a reason to know
/// better, it is MemoryKind::Unknown.
MemoryKind kindOfMemory(const llvm::Value *Pointer);

/// Whether \p Pointer leads into an argument of its function.
bool isInArgument(const llvm::Value *Pointer);

/// Whether the verifier lets programs access the kind of memory at any address,
/// as it does on machines with efficient misaligned access unless the loader
/// asks for strict alignment.
inline bool allowsMisaligned(MemoryKind Kind) {
  return Kind == MemoryKind::Packet || Kind == MemoryKind::Plain;
}

/// Whether others may look at the kind of memory while the program runs, so
/// that accesses to it are to stay in their order.
inline bool isShared(MemoryKind Kind) {
  return Kind == MemoryKind::Plain || Kind == MemoryKind::Unknown;
}

/// Whether \p M is compiled for BPF. Nothing is done to any other module.
bool isBPF(const llvm::Module &M);

/// Whether passes may change \p F.
bool isOptimizable(const llvm::Function &F);

} // namespace k2

#endif // K2_PASSES_LLVM_MEMORY_H
