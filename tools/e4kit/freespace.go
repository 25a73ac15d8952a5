package main

import (
	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/dump"
)

func freespaceCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "freespace",
		Usage:     "show how the free space is cut up",
		ArgsUsage: "IMAGE...",
		Category:  categoryInside,
		Description: `Counts the runs of free blocks by their length. A run that goes over the border
of a group counts as one.

Examples:
  e4kit freespace disk.img
  e4kit freespace --json disk.img | jq '.max_blocks * .block_size'`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runFreespace(e, c.Args().Slice())
		},
	}
}

func runFreespace(e *env, args []string) error {
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return e.usagef("%v", err)
		}
		img, err := e.open(t.image)
		if err != nil {
			e.fail(err)
			continue
		}
		v, err := dump.New(img.fs).FreeSpace(e.ctx)
		if err != nil {
			return at(img.name, "", err)
		}
		e.did()
		if e.json {
			err = e.writeJSON(v)
		} else {
			err = v.WriteText(e.writer())
		}
		if err != nil {
			return err
		}
		for _, err := range v.Errors() {
			e.fail(at(img.name, "", err))
		}
	}
	return nil
}
