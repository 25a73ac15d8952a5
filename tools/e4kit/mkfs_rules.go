package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	imgtree "github.com/e4kit/e4kit/ext4fs/tree"
)

// mkfsRules are what becomes of the sources on their way into the image.
type mkfsRules = imgtree.Options

// mkfsRuleFlags reads the flags about content. Files of rules are read here
// too: a mistake in one is found before anything else happens.
func (e *env) mkfsRuleFlags(c *cli.Context, o *mkfsOptions) error {
	r := &o.rules
	r.Include, r.Exclude = c.StringSlice("include"), c.StringSlice("exclude")
	for _, glob := range append(append([]string(nil), r.Include...), r.Exclude...) {
		if _, err := imgtree.ParseGlob(glob); err != nil {
			return e.usagef("%v", err)
		}
	}
	r.NoXattrs, r.OneFS, r.Platform = c.Bool("no-xattrs"), c.Bool("one-file-system"), c.String("platform")
	r.KeepDirSymlinks = c.Bool("keep-directory-symlink")
	if parts := strings.Split(r.Platform, "/"); c.IsSet("platform") &&
		(len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "")) {
		return e.usagef("--platform %s: want OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64", r.Platform)
	}
	if err := e.mkfsOwnerFlags(c, r); err != nil {
		return err
	}
	if text := c.String("chmod"); c.IsSet("chmod") {
		m, err := parseModeChange(text)
		if err != nil {
			return e.usagef("--chmod: %v", err)
		}
		r.Chmod = m.apply
	}
	if len(o.from) == 0 && !c.IsSet("devtable") && !c.IsSet("selinux") {
		for _, name := range []string{"include", "exclude", "owner", "uid-map", "gid-map", "chmod", "no-xattrs"} {
			if c.IsSet(name) {
				return e.usagef("--%s goes with --from", name)
			}
		}
	}
	for _, name := range c.StringSlice("devtable") {
		if err := readRules(name, func(f *os.File) error {
			d, err := imgtree.ParseDevtable(name, f)
			r.Devtables = append(r.Devtables, d)
			return err
		}); err != nil {
			return err
		}
	}
	if name := c.String("selinux"); name != "" {
		return readRules(name, func(f *os.File) (err error) {
			r.SELinux, err = imgtree.ParseFileContexts(name, f)
			return err
		})
	}
	return nil
}

// mkfsOwnerFlags reads the flags about owners.
func (e *env) mkfsOwnerFlags(c *cli.Context, r *mkfsRules) (err error) {
	if c.IsSet("owner") {
		if r.SetOwner, err = imgtree.ParseOwner(c.String("owner")); err != nil {
			return e.usagef("--owner: %v", err)
		}
	}
	for _, m := range []struct {
		flag string
		to   *imgtree.IDMap
	}{{"uid-map", &r.UIDMap}, {"gid-map", &r.GIDMap}} {
		if !c.IsSet(m.flag) {
			continue
		}
		if *m.to, err = imgtree.ParseIDMap(strings.Join(c.StringSlice(m.flag), ",")); err != nil {
			return e.usagef("--%s: %v", m.flag, err)
		}
	}
	return nil
}

// readRules opens a file of rules for f.
func readRules(name string, f func(*os.File) error) error {
	file, err := os.Open(name)
	if err != nil {
		return hostError(err)
	}
	defer file.Close()
	return f(file)
}

// source finds what a --from names.
func (e *env) source(arg string) (imgtree.Source, error) {
	if arg == "" || arg == "oci:" || arg == "docker-archive:" {
		return nil, e.usagef("--from %q: names no source", arg)
	}
	if rest, ok := strings.CutPrefix(arg, "oci:"); ok {
		return imgtree.OCI(cutTag(rest)), nil
	}
	if rest, ok := strings.CutPrefix(arg, "docker-archive:"); ok {
		return imgtree.Docker(cutTag(rest)), nil
	}
	if arg == "-" {
		return imgtree.TarReader(e.stdin), nil
	}
	info, err := os.Stat(arg)
	if err != nil {
		return nil, hostError(err)
	}
	if info.IsDir() {
		return imgtree.Dir(arg), nil
	}
	return imgtree.Tar(arg), nil
}

// cutTag takes a tag off the path of a layout or archive. Both may have colons:
// the longest part that is there is the path, and if none is, all before the
// last colon.
func cutTag(arg string) (path, tag string) {
	for end := len(arg); end > 0; end = strings.LastIndexByte(arg[:end], ':') {
		if _, err := os.Stat(arg[:end]); err == nil {
			return arg[:end], strings.TrimPrefix(arg[end:], ":")
		}
	}
	i := strings.LastIndexByte(arg, ':')
	if i < 0 || strings.ContainsAny(arg[i:], `/\`) {
		return arg, ""
	}
	return arg[:i], arg[i+1:]
}

// loadTree reads the sources. It is nil where there are none.
func (e *env) loadTree(t *mkfsTarget, o *mkfsOptions) (*imgtree.Tree, error) {
	r := o.rules
	if len(o.from) == 0 && len(r.Devtables) == 0 && r.SELinux == nil {
		return nil, nil
	}
	var sources []imgtree.Source
	stdin := 0
	for _, arg := range o.from {
		s, err := e.source(arg)
		if err != nil {
			return nil, err
		}
		if arg == "-" {
			stdin++
		}
		sources = append(sources, s)
	}
	if stdin > 1 {
		return nil, e.usagef("standard input can be one of the sources only")
	}
	if t.info != nil {
		r.Leave = []fs.FileInfo{t.info}
	}
	if !t.device {
		r.TempDir = filepath.Dir(t.name)
	}
	if o.reproducible {
		r.MtimeOnly, r.ContentHoles = true, true
	} else {
		r.Time = imgtree.TimeOf(o.format.Time)
	}
	if o.epoch != nil {
		clamp := imgtree.TimeOf(*o.epoch)
		r.Time, r.ClampTime = clamp, &clamp
	}
	r.Warn = func(path string, err error) { e.note("%s: warning: %v", path, err) }
	if e.wantsProgress() {
		r.Progress = func(p imgtree.ProgressInfo) {
			e.showProgressLocked(progressState{files: p.Files, what: p.Path})
		}
	}
	made, err := imgtree.Load(e.ctx, r, sources...)
	e.endProgress()
	if err != nil {
		return nil, sourceError(err)
	}
	return made, nil
}

// sourceError drops the operation's name from errors about files.
func sourceError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && err == error(pe) {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}
