package dir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// FuzzChange changes directories of any bytes. It must not panic or take long,
// and a change that fails changes nothing that was there.
func FuzzChange(f *testing.F) {
	seeds := []*directory{newDirectory(1024).linear(numbered(40), 10), newDirectory(1024).linear(numbered(12), 12),
		newDirectory(1024).tree(numbered(60), 0, 10, 0), newDirectory(1024).tree(numbered(60), 1, 5, 4)}
	large := newDirectory(1024)
	large.LargeDir = true
	seeds = append(seeds, large.tree(numbered(60), 2, 5, 3))
	for _, d := range seeds {
		var flags uint16
		for i, set := range []bool{d.Indexed, d.Casefold, d.Encrypted, d.LargeDir, d.MetadataCsum} {
			if set {
				flags |= 1 << i
			}
		}
		f.Add(slices.Concat(d.blocks...), flags, []byte("0123456789"))
		f.Add(slices.Concat(d.blocks...), flags&^16|2, []byte("zyxwvutsrqponmlkjihgfedcba"))
	}
	f.Add([]byte{}, uint16(0), []byte{1})
	f.Fuzz(func(t *testing.T, data []byte, flags uint16, script []byte) {
		const size = 1024
		if len(data) > 32*size || len(script) > 64 {
			return
		}
		d := newDirectory(size)
		d.Indexed, d.Casefold, d.Encrypted, d.LargeDir = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
		d.MetadataCsum, d.Filetype, d.DirIndex, d.Strict = flags&16 != 0, flags&32 == 0, flags&64 == 0, flags&128 != 0
		d.Verify, d.MaxInode, d.StaleIndex = flags&256 == 0, 1<<30, flags&512 != 0
		if d.Indexed {
			d.DirIndex = true
		}
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
		s := storeOf(t, d)
		reads, read := 0, s.c.Read
		s.c.Read = func(l disk.LogicalNum) (*cache.Buffer, error) { reads++; return read(l) }
		for i, op := range script {
			reads = 0
			before := s.content()
			err := fuzzStep(s, i, op)
			if reads > 60*int(s.blocks)+60 {
				t.Fatalf("%d reads of %d blocks", reads, s.blocks)
			}
			// A split of the index may be all that was done.
			if err != nil && len(s.content()) == len(before) && !equal(before, s.content()) {
				t.Fatalf("step %d: %v, and it changed", i, err)
			}
			if i%8 == 7 {
				s.commit()
			}
		}
	})
}

// fuzzStep does one of the changes.
func fuzzStep(s *store, i int, op byte) error {
	name := fmt.Sprintf("%s%d", strings.Repeat("n", int(op)%180), i)
	if op&3 == 0 {
		for e := range s.c.Entries() {
			if op -= 4; op < 16 && e.Inode != 0 {
				name = s.c.DisplayName(e)
				break
			}
		}
		if op&16 != 0 {
			_, err := s.c.Replace(s, []byte(name), 12, 1)
			return err
		}
		_, err := s.remove(name)
		return err
	}
	return s.insert(name, 12, 1)
}

// FuzzChangeInline does the same with inline directories.
func FuzzChangeInline(f *testing.F) {
	for _, c := range []*Config{inlineDirectory(55, names("one", "two"), nil), inlineDirectory(2, names("one"), names("three", "four"))} {
		f.Add(c.InlineBlock, c.InlineValue, uint8(60), []byte("0123456789"))
		f.Add(c.InlineBlock, c.InlineValue, uint8(0), []byte("abcdefghijklmnopqrstu"))
	}
	f.Fuzz(func(t *testing.T, block, value []byte, more uint8, script []byte) {
		if len(block) != inlineSize || len(value)&3 != 0 || len(value) > 2000 || len(script) > 40 {
			return
		}
		s := newStore(t, 1024)
		s.c.InlineBlock, s.c.InlineValue, s.c.MaxInlineValue = block, value, len(value)+int(more)
		s.inline, s.block, s.value = true, block, value
		for i, op := range script {
			before := s.content()
			inline := s.inline
			err := fuzzStep(s, i, op>>3<<3|op&7%5)
			if err != nil && s.inline && !equal(before, s.content()) {
				t.Fatalf("step %d: %v, and it changed", i, err)
			}
			var p *PartialError
			if s.inline && !inline || errors.As(err, &p) {
				t.Fatalf("step %d: inline %v, then %v; %v", i, inline, s.inline, err)
			}
		}
	})
}

// TestChange_randomDamage damages sound directories in a few places.
func TestChange_randomDamage(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	failed := 0
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 9))
		d := newDirectory(1024)
		d.MetadataCsum, d.LargeDir = r.IntN(2) == 0, r.IntN(2) == 0
		switch list := numbered(20 + r.IntN(80)); r.IntN(4) {
		case 0:
			d.linear(list, 1+r.IntN(12))
		case 1:
			d.tree(list, 0, 2+r.IntN(10), 0)
		case 2:
			d.tree(list, 1, 2+r.IntN(10), 3+r.IntN(100))
		case 3:
			d.LargeDir = true
			d.tree(list, 2, 2+r.IntN(10), 2+r.IntN(100))
		}
		for range 1 + r.IntN(3) {
			b := d.blocks[r.IntN(len(d.blocks))]
			switch at := r.IntN(1024/4) * 4; r.IntN(4) {
			case 0:
				b[r.IntN(48)] = byte(r.IntN(256))
			case 1:
				le.PutUint32(b[at:], uint32(r.IntN(len(d.blocks)+2)))
			case 2:
				le.PutUint16(b[at:], uint16(r.IntN(1100))&^3)
			case 3:
				copy(b, d.blocks[r.IntN(len(d.blocks))])
			}
			if d.MetadataCsum {
				disk.SealDirBlock(d.Seed, b)
				disk.SealDX(d.Seed, b, disk.DXNodeOffset)
				disk.SealDX(d.Seed, d.blocks[0], min(rootArray(d.blocks[0]), 900))
			}
		}
		s := storeOf(t, d)
		for i := range 60 {
			before := s.content()
			err := fuzzStep(s, i, byte(r.IntN(256)))
			if err != nil {
				failed++
				if len(s.content()) == len(before) && !equal(before, s.content()) {
					t.Fatalf("seed %d, step %d: %v, and it changed", seed, i, err)
				}
			}
		}
		s.commit()
	}
	t.Logf("%d steps failed", failed)
}
