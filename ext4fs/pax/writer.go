package pax

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Options of a Writer. The zero value writes everything.
type Options struct {
	// NoXattrs leaves out extended attributes and ACLs. What an ACL gave to others
	// than the owning group is not given to that.
	NoXattrs bool
	// NoSparse writes holes as zeros.
	NoSparse bool
	// Error is told of what could not be read. The stream stays a valid one: a
	// file whose content breaks off is filled up with zeros.
	Error func(path string, err error)
	// Skipped is told of what tar has no type for.
	Skipped func(path, what string)
	// Done is told of every member that was written.
	Done func(name string)
	// Progress is told how many members and bytes of content were written.
	Progress func(files, bytes int64, path string)
}

const (
	// recordSize is what tar pads its output to.
	recordSize = 20 * blockSize
	bufferSize = 1 << 20
	// maxDepth bounds nesting, far beyond what a path can name.
	maxDepth = 8192
)

// Writer writes one tar stream. It is for one goroutine.
type Writer struct {
	fs    *ext4fs.FS
	w     *bufio.Writer
	o     Options
	count int64 // bytes of the stream
	buf   []byte
	links map[disk.InodeNum]*linked
	dirs  map[disk.InodeNum]bool

	files, bytes int64
}

// linked is a file with several names.
type linked struct {
	name string
	left int
}

// NewWriter returns a writer of files of one file system.
func NewWriter(fsys *ext4fs.FS, w io.Writer, o Options) *Writer {
	return &Writer{
		fs: fsys, w: bufio.NewWriterSize(w, bufferSize), o: o, buf: make([]byte, bufferSize),
		links: make(map[disk.InodeNum]*linked), dirs: make(map[disk.InodeNum]bool),
	}
}

// Add writes a file, or a directory with all below it. name is what it is
// called in the stream, path where it is in the image. The error is that of
// the stream or the context; what is wrong with the image is told to
// Options.Error.
func (t *Writer) Add(ctx context.Context, i *ext4fs.Inode, name, path string) error {
	return t.add(ctx, i, name, path, 0)
}

// Close ends the stream. The writer below is not closed.
func (t *Writer) Close() error {
	pad := recordSize - (t.count+2*blockSize)%recordSize
	if pad == recordSize {
		pad = 0
	}
	if err := t.write(make([]byte, 2*blockSize+pad)); err != nil {
		return err
	}
	return t.w.Flush()
}

func (t *Writer) write(p []byte) error {
	n, err := t.w.Write(p)
	t.count += int64(n)
	return err
}

func (t *Writer) fail(path string, err error) {
	if t.o.Error != nil {
		t.o.Error(path, err)
	}
}

func (t *Writer) add(ctx context.Context, i *ext4fs.Inode, name, path string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if i.IsDir() {
		return t.directory(ctx, i, name, path, depth)
	}
	if links := i.Raw().Links(); links > 1 {
		if l := t.links[i.Number()]; l != nil {
			if l.left--; l.left <= 0 {
				delete(t.links, i.Number())
			}
			return t.member(&header{name: name, kind: TypeLink, link: l.name}, i, path)
		}
		// Only a file that got into the stream can be linked to.
		before := t.files
		err := t.one(ctx, i, name, path)
		if t.files > before {
			t.links[i.Number()] = &linked{name, int(links) - 1}
		}
		return err
	}
	return t.one(ctx, i, name, path)
}

// one writes something that is no directory.
func (t *Writer) one(ctx context.Context, i *ext4fs.Inode, name, path string) error {
	h := &header{name: name}
	raw := i.Raw()
	switch raw.Mode() & disk.ModeType {
	case disk.ModeRegular:
		return t.regular(ctx, i, name, path)
	case disk.ModeSymlink:
		target, err := i.Readlink()
		if err != nil {
			t.fail(path, err)
			return nil
		}
		h.kind, h.link = TypeSymlink, target
	case disk.ModeChar:
		h.kind = TypeChar
		h.major, h.minor = raw.Device()
	case disk.ModeBlock:
		h.kind = TypeBlock
		h.major, h.minor = raw.Device()
	case disk.ModeFIFO:
		h.kind = TypeFIFO
	case disk.ModeSocket:
		if t.o.Skipped != nil {
			t.o.Skipped(path, "socket")
		}
		return nil
	default:
		t.fail(path, &disk.CorruptError{What: "inode", Inode: i.Number(), Detail: fmt.Sprintf("mode 0%o has no type", raw.Mode())})
		return nil
	}
	return t.member(h, i, path)
}

