package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/testimages"
)

// attrFS makes a file system in memory and opens it.
func attrFS(t *testing.T, size int64, o *Options, mkfs ...string) *attrModel {
	t.Helper()
	m := &attrModel{t: t, dev: loadRAM(t, formatFile(t, size, mkfs...)), rng: rand.New(rand.NewPCG(1, 1)), files: map[string]*attrFile{}}
	if o != nil {
		m.opts = *o
	}
	m.open()
	return m
}

func (m *attrModel) make(name string, n *NewNode) *Inode {
	m.t.Helper()
	root, err := m.fs.Root()
	m.must(err)
	i, err := root.Create(name, n)
	m.must(err)
	return i
}

func (m *attrModel) unlink(name string) {
	m.t.Helper()
	root, err := m.fs.Root()
	m.must(err)
	m.must(root.Unlink(name))
}

// finish closes the file system and has it checked.
func (m *attrModel) finish() {
	m.t.Helper()
	m.must(m.fs.Close())
	fsckDevice(m.t, m.dev)
}

func blockRefs(t *testing.T, i *Inode) uint32 {
	t.Helper()
	buf, err := i.fs.cache.Get(i.FileACL())
	if err != nil {
		t.Fatal(err)
	}
	return disk.XattrHeader(buf.Data()).Refs()
}

func TestSetXattr_sharesBlocks(t *testing.T) {
	m := attrFS(t, 16<<20, nil, "-b", "4096", "-N", "4096")
	value := testimages.Content(1, 1500)
	var files []*Inode
	blocks := map[disk.BlockNum]int{}
	const n = 1100
	for k := range n {
		i := m.make(fmt.Sprint(k), &NewNode{Mode: disk.ModeRegular | 0o644})
		m.must(i.SetXattr("user.a", value, 0))
		blocks[i.FileACL()]++
		files = append(files, i)
	}
	if len(blocks) != 2 || blocks[files[0].FileACL()] != disk.XattrMaxRefs {
		t.Errorf("%d blocks, the first with %d references", len(blocks), blocks[files[0].FileACL()])
	}
	shared := files[0].FileACL()
	m.must(files[0].SetXattr("user.a", testimages.Content(2, 1500), 0))
	if files[0].FileACL() == shared || blockRefs(t, files[1]) != disk.XattrMaxRefs-1 {
		t.Error("the shared block was changed")
	}
	m.must(files[0].SetXattr("user.a", value, 0))
	if files[0].FileACL() != shared && files[0].FileACL() != files[n-1].FileACL() {
		t.Error("the block is not shared again")
	}
	for k := range n / 2 {
		m.unlink(fmt.Sprint(k))
	}
	if got, err := files[n-1].Xattr("user.a"); err != nil || !bytes.Equal(got, value) {
		t.Error("the value is gone", err)
	}
	m.finish()
	m.open()
	for k := n / 2; k < n; k++ {
		m.must(m.inode(fmt.Sprint(k)).RemoveXattr("user.a"))
	}
	m.finish()
}

func TestSetXattr_sharesValues(t *testing.T) {
	m := attrFS(t, 16<<20, nil, "-b", "1024", "-O", "ea_inode,quota")
	value := testimages.Content(1, 30000)
	var files []*Inode
	for k := range 3 {
		i := m.make(fmt.Sprint(k), &NewNode{Mode: disk.ModeRegular | 0o644, UID: uint32(k), Xattrs: []Xattr{{"user.v", value}}})
		files = append(files, i)
	}
	number := func(i *Inode) disk.InodeNum {
		list, err := i.RawXattrs()
		m.must(err)
		return list[0].ValueInode
	}
	v := number(files[0])
	if v == 0 || number(files[1]) != v || number(files[2]) != v {
		t.Fatalf("value inodes %d %d %d", v, number(files[1]), number(files[2]))
	}
	vi, err := m.fs.Inode(v)
	m.must(err)
	if refs := vi.record().EARefs(); refs != 3 {
		t.Errorf("%d references", refs)
	}
	q, err := m.fs.Quota(disk.QuotaUser, 2)
	m.must(err)
	if q.Inodes != 2 || q.Space != 30<<10 {
		t.Errorf("the owner of one has %d inodes, %d bytes", q.Inodes, q.Space)
	}
	for _, e := range []error{vi.SetXattr("user.x", nil, 0), vi.SetFlags(0), vi.SetAttr(&SetAttr{Valid: AttrUID})} {
		if !errors.Is(e, ErrNotPermitted) {
			t.Errorf("a value inode was changed: %v", e)
		}
	}
	m.must(files[0].RemoveXattr("user.v"))
	m.unlink("1")
	m.must(files[2].SetXattr("user.v", []byte("short"), 0))
	if used, err := m.fs.live.alloc.InodeInUse(v); used || err != nil {
		t.Errorf("the value is still there: %v %v", used, err)
	}
	m.finish()
}

