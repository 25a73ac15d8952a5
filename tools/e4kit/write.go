package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

// changeFlags adds to a verb's flags those of every verb that changes images.
func changeFlags(own ...cli.Flag) []cli.Flag {
	return append(own,
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell what is done"},
		&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, tell what would be done"},
		&cli.BoolFlag{Name: "yes", Usage: "write to a block device too"},
		&cli.BoolFlag{Name: "discard", Usage: "give freed space back to the file or device"},
	)
}

// renameVerbose gives -v of changeFlags another letter, or none, where the
// usual program has another meaning for it.
func renameVerbose(flags []cli.Flag, letter string) []cli.Flag {
	for _, f := range flags {
		if b, ok := f.(*cli.BoolFlag); ok && b.Name == "verbose" {
			b.Aliases = nil
			if letter != "" {
				b.Aliases = []string{letter}
			}
		}
	}
	return flags
}

// willChange says that the verb writes to the images it opens.
func (e *env) willChange(c *cli.Context) error {
	e.writes = true
	e.dry, e.yes, e.tells, e.discard = c.Bool("dry-run"), c.Bool("yes"), c.Bool("verbose"), c.Bool("discard")
	return e.mayWrite()
}

// mayWrite refuses flags that show an image as it must not be written.
func (e *env) mayWrite() error {
	if e.flags.noJournal && !e.dry {
		return e.usagef("--no-journal only shows an image; to write to it the journal is replayed")
	}
	return nil
}

// openWritable opens an image for writing. A signal ends the opening, which may
// take long, but not what follows: once it is open, the image is left clean.
func (e *env) openWritable(name string, o *ext4fs.Options) (*ext4fs.FS, error) {
	if info, err := os.Stat(name); err == nil && info.Mode()&fs.ModeDevice != 0 && !e.yes {
		return nil, errors.New("is a block device, and is written to with --yes only")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.ctx))
	stop := context.AfterFunc(e.ctx, cancel)
	o.Write, o.Context, o.Discard = true, ctx, e.discard
	o.Clock = e.now
	o.Device.Write, o.Device.WriteBehind = true, e.bulk
	boundWriting()
	fsys, err := ext4fs.OpenFile(name, o)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	if !stop() { // the signal came while it was opened
		closing := fsys.Close()
		return nil, errors.Join(e.ctx.Err(), closing)
	}
	return fsys, nil
}

// noteRecovered tells what the opening had to put right.
func (e *env) noteRecovered(img *image) {
	r := newRecovered(img.name, img.fs.Recovered())
	if e.verb == "recover" || !r.Needed && r.OrphansDeleted+r.OrphansTruncated == 0 {
		return
	}
	e.note("%s: %s", img.name, r)
}

// spot is a name in a directory that may not exist yet.
type spot struct {
	img   *image
	dir   *ext4fs.Inode
	name  string
	path  string // as the user would write it
	slash bool   // a slash follows: a directory is meant
}

func (s *spot) String() string { return s.img.name + ":" + s.path }

// spots finds the places that an argument names. Globs count in the
// directories; in the name only if something matches.
func (e *env) spots(arg string) ([]*spot, error) {
	t, err := parseTarget(arg)
	if err != nil {
		return nil, e.usagef("%v", err)
	}
	if !t.given {
		return nil, e.usagef("%q names no path in an image", arg)
	}
	dir, name := splitLast(t.path)
	slash := name != "" && len(t.path) > len(dir)+len(name)
	if hasGlob(name) && !e.flags.noGlob {
		list, err := e.resolve(t, noFollowLast)
		if err == nil {
			return e.spotsOf(list, slash)
		}
		var usage *usageError
		if errors.As(err, &usage) {
			return nil, err
		}
	}
	if !e.flags.noGlob {
		name = unescapeGlob(name)
	}
	if name == "" || name == "." || name == ".." {
		n, err := e.resolveOne(arg, followLast)
		if err != nil {
			return nil, err
		}
		return []*spot{{img: n.img, dir: n.inode, name: ".", path: n.path, slash: true}}, nil
	}
	t.path = dir
	above, err := e.resolve(t, followLast)
	if err != nil {
		return nil, err
	}
	var list []*spot
	for _, n := range above {
		s := &spot{img: n.img, dir: n.inode, name: name, path: joinPath(n.path, name), slash: slash}
		if !n.inode.IsDir() {
			return nil, at(s.img.name, s.path, ext4fs.ErrNotDir)
		}
		list = append(list, s)
	}
	return list, nil
}

