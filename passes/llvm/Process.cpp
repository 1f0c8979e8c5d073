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
#include <sys/wait.h>
#include <unistd.h>

using namespace llvm;

extern char **environ;

namespace {

/// A file descriptor that is closed in the end.
class Descriptor {
public:
  explicit Descriptor(int FD) : FD(FD) {}
  Descriptor(Descriptor &&Other) : FD(std::exchange(Other.FD, -1)) {}
  ~Descriptor() { close(); }
  int get() const { return FD; }
  void close() {
    if (FD >= 0)
      ::close(FD);
    FD = -1;
  }

private:
  int FD;
};

} // namespace

/// An error that says what the system says of what was tried.
static Error failed(const Twine &What, int Number = errno) {
  return createStringError(std::error_code(Number, std::generic_category()),
                           What);
}

Expected<std::string> k2::findK2cc() {
  if (const char *Named = std::getenv("K2CC"); Named && *Named)
    return std::string(Named);
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
  return failed("k2cc is neither named by K2CC, nor beside the plugin, nor on "
                "PATH",
                ENOENT);
}

/// A file in memory that holds \p Data.
static Expected<Descriptor> fileOf(StringRef Data) {
  Descriptor File(memfd_create("k2cc", MFD_CLOEXEC));
  if (File.get() < 0)
    return failed("make a file in memory");
  while (!Data.empty()) {
    ssize_t N = write(File.get(), Data.data(), Data.size());
    if (N < 0 && errno != EINTR)
      return failed("write a file in memory");
    Data = Data.drop_front(std::max<ssize_t>(N, 0));
  }
  if (lseek(File.get(), 0, SEEK_SET) < 0)
    return failed("rewind a file in memory");
  // Above the numbers that the program has it under.
  int High = fcntl(File.get(), F_DUPFD_CLOEXEC, 64);
  if (High < 0)
    return failed("duplicate a descriptor");
  return Descriptor(High);
}

/// All that is written into a pipe until nobody can write any more.
static Expected<std::string> drain(int FD) {
  std::string All;
  char Block[1 << 16];
  while (true) {
    ssize_t N = read(FD, Block, sizeof(Block));
    if (N == 0)
      return All;
    if (N < 0 && errno != EINTR)
      return failed("read what k2cc writes");
    All.append(Block, std::max<ssize_t>(N, 0));
  }
}

/// Starts a program with the given descriptors as 0, 1, 3, 4 and so on.
static Expected<pid_t> start(StringRef Program, ArrayRef<std::string> Arguments,
                             ArrayRef<Descriptor> Inputs, int Output,
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
  for (size_t I = 0; I < Inputs.size(); ++I)
    posix_spawn_file_actions_adddup2(&Actions, Inputs[I].get(),
                                     I ? STDERR_FILENO + I : STDIN_FILENO);
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

Expected<std::string> k2::run(StringRef Program,
                              ArrayRef<std::string> Arguments,
                              ArrayRef<StringRef> Inputs, int &Code,
                              bool Quiet) {
  SmallVector<Descriptor, 2> Files;
  for (StringRef Input : Inputs) {
    auto File = fileOf(Input);
    if (!File)
      return File.takeError();
    Files.push_back(std::move(*File));
  }
  int Ends[2];
  if (pipe2(Ends, O_CLOEXEC))
    return failed("make a pipe");
  Descriptor Out(Ends[0]), In(Ends[1]);
  auto Child = start(Program, Arguments, Files, In.get(), Quiet);
  if (!Child)
    return Child.takeError();
  In.close();
  auto Answer = drain(Out.get());
  Out.close(); // should reading have failed, the program ends all the same
  int Status;
  while (waitpid(*Child, &Status, 0) < 0)
    if (errno != EINTR) {
      consumeError(Answer.takeError());
      return failed("wait for " + Program);
    }
  if (!Answer)
    return Answer.takeError();
  if (!WIFEXITED(Status))
    return failed(Program + " was ended by signal " + Twine(WTERMSIG(Status)),
                  ECHILD);
  Code = WEXITSTATUS(Status);
  return Answer;
}