// Inodes with more values than fit into a transaction can be changed and
// deleted.
func TestSetXattr_manyValues(t *testing.T) {
	m := attrFS(t, 64<<20, nil, "-b", "4096", "-I", "4096", "-O", "ea_inode,orphan_file", "-N", "2000")
	i := m.make("f", &NewNode{Mode: disk.ModeRegular | 0o644})
	for k := range 150 {
		m.must(i.SetXattr(fmt.Sprintf("user.%03d", k), testimages.Content(uint64(k), 4200), 0))
	}
	// The same values again, so that deleting them only counts.
	j := m.make("g", &NewNode{Mode: disk.ModeRegular | 0o644})
	for k := range 150 {
		m.must(j.SetXattr(fmt.Sprintf("user.%03d", k), testimages.Content(uint64(k), 4200), 0))
	}
	m.must(i.RemoveXattr("user.007"))
	m.must(i.SetXattr("user.small", []byte("x"), 0))
	m.unlink("f")
	if err := m.fs.live.journal.Err(); err != nil {
		t.Fatal(err)
	}
	if list, err := j.Xattrs(); err != nil || len(list) != 150 {
		t.Errorf("%d attributes of the other file: %v", len(list), err)
	}
	free := m.fs.live.alloc.Counts().FreeInodes
	m.unlink("g")
	if got := m.fs.live.alloc.Counts().FreeInodes; got != free+151 {
		t.Errorf("%d inodes became free", got-free)
	}
	m.finish()
}

func TestQuota_enforced(t *testing.T) {
	m := attrFS(t, 16<<20, &Options{EnforceQuotas: true}, "-b", "1024", "-O", "quota,project,ea_inode")
	m.must(m.fs.SetQuota(disk.QuotaUser, 7, quota.Limits{SpaceHard: 8, InodeHard: 3}))
	m.must(m.fs.SetQuota(disk.QuotaProject, 9, quota.Limits{SpaceHard: 1}))
	i := m.make("f", &NewNode{Mode: disk.ModeRegular | 0o644, UID: 7})
	m.must(i.SetXattr("user.a", testimages.Content(1, 600), 0))
	before, err := m.fs.Quota(disk.QuotaUser, 7)
	m.must(err)
	if err := i.SetXattr("user.b", testimages.Content(2, 20000), 0); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("too large an attribute: %v", err)
	}
	m.must(i.SetXattr("user.v", testimages.Content(3, 3000), 0))
	j := m.make("g", &NewNode{Mode: disk.ModeRegular | 0o644})
	m.must(j.SetXattr("user.v", testimages.Content(4, 3000), 0))
	err = j.SetAttr(&SetAttr{Valid: AttrUID | AttrMode, UID: 7, Mode: 0o600, KillPriv: true})
	if !errors.Is(err, ErrQuota) || j.Stat().UID != 0 || j.Stat().RawMode != disk.ModeRegular|0o644 {
		t.Errorf("chown to one without quota: %v, uid %d", err, j.Stat().UID)
	}
	if err := i.SetAttr(&SetAttr{Valid: AttrProject, Project: 9}); !errors.Is(err, ErrQuota) {
		t.Errorf("project without quota: %v", err)
	}
	root, err := m.fs.Root()
	m.must(err)
	if _, err := root.Create("h", &NewNode{Mode: disk.ModeRegular, UID: 7}); err != nil {
		t.Log(err)
	}
	if _, err := root.Create("k", &NewNode{Mode: disk.ModeRegular, UID: 7}); !errors.Is(err, ErrQuota) {
		t.Errorf("a file too many: %v", err)
	}
	m.must(i.RemoveXattr("user.v"))
	after, err := m.fs.Quota(disk.QuotaUser, 7)
	m.must(err)
	if after.Space != before.Space {
		t.Errorf("space %d, was %d", after.Space, before.Space)
	}
	m.finish()
}

