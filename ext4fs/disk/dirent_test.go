package disk

import (
	"bytes"
	"strings"
	"testing"
)

func TestDirRecLen(t *testing.T) {
	tests := []struct {
		raw  uint16
		bs   int
		want int
	}{
		{12, 4096, 12},
		{4096, 4096, 4096},
		{0, 4096, 0},
		{0xffff, 4096, 0xffff}, // not valid there, and not special
		{0xffff, 65536, 65536},
		{0, 65536, 65536},
		{0xfff4, 65536, 65524},
		{0xfff1, 131072, 0xfff0 | 1<<16},
		{0, 131072, 131072},
	}
	for _, tt := range tests {
		if got := DirRecLen(tt.raw, tt.bs); got != tt.want {
			t.Errorf("DirRecLen(%#x, %d) = %d, want %d", tt.raw, tt.bs, got, tt.want)
		}
	}
	for _, bs := range []int{1024, 4096, 32768, 65536, 131072} {
		for n := 12; n <= bs; n += 4 {
			if got := DirRecLen(DirRecLenRaw(n, bs), bs); got != n {
				t.Fatalf("block size %d: %d comes back as %d", bs, n, got)
			}
		}
	}
	if DirRecLenRaw(65536, 65536) != 0xffff || DirRecLenRaw(131072, 131072) != 0 {
		t.Error("the block size has two forms, the wrong one was taken")
	}
}

func TestDirentSize(t *testing.T) {
	for n, want := range map[int]int{0: 8, 1: 12, 4: 12, 5: 16, 255: 264} {
		if got := DirentSize(n, false); got != want {
			t.Errorf("DirentSize(%d) = %d, want %d", n, got, want)
		}
		if got := DirentSize(n, true); got != want+8 {
			t.Errorf("DirentSize(%d, hash) = %d, want %d", n, got, want+8)
		}
	}
}

// rec is a record for makeBlock. A size of 0 is what the name needs, -1 the
// rest of the block.
type rec struct {
	inode InodeNum
	name  string
	size  int
	kind  uint8
}

func makeBlock(size, end int, hash bool, recs ...rec) []byte {
	b := make([]byte, size)
	off := 0
	for _, r := range recs {
		n := r.size
		switch n {
		case 0:
			n = DirentSize(len(r.name), hash && !IsDot([]byte(r.name)) && !IsDotDot([]byte(r.name)))
		case -1:
			n = end - off
		}
		le.PutUint32(b[off:], uint32(r.inode))
		le.PutUint16(b[off+4:], DirRecLenRaw(n, size))
		b[off+6], b[off+7] = byte(len(r.name)), r.kind
		copy(b[off+8:], r.name)
		off += n
	}
	return b
}

func TestDirentIter(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, size := range []int{1024, 4096, 65536} {
		for _, checksum := range []bool{false, true} {
			l := DirLayout{BlockSize: size, Checksum: checksum}
			end := size
			if checksum {
				end -= DirTailSize
			}
			b := makeBlock(size, end, false, rec{2, ".", 0, 2}, rec{2, "..", 0, 2}, rec{12, "a", 0, 1},
				rec{0, "gone", 40, 7}, rec{13, long, 0, 1}, rec{14, "last", -1, 3})
			if checksum {
				InitDirTail(b)
			}
			var got []string
			it := l.Iter(b)
			for it.Next() {
				d := it.Dirent()
				got = append(got, string(d.Name()))
				if it.End()-it.Offset() != len(d) {
					t.Errorf("record at %d has %d bytes", it.Offset(), len(d))
				}
			}
			if err := it.Err(); err != nil {
				t.Fatal(err)
			}
			if want := strings.Join([]string{".", "..", "a", "gone", long, "last"}, "|"); strings.Join(got, "|") != want {
				t.Errorf("got %q", got)
			}
			if it.End() != end || it.Next() {
				t.Errorf("ends at %d, want %d", it.End(), end)
			}
		}
	}
}

func TestDirentIter_emptyBlockOf64K(t *testing.T) {
	for _, raw := range []uint16{0, 0xffff} {
		b := make([]byte, 65536)
		le.PutUint16(b[4:], raw)
		it := DirLayout{BlockSize: 65536}.Iter(b)
		if !it.Next() || len(it.Dirent()) != 65536 || it.Next() || it.Err() != nil {
			t.Errorf("raw length %#x: %v", raw, it.Err())
		}
	}
}

func TestDirentIter_hashInDirent(t *testing.T) {
	l := DirLayout{BlockSize: 1024, HashInDirent: true}
	name := "0123456789abcdefX"
	b := makeBlock(1024, 1024, true, rec{2, ".", 0, 2}, rec{2, "..", 0, 2}, rec{12, name, 0, 1}, rec{0, "", 16, 0}, rec{13, name, -1, 1})
	at := 24 + 28
	le.PutUint32(b[at:], 0x12345678)
	le.PutUint32(b[at+4:], 0x9abcdef0)
	it := l.Iter(b)
	n := 0
	for it.Next() {
		if it.Offset() == 24 {
			if h, m, ok := it.Dirent().Hash(); !ok || h != 0x12345678 || m != 0x9abcdef0 {
				t.Errorf("hash %x %x %v", h, m, ok)
			}
		}
		n++
	}
	if n != 5 || it.Err() != nil {
		t.Errorf("%d records, %v", n, it.Err())
	}
	// Without room for the hash the record is too small.
	b = makeBlock(1024, 1024, false, rec{12, name, 28, 1}, rec{0, "", -1, 0})
	if it = l.Iter(b); it.Next() || it.Err() == nil {
		t.Error("a record without hash is taken")
	}
}

