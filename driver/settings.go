package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/toml"
)

// settings are those that hold for an object.
type settings struct {
	*toml.Config
	sources  []toml.Source // what they come from, weakest first
	warnings []string
}

// loadSettings reads what holds for the sources in a folder. What is wrong with
// it is an error, and the settings hold what was right all the same.
func (d *driver) loadSettings(own ownOptions, dir string) (settings, error) {
	sources, err := d.settingSources(own, dir)
	config, warnings, wrong := toml.Merge(sources)
	if err == nil {
		err = wrong
	}
	return settings{config, sources, warnings}, because("wrong settings", err)
}

// settingSources are the sources of settings, weakest first: the user's file,
// the nearest k2.toml or the one named, the environment, the command line.
func (d *driver) settingSources(own ownOptions, dir string) (sources []toml.Source, err error) {
	user, wrong := userFile()
	if user.Name != "" {
		sources = append(sources, user)
	}
	variables := toml.Source{Name: "the environment", Pairs: d.env.pairs}
	file, err := d.projectFile(own, dir, append(sources, variables))
	if err == nil {
		err = wrong
	}
	if file.Name != "" {
		sources = append(sources, file)
	}
	if len(d.env.pairs) > 0 {
		sources = append(sources, variables)
	}
	if len(own.pairs) > 0 {
		sources = append(sources, toml.Source{Name: "the command line", Pairs: own.pairs})
	}
	return sources, err
}

// userFile is the user's own file, if there is one within reach: the home may be
// another user's.
func userFile() (toml.Source, error) {
	base, err := os.UserConfigDir()
	if err != nil {
		return toml.Source{}, nil
	}
	user, err := toml.Read(filepath.Join(base, "k2cc", toml.FileName))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR):
		return toml.Source{}, nil
	case err != nil:
		return toml.Source{}, err
	}
	user.User = true
	return user, nil
}

// projectFile is the file that the user names, or else the nearest k2.toml if
// there is one. The others say whether to trust it.
func (d *driver) projectFile(own ownOptions, dir string, others []toml.Source) (toml.Source, error) {
	if own.config == "" {
		own.config = d.env.config
	}
	if own.config != "" {
		return toml.Read(own.config)
	}
	found, ok := toml.Find(dir)
	if !ok {
		found, ok = toml.Find(".") // for what a wrapper has preprocessed elsewhere
	}
	if !ok {
		return toml.Source{}, nil
	}
	file, err := toml.Read(found)
	config, _, _ := toml.Merge(others) // an error is said where all are merged
	file.Found = !config.Trusts(found)
	return file, err
}

// cacheDir is the folder for what outlives a run; empty if there is none.
func (d *driver) cacheDir() string {
	if d.env.cacheDir != "" {
		return d.env.cacheDir
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return homelessDir()
	}
	return filepath.Join(base, "k2cc")
}

// homelessDir is the folder for who has no home, empty if there can be none. It
// is where everybody may make folders: in one of somebody else's, links could
// lead what is written to any of the user's files.
func homelessDir() string {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("k2cc-%d", os.Geteuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return ""
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return ""
	}
	return dir
}
