package format

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// Job is a file system that is laid out and can be written. It is not safe for
// concurrent use; the tree must not change as long as it is in use.
type Job struct {
	m *image
	// names is the digest of names and attributes, and super that of the
	// superblock as it is planned, of a reproducible image.
	names, super [sha256.Size]byte
}

// Result says what Write has made.
type Result struct {
	UUID  [16]byte
	Size  int64 // of the file system, in bytes
	Files int64 // regular files with content
	Bytes int64 // of data that were copied
}

// Counts are what a Job is going to make.
type Counts struct {
	Inodes      uint64 // in use, those of the file system itself too
	Directories uint64
	Files       uint64 // regular files with content
	Bytes       int64  // of data, without holes
	FreeBlocks  uint64
	FreeInodes  uint64
}

// Plan decides what file system is made for a tree, and where everything in it
// goes. It reads the tree's names and attributes, and of the content where it
// has holes; it writes nothing. A nil tree is an empty one.
//
// Options that contradict each other are *OptionError; content that does not
// fit is a *SizeError that tells what it needs. What an image cannot hold is a
// *FileError with its path.
func Plan(ctx context.Context, o Options, t *tree.Tree) (*Job, error) {
	l := &planner{ctx: ctx, o: o, empty: t == nil, known: knownSpans{}}
	j := &Job{}
	if t == nil {
		t = tree.New()
	}
	l.t = t
	if err := l.fix(j); err != nil {
		return nil, err
	}
	var err error
	switch {
	case o.Size == SizeAuto || o.Size == SizeMin:
		j.m, err = l.find()
	case o.Size <= 0:
		err = bad("size", o.Size, "must be more than zero")
	default:
		j.m, err = l.layOut(o.Size)
	}
	if err != nil {
		return nil, err
	}
	j.super = superDigest(j.m.p.sb)
	return j, nil
}

// Format makes an empty file system. A Size of 0 is that of the device.
func Format(ctx context.Context, w device.Writer, o Options) error {
	if o.journalDevice() {
		return FormatJournal(ctx, w, o)
	}
	if o.Size == 0 {
		o.Size = deviceBytes(w.Size())
	}
	j, err := Plan(ctx, o, nil)
	if err != nil {
		return err
	}
	_, err = j.Write(ctx, w)
	return err
}

// Size is the size of the file system in bytes.
func (j *Job) Size() int64 {
	return int64(j.m.p.sb.Blocks()) * int64(j.m.p.sb.BlockSize())
}

// Super is the superblock that is going to be written. Of a reproducible image
// the UUID is not known before its content is, unless it was given.
func (j *Job) Super() disk.Superblock {
	sb := j.m.p.sb
	sb.FreeBlocks = j.m.s.free()
	sb.FreeInodes = sb.InodesCount - uint32(j.m.next-1)
	return sb
}

// Counts tells what is going to be made.
func (j *Job) Counts() Counts {
	sb := j.Super()
	return Counts{
		Inodes: uint64(j.m.next - 1), Directories: uint64(len(j.m.content.dirs)), Files: j.m.files, Bytes: j.m.bytes,
		FreeBlocks: sb.FreeBlocks, FreeInodes: uint64(sb.FreeInodes),
	}
}

// JournalSize is the size of the journal inside the file system in bytes, 0 if
// there is none.
func (j *Job) JournalSize() int64 {
	p := j.m.p
	return int64(p.journal.blocks) * int64(p.sb.BlockSize())
}

// Warnings are what is not as it was asked for.
func (j *Job) Warnings() []string { return j.m.p.warnings }

// Write makes the file system. The device has none until the last writes, which
// are the superblocks, also when there was one before; after an error or when
// ctx ends it is left without.
//
// A file that is shorter than it was when it was planned is an error; what one
// has grown by is left out, which Options.Warn is told.
func (j *Job) Write(ctx context.Context, w device.Writer) (Result, error) {
	m := j.m
	if w.Size() < j.Size() {
		return Result{}, fmt.Errorf("a file system of %d bytes: %w", j.Size(),
			&device.RangeError{Op: "write", N: j.Size(), Size: w.Size()})
	}
	m.w = w
	if err := m.wipe(ctx); err != nil {
		return Result{}, err
	}
	derived := m.o.Reproducible && m.o.UUID == nil
	if err := m.readInline(ctx); err != nil {
		return Result{}, err
	}
	data, err := m.copyData(ctx, derived)
	if err != nil {
		return Result{}, err
	}
	if derived {
		m.p.setUUID(derive("file system", j.names, data, sha256.Sum256(m.inlineBuf), j.super))
	}
	for _, step := range []func(context.Context) error{m.writeMeta, m.writeSystem, m.writeInodes, m.finish} {
		if err := step(ctx); err != nil {
			return Result{}, err
		}
	}
	return Result{UUID: m.p.sb.UUID, Size: j.Size(), Files: int64(m.files), Bytes: m.bytes}, nil
}