// New ids make the quota files grow.
func TestQuota_manyOwners(t *testing.T) {
	for _, bs := range []string{"1024", "4096"} {
		m := attrFS(t, 32<<20, nil, "-b", bs, "-O", "quota,project", "-N", "4096")
		for k := range 600 {
			id := uint32(k * 7919)
			i := m.make(fmt.Sprint(k), &NewNode{Mode: disk.ModeRegular, UID: id, GID: id << 8, Project: uint32(k)})
			if k%3 == 0 {
				m.must(i.SetAttr(&SetAttr{Valid: AttrUID | AttrProject, UID: id + 1<<30, Project: 1 << 31}))
			}
			if k%5 == 0 {
				m.unlink(fmt.Sprint(k))
			}
		}
		m.finish()
	}
}

func TestSetAttr_times(t *testing.T) {
	m := attrFS(t, 8<<20, nil, "-b", "1024")
	i := m.make("f", &NewNode{Mode: disk.ModeRegular | 0o4755})
	at := time.Date(2400, 1, 2, 3, 4, 5, 678901234, time.UTC)
	old := time.Date(1910, 1, 2, 3, 4, 5, 1, time.UTC)
	born := time.Date(2100, 6, 7, 8, 9, 10, 11, time.UTC)
	m.must(i.SetAttr(&SetAttr{Valid: AttrAtime | AttrMtime | AttrCtime | AttrCrtime | AttrVersion, Atime: at, Mtime: old, Ctime: born, Crtime: born, Version: 1 << 40}))
	st := i.Stat()
	if !st.Atime.Equal(at) || !st.Mtime.Equal(old) || !st.Ctime.Equal(born) || !st.Crtime.Equal(born) || st.Version != 1<<40 {
		t.Errorf("%+v", st)
	}
	m.must(i.SetAttr(&SetAttr{Valid: AttrAtimeNow | AttrMtimeNow, KillPriv: true}))
	if st := i.Stat(); time.Since(st.Mtime) > time.Minute || time.Since(st.Atime) > time.Minute || st.RawMode != disk.ModeRegular|0o755 {
		t.Errorf("%+v", st)
	}
	m.must(i.SetAttr(&SetAttr{Valid: AttrGeneration, Generation: 77}))
	if _, err := i.WriteAt(testimages.Content(1, 5000), 0); err != nil || i.Stat().Generation != 77 {
		t.Errorf("write after a change of the generation: %v", err)
	}
	d := m.make("d", &NewNode{Mode: disk.ModeDir | 0o755})
	for name, err := range map[string]error{
		"generation of a directory":      d.SetAttr(&SetAttr{Valid: AttrGeneration, Generation: 1}),
		"project without the feature":    i.SetAttr(&SetAttr{Valid: AttrProject, Project: 1}),
		"casefold without the feature":   d.SetFlags(d.Flags() | disk.FlagCasefold),
		"block map for a file":           i.SetFlags(0),
		"topdir flag for a file":         i.SetFlags(i.Flags() | disk.FlagTopDir),
		"attribute for inline data":      i.SetXattr("system.data", nil, 0),
		"attribute for encryption":       i.SetXattr("encryption.c", nil, 0),
		"mode of a link":                 m.make("l", &NewNode{Mode: disk.ModeSymlink, Target: "x"}).SetAttr(&SetAttr{Valid: AttrMode}),
		"flags that nobody sees, of dir": d.SetFlags(d.Flags() | disk.FlagReserved),
	} {
		if !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Errorf("%s: %v", name, err)
		}
	}
	special, err := m.fs.Inode(disk.JournalInode)
	m.must(err)
	if err := special.SetAttr(&SetAttr{Valid: AttrMode}); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("mode of the journal: %v", err)
	}
	m.finish()
}

