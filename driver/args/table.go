package args

import (
	"slices"
	"strings"
)

// form is how an option takes its value.
type form int

const (
	flag     form = iota // it takes none
	joined               // in the same word
	separate             // in the next word
	either               // in the same word, or where nothing is left there in the next
	both                 // one in the same word and one in the next
	two                  // two, in the next words
	three                // three, in the next words
)

// effect is what an option means for k2cc.
type effect int

const (
	nothing  effect = iota
	stops           // the call is clang's alone, for the row's reason
	compiles        // it asks for objects
	names           // its value is the output's name
	language        // its value is the language of the inputs that follow
	target          // its value is the target triple
	cpu             // its value is the ISA level
	level           // its value is how hard to optimise
	lto             // it makes objects of bitcode
	noLTO           // it takes that back
	frontend        // its value is an option of the frontend
	ends            // all that follows is inputs
)

// option is a row of the table.
type option struct {
	name  string
	takes form
	does  effect
	why   Reason // with stops
}

// follow is how many words after the option belong to it, where word is the
// option as it stands in the command line.
func (o option) follow(word string) int {
	switch o.takes {
	case separate, both:
		return 1
	case either:
		if word == o.name {
			return 1
		}
	case two:
		return 2
	case three:
		return 3
	}
	return 0
}

// fits tells whether the word is the option.
func (o option) fits(word string) bool {
	switch o.takes {
	case joined, either, both:
		return strings.HasPrefix(word, o.name)
	}
	return word == o.name
}

// maxName is as long as names in the table get, in bytes.
const maxName = 64

// find is the row for a word: as in clang, of all that fit the longest.
func find(word string) (option, bool) {
	for n := min(len(word), maxName); n > 0; n-- {
		i, ok := slices.BinarySearchFunc(table, word[:n], func(o option, name string) int {
			return strings.Compare(o.name, name)
		})
		if ok && table[i].fits(word) {
			return table[i], true
		}
	}
	return option{}, false
}

