package driver

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// isSubcommand tells k2cc's own commands from arguments that are clang's.
func isSubcommand(name string) bool {
	return slices.Contains([]string{"bench", "demo", "exec", "help", "opt", "version"}, name)
}

// subcommand runs one of k2cc's own commands.
func (d *driver) subcommand(args []string) int {
	app := &cli.App{
		Name:  "k2cc",
		Usage: "a drop-in C compiler for BPF that makes clang's output smaller and faster",
		UsageText: "k2cc CLANG-OPTIONS… [--k2-report] [--k2-config=FILE]   compile as clang does\n" +
			"k2cc COMMAND …                                       one of the commands below",
		Version:        version(),
		HideVersion:    true,
		Reader:         d.In,
		Writer:         d.Out,
		ErrWriter:      d.Err,
		ExitErrHandler: func(*cli.Context, error) {}, // Main returns, it doesn't exit
		Commands:       []*cli.Command{d.benchCommand(), d.demoCommand(), d.execCommand(), d.optCommand(), d.versionCommand()},
	}
	if err := app.Run(flagsFirst(app, args)); err != nil {
		if code, ok := err.(cli.ExitCoder); ok {
			if err.Error() != "" {
				d.say("%v", err)
			}
			return code.ExitCode()
		}
		return d.fail("%v", err)
	}
	return 0
}

// flagsFirst moves a command's flags before its other arguments, for the cli
// package looks for flags only there.
func flagsFirst(app *cli.App, args []string) []string {
	command := app.Command(args[1])
	if command == nil {
		return args
	}
	takesValue := map[string]bool{}
	for _, flag := range command.Flags {
		_, isBool := flag.(*cli.BoolFlag)
		for _, name := range flag.Names() {
			takesValue[name] = !isBool
		}
	}
	var flags, others []string
	rest := args[2:]
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			others = append(others, rest[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			others = append(others, arg)
			continue
		}
		flags = append(flags, arg)
		if takesValue[strings.TrimLeft(arg, "-")] && i+1 < len(rest) {
			i++
			flags = append(flags, rest[i])
		}
	}
	return slices.Concat(args[:2], flags, []string{"--"}, others)
}

func (d *driver) optCommand() *cli.Command {
	return &cli.Command{
		Name:      "opt",
		Usage:     "optimise an object that exists already",
		ArgsUsage: "IN.o",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "write the object to `OUT.o`, which may be IN.o", Required: true},
			&cli.StringFlag{Name: "config", Usage: "read settings from `FILE` instead of the nearest k2.toml"},
			&cli.BoolFlag{Name: "report", Usage: "print what was done to standard error"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("opt: want one object, got %d", c.NArg())
			}
			return d.opt(c.Args().First(), c.String("o"), ownOptions{c.String("config"), c.Bool("report")})
		},
	}
}

// opt optimises the object in a file. As when compiling, the user gets the
// input's bytes if that fails.
func (d *driver) opt(in, out string, own ownOptions) error {
	object, err := os.ReadFile(in)
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	info, err := os.Stat(in)
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	found, err := loadSettings(own.config, filepath.Dir(in))
	if err == nil {
		t := task{name: in, in: in, out: out, settings: found, level: int(found.ISA), report: own.report}
		err = d.improveFile(ctx, t)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return cli.Exit("", exitInterrupted)
	case found.Strict:
		return cli.Exit(fmt.Sprintf("%s: %v", in, err), exitStrict)
	}
	if err := replaceFile(out, object, info.Mode()); err != nil {
		return err
	}
	d.say("%s: %v; using the object as it was", in, err)
	return nil
}

func (d *driver) versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintln(c.App.Writer, "k2cc", c.App.Version)
			return err
		},
	}
}

// version is what the Go command recorded about this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