func TestSetFlags_casefold(t *testing.T) {
	m := attrFS(t, 8<<20, nil, "-b", "1024", "-O", "casefold")
	d := m.make("d", &NewNode{Mode: disk.ModeDir | 0o755})
	m.must(d.SetFlags(d.Flags() | disk.FlagCasefold))
	if _, err := d.Create("Name", &NewNode{Mode: disk.ModeRegular}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lookup("nAME"); err != nil {
		t.Errorf("look up another case: %v", err)
	}
	if err := d.SetFlags(d.Flags() &^ disk.FlagCasefold); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a directory with names: %v", err)
	}
	m.must(d.Unlink("NAME"))
	m.must(d.SetFlags(d.Flags() &^ disk.FlagCasefold))
	f := m.make("f", &NewNode{Mode: disk.ModeRegular})
	m.must(f.SetFlags(f.Flags() | disk.FlagImmutable))
	if err := f.SetFlags(f.Flags() | disk.FlagNoDump); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("flag of an immutable file: %v", err)
	}
	if err := f.SetXattr("user.a", nil, 0); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("attribute of an immutable file: %v", err)
	}
	m.must(f.SetFlags(f.Flags() &^ disk.FlagImmutable))
	m.must(f.SetFlags(f.Flags() | disk.FlagAppend))
	if err := f.SetAttr(&SetAttr{Valid: AttrSize}); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("size of an append-only file: %v", err)
	}
	m.must(f.SetAttr(&SetAttr{Valid: AttrMtimeNow}))
	m.finish()
}

// Data that was journaled and then written past the journal must not come back
// with a replay.
func TestSetFlags_journalData(t *testing.T) {
	m := attrFS(t, 8<<20, nil, "-b", "1024")
	f := m.make("f", &NewNode{Mode: disk.ModeRegular | 0o644})
	m.must(f.SetFlags(f.Flags() | disk.FlagJournalData))
	old, data := testimages.Content(1, 20000), testimages.Content(2, 20000)
	for range 3 {
		if _, err := f.WriteAt(old, 0); err != nil {
			t.Fatal(err)
		}
		m.must(m.fs.Sync(context.Background()))
	}
	m.must(f.SetFlags(f.Flags() &^ disk.FlagJournalData))
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	m.must(f.Fsync(context.Background(), false))
	again, err := Open(m.dev, nil) // what a crash now would leave
	m.must(err)
	if got, err := again.ReadFile("f"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the old data is back: %v", err)
	}
	m.must(again.Close())
	m.must(f.SetFlags(f.Flags() | disk.FlagJournalData))
	if _, err := f.WriteAt(old[:3000], 100); err != nil {
		t.Fatal(err)
	}
	copy(data[100:], old[:3000])
	if got, err := m.fs.ReadFile("f"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other data after the switch: %v", err)
	}
	m.finish()
}

// TestAttrs_stress changes what many inodes share from many sides.
func TestAttrs_stress(t *testing.T) {
	for _, c := range []struct {
		name string
		mkfs []string
	}{
		{"values", []string{"-b", "1024", "-O", "ea_inode,quota,project,orphan_file"}},
		{"blocks", []string{"-b", "4096", "-O", "quota"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := attrFS(t, 32<<20, nil, c.mkfs...)
			rounds := 150
			if testing.Short() {
				rounds = 40
			}
			var wg sync.WaitGroup
			for w := range 6 {
				wg.Go(func() { stressAttrs(m.fs, w, rounds, t.Error) })
			}
			wg.Wait()
			m.finish()
		})
	}
}

