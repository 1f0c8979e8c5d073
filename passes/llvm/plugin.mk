# Builds the plugin for one LLVM: make -f passes/llvm/plugin.mk LLVM=22
# [BIN=folder for libk2-22.so].
LLVM ?= 22
BIN ?= bin
CXX := clang++-22
CXXFLAGS ?= -O1 -Wall -Wextra

HERE := $(dir $(lastword $(MAKEFILE_LIST)))
# Before LLVM 22, plugins take no part in generating code.
OLD := $(filter 14 15 16 17 18 19 20 21,$(LLVM))
SOURCES := $(filter-out $(if $(OLD),%/Object.cpp),$(abspath $(wildcard $(HERE)*.cpp)))

FLAGS := -std=c++17 -shared -fPIC -fno-rtti -fno-exceptions -fvisibility=hidden \
  -D_GNU_SOURCE -D__STDC_CONSTANT_MACROS -D__STDC_FORMAT_MACROS -D__STDC_LIMIT_MACROS \
  -isystem $(shell llvm-config-$(LLVM) --includedir)

# All sources are compiled as one: LLVM's headers take far longer than they do.
$(BIN)/libk2-$(LLVM).so: $(SOURCES) $(wildcard $(HERE)*.h) $(lastword $(MAKEFILE_LIST))
	@mkdir -p $(@D)
	printf '#include "%s"\n' $(SOURCES) | $(CXX) $(FLAGS) $(CXXFLAGS) -x c++ - -o $@.new
	@mv $@.new $@
