package main

import (
	_ "embed"

	"github.com/urfave/cli/v2"
)

//go:embed completion.bash
var completionBash string

//go:embed completion.zsh
var completionZsh string

//go:embed completion.fish
var completionFish string

func completionCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that makes a shell complete e4kit's command lines",
		ArgsUsage: "bash|zsh|fish",
		Category:  categoryProgram,
		Description: `The scripts complete commands, flags, and paths inside an image after IMAGE:/.

Examples:
  . <(e4kit completion bash)
  e4kit completion zsh >"${fpath[1]}/_e4kit"
  e4kit completion fish >~/.config/fish/completions/e4kit.fish`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, 1); err != nil {
				return err
			}
			script, ok := map[string]string{"bash": completionBash, "zsh": completionZsh, "fish": completionFish}[c.Args().First()]
			if !ok {
				return e.usagef("unknown shell %q: want bash, zsh or fish", c.Args().First())
			}
			_, err := e.writer().WriteString(script)
			return err
		},
	}
}
