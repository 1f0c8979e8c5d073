//===- Process.h - Running k2cc ---------------------------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_PROCESS_H
#define K2_PASSES_LLVM_PROCESS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <utility>

namespace k2 {

/// Finds k2cc: the program that the variable K2CC names, else the one beside
/// the plugin or in ../bin or ../../bin from there, else the first on PATH.
llvm::Expected<std::string> findK2cc();

using Bytes = llvm::SmallVector<char, 0>;

/// Has a copy of this process do \p Work and returns what that made. An error
/// means that it returned false or did not live to return; it is silent.
llvm::Expected<Bytes> inCopyOfProcess(llvm::function_ref<bool(Bytes &)> Work);

/// A file in memory, which a program reads whenever it likes or never.
class MemoryFile {
public:
  static llvm::Expected<MemoryFile> create(llvm::StringRef Data);
  MemoryFile(MemoryFile &&Other) : FD(std::exchange(Other.FD, -1)) {}
  ~MemoryFile();

  int descriptor() const { return FD; }

  /// Writes all of \p Data behind what is there.
  llvm::Error append(llvm::StringRef Data);

  /// The file's name for programs that `run` gets it for.
  std::string path() const { return "/proc/self/fd/" + std::to_string(FD); }

private:
  explicit MemoryFile(int FD) : FD(FD) {}

  int FD;
};

/// Runs \p Program and returns what it writes to standard output. The first of
/// \p Inputs is its standard input, the others it can open by their paths.
/// \p Code becomes the program's exit code; an error means that there is none.
/// If
/// \p Quiet, what it writes to standard error is dropped.
llvm::Expected<Bytes> run(llvm::StringRef Program,
                          llvm::ArrayRef<std::string> Arguments,
                          llvm::ArrayRef<MemoryFile> Inputs, int &Code,
                          bool Quiet = false);

inline llvm::StringRef text(const Bytes &B) { return {B.data(), B.size()}; }

} // namespace k2

#endif // K2_PASSES_LLVM_PROCESS_H
