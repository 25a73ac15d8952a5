package quota

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrQuota: a limit would be passed; it matches syscall.EDQUOT.
var ErrQuota = disk.NewKind("disk quota exceeded", syscall.EDQUOT)

// Storage is a quota file's content, in blocks of the file system. A File
// calls it under its lock only.
type Storage interface {
	// BlockSize is the file system's, in bytes, at least 1024.
	BlockSize() int
	// Size is i_size, in bytes.
	Size() int64
	// Read returns a block's current content. A hole is zeros.
	Read(l disk.LogicalNum) ([]byte, error)
	// Write returns a block's content to be changed in place as part of tx.
	Write(tx cache.Tx, l disk.LogicalNum) ([]byte, error)
	// Grow makes the file size bytes long, mapping and clearing the blocks
	// that it gains.
	Grow(tx cache.Tx, size int64) error
}

// Config says how a quota file is opened.
type Config struct {
	Kind    disk.QuotaKind
	Inode   disk.InodeNum // of the file, for errors
	Storage Storage
	// Enforce makes limits count. Without it only usage is kept, as Linux
	// does when it mounts without the options usrquota, grpquota, prjquota.
	Enforce bool
	// Now is the clock for grace times; nil is time.Now.
	Now func() time.Time
}

// File is an open quota file. It is safe for concurrent use.
type File struct {
	config Config
	mu     sync.Mutex
	known  map[uint32]*dquot // mu; as many as maxKnown
}

// dquot is a record in memory.
type dquot struct {
	disk.QuotaEntry
	block uint32 // that has it; 0 while it is not in the file
	slot  int
}

// maxKnown bounds the records in memory.
const maxKnown = 8192

// Open checks the head of a quota file. Trouble is a *disk.CorruptError.
func Open(c Config) (*File, error) {
	f := newFile(c)
	b, err := f.read(0)
	if err != nil {
		return nil, err
	}
	q := disk.QuotaInfo(b)
	switch {
	case q.Magic() != c.Kind.Magic():
		return nil, f.corrupt(0, "magic 0x%08x, want 0x%08x", q.Magic(), c.Kind.Magic())
	case q.Version() != disk.QuotaVersion:
		return nil, f.corrupt(0, "version %d is not %d", q.Version(), disk.QuotaVersion)
	}
	_, err = f.info()
	return f, err
}

// Init makes an empty quota file of what has no content, or content that is
// not wanted any more.
func Init(tx cache.Tx, c Config) (*File, error) {
	f := newFile(c)
	if need := int64(disk.QuotaRootBlock+1) * disk.QuotaBlockSize; c.Storage.Size() < need {
		if err := c.Storage.Grow(tx, need); err != nil {
			return nil, f.wrap(err)
		}
	}
	s := &stage{f: f, blocks: map[uint32][]byte{}}
	disk.QuotaInfo(s.fresh(0)).Init(c.Kind)
	s.fresh(disk.QuotaRootBlock)
	if err := s.commit(tx); err != nil {
		return nil, err
	}
	return f, nil
}

func newFile(c Config) *File {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &File{config: c, known: map[uint32]*dquot{}}
}

// Kind is whom the file is about.
func (f *File) Kind() disk.QuotaKind { return f.config.Kind }

// Enforced reports whether limits count.
func (f *File) Enforced() bool { return f.config.Enforce }

// Grace returns how many seconds the soft limits may be passed.
func (f *File) Grace() (space, inodes uint32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q, err := f.info()
	if err != nil {
		return 0, 0, err
	}
	return q.SpaceGrace(), q.InodeGrace(), nil
}

// SetGrace changes how many seconds the soft limits may be passed. Grace times
// that run already stay.
func (f *File) SetGrace(tx cache.Tx, space, inodes uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.write(tx, 0)
	if err != nil {
		return err
	}
	disk.QuotaInfo(b).SetGrace(space, inodes)
	return nil
}

// Get returns an id's record; one that the file does not have is all zeros but
// for the id, and ok is false.
func (f *File) Get(id uint32) (e disk.QuotaEntry, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.load(id)
	if err != nil {
		return disk.QuotaEntry{}, false, err
	}
	return d.QuotaEntry, d.block != 0, nil
}

// load returns an id's record from memory or from the file.
func (f *File) load(id uint32) (*dquot, error) {
	if d := f.known[id]; d != nil {
		return d, nil
	}
	d, err := f.find(id)
	if err != nil {
		return nil, err
	}
	if len(f.known) >= maxKnown {
		clear(f.known)
	}
	f.known[id] = d
	return d, nil
}

// info is block 0, its numbers checked.
func (f *File) info() (disk.QuotaInfo, error) {
	b, err := f.read(0)
	if err != nil {
		return nil, err
	}
	q := disk.QuotaInfo(b)
	n := q.Blocks()
	if n <= disk.QuotaRootBlock || int64(n) > f.config.Storage.Size()/disk.QuotaBlockSize {
		return nil, f.corrupt(0, "%d blocks in a file of %d bytes", n, f.config.Storage.Size())
	}
	for _, head := range []uint32{q.FreeBlock(), q.FreeEntry()} {
		if head != 0 && (head <= disk.QuotaRootBlock || head >= n) {
			return nil, f.corrupt(0, "free list at block %d of %d", head, n)
		}
	}
	return q, nil
}

// place is where a quota block lies in the file.
func (f *File) place(n uint32) (l disk.LogicalNum, at int) {
	off, size := int64(n)*disk.QuotaBlockSize, int64(f.config.Storage.BlockSize())
	return disk.LogicalNum(off / size), int(off % size)
}

func (f *File) read(n uint32) ([]byte, error) {
	l, at := f.place(n)
	if (int64(n)+1)*disk.QuotaBlockSize > f.config.Storage.Size() {
		return nil, f.corrupt(n, "outside the file of %d bytes", f.config.Storage.Size())
	}
	b, err := f.config.Storage.Read(l)
	return f.cut(b, at, n, err)
}

func (f *File) write(tx cache.Tx, n uint32) ([]byte, error) {
	l, at := f.place(n)
	b, err := f.config.Storage.Write(tx, l)
	return f.cut(b, at, n, err)
}

// cut is the quota block in a block of the file system.
func (f *File) cut(b []byte, at int, n uint32, err error) ([]byte, error) {
	if err != nil {
		return nil, f.wrap(err)
	}
	if len(b)-at < disk.QuotaBlockSize {
		return nil, f.corrupt(n, "block of %d bytes", len(b))
	}
	return b[at : at+disk.QuotaBlockSize : at+disk.QuotaBlockSize], nil
}

func (f *File) wrap(err error) error { return fmt.Errorf("%s quota: %w", f.config.Kind, err) }

// corrupt is about quota block n; its place in the file is the offset.
func (f *File) corrupt(n uint32, format string, args ...any) error {
	return &disk.CorruptError{
		What: f.config.Kind.String() + " quota file", Inode: f.config.Inode,
		Detail: fmt.Sprintf("quota block %d: ", n) + fmt.Sprintf(format, args...),
	}
}