// The options of clang 14 to 22 that take an argument, or matter to what a call
// is for, in the order of their names.
var table = []option{
	{"-###", flag, stops, Query},
	{name: "--", takes: flag, does: ends},
	{name: "--CLASSPATH", takes: separate},
	{"--analyze", flag, stops, Check},
	{name: "--analyzer-output", takes: either},
	{"--assemble", flag, stops, Assemble},
	{name: "--assert", takes: separate},
	{"--autocomplete=", joined, stops, Query},
	{name: "--bootclasspath", takes: separate},
	{name: "--classpath", takes: separate},
	{name: "--compile", takes: flag, does: compiles},
	{"--config", separate, stops, ConfigFile},
	{"--config-system-dir=", joined, stops, ConfigFile},
	{"--config-user-dir=", joined, stops, ConfigFile},
	{"--config=", joined, stops, ConfigFile},
	{name: "--define-macro", takes: separate},
	{"--dependencies", flag, stops, Preprocess},
	{"--driver-mode=", joined, stops, Unusual},
	{name: "--dyld-prefix", takes: separate},
	{"--emit-static-lib", flag, stops, Archive},
	{name: "--encoding", takes: separate},
	{name: "--extdirs", takes: separate},
	{name: "--for-linker", takes: separate},
	{name: "--force-link", takes: separate},
	{"--help", flag, stops, Query},
	{"--help-hidden", flag, stops, Query},
	{name: "--imacros", takes: either},
	{name: "--include", takes: either},
	{name: "--include-directory", takes: separate},
	{name: "--include-directory-after", takes: separate},
	{name: "--include-prefix", takes: separate},
	{name: "--include-with-prefix", takes: separate},
	{name: "--include-with-prefix-after", takes: separate},
	{name: "--include-with-prefix-before", takes: separate},
	{name: "--language", takes: separate, does: language},
	{name: "--language=", takes: joined, does: language},
	{name: "--library-directory", takes: separate},
	{name: "--mhwdiv", takes: separate},
	{"--migrate", flag, stops, Check},
	{name: "--no-system-header-prefix", takes: separate},
	{name: "--optimize", takes: flag, does: level},
	{name: "--optimize=", takes: joined, does: level},
	{name: "--output", takes: separate, does: names},
	{name: "--output-class-directory", takes: separate},
	{name: "--output=", takes: joined, does: names},
	{name: "--param", takes: separate},
	{"--precompile", flag, stops, Check},
	{name: "--prefix", takes: separate},
	{"--preprocess", flag, stops, Preprocess},
	{"--print-", joined, stops, Query},
	{name: "--print-diagnostic-categories", takes: flag},
	{name: "--print-missing-file-dependencies", takes: flag},
	{name: "--resource", takes: separate},
	{"--rsp-quoting=", joined, stops, Unusual},
	{name: "--rtlib", takes: separate},
	{name: "--serialize-diagnostics", takes: separate},
	{name: "--specs", takes: separate},
	{name: "--std", takes: separate},
	{name: "--stdlib", takes: separate},
	{name: "--sysroot", takes: separate},
	{name: "--system-header-prefix", takes: separate},
	{"--target-help", flag, stops, Query},
	{name: "--target=", takes: joined, does: target},
	{name: "--undefine-macro", takes: separate},
	{"--user-dependencies", flag, stops, Preprocess},
	{"--verify-debug-info", flag, stops, Check},
	{"--version", flag, stops, Query},
	{name: "--vfsoverlay", takes: either},
	{name: "-A", takes: either},
	{name: "-B", takes: either},
	{name: "-D", takes: either},
	{"-E", flag, stops, Preprocess},
	{name: "-F", takes: either},
	{name: "-G", takes: either},
	{name: "-I", takes: either},
	{name: "-L", takes: either},
	{"-M", flag, stops, Preprocess},
	{name: "-MF", takes: either},
	{name: "-MJ", takes: either},
	{"-MM", flag, stops, Preprocess},
	{name: "-MQ", takes: either},
	{name: "-MT", takes: either},
	{name: "-O", takes: joined, does: level},
	{"-ObjC", flag, stops, Language},
	{"-ObjC++", flag, stops, Language},
	{"-S", flag, stops, Assemble},
	{name: "-T", takes: either},
	{name: "-Tbss", takes: either},
	{name: "-Tdata", takes: either},
	{name: "-Ttext", takes: either},
	{name: "-U", takes: either},
	{name: "-Xanalyzer", takes: separate},
	{name: "-Xarch_", takes: both},
	{name: "-Xarch_device", takes: separate},
	{name: "-Xarch_host", takes: separate},
	{name: "-Xassembler", takes: separate},
	{name: "-Xclang", takes: separate, does: frontend},
	{name: "-Xclangas", takes: separate},
	{name: "-Xcuda-fatbinary", takes: separate},
	{name: "-Xcuda-ptxas", takes: separate},
	{name: "-Xlinker", takes: separate},
	{name: "-Xmicrosoft-visualc-tools-root", takes: separate},
	{name: "-Xmicrosoft-visualc-tools-version", takes: separate},
	{name: "-Xmicrosoft-windows-sdk-root", takes: separate},
	{name: "-Xmicrosoft-windows-sdk-version", takes: separate},
	{name: "-Xmicrosoft-windows-sys-root", takes: separate},
	{name: "-Xoffload-linker", takes: both},
	{name: "-Xopenmp-target", takes: separate},
	{name: "-Xopenmp-target=", takes: both},
	{name: "-Xpreprocessor", takes: separate},
	{name: "-Zlinker-input", takes: separate},
	{name: "-alias_list", takes: separate},
	{name: "-allowable_client", takes: separate},
	{"-arch", separate, stops, Unusual},
	{name: "-arch_only", takes: separate},
	{name: "-arcmt-migrate-report-output", takes: separate},
	{name: "-b", takes: either},
	{name: "-bundle_loader", takes: separate},
	{name: "-c", takes: flag, does: compiles},
	{"-cc1", joined, stops, Frontend},
	{name: "-ccc-arcmt-migrate", takes: separate},
	{name: "-ccc-gcc-name", takes: separate},
	{name: "-ccc-install-dir", takes: separate},
	{name: "-ccc-objcmt-migrate", takes: separate},
	{"-ccc-print-bindings", flag, stops, Query},
	{"-ccc-print-phases", flag, stops, Query},
	{name: "-client_name", takes: either},
	{name: "-compatibility_version", takes: either},
	{name: "-current_version", takes: either},
	{name: "-cxx-isystem", takes: either},
	{name: "-darwin-target-variant", takes: separate},
	{name: "-darwin-target-variant-triple", takes: separate},
	{name: "-dependency-dot", takes: separate},
	{name: "-dependency-file", takes: separate},
	{name: "-dsym-dir", takes: either},
	{name: "-dumpdir", takes: separate},
	{"-dumpmachine", flag, stops, Query},
	{"-dumpspecs", flag, stops, Query},
	{"-dumpversion", flag, stops, Query},
	{name: "-dylib_file", takes: separate},
	{name: "-dylinker_install_name", takes: either},
	{name: "-e", takes: either},
	{"-emit-ast", flag, stops, Check},
	{"-emit-cir", flag, stops, Bitcode},
	{"-emit-interface-stubs", flag, stops, Check},
	{"-emit-llvm", flag, stops, Bitcode},
	{"-emit-merged-ifs", flag, stops, Check},
	{"-emit-pch", flag, stops, Check},
	{name: "-exported_symbols_list", takes: separate},
	{"-extract-api", flag, stops, Check},
	{name: "-fdebug-compilation-dir", takes: separate},
	{"-fdriver-only", flag, stops, Check},
	{name: "-fexperimental-openacc-macro-override", takes: separate},
	{name: "-filelist", takes: separate},
	{name: "-flto", takes: flag, does: lto},
	{name: "-flto=", takes: joined, does: lto},
	{name: "-fmodule-implementation-of", takes: separate},
	{name: "-fmodules-user-build-path", takes: separate},
	{name: "-fnew-alignment", takes: separate},
	{name: "-fno-lto", takes: flag, does: noLTO},
	{name: "-force_load", takes: separate},
	{name: "-framework", takes: separate},
	{"-fsyntax-only", flag, stops, Check},
	{name: "-ftrapv-handler", takes: separate},
	{name: "-fxray-always-instrument=", takes: either},
	{name: "-fxray-attr-list=", takes: either},
	{name: "-fxray-instruction-threshold", takes: either},
	{name: "-fxray-instruction-threshold=", takes: either},
	{name: "-fxray-instrumentation-bundle=", takes: either},
	{name: "-fxray-modes=", takes: either},
	{name: "-fxray-never-instrument=", takes: either},
	{name: "-gen-cdb-fragment-path", takes: separate},
	{"-help", flag, stops, Query},
	{name: "-hlsl-entry", takes: separate},
	{name: "-iapinotes-modules", takes: either},
	{name: "-idirafter", takes: either},
	{name: "-iframework", takes: either},
	{name: "-iframeworkwithsysroot", takes: either},
	{name: "-imacros", takes: either},
	{name: "-image_base", takes: separate},
	{name: "-imultilib", takes: separate},
	{name: "-include", takes: either},
	{name: "-include-pch", takes: separate},
	{name: "-init", takes: separate},
	{name: "-install_name", takes: separate},
	{name: "-interface-stub-version=", takes: either},
	{name: "-iprefix", takes: either},
	{name: "-iquote", takes: either},
	{name: "-isysroot", takes: either},
	{name: "-isystem", takes: either},
	{name: "-isystem-after", takes: either},
	{name: "-ivfsoverlay", takes: either},
	{name: "-iwithprefix", takes: either},
	{name: "-iwithprefixbefore", takes: either},
	{name: "-iwithsysroot", takes: either},
	{name: "-l", takes: either},
	{name: "-lazy_framework", takes: separate},
	{name: "-lazy_library", takes: separate},
	{name: "-mcpu=", takes: joined, does: cpu},
	{"-mcpu=?", flag, stops, Query},
	{"-mcpu=help", flag, stops, Query},
	{name: "-meabi", takes: separate},
	{name: "-mllvm", takes: separate},
	{name: "-mmlir", takes: separate},
	{name: "-module-dependency-dir", takes: separate},
	{"-module-file-info", flag, stops, Check},
	{name: "-mthread-model", takes: separate},
	{"-mtune=help", flag, stops, Query},
	{name: "-multiply_defined", takes: separate},
	{name: "-multiply_defined_unused", takes: separate},
	{name: "-o", takes: either, does: names},
	{name: "-object", takes: flag},
	{name: "-object-file-name", takes: separate},
	{name: "-object-file-name=", takes: joined},
	{name: "-offload", takes: joined},
	{name: "-pagezero_size", takes: either},
	{"-print-", joined, stops, Query},
	{name: "-print-ivar-layout", takes: flag},
	{name: "-read_only_relocs", takes: separate},
	{name: "-reexport_framework", takes: separate},
	{name: "-reexport_library", takes: either},
	{name: "-resource-dir", takes: separate},
	{"-rewrite-legacy-objc", flag, stops, Check},
	{"-rewrite-objc", flag, stops, Check},
	{name: "-rpath", takes: separate},
	{name: "-sectalign", takes: three},
	{name: "-sectcreate", takes: three},
	{name: "-sectobjectsymbols", takes: two},
	{name: "-sectorder", takes: three},
	{name: "-seg1addr", takes: either},
	{name: "-seg_addr_table", takes: separate},
	{name: "-seg_addr_table_filename", takes: separate},
	{name: "-segaddr", takes: two},
	{name: "-segcreate", takes: three},
	{name: "-segprot", takes: three},
	{name: "-segs_read_only_addr", takes: separate},
	{name: "-segs_read_write_addr", takes: separate},
	{name: "-serialize-diagnostics", takes: separate},
	{name: "-specs", takes: separate},
	{name: "-stdlib++-isystem", takes: either},
	{name: "-sub_library", takes: either},
	{name: "-sub_umbrella", takes: either},
	{name: "-target", takes: separate, does: target},
	{name: "-u", takes: either},
	{name: "-umbrella", takes: separate},
	{name: "-undefined", takes: either},
	{name: "-unexported_symbols_list", takes: separate},
	{name: "-validator-version", takes: separate},
	{"-verify-pch", flag, stops, Check},
	{"-version", flag, stops, Query},
	{name: "-vfsoverlay", takes: either},
	{name: "-weak_framework", takes: separate},
	{name: "-weak_library", takes: separate},
	{name: "-weak_reference_mismatches", takes: separate},
	{"-working-directory", separate, stops, Unusual},
	{"-working-directory=", joined, stops, Unusual},
	{name: "-x", takes: either, does: language},
	{name: "-z", takes: separate},
}
