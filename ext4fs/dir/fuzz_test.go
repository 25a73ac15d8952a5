package dir

import (
	"fmt"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// fuzzNames are looked up in every fuzzed directory.
var fuzzNames = [][]byte{[]byte("."), []byte(".."), []byte("name-3xxx"), []byte("absent"), []byte("É\x80"),
	[]byte(NoKeyName([]byte("ciphertext-000000"), 0x8000, 5))}

// FuzzHtree reads directories of any bytes in all ways. It must not panic or
// take long: no block may be read more than a few times per list.
func FuzzHtree(f *testing.F) {
	seeds := []*directory{newDirectory(1024).linear(numbered(40), 10), newDirectory(1024).tree(numbered(60), 0, 10, 0),
		newDirectory(1024).tree(numbered(60), 1, 5, 4)}
	large := newDirectory(1024)
	large.LargeDir = true
	seeds = append(seeds, large.tree(numbered(60), 2, 5, 3))
	hashed := newDirectory(1024)
	hashed.Casefold, hashed.Encrypted = true, true
	var list []name
	for i := range 40 {
		list = append(list, name{inode: disk.InodeNum(100 + i), text: fmt.Sprintf("ciphertext-%06d", i), hash: 0x8000 + uint32(i/20)*2, minor: uint32(i)})
	}
	seeds = append(seeds, hashed.tree(list, 0, 4, 0))
	for _, d := range seeds {
		var flags uint16
		for i, set := range []bool{d.Indexed, d.Casefold, d.Encrypted, d.LargeDir, d.MetadataCsum} {
			if set {
				flags |= 1 << i
			}
		}
		f.Add(slices.Concat(d.blocks...), flags, uint8(disk.HashHalfMD4))
		f.Add(slices.Concat(d.blocks...), flags|1<<5, uint8(disk.HashLegacy))
	}
	f.Add([]byte{}, uint16(0), uint8(9))
	f.Fuzz(func(t *testing.T, data []byte, flags uint16, version uint8) {
		const size = 1024
		if len(data) > 64*size {
			return
		}
		d := newDirectory(size)
		d.Indexed, d.Casefold, d.Encrypted, d.LargeDir = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
		d.MetadataCsum, d.Filetype, d.DirIndex, d.Strict = flags&16 != 0, flags&32 == 0, flags&64 == 0, flags&128 != 0
		d.Verify, d.MaxInode = flags&256 != 0, disk.InodeNum(flags>>9)*100
		d.HashVersion = disk.HashVersion(version)
		for len(data) > 0 {
			b := make([]byte, size)
			data = data[copy(b, data):]
			if d.MetadataCsum && d.Verify { // else nearly nothing gets past it
				disk.SealDirBlock(d.Seed, b)
				disk.SealDX(d.Seed, b, disk.DXNodeOffset)
			}
			d.blocks = append(d.blocks, b)
		}
		if len(d.blocks) > 0 && d.MetadataCsum && d.Verify && d.Indexed {
			disk.SealDX(d.Seed, d.blocks[0], rootArray(d.blocks[0]))
		}
		fuzzReads(t, d)
	})
}

func fuzzReads(t *testing.T, d *directory) {
	c := d.open()
	budget := 20*len(d.blocks) + 20
	within := func(what string) {
		t.Helper()
		if d.reads > budget {
			t.Fatalf("%s: %d reads of %d blocks", what, d.reads, len(d.blocks))
		}
		d.reads = 0
	}
	max := len(d.blocks)*(1024/disk.DirentMinSize+2) + 10
	var list []Entry
	count := func(what string, seq func(func(Entry, error) bool)) {
		t.Helper()
		n := 0
		for e, err := range seq {
			if n++; n > 2*max {
				t.Fatalf("%s does not end", what)
			}
			if err == nil {
				list = append(list, e)
			}
		}
		within(what)
	}
	count("Entries", c.Entries())
	last := uint64(0)
	for e, err := range c.From(0) {
		if err != nil {
			continue
		}
		if e.Cookie <= last {
			t.Fatalf("%q: cookie %#x after %#x", e.Name, e.Cookie, last)
		}
		last = e.Cookie
		list = append(list, e)
	}
	within("From")
	for i, e := range list {
		if i%8 != 0 {
			continue
		}
		c.Lookup([]byte(c.DisplayName(e)))
		within("Lookup")
		n := 0
		for next, err := range c.From(e.Cookie) {
			if err == nil && next.Cookie <= e.Cookie {
				t.Fatalf("behind cookie %#x comes %#x", e.Cookie, next.Cookie)
			}
			if n++; n > 3 {
				break
			}
		}
		within("From")
	}
	for _, s := range fuzzNames {
		c.Lookup(s)
		within("Lookup")
	}
	n := 0
	for range c.Tree() {
		if n++; n > (len(d.blocks)+1)*130 {
			t.Fatal("Tree does not end")
		}
	}
	within("Tree")
}

// FuzzInline does the same with inline directories.
func FuzzInline(f *testing.F) {
	for _, c := range []*Config{inlineDirectory(55, names("one", "two"), nil), inlineDirectory(2, names("one"), names("three", "four"))} {
		f.Add(c.InlineBlock, c.InlineValue, uint8(0))
	}
	f.Fuzz(func(t *testing.T, block, value []byte, flags uint8) {
		c := &Config{Inode: 77, InlineBlock: block, InlineValue: value, HashVersion: disk.HashVersion(flags >> 5),
			Casefold: flags&1 != 0, Encrypted: flags&2 != 0, DirIndex: flags&4 != 0, Filetype: flags&8 != 0, MaxInode: 1000}
		if block == nil {
			return
		}
		var list []Entry
		for e, err := range c.Entries() {
			if err == nil {
				list = append(list, e)
			}
		}
		last := uint64(0)
		for e, err := range c.From(0) {
			if err == nil && e.Cookie <= last {
				t.Fatalf("%q: cookie %#x after %#x", e.Name, e.Cookie, last)
			}
			if err == nil {
				last = e.Cookie
			}
		}
		for _, e := range list {
			c.Lookup([]byte(c.DisplayName(e)))
			for range c.From(e.Cookie) {
				break
			}
		}
		for _, s := range fuzzNames {
			c.Lookup(s)
		}
	})
}
