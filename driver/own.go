package driver

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/k2cc/k2cc/toml"
)

// ownPrefix is what all of k2cc's options begin with when it stands in for
// clang, and variablePrefix what its environment variables do.
const (
	ownPrefix      = "--k2-"
	variablePrefix = "K2CC_"
)

// ownOptions are k2cc's own options amid clang's, or those of a subcommand.
type ownOptions struct {
	config string // a file of settings instead of those found
	report bool   // print what was done
	pairs  []toml.Pair
}

// parseOwn reads options that begin with ownPrefix.
func parseOwn(options []string) (ownOptions, error) {
	var own ownOptions
	for _, option := range options {
		name, value, hasValue := strings.Cut(option, "=")
		key, isKey := keysBy(optionName)[name]
		switch {
		case name == ownPrefix+"config" && value != "":
			own.config = value
		case option == ownPrefix+"report":
			own.report = true
		case isKey && !hasValue && toml.IsSwitch(key):
			own.pairs = append(own.pairs, toml.Pair{Key: key, Name: name, Value: "true"})
		case isKey && hasValue:
			own.pairs = append(own.pairs, toml.Pair{Key: key, Name: name, Value: value})
		case isKey || name == ownPrefix+"config":
			return own, fmt.Errorf("%s needs a value: %s=…", name, name)
		default:
			return own, fmt.Errorf("unknown option %s (there are %s)", option, strings.Join(optionNames(), ", "))
		}
	}
	return own, nil
}

// optionNames are all of k2cc's options.
func optionNames() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(keysBy(optionName))), ownPrefix+"config", ownPrefix+"report")))
}

func optionName(key string) string { return ownPrefix + strings.ReplaceAll(key, ".", "-") }

func variableName(key string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// keysBy are the keys of settings by the names that a naming gives them.
func keysBy(naming func(key string) string) map[string]string {
	out := map[string]string{}
	for _, key := range toml.Keys() {
		out[naming(key)] = key
	}
	return out
}

// The variables that are no settings of k2.toml. guardVariable is set for the
// compiler that k2cc runs, to the path of that compiler: if k2cc finds it set,
// that compiler was k2cc again.
const (
	disableVariable = variablePrefix + "DISABLE"
	configVariable  = variablePrefix + "CONFIG"
	reportVariable  = variablePrefix + "REPORT"
	trustVariable   = variablePrefix + "TRUST"
	cacheVariable   = variablePrefix + "CACHE_DIR"
	guardVariable   = variablePrefix + "RUNS"
)

// environment is what the environment says.
type environment struct {
	ownOptions
	disable  bool
	cacheDir string
}

// parseEnvironment reads the variables that begin with variablePrefix. An empty
// one is as good as none; one that k2cc does not know is an error, for it is
// probably misspelt.
func parseEnvironment(variables []string) (environment, error) {
	var env environment
	var wrong error // the first
	slices.Sort(variables)
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, variablePrefix) || value == "" {
			continue
		}
		if err := env.set(name, value); wrong == nil {
			wrong = err
		}
	}
	return env, wrong
}

func (e *environment) set(name, value string) (err error) {
	switch name {
	case disableVariable:
		e.disable, err = parseSwitch(name, value)
	case reportVariable:
		e.report, err = parseSwitch(name, value)
	case configVariable:
		e.config = value
	case cacheVariable:
		e.cacheDir = value
	case trustVariable: // a list as in PATH
		value = strings.ReplaceAll(value, ":", ",")
		e.pairs = append(e.pairs, toml.Pair{Key: "trust", Name: name, Value: value})
	case guardVariable, passesVariable:
	default:
		key, ok := keysBy(variableName)[name]
		if !ok {
			return fmt.Errorf("unknown variable %s in the environment (there are %s)", name, strings.Join(variableNames(), ", "))
		}
		e.pairs = append(e.pairs, toml.Pair{Key: key, Name: name, Value: value})
	}
	return err
}

func parseSwitch(name, value string) (bool, error) {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("%s: want 1 or 0, got %q", name, value)
	}
	return on, nil
}

// variableNames are all variables that k2cc reads.
func variableNames() []string {
	names := []string{disableVariable, configVariable, reportVariable, trustVariable, cacheVariable}
	return slices.Sorted(slices.Values(append(names, slices.Collect(maps.Keys(keysBy(variableName)))...)))
}
