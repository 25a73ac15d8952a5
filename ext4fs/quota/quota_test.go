package quota_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
)

func config(m *memory, k disk.QuotaKind, now *int64) quota.Config {
	c := quota.Config{Kind: k, Inode: 3, Storage: m, Enforce: true}
	if now != nil {
		c.Now = func() time.Time { return time.Unix(*now, 0) }
	}
	return c
}

func initFile(t testing.TB, m *memory, k disk.QuotaKind, now *int64) *quota.File {
	t.Helper()
	f, err := quota.Init(nil, config(m, k, now))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Random records against a map, reopened now and then.
func TestFile_model(t *testing.T) {
	for _, bs := range []int{1024, 4096, 65536} {
		r := rand.New(rand.NewPCG(1, uint64(bs)))
		m := newMemory(bs, nil)
		f := initFile(t, m, disk.QuotaGroup, nil)
		model := map[uint32]disk.QuotaEntry{}
		ids := make([]uint32, 600)
		for n := range ids {
			ids[n] = r.Uint32() >> (8 * r.IntN(4)) // near and far
		}
		ids[0], ids[1] = 0, 1<<32-1
		for step := range 4000 {
			id := ids[r.IntN(len(ids))]
			e := disk.QuotaEntry{ID: id, Inodes: r.Uint64N(5), Space: r.Uint64(), SpaceHard: r.Uint64N(3), InodeTime: r.Uint64N(3)}
			if err := f.Put(nil, e); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			model[id] = e
			if step%500 == 0 {
				var err error
				if f, err = quota.Open(config(m, disk.QuotaGroup, nil)); err != nil {
					t.Fatal(err)
				}
			}
			id = ids[r.IntN(len(ids))]
			got, ok, err := f.Get(id)
			want, has := model[id]
			want.ID = id
			if err != nil || ok != has || got != want {
				t.Fatalf("step %d: id %d: %+v, %v, %v; want %+v", step, id, got, ok, err, want)
			}
		}
		list, err := f.Entries(t.Context())
		if err != nil || len(list) != len(model) || !slices.IsSortedFunc(list, func(a, b disk.QuotaEntry) int { return int(int64(a.ID) - int64(b.ID)) }) {
			t.Errorf("%d records, want %d: %v", len(list), len(model), err)
		}
		for _, e := range list {
			if model[e.ID] != e {
				t.Errorf("%+v, want %+v", e, model[e.ID])
			}
		}
		if m.size%disk.QuotaBlockSize != 0 || disk.QuotaInfo(m.data).Blocks() != uint32(m.size/disk.QuotaBlockSize) {
			t.Errorf("%d bytes, %d blocks", m.size, disk.QuotaInfo(m.data).Blocks())
		}
	}
}

func TestFile_recordZero(t *testing.T) {
	m := newMemory(1024, nil)
	f := initFile(t, m, disk.QuotaUser, nil)
	set := quota.NewSet(f)
	if err := set.Prepare(nil, quota.Owners{}); err != nil {
		t.Fatal(err)
	}
	if e, ok, err := f.Get(0); e != (disk.QuotaEntry{}) || !ok || err != nil {
		t.Errorf("%+v, %v, %v", e, ok, err)
	}
	if f, _ = quota.Open(config(m, disk.QuotaUser, nil)); f == nil {
		t.Fatal("not to be opened")
	}
	if e, ok, err := f.Get(0); e != (disk.QuotaEntry{}) || !ok || err != nil {
		t.Errorf("read again: %+v, %v, %v", e, ok, err)
	}
	if m.size != 6*disk.QuotaBlockSize {
		t.Errorf("%d bytes", m.size)
	}
}

func TestCharge_limits(t *testing.T) {
	now := int64(1000)
	m := newMemory(4096, nil)
	f := initFile(t, m, disk.QuotaUser, &now)
	if err := f.SetGrace(nil, 100, 200); err != nil {
		t.Fatal(err)
	}
	if err := f.SetLimits(nil, 7, quota.Limits{InodeHard: 4, InodeSoft: 2, SpaceHard: 100, SpaceSoft: 50}); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		at            int64
		space, inodes int64
		force, full   bool
		btime, itime  uint64
	}{
		{1000, 50 << 10, 2, false, false, 0, 0},
		{1010, 1, 0, false, false, 1110, 0},
		{1020, 0, 1, false, false, 1110, 1220},
		{1109, 1 << 10, 0, false, false, 1110, 1220},
		{1110, 1, 0, false, true, 1110, 1220}, // the grace is over
		{1110, 1, 0, true, false, 1110, 1220},
		{1110, -2000, 0, false, false, 0, 1220}, // below the soft limit again
		{1110, 51 << 10, 0, false, true, 0, 1220},
		{1110, 1000, 2, false, true, 0, 1220}, // space would do, inodes do not
		{1110, 100 << 10, 0, true, false, 1210, 1220},
		{1110, -1 << 40, -100, false, false, 0, 0},
	}
	for n, s := range steps {
		now = s.at
		before := bytes.Clone(m.data)
		err := f.Charge(nil, 7, s.space, s.inodes, s.force)
		if s.full != errors.Is(err, syscall.EDQUOT) || !s.full && err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if s.full && !bytes.Equal(before, m.data) {
			t.Errorf("step %d: refused, and the file changed", n)
		}
		e, _, _ := f.Get(7)
		if e.SpaceTime != s.btime || e.InodeTime != s.itime {
			t.Errorf("step %d: %+v", n, e)
		}
	}
	if e, _, _ := f.Get(7); e.Space != 0 || e.Inodes != 0 {
		t.Errorf("%+v", e)
	}
}

