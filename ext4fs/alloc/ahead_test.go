package alloc

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// scattered is a file that is written here and there.
type scattered struct {
	a    *Allocator
	tx   cache.Tx
	ino  disk.InodeNum
	runs []mapped // by logical block, joined
	size int64
}

type mapped struct {
	l   disk.LogicalNum
	bn  disk.BlockNum
	len uint32
}

func (f *scattered) put(m mapped) {
	f.runs = append(f.runs, m)
	slices.SortFunc(f.runs, func(x, y mapped) int { return int(x.l) - int(y.l) })
	joined := f.runs[:1]
	for _, r := range f.runs[1:] {
		last := &joined[len(joined)-1]
		if last.l+disk.LogicalNum(last.len) == r.l && last.bn+disk.BlockNum(last.len) == r.bn {
			last.len += r.len
		} else {
			joined = append(joined, r)
		}
	}
	f.runs = joined
}

// write maps blocks at l, as who writes them asks for them: the goal follows
// from the nearest blocks that the file has.
func (f *scattered) write(t *testing.T, l disk.LogicalNum, blocks uint32) {
	t.Helper()
	for blocks > 0 {
		r := Request{Inode: f.ino, Logical: l, Len: blocks, Size: f.size}
		if f.size < int64(l+disk.LogicalNum(blocks))*4096 {
			r.Size = 0
		}
		f.look(&r)
		bn, n, err := f.a.Alloc(f.tx, r)
		if err != nil {
			t.Fatal(err)
		}
		f.put(mapped{l, bn, n})
		l, blocks = l+disk.LogicalNum(n), blocks-n
		f.size = max(f.size, int64(l)*4096)
	}
}

func (f *scattered) look(r *Request) {
	r.Gap = uint32(r.Logical)
	for _, have := range f.runs {
		if have.l > r.Logical {
			r.Room = uint32(have.l - r.Logical)
			if r.Goal == 0 && have.bn > disk.BlockNum(r.Room) {
				r.Goal = have.bn - disk.BlockNum(r.Room)
			}
			return
		}
		r.Goal = have.bn + disk.BlockNum(r.Logical-have.l)
		r.Gap = uint32(r.Logical-have.l) - have.len
	}
}

// Writers that take turns with the pieces of one file run ahead of each other.
func TestAlloc_piecesOutOfOrder(t *testing.T) {
	for _, writers := range []int{2, 4, 8} {
		w := newWorld(t, mkfs(t, 1<<30, "-b", "4096"), nil)
		f := &scattered{a: w.a, tx: w, ino: 20}
		rng := rand.New(rand.NewPCG(1, uint64(writers)))
		const pieces, piece = 400, 256
		next := make([]disk.LogicalNum, writers)
		for k := range next {
			next[k] = disk.LogicalNum(k)
		}
		for len(next) > 0 {
			k := rng.IntN(len(next))
			f.write(t, next[k]*piece, piece)
			if next[k] += disk.LogicalNum(writers); next[k] >= pieces {
				next = slices.Delete(next, k, k+1)
			}
		}
		w.a.Release(f.ino)
		if len(f.runs) > 8 {
			t.Errorf("%d writers: %d runs: %v", writers, len(f.runs), f.runs)
		}
		for i := range w.a.groups {
			checkIndex(t, w.a, &w.a.groups[i])
		}
		checkSums(t, w.a)
	}
}
