package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
)

// extractFlags are those of tar -x.
func extractFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "extract", Aliases: []string{"x"}, Usage: "write the members of an archive into an image"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "-x: the archive is `FILE` (default standard input)"},
		&cli.IntFlag{Name: "strip-components", Usage: "-x: take `N` elements off the names of members"},
		&cli.StringSliceFlag{Name: "exclude", Usage: "-x: leave out members that match `PATTERN`"},
		&cli.BoolFlag{Name: "keep-old-files", Aliases: []string{"k"}, Usage: "-x: existing files are errors"},
		&cli.BoolFlag{Name: "skip-old-files", Usage: "-x: leave existing files alone"},
		&cli.BoolFlag{Name: "keep-directory-symlink", Usage: "-x: a directory goes where a symbolic link to one leads"},
		&cli.BoolFlag{Name: "no-same-owner", Usage: "-x: all belongs to 0:0"},
		&cli.BoolFlag{Name: "no-same-permissions", Usage: "-x: permissions less 022, no set-id bits"},
		&cli.BoolFlag{Name: "touch", Aliases: []string{"m"}, Usage: "-x: the times are now"},
		&cli.StringFlag{Name: "owner", Usage: "-x: all belongs to `USER:GROUP`, names being the image's"},
		&cli.StringFlag{Name: "chmod", Usage: "-x: change permissions by `MODE`, as chmod has it"},
		&cli.BoolFlag{Name: "dry-run", Usage: "-x: change nothing, tell what would be done"},
		&cli.BoolFlag{Name: "yes", Usage: "-x: write to a block device too"},
		&cli.BoolFlag{Name: "discard", Usage: "-x: give freed space back to the file or device"},
	}
}

// runExtract is tar -x: the first argument is the target, the others choose
// members.
func (e *env) runExtract(c *cli.Context) error {
	if err := wantArgs(c, e, 1, -1); err != nil {
		return err
	}
	if err := e.willChange(c); err != nil {
		return err
	}
	for _, f := range []string{"output", "prefix", "no-sparse"} {
		if c.IsSet(f) {
			return e.usagef("--%s does not go with -x", f)
		}
	}
	if c.Int("strip-components") < 0 {
		return e.usagef("--strip-components: want a number from 0 on")
	}
	e.bulk = true
	top, err := e.resolveOne(c.Args().First(), followLast)
	if err != nil {
		return err
	}
	if !top.inode.IsDir() {
		return at(top.img.name, top.path, ext4fs.ErrNotDir)
	}
	o, err := e.untarOptions(c, top.img)
	if err != nil {
		return err
	}
	in := e.stdin
	if name := c.String("file"); name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return hostError(err)
		}
		defer f.Close()
		in = f
	}
	sum, err := inject.Untar(e.ctx, in, inject.Place{Dir: top.inode, Path: top.path}, o)
	e.endProgress()
	return e.injected(top.img, sum, err)
}

func (e *env) untarOptions(c *cli.Context, img *image) (inject.TarOptions, error) {
	o := inject.TarOptions{Strip: c.Int("strip-components"), KeepDirLinks: c.Bool("keep-directory-symlink"), IDs: e.accountIDs(img)}
	o.Mode, o.Owner, o.Times = !c.Bool("no-same-permissions"), !c.Bool("no-same-owner"), !c.Bool("touch")
	o.Xattrs, o.ACLs, o.Devices = !c.Bool("no-xattrs"), !c.Bool("no-xattrs"), true
	o.DryRun = e.dry
	switch {
	case c.Bool("keep-old-files"):
		o.Existing = inject.Fail
	case c.Bool("skip-old-files"):
		o.Existing = inject.Skip
	}
	r := &injection{e: e, o: &cpOptions{}, land: &landing{img: img}}
	r.callbacks(&o.Options)
	o.Done = nil
	if e.tells || e.dry {
		list := io.Writer(e.writer())
		o.Done = func(name, _ string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.json {
				e.writeJSON(changeRecord{img.name, newJSONPath(name), "extracted"})
				return
			}
			fmt.Fprintln(list, e.shown(name))
			e.endLine()
		}
	}
	if err := e.override(&o.Options, img, c.String("owner"), c.String("chmod")); err != nil {
		return o, err
	}
	wanted, unwanted := c.Args().Slice()[1:], c.StringSlice("exclude")
	for _, p := range append(append([]string(nil), wanted...), unwanted...) {
		if _, err := path.Match(p, ""); err != nil {
			return o, e.usagef("bad pattern %q", p)
		}
	}
	if len(wanted)+len(unwanted) > 0 {
		o.Match = func(name string) bool { return memberMatches(name, wanted, unwanted) }
	}
	return o, nil
}

// memberMatches chooses members: a pattern counts for what is below too.
func memberMatches(name string, wanted, unwanted []string) bool {
	name = strings.Trim(strings.TrimPrefix(name, "./"), "/")
	has := func(patterns []string, anywhere bool) bool {
		for _, p := range patterns {
			p = strings.Trim(strings.TrimPrefix(p, "./"), "/")
			for at := name; at != "." && at != "/"; at = path.Dir(at) {
				if ok, _ := path.Match(p, at); ok {
					return true
				}
				if ok, _ := path.Match(p, path.Base(at)); ok && anywhere {
					return true
				}
			}
		}
		return false
	}
	if has(unwanted, true) {
		return false
	}
	return len(wanted) == 0 || has(wanted, false)
}
