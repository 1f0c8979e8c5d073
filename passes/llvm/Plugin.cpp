//===- Plugin.cpp - k2cc as a plugin of clang and opt ---------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Registers the passes by name and, where LLVM lets plugins generate code
/// (LLVM 22), k2cc behind the backend. An older LLVM runs the passes at the end
/// of its pipeline, if settings switch them on. For modules that are not for
/// BPF nothing happens.
///
//===----------------------------------------------------------------------===//

#include "Pipeline.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Passes/PassBuilder.h"
#if LLVM_VERSION_MAJOR >= 22
#include "Object.h"
#include "llvm/Plugins/PassPlugin.h"
#else
#include "Memory.h"
#include "Process.h"
#include "Settings.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassPlugin.h"
#endif

using namespace llvm;

static void registerNames(PassBuilder &PB) {
  PB.registerPipelineParsingCallback(
      [](StringRef Name, FunctionPassManager &FPM,
         ArrayRef<PassBuilder::PipelineElement>) {
        return k2::addPass(Name, FPM);
      });
}

#if LLVM_VERSION_MAJOR >= 22

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT
    PassPluginLibraryInfo llvmGetPassPluginInfo() {
  return {LLVM_PLUGIN_API_VERSION, "k2", LLVM_VERSION_STRING, registerNames,
          k2::emitObject};
}

#else

namespace {

/// Runs the passes that settings switch on.
class ConfiguredPass : public PassInfoMixin<ConfiguredPass> {
public:
  PreservedAnalyses run(Module &M, ModuleAnalysisManager &MAM);
};

} // namespace

/// The passes to run on \p M, with commas between them. Says so where more is
/// asked for than this LLVM has.
static std::string passesOf(const Module &M) {
  k2::Role R = k2::roleOf();
  if (R.Is != k2::Role::Everything)
    return R.Names;
  auto K2cc = k2::findK2cc();
  if (!K2cc) {
    k2::warn(toString(K2cc.takeError()) + "; the plugin does nothing");
    return "";
  }
  std::string Names = k2::passesFor(M, *K2cc);
  if (Names.empty())
    k2::warn(M.getModuleIdentifier() +
             ": plugins of LLVM " LLVM_VERSION_STRING
             " only run passes on IR (llvm.passes in k2.toml, which is empty); "
             "for the rest use LLVM 22, or k2cc as the compiler");
  return Names;
}

PreservedAnalyses ConfiguredPass::run(Module &M, ModuleAnalysisManager &MAM) {
  if (!k2::isBPF(M))
    return PreservedAnalyses::all();
  FunctionPassManager FPM;
  k2::addPasses(passesOf(M), FPM);
  if (FPM.isEmpty())
    return PreservedAnalyses::all();
  return createModuleToFunctionPassAdaptor(std::move(FPM)).run(M, MAM);
}

static void registerAll(PassBuilder &PB) {
  registerNames(PB);
  PB.registerOptimizerLastEPCallback([](ModulePassManager &MPM,
                                        OptimizationLevel Level
#if LLVM_VERSION_MAJOR >= 20
                                        ,
                                        ThinOrFullLTOPhase
#endif
                                     ) {
    if (Level != OptimizationLevel::O0)
      MPM.addPass(ConfiguredPass());
  });
}

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT PassPluginLibraryInfo
llvmGetPassPluginInfo() {
  return {LLVM_PLUGIN_API_VERSION, "k2", LLVM_VERSION_STRING, registerAll};
}

#endif