func TestDirentIter_corrupt(t *testing.T) {
	ok := rec{12, "abcd", 12, 1}
	tests := []struct {
		name   string
		recs   []rec
		at     int
		detail string
	}{
		{"length zero", []rec{ok, {12, "a", 8, 1}}, 12, "too small"},
		{"name leaves its record", []rec{{12, "abcde", 12, 1}, {0, "", -1, 0}}, 0, "too small for a name of 5"},
		{"not a multiple of 4", []rec{{12, "abcd", 14, 1}, {0, "", -1, 0}}, 0, "multiple of 4"},
		{"past the block", []rec{ok, {12, "a", 1016, 1}}, 12, "past the end"},
		{"close to the end", []rec{{12, "a", 1016, 1}}, 0, "leaves 8 bytes"},
		{"rest is zero", []rec{ok}, 12, "record length 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := makeBlock(1024, 1024, false, tt.recs...)
			it := DirLayout{BlockSize: 1024}.Iter(b)
			for it.Next() {
			}
			if err := it.Err(); err == nil || err.Offset != tt.at || !strings.Contains(err.Detail, tt.detail) {
				t.Errorf("got %v, want offset %d and %q", err, tt.at, tt.detail)
			}
			if it.Next() {
				t.Error("goes on after an error")
			}
		})
	}
	// An entry may not end inside of the checksum record.
	b := makeBlock(1024, 1024, false, rec{12, "a", 1020, 1})
	InitDirTail(b)
	it := DirLayout{BlockSize: 1024, Checksum: true}.Iter(b)
	if it.Next() || it.Err() == nil {
		t.Error("an entry into the checksum is taken")
	}
}

// The kernel makes a root out of a leaf and leaves the checksum record where
// it was, below "..".
func TestDirentIter_staleTail(t *testing.T) {
	b := makeBlock(1024, 1024, false, rec{2, ".", 0, 2}, rec{2, "..", -1, 2})
	InitDirTail(b)
	n := 0
	it := DirLayout{BlockSize: 1024, Checksum: true}.Iter(b)
	for it.Next() {
		n++
	}
	if n != 2 || it.Err() != nil {
		t.Errorf("%d records, %v", n, it.Err())
	}
}

func TestDirTail(t *testing.T) {
	b := makeBlock(1024, 1012, false, rec{2, ".", 0, 2}, rec{2, "..", -1, 2})
	const seed = 0x12345678
	if _, _, found := VerifyDirBlock(seed, b); found || SealDirBlock(seed, b) {
		t.Error("a checksum without record")
	}
	InitDirTail(b)
	if !SealDirBlock(seed, b) {
		t.Error("not sealed")
	}
	if s, c, found := VerifyDirBlock(seed, b); !found || s != c || s != Sum(seed, b[:1012]) {
		t.Errorf("%x %x %v", s, c, found)
	}
	b[100] ^= 1
	if s, c, _ := VerifyDirBlock(seed, b); s == c {
		t.Error("a change is not seen")
	}
	if HasDirTail(b[:8]) {
		t.Error("a short block has a tail")
	}
}

func FuzzDirBlock(f *testing.F) {
	f.Add(makeBlock(1024, 1024, false, rec{2, ".", 0, 2}, rec{2, "..", 0, 2}, rec{12, "a", -1, 1}), false, false)
	f.Add(makeBlock(1024, 1024, true, rec{12, "0123456789abcdef", 0, 1}, rec{0, "", -1, 1}), true, false)
	f.Add(makeBlock(65536, 65536, false, rec{0, "", -1, 0}), false, true)
	tail := makeBlock(1024, 1012, false, rec{12, "x", -1, 1})
	InitDirTail(tail)
	f.Add(tail, false, true)
	f.Fuzz(func(t *testing.T, b []byte, hash, checksum bool) {
		l := DirLayout{BlockSize: len(b), HashInDirent: hash, Checksum: checksum}
		at, n := 0, 0
		it := l.Iter(b)
		for it.Next() {
			d := it.Dirent()
			if it.Offset() != at || it.End() != at+len(d) || len(d) < DirentMinSize || it.End() > len(b) {
				t.Fatalf("record %d..%d after %d", it.Offset(), it.End(), at)
			}
			_ = d.Inode()
			if len(d.Name()) != d.NameLen() || !bytes.Contains(d, d.Name()) {
				t.Fatal("name out of its record")
			}
			d.Hash()
			_ = d.Type()
			if at, n = it.End(), n+1; n > len(b)/DirentMinSize {
				t.Fatal("too many records")
			}
		}
		if it.Err() == nil && at < len(b)-DirTailSize {
			t.Fatalf("ends at %d of %d", at, len(b))
		}
		VerifyDirBlock(1, b)
		if len(b) < MinBlockSize {
			return
		}
		off := DXInfoOffset + int(DecodeDXInfo(b).InfoLength)
		VerifyDX(1, b, off)
		VerifyDX(1, b, DXNodeOffset)
		checkArray := func(e DXEntries, err *CorruptError) {
			if err != nil {
				return
			}
			if e.Count() < 1 || e.Count() > e.Limit() || len(e) != e.Count()*DXEntrySize {
				t.Fatalf("count %d, limit %d, %d bytes", e.Count(), e.Limit(), len(e))
			}
			for i := range e.Count() {
				e.Key(i)
				e.Block(i)
			}
			for _, h := range []uint32{0, 2, 0x80000000, 0xffffffff} {
				if i := e.Search(h); i < 0 || i >= e.Count() {
					t.Fatalf("Search gives %d of %d", i, e.Count())
				}
			}
		}
		_, e, err := l.DXRoot(b)
		checkArray(e, err)
		e, err = l.DXNode(b)
		checkArray(e, err)
	})
}
