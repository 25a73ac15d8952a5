package ext4fs

import (
	"context"
	"fmt"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// fastImage is an image with fast commits of the test's making.
type fastImage struct {
	t   *testing.T
	f   *FS         // goes on where the last full commit was
	dev *device.RAM // as it was after that
	w   disk.FCWriter
}

// newFastImage takes the image of f as it is on dev, after a commit.
func newFastImage(t *testing.T, f *FS, dev *device.RAM) *fastImage {
	t.Helper()
	if err := f.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	m := &fastImage{t: t, f: f, dev: dev.Clone(), w: disk.FCWriter{BlockSize: f.BlockSize()}}
	m.add(&disk.FCHead{Transaction: f.live.journal.RunningID()})
	return m
}

func (m *fastImage) add(r disk.FCRecord) {
	m.t.Helper()
	if err := m.w.Add(r); err != nil {
		m.t.Fatal(err)
	}
}

// inode records an inode as it is in f now, with its blocks.
func (m *fastImage) inode(i *Inode) {
	m.t.Helper()
	m.add(&disk.FCInode{Inode: i.num, Raw: i.record()[:disk.InodeBaseSize+i.record().ExtraSize()]})
	for e, err := range i.Extents() {
		if err != nil {
			m.t.Fatal(err)
		}
		m.add(&disk.FCAddRange{Inode: i.num, Extent: disk.ExtentLeaf{Logical: e.Logical, Physical: e.Physical, Len: e.Len}})
	}
}

// finish writes the records where the journal has them, and opens the image.
func (m *fastImage) finish() *FS {
	m.t.Helper()
	runs, err := m.f.journalRuns()
	if err != nil || len(runs) != 1 {
		m.t.Fatalf("%d runs of the journal, %v", len(runs), err)
	}
	bs := int64(m.f.BlockSize())
	at := int64(runs[0].Physical) * bs
	raw := make([]byte, 1024)
	var sb disk.JournalSuperblock
	if _, err := m.dev.ReadAt(raw, at); err != nil {
		m.t.Fatal(err)
	}
	if err := sb.Decode(raw); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.dev.WriteAt(m.w.Finish(m.f.live.journal.RunningID()), at+int64(sb.Last()+1)*bs); err != nil {
		m.t.Fatal(err)
	}
	f := openQuiet(m.t, m.dev)
	if f.Recovered().FastCommits == 0 {
		m.t.Fatal("no fast commits were applied")
	}
	return f
}

// TestFastCommit_quotas: fast commits change what owners have, and do not say so.
func TestFastCommit_quotas(t *testing.T) {
	dev := formatRAM(t, 32<<20, "-b", "1024", "-O", "fast_commit,quota,project,ea_inode")
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	make1 := func(name string, uid uint32, n int) *Inode {
		t.Helper()
		i, err := root.Create(name, &NewNode{Mode: disk.ModeRegular | 0o600, UID: uid, GID: uid + 1, Content: make([]byte, n)})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	grown, gone, again := make1("grown", 1000, 20<<10), make1("gone", 1001, 30<<10), make1("again", 1002, 5000)
	for _, i := range []*Inode{gone, grown} {
		if err := i.SetXattr("user.big", make([]byte, 5000), 0); err != nil {
			t.Fatal(err)
		}
	}
	m := newFastImage(t, f, dev)

	if _, err := grown.WriteAt(make([]byte, 50<<10), 20<<10); err != nil {
		t.Fatal(err)
	}
	m.inode(grown)
	fresh := make1("fresh", 1003, 7000)
	m.inode(fresh)
	m.add(&disk.FCDirent{Kind: disk.FCTagCreat, Parent: disk.RootInode, Inode: fresh.num, Name: []byte("fresh")})
	for _, i := range []*Inode{gone, again} {
		name := map[*Inode]string{gone: "gone", again: "again"}[i]
		if err := root.Unlink(name); err != nil {
			t.Fatal(err)
		}
		m.add(&disk.FCDirent{Kind: disk.FCTagUnlink, Parent: disk.RootInode, Inode: i.num, Name: []byte(name)})
	}
	g := m.finish()
	for kind := disk.QuotaKind(0); kind < disk.QuotaKinds; kind++ {
		for _, id := range []uint32{0, 1000, 1001, 1002, 1003, 1004} {
			want, err := f.Quota(kind, id)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := g.Quota(kind, id); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s %d: %+v, %v, want %+v", kind, id, got, err, want)
			}
		}
	}
	closeWrite(t, g)
	fsckDevice(t, m.dev)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestFastCommit_reusedNumber: an inode went, and its number is another one's:
// what the first had goes, with its attributes outside of the record.
func TestFastCommit_reusedNumber(t *testing.T) {
	for _, c := range []struct {
		name, feature string
		shared        bool
		value         int
	}{
		{"block", "^ea_inode", false, 400},
		{"shared block", "^ea_inode", true, 400},
		{"value inode", "ea_inode", false, 5000},
		{"shared value inode", "ea_inode", true, 5000},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev := formatRAM(t, 32<<20, "-b", "1024", "-I", "256", "-O", "fast_commit,quota,"+c.feature)
			f := openQuiet(t, dev)
			root := mustRoot(t, f)
			n := &NewNode{Mode: disk.ModeRegular | 0o600, UID: 1000, Content: make([]byte, 20<<10),
				Xattrs: []Xattr{{Name: "user.big", Value: make([]byte, c.value)}}}
			old, err := root.Create("old", n)
			if err != nil {
				t.Fatal(err)
			}
			if c.shared {
				if _, err := root.Create("other", n); err != nil {
					t.Fatal(err)
				}
			}
			m := newFastImage(t, f, dev)
			m.add(&disk.FCDirent{Kind: disk.FCTagUnlink, Parent: disk.RootInode, Inode: old.num, Name: []byte("old")})
			fresh, err := root.Create("fresh", &NewNode{Mode: disk.ModeRegular | 0o600, UID: 1001, Content: make([]byte, 3000)})
			if err != nil {
				t.Fatal(err)
			}
			raw := fresh.record()[:disk.InodeBaseSize+fresh.record().ExtraSize()]
			m.add(&disk.FCInode{Inode: old.num, Raw: raw})
			for e, err := range fresh.Extents() {
				if err != nil {
					t.Fatal(err)
				}
				m.add(&disk.FCAddRange{Inode: old.num, Extent: disk.ExtentLeaf{Physical: e.Physical, Len: e.Len}})
			}
			m.add(&disk.FCDirent{Kind: disk.FCTagCreat, Parent: disk.RootInode, Inode: old.num, Name: []byte("fresh")})
			g := m.finish()
			if i, err := g.Lookup("fresh"); err != nil || i.num != old.num || i.Size() != 3000 || i.FileACL() != 0 {
				t.Errorf("%v, %v", i, err)
			}
			closeWrite(t, g)
			fsckDevice(t, m.dev)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFastCommit_reusedInline: the number of an inode with a deep block map is
// that of one with its content inside: the nodes of the map are free.
func TestFastCommit_reusedInline(t *testing.T) {
	dev := formatRAM(t, 32<<20, "-b", "1024", "-I", "256", "-O", "fast_commit,quota,inline_data")
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	old, err := root.Create("old", &NewNode{Mode: disk.ModeRegular | 0o600, UID: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for n := range int64(40) {
		if _, err := old.WriteAt(make([]byte, 1024), 2048*n); err != nil {
			t.Fatal(err)
		}
	}
	m := newFastImage(t, f, dev)
	m.add(&disk.FCDirent{Kind: disk.FCTagUnlink, Parent: disk.RootInode, Inode: old.num, Name: []byte("old")})
	fresh, err := root.Create("fresh", &NewNode{Mode: disk.ModeRegular | 0o600, UID: 1001, Content: []byte("inside")})
	if err != nil {
		t.Fatal(err)
	}
	m.add(&disk.FCInode{Inode: old.num, Raw: fresh.whole()})
	m.add(&disk.FCDirent{Kind: disk.FCTagCreat, Parent: disk.RootInode, Inode: old.num, Name: []byte("fresh")})
	g := m.finish()
	if p, err := g.ReadFile("fresh"); err != nil || string(p) != "inside" {
		t.Errorf("%q, %v", p, err)
	}
	closeWrite(t, g)
	fsckDevice(t, m.dev)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