// member writes a header, completed by what the inode says.
func (t *Writer) member(h *header, i *ext4fs.Inode, path string) error {
	raw := i.Raw()
	h.mode, h.uid, h.gid, h.mtime = uint32(raw.Mode()&0o7777), raw.UID(), raw.GID(), raw.Mtime()
	switch {
	case t.o.NoXattrs:
		mode, err := i.ModeWithoutACL()
		if err != nil {
			t.fail(path, err)
		}
		h.mode = uint32(mode & 0o7777)
	case h.kind != TypeLink:
		records, err := xattrRecords(i)
		if err != nil {
			t.fail(path, err)
		}
		h.records = append(h.records, records...)
	}
	if err := t.write(h.bytes()); err != nil {
		return err
	}
	t.files++
	if t.o.Done != nil {
		t.o.Done(h.name)
	}
	t.progress(path)
	return nil
}

func (t *Writer) progress(path string) {
	if t.o.Progress != nil {
		t.o.Progress(t.files, t.bytes, path)
	}
}

func (t *Writer) directory(ctx context.Context, i *ext4fs.Inode, name, path string, depth int) error {
	if t.dirs[i.Number()] || depth > maxDepth {
		t.fail(path, &disk.CorruptError{What: "directory tree", Inode: i.Number(), Detail: "the directory has a second name"})
		return nil
	}
	t.dirs[i.Number()] = true
	if err := t.member(&header{name: strings.TrimSuffix(name, "/") + "/", kind: TypeDir}, i, path); err != nil {
		return err
	}
	list, err := list(i)
	if err != nil {
		t.fail(path, err)
	}
	for _, e := range list {
		childPath := strings.TrimSuffix(path, "/") + "/" + e.name
		child, err := t.fs.Inode(e.num)
		if err != nil {
			t.fail(childPath, err)
			continue
		}
		if err := t.add(ctx, child, strings.TrimSuffix(name, "/")+"/"+e.name, childPath, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// name is an entry of a directory.
type name struct {
	name string
	num  disk.InodeNum
}

func list(i *ext4fs.Inode) (names []name, first error) {
	for e, err := range i.Entries() {
		switch {
		case err != nil:
			if first == nil {
				first = err
			}
		case ext4fs.IsDots(e):
		case strings.ContainsAny(string(e.Name), "/\x00") || len(e.Name) == 0:
			first = &disk.CorruptError{What: "directory entry", Inode: i.Number(), Detail: fmt.Sprintf("name %q", e.Name)}
		default:
			names = append(names, name{string(e.Name), e.Inode})
		}
	}
	slices.SortFunc(names, func(a, b name) int { return strings.Compare(a.name, b.name) })
	return names, first
}

// xattrRecords has an inode's attributes and ACLs.
func xattrRecords(i *ext4fs.Inode) ([]record, error) {
	attrs, err := i.Xattrs()
	var records []record
	for _, a := range attrs {
		key, isACL := "", true
		switch a.Name {
		case "system.posix_acl_access":
			key = "SCHILY.acl.access"
		case "system.posix_acl_default":
			key = "SCHILY.acl.default"
		default:
			isACL = false
		}
		if !isACL {
			// An equals sign would end the keyword.
			escaped := strings.NewReplacer("%", "%25", "=", "%3D").Replace(a.Name)
			records = append(records, record{"SCHILY.xattr." + escaped, string(a.Value)})
			continue
		}
		entries, aclErr := disk.DecodeCallACL(a.Value)
		if aclErr != nil {
			err = aclErr
			continue
		}
		records = append(records, record{key, aclText(entries)})
	}
	return records, err
}

// aclText is an ACL on one line, with commas.
func aclText(entries []disk.ACLEntry) string {
	var parts []string
	for line := range strings.Lines(xattr.EntriesText("", entries, xattr.Names{})) {
		entry, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		parts = append(parts, entry)
	}
	return strings.Join(parts, ",")
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
