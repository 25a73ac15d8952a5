package ext4fs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ManifestLine describes one path of a tree for comparison with another tree
// or a copy. Inode numbers, block addresses, flags, access and change times
// are left out: they may differ between a tree and a true copy.
type ManifestLine struct {
	Path string // escaped: bytes outside 0x22..0x7e and '\' as \xNN
	// Type is f, d, l, c, b, p or s for regular file, directory, symbolic
	// link, character and block device, fifo and socket; ? for others.
	Type  string
	Mode  string // four octal digits
	UID   uint32
	GID   uint32
	Links string // "-" for directories
	Size  string // bytes; "-" for directories, 0 for devices and the like
	Mtime string // seconds since 1970 with nine decimals
	// Data is a digest of the content, a link's target, a device's number, or
	// "-"; what cannot be read begins with "!".
	Data   string
	Xattrs string // NAME=VALUE,… sorted; "-" for none, "!" when unreadable

	// RawPath is Path as it is, Stat what the inode says and Target where a
	// symbolic link leads. Stat is nil where the inode could not be read.
	RawPath string
	Stat    *Stat
	Target  string

	err error
}

// Err is why the path could not be read whole; Data or Xattrs begin with "!"
// then.
func (l *ManifestLine) Err() error { return l.err }

// String is the line's text form: the fields separated by blanks.
func (l *ManifestLine) String() string {
	return strings.Join([]string{l.Path, l.Type, l.Mode, strconv.FormatUint(uint64(l.UID), 10),
		strconv.FormatUint(uint64(l.GID), 10), l.Links, l.Size, l.Mtime, l.Data, l.Xattrs}, " ")
}

const (
	// manifestSparse: above this size a digest takes only what is not zero.
	manifestSparse = 64 << 20
	manifestChunk  = 1024
	manifestRead   = 256 << 10
	manifestXattr  = 32  // longest attribute value shown in full
	manifestTarget = 512 // longest link target shown in full
)

// Manifest describes start and everything below it, sorted by path, with
// start as "/". Contents are read in parallel. Trouble with one path is told in
// its line; the error returned is that of the context.
func (f *FS) Manifest(ctx context.Context, start *Inode) ([]*ManifestLine, error) {
	var lines []*ManifestLine
	type job struct {
		inode *Inode
		line  *ManifestLine
	}
	jobs := make(chan job, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			buf := make([]byte, manifestRead)
			for j := range jobs {
				if ctx.Err() == nil {
					j.line.fill(ctx, j.inode, buf)
				}
			}
		})
	}
	broken := map[*Inode]bool{}
	err := f.Walk(ctx, start, "/", func(e *WalkEntry) error {
		path := e.Path()
		l := &ManifestLine{Path: EscapePath(path), RawPath: path, Type: "?", Mode: "0000", Links: "-", Size: "-", Mtime: "-", Data: "-", Xattrs: "-"}
		if e.Err != nil {
			l.err, l.Data = e.Err, "!"+EscapePath(reason(e.Err))
			if e.Inode != nil {
				// The directory's own line comes from its first visit.
				if broken[e.Inode] {
					return nil
				}
				broken[e.Inode] = true
			}
		}
		lines = append(lines, l)
		if e.Inode != nil && e.Err == nil {
			jobs <- job{e.Inode, l}
		}
		return nil
	})
	close(jobs)
	workers.Wait()
	slices.SortFunc(lines, func(a, b *ManifestLine) int {
		// As whole lines: a blank sorts before every byte of an escaped path.
		return strings.Compare(a.Path+" ", b.Path+" ")
	})
	return lines, errors.Join(err, ctx.Err())
}

// reason is the innermost text of an error, without numbers of this image.
func reason(err error) string {
	switch {
	case errors.Is(err, ErrChecksum):
		return ErrChecksum.Error()
	case errors.Is(err, ErrCorrupt):
		return ErrCorrupt.Error()
	}
	return err.Error()
}

