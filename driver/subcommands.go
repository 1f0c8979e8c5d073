package driver

import (
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// isSubcommand tells k2cc's own commands from arguments that are clang's.
func isSubcommand(name string) bool {
	return name == "help" || (&driver{}).app().Command(name) != nil
}

// app is what k2cc is beside a compiler.
func (d *driver) app() *cli.App {
	return &cli.App{
		Name:           "k2cc",
		Usage:          "a drop-in C compiler for BPF that makes clang's output smaller and faster",
		UsageText:      "k2cc CLANG-OPTIONS… [--k2-…]   compile as clang does\n" + "k2cc COMMAND …                one of the commands below",
		Description:    description(),
		Version:        version(),
		HideVersion:    true,
		Reader:         d.In,
		Writer:         d.Out,
		ErrWriter:      d.Err,
		ExitErrHandler: func(*cli.Context, error) {}, // Main returns, it doesn't exit
		Commands: plain([]*cli.Command{
			d.benchCommand(), d.completionCommand(), d.configCommand(), d.demoCommand(),
			d.execCommand(), d.learnCommand(), d.lintCommand(), d.manCommand(),
			d.optCommand(), d.statsCommand(), d.versionCommand(),
		}),
	}
}

// description is what there is to know about k2cc as a compiler.
func description() string {
	return "In clang's place, k2cc takes these options beside clang's: " + strings.Join(optionNames(), ", ") +
		". Each but --k2-config=FILE and --k2-report sets the key of k2.toml that it is named for.\n\n" +
		"In the environment it reads " + strings.Join(variableNames(), ", ") +
		". An option holds over a variable, that over the nearest k2.toml, and that over k2cc/k2.toml in the user's configuration folder.\n\n" +
		"Exit codes are clang's, and 101 where strict is set and an object could not be optimised, 102 where options or variables of k2cc's are wrong, " +
		"126 and 127 where clang can't be run or found. Where clang is ended by a signal, so is k2cc."
}

// subcommand runs one of k2cc's own commands.
func (d *driver) subcommand(args []string) int {
	if d.wrongEnvironment != nil {
		return d.misuse("%v", d.wrongEnvironment)
	}
	out := &checkedWriter{Writer: d.Out}
	d.Out = out
	app := d.app()
	err := app.Run(flagsFirst(app, args))
	if err == nil && out.err != nil {
		err = fmt.Errorf("write to standard output: %w", withoutPath(out.err))
	}
	if err != nil {
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

// checkedWriter keeps the first error of writing, which packages that print
// tables and help do not return.
type checkedWriter struct {
	io.Writer
	err error
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// plain makes a command's wrong use an error like others, instead of help on
// standard output.
func plain(commands []*cli.Command) []*cli.Command {
	for _, command := range commands {
		command.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
			return fmt.Errorf("%s: %w", command.Name, err)
		}
	}
	return commands
}

// noArguments wants there to be no arguments but flags.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("%s: want no arguments, got %q", c.Command.Name, c.Args().First())
	}
	return nil
}

// The flags that several commands have.
func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of a table"} }

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "read settings from `FILE` instead of the nearest k2.toml"}
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
		if takesValue[strings.TrimLeft(arg, "-")] {
			if i++; i == len(rest) {
				return []string{args[0], args[1], arg} // nothing else may be taken for its value
			}
			flags = append(flags, rest[i])
		}
	}
	return slices.Concat(args[:2], flags, []string{"--"}, others)
}

func (d *driver) versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version",
		Before: noArguments,
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

// manCommand prints the man page; packages and make install put it in its place.
func (d *driver) manCommand() *cli.Command {
	return &cli.Command{
		Name:   "man",
		Usage:  "print the man page",
		Before: noArguments,
		Action: func(c *cli.Context) error {
			page, err := c.App.ToManWithSection(1)
			if err != nil {
				return fmt.Errorf("make man page: %w", err)
			}
			_, err = fmt.Fprint(c.App.Writer, page)
			return err
		},
	}
}