// stressAttrs works on files of its own and on ones that others work on, with
// few values.
func stressAttrs(f *FS, w, rounds int, report func(...any)) {
	rng := rand.New(rand.NewPCG(uint64(w), 3))
	root, err := f.Root()
	if err != nil {
		report(err)
		return
	}
	for range rounds {
		name := fmt.Sprintf("s%d", rng.IntN(4))
		if rng.IntN(2) == 0 {
			name = fmt.Sprintf("w%d", w)
		}
		var i *Inode
		n, err := root.Lookup(name)
		if err == nil {
			i, err = f.Inode(n)
		}
		switch rng.IntN(9) {
		case 0:
			if err == nil {
				err = root.Unlink(name)
			}
		case 1, 2:
			if err != nil {
				_, err = root.Create(name, &NewNode{Mode: disk.ModeRegular, UID: uint32(w)})
			}
		case 3:
			if err == nil {
				err = i.RemoveXattr("user.a")
			}
		case 4:
			if err == nil {
				_, err = i.Xattrs()
			}
		case 5:
			if err == nil {
				err = i.SetAttr(&SetAttr{Valid: AttrUID | AttrMode, UID: uint32(rng.IntN(6)), Mode: uint16(rng.IntN(512))})
			}
		case 6:
			if w == 0 {
				err = f.Sync(context.Background())
			}
		default:
			if err == nil {
				size := []int{300, 900, 3000, 20000}[rng.IntN(4)]
				err = i.SetXattr("user.a", testimages.Content(uint64(size), size), 0)
			}
		}
		if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrNoAttr) && !errors.Is(err, ErrExist) && !errors.Is(err, ErrNoSpace) {
			report(name, err)
			return
		}
	}
}

// What lies on disk from before is shared too, once it was read.
func TestSetXattr_sharesOld(t *testing.T) {
	m := attrFS(t, 16<<20, nil, "-b", "1024", "-O", "ea_inode")
	small, large := testimages.Content(1, 700), testimages.Content(2, 9000)
	m.make("a", &NewNode{Mode: disk.ModeRegular, Xattrs: []Xattr{{"user.l", large}, {"user.s", small}}})
	m.must(m.fs.Close())
	m.open()
	a := m.inode("a")
	_, err := a.Xattrs()
	m.must(err)
	b := m.make("b", &NewNode{Mode: disk.ModeRegular, Xattrs: []Xattr{{"user.l", large}, {"user.s", small}}})
	if a.FileACL() == 0 || a.FileACL() != b.FileACL() {
		t.Errorf("blocks %d and %d", a.FileACL(), b.FileACL())
	}
	for k, i := range []*Inode{a, b} {
		list, err := i.RawXattrs()
		m.must(err)
		for _, x := range list {
			if x.ValueInode == 0 {
				continue
			}
			v, err := m.fs.Inode(x.ValueInode)
			m.must(err)
			if refs := v.record().EARefs(); refs > 2 {
				t.Errorf("%d: %s has %d references", k, x.Name, refs)
			}
		}
	}
	m.finish()
}

