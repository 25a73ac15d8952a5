package ext4fs

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sort"
	"sync/atomic"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// crashWorld is a file system on a recorder, with its history: what it held
// after every operation, which is what a crash may leave.
type crashWorld struct {
	t    testing.TB
	kind *crashKindCase
	rec  *testimages.Recorder
	f    *FS
	rng  *rand.Rand
	tick *atomic.Int64 // the clock: how many operations there were, in seconds
	root disk.InodeNum // of the tree whose history this is

	parts []*crashWorld // worlds of their own that went on in parallel instead

	history  []*crashMoment
	versions map[disk.InodeNum][]crashChange
	unnamed  []*Inode // are held
	scan     *crashScan
	ops      []string
	stamp    byte
	inner    bool // inside a batch
	wide     bool // the operation may take more than one transaction
	shift    bool // it moves content inside of a file
}

// crashMoment is the file system after an operation.
type crashMoment struct {
	sum    uint64                          // of all lines
	tick   int64                           // what the clock said at the least
	change map[disk.InodeNum]*crashVersion // what differs from the moment before; nil is gone
	inner  bool                            // of a batch that was not complete
	wide   bool                            // the operation may have been left half done
	shift  bool                            // it moved content inside of a file
}

// crashChange is what an inode became with operation k, nil if nothing.
type crashChange struct {
	k int
	v *crashVersion
}

// crashVersion is what is known of one inode.
type crashVersion struct {
	line  uint64 // hash of the metadata
	size  int64
	birth int64 // tells apart those who had the number
	data  []byte
	text  string // the metadata, for messages, where it was asked for
}

// crashMark goes into the log: operation began of a world has begun, and what
// was done in it up to durable is durable.
type crashMark struct {
	w              *crashWorld
	began, durable int
}

// crashEpoch is when the operations begin, later than the image was made.
var crashEpoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func crashClock(tick int64) time.Time { return crashEpoch.Add(time.Duration(tick) * time.Second) }

func newCrashWorld(t testing.TB, kind *crashKindCase, base *device.RAM, seed uint64) *crashWorld {
	t.Helper()
	rec, err := testimages.NewRecorder(base.Clone())
	if err != nil {
		t.Fatal(err)
	}
	w := &crashWorld{t: t, kind: kind, rec: rec, rng: rand.New(rand.NewPCG(seed, 0xc4a5)), scan: newCrashScan(disk.RootInode),
		root: disk.RootInode, tick: new(atomic.Int64), stamp: byte(seed), versions: make(map[disk.InodeNum][]crashChange)}
	if w.f, err = kind.open(rec, w.clock, true); err != nil {
		t.Fatal(err)
	}
	w.age()
	w.note(w.look())
	if err := rec.Restart(); err != nil {
		t.Fatal(err)
	}
	return w
}

// age lets the log be anywhere in its ring, some laps old, and hold
// transactions that are not yet home.
func (w *crashWorld) age() {
	n := w.rng.IntN(120)
	for k := range n {
		dir := fmt.Sprintf("old%d", k%3)
		err := w.f.MkdirAll(dir, 0o755)
		for m := range 6 {
			if err == nil {
				err = w.f.WriteFile(fmt.Sprintf("%s/%0*d", dir, 30+k, m), w.data(1500), 0o600)
			}
		}
		if err == nil {
			err = w.f.Sync(context.Background())
		}
		if err == nil {
			err = w.f.RemoveAll(dir)
		}
		if err == nil && w.rng.IntN(2) == 0 {
			err = w.f.Sync(context.Background())
		}
		if err != nil {
			w.t.Fatalf("aging: %v", err)
		}
	}
	if w.rng.IntN(3) == 0 {
		// From a clean image on.
		err := w.f.Close()
		if err == nil {
			w.f, err = w.kind.open(w.rec, w.clock, true)
		}
		if err != nil {
			w.t.Fatalf("aging: %v", err)
		}
	}
	if err := w.f.Sync(context.Background()); err != nil {
		w.t.Fatalf("aging: %v", err)
	}
}

// note enters a moment in the history.
func (w *crashWorld) note(m *crashMoment) {
	k := len(w.history)
	w.history = append(w.history, m)
	for n, v := range m.change {
		w.versions[n] = append(w.versions[n], crashChange{k, v})
	}
}

// at is the inode after operation k, and what became of it until end.
func (w *crashWorld) at(n disk.InodeNum, k, end int) (v *crashVersion, later []crashChange) {
	list := w.versions[n]
	i := sort.Search(len(list), func(i int) bool { return list[i].k > k })
	j := sort.Search(len(list), func(i int) bool { return list[i].k > end })
	if i > 0 {
		v = list[i-1].v
	}
	return v, list[i:max(i, j)]
}

func (w *crashWorld) clock() time.Time { return crashClock(w.tick.Load()) }

