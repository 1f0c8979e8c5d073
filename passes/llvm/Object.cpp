//===- Object.cpp - Optimised objects straight from clang -----------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Object.h"
#include "Memory.h"
#include "Pipeline.h"
#include "Process.h"
#include "Settings.h"
#include "llvm/Analysis/RuntimeLibcallInfo.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/DiagnosticHandler.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace k2;

/// The exit code of k2cc where `strict` is set and it could not optimise.
static constexpr int ExitStrict = 101;

/// Has the backend write the object, with what clang gives it.
static bool generate(Module &M, TargetMachine &TM, Bytes &Object) {
  raw_svector_ostream OS(Object);
  legacy::PassManager PM;
  PM.add(createTargetTransformInfoWrapperPass(TM.getTargetIRAnalysis()));
  PM.add(new TargetLibraryInfoWrapperPass(
      TargetLibraryInfoImpl(M.getTargetTriple(), TM.Options.VecLib)));
  PM.add(new RuntimeLibraryInfoWrapper(
      M.getTargetTriple(), TM.Options.ExceptionModel, TM.Options.FloatABIType,
      TM.Options.EABIVersion, TM.Options.MCOptions.ABIName, TM.Options.VecLib));
  if (TM.addPassesToEmitFile(PM, OS, nullptr, CodeGenFileType::ObjectFile))
    return false;
  PM.run(M);
  return true;
}

static void runPasses(Module &M, TargetMachine &TM, StringRef Names) {
  LoopAnalysisManager LAM;
  FunctionAnalysisManager FAM;
  CGSCCAnalysisManager CGAM;
  ModuleAnalysisManager MAM;
  PassBuilder PB(&TM);
  PB.registerModuleAnalyses(MAM);
  PB.registerCGSCCAnalyses(CGAM);
  PB.registerFunctionAnalyses(FAM);
  PB.registerLoopAnalyses(LAM);
  PB.crossRegisterProxies(LAM, FAM, CGAM, MAM);
  FunctionPassManager FPM;
  addPasses(Names, FPM);
  ModulePassManager MPM;
  MPM.addPass(createModuleToFunctionPassAdaptor(std::move(FPM)));
  MPM.run(M, MAM);
}

static bool hasErrors(LLVMContext &Context) {
  const DiagnosticHandler *Handler = Context.getDiagHandlerPtr();
  return Handler && Handler->HasErrors;
}

/// The object with the passes called \p Names; empty if there is none. It is
/// made in a copy of the process: the module stays as it is, what there is to
/// say of it is said once, and not even a fatal error of the backend ends a
/// build.
static Bytes generateWith(Module &M, TargetMachine &TM, StringRef Names) {
  if (Names.empty())
    return {};
  auto Object = inCopyOfProcess([&](Bytes &Out) {
    runPasses(M, TM, Names);
    return generate(M, TM, Out) && !hasErrors(M.getContext());
  });
  if (Object)
    return std::move(*Object);
  consumeError(Object.takeError());
  return {};
}

/// What k2cc makes of an object.
static Expected<Bytes> optimize(StringRef K2cc, const Module &M,
                                const TargetMachine &TM, const Bytes &Object,
                                const Bytes &Other, int &Code) {
  SmallVector<MemoryFile, 2> Inputs;
  for (const Bytes *B : {&Object, &Other}) {
    auto File = MemoryFile::create(text(*B));
    if (!File)
      return File.takeError();
    Inputs.push_back(std::move(*File));
  }
  SmallVector<std::string, 8> Arguments{"opt", "-", "-o", "-",
                                        "--source=" + M.getModuleIdentifier()};
  if (StringRef CPU = TM.getTargetCPU(); !CPU.empty())
    Arguments.push_back(("--mcpu=" + CPU).str());
  if (!Other.empty())
    Arguments.push_back("--alternative=" + Inputs[1].path());
  return run(K2cc, Arguments, Inputs, Code);
}

/// Writes the better object, or \p Object if there is none.
static void emitBetter(StringRef K2cc, Module &M, TargetMachine &TM,
                       const Bytes &Object, const Bytes &Other,
                       raw_ostream &OS) {
  int Code = 0;
  auto Better = optimize(K2cc, M, TM, Object, Other, Code);
  if (Better && !Code && text(*Better).starts_with("\177ELF")) {
    OS << text(*Better);
    return;
  }
  OS << text(Object);
  if (Better && Code == ExitStrict)
    M.getContext().emitError("k2cc could not optimise the object, and its "
                             "settings are strict");
  else
    warn(M.getModuleIdentifier() + ": " +
         (Better ? K2cc + " made no object (exit code " + Twine(Code) + ")"
                 : toString(Better.takeError())) +
         "; using clang's object");
}

bool k2::emitObject(Module &M, TargetMachine &TM, CodeGenFileType Type,
                    raw_pwrite_stream &OS) {
  if (!isBPF(M) || Type != CodeGenFileType::ObjectFile ||
      TM.getOptLevel() == CodeGenOptLevel::None ||
      !TM.Options.MCOptions.SplitDwarfFile.empty())
    return false;
  Role R = roleOf();
  if (R.Is == Role::Passes)
    runPasses(M, TM, R.Names);
  if (R.Is != Role::Everything)
    return false;
  auto K2cc = findK2cc();
  if (!K2cc) {
    warn(toString(K2cc.takeError()) + "; using clang's object");
    return false;
  }
  Bytes Object, Other = generateWith(M, TM, passesFor(M, *K2cc));
  if (!generate(M, TM, Object))
    return false;
  if (hasErrors(M.getContext()))
    OS << text(Object); // clang removes it
  else
    emitBetter(*K2cc, M, TM, Object, Other, OS);
  return true;
}