// Nothing is changed anywhere when one of the kinds refuses, or fails.
func TestSet_wholeOrNot(t *testing.T) {
	var files []*quota.File
	var stores []*memory
	for k := disk.QuotaKind(0); k < disk.QuotaKinds; k++ {
		m := newMemory(1024, nil)
		stores = append(stores, m)
		files = append(files, initFile(t, m, k, nil))
	}
	set := quota.NewSet(files[2], files[0], files[1], nil)
	if set.Len() != 3 || set.File(disk.QuotaProject) != files[2] {
		t.Fatal("the set")
	}
	o := quota.Owners{User: 1, Group: 2, Project: 3}
	if known, _ := set.Known(o); known {
		t.Error("known before")
	}
	if err := set.Prepare(nil, o); err != nil {
		t.Fatal(err)
	}
	if known, _ := set.Known(o); !known {
		t.Error("not known after")
	}
	if err := files[2].SetLimits(nil, 3, quota.Limits{InodeHard: 1}); err != nil {
		t.Fatal(err)
	}
	if err := set.Charge(nil, o, 4096, 2, false); !errors.Is(err, quota.ErrQuota) {
		t.Error(err)
	}
	if err := set.Charge(nil, o, 4096, 1, false); err != nil {
		t.Error(err)
	}
	if err := set.Transfer(nil, quota.Owners{}, o, 0, 1, false); !errors.Is(err, quota.ErrQuota) {
		t.Error(err)
	}
	to := quota.Owners{User: 1, Group: 9, Project: 10}
	for left := 1; ; left++ {
		for _, m := range stores {
			m.left = left
		}
		err := set.Transfer(nil, o, to, 4096, 1, false)
		for _, m := range stores {
			m.left = -1
		}
		if err == nil {
			break
		}
		for n, id := range []uint32{1, 2, 3} {
			if e, _, err := files[n].Get(id); e.Inodes != 1 || e.Space != 4096 || err != nil {
				t.Fatalf("after a failure: %+v, %v", e, err)
			}
		}
	}
	for n, want := range []map[uint32]uint64{{1: 4096}, {2: 0, 9: 4096}, {3: 0, 10: 4096}} {
		reopened, err := quota.Open(config(stores[n], disk.QuotaKind(n), nil))
		if err != nil {
			t.Fatal(err)
		}
		got := map[uint32]uint64{}
		list, err := reopened.Entries(t.Context())
		for _, e := range list {
			got[e.ID] = e.Space
		}
		if !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("kind %d: %v, want %v: %v", n, got, want, err)
		}
	}
	if err := (&quota.Set{}).Charge(nil, o, 1, 1, false); err != nil {
		t.Error(err)
	}
}

