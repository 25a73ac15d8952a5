package dir

import (
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Rebuild makes a directory like from by inserting its names in that order.
func Rebuild(t testing.TB, from *Config, parent disk.InodeNum, names []string) *Config {
	t.Helper()
	s := newStore(t, from.BlockSize)
	s.like(from)
	s.c.Blocks, s.c.Indexed, s.c.MaxInlineValue = 0, false, len(from.InlineValue)
	s.caches()
	s.init(parent)
	for i, name := range names {
		e, err := from.Lookup([]byte(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.insert(name, e.Inode, e.Type); err != nil {
			t.Fatalf("%d, %q: %v", i, name, err)
		}
		if i%1000 == 0 {
			s.commit()
		}
	}
	s.commit()
	return s.reopen()
}

// Stir takes names out of a copy of the directory and puts them in again, in
// other places, and gives the blocks; nil when it became larger.
func Stir(t testing.TB, from *Config, seed uint64) [][]byte {
	t.Helper()
	s := newStore(t, from.BlockSize)
	s.like(from)
	for l := range from.Blocks {
		b, err := from.Read(l)
		if err != nil {
			t.Fatal(err)
		}
		s.home[disk.BlockNum(l)+storeShift] = b.Data()
	}
	s.blocks, s.indexed = from.Blocks, from.Indexed
	s.caches()
	r := rand.New(rand.NewPCG(seed, 1))
	list := all(t, from.Entries())[2:]
	for range 4 {
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		n := len(list) / 3
		for _, e := range list[:n] {
			if _, err := s.remove(string(e.Name)); err != nil {
				t.Fatal(err)
			}
		}
		r.Shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, e := range list[:n] {
			if err := s.insert(string(e.Name), e.Inode, e.Type); err != nil {
				t.Fatal(err)
			}
		}
		s.commit()
	}
	if s.blocks != from.Blocks {
		return nil
	}
	return s.content()[4:]
}
