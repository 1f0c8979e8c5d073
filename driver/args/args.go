// Package args reads command lines of clang: which objects a call writes, or why
// it is none of k2cc's business. It knows clang's options from a table, so that
// an option's argument is never taken for an input.
package args

import (
	"path/filepath"
	"slices"
	"strings"
)

// Reason says why a call is left to clang. Its text is what k2cc stats counts.
type Reason string

// The reasons.
const (
	Archive      Reason = "makes a static library"
	Assemble     Reason = "makes assembly"
	Bitcode      Reason = "makes bitcode"
	Check        Reason = "makes no object"
	ConfigFile   Reason = "options from clang's configuration"
	Frontend     Reason = "calls the frontend"
	Language     Reason = "not C, LLVM IR or assembly"
	Link         Reason = "links"
	NoInput      Reason = "no input"
	NotOptimised Reason = "not optimised (-O0)"
	OneOutput    Reason = "several inputs for one output"
	OtherTarget  Reason = "not for BPF"
	Preprocess   Reason = "preprocesses"
	Query        Reason = "asks clang about itself"
	StdOut       Reason = "writes to standard output"
	Unusual      Reason = "options that k2cc does not follow"
)

// Job is an object that a call writes.
type Job struct {
	Input, Output string
	CPU           string // the value of -mcpu, if it was given
}

// call is what the words of a command line add up to.
type call struct {
	why      Reason // of the first option that stops
	inputs   []input
	output   string
	language string // of the inputs to come
	target   string
	cpu      string
	level    string // of -O, without the dash
	compiles bool
	lto      bool
}

// input is a source file with the language of -x, if that was given.
type input struct{ name, language string }

// Jobs tells which objects a call writes that k2cc may optimise. Without any,
// why says whose business it is. Words are the arguments behind the program's
// name, with response files expanded.
func Jobs(words []string) (jobs []Job, why Reason) {
	c := &call{}
	for o := range options(words) {
		c.take(o)
	}
	if why := c.stopped(); why != "" {
		return nil, why
	}
	why = NotOptimised
	for _, in := range c.inputs {
		kind := in.kind()
		switch {
		case kind == "":
			why = Language
		case c.optimises(kind):
			jobs = append(jobs, Job{Input: in.name, Output: c.outputOf(in.name), CPU: c.cpu})
		}
	}
	if len(jobs) > 0 {
		return jobs, ""
	}
	return nil, why
}

// FirstInput is the first input of a command line, empty if there is none.
func FirstInput(words []string) string {
	for o := range options(words) {
		if o.does == isInput {
			return o.value
		}
	}
	return ""
}

// take adds an option or input.
func (c *call) take(o use) {
	switch o.does {
	case stops:
		c.stop(o.why)
	case compiles:
		c.compiles = true
	case names:
		c.output = o.value
	case language:
		c.language = o.value
	case target:
		c.target = o.value
	case cpu:
		c.cpu = o.value
	case level:
		c.level = "O" + o.value
	case lto:
		c.lto = true
	case noLTO:
		c.lto = false
	case frontend:
		c.takeFrontend(o.value)
	case isInput:
		c.inputs = append(c.inputs, input{o.value, c.language})
	}
}

func (c *call) stop(why Reason) {
	if c.why == "" {
		c.why = why
	}
}

// takeFrontend adds what -Xclang hands to the frontend.
func (c *call) takeFrontend(word string) {
	switch {
	case strings.HasPrefix(word, "-emit-llvm"):
		c.stop(Bitcode)
	case word == "-E", word == "-Eonly":
		c.stop(Preprocess)
	case word == "-S":
		c.stop(Assemble)
	case strings.HasPrefix(word, "-emit-") && word != "-emit-obj",
		strings.HasPrefix(word, "-ast-"), word == "-fsyntax-only":
		c.stop(Check)
	case len(word) == 3 && strings.HasPrefix(word, "-O"):
		c.level = word[1:]
	}
}

// stopped is why the call is clang's alone, as far as that does not depend on
// the single input.
func (c *call) stopped() Reason {
	switch {
	case c.why != "":
		return c.why
	case len(c.inputs) == 0:
		return NoInput
	case !isBPF(c.target):
		return OtherTarget
	case !c.compiles:
		return Link
	case c.lto:
		return Bitcode
	case c.output == "-":
		return StdOut
	case c.output != "" && len(c.inputs) > 1:
		return OneOutput
	}
	return ""
}

// isBPF recognises bpf, bpfel and bpfeb, bare or with vendor and system.
func isBPF(triple string) bool {
	arch, _, _ := strings.Cut(triple, "-")
	return slices.Contains([]string{"bpf", "bpfel", "bpfeb", "bpf_le", "bpf_be"}, arch)
}

// kind is the language of an input if k2cc takes it: "c", "ir" or "assembler".
func (in input) kind() string {
	lang := in.language
	if lang == "" || lang == "none" {
		lang = byExtension[filepath.Ext(in.name)]
	}
	switch lang {
	case "c", "cpp-output":
		return "c"
	case "ir":
		return "ir"
	case "assembler", "assembler-with-cpp":
		return "assembler"
	}
	return ""
}

// byExtension is the language that clang takes a file to have.
var byExtension = map[string]string{
	".c": "c", ".i": "cpp-output",
	".ll": "ir", ".bc": "ir",
	".s": "assembler", ".asm": "assembler-with-cpp", ".S": "assembler-with-cpp", ".sx": "assembler-with-cpp",
}

// optimises tells whether the user wants code of the kind to be optimised. As
// -O means nothing to clang where it reads assembly, only -O0 is a word there.
func (c *call) optimises(kind string) bool {
	if kind == "assembler" && c.level == "" {
		return true
	}
	return c.level != "" && c.level != "O0"
}

// outputOf is the object's name: -o, or the input's name in the current folder.
func (c *call) outputOf(input string) string {
	if c.output != "" {
		return c.output
	}
	base := filepath.Base(input)
	return strings.TrimSuffix(base, filepath.Ext(base)) + ".o"
}
