package inject

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/pax"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// TarOptions of Untar, beside Options. Follow and Links do not count.
type TarOptions struct {
	Options
	// Strip takes so many elements off the names of members; those that have
	// no more are left out.
	Strip int
	// KeepDirLinks lets a directory of the stream go where a symbolic link
	// leads to a directory; else it replaces the link.
	KeepDirLinks bool
	// IDs knows the names in ACLs; numbers always count.
	IDs xattr.IDs
	// Match, if not nil, says which members count, by their names.
	Match func(name string) bool
}

// Untar writes the members of a tar stream (ustar, PAX, GNU; gzip, zstd, xz and
// bzip2 are undone) into the directory of to, which needs no Name. The stream
// is not trusted: nothing outside of that directory is reached. Errors are as
// for Run; a damaged stream ends it with what came before done.
func Untar(ctx context.Context, r io.Reader, to Place, o TarOptions) (Result, error) {
	o.Links, o.Follow = false, false
	t := &untar{o: &o, members: make(chan *member, inFlight)}
	t.w = writer{fs: to.Dir.FS(), o: &t.o.Options, tar: true}
	t.root = &item{inode: to.Dir, dest: to.Path, mode: disk.ModeDir}
	work, stop := context.WithCancel(ctx)
	defer stop()
	var readErr error
	var group sync.WaitGroup
	group.Go(func() {
		defer close(t.members)
		readErr = t.read(work, r)
	})
	err := t.write(ctx)
	if err == nil {
		err = t.finishDirs()
	} else {
		stop()
		// The stream may stand still, and is the caller's to close.
		return t.w.result, err
	}
	group.Wait()
	if err == nil {
		err = readErr
	}
	return t.w.result, err
}

// untar is a running Untar.
type untar struct {
	o       *TarOptions
	w       writer
	root    *item
	members chan *member
	dirs    []*item            // to be finished at the end
	known   map[string][]*item // directories that were walked to, with those above
}

// member is one member of the stream.
type member struct {
	item
	names    []string      // of its path
	hardlink []string      // the path of what it is another name of
	isLink   bool          // hardlink counts
	done     chan struct{} // closed when the content was read; nil without
}

// read takes the stream apart.
func (t *untar) read(ctx context.Context, r io.Reader) error {
	z, err := device.Decompress(ctx, r)
	if err != nil {
		return err
	}
	defer z.Close()
	in := pax.NewReader(bufio.NewReaderSize(z, pieceSize))
	for n := 0; ; n++ {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if n == 0 && errors.Is(err, pax.ErrHeader) {
				return fmt.Errorf("not a tar archive: %w", err)
			}
			return fmt.Errorf("damaged archive after %d members: %w", n, err)
		}
		m, err := t.member(h)
		if m == nil {
			continue
		}
		if err == nil && m.kind() == disk.ModeRegular && !m.isLink && h.Size > 0 {
			err = t.content(m, h, in)
		}
		if m.err == nil {
			m.err = err
		}
		select {
		case t.members <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
		if m.done != nil {
			select {
			case <-m.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// content reads small content, and prepares the rest to be read by the writer.
func (t *untar) content(m *member, h *pax.Header, in io.Reader) error {
	b := &streamBody{r: in, size: h.Size}
	if h.Sparse {
		m.body, m.done = &piecesBody{r: in, h: h}, make(chan struct{})
		return nil
	}
	data, ok, err := b.bytes(smallFile)
	if err != nil {
		return err
	}
	if ok {
		m.data = data
		return nil
	}
	m.body, m.done = b, make(chan struct{})
	if m.size <= smallFile {
		m.size = smallFile + 1 // it was judged here
	}
	return nil
}

// piecesBody is the content of a sparse member.
type piecesBody struct {
	r io.Reader
	h *pax.Header
}

func (b *piecesBody) writeTo(ctx context.Context, w *writer, to *ext4fs.Inode) error {
	in := &counting{w, b.r}
	end := int64(0)
	for _, p := range b.h.Pieces {
		if w.o.Sparse == SparseNever && p.Off > end {
			if err := w.writeZeros(ctx, to, end, p.Off-end); err != nil {
				return err
			}
		}
		n, err := to.WriteFrom(ctx, io.LimitReader(in, p.Len), p.Off, p.Len)
		if err == nil && n < p.Len {
			err = shortError(p.Off + n)
		}
		if err != nil {
			return err
		}
		end = p.Off + p.Len
	}
	if w.o.Sparse == SparseNever {
		return w.writeZeros(ctx, to, end, b.h.Size-end)
	}
	if to.Size() < b.h.Size {
		return to.Truncate(b.h.Size)
	}
	return nil
}

func (b *piecesBody) bytes(int64) ([]byte, bool, error) { return nil, false, nil }

// member makes a member of a header, nil for what is none.
func (t *untar) member(h *pax.Header) (*member, error) {
	m := &member{}
	m.path, m.size = h.Name, h.Size
	m.mtime, m.atime = h.Mtime, h.Atime
	if m.atime.IsZero() {
		m.atime = h.Mtime
	}
	m.target = h.Link
	kind, err := h.FileType()
	if kind == 0 && err == nil || t.o.Match != nil && !t.o.Match(h.Name) {
		return nil, nil
	}
	m.mode = kind | uint16(h.Mode)&^disk.ModeType
	if err != nil {
		return m, err
	}
	if m.uid, m.gid, err = h.Owner(); err != nil {
		return m, fmt.Errorf("%w: %w", ext4fs.ErrInvalid, err)
	}
	m.major, m.minor = uint32(h.Major), uint32(h.Minor)
	if kind == disk.ModeChar || kind == disk.ModeBlock {
		if _, _, err = h.Device(); err != nil {
			return m, fmt.Errorf("%w: %w", ext4fs.ErrInvalid, err)
		}
	}
	if m.names, err = memberNames(h.Name, t.o.Strip); err != nil {
		return m, err
	}
	if t.o.Strip > 0 && len(m.names) == 0 {
		return nil, nil
	}
	if h.Type == pax.TypeLink {
		m.isLink = true
		if m.hardlink, err = memberNames(h.Link, t.o.Strip); err != nil {
			return m, err
		}
	}
	attrs, err := h.Xattrs(t.o.IDs)
	for _, x := range attrs {
		m.xattrs = append(m.xattrs, ext4fs.Xattr(x))
	}
	if err != nil {
		m.warned = append(m.warned, err)
	}
	if group, lost := h.LostACL(t.o.IDs); lost && m.kind() != disk.ModeSymlink {
		m.mode = m.mode&^0o070 | group<<3
	}
	return m, nil
}

// memberNames takes a name apart, less its first elements. The target
// directory is the root of absolute ones.
func memberNames(name string, strip int) ([]string, error) {
	list, err := pax.SplitName(name)
	if errors.Is(err, pax.ErrDotDot) {
		return nil, ErrName
	}
	return list[min(strip, len(list)):], nil
}
