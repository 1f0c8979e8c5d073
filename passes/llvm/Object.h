//===- Object.h - Optimised objects straight from clang ---------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_OBJECT_H
#define K2_PASSES_LLVM_OBJECT_H

#include "llvm/Support/CodeGen.h"

namespace llvm {
class Module;
class TargetMachine;
class raw_pwrite_stream;
} // namespace llvm

namespace k2 {

/// Takes the place of code generation (PreCodeGenCallback): has the backend
/// write the object into memory, k2cc optimise it, and writes what comes of
/// that to \p OS. Returns whether it did; if not, code generation is clang's.
///
/// Where passes on LLVM IR are switched on, k2cc gets the object without them
/// as well and decides between the two, as it does when it runs clang itself.
bool emitObject(llvm::Module &M, llvm::TargetMachine &TM,
                llvm::CodeGenFileType Type, llvm::raw_pwrite_stream &OS);

} // namespace k2

#endif // K2_PASSES_LLVM_OBJECT_H