// Free blocks and lists that a kernel left are used.
func TestInsert_freeBlocks(t *testing.T) {
	m := newMemory(1024, nil)
	initFile(t, m, disk.QuotaUser, nil)
	m.grow(5 * disk.QuotaBlockSize)
	q := disk.QuotaInfo(m.data)
	q.SetBlocks(5)
	q.SetFreeBlock(4)
	disk.QuotaData(m.data[4*1024:]).SetNext(2)
	disk.QuotaData(m.data[2*1024:]).SetNext(3)
	f, err := quota.Open(config(m, disk.QuotaUser, nil))
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint32(40) { // fills two data blocks, begins a third
		if err := f.Charge(nil, id, 1024, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	q = disk.QuotaInfo(m.data)
	if q.FreeBlock() != 0 || m.size != 8*1024 || q.FreeEntry() != 7 {
		t.Errorf("free block %d, free entry %d, %d bytes", q.FreeBlock(), q.FreeEntry(), m.size)
	}
	if list, err := f.Entries(t.Context()); len(list) != 40 || err != nil {
		t.Error(len(list), err)
	}
}

func TestOpen_damage(t *testing.T) {
	good := newMemory(1024, nil)
	f := initFile(t, good, disk.QuotaUser, nil)
	for _, id := range []uint32{5, 6, 1 << 30} {
		if err := f.Charge(nil, id, 1, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(m *memory){
		"magic":      func(m *memory) { m.data[0]++ },
		"version":    func(m *memory) { m.data[4] = 0 },
		"blocks":     func(m *memory) { disk.QuotaInfo(m.data).SetBlocks(1000) },
		"no blocks":  func(m *memory) { disk.QuotaInfo(m.data).SetBlocks(0) },
		"free list":  func(m *memory) { disk.QuotaInfo(m.data).SetFreeBlock(1000) },
		"free entry": func(m *memory) { disk.QuotaInfo(m.data).SetFreeEntry(1) },
		"short":      func(m *memory) { m.size = 100 },
		"loop":       func(m *memory) { disk.QuotaTree(m.data[1024:]).SetRef(0, 1) },
		"range":      func(m *memory) { disk.QuotaTree(m.data[1024:]).SetRef(0, 77) },
		"missing":    func(m *memory) { clear(m.data[5*1024+16 : 6*1024]) },
		"twice":      func(m *memory) { disk.QuotaTree(m.data[1024:]).SetRef(200, 2) },
	} {
		m := newMemory(1024, good.data)
		spoil(m)
		f, err := quota.Open(config(m, disk.QuotaUser, nil))
		if err == nil {
			_, err = f.Entries(t.Context())
		}
		if !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Entries(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSet_concurrent(t *testing.T) {
	var files []*quota.File
	for k := disk.QuotaKind(0); k < disk.QuotaKinds; k++ {
		files = append(files, initFile(t, newMemory(4096, nil), k, nil))
	}
	set := quota.NewSet(files...)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 300 {
				o := quota.Owners{User: uint32(i % 50), Group: uint32(n), Project: 1}
				if err := set.Charge(nil, o, 10, 1, false); err != nil {
					t.Error(err)
				}
				files[0].Get(uint32(i))
			}
		})
	}
	wg.Wait()
	if e, _, _ := files[2].Get(1); e.Space != 12000 || e.Inodes != 1200 {
		t.Errorf("%+v", e)
	}
}

// Files of any content give an error or take a record, never a panic.
func FuzzFile(f *testing.F) {
	m := newMemory(1024, nil)
	file, err := quota.Init(nil, config(m, disk.QuotaUser, nil))
	if err != nil {
		f.Fatal(err)
	}
	for id := range uint32(30) {
		file.Charge(nil, id*id*id*1000, 1, 1, false)
	}
	f.Add(m.data, uint32(77))
	f.Fuzz(func(t *testing.T, data []byte, id uint32) {
		m := newMemory(1024, data)
		file, err := quota.Open(config(m, disk.QuotaUser, nil))
		if err != nil {
			return
		}
		file.Entries(t.Context())
		before := bytes.Clone(m.data)
		if err := file.Charge(nil, id, 1000, 1, false); err != nil {
			if !bytes.HasPrefix(m.data, before) {
				t.Error("failed, and changed")
			}
			return
		}
		if again, err := quota.Open(config(m, disk.QuotaUser, nil)); err != nil {
			t.Error(err)
		} else if e, ok, err := again.Get(id); !ok || err != nil || e.ID != id {
			t.Errorf("%+v, %v, %v", e, ok, err)
		}
	})
}
