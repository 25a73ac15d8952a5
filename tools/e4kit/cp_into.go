package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/extract"
	"github.com/e4kit/e4kit/ext4fs/inject"
)

// injectOptions are the options of a copy into an image.
func (e *env) injectOptions(o *cpOptions) inject.Options {
	x := &o.engine
	in := inject.Options{
		Mode: x.Mode, Owner: x.Owner, Times: x.Times, Links: x.Links, Xattrs: x.Xattrs, ACLs: x.ACLs,
		Devices: x.Devices, Follow: o.follow, Sparse: inject.Sparse(x.Sparse), DryRun: e.dry,
	}
	switch {
	case x.Existing == extract.Skip:
		in.Existing = inject.Skip
	case o.update:
		in.Existing = inject.Update
	}
	return in
}

// override reads --owner and --chmod for an image.
func (e *env) override(in *inject.Options, img *image, owner, chmod string) error {
	if owner != "" {
		o, err := e.parseOwner(img, owner)
		if err != nil {
			return err
		}
		in.SetOwner = &inject.Owner{UID: o.uid, GID: o.gid}
	}
	if chmod != "" {
		m, err := parseModeChange(chmod)
		if err != nil {
			return e.usagef("--chmod: %v", err)
		}
		in.Chmod = m.apply
	}
	return nil
}

// cpInto copies files of the host, of images or standard input into an image.
func (e *env) cpInto(args []string, dest string, o cpOptions) error {
	e.writes, e.bulk = true, true
	if err := e.mayWrite(); err != nil {
		return err
	}
	l, err := e.land(dest, len(args) > 1, o.targetDir != "", o.noTargetDir)
	if err != nil {
		return err
	}
	e.writes = false // sources are only read
	in := e.injectOptions(&o)
	if err := e.override(&in, l.img, o.owner, o.chmod); err != nil {
		return err
	}
	if l.img.info != nil {
		in.Leave = []fs.FileInfo{l.img.info}
	}
	r := &injection{e: e, o: &o, land: l, taken: make(map[string]bool)}
	r.callbacks(&in)
	r.job = inject.New(l.img.fs, in)
	defer r.close()
	for _, arg := range args {
		if err := r.add(arg); err != nil {
			return err
		}
	}
	sum, err := r.job.Run(e.ctx)
	e.endProgress()
	return e.injected(l.img, sum, err)
}

// injection is a copy into an image.
type injection struct {
	e     *env
	o     *cpOptions
	land  *landing
	job   *inject.Job
	taken map[string]bool // names in the destination directory
	open  []*os.File
}

func (r *injection) close() {
	for _, f := range r.open {
		f.Close()
	}
}

// callbacks has errors and progress told.
func (r *injection) callbacks(in *inject.Options) {
	e, img := r.e, r.land.img
	in.Error = func(path string, err error) { e.fail(fmt.Errorf("%s: %w", path, err)) }
	in.Warn = func(path string, err error) { e.note("%s: warning: %v", path, err) }
	if r.o.verbose || e.dry {
		in.Done = func(path, dest string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.json {
				e.writeJSON(copiedRecord{img.name, newJSONPath(path), newJSONPath(dest)})
				return
			}
			fmt.Fprintf(e.writer(), "'%s' -> '%s:%s'\n", e.shown(path), e.shown(img.name), e.shown(dest))
			e.endLine()
		}
	}
	if e.wantsProgress() {
		in.Progress = func(p inject.ProgressInfo) {
			e.showProgressLocked(progressState{done: p.Bytes, files: p.Files, what: p.Path})
		}
	}
}

// injected tells how a copy into an image ended.
func (e *env) injected(img *image, sum inject.Result, err error) error {
	if sum.Files > 0 || e.failed.count == 0 && err == nil {
		e.did()
	}
	if err != nil {
		what := "the copy stopped"
		if e.ctx.Err() != nil {
			what = "interrupted"
		}
		e.note("%s: %s after %s; what is there is whole, nothing is there in part", img.name, what, counted(sum.Files, "file"))
		if e.ctx.Err() != nil {
			return err
		}
		if e.failed.count == 0 {
			return err
		}
	}
	if e.json {
		return e.writeJSON(cpRecord{sum.Files, sum.Bytes, sum.Failed})
	}
	return nil
}

// add adds one argument.
func (r *injection) add(arg string) error {
	e := r.e
	if arg == "-" {
		to, err := r.place("stdin", false, false)
		if err != nil {
			e.fail(err)
			return nil
		}
		if r.land.dir != nil {
			return e.usagef("standard input needs a name: %s:%s/NAME", r.land.img.name, strings.TrimSuffix(r.land.dir.path, "/"))
		}
		r.job.AddReader(e.stdin, -1, "standard input", to)
		return nil
	}
	t, err := parseTarget(arg)
	if err != nil {
		return e.usagef("%v", err)
	}
	if t.given {
		return r.addImage(arg)
	}
	if err := r.addHost(arg); err != nil {
		e.fail(fmt.Errorf("%s: %w", arg, err))
	}
	return nil
}