// planner makes images for a tree.
type planner struct {
	ctx   context.Context
	o     Options
	t     *tree.Tree
	empty bool
	nodes uint64 // in the tree
	root  tree.Node
	made  *content
	known knownSpans
	why   error // what the last trial was too small for
}

// fix decides what must not change from one trial to the next: time, UUID and
// hash seed.
func (l *planner) fix(j *Job) error {
	for id := range tree.ID(l.t.Len()) {
		if l.t.Node(id).Links > 0 {
			l.nodes++
		}
	}
	o := &l.o
	if o.Free < 0 {
		return bad("free space", o.Free, "must not be negative")
	}
	if !(o.FreePercent >= 0 && o.FreePercent <= maxFree) {
		return bad("free space", o.FreePercent, "must be from 0 to %d percent", maxFree)
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
		if o.Reproducible {
			o.Time = newestTime(l.t).Time()
		}
	}
	l.fixRoot()
	if o.Reproducible {
		var err error
		if j.names, err = treeDigest(l.ctx, l.t); err != nil {
			return err
		}
		if o.HashSeed == nil {
			u := derive("hash seed", j.names)
			o.HashSeed = &u
		}
		return nil
	}
	for _, u := range []**[16]byte{&o.UUID, &o.HashSeed} {
		v, err := givenUUID(*u)
		if err != nil {
			return err
		}
		*u = &v
	}
	return nil
}

// fixRoot decides the attributes of the root directory.
func (l *planner) fixRoot() {
	l.root = *l.t.Node(tree.Root)
	if l.empty {
		now := tree.TimeOf(l.o.Time)
		l.root.Atime, l.root.Mtime, l.root.Ctime = now, now, now
	}
	if l.o.RootOwner || l.o.RootUID != 0 {
		l.root.UID = l.o.RootUID
	}
	if l.o.RootOwner || l.o.RootGID != 0 {
		l.root.GID = l.o.RootGID
	}
	if m := l.o.RootMode; m != nil {
		l.root.Mode = l.root.Mode&disk.ModeType | *m&^disk.ModeType
	}
}

// inodes is how many inodes the content needs, as far as it is known.
func (l *planner) inodes() uint64 {
	if l.made == nil {
		return l.nodes + uint64(disk.FirstInodeRev0)
	}
	return uint64(len(l.made.order)) + uint64(len(l.made.attrs.values)) + uint64(disk.FirstInodeRev0)
}

// hiddenInodes is the most inodes, beyond the reserved ones, that the file
// system takes for itself.
const hiddenInodes = 2

// prepare makes an image with the blocks of hidden files taken.
func (l *planner) prepare(size int64, n need) (*image, error) {
	p, err := newPlan(&l.o, size, n)
	if err != nil {
		return nil, err
	}
	c, err := l.contentFor(&p.sb)
	if err != nil {
		return nil, err
	}
	c.require(&p.sb)
	m := &image{p: p, s: newSpace(&p.sb, p.fixed), hidden: map[disk.InodeNum]disk.Inode{}, content: c, usage: newUsage(p)}
	m.next = p.sb.FirstInode + 1
	m.knowOwners()
	if err := m.system(l.ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// shape is what content depends on.
type shape struct {
	block, inode, extra int
	ratio               uint32
	features            disk.Features
	seed                [4]uint32
	hash                uint8
	flags               uint32
	encoding            uint16
}

func shapeOf(sb *disk.Superblock) shape {
	return shape{
		block: sb.BlockSize(), inode: sb.InodeSize(), extra: int(sb.WantExtraIsize), ratio: sb.ClusterRatio(),
		features: disk.Features{
			Compat: sb.Features.Compat & disk.CompatDirIndex,
			Incompat: sb.Features.Incompat & (disk.IncompatFiletype | disk.IncompatExtents | disk.IncompatEAInode |
				disk.IncompatLargeDir | disk.IncompatInlineData),
			ROCompat: sb.Features.ROCompat & (disk.ROCompatMetadataCsum | disk.ROCompatHugeFile | disk.ROCompatDirNlink),
		},
		seed: sb.HashSeed, hash: sb.DefHashVersion, flags: sb.Flags, encoding: sb.EncodingFlags,
	}
}

// contentFor gives the content for a shape.
func (l *planner) contentFor(sb *disk.Superblock) (*content, error) {
	if l.made != nil && shapeOf(sb) == shapeOf(&l.made.sb) {
		return l.made, nil
	}
	l.made = nil
	c, err := newContent(l.ctx, &l.o, sb, l.t, &l.root, l.known)
	if err != nil {
		return nil, err
	}
	l.made = c
	return c, nil
}

// layOut makes an image of that size.
func (l *planner) layOut(size int64) (*image, error) {
	m, err := l.prepare(size, need{inodes: l.inodes()})
	if err != nil {
		return nil, err
	}
	if have := uint64(m.p.sb.InodesCount); l.inodes()+hiddenInodes > have {
		// Values in inodes were not known before.
		if m, err = l.prepare(size, need{inodes: l.inodes() + hiddenInodes}); err != nil {
			return nil, err
		}
	}
	return m, m.layOut(l.ctx)
}
