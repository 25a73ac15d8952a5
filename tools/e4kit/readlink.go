package main

import "github.com/urfave/cli/v2"

func readlinkCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "readlink",
		Usage:     "print where symbolic links lead",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryLook,
		Description: `Prints the target of each symbolic link, as it is stored.

Examples:
  e4kit readlink disk.img:/bin/sh
  e4kit readlink -z 'disk.img:/etc/rc*.d/*' | xargs -0 basename -a`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "zero", Aliases: []string{"z"}, Usage: "end each target with a NUL, not a newline"},
			&cli.BoolFlag{Name: "no-newline", Aliases: []string{"n"}, Usage: "no newline after the last target"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runReadlink(e, c.Args().Slice(), c.Bool("zero"), c.Bool("no-newline"))
		},
	}
}

// linkRecord is a link in JSON.
type linkRecord struct {
	Image string `json:"image"`
	jsonPath
	jsonTarget
}

func runReadlink(e *env, args []string, zero, noNewline bool) error {
	nodes, err := e.resolveAll(args, noFollowLast)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		target, err := n.inode.Readlink()
		if err != nil {
			e.failAt(n, err)
			continue
		}
		e.did()
		if e.json {
			if err := e.writeJSON(linkRecord{n.img.name, newJSONPath(n.path), newJSONTarget(target)}); err != nil {
				return err
			}
			continue
		}
		w := e.writer()
		end := "\n"
		switch {
		case zero:
			end = "\x00"
		case noNewline && i+1 == len(nodes):
			end = ""
		}
		if !zero {
			target = e.shown(target)
		}
		if _, err := w.WriteString(target + end); err != nil {
			return err
		}
	}
	return nil
}