// look takes the moment.
func (w *crashWorld) look() *crashMoment {
	m, err := w.scan.moment(w.f)
	if err != nil {
		w.t.Fatalf("operation %d (%s): %v", len(w.history), w.last(3), err)
	}
	return m
}

func (w *crashWorld) last(n int) []string { return w.ops[max(0, len(w.ops)-n):] }

// op runs an operation and notes what it led to. Errors that are none of the
// test's business (ENOSPC, a name that is there) leave everything as it was.
func (w *crashWorld) op(what string, run func() error) error {
	k := len(w.history)
	tick := w.tick.Add(1)
	w.rec.Mark(crashMark{w: w, began: k})
	w.wide, w.shift = false, false
	err := run()
	w.ops = append(w.ops, fmt.Sprintf("%d: %s: %v", k, what, err))
	m := w.look()
	m.tick, m.wide, m.shift, m.inner = tick, w.wide, w.shift, w.inner
	w.note(m)
	w.noteUnnamed(k)
	return err
}

// noteUnnamed notes the content of files without a name: what is written to
// them may show in a moment in which they still had one.
func (w *crashWorld) noteUnnamed(k int) {
	for _, i := range w.unnamed {
		list := w.versions[i.num]
		if st := i.Stat(); st.Links == 0 && len(list) > 0 && list[len(list)-1].k < k {
			v, _, err := readCrashVersion(i, false)
			if err != nil {
				w.t.Fatalf("inode %d without a name: %v", i.num, err)
			}
			w.versions[i.num] = append(list, crashChange{k, v})
		}
	}
}

// now is the number of the last operation.
func (w *crashWorld) now() int { return len(w.history) - 1 }

// split makes worlds of directories, in which operations go on in parallel. The
// history of w itself ends, or rather never was.
func (w *crashWorld) split(n int) []*crashWorld {
	for k := range n {
		w.mkdir(fmt.Sprintf("p%d", k))
	}
	w.sync()
	if err := w.rec.Restart(); err != nil {
		w.t.Fatal(err)
	}
	for k := range n {
		part := &crashWorld{
			t: w.t, kind: w.kind, rec: w.rec, f: w.f, tick: w.tick, root: w.lookup(fmt.Sprintf("p%d", k)).num,
			rng: rand.New(rand.NewPCG(w.rng.Uint64(), 0)), versions: make(map[disk.InodeNum][]crashChange), stamp: byte(k * 60),
		}
		part.scan = newCrashScan(part.root)
		part.note(part.look())
		w.parts = append(w.parts, part)
	}
	return w.parts
}

// all are the worlds that have a history.
func (w *crashWorld) all() []*crashWorld {
	if len(w.parts) > 0 {
		return w.parts
	}
	return []*crashWorld{w}
}

// count is how many operations there were.
func (w *crashWorld) count() (n int) {
	for _, part := range w.all() {
		n += part.now()
	}
	return n
}

// synced marks that what was done up to operation k is durable.
func (w *crashWorld) synced(k int) { w.rec.Mark(crashMark{w: w, durable: k}) }

// sync makes everything durable.
func (w *crashWorld) sync() {
	if err := w.f.Sync(context.Background()); err != nil {
		w.t.Fatalf("sync: %v", err)
	}
	w.synced(w.now())
}

// fsync makes a file or directory durable, with everything that came before its
// last change.
func (w *crashWorld) fsync(i *Inode) {
	touched := w.touched(i.num)
	if err := i.Fsync(context.Background(), w.rng.IntN(4) == 0 && w.contentChanged(i.num)); err != nil {
		w.t.Fatalf("fsync: %v", err)
	}
	w.synced(touched)
}

// touched is the last operation that changed the inode.
func (w *crashWorld) touched(n disk.InodeNum) int {
	list := w.versions[n]
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].k
}

// contentChanged reports whether the operation changed content, so that fdatasync
// covers it.
func (w *crashWorld) contentChanged(n disk.InodeNum) bool {
	list := w.versions[n]
	if len(list) < 2 {
		return false
	}
	now, before := list[len(list)-1].v, list[len(list)-2].v
	return now != nil && before != nil && now.birth == before.birth && !bytes.Equal(now.data, before.data)
}

// data is what nothing else has written, nearly, and no byte of it is stale.
func (w *crashWorld) data(n int) []byte {
	p := make([]byte, n)
	w.stamp++
	for k := range p {
		b := w.stamp ^ byte(k>>4)*7 | 1
		if b == stale {
			b++
		}
		p[k] = b
	}
	return p
}

// finish closes the file system and returns the log.
func (w *crashWorld) finish() *testimages.WriteLog {
	if w.f != nil {
		w.tick.Add(1)
		if err := w.f.Close(); err != nil {
			w.t.Fatalf("close: %v", err)
		}
		for _, part := range w.all() {
			part.synced(part.now())
		}
	}
	return w.rec.Log()
}

