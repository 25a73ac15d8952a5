package tree

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Devtable is a table of files in the format of makedevs and genext2fs: one
// line for each,
//
//	name type mode uid gid major minor start inc count
//
// with "-" for what does not apply. Names are paths from the root of the
// image; the mode is octal, and -1 leaves the permissions of what is there.
// Owners are numbers, or names in the image's own /etc/passwd and /etc/group.
//
//	f  a regular file, which must be there; F one that may be missing
//	d  a directory, made if it is missing, with those above it
//	r  a directory with all in it, which must be there; modes are not those of
//	   symbolic links
//	c, b, p, s  a character or block device, a fifo, a socket
//
// With a count the name is that of so many nodes: it is followed by the
// numbers from start on, and each has a minor number that is larger by inc.
// What is there of that name and is no directory is replaced, but for files
// and directories, whose content stays. Empty lines and those that begin with
// "#" do not count.
type Devtable struct {
	file  string
	lines []devLine
}

type devLine struct {
	number       int
	path         []string
	kind         byte
	mode         int32 // -1: as it is
	user, group  string
	major, minor uint32
	start, inc   uint32
	count        uint32
}

// Bounds of a table.
const (
	maxDevLines = 1 << 20
	maxDevCount = 1 << 20 // nodes of one line
	maxDevLine  = 1 << 16 // bytes
)