var errNoRecursion = errors.New("is a directory, left out without -r")

func (r *injection) addImage(arg string) error {
	e := r.e
	nodes, err := e.resolveAll([]string{arg}, r.o.followsArg())
	if err != nil {
		return err
	}
	if len(nodes) > 1 && r.land.dir == nil {
		return at(r.land.img.name, r.land.spot.path, ext4fs.ErrNotDir)
	}
	for _, n := range nodes {
		if n.inode.IsDir() && !r.o.recursive {
			e.failAt(n, errNoRecursion)
			continue
		}
		name := copyName(n)
		if n.dots && n.inode.IsDir() {
			name = ""
		}
		to, err := r.place(name, n.inode.IsDir(), n.inode.IsSymlink())
		if err != nil {
			e.failAt(n, err)
			continue
		}
		r.job.AddImage(n.inode, n.img.name+":", n.path, to)
	}
	return nil
}

func (r *injection) addHost(arg string) error {
	follow := r.o.followsArg() != noFollowLast
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	info, err := stat(arg)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return err
	}
	if info.IsDir() && !r.o.recursive {
		return errNoRecursion
	}
	name := filepath.Base(arg)
	if last := lastHostElement(arg); info.IsDir() && (last == "." || last == "..") || name == string(filepath.Separator) {
		name = ""
	}
	to, err := r.place(name, info.IsDir(), info.Mode()&fs.ModeSymlink != 0)
	if err != nil {
		return err
	}
	if special := info.Mode()&(fs.ModeNamedPipe|fs.ModeDevice) != 0; special && !r.o.recursive {
		// Its content is meant, as with cp: <(program), /dev/stdin.
		f, err := os.Open(arg)
		if err != nil {
			return hostError(err)
		}
		r.open = append(r.open, f)
		r.job.AddReader(f, -1, arg, to)
		return nil
	}
	r.job.AddHost(arg, follow, to)
	return nil
}

// lastHostElement is the last element of a path as it was given.
func lastHostElement(p string) string {
	p = strings.TrimRight(filepath.ToSlash(p), "/")
	return p[strings.LastIndexByte(p, '/')+1:]
}

// place says where a source goes. An empty name is a directory whose content
// is meant.
func (r *injection) place(name string, isDir, isLink bool) (inject.Place, error) {
	l := r.land
	if l.dir != nil {
		if name == "" {
			return inject.Place{Dir: l.dir.inode, Path: l.dir.path}, nil
		}
		s := l.in(name)
		if r.taken[name] {
			return inject.Place{}, fmt.Errorf("%s: %w", s, inject.ErrTwice)
		}
		r.taken[name] = true
		return inject.Place{Dir: s.dir, Name: s.name, Path: s.path}, nil
	}
	s := l.spot
	switch {
	case l.now != nil && l.now.IsDir() && isDir, s.name == "." && isDir:
		return inject.Place{Dir: l.now, Path: s.path}, nil
	case l.now != nil && l.now.IsDir():
		return inject.Place{}, fmt.Errorf("%s: %w", s, inject.ErrOverwriteDir)
	case s.slash && !isDir:
		return inject.Place{}, fmt.Errorf("%s: %w", s, ext4fs.ErrNotDir)
	case l.now != nil && l.now.IsSymlink() && !isLink && !isDir:
		var err error
		if s, err = r.e.behindLinks(s); err != nil {
			return inject.Place{}, err
		}
	}
	return inject.Place{Dir: s.dir, Name: s.name, Path: s.path}, nil
}

// behindLinks is the place that a symbolic link leads to: DEST is the user's
// own, and is followed.
func (e *env) behindLinks(s *spot) (*spot, error) {
	const most = 40
	start := s
	for range most {
		i, err := s.inode()
		if err == nil && i == nil {
			err = fmt.Errorf("not writing through the dangling symbolic link %s", start)
		}
		if err != nil {
			return nil, err
		}
		if !i.IsSymlink() {
			return s, nil
		}
		target, err := i.Readlink()
		if err != nil {
			return nil, err
		}
		full := target
		if !path.IsAbs(target) {
			dir, _ := splitLast(s.path)
			full = joinPath(dir, target)
		}
		inode, err := s.img.fs.LookupNoFollow(full)
		if errors.Is(err, ext4fs.ErrNotExist) {
			err = fmt.Errorf("not writing through the dangling symbolic link %s", start)
		}
		if err != nil {
			return nil, err
		}
		if s, err = e.spotOf(&node{img: s.img, path: full, inode: inode}); err != nil {
			return nil, err
		}
	}
	return nil, ext4fs.ErrLoop
}
