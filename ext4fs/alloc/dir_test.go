package alloc

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// dirWorld makes directories and files beside each other.
type dirWorld struct {
	*world
	t    *testing.T
	runs map[disk.InodeNum][]Run
	next map[disk.InodeNum]disk.LogicalNum
}

func newDirWorld(t *testing.T) *dirWorld {
	return &dirWorld{newWorld(t, mkfs(t, 512<<20, "-b", "4096"), nil), t, make(map[disk.InodeNum][]Run), make(map[disk.InodeNum]disk.LogicalNum)}
}

// block gives an inode a block more.
func (d *dirWorld) block(ino disk.InodeNum, dir bool) {
	d.t.Helper()
	r := Request{Inode: ino, Logical: d.next[ino], Len: 1, Dir: dir}
	list := d.runs[ino]
	if n := len(list); n > 0 {
		r.Goal = list[n-1].Start + disk.BlockNum(list[n-1].Len)
	}
	bn, n, err := d.a.Alloc(d.world, r)
	if err != nil || n != 1 {
		d.t.Fatalf("%d blocks, %v", n, err)
	}
	d.next[ino]++
	if bn == r.Goal && len(list) > 0 {
		list[len(list)-1].Len++
	} else {
		d.runs[ino] = append(list, Run{bn, 1})
	}
}

// A directory that grows while files are made in it, and others grow beside it,
// stays in few pieces.
func TestAlloc_directoriesGrowInOnePiece(t *testing.T) {
	d := newDirWorld(t)
	file := disk.InodeNum(1000)
	for range 40 {
		for dir := disk.InodeNum(20); dir < 24; dir++ {
			d.block(dir, true)
			for range 3 {
				d.block(file, false)
				file++
			}
		}
	}
	for dir := disk.InodeNum(20); dir < 24; dir++ {
		// The first block is where the next directory's follows, and what is
		// set aside doubles.
		if n := len(d.runs[dir]); n > 6 {
			t.Errorf("directory %d of 40 blocks is in %d pieces: %v", dir, n, d.runs[dir])
		}
	}
	// One that is filled before the next one is made is whole.
	for range 30 {
		d.block(30, true)
		d.block(file, false)
		file++
	}
	if n := len(d.runs[30]); n != 1 {
		t.Errorf("a directory that grows alone is in %d pieces: %v", n, d.runs[30])
	}
	checkSums(t, d.a)
}

// Directories of one block lie side by side, apart from files, and nothing
// stays set aside for them beyond a few windows.
func TestAlloc_smallDirectoriesSideBySide(t *testing.T) {
	d := newDirWorld(t)
	for k := range disk.InodeNum(500) {
		d.block(20+2*k, true)
		d.block(21+2*k, false)
	}
	apart := 0
	for k := range disk.InodeNum(499) {
		if d.runs[22+2*k][0].Start != d.runs[20+2*k][0].Start+1 {
			apart++
		}
	}
	if apart > 2 {
		t.Errorf("%d of 500 directories do not follow the one before", apart)
	}
	for ino := disk.InodeNum(20); ino < 1020; ino += 2 {
		for range 5 {
			d.block(ino, true)
		}
	}
	aside := uint32(0)
	for i := range d.a.groups {
		aside += d.a.groups[i].windowed
	}
	if most := uint32(maxDirWindows*maxDirAhead + smallChunk/4096); aside > most {
		t.Errorf("%d blocks are set aside, more than %d", aside, most)
	}
	checkSums(t, d.a)
}
