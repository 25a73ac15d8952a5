package journal

import (
	"errors"
	"reflect"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// fastSynth is a log of one full commit with a fast-commit area of 63 usable
// blocks, for fast commits of transaction 6.
func fastSynth(t testing.TB) *synth {
	s := newSynth(t, kind{"fast", 0, kinds[6].incompat | disk.JournalIncompatFastCommit}, 1024, 1100, 1000, 5)
	s.sb.NumFastBlocks = 64
	s.super()
	s.commit([]write{{1, fill(1024, 1)}}, nil)
	return s
}

// fastCommit lays out one fast commit of count names, the first of all with a
// HEAD.
func fastCommit(t testing.TB, head *disk.FCHead, id uint32, count int) (b []byte, records []disk.FCRecord) {
	t.Helper()
	w := disk.FCWriter{BlockSize: 1024}
	add := func(r disk.FCRecord) {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if head != nil {
		add(head)
	}
	for i := range count {
		r := &disk.FCDirent{Kind: disk.FCTagLink, Parent: 2, Inode: 12, Name: []byte(name("name %d", i))}
		add(r)
		records = append(records, r)
	}
	return w.Finish(id), records
}

// area is the part of the log where fast commits lie.
func (s *synth) area() []byte { return s.log.b[int(s.sb.Last()+1)*s.log.bs:] }

func TestLoad_fastCommitArea(t *testing.T) {
	head := &disk.FCHead{Transaction: 6}
	first, names1 := fastCommit(t, head, 6, 100)
	second, names2 := fastCommit(t, nil, 6, 3)
	stale, _ := fastCommit(t, nil, 5, 3)
	both := append(append([]byte(nil), first...), second...)
	all := append(append([]disk.FCRecord(nil), names1...), names2...)
	for _, c := range []struct {
		name string
		make func(area []byte)
		want []disk.FCRecord
		err  error
	}{
		{"two", func(a []byte) { copy(a, both) }, all, nil},
		{"nothing", func([]byte) {}, nil, nil},
		{"older area", func(a []byte) {
			b, _ := fastCommit(t, &disk.FCHead{Transaction: 5}, 5, 3)
			copy(a, b)
		}, nil, nil},
		{"no head", func(a []byte) { copy(a, second) }, nil, nil},
		{"garbage", func(a []byte) { copy(a, fill(1024, 1)) }, nil, nil},
		{"older tail after a good one", func(a []byte) { copy(a[copy(a, first):], stale) }, names1, nil},
		{"garbage after a good one", func(a []byte) { copy(a[copy(a, first):], fill(1024, 1)) }, names1, nil},
		{"head in the middle", func(a []byte) {
			b, _ := fastCommit(t, &disk.FCHead{Transaction: 7}, 7, 3)
			copy(a[copy(a, first):], b)
		}, names1, nil},
		{"second damaged", func(a []byte) { copy(a, both); a[len(first)+20] ^= 1 }, names1, nil},
		{"first damaged", func(a []byte) { copy(a, both); a[30] ^= 1 }, nil, disk.ErrChecksum},
		{"first interrupted", func(a []byte) { copy(a, first[:1024]) }, nil, disk.ErrCorrupt},
		{"short head", func(a []byte) { copy(a, []byte{9, 0, 7, 0}) }, nil, disk.ErrCorrupt},
		{"unknown features", func(a []byte) {
			b, _ := fastCommit(t, &disk.FCHead{Features: 4, Transaction: 6}, 6, 3)
			copy(a, b)
		}, nil, disk.ErrUnsupported},
		{"whole area", func(a []byte) {
			for n := copy(a, first); n+len(second) <= 63*1024; {
				n += copy(a[n:], second)
			}
		}, append(append([]disk.FCRecord(nil), names1...), repeat(names2, 63-len(first)/1024)...), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fastSynth(t)
			c.make(s.area())
			r, err := s.load(Options{})
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				r, err = s.load(Options{IgnoreChecksums: true})
				if errors.Is(c.err, disk.ErrUnsupported) {
					if !errors.Is(err, c.err) {
						t.Errorf("ignored: %v", err)
					}
					return
				}
				if err != nil || r.Damage == nil {
					t.Fatalf("ignored: %v, %v", r, err)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(r.FastCommits) != len(c.want) || len(c.want) > 0 && !reflect.DeepEqual(r.FastCommits, c.want) {
				t.Errorf("%d records, want %d", len(r.FastCommits), len(c.want))
			}
			if r.Blocks() != 1 || r.EndID != 6 {
				t.Errorf("%v", r)
			}
			for rec, err := range WalkFastCommits(s.log, 1024) {
				if err == nil && rec.Block <= s.sb.Last() {
					t.Errorf("record at block %d", rec.Block)
				}
			}
		})
	}
}

func repeat(r []disk.FCRecord, n int) (list []disk.FCRecord) {
	for range n {
		list = append(list, r...)
	}
	return list
}

// With damage in the full commits, what lies on top of them does not count.
func TestLoad_fastCommitsAfterDamage(t *testing.T) {
	s := fastSynth(t)
	p := s.commit([]write{{2, fill(1024, 1)}}, nil)
	b, _ := fastCommit(t, &disk.FCHead{Transaction: 6}, 6, 3)
	copy(s.area(), b)
	s.log.block(p.commit)[0x10] ^= 1
	r := s.mustLoad(Options{IgnoreChecksums: true})
	if r.Damage == nil || len(r.FastCommits) != 0 || r.Blocks() != 1 {
		t.Errorf("%v, %d records", r, len(r.FastCommits))
	}
}

func TestWalkFastCommits(t *testing.T) {
	s := fastSynth(t)
	b, _ := fastCommit(t, &disk.FCHead{Transaction: 3}, 3, 2)
	a := s.area()
	copy(a, b)
	copy(a[1024:], []byte{5, 0, 255, 255})
	copy(a[2048:], b)
	var got []string
	for r, err := range WalkFastCommits(s.log, 1024) {
		if err != nil {
			got = append(got, name("error at %d", r.Block))
			continue
		}
		got = append(got, name("%v %v", r.Record.Tag(), r.ChecksumOK))
	}
	commit := []string{"head false", "link false", "link false", "tail true"}
	want := append(append(append([]string(nil), commit...), name("error at %d", s.sb.Last()+2)), commit...)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