// fill describes i; buf is scratch space.
func (l *ManifestLine) fill(ctx context.Context, i *Inode, buf []byte) {
	r := i.record()
	l.Stat = i.Stat()
	l.Type = manifestType(r.Mode())
	l.Mode = fmt.Sprintf("%04o", r.Mode()&0o7777)
	l.UID, l.GID = r.UID(), r.GID()
	m := r.Mtime()
	l.Mtime = fmt.Sprintf("%d.%09d", m.Unix(), m.Nanosecond())
	if l.Type != "d" {
		l.Links, l.Size = strconv.Itoa(int(r.Links())), "0"
	}
	var err error
	switch l.Type {
	case "f":
		l.Size = strconv.FormatInt(i.Size(), 10)
		l.Data, err = digest(ctx, i, buf)
	case "l":
		l.Target, err = i.Readlink()
		l.Size = strconv.FormatInt(l.Stat.Size, 10)
		l.Data = manifestLink(l.Target)
	case "c", "b":
		major, minor := r.Device()
		l.Data = fmt.Sprintf("%d:%d", major, minor)
	}
	switch {
	case errors.Is(err, ErrNoKey):
		l.Data = "!nokey"
	case err != nil:
		l.err, l.Data = err, "!"+EscapePath(reason(err))
	}
	attrs, err := i.Xattrs()
	if err != nil {
		l.err, l.Xattrs = errors.Join(l.err, err), "!"
		return
	}
	l.Xattrs = manifestXattrs(attrs)
}

func manifestType(mode uint16) string {
	return string("?fdcbpsl"[disk.EntryType(mode)])
}

func manifestLink(target string) string {
	e := EscapePath(target)
	switch {
	case len(e) > manifestTarget:
		return fmt.Sprintf("%d:sha256:%x", len(target), sha256.Sum256([]byte(target)))
	case e == "-":
		return `\x2d`
	case e == "":
		return "-"
	}
	return e
}

func manifestXattrs(attrs []Xattr) string {
	if len(attrs) == 0 {
		return "-"
	}
	items := make([]string, len(attrs))
	for n, a := range attrs {
		name := strings.NewReplacer(",", `\x2c`, "=", `\x3d`).Replace(EscapePath(a.Name))
		if len(a.Value) <= manifestXattr {
			items[n] = fmt.Sprintf("%s=0x%x", name, a.Value)
		} else {
			items[n] = fmt.Sprintf("%s=%d:sha256:%x", name, len(a.Value), sha256.Sum256(a.Value))
		}
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}

// EscapePath writes bytes outside 0x22..0x7e and the backslash as \xNN.
func EscapePath(s string) string {
	plain := func(c byte) bool { return c >= 0x22 && c <= 0x7e && c != '\\' }
	n := 0
	for n < len(s) && plain(s[n]) {
		n++
	}
	if n == len(s) {
		return s
	}
	var b strings.Builder
	for n := range len(s) {
		if c := s[n]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// digest is SHA-256 over the content, or, for large files, over each aligned
// chunk that is not all zero, with its offset before it.
func digest(ctx context.Context, i *Inode, buf []byte) (string, error) {
	h := sha256.New()
	if i.Size() > manifestSparse {
		if err := digestSparse(ctx, i, h, buf); err != nil {
			return "", err
		}
		return "sparse256:" + hex.EncodeToString(h.Sum(nil)), nil
	}
	for off := int64(0); ; {
		n, err := i.ReadAt(buf, off)
		h.Write(buf[:n])
		off += int64(n)
		if err == io.EOF {
			return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

func digestSparse(ctx context.Context, i *Inode, h hash.Hash, buf []byte) error {
	if err := i.readable(); err != nil {
		return err
	}
	var rec [8 + manifestChunk]byte
	for span, err := range i.Data() {
		if err != nil {
			return err
		}
		for done := int64(0); done < span.Len; {
			p := buf[:min(int64(len(buf)), span.Len-done)]
			if err := ctx.Err(); err != nil {
				return err // a small image can say that it has 16 TiB of data
			}
			n, err := i.ReadAt(p, span.Off+done)
			if err != nil && err != io.EOF {
				return err
			}
			for at := 0; at < n; at += manifestChunk {
				c := p[at:min(at+manifestChunk, n)]
				if allZero(c) {
					continue
				}
				binary.LittleEndian.PutUint64(rec[:], uint64(span.Off+done)+uint64(at))
				clear(rec[8+copy(rec[8:], c):])
				h.Write(rec[:])
			}
			if n == 0 {
				break
			}
			done += int64(n)
		}
	}
	return nil
}

func allZero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
