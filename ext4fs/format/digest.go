package format

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// digest is a SHA-256 of numbers and texts, which cannot be mistaken for each
// other's neighbours.
type digest struct {
	h   hash.Hash
	buf []byte
}

func newDigest() *digest { return &digest{h: sha256.New()} }

func (d *digest) number(v uint64) { d.room(8); d.buf = binary.LittleEndian.AppendUint64(d.buf, v) }

func (d *digest) text(s string) {
	d.number(uint64(len(s)))
	d.room(len(s))
	d.buf = append(d.buf, s...)
}

func (d *digest) bytes(p []byte) {
	d.number(uint64(len(p)))
	d.room(0)
	d.h.Write(d.buf)
	d.buf = d.buf[:0]
	d.h.Write(p)
}

// room hands on what is gathered before it gets long.
func (d *digest) room(n int) {
	if len(d.buf)+n > 64<<10 {
		d.h.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digest) sum() (sum [sha256.Size]byte) {
	d.h.Write(d.buf)
	d.buf = d.buf[:0]
	d.h.Sum(sum[:0])
	return sum
}

// treeDigest is a digest of all names and attributes, whatever order they came
// in. Content does not count.
func treeDigest(ctx context.Context, t *tree.Tree) ([sha256.Size]byte, error) {
	d := newDigest()
	seen := make(map[tree.ID]uint64) // files with several names, in the order of the walk
	stack := []tree.ID{tree.Root}
	d.node(t, tree.Root)
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if err := ctx.Err(); err != nil {
			return [sha256.Size]byte{}, err
		}
		entries := t.Entries(at)
		d.number(uint64(len(entries)))
		for _, e := range entries {
			d.text(e.Name)
			n := t.Node(e.ID)
			if n.Links > 1 && !n.IsDir() {
				k, ok := seen[e.ID]
				if !ok {
					k = uint64(len(seen))
					seen[e.ID] = k
				}
				d.number(k + 1)
				if ok {
					continue
				}
			} else {
				d.number(0)
			}
			d.node(t, e.ID)
			if n.IsDir() {
				stack = append(stack, e.ID)
			}
		}
	}
	d.xattrs(t.Xattrs(tree.LostFound))
	return d.sum(), nil
}

// node adds the attributes of a node.
func (d *digest) node(t *tree.Tree, id tree.ID) {
	n := t.Node(id)
	d.number(uint64(n.Mode)<<32 | uint64(n.UID))
	d.number(uint64(n.GID)<<32 | uint64(n.Major))
	d.number(uint64(n.Minor))
	d.number(uint64(n.Mtime))
	d.number(uint64(n.Atime))
	d.number(uint64(n.Ctime))
	d.number(uint64(n.Size))
	if n.IsSymlink() {
		d.text(t.Target(id))
	}
	list := t.Xattrs(id)
	d.number(uint64(len(list)))
	d.xattrs(list)
}

func (d *digest) xattrs(list []tree.Xattr) {
	for _, x := range list {
		d.text(x.Name)
		d.bytes(x.Value)
	}
}

// newestTime is the latest mtime in a tree.
func newestTime(t *tree.Tree) tree.Time {
	newest := t.Node(tree.Root).Mtime
	for id := range tree.ID(t.Len()) {
		if n := t.Node(id); n.Links > 0 && n.Mtime.Compare(newest) > 0 {
			newest = n.Mtime
		}
	}
	return newest
}

// Versions of UUIDs: of random bits, and of what their maker calls unique.
const (
	uuidRandom = 4
	uuidOwn    = 8
)

func markUUID(u *[16]byte, version byte) {
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
}

// derive makes a UUID of a digest, for one purpose.
func derive(purpose string, sums ...[sha256.Size]byte) (u [16]byte) {
	d := newDigest()
	d.text("e4kit " + purpose)
	for i := range sums {
		d.bytes(sums[i][:])
	}
	sum := d.sum()
	copy(u[:], sum[:])
	markUUID(&u, uuidOwn)
	return u
}

// givenUUID is what was given, or a random UUID.
func givenUUID(given *[16]byte) (u [16]byte, err error) {
	if given != nil {
		return *given, nil
	}
	if _, err := io.ReadFull(rand.Reader, u[:]); err != nil {
		return u, fmt.Errorf("random UUID: %w", err)
	}
	markUUID(&u, uuidRandom)
	return u, nil
}

// superDigest is a digest of all that the superblock says before the content
// is known.
func superDigest(sb disk.Superblock) [sha256.Size]byte {
	b := make([]byte, 1024)
	sb.UUID, sb.ChecksumSeed, sb.Checksum = [16]byte{}, 0, 0
	sb.Encode(b)
	return sha256.Sum256(b)
}
