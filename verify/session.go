package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// hashEntries bounds the size of hash maps while programs are checked: the
// verifier never looks at it, and the real size can be gigabytes. Arrays keep
// theirs, as it decides which constant keys are known to be there.
const hashEntries = 4096

// session is one object with the maps that its programs have needed so far.
type session struct {
	spec     *ebpf.CollectionSpec
	deferred map[string][]ebpf.MapKV // contents that name programs or maps
	maps     map[string]*ebpf.Map
	failed   map[string]error // maps that the kernel refused
	programs map[string]*ebpf.Program
	types    *btf.Cache // of the kernel
}

// open parses an object. Nothing is loaded, nor is the kernel asked, before
// that is needed.
func open(obj []byte, types *btf.Cache) (*session, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj))
	if err != nil {
		return nil, fmt.Errorf("parse object: %w", err)
	}
	s := &session{
		spec:     spec,
		deferred: map[string][]ebpf.MapKV{},
		maps:     map[string]*ebpf.Map{},
		failed:   map[string]error{},
		programs: map[string]*ebpf.Program{},
		types:    types,
	}
	for name, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
		if isHash(m.Type) {
			m.MaxEntries = min(m.MaxEntries, hashEntries)
		}
		size(m)
		if slices.ContainsFunc(m.Contents, namesObject) {
			s.deferred[name], m.Contents = m.Contents, nil
		}
	}
	return s, nil
}

// size gives a map the least size that it can have where the object leaves that
// to whoever loads it: what the verifier accepts of that it accepts of any.
func size(m *ebpf.MapSpec) {
	if m.Type == ebpf.StackTrace && m.ValueSize == 0 {
		m.ValueSize = 8 // one address
	}
	if m.MaxEntries != 0 {
		return
	}
	switch m.Type {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.ProgramArray, ebpf.CGroupArray, ebpf.ArrayOfMaps, ebpf.HashOfMaps,
		ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie, ebpf.StackTrace,
		ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap, ebpf.SockMap, ebpf.SockHash,
		ebpf.ReusePortSockArray, ebpf.Queue, ebpf.Stack:
		m.MaxEntries = 1
	}
}

// thaw makes constant data variable to the verifier.
func (s *session) thaw() {
	for name, m := range s.spec.Maps {
		if strings.HasPrefix(name, ".rodata") {
			m.Flags &^= unix.BPF_F_RDONLY_PROG
		}
	}
}

func isHash(t ebpf.MapType) bool {
	switch t {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash:
		return true
	}
	return false
}

// namesObject tells whether a map's initial value is a program or another map.
func namesObject(kv ebpf.MapKV) bool {
	_, ok := kv.Value.(string)
	return ok
}

// openToLoad is open for a session that loads.
func openToLoad(obj []byte, types *btf.Cache) (*session, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	return open(obj, types)
}

// close unloads everything. Descriptors are all that keeps it in the kernel.
func (s *session) close() error {
	var errs []error
	for _, p := range s.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range s.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// createMap returns the map of that name, created once.
func (s *session) createMap(name string) (*ebpf.Map, error) {
	if m := s.maps[name]; m != nil {
		return m, nil
	}
	if err := s.failed[name]; err != nil {
		return nil, err
	}
	spec := s.spec.Maps[name]
	if spec == nil {
		return nil, fmt.Errorf("map %s is not in the object", name)
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		err = fmt.Errorf("create map %s: %w", name, err)
		s.failed[name] = err
		return nil, err
	}
	s.maps[name] = m
	return m, nil
}

// load loads one program and the maps that it refers to. The session keeps it.
func (s *session) load(name string, opts ebpf.ProgramOptions) (*ebpf.Program, error) {
	if p := s.programs[name]; p != nil {
		return p, nil
	}
	spec := s.spec.Programs[name]
	if spec == nil {
		return nil, fmt.Errorf("program %s is not in the object", name)
	}
	spec = spec.Copy()
	for i := range spec.Instructions {
		in := &spec.Instructions[i]
		if !in.IsLoadFromMap() || in.Reference() == "" {
			continue
		}
		m, err := s.createMap(in.Reference())
		if err != nil {
			return nil, err
		}
		if err := in.AssociateMap(m); err != nil {
			return nil, fmt.Errorf("refer to map %s: %w", in.Reference(), err)
		}
	}
	// A collection of its own is the one way to share decoded kernel types.
	only := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: spec}}
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{Programs: opts, Cache: s.types})
	if err != nil {
		return nil, err
	}
	p := coll.DetachProgram(name)
	coll.Close()
	s.programs[name] = p
	return p, nil
}

// unload closes a program that load returned.
func (s *session) unload(name string) error {
	p := s.programs[name]
	delete(s.programs, name)
	return p.Close()
}

// populate puts programs and maps into the maps that have been created and
// were declared to hold them.
func (s *session) populate() error {
	for name, contents := range s.deferred {
		outer := s.maps[name]
		if outer == nil {
			continue
		}
		for _, kv := range contents {
			if err := s.put(outer, kv); err != nil {
				return fmt.Errorf("fill map %s: %w", name, err)
			}
		}
	}
	return nil
}

func (s *session) put(outer *ebpf.Map, kv ebpf.MapKV) error {
	name, ok := kv.Value.(string)
	if !ok {
		return outer.Put(kv.Key, kv.Value)
	}
	if outer.Type() == ebpf.ProgramArray {
		p, err := s.load(name, ebpf.ProgramOptions{})
		if err != nil {
			return err
		}
		return outer.Put(kv.Key, p)
	}
	m, err := s.createMap(name)
	if err != nil {
		return err
	}
	return outer.Put(kv.Key, m)
}
