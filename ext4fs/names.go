package ext4fs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Directory returns the names of a directory as the dir room sees them, for
// callers that need more than Entries: raw blocks and the hash tree. Names
// that only a fast commit made are not there.
func (i *Inode) Directory() (*dir.Config, error) {
	if !i.IsDir() {
		return nil, ErrNotDir
	}
	s, flags := &i.fs.super, i.Flags()
	c := &dir.Config{
		Inode: i.num, Seed: i.seed(), BlockSize: s.BlockSize(), MaxInode: i.fs.inodes,
		Indexed:      flags.Has(disk.FlagIndex) && s.Features.Compat.Has(disk.CompatDirIndex),
		Casefold:     flags.Has(disk.FlagCasefold) && s.Features.Incompat.Has(disk.IncompatCasefold),
		Encrypted:    flags.Has(disk.FlagEncrypt),
		MetadataCsum: s.HasMetadataCsum(),
		Filetype:     s.Features.Incompat.Has(disk.IncompatFiletype),
		LargeDir:     s.Features.Incompat.Has(disk.IncompatLargeDir),
		HashSeed:     s.HashSeed,
		SignedHash:   s.Flags&disk.SuperFlagUnsignedHash == 0,
		Strict:       s.EncodingFlags&1 != 0,
		HashVersion:  disk.HashVersion(s.DefHashVersion),
		DirIndex:     s.Features.Compat.Has(disk.CompatDirIndex),
		NoFallback:   s.EncodingFlags&2 != 0,
		Prefetch:     i.prefetchDir,
		Verify:       !i.fs.opts.IgnoreChecksums,
		Read:         i.readDirBlock,
	}
	if flags.Has(disk.FlagInlineData) {
		rest, err := i.inlineValue()
		if err != nil {
			return nil, err
		}
		c.InlineBlock, c.InlineValue = i.record().Block(), rest
		return c, nil
	}
	blocks := i.Size() >> i.fs.blockShift()
	if uint64(blocks) > i.fs.super.Blocks() {
		return nil, &CorruptError{What: "directory", Inode: i.num, Detail: fmt.Sprintf("size %d", i.Size())}
	}
	c.Blocks = disk.LogicalNum(blocks)
	return c, nil
}

// readDirBlock returns logical block l of the directory, nil where it has a
// hole.
func (i *Inode) readDirBlock(l disk.LogicalNum) (*cache.Buffer, error) {
	m, err := i.Map()
	if err != nil {
		return nil, err
	}
	e, err := m.Find(l)
	if err != nil {
		return nil, err
	}
	return i.dirBlockIn(e, l)
}

// dirReadAhead is how many blocks of a directory are read at once: in the order of
// its hashes, and by the names that are looked up, one is as likely to be next as
// another.
const dirReadAhead = 16

// dirBlockIn reads logical block l of the directory, which is in the run e, nil
// where that is a hole. Directories that the cache has no room for are read block
// by block.
func (i *Inode) dirBlockIn(e extent.Extent, l disk.LogicalNum) (*cache.Buffer, error) {
	switch {
	case e.Flags&extent.FlagHole != 0:
		return nil, nil
	case e.Flags&extent.FlagUnwritten != 0:
		return nil, &CorruptError{What: "directory", Inode: i.num, Block: e.Physical,
			Detail: fmt.Sprintf("logical block %d is not written", l)}
	}
	c, in := i.fs.cache, uint32(l-e.Logical)
	bn := e.Physical + disk.BlockNum(in)
	if i.Size()>>i.fs.blockShift() > int64(c.Capacity()/4) {
		return c.Get(bn)
	}
	first := in - in%dirReadAhead
	return c.GetRun(bn, e.Physical+disk.BlockNum(first), int(min(dirReadAhead, e.Len-first)))
}

// prefetchDir reads n logical blocks ahead, as far as they lie together.
func (i *Inode) prefetchDir(l disk.LogicalNum, n int) {
	m, err := i.Map()
	if err != nil {
		return
	}
	if e, err := m.Find(l); err == nil && e.Flags == 0 {
		in := l - e.Logical
		i.fs.cache.Prefetch(e.Physical+disk.BlockNum(in), min(n, int(e.Len-uint32(in))))
	}
}

// Entries yields the names of the directory with "." and "..", in the order
// in which its blocks keep them, which is the fastest. Encrypted names are shown
// as the kernel shows them without the key. An entry's Name must
// not be changed. An error that leaves the rest readable is yielded between
// entries; the caller decides whether to go on.
func (i *Inode) Entries() iter.Seq2[DirEntry, error] {
	if i.node != nil {
		return i.liveEntries(func(d *dir.Config) iter.Seq2[DirEntry, error] { return d.Entries() }, math.MaxInt)
	}
	return i.entries(func(d *dir.Config) iter.Seq2[DirEntry, error] { return d.Entries() }, 0)
}

// EntriesFrom yields the names after a cookie, which is DirEntry.Cookie of the
// last one seen, or 0 for all. In an indexed directory the order is that of
// the hashes, as in Linux, so that cookies stay good when the directory
// changes.
func (i *Inode) EntriesFrom(cookie uint64) iter.Seq2[DirEntry, error] {
	if i.node != nil {
		return i.liveEntriesFrom(cookie)
	}
	if cookie&fastCookie != 0 {
		return i.entries(func(*dir.Config) iter.Seq2[DirEntry, error] {
			return func(func(DirEntry, error) bool) {}
		}, cookie)
	}
	return i.entries(func(d *dir.Config) iter.Seq2[DirEntry, error] { return d.From(cookie) }, cookie)
}

