//===- Settings.cpp - What k2.toml and the environment say ----------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Settings.h"
#include "Process.h"
#include "llvm/ADT/Twine.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>

using namespace llvm;
using namespace k2;

static StringRef variable(const char *Name) {
  const char *Value = std::getenv(Name);
  return Value ? Value : "";
}

/// Whether K2CC_DISABLE is true, in the words that k2cc knows.
static bool isDisabled() {
  StringRef Value = variable("K2CC_DISABLE");
  return Value == "1" || Value == "t" || Value == "T" || Value == "true" ||
         Value == "True" || Value == "TRUE";
}

Role k2::roleOf() {
  if (isDisabled())
    return {Role::Nothing, ""};
  // k2cc sets these for the compiler that it runs.
  if (StringRef Names = variable("K2CC_RUNS_PASSES"); !Names.empty())
    return {Role::Passes, Names.str()};
  if (!variable("K2CC_RUNS").empty())
    return {Role::Nothing, ""};
  return {Role::Everything, ""};
}

std::string k2::folderOf(const Module &M) {
  StringRef Folder = sys::path::parent_path(M.getModuleIdentifier());
  return Folder.empty() ? "." : Folder.str();
}

std::string k2::passesFor(const Module &M, StringRef K2cc) {
  int Code = 0;
  auto Answer = run(K2cc, {"config", "--get=llvm.passes", folderOf(M)}, {},
                    Code, /*Quiet=*/true);
  if (!Answer) {
    consumeError(Answer.takeError());
    return "";
  }
  return Code ? "" : text(*Answer).trim().str();
}

void k2::warn(const Twine &Text) { errs() << "k2cc: " << Text << '\n'; }
