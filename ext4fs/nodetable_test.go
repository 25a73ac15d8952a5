package ext4fs

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// crowdOut lets so many others be asked for that nothing is held for that.
func crowdOut(f *FS, n disk.InodeNum) {
	s := f.live.nodes.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.last {
		s.note(newLive(f, disk.InodeNum(k)))
	}
}

// TestNodes_oneInode: whoever has an inode in his hands has the only one, be it
// held by the table, or not any more, or again.
func TestNodes_oneInode(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	defer closeWrite(t, f)
	root := mustRoot(t, f)
	i, err := root.Create("file", &NewNode{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	same := func(when string, held bool) {
		t.Helper()
		runtime.GC()
		if o, err := f.Inode(i.num); err != nil || o != i {
			t.Fatalf("%s: another inode %p, not %p, %v", when, o, i, err)
		}
		if o, err := root.Child("file"); err != nil || o != i {
			t.Fatalf("%s: another child %p, not %p, %v", when, o, i, err)
		}
		if i.place.held != held {
			t.Errorf("%s: held is %v", when, i.place.held)
		}
	}
	same("new", true)
	crowdOut(f, i.num)
	same("crowded out", false)
	for range 2 {
		if !i.Keep() {
			t.Fatal("it cannot be kept")
		}
		crowdOut(f, i.num)
		same("kept", true)
	}
	for n := range 2 {
		if err := i.Unkeep(); err != nil {
			t.Fatal(err)
		}
		crowdOut(f, i.num)
		same("let go", n == 0)
	}
	if err := root.Unlink("file"); err != nil {
		t.Fatal(err)
	}
	if i.Keep() || f.live.nodes.has(i) {
		t.Error("it is known after it was deleted")
	}
	if j, err := f.Inode(i.num); err != nil || j == i || j.record().Links() != 0 {
		t.Errorf("the deleted inode is %p as before, %v", j, err)
	}
	runtime.KeepAlive(i)
}

// TestNodes_areForgotten: what nobody has leaves memory, however it came there,
// what is kept does not, and both are found again.
func TestNodes_areForgotten(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	defer closeWrite(t, f)
	root := mustRoot(t, f)
	const files = 300
	var gone, kept []weak.Pointer[Inode]
	var nums [files]disk.InodeNum
	for n := range files {
		i, err := root.Create(fmt.Sprint(n), &NewNode{Mode: 0o644})
		if err != nil {
			t.Fatal(err)
		}
		nums[n] = i.num
		switch n % 3 {
		case 0:
			i.Keep()
			kept = append(kept, weak.Make(i))
			continue
		case 1: // was kept
			i.Keep()
			crowdOut(f, i.num)
			_ = i.Unkeep()
		}
		gone = append(gone, weak.Make(i))
	}
	for n := range 64 {
		crowdOut(f, disk.InodeNum(n))
	}
	left := func() (n int) {
		for _, p := range gone {
			if p.Value() != nil {
				n++
			}
		}
		return n
	}
	for n := 0; left() > 1; n++ { // the stack may still have one
		if n == 10000 {
			t.Fatalf("%d of %d inodes are not forgotten", left(), len(gone))
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	for _, p := range kept {
		if p.Value() == nil {
			t.Fatal("an inode that is kept was forgotten")
		}
	}
	for n, num := range nums {
		if i, err := f.Inode(num); err != nil || i.record().Links() != 1 {
			t.Fatalf("inode %d of %d: %v", num, n, err)
		}
	}
	for _, p := range kept {
		_ = p.Value().Unkeep()
	}
}

// TestRecord_long: what lies behind the fields of a record is neither lost nor
// made up, whether it is kept in memory or not.
func TestRecord_long(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	defer closeWrite(t, f)
	root := mustRoot(t, f)
	i, err := root.Create("file", &NewNode{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	check := func(long bool) {
		t.Helper()
		raw, _, err := f.inodeRecord(i.num)
		if err != nil || string(raw) != string(i.whole()) || len(i.whole()) != f.super.InodeSize() {
			t.Fatalf("on disk\n%x, in memory\n%x, %v", raw, i.whole(), err)
		}
		if string(i.record()) != string(raw[:len(i.record())]) || (i.long.Load() != nil) != long {
			t.Errorf("long is %v, record\n%x", i.long.Load() != nil, i.record())
		}
	}
	check(false)
	if err := i.SetXattr("user.short", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	check(true)
	if err := i.SetAttr(&SetAttr{Valid: AttrUID, UID: 77}); err != nil {
		t.Fatal(err)
	}
	check(true)
	if v, err := i.Xattr("user.short"); err != nil || string(v) != "value" || i.record().UID() != 77 {
		t.Errorf("%q, %v, owner %d", v, err, i.record().UID())
	}
	if err := i.RemoveXattr("user.short"); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Xattr("user.short"); err == nil {
		t.Error("the attribute is there still")
	}
	raw, _, _ := f.inodeRecord(i.num)
	check(!allZero(raw[shortRecord:]))
}