// ParseDevtable reads a table; name is for messages. Errors are *LineError
// and those of r.
func ParseDevtable(name string, r io.Reader) (*Devtable, error) {
	d := &Devtable{file: name}
	err := eachLine(name, r, maxDevLines, func(number int, text string) error {
		l, err := parseDevLine(text)
		l.number = number
		d.lines = append(d.lines, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// eachLine calls f for the lines of a text that are neither empty nor
// comments, and says where it failed.
func eachLine(name string, r io.Reader, most int, f func(number int, text string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxDevLine)
	number := 0
	for s.Scan() {
		number++
		text := strings.TrimSpace(s.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		err := error(nil)
		if number > most {
			err = fmt.Errorf("more than %d lines: %w", most, ErrTooMany)
		} else {
			err = f(number, text)
		}
		if err != nil {
			return &LineError{File: name, Line: number, Err: err}
		}
	}
	if err := s.Err(); err != nil {
		return &LineError{File: name, Line: number + 1, Err: err}
	}
	return nil
}

func parseDevLine(text string) (devLine, error) {
	fields := strings.Fields(text)
	if len(fields) > 10 || len(fields) < 5 {
		return devLine{}, fmt.Errorf("%d fields, not name type mode uid gid major minor start inc count: %w", len(fields), ErrSyntax)
	}
	for len(fields) < 10 {
		fields = append(fields, "-")
	}
	l := devLine{user: fields[3], group: fields[4]}
	var err error
	if l.path, err = devPath(fields[0]); err != nil {
		return l, err
	}
	if len(fields[1]) != 1 || !strings.Contains("fFdrcbps", fields[1]) {
		return l, fmt.Errorf("type %q is not one of f F d r c b p s: %w", fields[1], ErrSyntax)
	}
	l.kind = fields[1][0]
	if l.mode, err = devMode(fields[2], l.existing()); err != nil {
		return l, err
	}
	for i, to := range []*uint32{&l.major, &l.minor, &l.start, &l.inc, &l.count} {
		if *to, err = devNumber(fields[5+i]); err != nil {
			return l, err
		}
	}
	return l, l.check()
}

// existing reports whether the line is of a file that may be there and keeps
// what it holds.
func (l *devLine) existing() bool { return strings.IndexByte("fFdr", l.kind) >= 0 }

func (l *devLine) check() error {
	for _, owner := range []string{l.user, l.group} {
		if owner == "-" {
			return fmt.Errorf("no owner: %w", ErrSyntax)
		}
	}
	switch {
	case l.count > maxDevCount:
		return fmt.Errorf("count %d: %w", l.count, errRange)
	case l.count > 0 && l.existing():
		return fmt.Errorf("type %c with a count: %w", l.kind, ErrSyntax)
	case len(l.path) == 0 && l.kind != 'd' && l.kind != 'r':
		return fmt.Errorf("the root is a directory: %w", ErrSyntax)
	// Numbers of devices are those that Linux has: 12 and 20 bits.
	case l.major >= 1<<12 || uint64(l.minor)+uint64(l.inc)*uint64(max(l.count, 1)-1) >= 1<<20:
		return fmt.Errorf("device number: %w", errRange)
	case l.start > maxID-maxDevCount:
		return fmt.Errorf("start %d: %w", l.start, errRange)
	}
	return nil
}

func devPath(text string) ([]string, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("%q does not begin with a slash: %w", text, ErrSyntax)
	}
	var path []string
	for name := range strings.SplitSeq(text, "/") {
		if name == "" || name == "." {
			continue
		}
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		path = append(path, name)
	}
	if len(path) > maxDepth {
		return nil, fmt.Errorf("%d directories: %w", len(path), ErrTooMany)
	}
	return path, nil
}

func devMode(text string, existing bool) (int32, error) {
	if existing && (text == "-1" || text == "-") {
		return -1, nil
	}
	v, err := strconv.ParseUint(text, 8, 16)
	if err != nil || v > 0o7777 {
		return 0, fmt.Errorf("mode %q is not octal: %w", text, ErrSyntax)
	}
	return int32(v), nil
}

func devNumber(text string) (uint32, error) {
	if text == "-" {
		return 0, nil
	}
	return parseID(text)
}

// Apply makes and changes what the table says. Errors are *LineError.
func (d *Devtable) Apply(ctx context.Context, t *Tree, o *Options) error {
	a := &devApply{t: t, o: o}
	for i := range d.lines {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.line(ctx, &d.lines[i]); err != nil {
			return &LineError{File: d.file, Line: d.lines[i].number, Err: err}
		}
	}
	return nil
}

// devApply is a table on its way into a tree.
type devApply struct {
	t             *Tree
	o             *Options
	users, groups map[string]uint32
}

func (a *devApply) line(ctx context.Context, l *devLine) error {
	uid, err := a.id(ctx, l.user, "/etc/passwd", &a.users)
	if err != nil {
		return err
	}
	gid, err := a.id(ctx, l.group, "/etc/group", &a.groups)
	if err != nil {
		return err
	}
	if l.existing() {
		return a.existing(ctx, l, uid, gid)
	}
	dir, err := a.dirs(l.path[:len(l.path)-1])
	if err != nil {
		return err
	}
	base := l.path[len(l.path)-1]
	n := a.o.made(devTypes[l.kind] | uint16(l.mode))
	n.UID, n.GID, n.Major, n.Minor = uid, gid, l.major, l.minor
	if l.count == 0 {
		return a.node(dir, base, n)
	}
	for i := range l.count {
		n.Minor = l.minor + i*l.inc
		if err := a.node(dir, base+strconv.FormatUint(uint64(l.start+i), 10), n); err != nil {
			return err
		}
	}
	return nil
}

var devTypes = map[byte]uint16{'c': disk.ModeChar, 'b': disk.ModeBlock, 'p': disk.ModeFIFO, 's': disk.ModeSocket}

// node makes a node, in place of what is there.
func (a *devApply) node(dir ID, name string, n Node) error {
	if old, ok := a.t.Lookup(dir, name); ok {
		if a.t.Node(old).IsDir() {
			return pathError("make", a.t.join(dir, name), ErrIsDir)
		}
		if err := a.t.Remove(dir, name); err != nil {
			return err
		}
	}
	if _, err := a.t.Add(dir, name, n); err != nil {
		return pathError("make", a.t.join(dir, name), err)
	}
	return nil
}

// existing changes files that keep what they hold.
func (a *devApply) existing(ctx context.Context, l *devLine, uid, gid uint32) error {
	path := "/" + strings.Join(l.path, "/")
	if l.kind == 'd' {
		id, err := a.dirs(l.path)
		if err == nil {
			a.attrs(id, l, uid, gid)
		}
		return err
	}
	id, ok := a.t.LookupPath(path)
	switch {
	case !ok && l.kind == 'F':
		return nil
	case !ok:
		return pathError("change", path, ErrNotExist)
	case l.kind == 'r':
		return a.recursive(ctx, id, path, l, uid, gid)
	case !a.t.Node(id).IsRegular():
		return pathError("change", path, fmt.Errorf("not a regular file: %w", ErrType))
	}
	a.attrs(id, l, uid, gid)
	return nil
}

func (a *devApply) recursive(ctx context.Context, id ID, path string, l *devLine, uid, gid uint32) error {
	if !a.t.Node(id).IsDir() {
		return pathError("change", path, ErrNotDir)
	}
	for todo := []ID{id}; len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, todo = todo[len(todo)-1], todo[:len(todo)-1]
		a.attrs(id, l, uid, gid)
		for _, e := range a.t.Entries(id) {
			todo = append(todo, e.ID)
		}
	}
	return nil
}

// attrs changes owner and permissions.
func (a *devApply) attrs(id ID, l *devLine, uid, gid uint32) {
	n := a.t.Node(id)
	n.UID, n.GID = uid, gid
	if l.mode >= 0 && !n.IsSymlink() {
		n.Mode = n.Type() | uint16(l.mode)
		a.t.SetXattrs(id, ChmodACL(a.t.Xattrs(id), n.Mode))
	}
}

// dirs finds a directory, or makes it and those above it.
func (a *devApply) dirs(path []string) (ID, error) {
	id := Root
	for i, name := range path {
		next, ok := a.t.Lookup(id, name)
		if !ok {
			var err error
			if next, err = a.t.Add(id, name, a.o.made(disk.ModeDir|0o755)); err != nil {
				return 0, pathError("make", a.t.join(id, name), err)
			}
		} else if !a.t.Node(next).IsDir() {
			return 0, pathError("make", "/"+strings.Join(path[:i+1], "/"), ErrNotDir)
		}
		id = next
	}
	return id, nil
}

// id reads an owner: a number, or a name of the image's own lists.
func (a *devApply) id(ctx context.Context, text, list string, known *map[string]uint32) (uint32, error) {
	if text[0] >= '0' && text[0] <= '9' {
		return parseID(text)
	}
	if *known == nil {
		m, err := a.names(ctx, list)
		if err != nil {
			return 0, err
		}
		*known = m
	}
	id, ok := (*known)[text]
	if !ok {
		return 0, fmt.Errorf("%q is neither a number nor a name in the image's %s: %w", text, list, ErrSyntax)
	}
	return id, nil
}

// names reads the names and numbers of a passwd or group file.
func (a *devApply) names(ctx context.Context, path string) (map[string]uint32, error) {
	const most = 16 << 20
	m := make(map[string]uint32)
	id, ok := a.t.LookupPath(path)
	if !ok || !a.t.Node(id).IsRegular() {
		return m, nil
	}
	b, err := a.t.ReadFile(ctx, id, most)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 4)
		if len(f) < 3 {
			continue
		}
		if id, err := parseID(f[2]); err == nil {
			if _, ok := m[f[0]]; !ok {
				m[f[0]] = id
			}
		}
	}
	return m, nil
}