// crashScan reads a whole file system. Of one that is open for writing, what
// has not changed since the last time is not read again.
type crashScan struct {
	root disk.InodeNum
	seen map[disk.InodeNum]*crashSeen
	sum  uint64
	text bool // keep the text of the metadata
}

type crashSeen struct {
	inode   *Inode
	rec     *byte
	version *crashVersion
	entries []crashEntry
	round   *crashMoment
}

type crashEntry struct {
	name string
	num  disk.InodeNum
	typ  uint8
}

func newCrashScan(root disk.InodeNum) *crashScan {
	return &crashScan{root: root, seen: make(map[disk.InodeNum]*crashSeen)}
}

// moment takes the moment of f.
func (s *crashScan) moment(f *FS) (*crashMoment, error) {
	m := &crashMoment{change: make(map[disk.InodeNum]*crashVersion)}
	if err := s.visit(f, s.root, m, 0); err != nil {
		return nil, err
	}
	for n, e := range s.seen {
		if e.round != m {
			delete(s.seen, n)
			m.change[n] = nil
			s.sum -= e.version.line
		}
	}
	m.sum = s.sum
	return m, nil
}

func (s *crashScan) visit(f *FS, n disk.InodeNum, m *crashMoment, depth int) error {
	e := s.seen[n]
	if e != nil && e.round == m {
		return nil // another name
	}
	i, err := f.Inode(n)
	if err != nil {
		return err
	}
	rec := i.rec.Load()
	if e == nil || e.inode != i || e.rec != rec {
		e = &crashSeen{inode: i, rec: rec}
		if st := i.Stat(); st.Links == 0 || st.Dtime != 0 {
			return fmt.Errorf("inode %d: %d links, deletion time %d", n, st.Links, st.Dtime)
		}
		if e.version, e.entries, err = readCrashVersion(i, s.text); err != nil {
			return fmt.Errorf("inode %d: %w", n, err)
		}
		switch old := s.seen[n]; {
		case old == nil:
			m.change[n] = e.version
			s.sum += e.version.line
		case old.version.line != e.version.line:
			m.change[n] = e.version
			s.sum += e.version.line - old.version.line
		default:
			e.version = old.version
		}
		s.seen[n] = e
	}
	e.round = m
	if depth > 50 {
		return fmt.Errorf("inode %d: directories %d deep", n, depth)
	}
	for _, c := range e.entries {
		if err := s.visit(f, c.num, m, depth+1); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

var crashHash = maphash.MakeSeed()

// readCrashVersion reads an inode, with its content.
func readCrashVersion(i *Inode, text bool) (*crashVersion, []crashEntry, error) {
	st := i.Stat()
	v := &crashVersion{size: st.Size, birth: int64(st.Generation)<<32 ^ st.Crtime.UnixNano()}
	var h bytes.Buffer
	fmt.Fprintf(&h, "inode %d mode %o links %d owner %d:%d size %d sectors %d flags %x generation %x version %d project %d dev %d:%d times %d %d %d", i.num, st.RawMode, st.Links, st.UID, st.GID, st.Size,
		st.Sectors, st.Flags, st.Generation, st.Version, st.Project, st.Major, st.Minor,
		st.Mtime.UnixNano(), st.Ctime.UnixNano(), st.Crtime.UnixNano())
	list, err := i.Xattrs()
	if err != nil {
		return nil, nil, err
	}
	for _, x := range list {
		fmt.Fprintf(&h, "\x00%s=%d:", x.Name, len(x.Value))
		h.Write(x.Value)
	}
	var entries []crashEntry
	switch st.Mode.Type() {
	case fs.ModeDir:
		if entries, err = readCrashDir(i); err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			fmt.Fprintf(&h, "\x00%s %d %d", e.name, e.num, e.typ)
		}
	case fs.ModeSymlink:
		target, err := i.Readlink()
		if err != nil {
			return nil, nil, err
		}
		h.WriteString(target)
	case 0:
		v.data = make([]byte, st.Size)
		if n, err := i.ReadAt(v.data, 0); n < len(v.data) && err != nil && err != io.EOF {
			return nil, nil, err
		}
	}
	v.line = maphash.Bytes(crashHash, h.Bytes())
	if text {
		v.text = h.String()
	}
	return v, entries, nil
}

// readCrashDir lists a directory but for the dots, by name.
func readCrashDir(d *Inode) ([]crashEntry, error) {
	var list []crashEntry
	for e, err := range d.Entries() {
		if err != nil {
			return nil, err
		}
		if IsDots(e) {
			continue
		}
		list = append(list, crashEntry{string(e.Name), e.Inode, uint8(e.Type)})
	}
	slices.SortFunc(list, func(a, b crashEntry) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}