// Damaged attributes give errors, and nothing worse.
func TestAttrs_hostile(t *testing.T) {
	images := 60
	if testing.Short() {
		images = 15
	}
	path := formatFile(t, 8<<20, "-b", "1024", "-O", "ea_inode,quota,^metadata_csum", "-N", "256")
	base := newAttrModel(t, loadRAM(t, path), 77)
	for range 300 {
		base.step()
	}
	base.must(base.fs.Close())
	ro, err := Open(base.dev, nil)
	base.must(err)
	var places []int64 // of bytes worth damaging
	for n := disk.InodeNum(11); n <= 80; n++ {
		block, at, err := ro.InodeLocation(n)
		base.must(err)
		places = append(places, int64(block)<<10+int64(at))
		if i, err := ro.Inode(n); err == nil && i.FileACL() != 0 {
			places = append(places, int64(i.FileACL())<<10, int64(i.FileACL())<<10)
		}
	}
	for n := range images {
		rng := rand.New(rand.NewPCG(uint64(n), 5))
		dev := loadRAM(t, saveRAM(t, base.dev))
		for range 1 + rng.IntN(6) {
			at := places[rng.IntN(len(places))] + int64(rng.IntN(256))
			b := make([]byte, 1+rng.IntN(4))
			for k := range b {
				b[k] = []byte{0, 1, 0xff, byte(rng.Uint32())}[rng.IntN(4)]
			}
			if _, err := dev.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
		if f, err := Open(dev, &Options{Write: true, CommitInterval: -1}); err == nil {
			abuse(f)
			_ = f.Close()
		}
	}
}

// abuse changes attributes without looking at errors.
func abuse(f *FS) {
	root, err := f.Root()
	if err != nil {
		return
	}
	for k := range 80 {
		name := fmt.Sprintf("f%d", k%12)
		n, err := root.Lookup(name)
		if err != nil {
			_, _ = root.Create(name, &NewNode{Mode: disk.ModeRegular})
			continue
		}
		i, err := f.Inode(n)
		switch {
		case err != nil:
		case k%7 == 0:
			_ = root.Unlink(name)
		case k%5 == 0:
			_ = i.SetAttr(&SetAttr{Valid: AttrUID | AttrMode, UID: uint32(k), Mode: 0o640, KillPriv: true})
		case k%3 == 0:
			_ = i.RemoveXattr([]string{"user.a", "trusted.bc", "security.d"}[k/3%3])
		default:
			_ = i.SetXattr("user.a", testimages.Content(uint64(k%4), k%4*900), 0)
		}
	}
}

// TestCreate_moreThanTheJournal: what one transaction has no room for is not
// done at all, and says so like a full disk, as in Linux.
func TestCreate_moreThanTheJournal(t *testing.T) {
	dev := formatRAM(t, 16<<20, "-b", "1024", "-J", "size=1", "-O", "ea_inode")
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	before := f.live.alloc.Counts()
	n := &NewNode{Mode: disk.ModeRegular | 0o600}
	for k := range 6 {
		n.Xattrs = append(n.Xattrs, Xattr{Name: fmt.Sprintf("user.%d", k), Value: bytes.Repeat([]byte{byte(k)}, 60000)})
	}
	_, err := root.Create("file", n)
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("create: %v", err)
	}
	if _, err := root.Child("file"); !errors.Is(err, ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	if after := f.live.alloc.Counts(); after != before {
		t.Errorf("%+v, before %+v", after, before)
	}
	// One after the other they are no trouble.
	list := n.Xattrs
	n.Xattrs = nil
	i, err := root.Create("file", n)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if err := i.SetXattr(x.Name, x.Value, 0); err != nil {
			t.Error(err)
		}
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestErrors_saidOnce: no message says the same twice.
func TestErrors_saidOnce(t *testing.T) {
	dev := formatRAM(t, 4<<20, "-b", "1024", "-N", "16")
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	i, err := root.Create("file", &NewNode{Mode: disk.ModeRegular | 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.SetXattr("user.a", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	_, full := i.WriteAt(make([]byte, 8<<20), 0)
	var inodes error
	for k := 0; inodes == nil && k < 20; k++ {
		_, inodes = root.Create(fmt.Sprint(k), &NewNode{Mode: disk.ModeFIFO | 0o600})
	}
	for _, c := range []struct {
		err  error
		kind error
		want string
	}{
		{i.RemoveXattr("user.none"), ErrNoAttr, "user.none of inode 12: no such attribute"},
		{i.SetXattr("user.a", nil, XattrCreate), ErrExist, "user.a of inode 12: attribute exists"},
		{full, ErrNoSpace, "no space left in the file system: no free blocks"},
		{inodes, ErrNoSpace, "no space left in the file system: no free inodes"},
	} {
		if !errors.Is(c.err, c.kind) || c.err.Error() != c.want {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
