// Command gen writes the table of helper prototypes. It takes names, numbers
// and argument counts from the kernel's header and what arguments are for from
// a list, and fails where the two differ.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	header := flag.String("header", "/usr/include/linux/bpf.h", "the kernel's `file` bpf.h")
	list := flag.String("helpers", "helpers.txt", "`file` that lists what helpers do")
	out := flag.String("o", "helpers_gen.go", "`file` to write")
	flag.Parse()
	if err := run(*header, *list, *out); err != nil {
		log.Fatalf("gen: %v", err)
	}
}

func run(header, list, out string) error {
	text, err := os.ReadFile(header)
	if err != nil {
		return err
	}
	declared, err := parseHeader(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", header, err)
	}
	text, err = os.ReadFile(list)
	if err != nil {
		return err
	}
	helpers, err := parseList(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	if err := compare(declared, helpers); err != nil {
		return err
	}
	code, err := write(helpers)
	if err != nil {
		return err
	}
	return os.WriteFile(out, code, 0o644)
}

// declaration is what the header says of a helper.
type declaration struct {
	id, args int
	variadic bool
}

var (
	mapper    = regexp.MustCompile(`(?s)#define __+BPF_FUNC_MAPPER\(FN[^)]*\)(.*?)\n\n`)
	mapped    = regexp.MustCompile(`FN\((\w+)(?:, (\d+))?`)
	prototype = regexp.MustCompile(`(?m)^ \* (?:\w+ )+\**bpf_(\w+)\((.*)\)$`)
)

// parseHeader reads the list of helper IDs and the prototypes in the comments.
func parseHeader(text string) (map[string]declaration, error) {
	list := mapper.FindStringSubmatch(text)
	if list == nil {
		return nil, fmt.Errorf("no list of helpers")
	}
	ids := make(map[string]int)
	for i, m := range mapped.FindAllStringSubmatch(list[1], -1) {
		if n, err := strconv.Atoi(m[2]); err == nil {
			i = n
		}
		ids[m[1]] = i
	}
	declared := make(map[string]declaration)
	for _, m := range prototype.FindAllStringSubmatch(text, -1) {
		id, ok := ids[m[1]]
		if !ok {
			continue
		}
		d := declaration{id: id}
		if m[2] != "void" {
			d.args = strings.Count(m[2], ",") + 1
			d.variadic = strings.HasSuffix(m[2], "...")
		}
		declared[m[1]] = d
		delete(ids, m[1])
	}
	delete(ids, "unspec")
	if len(ids) > 0 {
		return nil, fmt.Errorf("helpers without prototype: %v", ids)
	}
	return declared, nil
}

// helper is a line of the list, in Go.
type helper struct {
	id      int
	name    string
	args    []string
	returns string
	marks   []string
}

var line = regexp.MustCompile(`^(\d+) (\w+)\((.*)\) -> (\S+)((?: \w+)*)$`)

func parseList(text string) ([]helper, error) {
	var helpers []helper
	for i, l := range strings.Split(text, "\n") {
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		h, err := parseHelper(l)
		if err == nil && h.id != len(helpers)+1 {
			err = fmt.Errorf("helper %d stands where %d should", h.id, len(helpers)+1)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		helpers = append(helpers, h)
	}
	return helpers, nil
}

var returns = map[string]string{
	"scalar": "ReturnScalar", "void": "ReturnVoid", "any": "ReturnAny",
	"map_value": "ReturnMapValue", "map_value?": "ReturnMapValueOrNull",
	"mem?": "ReturnMemoryOrNull", "ptr": "ReturnPointer", "ptr?": "ReturnPointerOrNull",
}

var marks = map[string]string{"moves": "MovesPacket", "tail": "TailCall", "callback": "Callback"}

func parseHelper(l string) (helper, error) {
	m := line.FindStringSubmatch(l)
	if m == nil {
		return helper{}, fmt.Errorf("%q is no helper", l)
	}
	id, err := strconv.Atoi(m[1])
	if err != nil {
		return helper{}, err
	}
	h := helper{id: id, name: m[2], returns: returns[m[4]]}
	if h.returns == "" {
		return helper{}, fmt.Errorf("%q is no result", m[4])
	}
	for _, mark := range strings.Fields(m[5]) {
		field, ok := marks[mark]
		if !ok {
			return helper{}, fmt.Errorf("%q is no mark", mark)
		}
		h.marks = append(h.marks, field)
	}
	if m[3] == "" {
		return h, nil
	}
	for _, a := range strings.Split(m[3], ", ") {
		arg, err := parseArg(a)
		if err != nil {
			return helper{}, err
		}
		h.args = append(h.args, arg)
	}
	return h, nil
}

var args = map[string]string{
	"s": "Kind: ArgScalar", "ctx": "Kind: ArgContext", "map": "Kind: ArgMap",
	"ptr": "Kind: ArgPointer", "func": "Kind: ArgFunc", "cbctx": "Kind: ArgCallback", "?": "Kind: ArgUnknown",
	"key":       "Kind: ArgMapKey, Read: true",
	"value":     "Kind: ArgMapValue, Read: true",
	"value:out": "Kind: ArgMapValue, Write: true", "value:inout": "Kind: ArgMapValue, Read: true, Write: true",
}

var memory = regexp.MustCompile(`^(in|out|inout|fill)(?:\(([1-5])\)|=(\d+))$`)

func parseArg(a string) (string, error) {
	if s, ok := args[a]; ok {
		return s, nil
	}
	m := memory.FindStringSubmatch(a)
	if m == nil {
		return "", fmt.Errorf("%q is no argument", a)
	}
	s := "Kind: ArgMemory"
	if m[1] == "in" || m[1] == "inout" {
		s += ", Read: true"
	}
	if m[1] != "in" {
		s += ", Write: true"
	}
	if m[1] == "fill" {
		s += ", Fill: true"
	}
	if m[2] != "" {
		return s + ", SizeReg: " + m[2], nil
	}
	return s + ", Size: " + m[3], nil
}

// compare fails unless all that the header declares is in the list, with the
// same number and as many arguments.
func compare(declared map[string]declaration, helpers []helper) error {
	for _, h := range helpers {
		d, ok := declared[h.name]
		if !ok {
			continue // newer than the header
		}
		delete(declared, h.name)
		if d.id != h.id {
			return fmt.Errorf("%s is helper %d in the header, %d in the list", h.name, d.id, h.id)
		}
		want := d.args
		if d.variadic {
			want = 5
		}
		if len(h.args) != want {
			return fmt.Errorf("%s has %d arguments in the header, %d in the list", h.name, want, len(h.args))
		}
	}
	if len(declared) > 0 {
		return fmt.Errorf("the list lacks %v", declared)
	}
	return nil
}

func write(helpers []helper) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("// Code generated by gen from linux/bpf.h and gen/helpers.txt. DO NOT EDIT.\n\npackage semantics\n\n")
	b.WriteString("var helpers = [...]Helper{\n")
	for _, h := range helpers {
		fmt.Fprintf(&b, "%d: {ID: %d, Name: %q, NumArgs: %d, Returns: %s", h.id, h.id, h.name, len(h.args), h.returns)
		for _, mark := range h.marks {
			fmt.Fprintf(&b, ", %s: true", mark)
		}
		if len(h.args) > 0 {
			fmt.Fprintf(&b, ", Args: [5]Arg{\n")
			for _, a := range h.args {
				fmt.Fprintf(&b, "{%s},\n", a)
			}
			b.WriteString("}")
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n")
	code, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	return code, nil
}
