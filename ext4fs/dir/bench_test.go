package dir

import (
	"fmt"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// big is a directory like one of 200,000 names made by the kernel: 4 KiB
// blocks, two levels.
func big(n int) (*directory, [][]byte) {
	d := newDirectory(4096)
	var list []name
	var texts [][]byte
	for i := range n {
		list = append(list, name{inode: disk.InodeNum(100 + i), text: fmt.Sprintf("file-number-%07d.txt", i)})
		texts = append(texts, []byte(list[i].text))
	}
	return d.tree(list, 1, 100, 500), texts
}

func TestAllocations(t *testing.T) {
	d, texts := big(5000)
	c := d.open()
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		if _, err := c.Lookup(texts[i%len(texts)]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Lookup: %v allocations", n)
	}
	absent := []byte("absent")
	if n := testing.AllocsPerRun(1000, func() { c.Lookup(absent) }); n != 0 {
		t.Errorf("Lookup of an absent name: %v allocations", n)
	}
	n := testing.AllocsPerRun(10, func() {
		for range c.Entries() {
		}
	})
	if n > 10 {
		t.Errorf("Entries: %v allocations for %d names", n, len(texts))
	}
	n = testing.AllocsPerRun(10, func() {
		for range c.From(0) {
		}
	})
	if n > 30 {
		t.Errorf("From: %v allocations for %d names", n, len(texts))
	}
	fold := newDirectory(4096)
	fold.Casefold = true
	fold.linear(numbered(20), 100)
	c = fold.open()
	folded := []byte("NAME-7XXXXXXX")
	if n := testing.AllocsPerRun(1000, func() { c.Lookup(folded) }); n != 0 {
		t.Errorf("Lookup with folding: %v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	d, texts := big(200_000)
	c := d.open()
	b.Run("200k", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := c.Lookup(texts[i*7919%len(texts)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("200k/absent", func(b *testing.B) {
		b.ReportAllocs()
		name := []byte("absent-0000000.txt")
		for i := 0; b.Loop(); i++ {
			name[10] = byte('0' + i%10)
			name[11] = byte('0' + i/10%10)
			c.Lookup(name)
		}
	})
	b.Run("200k/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				c.Lookup(texts[i*7919%len(texts)])
			}
		})
	})
}

func BenchmarkEntries(b *testing.B) {
	d, texts := big(200_000)
	c := d.open()
	size := int64(len(d.blocks) * d.BlockSize)
	for name, list := range map[string]func() func(func(Entry, error) bool){
		"Entries": func() func(func(Entry, error) bool) { return c.Entries() },
		"From":    func() func(func(Entry, error) bool) { return c.From(0) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range list() {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != len(texts)+2 {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(texts)), "ns/name")
		})
	}
}

func changeNames(n int) (list [][]byte) {
	for i := range n {
		list = append(list, fmt.Appendf(nil, "file-number-%07d.txt", i))
	}
	return list
}

func insertAll(t testing.TB, list [][]byte) *store {
	s := newStore(t, 4096)
	s.init(2)
	for i, name := range list {
		if err := s.c.Insert(s, name, 12, 1); err != nil {
			t.Fatal(err)
		}
		if i%50000 == 49999 {
			s.commit()
		}
	}
	return s
}

// BenchmarkInsert makes a directory of 200,000 names.
func BenchmarkInsert(b *testing.B) {
	list := changeNames(200_000)
	for b.Loop() {
		insertAll(b, list)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/name")
}

// BenchmarkRemove empties such a directory.
func BenchmarkRemove(b *testing.B) {
	list := changeNames(200_000)
	s := insertAll(b, list)
	i := 0
	for b.Loop() {
		if i == len(list) {
			b.StopTimer()
			s, i = insertAll(b, list), 0
			b.StartTimer()
		}
		if _, err := s.c.Remove(s, list[i]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func TestAllocations_changes(t *testing.T) {
	list := changeNames(6000)
	s := insertAll(t, list[:5000])
	i := 5000
	n := testing.AllocsPerRun(900, func() {
		if err := s.c.Insert(s, list[i], 12, 1); err != nil {
			t.Fatal(err)
		}
		i++
	})
	if n != 0 {
		t.Errorf("Insert: %v allocations", n)
	}
	if n = testing.AllocsPerRun(900, func() {
		i--
		if _, err := s.c.Replace(s, list[i], 13, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.c.Remove(s, list[i]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Replace and Remove: %v allocations", n)
	}
}