// liveEntries yields up to n entries of a directory that may be changed while
// the consumer works: they are taken out of it before.
func (i *Inode) liveEntries(open func(*dir.Config) iter.Seq2[DirEntry, error], n int) iter.Seq2[DirEntry, error] {
	return func(yield func(DirEntry, error) bool) {
		for _, r := range i.takeEntries(open, n) {
			if !yield(r.entry, r.err) {
				return
			}
		}
	}
}

// entryOrError is what an iterator over names yields.
type entryOrError struct {
	entry DirEntry
	err   error
}

func (i *Inode) takeEntries(open func(*dir.Config) iter.Seq2[DirEntry, error], n int) []entryOrError {
	i.lockRead()
	defer i.unlockRead()
	if i.gone() {
		return []entryOrError{{err: ErrNotExist}}
	}
	list := make([]entryOrError, 0, min(n, 16)) // most directories are small
	var names []byte                            // of many of them
	for e, err := range i.entries(open, 0) {
		if len(names)+len(e.Name) > cap(names) {
			names = make([]byte, 0, min(max(2*cap(names), 512), nameMemory))
		}
		at := len(names)
		names = append(names, e.Name...)
		e.Name = names[at:len(names):len(names)]
		if list = append(list, entryOrError{e, err}); len(list) >= n {
			break
		}
	}
	return list
}

// nameMemory is what the copies of names take at a time, at most.
const nameMemory = 4096

// entryBatch is how many entries are taken out of a directory at once.
const entryBatch = 512

func (i *Inode) liveEntriesFrom(cookie uint64) iter.Seq2[DirEntry, error] {
	return func(yield func(DirEntry, error) bool) {
		for {
			batch := i.takeEntries(func(d *dir.Config) iter.Seq2[DirEntry, error] { return d.From(cookie) }, entryBatch)
			for _, r := range batch {
				if !yield(r.entry, r.err) {
					return
				}
				if r.err == nil {
					cookie = r.entry.Cookie
				}
			}
			if len(batch) < entryBatch || batch[len(batch)-1].err != nil {
				return
			}
		}
	}
}

// IsDots reports whether the entry is "." or "..".
func IsDots(e DirEntry) bool { return disk.IsDot(e.Name) || disk.IsDotDot(e.Name) }

// fastCookie marks the cookies of names that only a fast commit made; they
// come last.
const fastCookie = 1 << 63

func (i *Inode) entries(open func(*dir.Config) iter.Seq2[DirEntry, error], cookie uint64) iter.Seq2[DirEntry, error] {
	return func(yield func(DirEntry, error) bool) {
		fast := i.fs.fast.dir(i.num)
		if fast == nil || !fast.fresh {
			d, err := i.Directory()
			if err != nil {
				yield(DirEntry{}, err)
				return
			}
			for e, err := range open(d) {
				if err == nil && d.Encrypted && !IsDots(e) {
					e.Name = []byte(d.DisplayName(e))
				}
				if err == nil && fast != nil {
					if _, changed := fast.names[string(e.Name)]; changed {
						continue
					}
				}
				if !yield(e, err) {
					return
				}
			}
		}
		if fast != nil {
			i.fastEntries(fast, cookie, yield)
		}
	}
}

// fastEntries yields the names that only a fast commit made.
func (i *Inode) fastEntries(fast *fastDir, cookie uint64, yield func(DirEntry, error) bool) {
	list := fast.added()
	if fast.fresh {
		list = append([]dir.Entry{
			{Inode: i.num, Type: disk.FileTypeDir, Name: []byte(".")},
			{Inode: fast.parent, Type: disk.FileTypeDir, Name: []byte("..")},
		}, list...)
	}
	for n, e := range list {
		e.Cookie = fastCookie | uint64(n+1)
		if e.Cookie > cookie|fastCookie || cookie&fastCookie == 0 {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// LookupEntry returns the directory's entry of that name; see Lookup.
func (i *Inode) LookupEntry(name string) (DirEntry, error) {
	i.lockRead()
	defer i.unlockRead()
	return i.lookupEntry(name)
}

// lookupEntry is LookupEntry for who holds the lock.
func (i *Inode) lookupEntry(name string) (DirEntry, error) {
	if i.gone() {
		return DirEntry{}, ErrNotExist
	}
	if fast := i.fs.fast.dir(i.num); fast != nil {
		if e, changed := fast.names[name]; changed {
			if e.Inode == 0 {
				return DirEntry{}, ErrNotExist
			}
			return e, nil
		}
		if fast.fresh {
			if name == ".." {
				return DirEntry{Inode: fast.parent, Type: disk.FileTypeDir, Name: []byte("..")}, nil
			}
			return DirEntry{}, ErrNotExist
		}
	}
	if i.node != nil {
		return i.lookupLive(name)
	}
	d, err := i.Directory()
	if err != nil {
		return DirEntry{}, err
	}
	fast := i.fs.fast.dir(i.num)
	if fast != nil && d.Casefold {
		if e, ok := fast.folded(name); ok {
			return e, nil
		}
	}
	e, err := d.Lookup([]byte(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotExist
	}
	if err == nil && fast != nil {
		if now, changed := fast.names[string(e.Name)]; changed && now.Inode == 0 {
			return DirEntry{}, ErrNotExist // found by folding, and removed
		}
	}
	return e, err
}

// lookupLive is lookupEntry of a writable file system.
func (i *Inode) lookupLive(name string) (DirEntry, error) {
	if !i.IsDir() {
		return DirEntry{}, ErrNotDir
	}
	d, err := i.knownDir()
	if err != nil {
		return DirEntry{}, err
	}
	e, err := d.Lookup(nameBytes(name))
	if err == fs.ErrNotExist || err != nil && errors.Is(err, fs.ErrNotExist) {
		err = ErrNotExist
	}
	return e, err
}
