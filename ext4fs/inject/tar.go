package inject

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
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
	in := &tarReader{r: bufio.NewReaderSize(z, pieceSize)}
	for n := 0; ; n++ {
		h, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if n == 0 && errors.Is(err, errTar) {
				return fmt.Errorf("not a tar archive: %w", err)
			}
			return fmt.Errorf("damaged archive after %d members: %w", n, err)
		}
		m, err := t.member(h)
		if m == nil {
			continue
		}
		if err == nil && m.kind() == disk.ModeRegular && !m.isLink && h.size > 0 {
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
func (t *untar) content(m *member, h *tarHeader, in io.Reader) error {
	b := &streamBody{r: in, size: h.size}
	if h.sparse {
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
	h *tarHeader
}

func (b *piecesBody) writeTo(ctx context.Context, w *writer, to *ext4fs.Inode) error {
	in := &counting{w, b.r}
	end := int64(0)
	for _, p := range b.h.pieces {
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
		return w.writeZeros(ctx, to, end, b.h.size-end)
	}
	if to.Size() < b.h.size {
		return to.Truncate(b.h.size)
	}
	return nil
}

func (b *piecesBody) bytes(int64) ([]byte, bool, error) { return nil, false, nil }

// member makes a member of a header, nil for what is none.
func (t *untar) member(h *tarHeader) (*member, error) {
	m := &member{}
	m.path, m.size = h.name, h.size
	m.uid, m.gid = uint32(h.uid), uint32(h.gid)
	m.major, m.minor = uint32(h.major), uint32(h.minor)
	m.mtime, m.atime = h.mtime, h.atime
	if m.atime.IsZero() {
		m.atime = h.mtime
	}
	m.target = h.link
	kind, err := memberKind(h)
	if kind == 0 && err == nil || t.o.Match != nil && !t.o.Match(h.name) {
		return nil, nil
	}
	m.mode = kind | uint16(h.mode)&^disk.ModeType
	if h.uid < 0 || h.gid < 0 || h.uid > 1<<32-1 || h.gid > 1<<32-1 {
		return m, fmt.Errorf("owner %d:%d: %w", h.uid, h.gid, ext4fs.ErrInvalid)
	}
	if err != nil {
		return m, err
	}
	if m.names, err = memberNames(h.name, t.o.Strip); err != nil {
		return m, err
	}
	if t.o.Strip > 0 && len(m.names) == 0 {
		return nil, nil
	}
	if h.kind == tarHard {
		m.isLink = true
		if m.hardlink, err = memberNames(h.link, t.o.Strip); err != nil {
			return m, err
		}
	}
	m.xattrs, err = memberXattrs(h, t.o.IDs)
	if err != nil {
		m.warned, err = append(m.warned, err), nil
	}
	return m, err
}

// memberKind is the type in i_mode; 0 and no error is something to be left out.
func memberKind(h *tarHeader) (uint16, error) {
	switch h.kind {
	case tarRegular, tarContiguous, tarHard:
		return disk.ModeRegular, nil
	case tarSymlink:
		return disk.ModeSymlink, nil
	case tarChar:
		return disk.ModeChar, nil
	case tarBlockDev:
		return disk.ModeBlock, nil
	case tarDir, tarDumpDir:
		return disk.ModeDir, nil
	case tarFIFO:
		return disk.ModeFIFO, nil
	case tarVolume:
		return 0, nil
	}
	return disk.ModeRegular, fmt.Errorf("type %q of tar: %w", h.kind, ErrType)
}

// memberNames takes a name apart; nothing may be left of it.
func memberNames(name string, strip int) ([]string, error) {
	var list []string
	for _, el := range strings.Split(name, "/") {
		switch el {
		case "", ".":
		case "..":
			return nil, ErrName
		default:
			list = append(list, el)
		}
	}
	return list[min(strip, len(list)):], nil
}

const (
	paxXattr      = "SCHILY.xattr."
	libXattr      = "LIBARCHIVE.xattr."
	paxACLAccess  = "SCHILY.acl.access"
	paxACLDefault = "SCHILY.acl.default"
	paxSELinux    = "RHT.security.selinux"
)

// memberXattrs finds extended attributes and ACLs in the extended header. With
// an error it gives the others.
func memberXattrs(h *tarHeader, ids xattr.IDs) (list []ext4fs.Xattr, bad error) {
	for key, value := range h.records {
		x := ext4fs.Xattr{Value: []byte(value)}
		var err error
		switch {
		case strings.HasPrefix(key, paxXattr):
			x.Name = keyDecoder.Replace(key[len(paxXattr):])
			if isACL(x.Name) && h.records[aclRecord(x.Name)] != "" {
				continue // said twice; the text has what was meant
			}
		case strings.HasPrefix(key, libXattr):
			x.Name = key[len(libXattr):]
			if _, ok := h.records[paxXattr+x.Name]; ok {
				continue
			}
			x.Value, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
		case key == paxSELinux:
			if _, ok := h.records[paxXattr+"security.selinux"]; ok {
				continue
			}
			x.Name = "security.selinux"
		case key == paxACLAccess, key == paxACLDefault:
			x.Name = nameAccess
			if key == paxACLDefault {
				x.Name = nameDefault
			}
			var entries []disk.ACLEntry
			if entries, err = xattr.ParseACL(value, ids); err == nil {
				x.Value = disk.EncodeCallACL(entries)
			}
		default:
			continue
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", key, err))
			continue
		}
		list = append(list, x)
	}
	sortXattrs(list)
	return list, bad
}

// keyDecoder undoes how GNU tar writes names that have an equals sign.
var keyDecoder = strings.NewReplacer("%3D", "=", "%25", "%")

func aclRecord(name string) string {
	if name == nameDefault {
		return paxACLDefault
	}
	return paxACLAccess
}