// oneSpot is spots for an argument that must name one place.
func (e *env) oneSpot(arg string) (*spot, error) {
	list, err := e.spots(arg)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%s matches %d files, and one is wanted", arg, len(list))
	}
	return list[0], nil
}

// spotsOf finds the names of files.
func (e *env) spotsOf(nodes []*node, slash bool) ([]*spot, error) {
	var list []*spot
	for _, n := range nodes {
		s, err := e.spotOf(n)
		if err != nil {
			return nil, err
		}
		s.slash = slash
		list = append(list, s)
	}
	return list, nil
}

// spotOf finds the name that a file was named by.
func (e *env) spotOf(n *node) (*spot, error) {
	dir, name := splitLast(n.path)
	s := &spot{img: n.img, name: name, path: n.path}
	if name == "" || name == "." || name == ".." {
		s.dir, s.name = n.inode, "."
		return s, nil
	}
	if n.path[0] == '<' {
		if dir == "" {
			return nil, at(n.img.name, n.path, errors.New("an inode number is not a name"))
		}
		t, err := parseTarget(n.img.name + ":" + dir)
		if err != nil {
			return nil, err
		}
		list, err := e.resolveInode(n.img, t, followLast)
		if err != nil {
			return nil, err
		}
		s.dir = list[0].inode
		return s, nil
	}
	inode, err := n.img.fs.Lookup(dir)
	if err != nil {
		return nil, at(n.img.name, n.path, err)
	}
	s.dir = inode
	return s, nil
}

// splitLast takes the last element off a path; slashes after it do not count.
// The directory keeps its slash.
func splitLast(path string) (dir, name string) {
	end := len(path)
	for end > 0 && path[end-1] == '/' {
		end--
	}
	start := end
	for start > 0 && path[start-1] != '/' {
		start--
	}
	if start == 0 && end > 0 && path[0] == '<' {
		return "", path[:end]
	}
	return path[:start], path[start:end]
}

// inode is what has the name; nil and no error where nothing has.
func (s *spot) inode() (*ext4fs.Inode, error) {
	if s.name == "." {
		return s.dir, nil
	}
	num, err := s.dir.Lookup(s.name)
	if errors.Is(err, ext4fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.img.fs.Inode(num)
}

// changeRecord is one change in JSON.
type changeRecord struct {
	Image string `json:"image"`
	jsonPath
	Change string `json:"change"`
}

// change makes one change and reports what became of it. In a dry run it only
// tells. Errors that make going on senseless are returned.
func (e *env) change(img *image, path string, make func() error, format string, args ...any) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if !e.dry {
		if err := make(); err != nil {
			return e.failChange(img, path, err)
		}
	}
	e.did()
	return e.tellChange(img, path, format, args...)
}

// doneSoFar says what an interrupted verb that changes images has done.
func (e *env) doneSoFar() string {
	if !e.writes || e.dry {
		return ""
	}
	return fmt.Sprintf(" after %s, all of them complete", counted(e.failed.done, "change"))
}

// failChange reports an error, and returns one when nothing more can be
// written.
func (e *env) failChange(img *image, path string, err error) error {
	e.fail(at(img.name, path, err))
	switch {
	case e.ctx.Err() != nil:
		return e.ctx.Err()
	case !e.dry && !img.fs.Writable():
		return statusError(e.failed.status())
	}
	return nil
}

// tellChange tells of a change, when somebody wants to know.
func (e *env) tellChange(img *image, path, format string, args ...any) error {
	if !e.tells && !e.dry {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.json {
		return e.writeJSON(changeRecord{img.name, newJSONPath(path), what})
	}
	name := e.shown(img.name)
	if path != "" {
		name += ":" + e.shown(path)
	}
	if _, err := fmt.Fprintf(e.writer(), "%s: %s\n", name, e.shown(what)); err != nil {
		return err
	}
	return e.endLine()
}
