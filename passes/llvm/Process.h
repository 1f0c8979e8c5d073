//===- Process.h - Running k2cc ---------------------------------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_PROCESS_H
#define K2_PASSES_LLVM_PROCESS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace k2 {

/// Finds k2cc: the program that the variable K2CC names, else the one beside the
/// plugin or in ../bin or ../../bin from there, else the first on PATH.
llvm::Expected<std::string> findK2cc();

/// Runs \p Program and returns what it writes to standard output. Each of
/// \p Inputs can be read from a descriptor of its own: standard input, then 3, 4
/// and so on. They lie in memory, so that a program that does not read them
/// stops nobody. \p Code becomes the program's exit code; an error means that
/// there is none. If \p Quiet, what it writes to standard error is dropped.
llvm::Expected<std::string> run(llvm::StringRef Program,
                                llvm::ArrayRef<std::string> Arguments,
                                llvm::ArrayRef<llvm::StringRef> Inputs,
                                int &Code, bool Quiet = false);

} // namespace k2

#endif // K2_PASSES_LLVM_PROCESS_H
