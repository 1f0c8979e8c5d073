//===- Settings.h - What k2.toml and the environment say --------*- C++ -*-===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef K2_PASSES_LLVM_SETTINGS_H
#define K2_PASSES_LLVM_SETTINGS_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace llvm {
class Module;
class Twine;
} // namespace llvm

namespace k2 {

/// What the plugin is there for in this process.
struct Role {
  enum {
    Nothing,   ///< k2cc is switched off, or runs clang and needs no help.
    Passes,    ///< k2cc runs clang to have these passes run.
    Everything ///< Clang was called by somebody else.
  } Is;
  std::string Names; ///< Of the passes, with commas between them.
};

/// The role that the environment gives to the plugin.
Role roleOf();

/// The folder of the file that \p M was made from, whose settings hold.
std::string folderOf(const llvm::Module &M);

/// The passes on LLVM IR that the settings for \p M switch on, with commas
/// between them. What is wrong with settings is for `k2cc opt` to say.
std::string passesFor(const llvm::Module &M, llvm::StringRef K2cc);

/// Prints one line to standard error.
void warn(const llvm::Twine &Text);

} // namespace k2

#endif // K2_PASSES_LLVM_SETTINGS_H
