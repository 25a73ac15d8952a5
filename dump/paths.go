package dump

import (
	"context"
	"sync"
	"unicode/utf8"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Paths knows a path of inodes: where the walk of the tree met them first. It
// is not changed after it was made, and safe for concurrent use.
type Paths struct {
	// pages by inode number: divided by pathsPerBook and, inside, by
	// pathsPerPage.
	books []*[pagesPerBook]*pathPage
}

// pathsPerPage is how many neighbours share a page: inodes in use mostly lie
// side by side, and a lonely one costs a kilobyte.
const (
	pathsPerPage = 128
	pagesPerBook = 1024
	pathsPerBook = pathsPerPage * pagesPerBook
)

// pathPage is the last names of neighbours on their paths. A name and its
// inode take about 20 bytes together, where a map of strings takes 100.
type pathPage struct {
	at    [pathsPerPage]pathName
	names []byte
}

// pathName is where a name lies in its page; parent is 0 where there is none.
type pathName struct {
	parent disk.InodeNum
	off    uint16
	len    uint8
}

// dirsPerTask is how many directories a worker reads at once.
const dirsPerTask = 16

// Paths walks the tree, level by level from the root, until all of want have
// a name; a nil want is everything. Directories that cannot be read are left
// out: it is a service to readers, not a check. The error is that of ctx.
func (im *Image) Paths(ctx context.Context, want map[disk.InodeNum]bool) (*Paths, error) {
	p := &Paths{}
	if im.fs == nil {
		return p, nil
	}
	p.books = make([]*[pagesPerBook]*pathPage, im.super.Inodes()/pathsPerBook+1)
	missing := len(want)
	if want[disk.RootInode] {
		missing--
	}
	seen := map[disk.InodeNum]bool{disk.RootInode: true}
	level := []disk.InodeNum{disk.RootInode}
	for len(level) > 0 && (want == nil || missing > 0) {
		var next []disk.InodeNum
		work := func(k disk.GroupNum) *dirNames { return im.dirNames(level[k], want) }
		for d, err := range inOrder(ctx, disk.GroupNum(len(level)), dirsPerTask, work) {
			if err != nil {
				return nil, err
			}
			names := d.names
			for _, f := range d.list {
				if p.add(f.inode, d.dir, names[:f.len]) && want[f.inode] {
					missing--
				}
				names = names[f.len:]
				if f.isDir && !seen[f.inode] {
					seen[f.inode] = true
					next = append(next, f.inode)
				}
			}
			dirLists.Put(d)
		}
		level = next
	}
	return p, nil
}

// dirNames is the names in one directory, one after the other.
type dirNames struct {
	dir   disk.InodeNum
	list  []dirName
	names []byte
}

type dirName struct {
	inode disk.InodeNum
	len   uint8
	isDir bool
}

// dirLists keeps the memory of directories for others.
var dirLists = sync.Pool{New: func() any { return new(dirNames) }}

// dirNames reads a directory; of names that are not wanted only those of
// directories.
func (im *Image) dirNames(n disk.InodeNum, want map[disk.InodeNum]bool) *dirNames {
	d := dirLists.Get().(*dirNames)
	d.dir, d.list, d.names = n, d.list[:0], d.names[:0]
	i, err := im.fs.Inode(n)
	if err != nil || !i.IsDir() {
		return d
	}
	typed := im.super.Features.Incompat.Has(disk.IncompatFiletype)
	for e, err := range i.Entries() {
		if err != nil || ext4fs.IsDots(e) || !im.has(e.Inode) || len(e.Name) > 255 {
			continue
		}
		f := dirName{inode: e.Inode, len: uint8(len(e.Name)), isDir: !typed || e.Type == disk.FileTypeDir}
		if f.isDir || want == nil || want[e.Inode] {
			d.list = append(d.list, f)
			d.names = append(d.names, e.Name...)
		}
	}
	return d
}

// add notes the first name of an inode; false if it has one.
func (p *Paths) add(n, parent disk.InodeNum, name []byte) bool {
	book := &p.books[n/pathsPerBook]
	if *book == nil {
		*book = new([pagesPerBook]*pathPage)
	}
	page := &(*book)[n/pathsPerPage%pagesPerBook]
	if *page == nil {
		*page = new(pathPage)
	}
	at := &(*page).at[n%pathsPerPage]
	if at.parent != 0 {
		return false
	}
	*at = pathName{parent, uint16(len((*page).names)), uint8(len(name))}
	(*page).names = append((*page).names, name...)
	return true
}

// name is the last name on the path of n, and the directory it is in, which
// is 0 where there is none.
func (p *Paths) name(n disk.InodeNum) (parent disk.InodeNum, name []byte) {
	if uint64(n/pathsPerBook) >= uint64(len(p.books)) || p.books[n/pathsPerBook] == nil {
		return 0, nil
	}
	page := p.books[n/pathsPerBook][n/pathsPerPage%pagesPerBook]
	if page == nil {
		return 0, nil
	}
	at := page.at[n%pathsPerPage]
	return at.parent, page.names[at.off:][:at.len]
}

// maxPathNames bounds how deep a path may go.
const maxPathNames = 1 << 14

// Of returns the path of an inode, with a leading slash, or "" where there is
// none.
func (p *Paths) Of(n disk.InodeNum) string { return string(p.Append(nil, n)) }

// Append appends the path of an inode; nothing where there is none.
func (p *Paths) Append(b []byte, n disk.InodeNum) []byte {
	if n == disk.RootInode {
		return append(b, '/')
	}
	var few [32][]byte
	list := few[:0]
	for n != disk.RootInode {
		parent, name := p.name(n)
		if parent == 0 || len(list) == maxPathNames {
			return b
		}
		list = append(list, name)
		n = parent
	}
	for i := len(list) - 1; i >= 0; i-- {
		b = append(append(b, '/'), list[i]...)
	}
	return b
}

// PathCursor is Paths for one goroutine that asks for many inodes: neighbours
// are mostly in few directories, whose paths it keeps.
type PathCursor struct {
	paths *Paths
	dirs  [64]cursorDir // by inode number
}

// cursorDir is a directory and its path, with a slash at its end; empty if it
// has none.
type cursorDir struct {
	dir  disk.InodeNum
	path []byte
	json []byte // as the beginning of the members that AppendPathJSON makes; empty if it is no UTF-8
}

// Cursor returns a new cursor.
func (p *Paths) Cursor() *PathCursor { return &PathCursor{paths: p} }

// Append is Paths.Append.
func (c *PathCursor) Append(b []byte, n disk.InodeNum) []byte {
	d, name := c.find(n)
	if d == nil {
		return c.paths.Append(b, n)
	}
	return append(append(b, d.path...), name...)
}

// AppendJSON is AppendPathJSON of the path of n; nothing where there is none.
func (c *PathCursor) AppendJSON(b []byte, n disk.InodeNum) []byte {
	d, name := c.find(n)
	if d == nil || len(d.json) == 0 || !utf8.Valid(name) {
		path := c.paths.Append(nil, n)
		if len(path) == 0 {
			return b
		}
		return AppendPathJSON(b, path)
	}
	return append(appendJSONText(append(b, d.json...), name), '"')
}

// find returns the directory that n is in and its name there; nil for the
// root and for what has no path.
func (c *PathCursor) find(n disk.InodeNum) (*cursorDir, []byte) {
	parent, name := c.paths.name(n)
	if parent == 0 || n == disk.RootInode {
		return nil, nil
	}
	d := &c.dirs[parent%disk.InodeNum(len(c.dirs))]
	if d.dir != parent {
		d.dir, d.path, d.json = parent, c.paths.Append(d.path[:0], parent), d.json[:0]
		if len(d.path) > 1 {
			d.path = append(d.path, '/')
		}
		if utf8.Valid(d.path) {
			d.json = AppendPathJSON(d.json, d.path)
			d.json = d.json[:len(d.json)-1]
		}
	}
	if len(d.path) == 0 {
		return nil, nil
	}
	return d, name
}
