//===- Process.cpp - Running k2cc -----------------------------------------===//
//
// Part of k2cc, under the Apache License v2.0. See LICENSE.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Process.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llvm;
using namespace k2;

extern char **environ;

/// An error that says what the system says of what was tried.
static Error failed(const Twine &What, int Number = errno) {
  std::error_code Code(Number, std::generic_category());
  return createStringError(Code, What + ": " + Code.message());
}

Expected<std::string> k2::findK2cc() {
  if (const char *Named = std::getenv("K2CC"); Named && *Named) {
    if (auto Path = sys::findProgramByName(Named)) // as it is, if it is a path
      return *Path;
    return createStringError(Twine("K2CC = ") + Named +
                             ": no such program on PATH");
  }
  Dl_info Self;
  if (dladdr(reinterpret_cast<const void *>(&findK2cc), &Self) &&
      Self.dli_fname) {
    SmallString<128> Real;
    if (!sys::fs::real_path(Self.dli_fname, Real)) {
      StringRef Dir = sys::path::parent_path(Real);
      for (StringRef Where : {"k2cc", "../bin/k2cc", "../../bin/k2cc"}) {
        SmallString<128> Path(Dir);
        sys::path::append(Path, Where);
        if (sys::fs::can_execute(Path))
          return std::string(Path);
      }
    }
  }
  if (auto Path = sys::findProgramByName("k2cc"))
    return *Path;
  return createStringError("k2cc is neither named by K2CC, nor beside the "
                           "plugin, nor on PATH");
}

Expected<MemoryFile> MemoryFile::create(StringRef Data) {
  int FD = memfd_create("k2cc", MFD_CLOEXEC);
  if (FD < 0)
    return failed("make a file in memory");
  MemoryFile File(FD);
  // Numbers that come first may be taken in programs, as by GNU make's
  // jobserver.
  constexpr int Free = 64;
  File.FD = fcntl(FD, F_DUPFD_CLOEXEC, Free);
  int Number = errno;
  ::close(FD);
  if (File.FD < 0)
    return failed("duplicate a descriptor", Number);
  if (Error Wrong = File.append(Data))
    return std::move(Wrong);
  if (lseek(File.FD, 0, SEEK_SET) < 0)
    return failed("rewind a file in memory");
  return File;
}

Error MemoryFile::append(StringRef Data) {
  while (!Data.empty()) {
    ssize_t N = write(FD, Data.data(), Data.size());
    if (N < 0 && errno != EINTR)
      return failed("write a file in memory");
    Data = Data.drop_front(std::max<ssize_t>(N, 0));
  }
  return Error::success();
}

MemoryFile::~MemoryFile() {
  if (FD >= 0)
    ::close(FD);
}

/// All that can be read from a descriptor.
static Expected<Bytes> drain(int FD) {
  Bytes All;
  char Block[1 << 16];
  while (true) {
    ssize_t N = read(FD, Block, sizeof(Block));
    if (N == 0)
      return All;
    if (N < 0 && errno != EINTR)
      return failed("read what k2cc writes");
    All.append(Block, Block + std::max<ssize_t>(N, 0));
  }
}

/// Starts a program that writes to a descriptor.
static Expected<pid_t> start(StringRef Program, ArrayRef<std::string> Arguments,
                             ArrayRef<MemoryFile> Inputs, int Output,
                             bool Quiet) {
  SmallVector<std::string, 8> Words{Program.str()};
  append_range(Words, Arguments);
  SmallVector<char *, 8> Argv;
  for (std::string &Word : Words)
    Argv.push_back(Word.data());
  Argv.push_back(nullptr);

  posix_spawn_file_actions_t Actions;
  posix_spawnattr_t Attributes;
  posix_spawn_file_actions_init(&Actions);
  posix_spawnattr_init(&Attributes);
  posix_spawn_file_actions_adddup2(&Actions, Output, STDOUT_FILENO);
  for (const MemoryFile &File : Inputs) // to itself: stays open
    posix_spawn_file_actions_adddup2(
        &Actions, File.descriptor(),
        &File == Inputs.begin() ? STDIN_FILENO : File.descriptor());
  if (Quiet)
    posix_spawn_file_actions_addopen(&Actions, STDERR_FILENO, "/dev/null",
                                     O_WRONLY, 0);
  sigset_t None;
  sigemptyset(&None);
  posix_spawnattr_setsigmask(&Attributes, &None);
  posix_spawnattr_setflags(&Attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t Child;
  int Wrong = posix_spawn(&Child, Words[0].c_str(), &Actions, &Attributes,
                          Argv.data(), environ);
  posix_spawnattr_destroy(&Attributes);
  posix_spawn_file_actions_destroy(&Actions);
  if (Wrong)
    return failed("run " + Program, Wrong);
  return Child;
}

/// Waits for a program to end and says how.
static Error wait(StringRef Program, pid_t Child, int &Code) {
  int Status;
  while (waitpid(Child, &Status, 0) < 0)
    if (errno != EINTR)
      return failed("wait for " + Program);
  if (!WIFEXITED(Status))
    return createStringError(Program + " was ended by signal " +
                             Twine(WTERMSIG(Status)));
  Code = WEXITSTATUS(Status);
  return Error::success();
}

/// Leaves the process by the shortest way. Whatever clang does where it ends,
/// such as removing its output, is not for a copy of it to do.
[[noreturn]] static void leave(void *, const char *, bool) { _exit(1); }

/// What a copy of the process does.
[[noreturn]] static void work(function_ref<bool(Bytes &)> Work,
                              MemoryFile &Out) {
  for (int Signal = 1; Signal < NSIG; ++Signal)
    signal(Signal, SIG_DFL);
  rlimit None = {0, 0};
  setrlimit(RLIMIT_CORE, &None);
  if (int Null = open("/dev/null", O_WRONLY | O_CLOEXEC); Null >= 0)
    dup2(Null, STDERR_FILENO);
  remove_fatal_error_handler();
  install_fatal_error_handler(leave);
  Bytes Made;
  bool Done = Work(Made);
  Error Wrong = Out.append({Made.data(), Made.size()});
  _exit(!Done || Wrong);
}

Expected<Bytes> k2::inCopyOfProcess(function_ref<bool(Bytes &)> Work) {
  auto File = MemoryFile::create("");
  if (!File)
    return File.takeError();
  pid_t Child = fork();
  if (Child < 0)
    return failed("copy the process");
  if (!Child)
    work(Work, *File);
  int Code = 0;
  if (Error Wrong = wait("a copy of the process", Child, Code))
    return std::move(Wrong);
  if (Code)
    return createStringError("a copy of the process failed");
  if (lseek(File->descriptor(), 0, SEEK_SET) < 0)
    return failed("rewind a file in memory");
  return drain(File->descriptor());
}

Expected<Bytes> k2::run(StringRef Program, ArrayRef<std::string> Arguments,
                        ArrayRef<MemoryFile> Inputs, int &Code, bool Quiet) {
  int Ends[2];
  if (pipe2(Ends, O_CLOEXEC))
    return failed("make a pipe");
  auto Child = start(Program, Arguments, Inputs, Ends[1], Quiet);
  ::close(Ends[1]);
  if (!Child) {
    ::close(Ends[0]);
    return Child.takeError();
  }
  auto Answer = drain(Ends[0]);
  ::close(Ends[0]); // should reading have failed, the program ends all the same
  Error Ended = wait(Program, *Child, Code);
  if (!Answer)
    return joinErrors(Answer.takeError(), std::move(Ended));
  if (Ended)
    return std::move(Ended);
  return Answer;
}
