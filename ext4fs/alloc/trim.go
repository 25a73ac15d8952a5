package alloc

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Trim calls f for every run of free blocks in [from, to) of minLen blocks or
// more, in ascending order, and returns the sum of their blocks. Runs end at
// group borders. f is called with the group's lock held, so that nobody can get
// the blocks meanwhile: it must not call the allocator. Groups where nothing was
// freed since the last Trim of all of it are left out. What a running
// transaction freed, or is set aside for a file, does not count as free. Errors
// are those of ctx and f; damaged groups are left out.
func (a *Allocator) Trim(ctx context.Context, from, to disk.BlockNum, minLen uint64,
	f func(bn disk.BlockNum, n uint64) error) (uint64, error) {
	s := &a.super
	from = max(from, disk.BlockNum(s.FirstDataBlock))
	to = min(to, disk.BlockNum(s.Blocks()))
	minLen = max(minLen, 1)
	if from >= to {
		return 0, nil
	}
	var sum uint64
	last := s.GroupOf(to - 1)
	for g := s.GroupOf(from); g <= last; g++ {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		n, err := a.trimGroup(ctx, &a.groups[g], from, to, minLen, f)
		sum += n
		if err != nil {
			return sum, fmt.Errorf("trim group %d: %w", g, err)
		}
	}
	return sum, nil
}

// trimGroup lets go of the lock after each run.
func (a *Allocator) trimGroup(ctx context.Context, g *group, from, to disk.BlockNum, minLen uint64,
	f func(bn disk.BlockNum, n uint64) error) (sum uint64, err error) {
	start := a.super.GroupFirstBlock(g.num)
	end := start + disk.BlockNum(a.super.GroupBlocks(g.num))
	whole := from <= start && to >= end
	lo := uint32((uint64(max(from, start)-start) + uint64(a.ratio) - 1) / uint64(a.ratio))
	hi := uint32(uint64(min(to, end)-start) / uint64(a.ratio))
	first := true
	for at := lo; at < hi; {
		g.mu.Lock()
		if err := ctx.Err(); err != nil {
			g.trimmed = 0
			g.mu.Unlock()
			return sum, err
		}
		if !a.usable(g) || first && g.trimmed != 0 && minLen+1 >= g.trimmed {
			g.mu.Unlock()
			return sum, nil
		}
		if first && whole {
			g.trimmed = minLen + 1 // a commit of frees clears it again
		}
		first = false
		need := uint32(min((minLen+uint64(a.ratio)-1)/uint64(a.ratio), uint64(a.perGrp)+1))
		c, ok := g.idx.find(at, need)
		if !ok || c >= hi {
			g.mu.Unlock()
			return sum, nil
		}
		n := g.idx.run(c, hi-c)
		if n >= need {
			blocks := uint64(n) * uint64(a.ratio)
			if err = f(a.first(g, c), blocks); err != nil {
				g.trimmed = 0
				g.mu.Unlock()
				return sum, err
			}
			sum += blocks
		}
		at = c + n
		g.mu.Unlock()
	}
	return sum, nil
}
