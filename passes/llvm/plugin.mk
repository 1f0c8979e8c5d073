# Builds the plugin for one LLVM: make -f passes/llvm/plugin.mk LLVM=22
# [BIN=folder for libk2-22.so] [BUILD=folder for what is compiled].
LLVM ?= 22
BIN ?= bin
BUILD ?= build/llvm-$(LLVM)
CONFIG := llvm-config-$(LLVM)
CXX := clang++-22

HERE := $(dir $(lastword $(MAKEFILE_LIST)))
# The oldest LLVM whose plugins generate code.
OLD := $(filter 14 15 16 17 18 19 20 21,$(LLVM))
SOURCES := $(filter-out $(if $(OLD),Object.cpp),$(notdir $(wildcard $(HERE)*.cpp)))
OBJECTS := $(SOURCES:%.cpp=$(BUILD)/%.o)

CXXFLAGS ?= -O1 -Wall -Wextra
FLAGS := -std=c++17 -fPIC -fno-rtti -fno-exceptions -fvisibility=hidden \
  -D_GNU_SOURCE -D__STDC_CONSTANT_MACROS -D__STDC_FORMAT_MACROS -D__STDC_LIMIT_MACROS \
  -isystem $(shell $(CONFIG) --includedir)

$(BIN)/libk2-$(LLVM).so: $(OBJECTS)
	@mkdir -p $(@D)
	$(CXX) -shared -o $@ $^

$(BUILD)/%.o: $(HERE)%.cpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(CXXFLAGS) -MMD -MP -c $< -o $@

-include $(OBJECTS:.o=.d)
