package args

import "strings"

// Alone is the command line for one job of another one, with the object written
// to a file and nothing beside it: no dependency file, no intermediate files.
// Words have their response files expanded. Where it can't be told what all
// would be written, or the input is there only once, ok is false.
func Alone(words []string, j Job, output string) (argv []string, ok bool) {
	if j.Input == "-" {
		return nil, false
	}
	inputs := []string{}
	for u := range options(words) {
		word := words[u.at]
		switch {
		case u.does == isInput && u.value != j.Input, u.does == names, isBeside(word):
		case u.does == ends:
		case u.does == frontend && isBeside(u.value), writesMore(word):
			return nil, false
		case u.does == isInput:
			inputs = append(inputs, u.value)
		default:
			argv = append(argv, words[u.at:u.at+u.n]...)
		}
	}
	argv = append(argv, "-o", output, "--")
	return append(argv, inputs...), len(inputs) == 1
}

// beside begins options that ask for files beside the object, or say how those
// are to be, and that change nothing about the object.
var beside = []string{
	"-MD", "-MMD", "-MP", "-MG", "-MF", "-MT", "-MQ", "-MV", "-MJ", "-Wp,-M",
	"--write-dependencies", "--write-user-dependencies",
	"--serialize-diagnostics", "-serialize-diagnostics", "-dependency-file",
	"-save-temps", "--save-temps", "-ftime-trace", "-ftime-report",
	"-fsave-optimization-record", "-foptimization-record-", "-fstack-usage",
}

func isBeside(word string) bool { return hasPrefix(word, beside) }

// writesMore tells whether an option splits the object.
func writesMore(word string) bool { return hasPrefix(word, []string{"-gsplit-dwarf"}) }

func hasPrefix(word string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(word, p) {
			return true
		}
	}
	return false
}
