package driver

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts complete clang's options by asking clang (--autocomplete), k2cc's
// by the lists that stand in their places here.
var (
	//go:embed completion/bash
	bashCompletion string
	//go:embed completion/zsh
	zshCompletion string
	//go:embed completion/fish
	fishCompletion string
)

func (d *driver) completionCommand() *cli.Command {
	scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes command lines in bash, zsh or fish",
		ArgsUsage: "SHELL",
		Action: func(c *cli.Context) error {
			script, ok := scripts[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return fmt.Errorf("completion: want bash, zsh or fish")
			}
			_, err := fmt.Fprint(d.Out, fill(script, c.App))
			return err
		},
	}
}

// fill puts the names of commands and options into a script.
func fill(script string, app *cli.App) string {
	var commands []string
	for _, command := range app.Commands {
		commands = append(commands, command.Name)
	}
	options := optionNames()
	for i, name := range options {
		if name != ownPrefix+"report" && name != optionName("strict") {
			options[i] += "="
		}
	}
	return strings.NewReplacer("@COMMANDS@", strings.Join(commands, " "), "@OPTIONS@", strings.Join(options, " ")).Replace(script)
}
