package symexec

import (
	"errors"
	"fmt"
	"go/types"

	"golang.org/x/tools/go/packages"
	"golang.org/x/tools/go/ssa"
	"golang.org/x/tools/go/ssa/ssautil"
)

// Program is the SSA form of some packages.
type Program struct {
	prog  *ssa.Program
	pkgs  map[string]*ssa.Package
	funcs map[string]*ssa.Function
}

// Load compiles packages of the module that dir is in, by their import paths.
// Files in overlay, by absolute path, stand in for those on disk.
func Load(dir string, overlay map[string][]byte, paths ...string) (*Program, error) {
	const mode = packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
		packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedExportFile
	loaded, err := packages.Load(&packages.Config{Mode: mode, Dir: dir, Overlay: overlay}, paths...)
	if err != nil {
		return nil, fmt.Errorf("load packages: %w", err)
	}
	for _, pkg := range loaded {
		for _, err := range pkg.Errors {
			return nil, fmt.Errorf("load %s: %w", pkg.PkgPath, err)
		}
	}
	prog, pkgs := ssautil.Packages(loaded, ssa.InstantiateGenerics)
	prog.Build()
	p := &Program{prog: prog, pkgs: map[string]*ssa.Package{}, funcs: map[string]*ssa.Function{}}
	for i, pkg := range pkgs {
		if pkg == nil {
			return nil, fmt.Errorf("load %s: no code", loaded[i].PkgPath)
		}
		p.pkgs[pkg.Pkg.Name()] = pkg
	}
	for fn := range ssautil.AllFunctions(prog) {
		p.funcs[fn.RelString(nil)] = fn
	}
	return p, nil
}

// Type is a named type, by the names of its package and its own.
func (p *Program) Type(pkg, name string) (types.Type, error) {
	if pkg := p.pkgs[pkg]; pkg != nil {
		if t := pkg.Type(name); t != nil {
			return t.Type(), nil
		}
	}
	return nil, fmt.Errorf("no type %s.%s", pkg, name)
}

// Func is a function by its name with its package's path. That of an instance
// of a generic function has its type arguments in brackets.
func (p *Program) Func(name string) (*ssa.Function, error) {
	if fn := p.funcs[name]; fn != nil {
		return fn, nil
	}
	return nil, fmt.Errorf("no function %s", name)
}

// Method is a method of a named type or, for pointer, of the pointer to it.
func (p *Program) Method(pkg, recv string, pointer bool, name string) (*ssa.Function, error) {
	t, err := p.Type(pkg, recv)
	if err != nil {
		return nil, err
	}
	if pointer {
		t = types.NewPointer(t)
	}
	if fn := p.prog.LookupMethod(t, p.pkgs[pkg].Pkg, name); fn != nil {
		return fn, nil
	}
	return nil, errors.New("no method " + name + " of " + t.String())
}
